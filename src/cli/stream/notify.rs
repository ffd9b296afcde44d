//! Reports the state of a service to systemd: ready, alive, stopping. Does nothing outside of a service.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Speaks to the service manager through `NOTIFY_SOCKET`.
#[derive(Debug)]
pub struct Notifier {
    present: bool,
    ready: bool,
    /// Interval of the watchdog's messages: half of its timeout, so that one message may be late.
    watchdog: Option<Duration>,
    last: Instant,
}

impl Notifier {
    /// For the service manager that started this process, if one did.
    pub fn new() -> Notifier {
        let present = std::env::var_os("NOTIFY_SOCKET").is_some();
        let watchdog = sd_notify::watchdog_enabled().filter(|_| present).map(|every| every / 2);
        Notifier { present, ready: false, watchdog, last: Instant::now() }
    }

    /// Reports once that the program is ready, and then that it is alive, unless its source is `stuck`: a restart may
    /// open a source that does not answer now.
    pub fn alive(&mut self, stuck: bool) {
        if !self.present {
            return;
        }
        if !self.ready {
            self.ready = true;
            self.send(NotifyState::Ready);
        }
        if !stuck && self.watchdog.is_some_and(|every| self.last.elapsed() >= every) {
            self.last = Instant::now();
            self.send(NotifyState::Watchdog);
        }
    }

    /// It is about to end.
    pub fn stopping(&self) {
        if self.present {
            self.send(NotifyState::Stopping);
        }
    }

    fn send(&self, state: NotifyState) {
        if let Err(e) = sd_notify::notify(&[state]) {
            log::warn!("the service manager cannot be notified: {e}");
        }
    }
}
