//! The vector operations of AVX2, on which everything else of x86-64 stands.

use std::arch::x86_64::*;

use super::super::{Conv, PackedConv};
use super::conv;
use super::gemv::{self, Matvec, ROWS, Stream};
use super::patch::OVERRUN;
use super::simd::Simd;
use super::tiles::{self, Pixel, Strip};
use super::vectors::{Addition, Rounding, Vectors};

/// The proof that the processor has AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    pub fn new() -> Option<Avx2> {
        is_x86_feature_detected!("avx2").then_some(Avx2(()))
    }
}

/// Sums of products by sums (S. Winograd 1968): for four activations, `x0 w0 + x1 w1 + x2 w2 + x3 w3` is
/// `(x0 + w2)(x2 + w0) + (x1 + w3)(x3 + w1) - (x0 x2 + x1 x3) - (w0 w2 + w1 w3)`.
///
/// AVX2's product of bytes (`vpmaddubsw`) saturates, and where many weights are too large for it (see
/// [`super::bytes::Avx2Bytes`]) activations and weights are 16 bits wide. Four plain products then take two `vpmaddwd` and
/// two `vpaddd`, which compete: multiplications run on two of Zen's four vector units, and additions, which can run on
/// all four, get in their way (84 GMAC/s measured where 104 is the peak). This form has one multiplication to three
/// additions and reaches the peak. What it adds too much depends on the pixel alone (one pass over its activations
/// serves all channels) or on the weights alone (in the bias).
// SAFETY: the sums of an activation and a weight fit 16 bits (byte convolutions: 255 + 127; Winograd's transforms see
// to it); everything else wraps, which is exact as
// the result is wanted modulo 2^32. The methods need AVX2 only.
unsafe impl Simd for Avx2 {
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
        // SAFETY: the caller's.
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
        // SAFETY: the caller's.
        unsafe {
            let from = from.cast::<i32>();
            [_mm256_set1_epi32(from.read_unaligned()), _mm256_set1_epi32(from.add(1).read_unaligned())]
        }
    }

    #[inline(always)]
    unsafe fn load_weights(from: *const u8) -> [__m256i; 2] {
        // SAFETY: the caller's.
        unsafe { [_mm256_load_si256(from.cast()), _mm256_load_si256(from.add(32).cast())] }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256i, x: [__m256i; 2], w: [__m256i; 2]) -> __m256i {
        // SAFETY: the caller enables AVX2.
        unsafe {
            let products = _mm256_madd_epi16(_mm256_add_epi16(x[0], w[0]), _mm256_add_epi16(x[1], w[1]));
            _mm256_add_epi32(sums, products)
        }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn strip(strip: &Strip) {
        // SAFETY: the caller's; AVX2 is enabled.
        unsafe { tiles::strip::<Avx2>(strip) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn excess(input: *const u8, pixels: &mut [Pixel], runs: &[usize], steps: usize) {
        // SAFETY: the caller's; AVX2 is enabled.
        unsafe { tiles::excess::<Avx2>(input, pixels, runs, steps) }
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
                // SAFETY: as before.
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

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        conv::avx2(self, conv)
    }

    fn avx2(self) -> Avx2 {
        self
    }
}

/// Adds `x0 x2 + x1 x3` of each four activations, to even lanes.
///
/// # Safety
/// AVX2 is enabled in the caller.
#[inline(always)]
unsafe fn add_products(sums: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(x, _mm256_srli_epi64::<32>(x))) }
}

// SAFETY: pairs of products of bytes do not overflow.
unsafe impl Matvec for Avx2 {
    /// Two chains of sums.
    const WIDTH: usize = 32;
    type Lanes = [__m256i; 2];

    #[inline(always)]
    unsafe fn no_sums() -> [__m256i; 2] {
        // SAFETY: the caller enables AVX2.
        [unsafe { _mm256_setzero_si256() }; 2]
    }

    #[inline(always)]
    unsafe fn accumulate(mut sums: [__m256i; 2], x: *const u8, weights: *const i8) -> [__m256i; 2] {
        // SAFETY: the caller's.
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
        // SAFETY: the caller enables AVX2.
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
        // SAFETY: the caller's; AVX2 is enabled.
        unsafe { if all { gemv::rows::<Self, ROWS>(stream) } else { gemv::rows::<Self, 1>(stream) } }
    }
}

/// The sum of the lanes of each of four vectors.
///
/// # Safety
/// AVX2 is enabled in the caller.
#[inline(always)]
pub(super) unsafe fn totals(rows: [__m256i; ROWS]) -> [i32; ROWS] {
    // SAFETY: the caller's.
    unsafe {
        let pairs = [_mm256_hadd_epi32(rows[0], rows[1]), _mm256_hadd_epi32(rows[2], rows[3])];
        let sums = _mm256_hadd_epi32(pairs[0], pairs[1]);
        let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let mut all = [0; ROWS];
        _mm_storeu_si128(all.as_mut_ptr().cast(), sums);
        all
    }
}

/// Vectors of 8 lanes.
#[derive(Debug)]
pub(super) struct Ymm;

impl Vectors for Ymm {
    type Sums = __m256i;
    type Bytes = __m256i;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_load_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut i32, sums: __m256i) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), sums) }
    }

    #[inline(always)]
    unsafe fn subtract(sums: __m256i, subtrahend: i32) -> __m256i {
        // SAFETY: the caller enables AVX2.
        unsafe { _mm256_sub_epi32(sums, _mm256_set1_epi32(subtrahend)) }
    }

    #[inline(always)]
    unsafe fn round(sums: __m256i, multiplier: *const f32) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_loadu_ps(multiplier))) }
    }

    #[inline(always)]
    unsafe fn add_residual(rounded: __m256i, residual: *const u8, addition: &Addition) -> __m256i {
        let Addition { bounds: [low, high], shift, zero, scales, .. } = *addition;
        // SAFETY: the caller's.
        unsafe {
            let a = _mm256_min_epi32(_mm256_max_epi32(rounded, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
            let a = _mm256_cvtepi32_ps(_mm256_add_epi32(a, _mm256_set1_epi32(shift)));
            let b = _mm256_cvtepu8_epi32(_mm_loadl_epi64(residual.cast()));
            let b = _mm256_cvtepi32_ps(_mm256_sub_epi32(b, _mm256_set1_epi32(zero)));
            let [a, b] = [_mm256_mul_ps(a, _mm256_set1_ps(scales[0])), _mm256_mul_ps(b, _mm256_set1_ps(scales[1]))];
            _mm256_cvtps_epi32(_mm256_div_ps(_mm256_add_ps(a, b), _mm256_set1_ps(scales[2])))
        }
    }

    #[inline(always)]
    unsafe fn pack_parts([a, b, c, d]: [__m256i; 4], rounding: &Rounding) -> __m256i {
        // SAFETY: the caller enables AVX2.
        unsafe {
            let [ab, cd] = [_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)];
            if rounding.plain {
                return _mm256_packus_epi16(ab, cd);
            }
            let zero_point = _mm256_set1_epi16(rounding.zero_point);
            let bytes = _mm256_packus_epi16(_mm256_adds_epi16(ab, zero_point), _mm256_adds_epi16(cd, zero_point));
            let bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8(rounding.lo as i8));
            _mm256_min_epu8(bytes, _mm256_set1_epi8(rounding.hi as i8))
        }
    }

    #[inline(always)]
    unsafe fn join_parts(bytes: __m256i) -> __m256i {
        // SAFETY: the caller enables AVX2.
        unsafe { _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)) }
    }

    #[inline(always)]
    unsafe fn store_one(bytes: __m256i, part: usize, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let half = if part < 2 { _mm256_castsi256_si128(bytes) } else { _mm256_extracti128_si256::<1>(bytes) };
            match part % 2 {
                0 => _mm_storel_epi64(to.cast(), half),
                _ => _mm_storeh_pd(to.cast(), _mm_castsi128_pd(half)),
            }
        }
    }

    #[inline(always)]
    unsafe fn store_two(bytes: __m256i, half: usize, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let half = if half == 0 { _mm256_castsi256_si128(bytes) } else { _mm256_extracti128_si256::<1>(bytes) };
            _mm_storeu_si128(to.cast(), half);
        }
    }

    #[inline(always)]
    unsafe fn store_four(bytes: __m256i, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), bytes) }
    }
}
