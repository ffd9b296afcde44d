//! The consensus of a burst of photos: one event per burst. Pure: time is passed in.
//!
//! A camera trap takes some photos in a row when something moves. They are few and show the same thing, so each
//! counts. The decision of most photos becomes that of the burst when it is over.

use std::time::Duration;

use heapless::Vec;

use super::{Change, Changes, EndReason, Event, MAX_EVENTS, Phase, push};
use crate::decide::Decision;
use crate::decide::consensus::Observation;

/// The bursts of one stream.
#[derive(Clone, Debug)]
pub struct Bursts {
    /// Photos further apart belong to different bursts.
    apart: Duration,
    now: Option<Burst>,
    reported: u64,
}

/// A burst that may continue.
#[derive(Clone, Debug)]
struct Burst {
    /// Names the camera.
    key: u64,
    first: Duration,
    last: Duration,
    photos: u64,
    /// Events by label. A burst with more labels than fit is unclear anyway.
    events: Vec<Event, MAX_EVENTS>,
    /// Decision by the mean of the photos' outputs, if known.
    together: Option<Decision>,
}

impl Bursts {
    /// Bursts whose consecutive photos are at most `apart`.
    pub fn new(apart: Duration) -> Bursts {
        Bursts { apart, now: None, reported: 0 }
    }

    /// How far the photos of a burst are apart at most.
    pub fn apart(&self) -> Duration {
        self.apart
    }

    /// A photo of the camera `key`, taken at `time`, has arrived. Ends the current burst if the photo does not
    /// belong to it.
    ///
    /// Photos may arrive in any order.
    pub fn part(&mut self, key: u64, time: Duration) -> Changes {
        let goes_on = self.now.as_ref().is_some_and(|burst| {
            let near = burst.first.saturating_sub(self.apart)..=burst.last.saturating_add(self.apart);
            burst.key == key && near.contains(&time)
        });
        if goes_on { Changes::new() } else { self.end(EndReason::Silence) }
    }

    /// Adds a photo of the camera `key`. Returns the changes of the previous burst, as [`Bursts::part`].
    pub fn observe(&mut self, key: u64, o: &Observation) -> Changes {
        let changes = self.part(key, o.time);
        let (first, last, photos, events, together) = (o.time, o.time, 0, Vec::new(), None);
        let burst = self.now.get_or_insert(Burst { key, first, last, photos, events, together });
        burst.photos += 1;
        (burst.first, burst.last) = (burst.first.min(o.time), burst.last.max(o.time));
        match burst.events.iter_mut().find(|event| event.label == o.decision) {
            Some(event) => event.add(o),
            None => {
                let mut event = Event::new(o.decision, o);
                event.add(o);
                let _ = burst.events.push(event);
            }
        }
        changes
    }

    /// Photos of the burst so far.
    pub fn photos(&self) -> u64 {
        self.now.as_ref().map_or(0, |burst| burst.photos)
    }

    /// Sets the decision by the mean of the photos' outputs so far.
    pub fn set_together(&mut self, together: Option<Decision>) {
        if let Some(burst) = &mut self.now {
            burst.together = together;
        }
    }

    /// The burst is over.
    pub fn end(&mut self, reason: EndReason) -> Changes {
        let mut changes = Changes::new();
        let Some(burst) = self.now.take() else { return changes };
        let most = burst.events.iter().copied().reduce(|a, b| if beats(&b, &a) { b } else { a });
        // The mean does not cover enrolled classes. A label that no photo has is not believed either.
        let is_enrolled = most.is_some_and(|event| matches!(event.label, Decision::Enrolled(_)));
        let together = burst.events.iter().copied().find(|event| Some(event.label) == burst.together && !is_enrolled);
        let Some(mut event) = together.or(most) else { return changes };
        self.reported += 1;
        (event.id, event.first, event.last) = (self.reported, burst.first, burst.last);
        push(&mut changes, Phase::New, event);
        push(&mut changes, Phase::End(reason), event);
        changes
    }
}

/// Whether more photos have the label `a`. In a tie the higher probability wins, except for open, whose probability
/// says little.
fn beats(a: &Event, b: &Event) -> bool {
    let classes = matches!((a.label, b.label), (Decision::Known(_), Decision::Known(_)));
    a.frames > b.frames || (a.frames == b.frames && classes && a.sum_probability > b.sum_probability)
}

/// Both changes of a burst that is over.
pub fn is_whole(changes: &[Change]) -> bool {
    changes.is_empty() || matches!(changes, [Change { phase: Phase::New, .. }, Change { phase: Phase::End(_), .. }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(seconds: u64, decision: Decision, probability: f32) -> Observation {
        let time = Duration::from_secs(seconds);
        Observation { frame: seconds, time, decision, probability, reachability: 1.0, nearest: 0, named: None }
    }

    const CUP: Decision = Decision::Known(0);
    const EEL: Decision = Decision::Known(1);

    /// The events of bursts of photos, each with its camera.
    fn bursts(photos: &[(u64, u64, Decision, f32)]) -> std::vec::Vec<(Decision, u64, u64, u64)> {
        let mut bursts = Bursts::new(Duration::from_secs(60));
        let mut reported = std::vec::Vec::new();
        let mut take = |changes: Changes| {
            assert!(is_whole(&changes));
            reported.extend(changes.last().map(|change| {
                let Event { label, frames, first, last, .. } = change.event;
                (label, frames, first.as_secs(), last.as_secs())
            }));
        };
        for (key, seconds, decision, probability) in photos {
            take(bursts.observe(*key, &photo(*seconds, *decision, *probability)));
        }
        take(bursts.end(EndReason::Finished));
        reported
    }

    #[test]
    fn most_photos_decide() {
        let three = [(1, 100, CUP, 0.9), (1, 101, Decision::Open, 0.9), (1, 102, CUP, 0.4)];
        assert_eq!(bursts(&three), [(CUP, 2, 100, 102)]);
        assert_eq!(bursts(&three[1..2]), [(Decision::Open, 1, 101, 101)]);
        // In a tie the more probable class wins; against open the first one.
        assert_eq!(bursts(&[(1, 0, CUP, 0.5), (1, 1, EEL, 0.6)]), [(EEL, 1, 0, 1)]);
        assert_eq!(bursts(&[(1, 0, CUP, 0.5), (1, 1, Decision::Open, 0.9)]), [(CUP, 1, 0, 1)]);
        assert_eq!(bursts(&[]), []);
    }

    #[test]
    fn the_mean_decides_where_a_photo_says_the_same() {
        let ended = |photos: &[(Decision, f32)], together| {
            let mut bursts = Bursts::new(Duration::from_secs(60));
            for (i, (decision, probability)) in photos.iter().enumerate() {
                let _ = bursts.observe(1, &photo(i as u64, *decision, *probability));
                assert_eq!(bursts.photos(), i as u64 + 1);
            }
            bursts.set_together(Some(together));
            let changes = bursts.end(EndReason::Finished);
            assert!(is_whole(&changes) && bursts.photos() == 0);
            changes[0].event.label
        };
        let wavering = [(CUP, 0.9), (CUP, 0.9), (Decision::Open, 0.4)];
        assert_eq!(ended(&wavering, Decision::Open), Decision::Open);
        assert_eq!(ended(&wavering, CUP), CUP);
        assert_eq!(ended(&wavering, EEL), CUP);
        let learnt = [(Decision::Enrolled(0), 0.9), (Decision::Enrolled(0), 0.9), (Decision::Open, 0.4)];
        assert_eq!(ended(&learnt, Decision::Open), Decision::Enrolled(0));
    }

    #[test]
    fn time_and_camera_part_bursts() {
        let far = [(1, 0, CUP, 0.5), (1, 60, CUP, 0.5), (1, 121, EEL, 0.5)];
        assert_eq!(bursts(&far), [(CUP, 2, 0, 60), (EEL, 1, 121, 121)]);
        let cameras = [(1, 0, CUP, 0.5), (2, 1, CUP, 0.5)];
        assert_eq!(bursts(&cameras), [(CUP, 1, 0, 0), (CUP, 1, 1, 1)]);
        // Taken earlier, but arrived later.
        let back = [(1, 1000, CUP, 0.5), (1, 960, CUP, 0.5), (1, 10, EEL, 0.5)];
        assert_eq!(bursts(&back), [(CUP, 2, 960, 1000), (EEL, 1, 10, 10)]);
    }

    #[test]
    fn a_burst_of_many_kinds_stays_within_its_memory() {
        let photos: std::vec::Vec<_> = (0..100).map(|i| (1, i, Decision::Known(i as usize), 0.5)).collect();
        assert_eq!(bursts(&photos).len(), 1);
    }
}
