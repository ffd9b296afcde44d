//! Tables fit the terminal, and name classes in the same way everywhere.

use unicode_width::UnicodeWidthStr;

use super::common::tiny;
use super::*;

/// Columns of a pipe, and of most terminals.
const WIDTH: usize = 80;

/// Names that a table must handle: short, usual, long, wide, with combining marks, with graphemes of several
/// characters.
fn names() -> [String; 6] {
    [
        "x".into(),
        "a name of about forty characters, or less".into(),
        "long name ".repeat(20).trim().into(),
        "茶碗".repeat(39),
    ]
    .into_iter()
    .chain(["e\u{301}".repeat(80), "👩\u{200d}🚀".repeat(20)])
    .collect::<Vec<String>>()
    .try_into()
    .unwrap()
}

/// The tiny bundle, whose three classes have `name` in their names.
fn bundle(folder: &Folder, name: &str) -> String {
    let mut model = tiny::bundle();
    let class =
        |id: &str| serde_json::json!({"id": format!("{id} {name}"), "name": format!("{name} {id}"), "train_count": 9});
    model.set("oltr.classes", &Value::from(["a", "b", "c"].map(class).to_vec()).to_string());
    model.set("oltr.name", name);
    let figures = serde_json::json!({"top1": 0.9416, name: 1});
    let card = serde_json::json!({
        "text": format!("# {name}\n\nA line that\nis broken. {name}\n\n| a | b |\n|---|---|\n| {name} | 1 |\n"),
        "metrics": {"float": figures, "int8": figures, "photos": 608},
        "licence": name
    });
    model.set("oltr.card", &card.to_string());
    folder.file("m.onnx", &model.encode())
}

/// Asserts that no line of `text` is wider than `width`.
#[track_caller]
fn fits(text: &str, width: usize, what: &str) {
    assert!(!text.is_empty(), "{what} says nothing");
    for line in text.lines() {
        assert!(line.width() <= width, "{what}: {} columns: {line}", line.width());
    }
}

#[test]
fn every_table_fits_eighty_columns_with_any_content() {
    for name in names() {
        let folder = Folder::new();
        let model = bundle(&folder, &name);
        let file = format!("{}.jpg", name.trim().chars().take(78).collect::<String>());
        let photo = folder.file(&file, &cup());
        let other = folder.file("other.jpg", &fs::read(package(PHOTOS).join("moon.jpg")).unwrap());
        let labels =
            format!("path\tclass\trole\tsplit\n{file}\ta {name}\tknown\ttest\nother.jpg\t{name}\tunknown\ttest\n");
        let labels = folder.file("l.tsv", labels.as_bytes());
        let enrolled: String = name.trim().chars().take(15).collect();
        let (new, root) = (folder.path("new.onnx"), folder.path(""));
        let root = root.trim_end_matches('/');
        let study = ["--labels", &labels, "--images", root];
        let on = |args: &[&str]| oltr(&[&["--model", &model], args].concat());
        on(&["enrol", "add", &enrolled, &photo, &other]);
        for args in [
            &["classify", "--top", "3", &photo, &other][..],
            &["stream", "--per-frame", &photo, &other],
            &["enrol", "list"],
            &["inspect"],
            &["inspect", "--classes"],
            &["inspect", "--card"],
            &["bench", "--profile", "--runs", "1", "--warmup", "0"],
            &[&["evaluate"][..], &study].concat(),
            &[&["calibrate", "--split", "test", "--output", &new][..], &study].concat(),
        ] {
            let ran = on(args).code(0);
            // Paths of the files that were written are whole, so that they can be copied.
            let tables: Vec<&str> = ran.stdout.lines().filter(|line| !line.contains(root)).collect();
            fits(&tables.join("\n"), WIDTH, &format!("{args:?}"));
            // A pattern for the whole output: no combining mark lost its letter, and no grapheme was split.
            assert!(!ran.stdout.contains("…\u{301}") && !ran.stdout.contains("…\u{200d}"), "{}", ran.stdout);
        }
    }
}

#[test]
fn every_table_of_the_shipped_bundle_fits_eighty_columns() {
    let photo = format!("{PHOTOS}/motorbike.jpg");
    for args in [
        &["classify", &photo][..],
        &["inspect"],
        &["inspect", "--card"],
        &["inspect", "--classes"],
        &["doctor"],
        &["verify", BUNDLE, GOLDEN],
        &["bench", "--profile", "--runs", "1", "--warmup", "0"],
    ] {
        fits(&oltr(args).stdout, WIDTH, &format!("{args:?}"));
    }
}

#[test]
fn a_wide_terminal_uses_its_width() {
    let folder = Folder::new();
    let name = "long name ".repeat(20).trim().to_string();
    let model = bundle(&folder, &name);
    let photo = format!("{PHOTOS}/cup.jpg");
    let args = ["--model", &model, "classify", &photo];
    let run = |columns: &str| -> Ran { command(&args).env("COLUMNS", columns).output().unwrap().into() };
    let wide = run("1000").code(0).stdout;
    assert!(wide.contains(name.trim()) && wide.contains(&photo), "{wide}");
    fits(&run("60").code(0).stdout, 60, "60 columns");
    // An invalid number of columns is ignored.
    for columns in ["", "many", "0", "-5"] {
        fits(&run(columns).code(0).stdout, WIDTH, columns);
    }
}

#[test]
fn all_help_fits_eighty_columns() {
    let commands =
        ["classify", "stream", "cameras", "evaluate", "calibrate", "enrol", "inspect", "verify", "bench", "doctor"];
    fits(&oltr(&["--help"]).code(0).stdout, WIDTH, "--help");
    for command in commands {
        for help in ["--help", "-h"] {
            fits(&oltr(&[command, help]).code(0).stdout, WIDTH, command);
        }
    }
    for action in ["add", "list", "remove", "export"] {
        fits(&oltr(&["enrol", action, "--help"]).code(0).stdout, WIDTH, action);
    }
}

#[test]
fn the_card_is_shown_when_asked_for() {
    let plain = oltr(&["inspect", BUNDLE]).code(0).stdout;
    assert!(!plain.contains("Caltech-101") && plain.contains("--card"), "{plain}");
    let card = oltr(&["inspect", "--card", BUNDLE]).code(0).stdout;
    for part in ["Caltech-101", "## Data", "FIGURE", "FLOAT", "INT8", "closed.top1", "open_set.f_measure"] {
        assert!(card.contains(part), "'{part}' is not in: {card}");
    }
    assert!(!card.contains("STEP") && !card.contains("{\""), "{card}");
    let figures = card.lines().find(|line| line.starts_with("closed.top1")).unwrap();
    assert_eq!(figures.split_whitespace().count(), 3, "a row holds both columns: {figures}");
    let none = oltr(&["inspect", "--card", PLAIN_GRAPH]).code(0).stdout;
    assert!(none.contains("none: the file has no oltr.card"), "{none}");
    // Programs get the same result, with or without the option.
    let json = |args: &[&str]| oltr(&[&["inspect", "--json"], args, &[BUNDLE]].concat()).code(0).stdout;
    assert_eq!(json(&[]), json(&["--card"]));
    assert!(json(&[]).contains("Caltech-101"));
}

#[test]
fn inspect_lists_the_ids_that_labels_need() {
    let classes = oltr(&["inspect", "--classes", BUNDLE]).code(0).stdout;
    let row = classes.lines().find(|line| line.starts_with("Faces_easy")).unwrap_or_else(|| panic!("{classes}"));
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["Faces_easy", "face", "110", "many"]);
}

/// A bundle with two classes of the same name, and their names in the output of `args`.
#[test]
fn classes_of_one_name_are_distinguished_by_their_ids_everywhere() {
    let folder = Folder::new();
    let mut model = tiny::bundle();
    let class = |id: &str| serde_json::json!({"id": id, "name": "gull", "train_count": 9});
    model.set("oltr.classes", &Value::from(["g1", "g2", "g3"].map(class).to_vec()).to_string());
    model.set("oltr.open", r#"{"rule":"reachability","reachability":0.0001,"probability":0.1}"#);
    let model = folder.file("m.onnx", &model.encode());
    let photo = format!("{PHOTOS}/cup.jpg");
    let json = oltr(&["--model", &model, "classify", "--json", &photo]).code(0).json().remove(0);
    let id = json["label"].as_str().unwrap();
    assert_eq!(json["name"], "gull", "programs read the fields apart");
    let called = format!("gull ({id})");
    let wrong = if id == "g1" { "g2" } else { "g1" };
    let labels = format!("path\tclass\trole\tsplit\ncup.jpg\t{wrong}\tknown\ttest\nmoon.jpg\tmoon\tunknown\ttest\n");
    let labels = folder.file("l.tsv", labels.as_bytes());
    let report = folder.path("report");
    for args in [
        &["classify", &photo][..],
        &["classify", "--top", "1", &photo],
        &["classify", "--explain", &photo],
        &["stream", "--consensus", "1/1", &photo],
        &["inspect"],
        &["evaluate", "--labels", &labels, "--images", PHOTOS, "--report", &report],
    ] {
        let stdout = oltr(&[&["--model", &model], args].concat()).code(0).stdout;
        assert!(stdout.contains("gull (g"), "{args:?}: {stdout}");
    }
    let page = fs::read_to_string(format!("{report}/report.html")).unwrap();
    let answers = fs::read_to_string(format!("{report}/answers.csv")).unwrap();
    assert!(page.contains(&called) && answers.contains(&called), "{answers}");
}

#[test]
fn an_enrolled_class_is_not_mixed_up_with_a_known_one_of_its_name() {
    let folder = Folder::new();
    let model = folder.file("m.onnx", &fs::read(package(BUNDLE)).unwrap());
    let photo = format!("{PHOTOS}/moon.jpg");
    oltr(&["--model", &model, "enrol", "add", "pizza", &photo, &photo]).code(0);
    let table = oltr(&["--model", &model, "classify", &photo]).code(0).stdout;
    assert!(table.contains("pizza (enrolled)"), "{table}");
    let json = oltr(&["--model", &model, "classify", "--json", &photo]).code(0).json().remove(0);
    assert_eq!((&json["label"], &json["class"]), (&"pizza".into(), &Value::Null));
}

#[test]
fn an_empty_list_of_enrolled_classes_says_so_and_how_to_add_one() {
    let folder = Folder::new();
    let model = folder.file("my model.onnx", &tiny::bundle().encode());
    let list = |args: &[&str]| oltr(&[&["enrol", "--model", &model, "list"], args].concat()).code(0);
    let ran = list(&[]);
    assert_eq!(ran.stdout, "");
    ran.says(&["no class is enrolled", "my model.enrolled", "oltr enrol --model '", "my model.onnx' add NAME"]);
    assert_eq!(list(&["--json"]).stdout, "");
    assert_eq!(list(&["-q"]).stderr, "");
    let named = list(&["--enrolled", "things.enrolled"]);
    named.says(&["--enrolled things.enrolled add NAME"]);
    oltr(&["enrol", "list"]).code(78).says(&["built-in bundle", "--enrolled things.enrolled"]);
}
