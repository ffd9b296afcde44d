//! How well a score separates known from open: AUROC, FPR at a TPR, OSCR.

use crate::error::{Error, Result};

/// The scores of known and of open photos, both in descending order; larger means known.
#[derive(Clone, Debug, PartialEq)]
pub struct Separation {
    known: Vec<f64>,
    open: Vec<f64>,
}

/// A point of a curve: share of open photos accepted, and what is gained for it.
pub type Point = (f64, f64);

impl Separation {
    /// The separation of `known` from `open`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a score that is NaN: it is neither above nor below a threshold.
    pub fn new(mut known: Vec<f64>, mut open: Vec<f64>) -> Result<Separation> {
        for scores in [&mut known, &mut open] {
            refuse_nan(scores)?;
            scores.sort_by(|a, b| b.total_cmp(a));
        }
        Ok(Separation { known, open })
    }

    /// Area under the ROC curve: the chance that a known photo scores above an open one, ties counting half (Mann and
    /// Whitney's U over the number of pairs). `None` unless there are both.
    pub fn auroc(&self) -> Option<f64> {
        let pairs = self.known.len() as f64 * self.open.len() as f64;
        if pairs == 0.0 {
            return None;
        }
        let (mut above, mut level, mut wins) = (0, 0, 0.0);
        // From the lowest open score up, the known ones above and level with it.
        for open in &self.open {
            while above < self.known.len() && self.known[above] > *open {
                above += 1;
            }
            level = level.max(above);
            while level < self.known.len() && self.known[level] == *open {
                level += 1;
            }
            wins += above as f64 + (level - above) as f64 / 2.0;
        }
        Some(wins / pairs)
    }

    /// Share of open photos accepted at the highest threshold that accepts at least `tpr` (0..1) of the known ones.
    /// `None` unless there are both.
    pub fn fpr_at_tpr(&self, tpr: f64) -> Option<f64> {
        if self.known.is_empty() || self.open.is_empty() {
            return None;
        }
        let threshold = self.known[needed(tpr, self.known.len()).max(1) - 1];
        Some(self.open.partition_point(|s| *s >= threshold) as f64 / self.open.len() as f64)
    }

    /// The ROC curve from (0, 0) to (1, 1), a point for each distinct score: (open accepted, known accepted).
    /// Empty unless there are both.
    pub fn roc(&self) -> Vec<Point> {
        if self.known.is_empty() || self.open.is_empty() {
            return Vec::new();
        }
        curve(&self.known, &self.open, self.known.len())
    }
}

/// The open-set classification rate curve (Dhamija, Günther and Boult, "Reducing Network Agnostophobia", NeurIPS
/// 2018): known photos that are accepted *and* named rightly against open ones accepted, over all thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct Oscr {
    points: Vec<Point>,
}

impl Oscr {
    /// The curve of `known` photos, each with its score and whether its label is right, and of `open` ones.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a score that is NaN.
    pub fn new(known: &[(f64, bool)], open: &[f64]) -> Result<Oscr> {
        let mut right: Vec<f64> = known.iter().filter(|(_, right)| *right).map(|(score, _)| *score).collect();
        let mut open = open.to_vec();
        refuse_nan(&known.iter().map(|(score, _)| *score).collect::<Vec<_>>())?;
        for scores in [&mut right, &mut open] {
            refuse_nan(scores)?;
            scores.sort_by(|a, b| b.total_cmp(a));
        }
        let points = if known.is_empty() || open.is_empty() { Vec::new() } else { curve(&right, &open, known.len()) };
        Ok(Oscr { points })
    }

    /// The curve from (0, 0) to (1, closed-set accuracy); empty unless there are known and open photos.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The area under the curve, 0..1, by trapezoids; `None` unless there are known and open photos.
    pub fn area(&self) -> Option<f64> {
        let trapezoid = |p: &[Point]| (p[1].0 - p[0].0) * (p[1].1 + p[0].1) / 2.0;
        (!self.points.is_empty()).then(|| self.points.windows(2).map(trapezoid).sum())
    }
}

/// Shares of `open` and of `all` photos whose scores reach each distinct score, from (0, 0) on. `counted` are the
/// scores of those among the `all` that count. Both in descending order.
fn curve(counted: &[f64], open: &[f64], all: usize) -> Vec<Point> {
    let mut points = vec![(0.0, 0.0)];
    let (mut i, mut j) = (0, 0);
    while i < counted.len() || j < open.len() {
        let next = |scores: &[f64], at: usize| scores.get(at).copied().unwrap_or(f64::NEG_INFINITY);
        let threshold = next(counted, i).max(next(open, j));
        while i < counted.len() && counted[i] >= threshold {
            i += 1;
        }
        while j < open.len() && open[j] >= threshold {
            j += 1;
        }
        points.push((j as f64 / open.len() as f64, i as f64 / all as f64));
    }
    points
}

/// How many of `n` are at least the share `share` of them. 0.95 of 20 is 19, although 0.95 · 20 rounds up to more.
pub(crate) fn needed(share: f64, n: usize) -> usize {
    const ROUNDING: f64 = 1e-9;
    ((share * n as f64 - ROUNDING).ceil().max(0.0) as usize).min(n)
}

fn refuse_nan(scores: &[f64]) -> Result<()> {
    match scores.iter().position(|s| s.is_nan()) {
        Some(i) => Err(Error::BadInput {
            subject: "scores".into(),
            reason: format!("score {i} is not a number; check the network's weights"),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores in tenths with ties across both groups; expected values from scikit-learn, as written beside.
    const KNOWN: [f64; 12] = [0.9, 0.8, 0.8, 0.7, 0.7, 0.7, 0.6, 0.5, 0.5, 0.4, 0.3, 0.1];
    const OPEN: [f64; 9] = [0.8, 0.6, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1];

    fn separation(known: &[f64], open: &[f64]) -> Separation {
        Separation::new(known.to_vec(), open.to_vec()).unwrap()
    }

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-12)
    }

    #[test]
    fn auroc_counts_ties_half() {
        // By hand: 2 above 1 and 1.5; 1 level with 1, below 1.5: (1 + 0 + 1 + ½) of 4 pairs.
        assert_eq!(separation(&[2.0, 1.0], &[1.0, 1.5]).auroc(), Some(0.625));
        // sklearn.metrics.roc_auc_score
        let s = separation(&KNOWN, &OPEN);
        assert!(close(s.auroc(), SKLEARN_AUROC), "{:?}", s.auroc());
        assert_eq!(separation(&[1.0; 5], &[1.0; 7]).auroc(), Some(0.5));
        assert_eq!(separation(&[0.0], &[1.0]).auroc(), Some(0.0));
    }

    #[test]
    fn fpr_at_tpr_takes_the_highest_threshold_that_suffices() {
        let s = separation(&KNOWN, &OPEN);
        // sklearn.metrics.roc_curve: the first false positive rate whose true positive rate suffices.
        for (tpr, expected) in SKLEARN_FPR {
            assert!(close(s.fpr_at_tpr(tpr), expected), "{tpr}: {:?}", s.fpr_at_tpr(tpr));
        }
        // 95 % of 20 are 19, the 20th must not pull the threshold down.
        let known: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(separation(&known, &[1.5, 2.5]).fpr_at_tpr(0.95), Some(0.5));
    }

    #[test]
    fn the_roc_curve_is_that_of_scikit_learn() {
        let roc = separation(&KNOWN, &OPEN).roc();
        assert_eq!(roc.len(), SKLEARN_ROC.len());
        for (ours, theirs) in roc.iter().zip(SKLEARN_ROC) {
            assert!((ours.0 - theirs.0).abs() < 1e-12 && (ours.1 - theirs.1).abs() < 1e-12, "{ours:?} {theirs:?}");
        }
        let area: f64 = roc.windows(2).map(|p| (p[1].0 - p[0].0) * (p[1].1 + p[0].1) / 2.0).sum();
        assert!(close(Some(area), SKLEARN_AUROC));
    }

    #[test]
    fn oscr_of_a_worked_example() {
        // Known: 4 right, 3 wrong, 2 right, 1 right; open: 3, 1.
        // From the top: (0, ¼), then 3: (½, ¼), 2: (½, ½), 1: (1, ¾); area ½·¼ + ½·(½ + ¾)/2.
        let known = [(4.0, true), (3.0, false), (2.0, true), (1.0, true)];
        let oscr = Oscr::new(&known, &[3.0, 1.0]).unwrap();
        assert_eq!(oscr.points(), [(0.0, 0.0), (0.0, 0.25), (0.5, 0.25), (0.5, 0.5), (1.0, 0.75)]);
        assert_eq!(oscr.area(), Some(0.4375));
    }

    #[test]
    fn oscr_is_the_auroc_where_every_label_is_right() {
        let known: Vec<_> = KNOWN.iter().map(|s| (*s, true)).collect();
        assert!(close(Oscr::new(&known, &OPEN).unwrap().area(), SKLEARN_AUROC));
        let known: Vec<_> = KNOWN.iter().map(|s| (*s, false)).collect();
        assert_eq!(Oscr::new(&known, &OPEN).unwrap().area(), Some(0.0));
    }

    #[test]
    fn with_nothing_known_or_nothing_open_there_is_no_figure() {
        for (known, open) in [(&KNOWN[..], &[][..]), (&[], &OPEN), (&[], &[])] {
            let s = separation(known, open);
            assert_eq!((s.auroc(), s.fpr_at_tpr(0.95), s.roc()), (None, None, vec![]));
            let known: Vec<_> = known.iter().map(|s| (*s, true)).collect();
            assert_eq!(Oscr::new(&known, open).unwrap().area(), None);
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        assert!(Separation::new(vec![f64::NAN], vec![1.0]).is_err());
        assert!(Separation::new(vec![1.0], vec![2.0, f64::NAN]).is_err());
        assert!(Oscr::new(&[(f64::NAN, false)], &[1.0]).is_err());
        assert!(Oscr::new(&[(1.0, true)], &[f64::NAN]).is_err());
        // Infinities have their place.
        assert_eq!(separation(&[f64::INFINITY], &[f64::NEG_INFINITY]).auroc(), Some(1.0));
    }

    const SKLEARN_AUROC: f64 = 0.7268518518518519;
    const SKLEARN_FPR: [(f64, f64); 5] =
        [(0.5, 0.1111111111111111), (0.75, 0.4444444444444444), (0.9, 0.6666666666666666), (0.95, 1.0), (1.0, 1.0)];
    const SKLEARN_ROC: [(f64, f64); 10] = [
        (0.0, 0.0),
        (0.0, 0.08333333333333333),
        (0.1111111111111111, 0.25),
        (0.1111111111111111, 0.5),
        (0.2222222222222222, 0.5833333333333334),
        (0.4444444444444444, 0.75),
        (0.5555555555555556, 0.8333333333333334),
        (0.6666666666666666, 0.9166666666666666),
        (0.7777777777777778, 0.9166666666666666),
        (1.0, 1.0),
    ];
}
