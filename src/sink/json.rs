//! One JSON object a line: `oltr.frame/1`, `oltr.event/1`, `oltr.camera/1`, `oltr.stats/1` and `oltr.error/1`, as docs/reference/events.md
//! describes them.

mod scene;
mod schema;
mod still;
mod texts;
mod things;
mod units;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::{CameraResult, EventResult, Failure, FrameResult, Novelty, SceneResult, Sink, Stats, StoreStats};
use crate::clock;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::text;
use scene::{CameraLine, SceneLine};
use schema::{ErrorLine, EventLine, FrameLine, Head, Memory, StatsLine, Time};
pub use still::StillFields;
use texts::Texts;

/// Interval between queries of whether the system's clock is synchronised.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Bytes of each text in a line that would otherwise be too long. Six such texts fit, even if each byte needs six.
const SHORT_TEXT: usize = 512;

/// Settings of the lines.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Name of the output in messages: `standard output`.
    pub destination: String,
    /// Whether each frame gets a line.
    pub frames: bool,
    /// Bytes that the program was planned to take, if they were.
    pub planned_bytes: Option<u64>,
    /// Bytes that it may take, if there is a bound.
    pub limit_bytes: Option<u64>,
}

/// Writes results as JSON lines. Each line is written at once and flushed. Lines allocate nothing.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    settings: Settings,
    line: Line,
    /// Number of the next line.
    seq: u64,
    boot_id: Option<String>,
    /// Distinguishes the events of this run from those of other runs in this boot.
    run: String,
    synchronised: Option<bool>,
    asked: Duration,
    store: Option<StoreStats>,
}

impl<W: Write> JsonLines<W> {
    /// Lines that are written to `out`.
    pub fn new(out: W, settings: Settings, limits: &Limits) -> JsonLines<W> {
        let (boot_id, asked) = (clock::boot_id(), Duration::from_nanos(clock::monotonic_ns()));
        let boot = boot_id.as_deref().and_then(|id| id.get(..8)).unwrap_or("00000000");
        let run = format!("{boot}-{:x}", asked.as_nanos());
        let line = Line { bytes: Vec::with_capacity(limits.line_bytes), limit: limits.line_bytes };
        let synchronised = clock::is_synchronised();
        JsonLines { out, settings, line, seq: 0, boot_id, run, synchronised, asked, store: None }
    }

    /// Sets the planned bytes of the program.
    pub fn set_planned(&mut self, bytes: u64) {
        self.settings.planned_bytes = Some(bytes);
    }

    /// Id of this run, which distinguishes its events from those of other runs.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Uses the [`run`](JsonLines::run) of another writer, so that events have the same ids.
    pub fn set_run(&mut self, run: &str) {
        self.run = run.into();
    }

    /// Sets the counts of the store for the next statistics.
    pub fn set_store(&mut self, stats: StoreStats) {
        self.store = Some(stats);
    }

    /// As [`Sink::event`], with the event's novelty.
    ///
    /// # Errors
    /// As [`Sink::event`].
    pub fn event_with(&mut self, event: &EventResult, novelty: Option<Novelty>) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        let written = self.write("oltr.event/1", event.now, |texts| EventLine::new(event, &run, novelty, texts));
        self.run = run;
        written
    }

    /// The last line that was written, without its end.
    pub fn last_line(&self) -> &str {
        std::str::from_utf8(&self.line.bytes).unwrap_or_default().trim_end()
    }

    /// Writes `line` with the common fields: its number and the time `mono`. Cuts texts if the line would be too long.
    fn write<L: Serialize>(&mut self, schema: &'static str, mono: Duration, line: impl Fn(Texts) -> L) -> Result<()> {
        if mono.saturating_sub(self.asked) >= ASK_EVERY {
            (self.synchronised, self.asked) = (clock::is_synchronised(), mono);
        }
        let (seq, boot_id) = (self.seq, self.boot_id.as_deref());
        for most in [usize::MAX, SHORT_TEXT] {
            let (line, shortened) = (line(Texts { most }), most == SHORT_TEXT);
            let time = Time::new(mono);
            let head = Head { schema, seq, boot_id, time, clock_synchronised: self.synchronised, line, shortened };
            self.line.bytes.clear();
            let Err(e) = text::write_json(&mut self.line, &head).map_err(io::Error::from) else { break };
            let (value, limit) = (self.line.limit as u64 + 1, self.line.limit as u64);
            match e.kind() {
                io::ErrorKind::StorageFull if !shortened => {}
                io::ErrorKind::StorageFull => {
                    return Err(Error::Limit { subject: schema.into(), what: "line_bytes", value, limit });
                }
                _ => return Err(Error::Internal(format!("{schema} cannot be written as JSON: {e}"))),
            }
        }
        self.line.bytes.push(b'\n');
        self.seq += 1;
        let written = self.out.write_all(&self.line.bytes).and_then(|()| self.out.flush());
        written.map_err(|e| Error::io(&self.settings.destination, e))
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn frame(&mut self, frame: &FrameResult) -> Result<()> {
        if !self.settings.frames {
            return Ok(());
        }
        let mono = Duration::from_nanos(frame.stamp.mono_ns);
        self.write("oltr.frame/1", mono, |texts| FrameLine::new(frame, texts))
    }

    fn scene(&mut self, scene: &SceneResult) -> Result<()> {
        if !self.settings.frames {
            return Ok(());
        }
        let mono = Duration::from_nanos(scene.stamp.mono_ns);
        self.write("oltr.frame/1", mono, |texts| SceneLine::new(scene, texts))
    }

    fn camera(&mut self, camera: &CameraResult) -> Result<()> {
        let mono = Duration::from_nanos(camera.stamp.mono_ns);
        self.write("oltr.camera/1", mono, |texts| CameraLine::new(camera, texts))
    }

    fn event(&mut self, event: &EventResult) -> Result<()> {
        self.event_with(event, None)
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.write("oltr.error/1", failure.now, |texts| ErrorLine::new(failure, texts))
    }

    fn stats(&mut self, source: &str, stats: &Stats) -> Result<()> {
        let (planned_bytes, limit_bytes) = (self.settings.planned_bytes, self.settings.limit_bytes);
        let memory = Memory { planned_bytes, limit_bytes };
        let store = self.store;
        self.write("oltr.stats/1", stats.now, |texts| StatsLine::new(source, stats, memory, texts).with_store(store))
    }
}

/// A line in progress, which never grows beyond its memory.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One byte is reserved for the line feed.
        if self.bytes.len() + bytes.len() >= self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
