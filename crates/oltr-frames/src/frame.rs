//! A picture in memory, from any source.

mod color;
mod format;
mod label;
pub mod origin;
mod region;

pub use color::{Color, Matrix, Range, Siting};
pub use format::{PixelFormat, Plane};
use label::Label;
pub(crate) use label::url_of;
use origin::Origin;
pub use region::{Rect, RegionOfInterest, Rotation};

use crate::error::{Error, Result};
use crate::limits::Limits;

/// What a preprocessing plan depends on. Frames with equal geometry are processed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Layout of the pixels.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Meaning of luma and chroma.
    pub color: Color,
    /// Position of halved chroma.
    pub siting: Siting,
    /// The part of the frame that is preprocessed.
    pub roi: RegionOfInterest,
}

impl Geometry {
    /// A picture that is examined as a whole, with the colours of JPEG.
    pub fn new(format: PixelFormat, width: u32, height: u32) -> Geometry {
        let (color, siting, roi) = Default::default();
        Geometry { format, width, height, color, siting, roi }
    }
}

/// One picture: the planes of its format, one after another. The rows of the first plane are `stride` bytes apart.
///
/// Checked on creation, so code may index it without further checks. A stream recycles a few frames: they are created
/// with [`Frame::with_capacity`] and never grow beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    geometry: Geometry,
    stride: usize,
    data: Vec<u8>,
    /// Bytes that `data` may never exceed.
    bound: usize,
    /// Bytes that a source has written of the picture that it is still reading.
    pub(crate) filled: usize,
    /// Whether it is a network's preprocessed input.
    input: bool,
    /// Whether its bytes are an encoded picture.
    coded: bool,
    stamp: Stamp,
    label: Label,
    again: bool,
    origin: Origin,
    /// The encoded picture that it was decoded from, if requested.
    encoded: Vec<u8>,
    /// Most bytes of `encoded`; 0 if not requested.
    encoded_bound: usize,
}

/// Position of a frame in its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Its number, from 0. Sources count all frames that they saw, so a gap means lost frames.
    pub seq: u64,
    /// Arrival of its last byte, or the camera's time, in nanoseconds of the monotonic clock
    /// ([`monotonic_ns`](crate::clock::monotonic_ns)).
    pub mono_ns: u64,
}

impl Frame {
    /// A frame over `data`, rows of the first plane `stride` bytes apart.
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
        let geometry = Geometry::new(format, width, height);
        check_size("frame", width, height, limits)?;
        check_stride(geometry, stride)?;
        let last = format.plane(format.planes() - 1, width, height, stride);
        let needed = last.offset + last.len();
        if data.len() < needed {
            let reason = format!("{width}x{height} needs {needed} bytes, {} were given", data.len());
            return Err(Error::BadInput { subject: "frame".into(), reason });
        }
        Ok(Frame { geometry, stride, data, ..Frame::default() })
    }

    /// An empty frame with a capacity of `bytes` bytes, allocated now.
    pub fn with_capacity(bytes: usize) -> Frame {
        let mut data = vec![0; bytes.max(3)];
        data.truncate(3);
        Frame { data, bound: bytes.max(3), ..Frame::default() }
    }

    /// Requests that sources keep the JPEG that this frame is decoded from, up to `bytes` bytes. The memory is
    /// allocated now.
    pub fn keep_encoded(&mut self, bytes: usize) {
        self.encoded = Vec::with_capacity(bytes);
        self.encoded_bound = bytes;
    }

    /// The JPEG that the frame was decoded from. `None` if there is none, it was not [requested](Frame::keep_encoded),
    /// or it is too long.
    pub fn encoded(&self) -> Option<&[u8]> {
        Some(self.encoded.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// Whether the encoded picture is to be kept.
    pub(crate) fn wants_encoded(&self) -> bool {
        self.encoded_bound > 0
    }

    /// Keeps the frame's own bytes as the encoded picture, if requested.
    pub(crate) fn set_encoded_itself(&mut self) {
        let data = std::mem::take(&mut self.data);
        self.set_encoded(&data);
        self.data = data;
    }

    /// Keeps `bytes` as the encoded picture, if requested.
    pub(crate) fn set_encoded(&mut self, bytes: &[u8]) {
        self.encoded.clear();
        if bytes.len() <= self.encoded_bound {
            self.encoded.extend_from_slice(bytes);
        }
    }

    /// Makes this a frame of `geometry` with rows without gaps, and returns its bytes to write (planes as in
    /// [`PixelFormat::plane`], with unspecified contents).
    ///
    /// The frame's memory is reused, and grows if it is too small and has no fixed capacity. Frames are recycled this
    /// way.
    ///
    /// # Errors
    /// [`Error::BadImage`] for an empty picture, [`Error::Limit`] beyond `limits` or the capacity; the frame is then
    /// unchanged.
    pub fn reshape(&mut self, geometry: Geometry, limits: &Limits) -> Result<&mut [u8]> {
        self.reshape_padded(geometry, geometry.format.row_bytes(geometry.width), limits)
    }

    /// As [`Frame::reshape`], with rows of the first plane `stride` bytes apart. All rows are padded, including the
    /// last.
    ///
    /// # Errors
    /// As [`Frame::reshape`], and [`Error::BadInput`] for a stride shorter than a row.
    pub fn reshape_padded(&mut self, geometry: Geometry, stride: usize, limits: &Limits) -> Result<&mut [u8]> {
        let Geometry { format, width, height, .. } = geometry;
        check_size("frame", width, height, limits)?;
        check_stride(geometry, stride)?;
        let bytes = format.frame_bytes(width, height, stride);
        if bytes > self.bound {
            let (value, limit) = (bytes as u64, self.bound as u64);
            return Err(Error::Limit { subject: "frame".into(), what: "frame_bytes", value, limit });
        }
        self.data.resize(bytes, 0);
        self.encoded.clear();
        (self.geometry, self.stride) = (geometry, stride);
        (self.input, self.coded) = (false, false);
        Ok(&mut self.data)
    }

    /// As [`Frame::reshape`], with room for `bytes` bytes if that is more: for a picture whose padding is removed after
    /// reading.
    ///
    /// # Errors
    /// As [`Frame::reshape`].
    pub(crate) fn reshape_loose(&mut self, geometry: Geometry, bytes: usize, limits: &Limits) -> Result<&mut [u8]> {
        if bytes > self.bound {
            let (value, limit) = (bytes as u64, self.bound as u64);
            return Err(Error::Limit { subject: "frame".into(), what: "frame_bytes", value, limit });
        }
        self.encoded.clear();
        if self.geometry != geometry {
            self.reshape(geometry, limits)?;
        }
        let Geometry { format, width, height, .. } = geometry;
        let packed = format.frame_bytes(width, height, format.row_bytes(width));
        self.data.resize(bytes.max(packed), 0);
        Ok(&mut self.data)
    }

    /// Makes this the input of a network, `side` × `side` pixels of RGB that need no preprocessing, and gives its bytes to
    /// be written.
    ///
    /// # Errors
    /// As [`Frame::reshape`].
    pub fn make_input(&mut self, side: u32, limits: &Limits) -> Result<&mut [u8]> {
        self.reshape(Geometry::new(PixelFormat::Rgb24, side, side), limits)?;
        self.input = true;
        Ok(&mut self.data)
    }

    /// Whether an earlier run received this frame and was killed before it reported what became of it. The frame may
    /// have been reported already.
    pub fn is_again(&self) -> bool {
        self.again
    }

    /// Sets [`Frame::is_again`].
    pub(crate) fn set_again(&mut self, again: bool) {
        self.again = again;
    }

    /// Whether it is already a network's input, which preprocessing passes on unchanged.
    pub fn is_input(&self) -> bool {
        self.input
    }

    /// Stores the encoded picture `bytes`, which a [`LateDecoder`](crate::source::LateDecoder) will decode to
    /// `geometry`. Returns whether they fit: decoded pictures are usually larger.
    ///
    /// # Errors
    /// As [`Frame::reshape`].
    pub fn keep_coded(&mut self, bytes: &[u8], geometry: Geometry, limits: &Limits) -> Result<bool> {
        let room = self.reshape(geometry, limits)?.len();
        if bytes.len() > room {
            return Ok(false);
        }
        self.data.clear();
        self.data.extend_from_slice(bytes);
        self.coded = true;
        Ok(true)
    }

    /// Whether its bytes are an encoded picture, without rows and planes.
    pub fn is_coded(&self) -> bool {
        self.coded
    }

    /// Swaps the pictures of the two frames. Labels and stamps stay.
    pub(crate) fn swap_picture(&mut self, other: &mut Frame) {
        std::mem::swap(&mut self.geometry, &mut other.geometry);
        std::mem::swap(&mut self.stride, &mut other.stride);
        std::mem::swap(&mut self.data, &mut other.data);
        std::mem::swap(&mut self.bound, &mut other.bound);
        std::mem::swap(&mut self.input, &mut other.input);
        std::mem::swap(&mut self.coded, &mut other.coded);
    }

    /// Copies the picture and origin of `other`. This frame keeps its memory, label and stamp.
    pub(crate) fn copy(&mut self, other: &Frame, limits: &Limits) -> Result<()> {
        self.reshape_padded(other.geometry, other.stride, limits)?.copy_from_slice(&other.data);
        self.input = other.input;
        self.origin.clone_from(&other.origin);
        Ok(())
    }

    /// All that preprocessing depends on.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Layout of the pixels.
    pub fn format(&self) -> PixelFormat {
        self.geometry.format
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.geometry.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.geometry.height
    }

    /// Bytes from one row of the first plane to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Plane `index` of the picture.
    ///
    /// # Panics
    /// If the format has no such plane.
    pub fn plane(&self, index: usize) -> Plane {
        assert!(index < self.format().planes(), "plane {index} of {}", self.format());
        self.format().plane(index, self.width(), self.height(), self.stride)
    }

    /// The bytes of all planes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The pixels of row `y` of the first plane, [`PixelFormat::row_bytes`] bytes.
    ///
    /// # Panics
    /// If `y` is not below the height.
    pub fn row(&self, y: u32) -> &[u8] {
        assert!(y < self.height(), "row {y} of a frame of {} rows", self.height());
        let start = y as usize * self.stride;
        &self.data[start..start + self.format().row_bytes(self.width())]
    }

    /// Sets the meaning of luma and chroma, and the position of chroma.
    pub fn set_color(&mut self, color: Color, siting: Siting) {
        (self.geometry.color, self.geometry.siting) = (color, siting);
    }

    /// Sets the part of the frame that is preprocessed.
    pub fn set_roi(&mut self, roi: RegionOfInterest) {
        self.geometry.roi = roi;
    }

    /// Number and time.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Sets number and time.
    pub fn set_stamp(&mut self, stamp: Stamp) {
        self.stamp = stamp;
    }

    /// Label of the picture, such as a photo's path; empty for most.
    pub fn label(&self) -> &str {
        &self.label.text
    }

    /// Sets the label. Reuses the last label's memory.
    pub fn set_label(&mut self, label: &str) {
        self.label.set(label);
    }

    /// Sets the label to `path`.
    pub fn set_path(&mut self, path: &std::path::Path) {
        self.label.set_path(path);
    }

    /// The label's path as a relative URL, with `%E9` for a byte, if the path is not UTF-8.
    pub fn url(&self) -> Option<&str> {
        Some(self.label.url.as_str()).filter(|url| !url.is_empty())
    }

    /// Time, place and camera, if the frame is a photo with EXIF data.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sets the origin.
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    /// Bytes of memory that the frame takes.
    pub fn bytes(&self) -> usize {
        self.data.capacity() + self.encoded.capacity() + self.label.text.capacity() + self.label.url.capacity()
    }

    /// Swaps the frame's data with `data` of the same size, for transforms that cannot work in place.
    pub(crate) fn swap_data(&mut self, geometry: Geometry, data: &mut Vec<u8>) {
        let stride = geometry.format.row_bytes(geometry.width);
        debug_assert_eq!(data.len(), geometry.format.frame_bytes(geometry.width, geometry.height, stride));
        std::mem::swap(&mut self.data, data);
        (self.geometry, self.stride) = (geometry, stride);
    }
}

/// A single black pixel: an empty frame to fill.
impl Default for Frame {
    fn default() -> Self {
        let geometry = Geometry::new(PixelFormat::Rgb24, 1, 1);
        let (filled, input, coded, stamp, label, again, origin) = Default::default();
        let (stride, data, bound) = (3, vec![0; 3], usize::MAX);
        let (encoded, encoded_bound) = Default::default();
        Frame {
            geometry,
            stride,
            data,
            bound,
            filled,
            input,
            coded,
            stamp,
            label,
            again,
            origin,
            encoded,
            encoded_bound,
        }
    }
}

fn check_stride(geometry: Geometry, stride: usize) -> Result<()> {
    let row = geometry.format.row_bytes(geometry.width);
    // All planes together take at most four times the first.
    let too_long = stride as u64 * u64::from(geometry.height) > isize::MAX as u64 / 4;
    if stride < row || too_long {
        let reason = format!(
            "a stride of {stride} bytes is {} than a row of {row}",
            if too_long { "much longer" } else { "shorter" }
        );
        return Err(Error::BadInput { subject: "frame".into(), reason });
    }
    Ok(())
}

/// Refuses sizes that are empty or beyond the bounds, before anything is allocated for them.
///
/// # Errors
/// [`Error::BadImage`] for an empty picture, [`Error::Limit`] for one that is too large.
pub fn check_size(subject: &str, width: u32, height: u32, limits: &Limits) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::BadImage {
            subject: subject.into(),
            reason: format!("the picture is empty ({width}x{height}); give one of a pixel at least"),
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
