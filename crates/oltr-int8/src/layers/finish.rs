//! The end of a convolution whose sums come as f32 values: scaled, a float bias added, quantised.
//!
//! Kernels turn sums into bytes by themselves where a bias is an integer in units of the sums. Biases that the file has
//! in floating point enter after the sums are scaled, as ONNX says: `round((sum · scale + bias) / step)`.

use std::ops::Range;

use multiversion::multiversion;

use crate::kernels::Map;
use crate::layers::cut::arithmetic;
use crate::layers::{Call, Extent, Layer};
use crate::quant::{Quant, round_saturate};
use crate::threads::Cut;

/// What becomes of the sums of each channel. All lists are as long as the channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// What sums are multiplied with; `None` where that was done.
    pub scale: Option<Vec<f32>>,
    /// What is added then.
    pub bias: Option<Vec<f32>>,
    /// The result: bytes, divided by `step` and kept within the two bounds; `None` for f32 values.
    pub bytes: Option<(f32, Quant, u8, u8)>,
}

/// The layer, over a map.
#[derive(Debug)]
pub(crate) struct Finishing {
    finish: Finish,
    map: Map,
    /// One multiplier and one bias for each value of as many pixels as make long rows, whatever `finish` leaves out; none
    /// that matters for what lies between pixels.
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Finishing {
    pub fn new(finish: Finish, map: Map) -> Finishing {
        // Narrow maps are walked several pixels at a time.
        const LONG: usize = 128;
        let stride = map.stride.max(1);
        let values = stride * (LONG / stride).clamp(1, map.pixels().max(1));
        let all = |list: &Option<Vec<f32>>, none: f32| -> Vec<f32> {
            let of = |c: usize| list.as_ref().map_or(none, |list| list.get(c).copied().unwrap_or(none));
            (0..values).map(|i| of(i % stride)).collect()
        };
        // -0 is what no number changes by.
        let (scale, bias) = (all(&finish.scale, 1.0), all(&finish.bias, -0.0));
        Finishing { finish, map, scale, bias }
    }

    /// The results of whole pixels, from their sums `a`, and `b` added to them if there are any.
    pub fn row(&self, operands: [&[f32]; 2], mask: u8, y: &mut [u8]) {
        match self.finish.bytes {
            None => floats(operands, [&self.scale, &self.bias], bytemuck::cast_slice_mut(y)),
            Some((step, quant, lo, hi)) => {
                let rounding = (step, quant.zero_point, lo, hi, mask);
                bytes(operands, [&self.scale, &self.bias], rounding, y);
            }
        }
    }
}

impl Layer for Finishing {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        let size = if self.finish.bytes.is_some() { 1 } else { 4 };
        Cut::items((self.map.pixels(), 1, arithmetic(extent.output)), self.map.stride * size, threads)
    }

    fn compute(&self, call: Call) {
        let Range { start, end } = call.part.range();
        let stride = self.map.stride;
        let operands = call.operands.map(|x| {
            let values: &[f32] = bytemuck::cast_slice(x);
            if values.is_empty() { values } else { &values[start * stride..end * stride] }
        });
        self.row(operands, call.kernels.storage().mask(), call.output);
    }

    fn weights_bytes(&self) -> usize {
        4 * (self.scale.len() + self.bias.len())
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn bytes(
    [a, b]: [&[f32]; 2],
    [scale, bias]: [&[f32]; 2],
    (step, zero, lo, hi, mask): (f32, u8, u8, u8, u8),
    y: &mut [u8],
) {
    let length = scale.len();
    let finish = |sum: f32, scale: f32, bias: f32| round_saturate((sum * scale + bias) / step, zero, lo, hi) ^ mask;
    for (i, y) in y.chunks_mut(length).enumerate() {
        let a = &a[i * length..];
        let parameters = scale.iter().zip(bias);
        if b.is_empty() {
            for ((y, a), (scale, bias)) in y.iter_mut().zip(a).zip(parameters) {
                *y = finish(*a, *scale, *bias);
            }
        } else {
            let b = &b[i * length..];
            for (((y, a), b), (scale, bias)) in y.iter_mut().zip(a).zip(b).zip(parameters) {
                *y = finish(*a + *b, *scale, *bias);
            }
        }
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn floats([a, b]: [&[f32]; 2], [scale, bias]: [&[f32]; 2], y: &mut [f32]) {
    let length = scale.len();
    for (i, y) in y.chunks_mut(length).enumerate() {
        let a = &a[i * length..];
        let parameters = scale.iter().zip(bias);
        if b.is_empty() {
            for ((y, a), (scale, bias)) in y.iter_mut().zip(a).zip(parameters) {
                *y = *a * *scale + *bias;
            }
        } else {
            let b = &b[i * length..];
            for (((y, a), b), (scale, bias)) in y.iter_mut().zip(a).zip(b).zip(parameters) {
                *y = (*a + *b) * *scale + *bias;
            }
        }
    }
}

/// A map with some of its channels once more behind all of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Repeat {
    pub from: Map,
    pub to: Map,
    pub channels: Vec<usize>,
}

impl Layer for Repeat {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((self.to.pixels(), 1, arithmetic(extent.output)), self.to.stride, threads)
    }

    fn compute(&self, call: Call) {
        let range = call.part.range();
        let x = call.operands[0];
        let own = self.from.channels;
        if self.to.channels == 4 && own == 3 && self.from.stride == 3 && self.to.stride == 4 {
            // A picture: too little of each pixel for a call.
            let again = self.channels[0];
            let pixels = x[3 * range.start..].as_chunks::<3>().0;
            for (x, y) in pixels.iter().zip(call.output.as_chunks_mut::<4>().0) {
                *y = [x[0], x[1], x[2], x[again]];
            }
            return;
        }
        let whole = self.from.stride.is_multiple_of(16) && self.to.stride.is_multiple_of(16);
        for (pixel, y) in range.zip(call.output.chunks_exact_mut(self.to.stride.max(1))) {
            let x = &x[pixel * self.from.stride..][..if whole { self.from.stride } else { own }];
            // Whole vectors where pixels are such, what lies between them too.
            match whole {
                true => x.chunks_exact(16).zip(y.chunks_exact_mut(16)).for_each(|(x, y)| y.copy_from_slice(x)),
                false => y[..own].copy_from_slice(x),
            }
            for (y, channel) in y[own..].iter_mut().zip(&self.channels) {
                *y = x[*channel];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;
    use crate::kernels::available;
    use crate::layers::Input;
    use crate::tensor::Element;

    /// Runs the layer over a map of 5 channels, 3 × 2 pixels, on all sets, in ONNX order.
    fn run(finish: &Finish, pair: bool) -> Vec<f32> {
        let mut results: Vec<Vec<f32>> = Vec::new();
        for set in available() {
            let mut b = Builder::new(set);
            let one = Quant { scale: 1.0, zero_point: 100 };
            let x = b.quantise(&[1, 5, 3, 2], one);
            let map = b.tensor(x).map;
            let identity = |b: &mut Builder, x| {
                let weights = (0..25).map(|i| i8::from(i % 6 == 0)).collect();
                let conv = crate::kernels::Conv {
                    input: map,
                    output: map,
                    window: crate::kernels::Window::POINT,
                    groups: 1,
                    input_zero: 100,
                    weights,
                    bias: vec![0; 5],
                    result: crate::kernels::Output::F32(vec![1.0; 5]),
                };
                b.conv(x, conv, Element::F32, &[1, 5, 3, 2], None).unwrap()
            };
            let sums = identity(&mut b, x);
            let more = pair.then(|| identity(&mut b, x));
            let y = b.finishing(sums, more, map, finish.clone()).unwrap();
            b.output(y);
            let program = b.finish();
            let f32_values: Vec<f32> = (0..30u8).map(|i| f32::from(i) - 15.0).collect();
            let mut out = vec![-1.0; 30];
            program.run(&mut program.state(1), &[Input::F32(&f32_values)], &mut [&mut out]).unwrap();
            results.push(out);
        }
        assert!(results.iter().all(|r| *r == results[0]), "every set gives the same");
        results.remove(0)
    }

    #[test]
    fn sums_are_scaled_then_biased_then_rounded() {
        let scale = vec![0.5, 0.25, 1.0, 2.0, 0.125];
        let bias = vec![0.1, -0.2, 0.3, 0.0, 7.0];
        let quant = Quant { scale: 0.3, zero_point: 40 };
        let finish = Finish { scale: Some(scale.clone()), bias: Some(bias.clone()), bytes: Some((0.3, quant, 30, 90)) };
        for pair in [false, true] {
            let expected: Vec<f32> = (0..30usize)
                .map(|i| {
                    let sum = (i as f32 - 15.0) * if pair { 2.0 } else { 1.0 };
                    quant.dequantise(round_saturate((sum * scale[i / 6] + bias[i / 6]) / 0.3, 40, 30, 90))
                })
                .collect();
            assert_eq!(run(&finish, pair), expected);
        }
        let floats = Finish { scale: None, bias: Some(bias.clone()), bytes: None };
        let expected: Vec<f32> = (0..30usize).map(|i| i as f32 - 15.0 + bias[i / 6]).collect();
        assert_eq!(run(&floats, false), expected);
    }
}
