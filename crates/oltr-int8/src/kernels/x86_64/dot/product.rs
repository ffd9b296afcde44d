//! The few vector operations that the convolutions are written in.

use std::fmt::Debug;

use crate::kernels::x86_64::dense::strip::{Pixel, Strip};
use crate::kernels::x86_64::isa::WithAvx2;
use crate::kernels::x86_64::vector::Vectors;

/// The sums of a set.
pub(crate) type Sums<S> = <<S as Dot>::V as Vectors>::Sums;

/// The multiply-add of one instruction set.
///
/// A *step* is the [`Dot::STEP`] activations of one pixel that [`Dot::dot`] multiplies with as many weights of every
/// lane; lanes are output channels. A value of the type is the proof that the processor has the instructions: it is made by
/// detection only.
///
/// # Safety
/// Implementations give the integer results that the methods describe, without saturation. Callers
/// of the methods promise ENABLED, and of what they hand over STEP_IN, WEIGHTS_IN and STRIP, as
/// [`crate::kernels::safety`] has them.
pub(crate) unsafe trait Dot: WithAvx2 + Copy + Debug + Send + Sync + 'static {
    /// Its vectors.
    type V: Vectors;

    /// A step's activations, for all lanes.
    type Activations: Copy;

    /// A step's weights, for each lane.
    type Weights: Copy;

    /// Activations of a step: 2 or 4.
    const STEP: usize;

    /// Bytes of an activation as the tiles read it.
    const ELEMENT: usize;

    /// Bytes of a weight as the tiles read it.
    const WEIGHT: usize;

    /// What [`Dot::activation_products`] and [`Dot::weight_products`] are need not be asked: nothing, as they and
    /// [`Dot::correction`] are where a set does not say otherwise.
    const EXACT: bool;

    /// Whether tiles fetch the next strip's weights. Those of bytes are half as many as of 16 bits, and it brought
    /// nothing on the processor with VNNI that it was measured on.
    const FETCHES: bool = false;

    /// Whether [`Dot::dot`] saturates where neighbouring weights are large, so that what is too much is split from them.
    const SPLITS: bool = false;

    /// The algorithm, in the names of kernels.
    const KIND: &'static str;

    /// Name of the set.
    const ISA: &'static str;

    /// Most pixels of a tile by its vectors of channels less one: what the registers hold without spilling.
    const PIXELS: [usize; 4];

    /// Writes a step's weights of one lane (the first [`Dot::STEP`]) into the bytes for all lanes.
    fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]);

    /// What [`Dot::dot`] adds too much for a step's weights, whatever the activations are.
    fn weight_products(_weights: [i16; 4]) -> i32 {
        0
    }

    /// What [`Dot::dot`] adds too much for a pixel's activations, whatever the weights are: `steps` of them at each
    /// of `runs`.
    #[inline(always)]
    unsafe fn activation_products(_pixel: *const u8, _runs: &[usize], _steps: usize) -> i32 {
        0
    }

    /// The step's activations at `from`.
    unsafe fn broadcast(from: *const u8) -> Self::Activations;

    /// What [`Dot::pack`] wrote, from aligned memory.
    unsafe fn load_weights(from: *const u8) -> Self::Weights;

    /// `sum + products` in each lane (plus what is too much). Wraps.
    unsafe fn dot(sums: Sums<Self>, activations: Self::Activations, weights: Self::Weights) -> Sums<Self>;

    /// [`super::dense::tiles::strip`] in a function that enables the instructions.
    unsafe fn strip(strip: &Strip);

    /// A strip of a layer with few steps in such a function, by [`super::dense::weights_in_registers`] or [`super::dense::activations_in_registers`]; `false` if it
    /// computed nothing.
    unsafe fn few_steps(_strip: &Strip) -> bool {
        false
    }

    /// [`super::dense::tiles::correction`] in a function that enables the instructions.
    unsafe fn correction(_input: *const u8, _pixels: &mut [Pixel], _runs: &[usize], _steps: usize) {}

    /// Cuts `vectors` vectors of channels into strips.
    fn strips(vectors: usize) -> Vec<usize>;

    /// [`Dot::strips`] in a layer with `runs` runs of `steps` steps.
    fn strips_of(vectors: usize, _runs: usize, _steps: usize) -> Vec<usize> {
        Self::strips(vectors)
    }

    /// Most pixels of a tile of such a layer.
    fn pixels_of(vectors: usize, _runs: usize, _steps: usize) -> usize {
        Self::PIXELS[vectors - 1]
    }

    /// Copies `count` pixels of `depth` activations each, `stride` bytes apart, to a contiguous run, widened where the
    /// set is wide. May write up to [`super::patch::OVERRUN`] bytes behind the run.
    unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]);

    /// Fills `to` with activations of value `value`.
    fn fill(to: &mut [u8], value: u8);
}
