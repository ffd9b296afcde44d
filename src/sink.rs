//! Results of a pipeline, and the trait that receives them.
//!
//! A [`Sink`] is passed in. [`json::JsonLines`] writes the lines of docs/reference/events.md. Other programs implement
//! the trait for their own use of the results.

pub mod json;

use std::time::Duration;

use serde::Serialize;

use crate::answer::{Answer, Names};
use crate::decide::consensus::Agreed;
use crate::decide::events::{Change, Event};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, Stamp};
use crate::origin::Origin;
use crate::things::stills::Still;
use crate::things::{self, Camera, Cut, EventThing, Present, State, ThingStats};

/// One classified frame.
#[derive(Clone, Copy, Debug)]
pub struct FrameResult<'a> {
    /// The source, or the photo's path.
    pub source: &'a str,
    /// The photo's path as a relative URL, if it is not UTF-8: [`Frame::url`](crate::Frame::url).
    pub source_url: Option<&'a str>,
    /// Number and time of capture.
    pub stamp: Stamp,
    /// The answer.
    pub answer: Answer<'a>,
    /// The consensus of this frame and those before it, if there is one.
    pub agreed: Option<Agreed>,
    /// Time from capture to decision.
    pub age: Duration,
    /// Frames dropped since the last result.
    pub dropped: u64,
    /// Time, place and camera of a photo.
    pub origin: Option<&'a Origin>,
    /// The crops of a photo in thing mode. The answer is then that of one of them.
    pub still: Option<&'a Still>,
    /// Whether an earlier run may have reported it: [`Frame::is_again`].
    pub again: bool,
}

/// The clock of an event's times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// The monotonic clock, by when frames arrived.
    #[default]
    Monotonic,
    /// Since 1970 by UTC, by when photos were taken.
    Utc,
    /// Since 1970, by a camera's clock with an unknown UTC offset.
    Local,
}

/// Something happened to an event.
#[derive(Clone, Copy, Debug)]
pub struct EventResult<'a> {
    /// The source.
    pub source: &'a str,
    /// Time of the report, on the monotonic clock.
    pub now: Duration,
    /// The change.
    pub change: Change,
    /// Labels and names of the classes.
    pub names: Names<'a>,
    /// The clock of its times.
    pub times: Times,
    /// The thing of the event, in thing mode.
    pub thing: Option<EventThing<'a>>,
}

/// Novelty of an event, if events are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Novelty {
    /// Whether it is the first stored event of this class.
    pub first_ever: bool,
    /// Whether it is the first of its class on this day, in UTC.
    pub first_today: bool,
    /// Days since the last event of its class. `None` for the first one, or if the clock went back.
    pub days_since: Option<u32>,
}

/// Counts of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStats {
    /// `open`; `waiting` if the store cannot be opened or written now; `closed` at the end.
    pub state: &'static str,
    /// Records that are in the store.
    pub records: u64,
    /// Bytes of the store.
    pub bytes: u64,
    /// Events stored since the stream began.
    pub kept: u64,
    /// Events dropped because they came faster than they were written.
    pub dropped: u64,
    /// Events that could not be stored.
    pub not_kept: u64,
    /// Pictures that could not be stored with their events.
    pub pictures_lost: u64,
    /// Evicted records.
    pub evicted: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
}

/// A frame in thing mode.
#[derive(Clone, Copy, Debug)]
pub struct SceneResult<'a> {
    /// The source, or the photo's path.
    pub source: &'a str,
    /// As [`FrameResult::source_url`].
    pub source_url: Option<&'a str>,
    /// Number and time of capture.
    pub stamp: Stamp,
    /// The whole frame.
    pub frame: &'a Frame,
    /// Labels and names of the classes.
    pub names: Names<'a>,
    /// The things in view.
    pub things: &'a [Present],
    /// Time from capture to decision.
    pub age: Duration,
    /// Frames dropped since the last result.
    pub dropped: u64,
    /// How long the work took.
    pub times: things::Times,
}

/// A classified crop of a thing.
#[derive(Clone, Copy, Debug)]
pub struct CutResult<'a> {
    /// The source.
    pub source: &'a str,
    /// The cut.
    pub cut: Cut<'a>,
}

/// The camera as a whole changed.
#[derive(Clone, Copy, Debug)]
pub struct CameraResult<'a> {
    /// The source.
    pub source: &'a str,
    /// Number and time of the frame that shows it.
    pub stamp: Stamp,
    /// The change.
    pub camera: Camera,
    /// The state of the picture from now on.
    pub state: State,
}

/// A frame that was no picture, or that could not be classified.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failure<'a> {
    /// The source.
    pub source: &'a str,
    /// When it was found, on the monotonic clock.
    pub now: Duration,
    /// The class of error.
    pub kind: ErrorKind,
    /// Offset of its beginning in the input, in bytes, if the source has one.
    pub offset: Option<u64>,
    /// What is wrong, and the remedy.
    pub reason: &'a str,
}

/// Counts and timings of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// When this was counted, on the monotonic clock.
    pub now: Duration,
    /// Since the pipeline began.
    pub uptime: Duration,
    /// Time watched: of a recording by its frame times; `None` if unknown, as for photos.
    pub watched: Option<Duration>,
    /// Frames taken from the source: classified, dropped, queued, or in progress.
    pub captured: u64,
    /// Frames that were classified.
    pub classified: u64,
    /// Frames that were replaced by newer ones, left in the queue at the end, or could not be classified.
    pub dropped: u64,
    /// Frames that wait now.
    pub waiting: usize,
    /// Frames skipped because fewer were requested; they are not counted as captured.
    pub skipped: u64,
    /// Damaged frames; they are not counted as captured.
    pub decode_errors: u64,
    /// How many times the source was lost and came back.
    pub reconnects: u64,
    /// Whether the source is connected: not lost, not silent for long, and not stuck.
    pub connected: bool,
    /// How long the source has given neither a frame nor a damaged one.
    pub silent: Duration,
    /// Whether the source is stuck in a call.
    pub stuck: bool,
    /// Events announced so far.
    pub events: u64,
    /// Measurements since the last statistics.
    pub interval: Interval,
    /// Counts of things, in thing mode.
    pub things: Option<ThingStats>,
    /// Whether these are the last statistics: `captured = classified + dropped`.
    pub last: bool,
}

/// The time from one statistics to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// How long it was.
    pub length: Duration,
    /// Frames captured in it.
    pub captured: u64,
    /// Frames classified in it.
    pub classified: u64,
    /// The highest age of a frame at its decision.
    pub max_age: Duration,
    /// The sum of the ages.
    pub sum_age: Duration,
    /// Inferences in the interval: one for each classified frame or crop.
    pub inferences: u64,
    /// The longest inference.
    pub max_inference: Duration,
    /// The sum of all inferences.
    pub sum_inference: Duration,
}

/// Receives results one after another, on the classifying thread. A slow sink makes frames wait.
///
/// All methods except [`Sink::event`] do nothing by default. An error ends the pipeline.
pub trait Sink {
    /// A frame was classified.
    fn frame(&mut self, frame: &FrameResult) -> Result<()> {
        let _ = frame;
        Ok(())
    }

    /// A frame in thing mode was processed. Called instead of [`Sink::frame`].
    fn scene(&mut self, scene: &SceneResult) -> Result<()> {
        let _ = scene;
        Ok(())
    }

    /// A crop of a thing was classified.
    fn cut(&mut self, cut: &CutResult) -> Result<()> {
        let _ = cut;
        Ok(())
    }

    /// The whole picture changed: the camera moved, or it became dark.
    fn camera(&mut self, camera: &CameraResult) -> Result<()> {
        let _ = camera;
        Ok(())
    }

    /// An event began, continues, or ended.
    fn event(&mut self, event: &EventResult) -> Result<()>;

    /// A frame was lost to damage.
    fn failure(&mut self, failure: &Failure) -> Result<()> {
        let _ = failure;
        Ok(())
    }

    /// Statistics were requested or are due; also called once at the end.
    fn stats(&mut self, source: &str, stats: &Stats) -> Result<()> {
        let (_, _) = (source, stats);
        Ok(())
    }

    /// Everything has been reported, but the source is stuck with `error`, and the pipeline waits for it. A program may
    /// exit here.
    fn stuck(&mut self, error: &Error) {
        let _ = error;
    }

    /// Called after each frame, and several times a second without any, with the open events: for watchdogs, displays
    /// and other work that must not wait for a frame.
    fn tick(&mut self, stats: &Stats, events: &mut dyn Iterator<Item = &Event>) -> Result<()> {
        let (_, _) = (stats, events);
        Ok(())
    }
}
