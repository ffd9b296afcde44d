//! The acknowledgements on disk. The file is replaced atomically and synced before later records count as
//! acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use oltr_store::disk::{RealDisk, replace};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Acknowledged records whose event ids are kept. They show whether the store is still the same one.
pub const RECENT: usize = 64;

/// Most bytes of the file.
const MAX_BYTES: u64 = 64 << 10;

/// What the file contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    schema: String,
    /// All records up to this one were acknowledged by the broker or evicted from the store.
    pub acknowledged: u64,
    /// The last records that were acknowledged, each with the id of its event.
    pub recent: Vec<(u64, String)>,
    /// The last record that was published to Home Assistant.
    #[serde(default)]
    pub last: Option<Value>,
}

impl Known {
    /// The broker acknowledged record `id` of event `event`.
    pub fn acknowledge(&mut self, id: u64, event: String) {
        self.acknowledged = id;
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        self.recent.push((id, event));
    }

    /// Whether the acknowledged record `id` belonged to a different event.
    pub fn contradicts(&self, id: u64, event: &str) -> bool {
        self.recent.iter().any(|(known, of)| *known == id && of != event)
    }
}

/// The file.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    known: Known,
    /// Prevents a second program from sending the same records.
    _lock: File,
}

const SCHEMA: &str = "oltr.link/1";

fn trouble(path: &Path, e: io::Error) -> String {
    format!("{}: {e}; --state chooses another file for acknowledgements", path.display())
}

/// Locks the file at `path` until the returned file is dropped.
///
/// # Errors
/// A text: another program holds the lock, or it cannot be written.
pub fn hold(path: &Path) -> Result<File, String> {
    let failed = |e: io::Error| trouble(path, e);
    let lock = OpenOptions::new().create(true).append(true).open(path.with_extension("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            Err(format!("{}: another oltr-link sends from it; one at a time can", path.display()))
        }
        Err(fs::TryLockError::Error(e)) => Err(failed(e)),
    }
}

impl Memory {
    /// Opens or makes the file at `path`.
    ///
    /// # Errors
    /// A text: another program has it, or it cannot be read or written.
    pub fn open(path: &Path) -> Result<Memory, String> {
        let lock = hold(path)?;
        let failed = |e: io::Error| trouble(path, e);
        let known = match fs::metadata(path) {
            Ok(meta) if !meta.is_file() || meta.len() > MAX_BYTES => {
                return Err(format!("{}: is no memory of oltr-link; --state names another file", path.display()));
            }
            Ok(_) => match serde_json::from_slice(&fs::read(path).map_err(failed)?) {
                Ok(known) => Known { schema: SCHEMA.into(), ..known },
                // An unreadable file counts as empty: sending twice is better than losing records.
                Err(e) => {
                    log::warn!("{}: is damaged ({e}); all records are sent again", path.display());
                    Known { schema: SCHEMA.into(), ..Known::default() }
                }
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Known { schema: SCHEMA.into(), ..Known::default() },
            Err(e) => return Err(failed(e)),
        };
        let memory = Memory { path: path.into(), known, _lock: lock };
        // Fail before the first record is sent if the file cannot be written.
        memory.save().map_err(failed)?;
        Ok(memory)
    }

    /// The contents.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Changes the contents and writes the file.
    ///
    /// # Errors
    /// Errors of the file system. The change then holds in memory only.
    pub fn change(&mut self, change: impl FnOnce(&mut Known)) -> io::Result<()> {
        change(&mut self.known);
        self.save()
    }

    /// Clears the contents, because the folder contains a different store.
    ///
    /// # Errors
    /// As [`Memory::change`].
    pub fn forget(&mut self) -> io::Result<()> {
        self.change(|known| *known = Known { schema: SCHEMA.into(), ..Known::default() })
    }

    fn save(&self) -> io::Result<()> {
        replace(&RealDisk, &self.path.with_extension("tmp"), &self.path, &serde_json::to_vec(&self.known)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_kept_and_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.json");
        let mut memory = Memory::open(&path).unwrap();
        assert!(Memory::open(&path).unwrap_err().contains("another oltr-link"));
        for id in 1..=100 {
            memory.change(|known| known.acknowledge(id, format!("e{id}"))).unwrap();
        }
        drop(memory);
        // A leftover temporary file of a power cut does no harm.
        fs::write(path.with_extension("tmp"), "{\"schema\"").unwrap();
        let memory = Memory::open(&path).unwrap();
        assert_eq!((memory.known().acknowledged, memory.known().recent.len()), (100, RECENT));
        assert!(!memory.known().contradicts(100, "e100") && memory.known().contradicts(100, "e7"));
        assert!(!memory.known().contradicts(1, "e7"), "not remembered any more");
        drop(memory);
        fs::write(&path, "{").unwrap();
        assert_eq!(Memory::open(&path).unwrap().known().acknowledged, 0);
    }
}
