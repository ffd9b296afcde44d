//! Consensus of several frames. Pure: time is passed in.
//!
//! The consensus of the last frames errs less than a single frame. A rare class may need more agreeing frames than a
//! common one, or fewer. So each shot group, and open, has its own [`Rule`].
//!
//! Between two classes of the network, probability decides: the larger [`Agreed::support`] wins. The network's
//! probability says little about open and about enrolled classes. Against these, the number of frames decides: the
//! larger share of its window wins.

use std::time::Duration;

use heapless::Deque;

use super::Decision;
use super::naming::Named;
use crate::bundle::{Bundle, Shot};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Longest window of a rule. [`Limits::consensus_frames`] may be lower.
pub const MAX_WINDOW: usize = 64;

/// How many frames it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Length of the window: the last frames that count.
    pub window: usize,
    /// Frames that must agree for a consensus to begin; at least 1.
    pub begin: usize,
    /// Frames that must agree for it to continue, 1..=`begin`: the hysteresis.
    pub keep: usize,
    /// How long a consensus must hold before it becomes an event.
    pub min_duration: Duration,
}

/// The rule of each shot group, and of open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// For classes with many training photos.
    pub many: Rule,
    /// For those between.
    pub medium: Rule,
    /// For classes with few, and for enrolled ones.
    pub few: Rule,
    /// For open frames.
    pub open: Rule,
}

impl Default for Rule {
    /// Three of the last five frames begin it, two keep it.
    fn default() -> Self {
        Rule { window: 5, begin: 3, keep: 2, min_duration: Duration::ZERO }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules::all(Rule::default())
    }
}

impl Rules {
    /// The same rule for all groups.
    pub fn all(rule: Rule) -> Rules {
        Rules { many: rule, medium: rule, few: rule, open: rule }
    }

    /// Checks the rules against `limits`.
    ///
    /// # Errors
    /// [`Error::Config`] for an impossible rule, [`Error::Limit`] for a window that is too long.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        for (name, rule) in [("many", self.many), ("medium", self.medium), ("few", self.few), ("open", self.open)] {
            let Rule { window, begin, keep, .. } = rule;
            if !(1 <= keep && keep <= begin && begin <= window) {
                return Err(Error::Config(format!(
                    "the consensus rule for {name} asks for {begin} of {window} frames to begin and {keep} to go on; \
                     it must be 1 <= keep <= begin <= window"
                )));
            }
            let limit = limits.consensus_frames.min(MAX_WINDOW);
            if window > limit {
                return Err(Error::Limit {
                    subject: format!("consensus rule for {name}"),
                    what: "consensus_frames",
                    value: window as u64,
                    limit: limit as u64,
                });
            }
        }
        Ok(())
    }

    fn of_shot(&self, shot: Shot) -> Rule {
        match shot {
            Shot::Many => self.many,
            Shot::Medium => self.medium,
            Shot::Few => self.few,
        }
    }

    fn longest(&self) -> usize {
        [self.many, self.medium, self.few, self.open].map(|rule| rule.window).into_iter().max().unwrap_or(1)
    }
}

/// The result of one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Number of the frame.
    pub frame: u64,
    /// Time of capture, by a clock that never goes back.
    pub time: Duration,
    /// Known or open.
    pub decision: Decision,
    /// Probability of the most probable class, 0..1.
    pub probability: f32,
    /// 10 / distance to the nearest centroid.
    pub reachability: f32,
    /// The nearest class.
    pub nearest: u32,
    /// The frame's name, if the bundle has a taxonomy.
    pub named: Option<Named>,
}

/// The consensus of the last frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreed {
    /// A class, or open.
    pub label: Decision,
    /// Share of the window that agrees, 0..1.
    pub share: f32,
    /// Sum of the agreeing frames' probabilities, divided by the length of the window: 0..1.
    pub support: f32,
}

/// Tracks the consensus of one stream.
#[derive(Clone, Debug)]
pub struct Consensus {
    rules: Rules,
    /// Shot group of each class.
    shots: Vec<Shot>,
    /// A longer pause between frames starts a new window.
    gap: Duration,
    /// The last frames, oldest first.
    last: Deque<Observation, MAX_WINDOW>,
    current: Option<Decision>,
}

impl Consensus {
    /// A consensus by `rules` on the classes of `bundle`. A pause longer than `gap` resets it.
    ///
    /// # Errors
    /// As [`Rules::check`].
    pub fn new(bundle: &Bundle, rules: Rules, gap: Duration, limits: &Limits) -> Result<Consensus> {
        rules.check(limits)?;
        let shots = bundle.classes.iter().map(|class| class.shot()).collect();
        Ok(Consensus { rules, shots, gap, last: Deque::new(), current: None })
    }

    /// The rule that holds for `label`.
    pub fn rule(&self, label: Decision) -> Rule {
        match label {
            Decision::Known(class) => self.shots.get(class).map_or(self.rules.few, |shot| self.rules.of_shot(*shot)),
            Decision::Enrolled(_) => self.rules.few,
            Decision::Open | Decision::Unclassified => self.rules.open,
        }
    }

    /// Adds a frame. Returns the consensus, if there is one.
    pub fn observe(&mut self, observation: Observation) -> Option<Agreed> {
        if self.last.back().is_some_and(|last| observation.time.saturating_sub(last.time) > self.gap) {
            self.clear();
        }
        while self.last.len() >= self.rules.longest() {
            self.last.pop_front();
        }
        // There is room: the deque is as long as the longest window.
        let _ = self.last.push_back(observation);
        let agreed = self.agree();
        self.current = agreed.map(|agreed| agreed.label);
        agreed
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.last.clear();
        self.current = None;
    }

    /// The frames in the rule's window that agree with `label`, oldest first.
    pub fn supporters(&self, label: Decision) -> impl Iterator<Item = &Observation> {
        let passed = self.last.len().saturating_sub(self.rule(label).window);
        self.last.iter().skip(passed).filter(move |o| o.decision == label)
    }

    fn agree(&self) -> Option<Agreed> {
        let labels = || self.last.iter().map(|o| o.decision);
        let known = labels().filter(|label| matches!(label, Decision::Known(_)));
        let known = known.filter_map(|label| self.qualifies(label));
        let known = known.reduce(|a, b| if self.beats(b, a, b.support, a.support) { b } else { a });
        let enrolled = labels().filter(|label| matches!(label, Decision::Enrolled(_)));
        let enrolled = enrolled.filter_map(|label| self.qualifies(label));
        let all = known.into_iter().chain(enrolled).chain(self.qualifies(Decision::Open));
        all.reduce(|a, b| if self.beats(b, a, b.share, a.share) { b } else { a })
    }

    /// Whether `a` wins over `b`: by the higher score. The current label wins a tie.
    fn beats(&self, a: Agreed, b: Agreed, score_a: f32, score_b: f32) -> bool {
        score_a > score_b || (score_a == score_b && self.current == Some(a.label) && a.label != b.label)
    }

    /// The consensus on `label`; `None` if its rule is not met.
    fn qualifies(&self, label: Decision) -> Option<Agreed> {
        let rule = self.rule(label);
        let (mut frames, mut sum) = (0, 0.0);
        for o in self.supporters(label) {
            frames += 1;
            sum += o.probability;
        }
        let needed = if self.current == Some(label) { rule.keep } else { rule.begin };
        let looked_at = self.last.len().min(rule.window) as f32;
        let agreed = Agreed { label, share: frames as f32 / looked_at, support: sum / looked_at };
        (frames >= needed).then_some(agreed)
    }
}

#[cfg(test)]
mod tests;
