//! `oltr doctor`: what this board offers and which problems to expect.

mod board;

use std::path::Path;
use std::time::{Duration, Instant};

use oltr::model::ISA_VARIABLE;
use oltr::{Error, Model, Result};
use serde::Serialize;

use super::args::{Common, DoctorArgs};
use super::bench::Input;
use super::exit::{self, Exit};
use super::output::{BAD, GOOD, NOTABLE, Output, bytes};
use super::table::{Align, Cell, Column, Shrink, Table, printable};
use board::Board;

/// Frames that are timed. The fastest counts, because other processes disturbed it least.
const FRAMES: usize = 5;

/// Runs the command.
pub fn run(_: &DoctorArgs, common: &Common) -> anyhow::Result<Exit> {
    let board = Board::at(Path::new("/"));
    let trial = Trial::of(common);
    let mut findings = vec![board.processor(), board.threads(common.threads.into())];
    findings.push(kernels(&board.instruction_sets()));
    findings.extend(trial.findings(common));
    findings.push(board.memory(trial.needed_bytes()));
    findings.extend(board.health());
    findings.push(board.clock());
    findings.push(board.disk(Path::new(".")));
    findings.extend(board.cameras(&super::cameras::modes()));
    let exit = if findings.iter().all(|finding| finding.status != Status::Fail) {
        Exit::Success
    } else {
        trial.0.as_ref().err().map_or(Exit::Unavailable, Exit::from)
    };
    let report = Report { schema: "oltr.doctor/1", ok: exit == Exit::Success, findings };
    let mut out = Output::new();
    if common.json {
        out.json(&report)?;
    } else {
        report.print(&mut out)?;
    }
    Ok(exit)
}

/// `oltr.doctor/1`.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    /// Whether no check failed.
    ok: bool,
    findings: Vec<Finding>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// No problem.
    Ok,
    /// oltr runs, but something will be slower or less sure than it could be.
    Warn,
    /// Something will not work.
    Fail,
}

/// One check and its result.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Finding {
    check: &'static str,
    status: Status,
    /// The finding.
    detail: String,
    /// The remedy; `None` if there is no problem.
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Finding {
        Finding { check, status: Status::Ok, detail: detail.into(), remedy: None }
    }

    fn warn(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { check, status: Status::Warn, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { check, status: Status::Fail, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

impl Report {
    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        let arrow = |remedy: &String| format!("→ {remedy}");
        let texts: Vec<String> = self
            .findings
            .iter()
            .flat_map(|f| std::iter::once(f.detail.clone()).chain(f.remedy.as_ref().map(arrow)))
            .collect();
        let columns = vec![
            Column::new("STATUS", Align::Left, Shrink::Never),
            Column::new("CHECK", Align::Left, Shrink::Never).hold(self.findings.iter().map(|f| f.check)),
            Column::new("FINDING", Align::Left, Shrink::Wrap).hold(texts.iter().map(String::as_str)),
        ];
        let table = Table::new(columns, out.width());
        out.line(&table.header())?;
        for Finding { check, status, detail, remedy } in &self.findings {
            let (word, style) = match status {
                Status::Ok => ("ok", GOOD),
                Status::Warn => ("warn", NOTABLE),
                Status::Fail => ("FAIL", BAD),
            };
            let row: [Cell; 3] = [Cell(word.into(), style), (*check).into(), detail.as_str().into()];
            out.line(&table.row(&row))?;
            if let Some(remedy) = remedy {
                out.line(&table.row(&["".into(), "".into(), arrow(remedy).into()]))?;
            }
        }
        Ok(())
    }
}

/// Result of loading and running the model.
struct Trial(Result<Ran>);

struct Ran {
    model: Model,
    load: Duration,
    /// Time of one frame: preprocessing and network.
    frame: Duration,
}

impl Ran {
    fn new(common: &Common) -> Result<Ran> {
        let begin = Instant::now();
        let model = common.load(None)?;
        let mut session = model.session()?;
        let load = begin.elapsed();
        let input = Input::for_model(&model)?;
        let mut frame = Duration::MAX;
        for _ in 0..FRAMES {
            let begin = Instant::now();
            input.run(&mut session)?;
            frame = frame.min(begin.elapsed());
        }
        Ok(Ran { model, load, frame })
    }
}

impl Trial {
    fn of(common: &Common) -> Trial {
        Trial(Ran::new(common))
    }

    /// Weights and buffers, if the model runs.
    fn needed_bytes(&self) -> Option<u64> {
        let summary = self.0.as_ref().ok()?.model.summary();
        Some(summary.needed_bytes())
    }

    fn findings(&self, common: &Common) -> Vec<Finding> {
        let ran = match &self.0 {
            Ok(ran) => ran,
            Err(error) => {
                let remedy = match error {
                    Error::Limit { what: "memory_bytes", .. } => "allow more with --max-memory",
                    Error::NotFound { .. } => "check --model and the variable OLTR_MODEL",
                    _ => "try the built-in model: unset OLTR_MODEL and leave out --model",
                };
                return vec![Finding::fail("model", exit::message(error), remedy)];
            }
        };
        let name = ran.model.name();
        let frame = ran.frame.as_secs_f64();
        let speed = format!(
            "{name} loads in {:.0} ms, takes {:.1} ms a frame ({:.0} frames/s)",
            ran.load.as_secs_f64() * 1e3,
            frame * 1e3,
            1.0 / frame.max(1e-9)
        );
        let runs = match ran.model.bundle() {
            Some(_) => Finding::ok("model", speed),
            None => Finding::warn("model", speed, "it names no classes: 'oltr classify' needs a bundle"),
        };
        let coverage = &ran.model.summary().coverage;
        let share = printable(&coverage.to_string()).to_string();
        let int8 = match (&coverage.fallback, coverage.is_poor()) {
            (Some(fallback), true) => Finding::warn("model in int8", share, fallback.remedy.clone()),
            _ => Finding::ok("model in int8", share),
        };
        let needed = bytes(self.needed_bytes().unwrap_or_default());
        let bound = match common.max_memory {
            Some(allowed) => format!("{needed} for weights and buffers, --max-memory allows {}", bytes(allowed.0)),
            None => format!("{needed} for weights and buffers; --max-memory can bound it"),
        };
        vec![runs, int8, Finding::ok("model memory", bound)]
    }
}

/// Which of the processor's instruction sets are used. `found` are the sets that the system reports.
fn kernels(found: &[String]) -> Finding {
    let found = if found.is_empty() { "no known vector instructions".into() } else { found.join(" ") };
    let best = oltr::model::available_kernels()[0];
    match oltr::model::selected_kernels() {
        Err(error) => Finding::fail("kernels", error.to_string(), format!("unset {}", ISA_VARIABLE)),
        Ok(isa) if isa != best => {
            Finding::warn("kernels", format!("{isa} in use, {best} would be faster"), format!("unset {}", ISA_VARIABLE))
        }
        Ok("scalar") => Finding::warn(
            "kernels",
            format!("plain ones in use, the processor has {found}"),
            "expect a tenth of the speed; use the build of oltr for this processor, 64-bit if it can",
        ),
        Ok(isa) => Finding::ok("kernels", format!("{isa} in use, the processor has {found}")),
    }
}
