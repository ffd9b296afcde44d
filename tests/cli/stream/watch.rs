//! A folder that fills, as the card of a trail camera does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::{Folder, PHOTOS, Ran, command, oltr, package};
use super::{ended, send};

/// The program watching `folder`.
fn watch(folder: &str, state: &str) -> Child {
    let args = ["stream", "--json", "--per-frame", "--watch", folder, "--state", state];
    command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the next `count` frames; the names of their photos.
fn frames(lines: &mut impl Iterator<Item = std::io::Result<String>>, count: usize) -> Vec<String> {
    let frames = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let frames = frames.filter(|line| line["schema"] == "oltr.frame/1");
    frames.take(count).map(|f| f["source"].as_str().unwrap().rsplit('/').next().unwrap().into()).collect()
}

fn add(folder: &str, name: &str) {
    fs::copy(package(PHOTOS).join("cup.jpg"), format!("{folder}/{name}")).unwrap();
}

#[test]
fn each_photo_is_taken_once_also_across_restarts() {
    let files = Folder::new();
    let (folder, state) = (files.path("incoming"), files.path("seen"));
    fs::create_dir(&folder).unwrap();
    add(&folder, "1.jpg");
    let mut child = watch(&folder, &state);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(frames(&mut lines, 1), ["1.jpg"]);
    add(&folder, "2.jpg");
    assert_eq!(frames(&mut lines, 1), ["2.jpg"]);
    send("TERM", &child);
    ended(child, Duration::from_secs(5)).code(0);

    let mut child = watch(&folder, &state);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Long enough for what is there to be taken again.
    std::thread::sleep(Duration::from_millis(2500));
    add(&folder, "3.jpg");
    assert_eq!(frames(&mut lines, 1), ["3.jpg"], "the others were taken before");
    let asked = Instant::now();
    send("TERM", &child);
    ended(child, Duration::from_secs(5)).code(0);
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_state_file_on_a_full_disk_is_an_io_error() {
    let files = Folder::new();
    let folder = files.path("incoming");
    fs::create_dir(&folder).unwrap();
    add(&folder, "1.jpg");
    // Files may not grow: what a full disk does, without one. Pipes may.
    let line = format!(
        "trap '' XFSZ; ulimit -f 0; exec {} stream --json --watch {folder} --state {}",
        env!("CARGO_BIN_EXE_oltr"),
        files.path("seen")
    );
    let child = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ended(child, Duration::from_secs(30)).code(74).says(&["seen"]);
}

#[test]
fn a_folder_that_is_not_there_is_no_input() {
    let ran: Ran = oltr(&["stream", "--watch", "nowhere"]).code(66);
    ran.says(&["nowhere"]);
}
