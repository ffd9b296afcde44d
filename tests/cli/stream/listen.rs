//! `--listen`: the page, and misbehaving clients; `--on-event`.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::ChildStderr;

use super::*;

/// A stream of photos of a cup with a page at `address`, and the page's token.
struct Watched {
    child: Child,
    port: u16,
    token: String,
    stderr: BufReader<ChildStderr>,
    pump: std::thread::JoinHandle<()>,
}

impl Watched {
    fn start(address: &str, more: &[&str]) -> Watched {
        Watched::of(address, more, vec![super::super::cup()])
    }

    /// A stream of `photos`, each for some frames.
    fn of(address: &str, more: &[&str], photos: Vec<Vec<u8>>) -> Watched {
        let args = [&["--json", "--listen", address, "--max-fps", "20", "--overflow", "block", "-"], more].concat();
        let mut child = start(&args);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut input = child.stdin.take().unwrap();
        // Until the program ends.
        let pump = std::thread::spawn(move || {
            let mut frames = photos.iter().cycle().flat_map(|photo| std::iter::repeat_n(photo, 30));
            while frames.next().is_some_and(|photo| input.write_all(photo).is_ok()) {}
        });
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the program prints no address");
        }
        let url = line.split("http://").nth(1).unwrap().trim();
        let (place, token) = url.split_once("/?token=").unwrap_or((url.trim_end_matches('/'), ""));
        let port = place.rsplit_once(':').unwrap().1.parse().unwrap();
        Watched { port, token: token.into(), child, stderr, pump }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// The whole answer to `request`, as bytes.
    fn ask(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn get(&self, path: &str) -> (String, Vec<u8>) {
        let host = format!("127.0.0.1:{}", self.port);
        let answer = self.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("{path}: no answer"));
        (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
    }

    fn end(mut self) -> (Option<i32>, String) {
        send("TERM", &self.child);
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let code = self.child.wait().unwrap().code();
        self.pump.join().unwrap();
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (code, stdout)
    }
}

#[test]
fn the_signal_of_drift_goes_on_after_a_restart_beside_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    let options = ["--linger", "100ms", "--store", &store, "--store-size", "8MiB"];
    let events = |more: &[&str], least: u64| {
        // Pictures that the events change with.
        let coins = std::fs::read("examples/photos/coins.jpg").unwrap();
        let watched = Watched::of("127.0.0.1:0", more, vec![super::super::cup(), coins]);
        let begin = std::time::Instant::now();
        loop {
            let (_, body) = watched.get("/metrics");
            let body = String::from_utf8(body).unwrap();
            let line = body.lines().find_map(|line| line.strip_prefix("oltr_drift_events ")).unwrap().to_string();
            let now: u64 = line.parse().unwrap();
            if now >= least {
                watched.end();
                return now;
            }
            assert!(begin.elapsed() < Duration::from_secs(90), "{now} events");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert!(events(&options, 2) >= 2);
    let kept: Value = serde_json::from_slice(&std::fs::read(folder.path().join("store/drift.json")).unwrap()).unwrap();
    let last = kept["last"].as_array().unwrap().len() as u64;
    assert!(kept["schema"] == "oltr.drift/1" && last >= 2, "{kept}");
    // At once, with no event of its own.
    assert!(events(&options, 0) >= last);
    assert_eq!(events(&[], 0), 0, "without a store");
}

#[test]
fn a_page_shows_what_the_network_sees() {
    let watched = Watched::start("127.0.0.1:0", &[]);
    let (head, page) = watched.get("/");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("Content-Security-Policy"), "{head}");
    assert!(String::from_utf8(page).unwrap().contains("<html lang=\"en\">"));
    for path in ["/frame.jpg", "/camera.jpg"] {
        let (head, jpeg) = watched.get(path);
        assert!(head.contains("image/jpeg") && jpeg.starts_with(&[0xFF, 0xD8, 0xFF]), "{path}: {head}");
    }
    let (head, jpeg) = watched.get("/frame.jpg");
    assert!(head.contains("200"), "{head}");
    let picture = image::load_from_memory(&jpeg).unwrap();
    assert_eq!(picture.width(), picture.height());

    // Events arrive as they happen, with frame figures in between.
    let mut stream = watched.connect();
    let host = format!("127.0.0.1:{}", watched.port);
    stream.write_all(format!("GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    let (mut event, mut numbers) = (Value::Null, Value::Null);
    let mut kind = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if line.is_empty() {
            kind.clear();
        } else if let Some(name) = line.strip_prefix("event: ") {
            kind = name.into();
        } else if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            if kind == "frame" { numbers = data } else { event = data }
        }
        if !event.is_null() && numbers["numbers"]["sharpness"].as_f64().is_some_and(|s| s > 0.0) {
            break;
        }
    }
    assert_eq!((event["schema"].as_str(), event["type"].as_str()), (Some("oltr.event/1"), Some("new")));
    let of = &numbers["numbers"];
    assert_eq!((of["label"].as_str(), of["decision"].as_str()), (Some("cup"), Some("known")));
    assert!(
        of["reachability"].as_f64().unwrap() >= of["threshold"].as_f64().unwrap() && of["width"].as_u64() > Some(0)
    );

    let (head, metrics) = watched.get("/metrics");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let metrics = String::from_utf8(metrics).unwrap();
    for name in ["oltr_build_info{", "oltr_frames_captured_total ", "oltr_inference_duration_seconds_count "] {
        assert!(metrics.contains(&format!("\n{name}")), "{name} in {metrics}");
    }
    assert!(metrics.contains("oltr_events_total{decision=\"known\","), "{metrics}");
    checked_by_prometheus(&metrics);
    let (head, health) = watched.get("/health");
    let health: Value = serde_json::from_slice(&health).unwrap();
    assert!(head.contains("200") && health["status"] == "ok", "{health}");
    let (code, stdout) = watched.end();
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let new = of_type(&lines, "new");
    assert_eq!(new[0]["id"], event["id"], "the same event has the same name everywhere");
}

#[test]
fn events_have_pictures_while_somebody_looks() {
    let moon = std::fs::read("examples/photos/moon.jpg").unwrap();
    let watched = Watched::of("127.0.0.1:0", &["--linger", "1s"], vec![super::super::cup(), moon]);
    let end = Instant::now() + Duration::from_secs(120);
    let picture = loop {
        assert!(Instant::now() < end, "no event has a picture");
        let _ = watched.get("/frame.jpg");
        let mut all = (0..40).map(|id| watched.get(&format!("/event.jpg?id={id}")));
        if let Some((_, jpeg)) = all.find(|(head, _)| head.starts_with("HTTP/1.1 200")) {
            break image::load_from_memory(&jpeg).unwrap();
        }
    };
    assert!(picture.width() <= 96 && picture.width() == picture.height());
    for nothing in ["/event.jpg", "/event.jpg?id=x", "/event.jpg?id=99999"] {
        assert!(watched.get(nothing).0.starts_with("HTTP/1.1 404"), "{nothing}");
    }
    assert_eq!(watched.end().0, Some(0));
}

fn of_type<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    of(lines, "oltr.event/1").into_iter().filter(|line| line["type"] == kind).collect()
}

/// Checks `metrics` with promtool, if it is installed.
fn checked_by_prometheus(metrics: &str) {
    let mut command = std::process::Command::new("promtool");
    let spawned =
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = spawned.spawn() else {
        eprintln!("SKIPPED: promtool is not installed; the format is checked by a unit test");
        return;
    };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && text.trim().is_empty(), "{text}");
}

#[test]
fn clients_that_do_everything_wrong_are_answered_or_left() {
    let watched = Watched::start("127.0.0.1:0", &[]);
    let status =
        |request: &[u8]| String::from_utf8_lossy(&watched.ask(request)).chars().skip(9).take(3).collect::<String>();
    let host = format!("Host: 127.0.0.1:{}\r\n", watched.port);
    let of = |line: &str| status(format!("{line} HTTP/1.1\r\n{host}\r\n").as_bytes());
    assert_eq!(of("GET /nowhere"), "404");
    assert_eq!(of("DELETE /"), "405");
    assert_eq!(of("GET /../../etc/passwd"), "404");
    // A name that was made to lead here.
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "403");
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n"), "400");
    let huge = format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(["431", ""].contains(&status(huge.as_bytes()).as_str()));
    // Half requests, and clients that do not read: more than the server answers at once. Frames
    // continue.
    let half: Vec<TcpStream> = (0..50)
        .map(|i| {
            let mut stream = watched.connect();
            let text = if i % 2 == 0 { "GET / HT" } else { "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n" };
            let _ = stream.write_all(text.as_bytes());
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    drop(half);
    let until = Instant::now() + Duration::from_secs(90);
    while of("GET /health") != "200" {
        assert!(Instant::now() < until, "the page is not answered any more");
        std::thread::sleep(Duration::from_millis(200));
    }
    let (code, stdout) = watched.end();
    assert_eq!(code, Some(0));
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stats = of_schema(&lines);
    assert!(stats["frames"]["captured"].as_u64().or(stats["captured"].as_u64()) > Some(3), "{stats}");
}

fn of_schema(lines: &[Value]) -> &Value {
    of(lines, "oltr.stats/1").last().unwrap()
}

#[test]
fn others_than_this_machine_need_the_token() {
    let watched = Watched::start("0.0.0.0:0", &[]);
    assert_eq!(watched.token.len(), 32);
    for path in
        ["/", "/frame.jpg", "/events", "/metrics", "/health", "/?token=", "/?token=00000000000000000000000000000000"]
    {
        assert!(watched.get(path).0.starts_with("HTTP/1.1 401"), "{path}");
    }
    let (head, _) = watched.get(&format!("/?token={}", watched.token));
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("Set-Cookie: oltr-"), "{head}");
    let bearer = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", watched.token);
    assert!(watched.ask(bearer.as_bytes()).starts_with(b"HTTP/1.1 200"));
    assert_eq!(watched.end().0, Some(0));
}

#[test]
fn an_address_in_use_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = oltr_with_input(&["stream", "--listen", &address, "-"], &y4m(1));
    assert_eq!(ran.code, Some(69), "{}", ran.stderr);
    assert!(ran.stderr.contains("--listen"), "{}", ran.stderr);
}

#[test]
fn a_command_gets_each_event() {
    let folder = Folder::new();
    let file = folder.path("seen.jsonl");
    let photo = super::super::cup();
    let command = format!("cat >> '{}'; echo said", file);
    let args = ["stream", "--json", "--recording", "--fps", "5", "--on-event", &command, "-"];
    let ran = oltr_with_input(&args, &photo.repeat(6));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let read = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let seen = read(&std::fs::read_to_string(&file).unwrap());
    let types: Vec<&str> = seen.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["new", "end"]);
    assert_eq!(seen[1]["label"], "cup");
    // The command's output is not a result.
    let lines = read(&ran.stdout);
    assert_eq!(of_type(&lines, "end")[0]["id"], seen[1]["id"]);
    // A failing command costs nothing but a log line.
    let args = ["stream", "--json", "--recording", "--fps", "5", "--on-event", "exit 3", "-"];
    let ran = oltr_with_input(&args, &photo.repeat(6));
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("--on-event: 2 commands failed"), "{}", ran.stderr);
}
