//! A function of each value.

use std::ops::Range;

use crate::float::Function;
use crate::layers::f32::layer::F32Layer;

/// The function.
#[derive(Debug)]
pub(crate) struct Elements(pub Function);

impl F32Layer for Elements {
    fn run(&self, [x, _]: [&[f32]; 2], _: Range<usize>, y: &mut [f32]) {
        self.0.run(&x[..y.len()], y);
    }
}
