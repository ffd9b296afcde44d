//! Any frame to the small picture on which motion is found.
//!
//! A cell of the small picture is the mean of whole pixels of the frame: the first of `n` cells over `w` pixels holds
//! pixels 0 to `w/n`. Luma, chroma or red, green and blue are averaged as they lie in memory, first down the rows of a cell, for
//! all columns at once, then along them. RGB is turned into luma and chroma after that, a cell at a time.

use multiversion::multiversion;
use oltr_frames::{Frame, PixelFormat, Plane, Range};

/// Rows that are added up for one cell: 256 of the largest byte are a 16-bit number. Of taller cells so many are taken,
/// evenly spread.
const MOST_ROWS: usize = 256;

/// Bytes of a row that are added up at a time: bounds the memory of wide frames.
const STRIP: usize = 4096;

/// Where the samples of a channel lie in a plane.
#[derive(Clone, Copy)]
struct Channel {
    plane: Plane,
    /// Bytes before the first.
    first: usize,
    /// Bytes from one to the next.
    step: usize,
    /// Samples of a row.
    samples: usize,
}

/// The small picture: each plane in sixteenths of a level.
#[derive(Debug)]
pub struct Small {
    pub columns: usize,
    pub rows: usize,
    /// Luma above black.
    pub y: Box<[i16]>,
    /// Chroma, 0 for gray.
    pub u: Box<[i16]>,
    pub v: Box<[i16]>,
    /// Sums down the rows of one row of cells.
    line: Box<[u16]>,
}

impl Small {
    pub fn new(cells: usize) -> Small {
        let plane = || vec![0; cells].into_boxed_slice();
        Small { columns: 0, rows: 0, y: plane(), u: plane(), v: plane(), line: vec![0; STRIP].into() }
    }

    pub fn bytes(&self) -> usize {
        2 * (self.y.len() + self.u.len() + self.v.len() + self.line.len())
    }

    /// Makes a picture of a frame with so many columns and rows, which are no more than the frame has.
    pub fn shrink(&mut self, frame: &Frame, columns: usize, rows: usize) {
        (self.columns, self.rows) = (columns, rows);
        let cells = columns * rows;
        let format = frame.format();
        let width = frame.width() as usize;
        let (across, _) = format.subsampling();
        let chroma = width.div_ceil(across);
        let channel = |plane, first, step, samples| Channel { plane: frame.plane(plane), first, step, samples };
        use PixelFormat as F;
        let channels = match format {
            F::Rgb24 => [channel(0, 0, 3, width), channel(0, 1, 3, width), channel(0, 2, 3, width)],
            F::Bgr24 => [channel(0, 2, 3, width), channel(0, 1, 3, width), channel(0, 0, 3, width)],
            F::Rgba => [channel(0, 0, 4, width), channel(0, 1, 4, width), channel(0, 2, 4, width)],
            F::Bgra => [channel(0, 2, 4, width), channel(0, 1, 4, width), channel(0, 0, 4, width)],
            F::Yuv420p | F::Yuv422p | F::Yuv444p => {
                [channel(0, 0, 1, width), channel(1, 0, 1, chroma), channel(2, 0, 1, chroma)]
            }
            F::Yv12 => [channel(0, 0, 1, width), channel(2, 0, 1, chroma), channel(1, 0, 1, chroma)],
            F::Nv12 => [channel(0, 0, 1, width), channel(1, 0, 2, chroma), channel(1, 1, 2, chroma)],
            F::Nv21 => [channel(0, 0, 1, width), channel(1, 1, 2, chroma), channel(1, 0, 2, chroma)],
            F::Yuyv422 => [channel(0, 0, 2, width), channel(0, 1, 4, chroma), channel(0, 3, 4, chroma)],
            F::Uyvy422 => [channel(0, 1, 2, width), channel(0, 0, 4, chroma), channel(0, 2, 4, chroma)],
            F::Yvyu422 => [channel(0, 0, 2, width), channel(0, 3, 4, chroma), channel(0, 1, 4, chroma)],
            // Gray, and formats to come: their first bytes are taken for luma.
            _ => [channel(0, 0, format.bytes_per_pixel(), width); 3],
        };
        let data = frame.data();
        average(data, channels[0], columns, rows, &mut self.line, &mut self.y[..cells]);
        let is_rgb = matches!(format, F::Rgb24 | F::Bgr24 | F::Rgba | F::Bgra);
        if !format.is_yuv() && !is_rgb {
            self.u[..cells].fill(0);
            self.v[..cells].fill(0);
        } else {
            average(data, channels[1], columns, rows, &mut self.line, &mut self.u[..cells]);
            average(data, channels[2], columns, rows, &mut self.line, &mut self.v[..cells]);
        }
        let (y, u, v) = (&mut self.y[..cells], &mut self.u[..cells], &mut self.v[..cells]);
        let black = if frame.geometry().color.range == Range::Limited { 16 << 4 } else { 0 };
        if is_rgb {
            to_yuv(y, u, v);
        } else {
            let gray = if format.is_yuv() { 128 << 4 } else { 0 };
            from_black(y, black, u, v, gray);
        }
    }
}

/// Takes black off luma and gray off chroma.
#[multiversion(targets("x86_64+avx2"))]
fn from_black(y: &mut [i16], black: i16, u: &mut [i16], v: &mut [i16], gray: i16) {
    for y in y {
        *y = (*y - black).max(0);
    }
    for u in u {
        *u -= gray;
    }
    for v in v {
        *v -= gray;
    }
}

/// Red, green and blue to luma and chroma of JPEG, in place.
#[multiversion(targets("x86_64+avx2"))]
fn to_yuv(y: &mut [i16], u: &mut [i16], v: &mut [i16]) {
    for ((y, u), v) in y.iter_mut().zip(u).zip(v) {
        let (r, g, b) = (i32::from(*y), i32::from(*u), i32::from(*v));
        // Weights of BT.601 in 1/16384.
        *y = ((4899 * r + 9617 * g + 1868 * b) >> 14) as i16;
        *u = ((-2765 * r - 5427 * g + 8192 * b) >> 14) as i16;
        *v = ((8192 * r - 6860 * g - 1332 * b) >> 14) as i16;
    }
}

/// The first of `most` pixels that belongs to cell `index` of `cells`.
fn first_of(index: usize, cells: usize, most: usize) -> usize {
    index * most / cells
}

/// Averages a channel into `columns` times `rows` cells, in sixteenths.
fn average(data: &[u8], channel: Channel, columns: usize, rows: usize, line: &mut [u16], out: &mut [i16]) {
    let Channel { plane, first, step, samples } = channel;
    for (row, out) in out.chunks_exact_mut(columns).enumerate() {
        // Halved chroma may have fewer rows than there are cells: then some share one.
        let top = first_of(row, rows, plane.rows).min(plane.rows - 1);
        let height = first_of(row + 1, rows, plane.rows).max(top + 1) - top;
        let taken = height.min(MOST_ROWS);
        let start = |index: usize| plane.offset + (top + index * height / taken) * plane.stride;
        let mut column = 0;
        while column < columns {
            // As many cells as the strip has room for, one at least, of which no more than the strip is taken.
            let from = first_of(column, columns, samples).min(samples - 1);
            let mut last = column + 1;
            let end_of = |cell: usize| {
                let begin = first_of(cell, columns, samples).min(samples - 1);
                first_of(cell + 1, columns, samples).max(begin + 1)
            };
            if (samples - from) * step <= line.len() {
                last = columns;
            } else {
                while last < columns && (end_of(last) - from) * step <= line.len() {
                    last += 1;
                }
            }
            let bytes = ((end_of(last - 1) - from) * step).min(line.len()).min(plane.row - from * step);
            let line = &mut line[..bytes];
            let begin = |index: usize| &data[start(index) + from * step..][..bytes];
            add_rows(line, taken, begin);
            let cells = &mut out[column..last];
            let span = samples / columns;
            if step == 1 && samples % columns == 0 && last - column == columns && taken * span <= 256 {
                fold(line, span, taken, cells);
            } else {
                for (index, cell) in cells.iter_mut().enumerate() {
                    let begin = first_of(column + index, columns, samples).min(samples - 1);
                    let end = first_of(column + index + 1, columns, samples).max(begin + 1);
                    let mut places = (begin - from..end - from).map(|place| place * step + first).peekable();
                    let (mut sum, mut count) = (0u64, 0u64);
                    while let Some(place) = places.next_if(|&place| place < line.len()) {
                        sum += u64::from(line[place]);
                        count += 1;
                    }
                    *cell = (sum * 16 / (count.max(1) * taken as u64)) as i16;
                }
            }
            column = last;
        }
    }
}

/// Adds rows up, byte by byte.
fn add_rows<'a>(line: &mut [u16], rows: usize, row: impl Fn(usize) -> &'a [u8]) {
    let mut index = 0;
    line.fill(0);
    while index + 4 <= rows {
        add_four(line, row(index), row(index + 1), row(index + 2), row(index + 3));
        index += 4;
    }
    while index < rows {
        add_one(line, row(index));
        index += 1;
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn add_four(line: &mut [u16], a: &[u8], b: &[u8], c: &[u8], d: &[u8]) {
    for ((((sum, &a), &b), &c), &d) in line.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *sum += (u16::from(a) + u16::from(b)) + (u16::from(c) + u16::from(d));
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn add_one(line: &mut [u16], a: &[u8]) {
    for (sum, &a) in line.iter_mut().zip(a) {
        *sum += u16::from(a);
    }
}

/// Adds up `span` sums for each cell and takes the mean of them over `rows`, where the product is at most 256.
fn fold(line: &[u16], span: usize, rows: usize, out: &mut [i16]) {
    // A factor in 1/65536 whose product with the largest sum, 255 times its divisor, stays below 2^28.
    let factor = ((16 << 16) / (span * rows)) as u32;
    match span {
        1 => fold_by::<1>(line, factor, out),
        2 => fold_by::<2>(line, factor, out),
        3 => fold_by::<3>(line, factor, out),
        4 => fold_by::<4>(line, factor, out),
        6 => fold_by::<6>(line, factor, out),
        8 => fold_by::<8>(line, factor, out),
        _ => {
            for (out, sums) in out.iter_mut().zip(line.chunks_exact(span)) {
                let sum: u32 = sums.iter().map(|&sum| u32::from(sum)).sum();
                *out = ((sum * factor) >> 16) as i16;
            }
        }
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn fold_by<const SPAN: usize>(line: &[u16], factor: u32, out: &mut [i16]) {
    for (out, sums) in out.iter_mut().zip(line.chunks_exact(SPAN)) {
        let mut sum = 0u32;
        for &part in sums {
            sum += u32::from(part);
        }
        *out = ((sum * factor) >> 16) as i16;
    }
}
