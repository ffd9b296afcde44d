//! `oltr stream --things` from its users' view.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::common::tiny;
use super::scene::{Square, passage, y4m};

/// A folder with a scene of one passage and a tiny model.
struct Place {
    folder: tempfile::TempDir,
}

const FRAMES: u64 = 220;

fn one(frame: u64) -> Vec<Square> {
    passage(frame, 120).into_iter().collect()
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scene.y4m"), y4m(FRAMES, one)).unwrap();
        fs::write(folder.path().join("tiny.onnx"), tiny::bundle().encode()).unwrap();
        let mut crop = tiny::bundle();
        crop.set("oltr.subject", "crop");
        fs::write(folder.path().join("crop.onnx"), crop.encode()).unwrap();
        Place { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oltr"));
        command.current_dir(self.path()).args(args).env_remove("OLTR_MODEL").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs `oltr stream --things --json` with `args` on the scene, and returns its lines.
    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let mut all = vec!["stream", "--things", "--json", "--model", "tiny.onnx"];
        all.extend(args);
        all.push("scene.y4m");
        let ran = self.run(&all);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        lines(&ran.stdout)
    }
}

fn lines(stdout: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(stdout).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn of<'a>(lines: &'a [Value], schema: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["schema"] == schema).collect()
}

#[test]
fn a_scene_gives_the_lines_of_the_contract() {
    let place = Place::new();
    let lines = place.lines(&["--per-frame"]);
    let frames = of(&lines, "oltr.frame/1");
    assert_eq!(frames.len() as u64, FRAMES);
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame["frame"], number);
        for of_the_whole in ["decision", "label", "class", "probability", "reachability", "nearest", "consensus"] {
            assert_eq!(frame.get(of_the_whole), Some(&Value::Null), "{of_the_whole} of {frame}");
        }
        for thing in frame["things"].as_array().unwrap() {
            assert_eq!(thing["thing"], 1);
            assert_eq!(thing["box"].as_array().unwrap().len(), 4);
            assert!(["seen", "coasting", "merged"].contains(&thing["state"].as_str().unwrap()), "{thing}");
            assert!(thing.get("label").is_some() && thing.get("decision").is_some(), "{thing}");
        }
    }
    let events = of(&lines, "oltr.event/1");
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((types.first(), types.last()), (Some(&"new"), Some(&"end")), "{types:?}");
    assert_eq!(types.iter().filter(|kind| ["new", "end"].contains(kind)).count(), 2, "{types:?}");
    let end = events.last().unwrap();
    let thing = &end["thing"];
    for number in ["id", "seen", "crops", "merged"] {
        assert!(thing[number].is_u64(), "{number} of {thing}");
    }
    for place in ["box", "first_box", "last_box"] {
        assert_eq!(thing[place].as_array().map(Vec::len), Some(4), "{place} of {thing}");
    }
    let path = thing["path"].as_array().unwrap();
    assert!(path.len() >= 5 && path.iter().all(|step| step.as_array().unwrap().len() == 3), "{thing}");
    assert!((end["best"]["frame"].as_u64().unwrap()) > 120 && end["best"]["probability"].is_number(), "{end}");
    let stats = of(&lines, "oltr.stats/1");
    let things = &stats.last().unwrap()["things"];
    assert_eq!((&things["present"], &things["seen"], &things["crowded"]), (&0.into(), &1.into(), &0.into()));
    assert!(things["state"].is_string());
    let cuts = |name: &str| things["cuts"][name].as_u64().unwrap();
    assert_eq!(cuts("asked"), cuts("classified") + cuts("skipped"));
    assert_eq!(thing["crops"], cuts("classified"));
    // Without --per-frame there are no frames, and two runs give the same.
    let (again, once) = (place.lines(&[]), place.lines(&[]));
    assert!(of(&again, "oltr.frame/1").is_empty());
    let relevant = |lines: &[Value]| -> Vec<Value> {
        of(lines, "oltr.event/1").iter().map(|e| e["thing"]["box"].clone()).collect()
    };
    assert_eq!(relevant(&again), relevant(&once));
    // Without --things there are no such fields.
    let ran = place.run(&["stream", "--json", "--per-frame", "--model", "tiny.onnx", "scene.y4m"]);
    assert!(!String::from_utf8_lossy(&ran.stdout).contains("\"things\""));
}

#[test]
fn options_say_where_and_what_is_looked_for() {
    let place = Place::new();
    let picture = |name: &str, rows: std::ops::Range<u32>| {
        let mut bytes = b"P5 64 48 255 ".to_vec();
        bytes.extend((0..64 * 48u32).map(|i| if rows.contains(&(i / 64)) { 0 } else { 255 }));
        fs::write(place.path().join(name), bytes).unwrap();
    };
    picture("hides.pgm", 10..36);
    picture("shows.pgm", 40..48);
    for (args, events) in [
        (&["--mask", "hides.pgm"][..], 0),
        (&["--mask", "shows.pgm"], 1),
        (&["--ignore", "0,0,320,20", "--ignore", "0,60,320,100"], 0),
        (&["--roi", "0,150,320,90"], 0),
        (&["--roi", "20,40,280,160"], 1),
        (&["--min-size", "30%"], 0),
        (&["--max-size", "5%"], 0),
        (&["--min-size", "5%", "--max-size", "40%", "--min-way", "1", "--max-things", "2", "--sensitivity", "1.5"], 1),
        (&["--min-way", "30"], 0),
        (&["--crop-margin", "0", "--stay", "5s"], 1),
    ] {
        let lines = place.lines(args);
        let ends = of(&lines, "oltr.event/1").iter().filter(|event| event["type"] == "end").count();
        assert_eq!(ends, events, "{args:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_a_remedy() {
    let place = Place::new();
    fs::write(place.path().join("black.pgm"), [&b"P5 8 8 255 "[..], &[0; 64]].concat()).unwrap();
    fs::write(place.path().join("none.pgm"), "no picture").unwrap();
    for (args, code, said) in [
        (&["--things", "--mask", "black.pgm"][..], 65, "black.pgm"),
        (&["--things", "--mask", "none.pgm"], 65, "none.pgm"),
        (&["--things", "--mask", "missing.png"], 66, "missing.png"),
        (&["--things", "--max-things", "33"], 78, "1 to 32"),
        (&["--things", "--max-things", "0"], 78, "1 to 32"),
        (&["--things", "--min-size", "50%", "--max-size", "10%"], 78, "smaller first"),
        (&["--things", "--sensitivity", "9"], 78, "0.25 to 4"),
        (&["--things", "--crop-margin", "300%"], 78, "0 to 200 %"),
        (&["--things", "--stay", "1ms"], 78, "a second"),
        (&["--things", "--ignore", "1,2,3"], 2, "X,Y,W,H"),
        (&["--mask", "black.pgm"], 2, "--things"),
        (&["--things", "--save", "3"], 2, "--save-crops"),
    ] {
        let mut all = vec!["stream", "--model", "tiny.onnx"];
        all.extend(args);
        all.push("scene.y4m");
        let ran = place.run(&all);
        let stderr = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
}

#[test]
fn saved_cuts_are_photos_with_labels() {
    let place = Place::new();
    let lines = place.lines(&["--save-crops", "cuts", "--save", "5"]);
    let folder = place.path().join("cuts");
    let pictures =
        || fs::read_dir(&folder).unwrap().filter(|e| e.as_ref().unwrap().path().extension().unwrap() == "png");
    assert_eq!(pictures().count(), 5);
    let labels = fs::read_to_string(folder.join("labels.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = labels.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["path", "class", "role", "split", "cluster"]);
    assert_eq!(rows.len(), 6);
    let end = of(&lines, "oltr.event/1").last().copied().cloned().unwrap();
    for row in &rows[1..] {
        assert!(row[0].contains("-thing-1-frame-") && folder.join(row[0]).exists(), "{row:?}");
        let expected =
            if end["decision"] == "open" { ("open", "unknown") } else { (end["label"].as_str().unwrap(), "known") };
        assert_eq!((row[1], row[2], row[3]), (expected.0, expected.1, "val"));
        assert_eq!(row[4], rows[1][4]);
    }
    // Existing files count for the next run.
    place.lines(&["--save-crops", "cuts", "--save", "7"]);
    assert_eq!(pictures().count(), 7);
    assert_eq!(fs::read_to_string(folder.join("labels.tsv")).unwrap().lines().count(), 8);
    // The network's result for the file equals that for the crop.
    let evaluate =
        ["evaluate", "--json", "--split", "val", "--labels", "cuts/labels.tsv", "--images", "cuts", "tiny.onnx"];
    let ran = place.run(&evaluate);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let said: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(said["known"].as_u64().unwrap() + said["open"].as_u64().unwrap(), 7, "{said}");
}

#[test]
fn a_signal_ends_things_and_the_program() {
    let place = Place::new();
    let args = ["stream", "--things", "--json", "--per-frame", "--model", "tiny.onnx", "--recording", "-"];
    let mut child = place.command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Kept open: dropping it would end the input.
    let writer = std::thread::spawn(move || stdin.write_all(&y4m(160, one)).map(|()| stdin));
    // Until a thing is in view.
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"frame\":150,") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stdout, &mut line).unwrap() > 0, "it ended before");
    }
    assert!(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest = lines(rest.as_bytes());
    let ends: Vec<_> = of(&rest, "oltr.event/1").into_iter().filter(|event| event["type"] == "end").collect();
    assert_eq!(ends.len(), 1, "{rest:?}");
    assert_eq!(ends[0]["reason"], "finished");
    drop(writer.join());
}

#[test]
fn a_bundle_of_cuts_warns_once_where_whole_live_frames_are_shown_to_it() {
    let place = Place::new();
    let run = |args: &[&str]| {
        let mut child =
            place.command(args).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&y4m(3, one)).unwrap();
        String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned()
    };
    let warnings = |stderr: &str| stderr.matches("cut out of the picture").count();
    assert_eq!(warnings(&run(&["stream", "--model", "crop.onnx", "-"])), 1);
    assert_eq!(warnings(&run(&["stream", "--things", "--model", "crop.onnx", "-"])), 0);
    assert_eq!(warnings(&run(&["stream", "--model", "tiny.onnx", "-"])), 0);
    assert_eq!(warnings(&run(&["stream", "--recording", "--model", "crop.onnx", "-"])), 0);
    let said = place.run(&["inspect", "--json", "crop.onnx"]);
    assert_eq!(serde_json::from_slice::<Value>(&said.stdout).unwrap()["bundle"]["subject"], "crop");
}

#[test]
fn people_get_a_row_when_a_thing_comes_and_one_when_it_ends() {
    let place = Place::new();
    let ran = place.run(&["stream", "--things", "--model", "tiny.onnx", "scene.y4m"]);
    let text = String::from_utf8_lossy(&ran.stdout);
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[1].contains("thing 1") && rows[2].contains("end of 1"), "{text}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("; 1 thing,"), "{ran:?}");
    let ran = place.run(&["stream", "--things", "--per-frame", "--model", "tiny.onnx", "scene.y4m"]);
    assert!(String::from_utf8_lossy(&ran.stdout).lines().count() > 30);
}

#[test]
fn the_plan_of_memory_counts_the_stage() {
    let place = Place::new();
    let planned = |args: &[&str]| {
        let mut all = vec!["stream", "--json", "--model", "tiny.onnx", "scene.y4m"];
        all.extend(args);
        let ran = place.run(&all);
        let lines = lines(&ran.stdout);
        lines.last().unwrap()["memory"]["planned_bytes"].as_u64().unwrap()
    };
    let (without, with, saving) =
        (planned(&[]), planned(&["--things"]), planned(&["--things", "--save-crops", "cuts"]));
    assert!(with > without + 100_000 && with < without + 1_000_000, "{without}, {with}");
    assert!(saving > with, "{with}, {saving}");
    let too_little = (with - 1).to_string();
    let mut all = vec!["stream", "--things", "--max-frame", "640x480", "--model", "tiny.onnx", "--max-memory"];
    all.extend([too_little.as_str(), "scene.y4m"]);
    let ran = place.run(&all);
    assert!(ran.status.code() == Some(78) || ran.status.success(), "{ran:?}");
    let ran = place.run(&["-v", "stream", "--things", "--model", "tiny.onnx", "scene.y4m"]);
    assert!(String::from_utf8_lossy(&ran.stderr).contains("KiB  things"), "{ran:?}");
}

/// Head and body of the page's answer to `GET path` at `port`.
fn get(port: u16, path: &str) -> (String, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect(path);
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer.split_off(end + 4))
}

#[test]
fn the_page_shows_the_camera_where_nothing_moves_and_then_the_cuts() {
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let place = Place::new();
    let args = ["stream", "--things", "--json", "--model", "tiny.onnx", "--listen", "127.0.0.1:0", "--recording", "-"];
    let mut command = place.command(&args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("http://127.0.0.1:") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the program says no address");
    }
    let port = line.split("127.0.0.1:").nth(1).unwrap().trim().trim_end_matches('/').parse().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Nothing moves at first. Later, things pass until the program ends.
    let moves = Arc::new(AtomicBool::new(false));
    let begin = moves.clone();
    let writer = std::thread::spawn(move || {
        let scene = y4m(60, |frame| passage(frame, 0).into_iter().collect());
        let still = y4m(60, |_| Vec::new());
        let head = still.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let mut sent = stdin.write_all(&still);
        while sent.is_ok() {
            let frames = if begin.load(Ordering::Relaxed) { &scene } else { &still };
            sent = stdin.write_all(&frames[head..]);
        }
    });
    let (answer, camera) = get(port, "/camera.jpg");
    assert!(answer.contains("image/jpeg") && camera.starts_with(&[0xFF, 0xD8]), "{answer}");
    let (answer, _) = get(port, "/frame.jpg");
    assert!(answer.starts_with("HTTP/1.1 503"), "nothing was cut yet: {answer}");
    moves.store(true, Ordering::Relaxed);
    let cut = (0..20).map(|_| get(port, "/frame.jpg")).find(|(answer, _)| answer.contains("image/jpeg"));
    assert!(cut.is_some_and(|(_, jpeg)| jpeg.starts_with(&[0xFF, 0xD8])), "no cut was shown");
    let (_, metrics) = get(port, "/metrics");
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("oltr_inference_duration_seconds_count"), "{metrics}");
    child.kill().unwrap();
    child.wait().unwrap();
    writer.join().unwrap();
}

#[test]
fn streams_of_one_frame_and_of_black_ones_are_streams() {
    let place = Place::new();
    let whole = y4m(1, |_| Vec::new());
    let mut black = y4m(40, |_| Vec::new());
    let head = black.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for frame in black[head..].chunks_mut((super::scene::WIDTH * super::scene::HEIGHT * 3 / 2) as usize + 6) {
        frame[6..6 + (super::scene::WIDTH * super::scene::HEIGHT) as usize].fill(0);
    }
    for (name, bytes, frames) in [("one.y4m", &whole, 1), ("black.y4m", &black, 40)] {
        fs::write(place.path().join(name), bytes).unwrap();
        let ran = place.run(&["stream", "--things", "--json", "--model", "tiny.onnx", name]);
        assert_eq!(ran.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
        let lines = lines(&ran.stdout);
        let stats = of(&lines, "oltr.stats/1").last().copied().cloned().unwrap();
        assert_eq!(
            (&stats["captured"], &stats["classified"], &stats["events"]),
            (&frames.into(), &frames.into(), &0.into())
        );
        // No cut, no time of the network.
        assert!(stats["interval"]["inference_ms"]["mean"].is_null(), "{name}: {stats}");
        assert!(of(&lines, "oltr.event/1").is_empty(), "{name}");
    }
    let lines = place.lines(&[]);
    let stats = of(&lines, "oltr.stats/1").last().copied().cloned().unwrap();
    let of = &stats["interval"]["inference_ms"];
    // Most frames have no crop: a mean over all frames would be far lower.
    assert!(of["mean"].as_f64().unwrap() > 0.0 && of["max"].as_f64() >= of["mean"].as_f64(), "{stats}");
}
