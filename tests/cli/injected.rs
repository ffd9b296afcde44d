//! Failing system calls: each call that writes to a file fails in turn, with the errors of a failing disk, a full one
//! and too many open files. `strace` injects the errors. Without it, or without permission, the tests print that and
//! pass.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::common::tiny;
use super::*;

/// Calls that make, write, sync, move or remove files.
const CALLS: &str = "openat,write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2,ftruncate,link,linkat,unlink,\
                     unlinkat,mkdir,mkdirat,fchmod,fchown";

/// A failing disk, a full one, and too many open files.
const ERRORS: [&str; 3] = ["EIO", "ENOSPC", "EMFILE"];

/// A failing disk prevents cleaning up too: a later run does it.
const NOTHING_IS_REMOVED: &str = "inject=unlink,unlinkat:error=EIO";

/// No run takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether programs can be traced here; prints a message if not.
fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-D", "-f", "-o", "/dev/null", "-e", "trace=fsync", "true"]).output();
    let can = traced.is_ok_and(|ran| ran.status.success());
    if !can {
        println!("NOT TESTED: strace is not installed, or may trace nothing here");
    }
    can
}

/// The program with `args` under strace with the options `more`. The program itself is the child: strace is a separate
/// process.
fn traced(more: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-y", "-s", "0", "-e", &format!("trace={CALLS}")]).args(more);
    command.arg(env!("CARGO_BIN_EXE_oltr")).args(args).stdin(Stdio::null());
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    for variable in ["OLTR_MODEL", "RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command
}

/// Calls of a run that wrote below `folder`: name, and its number among the calls of this name in its thread.
fn writing_calls(log: &str, folder: &Path) -> BTreeSet<(String, usize)> {
    let folder = folder.to_str().unwrap();
    let (mut counts, mut calls) = (BTreeMap::<(&str, &str), usize>::new(), BTreeSet::new());
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        if !CALLS.split(',').any(|call| call == name) {
            continue;
        }
        let count = counts.entry((thread, name)).or_default();
        *count += 1;
        let opens_to_read = name == "openat" && !["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|f| rest.contains(f));
        if rest.contains(folder) && !opens_to_read {
            calls.insert((name.into(), *count));
        }
    }
    calls
}

/// Asserts that files below `folder` are synced before they replace others, that their names are synced after it, and
/// that nothing is unsynced at the end. So a power cut loses nothing that was reported as written.
#[track_caller]
fn assert_synced(log: &str, folder: &Path) {
    let (mut data, mut names) = (BTreeSet::new(), BTreeSet::new());
    for call in log.lines().filter_map(|line| Some(line.split_once(' ')?.1.trim_start())) {
        let Some((name, rest)) = call.split_once('(') else { continue };
        // A descriptor with its path: 6</tmp/x/seen>
        let path = rest.split_once('<').and_then(|(_, rest)| Some(rest.split_once('>')?.0)).unwrap_or_default();
        if !call.contains(folder.to_str().unwrap()) {
            continue;
        }
        match name {
            "write" | "writev" | "pwrite64" | "ftruncate" => {
                data.insert(path.to_string());
            }
            "fsync" | "fdatasync" => {
                data.remove(path);
                names.remove(path);
            }
            "rename" | "renameat" | "renameat2" => {
                let quoted: Vec<&str> = call.split('"').collect();
                assert!(!data.iter().any(|path| path == quoted[1]), "is not on the disk before: {call}");
                names.insert(Path::new(quoted[3]).parent().unwrap().to_str().unwrap().to_string());
            }
            _ => {}
        }
    }
    assert!(data.is_empty() && names.is_empty(), "never synced: {data:?} {names:?}");
}

/// All faults to try: the call, its number, and the error.
fn faults(calls: BTreeSet<(String, usize)>) -> Vec<String> {
    let possible = |call: &str, error: &str| error != "EMFILE" || call == "openat";
    let of = |(call, count): (String, usize)| {
        let errors = ERRORS.into_iter().filter(|error| possible(&call, error)).collect::<Vec<_>>();
        errors.into_iter().map(move |error| format!("inject={call}:error={error}:when={count}")).collect::<Vec<_>>()
    };
    calls.into_iter().flat_map(of).collect()
}

/// Expected outputs of a run: names of files, and whether a file is whole.
struct Outputs<'a> {
    names: &'a [&'a str],
    is_whole: &'a dyn Fn(&str, &[u8]) -> bool,
}

/// Runs the command that `args` gives for a folder once for each of its calls that may fail. `prepare` fills the folder.
#[track_caller]
fn each_call_fails_once(prepare: &dyn Fn(&Folder), args: &dyn Fn(&Folder) -> Vec<String>, outputs: &Outputs) {
    if !can_trace() {
        return;
    }
    let run = |folder: &Folder, more: &[&str]| -> Ran {
        let args = args(folder);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        traced(more, &args).output().unwrap().into()
    };
    let read = |folder: &Folder| -> Vec<Option<Vec<u8>>> {
        outputs.names.iter().map(|name| fs::read(folder.path(name)).ok()).collect()
    };
    let folder = Folder::new();
    prepare(&folder);
    let (old, logs) = (read(&folder), Folder::new());
    run(&folder, &["-o", &logs.path("log")]).code(0);
    let log = fs::read_to_string(logs.path("log")).unwrap();
    assert_synced(&log, folder.0.path());
    let all = faults(writing_calls(&log, folder.0.path()));
    assert!(all.iter().any(|f| f.contains("rename")) && all.len() > 8, "what is to fail is found: {all:?}");
    let mut refused = 0;
    for fault in &all {
        let folder = Folder::new();
        prepare(&folder);
        let ran = run(&folder, &["-o", "/dev/null", "-e", fault, "-e", NOTHING_IS_REMOVED]);
        let new = read(&folder);
        for ((name, old), new) in outputs.names.iter().zip(&old).zip(&new) {
            let whole = new.as_ref().is_some_and(|bytes| (outputs.is_whole)(name, bytes));
            assert!(whole || (new == old && ran.code != Some(0)), "{fault}: {name} is not whole: {ran:?}");
        }
        match ran.code {
            // Cleaning up may fail.
            Some(0) => {}
            Some(74) => {
                refused += 1;
                let said = &ran.stderr;
                let output = outputs.names.iter().any(|name| said.contains(name.split('/').next().unwrap()));
                // Which thread opens which photo is not the same in every run.
                let input = fault.contains("openat") && said.contains(folder.0.path().to_str().unwrap());
                assert!(output || input, "{fault}: no file is named: {said}");
            }
            _ => panic!("{fault}: {ran:?}"),
        }
        let args = args(&folder);
        oltr(&args).code(0);
        assert!(read(&folder).iter().all(Option::is_some), "{fault}: the next run works");
        for name in outputs.names {
            let place = folder.path(name);
            let place = Path::new(&place).parent().unwrap();
            let left: Vec<_> = fs::read_dir(place).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{fault}: {left:?}");
        }
    }
    println!("{} faults, {refused} of which ended the program", all.len());
    assert!(refused >= 4);
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| arg.to_string()).collect()
}

/// The tiny bundle, and photos of its classes and of others.
fn with_photos(folder: &Folder) {
    folder.file("m.onnx", &tiny::bundle().encode());
    fs::create_dir(folder.path("photos")).unwrap();
    let mut labels = String::from("path\tclass\trole\tsplit\n");
    for (i, name) in ["cup", "moon", "cat", "coins", "galaxies"].into_iter().enumerate() {
        let mut picture = image::RgbImage::new(16, 16);
        picture.pixels_mut().enumerate().for_each(|(p, pixel)| pixel.0 = [p as u8, (p * i) as u8, (i * 50) as u8]);
        picture.save(folder.path(&format!("photos/{name}.png"))).unwrap();
        let (class, role) = if i < 3 { (["a", "b", "c"][i], "known") } else { (name, "unknown") };
        labels += &format!("{name}.png\t{class}\t{role}\tval\n{name}.png\t{class}\t{role}\ttest\n");
    }
    folder.file("labels.tsv", labels.as_bytes());
}

#[test]
fn enrolments_are_the_old_or_the_new_ones() {
    let add = |folder: &Folder, name: &str| {
        let photos = folder.path("photos");
        strings(&["enrol", "--model", &folder.path("m.onnx"), "add", name, &photos])
    };
    let prepare = |folder: &Folder| {
        with_photos(folder);
        oltr(&add(folder, "one")[..]).code(0);
    };
    let whole = |_: &str, bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).unwrap();
        text.contains("\"two\"") && text.ends_with("}\n")
    };
    let outputs = Outputs { names: &["m.enrolled"], is_whole: &whole };
    each_call_fails_once(&prepare, &|folder| add(folder, "two"), &outputs);
}

#[test]
fn a_calibrated_bundle_is_the_old_or_the_new_one() {
    let prepare = |folder: &Folder| {
        with_photos(folder);
        folder.file("new.onnx", b"an old file");
    };
    let args = |folder: &Folder| {
        let path = |name: &str| folder.path(name);
        let (labels, photos, new, model) = (path("labels.tsv"), path("photos"), path("new.onnx"), path("m.onnx"));
        strings(&["calibrate", "--labels", &labels, "--images", &photos, "--jobs", "1", "--output", &new, &model])
    };
    let sample = Folder::new();
    prepare(&sample);
    oltr(&args(&sample)[..]).code(0);
    let expected = fs::read(sample.path("new.onnx")).unwrap();
    let outputs = Outputs { names: &["new.onnx"], is_whole: &|_, bytes| bytes == expected };
    each_call_fails_once(&prepare, &args, &outputs);
}

#[test]
fn computed_outputs_are_the_old_or_the_new_ones() {
    let args = |folder: &Folder| {
        let out = folder.path("out.npz");
        strings(&["verify", "--output", &out, "tests/graphs/lite0s.qdq.onnx", "tests/graphs/lite0s.qdq.npz"])
    };
    let sample = Folder::new();
    oltr(&args(&sample)[..]).code(0);
    let expected = unzip(sample.path("out.npz"));
    let whole = |_: &str, bytes: &[u8]| {
        let copy = Folder::new();
        unzip(copy.file("copy.npz", bytes)) == expected
    };
    each_call_fails_once(&|_| (), &args, &Outputs { names: &["out.npz"], is_whole: &whole });
}

#[test]
fn a_report_is_the_old_or_the_new_one() {
    let prepare = |folder: &Folder| with_photos(folder);
    let args = |folder: &Folder| {
        let path = |name: &str| folder.path(name);
        let (labels, photos, place, model) = (path("labels.tsv"), path("photos"), path("report"), path("m.onnx"));
        strings(&["evaluate", "--labels", &labels, "--images", &photos, "--jobs", "1", "--report", &place, &model])
    };
    let whole = |name: &str, bytes: &[u8]| match name.ends_with(".csv") {
        true => bytes.ends_with(b"\n") && bytes.iter().filter(|byte| **byte == b'\n').count() == 1 + 5,
        false => std::str::from_utf8(bytes).unwrap().trim_end().ends_with("</html>"),
    };
    let outputs = Outputs { names: &["report/report.html", "report/answers.csv"], is_whole: &whole };
    each_call_fails_once(&prepare, &args, &outputs);
}

/// A folder with three old photos. With `anew`, also a state file of the first version, which will be rewritten.
fn watched(folder: &Folder, anew: bool) {
    folder.file("m.onnx", &tiny::bundle().encode());
    fs::create_dir(folder.path("in")).unwrap();
    (1..=3).for_each(|i| old_photo(folder, i));
    if anew {
        folder.file("seen", format!("oltr.watch/1\n{:032x}\n", 7).as_bytes());
    }
}

fn old_photo(folder: &Folder, i: u8) {
    let path = folder.file(&format!("in/{i}.pgm"), &[b"P5 1 1 255 ", &[i][..]].concat());
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

/// Watches until photo `last` was reported, or `most` frames and errors were, or the program ends. Returns the reported
/// photos in order.
fn watch_until(command: &mut Command, last: Option<&str>, most: usize) -> (Vec<String>, Ran) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut stderr = child.stderr.take().unwrap();
    let said = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let (mut reported, mut heard, mut stdout, mut asked) = (Vec::new(), 0, String::new(), false);
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "the program neither tells nor ends; reported so far: {reported:?}");
        match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => {
                // A line truncated by a fault was not reported.
                let json = serde_json::from_str::<Value>(&line).unwrap_or_default();
                stdout += &line;
                heard += usize::from(json["schema"] == "oltr.frame/1" || json["schema"] == "oltr.error/1");
                if json["schema"] == "oltr.frame/1" {
                    reported.push(json["source"].as_str().unwrap().rsplit('/').next().unwrap().to_string());
                }
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
        }
        let done = heard >= most || last.is_some_and(|last| reported.last().is_some_and(|name| name == last));
        if done && !std::mem::replace(&mut asked, true) {
            let kill = format!("kill -TERM {}", child.id());
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
    }
    let code = child.wait().unwrap().code();
    (reported, Ran { code, stdout, stderr: said.join().unwrap() })
}

#[test]
fn photos_are_reported_if_the_state_file_cannot_be_written() {
    if !can_trace() {
        return;
    }
    let args = |folder: &Folder| {
        let path = |name: &str| folder.path(name);
        let (place, state, model) = (path("in"), path("seen"), path("m.onnx"));
        strings(&["stream", "--json", "--per-frame", "--watch", &place, "--state", &state, "--model", &model])
    };
    for anew in [false, true] {
        let folder = Folder::new();
        watched(&folder, anew);
        let logs = Folder::new();
        let args_of = args(&folder);
        let args_of: Vec<&str> = args_of.iter().map(String::as_str).collect();
        let (reported, ran) = watch_until(&mut traced(&["-o", &logs.path("log")], &args_of), None, 3);
        assert_eq!(reported.len(), 3, "{ran:?}");
        let log = fs::read_to_string(logs.path("log")).unwrap();
        assert_synced(&log, folder.0.path());
        let all = faults(writing_calls(&log, folder.0.path()));
        assert!(all.len() > if anew { 12 } else { 6 }, "what is to fail is found: {all:?}");
        let mut refused = 0;
        for fault in &all {
            let folder = Folder::new();
            watched(&folder, anew);
            let args = args(&folder);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let (first, ran) =
                watch_until(&mut traced(&["-o", "/dev/null", "-e", fault, "-e", NOTHING_IS_REMOVED], &args), None, 3);
            match ran.code {
                Some(0) => {}
                Some(74) => {
                    refused += 1;
                    // The message too is written by a call that fails once in each thread.
                    let unsaid = fault.contains("=write:") && ran.stderr.is_empty();
                    let named = unsaid || ["seen", "standard output"].iter().any(|name| ran.stderr.contains(name));
                    assert!(named, "{fault}: no file is named: {}", ran.stderr);
                }
                _ => panic!("{fault}: {ran:?}"),
            }
            // Photos that were reported and recorded do not come again, all others do; then a new one.
            old_photo(&folder, 9);
            let (second, ran) = watch_until(&mut command(&args), Some("9.pgm"), usize::MAX);
            assert_eq!(ran.code, Some(0), "{fault}: {ran:?}");
            for name in ["1.pgm", "2.pgm", "3.pgm"] {
                let times = |reported: &[String]| reported.iter().filter(|reported| *reported == name).count();
                let (before, after) = (times(&first), times(&second));
                assert!(before + after >= 1 && before <= 1 && after <= 1, "{fault}: {name} in {first:?}, {second:?}");
            }
            let left: Vec<_> = fs::read_dir(folder.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{fault}: {left:?}");
        }
        println!("{} faults, {refused} of which ended the program", all.len());
        assert!(refused >= 2);
    }
}
