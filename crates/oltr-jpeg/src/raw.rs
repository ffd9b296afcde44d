//! Sources of a picture's bytes: memory, a reader, or a file that is read at several offsets.

use std::io::{self, Read};

use super::fault::Failure;

/// Reads from a file at an offset. Any length is allowed; 0 means the end.
pub type ReadAt<'a> = &'a dyn Fn(&mut [u8], u64) -> io::Result<usize>;

/// The bytes of a file from some place on.
pub enum Raw<'a> {
    /// All bytes in memory.
    Whole(&'a [u8]),
    /// A part in memory, and a reader for the rest.
    Parts(Parts<&'a mut dyn Read>),
    /// A part in memory, and a file with an offset.
    At(Parts<(ReadAt<'a>, u64)>),
}

/// Bytes in memory, and the source of more.
pub struct Parts<From> {
    part: Vec<u8>,
    /// Bytes before those.
    passed: usize,
    /// Bytes per read.
    piece: usize,
    from: From,
}

impl<'a> Raw<'a> {
    /// `part`, followed by the bytes of `rest`, read `piece` bytes at a time.
    pub fn parts(part: Vec<u8>, rest: &'a mut dyn Read, piece: usize) -> Raw<'a> {
        Raw::Parts(Parts { part, passed: 0, piece, from: rest })
    }

    /// The bytes of a file from `first` on.
    pub fn at(file: ReadAt<'a>, first: u64, piece: usize) -> Raw<'a> {
        Raw::At(Parts { part: Vec::new(), passed: 0, piece, from: (file, first) })
    }

    /// The next ones, as many as there are in memory.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Raw::Whole(bytes) => bytes,
            Raw::Parts(parts) => &parts.part,
            Raw::At(parts) => &parts.part,
        }
    }

    /// Number of bytes before those in memory.
    pub fn passed(&self) -> usize {
        match self {
            Raw::Whole(_) => 0,
            Raw::Parts(parts) => parts.passed,
            Raw::At(parts) => parts.passed,
        }
    }

    /// Appends more bytes to those from `from` on, which move to the front. Returns whether there were
    /// any.
    pub fn advance(&mut self, from: &mut usize) -> Result<bool, Failure> {
        match self {
            Raw::Whole(_) => Ok(false),
            Raw::Parts(parts) => parts.advance(from, |rest, into| rest.read(into)),
            Raw::At(parts) => parts.advance(from, |(file, next), into| {
                let read = file(into, *next)?;
                *next += read as u64;
                Ok(read)
            }),
        }
    }
}

impl<From> Parts<From> {
    fn advance(
        &mut self,
        from: &mut usize,
        mut read: impl FnMut(&mut From, &mut [u8]) -> io::Result<usize>,
    ) -> Result<bool, Failure> {
        // A search may begin after the bytes in memory.
        let passed = (*from).min(self.part.len());
        self.part.drain(..passed);
        self.passed += passed;
        *from -= passed;
        let before = self.part.len();
        self.part.resize(before + self.piece, 0);
        let read = loop {
            match read(&mut self.from, &mut self.part[before..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.part.truncate(before + *read.as_ref().unwrap_or(&0));
        Ok(read.map_err(Failure::Io)? > 0)
    }
}
