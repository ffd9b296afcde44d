//! Inputs of bytes that may have to wait, and a reader with a bounded buffer.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

/// Interval between polls of a FIFO without a writer: the system has no event for a new one.
const WRITER_POLL: Duration = Duration::from_millis(20);

/// An input of bytes that may not have arrived yet. Streams are parsed from it. Tests and fuzzers pass their own.
pub trait ByteInput: Send {
    /// Name in messages and results.
    fn name(&self) -> &str;

    /// Whether the input is live: bytes come at their own pace.
    fn is_live(&self) -> bool;

    /// Reads some bytes into `into`, waiting for them until `deadline`.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn read(&mut self, into: &mut [u8], deadline: Instant) -> Result<Arrival>;

    /// Makes the input wait for a new writer after [`Arrival::End`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no new writer can come.
    fn reconnect(&mut self) -> Result<()>;
}

/// Result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The number of bytes, at least 1.
    Bytes(usize),
    /// None before the deadline.
    Waiting,
    /// None any more.
    End,
}

/// A file, a FIFO, or standard input.
///
/// Anything but a regular file is taken for live.
#[derive(Debug)]
pub struct Descriptor {
    name: String,
    file: Source,
    kind: Kind,
    /// The last writer of a FIFO is gone, and the next one has not come.
    between_writers: bool,
}

#[derive(Debug)]
enum Source {
    File(File),
    Stdin(std::io::Stdin),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    Fifo,
    Other,
}

impl Descriptor {
    /// Opens `path`; `-` is standard input. A FIFO may still be without a writer.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; [`Error::BadInput`] for a folder.
    pub fn open(path: &Path) -> Result<Descriptor> {
        let name = path.display().to_string();
        if path == Path::new("-") {
            let stdin = std::io::stdin();
            // Reads the metadata through a copy of the descriptor: the standard library has none for stdin.
            let copy = stdin.as_fd().try_clone_to_owned().map_err(|e| Error::io(path, e))?;
            let regular = File::from(copy).metadata().is_ok_and(|m| m.is_file());
            // A redirected FIFO looks like a pipe. Neither gets a new writer.
            let kind = if regular { Kind::Regular } else { Kind::Other };
            return Ok(Descriptor { name, file: Source::Stdin(stdin), kind, between_writers: false });
        }
        // Without O_NONBLOCK, opening a FIFO blocks until a writer comes, and no signal could end the wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io(path, e.into()))?;
        let file = File::from(descriptor);
        let kind = file.metadata().map_err(|e| Error::io(path, e))?.file_type();
        if kind.is_dir() {
            let reason = "is a folder; name the photos in it, or watch it".into();
            return Err(Error::BadInput { subject: name, reason });
        }
        let kind = match kind {
            k if k.is_file() => Kind::Regular,
            k if k.is_fifo() => Kind::Fifo,
            _ => Kind::Other,
        };
        Ok(Descriptor { name, file: Source::File(file), kind, between_writers: false })
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.file {
            Source::File(file) => file.as_fd(),
            Source::Stdin(stdin) => stdin.as_fd(),
        }
    }

    fn failed(&self, cause: std::io::Error) -> Error {
        Error::Io { path: self.name.clone().into(), cause }
    }

    /// Waits until there is data, or the end.
    fn wait(&self, deadline: Instant) -> Result<bool> {
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(patience).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            let mut polled = [PollFd::from_borrowed_fd(self.descriptor(), PollFlags::IN)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(self.failed(e.into())),
            }
        }
    }
}

impl ByteInput for Descriptor {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        self.kind != Kind::Regular
    }

    fn read(&mut self, into: &mut [u8], deadline: Instant) -> Result<Arrival> {
        loop {
            if !self.wait(deadline)? {
                return Ok(Arrival::Waiting);
            }
            // Bypasses the buffer of std's stdin, which would hide arrived bytes from `poll`.
            match rustix::io::read(self.descriptor(), &mut *into) {
                Ok(0) if self.between_writers => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Arrival::Waiting);
                    }
                    std::thread::sleep(WRITER_POLL.min(left));
                }
                Ok(0) => return Ok(Arrival::End),
                Ok(n) => {
                    self.between_writers = false;
                    return Ok(Arrival::Bytes(n));
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(e) => return Err(self.failed(e.into())),
            }
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        if self.kind != Kind::Fifo {
            let reason = "has ended and cannot be read again; name a FIFO to go on with another writer".into();
            return Err(Error::Unavailable { subject: self.name.clone(), reason });
        }
        // The descriptor stays open, so that a writer that is already there loses no bytes.
        self.between_writers = true;
        Ok(())
    }
}

/// Standard input without the standard library's buffer. Waits if another process made it non-blocking.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdin;

impl Read for Stdin {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        use rustix::io::Errno;
        let stdin = std::io::stdin();
        loop {
            match rustix::io::read(stdin.as_fd(), &mut *into) {
                Ok(n) => return Ok(n),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => match poll(&mut [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(e) => return Err(e.into()),
                },
                // As in the standard library: a closed input is empty.
                Err(Errno::BADF) => return Ok(0),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Bytes of any reader, without a timeout: for tests, and for programs that have the bytes in memory.
#[derive(Debug)]
pub struct Blocking<R>(pub R);

impl<R: Read + Send> ByteInput for Blocking<R> {
    fn name(&self) -> &str {
        "bytes"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn read(&mut self, into: &mut [u8], _deadline: Instant) -> Result<Arrival> {
        loop {
            match self.0.read(into) {
                Ok(0) => return Ok(Arrival::End),
                Ok(n) => return Ok(Arrival::Bytes(n)),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(self.name(), e)),
            }
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        Err(Error::Unavailable { subject: self.name().into(), reason: "has ended".into() })
    }
}

/// Reads ahead into a buffer of fixed size, and tracks its position in the input.
pub struct Reader {
    input: Box<dyn ByteInput>,
    buffer: Vec<u8>,
    /// Range of the buffer that has arrived and is not consumed.
    start: usize,
    end: usize,
    /// Bytes of the input before `start`.
    offset: u64,
}

impl Reader {
    /// Reads `input` with `capacity` bytes ahead.
    pub fn new(input: Box<dyn ByteInput>, capacity: usize) -> Reader {
        Reader { input, buffer: vec![0; capacity], start: 0, end: 0, offset: 0 }
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// Whether the input is live.
    pub fn is_live(&self) -> bool {
        self.input.is_live()
    }

    /// Makes the input wait for a new writer. Drops the buffer.
    pub fn reconnect(&mut self) -> Result<()> {
        self.input.reconnect()?;
        self.consume(self.end - self.start);
        Ok(())
    }

    /// Sets the buffer's capacity, at least its current length.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.compact();
        self.buffer.resize(capacity.max(self.end), 0);
        self.buffer.shrink_to_fit();
    }

    /// Bytes of the buffer.
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// Offset in the input of the start of [`Reader::ahead`].
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The buffered bytes.
    pub fn ahead(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The buffered bytes, for a temporary patch.
    pub fn ahead_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// Appends `bytes` to the buffer, as if the input had delivered them. `false` if there is no room.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        self.compact();
        let Some(room) = self.buffer.get_mut(self.end..self.end + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.end += bytes.len();
        true
    }

    /// Whether the buffer is full.
    pub fn is_full(&self) -> bool {
        self.end - self.start == self.buffer.len()
    }

    /// Removes `n` bytes from the front of the buffer.
    pub fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.start);
        self.start += n;
        self.offset += n as u64;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads more into the buffer, which must not be full.
    pub fn more(&mut self, deadline: Instant) -> Result<Arrival> {
        if self.end == self.buffer.len() {
            self.compact();
        }
        debug_assert!(self.end < self.buffer.len());
        let arrival = self.input.read(&mut self.buffer[self.end..], deadline)?;
        if let Arrival::Bytes(n) = arrival {
            self.end += n;
        }
        Ok(arrival)
    }

    /// Reads into `into`: first from the buffer, then from the input without a copy.
    pub fn read(&mut self, into: &mut [u8], deadline: Instant) -> Result<Arrival> {
        let n = into.len().min(self.end - self.start);
        if n > 0 {
            into[..n].copy_from_slice(&self.ahead()[..n]);
            self.consume(n);
            return Ok(Arrival::Bytes(n));
        }
        let arrival = self.input.read(into, deadline)?;
        if let Arrival::Bytes(n) = arrival {
            self.offset += n as u64;
        }
        Ok(arrival)
    }

    fn compact(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
    }
}
