//! Full and read-only disks, foreign files, links, other processes, clocks that jump: the store reports what it cannot
//! store.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::SimDisk;
use oltr_store::disk::{Disk, RealDisk};
use oltr_store::writer::{Job, Picture, Writer};
use oltr_store::{NewRecord, Reader, Review, Reviews, Said, Settings, Store};

const FOLDER: &str = "/store";
const ROOMY: Settings = Settings { quota: 64 << 20, free: 0 };

fn new<'a>(event: &'a str, label: Option<&'a str>, day: u32) -> NewRecord<'a> {
    let decision = if label.is_some() { "known" } else { "open" };
    NewRecord { event, event_id: "e", decision, label, special: label.is_none(), day, ..NewRecord::default() }
}

fn sim(disk: &SimDisk, settings: Settings) -> oltr_store::Result<Store> {
    Store::open(Path::new(FOLDER), settings, Arc::new(disk.clone())).map(|(store, _)| store)
}

fn ids(folder: &Path, disk: Arc<dyn Disk>) -> Vec<u64> {
    let mut ids = Vec::new();
    let reader = Reader::open(folder, disk).unwrap();
    reader
        .each(&mut |listed| {
            ids.push(listed.record.id);
            Ok(true)
        })
        .unwrap();
    ids
}

#[test]
fn a_disk_that_is_full_costs_what_does_not_fit_and_nothing_else() {
    let disk = SimDisk::default();
    disk.set_room(Some(100 << 10));
    let mut store = sim(&disk, ROOMY).unwrap();
    let picture = vec![7; 3000];
    let kept = (0..200).filter(|_| store.append(&new("{\"a\":1}", None, 1), Some(&picture)).is_ok()).count();
    assert!(kept > 10 && kept < 200, "{kept}");
    // With room again, it continues.
    disk.set_room(None);
    assert!(store.append(&new("{\"a\":1}", None, 1), Some(&picture)).is_ok());
    let records = store.records();
    store.close().unwrap();
    assert_eq!(ids(Path::new(FOLDER), Arc::new(disk.clone())).len(), records);
    let store = sim(&disk, ROOMY).unwrap();
    assert_eq!(store.records(), records);
}

#[test]
fn ordinary_records_make_room_where_others_fill_the_disk() {
    let disk = SimDisk::default();
    let free = Settings { quota: 64 << 20, free: 100 << 10 };
    disk.set_room(Some(400 << 10));
    let mut store = sim(&disk, free).unwrap();
    for i in 0..400 {
        let label = if i % 20 == 0 { None } else { Some("cup") };
        store.append(&new("{\"a\":1}", label, 1), Some(&[7; 3000])).unwrap();
        assert!(disk.space(Path::new("/")).unwrap().free >= free.free, "{i}");
    }
    assert!(store.counts().evicted > 0 && store.records() < 400);
    // Other files fill the rest: special events stay, and new events are refused.
    disk.plant(Path::new("/other"), &vec![0; 110 << 10]);
    let refused = (0..5).filter(|_| store.append(&new("{\"a\":1}", None, 1), Some(&[7; 3000])).is_err()).count();
    let open = store.tallies().iter().find(|tally| tally.class.is_empty()).unwrap();
    assert!(open.evicted == 0 && refused > 0, "{open:?} {refused}");
}

#[test]
fn without_inodes_records_are_kept_without_pictures() {
    let disk = SimDisk::default();
    let mut store = sim(&disk, Settings { quota: 1 << 20, free: 0 }).unwrap();
    store.append(&new("{\"a\":1}", Some("cup"), 1), Some(&[7; 100])).unwrap();
    disk.set_inodes(Some(disk.inodes()));
    let event = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
    for _ in 0..50 {
        store.append(&new(&event, Some("cup"), 1), Some(&[7; 100])).unwrap();
    }
    assert_eq!((store.records(), store.counts().pictures_lost), (51, 50));
    disk.set_inodes(None);
    store.append(&new(&event, Some("cup"), 1), Some(&[7; 100])).unwrap();
    assert_eq!(store.counts().pictures_lost, 50);
}

#[test]
fn one_process_at_a_time_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = Store::open(folder.path(), ROOMY, Arc::new(RealDisk)).unwrap();
    let second = Store::open(folder.path(), ROOMY, Arc::new(RealDisk)).unwrap_err();
    assert!(second.to_string().contains("another process"), "{second}");
    first.append(&new("{}", None, 1), None).unwrap();
    assert_eq!(ids(folder.path(), Arc::new(RealDisk)), [1]);
    drop(first);
    assert!(Store::open(folder.path(), ROOMY, Arc::new(RealDisk)).is_ok());
}

#[test]
fn foreign_files_and_links_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (mut store, _) = Store::open(folder.path(), ROOMY, Arc::new(RealDisk)).unwrap();
    store.append(&new("{}", None, 1), Some(b"picture")).unwrap();
    store.close().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("precious");
    std::fs::write(&target, "precious").unwrap();
    std::fs::write(at("segments/notes.txt"), "mine").unwrap();
    std::fs::write(at("segments/000000000500.jsonl"), "{\"mine\":1}\n").unwrap();
    std::fs::write(at("pictures/holiday.jpg"), "mine").unwrap();
    std::os::unix::fs::symlink(&target, at("segments/000000000900.jsonl")).unwrap();
    std::os::unix::fs::symlink(outside.path(), at("pictures/000000001")).unwrap();
    std::fs::create_dir(at("segments/folder.jsonl")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("segments/000000000901.jsonl")).status().unwrap().success());
    let (mut store, opened) = Store::open(folder.path(), ROOMY, Arc::new(RealDisk)).unwrap();
    assert_eq!(opened.notes.len(), 5, "{:?}", opened.notes);
    // Over the place of the link among the folders of pictures.
    let first = store.next_id();
    for _ in first..300 {
        store.append(&new("{}", None, 1), Some(b"picture")).unwrap();
    }
    store.close().unwrap();
    let kept = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    assert_eq!((kept("segments/notes.txt"), kept("pictures/holiday.jpg")), ("mine".into(), "mine".into()));
    assert_eq!(kept("segments/000000000500.jsonl"), "{\"mine\":1}\n");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    let all = ids(folder.path(), Arc::new(RealDisk));
    assert_eq!((all.first(), all.last()), (Some(&1), Some(&299)));
    // The store does not follow the link, even if the file behind it has a picture's name.
    std::fs::write(outside.path().join("000000000299.jpg"), b"picture").unwrap();
    assert!(oltr_store::read_picture(&RealDisk, folder.path(), "pictures/000000001/000000000299.jpg").is_err());
    for elsewhere in ["../x.jpg", "/etc/passwd", "pictures/../../x"] {
        assert!(oltr_store::read_picture(&RealDisk, folder.path(), elsewhere).is_err());
    }
    let reader = Reader::open(folder.path(), Arc::new(RealDisk)).unwrap();
    assert_eq!(reader.stats().unwrap().pictures as usize, all.iter().filter(|id| **id < 256).count());
}

#[test]
fn a_clock_that_jumps_changes_the_days_and_nothing_else() {
    let disk = SimDisk::default();
    let mut store = sim(&disk, Settings { quota: 1 << 20, free: 0 }).unwrap();
    let days = [20_000, 20_001, 19_636, 0, 20_002, u32::MAX, 5];
    for i in 0..2000 {
        store.append(&new("{\"a\":1}", Some("cup"), days[i % 7]), Some(&[7; 700])).unwrap();
    }
    store.close().unwrap();
    let all = ids(Path::new(FOLDER), Arc::new(disk.clone()));
    assert!(all.is_sorted() && all.len() > 100 && *all.last().unwrap() == 2000, "{}", all.len());
    assert_eq!(sim(&disk, ROOMY).unwrap().records(), all.len());
}

#[test]
fn what_was_named_is_never_given_up() {
    let disk = SimDisk::default();
    let settings = Settings { quota: 256 << 10, free: 0 };
    let mut store = sim(&disk, settings).unwrap();
    let reviews = Reviews::of(Path::new(FOLDER));
    let review = |id, said: &str| Review { id, said: Said::parse(said).unwrap(), by: "p".into(), wall: String::new() };
    for id in 1..=20 {
        store.append(&new("{\"a\":1}", Some("cup"), 1), Some(&[7; 2000])).unwrap();
        let said = ["newt", "open", "nothing"][id as usize % 3];
        reviews.add(&disk, &[review(id, said)], &mut |_| Ok(true)).unwrap();
    }
    for _ in 0..500 {
        store.append(&new("{\"a\":1}", None, 1), Some(&[7; 2000])).unwrap();
    }
    let all = ids(Path::new(FOLDER), Arc::new(disk.clone()));
    let named = (1..=20).filter(|id| id % 3 != 2).all(|id| all.contains(&id));
    assert!(named && !all.contains(&2) && store.counts().evicted > 300, "{all:?}");
    // A store full of reviewed records refuses others.
    let last: Vec<Review> = all.iter().map(|id| review(*id, "newt")).collect();
    reviews.add(&disk, &last, &mut |_| Ok(true)).unwrap();
    let refused = (0..200).find_map(|_| store.append(&new("{\"a\":1}", None, 1), Some(&[7; 2000])).err());
    // The few new records can be evicted first.
    let mut refused = refused;
    for _ in 0..200 {
        let id = store.next_id() - 1;
        let _ = reviews.add(&disk, &[review(id, "newt")], &mut |_| Ok(true));
        refused = refused.or(store.append(&new("{\"a\":1}", None, 1), Some(&[7; 2000])).err());
    }
    assert!(refused.is_some_and(|e| e.is_full()));
}

#[test]
fn a_decision_that_takes_long_is_no_full_store() {
    let disk = SimDisk::default();
    let mut store = sim(&disk, Settings { quota: 256 << 10, free: 0 }).unwrap();
    let reviews = Reviews::of(Path::new(FOLDER));
    let held = reviews.hold(&disk).unwrap().unwrap();
    let refused = (0..500).find_map(|_| store.append(&new("{\"a\":1}", None, 1), Some(&[7; 2000])).err()).unwrap();
    assert!(matches!(refused, oltr_store::Error::Deciding { .. }) && !refused.is_full(), "{refused}");
    drop(held);
    store.append(&new("{\"a\":1}", None, 1), Some(&[7; 2000])).unwrap();
    assert!(store.counts().evicted > 0);
}

/// A stream evicts records during a check. A picture removed at that moment, or half a line, is not reported as broken.
#[test]
fn a_check_beside_a_stream_finds_nothing_broken() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { quota: 256 << 10, free: 0 };
    let (mut store, _) = Store::open(folder.path(), settings, Arc::new(RealDisk)).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                store.append(&new("{\"a\":1}", Some("cup"), 1), Some(&[7; 2000])).unwrap();
            }
            store.counts().evicted
        });
        let end = std::time::Instant::now() + Duration::from_secs(3);
        let mut broken = Vec::new();
        while std::time::Instant::now() < end && broken.is_empty() {
            let reader = Reader::open(folder.path(), Arc::new(RealDisk)).unwrap();
            broken = reader.check().unwrap().findings;
            broken.retain(|finding| finding.broken);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(writes.join().unwrap() > 100);
        assert_eq!(broken, []);
    });
}

#[test]
fn a_smaller_quota_is_kept_from_the_next_start_on() {
    let disk = SimDisk::default();
    let mut store = sim(&disk, ROOMY).unwrap();
    for _ in 0..1000 {
        store.append(&new("{\"a\":1}", Some("cup"), 1), Some(&[7; 2000])).unwrap();
    }
    store.close().unwrap();
    assert!(disk.used() > 1 << 20);
    let store = sim(&disk, Settings { quota: 512 << 10, free: 0 }).unwrap();
    assert!(disk.used() <= 512 << 10 && store.records() > 50, "{}", disk.used());
    assert!(sim(&SimDisk::default(), Settings { quota: 1000, free: 0 }).is_err());
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

#[cfg(unix)]
#[test]
fn the_writer_goes_on_where_nothing_can_be_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    // A file in place of the folder. And, unless the user is root, a read-only folder.
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    let root = std::fs::create_dir(locked.join("try")).is_ok();
    for place in [file.join("store"), locked.join("store")].iter().take(if root { 1 } else { 2 }) {
        let mut writer = Writer::start(place, ROOMY, None, Arc::new(RealDisk), |_: Jpeg| {}).unwrap();
        for _ in 0..5 {
            assert!(writer.keep(job(), Some(Jpeg(vec![1]))).is_none());
        }
        assert!(writer.finish(Duration::from_secs(60)));
        assert_eq!((writer.counts().kept, writer.counts().not_kept, writer.counts().open), (0, 5, false));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

/// A flickering scene does not wear out a card: ordinary pictures are left out first, then ordinary events.
#[test]
fn a_day_has_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let day = 4 << 20;
    let mut writer = Writer::start(folder.path(), ROOMY, Some(day), Arc::new(RealDisk), |_: Jpeg| {}).unwrap();
    let (mut kept, mut n) = (0, 0u64);
    while n < 600 {
        let ordinary = Job { decision: "known", label: Some("cup".into()), ..job() };
        let job = if n % 6 == 0 { Job { special: true, ..job() } } else { ordinary };
        if writer.keep(job, Some(Jpeg(vec![7; 10_000]))).is_none() {
            (kept, n) = (kept + 1, n + 1);
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(writer.finish(Duration::from_secs(60)));
    let counts = writer.counts();
    assert!(counts.written <= day / 4 + 20_000 && counts.pictures_lost > 0, "{counts:?}");
    assert_eq!(counts.kept + counts.not_kept, kept);
    let (mut open, mut others) = (0, 0);
    let reader = Reader::open(folder.path(), Arc::new(RealDisk)).unwrap();
    reader
        .each(&mut |listed| {
            *(if listed.record.special { &mut open } else { &mut others }) += 1;
            Ok(true)
        })
        .unwrap();
    // Open events are a sixth of all, but a larger share of them was stored.
    assert!(open * 5 > others + 20, "{open} {others}");
}

/// The clock is unknown at first. Times are corrected once it is known.
#[test]
fn times_are_mended_by_what_the_same_boot_says_later() {
    let disk = SimDisk::default();
    let mut store = sim(&disk, ROOMY).unwrap();
    let line = |s: u64, wall: &str, known: bool| {
        format!(
            "{{\"schema\":\"oltr.event/1\",\"boot_id\":\"b\",\"mono_ns\":{},\"wall\":\"{wall}\",\"clock_synchronised\":{known},\
             \"last\":{{\"mono_ns\":{},\"wall\":\"{wall}\"}}}}",
            s * 1_000_000_000,
            s * 1_000_000_000
        )
    };
    store.append(&new(&line(10, "1970-01-01T00:00:10.000Z", false), None, 0), None).unwrap();
    let last = |disk: &SimDisk| -> (String, bool) {
        let mut reader = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap();
        reader.learn_times().unwrap();
        let mut all = Vec::new();
        reader
            .each(&mut |listed| {
                let json = listed.to_json(false);
                all.push((json["last"]["wall"].as_str().unwrap().into(), json["clock_mended"] == true));
                Ok(true)
            })
            .unwrap();
        all.remove(0)
    };
    assert_eq!(last(&disk), ("1970-01-01T00:00:10.000Z".into(), false));
    // No event followed, but the run's statistics had the time.
    store.note_run("r", &line(3610, "2026-05-01T13:00:00.000Z", true)).unwrap();
    store.note_run("r", &line(7210, "2026-05-01T14:00:00.000Z", true)).unwrap();
    assert_eq!(last(&disk), ("2026-05-01T12:00:00.000Z".into(), true));
    store.close().unwrap();
    let reader = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap();
    assert_eq!(reader.efforts().unwrap().len(), 1);
}

/// A card becomes read-only. The stream continues and reports it, and the stored events stay readable.
#[test]
fn a_read_only_card_costs_what_comes_since() {
    let disk = SimDisk::default();
    let mut store = sim(&disk, ROOMY).unwrap();
    for _ in 0..10 {
        store.append(&new("{}", None, 1), Some(b"picture")).unwrap();
    }
    store.close().unwrap();
    disk.set_read_only(true);
    let mut writer = Writer::start(Path::new(FOLDER), ROOMY, None, Arc::new(disk.clone()), |_: Jpeg| {}).unwrap();
    for _ in 0..5 {
        assert!(writer.keep(job(), Some(Jpeg(vec![1]))).is_none());
    }
    assert!(writer.finish(Duration::from_secs(60)));
    assert_eq!((writer.counts().kept, writer.counts().not_kept), (0, 5));
    let reader = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap();
    assert_eq!((reader.check().unwrap().findings, reader.stats().unwrap().pictures), (vec![], 10));
    disk.set_read_only(false);
    assert_eq!(sim(&disk, ROOMY).unwrap().records(), 10);
}

/// The writer does not wait for a hanging disk. It counts the events that did not fit into the queue.
#[test]
fn the_writer_never_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (tell, hold) = std::sync::mpsc::channel::<()>();
    struct Slow(Option<std::sync::mpsc::Receiver<()>>);
    impl Picture for Slow {
        fn jpeg(&mut self) -> Option<&[u8]> {
            self.0.take().map(|hold| hold.recv());
            Some(b"picture")
        }
    }
    let mut writer = Writer::start(folder.path(), ROOMY, None, Arc::new(RealDisk), |_: Slow| {}).unwrap();
    let mut back = 0;
    writer.keep(job(), Some(Slow(Some(hold))));
    for _ in 0..100 {
        back += usize::from(writer.keep(job(), Some(Slow(None))).is_some());
    }
    assert!(back >= 100 - oltr_store::writer::QUEUE && writer.counts().dropped as usize == back, "{back}");
    tell.send(()).unwrap();
    assert!(writer.finish(Duration::from_secs(60)));
    let counts = writer.counts();
    assert_eq!(counts.kept + counts.dropped, 101);
    assert_eq!(ids(folder.path(), Arc::new(RealDisk)).len() as u64, counts.kept);
}
