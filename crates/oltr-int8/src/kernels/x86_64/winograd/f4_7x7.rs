//! Stems: 7 taps wide, of stride 2, over the three or four channels of a picture, filtered minimally along rows.
//!
//! Along a row, the even taps of such a filter are one of 4 taps over the even pixels, and the odd ones one of 3 over the
//! odd pixels, whose products are added before the interpolation. F(4, 4) takes 7 products for four outputs of the former
//! (points 0, 1, -1, 2, -2, 3 and infinity), and, as a filter of 3 taps has nothing at infinity then, 6 for the latter: 273
//! products of a 7×7 window's taps for 588. Down the columns the window stays direct: its rows are what is summed over,
//! beside the channels and phases. All is whole numbers, as in [`super::f4_3x3`]: the outputs are 120 times too large,
//! modulo 2^32.
//!
//! Values of a tile lie row after row, so that those under a window are one run, wherever it begins.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::contract::{Conv, Destination, Job, PackedConv, Storage};
use crate::kernels::x86_64::aligned::{Aligned, align, with_alignment};
use crate::kernels::x86_64::dense::strip::Pixel;
use crate::kernels::x86_64::dot::by_sums::BySums;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::epilogue::Epilogue;
use crate::kernels::x86_64::isa::Avx2;
use crate::kernels::x86_64::patch::{OVERRUN, Patch};
use crate::kernels::x86_64::vector::Vectors;
use crate::kernels::x86_64::vector::ymm::Ymm;
use crate::kernels::x86_64::winograd::f4_3x3::largest_sum;
use crate::kernels::x86_64::winograd::transformed_weights::TransformedWeights;

/// Outputs of a tile, pixels of a phase under them, and taps of a phase.
const OUT: usize = 4;
const POINTS: usize = 7;
const TAPS: usize = 4;

/// Generic of a row of the window.
const WIDTH: usize = 7;

/// Rows of outputs of a block: its values and a strip's sums stay close to the processor.
const ROWS: usize = 4;

/// Narrowest output that gains.
const NARROWEST: usize = 16;

/// `G` for points 0, 1, -1, 2, -2, 3 and infinity, its rows scaled to whole numbers so that all outputs are 120 times too
/// large.
const G: [[i32; TAPS]; POINTS] = [
    [-10, 0, 0, 0],
    [10, 10, 10, 10],
    [5, -5, 5, -5],
    [-5, -10, -20, -40],
    [-1, 2, -4, 8],
    [1, 3, 9, 27],
    [0, 0, 0, 120],
];

/// 120 is 15 * 8: the inverse of 15 modulo 2^32, and the power of two.
const INVERSE: i32 = -286_331_153;
const SHIFT: i32 = 3;

/// Sums up to here survive the scaling.
const SUM_MAX: i64 = (1 << (31 - SHIFT)) - 1;

/// A stem packed for the transformed domain.
#[derive(Debug)]
pub(crate) struct Winograd7x7 {
    name: String,
    avx2: Avx2,
    patch: Patch,
    /// Height and width of the output.
    output: [usize; 2],
    /// Rows of the window, and from one window to the next.
    rows: usize,
    step: usize,
    tiles: usize,
    points: TransformedWeights,
    /// One for each lane, `-zero * sum of weights` included.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

/// Bytes of each part of the scratch.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// A row of the input.
    copied: usize,
    /// From a tile's values at one point to those at the next.
    values_pitch: usize,
    values: usize,
    /// From the sums of one point to those of the next.
    sums_pitch: usize,
    sums: usize,
    /// Outputs of a strip, `[row][column][lane]`.
    outputs: usize,
    pixels: usize,
}

impl Winograd7x7 {
    /// Packs `conv` if it is such a convolution and gains.
    pub fn new(avx2: Avx2, conv: &Conv) -> Option<Winograd7x7> {
        let window = conv.window;
        let depth = conv.input.channels;
        let fits = window.kernel[1] == WIDTH
            && window.kernel[0] >= WIDTH
            && window.stride[1] == 2
            && window.dilation == [1, 1]
            && conv.groups == 1
            && (3..=4).contains(&depth)
            && conv.output.channels >= 16
            && conv.output.width >= NARROWEST
            && conv
                .weights
                .chunks_exact(window.kernel[0] * WIDTH * depth)
                .all(|weights| largest_sum(weights) <= SUM_MAX);
        fits.then(|| Winograd7x7::pack(avx2, conv))
    }

    fn pack(avx2: Avx2, conv: &Conv) -> Winograd7x7 {
        let (depth, channels, rows) = (conv.input.channels, conv.output.channels, conv.window.kernel[0]);
        // Values of a row: those of both phases, but at infinity.
        let positions = |point: usize| if point == POINTS - 1 { depth } else { 2 * depth };
        let transform = |channel: usize, point: usize, to: &mut [i16]| {
            let weights = &conv.weights[channel * rows * WIDTH * depth..][..rows * WIDTH * depth];
            for (row, to) in weights.chunks_exact(WIDTH * depth).zip(to.chunks_exact_mut(positions(point))) {
                // A value of a row is that of channel `place % depth` of phase `place / depth`.
                for (place, to) in to.iter_mut().enumerate() {
                    let taps = G[point].iter().zip((place / depth..WIDTH).step_by(2));
                    *to = taps.map(|(g, tap)| (g * i32::from(row[tap * depth + place % depth])) as i16).sum();
                }
            }
        };
        let steps = (0..POINTS).map(|point| (rows * positions(point)).div_ceil(BySums::STEP)).collect();
        let points = TransformedWeights::new(avx2, channels, steps, transform);
        let [lanes, _] = points.lanes();
        let bias = conv.weights.chunks_exact(rows * WIDTH * depth).zip(&conv.bias).map(|(weights, bias)| {
            let sum: i32 = weights.iter().map(|w| i32::from(*w)).sum();
            bias.wrapping_sub(i32::from(conv.input_zero) * sum)
        });
        Winograd7x7 {
            name: format!("conv_u8s8{}_winograd_f4_7x7_4x16__avx2", conv.result.dtype(Storage::Unsigned)),
            avx2,
            patch: Patch {
                input: [conv.input.height, conv.input.width],
                stride: conv.input.stride,
                first: 0,
                depth,
                zero: conv.input_zero,
                every: [1, 1],
                pad: conv.window.pad,
            },
            output: [conv.output.height, conv.output.width],
            rows,
            step: conv.window.stride[0],
            tiles: conv.output.width.div_ceil(OUT),
            points,
            bias: Aligned::padded(lanes, bias),
            epilogue: Epilogue::new(conv, 0..channels, lanes),
        }
    }

    /// Columns of the input under a row of tiles.
    fn columns(&self) -> usize {
        (self.tiles - 1) * 2 * OUT + 2 * POINTS
    }

    /// Bytes of a tile's values of a row, at a point that is not infinity.
    fn row_bytes(&self) -> usize {
        2 * self.patch.depth * BySums::ELEMENT
    }

    fn sizes(&self) -> Sizes {
        let [_, lanes] = self.points.lanes();
        let line = |bytes: usize| bytes.next_multiple_of(OVERRUN);
        let rows = (ROWS - 1) * self.step + self.rows;
        let values_pitch = line(rows * self.row_bytes() + OVERRUN);
        let sums_pitch = line(ROWS * self.tiles * lanes * 4);
        Sizes {
            copied: line(self.columns() * self.patch.depth * BySums::ELEMENT + OVERRUN),
            values_pitch,
            values: self.tiles * POINTS * values_pitch,
            sums_pitch,
            sums: POINTS * sums_pitch,
            outputs: line(ROWS * self.tiles * OUT * lanes * 4),
            pixels: line(POINTS * ROWS * self.tiles * size_of::<Pixel>()),
        }
    }

    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        pixels: Range<usize>,
        scratch: &mut [u8],
    ) {
        assert!(scratch.len() >= self.scratch_bytes() && pixels.end <= self.output[0] * self.output[1]);
        let sizes = self.sizes();
        let (copied, rest) = align(scratch).split_at_mut(sizes.copied);
        let (values, rest) = rest.split_at_mut(sizes.values);
        let (sums, rest) = rest.split_at_mut(sizes.sums);
        let (outputs, rest) = rest.split_at_mut(sizes.outputs);
        // SAFETY: numbers of which every pattern of bits is one; `align_to_mut` sees to the alignment, and as all
        // parts before are whole lines nothing is lost.
        let (outputs, all_pixels) = unsafe { (outputs.align_to_mut::<i32>().1, rest.align_to_mut::<Pixel>().1) };

        let width = self.output[1];
        let wanted_rows = pixels.start / width..pixels.end.div_ceil(width);
        for first_row in wanted_rows.clone().step_by(ROWS) {
            let rows = ROWS.min(wanted_rows.end - first_row);
            for row in 0..(rows - 1) * self.step + self.rows {
                let first = [first_row * self.step + row, 0];
                self.patch.copy::<BySums>(input, first, [1, self.columns()], sizes.copied, copied);
                self.transform_row(copied, row, values, &sizes);
            }
            let count = rows * self.tiles;
            for point in 0..POINTS {
                let step_bytes = self.step * self.row_bytes() / if point == POINTS - 1 { 2 } else { 1 };
                let pixels = &mut all_pixels[point * count..][..count];
                for (i, pixel) in pixels.iter_mut().enumerate() {
                    let (row, tile) = (i / self.tiles, i % self.tiles);
                    pixel.offset = ((tile * POINTS + point) * sizes.values_pitch + row * step_bytes) as u32;
                }
                // SAFETY: `sizes` made room for all steps of a window, and a line behind them.
                unsafe { self.points.look(point, values.as_ptr(), pixels) };
            }
            for part in self.points.parts(0..self.points.strips()) {
                let lanes = part.lanes();
                for point in 0..POINTS {
                    let pixels = &all_pixels[point * count..][..count];
                    let sums = sums[point * sizes.sums_pitch..][..sizes.sums_pitch].as_mut_ptr().cast();
                    // SAFETY: values hold all steps, sums all tiles and lanes.
                    unsafe { self.points.multiply(part, point, values.as_ptr(), pixels, sums) };
                }
                assert!(outputs.len() >= count * OUT * lanes.len());
                let bias = self.bias[lanes.clone()].as_ptr();
                let (from, to_outputs) = (sums.as_ptr(), outputs.as_mut_ptr());
                // SAFETY: the token proves AVX2; there is room for all outputs.
                unsafe { transform_sums(from, sizes.sums_pitch, bias, [count, part.vectors], to_outputs) };
                for row in 0..rows {
                    let y = first_row + row;
                    let pixels_of_row = y * width..(y + 1) * width;
                    let sums = &outputs[row * self.tiles * OUT * lanes.len()..];
                    let place = self.epilogue.map();
                    self.epilogue.finish_row(self.avx2, &lanes, pixels_of_row, &pixels, residual, place, &mut to, sums);
                }
            }
        }
    }

    /// `BT x` of each tile of a copied row, as row `row` of the values.
    fn transform_row(&self, copied: &[u8], row: usize, values: &mut [u8], sizes: &Sizes) {
        let depth = self.patch.depth;
        assert!(copied.len() >= self.columns() * depth * BySums::ELEMENT + 16 && values.len() >= sizes.values);
        for tile in 0..self.tiles {
            let from = copied[tile * 2 * OUT * depth * BySums::ELEMENT..].as_ptr();
            let to = values[tile * POINTS * sizes.values_pitch..].as_mut_ptr();
            // SAFETY: the token proves AVX2. Of a pixel and its neighbour 8 activations are read, which is at most 16
            // bytes more than the row has; `sizes` made room for all rows and 64 bytes more.
            unsafe { transform_activations(from, self.row_bytes(), to, row, sizes.values_pitch) };
        }
    }
}

/// `BT d`, for 8 values.
#[inline]
#[target_feature(enable = "avx2")]
fn bt(d: [__m128i; POINTS]) -> [__m128i; POINTS] {
    let times = |a, factor: i16| _mm_mullo_epi16(a, _mm_set1_epi16(factor));
    let (add, sub) = (|a, b| _mm_add_epi16(a, b), |a, b| _mm_sub_epi16(a, b));
    let row = |a, b, c| add(add(a, b), c);
    // d5 - 5 d3 + 4 d1 is in the rows of 0 and 3, the same a pixel later in that of infinity.
    let three = row(d[5], times(d[3], -5), times(d[1], 4));
    let later = row(d[6], times(d[4], -5), times(d[2], 4));
    [
        add(three, times(row(times(d[0], 4), times(d[2], -5), d[4]), -3)),
        add(row(d[5], times(d[4], -2), times(d[3], -7)), row(times(d[2], 8), times(d[1], 12), _mm_setzero_si128())),
        add(row(d[5], times(d[4], -4), times(d[2], 16)), sub(times(d[1], -12), d[3])),
        add(row(d[5], d[2], times(d[1], 6)), sub(times(d[3], -7), d[4])),
        row(d[5], times(d[1], -6), times(row(d[2], d[3], times(d[4], -1)), 5)),
        three,
        add(later, times(three, -3)),
    ]
}

/// The values of a tile of a row: from a pixel and its neighbour after the other, `row_bytes` apart, to row `row` at
/// each point, `pitch` bytes apart.
///
/// # Safety
/// ENABLED and TRANSFORM. AVX2 is there; there are 7 such pairs of pixels, 16 bytes can be read from each, and 16
/// written to each row.
#[target_feature(enable = "avx2")]
unsafe fn transform_activations(from: *const u8, row_bytes: usize, to: *mut u8, row: usize, pitch: usize) {
    let mut d = [_mm_setzero_si128(); POINTS];
    // SAFETY: ENABLED and TRANSFORM. What is written behind a row's values the next row overwrites, or lies in the line to spare.
    unsafe {
        for (i, d) in d.iter_mut().enumerate() {
            *d = _mm_loadu_si128(from.add(i * row_bytes).cast());
        }
        let values = bt(d);
        for (point, value) in values[..POINTS - 1].iter().enumerate() {
            _mm_storeu_si128(to.add(point * pitch + row * row_bytes).cast(), *value);
        }
        // The even pixels' alone; but all are written, for the last step of a window multiplies up to three places behind it
        // by 0, which is exact only if they hold values and not whatever was there.
        _mm_storeu_si128(to.add((POINTS - 1) * pitch + row * row_bytes / 2).cast(), values[POINTS - 1]);
    }
}

/// 120 times the outputs, for 8 channels.
#[inline]
#[target_feature(enable = "avx2")]
fn at(m: [__m256i; POINTS]) -> [__m256i; OUT] {
    let (add, sub) = (|a, b| _mm256_add_epi32(a, b), |a, b| _mm256_sub_epi32(a, b));
    let times_2 = |a| _mm256_add_epi32(a, a);
    let times_8 = |a| _mm256_slli_epi32::<3>(a);
    let (s1, d1) = (add(m[1], m[2]), sub(m[1], m[2]));
    let (s2, d2) = (add(m[3], m[4]), sub(m[3], m[4]));
    let nine = add(m[5], times_8(m[5]));
    [
        add(add(m[0], s1), add(s2, m[5])),
        add(add(d1, times_2(d2)), add(m[5], times_2(m[5]))),
        add(add(s1, _mm256_slli_epi32::<2>(s2)), nine),
        add(add(d1, times_8(d2)), add(add(nine, times_2(nine)), m[6])),
    ]
}

/// The outputs, bias added, of `count` tiles of `vectors` vectors: from points `pitch` bytes apart.
///
/// # Safety
/// ENABLED and TRANSFORM. AVX2 is there; there are 7 points with all tiles, and room for four outputs of each.
#[target_feature(enable = "avx2")]
unsafe fn transform_sums(from: *const u8, pitch: usize, bias: *const i32, [count, vectors]: [usize; 2], to: *mut i32) {
    let inverse = _mm256_set1_epi32(INVERSE);
    for tile in 0..count {
        for vector in 0..vectors {
            // SAFETY: ENABLED and TRANSFORM.
            unsafe {
                let mut m = [_mm256_setzero_si256(); POINTS];
                for (point, m) in m.iter_mut().enumerate() {
                    *m = _mm256_loadu_si256(from.add(point * pitch + (tile * vectors + vector) * 32).cast());
                }
                let bias = _mm256_loadu_si256(bias.add(vector * Ymm::LANES).cast());
                for (column, sum) in at(m).into_iter().enumerate() {
                    let sum = _mm256_srai_epi32::<SHIFT>(_mm256_mullo_epi32(sum, inverse));
                    let to = to.add(((tile * OUT + column) * vectors + vector) * Ymm::LANES);
                    _mm256_storeu_si256(to.cast(), _mm256_add_epi32(sum, bias));
                }
            }
        }
    }
}

impl PackedConv for Winograd7x7 {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.points.bytes() + self.bias.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        let s = self.sizes();
        with_alignment(s.copied + s.values + s.sums + s.outputs + s.pixels)
    }

    fn grain(&self) -> usize {
        ROWS * self.output[1]
    }

    fn run(&self, job: Job) {
        assert!(job.channels.is_none() && job.output.len() == job.pixels.len() * self.epilogue.stride());
        self.compute(job.input, job.residual, job.output, job.pixels, job.scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Along a row the transforms give 120 times the convolution, for every pair of an input and a tap; and values and
    /// weights fit 16 bits together.
    #[test]
    fn the_filtering_is_exact_and_fits_16_bits() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        // SAFETY: AVX2 is there.
        let bt = |input: usize| unsafe {
            let d = std::array::from_fn(|i| _mm_set1_epi16((i == input).into()));
            bt(d).map(|v| i32::from(_mm_extract_epi16::<5>(v) as i16))
        };
        // SAFETY: AVX2 is there, as was asked.
        let at = |point: usize| unsafe {
            at(std::array::from_fn(|i| _mm256_set1_epi32((i == point).into()))).map(|v| _mm256_extract_epi32::<5>(v))
        };
        let (bt, at): ([_; POINTS], [_; POINTS]) = (std::array::from_fn(bt), std::array::from_fn(at));
        assert_eq!(120i32.wrapping_mul(INVERSE), 1 << SHIFT);
        for input in 0..POINTS {
            for tap in 0..TAPS {
                for output in 0..OUT {
                    let sum: i32 = (0..POINTS).map(|point| at[point][output] * G[point][tap] * bt[input][point]).sum();
                    assert_eq!(sum, if output + tap == input { 120 } else { 0 }, "{input} {tap} {output}");
                }
            }
        }
        assert_eq!(G[POINTS - 1][..TAPS - 1], [0; TAPS - 1]);
        for point in 0..POINTS {
            let sum = |sign: i32| -> i32 { (0..POINTS).map(|input| (bt[input][point] * sign).max(0)).sum() };
            let weight: i32 = G[point].iter().map(|g| g.abs()).sum();
            assert!(255 * sum(1).max(sum(-1)) + 128 * weight <= 32767, "{point}");
        }
    }
}
