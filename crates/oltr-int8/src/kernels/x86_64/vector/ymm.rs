//! Vectors of AVX2.

use std::arch::x86_64::*;

use crate::kernels::x86_64::epilogue::rounding::{Addition, Rounding};
use crate::kernels::x86_64::vector::Vectors;

/// Vectors of 8 lanes.
#[derive(Debug)]
pub(crate) struct Ymm;

impl Vectors for Ymm {
    type Sums = __m256i;
    type Bytes = __m256i;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m256i {
        // SAFETY: ENABLED and LANES_IN.
        unsafe { _mm256_load_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut i32, sums: __m256i) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe { _mm256_storeu_si256(to.cast(), sums) }
    }

    #[inline(always)]
    unsafe fn subtract(sums: __m256i, subtrahend: i32) -> __m256i {
        // SAFETY: ENABLED.
        unsafe { _mm256_sub_epi32(sums, _mm256_set1_epi32(subtrahend)) }
    }

    #[inline(always)]
    unsafe fn round(sums: __m256i, multiplier: *const f32) -> __m256i {
        // SAFETY: ENABLED and LANES_IN.
        unsafe { _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(multiplier))) }
    }

    #[inline(always)]
    unsafe fn add_residual(rounded: __m256i, residual: *const u8, addition: &Addition) -> __m256i {
        let Addition { bounds: [low, high], shift, zero, scales, .. } = *addition;
        // SAFETY: ENABLED and LANES_IN.
        unsafe {
            let a = _mm256_min_epi32(_mm256_max_epi32(rounded, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
            let a = _mm256_cvtepi32_ps(_mm256_add_epi32(a, _mm256_set1_epi32(shift)));
            let b = _mm256_cvtepu8_epi32(_mm_loadl_epi64(residual.cast()));
            let b = _mm256_cvtepi32_ps(_mm256_sub_epi32(b, _mm256_set1_epi32(zero)));
            let [a, b] = [_mm256_mul_ps(a, _mm256_set1_ps(scales[0])), _mm256_mul_ps(b, _mm256_set1_ps(scales[1]))];
            _mm256_cvtps_epi32(_mm256_div_ps(_mm256_add_ps(a, b), _mm256_set1_ps(scales[2])))
        }
    }

    #[inline(always)]
    unsafe fn pack_parts([a, b, c, d]: [__m256i; 4], rounding: &Rounding) -> __m256i {
        // SAFETY: ENABLED.
        unsafe {
            let [ab, cd] = [_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)];
            if rounding.plain {
                return _mm256_packus_epi16(ab, cd);
            }
            let zero_point = _mm256_set1_epi16(rounding.zero_point);
            let bytes = _mm256_packus_epi16(_mm256_adds_epi16(ab, zero_point), _mm256_adds_epi16(cd, zero_point));
            let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(rounding.lo as i8));
            _mm256_min_epu8(bytes, _mm256_set1_epi8(rounding.hi as i8))
        }
    }

    #[inline(always)]
    unsafe fn join_parts(bytes: __m256i) -> __m256i {
        // SAFETY: ENABLED.
        unsafe { _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)) }
    }

    #[inline(always)]
    unsafe fn store_one(bytes: __m256i, part: usize, to: *mut u8) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe {
            let half = if part < 2 { _mm256_castsi256_si128(bytes) } else { _mm256_extracti128_si256::<1>(bytes) };
            match part % 2 {
                0 => _mm_storel_epi64(to.cast(), half),
                _ => _mm_storeh_pd(to.cast(), _mm_castsi128_pd(half)),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_two(bytes: __m256i, half: usize, to: *mut u8) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe {
            let half = if half == 0 { _mm256_castsi256_si128(bytes) } else { _mm256_extracti128_si256::<1>(bytes) };
            _mm_storeu_si128(to.cast(), half);
        }
    }

    #[inline(always)]
    unsafe fn store_four(bytes: __m256i, to: *mut u8) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe { _mm256_storeu_si256(to.cast(), bytes) }
    }
}
