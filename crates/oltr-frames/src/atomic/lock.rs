//! One process at a time where a file is read, changed and written.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::target::Target;
use super::temporary::folder_of;
use crate::error::{Error, Result};

/// Timeout of the wait for another process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Wait after which a message is logged.
const NOTABLE: Duration = Duration::from_secs(2);

/// How often it is tried.
const EVERY: Duration = Duration::from_millis(20);

/// The file that is locked where folders cannot be, on NFS for one.
const LOCK_FILE: &str = ".oltr-lock";

/// A lock that one process holds at a time. It is released when it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _held: Option<File>,
}

/// Waits until no other process holds the lock of the file at `path`, which need not exist, and takes it. The lock
/// is on the file's folder, so replacing the file does not affect it.
///
/// # Errors
/// [`Error::Busy`] if another process holds it for a minute; [`Error::Io`] for a missing folder.
pub fn lock(path: &Path) -> Result<Lock> {
    let Target::File(place) = Target::of(path)? else { return Ok(Lock { _held: None }) };
    let folder = folder_of(&place);
    let directory = File::open(folder).map_err(|e| Error::io(folder, e))?;
    match hold(directory, path) {
        Ok(lock) => Ok(lock),
        Err(Failed::Busy) => Err(busy(path)),
        Err(Failed::Unsupported) => {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK_FILE));
            match file.map_err(|_| Failed::Unsupported).and_then(|file| hold(file, path)) {
                Ok(lock) => Ok(lock),
                Err(Failed::Busy) => Err(busy(path)),
                Err(Failed::Unsupported) => {
                    log::debug!("{}: nothing can be locked here; one process at a time must write", folder.display());
                    Ok(Lock { _held: None })
                }
            }
        }
    }
}

enum Failed {
    Busy,
    Unsupported,
}

fn hold(file: File, path: &Path) -> Result<Lock, Failed> {
    let begin = Instant::now();
    let mut reported = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock { _held: Some(file) }),
            Err(TryLockError::Error(_)) => return Err(Failed::Unsupported),
            Err(TryLockError::WouldBlock) if begin.elapsed() >= PATIENCE => return Err(Failed::Busy),
            Err(TryLockError::WouldBlock) => {}
        }
        if !reported && begin.elapsed() >= NOTABLE {
            reported = true;
            log::warn!("{}: waiting for another process that writes it", path.display());
        }
        thread::sleep(EVERY);
    }
}

fn busy(path: &Path) -> Error {
    let reason = "another process writes it; try again when that is done".into();
    Error::Busy { path: path.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_by_many_at_once_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "0").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _lock = lock(&path).unwrap();
                        let n: u32 = std::fs::read_to_string(&path).unwrap().parse().unwrap();
                        thread::yield_now();
                        crate::atomic::write(&path, (n + 1).to_string().as_bytes()).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "100");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(lock(&folder.path().join("none/a")), Err(Error::NotFound { .. })));
    }
}
