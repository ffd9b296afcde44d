//! The fields of each line. They keep their order; new ones are added at the end of their object.

use std::fmt::Display;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::super::{EventResult, Failure, FrameResult, Stats};
use crate::bundle::{Bundle, Shot};
use crate::clock;
use crate::decide::Decision;
use crate::decide::consensus::{Agreed, Observation};
use crate::decide::events::{EndReason, Phase};
use crate::enrol::Enrolled;

/// Names of classes by index.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    pub bundle: &'a Bundle,
    pub enrolled: &'a [Enrolled],
}

impl<'a> Names<'a> {
    fn label(self, decision: Decision) -> Label<'a> {
        match decision {
            Decision::Known(class) => Label { decision: "known", label: self.id(class), class: Some(class) },
            Decision::Enrolled(class) => {
                Label { decision: "known", label: self.enrolled.get(class).map(Enrolled::name), class: None }
            }
            Decision::Open => Label { decision: "open", label: None, class: None },
        }
    }

    fn id(self, class: usize) -> Option<&'a str> {
        self.bundle.classes.get(class).map(|class| class.id.as_str())
    }

    fn shot(self, decision: Decision) -> Option<Shot> {
        match decision {
            Decision::Known(class) => self.bundle.classes.get(class).map(|class| class.shot()),
            Decision::Enrolled(_) | Decision::Open => None,
        }
    }
}

/// What every line begins with, and the rest of it.
#[derive(Debug, Serialize)]
pub struct Head<'a, T> {
    pub schema: &'static str,
    /// Number of the line in this run, from 0: a gap is a line that was lost.
    pub seq: u64,
    pub boot_id: Option<&'a str>,
    #[serde(flatten)]
    pub time: Time,
    pub clock_synchronised: Option<bool>,
    #[serde(flatten)]
    pub line: T,
}

/// One moment on both clocks.
#[derive(Debug, Serialize)]
pub struct Time {
    mono_ns: u64,
    /// RFC 3339, UTC, milliseconds.
    #[serde(serialize_with = "text")]
    wall: humantime::Rfc3339Timestamp,
}

impl Time {
    pub fn new(mono: Duration) -> Time {
        // Before 1970 there is no such text; a clock that says so says nothing.
        let wall = clock::wall_at(mono).max(std::time::UNIX_EPOCH);
        Time { mono_ns: mono.as_nanos() as u64, wall: humantime::format_rfc3339_millis(wall) }
    }
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A class, or open.
#[derive(Debug, Serialize)]
struct Label<'a> {
    decision: &'static str,
    /// Id of the class, or the name of an enrolled one; `None` if open.
    label: Option<&'a str>,
    /// Its place among the logits; `None` if open or enrolled.
    class: Option<usize>,
}

/// `oltr.frame/1`: a classified frame; the time is that of its capture.
#[derive(Debug, Serialize)]
pub struct FrameLine<'a> {
    source: &'a str,
    frame: u64,
    #[serde(flatten)]
    label: Label<'a>,
    probability: f32,
    reachability: f32,
    threshold: f32,
    nearest: Nearest<'a>,
    shot: Option<Shot>,
    consensus: Option<Consensus<'a>>,
    age_ms: f64,
    dropped: u64,
    latency_ms: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_url: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Nearest<'a> {
    label: Option<&'a str>,
    class: usize,
    distance: f32,
}

#[derive(Debug, Serialize)]
struct Consensus<'a> {
    #[serde(flatten)]
    label: Label<'a>,
    share: f32,
    support: f32,
}

#[derive(Debug, Serialize)]
struct Latency {
    preprocess: f64,
    inference: f64,
}

impl<'a> FrameLine<'a> {
    pub fn new(f: &FrameResult<'a>, names: Names<'a>) -> FrameLine<'a> {
        let consensus = |Agreed { label, share, support }| Consensus { label: names.label(label), share, support };
        let (class, distance) = (f.scores.nearest, f.scores.distance.min(f32::MAX));
        FrameLine {
            source: f.source,
            frame: f.stamp.seq,
            label: names.label(f.verdict.decision),
            probability: f.scores.probability,
            reachability: f.scores.reachability,
            threshold: f.verdict.threshold,
            nearest: Nearest { label: names.id(class), class, distance },
            shot: names.shot(f.verdict.decision),
            consensus: f.agreed.map(consensus),
            age_ms: millis(f.age),
            dropped: f.dropped,
            latency_ms: Latency { preprocess: millis(f.preprocess), inference: millis(f.inference) },
            source_url: f.source_url,
        }
    }
}

/// `oltr.event/1`: an event and what happened to it; the time is when that was told.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    source: &'a str,
    #[serde(serialize_with = "text")]
    id: EventId<'a>,
    r#type: &'static str,
    reason: Option<&'static str>,
    #[serde(flatten)]
    label: Label<'a>,
    shot: Option<Shot>,
    first: Time,
    last: Time,
    duration_ms: f64,
    frames: u64,
    best: Best<'a>,
    mean: Mean,
}

/// The run and the event's number in it: unique among all runs on all boots.
#[derive(Debug)]
struct EventId<'a>(&'a str, u64);

impl Display for EventId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

#[derive(Debug, Serialize)]
struct Best<'a> {
    frame: u64,
    #[serde(flatten)]
    time: Time,
    probability: f32,
    reachability: f32,
    nearest: Resembled<'a>,
}

#[derive(Debug, Serialize)]
struct Resembled<'a> {
    label: Option<&'a str>,
    class: usize,
}

#[derive(Debug, Serialize)]
struct Mean {
    probability: f32,
    reachability: f32,
}

impl<'a> EventLine<'a> {
    pub fn new(result: &EventResult<'a>, run: &'a str, names: Names<'a>) -> EventLine<'a> {
        let event = &result.change.event;
        let (r#type, reason) = match result.change.phase {
            Phase::New => ("new", None),
            Phase::Update => ("update", None),
            Phase::End(reason) => ("end", Some(reason_text(reason))),
        };
        let Observation { frame, time, probability, reachability, nearest, .. } = event.best;
        let resembled = Resembled { label: names.id(nearest), class: nearest };
        EventLine {
            source: result.source,
            id: EventId(run, event.id),
            r#type,
            reason,
            label: names.label(event.label),
            shot: names.shot(event.label),
            first: Time::new(event.first),
            last: Time::new(event.last),
            duration_ms: millis(event.duration()),
            frames: event.frames,
            best: Best { frame, time: Time::new(time), probability, reachability, nearest: resembled },
            mean: Mean { probability: event.mean_probability(), reachability: event.mean_reachability() },
        }
    }
}

fn reason_text(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Gone => "gone",
        EndReason::Silence => "silence",
        EndReason::Crowded => "crowded",
        EndReason::Finished => "finished",
    }
}

/// `oltr.stats/1`: the counts since the beginning, and what the time since the last statistics was like.
#[derive(Debug, Serialize)]
pub struct StatsLine<'a> {
    source: &'a str,
    uptime_ms: f64,
    captured: u64,
    classified: u64,
    dropped: u64,
    waiting: usize,
    skipped: u64,
    decode_errors: u64,
    reconnects: u64,
    connected: bool,
    events: u64,
    interval: IntervalFields,
    memory: Memory,
    last: bool,
}

#[derive(Debug, Serialize)]
struct IntervalFields {
    length_ms: f64,
    captured_fps: f64,
    classified_fps: f64,
    age_ms: MeanMax,
    inference_ms: MeanMax,
}

/// `None` where there was no frame.
#[derive(Debug, Serialize)]
struct MeanMax {
    mean: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Memory {
    planned_bytes: Option<u64>,
    limit_bytes: Option<u64>,
}

impl<'a> StatsLine<'a> {
    pub fn new(source: &'a str, s: &Stats, planned_bytes: Option<u64>, limit_bytes: Option<u64>) -> StatsLine<'a> {
        let i = &s.interval;
        let rate = |frames: u64| match i.length.as_secs_f64() {
            0.0 => 0.0,
            seconds => (frames as f64 / seconds * 1e3).round() / 1e3,
        };
        let of = |sum: Duration, max: Duration| match u32::try_from(i.classified) {
            Ok(frames @ 1..) => MeanMax { mean: Some(millis(sum / frames)), max: Some(millis(max)) },
            _ => MeanMax { mean: None, max: None },
        };
        StatsLine {
            source,
            uptime_ms: millis(s.uptime),
            captured: s.captured,
            classified: s.classified,
            dropped: s.dropped,
            waiting: s.waiting,
            skipped: s.skipped,
            decode_errors: s.decode_errors,
            reconnects: s.reconnects,
            connected: s.connected,
            events: s.events,
            interval: IntervalFields {
                length_ms: millis(i.length),
                captured_fps: rate(i.captured),
                classified_fps: rate(i.classified),
                age_ms: of(i.sum_age, i.max_age),
                inference_ms: of(i.sum_inference, i.max_inference),
            },
            memory: Memory { planned_bytes, limit_bytes },
            last: s.last,
        }
    }
}

/// `oltr.error/1`: a frame that was no picture, or could not be classified, at its place among the results.
#[derive(Debug, Serialize)]
pub struct ErrorLine<'a> {
    source: &'a str,
    kind: &'static str,
    error: &'a str,
    offset: Option<u64>,
}

impl<'a> ErrorLine<'a> {
    pub fn new(failure: &Failure<'a>) -> ErrorLine<'a> {
        let Failure { source, kind, offset, reason, .. } = *failure;
        ErrorLine { source, kind: kind.as_str(), error: reason, offset }
    }
}

/// Milliseconds to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
