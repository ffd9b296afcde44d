//! Depthwise 3×3 windows by widening products.

use std::arch::aarch64::*;

use crate::kernels::aarch64::depthwise::blocks::{BLOCK, Blocks};
use crate::kernels::aarch64::depthwise::square::walk;
use crate::kernels::aarch64::depthwise::square::{Columns, Kernel, ROWS, Strip};
use crate::kernels::aarch64::epilogue::rounding::add_wide;
use crate::kernels::aarch64::isa::Neon;

/// Plain NEON: products of two taps are added up in 16 bits, then widened. That is one multiplication for each tap,
/// of which such processors begin one a cycle, and no widening of activations.
#[derive(Debug)]
pub(crate) struct Widening3x3;

/// Generic (column, row) whose products are added up in 16 bits.
const PAIRS: [[(usize, usize); 2]; 4] = [[(0, 0), (0, 1)], [(0, 2), (1, 0)], [(1, 1), (1, 2)], [(2, 0), (2, 1)]];

/// The tap that is left.
const SINGLE: (usize, usize) = (2, 2);

// SAFETY: `walk` is for all that `Columns` says.
unsafe impl Kernel for Widening3x3 {
    type Isa = Neon;
    const KIND: &'static str = "widening";
    const ISA: &'static str = "neon";
    const SIZE: usize = 3;
    const BYTES: usize = 9 * BLOCK;

    fn pack(_: Neon, blocks: &Blocks) -> Option<Vec<i8>> {
        blocks.by_columns(3, &PAIRS)
    }

    unsafe fn walk<const S: usize, const R: usize, const FREE: bool>(strip: &Strip) {
        // SAFETY: ENABLED and ROWS_STRIP.
        unsafe { walk::<Widening3x3, S, R, FREE>(strip) }
    }
}

// SAFETY: columns and weights are loaded as the trait says.
unsafe impl Columns for Widening3x3 {
    /// `[column][row]`
    type Weights = [[int8x8_t; 3]; 3];
    /// Rows.
    type Column = [int8x8_t; ROWS];

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> Self::Weights {
        std::array::from_fn(|column| {
            std::array::from_fn(|row| {
                // SAFETY: WEIGHTS_IN.
                unsafe { vld1_s8(from.add((3 * column + row) * BLOCK)) }
            })
        })
    }

    #[inline(always)]
    unsafe fn column<const S: usize, const R: usize>(rows: &[*const i8; ROWS], at: usize) -> Self::Column {
        // SAFETY: ENABLED and CHANNELS_IN. Rows that no output needs are not loaded.
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
            // SAFETY: BASELINE.
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
