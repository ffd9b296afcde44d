//! State shared by the two threads.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use heapless::Deque;

use crate::clock::monotonic_ns;
use crate::source::Damage;

/// Damages that wait to be reported. If there are more, a source that can wait waits; a live one drops the oldest,
/// which stays counted.
const MAX_DAMAGES: usize = 16;

/// Refused frames that were not passed to the source yet: at most those queued and in progress.
const MAX_REFUSED: usize = 64;

/// The monotonic clock.
pub fn now() -> Duration {
    Duration::from_nanos(monotonic_ns())
}

/// State shared by the two threads.
#[derive(Debug)]
pub struct Shared {
    pub skipped: AtomicU64,
    pub decode_errors: AtomicU64,
    pub reconnects: AtomicU64,
    pub connected: AtomicBool,
    /// One more than the number of the last frame that was reported or dropped; 0 if none.
    pub done: AtomicU64,
    /// Damages that were reported, or dropped for good.
    pub damages_done: AtomicU64,
    /// Frames that could not be classified for a reason that another run may not have.
    refused: Mutex<Deque<u64, MAX_REFUSED>>,
    /// When the source last gave something, in nanoseconds of the monotonic clock.
    pub heard: AtomicU64,
    /// Start of the running call of the source; 0 outside of one.
    pub calling: AtomicU64,
    /// The thread that captures, as the system numbers it.
    pub thread: AtomicU32,
    /// Each with the number of frames that had entered the queue before it.
    damages: Mutex<Deque<(u64, Damage), MAX_DAMAGES>>,
}

impl Default for Shared {
    fn default() -> Self {
        let (skipped, decode_errors, reconnects, done, damages_done) = Default::default();
        let (damages, refused) = (Mutex::new(Deque::new()), Mutex::new(Deque::new()));
        let (calling, thread) = Default::default();
        let (connected, heard) = (AtomicBool::new(true), AtomicU64::new(now().as_nanos() as u64));
        Shared {
            skipped,
            decode_errors,
            reconnects,
            connected,
            done,
            damages_done,
            refused,
            heard,
            calling,
            thread,
            damages,
        }
    }
}

impl Shared {
    /// The first damage that was found before frame `ordinal` and has not been reported.
    pub fn damage_before(&self, ordinal: u64) -> Option<Damage> {
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        damages.front().filter(|(before, _)| *before <= ordinal)?;
        damages.pop_front().map(|(_, damage)| damage)
    }

    /// Notes that frame `seq` could not be classified, before it is done with.
    pub fn refuse(&self, seq: u64) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        // Sources without a memory, such as cameras, need not know.
        if refused.is_full() {
            refused.pop_front();
        }
        let _ = refused.push_back(seq);
    }

    /// Whether frame `seq` was refused and this was not passed to the source yet.
    pub fn is_refused(&self, seq: u64) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|refused| *refused == seq)
    }

    pub fn next_refused(&self) -> Option<u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Makes a call of the source, so that the other thread sees it begin and end.
    pub fn call<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calling.store(now().as_nanos() as u64, Ordering::Relaxed);
        let returned = call();
        self.calling.store(0, Ordering::Relaxed);
        returned
    }

    /// The source gave a sign of life.
    pub fn heard(&self) {
        self.heard.store(now().as_nanos() as u64, Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
    }

    /// Queues `damage` to be reported. Gives it back if there is no room.
    pub fn keep(&self, before: u64, damage: Damage, make_room: bool) -> Option<Damage> {
        let mut damages = self.damages.lock().unwrap_or_else(PoisonError::into_inner);
        if make_room && damages.is_full() {
            damages.pop_front();
            self.damages_done.fetch_add(1, Ordering::Release);
        }
        damages.push_back((before, damage)).err().map(|(_, damage)| damage)
    }
}
