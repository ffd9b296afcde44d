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

/// Whether the clock is set by the network, or was since the machine was started: boards without a clock of their own
/// begin at some time in the past. `None` where nothing keeps the time, so that nobody says.
///
/// The kernel knows whether a daemon keeps its clock, whichever it is: chrony, ntpd, systemd-timesyncd, one for PTP.
pub fn is_synchronised() -> Option<bool> {
    // Asked while frames are taken: nothing is allocated for it.
    judge(kernel_is_synchronised(), |path| Path::new(path).exists())
}

/// What systemd-timesyncd leaves when it has set the clock.
const DONE: &str = "/run/systemd/timesync/synchronized";

/// The signs of life of time daemons, that of systemd first.
const DAEMONS: [&str; 7] = [
    "/run/systemd/timesync",
    "/run/chrony",
    "/run/chronyd.pid",
    "/run/ntpd.pid",
    "/run/ntp.pid",
    "/run/ntpsec",
    "/run/openntpd",
];

/// What the kernel says together with the files that are there.
fn judge(kernel: Option<bool>, there: impl Fn(&str) -> bool) -> Option<bool> {
    if kernel == Some(true) || there(DONE) {
        return Some(true);
    }
    // The kernel says no as long as no daemon says yes, and then it is another question whether there is one. Where it may
    // not be asked, only systemd's files say anything.
    let daemons = if kernel.is_none() { &DAEMONS[..1] } else { &DAEMONS };
    daemons.iter().any(|sign| there(sign)).then_some(false)
}

/// Whether the kernel counts its clock as synchronised; `None` where it cannot be asked.
#[cfg(target_os = "linux")]
fn kernel_is_synchronised() -> Option<bool> {
    /// `STA_UNSYNC` of the kernel's interface.
    const UNSYNCHRONISED: i32 = 0x40;
    let mut state = rtime_clock::adjtime::Timex::new();
    rtime_clock::adjtime::adjtimex(&mut state).ok()?;
    Some(state.0.status & UNSYNCHRONISED == 0)
}

#[cfg(not(target_os = "linux"))]
fn kernel_is_synchronised() -> Option<bool> {
    None
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

    #[test]
    fn whoever_keeps_the_time_is_asked() {
        let kernels = [None, Some(false), Some(true)];
        let said = |sign: &str| kernels.map(|kernel| judge(kernel, |path| path == sign));
        // Nobody keeps it, as far as files tell; the kernel's yes suffices.
        assert_eq!(said("/run/lock"), [None, None, Some(true)]);
        for daemon in DAEMONS {
            let unasked = (daemon == DAEMONS[0]).then_some(false);
            assert_eq!(said(daemon), [unasked, Some(false), Some(true)], "{daemon}");
        }
        // It was set once since the start.
        assert_eq!(said(DONE), [Some(true); 3]);
    }

    /// The kernel's own word, beside what another program reads out of it.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_can_be_asked() {
        let ours = kernel_is_synchronised();
        let Ok(other) = std::process::Command::new("adjtimex").arg("--print").output() else { return };
        let text = String::from_utf8_lossy(&other.stdout);
        let status = text.lines().find_map(|line| line.trim().strip_prefix("status:")?.trim().parse::<i32>().ok());
        assert!(status.is_none() || ours == status.map(|status| status & 0x40 == 0), "{ours:?} {text}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_boot_has_a_name() {
        let id = boot_id().unwrap();
        assert_eq!((id.len(), boot_id()), (36, Some(id)));
    }
}
