//! The probability thresholds of names, for each rank.
//!
//! The promise concerns the photos that get a name: of the *known* photos that the rule accepts and that get a name of
//! one rank, at least the promised share is of that taxon. Ranks are processed from the narrowest on. At each rank, the
//! photos without a name are candidates, and the threshold is the lowest that keeps the share. A rank at which fewer
//! than [`LEAST`] photos would get a name is left out.
//!
//! For *open* photos, known and unknown ones together, names of groups are found in the same way. But unknown things in
//! the field differ from the photographed ones, and one group that is frequent here could carry a whole rank. So such
//! names are reported only if unknown photos of at least [`LEAST_GROUPS`] groups of that rank are named rightly, and if
//! the lower end of the promised interval keeps the share, with the photos of an unknown class drawn together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{LEVEL, six};
use crate::bundle::{Bundle, Naming, Rank, Taxonomy};
use crate::decide::naming::Namer;
use crate::inference::{Clusters, Record, answers, bootstrap};
use crate::labels::Label;
use crate::metrics::Interval;

/// Fewest photos that a rank's threshold rests on.
pub const LEAST: usize = 20;

/// Fewest groups of unknown classes with rightly named photos.
pub const LEAST_GROUPS: usize = 3;

/// Result for the names of one rank, on the photos that chose them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Whether the photos are open.
    pub open: bool,
    /// Rank of the names.
    pub rank: Rank,
    /// Threshold of the probability.
    pub probability: f32,
    /// Photos with such a name.
    pub told: usize,
    /// Those with the right taxon.
    pub right: usize,
    /// 95 % interval of the share of right names of this rank on another set.
    pub promised: Option<[f64; 2]>,
}

/// A photo with its best name of one rank.
struct Candidate {
    record: usize,
    probability: f32,
    right: bool,
    /// Place of a class of the taxon.
    class: usize,
}

/// Finds the thresholds of names for `bundle`, whose rule and taxonomy are set, so that `share` of the names are right.
/// Also returns the results. `taxonomy` contains the taxa of unknown classes. `None` for a bundle without taxonomy, and
/// for records without logits.
pub(super) fn names(
    bundle: &Bundle,
    labels: &[Label],
    records: &[Record],
    taxonomy: &Taxonomy,
    share: f64,
) -> Option<(Naming, Vec<Named>)> {
    let namer = Namer::new(bundle)?;
    if records.is_empty() || records.iter().any(|record| record.logits.len() != bundle.classes.len()) {
        return None;
    }
    let mut naming = Naming { share, ..Naming::default() };
    let mut named = Vec::new();
    let answers = answers(bundle, records);
    for open in [false, true] {
        let of_these = |i: &usize| answers[*i].open == open && (open || records[*i].truth.is_some());
        let mut left: Vec<usize> = (0..records.len()).filter(of_these).collect();
        // By the rule, an open photo is of no class of the bundle.
        for rank in namer.ranks().filter(|rank| !open || *rank > Rank::Label) {
            let candidate = |record: &usize| {
                let best = namer.best(rank, &records[*record].logits)?;
                let right = namer.is_of(&best, &labels[records[*record].photo].class, taxonomy);
                Some(Candidate { record: *record, probability: best.probability, right, class: best.class })
            };
            let mut candidates: Vec<Candidate> = left.iter().filter_map(candidate).collect();
            candidates.sort_by(|a, b| b.probability.total_cmp(&a.probability).then(a.record.cmp(&b.record)));
            let Some(told) = told(&candidates, share) else { continue };
            let (told, others) = candidates.split_at(told);
            let groups = |right: &[Candidate]| {
                let name = |c: &Candidate| bundle.taxonomy.as_ref()?.of(&bundle.classes[c.class].id, rank);
                let unknown = right.iter().filter(|c| c.right && records[c.record].truth.is_none());
                unknown.filter_map(name).collect::<BTreeSet<&str>>().len()
            };
            let promised = promised(labels, records, told);
            let is_sure = promised.is_some_and(|[low, _]| low >= share) && groups(told) >= LEAST_GROUPS;
            if open && !is_sure {
                continue;
            }
            let lowest = told.last().map_or(1.0, |c| c.probability);
            let probability = between(others.first().map_or(0.0, |c| c.probability), lowest);
            named.push(Named {
                open,
                rank,
                probability,
                told: told.len(),
                right: told.iter().filter(|c| c.right).count(),
                promised,
            });
            if open { &mut naming.open } else { &mut naming.known }.insert(rank, probability);
            left = others.iter().map(|c| c.record).collect();
            left.sort_unstable();
        }
    }
    Some((naming, named))
}

/// The largest number of `candidates`, most probable first, of which `share` are right.
fn told(candidates: &[Candidate], share: f64) -> Option<usize> {
    let mut right = 0usize;
    let mut told = None;
    for (i, candidate) in candidates.iter().enumerate() {
        right += usize::from(candidate.right);
        // Equal probabilities are reported together.
        let ends = candidates.get(i + 1).is_none_or(|next| next.probability < candidate.probability);
        if ends && i + 1 >= LEAST && right as f64 >= share * (i + 1) as f64 {
            told = Some(i + 1);
        }
    }
    told
}

/// A threshold above `lower` and not above `upper`, in the middle where single precision allows.
fn between(lower: f32, upper: f32) -> f32 {
    let middle = lower + (upper - lower) / 2.0;
    if middle > lower && middle <= upper { middle } else { upper }
}

fn promised(labels: &[Label], records: &[Record], told: &[Candidate]) -> Option<[f64; 2]> {
    let mut right: Vec<Option<bool>> = vec![None; records.len()];
    told.iter().for_each(|c| right[c.record] = Some(c.right));
    let [interval] = bootstrap(labels, records, Clusters::UnknownClasses).intervals(LEVEL, |sample| {
        let of = || sample.iter().filter_map(|i| right[*i]);
        let told = of().count();
        [(told > 0).then(|| of().filter(|right| *right).count() as f64 / told as f64)]
    });
    interval.map(|Interval { low, high }| [six(low), six(high)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(of: &[(f32, bool)]) -> Vec<Candidate> {
        let candidate = |(record, (probability, right)): (usize, &(f32, bool))| Candidate {
            record,
            probability: *probability,
            right: *right,
            class: 0,
        };
        of.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn as_many_are_named_as_the_share_allows() {
        // 20 right ones, then wrong and right in turn: 22 of 24 are more than nine of ten, 23 of 26 are not.
        let mut of: Vec<(f32, bool)> = (0..20).map(|i| (0.9 - 0.01 * i as f32, true)).collect();
        of.extend((0..10).map(|i| (0.5 - 0.01 * i as f32, i % 2 == 1)));
        assert_eq!(told(&candidates(&of), 0.9), Some(24));
        assert_eq!(told(&candidates(&of), 1.0), Some(20));
        assert_eq!(told(&candidates(&of[..19]), 0.9), None, "too few");
        of.iter_mut().for_each(|(p, _)| *p = 0.5);
        assert_eq!(told(&candidates(&of), 0.9), None, "equals fall together");
        assert_eq!(told(&candidates(&of), 0.8), Some(30));
    }

    /// A bundle of four classes in three families, and records with labels: for each photo its class, its decision, and
    /// the class that it looks like with a probability of about `p`.
    fn photos(of: &[(&str, bool, usize, f32, usize)]) -> (Bundle, Vec<Label>, Vec<Record>) {
        let mut bundle = crate::bundle::example::bundle(&["a", "b", "c", "d"].map(|id| (id, 9)));
        let table = "id\tfamily\na\tA\nb\tA\nc\tC\nd\tD\n";
        bundle.taxonomy = Taxonomy::from_table("t", table).unwrap().restricted(&bundle.classes);
        let (mut labels, mut records) = (Vec::new(), Vec::new());
        for (class, known, like, p, times) in of {
            for _ in 0..*times {
                let truth = ["a", "b", "c", "d"].iter().position(|id| id == class);
                let mut logits = vec![((1.0 - p) / 3.0f32).ln(); 4];
                logits[*like] = p.ln();
                let distances = vec![if *known { 10.0 } else { 100.0 }; 4];
                let scores = crate::scores::score(&logits, &distances).unwrap();
                let photo = labels.len();
                let (path, split) = (format!("{photo}.png"), "val".into());
                labels.push(Label { path, class: class.to_string(), known: truth.is_some(), split, cluster: None });
                let kinds = crate::scores::ScoreKind::all(&logits, &distances);
                let (features, own_distance, unscaled_probability) = (vec![], None, *p);
                records.push(Record {
                    photo,
                    truth,
                    scores,
                    kinds,
                    own_distance,
                    features,
                    distances,
                    unscaled_probability,
                    logits,
                });
            }
        }
        (bundle, labels, records)
    }

    #[test]
    fn the_narrowest_rank_keeps_its_share() {
        // Sure photos are right. Unsure photos of a and b are confused with each other.
        let (bundle, labels, records) =
            photos(&[("a", true, 0, 0.95, 30), ("b", true, 1, 0.9, 30), ("a", true, 1, 0.6, 25)]);
        let (naming, named) = names(&bundle, &labels, &records, &Taxonomy::default(), 0.9).unwrap();
        let of: Vec<_> = named.iter().map(|n| (n.rank, n.told, n.right)).collect();
        assert_eq!(of, [(Rank::Label, 60, 60), (Rank::Family, 25, 25)]);
        assert!(naming.known[&Rank::Label] > 0.6 && naming.known[&Rank::Label] <= 0.9, "{naming:?}");
        assert!(naming.open.is_empty());
        // With a lower share, all of them may be reported by their labels.
        let (naming, _) = names(&bundle, &labels, &records, &Taxonomy::default(), 0.7).unwrap();
        assert_eq!(naming.known.keys().copied().collect::<Vec<_>>(), [Rank::Label]);
    }

    #[test]
    fn open_photos_are_named_where_several_groups_prove_it() {
        let table = "id\tfamily\nu\tA\nv\tC\nw\tD\nx\tE\n";
        let taxonomy = Taxonomy::from_table("t", table).unwrap();
        let open = |of: &[(&str, bool, usize, f32, usize)]| {
            let (bundle, labels, records) = photos(of);
            let (naming, _) = names(&bundle, &labels, &records, &taxonomy, 0.9).unwrap();
            naming.open.keys().copied().collect::<Vec<_>>()
        };
        let [u, v, w] = [("u", false, 0, 0.9, 10), ("v", false, 2, 0.9, 10), ("w", false, 3, 0.9, 10)];
        assert_eq!(open(&[u, v, w]), [Rank::Family]);
        // Two groups are no proof, however many their photos are.
        assert_eq!(open(&[u, ("v", false, 2, 0.9, 90)]), []);
        // Three groups are not enough either if a fourth one looks like them: 30 of 33 are right here.
        assert_eq!(open(&[u, v, w, ("x", false, 3, 0.9, 3)]), []);
    }

    #[test]
    fn thresholds_lie_between_photos() {
        assert_eq!(between(0.25, 0.75), 0.5);
        let low = 0.5f32;
        assert_eq!(between(low, low.next_up()), low.next_up());
    }
}
