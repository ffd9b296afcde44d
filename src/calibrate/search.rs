//! The threshold on one score that serves a target.

use super::{Rates, Target};
use crate::metrics::{FMeasure, needed};

/// The fields of a photo that a threshold needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Larger means known; at or above the threshold means accepted. Minus infinity is never accepted.
    pub score: f64,
    pub known: bool,
    /// Whether its label is right.
    pub right: bool,
}

/// The threshold for `target` over `samples`, which are sorted in place. `None` if no threshold reaches it.
pub(super) fn threshold(samples: &mut [Sample], target: Target) -> Option<f64> {
    samples.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    let known = samples.iter().filter(|s| s.known).count();
    let mut search = Search { target, known, open: samples.len() - known, best: None };
    let mut terms = FMeasure { false_positives: known, true_negatives: samples.len() - known, ..FMeasure::default() };
    let highest = samples.first()?.score;
    search.consider(&terms, 0, (highest as f32).next_up().into());
    let (mut i, mut accepted) = (0, 0);
    while i < samples.len() && samples[i].score > f64::NEG_INFINITY {
        let score = samples[i].score;
        while let Some(sample) = samples.get(i).filter(|s| s.score == score) {
            accepted += usize::from(sample.known);
            let right = usize::from(sample.known && sample.right);
            terms.true_positives += right;
            terms.false_positives -= right;
            let open = usize::from(!sample.known);
            terms.false_negatives += open;
            terms.true_negatives -= open;
            i += 1;
        }
        let next = samples.get(i).map_or(f64::NEG_INFINITY, |s| s.score);
        search.consider(&terms, accepted, between(next, score));
    }
    search.best.map(|(_, threshold)| threshold)
}

/// Thresholds from the highest down, and the best so far.
struct Search {
    target: Target,
    known: usize,
    open: usize,
    /// How well it serves, and the threshold.
    best: Option<(f64, f64)>,
}

impl Search {
    fn consider(&mut self, terms: &FMeasure, accepted: usize, threshold: f64) {
        let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let worth = match self.target {
            // The first that suffices stays, the others are worth no more.
            Target::KnownAccept(share) => (accepted >= needed(share, self.known)).then_some(1.0),
            // The last that suffices is worth most.
            Target::OpenReject(share) => {
                let suffices = terms.true_negatives >= needed(share, self.open);
                suffices.then_some(accepted as f64 + terms.false_negatives as f64)
            }
            Target::MaxF => Some(terms.f().unwrap_or(0.0)),
            Target::Balanced => Some(share(accepted, self.known) + share(terms.true_negatives, self.open)),
        };
        if let Some(worth) = worth.filter(|worth| self.best.is_none_or(|(best, _)| *worth > best)) {
            self.best = Some((worth, threshold));
        }
    }
}

/// A threshold above `lower` and not above `upper`, in the middle where single precision allows.
fn between(lower: f64, upper: f64) -> f64 {
    let middle = f64::from((lower + (upper - lower) / 2.0) as f32);
    if lower.is_finite() && middle > lower && middle <= upper { middle } else { upper }
}

/// Rates of `samples` at `threshold`.
pub(super) fn measure<'a>(samples: impl Iterator<Item = &'a Sample>, threshold: f64) -> Rates {
    let (mut terms, mut accepted) = (FMeasure::default(), 0);
    for sample in samples {
        let known = sample.score >= threshold;
        accepted += usize::from(known && sample.known);
        let term = match (sample.known, known) {
            (true, true) if sample.right => &mut terms.true_positives,
            (true, _) => &mut terms.false_positives,
            (false, true) => &mut terms.false_negatives,
            (false, false) => &mut terms.true_negatives,
        };
        *term += 1;
    }
    let known = terms.true_positives + terms.false_positives;
    Rates {
        known_accepted: (known > 0).then(|| accepted as f64 / known as f64),
        open_rejected: terms.open_called_known().map(|called| 1.0 - called),
        f_measure: terms.f(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(score: f64, known: bool, right: bool) -> Sample {
        Sample { score, known, right }
    }

    /// From the top: 9 and 8 known and right, 7 open, 6 known and right, 5 known and wrong, 4 open, 3 open, 2 known
    /// and right, 1 open.
    fn samples() -> Vec<Sample> {
        let known = [(9.0, true), (8.0, true), (6.0, true), (5.0, false), (2.0, true)];
        let known = known.map(|(score, right)| sample(score, true, right));
        let open = [7.0, 4.0, 3.0, 1.0].map(|score| sample(score, false, false));
        open.into_iter().chain(known).collect()
    }

    fn find(target: Target) -> Option<f64> {
        threshold(&mut samples(), target)
    }

    #[test]
    fn each_target_finds_its_cut() {
        // 4 of 5 known: down to 5.
        assert_eq!(find(Target::KnownAccept(0.8)), Some(4.5));
        assert_eq!(find(Target::KnownAccept(0.81)), Some(2.0 - 0.5));
        assert_eq!(find(Target::KnownAccept(0.01)), Some(8.5));
        // 3 of 4 open: all but the 7; as low as possible.
        assert_eq!(find(Target::OpenReject(0.75)), Some(4.5));
        assert_eq!(find(Target::OpenReject(1.0)), Some(7.5));
        // Youden: at 5, 4/5 of the known and 3/4 of the open.
        assert_eq!(find(Target::Balanced), Some(4.5));
        // F = 2TP / (2TP + FP + FN): 3 right of 5 and 1 open accepted at 6: 6/9; at 2: 8/12; the higher cut is first.
        assert_eq!(find(Target::MaxF), Some(5.5));
    }

    #[test]
    fn what_is_measured_at_a_cut_is_what_was_asked_for() {
        let all = samples();
        let rates = measure(all.iter(), find(Target::KnownAccept(0.8)).unwrap());
        assert_eq!((rates.known_accepted, rates.open_rejected), (Some(0.8), Some(0.75)));
        // TP 3, FP 2, FN 1.
        assert_eq!(rates.f_measure, Some(6.0 / 9.0));
        assert_eq!(measure([].iter(), 1.0), Rates::default());
    }

    #[test]
    fn every_share_is_reached_on_the_photos_themselves() {
        for percent in 1..=100 {
            let share = f64::from(percent) / 100.0;
            let accept = measure(samples().iter(), find(Target::KnownAccept(share)).unwrap());
            assert!(accept.known_accepted.unwrap() >= share, "{share}");
            let reject = measure(samples().iter(), find(Target::OpenReject(share)).unwrap());
            assert!(reject.open_rejected.unwrap() >= share, "{share}");
        }
    }

    #[test]
    fn neighbours_in_single_precision_are_distinguished() {
        let low = 1.0f32;
        let high = low.next_up();
        let mut two = [sample(high.into(), true, true), sample(low.into(), false, false)];
        let t = threshold(&mut two, Target::OpenReject(1.0)).unwrap() as f32;
        assert!(t > low && t <= high);
        let t = threshold(&mut two[1..], Target::OpenReject(1.0)).unwrap() as f32;
        assert_eq!(t, low.next_up());
    }

    #[test]
    fn ties_fall_on_one_side_together() {
        let mut level = [sample(1.0, true, true), sample(1.0, true, true), sample(1.0, false, false)];
        assert_eq!(threshold(&mut level, Target::KnownAccept(0.5)), Some(1.0));
    }

    #[test]
    fn what_cannot_be_reached_is_none() {
        let never = sample(f64::NEG_INFINITY, true, true);
        let mut some = [sample(1.0, true, true), never];
        assert_eq!(threshold(&mut some, Target::KnownAccept(0.5)), Some(1.0));
        assert_eq!(threshold(&mut some, Target::KnownAccept(0.6)), None);
        assert_eq!(threshold(&mut [], Target::MaxF), None);
    }
}
