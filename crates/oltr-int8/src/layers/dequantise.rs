//! From bytes to f32 values in ONNX order (ONNX DequantizeLinear).

use crate::kernels::Map;
use crate::layers::{Call, Extent, Layer};
use crate::quant::Quant;
use crate::threads::Cut;

/// Dequantises a tensor.
#[derive(Debug)]
pub(crate) struct Dequantise {
    pub quant: Quant,
    /// Map of the operand.
    pub map: Map,
}

impl Layer for Dequantise {
    fn cut(&self, extent: Extent, _: usize) -> Cut {
        Cut::whole(extent.output)
    }

    fn compute(&self, call: Call) {
        call.kernels.dequantise(self.quant, &self.map, call.operands[0], bytemuck::cast_slice_mut(call.output));
    }
}
