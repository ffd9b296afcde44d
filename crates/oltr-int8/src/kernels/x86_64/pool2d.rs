//! Maximum and average pools on AVX2.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::contract::{AveragePool, MaxPool};
use crate::kernels::pool_window::{Positions, positions};
use crate::kernels::x86_64::elementwise::{Rounder, narrow};
use crate::kernels::x86_64::isa::Avx2;
use crate::quant::round_saturate;

/// Output pixels `pixels`; `output` begins at the first of them.
pub(crate) fn max(_: Avx2, pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
    assert!(input.len() >= pool.input.volume() && output.len() >= pixels.len() * pool.output.stride);
    assert!(pool.input.channels == pool.output.channels && pixels.end <= pool.output.pixels());
    // SAFETY: the token proves that AVX2 is there; the lengths were checked.
    unsafe { max_avx2(pool, input, output, pixels) }
}

/// # Safety
/// AVX2 is there; the slices hold input and output pixels.
#[target_feature(enable = "avx2")]
unsafe fn max_avx2(pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
    let positions = positions(&pool.window, &pool.input, &pool.output, pixels);
    for (taps, output) in positions.zip(output.chunks_exact_mut(pool.output.stride)) {
        // SAFETY: the taps lie in the input.
        unsafe { max_pixel(pool, &taps, input, &mut output[..pool.output.channels]) }
    }
}

/// # Safety
/// AVX2 is enabled in the caller; the taps lie in the input.
#[inline(always)]
unsafe fn max_pixel(pool: &MaxPool, taps: &Positions, input: &[u8], output: &mut [u8]) {
    let [down, right] = [pool.window.dilation[0] * pool.input.width, pool.window.dilation[1]];
    let stride = pool.input.stride;
    let whole = output.len() / 8 * 8;
    let from = input.as_ptr().wrapping_add(taps.first * stride);
    // Loops whose lengths are known are unrolled: a window of nine takes as long as leaving three loops at the wrong time.
    // SAFETY: 32, then 8 channels are taken where there are as many.
    unsafe {
        match (taps.rows, taps.columns) {
            (3, 3) => max_window(from, [3, 3], [down * stride, right * stride], whole, output),
            (2, 2) => max_window(from, [2, 2], [down * stride, right * stride], whole, output),
            (rows, columns) => max_window(from, [rows, columns], [down * stride, right * stride], whole, output),
        }
    }
    for (channel, output) in output.iter_mut().enumerate().skip(whole) {
        let row = |row: usize| {
            let place = taps.first + row * down;
            (0..taps.columns).map(move |column| input[(place + column * right) * stride + channel])
        };
        *output = (0..taps.rows).flat_map(row).max().unwrap_or(0);
    }
}

/// The first `whole` channels, a multiple of eight, of the maximum over `rows × columns` taps.
///
/// # Safety
/// ENABLED and WINDOW. AVX2 is enabled in the caller; the taps have so many channels, and so does `output`.
#[inline(always)]
unsafe fn max_window(
    from: *const u8,
    [rows, columns]: [usize; 2],
    [down, right]: [usize; 2],
    whole: usize,
    output: &mut [u8],
) {
    let mut channel = 0;
    // SAFETY: ENABLED and WINDOW.
    unsafe {
        while channel + 32 <= whole {
            let mut max = _mm256_setzero_si256();
            for row in 0..rows {
                for column in 0..columns {
                    let from = from.add(row * down + column * right + channel);
                    max = _mm256_max_epu8(max, _mm256_loadu_si256(from.cast()));
                }
            }
            _mm256_storeu_si256(output.as_mut_ptr().add(channel).cast(), max);
            channel += 32;
        }
        while channel < whole {
            let mut max = _mm_setzero_si128();
            for row in 0..rows {
                for column in 0..columns {
                    let from = from.add(row * down + column * right + channel);
                    max = _mm_max_epu8(max, _mm_loadl_epi64(from.cast()));
                }
            }
            _mm_storel_epi64(output.as_mut_ptr().add(channel).cast(), max);
            channel += 8;
        }
    }
}

/// Output pixels `pixels`; `output` begins at the first of them.
pub(crate) fn average(_: Avx2, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
    assert!(input.len() >= pool.input.volume() && output.len() >= pixels.len() * pool.output.stride);
    assert!(pool.input.channels == pool.output.channels && pixels.end <= pool.output.pixels());
    let positions = positions(&pool.window, &pool.input, &pool.output, pixels);
    for (taps, output) in positions.zip(output.chunks_exact_mut(pool.output.stride)) {
        // SAFETY: the token proves that AVX2 is there; the taps lie in the input.
        unsafe { average_avx2(pool, &taps, input, &mut output[..pool.output.channels]) }
    }
}

/// # Safety
/// AVX2 is there; the taps lie in the input.
#[target_feature(enable = "avx2")]
unsafe fn average_avx2(pool: &AveragePool, taps: &Positions, input: &[u8], output: &mut [u8]) {
    let [down, right] = [pool.window.dilation[0] * pool.input.width, pool.window.dilation[1]];
    let stride = pool.input.stride;
    let count = taps.rows * taps.columns;
    let multiplier = pool.multiplier(count);
    let zeros = count as i32 * i32::from(pool.x.zero_point);
    let rounder = Rounder::new(pool.y.zero_point, pool.lo, pool.hi);
    let whole = output.len() / 8 * 8;
    for channel in (0..whole).step_by(8) {
        let mut sums = _mm256_set1_epi32(-zeros);
        // SAFETY: eight more channels are there.
        unsafe {
            for row in 0..taps.rows {
                let from = input.as_ptr().add((taps.first + row * down) * stride + channel);
                for column in 0..taps.columns {
                    let bytes = _mm_loadl_epi64(from.add(column * right * stride).cast());
                    sums = _mm256_add_epi32(sums, _mm256_cvtepu8_epi32(bytes));
                }
            }
            let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(multiplier));
            _mm_storel_epi64(output.as_mut_ptr().add(channel).cast(), narrow(rounder.round(v)));
        }
    }
    for (channel, output) in output.iter_mut().enumerate().skip(whole) {
        let mut sum = -zeros;
        for row in 0..taps.rows {
            for column in 0..taps.columns {
                sum += i32::from(input[(taps.first + row * down + column * right) * stride + channel]);
            }
        }
        *output = round_saturate(sum as f32 * multiplier, pool.y.zero_point, pool.lo, pool.hi);
    }
}
