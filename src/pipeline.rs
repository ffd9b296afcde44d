//! Source → queue → classifier → decisions over time → sink, in bounded memory.
//!
//! Two threads: one captures, and the caller's own classifies, decides and tells. Between them lies a [`Queue`] of a
//! few recycled frames. Where they come from, who classifies them, where results go and when to stop are arguments.

mod capture;
mod classify;
mod counts;
pub mod memory;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::monotonic_ns;
use crate::decide::consensus::Observation;
use crate::decide::events::{self, Changes, Tracker};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, View};
use crate::limits::Limits;
use crate::queue::{Next, Overflow, Queue};
use crate::sink::{EventResult, Failure, FrameResult, Sink, Stats};
use crate::source::{Damage, FrameSource};
use capture::{Capture, Shared, Slot};
pub use classify::{Classifier, Judged, ModelClassifier};
use counts::Meter;

/// How long either thread waits before it looks whether to stop, and ticks.
pub const TICK: Duration = Duration::from_millis(100);

/// Stack of the thread that captures. Decoders of photos keep tables of some ten kilobytes on it.
pub const CAPTURE_STACK: usize = 1 << 20;

/// Frames that wait, where nothing else is asked for: a camera's next frame is better than its last; a file's next one
/// should be there when it is needed.
pub const DEPTH_LIVE: usize = 1;
/// As [`DEPTH_LIVE`], for sources that wait.
pub const DEPTH_FILE: usize = 2;

/// How frames are taken and what is made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Frames that can wait; [`DEPTH_LIVE`] or [`DEPTH_FILE`] if `None`.
    pub depth: Option<usize>,
    /// What happens to frames that find no place; by default the newest wins for a live source, and others wait.
    pub overflow: Option<Overflow>,
    /// Of so many frames the first is taken; all if `None`.
    pub every: Option<NonZeroU32>,
    /// The least time between two frames: those of a live source that come sooner are passed over, other sources wait.
    pub spacing: Option<Duration>,
    /// What of each frame is looked at.
    pub view: View,
    /// A source that gives nothing for so long is lost.
    pub source_timeout: Option<Duration>,
    /// What to do about a source that is lost.
    pub reconnect: Option<Backoff>,
    /// How often statistics are told without being asked for.
    pub stats_every: Option<Duration>,
    /// How events are made of frames.
    pub events: events::Settings,
}

/// When to try again: after `first`, then after twice as long each time, up to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// Attempts in a row before giving up, at least 1; [`Limits::retries`] may say less.
    pub attempts: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30), attempts: u32::MAX }
    }
}

impl Settings {
    /// Frames that can wait for `source`.
    pub fn depth_for(&self, source: &dyn FrameSource) -> usize {
        self.depth.unwrap_or(if source.is_live() { DEPTH_LIVE } else { DEPTH_FILE })
    }

    /// What happens to frames of `source` that find no place.
    pub fn overflow_for(&self, source: &dyn FrameSource) -> Overflow {
        self.overflow.unwrap_or(if source.is_live() { Overflow::DropOldest } else { Overflow::Block })
    }
}

/// Asks a running pipeline for something, from another thread or a signal handler.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Finish the frame in hand, tell what there is to tell, and return.
    pub stop: Arc<AtomicBool>,
    /// Tell statistics once, soon.
    pub stats: Arc<AtomicBool>,
}

/// Why a pipeline returned without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The source has no more frames.
    Input,
    /// It was asked to.
    Stopped,
}

/// How a pipeline ended, and what became of all frames: `captured = classified + dropped`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Why it ended.
    pub ended: Ended,
    /// The last statistics.
    pub stats: Stats,
}

/// Runs frames of `source` through `classifier` and tells `sink`, until the source ends or `control` says so.
///
/// Frames that were captured before the end of the input are classified; those that wait when it is stopped are
/// dropped. In the end the events in progress are ended and the last statistics told, also where the source failed.
///
/// A frame that cannot be classified (a region that it does not hold, a network that computes no number) is told to
/// the sink as a [`Failure`], and counted as dropped and as a decode error.
///
/// # Errors
/// [`Error::Unavailable`] for a source that is lost and did not come back; other errors of the source, the
/// classifier and the sink; [`Error::Config`] and [`Error::Limit`] for settings that cannot be kept.
pub fn run(
    source: &mut dyn FrameSource,
    classifier: &mut dyn Classifier,
    sink: &mut dyn Sink,
    control: &Control,
    settings: &Settings,
    limits: &Limits,
) -> Result<Report> {
    let tracker = Tracker::new(classifier.bundle(), settings.events, limits)?;
    let (depth, overflow) = (settings.depth_for(source), settings.overflow_for(source));
    let bytes = source.bounds().frame_bytes;
    let queue = Queue::new(depth, overflow, limits, || Slot::new(bytes))?;
    let name = source.name().to_string();
    let shared = Shared::default();
    let mut capture = Capture::new(&queue, &shared, settings, overflow, limits);
    let meter = Meter::new(settings.stats_every);
    let mut consumer = Consumer { name: &name, queue: &queue, shared: &shared, classifier, sink, tracker, meter };
    let (ended, captured) = thread::scope(|scope| -> Result<_> {
        let thread = thread::Builder::new()
            .name("capture".into())
            .stack_size(CAPTURE_STACK)
            .spawn_scoped(scope, || capture.run(source))
            .map_err(|cause| Error::Io { path: "the capture thread".into(), cause })?;
        let ended = consumer.run(control);
        // Whatever happened, the other thread must not wait for this one.
        queue.abandon();
        let captured = thread.join().unwrap_or_else(|_| Err(Error::Internal("the capture thread panicked".into())));
        Ok((ended, captured))
    })?;
    // A sink that failed is told no more; one whose source failed is.
    let stats = ended.is_ok().then(|| consumer.finish()).transpose();
    let confirmed = capture.confirm(source);
    let ended = ended?;
    captured?;
    confirmed?;
    let stats = stats?.unwrap_or_default();
    Ok(Report { ended, stats })
}

/// The thread that classifies, decides and tells.
struct Consumer<'a> {
    name: &'a str,
    queue: &'a Queue<Slot>,
    shared: &'a Shared,
    classifier: &'a mut dyn Classifier,
    sink: &'a mut dyn Sink,
    tracker: Tracker,
    meter: Meter,
}

impl Consumer<'_> {
    /// Until the queue is closed and empty, or a stop is asked for.
    fn run(&mut self, control: &Control) -> Result<Ended> {
        loop {
            if control.stop.load(Ordering::Relaxed) {
                return Ok(Ended::Stopped);
            }
            let (next, counts) = self.queue.next(TICK);
            match next {
                Next::Frame(slot) => {
                    self.tell_damage(slot.ordinal)?;
                    let (seq, dropped) = (slot.frame.stamp().seq, self.meter.dropped_since(counts.dropped));
                    self.handle(slot, dropped)?;
                    self.shared.done.store(seq + 1, Ordering::Release);
                }
                Next::Nothing => {
                    self.tell_damage(u64::MAX)?;
                    let changes = self.tracker.silence(now());
                    self.tell_changes(&changes)?;
                }
                Next::Closed => return Ok(Ended::Input),
            }
            let stats = self.stats();
            if control.stats.swap(false, Ordering::Relaxed) || self.meter.is_due(stats.now) {
                self.sink.stats(self.name, &stats)?;
                self.meter.begin_interval(&stats);
            }
            self.sink.tick(&stats, &mut self.tracker.in_progress())?;
        }
    }

    /// Tells what is left to tell.
    fn finish(&mut self) -> Result<Stats> {
        self.tell_damage(u64::MAX)?;
        let changes = self.tracker.finish();
        self.tell_changes(&changes)?;
        let stats = Stats { last: true, ..self.stats() };
        self.sink.stats(self.name, &stats)?;
        self.sink.tick(&stats, &mut self.tracker.in_progress())?;
        Ok(stats)
    }

    /// Classifies one frame, tells of it and gives it back.
    fn handle(&mut self, slot: Slot, dropped: u64) -> Result<()> {
        match self.classifier.classify(&slot.frame) {
            Ok(judged) => {
                let told = self.tell(&slot.frame, &judged, dropped);
                self.queue.classified(slot);
                told
            }
            // One frame's fault, not the pipeline's.
            Err(e) if matches!(e.kind(), ErrorKind::BadImage | ErrorKind::BadInput | ErrorKind::Limit) => {
                // What the picture is not to blame for may be otherwise in another run: a region that it does not hold.
                if e.kind() != ErrorKind::BadImage {
                    self.shared.refuse(slot.frame.stamp().seq);
                }
                self.queue.gave_up(slot);
                self.shared.decode_errors.fetch_add(1, Ordering::Relaxed);
                let (source, now, kind, reason) = (self.name, now(), e.kind(), &e.to_string());
                self.sink.failure(&Failure { source, now, kind, offset: None, reason })
            }
            Err(e) => {
                self.queue.gave_up(slot);
                Err(e)
            }
        }
    }

    fn tell(&mut self, frame: &Frame, judged: &Judged, dropped: u64) -> Result<()> {
        let Judged { scores, verdict, preprocess, inference } = *judged;
        let (stamp, time) = (frame.stamp(), Duration::from_nanos(frame.stamp().mono_ns));
        let age = now().saturating_sub(time);
        self.meter.classified(age, inference);
        let (agreed, changes) = self.tracker.observe(&Observation {
            frame: stamp.seq,
            time,
            decision: verdict.decision,
            probability: scores.probability,
            reachability: scores.reachability,
            nearest: scores.nearest,
        });
        let source = if frame.label().is_empty() { self.name } else { frame.label() };
        let source_url = frame.url();
        let result =
            FrameResult { source, source_url, stamp, scores, verdict, agreed, age, dropped, preprocess, inference };
        self.sink.frame(&result)?;
        self.tell_changes(&changes)
    }

    fn tell_changes(&mut self, changes: &Changes) -> Result<()> {
        for change in changes {
            self.meter.event(change);
            self.sink.event(&EventResult { source: self.name, now: now(), change: *change })?;
        }
        Ok(())
    }

    /// Tells of the damage that was found before the frame `ordinal`.
    fn tell_damage(&mut self, ordinal: u64) -> Result<()> {
        while let Some(damage) = self.shared.damage_before(ordinal) {
            let (source, now) = (self.name, now());
            let Damage { offset, kind, ref reason } = damage;
            self.sink.failure(&Failure { source, now, kind, offset, reason })?;
            self.shared.damages_done.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        self.meter.stats(now(), self.queue.counts(), self.shared)
    }
}

fn now() -> Duration {
    Duration::from_nanos(monotonic_ns())
}
