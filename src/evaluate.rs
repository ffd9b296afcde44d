//! Figures of a bundle on labelled photos: `oltr.evaluation/1`.

mod compare;
mod gate;
mod naming;
mod tables;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bundle::{Bundle, Shot, Taxonomy};
use crate::error::Result;
use crate::inference::{Clusters, InferenceRun, Record, answers, bootstrap};
use crate::labels::Label;
use crate::metrics::{self, Answer, Bin, Bootstrap, FMeasure, Interval, Oscr, Separation, Tally};
use crate::scores::ScoreKind;

pub use compare::{Comparison, compare};
pub use gate::{Gate, GateResult};
pub use naming::{NamesFigures, OfRank, Told};
pub use tables::{ClassRow, Confused, OpenClassRow, TakenFor};

/// Intervals of probability that the calibration error is taken over.
pub const PROBABILITY_BINS: usize = 15;

/// Share of samples that bootstrap intervals hold.
pub const LEVEL: f64 = 0.95;

/// All figures of one bundle on one split. Rates are 0..1; `null` in JSON is a figure that is not defined for
/// these photos. Fields keep their order, and new ones are added at the end of their object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// `oltr.evaluation/1`.
    pub schema: &'static str,
    /// Split of the labels.
    pub split: String,
    /// Photos of known classes.
    pub known: usize,
    /// Photos of unknown classes.
    pub open: usize,
    /// With the open rule off.
    pub closed: Closed,
    /// With the open rule on.
    pub open_set: OpenSet,
    /// How well each score separates known from open, by name.
    pub scores: BTreeMap<&'static str, Separates>,
    /// Bundle that was evaluated.
    pub model: ModelId,
    /// Rule and thresholds that decided.
    pub rule: RuleUsed,
    /// 95 % bootstrap intervals of the main figures, by their path: `open_set.f_measure`.
    pub intervals: Intervals,
    /// Known classes, in the order of the logits.
    pub classes: Vec<ClassRow>,
    /// Unknown classes, by name.
    pub open_classes: Vec<OpenClassRow>,
    /// Wrong answers by class, most frequent first.
    pub confusion: Vec<Confused>,
    /// How fast it went.
    pub throughput: Throughput,
    /// Photos that could not be read. They count in no figure.
    pub unreadable: usize,
    /// Figures of names above the classes, if the bundle has a taxonomy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<NamesFigures>,
}

/// The published closed-set figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Closed {
    /// Share of known photos named rightly.
    pub top1: Option<f64>,
    /// Mean accuracy of the many-shot classes.
    pub many: Option<f64>,
    /// Mean accuracy of the medium-shot classes.
    pub medium: Option<f64>,
    /// Mean accuracy of the few-shot classes.
    pub few: Option<f64>,
    /// Mean accuracy of all classes.
    pub overall_macro: Option<f64>,
    /// Expected calibration error of the largest probability.
    pub calibration_error: Option<f64>,
    /// The bins of that error.
    pub reliability: Vec<Bin>,
    /// The same error of the graph's own logits, before the division by the temperature.
    pub calibration_error_unscaled: Option<f64>,
}

/// The published open-set figures, and the usual ones of the field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenSet {
    /// Mean accuracy of the many-shot classes, a known photo called open being wrong.
    pub many: Option<f64>,
    /// The same for the medium-shot classes.
    pub medium: Option<f64>,
    /// The same for the few-shot classes.
    pub few: Option<f64>,
    /// 2PR / (P + R).
    pub f_measure: Option<f64>,
    /// Variant of the F-measure: [`FMeasure::FORMULA`].
    pub f_formula: &'static str,
    /// AUROC of the score that the bundle's rule uses.
    pub auroc: Option<f64>,
    /// Share of open photos accepted where 95 % of the known ones are; same score.
    pub fpr95: Option<f64>,
    /// Area under the open-set classification rate curve; same score.
    pub oscr: Option<f64>,
    /// Share of known photos called open.
    pub known_called_open: Option<f64>,
    /// Share of open photos called a class.
    pub open_called_known: Option<f64>,
    /// Share of known photos accepted and named rightly.
    pub top1: Option<f64>,
    /// Mean accuracy of all classes.
    pub overall_macro: Option<f64>,
    /// P = TP / (TP + FP).
    pub precision: Option<f64>,
    /// R = TP / (TP + FN).
    pub recall: Option<f64>,
    /// The terms of F.
    pub f_terms: FMeasure,
}

/// How well one score separates known from open, no threshold involved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Separates {
    /// Area under the ROC curve.
    pub auroc: Option<f64>,
    /// Share of open photos accepted where 95 % of the known ones are.
    pub fpr95: Option<f64>,
    /// Area under the open-set classification rate curve.
    pub oscr: Option<f64>,
}

/// Which bundle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelId {
    /// `oltr.name`.
    pub name: String,
    /// Hash of the bundle's file.
    pub sha256: String,
}

/// Which rule decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleUsed {
    /// `reachability`, `max-probability` or `both`.
    pub rule: crate::bundle::Rule,
    /// The global reachability threshold.
    pub reachability: f32,
    /// The probability threshold.
    pub probability: f32,
    /// Classes with a reachability threshold of their own.
    pub per_class: usize,
    /// Threshold of rules on another score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f32>,
    /// Divisor of the graph's logits.
    pub temperature: f32,
}

/// Bootstrap intervals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// Share of samples that each holds.
    pub level: f64,
    /// Samples drawn.
    pub resamples: usize,
    /// Unit of resampling: `photo`, or the column of the labels that groups photos.
    pub drawn: String,
    /// Intervals by the path of the figure.
    pub of: BTreeMap<&'static str, Option<Interval>>,
}

/// How fast it went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Throughput {
    /// Over the whole run.
    pub photos_per_second: f64,
    /// Photos at a time.
    pub jobs: usize,
    /// Mean per photo, milliseconds.
    pub decode_ms: f64,
    /// Mean per photo, milliseconds.
    pub preprocess_ms: f64,
    /// Mean per photo, milliseconds.
    pub inference_ms: f64,
}

/// Input of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Classes and rule.
    pub bundle: &'a Bundle,
    /// SHA-256 of the file.
    pub sha256: &'a str,
    /// Split that the photos are of.
    pub split: &'a str,
    /// The photos.
    pub labels: &'a [Label],
    /// The column of the clusters, if there are any.
    pub cluster: Option<&'a str>,
    /// Taxa of unknown classes, as far as known.
    pub taxonomy: &'a Taxonomy,
}

impl Evaluation {
    /// The figures of `run`, whose photos are `subject.labels`.
    ///
    /// # Errors
    /// [`Error::BadInput`](crate::Error::BadInput) for a score that is not a number.
    pub fn new(subject: &Subject, run: &InferenceRun) -> Result<Evaluation> {
        let Subject { bundle, labels, .. } = subject;
        let records = &run.records;
        let answers = answers(bundle, records);
        let tallies = metrics::by_class(answers.iter().copied(), bundle.classes.len());
        let kind = ScoreKind::of_rule(bundle.open.rule);
        let separates = |kind: ScoreKind| separates(kind, records, |i| i, records.len());
        let scores = ScoreKind::ALL.into_iter().map(|kind| Ok((kind.name(), separates(kind)?)));
        let known = answers.iter().filter(|a| a.truth.is_some()).count();
        Ok(Evaluation {
            schema: "oltr.evaluation/1",
            split: subject.split.into(),
            known,
            open: answers.len() - known,
            closed: closed(bundle, &tallies, records),
            open_set: open_set(bundle, &tallies, &answers, separates(kind)?),
            scores: scores.collect::<Result<_>>()?,
            model: ModelId { name: bundle.name.clone(), sha256: subject.sha256.into() },
            rule: RuleUsed {
                rule: bundle.open.rule,
                reachability: bundle.open.reachability,
                probability: bundle.open.probability,
                per_class: bundle.open.per_class.as_ref().map_or(0, BTreeMap::len),
                limit: bundle.open.limit,
                temperature: bundle.open.temperature(),
            },
            intervals: intervals(subject, records, &answers),
            classes: tables::classes(bundle, &tallies, &answers),
            open_classes: tables::open_classes(bundle, labels, records, &answers),
            confusion: tables::confusion(bundle, labels, records, &answers),
            throughput: throughput(run),
            unreadable: run.failures.len(),
            names: naming::names(bundle, labels, records, &answers, subject.taxonomy),
        })
    }
}

/// Figures of the score `kind` over `n` records, the i-th being `records[at(i)]`.
fn separates(kind: ScoreKind, records: &[Record], at: impl Fn(usize) -> usize, n: usize) -> Result<Separates> {
    let (mut known, mut open) = (Vec::with_capacity(n), Vec::new());
    for record in (0..n).map(|i| &records[at(i)]) {
        let score = record.kinds[kind.index()];
        match record.truth {
            Some(class) => known.push((score, class == record.scores.class)),
            None => open.push(score),
        }
    }
    let oscr = Oscr::new(&known, &open)?.area();
    let separation = Separation::new(known.into_iter().map(|(score, _)| score).collect(), open)?;
    Ok(Separates { auroc: separation.auroc(), fpr95: separation.fpr_at_tpr(0.95), oscr })
}

fn closed(bundle: &Bundle, tallies: &[Tally], records: &[Record]) -> Closed {
    let group = |shot| metrics::group_mean(tallies, &bundle.classes, shot, Tally::closed);
    let bins = |probability: fn(&Record) -> f32| {
        let known = records.iter().filter_map(|r| r.truth.map(|class| (r, class)));
        let stated = known.map(|(r, class)| (f64::from(probability(r)), class == r.scores.class));
        metrics::reliability(&stated.collect::<Vec<_>>(), PROBABILITY_BINS)
    };
    let reliability = bins(|r| r.scores.probability);
    Closed {
        top1: total(tallies, |t| t.named),
        many: group(Shot::Many),
        medium: group(Shot::Medium),
        few: group(Shot::Few),
        overall_macro: metrics::macro_mean(tallies, Tally::closed),
        calibration_error: metrics::calibration_error(&reliability),
        reliability,
        calibration_error_unscaled: metrics::calibration_error(&bins(|r| r.unscaled_probability)),
    }
}

fn open_set(bundle: &Bundle, tallies: &[Tally], answers: &[Answer], separates: Separates) -> OpenSet {
    let group = |shot| metrics::group_mean(tallies, &bundle.classes, shot, Tally::open_set);
    let f = FMeasure::new(answers.iter().copied());
    OpenSet {
        many: group(Shot::Many),
        medium: group(Shot::Medium),
        few: group(Shot::Few),
        f_measure: f.f(),
        f_formula: FMeasure::FORMULA,
        auroc: separates.auroc,
        fpr95: separates.fpr95,
        oscr: separates.oscr,
        known_called_open: total(tallies, |t| t.open),
        open_called_known: f.open_called_known(),
        top1: total(tallies, |t| t.accepted),
        overall_macro: metrics::macro_mean(tallies, Tally::open_set),
        precision: f.precision(),
        recall: f.recall(),
        f_terms: f,
    }
}

/// Share of all known photos that `part` counts.
fn total(tallies: &[Tally], part: impl Fn(&Tally) -> usize) -> Option<f64> {
    let photos: usize = tallies.iter().map(|t| t.photos).sum();
    (photos > 0).then(|| tallies.iter().map(part).sum::<usize>() as f64 / photos as f64)
}

/// The figures that have intervals.
const WITH_INTERVAL: [&str; 8] = [
    "closed.top1",
    "closed.overall_macro",
    "open_set.top1",
    "open_set.f_measure",
    "open_set.auroc",
    "open_set.oscr",
    "open_set.known_called_open",
    "open_set.open_called_known",
];

fn intervals(subject: &Subject, records: &[Record], answers: &[Answer]) -> Intervals {
    let bundle = subject.bundle;
    let kind = ScoreKind::of_rule(bundle.open.rule);
    let of = bootstrap(subject.labels, records, Clusters::Labelled).intervals(LEVEL, |sample| {
        let drawn = || sample.iter().map(|i| answers[*i]);
        let tallies = metrics::by_class(drawn(), bundle.classes.len());
        let f = FMeasure::new(drawn());
        let separates = separates(kind, records, |i| sample[i], sample.len()).ok();
        [
            total(&tallies, |t| t.named),
            metrics::macro_mean(&tallies, Tally::closed),
            total(&tallies, |t| t.accepted),
            f.f(),
            separates.and_then(|s| s.auroc),
            separates.and_then(|s| s.oscr),
            total(&tallies, |t| t.open),
            f.open_called_known(),
        ]
    });
    Intervals {
        level: LEVEL,
        resamples: Bootstrap::RESAMPLES,
        drawn: subject.cluster.unwrap_or("photo").into(),
        of: WITH_INTERVAL.into_iter().zip(of).collect(),
    }
}

fn throughput(run: &InferenceRun) -> Throughput {
    let times = run.times;
    let photos = run.records.len().max(1) as f64;
    let mean = |time: std::time::Duration| time.as_secs_f64() * 1e3 / photos;
    Throughput {
        photos_per_second: run.records.len() as f64 / times.elapsed.as_secs_f64().max(1e-9),
        jobs: times.jobs,
        decode_ms: mean(times.decode),
        preprocess_ms: mean(times.preprocess),
        inference_ms: mean(times.inference),
    }
}
