//! What a report is made from, and which photos it shows.

use std::path::Path;

use oltr::bundle::Bundle;
use oltr::evaluate::Evaluation;
use oltr::labels::Label;
use oltr::metrics::Answer;
use oltr::survey::Record;

/// Photos that are shown of each kind of mistake.
const SHOWN: usize = 18;

/// All that the page is made from.
pub struct Material<'a> {
    /// Classes and rule.
    pub bundle: &'a Bundle,
    /// The figures.
    pub evaluation: &'a Evaluation,
    /// The photos.
    pub labels: &'a [Label],
    /// What came out for them.
    pub records: &'a [Record],
    /// Folder that the photos' paths start from.
    pub images: &'a Path,
    /// What was compared and required, in sentences.
    pub remarks: Vec<String>,
}

/// Photos of known classes that came out as another one, the most probable answers first.
pub fn confident_mistakes(records: &[Record], answers: &[Answer]) -> Vec<usize> {
    let mut mistakes: Vec<usize> = (0..records.len())
        .filter(|i| answers[*i].truth.is_some() && !answers[*i].open && !answers[*i].named())
        .collect();
    mistakes.sort_by(|a, b| records[*b].scores.probability.total_cmp(&records[*a].scores.probability));
    mistakes.truncate(SHOWN);
    mistakes
}

/// Photos of unknown things that were called a class, the most reachable first; of each class a few.
pub fn open_called_known(labels: &[Label], records: &[Record], answers: &[Answer]) -> Vec<usize> {
    const OF_EACH_CLASS: usize = 3;
    let mut taken: Vec<usize> =
        (0..records.len()).filter(|i| answers[*i].truth.is_none() && !answers[*i].open).collect();
    taken.sort_by(|a, b| records[*b].scores.reachability.total_cmp(&records[*a].scores.reachability));
    let mut shown = std::collections::HashMap::new();
    taken.retain(|i| {
        let of_class = shown.entry(labels[records[*i].photo].class.as_str()).or_insert(0);
        *of_class += 1;
        *of_class <= OF_EACH_CLASS
    });
    taken.truncate(SHOWN);
    taken
}
