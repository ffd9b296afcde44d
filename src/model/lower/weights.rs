//! Weights and biases of convolutions and products: reading, checking, reordering.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::super::graph::Values;
use super::super::origin::Raw;
use super::super::quantised::{QConst, View};

/// Weights, and how they are counted: output channels, taps, input channels of a group.
pub(super) struct Weights<'a> {
    values: Signed<'a>,
    counts: [usize; 3],
    strides: [usize; 3],
}

/// Weights less their zero points.
enum Signed<'a> {
    /// As the file has them, where they stay until they are asked for.
    Raw(&'a Raw<'a>),
    Centred(Vec<i8>),
}

impl Signed<'_> {
    fn len(&self) -> usize {
        match self {
            Signed::Raw(raw) => raw.len(),
            Signed::Centred(values) => values.len(),
        }
    }

    fn get(&self) -> Cow<'_, [i8]> {
        match self {
            Signed::Raw(raw) => raw.signed(),
            Signed::Centred(values) => Cow::Borrowed(values),
        }
    }
}

impl<'a> Weights<'a> {
    /// `None` where a weight minus its zero point does not fit a signed byte, or there are too few.
    pub fn new(constant: &QConst<'a>, counts: [usize; 3], strides: [usize; 3]) -> Option<Weights<'a>> {
        let values = match &constant.value.values {
            Values::I8(v) if constant.params.zeros.iter().all(|z| *z == 0) => Signed::Raw(v),
            _ => Signed::Centred(constant.map_centred(|_, value| i8::try_from(value).ok())?),
        };
        (values.len() == counts.iter().product::<usize>()).then_some(Weights { values, counts, strides })
    }

    /// Numbers in the order output channel, tap, input channel, as one part, or as a part and what is missing.
    pub fn from_values(values: Vec<i32>, counts: [usize; 3]) -> Option<(Weights<'a>, Vec<Weights<'a>>)> {
        let [o, taps, i] = counts;
        let mut parts = Weights::parts(values, counts, [taps * i, i, 1]).filter(|_| o > 0)?.into_iter();
        Some((parts.next()?, parts.collect()))
    }

    /// Weights of which some do not fit a signed byte, less their zero point: a part that does, and what is missing, in as
    /// many parts as that takes (two at most, for -255 to 255).
    pub fn split(constant: &QConst<'a>, counts: [usize; 3], strides: [usize; 3]) -> Option<Vec<Weights<'a>>> {
        Weights::parts(constant.centred()?, counts, strides)
    }

    fn parts(mut rest: Vec<i32>, counts: [usize; 3], strides: [usize; 3]) -> Option<Vec<Weights<'a>>> {
        if rest.len() != counts.iter().product::<usize>() {
            return None;
        }
        let mut parts = Vec::new();
        while parts.is_empty() || rest.iter().any(|w| *w != 0) {
            let part: Vec<i8> = rest.iter().map(|w| (*w).clamp(-128, 127) as i8).collect();
            rest.iter_mut().zip(&part).for_each(|(w, part)| *w -= i32::from(*part));
            parts.push(Weights { values: Signed::Centred(part), counts, strides });
        }
        (parts.len() <= 3).then_some(parts)
    }

    /// Largest size of the sums of an output channel, whatever the input less its zero point is.
    pub fn largest_sums(&self, zero: u8) -> Vec<u64> {
        let ([o, taps, i], values) = (self.counts, self.ordered());
        let input = u64::from(zero.max(255 - zero));
        let sum = |row: &[i8]| row.iter().map(|w| u64::from(w.unsigned_abs()) * input).sum();
        if taps * i == 0 { vec![0; o] } else { values.chunks_exact(taps * i).map(sum).collect() }
    }

    /// Output channels, taps, input channels of a group.
    pub fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// In the order output channel, tap, input channel.
    pub fn ordered(&self) -> Vec<i8> {
        let ([o, taps, i], [so, st, si]) = (self.counts, self.strides);
        let values = self.values.get();
        if si == 1 && (taps == 1 || st == i) && so == taps * i {
            return values.into_owned();
        }
        let mut weights = Vec::with_capacity(values.len());
        for o in 0..o {
            for t in 0..taps {
                let first = o * so + t * st;
                weights.extend((0..i).map(|i| values[first + i * si]));
            }
        }
        weights
    }

    /// `bias`, moved where it has to be so that no sum leaves 32 bits, whatever the input; `None` where that takes more than
    /// half of 1/255 of it, which may be more than half a step of the result.
    ///
    /// Only quantisers that scale the weights of a dead channel until its bias just fits write such a one; the move
    /// is then less than a ten-thousandth of it, where a sum that wraps would turn the sign.
    pub fn safe_bias(&self, bias: &[i32], zero: u8) -> Option<Vec<i32>> {
        let ([_, taps, i], [so, st, si]) = (self.counts, self.strides);
        let (low, high) = (-i64::from(zero), 255 - i64::from(zero));
        // What no weights, each 128 at most, can give together need not be summed: nearly every layer's.
        let most = (taps * i) as i64 * 128 * 255;
        let read = OnceCell::new();
        let safe = |(o, bias): (usize, &i32)| {
            if i64::from(bias.unsigned_abs()) + most <= i64::from(i32::MAX) {
                return Some(*bias);
            }
            let values = read.get_or_init(|| self.values.get());
            let (mut positive, mut negative) = (0i64, 0i64);
            for t in 0..taps {
                for i in 0..i {
                    let w = i64::from(values[o * so + t * st + i * si]);
                    positive += w.max(0);
                    negative += w.min(0);
                }
            }
            let (least, most) = (positive * low + negative * high, positive * high + negative * low);
            let (from, to) = (i64::from(i32::MIN) - least, i64::from(i32::MAX) - most);
            let bias = i64::from(*bias);
            let moved = (from <= to).then(|| bias.clamp(from, to))?;
            ((moved - bias).abs() <= bias.abs() / 512).then_some(moved as i32)
        };
        bias.iter().enumerate().map(safe).collect()
    }
}

/// A bias in units of the product of the scales, as ONNX defines it for quantised convolutions: one for each channel, which
/// are the last dimension of it.
pub(super) fn int_bias(view: &View, name: &str, scales: &[f32]) -> Option<Vec<i32>> {
    let constant = view.constant(name)?;
    let bias = constant.centred()?;
    let own = constant.scales(scales.len(), 0)?;
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-5 * b.abs();
    let volume = bias.len() == scales.len() && constant.value.shape.last().is_none_or(|n| *n == scales.len());
    (volume && own.iter().zip(scales).all(|(a, b)| near(*a, *b))).then_some(bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(values: &[i8], counts: [usize; 3], strides: [usize; 3]) -> Weights<'static> {
        Weights { values: Signed::Centred(values.to_vec()), counts, strides }
    }

    #[test]
    fn each_order_of_the_file_becomes_the_kernels() {
        // OIHW with 2 outputs, 3 inputs, 2 taps
        let oihw: Vec<i8> = (0..12).collect();
        assert_eq!(weights(&oihw, [2, 2, 3], [6, 1, 2]).ordered(), [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        // [k, n] and [n, k]
        assert_eq!(weights(&[1, 2, 3, 4, 5, 6], [3, 1, 2], [1, 0, 3]).ordered(), [1, 4, 2, 5, 3, 6]);
        assert_eq!(weights(&[1, 2, 3, 4, 5, 6], [3, 1, 2], [2, 0, 1]).ordered(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_bias_gives_way_only_as_far_as_the_sum_needs() {
        let w = weights(&[100, -50], [1, 1, 2], [2, 2, 1]);
        // inputs are -3..=252: the sum of products is -12900..=25350
        assert_eq!(w.safe_bias(&[7], 3), Some(vec![7]));
        assert_eq!(w.safe_bias(&[i32::MAX], 3), Some(vec![i32::MAX - 25_350]));
        assert_eq!(w.safe_bias(&[i32::MIN], 3), Some(vec![i32::MIN + 12_900]));
        assert_eq!(w.safe_bias(&[i32::MAX - 25_350], 3), Some(vec![i32::MAX - 25_350]));
        // Every tap counts: -65280 at least.
        let w = weights(&[-128, -128], [1, 2, 1], [2, 1, 1]);
        assert_eq!(w.safe_bias(&[i32::MIN + 40_000], 0), Some(vec![i32::MIN + 65_280]));
        // Sums that do not fit without a bias, or with one that would change by much.
        let many = vec![127; 80_000];
        let w = weights(&many, [1, 1, 80_000], [80_000, 0, 1]);
        assert_eq!(w.safe_bias(&[0], 0), None);
        let w = weights(&many[..1000], [1, 1, 1000], [1000, 0, 1]);
        assert_eq!(w.safe_bias(&[i32::MAX], 0), None);
    }
}
