//! Photos: encoded pictures in files or in memory, decoded to upright RGB frames.
//!
//! The format is told from the content, never from the name: JPEG, PNG, WebP, GIF, BMP, TIFF, and the PNM family. Of
//! an animation or a file of several pages the first picture is taken. What comes out is what Pillow's
//! `ImageOps.exif_transpose(image).convert("RGB")` gives the training code: the orientation is applied that EXIF or, where
//! that says nothing, XMP gives; grey is tripled, palettes are resolved, an alpha channel is dropped without blending, and
//! colour profiles are passed over. JPEG and lossy WebP decoders may round differently, by a few levels, and so may PNM whose
//! samples do not end at 255 and BMP of 16 bits a pixel, by one. Of 16 bits the upper 8 are kept, also of grey, which Pillow
//! cuts off at 255 and so shows white.
//!
//! What is not read is refused with its kind: floating-point numbers, raw files of cameras, rare compressions of TIFF.

mod bmp;
mod exif;
mod foreign;
mod gif;
mod ifd;
mod input;
mod metadata;
mod orient;
mod pixels;
mod tiff;

#[cfg(test)]
pub(crate) use orient::upright;

use std::io::{Cursor, Read};
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::pnm::PnmDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{UnsupportedError, UnsupportedErrorKind};
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};

use oltr_jpeg::{Beginning, Data, Fault, Survey};

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;
use crate::source::patient::Patient;
use crate::source::{jpeg, patient};
pub use input::{Decode, InputReader, Seen};

/// Bytes that a file is begun with: the headers of most photos, and more of the others.
const HEAD: u64 = 64 << 10;

/// Decodes photos one after another, keeping its buffers from one to the next.
///
/// # Memory
/// Besides the frame: the file (`photo_bytes`), and up to 16 bytes a pixel (`photo_pixels`) for a picture of 16 bits a
/// channel. A JPEG takes a few rows, and 3 bytes a pixel where it is to be turned; only some of its file is in memory at a
/// time, unless it is a FIFO or kept in the frame.
///
/// # Example
/// ```
/// # use oltr_frames as oltr;
/// use oltr::source::photo::Decoder;
/// use oltr::{Frame, Limits};
///
/// let mut decoder = Decoder::new(&Limits::default());
/// let mut frame = Frame::default();
/// decoder.decode("two gray pixels", b"P5 2 1 255 \x00\xff", &mut frame)?;
/// assert_eq!(frame.data(), [0, 0, 0, 255, 255, 255]);
/// # Ok::<(), oltr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
    /// The encoded file.
    file: Vec<u8>,
    /// What comes between the file and the frame: the picture in another layout, or not yet upright.
    scratch: Vec<u8>,
    room: jpeg::Room,
}

/// Reads and decodes the photo at `path`.
///
/// # Errors
/// As [`Decoder::read`].
pub fn read(path: impl AsRef<Path>, limits: &Limits) -> Result<Frame> {
    let mut frame = Frame::default();
    Decoder::new(limits).read(path, &mut frame)?;
    Ok(frame)
}

/// Decodes the photo `bytes`; `subject` stands for it in messages.
///
/// # Errors
/// As [`Decoder::decode`].
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits) -> Result<Frame> {
    let mut frame = Frame::default();
    Decoder::new(limits).decode(subject, bytes, &mut frame)?;
    Ok(frame)
}

impl Decoder {
    /// A decoder that keeps to `limits`.
    pub fn new(limits: &Limits) -> Decoder {
        Decoder { limits: limits.clone(), file: Vec::new(), scratch: Vec::new(), room: jpeg::Room::default() }
    }

    /// Reads and decodes the photo at `path` into `frame`, whose memory is kept where it suffices.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Io`], also for a FIFO into which nobody writes for a minute; [`Error::Limit`] for a
    /// file beyond `photo_bytes`; as [`Decoder::decode`] for what is in it.
    pub fn read(&mut self, path: impl AsRef<Path>, frame: &mut Frame) -> Result<()> {
        let (subject, mut file) = self.open(path.as_ref())?;
        // Whoever keeps the file wants all of it.
        if frame.wants_encoded() {
            return self.read_from(&subject, file, frame);
        }
        let Some(survey) = self.begin(&subject, &mut file)? else {
            return self.with_file(|decoder, bytes| decoder.decode(&subject, bytes, frame));
        };
        let length = file.size();
        self.with_file(|decoder, head| {
            let (single, most) = (survey.is_one_scan(), decoder.limits.photo_bytes);
            let at = |into: &mut [u8], first| piece(&file, most, into, first);
            let mut rest = &file;
            let data = if single { Data::Parts(head, &mut rest) } else { Data::At(&at) };
            jpeg::to_frame(&subject, &survey, data, length, &decoder.limits, &mut decoder.room, frame)?;
            let (orientation, origin) = metadata::read(head, ImageFormat::Jpeg);
            orient::upright(frame, orientation, &mut decoder.scratch);
            frame.set_origin(origin);
            Ok(())
        })
    }

    /// The file at `path` and its name for messages.
    fn open(&self, path: &Path) -> Result<(String, Patient)> {
        let subject = path.display().to_string();
        let file = patient::open(path).map_err(|e| Error::io(path, e))?;
        // What the system says of the size spares reading a huge file; it may be wrong, so that the reading is bounded too.
        let size = file.size();
        if size > self.limits.photo_bytes {
            return Err(self.too_long(&subject, size));
        }
        Ok((subject, file))
    }

    /// Begins to read `file`. Of a JPEG its headers lie in memory then, and what they say comes back; any other file lies
    /// there whole, with `None`.
    fn begin(&mut self, subject: &str, file: &mut Patient) -> Result<Option<Box<Survey>>> {
        self.file.clear();
        let failed = |e| Error::io(subject, e);
        let mut is_picture = file.is_regular();
        let most = self.limits.photo_bytes.saturating_add(1);
        loop {
            // Twice as much each time, so that headers of any length are walked a few times only.
            let more = (self.file.len() as u64).max(HEAD);
            let left = most - self.file.len() as u64;
            let part = if is_picture { more.min(left) } else { left };
            if !is_picture {
                self.file.reserve_exact(file.size().saturating_sub(self.file.len() as u64) as usize + 1);
            }
            let read = file.by_ref().take(part).read_to_end(&mut self.file).map_err(failed)?;
            if self.file.len() as u64 >= most {
                return Err(self.too_long(subject, self.file.len() as u64));
            }
            if !is_picture || (read as u64) < part {
                return Ok(None);
            }
            is_picture = format(&self.file) == Some(ImageFormat::Jpeg);
            if !is_picture {
                continue;
            }
            match oltr_jpeg::size(&self.file) {
                Ok(size) => jpeg::check(subject, size, &self.limits)?,
                Err(Fault::CutOff) => continue,
                Err(fault) => return Err(jpeg::bad(subject, fault, file.size())),
            }
            match oltr_jpeg::begin(&self.file) {
                Ok(Beginning::OneScan(survey)) => return Ok(Some(survey)),
                Ok(Beginning::Short) => {}
                Ok(Beginning::Scans) => {
                    let read = |into: &mut [u8], first| piece(file, self.limits.photo_bytes, into, first);
                    let survey = Survey::of_file(&read).map_err(|e| jpeg::failure(subject, e, file.size()))?;
                    return Ok(Some(Box::new(survey)));
                }
                Err(_) => is_picture = false,
            }
        }
    }

    /// Does `work` with what of the file lies in memory.
    fn with_file<T>(&mut self, work: impl FnOnce(&mut Decoder, &[u8]) -> T) -> T {
        let file = std::mem::take(&mut self.file);
        let result = work(self, &file);
        self.file = file;
        result
    }

    /// Reads `reader` to its end and decodes what it gave into `frame`; `subject` stands for it in messages.
    ///
    /// # Errors
    /// As [`Decoder::read`].
    pub fn read_from(&mut self, subject: &str, reader: impl Read, frame: &mut Frame) -> Result<()> {
        self.fetch(subject, reader)?;
        self.with_file(|decoder, bytes| decoder.decode(subject, bytes, frame))
    }

    /// Reads `reader` to its end into memory.
    fn fetch(&mut self, subject: &str, reader: impl Read) -> Result<()> {
        self.file.clear();
        let read = reader.take(self.limits.photo_bytes.saturating_add(1)).read_to_end(&mut self.file);
        match read.map_err(|e| Error::io(subject, e))? as u64 {
            n if n > self.limits.photo_bytes => Err(self.too_long(subject, n)),
            _ => Ok(()),
        }
    }

    /// Decodes the photo `bytes` into `frame`, whose memory is kept where it suffices; `subject` stands for the photo in
    /// messages. After an error the content of `frame` is not specified.
    ///
    /// # Errors
    /// [`Error::Limit`] for a picture beyond `photo_side` or `photo_pixels`, told from its header before memory is taken,
    /// and for one whose decoding takes more than 16 bytes for each of `photo_pixels`; [`Error::BadImage`] for bytes that are no picture, or a damaged or incomplete one.
    pub fn decode(&mut self, subject: &str, bytes: &[u8], frame: &mut Frame) -> Result<()> {
        let bad = |reason: String| Error::BadImage { subject: subject.into(), reason };
        if bytes.is_empty() {
            return Err(bad("is empty; copy or download it again".into()));
        }
        let Some(format) = format(bytes) else {
            return Err(bad(foreign::reason(bytes)));
        };
        match format {
            ImageFormat::Jpeg => jpeg::decode(subject, bytes, &self.limits, &mut self.room, frame)?,
            ImageFormat::Gif => gif::decode(subject, bytes, &self.limits, &mut self.scratch, frame)?,
            ImageFormat::Tiff => tiff::decode(subject, bytes, &self.limits, &mut self.scratch, frame)?,
            _ => self.decode_other(subject, bytes, format, frame)?,
        }
        let (orientation, origin) = metadata::read(bytes, format);
        orient::upright(frame, orientation, &mut self.scratch);
        frame.set_origin(origin);
        Ok(())
    }

    /// Decodes a PNG, WebP, BMP or PNM, as it is stored.
    fn decode_other(&mut self, subject: &str, bytes: &[u8], format: ImageFormat, frame: &mut Frame) -> Result<()> {
        let failed = |e: ImageError| match e {
            ImageError::Limits(_) => too_much(subject, &self.limits),
            e => Error::BadImage { subject: subject.into(), reason: reason(e, format) },
        };
        // What says which way up a WebP is lies at its end, where the decoder does not look.
        if format == ImageFormat::WebP
            && let Some([l0, l1, l2, l3]) = bytes.get(4..8)
            && u64::from(u32::from_le_bytes([*l0, *l1, *l2, *l3])) + 8 > bytes.len() as u64
        {
            let reason = "the WebP is cut off; copy or download it again".into();
            return Err(Error::BadImage { subject: subject.into(), reason });
        }
        // The decoder panics where a palette ends within a colour.
        if format == ImageFormat::Png
            && metadata::png_chunks(bytes).any(|(kind, data)| &kind == b"PLTE" && !data.len().is_multiple_of(3))
        {
            let reason = "the palette of the PNG is damaged; copy or download it again".into();
            return Err(Error::BadImage { subject: subject.into(), reason });
        }
        let bitmap = match format {
            ImageFormat::Bmp => bmp::readable(bytes).map_err(|reason| {
                let reason = format!("the BMP is damaged ({reason}); copy it again or save it anew");
                Error::BadImage { subject: subject.into(), reason }
            })?,
            _ => bytes.into(),
        };
        let bytes = &bitmap[..];
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(decoder_bytes(&self.limits));
        let decoder = decoder(bytes, format, limits).map_err(failed)?;
        let (width, height) = decoder.dimensions();
        check_size(subject, width, height, &self.limits)?;
        let color = decoder.color_type();
        if matches!(color, ColorType::Rgb32F | ColorType::Rgba32F) {
            let reason = "a picture of floating-point numbers, which have no range; save it with 8 bits a channel";
            return Err(Error::BadImage { subject: subject.into(), reason: reason.into() });
        }
        let pixels = frame.reshape(Geometry::new(PixelFormat::Rgb24, width, height), &self.limits)?;
        if color == ColorType::Rgb8 {
            decoder.read_image(pixels).map_err(failed)?;
        } else {
            let length = pixels.len() / 3 * usize::from(color.bytes_per_pixel());
            self.scratch.resize(length, 0);
            decoder.read_image(&mut self.scratch).map_err(failed)?;
            pixels::to_rgb(color, &self.scratch, pixels);
        }
        Ok(())
    }

    fn too_long(&self, subject: &str, bytes: u64) -> Error {
        Error::Limit { subject: subject.into(), what: "photo_bytes", value: bytes, limit: self.limits.photo_bytes }
    }
}

/// Reads `file` from byte `first` on, as if it had `most` bytes: what the system said of its size may be wrong.
fn piece(file: &Patient, most: u64, into: &mut [u8], first: u64) -> std::io::Result<usize> {
    let left = most.saturating_sub(first).min(into.len() as u64) as usize;
    file.read_at(&mut into[..left], first)
}

/// Bytes that a decoder of foreign making may take: 8 for each pixel (RGBA of 16 bits), and as much again for itself.
fn decoder_bytes(limits: &Limits) -> u64 {
    limits.photo_pixels.saturating_mul(16)
}

/// The error for a picture whose decoder would take more than [`decoder_bytes`]. How much more, only decoding it tells:
/// the value is the least that it may be.
fn too_much(subject: &str, limits: &Limits) -> Error {
    let limit = decoder_bytes(limits);
    Error::Limit { subject: subject.into(), what: "decoder_bytes", value: limit.saturating_add(1), limit }
}

/// The format of `bytes`, if it is one that is read.
fn format(bytes: &[u8]) -> Option<ImageFormat> {
    if ifd::is_tiff(bytes) {
        return Some(ImageFormat::Tiff);
    }
    image::guess_format(bytes).ok().filter(|format| FORMATS.contains(format))
}

/// The formats that are read.
const FORMATS: [ImageFormat; 7] = [
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Gif,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::Pnm,
];

/// The decoder of a format that has no module of its own here. `ImageReader` would take JPEG too, with a decoder that is never used and that
/// takes a hundred kilobytes of the program.
fn decoder<'a>(bytes: &'a [u8], format: ImageFormat, limits: image::Limits) -> ImageResult<Box<dyn ImageDecoder + 'a>> {
    let reader = Cursor::new(bytes);
    let mut decoder: Box<dyn ImageDecoder + 'a> = match format {
        // Its text chunks are read at once.
        ImageFormat::Png => Box::new(PngDecoder::with_limits(reader, limits.clone())?),
        ImageFormat::WebP => Box::new(WebPDecoder::new(reader)?),
        ImageFormat::Bmp => Box::new(BmpDecoder::new(reader)?),
        ImageFormat::Pnm => Box::new(PnmDecoder::new(reader)?),
        _ => {
            let kind = UnsupportedErrorKind::Format(format.into());
            return Err(ImageError::Unsupported(UnsupportedError::from_format_and_kind(format.into(), kind)));
        }
    };
    decoder.set_limits(limits)?;
    Ok(decoder)
}

/// Why a decoder refused, and what to do.
fn reason(e: ImageError, format: ImageFormat) -> String {
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Pnm => "PNM",
        _ => "picture",
    };
    match e {
        ImageError::Unsupported(e) => format!("a {name} of a kind that oltr does not read ({e}); save it as PNG"),
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("the {name} is cut off; copy or download it again")
        }
        e => format!("the {name} is damaged ({e}); copy it again or save it anew"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_pixels_is_refused_with_what_to_do() {
        for bytes in [&b"P3\n7 # wide\n0\n15\n1 2 3"[..], b"P5 0 7 255 x", b"P6 0 0 255 x"] {
            let error = super::decode("a.pnm", bytes, &Limits::default()).unwrap_err();
            let Error::BadImage { reason, .. } = &error else { panic!("{error}") };
            assert!(reason.contains(';'), "no remedy: {error}");
        }
    }
}
