//! Pools, sixteen channels at a time.

use std::arch::aarch64::*;
use std::ops::Range;

use super::super::{AveragePool, KernelSet, Map, MaxPool, Storage, Window};
use super::epilogue::LANES;
use super::vectors::{Rounding, round, to_signed};
use crate::int8::kernels::scalar::Scalar;

static SCALAR: Scalar = Scalar::new(Storage::Signed);

/// The places of a map under a window: rows and columns, each with the distance to the next.
struct Places {
    rows: Range<usize>,
    columns: Range<usize>,
    steps: [usize; 2],
}

impl Places {
    /// Those under output pixel `pixel` of a map of `width` pixels a row.
    fn new(window: &Window, map: &Map, pixel: usize, width: usize) -> Places {
        let at = [pixel / width, pixel % width];
        let axis = |axis: usize, size: usize| {
            let (step, pad) = (window.dilation[axis], window.pad[axis]);
            let first = at[axis] * window.stride[axis];
            // The first tap inside the map.
            let skipped = pad.saturating_sub(first).div_ceil(step);
            let start = first + skipped * step - pad.min(first + skipped * step);
            let end = (first + window.kernel[axis].saturating_sub(1) * step + 1).saturating_sub(pad);
            start..if skipped < window.kernel[axis] { end.min(size) } else { start }
        };
        Places { rows: axis(0, map.height), columns: axis(1, map.width), steps: window.dilation }
    }

    /// Calls `f` with the number of each place.
    #[inline(always)]
    fn each(&self, map: &Map, mut f: impl FnMut(usize)) {
        for row in self.rows.clone().step_by(self.steps[0]) {
            for column in self.columns.clone().step_by(self.steps[1]) {
                f(row * map.width + column);
            }
        }
    }

    fn count(&self) -> usize {
        self.rows.len().div_ceil(self.steps[0]) * self.columns.len().div_ceil(self.steps[1])
    }
}

/// Whether pixels of both maps have room for whole vectors of channels.
fn has_room(input: &Map, output: &Map) -> bool {
    input.channels.next_multiple_of(LANES) <= input.stride.min(output.stride)
}

/// Largest bytes.
pub(super) fn max(pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
    let (x, y) = (&pool.input, &pool.output);
    if !has_room(x, y) {
        return SCALAR.max_pool(pool, input, output, pixels);
    }
    assert!(input.len() >= x.volume());
    for (pixel, out) in pixels.zip(output.chunks_exact_mut(y.stride)) {
        let places = Places::new(&pool.window, x, pixel, y.width);
        for lane in (0..y.channels).step_by(LANES) {
            let from = input[lane..].as_ptr();
            // SAFETY: places are in the map and their pixels have room for whole vectors, as has the output's.
            unsafe {
                let mut largest = vdupq_n_s8(i8::MIN);
                places.each(x, |place| largest = vmaxq_s8(largest, vld1q_s8(from.add(place * x.stride).cast())));
                vst1q_s8(out[lane..][..LANES].as_mut_ptr().cast(), largest);
            }
        }
    }
}

/// Averages.
pub(super) fn average(pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
    /// Bytes whose sum surely fits 16 bits.
    const FIT: usize = 255;
    let (x, y) = (&pool.input, &pool.output);
    if !has_room(x, y) {
        return SCALAR.average_pool(pool, input, output, pixels);
    }
    assert!(input.len() >= x.volume());
    let narrow = Rounding::new(pool.y.zero_point, pool.lo, pool.hi).load();
    for (pixel, out) in pixels.zip(output.chunks_exact_mut(y.stride)) {
        let places = Places::new(&pool.window, x, pixel, y.width);
        let count = places.count();
        let zero = -(i32::from(to_signed(pool.x.zero_point)) * count as i32);
        for lane in (0..y.channels).step_by(LANES) {
            let from = input[lane..].as_ptr();
            // SAFETY: as for `max`.
            unsafe {
                let multiplier = vdupq_n_f32(pool.multiplier(count));
                let mut sums = [vdupq_n_s32(zero); 4];
                let mut short = [vdupq_n_s16(0); 2];
                let mut summed = 0;
                places.each(x, |place| {
                    let bytes = vld1q_s8(from.add(place * x.stride).cast());
                    short = [vaddw_s8(short[0], vget_low_s8(bytes)), vaddw_high_s8(short[1], bytes)];
                    summed += 1;
                    if summed == FIT {
                        flush(&mut sums, &mut short);
                        summed = 0;
                    }
                });
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
    // SAFETY: NEON is part of the target.
    unsafe {
        for (i, short) in short.iter_mut().enumerate() {
            sums[2 * i] = vaddw_s16(sums[2 * i], vget_low_s16(*short));
            sums[2 * i + 1] = vaddw_high_s16(sums[2 * i + 1], *short);
            *short = vdupq_n_s16(0);
        }
    }
}
