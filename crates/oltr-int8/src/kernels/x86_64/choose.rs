//! The choice of an algorithm for a convolution.

use crate::kernels::contract::{Conv, PackedConv};
use crate::kernels::x86_64::dense::activations_in_registers;
use crate::kernels::x86_64::dense::grouped::Grouped;
use crate::kernels::x86_64::dense::saturation_split::extra_steps;
use crate::kernels::x86_64::depthwise::generic::Generic;
use crate::kernels::x86_64::depthwise::square::{Interleave, Square};
use crate::kernels::x86_64::dot::by_sums::BySums;
use crate::kernels::x86_64::dot::pairs::Pairs;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::dot::split_bytes::SplitBytes;
use crate::kernels::x86_64::isa::Avx2;
use crate::kernels::x86_64::matvec::{MatrixVector, Matvec};
use crate::kernels::x86_64::vector::Vectors;
use crate::kernels::x86_64::vector::ymm::Ymm;
use crate::kernels::x86_64::winograd::f4_3x3::Winograd3x3;
use crate::kernels::x86_64::winograd::f4_7x7::Winograd7x7;

/// Most extra steps of a layer that is multiplied by bytes, to each step of its runs. By measurement of whole networks: at
/// a quarter it gains 2 to 5 %, and with more extra steps products by sums are as fast.
const EXTRA_STEPS: f32 = 0.25;

/// Packs `conv` for AVX2.
pub(crate) fn avx2(avx2: Avx2, conv: &Conv) -> Box<dyn PackedConv> {
    if let Some(depthwise) = depthwise(Pairs(avx2), conv) {
        return depthwise;
    }
    if let Some(gemv) = MatrixVector::new(BySums(avx2), conv) {
        return Box::new(gemv);
    }
    if let Some(winograd) = Winograd3x3::new(avx2, conv) {
        return Box::new(winograd);
    }
    if let Some(stem) = Winograd7x7::new(avx2, conv) {
        return Box::new(stem);
    }
    let [kh, kw] = conv.window.kernel;
    let (runs, run) = if conv.window.dilation[1] == 1 { (kh, kw) } else { (kh * kw, 1) };
    let run = run * conv.input.channels / conv.groups;
    if bytes_pay(conv, runs, run) {
        return dense(SplitBytes(avx2), conv);
    }
    let vectors = (conv.output.channels / conv.groups).div_ceil(Ymm::LANES);
    // Cycles for a pixel and vector of channels, as measured: products by sums are faster but take whole fours and look
    // at the activations once more.
    let fours = run.div_ceil(4) * 4;
    let look = runs as f32 * (0.19 * fours as f32 + 8.0) + 8.0;
    let by_sums = (runs * fours) as f32 + look / vectors as f32 + 2.0;
    let steps = run.div_ceil(Pairs::STEP);
    let by_pairs =
        (runs * steps * 2) as f32 * if activations_in_registers::takes(vectors, runs, steps) { 1.0 } else { 1.125 };
    if by_pairs < by_sums { dense(Pairs(avx2), conv) } else { dense(BySums(avx2), conv) }
}

/// Whether few enough weights of `conv` are too large for products of bytes. Its windows have `runs` runs of `run`
/// activations.
fn bytes_pay(conv: &Conv, runs: usize, run: usize) -> bool {
    let steps = conv.output.channels.div_ceil(Ymm::LANES) * runs * run.div_ceil(SplitBytes::STEP);
    conv.groups == 1 && extra_steps(&conv.weights, runs * run, run) as f32 <= EXTRA_STEPS * steps as f32
}

/// Packs `conv` for a set that multiplies bytes.
pub(crate) fn vnni<S: Interleave + Matvec>(simd: S, conv: &Conv) -> Box<dyn PackedConv> {
    if let Some(depthwise) = depthwise(simd, conv) {
        return depthwise;
    }
    match MatrixVector::new(simd, conv) {
        Some(gemv) => Box::new(gemv),
        None => dense(simd, conv),
    }
}

/// Packs `conv` if it is depthwise.
fn depthwise<S: Interleave>(simd: S, conv: &Conv) -> Option<Box<dyn PackedConv>> {
    if !conv.is_depthwise() {
        return None;
    }
    Some(match Square::new(simd, conv) {
        Some(square) => Box::new(square),
        None => Box::new(Generic::new(simd.avx2(), conv)),
    })
}

/// Packs `conv` without looking for anything special in it.
pub(crate) fn dense<S: Dot>(simd: S, conv: &Conv) -> Box<dyn PackedConv> {
    Box::new(Grouped::new(simd, conv))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::contract::{Map, Output, Window};
    use crate::quant::Requant;

    /// A 1×1 convolution of 64 channels whose weights are `weight` of the input channel.
    fn point(weight: impl Fn(usize) -> i8) -> Conv {
        let map = Map { height: 5, width: 5, channels: 64, stride: 64 };
        Conv {
            input: map,
            output: map,
            window: Window::POINT,
            groups: 1,
            input_zero: 0,
            weights: (0..64 * 64).map(|i| weight(i % 64)).collect(),
            bias: vec![0; 64],
            result: Output::Bytes(Requant { multiplier: vec![0.01; 64], zero_point: 0, lo: 0, hi: 255 }, None),
        }
    }

    #[test]
    fn bytes_are_multiplied_where_few_weights_are_too_large() {
        let Some(simd) = Avx2::new() else { return };
        let name = |weight: &dyn Fn(usize) -> i8| avx2(simd, &point(weight)).name().to_owned();
        // None, four and five of 16 steps need an extra one.
        assert_eq!(name(&|_| 64), "conv_u8s8u8_split_bytes_5x16__avx2");
        assert_eq!(name(&|i| if i % 16 < 2 { -65 } else { -64 }), "conv_u8s8u8_split_bytes_5x16__avx2");
        assert_eq!(name(&|i| if i % 12 < 2 { 127 } else { 1 }), "conv_u8s8u8_by_sums_4x16__avx2");
        // Neighbours of different signs add up to less.
        assert_eq!(name(&|i| if i % 2 == 0 { 127 } else { -128 }), "conv_u8s8u8_split_bytes_5x16__avx2");
    }
}
