//! Arithmetic element by element: sums and products with broadcasting, softmax.

use std::ops::Range;

use multiversion::multiversion;

use super::super::plan::ALIGN;
use super::super::quant::{AddQuant, Quant, round_saturate};
use super::super::threads::Cut;
use super::broadcast::Broadcast;

/// Sum or product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// ONNX Add.
    Add,
    /// ONNX Mul.
    Mul,
}

/// Sum or product of two tensors of bytes, broadcast by strides of 0.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Elementwise {
    binary: Binary,
    quant: AddQuant,
    broadcast: Broadcast,
}

impl Elementwise {
    /// Over `shape`, with the strides of both operands and of the result.
    pub fn new(binary: Binary, quant: AddQuant, shape: &[usize], strides: [Vec<usize>; 3]) -> Elementwise {
        Elementwise { binary, quant, broadcast: Broadcast::new(shape, strides) }
    }

    /// How it is cut, into at most `parts` parts.
    pub fn cut(&self, parts: usize, threads: usize) -> Cut {
        let [items, step] = self.broadcast.items();
        let grain = if step == 1 { ALIGN } else { 1 };
        Cut::items((items, grain, parts), step, threads)
    }

    /// Dequantise both, add or multiply in single precision, quantise (ONNX QDQ Add, Mul); the items `range`, at the
    /// first of which `y` begins.
    pub fn run(&self, mask: u8, a: &[u8], b: &[u8], range: Range<usize>, y: &mut [u8]) {
        let product = self.binary == Binary::Mul;
        self.broadcast.rows(range, a, b, y, &|a, b, y| row(product, &self.quant, mask, a, b, y));
    }
}

/// One row; an operand of a single byte stands for a whole row of it.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn row(product: bool, quant: &AddQuant, mask: u8, a: &[u8], b: &[u8], y: &mut [u8]) {
    let finish = |v: f32| round_saturate(v / quant.y.scale, quant.y.zero_point, quant.lo, quant.hi) ^ mask;
    let combine = |a: f32, b: f32| if product { a * b } else { a + b };
    let (da, db) = (|q: u8| quant.a.dequantise(q ^ mask), |q: u8| quant.b.dequantise(q ^ mask));
    match (a, b) {
        ([a], [b]) => y.fill(finish(combine(da(*a), db(*b)))),
        ([a], b) => {
            let a = da(*a);
            y.iter_mut().zip(b).for_each(|(y, b)| *y = finish(combine(a, db(*b))));
        }
        (a, [b]) => {
            let b = db(*b);
            y.iter_mut().zip(a).for_each(|(y, a)| *y = finish(combine(da(*a), b)));
        }
        (a, b) => y.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = finish(combine(da(*a), db(*b)))),
    }
}

/// Softmax over rows of `width` bytes.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Softmax {
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

    /// How rows of `bytes` bytes altogether are cut, into at most `parts` parts.
    pub fn cut(&self, bytes: usize, parts: usize, threads: usize) -> Cut {
        Cut::items((bytes / self.width, 1, parts), self.width, threads)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quant(scale: f32, zero_point: u8) -> Quant {
        Quant { scale, zero_point }
    }

    proptest! {
        #[test]
        fn broadcasting_follows_the_definition(
            bytes in prop::collection::vec(any::<u8>(), 60),
            product: bool,
            outer in 1usize..4,
            inner in 1usize..20,
            a_row: bool,
            b_row: bool,
            zeros: [u8; 3],
            cut in 0.0..1.0f64,
        ) {
            let q = AddQuant { a: quant(0.03, zeros[0]), b: quant(0.07, zeros[1]), y: quant(0.11, zeros[2]), lo: 3, hi: 250 };
            let binary = if product { Binary::Mul } else { Binary::Add };
            let strides = |row: bool| vec![inner * usize::from(row), usize::from(row)];
            let shape = [outer, inner];
            let layer = Elementwise::new(binary, q, &shape, [strides(a_row), strides(b_row), vec![inner, 1]]);
            let (a, b) = (&bytes[..], &bytes[1..]);
            for mask in [0, 0x80] {
                let mut y = vec![0; outer * inner];
                // In two parts.
                let [items, step] = layer.broadcast.items();
                prop_assert_eq!(items * step, y.len());
                let cut = (cut * items as f64) as usize;
                let (first, second) = y.split_at_mut(cut * step);
                layer.run(mask, a, b, 0..cut, first);
                layer.run(mask, a, b, cut..items, second);
                for i in 0..outer * inner {
                    let (a, b) = (a[if a_row { i } else { 0 }] ^ mask, b[if b_row { i } else { 0 }] ^ mask);
                    let (a, b) = (q.a.dequantise(a), q.b.dequantise(b));
                    let v = if product { a * b } else { a + b };
                    prop_assert_eq!(y[i] ^ mask, round_saturate(v / q.y.scale, q.y.zero_point, q.lo, q.hi));
                }
            }
        }
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
