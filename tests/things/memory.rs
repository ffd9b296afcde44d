//! A stream of things allocates all its memory before it begins.

use std::time::Duration;

use oltr::pipeline::{self, Control};
use oltr::sink::json::{self, JsonLines};
use oltr::sink::{CutResult, EventResult, SceneResult, Sink};
use oltr::things::{Budget, Settings, Stage};
use oltr::{Limits, Result};

use super::common::counting_allocator::{Taken, held_by, taken};
use super::common::half::Half;
use super::scene::{Film, Shot, passage};
use super::tiny_model;

/// Frames until everything has occurred once: things arrive, are cropped in every size, and leave.
const WARM: u64 = 700;
const FRAMES: u64 = 3_000;

/// JSON lines that are discarded, and the allocations up to the warm state.
struct Lines {
    json: JsonLines<std::io::Sink>,
    warm: Option<Taken>,
    end: Option<Taken>,
    cuts: u64,
}

impl Sink for Lines {
    fn scene(&mut self, scene: &SceneResult) -> Result<()> {
        if scene.stamp.seq == WARM {
            self.warm = Some(taken());
        }
        self.end = Some(taken());
        self.json.scene(scene)
    }

    fn cut(&mut self, cut: &CutResult) -> Result<()> {
        self.cuts += 1;
        self.json.cut(cut)
    }

    fn event(&mut self, event: &EventResult) -> Result<()> {
        self.json.event(event)
    }
}

#[test]
fn a_frame_with_things_takes_nothing_from_the_allocator() {
    let (model, limits) = (tiny_model(), Limits::default());
    let bundle = model.bundle().unwrap();
    let mut classifier = Half::new(bundle, 7);
    let mut stage = Stage::new(&Settings::default(), Budget::fixed(), &limits).unwrap();
    let lines = json::Settings { frames: true, ..Default::default() };
    let json = JsonLines::new(std::io::sink(), lines, &limits);
    let mut sink = Lines { json, warm: None, end: None, cuts: 0 };
    let script = |frame: u64| match frame {
        FRAMES.. => Shot::End,
        // A passage every ten seconds, of a size of its own.
        _ => {
            let side = 20 + (frame / 100 % 7) as u32 * 9;
            let square = passage(frame % 100, 10).filter(|_| frame >= 100);
            Shot::Squares(square.map(|(x, y, _, _)| (x, y, side, side + 7)).into_iter().collect())
        }
    };
    let mut film = Film::recording(script);
    let control = Control::default();
    let settings = pipeline::Settings { stats_every: Some(Duration::from_millis(50)), ..Default::default() };
    let report =
        pipeline::run_things(&mut film, &mut stage, &mut classifier, &mut sink, &control, &settings, &limits).unwrap();
    assert!(report.stats.events >= 20 && sink.cuts > 200, "{:?}", report.stats);
    assert_eq!(sink.warm, sink.end, "the thread that classifies allocates for frames");
}

#[test]
fn a_stage_takes_the_memory_that_it_states() {
    let settings = Settings::default();
    let (held, stage) = held_by(|| Stage::new(&settings, Budget::fixed(), &Limits::default()).unwrap());
    let said = stage.bytes();
    assert!(held.now as usize <= said, "{} taken, {said} said", held.now);
    assert!(said <= 800_000, "{said} bytes");
}
