//! A change of order.

use std::ops::Range;

use crate::layers::f32::layer::F32Layer;
use crate::layers::moves::Move;

/// The copy, and where it begins in the operand.
#[derive(Debug)]
pub(crate) struct Transpose(pub Move, pub usize);

impl F32Layer for Transpose {
    fn run(&self, [x, _]: [&[f32]; 2], _: Range<usize>, y: &mut [f32]) {
        self.0.run(x.get(self.1..).unwrap_or(&[]), y);
    }
}
