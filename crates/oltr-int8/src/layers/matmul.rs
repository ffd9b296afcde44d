//! Products of two tensors of bytes, as the attention needs them: first the second operand is laid out in panels, then
//! rows of the first one are multiplied with them.

use std::ops::Range;

use multiversion::multiversion;

use crate::kernels::{KernelSet, PAIRS, PairRow};
use crate::layers::cut::products;

use crate::layers::{Call, Extent, Layer};
use crate::quant::{Quant, round_saturate};
use crate::threads::Cut;

/// Rows of sums that are held at a time.
pub(crate) const ROWS: usize = 8;

/// Product of two tensors of bytes, `[.., m, k] × [.., k, n]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MatMul {
    /// m, k, n
    pub size: [usize; 3],
    /// Zero point of the first operand.
    pub zero: u8,
    /// `scale_a * scale_b / scale_y`
    pub multiplier: f32,
    pub y: Quant,
    pub bounds: (u8, u8),
}

impl MatMul {
    /// Pairs in a row of the first operand.
    fn pairs(&self) -> usize {
        self.size[1].div_ceil(2)
    }

    /// Rows of the first operand widened to 16 bits.
    pub fn scratch_bytes(&self) -> usize {
        size_of::<[i16; 2]>() * self.pairs() * self.size[0]
    }

    /// Exact sums of products in 32 bits, requantised once (ONNX QLinearMatMul): rows `range` of the result, counted through
    /// all matrices, from `a` and the [`crate::layers::panels::Panels`] of the second operand.
    pub fn run(
        &self,
        kernels: &dyn KernelSet,
        [a, panels]: [&[u8]; 2],
        range: Range<usize>,
        y: &mut [u8],
        scratch: &mut [u8],
    ) {
        let ([m, k, n], pairs) = (self.size, self.pairs());
        let mask = kernels.storage().mask();
        let wide: &mut [[i16; 2]] = bytemuck::cast_slice_mut(&mut scratch[..self.scratch_bytes()]);
        let panels: &[PairRow] = bytemuck::cast_slice(panels);
        let of_matrix = n.div_ceil(PAIRS) * pairs;
        let first = range.start;
        for (matrix, rows) in by_matrix(range, m) {
            let wide = &mut wide[..rows.len() * pairs];
            for (row, a) in wide.chunks_exact_mut(pairs).zip(a[rows.start * k..].chunks_exact(k)) {
                widen(mask, self.zero, a, row);
            }
            let y = &mut y[(rows.start - first) * n..][..rows.len() * n];
            let panels = &panels[matrix * of_matrix..][..of_matrix];
            for (number, panel) in panels.chunks_exact(pairs).enumerate() {
                let columns = number * PAIRS..n.min((number + 1) * PAIRS);
                for (rows, y) in wide.chunks(ROWS * pairs).zip(y.chunks_mut(ROWS * n)) {
                    let mut sums = [[0; PAIRS]; ROWS];
                    kernels.pair_products(rows, panel, &mut sums[..rows.len() / pairs]);
                    for (sums, y) in sums.iter().zip(y.chunks_exact_mut(n)) {
                        self.finish(mask, sums, &mut y[columns.clone()]);
                    }
                }
            }
        }
    }

    fn finish(&self, mask: u8, sums: &[i32; PAIRS], y: &mut [u8]) {
        finish(self.multiplier, self.y.zero_point, self.bounds, mask, sums, y);
    }
}

impl Layer for MatMul {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        let [_, _, n] = self.size;
        Cut::items((extent.output / n, ROWS, products(extent.macs, 20_000)), n, threads)
    }

    fn compute(&self, call: Call) {
        self.run(call.kernels, call.operands, call.part.range(), call.output, call.scratch);
    }

    fn scratch_bytes(&self) -> usize {
        MatMul::scratch_bytes(self)
    }
}

/// The rows `range`, counted through matrices of `m` rows each: each matrix with its share of them.
pub(crate) fn by_matrix(range: Range<usize>, m: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    (range.start / m..range.end.div_ceil(m))
        .map(move |matrix| (matrix, range.start.max(matrix * m)..range.end.min((matrix + 1) * m)))
}

/// A row less its zero point; a last pair that is not whole ends with 0.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn widen(mask: u8, zero: u8, from: &[u8], to: &mut [[i16; 2]]) {
    let widen = |q: u8| i16::from(q ^ mask) - i16::from(zero);
    for (pair, to) in from.chunks_exact(2).zip(to.iter_mut()) {
        *to = [widen(pair[0]), widen(pair[1])];
    }
    if let ([last], Some(to)) = (from.chunks_exact(2).remainder(), to.last_mut()) {
        *to = [widen(*last), 0];
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn finish(multiplier: f32, zero_point: u8, (lo, hi): (u8, u8), mask: u8, sums: &[i32; PAIRS], y: &mut [u8]) {
    // Whole vectors first, then as many as there is room for; not by `map`, which would be compiled apart from this and
    // without its instructions.
    let mut bytes = [0; PAIRS];
    for (byte, sum) in bytes.iter_mut().zip(sums) {
        *byte = round_saturate(*sum as f32 * multiplier, zero_point, lo, hi) ^ mask;
    }
    y.copy_from_slice(&bytes[..y.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Storage;
    use crate::kernels::scalar::Scalar;
    use crate::layers::panels::Panels;

    static SCALARS: [Scalar; 2] = [Scalar::new(Storage::Unsigned), Scalar::new(Storage::Signed)];

    #[test]
    fn products_are_exact_at_every_size_around_the_tile() {
        for [m, k, n] in [[1, 1, 1], [2, 15, 3], [3, 16, 15], [7, 17, 16], [8, 49, 17], [9, 33, 40], [49, 2, 70]] {
            for mask in [0, 0x80] {
                let y = Quant { scale: 1.0, zero_point: 9 };
                let panels = Panels { size: [k, n], zero: 200 };
                let matmul = MatMul { size: [m, k, n], zero: 3, multiplier: 0.001, y, bounds: (5, 240) };
                let byte = |i: usize| (i * 97 + i / 7 * 31) as u8;
                let a: Vec<u8> = (0..2 * m * k).map(byte).collect();
                let b: Vec<u8> = (0..2 * k * n).map(|i| byte(i + 5)).collect();
                let kernels = &SCALARS[usize::from(mask >> 7)];
                let mut packed =
                    vec![PairRow::default(); 2 * panels.of_matrix() * panels.bytes() / size_of::<PairRow>()];
                let packed: &mut [u8] = bytemuck::cast_slice_mut(&mut packed);
                // In two parts each, that begin anywhere.
                let (count, rows) = (2 * panels.of_matrix(), 2 * m);
                for range in [0..count / 3, count / 3..count] {
                    let to = &mut packed[range.start * panels.bytes()..range.end * panels.bytes()];
                    panels.run(mask, &b, range, to);
                }
                let (mut out, mut scratch) = (vec![0; rows * n], vec![[77i16; 2]; 2048]);
                let scratch = bytemuck::cast_slice_mut(&mut scratch);
                for range in [0..rows / 3, rows / 3..rows] {
                    let y = &mut out[range.start * n..range.end * n];
                    matmul.run(kernels, [&a, packed], range, y, scratch);
                }
                for (i, got) in out.iter().enumerate() {
                    let (batch, row, column) = (i / (m * n), i / n % m, i % n);
                    let product = |j: usize| {
                        let a = i32::from(a[batch * m * k + row * k + j] ^ mask) - 3;
                        let b = i32::from(b[batch * k * n + j * n + column] ^ mask) - 200;
                        a * b
                    };
                    let sum: i32 = (0..k).map(product).sum();
                    let expected = round_saturate(sum as f32 * 0.001, 9, 5, 240);
                    assert_eq!(got ^ mask, expected, "{m} {k} {n} at {i}");
                }
            }
        }
    }
}
