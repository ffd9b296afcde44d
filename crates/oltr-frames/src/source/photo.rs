//! Photos: encoded pictures in files or in memory, decoded to upright RGB frames.
//!
//! The format is recognised by the content: JPEG, PNG, WebP, GIF, BMP, TIFF and the PNM family. Of an animation or a
//! file with several pages, the first picture is decoded. The result equals Pillow's
//! `ImageOps.exif_transpose(image).convert("RGB")`, which the training code uses: the orientation of EXIF, else of XMP,
//! is applied; grey is tripled, palettes are resolved, alpha is dropped without blending, and colour profiles are
//! ignored. JPEG and lossy WebP may differ by a few levels of rounding; PNM with a maximum other than 255 and 16-bit
//! BMP by one. Of 16-bit samples the upper 8 bits are kept. For 16-bit grey that differs from Pillow, which clips at
//! 255 and so shows white.
//!
//! Unsupported files are refused by kind: floating-point samples, raw files of cameras, rare compressions of TIFF.

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

use oltr_jpeg::{Beginning, Data, Fault, ScanIndex};

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;
use crate::source::patient::Patient;
use crate::source::{jpeg, patient};
pub use input::{Decode, InputReader, Seen};

/// Bytes of the first read. They contain the headers of most photos.
const HEAD: u64 = 64 << 10;

/// Decodes photos one after another and reuses its buffers.
///
/// # Memory
/// In addition to the frame: the file (`photo_bytes`), and up to 16 bytes per pixel (`photo_pixels`) for 16-bit
/// channels. A JPEG takes a few rows, and 3 bytes per pixel if it has to be rotated. Only a part of its file is in
/// memory, unless it comes from a FIFO or is kept in the frame.
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
    /// Intermediate picture: in another layout, or not yet upright.
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

/// Decodes the photo `bytes`. Messages name it `subject`.
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

    /// Reads and decodes the photo at `path` into `frame`. Reuses the frame's memory if it is large enough.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Io`], also for a FIFO without data for a minute; [`Error::Limit`] for a file
    /// larger than `photo_bytes`; as [`Decoder::decode`] for its contents.
    pub fn read(&mut self, path: impl AsRef<Path>, frame: &mut Frame) -> Result<()> {
        let (subject, mut file) = self.open(path.as_ref())?;
        // To keep the file, all of it must be in memory.
        if frame.wants_encoded() {
            return self.read_from(&subject, file, frame);
        }
        let Some(index) = self.begin(&subject, &mut file)? else {
            return self.with_file(|decoder, bytes| decoder.decode(&subject, bytes, frame));
        };
        let length = file.size();
        self.with_file(|decoder, head| {
            let (single, most) = (index.is_one_scan(), decoder.limits.photo_bytes);
            let at = |into: &mut [u8], first| piece(&file, most, into, first);
            let mut rest = &file;
            let data = if single { Data::Parts(head, &mut rest) } else { Data::At(&at) };
            jpeg::to_frame(&subject, &index, data, length, &decoder.limits, &mut decoder.room, frame)?;
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
        // The reported size avoids reading a huge file. It may be wrong, so reading is bounded too.
        let size = file.size();
        if size > self.limits.photo_bytes {
            return Err(self.too_long(&subject, size));
        }
        Ok((subject, file))
    }

    /// Starts reading `file`. For a JPEG, reads and returns its headers. Any other file is read whole, with `None`.
    fn begin(&mut self, subject: &str, file: &mut Patient) -> Result<Option<Box<ScanIndex>>> {
        self.file.clear();
        let failed = |e| Error::io(subject, e);
        let mut is_picture = file.is_regular();
        let most = self.limits.photo_bytes.saturating_add(1);
        loop {
            // Doubles each time, so that headers of any length are parsed only a few times.
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
                Ok(Beginning::OneScan(index)) => return Ok(Some(index)),
                Ok(Beginning::Short) => {}
                Ok(Beginning::Scans) => {
                    let read = |into: &mut [u8], first| piece(file, self.limits.photo_bytes, into, first);
                    let index = ScanIndex::of_file(&read).map_err(|e| jpeg::failure(subject, e, file.size()))?;
                    return Ok(Some(Box::new(index)));
                }
                Err(_) => is_picture = false,
            }
        }
    }

    /// Calls `work` with the bytes in memory.
    fn with_file<T>(&mut self, work: impl FnOnce(&mut Decoder, &[u8]) -> T) -> T {
        let file = std::mem::take(&mut self.file);
        let result = work(self, &file);
        self.file = file;
        result
    }

    /// Reads `reader` to its end and decodes it into `frame`. Messages name it `subject`.
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

    /// Decodes the photo `bytes` into `frame`. Reuses the frame's memory if it is large enough. Messages name it
    /// `subject`. After an error the contents of `frame` are unspecified.
    ///
    /// # Errors
    /// [`Error::Limit`] for a picture larger than `photo_side` or `photo_pixels`, from its header before allocation,
    /// and if decoding takes more than 16 bytes for each of `photo_pixels`; [`Error::BadImage`] for bytes that are not
    /// a picture, or a damaged or incomplete one.
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

    /// Decodes a PNG, WebP, BMP or PNM, not rotated.
    fn decode_other(&mut self, subject: &str, bytes: &[u8], format: ImageFormat, frame: &mut Frame) -> Result<()> {
        let failed = |e: ImageError| match e {
            ImageError::Limits(_) => too_much(subject, &self.limits),
            e => Error::BadImage { subject: subject.into(), reason: reason(e, format) },
        };
        // The orientation of a WebP is at the end of the file, where the decoder does not look.
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

/// Reads `file` from byte `first` on, up to `most` bytes: the reported size may be wrong.
fn piece(file: &Patient, most: u64, into: &mut [u8], first: u64) -> std::io::Result<usize> {
    let left = most.saturating_sub(first).min(into.len() as u64) as usize;
    file.read_at(&mut into[..left], first)
}

/// Memory limit for other libraries' decoders: 8 bytes per pixel (16-bit RGBA), and as much again for internal use.
fn decoder_bytes(limits: &Limits) -> u64 {
    limits.photo_pixels.saturating_mul(16)
}

/// Error for a decoder that would exceed [`decoder_bytes`]. The exact need is unknown, so the value is a lower bound.
fn too_much(subject: &str, limits: &Limits) -> Error {
    let limit = decoder_bytes(limits);
    Error::Limit { subject: subject.into(), what: "decoder_bytes", value: limit.saturating_add(1), limit }
}

/// The format of `bytes`, if supported.
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

/// The decoder of a format without a module here. `ImageReader` would also link the JPEG decoder, which is never used
/// and takes a hundred kilobytes of the program.
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

/// Why a decoder refused, and the remedy.
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
