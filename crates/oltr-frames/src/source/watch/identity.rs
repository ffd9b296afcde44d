//! Decides when two files are the same photo.
//!
//! A photo has three keys. Each one alone is enough to recognise it:
//!
//! - its *entry*: path within the folder, size and modification time. It needs no reading, so a folder of known photos
//!   is searched without opening one;
//! - its *name and content*: path within the folder, size and contents. It survives a changed time: a card's clock read
//!   in another time zone, or a copy of the file or folder;
//! - its *file and content*: inode number, birth time (or modification time if the file system has none) and contents.
//!   It survives another name: a photo that is renamed, moved within the folder, or found through a link.
//!
//! So a different photo under an old name is new, and so is a copy under another name.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

/// 64 bits of a SHA-256: among a million photos, the chance of a collision is one in 37 million.
pub type Key = u64;

/// Files up to this size are hashed whole. Of larger ones [`PARTS`] parts of [`PART`] bytes are hashed, spread evenly
/// over the file.
const WHOLE: u64 = 1 << 20;
const PARTS: u64 = 64;
const PART: u64 = 16 << 10;

/// File metadata. If two are equal, the file did not change in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Key of the entry.
    pub entry: Key,
    pub size: u64,
    modified: i128,
    /// When anything about the file was changed, its permissions among it.
    changed: i128,
    number: u64,
    born: Option<i128>,
}

/// The keys of a photo: entry, name and content, file and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys(pub [Key; 3]);

impl Keys {
    /// Whether both belong to the same photo.
    pub fn matches(self, other: Keys) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| *a == b)
    }
}

impl Seen {
    /// Reads the metadata of the file `path`, which is `relative` within the folder. `None` if it is not a file.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn look(path: &Path, relative: &Path) -> io::Result<Option<Seen>> {
        let meta = fs::metadata(path)?;
        if !meta.is_file() {
            return Ok(None);
        }
        let modified = nanoseconds(meta.mtime(), meta.mtime_nsec());
        Ok(Some(Seen {
            entry: entry(relative, meta.len(), modified),
            size: meta.len(),
            modified,
            changed: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            number: meta.ino(),
            born: meta.created().ok().map(since_epoch),
        }))
    }

    /// Time since the modification; `None` if that is in the future.
    pub fn age(&self) -> Option<Duration> {
        let age = since_epoch(SystemTime::now()) - self.modified;
        u64::try_from(age).ok().map(Duration::from_nanos)
    }

    /// The keys of the photo, for which the file is read.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn keys(&self, path: &Path, relative: &Path) -> io::Result<Keys> {
        let content = content(path, self.size)?;
        let mut named = Sha256::new();
        named.update(b"name\0");
        named.update(relative.as_os_str().as_encoded_bytes());
        named.update([0]);
        named.update(content);
        let mut filed = Sha256::new();
        filed.update(b"file\0");
        filed.update(self.number.to_le_bytes());
        // Inode numbers are reused. The birth time tells the files apart, and it stays when the other times change.
        filed.update(self.born.unwrap_or(self.modified).to_le_bytes());
        filed.update(content);
        Ok(Keys([self.entry, first(named), first(filed)]))
    }
}

/// Key of an entry. State files of the first version hold half of it.
fn entry(relative: &Path, size: u64, modified: i128) -> Key {
    let mut hash = Sha256::new();
    hash.update(relative.as_os_str().as_encoded_bytes());
    hash.update([0]);
    hash.update(size.to_le_bytes());
    hash.update(modified.to_le_bytes());
    first(hash)
}

/// Size and content of the file at `path`.
fn content(path: &Path, size: u64) -> io::Result<[u8; 32]> {
    // Non-blocking, in case it became a FIFO.
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let mut hash = Sha256::new();
    hash.update(size.to_le_bytes());
    let mut buffer = vec![0; PART as usize];
    if size <= WHOLE {
        for at in (0..size).step_by(PART as usize) {
            update(&mut hash, &file, at, &mut buffer)?;
        }
    } else {
        for part in 0..PARTS {
            update(&mut hash, &file, (size - PART) / (PARTS - 1) * part, &mut buffer)?;
        }
        update(&mut hash, &file, size - PART, &mut buffer)?;
    }
    Ok(hash.finalize().into())
}

/// Hashes up to one part from `at` on.
fn update(hash: &mut Sha256, file: &File, at: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    hash.update(&buffer[..filled]);
    Ok(())
}

fn first(hash: Sha256) -> Key {
    let digest: [u8; 32] = hash.finalize().into();
    digest.iter().take(8).fold(0, |key, byte| key << 8 | Key::from(*byte))
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn since_epoch(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(folder: &Path, name: &str) -> Keys {
        let (path, relative) = (folder.join(name), Path::new(name));
        Seen::look(&path, relative).unwrap().unwrap().keys(&path, relative).unwrap()
    }

    #[test]
    fn a_photo_is_known_by_any_key_and_another_by_none() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        write("a.jpg", b"content");
        let a = keys(folder, "a.jpg");
        assert!(a.matches(keys(folder, "a.jpg")));
        // A different modification time.
        let file = File::options().write(true).open(folder.join("a.jpg")).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        let later = keys(folder, "a.jpg");
        assert!(a.matches(later) && a.0[0] != later.0[0]);
        // A different name of the same file.
        fs::create_dir(folder.join("sub")).unwrap();
        fs::rename(folder.join("a.jpg"), folder.join("sub/b.jpg")).unwrap();
        assert!(later.matches(keys(folder, "sub/b.jpg")));
        // A different photo under the same name, and a copy under another.
        write("a.jpg", b"CONTENT");
        assert!(!later.matches(keys(folder, "a.jpg")));
        write("c.jpg", b"content");
        assert!(!later.matches(keys(folder, "c.jpg")));
    }

    #[test]
    fn every_part_of_a_large_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let size = WHOLE + 12_345;
        let bytes = vec![7; size as usize];
        fs::write(&path, &bytes).unwrap();
        let before = content(&path, size).unwrap();
        for at in [0, PART - 1, size / (PARTS - 1) * 31, size - PART, size - 1] {
            let mut other = bytes.clone();
            other[at as usize] ^= 1;
            fs::write(&path, &other).unwrap();
            assert_ne!(content(&path, size).unwrap(), before, "{at}");
        }
        let small = vec![7; WHOLE as usize];
        fs::write(&path, &small).unwrap();
        let before = content(&path, WHOLE).unwrap();
        for at in (0..WHOLE as usize).step_by(10_007) {
            let file = File::options().write(true).open(&path).unwrap();
            file.write_all_at(&[8], at as u64).unwrap();
            assert_ne!(content(&path, WHOLE).unwrap(), before, "{at}");
            file.write_all_at(&[7], at as u64).unwrap();
        }
    }
}
