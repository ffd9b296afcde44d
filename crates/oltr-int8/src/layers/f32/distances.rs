//! Distances from the first operand to the rows of the second.

use std::ops::Range;

use crate::float::distances;
use crate::layers::f32::layer::F32Layer;
use crate::threads::Cut;

/// Euclidean distances.
#[derive(Debug)]
pub(crate) struct Distances;

impl F32Layer for Distances {
    fn cut(&self, count: usize, parts: usize, threads: usize) -> Cut {
        Cut::items((count, 1, parts), 4, threads)
    }

    fn run(&self, [v, centroids]: [&[f32]; 2], range: Range<usize>, y: &mut [f32]) {
        let d = v.len();
        distances(v, &centroids[range.start * d..range.end * d], y);
    }
}
