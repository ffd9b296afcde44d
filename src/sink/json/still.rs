//! JSON fields of photos with things.

use serde::Serialize;

use super::texts::{SHORT_LABEL, Text, Texts};
use super::things::{Box, box_of};
use crate::answer::Names;
use crate::things::ThingState;
use crate::things::stills::Still;

/// `still` and `things`: the crops of a photo.
#[derive(Clone, Debug, Serialize)]
pub struct StillFields<'a> {
    still: StillOf,
    things: StillThings<'a>,
}

#[derive(Clone, Debug, Serialize)]
struct StillOf {
    shown: &'static str,
    reason: Option<&'static str>,
    ground: u32,
    burst: u64,
    left_out: u32,
}

#[derive(Clone, Debug)]
struct StillThings<'a> {
    still: &'a Still,
    names: Names<'a>,
    texts: Texts,
}

#[derive(Debug, Serialize)]
struct StillThingLine<'a> {
    thing: u64,
    r#box: Box,
    state: &'static str,
    decision: &'static str,
    label: Option<Text<'a>>,
    probability: f32,
    reachability: f32,
}

impl Serialize for StillThings<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = if self.texts.most == usize::MAX { self.texts } else { Texts { most: SHORT_LABEL } };
        serializer.collect_seq(self.still.things.iter().map(|thing| StillThingLine {
            thing: thing.id,
            r#box: box_of(thing.area),
            state: ThingState::Seen.name(),
            decision: thing.decision.word(),
            label: self.names.label(thing.decision).map(|label| texts.of(label)),
            probability: thing.probability,
            reachability: thing.reachability,
        }))
    }
}

impl<'a> StillFields<'a> {
    /// All fields, with texts of full length.
    pub fn whole(still: &'a Still, names: Names<'a>) -> StillFields<'a> {
        StillFields::new(still, names, Texts { most: usize::MAX })
    }

    pub(super) fn new(still: &'a Still, names: Names<'a>, texts: Texts) -> StillFields<'a> {
        let Still { shown, ground, burst, left_out, .. } = *still;
        StillFields {
            still: StillOf { shown: shown.word(), reason: shown.reason(), ground, burst, left_out },
            things: StillThings { still, names, texts },
        }
    }
}
