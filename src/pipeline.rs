//! Source → queue → classifier → decisions over time → sink, in bounded memory.
//!
//! Two threads: one captures; the caller's thread classifies, decides and reports. A [`Queue`] of a few recycled frames
//! connects them. Source, classifier, sink and control are arguments.

mod capture;
mod counts;
mod groups;
pub mod keep;
pub mod memory;
mod settings;
mod shared;
mod stuck;
mod things;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub use crate::classify::Classify;
use crate::classify::concerns_frame;
use crate::decide::consensus::Observation;
use crate::decide::events::Changes;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::queue::{Next, Overflow, Queue};
use crate::sink::{CutResult, EventResult, Failure, FrameResult, Sink, Stats, Times};
use crate::source::{Damage, FrameSource, LateDecoder, Note};
use crate::things::Stage;
use crate::things::stills::Stills;
use capture::{Capture, Slot};
use counts::{Meter, Watched};
use groups::Groups;
pub use settings::{Backoff, DEPTH_FILE, DEPTH_LIVE, Grouping, SILENCE, STUCK, Settings, TICK};
use shared::{Shared, now};
use stuck::Watchdog;

/// How long to wait for the capturing thread to end before the last results are reported.
const LEAVE: Duration = Duration::from_secs(1);

/// Stack of the thread that captures. Decoders of photos keep tables of some ten kilobytes on it.
pub const CAPTURE_STACK: usize = 1 << 20;

/// Controls a running pipeline from another thread or a signal handler.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Finishes the frame in progress, reports the rest, and returns.
    pub stop: Arc<AtomicBool>,
    /// Reports statistics once, soon.
    pub stats: Arc<AtomicBool>,
}

/// Why a pipeline returned without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The source has no more frames.
    Input,
    /// A stop was requested.
    Stopped,
}

/// How a pipeline ended, and the counts of all frames: `captured = classified + dropped`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Why it ended.
    pub ended: Ended,
    /// The last statistics.
    pub stats: Stats,
}

/// Runs frames of `source` through `classifier` and reports to `sink`, until the source ends or `control` requests a
/// stop.
///
/// Frames captured before the end of the input are classified. On a stop, queued frames are dropped. At the end, open
/// events are ended and the last statistics reported, also if the source failed.
///
/// A frame that cannot be classified (its region lies outside, or the network's outputs are not numbers) is reported as
/// a [`Failure`], and counted as dropped and as a decode error.
///
/// A source that is stuck in a call (a disk or a driver that no longer answers) cannot be abandoned. If no retry is
/// set, or a stop is requested, everything is reported as at the end, [`Sink::stuck`] is called, and this function
/// returns when the source does.
///
/// # Errors
/// [`Error::Unavailable`] for a lost source that did not come back; other errors of source, classifier and sink;
/// [`Error::Config`] and [`Error::Limit`] for impossible settings.
pub fn run(
    source: &mut dyn FrameSource,
    classifier: &mut dyn Classify,
    sink: &mut dyn Sink,
    control: &Control,
    settings: &Settings,
    limits: &Limits,
) -> Result<Report> {
    run_with(source, classifier, Mode::Whole, sink, control, settings, limits)
}

/// As [`run`], for things that move before a fixed camera. `stage` finds and tracks them, `classifier` sees crops of
/// them, and each thing is one event. The consensus rules are not used.
///
/// # Errors
/// As [`run`], and errors of the stage's finder.
pub fn run_things(
    source: &mut dyn FrameSource,
    stage: &mut Stage,
    classifier: &mut dyn Classify,
    sink: &mut dyn Sink,
    control: &Control,
    settings: &Settings,
    limits: &Limits,
) -> Result<Report> {
    run_with(source, classifier, Mode::Things(stage), sink, control, settings, limits)
}

/// As [`run`], for photos with things. `source` is a [`StillSource`](crate::things::stills::StillSource), from which
/// `stills` gets the differences between photos. Each photo has one answer.
///
/// # Errors
/// As [`run`], and errors of a detector.
pub fn run_stills(
    source: &mut dyn FrameSource,
    stills: &mut Stills,
    classifier: &mut dyn Classify,
    sink: &mut dyn Sink,
    control: &Control,
    settings: &Settings,
    limits: &Limits,
) -> Result<Report> {
    run_with(source, classifier, Mode::Stills(stills), sink, control, settings, limits)
}

/// The part of frames that is classified.
enum Mode<'a> {
    /// All of each.
    Whole,
    /// Things that move.
    Things(&'a mut Stage),
    /// Differences between photos.
    Stills(&'a mut Stills),
}

impl Mode<'_> {
    fn stage(&mut self) -> Option<&mut Stage> {
        if let Mode::Things(stage) = self { Some(stage) } else { None }
    }

    fn stills(&mut self) -> Option<&mut Stills> {
        if let Mode::Stills(stills) = self { Some(stills) } else { None }
    }
}

fn run_with(
    source: &mut dyn FrameSource,
    classifier: &mut dyn Classify,
    mode: Mode,
    sink: &mut dyn Sink,
    control: &Control,
    settings: &Settings,
    limits: &Limits,
) -> Result<Report> {
    let bundle = classifier.names().bundle();
    let groups = Groups::new(bundle, settings.events, settings.grouping, settings.by_taken, limits)?;
    let (depth, overflow) = (settings.depth_for(source), settings.overflow_for(source));
    let bytes = source.bounds().frame_bytes;
    // If frames are dropped, only the classified ones are decoded.
    let late = (overflow == Overflow::DropOldest && source.leave_coded()).then(|| LateDecoder::new(bytes, limits));
    let queue = Queue::new(depth, overflow, limits, || Slot::new(bytes, settings.keep_encoded))?;
    let name = source.name().to_string();
    let shared = Shared::default();
    let (live, recording, note) = (source.is_live(), source.is_recording(), source.note());
    let mut capture = Capture::new(&queue, &shared, settings, overflow, limits);
    let meter = Meter::new(settings.stats_every, Watched::of(live, recording));
    let watchdog = Watchdog::new(settings.source_timeout, settings.reconnect.is_some(), live);
    let mut consumer = Consumer {
        name: &name,
        queue: &queue,
        shared: &shared,
        classifier,
        mode,
        sink,
        groups,
        meter,
        watchdog,
        recording,
        note,
        late,
    };
    let (ended, captured, finished) = thread::scope(|scope| -> Result<_> {
        let thread = thread::Builder::new()
            .name("capture".into())
            .stack_size(CAPTURE_STACK)
            .spawn_scoped(scope, || capture.run(source))
            .map_err(|cause| Error::Io { path: "the capture thread".into(), cause })?;
        let ended = consumer.run(control);
        // After any error, the other thread must not wait for this one.
        queue.abandon();
        let left = !consumer.watchdog.is_stuck() && matches!(queue.next(LEAVE).0, Next::Closed);
        let mut finished = None;
        if !left && consumer.watchdog.is_calling(&shared) {
            let stuck = consumer.watchdog.error(&name);
            finished = consumer.may_finish(&ended).then(|| consumer.finish());
            consumer.sink.stuck(ended.as_ref().err().unwrap_or(&stuck));
        }
        let captured = thread.join().unwrap_or_else(|_| Err(Error::Internal("the capture thread panicked".into())));
        Ok((ended, captured, finished))
    })?;
    // A failed sink gets no more results. After a failed source the sink gets the rest.
    let stats = finished.or_else(|| consumer.may_finish(&ended).then(|| consumer.finish())).transpose();
    let confirmed = capture.confirm(source);
    let ended = ended?;
    captured?;
    confirmed?;
    let stats = stats?.unwrap_or_default();
    Ok(Report { ended, stats })
}

/// The thread that classifies, decides and reports.
struct Consumer<'a> {
    name: &'a str,
    queue: &'a Queue<Slot>,
    shared: &'a Shared,
    classifier: &'a mut dyn Classify,
    mode: Mode<'a>,
    sink: &'a mut dyn Sink,
    groups: Groups,
    meter: Meter,
    watchdog: Watchdog,
    /// Whether frames have times of their own, so that silence means nothing.
    recording: bool,
    /// For a source with a memory of reported frames.
    note: Option<Note>,
    /// For frames that arrive encoded.
    late: Option<LateDecoder>,
}

impl Consumer<'_> {
    /// Whether the rest can still be reported: not to a failed sink.
    fn may_finish(&self, ended: &Result<Ended>) -> bool {
        ended.is_ok() || self.watchdog.is_stuck()
    }

    /// Runs until the queue is closed and empty, or a stop is requested.
    fn run(&mut self, control: &Control) -> Result<Ended> {
        loop {
            if control.stop.load(Ordering::Relaxed) {
                return Ok(Ended::Stopped);
            }
            let (next, counts) = self.queue.next(TICK);
            match next {
                Next::Frame(slot) => {
                    self.report_damage(slot.ordinal)?;
                    let (seq, dropped) = (slot.frame.stamp().seq, self.meter.dropped_since(counts.dropped));
                    self.handle(slot, dropped)?;
                    self.note(seq);
                    self.shared.done.store(seq + 1, Ordering::Release);
                }
                Next::Nothing => {
                    self.report_damage(u64::MAX)?;
                    if !self.recording {
                        self.silence(now())?;
                    }
                }
                Next::Closed => return Ok(Ended::Input),
            }
            self.watch()?;
            let stats = self.stats();
            if control.stats.swap(false, Ordering::Relaxed) || self.meter.is_due(stats.now) {
                self.sink.stats(self.name, &stats)?;
                self.meter.begin_interval(&stats);
            }
            self.tick(&stats)?;
        }
    }

    /// Reports a source that is silent or stuck.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it is stuck and no retry is set.
    fn watch(&mut self) -> Result<()> {
        let now = now();
        if let Some(silent) = self.watchdog.silence(now, self.shared) {
            log::warn!(
                "{}: no frame for {} s; the camera or the writer may be gone (--source-timeout ends the wait)",
                self.name,
                silent.as_secs()
            );
        }
        if !self.watchdog.look(now, self.shared) {
            return Ok(());
        }
        let error = self.watchdog.error(self.name);
        let (source, kind) = (self.name, error.kind());
        self.sink.failure(&Failure { source, now, kind, offset: None, reason: &error.to_string() })?;
        if self.watchdog.goes_on() { Ok(()) } else { Err(error) }
    }

    /// Reports the rest.
    fn finish(&mut self) -> Result<Stats> {
        self.report_damage(u64::MAX)?;
        let changes = self.groups.finish();
        self.report_changes(self.groups.times(), &changes)?;
        self.finish_things()?;
        let stats = Stats { last: true, ..self.stats() };
        self.sink.stats(self.name, &stats)?;
        self.tick(&stats)?;
        Ok(stats)
    }

    /// Time has passed without a frame.
    fn silence(&mut self, now: Duration) -> Result<()> {
        let changes = self.groups.silence(now);
        self.report_changes(self.groups.times(), &changes)?;
        self.silence_of_things(now)
    }

    fn tick(&mut self, stats: &Stats) -> Result<()> {
        match self.mode.stage() {
            Some(stage) => self.sink.tick(stats, &mut stage.in_progress()),
            None => self.sink.tick(stats, &mut self.groups.in_progress()),
        }
    }

    /// Classifies one frame, reports it and gives it back.
    fn handle(&mut self, mut slot: Slot, dropped: u64) -> Result<()> {
        let decoded = self.late.as_mut().map_or(Ok(()), |late| late.decode(self.name, &mut slot.frame));
        if matches!(self.mode, Mode::Things(_)) {
            return match decoded {
                Ok(()) => self.handle_things(slot, dropped),
                Err(e) => self.give_up(slot, e),
            };
        }
        // Events that the frame does not belong to end before it is classified.
        let (times, ended) = self.groups.begin(&slot.frame, now());
        self.report_changes(times, &ended)?;
        let (name, sink, frame) = (self.name, &mut *self.sink, &mut slot.frame);
        let mut report_cut = |cut: &crate::things::Cut| sink.cut(&CutResult { source: name, cut: *cut });
        let looked = decoded.and_then(|()| match self.mode.stills() {
            Some(stills) => stills.look(frame, &mut *self.classifier, &mut report_cut),
            None => self.classifier.classify(frame),
        });
        match looked {
            Ok(answer) => {
                let time = Duration::from_nanos(slot.frame.stamp().mono_ns);
                let age = now().saturating_sub(if self.recording { slot.arrived } else { time });
                self.meter.classified(time, age);
                match self.mode.stills().map(|stills| stills.times()) {
                    Some(times) => self.meter.inferred(times.inferences, times.inference, times.longest),
                    None => self.meter.inferred(1, answer.inference, answer.inference),
                }
                let observation = Observation {
                    frame: slot.frame.stamp().seq,
                    time,
                    decision: answer.decision,
                    probability: answer.probability,
                    reachability: answer.reachability,
                    nearest: answer.nearest.class as u32,
                    named: answer.taxon.map(Into::into),
                };
                let (agreed, changes) = self.groups.observe(&slot.frame, observation);
                let source = if slot.frame.label().is_empty() { self.name } else { slot.frame.label() };
                let (source_url, stamp) = (slot.frame.url(), slot.frame.stamp());
                let origin = Some(slot.frame.origin()).filter(|_| !slot.frame.label().is_empty());
                let still = self.mode.stills().map(|stills| stills.last());
                let again = slot.frame.is_again();
                let result =
                    FrameResult { source, source_url, stamp, answer, agreed, age, dropped, origin, still, again };
                let reported = self.sink.frame(&result);
                self.groups.add(&*self.classifier);
                let reported = reported.and_then(|()| self.report_changes(self.groups.times(), &changes));
                self.queue.classified(slot);
                reported
            }
            Err(e) => self.give_up(slot, e),
        }
    }

    /// Tells the source that frame `seq` was reported. If that fails, the other thread retries and reports the error.
    fn note(&mut self, seq: u64) {
        if let Some(note) = self.note.as_mut().filter(|_| !self.shared.is_refused(seq))
            && let Err(e) = note(seq)
        {
            log::debug!("{e}");
        }
    }

    /// Drops a frame that could not be classified. An error that is not about this frame ends the pipeline.
    fn give_up(&mut self, slot: Slot, e: Error) -> Result<()> {
        if !concerns_frame(&e) {
            self.queue.gave_up(slot);
            return Err(e);
        }
        // Another run may succeed if the picture is not at fault, for example with another region.
        if e.kind() != ErrorKind::BadImage {
            self.shared.refuse(slot.frame.stamp().seq);
        }
        let photo = Some(slot.frame.label().to_string()).filter(|label| !label.is_empty());
        self.queue.gave_up(slot);
        self.shared.decode_errors.fetch_add(1, Ordering::Relaxed);
        let source = photo.as_deref().unwrap_or(self.name);
        let (now, kind, reason) = (now(), e.kind(), &e.to_string());
        self.sink.failure(&Failure { source, now, kind, offset: None, reason })
    }

    fn report_changes(&mut self, times: Times, changes: &Changes) -> Result<()> {
        for change in changes {
            self.meter.event(change);
            let names = self.classifier.names();
            let (source, change) = (self.name, *change);
            self.sink.event(&EventResult { source, now: now(), change, names, times, thing: None })?;
        }
        Ok(())
    }

    /// Reports damages from before the frame `ordinal`.
    fn report_damage(&mut self, ordinal: u64) -> Result<()> {
        while let Some(damage) = self.shared.damage_before(ordinal) {
            let Damage { offset, kind, ref reason, ref photo } = damage;
            let photo = photo.as_ref().map(|photo| photo.to_string_lossy());
            let (source, now) = (photo.as_deref().unwrap_or(self.name), now());
            self.sink.failure(&Failure { source, now, kind, offset, reason })?;
            self.shared.damages_done.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    fn stats(&mut self) -> Stats {
        let mut stats = self.meter.stats(now(), self.queue.counts(), self.shared);
        stats.things = self.mode.stage().map(|stage| stage.stats());
        stats.stuck = self.watchdog.is_stuck();
        stats.connected &= !stats.stuck && !self.watchdog.is_silent();
        stats
    }
}
