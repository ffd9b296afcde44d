use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::decide::consensus::{Agreed, Observation};
use crate::decide::events::{self, Tracker};
use crate::decide::testing::{bundle, observation};
use crate::decide::{Decision, Verdict};
use crate::error::ErrorKind;
use crate::frame::Stamp;
use crate::scores::Scores;
use crate::sink::Interval;

const KNOWN: Decision = Decision::Known(2);

fn frame(source: &str) -> FrameResult<'_> {
    FrameResult {
        source,
        stamp: Stamp { seq: 41, mono_ns: 1_500_000_000 },
        scores: Scores { class: 2, probability: 0.25, nearest: 1, distance: f32::INFINITY, reachability: f32::MAX },
        verdict: Verdict { decision: KNOWN, threshold: 0.5 },
        agreed: Some(Agreed { label: Decision::Open, share: 0.75, support: 0.5 }),
        age: Duration::from_micros(12_345),
        dropped: 3,
        preprocess: Duration::from_micros(800),
        inference: Duration::from_millis(4),
    }
}

/// The lines that `tell` makes a sink write.
fn lines(settings: Settings, limits: &Limits, tell: impl FnOnce(&mut dyn Sink)) -> Vec<String> {
    let (bundle, mut out) = (bundle(), Vec::new());
    tell(&mut JsonLines::new(&mut out, &bundle, settings, limits));
    let text = String::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_string).collect()
}

fn with_frames() -> Settings {
    Settings { destination: "test".into(), frames: true, ..Settings::default() }
}

/// Keys of an object with those of the objects in it: `a.b`.
fn keys(value: &Value, prefix: &str, keys: &mut Vec<String>) {
    for (key, value) in value.as_object().unwrap() {
        keys.push(format!("{prefix}{key}"));
        if value.is_object() {
            self::keys(value, &format!("{prefix}{key}."), keys);
        }
    }
}

/// One line of each schema.
fn one_of_each() -> Vec<String> {
    let mut tracker = Tracker::new(&bundle(), events::Settings::default(), &Limits::default()).unwrap();
    let o: Observation = observation(0, 10.0, KNOWN, 0.5);
    let changes = (0..3).map(|_| tracker.observe(&o).1).find(|changes| !changes.is_empty()).unwrap();
    let limits = Limits::default();
    lines(with_frames(), &limits, |sink| {
        sink.frame(&frame("a")).unwrap();
        sink.event(&EventResult { source: "a", now: Duration::from_secs(2), change: changes[0] }).unwrap();
        sink.stats("a", &Stats { interval: Interval { classified: 1, ..Interval::default() }, ..Stats::default() })
            .unwrap();
        let (now, kind) = (Duration::ZERO, ErrorKind::BadImage);
        sink.failure(&Failure { source: "a", now, kind, offset: Some(7), reason: "is cut off" }).unwrap();
    })
}

#[test]
fn every_field_is_documented() {
    let docs = include_str!("../../../docs/reference/events.md");
    for line in one_of_each() {
        let value: Value = serde_json::from_str(&line).unwrap();
        let schema = value["schema"].as_str().unwrap();
        let (_, section) =
            docs.split_once(&format!("`{schema}`\n")).unwrap_or_else(|| panic!("no section on {schema}"));
        let section = section.split("\n## ").next().unwrap();
        let common = docs.split_once("## Every line\n").unwrap().1.split("\n## ").next().unwrap();
        let mut all = Vec::new();
        keys(&value, "", &mut all);
        for key in all {
            let row = format!("| `{key}` |");
            assert!(
                section.contains(&row) || common.contains(&row),
                "{schema}: '{key}' is not in docs/reference/events.md"
            );
        }
    }
}

#[test]
fn a_frame_line_says_what_the_frame_says() {
    let lines = lines(with_frames(), &Limits::default(), |sink| sink.frame(&frame("a \"b\"\n")).unwrap());
    let v: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&v["schema"], &v["seq"], &v["mono_ns"]), (&"oltr.frame/1".into(), &0.into(), &1_500_000_000.into()));
    assert_eq!((&v["source"], &v["frame"]), (&"a \"b\"\n".into(), &41.into()));
    assert_eq!((&v["decision"], &v["label"], &v["class"]), (&"known".into(), &"few".into(), &2.into()));
    assert_eq!((&v["shot"], &v["probability"], &v["threshold"]), (&"few".into(), &0.25.into(), &0.5.into()));
    assert_eq!((&v["nearest"]["label"], &v["nearest"]["class"]), (&"medium".into(), &1.into()));
    assert_eq!((&v["consensus"]["decision"], &v["consensus"]["label"]), (&"open".into(), &Value::Null));
    assert_eq!((&v["age_ms"], &v["dropped"]), (&12.345.into(), &3.into()));
    assert_eq!((&v["latency_ms"]["preprocess"], &v["latency_ms"]["inference"]), (&0.8.into(), &4.0.into()));
    // JSON has no infinity.
    assert!(v["nearest"]["distance"].is_number() && v["reachability"].is_number());
    let wall = v["wall"].as_str().unwrap();
    assert!(wall.ends_with('Z') && humantime::parse_rfc3339(wall).is_ok(), "{wall}");
}

#[test]
fn an_event_has_one_id_from_beginning_to_end() {
    let mut tracker = Tracker::new(&bundle(), events::Settings::default(), &Limits::default()).unwrap();
    let frames = (0..40).map(|i| observation(i, 10.0, KNOWN, 0.5));
    let mut changes: Vec<_> = frames.flat_map(|o| tracker.observe(&o).1).collect();
    changes.extend(tracker.finish());
    let now = Duration::from_secs(9);
    let lines = lines(Settings::default(), &Limits::default(), |sink| {
        changes.iter().for_each(|c| sink.event(&EventResult { source: "a", now, change: *c }).unwrap());
    });
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<_> = lines.iter().map(|v| v["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["new", "update", "update", "update", "end"]);
    assert!(lines.iter().all(|v| v["id"] == lines[0]["id"] && v["first"]["mono_ns"] == 0));
    assert_eq!(
        (&lines[4]["reason"], &lines[4]["frames"], &lines[4]["duration_ms"]),
        (&"finished".into(), &40.into(), &3900.0.into())
    );
    assert!(lines.iter().enumerate().all(|(i, v)| v["seq"] == i), "lines are numbered");
}

#[test]
fn a_line_keeps_to_its_bound() {
    let long = "x".repeat(500);
    let limits = Limits { line_bytes: 2048, ..Limits::default() };
    let told = lines(with_frames(), &limits, |sink| sink.frame(&frame(&long)).unwrap());
    let length = told[0].len() + 1;
    let exact = Limits { line_bytes: length, ..limits.clone() };
    assert_eq!(lines(with_frames(), &exact, |sink| sink.frame(&frame(&long)).unwrap())[0].len(), length - 1);
    let short = Limits { line_bytes: length - 1, ..limits };
    let none = lines(with_frames(), &short, |sink| {
        let error = sink.frame(&frame(&long)).unwrap_err();
        assert!(matches!(error, Error::Limit { what: "line_bytes", .. }), "{error}");
    });
    assert!(none.is_empty(), "nothing is written of a line that does not fit");
}

#[test]
fn frames_are_told_of_only_if_asked_for() {
    assert!(lines(Settings::default(), &Limits::default(), |sink| sink.frame(&frame("a")).unwrap()).is_empty());
}
