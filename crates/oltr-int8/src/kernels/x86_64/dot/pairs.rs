//! The plain multiply-add of AVX2.

use std::arch::x86_64::*;

use crate::kernels::x86_64::dense::strip::Strip;
use crate::kernels::x86_64::dense::{activations_in_registers, tiles};
use crate::kernels::x86_64::depthwise::square;
use crate::kernels::x86_64::depthwise::square::Interleave;
use crate::kernels::x86_64::dot::by_sums::BySums;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::isa::{Avx2, WithAvx2};
use crate::kernels::x86_64::vector::ymm::Ymm;

/// The plain form, two activations in a step: for layers with so few activations to sum over that the pass that
/// [`Avx2`] makes over them would cost more than it saves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pairs(pub Avx2);

impl WithAvx2 for Pairs {
    fn avx2(self) -> Avx2 {
        self.0
    }
}

// SAFETY: products of bytes fit 16 bits, and their sums 32.
unsafe impl Dot for Pairs {
    const KIND: &'static str = "pairs";
    type V = Ymm;
    type Activations = __m256i;
    type Weights = __m256i;
    const STEP: usize = 2;
    const ELEMENT: usize = 2;
    const WEIGHT: usize = 2;
    const EXACT: bool = true;
    const FETCHES: bool = true;
    const ISA: &'static str = "avx2";
    const PIXELS: [usize; 4] = [8, 6, 3, 3];

    fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]) {
        to[lane * 4..][..2].copy_from_slice(&weights[0].to_le_bytes());
        to[lane * 4 + 2..][..2].copy_from_slice(&weights[1].to_le_bytes());
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const u8) -> __m256i {
        // SAFETY: ENABLED and STEP_IN.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_weights(from: *const u8) -> __m256i {
        // SAFETY: ENABLED and WEIGHTS_IN.
        unsafe { _mm256_load_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: ENABLED.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(x, w)) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn strip(strip: &Strip) {
        // SAFETY: ENABLED and STRIP.
        unsafe { tiles::strip::<Pairs>(strip) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn few_steps(strip: &Strip) -> bool {
        // SAFETY: ENABLED and STRIP.
        unsafe { activations_in_registers::strip::<Pairs>(strip) }
    }

    fn strips(vectors: usize) -> Vec<usize> {
        BySums::strips(vectors)
    }

    fn strips_of(vectors: usize, runs: usize, steps: usize) -> Vec<usize> {
        if activations_in_registers::takes(vectors, runs, steps) {
            tiles::strips_of_four(vectors)
        } else {
            Self::strips(vectors)
        }
    }

    fn pixels_of(vectors: usize, runs: usize, steps: usize) -> usize {
        if activations_in_registers::takes(vectors, runs, steps) { 1 } else { Self::PIXELS[vectors - 1] }
    }

    unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
        // SAFETY: ENABLED; both slices are checked.
        unsafe { BySums::widen(from, stride, depth, count, to) }
    }

    fn fill(to: &mut [u8], value: u8) {
        BySums::fill(to, value);
    }
}

// SAFETY: partial pixels go through a buffer, of which `count` bytes are copied.
unsafe impl Interleave for Pairs {
    const SIDE: usize = 4;

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [__m256i; 4] {
        // SAFETY: ENABLED and CHANNELS_IN.
        unsafe {
            let [above, below] = [load_first(rows[0], count), load_first(rows[1], count)];
            let (low, high) = (_mm256_unpacklo_epi16(above, below), _mm256_unpackhi_epi16(above, below));
            [low, high, low, high]
        }
    }

    #[inline(always)]
    unsafe fn store_pixels(bytes: __m256i, to: *mut u8, stride: usize, pixels: usize, count: usize) {
        // SAFETY: ENABLED and CHANNELS_OUT.
        unsafe {
            // Eight channels of both pixels, then the other eight: each pixel's to itself.
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(bytes);
            let both = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
            for (pixel, bytes) in both.into_iter().enumerate() {
                if pixel < pixels && count >= 16 {
                    _mm_storeu_si128(to.add(pixel * stride).cast(), bytes);
                } else if pixel < pixels {
                    let mut all = [0u8; 16];
                    _mm_storeu_si128(all.as_mut_ptr().cast(), bytes);
                    std::ptr::copy_nonoverlapping(all.as_ptr(), to.add(pixel * stride), count);
                }
            }
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn depthwise(strip: &square::Strip, window: [usize; 2]) {
        // SAFETY: ENABLED and ROWS_STRIP.
        unsafe { square::strip::<Self>(strip, window) }
    }
}

/// The first `count` bytes of 16, then zeros, widened.
///
/// # Safety
/// ENABLED and CHANNELS_IN. AVX2 is enabled in the caller; so many bytes can be read.
#[inline(always)]
unsafe fn load_first(from: *const u8, count: usize) -> __m256i {
    // SAFETY: ENABLED and CHANNELS_IN.
    unsafe {
        if count >= 16 {
            return _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast()));
        }
        let mut bytes = [0u8; 16];
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
        _mm256_cvtepu8_epi16(_mm_loadu_si128(bytes.as_ptr().cast()))
    }
}
