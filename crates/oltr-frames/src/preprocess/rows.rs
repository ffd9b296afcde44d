//! Resamples a decoder's rows of a photo to the model's input, without the whole picture in memory.
//!
//! The result equals [`Preprocessor`](super::Preprocessor) on the whole upright photo, bit for bit: first along the
//! upright rows, rounded to 8 bits, then along the columns. If a photo is stored on its side, its upright rows are
//! columns of the file. Then the file's rows are summed first, over their whole width, and the result is narrowed.

use image::metadata::Orientation;
use multiversion::multiversion;

use super::geometry::{Placement, SourceBox};
use super::resample::{Axis, HALF, Span, to_byte};
use super::settings::{Preprocess, Resize};
use crate::error::Result;

/// Weights that are taken together. Windows are padded with zeros to a multiple of it. TAPS − 1 bytes after a row must
/// be readable.
const TAPS: usize = 8;

/// Bytes of a line that are summed together, in registers.
const LANES: usize = 32;

/// A photo as its file holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stored {
    /// Pixels of the whole photo.
    pub width: u32,
    pub height: u32,
    /// Pixels of the original for one pixel of the decoder, along a side.
    pub reduced: u32,
    /// How it is turned upright.
    pub orientation: Orientation,
}

impl Stored {
    /// Whether width and height are swapped.
    fn is_on_its_side(self) -> bool {
        use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
        matches!(self.orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
    }

    /// Whether the upright columns and rows run in reverse to the file's.
    fn reversed(self) -> (bool, bool) {
        match self.orientation {
            Orientation::NoTransforms | Orientation::Rotate90FlipH => (false, false),
            Orientation::FlipHorizontal | Orientation::Rotate90 => (true, false),
            Orientation::FlipVertical | Orientation::Rotate270 => (false, true),
            Orientation::Rotate180 | Orientation::Rotate270FlipH => (true, true),
        }
    }

    /// Width and height upright.
    pub fn upright(self) -> (u32, u32) {
        if self.is_on_its_side() { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// Resamples the rows of one photo after another. Reuses its memory.
#[derive(Clone, Debug)]
pub(crate) struct RowResampler {
    stored: Stored,
    placement: Placement,
    /// Along the rows of the file, and from one to the next.
    along: Windows,
    across: Windows,
    /// The last rows that are needed: narrowed RGB or, for a photo on its side, unchanged, one channel after another.
    ring: Vec<u8>,
    /// Bytes of one such row.
    line: usize,
    /// A line of sums.
    summed: Vec<u8>,
    /// Number of the next row.
    y: usize,
    /// The first window of `across` that is not complete.
    next: usize,
}

/// The windows of one axis, in the order of the file.
#[derive(Clone, Debug, Default)]
struct Windows {
    /// For each window its first pixel, its pixels, where its weights begin, and the pixel that it makes.
    windows: Vec<Window>,
    weights: Vec<i32>,
    longest: usize,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    start: usize,
    len: usize,
    weights: usize,
    makes: usize,
}

impl Windows {
    fn new(span: Span, reversed: bool) -> Windows {
        let mut axis = Axis::default();
        axis.plan(span);
        let mut all = Windows { longest: axis.longest(), ..Windows::default() };
        for (makes, (start, weights)) in axis.windows().enumerate() {
            let len = weights.len();
            let start = if reversed { span.input as usize - start - len } else { start };
            all.windows.push(Window { start, len, weights: all.weights.len(), makes });
            let first = all.weights.len();
            all.weights.extend_from_slice(weights);
            if reversed {
                all.weights[first..].reverse();
            }
            all.weights.resize(first + len.next_multiple_of(TAPS), 0);
        }
        if reversed {
            all.windows.reverse();
        }
        all
    }

    /// The first pixel that any of them needs.
    fn first(&self) -> usize {
        self.windows.first().map_or(0, |w| w.start)
    }

    /// Pixels from there to the last one.
    fn needed(&self) -> usize {
        self.windows.last().map_or(0, |w| w.start + w.len) - self.first()
    }

    #[inline(always)]
    fn weights(&self, window: &Window) -> &[i32] {
        &self.weights[window.weights..][..window.len.next_multiple_of(TAPS)]
    }
}

impl RowResampler {
    /// Plans for a photo `stored`.
    ///
    /// # Errors
    /// As [`Placement::new`].
    pub fn new(settings: &Preprocess, stored: Stored) -> Result<RowResampler> {
        let (width, height) = stored.upright();
        let placement = Placement::new(settings, width, height)?;
        let SourceBox { left, top, right, bottom } = placement.source;
        let reduced = stored.reduced as f32;
        let (turns_columns, turns_rows) = stored.reversed();
        let columns = Span {
            input: width.div_ceil(stored.reduced),
            from: left / reduced,
            to: right / reduced,
            output: placement.width,
        };
        let rows = Span {
            input: height.div_ceil(stored.reduced),
            from: top / reduced,
            to: bottom / reduced,
            output: placement.height,
        };
        let (columns, rows) = (Windows::new(columns, turns_columns), Windows::new(rows, turns_rows));
        let (along, across, line) = match stored.is_on_its_side() {
            true => {
                let line = (rows.needed() + TAPS) * 3;
                (rows, columns, line)
            }
            false => {
                let line = columns.windows.len() * 3;
                (columns, rows, line)
            }
        };
        let ring = vec![0; across.longest * line];
        Ok(RowResampler { stored, placement, along, across, ring, line, summed: vec![0; line], y: 0, next: 0 })
    }

    /// The stored geometry of the plan.
    pub fn stored(&self) -> Stored {
        self.stored
    }

    /// Begins a photo whose pixels go to `out`.
    pub fn begin(&mut self, settings: &Preprocess, out: &mut [u8]) {
        (self.y, self.next) = (0, 0);
        if settings.resize == Resize::Pad {
            let color = settings.pad_color.unwrap_or(settings.mean.map(|m| m.round() as u8));
            out.as_chunks_mut().0.fill(color);
        }
    }

    /// Adds the next row, which has [`TAPS`] bytes more than pixels, to `out`, whose rows have `size` pixels.
    pub fn row(&mut self, rows: [&[u8]; 3], out: &mut [u8], size: usize) {
        take(self, rows, out, size);
    }
}

// The compiler vectorises this, as in `resample`.

#[multiversion(targets("x86_64+avx2"))]
fn take(resampler: &mut RowResampler, rows: [&[u8]; 3], out: &mut [u8], size: usize) {
    take_inline(resampler, rows, out, size);
}

#[inline(always)]
fn take_inline(resampler: &mut RowResampler, rows: [&[u8]; 3], out: &mut [u8], size: usize) {
    let RowResampler { stored, placement, along, across, ring, line, summed, y, next } = resampler;
    let (line, row) = (*line, *y);
    *y += 1;
    let Some(window) = across.windows.get(*next) else { return };
    if row < window.start {
        return;
    }
    let on_its_side = stored.is_on_its_side();
    let kept = &mut ring[row % across.longest * line..][..line];
    if on_its_side {
        let first = along.first();
        for (kept, row) in kept.chunks_exact_mut(line / 3).zip(rows) {
            let there = &row[first..(first + line / 3).min(row.len())];
            kept[..there.len()].copy_from_slice(there);
        }
    } else {
        narrow(along, 0, rows, |makes, pixel| kept[makes * 3..][..3].copy_from_slice(&pixel));
    }
    while let Some(window) = across.windows.get(*next).filter(|w| w.start + w.len <= row + 1) {
        *next += 1;
        let corner = (placement.y as usize * size + placement.x as usize) * 3;
        if on_its_side {
            weigh(ring, line, across, window, summed);
            let (red, others) = summed.split_at(line / 3);
            let (green, blue) = others.split_at(line / 3);
            let at = corner + window.makes * 3;
            let to = |makes: usize, pixel: [u8; 3]| out[at + makes * size * 3..][..3].copy_from_slice(&pixel);
            narrow(along, along.first(), [red, green, blue], to);
        } else {
            let to = &mut out[corner + window.makes * size * 3..][..line];
            weigh(ring, line, across, window, to);
        }
    }
}

/// Resamples along the `rows` of the three channels. `first` is the number of their first pixel.
#[inline(always)]
fn narrow(windows: &Windows, first: usize, rows: [&[u8]; 3], mut to: impl FnMut(usize, [u8; 3])) {
    for window in &windows.windows {
        let (weights, _) = windows.weights(window).as_chunks::<TAPS>();
        let samples = |row: usize| &rows[row][window.start - first..][..weights.len() * TAPS];
        let samples = [samples(0), samples(1), samples(2)].map(|row| row.as_chunks::<TAPS>().0);
        // The channels together, which have their weights in common.
        let [mut red, mut green, mut blue] = [[0; TAPS]; 3];
        for (i, weights) in weights.iter().enumerate() {
            add(&mut red, &samples[0][i], weights);
            add(&mut green, &samples[1][i], weights);
            add(&mut blue, &samples[2][i], weights);
        }
        let mut pixel = [0; 3];
        for (value, sums) in pixel.iter_mut().zip([red, green, blue]) {
            *value = to_byte(sums.iter().sum::<i32>() + HALF);
        }
        to(window.makes, pixel);
    }
}

#[inline(always)]
fn add(sums: &mut [i32; TAPS], samples: &[u8; TAPS], weights: &[i32; TAPS]) {
    for ((sum, sample), weight) in sums.iter_mut().zip(samples).zip(weights) {
        *sum += i32::from(*sample) * weight;
    }
}

/// The weighted sum of the lines in `ring` that `window` is over.
#[inline(always)]
fn weigh(ring: &[u8], line: usize, windows: &Windows, window: &Window, out: &mut [u8]) {
    let kept = windows.longest;
    let weights = &windows.weights[window.weights..][..window.len];
    for from in (0..line).step_by(LANES) {
        let lanes = (line - from).min(LANES);
        let mut sums = [HALF; LANES];
        for (row, weight) in weights.iter().enumerate() {
            let at = (window.start + row) % kept * line + from;
            if lanes == LANES {
                for (sum, sample) in sums.iter_mut().zip(&ring[at..at + LANES]) {
                    *sum += i32::from(*sample) * weight;
                }
            } else {
                for (sum, sample) in sums.iter_mut().zip(&ring[at..at + lanes]) {
                    *sum += i32::from(*sample) * weight;
                }
            }
        }
        for (out, sum) in out[from..from + lanes].iter_mut().zip(&sums) {
            *out = to_byte(*sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Preprocessor;
    use super::*;
    use crate::frame::{Frame, PixelFormat};
    use crate::limits::Limits;
    use crate::source::photo::upright;

    const ORIENTATIONS: [Orientation; 8] = [
        Orientation::NoTransforms,
        Orientation::FlipHorizontal,
        Orientation::Rotate180,
        Orientation::FlipVertical,
        Orientation::Rotate90FlipH,
        Orientation::Rotate90,
        Orientation::Rotate270FlipH,
        Orientation::Rotate270,
    ];

    /// Result of preprocessing the whole upright photo.
    fn whole(settings: &Preprocess, frame: &Frame, orientation: Orientation) -> Vec<u8> {
        let mut frame = frame.clone();
        upright(&mut frame, orientation, &mut Vec::new());
        let mut preprocessor = Preprocessor::new(settings, frame.geometry()).unwrap();
        let mut out = vec![0; preprocessor.output_len()];
        preprocessor.run(&frame, &mut out).unwrap();
        out
    }

    #[test]
    fn rows_give_what_the_whole_photo_gives() {
        for (width, height) in [(37, 29), (200, 150), (9, 300), (1, 1), (301, 8), (64, 64)] {
            let data: Vec<u8> = (0..u64::from(width * height * 3)).map(|i| (i * i % 251) as u8).collect();
            let frame = Frame::new(PixelFormat::Rgb24, width, height, width as usize * 3, data, &Limits::default());
            let frame = frame.unwrap();
            for (resize, size, resize_to) in [
                (Resize::Stretch, 16, None),
                (Resize::ShorterSide, 16, Some(20)),
                (Resize::ShorterSide, 40, None),
                (Resize::Pad, 21, None),
            ] {
                let settings = Preprocess { size, resize, resize_to, mean: [7.0; 3], std: [1.0; 3], pad_color: None };
                for orientation in ORIENTATIONS {
                    let stored = Stored { width, height, reduced: 1, orientation };
                    let mut resampler = RowResampler::new(&settings, stored).unwrap();
                    for again in 0..2 {
                        let mut out = vec![again; (size * size * 3) as usize];
                        resampler.begin(&settings, &mut out);
                        for y in 0..height {
                            let channel = |c: usize| {
                                let row = frame.row(y).iter().skip(c).step_by(3).copied();
                                row.chain([99; 32]).collect::<Vec<u8>>()
                            };
                            let rows = [channel(0), channel(1), channel(2)];
                            resampler.row([&rows[0], &rows[1], &rows[2]], &mut out, size as usize);
                        }
                        let right = whole(&settings, &frame, orientation);
                        assert!(out == right, "{width}x{height} {resize:?} {size} {orientation:?}");
                    }
                }
            }
        }
    }
}
