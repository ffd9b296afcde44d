//! SIGINT, SIGTERM and SIGHUP: finish the frame in progress, flush, exit 0. SIGUSR1: report statistics.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// How long the frame in progress may take. Service managers and the contract of this program allow 5 seconds in all.
const GRACE: Duration = Duration::from_secs(4);

/// Stack of the thread that waits for signals; its calls are shallow.
const STACK_BYTES: usize = 64 << 10;

/// Whether SIGUSR1 has arrived.
static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Requests that the running command ends after the frame in progress.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<AtomicBool>);

impl Shutdown {
    /// As [`on_signals`], with a flag of its own.
    pub fn on_signals() -> io::Result<Shutdown> {
        let requested = Arc::new(AtomicBool::new(false));
        on_signals(requested.clone())?;
        Ok(Shutdown(requested))
    }

    /// Whether to end now.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Handles SIGINT, SIGTERM and SIGHUP: the first one sets `requested`. A second one, or [`GRACE`] after the first,
/// ends the process at once, because it may be waiting for input that never comes. An ignored SIGHUP stays ignored
/// (`nohup`).
pub fn on_signals(requested: Arc<AtomicBool>) -> io::Result<()> {
    let taken = if is_ignored(SIGHUP) { &[SIGINT, SIGTERM][..] } else { &[SIGINT, SIGTERM, SIGHUP] };
    for signal in taken {
        // Has no effect on the first signal, because the thread below sets the flag later.
        signal_hook::flag::register_conditional_shutdown(*signal, 0, requested.clone())?;
    }
    let mut signals = Signals::new(taken)?;
    std::thread::Builder::new().name("signals".into()).stack_size(STACK_BYTES).spawn(move || {
        if signals.forever().next().is_some() {
            requested.store(true, Ordering::SeqCst);
            std::thread::sleep(GRACE);
            std::process::exit(0);
        }
    })?;
    Ok(())
}

/// Handles SIGUSR1, which would otherwise end the process. The program calls this first, whatever the command.
pub fn take_requests() -> io::Result<()> {
    signal_hook::flag::register(SIGUSR1, REQUESTED.clone()).map(drop)
}

/// The flag that SIGUSR1 sets, including one from before this call.
pub fn requests() -> Arc<AtomicBool> {
    REQUESTED.clone()
}

/// Whether this process was started with `signal` ignored; false if unknown.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
