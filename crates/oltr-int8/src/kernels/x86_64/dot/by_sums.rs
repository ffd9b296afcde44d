//! Products by sums: the multiply-add of AVX2 for weights of any size.

use std::arch::x86_64::*;

use crate::kernels::x86_64::dense::strip::{Pixel, Strip};
use crate::kernels::x86_64::dense::tiles;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::isa::{Avx2, WithAvx2};
use crate::kernels::x86_64::matvec;
use crate::kernels::x86_64::matvec::ROWS;
use crate::kernels::x86_64::matvec::{Matvec, Stream};
use crate::kernels::x86_64::patch::OVERRUN;
use crate::kernels::x86_64::vector::ymm::Ymm;

/// Sums of products by sums (S. Winograd3x3 1968): for four activations, `x0 w0 + x1 w1 + x2 w2 + x3 w3` is
/// `(x0 + w2)(x2 + w0) + (x1 + w3)(x3 + w1) - (x0 x2 + x1 x3) - (w0 w2 + w1 w3)`.
///
/// AVX2's product of bytes (`vpmaddubsw`) saturates, and where many weights are too large for it (see
/// [`super::split_bytes::SplitBytes`]) activations and weights are 16 bits wide. Four plain products then take two `vpmaddwd` and
/// two `vpaddd`, which compete: multiplications run on two of Zen's four vector units, and additions, which can run on
/// all four, get in their way (84 GMAC/s measured where 104 is the peak). This form has one multiplication to three
/// additions and reaches the peak. What it adds too much depends on the pixel alone (one pass over its activations
/// serves all channels) or on the weights alone (in the bias).
#[derive(Clone, Copy, Debug)]
pub(crate) struct BySums(pub Avx2);

impl WithAvx2 for BySums {
    fn avx2(self) -> Avx2 {
        self.0
    }
}

// SAFETY: the sums of an activation and a weight fit 16 bits (byte convolutions: 255 + 127; Winograd3x3's transforms see
// to it); everything else wraps, which is exact as
// the result is wanted modulo 2^32. The methods need AVX2 only.
unsafe impl Dot for BySums {
    const KIND: &'static str = "by_sums";
    type V = Ymm;
    type Activations = [__m256i; 2];
    type Weights = [__m256i; 2];
    const STEP: usize = 4;
    const EXACT: bool = false;
    const ELEMENT: usize = 2;
    const WEIGHT: usize = 2;
    const FETCHES: bool = true;
    const ISA: &'static str = "avx2";
    const PIXELS: [usize; 4] = [6, 4, 2, 2];

    fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]) {
        let [first, second] = [lane * 4, 32 + lane * 4];
        for (place, weight) in
            [(first, weights[2]), (first + 2, weights[3]), (second, weights[0]), (second + 2, weights[1])]
        {
            to[place..place + 2].copy_from_slice(&weight.to_le_bytes());
        }
    }

    fn weight_products(weights: [i16; 4]) -> i32 {
        let [w0, w1, w2, w3] = weights.map(i32::from);
        w0 * w2 + w1 * w3
    }

    #[inline(always)]
    unsafe fn activation_products(pixel: *const u8, runs: &[usize], steps: usize) -> i32 {
        // SAFETY: ENABLED and STEP_IN, for each step of each run.
        unsafe {
            let mut sums = [_mm256_setzero_si256(); 2];
            for run in runs {
                let mut at = pixel.add(*run);
                let mut left = steps;
                // Two vectors at a time: with one, half of the instructions are the loop's.
                while left >= 8 {
                    for (i, sums) in sums.iter_mut().enumerate() {
                        *sums = add_products(*sums, _mm256_loadu_si256(at.add(32 * i).cast()));
                    }
                    at = at.add(64);
                    left -= 8;
                }
                if left >= 4 {
                    sums[0] = add_products(sums[0], _mm256_loadu_si256(at.cast()));
                    at = at.add(32);
                    left -= 4;
                }
                for step in 0..left {
                    let x = _mm256_zextsi128_si256(_mm_loadl_epi64(at.add(8 * step).cast()));
                    sums[1] = add_products(sums[1], x);
                }
            }
            let sums = _mm256_add_epi32(sums[0], sums[1]);
            let half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
            // The odd lanes are 0.
            _mm_cvtsi128_si32(half).wrapping_add(_mm_extract_epi32::<2>(half))
        }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const u8) -> [__m256i; 2] {
        // SAFETY: ENABLED and STEP_IN.
        unsafe {
            let from = from.cast::<i32>();
            [_mm256_set1_epi32(from.read_unaligned()), _mm256_set1_epi32(from.add(1).read_unaligned())]
        }
    }

    #[inline(always)]
    unsafe fn load_weights(from: *const u8) -> [__m256i; 2] {
        // SAFETY: ENABLED and WEIGHTS_IN.
        unsafe { [_mm256_load_si256(from.cast()), _mm256_load_si256(from.add(32).cast())] }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, x: [__m256i; 2], w: [__m256i; 2]) -> __m256i {
        // SAFETY: ENABLED.
        unsafe {
            let products = _mm256_madd_epi16(_mm256_add_epi16(x[0], w[0]), _mm256_add_epi16(x[1], w[1]));
            _mm256_add_epi32(sums, products)
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn strip(strip: &Strip) {
        // SAFETY: ENABLED and STRIP.
        unsafe { tiles::strip::<BySums>(strip) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn correction(input: *const u8, pixels: &mut [Pixel], runs: &[usize], steps: usize) {
        // SAFETY: ENABLED and STRIP.
        unsafe { tiles::correction::<BySums>(input, pixels, runs, steps) }
    }

    fn strips(vectors: usize) -> Vec<usize> {
        let mut strips = vec![2; vectors / 2];
        if vectors % 2 == 1 {
            match strips.last_mut() {
                Some(last) => *last = 3,
                None => strips.push(1),
            }
        }
        strips
    }

    #[target_feature(enable = "avx2")]
    unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
        assert!(from.len() >= (count - 1) * stride + depth && to.len() >= count * depth * 2 + OVERRUN);
        let (run, runs) = if stride == depth { (depth * count, 1) } else { (depth, count) };
        for i in 0..runs {
            let from = &from[i * stride..];
            let to = to[i * run * 2..].as_mut_ptr();
            let mut at = 0;
            // What is read behind the run lies in the map; what is written there the next run overwrites, or it is
            // the overrun.
            while at < run && at + 16 <= from.len() {
                // SAFETY: both lie in their slices, the destination with its overrun.
                unsafe {
                    let bytes = _mm_loadu_si128(from.as_ptr().add(at).cast());
                    _mm256_storeu_si256(to.add(2 * at).cast(), _mm256_cvtepu8_epi16(bytes));
                }
                at += 16;
            }
            while at < run {
                // SAFETY: `at` is in the run, of which both slices have all activations.
                unsafe { to.add(2 * at).cast::<u16>().write_unaligned(u16::from(from[at])) };
                at += 1;
            }
        }
    }

    fn fill(to: &mut [u8], value: u8) {
        for pair in to.chunks_exact_mut(2) {
            pair.copy_from_slice(&u16::from(value).to_le_bytes());
        }
    }
}

/// Adds `x0 x2 + x1 x3` of each four activations, to even lanes.
///
/// # Safety
/// ENABLED. AVX2 is enabled in the caller.
#[inline(always)]
unsafe fn add_products(sums: __m256i, x: __m256i) -> __m256i {
    // SAFETY: ENABLED.
    unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(x, _mm256_srli_epi64::<32>(x))) }
}

// SAFETY: pairs of products of bytes do not overflow.
unsafe impl Matvec for BySums {
    const ROWS_KIND: &'static str = "pairs";
    /// Two chains of sums.
    const WIDTH: usize = 32;
    type Lanes = [__m256i; 2];

    #[inline(always)]
    unsafe fn no_sums() -> [__m256i; 2] {
        // SAFETY: ENABLED.
        [unsafe { _mm256_setzero_si256() }; 2]
    }

    #[inline(always)]
    unsafe fn accumulate(mut sums: [__m256i; 2], x: *const u8, weights: *const i8) -> [__m256i; 2] {
        // SAFETY: ENABLED and STREAM.
        unsafe {
            for (i, sums) in sums.iter_mut().enumerate() {
                let w = _mm256_cvtepi8_epi16(_mm_load_si128(weights.add(16 * i).cast()));
                let products = _mm256_madd_epi16(_mm256_load_si256(x.add(32 * i).cast()), w);
                *sums = _mm256_add_epi32(*sums, products);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn totals(rows: [[__m256i; 2]; ROWS]) -> [i32; ROWS] {
        // SAFETY: ENABLED.
        unsafe {
            let mut four = [rows[0][0]; ROWS];
            for (four, row) in four.iter_mut().zip(rows) {
                *four = _mm256_add_epi32(row[0], row[1]);
            }
            totals(four)
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS] {
        // SAFETY: ENABLED and STREAM.
        unsafe { if all { matvec::rows::<Self, ROWS>(stream) } else { matvec::rows::<Self, 1>(stream) } }
    }
}

/// The sum of the lanes of each of four vectors.
///
/// # Safety
/// ENABLED. AVX2 is enabled in the caller.
#[inline(always)]
pub(crate) unsafe fn totals(rows: [__m256i; ROWS]) -> [i32; ROWS] {
    // SAFETY: ENABLED.
    unsafe {
        let pairs = [_mm256_hadd_epi32(rows[0], rows[1]), _mm256_hadd_epi32(rows[2], rows[3])];
        let sums = _mm256_hadd_epi32(pairs[0], pairs[1]);
        let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let mut all = [0; ROWS];
        _mm_storeu_si128(all.as_mut_ptr().cast(), sums);
        all
    }
}
