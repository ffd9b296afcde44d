//! Drift: whether recent events still resemble the photos that the bundle was calibrated on.
//!
//! Compares two figures of the last events with the known photos of the calibration: the share of open events, and the
//! mean reachability. Each has a limit that known things exceed by chance once in a thousand times. Beyond the limit,
//! other things appear, or the picture has become worse.

use oltr::bundle::Open;
use oltr::calibrate::Calibration;
use oltr::decide::Decision;
use oltr::decide::events::Event;
use serde::Serialize;

/// Length of the window: with more events an alarm comes later; with fewer it is less certain.
pub const WINDOW: usize = 100;

/// Fewest events for a comparison: one in twenty is open anyway.
pub const FEWEST: usize = 20;

/// The chance that known things exceed a limit, in a single test.
const CHANCE: f64 = 0.001;

/// Standard deviations of a normal distribution for that chance.
const DEVIATIONS: f64 = 3.09;

/// Usual figures of known things, by the calibration of a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usual {
    /// Share that is open, and the upper bound of its 95 % interval.
    open: Option<(f64, f64)>,
    /// Mean reachability, its deviation, and the photos that both are of.
    reachability: Option<(f64, f64, f64)>,
}

impl Usual {
    /// The usual figures of a bundle that decides by `open`; none without a calibration.
    pub fn of(open: &Open) -> Usual {
        let Some(calibration) = Calibration::of(open) else { return Usual::default() };
        let accepted = calibration.reached.known_accepted.zip(calibration.promised.known_accepted);
        let scores = calibration.known_scores.filter(|_| calibration.score == "reachability");
        let photos = calibration.data.known as f64;
        Usual {
            open: accepted.map(|(share, [low, _])| (1.0 - share, 1.0 - low.min(share))),
            reachability: scores.filter(|_| photos > 0.0).map(|scores| (scores.mean, scores.sd, photos)),
        }
    }
}

/// One of the two figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    /// Of the last events.
    pub now: f64,
    /// Of the known photos of the calibration.
    pub usual: Option<f64>,
    /// The limit; `None` with too few events or without a calibration.
    pub limit: Option<f64>,
    /// Whether the limit is exceeded.
    pub worry: bool,
}

/// The figures of the last events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Signal {
    /// How many they are.
    pub events: usize,
    /// Share that is open.
    pub open: Figure,
    /// Mean reachability.
    pub reachability: Figure,
}

/// The last events.
#[derive(Clone, Debug)]
pub struct Drift {
    usual: Usual,
    /// Whether each was open, and its reachability: a ring buffer.
    last: [(bool, f32); WINDOW],
    events: usize,
}

impl Drift {
    pub fn new(usual: Usual) -> Drift {
        Drift { usual, last: [(false, 0.0); WINDOW], events: 0 }
    }

    /// Counts an event that ended. Unclassified events do not count.
    pub fn add(&mut self, event: &Event) {
        if event.label != Decision::Unclassified {
            self.count(event.label == Decision::Open, event.mean_reachability());
        }
    }

    /// Counts events that were counted before, oldest first, as another [`Drift`] told them.
    pub fn resume(&mut self, last: impl IntoIterator<Item = (bool, f32)>) {
        for (open, reachability) in last {
            self.count(open, reachability);
        }
    }

    /// The last events, oldest first: whether each was open, and its reachability.
    pub fn last(&self) -> impl Iterator<Item = (bool, f32)> {
        let oldest = self.events.saturating_sub(WINDOW);
        (oldest..self.events).map(|event| self.last[event % WINDOW])
    }

    fn count(&mut self, open: bool, reachability: f32) {
        let reachability = if reachability.is_finite() { reachability } else { 0.0 };
        self.last[self.events % WINDOW] = (open, reachability);
        self.events += 1;
    }

    /// The figures of the last events.
    pub fn signal(&self) -> Signal {
        let n = self.events.min(WINDOW);
        if n == 0 {
            return Signal::default();
        }
        let last = &self.last[..n];
        let open = last.iter().filter(|(open, _)| *open).count();
        let mean = last.iter().map(|(_, reachability)| f64::from(*reachability)).sum::<f64>() / n as f64;
        let enough = n >= FEWEST;
        let (share, usual) = (open as f64 / n as f64, &self.usual);
        let most = usual.open.filter(|_| enough).map(|(_, high)| most_by_chance(n, high) as f64 / n as f64);
        let least = usual.reachability.filter(|_| enough).map(|(mean, sd, photos)| {
            // The uncertainty of the calibration's own mean is included.
            (mean - DEVIATIONS * sd * (1.0 / n as f64 + 1.0 / photos).sqrt()).max(0.0)
        });
        Signal {
            events: n,
            open: Figure {
                now: share,
                usual: usual.open.map(|(share, _)| share),
                limit: most,
                worry: most.is_some_and(|most| share > most),
            },
            reachability: Figure {
                now: mean,
                usual: usual.reachability.map(|(mean, ..)| mean),
                limit: least,
                worry: least.is_some_and(|least| mean < least),
            },
        }
    }
}

/// The largest number of `n` events, each with chance `share`, that is not rarer than [`CHANCE`].
fn most_by_chance(n: usize, share: f64) -> usize {
    let share = share.clamp(1e-9, 1.0 - 1e-9);
    // Each probability from the previous one. The first is the smallest, and large enough for a float.
    let mut chance = (1.0 - share).powi(n as i32);
    let mut up_to = chance;
    for k in 0..n {
        if 1.0 - up_to < CHANCE {
            return k;
        }
        chance *= (n - k) as f64 / (k + 1) as f64 * share / (1.0 - share);
        up_to += chance;
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Usual = Usual { open: Some((0.05, 0.08)), reachability: Some((1.7, 0.7, 380.0)) };

    /// Numbers between 0 and 1, the same in each run.
    fn random(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A random number around `mean`: a sum of twelve uniform numbers has a deviation of 1.
    fn around(mean: f64, sd: f64, state: &mut u64) -> f32 {
        let sum: f64 = (0..12).map(|_| random(state)).sum();
        (mean + sd * (sum - 6.0)) as f32
    }

    #[test]
    fn limits_are_those_of_the_binomial_distribution() {
        // By exact sums: the smallest number that is exceeded with a chance of less than 0.001.
        for (n, share, most) in [(100, 0.05, 13), (100, 0.08, 17), (20, 0.08, 6), (50, 0.1, 13), (100, 0.5, 65)] {
            assert_eq!(most_by_chance(n, share), most, "{n} {share}");
        }
        assert_eq!((most_by_chance(20, 0.0), most_by_chance(20, 1.0)), (0, 20));
    }

    #[test]
    fn known_things_are_no_reason_to_worry_and_others_soon_are() {
        let mut state = 1;
        let mut drift = Drift::new(USUAL);
        let (mut open, mut dull) = (0, 0);
        for _ in 0..20_000 {
            let is_open = random(&mut state) < 0.05;
            drift.count(is_open, around(1.7, 0.7, &mut state));
            let signal = drift.signal();
            open += u32::from(signal.open.worry);
            dull += u32::from(signal.reachability.worry);
        }
        // One false alarm in a thousand is allowed. The windows overlap, so one lasts for several events.
        assert!(open <= 20 && dull <= 60, "{open} {dull}");
        // A quarter of events is open: noticed within one window.
        let mut after = 0;
        while !drift.signal().open.worry {
            drift.count(random(&mut state) < 0.25, 1.7);
            after += 1;
        }
        assert!(after <= WINDOW, "{after}");
        // The same for a blurred picture.
        let mut drift = Drift::new(USUAL);
        for _ in 0..WINDOW {
            drift.count(false, around(1.2, 0.7, &mut state));
        }
        assert!(drift.signal().reachability.worry && !drift.signal().open.worry, "{:?}", drift.signal());
    }

    #[test]
    fn few_events_say_nothing_and_old_ones_are_forgotten() {
        let mut drift = Drift::new(USUAL);
        assert_eq!(drift.signal(), Signal::default());
        for _ in 0..FEWEST - 1 {
            drift.count(true, f32::NAN);
        }
        let signal = drift.signal();
        assert_eq!((signal.events, signal.open.now, signal.open.limit, signal.open.worry), (19, 1.0, None, false));
        drift.count(true, 0.1);
        assert!(drift.signal().open.worry && drift.signal().reachability.worry);
        for _ in 0..WINDOW {
            drift.count(false, 1.7);
        }
        let signal = drift.signal();
        assert_eq!((signal.events, signal.open.now), (WINDOW, 0.0));
        assert!(!signal.open.worry && !signal.reachability.worry);
        // A bundle that was not calibrated has no limits.
        let mut drift = Drift::new(Usual::default());
        (0..WINDOW).for_each(|_| drift.count(true, 0.1));
        assert!(!drift.signal().open.worry && drift.signal().open.usual.is_none());
    }

    #[test]
    fn what_is_resumed_says_the_same() {
        for events in [0, 1, 19, WINDOW, WINDOW + 37] {
            let mut drift = Drift::new(USUAL);
            (0..events).for_each(|i| drift.count(i % 9 == 0, 1.0 + i as f32 / 100.0));
            let mut next = Drift::new(USUAL);
            next.resume(drift.last());
            assert_eq!(next.signal().events, drift.signal().events, "{events}");
            assert_eq!(next.last().collect::<Vec<_>>(), drift.last().collect::<Vec<_>>(), "{events}");
            // The oldest goes first in both.
            drift.count(true, 0.1);
            next.count(true, 0.1);
            assert_eq!(next.last().collect::<Vec<_>>(), drift.last().collect::<Vec<_>>(), "{events}");
        }
    }

    #[test]
    fn the_built_in_bundle_says_what_is_usual() {
        let model = oltr::Model::builtin(&oltr::model::Options::default()).unwrap();
        let usual = Usual::of(&model.bundle().unwrap().open);
        let (share, high) = usual.open.unwrap();
        assert!(0.0 < share && share < high && high < 0.2, "{usual:?}");
        assert!(usual.reachability.is_some_and(|(mean, sd, photos)| mean > sd && photos > 100.0), "{usual:?}");
    }
}
