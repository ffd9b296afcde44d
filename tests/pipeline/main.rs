//! The pipeline with fake sources, classifiers and sinks: what becomes of frames and faults.

#[path = "../../src/bundle/example.rs"]
mod example;
mod faults;
mod flow;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oltr::bundle::Bundle;
use oltr::clock::monotonic_ns;
use oltr::decide::events::Phase;
use oltr::pipeline::{self, Classify, Control, Report, Settings};
use oltr::scores::Scores;
use oltr::sink::{EventResult, Failure, FrameResult, Sink, Stats};
use oltr::source::{Bounds, Damage, FrameSource, Next};
use oltr::{Answer, Error, ErrorKind, Frame, Geometry, Judge, Limits, Names, PixelFormat, Result, Stamp};

/// Next step of a fake source.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A frame of 8×8 pixels of this value.
    Frame(u8),
    /// A frame of this size.
    Sized(u32, u32),
    Damaged,
    /// No frame within the pipeline's patience.
    Silence,
    /// The device is gone.
    Gone,
    /// It cannot be read, now or ever.
    Broken,
    Panics,
    /// The call takes this many milliseconds.
    Stuck(u64),
    End,
}

/// A source that follows a script. `next` is called with the number of each step.
struct Fake<F> {
    script: F,
    live: bool,
    step: u64,
    seq: u64,
    /// The time between two frames.
    pace: Duration,
    due: Option<Instant>,
    /// How many attempts to reconnect fail.
    stays_away: u32,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

impl<F: FnMut(u64) -> Step + Send> Fake<F> {
    fn new(live: bool, script: F) -> Fake<F> {
        let (step, seq, pace, due, stays_away, attempts) = Default::default();
        Fake { script, live, step, seq, pace, due, stays_away, attempts }
    }

    fn fps(self, fps: f64) -> Fake<F> {
        Fake { pace: Duration::from_secs_f64(1.0 / fps), ..self }
    }
}

impl<F: FnMut(u64) -> Step + Send> FrameSource for Fake<F> {
    fn name(&self) -> &str {
        "fake"
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn bounds(&self) -> Bounds {
        Bounds { frame_bytes: 64 * 64, decoder_bytes: 0 }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let step = (self.script)(self.step);
        self.step += 1;
        let (value, width, height) = match step {
            Step::Frame(value) => (value, 8, 8),
            Step::Sized(width, height) => (0, width, height),
            Step::Damaged => {
                self.seq += 1;
                let reason = format!("damage {}", self.seq - 1);
                return Ok(Next::Damaged(Damage {
                    offset: Some(self.seq - 1),
                    kind: ErrorKind::BadImage,
                    reason,
                    photo: None,
                }));
            }
            Step::Silence => {
                std::thread::sleep(patience);
                return Ok(Next::Waiting);
            }
            Step::Gone => return Err(gone()),
            Step::Broken => {
                return Err(Error::Io { path: "fake".into(), cause: std::io::ErrorKind::PermissionDenied.into() });
            }
            Step::Stuck(ms) => {
                std::thread::sleep(Duration::from_millis(ms));
                return Ok(Next::Waiting);
            }
            Step::Panics => panic!("a source of a user's own"),
            Step::End => return Ok(Next::End),
        };
        let due = self.due.map_or(Instant::now(), |due| due + self.pace);
        self.due = Some(due);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        frame.reshape(Geometry::new(PixelFormat::Gray, width, height), &Limits::default())?.fill(value);
        frame.set_stamp(Stamp { seq: self.seq, mono_ns: monotonic_ns() });
        self.seq += 1;
        Ok(Next::Frame)
    }

    fn reconnect(&mut self) -> Result<()> {
        self.attempts.lock().unwrap().push(Instant::now());
        match self.stays_away.checked_sub(1) {
            Some(left) => {
                self.stays_away = left;
                Err(gone())
            }
            None => Ok(()),
        }
    }
}

fn gone() -> Error {
    Error::Unavailable { subject: "fake".into(), reason: "no such device".into() }
}

/// Returns class 0, 1, 2 or open by the value of the pixels.
struct ByValue {
    bundle: Bundle,
    work: Duration,
    /// Frames of this value cannot be classified.
    refused: Option<u8>,
    /// Classifying this value fails for good.
    broken: Option<u8>,
    /// Set in the middle of the second frame.
    stops: Option<Arc<AtomicBool>>,
    calls: u32,
}

impl ByValue {
    fn new(work: Duration) -> ByValue {
        ByValue { bundle: bundle(), work, refused: None, broken: None, stops: None, calls: 0 }
    }
}

impl Classify for ByValue {
    fn names(&self) -> Names<'_> {
        Names::new(&self.bundle)
    }

    fn classify(&mut self, frame: &Frame) -> Result<Answer<'_>> {
        let (value, begin) = (frame.data()[0], Instant::now());
        self.calls += 1;
        std::thread::sleep(self.work / 2);
        if let (2, Some(stop)) = (self.calls, &self.stops) {
            stop.store(true, Ordering::Relaxed);
        }
        std::thread::sleep(self.work / 2);
        if self.refused == Some(value) {
            return Err(Error::BadInput { subject: "frame".into(), reason: "the region lies outside".into() });
        }
        if self.broken == Some(value) {
            return Err(Error::Internal("broken".into()));
        }
        let class = usize::from(value.min(2));
        // The bundle's threshold is 0.5.
        let reachability = if value < 3 { 1.0 } else { 0.25 };
        let distance = 10.0 / reachability;
        let scores = Scores { class, probability: 0.5, nearest: class, distance, reachability };
        let mut answer = Judge::new(&self.bundle).by_rule(&scores)?;
        answer.inference = begin.elapsed();
        Ok(answer)
    }
}

fn bundle() -> Bundle {
    example::bundle(&[("many", 100), ("medium", 50), ("few", 5)])
}

/// Records all results in order.
#[derive(Default)]
struct Recorder {
    /// `f3` for frame 3, `!` for damage, `+1` and `-1` for an event that begins and ends, `s` for statistics.
    results: Vec<String>,
    ages: Vec<Duration>,
    /// The longest inference.
    inference: Duration,
    dropped: Vec<u64>,
    stats: Vec<Stats>,
    /// Delay for each frame.
    slow: Duration,
    /// Fails from this frame on.
    fails_at: Option<u64>,
    ticks: u64,
    /// The pipeline's error before it waited for a stuck source.
    stuck: Option<String>,
}

impl Recorder {
    fn frames(&self) -> Vec<u64> {
        self.results.iter().filter_map(|t| t.strip_prefix('f')?.parse().ok()).collect()
    }

    fn text(&self) -> String {
        self.results.join(" ")
    }
}

impl Sink for Recorder {
    fn frame(&mut self, f: &FrameResult) -> Result<()> {
        std::thread::sleep(self.slow);
        if self.fails_at.is_some_and(|at| f.stamp.seq >= at) {
            return Err(Error::Io { path: "sink".into(), cause: std::io::ErrorKind::StorageFull.into() });
        }
        self.results.push(format!("f{}", f.stamp.seq));
        self.ages.push(f.age);
        self.inference = self.inference.max(f.answer.inference);
        self.dropped.push(f.dropped);
        Ok(())
    }

    fn event(&mut self, e: &EventResult) -> Result<()> {
        match e.change.phase {
            Phase::New => self.results.push(format!("+{}", e.change.event.id)),
            Phase::End(_) => self.results.push(format!("-{}", e.change.event.id)),
            Phase::Update => {}
        }
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.results.push(format!("!{}", failure.reason.rsplit(' ').next().unwrap()));
        Ok(())
    }

    fn stats(&mut self, _source: &str, stats: &Stats) -> Result<()> {
        self.results.push("s".into());
        self.stats.push(*stats);
        Ok(())
    }

    fn stuck(&mut self, error: &Error) {
        self.results.push("stuck".into());
        self.stuck = Some(error.to_string());
    }

    fn tick(&mut self, _stats: &Stats, _events: &mut dyn Iterator<Item = &oltr::decide::events::Event>) -> Result<()> {
        self.ticks += 1;
        Ok(())
    }
}

/// Runs a pipeline whose classifier takes no time.
fn run(source: &mut dyn FrameSource, settings: &Settings) -> (Result<Report>, Recorder) {
    run_with(source, &mut ByValue::new(Duration::ZERO), Recorder::default(), &Control::default(), settings)
}

fn run_with(
    source: &mut dyn FrameSource,
    classifier: &mut dyn Classify,
    mut sink: Recorder,
    control: &Control,
    settings: &Settings,
) -> (Result<Report>, Recorder) {
    let report = pipeline::run(source, classifier, &mut sink, control, settings, &Limits::default());
    if let Ok(Report { stats, .. }) = &report {
        assert_eq!(stats.captured, stats.classified + stats.dropped, "{stats:?}");
        assert!(stats.last && stats.waiting == 0);
    }
    (report, sink)
}
