//! The lines that `oltr classify --json` prints, with the photo's name in the file as `source`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use oltr_frames::{Error, Result};
use serde::Deserialize;

use super::journal::MAX_LINE;
use super::{About, Each, Entries, Format, Layout, OTHER_MODEL, Photo, not_ours};

pub struct JsonLines;

#[derive(Deserialize)]
struct Head {
    schema: String,
    source: String,
    /// Not in a line about a photo that could not be read.
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    sha256: String,
}

impl Layout for JsonLines {
    fn entry(&self, _: &About, photo: &Photo) -> io::Result<String> {
        Ok(photo.line.trim_end().to_string())
    }

    fn file(&self, _: &About, entries: &mut Entries, out: &mut dyn Write) -> io::Result<()> {
        entries(&mut |entry| writeln!(out, "{entry}"))
    }

    fn entries(&self, about: &About, path: &Path, each: &mut Each) -> Result<()> {
        let mut reader = BufReader::new(File::open(path).map_err(|e| Error::io(path, e))?);
        let (mut line, bad) = (String::new(), |e: &dyn std::fmt::Display| not_ours(path, Format::Json, e));
        loop {
            line.clear();
            match (&mut reader).take(MAX_LINE).read_line(&mut line) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(bad(&e)),
                Err(e) => return Err(Error::io(path, e)),
            }
            let text = line.trim_end();
            let head: Head = serde_json::from_str(text).map_err(|e| bad(&e))?;
            if head.model.is_some_and(|model| model.sha256 != about.sha256) {
                return Err(bad(&OTHER_MODEL));
            }
            each(&head.source, head.schema == "oltr.error/1", text)?;
        }
    }
}
