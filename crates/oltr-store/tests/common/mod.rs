//! A file system in memory with simulated power cuts: unsynced writes are lost, kept, or kept in part and out of order.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use oltr_store::disk::{Disk, DiskFile, Space};

/// Numbers that are as good as random, the same ones for the same seed.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn chance(&mut self, n: u64, of: u64) -> bool {
        self.below(of) < n
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone)]
enum Op {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    now: Vec<u8>,
}

#[derive(Default)]
struct Inner {
    files: Vec<Content>,
    now: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Not synced, with the folder that they are in.
    pending: Vec<(PathBuf, Op)>,
    /// Number of changes until the power cut.
    left: Option<u64>,
    locks: std::collections::BTreeSet<PathBuf>,
    /// Bytes that fit.
    room: Option<u64>,
    /// Files and folders that fit.
    inodes: Option<usize>,
    /// Bytes that were written.
    written: u64,
    /// Refuses all changes.
    read_only: bool,
    /// No power cuts: the state after a cut is not recorded.
    steady: bool,
}

#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Inner>>);

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Inner {
    fn change(&mut self) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match &mut self.left {
            Some(0) => Err(power_is_off()),
            Some(left) => {
                *left -= 1;
                if *left == 0 { Err(power_is_off()) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    fn is_dead(&self) -> bool {
        self.left == Some(0)
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        if self.is_dead() {
            return Err(power_is_off());
        }
        match self.now.get(path) {
            Some(Node::File(i)) => Ok(*i),
            Some(Node::Folder) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn used(&self) -> u64 {
        self.now.values().map(|n| if let Node::File(i) = n { self.files[*i].now.len() as u64 } else { 0 }).sum()
    }

    fn apply(to: &mut BTreeMap<PathBuf, Node>, op: &Op) {
        match op {
            Op::Put(path, node) => {
                to.insert(path.clone(), *node);
            }
            Op::Remove(path) => {
                to.remove(path);
            }
            Op::Rename(from, path, node) => {
                to.remove(from);
                to.insert(path.clone(), *node);
            }
        }
    }

    /// Records an unsynced change.
    fn note(&mut self, path: &Path, op: Op) {
        if !self.steady {
            self.pending.push((path.parent().unwrap_or(Path::new("")).into(), op));
        }
    }

    fn put(&mut self, path: &Path, node: Node) -> io::Result<()> {
        if self.inodes.is_some_and(|most| self.now.len() >= most) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change()?;
        let op = Op::Put(path.into(), node);
        Inner::apply(&mut self.now, &op);
        self.note(path, op);
        Ok(())
    }
}

impl SimDisk {
    /// A disk without power cuts. Its cost does not grow with the number of writes.
    pub fn steady() -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Inner { steady: true, ..Inner::default() })))
    }

    pub fn cut_after(&self, changes: u64) {
        self.0.lock().unwrap().left = Some(changes);
    }

    pub fn is_cut(&self) -> bool {
        self.0.lock().unwrap().is_dead()
    }

    pub fn set_room(&self, room: Option<u64>) {
        self.0.lock().unwrap().room = room;
    }

    pub fn set_read_only(&self, read_only: bool) {
        self.0.lock().unwrap().read_only = read_only;
    }

    pub fn set_inodes(&self, most: Option<usize>) {
        self.0.lock().unwrap().inodes = most;
    }

    pub fn inodes(&self) -> usize {
        self.0.lock().unwrap().now.len()
    }

    /// Bytes of all files and folders, in blocks of 512 bytes.
    pub fn used(&self) -> u64 {
        let inner = self.0.lock().unwrap();
        let size = |node: &Node| match node {
            Node::File(i) => (inner.files[*i].now.len() as u64).next_multiple_of(512),
            Node::Folder => 512,
        };
        inner.now.values().map(size).sum()
    }

    pub fn written(&self) -> u64 {
        self.0.lock().unwrap().written
    }

    /// Ends the program. Its writes stay.
    pub fn kill(&self) -> SimDisk {
        let inner = self.0.lock().unwrap();
        let (files, now) = (inner.files.clone(), inner.now.clone());
        let (durable, pending, written) = (inner.durable.clone(), inner.pending.clone(), inner.written);
        SimDisk(Arc::new(Mutex::new(Inner { files, now, durable, pending, written, ..Inner::default() })))
    }

    /// Cuts the power. A random part of the unsynced writes is lost, in any order.
    pub fn cut(&self, rng: &mut Rng) -> SimDisk {
        let inner = self.0.lock().unwrap();
        let mut durable = inner.durable.clone();
        let keep = rng.below(5);
        for (_, op) in &inner.pending {
            if rng.chance(keep, 4) {
                Inner::apply(&mut durable, op);
            }
        }
        // A file cannot be without its folder.
        let folders: Vec<PathBuf> =
            durable.iter().filter(|(_, n)| **n == Node::Folder).map(|(p, _)| p.clone()).collect();
        durable.retain(|path, _| {
            path.parent().is_none_or(|parent| parent == Path::new("/") || folders.iter().any(|f| f == parent))
        });
        let files = inner.files.iter().map(|content| {
            let Content { durable: old, now: new } = content;
            if old == new {
                return content.clone();
            }
            let length = match rng.below(4) {
                0 => old.len(),
                1 => new.len(),
                _ => {
                    let (a, b) = (old.len().min(new.len()) as u64, old.len().max(new.len()) as u64);
                    (a + rng.below(b - a + 1)) as usize
                }
            };
            let mut bytes = vec![0; length];
            let garbage = rng.chance(1, 4);
            for (block, out) in bytes.chunks_mut(64).enumerate() {
                let from = if rng.chance(keep, 4) { new } else { old };
                for (i, byte) in out.iter_mut().enumerate() {
                    let at = block * 64 + i;
                    *byte = match (from.get(at), old.get(at)) {
                        (Some(byte), _) | (None, Some(byte)) => *byte,
                        (None, None) if garbage => rng.next() as u8,
                        (None, None) => 0,
                    };
                }
                // Synced bytes stay.
                for (i, byte) in out.iter_mut().enumerate() {
                    let at = block * 64 + i;
                    if old.get(at) == new.get(at) && old.get(at).is_some() {
                        *byte = old[at];
                    }
                }
            }
            Content { durable: bytes.clone(), now: bytes }
        });
        let files = files.collect();
        let now = durable.clone();
        SimDisk(Arc::new(Mutex::new(Inner { files, now, durable, written: inner.written, ..Inner::default() })))
    }

    /// Writes a file that is not the store's.
    pub fn plant(&self, path: &Path, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap();
        let i = inner.files.len();
        inner.files.push(Content { durable: bytes.into(), now: bytes.into() });
        inner.now.insert(path.into(), Node::File(i));
        inner.durable.insert(path.into(), Node::File(i));
    }
}

struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.0.lock().unwrap();
        let was_dead = inner.is_dead();
        let result = inner.change();
        let mut length = bytes.len();
        let mut full = false;
        if let Some(room) = inner.room {
            let left = room.saturating_sub(inner.used()) as usize;
            full = left < length;
            length = length.min(left);
        }
        if was_dead {
            return result;
        }
        // The power cut comes in the middle of a write.
        if result.is_err() {
            length /= 2;
        }
        let file = self.file;
        inner.files[file].now.extend_from_slice(&bytes[..length]);
        inner.written += length as u64;
        result?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.disk.0.lock().unwrap();
        inner.change()?;
        if !inner.steady {
            let file = self.file;
            let now = inner.files[file].now.clone();
            inner.files[file].durable = now;
        }
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.0.lock().unwrap();
        inner.change()?;
        let file = self.file;
        inner.files[file].now.truncate(length as usize);
        Ok(())
    }
}

struct SimLock(SimDisk, PathBuf);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().locks.remove(&self.1);
    }
}

impl Disk for SimDisk {
    fn create_folders(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let mut all: Vec<&Path> = path.ancestors().filter(|p| *p != Path::new("/") && *p != Path::new("")).collect();
        all.reverse();
        for path in all {
            if !inner.now.contains_key(path) {
                inner.change()?;
                inner.now.insert(path.into(), Node::Folder);
                inner.durable.insert(path.into(), Node::Folder);
            }
        }
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        let mut inner = self.0.lock().unwrap();
        match inner.now.get(path) {
            Some(Node::Folder) => Ok(false),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => inner.put(path, Node::Folder).map(|()| true),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let inner = self.0.lock().unwrap();
        if inner.now.get(path) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = inner.now.keys().filter(|p| p.parent() == Some(path));
        Ok(inside.filter_map(|p| Some(p.file_name()?.to_str()?.to_string())).collect())
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let inner = self.0.lock().unwrap();
        let bytes = inner.files[inner.file(path)?].now.clone();
        if bytes.len() as u64 > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let inner = self.0.lock().unwrap();
        Ok(inner.files[inner.file(path)?].now.len() as u64)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.0.lock().unwrap();
        if inner.now.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if inner.now.get(path.parent().unwrap()) != Some(&Node::Folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = inner.files.len();
        inner.files.push(Content::default());
        inner.put(path, Node::File(file))?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.lock().unwrap().file(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let node = Node::File(inner.file(from)?);
        inner.change()?;
        let op = Op::Rename(from.into(), to.into(), node);
        Inner::apply(&mut inner.now, &op);
        inner.note(to, op);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let file = inner.file(path)?;
        inner.change()?;
        if inner.steady {
            inner.files[file] = Content::default();
        }
        let op = Op::Remove(path.into());
        Inner::apply(&mut inner.now, &op);
        inner.note(path, op);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.now.keys().any(|p| p.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        inner.change()?;
        let op = Op::Remove(path.into());
        Inner::apply(&mut inner.now, &op);
        inner.note(path, op);
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.change()?;
        let pending = std::mem::take(&mut inner.pending);
        for (folder, op) in pending {
            if folder == path {
                Inner::apply(&mut inner.durable, &op);
            } else {
                inner.pending.push((folder, op));
            }
        }
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let inner = self.0.lock().unwrap();
        Ok(Space { free: inner.room.map_or(1 << 40, |room| room.saturating_sub(inner.used())), block: 512 })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let mut inner = self.0.lock().unwrap();
        if inner.is_dead() {
            return Err(power_is_off());
        }
        if inner.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if !inner.locks.insert(path.into()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock(self.clone(), path.into()))))
    }
}
