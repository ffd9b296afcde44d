//! Results for people: a row when an event begins or ends, and on a terminal a status line that is always up to date.

use std::io::IsTerminal;
use std::time::{Duration, Instant, UNIX_EPOCH};

use oltr::clock;
use oltr::decide::Decision;
use oltr::decide::events::{Event, Phase};
use oltr::sink::{CameraResult, EventResult, Failure, FrameResult, SceneResult, Sink, Stats, Times};
use oltr::text::counted;
use oltr::things::Area;
use oltr::{DisplayNames, Error, Names, Result, Told};

use super::super::exit;
use super::super::naming::with_name;
use super::super::output::{GOOD, NOTABLE, Output, PLAIN};
use super::super::table::{Align, Cell, Column, Shrink, Table, printable, shorten};

/// How often the line on a terminal changes.
const REFRESH: Duration = Duration::from_millis(250);

/// A table of events, and of frames if requested.
pub struct TableSink {
    out: Output,
    table: Table,
    names: DisplayNames,
    frames: bool,
    /// Whether frames are photos, which have names.
    photos: bool,
    /// Time of the last status line on a terminal; `None` elsewhere.
    live: Option<Instant>,
    /// Whether the status line is on the screen now.
    shown: bool,
    /// The consensus of the last frames, and the frame's age.
    last: Option<(Decision, Duration)>,
    /// In thing mode: the number of things in view, and the frame's age.
    present: Option<(usize, Duration)>,
}

impl TableSink {
    /// A table for what `names` names, with a row for each frame if `frames`.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn new(names: Names, frames: bool, photos: bool) -> anyhow::Result<TableSink> {
        let names = DisplayNames::of_all(names);
        let mut out = Output::new();
        let reachabilities = if frames { ["10.00 ≥ 10.00"] } else { ["10.00"] };
        let columns = vec![
            Column::new("TIME", Align::Left, Shrink::Never).hold(["00:00:00Z"]),
            Column::new("WHAT", Align::Left, if photos { Shrink::Path } else { Shrink::Middle }).hold([match frames {
                true if photos => "DCIM/100TRAIL/IMG_0001.JPG",
                true => "frame 1000000",
                false => "end of 10000",
            }]),
            Column::new("SHOWS", Align::Left, Shrink::Middle).hold(names.all().chain(["open"])),
            Column::new("PROBABILITY", Align::Right, Shrink::Never).short("PROB.").hold(["100.0 %"]),
            Column::new("REACHABILITY", Align::Right, Shrink::Never).short("REACH.").hold(reachabilities),
            Column::new("RESEMBLES", Align::Left, Shrink::Middle).hold(names.iter()),
            Column::new("FRAMES", Align::Right, Shrink::Never).spare(1),
            Column::new("LASTED", Align::Right, Shrink::Never).hold(["1000.0 s"]).spare(2),
        ];
        let table = Table::new(columns, out.width());
        out.line(&table.header())?;
        let live = std::io::stdout().is_terminal().then(Instant::now);
        Ok(TableSink { out, table, names, frames, photos, live, shown: false, last: None, present: None })
    }

    fn name(&self, decision: Decision) -> String {
        self.names.of_decision(decision).into()
    }

    /// The decision's cell, with the name above it if the bundle has a taxonomy.
    fn named(&self, decision: Decision, told: Option<Option<Told>>) -> Cell<'static> {
        let text = match decision {
            Decision::Known(_) => with_name(Some(self.names.of_decision(decision)), told),
            Decision::Open => with_name(None, told),
            Decision::Enrolled(_) | Decision::Unclassified => self.name(decision),
        };
        shows(text, decision)
    }

    fn row(&mut self, cells: &[Cell]) -> Result<()> {
        let row = self.table.row(cells);
        self.clear().and_then(|()| self.out.line(&row)).map_err(failed)
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.shown) { self.out.piece("\r\x1b[K") } else { Ok(()) }
    }
}

impl Sink for TableSink {
    fn frame(&mut self, f: &FrameResult) -> Result<()> {
        self.last = f.agreed.map(|agreed| (agreed.label, f.age));
        if !self.frames {
            return Ok(());
        }
        let answer = &f.answer;
        let sign = if answer.reachability < answer.threshold { '<' } else { '≥' };
        self.row(&[
            time_of_day(Duration::from_nanos(f.stamp.mono_ns)).into(),
            if self.photos { f.source.to_string().into() } else { format!("frame {}", f.stamp.seq).into() },
            self.named(answer.decision, answer.told()),
            percent(answer.probability),
            format!("{:.2} {sign} {:.2}", answer.reachability, answer.threshold).into(),
            self.names.of(answer.nearest.class).to_string().into(),
        ])?;
        let Some(still) = f.still else { return Ok(()) };
        for thing in &still.things {
            let Area { x, y, width, height } = thing.area;
            self.row(&[
                "".into(),
                format!("thing {}", thing.id).into(),
                shows(self.name(thing.decision), thing.decision),
                percent(thing.probability),
                format!("{:.2}", thing.reachability).into(),
                format!("at {x},{y},{width},{height}").into(),
            ])?;
        }
        Ok(())
    }

    fn scene(&mut self, scene: &SceneResult) -> Result<()> {
        self.present = Some((scene.things.len(), scene.age));
        if !self.frames {
            return Ok(());
        }
        let (time, frame) = (Duration::from_nanos(scene.stamp.mono_ns), scene.stamp.seq);
        for thing in scene.things {
            let Area { x, y, width, height } = thing.area;
            let place = format!("thing {} at {x},{y},{width},{height}, {}", thing.id, thing.state.name());
            self.row(&[
                time_of_day(time).into(),
                format!("frame {frame}").into(),
                shows(self.name(thing.decision), thing.decision),
                "".into(),
                "".into(),
                place.into(),
            ])?;
        }
        Ok(())
    }

    fn camera(&mut self, camera: &CameraResult) -> Result<()> {
        let time = Duration::from_nanos(camera.stamp.mono_ns);
        self.row(&[time_of_day(time).into(), "camera".into(), Cell(camera.camera.name().into(), NOTABLE)])
    }

    fn event(&mut self, e: &EventResult) -> Result<()> {
        let event = &e.change.event;
        let (kind, id) = e.thing.map_or(("event", event.id), |of| ("thing", of.thing.id));
        let (what, time, lasted) = match e.change.phase {
            Phase::New => (format!("{kind} {id}"), event.first, String::new()),
            Phase::Update => return Ok(()),
            Phase::End(_) => (format!("end of {id}"), event.last, seconds(event.duration())),
        };
        let is_classified = event.label != Decision::Unclassified;
        let resembles = is_classified.then(|| self.name(Decision::Known(event.best.nearest as usize)));
        self.row(&[
            time_of_day_by(e.times, time).into(),
            what.into(),
            self.named(event.label, e.names.told_of(event)),
            if is_classified { percent(event.mean_probability()) } else { "".into() },
            if is_classified { format!("{:.2}", event.mean_reachability()).into() } else { "".into() },
            resembles.unwrap_or_default().into(),
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
            "{}: {} captured, {} classified, {} dropped, {} skipped, {} damaged, {} reconnected, {} in {}",
            printable(source),
            s.captured,
            s.classified,
            s.dropped,
            s.skipped,
            s.decode_errors,
            s.reconnects,
            counted(s.events, "event"),
            seconds(s.uptime)
        );
        let text = match s.things {
            None => text,
            Some(of) => format!(
                "{text}; {}, {}, {} skipped, no room for {} more",
                counted(of.seen, "thing"),
                counted(of.cuts.asked, "cut"),
                of.cuts.skipped,
                of.crowded
            ),
        };
        // Requested statistics are printed at any verbosity; the final ones, unless quiet was requested.
        if !s.last || log::log_enabled!(log::Level::Warn) {
            exit::say(&text)
        }
        Ok(())
    }

    fn stuck(&mut self, _: &Error) {
        let _ = self.clear();
    }

    fn tick(&mut self, stats: &Stats, events: &mut dyn Iterator<Item = &Event>) -> Result<()> {
        let Some(last) = self.live else { return Ok(()) };
        let width = self.out.width();
        if self.shown && last.elapsed() < REFRESH {
            return Ok(());
        }
        let shows = match self.last {
            Some((label, age)) => format!("{} (frame {} ms old)", self.name(label), age.as_millis()),
            None => match self.present {
                Some((things, age)) => format!("{things} present (frame {} ms old)", age.as_millis()),
                None => "nothing certain".into(),
            },
        };
        let open: Vec<String> = events.map(|event| self.name(event.label)).collect();
        let state = if stats.connected { "" } else { " | source lost" };
        let line = format!(
            "> {shows} | in progress: {} | {}, {} dropped{state}",
            if open.is_empty() { "-".into() } else { open.join(", ") },
            counted(stats.classified, "frame"),
            stats.dropped
        );
        let line = shorten(&printable(&line), width.saturating_sub(1)).into_owned();
        self.live = Some(Instant::now());
        self.shown = true;
        self.out.piece(&format!("\r\x1b[K{line}")).map_err(failed)
    }
}

impl Drop for TableSink {
    /// Leaves the cursor on a line of its own.
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// Converts to the pipeline's error and keeps the cause: a reader that left must end the program quietly.
fn failed(e: anyhow::Error) -> Error {
    match e.downcast::<std::io::Error>() {
        Ok(cause) => Error::io(super::STDOUT, cause),
        Err(e) => Error::Internal(format!("{e:#}")),
    }
}

fn shows(name: String, decision: Decision) -> Cell<'static> {
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
    time_of_day_by(Times::Monotonic, mono)
}

/// Hours, minutes and seconds: in UTC with a Z, or by the camera's clock.
fn time_of_day_by(times: Times, time: Duration) -> String {
    let since = match times {
        Times::Monotonic => clock::wall_at(time).duration_since(UNIX_EPOCH).unwrap_or_default(),
        Times::Utc | Times::Local => time,
    };
    let (seconds, zone) = (since.as_secs() % 86_400, if times == Times::Local { "" } else { "Z" });
    format!("{:02}:{:02}:{:02}{zone}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
