//! The few vector operations that the convolutions are written in.

use std::fmt::Debug;

use super::dense::Strip;
use crate::int8::quant::round_saturate;

/// Vectors of 32-bit sums, and the multiply-add of one instruction set.
///
/// A *quad* is four bytes of activations, of one pixel, that [`Simd::dot`] multiplies with four bytes of weights in
/// every lane: two 16-bit numbers where [`Simd::WIDE`], else four bytes. A value of the type is the proof that the
/// processor has the instructions: it is made by detection only.
///
/// # Safety
/// Implementations give the integer results that the methods describe, without saturation. Their methods may be
/// called only where the instructions exist and from functions that enable them.
pub(super) unsafe trait Simd: Copy + Debug + Send + Sync + 'static {
    /// [`Simd::LANES`] numbers of 32 bits.
    type Ints: Copy;

    /// Lanes of a vector, and so output channels in it.
    const LANES: usize;

    /// Whether activations are multiplied as 16-bit numbers.
    const WIDE: bool;

    /// Bytes of an activation.
    const ELEMENT: usize = if Self::WIDE { 2 } else { 1 };

    /// Activations of a quad.
    const STEP: usize = 4 / Self::ELEMENT;

    /// Name of the set.
    const ISA: &'static str;

    /// Most pixels of a tile by its vectors of channels (the index): what the registers hold without spilling.
    const PIXELS: [usize; 4];

    /// Loads a vector from aligned memory.
    unsafe fn load(from: *const i32) -> Self::Ints;

    /// Stores a vector to memory of any alignment.
    unsafe fn store(to: *mut i32, v: Self::Ints);

    /// The four bytes at `from` in every lane.
    unsafe fn broadcast(from: *const u8) -> Self::Ints;

    /// `sum + products of the quads` in each lane; activations are unsigned (or small enough, where wide), weights
    /// signed. Wraps.
    unsafe fn dot(sum: Self::Ints, activations: Self::Ints, weights: Self::Ints) -> Self::Ints;

    /// Requantises a tile and stores `N * LANES` bytes for each of the `M` pixels, `stride` apart.
    unsafe fn store_bytes<const M: usize, const N: usize>(
        sums: &[[Self::Ints; N]; M],
        multiplier: *const f32,
        rounding: &Rounding,
        to: *mut u8,
        stride: usize,
    );

    /// [`super::dense::strip`] in a function that enables the instructions.
    unsafe fn strip(strip: &Strip);

    /// Cuts `vectors` vectors of channels into strips, for layers of `pixels` pixels.
    fn strips(vectors: usize, pixels: usize) -> Vec<usize>;

    /// Copies `count` pixels of `depth` activations each, `stride` bytes apart, to a contiguous run, widened where the
    /// set is wide. May write up to [`super::dense::OVERRUN`] bytes behind the run.
    unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]);

    /// Fills `to` with activations of value `value`.
    fn fill(to: &mut [u8], value: u8);

    /// The proof that AVX2 is there too, as it is wherever there is more.
    fn avx2(self) -> super::avx2::Avx2;
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
}

impl Rounding {
    pub fn new(zero_point: u8, lo: u8, hi: u8) -> Rounding {
        Rounding { top: f32::from(hi) - f32::from(zero_point), zero_point: i16::from(zero_point), lo, hi }
    }

    /// The byte for one product.
    #[inline(always)]
    pub fn apply(&self, product: f32) -> u8 {
        round_saturate(product, self.zero_point as u8, self.lo, self.hi)
    }
}
