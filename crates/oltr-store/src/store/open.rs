//! Opens a store. Repairs what a power cut left, and reports it.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use super::segments::{self, Segment};
use super::{
    Counts, LOCK, MAX_SEGMENT_FILE, MAX_UNSYNCED, MIN_QUOTA, PER_FOLDER, PICTURES, SEGMENTS, Settings, Store, Unsynced,
    picture_path,
};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::line::{self, Piece};
use crate::record::{Picture, Record};
use crate::reviews::Reviews;
use crate::state::{self, State};
use crate::worth::{Entry, Reviewed};

/// Most notes about a store at its opening.
const MAX_NOTES: usize = 32;

/// Bytes of a file without a line that is taken for the beginning of a segment that a power cut prevented.
const STUB: usize = 256;

/// The last records with a picture, newest first.
type Recent = VecDeque<(u64, Picture)>;

/// Result of opening a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// What was repaired or left alone, for people.
    pub notes: Vec<String>,
}

impl Opened {
    pub(crate) fn note(&mut self, text: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(text);
        }
    }
}

/// Contents of one segment.
pub(crate) struct Scanned<'a> {
    /// Its whole records, in order, without repeated ones. With each: the bytes of its line and its text.
    pub records: Vec<(Record<'a>, u32, &'a str)>,
    /// Damaged bytes between whole lines.
    pub damaged: usize,
    /// Bytes at the end that are no whole line.
    pub torn: usize,
    /// Whether it repeats records of an earlier segment.
    pub repeated: bool,
}

/// Parses the bytes of a segment. `last` is the last id of the segments before.
pub(crate) fn scan<'a>(bytes: &'a [u8], last: &mut u64) -> Scanned<'a> {
    let mut found = Scanned { records: Vec::new(), damaged: 0, torn: 0, repeated: false };
    for (i, piece) in line::pieces(bytes).enumerate() {
        match piece {
            Piece::Line(..) if i == 0 => {}
            Piece::Line(object, length) => match Record::parse(object) {
                Some(record) if record.id > *last => {
                    *last = record.id;
                    found.records.push((record, length as u32, std::str::from_utf8(object).unwrap_or_default()));
                }
                Some(_) => found.repeated = true,
                // A line of a later version.
                None => {}
            },
            Piece::Damaged(length) => found.damaged += length,
            Piece::Torn(length) => found.torn += length,
        }
    }
    found
}

impl Store {
    /// Opens the store in `folder`, which is made if it is not there.
    ///
    /// Truncates a line that a power cut tore off, skips damage between whole lines, and reports both. Leaves foreign
    /// files alone.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it open; [`Error::Bad`] for too small a quota; [`Error::Io`].
    pub fn open(folder: &Path, settings: Settings, disk: Arc<dyn Disk>) -> Result<(Store, Opened)> {
        if settings.quota < MIN_QUOTA {
            let reason = format!("is smaller than the least store, of {} KiB", MIN_QUOTA >> 10);
            return Err(Error::bad(format!("a store of {} bytes", settings.quota), reason));
        }
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |e| Error::io(&path, e)
        };
        disk.create_folders(folder).map_err(failed(folder))?;
        let lock = folder.join(LOCK);
        let lock = disk.lock(&lock).map_err(failed(&lock))?;
        let lock = lock.ok_or_else(|| Error::Busy { path: folder.into() })?;
        for name in [SEGMENTS, PICTURES] {
            let path = folder.join(name);
            disk.create_folder(&path).map_err(failed(&path))?;
        }
        disk.sync_folder(folder).map_err(failed(folder))?;
        let mut opened = Opened::default();
        let state = read_state(disk.as_ref(), folder, &mut opened)?;
        let block = disk.space(folder).map_or(4096, |space| space.block);
        let mut store = Store {
            reviews: Reviews::of(folder),
            folder: folder.into(),
            disk,
            settings,
            block,
            // Allocated once with its full size, so that growing never needs a second copy.
            entries: Vec::with_capacity(super::most_records(settings.quota) + 1),
            groups: Vec::new(),
            segments: Vec::new(),
            current: None,
            folders: Default::default(),
            picture_bytes: 0,
            tallies: state.tallies.clone(),
            next_id: 1,
            state_bytes: 0,
            review_bytes: 0,
            effort_bytes: 0,
            unsynced: Unsynced::default(),
            counts: Counts::default(),
            _lock: lock,
        };
        let recent = store.load(&state, &mut opened)?;
        store.clean_up(&state, &recent, &mut opened);
        store.settle(&recent)?;
        store.learn_reviews()?;
        store.effort_bytes = store.disk.length(&folder.join(crate::effort::FILE)).unwrap_or(0);
        match store.write_state(Vec::new()) {
            Err(e) if e.is_full() => opened.note(format!("{e}; room is made before the next event is kept")),
            written => written?,
        }
        // A quota may be smaller than it was.
        if let Err(e) = store.make_room(0) {
            opened.note(e.to_string());
        }
        Ok((store, opened))
    }

    /// Reads all segments. Returns the newest pictures.
    fn load(&mut self, state: &State, opened: &mut Opened) -> Result<Recent> {
        let mut recent = Recent::new();
        let folder = self.folder.join(SEGMENTS);
        let _ = self.disk.remove(&folder.join(segments::TEMPORARY));
        let mut names = self.disk.list(&folder).map_err(|e| Error::io(&folder, e))?;
        names.sort_unstable();
        let dead: BTreeSet<u64> = state.dead.iter().copied().collect();
        let mut last = 0;
        for name in &names {
            let path = folder.join(name);
            let bytes = match self.disk.read(&path, MAX_SEGMENT_FILE) {
                Ok(bytes) => bytes,
                Err(e) => {
                    opened.note(format!("{}: {e}; left alone", path.display()));
                    continue;
                }
            };
            let Some(first) = segments::first_of(&bytes, name) else {
                if is_stub(&bytes, name) && self.disk.remove(&path).is_ok() {
                    opened.note(format!("{}: the power went before its first record; removed", path.display()));
                } else {
                    opened.note(format!("{}: is none of the store's files; left alone", path.display()));
                }
                continue;
            };
            let found = scan(&bytes, &mut last);
            let mut segment = Segment { first, bytes: (bytes.len() - found.torn) as u64, ..Segment::default() };
            for (record, line, _) in &found.records {
                if dead.contains(&record.id) {
                    segment.dead_bytes += u64::from(*line);
                    segment.dead.push(record.id);
                } else {
                    segment.records += 1;
                    self.index(record, *line);
                    if let Some(picture) = &record.picture {
                        recent.truncate(2 * MAX_UNSYNCED - 1);
                        recent.push_front((record.id, picture.clone()));
                    }
                }
                if record.id > state.counted {
                    self.tallies.see(record.class(), record.day);
                }
            }
            self.segments.push(segment);
            let (damaged, torn) = (found.damaged, found.torn);
            if damaged > 0 {
                opened.note(format!(
                    "{}: {damaged} bytes between whole lines are none; left out, {} records are whole",
                    path.display(),
                    found.records.len()
                ));
            } else if torn > 0 {
                opened.note(format!(
                    "{}: the last {torn} bytes are no whole line, as the power went or the program was ended; cut off",
                    path.display()
                ));
            }
            if found.records.is_empty() && (found.repeated || damaged + torn > 0) {
                self.segments.pop();
                let removed = self.disk.remove(&path);
                removed.map_err(|e| Error::io(&path, e))?;
            } else if damaged > 0 {
                let place = self.segments.len() - 1;
                self.rewrite(place, place)?;
            } else if torn > 0 {
                let cut = self.disk.append(&path).and_then(|mut file| {
                    file.truncate(bytes.len() as u64 - torn as u64)?;
                    file.sync()
                });
                cut.map_err(|e| Error::io(&path, e))?;
            }
        }
        self.next_id = (last + 1).max(state.next_id);
        // Appending continues in the last segment.
        if let Some(segment) = self.segments.last().filter(|segment| segment.bytes < self.segment_bytes()) {
            let path = segment.path(&self.folder);
            self.current = Some(self.disk.append(&path).map_err(|e| Error::io(&path, e))?);
        }
        Ok(recent)
    }

    /// Syncs what a program wrote but did not sync before it ended.
    fn settle(&mut self, recent: &Recent) -> Result<()> {
        let mut folders = BTreeSet::from([self.folder.join(PICTURES), self.folder.join(SEGMENTS)]);
        for (_, picture) in recent {
            let path = self.folder.join(&picture.path);
            if let Ok(mut file) = self.disk.append(&path) {
                file.sync().map_err(|e| Error::io(&path, e))?;
                folders.extend(path.parent().map(Path::to_path_buf));
            }
        }
        for folder in folders {
            self.disk.sync_folder(&folder).map_err(|e| Error::io(&folder, e))?;
        }
        let path = self.segments.last().map(|segment| segment.path(&self.folder));
        match path.map(|path| (self.disk.append(&path).and_then(|mut file| file.sync()), path)) {
            Some((Err(e), path)) => Err(Error::io(&path, e)),
            _ => Ok(()),
        }
    }

    /// Takes a record of a segment into the index.
    fn index(&mut self, record: &Record, line: u32) {
        let mut bytes = line;
        if let Some(picture) = &record.picture {
            let blocks = self.blocks(picture.bytes);
            bytes = bytes.saturating_add(u32::try_from(blocks).unwrap_or(u32::MAX));
            self.picture_bytes += blocks;
            *self.folders.entry(record.id / PER_FOLDER).or_default() += 1;
        }
        let entry = Entry {
            id: record.id,
            signature: record.signature_bits(),
            bytes,
            line,
            group: self.group(&record.group()),
            day: u16::try_from(record.day).unwrap_or(u16::MAX),
            special: record.special,
            review: Reviewed::Not,
        };
        self.entries.push(entry);
    }

    /// Removes leftover pictures: those that were being removed, those of lost records, and incomplete ones of the last
    /// records.
    fn clean_up(&mut self, state: &State, recent: &Recent, opened: &mut Opened) {
        let first = self.next_id;
        // Numbers that a run may have given before the power went, and that are not given again.
        if first > 1 || state.next_id > 0 {
            self.next_id += MAX_UNSYNCED as u64;
        }
        let known = |entries: &[Entry], id: &u64| entries.binary_search_by_key(id, |entry| entry.id).is_ok();
        let lost = (first..first + MAX_UNSYNCED as u64).chain(state.removing.iter().copied());
        let lost: Vec<u64> = lost.filter(|id| !known(&self.entries, id)).collect();
        for id in lost {
            let path = self.folder.join(picture_path(id));
            if self.disk.length(&path).is_ok() && self.disk.remove(&path).is_ok() {
                log::debug!("{}: removed, its record is gone", path.display());
                if let (Some(folder), false) = (path.parent(), self.folders.contains_key(&(id / PER_FOLDER))) {
                    let _ = self.disk.remove_folder(folder);
                }
            }
        }
        let mut broken = Vec::new();
        for (id, picture) in recent {
            let path = self.folder.join(&picture.path);
            let bytes = self.disk.read(&path, picture.bytes);
            let whole = bytes.is_ok_and(|b| b.len() as u64 == picture.bytes && crc32fast::hash(&b) == picture.crc32);
            if let (false, Ok(place)) = (whole, self.entries.binary_search_by_key(id, |entry| entry.id)) {
                opened.note(format!("{}: is not whole, as the power went; the record stays", path.display()));
                broken.push(place);
            }
        }
        for place in broken {
            let Entry { id, bytes, line, .. } = self.entries[place];
            if self.remove_picture(id) {
                self.picture_bytes = self.picture_bytes.saturating_sub(u64::from(bytes - line));
                self.entries[place].bytes = line;
            }
        }
    }
}

/// Reads the state of the store in `folder`; the default if there is none.
pub(crate) fn read_state(disk: &dyn Disk, folder: &Path, opened: &mut Opened) -> Result<State> {
    let path = folder.join(state::FILE);
    match disk.read(&path, state::MAX_BYTES) {
        Ok(bytes) => Ok(State::parse(&bytes).unwrap_or_else(|| {
            opened.note(format!(
                "{}: is damaged; records that were given up may be listed again, without their pictures",
                path.display()
            ));
            State::default()
        })),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(e) => Err(Error::io(&path, e)),
    }
}

/// Whether `bytes` are the start of a segment's first line: a power cut came while the segment was begun.
fn is_stub(bytes: &[u8], name: &str) -> bool {
    let named = name.strip_suffix(".jsonl").and_then(|number| number.parse().ok()).map(segments::header);
    let Some(header) = named.filter(|header| segments::first_of(header, name).is_some()) else { return false };
    bytes.len() < STUB && bytes.iter().enumerate().all(|(i, b)| *b == 0 || header.get(i) == Some(b))
}
