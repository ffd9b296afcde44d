//! SIGINT and SIGTERM: finish the frame in hand, flush, exit 0. SIGUSR1: say how it goes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// How long the frame in hand may take. Service managers and the contract of this program allow 5 seconds in all.
const GRACE: Duration = Duration::from_secs(4);

/// Stack of the thread that waits for signals; it calls nothing deep.
const STACK_BYTES: usize = 64 << 10;

/// Tells the command that handles frames that it is to end after the one in hand.
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

/// Takes over SIGINT and SIGTERM: the first sets `requested`. A second one, or [`GRACE`] after the first, ends the
/// process at once: it may be waiting for input that never comes.
pub fn on_signals(requested: Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // Does nothing at the first signal, since the flag is set by the thread below.
        signal_hook::flag::register_conditional_shutdown(signal, 0, requested.clone())?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).stack_size(STACK_BYTES).spawn(move || {
        if signals.forever().next().is_some() {
            requested.store(true, Ordering::SeqCst);
            std::thread::sleep(GRACE);
            std::process::exit(0);
        }
    })?;
    Ok(())
}

/// Takes over SIGUSR1, which sets `requested`.
pub fn on_request(requested: Arc<AtomicBool>) -> io::Result<()> {
    signal_hook::flag::register(SIGUSR1, requested).map(drop)
}
