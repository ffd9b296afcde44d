//! The operations that the store needs of a file system, as a trait. Tests simulate power cuts and full disks with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::OFlags;

/// Most entries of a folder that are listed. The store never has more, so the rest is foreign.
pub const MAX_LISTED: usize = 16_384;

/// A file that is written to its end.
pub trait DiskFile: Send {
    /// Appends all of `bytes`. After an error a part of them may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when the appended bytes survive a power cut.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that are free for this user.
    pub free: u64,
    /// Bytes that the smallest file takes.
    pub block: u64,
}

/// A file system, as far as the store needs one. Symbolic links within the store are not followed.
pub trait Disk: Send + Sync {
    /// Creates the folder `path` and its missing parents. An existing one is left as it is.
    fn create_folders(&self, path: &Path) -> io::Result<()>;
    /// Creates the folder `path` in an existing one. Returns whether it was missing. A file of that name is an error.
    fn create_folder(&self, path: &Path) -> io::Result<bool>;
    /// Names of the entries of the folder `path`, [`MAX_LISTED`] at most.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// All of the plain file `path`, which has `most` bytes at most.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;
    /// Bytes of the plain file `path`.
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// Makes the file `path`, which must not be there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens the existing plain file `path` for appending.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Puts `from` in the place of `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the file `path`.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes the folder `path` if it is empty.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Returns when the entries of the folder `path` survive a power cut.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// How much room there is at `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Whether `path` is a symbolic link.
    fn is_link(&self, path: &Path) -> bool {
        let _ = path;
        false
    }
    /// Locks the file `path`. Returns `None` if another process holds the lock.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>>;
}

/// Replaces `path` by a file of `bytes`. After a power cut either the old or the new file is there, whole. `temporary`
/// must be in the same folder and is overwritten.
///
/// # Errors
/// Errors of the file system. `path` is then unchanged, except where only the sync of its folder failed.
pub fn replace(disk: &dyn Disk, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = disk.remove(temporary);
    let write = || {
        let mut file = disk.create(temporary)?;
        file.append(bytes)?;
        file.sync()?;
        disk.rename(temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        disk.sync_folder(folder.unwrap_or(Path::new(".")))
    };
    write().inspect_err(|_| {
        let _ = disk.remove(temporary);
    })
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

fn plain(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    // Non-blocking: opening a FIFO without a reader would hang.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits() as i32)
}

fn check_plain(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "is no plain file")),
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl Disk for RealDisk {
    fn create_folders(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<bool> {
        match fs::create_dir(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(path)?.is_dir() {
                true => Ok(false),
                false => Err(io::Error::new(io::ErrorKind::NotADirectory, "is no folder")),
            },
            Err(e) => Err(e),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(path)?.take(MAX_LISTED);
        // A name that is not UTF-8 is none of the store's.
        names.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let file = check_plain(plain(OpenOptions::new().read(true)).open(path)?)?;
        let length = file.metadata()?.len();
        let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, format!("has more than {most} bytes"));
        if length > most {
            return Err(too_long());
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most { Err(too_long()) } else { Ok(bytes) }
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let meta = fs::symlink_metadata(path)?;
        match meta.is_file() {
            true => Ok(meta.len()),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "is no plain file")),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(plain(OpenOptions::new().append(true).create_new(true)).open(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(check_plain(plain(OpenOptions::new().append(true)).open(path)?)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // FAT and some network file systems sync no folders.
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            other => other,
        }
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(Space { free, block: stat.f_frsize.clamp(512, 1 << 20) })
    }

    fn is_link(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let file = plain(OpenOptions::new().write(true).create(true).truncate(false)).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            // Some network file systems have no locks. There the user must see to it that one process writes.
            Err(fs::TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(Some(Box::new(file))),
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    }
}
