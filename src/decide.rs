//! Known or open: applies a bundle's rule to the scores of a frame, and combines many frames. Pure functions.

pub mod consensus;
pub mod events;
pub mod listed;
pub mod mean;
pub mod naming;
#[cfg(test)]
pub(crate) mod testing;

use crate::bundle::{Bundle, Rule};
use crate::scores::{ScoreKind, Scores};

/// The decision on a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One of the bundle's classes, by index.
    Known(usize),
    /// An enrolled class, as an index of [`Enrolments::classes`](crate::enrol::Enrolments::classes). The rule itself
    /// never returns it: enrolments change the rule's decision.
    Enrolled(usize),
    /// Something that the bundle does not know.
    Open,
    /// Not classified. Never for a frame, only for a [thing](crate::things) without a clean crop.
    Unclassified,
}

impl Decision {
    /// The word in JSON: `known` or `open`, and for a thing also `unclassified`. An enrolled class is known.
    pub fn word(self) -> &'static str {
        match self {
            Decision::Known(_) | Decision::Enrolled(_) => "known",
            Decision::Open => "open",
            Decision::Unclassified => "unclassified",
        }
    }
}

/// The rule's decision on one frame, and the score that decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Known or open.
    pub decision: Decision,
    /// The reachability threshold of the most probable class, even if the rule does not use it.
    pub threshold: f32,
    /// The score that decided. Under [`Rule::Both`], the score that is lower relative to its limit.
    pub decided_by: ScoreKind,
    /// The value of that score.
    pub value: f32,
    /// The limit of that score: below it the frame is open.
    pub limit: f32,
}

/// The open rule of a bundle with its thresholds resolved to class indices.
#[derive(Clone, Debug, PartialEq)]
pub struct Decider {
    rule: Rule,
    probability: f32,
    /// Reachability threshold of each class.
    reachability: Vec<f32>,
    /// Threshold of rules on another score.
    limit: f32,
}

impl Decider {
    /// The rule of `bundle`.
    pub fn new(bundle: &Bundle) -> Decider {
        let open = &bundle.open;
        let of = |id: &str| open.per_class.as_ref().and_then(|p| p.get(id).copied()).unwrap_or(open.reachability);
        Decider {
            rule: open.rule,
            probability: open.probability,
            reachability: bundle.classes.iter().map(|c| of(&c.id)).collect(),
            limit: open.limit.unwrap_or(f32::INFINITY),
        }
    }

    /// Distance beyond which a frame of `class` is open: 10 / its reachability threshold, or infinite without a
    /// threshold. Defined even if the rule does not use it.
    pub fn limit(&self, class: usize) -> f32 {
        self.reachability.get(class).map_or(f32::INFINITY, |threshold| 10.0 / threshold)
    }

    /// The distance to the nearest class in that class's unit, its [`limit`](Decider::limit). Above 1 a frame is open.
    pub fn unit(&self, distances: &[f32]) -> f32 {
        distances.iter().enumerate().map(|(class, d)| d / self.limit(class)).fold(f32::INFINITY, f32::min)
    }

    /// The score of the rule, if it is neither reachability nor largest probability. [`Scores`] does not contain it.
    pub fn other_score(&self) -> Option<ScoreKind> {
        self.rule.has_limit().then(|| ScoreKind::of_rule(self.rule))
    }

    /// Decides on one frame by its [`Scores`]. With a rule on another score, every frame is open.
    ///
    /// The label is the class of the largest logit, and its threshold applies. `scores.class` must be a class of the
    /// bundle, which loading a bundle checks.
    pub fn decide(&self, scores: &Scores) -> Verdict {
        self.decide_by(scores, f32::NAN)
    }

    /// As [`Decider::decide`]. `other` is the frame's [`Decider::other_score`], if the rule uses one.
    pub fn decide_by(&self, scores: &Scores, other: f32) -> Verdict {
        let threshold = self.reachability[scores.class];
        let reachability = (ScoreKind::Reachability, scores.reachability, threshold);
        let probability = (ScoreKind::MaxProbability, scores.probability, self.probability);
        let (decided_by, value, limit) = match self.rule {
            Rule::Reachability => reachability,
            Rule::MaxProbability => probability,
            // A ratio below 1 means below the limit, so the lower ratio is below 1 if any of the two is.
            Rule::Both if ratio(probability) < ratio(reachability) => probability,
            Rule::Both => reachability,
            rule => (ScoreKind::of_rule(rule), other, self.limit),
        };
        // NaN is below every limit.
        let decision = if value >= limit { Decision::Known(scores.class) } else { Decision::Open };
        Verdict { decision, threshold, decided_by, value, limit }
    }
}

/// A score divided by its limit; infinite for a limit of 0.
fn ratio((_, value, limit): (ScoreKind, f32, f32)) -> f64 {
    if limit > 0.0 { f64::from(value) / f64::from(limit) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(reachability: f32, probability: f32) -> Scores {
        Scores { class: 1, probability, nearest: 0, distance: 10.0 / reachability, reachability }
    }

    fn decider(rule: Rule) -> Decider {
        Decider { rule, probability: 0.1, reachability: vec![9.0, 0.5], limit: 2.0 }
    }

    #[test]
    fn each_rule_looks_at_its_own_score() {
        let known = Decision::Known(1);
        for (rule, reachable, probable, expected) in [
            (Rule::Reachability, 0.5, 0.0, known),
            (Rule::Reachability, 0.49, 1.0, Decision::Open),
            (Rule::MaxProbability, 0.0, 0.1, known),
            (Rule::MaxProbability, 1.0, 0.09, Decision::Open),
            (Rule::Both, 0.5, 0.1, known),
            (Rule::Both, 0.49, 0.1, Decision::Open),
            (Rule::Both, 0.5, 0.09, Decision::Open),
        ] {
            let verdict = decider(rule).decide(&scores(reachable, probable));
            assert_eq!((verdict.decision, verdict.threshold), (expected, 0.5), "{rule:?} {reachable} {probable}");
        }
    }
    #[test]
    fn a_rule_by_another_score_looks_at_that_one() {
        let decider = decider(Rule::Energy);
        assert_eq!(decider.other_score(), Some(ScoreKind::Energy));
        for (energy, expected) in [(2.0, Decision::Known(1)), (1.9, Decision::Open), (f32::NAN, Decision::Open)] {
            let verdict = decider.decide_by(&scores(0.0, 0.0), energy);
            assert_eq!((verdict.decision, verdict.decided_by), (expected, ScoreKind::Energy), "{energy}");
        }
        assert_eq!(decider.decide(&scores(9.0, 1.0)).decision, Decision::Open);
    }
}
