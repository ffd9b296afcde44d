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
    /// The shares of the two columns for each value of a row of the result; filled by [`Interpolate::spread`].
    pub shares: [Vec<f32>; 2],
}

impl Interpolate {
    /// Fills in the shares of each value.
    pub fn spread(mut self) -> Interpolate {
        let stride = self.output.stride;
        self.shares = [0, 1].map(|i| self.columns.iter().flat_map(|c| vec![c.shares[i]; stride]).collect());
        self
    }

    /// Bytes of a row of the result.
    fn row(&self) -> usize {
        self.output.width * self.output.stride
    }

    /// The bytes of row `row` that lie at one side of each pixel of the result.
    fn gather(&self, x: &[u8], row: usize, side: usize, to: &mut [u8]) {
        let (from, stride) = (&self.input, self.output.stride);
        let x = &x[row * from.width * from.stride..][..from.width * from.stride];
        // Whole vectors where pixels are such, what lies between them too.
        let n = if from.stride == stride { stride } else { from.channels };
        for (to, column) in to.chunks_exact_mut(stride.max(1)).zip(&self.columns) {
            let pixel = &x[column.positions[side] * from.stride..];
            match n {
                4 => to[..4].copy_from_slice(&pixel[..4]),
                16 => to[..16].copy_from_slice(&pixel[..16]),
                _ => to[..n].copy_from_slice(&pixel[..n]),
            }
        }
    }
}

impl Layer for Interpolate {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((self.output.height, 1, arithmetic(4 * extent.output)), self.row(), threads)
    }

    fn compute(&self, call: Call) {
        let mask = call.kernels.storage().mask();
        let length = self.row();
        let (above, below) = call.scratch[..4 * length].split_at_mut(2 * length);
        let mut sides = [above, below];
        let mut held = [None; 2];
        for (row, y) in call.part.range().zip(call.output.chunks_exact_mut(length.max(1))) {
            let row = &self.rows[row];
            for ((side, held), position) in sides.iter_mut().zip(&mut held).zip(row.positions) {
                if *held != Some(position) {
                    let (left, right) = side.split_at_mut(length);
                    self.gather(call.operands[0], position, 0, left);
                    self.gather(call.operands[0], position, 1, right);
                    *held = Some(position);
                }
            }
            let [above, below] = &sides;
            let around = [&above[..length], &above[length..], &below[..length], &below[length..]];
            let [left, right] = &self.shares;
            between(mask, around, row.shares, [left, right], (self.x, self.y, self.bounds, self.cut), y);
        }
    }

    /// Two rows, each as it lies left of the pixels and right of them.
    fn scratch_bytes(&self) -> usize {
        4 * self.row()
    }

    fn weights_bytes(&self) -> usize {
        4 * (self.shares[0].len() + self.shares[1].len())
    }
}

/// A row of pixels from the four around each: numbers, weighted and added in this order, then quantised.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn between(
    mask: u8,
    [a, b, c, d]: [&[u8]; 4],
    [above, below]: [f32; 2],
    [left, right]: [&[f32]; 2],
    (from, to, (lo, hi), cut): (Quant, Quant, (u8, u8), bool),
    y: &mut [u8],
) {
    let number = |q: u8| from.dequantise(q ^ mask);
    // Zipped, not indexed: this way the compiler makes vectors of it.
    for ((((((y, a), b), c), d), left), right) in y.iter_mut().zip(a).zip(b).zip(c).zip(d).zip(left).zip(right) {
        let v = number(*a) * (above * left)
            + number(*b) * (above * right)
            + number(*c) * (below * left)
            + number(*d) * (below * right);
        let v = if cut { v.trunc() } else { v / to.scale };
        *y = round_saturate(v, to.zero_point, lo, hi) ^ mask;
    }
}
