//! Vectors of 32-bit sums, of one width each.

use crate::kernels::x86_64::epilogue::rounding::{Addition, Rounding};

#[cfg(test)]
pub(crate) mod emulated;
pub(crate) mod ymm;
pub(crate) mod zmm;

/// Vectors of one width.
///
/// # Safety
/// Callers of the methods promise ENABLED, and LANES_IN or LANES_OUT of pointers, as [`crate::kernels::safety`] has them.
pub(crate) trait Vectors {
    /// [`Vectors::LANES`] sums.
    type Sums: Copy;

    /// `4 * LANES` bytes.
    type Bytes: Copy;

    /// Lanes of a vector.
    const LANES: usize;

    /// Loads aligned sums.
    unsafe fn load(from: *const i32) -> Self::Sums;

    /// Stores sums to memory of any alignment.
    unsafe fn store(to: *mut i32, sums: Self::Sums);

    /// `sums - subtrahend` in every lane.
    unsafe fn subtract(sums: Self::Sums, subtrahend: i32) -> Self::Sums;

    /// The products with the multipliers at `multiplier`, rounded to nearest, ties to even. They are below 2³¹, see
    /// [`Rounding::in_registers`].
    unsafe fn round(sums: Self::Sums, multiplier: *const f32) -> Self::Sums;

    /// Brings rounded products between the bounds of `addition` and adds [`Vectors::LANES`] bytes of the residual: the
    /// quotients, rounded as by [`Vectors::round`].
    unsafe fn add_residual(rounded: Self::Sums, residual: *const u8, addition: &Addition) -> Self::Sums;

    /// Four vectors of rounded products to bytes: the zero point is added, all saturate, and are brought between `lo`
    /// and `hi`. Each 128-bit part of the result holds what that part of the four vectors held.
    unsafe fn pack_parts(rounded: [Self::Sums; 4], rounding: &Rounding) -> Self::Bytes;

    /// From the order of [`Vectors::pack_parts`] to one vector after the other.
    unsafe fn join_parts(bytes: Self::Bytes) -> Self::Bytes;

    /// Stores the bytes of vector `part` of four.
    unsafe fn store_one(bytes: Self::Bytes, part: usize, to: *mut u8);

    /// Stores the bytes of two neighbouring vectors, of half `half`.
    unsafe fn store_two(bytes: Self::Bytes, half: usize, to: *mut u8);

    /// Stores the bytes of all four vectors.
    unsafe fn store_four(bytes: Self::Bytes, to: *mut u8);
}
