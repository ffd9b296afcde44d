//! Rows that become a value each.

use std::ops::Range;

use crate::float::Reduction;
use crate::layers::f32::layer::F32Layer;

/// The reduction, and the width of rows.
#[derive(Debug)]
pub(crate) struct Reduce(pub Reduction, pub usize);

impl F32Layer for Reduce {
    fn run(&self, [x, _]: [&[f32]; 2], _: Range<usize>, y: &mut [f32]) {
        self.0.run(self.1, x, y);
    }
}
