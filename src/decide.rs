//! Known or open: the rule of a bundle applied to the scores of one frame, and to those of many. Pure functions.

pub mod consensus;
pub mod events;
pub mod listed;
pub mod mean;
pub mod naming;
#[cfg(test)]
pub(crate) mod testing;

use crate::bundle::{Bundle, Rule};
use crate::scores::{ScoreKind, Scores};

/// What a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One of the bundle's classes, by index.
    Known(usize),
    /// A class learnt on the device, by its place among the [enrolled](crate::enrol::Enrolments::classes): never the
    /// rule's own decision, only what is made of it where classes are enrolled.
    Enrolled(usize),
    /// Something that the bundle does not know.
    Open,
    /// Nothing was classified: never of a frame, only of a [thing](crate::things) of which there was no clean cut.
    Unclassified,
}

impl Decision {
    /// The word for it in JSON: `known` or `open`, and of a thing also `unclassified`. An enrolled class is known.
    pub fn word(self) -> &'static str {
        match self {
            Decision::Known(_) | Decision::Enrolled(_) => "known",
            Decision::Open => "open",
            Decision::Unclassified => "unclassified",
        }
    }
}

/// What the rule says of one frame, and which score said it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Known or open.
    pub decision: Decision,
    /// The reachability threshold of the most probable class, whether the rule uses it or not.
    pub threshold: f32,
    /// The score that decided. Under [`Rule::Both`] it is the one that lies lower against its limit.
    pub decided_by: ScoreKind,
    /// The value of that score.
    pub value: f32,
    /// What the value was held against: below it the frame is open.
    pub limit: f32,
}

/// The open rule of a bundle with its thresholds resolved to class indices.
#[derive(Clone, Debug, PartialEq)]
pub struct Decider {
    rule: Rule,
    probability: f32,
    /// Reachability threshold of each class.
    reachability: Vec<f32>,
    /// Threshold of the rules that look at another score.
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

    /// Distance beyond which a frame of `class` is open: 10 over its reachability threshold, infinite for none. Whether
    /// the rule uses it or not.
    pub fn limit(&self, class: usize) -> f32 {
        self.reachability.get(class).map_or(f32::INFINITY, |threshold| 10.0 / threshold)
    }

    /// The distance to the nearest class, each in its own unit, its [`limit`](Decider::limit): beyond 1 a frame is open.
    pub fn unit(&self, distances: &[f32]) -> f32 {
        distances.iter().enumerate().map(|(class, d)| d / self.limit(class)).fold(f32::INFINITY, f32::min)
    }

    /// The score that the rule uses, where it is neither reachability nor largest probability: it does not follow
    /// from [`Scores`].
    pub fn other_score(&self) -> Option<ScoreKind> {
        self.rule.has_limit().then(|| ScoreKind::of_rule(self.rule))
    }

    /// Decides for one frame by what [`Scores`] say; by a rule that examines another score, every frame is open.
    ///
    /// The label is the class of the largest logit; its threshold is the one that applies. `scores.class` must be a class
    /// of the bundle, as loading a bundle checks.
    pub fn decide(&self, scores: &Scores) -> Verdict {
        self.decide_by(scores, f32::NAN)
    }

    /// As [`Decider::decide`], `other` being the frame's [`Decider::other_score`] if the rule uses one.
    pub fn decide_by(&self, scores: &Scores, other: f32) -> Verdict {
        let threshold = self.reachability[scores.class];
        let reachability = (ScoreKind::Reachability, scores.reachability, threshold);
        let probability = (ScoreKind::MaxProbability, scores.probability, self.probability);
        let (decided_by, value, limit) = match self.rule {
            Rule::Reachability => reachability,
            Rule::MaxProbability => probability,
            // Below its limit a score has a ratio below 1, so the lower ratio says open if any of the two does.
            Rule::Both if ratio(probability) < ratio(reachability) => probability,
            Rule::Both => reachability,
            rule => (ScoreKind::of_rule(rule), other, self.limit),
        };
        // What is not a number is below every limit.
        let decision = if value >= limit { Decision::Known(scores.class) } else { Decision::Open };
        Verdict { decision, threshold, decided_by, value, limit }
    }
}

/// A score over its limit; infinite for a limit of 0, which no score is below.
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
