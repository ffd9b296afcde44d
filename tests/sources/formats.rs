//! Formats of streams, and the frames read from them.

use std::io::Cursor;

use oltr::source::stream::{Layout, RawFormat, Settings};
use oltr::{Color, Error, Matrix, PixelFormat, Range, Siting};

use super::{Seen, drain, jpeg, noise, open, open_with, picture, read_all, sizes, trickle};

fn y4m(header: &str, frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 {header}\n").into_bytes();
    for (index, frame) in frames.iter().enumerate() {
        // Parameters of frames are ignored.
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
        ("W5 H3 C420p8", Yuv420p, Siting::Center, Color::VIDEO, 27),
        ("W5 H3 C422p8", Yuv422p, Siting::Left, Color::VIDEO, 33),
        ("W5 H3 C444p8", Yuv444p, Siting::Center, Color::VIDEO, 45),
        ("W5 H3 Cmono8", Gray, Siting::Center, Color::VIDEO, 15),
        // An unknown range is ignored.
        ("W5 H3 C422 XCOLORRANGE=HALF", Yuv422p, Siting::Left, Color::VIDEO, 33),
        ("W5 H3 C422 XCOLORRANGE=", Yuv422p, Siting::Left, Color::VIDEO, 33),
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
    for bytes in [&png[..], b"RIFFxxxxAVI ", b"FRAME\n12345", b"Y", b"--boundary\r\nContent-Type: text/html\r\n\r\n"] {
        assert!(matches!(open(bytes), Err(Error::BadInput { .. })), "{bytes:?}");
    }
    // Video gets the command that decodes it.
    for bytes in [&b"\x00\x00\x00\x20ftypisom0000"[..], b"\x1A\x45\xDF\xA3 matroska", b"RIFFxxxxAVI LIST"] {
        let error = open(bytes).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("ffmpeg -nostdin") && error.contains("| oltr stream --recording -"), "{error}");
    }
    // An endless stream without a picture is refused.
    assert!(matches!(open_with(std::io::repeat(b'x'), &Settings::default()).map(|_| ()), Err(Error::BadInput { .. })));
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
            let layout = stride.map_or(Layout::Tight, Layout::Stride);
            let raw = RawFormat { layout, ..RawFormat::new(format, 13, 7) };
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
    let refused = |width, height, stride: Option<usize>| {
        let layout = stride.map_or(Layout::Tight, Layout::Stride);
        let raw = Some(RawFormat { layout, ..RawFormat::new(PixelFormat::Yuyv422, width, height) });
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
fn jpegs_in_sequence_are_separated() {
    // With padding in between, as some cameras write it.
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

/// Cameras leave the Huffman tables out of Motion JPEG. The standard's tables apply.
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

/// A picture of `format` with GStreamer's row padding, and the same without padding.
fn padded(format: PixelFormat, width: u32, height: u32, seed: u32) -> (Vec<u8>, Vec<u8>) {
    let halved = format.subsampling().1 == 2;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for index in 0..format.planes() {
        let plane = format.plane(index, width, height, format.row_bytes(width));
        let rows = if halved && index == 0 { plane.rows.next_multiple_of(2) } else { plane.rows };
        for row in 0..rows {
            let pixels = noise(plane.row, seed + row as u32 * 7 + index as u32 * 1000);
            with.extend_from_slice(&pixels);
            with.extend(std::iter::repeat_n(0x55, plane.row.next_multiple_of(4) - plane.row));
            if row < plane.rows {
                without.extend_from_slice(&pixels);
            }
        }
    }
    (with, without)
}

fn pictures(seen: &[Seen]) -> Vec<Vec<u8>> {
    let data = |seen: &Seen| match seen {
        Seen::Frame { data, .. } => data.clone(),
        damaged => panic!("{damaged:?}"),
    };
    seen.iter().map(data).collect()
}

#[test]
fn raw_frames_as_gstreamer_pads_them_are_read() {
    use PixelFormat::{Bgr24, Gray, Nv12, Nv21, Rgb24, Uyvy422, Yuv420p, Yuv422p, Yuv444p, Yuyv422, Yv12};
    for format in [Yuv420p, Yv12, Nv12, Nv21, Gray, Rgb24, Bgr24, Yuyv422, Uyvy422, Yuv422p, Yuv444p] {
        for (width, height) in [(1, 1), (2, 3), (13, 7), (14, 8), (16, 7), (321, 5)] {
            let (a, b) = (padded(format, width, height, 1), padded(format, width, height, 2));
            let raw = Some(RawFormat { layout: Layout::Gstreamer, ..RawFormat::new(format, width, height) });
            let settings = Settings { raw, ..Settings::default() };
            let (bytes, wanted) = ([a.0, b.0].concat(), [a.1, b.1]);
            let seen = drain(&mut *open_with(Cursor::new(bytes.clone()), &settings).unwrap()).unwrap();
            assert!(pictures(&seen) == wanted, "{format} {width}x{height}");
            assert!(trickle(&bytes, 7, &settings) == seen, "{format} {width}x{height}");
            // The stride of the first plane alone, where only GStreamer uses it.
            let stride = format.row_bytes(width).next_multiple_of(4);
            if format.planes() > 1 && stride % 8 == 4 && stride != format.row_bytes(width) {
                let raw = Some(RawFormat { layout: Layout::Stride(stride), ..RawFormat::new(format, width, height) });
                let settings = Settings { raw, ..Settings::default() };
                let seen = drain(&mut *open_with(Cursor::new(bytes), &settings).unwrap()).unwrap();
                assert!(pictures(&seen) == wanted, "{format} {width}x{height} by its stride");
            }
        }
    }
}

#[test]
fn raw_frames_with_a_stride_for_each_plane_are_read() {
    let layout = Layout::Strides([8, 5, 4]);
    let raw = Some(RawFormat { layout, ..RawFormat::new(PixelFormat::Yuv420p, 6, 2) });
    let settings = Settings { raw, ..Settings::default() };
    let seen = drain(&mut *open_with(Cursor::new(*b"abcdef..ghijkl..mno..pqr."), &settings).unwrap()).unwrap();
    assert!(pictures(&seen) == [b"abcdefghijklmnopqr".to_vec()], "{seen:?}");
    for wrong in [[5, 5, 4], [8, 2, 4], [8, 5, usize::MAX]] {
        let raw = Some(RawFormat { layout: Layout::Strides(wrong), ..RawFormat::new(PixelFormat::Yuv420p, 6, 2) });
        let opened = open_with(Cursor::new(Vec::new()), &Settings { raw, ..Settings::default() });
        assert!(matches!(opened.map(|_| ()), Err(Error::BadInput { .. })), "{wrong:?}");
    }
}

/// The leftover bytes at the end show that rows were padded.
#[test]
fn raw_frames_in_the_wrong_layout_are_reported_at_the_end() {
    let frame = padded(PixelFormat::Yuv420p, 322, 6, 1).0;
    let raw = Some(RawFormat::new(PixelFormat::Yuv420p, 322, 6));
    let settings = Settings { raw, ..Settings::default() };
    let seen = drain(&mut *open_with(Cursor::new(frame.repeat(3)), &settings).unwrap()).unwrap();
    let Some(Seen::Damaged { reason, .. }) = seen.last() else { panic!("{:?}", sizes(&seen)) };
    assert!(reason.contains("--layout gstreamer"), "{reason}");
}

#[test]
fn yuv4mpeg2_with_padded_rows_is_recognised() {
    use PixelFormat::{Gray, Yuv420p, Yuv422p, Yuv444p};
    for (name, format) in [("420jpeg", Yuv420p), ("422", Yuv422p), ("444", Yuv444p), ("mono", Gray)] {
        for (width, height) in [(1, 1), (2, 3), (13, 7), (16, 7), (18, 4), (322, 5)] {
            let frames = [1, 2, 3].map(|seed| padded(format, width, height, seed));
            let header = format!("W{width} H{height} F5:1 C{name}");
            let with = y4m(&header, &frames.each_ref().map(|(with, _)| &with[..]));
            let without = y4m(&header, &frames.each_ref().map(|(_, without)| &without[..]));
            let expected = read_all(&without);
            assert!(pictures(&expected) == frames.clone().map(|(_, without)| without), "{header}");
            assert!(read_all(&with) == expected, "{header} padded");
            for bytes in [&with, &without] {
                assert!(trickle(bytes, 3, &Settings::default()) == expected, "{header} in parts");
            }
            // A single frame, with no next frame to show where it ends.
            assert!(pictures(&read_all(&y4m(&header, &[&frames[0].0]))) == [frames[0].1.clone()], "{header}");
        }
    }
}

#[test]
fn yuv4mpeg2_rows_that_are_neither_are_an_error_not_a_picture() {
    let tight = PixelFormat::Yuv420p.frame_bytes(13, 7, 13);
    // Padded to 16 and 16; and a stream that changes its padding.
    let other = y4m("W13 H7", &[&noise(16 * 7 + 2 * 16 * 4, 1), &noise(16 * 7 + 2 * 16 * 4, 2)]);
    let seen = read_all(&other);
    assert!(!seen.is_empty() && seen.iter().all(|s| !s.is_frame()), "{:?}", sizes(&seen));
    let (padded, _) = padded(PixelFormat::Yuv420p, 13, 7, 1);
    let mixed = y4m("W13 H7", &[&padded, &padded, &noise(tight, 1), &padded, &padded]);
    let seen = read_all(&mixed);
    assert!(seen.iter().any(|s| !s.is_frame()), "{:?}", sizes(&seen));
}

#[test]
fn times_of_a_recording_are_those_of_its_rate() {
    let bytes = y4m("W2 H2 F5:2", &[&[0; 6], &[1; 6], &[2; 6]]);
    for (recording, timed) in [(true, true), (false, false)] {
        let settings = Settings { recording, ..Settings::default() };
        let input = super::Trickle { bytes: Cursor::new(bytes.clone()), step: 100, pause: true };
        let limits = oltr::Limits::default();
        let mut source = oltr::source::stream::from_input(Box::new(input), &settings, &limits, &|| false).unwrap();
        assert_eq!((source.is_live(), source.is_recording()), (!recording, timed));
        let mut frame = oltr::Frame::with_capacity(source.bounds().frame_bytes);
        let mut times = Vec::new();
        loop {
            match source.next(&mut frame, std::time::Duration::ZERO).unwrap() {
                oltr::source::Next::Frame => times.push(frame.stamp().mono_ns),
                oltr::source::Next::Waiting => {}
                _ => break,
            }
        }
        assert_eq!(times.len(), 3);
        assert_eq!(times.windows(2).all(|t| t[1] - t[0] == 400_000_000), timed, "{times:?}");
    }
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
