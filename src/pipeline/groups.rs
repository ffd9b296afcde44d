//! Groups frames: the consensus of the last ones, the photos of a burst, or each frame alone. Also chooses the clock.

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

/// A pause between arrivals never ends a burst if it is shorter than this: reading large photos takes that long.
const SLOW: Duration = Duration::from_secs(10);

/// The grouping of one stream.
pub struct Groups {
    kind: Kind,
    /// Whether to use the photos' EXIF times.
    by_taken: bool,
    gap: Duration,
    /// Capture time of the last frame by the frames' clock, and its arrival.
    last: Option<(Duration, Duration)>,
    /// Clock of the last frame's time.
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

    /// Clock of the last frame's time and of its events.
    pub fn times(&self) -> Times {
        self.times
    }

    /// A frame arrived at `now`. Returns the events that end because the frame does not belong to them.
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
            // Time that goes back, for example between two folders, separates frames as a long pause does.
            Kind::Agreeing(tracker) if before != self.times || last.is_some_and(|(last, _)| time + self.gap < last) => {
                tracker.silence(Duration::MAX)
            }
            Kind::Agreeing(_) | Kind::Alone => Changes::new(),
        };
        (before, ended)
    }

    /// The last frame shows `o`. Returns the consensus and the changes of events.
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

    /// Adds the outputs of `classifier` for the last frame: the photos of a burst are judged by their mean.
    pub fn add(&mut self, classifier: &dyn Classify) {
        let Kind::Bursts(bursts, mean) = &mut self.kind else { return };
        let Some(outputs) = classifier.outputs() else { return };
        if bursts.photos() <= 1 {
            mean.clear();
        }
        // Invalid outputs were already reported.
        if mean.observe(&outputs.logits, &outputs.distances).is_ok() {
            bursts.set_together(classifier.together(mean));
        }
    }

    /// No frame arrived until `now`.
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

/// Time at which a photo was taken, since 1970, and its clock; the current time if unknown.
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
