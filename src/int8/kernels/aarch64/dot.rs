//! Tiles of dot products (`sdot`, Armv8.2): up to 6 pixels by 16 channels.
//!
//! A vector of weights holds four weights of four channels; `sdot` by element multiplies them with four activations of
//! one pixel. A chunk of a run is four such steps from one load per pixel. What is left of a run goes four activations
//! at a time.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::window::{CHUNK, Pixels, chunks};
use super::dense::{Tiles, Weights};
use super::epilogue::{LANES, Target};
use super::vectors::{Narrow, round};

/// Activations that are multiplied at once.
const QUAD: usize = 4;

/// Bytes of a vector, and its channels.
const VECTOR: usize = 16;
const CHANNELS: usize = 4;

/// Most pixels of a tile by its vectors of channels less one: what the registers hold without spilling.
const PIXELS: [usize; 4] = [8, 8, 6, 6];

/// The proof that the processor has dot products.
#[derive(Clone, Copy, Debug)]
pub(super) struct DotProduct(());

impl DotProduct {
    pub fn new() -> Option<DotProduct> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(DotProduct(()))
    }
}

/// Weights packed for `sdot`.
#[derive(Debug)]
pub(super) struct DotTiles {
    /// Bytes from a pixel's address to each whole chunk, and to each quad beside them.
    chunks: Vec<u32>,
    quads: Vec<u32>,
    /// Vectors of channels of all strips.
    vectors: usize,
    /// `[strip][chunk][quad of the chunk][vector]`, then `[quad][vector]`.
    weights: Vec<i8>,
    bias: Vec<i32>,
}

/// A strip for its pixels.
struct Strip<'a> {
    pixels: Pixels<'a>,
    chunks: &'a [u32],
    quads: &'a [u32],
    weights: *const i8,
    bias: *const i32,
    target: Target,
}

// SAFETY: `tile` reads chunks and quads, which are parts of chunks, of the pixels, and stores `N` vectors for each.
unsafe impl Tiles for DotTiles {
    type Isa = DotProduct;
    const NAME: &'static str = "conv_s8s8s8_6x16__neondot";

    fn pack(_: DotProduct, layer: Weights) -> DotTiles {
        let all = chunks(layer.runs);
        // Of a chunk with less than four quads only these are multiplied.
        let (whole, parts): (Vec<_>, Vec<_>) = all.into_iter().partition(|chunk| chunk.len > CHUNK - QUAD);
        let quads_of = |len: usize| (0..len).step_by(QUAD);
        let vectors = layer.channels.div_ceil(CHANNELS);
        let mut weights = Vec::new();
        for strip in (0..vectors).step_by(LANES / CHANNELS) {
            for (chunks, most) in [(&whole, CHUNK), (&parts, 0)] {
                for chunk in chunks {
                    for quad in quads_of(chunk.len.max(most)) {
                        for vector in strip..vectors.min(strip + LANES / CHANNELS) {
                            for channel in vector * CHANNELS..(vector + 1) * CHANNELS {
                                weights
                                    .extend((quad..quad + QUAD).map(|at| {
                                        if at < chunk.len { layer.at(channel, chunk.place + at) } else { 0 }
                                    }));
                            }
                        }
                    }
                }
            }
        }
        let quads = parts.iter().flat_map(|chunk| quads_of(chunk.len).map(|quad| chunk.offset + quad as u32)).collect();
        DotTiles { chunks: whole.iter().map(|c| c.offset).collect(), quads, vectors, weights, bias: layer.bias }
    }

    fn bytes(&self) -> usize {
        self.weights.len() + size_of_val(&self.bias[..])
    }

    unsafe fn strip(&self, strip: usize, pixels: Pixels, target: Target) {
        let first = strip * LANES / CHANNELS;
        let vector_bytes = (self.chunks.len() * CHUNK / QUAD + self.quads.len()) * VECTOR;
        let strip = Strip {
            pixels,
            chunks: &self.chunks,
            quads: &self.quads,
            weights: self.weights[first * vector_bytes..].as_ptr(),
            bias: self.bias[strip * LANES..].as_ptr(),
            target,
        };
        // SAFETY: a value of this type is made only from the proof that there are dot products. Weights and biases of
        // the strip are there; the rest is the caller's.
        unsafe {
            match (self.vectors - first).min(LANES / CHANNELS) {
                1 => tiles::<1>(&strip),
                2 => tiles::<2>(&strip),
                3 => tiles::<3>(&strip),
                _ => tiles::<4>(&strip),
            }
        }
    }
}

/// Cuts the pixels into tiles of about the same size: tiles that are nearly full are nearly as good as full ones.
///
/// # Safety
/// The processor has dot products; the strip has `N` vectors and valid pointers.
#[target_feature(enable = "dotprod")]
unsafe fn tiles<const N: usize>(strip: &Strip) {
    let pixels = strip.pixels.len();
    let count = pixels.div_ceil(PIXELS[N - 1]);
    let size = pixels.div_ceil(count);
    // So many tiles of `size` pixels, the others have one less.
    let large = pixels - count * (size - 1);
    let mut at = 0;
    for (size, count) in [(size, large), (size - 1, count - large)] {
        macro_rules! tiles {
            ($($m:literal)*) => {
                match size {
                    // The guard is known when this is compiled: larger tiles leave no code.
                    // SAFETY: the caller's; the tiles' pixels are among the strip's.
                    $($m if $m <= PIXELS[N - 1] => unsafe { same_tiles::<$m, N>(strip, at, count) },)*
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
unsafe fn same_tiles<const M: usize, const N: usize>(strip: &Strip, at: usize, count: usize) {
    for pixels in strip.pixels[at..].as_chunks::<M>().0.iter().take(count).enumerate() {
        // SAFETY: the caller's.
        unsafe { tile::<M, N>(strip, pixels.1, at + pixels.0 * M) };
    }
}

/// `sums + products` with quad `LANE` of the activations.
#[inline(always)]
fn sdot_lane<const LANE: usize>(sums: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the instruction works on registers alone. It is there: only functions that enable it come here.
    unsafe {
        asm!("sdot {s:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]", s = inout(vreg) sums, w = in(vreg) weights,
            x = in(vreg) x, lane = const LANE, options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// `M` pixels by `N` vectors; the first pixel is pixel `at` of the strip.
///
/// # Safety
/// As for [`tiles`]; pixels `at..at + M` exist.
#[inline(always)]
unsafe fn tile<const M: usize, const N: usize>(strip: &Strip, pixels: &[*const i8; M], at: usize) {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); N]; M];
        for sums in &mut sums {
            let bias = opaque(strip.bias);
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = vld1q_s32(bias.add(n * CHANNELS));
            }
        }
        let mut weights = strip.weights;
        for offset in strip.chunks {
            let mut x = [vdupq_n_s8(0); M];
            for m in 0..M {
                x[m] = vld1q_s8(pixels[m].add(*offset as usize));
            }
            multiply::<0, M, N>(&mut sums, weights, &x);
            multiply::<1, M, N>(&mut sums, weights.add(N * VECTOR), &x);
            multiply::<2, M, N>(&mut sums, weights.add(2 * N * VECTOR), &x);
            multiply::<3, M, N>(&mut sums, weights.add(3 * N * VECTOR), &x);
            weights = weights.add(4 * N * VECTOR);
        }
        for offset in strip.quads {
            let mut x = [vdupq_n_s8(0); M];
            for m in 0..M {
                let quad = pixels[m].add(*offset as usize).cast::<i32>().read_unaligned();
                x[m] = vreinterpretq_s8_s32(vsetq_lane_s32::<0>(quad, vdupq_n_s32(0)));
            }
            multiply::<0, M, N>(&mut sums, weights, &x);
            weights = weights.add(N * VECTOR);
        }
        match strip.target {
            Target::Sums(to) => {
                for (m, sums) in sums.iter().enumerate() {
                    for (n, sum) in sums.iter().enumerate() {
                        vst1q_s32(to.add((at + m) * LANES + n * CHANNELS), *sum);
                    }
                }
            }
            Target::Bytes { to, stride, multiplier, rounding } => {
                let narrow = rounding.load();
                let mut multipliers = [vdupq_n_f32(0.0); N];
                for (n, m) in multipliers.iter_mut().enumerate() {
                    *m = vld1q_f32(multiplier.add(n * CHANNELS));
                }
                let mut to = to.add(at * stride);
                if N == 4 && rounding.is_free() {
                    for sums in &sums {
                        let rounded = std::array::from_fn(|n| round(sums[n % N], multipliers[n % N]));
                        vst1q_s8(to.cast(), narrow.narrow_free(rounded));
                        to = to.wrapping_add(stride);
                    }
                } else {
                    for sums in &sums {
                        store(sums, &multipliers, &narrow, to);
                        to = to.wrapping_add(stride);
                    }
                }
            }
        }
    }
}

/// The same address, but the compiler does not know: what lies there is loaded again for each pixel, two vectors at a
/// time, rather than copied from register to register one by one.
#[inline(always)]
fn opaque<T>(address: *const T) -> *const T {
    let mut address = address;
    // SAFETY: there is no instruction.
    unsafe { asm!("/* {} */", inout(reg) address, options(readonly, nostack, preserves_flags)) };
    address
}

/// One step of a tile: quad `LANE` of all pixels with `N` vectors of weights.
///
/// # Safety
/// The weights can be read; the processor has dot products.
#[inline(always)]
unsafe fn multiply<const LANE: usize, const M: usize, const N: usize>(
    sums: &mut [[int32x4_t; N]; M],
    weights: *const i8,
    x: &[int8x16_t; M],
) {
    for n in 0..N {
        // SAFETY: the caller's.
        let w = unsafe { vld1q_s8(weights.add(n * VECTOR)) };
        for (sums, x) in sums.iter_mut().zip(x) {
            sums[n] = sdot_lane::<LANE>(sums[n], w, *x);
        }
    }
}

/// Requantises and stores the bytes of one pixel.
///
/// # Safety
/// `4 * N` bytes can be written.
#[inline(always)]
unsafe fn store<const N: usize>(sums: &[int32x4_t; N], multipliers: &[float32x4_t; N], narrow: &Narrow, to: *mut u8) {
    // SAFETY: the caller's.
    unsafe {
        let mut rounded = [vdupq_n_s32(0); 4];
        for (n, sum) in sums.iter().enumerate() {
            rounded[n] = round(*sum, multipliers[n]);
        }
        let to = to.cast::<i8>();
        if N == 4 {
            return vst1q_s8(to, narrow.narrow(rounded));
        }
        let [a, b, c, _] = rounded;
        let first = narrow.narrow_half([a, b]);
        match N {
            1 => vst1_lane_s32::<0>(to.cast(), vreinterpret_s32_s8(first)),
            _ => vst1_s8(to, first),
        }
        if N == 3 {
            vst1_lane_s32::<0>(to.add(8).cast(), vreinterpret_s32_s8(narrow.narrow_half([c, c])));
        }
    }
}
