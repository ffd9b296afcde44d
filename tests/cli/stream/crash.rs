//! Watched folders during kills, failing system calls, renames and replaced folders. No photo is lost. Only photos in
//! progress at a kill are reported twice, and their second line is marked.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::common::tiny;
use super::super::{Folder, command};
use super::send;

/// Photos that each kill may repeat: the one whose line is written but not recorded.
const IN_HAND: usize = 1;

/// No test waits longer for a photo.
const PATIENCE: Duration = Duration::from_secs(300);

/// A picture like no other, as JPEG.
fn photo(i: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels: Vec<u8> = (0..64).map(|p| if i >> (p % 16) & 1 == 1 { 200 } else { 20 }).collect();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
    image::ImageEncoder::write_image(encoder, &pixels, 8, 8, image::ExtendedColorType::L8).unwrap();
    // Bytes after the picture make the file unique even if the pixels are not.
    bytes.extend(format!("{i}").bytes());
    bytes
}

/// A watching program, and the photos that it reported.
struct Watcher {
    files: Folder,
    child: Option<Child>,
    lines: Option<Receiver<String>>,
    /// How often each photo was reported, by the number in its name.
    reported: BTreeMap<usize, usize>,
    /// Photos that were repeated without the mark.
    unmarked: Vec<usize>,
    errors: Vec<String>,
    kills: usize,
}

impl Watcher {
    fn new() -> Watcher {
        let files = Folder::new();
        files.file("tiny.onnx", &tiny::bundle().encode());
        fs::create_dir(files.path("in")).unwrap();
        let (reported, unmarked, errors) = (BTreeMap::new(), Vec::new(), Vec::new());
        Watcher { files, child: None, lines: None, reported, unmarked, errors, kills: 0 }
    }

    fn folder(&self) -> PathBuf {
        self.files.path("in").into()
    }

    fn args(&self) -> Vec<String> {
        let (folder, state, model) = (self.files.path("in"), self.files.path("seen"), self.files.path("tiny.onnx"));
        let args = ["stream", "--json", "--per-frame", "--reconnect", "--search-every", "100ms", "--watch"];
        let args = args.into_iter().map(String::from);
        args.chain([folder, "--state".into(), state, "--model".into(), model]).collect()
    }

    fn start(&mut self) {
        let mut child = command(&self.args()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        self.lines = Some(lines_of(child.stdout.take().unwrap()));
        self.child = Some(child);
    }

    /// Runs it in a shell after the command `before`, until it ends or is silent for a while.
    fn run_after(&mut self, before: &str) {
        let line = format!("{before}; exec {} \"$@\"", env!("CARGO_BIN_EXE_oltr"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &line, "sh"]).args(self.args()).stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = shell.stdout(Stdio::piped()).spawn().unwrap();
        self.lines = Some(lines_of(child.stdout.take().unwrap()));
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child = Some(child);
        self.stop("TERM");
    }

    /// Reads reported photos until none comes for `patience`.
    fn listen(&mut self, patience: Duration) {
        let Some(lines) = &self.lines else { return };
        while let Ok(line) = lines.recv_timeout(patience) {
            // A line truncated by a kill was not reported.
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            if line["schema"] == "oltr.frame/1" {
                let photo = number(line["source"].as_str().unwrap());
                let times = self.reported.entry(photo).or_default();
                *times += 1;
                if *times > 1 && line["again"] != true {
                    self.unmarked.push(photo);
                }
            } else if line["schema"] == "oltr.error/1" {
                self.errors.push(line["error"].as_str().unwrap().into());
            }
        }
    }

    fn stop(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        if child.try_wait().unwrap().is_none() {
            send(signal, &child);
        }
        self.kills += usize::from(signal == "KILL");
        child.wait().unwrap();
        self.listen(Duration::from_secs(60));
        self.lines = None;
    }

    /// Waits until `count` photos were reported.
    #[track_caller]
    fn wait_for(&mut self, count: usize) {
        let until = Instant::now() + PATIENCE;
        while self.reported.len() < count {
            let missing: Vec<usize> = (0..count).filter(|i| !self.reported.contains_key(i)).take(5).collect();
            assert!(
                Instant::now() < until,
                "{} of {count} were reported; {missing:?} are missing",
                self.reported.len()
            );
            self.listen(Duration::from_millis(50));
        }
    }

    /// No more photos come, and none was reported more often than the kills allow.
    #[track_caller]
    fn each_once(&mut self, count: usize) {
        self.wait_for(count);
        self.listen(Duration::from_secs(3));
        self.stop("TERM");
        assert_eq!(self.reported.len(), count);
        let again: usize = self.reported.values().map(|times| times - 1).sum();
        println!("{count} photos, {} kills, {again} reported once more", self.kills);
        assert!(again <= IN_HAND * self.kills, "{again} reported once more after {} kills", self.kills);
        assert!(self.errors.is_empty(), "{:?}", self.errors);
        // Another run reports none either.
        self.start();
        let before = self.reported.clone();
        self.listen(Duration::from_secs(3));
        self.stop("TERM");
        assert_eq!(self.reported, before);
        let left: Vec<_> = fs::read_dir(self.files.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".oltr-")), "{left:?}");
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// The number in the name of a photo.
fn number(source: &str) -> usize {
    let stem = Path::new(source).file_stem().unwrap().to_str().unwrap();
    stem.rsplit('-').next().unwrap().parse().unwrap()
}

/// The same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Adds photo `i` to `folder` in one of the ways in which photos arrive.
fn bring(folder: &Path, i: usize, random: &mut Random) {
    let sub = ["", "a", "b/c", "DCIM/100MEDIA"][random.below(4) as usize];
    let place = folder.join(sub);
    fs::create_dir_all(&place).unwrap();
    let name = place.join(format!("{i}.jpg"));
    match random.below(3) {
        0 => fs::write(name, photo(i)).unwrap(),
        1 => {
            let part = place.join(format!("{i}.jpg.part"));
            fs::write(&part, photo(i)).unwrap();
            fs::rename(part, name).unwrap();
        }
        _ => {
            // In two pieces, and with a time older than the file.
            let (bytes, mut file) = (photo(i), fs::File::create(name).unwrap());
            std::io::Write::write_all(&mut file, &bytes[..100]).unwrap();
            std::io::Write::write_all(&mut file, &bytes[100..]).unwrap();
            let _ = file.set_modified(std::time::SystemTime::now() - Duration::from_secs(7200));
        }
    }
}

/// Every photo below `folder`.
fn photos_in(folder: &Path) -> Vec<PathBuf> {
    let mut photos = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => photos.extend(photos_in(&path)),
            path if path.extension().is_some_and(|e| e == "jpg") => photos.push(path),
            _ => {}
        }
    }
    photos
}

/// Photos arrive while the program is killed and restarted, files are renamed, and the folder is replaced.
fn a_hard_life(count: usize, rounds: usize) {
    let (mut watcher, mut random) = (Watcher::new(), Random(7));
    let folder = watcher.folder();
    let mut next = 0;
    for round in 0..rounds {
        watcher.start();
        let until = count * (round + 1) / rounds;
        let kill_at = next + random.below((until - next).max(1) as u64) as usize;
        while next < until {
            bring(&folder, next, &mut random);
            next += 1;
            if next == kill_at {
                // At any moment: during loading, decoding, or writing an entry.
                std::thread::sleep(Duration::from_millis(random.below(400)));
                watcher.stop("KILL");
                watcher.start();
            }
        }
        watcher.listen(Duration::from_millis(random.below(200)));
        match random.below(3) {
            0 => {
                for (k, path) in photos_in(&folder).into_iter().enumerate().filter(|(k, _)| k % 5 == round % 5) {
                    let name = path.with_file_name(format!("{k}-{}.jpg", number(path.to_str().unwrap())));
                    fs::rename(path, name).unwrap();
                }
            }
            1 => {
                let away = folder.with_file_name("away");
                fs::rename(&folder, &away).unwrap();
                fs::create_dir(&folder).unwrap();
                for entry in fs::read_dir(&away).unwrap().flatten() {
                    fs::rename(entry.path(), folder.join(entry.file_name())).unwrap();
                }
                fs::remove_dir(away).unwrap();
            }
            _ => {
                for path in photos_in(&folder).into_iter().step_by(3) {
                    let file = fs::File::open(path).unwrap();
                    let hour_before = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(3600);
                    file.set_modified(hour_before).unwrap();
                }
            }
        }
        watcher.stop(if random.below(2) == 0 { "KILL" } else { "TERM" });
    }
    watcher.start();
    watcher.each_once(count);
    assert!(watcher.unmarked.is_empty(), "reported once more without a word: {:?}", watcher.unmarked);
}

#[test]
fn photos_are_reported_once_through_kills_renames_and_replaced_folders() {
    a_hard_life(240, 8);
}

/// The same with as many photos as `OLTR_PHOTOS` states.
#[test]
#[ignore = "takes minutes"]
fn twenty_thousand_photos_are_reported_once() {
    let count = std::env::var("OLTR_PHOTOS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    a_hard_life(count, 40);
}

/// A full disk or a limit of open files in one run does no harm to the next.
#[test]
fn system_calls_that_fail_lose_no_photo() {
    let (mut watcher, mut random) = (Watcher::new(), Random(3));
    let folder = watcher.folder();
    (0..60).for_each(|i| bring(&folder, i, &mut random));
    // The state file may grow to none, one, two, … blocks of 512 bytes.
    for blocks in [0, 1, 2, 3, 5] {
        watcher.run_after(&format!("trap '' XFSZ; ulimit -f {blocks}"));
        // Photos that were reported but could not be recorded come again.
        watcher.kills += 1;
    }
    for files in 4..20 {
        watcher.run_after(&format!("ulimit -n {files}"));
        watcher.kills += 1;
    }
    let refused = watcher.errors.iter().filter(|e| e.contains("Too many open files")).count();
    println!("{refused} photos could not be opened for a while");
    watcher.errors.retain(|e| !e.contains("Too many open files"));
    watcher.start();
    watcher.each_once(60);
}
