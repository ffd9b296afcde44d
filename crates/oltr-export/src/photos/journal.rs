//! Journal of the answers so far, next to the final file.
//!
//! `FILE.part` has one line for each photo and is append-only, so an interruption damages at most the last line. At the
//! end all lines are written to `FILE` in the order of the photos, and it is replaced atomically.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oltr_frames::text::counted;
use oltr_frames::{Error, Result, atomic};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{About, Each, Entries, Format, Photo, not_ours};

/// Most bytes of a line, with its line feed. An answer of five classes takes a kilobyte. Longer lines are refused,
/// because they could not be read back.
pub const MAX_LINE: u64 = 1 << 20;

/// Interval between syncs. A power cut loses at most this much work, a kill nothing.
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// A file about many photos, while it is being made.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    part: PathBuf,
    file: File,
    end: u64,
    format: Format,
    about: About,
    /// Offset of the last line of each photo, by the hash of its name, and whether it failed.
    photos: HashMap<u128, (u64, bool)>,
    synced: Instant,
}

/// The first line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Head {
    schema: String,
    format: String,
    model: String,
    classes: String,
    /// Whether the entries of the finished file were imported.
    resumed: bool,
}

impl Journal {
    /// Begins the file at `path`. With `resume` it continues an earlier run, finished or not, and retries the photos
    /// that failed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Busy`] if another process writes the same file; [`Error::BadInput`] if `resume` finds a
    /// file of another format or other classes; [`Error::Config`] if `path` is not a regular file.
    pub fn begin(path: &Path, format: Format, about: About, resume: bool) -> Result<Journal> {
        let meta = fs::metadata(path).ok();
        if meta.as_ref().is_some_and(|meta| !meta.is_file()) {
            let reason = "is no regular file, which could take a place at once; name a file";
            return Err(Error::Config(format!("{}: {reason}", path.display())));
        }
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        let io = |e| Error::io(&part, e);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part).map_err(io)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let reason = "another oltr is writing it; wait for its end, or name another --output".into();
                return Err(Error::Busy { path: part, reason });
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let (end, photos, synced) = (0, HashMap::new(), Instant::now());
        let mut journal = Journal { path: path.into(), part, file, end, format, about, photos, synced };
        let head = if resume { journal.read()? } else { None };
        let finished = meta.is_some() && resume;
        if head.is_none() {
            journal.clear()?;
            journal.line(&serde_json::to_string(&journal.head(finished)).map_err(internal)?)?;
        }
        if finished
            && head.is_none_or(|head| head.resumed)
            && let Err(e) = journal.import()
        {
            // The journal has no entries beyond the finished file.
            let _ = fs::remove_file(&journal.part);
            return Err(e);
        }
        Ok(journal)
    }

    fn head(&self, resumed: bool) -> Head {
        let classes = Sha256::digest(self.about.classes.join("\n")).iter().map(|b| format!("{b:02x}")).collect();
        let (format, model) = (self.format.name().into(), self.about.sha256.clone());
        Head { schema: "oltr.part/1".into(), format, model, classes, resumed }
    }

    fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|e| Error::io(&self.part, e))?;
        self.end = 0;
        self.photos.clear();
        Ok(())
    }

    /// Reads the journal of an earlier run up to the first damaged line. `None` if there is none.
    fn read(&mut self) -> Result<Option<Head>> {
        let io = |e| Error::io(&self.part, e);
        let mut reader = BufReader::new(&self.file);
        reader.rewind().map_err(io)?;
        let mut line = Vec::new();
        let (mut end, mut head, mut photos) = (0, None, HashMap::new());
        loop {
            line.clear();
            let length = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).map_err(io)? as u64;
            let Some(text) = line.strip_suffix(b"\n") else { break };
            if head.is_none() {
                let Ok(found) = serde_json::from_slice::<Head>(text) else { break };
                let mine = self.head(found.resumed);
                if found != mine {
                    let reason = "is left of a run with another format, model or classes; repeat that, or run without \
                                  --resume to begin anew";
                    return Err(Error::BadInput { subject: self.part.display().to_string(), reason: reason.into() });
                }
                head = Some(found);
            } else {
                let Ok((name, failed, _)) = serde_json::from_slice::<(String, bool, String)>(text) else { break };
                photos.insert(hash(&name), (end, failed));
            }
            end += length;
        }
        if !line.is_empty() {
            log::warn!(
                "{}: its end is not whole; what it said of {} is kept",
                self.part.display(),
                counted(photos.len(), "photo")
            );
        }
        self.file.set_len(end).map_err(io)?;
        (self.end, self.photos) = (end, photos);
        Ok(head)
    }

    /// Imports entries of the finished file for photos that are not in the journal.
    fn import(&mut self) -> Result<()> {
        let (path, about, layout) = (self.path.clone(), self.about.clone(), self.format.layout());
        layout.entries(&about, &path, &mut |name, failed, entry| match self.photos.contains_key(&hash(name)) {
            true => Ok(()),
            false => self.keep(name, failed, entry),
        })
    }

    fn line(&mut self, text: &str) -> Result<()> {
        let io = |e| Error::io(&self.part, e);
        self.file.seek(SeekFrom::Start(self.end)).map_err(io)?;
        let mut line = Vec::with_capacity(text.len() + 1);
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
        if line.len() as u64 > MAX_LINE {
            let long = format!("what is said of one photo has {} bytes, {MAX_LINE} can be kept", line.len());
            return Err(Error::Config(format!("{}: {long}; ask for fewer classes with --top", self.path.display())));
        }
        self.file.write_all(&line).map_err(io)?;
        self.end += line.len() as u64;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.file.sync_data().map_err(io)?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, failed: bool, entry: &str) -> Result<()> {
        let at = self.end;
        self.line(&serde_json::to_string(&(name, failed, entry)).map_err(internal)?)?;
        self.photos.insert(hash(name), (at, failed));
        Ok(())
    }

    /// Whether the photo `name` was classified, in this run or an earlier one.
    pub fn is_done(&self, name: &str) -> bool {
        self.photos.get(&hash(name)).is_some_and(|(_, failed)| !failed)
    }

    /// Number of photos with an entry.
    pub fn len(&self) -> usize {
        self.photos.len()
    }

    /// Whether no photo has an entry.
    pub fn is_empty(&self) -> bool {
        self.photos.is_empty()
    }

    /// Adds the entry of one photo.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] if the line is too long.
    pub fn add(&mut self, photo: &Photo) -> Result<()> {
        let entry = self.format.layout().entry(&self.about, photo).map_err(|e| Error::io(&self.part, e))?;
        self.keep(photo.name, photo.outcome.is_err(), &entry)
    }

    /// Writes the file: the photos `names` in their order, followed by photos of earlier runs that are not among them.
    ///
    /// # Errors
    /// [`Error::Io`]; the file is then unchanged, and another run can resume.
    pub fn finish<'a>(mut self, names: impl Iterator<Item = &'a str>) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io(&self.part, e))?;
        let mut order = Vec::with_capacity(self.photos.len());
        for name in names {
            order.extend(self.photos.remove(&hash(name)).map(|(at, _)| at));
        }
        let mut rest: Vec<u64> = self.photos.values().map(|(at, _)| *at).collect();
        rest.sort_unstable();
        order.append(&mut rest);
        let (file, layout, about) = (&self.file, self.format.layout(), &self.about);
        atomic::write_with(&self.path, |out| {
            let mut entries = |each: &mut dyn FnMut(&str) -> io::Result<()>| -> io::Result<()> {
                let mut reader = BufReader::with_capacity(1 << 16, file);
                let mut line = Vec::new();
                let mut place = reader.stream_position()?;
                for at in &order {
                    // Most lines follow each other, so the buffer can be kept.
                    reader.seek_relative(at.wrapping_sub(place) as i64)?;
                    line.clear();
                    place = at + (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
                    let (_, _, entry): (String, bool, String) = serde_json::from_slice(&line)?;
                    each(&entry)?;
                }
                Ok(())
            };
            layout.file(about, &mut entries, out)
        })?;
        // A leftover journal would look like an interrupted run.
        fs::remove_file(&self.part).map_err(|e| Error::io(&self.part, e))
    }
}

fn hash(name: &str) -> u128 {
    let hash = Sha256::digest(name);
    hash.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

fn internal(e: serde_json::Error) -> Error {
    Error::Internal(format!("what was found cannot be written as JSON: {e}"))
}

/// Writes entries as the elements of a list of JSON.
pub fn list(entries: &mut Entries, out: &mut dyn Write) -> io::Result<()> {
    let mut first = true;
    entries(&mut |entry| write!(out, "{}\n{entry}", if std::mem::take(&mut first) { "" } else { "," }))?;
    if first { Ok(()) } else { writeln!(out) }
}

/// Calls `each` with every element of the list `key` in the JSON file at `path`. `name` returns the element's name and
/// whether it failed, or why it is invalid. `same` checks the rest of the file, and returns why it does not match.
pub fn entries_of(
    path: &Path,
    key: &'static str,
    format: Format,
    same: impl Fn(&Map<String, Value>) -> std::result::Result<(), &'static str>,
    name: impl Fn(&Map<String, Value>) -> std::result::Result<(String, bool), &'static str>,
    each: &mut Each,
) -> Result<()> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let bad = |why: String| not_ours(path, format, why);
    let mut failed = None;
    let mut element = |image: Map<String, Value>| -> std::result::Result<(), String> {
        let (name, is_failure) = name(&image)?;
        let entry = serde_json::to_string(&image).map_err(|e| e.to_string())?;
        each(&name, is_failure, &entry).map_err(|e| {
            failed = Some(e);
            String::new()
        })
    };
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(file));
    let rest = Document { key, element: &mut element }.deserialize(&mut deserializer);
    if let Some(e) = failed {
        return Err(e);
    }
    match rest {
        Ok((rest, true)) => same(&rest).map_err(|why| bad(why.into())),
        Ok((_, false)) => Err(bad(format!("it has no {key}"))),
        Err(e) => Err(bad(e.to_string())),
    }
}

type Element<'a> = dyn FnMut(Map<String, Value>) -> std::result::Result<(), String> + 'a;

/// A JSON object whose list `key` is read element by element.
struct Document<'a, 'b> {
    key: &'static str,
    element: &'a mut Element<'b>,
}

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = (Map<String, Value>, bool);

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = (Map<String, Value>, bool);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "an object with {}", self.key)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let (mut rest, mut found) = (Map::new(), false);
        while let Some(key) = map.next_key::<String>()? {
            if key == self.key {
                map.next_value_seed(Elements(&mut *self.element))?;
                found = true;
            } else if rest.len() < 64 {
                let value = map.next_value()?;
                rest.insert(key, value);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok((rest, found))
    }
}

struct Elements<'a, 'b>(&'a mut Element<'b>);

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while let Some(image) = list.next_element()? {
            (self.0)(image).map_err(serde::de::Error::custom)?;
        }
        Ok(())
    }
}
