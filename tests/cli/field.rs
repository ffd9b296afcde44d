//! A device in the field: daily write limit, deployment, an unknown clock, names above species, undoing an enrolment,
//! and the command lines of the Debian package.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use oltr_store::disk::RealDisk;
use oltr_store::{NewRecord, Settings, Store};
use serde_json::{Value, json};

use super::store::clip;
use super::{Folder, Ran, oltr, package};

const DEPLOYMENT: &str = "id = 'north-1'\nplace = 'Upper pond'\nlatitude = 52.5\nlongitude = 13.25\n";

/// Streams the clip of a cup and a moon into the store `dir`.
fn stream(files: &Folder, dir: &str, more: &[&str]) -> Ran {
    let clip = clip(Path::new(&files.path("")));
    let args = ["stream", "--json", "--fps", "2", "--max-frame", "1600x1600", "--store-size", "16MiB", "--store", dir];
    oltr(&[&args[..], more, &[clip.to_str().unwrap()]].concat())
}

fn records(dir: &str) -> Vec<Value> {
    oltr(&["store", "list", "--json", dir]).code(0).json()
}

fn rows(path: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn a_day_that_may_write_little_keeps_what_is_open() {
    let files = Folder::new();
    let dir = files.path("store");
    // A quarter may be written at once. The cup's picture needs more than the half of it that ordinary pictures may
    // use.
    let day = stream(&files, &dir, &["--store-day", "400KiB"]).code(0).says(&["a day 400.0 KiB at most"]);
    let stats = day.json().pop().unwrap()["store"].clone();
    assert_eq!((&stats["kept"], &stats["not_kept"]), (&2.into(), &0.into()));
    let again =
        stream(&files, &files.path("less"), &["--store-day", "4KiB"]).code(0).says(&["not kept in the store: 1 event"]);
    let stats = again.json().pop().unwrap()["store"].clone();
    assert_eq!((&stats["kept"], &stats["not_kept"]), (&1.into(), &1.into()), "{stats}");
    // A recording has no daily limit.
    stream(&files, &files.path("free"), &[]).code(0).says(&["a day has no bound (--store-day)"]);
    oltr(&["stream", "--store-day", "1MiB", "clip.mjpeg"]).code(2).says(&["--store"]);
    stream(&files, &dir, &["--store-day", "none"]).code(2).says(&["no size"]);
}

#[test]
fn records_say_which_camera_it_was() {
    let files = Folder::new();
    let (dir, deployment) = (files.path("store"), files.file("north.toml", DEPLOYMENT.as_bytes()));
    stream(&files, &dir, &["--deployment", &deployment]).code(0);
    let reported = json!({"id": "north-1", "place": "Upper pond", "latitude": 52.5, "longitude": 13.25});
    let all = records(&dir);
    assert!(all.len() == 2 && all.iter().all(|record| record["deployment"] == reported), "{all:?}");
    // Missing fields are null; without a file there are no fields.
    let bare = files.file("bare.toml", b"id = 'b'\n");
    stream(&files, &files.path("bare"), &["--deployment", &bare]).code(0);
    let reported = json!({"id": "b", "place": null, "latitude": null, "longitude": null});
    assert_eq!(records(&files.path("bare"))[0]["deployment"], reported);
    stream(&files, &files.path("none"), &[]).code(0);
    assert!(!records(&files.path("none"))[0].as_object().unwrap().contains_key("deployment"));
    // A file that is wrong shows before the first frame.
    let wrong = files.file("wrong.toml", b"id = 'a'\nlatitud = 5\n");
    stream(&files, &files.path("x"), &["--deployment", &wrong]).code(65).says(&["wrong.toml", "line 2"]);
    stream(&files, &files.path("x"), &["--deployment", &files.path("no.toml")]).code(66).says(&["no.toml"]);
    oltr(&["stream", "--deployment", &deployment, "clip.mjpeg"]).code(2).says(&["--store"]);
}

/// A store of a machine without a clock chip: two events in 1970, an hour of watching, then the time from a network.
fn recorded(dir: &Path) {
    let (mut store, _) = Store::open(dir, Settings { quota: 16 << 20, free: 0 }, Arc::new(RealDisk)).unwrap();
    let moment = |seconds: u64, wall: &str| json!({"mono_ns": seconds * 1_000_000_000, "wall": wall});
    for (id, seconds) in [("a", 10), ("b", 1810)] {
        let wall = format!("1970-01-01T00:{:02}:{:02}.000Z", seconds / 60, seconds % 60);
        let mut event = json!({
            "schema": "oltr.event/1", "seq": 1, "boot_id": "boot", "clock_synchronised": false, "source": "v4l2:/dev/video0",
            "id": id, "type": "end", "reason": "gone", "decision": "known", "label": "cup",
            "first": moment(seconds, &wall), "last": moment(seconds, &wall), "duration_ms": 0.0, "frames": 3,
            "best": moment(seconds, &wall), "mean": {"probability": 0.75, "reachability": 1.5},
        });
        event.as_object_mut().unwrap().extend(moment(seconds, &wall).as_object().unwrap().clone());
        let event = event.to_string();
        let (decision, label) = ("known", Some("cup"));
        store
            .append(&NewRecord { event: &event, event_id: id, decision, label, ..NewRecord::default() }, None)
            .unwrap();
    }
    let stats = |seconds: u64, wall: &str, known: bool, captured: u64| {
        json!({
            "schema": "oltr.stats/1", "seq": seconds, "boot_id": "boot", "mono_ns": seconds * 1_000_000_000, "wall": wall,
            "clock_synchronised": known, "uptime_ms": seconds * 1000, "captured": captured, "classified": captured - 4,
            "dropped": 4, "decode_errors": 0, "reconnects": 1,
        })
        .to_string()
    };
    store.note_run("run", &stats(10, "1970-01-01T00:00:10.000Z", false, 20)).unwrap();
    store.note_run("run", &stats(3600, "2026-05-01T13:00:00.000Z", true, 7200)).unwrap();
    store.close().unwrap();
}

#[test]
fn a_run_without_a_clock_is_exported_with_its_times_and_its_effort() {
    let files = Folder::new();
    let (dir, deployment) = (files.path("store"), files.file("north.toml", DEPLOYMENT.as_bytes()));
    recorded(Path::new(&dir));
    let listed = records(&dir);
    let times = ["2026-05-01T12:00:10.000Z", "2026-05-01T12:30:10.000Z"];
    for (record, time) in listed.iter().zip(times) {
        assert_eq!((&record["first"]["wall"], &record["clock_mended"]), (&time.into(), &true.into()));
    }
    let export = |format: &str, out: &str| {
        let ran = oltr(&["export", format, "--store", &dir, "--deployment", &deployment, &files.path(out)]).code(0);
        assert!(!ran.stderr.contains("may be wrong"), "{}", ran.stderr);
        ran.says(&["2 events, 0 judged by a person, 0 with a picture"]);
        files.path(out)
    };
    let events = rows(&export("csv", "events.csv"));
    let firsts: Vec<&str> = events.iter().map(|row| row["first"].as_str()).collect();
    assert_eq!(firsts, times.map(|time| time.replace(".000", "")));
    assert!(events.iter().all(|row| row["time_uncertain"] == "false"), "{events:?}");
    let package = export("camtrap-dp", "package");
    let deployments = rows(&format!("{package}/deployments.csv"));
    assert_eq!(deployments[0]["deploymentStart"], "2026-05-01T12:00:10Z");
    assert_eq!(deployments[0]["timestampIssues"], "false");
    let comments = &deployments[0]["deploymentComments"];
    let effort =
        "watched 1.00 h in 1 run; 7200 frames taken, 4 of them dropped, 0 damaged; the source came back 1 time";
    assert!(comments.ends_with(effort), "{comments}");
    // A boot that never learnt the time stays in 1970, and exports report it.
    let never = files.path("never");
    let line = |path: String| fs::read_to_string(path).unwrap();
    recorded(Path::new(&never));
    fs::remove_file(format!("{never}/stats.jsonl")).unwrap();
    let out = files.path("never.csv");
    oltr(&["export", "csv", "--store", &never, &out]).code(0).says(&["2 of 2 events with times that may be wrong"]);
    assert!(line(out).contains("1970-01-01T00:00:10Z"));
}

/// With a bundle that has a taxonomy, a stream's events, their records and their exports have names.
#[test]
fn events_have_the_name_of_most_of_their_frames() {
    let files = Folder::new();
    let named = super::names::bundle(&files, r#"{"label":0.9,"family":0.68}"#, "{}");
    let cat = fs::read(package("examples/photos/cat.jpg")).unwrap();
    let clip = files.file("cat.mjpeg", &cat.repeat(6));
    let dir = files.path("store");
    let args =
        ["stream", "--json", "--model", &named, "--fps", "2", "--max-frame", "1600x1600", "--store-size", "16MiB"];
    let lines = oltr(&[&args[..], &["--store", &dir, "--per-frame", &clip]].concat()).code(0).json();
    let frame = lines.iter().find(|line| line["schema"] == "oltr.frame/1").unwrap();
    let events: Vec<&Value> = lines.iter().filter(|line| line["schema"] == "oltr.event/1").collect();
    assert!(events.len() >= 2);
    for event in events {
        let (reported, name) = (&event["taxon"], &frame["taxon"]);
        for same in ["rank", "name", "gbif"] {
            assert_eq!(reported[same], name[same], "{event}");
        }
        assert!((reported["probability"].as_f64().unwrap() - name["probability"].as_f64().unwrap()).abs() < 1e-5);
    }
    assert_eq!((&frame["taxon"]["name"], &frame["taxon"]["gbif"]), (&"Felidae".into(), &9703.into()));
    assert_eq!(records(&dir)[0]["taxon"]["name"], "Felidae");
    let args = ["stream", "--model", &named, "--fps", "2", "--max-frame", "1600x1600", "--per-frame", &clip];
    let table: Ran = super::command(&args).env("COLUMNS", "160").output().unwrap().into();
    assert_eq!(table.stdout.matches("Felidae (family)").count(), 6 + 2, "of frames and of the event: {}", table.stdout);
    let (deployment, package) = (files.file("north.toml", DEPLOYMENT.as_bytes()), files.path("package"));
    oltr(&["export", "camtrap-dp", "--store", &dir, "--deployment", &deployment, &package]).code(0);
    assert_eq!(rows(&format!("{package}/observations.csv"))[0]["scientificName"], "Felidae");
    let json: Value =
        serde_json::from_str(&fs::read_to_string(format!("{package}/datapackage.json")).unwrap()).unwrap();
    let taxon =
        json!({"scientificName": "Felidae", "taxonRank": "family", "taxonID": "https://www.gbif.org/species/9703"});
    assert_eq!(json["taxonomic"], json!([taxon]));
    let table = files.path("photos.csv");
    let args = ["classify", "--model", &named, "--format", "csv", "--output", &table, "examples/photos/cat.jpg"];
    oltr(&args).code(0);
    let row = rows(&table).remove(0);
    assert_eq!(["taxon", "taxon_rank", "taxon_gbif"].map(|name| row[name].as_str()), ["Felidae", "family", "9703"]);
    // If no name is sure enough, there is none. A bundle without a taxonomy has no name field.
    let doubtful = super::names::bundle(&files, r#"{"label":0.999}"#, "{}");
    let end = |model: &str| {
        let lines = oltr(&["stream", "--json", "--model", model, "--fps", "2", "--max-frame", "1600x1600", &clip])
            .code(0)
            .json();
        lines.into_iter().find(|line| line["type"] == "end").unwrap()
    };
    assert!(end(&doubtful)["taxon"].is_null() && end(&doubtful).as_object().unwrap().contains_key("taxon"));
    assert!(!end(super::BUNDLE).as_object().unwrap().contains_key("taxon"));
}

#[test]
fn what_an_enrolment_named_is_open_again_once_it_is_undone() {
    let files = Folder::new();
    let (dir, enrolled) = (files.path("store"), files.path("new.enrolled"));
    stream(&files, &dir, &[]).code(0);
    stream(&files, &dir, &[]).code(0);
    let moons: Vec<String> = records(&dir)
        .iter()
        .filter(|record| record["decision"] == "open")
        .map(|record| record["id"].to_string())
        .collect();
    assert_eq!(moons.len(), 2);
    // Both have the same picture: one review for both, named by either of them.
    let group = format!("alike:{}", moons[1]);
    oltr(&["review", "set", &dir, &format!("{group},-{}", moons[0]), "nothing"]).code(0).says(&["1 record: nothing"]);
    let said: Vec<Value> = records(&dir).into_iter().filter(|record| !record["review"].is_null()).collect();
    assert!(said.len() == 1 && said[0]["id"].as_u64() == moons[1].parse().ok(), "{said:?}");
    oltr(&["review", "set", &dir, &moons.join(","), "new moon"]).code(0).says(&["2 records: new moon"]);
    let enrol = |more: &[&str]| {
        oltr(&[&["review", "enrol", "--enrolled", &enrolled][..], more, &[&dir, "new moon"]].concat()).code(0)
    };
    let said = || -> Vec<Value> {
        let ends = stream(&files, &files.path("later"), &["--enrolled", &enrolled]).code(0).json();
        ends.into_iter().filter(|line| line["type"] == "end").map(|line| line["label"].clone()).collect()
    };
    enrol(&["--dry-run"]);
    assert!(!Path::new(&enrolled).exists());
    let reported = enrol(&[]).stdout;
    assert!(reported.contains("2 pictures, radius") && reported.contains("--undo"), "{reported}");
    assert_eq!(said(), ["cup", "new moon"]);
    // The line that it printed, as a shell reads it.
    let undo = reported.lines().find_map(|line| line.strip_prefix("to undo this: oltr ")).unwrap();
    let command = format!("{} {undo}", env!("CARGO_BIN_EXE_oltr"));
    assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    stream(&files, &files.path("after"), &["--enrolled", &enrolled]).code(66);
    let ends = stream(&files, &files.path("after"), &["--no-enrolled"]).code(0).json();
    assert!(ends.iter().any(|line| line["type"] == "end" && line["decision"] == "open"));
}

/// The value of `name=` in a unit or settings file.
fn setting<'a>(text: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| {
        let line = line.strip_prefix("Environment=").unwrap_or(line).trim_matches('"');
        Some(line.strip_prefix(name)?.strip_prefix('=')?.trim_matches('"'))
    };
    text.lines().find_map(value).unwrap_or_else(|| panic!("{name} is not in: {text}"))
}

/// The services of the Debian package start with the settings that it installs.
#[test]
fn the_packaged_services_start_with_what_they_say() {
    let read = |name: &str| fs::read_to_string(package("cross/debian").join(name)).unwrap();
    let deployment = package("cross/debian/deployment.toml");
    for (unit, settings) in [("oltr.service", "oltr.conf"), ("pipe.conf", "oltr.pipe.conf")] {
        let (unit, settings) = (read(unit), read(settings));
        let start = unit.lines().rfind(|line| line.starts_with("ExecStart=")).unwrap().replace("$$", "$");
        // The unit has the same defaults as the settings file, which may be missing.
        let service = read("oltr.service");
        for (name, of) in [("OLTR_ARGUMENTS", &unit), ("OLTR_STORE", &service)] {
            assert_eq!(setting(of, name), setting(&settings, name));
        }
        let files = Folder::new();
        // A few frames in place of a camera or a pipe.
        let film = files.file("film.y4m", &super::stream::y4m(3));
        for (store, kept) in [(setting(&settings, "OLTR_STORE"), true), ("", false)] {
            let words = start.split_once("/usr/bin/oltr ").unwrap().1.split(" < <").next().unwrap();
            let words = words.replace("$OLTR_ARGUMENTS", setting(&settings, "OLTR_ARGUMENTS"));
            let words = words
                .replace("$OLTR_STORE", store)
                .replace("$OLTR_PAGE", setting(&service, "OLTR_PAGE"))
                .replace("$OLTR_SOURCE", "-")
                .replace(" - ", " ");
            let words = words.replace("/etc/oltr/deployment.toml", deployment.to_str().unwrap());
            let args: Vec<&str> =
                words.split_whitespace().filter(|word| *word != "--reconnect" && *word != "-").collect();
            assert!(args[..2] == ["stream", "--json"] && args.contains(&"--max-memory"), "{args:?}");
            let args = [&args[..], &["--consensus", "1/1", film.as_str()]].concat();
            let ran: Ran = super::command(&args).current_dir(files.path("")).output().unwrap().into();
            let last = ran.code(0).json().pop().unwrap();
            assert_eq!(last["store"]["kept"], if kept { Value::from(1) } else { Value::Null }, "{last}");
        }
        let records = records(&files.path("store"));
        assert_eq!(records[0]["deployment"]["id"], "camera-1");
        for bound in ["--store-size", "--store-free", "--store-day", "--deployment"] {
            assert!(setting(&settings, "OLTR_STORE").contains(bound), "{bound}");
        }
    }
}
