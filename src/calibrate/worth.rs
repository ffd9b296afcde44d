//! The worth of a bundle on labelled photos: one number, and the same bootstrap samples for every bundle.

use super::choice::{self, Candidate};
use super::{Choice, LEVEL, Settings, candidates, data, six};
use crate::bundle::Bundle;
use crate::inference::{Clusters, Record, bootstrap};
use crate::labels::Label;
use crate::metrics::{Separation, quantile};
use crate::scores::ScoreKind;

/// Worth of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    /// On all photos.
    pub all: f64,
    /// Worth on each bootstrap sample. All rules on the same photos have the same samples.
    pub samples: Vec<f64>,
}

impl Worth {
    /// 95 % interval of the difference to `other`; `None` without samples.
    pub fn beyond(&self, other: &Worth) -> Option<[f64; 2]> {
        let mut differences: Vec<f64> = self.samples.iter().zip(&other.samples).map(|(a, b)| a - b).collect();
        differences.sort_by(f64::total_cmp);
        let at = |q| six(quantile(&differences, q));
        (!differences.is_empty()).then(|| [at((1.0 - LEVEL) / 2.0), at((1.0 + LEVEL) / 2.0)])
    }
}

/// Worth of the rule of `bundle` on `records` of the photos `labels`, at the target of `settings`: the mean of AUROC
/// and of the number that decides between rules. Thresholds from few photos are unstable; the area under the curve is
/// not. `None` without known or unknown photos, or if no threshold reaches the target.
pub fn worth(bundle: &Bundle, labels: &[Label], records: &[Record], settings: &Settings) -> Option<Worth> {
    let data = data(labels, records);
    if data.known == 0 || data.open == 0 {
        return None;
    }
    let choice = settings.choice.unwrap_or(Choice::Rule(bundle.open.rule));
    let candidates = candidates(bundle, records, settings, choice, &data);
    let (best, _) = choice::most(&candidates, bundle, records)?;
    let candidate = &candidates[best];
    let of = |sample: &[usize]| {
        let worth = candidate.worth(bundle.classes.len(), records, sample.iter().copied())[0];
        Some((worth + auroc(candidate, records, sample)?) / 2.0)
    };
    let positions: Vec<usize> = (0..records.len()).collect();
    let all = of(&positions)?;
    let mut samples = Vec::new();
    bootstrap(labels, records, Clusters::UnknownClasses).samples(|sample| samples.push(of(sample).unwrap_or(all)));
    Some(Worth { all, samples })
}

/// AUROC of the score that `candidate` examines, on the records at `positions`.
fn auroc(candidate: &Candidate, records: &[Record], positions: &[usize]) -> Option<f64> {
    let kind = ScoreKind::of_rule(candidate.rule).index();
    let of = |known: bool| -> Vec<f64> {
        let of = positions.iter().map(|i| &records[*i]).filter(|r| r.truth.is_some() == known);
        of.map(|r| r.kinds[kind]).collect()
    };
    Separation::new(of(true), of(false)).ok()?.auroc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_compared_one_with_one() {
        // A difference of two points in every sample is certain, however much the samples vary.
        let samples: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).collect();
        let worth = |more: f64| Worth { all: more, samples: samples.iter().map(|s| s + more).collect() };
        let [low, high] = worth(0.02).beyond(&worth(0.0)).unwrap();
        assert!((low - 0.02).abs() < 1e-9 && (high - 0.02).abs() < 1e-9, "{low} {high}");
        let reversed = Worth { all: 0.0, samples: samples.iter().rev().copied().collect() };
        let [low, high] = worth(0.0).beyond(&reversed).unwrap();
        assert!(low < -0.9 && high > 0.9, "{low} {high}");
        let none = Worth { all: 0.0, samples: Vec::new() };
        assert_eq!(none.beyond(&none), None);
    }
}
