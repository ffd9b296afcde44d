//! From a graph's outputs to scores: probability, reachability, nearest class. Pure functions.

mod kind;

use crate::error::{Error, Result};

pub use kind::ScoreKind;

/// The largest reachability that is reported, for a feature that equals a centroid (d_min = 0).
pub const MAX_REACHABILITY: f32 = f32::MAX;

/// What one frame's logits and distances say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// Class with the largest logit; the first of equals.
    pub class: usize,
    /// Softmax probability of that class, 0..1 (the published open score, paper section 4.1).
    pub probability: f32,
    /// Class with the smallest distance; the first of equals.
    pub nearest: usize,
    /// Distance to that class's centroid, d_min = min_k ‖v − c_k‖₂ (paper, equation 4).
    pub distance: f32,
    /// 10 / d_min, up to [`MAX_REACHABILITY`] (paper, equation 4, with the published code's factor 10).
    pub reachability: f32,
}

/// Scores of one frame from `logits` (K) and `distances` (K, all ≥ 0; or none, of a graph that has no centroids: then the
/// most probable class is the nearest, at an infinite distance).
///
/// # Errors
/// [`Error::BadInput`] for empty or unequal slices, a value that is not a number, or a negative distance: a network
/// that says so has said nothing, and the frame must not pass as known or open.
pub fn score(logits: &[f32], distances: &[f32]) -> Result<Scores> {
    if distances.is_empty() {
        let (class, probability) = most_probable(logits)?;
        return Ok(Scores { class, probability, nearest: class, distance: f32::INFINITY, reachability: 0.0 });
    }
    if logits.len() != distances.len() {
        return Err(bad("distances", format!("{} for {} logits", distances.len(), logits.len())));
    }
    if let Some(d) = distances.iter().find(|d| d.is_nan() || **d < 0.0) {
        return Err(bad("distances", format!("the network computed a distance of {d}; check its weights")));
    }
    let (class, probability) = most_probable(logits)?;
    let nearest = first_best(distances, |a, b| a < b);
    let distance = distances[nearest];
    Ok(Scores { class, probability, nearest, distance, reachability: reachability(distance) })
}

/// Reachability 10 / d_min for a distance ≥ 0 (paper, equation 4), up to [`MAX_REACHABILITY`].
pub fn reachability(d_min: f32) -> f32 {
    (10.0 / d_min).min(MAX_REACHABILITY)
}

/// Index of the largest logit and its softmax probability (0..1).
///
/// # Errors
/// [`Error::BadInput`] for no logits or one that is not finite.
pub fn most_probable(logits: &[f32]) -> Result<(usize, f32)> {
    if logits.is_empty() {
        return Err(bad("logits", "the network has no logits".into()));
    }
    if let Some(x) = logits.iter().find(|x| !x.is_finite()) {
        return Err(bad("logits", format!("the network computed {x}; check its weights")));
    }
    let class = first_best(logits, |a, b| a > b);
    let sum: f32 = logits.iter().map(|x| (x - logits[class]).exp()).sum();
    Ok((class, 1.0 / sum))
}

/// ln Σ exp z of at least one finite number, without overflow: the energy of logits (Liu et al., "Energy-based
/// Out-of-distribution Detection", NeurIPS 2020), and what each has to lose to become the logarithm of its probability.
pub fn log_sum_exp(logits: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + logits.map(|z| (z - largest).exp()).sum::<f64>().ln()
}

/// Softmax of finite `logits` into `probabilities`, both of length K; they sum to 1.
pub fn softmax(logits: &[f32], probabilities: &mut [f32]) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (p, x) in probabilities.iter_mut().zip(logits) {
        *p = (x - max).exp();
        sum += *p;
    }
    for p in probabilities {
        *p /= sum;
    }
}

/// The `n` most probable classes with their probabilities, best first; equals in class order.
pub fn top(logits: &[f32], n: usize) -> Vec<(usize, f32)> {
    let mut p = vec![0.0; logits.len()];
    softmax(logits, &mut p);
    let mut order: Vec<(usize, f32)> = p.into_iter().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(n);
    order
}

fn first_best(values: &[f32], better: impl Fn(f32, f32) -> bool) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if better(*v, values[best]) {
            best = i;
        }
    }
    best
}

fn bad(subject: &str, reason: String) -> Error {
    Error::BadInput { subject: subject.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_worked_example() {
        let s = score(&[1.0, 3.0, 2.0], &[5.0, 4.0, 2.5]).unwrap();
        assert_eq!((s.class, s.nearest), (1, 2));
        assert_eq!((s.distance, s.reachability), (2.5, 4.0));
        // 1 / (1 + e^-1 + e^-2)
        assert!((s.probability - 0.665_241).abs() < 1e-6, "{}", s.probability);
    }

    #[test]
    fn equals_go_to_the_first() {
        let s = score(&[2.0, 2.0], &[1.0, 1.0]).unwrap();
        assert_eq!((s.class, s.nearest, s.probability), (0, 0, 0.5));
    }

    #[test]
    fn a_feature_on_a_centroid_is_as_reachable_as_can_be_said() {
        let s = score(&[0.0, 1.0], &[0.0, 1.0]).unwrap();
        assert_eq!(s.reachability, MAX_REACHABILITY);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let (class, p) = most_probable(&[1e30, -1e30]).unwrap();
        assert_eq!((class, p), (0, 1.0));
        let mut p = [0.0; 2];
        softmax(&[3e38, 3e38], &mut p);
        assert_eq!(p, [0.5, 0.5]);
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for (logits, distances) in [
            (&[f32::NAN, 0.0][..], &[1.0, 1.0][..]),
            (&[f32::INFINITY, 0.0], &[1.0, 1.0]),
            (&[0.0, 0.0], &[f32::NAN, 1.0]),
            (&[0.0, 0.0], &[-1.0, 1.0]),
            (&[0.0, 0.0], &[1.0]),
            (&[], &[]),
            (&[0.0], &[1.0, 1.0]),
        ] {
            assert!(score(logits, distances).is_err(), "{logits:?} {distances:?}");
        }
    }

    #[test]
    fn a_graph_without_centroids_has_a_class_and_a_probability() {
        let s = score(&[0.0, 1.0], &[]).unwrap();
        assert_eq!((s.class, s.nearest, s.distance, s.reachability), (1, 1, f32::INFINITY, 0.0));
        assert!((s.probability - 0.731_058_6).abs() < 1e-6);
    }

    #[test]
    fn top_is_sorted_and_bounded() {
        let t = top(&[0.0, 2.0, 1.0, 2.0], 3);
        assert_eq!(t.iter().map(|x| x.0).collect::<Vec<_>>(), [1, 3, 2]);
        assert_eq!(top(&[0.0], 5).len(), 1);
    }
}
