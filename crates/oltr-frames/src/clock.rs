//! Monotonic time, and whether the wall clock can be trusted.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which counts from boot and never jumps. Cameras stamp their frames with it.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Time of day at the monotonic time `mono`, by the wall clock's current setting.
pub fn wall_at(mono: Duration) -> SystemTime {
    let (wall, now) = (SystemTime::now(), Duration::from_nanos(monotonic_ns()));
    if now >= mono { wall - (now - mono) } else { wall + (mono - now) }
}

/// Id of the current boot. Monotonic times can be compared within one boot only. `None` if the system has no such id.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().into()).filter(|id: &String| !id.is_empty())
}

/// Whether the network has set the clock since boot. Boards without a clock chip start at some time in the past. `None`
/// if no time daemon runs, so that it is unknown.
///
/// The kernel knows whether any daemon keeps its clock: chrony, ntpd, systemd-timesyncd, or one for PTP.
pub fn is_synchronised() -> Option<bool> {
    // Called during capture, so it must not allocate.
    judge(kernel_is_synchronised(), |path| Path::new(path).exists())
}

/// File that systemd-timesyncd creates when it has set the clock.
const DONE: &str = "/run/systemd/timesync/synchronized";

/// Files of running time daemons, systemd's first.
const DAEMONS: [&str; 7] = [
    "/run/systemd/timesync",
    "/run/chrony",
    "/run/chronyd.pid",
    "/run/ntpd.pid",
    "/run/ntp.pid",
    "/run/ntpsec",
    "/run/openntpd",
];

/// Decides from the kernel's answer and the files that exist.
fn judge(kernel: Option<bool>, there: impl Fn(&str) -> bool) -> Option<bool> {
    if kernel == Some(true) || there(DONE) {
        return Some(true);
    }
    // The kernel says no until a daemon has synchronised it, so the question is then whether a daemon runs. If the
    // kernel cannot be asked, only systemd's files are evidence.
    let daemons = if kernel.is_none() { &DAEMONS[..1] } else { &DAEMONS };
    daemons.iter().any(|sign| there(sign)).then_some(false)
}

/// Whether the kernel counts its clock as synchronised; `None` if it cannot be asked.
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
        // No file of a daemon exists; the kernel's yes is enough.
        assert_eq!(said("/run/lock"), [None, None, Some(true)]);
        for daemon in DAEMONS {
            let unasked = (daemon == DAEMONS[0]).then_some(false);
            assert_eq!(said(daemon), [unasked, Some(false), Some(true)], "{daemon}");
        }
        // It was set once since the start.
        assert_eq!(said(DONE), [Some(true); 3]);
    }

    /// Compares the kernel's answer with what another program reads from it.
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
