//! Two things that meet and turn round: are they confused afterwards?

use std::time::Duration;

use oltr::decide::Decision;
use oltr::decide::events::Phase;
use oltr::pipeline::{self, Classify, Control};
use oltr::scores::Scores;
use oltr::source::{Bounds, FrameSource, Next};
use oltr::things::{Budget, Settings, Stage};
use oltr::{Answer, Frame, Geometry, Judge, Limits, Names, Outputs, PixelFormat, Result, Stamp};

use super::scene::{HEIGHT, RATE, WIDTH, draw};
use super::{Notes, tiny_model};

const SIDE: i32 = 40;
/// When they arrive, and after how many frames they turn round.
const COME: i32 = 120;
const TURN: i32 = 36;
const SPEED: i32 = 5;

/// Position of the left thing. The right one is its mirror image.
fn left(frame: u64) -> Option<i32> {
    let since = frame as i32 - COME;
    let way = if since <= TURN { since } else { 2 * TURN - since };
    (way >= 0 && since >= 0).then_some(way * SPEED - SIDE)
}

/// Two squares with the same mean luma, one with horizontal and one with vertical stripes. They meet in the
/// middle and go back.
struct Meeting {
    seq: u64,
}

impl FrameSource for Meeting {
    fn name(&self) -> &str {
        "meeting"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn bounds(&self) -> Bounds {
        Bounds { frame_bytes: (WIDTH * HEIGHT) as usize, decoder_bytes: 0 }
    }

    fn next(&mut self, frame: &mut Frame, _: Duration) -> Result<Next> {
        if self.seq == 240 {
            return Ok(Next::End);
        }
        let luma = frame.reshape(Geometry::new(PixelFormat::Gray, WIDTH, HEIGHT), &Limits::default())?;
        draw(self.seq, &[], WIDTH, HEIGHT, luma);
        if let Some(x) = left(self.seq) {
            let mirrored = WIDTH as i32 - SIDE - x;
            for (x, across) in [(x, true), (mirrored, false)] {
                for row in 0..SIDE {
                    for column in (0..SIDE).filter(|column| (0..WIDTH as i32).contains(&(x + column))) {
                        let stripe = if across { row } else { column } / 4 % 2;
                        luma[((100 + row) * WIDTH as i32 + x + column) as usize] = (170 + 70 * stripe) as u8;
                    }
                }
            }
        }
        frame.set_stamp(Stamp { seq: self.seq, mono_ns: self.seq * 1_000_000_000 / RATE });
        self.seq += 1;
        Ok(Next::Frame)
    }
}

/// Recognises the direction of the stripes.
struct Stripes<'a> {
    judge: Judge<'a>,
    outputs: Outputs,
    /// Whether it returns features in addition to the class.
    tells: bool,
}

impl Classify for Stripes<'_> {
    fn names(&self) -> Names<'_> {
        self.judge.names()
    }

    fn outputs(&self) -> Option<&Outputs> {
        self.tells.then_some(&self.outputs)
    }

    fn classify(&mut self, frame: &Frame) -> Result<Answer<'_>> {
        let region = frame.geometry().roi.region.unwrap();
        let at = |x: u32, y: u32| f32::from(frame.row(y)[x as usize]);
        let (mut across, mut down) = (1.0, 1.0);
        for y in region.y + 1..region.y + region.height {
            for x in region.x + 1..region.x + region.width {
                across += (at(x, y) - at(x, y - 1)).abs();
                down += (at(x, y) - at(x - 1, y)).abs();
            }
        }
        self.outputs.features = vec![across, down];
        let class = usize::from(down > across);
        let scores = Scores { class, probability: 0.9, nearest: class, distance: 0.1, reachability: 100.0 };
        self.judge.by_rule(&scores)
    }
}

/// First and last box of each thing, and its label.
fn run(tells: bool) -> Vec<(i32, i32, Decision)> {
    let (model, limits) = (tiny_model(), Limits::default());
    let mut stripes = Stripes { judge: Judge::new(model.bundle().unwrap()), outputs: Outputs::default(), tells };
    let mut stage = Stage::new(&Settings::default(), Budget::fixed(), &limits).unwrap();
    let (mut notes, mut source) = (Notes::default(), Meeting { seq: 0 });
    let (control, pipeline) = (Control::default(), pipeline::Settings::default());
    pipeline::run_things(&mut source, &mut stage, &mut stripes, &mut notes, &control, &pipeline, &limits).unwrap();
    notes.check();
    let ends = notes.of(|phase| matches!(phase, Phase::End(_)));
    ends.iter().map(|report| (report.sides.0.center().0, report.sides.1.center().0, report.label)).collect()
}

#[test]
fn things_that_meet_and_turn_round_are_distinguished_by_their_look() {
    let middle = WIDTH as i32 / 2;
    let is_left = |x: i32| x < middle;
    // By their motion alone, they seem to continue.
    let blind = run(false);
    assert!(blind.len() == 2 && blind.iter().all(|(first, last, _)| is_left(*first) != is_left(*last)), "{blind:?}");
    let seeing = run(true);
    assert_eq!(seeing.len(), 2, "{seeing:?}");
    for (first, last, label) in seeing {
        assert_eq!(is_left(first), is_left(last), "{label:?}");
        assert_eq!(label, Decision::Known(usize::from(!is_left(first))));
    }
}
