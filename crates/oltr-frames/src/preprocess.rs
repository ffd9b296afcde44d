//! Turns a frame into the model's input: the square of pixels that a bundle's network was trained on.
//!
//! Two steps, each planned once: a [`Preprocessor`] turns frames of one geometry into `size` × `size` RGB bytes, and a
//! [`Normaliser`] turns those bytes into the float input, or into a table for a quantised input. Both compute exactly
//! what the training code computes with Pillow and numpy, so that a bundle sees the same pixels in the field as in
//! training.
//!
//! Frames of luma and chroma are resampled plane by plane and converted at the size of the input, by the integer
//! formula below. The result differs by at most 2 levels from converting first. A frame's
//! [`RegionOfInterest`](crate::RegionOfInterest) is part of the plan: its region is resampled as if cropped, and
//! rotated at the small size.
//!
//! # Conversion
//! With `y` = Y − black, `u` = U − 128, `v` = V − 128, and the weights of ITU-R BT.601 (`Kr` 0.299, `Kb` 0.114) or BT.709
//! (`Kr` 0.2126, `Kb` 0.0722), `Kg` = 1 − `Kr` − `Kb`:
//!
//! ```text
//! R = (ly·y + rv·v        + 2¹³) >> 14     ly = 255 / (white − black)
//! G = (ly·y − gu·u − gv·v + 2¹³) >> 14     rv = 2·(1 − Kr)·c          bu = 2·(1 − Kb)·c
//! B = (ly·y + bu·u        + 2¹³) >> 14     gu = 2·Kb·(1 − Kb)/Kg·c    gv = 2·Kr·(1 − Kr)/Kg·c
//! ```
//!
//! clamped to 0..=255. Each factor is rounded to 14 bits of fraction. In full range black is 0, white 255, and `c` 1;
//! in limited range 16, 235, and `c` 255/224. The result is within 1 of the same formula in real numbers.

mod color;
mod geometry;
mod normalise;
mod planes;
mod resample;
mod rows;
mod settings;
mod shrink;
mod turn;

pub use geometry::{Placement, SourceBox};
pub use normalise::Normaliser;
pub(crate) use rows::{RowResampler, Stored};
pub use settings::{Preprocess, Resize};

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, Range, Rect, Rotation};
use crate::limits::Limits;
use planes::Planes;
use resample::{Resampler, Room, Span, reserve};

/// Turns frames into the pixels of the model's input.
///
/// Everything that depends on the source's geometry is computed once. A further frame of the same geometry allocates
/// nothing. Neither does one that differs only in its [`RegionOfInterest`](crate::RegionOfInterest), from the third on:
/// a moving object is cut out at another place and size in each frame.
///
/// # Example
/// ```
/// # use oltr_frames as oltr;
/// use oltr::preprocess::{Preprocess, Preprocessor, Resize};
/// use oltr::{Frame, Limits, PixelFormat};
///
/// let settings = Preprocess {
///     size: 2,
///     resize: Resize::ShorterSide,
///     resize_to: None,
///     mean: [127.0; 3],
///     std: [128.0; 3],
///     pad_color: None,
/// };
/// let gray = Frame::new(PixelFormat::Gray, 4, 2, 4, vec![9, 10, 20, 9, 9, 30, 40, 9], &Limits::default())?;
/// let mut preprocessor = Preprocessor::new(&settings, gray.geometry())?;
/// let mut pixels = vec![0; preprocessor.output_len()];
/// preprocessor.run(&gray, &mut pixels)?;
/// assert_eq!(pixels, [10, 10, 10, 20, 20, 20, 30, 30, 30, 40, 40, 40]);
/// # Ok::<(), oltr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Preprocessor {
    settings: Preprocess,
    plan: Plan,
}

/// All that follows from the settings and the geometry of the source.
#[derive(Clone, Debug)]
struct Plan {
    source: Geometry,
    /// The part of the stored source that is used.
    region: Rect,
    /// Placement within the upright region.
    placement: Placement,
    pixels: Pixels,
    /// The placed picture before rotation: (columns, rows) in the source's orientation, RGB. Empty if the source is
    /// upright.
    unturned: Vec<u8>,
}

/// How the pixels of a format become RGB.
#[derive(Clone, Debug)]
enum Pixels {
    Rgb(Resampler),
    /// Resampled in the source's channels: (rows, columns, 3 or 4).
    Other(Resampler, Vec<u8>),
    /// One channel, (rows, columns), and the output of each value.
    Gray(Resampler, Vec<u8>, Box<[u8; 256]>),
    Planes(Planes),
}

impl Preprocessor {
    /// Plans preprocessing by `settings` for frames of `source`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for settings or a geometry without pixels, or `resize_to` below `size`.
    pub fn new(settings: &Preprocess, source: Geometry) -> Result<Preprocessor> {
        Ok(Preprocessor { plan: Plan::new(settings, source)?, settings: settings.clone() })
    }

    /// The planned geometry: that of the last frame.
    pub fn geometry(&self) -> Geometry {
        self.plan.source
    }

    /// Which part of the upright region goes where.
    pub fn placement(&self) -> Placement {
        self.plan.placement
    }

    /// Bytes that [`Preprocessor::run`] writes: `size * size * 3`.
    pub fn output_len(&self) -> usize {
        self.settings.size as usize * self.settings.size as usize * 3
    }

    /// Bytes of memory that the plan and its buffers take.
    pub fn bytes(&self) -> usize {
        self.plan.bytes()
    }

    /// Most bytes of a plan for a square of `side`, for any frame within `limits`: the placed picture twice, the rows
    /// of the tallest frame narrowed to `side`, and weights for both sides.
    pub fn most_bytes(side: u32, limits: &Limits) -> u64 {
        let (side, highest) = (u64::from(side), u64::from(limits.photo_side).min(limits.frame_bytes as u64));
        // Per pixel of the frame's sides: a narrowed row; eight adjacent rows of up to four bytes; weights.
        const PER_PIXEL: u64 = 8 * 4 + 3 * 8;
        side * side * 3 * 2 + highest * (3 * side + 2 * PER_PIXEL)
    }

    /// Writes the input pixels of `frame` to `out`: interleaved RGB `(size, size, 3)`.
    ///
    /// A frame with a new geometry is planned for first, which allocates.
    ///
    /// # Errors
    /// [`Error::BadInput`] if `out` is not [`Preprocessor::output_len`] long.
    pub fn run(&mut self, frame: &Frame, out: &mut [u8]) -> Result<()> {
        if out.len() != self.output_len() {
            return Err(Error::BadInput {
                subject: "preprocess".into(),
                reason: format!("the output holds {} bytes, must hold {}", out.len(), self.output_len()),
            });
        }
        if frame.is_input() && frame.data().len() == out.len() {
            out.copy_from_slice(frame.data());
            return Ok(());
        }
        if frame.geometry() != self.plan.source {
            self.plan.change(&self.settings, frame.geometry())?;
        }
        if self.settings.resize == Resize::Pad {
            let color = self.settings.pad_color.unwrap_or(self.settings.mean.map(|m| m.round() as u8));
            out.as_chunks_mut().0.fill(color);
        }
        self.plan.run(frame, out, self.settings.size as usize);
        Ok(())
    }
}

impl Plan {
    fn new(settings: &Preprocess, source: Geometry) -> Result<Plan> {
        let Spans { region, placement, columns, rows, unturned } = Spans::new(settings, source)?;
        let pixels = Pixels::new(source, region, columns, rows);
        Ok(Plan { source, region, placement, pixels, unturned: vec![0; unturned] })
    }

    /// Plans for a new `source`. Reuses the last plan's memory if the format is the same.
    ///
    /// # Errors
    /// As [`Preprocessor::new`]; the plan is then unchanged.
    fn change(&mut self, settings: &Preprocess, source: Geometry) -> Result<()> {
        let Spans { region, placement, columns, rows, unturned } = Spans::new(settings, source)?;
        let only_roi = Geometry { roi: self.source.roi, ..source } == self.source;
        if only_roi {
            // More regions of such frames will follow.
            let (columns, rows, output) = (source.width as usize, source.height as usize, settings.size as usize);
            self.pixels.reserve(source.format, Room { columns, rows, output });
            let turned = source.roi.rotation != Rotation::None;
            reserve(&mut self.unturned, if turned { output * output * 3 } else { 0 });
        }
        if !self.pixels.plan(self.source, source, region, columns, rows) {
            self.pixels = Pixels::new(source, region, columns, rows);
        }
        self.unturned.resize(unturned, 0);
        (self.source, self.region, self.placement) = (source, region, placement);
        Ok(())
    }

    fn bytes(&self) -> usize {
        let pixels = match &self.pixels {
            Pixels::Rgb(resampler) => resampler.bytes(),
            Pixels::Other(resampler, placed) => resampler.bytes() + placed.capacity(),
            Pixels::Gray(resampler, placed, values) => resampler.bytes() + placed.capacity() + values.len(),
            Pixels::Planes(planes) => planes.bytes(),
        };
        pixels + self.unturned.capacity()
    }

    /// Resamples `frame` into its place in `out` `(size, size, 3)`.
    fn run(&mut self, frame: &Frame, out: &mut [u8], size: usize) {
        let Placement { width, height, x, y, .. } = self.placement;
        let line = size * 3;
        let corner = y as usize * line + x as usize * 3;
        let out = &mut out[corner..];
        let rotation = self.source.roi.rotation;
        if rotation == Rotation::None {
            return self.pixels.run(frame, self.region, out, line, width as usize);
        }
        let columns = if rotation.swaps_sides() { height } else { width } as usize;
        self.pixels.run(frame, self.region, &mut self.unturned, columns * 3, columns);
        turn::turn(&self.unturned, columns, rotation, out, line);
    }
}

/// Inputs of a plan.
struct Spans {
    region: Rect,
    placement: Placement,
    columns: Span,
    rows: Span,
    /// Bytes of the placed picture before it is turned.
    unturned: usize,
}

impl Spans {
    fn new(settings: &Preprocess, source: Geometry) -> Result<Spans> {
        let region = region(source)?;
        let rotation = source.roi.rotation;
        let (width, height) = match rotation.swaps_sides() {
            true => (region.height, region.width),
            false => (region.width, region.height),
        };
        let placement = Placement::new(settings, width, height)?;
        let (part, columns, rows) = turn::unturned(&placement, rotation, region.width, region.height);
        let unturned = if rotation == Rotation::None { 0 } else { columns as usize * rows as usize * 3 };
        let columns = Span { input: region.width, from: part.left, to: part.right, output: columns };
        let rows = Span { input: region.height, from: part.top, to: part.bottom, output: rows };
        Ok(Spans { region, placement, columns, rows, unturned })
    }
}

impl Pixels {
    fn new(source: Geometry, region: Rect, columns: Span, rows: Span) -> Pixels {
        let resampler = Resampler::default();
        let mut pixels = match source.format {
            PixelFormat::Rgb24 => Pixels::Rgb(resampler),
            PixelFormat::Bgr24 | PixelFormat::Rgba | PixelFormat::Bgra => Pixels::Other(resampler, Vec::new()),
            PixelFormat::Gray => Pixels::Gray(resampler, Vec::new(), values(source)),
            _ => return Pixels::Planes(Planes::new(source, region, columns, rows)),
        };
        pixels.plan(source, source, region, columns, rows);
        pixels
    }

    /// Plans for `source` in place, if the plan for `before` has the same format. Returns whether it has.
    fn plan(&mut self, before: Geometry, source: Geometry, region: Rect, columns: Span, rows: Span) -> bool {
        if before.format != source.format {
            return false;
        }
        let channels = source.format.bytes_per_pixel();
        let bytes = columns.output as usize * rows.output as usize * channels;
        match self {
            Pixels::Rgb(resampler) => resampler.plan(channels, columns, rows),
            Pixels::Other(resampler, placed) => {
                resampler.plan(channels, columns, rows);
                placed.resize(bytes, 0);
            }
            Pixels::Gray(resampler, placed, table) => {
                resampler.plan(channels, columns, rows);
                placed.resize(bytes, 0);
                if before.color != source.color {
                    *table = values(source);
                }
            }
            Pixels::Planes(planes) => planes.plan(source, region, columns, rows),
        }
        true
    }

    /// Takes memory for plans of any part of `room`.
    fn reserve(&mut self, format: PixelFormat, room: Room) {
        let channels = format.bytes_per_pixel();
        match self {
            Pixels::Rgb(resampler) => resampler.reserve(channels, room),
            Pixels::Other(resampler, placed) | Pixels::Gray(resampler, placed, _) => {
                resampler.reserve(channels, room);
                reserve(placed, room.output * room.output * channels);
            }
            Pixels::Planes(planes) => planes.reserve(room),
        }
    }

    /// Resamples the planned part to RGB: `out` of `columns`, rows `line` bytes apart.
    fn run(&mut self, frame: &Frame, region: Rect, out: &mut [u8], line: usize, columns: usize) {
        let (stride, channels) = (frame.stride(), frame.format().bytes_per_pixel());
        let plane = &frame.data()[region.y as usize * stride + region.x as usize * channels..];
        match self {
            Pixels::Rgb(resampler) => resampler.run(plane, stride, out, line),
            Pixels::Other(resampler, placed) => {
                resampler.run(plane, stride, placed, columns * channels);
                for (line, placed) in out.chunks_mut(line).zip(placed.chunks_exact(columns * channels)) {
                    let pixels = line.as_chunks_mut::<3>().0.iter_mut();
                    match channels {
                        3 => pixels.zip(placed.as_chunks::<3>().0).for_each(|(to, [b, g, r])| *to = [*r, *g, *b]),
                        _ if frame.format() == PixelFormat::Bgra => {
                            pixels.zip(placed.as_chunks::<4>().0).for_each(|(to, [b, g, r, _])| *to = [*r, *g, *b])
                        }
                        _ => pixels.zip(placed.as_chunks::<4>().0).for_each(|(to, [r, g, b, _])| *to = [*r, *g, *b]),
                    }
                }
            }
            // One channel costs a third of three equal ones and gives the same result.
            Pixels::Gray(resampler, placed, values) => {
                resampler.run(plane, stride, placed, columns);
                for (line, gray) in out.chunks_mut(line).zip(placed.chunks_exact(columns)) {
                    for (pixel, gray) in line.as_chunks_mut::<3>().0.iter_mut().zip(gray) {
                        *pixel = [values[usize::from(*gray)]; 3];
                    }
                }
            }
            Pixels::Planes(planes) => planes.run(frame, out, line),
        }
    }
}

/// Output value of each luma of a grey `source`.
fn values(source: Geometry) -> Box<[u8; 256]> {
    Box::new(match source.color.range {
        Range::Full => std::array::from_fn(|value| value as u8),
        Range::Limited => color::Conversion::new(source.color).gray(),
    })
}

/// The part of a source that is used.
fn region(source: Geometry) -> Result<Rect> {
    let Geometry { width, height, roi, .. } = source;
    let Some(region) = roi.region else {
        return Ok(Rect { x: 0, y: 0, width, height });
    };
    let fits = |start: u32, length: u32, all: u32| length > 0 && u64::from(start) + u64::from(length) <= all.into();
    if !fits(region.x, region.width, width) || !fits(region.y, region.height, height) {
        let reason = format!("the region {region} (x,y,width,height) is not within {width}x{height} pixels");
        return Err(Error::BadInput { subject: "preprocess".into(), reason });
    }
    Ok(region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::RegionOfInterest;
    use crate::limits::Limits;

    fn settings(resize: Resize) -> Preprocess {
        Preprocess { size: 24, resize, resize_to: None, mean: [99.0; 3], std: [1.0; 3], pad_color: None }
    }

    /// A part of a frame gives the same result after any earlier plan, and reuses its memory.
    #[test]
    fn parts_of_a_frame_are_planned_in_the_memory_of_the_last() {
        let part = |x, y, width, height| Some(Rect { x, y, width, height });
        let views =
            [None, part(3, 5, 9, 31), part(0, 0, 61, 43), part(60, 42, 1, 1), part(7, 1, 50, 3), part(1, 2, 40, 40)];
        let rotations = [Rotation::None, Rotation::Quarter];
        for format in PixelFormat::ALL {
            for resize in [Resize::Pad, Resize::Stretch, Resize::ShorterSide] {
                let mut frame = Frame::default();
                let bytes = frame.reshape(Geometry::new(format, 61, 43), &Limits::default()).unwrap();
                bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i * i % 251) as u8);
                let mut kept = Preprocessor::new(&settings(resize), frame.geometry()).unwrap();
                let (mut pixels, mut expected) = (vec![0; kept.output_len()], vec![1; kept.output_len()]);
                let mut taken = None;
                for (n, region) in views.iter().cycle().take(3 * views.len()).enumerate() {
                    frame.set_roi(RegionOfInterest { region: *region, rotation: rotations[n / 2 % 2] });
                    kept.run(&frame, &mut pixels).unwrap();
                    let fresh = Preprocessor::new(&settings(resize), frame.geometry());
                    fresh.unwrap().run(&frame, &mut expected).unwrap();
                    assert!(pixels == expected, "{format} {resize:?} {region:?}");
                    if n >= 3 {
                        assert_eq!(*taken.get_or_insert(kept.bytes()), kept.bytes(), "{format} {resize:?} {region:?}");
                    }
                }
            }
        }
    }
}
