//! Reads small files of the command line: lists and tables.

use std::path::Path;

use oltr::bundle::{Bundle, Taxonomy};
use oltr::decide::listed::{Listed, MAX_LIST};
use oltr::text::counted;
use oltr::{Error, Result};

/// The text of the file at `path`, which is at most `most` bytes long.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Io`]; [`Error::BadInput`] for a file that is too long.
pub fn text(path: &Path, most: u64) -> Result<String> {
    let size = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    if size > most {
        let reason = format!("is longer than {} MiB", most >> 20);
        return Err(Error::BadInput { subject: path.display().to_string(), reason });
    }
    std::fs::read_to_string(path).map_err(|e| Error::io(path, e))
}

/// The table of taxa at `path`; `None` without a path.
///
/// # Errors
/// As [`text`] and [`Taxonomy::from_table`].
pub fn taxonomy(path: Option<&Path>) -> Result<Option<Taxonomy>> {
    let read = |path: &Path| {
        let table = text(path, oltr::bundle::taxonomy::MAX_TABLE)?;
        Taxonomy::from_table(&path.display().to_string(), &table)
    };
    path.map(read).transpose()
}

/// The species list at `path` for the classes of `bundle`. Logs how many classes remain.
///
/// # Errors
/// As [`text`] and [`Listed::read`].
pub fn listed(path: Option<&Path>, bundle: &Bundle) -> Result<Option<Listed>> {
    let Some(path) = path else { return Ok(None) };
    let listed = Listed::read(&path.display().to_string(), &text(path, MAX_LIST)?, bundle)?;
    let strangers = match listed.strangers() {
        0 => String::new(),
        n => format!("; {n} of its lines name none"),
    };
    let classes = counted(listed.of(), "class");
    log::warn!("{}: answers are of {} of {classes}{strangers}", path.display(), listed.classes());
    Ok(Some(listed))
}
