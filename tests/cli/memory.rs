//! What the program takes of the machine with the bundle that it ships, as the kernel counts it.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{command, oltr, package};

const MB: u64 = 1 << 20;

/// Bytes of a field of a process's status.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no {name} in {status}")) * 1024
}

/// The pages of the program file are the kernel's cache of it, which it drops at will and shares between processes; what
/// counts is what the process holds beside them, and the file of the bundle, which is part of the program here.
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
    let peak = field(&status, "VmHWM") - field(&status, "RssFile") + file;
    let bar = 3 * file + 24 * MB;
    assert!(peak <= bar, "{peak} bytes at the peak, the bar is {bar}");
}
