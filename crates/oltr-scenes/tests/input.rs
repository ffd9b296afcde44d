//! Frames of any size and format, settings of any value, finders of any kind.

mod world;

use std::time::Duration;

use oltr_frames::{Color, ErrorKind, Frame, Geometry, Limits, PixelFormat, Range, Result, Siting};
use oltr_scenes::{Area, Camera, EndReason, Expected, Finder, Mask, Region, Regions, Scene, Settings, ThingState};
use proptest::prelude::*;
use world::{FISH, HEIGHT, Random, WIDTH, Watch, ground};

fn second(number: u64) -> Duration {
    Duration::from_millis(number * 100)
}

/// Whatever the frames hold, boxes lie in them and counts add up.
fn check(scene: &Scene, frame: &Frame) {
    let (width, height) = (frame.width(), frame.height());
    for region in scene.regions() {
        assert!(region.area == region.area.clipped(width, height) && !region.area.is_empty(), "{region:?}");
        assert!(region.pixels <= region.area.pixels());
    }
    for thing in scene.things().iter().filter(|thing| thing.state == ThingState::Seen) {
        assert_eq!(thing.area, thing.area.clipped(width, height));
    }
    let things = scene.things();
    assert!(things.iter().all(|thing| thing.area.clipped(width, height) == thing.area), "{things:?}");
    assert!(things.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(scene.counts().present as usize, things.len());
    let cells = scene.foreground();
    assert_eq!(cells.cells.len(), cells.columns * cells.rows);
}

#[test]
fn sizes_of_all_kinds_are_looked_at() {
    let sizes = [
        (1, 1),
        (1, 700),
        (700, 1),
        (2, 2),
        (3, 5),
        (7, 100),
        (41, 40),
        (159, 121),
        (161, 119),
        (90, 160),
        (1000, 1000),
        (4000, 3000),
    ];
    for columns in [40, 160, 161, 320] {
        let mut settings = Settings::default();
        settings.columns = columns;
        for (width, height) in sizes {
            let mut scene = Scene::new(&settings, &Limits::default()).unwrap();
            let (mut frame, mut random) = (Frame::default(), Random::new(1));
            for number in 0..if width * height > 1_000_000 { 2 } else { 6 } {
                let geometry = Geometry::new(PixelFormat::Yuv420p, width, height);
                let data = frame.reshape(geometry, &Limits::default()).unwrap();
                data.iter_mut().for_each(|byte| *byte = random.below(256) as u8);
                scene.look(&frame, second(number)).unwrap();
                check(&scene, &frame);
                let small = scene.foreground();
                assert!(small.columns as u32 <= columns.min(width) && small.rows as u32 <= height);
            }
        }
    }
}

/// Every format shows the same things at the same places.
#[test]
fn formats_agree() {
    let back = ground(40);
    let mut told = Vec::new();
    for format in PixelFormat::ALL {
        let mut scene = Scene::new(&Settings::default(), &Limits::default()).unwrap();
        let mut frame = Frame::default();
        let mut boxes = Vec::new();
        for step in 0..70u64 {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 5.0, 100.0, 40.0, 24.0, FISH);
            write(&picture, format, &mut frame);
            scene.look(&frame, second(step)).unwrap();
            check(&scene, &frame);
            boxes.extend(scene.things().iter().map(|thing| thing.area));
        }
        assert_eq!(scene.counts().seen, 1, "{format}");
        told.push((format, boxes));
    }
    let of = |format: PixelFormat| &told.iter().find(|(other, _)| *other == format).unwrap().1;
    use PixelFormat as F;
    for (a, b) in [
        (F::Yuv420p, F::Yv12),
        (F::Yuv420p, F::Nv12),
        (F::Yuv420p, F::Nv21),
        (F::Yuv422p, F::Yuyv422),
        (F::Yuv422p, F::Uyvy422),
        (F::Yuv422p, F::Yvyu422),
        (F::Rgb24, F::Bgr24),
        (F::Rgb24, F::Rgba),
        (F::Rgb24, F::Bgra),
    ] {
        assert_eq!(of(a), of(b), "{a} {b}");
    }
    // The others differ by what is rounded.
    for format in [F::Rgb24, F::Yuv420p, F::Yuv422p, F::Gray] {
        let (own, other) = (of(format), of(F::Yuv444p));
        let apart = own.len().abs_diff(other.len());
        assert!(apart <= 6, "{format}: {} boxes, {}", own.len(), other.len());
    }
}

/// Writes a picture in a format, with luma and chroma of JPEG.
fn write(picture: &world::Canvas, format: PixelFormat, frame: &mut Frame) {
    let geometry = Geometry::new(format, WIDTH as u32, HEIGHT as u32);
    let data = frame.reshape(geometry, &Limits::default()).unwrap();
    let planes: Vec<_> = (0..format.planes())
        .map(|index| format.plane(index, WIDTH as u32, HEIGHT as u32, format.row_bytes(WIDTH as u32)))
        .collect();
    let byte = |value: f32| value.round().clamp(0.0, 255.0) as u8;
    let (across, down) = format.subsampling();
    let mean = |x: usize, y: usize, channel: usize| {
        let mut sum = 0.0;
        for (dy, dx) in (0..down).flat_map(|dy| (0..across).map(move |dx| (dy, dx))) {
            sum += picture.pixels[(y * down + dy) * WIDTH + x * across + dx][channel];
        }
        byte(sum / (across * down) as f32 + 128.0)
    };
    use PixelFormat as F;
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let [luma, u, v] = picture.pixels[y * WIDTH + x];
            let rgb = [luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u].map(byte);
            let at = planes[0].offset + y * planes[0].stride + x * format.bytes_per_pixel();
            match format {
                F::Rgb24 | F::Rgba => data[at..at + 3].copy_from_slice(&rgb),
                F::Bgr24 | F::Bgra => data[at..at + 3].copy_from_slice(&[rgb[2], rgb[1], rgb[0]]),
                F::Uyvy422 => data[at + 1] = byte(luma),
                _ => data[at] = byte(luma),
            }
        }
    }
    if !format.is_yuv() {
        return;
    }
    for y in 0..HEIGHT / down {
        for x in 0..WIDTH / across {
            let (u, v) = (mean(x, y, 1), mean(x, y, 2));
            let mut put = |plane: usize, step: usize, first: usize, value: u8| {
                data[planes[plane].offset + y * planes[plane].stride + x * step + first] = value;
            };
            match format {
                F::Yv12 => (put(1, 1, 0, v), put(2, 1, 0, u)),
                F::Nv12 => (put(1, 2, 0, u), put(1, 2, 1, v)),
                F::Nv21 => (put(1, 2, 0, v), put(1, 2, 1, u)),
                F::Yuyv422 => (put(0, 4, 1, u), put(0, 4, 3, v)),
                F::Uyvy422 => (put(0, 4, 0, u), put(0, 4, 2, v)),
                F::Yvyu422 => (put(0, 4, 1, v), put(0, 4, 3, u)),
                _ => (put(1, 1, 0, u), put(2, 1, 0, v)),
            };
        }
    }
}

/// Rows with padding, and luma of limited range.
#[test]
fn padding_is_passed_over() {
    let mut looks = Vec::new();
    for stride in [WIDTH, WIDTH + 64] {
        let mut scene = Scene::new(&Settings::default(), &Limits::default()).unwrap();
        let mut frame = Frame::default();
        for step in 0..60u64 {
            let geometry = Geometry::new(PixelFormat::Gray, WIDTH as u32, HEIGHT as u32);
            let data = frame.reshape_padded(geometry, stride, &Limits::default()).unwrap();
            let mut random = Random::new(5);
            for y in 0..HEIGHT {
                for x in 0..WIDTH {
                    let inside = (step as usize * 5..step as usize * 5 + 40).contains(&x) && (100..124).contains(&y);
                    data[y * stride + x] = if inside { 220 } else { 100 + random.below(60) as u8 };
                }
                data[y * stride + WIDTH..(y + 1) * stride].fill(step as u8 * 3);
            }
            frame.set_color(Color { range: Range::Limited, ..Color::default() }, Siting::default());
            scene.look(&frame, second(step)).unwrap();
        }
        looks.push(scene.things().to_vec());
    }
    assert_eq!(looks[0].len(), 1);
    assert_eq!(looks[0], looks[1]);
}

/// Frames of another size begin anew: what was there ends, and is told.
#[test]
fn another_size_begins_anew() {
    let back = ground(41);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 30);
    for step in 0..30 {
        let mut picture = back.clone();
        picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
        watch.show(&picture);
    }
    assert_eq!(watch.scene.things().len(), 1);
    let bytes = watch.scene.bytes();
    let mut random = Random::new(2);
    for _ in 0..40 {
        let geometry = Geometry::new(PixelFormat::Gray, 200, 300);
        let data = watch.frame.reshape(geometry, &Limits::default()).unwrap();
        data.iter_mut().for_each(|byte| *byte = 100 + random.below(4) as u8);
        watch.look();
    }
    assert_eq!((watch.ended.len(), watch.ended[0].reason), (1, EndReason::Camera));
    assert_eq!(watch.told(), [Camera::Settling]);
    assert!(watch.scene.things().is_empty() && watch.is_watching());
    assert_eq!(watch.scene.bytes(), bytes);
}

#[test]
fn one_frame_is_a_stream() {
    let mut watch = Watch::new(&Settings::default());
    watch.show(&ground(42));
    watch.finish();
    assert_eq!((watch.things(), watch.scene.counts().frames), (0, 1));
    let mut scene = Scene::new(&Settings::default(), &Limits::default()).unwrap();
    scene.finish();
    assert!(scene.ended().is_empty() && scene.things().is_empty() && scene.foreground().cells.is_empty());
}

/// Times that stand still, go back or leap.
#[test]
fn times_of_all_kinds_are_taken() {
    let back = ground(43);
    let mut watch = Watch::new(&Settings::default());
    for step in 0..60u64 {
        let mut picture = back.clone();
        picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
        watch.show(&picture);
        let time = match step % 4 {
            0 => Duration::ZERO,
            1 => second(step),
            2 => second(step * 1_000_000),
            _ => Duration::MAX,
        };
        watch.scene.look(&watch.frame, time).unwrap();
        check(&watch.scene, &watch.frame);
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let refused = |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = Scene::new(&settings, &Limits::default()).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("give"), "{error}");
    };
    refused(&|settings| settings.columns = 39);
    refused(&|settings| settings.columns = 321);
    refused(&|settings| settings.min_size = -0.1);
    refused(&|settings| settings.min_size = f32::NAN);
    refused(&|settings| settings.max_size = 1.5);
    refused(&|settings| (settings.min_size, settings.max_size) = (0.5, 0.4));
    refused(&|settings| settings.min_way = f32::INFINITY);
    refused(&|settings| settings.max_things = 0);
    refused(&|settings| settings.max_things = 33);
    refused(&|settings| settings.sensitivity = 0.0);
    refused(&|settings| settings.sensitivity = f32::NAN);
    refused(&|settings| settings.stay = Duration::ZERO);
    refused(&|settings| settings.ignore.push(Area::default()).unwrap());
    let few = Limits::with(|limits| limits.open_events = 3);
    assert_eq!(Scene::new(&Settings::default(), &few).unwrap_err().kind(), ErrorKind::Limit);
    assert!(Mask::new(0, 3, &[]).is_err() && Mask::new(2, 2, &[255; 3]).is_err() && Mask::new(2, 2, &[0; 4]).is_err());
}

/// A finder of one's own, with boxes that cannot be.
struct Wild(Random);

impl Finder for Wild {
    fn find(&mut self, _: &Frame, _: Duration, _: &[Expected], regions: &mut Regions) -> Result<()> {
        for _ in 0..self.0.below(80) {
            let mut any = || self.0.below(u32::MAX);
            let area = match any() % 3 {
                0 => Area { x: any() as i32, y: any() as i32, width: any(), height: any() },
                1 => Area { x: (any() % 300) as i32, y: (any() % 200) as i32, width: any() % 90, height: any() % 90 },
                _ => Area { x: i32::MAX, y: i32::MIN, width: u32::MAX, height: 0 },
            };
            regions.push(Region::new(area)).unwrap_or_default();
        }
        Ok(())
    }
}

#[test]
fn boxes_that_cannot_be_are_clipped() {
    let mut scene = Scene::with_finder(Wild(Random::new(4)), &Settings::default(), &Limits::default()).unwrap();
    let mut frame = Frame::default();
    frame.reshape(Geometry::new(PixelFormat::Gray, 320, 240), &Limits::default()).unwrap().fill(90);
    for number in 0..3000 {
        scene.look(&frame, second(number)).unwrap();
        for thing in scene.things() {
            assert_eq!(thing.area, thing.area.clipped(320, 240), "{thing:?}");
        }
        assert!(scene.things().len() <= 16);
    }
}

/// A detector that says where a thing is: the tracker follows it.
struct Detector;

impl Finder for Detector {
    fn find(&mut self, frame: &Frame, _: Duration, _: &[Expected], regions: &mut Regions) -> Result<()> {
        if let Some(x) = frame.data().iter().position(|&byte| byte == 255) {
            regions.push(Region::new(Area { x: x as i32, y: 40, width: 50, height: 30 })).unwrap_or_default();
        }
        Ok(())
    }
}

#[test]
fn a_detector_of_ones_own_is_followed() {
    let mut scene = Scene::with_finder(Detector, &Settings::default(), &Limits::default()).unwrap();
    let mut frame = Frame::default();
    for number in 0..60u64 {
        let geometry = Geometry::new(PixelFormat::Gray, 320, 240);
        let data = frame.reshape(geometry, &Limits::default()).unwrap();
        data.fill(0);
        data[10 + number as usize * 4] = 255;
        scene.look(&frame, second(number)).unwrap();
    }
    assert_eq!(scene.things().len(), 1);
    assert_eq!(scene.things()[0].area, Area { x: 246, y: 40, width: 50, height: 30 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Frames of any size and content.
    #[test]
    fn no_frame_is_too_odd(
        seed: u64, columns in 40u32..=200, sizes in prop::collection::vec((1u32..200, 1u32..200, 0usize..14), 1..4), spread in 1u32..256,
    ) {
        let mut settings = Settings::default();
        settings.columns = columns;
        settings.min_size = 0.0;
        let mut scene = Scene::new(&settings, &Limits::default()).unwrap();
        let (mut frame, mut random) = (Frame::default(), Random::new(seed));
        let mut number = 0;
        for (width, height, format) in sizes {
            let geometry = Geometry::new(PixelFormat::ALL[format], width, height);
            for _ in 0..12 {
                let data = frame.reshape(geometry, &Limits::default()).unwrap();
                // Now and then nothing changes, or a part does.
                let (from, to) = (random.below(data.len() as u32) as usize, random.below(data.len() as u32) as usize);
                for byte in &mut data[from.min(to)..from.max(to)] {
                    *byte = random.below(spread) as u8;
                }
                scene.look(&frame, second(number)).unwrap();
                check(&scene, &frame);
                number += u64::from(random.below(9));
            }
        }
        scene.finish();
    }
}
