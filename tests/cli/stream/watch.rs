//! A folder that fills, as the card of a trail camera does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::{Folder, PHOTOS, Ran, command, oltr, package};
use super::{ended, send};

/// Only against a hang.
const SOON: Duration = Duration::from_secs(60);

/// The program watching `folder`.
fn watch(folder: &str, state: &str) -> Child {
    let args = ["stream", "--json", "--per-frame", "--watch", folder, "--state", state];
    command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the next `count` frames and returns the names of their photos.
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
    // Long enough to take the existing photos again.
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
    // A file size limit acts like a full disk. It does not affect pipes.
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

/// The service's own settings with a folder that does not exist at the start. Later it is filled by several cameras,
/// one with 12 megapixels.
#[test]
fn the_service_takes_a_folder_that_comes_late_and_goes_on_when_photos_are_too_large() {
    let settings = fs::read_to_string(package("cross/debian/oltr.conf")).unwrap();
    let own = settings.lines().find_map(|line| line.strip_prefix("OLTR_ARGUMENTS=")).unwrap().trim_matches('"');
    assert!(own.contains("--reconnect") && own.contains("--max-memory 96MiB"), "{own}");
    let files = Folder::new();
    let (folder, state, notify) = (files.path("photos"), files.path("taken"), files.path("notify"));
    let socket = UnixDatagram::bind(&notify).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let run = |own: &str| {
        let own: Vec<&str> = own.split(' ').collect();
        let args = [&["stream", "--json", "--per-frame"], &own[..], &["--watch", &folder, "--state", &state]].concat();
        let mut command = command(&args);
        command.env("NOTIFY_SOCKET", &notify).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let heard = || {
        let mut bytes = [0; 256];
        let n = socket.recv(&mut bytes).expect("the program says something");
        String::from_utf8(bytes[..n].to_vec()).unwrap().trim().to_string()
    };
    let mut child = run(own);
    assert_eq!(heard(), "READY=1");
    fs::create_dir(&folder).unwrap();
    let large = [b"P5 4000 3000 255 ".as_slice(), &vec![90; 12_000_000]].concat();
    fs::write(format!("{folder}/large.pgm"), large).unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let refused = lines.find(|line| line["schema"] == "oltr.error/1").unwrap();
    assert_eq!(refused["kind"], "limit");
    assert!(refused["error"].as_str().unwrap().contains("large.pgm"), "{refused}");
    add(&folder, "1.jpg");
    let mut reported = |name: &str| {
        let line = lines.find(|line| line["schema"] != "oltr.event/1").unwrap();
        assert!(line["source"].as_str().unwrap().ends_with(name), "reported once, and the next is taken: {line}");
    };
    reported("1.jpg");
    send("TERM", &child);
    let ran = ended(child, SOON).code(0);
    // Both the folder to wait for, and the memory limit with its remedy.
    ran.says(&[
        "photos: no such file or folder",
        "trying again",
        "--max-memory lets photos of up to",
        "12.0 megapixels",
    ]);
    assert_eq!(heard(), "STOPPING=1", "it is ready once");

    // The settings contain the remedy.
    assert!(settings.contains("--max-memory 512MiB"));
    taken(run("--reconnect --max-memory 512MiB"), "large.pgm");
}

/// Runs the program on `incoming` with `args` for some seconds, and returns its output.
fn watched_for(files: &Folder, args: &[&str], seconds: f32) -> Ran {
    let (folder, state) = (files.path("incoming"), files.path("seen"));
    let all = [&["stream", "--json", "--per-frame", "--watch", &folder, "--state", &state], args].concat();
    let child = command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs_f32(seconds));
    send("TERM", &child);
    ended(child, Duration::from_secs(60))
}

fn of(ran: &Ran, schema: &str) -> Vec<Value> {
    ran.json().into_iter().filter(|line| line["schema"] == schema).collect()
}

#[test]
fn a_photo_that_a_limit_refused_is_taken_by_another_run() {
    let files = Folder::new();
    fs::create_dir(files.path("incoming")).unwrap();
    add(&files.path("incoming"), "1.jpg");
    let refused = watched_for(&files, &["--max-frame", "64x64"], 6.0).code(0);
    let errors = of(&refused, "oltr.error/1");
    assert_eq!(errors.iter().map(|e| &e["kind"]).collect::<Vec<_>>(), ["limit"], "reported once");
    let state = fs::read_to_string(files.path("seen")).unwrap();
    assert_eq!(state.lines().count(), 1, "nothing was taken: {state}");
    let child = watch(&files.path("incoming"), &files.path("seen"));
    taken(child, "1.jpg");
}

/// Waits for the one photo that `child` finds, and ends it.
#[track_caller]
fn taken(mut child: Child, name: &str) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(frames(&mut lines, 1), [name]);
    send("TERM", &child);
    ended(child, Duration::from_secs(60)).code(0);
}

/// If the region is outside of the photo, the photo is not at fault.
#[test]
fn a_photo_that_could_not_be_classified_is_taken_by_another_run() {
    let files = Folder::new();
    fs::create_dir(files.path("incoming")).unwrap();
    add(&files.path("incoming"), "1.jpg");
    let refused = watched_for(&files, &["--roi", "9000,9000,10,10"], 6.0).code(0);
    assert_eq!(of(&refused, "oltr.error/1").len(), 1, "reported once");
    taken(watch(&files.path("incoming"), &files.path("seen")), "1.jpg");
}

#[test]
fn one_state_file_is_for_one_process() {
    let files = Folder::new();
    let (one, two, state) = (files.path("one"), files.path("two"), files.path("seen"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let mut child = watch(&one, &state);
    add(&one, "1.jpg");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(frames(&mut lines, 1), ["1.jpg"]);
    let second = oltr(&["stream", "--watch", &two, "--state", &state]).code(75);
    second.says(&["seen", "another oltr", "--state"]);
    send("TERM", &child);
    ended(child, Duration::from_secs(60)).code(0);
}

#[test]
fn a_state_that_is_no_file_is_refused_at_once() {
    let files = Folder::new();
    let (folder, fifo) = (files.path("incoming"), files.path("fifo"));
    fs::create_dir(&folder).unwrap();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (state, what) in [(fifo.as_str(), "a FIFO"), ("/dev/null", "a device"), (&folder, "a folder")] {
        oltr(&["stream", "--watch", &folder, "--state", state]).code(78).says(&[state, what, "name one"]);
    }
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

/// Names of photos start with the folder as given, and no photo is taken twice.
#[test]
fn a_relative_folder_gives_each_photo_once() {
    let files = Folder::new();
    fs::create_dir(files.path("trap")).unwrap();
    let start = || {
        let mut command = command(&["stream", "--json", "--per-frame", "--watch", "trap"]);
        command.current_dir(files.path("")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = start();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let lines = lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        lines.filter(|line| line["schema"] == "oltr.frame/1").map(|line| line["source"].clone()).next().unwrap()
    };
    std::thread::sleep(Duration::from_secs(1));
    add(&files.path("trap"), "1.jpg");
    assert_eq!(next(), "trap/1.jpg");
    // Makes the folder be searched.
    fs::create_dir(files.path("trap/sub")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    add(&files.path("trap/sub"), "2.jpg");
    assert_eq!(next(), "trap/sub/2.jpg");
    send("TERM", &child);
    ended(child, Duration::from_secs(60)).code(0);
    let child = start();
    std::thread::sleep(Duration::from_secs(3));
    add(&files.path("trap"), "3.jpg");
    taken(child, "3.jpg");
}

/// With the service's limits: photos that fit are taken, and the limit is reported.
#[test]
fn bounded_memory_bounds_photos_by_what_fits() {
    let files = Folder::new();
    fs::create_dir(files.path("incoming")).unwrap();
    add(&files.path("incoming"), "1.jpg");
    let folder = files.path("incoming");
    let ran = oltr(&["stream", "--json", "--per-frame", "--max-memory", "96MiB", &folder]).code(0);
    assert_eq!(of(&ran, "oltr.frame/1").len(), 1);
    let ran = ran.says(&["megapixels", "--max-memory"]);
    let memory = &ran.json().pop().unwrap()["memory"];
    assert!(memory["planned_bytes"].as_u64() <= memory["limit_bytes"].as_u64(), "{memory}");
    // The remedy in the warning works for the photos that it names.
    let enough = ran.stderr.split_once("with --max-memory ").unwrap().1.split_once(' ').unwrap().0;
    let ran = oltr(&["stream", "-v", "--json", "--max-memory", enough, &folder]).code(0);
    let said = ran.stderr.split_once("photos of up to ").unwrap().1.split_once(' ').unwrap().0;
    assert!(said.parse::<f32>().unwrap() >= 11.8, "{said}");
    oltr(&["stream", "--json", "--max-memory", "50MiB", &folder]).code(78).says(&["640x480", "--max-memory"]);
}
