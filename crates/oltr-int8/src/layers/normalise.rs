//! Rows brought to mean 0 and variance 1 (ONNX LayerNormalization).
//!
//! Mean and variance are of integers: their sums are exact, so that every machine has the same, in whatever order it adds.

use multiversion::multiversion;

use crate::layers::cut::arithmetic;
use crate::layers::{Call, Extent, Layer};
use crate::quant::{Quant, round_saturate};
use crate::threads::Cut;

/// Bytes whose squares fit a sum of 32 bits together.
const RUN: usize = 1 << 14;

/// What becomes of rows of bytes: `(x - mean) / √(variance + epsilon) · scale + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// What is added to the variance.
    pub epsilon: f32,
    /// One for each place of a row.
    pub scale: Vec<f32>,
    /// One for each place of a row.
    pub bias: Vec<f32>,
    /// The result, and the bounds that it is kept within.
    pub y: Quant,
    /// Smallest and largest byte.
    pub bounds: (u8, u8),
}

/// The layer.
#[derive(Debug)]
pub(crate) struct Normalise {
    pub norm: Norm,
    pub x: Quant,
}

impl Normalise {
    fn width(&self) -> usize {
        self.norm.scale.len()
    }

    /// Rows of `x` to rows of `y`.
    fn run(&self, mask: u8, x: &[u8], y: &mut [u8]) {
        let Norm { epsilon, scale, bias, y: to, bounds } = &self.norm;
        let n = self.width().max(1);
        for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
            let (mut sum, mut squares) = (0i64, 0i64);
            for x in x.chunks(RUN) {
                let of_run = sums(mask, x);
                (sum, squares) = (sum + i64::from(of_run.0), squares + i64::from(of_run.1));
            }
            let count = n as i64;
            let mean = sum as f64 / count as f64;
            let step = f64::from(self.x.scale);
            let variance = (count * squares - sum * sum) as f64 / (count * count) as f64 * step * step;
            let factor = (step / (variance + f64::from(*epsilon)).sqrt()) as f32;
            row(mask, x, (mean as f32, factor), [scale, bias], (*to, *bounds), y);
        }
    }
}

/// Sums of the bytes, and of their squares.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn sums(mask: u8, x: &[u8]) -> (u32, u32) {
    let (mut sum, mut squares) = (0u32, 0u32);
    for q in x {
        let q = u32::from(q ^ mask);
        sum += q;
        squares += q * q;
    }
    (sum, squares)
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn row(
    mask: u8,
    x: &[u8],
    (mean, factor): (f32, f32),
    [scale, bias]: [&[f32]; 2],
    (to, (lo, hi)): (Quant, (u8, u8)),
    y: &mut [u8],
) {
    for ((x, y), (scale, bias)) in x.iter().zip(y).zip(scale.iter().zip(bias)) {
        let v = (f32::from(x ^ mask) - mean) * factor * scale + bias;
        *y = round_saturate(v / to.scale, to.zero_point, lo, hi) ^ mask;
    }
}

impl Layer for Normalise {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        let n = self.width().max(1);
        Cut::items((extent.output / n, 1, arithmetic(2 * extent.output)), n, threads)
    }

    fn compute(&self, call: Call) {
        let from = call.part.range().start * self.width();
        self.run(call.kernels.storage().mask(), &call.operands[0][from..], call.output);
    }

    fn weights_bytes(&self) -> usize {
        8 * self.width()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_normalised_as_onnx_says(
            bytes in prop::collection::vec(any::<u8>(), 3 * 37),
            width in 1usize..38,
            zeros: [u8; 2],
            epsilon in prop::sample::select(vec![1e-6f32, 1e-5, 0.1]),
        ) {
            let quant = |scale: f32, zero_point: u8| Quant { scale, zero_point };
            let (x, y) = (quant(0.03, zeros[0]), quant(0.021, zeros[1]));
            let scale: Vec<f32> = (0..width).map(|i| 0.5 + i as f32 / 40.0).collect();
            let bias: Vec<f32> = (0..width).map(|i| i as f32 / 50.0 - 0.3).collect();
            let norm = Norm { epsilon, scale: scale.clone(), bias: bias.clone(), y, bounds: (2, 251) };
            let layer = Normalise { norm, x };
            for mask in [0, 0x80] {
                let stored: Vec<u8> = bytes[..3 * width].iter().map(|b| b ^ mask).collect();
                let mut out = vec![0; 3 * width];
                // In two parts, as threads have them.
                let (first, rest) = out.split_at_mut(width);
                layer.run(mask, &stored, first);
                layer.run(mask, &stored[width..], rest);
                for (row, out) in bytes.chunks(width).zip(out.chunks(width)) {
                    let values: Vec<f64> = row.iter().map(|q| f64::from(x.dequantise(*q))).collect();
                    let mean = values.iter().sum::<f64>() / width as f64;
                    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
                    for (i, (v, out)) in values.iter().zip(out).enumerate() {
                        let exact = (v - mean) / (variance + f64::from(epsilon)).sqrt() * f64::from(scale[i])
                            + f64::from(bias[i]);
                        let steps = (exact / f64::from(y.scale) + f64::from(y.zero_point)).clamp(2.0, 251.0);
                        prop_assert!((f64::from(out ^ mask) - steps).abs() <= 0.51, "{} for {steps}", out ^ mask);
                    }
                }
            }
        }
    }

    #[test]
    fn long_rows_are_summed_exactly() {
        let n = 3 * RUN + 5;
        let y = Quant { scale: 0.01, zero_point: 100 };
        let norm = Norm { epsilon: 0.0, scale: vec![1.0; n], bias: vec![0.0; n], y, bounds: (0, 255) };
        let layer = Normalise { norm, x: Quant { scale: 0.5, zero_point: 3 } };
        // Half 0, half 255 but for one: deviations of 1 on either side.
        let x: Vec<u8> = (0..n).map(|i| if i % 2 == 0 { 255 } else { 0 }).collect();
        let mut out = vec![0; n];
        layer.run(0, &x, &mut out);
        assert!(out.iter().zip(&x).all(|(y, x)| *y == if *x == 255 { 200 } else { 0 }), "{:?}", &out[..4]);
    }
}
