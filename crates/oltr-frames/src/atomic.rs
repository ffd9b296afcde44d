//! Atomic replacement of files, whatever fails in between, and locks against concurrent writers.
//!
//! Only regular files are replaced. Other targets are written to: a terminal, a pipe or `/dev/null` gets the bytes. A
//! symbolic link stays, and the file that it leads to is replaced.

mod lock;
mod target;
mod temporary;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};
pub use lock::{Lock, lock};
use target::Target;
pub(crate) use temporary::{Temporary, clean, folder_of};

/// Bytes that are written at once.
const PIECE: usize = 64 << 10;

/// Writes `bytes` to the target of `path`.
///
/// - A regular file, or none yet: the bytes go to a temporary file next to it, which is synced and then replaces it. An
///   existing file keeps its permissions and, if the system allows it, its owner. A reader sees the old file or the new
///   one, and so does the next start after a power cut. Temporary files of killed processes are removed.
/// - A symbolic link: the file that it leads to is replaced, and the link stays.
/// - A character device, a FIFO with a reader, `/dev/stdout`, `/dev/fd/N`: the bytes are written to it, and nothing is
///   replaced.
///
/// # Errors
/// [`Error::Io`], also for a missing folder, a FIFO without a reader, or a reader that takes nothing for a minute: the
/// file is unchanged. [`Error::Config`] for a block device or a socket.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let io = |cause| Error::Io { path: path.into(), cause };
    match Target::of(path)? {
        Target::File(place) => {
            clean(folder_of(&place));
            let mut file = Temporary::beside(&place).map_err(io)?;
            file.write_all(bytes).map_err(io)?;
            file.commit(&place).map_err(io)?;
            Ok(())
        }
        Target::Stream(mut stream) => stream.write_all(bytes).map_err(io),
    }
}

/// As [`write()`], but `fill` writes piece by piece, so that only one piece is in memory.
///
/// # Errors
/// As [`write()`], and errors of `fill`; the file is then unchanged.
pub fn write_with(path: impl AsRef<Path>, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    let io = |cause| Error::Io { path: path.into(), cause };
    match Target::of(path)? {
        Target::File(place) => {
            clean(folder_of(&place));
            let file = Temporary::beside(&place).map_err(io)?;
            let mut out = BufWriter::with_capacity(PIECE, file.file());
            fill(&mut out).and_then(|()| out.flush()).map_err(io)?;
            drop(out);
            file.commit(&place).map_err(io)?;
            Ok(())
        }
        Target::Stream(stream) => {
            let mut out = BufWriter::with_capacity(PIECE, stream);
            fill(&mut out).and_then(|()| out.flush()).map_err(io)
        }
    }
}

/// As [`write()`], but only for a regular file or a new one: for bytes from an untrusted source. A link, a device, a
/// FIFO or a folder is refused. A link that appears meanwhile is not followed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Config`] if it is not a regular file.
pub fn write_regular(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let io = |cause| Error::Io { path: path.into(), cause };
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => {
            return Err(Error::Config(format!(
                "{}: is no regular file, and nothing else is written to here; name a file",
                path.display()
            )));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(e)),
    }
    clean(folder_of(path));
    let mut file = Temporary::beside(path).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    // Replaces whatever has that name, without following links.
    file.commit(path).map_err(io)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_written_in_pieces_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_with(&path, |out| (0..100_000).try_for_each(|_| out.write_all(b"one"))).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 300_000);
        let failed = write_with(&path, |out| out.write_all(b"two").and_then(|()| Err(io::Error::other("no more"))));
        assert!(failed.is_err() && std::fs::metadata(&path).unwrap().len() == 300_000);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        write_with("/dev/null", |out| out.write_all(b"x")).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_other_files_or_of_the_one_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        write(&path, b"one").unwrap();
        assert_eq!(mode() & 0o400, 0o400);
        for kept in [0o600, 0o664, 0o640] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(kept)).unwrap();
            write(&path, b"two").unwrap();
            assert_eq!(mode(), kept);
        }
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("none/a");
        assert!(matches!(write(&nowhere, b"x"), Err(Error::Io { path, .. }) if path == nowhere));
        assert!(matches!(write(folder.path(), b"x"), Err(Error::Io { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("far")).unwrap();
        std::fs::write(at("far/target"), "old").unwrap();
        std::os::unix::fs::symlink("far/target", at("link")).unwrap();
        std::os::unix::fs::symlink("link", at("second")).unwrap();
        std::os::unix::fs::symlink("far/none-yet", at("dangling")).unwrap();
        for (link, target) in [("link", "far/target"), ("second", "far/target"), ("dangling", "far/none-yet")] {
            write(at(link), link.as_bytes()).unwrap();
            assert!(std::fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
            assert_eq!(std::fs::read(at(target)).unwrap(), link.as_bytes());
        }
        std::os::unix::fs::symlink("round", at("round")).unwrap();
        assert!(matches!(write(at("round"), b"x"), Err(Error::Io { .. })));
    }

    #[test]
    fn devices_stay_devices() {
        use std::os::unix::fs::FileTypeExt;
        write("/dev/null", b"x").unwrap();
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let full = write("/dev/full", b"x").unwrap_err();
        assert!(matches!(&full, Error::Io { cause, .. } if cause.kind() == std::io::ErrorKind::StorageFull), "{full}");
        assert!(std::fs::metadata("/dev/full").unwrap().file_type().is_char_device());
        // A link to a device, as /dev/stdout may be.
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        write(&link, b"x").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_fifo_is_written_to_or_refused_at_once() {
        use std::io::Read;
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let error = write(&fifo, b"x").unwrap_err().to_string();
        assert!(error.contains("without a reader"), "{error}");
        // More than a pipe holds, so that the writer has to wait.
        let bytes: Vec<u8> = (0..300_000).map(|i| (i % 251) as u8).collect();
        // Opening a FIFO for reading and writing never blocks.
        let mut reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let writer = std::thread::spawn({
            let (fifo, bytes) = (fifo.clone(), bytes.clone());
            move || write(&fifo, &bytes)
        });
        let mut read = vec![0; bytes.len()];
        reader.read_exact(&mut read).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(read, bytes);
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = write(&socket, b"x").unwrap_err().to_string();
        assert!(error.contains("socket"), "{error}");
    }

    #[test]
    fn bytes_from_afar_go_to_regular_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for text in [&b"one"[..], b"two"] {
            write_regular(at("a"), text).unwrap();
            assert_eq!(std::fs::read(at("a")).unwrap(), text);
        }
        std::os::unix::fs::symlink("a", at("link")).unwrap();
        std::os::unix::fs::symlink("/dev/null", at("device")).unwrap();
        std::os::unix::fs::symlink("none", at("dangling")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
        for name in ["link", "device", "dangling", "fifo", "."] {
            let refused = write_regular(at(name), b"three");
            assert!(matches!(refused, Err(Error::Config(_))), "{name}: {refused:?}");
        }
        assert_eq!(std::fs::read(at("a")).unwrap(), b"two");
        assert!(!at("none").exists() && std::fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert!(matches!(write_regular(at("none/a"), b"x"), Err(Error::Io { .. })));
    }

    #[test]
    fn a_descriptor_is_written_to() {
        use std::os::fd::AsRawFd;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = std::fs::File::create(&path).unwrap();
        for name in [format!("/dev/fd/{}", file.as_raw_fd()), format!("/proc/self/fd/{}", file.as_raw_fd())] {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&name, &link).unwrap();
            write(&name, b"one").unwrap();
            write(&link, b"two").unwrap();
            std::fs::remove_file(link).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"onetwoonetwo");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
