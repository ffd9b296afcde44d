//! The choice of an algorithm for a convolution, and the algorithms behind the contract.

use std::ops::Range;

use super::super::{Conv, PackedConv};
use super::avx2::{Avx2, Ymm};
use super::bytes::Avx2Bytes;
use super::dense::Dense;
use super::depthwise::{Depthwise, Interleave};
use super::epilogue::{Destination, Place};
use super::gemv::{Gemv, Matvec};
use super::pairs::Avx2Pairs;
use super::pixelwise;
use super::simd::Simd;
use super::split;
use super::stem::Stem;
use super::taps::Taps;
use super::vectors::Vectors;
use super::winograd::Winograd;

/// Most extra steps of a layer that is multiplied by bytes, to each step of its runs. By measurement of whole networks: at
/// a quarter it gains 2 to 5 %, and with more extra steps products by sums are as fast.
const EXTRA_STEPS: f32 = 0.25;

/// Packs `conv` for AVX2.
pub(super) fn avx2(simd: Avx2, conv: &Conv) -> Box<dyn PackedConv> {
    if let Some(depthwise) = depthwise(Avx2Pairs(simd), conv) {
        return depthwise;
    }
    if let Some(gemv) = Gemv::new(simd, conv) {
        return Box::new(gemv);
    }
    if let Some(winograd) = Winograd::new(simd, conv) {
        return Box::new(winograd);
    }
    if let Some(stem) = Stem::new(simd, conv) {
        return Box::new(stem);
    }
    let [kh, kw] = conv.window.kernel;
    let (runs, run) = if conv.window.dilation[1] == 1 { (kh, kw) } else { (kh * kw, 1) };
    let run = run * conv.input.channels / conv.groups;
    if bytes_pay(conv, runs, run) {
        return dense(Avx2Bytes(simd), conv);
    }
    let vectors = (conv.output.channels / conv.groups).div_ceil(Ymm::LANES);
    // Cycles for a pixel and vector of channels, as measured: products by sums are faster but take whole fours and look
    // at the activations once more.
    let fours = run.div_ceil(4) * 4;
    let look = runs as f32 * (0.19 * fours as f32 + 8.0) + 8.0;
    let by_sums = (runs * fours) as f32 + look / vectors as f32 + 2.0;
    let steps = run.div_ceil(Avx2Pairs::STEP);
    let by_pairs = (runs * steps * 2) as f32 * if pixelwise::takes(vectors, runs, steps) { 1.0 } else { 1.125 };
    if by_pairs < by_sums { dense(Avx2Pairs(simd), conv) } else { dense(simd, conv) }
}

/// Whether few enough weights of `conv` are too large for products of bytes. Its windows have `runs` runs of `run`
/// activations.
fn bytes_pay(conv: &Conv, runs: usize, run: usize) -> bool {
    let steps = conv.output.channels.div_ceil(Ymm::LANES) * runs * run.div_ceil(Avx2Bytes::STEP);
    conv.groups == 1 && split::extra_steps(&conv.weights, runs * run, run) as f32 <= EXTRA_STEPS * steps as f32
}

/// Packs `conv` for a set that multiplies bytes.
pub(super) fn vnni<S: Interleave + Matvec>(simd: S, conv: &Conv) -> Box<dyn PackedConv> {
    if let Some(depthwise) = depthwise(simd, conv) {
        return depthwise;
    }
    match Gemv::new(simd, conv) {
        Some(gemv) => Box::new(gemv),
        None => dense(simd, conv),
    }
}

/// Packs `conv` if it is depthwise.
fn depthwise<S: Interleave>(simd: S, conv: &Conv) -> Option<Box<dyn PackedConv>> {
    if !conv.is_depthwise() {
        return None;
    }
    Some(match Depthwise::new(simd, conv) {
        Some(square) => Box::new(square),
        None => Box::new(Taps::new(simd.avx2(), conv)),
    })
}

/// Packs `conv` without looking for anything special in it.
pub(super) fn dense<S: Simd>(simd: S, conv: &Conv) -> Box<dyn PackedConv> {
    let groups: Vec<Dense<S>> = (0..conv.groups).map(|group| Dense::new(simd, conv, group)).collect();
    let name = format!("conv_u8s8_{}{}__{}", groups[0].tile(), S::KIND, S::ISA);
    Box::new(Grouped { name, channels: conv.output.stride, groups })
}

/// A dense convolution (one group) or one after another those of the groups.
#[derive(Debug)]
struct Grouped<S: Simd> {
    name: String,
    /// Pixel stride of the output.
    channels: usize,
    groups: Vec<Dense<S>>,
}

impl<S: Simd> PackedConv for Grouped<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.groups.iter().map(Dense::weights_bytes).sum()
    }

    fn scratch_bytes(&self) -> usize {
        self.groups.iter().map(Dense::scratch_bytes).max().unwrap_or(0) + channels_scratch(self.channels)
    }

    fn grain(&self) -> usize {
        self.groups[0].grain()
    }

    fn slices(&self) -> usize {
        if self.groups.len() == 1 { self.groups[0].strips() } else { 1 }
    }

    fn slice(&self, slices: Range<usize>) -> Range<usize> {
        self.groups[0].channels_of(&slices)
    }

    fn run_slices(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        output: &mut [u8],
        pixels: Range<usize>,
        slices: Range<usize>,
        scratch: &mut [u8],
    ) {
        let channels = self.slice(slices.clone());
        assert!(self.groups.len() == 1 && output.len() == pixels.len() * channels.len());
        let place = Place { first: channels.start, stride: channels.len() };
        self.groups[0].run_strips(input, residual, Destination::Bytes(output), place, pixels, slices, scratch);
    }

    fn run(&self, input: &[u8], residual: Option<&[u8]>, output: &mut [u8], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.channels);
        for group in &self.groups {
            group.run(input, residual, Destination::Bytes(output), pixels.clone(), scratch);
        }
    }

    fn run_f32(&self, input: &[u8], output: &mut [f32], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.channels);
        for group in &self.groups {
            group.run(input, None, Destination::Floats(output), pixels.clone(), scratch);
        }
    }

    channels_of_whole_pixels!(|layer| layer.channels);
}

/// [`PackedConv::run_channels`] and its twin for numbers, for layers that are not made for them, whose pixels have so many
/// channels.
macro_rules! channels_of_whole_pixels {
    (|$layer:ident| $stride:expr) => {
        fn run_channels(&self, input: &[u8], output: &mut [u8], channels: Range<usize>, scratch: &mut [u8]) {
            let $layer = self;
            super::conv::run_channels(self, $stride, input, output, channels, scratch);
        }

        fn run_channels_f32(&self, input: &[u8], output: &mut [f32], channels: Range<usize>, scratch: &mut [u8]) {
            let $layer = self;
            super::conv::run_channels_f32(self, $stride, input, output, channels, scratch);
        }
    };
}

pub(super) use channels_of_whole_pixels;

/// [`PackedConv::run_channels`] where the whole pixel, `stride` bytes, is computed in scratch.
pub(super) fn run_channels(
    conv: &impl PackedConv,
    stride: usize,
    input: &[u8],
    output: &mut [u8],
    channels: Range<usize>,
    scratch: &mut [u8],
) {
    assert_eq!(output.len(), channels.len());
    let (pixel, scratch) = scratch.split_at_mut(stride);
    conv.run(input, None, pixel, 0..1, scratch);
    output.copy_from_slice(&pixel[channels]);
}

/// The same for numbers.
pub(super) fn run_channels_f32(
    conv: &impl PackedConv,
    stride: usize,
    input: &[u8],
    output: &mut [f32],
    channels: Range<usize>,
    scratch: &mut [u8],
) {
    assert_eq!(output.len(), channels.len());
    let (pixel, scratch) = floats(scratch, stride);
    conv.run_f32(input, pixel, 0..1, scratch);
    output.copy_from_slice(&pixel[channels]);
}

/// `count` numbers from the start of `scratch`, and the rest of it.
pub(super) fn floats(scratch: &mut [u8], count: usize) -> (&mut [f32], &mut [u8]) {
    let skip = scratch.as_ptr().align_offset(align_of::<f32>());
    let (numbers, rest) = scratch[skip..].split_at_mut(count * size_of::<f32>());
    // SAFETY: every pattern of bits is a number; `align_to_mut` sees to the alignment.
    (unsafe { numbers.align_to_mut::<f32>().1 }, rest)
}

/// Bytes of scratch that [`run_channels`] and [`run_channels_f32`] need beside the layer's own.
pub(super) fn channels_scratch(stride: usize) -> usize {
    (stride + 1) * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use super::super::super::{Map, Output, Window};
    use super::*;
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
        // Of 16 steps none, four and five that need an extra one.
        assert_eq!(name(&|_| 64), "conv_u8s8_5x2_bytes__avx2");
        assert_eq!(name(&|i| if i % 16 < 2 { -65 } else { -64 }), "conv_u8s8_5x2_bytes__avx2");
        assert_eq!(name(&|i| if i % 12 < 2 { 127 } else { 1 }), "conv_u8s8_4x2__avx2");
        // Neighbours of different signs add up to less.
        assert_eq!(name(&|i| if i % 2 == 0 { 127 } else { -128 }), "conv_u8s8_5x2_bytes__avx2");
    }
}
