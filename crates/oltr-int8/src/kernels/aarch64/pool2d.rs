//! Pools, sixteen channels at a time.

use std::arch::aarch64::*;
use std::ops::Range;

use crate::kernels::aarch64::epilogue::rounding::{LANES, Rounding, round, to_signed};
use crate::kernels::contract::KernelSet;
use crate::kernels::contract::{AveragePool, Map, MaxPool};
use crate::kernels::pool_window::positions;
use crate::kernels::scalar::SIGNED;

/// Whether pixels of both maps have room for whole vectors of channels.
fn has_room(input: &Map, output: &Map) -> bool {
    input.channels.next_multiple_of(LANES) <= input.stride.min(output.stride)
}

/// Largest bytes.
pub(crate) fn max(pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
    let (x, y) = (&pool.input, &pool.output);
    if !has_room(x, y) {
        return SIGNED.max_pool(pool, input, output, pixels);
    }
    assert!(input.len() >= x.volume());
    let [down, right] = [pool.window.dilation[0] * x.width * x.stride, pool.window.dilation[1] * x.stride];
    for (of, out) in positions(&pool.window, x, y, pixels).zip(output.chunks_exact_mut(y.stride)) {
        let from = input.as_ptr().wrapping_add(of.first * x.stride).cast();
        let out = &mut out[..y.channels.next_multiple_of(LANES)];
        // Loops whose lengths are known are unrolled.
        // SAFETY: places are in the map and their pixels have room for whole vectors, as has the output's.
        unsafe {
            match (of.rows, of.columns) {
                (3, 3) => largest(from, [3, 3], [down, right], out),
                (2, 2) => largest(from, [2, 2], [down, right], out),
                (rows, columns) => largest(from, [rows, columns], [down, right], out),
            }
        }
    }
}

/// The largest bytes of `[rows, columns]` pixels, the next of which are `[down, right]` bytes away.
///
/// # Safety
/// WINDOW. `output` is whole vectors long, and each pixel has as many bytes.
#[inline(always)]
unsafe fn largest(from: *const i8, [rows, columns]: [usize; 2], [down, right]: [usize; 2], output: &mut [u8]) {
    for (i, output) in output.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        // SAFETY: WINDOW; BASELINE.
        unsafe {
            let mut largest = vdupq_n_s8(i8::MIN);
            for row in 0..rows {
                for column in 0..columns {
                    largest = vmaxq_s8(largest, vld1q_s8(from.add(row * down + column * right + i * LANES)));
                }
            }
            vst1q_s8(output.as_mut_ptr().cast(), largest);
        }
    }
}

/// Averages.
pub(crate) fn average(pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
    /// Bytes whose sum surely fits 16 bits.
    const FIT: usize = 255;
    let (x, y) = (&pool.input, &pool.output);
    if !has_room(x, y) {
        return SIGNED.average_pool(pool, input, output, pixels);
    }
    assert!(input.len() >= x.volume());
    let narrow = Rounding::new(pool.y.zero_point, pool.lo, pool.hi).load();
    let [down, right] = [pool.window.dilation[0] * x.width * x.stride, pool.window.dilation[1] * x.stride];
    for (of, out) in positions(&pool.window, x, y, pixels).zip(output.chunks_exact_mut(y.stride)) {
        let count = of.rows * of.columns;
        let zero = -(i32::from(to_signed(pool.x.zero_point)) * count as i32);
        for lane in (0..y.channels).step_by(LANES) {
            let from = input.as_ptr().wrapping_add(of.first * x.stride + lane);
            // SAFETY: BASELINE, and WINDOW: `has_room` says so, and the input's length was checked.
            unsafe {
                let multiplier = vdupq_n_f32(pool.multiplier(count));
                let mut sums = [vdupq_n_s32(zero); 4];
                let mut short = [vdupq_n_s16(0); 2];
                let mut summed = 0;
                for row in 0..of.rows {
                    for column in 0..of.columns {
                        let bytes = vld1q_s8(from.add(row * down + column * right).cast());
                        short = [vaddw_s8(short[0], vget_low_s8(bytes)), vaddw_high_s8(short[1], bytes)];
                        summed += 1;
                        if summed == FIT {
                            flush(&mut sums, &mut short);
                            summed = 0;
                        }
                    }
                }
                flush(&mut sums, &mut short);
                let bytes = narrow.narrow(sums.map(|sum| round(sum, multiplier)));
                vst1q_s8(out[lane..][..LANES].as_mut_ptr().cast(), bytes);
            }
        }
    }
}

/// Adds 16-bit sums to 32-bit ones.
#[inline(always)]
fn flush(sums: &mut [int32x4_t; 4], short: &mut [int16x8_t; 2]) {
    // SAFETY: BASELINE.
    unsafe {
        for (i, short) in short.iter_mut().enumerate() {
            sums[2 * i] = vaddw_s16(sums[2 * i], vget_low_s16(*short));
            sums[2 * i + 1] = vaddw_high_s16(sums[2 * i + 1], *short);
            *short = vdupq_n_s16(0);
        }
    }
}
