//! Names above species: when a class is uncertain, the narrowest name that is right often enough.
//!
//! The probability of a taxon is the sum over its classes, so a network that wavers between two species of a genus is
//! sure of the genus. A frame gets the narrowest name whose probability reaches the threshold of its rank.
//! [`calibrate`](crate::calibrate) finds the thresholds. Names do not change decisions: known and open follow the rule.

use super::Decision;
use crate::bundle::{Bundle, Rank};
use crate::scores::most_probable;

/// A name for a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Taxon<'a> {
    /// Its rank; [`Rank::Label`] for a single class.
    pub rank: Rank,
    /// The taxon's name, or the display name of a class.
    pub name: &'a str,
    /// Index of a class that belongs to it, or of the class itself.
    pub class: usize,
    /// Sum of the probabilities of its classes, 0..1.
    pub probability: f32,
}

/// A frame's name without its text, for counting in an [`Event`](super::events::Event).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Named {
    /// As [`Taxon::rank`].
    pub rank: Rank,
    /// As [`Taxon::class`].
    pub class: u32,
    /// As [`Taxon::probability`].
    pub probability: f32,
}

impl From<Taxon<'_>> for Named {
    fn from(taxon: Taxon) -> Named {
        Named { rank: taxon.rank, class: taxon.class as u32, probability: taxon.probability }
    }
}

/// The taxa of one rank.
#[derive(Clone, Debug)]
struct Level<'a> {
    rank: Rank,
    /// Each with its classes.
    taxa: Vec<(&'a str, Vec<usize>)>,
    known: Option<f32>,
    open: Option<f32>,
}

/// The names of a bundle.
#[derive(Clone, Debug)]
pub struct Namer<'a> {
    bundle: &'a Bundle,
    /// Above single classes, the narrowest first.
    levels: Vec<Level<'a>>,
}

impl<'a> Namer<'a> {
    /// The names by the taxonomy of `bundle`; `None` if it has none. Leaves out a rank at which all classes have the
    /// same taxon, because such a name carries no information.
    pub fn new(bundle: &'a Bundle) -> Option<Namer<'a>> {
        let taxonomy = bundle.taxonomy.as_ref()?;
        let names = bundle.open.names.as_ref();
        let level = |rank: Rank| {
            let mut taxa: Vec<(&str, Vec<usize>)> = Vec::new();
            let mut positions = std::collections::HashMap::new();
            for (class, id) in bundle.classes.iter().map(|class| &class.id).enumerate() {
                let Some(name) = taxonomy.of(id, rank) else { continue };
                let place = *positions.entry(name).or_insert(taxa.len());
                match taxa.get_mut(place) {
                    Some((_, classes)) => classes.push(class),
                    None => taxa.push((name, vec![class])),
                }
            }
            let is_informative = match &taxa[..] {
                [] => false,
                [(_, classes)] => classes.len() < bundle.classes.len(),
                _ => true,
            };
            let known = names.and_then(|names| names.known.get(&rank).copied());
            let open = names.and_then(|names| names.open.get(&rank).copied());
            is_informative.then_some(Level { rank, taxa, known, open })
        };
        Some(Namer { bundle, levels: Rank::OF_TAXA.into_iter().filter_map(level).collect() })
    }

    /// The usable ranks, narrowest first: single classes, and ranks with more than one taxon.
    pub fn ranks(&self) -> impl Iterator<Item = Rank> + '_ {
        std::iter::once(Rank::Label).chain(self.levels.iter().map(|level| level.rank))
    }

    /// The most probable name of `rank` for a frame with these `logits`, which must be finite; the first among equals.
    /// `None` for a rank that is not in [`Namer::ranks`], or for the wrong number of logits.
    pub fn best(&self, rank: Rank, logits: &[f32]) -> Option<Taxon<'a>> {
        if logits.len() != self.bundle.classes.len() {
            return None;
        }
        let (class, probability) = most_probable(logits).ok()?;
        if rank == Rank::Label {
            return Some(Taxon { rank, name: &self.bundle.classes[class].name, class, probability });
        }
        let level = self.levels.iter().find(|level| level.rank == rank)?;
        Some(level.best(logits, logits[class], probability))
    }

    /// The name for a frame with these `logits` that the rule calls `decision`.
    pub fn told(&self, logits: &[f32], decision: Decision) -> Option<Taxon<'a>> {
        let names = self.bundle.open.names.as_ref()?;
        let label = self.best(Rank::Label, logits)?;
        let is_known = match decision {
            Decision::Known(_) => true,
            Decision::Open => false,
            Decision::Enrolled(_) | Decision::Unclassified => return None,
        };
        if is_known && names.known.get(&Rank::Label).is_some_and(|threshold| label.probability >= *threshold) {
            return Some(label);
        }
        self.levels.iter().find_map(|level| {
            let threshold = if is_known { level.known } else { level.open }?;
            let best = level.best(logits, logits[label.class], label.probability);
            (best.probability >= threshold).then_some(best)
        })
    }

    /// Whether the class or taxon `id` belongs to `taxon`. `id` is a class of the bundle or a key of `taxonomy`.
    pub fn is_of(&self, taxon: &Taxon, id: &str, taxonomy: &crate::bundle::Taxonomy) -> bool {
        match taxon.rank {
            Rank::Label => self.bundle.classes[taxon.class].id == id,
            rank => {
                let own = self.bundle.taxonomy.as_ref().and_then(|own| own.of(id, rank));
                own.or(taxonomy.of(id, rank)) == Some(taxon.name)
            }
        }
    }
}

impl<'a> Level<'a> {
    /// The most probable taxon. `largest` is the largest logit, and `probability` its probability.
    fn best(&self, logits: &[f32], largest: f32, probability: f32) -> Taxon<'a> {
        let sum = |classes: &[usize]| classes.iter().map(|class| (logits[*class] - largest).exp()).sum::<f32>();
        let first = (self.taxa[0].0, self.taxa[0].1[0], sum(&self.taxa[0].1));
        let (name, class, most) = self.taxa[1..].iter().fold(first, |best, (name, classes)| {
            let sum = sum(classes);
            if sum > best.2 { (*name, classes[0], sum) } else { best }
        });
        Taxon { rank: self.rank, name, class, probability: (most * probability).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Naming, Taxonomy, example};

    fn bundle() -> Bundle {
        let mut bundle = example::bundle(&["a", "b", "c", "wall"].map(|id| (id, 9)));
        let table = "id\tkingdom\tfamily\tgenus\na\tAnimalia\tF\tG\nb\tAnimalia\tF\tH\nc\tAnimalia\tE\t\n";
        bundle.taxonomy = Taxonomy::from_table("t", table).unwrap().restricted(&bundle.classes);
        let known = [(Rank::Label, 0.8), (Rank::Family, 0.7), (Rank::Kingdom, 0.5)].into();
        bundle.open.names = Some(Naming { share: 0.9, known, open: [(Rank::Family, 0.9)].into() });
        bundle
    }

    /// Logits that give these probabilities.
    fn logits(p: [f32; 4]) -> [f32; 4] {
        p.map(f32::ln)
    }

    #[test]
    fn the_narrowest_name_that_is_sure_enough_is_reported() {
        let bundle = bundle();
        let namer = Namer::new(&bundle).unwrap();
        let told = |p| namer.told(&logits(p), Decision::Known(0)).map(|t| (t.rank, t.name));
        assert_eq!(told([0.85, 0.05, 0.05, 0.05]), Some((Rank::Label, "a")));
        // Wavers between two species of one family.
        assert_eq!(told([0.4, 0.35, 0.2, 0.05]), Some((Rank::Family, "F")));
        assert_eq!(told([0.4, 0.05, 0.4, 0.15]), Some((Rank::Kingdom, "Animalia")));
        assert_eq!(told([0.2, 0.1, 0.1, 0.6]), None);
        // A class without a taxon has only its label as name.
        assert_eq!(told([0.05, 0.05, 0.05, 0.85]), Some((Rank::Label, "wall")));
        let best = namer.best(Rank::Family, &logits([0.4, 0.35, 0.2, 0.05])).unwrap();
        assert!((best.probability - 0.75).abs() < 1e-6 && best.class == 0, "{best:?}");
    }

    #[test]
    fn open_frames_have_thresholds_of_their_own() {
        let bundle = bundle();
        let namer = Namer::new(&bundle).unwrap();
        let told = |p| namer.told(&logits(p), Decision::Open).map(|t| t.name);
        assert_eq!(told([0.5, 0.45, 0.03, 0.02]), Some("F"));
        assert_eq!(told([0.97, 0.01, 0.01, 0.01]), Some("F"));
        assert_eq!(told([0.4, 0.35, 0.2, 0.05]), None);
        assert_eq!(namer.told(&logits([0.25; 4]), Decision::Enrolled(0)), None);
    }

    #[test]
    fn ranks_that_say_nothing_are_left_out() {
        let mut bundle = bundle();
        let ranks = |bundle: &Bundle| Namer::new(bundle).unwrap().ranks().collect::<Vec<_>>();
        assert_eq!(ranks(&bundle), [Rank::Label, Rank::Genus, Rank::Family, Rank::Kingdom]);
        // Without the wall all are animals.
        bundle.classes.truncate(3);
        assert_eq!(ranks(&bundle), [Rank::Label, Rank::Genus, Rank::Family]);
        bundle.taxonomy = None;
        assert!(Namer::new(&bundle).is_none());
    }
}
