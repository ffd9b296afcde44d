//! The first picture of a TIFF.

use std::io::Cursor;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::{SampleFormat, Tag};
use tiff::{TiffError, TiffResult};

use super::ifd::Folder;
use super::too_much;
use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;

/// Numbers of fields.
mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const BITS_PER_SAMPLE: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const SAMPLES_PER_PIXEL: u16 = 277;
    pub const PLANAR: u16 = 284;
    pub const COLOR_MAP: u16 = 320;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const TILE_WIDTH: u16 = 322;
    pub const SUB_FOLDERS: u16 = 330;
    pub const CFA_PATTERN: u16 = 33421;
    pub const DNG_VERSION: u16 = 50706;
}

/// Values of the field `PhotometricInterpretation`.
mod photometric {
    pub const BLACK_IS_ZERO: u8 = 1;
    pub const PALETTE: u64 = 3;
    pub const COLOR_FILTERS: u64 = 32803;
    pub const LINEAR_RAW: u64 = 34892;
}

/// A fourth channel that is alpha, by which colours are not multiplied.
const UNASSOCIATED_ALPHA: u8 = 2;

/// Compression as JPEG.
const JPEG: u64 = 7;

/// Decodes the first picture of the TIFF `bytes` into `frame`, not rotated. `scratch` is for a copy of the file.
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits, scratch: &mut Vec<u8>, frame: &mut Frame) -> Result<()> {
    let bad = |reason: String| Error::BadImage { subject: subject.into(), reason };
    let folder = Folder::first(bytes);
    if bytes.get(8..10) == Some(b"CR") || folder.is_some_and(|folder| is_camera_raw(&folder)) {
        let reason = "a raw file of a camera, whose picture is not developed; convert it with a raw developer \
                      (`darktable-cli`, `dcraw_emu -T`) or save JPEG in the camera";
        return Err(bad(reason.into()));
    }
    let value = |tag| folder.and_then(|folder| folder.field(tag)?.whole());
    // The decoder loses its place in tiles of planes, and takes all bits for being in their usual order.
    let tiles_of_planes = value(tag::PLANAR) == Some(2) && value(tag::TILE_WIDTH).is_some();
    if tiles_of_planes || value(tag::FILL_ORDER) == Some(2) {
        return Err(bad(unread(folder.as_ref())));
    }
    let failed = |e: TiffError| match e {
        TiffError::LimitsExceeded => too_much(subject, limits),
        e => bad(reason(&e, folder.as_ref())),
    };
    let indices = value(tag::PHOTOMETRIC) == Some(photometric::PALETTE);
    let palette = folder.as_ref().filter(|_| indices).and_then(Palette::new);
    if indices && palette.is_none() {
        return Err(bad("the TIFF is cut off, or lacks its palette; copy or download it again".into()));
    }
    let file = readable(folder.as_ref(), bytes, scratch);
    let mut decoder = Decoder::new(Cursor::new(file)).map_err(failed)?;
    let (width, height) = decoder.dimensions().map_err(failed)?;
    check_size(subject, width, height, limits)?;
    let unread = || bad(unread(folder.as_ref()));
    let color = decoder.colortype().map_err(failed)?;
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).map_err(failed)?.unwrap_or_default();
    if formats.iter().any(|format| SampleFormat::from_u16(*format) != Some(SampleFormat::Uint)) {
        let reason = "a TIFF of signed or floating-point numbers, which have no range; save it with 8 bits a channel";
        return Err(bad(reason.into()));
    }
    let gray = palette.is_some() || value(tag::PHOTOMETRIC) == Some(photometric::BLACK_IS_ZERO.into());
    let (bits, channels) = match color {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8 | 16)) => (bits, 1),
        ColorType::GrayA(bits @ (8 | 16)) => (bits, 2),
        ColorType::RGB(bits @ (8 | 16)) => (bits, 3),
        ColorType::RGBA(bits @ (8 | 16)) | ColorType::CMYK(bits @ (8 | 16)) => (bits, 4),
        // Grey or a palette's index with an extra channel, which is ignored.
        ColorType::Multiband { bit_depth: bits @ (8 | 16), num_samples } if gray => (bits, num_samples.into()),
        _ => return Err(unread()),
    };
    // The decoder leaves some channels out, and not everywhere right.
    let stored = value(tag::SAMPLES_PER_PIXEL).unwrap_or(1);
    if stored != channels as u64 || (channels == 2 && value(tag::COMPRESSION) == Some(JPEG)) {
        return Err(unread());
    }
    let mut room = tiff::decoder::Limits::default();
    let bytes_of_picture = usize::try_from(limits.photo_pixels.saturating_mul(8)).unwrap_or(usize::MAX);
    (room.decoding_buffer_size, room.intermediate_buffer_size) = (bytes_of_picture, bytes_of_picture);
    room.ifd_value_size = bytes_of_picture;
    let mut decoder = decoder.with_limits(room);
    let mut samples = DecodingResult::U8(Vec::new());
    let planes = read(&mut decoder, &mut samples).map_err(failed)?;
    // Colours that were multiplied by their alpha are divided by it again.
    let premultiplied = matches!(color, ColorType::RGBA(_)) && value(tag::EXTRA_SAMPLES) == Some(1);
    let samples = Samples { samples, bits, channels, width: width as usize, height: height as usize, planes };
    let pixels = frame.reshape(Geometry::new(PixelFormat::Rgb24, width, height), limits)?;
    if !samples.is_whole() {
        return Err(unread());
    }
    for (at, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        *pixel = match (color, &palette) {
            (_, Some(palette)) => palette.color(samples.raw(at)),
            (ColorType::Gray(_) | ColorType::GrayA(_) | ColorType::Multiband { .. }, None) => {
                [samples.sample(at, 0); 3]
            }
            (ColorType::CMYK(_), None) => {
                let black = samples.sample(at, 3);
                crate::source::jpeg::from_cmyk([0, 1, 2].map(|c| 255 - samples.sample(at, c)), 255 - black)
            }
            _ if premultiplied => {
                let alpha = u32::from(samples.sample(at, 3));
                [0, 1, 2].map(|c| match samples.sample(at, c) {
                    _ if alpha == 0 => 0,
                    color => (u32::from(color) * 255 / alpha).min(255) as u8,
                })
            }
            _ => [0, 1, 2].map(|c| samples.sample(at, c)),
        };
    }
    Ok(())
}

/// Reads all planes. Returns the number of samples per plane, or `None` for interleaved channels.
fn read(decoder: &mut Decoder<Cursor<&[u8]>>, samples: &mut DecodingResult) -> TiffResult<Option<usize>> {
    let layout = decoder.read_image_to_buffer(samples)?;
    let bytes = match samples {
        DecodingResult::U16(_) => 2,
        _ => 1,
    };
    if samples.as_buffer(0).as_bytes().len() < layout.complete_len {
        return Err(TiffError::LimitsExceeded);
    }
    Ok(layout.plane_stride.filter(|_| layout.planes > 1).map(|stride| stride.get() / bytes))
}

/// Samples as they were decoded.
struct Samples {
    samples: DecodingResult,
    bits: u8,
    channels: usize,
    width: usize,
    height: usize,
    planes: Option<usize>,
}

impl Samples {
    /// Bytes of a row of samples smaller than a byte.
    fn packed_row(&self) -> usize {
        (self.width * usize::from(self.bits)).div_ceil(8)
    }

    /// Whether there is a sample for each pixel and channel.
    fn is_whole(&self) -> bool {
        let pixels = self.width * self.height;
        match (&self.samples, self.planes) {
            (DecodingResult::U8(s), _) if self.bits < 8 => s.len() >= self.packed_row() * self.height,
            (DecodingResult::U8(s), None) if self.bits == 8 => s.len() >= pixels * self.channels,
            (DecodingResult::U16(s), None) if self.bits == 16 => s.len() >= pixels * self.channels,
            (DecodingResult::U8(s), Some(stride)) if self.bits == 8 => s.len() >= stride * (self.channels - 1) + pixels,
            (DecodingResult::U16(s), Some(stride)) if self.bits == 16 => {
                s.len() >= stride * (self.channels - 1) + pixels
            }
            _ => false,
        }
    }

    /// The stored value of the first channel at pixel `at`.
    fn raw(&self, at: usize) -> u8 {
        let DecodingResult::U8(samples) = &self.samples else { return 0 };
        if self.bits >= 8 {
            return samples[if self.planes.is_some() { at } else { at * self.channels }];
        }
        let bits = usize::from(self.bits);
        let (x, y) = (at % self.width, at / self.width);
        let byte = samples[y * self.packed_row() + x * bits / 8];
        byte >> (8 - bits - x * bits % 8) & ((1 << bits) - 1)
    }

    /// The value of a channel at pixel `at`, in 8 bits.
    fn sample(&self, at: usize, channel: usize) -> u8 {
        let index = self.planes.map_or(at * self.channels + channel, |stride| channel * stride + at);
        match &self.samples {
            DecodingResult::U16(samples) => (samples[index] >> 8) as u8,
            DecodingResult::U8(samples) if self.bits == 8 => samples[index],
            _ => self.raw(at) * (255 / ((1 << self.bits) - 1)),
        }
    }
}

/// The colours of a picture of indices.
struct Palette {
    /// All reds, then all greens, then all blues.
    values: Vec<u8>,
}

impl Palette {
    /// The palette, if it is whole.
    fn new(folder: &Folder) -> Option<Palette> {
        let bits = folder.field(tag::BITS_PER_SAMPLE).and_then(|field| field.whole()).unwrap_or(1);
        let values: Vec<u8> = folder.field(tag::COLOR_MAP)?.shorts().map(|value| (value >> 8) as u8).collect();
        // Three colours for each index that there can be.
        (bits <= 8 && values.len() == 3 << bits).then_some(Palette { values })
    }

    fn color(&self, index: u8) -> [u8; 3] {
        let length = self.values.len() / 3;
        [0, 1, 2].map(|c| self.values.get(c * length + usize::from(index)).copied().unwrap_or(0))
    }
}

/// The file in a form that the decoder reads correctly: a patched copy in `scratch`, or the file itself.
///
/// For palette pictures the copy declares grey, because the decoder knows no palettes. An unknown fourth channel is
/// declared as alpha, because otherwise the decoder loses its position in tiles.
fn readable<'a>(folder: Option<&Folder>, bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let number = |tag, value| folder.and_then(|folder| folder.field(tag)).filter(|field| field.whole() == Some(value));
    let (field, value) = match (number(tag::PHOTOMETRIC, photometric::PALETTE), number(tag::EXTRA_SAMPLES, 0)) {
        (Some(field), _) => (field, photometric::BLACK_IS_ZERO),
        (None, Some(field)) => (field, UNASSOCIATED_ALPHA),
        (None, None) => return bytes,
    };
    let Some(folder) = folder.filter(|_| field.data.len() == 2) else { return bytes };
    scratch.clear();
    scratch.extend_from_slice(bytes);
    let at = folder.place_of(&field);
    let number = &mut scratch[at..at + 2];
    number.copy_from_slice(&folder.short(value.into()));
    scratch
}

/// Whether the file is a camera's raw file: its first picture is a thumbnail or not developed.
fn is_camera_raw(folder: &Folder) -> bool {
    let value = |tag| folder.field(tag).and_then(|field| field.whole());
    let sensor = |folder: &Folder| {
        let kind = folder.field(tag::PHOTOMETRIC).and_then(|field| field.whole());
        matches!(kind, Some(photometric::COLOR_FILTERS | photometric::LINEAR_RAW))
            || folder.field(tag::CFA_PATTERN).is_some()
    };
    let reduced = value(tag::NEW_SUBFILE_TYPE).is_some_and(|kind| kind & 1 == 1);
    sensor(folder)
        || folder.field(tag::DNG_VERSION).is_some()
        || folder.field(tag::SUB_FOLDERS).is_some_and(|field| reduced || folder.all_below(&field).any(|f| sensor(&f)))
}

/// Name of an unsupported kind of TIFF, by its fields.
fn unread(folder: Option<&Folder>) -> String {
    let value = |tag| folder.and_then(|folder| folder.field(tag)?.whole());
    let compression = match value(tag::COMPRESSION) {
        Some(2) => "compressed by CCITT's run lengths",
        Some(3) => "compressed by CCITT's Group 3",
        Some(4) => "compressed by CCITT's Group 4",
        Some(6) => "with JPEG data of the old kind",
        Some(34712) => "compressed as JPEG 2000",
        Some(34925) => "compressed by LZMA",
        Some(50000) => "compressed by Zstandard",
        Some(50001) => "compressed as WebP",
        Some(52546) => "compressed as JPEG XL",
        _ => "",
    };
    let color = match value(tag::PHOTOMETRIC) {
        Some(3) => "of palette colours",
        Some(4) => "that is a mask",
        Some(5) => "of CMYK colours",
        Some(6) => "of YCbCr colours",
        Some(8..=10) => "of CIE L*a*b* colours",
        _ => "",
    };
    let tiles = match (value(tag::PLANAR), value(tag::TILE_WIDTH)) {
        (Some(2), Some(_)) => "one plane a channel in tiles",
        _ => "",
    };
    let order = if value(tag::FILL_ORDER) == Some(2) { "bits in reverse order" } else { "" };
    let bits = value(tag::BITS_PER_SAMPLE).map_or(String::new(), |bits| format!("{bits} bits a sample"));
    let parts = [color, compression, tiles, order, bits.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    format!("a TIFF of a kind that oltr does not read ({parts}); save it as PNG")
}

fn reason(e: &TiffError, folder: Option<&Folder>) -> String {
    match e {
        TiffError::UnsupportedError(_) => unread(folder),
        TiffError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the TIFF is cut off; copy or download it again".into()
        }
        e => format!("the TIFF is damaged ({e}); copy it again or save it anew"),
    }
}
