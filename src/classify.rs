//! Who says what one frame shows: a model, or a classifier of one's own.

use crate::answer::{Answer, Classifier, Names};
use crate::decide::Decision;
use crate::decide::mean::Mean;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::model::Outputs;

/// Says what one frame shows. [`Classifier`] does it with a model.
pub trait Classify {
    /// The classes and their names.
    fn names(&self) -> Names<'_>;

    /// Classifies `frame`.
    ///
    /// # Errors
    /// [`Error::BadImage`](crate::Error::BadImage), [`Error::BadInput`](crate::Error::BadInput) and
    /// [`Error::Limit`](crate::Error::Limit) concern this frame, any other all of them.
    fn classify(&mut self, frame: &Frame) -> Result<Answer<'_>>;

    /// What the network computed for the last frame; `None` of a classifier without one. Things that met are told apart by its
    /// features.
    fn outputs(&self) -> Option<&Outputs> {
        None
    }

    /// What frames show together whose outputs have this mean; `None` of a classifier that can only judge single frames.
    fn together(&self, _mean: &Mean) -> Option<Decision> {
        None
    }

    /// Says that the next frame is a cut of the thing with this number, where things are followed.
    fn about(&mut self, _thing: u64) {}
}

/// Whether an error of [`Classify::classify`] is one frame's fault.
pub(crate) fn concerns_frame(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::BadImage | ErrorKind::BadInput | ErrorKind::Limit)
}

impl Classify for Classifier<'_> {
    fn names(&self) -> Names<'_> {
        Classifier::names(self)
    }

    fn classify(&mut self, frame: &Frame) -> Result<Answer<'_>> {
        Classifier::classify(self, frame)
    }

    fn outputs(&self) -> Option<&Outputs> {
        Some(Classifier::outputs(self))
    }

    fn together(&self, mean: &Mean) -> Option<Decision> {
        self.judge().together(mean).map(|answer| answer.decision)
    }
}
