//! How frames are taken and what is made of them.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::decide::events;
use crate::frame::RegionOfInterest;
use crate::queue::Overflow;
use crate::source::FrameSource;

/// How long either thread waits before it looks whether to stop, and ticks.
pub const TICK: Duration = Duration::from_millis(100);

/// A live source that gives nothing for so long is said to be silent, once, and again after twice the time, and so on; or
/// after twice the longest pause that there was between two frames, if that is more.
pub const SILENCE: Duration = Duration::from_secs(10);

/// How long a call of the source may take without any work of the processor, where no
/// [`source_timeout`](Settings::source_timeout) says it: then the source is stuck in the system.
pub const STUCK: Duration = Duration::from_secs(60);

/// Frames that wait, where nothing else is asked for: a camera's next frame is better than its last; a file's next one
/// should be there when it is needed.
pub const DEPTH_LIVE: usize = 1;
/// As [`DEPTH_LIVE`], for sources that wait.
pub const DEPTH_FILE: usize = 2;

/// Which frames make an event together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Those of the last frames that agree.
    #[default]
    Consensus,
    /// Photos that are no further apart than this: one event each time.
    Bursts(Duration),
    /// None: each frame is reported for itself, and there are no events.
    Alone,
}

/// How frames are taken and what is made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Frames that can wait; [`DEPTH_LIVE`] or [`DEPTH_FILE`] if `None`.
    pub depth: Option<usize>,
    /// What happens to frames that find no place; by default the newest wins for a live source, and others wait.
    pub overflow: Option<Overflow>,
    /// Of so many frames the first is taken; all if `None`.
    pub every: Option<NonZeroU32>,
    /// The least time between two frames: those of a live source that come sooner are passed over, other sources wait.
    pub spacing: Option<Duration>,
    /// The part of each frame that is classified.
    pub roi: RegionOfInterest,
    /// A live source that gives nothing for so long is lost; any source that does not return from a call for so long,
    /// without work for the processor, is stuck.
    pub source_timeout: Option<Duration>,
    /// What to do about a source that is lost.
    pub reconnect: Option<Backoff>,
    /// How often statistics are reported without being asked for.
    pub stats_every: Option<Duration>,
    /// How events are made of frames.
    pub events: events::Settings,
    /// Which frames make an event together.
    pub grouping: Grouping,
    /// Whether photos count by the time at which they were taken, where they say it, and not by their arrival.
    pub by_taken: bool,
    /// Bytes of the JPEG that a frame is decoded from which are kept beside it: [`Frame::encoded`](crate::Frame::encoded).
    pub keep_encoded: usize,
}

/// When to try again: after `first`, then after twice as long each time, up to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// Attempts in a row before giving up, at least 1; [`Limits::retries`](crate::Limits::retries) may say less.
    pub attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30), attempts: u32::MAX }
    }
}

impl Backoff {
    /// The wait before attempt `attempt`, from 0.
    pub fn pause(self, attempt: u32) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(attempt)).min(self.longest)
    }

    /// Whether attempt `attempt` is to be reported: the first few, then one in twenty, so that a camera that stays away
    /// does not fill a journal.
    pub fn is_told(attempt: u32) -> bool {
        attempt < 5 || attempt.is_multiple_of(20)
    }
}

impl Settings {
    /// Frames that can wait for `source`.
    pub fn depth_for(&self, source: &dyn FrameSource) -> usize {
        self.depth.unwrap_or(if source.is_live() { DEPTH_LIVE } else { DEPTH_FILE })
    }

    /// What happens to frames of `source` that find no place.
    pub fn overflow_for(&self, source: &dyn FrameSource) -> Overflow {
        self.overflow.unwrap_or(if source.is_live() { Overflow::DropOldest } else { Overflow::Block })
    }
}
