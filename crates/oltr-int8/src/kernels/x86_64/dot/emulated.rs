//! The VNNI sets with every instruction emulated, so that their packing, tiling and edges are tested where the
//! processor lacks them. Nothing is inlined, which would take minutes to compile. What stays untested there is which
//! intrinsic stands in each one-line method: `cross/x86/kernels` tests that, on an emulated processor.

use std::marker::PhantomData;

use super::super::{Conv, PackedConv};
use super::avx2::Avx2;
use super::conv;
use super::depthwise::{self, Interleave};
use super::gemv::{self, Matvec, ROWS, Stream};
use super::simd::Simd;
use super::tiles::{self, Pixel, Strip};
use super::vectors::{Addition, Rounding, Vectors};

/// Bytes of a 128-bit part, lanes in it, and the most parts.
const PART: usize = 16;
const PART_LANES: usize = 4;
const PARTS: usize = 4;

/// The set `S`, emulated.
pub(super) struct Emulated<S: Simd> {
    avx2: Avx2,
    set: PhantomData<S>,
}

impl<S: Simd> Emulated<S> {
    pub fn new(avx2: Avx2) -> Emulated<S> {
        Emulated { avx2, set: PhantomData }
    }
}

impl<S: Simd> Clone for Emulated<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd> Copy for Emulated<S> {}

impl<S: Simd> std::fmt::Debug for Emulated<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Emulated({})", S::ISA)
    }
}

/// The vectors of `S`, emulated; lanes that its vectors lack stay 0.
pub(super) struct EmulatedVectors<S: Simd>(PhantomData<S>);

type Lanes = [i32; PARTS * PART_LANES];

/// As `cvtps2dq`: what does not fit becomes the smallest integer, also if it is too large.
fn convert(x: f32) -> i32 {
    if (-2147483648.0..2147483648.0).contains(&x) { x.round_ties_even() as i32 } else { i32::MIN }
}

impl<S: Simd> Vectors for EmulatedVectors<S> {
    type Sums = Lanes;
    type Bytes = [u8; PARTS * PART];
    const LANES: usize = S::V::LANES;

    #[inline(never)]
    unsafe fn load(from: *const i32) -> Lanes {
        assert_eq!(from as usize % (4 * Self::LANES), 0, "aligned");
        // SAFETY: the caller's.
        std::array::from_fn(|i| if i < Self::LANES { unsafe { from.add(i).read() } } else { 0 })
    }

    #[inline(never)]
    unsafe fn store(to: *mut i32, sums: Lanes) {
        for (i, sum) in sums.into_iter().enumerate().take(Self::LANES) {
            // SAFETY: the caller's.
            unsafe { to.add(i).write_unaligned(sum) };
        }
    }

    #[inline(never)]
    unsafe fn subtract(sums: Lanes, subtrahend: i32) -> Lanes {
        sums.map(|sum| sum.wrapping_sub(subtrahend))
    }

    #[inline(never)]
    unsafe fn round(sums: Lanes, multiplier: *const f32) -> Lanes {
        std::array::from_fn(|i| {
            if i >= Self::LANES {
                return 0;
            }
            // SAFETY: the caller's.
            convert(sums[i] as f32 * unsafe { multiplier.add(i).read_unaligned() })
        })
    }

    #[inline(never)]
    unsafe fn add_residual(rounded: Lanes, residual: *const u8, addition: &Addition) -> Lanes {
        let Addition { bounds: [low, high], shift, zero, scales, .. } = *addition;
        std::array::from_fn(|i| {
            if i >= Self::LANES {
                return 0;
            }
            // SAFETY: the caller's.
            let b = i32::from(unsafe { residual.add(i).read() }) - zero;
            let a = rounded[i].clamp(low, high) + shift;
            convert((a as f32 * scales[0] + b as f32 * scales[1]) / scales[2])
        })
    }

    #[inline(never)]
    unsafe fn pack_parts(rounded: [Lanes; 4], rounding: &Rounding) -> [u8; PARTS * PART] {
        std::array::from_fn(|i| {
            let (part, vector, lane) = (i / PART, i % PART / PART_LANES, i % PART_LANES);
            let word = rounded[vector][part * PART_LANES + lane].clamp(-32768, 32767) as i16;
            (word.saturating_add(rounding.zero_point).clamp(0, 255) as u8).max(rounding.lo).min(rounding.hi)
        })
    }

    #[inline(never)]
    unsafe fn join_parts(bytes: [u8; PARTS * PART]) -> [u8; PARTS * PART] {
        let parts = Self::LANES / PART_LANES;
        std::array::from_fn(|i| {
            let (vector, lane) = (i / Self::LANES, i % Self::LANES);
            if vector < 4 {
                bytes[lane / PART_LANES * PART + vector * PART_LANES + lane % PART_LANES]
            } else {
                parts as u8
            }
        })
    }

    #[inline(never)]
    unsafe fn store_one(bytes: [u8; PARTS * PART], part: usize, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(bytes[part * Self::LANES..].as_ptr(), to, Self::LANES) };
    }

    #[inline(never)]
    unsafe fn store_two(bytes: [u8; PARTS * PART], half: usize, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(bytes[half * 2 * Self::LANES..].as_ptr(), to, 2 * Self::LANES) };
    }

    #[inline(never)]
    unsafe fn store_four(bytes: [u8; PARTS * PART], to: *mut u8) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, 4 * Self::LANES) };
    }
}

// SAFETY: plain arithmetic.
unsafe impl<S: Interleave + Matvec> Simd for Emulated<S> {
    type V = EmulatedVectors<S>;
    type Activations = Lanes;
    type Weights = Lanes;
    const STEP: usize = S::STEP;
    const ELEMENT: usize = S::ELEMENT;
    const WEIGHT: usize = S::WEIGHT;
    const EXACT: bool = S::EXACT;
    const ISA: &'static str = S::ISA;
    const PIXELS: [usize; 4] = S::PIXELS;

    fn pack(weights: [i16; 4], lane: usize, to: &mut [u8]) {
        S::pack(weights, lane, to);
    }

    fn weight_products(weights: [i16; 4]) -> i32 {
        S::weight_products(weights)
    }

    unsafe fn activation_products(_: *const u8, _: &[usize], _: usize) -> i32 {
        0
    }

    #[inline(never)]
    unsafe fn broadcast(from: *const u8) -> Lanes {
        // SAFETY: the caller's.
        [unsafe { from.cast::<i32>().read_unaligned() }; PARTS * PART_LANES]
    }

    #[inline(never)]
    unsafe fn load_weights(from: *const u8) -> Lanes {
        // SAFETY: the caller's.
        unsafe { Self::V::load(from.cast()) }
    }

    #[inline(never)]
    unsafe fn dot(sums: Lanes, activations: Lanes, weights: Lanes) -> Lanes {
        std::array::from_fn(|i| {
            let pairs = activations[i].to_le_bytes().into_iter().zip(weights[i].to_le_bytes());
            pairs.fold(sums[i], |sum, (x, w)| sum.wrapping_add(i32::from(x) * i32::from(w as i8)))
        })
    }

    unsafe fn strip(strip: &Strip) {
        // SAFETY: the caller's.
        unsafe { tiles::strip::<Self>(strip) }
    }

    unsafe fn excess(_: *const u8, _: &mut [Pixel], _: &[usize], _: usize) {}

    fn strips(vectors: usize) -> Vec<usize> {
        S::strips(vectors)
    }

    unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
        // SAFETY: the caller's; this copies with AVX2 only.
        unsafe { S::widen(from, stride, depth, count, to) }
    }

    fn fill(to: &mut [u8], value: u8) {
        S::fill(to, value);
    }

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        conv::vnni(self, conv)
    }

    fn avx2(self) -> Avx2 {
        self.avx2
    }
}

// SAFETY: as before.
unsafe impl<S: Interleave + Matvec> Matvec for Emulated<S> {
    const WIDTH: usize = S::WIDTH;
    type Lanes = i32;

    unsafe fn no_sums() -> i32 {
        0
    }

    #[inline(never)]
    unsafe fn accumulate(sums: i32, x: *const u8, weights: *const i8) -> i32 {
        assert_eq!((x as usize % S::WIDTH, weights as usize % S::WIDTH), (0, 0), "on whole vectors");
        // SAFETY: the caller's.
        let product = |i| unsafe { i32::from(x.add(i).read()) * i32::from(weights.add(i).read()) };
        (0..S::WIDTH).fold(sums, |sum, i| sum.wrapping_add(product(i)))
    }

    unsafe fn totals(rows: [i32; ROWS]) -> [i32; ROWS] {
        rows
    }

    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS] {
        // SAFETY: the caller's.
        unsafe { if all { gemv::rows::<Self, ROWS>(stream) } else { gemv::rows::<Self, 1>(stream) } }
    }
}

// SAFETY: as before; `count` bytes are touched.
unsafe impl<S: Interleave + Matvec> Interleave for Emulated<S> {
    const SIDE: usize = S::SIDE;

    #[inline(never)]
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [Lanes; 4] {
        let mut bytes = [[0u8; PARTS * PART]; 4];
        for (bytes, row) in bytes.iter_mut().zip(rows) {
            // SAFETY: the caller's.
            unsafe { std::ptr::copy_nonoverlapping(row, bytes.as_mut_ptr(), count.min(4 * Self::V::LANES)) };
        }
        std::array::from_fn(|vector| {
            std::array::from_fn(|lane| {
                let channel = lane / PART_LANES * PART + vector * PART_LANES + lane % PART_LANES;
                i32::from_le_bytes(std::array::from_fn(|row| bytes[row][channel]))
            })
        })
    }

    #[inline(never)]
    unsafe fn store_pixels(bytes: [u8; PARTS * PART], to: *mut u8, _stride: usize, _pixels: usize, count: usize) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count.min(4 * Self::V::LANES)) };
    }

    unsafe fn depthwise(strip: &depthwise::Strip, window: [usize; 2]) {
        // SAFETY: the caller's.
        unsafe { depthwise::strip::<Self>(strip, window) }
    }
}
