//! The store, for the one process that writes.

pub(crate) mod open;
mod room;
pub(crate) mod segments;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use open::Opened;
use segments::Segment;

use crate::disk::{Disk, DiskFile, replace};
use crate::error::{Error, Result};
use crate::line;
use crate::record::{NewRecord, Picture, Record, group};
use crate::reviews::Reviews;
use crate::state::State;
use crate::tally::Tallies;
use crate::worth::{Entry, Reviewed};

/// The smallest quota.
pub const MIN_QUOTA: u64 = 256 << 10;

/// Most records, regardless of the quota. Each takes some 40 bytes of memory, and as many again during eviction.
pub const MAX_RECORDS: usize = 131_072;

/// Most groups for eviction. Events of further groups share one.
pub const MAX_GROUPS: usize = 4096;

/// Most events that a power cut can lose: the store syncs at this number. Each start skips this many ids, so that a
/// lost id is never reused.
pub const MAX_UNSYNCED: usize = 64;

/// Bytes of the largest segment, but for one more line.
const MAX_SEGMENT: u64 = 1 << 20;

/// Bytes of the largest file that is taken for a segment.
pub(crate) const MAX_SEGMENT_FILE: u64 = MAX_SEGMENT + (line::MAX_OBJECT as u64) * 2;

/// Bytes of the largest picture.
pub const MAX_PICTURE: usize = 8 << 20;

/// Records whose pictures share a folder.
const PER_FOLDER: u64 = 256;

/// Blocks of such a folder.
const FOLDER_BLOCKS: u64 = 4;

/// Bytes of memory that a store takes: its index, one segment while it is read or compacted, the log of reviews while
/// it is read, and the tallies.
pub const MEMORY_BYTES: u64 = (MAX_RECORDS * (size_of::<Entry>() + 4 * size_of::<usize>())) as u64
    + 3 * MAX_SEGMENT_FILE
    + crate::reviews::MAX_BYTES
    + (2 << 20);

/// How much a store may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Quota in bytes: files and folders, in whole blocks of the file system; at least [`MIN_QUOTA`].
    pub quota: u64,
    /// Bytes of the file system that stay free.
    pub free: u64,
}

/// Counters since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored records.
    pub kept: u64,
    /// Pictures that could not be stored with their records.
    pub pictures_lost: u64,
    /// Evicted records.
    pub evicted: u64,
    /// Bytes written to files, including pictures and compaction.
    pub written: u64,
    /// Times that writing was waited for.
    pub syncs: u64,
}

/// A store that is open for writing.
pub struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    settings: Settings,
    /// Bytes of the smallest file.
    block: u64,
    /// Sorted by id.
    entries: Vec<Entry>,
    groups: Vec<String>,
    /// Sorted by their first id.
    segments: Vec<Segment>,
    /// The last segment, while it is open for appending.
    current: Option<Box<dyn DiskFile>>,
    /// Pictures in each folder of them.
    folders: BTreeMap<u64, u32>,
    /// Bytes of all pictures, in blocks.
    picture_bytes: u64,
    tallies: Tallies,
    next_id: u64,
    /// Bytes of the state's file.
    state_bytes: u64,
    /// Bytes of the log of reviews and of the runs' statistics.
    review_bytes: u64,
    effort_bytes: u64,
    reviews: Reviews,
    unsynced: Unsynced,
    counts: Counts,
    /// The last, so that it is given back when all is written.
    _lock: Box<dyn Send>,
}

/// What a power cut would lose now.
#[derive(Default)]
struct Unsynced {
    records: usize,
    pictures: Vec<Box<dyn DiskFile>>,
    folders: Vec<PathBuf>,
}

impl Store {
    /// The number of the next record.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Records that are in the store.
    pub fn records(&self) -> usize {
        self.entries.len()
    }

    /// Counts of each class.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// Counters since the store was opened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a power cut would lose something now.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced.records > 0
    }

    /// Bytes of the store: files and folders in whole blocks, and the reserve for both.
    pub fn bytes(&self) -> u64 {
        let lines: u64 = self.segments.iter().map(|segment| self.blocks(segment.bytes)).sum();
        let folders = (self.folders.len() as u64 + 2) * FOLDER_BLOCKS * self.block;
        let others = self.blocks(self.state_bytes) + self.blocks(self.review_bytes) + self.blocks(self.effort_bytes);
        let others = others + 2 * self.block;
        lines + self.picture_bytes + folders + others
    }

    /// `bytes` in whole blocks.
    fn blocks(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.block) * self.block
    }

    /// Bytes of a segment, above which the next one begins.
    fn segment_bytes(&self) -> u64 {
        (self.settings.quota / 64).clamp(16 << 10, MAX_SEGMENT)
    }

    /// Most records within this quota.
    fn most_records(&self) -> usize {
        most_records(self.settings.quota)
    }

    /// Stores an event and its picture, and returns the record's id. The record survives the end of the program at
    /// once, and a power cut after the next [`Store::sync`]. The record is stored even if its picture cannot be.
    ///
    /// # Errors
    /// [`Error::Full`] if nothing more may be evicted; [`Error::Bad`] for an event that is too long; [`Error::Io`]. The
    /// store is unchanged.
    pub fn append(&mut self, new: &NewRecord, picture: Option<&[u8]>) -> Result<u64> {
        let mut id = self.next_id;
        let picture = picture.filter(|bytes| !bytes.is_empty() && bytes.len() <= MAX_PICTURE);
        // Estimated with the longest picture fields.
        let of_picture = |id| picture.map(|bytes| picture_of(id, bytes));
        let mut record = Record::new(id, new, of_picture(id));
        let mut text = record.to_text(new.event)?;
        let length = text.len() + line::HEAD + 32;
        let wanted = picture.map_or(0, |bytes| self.blocks(bytes.len() as u64) + FOLDER_BLOCKS * self.block);
        let need = length as u64 + 2 * self.block + wanted;
        self.make_room(need)?;
        id = self.roll(id)?;
        let lost = picture.and_then(|bytes| self.write_picture(id, bytes).err());
        if let Some(e) = &lost {
            log::warn!("{e}; the picture of record {id} is not kept");
            self.counts.pictures_lost += 1;
        }
        if id != record.id || lost.is_some() {
            (record.id, record.picture) = (id, of_picture(id).filter(|_| lost.is_none()));
            text = record.to_text(new.event)?;
        }
        let pixels = record.picture.as_ref().map_or(0, |picture| self.blocks(picture.bytes));
        if let Err(e) = self.append_line(text.as_bytes()) {
            if pixels > 0 && self.remove_picture(id) {
                self.picture_bytes -= pixels;
            }
            return Err(e);
        }
        let line = (text.len() + line::HEAD + 1) as u32;
        let entry = Entry {
            id,
            signature: record.signature_bits(),
            bytes: line.saturating_add(pixels as u32),
            line,
            group: self.group(&group(new.label, new.nearest)),
            day: u16::try_from(new.day).unwrap_or(u16::MAX),
            special: new.special,
            review: Reviewed::Not,
        };
        self.entries.push(entry);
        self.tallies.see(new.label.unwrap_or(""), new.day);
        self.next_id = id + 1;
        self.counts.kept += 1;
        self.unsynced.records += 1;
        if self.unsynced.records >= MAX_UNSYNCED {
            self.sync()?;
        }
        Ok(id)
    }

    /// Returns when all stored records survive a power cut.
    ///
    /// # Errors
    /// [`Error::Io`]: it is then unknown which records survive. The next record begins a new segment.
    pub fn sync(&mut self) -> Result<()> {
        if self.unsynced.records == 0 && self.unsynced.pictures.is_empty() {
            return Ok(());
        }
        let result = self.sync_all();
        self.unsynced = Unsynced::default();
        if result.is_err() {
            self.current = None;
        }
        result
    }

    fn sync_all(&mut self) -> Result<()> {
        self.counts.syncs += 1;
        let folder = self.folder.join(PICTURES);
        // Pictures are synced before the records that refer to them.
        for picture in &mut self.unsynced.pictures {
            picture.sync().map_err(|e| Error::io(&folder, e))?;
        }
        for folder in self.unsynced.folders.iter().rev() {
            self.disk.sync_folder(folder).map_err(|e| Error::io(folder, e))?;
        }
        let path = self.segments.last().map(|segment| segment.path(&self.folder)).unwrap_or_default();
        match &mut self.current {
            Some(file) => file.sync().map_err(|e| Error::io(&path, e)),
            None => Ok(()),
        }
    }

    /// Logs the statistics `stats` (an `oltr.stats/1` object) of `run`. They survive a power cut.
    ///
    /// # Errors
    /// [`Error::Full`]; [`Error::Bad`] if `stats` is no object or too long; [`Error::Io`].
    pub fn note_run(&mut self, run: &str, stats: &str) -> Result<()> {
        // The log is compacted now and then.
        self.make_room(2 * self.block)?;
        let (bytes, written) = crate::effort::add(self.disk.as_ref(), &self.folder, run, stats)?;
        self.effort_bytes = bytes;
        self.counts.written += written;
        Ok(())
    }

    /// Makes all survive a power cut, and ends.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        self.write_state(Vec::new())
    }

    fn write_picture(&mut self, id: u64, bytes: &[u8]) -> Result<()> {
        let number = id / PER_FOLDER;
        let folder = self.folder.join(PICTURES).join(folder_name(id));
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |e| Error::io(&path, e)
        };
        if !self.folders.contains_key(&number) && self.disk.create_folder(&folder).map_err(failed(&folder))? {
            self.note_folder(self.folder.join(PICTURES));
        }
        let path = self.folder.join(picture_path(id));
        let mut file = self.disk.create(&path).map_err(failed(&path))?;
        if let Err(e) = file.append(bytes) {
            let _ = self.disk.remove(&path);
            return Err(Error::io(&path, e));
        }
        self.counts.written += bytes.len() as u64;
        self.note_folder(folder);
        self.unsynced.pictures.push(file);
        *self.folders.entry(number).or_default() += 1;
        self.picture_bytes += self.blocks(bytes.len() as u64);
        Ok(())
    }

    fn note_folder(&mut self, folder: PathBuf) {
        if !self.unsynced.folders.contains(&folder) {
            self.unsynced.folders.push(folder);
        }
    }

    /// Removes the picture of a record, and its folder if that is empty then. Returns whether the picture is gone.
    fn remove_picture(&mut self, id: u64) -> bool {
        let path = self.folder.join(picture_path(id));
        let gone = match self.disk.remove(&path) {
            Ok(()) => true,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
            Err(e) => {
                log::warn!("{}: {e}; it cannot be removed", path.display());
                false
            }
        };
        if let Some(left) = self.folders.get_mut(&(id / PER_FOLDER)).filter(|_| gone) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.folders.remove(&(id / PER_FOLDER));
                let _ = self.disk.remove_folder(&self.folder.join(PICTURES).join(folder_name(id)));
            }
        }
        gone
    }

    /// The number of the group `name`.
    fn group(&mut self, name: &str) -> u16 {
        let place = self.groups.iter().position(|known| known == name);
        let place = place.unwrap_or_else(|| {
            if self.groups.len() < MAX_GROUPS {
                self.groups.push(name.into());
            }
            self.groups.len() - 1
        });
        place as u16
    }

    /// The state to write. `removing` must be sorted.
    fn state(&self, removing: Vec<u64>) -> State {
        let mut dead: Vec<u64> = self.segments.iter().flat_map(|segment| segment.dead.iter().copied()).collect();
        dead.sort_unstable();
        State {
            next_id: self.next_id,
            counted: self.next_id.saturating_sub(1),
            dead,
            removing,
            tallies: self.tallies.clone(),
            ..State::default()
        }
    }

    /// Replaces the state file atomically. `removing` are the records whose pictures are removed next.
    fn write_state(&mut self, removing: Vec<u64>) -> Result<()> {
        let bytes = self.state(removing).to_bytes();
        let (path, temporary) = (self.folder.join(crate::state::FILE), self.folder.join(crate::state::TEMPORARY));
        replace(self.disk.as_ref(), &temporary, &path, &bytes).map_err(|e| Error::io(&path, e))?;
        self.state_bytes = bytes.len() as u64;
        self.counts.written += self.state_bytes;
        Ok(())
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({}, {} records)", self.folder.display(), self.entries.len())
    }
}

fn most_records(quota: u64) -> usize {
    ((quota / 2048) as usize).clamp(64, MAX_RECORDS)
}

/// Folders within the store's.
pub(crate) const PICTURES: &str = "pictures";
/// As [`PICTURES`].
pub(crate) const SEGMENTS: &str = "segments";
/// The lock of the writing process.
pub(crate) const LOCK: &str = "lock";

fn folder_name(id: u64) -> String {
    format!("{:09}", id / PER_FOLDER)
}

/// Path of the picture of record `id` below the store's folder.
pub fn picture_path(id: u64) -> String {
    format!("{PICTURES}/{}/{id:012}.jpg", folder_name(id))
}

fn picture_of(id: u64, bytes: &[u8]) -> Picture {
    Picture { path: picture_path(id), bytes: bytes.len() as u64, crc32: crc32fast::hash(bytes) }
}
