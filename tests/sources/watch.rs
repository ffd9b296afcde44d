//! A folder that fills.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use oltr::source::watch::{STATE_FILE, Watch};
use oltr::source::{FrameSource, Next};
use oltr::{Error, Frame, Limits};

fn watch(folder: &Path) -> Watch {
    Watch::open(folder, None, &Limits::default()).unwrap()
}

/// A gray pixel of `value`.
fn photo(value: u8) -> Vec<u8> {
    [b"P5 1 1 255 ".as_slice(), &[value]].concat()
}

/// Writes a photo that looks as if it had been there for long.
fn old_photo(path: &Path, value: u8) {
    fs::write(path, photo(value)).unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
}

/// What is found until nothing comes for `patience`: the value of the pixel of each photo, or nothing for damage.
fn found(watch: &mut Watch, patience: Duration) -> Vec<Option<u8>> {
    let mut frame = Frame::default();
    let mut found = Vec::new();
    loop {
        match watch.next(&mut frame, patience).unwrap() {
            Next::Frame => {
                watch.confirm(frame.stamp().seq).unwrap();
                found.push(Some(frame.data()[0]));
            }
            Next::Damaged(_) => found.push(None),
            Next::Waiting => return found,
            Next::End => panic!("a folder has no end"),
        }
    }
}

const SHORT: Duration = Duration::from_millis(300);

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
    assert_eq!(found(&mut first, SHORT), [Some(1), Some(2), Some(3)]);
    fs::write(at("d.pgm"), photo(4)).unwrap();
    fs::write(at(".hidden.pgm"), photo(9)).unwrap();
    fs::write(at("e.pgm"), b"P5 garbage").unwrap();
    assert_eq!(found(&mut first, SHORT), [Some(4), None]);
    assert_eq!(found(&mut first, SHORT), []);
    drop(first);
    old_photo(&at("f.pgm"), 6);
    let mut second = watch(folder.path());
    assert_eq!(found(&mut second, SHORT), [Some(6)], "the others were taken");
    // Written anew it is another photo.
    fs::write(at("a.pgm"), photo(7)).unwrap();
    assert_eq!(found(&mut second, SHORT), [Some(7)]);
    assert!(at(STATE_FILE).is_file());
}

#[test]
fn what_was_not_confirmed_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    old_photo(&folder.path().join("a.pgm"), 1);
    old_photo(&folder.path().join("b.pgm"), 2);
    let mut first = watch(folder.path());
    let mut frame = Frame::default();
    for _ in 0..2 {
        assert_eq!(first.next(&mut frame, SHORT).unwrap(), Next::Frame);
    }
    first.confirm(0).unwrap();
    drop(first);
    assert_eq!(found(&mut watch(folder.path()), SHORT), [Some(2)]);
}

#[test]
fn a_photo_is_taken_when_its_writer_closes_it_or_moves_it_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = watch(folder.path());
    assert_eq!(found(&mut watch, SHORT), []);
    let mut file = File::create(folder.path().join("slow.pgm")).unwrap();
    file.write_all(b"P5 1 1 255").unwrap();
    assert_eq!(found(&mut watch, SHORT), [], "it is still being written");
    file.write_all(b" \x05").unwrap();
    drop(file);
    assert_eq!(found(&mut watch, SHORT), [Some(5)]);
    fs::write(folder.path().join("moved.part"), photo(6)).unwrap();
    fs::rename(folder.path().join("moved.part"), folder.path().join("moved.pgm")).unwrap();
    // A whole folder that is moved in, as from a card; its photos are old or settle.
    let card = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
    fs::create_dir(card.path().join("DCIM")).unwrap();
    old_photo(&card.path().join("DCIM/x.pgm"), 8);
    fs::rename(card.path().join("DCIM"), folder.path().join("DCIM")).unwrap();
    assert_eq!(found(&mut watch, SHORT), [Some(6), Some(8)]);
}

#[test]
fn a_fresh_photo_that_nobody_was_seen_to_close_must_settle() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("fresh.pgm"), photo(3)).unwrap();
    let mut watch = watch(folder.path());
    let start = Instant::now();
    assert_eq!(found(&mut watch, Duration::ZERO), []);
    while start.elapsed() < Duration::from_secs(20) {
        let now = found(&mut watch, SHORT);
        if !now.is_empty() {
            assert!(start.elapsed() >= Duration::from_secs(2) && now == [Some(3)], "{now:?}");
            return;
        }
    }
    panic!("it was never taken");
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
    let gone = watch.next(&mut Frame::default(), SHORT);
    assert!(matches!(gone, Err(Error::Unavailable { .. })), "{gone:?}");
    assert!(matches!(watch.reconnect(), Err(Error::Unavailable { .. })));
    fs::create_dir(&folder).unwrap();
    old_photo(&folder.join("a.pgm"), 1);
    watch.reconnect().unwrap();
    fs::write(folder.join("b.pgm"), photo(2)).unwrap();
    assert_eq!(found(&mut watch, SHORT), [Some(1), Some(2)]);
}

#[test]
fn a_full_memory_of_photos_forgets_those_that_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut limits = Limits::default();
    limits.watched_photos = 2;
    let mut watch = Watch::open(folder.path(), None, &limits).unwrap();
    let path = |n: u8| folder.path().join(format!("{n}.pgm"));
    for n in 0..5 {
        fs::write(path(n), photo(n)).unwrap();
        assert_eq!(found(&mut watch, SHORT), [Some(n)]);
        if n > 0 {
            fs::remove_file(path(n - 1)).unwrap();
        }
    }
    fs::write(path(5), photo(5)).unwrap();
    fs::write(path(6), photo(6)).unwrap();
    let mut frame = Frame::default();
    let result = loop {
        match watch.next(&mut frame, SHORT).and_then(|next| {
            if next == Next::Frame {
                watch.confirm(frame.stamp().seq)?
            }
            Ok(next)
        }) {
            Ok(Next::Frame) => {}
            other => break other,
        }
    };
    assert!(matches!(result, Err(Error::Limit { .. })), "{result:?}");
}
