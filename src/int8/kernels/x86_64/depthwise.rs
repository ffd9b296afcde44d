//! Depthwise convolutions on AVX2, eight channels at a time.
//!
//! Rows are taken in pairs: the bytes of two rows of the same column and channel become two neighbouring 16-bit
//! numbers, which `vpmaddwd` multiplies with two weights of that column. For 3×3 and 5×5 windows the pairs under a
//! strip are made once, and serve all columns of the window and two rows of outputs. Other windows take their taps
//! two by two where they lie. Places outside the map hold the zero point, whose share lies in the bias.
//!
//! What lost: rolling along the row with the sums of all open outputs in registers (24 cycles for 16 outputs of a 3×3
//! window where this takes 15): it needs twice the registers, and the requantisation of one output at a time is a
//! chain that the processor cannot look past.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::{Conv, Map, PackedConv, Window};
use super::avx2::{Avx2, pack};
use super::buffer::{Aligned, align, with_alignment};
use super::conv::{channels_scratch, run_channels, run_channels_f32};
use super::dense::Target;
use super::epilogue::{Destination, Epilogue};

/// Channels of a block.
const LANES: usize = 8;

/// Columns of input that are walked for all channels before the next: what they touch stays in L1.
const STRIP: usize = 56;

/// Most pairs of rows under two rows of outputs: those of a 5×5 window of stride 2.
const PAIRS: usize = 4;

/// Outputs side by side for which a weight is loaded once.
const SIDE: usize = 4;

/// Most columns under a strip, with those of the outputs that fill up the last [`SIDE`].
const COLUMNS: usize = STRIP + 2 * SIDE + 4;

/// Bytes of the pairs under a strip.
const PAIRS_BYTES: usize = PAIRS * COLUMNS * size_of::<__m256i>();

/// Bytes of the sums of a strip's row.
const MIDDLE: usize = STRIP * LANES * 4;

/// Bytes of scratch, but for whole pixels.
const SCRATCH: usize = with_alignment(PAIRS_BYTES + 2 * MIDDLE);

/// A depthwise convolution, packed.
#[derive(Debug)]
pub(super) struct Depthwise {
    avx2: Avx2,
    name: String,
    input: Map,
    output: Map,
    window: Window,
    /// The zero point of the input: a row of places outside the map.
    outside: Aligned<u8>,
    /// Whether the window is one of the squares with kernels of their own.
    square: bool,
    /// `[block][row of outputs][column][pair of rows][channel][2]` for squares, `[block][pair of taps][channel][2]`
    /// for other windows.
    weights: Aligned<i16>,
    /// One for each lane, `-zero * sum of weights` included.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

/// Outputs side by side, in one row or in two that lie one above the other, of one block of channels.
struct Strip {
    /// First pixels of the rows under the outputs. All have `width` pixels, also those outside the map.
    rows: [*const u8; 2 * PAIRS],
    /// A row outside the map, at least 16 bytes.
    outside: *const u8,
    width: usize,
    /// Bytes from one pixel to the next.
    stride: usize,
    /// First channel.
    lane: usize,
    /// Channels that may be read: all 8, or fewer where a pixel ends.
    channels: usize,
    /// Column of the map, or left of it, under the first of the strip's columns.
    column: isize,
    outputs: usize,
    weights: *const i16,
    bias: *const i32,
    targets: [Target; 2],
    /// `[pair][COLUMNS]`.
    pairs: *mut __m256i,
}

impl Depthwise {
    /// Packs `conv`, which is depthwise.
    pub fn new(avx2: Avx2, conv: &Conv) -> Depthwise {
        let window = conv.window;
        let [kh, kw] = window.kernel;
        let [sh, sw] = window.stride;
        let square = kh == kw && (kh == 3 || kh == 5) && sh == sw && sh <= 2 && window.dilation == [1, 1];
        let channels = conv.output.channels;
        let lanes = channels.next_multiple_of(LANES);
        let weight = |channel: usize, row: Option<usize>, column: usize| match row {
            Some(row) if row < kh && channel < channels => i16::from(conv.weights[(channel * kh + row) * kw + column]),
            _ => 0,
        };
        let mut weights = Vec::new();
        for block in (0..lanes).step_by(LANES) {
            if square {
                for output_row in 0..2 {
                    // At stride 1 the second row of outputs begins in the middle of a pair; at stride 2 it begins one
                    // pair later, with the same weights.
                    let shift = if sh == 1 { output_row } else { 0 };
                    for column in 0..kw {
                        for row in (0..kh + 1).step_by(2) {
                            for channel in block..block + LANES {
                                weights.push(weight(channel, row.checked_sub(shift), column));
                                weights.push(weight(channel, (row + 1).checked_sub(shift), column));
                            }
                        }
                    }
                }
            } else {
                for tap in (0..kh * kw).step_by(2) {
                    for channel in block..block + LANES {
                        weights.push(weight(channel, Some(tap / kw), tap % kw));
                        weights.push(weight(channel, Some((tap + 1) / kw), (tap + 1) % kw));
                    }
                }
            }
        }
        let bias = (0..channels).map(|channel| {
            let sum: i32 = conv.weights[channel * kh * kw..][..kh * kw].iter().map(|w| i32::from(*w)).sum();
            conv.bias[channel].wrapping_sub(i32::from(conv.input_zero) * sum)
        });
        let shape = if square { format!("{kh}x{kw}s{sh}_2x{LANES}") } else { format!("taps_1x{LANES}") };
        let row = conv.input.width * conv.input.stride;
        Depthwise {
            avx2,
            name: format!("dwconv_u8s8_{shape}__avx2"),
            input: conv.input,
            output: conv.output,
            window,
            outside: Aligned::padded(row + 2 * LANES, std::iter::repeat(conv.input_zero)),
            square,
            bias: Aligned::padded(lanes, bias),
            weights: Aligned::padded(weights.len(), weights.iter().copied()),
            epilogue: Epilogue::new(conv, 0..channels, lanes),
        }
    }

    /// Computes `pixels`; `to` begins at the first of them.
    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        pixels: Range<usize>,
        scratch: &mut [u8],
    ) {
        assert!(input.len() >= self.input.volume() && scratch.len() >= SCRATCH);
        assert!(pixels.end <= self.output.pixels());
        let (pairs, middle) = align(scratch).split_at_mut(PAIRS_BYTES);
        let middle: [&mut [u8]; 2] = middle.split_at_mut(MIDDLE).into();
        let strip_outputs = STRIP / self.window.stride[1].min(STRIP);
        let width = self.output.width;
        let mut at = pixels.start;
        while at < pixels.end {
            let (y, first) = (at / width, at % width);
            let last = width.min(first + pixels.end - at);
            let whole = first == 0 && last == width;
            let output_rows = if self.square && whole && pixels.end - at >= 2 * width { 2 } else { 1 };
            for x in (first..last).step_by(strip_outputs) {
                let outputs = strip_outputs.min(last - x);
                for lane in (0..self.output.channels).step_by(LANES) {
                    let lanes = lane..lane + LANES;
                    // First pixels of the strip, and where in `to` they lie.
                    let firsts: [usize; 2] = std::array::from_fn(|row| (y + row) * width + x);
                    let place = |row: usize| (firsts[row] - pixels.start) * self.output.stride;
                    let mut targets = [Target::Sums(std::ptr::null_mut()); 2];
                    for row in 0..output_rows {
                        targets[row] = self.epilogue.target(&lanes, outputs, &mut to.part(place(row)), middle[row]);
                    }
                    self.strip(input, [y, x], [output_rows, outputs], lane, targets, pairs);
                    for row in 0..output_rows {
                        let mut to = to.part(place(row));
                        self.epilogue.finish(self.avx2, &lanes, outputs, firsts[row], residual, &mut to, middle[row]);
                    }
                }
            }
            at += if output_rows == 2 { 2 * width } else { last - first };
        }
    }

    /// Computes `[rows, outputs]` outputs from `[y, x]` on, for the block of channels that begins with `lane`.
    fn strip(
        &self,
        input: &[u8],
        [y, x]: [usize; 2],
        [output_rows, outputs]: [usize; 2],
        lane: usize,
        targets: [Target; 2],
        pairs: &mut [u8],
    ) {
        let [kh, kw] = self.window.kernel;
        let [sh, sw] = self.window.stride;
        let block_weights = if self.square { 2 * kw * (kh + 1) * LANES } else { (kh * kw).next_multiple_of(2) * LANES };
        let row = |row: usize| match (y * sh + row).checked_sub(self.window.pad[0]) {
            Some(row) if row < self.input.height => input[row * self.input.width * self.input.stride..].as_ptr(),
            _ => self.outside.as_ptr(),
        };
        let strip = Strip {
            rows: std::array::from_fn(row),
            outside: self.outside.as_ptr(),
            width: self.input.width,
            stride: self.input.stride,
            lane,
            channels: LANES.min(self.input.stride - lane),
            column: (x * sw) as isize - self.window.pad[1] as isize,
            outputs,
            weights: self.weights[lane / LANES * block_weights..][..block_weights].as_ptr(),
            bias: self.bias[lane..lane + LANES].as_ptr(),
            targets,
            pairs: pairs[..PAIRS_BYTES].as_mut_ptr().cast(),
        };
        // SAFETY: the token proves that AVX2 is there. Rows lie in the input, whose length was checked, or are as long
        // as one of its rows; columns are held against the width; a block reads no more channels than there are up to
        // the end of its pixel; targets hold `outputs` pixels.
        unsafe {
            if !self.square {
                for output in 0..outputs {
                    self.taps(input, [y, x + output], &strip, output);
                }
                return;
            }
            match (kh, sh, output_rows) {
                (3, 1, 1) => square::<3, 1, 1>(&strip),
                (3, 1, _) => square::<3, 1, 2>(&strip),
                (3, _, 1) => square::<3, 2, 1>(&strip),
                (3, _, _) => square::<3, 2, 2>(&strip),
                (_, 1, 1) => square::<5, 1, 1>(&strip),
                (_, 1, _) => square::<5, 1, 2>(&strip),
                (_, _, 1) => square::<5, 2, 1>(&strip),
                (_, _, _) => square::<5, 2, 2>(&strip),
            }
        }
    }

    /// One output of any window, number `output` of the strip.
    ///
    /// # Safety
    /// AVX2 is there; the strip's pointers are valid.
    #[target_feature(enable = "avx2")]
    unsafe fn taps(&self, input: &[u8], [y, x]: [usize; 2], strip: &Strip, output: usize) {
        let [kh, kw] = self.window.kernel;
        let tap = |tap: usize| {
            let place = |axis: usize, at: usize, tap: usize| {
                (at * self.window.stride[axis] + tap * self.window.dilation[axis]).checked_sub(self.window.pad[axis])
            };
            match (place(0, y, tap / kw), place(1, x, tap % kw)) {
                (Some(row), Some(column)) if row < self.input.height && column < self.input.width && tap < kh * kw => {
                    input[(row * self.input.width + column) * self.input.stride + strip.lane..].as_ptr()
                }
                _ => self.outside.as_ptr(),
            }
        };
        // SAFETY: the caller's. A tap is `channels` bytes of the input, or the 8 bytes of the outside.
        unsafe {
            let mut sums = _mm256_load_si256(strip.bias.cast());
            for pair in 0..(kh * kw).div_ceil(2) {
                let pixels = match strip.channels {
                    LANES => interleave([tap(2 * pair), tap(2 * pair + 1)]),
                    channels => interleave_some([tap(2 * pair), tap(2 * pair + 1)], channels),
                };
                let weights = _mm256_load_si256(strip.weights.cast::<__m256i>().add(pair));
                sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pixels, weights));
            }
            store([sums; SIDE], &strip.targets[0], output, 1);
        }
    }
}

/// Eight channels of two pixels, as neighbouring 16-bit numbers.
///
/// # Safety
/// Both can be read.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn interleave(pixels: [*const u8; 2]) -> __m256i {
    // SAFETY: the caller's.
    let [above, below] = unsafe { [_mm_loadl_epi64(pixels[0].cast()), _mm_loadl_epi64(pixels[1].cast())] };
    _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(above, below))
}

/// The same of the first `channels` channels, for the end of a pixel without padding.
///
/// # Safety
/// So many bytes can be read.
#[cold]
#[target_feature(enable = "avx2")]
unsafe fn interleave_some(pixels: [*const u8; 2], channels: usize) -> __m256i {
    let mut bytes = [[0u8; LANES]; 2];
    // SAFETY: the caller's, and `channels` is less than LANES.
    unsafe {
        for (bytes, pixel) in bytes.iter_mut().zip(pixels) {
            std::ptr::copy_nonoverlapping(pixel, bytes.as_mut_ptr(), channels);
        }
        interleave([bytes[0].as_ptr(), bytes[1].as_ptr()])
    }
}

/// Stores the first `count` of neighbouring outputs, the first of which is number `output` of the strip.
///
/// # Safety
/// The target has them.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn store(sums: [__m256i; SIDE], target: &Target, output: usize, count: usize) {
    // SAFETY: the caller's.
    unsafe {
        match *target {
            Target::Sums(to) => {
                for (i, sums) in sums.into_iter().enumerate().take(count) {
                    _mm256_storeu_si256(to.add((output + i) * LANES).cast(), sums);
                }
            }
            Target::Bytes { to, stride, multiplier, rounding } => {
                let (multiplier, top) = (_mm256_load_ps(multiplier), _mm256_set1_ps(rounding.top));
                let mut rounded = sums;
                for sums in &mut rounded {
                    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(*sums), multiplier);
                    *sums = _mm256_cvtps_epi32(_mm256_min_ps(product, top));
                }
                let bytes = pack(rounded, &rounding);
                let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
                let to = to.add(output * stride);
                for (i, half) in halves.into_iter().enumerate() {
                    if 2 * i < count {
                        _mm_storel_epi64(to.add(2 * i * stride).cast(), half);
                    }
                    if 2 * i + 1 < count {
                        _mm_storeh_pd(to.add((2 * i + 1) * stride).cast(), _mm_castsi128_pd(half));
                    }
                }
            }
        }
    }
}

/// A strip of a `K`×`K` window of stride `S`, with `R` rows of outputs.
///
/// # Safety
/// AVX2 is there; the strip's pointers are valid.
#[target_feature(enable = "avx2")]
unsafe fn square<const K: usize, const S: usize, const R: usize>(strip: &Strip) {
    // SAFETY: the caller's. COLUMNS and PAIRS hold the largest counts.
    unsafe {
        make_pairs(strip, (K + (R - 1) * S).div_ceil(2), (strip.outputs - 1) * S + K);
        let pairs = K.div_ceil(2);
        for (row, target) in strip.targets.iter().enumerate().take(R) {
            let weights = strip.weights.cast::<__m256i>().add(row * K * pairs);
            // At stride 2 the second row of outputs begins one pair further down.
            let values = strip.pairs.add(row * (S - 1) * COLUMNS);
            for output in (0..strip.outputs).step_by(SIDE) {
                let mut sums = [_mm256_load_si256(strip.bias.cast()); SIDE];
                for column in 0..K {
                    for pair in 0..pairs {
                        let weights = _mm256_load_si256(weights.add(column * pairs + pair));
                        let values = values.add(pair * COLUMNS + output * S + column);
                        for (x, sum) in sums.iter_mut().enumerate() {
                            let products = _mm256_madd_epi16(_mm256_load_si256(values.add(x * S)), weights);
                            *sum = _mm256_add_epi32(*sum, products);
                        }
                    }
                }
                store(sums, target, output, SIDE.min(strip.outputs - output));
            }
        }
    }
}

/// Makes `count` pairs of rows of `columns` columns.
///
/// # Safety
/// AVX2 is there; the strip's pointers are valid.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn make_pairs(strip: &Strip, count: usize, columns: usize) {
    let left = strip.column.min(0).unsigned_abs().min(columns);
    let right = ((strip.width as isize - strip.column).max(0) as usize).clamp(left, columns);
    let first = (strip.column + left as isize) as usize * strip.stride + strip.lane;
    // SAFETY: the caller's; `left..right` are the columns that lie in the map.
    unsafe {
        let outside = _mm256_cvtepu8_epi16(_mm_loadu_si128(strip.outside.cast()));
        for pair in 0..count {
            let to = strip.pairs.add(pair * COLUMNS);
            for column in (0..left).chain(right..columns) {
                _mm256_store_si256(to.add(column), outside);
            }
            if left == right {
                continue;
            }
            let mut pixels = [strip.rows[2 * pair].add(first), strip.rows[2 * pair + 1].add(first)];
            if strip.channels == LANES {
                for column in left..right {
                    _mm256_store_si256(to.add(column), interleave(pixels));
                    pixels = [pixels[0].wrapping_add(strip.stride), pixels[1].wrapping_add(strip.stride)];
                }
            } else {
                for column in left..right {
                    _mm256_store_si256(to.add(column), interleave_some(pixels, strip.channels));
                    pixels = [pixels[0].wrapping_add(strip.stride), pixels[1].wrapping_add(strip.stride)];
                }
            }
        }
    }
}

impl PackedConv for Depthwise {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        SCRATCH + channels_scratch(self.output.stride)
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
