//! The program from its users' view: every test runs the binary.

mod classify;
#[path = "../common/mod.rs"]
mod common;
mod enrol;
mod field;
mod help;
#[cfg(target_os = "linux")]
mod injected;
#[cfg(all(target_os = "linux", feature = "demo-model"))]
mod memory;
mod names;
mod photos;
mod report;
mod report_page;
mod store;
mod stream;
mod streams;
mod study;
mod tables;
mod text;
mod verify;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

const PHOTOS: &str = "examples/photos";
const BUNDLE: &str = "models/everyday.onnx";
const GOLDEN: &str = "models/everyday.golden.npz";
/// A graph without metadata, whose input is called `pixels`.
const PLAIN_GRAPH: &str = "tests/graphs/odd.qdq.onnx";
const PLAIN_GOLDEN: &str = "tests/graphs/odd.qdq.npz";

/// Result of a run of the program.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    fn code(self, expected: i32) -> Ran {
        assert_eq!(self.code, Some(expected), "{self:?}");
        self
    }

    /// Asserts that stderr mentions each of `parts`.
    #[track_caller]
    fn says(self, parts: &[&str]) -> Ran {
        for part in parts {
            assert!(self.stderr.contains(part), "'{part}' is not in: {}", self.stderr);
        }
        self
    }

    /// Each line of stdout as JSON.
    #[track_caller]
    fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The program, in the root of the package, without the settings of whoever runs the tests.
fn command<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oltr"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args).stdin(Stdio::null());
    for variable in ["OLTR_MODEL", "RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs the program.
fn oltr<S: AsRef<OsStr>>(args: &[S]) -> Ran {
    command(args).output().expect("the program starts").into()
}

/// Runs the program with `input` on its standard input.
fn oltr_with_input(args: &[&str], input: &[u8]) -> Ran {
    let mut child = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

/// The keys of a JSON line in order, with braces: `{a,b{c},d[{e}]}`.
fn keys(line: &str) -> String {
    let mut keys = String::new();
    let mut rest = line.trim();
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        if next == '"' {
            let end = closing_quote(&rest[1..]) + 1;
            length = end + 1;
            if rest[length..].starts_with(':') {
                if !keys.ends_with(['{', '[']) {
                    keys.push(',');
                }
                keys.push_str(&rest[1..end]);
            }
        } else if "{}[]".contains(next) {
            keys.push(next);
        }
        rest = &rest[length..];
    }
    keys
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    text.find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })
    .expect("a string ends")
}

/// A folder with the files of one test. It is removed at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }
}

/// A path in the package.
fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A photo that everybody recognises as one.
fn cup() -> Vec<u8> {
    fs::read(package(PHOTOS).join("cup.jpg")).unwrap()
}

/// The members of a zip archive.
type Members = BTreeMap<String, Vec<u8>>;

fn unzip(path: impl AsRef<Path>) -> Members {
    let mut archive = ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut members = Members::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        members.insert(member.name().unwrap().to_string(), bytes);
    }
    members
}

fn zip(members: &Members) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        archive.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn keys_are_seen_in_their_order() {
    let line = r#"{"b":"x\",\"y\":1","a":{"d":1},"e":[{"f":"g"},{"f":2}],"h":[1]}"#;
    assert_eq!(keys(line), "{b,a{d},e[{f}{f}],h[]}");
}
