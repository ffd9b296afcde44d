//! The few vector operations that the convolutions are written in.

use std::fmt::Debug;

use super::dense::{Pixel, Strip};
use crate::int8::quant::round_saturate;

/// Vectors of 32-bit sums, and the multiply-add of one instruction set.
///
/// A *quad* is four activations of one pixel, that [`Simd::dot`] multiplies with four weights of every lane; lanes are
/// output channels. A value of the type is the proof that the processor has the instructions: it is made by
/// detection only.
///
/// # Safety
/// Implementations give the integer results that the methods describe, without saturation. Their methods may be
/// called only where the instructions exist and from functions that enable them.
pub(super) unsafe trait Simd: Copy + Debug + Send + Sync + 'static {
    /// [`Simd::LANES`] sums.
    type Sums: Copy;

    /// A quad of activations, for all lanes.
    type Quad: Copy;

    /// A quad of weights for each lane.
    type Weights: Copy;

    /// Lanes of a vector.
    const LANES: usize;

    /// Bytes of an activation as the tiles read it.
    const ELEMENT: usize;

    /// Bytes of a weight as the tiles read it.
    const WEIGHT: usize;

    /// Name of the set.
    const ISA: &'static str;

    /// Most pixels of a tile by its vectors of channels less one: what the registers hold without spilling.
    const PIXELS: [usize; 4];

    /// Writes the quad of weights of one lane into a vector's [`Simd::LANES`]` * 4 * `[`Simd::WEIGHT`] bytes.
    fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]);

    /// What [`Simd::dot`] adds too much for a quad of weights, whatever the activations are.
    fn weight_products(weights: [i16; 4]) -> i32;

    /// What [`Simd::dot`] adds too much for the quads of activations of a pixel, whatever the weights are: `quads`
    /// of them at each of `runs`. `None` where that is nothing, always.
    unsafe fn activation_products(pixel: *const u8, runs: &[usize], quads: usize) -> Option<i32>;

    /// Loads aligned sums.
    unsafe fn load(from: *const i32) -> Self::Sums;

    /// Stores sums to memory of any alignment.
    unsafe fn store(to: *mut i32, sums: Self::Sums);

    /// `sums - subtrahend` in every lane.
    unsafe fn subtract(sums: Self::Sums, subtrahend: i32) -> Self::Sums;

    /// The four activations at `from`.
    unsafe fn broadcast(from: *const u8) -> Self::Quad;

    /// What [`Simd::pack`] wrote, from aligned memory.
    unsafe fn load_weights(from: *const u8) -> Self::Weights;

    /// `sum + products of the quads` in each lane (plus what is too much). Wraps.
    unsafe fn dot(sums: Self::Sums, activations: Self::Quad, weights: Self::Weights) -> Self::Sums;

    /// Requantises a tile and stores `N * LANES` bytes for each of the `M` pixels, `stride` apart.
    unsafe fn store_bytes<const M: usize, const N: usize>(
        sums: &[[Self::Sums; N]; M],
        multiplier: *const f32,
        rounding: &Rounding,
        to: *mut u8,
        stride: usize,
    );

    /// [`super::dense::strip`] in a function that enables the instructions.
    unsafe fn strip(strip: &Strip);

    /// [`super::dense::excess`] in a function that enables the instructions.
    unsafe fn excess(input: *const u8, pixels: &mut [Pixel], runs: &[usize], quads: usize);

    /// Cuts `vectors` vectors of channels into strips, for layers of `pixels` pixels.
    fn strips(vectors: usize, pixels: usize) -> Vec<usize>;

    /// Copies `count` pixels of `depth` activations each, `stride` bytes apart, to a contiguous run, widened where the
    /// set is wide. May write up to [`super::patch::OVERRUN`] bytes behind the run.
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
