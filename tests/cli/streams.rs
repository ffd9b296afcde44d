//! Standard streams and signals: a reader that follows, a reader that leaves, a request to stop.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Folder, PHOTOS, Ran, command, oltr};

#[test]
fn verbosity_goes_to_stderr() {
    let photo = format!("{PHOTOS}/cup.jpg");
    let quiet = oltr(&["classify", "--json", &photo]).code(0);
    assert_eq!(quiet.stderr, "");
    let verbose = oltr(&["classify", "--json", "-v", &photo]).code(0);
    assert_eq!(verbose.json().len(), 1);
    verbose.says(&["kernels", "loaded in", "cup.jpg: decode", "preprocess", "inference"]);
    let errors = oltr(&["-q", "classify", "nowhere.jpg"]).code(66);
    errors.says(&["nowhere.jpg"]);
}

/// The program with `args`, its output piped to the test.
fn start(args: &[&str]) -> Child {
    command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A list that takes minutes to classify.
fn endless(folder: &Folder) -> String {
    let list = folder.file("list.txt", format!("{PHOTOS}/cup.jpg\n").repeat(20_000).as_bytes());
    format!("@{list}")
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let folder = Folder::new();
    for args in [&["classify", "--json"][..], &["classify"]] {
        let mut child = start(&[args, &[&endless(&folder)]].concat());
        let mut line = String::new();
        // The pipe is closed after the first line.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code(0).stderr, "");
    }
}

#[test]
fn a_signal_ends_the_program_after_the_frame_in_hand() {
    let folder = Folder::new();
    for signal in ["TERM", "INT"] {
        let mut child = start(&["classify", "--json", &endless(&folder)]);
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        reader.read_line(&mut text).unwrap();
        send(signal, &child);
        let asked = Instant::now();
        reader.read_to_string(&mut text).unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        ran.code(0);
        assert!(text.ends_with("}\n"), "the last line is whole");
        let lines = text.lines().count();
        assert!(lines < 20_000);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }
}

#[test]
fn a_signal_ends_the_program_that_waits_for_input() {
    let mut child = command(&["classify", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The titles appear when the model is loaded. Then the program waits.
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    send("TERM", &child);
    let asked = Instant::now();
    // Kept open: dropping it would end the input.
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    drop(stdin);
}

fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn a_full_disk_is_an_io_error() {
    let photo = format!("{PHOTOS}/cup.jpg");
    for arguments in [&["classify", "--json", &photo][..], &["--help"], &["stream", "--help"], &["--version"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran: Ran = command(arguments).stdout(full).output().unwrap().into();
        ran.code(74).says(&["standard output"]);
    }
}
