//! Products of the columns of 3×3 windows, for the two instruction sets.

use std::arch::aarch64::*;
use std::arch::asm;

use super::super::{Conv, PackedConv};
use super::bands::Bands;
use super::depthwise::{BLOCK, Blocks, Columns, Ends, Kernel, ROWS, Strip, square, walk};
use super::dot::DotProduct;
use super::fives::NeonFives;
use super::neon::Neon;
use super::quads::Quads;
use super::taps::Taps;
use super::vectors::{add_wide, to_signed};

/// Dot products: four rows of a column are one quad for each channel. At stride 1 two rows of outputs share it, the
/// weights being moved down by one row for the second; at stride 2 each has its own.
#[derive(Debug)]
pub(super) struct DotColumns;

// SAFETY: `walk` is for all that `Columns` says; values of `DotProduct` prove the instructions.
unsafe impl Kernel for DotColumns {
    type Isa = DotProduct;
    const ISA: &'static str = "neondot";
    const SIZE: usize = 3;
    const BYTES: usize = 2 * 3 * 2 * 16;

    fn pack(_: DotProduct, blocks: &Blocks) -> Option<Vec<i8>> {
        let mut packed = Vec::with_capacity(blocks.count() * Self::BYTES);
        for block in 0..blocks.count() {
            for shift in 0..2 {
                for column in 0..3 {
                    let rows = [0, 1, 2].map(|row| blocks.tap(block, 3 * row + column));
                    for lane in 0..BLOCK {
                        let mut quad = [0; 4];
                        for (row, weights) in rows.iter().enumerate() {
                            quad[row + shift] = weights[lane];
                        }
                        packed.extend(quad);
                    }
                }
            }
        }
        Some(packed)
    }

    #[target_feature(enable = "dotprod")]
    unsafe fn walk<const S: usize, const R: usize, const FREE: bool>(strip: &Strip) {
        // SAFETY: the caller's.
        unsafe { walk::<DotColumns, S, R, FREE>(strip) }
    }
}

// SAFETY: columns and weights are loaded as the trait says.
unsafe impl Columns for DotColumns {
    /// `[row of outputs][column][half of the block]`
    type Weights = [[[int8x16_t; 2]; 3]; 2];
    /// `[quad][half of the block]`
    type Column = [[int8x16_t; 2]; 2];

    fn other(isa: DotProduct, conv: &Conv, ends: &dyn Fn(i16) -> Ends) -> Box<dyn PackedConv> {
        if Bands::fits(conv) {
            return Box::new(Bands::new(isa, conv, ends(to_signed(conv.input_zero))));
        }
        if Quads::fits(conv) {
            return Box::new(Quads::new(isa, conv, ends(to_signed(conv.input_zero))));
        }
        Box::new(Taps::new(conv, ends(0)))
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> Self::Weights {
        let vector = |i: usize| {
            // SAFETY: the caller's.
            unsafe { vld1q_s8(from.add(16 * i)) }
        };
        std::array::from_fn(|row| {
            std::array::from_fn(|column| std::array::from_fn(|half| vector((row * 3 + column) * 2 + half)))
        })
    }

    #[inline(always)]
    unsafe fn column<const S: usize, const R: usize>(rows: &[*const i8; ROWS], at: usize) -> Self::Column {
        // SAFETY: the caller's.
        unsafe {
            let row = |row: usize| vld1_s8(rows[row].add(at));
            let (a, b, c) = (row(0), row(1), row(2));
            // The fourth row of a quad has weights of 0, but for two rows of outputs at stride 1.
            let d = if R == 1 { c } else { row(3) };
            let (ab, cd) = (interleave(a, b), interleave(c, d));
            let first = quads(ab, cd);
            if S == 1 || R == 1 {
                return [first; 2];
            }
            let e = row(4);
            [first, quads(cd, interleave(e, e))]
        }
    }

    #[inline(always)]
    fn sums<const S: usize, const R: usize>(
        bias: [int32x4_t; 2],
        weights: &Self::Weights,
        columns: [&Self::Column; 3],
    ) -> [[int32x4_t; 2]; R] {
        let mut sums = [bias; R];
        for (row, sums) in sums.iter_mut().enumerate() {
            let (quad, shift) = if S == 1 { (0, row) } else { (row, 0) };
            for (column, weights) in columns.iter().zip(&weights[shift]) {
                for (half, sum) in sums.iter_mut().enumerate() {
                    *sum = sdot(*sum, column[quad][half], weights[half]);
                }
            }
        }
        sums
    }
}

/// Pairs of the bytes of two rows.
#[inline(always)]
pub(super) fn interleave(a: int8x8_t, b: int8x8_t) -> int16x8_t {
    // SAFETY: NEON is part of the target.
    unsafe { vreinterpretq_s16_s8(vcombine_s8(vzip1_s8(a, b), vzip2_s8(a, b))) }
}

/// Quads of two pairs of rows, for both halves of the block.
#[inline(always)]
pub(super) fn quads(above: int16x8_t, below: int16x8_t) -> [int8x16_t; 2] {
    // SAFETY: NEON is part of the target.
    unsafe { [vreinterpretq_s8_s16(vzip1q_s16(above, below)), vreinterpretq_s8_s16(vzip2q_s16(above, below))] }
}

/// `sums + products` of quads.
#[inline(always)]
pub(super) fn sdot(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the instruction works on registers alone. It is there: only functions that enable it come here.
    unsafe {
        asm!("sdot {s:v}.4s, {a:v}.16b, {b:v}.16b", s = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// Plain NEON: products of two taps are added up in 16 bits, then widened. That is one multiplication for each tap,
/// of which such processors begin one a cycle, and no widening of activations.
#[derive(Debug)]
pub(super) struct NeonColumns;

/// Taps (column, row) whose products are added up in 16 bits.
const PAIRS: [[(usize, usize); 2]; 4] = [[(0, 0), (0, 1)], [(0, 2), (1, 0)], [(1, 1), (1, 2)], [(2, 0), (2, 1)]];

/// The tap that is left.
const SINGLE: (usize, usize) = (2, 2);

// SAFETY: `walk` is for all that `Columns` says.
unsafe impl Kernel for NeonColumns {
    type Isa = Neon;
    const ISA: &'static str = "neon";
    const SIZE: usize = 3;
    const BYTES: usize = 9 * BLOCK;

    fn pack(_: Neon, blocks: &Blocks) -> Option<Vec<i8>> {
        blocks.by_columns(3, &PAIRS)
    }

    unsafe fn walk<const S: usize, const R: usize, const FREE: bool>(strip: &Strip) {
        // SAFETY: the caller's.
        unsafe { walk::<NeonColumns, S, R, FREE>(strip) }
    }
}

// SAFETY: columns and weights are loaded as the trait says.
unsafe impl Columns for NeonColumns {
    /// `[column][row]`
    type Weights = [[int8x8_t; 3]; 3];
    /// Rows.
    type Column = [int8x8_t; ROWS];

    fn other(isa: Neon, conv: &Conv, ends: &dyn Fn(i16) -> Ends) -> Box<dyn PackedConv> {
        square::<NeonFives>(isa, conv, ends).unwrap_or_else(|| Box::new(Taps::new(conv, ends(0))))
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> Self::Weights {
        std::array::from_fn(|column| {
            std::array::from_fn(|row| {
                // SAFETY: the caller's.
                unsafe { vld1_s8(from.add((3 * column + row) * BLOCK)) }
            })
        })
    }

    #[inline(always)]
    unsafe fn column<const S: usize, const R: usize>(rows: &[*const i8; ROWS], at: usize) -> Self::Column {
        // SAFETY: the caller's. Rows that no output needs are not loaded.
        rows.map(|row| unsafe { vld1_s8(row.add(at)) })
    }

    #[inline(always)]
    fn sums<const S: usize, const R: usize>(
        bias: [int32x4_t; 2],
        weights: &Self::Weights,
        columns: [&Self::Column; 3],
    ) -> [[int32x4_t; 2]; R] {
        let mut all = [bias; R];
        for (below, sums) in all.iter_mut().enumerate() {
            let value = |(column, row): (usize, usize)| columns[column][row + below * S];
            let weight = |(column, row): (usize, usize)| weights[column][row];
            // SAFETY: NEON is part of the target.
            unsafe {
                for [first, second] in PAIRS {
                    let products = vmull_s8(value(first), weight(first));
                    add_wide(sums, vmlal_s8(products, value(second), weight(second)));
                }
                add_wide(sums, vmull_s8(value(SINGLE), weight(SINGLE)));
            }
        }
        all
    }
}
