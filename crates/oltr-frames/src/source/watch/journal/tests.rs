use super::*;

/// Keys as hashes are, three of a photo.
fn photo(i: u64) -> Keys {
    Keys([1, 2, 3].map(|k| (i * 3 + k).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

fn has(journal: &Journal, i: u64) -> bool {
    let found = photo(i).0.map(|key| journal.contains(key).unwrap());
    assert!(found == [found[0]; 3], "a photo is there with all its keys or with none");
    found[0]
}

fn those_of(journal: &Journal, most: u64) -> Vec<u64> {
    (0..most).filter(|i| has(journal, *i)).collect()
}

#[test]
fn entries_outlive_the_process_and_the_file_is_not_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 100).unwrap();
    journal.record(&[photo(1), photo(2)]).unwrap();
    drop(journal);
    let before = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
    let journal = Journal::open(&path, 100).unwrap();
    assert_eq!(those_of(&journal, 5), [1, 2]);
    assert_eq!((fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap()), before);
}

/// A power cut may truncate the file anywhere, and leave zeros in place of data.
#[test]
fn a_file_cut_off_after_any_byte_keeps_what_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    // Two entries are merged into a block, two follow it.
    let mut journal = Journal::open(&path, 2).unwrap();
    (0..3).for_each(|i| journal.record(&[photo(i)]).unwrap());
    assert_eq!(journal.blocks.count(), 1);
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let first = HEADER + BLOCK;
    assert_eq!(whole.len(), first + ENTRY);
    let plain = folder.path().join("plain");
    let mut journal = Journal::open(&plain, 100).unwrap();
    journal.record(&[photo(0), photo(1)]).unwrap();
    drop(journal);
    let plain = fs::read(plain).unwrap();
    for (bytes, start, of_start) in [(&whole, first, 2), (&plain, HEADER, 0)] {
        for length in (0..=HEADER).chain(first - 2..=first + 1).chain(start..=bytes.len()).filter(|l| *l <= bytes.len())
        {
            for zeros in [0, 7, ENTRY, 5000] {
                fs::write(&path, [&bytes[..length], &vec![0; zeros]].concat()).unwrap();
                let mut journal = Journal::open(&path, 100).unwrap();
                let whole = if length < start { 0 } else { of_start + (length - start) / ENTRY };
                let expected: Vec<u64> = (0..whole as u64).collect();
                assert_eq!(those_of(&journal, 5), expected, "cut off after {length}, {zeros} zeros");
                // The torn end does not hide the next entry.
                journal.record(&[photo(9)]).unwrap();
                drop(journal);
                let journal = Journal::open(&path, 100).unwrap();
                assert_eq!(those_of(&journal, 10), [&expected[..], &[9]].concat(), "{length}, {zeros}");
            }
        }
    }
}

#[test]
fn a_damaged_byte_costs_the_entry_it_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 100).unwrap();
    journal.record(&[photo(0), photo(1), photo(2)]).unwrap();
    drop(journal);
    let whole = fs::read(&path).unwrap();
    for at in HEADER..HEADER + 2 * ENTRY {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let journal = Journal::open(&path, 100).unwrap();
        let left = those_of(&journal, 4);
        // A damaged line feed also damages the next entry.
        let broken = if (at - HEADER + 1).is_multiple_of(ENTRY) { 2 } else { 1 };
        assert!(left.len() >= 3 - broken && left.contains(&2) && left.len() < 3, "byte {at}: {left:?}");
    }
}

#[test]
fn many_entries_are_merged_and_memory_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 16).unwrap();
    for i in 0..2000 {
        journal.record(&[photo(i)]).unwrap();
        assert!(journal.recent.len() <= 3 * 16);
    }
    assert_eq!(those_of(&journal, 2100), (0..2000).collect::<Vec<_>>());
    drop(journal);
    let journal = Journal::open(&path, 16).unwrap();
    assert_eq!(those_of(&journal, 2100), (0..2000).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

/// As after a run that keeps more in memory, or that could not merge because the disk was full.
#[test]
fn more_entries_than_are_kept_are_all_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    for most in [1, 2, 4, 5, 6, 7, 8] {
        let _ = fs::remove_file(&path);
        let mut journal = Journal::open(&path, 100).unwrap();
        (0..7).for_each(|i| journal.record(&[photo(i)]).unwrap());
        drop(journal);
        for start in 0..3 {
            let journal = Journal::open(&path, most).unwrap();
            assert_eq!(those_of(&journal, 9), [0, 1, 2, 3, 4, 5, 6], "{most} are kept, start {start}");
        }
    }
}

/// A first line with a valid checksum and an impossible number of blocks.
#[test]
fn a_first_line_that_promises_too_much_costs_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 1).unwrap();
    (0..3).for_each(|i| journal.record(&[photo(i)]).unwrap());
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let promising = [header(u32::MAX).as_bytes(), &whole[HEADER..]].concat();
    fs::write(&path, &promising).unwrap();
    assert_eq!(those_of(&Journal::open(&path, 100).unwrap(), 5), [0, 1, 2]);
    assert_eq!(those_of(&Journal::open(&path, 100).unwrap(), 5), [0, 1, 2]);
    // Replaced by another file.
    let other = folder.path().join("other");
    let mut journal = Journal::open(&other, 100).unwrap();
    fs::rename(&path, &other).unwrap();
    fs::write(&other, &promising).unwrap();
    journal.check().unwrap();
    assert_eq!(those_of(&journal, 5), [0, 1, 2]);
}

#[test]
fn a_file_of_the_first_version_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let id = |i: u64| format!("{:016x}{i:016x}\n", photo(i).0[0]);
    for torn in ["", "0123456789abcdef0123"] {
        fs::write(&path, format!("oltr.watch/1\n{}{}{torn}", id(1), id(2))).unwrap();
        let mut journal = Journal::open(&path, 100).unwrap();
        assert!(journal.contains(photo(1).0[0]).unwrap() && journal.contains(photo(2).0[0]).unwrap());
        assert!(!journal.contains(photo(3).0[0]).unwrap());
        journal.record(&[photo(3)]).unwrap();
        drop(journal);
        let journal = Journal::open(&path, 100).unwrap();
        assert!((1..4).all(|i| journal.contains(photo(i).0[0]).unwrap()));
        assert!(fs::read(&path).unwrap().starts_with(FORMAT.as_bytes()));
    }
}

#[test]
fn two_may_not_have_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 2).unwrap();
    let busy = || Journal::open(&path, 2).unwrap_err();
    assert!(matches!(busy(), Error::Busy { .. }), "{}", busy());
    // Merging replaces the file. The new one is locked too.
    journal.record(&[photo(1), photo(2), photo(3)]).unwrap();
    assert!(journal.merges > 0 && matches!(busy(), Error::Busy { .. }));
    drop(journal);
    assert!(Journal::open(&path, 2).is_ok());
}

#[test]
fn what_is_removed_replaced_or_cut_off_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let other = folder.path().join("other");
    let mut journal = Journal::open(&other, 100).unwrap();
    journal.record(&[photo(50)]).unwrap();
    drop(journal);
    let mut journal = Journal::open(&path, 2).unwrap();
    journal.record(&[photo(0), photo(1), photo(2)]).unwrap();
    let reopened = |journal: Journal| {
        drop(journal);
        Journal::open(&path, 2).unwrap()
    };
    fs::remove_file(&path).unwrap();
    journal.record(&[photo(3)]).unwrap();
    journal = reopened(journal);
    assert_eq!(those_of(&journal, 60), [0, 1, 2, 3]);
    // The entries of another list are kept.
    fs::rename(&other, &path).unwrap();
    journal.check().unwrap();
    journal.record(&[photo(4)]).unwrap();
    journal = reopened(journal);
    assert_eq!(those_of(&journal, 60), [0, 1, 2, 3, 4, 50]);
    // Of a truncated file, the entries in memory are kept.
    drop(journal);
    let mut journal = Journal::open(&path, 100).unwrap();
    journal.record(&[photo(5)]).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(HEADER as u64).unwrap();
    journal.check().unwrap();
    let mut journal = reopened(journal);
    assert!(has(&journal, 5));
    // Somebody's letter is left alone.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "Dear Sir,").unwrap();
    assert!(matches!(journal.record(&[photo(6)]), Err(Error::BadInput { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"Dear Sir,");
}

#[test]
fn mode_and_links_are_kept() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("far-taken"), folder.path().join("taken"));
    std::os::unix::fs::symlink("far-taken", &link).unwrap();
    drop(Journal::open(&link, 2).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    let mut journal = Journal::open(&link, 2).unwrap();
    journal.record(&[photo(0), photo(1), photo(2)]).unwrap();
    assert!(journal.merges > 0);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, what) in [
        (fifo.as_path(), "a FIFO"),
        (&socket, "a socket"),
        (folder.path(), "a folder"),
        (Path::new("/dev/null"), "a device"),
        (Path::new("/dev/full"), "a device"),
    ] {
        let error = Journal::open(path, 2).unwrap_err();
        assert!(matches!(error, Error::Config(_)) && error.to_string().contains(what), "{error}");
    }
}

/// A full disk, as the system plays it.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 9).unwrap();
    journal.record(&[photo(7)]).unwrap();
    let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
    let written = |journal: &Journal| journal.file.write_all_at(b"x", journal.end).unwrap_err();
    let sound = std::mem::replace(&mut journal.file, full.into());
    assert_eq!(written(&journal).kind(), io::ErrorKind::StorageFull);
    journal.file = sound;
    assert!(has(&journal, 7) && !has(&journal, 8));
    journal.record(&[photo(8)]).unwrap();
    drop(journal);
    assert_eq!(those_of(&Journal::open(&path, 9).unwrap(), 10), [7, 8]);
}

#[test]
fn another_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter");
    for text in ["Dear Sir,", "oltr.watch/3 00000000 00000000\n", "oltr.watch/1\x00", "\0\0\0image"] {
        fs::write(&path, text).unwrap();
        assert!(matches!(Journal::open(&path, 3), Err(Error::BadInput { .. })), "{text}");
        assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
    }
}

/// A power cut can leave pages of zeros anywhere, if the file system wrote names before data.
#[test]
fn pages_of_zeros_cost_what_was_in_them_and_refuse_no_start() {
    const PAGE: usize = 512;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 600).unwrap();
    (0..1000).for_each(|i| journal.record(&[photo(i)]).unwrap());
    assert!(journal.blocks.count() > 2 && !journal.recent.is_empty());
    let (blocks, entries) = (journal.blocks.count() as usize, journal.recent.len() / 3);
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let merged = 1000 - entries as u64;
    for page in (0..whole.len()).step_by(PAGE) {
        for last in [page + PAGE, whole.len()] {
            let mut bytes = whole.clone();
            let last = last.min(bytes.len());
            bytes[page..last].fill(0);
            fs::write(&path, &bytes).unwrap();
            let damaged = bytes;
            let mut journal = Journal::open(&path, 600).unwrap();
            let is_whole = |from: usize, to: usize| damaged[from..to] == whole[from..to];
            for i in merged..1000 {
                let at = HEADER + blocks * BLOCK + (i - merged) as usize * ENTRY;
                // Without a line feed before it, an entry looks damaged.
                let first = if i == merged { at } else { at - ENTRY };
                let there = has(&journal, i);
                assert!(there || !is_whole(first, at + ENTRY), "entry {i}, zeros from {page} to {last}");
                assert!(!there || is_whole(at, at + ENTRY), "entry {i}, zeros from {page} to {last}");
            }
            let left = (0..blocks).filter(|block| is_whole(HEADER + block * BLOCK, HEADER + (block + 1) * BLOCK));
            let expected: usize = left
                .map(|block| {
                    u32::from_le_bytes(whole[HEADER + (block + 1) * BLOCK - 8..][..4].try_into().unwrap()) as usize
                })
                .sum();
            let kept: usize =
                (0..merged).flat_map(|i| photo(i).0).filter(|key| journal.contains(*key).unwrap()).count();
            assert_eq!(kept, expected, "zeros from {page} to {last}");
            assert!((2000..3000).all(|i| !has(&journal, i)), "nothing is read that was not written");
            journal.record(&[photo(5000)]).unwrap();
            drop(journal);
            assert!(has(&Journal::open(&path, 600).unwrap(), 5000));
        }
    }
}

/// Images of disks begin with zeros too.
#[test]
fn a_file_that_only_begins_with_zeros_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    for bytes in [[&[0; 5000][..], b"data"].concat(), vec![0; MOST_ZEROS as usize + 1]] {
        fs::write(&path, &bytes).unwrap();
        let error = Journal::open(&path, 3).unwrap_err();
        assert!(matches!(error, Error::BadInput { .. }) && error.to_string().contains("name another file"), "{error}");
        assert!(fs::read(&path).unwrap() == bytes);
    }
    fs::write(&path, [0; 4096]).unwrap();
    assert!(Journal::open(&path, 3).is_ok());
}

#[test]
fn what_was_begun_and_not_recorded_is_known_through_merges_and_torn_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 4).unwrap();
    for i in 100..103 {
        assert!(!journal.begin(photo(i)).unwrap(), "{i} is new");
    }
    journal.take_back(&[photo(101), photo(7)]).unwrap();
    // Enough entries to merge them, including the third of the begun photos.
    (0..10).for_each(|i| journal.record(&[photo(i)]).unwrap());
    journal.record(&[photo(102)]).unwrap();
    assert!(journal.merges > 1);
    drop(journal);
    for end in [&b""[..], b"96c2", &[0; 70]] {
        fs::write(&path, [&fs::read(&path).unwrap()[..], end].concat()).unwrap();
        let mut journal = Journal::open(&path, 4).unwrap();
        let begun = [100, 101, 102].map(|i| journal.begun.has(photo(i)));
        assert_eq!(begun, [true, false, false]);
        assert!(!has(&journal, 100) && has(&journal, 102), "a photo that was begun is not recorded");
        // Any of its keys is enough.
        let Keys([_, second, _]) = photo(100);
        assert!(journal.begin(Keys([1, second, 3])).unwrap());
    }
    let mut journal = Journal::open(&path, 4).unwrap();
    journal.record(&[photo(100)]).unwrap();
    drop(journal);
    let mut journal = Journal::open(&path, 4).unwrap();
    assert!(has(&journal, 100) && journal.begun.is_empty());
    // No more are kept than can be in progress.
    (1000..1100).for_each(|i| assert!(!journal.begin(photo(i)).unwrap()));
    assert_eq!([1000, 1035, 1036, 1099].map(|i| journal.begun.has(photo(i))), [false, false, true, true]);
}

#[test]
fn what_could_not_be_recorded_is_not_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("taken");
    let mut journal = Journal::open(&path, 4).unwrap();
    journal.begin(photo(1)).unwrap();
    let whole = std::mem::replace(&mut journal.file, Arc::new(File::open(&path).unwrap()));
    journal.record(&[photo(1)]).unwrap_err();
    journal.file = whole;
    journal.take_back(&[photo(1)]).unwrap();
    drop(journal);
    assert!(Journal::open(&path, 4).unwrap().begun.has(photo(1)), "its line may have been written");
}
