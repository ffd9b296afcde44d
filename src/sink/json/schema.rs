//! The fields of each line. They keep their order, and new ones are added at the end of their object.

use std::fmt::Display;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::super::{EventResult, Failure, FrameResult, Novelty, Stats, StoreStats, Times};
use super::still::StillFields;
use super::texts::{Text, Texts};
use super::things::{ThingFields, ThingsFields};
use super::units::millis;
use crate::answer::{self, Names, Told};
use crate::bundle::taxonomy::TaxonIds;
use crate::bundle::{Rank, Shot};
use crate::clock;
use crate::decide::Decision;
use crate::decide::consensus::{Agreed, Observation};
use crate::decide::events::Phase;
use crate::origin::Origin;

/// The common fields of a line, and the rest of it.
#[derive(Debug, Serialize)]
pub struct Head<'a, T> {
    pub schema: &'static str,
    /// Number of the line in this run, from 0. A gap means a lost line.
    pub seq: u64,
    pub boot_id: Option<&'a str>,
    #[serde(flatten)]
    pub time: Time,
    pub clock_synchronised: Option<bool>,
    #[serde(flatten)]
    pub line: T,
    /// Whether texts were cut to make the line fit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shortened: bool,
}

/// The last second of the year 9999, since 1970.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// One moment on both clocks.
#[derive(Debug, Serialize)]
pub struct Time {
    /// `None` for the time at which a photo was taken.
    mono_ns: Option<u64>,
    #[serde(serialize_with = "text")]
    wall: Wall,
}

/// RFC 3339 with milliseconds: in UTC, or without an offset.
#[derive(Debug)]
struct Wall(humantime::Rfc3339Timestamp, bool);

impl Display for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.1 {
            return self.0.fmt(f);
        }
        let text: heapless::String<40> = heapless::format!("{}", self.0).map_err(|_| std::fmt::Error)?;
        f.write_str(text.trim_end_matches('Z'))
    }
}

impl Time {
    pub fn new(mono: Duration) -> Time {
        // Times before 1970 cannot be written, and a clock that shows one is wrong.
        let wall = clock::wall_at(mono).max(std::time::UNIX_EPOCH);
        Time { mono_ns: Some(mono.as_nanos() as u64), wall: Wall(humantime::format_rfc3339_millis(wall), true) }
    }

    /// The moment `time` by the clock of `times`.
    fn by(times: Times, time: Duration) -> Time {
        if times == Times::Monotonic {
            return Time::new(time);
        }
        // Times after the year 9999 cannot be written, and no camera shows one.
        let wall = std::time::UNIX_EPOCH + time.min(LAST);
        Time { mono_ns: None, wall: Wall(humantime::format_rfc3339_millis(wall), times == Times::Utc) }
    }
}

fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A class, or open.
#[derive(Debug, Serialize)]
pub(super) struct Label<'a> {
    decision: &'static str,
    /// Id of the class, or name of the enrolled class; `None` if open.
    label: Option<Text<'a>>,
    /// Index among the logits; `None` if open or enrolled.
    class: Option<usize>,
}

impl<'a> Label<'a> {
    pub fn new(decision: Decision, names: Names<'a>, texts: Texts) -> Label<'a> {
        let class = match decision {
            Decision::Known(class) => Some(class),
            Decision::Enrolled(_) | Decision::Open | Decision::Unclassified => None,
        };
        Label { decision: decision.word(), label: names.label(decision).map(|label| texts.of(label)), class }
    }
}

/// `oltr.frame/1`: a classified frame. The time is that of its capture.
#[derive(Debug, Serialize)]
pub struct FrameLine<'a> {
    source: Text<'a>,
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
    /// `taken`, `place` and `camera` of a photo.
    #[serde(flatten)]
    origin: Option<&'a Origin>,
    /// `still` and `things` of a photo in thing mode.
    #[serde(flatten)]
    still: Option<StillFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taxon: Option<Option<Taxon<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    species_list: Option<SpeciesList>,
    /// Whether an earlier run may have reported the photo.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

/// The narrowest name that is right as often as the bundle promises.
#[derive(Debug, Serialize)]
struct Taxon<'a> {
    rank: Rank,
    name: Text<'a>,
    probability: f32,
    #[serde(flatten)]
    ids: TaxonIds,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Of<'a>>,
}

/// A taxon that a class is of.
#[derive(Debug, Serialize)]
struct Of<'a> {
    rank: Rank,
    name: Text<'a>,
}

impl<'a> Taxon<'a> {
    fn new(told: Told<'a>, texts: Texts) -> Taxon<'a> {
        let Told { rank, name, probability, ids, of } = told;
        let of = of.map(|answer::OfTaxon { rank, name }| Of { rank, name: texts.of(name) });
        Taxon { rank, name: texts.of(name), probability, ids, of }
    }
}

/// How many classes of how many a list leaves.
#[derive(Debug, Serialize)]
struct SpeciesList {
    classes: usize,
    of: usize,
}

#[derive(Debug, Serialize)]
struct Nearest<'a> {
    label: Text<'a>,
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
pub(super) struct Latency {
    pub preprocess: f64,
    pub inference: f64,
}

impl<'a> FrameLine<'a> {
    pub fn new(f: &FrameResult<'a>, texts: Texts) -> FrameLine<'a> {
        let (answer, names) = (&f.answer, f.answer.names());
        let consensus =
            |Agreed { label, share, support }| Consensus { label: Label::new(label, names, texts), share, support };
        let answer::Nearest { label, class, distance, .. } = answer.nearest;
        FrameLine {
            source: texts.of(f.source),
            frame: f.stamp.seq,
            label: Label::new(answer.decision, names, texts),
            probability: answer.probability,
            reachability: answer.reachability,
            threshold: answer.threshold,
            nearest: Nearest { label: texts.of(label), class, distance: distance.min(f32::MAX) },
            shot: answer.shot,
            consensus: f.agreed.map(consensus),
            age_ms: millis(f.age),
            dropped: f.dropped,
            latency_ms: Latency { preprocess: millis(answer.preprocess), inference: millis(answer.inference) },
            source_url: f.source_url,
            origin: f.origin,
            still: f.still.map(|still| StillFields::new(still, names, texts)),
            taxon: answer.told().map(|told| told.map(|told| Taxon::new(told, texts))),
            species_list: names.listed().map(|listed| SpeciesList { classes: listed.classes(), of: listed.of() }),
            again: f.again,
        }
    }
}

/// `oltr.event/1`: a change of an event. The time is that of the report.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    source: Text<'a>,
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
    #[serde(flatten)]
    novelty: Option<Novelty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thing: Option<ThingFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taxon: Option<Option<Taxon<'a>>>,
}

/// The run and the event's number in it: unique across runs and boots.
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
    /// `None` if nothing was classified, as are the fields below.
    probability: Option<f32>,
    reachability: Option<f32>,
    nearest: Option<Resembled<'a>>,
}

#[derive(Debug, Serialize)]
struct Resembled<'a> {
    label: Option<Text<'a>>,
    class: usize,
}

#[derive(Debug, Serialize)]
struct Mean {
    /// `None` if nothing was classified, as is the field below.
    probability: Option<f32>,
    reachability: Option<f32>,
}

impl<'a> EventLine<'a> {
    pub fn new(result: &EventResult<'a>, run: &'a str, novelty: Option<Novelty>, texts: Texts) -> EventLine<'a> {
        let names = result.names;
        let event = &result.change.event;
        let (r#type, reason) = match result.change.phase {
            Phase::New => ("new", None),
            Phase::Update => ("update", None),
            Phase::End(reason) => ("end", Some(reason.word())),
        };
        let Observation { frame, time, probability, reachability, nearest, .. } = event.best;
        let is_classified = event.label != Decision::Unclassified;
        let number = |number: f32| is_classified.then_some(number);
        let class = nearest as usize;
        let resembled = Resembled { label: names.class(class).map(|class| texts.of(&class.id)), class };
        EventLine {
            source: texts.of(result.source),
            id: EventId(run, event.id),
            r#type,
            reason,
            label: Label::new(event.label, names, texts),
            shot: names.shot(event.label),
            first: Time::by(result.times, event.first),
            last: Time::by(result.times, event.last),
            duration_ms: millis(event.duration()),
            frames: event.frames,
            best: Best {
                frame,
                time: Time::by(result.times, time),
                probability: number(probability),
                reachability: number(reachability),
                nearest: is_classified.then_some(resembled),
            },
            mean: Mean {
                probability: number(event.mean_probability()),
                reachability: number(event.mean_reachability()),
            },
            novelty,
            thing: result.thing.map(ThingFields::new),
            taxon: names.told_of(event).map(|told| told.map(|told| Taxon::new(told, texts))),
        }
    }
}

/// `oltr.stats/1`: counts since the start, and measurements since the last statistics.
#[derive(Debug, Serialize)]
pub struct StatsLine<'a> {
    source: Text<'a>,
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
    silent_ms: f64,
    /// Counts of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    things: Option<ThingsFields>,
    watched_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct IntervalFields {
    length_ms: f64,
    captured_fps: f64,
    classified_fps: f64,
    age_ms: MeanMax,
    inference_ms: MeanMax,
}

/// `None` without measurements.
#[derive(Debug, Serialize)]
struct MeanMax {
    mean: Option<f64>,
    max: Option<f64>,
}

/// The program's memory limit and plan.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    pub planned_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
}

impl<'a> StatsLine<'a> {
    /// Adds the counts of the store.
    pub fn with_store(self, store: Option<StoreStats>) -> StatsLine<'a> {
        StatsLine { store, ..self }
    }

    pub fn new(source: &'a str, s: &Stats, memory: Memory, texts: Texts) -> StatsLine<'a> {
        let i = &s.interval;
        let rate = |frames: u64| match i.length.as_secs_f64() {
            0.0 => 0.0,
            seconds => (frames as f64 / seconds * 1e3).round() / 1e3,
        };
        let of = |times: u64, sum: Duration, max: Duration| match u32::try_from(times) {
            Ok(times @ 1..) => MeanMax { mean: Some(millis(sum / times)), max: Some(millis(max)) },
            _ => MeanMax { mean: None, max: None },
        };
        StatsLine {
            source: texts.of(source),
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
                age_ms: of(i.classified, i.sum_age, i.max_age),
                inference_ms: of(i.inferences, i.sum_inference, i.max_inference),
            },
            memory,
            last: s.last,
            silent_ms: millis(s.silent),
            store: None,
            things: s.things.map(ThingsFields::new),
            watched_ms: s.watched.map(millis),
        }
    }
}

/// `oltr.error/1`: a frame that was damaged or could not be classified, at its place among the results.
#[derive(Debug, Serialize)]
pub struct ErrorLine<'a> {
    source: Text<'a>,
    kind: &'static str,
    error: Text<'a>,
    offset: Option<u64>,
}

impl<'a> ErrorLine<'a> {
    pub fn new(failure: &Failure<'a>, texts: Texts) -> ErrorLine<'a> {
        let Failure { source, kind, offset, reason, .. } = *failure;
        ErrorLine { source: texts.of(source), kind: kind.as_str(), error: texts.of(reason), offset }
    }
}
