//! Tiles of dot products (`sdot`, Armv8.2).
//!
//! A vector of weights holds four terms of four channels; `sdot` by element multiplies them with four activations of
//! one pixel.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernels::aarch64::dense::registers::{load_again, store_bytes};
use crate::kernels::aarch64::dot::{CHANNELS, Dot, Strip, VECTOR};
use crate::kernels::aarch64::epilogue::Target;
use crate::kernels::aarch64::epilogue::rounding::{LANES, round};
use crate::kernels::aarch64::isa::DotProduct;

// SAFETY: `tiles` reads chunks, and quads that are parts of chunks, and stores four sums or bytes for each quarter.
unsafe impl Dot for DotProduct {
    const KIND: &'static str = "dot4_6x16";
    const ISA: &'static str = "neondot";
    const TERMS: usize = 4;
    const TOGETHER: usize = 1;

    #[inline(never)]
    #[target_feature(enable = "dotprod")]
    unsafe fn tiles<const M: usize, const N: usize>(strip: &Strip) {
        let mut target = strip.target;
        for pixels in strip.pixels.as_chunks().0 {
            // SAFETY: ENABLED and STRIP.
            unsafe { tile::<M, N>(strip, pixels, target) };
            target = target.after(M);
        }
    }
}

/// `M` pixels by `N` quarters.
///
/// # Safety
/// ENABLED and TILE. As for [`Dot::tiles`]; the target has the pixels.
#[inline(always)]
unsafe fn tile<const M: usize, const N: usize>(strip: &Strip, pixels: &[*const i8; M], target: Target) {
    // SAFETY: ENABLED and TILE.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); N]; M];
        for sums in &mut sums {
            *sums = load_again(strip.bias);
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
        store(&sums, target);
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
/// ENABLED and WEIGHTS_IN. The weights can be read; the processor has dot products.
#[inline(always)]
unsafe fn multiply<const LANE: usize, const M: usize, const N: usize>(
    sums: &mut [[int32x4_t; N]; M],
    weights: *const i8,
    x: &[int8x16_t; M],
) {
    for n in 0..N {
        // SAFETY: ENABLED and WEIGHTS_IN.
        let w = unsafe { vld1q_s8(weights.add(n * VECTOR)) };
        for (sums, x) in sums.iter_mut().zip(x) {
            sums[n] = sdot_lane::<LANE>(sums[n], w, *x);
        }
    }
}

/// Stores the sums of a tile, or their bytes.
///
/// # Safety
/// TILE. The target has the pixels and `N` quarters.
#[inline(always)]
unsafe fn store<const M: usize, const N: usize>(sums: &[[int32x4_t; N]; M], target: Target) {
    // SAFETY: TILE.
    unsafe {
        match target {
            Target::Sums(to) => {
                for (m, sums) in sums.iter().enumerate() {
                    for (n, sum) in sums.iter().enumerate() {
                        vst1q_s32(to.add(m * LANES + n * CHANNELS), *sum);
                    }
                }
            }
            Target::Bytes { mut to, stride, multiplier, rounding } => {
                let narrow = rounding.load();
                let mut multipliers = [vdupq_n_f32(0.0); N];
                for (n, m) in multipliers.iter_mut().enumerate() {
                    *m = vld1q_f32(multiplier.add(n * CHANNELS));
                }
                let mut bytes = [vdupq_n_s8(0); M];
                for (sums, bytes) in sums.iter().zip(&mut bytes) {
                    let mut rounded = [vdupq_n_s32(0); 4];
                    for n in 0..N {
                        rounded[n] = round(sums[n], multipliers[n]);
                    }
                    let [a, b, ..] = rounded;
                    *bytes = if N < 3 { narrow.half_free([a, b]) } else { narrow.free(rounded) };
                }
                if !rounding.is_free() {
                    for bytes in &mut bytes {
                        *bytes = narrow.bound(*bytes);
                    }
                }
                for bytes in bytes {
                    store_bytes::<N>(to, bytes);
                    to = to.wrapping_add(stride);
                }
            }
        }
    }
}
