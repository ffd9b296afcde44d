//! A daily limit of bytes written, so that a flickering scene does not wear out a card. Pure: time is passed in.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// What may be written at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// The record and its picture.
    All,
    /// The record without its picture.
    NoPicture,
    /// Nothing.
    Nothing,
}

/// A token bucket. It holds a quarter of a day's bytes and fills as the day goes on. Any 24 hours see at most a day's
/// bytes and one record.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    day: u64,
    /// Bytes that are left now.
    left: f64,
    /// When that was so.
    at: Duration,
}

impl Budget {
    /// A budget of `day` bytes in 24 hours.
    pub fn new(day: u64, now: Duration) -> Budget {
        Budget { day, left: day as f64 / 4.0, at: now }
    }

    /// Bytes that may be written in 24 hours.
    pub fn day(&self) -> u64 {
        self.day
    }

    /// What may be written of an event. Below half of the bucket, pictures of ordinary classes are left out. Below a
    /// quarter, their records too. Special events are left out only when it is empty.
    pub fn allows(&mut self, special: bool, now: Duration) -> Allowance {
        let most = self.day as f64 / 4.0;
        let passed = now.saturating_sub(self.at).as_secs_f64() / DAY.as_secs_f64();
        self.left = (self.left + passed * self.day as f64 * 0.75).min(most);
        self.at = now;
        match self.left / most {
            share if share <= 0.0 => Allowance::Nothing,
            share if share < 0.25 && !special => Allowance::Nothing,
            share if share < 0.5 && !special => Allowance::NoPicture,
            _ => Allowance::All,
        }
    }

    /// Spends `bytes`.
    pub fn spend(&mut self, bytes: u64) {
        self.left -= bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_never_written_twice_and_what_is_special_goes_last() {
        let (day, second) = (8_640_000u64, Duration::from_secs(1));
        let mut budget = Budget::new(day, Duration::ZERO);
        let (mut written, mut now) = (Vec::new(), Duration::ZERO);
        // A record of 400 bytes and a picture of 10,000 each second, one in 500 of them special.
        for i in 0..3 * 86_400u64 {
            let special = i % 500 == 0;
            let bytes = match budget.allows(special, now) {
                Allowance::All => 10_400,
                Allowance::NoPicture => 400,
                Allowance::Nothing => 0,
            };
            assert!(!special || bytes != 400);
            budget.spend(bytes);
            written.push(bytes);
            now += second;
        }
        let mut sum: u64 = written[..86_400].iter().sum();
        let mut most = sum;
        for i in 86_400..written.len() {
            sum = sum + written[i] - written[i - 86_400];
            most = most.max(sum);
        }
        assert!(most <= day + 10_400 && most > day * 9 / 10, "{most} of {day}");
        // All special ones had room, of the others few.
        let kept = |special: bool| {
            let of = |(i, _): &(usize, &u64)| (i % 500 == 0) == special;
            let all = written.iter().enumerate().filter(of).count();
            written.iter().enumerate().filter(of).filter(|(_, b)| **b > 0).count() as f64 / all as f64
        };
        assert!(kept(true) > 0.99 && kept(false) < 0.5, "{} {}", kept(true), kept(false));
        // A clock that stops or goes back adds nothing.
        let mut budget = Budget::new(day, now);
        budget.spend(day);
        assert_eq!(budget.allows(true, Duration::ZERO), Allowance::Nothing);
        assert_eq!(budget.allows(true, 2 * DAY), Allowance::All);
    }
}
