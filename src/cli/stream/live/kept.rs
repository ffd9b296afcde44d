//! What the signal of drift is of, beside a store: a start goes on where the last one ended.
//!
//! The file is written anew as a whole by a thread of its own, at most once in [`EVERY`]: a card that is slow or gone holds
//! no frame up. What a power cut loses is the last of these times.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use oltr::atomic;
use serde::{Deserialize, Serialize};

use super::drift::WINDOW;

/// The file in the store's folder.
const FILE: &str = "drift.json";

/// The folder that a store has: without it there is none, or its card is not there.
const STORE: &str = "segments";

const SCHEMA: &str = "oltr.drift/1";

/// Bytes of the file, at most.
const MAX_BYTES: u64 = 16 << 10;

/// The least time between two times that it is written.
const EVERY: Duration = Duration::from_secs(60);

/// How long the end waits for the last time.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the end looks whether it can be handed over.
const AGAIN: Duration = Duration::from_millis(10);

const STACK: usize = 128 << 10;

/// Memory that it takes.
pub const BYTES: u64 = STACK as u64 + 4 * MAX_BYTES;

#[derive(Serialize, Deserialize)]
struct Kept {
    schema: String,
    /// The bundle's graph, and what is usual of it: figures of another one say nothing here.
    of: String,
    /// Whether each event was open, and its reachability; oldest first.
    last: Vec<(bool, f32)>,
}

/// The events in the file in `folder` that are of the bundle `of`, oldest first; none where there is no such file.
pub fn read(folder: &Path, of: &str) -> Vec<(bool, f32)> {
    let path = folder.join(FILE);
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_file() => {}
        _ => return Vec::new(),
    }
    let mut bytes = Vec::new();
    let parsed = File::open(&path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|e| e.to_string())
        .and_then(|_| serde_json::from_slice::<Kept>(&bytes).map_err(|e| e.to_string()));
    match parsed {
        Ok(kept) if kept.schema != SCHEMA => log::warn!("{}: is no {SCHEMA}; begins anew", path.display()),
        Ok(kept) if kept.of != of => log::info!("{}: is of another bundle; begins anew", path.display()),
        Ok(mut kept) => {
            kept.last.retain(|(_, reachability)| reachability.is_finite());
            let older = kept.last.len().saturating_sub(WINDOW);
            return kept.last.split_off(older);
        }
        Err(e) => log::warn!("{}: cannot be read ({e}); begins anew", path.display()),
    }
    Vec::new()
}

/// Writes the file now and then.
pub struct Keeper {
    of: String,
    texts: Option<SyncSender<Vec<u8>>>,
    done: Receiver<()>,
    written: Option<Instant>,
    /// Whether there is something new.
    pending: bool,
}

impl Keeper {
    /// Writes to the store's `folder` what is of the bundle `of`; nothing where no thread starts.
    pub fn start(folder: &Path, of: String) -> Option<Keeper> {
        // One that waits; what is newer comes later.
        let (texts, waiting) = sync_channel::<Vec<u8>>(1);
        let (end, done) = sync_channel(1);
        let folder = folder.to_path_buf();
        let work = move || {
            let mut failed = false;
            for text in waiting {
                if let Err(e) = write(&folder, &text)
                    && !std::mem::replace(&mut failed, true)
                {
                    log::warn!("the figures of drift are not kept: {e}");
                }
            }
            let _ = end.send(());
        };
        match std::thread::Builder::new().name("drift".into()).stack_size(STACK).spawn(work) {
            Ok(_) => Some(Keeper { of, texts: Some(texts), done, written: None, pending: false }),
            Err(e) => {
                log::warn!("the figures of drift are not kept: {e}");
                None
            }
        }
    }

    /// Another event is the last of `last`, oldest first.
    pub fn changed(&mut self, last: impl Iterator<Item = (bool, f32)>) {
        self.pending = true;
        if self.written.is_none_or(|at| at.elapsed() >= EVERY) {
            self.hand_over(last);
        }
    }

    fn hand_over(&mut self, last: impl Iterator<Item = (bool, f32)>) {
        let kept = Kept { schema: SCHEMA.into(), of: self.of.clone(), last: last.collect() };
        let Ok(text) = serde_json::to_vec(&kept) else { return };
        // Where the one before is still on its way, the next event tries again.
        if self.texts.as_ref().is_some_and(|texts| texts.try_send(text).is_ok()) {
            (self.written, self.pending) = (Some(Instant::now()), false);
        }
    }

    /// The stream is over: writes what is new, and waits a moment for that.
    pub fn finish(&mut self, last: impl Iterator<Item = (bool, f32)>) {
        let (last, begin) = (last.collect::<Vec<_>>(), Instant::now());
        // The one before may still be on its way.
        while self.pending && begin.elapsed() < PATIENCE {
            self.hand_over(last.iter().copied());
            if self.pending {
                std::thread::sleep(AGAIN);
            }
        }
        if self.texts.take().is_some() && self.done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the figures of drift were not written within {PATIENCE:?}");
        }
    }
}

fn write(folder: &Path, text: &[u8]) -> oltr::Result<()> {
    let path: PathBuf = folder.join(FILE);
    // A card that is not there leaves an empty folder, which is none of ours.
    if !folder.join(STORE).is_dir() {
        log::debug!("{}: there is no store", folder.display());
        return Ok(());
    }
    atomic::write_regular(&path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(STORE)).unwrap();
        folder
    }

    fn events(count: usize) -> impl Iterator<Item = (bool, f32)> {
        (0..count).map(|i| (i % 3 == 0, i as f32 / 7.0))
    }

    #[test]
    fn what_was_kept_is_read_by_the_same_bundle() {
        let folder = store();
        let mut keeper = Keeper::start(folder.path(), "one".into()).unwrap();
        keeper.changed(events(3));
        // Sooner than it is written again: the end writes it.
        keeper.changed(events(4));
        keeper.finish(events(4));
        assert_eq!(read(folder.path(), "one"), events(4).collect::<Vec<_>>());
        assert_eq!(read(folder.path(), "another"), []);
        // Nothing new, nothing written.
        fs::remove_file(folder.path().join(FILE)).unwrap();
        let mut keeper = Keeper::start(folder.path(), "one".into()).unwrap();
        keeper.finish(events(9));
        assert!(!folder.path().join(FILE).exists());
    }

    #[test]
    fn the_largest_file_is_read_and_larger_ones_are_cut() {
        let folder = store();
        let of = format!("{:064} {:?}", 0, super::super::drift::Usual::default());
        let all: Vec<(bool, f32)> = (0..WINDOW).map(|i| (false, -1.234_567_8e-30 * (i + 1) as f32)).collect();
        let mut keeper = Keeper::start(folder.path(), of.clone()).unwrap();
        keeper.changed(all.iter().copied());
        keeper.finish(all.iter().copied());
        assert_eq!(read(folder.path(), &of), all);
        let kept = Kept { schema: SCHEMA.into(), of: of.clone(), last: events(WINDOW + 20).collect() };
        fs::write(folder.path().join(FILE), serde_json::to_vec(&kept).unwrap()).unwrap();
        assert_eq!(read(folder.path(), &of), events(WINDOW + 20).skip(20).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_damaged_begins_anew() {
        let folder = store();
        let path = folder.path().join(FILE);
        let kept = Kept { schema: SCHEMA.into(), of: "one".into(), last: events(5).collect() };
        let whole = serde_json::to_vec(&kept).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(folder.path(), "one"), [], "{cut}");
        }
        fs::write(&path, vec![b' '; 1 << 20]).unwrap();
        assert_eq!(read(folder.path(), "one"), []);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(read(folder.path(), "one"), []);
        assert!(write(folder.path(), b"x").is_err());
    }

    #[test]
    fn where_no_store_is_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::start(folder.path(), "one".into()).unwrap();
        keeper.changed(events(3));
        keeper.finish(events(3));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
