//! Vectors of AVX-512.

use std::arch::x86_64::*;

use crate::kernels::x86_64::epilogue::rounding::{Addition, Rounding};
use crate::kernels::x86_64::vector::Vectors;

/// Vectors of 16 lanes.
#[derive(Debug)]
pub(crate) struct Zmm;

impl Vectors for Zmm {
    type Sums = __m512i;
    type Bytes = __m512i;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m512i {
        // SAFETY: ENABLED and LANES_IN.
        unsafe { _mm512_load_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut i32, sums: __m512i) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe { _mm512_storeu_si512(to.cast(), sums) }
    }

    #[inline(always)]
    unsafe fn subtract(sums: __m512i, subtrahend: i32) -> __m512i {
        // SAFETY: ENABLED.
        unsafe { _mm512_sub_epi32(sums, _mm512_set1_epi32(subtrahend)) }
    }

    #[inline(always)]
    unsafe fn round(sums: __m512i, multiplier: *const f32) -> __m512i {
        // SAFETY: ENABLED and LANES_IN.
        unsafe { _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(multiplier))) }
    }

    #[inline(always)]
    unsafe fn add_residual(rounded: __m512i, residual: *const u8, addition: &Addition) -> __m512i {
        let Addition { bounds: [low, high], shift, zero, scales, .. } = *addition;
        // SAFETY: ENABLED and LANES_IN.
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
        // SAFETY: ENABLED.
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
        // SAFETY: ENABLED.
        unsafe {
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_epi32(order, bytes)
        }
    }

    #[inline(always)]
    unsafe fn store_one(bytes: __m512i, part: usize, to: *mut u8) {
        // SAFETY: ENABLED and LANES_OUT.
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
        // SAFETY: ENABLED and LANES_OUT.
        unsafe {
            let half = if half == 0 { _mm512_castsi512_si256(bytes) } else { _mm512_extracti64x4_epi64::<1>(bytes) };
            _mm256_storeu_si256(to.cast(), half);
        }
    }

    #[inline(always)]
    unsafe fn store_four(bytes: __m512i, to: *mut u8) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe { _mm512_storeu_si512(to.cast(), bytes) }
    }
}
