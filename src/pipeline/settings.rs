//! Settings of a pipeline.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::decide::events;
use crate::frame::RegionOfInterest;
use crate::queue::Overflow;
use crate::source::FrameSource;

/// How long either thread waits between checks for a stop, and between ticks.
pub const TICK: Duration = Duration::from_millis(100);

/// A live source that is silent for this long is reported once, again after twice the time, and so on. If twice the
/// longest pause between two frames is more, that counts instead.
pub const SILENCE: Duration = Duration::from_secs(10);

/// How long a call of the source may take without processor time, if no [`source_timeout`](Settings::source_timeout) is
/// set. After that the source counts as stuck.
pub const STUCK: Duration = Duration::from_secs(60);

/// Default length of the queue of a live source: the newest frame is better than an older one.
pub const DEPTH_LIVE: usize = 1;
/// Default length for other sources: the next frame should be ready when it is needed.
pub const DEPTH_FILE: usize = 2;

/// Which frames make an event together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// The last frames that agree.
    #[default]
    Consensus,
    /// Photos at most this far apart: one event for each burst.
    Bursts(Duration),
    /// None: each frame is reported alone, and there are no events.
    Alone,
}

/// Settings of a pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Frames that can wait; [`DEPTH_LIVE`] or [`DEPTH_FILE`] if `None`.
    pub depth: Option<usize>,
    /// What happens to frames that find no place; by default the newest wins for a live source, and others wait.
    pub overflow: Option<Overflow>,
    /// Takes one frame in every N; all if `None`.
    pub every: Option<NonZeroU32>,
    /// Least time between two frames. A live source's frames in between are skipped; other sources wait.
    pub spacing: Option<Duration>,
    /// The part of each frame that is classified.
    pub roi: RegionOfInterest,
    /// Timeout of a source. A live source that is silent for longer is lost. Any source whose call takes longer without
    /// processor time is stuck.
    pub source_timeout: Option<Duration>,
    /// How to reconnect a lost source.
    pub reconnect: Option<Backoff>,
    /// Interval of statistics; `None` for none but those on request and at the end.
    pub stats_every: Option<Duration>,
    /// Settings of events.
    pub events: events::Settings,
    /// Which frames make an event together.
    pub grouping: Grouping,
    /// Whether photos count by their EXIF time, if they have one, and not by arrival.
    pub by_taken: bool,
    /// Most bytes of the JPEG that is kept with a frame decoded from it: [`Frame::encoded`](crate::Frame::encoded).
    pub keep_encoded: usize,
}

/// Pauses between attempts: `first`, then twice as long each time, up to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// Most attempts in a row, at least 1. [`Limits::retries`](crate::Limits::retries) may be lower.
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

    /// Whether attempt `attempt` is reported: the first few, then one in twenty, so that a camera that stays away does
    /// not fill a log.
    pub fn is_told(attempt: u32) -> bool {
        attempt < 5 || attempt.is_multiple_of(20)
    }
}

impl Settings {
    /// Frames that can wait for `source`.
    pub fn depth_for(&self, source: &dyn FrameSource) -> usize {
        self.depth.unwrap_or(if source.is_live() { DEPTH_LIVE } else { DEPTH_FILE })
    }

    /// What happens to frames of `source` that do not fit into the queue.
    pub fn overflow_for(&self, source: &dyn FrameSource) -> Overflow {
        self.overflow.unwrap_or(if source.is_live() { Overflow::DropOldest } else { Overflow::Block })
    }
}
