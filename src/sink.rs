//! Where results go: what a pipeline tells, and to whom.
//!
//! A [`Sink`] is passed in. [`json::JsonLines`] writes the lines that docs/reference/events.md describes; a program of one's own
//! implements the trait for what it does with the results.

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
    /// The source, or the photo where the frame is one.
    pub source: &'a str,
    /// The photo's path as a relative URL, where that is not UTF-8: [`Frame::url`](crate::Frame::url).
    pub source_url: Option<&'a str>,
    /// Number and time of capture.
    pub stamp: Stamp,
    /// What it shows.
    pub answer: Answer<'a>,
    /// What this frame and those before it agree on, if they do.
    pub agreed: Option<Agreed>,
    /// From capture to decision.
    pub age: Duration,
    /// Frames dropped since the last result.
    pub dropped: u64,
    /// When, where and with what it was taken, of a photo.
    pub origin: Option<&'a Origin>,
    /// What was cut out, of a photo in which things are looked for; the answer is then that of one of them.
    pub still: Option<&'a Still>,
    /// Whether it may have been told of already: [`Frame::is_again`].
    pub again: bool,
}

/// By which clock the times of an event are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// The monotonic clock, by when frames arrived.
    #[default]
    Monotonic,
    /// Since 1970 by UTC, by when photos were taken.
    Utc,
    /// Since 1970 by the clock of a camera that does not say how far it is from UTC.
    Local,
}

/// Something happened to an event.
#[derive(Clone, Copy, Debug)]
pub struct EventResult<'a> {
    /// The source.
    pub source: &'a str,
    /// When the pipeline told, on the monotonic clock.
    pub now: Duration,
    /// What happened.
    pub change: Change,
    /// Labels and names of what was seen.
    pub names: Names<'a>,
    /// By which clock its times are.
    pub times: Times,
    /// The thing that the event is of, where things are looked for.
    pub thing: Option<EventThing<'a>>,
}

/// What is new about an event, where events are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Novelty {
    /// Whether no event of this class was kept before.
    pub first_ever: bool,
    /// Whether it is the first of its class on this day, in UTC.
    pub first_today: bool,
    /// Days since the last one of its class; `None` for the first, and where the clock went back.
    pub days_since: Option<u32>,
}

/// What has become of events that are to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStats {
    /// `open`; `waiting` for a store that cannot be opened or written now; `closed` in the end.
    pub state: &'static str,
    /// Records that are in the store.
    pub records: u64,
    /// Bytes of the store.
    pub bytes: u64,
    /// Events that were kept since the stream began.
    pub kept: u64,
    /// Events that came faster than they were written.
    pub dropped: u64,
    /// Events that could not be kept.
    pub not_kept: u64,
    /// Pictures that could not be kept with their events.
    pub pictures_lost: u64,
    /// Records that were given up to make room.
    pub evicted: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
}

/// One frame in which things were looked for.
#[derive(Clone, Copy, Debug)]
pub struct SceneResult<'a> {
    /// The source, or the photo where the frame is one.
    pub source: &'a str,
    /// As [`FrameResult::source_url`].
    pub source_url: Option<&'a str>,
    /// Number and time of capture.
    pub stamp: Stamp,
    /// The whole frame.
    pub frame: &'a Frame,
    /// Labels and names of what was seen.
    pub names: Names<'a>,
    /// The things that are present.
    pub things: &'a [Present],
    /// From capture to decision.
    pub age: Duration,
    /// Frames dropped since the last result.
    pub dropped: u64,
    /// How long the work took.
    pub times: things::Times,
}

/// One cut of a thing was classified.
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
    /// What changed.
    pub camera: Camera,
    /// What is known of the picture from now on.
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
    /// Where it began in the input, in bytes, for a source that is one.
    pub offset: Option<u64>,
    /// What is wrong, and the remedy.
    pub reason: &'a str,
}

/// What has become of the frames so far, and how long they took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// When this was counted, on the monotonic clock.
    pub now: Duration,
    /// Since the pipeline began.
    pub uptime: Duration,
    /// How long was watched: of a recording by the times of its frames; `None` where frames do not say it, as photos.
    pub watched: Option<Duration>,
    /// Frames that were taken from the source: classified, dropped, waiting, or in progress.
    pub captured: u64,
    /// Frames that were classified.
    pub classified: u64,
    /// Frames that were pushed out by newer ones, left over in the end, or could not be classified.
    pub dropped: u64,
    /// Frames that wait now.
    pub waiting: usize,
    /// Frames passed over because fewer were asked for; they are not captured.
    pub skipped: u64,
    /// Frames that were no pictures; they are not captured either.
    pub decode_errors: u64,
    /// Times that the source went away and came back.
    pub reconnects: u64,
    /// Whether the source is there: neither gone, nor silent for long, nor stuck.
    pub connected: bool,
    /// How long the source has given neither a frame nor a damaged one.
    pub silent: Duration,
    /// Whether a call of the source has not returned for so long that it may never.
    pub stuck: bool,
    /// Events announced so far.
    pub events: u64,
    /// What the time since the last statistics was like.
    pub interval: Interval,
    /// What there is to say of things, where they are looked for.
    pub things: Option<ThingStats>,
    /// Whether these are the last ones: `captured = classified + dropped`.
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
    /// Inferences in it: as many as frames were classified, or as cuts of things were.
    pub inferences: u64,
    /// The longest inference.
    pub max_inference: Duration,
    /// The sum of all inferences.
    pub sum_inference: Duration,
}

/// Takes results, one after another, on the thread that classifies: a slow one makes frames wait.
///
/// Every method but [`Sink::event`] does nothing unless it is written. An error ends the pipeline.
pub trait Sink {
    /// A frame was classified.
    fn frame(&mut self, frame: &FrameResult) -> Result<()> {
        let _ = frame;
        Ok(())
    }

    /// Things were looked for in a frame; called instead of [`Sink::frame`].
    fn scene(&mut self, scene: &SceneResult) -> Result<()> {
        let _ = scene;
        Ok(())
    }

    /// A cut of a thing was classified.
    fn cut(&mut self, cut: &CutResult) -> Result<()> {
        let _ = cut;
        Ok(())
    }

    /// The camera as a whole changed: it moved, or it got dark.
    fn camera(&mut self, camera: &CameraResult) -> Result<()> {
        let _ = camera;
        Ok(())
    }

    /// An event began, goes on, or ended.
    fn event(&mut self, event: &EventResult) -> Result<()>;

    /// A frame was lost to damage.
    fn failure(&mut self, failure: &Failure) -> Result<()> {
        let _ = failure;
        Ok(())
    }

    /// Statistics were asked for, or are due; also once at the end.
    fn stats(&mut self, source: &str, stats: &Stats) -> Result<()> {
        let (_, _) = (source, stats);
        Ok(())
    }

    /// All has been reported, but the source does not return, as `error` says, and the pipeline waits for it. A program may end
    /// itself here.
    fn stuck(&mut self, error: &Error) {
        let _ = error;
    }

    /// Called after each frame, and several times a second without any, with what is in progress: for watchdogs,
    /// displays, and whatever else must not wait for a frame.
    fn tick(&mut self, stats: &Stats, events: &mut dyn Iterator<Item = &Event>) -> Result<()> {
        let (_, _) = (stats, events);
        Ok(())
    }
}
