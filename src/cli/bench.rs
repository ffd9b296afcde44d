//! `oltr bench`: time and memory of a model on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use oltr::model::{Coverage, Step, StepTime};
use oltr::text::counted;
use oltr::{Frame, Limits, Model, PixelFormat, Result, Session};
use serde::Serialize;

use super::args::{BenchArgs, Common};
use super::exit::Exit;
use super::output::{Output, bytes, millis};
use super::shutdown::Shutdown;
use super::table::{Align, Cell, Column, Shrink, Table, printable};

/// Runs the command. `start` is when the process began.
pub fn run(args: &BenchArgs, common: &Common, start: Instant) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::on_signals()?;
    let loading = Instant::now();
    let model = common.load(args.file.as_deref())?;
    let mut session = model.session()?;
    let load = loading.elapsed();
    let input = Input::for_model(&model)?;
    input.run(&mut session)?;
    let first_result = start.elapsed();
    for _ in 0..args.warmup {
        input.run(&mut session)?;
    }
    let mut times = Vec::new();
    // After a signal, reports the finished runs. At least one is needed.
    while times.is_empty() || (times.len() < args.runs as usize && !shutdown.requested()) {
        times.push(input.run(&mut session)?);
    }
    let profile = match args.profile {
        true => Some(profile(&model.summary().steps, &session.profile(&input.raw(), args.runs as usize)?)),
        false => None,
    };
    let summary = model.summary();
    let report = Report {
        schema: "oltr.bench/1",
        model: model.name(),
        threads: common.threads,
        runs: times.len(),
        isa: &summary.isa,
        int8: &summary.coverage,
        load_ms: millis(load),
        first_result_ms: millis(first_result),
        latency_ms: Latency::of(times),
        arena_bytes: summary.arena_bytes,
        scratch_bytes: summary.scratch_bytes,
        weights_bytes: summary.weights_bytes,
        peak_rss_bytes: peak_rss(Path::new("/proc/self/status")),
        input: input.describe(),
        profile,
    };
    let mut out = Output::new();
    if common.json {
        out.json(&report)?;
    } else {
        report.print(&mut out)?;
    }
    Ok(Exit::Success)
}

/// `oltr.bench/1`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    model: &'a str,
    threads: u16,
    runs: usize,
    isa: &'a str,
    /// File to session.
    load_ms: f64,
    /// Start of the process to the first answer.
    first_result_ms: f64,
    latency_ms: Latency,
    arena_bytes: u64,
    scratch_bytes: u64,
    weights_bytes: u64,
    /// Peak resident memory of the process; `None` if the system does not report it.
    peak_rss_bytes: Option<u64>,
    /// The input of the network.
    input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<ProfiledStep<'a>>>,
    /// How much runs in int8.
    int8: &'a Coverage,
}

impl Report<'_> {
    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        let l = &self.latency_ms;
        let (runs, threads) = (counted(self.runs, "run"), counted(self.threads, "thread"));
        let [weights, arena, scratch] = [self.weights_bytes, self.arena_bytes, self.scratch_bytes].map(bytes);
        let peak = self.peak_rss_bytes.map(|peak| format!("; the process took up to {}", bytes(peak)));
        let fields = [
            ("model", format!("{} on {}", printable(self.model), printable(&self.input))),
            ("kernels", format!("{}, {threads}", self.isa)),
            ("int8", printable(&self.int8.to_string()).to_string()),
            ("load", format!("{:.1} ms", self.load_ms)),
            ("first result", format!("{:.1} ms after the start of the process", self.first_result_ms)),
            (
                "latency",
                format!(
                    "{:.3} ms median of {}; {:.3} least, {:.3} for 95 %, {:.3} most",
                    l.median, runs, l.min, l.p95, l.max
                ),
            ),
            ("memory", format!("{weights} weights, {arena} arena, {scratch} scratch{}", peak.unwrap_or_default())),
        ];
        fields.iter().try_for_each(|(name, value)| out.field(name, value))?;
        match &self.profile {
            Some(steps) => print_profile(steps, out),
            None => Ok(()),
        }
    }
}

/// Statistics of the measured runs, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Latency {
    min: f64,
    median: f64,
    p95: f64,
    max: f64,
}

impl Latency {
    /// Quantiles of at least one time.
    fn of(mut times: Vec<Duration>) -> Latency {
        times.sort_unstable();
        // The smallest time that at least this share of the runs kept (nearest rank).
        let share = |percent: usize| millis(times[(times.len() * percent).div_ceil(100).max(1) - 1]);
        let middle = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2;
        Latency { min: share(0), median: millis(middle), p95: share(95), max: share(100) }
    }
}

/// One step of the network with its time.
#[derive(Debug, Serialize)]
struct ProfiledStep<'a> {
    name: &'a str,
    op: &'a str,
    kernel: &'a str,
    shape: &'a [usize],
    /// Median time in microseconds.
    micros: f64,
    /// Part of the sum over all steps, 0..1.
    share: f64,
    macs: u64,
    /// Billions of multiply-accumulates a second.
    gmacs_per_s: f64,
}

fn profile<'a>(steps: &'a [Step], times: &[StepTime]) -> Vec<ProfiledStep<'a>> {
    let sum: f64 = times.iter().map(|time| time.micros).sum();
    let timed = times.iter().filter_map(|time| Some((steps.get(time.step)?, time.micros)));
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
    let profiled = timed.map(|(step, micros)| ProfiledStep {
        name: &step.name,
        op: &step.op,
        kernel: &step.kernel,
        shape: &step.shape,
        micros,
        share: ratio(micros, sum),
        macs: step.macs,
        gmacs_per_s: ratio(step.macs as f64 / 1e3, micros),
    });
    profiled.collect()
}

fn print_profile(steps: &[ProfiledStep], out: &mut Output) -> anyhow::Result<()> {
    let columns = vec![
        Column::new("STEP", Align::Left, Shrink::Path),
        Column::new("OPERATOR", Align::Left, Shrink::Middle),
        Column::new("SHAPE", Align::Left, Shrink::Middle),
        Column::new("µs", Align::Right, Shrink::Never),
        Column::new("SHARE", Align::Right, Shrink::Never),
        Column::new("MMAC", Align::Right, Shrink::Never).spare(1),
        Column::new("GMAC/s", Align::Right, Shrink::Never),
        Column::new("KERNEL", Align::Left, Shrink::Middle),
    ];
    let if_any = |macs: u64, text: String| if macs > 0 { text } else { String::new() };
    let rows: Vec<Vec<Cell>> = steps
        .iter()
        .map(|s| {
            vec![
                s.name.into(),
                s.op.into(),
                super::output::shape(s.shape).into(),
                format!("{:.1}", s.micros).into(),
                format!("{:.1} %", s.share * 100.0).into(),
                if_any(s.macs, format!("{:.2}", s.macs as f64 / 1e6)).into(),
                if_any(s.macs, format!("{:.1}", s.gmacs_per_s)).into(),
                s.kernel.into(),
            ]
        })
        .collect();
    let table = Table::fit(columns, &rows, out.width());
    out.line("")?;
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))
}

/// Synthetic input of a model, the same on every machine.
pub enum Input {
    /// For bundles: a frame of the network's input size, so that the measurement includes
    /// preprocessing.
    Frame(Box<Frame>),
    /// For other graphs: numbers for each input.
    Numbers(Vec<Vec<f32>>),
}

impl Input {
    /// Input that `model` takes.
    pub fn for_model(model: &Model) -> Result<Input> {
        let mut noise = Noise(1);
        match model.bundle() {
            Some(bundle) => {
                let side = bundle.preprocess.size;
                let row = 3 * side as usize;
                let pixels = (0..row * side as usize).map(|_| (noise.next() * 256.0) as u8).collect();
                // The bundle was loaded, so that its size is within the default bounds.
                Frame::new(PixelFormat::Rgb24, side, side, row, pixels, &Limits::default())
                    .map(|frame| Input::Frame(Box::new(frame)))
            }
            None => {
                let numbers = |volume| (0..volume).map(|_| noise.next() * 4.0 - 2.0).collect();
                Ok(Input::Numbers(model.inputs().iter().map(|port| port.volume()).map(numbers).collect()))
            }
        }
    }

    /// Runs the network once. Returns the network's own time.
    pub fn run(&self, session: &mut Session) -> Result<Duration> {
        match self {
            Input::Frame(frame) => {
                session.run(frame)?;
                Ok(session.times().inference)
            }
            Input::Numbers(_) => {
                let inputs = self.raw();
                let begin = Instant::now();
                session.run_raw(&inputs)?;
                Ok(begin.elapsed())
            }
        }
    }

    /// The numbers; empty for a frame.
    fn raw(&self) -> Vec<&[f32]> {
        match self {
            Input::Frame(_) => Vec::new(),
            Input::Numbers(inputs) => inputs.iter().map(Vec::as_slice).collect(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Input::Frame(frame) => format!("a made-up frame of {}×{}", frame.width(), frame.height()),
            Input::Numbers(_) => "made-up numbers".into(),
        }
    }
}

/// Numbers that look like noise (xorshift), for input that is neither constant nor a file.
struct Noise(u32);

impl Noise {
    /// The next one, 0..1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }
}

/// Peak resident memory of a process (`VmHWM` of its `status` file).
pub fn peak_rss(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_worked_example() {
        let ms = |n: u64| Duration::from_millis(n);
        let l = Latency::of((1..=20).rev().map(ms).collect());
        assert_eq!(l, Latency { min: 1.0, median: 10.5, p95: 19.0, max: 20.0 });
        let l = Latency::of(vec![ms(7)]);
        assert_eq!(l, Latency { min: 7.0, median: 7.0, p95: 7.0, max: 7.0 });
        assert_eq!(Latency::of(vec![ms(3), ms(1), ms(2)]).median, 2.0);
    }

    #[test]
    fn a_profile_adds_up() {
        let step = |name: &str, macs| Step { name: name.into(), macs, ..Step::default() };
        let steps = [step("a", 3_000_000), step("b", 0)];
        let times = [StepTime { step: 1, micros: 100.0 }, StepTime { step: 0, micros: 300.0 }];
        let profile = profile(&steps, &times);
        let seen: Vec<_> = profile.iter().map(|s| (s.name, s.share, s.gmacs_per_s)).collect();
        assert_eq!(seen, [("b", 0.25, 0.0), ("a", 0.75, 10.0)]);
        assert_eq!(super::profile(&steps, &[StepTime { step: 0, micros: 0.0 }])[0].share, 0.0);
    }

    #[test]
    fn noise_covers_its_range() {
        let mut noise = Noise(1);
        let numbers: Vec<f32> = (0..10_000).map(|_| noise.next()).collect();
        assert!(numbers.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = numbers.iter().sum::<f32>() / 1e4;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }

    #[test]
    fn peak_memory_is_read_in_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Name:\toltr\nVmHWM:\t   10240 kB\nVmRSS:\t 1 kB\n").unwrap();
        assert_eq!(peak_rss(file.path()), Some(10_485_760));
        assert_eq!(peak_rss(Path::new("/nowhere")), None);
    }
}
