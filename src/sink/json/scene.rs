//! JSON lines of frames in thing mode.

use serde::Serialize;

use super::super::{CameraResult, SceneResult};
use super::schema::Latency;
use super::texts::{SHORT_LABEL, Text, Texts};
use super::things::{Box, box_of};
use super::units::millis;
use crate::answer::Names;
use crate::decide::Decision;
use crate::things::Present;

/// `oltr.frame/1` of a frame in thing mode: the fields about the whole frame are null.
#[derive(Debug, Serialize)]
pub struct SceneLine<'a> {
    source: Text<'a>,
    frame: u64,
    decision: (),
    label: (),
    class: (),
    probability: (),
    reachability: (),
    threshold: (),
    nearest: (),
    shot: (),
    consensus: (),
    age_ms: f64,
    dropped: u64,
    latency_ms: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_url: Option<&'a str>,
    find_ms: f64,
    things: Things<'a>,
}

#[derive(Debug)]
struct Things<'a> {
    things: &'a [Present],
    names: Names<'a>,
    texts: Texts,
}

#[derive(Debug, Serialize)]
struct ThingLine<'a> {
    thing: u64,
    r#box: Box,
    state: &'static str,
    /// `None` before the first cut.
    decision: Option<&'static str>,
    label: Option<Text<'a>>,
}

impl Serialize for Things<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // If texts are cut, those of all things must fit together.
        let texts = if self.texts.most == usize::MAX { self.texts } else { Texts { most: SHORT_LABEL } };
        serializer.collect_seq(self.things.iter().map(|thing| ThingLine {
            thing: thing.id,
            r#box: box_of(thing.area),
            state: thing.state.name(),
            decision: Some(thing.decision.word()).filter(|_| thing.decision != Decision::Unclassified),
            label: self.names.label(thing.decision).map(|label| texts.of(label)),
        }))
    }
}

impl<'a> SceneLine<'a> {
    pub fn new(of: &SceneResult<'a>, texts: Texts) -> SceneLine<'a> {
        let (decision, label, class, probability, reachability, threshold, nearest, shot, consensus) =
            Default::default();
        SceneLine {
            source: texts.of(of.source),
            frame: of.stamp.seq,
            decision,
            label,
            class,
            probability,
            reachability,
            threshold,
            nearest,
            shot,
            consensus,
            age_ms: millis(of.age),
            dropped: of.dropped,
            latency_ms: Latency { preprocess: millis(of.times.preprocess), inference: millis(of.times.inference) },
            source_url: of.source_url,
            find_ms: millis(of.times.find),
            things: Things { things: of.things, names: of.names, texts },
        }
    }
}

/// `oltr.camera/1`: the whole picture changed. The time is that of the frame that shows it.
#[derive(Debug, Serialize)]
pub struct CameraLine<'a> {
    source: Text<'a>,
    frame: u64,
    camera: &'static str,
    state: &'static str,
}

impl<'a> CameraLine<'a> {
    pub fn new(of: &CameraResult<'a>, texts: Texts) -> CameraLine<'a> {
        let (camera, state) = (of.camera.name(), of.state.name());
        CameraLine { source: texts.of(of.source), frame: of.stamp.seq, camera, state }
    }
}
