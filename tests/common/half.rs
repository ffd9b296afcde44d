//! A classifier with a fake network.

use oltr::bundle::Bundle;
use oltr::pipeline::Classify;
use oltr::preprocess::Preprocessor;
use oltr::scores::Scores;
use oltr::{Answer, Frame, Judge, Names, Result};

use super::tiny;

/// Preprocesses for real. The network is fake, so that thousands of frames take seconds. Other tests measure the real
/// one.
pub struct Half<'a> {
    judge: Judge<'a>,
    preprocessor: Option<Preprocessor>,
    pixels: Vec<u8>,
    count: usize,
    /// Number of frames before the class changes.
    run: usize,
}

impl<'a> Half<'a> {
    /// Sees each class of `bundle`, one of `tiny`, for `run` frames.
    pub fn new(bundle: &'a Bundle, run: usize) -> Half<'a> {
        let side = bundle.preprocess.size as usize;
        Half { judge: Judge::new(bundle), preprocessor: None, pixels: vec![0; side * side * 3], count: 0, run }
    }
}

impl Classify for Half<'_> {
    fn names(&self) -> Names<'_> {
        self.judge.names()
    }

    fn classify(&mut self, frame: &Frame) -> Result<Answer<'_>> {
        let settings = &self.judge.names().bundle().preprocess;
        let preprocessor = match &mut self.preprocessor {
            Some(p) => p,
            none => none.insert(Preprocessor::new(settings, frame.geometry())?),
        };
        preprocessor.run(frame, &mut self.pixels)?;
        self.count += 1;
        let class = self.count / self.run % tiny::CLASSES;
        let scores = Scores { class, probability: 0.5, nearest: class, distance: 10.0, reachability: 1.0 };
        self.judge.by_rule(&scores)
    }
}
