//! What layers of f32 values have in common.

use std::fmt::Debug;
use std::ops::Range;

use crate::layers::cut::products;
use crate::layers::{Call, Extent, Layer};
use crate::threads::Cut;

/// A layer that reads f32 values and computes f32 values.
pub(crate) trait F32Layer: Debug + Send + Sync {
    /// How a layer whose result has `count` values is cut, for which `parts` parts are worth it; one item where it is not.
    fn cut(&self, count: usize, _parts: usize, _threads: usize) -> Cut {
        Cut::whole(4 * count)
    }

    /// Computes the items `range` of `y` from the operands.
    fn run(&self, operands: [&[f32]; 2], range: Range<usize>, y: &mut [f32]);

    /// Bytes of weights that belong to the layer.
    fn weights_bytes(&self) -> usize {
        0
    }
}

/// Such a layer among those of bytes.
#[derive(Debug)]
pub(crate) struct F32<L>(pub L);

impl<L: F32Layer> Layer for F32<L> {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        self.0.cut(extent.output / 4, products(extent.macs, 8_000), threads)
    }

    fn compute(&self, call: Call) {
        let operands = call.operands.map(bytemuck::cast_slice);
        self.0.run(operands, call.part.range(), bytemuck::cast_slice_mut(call.output));
    }

    fn weights_bytes(&self) -> usize {
        self.0.weights_bytes()
    }

    fn kernel(&self, op: &str, _: &str) -> String {
        format!("{}_f32", op.split(' ').next().unwrap_or_default())
    }
}
