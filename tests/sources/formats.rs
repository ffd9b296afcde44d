//! What streams are made of, and how it arrives.

use std::io::Cursor;

use oltr::source::stream::{RawFormat, Settings};
use oltr::{Color, Error, Matrix, PixelFormat, Range, Siting};

use super::{Seen, drain, jpeg, noise, open, open_with, picture, read_all, sizes, trickle};

fn y4m(header: &str, frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 {header}\n").into_bytes();
    for (index, frame) in frames.iter().enumerate() {
        // Parameters of frames are passed over.
        bytes.extend_from_slice(if index % 2 == 0 { b"FRAME\n" } else { b"FRAME Ip XABC=1\n" });
        bytes.extend_from_slice(frame);
    }
    bytes
}

#[test]
fn every_kind_of_yuv4mpeg2_is_read() {
    use PixelFormat::{Gray, Yuv420p, Yuv422p, Yuv444p};
    let full = Color { range: Range::Full, ..Color::VIDEO };
    let cases = [
        ("W5 H3 F25:1 Ip A1:1", Yuv420p, Siting::Center, Color::VIDEO, 27),
        ("W5 H3 C420jpeg XCOLORRANGE=FULL", Yuv420p, Siting::Center, full, 27),
        ("H3 W5 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED", Yuv420p, Siting::Left, Color::VIDEO, 27),
        ("C420paldv W5 I? H3", Yuv420p, Siting::TopLeft, Color::VIDEO, 27),
        ("W5 H3 C420", Yuv420p, Siting::Center, Color::VIDEO, 27),
        ("W5 H3 C422", Yuv422p, Siting::Left, Color::VIDEO, 33),
        ("W5 H3 C444 XCOLORRANGE=FULL", Yuv444p, Siting::Center, full, 45),
        ("W5 H3 Cmono XCOLORRANGE=FULL", Gray, Siting::Center, full, 15),
    ];
    for (header, format, siting, color, length) in cases {
        let frames = [noise(length, 1), noise(length, 2)];
        let seen = read_all(&y4m(header, &[&frames[0], &frames[1]]));
        assert_eq!(seen.len(), 2, "{header}: {seen:?}");
        for (n, (seen, frame)) in seen.iter().zip(&frames).enumerate() {
            let Seen::Frame { geometry, data, seq } = seen else { panic!("{header}: {seen:?}") };
            assert_eq!((geometry.format, geometry.siting, geometry.color), (format, siting, color), "{header}");
            assert_eq!((geometry.width, geometry.height, *seq), (5, 3, n as u64), "{header}");
            assert!(data == frame, "{header}");
        }
    }
}

#[test]
fn what_yuv4mpeg2_may_be_and_is_not_read_is_refused_with_a_remedy() {
    let refused = |header: &str| match open(&y4m(header, &[&[0; 100]])) {
        Err(e) => e,
        Ok(_) => panic!("{header} is read"),
    };
    let cases = [
        ("W4 H4 It", "interlaced"),
        ("W4 H4 Im", "interlaced"),
        ("W4 H4 C420p10", "more than 8 bits"),
        ("W4 H4 C444p16", "more than 8 bits"),
        ("W4 H4 Cmono16", "more than 8 bits"),
        ("W4 H4 C411", "another chroma"),
        ("W4 H4 C444alpha", "another chroma"),
        ("W4", "no height"),
        ("H4", "no width"),
        ("W0 H4", "width is '0'"),
        ("W-4 H4", "width is '-4'"),
        ("W4 H99999999999999999999", "height is '99999999999999999999'"),
        ("W4 H4 XCOLORRANGE=HALF", "XCOLORRANGE"),
    ];
    for (header, reason) in cases {
        let error = refused(header);
        assert!(matches!(error, Error::BadImage { .. }) && error.to_string().contains(reason), "{header}: {error}");
    }
    for header in ["W4294967295 H4294967295 C444", "W16384 H16384", "W4000 H4000 C444"] {
        assert!(matches!(refused(header), Error::Limit { .. }), "{header}");
    }
    let endless = [b"YUV4MPEG2 W4 H4 X".as_slice(), &[b'a'; 10_000]].concat();
    assert!(matches!(open(&endless), Err(Error::BadImage { .. })));
    assert!(matches!(open(b"YUV4MPEG2 W4 H"), Err(Error::Unavailable { .. })));
}

#[test]
fn other_streams_are_refused() {
    let png = b"\x89PNG\r\n\x1a\n and more of it";
    for bytes in [&png[..], b"RIFFxxxxAVI ", b"FRAME\n12345", b"Y"] {
        assert!(matches!(open(bytes), Err(Error::BadInput { .. })), "{bytes:?}");
    }
    assert!(matches!(open(b""), Err(Error::Unavailable { .. })));
}

#[test]
fn the_settings_override_the_colours() {
    let settings = Settings { matrix: Some(Matrix::Bt709), range: Some(Range::Full), ..Settings::default() };
    let stream = y4m("W2 H2 XCOLORRANGE=LIMITED", &[&[0; 6]]);
    let seen = drain(&mut *open_with(Cursor::new(stream), &settings).unwrap()).unwrap();
    let Seen::Frame { geometry, .. } = seen[0] else { panic!("{seen:?}") };
    assert_eq!(geometry.color, Color { matrix: Matrix::Bt709, range: Range::Full });
}

#[test]
fn raw_frames_of_every_format_are_read() {
    for format in PixelFormat::ALL {
        for stride in [None, Some(64)] {
            let raw = RawFormat { stride, ..RawFormat::new(format, 13, 7) };
            let length = format.frame_bytes(13, 7, stride.unwrap_or(format.row_bytes(13)));
            let settings = Settings { raw: Some(raw), ..Settings::default() };
            let bytes = noise(length * 3, 5);
            let seen = drain(&mut *open_with(Cursor::new(bytes.clone()), &settings).unwrap()).unwrap();
            let frames: Vec<u8> = seen
                .iter()
                .flat_map(|seen| match seen {
                    Seen::Frame { data, geometry, .. } => {
                        let range = if format == PixelFormat::Gray { Range::Full } else { Range::Limited };
                        assert_eq!((geometry.format, geometry.color.range), (format, range));
                        data.clone()
                    }
                    damaged => panic!("{damaged:?}"),
                })
                .collect();
            assert!(seen.len() == 3 && frames == bytes, "{format} {stride:?}");
        }
    }
}

#[test]
fn raw_formats_that_cannot_be_are_refused() {
    let refused = |width, height, stride| {
        let raw = Some(RawFormat { stride, ..RawFormat::new(PixelFormat::Yuyv422, width, height) });
        let opened = open_with(Cursor::new(Vec::new()), &Settings { raw, ..Settings::default() });
        opened.map(|_| ()).unwrap_err()
    };
    assert!(matches!(refused(0, 5, None), Error::BadImage { .. }));
    assert!(matches!(refused(5, 0, None), Error::BadImage { .. }));
    assert!(matches!(refused(5, 5, Some(11)), Error::BadInput { .. }), "a row of 5 takes 12 bytes");
    assert!(matches!(refused(5, 5, Some(usize::MAX)), Error::BadInput { .. }));
    assert!(matches!(refused(u32::MAX, u32::MAX, None), Error::Limit { what: "photo_side", .. }));
    assert!(matches!(refused(5, 16_384, Some(16 << 20)), Error::Limit { what: "frame_bytes", .. }));
    assert!(matches!(refused(5000, 5000, None), Error::Limit { what: "frame_bytes", .. }));
}

#[test]
fn jpegs_one_after_another_are_told_apart() {
    // With padding between them, as some cameras write it.
    let stream = [jpeg(64, 48, 1), vec![0; 5], jpeg(64, 48, 2), b"\r\n".to_vec(), jpeg(40, 24, 3)].concat();
    let seen = read_all(&stream);
    let rgb = |w, h| Some((PixelFormat::Rgb24, w, h));
    assert_eq!(sizes(&seen), [rgb(64, 48), rgb(64, 48), rgb(40, 24)]);
    for (index, seen) in seen.iter().enumerate() {
        let Seen::Frame { geometry, data, .. } = seen else { unreachable!() };
        let expected = picture(geometry.width, geometry.height, index as u32 + 1);
        let worst = data.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(8), "{index}: {worst:?} off at quality 95");
    }
}

/// Cameras leave the Huffman tables out of Motion JPEG: those of the standard are meant.
#[test]
fn a_jpeg_without_huffman_tables_is_read() {
    let whole = jpeg(64, 48, 1);
    let mut bare = whole[..2].to_vec();
    let mut at = 2;
    while whole[at + 1] != 0xDA {
        let length = 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
        if whole[at + 1] != 0xC4 {
            bare.extend_from_slice(&whole[at..at + length]);
        }
        at += length;
    }
    bare.extend_from_slice(&whole[at..]);
    assert!(bare.len() < whole.len() - 300, "no tables were taken out");
    assert!(read_all(&bare) == read_all(&whole), "{:?}", sizes(&read_all(&bare)));
}

#[test]
fn it_does_not_matter_how_bytes_arrive() {
    let mut streams = vec![(y4m("W5 H3 C422", &[&noise(33, 1), &noise(33, 2)]), Settings::default())];
    // Something between the frames, and a cut-off end.
    let damaged = [&streams[0].0[..], b"lost\nFRAM", b"FRAME\n", &noise(33, 3), b"FRAME\n1234"].concat();
    streams.push((damaged, Settings::default()));
    let pictures = [jpeg(16, 16, 1), b"garbage".to_vec(), jpeg(16, 16, 2), jpeg(16, 16, 3)[..200].to_vec()].concat();
    streams.push((pictures, Settings::default()));
    let raw = Some(RawFormat::new(PixelFormat::Rgb24, 3, 3));
    streams.push((noise(60, 4), Settings { raw, ..Settings::default() }));
    for (index, (bytes, settings)) in streams.iter().enumerate() {
        let at_once = drain(&mut *open_with(Cursor::new(bytes.clone()), settings).unwrap()).unwrap();
        assert!(at_once.iter().filter(|s| s.is_frame()).count() >= 2, "{index}: {at_once:?}");
        for step in [1, 2, 7, 100] {
            assert!(trickle(bytes, step, settings) == at_once, "stream {index}, {step} bytes at a time");
        }
    }
}
