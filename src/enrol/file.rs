//! The file of enrolled classes: a line with format and checksum, then JSON.
//!
//! ```text
//! oltr.enrolled/1 <SHA-256 of all that follows, 64 hexadecimal digits>
//! {"graph_sha256":"…","classes":[{"name":"eel","photos":5,"spread":5.25,"centroid":[…]}]}
//! ```

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Enrolled, Enrolments, MAX_CLASSES};
use crate::atomic;
use crate::error::{Error, Result};

/// First word of the file.
const FORMAT: &str = "oltr.enrolled/1";

/// Most bytes of a file: 32 classes with 2048 numbers of up to 16 characters take 1 MiB.
const MAX_BYTES: u64 = 2 << 20;

/// Extension of the file next to a bundle.
const EXTENSION: &str = "enrolled";

#[derive(Serialize, Deserialize)]
struct Content {
    graph_sha256: String,
    classes: Vec<Class>,
}

#[derive(Serialize, Deserialize)]
struct Class {
    name: String,
    photos: usize,
    spread: f32,
    centroid: Vec<f32>,
}

impl Enrolments {
    /// Path of the enrolments of the bundle at `model`: `mine.enrolled` for `mine.onnx`.
    pub fn path_beside(model: &Path) -> PathBuf {
        model.with_extension(EXTENSION)
    }

    /// Reads the file at `path`, which must belong to the graph with the hash `graph_sha256`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; [`Error::BadInput`] for a file of another kind, a damaged one, or one
    /// of another graph.
    pub fn read(path: &Path, graph_sha256: &str) -> Result<Enrolments> {
        let mut text = String::new();
        let bad = |reason: &str| Error::BadInput { subject: path.display().to_string(), reason: reason.into() };
        let mut options = std::fs::OpenOptions::new();
        // Non-blocking: opening a FIFO without a writer would hang.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = options.open(path).map_err(|e| Error::io(path, e))?;
        if file.metadata().is_ok_and(|meta| meta.file_type().is_fifo()) {
            return Err(bad("is a FIFO; enrolled classes are kept in a file"));
        }
        match file.take(MAX_BYTES + 1).read_to_string(&mut text) {
            Err(e) if e.kind() != std::io::ErrorKind::InvalidData => return Err(Error::io(path, e)),
            Ok(n) if n as u64 <= MAX_BYTES => {}
            _ => return Err(bad("is no file of enrolled classes; enrol them again")),
        }
        Enrolments::parse(&text, &path.display().to_string(), graph_sha256)
    }

    /// Reads the text of a file, which messages call `name`.
    ///
    /// # Errors
    /// [`Error::BadInput`] as [`Enrolments::read`].
    pub fn parse(text: &str, name: &str, graph_sha256: &str) -> Result<Enrolments> {
        let bad = |reason: &str| Error::BadInput { subject: name.into(), reason: reason.into() };
        let none = || bad("is no file of enrolled classes of this version; enrol them again");
        let damaged = || bad("is damaged: its checksum is wrong; restore it, or remove it and enrol the classes again");
        let rest = text.strip_prefix(FORMAT).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(none)?;
        let (checksum, content) = rest.split_once('\n').ok_or_else(damaged)?;
        if checksum != hash(content) {
            return Err(damaged());
        }
        let content: Content = serde_json::from_str(content).map_err(|_| none())?;
        if content.graph_sha256 != graph_sha256 {
            return Err(bad(
                "belongs to another network: centroids of one mean nothing to another; enrol the classes again, or \
                 leave them out with --no-enrolled",
            ));
        }
        if content.classes.len() > MAX_CLASSES {
            return Err(none());
        }
        let mut enrolments = Enrolments::new(&content.graph_sha256);
        for class in content.classes {
            enrolments.add(Enrolled::from_parts(&class.name, class.photos, class.spread, class.centroid.into())?)?;
        }
        Ok(enrolments)
    }

    /// Writes the file at `path` atomically.
    ///
    /// # Errors
    /// As [`atomic::write`].
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, self.to_text()?.as_bytes())
    }

    /// The text of a file.
    ///
    /// # Errors
    /// As [`Enrolments::to_json`].
    pub fn to_text(&self) -> Result<String> {
        let content = format!("{}\n", self.to_json()?);
        Ok(format!("{FORMAT} {}\n{content}", hash(&content)))
    }

    /// Hash of the graph and all classes, as JSON.
    ///
    /// # Errors
    /// [`Error::Internal`] if JSON cannot be written, which does not happen.
    pub fn to_json(&self) -> Result<String> {
        let class = |class: &Enrolled| Class {
            name: class.name().into(),
            photos: class.photos,
            spread: class.spread,
            centroid: class.centroid.to_vec(),
        };
        let classes = self.classes.iter().map(class).collect();
        serde_json::to_string(&Content { graph_sha256: self.graph_sha256.clone(), classes })
            .map_err(|e| Error::Internal(e.to_string()))
    }
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolments() -> Enrolments {
        let mut all = Enrolments::new("abc");
        all.add(Enrolled::new("é \"el\"", &[vec![0.1, 1e-7], vec![2.5, -3.0]], 99.0).unwrap()).unwrap();
        all.add(Enrolled::new("b", &[vec![0.0, 1.0], vec![2.0, 1.0]], 99.0).unwrap()).unwrap();
        all
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = Enrolments::path_beside(&folder.path().join("m.onnx"));
        assert!(path.ends_with("m.enrolled"));
        assert!(matches!(Enrolments::read(&path, "abc"), Err(Error::NotFound { .. })));
        enrolments().write(&path).unwrap();
        assert_eq!(Enrolments::read(&path, "abc").unwrap(), enrolments());
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.enrolled");
        enrolments().write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(Enrolments::read(&path, "abc").is_err(), "byte {i}");
            std::fs::write(&path, &whole[..i]).unwrap();
            assert!(Enrolments::read(&path, "abc").is_err(), "cut after {i}");
        }
    }

    #[test]
    fn another_graphs_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.enrolled");
        enrolments().write(&path).unwrap();
        let message = Enrolments::read(&path, "abd").unwrap_err().to_string();
        assert!(message.contains("another network") && message.contains("m.enrolled"), "{message}");
    }

    #[test]
    fn a_file_with_a_right_checksum_and_wrong_numbers_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.enrolled");
        let class = |name: &str, more: &str| format!(r#"{{"name":"{name}","photos":5,{more}}}"#);
        let good = class("a", r#""spread":1,"centroid":[0,1]"#);
        for classes in [
            class("a", r#""spread":-1,"centroid":[0,1]"#),
            class("a", r#""spread":1e99,"centroid":[0,1]"#),
            class("", r#""spread":1,"centroid":[0,1]"#),
            class("a", r#""spread":1,"centroid":[]"#),
            format!("{good},{}", class("b", r#""spread":1,"centroid":[0,1,2]"#)),
            vec![good.as_str(); MAX_CLASSES + 1].join(","),
            "7".into(),
        ] {
            let content = format!(r#"{{"graph_sha256":"abc","classes":[{classes}]}}"#);
            std::fs::write(&path, format!("{FORMAT} {}\n{content}", hash(&content))).unwrap();
            assert!(Enrolments::read(&path, "abc").is_err(), "{content}");
        }
    }
}
