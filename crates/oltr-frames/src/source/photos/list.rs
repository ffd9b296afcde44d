//! A list of paths, one per line, as programs of any system write it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The paths in a list. A byte order mark is removed, Windows line ends are accepted, paths may be other bytes than
/// UTF-8, and a list with a UTF-16 mark is converted.
pub fn paths(text: &[u8]) -> Vec<PathBuf> {
    let decoded;
    let text = match text {
        [0xff, 0xfe, rest @ ..] => {
            decoded = from_utf16(rest, u16::from_le_bytes);
            decoded.as_bytes()
        }
        [0xfe, 0xff, rest @ ..] => {
            decoded = from_utf16(rest, u16::from_be_bytes);
            decoded.as_bytes()
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        text => text,
    };
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| PathBuf::from(OsString::from_vec(line.to_vec()))).collect()
}

/// Whether `text` is a picture or another binary file, named as a list by mistake: it starts like a JPEG, or contains
/// control characters that file names do not have.
pub fn is_binary(text: &[u8]) -> bool {
    let marked = text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]);
    text.starts_with(&[0xff, 0xd8, 0xff]) || (!marked && text.contains(&0))
}

fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn marks_ends_of_lines_and_odd_bytes() {
        let bytes = |text: &[u8]| paths(text).iter().map(|p| p.as_os_str().as_bytes().to_vec()).collect::<Vec<_>>();
        let expected = [b"a.jpg".to_vec(), "ä b.jpg".as_bytes().to_vec()];
        assert_eq!(bytes("a.jpg\nä b.jpg".as_bytes()), expected);
        assert_eq!(bytes("\u{feff}a.jpg\r\n\r\n \nä b.jpg\r\n".as_bytes()), expected);
        for (mark, encode) in [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)]
        {
            let text: Vec<u8> = "a.jpg\r\nä b.jpg\r\n".encode_utf16().flat_map(encode).collect();
            assert_eq!(bytes(&[&mark[..], &text].concat()), expected);
        }
        assert_eq!(bytes(b"lat\xe9n.jpg\nb.jpg\n"), [b"lat\xe9n.jpg".to_vec(), b"b.jpg".to_vec()]);
        assert_eq!(bytes(b"\xef\xbb\xbf\n"), [] as [Vec<u8>; 0]);
    }

    #[test]
    fn pictures_are_no_lists() {
        assert!(is_binary(b"\xff\xd8\xff\xe0\n") && is_binary(b"\x89PNG\r\n\x1a\n\0\0"));
        assert!(!is_binary(b"lat\xe9n.jpg\n") && !is_binary(b"\xff\xfea\0\n\0") && !is_binary(b""));
    }
}
