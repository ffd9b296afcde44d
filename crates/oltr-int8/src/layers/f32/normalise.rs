//! Rows brought to mean 0 and variance 1.

use std::ops::Range;

use crate::float::normalise;
use crate::layers::cut::arithmetic;
use crate::layers::f32::layer::F32Layer;
use crate::threads::Cut;

/// What is added to the variance, and what rows are multiplied with and moved by.
#[derive(Debug)]
pub(crate) struct Normalise {
    pub epsilon: f32,
    pub scale: Vec<f32>,
    pub bias: Vec<f32>,
}

impl F32Layer for Normalise {
    fn cut(&self, count: usize, _: usize, threads: usize) -> Cut {
        let n = self.scale.len().max(1);
        Cut::items((count / n, 1, arithmetic(count)), 4 * n, threads)
    }

    fn run(&self, [x, _]: [&[f32]; 2], range: Range<usize>, y: &mut [f32]) {
        normalise(&x[range.start * self.scale.len()..][..y.len()], [&self.scale, &self.bias], self.epsilon, y);
    }

    fn weights_bytes(&self) -> usize {
        8 * self.scale.len()
    }
}
