//! The minimal filterings that [`super::Winograd`] computes: points, matrices, and what their scaling costs.
//!
//! Outputs of a filter with `TAPS` taps along an axis are `AT [(G w) . (BT x)]` (Winograd 1980, by Toom and Cook's
//! interpolation): `BT` evaluates at points, `AT` interpolates, both with whole coefficients here. `G` would be of
//! fractions, and is scaled to whole numbers row by row, as `AT` and one division at the end make good. Of a filter of stride
//! 2, even and odd taps are filters of stride 1 of their own, over the even and the odd inputs; their products are added
//! before the interpolation. The odd ones have a tap less: zero at infinity, where nothing is multiplied for them.

use std::arch::x86_64::*;
use std::fmt::Debug;

/// A minimal filtering along an axis: `OUT` outputs from `IN` inputs, by as many points. The last point is infinity.
///
/// # Safety
/// Of activations between 0 and 255, the values of [`Scheme::bt`] in both directions plus the weights [`Scheme::G`] in
/// both directions fit 16 bits, point by point: the tiles add them.
pub(in super::super) unsafe trait Scheme<const IN: usize, const OUT: usize>:
    Copy + Debug + Send + Sync + 'static
{
    /// As in the kernel's name.
    const NAME: &'static str;

    /// 1 or 2.
    const STRIDE: usize;

    /// `G` with scaled rows, one of a tap for each point. Unused taps are 0.
    const G: [[i32; 3]; IN];

    /// The inverse modulo 2^32 of the odd part of what both directions scale a result with, and the power of two that is
    /// the rest of it.
    const INVERSE: i32;
    const SHIFT: i32;

    /// Fewest tiles of a map: below, reading the weights takes longer than the multiplications saved.
    const FEWEST_TILES: usize;

    /// Fewest input channels, a multiple of 16: below, the transforms take longer.
    const FEWEST_CHANNELS: usize;

    /// `BT d`, modulo 2^16.
    ///
    /// # Safety
    /// The caller enables AVX2; so for the next.
    unsafe fn bt(d: [__m256i; IN]) -> [__m256i; IN];

    /// `AT m` with the scales that [`Scheme::G`] leaves out, modulo 2^32.
    ///
    /// # Safety
    /// See [`Scheme::bt`].
    unsafe fn at(m: [__m256i; IN]) -> [__m256i; OUT];
}

/// The inverse of 9 modulo 2^32.
const INVERSE_OF_9: i32 = 954_437_177;

macro_rules! operations {
    ($add:ident, $sub:ident, $add_with:ident, $sub_with:ident) => {
        let ($add, $sub) = (|a, b| unsafe { $add_with(a, b) }, |a, b| unsafe { $sub_with(a, b) });
    };
}

/// F(4×4, 3×3) of stride 1 (Lavin and Gray 2015): points 0, 1, -1, 2, -2 and infinity; 36 products for 144.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Four;

// SAFETY: tested below.
unsafe impl Scheme<6, 4> for Four {
    const NAME: &'static str = "4x4";
    const STRIDE: usize = 1;
    // 24 G, its rows scaled by 1, 1/2, 1/2, 1, 1, 1/2.
    const G: [[i32; 3]; 6] = [[6, 0, 0], [-2, -2, -2], [-2, 2, -2], [1, 2, 4], [1, -2, 4], [0, 0, 12]];
    // 576 is 9 * 64.
    const INVERSE: i32 = INVERSE_OF_9;
    const SHIFT: i32 = 6;
    const FEWEST_TILES: usize = 12;
    const FEWEST_CHANNELS: usize = 16;

    #[inline(always)]
    unsafe fn bt(d: [__m256i; 6]) -> [__m256i; 6] {
        // SAFETY: the caller's, here and in what follows.
        operations!(add, sub, _mm256_add_epi16, _mm256_sub_epi16);
        let times_2 = |a| add(a, a);
        let times_4 = |a| unsafe { _mm256_slli_epi16::<2>(a) };
        let (a, b) = (sub(d[4], times_4(d[2])), sub(d[3], times_4(d[1])));
        let (c, e) = (sub(d[4], d[2]), times_2(sub(d[3], d[1])));
        [add(times_4(sub(d[0], d[2])), c), add(a, b), sub(a, b), add(c, e), sub(c, e), sub(sub(d[5], d[3]), times_2(e))]
    }

    #[inline(always)]
    unsafe fn at(m: [__m256i; 6]) -> [__m256i; 4] {
        // SAFETY: the caller's, here and in what follows.
        operations!(add, sub, _mm256_add_epi32, _mm256_sub_epi32);
        let times_2 = |a| add(a, a);
        let (s12, d12) = (times_2(add(m[1], m[2])), times_2(sub(m[1], m[2])));
        let (s34, d34) = (add(m[3], m[4]), sub(m[3], m[4]));
        let [four_s34, eight_d34] = unsafe { [_mm256_slli_epi32::<2>(s34), _mm256_slli_epi32::<3>(d34)] };
        [add(m[0], add(s12, s34)), add(d12, times_2(d34)), add(s12, four_s34), add(add(d12, times_2(m[5])), eight_d34)]
    }
}

/// F(2×2, 3×3) of stride 1: points 0, 1, -1 and infinity; 16 products for 36, with half of the weights of [`Four`].
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Two;

// SAFETY: tested below.
unsafe impl Scheme<4, 2> for Two {
    const NAME: &'static str = "2x2";
    const STRIDE: usize = 1;
    // 2 G, its rows scaled by -1/2, 1, 1, 1/2.
    const G: [[i32; 3]; 4] = [[1, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 1]];
    const INVERSE: i32 = 1;
    const SHIFT: i32 = 2;
    const FEWEST_TILES: usize = 12;
    const FEWEST_CHANNELS: usize = 16;

    #[inline(always)]
    unsafe fn bt(d: [__m256i; 4]) -> [__m256i; 4] {
        // SAFETY: the caller's.
        operations!(add, sub, _mm256_add_epi16, _mm256_sub_epi16);
        [sub(d[2], d[0]), add(d[2], d[1]), sub(d[2], d[1]), sub(d[3], d[1])]
    }

    #[inline(always)]
    unsafe fn at(m: [__m256i; 4]) -> [__m256i; 2] {
        // SAFETY: the caller's.
        operations!(add, sub, _mm256_add_epi32, _mm256_sub_epi32);
        let times_2 = |a| add(a, a);
        [sub(add(m[1], m[2]), times_2(m[0])), add(sub(m[1], m[2]), times_2(m[3]))]
    }
}

/// F(2×2, 2×2) for each phase of 3×3 filters of stride 2: points 0, 1 and infinity; 25 products for 36.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct TwoByTwo;

// SAFETY: tested below.
unsafe impl Scheme<3, 2> for TwoByTwo {
    const NAME: &'static str = "2x2s2";
    const STRIDE: usize = 2;
    // G, its rows scaled by -1, 1, 1.
    const G: [[i32; 3]; 3] = [[1, 0, 0], [1, 1, 0], [0, 1, 0]];
    const INVERSE: i32 = 1;
    const SHIFT: i32 = 0;
    const FEWEST_TILES: usize = 24;
    const FEWEST_CHANNELS: usize = 64;

    #[inline(always)]
    unsafe fn bt(d: [__m256i; 3]) -> [__m256i; 3] {
        // SAFETY: the caller's.
        let sub = |a, b| unsafe { _mm256_sub_epi16(a, b) };
        [sub(d[1], d[0]), d[1], sub(d[2], d[1])]
    }

    #[inline(always)]
    unsafe fn at(m: [__m256i; 3]) -> [__m256i; 2] {
        // SAFETY: the caller's.
        operations!(add, sub, _mm256_add_epi32, _mm256_sub_epi32);
        [sub(m[1], m[0]), add(m[1], m[2])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a transform makes of each of `count` units, column by column.
    fn columns<const N: usize, const M: usize>(transform: impl Fn([i32; N]) -> [i32; M]) -> [[i32; N]; M] {
        let columns: [[i32; M]; N] = std::array::from_fn(|unit| transform(std::array::from_fn(|i| (i == unit).into())));
        std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]))
    }

    #[target_feature(enable = "avx2")]
    fn bt<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize>(d: [i32; IN]) -> [i32; IN] {
        // SAFETY: AVX2 is enabled.
        let values = unsafe { S::bt(d.map(|d| _mm256_set1_epi16(d as i16))) };
        values.map(|v| i32::from(_mm256_extract_epi16::<3>(v) as i16))
    }

    #[target_feature(enable = "avx2")]
    fn at<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize>(m: [i32; IN]) -> [i32; OUT] {
        // SAFETY: AVX2 is enabled.
        unsafe { S::at(m.map(|m| _mm256_set1_epi32(m))) }.map(|v| _mm256_extract_epi32::<3>(v))
    }

    /// Checks that a scheme is one: along an axis it gives a multiple of the convolution, for every pair of an
    /// input and a tap; and that its values and weights fit.
    fn check<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize>() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        // SAFETY: AVX2 is there.
        let (bt, at) = unsafe { (columns(|d| bt::<S, IN, OUT>(d)), columns(|m| at::<S, IN, OUT>(m))) };
        let taps = IN - OUT + 1;
        let multiple = |input: usize, tap: usize, output: usize| -> i32 {
            (0..IN).map(|point| at[output][point] * S::G[point][tap] * bt[point][input]).sum()
        };
        let scale = multiple(0, 0, 0);
        assert_eq!(scale.wrapping_mul(scale).wrapping_mul(S::INVERSE), 1 << S::SHIFT, "{}", S::NAME);
        for input in 0..IN {
            for tap in 0..3 {
                for output in 0..OUT {
                    let expected = if tap < taps && output + tap == input { scale } else { 0 };
                    assert_eq!(multiple(input, tap, output), expected, "{} {input} {tap} {output}", S::NAME);
                }
            }
        }
        // The last tap alone is seen at infinity, so that phases without one have nothing there.
        assert!((0..taps - 1).all(|tap| S::G[IN - 1][tap] == 0));

        let largest = |a: &[i32], b: &[i32], most: [i32; 2]| -> i32 {
            let sum = |sign: i32| -> i32 {
                a.iter().flat_map(|a| b.iter().map(move |b| a * b * sign)).map(|c| most[usize::from(c < 0)] * c).sum()
            };
            sum(1).max(sum(-1))
        };
        for row in 0..IN {
            for column in 0..IN {
                let value = largest(&bt[row], &bt[column], [255, 0]);
                let weight = largest(&S::G[row], &S::G[column], [128, -128]);
                assert!(value + weight <= 32767, "{} at {row}, {column}: {value} and {weight}", S::NAME);
            }
        }
    }

    #[test]
    fn schemes_are_exact_and_fit_16_bits() {
        check::<Four, 6, 4>();
        check::<Two, 4, 2>();
        check::<TwoByTwo, 3, 2>();
    }
}
