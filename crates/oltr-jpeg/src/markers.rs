//! The segments of a JPEG, walked as libjpeg walks them.
//!
//! Stray bytes between two segments and fill bytes before a marker are passed over, and a segment that ends too early is
//! followed by a search for the next marker.

use super::fault::Fault;

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

/// One marker with what belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The byte behind the 0xFF.
    pub marker: u8,
    /// Where the 0xFF lies in the picture.
    pub start: usize,
    /// What follows the two bytes of length.
    pub body: &'a [u8],
    /// Where what follows it lies: the coded data of a scan.
    pub end: usize,
}

/// All segments from behind the start of the picture to its end-of-image marker, which comes last, or to the end of the
/// bytes. Coded data is searched for markers as what lies between two segments is; [`Segments::pass_coded`] is quicker.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
    over: bool,
}

impl<'a> Segments<'a> {
    /// The segments of `bytes`, whose first two begin the picture.
    pub fn new(bytes: &'a [u8]) -> Segments<'a> {
        Segments { bytes, at: 2, over: false }
    }

    /// Passes over the coded data of a scan, which is next; whether a marker ends it, not the end of the bytes.
    pub fn pass_coded(&mut self) -> bool {
        let data = self.bytes;
        while let Some(found) = memchr::memchr(0xFF, &data[self.at..]) {
            let start = self.at + found;
            let Some(fill) = data[start..].iter().position(|b| *b != 0xFF) else { break };
            match data[start + fill] {
                0x00 | 0xD0..=0xD7 => self.at = start + fill + 1,
                _ => {
                    self.at = start;
                    return true;
                }
            }
        }
        self.at = data.len();
        false
    }

    /// The next segment without regard to the end.
    fn advance(&mut self) -> Option<Result<Segment<'a>, Fault>> {
        loop {
            let start = self.at + memchr::memchr(0xFF, self.bytes.get(self.at..)?)?;
            let fill = self.bytes[start..].iter().position(|b| *b != 0xFF)?;
            let marker = self.bytes[start + fill];
            self.at = start + fill + 1;
            match marker {
                // No marker, and markers without a length. A second start of the picture is what some cameras write.
                0x00 | 0x01 | 0xD0..=0xD7 | name::SOI => {}
                name::EOI => {
                    self.over = true;
                    return Some(Ok(Segment { marker, start, body: &[], end: self.at }));
                }
                _ => {
                    let length = self.bytes.get(self.at..self.at + 2).map(|l| u16::from_be_bytes([l[0], l[1]]));
                    let Some(length) = length else { return Some(Err(Fault::CutOff)) };
                    let length = usize::from(length);
                    if length < 2 {
                        return Some(Err(Fault::Damaged("a segment shorter than its length")));
                    }
                    let Some(body) = self.bytes.get(self.at + 2..self.at + length) else {
                        return Some(Err(Fault::CutOff));
                    };
                    self.at += length;
                    return Some(Ok(Segment { marker, start, body, end: self.at }));
                }
            }
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Result<Segment<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.advance();
        self.over |= !matches!(next, Some(Ok(_)));
        next
    }
}
