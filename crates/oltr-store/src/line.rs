//! One line of a file of the store: a length, a checksum, and a JSON object.
//!
//! Example: `0000001f 9ae0daaf {"id":1,…}` and a line feed. That is the object's length in bytes as eight hexadecimal
//! digits, a space, its CRC-32 as eight digits, a space, the object. A line is whole if length, checksum and line feed
//! agree. Everything else is damage.

/// Bytes before the object.
pub const HEAD: usize = 18;

/// Bytes of the longest object: the longest line of an event with features of 2048 numbers.
pub const MAX_OBJECT: usize = 64 << 10;

/// Appends the line of `object` to `out`.
pub fn write(object: &[u8], out: &mut Vec<u8>) {
    debug_assert!(object.len() <= MAX_OBJECT && !object.contains(&b'\n'));
    out.extend_from_slice(format!("{:08x} {:08x} ", object.len(), crc32fast::hash(object)).as_bytes());
    out.extend_from_slice(object);
    out.push(b'\n');
}

/// The object of the line at the start of `bytes`; `None` if there is no whole line.
fn first(bytes: &[u8]) -> Option<&[u8]> {
    let hex = |at: usize| {
        let digits = bytes.get(at..at + 8)?;
        let lower = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(lower))?, 16).ok()
    };
    let (length, sum) = (hex(0)? as usize, hex(9)?);
    if bytes[8] != b' ' || bytes.get(17) != Some(&b' ') || length > MAX_OBJECT {
        return None;
    }
    let object = bytes.get(HEAD..HEAD + length)?;
    (bytes.get(HEAD + length) == Some(&b'\n') && crc32fast::hash(object) == sum).then_some(object)
}

/// A part of a file of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A whole line: its object and its length in bytes.
    Line(&'a [u8], usize),
    /// This many damaged bytes, followed by a whole line.
    Damaged(usize),
    /// This many damaged bytes at the end of the file.
    Torn(usize),
}

/// Iterator over the parts of a file.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    rest: &'a [u8],
}

/// Reads `bytes`.
pub fn pieces(bytes: &[u8]) -> Pieces<'_> {
    Pieces { rest: bytes }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(object) = first(self.rest) {
            let length = HEAD + object.len() + 1;
            self.rest = &self.rest[length..];
            return Some(Piece::Line(object, length));
        }
        // Search at every byte, because the line feed before a line may be lost. No line can begin within another one:
        // its text has no line feed.
        let found = (1..self.rest.len()).find(|at| first(&self.rest[*at..]).is_some());
        let length = found.unwrap_or(self.rest.len());
        let piece = if found.is_some() { Piece::Damaged(length) } else { Piece::Torn(length) };
        self.rest = &self.rest[length..];
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(objects: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        objects.iter().for_each(|object| write(object.as_bytes(), &mut out));
        out
    }

    #[test]
    fn a_line_is_as_documented() {
        // CRC-32 of the IEEE polynomial, as zlib and `cksum -o3` give it.
        assert_eq!(
            lines(&["{\"id\":1}"]),
            b"00000008 445df8c5 {\"id\":1}\n",
            "{:?}",
            String::from_utf8(lines(&["{\"id\":1}"]))
        );
    }

    #[test]
    fn every_cut_leaves_whole_lines_and_a_torn_tail() {
        let all = lines(&["{\"a\":1}", "{\"b\":22}", "{}"]);
        let ends: Vec<usize> = pieces(&all)
            .scan(0, |end, piece| {
                let Piece::Line(_, length) = piece else { panic!("{piece:?}") };
                *end += length;
                Some(*end)
            })
            .collect();
        for cut in 0..=all.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let found: Vec<Piece> = pieces(&all[..cut]).collect();
            let lines = found.iter().filter(|piece| matches!(piece, Piece::Line(..))).count();
            assert_eq!(lines, whole, "{cut}");
            let torn = cut - ends[..whole].last().copied().unwrap_or(0);
            assert_eq!(found.last().is_some_and(|p| *p == Piece::Torn(torn)), torn > 0, "{cut}");
        }
    }

    #[test]
    fn what_is_damaged_costs_no_other_line() {
        let (a, b, c) = (lines(&["{\"a\":1}"]), lines(&["{\"b\":2}"]), lines(&["{\"c\":3}"]));
        for at in 0..b.len() {
            for with in [0, b'\n', b'x', b'0', 0xFF] {
                let mut damaged = b.clone();
                if std::mem::replace(&mut damaged[at], with) == with {
                    continue;
                }
                let all = [&a[..], &damaged, &c].concat();
                let found: Vec<&[u8]> = pieces(&all)
                    .filter_map(|piece| if let Piece::Line(object, _) = piece { Some(object) } else { None })
                    .collect();
                assert_eq!(found, [b"{\"a\":1}", b"{\"c\":3}"], "{at} {with}");
            }
        }
        let zeros = [&a[..], &[0; 512], &c].concat();
        let found: Vec<Piece> = pieces(&zeros).collect();
        assert_eq!((found.len(), found[1]), (3, Piece::Damaged(512)));
    }
}
