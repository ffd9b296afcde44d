//! Classifies bytes between two pictures of a stream: padding, multipart headers, or damage.

/// Most bytes of text that count as multipart headers: HTTP servers send some hundred.
pub const MAX_TEXT: usize = 4096;

/// Whether this byte is padding between pictures.
pub fn is_padding(byte: u8) -> bool {
    matches!(byte, 0 | 0xFF | b'\r' | b'\n')
}

/// Whether this byte may occur in multipart headers or their padding.
pub fn is_text(byte: u8) -> bool {
    is_padding(byte) || matches!(byte, b'\t' | b' '..=b'~')
}

/// Whether `bytes` are headers of a multipart stream: a boundary, the lines of a part, or a server's response.
///
/// One typical line is enough. So the stream may begin anywhere, and the form of the boundary and a length do not
/// matter.
pub fn is_header(bytes: &[u8]) -> bool {
    let starts =
        |line: &[u8], with: &str| line.get(..with.len()).is_some_and(|l| l.eq_ignore_ascii_case(with.as_bytes()));
    let known = |line: &[u8]| ["--", "HTTP/", "Content-Type:", "Content-Length:"].iter().any(|with| starts(line, with));
    bytes.len() <= MAX_TEXT && bytes.iter().all(|b| is_text(*b)) && bytes.split(|b| *b == b'\n').any(known)
}

/// Length of the picture that `bytes` begin with and that has no end marker, without the headers that follow it.
pub fn without_header(bytes: &[u8]) -> usize {
    let text = bytes.iter().rev().take(MAX_TEXT).take_while(|b| is_text(**b)).count();
    let from = bytes.len() - text;
    let boundary = bytes[from..].windows(3).rposition(|w| w == b"\n--");
    match boundary.filter(|at| is_header(&bytes[from + at + 1..])) {
        Some(at) if at > 0 && bytes[from + at - 1] == b'\r' => from + at - 1,
        Some(at) => from + at,
        None => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_distinguished_from_other_text() {
        for header in [
            &b"--boundary\r\n"[..],
            b"\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 12\r\nX-Timestamp: 0.0\r\n\r\n",
            b"boundary\nCONTENT-TYPE: image/jpeg\n\n",
            b"HTTP/1.0 200 OK\r\nServer: camera\r\n\r\n",
            b"--end--",
        ] {
            assert!(is_header(header), "{header:?}");
        }
        for other in [&b""[..], b"garbage", b"a line\n", b"--\x80", b"- -", &[b'-'; MAX_TEXT + 1]] {
            assert!(!is_header(other), "{other:?}");
        }
    }

    #[test]
    fn a_header_behind_a_picture_is_cut_off() {
        assert_eq!(without_header(b"\x80ab\r\n--b\r\nContent-Type: a\r\n\r\n"), 3);
        assert_eq!(without_header(b"\x80ab\n--b\n\n"), 3);
        assert_eq!(without_header(b"\x80ab\n-b\n\n"), 8);
        assert_eq!(without_header(b""), 0);
    }
}
