//! Depthwise 3×3 windows with the dot product.

use std::arch::aarch64::*;

use crate::kernels::aarch64::depthwise::blocks::BLOCK;
use crate::kernels::aarch64::depthwise::blocks::Blocks;
use crate::kernels::aarch64::depthwise::dot4::{interleave, quads, sdot};
use crate::kernels::aarch64::depthwise::square::walk;
use crate::kernels::aarch64::depthwise::square::{Columns, Kernel, ROWS, Strip};
use crate::kernels::aarch64::isa::DotProduct;

/// Dot products: four rows of a column are one quad for each channel. At stride 1 two rows of outputs share it, the
/// weights being moved down by one row for the second; at stride 2 each has its own.
#[derive(Debug)]
pub(crate) struct Dot3x3;

// SAFETY: `walk` is for all that `Columns` says; values of `DotProduct` prove the instructions.
unsafe impl Kernel for Dot3x3 {
    type Isa = DotProduct;
    const KIND: &'static str = "dot4";
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
        // SAFETY: ENABLED and ROWS_STRIP.
        unsafe { walk::<Dot3x3, S, R, FREE>(strip) }
    }
}

// SAFETY: columns and weights are loaded as the trait says.
unsafe impl Columns for Dot3x3 {
    /// `[row of outputs][column][half of the block]`
    type Weights = [[[int8x16_t; 2]; 3]; 2];
    /// `[quad][half of the block]`
    type Column = [[int8x16_t; 2]; 2];

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> Self::Weights {
        let vector = |i: usize| {
            // SAFETY: WEIGHTS_IN.
            unsafe { vld1q_s8(from.add(16 * i)) }
        };
        std::array::from_fn(|row| {
            std::array::from_fn(|column| std::array::from_fn(|half| vector((row * 3 + column) * 2 + half)))
        })
    }

    #[inline(always)]
    unsafe fn column<const S: usize, const R: usize>(rows: &[*const i8; ROWS], at: usize) -> Self::Column {
        // SAFETY: ENABLED and CHANNELS_IN.
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
