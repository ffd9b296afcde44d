//! A species list: only classes on the list can be the answer.
//!
//! It acts before the softmax, as if the network had no logits and no centroids for unlisted classes. So a frame of an
//! unlisted class is open, unless it is near a listed one.

use std::collections::HashSet;

use crate::bundle::{Bundle, Rank};
use crate::error::{Error, Result};
use crate::model::Outputs;

/// Most bytes of a list.
pub const MAX_LIST: u64 = 16 << 20;

/// The classes of a bundle that a list names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    allowed: Vec<bool>,
    strangers: usize,
}

impl Listed {
    /// Reads a list with one entry per line: the id of a class, its name, or a taxon of any rank in the bundle's
    /// taxonomy, which means all of its classes. Case does not matter. Lines that match no class are counted: a real
    /// list has more species than a bundle. Messages name the file `subject`.
    ///
    /// # Errors
    /// [`Error::BadInput`] if no class of the bundle is listed.
    pub fn read(subject: &str, text: &str, bundle: &Bundle) -> Result<Listed> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let lines: HashSet<String> = lines.filter(|line| !line.is_empty()).map(str::to_lowercase).collect();
        let mut used: HashSet<String> = HashSet::new();
        let mut allowed = Vec::with_capacity(bundle.classes.len());
        for class in &bundle.classes {
            let taxa = Rank::OF_TAXA.into_iter().filter_map(|rank| bundle.taxonomy.as_ref()?.of(&class.id, rank));
            let names = [class.id.as_str(), class.name.as_str()].into_iter().chain(taxa);
            let named: Vec<String> = names.map(str::to_lowercase).filter(|name| lines.contains(name)).collect();
            allowed.push(!named.is_empty());
            used.extend(named);
        }
        if !allowed.contains(&true) {
            return Err(Error::BadInput {
                subject: subject.into(),
                reason: format!(
                    "names none of the {} classes of '{}'; write ids or names as 'oltr inspect --classes' lists them, one a \
                     line",
                    bundle.classes.len(),
                    bundle.name
                ),
            });
        }
        Ok(Listed { allowed, strangers: lines.len() - used.len() })
    }

    /// Classes that are listed.
    pub fn classes(&self) -> usize {
        self.allowed.iter().filter(|allowed| **allowed).count()
    }

    /// Classes of the bundle.
    pub fn of(&self) -> usize {
        self.allowed.len()
    }

    /// Lines that match no class.
    pub fn strangers(&self) -> usize {
        self.strangers
    }

    /// Removes unlisted classes from `outputs`: their probability becomes 0 and their distance infinite. Allocates
    /// nothing.
    pub fn apply(&self, outputs: &mut Outputs) {
        let hide = |values: &mut [f32], hidden: f32| {
            values
                .iter_mut()
                .zip(&self.allowed)
                .filter(|(_, allowed)| !**allowed)
                .for_each(|(value, _)| *value = hidden);
        };
        // The smallest finite number: its exponential is 0 next to any other.
        hide(&mut outputs.logits, f32::MIN);
        hide(&mut outputs.distances, f32::INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Judge;
    use crate::bundle::{Taxonomy, example};
    use crate::decide::Decision;

    fn bundle() -> Bundle {
        let mut bundle = example::bundle(&["a", "b", "c"].map(|id| (id, 9)));
        bundle.classes[2].name = "Moon jelly".into();
        let table = "id\tfamily\na\tPomacentridae\nb\tPomacentridae\n";
        bundle.taxonomy = Taxonomy::from_table("t", table).unwrap().restricted(&bundle.classes);
        bundle
    }

    #[test]
    fn a_list_names_classes_by_id_name_or_taxon() {
        let bundle = bundle();
        let read = |text| Listed::read("l", text, &bundle).map(|l| (l.classes(), l.of(), l.strangers()));
        assert_eq!(read("a\n# all of them\n\nunicorn\n").unwrap(), (1, 3, 1));
        assert_eq!(read("moon JELLY # c\nb\n").unwrap(), (2, 3, 0));
        assert_eq!(read("pomacentridae\n").unwrap(), (2, 3, 0));
        assert!(read("unicorn\n").unwrap_err().to_string().contains("none of the 3 classes"));
    }

    #[test]
    fn what_is_not_listed_is_neither_probable_nor_near() {
        let bundle = bundle();
        let judge = Judge::new(&bundle);
        let mut outputs = Outputs { logits: vec![5.0, 1.0, 3.0], distances: vec![5.0, 15.0, 25.0], features: vec![] };
        assert_eq!(judge.answer(&outputs).unwrap().decision, Decision::Known(0));
        Listed::read("l", "b\nc", &bundle).unwrap().apply(&mut outputs);
        let answer = judge.answer(&outputs).unwrap();
        assert_eq!((answer.decision, answer.nearest.class), (Decision::Known(2), 1));
        // Before the softmax: e³ against e.
        assert!((answer.probability - 1.0 / (1.0 + (-2f32).exp())).abs() < 1e-6, "{}", answer.probability);
        Listed::read("l", "Moon jelly", &bundle).unwrap().apply(&mut outputs);
        let answer = judge.answer(&outputs).unwrap();
        assert_eq!((answer.decision, answer.probability), (Decision::Open, 1.0));
        for kind in crate::scores::ScoreKind::ALL {
            assert!(kind.of(&outputs.logits, &outputs.distances).is_finite(), "{kind:?}");
        }
    }
}
