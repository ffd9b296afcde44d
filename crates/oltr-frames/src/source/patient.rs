//! Files that are read to their end, or FIFOs. A missing writer is waited for with a log message and a timeout.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

/// Wait after which a message is logged.
const NOTABLE: Duration = Duration::from_secs(2);

/// Timeout: after this much silence, the input counts as ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// A file or a FIFO.
#[derive(Debug)]
pub struct Patient {
    path: PathBuf,
    file: File,
    size: u64,
    /// Not a regular file: reads may have to wait.
    waits: bool,
    patience: Duration,
}

/// Opens `path` without waiting for the writer of a FIFO.
///
/// # Errors
/// Errors of the system.
pub fn open(path: &Path) -> io::Result<Patient> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    Ok(Patient { path: path.into(), file, size: meta.len(), waits: !meta.is_file(), patience: PATIENCE })
}

impl Patient {
    /// The size that the system reports.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        !self.waits
    }

    /// Reads a regular file from byte `first` on.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn read_at(&self, into: &mut [u8], first: u64) -> io::Result<usize> {
        self.file.read_at(into, first)
    }

    /// Waits until there is data, or the end.
    fn wait(&self) -> io::Result<()> {
        let begin = Instant::now();
        let mut due = NOTABLE.min(self.patience);
        loop {
            let timeout =
                Timespec::try_from(due.saturating_sub(begin.elapsed())).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], Some(&timeout)) {
                Ok(0) if due >= self.patience => {
                    let reason = format!(
                        "is not a regular file, and no data arrived for {} s; start its writer first, or name a file",
                        self.patience.as_secs()
                    );
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
                Ok(0) => {
                    log::warn!("{}: is no file; waiting for what writes to it", self.path.display());
                    due = self.patience;
                }
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }
}

impl Read for &Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.waits {
                self.wait()?;
            }
            match (&self.file).read(into) {
                Err(e) if self.waits && e.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn fifo(folder: &Path) -> PathBuf {
        let path = folder.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    #[test]
    fn a_fifo_without_a_writer_is_an_error_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open(&fifo(folder.path())).unwrap();
        file.patience = Duration::from_millis(50);
        let error = file.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("writer"), "{error}");
    }

    #[test]
    fn what_a_late_writer_writes_in_pieces_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = fifo(folder.path());
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(Duration::from_millis(100));
                let mut file = OpenOptions::new().write(true).open(path).unwrap();
                for piece in ["one ", "two"] {
                    file.write_all(piece.as_bytes()).unwrap();
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        let mut text = String::new();
        open(&path).unwrap().read_to_string(&mut text).unwrap();
        writer.join().unwrap();
        assert_eq!(text, "one two");
    }

    #[test]
    fn a_file_is_read_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "text").unwrap();
        let (mut file, mut text) = (open(&path).unwrap(), String::new());
        file.read_to_string(&mut text).unwrap();
        assert_eq!((file.size(), &text[..]), (4, "text"));
    }
}
