//! Power cuts and kills at random moments: synced records are never lost, damage is never read as data, and every
//! start succeeds.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{Rng, SimDisk};
use oltr_store::{NewRecord, Novelty, Reader, Review, Reviews, Said, Settings, Store, event_of};

const FOLDER: &str = "/store";

/// What the test knows of a record that it stored.
struct Written {
    event: String,
    picture: Option<Vec<u8>>,
    synced: bool,
    named: bool,
    /// It was refused, so that its number may be given again.
    refused: bool,
}

#[derive(Default)]
struct Known {
    records: BTreeMap<u64, Written>,
    evicted: u64,
}

fn picture(rng: &mut Rng) -> Option<Vec<u8>> {
    let length = rng.below(3000) as usize;
    rng.chance(2, 3).then(|| (0..length + 1).map(|_| rng.next() as u8).collect())
}

/// Stores events until the power cut, or until `n` are stored.
fn run(disk: &SimDisk, rng: &mut Rng, settings: Settings, known: &mut Known, n: u64) {
    let Ok((mut store, _)) = Store::open(Path::new(FOLDER), settings, Arc::new(disk.clone())) else {
        assert!(disk.is_cut(), "a start was refused");
        return;
    };
    let mut unsynced = Vec::new();
    for i in 0..n {
        let next = store.next_id();
        let class = format!("class{}", rng.below(4));
        let label = rng.chance(4, 5).then_some(class.as_str());
        let event = format!(
            "{{\"schema\":\"oltr.event/1\",\"n\":{i},\"id\":\"e{next}\",\"x\":\"{}\"}}",
            "y".repeat(rng.below(400) as usize)
        );
        let features: Vec<f32> = (0..16).map(|_| rng.below(1000) as f32).collect();
        let picture = picture(rng);
        let new = NewRecord {
            event: &event,
            event_id: "e",
            decision: if label.is_some() { "known" } else { "open" },
            label,
            special: label.is_none(),
            day: 20_000 + (i % 7) as u32,
            features: Some(&features),
            novelty: Novelty::default(),
            ..NewRecord::default()
        };
        let evicted = store.counts().evicted;
        let kept = store.append(&new, picture.as_deref());
        known.evicted += store.counts().evicted - evicted;
        match kept {
            Ok(id) => {
                assert!(id >= next && known.records.get(&id).is_none_or(|w| w.refused), "{id} was given twice");
                known.records.insert(id, Written { event, picture, synced: false, named: false, refused: false });
                unsynced.push(id);
            }
            Err(e) => {
                if disk.is_cut() {
                    // It may be there all the same, half of it or whole.
                    known.records.insert(next, Written { event, picture, synced: false, named: false, refused: true });
                    return;
                }
                assert!(e.is_full(), "{e}");
            }
        }
        if !store.is_unsynced() || rng.chance(1, 4) {
            if store.is_unsynced() && store.sync().is_err() {
                return;
            }
            for id in unsynced.drain(..) {
                known.records.get_mut(&id).unwrap().synced = true;
            }
        }
        if rng.chance(1, 12)
            && let Some(id) = unsynced.first().copied().or(store.next_id().checked_sub(2))
        {
            let review = Review { id, said: Said::Label("newt".into()), by: "p".into(), wall: String::new() };
            let reader = match Reader::open(Path::new(FOLDER), Arc::new(disk.clone())) {
                Ok(reader) => reader,
                Err(_) if disk.is_cut() => return,
                Err(e) => panic!("{e}"),
            };
            let added = Reviews::of(Path::new(FOLDER)).add(disk, &[review], &mut |id| reader.has(id));
            if added.is_ok() {
                known.records.get_mut(&id).unwrap().named = true;
            }
        }
    }
    if rng.chance(1, 2) {
        let (before, evicted) = (store.counts().evicted, &mut known.evicted);
        *evicted += store.counts().evicted - before;
        if store.close().is_ok() {
            unsynced.iter().for_each(|id| known.records.get_mut(id).unwrap().synced = true);
        }
    }
}

/// Reads everything and compares it with what was stored.
fn check(disk: &SimDisk, known: &mut Known, what: &str, settled: bool) {
    let Ok(reader) = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())) else { return };
    let (mut last, mut found) = (0, BTreeMap::new());
    reader
        .each(&mut |listed| {
            let id = listed.record.id;
            assert!(id > last, "{what}: {id} after {last}");
            last = id;
            let written = known.records.get(&id).unwrap_or_else(|| panic!("{what}: record {id} was never written"));
            assert_eq!(event_of(listed.text), Some(written.event.as_str()), "{what}: record {id}");
            if let Some(path) = listed.picture() {
                let (bytes, said) = (reader.picture(path)?, listed.record.picture.as_ref().unwrap());
                let whole = Some(&bytes) == written.picture.as_ref();
                // An unsynced picture may be torn, which the checksum shows.
                assert!(!settled || whole, "{what}: a start left a torn picture of {id}");
                assert!(whole || (!written.synced && said.crc32 != crc32fast::hash(&bytes)), "{what}: picture of {id}");
            } else if listed.record.picture.is_some() && written.picture.is_some() {
                assert!(!written.synced, "{what}: the picture of {id} is lost");
            }
            found.insert(id, listed.picture().is_some());
            Ok(true)
        })
        .unwrap();
    let missing: Vec<u64> =
        known.records.iter().filter(|(id, w)| w.synced && !found.contains_key(id)).map(|(id, _)| *id).collect();
    assert!(missing.len() as u64 <= known.evicted, "{what}: {missing:?} are lost, {} were given up", known.evicted);
    for id in &missing {
        assert!(!known.records[id].named, "{what}: {id} was named and is lost");
    }
    if settled {
        // Records found at a start count as synced.
        for (id, written) in &mut known.records {
            if let Some(picture) = found.get(id) {
                written.picture = written.picture.take().filter(|_| *picture);
                written.synced = true;
            }
        }
    }
    // Missing records were evicted: stop counting them.
    known.evicted -= missing.len() as u64;
    missing.iter().for_each(|id| {
        known.records.remove(id);
    });
    // Lost ids stay in the list, because ids are never reused.
}

fn cuts(seeds: std::ops::Range<u64>, quota: u64, most: u64) -> u64 {
    let mut cuts = 0;
    for seed in seeds {
        let mut rng = Rng(seed);
        let mut disk = SimDisk::default();
        let mut known = Known::default();
        let settings = Settings { quota, free: 0 };
        for round in 0..4 {
            let n = 10 + rng.below(most);
            disk.cut_after(5 + rng.below(6 * n));
            run(&disk, &mut rng, settings, &mut known, n);
            let kill = rng.chance(1, 4);
            disk = if kill { disk.kill() } else { disk.cut(&mut rng) };
            cuts += 1;
            let what = format!("seed {seed}, round {round}, {}", if kill { "kill" } else { "cut" });
            check(&disk, &mut known, &what, false);
            // A start repairs the damage without losing records.
            let opened = Store::open(Path::new(FOLDER), settings, Arc::new(disk.clone()));
            let (store, _) = opened.unwrap_or_else(|e| panic!("{what}: a start was refused: {e}"));
            known.evicted += store.counts().evicted;
            drop(store);
            check(&disk, &mut known, &format!("{what}, after a start"), true);
            let reader = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap();
            let findings = reader.check_at_rest().unwrap().findings;
            let broken: Vec<_> = findings
                .iter()
                // The next decision repairs the log of reviews. A record may refer to a picture that was never
                // complete.
                .filter(|f| {
                    f.broken && f.path.extension().is_none_or(|e| e == "jsonl") && !f.path.ends_with("reviews.jsonl")
                })
                .collect();
            assert!(broken.is_empty(), "{what}: {broken:?}");
        }
    }
    cuts
}

#[test]
fn nothing_that_was_synced_is_lost() {
    let n = cuts(0..270, 64 << 20, 60);
    assert!(n >= 1080);
}

#[test]
fn the_same_where_room_is_made_all_the_time() {
    let n = cuts(10_000..10_270, 256 << 10, 150);
    assert!(n >= 1080);
}

/// A segment that is cut at each byte of its last lines is opened, and all whole lines are read.
#[test]
fn every_byte_of_a_tail() {
    let disk = SimDisk::default();
    let settings = Settings { quota: 1 << 20, free: 0 };
    let (mut store, _) = Store::open(Path::new(FOLDER), settings, Arc::new(disk.clone())).unwrap();
    for i in 0..6 {
        let event = format!("{{\"n\":{i}}}");
        store
            .append(&NewRecord { event: &event, event_id: "e", decision: "open", ..NewRecord::default() }, None)
            .unwrap();
    }
    store.close().unwrap();
    let segment = Path::new("/store/segments/000000000001.jsonl");
    let whole = oltr_store::disk::Disk::read(&disk, segment, 1 << 20).unwrap();
    let ends: Vec<usize> = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    for cut in ends[2]..whole.len() {
        for tail in [&b""[..], b"\0\0\0\0", b"\xff\xfe"] {
            let disk = disk.kill();
            let bytes = [&whole[..cut], tail].concat();
            disk.plant(segment, &bytes);
            let lines = ends.iter().filter(|end| **end <= cut).count() - 1;
            let torn = cut + tail.len() > ends[lines];
            let reader = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap();
            assert_eq!(reader.check_at_rest().unwrap().findings.len(), usize::from(torn), "{cut}");
            let (store, opened) = Store::open(Path::new(FOLDER), settings, Arc::new(disk.clone())).unwrap();
            assert_eq!((store.records(), opened.notes.len()), (lines, usize::from(torn)), "{cut}: {:?}", opened.notes);
            let reader = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap();
            assert_eq!(reader.check_at_rest().unwrap().findings, [], "{cut}");
        }
    }
}
