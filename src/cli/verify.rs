//! `oltr verify`: compares oltr's outputs with those of another runtime.

use oltr::model::Port;
use oltr::{Error, Model, Result};
use serde::Serialize;

use super::args::{Common, VerifyArgs};
use super::exit::Exit;
use super::npz::{self, Array, Npz};
use super::output::{BAD, GOOD, Output};
use super::table::{Align, Cell, Column, Shrink, Table};

/// Most samples in one file of golden outputs.
const MAX_SAMPLES: usize = 1024;

/// Most elements of one array in it: 256 MiB.
const MAX_ELEMENTS: usize = 1 << 26;

/// Runs the command.
pub fn run(args: &VerifyArgs, common: &Common) -> anyhow::Result<Exit> {
    let model = common.load(Some(&args.file))?;
    let golden = Golden::read(&args.golden.display().to_string(), Npz::open(&args.golden)?, &model)?;
    let computed = compute(&model, &golden)?;
    if let Some(path) = &args.output {
        let arrays: Vec<_> = model.outputs().iter().map(|port| port.name.clone()).zip(computed.clone()).collect();
        npz::write(path, &arrays)?;
        log::info!("wrote {}", path.display());
    }
    let tolerance = Tolerance { min_cosine: args.min_cosine, max_mean_rel: args.max_mean_rel };
    let report = Report::new(model.outputs(), &computed, &golden, &tolerance);
    let mut out = Output::new();
    if common.json {
        out.json(&report)?;
    } else {
        report.print(&mut out)?;
    }
    Ok(if report.ok { Exit::Success } else { Exit::Differs })
}

/// The arrays of a file, by port of the model.
struct Golden {
    samples: usize,
    /// One for each input of the model.
    inputs: Vec<Array>,
    /// For each output of the model, the array of that name in the file.
    outputs: Vec<Option<Array>>,
}

impl Golden {
    fn read(file: &str, mut npz: Npz, model: &Model) -> Result<Golden> {
        let bad = |reason: String| Error::BadInput { subject: file.into(), reason };
        let names = npz.names();
        let has = |port: &Port| names.contains(&port.name);
        let missing = quoted(model.inputs().iter().filter(|port| !has(port)).map(|port| &port.name));
        if !missing.is_empty() {
            let held = quoted(&names);
            return Err(bad(format!("holds no array for the input {missing} of the graph; it holds {held}")));
        }
        if !model.outputs().iter().any(has) {
            let expected = quoted(model.outputs().iter().map(|port| &port.name));
            return Err(bad(format!("holds none of the graph's outputs {expected}: there is nothing to compare")));
        }
        for name in &names {
            if !model.inputs().iter().chain(model.outputs()).any(|port| port.name == *name) {
                log::warn!("{file}: array '{name}' is neither an input nor an output of the graph");
            }
        }
        let mut samples = None;
        let mut read = |port: &Port| {
            let array = npz.read(&port.name, port.volume().saturating_mul(MAX_SAMPLES).min(MAX_ELEMENTS))?;
            let named = |reason| bad(format!("array '{}' {reason}", port.name));
            let found = samples_of(&array, port).map_err(named)?;
            match *samples.get_or_insert(found) {
                expected if expected != found => {
                    Err(named(format!("holds {found} samples, another array of the file {expected}")))
                }
                _ => Ok(array),
            }
        };
        let inputs = model.inputs().iter().map(&mut read).collect::<Result<_>>()?;
        let outputs = model.outputs().iter();
        let outputs = outputs.map(|port| if has(port) { read(port).map(Some) } else { Ok(None) });
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        for (array, port) in outputs.iter().zip(model.outputs()) {
            if let Some(x) = array.iter().flat_map(|array| &array.data).find(|x| !x.is_finite()) {
                let name = &port.name;
                return Err(bad(format!("array '{name}' holds {x}: only finite numbers can be compared")));
            }
        }
        Ok(Golden { samples: samples.unwrap_or(1), inputs, outputs })
    }
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// Number of samples of `array` for `port`: one if it has the port's shape, or more along the first axis.
fn samples_of(array: &Array, port: &Port) -> std::result::Result<usize, String> {
    if array.shape == port.shape {
        return Ok(1);
    }
    match (array.shape.split_first(), port.shape.split_first()) {
        (Some((n, rest)), Some((1, expected))) if rest == expected && *n > 0 => Ok(*n),
        _ => Err(format!("has the shape {:?}, the graph's is {:?}", array.shape, port.shape)),
    }
}

/// Every output of the model for every sample, samples along the first axis.
fn compute(model: &Model, golden: &Golden) -> Result<Vec<Array>> {
    let mut session = model.session()?;
    let mut computed: Vec<Array> = model.outputs().iter().map(|port| batch(port, golden.samples)).collect();
    for sample in 0..golden.samples {
        let inputs: Vec<&[f32]> = golden.inputs.iter().map(|array| part(array, sample, golden.samples)).collect();
        for (array, output) in computed.iter_mut().zip(session.run_raw(&inputs)?) {
            array.data.extend(output);
        }
    }
    Ok(computed)
}

fn batch(port: &Port, samples: usize) -> Array {
    let mut shape = port.shape.clone();
    if samples > 1 {
        match shape.first_mut() {
            Some(first) => *first *= samples,
            None => shape.push(samples),
        }
    }
    Array { shape, data: Vec::with_capacity(port.volume() * samples) }
}

fn part(array: &Array, sample: usize, samples: usize) -> &[f32] {
    let length = array.data.len() / samples;
    &array.data[sample * length..][..length]
}

/// Tolerances of an output.
#[derive(Clone, Copy, Debug)]
struct Tolerance {
    min_cosine: f64,
    max_mean_rel: f64,
}

/// `oltr.verify/1`.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    outputs: Vec<Comparison>,
    ok: bool,
}

/// How far one output is from the golden one. Of several samples, the worst of each measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Comparison {
    name: String,
    /// Cosine of the angle between both, -1..1.
    cosine: f64,
    /// Largest absolute difference.
    max_abs: f64,
    /// Sum of the absolute differences over the sum of the absolute golden values.
    mean_rel: f64,
    /// Whether the largest element is the same.
    argmax_equal: bool,
    /// Whether the output is within tolerance.
    ok: bool,
}

impl Report {
    fn new(ports: &[Port], computed: &[Array], golden: &Golden, tolerance: &Tolerance) -> Report {
        let pairs = ports.iter().zip(computed).zip(&golden.outputs);
        let outputs: Vec<_> = pairs
            .filter_map(|((port, ours), theirs)| {
                let parts = (0..golden.samples)
                    .map(|i| (part(ours, i, golden.samples), theirs.as_ref().map(|a| part(a, i, golden.samples))));
                let samples = parts.filter_map(|(ours, theirs)| Some(Comparison::new(&port.name, ours, theirs?)));
                samples.reduce(Comparison::worse).map(|worst| worst.judge(tolerance))
            })
            .collect();
        let ok = outputs.iter().all(|output| output.ok);
        Report { schema: "oltr.verify/1", outputs, ok }
    }

    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        let columns = vec![
            Column::new("OUTPUT", Align::Left, Shrink::Middle),
            Column::new("COSINE", Align::Right, Shrink::Never),
            Column::new("MAX ABS", Align::Right, Shrink::Never),
            Column::new("MEAN REL", Align::Right, Shrink::Never),
            Column::new("ARGMAX", Align::Left, Shrink::Never),
            Column::new("RESULT", Align::Left, Shrink::Never),
        ];
        let rows: Vec<Vec<Cell>> = self.outputs.iter().map(Comparison::cells).collect();
        let table = Table::fit(columns, &rows, out.width());
        out.line(&table.header())?;
        rows.iter().try_for_each(|row| out.line(&table.row(row)))
    }
}

impl Comparison {
    fn new(name: &str, ours: &[f32], golden: &[f32]) -> Comparison {
        let (mut dot, mut norm_ours, mut norm_golden) = (0.0, 0.0, 0.0);
        let (mut max_abs, mut sum_difference, mut sum_golden) = (0.0f64, 0.0, 0.0);
        for (a, b) in ours.iter().zip(golden) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            dot += a * b;
            norm_ours += a * a;
            norm_golden += b * b;
            // Not f64::max, which would drop a NaN.
            let difference = (a - b).abs();
            max_abs = if difference <= max_abs { max_abs } else { difference };
            sum_difference += difference;
            sum_golden += b.abs();
        }
        let cosine = if sum_difference == 0.0 { 1.0 } else { dot / (norm_ours * norm_golden).sqrt() };
        let mean_rel = if sum_difference == 0.0 { 0.0 } else { sum_difference / sum_golden };
        Comparison {
            name: name.into(),
            // A zero vector or a NaN is similar to nothing.
            cosine: if cosine.is_finite() { cosine.clamp(-1.0, 1.0) } else { 0.0 },
            max_abs: saturate(max_abs),
            mean_rel: saturate(mean_rel),
            argmax_equal: argmax(ours) == argmax(golden),
            ok: false,
        }
    }

    fn worse(self, other: Comparison) -> Comparison {
        Comparison {
            name: self.name,
            cosine: self.cosine.min(other.cosine),
            max_abs: self.max_abs.max(other.max_abs),
            mean_rel: self.mean_rel.max(other.mean_rel),
            argmax_equal: self.argmax_equal && other.argmax_equal,
            ok: false,
        }
    }

    fn judge(mut self, tolerance: &Tolerance) -> Comparison {
        self.ok = match self.name.as_str() {
            "logits" => self.cosine >= tolerance.min_cosine && self.argmax_equal,
            "distances" => self.mean_rel <= tolerance.max_mean_rel,
            _ => self.cosine >= tolerance.min_cosine,
        };
        self
    }

    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            self.name.as_str().into(),
            format!("{:.6}", self.cosine).into(),
            format!("{:.3e}", self.max_abs).into(),
            format!("{:.3e}", self.mean_rel).into(),
            if self.argmax_equal { "same" } else { "differs" }.into(),
            if self.ok { Cell("ok".into(), GOOD) } else { Cell("out of tolerance".into(), BAD) },
        ]
    }
}

/// `value` as valid JSON.
fn saturate(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::MAX }
}

/// Index of the first largest element; `None` if one is NaN.
fn argmax(values: &[f32]) -> Option<usize> {
    let better = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    if values.iter().any(|x| x.is_nan()) { None } else { (0..values.len()).reduce(better) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { min_cosine: 0.997, max_mean_rel: 0.01 };

    fn compare(name: &str, ours: &[f32], golden: &[f32]) -> Comparison {
        Comparison::new(name, ours, golden).judge(&TOLERANCE)
    }

    #[test]
    fn measures_of_a_worked_example() {
        // dot 3·4 + 4·3 = 24, norms 5 and 5; differences 1 and 1 of 4 + 3.
        let c = compare("x", &[3.0, 4.0], &[4.0, 3.0]);
        let expected = Comparison {
            name: "x".into(),
            cosine: 0.96,
            max_abs: 1.0,
            mean_rel: 2.0 / 7.0,
            argmax_equal: false,
            ok: false,
        };
        assert_eq!(c, expected);
    }

    #[test]
    fn each_output_has_its_own_tolerance() {
        // The same direction, 2 % longer.
        let (ours, golden) = ([1.02, 2.04], [1.0, 2.0]);
        assert!(compare("logits", &ours, &golden).ok);
        assert!(!compare("distances", &ours, &golden).ok);
        assert!(compare("features", &ours, &golden).ok);
        // Nearly the same direction, but another class first.
        let (ours, golden) = ([1.0, 1.001], [1.001, 1.0]);
        assert!(!compare("logits", &ours, &golden).ok);
        assert!(compare("distances", &ours, &golden).ok);
        assert!(compare("features", &ours, &golden).ok);
        assert!(!compare("features", &[1.0, 0.0], &[1.0, 0.1]).ok);
    }

    #[test]
    fn zeros_and_what_is_not_a_number() {
        let same = compare("x", &[0.0, 0.0], &[0.0, 0.0]);
        assert_eq!((same.cosine, same.mean_rel, same.ok), (1.0, 0.0, true));
        for ours in [[f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            for name in ["logits", "distances", "features"] {
                let c = compare(name, &ours, &[1.0, 1.0]);
                assert!(!c.ok, "{c:?}");
                assert!(serde_json::to_value(&c).unwrap().as_object().unwrap().values().all(|v| !v.is_null()));
            }
        }
        assert!(!compare("distances", &[1.0], &[0.0]).ok);
    }

    #[test]
    fn of_several_samples_the_worst_counts() {
        let port = Port { name: "logits".into(), shape: vec![1, 2] };
        let ours = Array { shape: vec![2, 2], data: vec![1.0, 2.0, 1.0, 2.0] };
        let theirs = Array { shape: vec![2, 2], data: vec![1.0, 2.0, 2.0, 1.0] };
        let golden = Golden { samples: 2, inputs: vec![], outputs: vec![Some(theirs)] };
        let report = Report::new(&[port], &[ours], &golden, &TOLERANCE);
        let worst = &report.outputs[0];
        assert_eq!((worst.argmax_equal, worst.max_abs, worst.cosine, report.ok), (false, 1.0, 0.8, false));
    }

    #[test]
    fn samples_lie_along_the_first_axis() {
        let port = |shape: &[usize]| Port { name: "x".into(), shape: shape.into() };
        let array = |shape: &[usize]| Array { shape: shape.into(), data: vec![] };
        for (held, expected, samples) in [
            (&[1, 3][..], &[1, 3][..], Some(1)),
            (&[5, 3], &[1, 3], Some(5)),
            (&[2, 3], &[2, 3], Some(1)),
            (&[4, 3], &[2, 3], None),
            (&[0, 3], &[1, 3], None),
            (&[3], &[1, 3], None),
            (&[1, 3, 1], &[1, 3], None),
            (&[], &[], Some(1)),
        ] {
            assert_eq!(samples_of(&array(held), &port(expected)).ok(), samples, "{held:?} for {expected:?}");
        }
    }
}
