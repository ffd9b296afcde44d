//! Sources and readers that fail.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::{Folder, Ran, command, cup, oltr, oltr_with_input};
use super::{ended, of, start, y4m};

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn an_input_that_ends_mid_frame_is_not_the_end_of_the_input() {
    let whole = y4m(3);
    let cut = &whole[..whole.len() - 100];
    let ran = oltr_with_input(&["stream", "--json", "--per-frame", "--overflow", "block", "-"], cut).code(65);
    let lines = ran.json();
    assert_eq!(of(&lines, "oltr.frame/1").len(), 2);
    let errors = of(&lines, "oltr.error/1");
    // The third frame begins after the header and two frames.
    let header = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["offset"], header + 2 * (whole.len() - header) / 3);
    assert_eq!(lines.last().unwrap()["decode_errors"], 1);
    // A person reads it on stderr.
    let ran = oltr_with_input(&["stream", "--overflow", "block", "-"], cut).code(65);
    ran.says(&["at byte"]);
}

#[test]
fn a_corrupt_picture_among_good_ones_is_one_picture() {
    let good = cup();
    let mut bad = good.clone();
    // Within the coded data, where a run of ones is invalid.
    let middle = bad.len() / 2;
    bad[middle..middle + 64].fill(0xFF);
    let bytes = [&good[..], &bad, &good].concat();
    let ran = oltr_with_input(&["stream", "--json", "--per-frame", "--overflow", "block", "-"], &bytes).code(65);
    let lines = ran.json();
    let frames = of(&lines, "oltr.frame/1");
    assert!(frames.len() == 2 && frames.iter().all(|f| f["label"] == "cup"), "{}", ran.stdout);
    assert!(!of(&lines, "oltr.error/1").is_empty());
}

#[test]
fn what_is_no_stream_is_refused() {
    oltr(&["stream", "nowhere.y4m"]).code(66).says(&["nowhere.y4m"]);
    oltr_with_input(&["stream", "-"], b"GIF89a and so on, which is no stream").code(65).says(&["YUV4MPEG2"]);
    for absurd in [
        &b"YUV4MPEG2 W999999999 H999999999 F25:1\nFRAME\n"[..],
        b"YUV4MPEG2 W0 H48 F25:1\nFRAME\n",
        b"YUV4MPEG2 W64 H48 F25:1 It\nFRAME\n",
        b"YUV4MPEG2 W64 H48 F25:1 C420p10\nFRAME\n",
    ] {
        oltr_with_input(&["stream", "-"], absurd).code(65);
    }
    oltr_with_input(&["stream", "--format", "rgb24", "--size", "100000x2", "-"], b"x").code(65);
}

#[test]
fn a_writer_that_stalls_is_lost_after_the_timeout() {
    let mut child = start(&["--json", "--source-timeout", "1s", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    let bytes = y4m(4);
    stdin.write_all(&bytes[..bytes.len() - 10]).unwrap();
    let begin = Instant::now();
    let ran = ended(child, SECONDS(20)).code(69).says(&["--source-timeout"]);
    assert!(begin.elapsed() >= SECONDS(1));
    assert_eq!(ran.json().last().unwrap()["schema"], "oltr.stats/1");
    drop(stdin);
}

#[test]
fn a_fifo_goes_on_with_its_next_writer() {
    let folder = Folder::new();
    let fifo = folder.path("frames");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let args = ["stream", "--json", "--per-frame", "--reconnect", "--overflow", "block", &fifo];
    let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for writer in 0..2 {
        File::options().write(true).open(&fifo).unwrap().write_all(&y4m(4)).unwrap();
        let mut frames = 0;
        while frames < 4 {
            let line = lines.next().unwrap_or_else(|| panic!("writer {writer}: the program ended")).unwrap();
            frames += usize::from(line.contains("oltr.frame/1"));
        }
    }
    super::send("TERM", &child);
    ended(child, SECONDS(5)).code(0);
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let folder = Folder::new();
    let clip = folder.file("clip.y4m", &y4m(2000));
    for args in [&["--json", "--per-frame"][..], &["--per-frame"]] {
        let args = [&["stream"], args, &[&clip]].concat();
        let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(ended(child, SECONDS(20)).code(0).stderr, "");
    }
}

#[test]
fn a_full_disk_is_an_io_error() {
    let folder = Folder::new();
    let clip = folder.file("clip.y4m", &y4m(5));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran: Ran = command(&["stream", "--json", "--per-frame", &clip]).stdout(full).output().unwrap().into();
    ran.code(74).says(&["standard output"]);
}

#[test]
fn a_region_outside_of_the_frame_is_reported_for_each() {
    let args = ["stream", "--json", "--per-frame", "--overflow", "block", "--roi", "60,0,10,10", "-"];
    let ran = oltr_with_input(&args, &y4m(2)).code(65);
    let lines = ran.json();
    assert_eq!(of(&lines, "oltr.error/1").len(), 2, "{}", ran.stdout);
    let args = ["stream", "--json", "--per-frame", "--overflow", "block", "--roi", "10,0,50,48", "--rotate", "90", "-"];
    assert_eq!(of(&oltr_with_input(&args, &y4m(2)).code(0).json(), "oltr.frame/1").len(), 2);
}

/// A user may find GStreamer's luma stride and set `--stride` only. Its chroma rows have another padding.
#[test]
fn a_stride_that_is_gstreamers_is_read_as_it_pads_chroma() {
    let ran = |size: &str, stride: &str, bytes: usize| {
        let args = ["stream", "--format", "yuv420p", "--size", size, "--stride", stride, "-"];
        oltr_with_input(&args, &vec![90; bytes]).code(0).stderr
    };
    // Only GStreamer pads rows of 322 bytes to 324. Its chroma rows are 164 apart.
    let padded = ran("322x242", "324", 324 * 242 + 2 * 164 * 121);
    assert!(padded.contains("1 captured") && !padded.contains("--layout gstreamer"), "{padded}");
    // Rows of 324 bytes may be without padding, or GStreamer's.
    assert!(ran("324x242", "324", 324 * 242 * 3 / 2).contains("--layout gstreamer"));
    assert!(!ran("322x242", "384", 384 * 242 * 3 / 2).contains("--layout gstreamer"));
}
