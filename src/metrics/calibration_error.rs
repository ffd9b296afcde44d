//! How far the probabilities that a network states are from how often it is right.

use serde::Serialize;

/// Photos whose stated probability lies in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Number of photos.
    pub photos: usize,
    /// Mean of their stated probabilities, 0..1; 0 without photos.
    pub confidence: f64,
    /// Share of them that is right, 0..1; 0 without photos.
    pub accuracy: f64,
}

/// `answers` (stated probability, right or not) in `bins` intervals of equal width, (i/bins, (i+1)/bins].
pub fn reliability(answers: &[(f64, bool)], bins: usize) -> Vec<Bin> {
    let mut result = vec![Bin::default(); bins.max(1)];
    let last = result.len() - 1;
    for (probability, right) in answers {
        let place = (probability * bins as f64).ceil() - 1.0;
        let bin = &mut result[(place.max(0.0) as usize).min(last)];
        bin.photos += 1;
        bin.confidence += probability;
        bin.accuracy += f64::from(*right);
    }
    for bin in result.iter_mut().filter(|bin| bin.photos > 0) {
        bin.confidence /= bin.photos as f64;
        bin.accuracy /= bin.photos as f64;
    }
    result
}

/// Expected calibration error, 0..1: Σ n_b/n · |accuracy_b − confidence_b| over the bins (Naeini, Cooper and
/// Hauskrecht, AAAI 2015; Guo et al., ICML 2017). `None` without photos.
pub fn calibration_error(bins: &[Bin]) -> Option<f64> {
    let photos: usize = bins.iter().map(|bin| bin.photos).sum();
    let gap = |bin: &Bin| bin.photos as f64 * (bin.accuracy - bin.confidence).abs();
    (photos > 0).then(|| bins.iter().map(gap).sum::<f64>() / photos as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_example() {
        // Four bins. (0, ¼]: 0.2 wrong. (¼, ½]: 0.5 right and 0.3 wrong. (¾, 1]: 0.8, 0.9, 1 right.
        let answers = [(0.2, false), (0.5, true), (0.3, false), (0.8, true), (0.9, true), (1.0, true)];
        let bins = reliability(&answers, 4);
        assert_eq!(bins.iter().map(|bin| bin.photos).collect::<Vec<_>>(), [1, 2, 0, 3]);
        assert_eq!((bins[1].confidence, bins[1].accuracy), (0.4, 0.5));
        // (1·0.2 + 2·0.1 + 3·0.1) / 6
        assert!((calibration_error(&bins).unwrap() - 0.7 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn the_ends_of_the_range_have_their_bins() {
        let bins = reliability(&[(0.0, false), (1.0, true)], 15);
        assert_eq!((bins[0].photos, bins[14].photos), (1, 1));
        assert_eq!(calibration_error(&bins), Some(0.0));
        assert_eq!(calibration_error(&reliability(&[], 15)), None);
    }
}
