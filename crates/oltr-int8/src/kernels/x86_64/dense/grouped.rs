//! The groups of a dense convolution behind the contract.

use std::ops::Range;

use crate::kernels::contract::PackedConv;
use crate::kernels::x86_64::dense::direct::Direct;
use crate::kernels::x86_64::dot::Dot;
use crate::kernels::x86_64::epilogue::{Destination, Place};
use crate::kernels::x86_64::whole_pixels::{channels_of_whole_pixels, channels_scratch};

/// A dense convolution (one group) or one after another those of the groups.
#[derive(Debug)]
pub(crate) struct Grouped<S: Dot> {
    pub name: String,
    /// Pixel stride of the output.
    pub channels: usize,
    pub groups: Vec<Direct<S>>,
}

impl<S: Dot> PackedConv for Grouped<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.groups.iter().map(Direct::weights_bytes).sum()
    }

    fn scratch_bytes(&self) -> usize {
        self.groups.iter().map(Direct::scratch_bytes).max().unwrap_or(0) + channels_scratch(self.channels)
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
