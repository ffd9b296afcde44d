//! From sums to bytes in registers.

use crate::kernels::x86_64::epilogue::rounding::{ResidualAt, Rounding};
use crate::kernels::x86_64::vector::Vectors;

/// Requantises `M` pixels of `N` vectors and stores them `stride` bytes apart.
///
/// # Safety
/// ENABLED and TILE. The instructions of `V` are enabled in the caller; there are `N` vectors of multipliers and room for the pixels.
#[inline(always)]
pub(crate) unsafe fn store_bytes<V: Vectors, const M: usize, const N: usize>(
    sums: &[[V::Sums; N]; M],
    multiplier: *const f32,
    rounding: &Rounding,
    to: *mut u8,
    stride: usize,
) {
    // Four vectors make one of bytes. (No closures here: they would not have the instructions enabled.)
    let mut first = 0;
    while first < M * N {
        // SAFETY: ENABLED and TILE.
        unsafe {
            let mut rounded = [sums[0][0]; 4];
            for (i, rounded) in rounded.iter_mut().enumerate() {
                let (m, n) = ((first + i) / N, (first + i) % N);
                if m < M {
                    *rounded = V::round(sums[m][n], multiplier.add(n * V::LANES));
                }
            }
            let bytes = V::join_parts(V::pack_parts(rounded, rounding));
            if N.is_multiple_of(4) {
                V::store_four(bytes, to.add(first / N * stride + first % N * V::LANES));
            } else if N == 1 && stride == V::LANES && first + 4 <= M {
                // The pixels lie side by side.
                V::store_four(bytes, to.add(first * V::LANES));
            } else {
                for half in 0..2 {
                    let (m, n) = ((first + 2 * half) / N, (first + 2 * half) % N);
                    let to = to.add(m * stride + n * V::LANES);
                    if m < M && n + 1 < N {
                        V::store_two(bytes, half, to);
                    } else if m < M {
                        V::store_one(bytes, 2 * half, to);
                        if m + 1 < M {
                            V::store_one(bytes, 2 * half + 1, to.add(stride - n * V::LANES));
                        }
                    }
                }
            }
        }
        first += 4;
    }
}

/// Requantises pixels of `N` vectors, up to 4, adds the residual and stores them `stride` bytes apart.
///
/// The sums come from memory, and so as not to burden the tile's loop: unrolled over them, this would not leave them in
/// registers there.
///
/// # Safety
/// ENABLED and TILE. The instructions of `V` are enabled in the caller; there are `N` vectors of multipliers and, for each pixel, of sums;
/// there is room for the pixels, and the residual has as many bytes.
#[inline(always)]
pub(crate) unsafe fn store_added<V: Vectors, const N: usize>(
    pixels: &[[V::Sums; N]],
    multiplier: *const f32,
    residual: &ResidualAt,
    to: *mut u8,
    stride: usize,
) {
    for (m, sums) in pixels.iter().enumerate() {
        // SAFETY: ENABLED and TILE.
        unsafe {
            let from = residual.bytes.add(m * residual.stride);
            let mut rounded = [sums[0]; 4];
            for n in 0..N {
                let product = V::round(sums[n], multiplier.add(n * V::LANES));
                rounded[n] = V::add_residual(product, from.add(n * V::LANES), &residual.addition);
            }
            let bytes = V::join_parts(V::pack_parts(rounded, &residual.addition.rounding));
            let to = to.add(m * stride);
            if N == 4 {
                V::store_four(bytes, to);
            } else {
                for n in 0..N {
                    V::store_one(bytes, n, to.add(n * V::LANES));
                }
            }
        }
    }
}
