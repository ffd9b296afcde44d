//! From a frame to known or open.

use std::time::Duration;

use crate::bundle::Bundle;
use crate::decide::{Decider, Verdict};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::model::{Model, Session};
use crate::scores::{self, Scores};

/// What was found in one frame, and how long it took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// What the network said.
    pub scores: Scores,
    /// Known or open.
    pub verdict: Verdict,
    /// Frame to model input.
    pub preprocess: Duration,
    /// Model input to outputs.
    pub inference: Duration,
}

/// Says what one frame shows.
pub trait Classifier {
    /// The classes.
    fn bundle(&self) -> &Bundle;

    /// Classifies `frame`.
    ///
    /// # Errors
    /// [`Error::BadImage`], [`Error::BadInput`] and [`Error::Limit`] concern this frame, any other all of them.
    fn classify(&mut self, frame: &Frame) -> Result<Judged>;
}

/// Classifies with a model, by the rule of its bundle.
#[derive(Debug)]
pub struct ModelClassifier<'a> {
    bundle: &'a Bundle,
    decider: Decider,
    session: Session,
}

impl<'a> ModelClassifier<'a> {
    /// A classifier with a session of its own.
    ///
    /// # Errors
    /// [`Error::Metadata`] or [`Error::BadModel`] for a graph that is no classifier; as [`Model::session`].
    pub fn new(model: &'a Model) -> Result<ModelClassifier<'a>> {
        let bundle = model.bundle().ok_or_else(|| Error::Metadata {
            model: model.name().into(),
            key: "oltr.classes",
            reason: "is missing: a classifier needs the classes of the model; export it as a bundle".into(),
        })?;
        for output in ["logits", "distances"] {
            if !model.outputs().iter().any(|port| port.name == output) {
                let reason = format!("the graph has no output '{output}'; export the bundle again");
                return Err(Error::BadModel { model: model.name().into(), reason });
            }
        }
        Ok(ModelClassifier { bundle, decider: Decider::new(bundle), session: model.session()? })
    }
}

impl Classifier for ModelClassifier<'_> {
    fn bundle(&self) -> &Bundle {
        self.bundle
    }

    fn classify(&mut self, frame: &Frame) -> Result<Judged> {
        let outputs = self.session.run(frame)?;
        let scores = scores::score(&outputs.logits, &outputs.distances)?;
        let times = self.session.times();
        let verdict = self.decider.decide(&scores);
        Ok(Judged { scores, verdict, preprocess: times.preprocess, inference: times.inference })
    }
}
