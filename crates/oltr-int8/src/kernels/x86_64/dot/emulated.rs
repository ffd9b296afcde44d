//! The VNNI sets with every instruction emulated, so that their packing, tiling and edges are tested where the
//! processor lacks them. Nothing is inlined, which would take minutes to compile. What stays untested there is which
//! intrinsic stands in each one-line method: `cross/x86/kernels` tests that, on an emulated processor.

use std::marker::PhantomData;

use crate::kernels::x86_64::dense::strip::{Pixel, Strip};
use crate::kernels::x86_64::dense::tiles;
use crate::kernels::x86_64::depthwise::square;
use crate::kernels::x86_64::depthwise::square::Interleave;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::isa::{Avx2, WithAvx2};
use crate::kernels::x86_64::matvec;
use crate::kernels::x86_64::matvec::ROWS;
use crate::kernels::x86_64::matvec::{Matvec, Stream};
use crate::kernels::x86_64::vector::Vectors;
use crate::kernels::x86_64::vector::emulated::Lanes;
use crate::kernels::x86_64::vector::emulated::{EmulatedVectors, PART, PART_LANES, PARTS};

/// The set `S`, emulated.
pub(crate) struct Emulated<S: Dot> {
    avx2: Avx2,
    set: PhantomData<S>,
}

impl<S: Dot> Emulated<S> {
    pub fn new(avx2: Avx2) -> Emulated<S> {
        Emulated { avx2, set: PhantomData }
    }
}

impl<S: Dot> Clone for Emulated<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Dot> Copy for Emulated<S> {}

impl<S: Dot> std::fmt::Debug for Emulated<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Emulated({})", S::ISA)
    }
}

impl<S: Dot> WithAvx2 for Emulated<S> {
    fn avx2(self) -> Avx2 {
        self.avx2
    }
}

// SAFETY: plain arithmetic.
unsafe impl<S: Interleave + Matvec> Dot for Emulated<S> {
    const KIND: &'static str = S::KIND;
    type V = EmulatedVectors<S::V>;
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
        // SAFETY: ENABLED and STEP_IN.
        [unsafe { from.cast::<i32>().read_unaligned() }; PARTS * PART_LANES]
    }

    #[inline(never)]
    unsafe fn load_weights(from: *const u8) -> Lanes {
        // SAFETY: ENABLED and WEIGHTS_IN.
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
        // SAFETY: ENABLED and STRIP.
        unsafe { tiles::strip::<Self>(strip) }
    }

    unsafe fn correction(_: *const u8, _: &mut [Pixel], _: &[usize], _: usize) {}

    fn strips(vectors: usize) -> Vec<usize> {
        S::strips(vectors)
    }

    unsafe fn widen(from: &[u8], stride: usize, depth: usize, count: usize, to: &mut [u8]) {
        // SAFETY: ENABLED; both slices are checked; this copies with AVX2 only.
        unsafe { S::widen(from, stride, depth, count, to) }
    }

    fn fill(to: &mut [u8], value: u8) {
        S::fill(to, value);
    }
}

// SAFETY: plain arithmetic.
unsafe impl<S: Interleave + Matvec> Matvec for Emulated<S> {
    const ROWS_KIND: &'static str = S::ROWS_KIND;
    const WIDTH: usize = S::WIDTH;
    type Lanes = i32;

    unsafe fn no_sums() -> i32 {
        0
    }

    #[inline(never)]
    unsafe fn accumulate(sums: i32, x: *const u8, weights: *const i8) -> i32 {
        assert_eq!((x as usize % S::WIDTH, weights as usize % S::WIDTH), (0, 0), "on whole vectors");
        // SAFETY: ENABLED and STREAM.
        let product = |i| unsafe { i32::from(x.add(i).read()) * i32::from(weights.add(i).read()) };
        (0..S::WIDTH).fold(sums, |sum, i| sum.wrapping_add(product(i)))
    }

    unsafe fn totals(rows: [i32; ROWS]) -> [i32; ROWS] {
        rows
    }

    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS] {
        // SAFETY: ENABLED and STREAM.
        unsafe { if all { matvec::rows::<Self, ROWS>(stream) } else { matvec::rows::<Self, 1>(stream) } }
    }
}

// SAFETY: plain arithmetic; `count` bytes are touched.
unsafe impl<S: Interleave + Matvec> Interleave for Emulated<S> {
    const SIDE: usize = S::SIDE;

    #[inline(never)]
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [Lanes; 4] {
        let mut bytes = [[0u8; PARTS * PART]; 4];
        for (bytes, row) in bytes.iter_mut().zip(rows) {
            // SAFETY: ENABLED and CHANNELS_IN.
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
        // SAFETY: ENABLED and CHANNELS_OUT.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, count.min(4 * Self::V::LANES)) };
    }

    unsafe fn depthwise(strip: &square::Strip, window: [usize; 2]) {
        // SAFETY: ENABLED and ROWS_STRIP.
        unsafe { square::strip::<Self>(strip, window) }
    }
}
