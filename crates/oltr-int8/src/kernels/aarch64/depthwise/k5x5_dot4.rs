//! Depthwise convolutions of 5×5 with the dot product, in bands of four rows of outputs, or of two at stride 2.
//!
//! The map under a band, eight channels of it, is sorted into columns first: of each channel four rows one after the
//! other, and the next four. From there each output takes five columns, whatever their place in the map was. All rows
//! of a band multiply with the same columns; those rows of a column that an output does not see have weights of 0.
//!
//! Positions outside the map hold the zero point, whose share lies in the bias.

use std::arch::aarch64::*;

use crate::kernels::aarch64::depthwise::blocks::{BLOCK, Blocks, Ends};
use crate::kernels::aarch64::depthwise::dot4::{interleave, quads, sdot};
use crate::kernels::aarch64::epilogue::STORAGE;
use crate::kernels::aarch64::epilogue::rounding::{Rounding, round};
use crate::kernels::aarch64::isa::DotProduct;
use crate::kernels::contract::{Conv, Job, Map, PackedConv, Window};

/// Rows and columns of the window.
const KERNEL: usize = 5;

/// Rows of the map under a band: two quads.
const ROWS: usize = 8;

/// Bytes of a sorted column: `[quad][channel][row of the quad]`.
const COLUMN: usize = ROWS * BLOCK;

/// A depthwise convolution, packed.
#[derive(Debug)]
pub(crate) struct Dot5x5 {
    name: String,
    input: Map,
    output: Map,
    window: Window,
    /// The zero point of the input as it lies in memory.
    outside: u8,
    /// `[block][column][row of outputs][quad][channel][row of the quad]`
    weights: Vec<i8>,
    ends: Ends,
}

/// Outputs side by side in the rows of a band, of one block of channels.
struct Band {
    /// Sorted columns from the first output's first on, and bytes from one output's to the next's.
    columns: *const i8,
    step: usize,
    /// Outputs of a row.
    count: usize,
    weights: *const i8,
    bias: *const i32,
    multiplier: *const f32,
    rounding: Rounding,
    /// The first output of each row, and bytes from one to the next.
    to: *mut u8,
    down: usize,
    right: usize,
    /// Rows that there are; results of others are written to the last of these and overwritten.
    rows: usize,
}

impl Dot5x5 {
    /// Whether this is a kernel for `conv`.
    pub fn fits(conv: &Conv) -> bool {
        let w = conv.window;
        w.kernel == [KERNEL; 2] && w.dilation == [1, 1] && (w.stride == [1, 1] || w.stride == [2, 2])
    }

    /// Packs `conv`, which is depthwise and [fits](Self::fits).
    pub fn new(_: DotProduct, conv: &Conv, ends: Ends) -> Dot5x5 {
        assert!(Dot5x5::fits(conv), "a window for another kernel");
        let blocks = Blocks(conv);
        let step = conv.window.stride[0];
        let mut weights = Vec::with_capacity(blocks.count() * KERNEL * rows(step) * COLUMN);
        for block in 0..blocks.count() {
            let taps: [_; KERNEL * KERNEL] = std::array::from_fn(|tap| blocks.tap(block, tap));
            for column in 0..KERNEL {
                for row in 0..rows(step) {
                    for quad in [0, ROWS / 2] {
                        for lane in 0..BLOCK {
                            weights.extend((quad..quad + ROWS / 2).map(|at| match at.checked_sub(row * step) {
                                Some(at) if at < KERNEL => taps[at * KERNEL + column][lane],
                                _ => 0,
                            }));
                        }
                    }
                }
            }
        }
        Dot5x5 {
            name: format!("dwconv_s8s8s8_5x5s{step}_dot4_{}x{BLOCK}__neondot", rows(step)),
            input: conv.input,
            output: conv.output,
            window: conv.window,
            outside: conv.input_zero ^ STORAGE.mask(),
            weights,
            ends,
        }
    }

    /// Sorted columns under `count` outputs of a row.
    fn columns(&self, count: usize) -> usize {
        (count - 1) * self.window.stride[1] + KERNEL
    }

    /// Bytes of a row of the map.
    fn row_bytes(&self) -> usize {
        self.input.width * self.input.stride
    }

    /// Sorts columns `first..` of rows of the map into `sorted`, eight channels from `lane` on. Columns may lie outside
    /// the map.
    fn sort(&self, rows: &[&[u8]; ROWS], lane: usize, first: isize, sorted: &mut [u8]) {
        let rows = rows.map(|row| {
            assert!(row.len() >= self.row_bytes());
            row.as_ptr().wrapping_add(lane).cast::<i8>()
        });
        for (column, to) in (first..).zip(sorted.as_chunks_mut::<COLUMN>().0) {
            if !(0..self.input.width as isize).contains(&column) {
                to.fill(self.outside);
                continue;
            }
            let at = column as usize * self.input.stride;
            // SAFETY: the column is in the map, whose pixels have room for whole blocks; a sorted one has four vectors.
            unsafe {
                let [a, b, c, d, e, f, g, h] = rows.map(|row| vld1_s8(row.wrapping_add(at)));
                let above = quads(interleave(a, b), interleave(c, d));
                let below = quads(interleave(e, f), interleave(g, h));
                for (i, quad) in [above[0], above[1], below[0], below[1]].into_iter().enumerate() {
                    vst1q_s8(to.as_mut_ptr().cast::<i8>().add(16 * i), quad);
                }
            }
        }
    }
}

/// Rows of outputs of a band.
fn rows(step: usize) -> usize {
    if step == 1 { 4 } else { 2 }
}

/// The outputs of a band of `R` rows, two by two.
///
/// # Safety
/// ENABLED and ROWS_STRIP. The processor has dot products; the pointers are valid for what the band says.
#[target_feature(enable = "dotprod")]
unsafe fn outputs<const R: usize>(band: &Band) {
    for at in (0..band.count).step_by(2) {
        // An odd last output is computed twice, and both times written to the same place.
        let next = if at + 1 < band.count { 1 } else { 0 };
        // SAFETY: ENABLED and ROWS_STRIP.
        unsafe {
            let columns = band.columns.add(at * band.step);
            let columns = [columns, columns.add(next * band.step)];
            let bias = [vld1q_s32(band.bias), vld1q_s32(band.bias.add(4))];
            let mut sums = [[bias; R]; 2];
            let mut weights = band.weights;
            for column in 0..KERNEL {
                let mut x = [[vdupq_n_s8(0); 4]; 2];
                for (x, columns) in x.iter_mut().zip(columns) {
                    for (i, x) in x.iter_mut().enumerate() {
                        *x = vld1q_s8(columns.add(column * COLUMN + 16 * i));
                    }
                }
                for row in 0..R {
                    for i in 0..4 {
                        let w = vld1q_s8(weights.add(16 * i));
                        sums[0][row][i % 2] = sdot(sums[0][row][i % 2], x[0][i], w);
                        sums[1][row][i % 2] = sdot(sums[1][row][i % 2], x[1][i], w);
                    }
                    weights = weights.add(COLUMN);
                }
            }
            let narrow = band.rounding.load();
            let multiplier = [vld1q_f32(band.multiplier), vld1q_f32(band.multiplier.add(4))];
            let first = band.to.wrapping_add(at * band.right);
            for (sums, to) in [(&sums[1], first.wrapping_add(next * band.right)), (&sums[0], first)] {
                for row in (0..R).step_by(2).rev() {
                    let [[a, b], [c, d]] = [sums[row], sums[row + 1]]
                        .map(|[low, high]| [round(low, multiplier[0]), round(high, multiplier[1])]);
                    let mut bytes = narrow.free([a, b, c, d]);
                    if !band.rounding.is_free() {
                        bytes = narrow.bound(bytes);
                    }
                    let bytes = vreinterpretq_s64_s8(bytes);
                    let to = |row: usize| to.wrapping_add(row.min(band.rows - 1) * band.down);
                    vst1q_lane_s64::<1>(to(row + 1).cast(), bytes);
                    vst1q_lane_s64::<0>(to(row).cast(), bytes);
                }
            }
        }
    }
}

impl PackedConv for Dot5x5 {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.len() + self.ends.bytes()
    }

    /// A row outside the map and sorted columns.
    fn scratch_bytes(&self) -> usize {
        self.row_bytes() + self.columns(self.output.width) * COLUMN
    }

    fn run(&self, job: Job) {
        job.assert_whole(&self.output);
        let Job { input, pixels, scratch, .. } = job;
        let output = job.output.into_bytes();
        assert!(input.len() >= self.input.volume());
        let (width, stride) = (self.output.width, self.output.stride);
        let (outside, sorted) = scratch.split_at_mut(self.row_bytes());
        outside.fill(self.outside);
        let outside = &*outside;
        let step = self.window.stride[0];
        let bytes = KERNEL * rows(step) * COLUMN;
        let mut at = pixels.start;
        while at < pixels.end {
            let (y, first) = (at / width, at % width);
            let last = width.min(first + pixels.end - at);
            let there = if first == 0 { ((pixels.end - at) / width).clamp(1, rows(step)) } else { 1 };
            let map_rows: [&[u8]; ROWS] = std::array::from_fn(|row| {
                let row = (y * step + row).checked_sub(self.window.pad[0]).filter(|row| *row < self.input.height);
                row.map_or(outside, |row| &input[row * outside.len()..][..outside.len()])
            });
            let sorted = &mut sorted[..self.columns(last - first) * COLUMN];
            let column = (first * step) as isize - self.window.pad[1] as isize;
            for (block, weights) in self.weights.chunks_exact(bytes).enumerate() {
                let lane = block * BLOCK;
                self.sort(&map_rows, lane, column, sorted);
                let band = Band {
                    columns: sorted.as_ptr().cast(),
                    step: step * COLUMN,
                    count: last - first,
                    weights: weights.as_ptr(),
                    bias: self.ends.bias[lane..][..BLOCK].as_ptr(),
                    multiplier: self.ends.multiplier[lane..][..BLOCK].as_ptr(),
                    rounding: self.ends.rounding,
                    to: output[(at - pixels.start) * stride + lane..].as_mut_ptr(),
                    down: width * stride,
                    right: stride,
                    rows: there,
                };
                // SAFETY: that this layer was packed proves that the instructions are there. The columns under all
                // outputs were sorted, pixels have room for whole blocks, and the rows that are there are in the slice.
                unsafe {
                    match step {
                        1 => outputs::<4>(&band),
                        _ => outputs::<2>(&band),
                    }
                }
            }
            at += if there > 1 { there * width } else { last - first };
        }
    }
}
