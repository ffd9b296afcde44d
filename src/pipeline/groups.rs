//! Which frames belong together: what the last ones agree on, the photos of a burst, or each for itself; and by which time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::settings::Grouping;
use crate::bundle::Bundle;
use crate::classify::Classify;
use crate::clock;
use crate::decide::consensus::{Agreed, Observation};
use crate::decide::events::bursts::Bursts;
use crate::decide::events::{Changes, EndReason, Event, Settings, Tracker};
use crate::decide::mean::Mean;
use crate::error::Result;
use crate::frame::Frame;
use crate::limits::Limits;
use crate::sink::Times;
use crate::things::stills::camera_key;

/// A pause between two arrivals that ends no burst, however short bursts are: large photos take so long.
const SLOW: Duration = Duration::from_secs(10);

/// The groups of one stream.
pub struct Groups {
    kind: Kind,
    /// Whether photos have the time at which they were taken.
    by_taken: bool,
    gap: Duration,
    /// When the last frame was captured, by the clock of the frames; and when it arrived.
    last: Option<(Duration, Duration)>,
    /// By what clock the times of the last frame are.
    times: Times,
}

enum Kind {
    Agreeing(Box<Tracker>),
    Bursts(Box<Bursts>, Mean),
    Alone,
}

impl Groups {
    /// Groups of what `bundle` names.
    ///
    /// # Errors
    /// As [`Tracker::new`].
    pub fn new(
        bundle: &Bundle,
        events: Settings,
        grouping: Grouping,
        by_taken: bool,
        limits: &Limits,
    ) -> Result<Groups> {
        let kind = match grouping {
            Grouping::Consensus => Kind::Agreeing(Box::new(Tracker::new(bundle, events, limits)?)),
            Grouping::Bursts(apart) => Kind::Bursts(Box::new(Bursts::new(apart)), Mean::new(bundle.classes.len())),
            Grouping::Alone => Kind::Alone,
        };
        let (gap, times) = (events.gap, if by_taken { Times::Local } else { Times::Monotonic });
        Ok(Groups { kind, by_taken, gap, last: None, times })
    }

    /// By what clock the times of the last frame are, and of the events that it belongs to.
    pub fn times(&self) -> Times {
        self.times
    }

    /// A frame came at `now`: what ends because it belongs to nothing before it.
    pub fn begin(&mut self, frame: &Frame, now: Duration) -> (Times, Changes) {
        let before = self.times;
        let mut time = Duration::from_nanos(frame.stamp().mono_ns);
        if self.by_taken {
            (time, self.times) = taken(frame);
        }
        let last = self.last.replace((time, now));
        let ended = match &mut self.kind {
            Kind::Bursts(bursts, _) if before != self.times => bursts.end(EndReason::Silence),
            Kind::Bursts(bursts, _) => bursts.part(camera_key(frame.label(), frame.origin()), time),
            // Time that goes back, as from one folder to the next, parts them as time that goes on does.
            Kind::Agreeing(tracker) if before != self.times || last.is_some_and(|(last, _)| time + self.gap < last) => {
                tracker.silence(Duration::MAX)
            }
            Kind::Agreeing(_) | Kind::Alone => Changes::new(),
        };
        (before, ended)
    }

    /// The frame that came last shows `o`: what the last frames agree on, and what that changes.
    pub fn observe(&mut self, frame: &Frame, mut o: Observation) -> (Option<Agreed>, Changes) {
        if let Some((time, _)) = self.last {
            o.time = time;
        }
        match &mut self.kind {
            Kind::Agreeing(tracker) => tracker.observe(&o),
            Kind::Bursts(bursts, _) => (None, bursts.observe(camera_key(frame.label(), frame.origin()), &o)),
            Kind::Alone => (None, Changes::new()),
        }
    }

    /// What `classifier` computed for the frame that was observed last: the photos of a burst are judged by the mean of it.
    pub fn add(&mut self, classifier: &dyn Classify) {
        let Kind::Bursts(bursts, mean) = &mut self.kind else { return };
        let Some(outputs) = classifier.outputs() else { return };
        if bursts.photos() <= 1 {
            mean.clear();
        }
        // Outputs that are no answer were reported as such.
        if mean.observe(&outputs.logits, &outputs.distances).is_ok() {
            bursts.set_together(classifier.together(mean));
        }
    }

    /// Nothing came until `now`.
    pub fn silence(&mut self, now: Duration) -> Changes {
        let quiet = self.last.map_or(Duration::ZERO, |(_, arrived)| now.saturating_sub(arrived));
        match &mut self.kind {
            Kind::Agreeing(tracker) if !self.by_taken => tracker.silence(now),
            Kind::Agreeing(tracker) if quiet > self.gap.max(SLOW) => tracker.silence(Duration::MAX),
            Kind::Bursts(bursts, _) if quiet > bursts.apart().max(SLOW) => bursts.end(EndReason::Silence),
            _ => Changes::new(),
        }
    }

    /// The stream has ended.
    pub fn finish(&mut self) -> Changes {
        match &mut self.kind {
            Kind::Agreeing(tracker) => tracker.finish(),
            Kind::Bursts(bursts, _) => bursts.end(EndReason::Finished),
            Kind::Alone => Changes::new(),
        }
    }

    /// The announced events in progress.
    pub fn in_progress(&self) -> impl Iterator<Item = &Event> {
        let tracker = match &self.kind {
            Kind::Agreeing(tracker) => Some(tracker),
            _ => None,
        };
        tracker.into_iter().flat_map(|tracker| tracker.in_progress())
    }
}

/// When a photo was taken, since 1970, and by what clock: where it does not say so, now.
fn taken(frame: &Frame) -> (Duration, Times) {
    let Some(taken) = &frame.origin().taken else {
        let wall: SystemTime = clock::wall_at(Duration::from_nanos(frame.stamp().mono_ns));
        return (wall.duration_since(UNIX_EPOCH).unwrap_or_default(), Times::Utc);
    };
    let (ms, times) = match taken.utc_ms() {
        Some(ms) => (ms, Times::Utc),
        None => (taken.local_ms(), Times::Local),
    };
    (Duration::from_millis(ms.max(0).unsigned_abs()), times)
}
