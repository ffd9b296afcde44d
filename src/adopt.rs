//! Bundles from what is there: distances for a classifier that has none, and better ones for a bundle that has some, both
//! from labelled photos on the device.
//!
//! [`open_classifier`] makes a bundle that any image classifier in ONNX can be run as. [`with_metric`] puts distances in the
//! [metric] of its training photos behind it. Both change the file node by node
//! and leave every other byte as it was.

pub mod classifier;
pub mod metric;

use std::collections::BTreeMap;

use crate::bundle::{Bundle, Class, Open, Preprocess, Rule};
use crate::error::Result;
use crate::limits::Limits;
use crate::model::edit::Edit;
use crate::model::with_metadata;
use crate::survey::Record;
use classifier::{Found, Reading, standardise};
use metric::{Example, Shape, Whitener, energy, trained_centroids};

/// The classifier `bytes` as a bundle with logits and features and without distances, whose rule accepts everything.
/// `preprocess` gets the side that the graph has.
///
/// # Errors
/// As [`standardise`], [`Edit::new`].
pub fn open_classifier(
    model: &str,
    bytes: &[u8],
    name: &str,
    classes: Vec<Class>,
    preprocess: impl FnOnce(u32) -> Preprocess,
    reading: &Reading,
    limits: &Limits,
) -> Result<(Vec<u8>, Found)> {
    let mut edit = Edit::new(model, bytes, limits)?;
    let found = standardise(&mut edit, &Reading { classes: classes.len(), ..reading.clone() })?;
    let bundle = Bundle {
        name: name.into(),
        classes,
        preprocess: preprocess(found.size),
        open: Open {
            rule: Rule::MaxProbability,
            reachability: 0.0,
            probability: 0.0,
            per_class: None,
            limit: None,
            temperature: None,
            calibration: serde_json::Value::Null,
        },
        card: serde_json::Value::Null,
        subject: None,
    };
    let bytes = with_metadata(model, &edit.finish(), &bundle.to_metadata(), limits)?;
    Ok((bytes, found))
}

/// The bundle `bytes` with distances in the metric of its training photos `train`, and the shape of that metric: of those to
/// choose from the one that is worth most on `val`, as `worth` says of records with its distances, or the usual one where it
/// says nothing. Features and logits of all photos were kept. The rule becomes reachability with a threshold that accepts everything, and the temperature is `temperature`.
///
/// # Errors
/// As [`metric::Metric::fit`], [`Edit::new`].
#[allow(clippy::too_many_arguments, reason = "what a metric is made of has no common owner")]
pub fn with_metric(
    model: &str,
    bytes: &[u8],
    bundle: &Bundle,
    train: &[Record],
    val: &[Record],
    temperature: f32,
    limits: &Limits,
    worth: &mut dyn FnMut(&Bundle, &[Record]) -> Option<f64>,
) -> Result<(Vec<u8>, Shape)> {
    let mut edit = Edit::new(model, bytes, limits)?;
    let applied = f64::from(bundle.open.temperature());
    let energy_of = |record: &Record| energy(record.logits.iter().map(|z| f64::from(*z) * applied));
    let examples: Vec<Example> = train
        .iter()
        .filter_map(|r| r.truth.map(|class| Example { feature: &r.features, energy: energy_of(r), class }))
        .collect();
    let classes = bundle.classes.len();
    let dim = examples.first().map_or(0, |e| e.feature.len());
    let trained = trained_centroids(&edit).filter(|(shape, _)| shape[..] == [classes, dim]);
    let trained = trained.as_ref().map(|(_, values)| &values[..]);
    let whitener = Whitener::new(&examples, classes)?;
    let open =
        Open { reachability: 0.0, per_class: None, limit: None, rule: Rule::Reachability, ..bundle.open.clone() };
    let open = Open { temperature: Some(temperature), calibration: serde_json::Value::Null, ..open };
    let bundle = Bundle { open, ..bundle.clone() };
    let ratio = (f64::from(temperature) / applied) as f32;
    let mut best: Option<(f64, Shape)> = None;
    for shape in Shape::all(trained.is_some()) {
        let metric = whitener.metric(&examples, trained, temperature, shape)?;
        let with = |record: &Record| {
            let distances = metric.distances(&record.features, energy_of(record));
            let own_distance = record.truth.and_then(|class| distances.get(class).copied());
            Record { distances, own_distance, ..record.clone() }.at_temperature(ratio)
        };
        let records: Vec<Record> = val.iter().map(with).collect::<Result<_>>()?;
        match worth(&bundle, &records) {
            Some(worth) if best.is_none_or(|(most, _)| worth > most) => best = Some((worth, shape)),
            Some(_) => {}
            None => break,
        }
    }
    let shape = best.map_or_else(Shape::default, |(_, shape)| shape);
    let shape = if trained.is_none() { Shape { towards_mean: 1.0, ..shape } } else { shape };
    let metric = whitener.metric(&examples, trained, temperature, shape)?;
    metric.install(&mut edit);
    if !edit.outputs().iter().any(|(name, _)| name == "distances") {
        let shapes = edit.outputs();
        edit.set_outputs(&[("logits", &[1, classes]), ("distances", &[1, classes]), ("features", &[1, dim])]);
        for (name, dims) in shapes.iter().filter(|(name, _)| name != "logits" && name != "features") {
            let dims: Vec<usize> = dims.iter().map(|d| d.unwrap_or(1)).collect();
            edit.add_output(name, &dims);
        }
    }
    let metadata = bundle.to_metadata();
    let changes: BTreeMap<_, _> = metadata.into_iter().filter(|(key, _)| key == "oltr.open").collect();
    Ok((with_metadata(model, &edit.finish(), &changes, limits)?, shape))
}
