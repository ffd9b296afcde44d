//! Fully connected layers, and other convolutions with one output pixel: products of a matrix and a vector.
//!
//! Each weight is used once, so reading them is what takes the time: they stay bytes in memory, row by row, and where the
//! set multiplies wider numbers they are widened on the way. The input is copied, and widened, once. Rows are multiplied
//! four at a time from four places far apart: processors fetch each stream by itself, so that four come faster than one.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::contract::{Conv, Cuts, Destination, Job, PackedConv, Storage};
use crate::kernels::x86_64::aligned::{ALIGN, Aligned, align, with_alignment};
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::epilogue::Epilogue;
use crate::kernels::x86_64::patch::{OVERRUN, Patch};

/// Rows of the matrix that share the loads of the input, each a stream of its own.
pub(crate) const ROWS: usize = 4;

/// Bytes of each stream that are fetched ahead.
const AHEAD: usize = 512;

/// Sums along rows of a matrix.
///
/// # Safety
/// Callers of the methods promise ENABLED and STREAM; see [`crate::kernels::safety`].
pub(crate) unsafe trait Matvec: Dot {
    /// The algorithm, in the names of kernels.
    const ROWS_KIND: &'static str;

    /// Weights of each row in a step.
    const WIDTH: usize;

    /// Running sums of a row, in as many lanes as the set likes.
    type Lanes: Copy;

    /// Zeros.
    unsafe fn no_sums() -> Self::Lanes;

    /// `sums` plus the products of [`Matvec::WIDTH`] copied activations and weights; both lie on whole vectors.
    unsafe fn accumulate(sums: Self::Lanes, x: *const u8, weights: *const i8) -> Self::Lanes;

    /// The sum over the lanes of each row.
    unsafe fn totals(rows: [Self::Lanes; ROWS]) -> [i32; ROWS];

    /// [`rows`] of [`ROWS`] rows, or of one, in a function that enables the instructions.
    unsafe fn rows(stream: &Stream, all: bool) -> [i32; ROWS];
}

/// What the sums of some rows are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Each row's first weights.
    weights: [*const i8; ROWS],
    copied: *const u8,
    /// Rows of the window, and the bytes from one of its copies to the next.
    window_rows: usize,
    pitch: usize,
    steps: usize,
}

/// The sums of the first `N` of the rows; zeros for the others.
///
/// # Safety
/// ENABLED and STREAM. The instructions of `S` are enabled in the caller; weights and copy hold all rows of the window.
#[inline(always)]
pub(crate) unsafe fn rows<S: Matvec, const N: usize>(stream: &Stream) -> [i32; ROWS] {
    // SAFETY: ENABLED and STREAM.
    unsafe {
        let mut sums = [S::no_sums(); ROWS];
        let mut weights = stream.weights;
        for window_row in 0..stream.window_rows {
            let mut x = stream.copied.add(window_row * stream.pitch);
            for step in 0..stream.steps {
                // Each line once: steps of half a line see to two of the streams in turn.
                let lines = N * S::WIDTH / ALIGN;
                for line in 0..lines {
                    let row = weights[(step * lines + line) % N];
                    _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(AHEAD + line / N * ALIGN));
                }
                for n in 0..N {
                    sums[n] = S::accumulate(sums[n], x, weights[n]);
                    weights[n] = weights[n].add(S::WIDTH);
                }
                x = x.add(S::WIDTH * S::ELEMENT);
            }
        }
        S::totals(sums)
    }
}

/// A layer of one output pixel, packed.
#[derive(Debug)]
pub(crate) struct MatrixVector<S: Matvec> {
    simd: S,
    name: String,
    patch: Patch,
    /// Height and width of the window.
    kernel: [usize; 2],
    /// Steps of a row of the window.
    steps: usize,
    channels: usize,
    /// `[channel][row of the window][step][Matvec::WIDTH]`. Zeros behind the end of a row of the window.
    weights: Aligned<i8>,
    /// `-zero * sum of weights` included.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

impl<S: Matvec> MatrixVector<S> {
    /// Packs `conv` if it is such a layer.
    pub fn new(simd: S, conv: &Conv) -> Option<MatrixVector<S>> {
        let window = conv.window;
        (conv.output.pixels() == 1 && conv.groups == 1 && window.dilation == [1, 1]).then(|| {
            let [kh, kw] = window.kernel;
            let row = kw * conv.input.channels;
            let steps = row.div_ceil(S::WIDTH);
            let channels = conv.output.channels;
            let mut weights = Aligned::zeros(channels * kh * steps * S::WIDTH);
            for (to, row) in weights.chunks_exact_mut(steps * S::WIDTH).zip(conv.weights.chunks_exact(row)) {
                to[..row.len()].copy_from_slice(row);
            }
            let bias = conv.weights.chunks_exact(kh * row).zip(&conv.bias).map(|(weights, bias)| {
                let sum: i32 = weights.iter().map(|w| i32::from(*w)).sum();
                bias.wrapping_sub(i32::from(conv.input_zero) * sum)
            });
            MatrixVector {
                simd,
                name: format!(
                    "matvec_u8s8{}_{}_1x{ROWS}__{}",
                    conv.result.dtype(Storage::Unsigned),
                    S::ROWS_KIND,
                    S::ISA
                ),
                patch: Patch {
                    input: [conv.input.height, conv.input.width],
                    stride: conv.input.stride,
                    first: 0,
                    depth: conv.input.channels,
                    zero: conv.input_zero,
                    every: [1, 1],
                    pad: window.pad,
                },
                kernel: window.kernel,
                steps,
                channels,
                weights,
                bias: Aligned::padded(channels, bias),
                // Eight lanes more, as a part of the channels may begin anywhere.
                epilogue: Epilogue::new(conv, 0..channels, channels.next_multiple_of(8) + 8),
            }
        })
    }

    /// Bytes from one copied row of the window to the next.
    fn pitch(&self) -> usize {
        (self.steps * S::WIDTH * S::ELEMENT + OVERRUN).next_multiple_of(OVERRUN)
    }

    /// The sums of channels `channels`, at the start of scratch.
    fn sums<'a>(&self, input: &[u8], channels: Range<usize>, scratch: &'a mut [u8]) -> &'a [i32] {
        assert!(scratch.len() >= self.scratch_bytes() && channels.end <= self.channels);
        let pitch = self.pitch();
        let (copied, sums) = align(scratch).split_at_mut(self.kernel[0] * pitch);
        // SAFETY: every pattern of bits is a number; `align_to_mut` sees to the alignment.
        let sums = unsafe { sums.align_to_mut::<i32>().1 };
        self.patch.copy::<S>(input, [0, 0], self.kernel, pitch, copied);
        let row_bytes = self.kernel[0] * self.steps * S::WIDTH;
        let first = self.weights[channels.start * row_bytes..channels.end * row_bytes].as_ptr();
        // As many rows one after the other as each stream has; then what is left.
        let (each, left) = (channels.len() / ROWS, channels.len() % ROWS);
        let four = (0..each).map(|i| (std::array::from_fn(|n| n * each + i), true));
        let one = (0..left).map(|i| ([ROWS * each + i; ROWS], false));
        for (indices, all) in four.chain(one) {
            let stream = Stream {
                weights: indices.map(|number| first.wrapping_add(number * row_bytes)),
                copied: copied.as_ptr(),
                window_rows: self.kernel[0],
                pitch,
                steps: self.steps,
            };
            // SAFETY: a value of `S` exists; weights and copy hold all rows of the window.
            let totals = unsafe { S::rows(&stream, all) };
            for (number, total) in indices.into_iter().zip(totals).take(if all { ROWS } else { 1 }) {
                sums[number] = total.wrapping_add(self.bias[channels.start + number]);
            }
        }
        sums
    }

    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        channels: Range<usize>,
        scratch: &mut [u8],
    ) {
        let sums = self.sums(input, channels.clone(), scratch);
        self.epilogue.finish_channels(self.simd.avx2(), channels, residual, &mut to, sums);
    }
}

impl<S: Matvec> PackedConv for MatrixVector<S> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        with_alignment(self.kernel[0] * self.pitch() + (self.channels + 16) * size_of::<i32>())
    }

    fn cuts(&self) -> Cuts<'_> {
        Cuts::Anywhere
    }

    fn run(&self, job: Job) {
        let stride = job.channels.as_ref().map_or(self.epilogue.stride(), Range::len);
        assert_eq!(job.output.len(), job.pixels.len() * stride);
        if !job.pixels.is_empty() {
            let channels = job.channels.unwrap_or(0..self.channels);
            self.compute(job.input, job.residual, job.output, channels, job.scratch);
        }
    }
}
