//! Thresholds of single classes by their own spread, shrunk towards all classes where photos are few.
//!
//! With x = ln reachability of the rightly named known photos, n_k of class k with mean m_k:
//!
//! - within classes x spreads with variance σ² (pooled), the means of classes spread with variance τ² around m
//!   (method of moments, negative estimates counting as 0);
//! - the centre of class k is μ_k = m + w_k (m_k − m) with w_k = τ² / (τ² + σ² / n_k): the empirical Bayes estimate
//!   (Efron and Morris, "Data analysis using Stein's estimator", JASA 70, 1975);
//! - its variance is s_k² = (ν σ² + SS_k) / (ν + max(n_k − 1, 0)) + τ² (1 − w_k), with SS_k the squared deviations from
//!   m_k: its own spread pooled with the common one at a weight of ν photos, plus the uncertainty of its centre.
//!
//! A photo named k is judged by u = (x − μ_k) / s_k. One threshold z on u is chosen for the target, and the class's
//! threshold is exp(μ_k + z s_k). A class without photos has μ = m and s² = σ² + τ². With more photos its own values
//! count more. So a class with a handful of photos is neither always open nor never. For the choice of z, a photo is
//! left out of its own μ_k and s_k, because five photos lie nearer to their own mean than a sixth will.

use crate::inference::Record;

/// Weight of the pooled variance in that of a class, in photos (ν).
const PRIOR_PHOTOS: f64 = 10.0;

/// Smallest variance of ln reachability, 0.1 % of reachability: equal photos must not cause a division by 0.
const MIN_VARIANCE: f64 = 1e-6;

/// Number, mean and squared deviations of ln reachability.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds `x` (Welford).
    fn with(self, x: f64) -> Moments {
        let n = self.n + 1.0;
        let mean = self.mean + (x - self.mean) / n;
        Moments { n, mean, squares: self.squares + (x - self.mean) * (x - mean) }
    }

    /// Removes `x`, which must be included.
    fn without(self, x: f64) -> Moments {
        if self.n < 2.0 {
            return Moments::default();
        }
        let n = self.n - 1.0;
        let mean = self.mean + (self.mean - x) / n;
        Moments { n, mean, squares: (self.squares - (x - self.mean) * (x - mean)).max(0.0) }
    }
}

/// The spread of ln reachability in each class and over all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spreads {
    classes: Vec<Moments>,
    /// m
    mean: f64,
    /// σ²
    within: f64,
    /// τ²
    between: f64,
}

impl Spreads {
    /// Spreads of the rightly named known photos among `records`.
    pub fn new(classes: usize, records: &[Record]) -> Spreads {
        let mut moments = vec![Moments::default(); classes];
        for record in records {
            if let Some((class, x)) = counted(record) {
                moments[class] = moments[class].with(x);
            }
        }
        let filled = || moments.iter().filter(|m| m.n > 0.0);
        let groups = filled().count() as f64;
        let photos: f64 = filled().map(|m| m.n).sum();
        let mean = filled().map(|m| m.mean).sum::<f64>() / groups.max(1.0);
        let within = filled().map(|m| m.squares).sum::<f64>() / (photos - groups).max(1.0);
        let within = within.max(MIN_VARIANCE);
        let of_means = filled().map(|m| (m.mean - mean).powi(2)).sum::<f64>() / (groups - 1.0).max(1.0);
        let by_chance = filled().map(|m| within / m.n).sum::<f64>() / groups.max(1.0);
        Spreads { classes: moments, mean, within, between: (of_means - by_chance).max(0.0) }
    }

    /// Whether class `k` has photos.
    pub fn has(&self, k: usize) -> bool {
        self.classes[k].n > 0.0
    }

    /// u of the photo, negated: how many deviations it lies below its class's centre, with the photo left out of the
    /// class.
    pub fn standardised(&self, record: &Record) -> f64 {
        let x = f64::from(record.scores.reachability).ln();
        let class = self.classes[record.scores.class];
        let (centre, deviation) = self.shrunk(match counted(record) {
            Some((_, x)) => class.without(x),
            None => class,
        });
        if x.is_finite() { (x - centre) / deviation } else { f64::NEG_INFINITY }
    }

    /// The reachability threshold of class `k`, or of a class without photos, for the threshold `z` on u.
    pub fn threshold(&self, k: Option<usize>, z: f64) -> f64 {
        let (centre, deviation) = self.shrunk(k.map(|k| self.classes[k]).unwrap_or_default());
        (centre + z * deviation).exp()
    }

    /// μ_k and s_k of a class with `moments`.
    fn shrunk(&self, moments: Moments) -> (f64, f64) {
        let weight = if moments.n > 0.0 && self.between > 0.0 {
            self.between / (self.between + self.within / moments.n)
        } else {
            0.0
        };
        let own = PRIOR_PHOTOS * self.within + moments.squares;
        let variance = own / (PRIOR_PHOTOS + (moments.n - 1.0).max(0.0)) + self.between * (1.0 - weight);
        (self.mean + weight * (moments.mean - self.mean), variance.sqrt())
    }
}

/// A threshold as stored: rounded to six significant digits, because machines compute logarithms differently beyond.
pub(super) fn stored(threshold: f64) -> f32 {
    super::six(threshold.min(f32::MAX.into())) as f32
}

/// Class and ln reachability of a photo that counts for its class's spread.
fn counted(record: &Record) -> Option<(usize, f64)> {
    let x = f64::from(record.scores.reachability).ln();
    (record.truth == Some(record.scores.class) && x.is_finite()).then_some((record.scores.class, x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scores::{ScoreKind, Scores};

    fn record(truth: impl Into<Option<usize>>, class: usize, x: f64) -> Record {
        let reachability = x.exp() as f32;
        let scores = Scores { class, probability: 1.0, nearest: class, distance: 10.0 / reachability, reachability };
        let kinds = [0.0; ScoreKind::ALL.len()];
        Record {
            photo: 0,
            truth: truth.into(),
            scores,
            kinds,
            own_distance: None,
            unscaled_probability: 1.0,
            features: vec![],
            distances: vec![],
            logits: vec![],
        }
    }

    /// Classes 0 and 1 with many photos around 0 and 1, class 2 with one photo at `x`, class 3 with none.
    fn spreads(x: f64) -> Spreads {
        let wave = |i: usize, centre: f64| centre + 0.1 * if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let mut records: Vec<Record> =
            (0..200).map(|i| record(i % 4 / 2, i % 4 / 2, wave(i, (i % 4 / 2) as f64))).collect();
        records.push(record(2, 2, x));
        // Neither of these is counted.
        records.extend([record(None, 0, 9.0), record(1, 0, 9.0)]);
        Spreads::new(4, &records)
    }

    #[test]
    fn a_class_with_many_photos_stands_on_its_own() {
        let s = spreads(0.5);
        let (low, high) = (s.threshold(Some(0), -1.0).ln(), s.threshold(Some(1), -1.0).ln());
        assert!((low - -0.1).abs() < 0.01, "{low}");
        assert!((high - 0.9).abs() < 0.01, "{high}");
    }

    #[test]
    fn a_class_with_one_photo_is_neither_always_open_nor_never() {
        // τ² is at least 0.25, so even one photo counts, but not fully.
        for x in [-3.0, 0.5, 4.0] {
            let s = spreads(x);
            let threshold = s.threshold(Some(2), -2.0).ln();
            let none = s.threshold(None, -2.0).ln();
            assert!(threshold < x, "its own photo is known: {threshold} {x}");
            assert!(threshold > none - 1.0 || x < -2.0, "{threshold} {none}");
            assert!(threshold >= x.min(s.mean) - 3.0 * 0.6, "not everything is known: {threshold} {x}");
        }
    }

    #[test]
    fn a_centre_lies_between_its_photos_and_all_classes() {
        let s = spreads(4.0);
        let (few, _) = s.shrunk(s.classes[2]);
        assert!(s.mean < few && few < 4.0, "{few}");
        assert!((few - (s.mean + s.between / (s.between + s.within) * (4.0 - s.mean))).abs() < 1e-5, "{few}");
        assert_eq!(s.shrunk(Moments::default()), (s.mean, (s.within + s.between).sqrt()));
    }

    #[test]
    fn classes_that_do_not_differ_share_a_threshold() {
        let records: Vec<Record> = (0..40).map(|i| record(i % 4, i % 4, 0.1 * (i / 4 % 5) as f64)).collect();
        let s = Spreads::new(4, &records);
        assert_eq!(s.between, 0.0);
        let all: Vec<f64> = (0..4).map(|k| s.threshold(Some(k), -1.5)).collect();
        assert!(all.iter().all(|t| (t - all[0]).abs() < 1e-9), "{all:?}");
    }

    #[test]
    fn leaving_a_photo_out_is_as_if_it_had_not_been() {
        let values = [0.3, -1.0, 2.5, 0.7];
        let all = values.iter().fold(Moments::default(), |m, x| m.with(*x));
        let but_last = values[..3].iter().fold(Moments::default(), |m, x| m.with(*x));
        let left = all.without(0.7);
        assert!((left.mean - but_last.mean).abs() < 1e-12 && (left.squares - but_last.squares).abs() < 1e-12);
        assert_eq!(Moments::default().with(2.0).without(2.0), Moments::default());
    }

    #[test]
    fn equal_photos_and_no_photos_give_numbers() {
        let equal: Vec<Record> = (0..6).map(|i| record(i % 2, i % 2, 0.2)).collect();
        for s in [Spreads::new(2, &equal), Spreads::new(2, &[])] {
            for k in [None, Some(0), Some(1)] {
                assert!(s.threshold(k, -3.0).is_finite());
            }
            assert!(s.standardised(&record(None, 1, 0.1)).is_finite());
            assert_eq!(s.standardised(&record(None, 1, f64::NEG_INFINITY)), f64::NEG_INFINITY);
        }
    }
}
