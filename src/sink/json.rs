//! One JSON object a line: `oltr.frame/1`, `oltr.event/1`, `oltr.stats/1` and `oltr.error/1`, as docs/reference/events.md
//! describes them.

mod schema;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::{EventResult, Failure, FrameResult, Sink, Stats};
use crate::bundle::Bundle;
use crate::clock;
use crate::enrol::Enrolments;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::text;
use schema::{ErrorLine, EventLine, FrameLine, Head, Names, StatsLine, Time};

/// How often the system is asked whether its clock is synchronised.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What the lines are to say beside the results.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What messages call the place that is written to: `standard output`.
    pub destination: String,
    /// Whether each frame gets a line.
    pub frames: bool,
    /// Bytes that the program was planned to take, if they were.
    pub planned_bytes: Option<u64>,
    /// Bytes that it may take, if there is a bound.
    pub limit_bytes: Option<u64>,
}

/// Writes results as JSON lines. Each line is written in one piece and flushed; none takes memory of its own.
#[derive(Debug)]
pub struct JsonLines<'a, W> {
    out: W,
    names: Names<'a>,
    settings: Settings,
    line: Line,
    /// Number of the next line.
    seq: u64,
    boot_id: Option<String>,
    /// Tells the events of this run from those of others of this boot.
    run: String,
    synchronised: Option<bool>,
    asked: Duration,
}

impl<'a, W: Write> JsonLines<'a, W> {
    /// Lines about the classes of `bundle`, written to `out`.
    pub fn new(out: W, bundle: &'a Bundle, settings: Settings, limits: &Limits) -> JsonLines<'a, W> {
        let (boot_id, asked) = (clock::boot_id(), Duration::from_nanos(clock::monotonic_ns()));
        let boot = boot_id.as_deref().and_then(|id| id.get(..8)).unwrap_or("00000000");
        let run = format!("{boot}-{:x}", asked.as_nanos());
        let line = Line { bytes: Vec::with_capacity(limits.line_bytes), limit: limits.line_bytes };
        let (names, synchronised) = (Names { bundle, enrolled: &[] }, clock::is_synchronised());
        JsonLines { out, names, settings, line, seq: 0, boot_id, run, synchronised, asked }
    }

    /// Names the classes of `enrolments` too, which a classifier may find.
    pub fn with_enrolments(mut self, enrolments: &'a Enrolments) -> JsonLines<'a, W> {
        self.names.enrolled = enrolments.classes();
        self
    }

    /// Writes `line` with what all lines have: its number, and the time `mono`.
    fn write(&mut self, schema: &'static str, mono: Duration, line: impl Serialize) -> Result<()> {
        if mono.saturating_sub(self.asked) >= ASK_EVERY {
            (self.synchronised, self.asked) = (clock::is_synchronised(), mono);
        }
        let (seq, boot_id, time) = (self.seq, self.boot_id.as_deref(), Time::new(mono));
        let head = Head { schema, seq, boot_id, time, clock_synchronised: self.synchronised, line };
        self.line.bytes.clear();
        if let Err(e) = text::write_json(&mut self.line, &head).map_err(io::Error::from) {
            let (value, limit) = (self.line.limit as u64 + 1, self.line.limit as u64);
            return Err(match e.kind() {
                io::ErrorKind::StorageFull => Error::Limit { subject: schema.into(), what: "line_bytes", value, limit },
                _ => Error::Internal(format!("{schema} cannot be written as JSON: {e}")),
            });
        }
        self.line.bytes.push(b'\n');
        self.seq += 1;
        let written = self.out.write_all(&self.line.bytes).and_then(|()| self.out.flush());
        written.map_err(|e| Error::io(&self.settings.destination, e))
    }
}

impl<W: Write> Sink for JsonLines<'_, W> {
    fn frame(&mut self, frame: &FrameResult) -> Result<()> {
        if !self.settings.frames {
            return Ok(());
        }
        let mono = Duration::from_nanos(frame.stamp.mono_ns);
        self.write("oltr.frame/1", mono, FrameLine::new(frame, self.names))
    }

    fn event(&mut self, event: &EventResult) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        let written = self.write("oltr.event/1", event.now, EventLine::new(event, &run, self.names));
        self.run = run;
        written
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.write("oltr.error/1", failure.now, ErrorLine::new(failure))
    }

    fn stats(&mut self, source: &str, stats: &Stats) -> Result<()> {
        let (planned, limit) = (self.settings.planned_bytes, self.settings.limit_bytes);
        self.write("oltr.stats/1", stats.now, StatsLine::new(source, stats, planned, limit))
    }
}

/// A line being written, which never grows beyond its memory.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One byte is kept for the line's end.
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
