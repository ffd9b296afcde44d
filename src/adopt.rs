//! Bundles from what is there: distances for a classifier that has none, and better ones for a bundle that has some, both
//! from labelled photos on the device.
//!
//! [`open_classifier`] makes a bundle that any image classifier in ONNX can be run as. [`with_metric`] puts distances in the
//! [metric] of its training photos behind it. Both change the file node by node
//! and leave every other byte as it was.

pub mod classifier;
pub mod metric;

use crate::bundle::{Bundle, Class, Open, Preprocess, Rule};
use crate::calibrate::Worth;
use crate::error::Result;
use crate::inference::Record;
use crate::limits::Limits;
use crate::model::edit::Edit;
use crate::model::{with_metadata, with_open};
use crate::scores::log_sum_exp;
use classifier::{Found, Reading, standardise};
use metric::{Example, Shape, Whitener, trained_centroids};

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
            names: None,
            calibration: serde_json::Value::Null,
        },
        card: serde_json::Value::Null,
        subject: None,
        taxonomy: None,
    };
    let bytes = with_metadata(model, &edit.finish(), &bundle.to_metadata(), limits)?;
    Ok((bytes, found))
}

/// Photos that a metric is made of, with features and logits kept: the graph's own logits, as
/// [`Model::undivided`](crate::Model::undivided) gives them.
#[derive(Clone, Copy, Debug)]
pub struct Photos<'a> {
    /// Known ones, that it is fitted to.
    pub train: &'a [Record],
    /// Others, by which its shape is chosen.
    pub val: &'a [Record],
    /// The temperature of the logits, as of val.
    pub temperature: f32,
}

/// A shape that was weighed.
#[derive(Clone, Debug, PartialEq)]
pub struct Weighed {
    /// The shape.
    pub shape: Shape,
    /// What it is worth on val.
    pub worth: f64,
    /// 95 % interval of what the chosen shape is worth beyond this one; `None` for the chosen one.
    pub difference: Option<[f64; 2]>,
}

/// The bundle `bytes` with distances in the metric of its training photos, its shape, and the shapes that it was chosen from:
/// the one that is worth most on val, as `worth` says of records with its distances, or the usual one where it says nothing.
/// The rule becomes reachability with a threshold that accepts everything.
///
/// # Errors
/// As [`metric::Metric::fit`], [`Edit::new`].
pub fn with_metric(
    model: &str,
    bytes: &[u8],
    bundle: &Bundle,
    photos: &Photos,
    limits: &Limits,
    worth: &mut dyn FnMut(&Bundle, &[Record]) -> Option<Worth>,
) -> Result<(Vec<u8>, Shape, Vec<Weighed>)> {
    let mut edit = Edit::new(model, bytes, limits)?;
    let Photos { train, val, temperature } = *photos;
    let energy_of = |record: &Record| log_sum_exp(record.logits.iter().copied().map(f64::from));
    let examples: Vec<Example> = train
        .iter()
        .filter_map(|r| r.truth.map(|class| Example { feature: &r.features, energy: energy_of(r), class }))
        .collect();
    let classes = bundle.classes.len();
    let dim = examples.first().map_or(0, |e| e.feature.len());
    let trained = trained_centroids(&edit).filter(|(shape, _)| shape[..] == [classes, dim]);
    let trained = trained.as_ref().map(|(_, values)| &values[..]);
    let whitener = Whitener::new(&examples, classes)?;
    let open = Open {
        rule: Rule::Reachability,
        reachability: 0.0,
        per_class: None,
        limit: None,
        temperature: Some(temperature),
        calibration: serde_json::Value::Null,
        ..bundle.open.clone()
    };
    let bundle = Bundle { open, ..bundle.clone() };
    let mut tried: Vec<(Shape, Worth)> = Vec::new();
    for shape in Shape::all(trained.is_some()) {
        let metric = whitener.metric(&examples, trained, temperature, shape)?;
        let with = |record: &Record| {
            let distances = metric.distances(&record.features, energy_of(record));
            let own_distance = record.truth.and_then(|class| distances.get(class).copied());
            Record { distances, own_distance, ..record.clone() }.at_temperature(temperature)
        };
        let records: Vec<Record> = val.iter().map(with).collect::<Result<_>>()?;
        tried.extend(worth(&bundle, &records).map(|worth| (shape, worth)));
    }
    let best = tried.iter().reduce(|best, other| if other.1.all > best.1.all { other } else { best });
    let usual =
        Shape { towards_mean: if trained.is_some() { Shape::default().towards_mean } else { 1.0 }, ..Shape::default() };
    let shape = best.map_or(usual, |(shape, _)| *shape);
    let weigh = |(other, worth): &(Shape, Worth)| Weighed {
        shape: *other,
        worth: worth.all,
        difference: best.filter(|(shape, _)| shape != other).and_then(|(_, best)| best.beyond(worth)),
    };
    let weighed = tried.iter().map(weigh).collect();
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
    Ok((with_open(model, &edit.finish(), &bundle.open, limits)?, shape, weighed))
}
