//! Explanations, attention, and classes learnt on the device.

use super::common::onnx::{dtype, value};
use super::common::tiny;
use super::*;

/// The built-in bundle as a file in `folder`.
fn bundle(folder: &Folder) -> String {
    folder.file("m.onnx", &fs::read(package(BUNDLE)).unwrap())
}

fn photo(name: &str) -> String {
    format!("{PHOTOS}/{name}.jpg")
}

/// The sample photo `name` as another camera would take it: shifted right by `shift` pixels, and darker.
fn variant(folder: &Folder, name: &str, shift: u32) -> String {
    let photo = image::open(package(&photo(name))).unwrap();
    let cropped = photo.crop_imm(shift, 0, photo.width() - shift, photo.height()).brighten(-(shift as i32));
    let path = folder.path(&format!("{name}-{shift}.png"));
    cropped.save(&path).unwrap();
    path
}

/// Label and class of a photo by `classify` with `args`.
fn label(args: &[&str], name: &str) -> (Value, Value) {
    let json = oltr(&[&["classify", "--json"], args, &[&photo(name)]].concat()).code(0).json().remove(0);
    assert_eq!(json["decision"] == "open", json["label"].is_null());
    (json["label"].clone(), json["class"].clone())
}

#[test]
fn a_class_is_learnt_used_listed_and_forgotten() {
    let folder = Folder::new();
    let model = bundle(&folder);
    let with = ["--model", &model[..]];
    let enrol = |args: &[&str]| oltr(&[&["enrol"], &with[..], args].concat());
    assert_eq!(label(&with, "moon").0, Value::Null);
    let moons = [8, 16, 24].map(|shift| variant(&folder, "moon", shift));
    let ran = enrol(&[&["add", "full moon", "--json"], &moons.each_ref().map(String::as_str)[..]].concat()).code(0);
    let added = &ran.json()[0];
    assert_eq!((&added["schema"], &added["photos"]), (&"oltr.enrolled/1".into(), &3.into()));
    assert_eq!((&added["recognised"], &added["known_before"]), (&3.into(), &0.into()));
    // The photo that they were made from is recognised, others stay as they were.
    assert_eq!(label(&with, "moon"), ("full moon".into(), Value::Null));
    for name in ["coins", "galaxies", "brick_wall"] {
        assert_eq!(label(&with, name).0, Value::Null, "{name}");
    }
    assert_eq!(label(&with, "cup").0, "cup");
    assert_eq!(label(&[&with[..], &["--no-enrolled"]].concat(), "moon").0, Value::Null);
    let json = oltr(&["classify", "--json", "--model", &model, &photo("moon")]).code(0).json().remove(0);
    let (distance, radius) = (&json["enrolled"]["distance"], &json["enrolled"]["radius"]);
    assert!(distance.as_f64().unwrap() <= radius.as_f64().unwrap(), "{json}");
    assert!(distance.as_f64().unwrap() < json["nearest"]["distance"].as_f64().unwrap(), "{json}");
    let why = oltr(&["classify", "--explain", "--model", &model, &photo("moon")]).code(0).stdout;
    assert!(why.contains("full moon, enrolled on this device"), "{why}");

    let list = enrol(&["list"]).code(0).stdout;
    assert!(list.starts_with("NAME") && list.contains("full moon       3"), "{list}");
    let export = enrol(&["export"]).code(0).json().remove(0);
    assert_eq!(export["classes"][0]["centroid"].as_array().unwrap().len(), 512);
    enrol(&["remove", "square thing"]).code(65).says(&["'square thing'", "full moon"]);
    enrol(&["remove", "full moon"]).code(0);
    assert_eq!(enrol(&["list", "--json"]).code(0).stdout, "");
    assert_eq!(label(&with, "moon").0, Value::Null);
}

#[test]
fn a_stream_names_enrolled_classes_in_frames_consensus_and_events() {
    let folder = Folder::new();
    let model = bundle(&folder);
    let moons = [8, 16, 24].map(|shift| variant(&folder, "moon", shift));
    let moons = moons.each_ref().map(String::as_str);
    oltr(&[&["enrol", "--model", &model, "add", "full moon"], &moons[..]].concat()).code(0);
    // A photo that was not used for enrolment, a variant, and other things.
    let (own, other) = (variant(&folder, "moon", 4), variant(&folder, "moon", 12));
    let photos = [&own[..], &other, &photo("coins"), &photo("cup")];
    let stream = |args: &[&str]| {
        let rules = ["--consensus", "1/1", "--linger", "0s", "--model", &model];
        oltr(&[&["stream", "--per-frame"], &rules[..], args, &photos].concat()).code(0)
    };
    let lines = stream(&["-v", "--json"]).says(&["enrolled classes"]).json();
    let of = |schema: &'static str| lines.iter().filter(move |line| line["schema"] == schema);
    let frames: Vec<_> = of("oltr.frame/1").collect();
    for frame in [frames[0], &frames[0]["consensus"], frames[1], &frames[1]["consensus"]] {
        assert_eq!((&frame["decision"], &frame["label"]), (&"known".into(), &"full moon".into()), "{frame}");
        assert!(frame["class"].is_null() && frame["shot"].is_null(), "{frame}");
    }
    let labels = |field: &str| frames.iter().map(|f| f[field].clone()).collect::<Vec<_>>();
    assert_eq!(labels("label")[2..], [Value::Null, "cup".into()]);
    assert_eq!(labels("decision"), ["known", "known", "open", "known"]);
    let new: Vec<_> = of("oltr.event/1").filter(|e| e["type"] == "new").collect();
    assert_eq!(new.iter().map(|e| &e["label"]).collect::<Vec<_>>(), [&"full moon".into(), &Value::Null, &"cup".into()]);
    assert_eq!((&new[0]["decision"], &new[0]["class"]), (&"known".into(), &Value::Null));
    assert!(stream(&[]).stdout.lines().any(|line| line.contains("event 1") && line.contains("full moon")));

    let without = stream(&["--json", "--no-enrolled"]).json();
    assert_eq!((&without[0]["decision"], &without[0]["label"]), (&"open".into(), &Value::Null));
    let planned = |lines: &[Value]| lines.last().unwrap()["memory"]["planned_bytes"].as_u64().unwrap();
    assert!(planned(&lines) > planned(&without) + 512 * 4, "the plan counts what is enrolled");
    oltr(&["stream", "--enrolled", &folder.path("none"), "--model", &model, photos[0]]).code(66).says(&["none"]);
}

#[test]
fn enrolments_outlive_a_calibration_but_not_another_network() {
    let folder = Folder::new();
    let model = bundle(&folder);
    let file = folder.path("things");
    let (one, two) = (variant(&folder, "moon", 8), variant(&folder, "moon", 16));
    let add = ["enrol", "--model", &model, "--enrolled", &file, "add", "sky", &one, &two];
    oltr(&add).code(0);
    let labels = folder.file("l.tsv", b"path\tclass\trole\tsplit\ncup.jpg\tcup\tknown\tval\n");
    let new = folder.path("new.onnx");
    oltr(&["calibrate", "--labels", &labels, "--images", PHOTOS, "--output", &new, &model]).code(0);
    assert_eq!(label(&["--model", &new, "--enrolled", &file], "moon").0, "sky");
    // The built-in bundle is the same network.
    assert_eq!(label(&["--enrolled", &file], "moon").0, "sky");
    let tiny = folder.file("tiny.onnx", &tiny::bundle().encode());
    let other = ["classify", "--model", &tiny, "--enrolled", &file, &photo("moon")];
    oltr(&other).code(65).says(&["things", "another network", "--no-enrolled"]);
}

#[test]
fn a_damaged_file_of_enrolled_classes_is_refused_not_overwritten() {
    let folder = Folder::new();
    let model = bundle(&folder);
    let (one, two) = (variant(&folder, "moon", 8), variant(&folder, "moon", 16));
    let add = ["enrol", "--model", &model, "add", "sky", &one, &two];
    oltr(&add).code(0);
    let file = folder.path("m.enrolled");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    for args in [&add[..], &["classify", "--model", &model, &photo("moon")], &["enrol", "--model", &model, "list"]] {
        oltr(args).code(65).says(&["m.enrolled", "damaged"]);
    }
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn what_cannot_be_enrolled_says_why() {
    let folder = Folder::new();
    let model = bundle(&folder);
    let add = |args: &[&str]| oltr(&[&["enrol", "--model", &model, "add"], args].concat());
    add(&["sky", &photo("moon")]).code(65).says(&["'sky'", "2 to 64"]);
    add(&["sky", &photo("moon"), "none.jpg"]).code(66).says(&["none.jpg"]);
    add(&["sky", &photo("moon"), &photo("coins")]).code(65).says(&["'sky'", "little in common"]);
    add(&["", &photo("moon"), &photo("moon")]).code(65).says(&["a name"]);
    assert!(!Path::new(&folder.path("m.enrolled")).exists());
    let cup = variant(&folder, "cup", 8);
    add(&["mug", &photo("cup"), &cup]).code(0).says(&["2 of the 2 photos come out as a class"]);
    oltr(&["enrol", "add", "sky", &photo("moon"), &photo("coins")]).code(78).says(&["--enrolled"]);
    oltr(&["enrol", "list"]).code(78);
}

#[test]
fn an_explanation_names_rule_margin_and_neighbours() {
    let ran = oltr(&["classify", "--explain", &photo("cup"), &photo("moon")]).code(0);
    let why: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("    ")).collect();
    assert!(
        why[0].contains("cup: the reachability, 1.00") && why[0].contains("is at least the threshold of 0.832"),
        "{why:?}"
    );
    assert!(why[1].contains("Open: the reachability, 0.3") && why[1].contains("is below the threshold"), "{why:?}");
    let json = oltr(&["classify", "--json", "--explain", &photo("moon")]).code(0).json().remove(0);
    let e = &json["explanation"];
    assert_eq!((&e["decided_by"], e["nearest"].as_array().unwrap().len()), (&"reachability".into(), 3));
    assert!(e["margin"].as_f64().unwrap() < 0.0);
    assert_eq!(e["nearest"][0]["label"], json["nearest"]["label"]);
    let plain = oltr(&["classify", "--json", &photo("moon")]).code(0).json().remove(0);
    assert!(plain.get("explanation").is_none() && plain.get("enrolled").is_none());
}

#[test]
fn a_calibrated_bundle_knows_what_is_usual() {
    let folder = Folder::new();
    let labels = folder.file("l.tsv", b"path\tclass\trole\tsplit\ncup.jpg\tcup\tknown\tval\n");
    let new = folder.path("new.onnx");
    oltr(&["calibrate", "--labels", &labels, "--images", PHOTOS, "--output", &new, BUNDLE]).code(0);
    let json = oltr(&["classify", "--json", "--explain", "--model", &new, &photo("cup")]).code(0).json().remove(0);
    let nearest = &json["explanation"]["nearest"][0];
    let (distance, usual) = (nearest["distance"].as_f64().unwrap(), nearest["usual"].as_f64().unwrap());
    assert!((distance - usual).abs() < 1e-3, "one photo is its own spread: {nearest}");
    assert!(json["explanation"]["text"].as_str().unwrap().contains("where its own photos lie"), "{json}");
}

#[test]
fn attention_is_drawn_where_the_graph_has_it() {
    let folder = Folder::new();
    let out = folder.path("seen.png");
    let mut model = tiny::bundle();
    // A map of four channels; their mean is drawn.
    model.node("map.dq").outputs[0] = "attention".into();
    for node in &mut model.nodes {
        node.inputs.iter_mut().filter(|input| *input == "map.dq").for_each(|input| *input = "attention".into());
    }
    model.outputs.push(value("attention", dtype::FLOAT, &[1, tiny::WIDTH as i64, tiny::SIDE, tiny::SIDE]));
    let with = folder.file("with.onnx", &model.encode());
    oltr(&["classify", "--model", &with, "--attention", &out, &photo("cup")]).code(0);
    assert!(fs::read(&out).unwrap().starts_with(b"\x89PNG"));
    let two = ["classify", "--model", &with, "--attention", &out, &photo("cup"), &photo("moon")];
    oltr(&two).code(78).says(&["--attention", "2 were named"]);
    let without = folder.file("without.onnx", &tiny::bundle().encode());
    oltr(&["classify", "--model", &without, "--attention", &out, &photo("cup")])
        .code(65)
        .says(&["no output 'attention'"]);
}

/// Each process reads the file, adds its class and writes it. None may lose another's class.
#[test]
fn classes_that_are_enrolled_at_once_are_all_there() {
    let folder = Folder::new();
    let model = bundle(&folder);
    let photos = [8, 16, 24].map(|shift| variant(&folder, "moon", shift));
    let add = |name: &str| {
        let args = [&["enrol", "--model", &model, "add", name], &photos.each_ref().map(String::as_str)[..]].concat();
        command(&args).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<_> = ["n1", "n2", "n3", "n4"].into_iter().map(add).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let list = |json: &str| {
        let lines = oltr(&["enrol", "--model", &model, json, "list"]).code(0).json();
        let mut names: Vec<String> = lines.iter().map(|line| line["name"].as_str().unwrap().into()).collect();
        names.sort();
        names
    };
    assert_eq!(list("--json"), ["n1", "n2", "n3", "n4"]);
    let left = fs::read_dir(folder.path("")).unwrap().count();
    assert_eq!(left, 5, "nothing is left beside model, photos and classes");
}

#[test]
fn devices_and_fifos_are_not_replaced_by_enrolments() {
    use std::os::unix::fs::FileTypeExt;
    let folder = Folder::new();
    let model = bundle(&folder);
    let fifo = folder.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for place in ["/dev/null", &fifo] {
        oltr(&["enrol", "--model", &model, "--enrolled", place, "add", "x", &photo("cup"), &photo("cat")]).code(65);
        oltr(&["classify", "--model", &model, "--enrolled", place, &photo("cup")]).code(65).says(&[place]);
        assert!(!fs::metadata(place).unwrap().is_file());
    }
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
}
