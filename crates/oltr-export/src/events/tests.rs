use std::collections::BTreeMap;

use super::*;
use crate::record::Lines;

/// A store of four events: a class, open, open but named in a review, and a class reviewed as nothing.
const LINES: &str = r#"
{"schema":"oltr.stats/1","seq":3,"boot_id":"b","uptime_ms":1800000.0,"captured":50,"dropped":2,"last":false}
{"schema":"oltr.stats/1","seq":9,"boot_id":"b","uptime_ms":3600000.0,"captured":100,"dropped":5,"last":true}
{"schema":"oltr.stats/1","seq":4,"boot_id":"b","uptime_ms":1800000.0,"captured":10,"dropped":0,"decode_errors":1,"last":true}
{"schema":"oltr.record/1","seq":1,"wall":"2024-05-01T06:13:00.000Z","clock_synchronised":true,"source":"cam","id":"r-1","type":"end","reason":"gone","decision":"known","label":"fox","class":3,"shot":"many","first":{"mono_ns":1,"wall":"2024-05-01T06:12:30.000Z"},"last":{"mono_ns":2,"wall":"2024-05-01T06:12:40.500Z"},"duration_ms":10500.0,"frames":20,"best":{"frame":7,"mono_ns":1,"wall":"2024-05-01T06:12:33.250Z","probability":0.97,"reachability":1.2,"nearest":{"label":"fox","class":3}},"mean":{"probability":0.91,"reachability":1.0},"picture":"day/1.jpg","review":null,"first_ever":true}
{"schema":"oltr.record/1","source":"cam","id":"r-2","decision":"open","label":null,"first":{"wall":"2024-05-01T07:00:00.000Z"},"last":{"wall":"2024-05-01T07:00:05.000Z"},"frames":4,"best":{"wall":"2024-05-01T07:00:01.000Z","nearest":{"label":"cup","class":1}},"mean":{"probability":0.99,"reachability":0.3},"picture":"day/2.jpg","review":null,"first_ever":false}
{"schema":"oltr.record/1","source":"cam","id":"r-3","decision":"open","label":null,"first":{"wall":"2024-05-01T08:00:00"},"last":{"wall":"2024-05-01T08:00:00"},"frames":1,"best":{"wall":"2024-05-01T08:00:00"},"mean":{"probability":0.5,"reachability":0.3},"picture":null,"review":{"label":"Mustela\terminea","by":"Ada","wall":"2024-06-01T10:00:00Z"},"first_ever":false}
{"schema":"oltr.record/1","source":"cam","id":"r-4","decision":"known","label":"fox","first":{"wall":"2024-05-01T09:00:00Z"},"last":{"wall":"2024-05-01T09:00:00Z"},"frames":1,"best":{"wall":"2024-05-01T09:00:00Z"},"mean":{"probability":0.6,"reachability":0.8},"picture":"../4.jpg","review":{"label":"nothing","by":"Ada","wall":"2024-06-01T10:00:00Z"},"first_ever":false}
"#;

const DEPLOYMENT: &str = "id = 'north-1'\nplace = 'Pond'\nlatitude = 52.5\nlongitude = 13.25\nzone = '+02:00'\n\
    height = 1.5\nset_up_by = 'Ada'\n[taxa]\nfox = 'Vulpes vulpes'";

struct Made {
    folder: tempfile::TempDir,
    summary: Summary,
}

fn made(format: Format, deployment: Option<&str>) -> Result<Made> {
    made_of(LINES, format, deployment)
}

fn made_of(lines: &str, format: Format, deployment: Option<&str>) -> Result<Made> {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir_all(store.join("day")).unwrap();
    for picture in ["day/1.jpg", "day/2.jpg", "../4.jpg"] {
        std::fs::write(store.join(picture), picture).unwrap();
    }
    let deployment = deployment.map(|text| Deployment::parse("d.toml", text).unwrap());
    let settings = Settings { deployment: deployment.as_ref(), pictures: Some(&store), version: "0.1.0" };
    let mut lines = Lines::new("records", lines.as_bytes());
    let summary = write(format, &mut lines, &settings, &folder.path().join("out"))?;
    Ok(Made { folder, summary })
}

impl Made {
    fn text(&self, name: &str) -> String {
        let out = self.folder.path().join("out");
        std::fs::read_to_string(if name.is_empty() { out } else { out.join(name) }).unwrap()
    }

    /// The rows of a table by their columns.
    fn rows(&self, name: &str, delimiter: u8) -> Vec<BTreeMap<String, String>> {
        let text = self.text(name);
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
        reader.deserialize().map(|row| row.unwrap()).collect()
    }
}

#[test]
fn camtrap_dp_is_honest() {
    let made = made(Format::CamtrapDp, Some(DEPLOYMENT)).unwrap();
    let rows = made.rows("observations.csv", b',');
    let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("observationType"), ["animal", "unknown", "animal", "blank"]);
    assert_eq!(column("scientificName"), ["Vulpes vulpes", "", "Mustela\terminea", ""]);
    assert_eq!(column("classificationMethod"), ["machine", "machine", "human", "human"]);
    assert_eq!(column("classifiedBy"), ["oltr 0.1.0", "oltr 0.1.0", "Ada", "Ada"]);
    assert_eq!(column("classificationProbability"), ["0.9100", "", "", ""]);
    // Without an offset of its own a time is by the deployment's zone.
    let starts = [
        "2024-05-01T08:12:30+02:00",
        "2024-05-01T09:00:00+02:00",
        "2024-05-01T08:00:00+02:00",
        "2024-05-01T11:00:00+02:00",
    ];
    assert_eq!(column("eventStart"), starts);
    assert!(rows[1]["observationComments"].contains("open") && rows[3]["observationComments"].contains("fox"));
    let media = made.rows("media.csv", b',');
    assert_eq!(
        media.iter().map(|row| row["filePath"].as_str()).collect::<Vec<_>>(),
        ["media/day/1.jpg", "media/day/2.jpg"]
    );
    assert_eq!(made.text("media/day/1.jpg"), "day/1.jpg");
    let deployments = made.rows("deployments.csv", b',');
    let [deployment] = &deployments[..] else { panic!("{deployments:?}") };
    assert_eq!(
        (deployment["deploymentStart"].as_str(), deployment["timestampIssues"].as_str()),
        ("2024-05-01T08:00:00+02:00", "false")
    );
    assert!(
        deployment["deploymentComments"]
            .contains("watched 1.50 h in 2 runs; 110 frames taken, 5 of them dropped, 1 damaged")
    );
    let package: serde_json::Value = serde_json::from_str(&made.text("datapackage.json")).unwrap();
    assert_eq!(package["temporal"], serde_json::json!({"start": "2024-05-01", "end": "2024-05-01"}));
    assert_eq!(package["taxonomic"].as_array().unwrap().len(), 2);
    let summary = Summary { events: 4, reviewed: 2, pictures: 2, without_picture: 2, uncertain_times: 0, outside: 0 };
    assert_eq!(made.summary, summary);
}

/// The same store by a bundle with a taxonomy: a name of a class, a name above a class, an open event, and no name.
fn with_taxonomy() -> String {
    let taxa = [
        r#"{"rank":"label","name":"red fox","probability":0.9,"of":{"rank":"species","name":"Vulpes fulva"},"gbif":5219243}"#,
        r#"{"rank":"family","name":"Felidae","probability":0.7,"worms":9703}"#,
        r#"{"rank":"order","name":"Carnivora","probability":0.8}"#,
        "null",
        r#"{"rank":"family","name":"Felidae","probability":0.7,"worms":9703}"#,
        r#"{"rank":"label","name":"red fox","probability":0.9,"of":{"rank":"species","name":"Vulpes fulva"},"gbif":5219243}"#,
    ];
    let said = r#"{"label":"cat","by":"Ada"}"#;
    let events = [
        ("known", r#""fox""#, "null"),
        ("known", r#""cat""#, "null"),
        ("open", "null", "null"),
        ("known", r#""fox""#, "null"),
        ("known", r#""cat""#, said),
        ("known", r#""fox""#, said),
    ];
    let lines = events.iter().zip(taxa).enumerate().map(|(id, ((decision, label, review), taxon))| {
        let time = format!(r#"{{"wall":"2024-05-01T06:12:{id:02}Z"}}"#);
        format!(
            r#"{{"schema":"oltr.record/1","id":{id},"decision":"{decision}","label":{label},"review":{review},"first":{time},
            "last":{time},"mean":{{"probability":0.6}},"picture":"day/1.jpg","taxon":{taxon}}}"#
        )
    });
    lines.map(|line| line.replace('\n', "") + "\n").collect()
}

#[test]
fn a_name_above_the_class_stands_for_it() {
    let named = |taxa: &str| DEPLOYMENT.replace("fox = 'Vulpes vulpes'", taxa);
    let made = |format| made_of(&with_taxonomy(), format, Some(&named("dog = 'Canis'"))).unwrap();
    let camtrap = made(Format::CamtrapDp);
    let rows = camtrap.rows("observations.csv", b',');
    let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    // A review names the class. Its label is used, because the model's taxon was of another class.
    assert_eq!(column("scientificName"), ["Vulpes fulva", "Felidae", "", "", "cat", "cat"]);
    assert_eq!(column("observationType"), ["animal", "animal", "unknown", "animal", "animal", "animal"]);
    assert_eq!(rows[2]["observationTags"], "open | near:Carnivora");
    assert_eq!(rows[1]["observationTags"], "class:cat");
    let package: serde_json::Value = serde_json::from_str(&camtrap.text("datapackage.json")).unwrap();
    let taxa = serde_json::json!([
        {"scientificName": "Felidae", "taxonRank": "family", "taxonID": "https://www.marinespecies.org/aphia.php?p=taxdetails&id=9703"},
        {"scientificName": "Vulpes fulva", "taxonRank": "species", "taxonID": "https://www.gbif.org/species/5219243"},
        {"scientificName": "cat"},
    ]);
    assert_eq!(package["taxonomic"], taxa);
    let rows = made(Format::EcoTaxa).rows("ecotaxa_oltr.tsv", b'\t');
    let column = |name: &str| rows[1..].iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("object_annotation_category"), ["Vulpes fulva", "Felidae", "", "", "cat", "cat"]);
    assert_eq!(column("object_annotation_status"), ["predicted", "predicted", "", "", "validated", "validated"]);
    assert_eq!(column("object_oltr_taxon"), ["red fox", "Felidae", "Carnivora", "", "Felidae", "red fox"]);
    assert_eq!(column("object_oltr_taxon_rank")[..2], ["label", "family"]);
    let rows = made(Format::Csv).rows("", b',');
    let of = |row: usize| {
        ["label", "taxon", "taxon_rank", "taxon_probability", "taxon_of", "taxon_gbif", "taxon_worms"]
            .map(|name| rows[row][name].clone())
    };
    assert_eq!(of(0), ["fox", "red fox", "label", "0.9", "Vulpes fulva", "5219243", ""]);
    assert_eq!(of(1), ["cat", "Felidae", "family", "0.7", "", "", "9703"]);
    assert_eq!(of(3), ["fox", "", "", "", "", "", ""]);
    // The deployment calls a class no taxon. That does not apply to an event whose class the model is not sure of.
    let camtrap = made_of(&with_taxonomy(), Format::CamtrapDp, Some(&named("cat = ''"))).unwrap();
    let names: Vec<String> = camtrap
        .rows("observations.csv", b',')
        .into_iter()
        .map(|mut row| row.remove("scientificName").unwrap())
        .collect();
    assert_eq!(names, ["Vulpes fulva", "Felidae", "", "", "", ""]);
}

#[test]
fn a_picture_of_the_right_length_is_not_yet_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["a", "b"].map(|name| folder.path().join(name));
    let whole: Vec<u8> = (0..3 * COMPARED as u32 / 2).map(|i| i as u8).collect();
    std::fs::write(&from, &whole).unwrap();
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    for at in [0, COMPARED, whole.len() - 1] {
        let mut torn = whole.clone();
        torn[at..].fill(0xFF);
        std::fs::write(&to, torn).unwrap();
        assert!(copy(&from, &to).unwrap());
        assert!(std::fs::read(&to).unwrap() == whole, "{at}");
        let there = inode(&to);
        assert!(copy(&from, &to).unwrap() && inode(&to) == there, "what is whole is not copied again");
    }
    for other in [&whole[1..], &[]] {
        std::fs::write(&to, other).unwrap();
        assert!(copy(&from, &to).unwrap() && std::fs::read(&to).unwrap() == whole);
    }
}

#[test]
fn events_beside_the_deployment_are_counted() {
    // Events are from 06:00 to 09:00 UTC. The one of 06:12:30 to 06:12:40.5 ends after 06:12:40.
    for (times, outside) in [
        ("start = 2024-05-01T08:00:00+02:00\nend = 2024-05-01T11:00:00+02:00", 0),
        ("start = 2024-05-01T08:12:40+02:00", 1),
        ("start = 2024-05-01T08:12:41+02:00", 2),
        ("end = 2024-05-01T10:59:59+02:00", 1),
        ("start = 2020-01-01T00:00:00Z\nend = 2020-02-01T00:00:00Z", 4),
    ] {
        let deployment = DEPLOYMENT.replace("[taxa]", &format!("{times}\n[taxa]"));
        assert_eq!(made(Format::Csv, Some(&deployment)).unwrap().summary.outside, outside, "{times}");
    }
}

#[test]
fn camtrap_dp_needs_a_place() {
    for deployment in [None, Some("id = 'a'")] {
        let error = made(Format::CamtrapDp, deployment).err().unwrap().to_string();
        assert!(error.contains("latitude") && error.contains("--deployment"), "{error}");
    }
}

#[test]
fn megadetector_has_the_pictures() {
    let made = made(Format::MegaDetector, None).unwrap();
    let json: serde_json::Value = serde_json::from_str(&made.text("")).unwrap();
    let images = json["images"].as_array().unwrap();
    assert_eq!(images.iter().map(|i| i["file"].as_str().unwrap()).collect::<Vec<_>>(), ["day/1.jpg", "day/2.jpg"]);
    let name = |at: usize| {
        let id = images[at].pointer("/detections/0/classifications/0/0").unwrap().as_str().unwrap();
        json["classification_categories"][id].as_str().unwrap()
    };
    assert_eq!([name(0), name(1)], ["fox", "open"]);
    // The third time has no UTC offset.
    assert_eq!(made.summary.uncertain_times, 1);
}

#[test]
fn ecotaxa_has_no_category_for_unknown_classes() {
    let made = made(Format::EcoTaxa, Some(DEPLOYMENT)).unwrap();
    let rows = made.rows("ecotaxa_oltr.tsv", b'\t');
    // The first row contains the types of the columns.
    assert!(rows[0].values().all(|kind| kind == "[t]" || kind == "[f]"));
    let column = |name: &str| rows[1..].iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("object_annotation_status"), ["predicted", ""]);
    assert_eq!(column("object_annotation_category"), ["Vulpes vulpes", ""]);
    assert_eq!(
        (column("object_date"), column("object_time")),
        (vec!["20240501".into(); 2], vec!["061233".into(), "070001".into()])
    );
    assert_eq!(made.text(&rows[1]["img_file_name"]), "day/1.jpg");
}

#[test]
fn hours_are_those_of_all_lines_wherever_they_stand() {
    // Two runs of an hour and half an hour. Their lines are between those of their events.
    let mut lines: Vec<&str> = LINES.trim().lines().collect();
    lines.swap(1, 4);
    lines.swap(2, 5);
    let text = lines.join("\n");
    let out = tempfile::tempdir().unwrap();
    let settings = Settings { deployment: None, pictures: None, version: "0.1.0" };
    write(Format::EcoTaxa, &mut Lines::new("records", text.as_bytes()), &settings, out.path()).unwrap();
    let table = std::fs::read_to_string(out.path().join("ecotaxa_oltr.tsv")).unwrap();
    let mut reader = csv::ReaderBuilder::new().delimiter(b'\t').from_reader(table.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(|row| row.unwrap()).collect();
    let hours: Vec<&str> = rows.iter().map(|row| row["sample_hours_watched"].as_str()).collect();
    assert_eq!(hours, ["[f]", "1.5", "1.5"]);
    let mut effort = Effort::default();
    for _ in 0..3 {
        assert_eq!(effort.hours(), None);
    }
    for uptime_ms in [1.8e6, 3.6e6, 7.2e6] {
        effort.add(&crate::record::Stats { seq: uptime_ms as u64, uptime_ms, ..Default::default() });
        assert_eq!(effort.hours(), Some(uptime_ms / 3.6e6));
    }
    // A recording knows its duration, however long the run took. For photos the time is unknown.
    let run = |watched_ms| crate::record::Stats { seq: 9, uptime_ms: 5.0, watched_ms, ..Default::default() };
    let mut effort = Effort::default();
    effort.add(&run(Some(None)));
    assert_eq!((effort.hours(), effort.text().unwrap().starts_with("effort: 1 run;")), (None, true));
    effort.add(&run(Some(Some(7.2e6))));
    assert!(effort.text().unwrap().starts_with("effort: watched 2.00 h in 2 runs;"), "{:?}", effort.text());
}

#[test]
fn an_error_names_the_file_that_it_is_of() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir_all(store.join("day")).unwrap();
    std::fs::write(store.join("day/1.jpg"), "x").unwrap();
    let out = folder.path().join("out");
    // A non-empty folder is where the picture belongs.
    std::fs::create_dir_all(out.join("media/day/1.jpg/x")).unwrap();
    std::fs::write(out.join("datapackage.json"), "{}").unwrap();
    let deployment = Deployment::parse("d.toml", DEPLOYMENT).unwrap();
    let settings = Settings { deployment: Some(&deployment), pictures: Some(&store), version: "0.1.0" };
    let error = write(Format::CamtrapDp, &mut Lines::new("records", LINES.as_bytes()), &settings, &out).unwrap_err();
    let Error::Io { path, .. } = &error else { panic!("{error}") };
    assert_eq!(*path, out.join("media/day/1.jpg"));
    // A table that cannot be written is named itself.
    let out = folder.path().join("no/such.csv");
    let error = write(Format::Csv, &mut Lines::new("records", LINES.as_bytes()), &settings, &out).unwrap_err();
    assert!(error.to_string().contains("such.csv"), "{error}");
}

#[test]
fn no_link_leads_out_of_the_store() {
    for link in ["day", "day/1.jpg"] {
        let folder = tempfile::tempdir().unwrap();
        let (store, away, out) = (folder.path().join("store"), folder.path().join("away"), folder.path().join("out"));
        std::fs::create_dir_all(&away).unwrap();
        for picture in ["1.jpg", "2.jpg"] {
            std::fs::write(away.join(picture), "secret").unwrap();
        }
        let at = store.join(link);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(if link == "day" { away.clone() } else { away.join("1.jpg") }, &at).unwrap();
        let settings = Settings { deployment: None, pictures: Some(&store), version: "0.1.0" };
        for format in [Format::EcoTaxa, Format::Csv, Format::MegaDetector] {
            let out = out.join(format!("{format:?}"));
            std::fs::create_dir_all(out.parent().unwrap()).unwrap();
            let summary = write(format, &mut Lines::new("records", LINES.as_bytes()), &settings, &out).unwrap();
            assert_eq!(summary.pictures, 0, "{link} {format:?}");
            assert!(!out.join("pictures/day/1.jpg").exists());
        }
    }
}

#[test]
fn texts_in_csv_are_no_formulas() {
    let text = LINES.replace("\"label\":\"fox\"", "\"label\":\"=cmd()\"").replace("\"Ada\"", "\"@Ada\"");
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { deployment: None, pictures: None, version: "0.1.0" };
    let out = folder.path().join("out.csv");
    write(Format::Csv, &mut Lines::new("records", text.as_bytes()), &settings, &out).unwrap();
    let mut reader = csv::Reader::from_path(out).unwrap();
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(|row| row.unwrap()).collect();
    assert_eq!((rows[0]["label"].as_str(), rows[3]["by"].as_str()), ("'=cmd()", "'@Ada"));
    assert_eq!((rows[3]["machine_label"].as_str(), rows[0]["nearest"].as_str()), ("'=cmd()", "'=cmd()"));
}

#[test]
fn csv_has_both_answers() {
    let made = made(Format::Csv, Some(DEPLOYMENT)).unwrap();
    let rows = made.rows("", b',');
    let of = |row: usize, names: [&str; 4]| names.map(|name| rows[row][name].clone());
    let names = ["decision", "label", "method", "machine_label"];
    assert_eq!(of(0, names), ["known", "fox", "machine", "fox"]);
    assert_eq!(of(1, names), ["open", "", "machine", ""]);
    assert_eq!(of(3, names), ["nothing", "", "human", "fox"]);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "x").unwrap();
    let settings = Settings { deployment: None, pictures: None, version: "0.1.0" };
    let error = write(Format::EcoTaxa, &mut std::iter::empty(), &settings, folder.path()).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // An export is done again in its place.
    let again = folder.path().join("again");
    for _ in 0..2 {
        write(Format::EcoTaxa, &mut std::iter::empty(), &settings, &again).unwrap();
    }
}

#[test]
fn paths_stay_within_their_folder() {
    assert!(is_inside("a/b.jpg") && is_inside("a.jpg"));
    for path in ["", "/a", "../a", "a/../b", ".a", "~a", "./a", "a/..b"] {
        assert!(!is_inside(path), "{path}");
    }
}
