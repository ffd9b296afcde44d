//! Additions and conversions between bytes and numbers, on AVX2.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::contract::Map;
use crate::kernels::x86_64::isa::Avx2;
use crate::quant::{AddQuant, Quant};

/// [`crate::quant::round_saturate`] for eight numbers at a time.
#[derive(Clone, Copy)]
pub(crate) struct Rounder {
    bounds: [__m256; 2],
    zero_point: __m256i,
}

impl Rounder {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(zero_point: u8, lo: u8, hi: u8) -> Rounder {
        let bound = |bound: u8| (i32::from(bound) - i32::from(zero_point)) as f32;
        Rounder {
            bounds: [_mm256_set1_ps(bound(lo)), _mm256_set1_ps(bound(hi))],
            zero_point: _mm256_set1_epi32(i32::from(zero_point)),
        }
    }

    /// Integers between 0 and 255.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn round(&self, v: __m256) -> __m256i {
        // NaN becomes 0.
        let v = _mm256_and_ps(v, _mm256_cmp_ps::<_CMP_ORD_Q>(v, v));
        let v = _mm256_min_ps(_mm256_max_ps(v, self.bounds[0]), self.bounds[1]);
        _mm256_add_epi32(_mm256_cvtps_epi32(v), self.zero_point)
    }
}

/// [`AddQuant`] for eight sums at a time.
#[derive(Clone, Copy)]
pub(crate) struct Adder {
    scales: [__m256; 3],
    rounder: Rounder,
}

impl Adder {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn new(add: &AddQuant) -> Adder {
        Adder {
            scales: [_mm256_set1_ps(add.a.scale), _mm256_set1_ps(add.b.scale), _mm256_set1_ps(add.y.scale)],
            rounder: Rounder::new(add.y.zero_point, add.lo, add.hi),
        }
    }

    /// The sums of `a` and `b`, which come without their zero points, as integers between 0 and 255.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn add(&self, a: __m256i, b: __m256i) -> __m256i {
        let a = _mm256_mul_ps(_mm256_cvtepi32_ps(a), self.scales[0]);
        let b = _mm256_mul_ps(_mm256_cvtepi32_ps(b), self.scales[1]);
        self.rounder.round(_mm256_div_ps(_mm256_add_ps(a, b), self.scales[2]))
    }
}

/// Eight integers between 0 and 255 to bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) fn narrow(v: __m256i) -> __m128i {
    let words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
    _mm_packus_epi16(words, words)
}

/// Eight bytes less a zero point, from the low half of `bytes`.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(bytes: __m128i, zero_point: __m256i) -> __m256i {
    _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), zero_point)
}

/// `output[i] = add(a[i], b[i])`.
pub(crate) fn add(_: Avx2, add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
    assert!(a.len() == b.len() && a.len() == output.len());
    // SAFETY: the token proves that AVX2 is there; the lengths are equal.
    unsafe { add_avx2(add, a, b, output) }
}

/// # Safety
/// AVX2 is there; the lengths are equal.
#[target_feature(enable = "avx2")]
unsafe fn add_avx2(add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
    let adder = Adder::new(add);
    let zero_a = _mm256_set1_epi32(i32::from(add.a.zero_point));
    let zero_b = _mm256_set1_epi32(i32::from(add.b.zero_point));
    let whole = output.len() / 8 * 8;
    for i in (0..whole).step_by(8) {
        // SAFETY: eight more bytes are there.
        unsafe {
            let a = widen(_mm_loadl_epi64(a.as_ptr().add(i).cast()), zero_a);
            let b = widen(_mm_loadl_epi64(b.as_ptr().add(i).cast()), zero_b);
            _mm_storel_epi64(output.as_mut_ptr().add(i).cast(), narrow(adder.add(a, b)));
        }
    }
    for i in whole..output.len() {
        output[i] = add.apply(a[i], b[i]);
    }
}

/// Quantises pixels of planes to a channels-last map.
pub(crate) fn quantise(_: Avx2, quant: Quant, input: &[f32], map: &Map, output: &mut [u8], pixels: Range<usize>) {
    assert!(input.len() == map.pixels() * map.channels && output.len() == pixels.len() * map.stride);
    assert!(pixels.end <= map.pixels());
    // SAFETY: the token proves that AVX2 is there; the lengths were checked.
    unsafe { quantise_avx2(quant, input, map, output, pixels) }
}

/// # Safety
/// AVX2 is there; the slices hold the planes and the pixels.
#[target_feature(enable = "avx2")]
unsafe fn quantise_avx2(quant: Quant, input: &[f32], map: &Map, output: &mut [u8], pixels: Range<usize>) {
    let (plane, first, pixels) = (map.pixels(), pixels.start, pixels.len());
    let (scale, rounder) = (_mm256_set1_ps(quant.scale), Rounder::new(quant.zero_point, 0, 255));
    let whole = pixels / 8 * 8;
    let packed_rgb = map.channels == 3 && map.stride == 3;
    for pixel in (0..whole).step_by(8) {
        let mut planes = [_mm_setzero_si128(); 3];
        for channel in 0..map.channels {
            // SAFETY: eight more numbers are there.
            let v = unsafe { _mm256_loadu_ps(input.as_ptr().add(channel * plane + first + pixel)) };
            let bytes = narrow(rounder.round(_mm256_div_ps(v, scale)));
            if packed_rgb {
                planes[channel] = bytes;
            } else {
                let mut all = [0u8; 16];
                // SAFETY: 16 bytes.
                unsafe { _mm_storeu_si128(all.as_mut_ptr().cast(), bytes) };
                for (i, byte) in all[..8].iter().enumerate() {
                    output[(pixel + i) * map.stride + channel] = *byte;
                }
            }
        }
        if packed_rgb {
            let red_green = _mm_unpacklo_epi64(planes[0], planes[1]);
            let (first, second) = (
                [
                    _mm_setr_epi8(0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5),
                    _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1),
                ],
                [
                    _mm_setr_epi8(13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1),
                    _mm_setr_epi8(-1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1),
                ],
            );
            let to = &mut output[pixel * 3..][..24];
            // SAFETY: 24 bytes are there.
            unsafe {
                let merge = |order: [__m128i; 2]| {
                    _mm_or_si128(_mm_shuffle_epi8(red_green, order[0]), _mm_shuffle_epi8(planes[2], order[1]))
                };
                _mm_storeu_si128(to.as_mut_ptr().cast(), merge(first));
                _mm_storel_epi64(to.as_mut_ptr().add(16).cast(), merge(second));
            }
        }
    }
    for pixel in whole..pixels {
        for channel in 0..map.channels {
            output[pixel * map.stride + channel] = quant.quantise(input[channel * plane + first + pixel]);
        }
    }
}

/// The reverse of [`quantise`].
pub(crate) fn dequantise(_: Avx2, quant: Quant, map: &Map, input: &[u8], output: &mut [f32]) {
    assert!(output.len() == map.pixels() * map.channels && input.len() >= map.volume());
    // SAFETY: the token proves that AVX2 is there; the lengths were checked.
    unsafe { dequantise_avx2(quant, map, input, output) }
}

/// # Safety
/// AVX2 is there; the slices hold the map.
#[target_feature(enable = "avx2")]
unsafe fn dequantise_avx2(quant: Quant, map: &Map, input: &[u8], output: &mut [f32]) {
    let pixels = map.pixels();
    let (scale, zero_point) = (_mm256_set1_ps(quant.scale), _mm256_set1_epi32(i32::from(quant.zero_point)));
    let convert = |bytes: __m128i| _mm256_mul_ps(_mm256_cvtepi32_ps(widen(bytes, zero_point)), scale);
    if pixels == 1 {
        let whole = map.channels / 8 * 8;
        for channel in (0..whole).step_by(8) {
            // SAFETY: `whole` channels lie in the input and the output, and `channel` is at least eight below.
            unsafe {
                let bytes = _mm_loadl_epi64(input.as_ptr().add(channel).cast());
                _mm256_storeu_ps(output.as_mut_ptr().add(channel), convert(bytes));
            }
        }
        for channel in whole..map.channels {
            output[channel] = quant.dequantise(input[channel]);
        }
        return;
    }
    let (whole_pixels, whole_channels) = (pixels / 8 * 8, map.channels / 8 * 8);
    for pixel in (0..whole_pixels).step_by(8) {
        for channel in (0..whole_channels).step_by(8) {
            // Eight pixels by eight channels, transposed.
            // SAFETY: the map has eight more pixels from `pixel` on, and eight more channels from `channel` on.
            unsafe {
                let from = input.as_ptr().add(pixel * map.stride + channel);
                let mut rows = [_mm_setzero_si128(); 8];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = _mm_loadl_epi64(from.add(i * map.stride).cast());
                }
                let pair = |i: usize| _mm_unpacklo_epi8(rows[2 * i], rows[2 * i + 1]);
                let pairs = [pair(0), pair(1), pair(2), pair(3)];
                let low = [_mm_unpacklo_epi16(pairs[0], pairs[1]), _mm_unpacklo_epi16(pairs[2], pairs[3])];
                let high = [_mm_unpackhi_epi16(pairs[0], pairs[1]), _mm_unpackhi_epi16(pairs[2], pairs[3])];
                let columns = [
                    _mm_unpacklo_epi32(low[0], low[1]),
                    _mm_unpackhi_epi32(low[0], low[1]),
                    _mm_unpacklo_epi32(high[0], high[1]),
                    _mm_unpackhi_epi32(high[0], high[1]),
                ];
                for (i, column) in columns.into_iter().enumerate() {
                    let to = output.as_mut_ptr().add((channel + 2 * i) * pixels + pixel);
                    _mm256_storeu_ps(to, convert(column));
                    _mm256_storeu_ps(to.add(pixels), convert(_mm_unpackhi_epi64(column, column)));
                }
            }
        }
    }
    for pixel in 0..pixels {
        let first = if pixel < whole_pixels { whole_channels } else { 0 };
        for channel in first..map.channels {
            output[channel * pixels + pixel] = quant.dequantise(input[pixel * map.stride + channel]);
        }
    }
}
