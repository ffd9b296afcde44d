use super::*;
use oltr_frames::frame::origin::{Camera, Place, Taken};
use serde_json::Value;

const FORMATS: [Format; 4] = [Format::Json, Format::Csv, Format::MegaDetector, Format::SpeciesNet];

fn about() -> About {
    let classes = ["Vulpes vulpes", "cup, large", "my moth"].map(String::from).to_vec();
    About { version: "0.1.0".into(), model: "everyday".into(), sha256: "00ff".into(), classes, lineages: Vec::new() }
}

fn origin() -> Origin {
    let taken = Taken::parse("2024-05-01T06:12:33").unwrap().with(Some("25"), Some(120));
    let place = Place { latitude: 52.5, longitude: -13.25, altitude: None };
    let camera = Camera { make: Some("Acme".parse().unwrap()), ..Camera::default() };
    Origin { taken: Some(taken), place: Some(place), camera: Some(camera) }
}

/// Adds photos of every kind: a class, open, an enrolled class, and an unreadable one.
fn add(journal: &mut Journal, names: &[&str]) {
    let (origin, none) = (origin(), Origin::default());
    for name in names {
        let known = Shown {
            decision: "known",
            label: Some("fox"),
            class: Some(0),
            enrolled: false,
            probability: 0.93,
            reachability: 0.8,
            threshold: 0.5,
            nearest: ("fox", 12.5),
            shot: Some("many"),
            top: &[(0, 0.93), (1, 0.05)],
            origin: &origin,
            taxon: Some(Taxon {
                rank: "label",
                name: "=fox",
                probability: 0.93,
                of: Some("Vulpes vulpes"),
                gbif: Some(5219243),
                worms: None,
            }),
        };
        let open =
            Shown { decision: "open", label: None, class: None, shot: None, origin: &none, taxon: None, ..known };
        let enrolled = Shown { label: Some("my moth"), class: Some(2), enrolled: true, ..known };
        let failed = Failed { kind: "bad-image", reason: "is \"empty\",\nor so" };
        let outcome = match name {
            name if name.contains("open") => Ok(open),
            name if name.contains("moth") => Ok(enrolled),
            name if name.contains("bad") => Err(failed),
            _ => Ok(known),
        };
        let schema = if outcome.is_ok() { "oltr.classification/1" } else { "oltr.error/1" };
        let mut line = serde_json::json!({"schema": schema, "source": name});
        if outcome.is_ok() {
            line["model"] = serde_json::json!({"name": "everyday", "sha256": about().sha256});
        }
        let line = line.to_string();
        journal.add(&Photo { name, line: &line, outcome }).unwrap();
    }
}

const NAMES: [&str; 5] = ["a/fox.jpg", "a/open, \"new\".jpg", "moth\n.jpg", "bad.jpg", "ä.jpg"];

fn without_times(text: &str) -> String {
    text.lines().filter(|line| !line.contains("completion_time")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_run_that_is_cut_anywhere_gives_the_same_file_when_it_goes_on() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut whole = Journal::begin(&at("whole"), format, about(), false).unwrap();
        add(&mut whole, &NAMES);
        let part = std::fs::read(at("whole.part")).unwrap();
        whole.finish(NAMES.into_iter()).unwrap();
        let expected = without_times(&std::fs::read_to_string(at("whole")).unwrap());
        // Each end is synced to disk, which is slow, so not every byte is tried.
        for cut in (0..part.len()).step_by(part.len() / 40).chain([part.len() - 1, part.len()]) {
            let _ = std::fs::remove_file(at("cut"));
            std::fs::write(at("cut.part"), &part[..cut]).unwrap();
            let mut journal = Journal::begin(&at("cut"), format, about(), true).unwrap();
            let left: Vec<&str> = NAMES.into_iter().filter(|name| !journal.is_done(name)).collect();
            assert!(left.contains(&"bad.jpg"), "what failed is tried again");
            assert!(cut < part.len() || left.len() == 1);
            add(&mut journal, &left);
            journal.finish(NAMES.into_iter()).unwrap();
            assert_eq!(without_times(&std::fs::read_to_string(at("cut")).unwrap()), expected, "{format:?} {cut}");
            assert!(!at("cut.part").exists());
        }
    }
}

#[test]
fn a_finished_file_is_gone_on_with() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut journal = Journal::begin(&path, format, about(), true).unwrap();
        add(&mut journal, &NAMES);
        journal.finish(NAMES.into_iter()).unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        // Nothing is left to do, and then one more photo.
        let mut journal = Journal::begin(&path, format, about(), true).unwrap();
        let left: Vec<&str> = NAMES.into_iter().filter(|name| !journal.is_done(name)).collect();
        assert_eq!(left, ["bad.jpg"], "{format:?}");
        add(&mut journal, &left);
        journal.finish(NAMES.into_iter()).unwrap();
        assert_eq!(without_times(&std::fs::read_to_string(&path).unwrap()), without_times(&before));
        let mut journal = Journal::begin(&path, format, about(), true).unwrap();
        add(&mut journal, &["0.jpg"]);
        journal.finish(["0.jpg"].into_iter()).unwrap();
        let after = std::fs::read_to_string(&path).unwrap();
        assert!(after.contains("0.jpg") && after.contains("fox.jpg"), "{format:?}: {after}");
        // A file of another model, other classes or another format is refused.
        let model = About { sha256: "01".into(), ..about() };
        let error = Journal::begin(&path, format, model, true).unwrap_err().to_string();
        assert!(error.contains("another model") && error.contains("another --output"), "{format:?}: {error}");
        let other = About { classes: vec!["cup".into()], ..about() };
        if format == Format::MegaDetector {
            assert!(Journal::begin(&path, format, other, true).unwrap_err().to_string().contains("classes"));
        }
        let next = FORMATS[(FORMATS.iter().position(|f| *f == format).unwrap() + 1) % 4];
        let error = Journal::begin(&path, next, about(), true).unwrap_err().to_string();
        assert!(error.contains("another --output"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        assert!(!folder.path().join("out.part").exists());
    }
}

#[test]
fn files_of_other_runs_are_distinguished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let journal = Journal::begin(&path, Format::Csv, about(), false).unwrap();
    assert!(matches!(Journal::begin(&path, Format::Csv, about(), true), Err(Error::Busy { .. })));
    drop(journal);
    assert!(matches!(Journal::begin(&path, Format::Json, about(), true), Err(Error::BadInput { .. })));
    let other = About { sha256: "01".into(), ..about() };
    assert!(matches!(Journal::begin(&path, Format::Csv, other, true), Err(Error::BadInput { .. })));
    // Without --resume it starts over.
    assert!(Journal::begin(&path, Format::Json, about(), false).unwrap().is_empty());
    assert!(matches!(Journal::begin(Path::new("/dev/null"), Format::Csv, about(), false), Err(Error::Config(_))));
}

fn made(format: Format) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let mut journal = Journal::begin(&path, format, about(), false).unwrap();
    add(&mut journal, &NAMES);
    journal.finish(NAMES.into_iter()).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn megadetector_tells_open_as_a_classification_of_its_own() {
    let json: Value = serde_json::from_str(&made(Format::MegaDetector)).unwrap();
    assert_eq!(json["info"]["format_version"], "1.6");
    assert_eq!(json["detection_categories"], serde_json::json!({"1": "animal"}));
    assert_eq!(json["classification_categories"]["4"], "open");
    let images = json["images"].as_array().unwrap();
    let files: Vec<&str> = images.iter().map(|image| image["file"].as_str().unwrap()).collect();
    assert_eq!(files, NAMES);
    let of = |at: usize| images[at].pointer("/detections/0/classifications").unwrap().to_string();
    assert_eq!([of(0), of(1), of(2)], [r#"[["1",0.93],["2",0.05]]"#, r#"[["4",1.0]]"#, r#"[["3",1.0]]"#]);
    assert_eq!(images[0]["detections"][0]["bbox"], serde_json::json!([0.0, 0.0, 1.0, 1.0]));
    assert!(images[3]["failure"].is_string() && images[3]["detections"].is_null());
}

#[test]
fn speciesnet_tells_open_and_failures() {
    let json: Value = serde_json::from_str(&made(Format::SpeciesNet)).unwrap();
    let predictions = json["predictions"].as_array().unwrap();
    let of = |at: usize| predictions[at]["prediction"].as_str().unwrap().split(';').collect::<Vec<_>>();
    assert_eq!(of(0)[1..], ["", "", "", "vulpes", "vulpes", "vulpes vulpes"]);
    assert_eq!(of(1)[1..], ["", "", "", "", "", "open"]);
    assert_eq!((of(0)[0].len(), of(0)[0] != of(1)[0]), (36, true));
    assert_eq!(predictions[3]["failures"], serde_json::json!(["CLASSIFIER"]));
    assert_eq!((&predictions[0]["latitude"], &predictions[0]["prediction_score"]), (&52.5.into(), &0.93.into()));
}

/// Taxa of the first two classes: all of them of one, the family of the other.
fn lineages() -> Vec<Lineage> {
    let all = ["Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "Vulpes vulpes"];
    let mut family = [const { None }; 7];
    family[4] = Some("Cup;idae".to_string());
    vec![all.map(|taxon| Some(taxon.to_string())), family]
}

#[test]
fn speciesnet_has_the_taxa_of_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let about = || About { lineages: lineages(), ..about() };
    let mut journal = Journal::begin(&path, Format::SpeciesNet, about(), false).unwrap();
    add(&mut journal, &NAMES);
    journal.finish(NAMES.into_iter()).unwrap();
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let classes = json["predictions"][0]["classifications"]["classes"].as_array().unwrap();
    let labels: Vec<&str> = classes.iter().map(|label| label.as_str().unwrap().split_once(';').unwrap().1).collect();
    assert_eq!(labels, ["mammalia;carnivora;canidae;vulpes;vulpes;vulpes vulpes", ";;cup,idae;;;cup, large"]);
    // The file is found to be of this model.
    assert!(Journal::begin(&path, Format::SpeciesNet, about(), true).unwrap().is_done(NAMES[0]));
}

#[test]
fn megadetector_describes_classes_whose_taxa_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let about = || About { lineages: lineages(), ..about() };
    let mut journal = Journal::begin(&path, Format::MegaDetector, about(), false).unwrap();
    add(&mut journal, &NAMES);
    journal.finish(NAMES.into_iter()).unwrap();
    let json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let expected = serde_json::json!({
        "1": "animalia;chordata;mammalia;carnivora;canidae;vulpes;vulpes vulpes",
        "2": ";;;;cup,idae;;"
    });
    assert_eq!(json["classification_category_descriptions"], expected);
    assert!(Journal::begin(&path, Format::MegaDetector, about(), true).unwrap().is_done(NAMES[0]));
}

#[test]
fn csv_has_a_row_for_every_photo() {
    let text = made(Format::Csv);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.iter().map(|row| &row[0]).collect::<Vec<_>>(), NAMES);
    let row: Vec<&str> = rows[0].iter().collect();
    assert_eq!(
        row[1..16],
        [
            "known",
            "fox",
            "Vulpes vulpes",
            "0.93",
            "0.8",
            "0.5",
            "fox",
            "12.5",
            "many",
            "2024-05-01T06:12:33",
            "+02:00",
            "25",
            "52.5",
            "-13.25",
            ""
        ]
    );
    assert_eq!((&rows[1][1], &rows[1][2], &rows[1][7]), ("open", "", "fox"));
    assert_eq!((&rows[3][1], &rows[3][21]), ("", "bad-image"));
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut journal = Journal::begin(&path, format, about(), false).unwrap();
        add(&mut journal, &["a.jpg"]);
        // A line with very many classes is this long.
        let long = "x".repeat(journal::MAX_LINE as usize);
        let failed = Failed { kind: "io", reason: &long };
        let error = journal.add(&Photo { name: "b.jpg", line: &long, outcome: Err(failed) });
        if format == Format::SpeciesNet {
            error.unwrap();
        } else {
            assert!(error.unwrap_err().to_string().contains("--top"), "{format:?}");
        }
        journal.finish(["a.jpg", "b.jpg"].into_iter()).unwrap();
        assert!(std::fs::read_to_string(path).unwrap().contains("a.jpg"));
    }
}

#[test]
fn names_in_csv_are_no_formulas_and_are_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let classes = ["=cmd()", "+1", "-"].map(String::from).to_vec();
    let about = || About { classes: classes.clone(), ..about() };
    let names = ["=1.jpg", "'=1.jpg", "-bad.jpg"];
    let mut journal = Journal::begin(&path, Format::Csv, about(), false).unwrap();
    add(&mut journal, &names);
    journal.finish(names.into_iter()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.iter().map(|row| &row[0]).collect::<Vec<_>>(), ["'=1.jpg", "''=1.jpg", "'-bad.jpg"]);
    // Numbers stay numbers.
    assert_eq!((&rows[0][3], &rows[0][14]), ("'=cmd()", "-13.25"));
    let journal = Journal::begin(&path, Format::Csv, about(), true).unwrap();
    assert_eq!(names.map(|name| journal.is_done(name)), [true, true, false]);
    journal.finish(names.into_iter()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn names_that_are_no_text_stay_apart() {
    use std::os::unix::ffi::OsStrExt;
    let name = |bytes: &[u8]| name_of(Path::new(std::ffi::OsStr::from_bytes(bytes)), None).unwrap();
    assert_eq!(name(b"a/\xe9\xffb.jpg"), "a/\u{fffd}E9\u{fffd}FFb.jpg");
    assert_ne!(name(b"\xe9.jpg"), name(b"\xe8.jpg"));
    assert_eq!(name("ä/\u{fffd}.jpg".as_bytes()), "ä/\u{fffd}.jpg");
}

#[test]
fn names_are_relative_to_the_base() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("base/a")).unwrap();
    std::os::unix::fs::symlink(at("base"), at("link")).unwrap();
    let name = |path: &str, base: &str| name_of(&at(path), Some(&at(base))).map_err(|e| e.to_string());
    assert_eq!(name("base/a/b.jpg", "base").unwrap(), "a/b.jpg");
    assert_eq!(name("base/./a/../b.jpg", "base/").unwrap(), "b.jpg");
    assert_eq!(name("link/a/b.jpg", "base").unwrap(), "a/b.jpg");
    assert!(name("other.jpg", "base").unwrap_err().contains("--base"));
    assert_eq!(name_of(Path::new("./a/b.jpg"), None).unwrap(), "a/b.jpg");
}
