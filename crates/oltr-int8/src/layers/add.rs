//! The sum of two tensors of the same layout.

use crate::layers::cut::arithmetic;
use crate::layers::{Call, Extent, Layer};
use crate::plan::ALIGN;
use crate::quant::AddQuant;
use crate::threads::Cut;

/// ONNX Add without broadcasting.
#[derive(Debug)]
pub(crate) struct Add(pub AddQuant);

impl Layer for Add {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((extent.output, ALIGN, arithmetic(extent.output)), 1, threads)
    }

    fn compute(&self, call: Call) {
        let range = call.part.range();
        let [a, b] = call.operands;
        call.kernels.add(&self.0, &a[range.clone()], &b[range], call.output);
    }
}
