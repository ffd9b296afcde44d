//! Four rows of a column as a vector for the dot product.

use std::arch::aarch64::*;
use std::arch::asm;

/// Pairs of the bytes of two rows.
#[inline(always)]
pub(crate) fn interleave(a: int8x8_t, b: int8x8_t) -> int16x8_t {
    // SAFETY: BASELINE.
    unsafe { vreinterpretq_s16_s8(vcombine_s8(vzip1_s8(a, b), vzip2_s8(a, b))) }
}

/// GenericDot4 of two pairs of rows, for both halves of the block.
#[inline(always)]
pub(crate) fn quads(above: int16x8_t, below: int16x8_t) -> [int8x16_t; 2] {
    // SAFETY: BASELINE.
    unsafe { [vreinterpretq_s8_s16(vzip1q_s16(above, below)), vreinterpretq_s8_s16(vzip2q_s16(above, below))] }
}

/// `sums + products` of quads.
#[inline(always)]
pub(crate) fn sdot(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the instruction works on registers alone. It is there: only functions that enable it come here.
    unsafe {
        asm!("sdot {s:v}.4s, {a:v}.16b, {b:v}.16b", s = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}
