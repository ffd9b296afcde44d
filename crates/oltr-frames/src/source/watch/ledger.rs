//! Photos that were handed out or taken. Shared by the thread that captures and the thread that reports.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::identity::{Key, Keys, Seen};
use super::journal::Journal;
use crate::error::{Error, Result};

/// Shared list of photos that were handed out or taken.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Mutex<Entries>>);

/// A photo that was handed out.
#[derive(Debug)]
pub struct Handed {
    pub seq: u64,
    pub path: PathBuf,
    pub seen: Seen,
    pub keys: Keys,
}

#[derive(Debug)]
struct Entries {
    journal: Journal,
    /// Handed out and not reported yet, by number.
    handed: VecDeque<Handed>,
}

impl Ledger {
    pub fn new(journal: Journal) -> Ledger {
        Ledger(Arc::new(Mutex::new(Entries { journal, handed: VecDeque::new() })))
    }

    /// Adds a photo until it is reported. Returns whether an earlier run that was killed may have reported it.
    pub fn hand_out(&self, photo: Handed) -> bool {
        let mut entries = self.lock();
        let again = entries.journal.begin(photo.keys).unwrap_or_else(|e| {
            log::debug!("{e}; should this program be killed now, a photo is reported again without a word");
            false
        });
        entries.handed.push_back(photo);
        again
    }

    /// Whether the entry belongs to a photo that was taken or handed out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn knows(&self, entry: Key) -> Result<bool> {
        // Both checks under one lock: otherwise a photo could move from one list to the other in between.
        let entries = self.lock();
        Ok(entries.handed.iter().any(|photo| photo.keys.0[0] == entry) || entries.journal.contains(entry)?)
    }

    /// Whether the photo was handed out.
    pub fn is_handed_out(&self, keys: Keys) -> bool {
        self.lock().handed.iter().any(|photo| photo.keys.matches(keys))
    }

    /// Whether `key` is recorded.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_taken(&self, key: Key) -> Result<bool> {
        self.lock().journal.contains(key)
    }

    /// Records photos, not yet on the disk.
    ///
    /// # Errors
    /// [`Error::Io`]: none of them is recorded.
    pub fn record(&self, photos: &[Keys]) -> Result<()> {
        self.lock().journal.record(photos)
    }

    /// Records photo `seq`, which was reported just now, so that it is not reported again if this process is killed.
    /// The record survives a power cut after [`Ledger::sync`].
    ///
    /// # Errors
    /// [`Error::Io`]: the photo stays handed out, so that this run does not report it again.
    pub fn note(&self, seq: u64) -> Result<()> {
        let mut entries = self.lock();
        let Some(at) = entries.handed.iter().position(|photo| photo.seq == seq) else { return Ok(()) };
        let keys = entries.handed[at].keys;
        entries.journal.record(&[keys])?;
        entries.handed.remove(at);
        Ok(())
    }

    /// Records all photos up to `seq`, not yet on the disk.
    ///
    /// # Errors
    /// As [`Ledger::note`].
    pub fn confirm(&self, seq: u64) -> Result<()> {
        let mut entries = self.lock();
        let done = entries.handed.iter().take_while(|photo| photo.seq <= seq).count();
        let keys: Vec<Keys> = entries.handed.iter().take(done).map(|photo| photo.keys).collect();
        entries.journal.record(&keys)?;
        entries.handed.drain(..done);
        Ok(())
    }

    /// Syncs the records to disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        let unsynced = self.lock().journal.unsynced();
        // Without the lock: a card can be slow, and the reporting thread must not wait for it.
        match unsynced.map(|file| file.sync_data()) {
            Some(Err(e)) => Err(Error::io(self.lock().journal.path(), e)),
            _ => Ok(()),
        }
    }

    /// Takes back `seq` and returns it.
    pub fn take_back(&self, seq: u64) -> Option<Handed> {
        let mut entries = self.lock();
        let at = entries.handed.iter().position(|photo| photo.seq == seq)?;
        let photo = entries.handed.remove(at)?;
        if let Err(e) = entries.journal.take_back(&[photo.keys]) {
            log::debug!("{e}");
        }
        Some(photo)
    }

    /// Takes back all photos that were not reported, because this run ends.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn take_back_all(&self) -> Result<()> {
        let mut entries = self.lock();
        let photos: Vec<Keys> = entries.handed.drain(..).map(|photo| photo.keys).collect();
        entries.journal.take_back(&photos)
    }

    /// Writes the state file again if it was removed or changed.
    ///
    /// # Errors
    /// As [`Journal::check`].
    pub fn check(&self) -> Result<()> {
        self.lock().journal.check()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
