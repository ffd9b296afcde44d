//! The capturing thread: takes frames from the source, thins them out, and reconnects a lost source.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::settings::{Backoff, Settings, TICK};
use super::shared::{Shared, now};
use super::stuck;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::queue::{Overflow, Queue};
use crate::source::{Damage, FrameSource, Next};

/// How long a source waits for damages to be reported before it looks again.
const DAMAGE_WAIT: Duration = Duration::from_millis(5);

/// A recycled frame.
#[derive(Debug)]
pub struct Slot {
    pub frame: Frame,
    /// Number among the frames that entered the queue.
    pub ordinal: u64,
    /// When it was taken from the source.
    pub arrived: Duration,
}

impl Slot {
    /// A frame of `bytes`, with room for a JPEG of `encoded` bytes.
    pub fn new(bytes: usize, encoded: usize) -> Slot {
        let mut frame = Frame::with_capacity(bytes);
        frame.keep_encoded(encoded);
        Slot { frame, ordinal: 0, arrived: Duration::ZERO }
    }
}

/// The thread's work.
pub struct Capture<'a> {
    queue: &'a Queue<Slot>,
    shared: &'a Shared,
    settings: &'a Settings,
    /// Whether frames that do not fit are dropped. The thread then waits for the source only.
    drops: bool,
    retries: u32,
    /// Frames that entered the queue.
    pushed: u64,
    /// Frames that the source gave.
    seen: u64,
    /// When the next frame is wanted, on the clock of the frames.
    due: Duration,
    /// Attempts to bring the source back since its last frame.
    attempts: u32,
    /// The counts of [`Shared::done`] and [`Shared::damages_done`] that were passed to the source.
    confirmed: u64,
    damages_confirmed: u64,
}

impl<'a> Capture<'a> {
    pub fn new(
        queue: &'a Queue<Slot>,
        shared: &'a Shared,
        settings: &'a Settings,
        overflow: Overflow,
        limits: &Limits,
    ) -> Capture<'a> {
        let drops = overflow == Overflow::DropOldest;
        let (pushed, seen, due, attempts, confirmed, damages_confirmed) = Default::default();
        let retries = limits.retries;
        Capture { queue, shared, settings, drops, retries, pushed, seen, due, attempts, confirmed, damages_confirmed }
    }

    /// Captures until the source ends or fails, or the queue is abandoned.
    pub fn run(&mut self, source: &mut dyn FrameSource) -> Result<()> {
        let _closes = Closes { queue: self.queue, shared: self.shared };
        self.shared.thread.store(stuck::this_thread(), Ordering::Relaxed);
        self.capture(source)
    }

    /// Confirms finished frames to the source.
    pub fn confirm(&mut self, source: &mut dyn FrameSource) -> Result<()> {
        let done = self.shared.done.load(Ordering::Acquire);
        if done > self.confirmed {
            while let Some(seq) = self.shared.next_refused() {
                source.refuse(seq);
            }
            self.confirmed = done;
            self.shared.call(|| source.confirm(done - 1))?;
        }
        let damages = self.shared.damages_done.load(Ordering::Acquire);
        if damages > self.damages_confirmed {
            self.damages_confirmed = damages;
            self.shared.call(|| source.confirm_damages(damages))?;
        }
        Ok(())
    }

    fn capture(&mut self, source: &mut dyn FrameSource) -> Result<()> {
        let (mut heard, live) = (Instant::now(), source.is_live());
        let recording = source.is_recording();
        let Some(mut slot) = self.queue.slot() else { return Ok(()) };
        while !self.queue.is_abandoned() {
            self.confirm(source)?;
            match self.shared.call(|| source.next(&mut slot.frame, TICK)) {
                Ok(Next::Frame) => {
                    heard = Instant::now();
                    self.shared.heard();
                    self.attempts = 0;
                    slot.arrived = now();
                    // A recording from a waiting source is thinned out by arrival, because its own times do
                    // not show the wait.
                    let time = match recording {
                        true => slot.arrived,
                        false => Duration::from_nanos(slot.frame.stamp().mono_ns),
                    };
                    if self.wants(time) {
                        slot.frame.set_roi(self.settings.roi);
                        slot.ordinal = self.pushed;
                        self.pushed += 1;
                        self.queue.push(slot);
                        match self.queue.slot() {
                            Some(next) => slot = next,
                            None => return Ok(()),
                        }
                    } else {
                        self.shared.skipped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(Next::Damaged(damage)) => {
                    heard = Instant::now();
                    self.shared.heard();
                    self.damaged(damage);
                }
                Ok(Next::Waiting) => {
                    // A watched folder without new photos is not lost.
                    let Some(timeout) = self.settings.source_timeout.filter(|_| live) else { continue };
                    if heard.elapsed() >= timeout {
                        let reason = format!(
                            "gave no frame for {} s; check the camera or the writer, or allow more with --source-timeout",
                            timeout.as_secs_f32()
                        );
                        let silent = Error::Unavailable { subject: source.name().into(), reason };
                        self.recover(source, silent)?;
                        heard = Instant::now();
                    }
                }
                Ok(Next::End) if self.settings.reconnect.is_some() && self.reopen(source) => heard = Instant::now(),
                Ok(Next::End) => break,
                Err(lost @ Error::Unavailable { .. }) => {
                    self.recover(source, lost)?;
                    heard = Instant::now();
                }
                Err(e) => {
                    self.queue.unused(slot);
                    return Err(e);
                }
            }
        }
        self.queue.unused(slot);
        Ok(())
    }

    /// Whether to classify a frame of `time`, or to skip it because fewer are wanted.
    fn wants(&mut self, time: Duration) -> bool {
        let turn = self.settings.every.is_none_or(|every| self.seen.is_multiple_of(u64::from(every.get())));
        self.seen += 1;
        turn && self.settings.spacing.is_none_or(|spacing| self.is_time(time, spacing))
    }

    /// Keeps frames `spacing` apart on average. A slightly late frame does not delay the following ones.
    fn is_time(&mut self, time: Duration, spacing: Duration) -> bool {
        if time < self.due {
            if self.drops {
                return false;
            }
            self.sleep(self.due - time);
        }
        // Missed frames are not made up for.
        self.due = if time.saturating_sub(self.due) < spacing { self.due } else { time } + spacing;
        true
    }

    /// Sleeps, but wakes up when the other thread ends.
    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.queue.is_abandoned() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(TICK));
        }
    }

    fn damaged(&mut self, damage: Damage) {
        self.shared.decode_errors.fetch_add(1, Ordering::Relaxed);
        let mut left = self.shared.keep(self.pushed, damage, self.drops);
        while let Some(damage) = left.filter(|_| !self.queue.is_abandoned()) {
            thread::sleep(DAMAGE_WAIT);
            left = self.shared.keep(self.pushed, damage, false);
        }
    }

    /// Whether a source that ended has more to come, such as the next writer of a pipe.
    fn reopen(&mut self, source: &mut dyn FrameSource) -> bool {
        // A source that ends repeatedly without a frame is reopened with pauses.
        if let (Some(backoff), 1..) = (self.settings.reconnect, self.attempts) {
            self.sleep(backoff.pause(self.attempts - 1));
        }
        self.attempts = self.attempts.saturating_add(1);
        let reopened = self.attempts <= self.most_attempts() && self.shared.call(|| source.reconnect()).is_ok();
        // The next writer has not come yet.
        self.shared.connected.store(!reopened, Ordering::Relaxed);
        self.shared.reconnects.fetch_add(u64::from(reopened), Ordering::Relaxed);
        reopened
    }

    /// Reconnects a lost source, if the settings allow it.
    fn recover(&mut self, source: &mut dyn FrameSource, mut why: Error) -> Result<()> {
        let Some(backoff) = self.settings.reconnect else { return Err(why) };
        self.shared.connected.store(false, Ordering::Relaxed);
        while self.attempts < self.most_attempts() {
            let wait = backoff.pause(self.attempts);
            let level = if Backoff::is_told(self.attempts) { log::Level::Warn } else { log::Level::Debug };
            log::log!(level, "{why}; trying again in {:.1} s", wait.as_secs_f32());
            self.sleep(wait);
            if self.queue.is_abandoned() {
                return Ok(());
            }
            self.attempts += 1;
            match self.shared.call(|| source.reconnect()) {
                Ok(()) => {
                    log::info!("{}: is back", source.name());
                    self.shared.reconnects.fetch_add(1, Ordering::Relaxed);
                    self.shared.connected.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Err(e @ Error::Unavailable { .. }) => why = e,
                Err(e) => return Err(e),
            }
        }
        Err(why)
    }

    fn most_attempts(&self) -> u32 {
        self.settings.reconnect.map_or(0, |backoff| backoff.attempts.min(self.retries))
    }
}

/// Closes the queue at the end, and also if the source panics: otherwise the other thread would wait
/// forever.
struct Closes<'a> {
    queue: &'a Queue<Slot>,
    shared: &'a Shared,
}

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.shared.connected.store(false, Ordering::Relaxed);
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let waits: Vec<f32> = (0..8).map(|i| backoff.pause(i).as_secs_f32()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(backoff.pause(u32::MAX), backoff.longest);
        let day: usize = (0..24 * 120).filter(|i| Backoff::is_told(*i)).count();
        assert!(day < 200, "{day} lines a day about a camera that stays away");
    }
}
