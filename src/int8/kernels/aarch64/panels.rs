//! What tiles of the dot product and of the matrix product share: the packing of weights, and how the pixels of a strip
//! are cut into tiles of up to 6 pixels by 16 channels.
//!
//! A vector of weights holds successive terms of the sums of some channels: four of four channels for the dot product,
//! eight of two for the matrix product. A chunk of a run is as many such steps as it takes, from one load per pixel.
//! What is left of a run goes step by step.

use std::fmt::Debug;

use super::super::window::{CHUNK, Pixels, chunks};
use super::dense::{Tiles, Weights};
use super::epilogue::{LANES, Target};

/// Bytes of a vector.
pub(super) const VECTOR: usize = 16;

/// Channels of a quarter of a strip, whose sums for a pixel are a vector.
pub(super) const CHANNELS: usize = LANES / 4;

/// Most pixels of a tile by its quarters of channels less one: what the registers hold without spilling.
const PIXELS: [usize; 4] = [8, 8, 6, 6];

/// How an instruction set multiplies. A value proves that the processor has the instructions.
///
/// # Safety
/// [`Product::tile`] reads the whole chunks of its pixels, and writes what [`Target`] says for them; nothing else.
pub(super) unsafe trait Product: Copy + Debug + Send + Sync + 'static {
    /// Name of the kernel.
    const NAME: &'static str;

    /// Successive terms of a channel in a vector of weights.
    const TERMS: usize;

    /// Pixels that are multiplied at once: tiles of a multiple of so many waste nothing.
    const TOGETHER: usize;

    /// [`tiles`] in a function that enables the instructions.
    ///
    /// # Safety
    /// The processor has them; the strip has `N` quarters and valid pointers.
    unsafe fn tiles<const N: usize>(strip: &Strip);

    /// `M` pixels by `N` quarters; the first pixel is pixel `at` of the strip.
    ///
    /// # Safety
    /// As for [`Product::tiles`]; pixels `at..at + M` exist.
    unsafe fn tile<const M: usize, const N: usize>(strip: &Strip, pixels: &[*const i8; M], at: usize);
}

/// Weights packed for `P`.
#[derive(Debug)]
pub(super) struct Panels<P> {
    /// Only held as the proof that it is.
    _isa: P,
    /// Bytes from a pixel's address to each whole chunk, and to each step beside them.
    chunks: Vec<u32>,
    steps: Vec<u32>,
    /// Quarters of all strips.
    quarters: usize,
    /// `[strip][chunk][step of the chunk][vector]`, then `[step][vector]`.
    weights: Vec<i8>,
    /// As sums begin with it: a channel's as often as vectors of sums hold the channel.
    bias: Vec<i32>,
}

/// A strip for its pixels.
pub(super) struct Strip<'a> {
    pixels: Pixels<'a>,
    pub chunks: &'a [u32],
    pub steps: &'a [u32],
    pub weights: *const i8,
    pub bias: *const i32,
    pub target: Target,
}

impl<P: Product> Panels<P> {
    /// Channels of a vector of weights, and so of one of sums.
    const CHANNELS: usize = VECTOR / P::TERMS;

    /// How often a vector of sums holds a channel.
    const COPIES: usize = CHANNELS / Self::CHANNELS;
}

// SAFETY: tiles read chunks and steps, which are parts of chunks, of the pixels, and store `N` quarters for each.
unsafe impl<P: Product> Tiles for Panels<P> {
    type Isa = P;
    const NAME: &'static str = P::NAME;

    fn pack(isa: P, layer: Weights) -> Panels<P> {
        let all = chunks(layer.runs);
        // Of a chunk that lacks a step or more only those that it has are multiplied.
        let (whole, parts): (Vec<_>, Vec<_>) = all.into_iter().partition(|chunk| chunk.len > CHUNK - P::TERMS);
        let steps_of = |len: usize| (0..len).step_by(P::TERMS);
        let quarters = layer.channels.div_ceil(CHANNELS);
        let mut weights = Vec::new();
        for strip in (0..quarters * CHANNELS).step_by(LANES) {
            let channels = strip..(quarters * CHANNELS).min(strip + LANES);
            for (chunks, most) in [(&whole, CHUNK), (&parts, 0)] {
                for chunk in chunks {
                    for step in steps_of(chunk.len.max(most)) {
                        for channel in channels.clone() {
                            weights.extend(
                                (step..step + P::TERMS)
                                    .map(|at| if at < chunk.len { layer.at(channel, chunk.place + at) } else { 0 }),
                            );
                        }
                    }
                }
            }
        }
        let bias = layer.bias.chunks(Self::CHANNELS).flat_map(|bias| bias.repeat(Self::COPIES)).collect();
        let steps = parts.iter().flat_map(|chunk| steps_of(chunk.len).map(|step| chunk.offset + step as u32)).collect();
        Panels { _isa: isa, chunks: whole.iter().map(|c| c.offset).collect(), steps, quarters, weights, bias }
    }

    fn bytes(&self) -> usize {
        self.weights.len() + size_of_val(&self.bias[..])
    }

    unsafe fn strip(&self, strip: usize, pixels: Pixels, target: Target) {
        let first = strip * LANES / CHANNELS;
        let quarter_bytes = (self.chunks.len() * CHUNK + self.steps.len() * P::TERMS) * CHANNELS;
        let strip = Strip {
            pixels,
            chunks: &self.chunks,
            steps: &self.steps,
            weights: self.weights[first * quarter_bytes..].as_ptr(),
            bias: self.bias[strip * LANES * Self::COPIES..].as_ptr(),
            target,
        };
        // SAFETY: a value of this type is made only from the proof that the instructions are there. Weights and biases
        // of the strip are there; the rest is the caller's.
        unsafe {
            match (self.quarters - first).min(LANES / CHANNELS) {
                1 => P::tiles::<1>(&strip),
                2 => P::tiles::<2>(&strip),
                3 => P::tiles::<3>(&strip),
                _ => P::tiles::<4>(&strip),
            }
        }
    }
}

/// Cuts the pixels into tiles of about the same size: tiles that are nearly full are nearly as good as full ones.
///
/// # Safety
/// As for [`Product::tiles`], in whose implementations this is.
#[inline(always)]
pub(super) unsafe fn tiles<P: Product, const N: usize>(strip: &Strip) {
    let pixels = strip.pixels.len();
    let units = pixels.div_ceil(P::TOGETHER);
    let count = units.div_ceil(PIXELS[N - 1] / P::TOGETHER);
    let size = units.div_ceil(count);
    // So many tiles of `size` units, the others have one less. The very last lacks the pixels that its last unit does.
    let large = units - count * (size - 1);
    let mut at = 0;
    for (size, count) in [(size, large), (size - 1, count - large), (0, 1)] {
        let left = pixels - at;
        let (size, count) = match size * P::TOGETHER {
            0 if P::TOGETHER == 1 => break,
            0 => (left, 1),
            size => (size, count.min(left / size)),
        };
        macro_rules! tiles {
            ($($m:literal)*) => {
                match size {
                    // The guard is known when this is compiled: larger tiles leave no code.
                    // SAFETY: the caller's; the tiles' pixels are among the strip's.
                    $($m if $m <= PIXELS[N - 1] => unsafe { same_tiles::<P, $m, N>(strip, at, count) },)*
                    _ => {}
                }
            };
        }
        tiles!(1 2 3 4 5 6 7 8);
        at += size * count;
    }
}

/// `count` tiles of `M` pixels, from pixel `at` on.
///
/// # Safety
/// As for [`tiles`]; the pixels exist.
#[inline(always)]
unsafe fn same_tiles<P: Product, const M: usize, const N: usize>(strip: &Strip, at: usize, count: usize) {
    for (i, pixels) in strip.pixels[at..].as_chunks::<M>().0.iter().take(count).enumerate() {
        // SAFETY: the caller's.
        unsafe { P::tile::<M, N>(strip, pixels, at + i * M) };
    }
}
