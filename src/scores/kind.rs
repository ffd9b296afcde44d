//! The scores that tell known from open, side by side, so that a bundle can be calibrated to the one that serves it.

use super::{MAX_REACHABILITY, log_sum_exp, reachability};
use crate::bundle::Rule;

/// A number that is larger for frames of known classes than for open ones.
///
/// With logits z (K of them), p = softmax(z), and the distances d to the centroids in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoreKind {
    /// γ′ = 10 / d₁, 0..[`MAX_REACHABILITY`]: this project's rule (OLTR paper, equation 4, with the published code's
    /// factor 10).
    Reachability,
    /// 1 − d₁ / d₂, 0..1: how much nearer the nearest class is than the second (Mendes Júnior et al., "Nearest
    /// neighbors distance ratio open-set classifier", Machine Learning 106, 2017). 0 where both distances are equal.
    DistanceRatio,
    /// max p, 1/K..1: the published OLTR rule; Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and
    /// Out-of-Distribution Examples", ICLR 2017.
    MaxProbability,
    /// max z: Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022.
    MaxLogit,
    /// ln Σ exp z, the negative free energy at temperature 1: Liu et al., "Energy-based Out-of-distribution
    /// Detection", NeurIPS 2020.
    Energy,
    /// Σ p ln p, the negative Shannon entropy, −ln K..0 (in nats).
    Entropy,
    /// p₁ − p₂ of the two largest probabilities, 0..1 (best against second best, Scheffer et al., 2001).
    Margin,
}

impl ScoreKind {
    /// Every score, the rules of bundles first.
    pub const ALL: [ScoreKind; 7] = [
        ScoreKind::Reachability,
        ScoreKind::MaxProbability,
        ScoreKind::DistanceRatio,
        ScoreKind::MaxLogit,
        ScoreKind::Energy,
        ScoreKind::Entropy,
        ScoreKind::Margin,
    ];

    /// The name in JSON and tables: `max-probability`.
    pub fn name(self) -> &'static str {
        match self {
            ScoreKind::Reachability => "reachability",
            ScoreKind::DistanceRatio => "distance-ratio",
            ScoreKind::MaxProbability => "max-probability",
            ScoreKind::MaxLogit => "max-logit",
            ScoreKind::Energy => "energy",
            ScoreKind::Entropy => "entropy",
            ScoreKind::Margin => "margin",
        }
    }

    /// The score that a bundle's rule uses, the first of `both`.
    pub fn of_rule(rule: Rule) -> ScoreKind {
        match rule {
            Rule::Reachability | Rule::Both => ScoreKind::Reachability,
            Rule::MaxProbability => ScoreKind::MaxProbability,
            Rule::DistanceRatio => ScoreKind::DistanceRatio,
            Rule::MaxLogit => ScoreKind::MaxLogit,
            Rule::Energy => ScoreKind::Energy,
            Rule::Entropy => ScoreKind::Entropy,
            Rule::Margin => ScoreKind::Margin,
        }
    }

    /// The rule that decides by this score alone.
    pub fn rule(self) -> Rule {
        match self {
            ScoreKind::Reachability => Rule::Reachability,
            ScoreKind::MaxProbability => Rule::MaxProbability,
            ScoreKind::DistanceRatio => Rule::DistanceRatio,
            ScoreKind::MaxLogit => Rule::MaxLogit,
            ScoreKind::Energy => Rule::Energy,
            ScoreKind::Entropy => Rule::Entropy,
            ScoreKind::Margin => Rule::Margin,
        }
    }

    /// Whether it is a score of the distances; the others are of the logits.
    pub fn needs_distances(self) -> bool {
        self.rule().needs_distances()
    }

    /// Its place in [`ScoreKind::ALL`].
    pub fn index(self) -> usize {
        ScoreKind::ALL.iter().position(|kind| *kind == self).expect("every score is in the list")
    }

    /// This score of one frame, in double precision; `logits` and `distances` as [`super::score`] accepts them.
    ///
    /// With one class the scores that need two (ratio, margin) are 0: nothing is second.
    pub fn of(self, logits: &[f32], distances: &[f32]) -> f64 {
        match self {
            ScoreKind::Reachability => reachability(two_smallest(distances).0).into(),
            ScoreKind::DistanceRatio => distance_ratio(distances),
            ScoreKind::MaxProbability => (max(logits) - energy(logits)).exp(),
            ScoreKind::MaxLogit => max(logits),
            ScoreKind::Energy => energy(logits),
            ScoreKind::Entropy => {
                let energy = energy(logits);
                let term = |z: &f32| {
                    let log_p = f64::from(*z) - energy;
                    // 0 ln 0 = 0, also where ln p has gone to minus infinity.
                    if log_p.exp() == 0.0 { 0.0 } else { log_p.exp() * log_p }
                };
                logits.iter().map(term).sum::<f64>().min(0.0)
            }
            ScoreKind::Margin => {
                let mut two = [f64::NEG_INFINITY; 2];
                for z in logits.iter().map(|z| f64::from(*z)) {
                    if z > two[0] {
                        two = [z, two[0]];
                    } else if z > two[1] {
                        two[1] = z;
                    }
                }
                let energy = energy(logits);
                if logits.len() < 2 { 0.0 } else { (two[0] - energy).exp() - (two[1] - energy).exp() }
            }
        }
    }

    /// All scores of one frame, in the order of [`ScoreKind::ALL`].
    pub fn all(logits: &[f32], distances: &[f32]) -> [f64; ScoreKind::ALL.len()] {
        ScoreKind::ALL.map(|kind| kind.of(logits, distances))
    }
}

fn max(logits: &[f32]) -> f64 {
    logits.iter().copied().fold(f32::NEG_INFINITY, f32::max).into()
}

fn energy(logits: &[f32]) -> f64 {
    log_sum_exp(logits.iter().copied().map(f64::from))
}

/// The two smallest of `distances`; infinite where there are fewer.
fn two_smallest(distances: &[f32]) -> (f32, f32) {
    distances.iter().fold((f32::INFINITY, f32::INFINITY), |(first, second), d| match *d {
        d if d < first => (d, first),
        d if d < second => (first, d),
        _ => (first, second),
    })
}

fn distance_ratio(distances: &[f32]) -> f64 {
    let (first, second) = two_smallest(distances);
    if distances.len() < 2 || first == second { 0.0 } else { 1.0 - f64::from(first) / f64::from(second) }
}

const _: () = assert!(MAX_REACHABILITY.is_finite());

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn scores_of_a_worked_example() {
        // p = (1, 2, 5) / 8.
        let logits = [1f32, 2.0, 5.0].map(f32::ln);
        let p = [0.125f64, 0.25, 0.625];
        let of = |kind: ScoreKind| kind.of(&logits, &[8.0, 5.0, 4.0]);
        let near = |kind, expected: f64| assert!((of(kind) - expected).abs() < 1e-7, "{kind:?}: {}", of(kind));
        near(ScoreKind::Reachability, 2.5);
        near(ScoreKind::DistanceRatio, 0.2);
        near(ScoreKind::MaxProbability, 0.625);
        near(ScoreKind::MaxLogit, 5f64.ln());
        near(ScoreKind::Energy, 8f64.ln());
        near(ScoreKind::Entropy, p.iter().map(|p| p * p.ln()).sum());
        near(ScoreKind::Margin, 0.375);
    }

    #[test]
    fn each_score_is_larger_for_the_surer_frame() {
        let sure = (&[9.0, 0.0, 0.0][..], &[1.0, 8.0, 9.0][..]);
        let unsure = (&[1.0, 0.9, 0.8][..], &[7.0, 7.5, 8.0][..]);
        for kind in ScoreKind::ALL {
            assert!(kind.of(sure.0, sure.1) > kind.of(unsure.0, unsure.1), "{kind:?}");
        }
    }

    #[test]
    fn one_class_and_the_ends_of_the_range_give_numbers() {
        for (logits, distances) in [
            (&[3.0][..], &[2.0][..]),
            (&[1e30, -1e30], &[0.0, 0.0]),
            (&[-3e38, 3e38], &[f32::INFINITY, f32::INFINITY]),
            (&[0.0, 0.0], &[0.0, f32::INFINITY]),
        ] {
            for kind in ScoreKind::ALL {
                let value = kind.of(logits, distances);
                assert!(value.is_finite(), "{kind:?} of {logits:?} {distances:?} is {value}");
            }
        }
        assert_eq!(ScoreKind::Margin.of(&[3.0], &[2.0]), 0.0);
        assert_eq!(ScoreKind::DistanceRatio.of(&[3.0], &[2.0]), 0.0);
        assert_eq!(ScoreKind::DistanceRatio.of(&[0.0, 0.0], &[0.0, f32::INFINITY]), 1.0);
    }

    #[test]
    fn they_agree_with_the_scores_that_decide() {
        let (logits, distances) = ([0.25, -1.0, 2.5, 0.0], [4.0, 3.0, 9.0, 3.5]);
        let scores = super::super::score(&logits, &distances).unwrap();
        let all = ScoreKind::all(&logits, &distances);
        assert_eq!(all[ScoreKind::Reachability.index()], f64::from(scores.reachability));
        assert!((all[ScoreKind::MaxProbability.index()] - f64::from(scores.probability)).abs() < 1e-7);
        assert!(close(all[ScoreKind::MaxLogit.index()], 2.5));
    }
}
