//! Bundles from what is there: distances for a classifier that has none, and better ones for a bundle that has some, both
//! from labelled photos on the device.
//!
//! [`open_classifier`] makes a bundle that any image classifier in ONNX can be run as. [`with_metric`] puts distances in the
//! [metric](metric) of its training photos behind it. Both change the file node by node
//! and leave every other byte as it was.

pub mod classifier;
pub mod metric;

use std::collections::BTreeMap;

use crate::bundle::{Bundle, Class, Open, Preprocess, Rule};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::edit::Edit;
use crate::model::with_metadata;
use crate::survey::Record;
use classifier::{Found, Reading, standardise};
use metric::{Example, Metric, energy, trained_centroids};

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
    };
    let bytes = with_metadata(model, &edit.finish(), &bundle.to_metadata(), limits)?;
    Ok((bytes, found))
}

/// The bundle `bytes` with distances in the metric of its training photos `train`, whose features and logits were kept; the
/// rule becomes reachability with a threshold that accepts everything, and the temperature is `temperature`.
///
/// # Errors
/// As [`Metric::fit`]; [`Error::BadModel`] for a graph whose operator set has no quantisation by channel.
pub fn with_metric(
    model: &str,
    bytes: &[u8],
    bundle: &Bundle,
    train: &[Record],
    temperature: f32,
    limits: &Limits,
) -> Result<Vec<u8>> {
    let mut edit = Edit::new(model, bytes, limits)?;
    if edit.opset() < 13 {
        let reason = format!(
            "is written for operator set {} of ONNX; distances need 13 or later: convert it with \
             onnx.version_converter, or take --logits-only",
            edit.opset()
        );
        return Err(Error::BadModel { model: model.into(), reason });
    }
    let applied = f64::from(bundle.open.temperature());
    let example = |record: &'_ Record| {
        record.truth.map(|class| (class, energy(record.logits.iter().map(|z| f64::from(*z) * applied))))
    };
    let examples: Vec<Example> = train
        .iter()
        .filter_map(|r| example(r).map(|(class, energy)| Example { feature: &r.features, energy, class }))
        .collect();
    let classes = bundle.classes.len();
    let dim = examples.first().map_or(0, |e| e.feature.len());
    let trained = trained_centroids(&edit).filter(|(shape, _)| shape[..] == [classes, dim]);
    let metric = Metric::fit(&examples, classes, trained.as_ref().map(|(_, values)| &values[..]), temperature)?;
    metric.install(&mut edit);
    if !edit.outputs().iter().any(|(name, _)| name == "distances") {
        let shapes = edit.outputs();
        edit.set_outputs(&[("logits", &[1, classes]), ("distances", &[1, classes]), ("features", &[1, dim])]);
        for (name, dims) in shapes.iter().filter(|(name, _)| name != "logits" && name != "features") {
            let dims: Vec<usize> = dims.iter().map(|d| d.unwrap_or(1)).collect();
            edit.add_output(name, &dims);
        }
    }
    let open = Open { reachability: 0.0, per_class: None, limit: None, rule: Rule::Reachability, ..bundle.open.clone() };
    let open = Open { temperature: Some(temperature), calibration: serde_json::Value::Null, ..open };
    let metadata = Bundle { open, ..bundle.clone() }.to_metadata();
    let changes: BTreeMap<_, _> = metadata.into_iter().filter(|(key, _)| key == "oltr.open").collect();
    with_metadata(model, &edit.finish(), &changes, limits)
}
