//! Figures per class: which are weak, and what they are confused with.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bundle::{Bundle, Shot};
use crate::inference::Record;
use crate::labels::Label;
use crate::metrics::{Answer, Tally};

/// A known class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// Its id.
    pub class: String,
    /// Its name for people.
    pub name: String,
    /// Shot group.
    pub shot: Shot,
    /// Training photos.
    pub train_count: u64,
    /// Photos evaluated.
    pub photos: usize,
    /// Accuracy with the rule off.
    pub closed: Option<f64>,
    /// Accuracy with the rule on.
    pub open_set: Option<f64>,
    /// Photos called open.
    pub called_open: usize,
    /// Photos of any class, known or unknown, that were called this one.
    pub answered: usize,
    /// Share of these answers that are right.
    pub precision: Option<f64>,
    /// Other classes that its photos were taken for, most frequent first.
    pub taken_for: Vec<TakenFor>,
}

/// An unknown class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenClassRow {
    /// Its id in the labels.
    pub class: String,
    /// Photos evaluated.
    pub photos: usize,
    /// Those of them that were correctly called open.
    pub called_open: usize,
    /// The labels of the others, most frequent first.
    pub taken_for: Vec<TakenFor>,
}

/// A class that photos were taken for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TakenFor {
    /// Id of the class.
    pub class: String,
    /// Number of photos.
    pub photos: usize,
}

/// Photos of one class that were labelled as another class, or open.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confused {
    /// Id of the class that they are of.
    pub truth: String,
    /// Whether that class is known.
    pub known: bool,
    /// Id of the class that they were called, `None` for open.
    pub answer: Option<String>,
    /// Number of photos.
    pub photos: usize,
}

pub(super) fn classes(bundle: &Bundle, tallies: &[Tally], answers: &[Answer]) -> Vec<ClassRow> {
    let count = bundle.classes.len();
    let (mut answered, mut taken) = (vec![0; count], vec![BTreeMap::new(); count]);
    for answer in answers.iter().filter(|answer| !answer.open) {
        answered[answer.label] += 1;
        if let Some(truth) = answer.truth.filter(|truth| *truth != answer.label) {
            *taken[truth].entry(answer.label).or_default() += 1;
        }
    }
    let row = |(i, (class, tally)): (usize, (&crate::bundle::Class, &Tally))| ClassRow {
        class: class.id.clone(),
        name: class.name.clone(),
        shot: class.shot(),
        train_count: class.train_count,
        photos: tally.photos,
        closed: tally.closed(),
        open_set: tally.open_set(),
        called_open: tally.open,
        answered: answered[i],
        precision: (answered[i] > 0).then(|| tally.accepted as f64 / answered[i] as f64),
        taken_for: taken_for(bundle, &taken[i]),
    };
    bundle.classes.iter().zip(tallies).enumerate().map(row).collect()
}

/// The classes of `taken` by their numbers of photos, the largest first.
fn taken_for(bundle: &Bundle, taken: &BTreeMap<usize, usize>) -> Vec<TakenFor> {
    let taken_for =
        |(class, photos): (&usize, &usize)| TakenFor { class: bundle.classes[*class].id.clone(), photos: *photos };
    let mut all: Vec<TakenFor> = taken.iter().map(taken_for).collect();
    all.sort_by_key(|t| std::cmp::Reverse(t.photos));
    all
}

pub(super) fn open_classes(
    bundle: &Bundle,
    labels: &[Label],
    records: &[Record],
    answers: &[Answer],
) -> Vec<OpenClassRow> {
    let mut rows: BTreeMap<&str, (usize, BTreeMap<usize, usize>)> = BTreeMap::new();
    for (record, answer) in records.iter().zip(answers).filter(|(_, answer)| answer.truth.is_none()) {
        let (called_open, taken) = rows.entry(&labels[record.photo].class).or_default();
        if answer.open {
            *called_open += 1;
        } else {
            *taken.entry(answer.label).or_default() += 1;
        }
    }
    let row = |(class, (called_open, taken)): (&str, (usize, BTreeMap<usize, usize>))| {
        let taken_for = taken_for(bundle, &taken);
        let photos = called_open + taken_for.iter().map(|t| t.photos).sum::<usize>();
        OpenClassRow { class: class.into(), photos, called_open, taken_for }
    };
    rows.into_iter().map(row).collect()
}

pub(super) fn confusion(bundle: &Bundle, labels: &[Label], records: &[Record], answers: &[Answer]) -> Vec<Confused> {
    let mut counts: BTreeMap<(&str, bool, Option<&str>), usize> = BTreeMap::new();
    for (record, answer) in records.iter().zip(answers).filter(|(_, answer)| !answer.right()) {
        let called = (!answer.open).then(|| bundle.classes[answer.label].id.as_str());
        *counts.entry((&labels[record.photo].class, answer.truth.is_some(), called)).or_default() += 1;
    }
    let row = |((truth, known, answer), photos): ((&str, bool, Option<&str>), usize)| Confused {
        truth: truth.into(),
        known,
        answer: answer.map(Into::into),
        photos,
    };
    let mut rows: Vec<Confused> = counts.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.photos));
    rows
}
