//! Preprocessing of luma and chroma, of regions and of turned pictures.

mod common;

use common::counting_allocator::taken_by;
use oltr::bundle::{Preprocess, Resize};
use oltr::preprocess::Preprocessor;
use oltr::{
    Color, Error, Frame, Geometry, Limits, Matrix, PixelFormat, Range, Rect, RegionOfInterest, Rotation, Siting,
};

const COLORS: [Color; 4] = [
    Color::JPEG,
    Color::VIDEO,
    Color { matrix: Matrix::Bt709, range: Range::Full },
    Color { matrix: Matrix::Bt709, range: Range::Limited },
];

fn settings(size: u32, resize: Resize) -> Preprocess {
    Preprocess { size, resize, resize_to: None, mean: [127.0; 3], std: [128.0; 3], pad_color: Some([1, 2, 3]) }
}

fn run(settings: &Preprocess, frame: &Frame) -> Vec<u8> {
    let mut preprocessor = Preprocessor::new(settings, frame.geometry()).unwrap();
    let mut pixels = vec![0; preprocessor.output_len()];
    preprocessor.run(frame, &mut pixels).unwrap();
    pixels
}

/// A frame of `format` with rows padded by `padding`. Its sample of channel 0, 1, 2 (Y, U, V or R, G, B) at a pixel of
/// the whole picture is `sample(channel, x, y)`.
fn frame(format: PixelFormat, size: (u32, u32), padding: usize, sample: impl Fn(usize, usize, usize) -> u8) -> Frame {
    let (width, height) = size;
    let stride = format.row_bytes(width) + padding;
    let mut data = vec![0xAA; format.frame_bytes(width, height, stride)];
    let (across, down) = format.subsampling();
    for index in 0..format.planes() {
        let plane = format.plane(index, width, height, stride);
        for y in 0..plane.rows {
            for byte in 0..plane.row {
                // The channel at this position, and the index of its sample in the row.
                let (channel, x) = match (format, index) {
                    (PixelFormat::Rgb24, _) => (byte % 3, byte / 3),
                    (PixelFormat::Bgr24, _) => (2 - byte % 3, byte / 3),
                    (PixelFormat::Rgba | PixelFormat::Bgra, _) if byte % 4 == 3 => continue,
                    (PixelFormat::Bgra, _) => (2 - byte % 4, byte / 4),
                    (PixelFormat::Yv12, 1 | 2) => (3 - index, byte),
                    (PixelFormat::Yvyu422, _) => ([0, 2, 0, 1][byte % 4], byte / [2, 4, 2, 4][byte % 4]),
                    (PixelFormat::Rgba, _) => (byte % 4, byte / 4),
                    (PixelFormat::Nv12, 1) => (1 + byte % 2, byte / 2),
                    (PixelFormat::Nv21, 1) => (2 - byte % 2, byte / 2),
                    (PixelFormat::Yuyv422, _) => ([0, 1, 0, 2][byte % 4], byte / [2, 4, 2, 4][byte % 4]),
                    (PixelFormat::Uyvy422, _) => ([1, 0, 2, 0][byte % 4], byte / [4, 2, 4, 2][byte % 4]),
                    (_, channel) => (channel, byte),
                };
                let (x, y_whole) = if channel == 0 || !format.is_yuv() { (x, y) } else { (x * across, y * down) };
                data[plane.offset + y * plane.stride + byte] = sample(channel, x, y_whole);
            }
        }
    }
    Frame::new(format, width, height, stride, data, &Limits::default()).unwrap()
}

fn yuv_formats() -> impl Iterator<Item = PixelFormat> {
    PixelFormat::ALL.into_iter().filter(|f| f.is_yuv())
}

/// Smooth waves within the gamut of every conversion, so that no value clips.
fn wave(channel: usize, x: usize, y: usize) -> u8 {
    let (x, y) = (x as f64 / 40.0, y as f64 / 30.0);
    match channel {
        0 => 125.0 + 35.0 * (x + y).sin(),
        1 => 128.0 + 18.0 * (x - 1.0).cos(),
        _ => 128.0 + 18.0 * (y + 2.0).sin(),
    }
    .round() as u8
}

/// ITU-R BT.601 and BT.709 in real numbers, to the nearest integer.
fn convert(color: Color, [y, u, v]: [u8; 3]) -> [u8; 3] {
    let (kr, kb) = if color.matrix == Matrix::Bt601 { (0.299, 0.114) } else { (0.2126, 0.0722) };
    let (y, u, v) = (f64::from(y), f64::from(u) - 128.0, f64::from(v) - 128.0);
    let (y, u, v) = match color.range {
        Range::Full => (y, u, v),
        Range::Limited => ((y - 16.0) * 255.0 / 219.0, u * 255.0 / 224.0, v * 255.0 / 224.0),
    };
    let (r, b) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
    [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b].map(|c| c.round() as u8)
}

/// The largest and the mean difference.
fn differences(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let all: Vec<u8> = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect();
    (all.iter().copied().max().unwrap_or(0), all.iter().map(|d| f64::from(*d)).sum::<f64>() / all.len() as f64)
}

/// Tolerance: 2 levels, 0.7 on average, compared with converting every pixel in real numbers and then resampling as
/// Pillow does.
#[test]
fn resampling_planes_gives_what_converting_first_gives() {
    let cases = [((1280, 720), 224), ((131, 77), 32), ((41, 33), 48), ((64, 48), 48)];
    for color in COLORS {
        for format in yuv_formats() {
            for (size, side) in cases {
                // One of the large ones is enough.
                if size.0 > 1000 && (color, format) != (Color::VIDEO, PixelFormat::Yuv420p) {
                    continue;
                }
                let mut planes = frame(format, size, 5, wave);
                // The test picture's chroma is sited on the upper left of its pixels.
                planes.set_color(color, Siting::TopLeft);
                let first = frame(PixelFormat::Rgb24, size, 0, |c, x, y| {
                    convert(color, [wave(0, x, y), wave(1, x, y), wave(2, x, y)])[c]
                });
                for resize in [Resize::Stretch, Resize::ShorterSide, Resize::Pad] {
                    let settings = settings(side, resize);
                    let (worst, mean) = differences(&run(&settings, &planes), &run(&settings, &first));
                    let what = format!("{color:?} {format} {size:?} {resize:?}");
                    assert!(worst <= 2 && mean <= 0.7, "{what}: {worst} off at worst, {mean:.3} on average");
                }
            }
        }
    }
}

/// Tolerance: none. A second implementation of the documented formula.
#[test]
fn even_colours_give_the_documented_formula() {
    let factors = |color: Color| match (color.matrix, color.range) {
        (Matrix::Bt601, Range::Full) => [0, 16384, 22970, 5638, 11700, 29032],
        (Matrix::Bt601, Range::Limited) => [16, 19077, 26149, 6419, 13320, 33050],
        (Matrix::Bt709, Range::Full) => [0, 16384, 25802, 3069, 7670, 30402],
        (Matrix::Bt709, Range::Limited) => [16, 19077, 29372, 3494, 8731, 34610],
    };
    for color in COLORS {
        let [black, luma, rv, gu, gv, bu] = factors(color);
        for n in 0..200u32 {
            let yuv = [n * 37 % 256, n * 101 % 256, n * 59 % 256].map(|c| c as u8);
            let format = yuv_formats().nth(n as usize % 7).unwrap();
            let mut even = frame(format, (30, 20), 1, |channel, _, _| yuv[channel]);
            even.set_color(color, Siting::Left);
            let [y, u, v] = yuv.map(i32::from);
            let (y, u, v) = ((y - black) * luma + 8192, u - 128, v - 128);
            let rgb = [y + rv * v, y - gu * u - gv * v, y + bu * u].map(|sum| (sum >> 14).clamp(0, 255) as u8);
            for side in [8, 40] {
                let pixels = run(&settings(side, Resize::Stretch), &even);
                assert!(
                    pixels.as_chunks::<3>().0.iter().all(|p| *p == rgb),
                    "{color:?} {format} {yuv:?}: {:?}",
                    &pixels[..3]
                );
            }
        }
    }
}

#[test]
fn layouts_of_the_same_samples_agree() {
    let pixels = |format| run(&settings(48, Resize::ShorterSide), &frame(format, (131, 77), 3, wave));
    assert!(pixels(PixelFormat::Yuv420p) == pixels(PixelFormat::Nv12));
    assert!(pixels(PixelFormat::Nv21) == pixels(PixelFormat::Nv12));
    assert!(pixels(PixelFormat::Yuv422p) == pixels(PixelFormat::Yuyv422));
    assert!(pixels(PixelFormat::Uyvy422) == pixels(PixelFormat::Yuyv422));
    assert!(pixels(PixelFormat::Bgr24) == pixels(PixelFormat::Rgb24));
    assert!(pixels(PixelFormat::Rgba) == pixels(PixelFormat::Rgb24));
    assert!(pixels(PixelFormat::Bgra) == pixels(PixelFormat::Rgb24));
    assert!(pixels(PixelFormat::Yv12) == pixels(PixelFormat::Yuv420p));
    assert!(pixels(PixelFormat::Yvyu422) == pixels(PixelFormat::Yuyv422));
    assert!(pixels(PixelFormat::Yuv420p) != pixels(PixelFormat::Yuv422p), "the test tells them apart");
}

#[test]
fn chroma_is_taken_from_where_it_lies() {
    // Chroma rises along the row: with a siting further left, a pixel gets more of the following sample.
    let blue = |siting| {
        let mut picture = frame(PixelFormat::Yuv422p, (64, 8), 0, |c, x, _| if c == 1 { 64 + x as u8 } else { 128 });
        picture.set_color(Color::JPEG, siting);
        run(&settings(8, Resize::Stretch), &picture)[3 * 3 + 2]
    };
    assert!(blue(Siting::Left) > blue(Siting::Center));
}

#[test]
fn gray_of_limited_range_is_stretched() {
    let mut gray = frame(PixelFormat::Gray, (3, 3), 0, |_, x, _| [16, 126, 235][x]);
    gray.set_color(Color::VIDEO, Siting::Center);
    assert_eq!(run(&settings(3, Resize::Stretch), &gray)[..9], [0, 0, 0, 128, 128, 128, 255, 255, 255]);
}

fn texture(channel: usize, x: usize, y: usize) -> u8 {
    (100 + (x * 7 + y * 13 + channel * 29) % 60) as u8
}

#[test]
fn a_region_is_what_cropping_gives() {
    for format in PixelFormat::ALL {
        for (x, y) in [(0, 0), (10, 6), (4, 0)] {
            let mut whole = frame(format, (90, 60), 7, texture);
            let region = Rect { x, y, width: 62, height: 44 };
            whole.set_roi(RegionOfInterest { region: Some(region), ..RegionOfInterest::default() });
            let cropped = frame(format, (62, 44), 0, |c, i, j| texture(c, i + x as usize, j + y as usize));
            for resize in [Resize::Stretch, Resize::ShorterSide, Resize::Pad] {
                let settings = settings(24, resize);
                assert!(run(&settings, &whole) == run(&settings, &cropped), "{format} {region}");
            }
        }
    }
    // At odd positions a chroma sample lies half in the region.
    for format in yuv_formats() {
        let mut whole = frame(format, (90, 60), 0, wave);
        whole.set_roi(RegionOfInterest {
            region: Some(Rect { x: 11, y: 7, width: 61, height: 43 }),
            ..RegionOfInterest::default()
        });
        let cropped = frame(format, (61, 43), 0, |c, i, j| wave(c, i + 11, j + 7));
        let settings = settings(24, Resize::Stretch);
        let (worst, _) = differences(&run(&settings, &whole), &run(&settings, &cropped));
        assert!(worst <= 2, "{format}: {worst} off");
    }
}

#[test]
fn a_region_that_is_not_there_is_refused() {
    let mut picture = frame(PixelFormat::Nv12, (90, 60), 0, texture);
    for (x, y, width, height) in
        [(0, 0, 91, 60), (89, 0, 2, 1), (0, 60, 1, 1), (0, 0, 0, 5), (u32::MAX, 1, u32::MAX, 1)]
    {
        picture.set_roi(RegionOfInterest { region: Some(Rect { x, y, width, height }), ..RegionOfInterest::default() });
        let refused = Preprocessor::new(&settings(8, Resize::Stretch), picture.geometry());
        assert!(matches!(refused, Err(Error::BadInput { .. })), "{x},{y},{width},{height}");
    }
}

/// Tolerance: 1 level, because the two directions are resampled in the other order.
#[test]
fn turning_the_small_picture_gives_what_turning_the_large_one_gives() {
    let (width, height) = (71, 40);
    let turned = |rotation, x: usize, y: usize| match rotation {
        Rotation::None => (x, y),
        Rotation::Quarter => (y, height - 1 - x),
        Rotation::Half => (width - 1 - x, height - 1 - y),
        Rotation::ThreeQuarters => (width - 1 - y, x),
    };
    for rotation in [Rotation::None, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters] {
        let mut stored = frame(PixelFormat::Rgb24, (width as u32, height as u32), 0, texture);
        stored.set_roi(RegionOfInterest { rotation, region: None });
        let size = if rotation.swaps_sides() { (height, width) } else { (width, height) };
        let upright = frame(PixelFormat::Rgb24, (size.0 as u32, size.1 as u32), 0, |c, x, y| {
            let (x, y) = turned(rotation, x, y);
            texture(c, x, y)
        });
        for resize in [Resize::Stretch, Resize::ShorterSide, Resize::Pad] {
            let settings = settings(24, resize);
            let (worst, _) = differences(&run(&settings, &stored), &run(&settings, &upright));
            assert!(worst <= 1, "{rotation:?} {resize:?}: {worst} off");
        }
    }
    // Turned after the region was cut out.
    let mut stored = frame(PixelFormat::Rgb24, (4, 2), 0, |c, x, y| (10 * x + 100 * y + c) as u8);
    let region = Some(Rect { x: 1, y: 0, width: 2, height: 2 });
    stored.set_roi(RegionOfInterest { region, rotation: Rotation::Quarter });
    let red: Vec<u8> = run(&settings(2, Resize::Stretch), &stored).chunks(3).map(|p| p[0]).collect();
    assert_eq!(red, [110, 10, 120, 20]);
}

#[test]
fn no_format_and_no_view_takes_memory_for_a_frame() {
    for format in PixelFormat::ALL {
        for rotation in [Rotation::None, Rotation::Quarter] {
            let mut picture = frame(format, (320, 240), 8, texture);
            picture.set_roi(RegionOfInterest { region: Some(Rect { x: 3, y: 3, width: 300, height: 200 }), rotation });
            let settings = settings(64, Resize::Pad);
            let mut planned = None;
            let planning = taken_by(|| planned = Some(Preprocessor::new(&settings, picture.geometry()).unwrap()));
            let mut preprocessor = planned.unwrap();
            let reported = preprocessor.bytes();
            // Planning needs more: the windows in full precision.
            assert!(
                (reported..=reported * 3 + 20_000).contains(&planning.bytes),
                "{format}: {reported} reported, {planning:?}"
            );
            let mut pixels = vec![0; preprocessor.output_len()];
            let taken = taken_by(|| preprocessor.run(&picture, &mut pixels).unwrap());
            assert_eq!(taken.times, 0, "{format}");
        }
    }
}

#[test]
fn another_view_or_colour_is_planned_for() {
    let mut picture = frame(PixelFormat::Yuv420p, (40, 30), 0, wave);
    let settings = settings(16, Resize::Stretch);
    let mut preprocessor = Preprocessor::new(&settings, Geometry::new(PixelFormat::Gray, 1, 1)).unwrap();
    let mut pixels = vec![0; preprocessor.output_len()];
    preprocessor.run(&picture, &mut pixels).unwrap();
    picture.set_color(Color::VIDEO, Siting::Left);
    picture.set_roi(RegionOfInterest { rotation: Rotation::Half, region: None });
    let mut other = pixels.clone();
    preprocessor.run(&picture, &mut other).unwrap();
    assert!(other != pixels && other == run(&settings, &picture));
}
