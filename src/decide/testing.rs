//! Helpers for the tests of this folder.

use std::time::Duration;

use proptest::prelude::*;

use super::Decision;
use super::consensus::Observation;
use crate::bundle::{Bundle, example};

/// Three classes: many-shot, medium-shot and few-shot.
pub fn bundle() -> Bundle {
    example::bundle(&[("many", 100), ("medium", 50), ("few", 5)])
}

/// Frame `frame` of a stream with `fps` frames per second. Reachability follows probability.
pub fn observation(frame: u64, fps: f64, decision: Decision, probability: f32) -> Observation {
    let time = Duration::from_secs_f64(frame as f64 / fps);
    Observation { frame, time, decision, probability, reachability: probability * 2.0, nearest: 0, named: None }
}

/// Up to 200 frames at ten per second, of three classes and open. Labels tend to repeat.
pub fn frames() -> impl Strategy<Value = Vec<Observation>> {
    let run = (0..4usize, 1..8usize, 0.0f32..1.0);
    prop::collection::vec(run, 0..40).prop_map(|runs| {
        let frames = runs.into_iter().flat_map(|(label, length, p)| std::iter::repeat_n((label, p), length));
        let decision = |label| if label == 3 { Decision::Open } else { Decision::Known(label) };
        frames.enumerate().map(|(i, (label, p))| observation(i as u64, 10.0, decision(label), p)).collect()
    })
}
