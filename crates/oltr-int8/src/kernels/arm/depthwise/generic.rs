//! Depthwise convolutions of any window, tap by tap: products of 16-bit numbers for eight channels, exact for all
//! weights. The zero point is subtracted from activations, so taps outside the map add nothing and are left out.

use std::arch::asm;

use crate::kernels::arm::epilogue::rounding::{Four, Rounding};
use crate::kernels::arm::isa::Neon;
use crate::kernels::contract::{Conv, Job, KernelSet, Map, Output, PackedConv, Storage, Window};
use crate::kernels::scalar::SIGNED;

/// Channels of a block.
const BLOCK: usize = 8;

/// A tap inside the map: bytes to its pixel, and to its weights.
type Tap = [u32; 2];

/// Packs `conv`, which is depthwise.
pub(crate) fn pack(neon: Neon, conv: Conv) -> Box<dyn PackedConv> {
    let room = conv.input.stride.min(conv.output.stride);
    match &conv.result {
        // Blocks of channels need room in each pixel.
        Output::Bytes(requant, None) if conv.output.channels.next_multiple_of(BLOCK) <= room => {
            let rounding = Rounding::new(requant.zero_point, requant.lo, requant.hi);
            Box::new(Generic::new(neon, &conv, &requant.multiplier, rounding))
        }
        _ => SIGNED.conv(conv),
    }
}

/// A depthwise convolution, packed.
#[derive(Debug)]
struct Generic {
    neon: Neon,
    input: Map,
    output: Map,
    window: Window,
    /// The zero point of the input as it lies in memory.
    zero: i8,
    /// `[block][tap][channel]`
    weights: Vec<i16>,
    /// One for each channel of whole blocks.
    bias: Vec<i32>,
    multiplier: Vec<f32>,
    rounding: Rounding,
}

impl Generic {
    fn new(neon: Neon, conv: &Conv, multiplier: &[f32], rounding: Rounding) -> Generic {
        let [kh, kw] = conv.window.kernel;
        let lanes = conv.output.channels.next_multiple_of(BLOCK);
        let mut weights = Vec::with_capacity(lanes * kh * kw);
        for first in (0..lanes).step_by(BLOCK) {
            for tap in 0..kh * kw {
                for channel in first..first + BLOCK {
                    weights.push(conv.weights.get(channel * kh * kw + tap).map_or(0, |weight| i16::from(*weight)));
                }
            }
        }
        let (mut bias, mut multiplier) = (conv.bias.clone(), multiplier.to_vec());
        bias.resize(lanes, 0);
        multiplier.resize(lanes, 0.0);
        let zero = (conv.input_zero ^ Storage::Signed.mask()) as i8;
        Generic {
            neon,
            input: conv.input,
            output: conv.output,
            window: conv.window,
            zero,
            weights,
            bias,
            multiplier,
            rounding,
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
        let mask = Storage::Signed.mask();
        for (block, weights) in self.weights.chunks_exact(self.taps() * BLOCK).enumerate() {
            let lane = block * BLOCK;
            let sums = sums(self.neon, &input[lane..], taps, weights, self.zero);
            for (half, sums) in sums.iter().enumerate() {
                let at = lane + half * 4;
                let bias: &Four = self.bias[at..].first_chunk().expect("whole blocks");
                let multiplier = self.multiplier[at..].first_chunk().expect("whole blocks");
                let bytes = self.rounding.bytes(self.neon, sums, bias, multiplier);
                to[at..][..4].copy_from_slice(&bytes.map(|byte| byte ^ mask));
            }
        }
    }
}

/// The sums of products of eight channels over taps. A window may lie outside the map, so that there are none.
#[inline(always)]
fn sums(_: Neon, input: &[u8], taps: &[Tap], weights: &[i16], zero: i8) -> [Four; 2] {
    let mut sums = [[0; 4]; 2];
    if taps.is_empty() {
        return sums;
    }
    let ends = taps.as_ptr_range();
    // SAFETY: the value given proves that the processor has NEON. The places of taps lie in the map, whose pixels have
    // room for whole blocks, and in the weights of the block; the loop ends at the end of the taps, of which there are.
    unsafe {
        asm!(
            ".fpu neon",
            "vdup.8 d30, {zero}",
            "vmov.i32 q8, #0",
            "vmov.i32 q9, #0",
            "2:",
            "ldr {x}, [{at}], #4",
            "ldr {w}, [{at}], #4",
            "add {x}, {x}, {input}",
            "add {w}, {w}, {weights}",
            "vld1.8 {{d0}}, [{x}]",
            "vld1.16 {{d2-d3}}, [{w}]",
            "vsubl.s8 q2, d0, d30",
            "cmp {at}, {end}",
            "vmlal.s16 q8, d4, d2",
            "vmlal.s16 q9, d5, d3",
            "bne 2b",
            "vst1.32 {{d16-d19}}, [{sums}]",
            zero = in(reg) i32::from(zero),
            at = inout(reg) ends.start => _,
            end = in(reg) ends.end,
            input = in(reg) input.as_ptr(),
            weights = in(reg) weights.as_ptr(),
            sums = in(reg) &mut sums,
            x = out(reg) _,
            w = out(reg) _,
            out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d4") _, out("d5") _, out("q8") _, out("q9") _,
            out("q15") _,
            options(nostack),
        );
    }
    sums
}

impl PackedConv for Generic {
    fn name(&self) -> &str {
        "dwconv_s8s8s8_generic_1x8__neon"
    }

    fn weights_bytes(&self) -> usize {
        size_of_val(&self.weights[..]) + size_of_val(&self.bias[..]) + size_of_val(&self.multiplier[..])
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
                    taps[count] = [(place * self.input.stride) as u32, (tap * BLOCK * size_of::<i16>()) as u32];
                    count += 1;
                }
            }
            self.pixel(input, &taps[..count], to);
        }
    }
}
