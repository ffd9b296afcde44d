//! Operating points by name.

use std::fmt;
use std::str::FromStr;

use super::Data;
use crate::error::{Error, Result};

/// The operating point of a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The highest threshold that accepts at least this share of the known photos, 0..1. Needs known photos only.
    KnownAccept(f64),
    /// The lowest threshold that calls at least this share of the unknown photos open, 0..1.
    OpenReject(f64),
    /// The threshold with the largest open-set F-measure (formula of 2020-01-29).
    MaxF,
    /// The threshold with the largest mean of known photos accepted and unknown ones called open (Youden's index).
    Balanced,
}

impl Target {
    /// Whether photos of unknown things are needed.
    pub fn needs_open(self) -> bool {
        !matches!(self, Target::KnownAccept(_))
    }

    pub(super) fn check(self, data: &Data, split: &str) -> Result<()> {
        let bad = |reason| Err(Error::BadInput { subject: format!("target {self}"), reason });
        if data.known == 0 && self != Target::OpenReject(self.share()) {
            return bad(format!("the split '{split}' has no known photo to choose a threshold by"));
        }
        if self.needs_open() && data.open == 0 {
            return bad(format!(
                "the split '{split}' has no unknown photo (role unknown); add some, or take --target \
                 known-accept=0.95, which needs known photos only"
            ));
        }
        Ok(())
    }

    fn share(self) -> f64 {
        match self {
            Target::KnownAccept(share) | Target::OpenReject(share) => share,
            Target::MaxF | Target::Balanced => f64::NAN,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::KnownAccept(share) => write!(f, "known-accept={share}"),
            Target::OpenReject(share) => write!(f, "open-reject={share}"),
            Target::MaxF => f.write_str("max-f"),
            Target::Balanced => f.write_str("balanced"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let help = || {
            format!(
                "'{text}' is no target; write known-accept=0.95, open-reject=0.90 (above 0, at most 1), max-f or balanced"
            )
        };
        let (name, share) = text.split_once('=').map_or((text, None), |(name, share)| (name, Some(share)));
        let share = match share {
            None => None,
            Some(share) => Some(share.trim().parse::<f64>().ok().filter(|s| *s > 0.0 && *s <= 1.0).ok_or_else(help)?),
        };
        match (name.trim(), share) {
            ("known-accept", Some(share)) => Ok(Target::KnownAccept(share)),
            ("open-reject", Some(share)) => Ok(Target::OpenReject(share)),
            ("max-f", None) => Ok(Target::MaxF),
            ("balanced", None) => Ok(Target::Balanced),
            _ => Err(help()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        for text in ["known-accept=0.95", "open-reject=1", "max-f", "balanced"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "known-accept",
            "known-accept=",
            "known-accept=0",
            "known-accept=95",
            "max-f=1",
            "min-f",
            "open-reject=NaN",
        ] {
            assert!(text.parse::<Target>().unwrap_err().contains("known-accept=0.95"), "{text}");
        }
    }

    #[test]
    fn photos_that_are_needed_must_be_there() {
        let data = |known, open| Data { known, known_classes: known, open, open_classes: open };
        assert!(Target::KnownAccept(0.9).check(&data(1, 0), "val").is_ok());
        assert!(Target::OpenReject(0.9).check(&data(0, 1), "val").is_ok());
        for target in [Target::KnownAccept(0.9), Target::MaxF, Target::Balanced] {
            assert!(target.check(&data(0, 1), "val").is_err(), "{target}");
        }
        for target in [Target::OpenReject(0.9), Target::MaxF, Target::Balanced] {
            let message = target.check(&data(1, 0), "val").unwrap_err().to_string();
            assert!(message.contains("'val'") && message.contains("known-accept"), "{message}");
        }
    }
}
