//! Pauses between attempts to connect.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// The longest pause.
pub const LONGEST: Duration = Duration::from_secs(300);

/// Growing pauses. Each is shortened at random, so that the devices of a site do not reconnect all at
/// once.
#[derive(Clone, Debug)]
pub struct Pauses {
    first: Duration,
    attempts: u32,
}

impl Pauses {
    /// Starts with a pause of at most `first`.
    pub fn new(first: Duration) -> Pauses {
        Pauses { first: first.max(Duration::from_millis(1)), attempts: 0 }
    }

    /// The next pause, and whether to log the failure: a long series of failures logs only some.
    pub fn next(&mut self) -> (Duration, bool) {
        let attempt = self.attempts;
        self.attempts = attempt.saturating_add(1);
        let longest = self.first.saturating_mul(1 << attempt.min(20)).min(LONGEST);
        let warn = attempt < 3 || attempt.is_multiple_of(10);
        (longest.mul_f64(0.5 + chance() / 2.0), warn)
    }

    /// The connection worked: the next pause is short again.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let mut pauses = Pauses::new(Duration::from_secs(1));
        let all: Vec<Duration> = (0..40).map(|_| pauses.next().0).collect();
        for (i, pause) in all.iter().enumerate() {
            let longest = Duration::from_secs(1 << i.min(9)).min(LONGEST);
            assert!(*pause <= longest && *pause >= longest / 2, "{i}: {pause:?}");
        }
        assert!(all[20..].windows(2).any(|pair| pair[0] != pair[1]));
        pauses.reset();
        assert!(pauses.next().0 <= Duration::from_secs(1));
    }
}
