//! From sums to bytes on AVX2, for the pixels of a row: the epilogue of what does not do it in registers.

use std::arch::x86_64::*;

use crate::kernels::x86_64::elementwise::{Adder, narrow};
use crate::kernels::x86_64::epilogue::rounding::Rounding;
use crate::kernels::x86_64::isa::Avx2;
use crate::kernels::x86_64::vector::Vectors;
use crate::kernels::x86_64::vector::ymm::Ymm;
use crate::quant::AddQuant;

/// Sums of neighbouring pixels, and where their bytes go.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub pixels: usize,
    /// Sums of a pixel, and how many of them are of channels.
    pub lanes: usize,
    pub count: usize,
    /// `[pixel][lane]`.
    pub sums: &'a [i32],
    /// One for each lane.
    pub multiplier: &'a [f32],
    /// Elements from one pixel of the result to the next.
    pub stride: usize,
}

impl Rows<'_> {
    fn assert(&self, to: usize) {
        assert!(self.lanes.is_multiple_of(8) && self.count <= self.lanes && self.multiplier.len() >= self.lanes);
        assert!(self.sums.len() >= self.pixels * self.lanes);
        assert!(self.pixels == 0 || to >= (self.pixels - 1) * self.stride + self.count);
    }
}

/// Requantises; `to` begins at the first channel of the first pixel.
pub(crate) fn requantise(_: Avx2, rows: &Rows, rounding: &Rounding, to: &mut [u8]) {
    rows.assert(to.len());
    // SAFETY: the token proves that AVX2 is there; the lengths were checked.
    unsafe { requantise_avx2(rows, rounding, to) }
}

/// # Safety
/// ENABLED and SUMS. AVX2 is there; `rows` fits `to`.
#[target_feature(enable = "avx2")]
unsafe fn requantise_avx2(rows: &Rows, rounding: &Rounding, to: &mut [u8]) {
    let top = _mm256_set1_ps(rounding.top);
    for lane in (0..rows.count).step_by(8) {
        let channels = (rows.count - lane).min(8);
        // SAFETY: ENABLED and SUMS.
        unsafe {
            let multiplier = _mm256_loadu_ps(rows.multiplier.as_ptr().add(lane));
            for pixel in (0..rows.pixels).step_by(4) {
                let pixels = (rows.pixels - pixel).min(4);
                let mut rounded = [_mm256_setzero_si256(); 4];
                for (i, rounded) in rounded.iter_mut().enumerate().take(pixels) {
                    let sums = _mm256_loadu_si256(rows.sums.as_ptr().add((pixel + i) * rows.lanes + lane).cast());
                    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multiplier);
                    *rounded = _mm256_cvtps_epi32(_mm256_min_ps(product, top));
                }
                let bytes = Ymm::join_parts(Ymm::pack_parts(rounded, rounding));
                let to = to.as_mut_ptr().add(pixel * rows.stride + lane);
                if pixels == 4 && channels == 8 {
                    for (i, half) in
                        [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)].into_iter().enumerate()
                    {
                        _mm_storel_epi64(to.add(2 * i * rows.stride).cast(), half);
                        _mm_storeh_pd(to.add((2 * i + 1) * rows.stride).cast(), _mm_castsi128_pd(half));
                    }
                } else {
                    let mut all = [0u8; 32];
                    _mm256_storeu_si256(all.as_mut_ptr().cast(), bytes);
                    for i in 0..pixels {
                        std::ptr::copy_nonoverlapping(all.as_ptr().add(8 * i), to.add(i * rows.stride), channels);
                    }
                }
            }
        }
    }
}

/// Requantises and adds a residual, which is given with its pixel stride; it and `to` begin at the first channel of
/// the first pixel.
pub(crate) fn add_residual(
    _: Avx2,
    rows: &Rows,
    rounding: &Rounding,
    add: &AddQuant,
    (residual, stride): (&[u8], usize),
    to: &mut [u8],
) {
    rows.assert(to.len());
    assert!(rows.pixels == 0 || residual.len() >= (rows.pixels - 1) * stride + rows.count);
    // SAFETY: the token proves that AVX2 is there; the lengths were checked.
    unsafe { add_residual_avx2(rows, rounding, add, residual, stride, to) }
}

/// # Safety
/// ENABLED and SUMS. AVX2 is there; `rows` fits `to` and `residual`.
#[target_feature(enable = "avx2")]
unsafe fn add_residual_avx2(
    rows: &Rows,
    rounding: &Rounding,
    add: &AddQuant,
    residual: &[u8],
    stride: usize,
    to: &mut [u8],
) {
    let adder = Adder::new(add);
    let top = _mm256_set1_ps(rounding.top);
    let bottom = _mm256_set1_epi32(i32::from(rounding.lo) - i32::from(rounding.zero_point));
    let shift = _mm256_set1_epi32(i32::from(rounding.zero_point) - i32::from(add.a.zero_point));
    let b_zero = _mm256_set1_epi32(i32::from(add.b.zero_point));
    let whole = rows.count / 8 * 8;
    for lane in (0..whole).step_by(8) {
        // SAFETY: ENABLED and SUMS.
        unsafe {
            let multiplier = _mm256_loadu_ps(rows.multiplier.as_ptr().add(lane));
            for pixel in 0..rows.pixels {
                let sums = _mm256_loadu_si256(rows.sums.as_ptr().add(pixel * rows.lanes + lane).cast());
                let b = _mm_loadl_epi64(residual.as_ptr().add(pixel * stride + lane).cast());
                let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multiplier);
                let rounded = _mm256_max_epi32(_mm256_cvtps_epi32(_mm256_min_ps(product, top)), bottom);
                let b = _mm256_sub_epi32(_mm256_cvtepu8_epi32(b), b_zero);
                let bytes = narrow(adder.add(_mm256_add_epi32(rounded, shift), b));
                _mm_storel_epi64(to.as_mut_ptr().add(pixel * rows.stride + lane).cast(), bytes);
            }
        }
    }
    for pixel in 0..rows.pixels {
        for lane in whole..rows.count {
            let sum = rows.sums[pixel * rows.lanes + lane];
            let byte = rounding.apply(sum as f32 * rows.multiplier[lane]);
            to[pixel * rows.stride + lane] = add.apply(byte, residual[pixel * stride + lane]);
        }
    }
}
