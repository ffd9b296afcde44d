//! Square convolutions with any window on AVX2: taps are taken two by two where they lie, eight channels at a time.
//!
//! The bytes of two taps of the same channel become two neighbouring 16-bit numbers, which `vpmaddwd` multiplies with
//! two weights. A tap outside the map holds the zero point, whose share lies in the bias.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::contract::{Conv, Destination, Job, Map, PackedConv, Storage, Window};
use crate::kernels::x86_64::aligned::{Aligned, align, with_alignment};
use crate::kernels::x86_64::epilogue::Epilogue;
use crate::kernels::x86_64::isa::Avx2;

/// Channels of a block.
const LANES: usize = 8;

/// Outputs whose sums are kept until they are requantised.
const STRIP: usize = 32;

/// Bytes of scratch, but for whole pixels.
const SCRATCH: usize = with_alignment(STRIP * LANES * 4);

/// A depthwise convolution, packed.
#[derive(Debug)]
pub(crate) struct Generic {
    name: String,
    avx2: Avx2,
    input: Map,
    output: Map,
    window: Window,
    /// A tap outside the map.
    outside: [u8; LANES],
    /// `[block][pair of taps][channel][2]`.
    weights: Aligned<i16>,
    /// One for each lane, `-zero * sum of weights` included.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

impl Generic {
    /// Packs `conv`, which is depthwise.
    pub fn new(avx2: Avx2, conv: &Conv) -> Generic {
        let taps = conv.window.kernel[0] * conv.window.kernel[1];
        let channels = conv.output.channels;
        let lanes = channels.next_multiple_of(LANES);
        let weight = |channel: usize, tap: usize| match tap < taps && channel < channels {
            true => i16::from(conv.weights[channel * taps + tap]),
            false => 0,
        };
        let mut weights = Vec::new();
        for block in (0..lanes).step_by(LANES) {
            for tap in (0..taps).step_by(2) {
                for channel in block..block + LANES {
                    weights.extend([weight(channel, tap), weight(channel, tap + 1)]);
                }
            }
        }
        let bias = (0..channels).map(|channel| {
            let sum: i32 = conv.weights[channel * taps..][..taps].iter().map(|w| i32::from(*w)).sum();
            conv.bias[channel].wrapping_sub(i32::from(conv.input_zero) * sum)
        });
        Generic {
            name: format!("dwconv_u8s8{}_generic_1x{LANES}__avx2", conv.result.dtype(Storage::Unsigned)),
            avx2,
            input: conv.input,
            output: conv.output,
            window: conv.window,
            outside: [conv.input_zero; LANES],
            weights: Aligned::padded(weights.len(), weights.iter().copied()),
            bias: Aligned::padded(lanes, bias),
            epilogue: Epilogue::new(conv, 0..channels, lanes),
        }
    }

    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        pixels: Range<usize>,
        scratch: &mut [u8],
    ) {
        assert!(input.len() >= self.input.volume() && scratch.len() >= SCRATCH);
        assert!(pixels.end <= self.output.pixels());
        // SAFETY: every pattern of bits is a number; `align_to_mut` sees to the alignment.
        let sums = unsafe { align(scratch).align_to_mut::<i32>().1 };
        for first in pixels.clone().step_by(STRIP) {
            let count = STRIP.min(pixels.end - first);
            for lane in (0..self.output.channels).step_by(LANES) {
                for (i, sums) in sums.chunks_exact_mut(LANES).enumerate().take(count) {
                    // SAFETY: the token proves that AVX2 is there.
                    unsafe { self.sum(input, first + i, lane, sums) };
                }
                let mut to = to.part((first - pixels.start) * self.output.stride);
                let (lanes, map) = (lane..lane + LANES, self.epilogue.map());
                self.epilogue.finish_sums(self.avx2, &lanes, count, first, residual, map, &mut to, sums);
            }
        }
    }

    /// The sums of output pixel `pixel` for eight channels from `lane` on.
    #[target_feature(enable = "avx2")]
    fn sum(&self, input: &[u8], pixel: usize, lane: usize, sums: &mut [i32]) {
        let [kh, kw] = self.window.kernel;
        let at = [pixel / self.output.width, pixel % self.output.width];
        // Channels that can be read: eight, or fewer where a pixel ends.
        let channels = LANES.min(self.input.stride - lane);
        let tap = |tap: usize| -> &[u8] {
            let place = |axis: usize, tap: usize| {
                (at[axis] * self.window.stride[axis] + tap * self.window.dilation[axis])
                    .checked_sub(self.window.pad[axis])
            };
            match (place(0, tap / kw), place(1, tap % kw)) {
                (Some(row), Some(column)) if row < self.input.height && column < self.input.width && tap < kh * kw => {
                    &input[(row * self.input.width + column) * self.input.stride + lane..][..channels]
                }
                _ => &self.outside,
            }
        };
        let pairs = (kh * kw).div_ceil(2);
        let weights = &self.weights[lane / LANES * pairs * LANES * 2..][..pairs * LANES * 2];
        let bias = &self.bias[lane..lane + LANES];
        assert_eq!(sums.len(), LANES);
        // SAFETY: all slices were cut to whole vectors.
        unsafe {
            let mut sum = _mm256_loadu_si256(bias.as_ptr().cast());
            for (pair, weights) in weights.chunks_exact(LANES * 2).enumerate() {
                let [first, second] = [load(tap(2 * pair)), load(tap(2 * pair + 1))];
                let values = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, second));
                let weights = _mm256_loadu_si256(weights.as_ptr().cast());
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(values, weights));
            }
            _mm256_storeu_si256(sums.as_mut_ptr().cast(), sum);
        }
    }
}

/// Up to eight bytes, then zeros.
#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8]) -> __m128i {
    let mut all = [0u8; LANES];
    match <[u8; LANES]>::try_from(bytes) {
        Ok(whole) => all = whole,
        Err(_) => all[..bytes.len()].copy_from_slice(bytes),
    }
    _mm_cvtsi64_si128(i64::from_le_bytes(all))
}

impl PackedConv for Generic {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        SCRATCH
    }

    fn run(&self, job: Job) {
        job.assert_whole(&self.output);
        self.compute(job.input, job.residual, job.output, job.pixels, job.scratch);
    }
}
