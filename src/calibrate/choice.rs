//! Chooses the deciding score, and whether each class has its own threshold, by the results at the target.
//!
//! The worth of a rule at its threshold is the mean of two shares: of the unknown photos, those called open; of the
//! known ones, class by class, those accepted and named rightly. So a rule gains nothing if it rejects more unknown
//! photos at the cost of rare classes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::search::{self, Sample};
use super::{LEVEL, Target, per_class, six};
use crate::bundle::{Bundle, Rule};
use crate::inference::{Clusters, Record, bootstrap};
use crate::labels::Label;
use crate::metrics::Interval;
use crate::scores::ScoreKind;

/// The deciding score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This rule.
    Rule(Rule),
    /// The single score that is worth most.
    Auto,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        if text == "auto" {
            return Ok(Choice::Auto);
        }
        let names = || ScoreKind::ALL.map(ScoreKind::name).join(", ");
        let kind = ScoreKind::ALL.into_iter().find(|kind| kind.name() == text);
        kind.map(|kind| Choice::Rule(kind.rule()))
            .ok_or_else(|| format!("'{text}' is no score; write auto, {}", names()))
    }
}

/// Whether classes have their own thresholds, if the rule is a reachability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PerClass {
    /// One for all.
    Never,
    /// Each its own.
    Always,
    /// Each its own where that is worth more.
    #[default]
    Auto,
}

/// A rule that was weighed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    /// Name of the score.
    pub score: String,
    /// Whether classes have their own thresholds.
    pub per_class: bool,
    /// Mean of `open_rejected` and `open_set_macro`.
    pub worth: f64,
    /// Unknown photos called open at its threshold.
    pub open_rejected: f64,
    /// Mean over the classes of the known photos accepted and named rightly there, each photo judged without having a part
    /// in the threshold of its class.
    pub open_set_macro: f64,
    /// 95 % interval of the chosen rule's advantage over this one; absent for the chosen one.
    pub difference: Option<[f64; 2]>,
}

/// A rule with its threshold on samples of the records.
pub(super) struct Candidate {
    pub rule: Rule,
    pub spreads: Option<per_class::Spreads>,
    pub samples: Vec<Sample>,
    pub cut: f64,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate({:?}, per class {}, {})", self.rule, self.spreads.is_some(), self.cut)
    }
}

impl Candidate {
    /// `rule` at `target`; `None` if no threshold reaches it.
    pub fn new(bundle: &Bundle, records: &[Record], target: Target, rule: Rule, own: bool) -> Option<Candidate> {
        let spreads = own.then(|| per_class::Spreads::new(bundle.classes.len(), records));
        let kind = ScoreKind::of_rule(rule);
        let samples: Vec<Sample> = records
            .iter()
            .map(|record| {
                let score = match (rule, &spreads) {
                    // A photo that the other half of the rule rejects stays open at any reachability.
                    (Rule::Both, _) if record.scores.probability < bundle.open.probability => f64::NEG_INFINITY,
                    (Rule::MaxProbability, _) => record.scores.probability.into(),
                    (Rule::Reachability | Rule::Both, None) => record.scores.reachability.into(),
                    (_, Some(spreads)) => spreads.standardised(record),
                    // In the precision of the comparison with the limit.
                    (_, None) => f64::from(record.kinds[kind.index()] as f32),
                };
                Sample { score, known: record.truth.is_some(), right: record.truth == Some(record.scores.class) }
            })
            .collect();
        let cut = search::threshold(&mut samples.clone(), target)?;
        Some(Candidate { rule, spreads, samples, cut })
    }

    /// Worth on the records at `positions`: worth, open rejected, macro.
    pub fn worth(&self, classes: usize, records: &[Record], positions: impl Iterator<Item = usize>) -> [f64; 3] {
        let (mut open, mut rejected) = (0usize, 0usize);
        let mut known = vec![(0usize, 0usize); classes];
        for i in positions {
            let accepted = self.samples[i].score >= self.cut;
            match records[i].truth {
                None => {
                    open += 1;
                    rejected += usize::from(!accepted);
                }
                Some(class) => {
                    known[class].0 += 1;
                    known[class].1 += usize::from(accepted && self.samples[i].right);
                }
            }
        }
        let shares = || known.iter().filter(|(all, _)| *all > 0).map(|(all, right)| *right as f64 / *all as f64);
        let overall = shares().sum::<f64>() / shares().count().max(1) as f64;
        let rejected = rejected as f64 / open.max(1) as f64;
        [(rejected + overall) / 2.0, rejected, overall]
    }
}

/// The rules that `choice` and `own` leave to choose from, the simplest first.
pub(super) fn candidates(bundle: &Bundle, choice: Choice, own: PerClass, distances: bool) -> Vec<(Rule, bool)> {
    let rules = match choice {
        Choice::Rule(rule) => vec![rule],
        Choice::Auto => ScoreKind::ALL.map(ScoreKind::rule).into(),
    };
    let rules = rules.into_iter().filter(|rule| distances || !rule.needs_distances());
    rules
        .flat_map(|rule| {
            let own = match own {
                _ if !rule.is_reachability() => &[false][..],
                PerClass::Never => &[false],
                PerClass::Always => &[true],
                PerClass::Auto if bundle.classes.len() < 2 => &[false],
                PerClass::Auto => &[false, true],
            };
            own.iter().map(move |own| (rule, *own))
        })
        .collect()
}

/// Index of the candidate with the highest worth on `records`, the first among equals, and the worth of each; `None`
/// without candidates.
pub(super) fn most(candidates: &[Candidate], bundle: &Bundle, records: &[Record]) -> Option<(usize, Vec<[f64; 3]>)> {
    let all: Vec<[f64; 3]> =
        candidates.iter().map(|c| c.worth(bundle.classes.len(), records, 0..records.len())).collect();
    let mut chosen = 0;
    for (i, worth) in all.iter().enumerate() {
        if worth[0] > all[chosen][0] + 1e-9 {
            chosen = i;
        }
    }
    (!all.is_empty()).then_some((chosen, all))
}

/// The candidate with the highest worth on `records`, and the worth of all.
pub(super) fn best(
    bundle: &Bundle,
    labels: &[Label],
    records: &[Record],
    candidates: Vec<Candidate>,
) -> Option<(Candidate, Vec<Weighed>)> {
    let classes = bundle.classes.len();
    let (chosen, all) = most(&candidates, bundle, records)?;
    let weighed = |(i, c): (usize, &Candidate)| {
        let difference = (i != chosen)
            .then(|| {
                let [interval] = bootstrap(labels, records, Clusters::UnknownClasses).intervals(LEVEL, |sample| {
                    let of = |c: &Candidate| c.worth(classes, records, sample.iter().copied())[0];
                    [Some(of(&candidates[chosen]) - of(c))]
                });
                interval.map(|Interval { low, high }| [six(low), six(high)])
            })
            .flatten();
        let [worth, open_rejected, open_set_macro] = all[i].map(six);
        let score = ScoreKind::of_rule(c.rule).name().into();
        Weighed { score, per_class: c.spreads.is_some(), worth, open_rejected, open_set_macro, difference }
    };
    let weighed: Vec<Weighed> = candidates.iter().enumerate().map(weighed).collect();
    candidates.into_iter().nth(chosen).map(|candidate| (candidate, weighed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_named_as_evaluate_names_them() {
        assert_eq!("auto".parse(), Ok(Choice::Auto));
        for kind in ScoreKind::ALL {
            assert_eq!(kind.name().parse(), Ok(Choice::Rule(kind.rule())));
            assert_eq!(ScoreKind::of_rule(kind.rule()), kind);
        }
        assert!("energie".parse::<Choice>().unwrap_err().contains("max-logit"));
    }

    #[test]
    fn a_graph_without_distances_is_judged_by_its_logits() {
        let bundle = crate::bundle::example::bundle(&[("x", 9), ("y", 9)]);
        let with = candidates(&bundle, Choice::Auto, PerClass::Auto, true);
        assert_eq!(with.len(), ScoreKind::ALL.len() + 1);
        let without = candidates(&bundle, Choice::Auto, PerClass::Auto, false);
        assert!(without.len() == ScoreKind::ALL.len() - 2 && without.iter().all(|(rule, _)| !rule.needs_distances()));
        let one = candidates(&bundle, Choice::Rule(Rule::Energy), PerClass::Always, true);
        assert_eq!(one, [(Rule::Energy, false)]);
    }
}
