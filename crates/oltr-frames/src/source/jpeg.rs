//! JPEG: where a picture ends, and its pixels.

use oltr_jpeg::{Data, Failure, Fault, Rows, Scale, Survey, name};

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;

pub use oltr_jpeg::Room;
pub(super) use oltr_jpeg::{Segments, from_cmyk};

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

/// Decodes the JPEG picture `bytes` into `frame` as RGB; `room` is for the decoder's use.
///
/// Takes sequential and progressive pictures of 8 bits with Huffman codes, of one or more scans and of any sampling: grey,
/// YCbCr, RGB, and CMYK and YCCK as Adobe writes them (inverted), without their colour profile, and Motion JPEG, which
/// means the standard's Huffman tables. What follows the picture in `bytes` is passed over, and an end mark may be missing
/// where no coded data is.
///
/// # Errors
/// [`Error::Limit`] from the header, before memory is taken; [`Error::BadImage`] for a picture that is cut off,
/// damaged, lacks coded data at its end, or is of another kind (lossless, arithmetic-coded, of 12 bits).
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits, room: &mut Room, frame: &mut Frame) -> Result<()> {
    let failed = |fault: Fault| bad(subject, fault, bytes.len() as u64);
    check(subject, oltr_jpeg::size(bytes).map_err(failed)?, limits)?;
    let survey = Survey::new(bytes).map_err(failed)?;
    let decoded = to_frame(subject, &survey, Data::Whole(bytes), bytes.len() as u64, limits, room, frame);
    if decoded.is_ok() {
        frame.set_encoded(bytes);
    }
    decoded
}

/// Keeps `bytes` in `frame` as they are, to be decoded later; not if they are more than their pixels take.
///
/// # Errors
/// As [`decode`] for what the headers tell.
pub(super) fn keep(subject: &str, bytes: &[u8], limits: &Limits, frame: &mut Frame) -> Result<bool> {
    // Drivers hand out whole buffers, with zeros behind the picture; a few of them tell that it has no end.
    const ZEROS: usize = 16;
    let last = bytes.iter().rposition(|b| *b != 0).unwrap_or(0);
    let bytes = &bytes[..bytes.len().min(last + 1 + ZEROS)];
    let size = oltr_jpeg::size(bytes).map_err(|fault| bad(subject, fault, bytes.len() as u64))?;
    check(subject, size, limits)?;
    frame.keep_coded(bytes, Geometry::new(PixelFormat::Rgb24, size.0.into(), size.1.into()), limits)
}

/// Whether a picture of this size may be read.
pub(super) fn check(subject: &str, (width, height): (u16, u16), limits: &Limits) -> Result<()> {
    check_size(subject, width.into(), height.into(), limits)
}

/// Decodes what `survey` describes, a file of `length` bytes, into `frame`.
pub(super) fn to_frame<'a>(
    subject: &str,
    survey: &'a Survey,
    data: Data<'a>,
    length: u64,
    limits: &Limits,
    room: &mut Room,
    frame: &mut Frame,
) -> Result<()> {
    let (width, height) = (survey.header.width.into(), survey.header.height.into());
    let pixels = frame.reshape(Geometry::new(PixelFormat::Rgb24, width, height), limits)?;
    let mut rows = Interleaved { rows: pixels.chunks_exact_mut(width as usize * 3) };
    oltr_jpeg::decode(survey, data, Scale::Full, room, &mut rows).map_err(|e| failure(subject, e, length))
}

/// Rows of a frame, to be filled.
struct Interleaved<'a> {
    rows: std::slice::ChunksExactMut<'a, u8>,
}

impl Rows for Interleaved<'_> {
    fn row(&mut self, [red, green, blue]: [&[u8]; 3]) {
        let Some(row) = self.rows.next() else { return };
        for (((pixel, red), green), blue) in row.as_chunks_mut::<3>().0.iter_mut().zip(red).zip(green).zip(blue) {
            *pixel = [*red, *green, *blue];
        }
    }
}

/// The error for a picture of `length` bytes that cannot be read.
pub(super) fn failure(subject: &str, failure: Failure, length: u64) -> Error {
    match failure {
        Failure::Fault(fault) => bad(subject, fault, length),
        Failure::Io(e) => Error::io(subject, e),
    }
}

/// The error for a picture of `length` bytes with this `fault`, with the remedy.
pub(super) fn bad(subject: &str, fault: Fault, length: u64) -> Error {
    let reason = match fault {
        Fault::CutOff => format!("{fault} after {length} bytes; copy or download it again"),
        Fault::LacksScans => format!("{fault}; copy or download it again"),
        Fault::Damaged(_) => format!("{fault}; copy it again or save it anew"),
        Fault::Unsupported(_) => format!("{fault}, which oltr does not read; save it as a baseline JPEG"),
    };
    Error::BadImage { subject: subject.into(), reason }
}
