//! Known or open: the rule of a bundle applied to the scores of one frame, and to those of many. Pure functions.

pub mod consensus;
pub mod events;
#[cfg(test)]
pub(crate) mod testing;

use crate::bundle::{Bundle, Rule};
use crate::scores::Scores;

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
}

/// A decision and the reachability that a frame of this class needed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Known or open.
    pub decision: Decision,
    /// The reachability threshold that applied.
    pub threshold: f32,
}

/// The open rule of a bundle with its thresholds resolved to class indices.
#[derive(Clone, Debug, PartialEq)]
pub struct Decider {
    rule: Rule,
    probability: f32,
    /// Reachability threshold of each class.
    reachability: Vec<f32>,
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
        }
    }

    /// Distance beyond which a frame of `class` is open: 10 over its reachability threshold, infinite for none. Whether
    /// the rule looks at it or not.
    pub fn limit(&self, class: usize) -> f32 {
        self.reachability.get(class).map_or(f32::INFINITY, |threshold| 10.0 / threshold)
    }

    /// Decides for one frame. The label is the class of the largest logit; its threshold is the one that applies.
    ///
    /// `scores.class` must be a class of the bundle, which `Session` sees to when it is made.
    pub fn decide(&self, scores: &Scores) -> Verdict {
        let threshold = self.reachability[scores.class];
        let unreachable = scores.reachability < threshold;
        let improbable = scores.probability < self.probability;
        let open = match self.rule {
            Rule::Reachability => unreachable,
            Rule::MaxProbability => improbable,
            Rule::Both => unreachable || improbable,
        };
        Verdict { decision: if open { Decision::Open } else { Decision::Known(scores.class) }, threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(reachability: f32, probability: f32) -> Scores {
        Scores { class: 1, probability, nearest: 0, distance: 10.0 / reachability, reachability }
    }

    fn decider(rule: Rule) -> Decider {
        Decider { rule, probability: 0.1, reachability: vec![9.0, 0.5] }
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
            assert_eq!(verdict, Verdict { decision: expected, threshold: 0.5 }, "{rule:?} {reachable} {probable}");
        }
    }
}
