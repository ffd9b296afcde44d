//! From a frame to known or open.

use std::time::Duration;

use crate::bundle::Bundle;
use crate::decide::{Decider, Decision, Verdict};
use crate::enrol::Enrolments;
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

/// Classifies with a model, by the rule of its bundle and the classes enrolled beside it.
#[derive(Debug)]
pub struct ModelClassifier<'a> {
    bundle: &'a Bundle,
    decider: Decider,
    session: Session,
    enrolments: Option<&'a Enrolments>,
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
        let (decider, session) = (Decider::new(bundle), model.session()?);
        Ok(ModelClassifier { bundle, decider, session, enrolments: None })
    }

    /// Gives frames that are of one of `enrolments` its name ([`Decision::Enrolled`]), whatever the rule says of them.
    pub fn with_enrolments(self, enrolments: &'a Enrolments) -> ModelClassifier<'a> {
        ModelClassifier { enrolments: Some(enrolments), ..self }
    }
}

impl Classifier for ModelClassifier<'_> {
    fn bundle(&self) -> &Bundle {
        self.bundle
    }

    fn classify(&mut self, frame: &Frame) -> Result<Judged> {
        let outputs = self.session.run(frame)?;
        let scores = scores::score(&outputs.logits, &outputs.distances)?;
        let mut verdict = self.decider.decide(&scores);
        let found = self.enrolments.and_then(|e| e.find(&outputs.features, &outputs.distances, &self.decider));
        if let Some(found) = found {
            verdict.decision = Decision::Enrolled(found.index);
        }
        let times = self.session.times();
        Ok(Judged { scores, verdict, preprocess: times.preprocess, inference: times.inference })
    }
}
