//! What a command line names as photos: files, folders, patterns and lists.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::limits::Limits;

/// Extensions, in lower case, of the files that a folder is searched for.
pub const EXTENSIONS: [&str; 14] =
    ["bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"];

/// Folders within folders that are entered: more are a loop, or a mistake.
const MAX_DEPTH: usize = 32;

/// One photo to be classified, or why there is none.
#[derive(Debug)]
pub enum Input {
    /// The photo in this file.
    File(PathBuf),
    /// The photo on standard input.
    Stdin,
    /// Nothing, in the place of what was named; the rest can still be classified.
    Unusable {
        /// What was named.
        input: PathBuf,
        /// Why it gives no photo.
        error: Error,
    },
}

/// Finds the photos that `inputs` name, in the order of `inputs`:
///
/// - `-` is the photo on standard input;
/// - `@list.txt` is a file with one path a line, each a file or a folder;
/// - a folder stands for the files in it with one of the [`EXTENSIONS`] (upper or lower case), folders in it included
///   and symbolic links followed, sorted by name; names that begin with a dot are passed over;
/// - a path that does not exist and has `*`, `?` or `[` in it is a pattern (`**` for any folders), whose matches are
///   taken sorted by name;
/// - anything else is a file, whatever its name.
///
/// An input that names nothing usable is an [`Input::Unusable`] in its place: [`Error::NotFound`] for what does not
/// exist, [`Error::BadInput`] for a folder without photos, a list without paths, or a pattern that is none,
/// [`Error::Io`] for what cannot be read.
///
/// # Errors
/// [`Error::Limit`] for more than `limits.photos`.
pub fn find<P: AsRef<Path>>(inputs: impl IntoIterator<Item = P>, limits: &Limits) -> Result<Vec<Input>> {
    let mut finder = Finder { found: Vec::new(), limits };
    for input in inputs {
        let input = input.as_ref();
        match input.to_str() {
            Some("-") => finder.push(Input::Stdin)?,
            Some(text) if text.starts_with('@') && !input.exists() => finder.list(input, Path::new(&text[1..]))?,
            _ => finder.path(input, true)?,
        }
    }
    Ok(finder.found)
}

struct Finder<'a> {
    found: Vec<Input>,
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
            .filter_entry(|e| e.depth() == 0 || !e.file_name().to_string_lossy().starts_with('.'));
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_type().is_file() && has_photo_extension(entry.path()) => {
                    self.push(Input::File(entry.into_path()))?;
                }
                Ok(_) => {}
                Err(e) if e.loop_ancestor().is_some() => log::debug!("{e}; passed over"),
                Err(e) => {
                    let path = e.path().unwrap_or(folder).to_path_buf();
                    let cause = e.into_io_error().unwrap_or_else(|| std::io::Error::other("cannot be walked"));
                    // A link that leads nowhere concerns a photo only if it is named like one.
                    if cause.kind() != std::io::ErrorKind::NotFound || has_photo_extension(&path) {
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
        let file = match fs::File::open(list) {
            Ok(file) => file,
            Err(e) => return self.unusable(input, Error::io(list, e)),
        };
        // Bounded, as lines are: a list is short, and what was named by mistake may be endless.
        for line in BufReader::new(file.take(self.limits.photo_bytes)).lines() {
            match line {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => self.path(Path::new(&line), false)?,
                Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                    let reason = "not a text in UTF-8; a list holds one path a line".into();
                    return self.unusable(input, Error::BadInput { subject: list.display().to_string(), reason });
                }
                Err(e) => return self.unusable(input, Error::io(list, e)),
            }
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

/// Whether a file in a folder counts as a photo: it has one of the [`EXTENSIONS`], and no dot before its name.
pub(crate) fn is_photo(path: &Path) -> bool {
    has_photo_extension(path) && path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
}

fn has_photo_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}
