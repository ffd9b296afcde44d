//! Products of two tensors of bytes, as the attention needs them.

use multiversion::multiversion;

use super::super::quant::{Quant, round_saturate};

/// Inner products run over this many values at a time; rows are padded with zeros.
const STEP: usize = 16;

/// Product of two tensors of bytes, `[.., m, k] × [.., k, n]`.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct MatMul {
    /// m, k, n
    pub size: [usize; 3],
    /// Zero points of both operands.
    pub zero: [u8; 2],
    /// `scale_a * scale_b / scale_y`
    pub multiplier: f32,
    pub y: Quant,
    pub bounds: (u8, u8),
}

impl MatMul {
    /// Both operands widened to 16 bits, the second transposed.
    pub fn scratch_bytes(&self) -> usize {
        let [m, k, n] = self.size;
        2 * k.next_multiple_of(STEP) * (m + n)
    }

    /// Exact sums of products in 32 bits, requantised once (ONNX QLinearMatMul).
    pub fn run(&self, mask: u8, a: &[u8], b: &[u8], y: &mut [u8], scratch: &mut [u8]) {
        let [m, k, n] = self.size;
        let padded = k.next_multiple_of(STEP);
        let wide: &mut [i16] = bytemuck::cast_slice_mut(&mut scratch[..self.scratch_bytes()]);
        let (rows, columns) = wide.split_at_mut(m * padded);
        for ((a, b), y) in a.chunks_exact(m * k).zip(b.chunks_exact(k * n)).zip(y.chunks_exact_mut(m * n)) {
            rows.fill(0);
            columns.fill(0);
            for (row, a) in rows.chunks_exact_mut(padded).zip(a.chunks_exact(k)) {
                for (w, q) in row.iter_mut().zip(a) {
                    *w = i16::from(q ^ mask) - i16::from(self.zero[0]);
                }
            }
            for (j, column) in columns.chunks_exact_mut(padded).enumerate() {
                for (w, b) in column.iter_mut().zip(b.chunks_exact(n)) {
                    *w = i16::from(b[j] ^ mask) - i16::from(self.zero[1]);
                }
            }
            for (row, y) in rows.chunks_exact(padded).zip(y.chunks_exact_mut(n)) {
                self.row(mask, row, columns, y);
            }
        }
    }

    fn row(&self, mask: u8, row: &[i16], columns: &[i16], y: &mut [u8]) {
        let (lo, hi) = self.bounds;
        let finish = |sum: i32| round_saturate(sum as f32 * self.multiplier, self.y.zero_point, lo, hi) ^ mask;
        let mut quads = columns.chunks_exact(4 * row.len());
        let mut out = y.chunks_exact_mut(4);
        for (four, y) in quads.by_ref().zip(out.by_ref()) {
            for (y, sum) in y.iter_mut().zip(four_products(row, four)) {
                *y = finish(sum);
            }
        }
        for (column, y) in quads.remainder().chunks_exact(row.len()).zip(out.into_remainder()) {
            *y = finish(row.iter().zip(column).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum());
        }
    }
}

/// Inner products of `row` with four columns: the row is loaded once for all.
#[multiversion(targets("x86_64+avx2"))]
fn four_products(row: &[i16], columns: &[i16]) -> [i32; 4] {
    let n = row.len();
    let mut sums = [[0i32; STEP]; 4];
    let chunks = columns[..n].chunks_exact(STEP).zip(columns[n..2 * n].chunks_exact(STEP));
    let others = columns[2 * n..3 * n].chunks_exact(STEP).zip(columns[3 * n..4 * n].chunks_exact(STEP));
    for ((row, (a, b)), (c, d)) in row.chunks_exact(STEP).zip(chunks).zip(others) {
        for i in 0..STEP {
            let r = i32::from(row[i]);
            sums[0][i] += r * i32::from(a[i]);
            sums[1][i] += r * i32::from(b[i]);
            sums[2][i] += r * i32::from(c[i]);
            sums[3][i] += r * i32::from(d[i]);
        }
    }
    sums.map(|s| s.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_at_every_size_around_the_step() {
        for [m, k, n] in [[1, 1, 1], [2, 15, 3], [3, 16, 4], [2, 17, 5], [4, 49, 9], [1, 33, 8]] {
            for mask in [0, 0x80] {
                let y = Quant { scale: 1.0, zero_point: 9 };
                let matmul = MatMul { size: [m, k, n], zero: [3, 200], multiplier: 0.001, y, bounds: (5, 240) };
                let byte = |i: usize| (i * 97 + i / 7 * 31) as u8;
                let a: Vec<u8> = (0..2 * m * k).map(byte).collect();
                let b: Vec<u8> = (0..2 * k * n).map(|i| byte(i + 5)).collect();
                let mut out = vec![0; 2 * m * n];
                matmul.run(mask, &a, &b, &mut out, bytemuck::cast_slice_mut(&mut vec![77i16; 4096]));
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
