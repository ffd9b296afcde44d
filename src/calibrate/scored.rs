//! A threshold for scores of the caller's own, known and open apart, without photos or a bundle.

use super::search::{Sample, measure, threshold};
use super::{Rates, Target};
use crate::error::{Error, Result};

/// The best threshold for `target` on `known`, scores of known things, and `open`, scores of all others, with the rates
/// that it reaches on them. Larger scores mean known. A score at or above the threshold is accepted.
///
/// For [`Target::MaxF`] every known thing counts as rightly labelled.
///
/// # Errors
/// [`Error::BadInput`] for a score that is not a number, for missing scores that the target needs, and for a target
/// that no threshold reaches.
pub fn threshold_of(known: &[f64], open: &[f64], target: Target) -> Result<(f64, Rates)> {
    let bad = |reason: &str| Err(Error::BadInput { subject: "scores".into(), reason: reason.into() });
    if known.iter().chain(open).any(|score| score.is_nan()) {
        return bad("one is not a number; leave out what the network said nothing about");
    }
    if known.is_empty() && !matches!(target, Target::OpenReject(_)) {
        return bad("there are none of known things; hand in at least one");
    }
    if open.is_empty() && target.needs_open() {
        return bad("there are none of open things, which this target needs; use known-accept, or hand in some");
    }
    let sample = |known| move |score: &f64| Sample { score: *score, known, right: known };
    let mut samples: Vec<Sample> = known.iter().map(sample(true)).chain(open.iter().map(sample(false))).collect();
    match threshold(&mut samples, target) {
        Some(found) => Ok((found, measure(samples.iter(), found))),
        None => bad("no threshold reaches the target on them; ask for less"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_serves_its_target() {
        let known = [1.0, 2.0, 3.0, 4.0];
        let open = [0.5, 1.5, 2.5];
        let (at, rates) = threshold_of(&known, &open, Target::KnownAccept(0.75)).unwrap();
        assert!(at > 1.5 && at <= 2.0, "{at}");
        assert_eq!(rates.known_accepted, Some(0.75));
        assert!(rates.open_rejected.is_some_and(|share| (share - 2.0 / 3.0).abs() < 1e-9));
        let (at, rates) = threshold_of(&known, &open, Target::OpenReject(1.0)).unwrap();
        assert!(at > 2.5 && at <= 3.0, "{at}");
        assert_eq!((rates.known_accepted, rates.open_rejected), (Some(0.5), Some(1.0)));
    }

    #[test]
    fn scores_that_cannot_serve_are_refused() {
        for (known, open, target) in [
            (&[f64::NAN][..], &[1.0][..], Target::Balanced),
            (&[], &[1.0], Target::Balanced),
            (&[1.0], &[], Target::Balanced),
            (&[1.0], &[], Target::OpenReject(0.9)),
        ] {
            let error = threshold_of(known, open, target).unwrap_err();
            assert!(error.to_string().starts_with("scores: "), "{error}");
        }
    }
}
