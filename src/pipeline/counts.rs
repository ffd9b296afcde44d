//! Statistics of a running pipeline.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::shared::{Shared, now};
use crate::decide::events::{Change, Phase};
use crate::queue::Counts;
use crate::sink::{Interval, Stats};

/// How the time watched is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// By the clock: frames arrive live.
    Clock,
    /// The times of the first and the last frame of a recording.
    Recording(Option<(Duration, Duration)>),
    /// Unknown: a camera chose when to take photos.
    Unknown,
}

impl Watched {
    /// For a live source, a recording, or neither.
    pub fn of(live: bool, recording: bool) -> Watched {
        match (recording, live) {
            (true, _) => Watched::Recording(None),
            (false, true) => Watched::Clock,
            (false, false) => Watched::Unknown,
        }
    }
}

/// Measures [`Stats`].
#[derive(Debug)]
pub struct Meter {
    began: Duration,
    watched: Watched,
    every: Option<Duration>,
    events: u64,
    /// Drops that results have reported.
    dropped: u64,
    /// When the interval began, and the frames captured until then.
    interval_began: Duration,
    captured_before: u64,
    /// The interval so far. The rest is filled in on request.
    interval: Interval,
}

impl Meter {
    /// Starts now. Statistics are due at intervals of `every`.
    pub fn new(every: Option<Duration>, watched: Watched) -> Meter {
        let began = now();
        let (events, dropped, captured_before, interval) = Default::default();
        Meter { began, watched, every, events, dropped, interval_began: began, captured_before, interval }
    }

    /// A frame of the time `time` was classified.
    pub fn classified(&mut self, time: Duration, age: Duration) {
        if let Watched::Recording(span) = &mut self.watched {
            let (first, last) = span.unwrap_or((time, time));
            *span = Some((first.min(time), last.max(time)));
        }
        let i = &mut self.interval;
        i.max_age = i.max_age.max(age);
        i.sum_age += age;
        i.classified += 1;
    }

    /// The network ran `times` times for a frame, for `sum` together and for `longest` at most.
    pub fn inferred(&mut self, times: u32, sum: Duration, longest: Duration) {
        let i = &mut self.interval;
        i.inferences += u64::from(times);
        i.sum_inference += sum;
        i.max_inference = i.max_inference.max(longest);
    }

    /// An event changed.
    pub fn event(&mut self, change: &Change) {
        self.events += u64::from(change.phase == Phase::New);
    }

    /// Frames dropped since the last call. `dropped` is the total.
    pub fn dropped_since(&mut self, dropped: u64) -> u64 {
        dropped - std::mem::replace(&mut self.dropped, dropped)
    }

    /// Whether statistics are due at `now`.
    pub fn is_due(&self, now: Duration) -> bool {
        self.every.is_some_and(|every| now.saturating_sub(self.interval_began) >= every)
    }

    /// The statistics at `now`.
    pub fn stats(&self, now: Duration, counts: Counts, shared: &Shared) -> Stats {
        Stats {
            now,
            uptime: now.saturating_sub(self.began),
            watched: match self.watched {
                Watched::Clock => Some(now.saturating_sub(self.began)),
                Watched::Recording(span) => Some(span.map_or(Duration::ZERO, |(first, last)| last - first)),
                Watched::Unknown => None,
            },
            captured: counts.captured,
            classified: counts.classified,
            dropped: counts.dropped,
            waiting: counts.waiting,
            skipped: shared.skipped.load(Ordering::Relaxed),
            decode_errors: shared.decode_errors.load(Ordering::Relaxed),
            reconnects: shared.reconnects.load(Ordering::Relaxed),
            connected: shared.connected.load(Ordering::Relaxed),
            silent: now.saturating_sub(Duration::from_nanos(shared.heard.load(Ordering::Relaxed))),
            stuck: false,
            events: self.events,
            interval: Interval {
                length: now.saturating_sub(self.interval_began),
                captured: counts.captured - self.captured_before,
                ..self.interval
            },
            things: None,
            last: false,
        }
    }

    /// Begins a new interval after `stats` were reported.
    pub fn begin_interval(&mut self, stats: &Stats) {
        self.interval_began = stats.now;
        self.captured_before = stats.captured;
        self.interval = Interval::default();
    }
}
