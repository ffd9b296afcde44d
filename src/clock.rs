//! Time that only goes forward.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which counts from the start of the machine and never jumps; cameras stamp their
/// frames with it.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
