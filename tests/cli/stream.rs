//! `oltr stream`: clients that write frames, faults, signals, and output.

mod clients;
mod crash;
mod faults;
mod late;
mod listen;
mod service;
mod watch;

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Folder, PHOTOS, Ran, command, keys, oltr, oltr_with_input};

/// A YUV4MPEG2 stream of `frames` grey frames of 64×48 at their brightest or darkest.
pub fn y4m(frames: usize) -> Vec<u8> {
    let mut bytes = b"YUV4MPEG2 W64 H48 F25:1 Ip C420jpeg\n".to_vec();
    for _ in 0..frames {
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend(std::iter::repeat_n(90, 64 * 48));
        bytes.extend(std::iter::repeat_n(128, 64 * 48 / 2));
    }
    bytes
}

/// The program streaming from a pipe, its output piped to the test.
fn start(args: &[&str]) -> Child {
    let mut command = command(&[&["stream"], args].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits up to `patience` for the end of `child`, whose input may stay open.
#[track_caller]
fn ended(mut child: Child, patience: Duration) -> Ran {
    let until = Instant::now() + patience;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the program does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut stdout, mut stderr) = (String::new(), String::new());
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).unwrap();
    }
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    Ran { code: child.wait().unwrap().code(), stdout, stderr }
}

fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// The lines of one schema.
fn of<'a>(lines: &'a [Value], schema: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["schema"] == schema).collect()
}

#[test]
fn lines_have_their_schema_and_numbers() {
    let args =
        ["stream", "--json", "--per-frame", "--overflow", "block", "--linger", "0s", "--update-interval", "1h", "-"];
    let ran = oltr_with_input(&args, &y4m(8)).code(0);
    assert_eq!(ran.stderr, "");
    let lines = ran.json();
    assert!(lines.iter().enumerate().all(|(i, line)| line["seq"] == i));
    let frames = of(&lines, "oltr.frame/1");
    assert_eq!(frames.iter().map(|f| f["frame"].as_u64().unwrap()).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    let events: Vec<_> = of(&lines, "oltr.event/1").iter().map(|e| e["type"].as_str().unwrap()).collect();
    // A slow machine that needs a second for these frames also prints an update.
    assert_eq!(events.iter().filter(|kind| **kind != "update").collect::<Vec<_>>(), [&"new", &"end"]);
    let stats = lines.last().unwrap();
    assert_eq!((&stats["schema"], &stats["last"]), (&"oltr.stats/1".into(), &true.into()));
    assert_eq!((&stats["captured"], &stats["classified"], &stats["dropped"]), (&8.into(), &8.into(), &0.into()));
    // The order of fields is part of the schema.
    let text: Vec<&str> = ran.stdout.lines().collect();
    let head = "{schema,seq,boot_id,mono_ns,wall,clock_synchronised,source,";
    assert!(text.iter().all(|line| keys(line).starts_with(head)), "{}", ran.stdout);
    assert_eq!(
        keys(text[0])[head.len()..],
        *"frame,decision,label,class,probability,reachability,threshold,nearest{label,class,distance},shot,consensus,\
          age_ms,dropped,latency_ms{preprocess,inference}}"
    );
}

#[test]
fn a_person_reads_a_table() {
    let args = ["stream", "--overflow", "block", "-"];
    let ran = oltr_with_input(&args, &y4m(8)).code(0);
    // One line summarises all frames.
    assert!(ran.stderr.lines().count() == 1 && ran.stderr.contains("8 captured, 8 classified, 0 dropped"), "{ran:?}");
    assert_eq!(oltr_with_input(&["stream", "-q", "--overflow", "block", "-"], &y4m(2)).code(0).stderr, "");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("TIME") && lines.len() == 3, "{}", ran.stdout);
    assert!(lines[1].contains("event 1") && lines[2].contains("end of 1"), "{}", ran.stdout);
    let frames = oltr_with_input(&["stream", "--per-frame", "--overflow", "block", "-"], &y4m(4)).code(0);
    assert_eq!(frames.stdout.lines().filter(|line| line.contains("frame ")).count(), 4);
}

#[test]
fn options_thin_frames_out() {
    let count = |args: &[&str]| {
        let args = [&["stream", "--json", "--per-frame", "--overflow", "block"], args, &["-"]].concat();
        let lines = oltr_with_input(&args, &y4m(9)).code(0).json();
        (of(&lines, "oltr.frame/1").len(), lines.last().unwrap()["skipped"].as_u64().unwrap())
    };
    assert_eq!(count(&["--every", "4"]), (3, 6));
    let begin = Instant::now();
    assert_eq!(count(&["--max-fps", "20"]), (9, 0));
    assert!(begin.elapsed() > Duration::from_millis(400));
}

/// Options that do not fit are refused before the first photo, and the proposed remedy works.
#[test]
fn photos_that_may_not_fit_are_refused_with_a_remedy_that_holds() {
    let files = Folder::new();
    let photo = format!("{PHOTOS}/cup.jpg");
    let stream = |args: &[&str]| oltr(&[&["stream", "--json", "--max-frame", "1920x1080"], args].concat());
    for source in [&[&photo[..]][..], &["--watch", &files.path("")]] {
        let refused = stream(&[&["--max-memory", "64MiB"], source].concat()).code(78);
        refused.says(&["bytes of memory", "--max-memory 1", "--max-frame, now 1920x1080", "--queue 1"]);
    }
    let said = stream(&["--max-memory", "64MiB", &photo]).stderr;
    let enough = said.split_once("(--max-memory ").unwrap().1.split_once(')').unwrap().0;
    let holds = |args: &[&str]| {
        let lines = oltr(&[&["stream", "--json"], args, &["--per-frame", &photo]].concat()).code(0).json();
        let memory = &lines.last().unwrap()["memory"];
        assert!(memory["planned_bytes"].as_u64() <= memory["limit_bytes"].as_u64(), "{memory}");
        assert_eq!(lines[0]["label"], "cup");
    };
    holds(&["--max-memory", enough, "--max-frame", "1920x1080"]);
    holds(&["--max-memory", "64MiB", "--max-frame", "640x480"]);
    let larger = oltr(&["stream", "--json", "--max-memory", "64MiB", "--max-frame", "64x64", &photo]).code(65).json();
    assert_eq!((&larger[0]["schema"], &larger[0]["kind"]), (&"oltr.error/1".into(), &"limit".into()));
    assert!(larger[0]["error"].as_str().unwrap().contains("photo"), "{}", larger[0]);
}

#[test]
fn what_only_cameras_do_is_not_ignored_elsewhere() {
    for option in [["--encoding", "mjpg"], ["--fps", "5"]] {
        let ran = oltr_with_input(&[&["stream"], &option[..], &["-"]].concat(), &y4m(1)).code(78);
        ran.says(&[option[0], "camera"]);
    }
    oltr(&["stream", "--encoding", "h264", "v4l2:/dev/video0"]).code(2).says(&["mjpg", "yuyv", "nv12", "grey"]);
}

#[test]
fn memory_is_planned_and_kept() {
    let args = ["stream", "-v", "--json", "--max-memory", "64MiB", "--overflow", "block", "-"];
    let ran = oltr_with_input(&args, &y4m(3)).code(0).says(&["memory, at most", "weights", "frames", "stacks"]);
    let lines = ran.json();
    let planned = lines.last().unwrap()["memory"]["planned_bytes"].as_u64().unwrap();
    assert!(planned <= 64 << 20);
    assert_eq!(lines.last().unwrap()["memory"]["limit_bytes"], 64 << 20);
    let refused = oltr_with_input(&["stream", "--max-memory", "40MiB", "-"], &y4m(3)).code(78);
    refused.says(&["--max-memory", "bytes of memory"]);

    // The memory that the system reports.
    let mut child = start(&["--json", "--per-frame", "--max-memory", "64MiB", "--overflow", "block", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&y4m(100)).unwrap();
    let begin = Instant::now();
    let mut read = vec![0; 20_000];
    child.stdout.as_mut().unwrap().read_exact(&mut read).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(60));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024;
    println!("{peak} bytes at most, {planned} planned");
    assert!(peak <= planned, "{peak} of {planned}");
    drop(stdin);
    drop(child.stdout.take());
    ended(child, Duration::from_secs(30)).code(0);
}

#[test]
fn wrong_usage_says_what_is_right() {
    let usage = |args: &[&str], says: &str| {
        let args = [&["stream"], args].concat();
        super::oltr(&args).code(2).says(&[says]);
    };
    usage(&[], "SOURCE");
    usage(&["--format", "rgb24", "-"], "--size");
    usage(&["--format", "yuv410p", "--size", "2x2", "-"], "yuv420p");
    usage(&["--format", "yuvj420p", "--size", "2x2", "-"], "--range full");
    usage(&["--format", "i420", "--size", "2x2", "--layout", "gstreamer", "--stride", "4", "-"], "--layout");
    usage(&["--format", "i420", "--size", "2x2", "--stride", "4,2,2,2", "-"], "324,164,164");
    usage(&["--size", "2by2", "-"], "1280x720");
    usage(&["--consensus", "5/3", "-"], "begin");
    usage(&["--consensus", "rare=1/3", "-"], "few");
    usage(&["--roi", "1,2,3", "-"], "X,Y,W,H");
    usage(&["--rotate", "45", "-"], "270");
    usage(&["--every", "0", "-"], "--every");
    usage(&["--source-timeout", "soon", "-"], "--source-timeout");
    usage(&["--watch", "a", "b"], "--watch");
}

#[test]
fn cameras_are_listed() {
    // There may be none, which is no error.
    let ran = super::oltr(&["cameras", "--json"]);
    for line in ran.json() {
        assert!(["oltr.camera/1", "oltr.error/1"].contains(&line["schema"].as_str().unwrap()), "{line}");
    }
    if !std::path::Path::new("/dev/video0").exists() {
        ran.code(0).says(&["no camera"]);
        super::oltr(&["stream", "v4l2:/dev/video0"]).code(69).says(&["/dev/video0"]);
    }
}
