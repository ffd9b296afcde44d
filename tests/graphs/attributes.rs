//! Every attribute of every operator with a value other than its default is computed as ONNX defines, or refused
//! with a reason. `make_attributes.py` generates the cases and checks that no attribute is missing.

use std::io::{Cursor, Read};

use oltr::model::{Engine, Options};
use oltr::{Error, Model};
use zip::ZipArchive;

/// Relative difference between two ways of computing the same.
const TOLERANCE: f32 = 2e-4;

/// Prefixes of refused cases, and a part of the message.
const REFUSED: &[(&str, &str)] = &[
    ("BatchNormalization-14-training_mode", "training_mode"),
    ("BatchNormalization-15-training_mode", "training_mode"),
    ("BatchNormalization-7-spatial", "spatial"),
    ("Cast-19-to=17", "Float8"),
    ("Cast-25-to=24", "DataType (24)"),
    ("DequantizeLinear-21-block_size", "blocks"),
    ("DequantizeLinear-23-output_dtype=10", "output_dtype"),
    ("GroupNormalization-21-num_groups=2-stash_type=10", "stash_type"),
    // Loads, but does not run.
    ("OneHot-", "does not run"),
    ("Pad-11-mode=constant-negative", "pads by -"),
    ("Pad-11-mode=edge-negative", "pads by -"),
    ("Pad-11-mode=reflect-negative", "pads by -"),
    ("Pad-11-negative", "pads by -"),
    ("Pad-13-int64", "TDim"),
    ("Pad-18-mode=constant-negative", "pads by -"),
    ("Pad-18-mode=edge-negative", "pads by -"),
    ("Pad-18-mode=reflect-negative", "pads by -"),
    ("Pad-18-negative", "pads by -"),
    ("Pad-19-mode=wrap", "'wrap'"),
    ("Pad-25-mode=wrap", "'wrap'"),
    ("Pad-7-pads=0,0,-1,", "pads by -"),
    ("QLinearAveragePool-13-channels_last=1", "channels_last"),
    ("QLinearGlobalAveragePool-13-channels_last=1", "channels_last"),
    ("QLinearSoftmax-11-opset=13-axis=0", "operator set 13"),
    ("QLinearSoftmax-11-opset=13-axis=1", "operator set 13"),
    ("QLinearSoftmax-11-opset=17-axis=0", "operator set 17"),
    ("QLinearSoftmax-11-opset=17-axis=1", "operator set 17"),
    ("QLinearSoftmax-13-opset=7-axis=0", "operator set 7"),
    ("QLinearSoftmax-13-opset=7-axis=1", "operator set 7"),
    ("QLinearSoftmax-13-opset=11-axis=0", "operator set 11"),
    ("QLinearSoftmax-13-opset=11-axis=1", "operator set 11"),
    ("QLinearSoftmax-13-opset=12-axis=0", "operator set 12"),
    ("QLinearSoftmax-13-opset=12-axis=1", "operator set 12"),
    ("QuantizeLinear-21-axis=0-block_size", "blocks"),
    ("QuantizeLinear-21-axis=1-block_size", "blocks"),
    ("QuantizeLinear-21-output_dtype=4", "16 bits"),
    ("QuantizeLinear-21-output_dtype=5", "16 bits"),
    ("Slice-7-starts=0,1-ends=2,3", "rank"),
    ("Slice-7-starts=1-ends=2-axes=-1", "axes"),
    ("Squeeze-7-all", "axes"),
    ("Squeeze-11-all", "axes"),
];

struct Case {
    name: String,
    model: Vec<u8>,
    x: Vec<f32>,
    y: Vec<f32>,
    /// Tolerance in addition to rounding.
    tolerance: f32,
}

fn cases() -> Vec<Case> {
    let archive = include_bytes!("attributes.zip");
    let mut bytes = Vec::new();
    ZipArchive::new(Cursor::new(&archive[..])).unwrap().by_name("cases").unwrap().read_to_end(&mut bytes).unwrap();
    let mut rest = &bytes[..];
    let mut part = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (part, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        Some(part)
    };
    let floats = |bytes: &[u8]| bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<f32>>();
    let mut cases = Vec::new();
    while let Some(name) = part() {
        let [model, x, y, tolerance] = [(); 4].map(|()| part().expect("a whole case"));
        let (x, y, tolerance) = (floats(x), floats(y), floats(tolerance)[0]);
        cases.push(Case { name: String::from_utf8(name.into()).unwrap(), model: model.into(), x, y, tolerance });
    }
    cases
}

fn compute(case: &Case, engine: Engine) -> Result<Vec<f32>, Error> {
    let model = Model::from_bytes(&case.name, &case.model, &Options { engine, ..Options::default() })?;
    Ok(model.session()?.run_raw(&[&case.x])?.remove(0))
}

/// Why a case fails, if it does.
fn check(case: &Case, engine: Engine) -> Option<String> {
    let refused = REFUSED.iter().find(|(name, _)| case.name.starts_with(name));
    match (compute(case, engine), refused) {
        (Err(error), Some((_, says))) if error.to_string().contains(says) => None,
        (Err(error), _) => Some(error.to_string()),
        // An int8 program may compute what tract refuses.
        (Ok(_), Some(_)) if !case.name.ends_with("-quantised") => {
            Some("is computed now: take it off the list of what is refused".into())
        }
        (Ok(y), _) if y.len() != case.y.len() => Some(format!("{} values instead of {}", y.len(), case.y.len())),
        (Ok(y), _) => {
            let near = |(a, b): &(&f32, &f32)| {
                a.is_nan() && b.is_nan() || a == b || (*a - *b).abs() <= case.tolerance + TOLERANCE * b.abs().max(1.0)
            };
            let (i, (a, b)) = y.iter().zip(&case.y).enumerate().find(|(_, pair)| !near(pair))?;
            Some(format!("element {i} is {a} instead of {b}"))
        }
    }
}

fn all(engine: Engine) {
    let cases = cases();
    assert!(cases.len() > 1000, "{} cases", cases.len());
    let wrong: Vec<String> =
        cases.iter().filter_map(|case| Some(format!("{:50} {}", case.name, check(case, engine)?))).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn attributes_are_computed_or_refused() {
    all(Engine::Int8);
}

#[test]
fn attributes_are_computed_or_refused_on_tract_alone() {
    all(Engine::Tract);
}
