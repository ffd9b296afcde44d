//! Frames of known content through ffmpeg and GStreamer, at 1280×720.
//!
//! Without the tool a test prints that and passes. `.ci/run` installs both tools if it can.

use std::fs::File;
use std::process::{Command, Stdio};

use oltr::bundle::{Preprocess, Resize};
use oltr::preprocess::Preprocessor;
use oltr::source::stream::{Layout, RawFormat, Settings};
use oltr::{Frame, Limits, PixelFormat};

use super::{Seen, drain, open_with, picture};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
const FRAMES: u32 = 3;

/// Whether `tool` can be run; prints a message if not.
fn installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: {tool} is not installed");
    }
    found
}

/// Reads a command's output as a stream.
fn frames(command: &mut Command, raw: Option<RawFormat>) -> Vec<Seen> {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let settings = Settings { raw, ..Settings::default() };
    let mut source = open_with(child.stdout.take().unwrap(), &settings).unwrap();
    let seen = drain(&mut *source).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(seen.iter().all(Seen::is_frame), "{} frames or damages", seen.len());
    seen
}

/// The model's input.
fn input(seen: &Seen) -> Vec<u8> {
    let Seen::Frame { geometry, data, .. } = seen else { panic!("no frame") };
    let settings = Preprocess {
        size: 224,
        resize: Resize::Stretch,
        resize_to: None,
        mean: [127.0; 3],
        std: [128.0; 3],
        pad_color: None,
    };
    let stride = geometry.format.row_bytes(geometry.width);
    let limits = Limits::default();
    let mut frame =
        Frame::new(geometry.format, geometry.width, geometry.height, stride, data.clone(), &limits).unwrap();
    frame.set_color(geometry.color, geometry.siting);
    let mut preprocessor = Preprocessor::new(&settings, frame.geometry()).unwrap();
    let mut pixels = vec![0; preprocessor.output_len()];
    preprocessor.run(&frame, &mut pixels).unwrap();
    pixels
}

/// The largest and the mean difference.
fn differences(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let all: Vec<u8> = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect();
    (all.iter().copied().max().unwrap_or(0), all.iter().map(|d| f64::from(*d)).sum::<f64>() / all.len() as f64)
}

/// The pictures as RGB frames: the content that was sent.
fn sent() -> Vec<Seen> {
    let seen = |n| {
        let geometry = oltr::Geometry::new(PixelFormat::Rgb24, WIDTH, HEIGHT);
        Seen::Frame { geometry, data: picture(WIDTH, HEIGHT, n), seq: n.into() }
    };
    (0..FRAMES).map(seen).collect()
}

/// ffmpeg with the pictures as input, and the output options `to`.
fn ffmpeg(folder: &tempfile::TempDir, to: &[&str]) -> Command {
    let path = folder.path().join("frames.rgb");
    if !path.exists() {
        let all: Vec<u8> = (0..FRAMES).flat_map(|n| picture(WIDTH, HEIGHT, n)).collect();
        std::fs::write(&path, all).unwrap();
    }
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "1280x720", "-i"]);
    command.arg(path).args(to).arg("-");
    command.stdin(Stdio::null());
    command
}

/// Compares the received frames with the sent ones, as the model's input.
fn same(what: &str, seen: &[Seen], most: u8, mean: f64) {
    assert_eq!(seen.len(), FRAMES as usize, "{what}");
    for (n, (seen, sent)) in seen.iter().zip(&sent()).enumerate() {
        let (worst, average) = differences(&input(seen), &input(sent));
        assert!(worst <= most && average <= mean, "{what}, frame {n}: {worst} off at worst, {average:.3} on average");
    }
}

/// Tolerance: none if ffmpeg converts nothing; otherwise 3 levels. Its own conversion to 8-bit luma and chroma causes
/// one or two of them.
#[test]
fn ffmpeg_rawvideo_arrives() {
    if !installed("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for format in PixelFormat::ALL {
        if matches!(format, PixelFormat::Gray | PixelFormat::Yv12) {
            continue; // shows no colours, or is not a name of ffmpeg's
        }
        let mut command = ffmpeg(&folder, &["-f", "rawvideo", "-pix_fmt", format.name()]);
        let seen = frames(&mut command, Some(RawFormat::new(format, WIDTH, HEIGHT)));
        let (most, mean) = if format.is_yuv() { (3, 1.2) } else { (0, 0.0) };
        same(format.name(), &seen, most, mean);
    }
}

#[test]
fn ffmpeg_yuv4mpegpipe_arrives() {
    if !installed("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for format in ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj444p"] {
        let to = ["-f", "yuv4mpegpipe", "-strict", "-1", "-pix_fmt", format];
        same(format, &frames(&mut ffmpeg(&folder, &to), None), 3, 0.8);
    }
    let to = ["-f", "yuv4mpegpipe", "-strict", "-1", "-pix_fmt", "gray"];
    let seen = frames(&mut ffmpeg(&folder, &to), None);
    let Seen::Frame { geometry, .. } = seen[0] else { unreachable!() };
    assert_eq!((seen.len(), geometry.format, geometry.color.range), (3, PixelFormat::Gray, oltr::Range::Full));
}

#[test]
fn ffmpeg_mjpeg_arrives() {
    if !installed("ffmpeg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for to in [["-f", "mjpeg", "-q:v", "2"], ["-f", "image2pipe", "-q:v", "2"]] {
        // JPEG loses something besides.
        same(to[1], &frames(&mut ffmpeg(&folder, &to), None), 6, 1.5);
    }
}

fn gstreamer(pattern: &str, then: &[&str]) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", "videotestsrc", "num-buffers=2"]).args(pattern.split(' ')).args(then);
    command.args(["!", "fdsink", "fd=1"]).stdin(Stdio::null()).stderr(File::create("/dev/null").unwrap());
    command
}

fn caps(format: &str) -> [String; 2] {
    ["!".into(), format!("video/x-raw,format={format},width=1280,height=720,colorimetry=bt601")]
}

/// Tolerance: 3 levels for an even colour. For bars with sharp edges, where chroma blurs, 1 level on average compared
/// with GStreamer's own RGB.
#[test]
fn gstreamer_raw_frames_arrive() {
    if !installed("gst-launch-1.0") {
        return;
    }
    let colour = "pattern=solid-color foreground-color=0xff3366cc";
    let formats = [
        ("I420", PixelFormat::Yuv420p),
        ("NV12", PixelFormat::Nv12),
        ("NV21", PixelFormat::Nv21),
        ("YUY2", PixelFormat::Yuyv422),
        ("UYVY", PixelFormat::Uyvy422),
        ("Y42B", PixelFormat::Yuv422p),
        ("Y444", PixelFormat::Yuv444p),
    ];
    let rgb = ["!", "video/x-raw,format=RGB,width=1280,height=720"];
    let bars =
        frames(&mut gstreamer("pattern=smpte100", &rgb), Some(RawFormat::new(PixelFormat::Rgb24, WIDTH, HEIGHT)));
    for (name, format) in formats {
        let caps = caps(name);
        let caps = [&caps[0][..], &caps[1][..]];
        let raw = Some(RawFormat::new(format, WIDTH, HEIGHT));
        let seen = frames(&mut gstreamer(colour, &caps), raw);
        assert_eq!(seen.len(), 2, "{name}");
        let even = [0x33, 0x66, 0xCC].repeat(224 * 224);
        let (worst, _) = differences(&input(&seen[1]), &even);
        assert!(worst <= 3, "{name}: {worst} off");
        let seen = frames(&mut gstreamer("pattern=smpte100", &caps), raw);
        let (_, mean) = differences(&input(&seen[0]), &input(&bars[0]));
        assert!(mean <= 1.0, "{name}: {mean:.3} off on average");
    }
}

#[test]
fn gstreamer_encoded_frames_arrive() {
    if !installed("gst-launch-1.0") {
        return;
    }
    let even = [0x33, 0x66, 0xCC].repeat(224 * 224);
    let i420 = "video/x-raw,format=I420,width=1280,height=720,colorimetry=bt601";
    let rgb = "video/x-raw,format=RGB,width=1280,height=720";
    // videoconvert converts luma to JPEG's full range. jpegenc alone writes its input's values.
    let pipelines =
        [("jpegenc", vec!["!", rgb, "!", "videoconvert", "!", "jpegenc"]), ("y4menc", vec!["!", i420, "!", "y4menc"])];
    for (encoder, then) in pipelines {
        let mut command = gstreamer("pattern=solid-color foreground-color=0xff3366cc", &then);
        let seen = frames(&mut command, None);
        assert_eq!(seen.len(), 2, "{encoder}");
        let (worst, _) = differences(&input(&seen[0]), &even);
        assert!(worst <= 4, "{encoder}: {worst} off");
    }
}

/// Widths that are not multiples of 8, and odd heights. GStreamer pads rows, and a wrong stride would make the picture
/// slant. Compared with GStreamer's RGB, whose single plane is easy to read. Tests all widths from 318 to 330 if
/// `OLTR_ALL_WIDTHS` is set.
#[test]
fn gstreamer_rows_arrive_as_it_pads_them() {
    if !installed("gst-launch-1.0") {
        return;
    }
    let sizes: Vec<(u32, u32)> = match std::env::var_os("OLTR_ALL_WIDTHS") {
        None => vec![(322, 242), (327, 241)],
        Some(_) => (318..=330).flat_map(|width| [(width, 241), (width, 242)]).collect(),
    };
    let formats = [
        ("I420", PixelFormat::Yuv420p),
        ("YV12", PixelFormat::Yv12),
        ("NV12", PixelFormat::Nv12),
        ("NV21", PixelFormat::Nv21),
        ("YUY2", PixelFormat::Yuyv422),
        ("UYVY", PixelFormat::Uyvy422),
        ("YVYU", PixelFormat::Yvyu422),
        ("Y42B", PixelFormat::Yuv422p),
        ("Y444", PixelFormat::Yuv444p),
        ("BGR", PixelFormat::Bgr24),
        ("RGBx", PixelFormat::Rgba),
        ("BGRx", PixelFormat::Bgra),
    ];
    for (width, height) in sizes {
        let run = |name: &str, raw: Option<RawFormat>, encoder: Option<&str>| {
            let caps = format!("video/x-raw,format={name},width={width},height={height},colorimetry=bt601");
            let mut then = vec!["!", &caps];
            then.extend(encoder.iter().flat_map(|encoder| ["!", encoder]));
            let seen = frames(&mut gstreamer("pattern=smpte100", &then), raw);
            assert_eq!(seen.len(), 2, "{name} {width}x{height}");
            input(&seen[0])
        };
        let layout = Layout::Gstreamer;
        let raw = |format| Some(RawFormat { layout, ..RawFormat::new(format, width, height) });
        let rgb = run("RGB", raw(PixelFormat::Rgb24), None);
        for (name, format) in formats {
            let (_, mean) = differences(&run(name, raw(format), None), &rgb);
            assert!(mean <= 3.0, "{name} {width}x{height}: {mean:.3} off on average");
        }
        for name in ["I420", "Y42B", "Y444"] {
            // YUV4MPEG2 has another chroma siting, which blurs the edges of the bars.
            let (_, mean) = differences(&run(name, None, Some("y4menc")), &rgb);
            assert!(mean <= 3.0, "y4menc {name} {width}x{height}: {mean:.3} off on average");
        }
    }
}
