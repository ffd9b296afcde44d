//! Segments: files of lines. Records are appended to the last one.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{SEGMENTS, Store};
use crate::disk::replace;
use crate::error::{Error, Result};
use crate::line::{self, Piece};
use crate::record::Record;

/// The one schema that is read.
const SCHEMA: &str = "oltr.segment/1";

/// The temporary file of a compacted segment.
pub const TEMPORARY: &str = "compact.tmp";

/// The first line of a segment.
#[derive(Serialize, Deserialize)]
struct Header {
    schema: String,
    /// No record in it has a lower number.
    first: u64,
}

/// Index of one segment.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    /// No record in it has a lower id. The file name states it too.
    pub first: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its evicted records.
    pub dead_bytes: u64,
    /// Records that are in the store.
    pub records: usize,
    /// Its evicted records, in order.
    pub dead: Vec<u64>,
}

impl Segment {
    pub fn path(&self, folder: &Path) -> PathBuf {
        path_of(folder, self.first)
    }

    /// Whether compacting it is worth the writes.
    pub fn is_sparse(&self) -> bool {
        self.dead_bytes * 2 >= self.bytes && !self.dead.is_empty()
    }
}

pub fn name_of(first: u64) -> String {
    format!("{first:012}.jsonl")
}

pub fn path_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(SEGMENTS).join(name_of(first))
}

/// The first line of the segment that begins with record `first`.
pub fn header(first: u64) -> Vec<u8> {
    let mut line = Vec::new();
    let header = Header { schema: SCHEMA.into(), first };
    line::write(&serde_json::to_vec(&header).unwrap_or_default(), &mut line);
    line
}

/// The id with which a segment begins. `None` if `bytes` are no segment, or `name` is not its name.
pub fn first_of(bytes: &[u8], name: &str) -> Option<u64> {
    let Some(Piece::Line(object, _)) = line::pieces(bytes).next() else { return None };
    let header: Header = serde_json::from_slice(object).ok()?;
    (header.schema == SCHEMA && name == name_of(header.first)).then_some(header.first)
}

impl Store {
    /// Begins a new segment with record `id` if the last one is full or closed. Returns the id, which may have changed.
    pub(super) fn roll(&mut self, mut id: u64) -> Result<u64> {
        let full = self.segments.last().is_none_or(|segment| segment.bytes >= self.segment_bytes());
        if self.current.is_some() && !full {
            return Ok(id);
        }
        if self.current.is_some() {
            self.sync()?;
        }
        let header = header(id);
        let (path, mut file) = loop {
            let path = path_of(&self.folder, id);
            match self.disk.create(&path) {
                Ok(file) => break (path, file),
                // Something foreign has that name.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && id < self.next_id + 1000 => id += 1,
                // No room for another file: continue in the last segment while it can still be read in one piece.
                Err(e) if self.current.is_some() && Error::io(&path, clone(&e)).is_full() && !self.is_too_long() => {
                    return Ok(self.next_id);
                }
                Err(e) => return Err(Error::io(&path, e)),
            }
        };
        let header = if id == self.next_id { header } else { self::header(id) };
        let written = file.append(&header).and_then(|()| file.sync());
        let written = written.and_then(|()| self.disk.sync_folder(&self.folder.join(SEGMENTS)));
        if let Err(e) = written {
            let _ = self.disk.remove(&path);
            return Err(Error::io(&path, e));
        }
        self.counts.written += header.len() as u64;
        self.segments.push(Segment { first: id, bytes: header.len() as u64, ..Segment::default() });
        self.current = Some(file);
        Ok(id)
    }

    fn is_too_long(&self) -> bool {
        self.segments.last().is_some_and(|segment| segment.bytes >= super::MAX_SEGMENT)
    }

    /// Appends a record to the last segment.
    pub(super) fn append_line(&mut self, object: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(object.len() + line::HEAD + 1);
        line::write(object, &mut bytes);
        let (Some(file), Some(segment)) = (&mut self.current, self.segments.last_mut()) else {
            return Err(Error::bad(self.folder.display().to_string(), "has no segment to append to"));
        };
        if let Err(e) = file.append(&bytes) {
            // Truncate the half-written line. If that fails, close the segment: the next start truncates it.
            if file.truncate(segment.bytes).is_err() {
                self.current = None;
            }
            return Err(Error::io(&segment.path(&self.folder), e));
        }
        segment.bytes += bytes.len() as u64;
        segment.records += 1;
        self.counts.written += bytes.len() as u64;
        Ok(())
    }

    /// The segment that record `id` is in.
    pub(super) fn segment_of(&mut self, id: u64) -> Option<&mut Segment> {
        let after = self.segments.partition_point(|segment| segment.first <= id);
        self.segments.get_mut(after.checked_sub(1)?)
    }

    /// Compacts segments that consist mostly of evicted records, together with a neighbour if both are small. Removes
    /// segments without live records. Leaves the last segment alone while it is open.
    pub(super) fn compact(&mut self) -> Result<()> {
        let mut place = 0;
        while place < self.closed() {
            let segment = &self.segments[place];
            if segment.records == 0 {
                let path = segment.path(&self.folder);
                self.disk.remove(&path).map_err(|e| Error::io(&path, e))?;
                // Must come before the state forgets its evicted records.
                let folder = self.folder.join(SEGMENTS);
                self.disk.sync_folder(&folder).map_err(|e| Error::io(&folder, e))?;
                self.segments.remove(place);
            } else if segment.is_sparse() {
                let live = |s: &Segment| s.bytes - s.dead_bytes;
                let both = |a: &Segment, b: &Segment| live(a) + live(b) <= self.segment_bytes();
                let before = place > 0 && both(&self.segments[place - 1], segment);
                let after = place + 1 < self.closed() && both(segment, &self.segments[place + 1]);
                let from = if before { place - 1 } else { place };
                self.rewrite(from, if before || after { from + 1 } else { from })?;
                place = from + 1;
            } else {
                place += 1;
            }
        }
        Ok(())
    }

    /// Number of closed segments.
    fn closed(&self) -> usize {
        self.segments.len() - usize::from(self.current.is_some())
    }

    /// Rewrites the live records of the segments `from` to `to` into the first of them.
    pub(super) fn rewrite(&mut self, from: usize, to: usize) -> Result<()> {
        let first = self.segments[from].first;
        let mut out = header(first);
        let (mut records, mut last) = (0, 0);
        for segment in &self.segments[from..=to] {
            let path = segment.path(&self.folder);
            let bytes = self.disk.read(&path, super::MAX_SEGMENT_FILE).map_err(|e| Error::io(&path, e))?;
            for piece in line::pieces(&bytes) {
                let Piece::Line(object, _) = piece else { continue };
                let Some(record) = Record::parse(object) else { continue };
                if record.id > last && segment.dead.binary_search(&record.id).is_err() {
                    line::write(object, &mut out);
                    records += 1;
                    last = record.id;
                }
            }
        }
        let folder = self.folder.join(SEGMENTS);
        let (path, temporary) = (path_of(&self.folder, first), folder.join(TEMPORARY));
        replace(self.disk.as_ref(), &temporary, &path, &out).map_err(|e| Error::io(&path, e))?;
        self.counts.written += out.len() as u64;
        for segment in &self.segments[from + 1..=to] {
            let path = segment.path(&self.folder);
            self.disk.remove(&path).map_err(|e| Error::io(&path, e))?;
        }
        // Must come before the state forgets their evicted records.
        if to > from {
            self.disk.sync_folder(&folder).map_err(|e| Error::io(&folder, e))?;
        }
        self.segments.drain(from + 1..=to);
        self.segments[from] = Segment { first, bytes: out.len() as u64, records, ..Segment::default() };
        Ok(())
    }
}

fn clone(e: &std::io::Error) -> std::io::Error {
    e.kind().into()
}
