//! What tiles of the dot product and of the matrix product share: the packing of weights, and how the pixels of a strip
//! are cut into tiles of up to 6 pixels by 16 channels.
//!
//! A vector of weights holds successive terms of the sums of some channels: four of four channels for the dot product,
//! eight of two for the matrix product. A chunk of a run is as many such steps as it takes, from one load per pixel.
//! What is left of a run goes step by step.

use crate::kernels::aarch64::dense::direct::{Tiles, Weights};
use crate::kernels::aarch64::dot::CHANNELS;
use crate::kernels::aarch64::dot::{Dot, Strip, VECTOR};
use crate::kernels::aarch64::epilogue::Target;
use crate::kernels::aarch64::epilogue::rounding::LANES;
use crate::kernels::window::{CHUNK, Pixels, chunks};

/// Most pixels of a tile by its quarters of channels less one: what the registers hold without spilling.
const PIXELS: [usize; 4] = [8, 8, 6, 6];

/// Weights packed for `P`.
#[derive(Debug)]
pub(crate) struct PackedTiles<P> {
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

impl<P: Dot> PackedTiles<P> {
    /// Channels of a vector of weights, and so of one of sums.
    const CHANNELS: usize = VECTOR / P::TERMS;

    /// How often a vector of sums holds a channel.
    const COPIES: usize = CHANNELS / Self::CHANNELS;
}

// SAFETY: tiles read chunks and steps, which are parts of chunks, of the pixels, and store `N` quarters for each.
unsafe impl<P: Dot> Tiles for PackedTiles<P> {
    type Isa = P;
    const KIND: &'static str = P::KIND;
    const ISA: &'static str = P::ISA;

    fn pack(isa: P, layer: Weights) -> PackedTiles<P> {
        let all = chunks(layer.runs);
        // A chunk that lacks a step or more is multiplied for the steps that it has.
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
                            let [first, last] = [step, step + P::TERMS].map(|at| chunk.place + at.min(chunk.len));
                            let end = weights.len() + P::TERMS;
                            weights.extend_from_slice(layer.of(channel, first..last));
                            weights.resize(end, 0);
                        }
                    }
                }
            }
        }
        let bias = layer.bias.chunks(Self::CHANNELS).flat_map(|bias| bias.repeat(Self::COPIES)).collect();
        let steps = parts.iter().flat_map(|chunk| steps_of(chunk.len).map(|step| chunk.offset + step as u32)).collect();
        PackedTiles { _isa: isa, chunks: whole.iter().map(|c| c.offset).collect(), steps, quarters, weights, bias }
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
        // of the strip are there; the rest is STRIP.
        unsafe {
            match (self.quarters - first).min(LANES / CHANNELS) {
                1 => tiles::<P, 1>(&strip),
                2 => tiles::<P, 2>(&strip),
                3 => tiles::<P, 3>(&strip),
                _ => tiles::<P, 4>(&strip),
            }
        }
    }
}

/// Cuts the pixels into tiles of about the same size: tiles that are nearly full are nearly as good as full ones.
///
/// # Safety
/// ENABLED and STRIP. The processor has the instructions of `P`; the strip has `N` quarters and valid pointers.
unsafe fn tiles<P: Dot, const N: usize>(strip: &Strip) {
    let pixels = strip.pixels.len();
    let units = pixels.div_ceil(P::TOGETHER);
    let count = units.div_ceil(PIXELS[N - 1] / P::TOGETHER);
    let size = units.div_ceil(count);
    // So many tiles of `size` units, the others have one less. The very last lacks the pixels that its last unit does.
    let large = units - count * (size - 1);
    let (size, smaller) = (size * P::TOGETHER, (size - 1) * P::TOGETHER);
    let (first, rest) = strip.pixels.split_at((large * size).min(pixels / size * size));
    let (second, last) = rest.split_at(rest.len() - rest.len().checked_rem(smaller).unwrap_or(rest.len()));
    for (size, pixels, at) in
        [(size, first, 0), (smaller, second, first.len()), (last.len(), last, first.len() + second.len())]
    {
        if pixels.is_empty() {
            continue;
        }
        let strip = Strip { pixels, target: strip.target.after(at), ..*strip };
        macro_rules! tiles {
            ($($m:literal)*) => {
                match size {
                    // The guard is known when this is compiled: larger tiles leave no code.
                    // SAFETY: ENABLED and STRIP; the tiles' pixels are among the strip's.
                    $($m if $m <= PIXELS[N - 1] => unsafe { P::tiles::<$m, N>(&strip) },)*
                    _ => unreachable!("tiles are no larger than registers hold"),
                }
            };
        }
        tiles!(1 2 3 4 5 6 7 8);
    }
}
