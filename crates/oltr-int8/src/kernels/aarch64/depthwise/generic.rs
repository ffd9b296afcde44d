//! Depthwise convolutions of any window, tap by tap: products of 16-bit numbers for eight channels, exact for all
//! weights. The zero point is subtracted from activations, so taps outside the map add nothing and are left out.

use std::arch::aarch64::*;

use crate::kernels::aarch64::depthwise::blocks::{BLOCK, Ends};
use crate::kernels::aarch64::epilogue::rounding::{round, to_signed};
use crate::kernels::contract::{Conv, Job, Map, PackedConv, Window};

/// A tap inside the map: where its pixel and where its weights begin.
type Tap = [u32; 2];

/// A depthwise convolution, packed.
#[derive(Debug)]
pub(crate) struct Generic {
    name: String,
    input: Map,
    output: Map,
    window: Window,
    /// The zero point of the input as it lies in memory.
    zero: i8,
    /// `[block][tap][channel]`
    weights: Vec<i16>,
    ends: Ends,
}

impl Generic {
    /// Packs `conv`, which is depthwise.
    pub fn new(conv: &Conv, ends: Ends) -> Generic {
        let [kh, kw] = conv.window.kernel;
        let blocks = conv.output.channels.div_ceil(BLOCK);
        let mut weights = Vec::with_capacity(blocks * kh * kw * BLOCK);
        for block in 0..blocks {
            for tap in 0..kh * kw {
                for channel in block * BLOCK..(block + 1) * BLOCK {
                    weights.push(conv.weights.get(channel * kh * kw + tap).map_or(0, |w| i16::from(*w)));
                }
            }
        }
        Generic {
            name: format!("dwconv_s8s8s8_generic_1x{BLOCK}__neon"),
            input: conv.input,
            output: conv.output,
            window: conv.window,
            zero: to_signed(conv.input_zero) as i8,
            weights,
            ends,
        }
    }

    fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Place of the map under tap `tap` of output `[y, x]`, if it lies inside.
    fn place(&self, [y, x]: [usize; 2], tap: usize) -> Option<usize> {
        let taps = [tap / self.window.kernel[1], tap % self.window.kernel[1]];
        let along = |axis: usize, at: usize, size: usize| {
            let at = at * self.window.stride[axis] + taps[axis] * self.window.dilation[axis];
            at.checked_sub(self.window.pad[axis]).filter(|at| *at < size)
        };
        Some(along(0, y, self.input.height)? * self.input.width + along(1, x, self.input.width)?)
    }

    /// The channels of one pixel, from the taps that lie inside the map.
    fn pixel(&self, input: &[u8], taps: &[Tap], to: &mut [u8]) {
        let narrow = self.ends.rounding.load();
        for (block, weights) in self.weights.chunks_exact(self.taps() * BLOCK).enumerate() {
            let lane = block * BLOCK;
            let (bias, multiplier) = (&self.ends.bias[lane..][..BLOCK], &self.ends.multiplier[lane..][..BLOCK]);
            let (input, to) = (&input[lane..], &mut to[lane..][..BLOCK]);
            // SAFETY: all slices are as long as a block, as is what a tap offers: pixels have room for whole blocks.
            // The offsets of taps lie in the map and in the weights.
            unsafe {
                let zero = vdup_n_s8(self.zero);
                let mut sums = [vld1q_s32(bias.as_ptr()), vld1q_s32(bias[4..].as_ptr())];
                for [place, tap] in taps {
                    let x = vld1_s8(input.as_ptr().add(*place as usize).cast());
                    let x = vsubl_s8(x, zero);
                    let w = vld1q_s16(weights.as_ptr().add(*tap as usize));
                    sums[0] = vmlal_s16(sums[0], vget_low_s16(x), vget_low_s16(w));
                    sums[1] = vmlal_high_s16(sums[1], x, w);
                }
                let rounded = [
                    round(sums[0], vld1q_f32(multiplier.as_ptr())),
                    round(sums[1], vld1q_f32(multiplier[4..].as_ptr())),
                ];
                vst1_s8(to.as_mut_ptr().cast(), narrow.narrow_half(rounded));
            }
        }
    }
}

impl PackedConv for Generic {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.len() * size_of::<i16>() + self.ends.bytes()
    }

    /// The taps inside the map.
    fn scratch_bytes(&self) -> usize {
        self.taps() * size_of::<Tap>() + align_of::<Tap>()
    }

    fn run(&self, job: Job) {
        job.assert_whole(&self.output);
        let Job { input, pixels, scratch, .. } = job;
        let output = job.output.into_bytes();
        assert!(input.len() >= self.input.volume());
        // SAFETY: numbers of which every pattern of bits is one.
        let taps = unsafe { scratch.align_to_mut::<Tap>().1 };
        for (pixel, to) in pixels.zip(output.chunks_exact_mut(self.output.stride)) {
            let at = [pixel / self.output.width, pixel % self.output.width];
            let mut count = 0;
            for tap in 0..self.taps() {
                if let Some(place) = self.place(at, tap) {
                    taps[count] = [(place * self.input.stride) as u32, (tap * BLOCK) as u32];
                    count += 1;
                }
            }
            self.pixel(input, &taps[..count], to);
        }
    }
}
