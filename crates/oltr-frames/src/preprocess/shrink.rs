//! A part of a frame as RGB, made small enough: what is kept of a picture to be examined later.

use super::color::Conversion;
use crate::frame::{Frame, PixelFormat, Plane, Rect, Rotation};

/// A channel: where its samples lie in a plane.
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
    /// The mean of the samples of the pixels `columns` × `rows`, at least one.
    fn mean(&self, data: &[u8], columns: (usize, usize), rows: (usize, usize)) -> i32 {
        let (left, right) = (columns.0 / self.across, columns.1.div_ceil(self.across).max(columns.0 / self.across + 1));
        let (top, bottom) = (rows.0 / self.down, rows.1.div_ceil(self.down).max(rows.0 / self.down + 1));
        let mut sum = 0u32;
        for y in top..bottom.min(self.plane.rows) {
            let row = self.plane.offset + y * self.plane.stride + self.first;
            for x in left..right {
                sum += u32::from(data.get(row + x * self.step).copied().unwrap_or(0));
            }
        }
        let n = ((right - left) * (bottom.min(self.plane.rows) - top).max(1)) as u32;
        ((sum + n / 2) / n) as i32
    }
}

impl Frame {
    /// The pixels of `area` (all of the frame where that is `None`, and no more than the frame has) as RGB rows without
    /// gaps, turned by `rotation` and made smaller so that there are no more than `most` pixels: each is the mean of those
    /// that it stands for. Returns width and height. `out` grows to three bytes a pixel at most.
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
        // First and last pixel of part `i` of `n` parts of `length` pixels from `start`.
        let part = |start: u32, length: u32, n: u32, i: u32| {
            let edge = |i: u32| (u64::from(start) + u64::from(length) * u64::from(i) / u64::from(n)) as usize;
            (edge(i), edge(i + 1).max(edge(i) + 1))
        };
        for (at, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (px, py) = (at as u32 % out_width, at as u32 / out_width);
            let (column, row) = match rotation {
                Rotation::None => (px, py),
                Rotation::Quarter => (py, rows - 1 - px),
                Rotation::Half => (columns - 1 - px, rows - 1 - py),
                Rotation::ThreeQuarters => (columns - 1 - py, px),
            };
            let (xs, ys) = (part(x, w, columns, column), part(y, h, rows, row));
            let [a, b, c] = channels.map(|channel| channel.mean(self.data(), xs, ys));
            *pixel = match self.format() {
                PixelFormat::Gray => [gray[a as usize]; 3],
                format if format.is_yuv() => conversion.pixel(a, b, c, 0),
                _ => [a as u8, b as u8, c as u8],
            };
        }
        (out_width, out_height)
    }
}

/// Red, green and blue, or Y, U and V; thrice the same of a gray picture.
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
            // The left half comes to the top, the right, the bottom.
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
