//! Whole graphs and single operators against ONNX Runtime, on both engines and all kernel sets.
//!
//! `tests/graphs/README.md` describes the graphs. Each test tries every graph and reports all failures.
#![cfg(feature = "cli")]

#[path = "graphs/attributes.rs"]
mod attributes;
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::npz;
use oltr::Model;
use oltr::model::{Engine, Options, Step};
use oltr_int8::kernels;

/// A graph and ONNX Runtime's results.
struct Case {
    /// `r10s.qdq`, `ops/qgemm-u8`
    name: String,
    golden: npz::Arrays,
}

/// Name of an output, our values, the golden values.
type Compared<'a> = (String, Vec<f32>, &'a [f32]);

impl Case {
    fn onnx(&self) -> PathBuf {
        folder().join(format!("{}.onnx", self.name))
    }

    fn is_operator(&self) -> bool {
        self.name.starts_with("ops/")
    }

    fn load(&self, engine: Engine) -> Result<Model, String> {
        Model::load(self.onnx(), &Options { engine, ..Options::default() }).map_err(|e| e.to_string())
    }

    /// Outputs by name, ours and the golden.
    fn run(&self, engine: Engine) -> Result<Vec<Compared<'_>>, String> {
        let model = self.load(engine)?;
        let inputs: Vec<&[f32]> = model.inputs().iter().map(|i| &self.golden[&i.name][..]).collect();
        let mut session = model.session().map_err(|e| e.to_string())?;
        let outputs = session.run_raw(&inputs).map_err(|e| e.to_string())?;
        let named = model.outputs().iter().zip(outputs);
        Ok(named.map(|(port, ours)| (port.name.clone(), ours, &self.golden[&port.name][..])).collect())
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graphs"))
}

/// The cases that `keep` keeps, by name.
fn cases(keep: impl Fn(&Case) -> bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for prefix in ["", "ops/"] {
        for entry in std::fs::read_dir(folder().join(prefix)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "onnx") {
                let name = format!("{prefix}{}", path.file_stem().unwrap().to_str().unwrap());
                cases.push(Case { name, golden: npz::read(&path.with_extension("npz")) });
            }
        }
    }
    cases.retain(keep);
    assert!(!cases.is_empty(), "no test graphs were found");
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// Fails with all that `check` finds wrong.
fn report(cases: Vec<Case>, check: impl Fn(&Case) -> Vec<String>) {
    let wrong: Vec<String> =
        cases.iter().flat_map(|case| check(case).into_iter().map(|w| format!("{:28} {w}", case.name))).collect();
    assert!(wrong.is_empty(), "{} of {} graphs:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// How far the outputs of a network may be from ONNX Runtime's.
#[derive(Clone, Copy)]
struct Tolerance {
    /// Least cosine of logits and of features.
    cosine: f64,
    /// Most mean difference of the distances, relative to their mean.
    distances: f64,
}

/// The product's promise.
const INT8: Tolerance = Tolerance { cosine: 0.997, distances: 0.01 };

/// tract's engine computes in floating point between the quantisers, so sums sometimes round to the other side.
const TRACT: Tolerance = Tolerance { cosine: 0.98, distances: 0.02 };

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    if a == b { 1.0 } else { dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() }
}

fn argmax(values: &[f32]) -> Option<usize> {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]))
}

fn network(case: &Case, engine: Engine, tolerance: Tolerance) -> Vec<String> {
    let outputs = match case.run(engine) {
        Ok(outputs) => outputs,
        Err(error) => return vec![error],
    };
    let mut wrong = Vec::new();
    for (name, ours, golden) in outputs {
        assert_eq!(ours.len(), golden.len(), "{} {name}", case.name);
        if name == "distances" {
            let sum = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>();
            let apart = sum(&mut ours.iter().zip(golden).map(|(x, y)| f64::from(x - y).abs()));
            let off = apart / sum(&mut golden.iter().map(|y| f64::from(*y)));
            if off.is_nan() || off > tolerance.distances {
                wrong.push(format!("distances are {:.2} % off", off * 100.0));
            }
            continue;
        }
        let cosine = cosine(&ours, golden);
        if cosine.is_nan() || cosine < tolerance.cosine {
            wrong.push(format!("cosine of {name} {cosine:.5}"));
        }
        if name == "logits" && argmax(&ours) != argmax(golden) {
            wrong.push(format!("class {:?} instead of {:?}", argmax(&ours), argmax(golden)));
        }
    }
    wrong
}

#[test]
fn networks_agree_with_onnx_runtime() {
    report(cases(|c| !c.is_operator()), |case| network(case, Engine::Int8, INT8));
}

#[test]
fn networks_agree_with_onnx_runtime_on_tract_alone() {
    report(cases(|c| !c.is_operator()), |case| network(case, Engine::Tract, TRACT));
}

/// Operators whose results differ from ONNX Runtime's, with the share of values that may differ by one step.
const NOT_EXACT: [(&str, f64); 2] = [
    // ONNX Runtime exponentiates by a table of its own.
    ("ops/qlinearsoftmax-", 0.02),
    // tract alone rounds sums on the way.
    ("ops/qlinearconv-weights-u8", 0.005),
];

/// One operator. Its last node dequantises, so the results are multiples of a step: the smallest distance of two of
/// them.
fn operator(case: &Case, engine: Engine) -> Vec<String> {
    let may_differ = NOT_EXACT.iter().find(|(name, _)| case.name.starts_with(name)).map_or(0.0, |(_, share)| *share);
    let outputs = match case.run(engine) {
        Ok(outputs) => outputs,
        Err(error) => return vec![error],
    };
    let mut wrong = Vec::new();
    for (name, ours, golden) in outputs {
        assert_eq!(ours.len(), golden.len(), "{} {name}", case.name);
        let mut values = golden.to_vec();
        values.sort_by(f32::total_cmp);
        let largest = golden.iter().fold(0f32, |m, v| m.max(v.abs()));
        // Multiples of the step carry rounding errors of their own.
        let same = largest * 1e-6;
        let step = values.windows(2).map(|w| w[1] - w[0]).filter(|d| *d > same).fold(f32::INFINITY, f32::min);
        let apart = |x: &f32, y: &f32| (x - y).abs();
        let pairs = || ours.iter().zip(golden);
        let far = pairs().filter(|(x, y)| x.is_nan() || apart(x, y) > step * 1.01).count();
        let off = pairs().filter(|(x, y)| x.is_nan() || apart(x, y) > same).count();
        if far > 0 {
            wrong.push(format!("{far} of {} values of {name} are more than a step of {step} off", ours.len()));
        }
        if off as f64 > may_differ * ours.len() as f64 {
            wrong.push(format!("{off} of {} values of {name} are a step off", ours.len()));
        }
    }
    wrong
}

#[test]
fn operators_agree_with_onnx_runtime() {
    report(cases(Case::is_operator), |case| operator(case, Engine::Int8));
}

#[test]
fn operators_agree_with_onnx_runtime_on_tract_alone() {
    report(cases(|c| c.is_operator() && !c.name.starts_with(ONLY_IN_PROGRAMS)), |case| operator(case, Engine::Tract));
}

/// Resizes bytes directly and truncates fractions, which tract's operator does not do.
const ONLY_IN_PROGRAMS: &str = "ops/qdq-linear-bytes-";

#[test]
fn what_only_programs_compute_is_refused_without_them() {
    report(cases(|c| c.name.starts_with(ONLY_IN_PROGRAMS)), |case| match case.load(Engine::Tract) {
        Err(error) if error.contains("Resize") && error.contains("between DQ and Q") => vec![],
        Err(error) => vec![error],
        Ok(_) => vec!["is loaded".into()],
    });
}

/// Operators left to tract. A quantiser alone gains nothing, products with a factor are rare, int8 layers need ranges
/// known at load, and the rest has bytes of one scale.
const LEFT_TO_TRACT: [&str; 3] = ["ops/quantizelinear-", "ops/qgemm-alpha", "ops/qdq-dynamic-"];

#[test]
fn what_is_quantised_runs_in_int8_programs() {
    let quantised = |c: &Case| !c.name.ends_with(".float");
    report(cases(quantised), |case| {
        let model = match case.load(Engine::Int8) {
            Ok(model) => model,
            Err(error) => return vec![error],
        };
        let summary = model.summary();
        let in_program = |s: &&Step| s.program.is_some();
        // 16-bit convolutions run in float, between programs for the 8-bit part.
        if case.name.starts_with("ops/qdq-wide-") {
            let is_float = summary.coverage.int8_macs < summary.coverage.macs;
            return if is_float { vec![] } else { vec!["is no exception any more: take it out".into()] };
        }
        if LEFT_TO_TRACT.iter().any(|name| case.name.starts_with(name)) {
            let count = summary.steps.iter().filter(in_program).count();
            return if count == 0 { vec![] } else { vec!["is no exception any more: take it off the list".into()] };
        }
        let mut wrong = Vec::new();
        // Attention and head depend on quantised operators, so they run in the program too. Only the input is left.
        for step in summary.steps.iter().filter(|s| s.program.is_none() && s.op != "tract Source") {
            wrong.push(format!("{} '{}' is left to tract", step.op, step.name));
        }
        let layers = |kind: &str| summary.steps.iter().filter(in_program).filter(|s| s.op.starts_with(kind)).count();
        let convolutions = layers("conv") + layers("depthwise") + layers("fully-connected");
        let count = |op: &str| summary.operators.get(op).copied().unwrap_or(0);
        let expected = count("Conv") + count("QLinearConv");
        if convolutions < expected {
            wrong.push(format!("{convolutions} convolutions in programs, the file has {expected}"));
        }
        let programs = summary.steps.iter().filter_map(|s| s.program).max().map_or(0, |p| p + 1);
        if programs != 1 {
            wrong.push(format!("{programs} programs; float islands have cut it up"));
        }
        if summary.steps.iter().filter(in_program).any(|s| s.macs > 0 && s.kernel.is_empty()) {
            wrong.push("a layer that multiplies has no kernel".into());
        }
        wrong
    });
}

#[test]
fn all_that_is_quantised_multiplies_in_int8() {
    let float = |c: &Case| c.name.starts_with("ops/qdq-blocks-") || c.name.starts_with("ops/qdq-wide-");
    let left = |c: &Case| float(c) || LEFT_TO_TRACT.iter().any(|name| c.name.starts_with(name));
    report(cases(|c| c.is_operator() && !left(c)), |case| {
        let coverage = match case.load(Engine::Int8) {
            Ok(model) => model.summary().coverage.clone(),
            Err(error) => return vec![error],
        };
        let all = coverage.int8_macs == coverage.macs && coverage.fallback.is_none() && !coverage.is_poor();
        if all { vec![] } else { vec![coverage.to_string()] }
    });
}

#[test]
fn dynamic_quantisation_runs_as_products_of_floats_and_is_reported() {
    let dynamic = |c: &Case| c.name.starts_with("ops/qdq-dynamic-");
    report(cases(dynamic), |case| {
        let model = match case.load(Engine::Int8) {
            Ok(model) => model,
            Err(error) => return vec![error],
        };
        let (summary, mut wrong) = (model.summary(), Vec::new());
        if let Some(step) = summary.steps.iter().find(|s| s.op.contains("Integer")) {
            wrong.push(format!("{} '{}' computes integers in loops", step.op, step.name));
        }
        let is_reported = summary.coverage.fallback.as_ref().is_some_and(|f| f.reason.contains("anew for each frame"));
        if !is_reported || !summary.coverage.is_poor() {
            wrong.push(format!("is not reported: {}", summary.coverage));
        }
        wrong
    });
}

#[test]
fn sixteen_bits_and_blocks_are_reported() {
    let fallback_of = |c: &Case| {
        [("ops/qdq-wide-", "16 bits"), ("ops/qdq-blocks-", "in blocks")]
            .into_iter()
            .find(|(n, _)| c.name.starts_with(n))
    };
    report(cases(|c| fallback_of(c).is_some()), |case| {
        let coverage = match case.load(Engine::Int8) {
            Ok(model) => model.summary().coverage.clone(),
            Err(error) => return vec![error],
        };
        let fallback = coverage.fallback.as_ref();
        let reason = fallback_of(case).is_some_and(|(_, why)| fallback.is_some_and(|f| f.reason.contains(why)));
        if reason && coverage.is_poor() { vec![] } else { vec![coverage.to_string()] }
    });
}

#[test]
fn float_operators_are_reported_with_reason_and_remedy() {
    let model = Model::load(folder().join("ops/qgemm-alpha.onnx"), &Options::default()).unwrap();
    let coverage = &model.summary().coverage;
    assert!(coverage.is_poor() && coverage.int8_macs == 0 && coverage.macs > 0, "{coverage:?}");
    let fallback = coverage.fallback.as_ref().unwrap();
    assert!(fallback.operator == "Gemm" && !fallback.reason.is_empty() && !fallback.remedy.is_empty(), "{coverage}");
    let report =
        Command::new(env!("CARGO_BIN_EXE_oltr")).arg("inspect").arg(folder().join("ops/qgemm-alpha.onnx")).output();
    let report = report.unwrap();
    let (out, err) = (String::from_utf8_lossy(&report.stdout), String::from_utf8_lossy(&report.stderr));
    assert!(out.contains("0.0 % of") && err.contains("in int8; the first in float is Gemm"), "{out}{err}");
}

#[test]
fn a_float_graph_runs_without_programs() {
    report(cases(|c| c.name.ends_with(".float")), |case| {
        let model = case.load(Engine::Int8).unwrap();
        let summary = model.summary();
        let right = summary.quantisation == "float" && summary.steps.iter().all(|s| s.program.is_none());
        if right { vec![] } else { vec![format!("{}, or a program", summary.quantisation)] }
    });
}

#[test]
fn tract_alone_runs_without_programs() {
    report(cases(|c| !c.is_operator()), |case| {
        let model = case.load(Engine::Tract).unwrap();
        let programs = model.summary().steps.iter().filter(|s| s.program.is_some()).count();
        if programs == 0 { vec![] } else { vec![format!("{programs} steps are in programs")] }
    });
}

/// Results of the program for a case with the kernels of `isa`. Each runs in its own process, because the environment
/// selects kernels at load.
fn computed(case: &Case, isa: &str, folder: &Path) -> Result<npz::Arrays, String> {
    let onnx = case.onnx();
    let output = folder.join("computed.npz");
    let _ = std::fs::remove_file(&output);
    let ran = Command::new(env!("CARGO_BIN_EXE_oltr"))
        .args(["verify", "--output"])
        .args([&output, &onnx, &onnx.with_extension("npz")])
        .env(kernels::ISA_VARIABLE, isa)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // 1: not within the tolerance for networks, which does not matter here.
    match ran.status.code() {
        Some(0 | 1) => Ok(npz::read(&output)),
        code => Err(format!("{isa}: exit {code:?}: {}", String::from_utf8_lossy(&ran.stderr))),
    }
}

#[test]
fn every_kernel_set_computes_the_bits_of_the_scalar_one() {
    let folder = tempfile::tempdir().unwrap();
    let sets: Vec<&str> = kernels::available().iter().map(|set| set.isa()).collect();
    let (scalar, others) = sets.split_last().unwrap();
    assert_eq!(*scalar, "scalar");
    report(cases(|c| !c.name.ends_with(".float")), |case| {
        let expected = match computed(case, scalar, folder.path()) {
            Ok(arrays) => arrays,
            Err(error) => return vec![error],
        };
        let mut wrong = Vec::new();
        for isa in others {
            match computed(case, isa, folder.path()) {
                Ok(arrays) => {
                    for (name, values) in &arrays {
                        let differs = |(x, y): &(&f32, &f32)| x.to_bits() != y.to_bits();
                        let off = values.iter().zip(&expected[name]).filter(differs).count();
                        if off > 0 {
                            wrong.push(format!("{isa}: {off} of {} values of {name} differ", values.len()));
                        }
                    }
                }
                Err(error) => wrong.push(error),
            }
        }
        wrong
    });
}

#[test]
fn the_kernels_are_those_that_the_environment_names() {
    let inspect = |isa: &str| {
        let graph = folder().join("odd.qdq.onnx");
        let mut command = Command::new(env!("CARGO_BIN_EXE_oltr"));
        command.args(["inspect", "--json"]).arg(graph).env(kernels::ISA_VARIABLE, isa).output().unwrap()
    };
    for set in kernels::available() {
        let ran = inspect(set.isa());
        let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(report["isa"], set.isa());
    }
    let ran = inspect("abacus");
    let message = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(78), "{message}");
    assert!(message.contains("abacus") && message.contains("scalar"), "{message}");
}
