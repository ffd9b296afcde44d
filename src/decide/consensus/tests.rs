use proptest::prelude::*;

use super::*;
use crate::decide::testing::{bundle, frames, observation};

const OPEN: Decision = Decision::Open;
// Classes of many, medium and few shots.
const MANY: Decision = Decision::Known(0);
const MEDIUM: Decision = Decision::Known(1);
const FEW: Decision = Decision::Known(2);
const GAP: Duration = Duration::from_secs(10);

fn rule(begin: usize, window: usize, keep: usize) -> Rule {
    Rule { window, begin, keep, ..Rule::default() }
}

fn consensus(rules: Rules) -> Consensus {
    Consensus::new(&bundle(), rules, GAP, &Limits::default()).unwrap()
}

/// The consensus after each frame, at one frame per second.
fn labels(rules: Rules, frames: &[(Decision, f32)]) -> Vec<Option<Decision>> {
    let mut consensus = consensus(rules);
    let mut observe = |(i, (decision, p)): (usize, &(Decision, f32))| {
        consensus.observe(observation(i as u64, 1.0, *decision, *p)).map(|agreed| agreed.label)
    };
    frames.iter().enumerate().map(&mut observe).collect()
}

#[test]
fn a_consensus_begins_and_goes_on_by_its_rule() {
    let [f, m] = [(FEW, 0.5), (MANY, 0.5)];
    let none = None;
    // Three of the last four begin it, one keeps it.
    let few = Some(FEW);
    let said = labels(Rules::all(rule(3, 4, 1)), &[f, f, m, f, m, (OPEN, 0.1), m, m]);
    // Only then there are three of the other, and none of this, among the last four.
    assert_eq!(said, [none, none, none, few, few, few, few, Some(MANY)]);
}

#[test]
fn each_shot_group_has_its_rule() {
    let rules = Rules { many: rule(1, 1, 1), medium: rule(2, 3, 1), few: rule(4, 5, 2), open: rule(2, 2, 2) };
    let first = |decision| labels(rules, &[(decision, 0.5); 6]).iter().position(|label| *label == Some(decision));
    assert_eq!([first(MANY), first(MEDIUM), first(FEW), first(OPEN)], [Some(0), Some(1), Some(3), Some(1)]);
}

#[test]
fn classes_are_weighed_by_probability_and_open_by_frames() {
    let rules = Rules::all(rule(2, 5, 2));
    let last = |frames: &[(Decision, f32)]| *labels(rules, frames).last().unwrap();
    // Two sure frames against three unsure ones.
    assert_eq!(last(&[(MANY, 0.9), (FEW, 0.2), (FEW, 0.3), (MANY, 0.9), (FEW, 0.2)]), Some(MANY));
    assert_eq!(last(&[(MANY, 0.2), (FEW, 0.3), (FEW, 0.3), (MANY, 0.2), (FEW, 0.3)]), Some(FEW));
    // Open frames have low probabilities, so only their number counts.
    assert_eq!(last(&[(OPEN, 0.05), (MANY, 0.9), (OPEN, 0.05), (MANY, 0.9), (OPEN, 0.05)]), Some(OPEN));
    assert_eq!(last(&[(OPEN, 0.05), (MANY, 0.1), (OPEN, 0.9), (MANY, 0.1), (MANY, 0.1)]), Some(MANY));
}

#[test]
fn enrolled_classes_are_weighed_by_frames_and_need_as_many_as_rare_ones() {
    let [a, b] = [Decision::Enrolled(0), Decision::Enrolled(1)];
    let rules = Rules::all(rule(2, 5, 2));
    let last = |frames: &[(Decision, f32)]| *labels(rules, frames).last().unwrap();
    // The network's probabilities do not cover an enrolled class.
    assert_eq!(last(&[(a, 0.05), (MANY, 0.9), (a, 0.05), (MANY, 0.9), (a, 0.05)]), Some(a));
    assert_eq!(last(&[(a, 0.9), (MANY, 0.1), (a, 0.9), (MANY, 0.1), (MANY, 0.1)]), Some(MANY));
    assert_eq!(last(&[(a, 0.9), (b, 0.1), (a, 0.9), (b, 0.1), (b, 0.1)]), Some(b));
    assert_eq!(last(&[(OPEN, 0.9), (b, 0.1), (OPEN, 0.9), (b, 0.1), (b, 0.1)]), Some(b));
    assert_eq!(last(&[(OPEN, 0.1), (b, 0.9), (OPEN, 0.1), (b, 0.9), (OPEN, 0.1)]), Some(OPEN));
    let rules = Rules { many: rule(1, 1, 1), medium: rule(2, 3, 1), few: rule(4, 5, 2), open: rule(2, 2, 2) };
    assert_eq!(labels(rules, &[(b, 0.5); 5]), [None, None, None, Some(b), Some(b)]);
}

#[test]
fn of_equals_the_present_one_stays() {
    let said = labels(Rules::all(rule(1, 2, 1)), &[(MANY, 0.5), (FEW, 0.5), (FEW, 0.5)]);
    assert_eq!(said, [Some(MANY), Some(MANY), Some(FEW)]);
    let said = labels(Rules::all(rule(1, 2, 1)), &[(OPEN, 0.5), (FEW, 0.5), (FEW, 0.5)]);
    assert_eq!(said, [Some(OPEN), Some(OPEN), Some(FEW)]);
}

#[test]
fn frames_far_apart_do_not_belong_together() {
    let mut consensus = consensus(Rules::all(rule(2, 3, 1)));
    let mut at = |seconds: f32| {
        let time = Duration::from_secs_f32(seconds);
        consensus.observe(Observation { time, ..observation(0, 1.0, MANY, 0.5) }).is_some()
    };
    assert_eq!([at(0.0), at(10.0), at(20.5), at(21.0)], [false, true, false, true]);
}

#[test]
fn impossible_rules_are_refused() {
    let limits = Limits::with(|limits| limits.consensus_frames = 8);
    for (rule, fine) in [
        (rule(1, 1, 1), true),
        (rule(8, 8, 8), true),
        (rule(0, 1, 0), false),
        (rule(1, 1, 0), false),
        (rule(3, 2, 1), false),
        (rule(1, 2, 2), false),
        (rule(1, 9, 1), false),
    ] {
        for rules in [Rules { few: rule, ..Rules::default() }, Rules { open: rule, ..Rules::default() }] {
            assert_eq!(rules.check(&limits).is_ok(), fine, "{rule:?}");
        }
    }
    let wide = Limits::with(|limits| limits.consensus_frames = usize::MAX);
    assert!(Rules::all(rule(1, MAX_WINDOW + 1, 1)).check(&wide).is_err(), "more than memory is there for");
}

/// The rule in one line: enough of the last frames agree.
fn agrees(frames: &[Observation], rule: Rule, label: Decision, needed: usize) -> bool {
    frames.iter().rev().take(rule.window).filter(|o| o.decision == label).count() >= needed
}

proptest! {
    #[test]
    fn what_is_agreed_on_is_what_the_rule_asks_for(frames in frames(), rules in rules()) {
        let mut consensus = consensus(rules);
        let mut current = None;
        for (i, o) in frames.iter().enumerate() {
            let past = &frames[..=i];
            let agreed = consensus.observe(*o);
            let needed = |label| {
                let rule = consensus.rule(label);
                (rule, if current == Some(label) { rule.keep } else { rule.begin })
            };
            let qualified: Vec<Decision> = [OPEN, MANY, MEDIUM, FEW]
                .into_iter()
                .filter(|label| { let (rule, n) = needed(*label); agrees(past, rule, *label, n) })
                .collect();
            match agreed {
                None => prop_assert!(qualified.is_empty(), "{qualified:?}"),
                Some(agreed) => {
                    prop_assert!(qualified.contains(&agreed.label), "{agreed:?} of {qualified:?}");
                    prop_assert!(agreed.share > 0.0 && agreed.share <= 1.0);
                    prop_assert!(agreed.support >= 0.0 && agreed.support <= agreed.share);
                }
            }
            current = agreed.map(|agreed| agreed.label);
        }
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let rule = || {
        (1..=MAX_WINDOW, 0.0..1.0, 0.0..1.0).prop_map(|(window, begin, keep)| {
            let part = |of: usize, share: f64| 1 + ((of - 1) as f64 * share) as usize;
            let begin = part(window, begin);
            rule(begin, window, part(begin, keep))
        })
    };
    (rule(), rule(), rule(), rule()).prop_map(|(many, medium, few, open)| Rules { many, medium, few, open })
}
