//! `oltr inspect`, `oltr bench` and `oltr doctor`.

use serde_json::Value;

use super::common::onnx;
use super::{BUNDLE, Folder, PLAIN_GRAPH, Ran, command, keys, oltr};

#[test]
fn inspect_tells_programs_everything() {
    let ran = oltr(&["inspect", "--json", BUNDLE]).code(0);
    let keys = keys(&ran.stdout);
    for part in [
        "{schema,model,sha256,file_bytes,bundle{name,groups{many,medium,few},classes[{id,name,train_count,shot}",
        "},inputs[{name,shape[]}],outputs[{name,shape[]}{name,shape[]}{name,shape[]}{name,shape[]}],quantisation,operators{",
        "},isa,memory{weights_bytes,arena_bytes,scratch_bytes},steps[{name,op,dtype,shape[],macs,kernel,program}",
        "],metadata{oltr.card,oltr.classes,oltr.name,oltr.open,oltr.preprocess,oltr.subject,oltr.version",
    ] {
        assert!(keys.contains(part), "{part} is not in: {keys}");
    }
    let json = &ran.json()[0];
    assert_eq!(json["schema"], "oltr.inspect/1");
    assert_eq!(json["bundle"]["classes"].as_array().unwrap().len(), 76);
    let group = |name: &str| json["bundle"]["groups"][name].as_u64().unwrap();
    assert_eq!(group("many") + group("medium") + group("few"), 76);
    assert_eq!(json["outputs"][0]["name"], "logits");
    assert_eq!(json["outputs"][0]["shape"], serde_json::json!([1, 76]));
    let steps = json["steps"].as_array().unwrap();
    let macs: u64 = steps.iter().map(|step| step["macs"].as_u64().unwrap()).sum();
    // EfficientNet-Lite0 at 224 pixels has 385 million.
    assert!((300e6..600e6).contains(&(macs as f64)), "{macs}");
    let file_bytes = std::fs::metadata(super::package(BUNDLE)).unwrap().len();
    assert_eq!(json["file_bytes"], file_bytes);
    let weights = json["memory"]["weights_bytes"].as_u64().unwrap();
    assert!((file_bytes / 2..file_bytes * 8).contains(&weights), "{weights}");
}

#[test]
fn inspect_tells_people_what_matters() {
    let stdout = oltr(&["inspect", BUNDLE]).code(0).stdout;
    for part in ["everyday.onnx", "sha256", "many-shot", "motorbike", "reachability (10 / nearest distance) <", "STEP"]
    {
        assert!(stdout.contains(part), "'{part}' is not in: {stdout}");
    }
    assert_eq!(
        oltr(&["inspect"]).code(0).stdout.lines().find(|line| line.starts_with("sha256")),
        stdout.lines().find(|line| line.starts_with("sha256")),
        "the built-in bundle is the shipped one"
    );
}

#[test]
fn inspect_reads_graphs_that_are_no_bundles() {
    let json = oltr(&["inspect", "--json", PLAIN_GRAPH]).code(0).json().remove(0);
    assert_eq!((&json["bundle"], &json["inputs"][0]["name"]), (&Value::Null, &"pixels".into()));
    let stdout = oltr(&["inspect", PLAIN_GRAPH]).code(0).stdout;
    assert!(stdout.contains("names no classes"), "{stdout}");
    oltr(&["inspect", "nowhere.onnx"]).code(66).says(&["nowhere.onnx"]);
}

#[test]
fn bench_measures() {
    let ran = oltr(&["bench", "--json", "--runs", "3", "--warmup", "0", BUNDLE]).code(0);
    assert_eq!(
        keys(&ran.stdout),
        "{schema,model,threads,runs,isa,load_ms,first_result_ms,latency_ms{min,median,p95,max},\
         arena_bytes,scratch_bytes,weights_bytes,peak_rss_bytes,input,\
         int8{macs,int8_macs,fallback{node,operator,reason,remedy}}}"
    );
    let json = &ran.json()[0];
    assert_eq!((&json["schema"], &json["runs"], &json["threads"]), (&"oltr.bench/1".into(), &3.into(), &1.into()));
    let number = |path: &str| json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {json}"));
    assert!(number("/latency_ms/min") > 0.0);
    let steps = ["min", "median", "p95", "max"].map(|field| number(&format!("/latency_ms/{field}")));
    assert!(steps.is_sorted(), "{steps:?}");
    assert!(number("/first_result_ms") >= number("/load_ms") + number("/latency_ms/min") / 2.0);
    assert!(number("/peak_rss_bytes") >= number("/weights_bytes"));
    let person = oltr(&["bench", "--runs", "1", "--warmup", "0", PLAIN_GRAPH]).code(0).stdout;
    for part in ["odd.qdq.onnx", "latency", "median", "weights", "arena", "scratch"] {
        assert!(person.contains(part), "'{part}' is not in: {person}");
    }
}

#[test]
fn bench_says_where_the_time_goes() {
    let ran = oltr(&["bench", "--json", "--profile", "--runs", "2", "--warmup", "0", PLAIN_GRAPH]).code(0);
    let profile = ran.json()[0]["profile"].as_array().unwrap().clone();
    let share: f64 = profile.iter().map(|step| step["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-6, "{share}");
    assert!(profile.iter().all(|step| step["micros"].as_f64().unwrap() >= 0.0 && step["name"].is_string()));
    let table = oltr(&["bench", "--profile", "--runs", "2", "--warmup", "0", PLAIN_GRAPH]).code(0).stdout;
    assert!(table.lines().any(|line| line.starts_with("STEP ") && line.contains("GMAC/s")), "{table}");
}

#[test]
fn doctor_finds_this_machine_fit() {
    let ran = oltr(&["doctor", "--json"]);
    let json = &ran.json()[0];
    assert!(keys(&ran.stdout).starts_with("{schema,ok,findings[{check,status,detail,remedy}"), "{}", ran.stdout);
    let findings = json["findings"].as_array().unwrap();
    let finding = |check: &str| findings.iter().find(|f| f["check"] == check).unwrap_or_else(|| panic!("{check}"));
    for check in ["processor", "kernels", "model", "memory", "clock", "disk"] {
        assert!(!finding(check)["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(finding("model")["status"], "ok");
    for f in findings {
        assert_eq!(f["remedy"].is_null(), f["status"] == "ok", "a remedy for each trouble: {f}");
    }
    let fails = findings.iter().any(|f| f["status"] == "fail");
    assert_eq!((json["ok"] == true, ran.code), if fails { (false, Some(69)) } else { (true, Some(0)) });
}

#[test]
fn doctor_tells_what_is_wrong_with_a_model() {
    let run = |args: &[&str]| -> Ran { command(&[&["doctor"], args].concat()).output().unwrap().into() };
    let folder = Folder::new();
    let text = folder.file("text.onnx", b"no model");
    for (args, code, part) in [
        (&["--model", "nowhere.onnx"][..], 66, "nowhere.onnx"),
        (&["--model", &text], 65, "text.onnx"),
        (&["--max-memory", "64KiB"], 78, "--max-memory"),
    ] {
        let stdout = run(args).code(code).stdout;
        assert!(stdout.contains("FAIL") && stdout.contains(part), "{stdout}");
        assert!(stdout.contains("→ "), "{stdout}");
    }
    assert!(run(&["--model", PLAIN_GRAPH]).stdout.contains("names no classes"));
    let forced: Ran = command(&["doctor"]).env("OLTR_ISA", "abacus").output().unwrap().into();
    assert!(forced.code(78).stdout.contains("→ unset OLTR_ISA"));
}

#[test]
fn a_graph_that_makes_tract_panic_is_a_bad_model_not_a_defect() {
    let files = Folder::new();
    let path = files.path("gather.onnx");
    std::fs::write(&path, onnx::tract_panics().encode()).unwrap();
    let ran = oltr(&["bench", "--runs", "1", &path]).code(65).says(&[&path, "does not run"]);
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("internal error"), "{}", ran.stderr);
    // With -vv everything is logged.
    oltr(&["bench", "-vv", "--runs", "1", &path]).code(65).says(&["panicked"]);
}
