//! Convolutions with channels to sum over: tiles of two pixels by four channels.
//!
//! Both sides have 16 successive terms of the sum in a vector. `vmull` and `vmlal` make eight 16-bit sums of two
//! products each, which `vpadal` adds to four 32-bit ones; at the end those of a channel are added up.
//!
//! Two products of bytes fit 16 bits unless both weights are -128 and both activations too. Where two such weights
//! meet, the chunk is taken twice, each time with one half of its weights.

use std::arch::asm;
use std::ops::Range;

use crate::kernels::arm::epilogue::rounding::{Four, Rounding};
use crate::kernels::arm::isa::Neon;
use crate::kernels::contract::{Conv, Cuts, Destination, Job, Map, Output, PackedConv, Residual, Storage};
use crate::kernels::window::{CHUNK, Chunk, Pixels, Windows, chunks};
use crate::quant::Requant;

/// Channels and pixels of a tile.
const CHANNELS: usize = 4;
const PIXELS: usize = 2;

/// Bytes of a tile's weights for a chunk.
const BLOCK: usize = CHANNELS * CHUNK;

/// Terms of a chunk that are added up in different lanes.
const HALF: usize = CHUNK / 2;

/// A dense convolution, or one after another those of the groups.
#[derive(Debug)]
pub(crate) struct Direct {
    name: String,
    neon: Neon,
    output: Map,
    result: Output,
    groups: Vec<Group>,
    /// One for each channel, then zeros for a last tile to read.
    multiplier: Vec<f32>,
}

/// One group of a convolution.
#[derive(Debug)]
struct Group {
    windows: Windows,
    /// Its channels.
    channels: Range<usize>,
    quads: Vec<Quad>,
    /// Bytes from a pixel's address to each chunk, for all quads.
    offsets: Vec<u32>,
    /// `[chunk][channel][16]`, chunks in the order of their offsets.
    weights: Vec<i8>,
}

/// Four channels of a group.
#[derive(Debug)]
struct Quad {
    /// In the offsets.
    chunks: Range<usize>,
    /// What activations of 0 do not yet stand for included.
    bias: Four,
}

impl Direct {
    /// Packs `conv`.
    pub fn new(neon: Neon, conv: Conv) -> Direct {
        let groups = (0..conv.groups).map(|group| Group::new(&conv, group)).collect();
        let mut multiplier = match &conv.result {
            Output::Bytes(requant, _) => requant.multiplier.clone(),
            Output::F32(multiplier) => multiplier.clone(),
        };
        multiplier.resize(conv.output.channels + CHANNELS, 0.0);
        let name = format!("conv_s8s8{}_widening_2x4__neon", conv.result.dtype(Storage::Signed));
        Direct { name, neon, output: conv.output, result: conv.result, groups, multiplier }
    }

    /// Calls `f` with the number of each pixel among `pixels`, the first of some channels and their sums and biases,
    /// for the tiles of the channels `wanted`.
    #[inline(always)]
    fn each(
        &self,
        input: &[u8],
        pixels: Range<usize>,
        wanted: Range<usize>,
        scratch: &mut [u8],
        mut f: impl FnMut(usize, Range<usize>, &Four, &Four),
    ) {
        for group in &self.groups {
            let mut left = pixels.clone();
            while !left.is_empty() {
                let block = group.windows.block(&left);
                let gathered = group.windows.gather(input, &block, scratch);
                for (number, quad) in group.quads.iter().enumerate() {
                    let first = group.channels.start + number * CHANNELS;
                    let channels = first..(first + CHANNELS).min(group.channels.end);
                    if channels.end <= wanted.start || channels.start >= wanted.end {
                        continue;
                    }
                    for (pair, addresses) in gathered.chunks(PIXELS).enumerate() {
                        let sums = group.tile(self.neon, quad, addresses);
                        for (place, sums) in sums.iter().enumerate().take(addresses.len()) {
                            f(block.first + pair * PIXELS + place, channels.clone(), sums, &quad.bias);
                        }
                    }
                }
                left.start += block.pixels();
            }
        }
    }

    /// The multipliers of four channels from `first` on.
    fn multipliers(&self, first: usize) -> &[f32; CHANNELS] {
        self.multiplier[first..].first_chunk().expect("padded by a tile")
    }

    /// Computes the bytes of channels `wanted`; `to` begins at the first of them, of the first pixel.
    #[expect(clippy::too_many_arguments)]
    fn bytes(
        &self,
        input: &[u8],
        requant: &Requant,
        added: Option<(&Residual, &[u8])>,
        to: &mut [u8],
        [pixels, wanted]: [Range<usize>; 2],
        stride: usize,
        scratch: &mut [u8],
    ) {
        let mask = Storage::Signed.mask();
        let rounding = Rounding::new(requant.zero_point, requant.lo, requant.hi);
        let first = pixels.start;
        // Most tiles are whole, without anything added: they are written at once.
        let all = added.is_none() && wanted == (0..self.output.channels);
        self.each(input, pixels, wanted.clone(), scratch, |pixel, channels, sums, bias| {
            let bytes = rounding.bytes(self.neon, sums, bias, self.multipliers(channels.start));
            if all && channels.len() == CHANNELS {
                let at = (pixel - first) * stride + channels.start;
                to[at..][..CHANNELS].copy_from_slice(&bytes.map(|byte| byte ^ mask));
                return;
            }
            for (channel, byte) in channels.zip(bytes).filter(|(channel, _)| wanted.contains(channel)) {
                let byte = match added {
                    Some((r, b)) => r.add.apply(byte, b[pixel * r.stride + channel] ^ mask),
                    None => byte,
                };
                to[(pixel - first) * stride + channel - wanted.start] = byte ^ mask;
            }
        });
    }

    /// Computes the f32 values of channels `wanted`; `to` begins at the first of them, of the first pixel.
    fn floats(
        &self,
        input: &[u8],
        multiplier: &[f32],
        to: &mut [f32],
        [pixels, wanted]: [Range<usize>; 2],
        stride: usize,
        scratch: &mut [u8],
    ) {
        let first = pixels.start;
        self.each(input, pixels, wanted.clone(), scratch, |pixel, channels, sums, bias| {
            for (lane, channel) in channels.enumerate().filter(|(_, channel)| wanted.contains(channel)) {
                let sum = sums[lane].wrapping_add(bias[lane]);
                to[(pixel - first) * stride + channel - wanted.start] = sum as f32 * multiplier[channel];
            }
        });
    }
}

impl Group {
    fn new(conv: &Conv, group: usize) -> Group {
        let [kh, kw] = conv.window.kernel;
        let positions = kh * kw * conv.input.channels / conv.groups;
        let count = conv.output.channels / conv.groups;
        let channels = group * count..(group + 1) * count;
        let windows = Windows::new(conv, group);
        let all = chunks(windows.runs());
        let mut packed =
            Group { windows, channels: channels.clone(), quads: Vec::new(), offsets: Vec::new(), weights: Vec::new() };
        // The bytes are multiplied as they lie in memory, the zero point not subtracted.
        let zero = i32::from(conv.input_zero) - 128;
        for first in channels.clone().step_by(CHANNELS) {
            let weights_of = |lane: usize| {
                let channel = first + lane;
                if channel < channels.end { &conv.weights[channel * positions..][..positions] } else { &[] }
            };
            let bias = std::array::from_fn(|lane| {
                let sum: i32 = weights_of(lane).iter().map(|weight| i32::from(*weight)).sum();
                let bias = if first + lane < channels.end { conv.bias[first + lane] } else { 0 };
                bias.wrapping_sub(zero.wrapping_mul(sum))
            });
            let start = packed.offsets.len();
            for chunk in &all {
                let weights = std::array::from_fn(|lane| padded(weights_of(lane), chunk));
                packed.push(chunk.offset, weights);
            }
            packed.quads.push(Quad { chunks: start..packed.offsets.len(), bias });
        }
        packed
    }

    /// Adds the weights of four channels at a chunk, or one after the other its halves where products would not fit.
    fn push(&mut self, offset: u32, weights: [[i8; CHUNK]; CHANNELS]) {
        let too_large = |w: &[i8; CHUNK]| (0..HALF).any(|at| w[at] == i8::MIN && w[at + HALF] == i8::MIN);
        let parts = if weights.iter().any(too_large) { vec![0..HALF, HALF..CHUNK] } else { vec![0..CHUNK] };
        for part in parts {
            self.offsets.push(offset);
            for channel in &weights {
                self.weights.extend((0..CHUNK).map(|at| if part.contains(&at) { channel[at] } else { 0 }));
            }
        }
    }

    /// The sums of four channels at one pixel or two.
    #[inline(always)]
    fn tile(&self, _: Neon, quad: &Quad, pixels: Pixels) -> [Four; PIXELS] {
        let offsets = self.offsets[quad.chunks.clone()].as_ptr_range();
        let weights = &self.weights[quad.chunks.start * BLOCK..quad.chunks.end * BLOCK];
        let mut sums = [[0; CHANNELS]; PIXELS];
        let [first, second] = [pixels[0], pixels[pixels.len() - 1]];
        // SAFETY: the value given proves that the processor has NEON. A window has a chunk, so that the loop ends at
        // the end of the offsets; for each there are the weights of a block, and from the addresses of pixels each
        // chunk can be read in full: the weights were packed for the chunks of these windows.
        unsafe {
            asm!(
                ".fpu neon",
                "vmov.i32 q8, #0", "vmov.i32 q9, #0", "vmov.i32 q10, #0", "vmov.i32 q11, #0",
                "vmov.i32 q12, #0", "vmov.i32 q13, #0", "vmov.i32 q14, #0", "vmov.i32 q15, #0",
                "2:",
                "ldr {offset}, [{at}], #4",
                "vld1.8 {{d4-d7}}, [{weights}]!",
                "add {x}, {first}, {offset}",
                "add {offset}, {second}, {offset}",
                "vld1.8 {{d0-d1}}, [{x}]",
                "vld1.8 {{d2-d3}}, [{offset}]",
                "vmull.s8 q4, d0, d4",
                "vmull.s8 q5, d2, d4",
                "vmull.s8 q6, d0, d6",
                "vmull.s8 q7, d2, d6",
                "vmlal.s8 q4, d1, d5",
                "vmlal.s8 q5, d3, d5",
                "vmlal.s8 q6, d1, d7",
                "vmlal.s8 q7, d3, d7",
                "vld1.8 {{d4-d7}}, [{weights}]!",
                "vpadal.s16 q8, q4",
                "vpadal.s16 q12, q5",
                "vpadal.s16 q9, q6",
                "vpadal.s16 q13, q7",
                "vmull.s8 q4, d0, d4",
                "vmull.s8 q5, d2, d4",
                "vmull.s8 q6, d0, d6",
                "vmull.s8 q7, d2, d6",
                "vmlal.s8 q4, d1, d5",
                "vmlal.s8 q5, d3, d5",
                "vmlal.s8 q6, d1, d7",
                "vmlal.s8 q7, d3, d7",
                "cmp {at}, {end}",
                "vpadal.s16 q10, q4",
                "vpadal.s16 q14, q5",
                "vpadal.s16 q11, q6",
                "vpadal.s16 q15, q7",
                "bne 2b",
                // Four lanes of four channels become four sums; then those of the second pixel.
                "vpadd.i32 d16, d16, d17", "vpadd.i32 d17, d18, d19", "vpadd.i32 d20, d20, d21",
                "vpadd.i32 d21, d22, d23", "vpadd.i32 d16, d16, d17", "vpadd.i32 d17, d20, d21",
                "vpadd.i32 d24, d24, d25", "vpadd.i32 d25, d26, d27", "vpadd.i32 d28, d28, d29",
                "vpadd.i32 d29, d30, d31", "vpadd.i32 d18, d24, d25", "vpadd.i32 d19, d28, d29",
                "vst1.32 {{d16-d19}}, [{sums}]",
                at = inout(reg) offsets.start => _,
                end = in(reg) offsets.end,
                weights = inout(reg) weights.as_ptr() => _,
                first = in(reg) first,
                second = in(reg) second,
                sums = in(reg) &mut sums,
                offset = out(reg) _,
                x = out(reg) _,
                out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d4") _, out("d5") _, out("d6") _,
                out("d7") _, out("d8") _, out("d9") _, out("d10") _, out("d11") _, out("d12") _, out("d13") _,
                out("d14") _, out("d15") _, out("q8") _, out("q9") _, out("q10") _, out("q11") _, out("q12") _,
                out("q13") _, out("q14") _, out("q15") _,
                options(nostack),
            );
        }
        sums
    }
}

/// The weights of a channel at a chunk; 0 where there is none.
fn padded(weights: &[i8], chunk: &Chunk) -> [i8; CHUNK] {
    std::array::from_fn(|at| if at < chunk.len { weights.get(chunk.place + at).copied().unwrap_or(0) } else { 0 })
}

impl PackedConv for Direct {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        let group = |group: &Group| group.weights.len() + size_of_val(&group.offsets[..]) + 16 * group.quads.len();
        self.groups.iter().map(group).sum::<usize>() + size_of_val(&self.multiplier[..])
    }

    fn scratch_bytes(&self) -> usize {
        self.groups.iter().map(|group| group.windows.scratch_bytes()).max().unwrap_or(0)
    }

    fn cuts(&self) -> Cuts<'_> {
        Cuts::Anywhere
    }

    fn run(&self, job: Job) {
        let stride = job.channels.as_ref().map_or(self.output.stride, Range::len);
        assert_eq!(job.output.len(), job.pixels.len() * stride);
        let parts = [job.pixels, job.channels.unwrap_or(0..self.output.channels)];
        match (job.output, &self.result) {
            (Destination::Bytes(to), Output::Bytes(requant, addition)) => {
                self.bytes(job.input, requant, addition.as_ref().zip(job.residual), to, parts, stride, job.scratch);
            }
            (Destination::F32(to), Output::F32(multiplier)) => {
                self.floats(job.input, multiplier, to, parts, stride, job.scratch);
            }
            _ => panic!("a layer yields either bytes or f32 values, and its destination is of that kind"),
        }
    }
}
