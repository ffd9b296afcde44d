//! Memory of sources: their bounds, and no allocation per frame.

use std::io::Read;
use std::time::Duration;

use oltr::source::stream::{Layout, RawFormat, Settings};
use oltr::source::{Bounds, Next};
use oltr::{Frame, PixelFormat};

use super::common::counting_allocator::{held_by, taken_by};
use super::{jpeg, open_with};

/// Repeats the same bytes without end, after a header.
struct Endless {
    header: Vec<u8>,
    period: Vec<u8>,
    at: usize,
}

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let from = match self.at.checked_sub(self.header.len()) {
            None => &self.header[self.at..],
            Some(at) => &self.period[at % self.period.len()..],
        };
        let n = from.len().min(into.len());
        into[..n].copy_from_slice(&from[..n]);
        self.at += n;
        Ok(n)
    }
}

fn steady(input: Endless, settings: &Settings) -> (usize, usize, Bounds) {
    let (held, mut source) = held_by(|| open_with(input, settings).unwrap());
    let bounds = source.bounds();
    let mut frame = Frame::with_capacity(bounds.frame_bytes);
    let mut next = || assert_eq!(source.next(&mut frame, Duration::from_secs(9)).unwrap(), Next::Frame);
    next();
    let taken = taken_by(|| (0..100).for_each(|_| next()));
    (taken.times, held.now as usize, bounds)
}

#[test]
fn raw_and_yuv4mpeg2_take_no_memory_for_a_frame() {
    let raw = Some(RawFormat { layout: Layout::Stride(64), ..RawFormat::new(PixelFormat::Yuv420p, 50, 20) });
    let settings = Settings { raw, ..Settings::default() };
    let endless = |header: &[u8], period: Vec<u8>| Endless { header: header.to_vec(), period, at: 0 };
    let (taken, _, bounds) = steady(endless(b"", vec![7; 997]), &settings);
    assert_eq!((taken, bounds), (0, Bounds { frame_bytes: 64 * 20 * 3 / 2, decoder_bytes: 0 }));
    // Rows of 50 and 25 bytes, which GStreamer pads to 52 and 28: both fit.
    let padded = 52 * 20 + 2 * 28 * 10;
    for bytes in [50 * 20 * 3 / 2, padded] {
        let frame = [b"FRAME\n".as_slice(), &vec![7; bytes]].concat();
        let (taken, held, bounds) = steady(endless(b"YUV4MPEG2 W50 H20\n", frame), &Settings::default());
        assert_eq!((taken, bounds.frame_bytes), (0, padded));
        assert!(held <= bounds.decoder_bytes + 1024, "{held} bytes are held, {bounds:?}");
    }
    let raw = Some(RawFormat { layout: Layout::Gstreamer, ..RawFormat::new(PixelFormat::Yuv420p, 50, 20) });
    let settings = Settings { raw, ..Settings::default() };
    let (taken, _, bounds) = steady(endless(b"", vec![7; 997]), &settings);
    assert_eq!((taken, bounds.frame_bytes), (0, padded));
}

#[test]
fn a_jpeg_decoder_keeps_to_its_bounds() {
    let input = Endless { header: Vec::new(), period: jpeg(320, 240, 1), at: 0 };
    let (held, bounds) = held_by(|| {
        let mut source = open_with(input, &Settings::default()).unwrap();
        let bounds = source.bounds();
        let mut frame = Frame::with_capacity(bounds.frame_bytes);
        for _ in 0..5 {
            assert_eq!(source.next(&mut frame, Duration::from_secs(9)).unwrap(), Next::Frame);
        }
        bounds
    });
    let most = bounds.frame_bytes + bounds.decoder_bytes;
    assert!(held.most as usize <= most && bounds.frame_bytes == 320 * 240 * 3, "{held:?}, {bounds:?}");
}
