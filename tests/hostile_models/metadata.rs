//! Metadata of a bundle that contradict the format or the graph.

use crate::common::{onnx, tiny};
use crate::{Case, all_are_refused, calmly, case, from_bytes, load_and_run, picture, session};
use oltr::model::Options;
use oltr::{Error, Limits, Model};

/// A bundle with `key` set to `value`. The message must contain the key and `says`.
fn set(what: &'static str, key: &'static str, value: &str, says: &'static str) -> (Case, &'static str) {
    (case(tiny::bundle, what, |m| m.set(key, value), Box::leak(Box::new([says]))), key)
}

#[test]
fn wrong_metadata_is_refused_and_the_key_named() {
    let class = |id: &str| format!(r#"{{"id":"{id}","name":"{id}","train_count":9}}"#);
    let classes = |ids: &[&str]| format!("[{}]", ids.iter().map(|id| class(id)).collect::<Vec<_>>().join(","));
    let preprocess = |rest: &str| format!(r#"{{"size":8,"resize":"stretch",{rest}}}"#);
    let open = |rest: &str| format!(r#"{{"rule":"both","reachability":0.5,"probability":0.1{rest}}}"#);
    let cases = [
        set("version 2", "oltr.version", "2", "version 1"),
        set("no version", "oltr.version", "", "version 1"),
        set("no JSON", "oltr.classes", "cup, face", "expected"),
        set("JSON that breaks off", "oltr.classes", r#"[{"id":"a""#, "EOF"),
        set("the wrong JSON", "oltr.classes", r#"{"a":1}"#, "bundle format"),
        set("a class without a name", "oltr.classes", r#"[{"id":"a","train_count":3}]"#, "name"),
        set("a negative count", "oltr.classes", r#"[{"id":"a","name":"a","train_count":-3}]"#, "-3"),
        set("no class", "oltr.classes", "[]", "no class"),
        set("fewer classes than logits", "oltr.classes", &classes(&["a", "b"]), "2 classes"),
        set("more classes than logits", "oltr.classes", &classes(&["a", "b", "c", "d"]), "4 classes"),
        set("a class twice", "oltr.classes", &classes(&["a", "b", "a"]), "'a' twice"),
        set("no preprocessing", "oltr.preprocess", "{}", "missing field"),
        set("a negative std", "oltr.preprocess", &preprocess(r#""mean":[0,0,0],"std":[1,-1,1]"#), "std positive"),
        set("a std of zero", "oltr.preprocess", &preprocess(r#""mean":[0,0,0],"std":[1,0,1]"#), "std positive"),
        set("two means", "oltr.preprocess", &preprocess(r#""mean":[0,0],"std":[1,1,1]"#), "length"),
        set("a mean of 1e99", "oltr.preprocess", &preprocess(r#""mean":[1e99,0,0],"std":[1,1,1]"#), "mean"),
        set(
            "another size than the graph's",
            "oltr.preprocess",
            r#"{"size":9,"resize":"pad","mean":[0,0,0],"std":[1,1,1]}"#,
            "[1,3,9,9]",
        ),
        set("a size of 0", "oltr.preprocess", r#"{"size":0,"resize":"pad","mean":[0,0,0],"std":[1,1,1]}"#, "size is 0"),
        set(
            "a size beyond reason",
            "oltr.preprocess",
            r#"{"size":4000000000,"resize":"pad","mean":[0,0,0],"std":[1,1,1]}"#,
            "4000000000",
        ),
        set(
            "a resize that there is not",
            "oltr.preprocess",
            r#"{"size":8,"resize":"cover","mean":[0,0,0],"std":[1,1,1]}"#,
            "cover",
        ),
        set(
            "resize_to below size",
            "oltr.preprocess",
            &preprocess(r#""resize_to":7,"mean":[0,0,0],"std":[1,1,1]"#),
            "7",
        ),
        set("nested without end", "oltr.open", &format!(r#"{{"calibration":{}"#, "[".repeat(100_000)), "recursion"),
        set("a rule that there is not", "oltr.open", r#"{"rule":"none","reachability":1,"probability":0}"#, "none"),
        set("a negative threshold", "oltr.open", r#"{"rule":"both","reachability":-1,"probability":0}"#, "-1"),
        set("a probability of 2", "oltr.open", r#"{"rule":"both","reachability":1,"probability":2}"#, "within 0..1"),
        set("a threshold for an unknown class", "oltr.open", &open(r#","per_class":{"x":1}"#), "'x'"),
        set("a negative threshold of a class", "oltr.open", &open(r#","per_class":{"a":-1}"#), "-1"),
    ];
    for (case, key) in &cases {
        let error = load_and_run(&case.model.encode()).expect_err(case.what);
        assert!(matches!(&error, Error::Metadata { key: k, .. } if k == key), "{}: {error}", case.what);
    }
    all_are_refused(&cases.map(|(case, _)| case));
}

#[test]
fn missing_metadata_is_named() {
    for key in ["oltr.version", "oltr.name", "oltr.classes", "oltr.preprocess", "oltr.open"] {
        let mut model = tiny::bundle();
        model.metadata.retain(|(k, _)| k != key);
        let error = from_bytes(&model.encode()).unwrap_err().to_string();
        assert!(error.contains(&format!("'{key}': is missing")), "{error}");
    }
}

#[test]
fn a_bundle_needs_the_outputs_that_decide() {
    let without = |name: &str| {
        let mut model = tiny::bundle();
        let wanted = onnx::Message::default().bytes(1, name).0;
        model.outputs.retain(|o| !o.0.starts_with(&wanted));
        assert_eq!(model.outputs.len(), 2);
        from_bytes(&model.encode())
    };
    for name in ["logits", "distances"] {
        let error = without(name).unwrap_err().to_string();
        assert!(error.contains(&format!("no output '{name}'")), "{error}");
    }
    without("features").unwrap();
}

#[test]
fn more_classes_than_the_limit_are_refused() {
    let mut limits = Limits::default();
    limits.classes = tiny::CLASSES - 1;
    let options = Options { limits, ..Options::default() };
    let error = Model::from_bytes("many.onnx", &tiny::bundle().encode(), &options).unwrap_err().to_string();
    assert!(error.contains("3 classes, Limits::classes is 2"), "{error}");
}

#[test]
fn a_graph_without_metadata_runs_raw_and_says_what_it_lacks() {
    let bytes = tiny::graph().encode();
    load_and_run(&bytes).unwrap();
    assert!(from_bytes(&bytes).unwrap().bundle().is_none());
    let error = calmly("run", || session(&bytes).run(&picture()).unwrap_err()).unwrap();
    assert!(matches!(error, Error::Metadata { key: "oltr.preprocess", .. }), "{error}");
    // Metadata of other programs do not make a bundle.
    let mut model = tiny::graph();
    model.set("author", "somebody");
    let model = from_bytes(&model.encode()).unwrap();
    assert!(model.bundle().is_none());
    assert_eq!(model.metadata()["author"], "somebody");
}
