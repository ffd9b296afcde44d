//! The text of a decision in tables, with a name above species if the bundle has one.

use oltr::Told;
use oltr::bundle::Rank;

/// The text of the class `known`, or of open, with the name `told` if the bundle has a taxonomy.
pub fn with_name(known: Option<&str>, told: Option<Option<Told>>) -> String {
    match (known, told) {
        (Some(_), Some(Some(Told { rank, name, .. }))) if rank > Rank::Label => format!("{name} ({})", rank.word()),
        // No name is sure enough for the bundle's promise.
        (Some(known), Some(None)) => format!("{known} ?"),
        (Some(known), _) => known.into(),
        (None, Some(Some(Told { name, .. }))) => format!("open, near {name}"),
        (None, _) => "open".into(),
    }
}
