//! Names from outside (files, operators, labels, arguments) cannot control a terminal or start a new line.

use super::common::onnx::{Model, Node, dtype, value};
use super::common::tiny;
use super::{BUNDLE, Folder, Ran, command, oltr};
use oltr::text::is_hidden;

/// Title of the terminal, a line of its own, C1 control, text turned around, a character without width.
const HOSTILE: &str = "x\x1b]0;title\x07\nINJECTED: line\u{9b}31m\u{202e}\u{200b}";

/// The output contains the escaped name, and not the name itself.
#[track_caller]
fn tame(ran: Ran) -> Ran {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.chars().any(|c| c != '\n' && is_hidden(c)), "{ran:?}");
        assert!(!text.lines().any(|line| line.starts_with("INJECTED")), "{ran:?}");
    }
    assert!(format!("{}{}", ran.stdout, ran.stderr).contains("INJECTED"), "{ran:?}");
    ran
}

/// A graph whose operator, node and tensors have the name.
fn model() -> Vec<u8> {
    let mut node = Node::new(HOSTILE, &["x"], &["y"]);
    node.name = HOSTILE.into();
    Model {
        nodes: vec![node],
        inputs: vec![value("x", dtype::FLOAT, &[1, 4])],
        outputs: vec![value("y", dtype::FLOAT, &[1, 4])],
        opset: Some(13),
        ..Model::default()
    }
    .encode()
}

#[test]
fn of_files_and_operators() {
    let folder = Folder::new();
    let operator = folder.file("m.onnx", &model());
    tame(oltr(&["bench", "--runs", "1", &operator]).code(65));
    tame(oltr(&["inspect", &operator]).code(65));
    let named = folder.file(&format!("{HOSTILE}.onnx"), &tiny::graph().encode());
    tame(oltr(&["bench", "--runs", "1", &named]).code(0));
    // In 80 columns a long name loses its middle.
    let wide = command(&["inspect", &named]).env("COLUMNS", "400").output().unwrap();
    tame(Ran::from(wide).code(0));
    tame(oltr(&["inspect", &format!("{named}.missing")]).code(66));
    let photo = folder.file(&format!("{HOSTILE}.jpg"), b"no photo");
    tame(oltr(&["classify", "--model", BUNDLE, &photo]).code(65));
    tame(oltr(&["stream", "--model", BUNDLE, &format!("{HOSTILE}.y4m")]));
}

#[test]
fn json_says_them_exactly() {
    let folder = Folder::new();
    let photo = folder.file(&format!("{HOSTILE}.jpg"), b"no photo");
    let ran = tame(oltr(&["classify", "--json", "--model", BUNDLE, &photo]).code(65));
    assert_eq!(ran.json()[0]["source"], photo);
}

#[test]
fn of_labels_and_classes() {
    let folder = Folder::new();
    let header = "path\tclass\trole\tsplit\n";
    let labels = folder.file("l.tsv", format!("{header}\"{HOSTILE}\"\t\"{HOSTILE}\"\tknown\ttest\n").as_bytes());
    let images = folder.path("");
    tame(oltr(&["evaluate", "--labels", &labels, "--images", &images, BUNDLE]).code(65));
}

#[test]
fn of_arguments() {
    tame(oltr(&["classify", &format!("--{HOSTILE}")]).code(2));
    tame(oltr(&[HOSTILE]).code(2));
    tame(oltr(&["bench", "--runs", HOSTILE, BUNDLE]).code(2));
}

#[test]
fn of_models_in_the_log() {
    let folder = Folder::new();
    let output = folder.path(&format!("{HOSTILE}.npz"));
    let ran =
        command(&["verify", "-v", "--output", &output, super::PLAIN_GRAPH, super::PLAIN_GOLDEN]).output().unwrap();
    tame(ran.into());
}

/// A folder in place of a model: the message suggests the model in it.
#[test]
fn a_folder_is_no_model() {
    let folder = Folder::new();
    let path = folder.path("");
    oltr(&["bench", &path]).code(65).says(&["is a folder", "NAME.onnx"]);
    let model = folder.file("mine.onnx", b"");
    oltr(&["bench", &path]).code(65).says(&["is a folder", &model]);
}

#[test]
fn labels_may_be_a_folder() {
    let folder = Folder::new();
    let cup = std::fs::read("examples/photos/cup.jpg").unwrap();
    std::fs::create_dir(folder.path("cup")).unwrap();
    folder.file("cup/1.jpg", &cup);
    let path = folder.path("");
    let ran = oltr(&["evaluate", "--json", "--labels", &path, "--images", &path, BUNDLE]).code(0);
    assert_eq!((&ran.json()[0]["known"], &ran.json()[0]["open"]), (&1.into(), &0.into()));
    std::fs::create_dir(folder.path("no such class")).unwrap();
    folder.file("no such class/1.jpg", &cup);
    let ran = oltr(&["evaluate", "--labels", &path, "--images", &path, BUNDLE]).code(65);
    ran.says(&["'no such class'", "labels.tsv"]);
}
