//! The lines that `oltr classify --json` prints, with the photo's name in the file as `source`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use oltr_frames::{Error, Result};
use serde::Deserialize;

use super::{About, Each, Entries, Layout, Photo};

pub struct JsonLines;

#[derive(Deserialize)]
struct Head {
    schema: String,
    source: String,
}

impl Layout for JsonLines {
    fn entry(&self, _: &About, photo: &Photo) -> io::Result<String> {
        Ok(photo.line.trim_end().to_string())
    }

    fn file(&self, _: &About, entries: &mut Entries, out: &mut dyn Write) -> io::Result<()> {
        entries(&mut |entry| writeln!(out, "{entry}"))
    }

    fn entries(&self, _: &About, path: &Path, each: &mut Each) -> Result<()> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|e| Error::io(path, e))?;
            let head: Head = serde_json::from_str(&line).map_err(|e| {
                let reason = format!("is no file of --format json ({e}); name another --output");
                Error::BadInput { subject: path.display().to_string(), reason }
            })?;
            each(&head.source, head.schema == "oltr.error/1", &line)?;
        }
        Ok(())
    }
}
