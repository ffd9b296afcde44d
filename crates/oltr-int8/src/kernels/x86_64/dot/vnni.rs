//! AVX-VNNI and AVX-512-VNNI: one instruction multiplies four bytes by four bytes and adds all to a sum, exactly.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::{Conv, Map, PAIRS, PackedConv, PairRow};
use super::avx2::{Avx2, Ymm, totals};
use super::bytes::bytes_by_fours;
use super::conv;
use super::depthwise::{self, Interleave};
use super::gemv::{self, Matvec, ROWS, Stream};
use super::held;
use super::products;
use super::quantise;
use super::simd::Simd;
use super::tiles::{self, Strip};
use super::vectors::{Addition, Rounding, Vectors};
use crate::quant::Quant;

/// The proof that the processor has AVX-VNNI.
#[derive(Clone, Copy, Debug)]
pub(super) struct AvxVnni(Avx2);

impl AvxVnni {
    pub fn new() -> Option<AvxVnni> {
        is_x86_feature_detected!("avxvnni").then(Avx2::new).flatten().map(AvxVnni)
    }
}

/// The proof that the processor has AVX-512-VNNI, with AVX-512-BW.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Vnni(Avx2);

impl Avx512Vnni {
    pub fn new() -> Option<Avx512Vnni> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        all.then(Avx2::new).flatten().map(Avx512Vnni)
    }
}

// SAFETY: `vpdpbusd` does not saturate (`vpdpbusds` does).
unsafe impl Simd for AvxVnni {
    type V = Ymm;
    type Activations = __m256i;
    type Weights = __m256i;
    /// 3 pixels by 4 vectors reach the peak, 2 × 4 and 4 × 2 93 %; larger tiles spill (16 registers).
    const PIXELS: [usize; 4] = [8, 4, 3, 3];

    bytes_by_fours!("avxvnni", "avx2,avxvnni", tiles::strips_of_four, conv::vnni);

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
        // SAFETY: the caller enables AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(sums, x, w) }
    }
}

// SAFETY: as for `AvxVnni`.
unsafe impl Simd for Avx512Vnni {
    type V = Zmm;
    type Activations = __m512i;
    type Weights = __m512i;
    /// By measurement on Zen 5: 4 × 4 divides the rows of 56 and 28 pixels, and more than 20 sums leave no registers for
    /// weights to come in time.
    const PIXELS: [usize; 4] = [12, 10, 6, 4];

    bytes_by_fours!("avx512vnni", "avx2,avx512f,avx512bw,avx512vnni", tiles::strips_of_four, conv::vnni);

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    unsafe fn few_steps(strip: &Strip) -> bool {
        // SAFETY: the caller's; the instructions are enabled.
        unsafe { held::strip::<Self>(strip) }
    }

    fn quantise(self, quant: Quant, input: &[f32], map: &Map, output: &mut [u8], pixels: Range<usize>) {
        quantise::quantise(self, quant, input, map, output, pixels);
    }

    fn pair_products(self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
        products::pair_products_vnni(self, rows, panel, sums);
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_weights(from: *const u8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_load_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: the caller enables AVX-512-VNNI.
        unsafe { _mm512_dpbusd_epi32(sums, x, w) }
    }
}

// SAFETY: as for `Simd`.
unsafe impl Matvec for AvxVnni {
    const WIDTH: usize = 32;
    type Lanes = __m256i;

    #[inline(always)]
    unsafe fn no_sums() -> __m256i {
        // SAFETY: the caller enables AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: __m256i, x: *const u8, weights: *const i8) -> __m256i {
        // SAFETY: the caller's.
        unsafe { Self::dot(sums, _mm256_load_si256(x.cast()), _mm256_load_si256(weights.cast())) }
    }

    #[inline(always)]
    unsafe fn totals(rows: [__m256i; ROWS]) -> [i32; ROWS] {
        // SAFETY: the caller's.
        unsafe { totals(rows) }
    }

    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS] {
        // SAFETY: the caller's; the instructions are enabled.
        unsafe { if all { gemv::rows::<Self, ROWS>(stream) } else { gemv::rows::<Self, 1>(stream) } }
    }
}

// SAFETY: as for `Simd`.
unsafe impl Matvec for Avx512Vnni {
    const WIDTH: usize = 64;
    type Lanes = __m512i;

    #[inline(always)]
    unsafe fn no_sums() -> __m512i {
        // SAFETY: the caller enables AVX-512.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn accumulate(sums: __m512i, x: *const u8, weights: *const i8) -> __m512i {
        // SAFETY: the caller's.
        unsafe { Self::dot(sums, _mm512_load_si512(x.cast()), _mm512_load_si512(weights.cast())) }
    }

    #[inline(always)]
    unsafe fn totals(rows: [__m512i; ROWS]) -> [i32; ROWS] {
        // SAFETY: the caller enables AVX-512 and AVX2.
        unsafe {
            let mut halves = [_mm512_castsi512_si256(rows[0]); ROWS];
            for (half, row) in halves.iter_mut().zip(rows) {
                *half = _mm256_add_epi32(_mm512_castsi512_si256(row), _mm512_extracti64x4_epi64::<1>(row));
            }
            totals(halves)
        }
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS] {
        // SAFETY: the caller's; the instructions are enabled.
        unsafe { if all { gemv::rows::<Self, ROWS>(stream) } else { gemv::rows::<Self, 1>(stream) } }
    }
}

/// Vectors of 16 lanes.
#[derive(Debug)]
pub(super) struct Zmm;

impl Vectors for Zmm {
    type Sums = __m512i;
    type Bytes = __m512i;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_load_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut i32, sums: __m512i) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_si512(to.cast(), sums) }
    }

    #[inline(always)]
    unsafe fn subtract(sums: __m512i, subtrahend: i32) -> __m512i {
        // SAFETY: the caller enables AVX-512.
        unsafe { _mm512_sub_epi32(sums, _mm512_set1_epi32(subtrahend)) }
    }

    #[inline(always)]
    unsafe fn round(sums: __m512i, multiplier: *const f32) -> __m512i {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(multiplier))) }
    }

    #[inline(always)]
    unsafe fn add_residual(rounded: __m512i, residual: *const u8, addition: &Addition) -> __m512i {
        let Addition { bounds: [low, high], shift, zero, scales, .. } = *addition;
        // SAFETY: the caller's.
        unsafe {
            let a = _mm512_min_epi32(_mm512_max_epi32(rounded, _mm512_set1_epi32(low)), _mm512_set1_epi32(high));
            let a = _mm512_cvtepi32_ps(_mm512_add_epi32(a, _mm512_set1_epi32(shift)));
            let b = _mm512_cvtepu8_epi32(_mm_loadu_si128(residual.cast()));
            let b = _mm512_cvtepi32_ps(_mm512_sub_epi32(b, _mm512_set1_epi32(zero)));
            let [a, b] = [_mm512_mul_ps(a, _mm512_set1_ps(scales[0])), _mm512_mul_ps(b, _mm512_set1_ps(scales[1]))];
            _mm512_cvtps_epi32(_mm512_div_ps(_mm512_add_ps(a, b), _mm512_set1_ps(scales[2])))
        }
    }

    #[inline(always)]
    unsafe fn pack_parts([a, b, c, d]: [__m512i; 4], rounding: &Rounding) -> __m512i {
        // SAFETY: the caller enables AVX-512 with AVX-512-BW.
        unsafe {
            let zero_point = _mm512_set1_epi16(rounding.zero_point);
            let ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), zero_point);
            let cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), zero_point);
            let bytes = _mm512_packus_epi16(ab, cd);
            if rounding.is_full() {
                return bytes;
            }
            let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(rounding.lo as i8));
            _mm512_min_epu8(bytes, _mm512_set1_epi8(rounding.hi as i8))
        }
    }

    #[inline(always)]
    unsafe fn join_parts(bytes: __m512i) -> __m512i {
        // SAFETY: the caller enables AVX-512.
        unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(order, bytes)
        }
    }

    #[inline(always)]
    unsafe fn store_one(bytes: __m512i, part: usize, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let part = match part {
                0 => _mm512_castsi512_si128(bytes),
                1 => _mm512_extracti32x4_epi32::<1>(bytes),
                2 => _mm512_extracti32x4_epi32::<2>(bytes),
                _ => _mm512_extracti32x4_epi32::<3>(bytes),
            };
            _mm_storeu_si128(to.cast(), part);
        }
    }

    #[inline(always)]
    unsafe fn store_two(bytes: __m512i, half: usize, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let half = if half == 0 { _mm512_castsi512_si256(bytes) } else { _mm512_extracti64x4_epi64::<1>(bytes) };
            _mm256_storeu_si256(to.cast(), half);
        }
    }

    #[inline(always)]
    unsafe fn store_four(bytes: __m512i, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_si512(to.cast(), bytes) }
    }
}

/// The mask of the first `count` bytes of 64.
#[inline(always)]
fn first_bytes(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

// SAFETY: masked accesses touch the first `count` bytes only.
unsafe impl Interleave for Avx512Vnni {
    const SIDE: usize = 4;

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [__m512i; 4] {
        // SAFETY: the caller's.
        unsafe {
            let mask = first_bytes(count);
            let [a, b] = [_mm512_maskz_loadu_epi8(mask, rows[0].cast()), _mm512_maskz_loadu_epi8(mask, rows[1].cast())];
            let [c, d] = [_mm512_maskz_loadu_epi8(mask, rows[2].cast()), _mm512_maskz_loadu_epi8(mask, rows[3].cast())];
            let (low_ab, high_ab) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
            let (low_cd, high_cd) = (_mm512_unpacklo_epi8(c, d), _mm512_unpackhi_epi8(c, d));
            [
                _mm512_unpacklo_epi16(low_ab, low_cd),
                _mm512_unpackhi_epi16(low_ab, low_cd),
                _mm512_unpacklo_epi16(high_ab, high_cd),
                _mm512_unpackhi_epi16(high_ab, high_cd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_pixels(bytes: __m512i, to: *mut u8, _stride: usize, _pixels: usize, count: usize) {
        // SAFETY: the caller's.
        unsafe { _mm512_mask_storeu_epi8(to.cast(), first_bytes(count), bytes) }
    }

    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vnni")]
    unsafe fn depthwise(strip: &depthwise::Strip, window: [usize; 2]) {
        // SAFETY: the caller's; the instructions are enabled.
        unsafe { depthwise::strip::<Self>(strip, window) }
    }
}

// SAFETY: partial pixels go through a buffer, of which `count` bytes are copied.
unsafe impl Interleave for AvxVnni {
    const SIDE: usize = 2;

    #[inline(always)]
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [__m256i; 4] {
        // SAFETY: the caller's.
        unsafe {
            let [a, b] = [load_first(rows[0], count), load_first(rows[1], count)];
            let [c, d] = [load_first(rows[2], count), load_first(rows[3], count)];
            let (low_ab, high_ab) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let (low_cd, high_cd) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
            [
                _mm256_unpacklo_epi16(low_ab, low_cd),
                _mm256_unpackhi_epi16(low_ab, low_cd),
                _mm256_unpacklo_epi16(high_ab, high_cd),
                _mm256_unpackhi_epi16(high_ab, high_cd),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store_pixels(bytes: __m256i, to: *mut u8, _stride: usize, _pixels: usize, count: usize) {
        // SAFETY: the caller's.
        unsafe {
            if count >= 32 {
                return _mm256_storeu_si256(to.cast(), bytes);
            }
            let mut all = [0u8; 32];
            _mm256_storeu_si256(all.as_mut_ptr().cast(), bytes);
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, count);
        }
    }

    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn depthwise(strip: &depthwise::Strip, window: [usize; 2]) {
        // SAFETY: the caller's; the instructions are enabled.
        unsafe { depthwise::strip::<Self>(strip, window) }
    }
}

/// The first `count` bytes of 32, then zeros.
///
/// # Safety
/// AVX2 is enabled in the caller; so many bytes can be read.
#[inline(always)]
unsafe fn load_first(from: *const u8, count: usize) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        if count >= 32 {
            return _mm256_loadu_si256(from.cast());
        }
        let mut bytes = [0u8; 32];
        std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count);
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}
