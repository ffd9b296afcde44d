//! Finds the end of each JPEG in a sequence.

/// Start of a picture: the start-of-image marker, and the first byte of the next marker.
pub const START: [u8; 3] = [0xFF, 0xD8, 0xFF];

/// Parser state for one picture.
///
/// Follows the markers. Segments are skipped as a whole, so a thumbnail inside does not end the picture. In coded data
/// only real markers count. A picture that begins within the coded data of another ends that one: some cameras write no
/// end marker. The decoder checks that the coded data is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Splitter {
    /// Bytes that need not be examined again.
    at: usize,
    /// Start of the last marker with a segment: everything before it is intact.
    segment: usize,
    /// Whether `at` is in coded data.
    coded: bool,
    /// Width and height, once the frame header has been seen.
    size: Option<(u16, u16)>,
}

/// Result of [`Splitter::scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A picture of this many bytes.
    Picture(usize),
    /// A picture of this many bytes without an end marker: the next picture begins there.
    Unended(usize),
    /// The picture is not complete.
    More,
    /// Not a picture, for this reason.
    Broken(&'static str),
}

impl Splitter {
    /// Width and height of the picture, once its header has been seen.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.size
    }

    /// Whether coded data has begun, after which only the end marker must follow.
    pub fn is_coded(&self) -> bool {
        self.coded && self.size.is_some()
    }

    /// Where to search for the next picture after [`Scan::Broken`]: after the intact part, so that its thumbnail does
    /// not count as a picture.
    pub fn resume(&self) -> usize {
        match self.coded {
            true => self.at,
            false => self.segment + 2,
        }
    }

    /// Scans `bytes`, which must begin at the same picture as last time. Continues where the last scan stopped.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        if self.at == 0 {
            match bytes.get(..START.len()) {
                None if START.starts_with(bytes) => return Scan::More,
                Some(start) if start == START => self.at = 2,
                _ => return Scan::Broken("does not begin like a picture"),
            }
        }
        loop {
            if self.coded {
                let Some(found) = bytes.get(self.at..).and_then(|b| b.iter().position(|b| *b == 0xFF)) else {
                    self.at = self.at.max(bytes.len());
                    return Scan::More;
                };
                self.at += found;
            }
            // `at` is where a marker begins, with any number of 0xFF before its code.
            let Some(rest) = bytes.get(self.at..) else {
                return Scan::More;
            };
            if rest.first().is_some_and(|b| *b != 0xFF) {
                return Scan::Broken("a segment does not end where its length says");
            }
            let Some(fill) = rest.iter().position(|b| *b != 0xFF) else {
                self.at = bytes.len().saturating_sub(1).max(self.at);
                return Scan::More;
            };
            let (code, next) = (rest[fill], self.at + fill + 1);
            match code {
                0xD9 => return Scan::Picture(next),
                0x00 | 0xD0..=0xD7 if self.coded => self.at = next,
                0xD8 if self.coded => match bytes.get(next) {
                    None => return Scan::More,
                    Some(0xFF) => return Scan::Unended(next - 2),
                    Some(_) => return Scan::Broken("a start marker lies in coded data"),
                },
                0xD8 => return Scan::Broken("another picture begins before it ends"),
                0x00 => return Scan::Broken("a marker is missing"),
                0x01 | 0xD0..=0xD7 => self.at = next,
                0x02..=0xBF => return Scan::Broken("a marker has no meaning"),
                _ => {
                    self.segment = self.at + fill - 1;
                    let Some(length) = bytes.get(next..next + 2) else {
                        return Scan::More;
                    };
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    if length < 2 {
                        return Scan::Broken("a segment is shorter than its own length");
                    }
                    // SOF0 to SOF15, without DHT, JPG and DAC, whose codes lie between.
                    if matches!(code, 0xC0..=0xCF) && !matches!(code, 0xC4 | 0xC8 | 0xCC) {
                        if self.size.is_some() {
                            return Scan::Broken("it has two frame headers");
                        }
                        let Some(&[y1, y0, x1, x0]) = bytes.get(next + 3..next + 7) else {
                            return Scan::More;
                        };
                        self.size = Some((u16::from_be_bytes([x1, x0]), u16::from_be_bytes([y1, y0])));
                    }
                    self.coded = code == 0xDA;
                    self.at = next + length;
                }
            }
        }
    }
}

/// Position in `bytes` of the next [`START`] from `from` on, or of a partial one at the end.
pub fn find_start(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|at| {
        let rest = &bytes[*at..];
        rest.starts_with(&START) || (rest.len() < START.len() && START.starts_with(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thumbnail in APP1, a stuffed 0xFF, a restart marker, a second scan after coded data.
    const PICTURE: &[u8] = b"\xFF\xD8\xFF\xE1\x00\x08\xFF\xD8ab\xFF\xD9\xFF\xFF\xC0\x00\x09\x08\x00\x10\x00\x20\x01\
        \x01\xFF\xDA\x00\x03\x01\x12\xFF\x00\xFF\xD3\x34\xFF\xC4\x00\x02\xFF\xDA\x00\x02\x99\xFF\xFF\xD9";

    #[test]
    fn pictures_end_at_their_own_end_however_they_arrive() {
        let more = [PICTURE, PICTURE].concat();
        assert_eq!(Splitter::default().scan(&more), Scan::Picture(PICTURE.len()));
        let mut splitter = Splitter::default();
        for n in 0..PICTURE.len() {
            assert_eq!(splitter.scan(&PICTURE[..n]), Scan::More, "{n}");
        }
        assert_eq!(splitter.scan(PICTURE), Scan::Picture(PICTURE.len()));
        assert_eq!(splitter.size(), Some((32, 16)));
    }

    #[test]
    fn broken_pictures_are_reported() {
        let broken = |bytes: &[u8]| matches!(Splitter::default().scan(bytes), Scan::Broken(_));
        assert!(broken(b"\xFF\xD8\x00"));
        assert!(broken(b"\xFF\xD8\xFF\xE0\x00\x01"), "a length of 1");
        assert!(broken(b"\xFF\xD8\xFF\xE0\x00\x02\x00"), "no marker behind a segment");
        assert!(broken(b"\xFF\xD8\xFF\xDA\x00\x02\x01\xFF\xD8\x01"), "a start marker in coded data");
        assert!(broken(b"\xFF\xD8\xFF\xE0\x00\x02\xFF\xD8\xFF"), "a picture within a header");
    }

    #[test]
    fn a_picture_without_an_end_marker_ends_where_the_next_begins() {
        let bytes = b"\xFF\xD8\xFF\xDA\x00\x02\x01\xFF\xD8\xFF";
        assert_eq!(Splitter::default().scan(bytes), Scan::Unended(7));
        assert_eq!(Splitter::default().scan(&bytes[..9]), Scan::More);
    }

    #[test]
    fn a_thumbnail_of_a_broken_picture_is_passed_over() {
        let cut = [&PICTURE[..30], b"\x05\x06", PICTURE].concat();
        let mut splitter = Splitter::default();
        assert_eq!(splitter.scan(&cut), Scan::Unended(32));
        let wrong_length = b"\xFF\xD8\xFF\xE0\x00\x03a\xFF\xE1\x00\x05ab\xFF\xD8\xFF";
        let mut splitter = Splitter::default();
        assert!(matches!(splitter.scan(wrong_length), Scan::Broken(_)));
        assert_eq!(splitter.resume(), 9);
    }

    #[test]
    fn starts_are_found_also_in_part() {
        assert_eq!(find_start(b"ab\xFF\xD8\xFF", 0), Some(2));
        assert_eq!(find_start(b"ab\xFF\xD8", 0), Some(2));
        assert_eq!(find_start(b"\xFF\xD8\xFFab\xFF", 1), Some(5));
        assert_eq!(find_start(b"\xFF\xD8ab", 0), None);
    }
}
