//! What people decided of events: a log of its own beside the segments, which is never cut short.
//!
//! It has a lock of its own, so that a person can decide while a stream is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::line::{self, Piece};

/// Name of the log in the store's folder.
pub const FILE: &str = "reviews.jsonl";

/// Name of its lock.
const LOCK: &str = "reviews.lock";

/// Most bytes of the log: some 200,000 decisions.
pub const MAX_BYTES: u64 = 32 << 20;

/// Most bytes of a name that a person gives.
pub const MAX_NAME: usize = 64;

/// What a person says of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// It shows this.
    Label(String),
    /// It is of no class that there is a name for.
    Open,
    /// It shows nothing.
    Nothing,
}

impl Said {
    /// What the word or name `text` says.
    ///
    /// # Errors
    /// [`Error::Bad`] for a name that is empty or too long, or has control characters.
    pub fn parse(text: &str) -> Result<Said> {
        let name = text.trim();
        match name {
            "open" => Ok(Said::Open),
            "nothing" => Ok(Said::Nothing),
            "" => Err(Error::bad("the name", "is empty; give a name, open, or nothing")),
            name if name.len() > MAX_NAME => Err(Error::bad("the name", format!("has more than {MAX_NAME} bytes"))),
            name if name.chars().any(char::is_control) => {
                Err(Error::bad("the name", "has line breaks or other control characters"))
            }
            name => Ok(Said::Label(name.into())),
        }
    }

    /// The name, or `open` or `nothing`.
    pub fn text(&self) -> &str {
        match self {
            Said::Label(name) => name,
            Said::Open => "open",
            Said::Nothing => "nothing",
        }
    }

    /// Whether what it was said of is kept for good.
    pub fn protects(&self) -> bool {
        *self != Said::Nothing
    }
}

/// A decision about one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The record.
    pub id: u64,
    /// What the person says.
    pub said: Said,
    /// Who it was.
    pub by: String,
    /// When, in RFC 3339.
    pub wall: String,
}

/// The log of one store.
#[derive(Clone, Debug)]
pub struct Reviews {
    folder: PathBuf,
}

/// The last decision about each record, in the order of the records.
pub type Decided = BTreeMap<u64, Review>;

impl Reviews {
    /// The log of the store in `folder`.
    pub fn of(folder: &Path) -> Reviews {
        Reviews { folder: folder.into() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// All decisions in the order in which they were made; none where there is no log. What is no whole line is left out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn all(&self, disk: &dyn Disk) -> Result<Vec<Review>> {
        let bytes = self.bytes(disk)?;
        let lines = line::pieces(&bytes).filter_map(|piece| match piece {
            Piece::Line(object, _) => serde_json::from_slice(object).ok(),
            _ => None,
        });
        Ok(lines.collect())
    }

    /// What holds now of each record that was decided about.
    ///
    /// # Errors
    /// As [`Reviews::all`].
    pub fn decided(&self, disk: &dyn Disk) -> Result<Decided> {
        Ok(self.all(disk)?.into_iter().map(|review| (review.id, review)).collect())
    }

    fn bytes(&self, disk: &dyn Disk) -> Result<Vec<u8>> {
        match disk.read(&self.path(), MAX_BYTES) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|e| Error::io(&self.path(), e)),
        }
    }

    /// Holds the log, so that no decision is made until what is returned is dropped; `None` if another process holds it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn hold(&self, disk: &dyn Disk) -> Result<Option<Box<dyn Send>>> {
        let path = self.folder.join(LOCK);
        disk.lock(&path).map_err(|e| Error::io(&path, e))
    }

    /// Adds `reviews`, which are there when this returns, through a power cut too. `exists` says, once no record can go
    /// any more, whether a record is there; others are refused.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process holds the log for long; [`Error::Bad`] for a record that is not there;
    /// [`Error::Full`], [`Error::Io`].
    pub fn add(&self, disk: &dyn Disk, reviews: &[Review], exists: &mut dyn FnMut(u64) -> Result<bool>) -> Result<()> {
        let mut waits = 0;
        let _held = loop {
            match self.hold(disk)? {
                Some(held) => break held,
                None if waits >= 500 => return Err(Error::Busy { path: self.folder.clone() }),
                None => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
            waits += 1;
        };
        for review in reviews {
            if !exists(review.id)? {
                return Err(Error::bad(
                    format!("record {}", review.id),
                    "is not in the store; 'oltr store list' lists them",
                ));
            }
        }
        let bytes = self.bytes(disk)?;
        let torn = line::pieces(&bytes).find_map(|piece| match piece {
            Piece::Torn(length) => Some(bytes.len() - length),
            _ => None,
        });
        let mut lines = Vec::new();
        for review in reviews {
            let object = serde_json::to_vec(review).map_err(|e| Error::bad("a review", e.to_string()))?;
            line::write(&object, &mut lines);
        }
        if bytes.len() as u64 + lines.len() as u64 > MAX_BYTES {
            return Err(Error::Full { path: self.path(), reason: "the log of reviews has no room for more".into() });
        }
        let failed = |e| Error::io(&self.path(), e);
        let (mut file, new) = match disk.append(&self.path()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => (disk.create(&self.path()).map_err(failed)?, true),
            other => (other.map_err(failed)?, false),
        };
        let whole = torn.unwrap_or(bytes.len()) as u64;
        if torn.is_some() {
            file.truncate(whole).map_err(failed)?;
        }
        if let Err(e) = file.append(&lines).and_then(|()| file.sync()) {
            // Half a line would hide nothing, but a whole one would say what was refused.
            let _ = file.truncate(whole);
            return Err(failed(e));
        }
        if new {
            disk.sync_folder(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn review(id: u64, said: &str) -> Review {
        Review { id, said: Said::parse(said).unwrap(), by: "a".into(), wall: "2026-01-01T00:00:00Z".into() }
    }

    #[test]
    fn the_last_decision_holds_and_a_torn_one_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let reviews = Reviews::of(folder.path());
        let mut there = |id| Ok(id < 10);
        assert!(reviews.all(&RealDisk).unwrap().is_empty());
        reviews.add(&RealDisk, &[review(1, "cup"), review(2, "open")], &mut there).unwrap();
        reviews.add(&RealDisk, &[review(1, "nothing")], &mut there).unwrap();
        assert!(reviews.add(&RealDisk, &[review(10, "cup")], &mut there).is_err());
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..20 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            reviews.add(&RealDisk, &[review(3, "eel")], &mut there).unwrap();
            let said: Vec<(u64, String)> =
                reviews.decided(&RealDisk).unwrap().into_iter().map(|(id, r)| (id, r.said.text().into())).collect();
            assert_eq!(said, [(1, "cup".into()), (2, "open".into()), (3, "eel".into())]);
        }
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(Said::parse(" eel ").unwrap(), Said::Label("eel".into()));
        assert_eq!((Said::parse("open").unwrap(), Said::parse("nothing").unwrap()), (Said::Open, Said::Nothing));
        for bad in ["", "  ", "a\nb", &"x".repeat(65)] {
            assert!(Said::parse(bad).is_err());
        }
    }
}
