//! The temporary file that replaces another file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

/// Prefix and suffix of temporary files.
const PREFIX: &str = ".oltr-";
const SUFFIX: &str = ".tmp";

/// Names of earlier versions: the suffix, or this many letters without a suffix. Their writers held no lock, so only
/// old files count as abandoned.
const EARLIER_SUFFIX: &str = ".part";
const EARLIER_LETTERS: usize = 6;
const OLD: Duration = Duration::from_secs(3600);

/// Entries of a folder that are examined for files left behind.
const MAX_ENTRIES: usize = 100_000;

/// Attempts to create a temporary file. Another process that cleans up may remove one each time.
const ATTEMPTS: usize = 8;

/// A file that is locked from the start, so that no other process removes it as abandoned. It is removed when dropped
/// unless it is [committed](Temporary::commit).
#[derive(Debug)]
pub struct Temporary(NamedTempFile);

impl Temporary {
    /// Creates a file in the folder of `path`, with the permissions and the owner of the file at `path` if there is
    /// one.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn beside(path: &Path) -> io::Result<Temporary> {
        let mut made = Err(io::Error::other("temporary files are taken away"));
        for _ in 0..ATTEMPTS {
            let file = create(folder_of(path))?;
            let locked = match file.as_file().try_lock() {
                Ok(()) => file.as_file().metadata()?.nlink() > 0,
                Err(fs::TryLockError::WouldBlock) => false,
                // A file system without locks.
                Err(fs::TryLockError::Error(_)) => true,
            };
            if locked {
                made = Ok(file);
                break;
            }
        }
        let made = made?;
        if let Ok(old) = fs::metadata(path) {
            let new = made.as_file().metadata()?;
            if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                // Only root may change the owner. The group can stay if the user is a member.
                let given = fchown(made.as_file(), Some(old.uid()), Some(old.gid()));
                let _ = given.or_else(|_| fchown(made.as_file(), None, Some(old.gid())));
            }
            made.as_file().set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
        }
        Ok(Temporary(made))
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        self.0.as_file()
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Syncs the file and replaces `path` by it. The file stays open and locked.
    ///
    /// # Errors
    /// Errors of the system; `path` is then unchanged.
    pub fn commit(self, path: &Path) -> io::Result<File> {
        self.0.as_file().sync_all()?;
        let file = self.0.persist(path).map_err(|e| e.error)?;
        // The sync of the folder makes the new name durable. Some file systems do not support it, and only durability
        // is lost then.
        let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
        Ok(file)
    }
}

fn create(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    // Files for one's eyes only are the default of temporary files, and a surprise of others.
    builder.prefix(PREFIX).suffix(SUFFIX).permissions(fs::Permissions::from_mode(0o644));
    builder.tempfile_in(folder)
}

/// The folder of `path`.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes temporary files that killed processes left in `folder`. Skips files that it cannot examine or remove.
pub fn clean(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let ours = rest.ends_with(SUFFIX);
        let earlier = rest.ends_with(EARLIER_SUFFIX)
            || (rest.len() == EARLIER_LETTERS && rest.chars().all(|c| c.is_ascii_alphanumeric()));
        if (ours || earlier) && is_abandoned(&entry.path(), ours) && fs::remove_file(entry.path()).is_ok() {
            log::debug!("removed {}, which a process left that was killed", entry.path().display());
        }
    }
}

/// Whether the file at `path` is abandoned. `locks`: its writer would hold a lock.
fn is_abandoned(path: &Path, locks: bool) -> bool {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return false };
    let Ok(meta) = file.metadata() else { return false };
    let old = || meta.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age >= OLD);
    meta.is_file()
        && match file.try_lock() {
            Ok(()) => locks || old(),
            Err(fs::TryLockError::WouldBlock) => false,
            Err(fs::TryLockError::Error(_)) => old(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let old = SystemTime::now() - 2 * OLD;
        let make = |name: &str, old: Option<SystemTime>| {
            let file = File::create(at(name)).unwrap();
            old.into_iter().for_each(|old| file.set_modified(old).unwrap());
        };
        make(".oltr-abc.tmp", None);
        make(".oltr-Ab3dEf", Some(old));
        make(".oltr-Ab3dEf.part", Some(old));
        for (name, old) in [
            (".oltr-Ab3dEg", None),
            (".oltr-Ab3dEg.part", None),
            (".oltr-taken", Some(old)),
            (".oltr-lock", Some(old)),
            ("a.tmp", Some(old)),
        ] {
            make(name, old);
        }
        let busy = Temporary::beside(&at("a")).unwrap();
        clean(folder.path());
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        let mut kept =
            [".oltr-Ab3dEg", ".oltr-Ab3dEg.part", ".oltr-taken", ".oltr-lock", "a.tmp"].map(Into::into).to_vec();
        kept.push(busy.0.path().file_name().unwrap().to_os_string());
        kept.sort();
        assert_eq!(left, kept);
    }

    /// As root, the owner is kept too.
    #[test]
    fn the_owner_is_kept_where_the_system_lets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        File::create(&path).unwrap();
        if std::os::unix::fs::chown(&path, Some(65534), Some(65534)).is_err() {
            return;
        }
        Temporary::beside(&path).unwrap().commit(&path).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (65534, 65534));
    }
}
