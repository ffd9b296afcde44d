//! Photos that cannot be taken yet: they are still growing, or cannot be read now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::identity::Seen;
use crate::error::ErrorKind;
use crate::text::counted;

/// Time without a change after which a photo counts as complete if no close event was seen.
pub const SETTLE: Duration = Duration::from_secs(2);

/// Time without a change after which a damaged photo is reported if no close event was seen. Until then it may be a
/// stalled upload.
pub const STALLED: Duration = Duration::from_secs(60);

/// The longest pause before a photo that cannot be read is tried again.
const LONGEST: Duration = Duration::from_secs(300);

/// Longer than any run.
const AGES: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Limits for waiting photos and the bytes of their paths. The next search finds the rest again.
const PHOTOS: usize = 8192;
const PATHS: usize = 2 << 20;

/// Bytes that [`Waiting`] takes at most.
pub const BYTES: usize = PHOTOS * 2 * (size_of::<PathBuf>() + size_of::<Wait>() + 16) + PATHS;

/// State of a waiting photo.
#[derive(Debug)]
pub struct Wait {
    /// The last metadata of the file.
    pub seen: Option<Seen>,
    /// Since when it has been so.
    pub since: Instant,
    /// When it is examined again.
    pub due: Instant,
    /// Its writer closed it.
    pub closed: bool,
    /// It was found damaged, and may be growing.
    pub damaged: bool,
    /// The error that was reported.
    pub reported: Option<ErrorKind>,
    /// The last pause of a photo that cannot be read.
    pause: Duration,
}

/// Photos that wait, by their paths within the folder.
#[derive(Debug, Default)]
pub struct Waiting {
    photos: HashMap<PathBuf, Wait>,
    bytes: usize,
    /// Whether the overflow was reported.
    reported: bool,
}

impl Waiting {
    /// Why `path` waits, if it does.
    pub fn get(&mut self, path: &Path) -> Option<&mut Wait> {
        self.photos.get_mut(path)
    }

    /// Adds `path`, or returns its state if it waits already. `None` if too many wait.
    pub fn add(&mut self, path: &Path, seen: Option<Seen>, now: Instant) -> Option<&mut Wait> {
        if !self.photos.contains_key(path) {
            let bytes = path.as_os_str().len();
            if self.photos.len() >= PHOTOS || self.bytes + bytes > PATHS {
                if !std::mem::replace(&mut self.reported, true) {
                    let photos = counted(self.photos.len(), "photo");
                    log::warn!("{photos} cannot be taken yet; of others nothing is said");
                }
                return None;
            }
            self.bytes += bytes;
        }
        let wait = self.photos.entry(path.to_path_buf());
        Some(wait.or_insert_with(|| Wait {
            seen,
            since: now,
            due: now + SETTLE,
            closed: false,
            damaged: false,
            reported: None,
            pause: SETTLE,
        }))
    }

    /// `path` waits no more.
    pub fn remove(&mut self, path: &Path) {
        if self.photos.remove(path).is_some() {
            self.bytes -= path.as_os_str().len();
        }
    }

    /// A photo that is due at `now`.
    pub fn due(&self, now: Instant) -> Option<PathBuf> {
        self.photos.iter().filter(|(_, wait)| wait.due <= now).map(|(path, _)| path).min().cloned()
    }

    /// When the next photo is due.
    pub fn next(&self) -> Option<Instant> {
        self.photos.values().map(|wait| wait.due).min()
    }
}

impl Wait {
    /// Updates the metadata at `now`. Returns whether the file changed.
    pub fn look(&mut self, seen: &Seen, closed: bool, now: Instant) -> bool {
        let changed = self.seen.as_ref() != Some(seen);
        if changed {
            (self.seen, self.since, self.damaged, self.closed) = (Some(seen.clone()), now, false, false);
            self.pause = SETTLE;
        }
        self.closed |= closed;
        changed
    }

    /// Looks again only when the file changes.
    pub fn until_changed(&mut self, now: Instant) {
        self.due = now + AGES;
    }

    /// Looks again after a pause, each twice as long as the one before.
    pub fn again(&mut self, now: Instant) {
        self.due = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST);
    }
}

/// Whether a photo that has not changed for `quiet` counts as complete.
pub fn is_settled(seen: &Seen, quiet: Duration, closed: bool) -> bool {
    closed || is_quiet(seen, quiet, SETTLE)
}

/// Whether a damaged photo will most likely stay damaged.
pub fn is_final(seen: &Seen, quiet: Duration, closed: bool) -> bool {
    // An empty file may be a placeholder, as browsers make them.
    is_quiet(seen, quiet, if closed && seen.size > 0 { SETTLE } else { STALLED })
}

fn is_quiet(seen: &Seen, quiet: Duration, long: Duration) -> bool {
    quiet >= long || seen.age().is_some_and(|age| age >= long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_a_change_ends_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "a").unwrap();
        let look = || Seen::look(&path, Path::new("a")).unwrap().unwrap();
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let wait = waiting.add(Path::new("a"), Some(look()), now).unwrap();
        let pauses: Vec<u64> = (0..10)
            .map(|_| {
                wait.again(now);
                (wait.due - now).as_secs()
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(!wait.look(&look(), false, now));
        std::fs::write(&path, "ab").unwrap();
        assert!(wait.look(&look(), false, now));
        wait.again(now);
        assert_eq!(wait.due - now, SETTLE);
        assert_eq!(waiting.due(now), None);
        assert_eq!((waiting.due(now + SETTLE), waiting.next()), (Some("a".into()), Some(now + SETTLE)));
        waiting.remove(Path::new("a"));
        assert_eq!((waiting.next(), waiting.bytes), (None, 0));
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        let path = |i: usize| PathBuf::from(format!("{i:0300}"));
        let fit = (0..PHOTOS).take_while(|i| waiting.add(&path(*i), None, now).is_some()).count();
        assert_eq!(fit, PATHS / 300);
        assert!(waiting.add(&path(0), None, now).is_some(), "one that waits already");
        waiting.remove(&path(1));
        assert!(waiting.add(&path(fit), None, now).is_some());
    }
}
