//! A strip of channels of a block of pixels: what tiles compute, and what they write.

use crate::kernels::x86_64::epilogue::rounding::{ResidualAt, Rounding};

/// A pixel of a block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Pixel {
    /// Bytes from the start of the copied input to its first activation.
    pub offset: u32,
    /// What [`Dot::dot`] adds too much for its activations.
    pub correction: i32,
}

/// A strip's work on a block: its channels for all pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip<'a> {
    pub input: *const u8,
    pub pixels: &'a [Pixel],
    pub runs: &'a [usize],
    pub steps: usize,
    pub vectors: usize,
    pub weights: *const u8,
    /// For each vector; for sets with [`Dot::SPLITS`].
    pub overflow: [OverflowWeights<'a>; MOST_VECTORS],
    /// Bytes after the strip's weights that belong to the next strip: they are fetched while this one is computed.
    pub ahead: usize,
    pub bias: *const i32,
    pub target: Target,
}

/// Most vectors of a strip.
pub(crate) const MOST_VECTORS: usize = 4;

/// What the tiles of a strip write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Sums, those of a pixel side by side.
    Sums(*mut i32),
    /// Bytes.
    Bytes { to: *mut u8, stride: usize, multiplier: *const f32, rounding: Rounding },
    /// Bytes to which the residual was added.
    Added { to: *mut u8, stride: usize, multiplier: *const f32, residual: ResidualAt },
}

/// Steps of a vector beside those of the runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverflowWeights<'a> {
    /// Bytes from a pixel's first activation to each.
    pub offsets: &'a [u32],
    pub weights: *const u8,
}

impl OverflowWeights<'_> {
    /// Nothing beside the runs.
    pub const NONE: OverflowWeights<'static> = OverflowWeights { offsets: &[], weights: std::ptr::null() };
}
