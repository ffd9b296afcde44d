//! Waits for a source that comes late: a FIFO without a writer, a camera that is not plugged in, a card that is not
//! mounted.
//!
//! A thread opens it, because the system call may hang. Meanwhile the program answers signals and the service manager.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use oltr::clock::monotonic_ns;
use oltr::pipeline::{Backoff, CAPTURE_STACK, SILENCE, STUCK, TICK};
use oltr::source::FrameSource;
use oltr::{Error, Limits, Result};

use super::args::StreamArgs;
use super::open;

/// An attempt to open a source, or several.
pub struct Opening {
    opened: Receiver<Result<Box<dyn FrameSource>>>,
    /// When the thread that opens was last seen to do something, in nanoseconds of the monotonic clock.
    alive: Arc<AtomicU64>,
    since: Duration,
    /// The silence after which the missing source is logged next.
    due: Duration,
    /// How long one call of the system may take.
    limit: Duration,
    /// Whether to wait even if the system call hangs.
    waits: bool,
    name: String,
}

impl Opening {
    /// Starts to open the source of `args`, until it is open or `stop` is set.
    ///
    /// # Errors
    /// [`Error::Io`] if the thread cannot be started.
    pub fn begin(args: &StreamArgs, limits: &Limits, stop: &Arc<AtomicBool>) -> Result<Opening> {
        let (sender, opened) = sync_channel(1);
        let alive = Arc::new(AtomicU64::new(monotonic_ns()));
        let name = open::name(args);
        let attempts =
            Attempts { args: args.clone(), limits: limits.clone(), stop: stop.clone(), alive: alive.clone() };
        std::thread::Builder::new()
            .name("opening".into())
            .stack_size(CAPTURE_STACK)
            .spawn(move || drop(sender.send(attempts.run())))
            .map_err(|cause| Error::Io { path: "the thread that opens the source".into(), cause })?;
        let limit = args.source_timeout.unwrap_or(STUCK);
        // A source with its own timeout needs no other.
        let waits = args.reconnect.is_some() || args.source_timeout.is_none();
        Ok(Opening { opened, alive, since: now(), due: SILENCE.min(limit), limit, waits, name })
    }

    /// The result, if it is known within `patience`.
    pub fn result(&self, patience: Duration) -> Option<Result<Box<dyn FrameSource>>> {
        match self.opened.recv_timeout(patience) {
            Ok(opened) => Some(opened),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                Some(Err(Error::Internal("the thread that opens the source panicked".into())))
            }
        }
    }

    /// The result, if it is known soon. Logs at intervals that the source does not come.
    ///
    /// # Errors
    /// Errors of the source; [`Error::Unavailable`] if the system call hangs and no retry is set.
    pub fn wait(&mut self) -> Result<Option<Box<dyn FrameSource>>> {
        if let Some(opened) = self.result(TICK) {
            return opened.map(Some);
        }
        if self.is_stuck() && !self.waits {
            return Err(self.stuck());
        }
        let waited = self.waited();
        if waited >= self.due {
            self.due = waited * 2;
            match self.is_stuck() {
                true => log::warn!("{}", self.stuck()),
                false => log::warn!("{}: nothing has come for {} s; waiting for it", self.name, waited.as_secs()),
            }
        }
        Ok(None)
    }

    /// How long it has taken so far.
    pub fn waited(&self) -> Duration {
        now().saturating_sub(self.since)
    }

    /// Whether a system call hangs.
    pub fn is_stuck(&self) -> bool {
        let alive = Duration::from_nanos(self.alive.load(Ordering::Relaxed));
        now().saturating_sub(alive) >= self.limit
    }

    fn stuck(&self) -> Error {
        let reason = format!(
            "does not answer for {:.0} s: the system has not opened it; check its disk, network or camera",
            self.limit.as_secs_f32()
        );
        Error::Unavailable { subject: self.name.clone(), reason }
    }
}

/// State of the opening thread.
struct Attempts {
    args: StreamArgs,
    limits: Limits,
    stop: Arc<AtomicBool>,
    alive: Arc<AtomicU64>,
}

impl Attempts {
    fn run(&self) -> Result<Box<dyn FrameSource>> {
        // Within the thread too, because it asks the system about files on a disk that may hang.
        open::check(&self.args)?;
        let backoff = Backoff::default();
        let mut attempt = 0;
        loop {
            let error = match open::open(&self.args, &self.limits, &|| self.asked()) {
                Ok(source) => return Ok(source),
                Err(error) => error,
            };
            let more = self.args.reconnect.is_some_and(|most| attempt < most);
            if !more || self.asked() || !open::may_come(&self.args, &error) {
                return Err(error);
            }
            let wait = backoff.pause(attempt);
            let level = if Backoff::is_told(attempt) { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "{error}; trying again in {:.1} s", wait.as_secs_f32());
            let until = now() + wait;
            while now() < until && !self.asked() {
                std::thread::sleep(TICK.min(until.saturating_sub(now())));
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// Whether to give up. The call also shows that the thread is alive.
    fn asked(&self) -> bool {
        self.alive.store(monotonic_ns(), Ordering::Relaxed);
        self.stop.load(Ordering::Relaxed)
    }
}

fn now() -> Duration {
    Duration::from_nanos(monotonic_ns())
}
