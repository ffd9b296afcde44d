//! What the tests of decisions over time share.

use std::time::Duration;

use proptest::prelude::*;

use super::Decision;
use super::consensus::Observation;
use crate::bundle::{Bundle, Class, Open, Preprocess, Resize, Rule};

/// Three classes: of many, medium and few shots.
pub fn bundle() -> Bundle {
    let class = |id: &str, train_count| Class { id: id.into(), name: id.into(), train_count };
    Bundle {
        name: "test".into(),
        classes: vec![class("many", 100), class("medium", 50), class("few", 5)],
        preprocess: Preprocess {
            size: 8,
            resize: Resize::Stretch,
            resize_to: None,
            mean: [0.0; 3],
            std: [1.0; 3],
            pad_color: None,
        },
        open: Open {
            rule: Rule::Reachability,
            reachability: 0.5,
            probability: 0.1,
            per_class: None,
            calibration: serde_json::Value::Null,
        },
        card: serde_json::Value::Null,
    }
}

/// Frame `frame` of a stream of `fps` frames a second. What is probable is reachable too.
pub fn observation(frame: u64, fps: f64, decision: Decision, probability: f32) -> Observation {
    let time = Duration::from_secs_f64(frame as f64 / fps);
    Observation { frame, time, decision, probability, reachability: probability * 2.0, nearest: 0 }
}

/// Up to 200 frames at ten a second, of three classes and open; labels tend to stay.
pub fn frames() -> impl Strategy<Value = Vec<Observation>> {
    let run = (0..4usize, 1..8usize, 0.0f32..1.0);
    prop::collection::vec(run, 0..40).prop_map(|runs| {
        let frames = runs.into_iter().flat_map(|(label, length, p)| std::iter::repeat_n((label, p), length));
        let decision = |label| if label == 3 { Decision::Open } else { Decision::Known(label) };
        frames.enumerate().map(|(i, (label, p))| observation(i as u64, 10.0, decision(label), p)).collect()
    })
}
