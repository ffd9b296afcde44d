//! Convolutions with channels to sum over: direct, without a matrix of patches.
//!
//! A block of output pixels at a time, the part of the input under it is copied to scratch, where places outside the
//! map hold the zero point and each row of a window is one contiguous run of `columns * depth` activations. Tiles
//! of `M` pixels by `N` vectors of channels then walk these runs. The zero point is not subtracted: `-zero * sum of
//! weights` lies in the bias.

use std::ops::Range;

use crate::kernels::contract::{Conv, Destination};
use crate::kernels::x86_64::aligned::{Aligned, align, with_alignment};
use crate::kernels::x86_64::dense::saturation_split::{OverflowStep, split};
use crate::kernels::x86_64::dense::strip::{OverflowWeights, Pixel, Strip};
use crate::kernels::x86_64::dense::tiles::channels_of;
use crate::kernels::x86_64::dense::tiles::vector_bytes;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::epilogue::{Epilogue, Place};
use crate::kernels::x86_64::patch::{OVERRUN, Patch};
use crate::kernels::x86_64::vector::Vectors;

/// Bytes of copied input under a block where the weights stay in the L2 cache: the block stays in L1.
const SMALL_BLOCK: usize = 24 << 10;

/// Bytes of copied input where the weights come from the L3 cache or memory: a larger block reads them less often.
const LARGE_BLOCK: usize = 160 << 10;

/// Bytes of weights from which the large block pays.
const LARGE_WEIGHTS: usize = 256 << 10;

/// Most pixels of a block, small and large.
const BLOCK_PIXELS: [usize; 2] = [128, 256];

/// A dense convolution, or one group of a grouped one, packed for the set `S`.
#[derive(Debug)]
pub(crate) struct Direct<S: Dot> {
    simd: S,
    shape: Shape,
    /// Input channels that are summed over.
    depth: usize,
    /// Whether tiles read the input where it lies: one tap, no padding, no widening, whole steps.
    direct: bool,
    block: Block,
    /// Bytes from a pixel's first activation to each contiguous run of its window: its rows, or its taps where it is
    /// dilated sideways.
    runs: Vec<usize>,
    /// Steps of a run.
    steps: usize,
    /// Vectors of channels that each strip has.
    strips: Vec<usize>,
    /// `[strip][run][step][vector]`, each as [`Dot::pack`] lays out its lanes.
    weights: Aligned<u8>,
    /// What the weights were too large for.
    overflow_steps: OverflowSteps,
    /// One for each lane of all strips, with `-zero * sum of weights` and less what the steps add too much.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

/// Steps beside those of the runs, each of one vector.
#[derive(Debug)]
struct OverflowSteps {
    /// The first of each vector, and behind the last.
    first: Vec<usize>,
    /// Bytes from a pixel's first activation.
    offsets: Vec<u32>,
    /// As [`Direct::weights`].
    weights: Aligned<u8>,
}

/// Geometry with degenerate axes folded away: an unpadded 1×1 convolution of stride 1 is one row of
/// pixels, and along an axis where the window has one tap only the places under it are copied.
#[derive(Clone, Copy, Debug)]
struct Shape {
    patch: Patch,
    out_width: usize,
    /// Steps of the window, in copied places.
    step: [usize; 2],
    /// Copied places under a window.
    extent: [usize; 2],
}

/// The most that a block of pixels spans.
#[derive(Clone, Copy, Debug)]
struct Block {
    rows: usize,
    columns: usize,
    /// Bytes from one copied row to the next, and of all.
    pitch: usize,
    input_bytes: usize,
    /// Bytes of what lies between tiles and epilogue.
    middle_bytes: usize,
}

impl<S: Dot> Direct<S> {
    /// Bytes of a step's weights for a vector.
    const VECTOR: usize = vector_bytes::<S>();

    /// Packs group `group` of `conv`.
    pub fn new(simd: S, conv: &Conv, group: usize) -> Direct<S> {
        let [kh, kw] = conv.window.kernel;
        let depth = conv.input.channels / conv.groups;
        let channels = conv.output.channels / conv.groups;
        let shape = Shape::new(conv, group);

        let vectors = channels.div_ceil(S::V::LANES);
        let dilated = kw > 1 && conv.window.dilation[1] > 1;
        let taps_of_run = if dilated { 1 } else { kw };
        let steps = (taps_of_run * depth).div_ceil(S::STEP);
        let run_count = kh * kw / taps_of_run;
        let strips = S::strips_of(vectors, run_count, steps);
        let weight_bytes = vectors * run_count * steps * Self::VECTOR;
        let block = Block::new::<S>(&shape, conv, depth, weight_bytes, strips.iter().copied().max().unwrap_or(1));

        let step_bytes = depth * S::ELEMENT;
        let runs: Vec<usize> = (0..run_count)
            .map(|run| match dilated {
                true => {
                    (run / kw) * conv.window.dilation[0] * block.pitch
                        + (run % kw) * conv.window.dilation[1] * step_bytes
                }
                false => run * conv.window.dilation[0] * block.pitch,
            })
            .collect();

        let inside = [(conv.output.height, conv.input.height), (conv.output.width, conv.input.width)];
        let inside = (0..2).all(|axis| (inside[axis].0 - 1) * conv.window.stride[axis] < inside[axis].1);
        let direct = S::ELEMENT == 1
            && depth.is_multiple_of(S::STEP)
            && shape.extent == [1, 1]
            && shape.patch.pad == [0, 0]
            && inside;

        let first_channel = group * channels;
        let all = |channel: usize| &conv.weights[(first_channel + channel) * kh * kw * depth..][..kh * kw * depth];
        let lanes = S::V::LANES;
        // A vector's weights for the activations of a run, `[activation][lane]`; zeros beyond the end of the run and in
        // lanes without a channel.
        let weights_of_run = |vector: usize, run: usize, to: &mut [i16]| {
            to.fill(0);
            for lane in 0..lanes.min(channels.saturating_sub(vector * lanes)) {
                let from = &all(vector * lanes + lane)[run * taps_of_run * depth..][..taps_of_run * depth];
                for (place, weight) in from.iter().enumerate() {
                    to[place * lanes + lane] = i16::from(*weight);
                }
            }
        };
        let mut weights = Aligned::zeros(weight_bytes);
        let mut bias = Aligned::zeros(vectors * lanes);
        let (mut extra_offsets, mut extra_weights, mut first_extras) = (Vec::new(), Vec::new(), vec![0]);
        let (mut of_run, mut of_run_extra) = (vec![0; steps * S::STEP * lanes], Vec::new());
        let mut first_vector = 0;
        for &width in &strips {
            for vector in first_vector..first_vector + width {
                for run in 0..run_count {
                    weights_of_run(vector, run, &mut of_run);
                    for (lane, bias) in bias[vector * lanes..][..lanes].iter_mut().enumerate() {
                        let sum: i32 = of_run[lane..].iter().step_by(lanes).map(|w| i32::from(*w)).sum();
                        *bias = i32::wrapping_sub(*bias, i32::from(conv.input_zero) * sum);
                    }
                    if S::SPLITS {
                        split(&mut of_run, &mut of_run_extra);
                    }
                    for OverflowStep { place, weights } in &of_run_extra {
                        extra_offsets.push((runs[run] + place * S::ELEMENT) as u32);
                        let first = extra_weights.len();
                        extra_weights.resize(first + Self::VECTOR, 0);
                        for (lane, weights) in weights.iter().enumerate() {
                            S::pack(*weights, lane, &mut extra_weights[first..]);
                        }
                    }
                    for step in 0..steps {
                        let at =
                            first_vector * run_count * steps + (run * steps + step) * width + vector - first_vector;
                        let to = &mut weights[at * Self::VECTOR..][..Self::VECTOR];
                        for lane in 0..lanes {
                            let of_step = |i| if i < S::STEP { of_run[(step * S::STEP + i) * lanes + lane] } else { 0 };
                            let weights = std::array::from_fn(of_step);
                            S::pack(weights, lane, to);
                            let bias = &mut bias[vector * lanes + lane];
                            *bias = i32::wrapping_sub(*bias, S::weight_products(weights));
                        }
                    }
                }
                first_extras.push(extra_offsets.len());
            }
            first_vector += width;
        }
        for (to, bias) in bias.iter_mut().zip(&conv.bias[first_channel..first_channel + channels]) {
            *to = to.wrapping_add(*bias);
        }
        Direct {
            simd,
            shape,
            depth,
            direct,
            block,
            runs,
            steps,
            strips,
            weights,
            overflow_steps: OverflowSteps {
                first: first_extras,
                offsets: extra_offsets,
                weights: Aligned::padded(extra_weights.len(), extra_weights.iter().copied()),
            },
            bias,
            epilogue: Epilogue::new(conv, first_channel..first_channel + channels, vectors * S::V::LANES),
        }
    }

    /// Pixels by channels of the layer's commonest tile.
    pub fn tile(&self) -> String {
        let vectors = self.strips[0];
        format!("{}x{}", S::pixels_of(vectors, self.runs.len(), self.steps), vectors * S::V::LANES)
    }

    /// Pixels that are computed together: rows, as parts of two rows are two blocks, each of which reads all weights.
    pub fn grain(&self) -> usize {
        let flat = self.shape.patch.input[0] == 1;
        if flat { 1 } else { self.shape.out_width }
    }

    /// Bytes of weights, bias and multipliers.
    pub fn weights_bytes(&self) -> usize {
        let overflow_steps = self.overflow_steps.weights.bytes() + self.overflow_steps.offsets.len() * size_of::<u32>();
        self.weights.bytes() + overflow_steps + self.bias.bytes() + self.epilogue.bytes()
    }

    /// The extra steps of a vector.
    fn overflow(&self, vector: usize) -> OverflowWeights<'_> {
        let range = self.overflow_steps.first[vector]..self.overflow_steps.first[vector + 1];
        let weights = self.overflow_steps.weights[range.start * Self::VECTOR..][..range.len() * Self::VECTOR].as_ptr();
        OverflowWeights { offsets: &self.overflow_steps.offsets[range], weights }
    }

    /// Bytes of scratch.
    pub fn scratch_bytes(&self) -> usize {
        let pixels = self.block.rows * self.block.columns * size_of::<Pixel>();
        with_alignment(self.block.input_bytes + self.block.middle_bytes + pixels)
    }

    /// Strips of channels.
    pub fn strips(&self) -> usize {
        self.strips.len()
    }

    /// The channels of strips, among those of the group.
    pub fn channels_of(&self, strips: &Range<usize>) -> Range<usize> {
        channels_of::<S::V>(&self.strips, strips, self.epilogue.channels())
    }

    /// Computes `pixels`; `to` begins at the first of them.
    pub fn run(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        to: Destination,
        pixels: Range<usize>,
        scratch: &mut [u8],
    ) {
        self.run_strips(input, residual, to, self.epilogue.map(), pixels, 0..self.strips.len(), scratch);
    }

    /// Computes the channels of `strips`, which lie in `to` as `place` says.
    pub fn run_strips(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        place: Place,
        pixels: Range<usize>,
        strips: Range<usize>,
        scratch: &mut [u8],
    ) {
        assert!(scratch.len() >= self.scratch_bytes());
        let width = self.shape.out_width;
        let (copied, rest) = align(scratch).split_at_mut(self.block.input_bytes);
        let (middle, block_pixels) = rest.split_at_mut(self.block.middle_bytes);
        // SAFETY: a pixel is numbers of which every pattern of bits is one; `align_to` sees to the alignment, and as
        // the sizes before are multiples of a line nothing is lost.
        let block_pixels = unsafe { block_pixels.align_to_mut::<Pixel>().1 };
        let mut at = pixels.start;
        let mut offsets_of = None;
        while at < pixels.end {
            let (y, x) = (at / width, at % width);
            let left = pixels.end - at;
            // Part of a row, or some whole rows.
            let (rows, columns) = match x == 0 && left >= width && self.block.columns == width {
                true => ((left / width).min(self.block.rows), width),
                false => (1, left.min(width - x).min(self.block.columns)),
            };
            let patch = &self.shape.patch;
            let (source, down, right) = if self.direct {
                let place = y * patch.every[0] * patch.input[1] + x * patch.every[1];
                let down = patch.every[0] * patch.input[1] * patch.stride;
                (&input[place * patch.stride + patch.first..], down, patch.every[1] * patch.stride)
            } else {
                let span = |axis: usize, count: usize| (count - 1) * self.shape.step[axis] + self.shape.extent[axis];
                let first = [y * self.shape.step[0], x * self.shape.step[1]];
                patch.copy::<S>(input, first, [span(0, rows), span(1, columns)], self.block.pitch, copied);
                let [down, right] = self.shape.step;
                (&*copied, down * self.block.pitch, right * self.depth * S::ELEMENT)
            };
            assert!(source.len() >= (rows - 1) * down + (columns - 1) * right + self.depth);
            let block_pixels = &mut block_pixels[..rows * columns];
            // Blocks of one size have the same offsets.
            if offsets_of != Some([rows, columns]) {
                offsets_of = Some([rows, columns]);
                for (row, pixels) in block_pixels.chunks_exact_mut(columns).enumerate() {
                    for (column, pixel) in pixels.iter_mut().enumerate() {
                        pixel.offset = (row * down + column * right) as u32;
                    }
                }
            }
            if !S::EXACT {
                // SAFETY: a value of `S` exists; `Block::new` sized the copy for every pixel and run.
                unsafe { S::correction(source.as_ptr(), block_pixels, &self.runs, self.steps) };
            }
            let to = to.part((at - pixels.start) * place.stride);
            self.block(source, block_pixels, residual, at, to, place, strips.clone(), middle);
            at += rows * columns;
        }
    }

    /// Computes channels of the pixels of a block from its input.
    fn block(
        &self,
        source: &[u8],
        block_pixels: &[Pixel],
        residual: Option<&[u8]>,
        first_pixel: usize,
        mut to: Destination,
        place: Place,
        strips: Range<usize>,
        middle: &mut [u8],
    ) {
        let pixels = block_pixels.len();
        let run_bytes = self.runs.len() * self.steps * Self::VECTOR;
        let mut first_vector = self.strips[..strips.start].iter().sum::<usize>();
        for &vectors in &self.strips[strips] {
            let lanes = first_vector * S::V::LANES..(first_vector + vectors) * S::V::LANES;
            let target = self.epilogue.target(&lanes, pixels, first_pixel, residual, place, &mut to, middle);
            let strip = Strip {
                input: source.as_ptr(),
                pixels: block_pixels,
                runs: &self.runs,
                steps: self.steps,
                vectors,
                weights: self.weights[first_vector * run_bytes..][..vectors * run_bytes].as_ptr(),
                overflow: std::array::from_fn(|i| {
                    if S::SPLITS && i < vectors { self.overflow(first_vector + i) } else { OverflowWeights::NONE }
                }),
                ahead: (vectors * run_bytes).min(self.weights.len() - (first_vector + vectors) * run_bytes),
                bias: self.bias[lanes.clone()].as_ptr(),
                target,
            };
            // SAFETY: a value of `S` exists. `Block::new` sized the copy for every offset and run with OVERRUN to
            // spare, the weights and biases of the strip were sliced, and the target holds all pixels.
            unsafe {
                if !S::few_steps(&strip) {
                    S::strip(&strip)
                }
            };
            self.epilogue.finish(self.simd.avx2(), &lanes, pixels, first_pixel, residual, place, &mut to, middle);
            first_vector += vectors;
        }
    }
}

impl Shape {
    fn new(conv: &Conv, group: usize) -> Shape {
        let window = conv.window;
        let depth = conv.input.channels / conv.groups;
        let (mut input, mut out_width) = ([conv.input.height, conv.input.width], conv.output.width);
        if window.kernel == [1, 1]
            && window.stride == [1, 1]
            && window.pad == [0, 0]
            && conv.output.pixels() == conv.input.pixels()
        {
            (input, out_width) = ([1, input[0] * input[1]], conv.output.pixels());
        }
        let single = window.kernel.map(|taps| taps == 1);
        let per_axis = |of: &dyn Fn(usize) -> usize| [of(0), of(1)];
        Shape {
            patch: Patch {
                input,
                stride: conv.input.stride,
                first: group * depth,
                depth,
                zero: conv.input_zero,
                every: per_axis(&|a| if single[a] { window.stride[a] } else { 1 }),
                pad: window.pad,
            },
            out_width,
            step: per_axis(&|a| if single[a] { 1 } else { window.stride[a] }),
            extent: per_axis(&|a| (window.kernel[a] - 1) * window.dilation[a] + 1),
        }
    }
}

impl Block {
    /// The largest block within the bounds; at least a row's part of one pixel.
    fn new<S: Dot>(shape: &Shape, conv: &Conv, depth: usize, weight_bytes: usize, vectors: usize) -> Block {
        let large = usize::from(weight_bytes >= LARGE_WEIGHTS);
        let budget = [SMALL_BLOCK, LARGE_BLOCK][large];
        let most_pixels = BLOCK_PIXELS[large];
        let height = conv.output.pixels() / shape.out_width;
        let pitch = |columns: usize| {
            let positions = (columns - 1) * shape.step[1] + shape.extent[1];
            (positions * depth * S::ELEMENT + OVERRUN).next_multiple_of(OVERRUN)
        };
        let rows_in = |rows: usize| (rows - 1) * shape.step[0] + shape.extent[0];
        let bytes = |rows: usize, columns: usize| rows_in(rows) * pitch(columns);

        let (mut rows, mut columns) = (1, shape.out_width);
        // A part of a row is a whole number of the tiles that divide best: 12 pixels are 2 × 6 and 3 × 4.
        while columns > 12 && (columns > most_pixels || bytes(1, columns) > budget) {
            columns = if columns > 24 { (columns / 2).next_multiple_of(12) } else { 12 };
        }
        if columns == shape.out_width {
            while rows < height && (rows + 1) * columns <= most_pixels && bytes(rows + 1, columns) <= budget {
                rows += 1;
            }
            // Blocks of about the same size: 28 rows by 14 and 14, not by 20 and 8.
            rows = height.div_ceil(height.div_ceil(rows));
        }
        let middle_bytes = (rows * columns * vectors * S::V::LANES * 4).next_multiple_of(OVERRUN);
        Block { rows, columns, pitch: pitch(columns), input_bytes: bytes(rows, columns), middle_bytes }
    }
}
