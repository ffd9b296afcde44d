//! Where the bytes of a model file are: in memory, or in a file, of which only what is asked for is read.
//!
//! Weights are most of a model, and are done with once they are packed. Read one tensor at a time, the file's never
//! lie in memory together with the packed ones.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// The bytes of a model file.
#[derive(Debug)]
pub(super) struct Origin<'a> {
    place: Place<'a>,
    /// What went wrong first when parts were read: see [`Origin::check`].
    failure: OnceLock<io::Error>,
}

#[derive(Debug)]
enum Place<'a> {
    Memory(Cow<'a, [u8]>),
    File { file: File, path: PathBuf, first: u64, length: u64, modified: Option<SystemTime> },
}

impl<'a> Origin<'a> {
    /// Bytes in memory.
    pub fn memory(bytes: impl Into<Cow<'a, [u8]>>) -> Origin<'a> {
        Origin { place: Place::Memory(bytes.into()), failure: OnceLock::new() }
    }

    /// `length` bytes of `file` from `first` on; `path` is its name, for messages.
    pub fn part(file: File, path: &Path, first: u64, length: u64) -> Origin<'a> {
        let modified = modified(&file);
        Origin { place: Place::File { file, path: path.into(), first, length, modified }, failure: OnceLock::new() }
    }

    /// The file at `path`, whose size is held against [`Limits::model_bytes`] before anything is allocated.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`], [`Error::Limit`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Origin<'a>> {
        let io = |cause| Error::io(path, cause);
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let most = limits.model_bytes;
        let within = |value| match value <= most {
            true => Ok(()),
            false => Err(Error::Limit { subject: path.display().to_string(), what: "model_bytes", value, limit: most }),
        };
        if metadata.is_dir() {
            return Err(folder(path));
        }
        within(metadata.len())?;
        if metadata.is_file() {
            return Ok(Origin::part(file, path, 0, metadata.len()));
        }
        // A pipe has no length, and gives its bytes once: read one more than allowed to notice.
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
        within(bytes.len() as u64)?;
        Ok(Origin::memory(bytes))
    }

    /// Number of bytes.
    pub fn length(&self) -> u64 {
        match &self.place {
            Place::Memory(bytes) => bytes.len() as u64,
            Place::File { length, .. } => *length,
        }
    }

    /// All bytes in order.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stream(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match &self.place {
            Place::Memory(bytes) => Box::new(&bytes[..]),
            Place::File { file, first, length, .. } => {
                let mut file = file;
                file.seek(SeekFrom::Start(*first)).map_err(|cause| self.error(cause))?;
                Box::new(file.take(*length))
            }
        })
    }

    /// Bytes `range`, which there are. Zeros where they cannot be read, which [`Origin::check`] tells afterwards: whoever
    /// asks is deep in a look at a graph, where a part that is missing is no reason to look for another way.
    pub fn bytes(&self, range: &Range<u64>) -> Cow<'_, [u8]> {
        match &self.place {
            Place::Memory(bytes) => Cow::Borrowed(&bytes[range.start as usize..range.end as usize]),
            Place::File { file, first, .. } => {
                let mut file = file;
                let mut bytes = vec![0; (range.end - range.start) as usize];
                if self.failure.get().is_none() {
                    let read =
                        file.seek(SeekFrom::Start(first + range.start)).and_then(|_| file.read_exact(&mut bytes));
                    if let Err(cause) = read {
                        bytes.fill(0);
                        self.failure.get_or_init(|| cause);
                    }
                }
                Cow::Owned(bytes)
            }
        }
    }

    /// Whether all that was read so far is what the file holds.
    ///
    /// # Errors
    /// [`Error::Io`] if a part could not be read or the file was written to meanwhile.
    pub fn check(&self) -> Result<()> {
        if let Some(cause) = self.failure.get() {
            return Err(self.error(io::Error::new(cause.kind(), cause.to_string())));
        }
        match &self.place {
            Place::File { file, modified: before, .. } if modified(file) != *before => {
                Err(self.error(io::Error::other("was written to while it was loaded; load it again")))
            }
            _ => Ok(()),
        }
    }

    /// What the system said of the file.
    pub fn error(&self, cause: io::Error) -> Error {
        match &self.place {
            Place::Memory(_) => Error::io("a model in memory", cause),
            Place::File { path, .. } => Error::io(path, cause),
        }
    }
}

fn modified(file: &File) -> Option<SystemTime> {
    file.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Bytes of a constant: its own, or those of the file, which are read when they are asked for.
#[derive(Clone, Debug)]
pub(super) enum Raw<'a> {
    Own(Vec<u8>),
    At(&'a Origin<'a>, Range<u64>),
}

impl<'a> Raw<'a> {
    pub fn len(&self) -> usize {
        match self {
            Raw::Own(bytes) => bytes.len(),
            Raw::At(_, range) => (range.end - range.start) as usize,
        }
    }

    pub fn get(&self) -> Cow<'_, [u8]> {
        match self {
            Raw::Own(bytes) => Cow::Borrowed(bytes),
            Raw::At(origin, range) => origin.bytes(range),
        }
    }

    /// The same as signed bytes.
    pub fn signed(&self) -> Cow<'_, [i8]> {
        match self.get() {
            Cow::Borrowed(bytes) => Cow::Borrowed(bytemuck::cast_slice(bytes)),
            Cow::Owned(bytes) => Cow::Owned(bytemuck::cast_vec(bytes)),
        }
    }
}

/// Numbers: the few that are looked at again and again, such as scales, in memory, and weights in the file, like their bytes.
#[derive(Clone, Debug)]
pub(super) enum F32Values<'a> {
    Own(Vec<f32>),
    File(Raw<'a>),
}

impl<'a> F32Values<'a> {
    /// Bytes of a file that are kept in memory: scales of 4096 channels.
    const KEPT: usize = 16 << 10;

    /// The numbers that `raw` holds.
    pub fn of_file(raw: Raw<'a>) -> F32Values<'a> {
        let values = F32Values::File(raw);
        match values.len() * size_of::<f32>() <= F32Values::KEPT {
            true => F32Values::Own(values.get().into_owned()),
            false => values,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            F32Values::Own(values) => values.len(),
            F32Values::File(raw) => raw.len() / size_of::<f32>(),
        }
    }

    pub fn get(&self) -> Cow<'_, [f32]> {
        match self {
            F32Values::Own(values) => Cow::Borrowed(values),
            F32Values::File(raw) => Cow::Owned(wide(&raw.get(), f32::from_le_bytes)),
        }
    }
}

impl From<Vec<f32>> for F32Values<'_> {
    fn from(values: Vec<f32>) -> Self {
        F32Values::Own(values)
    }
}

/// Numbers of `N` bytes each, of which a last one that is not whole is left out.
pub(super) fn wide<T, const N: usize>(raw: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|bytes| from(*bytes)).collect()
}

/// What to say of a folder where a model belongs.
fn folder(path: &Path) -> Error {
    let named = |entry: std::fs::DirEntry| {
        let is_model = entry.path().extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
        is_model.then(|| entry.path().display().to_string())
    };
    let entries = std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| entry.ok());
    let found: Vec<String> = entries.filter_map(named).collect();
    let reason = match (found.len(), found.iter().min()) {
        (1, Some(only)) => format!("is a folder; name the model in it: {only}"),
        (models, Some(first)) => format!("is a folder with {models} models; name one, as {first}"),
        (_, None) => "is a folder without an .onnx file; give the file of the model, NAME.onnx".into(),
    };
    Error::BadModel { model: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::super::{Options, load};
    use super::*;
    use crate::error::ErrorKind;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_file_gives_what_memory_gives() {
        let bytes: Vec<u8> = (0..=255).collect();
        let file = file(&bytes);
        let limits = Limits::default();
        let part = Origin::part(File::open(file.path()).unwrap(), file.path(), 10, 100);
        for (origin, bytes) in [
            (Origin::memory(&bytes[..]), &bytes[..]),
            (Origin::open(file.path(), &limits).unwrap(), &bytes),
            (part, &bytes[10..110]),
        ] {
            let mut all = Vec::new();
            origin.stream().unwrap().read_to_end(&mut all).unwrap();
            assert_eq!((&all[..], origin.length()), (bytes, bytes.len() as u64));
            for range in [7..9, 0..bytes.len(), 3..3, 90..100] {
                let raw = Raw::At(&origin, range.start as u64..range.end as u64);
                assert_eq!((&raw.get()[..], raw.len()), (&bytes[range.clone()], range.len()));
                assert!(raw.signed().iter().map(|b| *b as u8).eq(bytes[range].iter().copied()));
            }
            // In order once more, after parts were read.
            all.clear();
            origin.stream().unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(all, bytes);
            origin.check().unwrap();
        }
    }

    #[test]
    fn many_numbers_stay_in_the_file() {
        for (count, kept) in [(0, true), (3, true), (4096, true), (4097, false)] {
            let numbers: Vec<f32> = (0..count).map(|n| n as f32 / 7.0).collect();
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).chain([1]).collect();
            let file = file(&bytes);
            let origin = Origin::open(file.path(), &Limits::default()).unwrap();
            let values = F32Values::of_file(Raw::At(&origin, 0..bytes.len() as u64));
            assert_eq!(matches!(values, F32Values::Own(_)), kept, "{count}");
            assert_eq!((values.len(), &values.get()[..]), (numbers.len(), &numbers[..]));
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let file = file(&[1; 100]);
        let origin = Origin::open(file.path(), &Limits::default()).unwrap();
        assert_eq!(*origin.bytes(&(90..100)), [1; 10]);
        origin.check().unwrap();
        fs::File::options().write(true).open(file.path()).unwrap().set_len(95).unwrap();
        assert_eq!(*origin.bytes(&(90..100)), [0; 10]);
        // Nor is anything after it believed.
        assert_eq!(*origin.bytes(&(0..2)), [0; 2]);
        let error = origin.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }

    #[test]
    fn a_file_that_is_written_to_is_noticed() {
        let file = file(&[1; 100]);
        let origin = Origin::open(file.path(), &Limits::default()).unwrap();
        origin.check().unwrap();
        let writer = fs::File::options().write(true).open(file.path()).unwrap();
        writer.set_modified(SystemTime::now() + Duration::from_secs(2)).unwrap();
        let error = origin.check().unwrap_err();
        assert!(error.to_string().contains("written to while it was loaded"), "{error}");
    }

    #[test]
    fn nothing_is_loaded_of_a_file_that_is_written_to() {
        let file = file(&fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graphs/lite0s.qdq.onnx")).unwrap());
        let origin = Origin::open(file.path(), &Limits::default()).unwrap();
        let load = || load::load("lite0s", &origin, &Options::default());
        load().unwrap();
        let writer = fs::File::options().write(true).open(file.path()).unwrap();
        writer.set_modified(SystemTime::now() + Duration::from_secs(2)).unwrap();
        let error = load().unwrap_err();
        assert!(error.to_string().contains("written to while it was loaded"), "{error}");
    }

    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        let file = file(&[1; 100]);
        let limits = |bytes| Limits::with(|limits| limits.model_bytes = bytes);
        assert_eq!(Origin::open(file.path(), &limits(100)).unwrap().length(), 100);
        let error = Origin::open(file.path(), &limits(99)).unwrap_err();
        assert!(matches!(error, Error::Limit { what: "model_bytes", value: 100, limit: 99, .. }), "{error}");
    }
}
