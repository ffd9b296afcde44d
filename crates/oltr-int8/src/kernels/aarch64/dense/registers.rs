//! Vectors from memory and to it, as the compiler would not do it.

use std::arch::aarch64::*;
use std::arch::asm;

/// `N` vectors from memory, two at a time, though the same were loaded before: for each pixel of a tile the compiler
/// would copy them from register to register one by one.
///
/// # Safety
/// LANES_IN. They can be read.
#[inline(always)]
pub(crate) unsafe fn load_again<const N: usize>(from: *const i32) -> [int32x4_t; N] {
    // SAFETY: LANES_IN; the instructions change no memory.
    unsafe {
        let mut all = [vdupq_n_s32(0); 4];
        let [a, b, c, d] = &mut all;
        match N {
            1 => asm!("ldr {a:q}, [{from}]", a = out(vreg) *a, from = in(reg) from,
                options(readonly, nostack, preserves_flags)),
            2 => asm!("ldp {a:q}, {b:q}, [{from}]", a = out(vreg) *a, b = out(vreg) *b, from = in(reg) from,
                options(readonly, nostack, preserves_flags)),
            3 => asm!("ldp {a:q}, {b:q}, [{from}]", "ldr {c:q}, [{from}, #32]", a = out(vreg) *a, b = out(vreg) *b,
                c = out(vreg) *c, from = in(reg) from, options(readonly, nostack, preserves_flags)),
            _ => asm!("ldp {a:q}, {b:q}, [{from}]", "ldp {c:q}, {d:q}, [{from}, #32]", a = out(vreg) *a,
                b = out(vreg) *b, c = out(vreg) *c, d = out(vreg) *d, from = in(reg) from,
                options(readonly, nostack, preserves_flags)),
        }
        std::array::from_fn(|n| all[n])
    }
}

/// Stores the first `4 * N` bytes.
///
/// # Safety
/// LANES_OUT. They can be written.
#[inline(always)]
pub(crate) unsafe fn store_bytes<const N: usize>(to: *mut u8, bytes: int8x16_t) {
    // SAFETY: LANES_OUT.
    unsafe {
        match N {
            1 => vst1q_lane_s32::<0>(to.cast(), vreinterpretq_s32_s8(bytes)),
            2 | 3 => vst1_s8(to.cast(), vget_low_s8(bytes)),
            _ => vst1q_s8(to.cast(), bytes),
        }
        if N == 3 {
            vst1q_lane_s32::<2>(to.add(8).cast(), vreinterpretq_s32_s8(bytes));
        }
    }
}
