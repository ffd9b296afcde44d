//! Real clients at 1280×720: the same decisions as for the photos.
//!
//! A frame that passed through YUV has half the colour resolution, and conversion rounds. So probabilities may
//! differ by [`TOLERANCE`], but decisions may not (unless the photo is at the threshold).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::super::{BUNDLE, Folder, PHOTOS, Ran, oltr, package};
use super::of;

/// Largest difference of a probability between a frame and the same picture as a photo.
const TOLERANCE: f64 = 0.12;

/// Photos that are clearly one thing or the other.
const NAMES: [&str; 5] = ["cup", "motorbike", "face", "coins", "rocket"];

/// Whether `tool` is installed; prints a message if not, because the test then shows nothing.
fn installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: {tool} is not installed; on Debian: apt install ffmpeg gstreamer1.0-tools");
    }
    found
}

/// Runs a shell pipeline into `oltr stream`, all frames of it.
fn pipe(client: &str, options: &str) -> Ran {
    let oltr = env!("CARGO_BIN_EXE_oltr");
    let line = format!("{client} | {oltr} stream --json --per-frame --overflow block {options} -");
    let output = Command::new("sh").args(["-c", &line]).current_dir(package("")).env("OLTR_MODEL", BUNDLE).output();
    output.unwrap().into()
}

/// Each photo scaled to 1280×720, as PNG files in `folder`, numbered in the order of [`NAMES`].
fn scale(folder: &Folder) -> String {
    for (i, name) in NAMES.iter().enumerate() {
        let from = package(PHOTOS).join(format!("{name}.jpg"));
        let to = folder.path(&format!("{i}.png"));
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-i", from.to_str().unwrap(), "-vf", "scale=1280:720", "-pix_fmt", "rgb24", &to])
            .status();
        assert!(status.unwrap().success());
    }
    folder.path("%d.png")
}

/// Decision, label and probability of each photo.
fn photos(folder: &Folder) -> Vec<Value> {
    let files: Vec<String> = (0..NAMES.len()).map(|i| folder.path(&format!("{i}.png"))).collect();
    let args: Vec<&str> = ["classify", "--json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    oltr(&args).code(0).json()
}

#[track_caller]
fn agree(frames: &[&Value], photos: &[Value], tolerance: f64) {
    assert_eq!(frames.len(), photos.len());
    for (frame, photo) in frames.iter().zip(photos) {
        assert_eq!((&frame["decision"], &frame["label"]), (&photo["decision"], &photo["label"]), "{frame} {photo}");
        let apart = (frame["probability"].as_f64().unwrap() - photo["probability"].as_f64().unwrap()).abs();
        assert!(apart <= tolerance, "{apart}: {frame} {photo}");
    }
}

#[test]
fn ffmpeg_gives_the_decisions_of_photos() {
    if !installed("ffmpeg") {
        return;
    }
    let folder = Folder::new();
    let input = scale(&folder);
    let photos = photos(&folder);
    let ffmpeg = format!("ffmpeg -v error -framerate 5 -start_number 0 -i {input}");
    for (how, options, tolerance) in [
        ("-pix_fmt yuv420p -f yuv4mpegpipe -", "", TOLERANCE),
        ("-pix_fmt yuv422p -f yuv4mpegpipe -", "", TOLERANCE),
        ("-pix_fmt yuv444p -f yuv4mpegpipe -", "", TOLERANCE),
        // No colour is lost, so only printed digits may differ.
        ("-pix_fmt rgb24 -f rawvideo -", "--format rgb24 --size 1280x720", 1e-6),
        ("-pix_fmt bgr24 -f rawvideo -", "--format bgr24 --size 1280x720", 1e-6),
        ("-pix_fmt rgba -f rawvideo -", "--format rgba --size 1280x720", 1e-6),
        ("-pix_fmt yuv420p -f rawvideo -", "--format yuv420p --size 1280x720", TOLERANCE),
        ("-pix_fmt nv12 -f rawvideo -", "--format nv12 --size 1280x720", TOLERANCE),
        ("-pix_fmt yuyv422 -f rawvideo -", "--format yuyv422 --size 1280x720", TOLERANCE),
        ("-pix_fmt yuvj420p -q:v 1 -f mjpeg -", "", TOLERANCE),
        ("-pix_fmt yuvj420p -q:v 1 -c:v mjpeg -f image2pipe -", "", TOLERANCE),
    ] {
        let ran = pipe(&format!("{ffmpeg} {how}"), options).code(0);
        let lines = ran.json();
        println!("{how}");
        agree(&of(&lines, "oltr.frame/1"), &photos, tolerance);
    }
}

#[test]
fn gstreamer_gives_the_same_in_every_format() {
    if !installed("gst-launch-1.0") {
        return;
    }
    let source = "gst-launch-1.0 -q videotestsrc num-buffers=4 pattern=smpte ! videoconvert !";
    let caps = "width=1280,height=720,framerate=30/1";
    let mut seen: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let yuv = |format| format!("video/x-raw,format={format},{caps} ! fdsink");
    for (name, how, options) in [
        ("nv12", yuv("NV12"), "--format nv12 --size 1280x720 --matrix bt709"),
        ("nv21", yuv("NV21"), "--format nv21 --size 1280x720 --matrix bt709"),
        ("yuyv", yuv("YUY2"), "--format yuyv422 --size 1280x720 --matrix bt709"),
        ("uyvy", yuv("UYVY"), "--format uyvy422 --size 1280x720 --matrix bt709"),
        ("rgb", format!("video/x-raw,format=RGB,{caps} ! fdsink"), "--format rgb24 --size 1280x720"),
        ("i420", yuv("I420"), "--format yuv420p --size 1280x720 --matrix bt709"),
        ("jpeg", format!("video/x-raw,{caps} ! jpegenc quality=95 ! fdsink"), ""),
        ("y4m", format!("video/x-raw,format=I420,{caps} ! y4menc ! fdsink"), "--matrix bt709"),
    ] {
        if name == "jpeg" || name == "y4m" {
            // These are in separate packages.
            let element = if name == "jpeg" { "jpegenc" } else { "y4menc" };
            if !Command::new("gst-inspect-1.0").arg(element).stdout(Stdio::null()).status().unwrap().success() {
                println!("skipped: the GStreamer element {element} is not installed");
                continue;
            }
        }
        let ran = pipe(&format!("{source} {how}"), options).code(0);
        let frames = of(&ran.json(), "oltr.frame/1").into_iter().cloned().collect();
        seen.insert(name, frames);
    }
    let reference = seen["rgb"].clone();
    assert_eq!(reference.len(), 4);
    for (name, frames) in &seen {
        println!("{name}");
        agree(&frames.iter().collect::<Vec<_>>(), &reference, TOLERANCE);
    }
    // The same samples in another order: the same numbers.
    let scores = |name: &str| {
        let score = |frame: &Value| ["probability", "reachability"].map(|key| frame[key].as_f64().unwrap());
        seen[name].iter().map(score).collect::<Vec<_>>()
    };
    for (name, like) in [("nv12", "i420"), ("nv21", "i420"), ("uyvy", "yuyv")] {
        assert_eq!(scores(name), scores(like), "{name}");
    }
}

#[test]
fn photos_and_folders_are_streams_too() {
    let classified = oltr(&["classify", "--json", PHOTOS]).code(0).json();
    let streamed = oltr(&["stream", "--json", "--per-frame", PHOTOS]).code(0).json();
    let frames = of(&streamed, "oltr.frame/1");
    agree(&frames, &classified, 0.0);
    for (frame, photo) in frames.iter().zip(&classified) {
        assert_eq!(Path::new(frame["source"].as_str().unwrap()), Path::new(photo["source"].as_str().unwrap()));
    }
}
