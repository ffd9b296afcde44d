//! How many cuts a frame may have looked at.

use std::time::Duration;

use super::settings::CUTS_A_FRAME;

/// The part of the time that may be worked: the rest is slack, so that the newest frame never waits for long.
const SHARE: f64 = 0.8;

/// The share of the newest measurement in the mean time of a cut.
const NEWEST: f64 = 0.2;

/// How many cuts a frame may have looked at, so that the next frame is not kept waiting.
///
/// For a source that waits it is a fixed number, so that every run gives the same. For a live one it is what the time
/// between two frames leaves: time that passes is earned, what frames and cuts took is spent, and a cut is allowed where a
/// cut of the usual time has been earned.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    live: bool,
    /// Cuts of this frame.
    cuts: u32,
    /// Seconds earned and not spent; of a live source.
    earned: f64,
    /// Mean seconds of a cut, once there was one.
    cut: Option<f64>,
    /// When the last frame began.
    last: Option<Duration>,
}

impl Budget {
    /// The budget of a source that waits.
    pub fn fixed() -> Budget {
        Budget { live: false, cuts: 0, earned: 0.0, cut: None, last: None }
    }

    /// The budget of a source whose frames come at a pace of their own.
    pub fn live() -> Budget {
        Budget { live: true, ..Budget::fixed() }
    }

    /// A frame begins at `now`, on a clock that goes on while it is worked on.
    pub fn begin(&mut self, now: Duration) {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last)).as_secs_f64();
        self.last = Some(now);
        // What is saved lasts for one cut or one frame: after a pause things are not looked at for seconds on end.
        let most = (passed * SHARE).max(self.cut.unwrap_or(0.0));
        self.earned = (self.earned + passed * SHARE).min(most);
        self.cuts = 0;
    }

    /// Whether another cut of this frame may be looked at.
    pub fn allows(&self) -> bool {
        if !self.live {
            return self.cuts < CUTS_A_FRAME;
        }
        match self.cut {
            // The first one shows how long it takes.
            None => self.cuts == 0,
            Some(cut) => self.earned >= cut,
        }
    }

    /// A cut took so long.
    pub fn cut(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.cut = Some(self.cut.map_or(took, |mean| mean + NEWEST * (took - mean)));
        self.cuts += 1;
        self.earned -= took;
    }

    /// The rest of a frame's work took so long.
    pub fn spend(&mut self, took: Duration) {
        self.earned -= took.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Cuts in each of `frames` frames that come every `interval` ms, where each cut takes `cut` ms and a frame `rest`.
    fn cuts(frames: u64, interval: u64, cut: u64, rest: u64) -> Vec<u32> {
        let mut budget = Budget::live();
        let one = |frame: u64| {
            budget.begin(ms(frame * interval));
            budget.spend(ms(rest));
            let mut count = 0;
            while budget.allows() && count < 100 {
                budget.cut(ms(cut));
                count += 1;
            }
            count
        };
        (0..frames).map(one).collect()
    }

    #[test]
    fn a_live_source_gets_what_the_time_between_frames_leaves() {
        // 80 ms of 100 less 10 for the frame: three cuts of 20. The first frame earns nothing yet and
        // looks at one cut to see how long it takes; the second frame pays for it.
        let many = cuts(50, 100, 20, 10);
        assert_eq!(many[..2], [1, 2], "{many:?}");
        assert!(many[2..].iter().all(|n| *n == 3), "{many:?}");
        // Slower than the frames: one cut now and then, 80 % of the time.
        let few = cuts(100, 10, 40, 0);
        assert!(few.iter().all(|n| *n <= 1) && (18..=21).contains(&few.iter().sum::<u32>()), "{few:?}");
        // A pause does not count for more than a frame.
        let mut budget = Budget::live();
        budget.begin(ms(0));
        budget.cut(ms(10));
        budget.begin(ms(1000));
        budget.begin(ms(1010));
        budget.cut(ms(10));
        assert!(!budget.allows(), "{budget:?}");
    }

    #[test]
    fn a_source_that_waits_gets_the_same_in_every_run() {
        let mut budget = Budget::fixed();
        for took in [0, 1000] {
            budget.begin(ms(0));
            for _ in 0..CUTS_A_FRAME {
                assert!(budget.allows());
                budget.cut(ms(took));
            }
            assert!(!budget.allows());
        }
    }
}
