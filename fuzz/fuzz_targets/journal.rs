//! A state file of whatever bytes is read, refused or mended; what is recorded in it then is there at the next start.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use oltr::source::watch::Watch;
use oltr::source::{FrameSource, Next};
use oltr::{Frame, Limits};

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, state) = (place.path().join("in"), place.path().join("state"));
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(&state, bytes).expect("a file");
    let photo = folder.join("a.pgm");
    std::fs::write(&photo, b"P5 1 1 255 x").expect("a file");
    let file = std::fs::File::open(&photo).expect("a file");
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("a time");
    let mut limits = Limits::default();
    limits.watched_photos = 4;
    let mut frame = Frame::default();
    for taken in [false, true] {
        let Ok(mut watch) = Watch::open(&folder, Some(&state), &limits) else { return };
        while let Next::Frame = watch.next(&mut frame, Duration::ZERO).expect("a folder") {
            assert!(!taken, "a photo was taken twice");
            watch.confirm(frame.stamp().seq).expect("a record");
        }
    }
});
