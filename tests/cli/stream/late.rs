//! Sources that come late or never, that another program must open, or that are recordings.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::super::common::tiny;
use super::super::{Folder, command, oltr, oltr_with_input};
use super::{ended, of, send, y4m};

/// Only against a hang.
const SOON: Duration = Duration::from_secs(60);

fn fifo(folder: &Folder) -> String {
    let path = folder.path("frames");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[test]
fn a_service_is_ready_before_its_source() {
    let folder = Folder::new();
    let (fifo, path) = (fifo(&folder), folder.path("notify"));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut child = command(&["stream", "--json", "--per-frame", "--reconnect", "--overflow", "block", &fifo])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let hear = || {
        let mut bytes = [0; 256];
        let n = socket.recv(&mut bytes).expect("the program says something");
        String::from_utf8(bytes[..n].to_vec()).unwrap().trim().to_string()
    };
    assert_eq!([hear(), hear(), hear()], ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    // It answers, and reports that there is no writer.
    send("USR1", &child);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let stats: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&stats["schema"], &stats["connected"]), (&"oltr.stats/1".into(), &false.into()));
    File::options().write(true).open(&fifo).unwrap().write_all(&y4m(3)).unwrap();
    let frame: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&frame["schema"], &frame["seq"]), (&"oltr.frame/1".into(), &1.into()));
    send("TERM", &child);
    ended(child, SOON).code(0);

    // A stop ends the wait.
    let child = command(&["stream", &fifo]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    send("TERM", &child);
    ended(child, SOON).code(0);
}

#[test]
fn a_source_that_does_not_come_is_unavailable() {
    let folder = Folder::new();
    let fifo = fifo(&folder);
    oltr(&["stream", "--source-timeout", "1s", &fifo]).code(69).says(&["is silent"]);
    let camera = "v4l2:/dev/video987";
    if cfg!(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64")) {
        oltr(&["stream", camera]).code(69).says(&["/dev/video987"]);
        oltr(&["stream", "--reconnect=2", camera]).code(69).says(&["trying again in 0.5 s", "trying again in 1.0 s"]);
    }
    oltr(&["stream", "--reconnect=1", "nowhere.y4m"]).code(66).says(&["trying again"]);
    // An input that ended for good is not retried.
    oltr_with_input(&["stream", "--reconnect", "-"], b"").code(69);
}

/// A disk hangs when the source is opened. Needs strace to delay the system call.
#[test]
fn a_source_whose_opening_hangs_is_reported_in_time() {
    let folder = Folder::new();
    let clip = folder.file("clip.y4m", &y4m(1));
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-P", &clip, "-e", "trace=open,openat"]);
    command.args(["-e", "inject=open,openat:delay_enter=60000000", env!("CARGO_BIN_EXE_oltr"), "stream", "--json"]);
    command.args(["--source-timeout", "1s", &clip]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("skipped: strace is not installed");
        return;
    };
    // The program has ended when it closes its output, though strace still waits for the call.
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        said += &line;
        if line.contains("does not answer") {
            break;
        }
        if line.contains("ptrace") {
            println!("skipped: {line}");
            break;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    assert!(said.contains("does not answer") || said.contains("ptrace"), "{said}");
}

#[test]
fn what_other_programs_open_gets_their_command() {
    let rtsp = oltr(&["stream", "--json", "--max-fps", "2", "rtsp://user:it's@cam/1?a=b&c"]).code(78);
    rtsp.says(&[
        r"ffmpeg -nostdin -v error -rtsp_transport tcp -i 'rtsp://user:it'\''s@cam/1?a=b&c' -an -pix_fmt yuv420p",
        "-f yuv4mpegpipe - | oltr stream --json --max-fps 2 -",
    ]);
    oltr(&["stream", "http://cam/video.mp4"]).code(78).says(&["ffmpeg -nostdin", "-i http://cam/video.mp4 -an"]);
    let camera = oltr(&["stream", "0"]).code(78);
    match cfg!(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64")) {
        true => camera.says(&["oltr stream v4l2:/dev/video0"]),
        false => camera.says(&["ffmpeg -nostdin -v error -f v4l2 -i /dev/video0"]),
    };
    oltr(&["stream", "/dev/video7"]).code(78).says(&["/dev/video7"]);
    let folder = Folder::new();
    let clip = folder.file("a clip.mp4", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2");
    let quoted = format!("ffmpeg -nostdin -v error -i '{clip}' -an");
    oltr(&["stream", &clip]).code(65).says(&["MP4", &quoted, "| oltr stream --recording -"]);
}

#[test]
fn a_recording_is_taken_whole_and_with_its_own_times() {
    let folder = Folder::new();
    // 50 frames of 25 a second, through a pipe and as a file.
    let clip = folder.file("clip.y4m", &y4m(50));
    let piped = oltr_with_input(&["stream", "--json", "--per-frame", "--recording", "-"], &y4m(50)).code(0);
    let file = oltr(&["stream", "--json", "--per-frame", &clip]).code(0);
    for ran in [piped, file] {
        assert_eq!(ran.stderr, "");
        let lines = ran.json();
        let frames = of(&lines, "oltr.frame/1");
        assert_eq!(frames.len(), 50);
        let times: Vec<u64> = frames.iter().map(|f| f["mono_ns"].as_u64().unwrap()).collect();
        assert!(times.windows(2).all(|t| t[1] - t[0] == 40_000_000), "{times:?}");
        assert!(frames.iter().all(|f| f["age_ms"].as_f64().unwrap() < 60_000.0));
        let events = of(&lines, "oltr.event/1");
        assert_eq!(events.last().unwrap()["duration_ms"], 49.0 * 40.0);
    }
}

#[test]
fn a_pipe_that_was_thinned_out_says_what_to_do() {
    // Without a limit of its own the program is slower than a pipe.
    let ran = oltr_with_input(&["stream", "-"], &y4m(2000)).code(0);
    ran.says(&["dropped", "--recording", "--overflow block"]);
}

#[test]
fn a_hangup_ends_the_stream_as_a_stop_does() {
    // The tests themselves may run with the signal ignored.
    let mut child = Command::new("env")
        .args(["--default-signal=HUP", env!("CARGO_BIN_EXE_oltr"), "stream", "--json", "--overflow", "block", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&y4m(4)).unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    assert!(text.contains(r#""type":"new""#), "{text}");
    send("HUP", &child);
    reader.read_to_string(&mut text).unwrap();
    ended(child, SOON).code(0);
    assert!(text.contains(r#""type":"end""#) && text.contains(r#""last":true"#), "{text}");
    drop(stdin);

    // A program started to outlive its terminal does so.
    let line = format!("trap '' HUP; exec {} stream --json --overflow block -", env!("CARGO_BIN_EXE_oltr"));
    let mut child = Command::new("sh")
        .args(["-c", &line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&y4m(4)).unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut text).unwrap();
    send("HUP", &child);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it went on");
    drop(stdin);
    ended(child, SOON).code(0);
}

/// A request for statistics ends no command, even one without statistics.
#[test]
fn a_request_for_statistics_kills_nothing() {
    let mut child = command(&["classify", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // The titles appear when the model is loaded. Then the program waits.
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    send("USR1", &child);
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    assert!(child.wait().unwrap().code().is_some());
}

/// Standard output was made non-blocking by another process, and its reader is slow.
#[test]
fn a_pipe_that_does_not_block_is_waited_for() {
    let folder = Folder::new();
    let model = folder.file("tiny.onnx", &tiny::bundle().encode());
    let clip = folder.file("clip.gray", &[7; 64 * 1000]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::WRONLY).unwrap();
    let args = ["stream", "--json", "--per-frame", "--model", &model, "--format", "grey", "--size", "8x8", &clip];
    let mut command = command(&args);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    // The command holds the writing end open.
    drop(command);
    // Long enough for the pipe to fill, and for a program that does not wait to fail.
    std::thread::sleep(Duration::from_secs(1));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    ended(child, SOON).code(0);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(lines.filter(|line| line["schema"] == "oltr.frame/1").count(), 1000);
}

/// A class id of 40 kB makes long lines, not the end of the stream.
#[test]
fn a_long_name_of_a_class_ends_no_stream() {
    let folder = Folder::new();
    let mut model = tiny::bundle();
    let classes: Vec<Value> = (0..tiny::CLASSES)
        .map(|n| serde_json::json!({"id": "x".repeat(40_000) + &n.to_string(), "name": "x", "train_count": 20}))
        .collect();
    model.set("oltr.classes", &serde_json::to_string(&classes).unwrap());
    let model = folder.file("long.onnx", &model.encode());
    let clip = folder.file("clip.gray", &[7; 64 * 20]);
    let args = ["stream", "--json", "--per-frame", "--model", &model, "--format", "gray", "--size", "8x8", &clip];
    let ran = oltr(&args).code(0);
    assert!(ran.stdout.lines().all(|line| line.len() < 32 << 10));
    let lines = ran.json();
    assert_eq!(of(&lines, "oltr.frame/1").len(), 20);
    assert!(!of(&lines, "oltr.event/1").is_empty() && lines.iter().any(|line| line["shortened"] == true));
}
