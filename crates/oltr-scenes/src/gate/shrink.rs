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

/// Where the samples of a channel lie in the rows of a plane.
#[derive(Clone, Copy)]
struct Channel {
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
        let channel = |first, step, samples| Channel { first, step, samples };
        let data = frame.data();
        let (y, u, v) = (&mut self.y[..cells], &mut self.u[..cells], &mut self.v[..cells]);
        // Each plane is gone through once, whatever lies in it.
        let mut plane = |index, channels: &mut [(Channel, &mut [i16])]| {
            average(data, frame.plane(index), channels, columns, rows, &mut self.line);
        };
        let three = |a, b, c, step| [channel(a, step, width), channel(b, step, width), channel(c, step, width)];
        let packed = |a, b, c| [channel(a, 2, width), channel(b, 4, chroma), channel(c, 4, chroma)];
        use PixelFormat as F;
        let interleaved = match format {
            F::Rgb24 => Some(three(0, 1, 2, 3)),
            F::Bgr24 => Some(three(2, 1, 0, 3)),
            F::Rgba => Some(three(0, 1, 2, 4)),
            F::Bgra => Some(three(2, 1, 0, 4)),
            F::Yuyv422 => Some(packed(0, 1, 3)),
            F::Uyvy422 => Some(packed(1, 0, 2)),
            F::Yvyu422 => Some(packed(0, 3, 1)),
            _ => None,
        };
        match (format, interleaved) {
            (_, Some([a, b, c])) => plane(0, &mut [(a, &mut *y), (b, &mut *u), (c, &mut *v)]),
            (F::Yuv420p | F::Yuv422p | F::Yuv444p | F::Yv12, _) => {
                let (blue, red) = if format == F::Yv12 { (2, 1) } else { (1, 2) };
                plane(0, &mut [(channel(0, 1, width), &mut *y)]);
                plane(blue, &mut [(channel(0, 1, chroma), &mut *u)]);
                plane(red, &mut [(channel(0, 1, chroma), &mut *v)]);
            }
            (F::Nv12 | F::Nv21, _) => {
                let (blue, red) = if format == F::Nv21 { (1, 0) } else { (0, 1) };
                plane(0, &mut [(channel(0, 1, width), &mut *y)]);
                plane(1, &mut [(channel(blue, 2, chroma), &mut *u), (channel(red, 2, chroma), &mut *v)]);
            }
            // Gray, and formats to come: their first bytes are taken for luma.
            _ => {
                plane(0, &mut [(channel(0, format.bytes_per_pixel(), width), &mut *y)]);
                u.fill(0);
                v.fill(0);
            }
        }
        let is_rgb = matches!(format, F::Rgb24 | F::Bgr24 | F::Rgba | F::Bgra);
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

impl Channel {
    /// The samples of a cell: the first, and one after the last. Halved chroma may have fewer samples than there are cells:
    /// then some share one.
    fn of(self, cell: usize, cells: usize) -> (usize, usize) {
        let begin = first_of(cell, cells, self.samples).min(self.samples - 1);
        (begin, first_of(cell + 1, cells, self.samples).max(begin + 1))
    }
}

/// Averages the channels of a plane into `columns` times `rows` cells each, in sixteenths.
fn average(
    data: &[u8],
    plane: Plane,
    channels: &mut [(Channel, &mut [i16])],
    columns: usize,
    rows: usize,
    line: &mut [u16],
) {
    for row in 0..rows {
        // Halved chroma may have fewer rows than there are cells.
        let top = first_of(row, rows, plane.rows).min(plane.rows - 1);
        let height = first_of(row + 1, rows, plane.rows).max(top + 1) - top;
        let taken = height.min(MOST_ROWS);
        let start = |index: usize| plane.offset + (top + index * height / taken) * plane.stride;
        let mut column = 0;
        while column < columns {
            let begin_of =
                |cell: usize| channels.iter().map(|(c, _)| c.of(cell, columns).0 * c.step).min().unwrap_or(0);
            let end_of = |cell: usize| channels.iter().map(|(c, _)| c.of(cell, columns).1 * c.step).max().unwrap_or(0);
            let from = begin_of(column);
            // As many cells as the strip has room for, one at least, of which no more than the strip is taken.
            let mut last = columns;
            if plane.row - from > line.len() {
                last = column + 1;
                while last < columns && end_of(last) - from <= line.len() {
                    last += 1;
                }
            }
            let bytes = (end_of(last - 1).min(plane.row) - from).min(line.len());
            let line = &mut line[..bytes];
            add_rows(line, taken, |index: usize| &data[start(index) + from..][..bytes]);
            for (channel, out) in &mut *channels {
                let cells = &mut out[row * columns..][column..last];
                let span = channel.samples / columns;
                let is_even = channel.step == 1 && channel.samples % columns == 0;
                if is_even && last - column == columns && taken * span <= 256 {
                    fold(line, span, taken, cells);
                } else {
                    fold_any(line, *channel, (column, columns), (from, taken), cells);
                }
            }
            column = last;
        }
    }
}

/// Takes the mean of the samples of each cell, the first of which is cell `column` of `columns`, from sums over `taken` rows
/// that begin at byte `from` of a row.
fn fold_any(
    line: &[u16],
    channel: Channel,
    (column, columns): (usize, usize),
    (from, taken): (usize, usize),
    out: &mut [i16],
) {
    for (index, cell) in out.iter_mut().enumerate() {
        let (begin, end) = channel.of(column + index, columns);
        let samples = line.get(begin * channel.step + channel.first - from..).unwrap_or_default();
        let (mut sum, mut count) = (0u64, 0u64);
        for &sample in samples.iter().step_by(channel.step).take(end - begin) {
            sum += u64::from(sample);
            count += 1;
        }
        *cell = (sum * 16 / (count.max(1) * taken as u64)) as i16;
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
