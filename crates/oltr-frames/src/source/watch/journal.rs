//! The state file: which photos were taken, across restarts.
//!
//! ```text
//! oltr.watch/2 00000001 1c291ca3            blocks of keys that follow, and the checksum of what stands before it
//! <blocks of 4096 bytes>                    511 keys each, sorted through all of them, their number and a checksum
//! 96c2… 0b61… 8f5e… 5a0d7f3c                an entry: the three keys of a photo, and its checksum
//! …
//! ```
//!
//! Before a photo is reported, a line states the intention ([`begun`]).
//!
//! Entries are appended and synced. When there are many, entries and blocks are merged into new blocks in a new file,
//! which replaces this one. So memory holds the latest entries and one key for each block, for any number of photos,
//! and a lookup reads one block.

mod begun;
mod blocks;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::identity::{Key, Keys};
use crate::atomic::{Temporary, clean, folder_of};
use crate::error::{Error, Result};
use begun::Begun;
use blocks::{BLOCK, Blocks};

/// Start of the first line. The first version had entries of 32 digits without a checksum.
const FORMAT: &str = "oltr.watch/2";
const FORMAT_1: &[u8] = b"oltr.watch/1\n";

/// Bytes of the first line.
const HEADER: usize = FORMAT.len() + 1 + 8 + 1 + 8 + 1;

/// Bytes of an entry: three keys, a checksum, separators and a line feed.
const ENTRY: usize = 3 * 17 + 8 + 1;

/// Bytes of memory for an entry: its keys in a hash set with room for twice as many.
const ENTRY_BYTES: usize = 3 * 2 * 9;

/// Attempts to open a file that another process keeps replacing.
const ATTEMPTS: usize = 8;

/// Largest file of zeros that counts as a list that never reached the disk.
const MOST_ZEROS: u64 = 1 << 20;

/// How long to wait for another process to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// If merging fails (a full disk, for example), up to this many times the usual number of entries is kept.
const OVERDUE: usize = 2;

/// The file that holds the keys, locked against other processes.
#[derive(Debug)]
pub struct Journal {
    /// The path as given, and with links resolved.
    path: PathBuf,
    place: PathBuf,
    file: Arc<File>,
    /// Whether the last entries may be unsynced.
    unsynced: bool,
    /// Offset of the next entry.
    end: u64,
    blocks: Blocks,
    recent: HashSet<Key>,
    begun: Begun,
    /// Whether a write failed in this run.
    failed: bool,
    /// Most entries in memory.
    most: usize,
    /// Times that entries and blocks were merged.
    merges: u64,
    /// Whether a failed merge was reported.
    reported: bool,
}

impl Journal {
    /// Bytes of memory that a journal takes which keeps `most` entries.
    pub fn bytes(most: usize) -> usize {
        most.saturating_mul(ENTRY_BYTES * OVERDUE).saturating_add(blocks::BYTES + begun::BYTES)
    }

    /// Opens or creates the journal at `path`, which keeps `most` entries in memory.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it; [`Error::Config`] if it is not a file; [`Error::BadInput`] for a file
    /// of another kind; [`Error::Io`].
    pub fn open(path: &Path, most: usize) -> Result<Journal> {
        let failed = |e| Error::io(path, e);
        refuse_no_file(path)?;
        let mut opened = None;
        for _ in 0..ATTEMPTS {
            // Non-blocking, in case the path is a FIFO now.
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.custom_flags(OFlags::NONBLOCK.bits() as i32).open(path).map_err(failed)?;
            hold(&file, path)?;
            if same(&file, path) {
                opened = Some(file);
                break;
            }
        }
        let file = opened.ok_or_else(|| failed(io::Error::other("is replaced again and again")))?;
        let place = fs::canonicalize(path).map_err(failed)?;
        clean(folder_of(&place));
        let (blocks, recent, begun, failed) = (Blocks::default(), HashSet::new(), Begun::default(), false);
        let (path, most, end, merges, reported) = (path.into(), most.max(1), 0, 0, false);
        let (file, unsynced) = (Arc::new(file), false);
        let mut journal =
            Journal { path, place, file, unsynced, end, blocks, recent, begun, failed, most, merges, reported };
        journal.load()?;
        Ok(journal)
    }

    /// Whether `key` is recorded.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn contains(&self, key: Key) -> Result<bool> {
        if self.recent.contains(&key) {
            return Ok(true);
        }
        self.blocks.contains(&self.file, HEADER as u64, key).map_err(|e| Error::io(&self.path, e))
    }

    /// Records that a photo is about to be reported. Returns whether an earlier run recorded that without finishing:
    /// the photo may then have been reported already.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn begin(&mut self, photo: Keys) -> Result<bool> {
        if self.begun.has(photo) {
            return Ok(true);
        }
        self.append(&Begun::line(photo))?;
        self.begun.add(photo);
        Ok(false)
    }

    /// Records that photos were not reported after all.
    ///
    /// # Errors
    /// As [`Journal::record`].
    pub fn take_back(&mut self, photos: &[Keys]) -> Result<()> {
        let begun: Vec<Keys> = photos.iter().copied().filter(|photo| self.begun.has(*photo)).collect();
        if begun.is_empty() {
            return Ok(());
        }
        // Photos whose record failed may have been reported.
        if !self.failed {
            self.append(&begun.iter().map(|photo| Begun::back(*photo)).collect::<String>())?;
        }
        begun.iter().for_each(|photo| {
            self.begun.settle(*photo);
        });
        Ok(())
    }

    /// Records photos. The records survive the end of this process. They survive a power cut once the file from
    /// [`Journal::unsynced`] is synced.
    ///
    /// # Errors
    /// [`Error::Io`], for example on a full disk: the file is unchanged.
    pub fn record(&mut self, photos: &[Keys]) -> Result<()> {
        if photos.is_empty() {
            return Ok(());
        }
        self.append(&photos.iter().map(|keys| line(*keys)).collect::<String>())?;
        for keys in photos {
            self.recent.extend(keys.0);
            self.begun.settle(*keys);
        }
        self.merge_if_many()
    }

    /// Appends lines.
    fn append(&mut self, text: &str) -> Result<()> {
        let written = self.check().and_then(|()| {
            self.file.write_all_at(text.as_bytes(), self.end).map_err(|e| {
                // A partial line would hide the next entry.
                let _ = self.file.set_len(self.end);
                Error::io(&self.path, e)
            })
        });
        self.failed |= written.is_err();
        written?;
        self.unsynced = true;
        self.end += text.len() as u64;
        Ok(())
    }

    /// The file if it has unsynced entries. The caller syncs it where waiting does no harm.
    pub fn unsynced(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.unsynced).then(|| self.file.clone())
    }

    /// The path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file again if it was removed, replaced or truncated. Keeps the entries of another journal in its
    /// place.
    ///
    /// # Errors
    /// [`Error::Io`]; errors of [`Journal::open`] for the new file.
    pub fn check(&mut self) -> Result<()> {
        let whole = self.file.metadata().is_ok_and(|meta| meta.len() >= self.end);
        if whole && same(&self.file, &self.place) {
            return Ok(());
        }
        // Its disk is gone. Records go to the file's old place meanwhile.
        if !folder_of(&self.place).is_dir() {
            return Ok(());
        }
        refuse_no_file(&self.place)?;
        if whole && let Ok(other) = File::open(&self.place) {
            hold(&other, &self.place)?;
            self.absorb(&other)?;
        }
        log::warn!("{}: was removed or changed by somebody; it is written anew", self.path.display());
        self.merge()
    }

    /// Reads the file when it is opened.
    fn load(&mut self) -> Result<()> {
        let failed = |e| Error::io(&self.path, e);
        let file = self.file.try_clone().map_err(failed)?;
        let start = read_start(&file).map_err(failed)?;
        if start.is_empty() || (start.len() < HEADER && header(0).as_bytes().starts_with(&start)) {
            self.file.set_len(0).map_err(failed)?;
            let written = self.file.write_all_at(header(0).as_bytes(), 0).and_then(|()| self.file.sync_all());
            if let Err(e) = written {
                let _ = self.file.set_len(0);
                return Err(failed(e));
            }
            self.end = HEADER as u64;
            return Ok(());
        }
        if FORMAT_1.starts_with(&start) || start.starts_with(FORMAT_1) {
            self.absorb(&file)?;
            return self.merge();
        }
        let count = match self.count(&start) {
            Ok(count) => count,
            Err(error) => return if self.rescue(&file, &start)? { self.merge() } else { Err(error) },
        };
        let whole = self.blocks.load(&file, HEADER as u64, count).map_err(failed)?;
        if !whole {
            log::warn!("{}: is damaged; photos whose entries are lost are taken again", self.path.display());
        }
        let first = HEADER as u64 + u64::from(count) * BLOCK as u64;
        self.end = first;
        let end = self.entries(&file, first, entry)?;
        if self.merges > 0 {
            // Entries from before the last merge are only in the old file.
            return if self.recent.is_empty() && self.begun.is_empty() { Ok(()) } else { self.merge() };
        }
        // A line that a power cut tore is not an entry. The next one overwrites it.
        self.end = end;
        if whole { self.merge_if_many() } else { self.merge() }
    }

    /// The number of blocks in the first line.
    fn count(&self, start: &[u8]) -> Result<u32> {
        let bad = |reason: &str| Error::BadInput { subject: self.path.display().to_string(), reason: reason.into() };
        if !start.starts_with(FORMAT.as_bytes()) {
            return Err(bad("is not a list of photos that oltr wrote; name another file for it"));
        }
        let text = std::str::from_utf8(start).ok();
        let count = text.and_then(|text| u32::from_str_radix(text.get(FORMAT.len() + 1..FORMAT.len() + 9)?, 16).ok());
        let count = count.filter(|count| header(*count).as_bytes() == start);
        count.ok_or_else(|| bad("is damaged in its first line; remove it, and all photos are taken anew"))
    }

    /// Reads the undamaged parts of a file whose beginning is damaged or never reached the disk. Returns whether it is
    /// a list at all; if not, nothing is changed.
    fn rescue(&mut self, file: &File, start: &[u8]) -> Result<bool> {
        let failed = |path: &Path, e| Error::io(path, e);
        let same = start.iter().zip(FORMAT.as_bytes()).take_while(|(a, b)| a == b).count();
        if same < FORMAT.len() && start[same..].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        let length = file.metadata().map_err(|e| failed(&self.path, e))?.len();
        let most = u32::try_from(length.saturating_sub(HEADER as u64) / BLOCK as u64).unwrap_or(u32::MAX);
        let mut first = HEADER as u64;
        for block in 0..most {
            let Some(keys) = blocks::read(file, HEADER as u64, block).map_err(|e| failed(&self.path, e))? else {
                continue;
            };
            first = HEADER as u64 + (u64::from(block) + 1) * BLOCK as u64;
            self.recent.extend(keys);
            self.merge_if_many()?;
        }
        self.entries(file, first, entry)?;
        // Many a file begins with zeros, an image of a disk for one.
        let found = self.merges > 0 || !self.recent.is_empty();
        if same < FORMAT.len() && !found && !is_zeros(file).map_err(|e| failed(&self.path, e))? {
            return Ok(false);
        }
        log::warn!("{}: is damaged; photos whose entries are lost are taken again", self.path.display());
        Ok(true)
    }

    /// Takes in the keys of a journal of any version.
    fn absorb(&mut self, file: &File) -> Result<()> {
        let start = read_start(file).map_err(|e| Error::io(&self.path, e))?;
        if start.is_empty() {
            return Ok(());
        }
        if FORMAT_1.starts_with(&start) || start.starts_with(FORMAT_1) {
            self.entries(file, FORMAT_1.len() as u64, entry_1)?;
            return Ok(());
        }
        let count = self.count(&start)?;
        for block in 0..blocks::there(file, HEADER as u64, count).map_err(|e| Error::io(&self.path, e))? {
            let keys = blocks::read(file, HEADER as u64, block).map_err(|e| Error::io(&self.path, e))?;
            self.recent.extend(keys.into_iter().flatten());
            self.merge_if_many()?;
        }
        self.entries(file, HEADER as u64 + u64::from(count) * BLOCK as u64, entry)?;
        Ok(())
    }

    /// Reads the entries from `at` on. Returns the end of the last whole one.
    fn entries(&mut self, file: &File, at: u64, parse: fn(&[u8]) -> Option<[Key; 3]>) -> Result<u64> {
        let failed = |path: &Path, e| Error::io(path, e);
        let length = file.metadata().map_err(|e| failed(&self.path, e))?.len();
        // Further on than files can be, no place can be sought.
        let at = at.min(length);
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(at)).map_err(|e| failed(&self.path, e))?;
        let mut line = Vec::with_capacity(ENTRY);
        let (mut end, mut position, mut damaged) = (at, at, 0);
        loop {
            line.clear();
            let read = reader.by_ref().take(ENTRY as u64).read_until(b'\n', &mut line);
            let read = read.map_err(|e| failed(&self.path, e))?;
            if read == 0 {
                break;
            }
            position += read as u64;
            match parse(&line) {
                Some(keys) => {
                    self.recent.extend(keys);
                    self.begun.settle(Keys(keys));
                    end = position;
                    self.merge_if_many()?;
                }
                None if self.begun.read(&line) => end = position,
                None => damaged += 1,
            }
        }
        if damaged > 0 {
            log::debug!("{}: passed over {damaged} entries that are cut off or damaged", self.path.display());
        }
        Ok(end)
    }

    /// Merges entries and blocks when memory is full of entries. A failure is logged, and retried later.
    fn merge_if_many(&mut self) -> Result<()> {
        let most = 3 * self.most;
        if self.recent.len() < most || (self.reported && !self.recent.len().is_multiple_of(most)) {
            return Ok(());
        }
        match self.merge() {
            Err(e) if self.recent.len() < OVERDUE * most => {
                if !std::mem::replace(&mut self.reported, true) {
                    log::warn!("{e}; the list of photos cannot be written anew and grows meanwhile");
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Writes all keys to a new file, sorted, and puts it in the place of this one.
    fn merge(&mut self) -> Result<()> {
        let mut recent: Vec<Key> = self.recent.iter().copied().collect();
        recent.sort_unstable();
        let merged = (|| {
            let new = Temporary::beside(&self.place)?;
            let blocks = self.blocks.merge(&self.file, &recent, new.file(), HEADER as u64)?;
            new.file().write_all_at(header(blocks.count()).as_bytes(), 0)?;
            let (begun, first) = (self.begun.text(), HEADER as u64 + u64::from(blocks.count()) * BLOCK as u64);
            new.file().write_all_at(begun.as_bytes(), first)?;
            Ok((new.commit(&self.place)?, blocks, first + begun.len() as u64))
        })();
        let (file, blocks, end) = merged.map_err(|e: io::Error| Error::io(&self.path, e))?;
        self.end = end;
        (self.file, self.unsynced) = (Arc::new(file), false);
        (self.blocks, self.reported) = (blocks, false);
        self.merges += 1;
        self.recent.clear();
        Ok(())
    }
}

/// The first line of a file with `count` blocks.
fn header(count: u32) -> String {
    let text = format!("{FORMAT} {count:08x}");
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

/// The line of an entry.
fn line(photo: Keys) -> String {
    text_of(photo, 0)
}

/// The keys of an entry that is whole.
fn entry(line: &[u8]) -> Option<[Key; 3]> {
    keys_of(line, 0)
}

/// A line of a photo's keys. `turned` is XORed with its checksum and marks the kind of line.
fn text_of(Keys([a, b, c]): Keys, turned: u32) -> String {
    let text = format!("{a:016x} {b:016x} {c:016x}");
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()) ^ turned)
}

/// The keys of a line of this kind that is whole.
fn keys_of(line: &[u8], turned: u32) -> Option<[Key; 3]> {
    let (text, sum) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.rsplit_once(' ')?;
    if line.len() != ENTRY || u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) ^ turned {
        return None;
    }
    let mut keys = text.split(' ').map(|key| Key::from_str_radix(key, 16).ok());
    Some([keys.next()??, keys.next()??, keys.next()??])
}

/// Key of an entry of the first version: its first half.
fn entry_1(line: &[u8]) -> Option<[Key; 3]> {
    let digits = std::str::from_utf8(line).ok()?.strip_suffix('\n').filter(|digits| digits.len() == 32)?;
    u64::from_str_radix(&digits[16..], 16).ok()?;
    let key = Key::from_str_radix(&digits[..16], 16).ok()?;
    Some([key; 3])
}

/// The first line of the file, or as much as there is of it.
fn read_start(file: &File) -> io::Result<Vec<u8>> {
    let mut start = vec![0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match file.read_at(&mut start[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    start.truncate(filled);
    Ok(start)
}

/// Whether a small file has only zeros after the start of a list's first line. A power cut can leave that.
fn is_zeros(file: &File) -> io::Result<bool> {
    let mut bytes = Vec::new();
    let mut reader = file;
    reader.seek(SeekFrom::Start(0))?;
    reader.take(MOST_ZEROS + 1).read_to_end(&mut bytes)?;
    let same = bytes.iter().zip(FORMAT.as_bytes()).take_while(|(a, b)| a == b).count();
    Ok(bytes.len() as u64 <= MOST_ZEROS && bytes[same..].iter().all(|byte| *byte == 0))
}

/// Refuses what cannot be a list before it is opened: opening a FIFO would block.
fn refuse_no_file(path: &Path) -> Result<()> {
    let Ok(meta) = fs::metadata(path) else { return Ok(()) };
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    let reason = "which photos were taken is kept in a file; name one, or leave it out for one in the folder";
    Err(Error::Config(format!("{}: is {what}; {reason}", path.display())))
}

/// Locks `file`, if its file system supports that. A process that is ending, or a child that it just started, may hold
/// the lock a moment longer.
fn hold(file: &File, path: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PATIENCE / 20),
            Err(TryLockError::WouldBlock) => {
                let reason =
                    "another oltr keeps its list of photos there; end it, or name another file with --state".into();
                return Err(Error::Busy { path: path.into(), reason });
            }
            Err(TryLockError::Error(e)) => {
                log::debug!("{}: cannot be locked ({e}); no two processes may have it", path.display());
                return Ok(());
            }
        }
    }
}

/// Whether `path` still leads to `file`.
fn same(file: &File, path: &Path) -> bool {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    matches!((file.metadata().map(id), fs::metadata(path).map(id)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests;
