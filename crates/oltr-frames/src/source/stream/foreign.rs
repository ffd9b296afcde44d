//! Recognises files and streams that oltr does not read, and names the command that converts them.

use crate::error::Error;

/// First byte of each packet of an MPEG transport stream.
pub const SYNC: u8 = 0x47;

/// Bytes from one packet of a transport stream to the next.
const PACKET: usize = 188;

/// A kind of input that oltr does not read as a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Compressed video, by this name.
    Video(&'static str),
    /// A single photo, by this name.
    Photo(&'static str),
    /// Another kind, by name.
    Other(&'static str),
}

/// Recognises the first `bytes` of a stream; `None` if unknown.
pub fn recognise(bytes: &[u8]) -> Option<Foreign> {
    use Foreign::{Other, Photo, Video};
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(4, b"ftyp") {
        return Some(match bytes.get(8..12) {
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"mif1" | b"msf1") => Photo("a HEIC picture"),
            Some(b"avif" | b"avis") => Photo("an AVIF picture"),
            _ => Video("an MP4 or MOV file"),
        });
    }
    if ["moov", "mdat", "free", "skip", "wide", "pnot"].iter().any(|tag| at(4, tag.as_bytes())) {
        return Some(Video("an MP4 or MOV file"));
    }
    if at(0, b"RIFF") && bytes.len() >= 12 {
        return Some(if at(8, b"WEBP") { Photo("a WebP picture") } else { Video("an AVI file") });
    }
    if bytes.first() == Some(&SYNC) && bytes.get(PACKET) == Some(&SYNC) {
        return Some(Video("an MPEG transport stream"));
    }
    const MAGIC: [(&[u8], Foreign); 24] = [
        (b"\x1A\x45\xDF\xA3", Video("a Matroska or WebM file")),
        (b"FLV\x01", Video("a Flash video file")),
        (b"\x00\x00\x01\xBA", Video("an MPEG program stream")),
        (b"\x00\x00\x01\xB3", Video("an MPEG video stream")),
        (b"\x00\x00\x00\x01", Video("an H.264 or H.265 stream")),
        (b"\x00\x00\x01", Video("an H.264 or H.265 stream")),
        (b"OggS", Video("an Ogg file")),
        (b"\x30\x26\xB2\x75", Video("a Windows Media file")),
        (b"DKIF", Video("an IVF file")),
        (b"#EXTM3U", Video("a playlist of video")),
        (b"RTSP/", Video("an RTSP stream")),
        (b"\x89PNG", Photo("a PNG picture")),
        (b"GIF8", Photo("a GIF picture")),
        (b"II*\x00", Photo("a TIFF picture")),
        (b"MM\x00*", Photo("a TIFF picture")),
        (b"P5", Photo("a PGM picture")),
        (b"P6", Photo("a PPM picture")),
        (b"<", Other("an HTML or XML document")),
        (b"{", Other("a JSON document")),
        (b"\x1F\x8B", Other("compressed with gzip")),
        (b"PK\x03\x04", Other("a zip archive")),
        (b"\x7FELF", Other("a program")),
        (b"%PDF", Other("a PDF document")),
        (b"\xEF\xBB\xBF", Other("a text")),
    ];
    MAGIC.iter().find(|(magic, _)| at(0, magic)).map(|(_, foreign)| *foreign)
}

impl Foreign {
    /// The error that names the kind of `name` and the remedy.
    pub fn refused(self, name: &str) -> Error {
        let reason = match self {
            Foreign::Video(what) => {
                let input = if name == "-" { "FILE" } else { name };
                let decode = ffmpeg(input, &[]);
                format!("is {what}, which oltr does not decode; let ffmpeg: {decode} | oltr stream --recording -")
            }
            Foreign::Photo(what) => format!(
                "is {what}, not a stream of YUV4MPEG2 or JPEG pictures; classify it: oltr classify {}",
                quoted(if name == "-" { "FILE" } else { name })
            ),
            Foreign::Other(what) => {
                format!("is {what}, neither YUV4MPEG2 nor a sequence of JPEG pictures; check what writes it")
            }
        };
        Error::BadInput { subject: name.into(), reason }
    }
}

/// The ffmpeg command that decodes `input` with `options` to a format that oltr reads from a pipe.
pub fn ffmpeg(input: &str, options: &[&str]) -> String {
    // A file name that looks like an option or a protocol gets a `file:` prefix.
    let is_file = !input.contains("://") && !input.starts_with("/dev/");
    let input = if is_file && (input.contains(':') || input.starts_with('-')) {
        format!("file:{input}")
    } else {
        input.to_string()
    };
    let options: String = options.iter().map(|option| format!("{option} ")).collect();
    format!("ffmpeg -nostdin -v error {options}-i {} -an -pix_fmt yuv420p -f yuv4mpegpipe -", quoted(&input))
}

/// Quotes `word` for a POSIX shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@+=%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_photos_are_distinguished() {
        let video = |bytes: &[u8]| matches!(recognise(bytes), Some(Foreign::Video(_)));
        for bytes in [
            &b"\x00\x00\x00\x20ftypisom"[..],
            b"\x00\x00\x00\x08wide\x00\x00",
            b"\x1A\x45\xDF\xA3\x01",
            b"RIFF\x00\x00\x00\x00AVI LIST",
            b"FLV\x01\x05",
            b"\x00\x00\x00\x01\x67\x42",
        ] {
            assert!(video(bytes), "{bytes:?}");
        }
        let mut packets = vec![0; 200];
        (packets[0], packets[188]) = (SYNC, SYNC);
        assert!(video(&packets) && !video(&packets[..188]));
        assert!(matches!(recognise(b"\x00\x00\x00\x20ftypheic"), Some(Foreign::Photo(_))));
        assert!(matches!(recognise(b"\x89PNG\r\n"), Some(Foreign::Photo(_))));
        for stream in [&b""[..], b"\xFF\xD8\xFF", b"YUV4MPEG2 ", b"--boundary\r\n", b"HTTP/1.0 200 OK\r\n"] {
            assert_eq!(recognise(stream), None, "{stream:?}");
        }
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("a-b_c.mp4"), "a-b_c.mp4");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
        assert!(ffmpeg("rtsp://a/b?c=1&d", &["-rtsp_transport tcp"]).contains("tcp -i 'rtsp://a/b?c=1&d' -an"));
        assert!(ffmpeg("a:b.mp4", &[]).contains("-i file:a:b.mp4 ") && ffmpeg("-a", &[]).contains("file:-a"));
    }
}
