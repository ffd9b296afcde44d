//! A log of the runs' statistics: how long was watched, and what was lost. Counts of events mean little without
//! them.
//!
//! A log of its own, which the process alone writes that has the store. The last line of a run holds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::disk::{Disk, replace};
use crate::error::{Error, Result};
use crate::line::{self, Piece};

/// Name of the log in the store's folder, and of the temporary file that replaces it.
pub const FILE: &str = "stats.jsonl";
const TEMPORARY: &str = "stats.tmp";

/// Most bytes of the log: some 1,000 runs. The oldest are dropped beyond that.
pub const MAX_BYTES: u64 = 1 << 20;

/// Most bytes of one line.
const MAX_LINE: usize = 8 << 10;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    run: String,
    /// `oltr.stats/1`.
    stats: Value,
}

/// The last line of each run, in the order in which they began.
fn last(bytes: &[u8]) -> Vec<Told> {
    let mut position_of_run: BTreeMap<String, usize> = BTreeMap::new();
    let mut all: Vec<Told> = Vec::new();
    for piece in line::pieces(bytes) {
        let Piece::Line(object, _) = piece else { continue };
        let Ok(reported) = serde_json::from_slice::<Told>(object) else { continue };
        match position_of_run.get(&reported.run) {
            Some(place) => all[*place] = reported,
            None => {
                position_of_run.insert(reported.run.clone(), all.len());
                all.push(reported);
            }
        }
    }
    all
}

fn bytes(disk: &dyn Disk, folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(FILE);
    match disk.read(&path, MAX_BYTES) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|e| Error::io(&path, e)),
    }
}

fn line_of(reported: &Told) -> Result<Vec<u8>> {
    let object = serde_json::to_vec(reported).map_err(|e| Error::bad("statistics", e.to_string()))?;
    if object.len() > MAX_LINE {
        return Err(Error::bad("statistics", "are longer than the store keeps"));
    }
    let mut out = Vec::with_capacity(object.len() + line::HEAD + 1);
    line::write(&object, &mut out);
    Ok(out)
}

/// The last statistics of each run, as `oltr.stats/1`.
pub(crate) fn read(disk: &dyn Disk, folder: &Path) -> Result<Vec<String>> {
    Ok(last(&bytes(disk, folder)?).into_iter().map(|reported| reported.stats.to_string()).collect())
}

/// Logs the statistics `stats` of `run`. Returns the log's length and the bytes written.
pub(crate) fn add(disk: &dyn Disk, folder: &Path, run: &str, stats: &str) -> Result<(u64, u64)> {
    let stats = serde_json::from_str(stats).map_err(|e| Error::bad("statistics", e.to_string()))?;
    let new = line_of(&Told { run: run.into(), stats })?;
    let mut there = bytes(disk, folder)?;
    let path = folder.join(FILE);
    let failed = |e| Error::io(&path, e);
    let mut written = new.len() as u64;
    if (there.len() + new.len()) as u64 > MAX_BYTES {
        // Keep only half of the log, so that this happens rarely.
        let mut lines: Vec<Vec<u8>> = last(&there).iter().map(line_of).collect::<Result<_>>()?;
        let mut length: usize = lines.iter().map(Vec::len).sum();
        let mut first = 0;
        while length as u64 > MAX_BYTES / 2 {
            length -= lines[first].len();
            first += 1;
        }
        there = lines.drain(first..).flatten().collect();
        replace(disk, &folder.join(TEMPORARY), &path, &there).map_err(failed)?;
        written += there.len() as u64;
    }
    let torn = line::pieces(&there).find_map(|piece| match piece {
        Piece::Torn(length) => Some(length),
        _ => None,
    });
    let whole = (there.len() - torn.unwrap_or(0)) as u64;
    let (mut file, is_new) = match disk.append(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (disk.create(&path).map_err(failed)?, true),
        other => (other.map_err(failed)?, false),
    };
    if torn.is_some() {
        file.truncate(whole).map_err(failed)?;
    }
    if let Err(e) = file.append(&new).and_then(|()| file.sync()) {
        let _ = file.truncate(whole);
        return Err(failed(e));
    }
    if is_new {
        disk.sync_folder(folder).map_err(|e| Error::io(folder, e))?;
    }
    Ok((whole + new.len() as u64, written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn the_last_line_of_a_run_holds_and_the_oldest_runs_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let add = |run: &str, n: usize| {
            let stats = format!("{{\"schema\":\"oltr.stats/1\",\"captured\":{n},\"x\":\"{}\"}}", "y".repeat(900));
            super::add(&RealDisk, folder.path(), run, &stats).unwrap()
        };
        let captured = || -> Vec<u64> {
            let all = read(&RealDisk, folder.path()).unwrap();
            all.iter().map(|text| serde_json::from_str::<Value>(text).unwrap()["captured"].as_u64().unwrap()).collect()
        };
        assert!(captured().is_empty());
        for (run, n) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
            add(run, n);
        }
        assert_eq!(captured(), [4, 3]);
        // Torn by a power cut: the next write truncates the file.
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        assert_eq!(captured(), [2, 3]);
        add("c", 5);
        assert_eq!(captured(), [2, 3, 5]);
        for n in 0..3000 {
            let (length, _) = add(&format!("run{n}"), n);
            assert!(length <= MAX_BYTES && length == std::fs::metadata(&path).unwrap().len());
        }
        let left = captured();
        assert!(left.len() > 400 && left.is_sorted() && left.last() == Some(&2999), "{}", left.len());
        assert!(super::add(&RealDisk, folder.path(), "a", &format!("\"{}\"", "x".repeat(9000))).is_err());
        assert!(super::add(&RealDisk, folder.path(), "a", "{").is_err());
    }
}
