//! Copies a part of a frame as a small RGB picture, to be examined later.

use super::color::Conversion;
use crate::frame::{Frame, PixelFormat, Plane, Rect, Rotation};

/// Position of a channel's samples in a plane.
#[derive(Clone, Copy)]
struct Channel {
    plane: Plane,
    /// Byte of the first sample in a row, and bytes from one to the next.
    first: usize,
    step: usize,
    /// Pixels for one sample, along rows and columns.
    across: usize,
    down: usize,
}

impl Channel {
    /// The plane's rows for the rows of pixels `rows`, at least one: the first, and the one after the last.
    fn rows(&self, rows: (usize, usize)) -> (usize, usize) {
        let top = rows.0 / self.down;
        (top, rows.1.div_ceil(self.down).max(top + 1).min(self.plane.rows).max(top))
    }

    /// The mean of the samples of the pixels `columns`, at least one, in the `rows` of the plane.
    #[inline(always)]
    fn mean(&self, data: &[u8], columns: (usize, usize), rows: (usize, usize)) -> i32 {
        // One or two, so that no division is needed.
        let shift = self.across.trailing_zeros();
        let left = columns.0 >> shift;
        let right = ((columns.1 + self.across - 1) >> shift).max(left + 1);
        let at = |x: usize, y: usize| {
            let place = self.plane.offset + y * self.plane.stride + self.first + x * self.step;
            u32::from(data.get(place).copied().unwrap_or(0))
        };
        if right - left == 1 && rows.1 - rows.0 == 1 {
            return at(left, rows.0) as i32;
        }
        let mut sum = 0u32;
        for y in rows.0..rows.1 {
            for x in left..right {
                sum += at(x, y);
            }
        }
        let n = ((right - left) * (rows.1 - rows.0).max(1)) as u32;
        ((sum + n / 2) / n) as i32
    }
}

/// Divides `length` pixels from `start` into `parts` parts: the first pixel of each, and the one after its last.
fn parts(start: u32, length: u32, parts: u32) -> impl Iterator<Item = (usize, usize)> {
    let (whole, rest) = (length / parts, length % parts);
    let (mut edge, mut over) = (start, 0u64);
    (0..parts).map(move |_| {
        let first = edge;
        edge += whole;
        over += u64::from(rest);
        if over >= u64::from(parts) {
            over -= u64::from(parts);
            edge += 1;
        }
        (first as usize, edge.max(first + 1) as usize)
    })
}

impl Frame {
    /// Copies the pixels of `area` (`None` for the whole frame; clipped to the frame) as RGB rows without gaps, rotated
    /// by `rotation` and reduced to at most `most` pixels. Each output pixel is the mean of the pixels that it
    /// replaces. Returns width and height. `out` grows to at most three bytes per pixel.
    pub fn shrink(&self, area: Option<Rect>, rotation: Rotation, most: u32, out: &mut Vec<u8>) -> (u32, u32) {
        let (width, height) = (self.width(), self.height());
        let area = area.unwrap_or(Rect { x: 0, y: 0, width, height });
        let (x, y) = (area.x.min(width - 1), area.y.min(height - 1));
        let (w, h) = (area.width.clamp(1, width - x), area.height.clamp(1, height - y));
        let scale = (f64::from(most.max(1)) / (f64::from(w) * f64::from(h))).sqrt().min(1.0);
        let small = |side: u32| ((f64::from(side) * scale) as u32).max(1);
        let (columns, rows) = (small(w).min(most.max(1)), small(h));
        let rows = rows.min((most.max(1) / columns).max(1));
        let (out_width, out_height) = if rotation.swaps_sides() { (rows, columns) } else { (columns, rows) };
        let channels = channels(self);
        let conversion = Conversion::new(self.geometry().color);
        let gray = conversion.gray();
        out.clear();
        out.resize(out_width as usize * out_height as usize * 3, 0);
        let (out_columns, format) = (out_width as usize, self.format());
        let pixels = out.as_chunks_mut::<3>().0;
        for (row, ys) in parts(y, h, rows).enumerate() {
            let rows_of = channels.map(|channel| channel.rows(ys));
            // Target of the row, and the distance there from a pixel to the next.
            let (last_row, last_column) = (rows as usize - 1, columns as usize - 1);
            let (start, step) = match rotation {
                Rotation::None => (row * out_columns, 1),
                Rotation::Quarter => (last_row - row, out_columns as isize),
                Rotation::Half => ((last_row - row) * out_columns + last_column, -1),
                Rotation::ThreeQuarters => (last_column * out_columns + row, -(out_columns as isize)),
            };
            for (column, xs) in parts(x, w, columns).enumerate() {
                let mean = |channel: usize| channels[channel].mean(self.data(), xs, rows_of[channel]);
                let pixel = match format {
                    PixelFormat::Gray => [gray[mean(0) as usize]; 3],
                    format if format.is_yuv() => conversion.pixel(mean(0), mean(1), mean(2), 0),
                    _ => [mean(0) as u8, mean(1) as u8, mean(2) as u8],
                };
                pixels[start.wrapping_add_signed(column as isize * step)] = pixel;
            }
        }
        (out_width, out_height)
    }
}

/// Red, green and blue, or Y, U and V; the same plane three times for a grey picture.
fn channels(frame: &Frame) -> [Channel; 3] {
    use PixelFormat::{
        Bgr24, Bgra, Gray, Nv12, Nv21, Rgb24, Rgba, Uyvy422, Yuv420p, Yuv422p, Yuv444p, Yuyv422, Yv12, Yvyu422,
    };
    let (across, down) = frame.format().subsampling();
    let full = |first, step| Channel { plane: frame.plane(0), first, step, across: 1, down: 1 };
    let chroma = |plane: usize, first, step| Channel { plane: frame.plane(plane), first, step, across, down };
    match frame.format() {
        Rgb24 => [full(0, 3), full(1, 3), full(2, 3)],
        Bgr24 => [full(2, 3), full(1, 3), full(0, 3)],
        Rgba => [full(0, 4), full(1, 4), full(2, 4)],
        Bgra => [full(2, 4), full(1, 4), full(0, 4)],
        Gray => [full(0, 1); 3],
        Yuv420p | Yuv422p | Yuv444p => [full(0, 1), chroma(1, 0, 1), chroma(2, 0, 1)],
        Yv12 => [full(0, 1), chroma(2, 0, 1), chroma(1, 0, 1)],
        Nv12 => [full(0, 1), chroma(1, 0, 2), chroma(1, 1, 2)],
        Nv21 => [full(0, 1), chroma(1, 1, 2), chroma(1, 0, 2)],
        Yuyv422 => [full(0, 2), chroma(0, 1, 4), chroma(0, 3, 4)],
        Uyvy422 => [full(1, 2), chroma(0, 0, 4), chroma(0, 2, 4)],
        Yvyu422 => [full(0, 2), chroma(0, 3, 4), chroma(0, 1, 4)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, Limits};

    /// A frame of `format`, gray but for its left half, which is darker.
    fn frame(format: PixelFormat, width: u32, height: u32) -> Frame {
        let mut frame = Frame::default();
        let geometry = Geometry::new(format, width, height);
        frame.reshape(geometry, &Limits::default()).unwrap().fill(128);
        let channels = channels(&frame);
        let data = frame.reshape(geometry, &Limits::default()).unwrap();
        let luma = if format.is_yuv() { &channels[..1] } else { &channels[..] };
        for channel in luma {
            for y in 0..height as usize {
                for x in 0..width as usize / 2 {
                    data[channel.plane.offset + y * channel.plane.stride + channel.first + x * channel.step] = 40;
                }
            }
        }
        frame
    }

    #[test]
    fn every_format_keeps_its_picture() {
        for format in PixelFormat::ALL {
            let frame = frame(format, 22, 11);
            let mut out = Vec::new();
            assert_eq!(frame.shrink(None, Rotation::None, 1000, &mut out), (22, 11), "{format}");
            let at = |out: &[u8], i: usize| [out[3 * i], out[3 * i + 1], out[3 * i + 2]];
            assert_eq!((at(&out, 0), at(&out, 241)), ([40; 3], [128; 3]), "{format}");
            let (w, h) = frame.shrink(None, Rotation::None, 61, &mut out);
            assert!(w * h <= 61 && w * h >= 40 && out.len() as u32 == w * h * 3, "{format}: {w}x{h}");
            assert_eq!((at(&out, 0), at(&out, (w * h - 1) as usize)), ([40; 3], [128; 3]), "{format}");
            // The left half moves to the top, the right, the bottom.
            let turned = [(Rotation::Quarter, (11, 22), true), (Rotation::Half, (22, 11), false)];
            for (rotation, size, top_is_dark) in turned {
                assert_eq!(frame.shrink(None, rotation, 1000, &mut out), size);
                assert_eq!(at(&out, 0), if top_is_dark { [40; 3] } else { [128; 3] }, "{format} {rotation:?}");
            }
            let right = Rect { x: 11, y: 2, width: 99, height: 3 };
            assert_eq!(frame.shrink(Some(right), Rotation::None, 1000, &mut out), (11, 3));
            assert!(out.iter().all(|b| *b == 128), "{format}");
        }
    }

    /// The definition, pixel by pixel: the mean of all samples that a pixel replaces, for each plane in its own size.
    fn defined(frame: &Frame, area: Rect, rotation: Rotation, columns: u32, rows: u32) -> Vec<u8> {
        let (width, _) = if rotation.swaps_sides() { (rows, columns) } else { (columns, rows) };
        let (channels, conversion) = (channels(frame), Conversion::new(frame.geometry().color));
        let part = |start: u32, length: u32, n: u32, i: u32| {
            let edge = |i: u32| (u64::from(start) + u64::from(length) * u64::from(i) / u64::from(n)) as usize;
            (edge(i), edge(i + 1).max(edge(i) + 1))
        };
        let mut out = Vec::new();
        for i in 0..columns * rows {
            let (px, py) = (i % width, i / width);
            let (column, row) = match rotation {
                Rotation::None => (px, py),
                Rotation::Quarter => (py, rows - 1 - px),
                Rotation::Half => (columns - 1 - px, rows - 1 - py),
                Rotation::ThreeQuarters => (columns - 1 - py, px),
            };
            let (xs, ys) = (part(area.x, area.width, columns, column), part(area.y, area.height, rows, row));
            let [a, b, c] = channels.map(|c| {
                let (mut sum, mut n) = (0u32, 0u32);
                for y in ys.0 / c.down..ys.1.div_ceil(c.down).max(ys.0 / c.down + 1).min(c.plane.rows) {
                    for x in xs.0 / c.across..xs.1.div_ceil(c.across).max(xs.0 / c.across + 1) {
                        sum += u32::from(frame.data()[c.plane.offset + y * c.plane.stride + c.first + x * c.step]);
                        n += 1;
                    }
                }
                ((sum + n / 2) / n) as i32
            });
            out.extend(match frame.format() {
                PixelFormat::Gray => [conversion.gray()[a as usize]; 3],
                format if format.is_yuv() => conversion.pixel(a, b, c, 0),
                _ => [a as u8, b as u8, c as u8],
            });
        }
        out
    }

    #[test]
    fn each_pixel_is_the_mean_that_it_is_defined_as() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let mut out = Vec::new();
        for format in PixelFormat::ALL {
            for (width, height) in [(22, 12), (64, 48), (2, 2), (34, 90)] {
                let mut frame = Frame::default();
                let data = frame.reshape(Geometry::new(format, width, height), &Limits::default()).unwrap();
                data.iter_mut().for_each(|byte| *byte = random() as u8);
                for rotation in [Rotation::None, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters] {
                    for most in [1, 7, 50, 300, 100_000] {
                        let (x, y) = (random() % width, random() % height);
                        let (w, h) = (1 + random() % (width - x), 1 + random() % (height - y));
                        let area = Rect { x, y, width: w, height: h };
                        let (across, down) = frame.shrink(Some(area), rotation, most, &mut out);
                        let (columns, rows) = if rotation.swaps_sides() { (down, across) } else { (across, down) };
                        let defined = defined(&frame, area, rotation, columns, rows);
                        assert!(out == defined, "{format} {width}x{height} {area:?} {rotation:?} {most}");
                    }
                }
            }
        }
    }

    #[test]
    fn any_area_of_any_frame_is_bounded() {
        let mut out = Vec::new();
        for (width, height) in [(1, 1), (1, 500), (500, 1), (3, 7)] {
            let frame = frame(PixelFormat::Yuv420p, width, height);
            for most in [0, 1, 2, 5, 100] {
                for area in [None, Some(Rect { x: 900, y: 900, width: 0, height: 5 })] {
                    let (w, h) = frame.shrink(area, Rotation::ThreeQuarters, most, &mut out);
                    assert!(w >= 1 && h >= 1 && w * h <= most.max(1) && out.len() as u32 == 3 * w * h);
                }
            }
        }
    }
}
