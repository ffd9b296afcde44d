//! Sources of frames: what they read, what they refuse, and how they fail.

mod camera;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod corpus;
mod damage;
mod fifo;
mod formats;
mod memory;
mod watch;

use std::io::{self, Read};
use std::time::{Duration, Instant};

use oltr::source::stream::{self, Arrival, Blocking, ByteInput, Settings};
use oltr::source::{FrameSource, Next};
use oltr::{Frame, Geometry, Limits, PixelFormat, Result};

/// Results of a source, in order.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Frame { geometry: Geometry, data: Vec<u8>, seq: u64 },
    Damaged { offset: Option<u64>, reason: String },
}

impl Seen {
    fn is_frame(&self) -> bool {
        matches!(self, Seen::Frame { .. })
    }
}

fn open_with(bytes: impl Read + Send + 'static, settings: &Settings) -> Result<Box<dyn FrameSource>> {
    stream::from_input(Box::new(Blocking(bytes)), settings, &Limits::default(), &|| false)
}

fn open(bytes: &[u8]) -> Result<Box<dyn FrameSource>> {
    open_with(io::Cursor::new(bytes.to_vec()), &Settings::default())
}

/// Everything that `source` gives to its end.
fn drain(source: &mut dyn FrameSource) -> Result<Vec<Seen>> {
    let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
    let mut seen = Vec::new();
    loop {
        match source.next(&mut frame, Duration::from_secs(5))? {
            Next::Frame => {
                let (geometry, data, seq) = (frame.geometry(), frame.data().to_vec(), frame.stamp().seq);
                seen.push(Seen::Frame { geometry, data, seq });
            }
            Next::Damaged(damage) => seen.push(Seen::Damaged { offset: damage.offset, reason: damage.reason }),
            Next::Waiting => {}
            Next::End => return Ok(seen),
        }
        assert!(seen.len() < 1000, "no end in sight");
    }
}

fn read_all(bytes: &[u8]) -> Vec<Seen> {
    drain(&mut *open(bytes).unwrap()).unwrap()
}

/// Bytes that arrive a few at a time, with pauses.
struct Trickle {
    bytes: io::Cursor<Vec<u8>>,
    step: usize,
    pause: bool,
}

impl ByteInput for Trickle {
    fn name(&self) -> &str {
        "trickle"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn read(&mut self, into: &mut [u8], _deadline: Instant) -> Result<Arrival> {
        self.pause = !self.pause;
        if self.pause {
            return Ok(Arrival::Waiting);
        }
        let n = into.len().min(self.step);
        match self.bytes.read(&mut into[..n]).unwrap() {
            0 => Ok(Arrival::End),
            n => Ok(Arrival::Bytes(n)),
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        unreachable!("not called")
    }
}

/// `bytes`, `step` at a time.
fn trickle(bytes: &[u8], step: usize, settings: &Settings) -> Vec<Seen> {
    let input = Trickle { bytes: io::Cursor::new(bytes.to_vec()), step, pause: false };
    let mut source = stream::from_input(Box::new(input), settings, &Limits::default(), &|| false).unwrap();
    drain(&mut *source).unwrap()
}

/// Bytes that are not all alike.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A smooth RGB picture, which survives JPEG and halved chroma nearly unchanged.
fn picture(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let wave = |t: f64| (127.5 + 90.0 * t.sin()) as u8;
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let (x, y, s) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height), f64::from(seed));
            pixels.extend([wave(5.0 * x + s), wave(4.0 * y - s), wave(3.0 * (x + y) + 2.0 * s)]);
        }
    }
    pixels
}

/// A picture as JPEG.
fn jpeg(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    let pixels = picture(width, height, seed);
    image::ImageEncoder::write_image(encoder, &pixels, width, height, image::ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// The size of each frame and the format, with damage as `None`.
fn sizes(seen: &[Seen]) -> Vec<Option<(PixelFormat, u32, u32)>> {
    let size = |seen: &Seen| match seen {
        Seen::Frame { geometry, .. } => Some((geometry.format, geometry.width, geometry.height)),
        Seen::Damaged { .. } => None,
    };
    seen.iter().map(size).collect()
}
