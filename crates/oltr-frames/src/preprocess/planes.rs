//! Resamples luma and chroma planes directly to the size of the model's input, and converts them to RGB there.
//!
//! The same triangle filter as for RGB pictures, but columns first: one output row after another. So the only memory is
//! a row, and most of the work runs along rows of bytes. Weights have 14 bits, and samples keep 6, then 4 bits of
//! fraction until the conversion. The result differs by 1 or 2 levels from converting the frame to RGB first, except
//! where the conversion clips (tests/preprocess.rs checks that).

use multiversion::multiversion;

use super::color::{Conversion, SAMPLE};
use super::resample::{Axis, FRACTION, Room, Span, most_weights, reserve};
use crate::frame::{Frame, Geometry, PixelFormat, Rect, Siting};

/// Fraction bits of a weight: the most for which 1 fits into 16 bits.
const WEIGHT: u32 = 14;

/// Fraction bits of a sample between the two directions: the most for which 255 fits into 16 bits.
const BETWEEN: u32 = 6;

/// Samples of a row that are summed together, in registers.
const LANES: usize = 32;

/// Weights of a window are padded with zeros to a multiple of this: a vector of 16-bit numbers.
const TAPS: usize = 8;

/// Resamples the planes of frames of one geometry and converts them.
#[derive(Clone, Debug)]
pub struct Planes {
    conversion: Conversion,
    planes: Vec<PlanePlan>,
    /// The axis that is being planned.
    axis: Axis,
    /// One row of each channel at the output's width: Y, U, V.
    channels: [Vec<i16>; 3],
    /// Samples of one channel of a row, where a plane has several.
    samples: Vec<i16>,
    width: usize,
    height: usize,
}

/// One plane: its rows are summed as bytes, then each channel in them along the row.
#[derive(Clone, Debug)]
struct PlanePlan {
    /// Which plane of the frame.
    index: usize,
    /// First row of the region.
    top: usize,
    /// First byte of the region in a row.
    left: usize,
    rows: Weights,
    /// A summed row of the region, and zeros for the padded weights of its last windows.
    line: Vec<i16>,
    bytes: usize,
    channels: Vec<Channel>,
}

/// One channel of a plane.
#[derive(Clone, Debug)]
struct Channel {
    /// 0 for Y, 1 for U, 2 for V.
    channel: usize,
    /// Byte of its first sample in a row of the region, and bytes from one to the next.
    offset: usize,
    step: usize,
    samples: usize,
    columns: Weights,
}

/// Windows of one axis with weights of 16 bits.
#[derive(Clone, Debug, Default)]
struct Weights {
    /// First sample of each window.
    starts: Vec<usize>,
    /// Weights of a window.
    taps: usize,
    /// (windows, taps)
    weights: Vec<i16>,
}

impl Weights {
    /// The windows of `span`, all of the same length, a multiple of `multiple`. Reuses the last plan's memory.
    fn plan(&mut self, span: Span, multiple: usize, axis: &mut Axis) {
        axis.plan(span);
        let taps = axis.longest().next_multiple_of(multiple);
        self.taps = taps;
        self.weights.clear();
        self.starts.clear();
        reserve(&mut self.weights, taps * axis.len());
        reserve(&mut self.starts, axis.len());
        for (start, window) in axis.windows() {
            let first = self.weights.len();
            let of = |w: &i32| ((w + (1 << (FRACTION - WEIGHT - 1))) >> (FRACTION - WEIGHT)) as i16;
            self.weights.extend(window.iter().map(of));
            // They sum to 1, so that an even area keeps its value.
            let rest = (1 << WEIGHT) - self.weights[first..].iter().map(|w| i32::from(*w)).sum::<i32>();
            if let Some(largest) = self.weights[first..].iter_mut().max_by_key(|w| **w) {
                *largest += rest as i16;
            }
            self.weights.resize(first + taps, 0);
            self.starts.push(start);
        }
    }

    /// Takes memory for plans of up to `input` samples that become up to `output`.
    fn reserve(&mut self, input: usize, output: usize, multiple: usize) {
        reserve(&mut self.weights, most_weights(input, output) + output * (multiple - 1));
        reserve(&mut self.starts, output);
    }

    fn bytes(&self) -> usize {
        self.starts.capacity() * size_of::<usize>() + self.weights.capacity() * size_of::<i16>()
    }
}

impl Planes {
    /// Plans for the part `columns` × `rows` of `region`, in pixels of luma within it.
    pub fn new(source: Geometry, region: Rect, columns: Span, rows: Span) -> Planes {
        let planes = layout(source.format).iter().map(|(index, channels, _)| {
            let channel = |(channel, _, step): &Place| {
                let (offset, samples, columns) = Default::default();
                Channel { channel: *channel, offset, step: *step, samples, columns }
            };
            let (top, left, rows, line, bytes) = Default::default();
            PlanePlan { index: *index, top, left, rows, line, bytes, channels: channels.iter().map(channel).collect() }
        });
        let (axis, channels, samples, width, height) = Default::default();
        let conversion = Conversion::new(source.color);
        let mut planned = Planes { conversion, planes: planes.collect(), axis, channels, samples, width, height };
        planned.plan(source, region, columns, rows);
        planned
    }

    /// Plans for another source of the same format. Reuses the last plan's memory.
    pub fn plan(&mut self, source: Geometry, region: Rect, columns: Span, rows: Span) {
        let (across, down) = source.format.subsampling();
        let (right, below) = match source.siting {
            Siting::Center => (0.0, 0.0),
            Siting::Left => (0.5, 0.0),
            Siting::TopLeft => (0.5, 0.5),
        };
        // Chroma samples in the region, and the part in chroma pixels.
        let halved = |start: u32, length: u32, by: usize, siting: f32, span: Span| {
            if by == 1 {
                return (start, span);
            }
            let (first, last) = (start / 2, (start + length).div_ceil(2));
            let place = |at: f32| (start as f32 + at + siting) / 2.0 - first as f32;
            (first, Span { input: last - first, from: place(span.from), to: place(span.to), ..span })
        };
        let (left, chroma_columns) = halved(region.x, region.width, across, right, columns);
        let (top, chroma_rows) = halved(region.y, region.height, down, below, rows);
        let packed = source.format.planes() == 1;
        let skip = if packed { (region.x % 2) as usize * 2 } else { 0 };
        let mut samples = 0;
        for (plane, (_, offsets, luma)) in self.planes.iter_mut().zip(layout(source.format)) {
            let (top, rows) = if *luma { (region.y, rows) } else { (top, chroma_rows) };
            // Packed pixels are read in whole pairs: chroma begins with the pair, luma perhaps at its second pixel.
            plane.left = match (luma, packed) {
                (true, false) => region.x as usize,
                (true, true) => left as usize * 4,
                (false, _) => left as usize * offsets[0].2,
            };
            plane.top = top as usize;
            plane.rows.plan(rows, 1, &mut self.axis);
            for (channel, (_, offset, _)) in plane.channels.iter_mut().zip(*offsets) {
                let columns = if channel.channel == 0 { columns } else { chroma_columns };
                channel.offset = if channel.channel == 0 { offset + skip } else { *offset };
                channel.samples = columns.input as usize;
                channel.columns.plan(columns, TAPS, &mut self.axis);
                if channel.step > 1 {
                    samples = samples.max(channel.samples + channel.columns.taps);
                }
            }
            let end = |c: &Channel| c.offset + (c.samples - 1) * c.step + 1;
            plane.bytes = plane.channels.iter().map(end).max().unwrap_or(0);
            let padding = plane.channels.iter().map(|c| c.columns.taps).max().unwrap_or(0);
            // Zeros after the row: the padding of the last windows reads them.
            plane.line.clear();
            plane.line.resize(plane.bytes + padding, 0);
        }
        self.conversion = Conversion::new(source.color);
        (self.width, self.height) = (columns.output as usize, rows.output as usize);
        self.channels.iter_mut().for_each(|channel| channel.resize(self.width, 0));
        self.samples.resize(samples, 0);
    }

    /// Takes memory for plans of any part of `room`, so that they take none.
    pub fn reserve(&mut self, room: Room) {
        let Room { columns, rows, output } = room;
        self.axis.reserve(columns.max(rows), output);
        // The longest window that a row is padded for.
        let padding = most_weights(columns, 1) + TAPS;
        for plane in &mut self.planes {
            plane.rows.reserve(rows, output, 1);
            plane.channels.iter_mut().for_each(|channel| channel.columns.reserve(columns, output, TAPS));
            let step = plane.channels.iter().map(|channel| channel.step).max().unwrap_or(1);
            reserve(&mut plane.line, (columns + 2) * step + padding);
        }
        self.channels.iter_mut().for_each(|channel| reserve(channel, output));
        if self.planes.iter().flat_map(|plane| &plane.channels).any(|channel| channel.step > 1) {
            reserve(&mut self.samples, columns + padding);
        }
    }

    /// Bytes of memory that the plan and its buffers take.
    pub fn bytes(&self) -> usize {
        let lines = self.channels.iter().map(Vec::capacity).sum::<usize>() + self.samples.capacity();
        let planes = self.planes.iter().map(|p| {
            let channels = p.channels.iter().map(|c| size_of::<Channel>() + c.columns.bytes());
            size_of::<PlanePlan>() + p.rows.bytes() + p.line.capacity() * size_of::<i16>() + channels.sum::<usize>()
        });
        lines * size_of::<i16>() + self.axis.bytes() + planes.sum::<usize>()
    }

    /// Resamples and converts `frame`, of the geometry that was planned for, into `out`, rows `out_stride` bytes apart.
    pub fn run(&mut self, frame: &Frame, out: &mut [u8], out_stride: usize) {
        run(self, frame, out, out_stride);
    }

    #[inline(always)]
    fn run_inline(&mut self, frame: &Frame, out: &mut [u8], out_stride: usize) {
        for (y, out) in out.chunks_mut(out_stride).take(self.height).enumerate() {
            for plan in &mut self.planes {
                let plane = frame.plane(plan.index);
                let first = plane.offset + (plan.top + plan.rows.starts[y]) * plane.stride + plan.left;
                let weights = &plan.rows.weights[y * plan.rows.taps..(y + 1) * plan.rows.taps];
                weigh_rows(&frame.data()[first..], plane.stride, weights, &mut plan.line[..plan.bytes]);
                for channel in &plan.channels {
                    let into = &mut self.channels[channel.channel];
                    if channel.step == 1 {
                        narrow(&channel.columns, &plan.line, into);
                        continue;
                    }
                    let (samples, padding) = self.samples.split_at_mut(channel.samples);
                    pick(&plan.line[channel.offset..plan.bytes], channel.step, samples);
                    padding[..channel.columns.taps].fill(0);
                    narrow(&channel.columns, &self.samples, into);
                }
            }
            let [luma, u, v] = &self.channels;
            self.conversion.row(luma, u, v, &mut out[..self.width * 3]);
        }
    }
}

/// Position of a channel in a plane's rows: 0, 1, 2 for Y, U, V; its first byte; bytes from one sample to the next.
type Place = (usize, usize, usize);

/// The planes of a luma and chroma format: index, channels, whether it is as large as luma.
fn layout(format: PixelFormat) -> &'static [(usize, &'static [Place], bool)] {
    match format {
        PixelFormat::Nv12 => &[(0, &[(0, 0, 1)], true), (1, &[(1, 0, 2), (2, 1, 2)], false)],
        PixelFormat::Nv21 => &[(0, &[(0, 0, 1)], true), (1, &[(2, 0, 2), (1, 1, 2)], false)],
        PixelFormat::Yuyv422 => &[(0, &[(0, 0, 2), (1, 1, 4), (2, 3, 4)], true)],
        PixelFormat::Uyvy422 => &[(0, &[(0, 1, 2), (1, 0, 4), (2, 2, 4)], true)],
        PixelFormat::Yvyu422 => &[(0, &[(0, 0, 2), (2, 1, 4), (1, 3, 4)], true)],
        PixelFormat::Yv12 => &[(0, &[(0, 0, 1)], true), (1, &[(2, 0, 1)], false), (2, &[(1, 0, 1)], false)],
        _ => &[(0, &[(0, 0, 1)], true), (1, &[(1, 0, 1)], false), (2, &[(2, 0, 1)], false)],
    }
}

// Written for the compiler to vectorise, as in `resample`.
#[multiversion(targets("x86_64+avx2"))]
fn run(planes: &mut Planes, frame: &Frame, out: &mut [u8], out_stride: usize) {
    planes.run_inline(frame, out, out_stride);
}

/// The weighted sum of rows that begin at `bytes` and are `stride` apart, with [`BETWEEN`] bits of fraction. Rows of
/// weight 0, which pad a window, may be outside the picture.
#[inline(always)]
fn weigh_rows(bytes: &[u8], stride: usize, weights: &[i16], line: &mut [i16]) {
    let block = |x: usize, line: &mut [i16], lanes: &mut [i32]| {
        lanes.fill(1 << (WEIGHT - BETWEEN - 1));
        for (row, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0) {
            let samples = &bytes[row * stride + x..][..lanes.len()];
            for (sum, sample) in lanes.iter_mut().zip(samples) {
                *sum += i32::from(*sample) * i32::from(*weight);
            }
        }
        for (to, sum) in line[x..].iter_mut().zip(lanes) {
            *to = (*sum >> (WEIGHT - BETWEEN)) as i16;
        }
    };
    let length = line.len();
    let mut lanes = [0; LANES];
    if length < LANES {
        return block(0, line, &mut lanes[..length]);
    }
    for x in (0..=length - LANES).step_by(LANES) {
        block(x, line, &mut lanes);
    }
    // The last block overlaps the one before.
    block(length - LANES, line, &mut lanes);
}

/// Every `step`-th number.
#[inline(always)]
fn pick(line: &[i16], step: usize, samples: &mut [i16]) {
    match step {
        2 => samples.iter_mut().zip(line.chunks(2)).for_each(|(to, from)| *to = from[0]),
        _ => samples.iter_mut().zip(line.chunks(4)).for_each(|(to, from)| *to = from[0]),
    }
}

/// Resamples along a row, to [`SAMPLE`] bits of fraction.
#[inline(always)]
fn narrow(columns: &Weights, line: &[i16], out: &mut [i16]) {
    const SHIFT: u32 = WEIGHT + BETWEEN - SAMPLE;
    let windows = columns.starts.iter().zip(columns.weights.chunks_exact(columns.taps));
    for (out, (start, weights)) in out.iter_mut().zip(windows) {
        let mut sums = [0; TAPS];
        let (samples, _) = line[*start..*start + weights.len()].as_chunks::<TAPS>();
        let (weights, _) = weights.as_chunks::<TAPS>();
        for (samples, weights) in samples.iter().zip(weights) {
            for ((sum, sample), weight) in sums.iter_mut().zip(samples).zip(weights) {
                *sum += i32::from(*sample) * i32::from(*weight);
            }
        }
        *out = ((sums.iter().sum::<i32>() + (1 << (SHIFT - 1))) >> SHIFT) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn every_instruction_set_computes_the_same() {
        for format in PixelFormat::ALL.into_iter().filter(|f| f.is_yuv()) {
            let (width, height) = (83, 41);
            let mut frame = Frame::default();
            let bytes = frame.reshape(Geometry::new(format, width, height), &Limits::default()).unwrap();
            bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i * i % 251) as u8);
            let columns = Span { input: 71, from: 1.25, to: 70.0, output: 19 };
            let rows = Span { input: 37, from: 0.5, to: 37.0, output: 11 };
            let region = Rect { x: 5, y: 3, width: 71, height: 37 };
            let mut planes = Planes::new(frame.geometry(), region, columns, rows);
            let (mut fast, mut plain) = (vec![0; 19 * 11 * 3], vec![1; 19 * 11 * 3]);
            planes.run(&frame, &mut fast, 19 * 3);
            planes.run_inline(&frame, &mut plain, 19 * 3);
            assert!(fast == plain, "{format}");
        }
    }
}
