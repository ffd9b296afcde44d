//! What tables show of a decision, with the name above species that a bundle is sure of.

use oltr::Told;
use oltr::bundle::Rank;

/// What is shown: the class called `known`, or something open, with the name that was `told` where the bundle tells names.
pub fn with_name(known: Option<&str>, told: Option<Option<Told>>) -> String {
    match (known, told) {
        (Some(_), Some(Some(Told { rank, name, .. }))) if rank > Rank::Label => format!("{name} ({})", rank.word()),
        // A name that is not sure enough for what the bundle promises.
        (Some(known), Some(None)) => format!("{known} ?"),
        (Some(known), _) => known.into(),
        (None, Some(Some(Told { name, .. }))) => format!("open, near {name}"),
        (None, _) => "open".into(),
    }
}
