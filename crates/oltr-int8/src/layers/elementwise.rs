//! Sums and products element by element, with broadcasting.

use std::ops::Range;

use multiversion::multiversion;

use crate::layers::broadcast::Broadcast;
use crate::layers::cut::arithmetic;
use crate::layers::{Call, Extent, Layer};
use crate::plan::ALIGN;
use crate::quant::{AddQuant, round_saturate};
use crate::threads::Cut;

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
pub(crate) struct Elementwise {
    binary: Binary,
    quant: AddQuant,
    broadcast: Broadcast,
}

impl Elementwise {
    /// Over `shape`, with the strides of both operands and of the result.
    pub fn new(binary: Binary, quant: AddQuant, shape: &[usize], strides: [Vec<usize>; 3]) -> Elementwise {
        Elementwise { binary, quant, broadcast: Broadcast::new(shape, strides) }
    }

    /// Dequantise both, add or multiply in single precision, quantise (ONNX QDQ Add, Mul); the items `range`, at the
    /// first of which `y` begins.
    pub fn run(&self, mask: u8, a: &[u8], b: &[u8], range: Range<usize>, y: &mut [u8]) {
        let product = self.binary == Binary::Mul;
        self.broadcast.rows(range, a, b, y, &|a, b, y| row(product, &self.quant, mask, a, b, y));
    }
}

impl Layer for Elementwise {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        let [items, step] = self.broadcast.items();
        let grain = if step == 1 { ALIGN } else { 1 };
        Cut::items((items, grain, arithmetic(extent.output)), step, threads)
    }

    fn compute(&self, call: Call) {
        let [a, b] = call.operands;
        self.run(call.kernels.storage().mask(), a, b, call.part.range(), call.output);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Quant;
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
}
