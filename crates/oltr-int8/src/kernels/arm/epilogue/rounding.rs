//! Requantisation of four sums at a time: the arithmetic of [`crate::quant::Requant`].

use std::arch::asm;

use crate::kernels::arm::isa::Neon;

/// Sums or results of four channels.
pub(crate) type Four = [i32; 4];

/// What becomes of the sums of a layer that yields bytes.
#[derive(Clone, Debug)]
pub(crate) struct Rounding {
    /// The bounds less the zero point, and the zero point.
    lo: f32,
    hi: f32,
    zero: i32,
}

impl Rounding {
    pub fn new(zero_point: u8, lo: u8, hi: u8) -> Rounding {
        let zero = i32::from(zero_point);
        Rounding { lo: (i32::from(lo) - zero) as f32, hi: (i32::from(hi) - zero) as f32, zero }
    }

    /// The bytes, unsigned, that the sums become with the bias of their channels.
    ///
    /// NEON flushes denormal numbers, which round to 0 anyway. Sums and multipliers are finite, so that there is no
    /// NaN.
    #[inline(always)]
    pub fn bytes(&self, _: Neon, sums: &Four, bias: &Four, multiplier: &[f32; 4]) -> [u8; 4] {
        // Adding it leaves no bits for fractions: see `quant::round_small`.
        const SHIFT: f32 = 12_582_912.0;
        let mut results: Four = [0; 4];
        // SAFETY: the value given proves that the processor has NEON; four numbers are behind each address.
        unsafe {
            asm!(
                ".fpu neon",
                "vld1.32 {{d0-d1}}, [{sums}]",
                "vld1.32 {{d2-d3}}, [{bias}]",
                "vld1.32 {{d4-d5}}, [{multiplier}]",
                "vdup.32 q3, {lo}",
                "vdup.32 q8, {hi}",
                "vdup.32 q9, {shift}",
                "vadd.i32 q0, q0, q1",
                "vcvt.f32.s32 q0, q0",
                "vmul.f32 q0, q0, q2",
                "vmax.f32 q0, q0, q3",
                "vmin.f32 q0, q0, q8",
                "vadd.f32 q0, q0, q9",
                "vsub.i32 q0, q0, q9",
                "vdup.32 q1, {zero}",
                "vadd.i32 q0, q0, q1",
                "vst1.32 {{d0-d1}}, [{results}]",
                sums = in(reg) sums,
                bias = in(reg) bias,
                multiplier = in(reg) multiplier,
                lo = in(reg) self.lo.to_bits(),
                hi = in(reg) self.hi.to_bits(),
                shift = in(reg) SHIFT.to_bits(),
                zero = in(reg) self.zero,
                results = in(reg) &mut results,
                out("d0") _, out("d1") _, out("d2") _, out("d3") _, out("d4") _, out("d5") _, out("d6") _,
                out("d7") _, out("q8") _, out("q9") _,
                options(nostack, preserves_flags),
            );
        }
        results.map(|byte| byte as u8)
    }
}
