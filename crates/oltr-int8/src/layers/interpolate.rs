//! Maps of another size, linear between neighbouring pixels (ONNX Resize, mode linear).

use multiversion::multiversion;

use crate::kernels::Map;
use crate::layers::cut::arithmetic;
use crate::layers::{Call, Extent, Layer};
use crate::quant::{Quant, round_saturate};
use crate::threads::Cut;

/// Where a row or column of the result lies: between these two of the operand, and the share of each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    /// Their numbers.
    pub positions: [usize; 2],
    /// Their weights.
    pub shares: [f32; 2],
}

/// The layer.
#[derive(Debug)]
pub(crate) struct Interpolate {
    pub input: Map,
    pub output: Map,
    pub rows: Vec<Between>,
    pub columns: Vec<Between>,
    pub x: Quant,
    pub y: Quant,
    pub bounds: (u8, u8),
    /// Whether what lies between two bytes is cut off towards the zero point, not rounded.
    pub cut: bool,
}

impl Layer for Interpolate {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((self.output.pixels(), 1, arithmetic(4 * extent.output)), self.output.stride, threads)
    }

    fn compute(&self, call: Call) {
        let range = call.part.range();
        let mask = call.kernels.storage().mask();
        let (from, width) = (&self.input, self.output.width.max(1));
        let stride = self.output.stride.max(1);
        for (pixel, y) in range.zip(call.output.chunks_exact_mut(stride)) {
            let (row, column) = (&self.rows[pixel / width], &self.columns[pixel % width]);
            let at = |i: usize, j: usize| {
                let pixel = row.positions[i] * from.width + column.positions[j];
                &call.operands[0][pixel * from.stride..][..from.channels]
            };
            let shares = [0, 1, 2, 3].map(|i| row.shares[i / 2] * column.shares[i % 2]);
            let around = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)];
            between(mask, around, shares, (self.x, self.y, self.bounds, self.cut), &mut y[..from.channels]);
        }
    }
}

/// One pixel from the four around it: numbers, weighted and added in this order, then quantised.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn between(
    mask: u8,
    [a, b, c, d]: [&[u8]; 4],
    s: [f32; 4],
    (from, to, (lo, hi), cut): (Quant, Quant, (u8, u8), bool),
    y: &mut [u8],
) {
    let number = |q: u8| from.dequantise(q ^ mask);
    for ((((y, a), b), c), d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let v = number(*a) * s[0] + number(*b) * s[1] + number(*c) * s[2] + number(*d) * s[3];
        let v = if cut { v.trunc() } else { v / to.scale };
        *y = round_saturate(v, to.zero_point, lo, hi) ^ mask;
    }
}
