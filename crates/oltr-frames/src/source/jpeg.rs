//! JPEG: where a picture ends, and its pixels.

mod tables;

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

/// Coded data that no picture holds: a run of ones is no Huffman code. A 0xFF in coded data is followed by a 0.
const NO_CODE: [u8; 16] = [0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0];

/// The marker that ends a picture.
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

/// Length of the JPEG picture that `bytes` begins with, its end-of-image marker included; `None` if `bytes` ends
/// before the picture does.
///
/// Looks at markers only, so that it is fast, and says nothing about the data between them. Pictures inside the
/// picture (thumbnails) lie in segments, which are passed over whole.
pub fn picture_len(bytes: &[u8]) -> Option<usize> {
    survey(bytes).map(|s| s.len)
}

/// What the markers of a picture say.
struct Survey {
    /// Length in bytes, the end-of-image marker included.
    len: usize,
    progressive: bool,
    scans: usize,
    /// Whether it has Huffman tables.
    tables: bool,
    /// Where its first scan begins.
    first_scan: usize,
}

fn survey(bytes: &[u8]) -> Option<Survey> {
    let mut survey = Survey { len: 0, progressive: false, scans: 0, tables: false, first_scan: 0 };
    let mut at = 0;
    loop {
        // In coded data 0xFF stands for itself when a 0 follows; a marker may be preceded by any number of 0xFF.
        at += bytes[at..].iter().position(|b| *b == 0xFF)?;
        at += bytes[at..].iter().position(|b| *b != 0xFF)?;
        let marker = bytes[at];
        at += 1;
        match marker {
            // The end of the picture.
            0xD9 => return Some(Survey { len: at, ..survey }),
            // A stuffed 0xFF, TEM, a restart marker, the start of the picture: none has a length.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                survey.tables |= marker == 0xC4;
                if marker == 0xDA && survey.scans == 0 {
                    survey.first_scan = at - 2;
                }
                let length = bytes.get(at..at + 2)?;
                at += usize::from(u16::from_be_bytes([length[0], length[1]]));
                if at > bytes.len() {
                    return None;
                }
                survey.progressive |= marker == 0xC2;
                survey.scans += usize::from(marker == 0xDA);
            }
        }
    }
}

/// Decodes the JPEG picture `bytes` into `frame` as RGB and gives its EXIF data, if it has any; `scratch` is for the
/// decoder's use.
///
/// Takes baseline and progressive pictures: grey, YCbCr, RGB, and CMYK and YCCK as Adobe writes them (inverted),
/// without their colour profile, and Motion JPEG, which means the standard's Huffman tables. What follows the picture
/// in `bytes` is passed over.
///
/// # Errors
/// [`Error::Limit`] from the header, before memory is taken; [`Error::BadImage`] for a picture that is cut off,
/// damaged, lacks coded data at its end, or is of another kind (lossless, arithmetic, 12 bits).
pub fn decode(
    subject: &str,
    bytes: &[u8],
    limits: &Limits,
    scratch: &mut Vec<u8>,
    frame: &mut Frame,
) -> Result<Option<Vec<u8>>> {
    let bad = |reason| Error::BadImage { subject: subject.into(), reason };
    let survey = survey(bytes);
    let failed = |e: DecodeErrors| match e {
        DecodeErrors::Unsupported(kind) => bad(format!("{}; save it as a baseline JPEG", unsupported(kind))),
        _ if survey.is_none() => bad(cut_off(bytes)),
        e => bad(format!("the JPEG is damaged ({}); copy it again or save it anew", one_line(&e))),
    };
    let (width, height) = {
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options());
        decoder.decode_headers().map_err(failed)?;
        decoder.dimensions().unwrap_or_default()
    };
    let geometry = Geometry::new(PixelFormat::Rgb24, width as u32, height as u32); // <= 65 535
    check_size(subject, geometry.width, geometry.height, limits)?;
    let Some(survey) = &survey else {
        return Err(bad(cut_off(bytes)));
    };
    if survey.progressive && survey.scans == 1 {
        return Err(bad("the progressive JPEG lacks all but its first scan; copy or download it again".into()));
    }
    // Where coded data is missing (a packet lost on the way from a camera), the decoder would go on with zeros until
    // the picture is full. So it is given what it cannot decode.
    scratch.clear();
    let (tables, coded) = bytes[..survey.len - END_OF_IMAGE.len()].split_at(survey.first_scan);
    scratch.extend_from_slice(tables);
    if !survey.tables {
        scratch.extend_from_slice(&tables::STANDARD);
    }
    scratch.extend_from_slice(coded);
    scratch.extend_from_slice(&NO_CODE);
    scratch.extend_from_slice(&END_OF_IMAGE);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(scratch.as_slice()), options());
    decoder.decode_into(frame.reshape(geometry, limits)?).map_err(failed)?;
    Ok(decoder.info().and_then(|info| info.exif_data))
}

fn options() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
}

fn cut_off(bytes: &[u8]) -> String {
    format!("the JPEG is cut off after {} bytes; copy or download it again", bytes.len())
}

fn unsupported(kind: zune_jpeg::errors::UnsupportedSchemes) -> String {
    format!("a JPEG of a kind that oltr does not read ({kind:?})")
}

/// The decoder's message without its line breaks and quotes, which are meant for a debugger.
fn one_line(e: &DecodeErrors) -> String {
    format!("{e:?}").split_whitespace().collect::<Vec<_>>().join(" ").replace('"', "")
}
