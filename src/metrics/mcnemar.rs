//! McNemar's test: whether two models are right on different numbers of the same photos by more than chance.

use serde::Serialize;

/// The photos that only one of two models gets right, and how likely so uneven a split is by chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Photos that only the first model gets right.
    pub only_first: u64,
    /// Photos that only the second model gets right.
    pub only_second: u64,
    /// Exact two-sided p, 0..1; 1 where the models never differ.
    pub p: f64,
}

/// McNemar's exact test (binomial with ½, two-sided; McNemar, Psychometrika 12, 1947, in the exact form).
pub fn mcnemar(only_first: u64, only_second: u64) -> McNemar {
    let n = only_first + only_second;
    let fewer = only_first.min(only_second);
    // Binomial coefficients in logarithms: n may be a million.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for k in 1..=fewer {
        log_term += ((n - k + 1) as f64).ln() - (k as f64).ln();
        tail += log_term.exp();
    }
    McNemar { only_first, only_second, p: (2.0 * tail).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_is_that_of_scipy() {
        // scipy.stats.binomtest(b, b + c).pvalue
        for (b, c, p) in SCIPY {
            let ours = mcnemar(b, c).p;
            assert!((ours - p).abs() <= 1e-9 * p, "{b} {c}: {ours}, not {p}");
            assert_eq!(mcnemar(c, b).p, ours);
        }
    }

    #[test]
    fn models_that_agree_do_not_differ() {
        assert_eq!(mcnemar(0, 0).p, 1.0);
        assert_eq!(mcnemar(1, 1).p, 1.0);
        assert!(mcnemar(0, 1_000_000).p == 0.0);
    }

    const SCIPY: [(u64, u64, f64); 6] = [
        (0, 5, 0.0625),
        (3, 9, 0.14599609375),
        (10, 25, 0.016673847800120715),
        (7, 8, 1.0),
        (120, 80, 0.005685155996750306),
        (900, 1000, 0.023108845108901193),
    ];
}
