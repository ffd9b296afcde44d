//! Results for a person: a row for each event that begins or ends, and on a terminal a line that is always up to date.

use std::io::IsTerminal;
use std::time::{Duration, Instant, UNIX_EPOCH};

use oltr::bundle::Bundle;
use oltr::clock;
use oltr::decide::Decision;
use oltr::decide::events::{Event, Phase};
use oltr::enrol::{Enrolled, Enrolments};
use oltr::sink::{EventResult, Failure, FrameResult, Sink, Stats};
use oltr::{Error, Result};

use super::super::exit;
use super::super::output::{GOOD, NOTABLE, Output, PLAIN};
use super::super::table::{Align, Cell, Column, Shrink, Table, printable};

/// Columns of a terminal that does not say how many it has.
const DEFAULT_WIDTH: usize = 80;

/// How often the line on a terminal changes.
const REFRESH: Duration = Duration::from_millis(250);

/// A table of events, and of frames if asked for.
pub struct Person<'a> {
    out: Output,
    table: Table,
    bundle: &'a Bundle,
    enrolled: &'a [Enrolled],
    frames: bool,
    /// On a terminal, when the last line was last written; `None` elsewhere.
    live: Option<Instant>,
    /// Whether that line stands there now.
    shown: bool,
    /// What the last frames agree on, and the frame's age.
    last: Option<(Decision, Duration)>,
}

impl<'a> Person<'a> {
    /// A table for the classes of `bundle` and `enrolments`, with a row for each frame if `frames`.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn new(bundle: &'a Bundle, enrolments: Option<&'a Enrolments>, frames: bool) -> anyhow::Result<Person<'a>> {
        let enrolled = enrolments.map_or(&[][..], Enrolments::classes);
        let mut out = Output::new();
        let names = || bundle.classes.iter().map(|class| class.name.as_str());
        let columns = vec![
            Column::new("TIME", Align::Left, Shrink::Never).hold(["00:00:00Z"]),
            Column::new("WHAT", Align::Left, Shrink::End).hold(["frame 1000000"]),
            Column::new("SHOWS", Align::Left, Shrink::End)
                .hold(names().chain(enrolled.iter().map(Enrolled::name)).chain(["open"])),
            Column::new("PROBABILITY", Align::Right, Shrink::Never),
            Column::new("REACHABILITY", Align::Right, Shrink::Never),
            Column::new("RESEMBLES", Align::Left, Shrink::End).hold(names()),
            Column::new("FRAMES", Align::Right, Shrink::Never),
            Column::new("LASTED", Align::Right, Shrink::Never).hold(["1000.0 s"]),
        ];
        let table = Table::new(columns, out.width());
        out.line(&table.header())?;
        let live = std::io::stdout().is_terminal().then(Instant::now);
        Ok(Person { out, table, bundle, enrolled, frames, live, shown: false, last: None })
    }

    fn name(&self, decision: Decision) -> &'a str {
        match decision {
            Decision::Known(class) => self.bundle.classes.get(class).map_or("?", |class| class.name.as_str()),
            Decision::Enrolled(class) => self.enrolled.get(class).map_or("?", Enrolled::name),
            Decision::Open => "open",
        }
    }

    fn row(&mut self, cells: &[Cell]) -> Result<()> {
        let row = self.table.row(cells);
        self.clear().and_then(|()| self.out.line(&row)).map_err(failed)
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.shown) { self.out.piece("\r\x1b[K") } else { Ok(()) }
    }
}

impl Sink for Person<'_> {
    fn frame(&mut self, f: &FrameResult) -> Result<()> {
        self.last = f.agreed.map(|agreed| (agreed.label, f.age));
        if !self.frames {
            return Ok(());
        }
        let (scores, verdict) = (f.scores, f.verdict);
        let sign = if scores.reachability < verdict.threshold { '<' } else { '≥' };
        self.row(&[
            time_of_day(Duration::from_nanos(f.stamp.mono_ns)).into(),
            format!("frame {}", f.stamp.seq).into(),
            shows(self.name(verdict.decision), verdict.decision),
            percent(scores.probability),
            format!("{:.2} {sign} {:.2}", scores.reachability, verdict.threshold).into(),
            self.name(Decision::Known(scores.nearest)).into(),
        ])
    }

    fn event(&mut self, e: &EventResult) -> Result<()> {
        let event = &e.change.event;
        let (what, time, lasted) = match e.change.phase {
            Phase::New => (format!("event {}", event.id), event.first, String::new()),
            Phase::Update => return Ok(()),
            Phase::End(_) => (format!("end of {}", event.id), event.last, seconds(event.duration())),
        };
        self.row(&[
            time_of_day(time).into(),
            what.into(),
            shows(self.name(event.label), event.label),
            percent(event.mean_probability()),
            format!("{:.2}", event.mean_reachability()).into(),
            self.name(Decision::Known(event.best.nearest)).into(),
            event.frames.to_string().into(),
            lasted.into(),
        ])
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.clear().map_err(failed)?;
        let at = failure.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
        log::error!("{}{at}: {}", printable(failure.source), printable(failure.reason));
        Ok(())
    }

    fn stats(&mut self, source: &str, s: &Stats) -> Result<()> {
        self.clear().map_err(failed)?;
        let text = format!(
            "{}: {} captured, {} classified, {} dropped, {} skipped, {} damaged, {} reconnected, {} events in {}",
            printable(source),
            s.captured,
            s.classified,
            s.dropped,
            s.skipped,
            s.decode_errors,
            s.reconnects,
            s.events,
            seconds(s.uptime)
        );
        // What was asked for is said whatever the verbosity.
        if s.last {
            log::info!("{text}")
        } else {
            exit::say(&text)
        }
        Ok(())
    }

    fn tick(&mut self, stats: &Stats, events: &mut dyn Iterator<Item = &Event>) -> Result<()> {
        let Some(last) = self.live else { return Ok(()) };
        let width = self.out.width().unwrap_or(DEFAULT_WIDTH);
        if self.shown && last.elapsed() < REFRESH {
            return Ok(());
        }
        let shows = match self.last {
            Some((label, age)) => format!("{} (frame {} ms old)", self.name(label), age.as_millis()),
            None => "nothing certain".into(),
        };
        let open: Vec<&str> = events.map(|event| self.name(event.label)).collect();
        let state = if stats.connected { "" } else { " | source lost" };
        let line = format!(
            "> {shows} | in progress: {} | {} frames, {} dropped{state}",
            if open.is_empty() { "-".into() } else { open.join(", ") },
            stats.classified,
            stats.dropped
        );
        let line: String = printable(&line).chars().take(width.saturating_sub(1)).collect();
        self.live = Some(Instant::now());
        self.shown = true;
        self.out.piece(&format!("\r\x1b[K{line}")).map_err(failed)
    }
}

impl Drop for Person<'_> {
    /// Leaves the cursor on a line of its own.
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// As the pipeline says it, with the cause kept: a reader that left must end the program quietly.
fn failed(e: anyhow::Error) -> Error {
    match e.downcast::<std::io::Error>() {
        Ok(cause) => Error::io(super::STDOUT, cause),
        Err(e) => Error::Internal(format!("{e:#}")),
    }
}

fn shows(name: &str, decision: Decision) -> Cell<'_> {
    Cell(name.into(), if decision == Decision::Open { NOTABLE } else { GOOD })
}

fn percent(probability: f32) -> Cell<'static> {
    Cell(format!("{:.1} %", probability * 100.0).into(), PLAIN)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Hours, minutes and seconds in UTC.
fn time_of_day(mono: Duration) -> String {
    let seconds = clock::wall_at(mono).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
