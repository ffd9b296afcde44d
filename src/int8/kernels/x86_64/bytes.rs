//! The multiply-add of AVX2 on bytes.

use std::arch::x86_64::*;

use super::super::{Conv, PackedConv};
use super::avx2::{Avx2, Ymm};
use super::conv;
use super::patch;
use super::simd::Simd;
use super::tiles::{self, Pixel, Strip};

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
    const STEP: usize = 4;
    const ELEMENT: usize = 1;
    const WEIGHT: usize = 1;
    const EXACT: bool = true;
    const FETCHES: bool = true;
    const SPLITS: bool = true;
    const KIND: &'static str = "_bytes";
    const ISA: &'static str = "avx2";
    const PIXELS: [usize; 4] = [8, 5, 3, 3];

    fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]) {
        to[lane * 4..][..4].copy_from_slice(&weights.map(|w| w as u8));
    }

    fn weight_products(_: [i16; 4]) -> i32 {
        0
    }

    #[inline(always)]
    unsafe fn activation_products(_: *const u8, _: &[usize], _: usize) -> i32 {
        0
    }

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

    #[target_feature(enable = "avx2")]
    unsafe fn strip(strip: &Strip) {
        // SAFETY: the caller's; AVX2 is enabled.
        unsafe { tiles::strip::<Self>(strip) }
    }

    unsafe fn excess(_: *const u8, _: &mut [Pixel], _: &[usize], _: usize) {}

    fn strips(vectors: usize) -> Vec<usize> {
        Avx2::strips(vectors)
    }

    #[target_feature(enable = "avx2")]
    unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
        // SAFETY: the caller's.
        unsafe { patch::copy_bytes(from, stride, depth, count, to) }
    }

    fn fill(to: &mut [u8], value: u8) {
        to.fill(value);
    }

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        conv::dense(self, conv)
    }

    fn avx2(self) -> Avx2 {
        self.0
    }
}
