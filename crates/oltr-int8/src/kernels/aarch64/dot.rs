//! How an instruction set multiplies and adds.

use std::fmt::Debug;

use crate::kernels::aarch64::epilogue::Target;
use crate::kernels::aarch64::epilogue::rounding::LANES;
use crate::kernels::window::Pixels;

pub(crate) mod sdot;
pub(crate) mod smmla;

/// Bytes of a vector.
pub(crate) const VECTOR: usize = 16;

/// Channels of a quarter of a strip, whose sums for a pixel are a vector.
pub(crate) const CHANNELS: usize = LANES / 4;

/// How an instruction set multiplies. A value proves that the processor has the instructions.
///
/// # Safety
/// [`Dot::tiles`] reads the whole chunks of its pixels, and writes what [`Target`] says for them; nothing else.
pub(crate) unsafe trait Dot: Copy + Debug + Send + Sync + 'static {
    /// Algorithm and tile, in the name of the kernel, and the set.
    const KIND: &'static str;
    const ISA: &'static str;

    /// Successive terms of a channel in a vector of weights.
    const TERMS: usize;

    /// Pixels that are multiplied at once: tiles of a multiple of so many waste nothing.
    const TOGETHER: usize;

    /// Tiles of `M` pixels by `N` quarters, for the whole strip. In a function of its own, which enables the
    /// instructions: in one with other tiles' the compiler runs out of registers.
    ///
    /// # Safety
    /// The processor has the instructions; the strip has a multiple of `M` pixels, `N` quarters, and valid pointers.
    unsafe fn tiles<const M: usize, const N: usize>(strip: &Strip);
}

/// A strip for some pixels.
#[derive(Clone, Copy)]
pub(crate) struct Strip<'a> {
    pub pixels: Pixels<'a>,
    pub chunks: &'a [u32],
    pub steps: &'a [u32],
    pub weights: *const i8,
    pub bias: *const i32,
    pub target: Target,
}
