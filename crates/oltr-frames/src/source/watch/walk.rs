//! Searches a folder in small steps and bounded memory: for file systems that report no changes, and for files from
//! before the watch began.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, ReadDir};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::source::photos::MAX_DEPTH;
use crate::source::photos::names::{is_in_system_folder, is_photo, is_system_folder};

/// Most names in memory at one time. A folder with more candidates is read several times, each time for the following
/// names.
const NAMES: usize = 16_384;
/// Least names for one folder.
const LEAST: usize = 64;

/// Bytes of a name in memory, at most as names are.
const NAME_BYTES: usize = 320;

/// Entries of a folder that are read in one step.
const ENTRIES: usize = 256;

/// Most folders whose times are remembered. Unchanged folders are skipped between whole searches.
const FOLDERS: usize = 4096;
const FOLDER_BYTES: usize = 512;

/// Folders that could not be read and were reported.
const REPORTED: usize = 1024;

/// A modification time younger than this is not trusted: clocks of file systems are coarse, so a further change may not
/// alter it.
const COARSE: Duration = Duration::from_secs(3);

/// Bytes that a [`Walk`] takes at most.
pub const BYTES: usize = (NAMES + MAX_DEPTH * LEAST) * NAME_BYTES + (FOLDERS + REPORTED) * FOLDER_BYTES;

/// Result of one step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A file with the name of a photo, by its path within the folder.
    Photo(PathBuf),
    /// No result yet.
    More,
    /// The search is finished.
    Done,
}

/// A search in progress, or none.
#[derive(Debug, Default)]
pub struct Walk {
    /// Folders that are being searched, each within the one before.
    levels: Vec<Level>,
    /// Folders to search next.
    next: Vec<Start>,
    /// Folders with their modification times when they were read; `None` for a time that is not trusted.
    known: HashMap<PathBuf, Option<SystemTime>>,
    reported: HashSet<PathBuf>,
    /// Time spent since the search of the whole folder began.
    took: Duration,
}

/// A folder to be searched.
#[derive(Debug)]
struct Start {
    folder: PathBuf,
    /// Does not enter known subfolders: their own times show whether they changed.
    shallow: bool,
}

/// A folder that is being searched.
#[derive(Debug)]
struct Level {
    folder: PathBuf,
    /// Its device and number.
    id: (u64, u64),
    shallow: bool,
    /// Entries that are still to be read.
    reading: Option<ReadDir>,
    /// The smallest names so far, the largest of them on top.
    first: BinaryHeap<Name>,
    /// The names in order, once the folder is read.
    names: std::vec::IntoIter<Name>,
    /// The last name of the previous reading, if the folder has to be read again.
    after: Option<OsString>,
    more: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    name: OsString,
    is_folder: bool,
}

impl Walk {
    /// Begins a search of the whole folder. Restarts a running one.
    pub fn begin(&mut self) {
        self.levels.clear();
        self.next = vec![Start { folder: PathBuf::new(), shallow: false }];
        self.took = Duration::ZERO;
    }

    /// Adds the subfolder `folder` to the search.
    pub fn also(&mut self, folder: PathBuf) {
        if self.next.len() < FOLDERS {
            self.next.push(Start { folder, shallow: false });
        } else {
            self.begin();
        }
    }

    /// Adds the folders whose modification time has changed. That time changes when an entry is created, removed or
    /// renamed, not when a file is written, and some file systems do not update it. So this finds most new photos
    /// cheaply, and a whole search finds the rest.
    pub fn also_changed(&mut self, root: &Path) {
        let changed = self.known.iter().filter(|(folder, time)| {
            let now = fs::metadata(root.join(folder)).and_then(|meta| meta.modified());
            time.is_none() || now.ok() != **time
        });
        let mut changed: Vec<PathBuf> = changed.map(|(folder, _)| folder.clone()).collect();
        changed.sort();
        for folder in changed {
            self.known.remove(&folder);
            self.next.push(Start { folder, shallow: true });
        }
    }

    /// Whether no search is running.
    pub fn is_done(&self) -> bool {
        self.levels.is_empty() && self.next.is_empty()
    }

    /// Time spent on the whole search so far.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Continues the search of `root` for at most a few milliseconds, unless its disk is slow. Skips files that are
    /// `known` by their path within it.
    pub fn step(&mut self, root: &Path, known: &dyn Fn(&Path) -> bool) -> Step {
        let begin = Instant::now();
        let step = self.advance(root, known);
        self.took += begin.elapsed();
        step
    }

    fn advance(&mut self, root: &Path, known: &dyn Fn(&Path) -> bool) -> Step {
        let Some(mut level) = self.levels.pop() else {
            if self.next.is_empty() {
                return Step::Done;
            }
            let start = self.next.remove(0);
            self.enter(root, start);
            return Step::More;
        };
        if level.reading.is_some() {
            if let Err(e) = self.read(root, &mut level, known) {
                self.tell(root, &level.folder, &e);
                level.reading = None;
            }
            self.levels.push(level);
            return Step::More;
        }
        let Some(Name { name, is_folder }) = level.names.next() else {
            if std::mem::take(&mut level.more) {
                match fs::read_dir(root.join(&level.folder)) {
                    Ok(entries) => {
                        level.reading = Some(entries);
                        self.levels.push(level);
                    }
                    Err(e) => self.tell(root, &level.folder, &e),
                }
            }
            return Step::More;
        };
        let path = level.folder.join(&name);
        let shallow = level.shallow;
        level.after = Some(name);
        self.levels.push(level);
        if !is_folder {
            return Step::Photo(path);
        }
        if !(shallow && self.known.contains_key(&path)) {
            self.enter(root, Start { folder: path, shallow });
        }
        Step::More
    }

    /// Starts on a folder, unless a link leads back to one of its parents.
    fn enter(&mut self, root: &Path, Start { folder, shallow }: Start) {
        let path = root.join(&folder);
        if self.levels.len() >= MAX_DEPTH {
            log::debug!("{}: folders within folders are not entered any deeper", path.display());
            return;
        }
        let opened = fs::metadata(&path).and_then(|meta| Ok((meta, fs::read_dir(&path)?)));
        let (meta, entries) = match opened {
            Ok(opened) => opened,
            Err(e) => return self.tell(root, &folder, &e),
        };
        let id = (meta.dev(), meta.ino());
        if self.levels.iter().any(|level| level.id == id) {
            return;
        }
        self.reported.remove(&folder);
        if self.known.len() < FOLDERS || self.known.contains_key(&folder) {
            let old = |time: &SystemTime| SystemTime::now().duration_since(*time).is_ok_and(|age| age >= COARSE);
            let time = meta.modified().ok().filter(|time| *time > UNIX_EPOCH && old(time));
            self.known.insert(folder.clone(), time);
        }
        let (reading, first, after, names) = (Some(entries), BinaryHeap::new(), None, Vec::new().into_iter());
        self.levels.push(Level { folder, id, shallow, reading, first, names, after, more: false });
    }

    /// Reads some entries of a folder.
    fn read(&self, root: &Path, level: &mut Level, known: &dyn Fn(&Path) -> bool) -> io::Result<()> {
        let Some(entries) = &mut level.reading else { return Ok(()) };
        let held: usize = self.levels.iter().map(|level| level.names.len()).sum();
        let most = NAMES.saturating_sub(held).max(LEAST);
        for _ in 0..ENTRIES {
            let Some(entry) = entries.next() else {
                level.reading = None;
                level.names = std::mem::take(&mut level.first).into_sorted_vec().into_iter();
                break;
            };
            let entry = entry?;
            let name = entry.file_name();
            if level.after.as_deref().is_some_and(|after| *name <= *after) {
                continue;
            }
            let Some(is_folder) = is_folder(root, &entry, &name) else { continue };
            if !is_folder && known(&level.folder.join(&name)) {
                continue;
            }
            level.first.push(Name { name, is_folder });
            if level.first.len() > most {
                level.first.pop();
                level.more = true;
            }
        }
        Ok(())
    }

    /// Logs once that a folder cannot be searched. The next search tries it again.
    fn tell(&mut self, root: &Path, folder: &Path, error: &io::Error) {
        self.known.remove(folder);
        // It went while it was searched, as folders do.
        if error.kind() != io::ErrorKind::NotFound
            && self.reported.len() < REPORTED
            && self.reported.insert(folder.to_path_buf())
        {
            log::warn!("{}: {error}; it is tried again", root.join(folder).display());
        }
    }
}

/// Whether an entry is a folder to enter; `None` if it is neither a folder nor named like a photo.
fn is_folder(root: &Path, entry: &fs::DirEntry, name: &OsStr) -> Option<bool> {
    let kind = entry.file_type().ok()?;
    if kind.is_dir() {
        return (!is_system_folder(name)).then_some(true);
    }
    if kind.is_file() {
        return is_photo(name).then_some(false);
    }
    if !kind.is_symlink() || is_system_folder(name) {
        return None;
    }
    // Follows links. A folder that is searched anyway is not searched twice.
    let path = entry.path();
    let meta = fs::metadata(&path).ok()?;
    if meta.is_file() {
        return is_photo(name).then_some(false);
    }
    let inside = || Some(fs::canonicalize(&path).ok()?.strip_prefix(fs::canonicalize(root).ok()?).ok()?.to_path_buf());
    let twice = inside().is_some_and(|folder| !is_in_system_folder(&folder));
    (meta.is_dir() && !twice).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(walk: &mut Walk, root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match walk.step(root, &|_| false) {
                Step::Photo(path) => found.push(path.to_str().unwrap().to_string()),
                Step::More => {}
                Step::Done => return found,
            }
        }
    }

    fn make(root: &Path, names: &[&str]) {
        for name in names {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
    }

    #[test]
    fn photos_are_found_in_order_and_system_folders_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(
            root,
            &["c.jpg", "a.jpg", "b/2.jpg", "b/1.jpg", "b.txt", ".Trash-1/x.jpg", "@eaDir/a.jpg/T.jpg", "z/.h.jpg"],
        );
        // A circular link, and one to a folder that is searched anyway.
        std::os::unix::fs::symlink("..", root.join("b/up")).unwrap();
        std::os::unix::fs::symlink("b", root.join("again")).unwrap();
        let outside = tempfile::tempdir().unwrap();
        make(outside.path(), &["o.jpg"]);
        std::os::unix::fs::symlink(outside.path(), root.join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path(), outside.path().join("self")).unwrap();
        let mut walk = Walk::default();
        walk.begin();
        assert_eq!(all(&mut walk, root), ["a.jpg", "b/1.jpg", "b/2.jpg", "c.jpg", "out/o.jpg"]);
        assert!(walk.is_done() && walk.took() > Duration::ZERO);
    }

    #[test]
    fn a_folder_with_more_names_than_fit_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..LEAST * 3 + 7).map(|i| format!("{i:05}.jpg")).collect();
        names.iter().for_each(|name| fs::write(root.path().join(name), "").unwrap());
        let mut walk = Walk::default();
        // Memory is nearly full of names, so few of this folder fit.
        let held: Vec<Name> = (0..NAMES).map(|_| Name { name: "x.txt".into(), is_folder: false }).collect();
        walk.next = vec![Start { folder: PathBuf::new(), shallow: false }];
        walk.advance(root.path(), &|_| false);
        let mut level = walk.levels.pop().unwrap();
        let (folder, first) = (PathBuf::from("full"), BinaryHeap::new());
        let full = Level {
            folder,
            id: (0, 0),
            shallow: false,
            reading: None,
            first,
            names: held.into_iter(),
            after: None,
            more: false,
        };
        walk.levels = vec![full];
        while level.reading.is_some() {
            walk.read(root.path(), &mut level, &|_| false).unwrap();
        }
        assert!(level.more && level.names.len() == LEAST);
        walk.levels = vec![level];
        assert_eq!(all(&mut walk, root.path()), names);
    }

    #[test]
    fn folders_that_changed_are_searched_and_others_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(root, &["a/1.jpg", "b/1.jpg", "b/c/1.jpg"]);
        let old = SystemTime::now() - 2 * COARSE;
        let age = |folder: &str| fs::File::open(root.join(folder)).unwrap().set_modified(old).unwrap();
        ["", "a", "b", "b/c"].into_iter().for_each(age);
        let mut walk = Walk::default();
        walk.begin();
        assert_eq!(all(&mut walk, root).len(), 3);
        walk.also_changed(root);
        assert!(walk.is_done(), "nothing changed");
        make(root, &["b/2.jpg", "b/new/deep/1.jpg"]);
        walk.also_changed(root);
        assert_eq!(all(&mut walk, root), ["b/1.jpg", "b/2.jpg", "b/new/deep/1.jpg"]);
        // Folders with a young modification time are searched again.
        walk.also_changed(root);
        assert!(!walk.is_done());
        fs::remove_dir_all(root.join("b")).unwrap();
        walk.also_changed(root);
        all(&mut walk, root);
        assert_eq!(all(&mut walk, root), [] as [&str; 0]);
    }
}
