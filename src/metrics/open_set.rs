//! Accuracies by class and shot group, and the F-measure of the open set.

use serde::Serialize;

use crate::bundle::{Class, Shot};

/// What one photo shows and what was said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its class, `None` for a photo of something unknown.
    pub truth: Option<usize>,
    /// The class that the network names.
    pub label: usize,
    /// Whether the rule says open.
    pub open: bool,
}

impl Answer {
    /// Whether the network names the right class, whatever the rule says.
    pub fn named(&self) -> bool {
        self.truth == Some(self.label)
    }

    /// Whether the decision is right: the class of a known photo, open for an unknown one.
    pub fn right(&self) -> bool {
        match self.truth {
            Some(class) => !self.open && class == self.label,
            None => self.open,
        }
    }
}

/// How the photos of one class came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Photos of the class.
    pub photos: usize,
    /// Of them, those that the network names rightly (closed set).
    pub named: usize,
    /// Of them, those that the rule also accepts (open set).
    pub accepted: usize,
    /// Of them, those called open.
    pub open: usize,
}

impl Tally {
    /// Accuracy with the rule off; `None` without photos.
    pub fn closed(&self) -> Option<f64> {
        share(self.named, self.photos)
    }

    /// Accuracy with the rule on, a photo called open being wrong; `None` without photos.
    pub fn open_set(&self) -> Option<f64> {
        share(self.accepted, self.photos)
    }
}

/// The tally of each of `classes` known classes.
pub fn by_class(answers: impl IntoIterator<Item = Answer>, classes: usize) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); classes];
    for answer in answers {
        if let Some(tally) = answer.truth.and_then(|class| tallies.get_mut(class)) {
            tally.photos += 1;
            tally.named += usize::from(answer.named());
            tally.accepted += usize::from(answer.right());
            tally.open += usize::from(answer.open);
        }
    }
    tallies
}

/// Mean over the classes of a shot group of their accuracies, as published. A class without photos does not count;
/// `None` where none is left.
pub fn group_mean(
    tallies: &[Tally],
    classes: &[Class],
    shot: Shot,
    accuracy: impl Fn(&Tally) -> Option<f64>,
) -> Option<f64> {
    let group = tallies.iter().zip(classes).filter(|(_, class)| class.shot() == shot);
    mean(group.filter_map(|(tally, _)| accuracy(tally)))
}

/// Mean over all classes with photos of their accuracies; `None` where there is none.
pub fn macro_mean(tallies: &[Tally], accuracy: impl Fn(&Tally) -> Option<f64>) -> Option<f64> {
    mean(tallies.iter().filter_map(accuracy))
}

/// The terms of the open-set F-measure, counted as the authors of OLTR do since 2020-01-29.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FMeasure {
    /// Known photos named rightly and accepted.
    pub true_positives: usize,
    /// Known photos that came out as anything else: another class, or open. (Before 2020-01-29, and in the paper, this
    /// counted only known photos that were *accepted* under another name.)
    pub false_positives: usize,
    /// Open photos called a class.
    pub false_negatives: usize,
    /// Open photos called open; not part of F.
    pub true_negatives: usize,
}

impl FMeasure {
    /// The name of the formula in JSON.
    pub const FORMULA: &'static str = "2020-01-29";

    /// The terms of `answers`.
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> FMeasure {
        let mut f = FMeasure::default();
        for answer in answers {
            let term = match (answer.truth, answer.right()) {
                (Some(_), true) => &mut f.true_positives,
                (Some(_), false) => &mut f.false_positives,
                (None, true) => &mut f.true_negatives,
                (None, false) => &mut f.false_negatives,
            };
            *term += 1;
        }
        f
    }

    /// P = TP / (TP + FP); `None` without known photos.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// R = TP / (TP + FN); `None` where both are 0.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// F = 2PR / (P + R), 0..1. 0 where nothing known came out right; `None` unless there are known and open photos,
    /// because without either it says nothing about an open set.
    pub fn f(&self) -> Option<f64> {
        let known = self.true_positives + self.false_positives;
        let open = self.true_negatives + self.false_negatives;
        if known == 0 || open == 0 {
            return None;
        }
        // The same as 2PR / (P + R), without dividing 0 by 0.
        let tp = self.true_positives as f64;
        Some(2.0 * tp / (2.0 * tp + (self.false_positives + self.false_negatives) as f64))
    }

    /// Share of open photos called a class; `None` without open photos.
    pub fn open_called_known(&self) -> Option<f64> {
        share(self.false_negatives, self.false_negatives + self.true_negatives)
    }
}

/// `part` of `whole`; `None` of nothing.
pub(crate) fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), x| (sum + x, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(truth: impl Into<Option<usize>>, label: usize, open: bool) -> Answer {
        Answer { truth: truth.into(), label, open }
    }

    fn class(train_count: u64) -> Class {
        Class { id: String::new(), name: String::new(), train_count }
    }

    /// Class 0: 4 photos, 3 named, of these 1 called open. Class 1: 2 photos, 1 named. Class 2: none. Class 3: 1, named.
    /// Open: 3 photos, 2 called open.
    fn answers() -> Vec<Answer> {
        vec![
            answer(0, 0, false),
            answer(0, 0, false),
            answer(0, 0, true),
            answer(0, 1, false),
            answer(1, 1, false),
            answer(1, 0, true),
            answer(3, 3, false),
            answer(None, 0, true),
            answer(None, 3, true),
            answer(None, 1, false),
        ]
    }

    #[test]
    fn tallies_of_a_worked_example() {
        let tallies = by_class(answers(), 4);
        let expected = [(4, 3, 2, 1), (2, 1, 1, 1), (0, 0, 0, 0), (1, 1, 1, 0)];
        let found: Vec<_> = tallies.iter().map(|t| (t.photos, t.named, t.accepted, t.open)).collect();
        assert_eq!(found, expected);
        assert_eq!(macro_mean(&tallies, Tally::closed), Some((0.75 + 0.5 + 1.0) / 3.0));
        assert_eq!(macro_mean(&tallies, Tally::open_set), Some((0.5 + 0.5 + 1.0) / 3.0));
    }

    #[test]
    fn groups_are_means_of_classes_and_may_be_empty() {
        let tallies = by_class(answers(), 4);
        // The class without test photos is the only medium one, and one of the many.
        let classes = [class(100), class(20), class(50), class(4)];
        let of = |shot| group_mean(&tallies, &classes, shot, Tally::closed);
        assert_eq!((of(Shot::Many), of(Shot::Medium), of(Shot::Few)), (Some(0.75), None, Some(0.75)));
        let classes = [class(100), class(20), class(300), class(21)];
        let of = |shot| group_mean(&tallies, &classes, shot, Tally::open_set);
        assert_eq!((of(Shot::Many), of(Shot::Medium), of(Shot::Few)), (Some(0.5), Some(1.0), Some(0.5)));
    }

    #[test]
    fn f_of_a_worked_example() {
        let f = FMeasure::new(answers());
        let expected = FMeasure { true_positives: 4, false_positives: 3, false_negatives: 1, true_negatives: 2 };
        assert_eq!(f, expected);
        let (p, r) = (4.0 / 7.0, 4.0 / 5.0);
        assert_eq!((f.precision(), f.recall()), (Some(p), Some(r)));
        assert!((f.f().unwrap() - 2.0 * p * r / (p + r)).abs() < 1e-15);
        assert_eq!(f.open_called_known(), Some(1.0 / 3.0));
    }

    #[test]
    fn f_counts_each_of_its_terms() {
        let f = |answers: &[Answer]| FMeasure::new(answers.iter().copied()).f();
        let base = [answer(0, 0, false), answer(0, 0, false), answer(None, 0, true)];
        assert_eq!(f(&base), Some(1.0));
        // One more of each kind of error weighs the same; an open photo called open weighs nothing.
        for wrong in [answer(0, 1, false), answer(0, 0, true), answer(0, 1, true), answer(None, 1, false)] {
            assert_eq!(f(&[&base[..], &[wrong]].concat()), Some(0.8), "{wrong:?}");
        }
        assert_eq!(f(&[&base[..], &[answer(None, 1, true)]].concat()), Some(1.0));
    }

    #[test]
    fn what_is_undefined_is_none() {
        assert_eq!(FMeasure::default().f(), None);
        assert_eq!(FMeasure::new([answer(0, 0, false)]).f(), None);
        assert_eq!(FMeasure::new([answer(None, 0, false)]).f(), None);
        assert_eq!(FMeasure::new([answer(0, 1, false), answer(None, 0, false)]).f(), Some(0.0));
        assert_eq!(macro_mean(&by_class([], 3), Tally::closed), None);
        assert_eq!(Tally::default().open_set(), None);
    }
}
