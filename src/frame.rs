//! A picture in memory, wherever it came from.

use crate::error::{Error, Result};
use crate::limits::Limits;

/// How the bytes of a [`Frame`] are laid out.
///
/// The formats so far have one plane. A planar one (`yuv420p`, `nv12`) will keep its planes one after another in the
/// frame's bytes, each with its own size, stride and offset derived from the format and the frame's; preprocessing
/// then resamples each plane from its own box and converts to RGB at the size of the model's input, which costs far
/// less than converting the frame first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// 3 bytes a pixel: red, green, blue.
    Rgb24,
    /// 1 byte a pixel: luminance, full range.
    Gray,
}

impl PixelFormat {
    /// Bytes that one pixel takes in a row.
    pub fn bytes_per_pixel(self) -> usize {
        match self {
            PixelFormat::Rgb24 => 3,
            PixelFormat::Gray => 1,
        }
    }
}

/// What preprocessing must know of a frame to be planned: frames that agree in it are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Layout of the pixels.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// One picture: `height` rows of `stride` bytes, of which the first `width * bytes_per_pixel` are pixels.
///
/// Checked when made, so that whoever holds one may index it without looking again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    format: PixelFormat,
    width: u32,
    height: u32,
    stride: usize,
    data: Vec<u8>,
}

impl Frame {
    /// A frame over `data`, rows `stride` bytes apart.
    ///
    /// # Errors
    /// [`Error::Limit`] beyond `limits.photo_side` or `limits.photo_pixels`; [`Error::BadInput`] for an empty
    /// picture, a stride shorter than a row, or too few bytes.
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: usize,
        data: Vec<u8>,
        limits: &Limits,
    ) -> Result<Frame> {
        check_size("frame", width, height, limits)?;
        let row = width as usize * format.bytes_per_pixel();
        let bad = |reason: String| Error::BadInput { subject: "frame".into(), reason };
        if stride < row {
            return Err(bad(format!("a stride of {stride} bytes is shorter than a row of {row}")));
        }
        let needed = stride * (height as usize - 1) + row;
        if data.len() < needed {
            return Err(bad(format!("{width}x{height} needs {needed} bytes, {} were given", data.len())));
        }
        Ok(Frame { format, width, height, stride, data })
    }

    /// Makes this a frame of `geometry` with rows that follow each other without a gap, and gives its bytes to be
    /// written (`width * bytes_per_pixel * height`, of any content).
    ///
    /// The memory of the frame is kept, and grown where it is too small: this is how frames are recycled.
    ///
    /// # Errors
    /// [`Error::BadImage`] for an empty picture, [`Error::Limit`] beyond `limits`; the frame is as it was.
    pub fn reshape(&mut self, geometry: Geometry, limits: &Limits) -> Result<&mut [u8]> {
        let Geometry { format, width, height } = geometry;
        check_size("frame", width, height, limits)?;
        let stride = width as usize * format.bytes_per_pixel();
        self.data.resize(stride * height as usize, 0);
        (self.format, self.width, self.height, self.stride) = (format, width, height, stride);
        Ok(&mut self.data)
    }

    /// Layout and size.
    pub fn geometry(&self) -> Geometry {
        Geometry { format: self.format, width: self.width, height: self.height }
    }

    /// Layout of the pixels.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The bytes, at least `stride * (height - 1) + width * bytes_per_pixel` of them.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels of row `y`, `width * bytes_per_pixel` bytes.
    ///
    /// # Panics
    /// If `y` is not below the height.
    pub fn row(&self, y: u32) -> &[u8] {
        assert!(y < self.height, "row {y} of a frame of {} rows", self.height);
        let start = y as usize * self.stride;
        &self.data[start..start + self.width as usize * self.format.bytes_per_pixel()]
    }

    /// Swaps the pixels of two frames of one geometry's size in bytes; for transforms that cannot work in place.
    pub(crate) fn swap_data(&mut self, geometry: Geometry, data: &mut Vec<u8>) {
        let stride = geometry.width as usize * geometry.format.bytes_per_pixel();
        debug_assert_eq!(data.len(), stride * geometry.height as usize);
        std::mem::swap(&mut self.data, data);
        (self.format, self.width, self.height, self.stride) =
            (geometry.format, geometry.width, geometry.height, stride);
    }
}

/// A single black pixel: a frame to be filled.
impl Default for Frame {
    fn default() -> Self {
        Frame { format: PixelFormat::Rgb24, width: 1, height: 1, stride: 3, data: vec![0; 3] }
    }
}

/// Refuses sizes that are empty or beyond the bounds, before anything is allocated for them.
///
/// # Errors
/// [`Error::BadImage`] for an empty picture, [`Error::Limit`] for one that is too large.
pub fn check_size(subject: &str, width: u32, height: u32, limits: &Limits) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::BadImage {
            subject: subject.into(),
            reason: format!("the picture is empty ({width}x{height})"),
        });
    }
    let limit = |what, value, limit| Error::Limit { subject: subject.into(), what, value, limit };
    let side = width.max(height);
    if side > limits.photo_side {
        return Err(limit("photo_side", side.into(), limits.photo_side.into()));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.photo_pixels {
        return Err(limit("photo_pixels", pixels, limits.photo_pixels));
    }
    Ok(())
}
