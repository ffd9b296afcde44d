//! Bootstrap intervals: how much a figure would move with other photos of the same kind.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Serialize;

/// A percentile interval (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` lies within, ends included.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Draws samples with replacement, stratum by stratum, and within a stratum cluster by cluster.
///
/// A *cluster* is what was not gathered photo by photo: the frames of one animal, or the photos of one unknown class.
/// Drawing whole clusters keeps the interval honest where photos resemble each other. The generator is ChaCha8 with a
/// given seed: the same data give the same intervals on every machine.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Indices of photos, by cluster, by stratum.
    strata: Vec<Vec<Vec<usize>>>,
    resamples: usize,
    seed: u64,
}

impl Bootstrap {
    /// Samples drawn where nothing else is said: the ends of a 95 % interval then rest on 25 samples each.
    pub const RESAMPLES: usize = 1000;

    /// A bootstrap of `resamples` samples without any stratum yet.
    pub fn new(resamples: usize, seed: u64) -> Bootstrap {
        Bootstrap { strata: Vec::new(), resamples, seed }
    }

    /// Adds a stratum of photos, each with the name of its cluster; the number of clusters drawn from it is its own.
    pub fn stratum<K: Ord>(mut self, photos: impl IntoIterator<Item = (usize, K)>) -> Bootstrap {
        let mut clusters: BTreeMap<K, Vec<usize>> = BTreeMap::new();
        for (photo, cluster) in photos {
            clusters.entry(cluster).or_default().push(photo);
        }
        self.strata.push(clusters.into_values().collect());
        self
    }

    /// Calls `each` with the indices of the photos of each sample; one that was drawn twice is there twice.
    pub fn samples(&self, mut each: impl FnMut(&[usize])) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut sample = Vec::new();
        for _ in 0..self.resamples {
            sample.clear();
            for clusters in &self.strata {
                for _ in 0..clusters.len() {
                    sample.extend_from_slice(&clusters[below(&mut rng, clusters.len())]);
                }
            }
            each(&sample);
        }
    }

    /// The intervals that hold the share `level` (0..1) of each of N figures over the samples; `None` for a figure
    /// that is undefined in more than one of ten samples.
    pub fn intervals<const N: usize>(
        &self,
        level: f64,
        mut figures: impl FnMut(&[usize]) -> [Option<f64>; N],
    ) -> [Option<Interval>; N] {
        let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(self.resamples));
        self.samples(|sample| {
            for (values, figure) in values.iter_mut().zip(figures(sample)) {
                values.extend(figure.filter(|x| x.is_finite()));
            }
        });
        values.map(|mut values| {
            values.sort_by(f64::total_cmp);
            let enough = !values.is_empty() && values.len() * 10 >= self.resamples * 9;
            let tail = (1.0 - level) / 2.0;
            enough.then(|| Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail) })
        })
    }
}

/// A number from 0 to n − 1. The bias of multiplying instead of rejecting is n / 2⁶⁴.
fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// The quantile `q` (0..1) of ascending values, between two of them by linear interpolation.
pub(crate) fn quantile(ascending: &[f64], q: f64) -> f64 {
    let at = q * (ascending.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(ascending.len() - 1);
    ascending[low] + part * (ascending[high] - ascending[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(sample: &[usize], values: &[f64]) -> Option<f64> {
        Some(sample.iter().map(|i| values[*i]).sum::<f64>() / sample.len() as f64)
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.1, 0.5, 0.9, 1])
        let values = [1.0, 2.0, 4.0, 8.0];
        for (q, expected) in [(0.0, 1.0), (0.1, 1.3), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile(&values, q) - expected).abs() < 1e-12, "{q}");
        }
        assert_eq!(quantile(&[3.0], 0.3), 3.0);
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_theory() {
        // A share of 0.3 of 400: standard error √(0.3 · 0.7 / 400) = 0.0229, 95 % within 1.96 of them.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 10 < 3)).collect();
        let bootstrap = Bootstrap::new(2000, 7).stratum((0..400).map(|i| (i, i)));
        let [interval] = bootstrap.intervals(0.95, |s| [mean(s, &values)]);
        let interval = interval.unwrap();
        assert!((interval.low - (0.3 - 0.0449)).abs() < 0.006, "{interval:?}");
        assert!((interval.high - (0.3 + 0.0449)).abs() < 0.006, "{interval:?}");
        assert!(interval.holds(0.3) && !interval.holds(0.4));
    }

    #[test]
    fn photos_of_one_cluster_are_no_independent_photos() {
        // 20 animals with 20 equal frames each tell as much as 20 photos.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i / 20 % 10 < 3)).collect();
        let width = |cluster: fn(usize) -> usize| {
            let bootstrap = Bootstrap::new(1000, 0).stratum((0..400).map(|i| (i, cluster(i))));
            let [interval] = bootstrap.intervals(0.95, |s| [mean(s, &values)]);
            interval.map(|i| i.high - i.low).unwrap()
        };
        let ratio = width(|i| i / 20) / width(|i| i);
        assert!((3.5..5.5).contains(&ratio), "{ratio}, √20 was expected");
    }

    #[test]
    fn strata_keep_their_sizes_and_a_seed_its_samples() {
        let bootstrap = |seed| Bootstrap::new(50, seed).stratum((0..5).map(|i| (i, i))).stratum((5..8).map(|i| (i, 0)));
        let draw = |seed| {
            let mut all = Vec::new();
            bootstrap(seed).samples(|s| {
                assert_eq!(s.iter().filter(|i| **i < 5).count(), 5);
                assert_eq!(s[5..], [5, 6, 7]);
                all.push(s.to_vec());
            });
            all
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn what_is_undefined_has_no_interval() {
        let bootstrap = Bootstrap::new(100, 0).stratum((0..3).map(|i| (i, i)));
        let mut n = 0;
        let [never, often, always] = bootstrap.intervals(0.9, |_| {
            n += 1;
            [None, (n % 2 == 0).then_some(1.0), Some(1.0)]
        });
        assert_eq!((never, often, always), (None, None, Some(Interval { low: 1.0, high: 1.0 })));
        let [none] = Bootstrap::new(10, 0).intervals(0.9, |s| [mean(s, &[])]);
        assert_eq!(none, None);
    }
}
