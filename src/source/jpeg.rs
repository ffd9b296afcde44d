//! JPEG: where a picture ends, and its pixels.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;

/// Scans of one progressive picture: encoders write about 10, a picture made to waste time has thousands.
const MAX_SCANS: usize = 64;

/// Length of the JPEG picture that `bytes` begins with, its end-of-image marker included; `None` if `bytes` ends
/// before the picture does.
///
/// Looks at markers only, so that it is fast, and says nothing about the data between them. Pictures inside the
/// picture (thumbnails) lie in segments, which are passed over whole.
pub fn picture_len(bytes: &[u8]) -> Option<usize> {
    const START_OF_IMAGE: u8 = 0xD8;
    const END_OF_IMAGE: u8 = 0xD9;
    let mut at = 0;
    loop {
        // In coded data 0xFF stands for itself when a 0 follows; a marker may be preceded by any number of 0xFF.
        at += bytes[at..].iter().position(|b| *b == 0xFF)?;
        at += bytes[at..].iter().position(|b| *b != 0xFF)?;
        let marker = bytes[at];
        at += 1;
        match marker {
            END_OF_IMAGE => return Some(at),
            // A stuffed 0xFF, TEM, a restart marker, the start of the picture: none has a length.
            0x00 | 0x01 | 0xD0..=0xD7 | START_OF_IMAGE => {}
            _ => {
                let length = bytes.get(at..at + 2)?;
                at += usize::from(u16::from_be_bytes([length[0], length[1]]));
                if at > bytes.len() {
                    return None;
                }
            }
        }
    }
}

/// Decodes the JPEG picture `bytes` into `frame` as RGB and gives its EXIF data, if it has any.
///
/// Takes baseline and progressive pictures: grey, YCbCr, RGB, and CMYK and YCCK as Adobe writes them (inverted),
/// without their colour profile.
///
/// # Errors
/// [`Error::Limit`] from the header, before memory is taken; [`Error::BadImage`] for a picture that is cut off,
/// damaged, or of another kind (lossless, arithmetic, 12 bits).
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits, frame: &mut Frame) -> Result<Option<Vec<u8>>> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let bad = |reason| Error::BadImage { subject: subject.into(), reason };
    // The decoder would pad what is missing at the very end, so that it is not left to find out.
    let cut_off = || bad(format!("the JPEG is cut off after {} bytes; copy or download it again", bytes.len()));
    let failed = |e: DecodeErrors| match e {
        DecodeErrors::Unsupported(kind) => bad(format!("{}; save it as a baseline JPEG", unsupported(kind))),
        _ if picture_len(bytes).is_none() => cut_off(),
        e => bad(format!("the JPEG is damaged ({}); copy it again or save it anew", one_line(&e))),
    };
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32); // at most 65 535
    check_size(subject, width, height, limits)?;
    if picture_len(bytes).is_none() {
        return Err(cut_off());
    }
    let pixels = frame.reshape(Geometry { format: PixelFormat::Rgb24, width, height }, limits)?;
    decoder.decode_into(pixels).map_err(failed)?;
    Ok(decoder.info().and_then(|info| info.exif_data))
}

fn unsupported(kind: zune_jpeg::errors::UnsupportedSchemes) -> String {
    format!("a JPEG of a kind that oltr does not read ({kind:?})")
}

/// The decoder's message without its line breaks and quotes, which are meant for a debugger.
fn one_line(e: &DecodeErrors) -> String {
    format!("{e:?}").split_whitespace().collect::<Vec<_>>().join(" ").replace('"', "")
}
