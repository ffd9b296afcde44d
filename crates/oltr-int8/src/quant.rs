//! THE definitions of quantise, dequantise and requantise; every kernel agrees with these bit for bit.
//!
//! Values inside an int8 program are unsigned bytes. An ONNX int8 tensor becomes unsigned by adding 128 to the value
//! and to the zero point, which changes nothing that it stands for.

/// Scale and zero point of a tensor of activations, in the unsigned domain.
///
/// A byte `q` stands for the real number `(q - zero_point) * scale` (ONNX DequantizeLinear).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Real size of one step, positive and finite.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

impl Quant {
    /// `(q - zero_point) * scale` in single precision (ONNX DequantizeLinear).
    #[inline(always)]
    pub fn dequantise(self, q: u8) -> f32 {
        (i32::from(q) - i32::from(self.zero_point)) as f32 * self.scale
    }

    /// `saturate(round(x / scale) + zero_point)`, ties to even (ONNX QuantizeLinear). NaN becomes the zero point.
    #[inline(always)]
    pub fn quantise(self, x: f32) -> u8 {
        round_saturate(x / self.scale, self.zero_point, 0, 255)
    }
}

/// `round(v) + zero_point`, ties to even, kept within `lo..=hi`; NaN becomes `zero_point` (then kept within).
///
/// The bounds are applied before rounding, which is the same thing for whole bounds and keeps every value within
/// what an integer conversion can hold: 1e30 and infinity saturate instead of wrapping.
#[inline(always)]
pub fn round_saturate(v: f32, zero_point: u8, lo: u8, hi: u8) -> u8 {
    let zp = i32::from(zero_point);
    let v = if v.is_nan() { 0.0 } else { v };
    let v = v.max((i32::from(lo) - zp) as f32).min((i32::from(hi) - zp) as f32);
    (round_small(v) + zp) as u8
}

/// `v` rounded to nearest, ties to even, for |v| ≤ 2²².
///
/// Adding 1.5·2²³ leaves no fraction bits, so the addition itself rounds, in the way that IEEE 754 prescribes, and the
/// low bits are the integer. Unlike `round_ties_even` this is plain arithmetic that compilers turn into vectors on
/// every instruction set.
#[inline(always)]
fn round_small(v: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    ((v + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32)
}

/// How the 32-bit sums of a layer become bytes: `clamp(round(sum * multiplier[c]) + zero_point, lo, hi)`.
///
/// The arithmetic of ONNX QLinearConv and QLinearMatMul: the sum is converted to single precision (to nearest,
/// ties to even), multiplied once, rounded to nearest, ties to even. `multiplier = scale_x * scale_w / scale_y`,
/// multiplied and divided in that order in single precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Requant {
    /// One multiplier for each output channel, finite and positive.
    pub multiplier: Vec<f32>,
    /// Zero point of the result.
    pub zero_point: u8,
    /// Smallest byte of the result: a fused ReLU or Clip raises it.
    pub lo: u8,
    /// Largest byte of the result, at least `lo`.
    pub hi: u8,
}

impl Requant {
    /// The byte for a sum of output channel `channel`.
    #[inline(always)]
    pub fn apply(&self, sum: i32, channel: usize) -> u8 {
        round_saturate(sum as f32 * self.multiplier[channel], self.zero_point, self.lo, self.hi)
    }
}

/// Addition of two quantised tensors: dequantise, add in single precision, quantise (ONNX QDQ Add).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddQuant {
    /// Quantisation of the first tensor.
    pub a: Quant,
    /// Quantisation of the second tensor.
    pub b: Quant,
    /// Quantisation of the sum.
    pub y: Quant,
    /// Smallest byte of the sum.
    pub lo: u8,
    /// Largest byte of the sum, at least `lo`.
    pub hi: u8,
}

impl AddQuant {
    /// The byte for the sum of `a` and `b`. The quotient is a true division: a product with the reciprocal rounds
    /// differently at ties.
    #[inline(always)]
    pub fn apply(&self, a: u8, b: u8) -> u8 {
        let sum = self.a.dequantise(a) + self.b.dequantise(b);
        round_saturate(sum / self.y.scale, self.y.zero_point, self.lo, self.hi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantise_is_onnx() {
        let q = Quant { scale: 1.0, zero_point: 128 };
        for (x, expected) in [
            (0.5, 128),
            (1.5, 130),
            (2.5, 130),
            (-0.5, 128),
            (-1.5, 126),
            (3e9, 255),
            (-3e9, 0),
            (f32::INFINITY, 255),
            (f32::NEG_INFINITY, 0),
            (f32::NAN, 128),
            (127.4, 255),
            (126.5, 254),
        ] {
            assert_eq!(q.quantise(x), expected, "{x}");
        }
    }

    #[test]
    fn rounding_is_to_nearest_ties_to_even() {
        for i in -2_000_000..2_000_000 {
            let v = i as f32 / 1024.0;
            assert_eq!(round_small(v), v.round_ties_even() as i32, "{v}");
        }
        for v in [0.5f32, 1.5, 254.5, 255.5, 4_194_303.5] {
            for v in [v, -v, v.next_up(), v.next_down()] {
                assert_eq!(round_small(v), v.round_ties_even() as i32, "{v}");
            }
        }
    }

    #[test]
    fn an_odd_zero_point_is_added_after_rounding() {
        let q = Quant { scale: 1.0, zero_point: 3 };
        assert_eq!([q.quantise(0.5), q.quantise(1.5)], [3, 5]);
    }

    #[test]
    fn every_byte_survives_the_round_trip() {
        for zero_point in [0, 1, 127, 128, 255] {
            let q = Quant { scale: 0.017, zero_point };
            for b in 0..=255 {
                assert_eq!(q.quantise(q.dequantise(b)), b);
            }
        }
    }

    #[test]
    fn requantise_keeps_its_bounds_at_the_extremes() {
        let r = Requant { multiplier: vec![1.0, 1e30], zero_point: 10, lo: 10, hi: 200 };
        assert_eq!(r.apply(i32::MAX, 0), 200);
        assert_eq!(r.apply(i32::MIN, 1), 10);
        assert_eq!(r.apply(5, 0), 15);
    }
}
