use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::answer::{Judge, Names};
use crate::bundle::Bundle;
use crate::decide::Decision;
use crate::decide::consensus::{Agreed, Observation};
use crate::decide::events::{self, Tracker};
use crate::decide::testing::{bundle, observation};
use crate::error::ErrorKind;
use crate::frame::Stamp;
use crate::scores::Scores;
use crate::sink::{Interval, Times};

const KNOWN: Decision = Decision::Known(2);

fn frame<'a>(source: &'a str, bundle: &'a Bundle) -> FrameResult<'a> {
    let scores = Scores { class: 2, probability: 0.25, nearest: 1, distance: f32::INFINITY, reachability: f32::MAX };
    let mut answer = Judge::new(bundle).by_rule(&scores).unwrap();
    (answer.preprocess, answer.inference) = (Duration::from_micros(800), Duration::from_millis(4));
    FrameResult {
        still: None,
        source,
        source_url: Some("%E9"),
        stamp: Stamp { seq: 41, mono_ns: 1_500_000_000 },
        answer,
        agreed: Some(Agreed { label: Decision::Open, share: 0.75, support: 0.5 }),
        age: Duration::from_micros(12_345),
        dropped: 3,
        origin: None,
        again: false,
    }
}

/// The lines that `tell` makes a sink write.
fn lines(settings: Settings, limits: &Limits, tell: impl FnOnce(&mut dyn Sink)) -> Vec<String> {
    let mut out = Vec::new();
    tell(&mut JsonLines::new(&mut out, settings, limits));
    let text = String::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_string).collect()
}

fn with_frames() -> Settings {
    Settings { destination: "test".into(), frames: true, ..Settings::default() }
}

/// Keys of an object, with those of nested objects as `a.b`.
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
    let (limits, bundle) = (Limits::default(), bundle());
    let names = Names::new(&bundle);
    lines(with_frames(), &limits, |sink| {
        sink.frame(&frame("a", &bundle)).unwrap();
        sink.event(&EventResult {
            source: "a",
            now: Duration::from_secs(2),
            change: changes[0],
            names,
            times: Times::Monotonic,
            thing: None,
        })
        .unwrap();
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
fn a_frame_line_has_the_fields_of_the_frame() {
    let lines = lines(with_frames(), &Limits::default(), |sink| sink.frame(&frame("a \"b\"\n", &bundle())).unwrap());
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
    let (now, bundle) = (Duration::from_secs(9), bundle());
    let names = Names::new(&bundle);
    let lines = lines(Settings::default(), &Limits::default(), |sink| {
        changes.iter().for_each(|c| {
            sink.event(&EventResult { source: "a", now, change: *c, names, times: Times::Monotonic, thing: None })
                .unwrap()
        });
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
    // The length at which texts are cut.
    let long = "x".repeat(SHORT_TEXT);
    let bundle = bundle();
    let limits = Limits::with(|limits| limits.line_bytes = 2048);
    let reported = lines(with_frames(), &limits, |sink| sink.frame(&frame(&long, &bundle)).unwrap());
    let length = reported[0].len() + 1;
    let exact = Limits::with(|limits| limits.line_bytes = length);
    assert_eq!(lines(with_frames(), &exact, |sink| sink.frame(&frame(&long, &bundle)).unwrap())[0].len(), length - 1);
    let short = Limits::with(|limits| limits.line_bytes = length - 1);
    let none = lines(with_frames(), &short, |sink| {
        let error = sink.frame(&frame(&long, &bundle)).unwrap_err();
        assert!(matches!(error, Error::Limit { what: "line_bytes", .. }), "{error}");
    });
    assert!(none.is_empty(), "nothing is written of a line that does not fit");
}

/// A class of 40 kB, a source of escaped characters, a reason that is longer than a line.
#[test]
fn texts_that_are_too_long_are_cut_and_the_line_says_so() {
    let limits = Limits::default();
    let long = "\u{1}é".repeat(20_000);
    let mut bundle = bundle();
    bundle.classes.iter_mut().for_each(|class| class.id = long.clone());
    let mut out = Vec::new();
    let mut sink = JsonLines::new(&mut out, with_frames(), &limits);
    let agreed = Some(Agreed { label: KNOWN, share: 0.75, support: 0.5 });
    sink.frame(&FrameResult { agreed, ..frame(&long, &bundle) }).unwrap();
    let mut tracker = Tracker::new(&bundle, events::Settings::default(), &limits).unwrap();
    let o: Observation = observation(0, 10.0, KNOWN, 0.5);
    let changes = (0..3).map(|_| tracker.observe(&o).1).find(|changes| !changes.is_empty()).unwrap();
    sink.event(&EventResult {
        source: &long,
        now: Duration::from_secs(2),
        change: changes[0],
        times: Times::Monotonic,
        names: Names::new(&bundle),
        thing: None,
    })
    .unwrap();
    let (now, kind) = (Duration::ZERO, ErrorKind::BadImage);
    sink.failure(&Failure { source: &long, now, kind, offset: Some(7), reason: &long }).unwrap();
    sink.stats(&long, &Stats::default()).unwrap();
    drop(sink);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 4);
    for line in text.lines() {
        assert!(line.len() < limits.line_bytes, "{} bytes", line.len());
        let v: Value = serde_json::from_str(line).unwrap();
        assert_eq!(v["shortened"], true, "{line}");
        assert!(v["source"].as_str().unwrap().ends_with('…'));
        if let Some(label) = v["label"].as_str() {
            assert!(label.ends_with('…') && long.starts_with(label.trim_end_matches('…')));
        }
    }
    // Short texts are written unchanged.
    let short_names = crate::decide::testing::bundle();
    let whole = lines(with_frames(), &limits, |sink| sink.frame(&frame(&"x".repeat(4096), &short_names)).unwrap());
    let v: Value = serde_json::from_str(&whole[0]).unwrap();
    assert!(v["source"].as_str().unwrap().len() == 4096 && v.get("shortened").is_none());
}

#[test]
fn frames_are_reported_only_if_requested() {
    assert!(
        lines(Settings::default(), &Limits::default(), |sink| sink.frame(&frame("a", &bundle())).unwrap()).is_empty()
    );
}
