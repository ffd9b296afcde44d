//! Reviews: the log of people's decisions on events, next to the segments. A decision in force is never lost.
//!
//! The log has its own lock, so that a person can decide while a stream writes events.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, replace};
use crate::error::{Error, Result};
use crate::line::{self, Piece};

/// Name of the log in the store's folder.
pub const FILE: &str = "reviews.jsonl";

/// The temporary file that replaces the log.
const TEMPORARY: &str = "reviews.tmp";

/// Name of its lock.
const LOCK: &str = "reviews.lock";

/// Most bytes of the log, which is read as a whole: some 30,000 decisions in force.
pub const MAX_BYTES: u64 = 4 << 20;

/// How long to wait for the lock. A decision holds it no longer than reading some segments takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause between attempts to lock.
const TICK: Duration = Duration::from_millis(10);

/// Most bytes of a name.
pub const MAX_NAME: usize = 64;

/// A person's decision on an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// It shows this class.
    Label(String),
    /// It shows something without a class.
    Open,
    /// It shows nothing.
    Nothing,
}

impl Said {
    /// Parses `open`, `nothing` or a name.
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

    /// The name, `open` or `nothing`.
    pub fn text(&self) -> &str {
        match self {
            Said::Label(name) => name,
            Said::Open => "open",
            Said::Nothing => "nothing",
        }
    }

    /// Whether the event is protected from eviction.
    pub fn protects(&self) -> bool {
        *self != Said::Nothing
    }
}

/// A decision about one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The record.
    pub id: u64,
    /// The decision.
    pub said: Said,
    /// Who decided.
    pub by: String,
    /// When, in RFC 3339.
    pub wall: String,
}

/// The log of reviews of one store.
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

    /// All decisions in order; none if there is no log. Skips lines that are not whole.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn all(&self, disk: &dyn Disk) -> Result<Vec<Review>> {
        let mut all = Vec::new();
        self.each(disk, &mut |review| all.push(review))?;
        Ok(all)
    }

    /// The decision in force for each reviewed record.
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

    /// Locks the log, so that no decision is made until the result is dropped. `None` if another process holds the
    /// lock.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn hold(&self, disk: &dyn Disk) -> Result<Option<Box<dyn Send>>> {
        let path = self.folder.join(LOCK);
        disk.lock(&path).map_err(|e| Error::io(&path, e))
    }

    /// As [`Reviews::hold`], but waits for another process.
    ///
    /// # Errors
    /// [`Error::Deciding`] on timeout; [`Error::Io`].
    pub fn hold_soon(&self, disk: &dyn Disk) -> Result<Box<dyn Send>> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.hold(disk)? {
                Some(held) => return Ok(held),
                None if Instant::now() > end => return Err(Error::Deciding { path: self.folder.join(LOCK) }),
                None => std::thread::sleep(TICK),
            }
        }
    }

    /// Calls `f` with each decision, in order. Keeps none in memory.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn each(&self, disk: &dyn Disk, f: &mut dyn FnMut(Review)) -> Result<()> {
        let bytes = self.bytes(disk)?;
        for piece in line::pieces(&bytes) {
            if let Piece::Line(object, _) = piece
                && let Ok(review) = serde_json::from_slice(object)
            {
                f(review);
            }
        }
        Ok(())
    }

    /// Adds `reviews`. They survive a power cut once this returns. `exists` is called while eviction is locked out;
    /// reviews of missing records are refused.
    ///
    /// # Errors
    /// [`Error::Deciding`] if another process holds the lock for too long; [`Error::Bad`] for a missing record;
    /// [`Error::Full`], [`Error::Io`].
    pub fn add(&self, disk: &dyn Disk, reviews: &[Review], exists: &mut dyn FnMut(u64) -> Result<bool>) -> Result<()> {
        let _held = self.hold_soon(disk)?;
        for review in reviews {
            if !exists(review.id)? {
                return Err(Error::bad(
                    format!("record {}", review.id),
                    "is not in the store; 'oltr store list' lists them",
                ));
            }
        }
        let mut bytes = self.bytes(disk)?;
        let mut lines = Vec::new();
        for review in reviews {
            let object = serde_json::to_vec(review).map_err(|e| Error::bad("a review", e.to_string()))?;
            line::write(&object, &mut lines);
        }
        let failed = |e| Error::io(&self.path(), e);
        let fits = |bytes: &[u8]| bytes.len() as u64 + lines.len() as u64 <= MAX_BYTES;
        if !fits(&bytes) {
            let holding = holding(&bytes);
            if !fits(&holding) {
                let reason = "the log of reviews has no room for more; export what is named and begin a new store";
                return Err(Error::Full { path: self.path(), reason: reason.into() });
            }
            replace(disk, &self.folder.join(TEMPORARY), &self.path(), &holding).map_err(failed)?;
            bytes = holding;
        }
        let torn = line::pieces(&bytes).find_map(|piece| match piece {
            Piece::Torn(length) => Some(bytes.len() - length),
            _ => None,
        });
        let (mut file, new) = match disk.append(&self.path()) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => (disk.create(&self.path()).map_err(failed)?, true),
            other => (other.map_err(failed)?, false),
        };
        let whole = torn.unwrap_or(bytes.len()) as u64;
        if torn.is_some() {
            file.truncate(whole).map_err(failed)?;
        }
        if let Err(e) = file.append(&lines).and_then(|()| file.sync()) {
            // Truncate: a half-written line would do no harm, but a whole one would record a refused decision.
            let _ = file.truncate(whole);
            return Err(failed(e));
        }
        if new {
            disk.sync_folder(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        }
        Ok(())
    }
}

/// The lines of the decisions in force, each at the position of the first decision on its record.
fn holding(bytes: &[u8]) -> Vec<u8> {
    let of = |piece| match piece {
        Piece::Line(object, _) => Some((serde_json::from_slice::<Review>(object).ok()?.id, object)),
        _ => None,
    };
    let mut last: BTreeMap<u64, &[u8]> = line::pieces(bytes).filter_map(of).collect();
    let mut lines = Vec::new();
    for (id, _) in line::pieces(bytes).filter_map(of) {
        if let Some(object) = last.remove(&id) {
            line::write(object, &mut lines);
        }
    }
    lines
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
    fn a_full_log_loses_what_holds_no_more_and_keeps_the_order() {
        let folder = tempfile::tempdir().unwrap();
        let reviews = Reviews::of(folder.path());
        let mut there = |_| Ok(true);
        let mut line = Vec::new();
        for (id, said) in [(5, "eel"), (3, "cup"), (5, "newt")] {
            line::write(&serde_json::to_vec(&review(id, said)).unwrap(), &mut line);
        }
        let said = |reviews: &Reviews| -> Vec<(u64, String)> {
            reviews.all(&RealDisk).unwrap().into_iter().map(|r| (r.id, r.said.text().into())).collect()
        };
        let path = folder.path().join(FILE);
        std::fs::write(&path, line.repeat(MAX_BYTES as usize / line.len())).unwrap();
        reviews.add(&RealDisk, &[review(7, "open"), review(3, "nothing")], &mut there).unwrap();
        let all = [(5, "newt"), (3, "cup"), (7, "open"), (3, "nothing")].map(|(id, said)| (id, said.to_string()));
        assert_eq!(said(&reviews), all);
        assert!(!folder.path().join(TEMPORARY).exists());
        // All decisions are in force, so the full log cannot shrink: it refuses more and stays as it is.
        let mut full = Vec::new();
        for id in 0.. {
            line::write(&serde_json::to_vec(&review(id, "a long name of something")).unwrap(), &mut full);
            if full.len() as u64 > MAX_BYTES - 200 {
                break;
            }
        }
        std::fs::write(&path, &full).unwrap();
        let refused = reviews.add(&RealDisk, &[1, 2, 3, 4].map(|id| review(id, "eel")), &mut there).unwrap_err();
        assert!(refused.is_full() && std::fs::read(&path).unwrap() == full, "{refused}");
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
