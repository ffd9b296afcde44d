//! Source geometry to model input: the square of pixels that a bundle's network was trained on.
//!
//! Two steps, each planned once: a [`Preprocessor`] turns frames of one geometry into `size` × `size` RGB bytes, and a
//! [`Normaliser`] turns those bytes into the float input, or a table for an input that is quantised at once. Both
//! compute exactly what the training code computes with Pillow and numpy, so that a bundle sees in the field what it
//! saw in training.

mod geometry;
mod normalise;
mod resample;

pub use geometry::{Placement, SourceBox};
pub use normalise::Normaliser;

use crate::bundle::{Preprocess, Resize};
use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat};
use resample::{Resampler, Span};

/// Turns frames into the pixels of the model's input.
///
/// Everything that depends on the geometry of the source is computed once and kept; a frame of the same geometry as the
/// one before it takes no memory.
///
/// # Example
/// ```
/// use oltr::bundle::{Preprocess, Resize};
/// use oltr::preprocess::Preprocessor;
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
    placement: Placement,
    resampler: Resampler,
    /// The resampled plane of a gray source: (placed height, placed width).
    gray: Vec<u8>,
}

impl Preprocessor {
    /// Plans preprocessing by `settings` for frames of `source`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for settings or a geometry without pixels, or `resize_to` below `size`.
    pub fn new(settings: &Preprocess, source: Geometry) -> Result<Preprocessor> {
        Ok(Preprocessor { plan: Plan::new(settings, source)?, settings: settings.clone() })
    }

    /// The geometry that is planned for: that of the last frame.
    pub fn geometry(&self) -> Geometry {
        self.plan.source
    }

    /// Which part of the source goes where.
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

    /// Writes the input pixels of `frame` to `out`: interleaved RGB `(size, size, 3)`.
    ///
    /// A frame of another geometry than the last one is planned for first, which takes memory.
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
        if frame.geometry() != self.plan.source {
            self.plan = Plan::new(&self.settings, frame.geometry())?;
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
        if !matches!(source.format, PixelFormat::Rgb24 | PixelFormat::Gray) {
            let reason = format!("{} is not resampled yet", source.format);
            return Err(Error::BadInput { subject: "preprocess".into(), reason });
        }
        let placement = Placement::new(settings, source.width, source.height)?;
        let part = placement.source;
        let columns = Span { input: source.width, from: part.left, to: part.right, output: placement.width };
        let rows = Span { input: source.height, from: part.top, to: part.bottom, output: placement.height };
        let gray = match source.format {
            PixelFormat::Gray => placement.width as usize * placement.height as usize,
            _ => 0,
        };
        let resampler = Resampler::new(source.format.bytes_per_pixel(), columns, rows);
        Ok(Plan { source, placement, resampler, gray: vec![0; gray] })
    }

    fn bytes(&self) -> usize {
        self.resampler.bytes() + self.gray.capacity()
    }

    /// Resamples `frame` into its place in `out` `(size, size, 3)`.
    fn run(&mut self, frame: &Frame, out: &mut [u8], size: usize) {
        let Placement { width, x, y, .. } = self.placement;
        let (width, line) = (width as usize, size * 3);
        let corner = y as usize * line + x as usize * 3;
        let out = &mut out[corner..];
        match frame.format() {
            PixelFormat::Rgb24 => self.resampler.run(frame.data(), frame.stride(), out, line),
            // One channel costs a third, and gives what three equal ones would.
            PixelFormat::Gray => {
                self.resampler.run(frame.data(), frame.stride(), &mut self.gray, width);
                for (line, gray) in out.chunks_mut(line).zip(self.gray.chunks_exact(width)) {
                    for (pixel, gray) in line.as_chunks_mut::<3>().0.iter_mut().zip(gray) {
                        *pixel = [*gray; 3];
                    }
                }
            }
            format => unreachable!("{format} is refused when it is planned for"),
        }
    }
}
