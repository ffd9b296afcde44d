//! A folder that fills.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use oltr::source::watch::{STATE_FILE, Watch};
use oltr::source::{Damage, FrameSource, Next};
use oltr::{Error, ErrorKind, Frame, Limits};

fn watch(folder: &Path) -> Watch {
    Watch::open(folder, None, &Limits::default()).unwrap().searched_every(Duration::from_millis(100))
}

/// A gray pixel of `value`.
fn photo(value: u8) -> Vec<u8> {
    [b"P5 1 1 255 ".as_slice(), &[value]].concat()
}

fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Writes a photo that looks as if it had been there for long.
fn old_photo(path: &Path, value: u8) {
    fs::write(path, photo(value)).unwrap();
    age(path, 3600);
}

/// Result of one call: the pixel value of a photo, or the kind of damage.
type Found = Result<u8, ErrorKind>;

/// One call, confirmed as a pipeline does it.
fn step(watch: &mut Watch, patience: Duration, damages: &mut u64) -> Option<Found> {
    let mut frame = Frame::default();
    match watch.next(&mut frame, patience).unwrap() {
        Next::Frame => {
            watch.confirm(frame.stamp().seq).unwrap();
            Some(Ok(frame.data()[0]))
        }
        Next::Damaged(Damage { kind, .. }) => {
            *damages += 1;
            watch.confirm_damages(*damages).unwrap();
            Some(Err(kind))
        }
        Next::Waiting => None,
        Next::End => panic!("a folder has no end"),
    }
}

/// Results until none comes for `patience`.
fn found(watch: &mut Watch, patience: Duration) -> Vec<Found> {
    let (mut found, mut damages, mut heard) = (Vec::new(), 0, Instant::now());
    while heard.elapsed() < patience || found.is_empty() && patience.is_zero() {
        match step(watch, Duration::from_millis(50).min(patience), &mut damages) {
            Some(photo) => {
                found.push(photo);
                heard = Instant::now();
            }
            None if patience.is_zero() => break,
            None => {}
        }
    }
    found
}

/// The first result, whenever it comes.
fn first(watch: &mut Watch) -> Found {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        assert!(Instant::now() < until, "nothing came");
        if let Some(found) = step(watch, Duration::from_millis(50), &mut 0) {
            return found;
        }
    }
}

const SHORT: Duration = Duration::from_millis(500);
/// Longer than a new file takes to settle.
const LONG: Duration = Duration::from_millis(2600);

#[test]
fn photos_are_taken_once_also_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    old_photo(&at("b.pgm"), 2);
    old_photo(&at("a.pgm"), 1);
    fs::create_dir(at("sub")).unwrap();
    old_photo(&at("sub/c.pgm"), 3);
    fs::write(at("note.txt"), "no photo").unwrap();
    let mut first = watch(folder.path());
    assert_eq!(found(&mut first, SHORT), [Ok(1), Ok(2), Ok(3)]);
    fs::write(at("d.pgm"), photo(4)).unwrap();
    fs::write(at(".hidden.pgm"), photo(9)).unwrap();
    fs::write(at("e.pgm"), b"P5 garbage").unwrap();
    assert_eq!(found(&mut first, LONG), [Ok(4), Err(ErrorKind::BadImage)]);
    assert_eq!(found(&mut first, LONG), []);
    drop(first);
    old_photo(&at("f.pgm"), 6);
    let mut second = watch(folder.path());
    assert_eq!(found(&mut second, LONG), [Ok(6)], "the others were taken");
    // After rewriting it is a different photo.
    fs::write(at("a.pgm"), photo(7)).unwrap();
    assert_eq!(found(&mut second, LONG), [Ok(7)]);
    assert!(at(STATE_FILE).is_file());
}

#[test]
fn what_was_not_confirmed_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    old_photo(&folder.path().join("a.pgm"), 1);
    old_photo(&folder.path().join("b.pgm"), 2);
    old_photo(&folder.path().join("c.pgm"), 3);
    fs::write(folder.path().join("d.pgm"), "P5 garbage").unwrap();
    age(&folder.path().join("d.pgm"), 3600);
    let mut first = watch(folder.path());
    let mut frame = Frame::default();
    for _ in 0..3 {
        assert_eq!(first.next(&mut frame, SHORT).unwrap(), Next::Frame);
    }
    assert!(matches!(first.next(&mut frame, SHORT).unwrap(), Next::Damaged(_)));
    first.refuse(1);
    first.confirm(1).unwrap();
    drop(first);
    // Photos that could not be classified are not recorded, nor is damage that was not reported.
    let again = found(&mut watch(folder.path()), SHORT);
    assert_eq!(again, [Ok(2), Ok(3), Err(ErrorKind::BadImage)]);
}

#[test]
fn a_refused_photo_waits_for_another_run_or_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pgm");
    old_photo(&path, 1);
    let mut watch = watch(folder.path());
    let mut frame = Frame::default();
    assert_eq!(watch.next(&mut frame, SHORT).unwrap(), Next::Frame);
    watch.refuse(0);
    watch.confirm(0).unwrap();
    assert_eq!(found(&mut watch, SHORT), []);
    old_photo(&path, 2);
    assert_eq!(found(&mut watch, LONG), [Ok(2)]);
}

#[test]
fn a_photo_is_taken_when_its_writer_closes_it_or_moves_it_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watch(folder.path());
    assert_eq!(found(&mut watch, SHORT), []);
    let mut file = File::create(folder.path().join("slow.pgm")).unwrap();
    file.write_all(b"P5 1 1 255").unwrap();
    assert_eq!(found(&mut watch, LONG), [], "it is still being written");
    // A search of the whole folder does not make a stalled upload a damaged photo.
    fs::create_dir(folder.path().join("beside")).unwrap();
    assert_eq!(found(&mut watch, LONG), []);
    file.write_all(b" \x05").unwrap();
    drop(file);
    assert_eq!(found(&mut watch, SHORT), [Ok(5)]);
    fs::write(folder.path().join("moved.part"), photo(6)).unwrap();
    fs::rename(folder.path().join("moved.part"), folder.path().join("moved.pgm")).unwrap();
    // A whole folder is moved in, as from a card. Its photos are old, or settle.
    let card = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
    fs::create_dir(card.path().join("DCIM")).unwrap();
    old_photo(&card.path().join("DCIM/x.pgm"), 8);
    fs::rename(card.path().join("DCIM"), folder.path().join("DCIM")).unwrap();
    assert_eq!(found(&mut watch, SHORT), [Ok(6), Ok(8)]);
}

#[test]
fn a_new_photo_without_a_close_event_must_settle() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fresh.pgm"), photo(3)).unwrap();
    let start = Instant::now();
    let mut watch = watch(folder.path());
    assert_eq!(found(&mut watch, Duration::ZERO), []);
    assert_eq!(first(&mut watch), Ok(3));
    assert!(start.elapsed() >= Duration::from_millis(1900), "{:?}", start.elapsed());
}

#[test]
fn a_folder_that_vanishes_is_unavailable_and_may_come_back() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("card");
    fs::create_dir(&folder).unwrap();
    let state = parent.path().join("state");
    let mut watch = Watch::open(&folder, Some(&state), &Limits::default()).unwrap();
    assert_eq!(found(&mut watch, SHORT), []);
    fs::remove_dir_all(&folder).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let gone = loop {
        match watch.next(&mut Frame::default(), SHORT) {
            Ok(Next::Waiting) if Instant::now() < until => {}
            other => break other,
        }
    };
    assert!(matches!(gone, Err(Error::Unavailable { .. })), "{gone:?}");
    assert!(matches!(watch.reconnect(), Err(Error::Unavailable { .. })));
    fs::create_dir(&folder).unwrap();
    old_photo(&folder.join("a.pgm"), 1);
    watch.reconnect().unwrap();
    fs::write(folder.join("b.pgm"), photo(2)).unwrap();
    let mut both = [first(&mut watch), first(&mut watch)];
    both.sort_by_key(|found| found.unwrap());
    assert_eq!(both, [Ok(1), Ok(2)]);
}

/// Replaced while nothing reads: neither an error nor an event reports it.
#[test]
fn a_folder_made_anew_is_heard_again() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, state) = (parent.path().join("card"), parent.path().join("state"));
    fs::create_dir(&folder).unwrap();
    let watch = Watch::open(&folder, Some(&state), &Limits::default()).unwrap();
    // Not found by the clock.
    let mut watch = watch.searched_every(Duration::from_secs(3600));
    old_photo(&folder.join("a.pgm"), 1);
    assert_eq!(first(&mut watch), Ok(1));
    for (round, value) in [(0, 2), (1, 3)] {
        // Removed, then moved away.
        if round == 0 {
            fs::remove_dir_all(&folder).unwrap();
        } else {
            fs::rename(&folder, parent.path().join("away")).unwrap();
        }
        fs::create_dir(&folder).unwrap();
        old_photo(&folder.join("a.pgm"), 1);
        fs::write(folder.join(format!("{value}.pgm")), photo(value)).unwrap();
        assert_eq!(first(&mut watch), Ok(value), "and the photo that was taken is not new");
        // It is listened to again.
        fs::write(folder.join("heard.pgm"), photo(100 + value)).unwrap();
        assert_eq!(first(&mut watch), Ok(100 + value));
    }
}

/// The state file in the folder disappears with it, but its contents are kept.
#[test]
fn a_state_file_that_is_removed_is_written_anew() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("card");
    fs::create_dir(&folder).unwrap();
    let mut watch = watch(&folder);
    old_photo(&folder.join("a.pgm"), 1);
    assert_eq!(first(&mut watch), Ok(1));
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    old_photo(&folder.join("a.pgm"), 1);
    old_photo(&folder.join("b.pgm"), 2);
    assert_eq!(first(&mut watch), Ok(2));
    drop(watch);
    assert_eq!(found(&mut self::watch(&folder), SHORT), []);
}

#[test]
fn a_photo_is_one_however_it_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("card");
    fs::create_dir_all(folder.join("sub")).unwrap();
    let state = parent.path().join("state");
    let open = |path: &Path| {
        Watch::open(path, Some(&state), &Limits::default()).unwrap().searched_every(Duration::from_millis(100))
    };
    let mut watch = open(&folder);
    assert_eq!(found(&mut watch, SHORT), []);
    fs::write(folder.join("sub/a.pgm"), photo(1)).unwrap();
    assert_eq!(first(&mut watch), Ok(1));
    // Found by a search after it was reported by the system.
    fs::create_dir(folder.join("new")).unwrap();
    assert_eq!(found(&mut watch, LONG), []);
    drop(watch);
    std::os::unix::fs::symlink(&folder, parent.path().join("link")).unwrap();
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.iter().skip(1).map(|_| "..").collect();
    let relative = up.join(folder.strip_prefix("/").unwrap());
    let paths = [folder.clone(), parent.path().join("card/../card/."), parent.path().join("link"), relative];
    for (i, path) in paths.into_iter().enumerate() {
        let mut watch = open(&path);
        assert_eq!(found(&mut watch, SHORT), [], "{}", path.display());
        // The name in results starts with the folder as given, however the photo was found.
        let name = format!("{i}.pgm");
        fs::write(folder.join(&name), photo(i as u8)).unwrap();
        let mut frame = Frame::default();
        let until = Instant::now() + Duration::from_secs(60);
        while watch.next(&mut frame, SHORT).unwrap() != Next::Frame {
            assert!(Instant::now() < until);
        }
        watch.confirm(frame.stamp().seq).unwrap();
        assert_eq!(frame.label(), path.join(&name).display().to_string());
        fs::remove_file(folder.join(&name)).unwrap();
    }
}

#[test]
fn times_names_and_links_do_not_make_a_photo_new() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    old_photo(&at("a.pgm"), 1);
    let mut watch = watch(folder.path());
    assert_eq!(found(&mut watch, SHORT), [Ok(1)]);
    // Daylight saving, on a card with FAT.
    age(&at("a.pgm"), 7200);
    assert_eq!(found(&mut watch, LONG), []);
    drop(watch);
    age(&at("a.pgm"), 10_800);
    let mut watch = self::watch(folder.path());
    assert_eq!(found(&mut watch, SHORT), []);
    fs::rename(at("a.pgm"), at("b.pgm")).unwrap();
    assert_eq!(found(&mut watch, SHORT), []);
    drop(watch);
    fs::create_dir(at("sub")).unwrap();
    fs::rename(at("b.pgm"), at("sub/c.pgm")).unwrap();
    fs::hard_link(at("sub/c.pgm"), at("d.pgm")).unwrap();
    std::os::unix::fs::symlink("sub/c.pgm", at("e.pgm")).unwrap();
    std::os::unix::fs::symlink("sub", at("again")).unwrap();
    let mut watch = self::watch(folder.path());
    assert_eq!(found(&mut watch, LONG), []);
    // Copies under other names are photos, and so is a different photo under an old name.
    fs::copy(at("d.pgm"), at("f.pgm")).unwrap();
    assert_eq!(found(&mut watch, LONG), [Ok(1)]);
    fs::remove_file(at("f.pgm")).unwrap();
    fs::write(at("f.pgm"), photo(9)).unwrap();
    assert_eq!(found(&mut watch, LONG), [Ok(9)]);
    // Both at once while nothing watches: distinguished by the birth time, if the file system has
    // one.
    drop(watch);
    fs::rename(at("f.pgm"), at("g.pgm")).unwrap();
    age(&at("g.pgm"), 7200);
    if fs::metadata(at("g.pgm")).unwrap().created().is_ok() {
        assert_eq!(found(&mut self::watch(folder.path()), SHORT), []);
    }
}

#[test]
fn hidden_and_system_folders_are_passed_over_by_search_and_by_event() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let hidden = [".Trash-1000/files", ".stversions", "@eaDir/x.pgm", "$RECYCLE.BIN/S-1", "lost+found", "__MACOSX"];
    for (i, name) in hidden.iter().enumerate() {
        fs::create_dir_all(at(name)).unwrap();
        old_photo(&at(name).join("old.pgm"), i as u8);
    }
    old_photo(&at("a.pgm"), 100);
    let mut watch = watch(folder.path());
    assert_eq!(found(&mut watch, SHORT), [Ok(100)]);
    for name in hidden {
        fs::write(at(name).join("new.pgm"), photo(1)).unwrap();
    }
    fs::rename(at("a.pgm"), at(".Trash-1000/files/a.pgm")).unwrap();
    for name in ["._x.pgm", ".x.pgm.AbC123", "x.pgm.part", "x.pgm~"] {
        fs::write(at(name), photo(1)).unwrap();
    }
    assert_eq!(found(&mut watch, LONG), []);
    // A photo that comes back from the trash was already taken.
    fs::rename(at(".Trash-1000/files/a.pgm"), at("a.pgm")).unwrap();
    assert_eq!(found(&mut watch, SHORT), []);
}

/// Root may read any file. For root, use a folder in place of the photo.
fn unreadable(path: &Path, value: u8) -> bool {
    old_photo(path, value);
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    File::open(path).is_err()
}

#[test]
fn unreadable_photos_are_reported_once_and_taken_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pgm");
    if !unreadable(&path, 7) {
        return;
    }
    let mut watch = watch(folder.path());
    assert_eq!(found(&mut watch, LONG), [Err(ErrorKind::Io)], "once");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(first(&mut watch), Ok(7));
    assert_eq!(found(&mut watch, LONG), []);
}

#[test]
fn photos_beyond_limits_are_reported_once_and_taken_by_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let wide = |value| [b"P5 4 1 255 ".as_slice(), &[value; 4]].concat();
    fs::write(folder.path().join("a.pgm"), wide(7)).unwrap();
    age(&folder.path().join("a.pgm"), 3600);
    let mut limits = Limits::default();
    limits.photo_side = 3;
    for _ in 0..2 {
        let watch = Watch::open(folder.path(), None, &limits).unwrap();
        let mut watch = watch.searched_every(Duration::from_millis(50));
        assert_eq!(found(&mut watch, SHORT), [Err(ErrorKind::Limit)], "once");
    }
    assert_eq!(found(&mut watch(folder.path()), SHORT), [Ok(7)]);
    assert_eq!(found(&mut watch(folder.path()), SHORT), []);
}

/// A photo whose decoder needs too much memory is not recorded.
#[test]
fn what_a_decoder_has_no_memory_for_is_taken_by_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    image::RgbImage::from_pixel(1, 1, image::Rgb([7, 7, 7])).save(&path).unwrap();
    let png = fs::read(&path).unwrap();
    // A text chunk next to the picture, after the header: the pixel alone would be readable.
    let chunk = [b"tEXtComment\0".as_slice(), &[b'x'; 5000]].concat();
    let length = (chunk.len() as u32 - 4).to_be_bytes();
    let large = [&png[..33], &length, &chunk, &crc32(&chunk).to_be_bytes(), &png[33..]].concat();
    fs::write(&path, large).unwrap();
    age(&path, 3600);
    let few = Limits::with(|limits| limits.photo_pixels = 1);
    let mut limited = Watch::open(folder.path(), None, &few).unwrap();
    assert_eq!(found(&mut limited, SHORT), [Err(ErrorKind::Limit)]);
    drop(limited);
    assert_eq!(found(&mut watch(folder.path()), SHORT), [Ok(7)]);
}

/// The checksum of a chunk of a PNG.
fn crc32(bytes: &[u8]) -> u32 {
    let shift = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc)))
}

#[test]
fn a_folder_that_is_never_emptied_has_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    limits.watched_photos = 2;
    limits.photos = 2;
    let path = |n: u8| folder.path().join(format!("{n:03}.pgm"));
    (0..50).for_each(|n| old_photo(&path(n), n));
    let mut watch = Watch::open(folder.path(), None, &limits).unwrap();
    assert_eq!(found(&mut watch, SHORT), (0..50).map(Ok).collect::<Vec<_>>());
    fs::write(path(50), photo(50)).unwrap();
    assert_eq!(first(&mut watch), Ok(50));
    drop(watch);
    let mut watch = Watch::open(folder.path(), None, &limits).unwrap();
    assert_eq!(found(&mut watch, SHORT), []);
}

#[test]
fn two_watches_do_not_share_a_state_file() {
    let folder = tempfile::tempdir().unwrap();
    let _one = watch(folder.path());
    let two = Watch::open(folder.path(), None, &Limits::default());
    assert!(matches!(two, Err(Error::Busy { .. })), "{two:?}");
}
