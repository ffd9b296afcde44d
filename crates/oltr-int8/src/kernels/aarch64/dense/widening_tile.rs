//! What tiles of widening products share: their size, their sums, and how they are stored.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernels::aarch64::epilogue::Target;
use crate::kernels::aarch64::epilogue::rounding::{LANES, Narrow, round};
use crate::kernels::window::{CHUNK, Pixels};

/// Pixels and channels of a tile.
pub(crate) const PIXELS: usize = 4;
pub(crate) const CHANNELS: usize = 4;
/// Bytes of a tile's weights for a chunk.
pub(crate) const BLOCK: usize = CHANNELS * CHUNK;

/// Four channels for the pixels of a block.
pub(crate) struct Column<'a> {
    pub pixels: Pixels<'a>,
    pub first: u32,
    pub deep: &'a [[u32; 2]],
    pub shallow: &'a [u32],
    pub weights: *const i8,
    pub bias: *const i32,
    pub target: Target,
}

/// The sums of four channels of one pixel; those of a channel are not yet added up.
pub(crate) type Sums = [int32x4_t; CHANNELS];

/// Adds up the sums of each channel.
#[inline(always)]
pub(crate) fn total([a, b, c, d]: Sums, bias: int32x4_t) -> int32x4_t {
    // SAFETY: BASELINE.
    unsafe { vaddq_s32(pairs(pairs(a, b), pairs(c, d)), bias) }
}

/// Sums of neighbours. Of the intrinsic, where an addition follows, the compiler makes two permutations and two
/// additions.
#[inline(always)]
fn pairs(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let sums;
    // SAFETY: the instruction works on registers alone, and is part of every aarch64.
    unsafe {
        asm!("addp {s:v}.4s, {a:v}.4s, {b:v}.4s", s = lateout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// Stores the first `count` pixels of a tile.
///
/// # Safety
/// TILE. The target has them.
#[inline(always)]
pub(crate) unsafe fn store(target: &Target, totals: [int32x4_t; PIXELS], count: usize) {
    // SAFETY: TILE.
    unsafe {
        match *target {
            Target::Sums(to) => {
                for (m, total) in totals.iter().enumerate().take(count) {
                    vst1q_s32(to.add(m * LANES), *total);
                }
            }
            Target::Bytes { to, stride, multiplier, rounding } => {
                store_bytes(to, stride, totals, vld1q_f32(multiplier), rounding.load(), count);
            }
        }
    }
}

/// Requantises and stores the first `count` pixels of a tile, `stride` bytes apart.
///
/// # Safety
/// CHANNELS_OUT. They can be written.
#[inline(always)]
pub(crate) unsafe fn store_bytes(
    to: *mut u8,
    stride: usize,
    totals: [int32x4_t; PIXELS],
    multiplier: float32x4_t,
    narrow: Narrow,
    count: usize,
) {
    // SAFETY: CHANNELS_OUT.
    unsafe {
        let bytes = vreinterpretq_s32_s8(narrow.narrow(totals.map(|total| round(total, multiplier))));
        let second = to.wrapping_add(stride);
        let third = second.wrapping_add(stride);
        vst1q_lane_s32::<0>(to.cast(), bytes);
        if count > 1 {
            vst1q_lane_s32::<1>(second.cast(), bytes);
        }
        if count > 2 {
            vst1q_lane_s32::<2>(third.cast(), bytes);
        }
        if count > 3 {
            vst1q_lane_s32::<3>(third.wrapping_add(stride).cast(), bytes);
        }
    }
}
