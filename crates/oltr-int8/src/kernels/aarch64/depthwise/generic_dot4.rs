//! Depthwise convolutions of most windows with the dot product: four taps of a channel are a quad, whichever they are.
//!
//! Generic outside the map, and those that fill up the last quad, hold the zero point, whose share lies in the bias.

use std::arch::aarch64::*;

use crate::kernels::aarch64::depthwise::blocks::{BLOCK, Blocks, Ends};
use crate::kernels::aarch64::depthwise::dot4::sdot;
use crate::kernels::aarch64::epilogue::STORAGE;
use crate::kernels::aarch64::epilogue::rounding::round;
use crate::kernels::aarch64::isa::DotProduct;
use crate::kernels::contract::{Conv, Job, Map, PackedConv, Window};

/// Generic of a quad.
const QUAD: usize = 4;

/// Most taps of a window, in whole quads: 7×7.
const MOST: usize = 52;

/// A depthwise convolution, packed.
#[derive(Debug)]
pub(crate) struct GenericDot4 {
    name: String,
    input: Map,
    output: Map,
    window: Window,
    /// The zero point of the input as it lies in memory.
    outside: u8,
    /// `[block][quad][channel][tap]`
    weights: Vec<i8>,
    ends: Ends,
}

impl GenericDot4 {
    /// Whether this is a kernel for `conv`: two blocks of channels are computed at a time.
    pub fn fits(conv: &Conv) -> bool {
        conv.output.channels > BLOCK && conv.window.kernel[0] * conv.window.kernel[1] <= MOST
    }

    /// Packs `conv`, which is depthwise and [fits](Self::fits).
    pub fn new(_: DotProduct, conv: &Conv, ends: Ends) -> GenericDot4 {
        assert!(GenericDot4::fits(conv), "a window or a number of channels for another kernel");
        let blocks = Blocks(conv);
        let taps = conv.window.kernel[0] * conv.window.kernel[1];
        let mut weights = Vec::with_capacity(blocks.count() * taps.next_multiple_of(QUAD) * BLOCK);
        for block in 0..blocks.count() {
            for quad in 0..taps.div_ceil(QUAD) {
                let taps: [[i8; BLOCK]; QUAD] = std::array::from_fn(|i| match quad * QUAD + i {
                    tap if tap < taps => blocks.tap(block, tap),
                    _ => [0; BLOCK],
                });
                weights.extend((0..BLOCK).flat_map(|lane| taps.map(|tap| tap[lane])));
            }
        }
        GenericDot4 {
            name: format!("dwconv_s8s8s8_generic_dot4_1x{}__neondot", 2 * BLOCK),
            input: conv.input,
            output: conv.output,
            window: conv.window,
            outside: conv.input_zero ^ STORAGE.mask(),
            weights,
            ends,
        }
    }

    /// Generic of whole quads.
    fn taps(&self) -> usize {
        (self.window.kernel[0] * self.window.kernel[1]).next_multiple_of(QUAD)
    }

    /// Where the taps of output `[y, x]` are: in the map or, beyond its edges and after the last, in `outside`.
    fn positions(&self, [y, x]: [usize; 2], input: &[u8], outside: &[u8]) -> [*const i8; MOST] {
        let along = |axis: usize, at: usize, tap: usize, size: usize| {
            let at = at * self.window.stride[axis] + tap * self.window.dilation[axis];
            at.checked_sub(self.window.pad[axis]).filter(|at| *at < size)
        };
        let [kh, kw] = self.window.kernel;
        let mut positions = [outside.as_ptr().cast(); MOST];
        for (row, positions) in positions.chunks_exact_mut(kw).take(kh).enumerate() {
            let Some(y) = along(0, y, row, self.input.height) else { continue };
            for (column, place) in positions.iter_mut().enumerate() {
                if let Some(x) = along(1, x, column, self.input.width) {
                    *place = input[(y * self.input.width + x) * self.input.stride..].as_ptr().cast();
                }
            }
        }
        positions
    }

    /// The channels of one pixel.
    ///
    /// # Safety
    /// WINDOW. Each place has room for whole blocks of channels.
    #[target_feature(enable = "dotprod")]
    unsafe fn pixel(&self, positions: &[*const i8], to: &mut [u8]) {
        let narrow = self.ends.rounding.load();
        let block = self.taps() * BLOCK;
        let last = self.ends.bias.len() - 2 * BLOCK;
        for lane in (0..=last + BLOCK).step_by(2 * BLOCK) {
            // Where blocks are odd in number, one is computed twice.
            let lane = lane.min(last);
            let weights = &self.weights[lane / BLOCK * block..][..2 * block];
            let (bias, multiplier) = (&self.ends.bias[lane..][..2 * BLOCK], &self.ends.multiplier[lane..][..2 * BLOCK]);
            let to = &mut to[lane..][..2 * BLOCK];
            // SAFETY: the slices are as long as what is loaded and stored; places are WINDOW.
            unsafe {
                let mut sums: [_; 4] = std::array::from_fn(|i| vld1q_s32(bias.as_ptr().add(4 * i)));
                for (quad, positions) in positions.chunks_exact(QUAD).enumerate() {
                    let [a, b, c, d] = [0, 1, 2, 3].map(|i| vld1q_s8(positions[i].add(lane)));
                    let pairs = |of: [int8x16_t; 2]| {
                        [vzip1q_s8(of[0], of[1]), vzip2q_s8(of[0], of[1])].map(|v| vreinterpretq_s16_s8(v))
                    };
                    let (ab, cd) = (pairs([a, b]), pairs([c, d]));
                    for half in 0..2 {
                        let weights = weights.as_ptr().add(half * block + quad * QUAD * BLOCK);
                        let low = vreinterpretq_s8_s16(vzip1q_s16(ab[half], cd[half]));
                        let high = vreinterpretq_s8_s16(vzip2q_s16(ab[half], cd[half]));
                        sums[2 * half] = sdot(sums[2 * half], low, vld1q_s8(weights));
                        sums[2 * half + 1] = sdot(sums[2 * half + 1], high, vld1q_s8(weights.add(16)));
                    }
                }
                let rounded = std::array::from_fn(|i| round(sums[i], vld1q_f32(multiplier.as_ptr().add(4 * i))));
                vst1q_s8(to.as_mut_ptr().cast(), narrow.narrow(rounded));
            }
        }
    }
}

impl PackedConv for GenericDot4 {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.len() + self.ends.bytes()
    }

    /// A place outside the map.
    fn scratch_bytes(&self) -> usize {
        self.input.stride
    }

    fn run(&self, job: Job) {
        job.assert_whole(&self.output);
        let Job { input, pixels, scratch, .. } = job;
        let output = job.output.into_bytes();
        assert!(input.len() >= self.input.volume());
        let outside = &mut scratch[..self.input.stride];
        outside.fill(self.outside);
        for (pixel, to) in pixels.zip(output.chunks_exact_mut(self.output.stride)) {
            let at = [pixel / self.output.width, pixel % self.output.width];
            let positions = self.positions(at, input, outside);
            // SAFETY: that this layer was packed proves that the instructions are there. Pixels of the map have room
            // for whole blocks, and the place outside is one.
            unsafe { self.pixel(&positions[..self.taps()], to) }
        }
    }
}
