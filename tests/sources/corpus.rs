//! Invariants for any bytes, tested on the seeds of the fuzz targets and many small changes of them.

#[path = "../../fuzz/checks.rs"]
mod checks;

use std::path::Path;

use super::noise;

/// Changed copies of each seed.
const CHANGES: u32 = 60;

fn try_all(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let seeds: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(seeds.len() >= 5, "{seeds:?}");
    for path in seeds {
        let seed = std::fs::read(&path).unwrap();
        check(&seed);
        for change in 0..CHANGES {
            let mut bytes = seed.clone();
            // Overwrites a few bytes, and sometimes removes some or truncates the end.
            let dice = noise(16, change);
            let at = |n: usize, length: usize| usize::from(u16::from_le_bytes([dice[n], dice[n + 1]])) % length.max(1);
            for n in (0..8).step_by(4) {
                let index = at(n, bytes.len());
                bytes[index] = dice[n + 2];
            }
            match change % 3 {
                0 => drop(bytes.drain(at(8, seed.len())..).take(3)),
                1 => bytes.truncate(at(10, seed.len())),
                _ => {}
            }
            check(&bytes);
        }
    }
}

#[test]
fn yuv4mpeg2_of_any_kind_is_read_or_refused() {
    try_all("y4m", checks::y4m);
}

#[test]
fn jpegs_of_any_kind_are_read_or_refused() {
    try_all("jpeg", checks::jpeg);
}

#[test]
fn parts_of_any_kind_are_read_or_refused() {
    try_all("multipart", checks::multipart);
}

#[test]
fn raw_frames_of_any_geometry_are_read_or_refused() {
    try_all("raw", checks::raw);
}

#[test]
fn photos_of_any_kind_are_read_or_refused() {
    try_all("photo", checks::photo);
}

#[test]
fn jpegs_of_any_kind_are_the_same_in_rows() {
    try_all("rows", checks::rows);
}

#[test]
fn photos_that_say_anything_of_their_orientation_are_read() {
    try_all("orientation", checks::orientation);
}

#[test]
fn journals_of_any_kind_are_read_refused_or_mended() {
    try_all("journal", checks::journal);
}
