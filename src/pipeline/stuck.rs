//! Watchdog for the capturing thread: is the source silent, or stuck in a call?

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::settings::{SILENCE, STUCK};
use super::shared::Shared;
use crate::error::Error;

/// The classifying thread's view of the capturing thread.
#[derive(Debug)]
pub struct Watchdog {
    /// How long a call may take.
    limit: Duration,
    /// Whether to wait for a source that is stuck.
    waits: bool,
    live: bool,
    /// When the call began that is being watched, 0 for none.
    call: u64,
    /// Since when the thread has done no work that was seen, and how much it had done then.
    idle: Duration,
    work: Option<u64>,
    stuck: bool,
    /// Time of the last sign of the source, the longest pause so far, and the silence that was reported last.
    heard: u64,
    longest: Duration,
    reported: Duration,
}

impl Watchdog {
    /// For a source whose calls may take `timeout`. `reconnects`: wait for it even after that.
    pub fn new(timeout: Option<Duration>, reconnects: bool, live: bool) -> Watchdog {
        let (call, idle, work, stuck, heard, longest, reported) = Default::default();
        // Without a timeout the user has not asked for the stream to end.
        let (limit, waits) = (timeout.unwrap_or(STUCK), reconnects || timeout.is_none());
        Watchdog { limit, waits, live, call, idle, work, stuck, heard, longest, reported }
    }

    /// Whether the source is stuck in a call.
    pub fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether a silence was reported that still lasts.
    pub fn is_silent(&self) -> bool {
        !self.reported.is_zero()
    }

    /// Whether the stream continues while the source is stuck.
    pub fn goes_on(&self) -> bool {
        self.waits
    }

    /// Whether a call of the source is running.
    pub fn is_calling(&self, shared: &Shared) -> bool {
        shared.calling.load(Ordering::Relaxed) != 0
    }

    /// How long a live source has been silent, if that must be reported now.
    pub fn silence(&mut self, now: Duration, shared: &Shared) -> Option<Duration> {
        let heard = shared.heard.load(Ordering::Relaxed);
        if heard != self.heard {
            if self.heard != 0 {
                self.longest = self.longest.max(Duration::from_nanos(heard.saturating_sub(self.heard)));
            }
            (self.heard, self.reported) = (heard, Duration::ZERO);
        }
        let silent = now.saturating_sub(Duration::from_nanos(heard));
        let due = if self.reported.is_zero() { SILENCE.max(self.longest * 2) } else { self.reported * 2 };
        if !self.live || silent < due {
            return None;
        }
        self.reported = silent;
        Some(silent)
    }

    /// Checks whether the source's call returns. Returns true when it has just become stuck.
    pub fn look(&mut self, now: Duration, shared: &Shared) -> bool {
        let call = shared.calling.load(Ordering::Relaxed);
        if call == 0 || call != self.call {
            (self.call, self.stuck, self.work, self.idle) = (call, false, None, Duration::from_nanos(call));
            return false;
        }
        let idle = now.saturating_sub(self.idle);
        if self.stuck || idle < self.limit / 2 {
            return false;
        }
        let work = work(shared.thread.load(Ordering::Relaxed));
        match self.work {
            None => self.work = Some(work),
            // The thread is working, on a large photo for example.
            Some(before) if work > before => (self.work, self.idle) = (Some(work), now),
            Some(_) => self.stuck = idle >= self.limit,
        }
        self.stuck
    }

    /// The error of a source that is stuck.
    pub fn error(&self, name: &str) -> Error {
        let reason = format!(
            "does not answer for {:.0} s: a call of the system has not returned; check its disk, network or camera",
            self.limit.as_secs_f32()
        );
        Error::Unavailable { subject: name.into(), reason }
    }
}

/// The system's id of the calling thread; 0 if unknown.
pub fn this_thread() -> u32 {
    #[cfg(target_os = "linux")]
    return rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    #[cfg(not(target_os = "linux"))]
    return 0;
}

/// Processor time of `thread`, in clock ticks; 0 if unknown.
fn work(thread: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    // The program's name is in parentheses and may contain anything. The times are the 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1_000 + seconds)
    }

    #[test]
    fn a_call_that_does_not_return_is_seen_once() {
        let (mut watchdog, shared) = (Watchdog::new(Some(4 * SECOND), false, true), Shared::default());
        assert!(!watchdog.look(at(0), &shared));
        shared.calling.store(at(0).as_nanos() as u64, Ordering::Relaxed);
        let seen: Vec<bool> = (0..8).map(|s| watchdog.look(at(s), &shared)).collect();
        assert_eq!(seen, [false, false, false, false, true, false, false, false]);
        assert!(watchdog.is_stuck() && !watchdog.goes_on());
        shared.calling.store(0, Ordering::Relaxed);
        assert!(!watchdog.look(at(9), &shared) && !watchdog.is_stuck());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_works_is_not_stuck() {
        let (mut watchdog, shared) = (Watchdog::new(Some(4 * SECOND), false, true), Shared::default());
        shared.thread.store(this_thread(), Ordering::Relaxed);
        shared.calling.store(at(0).as_nanos() as u64, Ordering::Relaxed);
        for second in 0..20 {
            // Until the system has counted some work.
            let before = work(this_thread());
            while work(this_thread()) == before {
                std::hint::black_box((0..100_000u64).sum::<u64>());
            }
            assert!(!watchdog.look(at(second), &shared), "{second}");
        }
    }

    #[test]
    fn silence_is_reported_less_and_less_often() {
        let (mut watchdog, shared) = (Watchdog::new(None, false, true), Shared::default());
        let hear = |seconds| shared.heard.store(at(seconds).as_nanos() as u64, Ordering::Relaxed);
        hear(0);
        let reported: Vec<u64> = (0..100).filter(|s| watchdog.silence(at(*s), &shared).is_some()).collect();
        assert_eq!(reported, [10, 20, 40, 80]);
        assert!(watchdog.is_silent());
        // A camera that gives a frame in 100 seconds is not silent before 200.
        hear(100);
        let reported: Vec<u64> = (100..400).filter(|s| watchdog.silence(at(*s), &shared).is_some()).collect();
        assert_eq!(reported, [300]);
        let mut folder = Watchdog::new(None, false, false);
        assert!((0..400).all(|s| folder.silence(at(s), &shared).is_none()));
    }
}
