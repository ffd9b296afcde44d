//! The program's memory with the bundle that it ships, as the kernel counts it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::{Folder, command, oltr, package};

const MB: u64 = 1 << 20;

/// Bytes of a field of a process's status.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no {name} in {status}")) * 1024
}

/// Whether the program's functions are linked in the order of use.
fn ordered() -> bool {
    const SECTION: &[u8] = b"\0.text.run\0";
    std::fs::read(env!("CARGO_BIN_EXE_oltr")).unwrap().windows(SECTION.len()).any(|w| w == SECTION)
}

/// The peak leaves out pages of the program file: they are the kernel's cache. The bundle is part of the program here,
/// and the bar counts its size.
#[test]
fn memory_stays_within_its_bars() {
    let file = std::fs::metadata(package("models/everyday.onnx")).unwrap().len();
    let bench = oltr(&["bench", "--json", "--runs", "1"]).code(0).json();
    let said = |name: &str| bench[0][name].as_u64().unwrap();

    let mut child = command(&["stream", "--json", "--per-frame", "--overflow", "block", "--linger", "0s", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut frames = b"YUV4MPEG2 W320 H240 F25:1 Ip C420jpeg\n".to_vec();
    for shade in 0..20 {
        frames.extend_from_slice(b"FRAME\n");
        frames.extend(std::iter::repeat_n(60 + 5 * shade, 320 * 240 * 3 / 2));
    }
    let mut input = child.stdin.take().unwrap();
    input.write_all(&frames).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let classified = lines.by_ref().map(Result::unwrap).filter(|line| line.contains("oltr.frame/1")).take(20).count();
    assert_eq!(classified, 20, "the stream ended early");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    drop(input);
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());

    let steady = field(&status, "RssAnon");
    let bar = said("weights_bytes") + said("arena_bytes") + 12 * MB;
    assert!(steady <= bar, "{steady} bytes held in steady state, the bar is {bar}");
    // Includes pages of the program file, mostly code. The allowance is for a kernel that maps more than the usual 64
    // KB around each touched page: 21.5 MiB of 22.7 were measured.
    let steady = field(&status, "VmRSS");
    if !ordered() {
        eprintln!("NOT TESTED: pages of code, which only packaged programs have in order (see cross/build)");
    } else if cfg!(target_arch = "x86_64") {
        assert!(steady <= bar + 2 * MB, "{steady} bytes resident in steady state, the bar is {bar}");
    }
    let peak = field(&status, "VmHWM") - field(&status, "RssFile") + file;
    let bar = 3 * file + 24 * MB;
    assert!(peak <= bar, "{peak} bytes at the peak, the bar is {bar}");
}

/// A photo of 12 megapixels with something in each of its blocks.
fn large_photo() -> Vec<u8> {
    let (width, height) = (4000_u32, 3000_u32);
    let shade = |i: u32| (((i % width / 9) * (i / width / 7)) ^ (i % 13 * 5)) as u8;
    let pixels: Vec<u8> = (0..width * height).flat_map(|i| [shade(i), shade(i / 3), (i / 50_000) as u8]).collect();
    let mut photo = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut photo, 90);
    image::ImageEncoder::write_image(encoder, &pixels, width, height, image::ExtendedColorType::Rgb8).unwrap();
    assert!(photo.len() > 2_000_000, "{} bytes", photo.len());
    photo
}

/// Limits the program's data (RLIMIT_DATA) while it classifies a large photo. A FIFO without a writer keeps it alive
/// for the measurement.
#[test]
fn a_large_photo_takes_the_memory_of_a_small_one() {
    const DATA: u64 = 20 << 10;
    let files = Folder::new();
    let photo = files.file("photo.jpg", &large_photo());
    let fifo = files.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let line = format!("ulimit -d {DATA}; exec {} \"$@\"", env!("CARGO_BIN_EXE_oltr"));
    let mut child = Command::new("sh")
        .args(["-c", &line, "sh", "classify", "--json", "--jobs", "1", &photo, &fifo])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.contains("oltr.classification/1"), "{first}");
    println!("{} bytes at the peak, {} of data", field(&status, "VmHWM"), field(&status, "VmData"));
    // All but the pages of the program file, which are the kernel's cache of it.
    let held = field(&status, "RssAnon");
    assert!(held <= 18 * MB, "{held} bytes held");
    if !ordered() {
        eprintln!("NOT TESTED: pages of code, which only packaged programs have in order (see cross/build)");
    } else if cfg!(target_arch = "x86_64") {
        assert!(field(&status, "VmHWM") <= 32_000_000, "{status}");
    }
}
