//! All answers as comma separated values, one photo a line.

use oltr::decide::Decider;
use oltr::metrics::Answer;
use oltr::{Error, Result};

use super::material::Material;

/// The columns.
const HEADER: [&str; 12] = [
    "path",
    "class",
    "role",
    "decision",
    "label",
    "name",
    "outcome",
    "probability",
    "reachability",
    "threshold",
    "nearest",
    "distance",
];

/// Outcome of an answer against its label.
pub fn outcome(answer: &Answer) -> &'static str {
    match (answer.truth, answer.open) {
        _ if answer.right() => "right",
        (Some(_), true) => "known called open",
        (Some(_), false) => "wrong class",
        (None, _) => "unknown called known",
    }
}

/// The table of `answers`, in the order of the labels. Unreadable photos come last.
pub fn table(material: &Material, answers: &[Answer]) -> Result<Vec<u8>> {
    let failed = |e: csv::Error| Error::Internal(format!("the answers cannot be written: {e}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).map_err(failed)?;
    let decider = Decider::new(material.bundle);
    let classes = &material.bundle.classes;
    for (record, answer) in material.records.iter().zip(answers) {
        let label = &material.labels[record.photo];
        let scores = &record.scores;
        let (id, name) = match answer.open {
            true => ("", ""),
            false => (classes[answer.label].id.as_str(), material.names.of(answer.label)),
        };
        let row = [
            text(&label.path),
            text(&label.class),
            role(label.known).into(),
            if answer.open { "open" } else { "known" }.into(),
            text(id),
            text(name),
            outcome(answer).into(),
            scores.probability.to_string(),
            scores.reachability.to_string(),
            decider.decide(scores).threshold.to_string(),
            text(&classes[scores.nearest].id),
            scores.distance.to_string(),
        ];
        writer.write_record(row).map_err(failed)?;
    }
    for (photo, _) in material.failures {
        let label = &material.labels[*photo];
        let mut row: [String; HEADER.len()] = Default::default();
        (row[0], row[1], row[2]) = (text(&label.path), text(&label.class), role(label.known).into());
        row[6] = "unreadable".into();
        writer.write_record(row).map_err(failed)?;
    }
    writer.into_inner().map_err(|e| Error::Internal(format!("the answers cannot be written: {e}")))
}

fn role(known: bool) -> &'static str {
    if known { "known" } else { "unknown" }
}

/// `text` as a cell that is no formula.
fn text(text: &str) -> String {
    oltr::text::cell(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_distinguished() {
        let answer = |truth, label, open| outcome(&Answer { truth, label, open });
        assert_eq!(answer(Some(1), 1, false), "right");
        assert_eq!(answer(Some(1), 1, true), "known called open");
        assert_eq!(answer(Some(1), 2, false), "wrong class");
        assert_eq!(answer(None, 2, false), "unknown called known");
        assert_eq!(answer(None, 2, true), "right");
    }
}
