//! JPEG: finds the end of a picture, and decodes its pixels.

use oltr_jpeg::{Data, Failure, Fault, Rows, Scale, ScanIndex, name};

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;

pub use oltr_jpeg::Room;
pub(super) use oltr_jpeg::{Segments, from_cmyk};

/// Length of the JPEG picture at the start of `bytes`, including its end-of-image marker. `None` if `bytes` ends first.
///
/// Follows the markers only, so it is fast and does not check the data in between. Thumbnails are inside segments,
/// which are skipped as a whole.
pub fn picture_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        // In coded data a literal 0xFF is followed by a 0. Any number of 0xFF may precede a marker.
        at += bytes[at..].iter().position(|b| *b == 0xFF)?;
        at += bytes[at..].iter().position(|b| *b != 0xFF)?;
        let marker = bytes[at];
        at += 1;
        match marker {
            name::EOI => return Some(at),
            // A stuffed 0xFF, TEM, a restart marker, start of image: markers without a length.
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

/// Decodes the JPEG picture `bytes` into `frame` as RGB. `room` holds the decoder's buffers.
///
/// Supports sequential and progressive 8-bit pictures with Huffman codes, one or more scans and any sampling. Colours:
/// grey, YCbCr, RGB, and Adobe's inverted CMYK and YCCK without their profile. Also Motion JPEG, which uses the
/// standard's Huffman tables. Ignores bytes after the picture. Accepts a missing end marker if the coded data is
/// complete.
///
/// # Errors
/// [`Error::Limit`] from the header, before allocation; [`Error::BadImage`] for a picture that is truncated, damaged,
/// incomplete, or of another kind (lossless, arithmetic-coded, 12 bits).
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits, room: &mut Room, frame: &mut Frame) -> Result<()> {
    let failed = |fault: Fault| bad(subject, fault, bytes.len() as u64);
    check(subject, oltr_jpeg::size(bytes).map_err(failed)?, limits)?;
    let index = ScanIndex::new(bytes).map_err(failed)?;
    let decoded = to_frame(subject, &index, Data::Whole(bytes), bytes.len() as u64, limits, room, frame);
    if decoded.is_ok() {
        frame.set_encoded(bytes);
    }
    decoded
}

/// Stores `bytes` undecoded in `frame`, to be decoded later. Refuses if they are larger than the pixels.
///
/// # Errors
/// As [`decode`] for errors in the headers.
pub(super) fn keep(subject: &str, bytes: &[u8], limits: &Limits, frame: &mut Frame) -> Result<bool> {
    // Drivers return whole buffers with zeros after the picture. A few of them show that the end marker is missing.
    const ZEROS: usize = 16;
    let last = bytes.iter().rposition(|b| *b != 0).unwrap_or(0);
    let bytes = &bytes[..bytes.len().min(last + 1 + ZEROS)];
    let size = oltr_jpeg::size(bytes).map_err(|fault| bad(subject, fault, bytes.len() as u64))?;
    check(subject, size, limits)?;
    frame.keep_coded(bytes, Geometry::new(PixelFormat::Rgb24, size.0.into(), size.1.into()), limits)
}

/// Checks the size against the limits.
pub(super) fn check(subject: &str, (width, height): (u16, u16), limits: &Limits) -> Result<()> {
    check_size(subject, width.into(), height.into(), limits)
}

/// Decodes what `index` describes, a file of `length` bytes, into `frame`.
pub(super) fn to_frame<'a>(
    subject: &str,
    index: &'a ScanIndex,
    data: Data<'a>,
    length: u64,
    limits: &Limits,
    room: &mut Room,
    frame: &mut Frame,
) -> Result<()> {
    let (width, height) = (index.header.width.into(), index.header.height.into());
    let pixels = frame.reshape(Geometry::new(PixelFormat::Rgb24, width, height), limits)?;
    let mut rows = Interleaved { rows: pixels.chunks_exact_mut(width as usize * 3) };
    oltr_jpeg::decode(index, data, Scale::Full, room, &mut rows).map_err(|e| failure(subject, e, length))
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
