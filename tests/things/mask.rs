//! `--mask` on the page of `oltr stream --listen`: drawn while a stream runs, by permitted clients, to the named
//! file.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::tiny;
use super::scene::{HEIGHT, WIDTH, passage, y4m};

/// Frames from one passage to the next.
const PERIOD: u64 = 80;

/// A stream of passages, one after another, until it is stopped.
struct Stream {
    child: Child,
    port: u16,
    token: String,
    lines: Arc<Mutex<Vec<Value>>>,
    folder: tempfile::TempDir,
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tiny.onnx"), tiny::bundle().encode()).unwrap();
    folder
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oltr"));
    command
        .current_dir(folder)
        .args(["stream", "--things", "--json", "--model", "tiny.onnx", "--recording"])
        .args(args);
    command.env_remove("OLTR_MODEL").stdin(Stdio::null());
    command
}

impl Stream {
    fn start(address: &str, args: &[&str]) -> Stream {
        let folder = folder();
        let mut command = command(folder.path(), args);
        command.args(["--listen", address, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // The first seconds show the ground alone. A frame every 5 ms, until the program ends.
        std::thread::spawn(move || {
            let ground = y4m(40, |_| Vec::new());
            let whole = y4m(PERIOD, |frame| passage(frame, 10).into_iter().collect());
            let head = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let frame = (whole.len() - head) / PERIOD as usize;
            let mut going = input.write_all(&ground).is_ok();
            while going {
                going = whole[head..].chunks(frame).all(|frame| {
                    std::thread::sleep(Duration::from_millis(5));
                    input.write_all(frame).is_ok()
                });
            }
        });
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the program prints no address");
        }
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let url = line.split("http://").nth(1).unwrap().trim();
        let (place, token) = url.split_once("/?token=").unwrap_or((url.trim_end_matches('/'), ""));
        let port = place.rsplit_once(':').unwrap().1.parse().unwrap();
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (mine, stdout) = (lines.clone(), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                mine.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Stream { port, token: token.into(), child, lines, folder }
    }

    fn mask(&self) -> PathBuf {
        self.folder.path().join("mask.png")
    }

    fn ask(&self, request: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // A refused upload need not be read to its end.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no answer"));
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", self.port).as_bytes())
    }

    /// Puts `body` with the headers of a browser on the page itself, and `more`.
    fn put(&self, body: &[u8], more: &str) -> (u16, String) {
        self.send("PUT", "Content-Type: image/png\r\n", body, more)
    }

    fn send(&self, method: &str, kind: &str, body: &[u8], more: &str) -> (u16, String) {
        let (port, length) = (self.port, body.len());
        let head = format!(
            "{method} /mask.png HTTP/1.1\r\nHost: localhost:{port}\r\n{kind}Content-Length: {length}\r\n{more}\r\n"
        );
        let (status, said) = self.ask(&[head.as_bytes(), body].concat());
        (status, String::from_utf8_lossy(&said).into_owned())
    }

    /// Frames so far, and events that began.
    fn seen(&self) -> (u64, usize) {
        let (status, metrics) = self.get("/metrics");
        assert_eq!(status, 200);
        let metrics = String::from_utf8(metrics).unwrap();
        let frames = metrics.lines().find_map(|line| line.strip_prefix("oltr_frames_classified_total ")).unwrap();
        let lines = self.lines.lock().unwrap();
        (frames.parse().unwrap(), lines.iter().filter(|line| line["type"] == "new").count())
    }

    /// The events that began in the next `passages` passages.
    fn events_of(&self, passages: u64) -> usize {
        let (frames, before) = self.seen();
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let (now, events) = self.seen();
            if now >= frames + passages * PERIOD {
                return events - before;
            }
            assert!(Instant::now() < end, "frames do not go on");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A picture with black rows within `hidden`.
fn picture(width: u32, height: u32, hidden: std::ops::Range<u32>) -> Vec<u8> {
    let luma = |_, y| image::Luma([if hidden.contains(&y) { 0u8 } else { 255 }]);
    let mut png = std::io::Cursor::new(Vec::new());
    image::ImageBuffer::from_fn(width, height, luma).write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn a_mask_that_is_drawn_holds_at_once_and_after_a_restart() {
    let stream = Stream::start("127.0.0.1:0", &["--mask", "mask.png", "--allow-mask"]);
    assert!(stream.events_of(4) > 0, "nothing is found where all is looked at");
    // The mask before the first upload.
    let (status, shown) = stream.get("/mask.png");
    let shown = image::load_from_memory(&shown).unwrap().to_luma8();
    assert_eq!((status, shown.dimensions()), (200, (WIDTH, HEIGHT)));
    assert!(shown.pixels().all(|pixel| pixel.0 == [255]) && !stream.mask().exists());

    let hides = picture(WIDTH, HEIGHT, 60..160);
    let (status, said) = stream.put(&hides, &format!("Origin: http://localhost:{}\r\n", stream.port));
    assert_eq!(status, 200, "{said}");
    // Things in view at that moment end.
    stream.events_of(2);
    assert_eq!(stream.events_of(4), 0, "something is found where nothing is looked at");
    let saved = image::open(stream.mask()).unwrap().to_luma8();
    assert_eq!(saved.dimensions(), (WIDTH, HEIGHT));
    assert!(saved.enumerate_pixels().all(|(_, y, pixel)| (pixel.0 == [0]) == (60..160).contains(&y)));
    assert_eq!(stream.get("/mask.png").1, fs::read(stream.mask()).unwrap());

    // It is a mask for the next start, with other frames and without a page.
    let film = y4m(200, |frame| passage(frame, 100).into_iter().collect());
    fs::write(stream.folder.path().join("scene.y4m"), film).unwrap();
    let ran = command(stream.folder.path(), &["--mask", "mask.png", "scene.y4m"]).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success() && !said.contains("oltr.event/1"), "{said}");

    // And is taken back.
    assert_eq!(stream.put(&picture(WIDTH, HEIGHT, 0..2), "").0, 200);
    assert!(stream.events_of(4) > 0, "nothing is found where all is looked at again");
    assert_eq!(fs::read_dir(stream.folder.path()).unwrap().count(), 3, "something is left beside the mask");
}

#[test]
fn nothing_is_written_that_was_not_allowed() {
    let white = picture(WIDTH, HEIGHT, 0..0);
    let none = Stream::start("127.0.0.1:0", &[]);
    assert_eq!((none.put(&white, "").0, none.get("/mask.png").0), (404, 404));
    drop(none);
    let folder = folder();
    let mask = folder.path().join("shown.png");
    let before = picture(64, 48, 0..10);
    fs::write(&mask, &before).unwrap();
    let shown = Stream::start("127.0.0.1:0", &["--mask", mask.to_str().unwrap()]);
    let (status, said) = shown.put(&white, "");
    assert!(status == 403 && said.contains("--allow-mask"), "{said}");
    // It is shown, though.
    let (status, picture) = shown.get("/mask.png");
    let picture = image::load_from_memory(&picture).unwrap().to_luma8();
    assert!(status == 200 && picture.get_pixel(3, 3).0 == [0] && picture.get_pixel(3, 200).0 == [255]);
    assert_eq!(fs::read(&mask).unwrap(), before);
}

#[test]
fn pages_of_others_and_bodies_that_are_no_mask_change_nothing() {
    let stream = Stream::start("127.0.0.1:0", &["--mask", "mask.png", "--allow-mask"]);
    let white = picture(WIDTH, HEIGHT, 0..0);
    // As sent by another page, or a form on it.
    for from in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(stream.put(&white, from).0, 403, "{from}");
    }
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: multipart/form-data; boundary=x\r\n"] {
        assert_eq!(stream.send("PUT", kind, &white, "").0, 403, "{kind}");
    }
    let host = format!(
        "PUT /mask.png HTTP/1.1\r\nHost: evil.example:{}\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n",
        stream.port,
        white.len()
    );
    assert_eq!(stream.ask(&[host.as_bytes(), &white].concat()).0, 403);
    let png = "Content-Type: image/png\r\n";
    for (method, status) in [("POST", 405), ("DELETE", 405), ("PATCH", 405), ("OPTIONS", 405)] {
        assert_eq!(stream.send(method, png, &white, "").0, status, "{method}");
    }
    // Not a picture of this size.
    let mut truncated = white.clone();
    truncated.truncate(white.len() - 20);
    let mut bomb = white.clone();
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let jpeg = fs::read("examples/photos/cup.jpg").unwrap();
    for (what, body, status) in [
        ("nothing", &b""[..], 422),
        ("no picture", b"x", 422),
        ("a JPEG", &jpeg[..jpeg.len().min(100_000)], 422),
        ("half a picture", &truncated, 422),
        ("a picture with a huge size in its header", &bomb, 422),
        ("another size", &picture(640, 480, 0..9), 422),
        ("all black", &picture(WIDTH, HEIGHT, 0..HEIGHT), 422),
        ("too much", &[7; 200 << 10], 413),
    ] {
        let (said, text) = stream.put(body, "");
        assert_eq!(said, status, "{what}: {text}");
        assert!(text.contains("error"), "{what}: {text}");
    }
    let (_, said) = stream.put(&picture(640, 480, 0..9), "");
    assert!(said.contains("640x480") && said.contains("320x240"), "{said}");
    // Half a request.
    let mut half = TcpStream::connect(("127.0.0.1", stream.port)).unwrap();
    let head = format!(
        "PUT /mask.png HTTP/1.1\r\nHost: localhost:{}\r\n{png}Content-Length: {}\r\n\r\n",
        stream.port,
        white.len()
    );
    half.write_all(&[head.as_bytes(), &white[..40]].concat()).unwrap();
    drop(half);
    // A wrong length.
    assert_eq!(stream.send("PUT", png, &white, "Content-Length: 3\r\n").0, 400);
    assert!(!stream.mask().exists());
    // Something else replaced the file since the start.
    for target in ["elsewhere", "/dev/null"] {
        symlink(target, stream.mask()).unwrap();
        assert_eq!(stream.put(&white, "").0, 500, "{target}");
        assert!(fs::symlink_metadata(stream.mask()).unwrap().is_symlink());
        fs::remove_file(stream.mask()).unwrap();
    }
    assert_eq!(fs::read_dir(stream.folder.path()).unwrap().count(), 1, "something was written");
    // The page is as it was.
    assert_eq!(stream.put(&white, "Sec-Fetch-Site: same-origin\r\n").0, 200);
    assert!(stream.mask().exists());
}

#[test]
fn others_than_this_machine_need_the_token_to_draw() {
    let stream = Stream::start("0.0.0.0:0", &["--mask", "mask.png", "--allow-mask"]);
    let white = picture(WIDTH, HEIGHT, 0..0);
    for wrong in ["", "Authorization: Bearer 00000000000000000000000000000000\r\n", "Cookie: oltr-1=x\r\n"] {
        assert_eq!(stream.put(&white, wrong).0, 401, "{wrong}");
    }
    assert!(!stream.mask().exists());
    // A client with the token, on a foreign page.
    let token = format!("Authorization: Bearer {}\r\n", stream.token);
    assert_eq!(stream.put(&white, &format!("{token}Origin: http://evil.example\r\n")).0, 403);
    assert!(!stream.mask().exists());
    assert_eq!(stream.put(&white, &token).0, 200);
    let cookie = format!("Cookie: oltr-{}={}\r\n", stream.port, stream.token);
    assert_eq!(stream.put(&white, &cookie).0, 200);
}

#[test]
fn a_place_for_no_file_is_refused_at_the_start() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("scene.y4m"), y4m(3, |_| Vec::new())).unwrap();
    fs::write(at("real.png"), picture(64, 48, 0..9)).unwrap();
    symlink("real.png", at("link.png")).unwrap();
    let page = ["--listen", "127.0.0.1:0", "--allow-mask"];
    let run = |args: &[&str]| {
        let ran = command(folder.path(), args).output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    for (mask, code, said) in
        [("link.png", 78, "is a link"), ("nowhere/mask.png", 78, "folder"), ("scene.y4m", 65, "scene.y4m")]
    {
        let (ran, text) = run(&[&page[..], &["--mask", mask, "scene.y4m"]].concat());
        assert!(ran == Some(code) && text.contains(said), "{mask}: {ran:?} {text}");
    }
    // A mask that is a link is read if it is never written.
    assert_eq!(run(&["--mask", "link.png", "scene.y4m"]).0, Some(0));
    assert_eq!(run(&["--mask", "link.png", "--listen", "127.0.0.1:0", "scene.y4m"]).0, Some(0));
    for wrong in [&["--allow-mask", "scene.y4m"][..], &["--mask", "real.png", "--allow-mask", "scene.y4m"]] {
        assert_eq!(run(wrong).0, Some(2), "{wrong:?}");
    }
}
