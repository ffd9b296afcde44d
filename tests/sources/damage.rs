//! Streams that are damaged, truncated, or that change.

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
    // Larger frames, or an invalid header, are skipped until a stream fits.
    for refused in [&b"YUV4MPEG2 W5 H2 C444\nFRAME\n"[..], b"YUV4MPEG2 W4 H2 It\nFRAME\n", b"YUV4MPEG2 W0 H2\n"] {
        let bytes = [y4m(1), refused.to_vec(), noise(30, 1), b"FRAME\n".to_vec(), noise(30, 2), y4m(1)].concat();
        let seen = read_all(&bytes);
        let at = (HEADER.len() + FRAME) as u64;
        assert_eq!(sizes(&seen), [yuv, None, yuv]);
        assert!(matches!(&seen[1], Seen::Damaged { offset, .. } if *offset == Some(at)), "{seen:?}");
    }
    assert!(matches!(&read_all(&larger)[1], Seen::Damaged { reason, .. } if reason.contains("start anew")));
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
    // The headers of a part are none.
    assert_eq!(damage, [starts[1], starts[3]]);
}

/// The pictures of `seeds` as decoded without damage.
fn good(seeds: &[u32]) -> Vec<Vec<u8>> {
    seeds.iter().map(|n| only_frames(&read_all(&jpeg(32, 24, *n))).remove(0)).collect()
}

fn only_frames(seen: &[Seen]) -> Vec<Vec<u8>> {
    let data = |seen: &Seen| if let Seen::Frame { data, .. } = seen { Some(data.clone()) } else { None };
    seen.iter().filter_map(data).collect()
}

/// All frames and no damage, however the bytes arrive.
fn reads(what: &str, bytes: &[u8], expected: &[Vec<u8>], damages: usize) {
    let seen = read_all(bytes);
    assert!(only_frames(&seen) == expected, "{what}: {seen:?}");
    assert_eq!(seen.len() - expected.len(), damages, "{what}: {:?}", sizes(&seen));
    for step in [1, 2, 3, 7, 100] {
        let settings = Settings::default();
        assert!(super::trickle(bytes, step, &settings) == seen, "{what}, {step} bytes at a time");
    }
}

#[test]
fn jpegs_without_an_end_marker_end_where_the_next_begins() {
    let bare = |n| jpeg(32, 24, n).split_last_chunk::<2>().unwrap().0.to_vec();
    let expected = good(&[1, 2, 3]);
    reads("no end markers", &[bare(1), bare(2), bare(3)].concat(), &expected, 0);
    reads("some end markers", &[bare(1), jpeg(32, 24, 2), bare(3)].concat(), &expected, 0);
    // With restart markers, and a thumbnail in a segment.
    let mut thumbnail = bare(2);
    let small = jpeg(8, 8, 9);
    let length = (small.len() as u16 + 2).to_be_bytes();
    thumbnail.splice(2..2, [&[0xFF, 0xE5][..], &length, &small].concat());
    reads("a thumbnail", &[bare(1), thumbnail, bare(3)].concat(), &expected, 0);
    // One of them is truncated.
    let cut = bare(2)[..bare(2).len() - 60].to_vec();
    reads("a cut picture", &[bare(1), cut, bare(3)].concat(), &good(&[1, 3]), 1);
}

#[test]
fn what_stands_before_and_between_jpegs_is_passed_over() {
    let (a, b) = (jpeg(32, 24, 1), jpeg(32, 24, 2));
    let expected = good(&[1, 2]);
    reads("line breaks", &[b"\r\n", &a[..], b"\r\n", &b].concat(), &expected, 0);
    reads("zeros", &[&[0; 300], &a[..], &[0; 70_000], &b, &[0; 9]].concat(), &expected, 0);
    reads("two start markers", &[b"\xFF\xD8", &a[..], b"\xFF\xD8\xFF", &b].concat(), &expected, 0);
    reads("garbage first", &[b"\x80\x81\xFF\x12garbage", &a[..], &b].concat(), &expected, 1);
    reads("half a picture first", &[&b[b.len() / 2..], &a[..], &b].concat(), &expected, 1);
    reads("garbage between", &[&a[..], &noise(500, 3).repeat(20), &b].concat(), &expected, 1);
}

#[test]
fn multipart_streams_are_read() {
    let pictures: Vec<Vec<u8>> = (1..=3).map(|n| jpeg(32, 24, n)).collect();
    let expected = good(&[1, 2, 3]);
    let http = "HTTP/1.1 200 OK\r\nServer: cam\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n";
    let stream = |first: &str, boundary: &str, line: &str, length: Option<usize>, pictures: &[Vec<u8>]| {
        let mut bytes = first.as_bytes().to_vec();
        for picture in pictures {
            bytes.extend(format!("{boundary}{line}Content-Type: image/jpeg{line}").bytes());
            if let Some(length) = length {
                bytes.extend(format!("Content-Length: {length}{line}X-Timestamp: 1.5{line}").bytes());
            }
            bytes.extend(line.bytes());
            bytes.extend_from_slice(picture);
            bytes.extend(line.bytes());
        }
        bytes
    };
    for first in ["", http, "\r\n"] {
        for boundary in ["--b", "b", "----b"] {
            for line in ["\r\n", "\n"] {
                for length in [None, Some(pictures[0].len()), Some(1), Some(99_999)] {
                    let bytes = stream(first, boundary, line, length, &pictures);
                    let what = format!("{first:?} {boundary:?} {line:?} {length:?}");
                    assert!(only_frames(&read_all(&bytes)) == expected, "{what}");
                }
            }
        }
    }
    let usual = stream("", "--b", "\r\n", Some(5), &pictures);
    reads("the usual", &usual, &expected, 0);
    reads("the end of the stream", &[&usual[..], b"--b--\r\n"].concat(), &expected, 0);
    reads("no first boundary", &usual[usual.windows(2).position(|w| w == b"\xFF\xD8").unwrap()..], &expected, 0);
    let middle = usual.windows(2).position(|w| w == b"\xFF\xD8").unwrap() + 300;
    reads("from the middle of a part", &usual[middle..], &expected[1..], 1);
    let bare: Vec<Vec<u8>> = pictures.iter().map(|p| p[..p.len() - 2].to_vec()).collect();
    reads("no end markers", &stream("", "--b", "\r\n", None, &bare), &expected, 0);
    let broken = vec![pictures[0].clone(), pictures[1][..pictures[1].len() / 2].to_vec(), pictures[2].clone()];
    reads("a cut part", &stream("", "--b", "\r\n", Some(3), &broken), &good(&[1, 3]), 1);
    let text = b"--b\r\nContent-Type: text/plain\r\n\r\nall is well\r\n";
    reads("a part of text", &[text, &usual[..]].concat(), &expected, 0);
}

/// A stream without any further picture is reported, repeatedly.
#[test]
fn an_endless_stream_without_a_picture_is_reported() {
    use super::open_with;
    use std::io::Read;
    let endless: [(&str, Vec<u8>, usize); 4] = [
        ("garbage", noise(4096, 1).iter().map(|b| b & 0x7F).collect(), 1 << 20),
        ("zeros", vec![0; 4096], 40 << 20),
        ("a frame that never ends", vec![0x55; 4096], 1 << 20),
        ("text", b"not a header at all\n".repeat(100), 1 << 20),
    ];
    for (what, period, most) in endless {
        let mut start = jpeg(32, 24, 1);
        if what.contains("frame") {
            let second = jpeg(32, 24, 2);
            let scan = second.windows(2).position(|w| w == b"\xFF\xDA").unwrap() + 30;
            start.extend_from_slice(&second[..scan]);
        }
        let rest = Cursor::new(period.repeat(most / 4096 + 1));
        let seen = drain(&mut *open_with(Cursor::new(start).chain(rest), &Settings::default()).unwrap()).unwrap();
        let reported = seen.iter().filter(|s| !s.is_frame()).count();
        assert!(seen[0].is_frame() && reported >= 2, "{what}: {:?}", sizes(&seen));
    }
    let y4m = [y4m(1), b"lost".repeat(100_000)].concat();
    assert!(read_all(&y4m).len() > 3, "{:?}", sizes(&read_all(&y4m)));
}

#[test]
fn jpegs_cut_off_at_the_end_are_reported() {
    let (first, second) = (jpeg(32, 32, 1), jpeg(32, 32, 2));
    // Without the last two bytes, only the end marker is missing.
    for length in (1..second.len() - 2).step_by(7) {
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
