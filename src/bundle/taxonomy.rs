//! Names above species: which taxa the classes of a bundle belong to, `oltr.taxonomy`.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Class;
use crate::error::{Error, Result};

/// Most bytes of a taxon's name.
pub const MAX_TAXON: usize = 200;

/// Most bytes of a table of taxa: a million lines of names.
pub const MAX_TABLE: u64 = 64 << 20;

/// How much a name takes in, the narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// One class of the bundle, whatever it is in nature: it has no taxon of its own.
    Label,
    /// Species.
    Species,
    /// Genus.
    Genus,
    /// Family.
    Family,
    /// Order.
    Order,
    /// Class, of nature.
    Class,
    /// Phylum.
    Phylum,
    /// Kingdom.
    Kingdom,
}

impl Rank {
    /// The ranks of taxa, the narrowest first.
    pub const OF_TAXA: [Rank; 7] =
        [Rank::Species, Rank::Genus, Rank::Family, Rank::Order, Rank::Class, Rank::Phylum, Rank::Kingdom];

    /// Its word, as in JSON and in the header of a table.
    pub fn word(self) -> &'static str {
        match self {
            Rank::Label => "label",
            Rank::Species => "species",
            Rank::Genus => "genus",
            Rank::Family => "family",
            Rank::Order => "order",
            Rank::Class => "class",
            Rank::Phylum => "phylum",
            Rank::Kingdom => "kingdom",
        }
    }
}

/// Numbers of a taxon in catalogues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxonIds {
    /// Key of the GBIF backbone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gbif: Option<u64>,
    /// AphiaID of the World Register of Marine Species.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worms: Option<u64>,
}

/// The taxa of one class, the narrowest first.
pub type Taxa = BTreeMap<Rank, String>;

/// The taxa of classes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taxonomy {
    /// Where the names are from, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// By the id of the class: the taxon that it belongs to at each rank that is known. A class may lack ranks, or all.
    pub classes: BTreeMap<String, Taxa>,
    /// Numbers of taxa, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, TaxonIds>,
}

impl Taxonomy {
    /// Where it stands in the metadata.
    pub const KEY: &str = "oltr.taxonomy";

    /// The taxon of the class `id` at `rank`.
    pub fn of(&self, id: &str, rank: Rank) -> Option<&str> {
        self.classes.get(id)?.get(&rank).map(String::as_str)
    }

    /// Reads a table of taxa: a header with `id` and ranks (`kingdom` to `species`), and beside them `gbif` and `worms`,
    /// numbers of the narrowest taxon of the line; columns are separated by tabs. Lines that begin with `#` say where it is
    /// from. `subject` is the file, for messages.
    ///
    /// # Errors
    /// [`Error::BadInput`] naming the line, for what is no such table or contradicts itself.
    pub fn from_table(subject: &str, text: &str) -> Result<Taxonomy> {
        let bad = |line: usize, reason: String| Error::BadInput {
            subject: subject.into(),
            reason: format!("line {}: {reason}", line + 1),
        };
        let source = text.lines().filter_map(|line| Some(line.strip_prefix('#')?.trim())).collect::<Vec<_>>().join(" ");
        let is_data = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
        let mut lines = text.lines().enumerate().filter(|(_, line)| is_data(line));
        let header: Vec<&str> =
            lines.next().map(|(_, line)| line.split('\t').map(str::trim).collect()).unwrap_or_default();
        let is_known = |column: &&str| {
            ["id", "gbif", "worms"].contains(column) || Rank::OF_TAXA.iter().any(|rank| rank.word() == *column)
        };
        if !header.contains(&"id") || !header.iter().all(is_known) {
            let reason = "the header must name id and ranks (kingdom, phylum, class, order, family, genus, species), with \
                          gbif and worms if wanted, separated by tabs";
            return Err(bad(0, reason.into()));
        }
        let mut taxonomy = Taxonomy { source, ..Taxonomy::default() };
        for (number, line) in lines {
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            if fields.len() > header.len() {
                return Err(bad(number, format!("has {} fields, the header {}", fields.len(), header.len())));
            }
            let of = |column: &str| {
                let place = header.iter().position(|name| *name == column)?;
                fields.get(place).copied().filter(|field| !field.is_empty())
            };
            let id = of("id").ok_or_else(|| bad(number, "has no id".into()))?;
            let ranks = Rank::OF_TAXA.into_iter().filter_map(|rank| Some((rank, of(rank.word())?.to_string())));
            let ranks: Taxa = ranks.collect();
            let key = |column: &str| match of(column).map(str::parse) {
                None => Ok(None),
                Some(Ok(key)) => Ok(Some(key)),
                Some(Err(_)) => Err(bad(number, format!("'{column}' must be a whole number"))),
            };
            let ids = TaxonIds { gbif: key("gbif")?, worms: key("worms")? };
            if let Some(narrowest) = ranks.values().next().filter(|_| ids != TaxonIds::default()) {
                taxonomy.ids.insert(narrowest.clone(), ids);
            }
            if taxonomy.classes.insert(id.into(), ranks).is_some() {
                return Err(bad(number, format!("names the class '{id}' twice")));
            }
        }
        taxonomy.check().map_err(|reason| Error::BadInput { subject: subject.into(), reason })?;
        Ok(taxonomy)
    }

    /// What it says of `classes` and nothing else; `None` where that is nothing.
    pub fn restricted(&self, classes: &[Class]) -> Option<Taxonomy> {
        let taxa =
            |class: &Class| Some((class.id.clone(), self.classes.get(&class.id).filter(|t| !t.is_empty())?.clone()));
        let classes: BTreeMap<String, Taxa> = classes.iter().filter_map(taxa).collect();
        let named = |name: &str| classes.values().flat_map(BTreeMap::values).any(|taxon| taxon == name);
        let ids = self.ids.iter().filter(|(name, _)| named(name)).map(|(name, ids)| (name.clone(), *ids)).collect();
        (!classes.is_empty()).then_some(Taxonomy { source: self.source.clone(), classes, ids })
    }

    /// As it stands in the metadata.
    pub fn to_json(&self) -> String {
        super::json(self)
    }

    /// Names that can be reported, and one parent for each.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let mut parents: HashMap<(Rank, &str), (&str, &Taxa)> = HashMap::new();
        for (id, taxa) in &self.classes {
            for (rank, name) in taxa {
                if *rank == Rank::Label {
                    return Err(format!("gives '{id}' a taxon of the rank label; the ranks are kingdom to species"));
                }
                if name.trim().is_empty() || name.len() > MAX_TAXON || name.chars().any(char::is_control) {
                    return Err(format!("gives '{id}' a {} without letters, or one that is too long", rank.word()));
                }
                let (other, theirs) = *parents.entry((*rank, name)).or_insert((id, taxa));
                let differs =
                    |(above, name): (&Rank, &String)| above > rank && theirs.get(above).is_some_and(|t| t != name);
                if taxa.iter().any(differs) {
                    let rank = rank.word();
                    return Err(format!(
                        "puts the {rank} '{name}' under one taxon for '{other}' and another for '{id}'"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# from memory\nid\tfamily\tgenus\tspecies\tworms\n\
        a\tPomacentridae\tDascyllus\tDascyllus reticulatus\t212833\n\
        b\tPomacentridae\tChromis\t\n\
        \n\
        wall\n";

    #[test]
    fn a_table_names_what_is_known_of_each_class() {
        let t = Taxonomy::from_table("t", TABLE).unwrap();
        assert_eq!((t.of("a", Rank::Species), t.of("b", Rank::Species)), (Some("Dascyllus reticulatus"), None));
        assert_eq!((t.of("b", Rank::Family), t.of("wall", Rank::Family)), (Some("Pomacentridae"), None));
        assert_eq!(t.ids["Dascyllus reticulatus"].worms, Some(212_833));
        assert_eq!(t.source, "from memory");
        let classes = ["b", "wall"].map(|id| Class { id: id.into(), name: id.into(), train_count: 1 });
        let of = t.restricted(&classes).unwrap();
        assert_eq!((of.classes.len(), of.ids.len()), (1, 0));
        assert_eq!(t.restricted(&classes[1..]), None);
        let again: Taxonomy = serde_json::from_str(&t.to_json()).unwrap();
        assert_eq!(again, t);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (table, said) in [
            ("", "line 1"),
            ("class\tfamily\na\tb\n", "header"),
            ("id\tclan\n", "header"),
            ("id\tgenus\na\tx\na\ty\n", "'a' twice"),
            ("id\tgenus\na\tx\ty\n", "line 2: has 3 fields"),
            ("id\tworms\tgenus\na\tmany\tx\n", "whole number"),
            ("id\tfamily\tgenus\na\tF\tG\nb\tH\tG\n", "the genus 'G' under one taxon for 'a' and another for 'b'"),
        ] {
            let message = Taxonomy::from_table("t", table).unwrap_err().to_string();
            assert!(message.contains(said), "{table:?}: {message}");
        }
    }
}
