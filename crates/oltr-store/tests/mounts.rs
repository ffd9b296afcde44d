//! The tests of `bad_places.rs` on real file systems: full, read-only or without inodes, and a card that fails during a
//! stream. Needs permission to mount; without it each test prints that and passes.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oltr_store::disk::RealDisk;
use oltr_store::writer::{Job, Picture, Writer};
use oltr_store::{NewRecord, Reader, Review, Reviews, Said, Settings, Store};

const ROOMY: Settings = Settings { quota: 64 << 20, free: 0 };

/// A file system that is mounted until it is dropped.
struct Mount {
    at: PathBuf,
    folder: tempfile::TempDir,
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

impl Mount {
    /// A file system with these options, or `None` with a message.
    fn new(make: impl FnOnce(&Path, &Path) -> bool) -> Option<Mount> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("card");
        std::fs::create_dir(&at).unwrap();
        let mount = Mount { at, folder };
        let made = make(&mount.folder.path().join("image"), &mount.at);
        if !made {
            eprintln!("NOT TESTED: nothing can be mounted here (it takes root, mount and mkfs.ext4)");
        }
        made.then_some(mount)
    }

    fn tmpfs(options: &str) -> Option<Mount> {
        Mount::new(|_, at| succeeds(Command::new("mount").args(["-t", "tmpfs", "-o", options, "oltr-test"]).arg(at)))
    }

    fn ext4(mebibytes: u64, make: &[&str]) -> Option<Mount> {
        Mount::new(|image, at| {
            std::fs::File::create(image).unwrap().set_len(mebibytes << 20).unwrap();
            succeeds(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).args(make).arg(image))
                && succeeds(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))
        })
    }

    /// Remounts it with these options.
    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(succeeds(Command::new("mount").args(["-o", &options]).arg(&self.at)), "{options}");
    }

    fn unmount(&self) -> bool {
        succeeds(Command::new("umount").arg(&self.at))
    }

    fn store(&self) -> PathBuf {
        self.at.join("store")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if !self.unmount() {
            succeeds(Command::new("umount").arg("-l").arg(&self.at));
        }
    }
}

fn new(label: Option<&str>) -> NewRecord<'_> {
    let decision = if label.is_some() { "known" } else { "open" };
    NewRecord {
        event: "{\"a\":1}",
        event_id: "e",
        decision,
        label,
        special: label.is_none(),
        day: 1,
        ..Default::default()
    }
}

fn open(folder: &Path, settings: Settings) -> Store {
    Store::open(folder, settings, Arc::new(RealDisk)).unwrap().0
}

/// Number of records and of pictures in a store without damage.
fn whole(folder: &Path) -> (usize, usize) {
    let reader = Reader::open(folder, Arc::new(RealDisk)).unwrap();
    let check = reader.check().unwrap();
    assert!(check.findings.iter().all(|finding| !finding.broken), "{:?}", check.findings);
    (check.records as usize, reader.stats().unwrap().pictures as usize)
}

/// Appends until the store refuses. Returns the number of stored records.
fn fill(store: &mut Store, picture: &[u8]) -> usize {
    (0..5000).take_while(|_| store.append(&new(None), Some(picture)).is_ok()).count()
}

fn a_full_disk(card: &Mount, more: u64) {
    let mut store = open(&card.store(), ROOMY);
    let picture = vec![7; 3000];
    let kept = fill(&mut store, &picture);
    assert!(kept > 10 && kept < 5000, "{kept}");
    let failed = (0..20).filter(|_| store.append(&new(None), Some(&picture)).is_err()).count();
    assert!(failed > 0);
    let records = store.records();
    drop(store);
    assert_eq!(whole(&card.store()).0, records, "as it is on the disk");
    // The store opens on a full disk, and continues when there is room again.
    let mut store = open(&card.store(), ROOMY);
    assert_eq!(store.records(), records);
    assert!(store.append(&new(None), Some(&vec![7; 1 << 20])).is_err());
    card.remount(&format!("size={more}"));
    store.append(&new(None), Some(&picture)).unwrap();
    let pictures = store.counts().pictures_lost;
    store.append(&new(None), Some(&picture)).unwrap();
    assert_eq!((store.records(), store.counts().pictures_lost), (records + 2, pictures));
    store.close().unwrap();
    assert_eq!(whole(&card.store()).0, records + 2);
}

#[test]
fn a_full_tmpfs_costs_what_does_not_fit() {
    let Some(card) = Mount::tmpfs("size=1m") else { return };
    a_full_disk(&card, 2 << 20);
}

#[test]
fn a_full_ext4_keeps_its_floor_and_its_open_events() {
    let Some(card) = Mount::ext4(6, &["-O", "^has_journal"]) else { return };
    let settings = Settings { quota: 64 << 20, free: 1 << 20 };
    let mut store = open(&card.store(), settings);
    let picture = vec![7; 10_000];
    for i in 0..800 {
        let label = (i % 20 != 0).then_some("cup");
        store.append(&new(label), Some(&picture)).unwrap();
        let free = oltr_store::disk::Disk::space(&RealDisk, &card.at).unwrap().free;
        assert!(free >= settings.free, "{i}: {free}");
    }
    assert!(store.counts().evicted > 300 && store.counts().pictures_lost == 0, "{:?}", store.counts());
    let open_ones =
        |store: &Store| store.tallies().iter().find(|tally| tally.class.is_empty()).map(|t| (t.seen, t.evicted));
    assert_eq!(open_ones(&store), Some((40, 0)));
    // Another file fills the rest. No special event is evicted for it, and nothing is damaged.
    let mut filler = std::fs::File::create(card.at.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[1; 4096]).is_ok() {}
    let refused = (0..600).filter(|_| store.append(&new(None), Some(&picture)).is_err()).count();
    assert!(refused > 0 && open_ones(&store).unwrap().1 == 0, "{refused} {:?}", open_ones(&store));
    let records = store.records();
    drop(store);
    assert_eq!(whole(&card.store()).0, records);
    std::fs::remove_file(card.at.join("filler")).unwrap();
    open(&card.store(), ROOMY).append(&new(None), Some(&picture)).unwrap();
}

fn no_inodes(card: &Mount) {
    let mut store = open(&card.store(), Settings { quota: 1 << 20, free: 0 });
    store.append(&new(None), Some(b"picture")).unwrap();
    let mut foreign = 0;
    while std::fs::write(card.at.join(format!("foreign{foreign}")), "").is_ok() {
        foreign += 1;
        assert!(foreign < 1000);
    }
    for _ in 0..50 {
        store.append(&new(None), Some(b"picture")).unwrap();
    }
    assert_eq!((store.records(), store.counts().pictures_lost), (51, 50));
    for n in 0..foreign.min(4) {
        std::fs::remove_file(card.at.join(format!("foreign{n}"))).unwrap();
    }
    store.append(&new(None), Some(b"picture")).unwrap();
    assert_eq!(store.counts().pictures_lost, 50);
    store.close().unwrap();
    assert_eq!(whole(&card.store()), (52, 2));
}

#[test]
fn a_tmpfs_without_inodes_keeps_records() {
    let Some(card) = Mount::tmpfs("size=4m,nr_inodes=24") else { return };
    no_inodes(&card);
}

#[test]
fn an_ext4_without_inodes_keeps_records() {
    let Some(card) = Mount::ext4(8, &["-N", "32"]) else { return };
    no_inodes(&card);
}

struct Jpeg(Vec<u8>);

impl Picture for Jpeg {
    fn jpeg(&mut self) -> Option<&[u8]> {
        Some(&self.0)
    }
}

fn job() -> Job {
    Job { event: "{}".into(), event_id: "e".into(), decision: "open", day: 1, ..Job::default() }
}

fn keep(writer: &Writer<Jpeg>) {
    assert!(writer.keep(job(), Some(Jpeg(vec![7; 2000]))).is_none());
}

fn review(id: u64) -> Review {
    Review { id, said: Said::parse("newt").unwrap(), by: "p".into(), wall: String::new() }
}

#[test]
fn a_card_that_is_mounted_read_only_is_read() {
    let Some(card) = Mount::ext4(8, &[]) else { return };
    let mut store = open(&card.store(), ROOMY);
    for _ in 0..10 {
        store.append(&new(None), Some(b"picture")).unwrap();
    }
    store.close().unwrap();
    card.remount("ro");
    assert!(std::fs::write(card.at.join("x"), "").is_err(), "it is read-only");
    let mut writer = Writer::start(&card.store(), ROOMY, None, Arc::new(RealDisk), |_: Jpeg| {}).unwrap();
    (0..5).for_each(|_| keep(&writer));
    assert!(writer.finish(Duration::from_secs(60)));
    assert_eq!((writer.counts().kept, writer.counts().not_kept, writer.counts().open), (0, 5, false));
    assert_eq!(whole(&card.store()), (10, 10));
    // Reviews fail too, with an error of the card, and nothing is lost.
    let error = Reviews::of(&card.store()).add(&RealDisk, &[review(3)], &mut |_| Ok(true)).unwrap_err();
    assert!(error.to_string().contains("ead-only"), "{error}");
    card.remount("rw");
    Reviews::of(&card.store()).add(&RealDisk, &[review(3)], &mut |_| Ok(true)).unwrap();
    assert_eq!(open(&card.store(), ROOMY).records(), 10);
}

/// Remounts read-only at a random moment, as a kernel does when it finds an error in a file system.
#[test]
fn a_card_that_fails_under_a_stream_keeps_what_was_synced() {
    let Some(card) = Mount::ext4(16, &[]) else { return };
    let mut writer = Writer::start(&card.store(), ROOMY, None, Arc::new(RealDisk), |_: Jpeg| {}).unwrap();
    (0..8).for_each(|_| keep(&writer));
    let end = Instant::now() + Duration::from_secs(60);
    while writer.counts().kept < 8 {
        assert!(Instant::now() < end, "{:?}", writer.counts());
        std::thread::sleep(Duration::from_millis(10));
    }
    // Stored events are synced within half a second.
    std::thread::sleep(Duration::from_millis(1500));
    let options = "remount,abort,ro";
    if !succeeds(Command::new("mount").args(["-o", options]).arg(&card.at)) {
        // Newer kernels take it alone.
        assert!(succeeds(Command::new("mount").args(["-o", "remount,abort"]).arg(&card.at)));
    }
    (0..5).for_each(|_| keep(&writer));
    assert!(writer.finish(Duration::from_secs(60)), "the stream does not hang");
    assert_eq!((writer.counts().kept, writer.counts().not_kept), (8, 5), "{:?}", writer.counts());
    assert!(card.unmount());
    let image = card.folder.path().join("image");
    let _ = succeeds(Command::new("fsck.ext4").args(["-y"]).arg(&image));
    assert!(succeeds(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&card.at)));
    let (records, pictures) = whole(&card.store());
    assert_eq!((records, pictures), (8, 8));
    open(&card.store(), ROOMY).append(&new(None), Some(b"picture")).unwrap();
}
