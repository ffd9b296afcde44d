//! Softmax of bytes.

use std::ops::Range;

use crate::layers::cut::arithmetic;
use crate::layers::{Call, Extent, Layer};
use crate::quant::Quant;
use crate::threads::Cut;

/// Softmax over rows of `width` bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Softmax {
    width: usize,
    x: Quant,
    y: Quant,
    /// exp of minus the distance from the largest byte of a row.
    powers: Box<[f32; 256]>,
}

impl Softmax {
    /// Over rows of `width` bytes quantised as `x` to bytes quantised as `y`.
    pub fn new(width: usize, x: Quant, y: Quant) -> Softmax {
        // In double precision, so that every platform's mathematical library gives the same table.
        let power = |d: usize| (-f64::from(d as f32 * x.scale)).exp() as f32;
        Softmax { width, x, y, powers: Box::new(std::array::from_fn(power)) }
    }

    /// Dequantise, softmax in single precision, quantise (ONNX QDQ Softmax over the last axis); the rows `range`, at the
    /// first of which `y` begins.
    pub fn run(&self, mask: u8, x: &[u8], range: Range<usize>, y: &mut [u8]) {
        for (x, y) in x[range.start * self.width..].chunks_exact(self.width).zip(y.chunks_exact_mut(self.width)) {
            let max = x.iter().map(|q| q ^ mask).max().unwrap_or(0);
            // The largest power is 1: nothing can overflow, and the sum is at least 1.
            let power = |q: u8| self.powers[usize::from(max - (q ^ mask))];
            let sum: f32 = x.iter().map(|q| power(*q)).sum();
            for (q, y) in x.iter().zip(y) {
                *y = self.y.quantise(power(*q) / sum) ^ mask;
            }
        }
    }
}

impl Layer for Softmax {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((extent.output / self.width, 1, arithmetic(extent.output)), self.width, threads)
    }

    fn compute(&self, call: Call) {
        self.run(call.kernels.storage().mask(), call.operands[0], call.part.range(), call.output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quant(scale: f32, zero_point: u8) -> Quant {
        Quant { scale, zero_point }
    }

    #[test]
    fn softmax_rows_sum_to_one() {
        let y = quant(1.0 / 256.0, 0);
        let softmax = Softmax::new(4, quant(0.1, 7), y);
        let mut out = [0; 8];
        let x = [255, 0, 255, 0, 10, 20, 30, 40];
        softmax.run(0, &x, 0..1, &mut out[..4]);
        softmax.run(0, &x, 1..2, &mut out[4..]);
        assert_eq!(out[..4], [128, 0, 128, 0]);
        let expected = [0.0321, 0.0871, 0.2369, 0.6439].map(|p: f32| y.quantise(p));
        assert_eq!(out[4..], expected);
    }
}
