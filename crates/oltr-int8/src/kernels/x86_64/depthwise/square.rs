//! Square 3×3, 5×5 and 7×7 convolutions, 16, 32 or 64 channels at a time.
//!
//! As many rows as a step of the set has activations are interleaved column by column, so that what the multiply-add
//! sums belongs to one channel: two rows as 16-bit numbers for `vpmaddwd`, four rows as bytes for `vpdpbusd`. Weights
//! that are shifted by a row (`w0 w1 w2 0` and `0 w0 w1 w2`) get more rows of outputs from the same steps. The steps
//! under a strip are made once, for all columns of the window and all those rows. Unpacking leaves the channels in the
//! order that packing the results restores, so hardly anything is permuted. Positions outside the map hold the zero
//! point, whose share lies in the bias.
//!
//! What lost on AVX2: rolling along the row with the sums of all open outputs in registers (24 cycles for 16 outputs
//! of a 3×3 window): requantising one output at a time is a chain that the processor cannot look past. Four rows of
//! outputs from the same steps instead of two: a third less unpacking, but no gain of time.

use std::ops::Range;

use crate::kernels::contract::{Conv, Cuts, Destination, Job, Map, PackedConv, Storage, Window};
use crate::kernels::x86_64::aligned::{Aligned, align, with_alignment};
use crate::kernels::x86_64::dot::product::{Dot, Sums};
use crate::kernels::x86_64::epilogue::rounding::Rounding;
use crate::kernels::x86_64::epilogue::{Epilogue, Place, parts_of};
use crate::kernels::x86_64::vector::Vectors;

/// The multiply-add of a set on interleaved rows: `STEP` rows of `STEP * LANES` channels become `STEP` vectors.
///
/// # Safety
/// Callers of the methods promise ENABLED, CHANNELS_IN, CHANNELS_OUT and ROWS_STRIP; see [`crate::kernels::safety`].
pub(crate) unsafe trait Interleave: Dot<Activations = Sums<Self>, Weights = Sums<Self>> {
    /// Outputs side by side for which weights are loaded once: as many as the registers hold.
    const SIDE: usize;

    /// Interleaves the first `count` channels of `STEP` rows. Within each 128-bit part, the first vector holds the
    /// first four channels, the second the next four, … What is more than `STEP` is not used.
    unsafe fn interleave(rows: [*const u8; 4], count: usize) -> [Sums<Self>; 4];

    /// Stores the first `count` channels of `4 / STEP` pixels that lie `stride` bytes apart, of which `pixels` are
    /// wanted, from what [`Vectors::pack_parts`] made of their vectors.
    unsafe fn store_pixels(bytes: <Self::V as Vectors>::Bytes, to: *mut u8, stride: usize, pixels: usize, count: usize);

    /// [`strip`] in a function that enables the instructions.
    unsafe fn depthwise(strip: &Strip, window: [usize; 2]);
}

/// Columns of input that are walked for all channels before the next: what they touch stays in L1.
const STRIP: usize = 56;

/// Most steps of a column.
const DEEP: usize = 4;

/// Most rows of outputs that are computed together.
const ROWS: usize = 4;

/// Most columns under a strip, with those of the outputs that fill up the last tile.
const COLUMNS: usize = STRIP + 12;

/// Most rows under a strip.
const ROWS_IN: usize = 8;

/// Rows of outputs that a window of this size and stride computes together from steps of `step` rows.
const fn rows_of(step: usize, size: usize, stride: usize) -> usize {
    match (step, size, stride) {
        (2, _, _) => 2,
        (_, 3 | 7, 1) => 2,
        (_, 3, _) => 1,
        (_, _, 1) => 4,
        (_, _, _) => 2,
    }
}

/// The first step under row `row` of the outputs.
const fn first_step(step: usize, stride: usize, row: usize) -> usize {
    row * stride / step
}

/// Steps under a row of outputs, wherever in the first step it begins.
const fn steps_of(step: usize, size: usize, stride: usize) -> usize {
    let latest = if stride < step { (rows_of(step, size, stride) - 1) * stride % step } else { 0 };
    (size + latest).div_ceil(step)
}

/// A depthwise convolution, packed.
#[derive(Debug)]
pub(crate) struct Square<S: Interleave> {
    simd: S,
    name: String,
    /// Where its channels may be cut: at its blocks, unless sums go through whole pixels as they are not rounded in registers.
    cuts: Vec<usize>,
    input: Map,
    output: Map,
    window: Window,
    /// A row outside the map.
    outside: Aligned<u8>,
    /// `[block][row of outputs][column][step][vector][lane]`, each a step of weights.
    weights: Aligned<u8>,
    /// `[block][vector][lane]`, `-zero * sum of weights` included.
    bias: Aligned<i32>,
    /// `[block][vector][lane]`.
    multiplier: Aligned<f32>,
    epilogue: Epilogue,
}

/// Outputs side by side, in up to [`ROWS`] rows, of one block of channels.
pub(crate) struct Strip<'a> {
    /// First pixels of the rows under the outputs, all `width` pixels long.
    rows: &'a [*const u8; ROWS_IN],
    /// First channel of the block.
    lane: usize,
    width: usize,
    stride: usize,
    /// Channels of the block that are in a pixel of the input.
    channels: usize,
    outside: u8,
    /// Column of the map, or left of it, under the first of the strip's columns.
    column: isize,
    outputs: usize,
    output_rows: usize,
    weights: *const u8,
    bias: *const i32,
    multiplier: *const f32,
    /// `[step][COLUMNS][STEP]` vectors.
    steps: *mut i32,
    to: To,
}

/// Where results go; strides between pixels and between rows.
#[derive(Clone, Copy)]
enum To {
    /// The first so many channels.
    Bytes { to: *mut u8, stride: usize, row: usize, channels: usize, rounding: Rounding },
    /// Vectors of sums.
    Sums { to: *mut i32, row: usize },
}

/// The channel of lane `lane` of vector `vector` of a block, if there are `step` vectors.
fn channel_of(step: usize, vector: usize, lane: usize) -> usize {
    lane / 4 * 4 * step + vector * 4 + lane % 4
}

impl<S: Interleave> Square<S> {
    /// Channels of a block.
    const BLOCK: usize = S::STEP * S::V::LANES;

    /// Bytes of the steps, and of the sums of all rows of a strip.
    const STEPS: usize = DEEP * COLUMNS * Self::BLOCK * 4;
    const SUMS: usize = ROWS * STRIP * Self::BLOCK * 4;

    /// Packs `conv` if it is depthwise with such a window.
    pub fn new(simd: S, conv: &Conv) -> Option<Square<S>> {
        let window = conv.window;
        let ([size, width], [stride, across]) = (window.kernel, window.stride);
        let fits =
            size == width && stride == across && (matches!(size, 3 | 5) && stride <= 2 || size == 7 && stride == 1);
        (conv.is_depthwise() && fits && window.dilation == [1, 1]).then(|| Square::pack(simd, conv, size, stride))
    }

    fn pack(simd: S, conv: &Conv, size: usize, stride: usize) -> Square<S> {
        let channels = conv.output.channels;
        let blocks = channels.div_ceil(Self::BLOCK);
        let rows = rows_of(S::STEP, size, stride);
        let steps = steps_of(S::STEP, size, stride);
        let vector_bytes = S::V::LANES * S::STEP * S::WEIGHT;
        let mut weights = Aligned::zeros(blocks * rows * size * steps * S::STEP * vector_bytes);
        let mut to = weights.chunks_exact_mut(vector_bytes);
        for block in 0..blocks {
            for row in 0..rows {
                for (column, step) in (0..size).flat_map(|column| (0..steps).map(move |step| (column, step))) {
                    let first = (first_step(S::STEP, stride, row) + step) * S::STEP;
                    for vector in 0..S::STEP {
                        let to = to.next().expect("weights were counted");
                        for lane in 0..S::V::LANES {
                            let channel = block * Self::BLOCK + channel_of(S::STEP, vector, lane);
                            let weight = |i: usize| {
                                let tap = (first + i).checked_sub(row * stride).filter(|tap| *tap < size)?;
                                let weights = conv.weights.get(channel * size * size..)?;
                                weights.get(tap * size + column).copied()
                            };
                            S::pack(std::array::from_fn(|i| weight(i).map_or(0, i16::from)), lane, to);
                        }
                    }
                }
            }
        }
        let lanes = blocks * Self::BLOCK;
        let epilogue = Epilogue::new(conv, 0..channels, lanes);
        let (mut bias, mut multiplier) = (Aligned::zeros(lanes), Aligned::zeros(lanes));
        for at in 0..lanes {
            let (block, place) = (at / Self::BLOCK, at % Self::BLOCK);
            let channel = block * Self::BLOCK + channel_of(S::STEP, place / S::V::LANES, place % S::V::LANES);
            if channel < channels {
                let taps = &conv.weights[channel * size * size..][..size * size];
                let sum: i32 = taps.iter().map(|w| i32::from(*w)).sum();
                bias[at] = conv.bias[channel].wrapping_sub(i32::from(conv.input_zero) * sum);
                multiplier[at] = epilogue.multiplier()[channel];
            }
        }
        Square {
            simd,
            name: format!(
                "dwconv_u8s8{}_{size}x{size}s{stride}_{rows}x{}__{}",
                conv.result.dtype(Storage::Unsigned),
                Self::BLOCK,
                S::ISA
            ),
            cuts: match epilogue.rounding() {
                Some(_) => (0..blocks).map(|block| block * Self::BLOCK).chain([channels]).collect(),
                None => Vec::new(),
            },
            input: conv.input,
            output: conv.output,
            window: conv.window,
            outside: Aligned::padded(conv.input.width * conv.input.stride, std::iter::repeat(conv.input_zero)),
            weights,
            bias,
            multiplier,
            epilogue,
        }
    }

    /// Blocks of channels.
    fn blocks(&self) -> usize {
        self.output.channels.div_ceil(Self::BLOCK)
    }

    /// Computes the channels of `blocks`; `to` has those of `place` only, from the first pixel of `pixels` on.
    #[expect(clippy::too_many_arguments)]
    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        place: Place,
        pixels: Range<usize>,
        blocks: Range<usize>,
        scratch: &mut [u8],
    ) {
        assert!(input.len() >= self.input.volume() && scratch.len() >= with_alignment(Self::STEPS + Self::SUMS));
        assert!(pixels.end <= self.output.pixels());
        let (steps, sums) = align(scratch).split_at_mut(Self::STEPS);
        let ([size, _], [stride, _]) = (self.window.kernel, self.window.stride);
        let width = self.output.width;
        let mut at = pixels.start;
        while at < pixels.end {
            let (y, first) = (at / width, at % width);
            let last = width.min(first + pixels.end - at);
            let whole = first == 0 && last == width;
            let rows = if whole { rows_of(S::STEP, size, stride).min((pixels.end - at) / width) } else { 1 };
            let outputs_of_strip = STRIP / stride;
            let in_rows = self.rows(input, y * stride);
            for x in (first..last).step_by(outputs_of_strip) {
                let outputs = outputs_of_strip.min(last - x);
                for lane in blocks.clone().map(|block| block * Self::BLOCK) {
                    let strip_to = match (self.epilogue.rounding(), &mut to) {
                        (Some(rounding), Destination::Bytes(to)) => {
                            let (stride, row) = (place.stride, width * place.stride);
                            let to = &mut to[(y * width + x - pixels.start) * stride..];
                            assert!(to.len() >= (rows - 1) * row + outputs * stride);
                            let at = lane - place.first;
                            let channels = Self::BLOCK.min(stride - at);
                            To::Bytes { to: to[at..].as_mut_ptr(), stride, row, channels, rounding }
                        }
                        _ => To::Sums { to: sums.as_mut_ptr().cast(), row: STRIP * Self::BLOCK },
                    };
                    self.strip(&in_rows, x, [rows, outputs], lane, steps, strip_to);
                    if let To::Sums { .. } = strip_to {
                        for row in 0..rows {
                            let first_pixel = (y + row) * width + x;
                            let mut to = to.part((first_pixel - pixels.start) * self.output.stride);
                            let sums = &mut sums[row * STRIP * Self::BLOCK * 4..][..outputs * Self::BLOCK * 4];
                            if let Destination::F32(to) = &mut to {
                                self.finish_f32(sums, lane, place.stride, &mut to[lane - place.first..]);
                                continue;
                            }
                            let sums = self.in_order(sums);
                            let lanes = lane..lane + Self::BLOCK;
                            let avx2 = self.simd.avx2();
                            let map = self.epilogue.map();
                            self.epilogue.finish_sums(avx2, &lanes, outputs, first_pixel, residual, map, &mut to, sums);
                        }
                    }
                }
            }
            at += if whole { rows * width } else { last - first };
        }
    }

    /// Where the channels from `4 * i` on are in the order of steps: four neighbours of a vector are neighbours there too.
    fn four(i: usize) -> usize {
        i % S::STEP * S::V::LANES + i / S::STEP * 4
    }

    /// The sums of pixels in the order of steps as numbers, of the channels from `lane` on; the first pixel's begins `to`.
    fn finish_f32(&self, sums: &[u8], lane: usize, stride: usize, to: &mut [f32]) {
        // SAFETY: every pattern of bits is a number; `align_to` sees to the alignment.
        let sums = unsafe { sums.align_to::<i32>().1 };
        let multiplier = &self.epilogue.multiplier()[lane..self.output.channels.min(lane + Self::BLOCK)];
        for (to, pixel) in to.chunks_mut(stride).zip(sums.chunks_exact(Self::BLOCK)) {
            for (i, (to, multiplier)) in to.chunks_mut(4).zip(multiplier.chunks(4)).enumerate() {
                for ((to, sum), multiplier) in to.iter_mut().zip(&pixel[Self::four(i)..][..4]).zip(multiplier) {
                    *to = *sum as f32 * multiplier;
                }
            }
        }
    }

    /// Brings the sums of pixels from the order of steps to that of channels.
    fn in_order<'a>(&self, sums: &'a mut [u8]) -> &'a [i32] {
        // SAFETY: every pattern of bits is a number; `align_to_mut` sees to the alignment.
        let sums = unsafe { sums.align_to_mut::<i32>().1 };
        for pixel in sums.chunks_exact_mut(Self::BLOCK) {
            let mut by_steps = [0; 64];
            by_steps[..Self::BLOCK].copy_from_slice(pixel);
            for (i, four) in pixel.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&by_steps[Self::four(i)..][..4]);
            }
        }
        sums
    }

    /// The first pixels of the rows under the outputs, the first of which is row `first` of the padded map.
    fn rows(&self, input: &[u8], first: usize) -> [*const u8; ROWS_IN] {
        std::array::from_fn(|row| match (first + row).checked_sub(self.window.pad[0]) {
            Some(row) if row < self.input.height => input[row * self.input.width * self.input.stride..].as_ptr(),
            _ => self.outside.as_ptr(),
        })
    }

    /// Computes `[rows, outputs]` outputs from column `x` on, for the block of channels that begins with `lane`.
    fn strip(
        &self,
        in_rows: &[*const u8; ROWS_IN],
        x: usize,
        [output_rows, outputs]: [usize; 2],
        lane: usize,
        steps: &mut [u8],
        to: To,
    ) {
        let ([size, _], [stride, _]) = (self.window.kernel, self.window.stride);
        let block = lane / Self::BLOCK;
        let block_weights = self.weights.len() / self.blocks();
        let strip = Strip {
            rows: in_rows,
            lane,
            width: self.input.width,
            stride: self.input.stride,
            channels: Self::BLOCK.min(self.input.stride - lane),
            outside: self.outside[0],
            column: (x * stride) as isize - self.window.pad[1] as isize,
            outputs,
            output_rows,
            weights: self.weights[block * block_weights..][..block_weights].as_ptr(),
            bias: self.bias[block * Self::BLOCK..][..Self::BLOCK].as_ptr(),
            multiplier: self.multiplier[block * Self::BLOCK..][..Self::BLOCK].as_ptr(),
            steps: steps[..Self::STEPS].as_mut_ptr().cast(),
            to,
        };
        // SAFETY: a value of `S` exists. Rows lie in the input, whose length was checked, or are as long as one of its
        // rows; columns are held against the width; a block reads no more channels than there are up to the end of
        // its pixel; the target holds the outputs.
        unsafe { S::depthwise(&strip, [size, stride]) }
    }
}

/// A strip of any window.
///
/// # Safety
/// ENABLED and ROWS_STRIP. The instructions of `S` are enabled in the caller; the strip's pointers are valid.
#[inline(always)]
pub(crate) unsafe fn strip<S: Interleave>(strip: &Strip, window: [usize; 2]) {
    // SAFETY: ENABLED and ROWS_STRIP.
    unsafe {
        match (window, S::SIDE) {
            ([7, _], 2) => square::<S, 7, 1, 2, 1>(strip),
            ([7, _], _) => square::<S, 7, 1, 4, 3>(strip),
            ([3, 1], 2) => square::<S, 3, 1, 2, 1>(strip),
            ([3, _], 2) => square::<S, 3, 2, 2, 1>(strip),
            ([_, 1], 2) => square::<S, 5, 1, 2, 1>(strip),
            ([_, _], 2) => square::<S, 5, 2, 2, 1>(strip),
            ([3, 1], _) => square::<S, 3, 1, 4, 3>(strip),
            ([3, _], _) => square::<S, 3, 2, 4, 3>(strip),
            ([_, 1], _) => square::<S, 5, 1, 4, 3>(strip),
            ([_, _], _) => square::<S, 5, 2, 4, 3>(strip),
        }
    }
}

/// A strip of a `K`×`K` window of stride `T`, in tiles of `SIDE` outputs of a row or one less (`LESS`), so that few are
/// computed and discarded: 14 outputs are 4 + 4 + 3 + 3.
///
/// # Safety
/// ENABLED and ROWS_STRIP. As for [`strip`].
#[inline(always)]
unsafe fn square<S: Interleave, const K: usize, const T: usize, const SIDE: usize, const LESS: usize>(strip: &Strip) {
    let steps = steps_of(S::STEP, K, T);
    let tiles = strip.outputs.div_ceil(SIDE);
    let smaller = (tiles * SIDE - strip.outputs).min(tiles);
    // SAFETY: ENABLED and ROWS_STRIP; DEEP and COLUMNS hold the largest counts.
    unsafe {
        make_steps::<S>(
            strip,
            first_step(S::STEP, T, strip.output_rows - 1) + steps,
            (strip.outputs - 1) * T + K,
            (tiles * SIDE - smaller - 1) * T + K,
        );
        for row in 0..strip.output_rows {
            let mut output = 0;
            for _ in smaller..tiles {
                tile::<S, K, T, SIDE>(strip, row, output);
                output += SIDE;
            }
            for _ in 0..smaller {
                tile::<S, K, T, LESS>(strip, row, output);
                output += LESS;
            }
        }
    }
}

/// `SIDE` outputs of row `row`, from `output` on.
///
/// # Safety
/// ENABLED and ROWS_STRIP. As for [`strip`]; the first of them exists, and the steps of all were made.
#[inline(always)]
unsafe fn tile<S: Interleave, const K: usize, const T: usize, const SIDE: usize>(
    strip: &Strip,
    row: usize,
    output: usize,
) {
    let lanes = S::V::LANES;
    let steps = steps_of(S::STEP, K, T);
    // SAFETY: ENABLED and ROWS_STRIP.
    unsafe {
        let weights = strip.weights.add(row * K * steps * S::STEP * lanes * S::STEP * S::WEIGHT);
        let values = strip.steps.add((first_step(S::STEP, T, row) * COLUMNS + output * T) * S::STEP * lanes);
        let mut sums = [[S::V::load(strip.bias); 4]; SIDE];
        for vector in 0..S::STEP {
            // Sums of their own, for those of all vectors do not stay in registers.
            let mut of_vector = [S::V::load(strip.bias.add(vector * lanes)); SIDE];
            for step in 0..steps {
                let mut w = [S::load_weights(weights); K];
                for (column, w) in w.iter_mut().enumerate() {
                    let at = (column * steps + step) * S::STEP + vector;
                    *w = S::load_weights(weights.add(at * lanes * S::STEP * S::WEIGHT));
                }
                // Each column once, for all the outputs under whose window it lies.
                for column in 0..(SIDE - 1) * T + K {
                    let x = S::V::load(values.add(((step * COLUMNS + column) * S::STEP + vector) * lanes));
                    for (side, sum) in of_vector.iter_mut().enumerate() {
                        if column >= side * T && column < side * T + K {
                            *sum = S::dot(*sum, x, w[column - side * T]);
                        }
                    }
                }
            }
            for (sums, sum) in sums.iter_mut().zip(of_vector) {
                sums[vector] = sum;
            }
        }
        store::<S, SIDE>(strip, row, output, &sums);
    }
}

/// Makes `count` steps of `columns` columns; those up to `all` are filled from the outside.
///
/// # Safety
/// ENABLED and ROWS_STRIP. As for [`strip`].
#[inline(always)]
unsafe fn make_steps<S: Interleave>(strip: &Strip, count: usize, columns: usize, all: usize) {
    let lanes = S::V::LANES;
    let left = strip.column.min(0).unsigned_abs().min(columns);
    let right = ((strip.width as isize - strip.column).max(0) as usize).clamp(left, columns);
    // SAFETY: ENABLED and ROWS_STRIP; `left..right` are the columns that lie in the map.
    unsafe {
        if left > 0 || right < all {
            let outside = [strip.outside; 64];
            let outside = S::interleave([outside.as_ptr(); 4], S::STEP * lanes);
            for step in 0..count {
                for column in (0..left).chain(right..all) {
                    let to = strip.steps.add((step * COLUMNS + column) * S::STEP * lanes);
                    for (i, values) in outside.into_iter().enumerate().take(S::STEP) {
                        S::V::store(to.add(i * lanes), values);
                    }
                }
            }
        }
        for step in 0..count {
            let to = strip.steps.add(step * COLUMNS * S::STEP * lanes);
            let mut rows = [strip.rows[0]; 4];
            for (i, row) in rows.iter_mut().enumerate().take(S::STEP) {
                *row = strip.rows[step * S::STEP + i];
            }
            let mut offset = (strip.column + left as isize) as usize * strip.stride + strip.lane;
            // Whole blocks have a loop of their own, without a branch in it.
            if strip.channels == S::STEP * lanes {
                for column in left..right {
                    make_step::<S>(rows, offset, S::STEP * lanes, to.add(column * S::STEP * lanes));
                    offset += strip.stride;
                }
            } else {
                for column in left..right {
                    make_step::<S>(rows, offset, strip.channels, to.add(column * S::STEP * lanes));
                    offset += strip.stride;
                }
            }
        }
    }
}

/// One step of one column.
///
/// # Safety
/// ENABLED and ROWS_STRIP. As for [`strip`]; the rows have `channels` channels at `offset`.
#[inline(always)]
unsafe fn make_step<S: Interleave>(rows: [*const u8; 4], offset: usize, channels: usize, to: *mut i32) {
    // SAFETY: ENABLED and ROWS_STRIP.
    unsafe {
        let mut pixels = rows;
        for pixel in &mut pixels {
            *pixel = pixel.add(offset);
        }
        for (i, values) in S::interleave(pixels, channels).into_iter().enumerate().take(S::STEP) {
            S::V::store(to.add(i * S::V::LANES), values);
        }
    }
}

/// Stores outputs side by side from `output` on, as far as the strip has them.
///
/// # Safety
/// ENABLED and ROWS_STRIP. As for [`strip`]; the first of them exists.
#[inline(always)]
unsafe fn store<S: Interleave, const SIDE: usize>(
    strip: &Strip,
    row: usize,
    output: usize,
    sums: &[[Sums<S>; 4]; SIDE],
) {
    let lanes = S::V::LANES;
    let count = strip.outputs - output;
    // SAFETY: ENABLED and ROWS_STRIP.
    unsafe {
        match strip.to {
            To::Bytes { to, stride, row: row_bytes, channels, rounding } => {
                let mut side = 0;
                while side < SIDE {
                    let mut rounded = [sums[side][0]; 4];
                    for (i, rounded) in rounded.iter_mut().enumerate() {
                        let (pixel, vector) = (side + i / S::STEP, i % S::STEP);
                        if pixel < SIDE {
                            *rounded = S::V::round(sums[pixel][vector], strip.multiplier.add(vector * lanes));
                        }
                    }
                    if side < count {
                        let bytes = S::V::pack_parts(rounded, &rounding);
                        let to = to.add(row * row_bytes + (output + side) * stride);
                        S::store_pixels(bytes, to, stride, (count - side).min(SIDE - side), channels);
                    }
                    side += 4 / S::STEP;
                }
            }
            To::Sums { to, row: row_sums } => {
                for (side, sums) in sums.iter().enumerate().take(count) {
                    for (i, sums) in sums.iter().enumerate().take(S::STEP) {
                        S::V::store(to.add(row * row_sums + ((output + side) * S::STEP + i) * lanes), *sums);
                    }
                }
            }
        }
    }
}

impl<S: Interleave> PackedConv for Square<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes() + self.multiplier.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        with_alignment(Self::STEPS + Self::SUMS)
    }

    fn grain(&self) -> usize {
        rows_of(S::STEP, self.window.kernel[0], self.window.stride[0]) * self.output.width
    }

    fn cuts(&self) -> Cuts<'_> {
        if self.cuts.is_empty() { Cuts::Nowhere } else { Cuts::At(&self.cuts) }
    }

    fn run(&self, job: Job) {
        let (place, blocks) = match &job.channels {
            None => (self.epilogue.map(), 0..self.blocks()),
            Some(channels) => (Place::of(channels), parts_of(&self.cuts, channels)),
        };
        assert_eq!(job.output.len(), job.pixels.len() * place.stride);
        self.compute(job.input, job.residual, job.output, place, job.pixels, blocks, job.scratch);
    }
}
