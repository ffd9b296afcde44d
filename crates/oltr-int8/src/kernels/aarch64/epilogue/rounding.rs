//! Requantisation and addition on vectors: the arithmetic of [`crate::quant`], sixteen bytes at a time.
//!
//! Conversions to integers (`fcvtns`) round to nearest, ties to even, saturate, and make NaN 0, and so do the narrowing
//! moves after them: the bounds may be applied to bytes at the very end. Bytes are signed, value minus 128.

use std::arch::aarch64::*;

use crate::quant::AddQuant;

/// Channels of a strip, the unit in which layers are computed.
pub(crate) const LANES: usize = 16;

/// A byte's signed value: what it stands for less 128.
pub(crate) fn to_signed(byte: u8) -> i16 {
    i16::from(byte) - 128
}

/// What requantisation needs beside the multipliers, in signed bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rounding {
    /// Zero point of the result.
    pub zero: i16,
    /// Smallest and largest byte of the result.
    lo: i8,
    hi: i8,
}

/// A [`Rounding`] in registers.
#[derive(Clone, Copy)]
pub(crate) struct Narrow {
    zero: int16x8_t,
    lo: int8x16_t,
    hi: int8x16_t,
}

impl Rounding {
    /// From unsigned bytes.
    pub fn new(zero_point: u8, lo: u8, hi: u8) -> Rounding {
        Rounding { zero: to_signed(zero_point), lo: to_signed(lo) as i8, hi: to_signed(hi) as i8 }
    }

    /// The bounds of a result before its zero point is added.
    pub fn float_bounds(&self) -> [f32; 2] {
        [self.lo, self.hi].map(|bound| f32::from(i16::from(bound) - self.zero))
    }

    /// Whether the bounds are those of all bytes, which narrowing keeps by itself.
    #[inline(always)]
    pub fn is_free(&self) -> bool {
        (self.lo, self.hi) == (i8::MIN, i8::MAX)
    }

    /// In registers.
    #[inline(always)]
    pub fn load(&self) -> Narrow {
        // SAFETY: BASELINE.
        unsafe { Narrow { zero: vdupq_n_s16(self.zero), lo: vdupq_n_s8(self.lo), hi: vdupq_n_s8(self.hi) } }
    }

    /// The bytes for the sums of a strip.
    pub fn bytes(&self, sums: &[i32; LANES], multiplier: &[f32; LANES]) -> [u8; LANES] {
        let mut bytes = [0; LANES];
        // SAFETY: the arrays are as long as the vectors that are loaded and stored; BASELINE.
        unsafe {
            let mut rounded = [vdupq_n_s32(0); 4];
            for (i, rounded) in rounded.iter_mut().enumerate() {
                *rounded = round(vld1q_s32(sums.as_ptr().add(4 * i)), vld1q_f32(multiplier.as_ptr().add(4 * i)));
            }
            vst1q_s8(bytes.as_mut_ptr().cast(), self.load().narrow(rounded));
        }
        bytes
    }
}

/// `round(sum * multiplier)`, saturated.
#[inline(always)]
pub(crate) fn round(sums: int32x4_t, multiplier: float32x4_t) -> int32x4_t {
    // SAFETY: BASELINE.
    unsafe { vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), multiplier)) }
}

impl Narrow {
    /// Adds the zero point and narrows to bytes within the bounds.
    #[inline(always)]
    pub fn narrow(&self, rounded: [int32x4_t; 4]) -> int8x16_t {
        self.bound(self.free(rounded))
    }

    /// Applies the bounds.
    #[inline(always)]
    pub fn bound(&self, bytes: int8x16_t) -> int8x16_t {
        // SAFETY: BASELINE.
        unsafe { vminq_s8(vmaxq_s8(bytes, self.lo), self.hi) }
    }

    /// [`Narrow::narrow`] where the bounds are those of all bytes.
    #[inline(always)]
    pub fn free(&self, [a, b, c, d]: [int32x4_t; 4]) -> int8x16_t {
        // SAFETY: BASELINE.
        unsafe {
            let ab = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero);
            let cd = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(c), d), self.zero);
            vqmovn_high_s16(vqmovn_s16(ab), cd)
        }
    }

    /// [`Narrow::free`] for eight bytes; the other eight are arbitrary.
    #[inline(always)]
    pub fn half_free(&self, [a, b]: [int32x4_t; 2]) -> int8x16_t {
        // SAFETY: BASELINE.
        unsafe {
            let bytes = vqmovn_s16(vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero));
            vcombine_s8(bytes, vdup_n_s8(0))
        }
    }

    /// [`Narrow::narrow`] for eight bytes.
    #[inline(always)]
    pub fn narrow_half(&self, [a, b]: [int32x4_t; 2]) -> int8x8_t {
        // SAFETY: BASELINE.
        unsafe {
            let bytes = vqmovn_s16(vqaddq_s16(vqmovn_high_s32(vqmovn_s32(a), b), self.zero));
            vmin_s8(vmax_s8(bytes, vget_low_s8(self.lo)), vget_low_s8(self.hi))
        }
    }
}

/// An [`AddQuant`] in registers.
#[derive(Clone, Copy)]
pub(crate) struct Adder {
    scales: [float32x4_t; 3],
    zeros: [int8x8_t; 2],
    narrow: Narrow,
}

impl Adder {
    #[inline(always)]
    pub fn new(add: &AddQuant) -> Adder {
        let narrow = Rounding::new(add.y.zero_point, add.lo, add.hi).load();
        // SAFETY: BASELINE.
        unsafe {
            Adder {
                scales: [add.a.scale, add.b.scale, add.y.scale].map(|scale| vdupq_n_f32(scale)),
                zeros: [add.a.zero_point, add.b.zero_point].map(|zero| vdup_n_s8(to_signed(zero) as i8)),
                narrow,
            }
        }
    }

    /// The first summand, without its zero point.
    #[inline(always)]
    pub fn first(&self, bytes: int8x16_t) -> [float32x4_t; 4] {
        widen(bytes, self.zeros[0])
    }

    /// The second summand, dequantised.
    #[inline(always)]
    pub fn second(&self, bytes: int8x16_t) -> [float32x4_t; 4] {
        // SAFETY: BASELINE.
        widen(bytes, self.zeros[1]).map(|v| unsafe { vmulq_f32(v, self.scales[1]) })
    }

    /// The rounded sum without its zero point, from the first summand without its zero point and the second
    /// dequantised. The quotient is a true division.
    #[inline(always)]
    pub fn add(&self, a: float32x4_t, b: float32x4_t) -> int32x4_t {
        // SAFETY: BASELINE.
        unsafe { vcvtnq_s32_f32(vdivq_f32(vaddq_f32(vmulq_f32(a, self.scales[0]), b), self.scales[2])) }
    }

    /// The bytes of sixteen sums.
    #[inline(always)]
    pub fn narrow(&self, sums: [int32x4_t; 4]) -> int8x16_t {
        self.narrow.narrow(sums)
    }
}

/// Adds 16-bit sums to 32-bit ones.
#[inline(always)]
pub(crate) fn add_wide(sums: &mut [int32x4_t; 2], products: int16x8_t) {
    // SAFETY: BASELINE.
    unsafe {
        sums[0] = vaddw_s16(sums[0], vget_low_s16(products));
        sums[1] = vaddw_high_s16(sums[1], products);
    }
}

/// Sixteen bytes less a zero point, as single-precision numbers.
#[inline(always)]
pub(crate) fn widen(bytes: int8x16_t, zero: int8x8_t) -> [float32x4_t; 4] {
    // SAFETY: BASELINE.
    unsafe {
        let low = vsubl_s8(vget_low_s8(bytes), zero);
        let high = vsubl_high_s8(bytes, vcombine_s8(zero, zero));
        [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
            .map(|v| vcvtq_f32_s32(v))
    }
}
