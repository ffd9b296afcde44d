//! Makes room within the quota, the number of records, and the free space of the file system.

use super::Store;
use crate::error::{Error, Result};
use crate::worth::{self, Entry, Reviewed};

impl Store {
    /// Evicts the least valuable records until `need` more bytes fit.
    ///
    /// # Errors
    /// [`Error::Full`] if nothing more may be evicted: the rest is protected by reviews, or other files fill the disk.
    pub(super) fn make_room(&mut self, need: u64) -> Result<()> {
        let path = self.folder.clone();
        let full = |reason: String| Error::Full { path: path.clone(), reason };
        // Reviews may have changed since.
        self.review_bytes = self.disk.length(&self.folder.join(crate::reviews::FILE)).unwrap_or(0);
        let mut extra = 0;
        while self.bytes() + need > self.most_bytes(self.state_bytes) || self.entries.len() >= self.most_records() {
            let room = Room { bytes: need + extra, most: None, records: self.most_records(), ordinary: false };
            if !self.evict(room)? {
                return Err(full(
                    "the store is full of what people have named; give it more room (--store-size), or export it and \
                     begin a new one"
                        .into(),
                ));
            }
            // The estimate was too low.
            extra += self.settings.quota / 32;
        }
        // The file system does not report its free space.
        let Ok(space) = self.disk.space(&self.folder) else { return Ok(()) };
        let short = (self.settings.free + need).saturating_sub(space.free);
        if short == 0 {
            return Ok(());
        }
        let most = self.bytes().saturating_sub(short);
        self.evict(Room { bytes: 0, most: Some(most), records: usize::MAX, ordinary: true })?;
        let free = self.disk.space(&self.folder).map_or(u64::MAX, |space| space.free);
        if free < self.settings.free + need {
            return Err(full(format!(
                "the disk has {free} bytes free, and {} are to stay free (--store-free); make room on it",
                self.settings.free
            )));
        }
        Ok(())
    }

    /// The limit for the store's bytes with a state of `state` bytes. It leaves room for a second copy of a segment or
    /// the state while one is rewritten.
    fn most_bytes(&self, state: u64) -> u64 {
        let aside = self.segment_bytes() + self.blocks(state) + 4 * self.block;
        self.settings.quota.saturating_sub(aside)
    }

    /// Evicts records until `room` is free, and some more, so that this happens rarely. Returns whether enough could be
    /// evicted.
    ///
    /// # Errors
    /// [`Error::Deciding`] if another process holds the reviews for too long; [`Error::Io`].
    fn evict(&mut self, room: Room) -> Result<bool> {
        // Sync first: the tallies count only stored records.
        self.sync()?;
        // Reviews must not change meanwhile: this waits for the lock, and other processes wait for this.
        let _held = self.reviews.hold_soon(self.disk.as_ref())?;
        self.learn_reviews()?;
        let more = self.settings.quota / 64;
        let mut gone: Vec<Entry> = Vec::new();
        let mut enough = true;
        loop {
            // The state lists evicted records, so it grows.
            let pictures = gone.iter().filter(|entry| entry.bytes > entry.line).map(|entry| entry.id);
            let mut removing: Vec<u64> = pictures.collect();
            removing.sort_unstable();
            let state = self.state(removing).to_bytes().len() as u64;
            let grows = self.blocks(state).saturating_sub(self.blocks(self.state_bytes));
            let most = room.most.unwrap_or_else(|| self.most_bytes(state));
            let bytes = (self.after_compaction() + grows + room.bytes + more).saturating_sub(most);
            let records = (self.entries.len() + 1).saturating_sub(room.records);
            if bytes == 0 && records == 0 {
                break;
            }
            let each = self.entries.iter().map(|e| u64::from(e.bytes)).sum::<u64>() / self.entries.len().max(1) as u64;
            let need = bytes.max((records + self.entries.len() / 64) as u64 * each * u64::from(records > 0)) + more;
            let mut chosen = worth::choose(&self.entries, need, room.ordinary);
            if chosen.is_empty() {
                enough = false;
                break;
            }
            chosen.sort_unstable();
            for place in &chosen {
                let entry = self.entries[*place];
                gone.push(entry);
                if let Some(segment) = self.segment_of(entry.id) {
                    segment.dead_bytes += u64::from(entry.line);
                    segment.records = segment.records.saturating_sub(1);
                    segment.dead.push(entry.id);
                }
                let pixels = u64::from(entry.bytes - entry.line);
                self.picture_bytes = self.picture_bytes.saturating_sub(pixels);
                let class = self.class_of(entry.group);
                self.tallies.evict(&class, 1);
            }
            let mut positions = chosen.into_iter().peekable();
            let mut place = 0;
            self.entries.retain(|_| {
                let goes = positions.next_if_eq(&place).is_some();
                place += 1;
                !goes
            });
        }
        if gone.is_empty() {
            return Ok(enough);
        }
        for segment in &mut self.segments {
            segment.dead.sort_unstable();
        }
        self.counts.evicted += gone.len() as u64;
        gone.retain(|entry| entry.bytes > entry.line);
        gone.sort_unstable_by_key(|entry| entry.id);
        let ids: Vec<u64> = gone.iter().map(|entry| entry.id).collect();
        let written = self.write_state(ids.clone());
        match &written {
            // On a completely full disk, removing pictures makes the room for the state. After a power cut at that
            // moment a record may be listed whose picture is gone.
            Err(e) if !e.is_full() => return written.map(|()| false),
            _ => {}
        }
        for entry in &gone {
            if !self.remove_picture(entry.id) {
                self.picture_bytes += u64::from(entry.bytes - entry.line);
            }
        }
        if written.is_err() {
            self.write_state(ids)?;
        }
        self.compact()?;
        Ok(true)
    }

    /// Bytes of the store after [`Store::compact`].
    fn after_compaction(&self) -> u64 {
        let closed = self.segments.len() - usize::from(self.current.is_some());
        let sparse = self.segments[..closed].iter().filter(|segment| segment.is_sparse());
        let freed: u64 = sparse.map(|s| self.blocks(s.bytes) - self.blocks(s.bytes - s.dead_bytes)).sum();
        self.bytes() - freed
    }

    fn class_of(&self, group: u16) -> String {
        let name = self.groups.get(usize::from(group)).cloned().unwrap_or_default();
        if name.starts_with('\u{1}') { String::new() } else { name }
    }

    /// Updates the index with the reviews.
    pub(super) fn learn_reviews(&mut self) -> Result<()> {
        let entries = &mut self.entries;
        entries.iter_mut().for_each(|entry| entry.review = Reviewed::Not);
        self.reviews.each(self.disk.as_ref(), &mut |review| {
            if let Ok(place) = entries.binary_search_by_key(&review.id, |entry| entry.id) {
                entries[place].review = if review.said.protects() { Reviewed::Kept } else { Reviewed::Nothing };
            }
        })?;
        let path = self.folder.join(crate::reviews::FILE);
        self.review_bytes = self.disk.length(&path).unwrap_or(0);
        Ok(())
    }
}

/// The room to make.
struct Room {
    /// Bytes needed in addition to the store's.
    bytes: u64,
    /// Limit for both; `None` for the quota's.
    most: Option<u64>,
    /// Most records, including the next one.
    records: usize,
    /// Whether special records are exempt.
    ordinary: bool,
}
