//! Vectors with every instruction emulated; see [`crate::kernels::x86_64::dot::emulated`].

use std::marker::PhantomData;

use crate::kernels::x86_64::epilogue::rounding::{Addition, Rounding};
use crate::kernels::x86_64::vector::Vectors;

/// Bytes of a 128-bit part, lanes in it, and the most parts.
pub(crate) const PART: usize = 16;
pub(crate) const PART_LANES: usize = 4;
pub(crate) const PARTS: usize = 4;

/// The vectors of `V`, emulated; lanes that its vectors lack stay 0.
pub(crate) struct EmulatedVectors<V>(PhantomData<V>);

pub(crate) type Lanes = [i32; PARTS * PART_LANES];

/// As `cvtps2dq`: what does not fit becomes the smallest integer, also if it is too large.
fn convert(x: f32) -> i32 {
    if (-2147483648.0..2147483648.0).contains(&x) { x.round_ties_even() as i32 } else { i32::MIN }
}

impl<V: Vectors> Vectors for EmulatedVectors<V> {
    type Sums = Lanes;
    type Bytes = [u8; PARTS * PART];
    const LANES: usize = V::LANES;

    #[inline(never)]
    unsafe fn load(from: *const i32) -> Lanes {
        assert_eq!(from as usize % (4 * Self::LANES), 0, "aligned");
        // SAFETY: ENABLED and LANES_IN.
        std::array::from_fn(|i| if i < Self::LANES { unsafe { from.add(i).read() } } else { 0 })
    }

    #[inline(never)]
    unsafe fn store(to: *mut i32, sums: Lanes) {
        for (i, sum) in sums.into_iter().enumerate().take(Self::LANES) {
            // SAFETY: ENABLED and LANES_OUT.
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
            // SAFETY: ENABLED and LANES_IN.
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
            // SAFETY: ENABLED and LANES_IN.
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
        // SAFETY: ENABLED and LANES_OUT.
        unsafe { std::ptr::copy_nonoverlapping(bytes[part * Self::LANES..].as_ptr(), to, Self::LANES) };
    }

    #[inline(never)]
    unsafe fn store_two(bytes: [u8; PARTS * PART], half: usize, to: *mut u8) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe { std::ptr::copy_nonoverlapping(bytes[half * 2 * Self::LANES..].as_ptr(), to, 2 * Self::LANES) };
    }

    #[inline(never)]
    unsafe fn store_four(bytes: [u8; PARTS * PART], to: *mut u8) {
        // SAFETY: ENABLED and LANES_OUT.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, 4 * Self::LANES) };
    }
}
