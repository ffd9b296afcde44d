//! Streams that are damaged, cut off, or change on the way.

use oltr::source::stream::{RawFormat, Settings};
use oltr::{Error, Frame, PixelFormat};

use std::io::Cursor;
use std::time::Duration;

use super::{Seen, drain, jpeg, noise, open, open_with, read_all, sizes};

const HEADER: &[u8] = b"YUV4MPEG2 W4 H2 C444\n";
/// Bytes of a frame of that header, with its line.
const FRAME: usize = 6 + 24;

fn y4m(frames: u32) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for n in 0..frames {
        bytes.extend_from_slice(b"FRAME\n");
        // No line of it looks like a frame.
        bytes.extend(noise(24, n).iter().map(|b| b | 0x80));
    }
    bytes
}

#[test]
fn yuv4mpeg2_cut_off_anywhere_is_reported_where_its_frame_begins() {
    let whole = y4m(3);
    for length in HEADER.len()..whole.len() {
        let (frames, rest) = ((length - HEADER.len()) / FRAME, (length - HEADER.len()) % FRAME);
        let seen = read_all(&whole[..length]);
        assert_eq!(seen.iter().filter(|s| s.is_frame()).count(), frames, "{length}");
        match &seen[frames..] {
            [] => assert_eq!(rest, 0, "{length}"),
            [Seen::Damaged { offset, reason }] => {
                assert_eq!(*offset, Some((HEADER.len() + frames * FRAME) as u64), "{length}");
                assert!(rest > 0 && reason.contains("ends"), "{length}: {reason}");
            }
            more => panic!("{length}: {more:?}"),
        }
    }
}

#[test]
fn raw_frames_cut_off_are_reported_where_they_begin() {
    let raw = Some(RawFormat::new(PixelFormat::Gray, 4, 4));
    let settings = Settings { raw, ..Settings::default() };
    let seen = drain(&mut *open_with(Cursor::new(vec![1; 41]), &settings).unwrap()).unwrap();
    assert_eq!(seen.len(), 3);
    let reason = "the input ends after 9 of the frame's 16 bytes".into();
    assert_eq!(seen[2], Seen::Damaged { offset: Some(32), reason });
}

#[test]
fn yuv4mpeg2_that_lost_bytes_goes_on_with_the_next_frame() {
    let mut bytes = y4m(4);
    bytes.drain(HEADER.len() + 20..HEADER.len() + 27);
    let seen = read_all(&bytes);
    // The first frame swallowed the beginning of the second, which is thereby lost.
    let damaged =
        |s: &Seen| matches!(s, Seen::Damaged { offset: Some(at), .. } if *at == (HEADER.len() + FRAME) as u64);
    assert!(seen.len() == 4 && damaged(&seen[1]), "{seen:?}");
    let all = read_all(&y4m(4));
    for n in [2, 3] {
        let (Seen::Frame { data: a, seq, .. }, Seen::Frame { data: b, .. }) = (&seen[n], &all[n]) else { panic!() };
        assert!(a == b && *seq == n as u64, "the numbers show the gap");
    }
}

#[test]
fn another_stream_may_follow_with_smaller_frames() {
    let bytes = [y4m(2), b"YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcdFRAME\nefgh".to_vec()].concat();
    let gray = Some((PixelFormat::Gray, 2, 2));
    let yuv = Some((PixelFormat::Yuv444p, 4, 2));
    assert_eq!(sizes(&read_all(&bytes)), [yuv, yuv, gray, gray]);
    let larger = [y4m(1), b"YUV4MPEG2 W5 H2 C444\nFRAME\n".to_vec()].concat();
    let error = drain(&mut *open(&larger).unwrap()).unwrap_err();
    assert!(matches!(error, Error::BadImage { .. }) && error.to_string().contains("start anew"), "{error}");
}

#[test]
fn corrupt_jpegs_among_good_ones_are_passed_over() {
    let good = |n| jpeg(64, 48, n);
    let cut = good(2)[..good(2).len() / 2].to_vec();
    let mut overwritten = good(3);
    let middle = overwritten.len() / 2;
    overwritten[middle..middle + 40].fill(0xFF);
    overwritten[middle + 40] = 0x7F;
    let stream = [
        good(1),
        cut,
        good(4),
        overwritten,
        good(5),
        b"--boundary\r\nContent-Type: image/jpeg\r\n\r\n".to_vec(),
        good(6),
    ];
    let starts: Vec<u64> = (0..stream.len()).map(|n| stream[..n].iter().map(Vec::len).sum::<usize>() as u64).collect();
    let seen = read_all(&stream.concat());
    let frames: Vec<&Seen> = seen.iter().filter(|s| s.is_frame()).collect();
    let expected: Vec<Seen> = [1, 4, 5, 6].iter().flat_map(|n| read_all(&good(*n))).collect();
    assert_eq!(frames.len(), 4, "{:?}", sizes(&seen));
    for (frame, expected) in frames.iter().zip(&expected) {
        let (Seen::Frame { data: a, .. }, Seen::Frame { data: b, .. }) = (frame, expected) else { panic!() };
        assert!(a == b);
    }
    let damage: Vec<u64> =
        seen.iter().filter_map(|s| if let Seen::Damaged { offset, .. } = s { *offset } else { None }).collect();
    assert_eq!(damage, [starts[1], starts[3], starts[5]]);
}

#[test]
fn jpegs_cut_off_at_the_end_are_reported() {
    let (first, second) = (jpeg(32, 32, 1), jpeg(32, 32, 2));
    for length in (1..second.len()).step_by(7) {
        let seen = read_all(&[&first[..], &second[..length]].concat());
        // A single 0xFF could still be padding.
        let expected = if length == 1 { 0 } else { 1 };
        let damaged = |s: &Seen| matches!(s, Seen::Damaged { offset: Some(at), .. } if *at == first.len() as u64);
        assert!(seen.len() == 1 + expected && seen[1..].iter().all(damaged), "{length}: {seen:?}");
    }
}

#[test]
fn a_jpeg_that_is_larger_than_what_was_planned_for_is_damage() {
    let seen = read_all(&[jpeg(32, 32, 1), jpeg(64, 32, 2), jpeg(16, 64, 3)].concat());
    let rgb = |w, h| Some((PixelFormat::Rgb24, w, h));
    assert_eq!(sizes(&seen), [rgb(32, 32), None, rgb(16, 64)]);
    assert!(matches!(&seen[1], Seen::Damaged { reason, .. } if reason.contains("64x32")), "{:?}", seen[1]);
}

#[test]
fn an_absurd_jpeg_header_is_refused() {
    let mut bytes = jpeg(32, 32, 1);
    let sof = bytes.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    bytes[sof + 5..sof + 9].fill(0xFF);
    assert!(matches!(open(&bytes).map(|_| ()), Err(Error::Limit { what: "photo_side", .. })));
    // Amid good ones it is damage.
    let seen = read_all(&[jpeg(32, 32, 2), bytes, jpeg(32, 32, 3)].concat());
    assert!(seen.len() == 3 && seen[0].is_frame() && !seen[1].is_frame() && seen[2].is_frame(), "{seen:?}");
}

#[test]
fn another_buffer_in_the_middle_of_a_frame_is_refused() {
    let raw = Some(RawFormat::new(PixelFormat::Gray, 4, 4));
    let settings = Settings { raw, ..Settings::default() };
    let input = super::Trickle { bytes: Cursor::new(noise(64, 1)), step: 5, pause: true };
    let limits = oltr::Limits::default();
    let mut source = oltr::source::stream::from_input(Box::new(input), &settings, &limits, &|| false).unwrap();
    let mut frame = Frame::with_capacity(16);
    assert_eq!(source.next(&mut frame, Duration::ZERO).unwrap(), oltr::source::Next::Waiting);
    let other = source.next(&mut Frame::with_capacity(16), Duration::ZERO);
    assert!(matches!(other, Err(Error::BadInput { .. })), "{other:?}");
}
