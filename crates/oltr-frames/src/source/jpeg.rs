//! JPEG: where a picture ends, and its pixels.

mod anykind;
mod blocks;
mod fault;
mod header;
mod huffman;
mod markers;
mod route;
mod tables;
mod transform;
mod upsample;

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use self::fault::Fault;
use self::header::{Color, Survey};
use self::markers::name;
use self::route::Route;
use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;

pub(super) use self::markers::Segments;
pub(super) use self::upsample::from_cmyk;

/// Coded data that no picture holds: a run of ones is no Huffman code. A 0xFF in coded data is followed by a 0.
const NO_CODE: [u8; 16] = [0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0, 0xFF, 0];

/// The marker that ends a picture.
const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];

/// Adobe's segment but for its last byte, the colour transform.
const ADOBE: [u8; 15] = *b"\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0";

/// Length of the JPEG picture that `bytes` begins with, its end-of-image marker included; `None` if `bytes` ends
/// before the picture does.
///
/// Looks at markers only, so that it is fast, and says nothing about the data between them. Pictures inside the
/// picture (thumbnails) lie in segments, which are passed over whole.
pub fn picture_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        // In coded data 0xFF stands for itself when a 0 follows; a marker may be preceded by any number of 0xFF.
        at += bytes[at..].iter().position(|b| *b == 0xFF)?;
        at += bytes[at..].iter().position(|b| *b != 0xFF)?;
        let marker = bytes[at];
        at += 1;
        match marker {
            name::EOI => return Some(at),
            // A stuffed 0xFF, TEM, a restart marker, the start of the picture: none has a length.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
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

/// Decodes the JPEG picture `bytes` into `frame` as RGB; `scratch` is for the decoder's use.
///
/// Takes sequential and progressive pictures of 8 bits with Huffman codes, of one or more scans and of any sampling: grey,
/// YCbCr, RGB, and CMYK and YCCK as Adobe writes them (inverted), without their colour profile, and Motion JPEG, which
/// means the standard's Huffman tables. What follows the picture in `bytes` is passed over, and an end mark may be missing
/// where no coded data is.
///
/// # Errors
/// [`Error::Limit`] from the header, before memory is taken; [`Error::BadImage`] for a picture that is cut off,
/// damaged, lacks coded data at its end, or is of another kind (lossless, arithmetic-coded, of 12 bits).
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits, scratch: &mut Vec<u8>, frame: &mut Frame) -> Result<()> {
    let bad = |reason| Error::BadImage { subject: subject.into(), reason };
    let fault = |fault: Fault| bad(fault.reason(bytes));
    let (width, height) = header::size(bytes).map_err(fault)?;
    let geometry = Geometry::new(PixelFormat::Rgb24, width.into(), height.into());
    check_size(subject, geometry.width, geometry.height, limits)?;
    let survey = Survey::new(bytes).map_err(fault)?;
    let pixels = frame.reshape(geometry, limits)?;
    let decoded = match route::route(&survey) {
        Route::AnyKind => anykind::decode(&survey, scratch, pixels).map_err(fault),
        Route::Fast => {
            plain(bytes, &survey, scratch);
            let mut decoder = JpegDecoder::new_with_options(ZCursor::new(scratch.as_slice()), options());
            decoder.decode_into(pixels).map_err(|e| match e {
                DecodeErrors::Unsupported(kind) => {
                    bad(Fault::Unsupported("a JPEG of a rare kind").reason(bytes) + &format!(" ({kind:?})"))
                }
                e => bad(format!("the JPEG is damaged ({}); copy it again or save it anew", one_line(&e))),
            })
        }
    };
    if decoded.is_ok() {
        frame.set_encoded(bytes);
    }
    decoded
}

/// Writes the picture without what does not concern its pixels.
///
/// Where coded data is missing (a packet lost on the way from a camera), the decoder would go on with zeros until the
/// picture is full. So what it cannot decode is put behind the data.
fn plain(bytes: &[u8], survey: &Survey, to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(&bytes[..2]);
    for segment in survey.segments.clone().flatten().take_while(|s| s.start < survey.first_scan) {
        if matches!(segment.marker, name::SOF0..=name::SOF2 | name::DHT | name::DQT | name::DRI) {
            to.extend_from_slice(&[0xFF, segment.marker]);
            to.extend_from_slice(&(segment.body.len() as u16 + 2).to_be_bytes());
            to.extend_from_slice(segment.body);
        }
    }
    let transform = match survey.header.color() {
        Color::Rgb | Color::Cmyk => Some(0),
        Color::Ycck => Some(2),
        Color::Gray | Color::YCbCr => None,
    };
    if let Some(transform) = transform {
        to.extend_from_slice(&ADOBE);
        to.push(transform);
    }
    if !survey.tables {
        to.extend_from_slice(&tables::STANDARD);
    }
    to.extend_from_slice(&bytes[survey.first_scan..survey.end]);
    to.extend_from_slice(&NO_CODE);
    to.extend_from_slice(&END_OF_IMAGE);
}

fn options() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
}

/// The decoder's message without its line breaks and quotes, which are meant for a debugger.
fn one_line(e: &DecodeErrors) -> String {
    format!("{e:?}").split_whitespace().collect::<Vec<_>>().join(" ").replace('"', "")
}
