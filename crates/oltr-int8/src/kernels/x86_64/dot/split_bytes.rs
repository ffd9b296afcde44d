//! Sets that multiply bytes: what they share, and that of AVX2.

use std::arch::x86_64::*;

use super::super::{Conv, PackedConv};
use super::avx2::{Avx2, Ymm};
use super::conv;
use super::simd::Simd;
use super::tiles::{self, Strip};

/// What sets have in common that take four activations in a step, which stay bytes: their name, their instructions, how they
/// cut vectors into strips and pack convolutions.
macro_rules! bytes_by_fours {
    ($set:literal, $features:literal, $strips:path, $conv:path) => {
        const STEP: usize = 4;
        const ELEMENT: usize = 1;
        const WEIGHT: usize = 1;
        const EXACT: bool = true;
        const ISA: &'static str = $set;

        fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]) {
            to[lane * 4..][..4].copy_from_slice(&weights.map(|w| w as u8));
        }

        #[target_feature(enable = $features)]
        unsafe fn strip(strip: &Strip) {
            // SAFETY: the caller's; the instructions are enabled.
            unsafe { tiles::strip::<Self>(strip) }
        }

        #[target_feature(enable = "avx2")]
        unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
            // SAFETY: the caller's.
            unsafe { super::patch::copy_bytes(from, stride, depth, count, to) }
        }

        fn fill(to: &mut [u8], value: u8) {
            to.fill(value);
        }

        fn strips(vectors: usize) -> Vec<usize> {
            $strips(vectors)
        }

        fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
            $conv(self, conv)
        }

        fn avx2(self) -> Avx2 {
            self.0
        }
    };
}

pub(super) use bytes_by_fours;

/// Products of bytes (`vpmaddubsw`), added in pairs in 16 bits, where they do not saturate because large weights were split
/// ([`super::split`]): three instructions for what takes [`Avx2`] four, half the weights and activations in memory, and
/// no pass over the activations. For layers with few weights to split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2Bytes(pub Avx2);

// SAFETY: with `SPLITS` pairs of products do not saturate; everything else wraps.
unsafe impl Simd for Avx2Bytes {
    type V = Ymm;
    type Activations = __m256i;
    type Weights = __m256i;
    const FETCHES: bool = true;
    const SPLITS: bool = true;
    const KIND: &'static str = "_bytes";
    const PIXELS: [usize; 4] = [8, 5, 3, 3];

    bytes_by_fours!("avx2", "avx2", Avx2::strips, conv::dense);

    #[inline(always)]
    unsafe fn broadcast(from: *const u8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_weights(from: *const u8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_load_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller enables AVX2.
        unsafe {
            let pairs = _mm256_maddubs_epi16(x, w);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
}
