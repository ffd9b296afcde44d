//! How long was watched, and what was missed: without it a count of animals says nothing.

use crate::record::Stats;

/// The runs that `oltr.stats/1` lines tell of.
#[derive(Debug, Default)]
pub struct Effort {
    /// The last line of the run that is read.
    run: Option<Stats>,
    runs: u64,
    hours: f64,
    captured: u64,
    dropped: u64,
    damaged: u64,
    reconnects: u64,
}

impl Effort {
    /// Takes one more line.
    pub fn add(&mut self, stats: &Stats) {
        let goes_on = self.run.as_ref().is_some_and(|last| {
            last.boot_id == stats.boot_id && stats.seq > last.seq && stats.uptime_ms >= last.uptime_ms
        });
        if !goes_on {
            self.end_run();
        }
        self.run = Some(stats.clone());
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        self.runs += 1;
        self.hours += run.uptime_ms.max(0.0) / 3.6e6;
        self.captured += run.captured;
        self.dropped += run.dropped;
        self.damaged += run.decode_errors;
        self.reconnects += run.reconnects;
    }

    /// All of it in words; `None` where nothing is known.
    pub fn text(&mut self) -> Option<String> {
        self.end_run();
        (self.runs > 0).then(|| {
            format!(
                "effort: watched {:.2} h in {} runs; {} frames taken, {} of them dropped, {} damaged; the source came back {} times",
                self.hours, self.runs, self.captured, self.dropped, self.damaged, self.reconnects
            )
        })
    }

    /// Hours watched, where they are known.
    pub fn hours(&mut self) -> Option<f64> {
        self.end_run();
        (self.runs > 0).then_some(self.hours)
    }
}
