//! Vectors of 32-bit sums, and the way from sums to bytes in registers.

use crate::quant::{AddQuant, round_saturate};

/// Vectors of one width.
///
/// # Safety
/// The methods may be called only where the instructions exist and from functions that enable them.
pub(super) trait Vectors {
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

/// Requantises `M` pixels of `N` vectors and stores them `stride` bytes apart.
///
/// # Safety
/// The instructions of `V` are enabled in the caller; there are `N` vectors of multipliers and room for the pixels.
#[inline(always)]
pub(super) unsafe fn store_bytes<V: Vectors, const M: usize, const N: usize>(
    sums: &[[V::Sums; N]; M],
    multiplier: *const f32,
    rounding: &Rounding,
    to: *mut u8,
    stride: usize,
) {
    // Four vectors make one of bytes. (No closures here: they would not have the instructions enabled.)
    let mut first = 0;
    while first < M * N {
        // SAFETY: the caller's.
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
/// The instructions of `V` are enabled in the caller; there are `N` vectors of multipliers and, for each pixel, of sums;
/// there is room for the pixels, and the residual has as many bytes.
#[inline(always)]
pub(super) unsafe fn store_added<V: Vectors, const N: usize>(
    pixels: &[[V::Sums; N]],
    multiplier: *const f32,
    residual: &ResidualAt,
    to: *mut u8,
    stride: usize,
) {
    for (m, sums) in pixels.iter().enumerate() {
        // SAFETY: the caller's.
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

/// What requantisation needs beside the multipliers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rounding {
    /// `hi - zero_point`: the product is cut off there before it is rounded, so that the conversion cannot wrap.
    /// Below it needs no care: the conversion yields the smallest integer for all that is too small, and that
    /// saturates rightly.
    pub top: f32,
    /// Zero point of the result.
    pub zero_point: i16,
    /// Smallest byte of the result.
    pub lo: u8,
    /// Largest byte of the result.
    pub hi: u8,
    /// Whether packing, which saturates, is all there is to do: the zero point is 0, and all bytes are in bounds.
    pub plain: bool,
}

/// A residual addition in registers ([`AddQuant`], whose `a` is what a convolution yields).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Addition {
    /// Of the convolution's rounded products: its bytes' bounds, less its zero point.
    pub bounds: [i32; 2],
    /// From rounded products to what `a`'s scale multiplies: the convolution's zero point less that of `a`.
    pub shift: i32,
    /// Zero point of the residual.
    pub zero: i32,
    /// Scales of `a`, of the residual and of the sum.
    pub scales: [f32; 3],
    /// How the quotient becomes a byte.
    pub rounding: Rounding,
}

impl Addition {
    /// For the bytes that `rounding` makes; `None` if a quotient may not fit 32 bits.
    pub fn new(rounding: &Rounding, add: &AddQuant) -> Option<Addition> {
        let scales = [add.a.scale, add.b.scale, add.y.scale];
        let [a, b, y] = scales.map(f64::from);
        let bound = |byte: u8| i32::from(byte) - i32::from(rounding.zero_point);
        (255.0 * (a + b) / y < f64::from(1 << 30)).then(|| Addition {
            bounds: [bound(rounding.lo), bound(rounding.hi)],
            shift: i32::from(rounding.zero_point) - i32::from(add.a.zero_point),
            zero: i32::from(add.b.zero_point),
            scales,
            rounding: Rounding::new(add.y.zero_point, add.lo, add.hi),
        })
    }
}

/// The residual of pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResidualAt {
    pub addition: Addition,
    /// Of the first of the pixels, the first channel.
    pub bytes: *const u8,
    /// Bytes from one pixel to the next.
    pub stride: usize,
}

impl ResidualAt {
    /// From pixel `at` on.
    #[inline(always)]
    pub fn from(mut self, at: usize) -> ResidualAt {
        self.bytes = self.bytes.wrapping_add(at * self.stride);
        self
    }
}

impl Rounding {
    /// Whether the products of sums of at most this size with this multiplier all fit 32 bits, with a bit to spare for
    /// rounding, so that the bounds can be left to the packing, which sees four vectors at once. The rare layer that has
    /// a channel with others takes the way of [`super::rows::requantise`].
    pub fn in_registers(largest_sum: u64, multiplier: f32) -> bool {
        multiplier >= 0.0 && largest_sum as f64 * f64::from(multiplier) < f64::from(1 << 30)
    }

    pub fn new(zero_point: u8, lo: u8, hi: u8) -> Rounding {
        let plain = (zero_point, lo, hi) == (0, 0, 255);
        Rounding { top: f32::from(hi) - f32::from(zero_point), zero_point: i16::from(zero_point), lo, hi, plain }
    }

    /// Whether packing, which saturates, is all the clamping there is.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        (self.lo, self.hi) == (0, 255)
    }

    /// The byte for one product.
    #[inline(always)]
    pub fn apply(&self, product: f32) -> u8 {
        round_saturate(product, self.zero_point as u8, self.lo, self.hi)
    }
}
