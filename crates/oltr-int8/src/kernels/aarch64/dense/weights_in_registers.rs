//! The tiles of [`super::widening`] for layers of one or two chunks: their weights stay in registers for all pixels, and each pixel's sums
//! are added up at once, so that they need no registers of their own. Such layers requantise nearly as much as they
//! multiply.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernels::aarch64::dense::widening_tile::{BLOCK, CHANNELS, Column, PIXELS, store, store_bytes, total};
use crate::kernels::aarch64::epilogue::Target;
use crate::kernels::window::CHUNK;

/// The weights of four channels at a chunk.
type Weights = [int8x16_t; CHANNELS];

/// All tiles of four channels with `COUNT` chunks, one or two; `DEEP` and `HALF` as in [`super::sum_order::Order::Two`].
///
/// # Safety
/// ENABLED and STRIP. The pointers are valid for what the column says; it has as many chunks, none of them in its deep pairs.
// Inlined side by side, the compiler would move weights to memory and back.
#[inline(never)]
pub(crate) unsafe fn tiles<const COUNT: usize, const DEEP: bool, const HALF: bool>(column: &Column) {
    // SAFETY: ENABLED and STRIP.
    unsafe {
        let bias = vld1q_s32(column.bias);
        let weights: [Weights; COUNT] = std::array::from_fn(|chunk| {
            std::array::from_fn(|n| vld1q_s8(column.weights.add(chunk * BLOCK + n * CHUNK)))
        });
        let offsets: [usize; COUNT] =
            std::array::from_fn(|chunk| if chunk == 0 { column.first } else { column.shallow[0] } as usize);
        let (whole, rest) = column.pixels.as_chunks::<PIXELS>();
        // What the last tile lacks repeats a pixel that it has.
        let mut last = [std::ptr::null(); PIXELS];
        for (i, pixel) in last.iter_mut().enumerate().take(if rest.is_empty() { 0 } else { PIXELS }) {
            *pixel = rest[i.min(rest.len() - 1)];
        }
        match column.target {
            Target::Bytes { mut to, stride, multiplier, rounding } => {
                // Loaded once: these loops are short.
                let (multiplier, narrow) = (vld1q_f32(multiplier), rounding.load());
                for pixels in whole {
                    let totals = tile::<COUNT, DEEP, HALF>(pixels, &offsets, &weights, bias);
                    store_bytes(to, stride, totals, multiplier, narrow, PIXELS);
                    to = to.wrapping_add(PIXELS * stride);
                }
                if !rest.is_empty() {
                    let totals = tile::<COUNT, DEEP, HALF>(&last, &offsets, &weights, bias);
                    store_bytes(to, stride, totals, multiplier, narrow, rest.len());
                }
            }
            mut sums @ Target::Sums(_) => {
                for pixels in whole {
                    store(&sums, tile::<COUNT, DEEP, HALF>(pixels, &offsets, &weights, bias), PIXELS);
                    sums = sums.after(PIXELS);
                }
                if !rest.is_empty() {
                    store(&sums, tile::<COUNT, DEEP, HALF>(&last, &offsets, &weights, bias), rest.len());
                }
            }
        }
    }
}

/// The sums of four channels of each of some pixels.
///
/// # Safety
/// ENABLED and TILE. The pixels' chunks can be read.
#[inline(always)]
unsafe fn tile<const COUNT: usize, const DEEP: bool, const HALF: bool>(
    pixels: &[*const i8; PIXELS],
    offsets: &[usize; COUNT],
    weights: &[Weights; COUNT],
    bias: int32x4_t,
) -> [int32x4_t; PIXELS] {
    // No closures: they would be functions of their own.
    let mut totals = [bias; PIXELS];
    for (pixel, total_of) in pixels.iter().zip(&mut totals) {
        // SAFETY: ENABLED and TILE; BASELINE.
        unsafe {
            let mut x = [vdupq_n_s8(0); COUNT];
            for (x, offset) in x.iter_mut().zip(offsets) {
                *x = vld1q_s8(pixel.add(*offset));
            }
            let mut sums = [bias; CHANNELS];
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = sum_of::<COUNT, DEEP, HALF>(x, weights, n);
            }
            *total_of = total(sums, bias);
        }
    }
    totals
}

/// The sums of channel `n` of a pixel, not yet added up.
#[inline(always)]
fn sum_of<const COUNT: usize, const DEEP: bool, const HALF: bool>(
    x: [int8x16_t; COUNT],
    weights: &[Weights; COUNT],
    n: usize,
) -> int32x4_t {
    let (first, w) = (x[0], weights[0][n]);
    let (second, v) = (x[COUNT - 1], weights[COUNT - 1][n]);
    // SAFETY: BASELINE.
    unsafe {
        let products = add_high(vmull_s8(vget_low_s8(first), vget_low_s8(w)), first, w);
        if COUNT == 1 {
            return vpaddlq_s16(products);
        }
        if DEEP {
            let products = vmlal_s8(products, vget_low_s8(second), vget_low_s8(v));
            return vpaddlq_s16(if HALF { products } else { add_high(products, second, v) });
        }
        let others = vmull_s8(vget_low_s8(second), vget_low_s8(v));
        vpadalq_s16(vpaddlq_s16(products), if HALF { others } else { add_high(others, second, v) })
    }
}

/// `sums` and the products of the high halves. Of the intrinsic the compiler makes a permutation of the activations and keeps
/// the halves of the weights in registers of their own, of which there are not enough.
#[inline(always)]
fn add_high(sums: int16x8_t, x: int8x16_t, w: int8x16_t) -> int16x8_t {
    let mut sums = sums;
    // SAFETY: the instruction works on registers alone, and is part of every aarch64.
    unsafe {
        asm!("smlal2 {s:v}.8h, {x:v}.16b, {w:v}.16b", s = inout(vreg) sums, x = in(vreg) x, w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
