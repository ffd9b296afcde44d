//! Things that move before a fixed camera: found, tracked, cropped and reported, each once.

#[path = "../common/mod.rs"]
mod common;
mod detector;
mod events;
#[cfg(feature = "cli")]
mod mask;
mod meeting;
mod memory;
#[cfg(feature = "cli")]
mod program;
mod scene;
#[cfg(feature = "cli")]
mod stills;

use std::time::Duration;

use common::tiny;
use oltr::decide::Decision;
use oltr::decide::events::{EndReason, Phase};
use oltr::pipeline::{self, Control, Report, Settings};
use oltr::sink::{CameraResult, CutResult, EventResult, Failure, FrameResult, SceneResult, Sink};
use oltr::source::FrameSource;
use oltr::things::{self, Area, Budget, Camera, Present, Stage};
use oltr::{Classifier, Limits, Model, Rect, Result};

/// One reported line of a thing.
#[derive(Clone, Debug, PartialEq)]
struct EventLine {
    phase: Phase,
    event: u64,
    thing: u64,
    label: Decision,
    frames: u64,
    crops: u32,
    seen: u32,
    best: Area,
    /// Its first and last position.
    sides: (Area, Area),
    first: Duration,
    last: Duration,
    steps: usize,
}

/// Records all results.
#[derive(Default)]
struct Notes {
    frames: Vec<(u64, Vec<Present>)>,
    events: Vec<EventLine>,
    cuts: Vec<(u64, u32, Rect, Area)>,
    cameras: Vec<Camera>,
    failures: Vec<String>,
    /// Called with the number of each reported frame.
    after: Option<Box<dyn FnMut(u64)>>,
}

impl Sink for Notes {
    fn frame(&mut self, _: &FrameResult) -> Result<()> {
        panic!("frames are not classified as a whole")
    }

    fn scene(&mut self, scene: &SceneResult) -> Result<()> {
        self.frames.push((scene.stamp.seq, scene.things.to_vec()));
        if let Some(after) = &mut self.after {
            after(scene.stamp.seq);
        }
        Ok(())
    }

    fn cut(&mut self, result: &CutResult) -> Result<()> {
        let cut = &result.cut;
        assert_eq!(cut.frame.geometry().roi.region, Some(cut.region));
        self.cuts.push((cut.thing, cut.number, cut.region, cut.area));
        Ok(())
    }

    fn camera(&mut self, camera: &CameraResult) -> Result<()> {
        self.cameras.push(camera.camera);
        Ok(())
    }

    fn event(&mut self, e: &EventResult) -> Result<()> {
        let (of, event) = (e.thing.expect("each event is of a thing"), e.change.event);
        self.events.push(EventLine {
            phase: e.change.phase,
            event: event.id,
            thing: of.thing.id,
            label: event.label,
            frames: event.frames,
            crops: of.crops,
            seen: of.thing.seen,
            best: of.best,
            sides: (of.thing.first_area, of.thing.last_area),
            first: event.first,
            last: event.last,
            steps: of.thing.path.len(),
        });
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.failures.push(failure.reason.into());
        Ok(())
    }
}

impl Notes {
    fn of(&self, wanted: fn(&Phase) -> bool) -> Vec<&EventLine> {
        self.events.iter().filter(|report| wanted(&report.phase)).collect()
    }

    /// Each announced thing ends once, and has no report before or after.
    fn check(&self) {
        let mut open = Vec::new();
        for report in &self.events {
            match report.phase {
                Phase::New => open.push(report.event),
                _ => assert!(open.contains(&report.event), "{report:?} was not announced"),
            }
            if matches!(report.phase, Phase::End(_)) {
                open.retain(|event| *event != report.event);
            }
        }
        assert!(open.is_empty(), "{open:?} did not end");
        let mut numbers: Vec<u64> = self.of(|phase| *phase == Phase::New).iter().map(|report| report.event).collect();
        numbers.dedup();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
}

fn tiny_model() -> Model {
    Model::from_bytes("tiny.onnx", &tiny::bundle().encode(), &Default::default()).unwrap()
}

/// Results of a tiny network for moving things in `source`.
fn run(source: &mut dyn FrameSource, settings: &things::Settings, notes: &mut Notes) -> Report {
    run_until(source, settings, notes, &Control::default())
}

fn run_until(
    source: &mut dyn FrameSource,
    settings: &things::Settings,
    notes: &mut Notes,
    control: &Control,
) -> Report {
    let (model, limits) = (tiny_model(), Limits::default());
    let mut classifier = Classifier::new(&model).unwrap();
    let mut stage = Stage::new(settings, Budget::fixed(), &limits).unwrap();
    let pipeline = Settings::default();
    let report = pipeline::run_things(source, &mut stage, &mut classifier, notes, control, &pipeline, &limits).unwrap();
    notes.check();
    let stats = report.stats;
    assert_eq!(stats.captured, stats.classified + stats.dropped, "{stats:?}");
    let cuts = stats.things.unwrap().cuts;
    assert_eq!(cuts.asked, cuts.classified + cuts.skipped, "{cuts:?}");
    assert_eq!(cuts.classified, notes.cuts.len() as u64);
    // Frames without a crop do not count in the network's mean time.
    assert_eq!(stats.interval.inferences, cuts.classified);
    assert_eq!(stats.events, notes.of(|phase| *phase == Phase::New).len() as u64);
    report
}

/// The reason of an end.
fn reason(report: &EventLine) -> EndReason {
    match report.phase {
        Phase::End(reason) => reason,
        phase => panic!("{phase:?} is no end"),
    }
}
