//! Tiles of dot products (`sdot`, Armv8.2).
//!
//! A vector of weights holds four terms of four channels; `sdot` by element multiplies them with four activations of
//! one pixel.

use std::arch::aarch64::*;
use std::arch::asm;

use super::epilogue::{LANES, Target};
use super::panels::{self, CHANNELS, Product, Strip, VECTOR};
use super::vectors::{Narrow, opaque, round};

/// The proof that the processor has dot products.
#[derive(Clone, Copy, Debug)]
pub(super) struct DotProduct(());

impl DotProduct {
    pub fn new() -> Option<DotProduct> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(DotProduct(()))
    }
}

// SAFETY: `tile` reads chunks, and quads that are parts of chunks, and stores four sums or bytes for each quarter.
unsafe impl Product for DotProduct {
    const NAME: &'static str = "conv_s8s8s8_6x16__neondot";
    const TERMS: usize = 4;
    const TOGETHER: usize = 1;

    #[target_feature(enable = "dotprod")]
    unsafe fn tiles<const N: usize>(strip: &Strip) {
        // SAFETY: the caller's.
        unsafe { panels::tiles::<DotProduct, N>(strip) }
    }

    #[inline(always)]
    unsafe fn tile<const M: usize, const N: usize>(strip: &Strip, pixels: &[*const i8; M], at: usize) {
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); N]; M];
            for sums in &mut sums {
                let bias = opaque(strip.bias);
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = vld1q_s32(bias.add(n * CHANNELS));
                }
            }
            let mut weights = strip.weights;
            for offset in strip.chunks {
                let mut x = [vdupq_n_s8(0); M];
                for m in 0..M {
                    x[m] = vld1q_s8(pixels[m].add(*offset as usize));
                }
                multiply::<0, M, N>(&mut sums, weights, &x);
                multiply::<1, M, N>(&mut sums, weights.add(N * VECTOR), &x);
                multiply::<2, M, N>(&mut sums, weights.add(2 * N * VECTOR), &x);
                multiply::<3, M, N>(&mut sums, weights.add(3 * N * VECTOR), &x);
                weights = weights.add(4 * N * VECTOR);
            }
            for offset in strip.steps {
                let mut x = [vdupq_n_s8(0); M];
                for m in 0..M {
                    let quad = pixels[m].add(*offset as usize).cast::<i32>().read_unaligned();
                    x[m] = vreinterpretq_s8_s32(vsetq_lane_s32::<0>(quad, vdupq_n_s32(0)));
                }
                multiply::<0, M, N>(&mut sums, weights, &x);
                weights = weights.add(N * VECTOR);
            }
            store(&sums, strip.target, at);
        }
    }
}

/// `sums + products` with quad `LANE` of the activations.
#[inline(always)]
fn sdot_lane<const LANE: usize>(sums: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the instruction works on registers alone. It is there: only functions that enable it come here.
    unsafe {
        asm!("sdot {s:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]", s = inout(vreg) sums, w = in(vreg) weights,
            x = in(vreg) x, lane = const LANE, options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// One step of a tile: quad `LANE` of all pixels with `N` vectors of weights.
///
/// # Safety
/// The weights can be read; the processor has dot products.
#[inline(always)]
unsafe fn multiply<const LANE: usize, const M: usize, const N: usize>(
    sums: &mut [[int32x4_t; N]; M],
    weights: *const i8,
    x: &[int8x16_t; M],
) {
    for n in 0..N {
        // SAFETY: the caller's.
        let w = unsafe { vld1q_s8(weights.add(n * VECTOR)) };
        for (sums, x) in sums.iter_mut().zip(x) {
            sums[n] = sdot_lane::<LANE>(sums[n], w, *x);
        }
    }
}

/// Stores the sums of a tile, or their bytes; the first pixel is pixel `at` of the strip.
///
/// # Safety
/// The target has the pixels and `N` quarters.
#[inline(always)]
unsafe fn store<const M: usize, const N: usize>(sums: &[[int32x4_t; N]; M], target: Target, at: usize) {
    // SAFETY: the caller's.
    unsafe {
        match target {
            Target::Sums(to) => {
                for (m, sums) in sums.iter().enumerate() {
                    for (n, sum) in sums.iter().enumerate() {
                        vst1q_s32(to.add((at + m) * LANES + n * CHANNELS), *sum);
                    }
                }
            }
            Target::Bytes { to, stride, multiplier, rounding } => {
                let narrow = rounding.load();
                let mut multipliers = [vdupq_n_f32(0.0); N];
                for (n, m) in multipliers.iter_mut().enumerate() {
                    *m = vld1q_f32(multiplier.add(n * CHANNELS));
                }
                let mut to = to.add(at * stride);
                if N == 4 && rounding.is_free() {
                    for sums in sums {
                        let rounded = std::array::from_fn(|n| round(sums[n % N], multipliers[n % N]));
                        vst1q_s8(to.cast(), narrow.narrow_free(rounded));
                        to = to.wrapping_add(stride);
                    }
                } else {
                    for sums in sums {
                        store_pixel(sums, &multipliers, &narrow, to);
                        to = to.wrapping_add(stride);
                    }
                }
            }
        }
    }
}

/// Requantises and stores the bytes of one pixel.
///
/// # Safety
/// `4 * N` bytes can be written.
#[inline(always)]
unsafe fn store_pixel<const N: usize>(
    sums: &[int32x4_t; N],
    multipliers: &[float32x4_t; N],
    narrow: &Narrow,
    to: *mut u8,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut rounded = [vdupq_n_s32(0); 4];
        for (n, sum) in sums.iter().enumerate() {
            rounded[n] = round(*sum, multipliers[n]);
        }
        let to = to.cast::<i8>();
        if N == 4 {
            return vst1q_s8(to, narrow.narrow(rounded));
        }
        let [a, b, c, _] = rounded;
        let first = narrow.narrow_half([a, b]);
        match N {
            1 => vst1_lane_s32::<0>(to.cast(), vreinterpret_s32_s8(first)),
            _ => vst1_s8(to, first),
        }
        if N == 3 {
            vst1_lane_s32::<0>(to.add(8).cast(), vreinterpret_s32_s8(narrow.narrow_half([c, c])));
        }
    }
}
