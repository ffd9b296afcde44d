//! The name of an event: the narrowest name that most of its frames had. Pure.

use crate::bundle::{Bundle, Rank};
use crate::decide::Decision;
use crate::decide::naming::{Named, Taxon};

/// Different names that are counted for one event. Frames with further names count for none.
const MOST: usize = 3;

/// Counts of the names of an event's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NameCounts {
    counts: [Option<Count>; MOST],
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Count {
    rank: Rank,
    class: u32,
    frames: u32,
    /// Sum of the probabilities.
    sum: f32,
}

impl NameCounts {
    /// Counts a frame with this name.
    pub fn add(&mut self, name: Named) {
        let is_same = |count: &Count| (count.rank, count.class) == (name.rank, name.class);
        let place = self.counts.iter_mut().find(|place| place.as_ref().is_none_or(is_same));
        if let Some(place) = place {
            let count = place.get_or_insert(Count { rank: name.rank, class: name.class, frames: 0, sum: 0.0 });
            count.frames = count.frames.saturating_add(1);
            count.sum += name.probability;
        }
    }

    /// The narrowest name that more than half of `frames` had, directly or as part of a narrower one. Only ranks that
    /// the bundle reports for known, or for open, are considered.
    pub fn shared<'a>(&self, label: Decision, frames: u64, bundle: &'a Bundle) -> Option<Taxon<'a>> {
        let names = bundle.open.names.as_ref()?;
        let names = if label == Decision::Open { &names.open } else { &names.known };
        let mut ranks = std::iter::once(Rank::Label).chain(Rank::OF_TAXA).filter(|rank| names.contains_key(rank));
        ranks.find_map(|rank| {
            self.counts.iter().flatten().find_map(|count| {
                let name = count.at(rank, bundle)?;
                let same = self.counts.iter().flatten().filter(|other| other.at(rank, bundle) == Some(name));
                let (shared, sum) =
                    same.fold((0, 0.0), |(frames, sum), other| (frames + u64::from(other.frames), sum + other.sum));
                let taxon = Taxon {
                    rank,
                    name: name.0,
                    class: count.class as usize,
                    probability: (sum / shared as f32).min(1.0),
                };
                (2 * shared > frames).then_some(taxon)
            })
        })
    }
}

impl Count {
    /// Its name at `rank`. For a class also its index, because two classes may have the same name.
    fn at<'a>(&self, rank: Rank, bundle: &'a Bundle) -> Option<(&'a str, Option<u32>)> {
        let class = bundle.classes.get(self.class as usize)?;
        match rank {
            rank if rank < self.rank => None,
            Rank::Label => Some((class.name.as_str(), Some(self.class))),
            rank => Some((bundle.taxonomy.as_ref()?.of(&class.id, rank)?, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Naming, Taxonomy, example};

    /// Two classes of one genus, one more of the family, one of another order, and a wall.
    fn bundle() -> Bundle {
        let mut bundle = example::bundle(&["a", "b", "c", "d", "wall"].map(|id| (id, 9)));
        let table = "id\torder\tfamily\tgenus\na\tO\tF\tG\nb\tO\tF\tG\nc\tO\tF\tH\nd\tP\tE\t\n";
        bundle.taxonomy = Taxonomy::from_table("t", table).unwrap().restricted(&bundle.classes);
        let known = [Rank::Label, Rank::Genus, Rank::Order].map(|rank| (rank, 0.5)).into();
        bundle.open.names = Some(Naming { share: 0.9, known, open: [(Rank::Family, 0.5)].into() });
        bundle
    }

    fn shared(label: Decision, frames: u64, frames_names: &[(Rank, u32, f32)]) -> Option<(Rank, &'static str, f32)> {
        let bundle: &'static Bundle = Box::leak(Box::new(bundle()));
        let mut names = NameCounts::default();
        frames_names.iter().for_each(|(rank, class, probability)| {
            names.add(Named { rank: *rank, class: *class, probability: *probability });
        });
        names.shared(label, frames, bundle).map(|taxon| (taxon.rank, taxon.name, taxon.probability))
    }

    const A: Decision = Decision::Known(0);

    #[test]
    fn most_frames_share_the_name() {
        use Rank::{Genus, Label, Order};
        assert_eq!(shared(A, 3, &[(Label, 0, 0.875), (Label, 0, 0.625), (Genus, 0, 0.5)]), Some((Label, "a", 0.75)));
        // Half is not enough. A narrower name counts for the wider one too.
        assert_eq!(shared(A, 2, &[(Label, 0, 0.875), (Genus, 0, 0.625)]), Some((Genus, "G", 0.75)));
        assert_eq!(shared(A, 2, &[(Label, 0, 1.0), (Label, 1, 0.5)]), Some((Genus, "G", 0.75)));
        // A rank that the bundle does not report is skipped.
        assert_eq!(shared(A, 2, &[(Label, 0, 1.0), (Label, 2, 0.5)]), Some((Order, "O", 0.75)));
        assert_eq!(shared(A, 2, &[(Label, 0, 1.0), (Label, 3, 1.0)]), None);
        // Frames without a name count against a name.
        assert_eq!(shared(A, 4, &[(Label, 0, 0.9), (Label, 0, 0.9)]), None);
        assert_eq!(shared(A, 1, &[(Label, 4, 0.75)]), Some((Label, "wall", 0.75)));
        assert_eq!(shared(A, 0, &[]), None);
    }

    #[test]
    fn open_events_have_ranks_of_their_own() {
        assert_eq!(shared(Decision::Open, 1, &[(Rank::Family, 2, 0.75)]), Some((Rank::Family, "F", 0.75)));
        assert_eq!(shared(A, 1, &[(Rank::Family, 2, 0.75)]), Some((Rank::Order, "O", 0.75)));
    }

    #[test]
    fn more_names_than_fit_count_for_none() {
        // Four frames with three names in one order, and three with other names.
        let many = [(Rank::Label, 0, 0.5), (Rank::Label, 1, 0.5), (Rank::Label, 2, 0.5), (Rank::Label, 0, 0.5)];
        let more = [Rank::Genus, Rank::Order, Rank::Family].map(|rank| (rank, 0, 0.5));
        let all = [&many[..], &more].concat();
        assert_eq!(shared(A, 7, &all), Some((Rank::Order, "O", 0.5)));
        assert_eq!(shared(A, 8, &all), None);
    }
}
