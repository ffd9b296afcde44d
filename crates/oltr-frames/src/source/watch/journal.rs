//! Which photos have been taken, also across restarts.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The first line of a journal.
const HEADER: &[u8] = b"oltr.watch/1\n";

/// Bytes of an entry: 32 hexadecimal digits and a line break.
const ENTRY: usize = 33;

/// A photo's identity: 128 bits of the SHA-256 of its path, size and time of modification. A photo that is written anew
/// is another one.
pub type Id = u128;

/// The identity of the file at `path`, relative to the folder, with `size` and time of modification `modified` (since
/// the epoch, in nanoseconds).
pub fn id(path: &Path, size: u64, modified: i128) -> Id {
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(size.to_le_bytes());
    hash.update(modified.to_le_bytes());
    let digest = hash.finalize();
    digest.iter().take(16).fold(0, |id, byte| id << 8 | Id::from(*byte))
}

/// The file that holds the identities.
///
/// Entries are appended and synced one by one, and an entry that was cut off by a loss of power is passed over; the file
/// is written anew (beside it, synced, and moved into its place) when it is opened and when it is full, without the
/// entries of photos that are gone. So nothing recorded is ever lost, a full disk included.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Entries that the file may hold.
    capacity: usize,
    entries: HashSet<Id>,
}

impl Journal {
    /// Opens or creates the journal at `path` for at most `capacity` photos.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::BadInput`] for a file that is something else; [`Error::Limit`] for one that holds more.
    pub fn open(path: &Path, capacity: usize) -> Result<Journal> {
        let failed = |e| Error::io(path, e);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut journal = Journal { path: path.into(), file, capacity, entries: HashSet::new() };
        let most = (HEADER.len() + capacity.saturating_mul(ENTRY)) as u64 + ENTRY as u64;
        if length > most {
            let value = length / ENTRY as u64;
            return Err(journal.full(value));
        }
        let mut header = Vec::new();
        let mut reader = BufReader::new(&journal.file);
        reader.by_ref().take(HEADER.len() as u64).read_to_end(&mut header).map_err(failed)?;
        if !HEADER.starts_with(&header) {
            let reason = "is not a list of photos that oltr wrote; name another file for it".into();
            return Err(Error::BadInput { subject: path.display().to_string(), reason });
        }
        let mut line = Vec::with_capacity(ENTRY);
        loop {
            line.clear();
            if reader.by_ref().take(ENTRY as u64).read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            let entry = line.strip_suffix(b"\n").filter(|digits| digits.len() == ENTRY - 1);
            let entry = entry.and_then(|digits| std::str::from_utf8(digits).ok());
            match entry.and_then(|digits| Id::from_str_radix(digits, 16).ok()) {
                Some(id) => journal.entries.insert(id),
                None => {
                    log::debug!("{}: passed over an entry that was cut off", path.display());
                    true
                }
            };
        }
        drop(reader);
        file = journal.rewrite()?;
        journal.file = file;
        Ok(journal)
    }

    /// Whether `id` is recorded.
    pub fn contains(&self, id: Id) -> bool {
        self.entries.contains(&id)
    }

    /// Whether another entry needs room to be made.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.capacity
    }

    /// Records `id`; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk for one: the file is as it was. [`Error::Limit`] for a full journal.
    pub fn record(&mut self, id: Id) -> Result<()> {
        if self.entries.contains(&id) {
            return Ok(());
        }
        if self.is_full() {
            return Err(self.full(self.capacity as u64 + 1));
        }
        let length = (HEADER.len() + self.entries.len() * ENTRY) as u64;
        let entry = format!("{id:032x}\n");
        let written = self
            .file
            .seek(SeekFrom::Start(length))
            .and_then(|_| self.file.write_all(entry.as_bytes()))
            .and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            // What was written of it would hide the next entry.
            let _ = self.file.set_len(length);
            return Err(Error::io(&self.path, e));
        }
        self.entries.insert(id);
        Ok(())
    }

    /// Keeps only the entries that are in `there`.
    ///
    /// # Errors
    /// [`Error::Io`]; then all entries are kept.
    pub fn retain(&mut self, there: &HashSet<Id>) -> Result<()> {
        let before = self.entries.clone();
        self.entries.retain(|id| there.contains(id));
        match self.rewrite() {
            Ok(file) => self.file = file,
            Err(e) => {
                self.entries = before;
                return Err(e);
            }
        }
        Ok(())
    }

    /// Writes the file anew, beside it, and puts it in its place.
    fn rewrite(&self) -> Result<File> {
        let failed = |e: std::io::Error| Error::io(&self.path, e);
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut new = tempfile::Builder::new().prefix(".oltr-").tempfile_in(folder).map_err(failed)?;
        let mut text = Vec::with_capacity(HEADER.len() + self.entries.len() * ENTRY);
        text.extend_from_slice(HEADER);
        self.entries.iter().for_each(|id| text.extend_from_slice(format!("{id:032x}\n").as_bytes()));
        new.write_all(&text).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        let file = new.persist(&self.path).map_err(|e| failed(e.error))?;
        // Not every file system lets a folder be synced; the content is safe in either name.
        let _ = File::open(folder).and_then(|f| f.sync_all());
        Ok(file)
    }

    fn full(&self, value: u64) -> Error {
        let subject = self.path.display().to_string();
        Error::Limit { subject, what: "watched_photos", value, limit: self.capacity as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_outlive_the_process_and_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        let mut journal = Journal::open(&path, 3).unwrap();
        journal.record(7).unwrap();
        journal.record(Id::MAX).unwrap();
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"0000000000000000000000000000").unwrap();
        let mut journal = Journal::open(&path, 3).unwrap();
        assert!(journal.contains(7) && journal.contains(Id::MAX) && !journal.contains(0));
        journal.record(9).unwrap();
        assert!(matches!(journal.record(10), Err(Error::Limit { what: "watched_photos", .. })));
        journal.retain(&HashSet::from([9, 11])).unwrap();
        journal.record(10).unwrap();
        drop(journal);
        let journal = Journal::open(&path, 3).unwrap();
        assert_eq!(journal.entries, HashSet::from([9, 10]));
    }

    /// A full disk, as the system plays it.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        let mut journal = Journal::open(&path, 9).unwrap();
        journal.record(7).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sound = std::mem::replace(&mut journal.file, full);
        let error = journal.record(8).unwrap_err();
        assert!(
            matches!(&error, Error::Io { cause, .. } if cause.kind() == std::io::ErrorKind::StorageFull),
            "{error}"
        );
        assert!(journal.contains(7) && !journal.contains(8));
        // Room was made.
        journal.file = sound;
        journal.record(8).unwrap();
        assert_eq!(Journal::open(&path, 9).unwrap().entries, HashSet::from([7, 8]));
    }

    #[test]
    fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter");
        std::fs::write(&path, "Dear Sir,").unwrap();
        assert!(matches!(Journal::open(&path, 3), Err(Error::BadInput { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"Dear Sir,");
    }

    #[test]
    fn what_is_written_anew_is_another_photo() {
        let first = id(Path::new("a.jpg"), 5, 9);
        assert_eq!(first, id(Path::new("a.jpg"), 5, 9));
        let others = [id(Path::new("b.jpg"), 5, 9), id(Path::new("a.jpg"), 6, 9), id(Path::new("a.jpg"), 5, 8)];
        assert!(others.iter().all(|other| *other != first));
    }
}
