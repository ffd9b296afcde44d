//! Fully connected layers, and other convolutions with one output pixel: products of a matrix and a vector on AVX2.
//!
//! Each weight is used once, so reading them is what takes the time: they stay bytes in memory, row by row, and are
//! widened on the way. The input is copied and widened once.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::{Conv, PackedConv};
use super::avx2::Avx2;
use super::buffer::{Aligned, align, with_alignment};
use super::epilogue::{Destination, Epilogue};
use super::patch::{OVERRUN, Patch};

/// Weights that a step takes of each row: two steps, for two chains of sums.
const WIDTH: usize = 32;

/// Rows of the matrix that share the loads of the input.
const ROWS: usize = 4;

/// Bytes of weights that are fetched ahead: from the next page, where the processor does not look by itself.
const AHEAD: usize = 4096;

/// A layer of one output pixel, packed.
#[derive(Debug)]
pub(super) struct Gemv {
    avx2: Avx2,
    patch: Patch,
    /// Height and width of the window.
    kernel: [usize; 2],
    /// Steps of a row of the window.
    steps: usize,
    channels: usize,
    /// `[four channels][row of the window][step][channel][WIDTH]`, so that reading is one stream. Zeros behind the end
    /// of a row of the window.
    weights: Aligned<i8>,
    /// `-zero * sum of weights` included.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

impl Gemv {
    /// Packs `conv` if it is such a layer.
    pub fn new(avx2: Avx2, conv: &Conv) -> Option<Gemv> {
        let window = conv.window;
        (conv.output.pixels() == 1 && conv.groups == 1 && window.dilation == [1, 1]).then(|| {
            let [kh, kw] = window.kernel;
            let row = kw * conv.input.channels;
            let steps = row.div_ceil(WIDTH);
            let channels = conv.output.channels;
            let mut weights = Aligned::zeros(channels.next_multiple_of(ROWS) * kh * steps * WIDTH);
            for (i, row) in conv.weights.chunks_exact(row).enumerate() {
                let (channel, window_row) = (i / kh, i % kh);
                for (step, part) in row.chunks(WIDTH).enumerate() {
                    let place = ((channel / ROWS * kh + window_row) * steps + step) * ROWS + channel % ROWS;
                    weights[place * WIDTH..][..part.len()].copy_from_slice(part);
                }
            }
            let bias = conv.weights.chunks_exact(kh * row).zip(&conv.bias).map(|(weights, bias)| {
                let sum: i32 = weights.iter().map(|w| i32::from(*w)).sum();
                bias.wrapping_sub(i32::from(conv.input_zero) * sum)
            });
            Gemv {
                avx2,
                patch: Patch {
                    input: [conv.input.height, conv.input.width],
                    stride: conv.input.stride,
                    first: 0,
                    depth: conv.input.channels,
                    zero: conv.input_zero,
                    take: [1, 1],
                    pad: window.pad,
                },
                kernel: window.kernel,
                steps,
                channels,
                weights,
                bias: Aligned::padded(channels, bias),
                // Eight lanes more, as a part of the channels may begin anywhere.
                epilogue: Epilogue::new(conv, 0..channels, channels.next_multiple_of(8) + 8),
            }
        })
    }

    /// Bytes from one copied row of the window to the next.
    fn pitch(&self) -> usize {
        (self.steps * WIDTH * 2 + OVERRUN).next_multiple_of(OVERRUN)
    }

    /// The sums of channels `channels`, at the start of scratch.
    fn sums<'a>(&self, input: &[u8], channels: Range<usize>, scratch: &'a mut [u8]) -> &'a [i32] {
        assert!(scratch.len() >= self.scratch_bytes() && channels.end <= self.channels);
        let pitch = self.pitch();
        let (copied, sums) = align(scratch).split_at_mut(self.kernel[0] * pitch);
        // SAFETY: every pattern of bits is a number; `align_to_mut` sees to the alignment.
        let sums = unsafe { sums.align_to_mut::<i32>().1 };
        self.patch.copy::<Avx2>(input, [0, 0], self.kernel, pitch, copied);
        let mut at = channels.start;
        while at < channels.end {
            let to = &mut sums[at - channels.start..];
            // SAFETY: the token proves that AVX2 is there; weights and input hold all rows of the window.
            at += unsafe {
                match at.is_multiple_of(ROWS) && channels.end - at >= ROWS {
                    true => self.rows::<ROWS>(at, copied.as_ptr(), to),
                    false => self.rows::<1>(at, copied.as_ptr(), to),
                }
            };
        }
        sums
    }

    /// The sums of channels `first..first + N`, of the same group of four. Returns `N`.
    ///
    /// # Safety
    /// AVX2 is there; the channels exist, and `copied` holds all rows of the window.
    #[target_feature(enable = "avx2")]
    unsafe fn rows<const N: usize>(&self, first: usize, copied: *const u8, to: &mut [i32]) -> usize {
        let group = self.kernel[0] * self.steps * ROWS * WIDTH;
        let mut sums = [[_mm256_setzero_si256(); 2]; N];
        // SAFETY: the caller's.
        unsafe {
            let mut weights = self.weights.as_ptr().add(first / ROWS * group + first % ROWS * WIDTH);
            for window_row in 0..self.kernel[0] {
                let x = copied.add(window_row * self.pitch()).cast::<__m256i>();
                for step in 0..self.steps {
                    for i in 0..2 {
                        let x = _mm256_load_si256(x.add(2 * step + i));
                        for n in 0..N {
                            let w = _mm256_cvtepi8_epi16(_mm_load_si128(weights.add(n * WIDTH + 16 * i).cast()));
                            sums[n][i] = _mm256_add_epi32(sums[n][i], _mm256_madd_epi16(x, w));
                        }
                    }
                    for line in 0..ROWS * WIDTH / 64 {
                        _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(AHEAD + 64 * line));
                    }
                    weights = weights.add(ROWS * WIDTH);
                }
            }
            // The sums of four rows to one vector; with fewer rows some of it is nothing.
            let mut four = [_mm256_setzero_si256(); ROWS];
            for (four, sums) in four.iter_mut().zip(sums) {
                *four = _mm256_add_epi32(sums[0], sums[1]);
            }
            let pairs = [_mm256_hadd_epi32(four[0], four[1]), _mm256_hadd_epi32(four[2], four[3])];
            let sum = _mm256_hadd_epi32(pairs[0], pairs[1]);
            let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let mut all = [0i32; ROWS];
            _mm_storeu_si128(all.as_mut_ptr().cast(), sum);
            for (n, to) in to.iter_mut().enumerate().take(N) {
                *to = all[n].wrapping_add(self.bias[first + n]);
            }
        }
        N
    }

    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        channels: Range<usize>,
        scratch: &mut [u8],
    ) {
        let sums = self.sums(input, channels.clone(), scratch);
        self.epilogue.finish_channels(self.avx2, channels, residual, &mut to, sums);
    }
}

impl PackedConv for Gemv {
    fn name(&self) -> &str {
        "gemv_u8s8_4__avx2"
    }

    fn weights_bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        with_alignment(self.kernel[0] * self.pitch() + (self.channels + 16) * size_of::<i32>())
    }

    fn run(&self, input: &[u8], residual: Option<&[u8]>, output: &mut [u8], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.epilogue.stride());
        if !pixels.is_empty() {
            self.compute(input, residual, Destination::Bytes(output), 0..self.channels, scratch);
        }
    }

    fn run_f32(&self, input: &[u8], output: &mut [f32], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.epilogue.stride());
        if !pixels.is_empty() {
            self.compute(input, None, Destination::Floats(output), 0..self.channels, scratch);
        }
    }

    fn run_channels(&self, input: &[u8], output: &mut [u8], channels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), channels.len());
        self.compute(input, None, Destination::Bytes(output), channels, scratch);
    }

    fn run_channels_f32(&self, input: &[u8], output: &mut [f32], channels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), channels.len());
        self.compute(input, None, Destination::Floats(output), channels, scratch);
    }
}
