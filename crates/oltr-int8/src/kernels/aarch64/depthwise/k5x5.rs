//! Depthwise convolutions of 5×5 on plain NEON, tiles of two outputs side by side in two rows.
//!
//! As of 3×3 windows ([`super::k3x3::Widening3x3`]), products of two taps are added up in 16 bits, then widened. The
//! window has more weights than there are registers: a tile takes the columns of the map under it one after the other,
//! and with each the weights of the window's columns that lie over it.

use std::arch::aarch64::*;

use crate::kernels::aarch64::depthwise::blocks::{BLOCK, Blocks};
use crate::kernels::aarch64::depthwise::square::{Kernel, ROWS, Strip, requantise};
use crate::kernels::aarch64::epilogue::rounding::add_wide;
use crate::kernels::aarch64::isa::Neon;

/// Rows and columns of the window.
const SIZE: usize = 5;

/// The last row of the window: the one that is left of each column when two rows and two have been added up.
const LAST: usize = SIZE - 1;

/// The kernel.
#[derive(Debug)]
pub(crate) struct Widening5x5;

/// Generic (column, row) whose products are added up in 16 bits: of each column two rows and two, and of the last row two
/// neighbouring columns.
fn pairs() -> impl Iterator<Item = [(usize, usize); 2]> {
    let down = |column| [[(column, 0), (column, 1)], [(column, 2), (column, 3)]];
    let last = (0..LAST).step_by(2).map(|column| [(column, LAST), (column + 1, LAST)]);
    (0..SIZE).flat_map(down).chain(last)
}

// SAFETY: columns of the map are read inside it, others from the zero points; outputs are those of the strip.
unsafe impl Kernel for Widening5x5 {
    type Isa = Neon;
    const KIND: &'static str = "widening";
    const ISA: &'static str = "neon";
    const SIZE: usize = SIZE;
    /// `[column][row][channel]`
    const BYTES: usize = SIZE * SIZE * BLOCK;

    fn pack(_: Neon, blocks: &Blocks) -> Option<Vec<i8>> {
        blocks.by_columns(SIZE, &pairs().collect::<Vec<_>>())
    }

    unsafe fn walk<const S: usize, const R: usize, const FREE: bool>(strip: &Strip) {
        let mut at = 0;
        while at < strip.outputs {
            let first = strip.column + (at * S) as isize;
            let count = if at + 1 < strip.outputs { 2 } else { 1 };
            let inside = first >= 0 && first + (S + SIZE) as isize <= strip.width;
            // SAFETY: ENABLED and ROWS_STRIP.
            unsafe {
                match (count, inside) {
                    (2, true) => tile::<S, R, 2, true, FREE>(strip, first, at),
                    (2, false) => tile::<S, R, 2, false, FREE>(strip, first, at),
                    _ => tile::<S, R, 1, false, FREE>(strip, first, at),
                }
            }
            at += count;
        }
    }
}

/// `C` outputs side by side from output `at` of the strip on, in `R` rows; the first column of the map under them is
/// `first`, and if they are `INSIDE` all columns under them are in the map.
///
/// # Safety
/// ENABLED and ROWS_STRIP. As for [`Kernel::walk`]; the outputs exist.
#[inline(always)]
unsafe fn tile<const S: usize, const R: usize, const C: usize, const INSIDE: bool, const FREE: bool>(
    strip: &Strip,
    first: isize,
    at: usize,
) {
    // SAFETY: ENABLED and ROWS_STRIP.
    unsafe {
        let bias = [vld1q_s32(strip.bias), vld1q_s32(strip.bias.add(4))];
        let Strip { rows, stride, width, outside, weights, .. } = *strip;
        let mut tile = Tile { sums: [[bias; C]; R], last: [[vdupq_n_s16(0); C]; R] };
        // Columns that are known when this is compiled: which weights are over them then is, too.
        macro_rules! columns {
            ($($column:literal)*) => {$(
                if $column < (C - 1) * S + SIZE {
                    let at = first + $column;
                    let mut x = [vdup_n_s8(0); ROWS];
                    if INSIDE || (0..width).contains(&at) {
                        for (x, row) in x.iter_mut().zip(rows).take((R - 1) * S + SIZE) {
                            *x = vld1_s8(row.offset(at * stride as isize));
                        }
                    } else {
                        x = [vld1_s8(outside); ROWS];
                    }
                    tile.add::<S, $column>(&x, weights);
                }
            )*};
        }
        columns!(0 1 2 3 4 5 6);
        tile.store::<FREE>(strip, at);
    }
}

/// `R` rows of `C` outputs.
struct Tile<const R: usize, const C: usize> {
    sums: [[[int32x4_t; 2]; C]; R],
    /// Products of the window's last row in one column, to which those in the next are added.
    last: [[int16x8_t; C]; R],
}

impl<const R: usize, const C: usize> Tile<R, C> {
    /// Adds the products of column `A` of those under the tile, at stride `S`.
    ///
    /// # Safety
    /// WEIGHTS_IN. The weights are those of a block.
    #[inline(always)]
    unsafe fn add<const S: usize, const A: usize>(&mut self, x: &[int8x8_t; ROWS], weights: *const i8) {
        for c in 0..C {
            if A < c * S || A - c * S >= SIZE {
                continue;
            }
            let column = A - c * S;
            // SAFETY: WEIGHTS_IN; BASELINE.
            unsafe {
                let weights = weights.add(column * SIZE * BLOCK);
                let w: [int8x8_t; SIZE] = std::array::from_fn(|row| vld1_s8(weights.add(row * BLOCK)));
                for r in 0..R {
                    let x = |row: usize| x[r * S + row];
                    let sums = &mut self.sums[r][c];
                    for row in [0, 2] {
                        add_wide(sums, vmlal_s8(vmull_s8(x(row), w[row]), x(row + 1), w[row + 1]));
                    }
                    let last = &mut self.last[r][c];
                    if column.is_multiple_of(2) {
                        *last = vmull_s8(x(LAST), w[LAST]);
                    } else {
                        *last = vmlal_s8(*last, x(LAST), w[LAST]);
                    }
                    if !column.is_multiple_of(2) || column == SIZE - 1 {
                        add_wide(sums, *last);
                    }
                }
            }
        }
    }

    /// Stores the outputs from output `at` of the strip on.
    ///
    /// # Safety
    /// CHANNELS_OUT. As for [`tile`].
    #[inline(always)]
    unsafe fn store<const FREE: bool>(&self, strip: &Strip, at: usize) {
        // SAFETY: CHANNELS_OUT.
        unsafe {
            let multiplier = [vld1q_f32(strip.multiplier), vld1q_f32(strip.multiplier.add(4))];
            let narrow = strip.rounding.load();
            for c in 0..C {
                let sums: [_; R] = std::array::from_fn(|r| self.sums[r][c]);
                let bytes = vreinterpretq_s64_s8(requantise::<R, FREE>(sums, multiplier, narrow));
                let to = |row: usize| strip.to[row].add((at + c) * strip.to_stride).cast();
                vst1q_lane_s64::<0>(to(0), bytes);
                if R == 2 {
                    vst1q_lane_s64::<1>(to(1), bytes);
                }
            }
        }
    }
}
