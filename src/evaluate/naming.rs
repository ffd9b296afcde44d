//! Figures of names above species.

use serde::Serialize;

use crate::bundle::{Bundle, Rank, Taxonomy};
use crate::decide::Decision;
use crate::decide::naming::{Namer, Taxon};
use crate::inference::Record;
use crate::labels::Label;
use crate::metrics::Answer;

/// Figures of a bundle's names. A name is right if the table of taxa says that the photo is of that taxon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamesFigures {
    /// Share of the names that the bundle promises to be right.
    pub share: f64,
    /// Known photos that the rule accepts.
    pub known: Told,
    /// Those of them with the right class.
    pub known_right: Told,
    /// Those of them with the wrong class.
    pub known_wrong: Told,
    /// Known photos called open.
    pub known_open: Told,
    /// Unknown photos taken for known.
    pub unknown_accepted: Told,
    /// Unknown photos called open.
    pub unknown_open: Told,
}

/// The names that photos get.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Told {
    /// Photos.
    pub photos: usize,
    /// Photos without a name.
    pub unnamed: usize,
    /// The others, by the rank of their names, the narrowest first.
    pub ranks: Vec<OfRank>,
}

/// Figures of the names of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OfRank {
    /// The rank.
    pub rank: Rank,
    /// Photos with such a name.
    pub told: usize,
    /// Those with the right taxon.
    pub right: usize,
}

impl Told {
    fn new<'a>(names: impl Iterator<Item = (Option<Taxon<'a>>, bool)>) -> Told {
        let mut told = Told::default();
        for (taxon, right) in names {
            told.photos += 1;
            let Some(rank) = taxon.map(|taxon| taxon.rank) else {
                told.unnamed += 1;
                continue;
            };
            let place = told.ranks.binary_search_by_key(&rank, |of| of.rank).unwrap_or_else(|place| {
                told.ranks.insert(place, OfRank { rank, told: 0, right: 0 });
                place
            });
            told.ranks[place].told += 1;
            told.ranks[place].right += usize::from(right);
        }
        told
    }
}

/// The figures of the names of `bundle`. `taxonomy` contains the taxa of unknown classes. `None` for a bundle without
/// names, and for records without logits.
pub(super) fn names(
    bundle: &Bundle,
    labels: &[Label],
    records: &[Record],
    answers: &[Answer],
    taxonomy: &Taxonomy,
) -> Option<NamesFigures> {
    let share = bundle.open.names.as_ref()?.share;
    let namer = Namer::new(bundle)?;
    if records.iter().any(|record| record.logits.is_empty()) {
        return None;
    }
    let told = |record: &Record, answer: &Answer| {
        let decision = if answer.open { Decision::Open } else { Decision::Known(answer.label) };
        let taxon = namer.told(&record.logits, decision);
        let right = taxon.is_some_and(|taxon| namer.is_of(&taxon, &labels[record.photo].class, taxonomy));
        (taxon, right)
    };
    let of = |which: &dyn Fn(&Answer) -> bool| {
        let these = records.iter().zip(answers).filter(|(_, answer)| which(answer));
        Told::new(these.map(|(record, answer)| told(record, answer)))
    };
    Some(NamesFigures {
        share,
        known: of(&|a| a.truth.is_some() && !a.open),
        known_right: of(&|a| a.right() && a.truth.is_some()),
        known_wrong: of(&|a| a.truth.is_some_and(|truth| truth != a.label) && !a.open),
        known_open: of(&|a| a.truth.is_some() && a.open),
        unknown_accepted: of(&|a| a.truth.is_none() && !a.open),
        unknown_open: of(&|a| a.truth.is_none() && a.open),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_by_rank() {
        let taxon = |rank| Some(Taxon { rank, name: "x", class: 0, probability: 0.9 });
        let told = Told::new(
            [(taxon(Rank::Family), true), (taxon(Rank::Label), false), (None, false), (taxon(Rank::Family), false)]
                .into_iter(),
        );
        assert_eq!((told.photos, told.unnamed), (4, 1));
        let of = |rank, told, right| OfRank { rank, told, right };
        assert_eq!(told.ranks, [of(Rank::Label, 1, 0), of(Rank::Family, 2, 1)]);
    }
}
