//! The backlog: records that were not sent yet. It reads the store while another process writes it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oltr_store::disk::RealDisk;
use oltr_store::{Error, Fingerprint, MAX_RECORDS, Reader, Result};
use serde_json::Value;

use crate::memory::Known;

/// Records that one batch reads.
pub const BATCH: usize = 64;

/// Bytes of payload that the backlog buffers.
pub const BATCH_BYTES: usize = 512 << 10;

/// A record that is being sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its number.
    pub id: u64,
    /// The id of its event.
    pub event: String,
    /// `oltr.record/1`.
    pub record: Value,
}

/// Records that still have to be sent.
#[derive(Debug)]
pub struct Backlog {
    store: PathBuf,
    /// Ids of unacknowledged records, in order. Records that are being sent come first. It lists at most
    /// [`MAX_RECORDS`] and finds the rest when there is room.
    waiting: VecDeque<u64>,
    /// Id of the last record that was found.
    seen: u64,
    /// The next records, already read.
    ready: VecDeque<Outgoing>,
    /// Fingerprint of the store's folder at the last refresh.
    print: Fingerprint,
    /// Records that the store evicted before they were sent.
    pub lost: u64,
}

/// Whether the folder still contains the store that the acknowledgements refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The same store, as far as its records show.
    Same,
    /// A different store.
    Other,
}

impl Backlog {
    /// The records of `store` that come after the last acknowledged one in `known`.
    pub fn new(store: &Path, known: &Known) -> Backlog {
        let (waiting, ready, print) = Default::default();
        Backlog { store: store.into(), waiting, seen: known.acknowledged, ready, print, lost: 0 }
    }

    /// Compares the store's records with the acknowledged ones in `known`.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn identity(store: &Path, known: &Known) -> Result<Identity> {
        let reader = open(store)?;
        let recent: Vec<u64> = known.recent.iter().map(|(id, _)| *id).collect();
        let mut other = false;
        reader.some(&recent, &mut |listed| {
            other |= known.contradicts(listed.record.id, &listed.record.event_id);
            Ok(())
        })?;
        let mut last = 0;
        reader.after(known.acknowledged.saturating_sub(1), &mut |listed| {
            last = listed.record.id;
            Ok(false)
        })?;
        // A power cut loses unsynced records, and the store skips their ids. It skips no more than this.
        let next = reader.next_id().max(last.saturating_add(1)).saturating_add(2 * oltr_store::MAX_UNSYNCED as u64);
        other |= last == 0 && next <= known.acknowledged && reader.stats()?.records > 0;
        Ok(if other { Identity::Other } else { Identity::Same })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Looks for new records if the store's files have changed. Returns whether they have.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn refresh(&mut self) -> Result<bool> {
        let print = Fingerprint::of(&self.store, 2);
        if print == self.print {
            return Ok(false);
        }
        let reader = open(&self.store)?;
        let (waiting, seen) = (&mut self.waiting, &mut self.seen);
        let mut full = false;
        reader.after(*seen, &mut |listed| {
            full = waiting.len() >= MAX_RECORDS;
            if !full {
                *seen = listed.record.id;
                waiting.push_back(listed.record.id);
            }
            Ok(!full)
        })?;
        // The backlog was full: look again next time.
        self.print = if full { Fingerprint::default() } else { print };
        Ok(true)
    }

    /// The next record to send, when `sent` records are already being sent. Skips evicted records.
    ///
    /// # Errors
    /// As [`Reader::some`].
    pub fn next(&mut self, sent: usize) -> Result<Option<Outgoing>> {
        while self.ready.is_empty() && sent < self.waiting.len() {
            self.read(sent)?;
        }
        Ok(self.ready.pop_front())
    }

    fn read(&mut self, sent: usize) -> Result<()> {
        let ids: Vec<u64> = self.waiting.iter().skip(sent).take(BATCH).copied().collect();
        let reader = open(&self.store)?;
        let (mut bytes, ready) = (0, &mut self.ready);
        let mut looked = 0;
        reader.some(&ids, &mut |listed| {
            if bytes <= BATCH_BYTES {
                let (id, event, record) = (listed.record.id, listed.record.event_id.to_string(), listed.to_json(false));
                bytes += listed.text.len();
                looked = ids.partition_point(|other| *other <= id);
                ready.push_back(Outgoing { id, event, record });
            }
            Ok(())
        })?;
        if bytes <= BATCH_BYTES {
            looked = ids.len();
        }
        // Records that the store no longer has.
        let evicted: Vec<u64> =
            ids[..looked].iter().filter(|id| !ready.iter().any(|outgoing| outgoing.id == **id)).copied().collect();
        if !evicted.is_empty() {
            self.lost += evicted.len() as u64;
            self.waiting.retain(|id| evicted.binary_search(id).is_err());
            log::warn!(
                "the store gave up records before they were sent: {}, the first of them {}; a larger --store-size keeps more",
                evicted.len(),
                evicted[0]
            );
        }
        Ok(())
    }

    /// The broker acknowledged the first record of the backlog.
    pub fn acknowledged(&mut self) {
        self.waiting.pop_front();
    }

    /// The connection was lost: sends all unacknowledged records again.
    pub fn again(&mut self) {
        self.ready.clear();
    }

    /// The picture of `record`.
    pub fn picture(&self, record: &Value) -> Option<Vec<u8>> {
        oltr_store::read_picture(&RealDisk, &self.store, record["picture"].as_str()?).ok()
    }

    /// The number of records, and the number of open records without a review.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn to_review(&self) -> Result<(u64, u64)> {
        let (mut records, mut open_ones) = (0, 0);
        open(&self.store)?.each(&mut |listed| {
            records += 1;
            open_ones += u64::from(listed.record.label.is_none() && listed.review.is_none());
            Ok(true)
        })?;
        Ok((records, open_ones))
    }
}

fn open(store: &Path) -> Result<Reader, Error> {
    Reader::open(store, Arc::new(RealDisk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oltr_store::{NewRecord, Settings, Store};

    fn store(folder: &Path) -> Store {
        Store::open(folder, Settings { quota: 256 << 20, free: 0 }, Arc::new(RealDisk)).unwrap().0
    }

    fn append(store: &mut Store, n: u64) -> u64 {
        let event = format!("{{\"id\":\"e{n}\",\"decision\":\"open\"}}");
        let new = NewRecord { event: &event, event_id: &format!("e{n}"), decision: "open", ..NewRecord::default() };
        store.append(&new, None).unwrap()
    }

    #[test]
    fn records_are_found_as_they_come_and_sent_again_where_they_were_not_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let mut backlog = Backlog::new(folder.path(), &Known::default());
        let ids: Vec<u64> = (0..200).map(|n| append(&mut store, n)).collect();
        store.sync().unwrap();
        assert!(backlog.refresh().unwrap() && !backlog.refresh().unwrap());
        let next = |backlog: &mut Backlog, sent| backlog.next(sent).unwrap().map(|o| o.id);
        for (sent, id) in ids.iter().take(100).enumerate() {
            assert_eq!(next(&mut backlog, sent), Some(*id));
        }
        (0..10).for_each(|_| backlog.acknowledged());
        backlog.again();
        assert_eq!((backlog.len(), next(&mut backlog, 0)), (190, Some(ids[10])));
        let late = append(&mut store, 200);
        store.sync().unwrap();
        backlog.refresh().unwrap();
        assert_eq!((backlog.len(), backlog.seen), (191, late));
        assert_eq!(backlog.to_review().unwrap(), (201, 201));
    }

    #[test]
    fn what_the_store_gave_up_is_passed_over_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut store =
            Store::open(folder.path(), Settings { quota: 256 << 10, free: 0 }, Arc::new(RealDisk)).unwrap().0;
        append(&mut store, 0);
        store.sync().unwrap();
        let mut backlog = Backlog::new(folder.path(), &Known::default());
        for n in 1..4000 {
            append(&mut store, n);
            if n == 300 {
                store.sync().unwrap();
                backlog.refresh().unwrap();
            }
        }
        store.sync().unwrap();
        backlog.refresh().unwrap();
        let (mut ids, found) = (Vec::new(), backlog.len() as u64);
        while let Some(next) = backlog.next(ids.len()).unwrap() {
            ids.push(next.id);
        }
        assert!(ids.is_sorted() && backlog.lost > 0, "{}", backlog.lost);
        assert_eq!((ids.len() as u64 + backlog.lost, ids.len()), (found, backlog.len()));
    }

    #[test]
    fn another_store_in_the_same_folder_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mut known = Known::default();
        let mut first = store(folder.path());
        for n in 0..10 {
            known.acknowledge(append(&mut first, n), format!("e{n}"));
        }
        first.close().unwrap();
        assert_eq!(Backlog::identity(folder.path(), &known).unwrap(), Identity::Same);
        // A restart of the same store skips ids.
        let mut again = store(folder.path());
        append(&mut again, 10);
        again.close().unwrap();
        assert_eq!(Backlog::identity(folder.path(), &known).unwrap(), Identity::Same);
        let other = tempfile::tempdir().unwrap();
        let mut second = store(other.path());
        append(&mut second, 77);
        second.sync().unwrap();
        assert_eq!(Backlog::identity(other.path(), &known).unwrap(), Identity::Other);
        known.acknowledge(5000, "e5000".into());
        known.recent.retain(|(id, _)| *id == 5000);
        assert_eq!(Backlog::identity(other.path(), &known).unwrap(), Identity::Other);
    }
}
