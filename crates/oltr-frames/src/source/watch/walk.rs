//! The search of a folder, a little at a time and in bounded memory: for file systems that tell nobody what changes, and
//! for what was there before anybody listened.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, ReadDir};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::source::photos::MAX_DEPTH;
use crate::source::photos::names::{is_in_system_folder, is_photo, is_system_folder};

/// Names that lie in memory at once. A folder with more that are of use is read several times, each time for those that
/// follow.
const NAMES: usize = 16_384;
/// Names of one folder at least.
const LEAST: usize = 64;

/// Bytes of a name in memory, at most as names are.
const NAME_BYTES: usize = 320;

/// Entries of a folder that are read in one step.
const ENTRIES: usize = 256;

/// Folders whose times are remembered, so that those that did not change are not read between two whole searches.
const FOLDERS: usize = 4096;
const FOLDER_BYTES: usize = 512;

/// Folders that could not be read and were reported.
const TOLD: usize = 1024;

/// A time of modification that is younger may not change with the next change: clocks of file systems are coarse.
const COARSE: Duration = Duration::from_secs(3);

/// Bytes that a [`Walk`] takes at most.
pub const BYTES: usize = (NAMES + MAX_DEPTH * LEAST) * NAME_BYTES + (FOLDERS + TOLD) * FOLDER_BYTES;

/// What one step gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A file with the name of a photo, by its path within the folder.
    Photo(PathBuf),
    /// Nothing yet.
    More,
    /// Nothing more.
    Done,
}

/// A search in progress, or none.
#[derive(Debug, Default)]
pub struct Walk {
    /// Folders that are being searched, each within the one before.
    levels: Vec<Level>,
    /// Folders that are to be searched after that.
    next: Vec<Start>,
    /// Folders and their times of modification when they were read; `None` for a time that proves nothing.
    known: HashMap<PathBuf, Option<SystemTime>>,
    told: HashSet<PathBuf>,
    /// Time spent since the search of the whole folder began.
    took: Duration,
}

/// A folder to be searched.
#[derive(Debug)]
struct Start {
    folder: PathBuf,
    /// Folders in it that are known are not entered: their own times say whether they changed.
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
    /// The first of those that were read, the last of them on top.
    first: BinaryHeap<Name>,
    /// Those in their order, once all are read.
    names: std::vec::IntoIter<Name>,
    /// The last name that was done with, where the folder is read again for those that follow.
    after: Option<OsString>,
    more: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    name: OsString,
    is_folder: bool,
}

impl Walk {
    /// Begins to search the whole folder, anew if that was going on.
    pub fn begin(&mut self) {
        self.levels.clear();
        self.next = vec![Start { folder: PathBuf::new(), shallow: false }];
        self.took = Duration::ZERO;
    }

    /// Searches also the folder that is `folder` within the one that is watched.
    pub fn also(&mut self, folder: PathBuf) {
        if self.next.len() < FOLDERS {
            self.next.push(Start { folder, shallow: false });
        } else {
            self.begin();
        }
    }

    /// Searches also those folders whose time of modification is another than when they were read. A folder's time
    /// changes when something is made, removed or renamed in it, not when a file in it is written to; and some file
    /// systems keep none. So this finds most of what is new at little cost, and a whole search the rest.
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

    /// Whether nothing is being searched.
    pub fn is_done(&self) -> bool {
        self.levels.is_empty() && self.next.is_empty()
    }

    /// Time spent on the whole search so far.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Goes on with the search of `root`, for a few milliseconds at most where its disk is not slow. Files that are `known`
    /// by their path within it are passed over.
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

    /// Begins to search a folder, unless it is one of those that it lies in, by way of a link.
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
        self.told.remove(&folder);
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

    /// Says once that a folder cannot be searched; it is tried again with the next search.
    fn tell(&mut self, root: &Path, folder: &Path, error: &io::Error) {
        self.known.remove(folder);
        // It went while it was searched, as folders do.
        if error.kind() != io::ErrorKind::NotFound && self.told.len() < TOLD && self.told.insert(folder.to_path_buf()) {
            log::warn!("{}: {error}; it is tried again", root.join(folder).display());
        }
    }
}

/// Whether an entry is a folder to be entered; `None` for what is neither that nor named as a photo.
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
    // What a link leads to counts. A folder that is searched anyway is not searched twice.
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
        // A link round in a circle, and one to what is searched anyway.
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
        // So many names are held that hardly any of this folder are.
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
        // What is too young to be sure of is searched again.
        walk.also_changed(root);
        assert!(!walk.is_done());
        fs::remove_dir_all(root.join("b")).unwrap();
        walk.also_changed(root);
        all(&mut walk, root);
        assert_eq!(all(&mut walk, root), [] as [&str; 0]);
    }
}
