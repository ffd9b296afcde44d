//! The segments of a JPEG, walked as libjpeg walks them.
//!
//! Skips stray bytes between two segments and fill bytes before a marker. After a segment that ends too early, searches
//! for the next marker.

use std::ops::Range;

use super::fault::{Failure, Fault};
use super::raw::Raw;

/// Markers by their names in ITU-T T.81, table B.1.
pub mod name {
    pub const SOF0: u8 = 0xC0;
    pub const SOF2: u8 = 0xC2;
    pub const DHT: u8 = 0xC4;
    pub const SOI: u8 = 0xD8;
    pub const EOI: u8 = 0xD9;
    pub const SOS: u8 = 0xDA;
    pub const DQT: u8 = 0xDB;
    pub const DRI: u8 = 0xDD;
    pub const APP0: u8 = 0xE0;
    pub const APP14: u8 = 0xEE;
}

/// One marker and its segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The byte after the 0xFF.
    pub marker: u8,
    /// The bytes after the length.
    pub body: &'a [u8],
    /// Offset in the picture of what follows the segment: the coded data of a scan.
    pub end: usize,
}

/// Result of a search for a marker.
enum Found {
    Segment {
        marker: u8,
        body: Range<usize>,
        end: usize,
    },
    /// Incomplete: where the next search begins, and whether a segment begins there.
    Short(usize, bool),
    Damaged(Fault),
}

/// Searches `bytes` from `at` on for the next segment.
fn find(bytes: &[u8], mut at: usize) -> Found {
    while let Some(found) = memchr::memchr(0xFF, bytes.get(at..).unwrap_or_default()) {
        let start = at + found;
        let Some(fill) = bytes[start..].iter().position(|b| *b != 0xFF) else {
            return Found::Short(bytes.len() - 1, false);
        };
        let marker = bytes[start + fill];
        at = start + fill + 1;
        match marker {
            // Not a marker, or a marker without a length. Some cameras write a second start of the picture.
            0x00 | 0x01 | 0xD0..=0xD7 | name::SOI => {}
            name::EOI => return Found::Segment { marker, body: at..at, end: at },
            _ => {
                let short = Found::Short(at - 2, true);
                let Some(length) = bytes.get(at..at + 2) else { return short };
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                if length < 2 {
                    return Found::Damaged(Fault::Damaged("a segment shorter than its length"));
                }
                let body = at + 2..at + length;
                return if body.end > bytes.len() { short } else { Found::Segment { marker, end: body.end, body } };
            }
        }
    }
    Found::Short(bytes.len().max(at), false)
}

/// All segments after the start of the picture, up to its end-of-image marker, which is the last item, or to the end of
/// the bytes. Also finds markers after coded data, which it scans like any other gap.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    over: bool,
}

impl<'a> Segments<'a> {
    /// The segments of `bytes`, which begin with the two bytes of SOI.
    pub fn new(bytes: &'a [u8]) -> Segments<'a> {
        Segments { bytes, at: 2, over: false }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Segment<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = match find(self.bytes, self.at) {
            Found::Segment { marker, body, end } => {
                self.at = end;
                Some(Ok(Segment { marker, body: &self.bytes[body], end }))
            }
            Found::Short(_, true) => Some(Err(Fault::CutOff)),
            Found::Short(_, false) => None,
            Found::Damaged(fault) => Some(Err(fault)),
        };
        self.over = !matches!(next, Some(Ok(Segment { marker, .. })) if marker != name::EOI);
        next
    }
}

/// The same for a picture that is only partly in memory, with a faster way over coded data.
pub struct Walk<'a> {
    raw: Raw<'a>,
    at: usize,
    over: bool,
}

impl<'a> Walk<'a> {
    /// The segments of the picture that `raw` begins with.
    pub fn new(raw: Raw<'a>) -> Walk<'a> {
        Walk { raw, at: 2, over: false }
    }

    /// The next segment.
    ///
    /// # Errors
    /// Items as in [`Segments`], and [`Failure::Io`].
    pub fn next(&mut self) -> Option<Result<Segment<'_>, Failure>> {
        while !self.over {
            match find(self.raw.bytes(), self.at) {
                Found::Segment { marker, body, end } => {
                    (self.at, self.over) = (end, marker == name::EOI);
                    let end = self.raw.passed() + end;
                    return Some(Ok(Segment { marker, body: &self.raw.bytes()[body], end }));
                }
                Found::Short(from, cut) => {
                    self.at = from;
                    match self.raw.advance(&mut self.at) {
                        Ok(true) => continue,
                        Ok(false) if !cut => self.over = true,
                        failed => {
                            self.over = true;
                            return Some(Err(failed.err().unwrap_or(Fault::CutOff.into())));
                        }
                    }
                }
                Found::Damaged(fault) => {
                    self.over = true;
                    return Some(Err(fault.into()));
                }
            }
        }
        None
    }

    /// Skips the coded data of the current scan. Returns whether a marker ends it, and not the end of the bytes.
    ///
    /// # Errors
    /// [`Failure::Io`].
    pub fn pass_coded(&mut self) -> Result<bool, Failure> {
        loop {
            let data = self.raw.bytes();
            let Some(found) = memchr::memchr(0xFF, &data[self.at..]) else {
                self.at = data.len();
                if self.raw.advance(&mut self.at)? {
                    continue;
                }
                return Ok(false);
            };
            let start = self.at + found;
            match data[start..].iter().position(|b| *b != 0xFF) {
                Some(fill) if matches!(data[start + fill], 0x00 | 0xD0..=0xD7) => self.at = start + fill + 1,
                Some(_) => {
                    self.at = start;
                    return Ok(true);
                }
                None => {
                    self.at = data.len() - 1;
                    if !self.raw.advance(&mut self.at)? {
                        self.at = self.raw.bytes().len();
                        return Ok(false);
                    }
                }
            }
        }
    }
}
