//! Products of bytes on AVX2.

use std::arch::x86_64::*;

use crate::kernels::x86_64::dot::by_fours::bytes_by_fours;
use crate::kernels::x86_64::dot::by_sums::BySums;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::isa::{Avx2, WithAvx2};
use crate::kernels::x86_64::vector::ymm::Ymm;

/// Products of bytes (`vpmaddubsw`), added in pairs in 16 bits, where they do not saturate because large weights were split
/// ([`crate::kernels::x86_64::dense::saturation_split`]): three instructions for what takes [`Avx2`] four, half the weights and activations in memory, and
/// no pass over the activations. For layers with few weights to split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitBytes(pub Avx2);

impl WithAvx2 for SplitBytes {
    fn avx2(self) -> Avx2 {
        self.0
    }
}

// SAFETY: with `SPLITS` pairs of products do not saturate; everything else wraps.
unsafe impl Dot for SplitBytes {
    const KIND: &'static str = "split_bytes";
    type V = Ymm;
    type Activations = __m256i;
    type Weights = __m256i;
    const FETCHES: bool = true;
    const SPLITS: bool = true;
    const PIXELS: [usize; 4] = [8, 5, 3, 3];

    bytes_by_fours!("avx2", "avx2", BySums::strips);

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
        unsafe {
            let pairs = _mm256_maddubs_epi16(x, w);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
}
