//! The choice of an algorithm for a convolution, and the algorithms behind the contract.

use std::ops::Range;

use super::super::{Conv, Output, PackedConv};
use super::dense::Dense;
use super::epilogue::Destination;
use super::simd::Simd;

/// Packs `conv` for the set `S`.
pub(super) fn pack<S: Simd>(simd: S, conv: Conv) -> Box<dyn PackedConv> {
    let groups: Vec<Dense<S>> = (0..conv.groups).map(|group| Dense::new(simd, &conv, group)).collect();
    Box::new(Grouped { name: format!("conv_u8s8__{}", S::ISA), channels: conv.output.stride, groups })
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
        self.groups.iter().map(Dense::scratch_bytes).max().unwrap_or(0) + 4 * self.channels
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

    fn run_channels(&self, input: &[u8], output: &mut [u8], channels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), channels.len());
        let (pixel, scratch) = scratch.split_at_mut(self.channels);
        self.run(input, None, pixel, 0..1, scratch);
        output.copy_from_slice(&pixel[channels]);
    }

    fn run_channels_f32(&self, input: &[u8], output: &mut [f32], channels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), channels.len());
        let mut pixel = vec![0.0; self.channels];
        self.run_f32(input, &mut pixel, 0..1, scratch);
        output.copy_from_slice(&pixel[channels]);
    }
}
