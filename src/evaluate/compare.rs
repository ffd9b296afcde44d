//! Compares two bundles on the same photos: float against int8, old against new.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::metrics::{Answer, McNemar, mcnemar};

/// Differences between the decisions of two bundles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Photos that both decided on.
    pub photos: usize,
    /// Share of photos with a different decision: another class, or a change between known and
    /// open.
    pub drift: f64,
    /// Photos with a different decision.
    pub changed: usize,
    /// Those of them that changed from known to open.
    pub known_to_open: usize,
    /// Those of them that changed from open to known.
    pub open_to_known: usize,
    /// Those of them that changed class.
    pub other_class: usize,
    /// Photos whose most probable class differs, apart from the rules.
    pub other_label: usize,
    /// McNemar's test: is one of them right more often?
    pub mcnemar: McNemar,
}

/// Compares the answers of two bundles to the same photos. Labels are indices of one list of
/// classes.
///
/// # Errors
/// [`Error::BadInput`] if the photos differ, or there are none.
pub fn compare(first: &[Answer], second: &[Answer]) -> Result<Comparison> {
    let same = first.len() == second.len() && first.iter().zip(second).all(|(a, b)| a.truth == b.truth);
    if !same || first.is_empty() {
        let reason = format!("{} and {} photos: both models must read the same ones", first.len(), second.len());
        return Err(Error::BadInput { subject: "comparison".into(), reason });
    }
    let count = |test: fn(&Answer, &Answer) -> bool| first.iter().zip(second).filter(|(a, b)| test(a, b)).count();
    let known_to_open = count(|a, b| !a.open && b.open);
    let open_to_known = count(|a, b| a.open && !b.open);
    let other_class = count(|a, b| !a.open && !b.open && a.label != b.label);
    let changed = known_to_open + open_to_known + other_class;
    Ok(Comparison {
        photos: first.len(),
        drift: changed as f64 / first.len() as f64,
        changed,
        known_to_open,
        open_to_known,
        other_class,
        other_label: count(|a, b| a.label != b.label),
        mcnemar: mcnemar(count(|a, b| a.right() && !b.right()) as u64, count(|a, b| !a.right() && b.right()) as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(truth: impl Into<Option<usize>>, label: usize, open: bool) -> Answer {
        Answer { truth: truth.into(), label, open }
    }

    #[test]
    fn changes_of_a_worked_example() {
        let first = [answer(0, 0, false), answer(0, 1, false), answer(1, 1, false), answer(None, 0, true)];
        let second = [answer(0, 0, true), answer(0, 0, false), answer(1, 1, false), answer(None, 1, true)];
        let c = compare(&first, &second).unwrap();
        assert_eq!((c.photos, c.changed, c.drift), (4, 2, 0.5));
        assert_eq!((c.known_to_open, c.open_to_known, c.other_class, c.other_label), (1, 0, 1, 2));
        assert_eq!((c.mcnemar.only_first, c.mcnemar.only_second, c.mcnemar.p), (1, 1, 1.0));
        let back = compare(&second, &first).unwrap();
        assert_eq!((back.known_to_open, back.open_to_known), (0, 1));
        assert_eq!(compare(&first, &first).unwrap().drift, 0.0);
    }

    #[test]
    fn other_photos_cannot_be_compared() {
        let one = [answer(0, 0, false)];
        assert!(compare(&one, &[]).is_err());
        assert!(compare(&[], &[]).is_err());
        assert!(compare(&one, &[answer(1, 0, false)]).is_err());
    }
}
