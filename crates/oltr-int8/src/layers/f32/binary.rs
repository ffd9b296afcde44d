//! A function of two tensors, broadcast.

use std::ops::Range;

use crate::float;
use crate::layers::broadcast::Broadcast;
use crate::layers::f32::layer::F32Layer;

/// The function, and how the operands lie.
#[derive(Debug)]
pub(crate) struct Binary(pub float::Binary, pub Broadcast);

impl F32Layer for Binary {
    fn run(&self, [a, b]: [&[f32]; 2], _: Range<usize>, y: &mut [f32]) {
        let Binary(function, broadcast) = self;
        broadcast.rows(0..broadcast.items()[0], a, b, y, &|a, b, y| function.run(a, b, y));
    }
}
