//! Finds out what a path to write to stands for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::temporary::folder_of;
use crate::error::{Error, Result};

/// Most links that are followed: more are a loop.
const MAX_LINKS: usize = 40;

/// Timeout for a reader that takes no bytes.
const STALLED: Duration = Duration::from_secs(60);

/// What a path stands for.
#[derive(Debug)]
pub enum Target {
    /// A regular file at this path, which is no link, or none yet.
    File(PathBuf),
    /// A stream that bytes are written to.
    Stream(Stream),
}

/// Something that is no regular file.
#[derive(Debug)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A device or a FIFO, opened in non-blocking mode.
    Open(File),
}

impl Target {
    /// What `path` stands for.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] for a kind of file that cannot be a target.
    pub fn of(path: &Path) -> Result<Target> {
        let io = |cause| Error::Io { path: path.into(), cause };
        let place = match resolve(path).map_err(io)? {
            Place::Descriptor(1, _) => return Ok(Target::Stream(Stream::Stdout)),
            Place::Descriptor(2, _) => return Ok(Target::Stream(Stream::Stderr)),
            Place::Descriptor(_, path) => {
                let file = OpenOptions::new().append(true).open(path).map_err(io)?;
                return Ok(Target::Stream(Stream::Open(file)));
            }
            Place::Path(place) => place,
        };
        let kind = match fs::symlink_metadata(&place) {
            Ok(meta) => meta.file_type(),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Target::File(place)),
            Err(e) => return Err(io(e)),
        };
        let refused = |what: &str| {
            Err(Error::Config(format!("{}: is {what}, which is not written to; name a file", path.display())))
        };
        match kind {
            kind if kind.is_file() => Ok(Target::File(place)),
            kind if kind.is_dir() => Err(io(ErrorKind::IsADirectory.into())),
            kind if kind.is_char_device() || kind.is_fifo() => {
                let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
                match OpenOptions::new().write(true).custom_flags(flags).open(&place) {
                    Ok(file) => Ok(Target::Stream(Stream::Open(file))),
                    Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) && kind.is_fifo() => {
                        let reason = "is a FIFO without a reader; start its reader first, or name a file";
                        Err(io(io::Error::new(ErrorKind::NotConnected, reason)))
                    }
                    Err(e) => Err(io(e)),
                }
            }
            kind if kind.is_block_device() => refused("a block device"),
            kind if kind.is_socket() => refused("a socket"),
            _ => refused("no file"),
        }
    }
}

impl Stream {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Errors of the system; [`ErrorKind::TimedOut`] if no byte is taken for [`STALLED`].
    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Stream::Stderr => io::stderr().lock().write_all(bytes),
            Stream::Open(file) => write_patiently(file, bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to a slow reader, with a timeout.
fn write_patiently(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    let mut until = Instant::now() + STALLED;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                bytes = &bytes[n..];
                until = Instant::now() + STALLED;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if Instant::now() >= until {
                    return Err(io::Error::new(ErrorKind::TimedOut, "its reader takes nothing"));
                }
                let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                // A signal may interrupt the poll; the loop polls again.
                let _ = poll(&mut [PollFd::new(&*file, PollFlags::OUT)], Some(&second));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// End of a path's links.
enum Place {
    Path(PathBuf),
    /// A descriptor of this process, by its number and its name below /proc.
    Descriptor(i32, PathBuf),
}

/// Follows the links of the last part of `path`. A missing file resolves to itself.
fn resolve(path: &Path) -> io::Result<Place> {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        if let Some(number) = own_descriptor(&path) {
            return Ok(Place::Descriptor(number, path));
        }
        match fs::read_link(&path) {
            Ok(link) => path = folder_of(&path).join(link),
            // Not a link, or missing.
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(Place::Path(path));
            }
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other("is a link that leads round in a circle"))
}

/// Number of this process's descriptor that `path` names: `/dev/fd/1`, `/proc/self/fd/1`.
fn own_descriptor(path: &Path) -> Option<i32> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let folder = fs::canonicalize(path.parent()?).ok()?;
    let own = Path::new("/proc").join(std::process::id().to_string());
    (folder.starts_with(own) && folder.ends_with("fd")).then_some(number)
}
