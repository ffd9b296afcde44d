//! Parts of the channels of a pixel, for layers that compute whole ones.

use std::ops::Range;

use crate::kernels::contract::PackedConv;

/// [`PackedConv::run_channels`] and its twin for numbers, for layers that are not made for them, whose pixels have so many
/// channels.
macro_rules! channels_of_whole_pixels {
    (|$layer:ident| $stride:expr) => {
        fn run_channels(&self, input: &[u8], output: &mut [u8], channels: Range<usize>, scratch: &mut [u8]) {
            let $layer = self;
            crate::kernels::x86_64::whole_pixels::run_channels(self, $stride, input, output, channels, scratch);
        }

        fn run_channels_f32(&self, input: &[u8], output: &mut [f32], channels: Range<usize>, scratch: &mut [u8]) {
            let $layer = self;
            crate::kernels::x86_64::whole_pixels::run_channels_f32(self, $stride, input, output, channels, scratch);
        }
    };
}

pub(crate) use channels_of_whole_pixels;

/// [`PackedConv::run_channels`] where the whole pixel, `stride` bytes, is computed in scratch.
pub(crate) fn run_channels(
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
pub(crate) fn run_channels_f32(
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
pub(crate) fn floats(scratch: &mut [u8], count: usize) -> (&mut [f32], &mut [u8]) {
    let skip = scratch.as_ptr().align_offset(align_of::<f32>());
    let (numbers, rest) = scratch[skip..].split_at_mut(count * size_of::<f32>());
    // SAFETY: every pattern of bits is a number; `align_to_mut` sees to the alignment.
    (unsafe { numbers.align_to_mut::<f32>().1 }, rest)
}

/// Bytes of scratch that [`run_channels`] and [`run_channels_f32`] need beside the layer's own.
pub(crate) fn channels_scratch(stride: usize) -> usize {
    (stride + 1) * size_of::<f32>()
}
