//! Depthwise 3×3 and 5×5 convolutions on VNNI, 32 or 64 channels at a time.
//!
//! Four rows of a column are interleaved, so that the four bytes that `vpdpbusd` sums belong to one channel; 3×3 windows
//! of stride 1 get two rows of outputs from the same quads, with weights `w0 w1 w2 0` and `0 w0 w1 w2`, 5×5 windows
//! four rows from two quads. The quads of a strip are made once for all columns of the window. Unpacking leaves the
//! channels in the order that packing the results restores, so nothing is permuted. Places outside the map hold the
//! zero point, whose share lies in the bias.

use std::ops::Range;

use super::super::{Conv, Map, PackedConv, Window};
use super::buffer::{Aligned, align, with_alignment};
use super::conv::{channels_scratch, run_channels, run_channels_f32};
use super::epilogue::{Destination, Epilogue};
use super::simd::{Simd, Sums};
use super::vectors::{Rounding, Vectors};

/// The multiply-add of a set on vectors of quads. A pixel is up to `4 * LANES` channels.
///
/// # Safety
/// As for [`Simd`].
pub(super) unsafe trait Quads: Simd<Activations = Sums<Self>, Weights = Sums<Self>> {
    /// The first `count` channels of a pixel, then zeros.
    unsafe fn load_pixel(from: *const u8, count: usize) -> Sums<Self>;

    /// Stores the first `count` channels.
    unsafe fn store_pixel(bytes: <Self::V as Vectors>::Bytes, to: *mut u8, count: usize);

    /// Four rows to quads: within each 128-bit part, channels 0 to 3 to the first vector, 4 to 7 to the second, …
    unsafe fn interleave(rows: [Sums<Self>; 4]) -> [Sums<Self>; 4];

    /// [`strip`] in a function that enables the instructions.
    unsafe fn depthwise(strip: &Strip, window: [usize; 2]);
}

/// Columns of input that are walked for all channels before the next.
const STRIP: usize = 56;

/// Most quads of a column: eight rows.
const DEEP: usize = 2;

/// Most rows of outputs that are computed together.
const ROWS: usize = 4;

/// Most columns under a strip, with those of the outputs that fill up the last group.
const COLUMNS: usize = STRIP + 16;

/// Rows of outputs that a window of this size and stride computes together.
const fn rows_of(size: usize, stride: usize) -> usize {
    match (size, stride) {
        (3, 1) => 2,
        (3, _) => 1,
        (_, 1) => 4,
        (_, _) => 2,
    }
}

/// A depthwise convolution, packed.
#[derive(Debug)]
pub(super) struct QuadDepthwise<S: Quads> {
    simd: S,
    name: String,
    input: Map,
    output: Map,
    window: Window,
    /// A row outside the map.
    outside: Aligned<u8>,
    /// `[block][row of outputs][column][quad][vector][lane][4]`.
    weights: Aligned<u8>,
    /// `[block][vector][lane]`, `-zero * sum of weights` included.
    bias: Aligned<i32>,
    /// `[block][vector][lane]`.
    multiplier: Aligned<f32>,
    epilogue: Epilogue,
}

/// Outputs side by side, in up to [`ROWS`] rows, of one block of channels.
pub(super) struct Strip {
    /// First pixels of the rows under the outputs, all `width` pixels long.
    rows: [*const u8; 4 * DEEP],
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
    /// `[quad][COLUMNS][4]` vectors.
    quads: *mut i32,
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

/// The channel of lane `lane` of vector `vector` of a block.
fn channel_of(vector: usize, lane: usize) -> usize {
    lane / 4 * 16 + vector * 4 + lane % 4
}

impl<S: Quads> QuadDepthwise<S> {
    /// Channels of a block.
    const BLOCK: usize = 4 * S::V::LANES;

    /// Bytes of the quads, and of the sums of all rows of a strip.
    const QUADS: usize = DEEP * COLUMNS * 4 * S::V::LANES * 4;
    const SUMS: usize = ROWS * STRIP * Self::BLOCK * 4;

    /// Packs `conv` if it is depthwise with such a window.
    pub fn new(simd: S, conv: &Conv) -> Option<QuadDepthwise<S>> {
        let window = conv.window;
        let ([size, width], [stride, across]) = (window.kernel, window.stride);
        let fits = size == width && (size == 3 || size == 5) && stride == across && stride <= 2;
        (conv.is_depthwise() && fits && window.dilation == [1, 1])
            .then(|| QuadDepthwise::pack(simd, conv, size, stride))
    }

    fn pack(simd: S, conv: &Conv, size: usize, stride: usize) -> QuadDepthwise<S> {
        let channels = conv.output.channels;
        let blocks = channels.div_ceil(Self::BLOCK);
        let rows = rows_of(size, stride);
        let deep = (size + (rows - 1) * stride).div_ceil(4);
        let mut weights = Vec::new();
        for block in 0..blocks {
            for row in 0..rows {
                for column in 0..size {
                    for quad in 0..deep {
                        for (vector, lane) in (0..4).flat_map(|v| (0..S::V::LANES).map(move |lane| (v, lane))) {
                            let channel = block * Self::BLOCK + channel_of(vector, lane);
                            for i in 0..4 {
                                let tap = (4 * quad + i).checked_sub(row * stride).filter(|tap| *tap < size);
                                weights.push(match tap {
                                    Some(tap) if channel < channels => {
                                        conv.weights[(channel * size + tap) * size + column] as u8
                                    }
                                    _ => 0,
                                });
                            }
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
            let channel = block * Self::BLOCK + channel_of(place / S::V::LANES, place % S::V::LANES);
            if channel < channels {
                let taps = &conv.weights[channel * size * size..][..size * size];
                let sum: i32 = taps.iter().map(|w| i32::from(*w)).sum();
                bias[at] = conv.bias[channel].wrapping_sub(i32::from(conv.input_zero) * sum);
                multiplier[at] = epilogue.multiplier()[channel];
            }
        }
        QuadDepthwise {
            simd,
            name: format!("dwconv_u8s8_{size}x{size}s{stride}_{rows}x{}__{}", Self::BLOCK, S::ISA),
            input: conv.input,
            output: conv.output,
            window: conv.window,
            outside: Aligned::padded(conv.input.width * conv.input.stride, std::iter::repeat(conv.input_zero)),
            weights: Aligned::padded(weights.len(), weights.iter().copied()),
            bias,
            multiplier,
            epilogue,
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
        assert!(input.len() >= self.input.volume() && scratch.len() >= with_alignment(Self::QUADS + Self::SUMS));
        assert!(pixels.end <= self.output.pixels());
        let (quads, sums) = align(scratch).split_at_mut(Self::QUADS);
        let ([size, _], [stride, _]) = (self.window.kernel, self.window.stride);
        let width = self.output.width;
        let mut at = pixels.start;
        while at < pixels.end {
            let (y, first) = (at / width, at % width);
            let last = width.min(first + pixels.end - at);
            let whole = first == 0 && last == width;
            let rows = if whole { rows_of(size, stride).min((pixels.end - at) / width) } else { 1 };
            let outputs_of_strip = STRIP / stride;
            for x in (first..last).step_by(outputs_of_strip) {
                let outputs = outputs_of_strip.min(last - x);
                for lane in (0..self.output.channels).step_by(Self::BLOCK) {
                    let place = (y * width + x - pixels.start) * self.output.stride;
                    let strip_to = match (self.epilogue.rounding(), &mut to) {
                        (Some(rounding), Destination::Bytes(to)) => {
                            let row = width * self.output.stride;
                            let to = &mut to[place..];
                            assert!(to.len() >= (rows - 1) * row + outputs * self.output.stride);
                            let channels = Self::BLOCK.min(self.output.stride - lane);
                            let to = to[lane..].as_mut_ptr();
                            To::Bytes { to, stride: self.output.stride, row, channels, rounding }
                        }
                        _ => To::Sums { to: sums.as_mut_ptr().cast(), row: STRIP * Self::BLOCK },
                    };
                    self.strip(input, [y, x], [rows, outputs], lane, quads, strip_to);
                    if let To::Sums { .. } = strip_to {
                        for row in 0..rows {
                            let first_pixel = (y + row) * width + x;
                            let mut to = to.part((first_pixel - pixels.start) * self.output.stride);
                            let sums = &mut sums[row * STRIP * Self::BLOCK * 4..][..outputs * Self::BLOCK * 4];
                            let sums = self.in_order(sums);
                            let lanes = lane..lane + Self::BLOCK;
                            let avx2 = self.simd.avx2();
                            self.epilogue.finish_sums(avx2, &lanes, outputs, first_pixel, residual, &mut to, sums);
                        }
                    }
                }
            }
            at += if whole { rows * width } else { last - first };
        }
    }

    /// Brings the sums of pixels from the order of quads to that of channels.
    fn in_order<'a>(&self, sums: &'a mut [u8]) -> &'a [i32] {
        // SAFETY: every pattern of bits is a number; `align_to_mut` sees to the alignment.
        let sums = unsafe { sums.align_to_mut::<i32>().1 };
        for pixel in sums.chunks_exact_mut(Self::BLOCK) {
            let mut ordered = [0; 64];
            for (i, sum) in pixel.iter().enumerate() {
                ordered[channel_of(i / S::V::LANES, i % S::V::LANES)] = *sum;
            }
            pixel.copy_from_slice(&ordered[..Self::BLOCK]);
        }
        sums
    }

    /// Computes `[rows, outputs]` outputs from `[y, x]` on, for the block of channels that begins with `lane`.
    fn strip(
        &self,
        input: &[u8],
        [y, x]: [usize; 2],
        [output_rows, outputs]: [usize; 2],
        lane: usize,
        quads: &mut [u8],
        to: To,
    ) {
        let ([size, _], [stride, _]) = (self.window.kernel, self.window.stride);
        let row = |row: usize| match (y * stride + row).checked_sub(self.window.pad[0]) {
            Some(row) if row < self.input.height => input[row * self.input.width * self.input.stride + lane..].as_ptr(),
            _ => self.outside[lane..].as_ptr(),
        };
        let block = lane / Self::BLOCK;
        let block_weights = self.weights.len() / self.output.channels.div_ceil(Self::BLOCK);
        let strip = Strip {
            rows: std::array::from_fn(row),
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
            quads: quads[..Self::QUADS].as_mut_ptr().cast(),
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
/// The instructions of `S` are enabled in the caller; the strip's pointers are valid.
#[inline(always)]
pub(super) unsafe fn strip<S: Quads>(strip: &Strip, window: [usize; 2]) {
    // SAFETY: the caller's.
    unsafe {
        match window {
            [3, 1] => square::<S, 3, 1, 2, 2>(strip),
            [3, _] => square::<S, 3, 2, 1, 4>(strip),
            [_, 1] => square::<S, 5, 1, 4, 1>(strip),
            [_, _] => square::<S, 5, 2, 2, 2>(strip),
        }
    }
}

/// A strip of a `K`×`K` window of stride `T`, with `R` rows of outputs, `SIDE` outputs of a row at a time.
///
/// # Safety
/// As for [`strip`].
#[inline(always)]
unsafe fn square<S: Quads, const K: usize, const T: usize, const R: usize, const SIDE: usize>(strip: &Strip) {
    let lanes = S::V::LANES;
    let deep = (K + (R - 1) * T).div_ceil(4);
    // SAFETY: the caller's; DEEP and COLUMNS hold the largest counts.
    unsafe {
        make_quads::<S>(strip, deep, (strip.outputs - 1) * T + K, (strip.outputs.next_multiple_of(SIDE) - 1) * T + K);
        let mut output = 0;
        while output < strip.outputs {
            let mut sums = [[[S::V::load(strip.bias); 4]; SIDE]; R];
            for vector in 0..4 {
                for sums in &mut sums {
                    for sums in sums {
                        sums[vector] = S::V::load(strip.bias.add(vector * lanes));
                    }
                }
                for column in 0..K {
                    for quad in 0..deep {
                        for side in 0..SIDE {
                            let at = (quad * COLUMNS + (output + side) * T + column) * 4 + vector;
                            let values = S::V::load(strip.quads.add(at * lanes));
                            for (row, sums) in sums.iter_mut().enumerate() {
                                // Quads that no row of this output's window lies in have no weights.
                                if 4 * quad < row * T + K && 4 * quad + 4 > row * T {
                                    let at = ((row * K + column) * deep + quad) * 4 + vector;
                                    let weights = S::load_weights(strip.weights.add(at * lanes * 4));
                                    sums[side][vector] = S::dot(sums[side][vector], values, weights);
                                }
                            }
                        }
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (side, sums) in sums.iter().enumerate() {
                    if row < strip.output_rows && output + side < strip.outputs {
                        store::<S>(strip, row, output + side, *sums);
                    }
                }
            }
            output += SIDE;
        }
    }
}

/// Makes `deep` quads of `columns` columns; those up to `all` are filled from the outside.
///
/// # Safety
/// As for [`strip`].
#[inline(always)]
unsafe fn make_quads<S: Quads>(strip: &Strip, deep: usize, columns: usize, all: usize) {
    let lanes = S::V::LANES;
    let left = strip.column.min(0).unsigned_abs().min(columns);
    let right = ((strip.width as isize - strip.column).max(0) as usize).clamp(left, columns);
    // SAFETY: the caller's; `left..right` are the columns that lie in the map.
    unsafe {
        let outside = [strip.outside; 64];
        let outside = S::load_pixel(outside.as_ptr(), 4 * lanes);
        for quad in 0..deep {
            let mut column = 0;
            while column < all {
                let to = strip.quads.add((quad * COLUMNS + column) * 4 * lanes);
                let mut rows = [outside; 4];
                if column >= left && column < right {
                    let offset = (strip.column + column as isize) as usize * strip.stride;
                    for (i, row) in rows.iter_mut().enumerate() {
                        *row = S::load_pixel(strip.rows[4 * quad + i].add(offset), strip.channels);
                    }
                }
                let quads = S::interleave(rows);
                for (i, quads) in quads.into_iter().enumerate() {
                    S::V::store(to.add(i * lanes), quads);
                }
                column += 1;
            }
        }
    }
}

/// Stores one output.
///
/// # Safety
/// As for [`strip`]; the output exists.
#[inline(always)]
unsafe fn store<S: Quads>(strip: &Strip, row: usize, output: usize, sums: [Sums<S>; 4]) {
    let lanes = S::V::LANES;
    // SAFETY: the caller's.
    unsafe {
        match strip.to {
            To::Bytes { to, stride, row: row_bytes, channels, rounding } => {
                let mut rounded = sums;
                for (i, sums) in rounded.iter_mut().enumerate() {
                    *sums = S::V::round(*sums, strip.multiplier.add(i * lanes), rounding.top);
                }
                let bytes = S::V::pack_parts(rounded, &rounding);
                S::store_pixel(bytes, to.add(row * row_bytes + output * stride), channels);
            }
            To::Sums { to, row: row_sums } => {
                for (i, sums) in sums.into_iter().enumerate() {
                    S::V::store(to.add(row * row_sums + (output * 4 + i) * lanes), sums);
                }
            }
        }
    }
}

impl<S: Quads> PackedConv for QuadDepthwise<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes() + self.multiplier.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        with_alignment(Self::QUADS + Self::SUMS) + channels_scratch(self.output.stride)
    }

    fn run(&self, input: &[u8], residual: Option<&[u8]>, output: &mut [u8], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.output.stride);
        self.compute(input, residual, Destination::Bytes(output), pixels, scratch);
    }

    fn run_f32(&self, input: &[u8], output: &mut [f32], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.output.stride);
        self.compute(input, None, Destination::Floats(output), pixels, scratch);
    }

    fn run_channels(&self, input: &[u8], output: &mut [u8], channels: Range<usize>, scratch: &mut [u8]) {
        run_channels(self, self.output.stride, input, output, channels, scratch);
    }

    fn run_channels_f32(&self, input: &[u8], output: &mut [f32], channels: Range<usize>, scratch: &mut [u8]) {
        run_channels_f32(self, self.output.stride, input, output, channels, scratch);
    }
}
