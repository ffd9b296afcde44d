//! Tiles of layers with few steps, whose weights are held in registers for all pixels.
//!
//! Such layers requantise nearly as much as they multiply. With tiles as large as for deep layers the processor does one
//! after the other, as it does not look far enough ahead; with small ones it does both at once. They can be small
//! because weights need not be loaded for each, or come with the product, as operands in memory.

use crate::kernels::x86_64::dense::strip::{Pixel, Strip, Target};
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::epilogue::registers::store_bytes;
use crate::kernels::x86_64::epilogue::rounding::Rounding;
use crate::kernels::x86_64::vector::Vectors;

/// Bytes of a pixel of a strip, and how they are made.
#[derive(Clone, Copy)]
struct Bytes {
    to: *mut u8,
    stride: usize,
    multiplier: *const f32,
    rounding: Rounding,
}

/// All tiles of a strip, if it is such a layer's; `false` if it is not.
///
/// # Safety
/// ENABLED and STRIP. As for [`super::tiles::strip`].
#[inline(always)]
pub(crate) unsafe fn strip<S: Dot>(strip: &Strip) -> bool {
    let Target::Bytes { to, stride, multiplier, rounding } = strip.target else { return false };
    let bytes = Bytes { to, stride, multiplier, rounding };
    // SAFETY: ENABLED and STRIP.
    unsafe {
        match (strip.vectors, strip.runs.len(), strip.steps) {
            (1, 1, 8) => pixels::<S, 1, 1, 8>(strip, bytes),
            (1, 1, 4) => pixels::<S, 1, 1, 4>(strip, bytes),
            (2, 1, 4) => pixels::<S, 2, 1, 4>(strip, bytes),
            (4, 1, 4) => pixels::<S, 4, 1, 4>(strip, bytes),
            (1, 1, 6) => pixels::<S, 1, 1, 6>(strip, bytes),
            (2, 1, 6) => pixels::<S, 2, 1, 6>(strip, bytes),
            (4, 1, 6) => pixels::<S, 4, 1, 6>(strip, bytes),
            _ => return false,
        }
    }
    true
}

/// The pixels of a strip with `R` runs of `K` steps.
///
/// # Safety
/// ENABLED and STRIP. As for [`strip`].
#[inline(always)]
unsafe fn pixels<S: Dot, const N: usize, const R: usize, const K: usize>(strip: &Strip, bytes: Bytes) {
    // SAFETY: ENABLED and STRIP.
    unsafe {
        let mut weights = [[[S::load_weights(strip.weights); N]; K]; R];
        let mut from = strip.weights;
        for step in weights.as_flattened_mut() {
            for w in step {
                *w = S::load_weights(from);
                from = from.add(S::V::LANES * S::STEP * S::WEIGHT);
            }
        }
        let mut at = 0;
        let count = strip.pixels.len();
        while N == 4 && R * K > 4 && at + 2 <= count {
            tile::<S, 2, N, R, K>(strip, &weights, at, bytes);
            at += 2;
        }
        while N == 4 && R * K <= 4 && at + 3 <= count {
            tile::<S, 3, N, R, K>(strip, &weights, at, bytes);
            at += 3;
        }
        while N < 4 && at + 4 <= count {
            tile::<S, 4, N, R, K>(strip, &weights, at, bytes);
            at += 4;
        }
        while at < count {
            tile::<S, 1, N, R, K>(strip, &weights, at, bytes);
            at += 1;
        }
    }
}

/// Pixels `at..at + M` of a strip, which exist.
///
/// # Safety
/// ENABLED and TILE. As for [`strip`].
#[inline(always)]
unsafe fn tile<S: Dot, const M: usize, const N: usize, const R: usize, const K: usize>(
    strip: &Strip,
    weights: &[[[S::Weights; N]; K]; R],
    at: usize,
    bytes: Bytes,
) {
    // SAFETY: ENABLED and TILE.
    unsafe {
        let mut sums = [[S::V::load(strip.bias); N]; M];
        let mut pixels = [strip.input; M];
        for m in 0..M {
            let Pixel { offset, .. } = *strip.pixels.get_unchecked(at + m);
            pixels[m] = strip.input.add(offset as usize);
            for n in 0..N {
                sums[m][n] = S::V::load(strip.bias.add(n * S::V::LANES));
            }
        }
        for r in 0..R {
            let run = *strip.runs.get_unchecked(r);
            for k in 0..K {
                for m in 0..M {
                    let x = S::broadcast(pixels[m].add(run + S::STEP * S::ELEMENT * k));
                    for n in 0..N {
                        sums[m][n] = S::dot(sums[m][n], x, weights[r][k][n]);
                    }
                }
            }
        }
        store_bytes::<S::V, M, N>(
            &sums,
            bytes.multiplier,
            &bytes.rounding,
            bytes.to.add(at * bytes.stride),
            bytes.stride,
        );
    }
}
