//! What requantisation and residual additions need beside multipliers.

use crate::quant::{AddQuant, round_saturate};

/// What requantisation needs beside the multipliers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rounding {
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
pub(crate) struct Addition {
    /// Bounds of the convolution's rounded products: those of its bytes, less its zero point.
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
pub(crate) struct ResidualAt {
    pub addition: Addition,
    /// Pointer to channel 0 of the first pixel.
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
    /// a channel with others takes the way of [`super::requantise::requantise`].
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
