//! Finds the thresholds of a bundle from labelled photos, for a chosen operating point.
//!
//! A threshold lies half-way between the scores of two photos, so that rounding moves neither across it. The promise is
//! an interval: what another set of as many photos would show. It comes from thresholds found on one bootstrap sample
//! and measured on another. The photos of an *unknown class* are drawn together, because the field has other unknown
//! things than the photographed ones.

mod choice;
mod naming;
mod per_class;
mod scored;
mod search;
mod target;
mod temperature;
mod worth;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, Open, Rule, Taxonomy};
use crate::error::{Error, Result};
use crate::inference::{Clusters, Record, answers, bootstrap};
use crate::labels::Label;
use crate::metrics::{FMeasure, Interval};
use crate::scores::ScoreKind;
use crate::text::counted;

pub use choice::{Choice, PerClass, Weighed};
pub use naming::Named;
pub use scored::threshold_of;
pub use target::Target;
pub use worth::{Worth, worth};

use search::Sample;

/// Share of samples that the stated intervals hold.
const LEVEL: f64 = 0.95;

/// Photos beyond a dependable threshold: the relative standard error of their number is then a third.
const RESTS_ON: f64 = 10.0;

/// With fewer unknown classes, nothing can be concluded about others.
const OPEN_CLASSES: usize = 10;

/// With fewer known photos per class on average, per-class thresholds are not considered: there is too little to learn
/// from.
const OWN_PHOTOS: usize = 10;

/// Width of an interval that is worth a warning.
const WIDE: f64 = 0.10;

/// Input of a calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings<'a> {
    /// The operating point.
    pub target: Target,
    /// The deciding score; the bundle's rule if `None`.
    pub choice: Option<Choice>,
    /// Thresholds of single classes, shrunk towards the global one.
    pub per_class: PerClass,
    /// Names above the classes, for a bundle with a taxonomy.
    pub names: Option<Names<'a>>,
    /// Split that the photos are of.
    pub split: &'a str,
    /// Hash of the graph without its metadata, as [`graph_sha256`](crate::model::graph_sha256) gives it.
    pub graph_sha256: &'a str,
}

/// Settings of names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Names<'a> {
    /// Share of the names of each rank that must be right, above 0 and at most 1.
    pub share: f64,
    /// Taxa of unknown classes.
    pub taxonomy: &'a Taxonomy,
}

/// A new rule and its derivation.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    /// For the bundle, [`Calibration`] within.
    pub open: Open,
    /// The same as a type.
    pub calibration: Calibration,
    /// Limits of the promise, for people.
    pub warnings: Vec<String>,
}

/// Derivation of the thresholds: `calibration` in `oltr.open`. It depends only on graph, photos and settings, so that
/// calibrating again gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The operating point: `known-accept=0.95`.
    pub target: String,
    /// Split of the labels.
    pub split: String,
    /// Photos.
    pub data: Data,
    /// Rates of the thresholds on these photos.
    pub reached: Rates,
    /// 95 % intervals for another set of as many photos.
    pub promised: Promised,
    /// The score that the rule uses.
    pub score: String,
    /// That score of the known photos.
    pub known_scores: Option<Statistics>,
    /// That score of the unknown photos.
    pub open_scores: Option<Statistics>,
    /// Distances of the photos of each known class to its centroid.
    pub spread: BTreeMap<String, Spread>,
    /// The rules that the chosen one was weighed against, itself among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weighed: Vec<Weighed>,
    /// Results of names above the classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Named>,
    /// SHA-256 of the graph without metadata.
    pub graph_sha256: String,
    /// Who computed.
    pub runtime: String,
}

/// Numbers of photos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// Known photos.
    pub known: usize,
    /// Known classes with photos.
    pub known_classes: usize,
    /// Unknown photos.
    pub open: usize,
    /// Unknown classes.
    pub open_classes: usize,
}

/// Rates at the thresholds, 0..1; absent without such photos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Known photos accepted.
    pub known_accepted: Option<f64>,
    /// Unknown photos called open.
    pub open_rejected: Option<f64>,
    /// Open-set F-measure, formula of 2020-01-29.
    pub f_measure: Option<f64>,
}

/// 95 % intervals of the rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Promised {
    /// Known photos accepted.
    pub known_accepted: Option<[f64; 2]>,
    /// Unknown photos called open.
    pub open_rejected: Option<[f64; 2]>,
    /// Open-set F-measure.
    pub f_measure: Option<[f64; 2]>,
    /// The global threshold itself.
    pub threshold: Option<[f64; 2]>,
}

/// Distribution of scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub sd: f64,
    /// 5 % of the scores lie below.
    pub q05: f64,
    /// Half of the scores lie below.
    pub median: f64,
    /// 95 % of the scores lie below.
    pub q95: f64,
}

/// Typical distance of a class's photos from its centroid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Photos that it rests on.
    pub photos: usize,
    /// Half of the distances lie below.
    pub median: f64,
    /// 95 % of the distances lie below.
    pub q95: f64,
}

impl Calibration {
    /// Derivation of the thresholds of `open`, if [`calibrate`] set them.
    pub fn of(open: &Open) -> Option<Calibration> {
        serde_json::from_value(open.calibration.clone()).ok()
    }
}

/// The temperature of a graph's logits for `records`, whose logits were kept and divided by `applied`; `None` without
/// known photos.
pub fn fit_temperature(records: &[Record], applied: f32) -> Option<f32> {
    temperature::fit(records, applied)
}

/// `bundle` with unchanged thresholds and new names for `records`, whose logits must be kept.
///
/// # Errors
/// [`Error::Config`] for a bundle without calibration or taxonomy.
pub fn only_names(bundle: &Bundle, labels: &[Label], records: &[Record], names: &Names) -> Result<Calibrated> {
    let no = |what: &str| Error::Config(format!("names alone cannot be chosen: the bundle {what}"));
    let mut calibration = Calibration::of(&bundle.open)
        .ok_or_else(|| no("was not calibrated; leave out --names-only, and its thresholds are chosen too"))?;
    let (naming, named) = naming::names(bundle, labels, records, names.taxonomy, names.share)
        .ok_or_else(|| no("has no taxa; name a table of them with --taxonomy"))?;
    calibration.names = named;
    let mut open = Open { names: Some(naming), ..bundle.open.clone() };
    open.calibration = serde_json::to_value(&calibration).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Calibrated { open, calibration, warnings: Vec::new() })
}

/// Finds the thresholds of `bundle` for `settings` from `records` of the photos `labels`. Also the temperature of its
/// logits, if the records keep them ([`inference::Options::logits`](crate::inference::Options::logits)).
///
/// # Errors
/// [`Error::BadInput`] if the target needs photos that are missing, or no threshold reaches it; [`Error::Config`] for
/// per-class thresholds of a rule that has none.
pub fn calibrate(bundle: &Bundle, labels: &[Label], records: &[Record], settings: &Settings) -> Result<Calibrated> {
    let choice = settings.choice.unwrap_or(Choice::Rule(bundle.open.rule));
    if settings.per_class == PerClass::Always && matches!(choice, Choice::Rule(rule) if !rule.is_reachability()) {
        let reason = "thresholds per class are reachabilities; leave out --per-class, or calibrate another rule";
        return Err(Error::Config(reason.into()));
    }
    let data = data(labels, records);
    settings.target.check(&data, settings.split)?;
    let applied = bundle.open.temperature();
    let temperature = temperature::fit(records, applied);
    let rescaled: Vec<Record>;
    let records = match temperature {
        None => records,
        Some(temperature) => {
            let ratio = temperature / applied;
            rescaled = records.iter().map(|record| record.clone().at_temperature(ratio)).collect::<Result<_>>()?;
            &rescaled
        }
    };
    let distances = have_distances(records);
    let candidates = candidates(bundle, records, settings, choice, &data);
    let (chosen, weighed) = choice::best(bundle, labels, records, candidates).ok_or_else(|| Error::BadInput {
        subject: format!("target {}", settings.target),
        reason: "no threshold reaches it with this rule and these photos; ask for less, or take another --rule".into(),
    })?;
    let choice::Candidate { rule, spreads, samples, cut } = chosen;

    let mut open = Open {
        rule,
        per_class: None,
        limit: None,
        temperature: temperature.or(bundle.open.temperature),
        calibration: serde_json::Value::Null,
        ..bundle.open.clone()
    };
    match &spreads {
        Some(spreads) => {
            open.reachability = per_class::stored(spreads.threshold(None, cut));
            let of = |(k, class): (usize, &crate::bundle::Class)| {
                let threshold = spreads.threshold(Some(k), cut);
                spreads.has(k).then(|| (class.id.clone(), per_class::stored(threshold)))
            };
            open.per_class = Some(bundle.classes.iter().enumerate().filter_map(of).collect());
        }
        None if rule == Rule::MaxProbability => open.probability = cut as f32,
        None if rule.is_reachability() => open.reachability = cut as f32,
        None => open.limit = Some(cut as f32),
    }
    if !rule.is_reachability() && distances && open.reachability == 0.0 {
        // Enrolled classes are compared with known ones by it, whichever score decides.
        let unused = choice::Candidate::new(bundle, records, settings.target, Rule::Reachability, false);
        open.reachability = unused.map_or(0.0, |candidate| candidate.cut as f32);
    }

    let decided = Bundle { open: open.clone(), ..bundle.clone() };
    let named = settings.names.and_then(|names| naming::names(&decided, labels, records, names.taxonomy, names.share));
    let named = named.map_or_else(Vec::new, |(naming, named)| {
        open.names = Some(naming);
        named
    });
    let reached = reached(&decided, records);
    let promised = promised(labels, records, &samples, settings.target, spreads.as_ref());
    let kind = ScoreKind::of_rule(rule);
    let statistics = |known: bool| {
        let of = records.iter().filter(|r| r.truth.is_some() == known).map(|r| r.kinds[kind.index()]);
        Statistics::new(of.collect())
    };
    let calibration = Calibration {
        target: settings.target.to_string(),
        split: settings.split.into(),
        data,
        reached,
        promised,
        score: kind.name().into(),
        known_scores: statistics(true),
        open_scores: statistics(false),
        spread: spread(bundle, records),
        weighed: if weighed.len() > 1 { weighed } else { Vec::new() },
        names: named,
        graph_sha256: settings.graph_sha256.into(),
        runtime: concat!("oltr ", env!("CARGO_PKG_VERSION")).into(),
    };
    open.calibration = serde_json::to_value(&calibration).map_err(|e| Error::Internal(e.to_string()))?;
    let warnings = warnings(&calibration, settings.target);
    Ok(Calibrated { open, calibration, warnings })
}

/// Whether the graph computes distances.
fn have_distances(records: &[Record]) -> bool {
    records.first().is_none_or(|record| record.scores.distance.is_finite() || record.own_distance.is_some())
}

/// The rules to choose from with their thresholds, the simplest first.
fn candidates(
    bundle: &Bundle,
    records: &[Record],
    settings: &Settings,
    choice: Choice,
    data: &Data,
) -> Vec<choice::Candidate> {
    let own = match settings.per_class {
        PerClass::Auto if data.known < OWN_PHOTOS * data.known_classes => PerClass::Never,
        own => own,
    };
    let mut rules = choice::candidates(bundle, choice, own, have_distances(records));
    // Without unknown photos nothing can be compared, so the simplest candidate is chosen.
    if data.open == 0 || data.known == 0 {
        rules.truncate(1);
    }
    let with_threshold = |(rule, own)| choice::Candidate::new(bundle, records, settings.target, rule, own);
    rules.into_iter().filter_map(with_threshold).collect()
}

fn data(labels: &[Label], records: &[Record]) -> Data {
    let count = |known: bool| {
        let of = || records.iter().filter(move |r| r.truth.is_some() == known).map(|r| labels[r.photo].class.as_str());
        (of().count(), of().collect::<std::collections::BTreeSet<_>>().len())
    };
    let ((known, known_classes), (open, open_classes)) = (count(true), count(false));
    Data { known, known_classes, open, open_classes }
}

/// Rates of the rule of `bundle` on the photos that chose it.
fn reached(bundle: &Bundle, records: &[Record]) -> Rates {
    let answers = answers(bundle, records);
    let share = |known: bool, open: bool| {
        let of = answers.iter().filter(|a| a.truth.is_some() == known);
        let all = of.clone().count();
        (all > 0).then(|| six(of.filter(|a| a.open == open).count() as f64 / all as f64))
    };
    Rates {
        known_accepted: share(true, false),
        open_rejected: share(false, true),
        f_measure: FMeasure::new(answers.iter().copied()).f().map(six),
    }
}

/// Thresholds of samples measured on the samples before them, which are independent.
fn promised(
    labels: &[Label],
    records: &[Record],
    samples: &[Sample],
    target: Target,
    spreads: Option<&per_class::Spreads>,
) -> Promised {
    let mut before: Option<Vec<usize>> = None;
    let mut drawn = Vec::with_capacity(samples.len());
    let figures = bootstrap(labels, records, Clusters::UnknownClasses).intervals(LEVEL, |sample| {
        drawn.clear();
        drawn.extend(sample.iter().map(|i| samples[*i]));
        let threshold = search::threshold(&mut drawn, target);
        let other = before.replace(sample.to_vec());
        let measured = threshold.zip(other).map(|(t, other)| search::measure(other.iter().map(|i| &samples[*i]), t));
        let rate = |of: fn(&Rates) -> Option<f64>| measured.as_ref().and_then(of);
        let threshold = threshold.map(|t| spreads.map_or(t, |s| s.threshold(None, t)));
        [rate(|r| r.known_accepted), rate(|r| r.open_rejected), rate(|r| r.f_measure), threshold]
    });
    let [known_accepted, open_rejected, f_measure, threshold] =
        figures.map(|interval| interval.map(|Interval { low, high }| [six(low), six(high)]));
    Promised { known_accepted, open_rejected, f_measure, threshold }
}

/// Distances of rightly named photos to the centroids of their classes.
fn spread(bundle: &Bundle, records: &[Record]) -> BTreeMap<String, Spread> {
    let mut distances: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for record in records.iter().filter(|r| r.truth == Some(r.scores.class)) {
        if let Some(d) = record.own_distance.filter(|d| d.is_finite()) {
            distances.entry(record.scores.class).or_default().push(d.into());
        }
    }
    let of = |(class, mut d): (usize, Vec<f64>)| {
        d.sort_by(f64::total_cmp);
        let quantile = |q| six(crate::metrics::quantile(&d, q));
        let spread = Spread { photos: d.len(), median: quantile(0.5), q95: quantile(0.95) };
        (bundle.classes[class].id.clone(), spread)
    };
    distances.into_iter().map(of).collect()
}

impl Statistics {
    fn new(mut scores: Vec<f64>) -> Option<Statistics> {
        if scores.is_empty() {
            return None;
        }
        scores.sort_by(f64::total_cmp);
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n;
        let variance = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n;
        let quantile = |q| six(crate::metrics::quantile(&scores, q));
        Some(Statistics {
            mean: six(mean),
            sd: six(variance.sqrt()),
            q05: quantile(0.05),
            median: quantile(0.5),
            q95: quantile(0.95),
        })
    }
}

/// Rounds `x` to six significant digits: machines compute logarithms differently beyond, and files must be equal.
fn six(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

fn warnings(calibration: &Calibration, target: Target) -> Vec<String> {
    let Calibration { data, promised, .. } = calibration;
    let mut warnings = Vec::new();
    let (photos, share, what) = match target {
        Target::KnownAccept(share) => (data.known, share, "known"),
        Target::OpenReject(share) => (data.open, share, "unknown"),
        Target::MaxF | Target::Balanced => (0, 1.0, ""),
    };
    let rests_on = photos as f64 * (1.0 - share);
    if share < 1.0 && rests_on < RESTS_ON {
        warnings.push(format!(
            "the threshold rests on {rests_on:.0} of {}; {target} needs about {:.0} to be dependable",
            counted(photos, &format!("{what} photo")),
            RESTS_ON / (1.0 - share)
        ));
    }
    if target.needs_open() && data.open_classes < OPEN_CLASSES {
        warnings.push(format!(
            "only {}: so few do not show how others score; at least {OPEN_CLASSES} different ones are needed, or \
             --target known-accept=0.95, which needs none",
            counted(data.open_classes, "unknown class")
        ));
    }
    let rates =
        [("known photos accepted", promised.known_accepted), ("unknown photos called open", promised.open_rejected)];
    let aimed = match target {
        Target::KnownAccept(_) => &rates[..1],
        Target::OpenReject(_) => &rates[1..],
        Target::MaxF | Target::Balanced => &rates[..],
    };
    for (what, interval) in aimed {
        if let Some([low, high]) = interval.filter(|[low, high]| high - low > WIDE) {
            warnings.push(format!(
                "with these photos no more can be promised than {:.0} to {:.0} % of {what}; add photos of other places and things",
                low * 100.0,
                high * 100.0
            ));
        }
    }
    warnings
}
