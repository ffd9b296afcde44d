//! Softmax over rows.

use std::ops::Range;

use crate::float::softmax;
use crate::layers::cut::arithmetic;
use crate::layers::f32::layer::F32Layer;
use crate::threads::Cut;

/// The width of rows.
#[derive(Debug)]
pub(crate) struct Softmax(pub usize);

impl F32Layer for Softmax {
    fn cut(&self, count: usize, _: usize, threads: usize) -> Cut {
        Cut::items((count / self.0, 1, arithmetic(count)), 4 * self.0, threads)
    }

    fn run(&self, [x, _]: [&[f32]; 2], range: Range<usize>, y: &mut [f32]) {
        y.copy_from_slice(&x[range.start * self.0..][..y.len()]);
        y.chunks_exact_mut(self.0).for_each(softmax);
    }
}
