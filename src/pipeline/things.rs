//! Pipeline steps of a frame in thing mode.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Consumer;
use super::capture::Slot;
use super::shared::now;
use crate::error::{Error, Result};
use crate::sink::{CameraResult, CutResult, EventResult, Failure, SceneResult, Times};

impl Consumer<'_> {
    /// Finds things in a frame, reports them, and returns the frame.
    pub(super) fn handle_things(&mut self, mut slot: Slot, dropped: u64) -> Result<()> {
        let stamp = slot.frame.stamp();
        let time = Duration::from_nanos(stamp.mono_ns);
        self.silence_of_things(time)?;
        let Some(stage) = self.mode.stage() else { return Ok(()) };
        let (name, sink, shared) = (self.name, std::cell::RefCell::new(&mut *self.sink), self.shared);
        let mut report_cut = |cut: &crate::things::Cut| sink.borrow_mut().cut(&CutResult { source: name, cut: *cut });
        let mut failed = |e: &Error| {
            shared.decode_errors.fetch_add(1, Ordering::Relaxed);
            let (now, kind, reason) = (now(), e.kind(), &e.to_string());
            sink.borrow_mut().failure(&Failure { source: name, now, kind, offset: None, reason })
        };
        let looked = stage.look(&mut slot.frame, &mut *self.classifier, now(), &mut report_cut, &mut failed);
        if let Err(e) = looked {
            return self.give_up(slot, e);
        }
        let times = stage.times();
        let age = now().saturating_sub(if self.recording { slot.arrived } else { time });
        self.meter.classified(time, age);
        self.meter.inferred(times.cuts, times.inference, times.longest);
        let names = self.classifier.names();
        let reported = match stage.camera() {
            Some(camera) => {
                let state = stage.stats().state;
                self.sink.camera(&CameraResult { source: name, stamp, camera, state })
            }
            None => Ok(()),
        };
        let source = if slot.frame.label().is_empty() { name } else { slot.frame.label() };
        let (source_url, things) = (slot.frame.url(), stage.present());
        let scene = SceneResult { source, source_url, stamp, frame: &slot.frame, names, things, age, dropped, times };
        let reported = reported.and_then(|()| self.sink.scene(&scene)).and_then(|()| self.report_things(time));
        self.queue.classified(slot);
        reported
    }

    /// Reports changes of things at the frame time `time`.
    pub(super) fn report_things(&mut self, time: Duration) -> Result<()> {
        let Some(stage) = self.mode.stage() else { return Ok(()) };
        let (source, names, sink, meter) = (self.name, self.classifier.names(), &mut *self.sink, &mut self.meter);
        stage.tell(time, &mut |change, thing| {
            meter.event(change);
            let (change, times) = (*change, Times::Monotonic);
            sink.event(&EventResult { source, now: now(), change, names, times, thing: Some(*thing) })
        })
    }

    /// Ends things when no frame has arrived for long.
    pub(super) fn silence_of_things(&mut self, time: Duration) -> Result<()> {
        let is_silent = self.mode.stage().is_some_and(|stage| stage.silence(time));
        if is_silent { self.report_things(time) } else { Ok(()) }
    }

    /// Ends all things at the end of the stream.
    pub(super) fn finish_things(&mut self) -> Result<()> {
        if let Some(stage) = self.mode.stage() {
            stage.finish();
        }
        self.report_things(now())
    }
}
