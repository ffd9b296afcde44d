//! Sampling effort: how long was watched, and what was missed. Counts of animals mean little
//! without it.

use crate::record::Stats;
use oltr_frames::text::counted;

/// Effort of the runs in `oltr.stats/1` lines.
#[derive(Debug, Default)]
pub struct Effort {
    /// The last line of the run that is read.
    run: Option<Stats>,
    /// The runs before it.
    over: Sum,
}

/// Sum over several runs.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    runs: u64,
    /// Runs whose time watched is known.
    timed: u64,
    hours: f64,
    captured: u64,
    dropped: u64,
    damaged: u64,
    reconnects: u64,
}

impl Sum {
    /// One run more.
    fn with(self, run: &Stats) -> Sum {
        Sum {
            runs: self.runs + 1,
            timed: self.timed + u64::from(run.watched_ms != Some(None)),
            hours: self.hours + run.watched_ms.unwrap_or(Some(run.uptime_ms)).unwrap_or(0.0).max(0.0) / 3.6e6,
            captured: self.captured + run.captured,
            dropped: self.dropped + run.dropped,
            damaged: self.damaged + run.decode_errors,
            reconnects: self.reconnects + run.reconnects,
        }
    }
}

impl Effort {
    /// Takes one more line.
    pub fn add(&mut self, stats: &Stats) {
        let goes_on = self.run.as_ref().is_some_and(|last| {
            last.boot_id == stats.boot_id && stats.seq > last.seq && stats.uptime_ms >= last.uptime_ms
        });
        if !goes_on {
            self.over = self.sum();
        }
        self.run = Some(stats.clone());
    }

    /// Sum of all runs, including the current one so far.
    fn sum(&self) -> Sum {
        self.run.as_ref().map_or(self.over, |run| self.over.with(run))
    }

    /// Effort as text; `None` if nothing is known.
    pub fn text(&self) -> Option<String> {
        let Sum { runs, timed, hours, captured, dropped, damaged, reconnects } = self.sum();
        (runs > 0).then(|| {
            let watched = if timed > 0 { format!("watched {hours:.2} h in ") } else { String::new() };
            format!(
                "effort: {watched}{}; {} taken, {dropped} of them dropped, {damaged} damaged; the source \
                 came back {}",
                counted(runs, "run"),
                counted(captured, "frame"),
                counted(reconnects, "time")
            )
        })
    }

    /// Hours watched, if known.
    pub fn hours(&self) -> Option<f64> {
        let sum = self.sum();
        (sum.timed > 0).then_some(sum.hours)
    }
}
