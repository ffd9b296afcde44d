//! `--things` on photos of trail cameras.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::common::tiny;

const COLUMNS: u32 = 640;
const ROWS: u32 = 480;

/// A box of pixels.
type Box = (u32, u32, u32, u32);

/// A photo of a still ground.
#[derive(Clone, Copy)]
struct Shot {
    /// Makes its noise different from others'.
    seed: u32,
    /// The background: another number is another place.
    ground: u32,
    size: (u32, u32),
    /// How bright it is, of 100.
    light: u32,
    night: bool,
    thing: Option<Box>,
    /// Seconds since six in the morning, if the photo has EXIF data.
    second: Option<u32>,
}

const SHOT: Shot =
    Shot { seed: 1, ground: 0, size: (COLUMNS, ROWS), light: 100, night: false, thing: None, second: Some(0) };

/// EXIF data with the time of a photo.
fn exif(second: u32) -> Vec<u8> {
    let text = format!("2024:05:01 06:{:02}:{:02}\0", second / 60, second % 60);
    let first = [&b"\x01\0\x69\x87\x04\0\x01\0\0\0"[..], &26_u32.to_le_bytes(), &[0; 4]].concat();
    let field = [&0x9003_u16.to_le_bytes()[..], &[2, 0], &20_u32.to_le_bytes(), &44_u32.to_le_bytes()].concat();
    let second = [&b"\x01\0"[..], &field, &[0; 4]].concat();
    let body = [&b"Exif\0\0II*\0"[..], &8_u32.to_le_bytes(), &first, &second, text.as_bytes()].concat();
    [&b"\xFF\xE1"[..], &(body.len() as u16 + 2).to_be_bytes(), &body].concat()
}

impl Shot {
    fn jpeg(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let mut noise = self.seed.wrapping_mul(747_796_405) | 1;
        let mut rgb = Vec::with_capacity((width * height * 3) as usize);
        for i in 0..width * height {
            let (x, y) = (i % width, i / width);
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let level = 60 + self.ground * 30 + (x / 37 % 3) * 25 + (y / 51 % 4) * 12 + (noise >> 29);
            let inside = self
                .thing
                .is_some_and(|(left, top, w, h)| (left..left + w).contains(&x) && (top..top + h).contains(&y));
            let pixel = match inside {
                // Not uniform in colour.
                true => [250 - 40 * ((x / 8 + y / 8) % 2), 200, 120],
                false => [level * 9 / 10, level, level * 7 / 10],
            };
            let pixel = if self.night { [pixel.iter().sum::<u32>() / 3; 3] } else { pixel };
            rgb.extend(pixel.map(|level| (level * self.light / 100).min(255) as u8));
        }
        let mut jpeg = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 90);
        encoder.encode(&rgb, width, height, image::ExtendedColorType::Rgb8).unwrap();
        let Some(second) = self.second else { return jpeg };
        [&jpeg[..2], &exif(second), &jpeg[2..]].concat()
    }
}

/// A folder with a tiny model and photos.
struct Card(tempfile::TempDir);

impl Card {
    fn new(photos: &[(&str, Shot)]) -> Card {
        let card = Card(tempfile::tempdir().unwrap());
        fs::write(card.path().join("tiny.onnx"), tiny::bundle().encode()).unwrap();
        for (name, shot) in photos {
            let path = card.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, shot.jpeg()).unwrap();
        }
        card
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_oltr"))
            .current_dir(self.path())
            .args(args)
            .env_remove("OLTR_MODEL")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The lines of `args` about photos, and the exit code.
    fn lines(&self, args: &[&str]) -> (Vec<Value>, Option<i32>) {
        let ran = self.run(&[args, &["--json", "--things", "--model", "tiny.onnx"]].concat());
        let stdout = String::from_utf8_lossy(&ran.stdout);
        let lines = stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines.filter(|line: &Value| line["schema"] != "oltr.stats/1").collect();
        assert!(!lines.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
        (lines, ran.status.code())
    }
}

/// The result and its reason for each photo, and the number of photos that its background was
/// learnt from.
fn shown(lines: &[Value]) -> Vec<(&str, u64)> {
    let one = |line: &Value| {
        let still = &line["still"];
        let word = still["reason"].as_str().unwrap_or("cuts").to_string();
        assert_eq!(still["shown"], if word == "cuts" { "cuts" } else { "photo" }, "{line}");
        assert_eq!(line["things"].as_array().unwrap().is_empty(), word != "cuts", "{line}");
        assert!(line["decision"].is_string() && line["nearest"]["label"].is_string(), "{line}");
        (
            ["cuts", "same", "no_ground", "changed"].into_iter().find(|of| *of == word).unwrap(),
            still["ground"].as_u64().unwrap(),
        )
    };
    lines.iter().map(one).collect()
}

/// Whether the only thing of a line is at `expected`, within some pixels.
fn is_at(line: &Value, expected: Box) -> bool {
    let [thing] = &line["things"].as_array().unwrap()[..] else { return false };
    let of: Vec<i64> = thing["box"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect();
    let (x, y, w, h) = expected;
    let [x, y, w, h] = [x, y, w, h].map(i64::from);
    let near = |a: i64, b: i64| (a - b).abs() <= 14;
    near(of[0], x) && near(of[1], y) && near(of[0] + of[2], x + w) && near(of[1] + of[3], y + h)
}

const THING: Box = (300, 200, 90, 70);

/// Three photos, a second apart. The second one has a thing. The light varies.
fn burst(folder: &str, from: u32, shot: Shot) -> Vec<(String, Shot)> {
    let one = |i: u32| {
        let light = [100, 80, 115][i as usize] * shot.light / 100;
        let thing = (i == 1).then_some(THING);
        let second = shot.second.map(|_| from + i);
        (format!("{folder}/{from:04}-{i}.jpg"), Shot { seed: from + i, light, thing, second, ..shot })
    };
    (0..3).map(one).collect()
}

fn named(photos: &[(String, Shot)]) -> Vec<(&str, Shot)> {
    photos.iter().map(|(name, shot)| (name.as_str(), *shot)).collect()
}

#[test]
fn a_burst_is_its_own_ground_and_the_thing_in_it_is_cut_out() {
    let card = Card::new(&named(&burst("card", 100, SHOT)));
    let (lines, code) = card.lines(&["stream", "card"]);
    assert_eq!((shown(&lines), code), (vec![("same", 3), ("cuts", 3), ("same", 3)], Some(0)));
    assert!(is_at(&lines[1], THING), "{}", lines[1]);
    assert!(lines.iter().all(|line| line["schema"] == "oltr.frame/1" && line["still"]["burst"] == 1));
    let thing = &lines[1]["things"][0];
    assert_eq!((&thing["thing"], &thing["state"]), (&1.into(), &"seen".into()));
    assert_eq!((&thing["decision"], &thing["label"]), (&lines[1]["decision"], &lines[1]["label"]));
    // classify gives the same result, and again the same for the crop saved as a file.
    let (answers, code) = card.lines(&["classify", "card"]);
    assert_eq!((shown(&answers), code), (shown(&lines), Some(0)));
    for (answer, line) in answers.iter().zip(&lines) {
        for field in ["decision", "label", "probability", "reachability", "things", "still", "taken"] {
            assert_eq!(answer[field], line[field], "{field}");
        }
        assert_eq!(answer["top"][0]["probability"], answer["probability"]);
    }
    // Without --things the photo is classified as a whole, and there are no such fields.
    let whole = card.run(&["classify", "--json", "--model", "tiny.onnx", "card"]);
    assert!(!String::from_utf8_lossy(&whole.stdout).contains("still"));
    // For people.
    let table = card.run(&["stream", "--things", "--model", "tiny.onnx", "card"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("thing 1 "), "{}", String::from_utf8_lossy(&table.stdout));
}

#[test]
fn the_last_photos_of_a_camera_are_the_ground_where_a_burst_is_none() {
    // Two bursts, then single photos hours later. The last one differs from the previous photos.
    let mut photos: Vec<(String, Shot)> = (0..3).flat_map(|i| burst("card", 10 * i, SHOT)).collect();
    for (at, thing) in [(1500, None), (3000, Some(THING))] {
        photos.push((format!("card/{at}.jpg"), Shot { seed: at, second: Some(at), light: 90, thing, ..SHOT }));
    }
    let card = Card::new(&named(&photos));
    let (lines, _) = card.lines(&["stream", "--burst", "5s", "card"]);
    let (frames, events): (Vec<Value>, Vec<Value>) =
        lines.into_iter().partition(|line| line["schema"] == "oltr.frame/1");
    // Bursts are reported as events, photos with --per-frame.
    assert!(frames.is_empty() && events.iter().filter(|event| event["type"] == "end").count() == 5, "{events:?}");
    let (lines, _) = card.lines(&["stream", "--burst", "5s", "--per-frame", "card"]);
    let lines: Vec<Value> = lines.into_iter().filter(|line| line["schema"] == "oltr.frame/1").collect();
    assert_eq!(shown(&lines[9..]), [("same", 9), ("cuts", 9)]);
    assert!(is_at(&lines[10], THING));
    let bursts: Vec<u64> = lines.iter().map(|line| line["still"]["burst"].as_u64().unwrap()).collect();
    assert_eq!(bursts, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5]);
}

#[test]
fn other_cameras_sizes_and_nights_have_other_grounds() {
    let other = Shot { ground: 2, ..SHOT };
    let large = Shot { size: (800, 600), ..SHOT };
    let night = Shot { night: true, ..SHOT };
    let mut photos = vec![("card/a/1.jpg", SHOT), ("card/b/1.jpg", other)];
    photos.extend([("card/c/1.jpg", SHOT), ("card/c/2.jpg", SHOT), ("card/c/3.jpg", large), ("card/c/4.jpg", night)]);
    photos.push(("card/c/5.jpg", Shot { thing: Some(THING), second: Some(4), ..SHOT }));
    photos.extend([("card/c/6.jpg", night), ("card/c/7.jpg", Shot { thing: Some(THING), ..night })]);
    let card = Card::new(&photos);
    for command in ["stream", "classify"] {
        let (lines, code) = card.lines(&[command, "card"]);
        let expected = [
            ("no_ground", 0),
            ("no_ground", 0),
            ("same", 3),
            ("same", 3),
            ("no_ground", 0),
            ("same", 3),
            ("cuts", 3),
            ("same", 3),
            ("cuts", 3),
        ];
        assert_eq!((shown(&lines), code), (expected.to_vec(), Some(0)), "{command}");
        assert!(is_at(&lines[6], THING) && is_at(&lines[8], THING));
    }
}

#[test]
fn unreadable_photos_are_reported_in_order_and_the_rest_continues() {
    let card = Card::new(&named(&burst("card", 100, SHOT)));
    fs::write(card.path().join("card/0100-1a.jpg"), "no photo").unwrap();
    for command in ["stream", "classify"] {
        let (lines, code) = card.lines(&[command, "card"]);
        assert_eq!((lines.len(), code), (4, Some(65)), "{command}");
        assert_eq!(lines[2]["schema"], "oltr.error/1");
        assert!(is_at(&lines[1], THING) && lines[3]["still"]["reason"] == "same", "{command}");
    }
    // A single photo, black photos, and one that is too small for cells.
    let black = Shot { light: 0, ..SHOT };
    let small = Shot { size: (40, 30), ..SHOT };
    let card = Card::new(&[("a/1.jpg", black), ("a/2.jpg", black), ("a/3.jpg", black), ("b/1.jpg", small)]);
    let (lines, code) = card.lines(&["stream", "a", "b"]);
    assert_eq!((shown(&lines), code), (vec![("same", 3), ("same", 3), ("same", 3), ("no_ground", 0)], Some(0)));
}

#[test]
fn cuts_of_photos_are_kept_for_calibration() {
    let photos: Vec<(String, Shot)> = (0..2).flat_map(|i| burst("card", 200 * i, SHOT)).collect();
    let card = Card::new(&named(&photos));
    for command in ["stream", "classify"] {
        let folder = format!("cuts-{command}");
        let (lines, _) = card.lines(&[command, "--save-crops", &folder, "card"]);
        let labels = fs::read_to_string(card.path().join(&folder).join("labels.tsv")).unwrap();
        let rows: Vec<Vec<&str>> = labels.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        assert_eq!(rows.len(), 2, "{labels}");
        for (row, line) in rows.iter().zip([&lines[1], &lines[4]]) {
            assert_eq!(row[1], line["label"].as_str().unwrap_or("open"));
            let cut = image::open(card.path().join(&folder).join(row[0])).unwrap();
            assert!(cut.width().abs_diff(THING.2) < 28 && cut.height().abs_diff(THING.3) < 28);
        }
        assert!(rows[0][4].ends_with("-burst-1") && rows[1][4].ends_with("-burst-2"), "{labels}");
    }
}

#[test]
fn options_of_video_are_refused_and_others_kept_to() {
    let card = Card::new(&named(&burst("card", 100, SHOT)));
    for command in ["stream", "classify"] {
        for (option, value) in [("--min-way", "2"), ("--stay", "5s")] {
            let ran = card.run(&[command, "--things", "--model", "tiny.onnx", option, value, "card"]);
            assert_eq!(ran.status.code(), Some(78), "{option}");
            assert!(String::from_utf8_lossy(&ran.stderr).contains("video"));
        }
        for (args, expected) in [
            (&["--min-size", "40%"][..], "same"),
            (&["--ignore", "200,100,300,300"], "same"),
            (&["--max-size", "5%"], "changed"),
        ] {
            let (lines, _) = card.lines(&[&[command], args, &["card"]].concat());
            assert_eq!(shown(&lines)[1].0, expected, "{args:?}");
        }
        let (lines, _) = card.lines(&[command, "--crop-margin", "20%", "card"]);
        assert!(is_at(&lines[1], THING));
    }
    let ran =
        card.run(&["classify", "--things", "--model", "tiny.onnx", "--format", "csv", "--output", "o.csv", "card"]);
    assert_eq!(ran.status.code(), Some(78), "{}", String::from_utf8_lossy(&ran.stderr));
    // Memory is planned with the small pictures.
    let ran = card.run(&["stream", "--things", "-v", "--model", "tiny.onnx", "--max-memory", "160MiB", "card"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn photos_of_a_watched_folder_are_compared_with_those_before_them() {
    use std::io::{BufRead, BufReader};
    let shots: Vec<Shot> = (0..4).map(|i| Shot { seed: i, second: Some(i), ..SHOT }).collect();
    let card = Card::new(&[]);
    fs::create_dir(card.path().join("in")).unwrap();
    let args = ["stream", "--things", "--json", "--model", "tiny.onnx", "--watch", "in", "--state", "seen.json"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_oltr"));
    let mut child = command.current_dir(card.path()).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    for (at, shot) in shots.iter().enumerate() {
        let thing = (at == 3).then_some(THING);
        let (hidden, name) = (format!("in/.{at}"), format!("in/{at}.jpg"));
        fs::write(card.path().join(&hidden), Shot { thing, ..*shot }.jpeg()).unwrap();
        fs::rename(card.path().join(hidden), card.path().join(name)).unwrap();
        said.push(serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(shown(&said), [("no_ground", 0), ("no_ground", 0), ("same", 3), ("cuts", 3)]);
    assert!(is_at(&said[3], THING));
}
