//! Tensors handed out of a program, as f32 values in ONNX order.

use crate::kernels::KernelSet;
use crate::layers::moves::Move;
use crate::tensor::{Element, Tensor, row_major};

/// Hands out a tensor.
#[derive(Debug)]
pub(crate) struct Output {
    /// Number of the program's output.
    pub output: usize,
}

impl Output {
    /// Writes `x`, which lies in memory as `bytes`.
    pub fn run(&self, kernels: &dyn KernelSet, x: &Tensor, bytes: &[u8], to: &mut [f32]) {
        match x.element {
            Element::Bytes(quant) => kernels.dequantise(quant, &x.map, bytes, to),
            Element::F32 => {
                let values: &[f32] = bytemuck::cast_slice(bytes);
                if x.is_row_major() {
                    return to.copy_from_slice(&values[..to.len()]);
                }
                Move::new(&x.shape, &x.strides(), &row_major(&x.shape), 0).run(values, to);
            }
        }
    }
}
