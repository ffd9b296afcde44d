//! Photos in practice: files about them for other programs, one answer each, bursts, and exports of events.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Folder, PHOTOS, command, cup, oltr, package};

/// Only against a hang.
const SOON: Duration = Duration::from_secs(60);

/// A photo of a cup that was taken then, as a camera writes it.
fn taken(date: &str, offset: &str) -> Vec<u8> {
    let mut texts = Vec::new();
    let mut field = |tag: u16, text: &str| {
        let text = [text.as_bytes(), b"\0"].concat();
        let at = 8 + 18 + 30 + texts.len() as u32;
        let field = [&tag.to_le_bytes()[..], &[2, 0], &(text.len() as u32).to_le_bytes(), &at.to_le_bytes()].concat();
        texts.extend(text);
        field
    };
    let fields = [field(0x9003, date), field(0x9011, offset)].concat();
    // One IFD with the place, and one with both texts.
    let first = [&b"\x01\0\x69\x87\x04\0\x01\0\0\0"[..], &26_u32.to_le_bytes(), &[0; 4]].concat();
    let exif = [&b"\x02\0"[..], &fields, &[0; 4]].concat();
    let body = [&b"Exif\0\0II*\0"[..], &8_u32.to_le_bytes(), &first, &exif, &texts].concat();
    let cup = cup();
    [&cup[..2], b"\xFF\xE1", &(body.len() as u16 + 2).to_be_bytes(), &body, &cup[2..]].concat()
}

/// A card with photos in two folders. One of them is not a photo.
fn card() -> Folder {
    let files = Folder::new();
    fs::create_dir_all(files.path("card/a")).unwrap();
    files.file("card/a/1.jpg", &taken("2024:05:01 06:12:33", "+02:00"));
    files.file("card/a/2.jpg", &fs::read(package(PHOTOS).join("galaxies.jpg")).unwrap());
    files.file("card/broken.jpg", b"no photo");
    files.file("card/z.jpg", &cup());
    files
}

const NAMES: [&str; 4] = ["a/1.jpg", "a/2.jpg", "broken.jpg", "z.jpg"];

fn read_json(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_line_says_when_where_and_with_what_a_photo_was_taken() {
    let files = card();
    let lines = oltr(&["classify", "--json", &files.path("card/a/1.jpg"), &files.path("card/z.jpg")]).code(0).json();
    let expected = serde_json::json!({"time": "2024-05-01T06:12:33", "offset": "+02:00", "subsecond": null});
    assert_eq!((&lines[0]["taken"], &lines[0]["place"], &lines[0]["camera"]), (&expected, &Value::Null, &Value::Null));
    assert!(lines[1].as_object().unwrap().contains_key("taken") && lines[1]["taken"].is_null());
}

#[test]
fn a_folder_of_photos_is_a_file_for_other_programs() {
    let files = card();
    let write = |format: &str| {
        let (output, base) = (files.path(format), files.path("card"));
        let ran = oltr(&["classify", "--format", format, "--output", &output, "--base", &base, &base]).code(65);
        assert_eq!(ran.stdout, "");
        ran.says(&["broken.jpg", "4 photos", "1 could not be read"]);
        assert!(!fs::exists(format!("{output}.part")).unwrap());
        output
    };
    let megadetector = read_json(&write("megadetector"));
    let images = megadetector["images"].as_array().unwrap();
    assert_eq!(images.iter().map(|image| image["file"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    let shown = |at: usize| {
        let id = images[at].pointer("/detections/0/classifications/0/0").unwrap().as_str().unwrap();
        megadetector["classification_categories"][id].as_str().unwrap()
    };
    assert_eq!([shown(0), shown(1), shown(3)], ["cup", "open", "cup"]);
    assert!(images[2]["detections"].is_null() && images[2]["failure"].as_str().unwrap().contains("broken.jpg"));

    let speciesnet = read_json(&write("speciesnet"));
    let predictions = speciesnet["predictions"].as_array().unwrap();
    assert_eq!(predictions.iter().map(|p| p["filepath"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    assert_eq!(predictions[2]["failures"], serde_json::json!(["CLASSIFIER"]));
    assert!(predictions[1]["prediction"].as_str().unwrap().ends_with(";open"));

    let mut rows = csv::Reader::from_path(write("csv")).unwrap();
    let rows: Vec<csv::StringRecord> = rows.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.iter().map(|row| &row[0]).collect::<Vec<_>>(), NAMES);
    assert_eq!(rows.iter().map(|row| &row[1]).collect::<Vec<_>>(), ["known", "open", "", "known"]);
    assert_eq!(
        (&rows[0][2], &rows[0][10], &rows[0][11], &rows[2][21]),
        ("cup", "2024-05-01T06:12:33", "+02:00", "bad-image")
    );

    let lines = fs::read_to_string(write("json")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["source"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    assert_eq!((&lines[0]["schema"], &lines[2]["schema"]), (&"oltr.classification/1".into(), &"oltr.error/1".into()));
}

#[test]
fn a_run_that_is_killed_goes_on() {
    let files = Folder::new();
    fs::create_dir(files.path("card")).unwrap();
    for at in 0..30 {
        files.file(&format!("card/{at:02}.jpg"), &cup());
    }
    let (output, part) = (files.path("out.csv"), files.path("out.csv.part"));
    let card = files.path("card");
    let args = ["classify", "--format", "csv", "--output", &output, "--base", &card, "--resume", &card];
    // Each run adds some photos, however early it ends.
    for _ in 0..3 {
        let before = fs::metadata(&part).map_or(0, |meta| meta.len());
        let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        while fs::metadata(&part).map_or(0, |meta| meta.len()) <= before + 600 && !fs::exists(&output).unwrap() {
            assert!(begin.elapsed() < SOON, "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if fs::exists(&output).unwrap() {
            break;
        }
    }
    oltr(&args).code(0).says(&["30 photos"]);
    let rows = |path: &str| csv::Reader::from_path(path).unwrap().records().map(|row| row.unwrap()).collect::<Vec<_>>();
    let whole = files.path("whole.csv");
    oltr(&["classify", "--format", "csv", "--output", &whole, "--base", &card, &card]).code(0);
    assert_eq!(rows(&output), rows(&whole));
    // Finished: nothing is left to do, and then only new photos.
    oltr(&args).code(0).says(&["30 photos, 30 from before"]);
    files.file("card/new.jpg", &cup());
    oltr(&args).code(0).says(&["31 photos, 30 from before"]);
    assert_eq!(rows(&output).len(), 31);
}

#[test]
fn what_cannot_be_written_is_refused_before_the_first_photo() {
    let files = card();
    let card = files.path("card");
    let run = |args: &[&str]| oltr(&[&["classify"], args, &[&card]].concat());
    run(&["--format", "csv"]).code(2).says(&["--output"]);
    run(&["--output", "x.csv"]).code(2).says(&["--format"]);
    run(&["--resume"]).code(2).says(&["--output"]);
    run(&["--format", "xml", "--output", "x"]).code(2).says(&["megadetector", "speciesnet"]);
    let out = files.path("out");
    run(&["--format", "csv", "--output", &out, "--base", &files.path("card/a")]).code(78).says(&["--base"]);
    run(&["--format", "csv", "--output", "/dev/null"]).code(78).says(&["regular file"]);
    run(&["--format", "csv", "--output", &files.path("none/out")]).code(66).says(&["none/out"]);
    run(&["--format", "csv", "--output", &out]).code(65);
    run(&["--format", "megadetector", "--output", &out, "--resume"]).code(65).says(&["another --output"]);
}

/// Lines of a stream of photos, without the statistics.
fn stream(args: &[&str]) -> Vec<Value> {
    let lines = oltr(&[&["stream", "--json"], args].concat()).code(0).json();
    lines.into_iter().filter(|line| line["schema"] != "oltr.stats/1").collect()
}

#[test]
fn photos_are_answered_one_by_one() {
    let lines = stream(&[PHOTOS]);
    let count = fs::read_dir(package(PHOTOS))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "jpg"));
    assert_eq!(lines.len(), count.count());
    let cup = format!("{PHOTOS}/cup.jpg");
    let line = lines.iter().find(|line| line["source"] == cup.as_str()).unwrap();
    assert_eq!(
        (&line["schema"], &line["decision"], &line["label"]),
        (&"oltr.frame/1".into(), &"known".into(), &"cup".into())
    );
    assert!(line["taken"].is_null() && line.as_object().unwrap().contains_key("camera"));
    // A single photo is enough. People see its name.
    assert_eq!(stream(&[&cup]).len(), 1);
    let table = oltr(&["stream", &cup]).code(0).stdout;
    assert!(table.lines().nth(1).unwrap().contains("cup.jpg"), "{table}");
    // An unreadable photo is reported with its name too.
    let files = card();
    let lines = oltr(&["stream", "--json", &files.path("card")]).code(65).json();
    let broken = lines.iter().find(|line| line["schema"] == "oltr.error/1").unwrap();
    assert_eq!(broken["source"], files.path("card/broken.jpg").as_str());
    assert_eq!(lines.len(), 5, "four photos and what became of all");
    // Consensus if it is requested.
    let lines = stream(&["--consensus", "1/1", &cup]);
    assert!(lines.iter().all(|line| line["schema"] == "oltr.event/1") && lines.len() == 2, "{lines:?}");
}

#[test]
fn photos_of_a_folder_that_fills_are_answered_at_once() {
    use std::io::{BufRead, BufReader};
    let files = Folder::new();
    fs::create_dir(files.path("in")).unwrap();
    let args = ["stream", "--json", "--watch", &files.path("in"), "--state", &files.path("state")];
    let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for name in ["1.jpg", "2.jpg"] {
        files.file(&format!("in/{name}"), &cup());
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(line["source"].as_str().unwrap().ends_with(name) && line["label"] == "cup", "{line}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_burst_is_one_event_at_the_time_taken() {
    let files = Folder::new();
    fs::create_dir_all(files.path("card/a")).unwrap();
    for (name, date, offset) in [
        ("a/1.jpg", "2024:05:01 06:12:33", "+02:00"),
        ("a/2.jpg", "2024:05:01 06:12:35", "+02:00"),
        ("a/3.jpg", "2024:05:01 06:20:00", "+02:00"),
        ("b.jpg", "2023:01:01 12:00:00", ""),
        ("c.jpg", "2023:01:01 12:00:30", ""),
    ] {
        files.file(&format!("card/{name}"), &taken(date, offset));
    }
    let lines = stream(&["--burst", "60s", &files.path("card")]);
    let ends: Vec<&Value> = lines.iter().filter(|line| line["type"] == "end").collect();
    let reported: Vec<_> =
        ends.iter().map(|end| (end["frames"].as_u64().unwrap(), end["first"]["wall"].as_str().unwrap())).collect();
    // In UTC if the photo has an offset, else by the camera's clock.
    assert_eq!(
        reported,
        [(2, "2024-05-01T04:12:33.000Z"), (1, "2024-05-01T04:20:00.000Z"), (2, "2023-01-01T12:00:00.000")]
    );
    assert!(ends.iter().all(|end| end["label"] == "cup" && end["first"]["mono_ns"].is_null()), "{ends:?}");
    assert_eq!(ends[0]["duration_ms"], 2000.0);
    assert_eq!(lines.iter().filter(|line| line["type"] == "new").count(), 3);
    // By arrival all came at once, from two folders.
    let lines = stream(&["--burst", "10m", "--time", "arrival", &files.path("card")]);
    assert_eq!(lines.iter().filter(|line| line["type"] == "end").count(), 2);
    assert!(lines[0]["first"]["mono_ns"].is_u64());
    // Consensus by EXIF time: there are minutes in between.
    let lines = stream(&["--consensus", "1/1", "--gap", "1m", &files.path("card")]);
    assert_eq!(lines.iter().filter(|line| line["type"] == "end").count(), 3);
    for option in [["--burst", "60s"], ["--time", "exif"]] {
        oltr(&[&["stream"], &option[..], &["-"]].concat()).code(78).says(&[option[0], "photos"]);
    }
    oltr(&["stream", "--burst", "1s", "--consensus", "1/1", PHOTOS]).code(2).says(&["--consensus"]);
}

#[test]
fn events_are_exported_without_a_store() {
    let files = card();
    let log = oltr(&["stream", "--json", "--burst", "60s", &files.path("card/a")]).code(0);
    let log = files.file("log.jsonl", log.stdout.as_bytes());
    let deployment = files.file("d.toml", b"id = 'north-1'\nlatitude = 52.5\nlongitude = 13.25\nzone = '+02:00'\n");
    let export = |format: &str, out: &str| {
        let out = files.path(out);
        oltr(&["export", format, "--records", &log, "--deployment", &deployment, &out]).code(0).says(&["2 events"]);
        out
    };
    let package = export("camtrap-dp", "package");
    let mut table = csv::Reader::from_path(format!("{package}/observations.csv")).unwrap();
    let rows: Vec<std::collections::BTreeMap<String, String>> = table.deserialize().map(|row| row.unwrap()).collect();
    let column = |name: &str| rows.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    assert_eq!((column("observationType"), column("scientificName")), (vec!["animal", "unknown"], vec!["cup", ""]));
    assert_eq!(rows[0]["eventStart"], "2024-05-01T06:12:33+02:00");
    assert_eq!(read_json(&format!("{package}/datapackage.json"))["resources"].as_array().unwrap().len(), 3);
    assert!(fs::read_to_string(export("csv", "events.csv")).unwrap().lines().count() == 3);
    export("megadetector", "md.json");
    export("ecotaxa", "ecotaxa");
    let out = files.path("again");
    oltr(&["export", "camtrap-dp", "--records", &log, &out]).code(78).says(&["--deployment"]);
    oltr(&["export", "csv", &out]).code(2).says(&["--store"]);
    let wrong = files.file("wrong.toml", b"id = 'a'\nlatitud = 5\n");
    oltr(&["export", "csv", "--records", &log, "--deployment", &wrong, &out]).code(65).says(&["wrong.toml", "line 2"]);
    oltr(&["export", "csv", "--records", &deployment, &out]).code(65).says(&["line 1"]);
}

/// A store with a class, an open event, and one reviewed as nothing.
fn store(folder: &std::path::Path) {
    use oltr_store::disk::RealDisk;
    use oltr_store::{NewRecord, Review, Reviews, Said, Settings, Store};
    let (quota, free) = (64 << 20, 0);
    let disk = std::sync::Arc::new(RealDisk);
    let (mut store, _) = Store::open(folder, Settings { quota, free }, disk.clone()).unwrap();
    let mut ids = Vec::new();
    for (at, (decision, label)) in
        [("known", Some("cup")), ("open", None), ("known", Some("cup"))].into_iter().enumerate()
    {
        let time = serde_json::json!({"mono_ns": at, "wall": format!("2024-05-01T06:12:3{at}.000Z")});
        let event = serde_json::json!({
            "schema": "oltr.event/1", "seq": at, "wall": "2024-05-01T06:13:00.000Z", "clock_synchronised": true,
            "source": "cam", "id": format!("run-{at}"), "type": "end", "reason": "gone", "decision": decision,
            "label": label, "first": time, "last": time, "duration_ms": 0.0, "frames": 3, "best": {"wall": time["wall"]},
            "mean": {"probability": 0.75, "reachability": 1.5},
        });
        let (event, event_id) = (event.to_string(), format!("run-{at}"));
        let new = NewRecord { event: &event, event_id: &event_id, decision, label, ..NewRecord::default() };
        ids.push(store.append(&new, Some(&cup()).filter(|_| at < 2).map(Vec::as_slice)).unwrap());
    }
    store.sync().unwrap();
    let (said, by, wall) = (Said::Nothing, "Ada".into(), "2024-06-01T10:00:00Z".into());
    let review = Review { id: ids[2], said, by, wall };
    Reviews::of(folder).add(disk.as_ref(), &[review], &mut |_| Ok(true)).unwrap();
}

#[test]
fn a_store_is_exported_with_its_pictures() {
    let files = Folder::new();
    store(files.path("store").as_ref());
    let deployment = files.file("d.toml", b"id = 'north-1'\nlatitude = 52.5\nlongitude = 13.25\n");
    let (dir, out) = (files.path("store"), files.path("package"));
    let args = ["export", "camtrap-dp", "--store", &dir, "--deployment", &deployment, &out];
    oltr(&args).code(0).says(&["3 events, 1 judged by a person, 2 with a picture"]);
    let mut table = csv::Reader::from_path(format!("{out}/observations.csv")).unwrap();
    let rows: Vec<std::collections::BTreeMap<String, String>> = table.deserialize().map(|row| row.unwrap()).collect();
    let column = |name: &str| rows.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    assert_eq!(column("observationType"), ["animal", "unknown", "blank"]);
    assert_eq!(column("classificationMethod"), ["machine", "machine", "human"]);
    let mut media = csv::Reader::from_path(format!("{out}/media.csv")).unwrap();
    for row in media.records() {
        assert_eq!(fs::read(format!("{out}/{}", &row.unwrap()[4])).unwrap(), cup());
    }
    // A second export replaces the first; a folder that is not a store is refused.
    oltr(&args).code(0);
    oltr(&["export", "csv", "--store", &files.path("none"), &files.path("x")]).code(66);
    oltr(&["export", "csv", "--store", &files.path(""), &files.path("x")]).code(65).says(&["no store"]);
    assert!(!fs::exists(files.path("x")).unwrap());
}

#[test]
fn bursts_are_stored_with_their_own_pictures_at_the_time_taken() {
    let files = Folder::new();
    fs::create_dir(files.path("card")).unwrap();
    // The same cup by day and, with a larger file, a day later: each event has its own picture.
    let [first, second] =
        [("2024:05:01 06:12:33", "+02:00"), ("2024:05:02 06:12:33", "+02:00")].map(|(d, o)| taken(d, o));
    files.file("card/1.jpg", &first);
    files.file("card/2.jpg", &[&second[..], b"trailing bytes"].concat());
    files.file("card/3.jpg", &fs::read(package(PHOTOS).join("galaxies.jpg")).unwrap());
    let (card, dir) = (files.path("card"), files.path("store"));
    let stored = ["stream", "--json", "--store", &dir, "--store-size", "64MiB"];
    let lines = oltr(&[&stored[..], &[&card]].concat()).code(0).json();
    assert_eq!(lines.iter().filter(|line| line["schema"] == "oltr.frame/1").count(), 3);
    let records = oltr(&["store", "list", "--json", &dir]).code(0).json();
    let walls: Vec<&str> = records.iter().map(|record| record["first"]["wall"].as_str().unwrap()).collect();
    assert_eq!(walls[..2], ["2024-05-01T04:12:33.000Z", "2024-05-02T04:12:33.000Z"]);
    let labels: Vec<&Value> = records.iter().map(|record| &record["label"]).collect();
    assert_eq!(labels, [&Value::from("cup"), &Value::from("cup"), &Value::Null]);
    let pictures: std::collections::BTreeSet<&str> = records.iter().map(|r| r["picture"].as_str().unwrap()).collect();
    assert_eq!(pictures.len(), 3, "{records:?}");
}
