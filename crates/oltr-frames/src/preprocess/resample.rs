//! Antialiased bilinear resampling of 8-bit pixels, planned once.
//!
//! Computes the same as Pillow's `Image.resize` with `BILINEAR`, bit for bit, because the networks were trained on its
//! result: a triangle filter as wide as the reduction, weights in 22-bit fixed point, first along the rows, rounded to
//! 8 bits, then along the columns.
//!
//! The crate fast_image_resize was tried first. From 1280×720 to 224×224 it takes a third of the time. But it filters
//! the columns first, which changes a seventh of the values by 1, and it computes the weights again for every frame,
//! with hundreds of allocations.

use std::ops::Range;

use multiversion::multiversion;

/// Fraction bits of a weight: 8 bits of pixel and 22 of weight leave 2 of 32 for the sum and the sign.
pub const FRACTION: u32 = 32 - 8 - 2;

/// One half, added before the fraction is dropped.
pub const HALF: i32 = 1 << (FRACTION - 1);

/// A part of one axis: its borders, and the number of output pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Pixels of the source.
    pub input: u32,
    /// Start of the part, at least 0.
    pub from: f32,
    /// End of the part: greater than `from`, at most `input`.
    pub to: f32,
    /// Pixels that it becomes, at least 1.
    pub output: u32,
}

/// Size for which memory is reserved: parts of a picture of `columns` × `rows` that become at most `output` pixels in
/// each direction.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub columns: usize,
    pub rows: usize,
    pub output: usize,
}

/// Reserves `len` elements in `vec`.
pub fn reserve<T>(vec: &mut Vec<T>, len: usize) {
    vec.reserve_exact(len.saturating_sub(vec.len()));
}

/// Rows that are narrowed together: a vector of 32-bit sums on the widest machines.
const ROWS: usize = 8;

/// Resamples planes of one geometry, of 1 to 4 interleaved channels.
#[derive(Clone, Debug, Default)]
pub struct Resampler {
    channels: usize,
    /// Source columns to output columns.
    columns: Axis,
    /// Source rows to output rows.
    rows: Axis,
    /// The needed part of `ROWS` source rows, transposed: (needed columns, channels, ROWS).
    block: Vec<[u8; ROWS]>,
    /// Those rows narrowed: (output columns, channels, ROWS).
    narrowed_block: Vec<[u8; ROWS]>,
    /// All needed source rows narrowed: (needed rows, output columns, channels).
    narrowed: Vec<u8>,
    /// Sums of one output row: (output columns, channels).
    sums: Vec<i32>,
}

impl Resampler {
    /// Plans for the part `columns` × `rows` of planes of `channels` (1 to 4). Reuses the last plan's memory.
    pub fn plan(&mut self, channels: usize, columns: Span, rows: Span) {
        self.columns.plan(columns);
        self.rows.plan(rows);
        let width = self.columns.len() * channels;
        self.channels = channels;
        self.block.resize(self.columns.needs().len() * channels, [0; ROWS]);
        self.narrowed_block.resize(width, [0; ROWS]);
        self.narrowed.resize(self.rows.needs().len() * width, 0);
        self.sums.resize(width, 0);
    }

    /// Takes memory for plans of any part of `room`, so that they take none.
    pub fn reserve(&mut self, channels: usize, room: Room) {
        let width = room.output * channels;
        self.columns.reserve(room.columns, room.output);
        self.rows.reserve(room.rows, room.output);
        reserve(&mut self.block, room.columns * channels);
        reserve(&mut self.narrowed_block, width);
        reserve(&mut self.narrowed, room.rows * width);
        reserve(&mut self.sums, width);
    }

    /// Bytes of memory that the plan and its buffers take.
    pub fn bytes(&self) -> usize {
        let blocks = self.block.capacity() + self.narrowed_block.capacity();
        let sums = self.sums.capacity() * size_of::<i32>();
        self.columns.bytes() + self.rows.bytes() + blocks * ROWS + self.narrowed.capacity() + sums
    }

    /// Resamples `plane`, rows `stride` bytes apart, into `out`, rows `out_stride` bytes apart.
    ///
    /// # Panics
    /// If either slice is too short for the geometry that was planned for.
    pub fn run(&mut self, plane: &[u8], stride: usize, out: &mut [u8], out_stride: usize) {
        match self.channels {
            1 => resample_1(self, plane, stride, out, out_stride),
            2 => resample_2(self, plane, stride, out, out_stride),
            3 => resample_3(self, plane, stride, out, out_stride),
            4 => resample_4(self, plane, stride, out, out_stride),
            n => unreachable!("a plane of {n} channels"),
        }
    }

    #[inline(always)]
    fn resample<const C: usize>(&mut self, plane: &[u8], stride: usize, out: &mut [u8], out_stride: usize) {
        let (needed, needed_columns) = (self.rows.needs(), self.columns.needs());
        let row = |y: usize| &plane[y * stride + needed_columns.start * C..y * stride + needed_columns.end * C];
        let width = self.sums.len();
        for (n, narrowed) in self.narrowed.chunks_mut(ROWS * width).enumerate() {
            // The last block repeats the last row, and the repeated results are dropped.
            let first = needed.start + n * ROWS;
            let rows = std::array::from_fn(|r| row((first + r).min(needed.end - 1)));
            transpose(rows, &mut self.block);
            narrow::<C>(&self.columns, &self.block, &mut self.narrowed_block);
            for (r, row) in narrowed.chunks_exact_mut(width).enumerate() {
                for (to, from) in row.iter_mut().zip(&self.narrowed_block) {
                    *to = from[r];
                }
            }
        }
        for (window, out) in self.rows.windows.iter().zip(out.chunks_mut(out_stride)) {
            let rows = self.narrowed[(window.start - needed.start) * width..].chunks_exact(width);
            weigh_rows(rows.zip(self.rows.weights(window)), &mut self.sums, &mut out[..width]);
        }
    }
}

// The compiler vectorises the loops below. AVX2 is the instruction set beyond the baseline that multiplies 32-bit
// integers well. Integer arithmetic gives the same result on all sets.

#[multiversion(targets("x86_64+avx2"))]
fn resample_1(resampler: &mut Resampler, plane: &[u8], stride: usize, out: &mut [u8], out_stride: usize) {
    resampler.resample::<1>(plane, stride, out, out_stride);
}

#[multiversion(targets("x86_64+avx2"))]
fn resample_2(resampler: &mut Resampler, plane: &[u8], stride: usize, out: &mut [u8], out_stride: usize) {
    resampler.resample::<2>(plane, stride, out, out_stride);
}

#[multiversion(targets("x86_64+avx2"))]
fn resample_3(resampler: &mut Resampler, plane: &[u8], stride: usize, out: &mut [u8], out_stride: usize) {
    resampler.resample::<3>(plane, stride, out, out_stride);
}

#[multiversion(targets("x86_64+avx2"))]
fn resample_4(resampler: &mut Resampler, plane: &[u8], stride: usize, out: &mut [u8], out_stride: usize) {
    resampler.resample::<4>(plane, stride, out, out_stride);
}

/// Transposes the samples of all `rows`, column by column.
#[inline(always)]
fn transpose(rows: [&[u8]; ROWS], block: &mut [[u8; ROWS]]) {
    let rows = rows.map(|row| &row[..block.len()]);
    for (x, column) in block.iter_mut().enumerate() {
        *column = std::array::from_fn(|r| rows[r][x]);
    }
}

/// Resamples along the rows: `block` (needed columns, C) to `out` (output columns, C), each element a column of rows.
#[inline(always)]
fn narrow<const C: usize>(axis: &Axis, block: &[[u8; ROWS]], out: &mut [[u8; ROWS]]) {
    let (block, _) = block.as_chunks::<C>();
    let (out, _) = out.as_chunks_mut::<C>();
    let first = axis.needs().start;
    for (pixel, window) in out.iter_mut().zip(&axis.windows) {
        let mut sums = [[HALF; ROWS]; C];
        for (column, weight) in block[window.start - first..].iter().zip(axis.weights(window)) {
            for (sums, samples) in sums.iter_mut().zip(column) {
                for (sum, sample) in sums.iter_mut().zip(samples) {
                    *sum += i32::from(*sample) * weight;
                }
            }
        }
        // Not by `map`, which would be compiled apart from this and without its instructions.
        for (column, sums) in pixel.iter_mut().zip(&sums) {
            for (byte, sum) in column.iter_mut().zip(sums) {
                *byte = to_byte(*sum);
            }
        }
    }
}

/// The weighted sum of `rows`, as bytes in `out`.
#[inline(always)]
fn weigh_rows<'a>(rows: impl Iterator<Item = (&'a [u8], &'a i32)>, sums: &mut [i32], out: &mut [u8]) {
    sums.fill(HALF);
    for (row, weight) in rows {
        for (sum, p) in sums.iter_mut().zip(row) {
            *sum += i32::from(*p) * weight;
        }
    }
    for (p, sum) in out.iter_mut().zip(sums) {
        *p = to_byte(*sum);
    }
}

/// The window of one output pixel: consecutive input pixels and their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// First input pixel.
    start: usize,
    /// Index of its first weight in [`Axis::weights`].
    weights: usize,
    /// Number of input pixels, at least 1.
    len: usize,
}

/// Resampling along one axis: for each output pixel its window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Axis {
    windows: Vec<Window>,
    weights: Vec<i32>,
}

impl Axis {
    /// Plans the windows of a part of an axis. Reuses the last plan's memory.
    pub fn plan(&mut self, Span { input, from, to, output }: Span) {
        // The difference in f32, the rest in f64: as in the training code, so that weights round the same way.
        let scale = f64::from(to - from) / f64::from(output);
        let support = scale.max(1.0);
        let per_pixel = 1.0 / support;
        let longest = (support.ceil() as usize * 2 + 1).min(input as usize);
        self.windows.clear();
        self.weights.clear();
        reserve(&mut self.windows, output as usize);
        reserve(&mut self.weights, output as usize * longest);
        for x in 0..output {
            let center = f64::from(from) + (f64::from(x) + 0.5) * scale;
            // Casts saturate at 0: a window cannot begin before the first pixel.
            let start = (center - support + 0.5) as u32;
            let end = ((center + support + 0.5) as u32).min(input);
            // Computed twice instead of stored, so that a plan needs no other memory.
            let weights = || (start..end).map(|i| triangle((f64::from(i) - center + 0.5) * per_pixel));
            let sum: f64 = weights().sum();
            let window = Window { start: start as usize, weights: self.weights.len(), len: weights().len() };
            self.windows.push(window);
            self.weights.extend(weights().map(|w| (w / sum * f64::from(1 << FRACTION) + 0.5) as i32));
        }
    }

    /// Takes memory for plans of up to `input` pixels that become up to `output`.
    pub fn reserve(&mut self, input: usize, output: usize) {
        reserve(&mut self.windows, output);
        reserve(&mut self.weights, most_weights(input, output));
    }

    /// The windows in order: first input pixel, and weights with [`FRACTION`] bits of fraction.
    pub fn windows(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.windows.iter().map(|w| (w.start, self.weights(w)))
    }

    /// Input pixels of the longest window.
    pub fn longest(&self) -> usize {
        self.windows.iter().map(|w| w.len).max().unwrap_or(0)
    }

    /// Number of output pixels.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// The input pixels that any output pixel needs.
    fn needs(&self) -> Range<usize> {
        let start = self.windows.first().map_or(0, |w| w.start);
        start..self.windows.last().map_or(0, |w| w.start + w.len)
    }

    /// Bytes of the plan.
    pub fn bytes(&self) -> usize {
        self.windows.capacity() * size_of::<Window>() + self.weights.capacity() * size_of::<i32>()
    }

    #[inline(always)]
    fn weights(&self, window: &Window) -> &[i32] {
        &self.weights[window.weights..window.weights + window.len]
    }
}

/// Most weights of an axis from up to `input` to up to `output` pixels: a window is as wide as twice the reduction,
/// rounded up, plus one.
pub fn most_weights(input: usize, output: usize) -> usize {
    2 * input + 3 * output
}

/// The bilinear kernel: 1 at 0, 0 at ±1 and beyond.
fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Weights are positive and sum to 1 but for their rounding, so that only the upper end needs care.
#[inline(always)]
pub fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION).min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampler(channels: usize, width: u32, height: u32) -> Resampler {
        let columns = Span { input: width, from: 1.25, to: width as f32 - 0.5, output: 19 };
        let rows = Span { input: height, from: 0.0, to: height as f32, output: 11 };
        let mut resampler = Resampler::default();
        resampler.plan(channels, columns, rows);
        resampler
    }

    /// The baseline must compute the same as the instruction sets of this machine.
    #[test]
    fn every_instruction_set_computes_the_same() {
        for (width, height) in [(64, 48), (65, 9), (7, 8), (3, 1)] {
            let plane: Vec<u8> = (0..width * height * 4).map(|i| (i * i % 251) as u8).collect();
            let check = |channels: usize, portable: fn(&mut Resampler, &[u8], usize, &mut [u8])| {
                let (stride, length) = (width as usize * channels, 11 * 19 * channels);
                let (mut fast, mut plain) = (vec![0; length], vec![1; length]);
                resampler(channels, width, height).run(&plane, stride, &mut fast, 19 * channels);
                portable(&mut resampler(channels, width, height), &plane, stride, &mut plain);
                assert!(fast == plain, "{channels} channels, {width}x{height}");
            };
            check(1, |r, plane, stride, out| r.resample::<1>(plane, stride, out, 19));
            check(2, |r, plane, stride, out| r.resample::<2>(plane, stride, out, 38));
            check(3, |r, plane, stride, out| r.resample::<3>(plane, stride, out, 57));
            check(4, |r, plane, stride, out| r.resample::<4>(plane, stride, out, 76));
        }
    }

    #[test]
    fn channels_do_not_mix() {
        let gray: Vec<u8> = (0..64 * 48).map(|i| (i * 7 % 256) as u8).collect();
        let pairs: Vec<u8> = gray.iter().flat_map(|g| [*g, 255 - *g]).collect();
        let (mut one, mut two) = (vec![0; 11 * 19], vec![0; 11 * 19 * 2]);
        resampler(1, 64, 48).run(&gray, 64, &mut one, 19);
        resampler(2, 64, 48).run(&pairs, 128, &mut two, 38);
        assert!(two.iter().step_by(2).eq(&one));
        // The inverse rounds the other way, so it may differ by 1 in each direction of resampling.
        assert!(two.iter().skip(1).step_by(2).zip(&one).all(|(a, b)| a.abs_diff(255 - b) <= 2));
    }
}
