//! Products of two tensors of bytes, as the attention needs them.

use multiversion::multiversion;

use super::super::kernels::pool::Pool;
use super::super::kernels::{KernelSet, PAIRS, PairRow};
use super::super::quant::{Quant, round_saturate};
use super::light;

/// Rows of sums that are held at a time.
const ROWS: usize = 8;

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
    /// Pairs in a row of the first operand.
    fn pairs(&self) -> usize {
        self.size[1].div_ceil(2)
    }

    /// Both operands widened to 16 bits, the second in panels of [`PAIRS`] columns.
    pub fn scratch_bytes(&self) -> usize {
        let [m, _, n] = self.size;
        size_of::<[i16; 2]>() * self.pairs() * (m + n.next_multiple_of(PAIRS))
    }

    /// Exact sums of products in 32 bits, requantised once (ONNX QLinearMatMul). `parts` says into how many parts the
    /// work may be cut.
    pub fn run(
        &self,
        kernels: &dyn KernelSet,
        [a, b]: [&[u8]; 2],
        y: &mut [u8],
        parts: usize,
        pool: &mut Pool,
        scratch: &mut [u8],
    ) {
        let ([m, k, n], pairs) = (self.size, self.pairs());
        let mask = kernels.storage().mask();
        let wide: &mut [[i16; 2]] = bytemuck::cast_slice_mut(&mut scratch[..self.scratch_bytes()]);
        let (rows, panels) = wide.split_at_mut(m * pairs);
        let panels: &mut [PairRow] = bytemuck::cast_slice_mut(panels);
        for ((a, b), y) in a.chunks_exact(m * k).zip(b.chunks_exact(k * n)).zip(y.chunks_exact_mut(m * n)) {
            for (row, a) in rows.chunks_exact_mut(pairs).zip(a.chunks_exact(k)) {
                widen(mask, self.zero[0], a, row);
            }
            pool.split((n.div_ceil(PAIRS), 1, light(b.len())), pairs, panels, &mut [], |numbers, panels, _| {
                for (number, panel) in numbers.zip(panels.chunks_exact_mut(pairs)) {
                    let columns = number * PAIRS..n.min((number + 1) * PAIRS);
                    for (rows, to) in b.chunks(2 * n).zip(panel) {
                        let (first, second) = rows.split_at(n);
                        let second = second.get(columns.clone()).unwrap_or(&[]);
                        interleave(mask, self.zero[1], &first[columns.clone()], second, to);
                    }
                }
            });
            let (rows, panels) = (&*rows, &*panels);
            pool.split((m, ROWS, parts), n, y, &mut [], |range, y, _| {
                let rows = &rows[range.start * pairs..range.end * pairs];
                for (number, panel) in panels.chunks_exact(pairs).enumerate() {
                    let columns = number * PAIRS..n.min((number + 1) * PAIRS);
                    for (rows, y) in rows.chunks(ROWS * pairs).zip(y.chunks_mut(ROWS * n)) {
                        let mut sums = [[0; PAIRS]; ROWS];
                        kernels.pair_products(rows, panel, &mut sums[..rows.len() / pairs]);
                        for (sums, y) in sums.iter().zip(y.chunks_exact_mut(n)) {
                            self.finish(mask, sums, &mut y[columns.clone()]);
                        }
                    }
                }
            });
        }
    }

    fn finish(&self, mask: u8, sums: &[i32; PAIRS], y: &mut [u8]) {
        finish(self.multiplier, self.y.zero_point, self.bounds, mask, sums, y);
    }
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

/// Two rows less their zero point, place by place; a row that does not exist is 0.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn interleave(mask: u8, zero: u8, first: &[u8], second: &[u8], to: &mut PairRow) {
    let widen = |q: u8| i16::from(q ^ mask) - i16::from(zero);
    if let (Ok(first), Ok(second)) = (<&[u8; PAIRS]>::try_from(first), <&[u8; PAIRS]>::try_from(second)) {
        for i in 0..PAIRS {
            to[i] = [widen(first[i]), widen(second[i])];
        }
        return;
    }
    for (i, to) in to.iter_mut().enumerate() {
        *to = [first, second].map(|row| row.get(i).map_or(0, |q| widen(*q)));
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn finish(multiplier: f32, zero_point: u8, (lo, hi): (u8, u8), mask: u8, sums: &[i32; PAIRS], y: &mut [u8]) {
    // Whole vectors first, then as many as there is room for.
    let bytes = sums.map(|sum| round_saturate(sum as f32 * multiplier, zero_point, lo, hi) ^ mask);
    y.copy_from_slice(&bytes[..y.len()]);
}

#[cfg(test)]
mod tests {
    use super::super::super::kernels::Storage;
    use super::super::super::kernels::scalar::Scalar;
    use super::*;

    static SCALARS: [Scalar; 2] = [Scalar::new(Storage::Unsigned), Scalar::new(Storage::Signed)];

    #[test]
    fn products_are_exact_at_every_size_around_the_tile() {
        for [m, k, n] in [[1, 1, 1], [2, 15, 3], [3, 16, 15], [7, 17, 16], [8, 49, 17], [9, 33, 40], [49, 2, 70]] {
            for mask in [0, 0x80] {
                let y = Quant { scale: 1.0, zero_point: 9 };
                let matmul = MatMul { size: [m, k, n], zero: [3, 200], multiplier: 0.001, y, bounds: (5, 240) };
                let byte = |i: usize| (i * 97 + i / 7 * 31) as u8;
                let a: Vec<u8> = (0..2 * m * k).map(byte).collect();
                let b: Vec<u8> = (0..2 * k * n).map(|i| byte(i + 5)).collect();
                let mut out = vec![0; 2 * m * n];
                let (mut scratch, mut pool) = (vec![77i16; 8192], Pool::new(1 + m % 3));
                let scratch = bytemuck::cast_slice_mut(&mut scratch);
                matmul.run(&SCALARS[usize::from(mask >> 7)], [&a, &b], &mut out, 9, &mut pool, scratch);
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
