//! Temperature scaling: makes probabilities match how often they are right.
//!
//! Logits z of the known photos are divided by one number T > 0 (Guo, Pleiss, Sun and Weinberger, "On Calibration of
//! Modern Neural Networks", ICML 2017). T has the largest posterior of two factors: the likelihood of the photos'
//! classes under softmax(z / T), and a prior with ln T normal around 0 and a deviation of 1. The prior weighs less
//! than one photo in most sets. It keeps T finite if few photos are all named rightly.
//!
//! T changes neither the order of the classes nor the order of frames by a distance score.

use crate::inference::Record;
use crate::scores::log_sum_exp;

/// Range of ln T. Values outside come from graphs whose output is not logits.
const RANGE: [f64; 2] = [-4.0, 4.0];

/// Ratio by which a golden-section search narrows its interval.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Narrowing steps: the final interval is far below the four digits that are kept.
const STEPS: usize = 40;

/// The temperature of the graph's logits for `records`, whose logits were divided by `applied`. Rounded to four
/// significant digits, because machines compute exponentials differently beyond. `None` if no known photo has its
/// logits kept.
pub(super) fn fit(records: &[Record], applied: f32) -> Option<f32> {
    let known: Vec<(&[f32], usize)> = records
        .iter()
        .filter_map(|r| r.truth.filter(|truth| *truth < r.logits.len()).map(|truth| (&r.logits[..], truth)))
        .collect();
    if known.is_empty() {
        return None;
    }
    let cost = |ln_t: f64| {
        let scale = f64::from(applied) / ln_t.exp();
        known.iter().map(|(logits, truth)| surprise(logits, *truth, scale)).sum::<f64>() + ln_t * ln_t / 2.0
    };
    // The cost is convex in 1 / T, the prior apart, so it has one minimum.
    let [mut low, mut high] = RANGE;
    let inner = |low: f64, high: f64| [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
    let [mut a, mut b] = inner(low, high);
    let (mut cost_a, mut cost_b) = (cost(a), cost(b));
    for _ in 0..STEPS {
        if cost_a <= cost_b {
            (high, b, cost_b) = (b, a, cost_a);
            a = inner(low, high)[0];
            cost_a = cost(a);
        } else {
            (low, a, cost_a) = (a, b, cost_b);
            b = inner(low, high)[1];
            cost_b = cost(b);
        }
    }
    let t = ((low + high) / 2.0).exp();
    format!("{t:.3e}").parse().ok()
}

/// -ln softmax(scale · logits) of the class `truth`.
fn surprise(logits: &[f32], truth: usize, scale: f64) -> f64 {
    log_sum_exp(logits.iter().map(|z| f64::from(*z) * scale)) - f64::from(logits[truth]) * scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores::{ScoreKind, Scores};

    fn record(logits: &[f32], truth: Option<usize>) -> Record {
        Record {
            photo: 0,
            truth,
            scores: Scores { class: 0, probability: 0.5, nearest: 0, distance: 1.0, reachability: 10.0 },
            kinds: [0.0; ScoreKind::ALL.len()],
            own_distance: None,
            unscaled_probability: 0.5,
            features: vec![],
            distances: vec![1.0; logits.len()],
            logits: logits.into(),
        }
    }

    /// Photos whose logits differ by 1. `right` of `all` have the right class.
    fn photos(right: usize, all: usize) -> Vec<Record> {
        (0..all).map(|i| record(&[1.0, 0.0], Some(usize::from(i >= right)))).collect()
    }

    #[test]
    fn a_probability_becomes_the_share_that_is_right() {
        for (right, all) in [(9000, 10_000), (6000, 10_000), (9900, 10_000)] {
            let t = f64::from(fit(&photos(right, all), 1.0).unwrap());
            let probability = 1.0 / (1.0 + (-1.0 / t).exp());
            assert!((probability - right as f64 / all as f64).abs() < 2e-3, "{right} of {all}: T {t}, p {probability}");
        }
    }

    #[test]
    fn what_was_divided_already_gives_the_same_temperature() {
        let divided: Vec<Record> = photos(900, 1000)
            .into_iter()
            .map(|mut r| {
                r.logits.iter_mut().for_each(|z| *z /= 0.3);
                r
            })
            .collect();
        assert_eq!(fit(&divided, 0.3), fit(&photos(900, 1000), 1.0));
    }

    #[test]
    fn few_photos_that_are_all_right_leave_it_near_one() {
        let t = fit(&photos(3, 3), 1.0).unwrap();
        assert!((0.2..1.0).contains(&t), "{t}");
        assert!(fit(&photos(0, 3), 1.0).unwrap() > 1.0);
        assert_eq!(fit(&[record(&[1.0, 0.0], None)], 1.0), None);
        assert_eq!(fit(&[record(&[], Some(0))], 1.0), None);
    }
}
