//! What must hold of any bytes. Run by the fuzz targets on what a fuzzer makes up, and by tests/sources on the seeds.
#![allow(dead_code, reason = "each fuzz target uses one")]

use std::io::{self, Read};
use std::time::{Duration, Instant};

use oltr::preprocess::{Preprocess, Preprocessor, Resize};
use oltr::source::Next;
use oltr::source::stream::{self, Arrival, ByteInput, Layout, RawFormat, Scan, Settings, Splitter};
use oltr::{Error, Frame, Limits, PixelFormat, Rect, Result, Rotation, View};

/// Bytes that arrive `step` at a time.
struct Steps {
    bytes: io::Cursor<Vec<u8>>,
    step: usize,
}

impl ByteInput for Steps {
    fn name(&self) -> &str {
        "fuzz"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn read(&mut self, into: &mut [u8], _deadline: Instant) -> Result<Arrival> {
        let n = into.len().min(self.step);
        match self.bytes.read(&mut into[..n]) {
            Ok(0) | Err(_) => Ok(Arrival::End),
            Ok(n) => Ok(Arrival::Bytes(n)),
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        Err(Error::Unavailable { subject: "fuzz".into(), reason: String::new() })
    }
}

/// Small, so that a header alone costs no time.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.frame_bytes = 64 << 10;
    limits.encoded_frame_bytes = 32 << 10;
    limits
}

/// All that a stream of `bytes` gives: the bytes of frames, the offsets of damage. Checks what each promises.
fn read(bytes: &[u8], step: usize, settings: &Settings) -> Option<Vec<(Option<u64>, Vec<u8>)>> {
    let input = Steps { bytes: io::Cursor::new(bytes.to_vec()), step };
    let mut source = stream::from_input(Box::new(input), settings, &limits(), &|| false).ok()?;
    let most = source.bounds().frame_bytes;
    assert!(most <= limits().frame_bytes);
    let mut frame = Frame::with_capacity(most);
    let mut given = Vec::new();
    let mut last = 0;
    // Every step but the last takes a byte at least.
    for _ in 0..=bytes.len() + 1 {
        match source.next(&mut frame, Duration::from_secs(3600)) {
            Ok(Next::Frame) => {
                check(&frame, most);
                given.push((None, frame.data().to_vec()));
            }
            Ok(Next::Damaged(damage)) => {
                let offset = damage.offset.expect("a stream knows where it is");
                assert!(offset >= last && offset <= bytes.len() as u64, "{offset} after {last} of {}", bytes.len());
                last = offset;
                given.push((Some(offset), Vec::new()));
            }
            Ok(Next::Waiting) => panic!("nothing to wait for"),
            Ok(Next::End) | Err(_) => return Some(given),
        }
    }
    panic!("no end after {} frames or damages of {} bytes", given.len(), bytes.len());
}

/// Planes lie within the frame, and the frame within its bounds.
fn check(frame: &Frame, most: usize) {
    assert!(frame.data().len() <= most);
    for index in 0..frame.format().planes() {
        let plane = frame.plane(index);
        assert!(plane.row <= plane.stride && plane.offset + plane.len() <= frame.data().len(), "{plane:?}");
    }
}

/// The same however it arrives.
fn in_any_steps(bytes: &[u8], settings: &Settings) {
    let at_once = read(bytes, usize::MAX, settings);
    for step in [1, 13] {
        assert_eq!(read(bytes, step, settings), at_once, "{step} bytes at a time");
    }
}

/// YUV4MPEG2: any bytes, and any bytes behind a header.
pub fn y4m(bytes: &[u8]) {
    in_any_steps(bytes, &Settings::default());
    in_any_steps(&[b"YUV4MPEG2 W3 H2 C420jpeg\n", bytes].concat(), &Settings::default());
}

/// Sequences of JPEG pictures.
pub fn jpeg(bytes: &[u8]) {
    let whole = Splitter::default().scan(bytes);
    let mut splitter = Splitter::default();
    let mut parts = Scan::More;
    for end in 0..=bytes.len() {
        parts = splitter.scan(&bytes[..end]);
        if parts != Scan::More {
            break;
        }
    }
    assert_eq!(parts, whole);
    if let Scan::Picture(length) | Scan::Unended(length) = whole {
        assert!(length <= bytes.len());
    }
    in_any_steps(&[b"\xFF\xD8\xFF", bytes].concat(), &Settings::default());
    in_any_steps(bytes, &Settings::default());
}

/// Parts of a multipart stream: the bytes as they are, as a part, and between two parts with a picture each.
pub fn multipart(bytes: &[u8]) {
    const HEADER: &[u8] = b"\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n";
    in_any_steps(bytes, &Settings::default());
    in_any_steps(&[HEADER, bytes, HEADER].concat(), &Settings::default());
    in_any_steps(&[HEADER, PICTURE, HEADER, bytes, HEADER, PICTURE].concat(), &Settings::default());
}

/// A gray JPEG of 8×8 pixels.
const PICTURE: &[u8] = include_bytes!("seeds/jpeg/gray");

/// Raw frames: the first bytes choose format, size, stride, region and rotation.
pub fn raw(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first_chunk::<16>() else { return };
    let [format, w0, w1, h0, h1, s0, s1, x, y, width, height, rotation, size, resize, padded, many] = *choice;
    let format = PixelFormat::ALL[usize::from(format) % PixelFormat::ALL.len()];
    // Mostly small, sometimes absurd.
    let scale = if many == 255 { 65_537 } else { 1 };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high % 2])) * scale;
    let stride = usize::from(u16::from_le_bytes([s0, s1]));
    let layout = match padded % 8 {
        2 => Layout::Gstreamer,
        4 => Layout::Strides([stride, stride / 2, stride / 2]),
        6 => Layout::Strides([stride, stride, stride.wrapping_mul(x.into())]),
        odd if odd % 2 == 1 => Layout::Stride(stride),
        _ => Layout::Tight,
    };
    let raw = RawFormat { format, width: side(w0, w1), height: side(h0, h1), layout };
    let settings = Settings { raw: Some(raw), ..Settings::default() };
    in_any_steps(rest, &settings);
    // And what preprocessing does with the first frame.
    let input = Steps { bytes: io::Cursor::new(rest.to_vec()), step: usize::MAX };
    let Ok(mut source) = stream::from_input(Box::new(input), &settings, &limits(), &|| false) else { return };
    let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
    if !matches!(source.next(&mut frame, Duration::ZERO), Ok(Next::Frame)) {
        return;
    }
    let region = (x | y | width | height != 0).then(|| {
        let [x, y, width, height] = [x, y, width, height].map(u32::from);
        Rect { x, y, width, height }
    });
    let rotation = Rotation::from_degrees(u32::from(rotation % 4) * 90).unwrap_or_default();
    frame.set_view(View { region, rotation });
    let settings = Preprocess {
        size: u32::from(size % 64),
        resize: [Resize::Stretch, Resize::ShorterSide, Resize::Pad][usize::from(resize % 3)],
        resize_to: None,
        mean: [127.0; 3],
        std: [128.0; 3],
        pad_color: None,
    };
    if let Ok(mut preprocessor) = Preprocessor::new(&settings, frame.geometry()) {
        let mut pixels = vec![0; preprocessor.output_len()];
        preprocessor.run(&frame, &mut pixels).expect("what can be planned can be run");
    }
}
