//! Names above species, and species lists.

use std::collections::BTreeMap;

use oltr::model::with_metadata;

use super::*;

/// Taxa of a few of the everyday classes.
const TABLE: &str = "id\tfamily\tgenus\tworms
wild_cat\tFelidae\tFelis\t
cougar_face\tFelidae\tPuma\t7
cougar_body\tFelidae\tPuma\t
Leopards\tFelidae\tPanthera\t
crab\tCancridae\tCancer\t107276
";

const CAT: &str = "examples/photos/cat.jpg";
const CUP: &str = "examples/photos/cup.jpg";

/// The bundle with these taxa and thresholds of names, in `folder`.
pub fn bundle(folder: &Folder, known: &str, open: &str) -> String {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(BUNDLE)).unwrap();
    let inspected = oltr(&["inspect", "--json", BUNDLE]).json().remove(0);
    let mut rule = inspected["metadata"]["oltr.open"].clone();
    if let Some(text) = rule.as_str() {
        rule = serde_json::from_str(text).unwrap();
    }
    let thresholds = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    rule["names"] = serde_json::json!({ "share": 0.9, "known": thresholds(known), "open": thresholds(open) });
    let taxonomy = r#"{"classes":{"wild_cat":{"genus":"Felis","family":"Felidae"},
        "cougar_face":{"genus":"Puma","family":"Felidae"},"cougar_body":{"genus":"Puma","family":"Felidae"},
        "Leopards":{"family":"Felidae"}},"ids":{"Felidae":{"gbif":9703}}}"#;
    let changes = [("oltr.open".to_string(), rule.to_string()), ("oltr.taxonomy".to_string(), taxonomy.to_string())];
    let changed = with_metadata("m", &bytes, &BTreeMap::from(changes), &oltr::Limits::default()).unwrap();
    folder.file("named.onnx", &changed)
}

#[test]
fn the_narrowest_name_that_is_sure_is_reported() {
    let folder = Folder::new();
    let named = bundle(&folder, r#"{"label":0.9,"family":0.68}"#, "{}");
    let ran = oltr(&["classify", "--json", "--model", &named, CUP, CAT, "examples/photos/moon.jpg"]).code(0);
    let lines = ran.json();
    // The decision is unchanged. The name next to it is what can be promised.
    assert_eq!((&lines[1]["decision"], &lines[1]["label"]), (&"known".into(), &"wild_cat".into()));
    let taxon = &lines[1]["taxon"];
    assert_eq!((&taxon["rank"], &taxon["name"]), (&"family".into(), &"Felidae".into()));
    assert_eq!(taxon["gbif"], 9703);
    assert!(taxon["probability"].as_f64() > lines[1]["probability"].as_f64(), "a sum: {taxon}");
    assert_eq!((&lines[0]["taxon"]["rank"], &lines[0]["taxon"]["name"]), (&"label".into(), &"cup".into()));
    assert!(lines[2]["taxon"].is_null() && lines[2].as_object().unwrap().contains_key("taxon"));
    assert!(keys(ran.stdout.lines().next().unwrap()).ends_with("taken,place,camera,taxon{rank,name,probability}}"));
    let table = oltr(&["classify", "--model", &named, CUP, CAT]).code(0).stdout;
    assert!(table.contains("Felidae (family)"), "{table}");
    // A stream of photos gives the same.
    let streamed = oltr(&["stream", "--json", "--model", &named, CAT]).code(0);
    assert_eq!(streamed.json()[0]["taxon"]["name"], "Felidae");
    // If no name is sure enough, the class gets a question mark.
    let doubtful = bundle(&folder, r#"{"label":0.999}"#, "{}");
    let table = oltr(&["classify", "--model", &doubtful, CAT]).code(0).stdout;
    assert!(table.contains("wild cat ?"), "{table}");
}

#[test]
fn open_photos_say_what_they_lie_near_where_the_bundle_promises_it() {
    let folder = Folder::new();
    let named = bundle(&folder, r#"{"label":0.9}"#, r#"{"family":0.001}"#);
    let photo = "examples/photos/astronaut.jpg";
    let line = oltr(&["classify", "--json", "--model", &named, photo]).code(0).json().remove(0);
    assert_eq!((&line["decision"], &line["taxon"]["name"]), (&"open".into(), &"Felidae".into()));
    let table = oltr(&["classify", "--model", &named, photo]).code(0).stdout;
    assert!(table.contains("open, ne"), "{table}");
    // A bundle without a taxonomy has no such field.
    let line = oltr(&["classify", "--json", photo]).code(0).json().remove(0);
    assert!(!line.as_object().unwrap().contains_key("taxon"));
}

#[test]
fn taxa_that_contradict_the_classes_are_refused() {
    let folder = Folder::new();
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(BUNDLE)).unwrap();
    for (taxonomy, said) in [
        (r#"{"classes":{"unicorn":{"family":"Equidae"}}}"#, "'unicorn'"),
        (r#"{"classes":{"cup":{"tribe":"x"}}}"#, "oltr.taxonomy"),
        (r#"{"classes":{"cup":{"label":"x"}}}"#, "rank label"),
    ] {
        let changes = BTreeMap::from([("oltr.taxonomy".to_string(), taxonomy.to_string())]);
        let changed = with_metadata("m", &bytes, &changes, &oltr::Limits::default()).unwrap();
        let file = folder.file("bad.onnx", &changed);
        oltr(&["classify", "--model", &file, CUP]).code(65).says(&[said]);
    }
}

#[test]
fn unlisted_classes_are_never_the_answer_and_that_is_reported() {
    let folder = Folder::new();
    let list = folder.file("here.txt", b"cup\nFaces_easy\n# and a stranger\nSnark\n");
    let ran = oltr(&["classify", "--json", "--species-list", &list, CUP, CAT]).code(0);
    let lines = ran.json();
    assert_eq!(lines[0]["label"], "cup");
    assert_eq!((&lines[1]["decision"], &lines[1]["top"][2]["probability"]), (&"open".into(), &0.0.into()));
    for line in &lines {
        assert_eq!((&line["species_list"]["classes"], &line["species_list"]["of"]), (&2.into(), &76.into()));
    }
    ran.says(&["here.txt", "2 of 76 classes", "1 of its lines"]);
    let streamed = oltr(&["stream", "--json", "--species-list", &list, CAT]).code(0).says(&["2 of 76 classes"]);
    assert_eq!(
        (&streamed.json()[0]["decision"], &streamed.json()[0]["species_list"]["of"]),
        (&"open".into(), &76.into())
    );
    let none = folder.file("none.txt", b"Snark\n");
    oltr(&["classify", "--species-list", &none, CUP]).code(65).says(&["none of the 76 classes", "--classes"]);
    oltr(&["classify", "--species-list", "nowhere.txt", CUP]).code(66).says(&["nowhere.txt"]);
}

#[test]
fn calibrate_takes_a_table_of_taxa() {
    let folder = Folder::new();
    let (labels, table) =
        (folder.file("l.tsv", super::study::LABELS.as_bytes()), folder.file("taxa.tsv", TABLE.as_bytes()));
    let new = folder.path("new.onnx");
    let study = ["--labels", &labels, "--images", PHOTOS, "--split", "test"];
    let run = |args: &[&str]| oltr(&[&["calibrate"], &study[..], args].concat());
    run(&["--taxonomy", &table, "--names", "0.8", "--output", &new, BUNDLE]).code(0);
    let metadata = oltr(&["inspect", "--json", &new]).code(0).stdout;
    assert!(metadata.contains("Felidae") && metadata.contains("Puma"));
    assert!(!metadata.contains("Cancridae"), "a class that the bundle does not have");
    let evaluated = oltr(&[&["evaluate", "--json"], &study[..], &["--taxonomy", &table, &new]].concat()).code(0).json();
    // Eight photos are too few to choose a threshold: there are no names.
    let names = &evaluated[0]["names"];
    assert_eq!((&names["share"], &names["known"]["photos"]), (&0.8.into(), &names["known"]["unnamed"]));
    // Thresholds stay if only names are requested.
    let again = folder.path("again.onnx");
    run(&["--names-only", "--output", &again, &new]).code(0);
    assert!(fs::read(&new).unwrap() == fs::read(&again).unwrap());
    let out = ["--output", again.as_str(), BUNDLE];
    run(&[&["--names", "0.9"], &out[..]].concat()).code(78).says(&["--taxonomy"]);
    run(&[&["--names-only"], &out[..]].concat()).code(78).says(&["--taxonomy"]);
    run(&[&["--names", "95"], &out[..]].concat()).code(2).says(&["0.9"]);
    let strange = folder.file("strange.tsv", b"id\tfamily\nunicorn\tEquidae\n");
    run(&[&["--taxonomy", &strange], &out[..]].concat()).code(65).says(&["inspect --classes"]);
}
