//! A change of order.

use std::ops::Range;

use crate::layers::f32::layer::Floats;
use crate::layers::moves::Move;

/// The copy.
#[derive(Debug)]
pub(crate) struct Transpose(pub Move);

impl Floats for Transpose {
    fn run(&self, [x, _]: [&[f32]; 2], _: Range<usize>, y: &mut [f32]) {
        self.0.run(x, y);
    }
}
