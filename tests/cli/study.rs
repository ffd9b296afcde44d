//! Labelled photos: evaluating, calibrating, and errors in labels and photos.

use std::collections::BTreeMap;

use super::common::tiny;
use super::*;

/// The sample photos and their labels; all but three are unknown.
pub const LABELS: &str = "path\tclass\trole\tsplit
cup.jpg\tcup\tknown\ttest
face.jpg\tFaces_easy\tknown\ttest
motorbike.jpg\tMotorbikes\tknown\ttest
brick_wall.jpg\twall\tunknown\ttest
cat.jpg\tcat\tunknown\ttest
coins.jpg\tcoins\tunknown\ttest
galaxies.jpg\tgalaxies\tunknown\ttest
moon.jpg\tmoon\tunknown\ttest
";

/// Runs `command` on `labels` of the sample photos.
fn study(command: &str, labels: &str, args: &[&str]) -> Ran {
    let folder = Folder::new();
    let labels = folder.file("labels.tsv", labels.as_bytes());
    oltr(&[&[command, "--labels", &labels, "--images", PHOTOS], args].concat())
}

fn evaluate(labels: &str, args: &[&str]) -> Ran {
    study("evaluate", labels, args)
}

/// The figures at `pointer` of the JSON of an evaluation.
fn figure(ran: &Ran, pointer: &str) -> Value {
    ran.json()[0].pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {}", ran.stdout)).clone()
}

#[test]
fn evaluate_prints_the_fields_of_its_schema_in_order() {
    let ran = evaluate(LABELS, &["--json", BUNDLE]).code(0);
    let expected = "{schema,split,known,open,closed{top1,many,medium,few,overall_macro,calibration_error,\
        reliability[{photos,confidence,accuracy}";
    assert!(keys(&ran.stdout).starts_with(expected), "{}", keys(&ran.stdout));
    let expected = "open_set{many,medium,few,f_measure,f_formula,auroc,fpr95,oscr,known_called_open,open_called_known,\
        top1,overall_macro,precision,recall,f_terms{true_positives,false_positives,false_negatives,true_negatives}},\
        scores{distance-ratio{auroc,fpr95,oscr},energy{auroc,fpr95,oscr}";
    assert!(keys(&ran.stdout).contains(expected), "{}", keys(&ran.stdout));
    assert_eq!(figure(&ran, "/schema"), "oltr.evaluation/1");
    assert_eq!(figure(&ran, "/open_set/f_formula"), "2020-01-29");
    assert_eq!(figure(&ran, "/scores").as_object().unwrap().len(), 7);
}

#[test]
fn the_figures_of_the_sample_photos_are_those_counted_by_hand() {
    // README: the three known photos are right, and of the five unknown ones the cat is called a wild cat.
    let ran = evaluate(LABELS, &["--json", BUNDLE]).code(0);
    for (pointer, expected) in [
        ("/known", 3.0),
        ("/open", 5.0),
        ("/closed/top1", 1.0),
        ("/closed/overall_macro", 1.0),
        ("/open_set/top1", 1.0),
        ("/open_set/known_called_open", 0.0),
        ("/open_set/open_called_known", 0.2),
        ("/open_set/precision", 1.0),
        ("/open_set/recall", 0.75),
        ("/open_set/f_measure", 6.0 / 7.0),
        // The cat (0.916) is below cup (0.991), face (1.002) and motorbike (1.187), as are all others.
        ("/open_set/auroc", 1.0),
        ("/open_set/fpr95", 0.0),
        ("/scores/reachability/auroc", 1.0),
        ("/unreadable", 0.0),
    ] {
        let value = figure(&ran, pointer).as_f64().unwrap_or_else(|| panic!("{pointer}: {}", ran.stdout));
        assert!((value - expected).abs() < 1e-9, "{pointer}: {value}, not {expected}");
    }
    // cup 20, face 110, motorbike 115 training photos: no medium-shot class was tested.
    assert_eq!(figure(&ran, "/closed/medium"), Value::Null);
    assert_eq!(figure(&ran, "/closed/few"), 1.0);
    let wrong = figure(&ran, "/confusion/0");
    assert_eq!(
        (&wrong["truth"], &wrong["known"], &wrong["answer"]),
        (&"cat".into(), &false.into(), &"wild_cat".into())
    );
}

#[test]
fn the_number_of_jobs_changes_no_figure() {
    let figures = |jobs: &str| {
        let mut json = evaluate(LABELS, &["--json", "--jobs", jobs, BUNDLE]).code(0).json().remove(0);
        let throughput = json.as_object_mut().unwrap().remove("throughput").unwrap();
        assert_eq!(throughput["jobs"], jobs.parse::<u64>().unwrap());
        json
    };
    assert_eq!(figures("1"), figures("3"));
}

#[test]
fn a_person_gets_tables() {
    let ran = evaluate(LABELS, &[BUNDLE]).code(0);
    for part in [
        "3 known photos of 3 classes, 5 unknown of 5",
        "F-measure (2020-01-29)  0.857",
        "open called known",
        "max-logit",
    ] {
        assert!(ran.stdout.contains(part), "'{part}' is not in: {}", ran.stdout);
    }
    assert_eq!(ran.stderr, "", "no progress bar in a pipe");
}

#[test]
fn further_columns_are_passed_over_and_missing_ones_named() {
    let more: String = LABELS.lines().enumerate().map(|(i, line)| format!("{i}\t{line}\tx\n")).collect();
    let more = more.replacen("0\t", "number\t", 1).replacen("split\tx", "split\tcamera", 1);
    assert_eq!(figure(&evaluate(&more, &["--json", BUNDLE]).code(0), "/known"), 3);
    evaluate(&LABELS.replacen("role", "kind", 1), &[BUNDLE]).code(65).says(&["labels.tsv", "no column 'role'"]);
    evaluate(LABELS, &["--cluster", "fish", BUNDLE]).code(65).says(&["'fish'"]);
    evaluate(&LABELS.replacen("\tknown", "\tmaybe", 1), &[BUNDLE]).code(65).says(&["line 2", "maybe"]);
}

#[test]
fn files_that_are_not_there_are_counted_before_anything_is_computed() {
    let labels = format!("{LABELS}gone.jpg\tcup\tknown\ttest\nalso.jpg\tcup\tknown\ttest\n");
    evaluate(&labels, &[BUNDLE]).code(66).says(&["2 of 10 photos", "gone.jpg"]);
    oltr(&["evaluate", "--labels", "none.tsv", "--images", PHOTOS, BUNDLE]).code(66).says(&["none.tsv"]);
}

#[test]
fn classes_that_the_bundle_does_not_have_are_listed() {
    let labels = LABELS.replace("cat\tunknown", "cat\tknown").replace("moon\tunknown", "moon\tknown");
    evaluate(&labels, &[BUNDLE]).code(65).says(&["'cat' (1 photo)", "'moon'", "role unknown", "everyday"]);
    evaluate(&LABELS.replace("cup\tknown", "cup\tunknown"), &[BUNDLE]).code(65).says(&["'cup'", "role known"]);
}

#[test]
fn photos_in_several_splits_are_warned_about() {
    let labels = format!("{LABELS}cup.jpg\tcup\tknown\tval\n");
    evaluate(&labels, &[BUNDLE]).code(0).says(&["warn", "'cup.jpg'", "test and val"]);
}

#[test]
fn a_split_without_photos_names_the_others() {
    evaluate(LABELS, &["--split", "val", BUNDLE]).code(65).says(&["'val'", "test"]);
}

#[test]
fn with_one_class_and_nothing_unknown_the_rest_is_null() {
    let labels: String = LABELS.lines().take(2).map(|line| format!("{line}\n")).collect();
    let ran = evaluate(&labels, &["--json", BUNDLE]).code(0);
    assert_eq!((figure(&ran, "/closed/top1"), figure(&ran, "/open")), (1.0.into(), 0.into()));
    for undefined in ["f_measure", "auroc", "fpr95", "oscr", "open_called_known", "many"] {
        assert_eq!(figure(&ran, &format!("/open_set/{undefined}")), Value::Null, "{undefined}");
    }
    assert!(evaluate(&labels, &[BUNDLE]).code(0).stdout.contains("not defined"));
    let folder = Folder::new();
    evaluate(&labels, &["--report", &folder.path("r"), BUNDLE]).code(0);
    // Only unknown photos, with the roles reversed.
    let unknown = format!("{}\n{}\n", LABELS.lines().next().unwrap(), LABELS.lines().nth(5).unwrap());
    let ran = evaluate(&unknown, &["--json", "--report", &folder.path("u"), BUNDLE]).code(0);
    assert_eq!((figure(&ran, "/closed/top1"), figure(&ran, "/open_set/open_called_known")), (Value::Null, 1.0.into()));
}

#[test]
fn a_damaged_photo_is_in_no_figure_and_in_the_exit_code() {
    let folder = Folder::new();
    let cup = cup();
    folder.file("cup.jpg", &cup);
    folder.file("half.jpg", &cup[..cup.len() / 2]);
    let labels = "path\tclass\trole\tsplit\ncup.jpg\tcup\tknown\ttest\nhalf.jpg\tcup\tknown\ttest\n";
    let labels = folder.file("labels.tsv", labels.as_bytes());
    let args = ["evaluate", "--json", "--labels", &labels, "--images", &folder.path(""), BUNDLE];
    let ran = oltr(&args).code(65).says(&["half.jpg", "cut off"]);
    assert_eq!((figure(&ran, "/known"), figure(&ran, "/unreadable")), (1.into(), 1.into()));
    fs::remove_file(folder.path("cup.jpg")).unwrap();
    folder.file("cup.jpg", b"nothing");
    oltr(&args).code(65).says(&["not one of the photos"]);
}

/// A tiny bundle as a file, changed by `change`.
fn tiny_bundle(folder: &Folder, change: impl FnOnce(&mut super::common::onnx::Model)) -> String {
    let mut model = tiny::bundle();
    change(&mut model);
    folder.file("tiny.onnx", &model.encode())
}

#[test]
fn scores_that_are_not_numbers_are_no_scores() {
    let folder = Folder::new();
    let model = tiny_bundle(&folder, |model| {
        // Features at the upper end of their range, times the largest weights: infinite logits.
        model.tensor("conv.ws").raw = [10f32; tiny::WIDTH].iter().flat_map(|s| s.to_le_bytes()).collect();
        let tensor = model.tensor("classifier");
        tensor.raw = tensor.raw.chunks(4).flat_map(|_| f32::MAX.to_le_bytes()).collect();
    });
    let labels = "path\tclass\trole\tsplit\ncup.jpg\ta\tknown\ttest\n";
    evaluate(labels, &[&model]).code(65).says(&["cup.jpg", "logits", "not one of the photos"]);
    let output = folder.path("new.onnx");
    let args = ["--split", "test", "--output", &output, &model];
    study("calibrate", labels, &args).code(65);
    assert!(!Path::new(&output).exists());
}

#[test]
fn a_graph_without_classes_cannot_be_evaluated() {
    evaluate(LABELS, &[PLAIN_GRAPH]).code(65).says(&["odd.qdq.onnx", "oltr.classes"]);
}

#[test]
fn gates_decide_the_exit_code() {
    evaluate(LABELS, &["--gate", "open_set.f_measure>=0.85", "--gate", "closed.top1>=1", BUNDLE]).code(0);
    let ran = evaluate(LABELS, &["--json", "--gate", "open_set.f_measure>=0.86", "--gate", "closed.top1>=1", BUNDLE]);
    let gates = figure(&ran.code(1), "/gates");
    assert_eq!((&gates[0]["met"], &gates[1]["met"]), (&false.into(), &true.into()));
    let person = evaluate(LABELS, &["--gate", "open_set.auroc<0.5", BUNDLE]).code(1);
    assert!(person.stdout.contains("NOT MET"), "{}", person.stdout);
    // An undefined figure meets no gate, and an unknown figure is an error.
    evaluate(LABELS, &["--gate", "closed.medium>=0", BUNDLE]).code(1);
    evaluate(LABELS, &["--gate", "f_measure>=0", BUNDLE]).code(65).says(&["f_measure>=0", "--json"]);
    evaluate(LABELS, &["--gate", "high", BUNDLE]).code(2).says(&["open_set.f_measure>=0.80"]);
    evaluate(LABELS, &["--gate", "drift<=0.1", BUNDLE]).code(78).says(&["--compare"]);
}

#[test]
fn two_bundles_are_compared_photo_by_photo() {
    let same = evaluate(LABELS, &["--json", "--compare", BUNDLE, "--gate", "drift<=0", BUNDLE]).code(0);
    assert_eq!((figure(&same, "/comparison/changed"), figure(&same, "/comparison/mcnemar/p")), (0.into(), 1.0.into()));
    let folder = Folder::new();
    let strict = folder.path("strict.onnx");
    let args = ["--split", "test", "--target", "known-accept=0.6", "--output", &strict, BUNDLE];
    study("calibrate", LABELS, &args).code(0);
    // Two of the three known photos are enough: the cup becomes open, and the cat too.
    let ran = evaluate(LABELS, &["--json", "--compare", &strict, "--gate", "drift<=0.2", BUNDLE]).code(1);
    for (field, expected) in [("changed", 2), ("known_to_open", 2), ("open_to_known", 0), ("other_label", 0)] {
        assert_eq!(figure(&ran, &format!("/comparison/{field}")), expected, "{field}");
    }
    assert_eq!(figure(&ran, "/comparison/drift"), 2.0 / 8.0);
    assert_eq!(figure(&ran, "/comparison/mcnemar/only_first"), 1);
    assert_eq!(figure(&ran, "/comparison/mcnemar/only_second"), 1);
    let person = evaluate(LABELS, &["--compare", &strict, BUNDLE]).code(0).stdout;
    assert!(person.contains("2 of 8 decisions differ (25.00 %): 2 known here and open there"), "{person}");
}

#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    let folder = Folder::new();
    let place = folder.path("a/b");
    evaluate(LABELS, &["--report", &place, "--gate", "closed.top1>=1", BUNDLE]).code(0);
    let mut files: Vec<_> = fs::read_dir(&place).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["answers.csv", "report.html"]);
    let html = fs::read_to_string(format!("{place}/report.html")).unwrap();
    for part in ["<svg", "Of <b>3 photos of 3 known classes</b>", "0.857", "gate closed.top1&gt;=1: 1.0000, met"] {
        assert!(html.contains(part), "'{part}' is not in the page");
    }
    assert_eq!(html.matches("<svg").count(), 5);
    // The cat as a picture, without external resources.
    assert_eq!(html.matches("src=\"data:image/jpeg;base64,").count(), 1);
    assert_eq!(html.matches("src=").count(), 1);
    for elsewhere in ["<script", "<link", "url(", "@import", "href="] {
        assert!(!html.contains(elsewhere), "{elsewhere}");
    }
    let blocked = folder.file("file", b"");
    evaluate(LABELS, &["--report", &format!("{blocked}/r"), BUNDLE]).code(74);
}

fn calibrate(labels: &str, args: &[&str]) -> Ran {
    study("calibrate", labels, &[&["--split", "test"], args].concat())
}

/// The metadata of a bundle.
fn metadata(path: &str) -> BTreeMap<String, String> {
    let json = oltr(&["inspect", "--json", path]).code(0).json().remove(0);
    serde_json::from_value(json["metadata"].clone()).unwrap()
}

#[test]
fn calibrating_changes_the_rule_and_nothing_else() {
    let folder = Folder::new();
    let new = folder.path("new.onnx");
    let ran = calibrate(LABELS, &["--json", "--target", "known-accept=0.6", "--output", &new, BUNDLE]).code(0);
    let report = &ran.json()[0];
    assert_eq!(report["schema"], "oltr.calibration/1");
    // Two of three known photos: motorbike (1.180) and cup (1.002); the next lower score is the face's (0.997).
    let threshold = report["reachability"].as_f64().unwrap();
    assert!((0.997..1.003).contains(&threshold), "{threshold}");
    let c = &report["calibration"];
    assert_eq!(c["data"], serde_json::json!({"known": 3, "known_classes": 3, "open": 5, "open_classes": 5}));
    assert!((c["reached"]["known_accepted"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-5);
    let (before, mut after) = (metadata(&package(BUNDLE).display().to_string()), metadata(&new));
    let open: Value = serde_json::from_str(&after["oltr.open"]).unwrap();
    assert_eq!(open["calibration"], *c);
    assert_eq!(open["reachability"], report["reachability"]);
    after.insert("oltr.open".into(), before["oltr.open"].clone());
    assert_eq!(before, after);
    // The same answers except for the rule, and the golden outputs still agree.
    oltr(&["verify", &new, GOLDEN]).code(0);
    let face = oltr(&["classify", "--json", "--model", &new, &format!("{PHOTOS}/face.jpg")]).code(0);
    assert_eq!(face.json()[0]["decision"], "open");
}

#[test]
fn calibrating_twice_gives_the_same_bytes() {
    let folder = Folder::new();
    let (one, two, again) = (folder.path("1.onnx"), folder.path("2.onnx"), folder.path("3.onnx"));
    for args in [&["--per-class"][..], &["--target", "max-f"], &["--rule", "both"], &["--rule", "max-probability"]] {
        calibrate(LABELS, &[args, &["--output", &one, BUNDLE]].concat()).code(0);
        calibrate(LABELS, &[args, &["--jobs", "3", "--output", &two, BUNDLE]].concat()).code(0);
        calibrate(LABELS, &[args, &["--output", &again, &one]].concat()).code(0);
        let bytes = fs::read(&one).unwrap();
        assert!(bytes == fs::read(&two).unwrap(), "{args:?}");
        assert!(bytes == fs::read(&again).unwrap(), "{args:?}: of the calibrated bundle");
    }
}

#[test]
fn a_score_is_chosen_by_what_it_is_worth() {
    let folder = Folder::new();
    let new = folder.path("new.onnx");
    let ran = calibrate(LABELS, &["--json", "--score", "auto", "--output", &new, BUNDLE]).code(0);
    let weighed = ran.json()[0]["calibration"]["weighed"].as_array().unwrap().clone();
    assert_eq!(weighed.len(), 7);
    assert_eq!(weighed.iter().filter(|w| w["difference"].is_null()).count(), 1, "{weighed:?}");
    let energy = calibrate(LABELS, &["--json", "--score", "energy", "--output", &new, BUNDLE]).code(0);
    assert_eq!((&energy.json()[0]["rule"], energy.json()[0]["limit"].is_number()), (&"energy".into(), true));
    let cup = oltr(&["classify", "--json", "--explain", "--model", &new, &format!("{PHOTOS}/cup.jpg")]).code(0);
    assert_eq!(cup.json()[0]["explanation"]["decided_by"], "energy");
    calibrate(LABELS, &["--score", "energie", "--output", &new, BUNDLE]).code(2).says(&["max-logit"]);
}

#[test]
fn a_classifier_of_somebody_else_becomes_a_bundle() {
    let labels =
        "path\tclass\trole\tsplit\ncup.jpg\ta\tknown\ttrain\nface.jpg\ta\tknown\ttrain\nmoon.jpg\tb\tknown\ttrain
coins.jpg\tb\tknown\ttrain\ncat.jpg\tc\tknown\ttrain\nrocket.jpg\tc\tknown\ttrain\nmotorbike.jpg\ta\tknown\tval
galaxies.jpg\tb\tknown\tval\nretina.jpg\tc\tknown\tval\nbrick_wall.jpg\tx\tunknown\tval\n";
    let folder = Folder::new();
    let new = folder.path("new.onnx");
    let classifier = "tests/graphs/classifiers/qdq.onnx";
    let adopt = |args: &[&str]| study("adopt", labels, &[args, &["--output", &new, classifier]].concat());
    adopt(&["--score", "reachability"]).code(0);
    let json = oltr(&["classify", "--json", "--model", &new, &format!("{PHOTOS}/cup.jpg")]).code(0).json().remove(0);
    assert!(["a", "b", "c"].contains(&json["nearest"]["label"].as_str().unwrap()), "{json}");
    assert!(json["reachability"].as_f64().unwrap() > 0.0);
    let moon = [format!("{PHOTOS}/moon.jpg"), format!("{PHOTOS}/moon.jpg")];
    oltr(&["enrol", "--model", &new, "add", "moon", &moon[0], &moon[1]]).code(0);
    let again = folder.path("again.onnx");
    study("refit", labels, &["--output", &again, &new]).code(0);
    let plain = folder.path("plain.onnx");
    study("adopt", labels, &["--logits-only", "--output", &plain, classifier]).code(0);
    let json = oltr(&["classify", "--json", "--model", &plain, &format!("{PHOTOS}/cup.jpg")]).code(0).json().remove(0);
    assert_eq!(json["reachability"], 0.0);
    let two = folder.file("two.txt", b"a\nb\n");
    adopt(&["--classes", &two]).code(65).says(&["'c'", "role unknown"]);
    adopt(&["--features", "nowhere"]).code(65).says(&["'nowhere'", "--features"]);
}

#[test]
fn too_few_photos_are_no_promise() {
    let folder = Folder::new();
    let new = folder.path("new.onnx");
    calibrate(LABELS, &["--output", &new, BUNDLE]).code(0).says(&["rests on 0 of 3 known photos", "about 200"]);
    calibrate(LABELS, &["--target", "max-f", "--output", &new, BUNDLE]).code(0).says(&["only 5 unknown classes"]);
    let known: String = LABELS.lines().take(4).map(|line| format!("{line}\n")).collect();
    for target in ["open-reject=0.9", "max-f", "balanced"] {
        let ran = calibrate(&known, &["--target", target, "--output", &new, BUNDLE]).code(65);
        ran.says(&["role unknown", "known-accept=0.95"]);
    }
    calibrate(&known, &["--output", &new, BUNDLE]).code(0);
    calibrate(LABELS, &["--target", "accept", "--output", &new, BUNDLE]).code(2).says(&["known-accept=0.95"]);
    let per_class = ["--per-class", "--rule", "max-probability", "--output", &new, BUNDLE];
    calibrate(LABELS, &per_class).code(78).says(&["--per-class"]);
}

#[test]
fn a_bundle_that_cannot_be_written_leaves_nothing_behind() {
    let folder = Folder::new();
    let blocked = folder.file("file", b"old");
    calibrate(LABELS, &["--output", &format!("{blocked}/new.onnx"), BUNDLE]).code(74).says(&["new.onnx"]);
    calibrate(LABELS, &["--output", &folder.path("none/new.onnx"), BUNDLE]).code(74).says(&["new.onnx"]);
    calibrate(LABELS, &["--output", &folder.path(""), BUNDLE]).code(74);
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 1);
    assert_eq!(fs::read(blocked).unwrap(), b"old");
}

#[test]
fn the_model_itself_is_no_output() {
    let folder = Folder::new();
    let model = folder.file("m.onnx", &fs::read(package(BUNDLE)).unwrap());
    let same = folder.path("./m.onnx");
    for output in [&model, &same] {
        calibrate(LABELS, &["--output", output, &model]).code(78).says(&["--output is the model itself"]);
    }
    assert!(fs::read(&model).unwrap() == fs::read(package(BUNDLE)).unwrap());
}

#[test]
fn what_is_no_file_of_labels_says_what_one_is() {
    let header = "path        class  role     split";
    oltr(&["evaluate", BUNDLE]).code(2).says(&["--labels", header, "oltr inspect"]);
    oltr(&["calibrate", "--output", "new.onnx", BUNDLE]).code(2).says(&["--labels", header]);
    // The folders are not classes of the bundle.
    let folders = oltr(&["evaluate", "--labels", "examples", "--images", "examples", BUNDLE]).code(65);
    folders.says(&["'photos'", "labels.tsv"]);
    // Commas between the columns, and names in place of ids, are read.
    evaluate(&LABELS.replace('\t', ","), &[BUNDLE]).code(0);
    evaluate(&LABELS.replace("Motorbikes", "motorbike"), &[BUNDLE]).code(0);
}

#[test]
fn a_folder_as_a_model_names_the_models_in_it() {
    let folder = Folder::new();
    let place = folder.path("");
    oltr(&["inspect", &place]).code(65).says(&["is a folder without an .onnx file"]);
    folder.file("a.onnx", b"");
    oltr(&["inspect", &place]).code(65).says(&["name the model in it", "a.onnx"]);
    oltr(&["classify", "--model", "models", "x.jpg"]).code(65).says(&["3 models"]);
    oltr(&["enrol", "--model", "models", "list"]).code(65).says(&["3 models", "models/everyday.onnx"]);
}
