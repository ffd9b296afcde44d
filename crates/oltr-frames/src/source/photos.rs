//! Finds the photos that a command line names: files, folders, patterns and lists.

mod list;
pub(super) mod names;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::source::patient;
pub use names::EXTENSIONS;
pub use names::is_photo;
use names::{is_system_folder, unread_kind};

/// Deepest nesting of folders. More is a loop or a mistake.
pub(super) const MAX_DEPTH: usize = 32;

/// One photo to be classified, or why there is none.
#[derive(Debug)]
pub enum Input {
    /// The photo in this file.
    File(PathBuf),
    /// The photo on standard input.
    Stdin,
    /// An input without usable photos. The others can still be classified.
    Unusable {
        /// The input.
        input: PathBuf,
        /// Why it gives no photo.
        error: Error,
    },
}

/// Finds the photos of `inputs`, in order:
///
/// - `-` is a photo on standard input;
/// - `@list.txt` is a file with one path per line, each a file or a folder. A byte order mark and Windows line ends are
///   removed. Paths need not be UTF-8;
/// - a folder stands for its files with one of the [`EXTENSIONS`] (upper or lower case), recursively and through
///   symbolic links, sorted by name. Names that begin with a dot and the system's own folders (`@eaDir`,
///   `$RECYCLE.BIN`, `lost+found` and others) are skipped;
/// - a path that does not exist and contains `*`, `?` or `[` is a pattern (`**` for any folders). Its matches are
///   sorted by name, without those that a folder search would skip and the pattern does not name;
/// - any other path is a file.
///
/// An input without usable photos becomes an [`Input::Unusable`]: [`Error::NotFound`] if it does not exist,
/// [`Error::BadInput`] for a folder without photos, a list without paths, or an invalid pattern, [`Error::Io`] if it
/// cannot be read.
///
/// # Errors
/// [`Error::Limit`] for more than `limits.photos`.
pub fn find<P: AsRef<Path>>(inputs: impl IntoIterator<Item = P>, limits: &Limits) -> Result<Vec<Input>> {
    Ok(search(inputs, limits)?.inputs)
}

/// A path that is not UTF-8 as a relative URL that opens it, `lat%E9n.jpg`. `None` for all other paths, which are valid
/// text.
pub fn url_of(path: &Path) -> Option<String> {
    crate::frame::url_of(path)
}

/// Result of [`search`].
#[derive(Debug)]
pub struct Found {
    /// The photos, as [`find`] gives them.
    pub inputs: Vec<Input>,
    /// Unsupported pictures and recordings that were skipped in folders: the number of each kind.
    pub unread: BTreeMap<&'static str, usize>,
}

impl Found {
    /// A sentence about skipped files; `None` if there are none.
    pub fn passed_over(&self) -> Option<String> {
        if self.unread.is_empty() {
            return None;
        }
        let counts: Vec<String> = self.unread.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        Some(format!(
            "passed over in folders, by their names: {}; oltr reads JPEG, PNG, WebP, GIF, BMP, TIFF and PNM: convert \
             pictures, and give recordings to 'ffmpeg -i … -f yuv4mpegpipe - | oltr stream -'",
            counts.join(", ")
        ))
    }
}

/// As [`find`], and also counts unsupported files in folders.
///
/// # Errors
/// As [`find`].
pub fn search<P: AsRef<Path>>(inputs: impl IntoIterator<Item = P>, limits: &Limits) -> Result<Found> {
    let mut finder = Finder { found: Vec::new(), unread: BTreeMap::new(), limits };
    for input in inputs {
        let input = input.as_ref();
        match input.to_str() {
            Some("-") => finder.push(Input::Stdin)?,
            Some(text) if text.starts_with('@') && !input.exists() => finder.list(input, Path::new(&text[1..]))?,
            _ => finder.path(input, true)?,
        }
    }
    Ok(Found { inputs: finder.found, unread: finder.unread })
}

struct Finder<'a> {
    found: Vec<Input>,
    unread: BTreeMap<&'static str, usize>,
    limits: &'a Limits,
}

impl Finder<'_> {
    fn push(&mut self, input: Input) -> Result<()> {
        if self.found.len() >= self.limits.photos {
            return Err(Error::Limit {
                subject: "photos".into(),
                what: "photos",
                value: self.found.len() as u64 + 1,
                limit: self.limits.photos as u64,
            });
        }
        self.found.push(input);
        Ok(())
    }

    fn unusable(&mut self, input: &Path, error: Error) -> Result<()> {
        self.push(Input::Unusable { input: input.into(), error })
    }

    /// A file, a folder or, where `pattern` allows it, a pattern.
    fn path(&mut self, path: &Path, pattern: bool) -> Result<()> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.folder(path),
            Ok(_) => self.push(Input::File(path.into())),
            Err(_) if pattern && is_pattern(path) => self.pattern(path),
            Err(e) => self.unusable(path, Error::io(path, e)),
        }
    }

    fn folder(&mut self, folder: &Path) -> Result<()> {
        let before = self.found.len();
        let entries = walkdir::WalkDir::new(folder)
            .follow_links(true)
            .max_depth(MAX_DEPTH)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|e| e.depth() == 0 || !(e.file_type().is_dir() && is_system_folder(e.file_name())));
        for entry in entries {
            match entry {
                Ok(entry) if !entry.file_type().is_file() || entry.file_name().to_string_lossy().starts_with('.') => {}
                Ok(entry) if is_photo(entry.file_name()) => self.push(Input::File(entry.into_path()))?,
                Ok(entry) => {
                    if let Some(kind) = unread_kind(entry.path()) {
                        *self.unread.entry(kind).or_default() += 1;
                    }
                }
                Err(e) if e.loop_ancestor().is_some() => log::debug!("{e}; passed over"),
                Err(e) => {
                    let path = e.path().unwrap_or(folder).to_path_buf();
                    let cause = e.into_io_error().unwrap_or_else(|| std::io::Error::other("cannot be walked"));
                    // A link that leads nowhere concerns a photo only if it is named like one.
                    let named = path.file_name().is_some_and(is_photo);
                    let hidden = path.strip_prefix(folder).is_ok_and(names::is_in_system_folder);
                    if !hidden && (cause.kind() != std::io::ErrorKind::NotFound || named) {
                        self.unusable(&path, Error::io(&path, cause))?;
                    }
                }
            }
        }
        if self.found.len() == before {
            let reason = format!("holds no photo; a photo is a file named *.{}", EXTENSIONS.join(", *."));
            return self.unusable(folder, Error::BadInput { subject: folder.display().to_string(), reason });
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &Path) -> Result<()> {
        let before = self.found.len();
        let matches = match glob::glob(&pattern.to_string_lossy()) {
            Ok(matches) => matches,
            Err(e) => {
                let reason = format!("not a pattern ({e}); write [[] for a bracket");
                let subject = pattern.display().to_string();
                return self.unusable(pattern, Error::BadInput { subject, reason });
            }
        };
        for path in matches {
            match path {
                Ok(path) if is_passed_over(&path, pattern) => {}
                Ok(path) => self.path(&path, false)?,
                Err(e) => {
                    let path = e.path().to_path_buf();
                    self.unusable(&path, Error::io(&path, e.into()))?;
                }
            }
        }
        if self.found.len() == before {
            return self.unusable(pattern, Error::NotFound { path: pattern.into() });
        }
        Ok(())
    }

    /// The paths in the file `list`, which `input` named.
    fn list(&mut self, input: &Path, list: &Path) -> Result<()> {
        let before = self.found.len();
        let mut text = Vec::new();
        // Bounded: a real list is short, but a wrong path may be endless.
        let most = self.limits.photo_bytes;
        match patient::open(list).and_then(|file| file.take(most + 1).read_to_end(&mut text)) {
            Ok(length) if length as u64 > most => {
                let (subject, value) = (list.display().to_string(), length as u64);
                return self.unusable(input, Error::Limit { subject, what: "photo_bytes", value, limit: most });
            }
            Ok(_) => {}
            Err(e) => return self.unusable(input, Error::io(list, e)),
        }
        if list::is_binary(&text) {
            let reason =
                "is no list but a file of bytes; a list holds one path a line, and a photo is named without @".into();
            return self.unusable(input, Error::BadInput { subject: list.display().to_string(), reason });
        }
        for path in list::paths(&text) {
            self.path(&path, false)?;
        }
        if self.found.len() == before {
            let reason = "names no photo; a list holds one path a line".into();
            return self.unusable(input, Error::BadInput { subject: list.display().to_string(), reason });
        }
        Ok(())
    }
}

fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// Whether a folder search would skip the match `path`, while `pattern` does not name the skipped part.
fn is_passed_over(path: &Path, pattern: &Path) -> bool {
    let said = |name: &std::ffi::OsStr| pattern.iter().any(|part| part == name);
    let hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".") && name != "." && name != "..";
    let folder = path.parent().is_some_and(|folder| {
        folder.iter().any(|name| name != "." && name != ".." && is_system_folder(name) && !said(name))
    });
    // A pattern that begins with a dot asks for hidden files.
    let asked = pattern.file_name().is_some_and(hidden);
    folder || path.file_name().is_some_and(|name| hidden(name) && !asked)
}
