//! Dense convolutions by Winograd's minimal filtering, exactly: 3×3 ones of stride 1, and of stride 2 in their phases.
//!
//! A tile of outputs is `AT [(G w GT) . (BT x B)] A`, where `.` sums the products over the input channels, at each point:
//! 36 multiplications for each pair of channels where the direct form takes 144, for the largest of the schemes in
//! [`schemes`]. The transforms are used over the integers:
//!
//! - `BT x B` has whole coefficients, and its values fit 16 bits.
//! - The rows of `G` are scaled to whole numbers, so that `G w GT` fits 16 bits beside the former: their sums may not
//!   overflow either, as [`Avx2`] multiplies by sums.
//! - With `A` scaled to match, the result is a known multiple of the convolution, modulo 2^32 like every sum on the
//!   way. A product with the inverse of the multiple's odd part leaves a power of two times the convolution, and
//!   a shift the convolution itself, if that is small enough. A layer whose weights could give more stays direct.

mod schemes;

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::{Conv, PackedConv};
use super::avx2::{Avx2, Ymm};
use super::buffer::{Aligned, align, with_alignment};
use super::conv::{channels_scratch, run_channels, run_channels_f32};
use super::dense::{Pixel, Strip, Target};
use super::epilogue::{Destination, Epilogue, Place};
use super::patch::{OVERRUN, Patch};
use super::simd::Simd;
use super::vectors::Vectors;
use schemes::{Four, Scheme, Two, TwoByTwo};

/// Bytes of transformed activations of a block of tiles: they stay in the L2 cache while all weights pass by.
const BLOCK: usize = 320 << 10;

/// Bytes of a vector of weights.
const VECTOR: usize = Ymm::LANES * Avx2::STEP * Avx2::WEIGHT;

/// Packs `conv` if one of the schemes fits and gains.
pub(super) fn pack(avx2: Avx2, conv: &Conv) -> Option<Box<dyn PackedConv>> {
    Winograd::<Four, 6, 4>::boxed(avx2, conv)
        .or_else(|| Winograd::<Two, 4, 2>::boxed(avx2, conv))
        .or_else(|| Winograd::<TwoByTwo, 3, 2>::boxed(avx2, conv))
}

/// A convolution packed for the transformed domain of a scheme.
#[derive(Debug)]
struct Winograd<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize> {
    avx2: Avx2,
    name: String,
    scheme: std::marker::PhantomData<S>,
    patch: Patch,
    /// Height and width of the output.
    output: [usize; 2],
    depth: usize,
    /// Tiles of a row of tiles, and rows of tiles of a block.
    tiles: usize,
    rows: usize,
    strips: Vec<usize>,
    /// `[row][column]`, what is multiplied at a point.
    points: Vec<Point>,
    /// Steps of all points.
    steps: usize,
    /// `[strip][point][step][vector]`, each as [`Simd::pack`] lays out its lanes.
    weights: Aligned<u8>,
    /// `[strip][point][lane]`, what the steps add too much, negated.
    excess: Aligned<i32>,
    /// One for each lane, `-zero * sum of weights` included.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

/// What is multiplied at a point: the channels of phases, which lie in a tile's values one after the other.
#[derive(Debug)]
struct Point {
    /// Bytes from a tile's first value to each run of them.
    runs: Vec<usize>,
    /// Steps of a run.
    steps: usize,
    /// Steps of the points before.
    first_step: usize,
}

/// Bytes of each part of the scratch.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// From one copied row to the next.
    copied_pitch: usize,
    copied: usize,
    /// From the transformed activations of one point to those of the next.
    values_pitch: usize,
    values: usize,
    /// The same for sums of a strip.
    sums_pitch: usize,
    sums: usize,
    /// Outputs of a strip, `[row][column][lane]`.
    outputs: usize,
    pixels: usize,
}

impl<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize> Winograd<S, IN, OUT> {
    /// Products of a tile for a pair of channels and each phase.
    const POINTS: usize = IN * IN;

    /// Even and odd rows and columns.
    const PHASES: usize = S::STRIDE * S::STRIDE;

    /// Inputs under a tile along an axis.
    const SPAN: usize = IN * S::STRIDE;

    /// From a tile's first input to the next one's.
    const TILE_STEP: usize = OUT * S::STRIDE;

    /// Sums up to here survive the scaling.
    const SUM_MAX: i64 = (1 << (31 - S::SHIFT)) - 1;

    /// Packs `conv` if it is such a convolution and gains.
    fn boxed(avx2: Avx2, conv: &Conv) -> Option<Box<dyn PackedConv>> {
        let window = conv.window;
        let tiles = [conv.output.height, conv.output.width].map(|size| size.div_ceil(OUT));
        let depth = conv.input.channels;
        let fits = window.kernel == [3, 3]
            && window.stride == [S::STRIDE; 2]
            && window.dilation == [1, 1]
            && conv.groups == 1
            && depth.is_multiple_of(16)
            && depth >= S::FEWEST_CHANNELS
            && conv.output.channels >= 16
            && tiles[0] * tiles[1] >= S::FEWEST_TILES
            && conv.weights.chunks_exact(9 * depth).all(|weights| largest_sum(weights) <= Self::SUM_MAX);
        fits.then(|| Box::new(Self::new(avx2, conv, tiles)) as Box<dyn PackedConv>)
    }

    fn new(avx2: Avx2, conv: &Conv, tiles: [usize; 2]) -> Self {
        let (depth, channels) = (conv.input.channels, conv.output.channels);
        let vectors = channels.div_ceil(Ymm::LANES);
        let strips = Avx2::strips(vectors);
        let (points, steps) = Self::points(depth);
        let mut weights = Aligned::zeros(vectors * steps * VECTOR);
        let mut excess = Aligned::zeros(vectors * Self::POINTS * Ymm::LANES);
        // Of a step's four values of a tile, `[value][row][column]`.
        let mut transformed = vec![[[[0; IN]; IN]; Avx2::STEP]; Self::PHASES * depth / Avx2::STEP];
        let mut first_vector = 0;
        for &width in &strips {
            for lane in 0..width * Ymm::LANES {
                let channel = first_vector * Ymm::LANES + lane;
                if channel >= channels {
                    break;
                }
                let weights_of = &conv.weights[channel * 9 * depth..][..9 * depth];
                for (step, values) in transformed.iter_mut().enumerate() {
                    for (i, values) in values.iter_mut().enumerate() {
                        let (phase, from) = ((step * Avx2::STEP + i) / depth, (step * Avx2::STEP + i) % depth);
                        *values = Self::transform_weights(phase, |tap| weights_of[tap * depth + from]);
                    }
                }
                for (number, point) in points.iter().enumerate() {
                    let of_point = number * width * Ymm::LANES + lane + first_vector * Ymm::LANES * Self::POINTS;
                    let mut vector = (first_vector * steps + point.first_step * width) + lane / Ymm::LANES;
                    for run in &point.runs {
                        let first = run / (Avx2::STEP * Avx2::ELEMENT);
                        for values in &transformed[first..first + point.steps] {
                            let weights_of = std::array::from_fn(|i| values[i][number / IN][number % IN]);
                            Avx2::pack(weights_of, lane % Ymm::LANES, &mut weights[vector * VECTOR..][..VECTOR]);
                            let products = Avx2::weight_products(weights_of);
                            excess[of_point] = i32::wrapping_sub(excess[of_point], products);
                            vector += width;
                        }
                    }
                }
            }
            first_vector += width;
        }
        let bias = (0..channels).map(|channel| {
            let sum: i32 = conv.weights[channel * 9 * depth..][..9 * depth].iter().map(|w| i32::from(*w)).sum();
            conv.bias[channel].wrapping_sub(i32::from(conv.input_zero) * sum)
        });
        let row_bytes = tiles[1] * Self::POINTS * Self::PHASES * depth * Avx2::ELEMENT;
        // Blocks of about the same size.
        let rows = tiles[0].div_ceil(tiles[0].div_ceil((BLOCK / row_bytes).clamp(1, tiles[0])));
        Winograd {
            avx2,
            name: format!("conv_u8s8_winograd{}_4x2__avx2", S::NAME),
            scheme: std::marker::PhantomData,
            patch: Patch {
                input: [conv.input.height, conv.input.width],
                stride: conv.input.stride,
                first: 0,
                depth,
                zero: conv.input_zero,
                take: [1, 1],
                pad: conv.window.pad,
            },
            output: [conv.output.height, conv.output.width],
            depth,
            tiles: tiles[1],
            rows,
            strips,
            points,
            steps,
            weights,
            excess,
            bias: Aligned::padded(vectors * Ymm::LANES, bias),
            epilogue: Epilogue::new(conv, 0..channels, vectors * Ymm::LANES),
        }
    }

    /// What is multiplied at each point, and the steps of all.
    fn points(depth: usize) -> (Vec<Point>, usize) {
        let mut first_step = 0;
        let points = (0..Self::POINTS).map(|number| {
            // At infinity the odd phases have nothing; phases are counted by rows, then by columns.
            let odd = |place: usize| S::STRIDE == 2 && place < IN - 1;
            let (runs, phases) = match (odd(number / IN), odd(number % IN)) {
                (false, false) => (vec![0], 1),
                (false, true) => (vec![0], 2),
                (true, false) => (vec![0, 2 * depth * Avx2::ELEMENT], 1),
                (true, true) => (vec![0], 4),
            };
            let point = Point { steps: phases * depth / Avx2::STEP, runs, first_step };
            first_step += point.runs.len() * point.steps;
            point
        });
        let points = points.collect();
        (points, first_step)
    }

    /// `G w GT` of a phase of a channel's taps.
    fn transform_weights(phase: usize, weight: impl Fn(usize) -> i8) -> [[i16; IN]; IN] {
        let first = [phase / S::STRIDE, phase % S::STRIDE];
        let tap = |row: usize, column: usize| match [first[0] + row * S::STRIDE, first[1] + column * S::STRIDE] {
            [row, column] if row < 3 && column < 3 => i32::from(weight(row * 3 + column)),
            _ => 0,
        };
        let filter = |taps: [i32; 3]| S::G.map(|g| g[0] * taps[0] + g[1] * taps[1] + g[2] * taps[2]);
        let half: [[i32; IN]; 3] = std::array::from_fn(|column| filter(std::array::from_fn(|row| tap(row, column))));
        std::array::from_fn(|row| filter(std::array::from_fn(|column| half[column][row])).map(|sum| sum as i16))
    }

    fn sizes(&self) -> Sizes {
        let tiles = self.tiles * self.rows;
        let lanes = self.strips.iter().copied().max().unwrap_or(1) * Ymm::LANES;
        let line = |bytes: usize| bytes.next_multiple_of(OVERRUN);
        let copied_pitch = line(self.copied_columns() * self.depth * Avx2::ELEMENT + OVERRUN);
        // A line more than needed, lest the points of a tile fall into the same set of the cache.
        let values_pitch = line(tiles * self.tile_bytes()) + OVERRUN;
        let sums_pitch = line(tiles * lanes * 4) + OVERRUN;
        Sizes {
            copied_pitch,
            copied: Self::SPAN * copied_pitch,
            values_pitch,
            values: Self::POINTS * values_pitch,
            sums_pitch,
            sums: Self::POINTS * sums_pitch,
            outputs: line(OUT * self.tiles * OUT * lanes * 4),
            pixels: line(Self::POINTS * tiles * size_of::<Pixel>()),
        }
    }

    /// Columns of the input under a row of tiles.
    fn copied_columns(&self) -> usize {
        (self.tiles - 1) * Self::TILE_STEP + Self::SPAN
    }

    /// Bytes of a tile's values at a point.
    fn tile_bytes(&self) -> usize {
        Self::PHASES * self.depth * Avx2::ELEMENT
    }

    fn own_scratch(&self) -> usize {
        let s = self.sizes();
        with_alignment(s.copied + s.values + s.sums + s.outputs + s.pixels)
    }

    /// Computes the channels of `strips`, which lie in `to` as `place` says.
    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        place: Place,
        pixels: Range<usize>,
        strips: Range<usize>,
        scratch: &mut [u8],
    ) {
        assert!(scratch.len() >= self.own_scratch() && pixels.end <= self.output[0] * self.output[1]);
        if pixels.is_empty() {
            return;
        }
        let sizes = self.sizes();
        let (copied, rest) = align(scratch).split_at_mut(sizes.copied);
        let (values, rest) = rest.split_at_mut(sizes.values);
        let (sums, rest) = rest.split_at_mut(sizes.sums);
        let (outputs, rest) = rest.split_at_mut(sizes.outputs);
        // SAFETY: numbers of which every pattern of bits is one; `align_to_mut` sees to the alignment, and as all
        // parts before are whole lines nothing is lost.
        let (outputs, all_pixels) = unsafe { (outputs.align_to_mut::<i32>().1, rest.align_to_mut::<Pixel>().1) };

        let width = self.output[1];
        let tile_rows = pixels.start / width / OUT..((pixels.end - 1) / width / OUT + 1);
        for first_row in tile_rows.clone().step_by(self.rows) {
            let rows = self.rows.min(tile_rows.end - first_row);
            let count = rows * self.tiles;
            for row in 0..rows {
                let first = [(first_row + row) * Self::TILE_STEP, 0];
                let span = [Self::SPAN, self.copied_columns()];
                self.patch.copy::<Avx2>(input, first, span, sizes.copied_pitch, copied);
                for tile in 0..self.tiles {
                    let to = &mut values[(row * self.tiles + tile) * self.tile_bytes()..];
                    self.transform_tile(&copied[tile * Self::TILE_STEP * self.depth * Avx2::ELEMENT..], to, &sizes);
                }
            }
            for (number, point) in self.points.iter().enumerate() {
                let pixels = &mut all_pixels[number * count..][..count];
                for (tile, pixel) in pixels.iter_mut().enumerate() {
                    pixel.offset = (tile * self.tile_bytes()) as u32;
                }
                let values = values[number * sizes.values_pitch..][..sizes.values_pitch].as_ptr();
                // SAFETY: the token proves AVX2; `sizes` made room for all tiles, and they were transformed.
                unsafe { Avx2::excess(values, pixels, &point.runs, point.steps) };
            }
            let mut first_vector = self.strips[..strips.start].iter().sum::<usize>();
            for &vectors in &self.strips[strips.clone()] {
                let lanes = first_vector * Ymm::LANES..(first_vector + vectors) * Ymm::LANES;
                for (number, point) in self.points.iter().enumerate() {
                    let first = first_vector * self.steps + point.first_step * vectors;
                    let steps = point.runs.len() * point.steps;
                    let excess = (first_vector * Self::POINTS + number * vectors) * Ymm::LANES;
                    let strip = Strip {
                        input: values[number * sizes.values_pitch..].as_ptr(),
                        pixels: &all_pixels[number * count..][..count],
                        runs: &point.runs,
                        steps: point.steps,
                        vectors,
                        weights: self.weights[first * VECTOR..][..steps * vectors * VECTOR].as_ptr(),
                        ahead: (steps * vectors * VECTOR).min(self.weights.len() - (first + steps * vectors) * VECTOR),
                        bias: self.excess[excess..][..lanes.len()].as_ptr(),
                        target: Target::Sums(sums[number * sizes.sums_pitch..][..sizes.sums_pitch].as_mut_ptr().cast()),
                    };
                    // SAFETY: the token proves AVX2; values and weights hold all steps, sums all tiles and lanes.
                    unsafe { Avx2::strip(&strip) };
                }
                for row in 0..rows {
                    for tile in 0..self.tiles {
                        let from = sums[(row * self.tiles + tile) * lanes.len() * 4..].as_ptr().cast();
                        let to = outputs[tile * OUT * lanes.len()..].as_mut_ptr();
                        let bias = self.bias[lanes.clone()].as_ptr();
                        let to_pitch = self.tiles * OUT * lanes.len();
                        // SAFETY: as before.
                        unsafe { transform_sums::<S, IN, OUT>(from, sizes.sums_pitch, bias, vectors, to, to_pitch) };
                    }
                    for line in 0..OUT {
                        let y = (first_row + row) * OUT + line;
                        // Of the row's pixels, those that are wanted.
                        let wanted = pixels.start.max(y * width)..pixels.end.min((y + 1) * width);
                        if y >= self.output[0] || wanted.is_empty() {
                            continue;
                        }
                        let x = wanted.start - y * width;
                        let sums = &outputs[(line * self.tiles * OUT + x) * lanes.len()..];
                        let mut to = to.part((wanted.start - pixels.start) * place.stride);
                        let (count, first) = (wanted.len(), wanted.start);
                        self.epilogue.finish_sums(self.avx2, &lanes, count, first, residual, place, &mut to, sums);
                    }
                }
                first_vector += vectors;
            }
        }
    }

    /// `BT x B` of each phase of a tile, from copied rows.
    fn transform_tile(&self, from: &[u8], to: &mut [u8], sizes: &Sizes) {
        let column_bytes = self.depth * Avx2::ELEMENT;
        let last = (Self::SPAN - 1) * (sizes.copied_pitch + column_bytes) + column_bytes;
        assert!(from.len() >= last && to.len() >= (Self::POINTS - 1) * sizes.values_pitch + self.tile_bytes());
        for phase in 0..Self::PHASES {
            let [row, column] = [phase / S::STRIDE, phase % S::STRIDE];
            let from = from[row * sizes.copied_pitch + column * column_bytes..].as_ptr();
            let pitches = [S::STRIDE * sizes.copied_pitch, S::STRIDE * column_bytes];
            let to = to[phase * column_bytes..].as_mut_ptr();
            // SAFETY: the token proves AVX2; the rest was asserted.
            unsafe { transform_activations::<S, IN, OUT>(from, pitches, self.depth, to, sizes.values_pitch) };
        }
    }
}

/// The largest size that a sum of activations with these weights of an output channel can have, before the bias.
fn largest_sum(weights: &[i8]) -> i64 {
    let sum = |sign: i64| -> i64 { weights.iter().map(|w| (i64::from(*w) * sign).max(0)).sum() };
    255 * sum(1).max(sum(-1))
}

/// `BT x B` of a phase of a tile: from 16-bit activations whose rows and columns are `pitches` bytes apart, to points
/// `to_pitch` bytes apart.
///
/// # Safety
/// AVX2 is there; there are `IN`×`IN` places of `depth` activations (a multiple of 16), and room for as many values.
#[target_feature(enable = "avx2")]
unsafe fn transform_activations<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize>(
    from: *const u8,
    pitches: [usize; 2],
    depth: usize,
    to: *mut u8,
    to_pitch: usize,
) {
    for channel in (0..depth).step_by(16) {
        let mut half = [[_mm256_setzero_si256(); IN]; IN];
        // SAFETY: the caller's.
        unsafe {
            for column in 0..IN {
                let mut d = [_mm256_setzero_si256(); IN];
                for (row, d) in d.iter_mut().enumerate() {
                    *d = _mm256_loadu_si256(from.add(row * pitches[0] + column * pitches[1] + channel * 2).cast());
                }
                let d = S::bt(d);
                for row in 0..IN {
                    half[row][column] = d[row];
                }
            }
            for (row, half) in half.into_iter().enumerate() {
                for (column, value) in S::bt(half).into_iter().enumerate() {
                    _mm256_storeu_si256(to.add((row * IN + column) * to_pitch + channel * 2).cast(), value);
                }
            }
        }
    }
}

/// The outputs of a tile, bias added: from points `pitch` bytes apart, to rows of `vectors * 8` lanes `to_pitch`
/// numbers apart.
///
/// # Safety
/// AVX2 is there; there are `IN`×`IN` points, and room for `OUT`×`OUT` outputs.
#[target_feature(enable = "avx2")]
unsafe fn transform_sums<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize>(
    from: *const u8,
    pitch: usize,
    bias: *const i32,
    vectors: usize,
    to: *mut i32,
    to_pitch: usize,
) {
    let (inverse, shift) = (_mm256_set1_epi32(S::INVERSE), _mm_cvtsi32_si128(S::SHIFT));
    for vector in 0..vectors {
        let mut half = [[_mm256_setzero_si256(); IN]; OUT];
        // SAFETY: the caller's.
        unsafe {
            for column in 0..IN {
                let mut m = [_mm256_setzero_si256(); IN];
                for (row, m) in m.iter_mut().enumerate() {
                    *m = _mm256_loadu_si256(from.add((row * IN + column) * pitch + vector * 32).cast());
                }
                let m = S::at(m);
                for row in 0..OUT {
                    half[row][column] = m[row];
                }
            }
            let bias = _mm256_loadu_si256(bias.add(vector * 8).cast());
            for (row, half) in half.into_iter().enumerate() {
                for (column, mut sum) in S::at(half).into_iter().enumerate() {
                    if S::INVERSE != 1 {
                        sum = _mm256_mullo_epi32(sum, inverse);
                    }
                    let sum = _mm256_sra_epi32(sum, shift);
                    let to = to.add(row * to_pitch + (column * vectors + vector) * 8);
                    _mm256_storeu_si256(to.cast(), _mm256_add_epi32(sum, bias));
                }
            }
        }
    }
}

impl<S: Scheme<IN, OUT>, const IN: usize, const OUT: usize> PackedConv for Winograd<S, IN, OUT> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.bytes() + self.excess.bytes() + self.bias.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        self.own_scratch() + channels_scratch(self.epilogue.stride())
    }

    fn grain(&self) -> usize {
        OUT * self.output[1]
    }

    fn run(&self, input: &[u8], residual: Option<&[u8]>, output: &mut [u8], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.epilogue.stride());
        let (to, strips) = (Destination::Bytes(output), 0..self.strips.len());
        self.compute(input, residual, to, self.epilogue.map(), pixels, strips, scratch);
    }

    fn slices(&self) -> usize {
        self.strips.len()
    }

    fn slice(&self, slices: Range<usize>) -> Range<usize> {
        let start = |strip: usize| self.strips[..strip].iter().sum::<usize>() * Ymm::LANES;
        start(slices.start)..start(slices.end).min(self.epilogue.channels())
    }

    fn run_slices(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        output: &mut [u8],
        pixels: Range<usize>,
        slices: Range<usize>,
        scratch: &mut [u8],
    ) {
        let channels = self.slice(slices.clone());
        assert!(output.len() == pixels.len() * channels.len());
        let place = Place { first: channels.start, stride: channels.len() };
        self.compute(input, residual, Destination::Bytes(output), place, pixels, slices, scratch);
    }

    fn run_f32(&self, input: &[u8], output: &mut [f32], pixels: Range<usize>, scratch: &mut [u8]) {
        assert_eq!(output.len(), pixels.len() * self.epilogue.stride());
        let (to, strips) = (Destination::Floats(output), 0..self.strips.len());
        self.compute(input, None, to, self.epilogue.map(), pixels, strips, scratch);
    }

    fn run_channels(&self, input: &[u8], output: &mut [u8], channels: Range<usize>, scratch: &mut [u8]) {
        run_channels(self, self.epilogue.stride(), input, output, channels, scratch);
    }

    fn run_channels_f32(&self, input: &[u8], output: &mut [f32], channels: Range<usize>, scratch: &mut [u8]) {
        run_channels_f32(self, self.epilogue.stride(), input, output, channels, scratch);
    }
}
