//! Signals, statistics and the service manager.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::{Folder, command};
use super::{ended, send, start, y4m};

#[test]
fn a_signal_ends_the_stream_after_the_frame_in_hand() {
    for signal in ["TERM", "INT"] {
        let mut child = start(&["--json", "--per-frame", "--overflow", "block", "-"]);
        let mut stdin = child.stdin.take().unwrap();
        // More than the pipe and the program hold, so that it is always in the middle of a frame.
        std::thread::spawn(move || {
            let _ = stdin.write_all(&y4m(5000));
        });
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        for _ in 0..5 {
            reader.read_line(&mut text).unwrap();
        }
        let asked = Instant::now();
        send(signal, &child);
        reader.read_to_string(&mut text).unwrap();
        ended(child, Duration::from_secs(5)).code(0);
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        let count = |name: &str| last[name].as_u64().unwrap();
        assert_eq!(
            (&last["schema"], count("captured")),
            (&"oltr.stats/1".into(), count("classified") + count("dropped"))
        );
        assert_eq!(count("classified"), super::of(&lines, "oltr.frame/1").len() as u64);
        // Each event that began has an end.
        let types = |t: &str| super::of(&lines, "oltr.event/1").iter().filter(|e| e["type"] == t).count();
        assert!(types("new") == 1 && types("end") == 1, "{text}");
    }
}

#[test]
fn a_signal_ends_the_program_that_waits_for_frames() {
    // Before the first byte, and between two frames.
    for bytes in [vec![], y4m(2)] {
        let mut child = start(&["--json", "--per-frame", "-"]);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes).unwrap();
        if bytes.is_empty() {
            std::thread::sleep(Duration::from_millis(300));
        } else {
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        }
        let asked = Instant::now();
        send("TERM", &child);
        ended(child, Duration::from_secs(5)).code(0);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        drop(stdin);
    }
}

#[test]
fn statistics_come_on_request_and_on_time() {
    // Without output, the timeout of the silent source ends the wait.
    let mut child = start(&["--json", "--overflow", "block", "--source-timeout", "20s", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&y4m(4)).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The event shows that the stream runs.
    assert!(lines.next().unwrap().unwrap().contains("oltr.event/1"));
    send("USR1", &child);
    let line = lines.find(|line| line.as_ref().unwrap().contains("oltr.stats/1")).unwrap().unwrap();
    let stats: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&stats["last"], &stats["connected"]), (&false.into(), &true.into()));
    send("TERM", &child);
    ended(child, Duration::from_secs(5)).code(0);
    drop(stdin);

    let mut child = start(&["--stats-interval", "200ms", "--source-timeout", "20s", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&y4m(2)).unwrap();
    // For people, statistics go to stderr, next to the results.
    let mut said = BufReader::new(child.stderr.take().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("captured") && line.contains("dropped"), "{line}");
    }
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(stdin);
}

#[test]
fn the_service_manager_is_notified() {
    let folder = Folder::new();
    let path = folder.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut child = command(&["stream", "--json", "-"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&y4m(1)).unwrap();
    let hear = || {
        let mut bytes = [0; 256];
        let n = socket.recv(&mut bytes).expect("the program says something");
        String::from_utf8(bytes[..n].to_vec()).unwrap().trim().to_string()
    };
    assert_eq!(hear(), "READY=1");
    // The stream is silent, and yet the program is alive.
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1");
    }
    send("TERM", &child);
    let last = std::iter::repeat_with(hear).find(|said| said != "WATCHDOG=1").unwrap();
    assert_eq!(last, "STOPPING=1");
    ended(child, Duration::from_secs(5)).code(0);
    drop(stdin);
}

/// The package's service runs a valid command line, the same in the unit and in the settings file. It writes little: a
/// lasting thing is updated every few minutes, not every second.
#[test]
fn the_shipped_service_starts_the_program_and_writes_little() {
    let read = |name: &str| std::fs::read_to_string(super::super::package("cross/debian").join(name)).unwrap();
    let arguments = |name: &str| {
        let text = read(name);
        let (_, rest) = text.split_once("OLTR_ARGUMENTS=").unwrap();
        rest.lines().next().unwrap().trim_matches('"').to_string()
    };
    for (unit, settings) in [("oltr.service", "oltr.conf"), ("pipe.conf", "oltr.pipe.conf")] {
        let given = arguments(unit);
        assert_eq!(given, arguments(settings), "{unit}");
        let words: Vec<&str> = given.split_whitespace().collect();
        super::super::oltr(&[&["stream", "--json"], &words[..], &["--help"]].concat()).code(0);
        let interval = words.iter().position(|word| *word == "--update-interval").map(|at| words[at + 1]);
        assert!(humantime::parse_duration(interval.unwrap()).unwrap() >= Duration::from_secs(60), "{given}");
    }
    // Events are stored in the folder that the service may write to, and much of a card stays free.
    for place in ["oltr.service", "oltr.conf", "oltr.pipe.conf"] {
        let text = read(place);
        let (_, kept) = text.split_once("OLTR_STORE=").unwrap();
        let kept = kept.strip_prefix('"').unwrap_or(kept);
        // The conf's comment shows an empty one first.
        let kept = if kept.starts_with('"') { kept.split_once("OLTR_STORE=\"").unwrap().1 } else { kept };
        let words: Vec<&str> = kept.split(['"', '\n']).next().unwrap().split_whitespace().collect();
        let bounds = ["--store", "store", "--store-size", "256MiB", "--store-free", "500MiB", "--store-day", "512MiB"];
        assert_eq!(words, [&bounds[..], &["--deployment", "/etc/oltr/deployment.toml"]].concat(), "{place}");
        super::super::oltr(&[&["stream", "--json"], &words[..], &["--help"]].concat()).code(0);
    }
    assert!(
        read("oltr.service").contains("$OLTR_STORE $OLTR_PAGE $OLTR_SOURCE")
            && read("pipe.conf").contains("$$OLTR_STORE $$OLTR_PAGE -")
    );
    let unit = read("oltr.service");
    let number = |key: &str| {
        let value = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        humantime::parse_duration(value.unwrap_or_else(|| panic!("{key} is missing"))).unwrap()
    };
    // At most 2,880 starts a day, whatever fails.
    assert!(number("RestartSec") >= Duration::from_secs(30));
    assert!(read("oltr.conf").contains("--reconnect") && read("oltr.pipe.conf").contains("-nostdin"));
}

#[test]
fn a_terminal_shows_a_line_that_is_always_up_to_date() {
    let folder = Folder::new();
    let clip = folder.file("clip.y4m", &y4m(30));
    let line = format!("stty cols 120; {} stream --max-fps 30 {clip}", env!("CARGO_BIN_EXE_oltr"));
    let run = std::process::Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    let Ok(output) = run else {
        println!("skipped: script (of util-linux) is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\r\x1b[K> ") && text.contains("in progress:"), "{text}");
    assert!(text.contains("event 1") && text.contains("30 frames, 0 dropped"), "{text}");
}
