//! Time that only goes forward, and how far the clock on the wall can be trusted.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which counts from the start of the machine and never jumps; cameras stamp their
/// frames with it.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The time of day at the monotonic time `mono`, as the clock on the wall has it now.
pub fn wall_at(mono: Duration) -> SystemTime {
    let (wall, now) = (SystemTime::now(), Duration::from_nanos(monotonic_ns()));
    if now >= mono { wall - (now - mono) } else { wall + (mono - now) }
}

/// Names the time since the machine was started: monotonic times of one boot can be compared, others cannot.
/// `None` where the system has no such name.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().into()).filter(|id: &String| !id.is_empty())
}

/// Whether systemd has set the clock by the network since the machine was started: boards without a clock of their own
/// begin at some time in the past. `None` where systemd does not keep the time, so that nobody says.
pub fn is_synchronised() -> Option<bool> {
    const FOLDER: &str = "/run/systemd/timesync";
    const DONE: &str = "/run/systemd/timesync/synchronized";
    Path::new(FOLDER).exists().then(|| Path::new(DONE).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_on_together() {
        let mono = Duration::from_nanos(monotonic_ns());
        let second = Duration::from_secs(1);
        for (mono, wall) in [(mono + second, SystemTime::now() + second), (mono - second, SystemTime::now() - second)] {
            let apart = wall_at(mono).duration_since(wall).unwrap_or_else(|e| e.duration());
            assert!(apart < Duration::from_millis(100), "{apart:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_boot_has_a_name() {
        let id = boot_id().unwrap();
        assert_eq!((id.len(), boot_id()), (36, Some(id)));
    }
}
