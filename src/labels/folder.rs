//! A folder with a folder for each class, a common form of data sets: `cup/1.jpg`, or `test/cup/1.jpg` with folders
//! `train`, `val` and `test` at the top.
//!
//! All classes are known, because folders cannot state a role.

use std::collections::BTreeSet;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::{Label, Labels};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::source::photos::is_photo;

/// Names of folders that are splits, and the splits.
const SPLITS: [(&str, &str); 5] =
    [("train", "train"), ("training", "train"), ("val", "val"), ("validation", "val"), ("test", "test")];

/// The split of photos in a folder without splits.
const SPLIT: &str = "test";

/// Deepest nesting within a class.
const MAX_DEPTH: usize = 64;

/// The photos below `folder`, with relative paths. It has no column `cluster`.
pub(super) fn read(folder: &Path, cluster: Option<&str>, limits: &Limits) -> Result<Labels> {
    let file = folder.display().to_string();
    let bad = |reason: String| Error::BadInput { subject: file.clone(), reason };
    if let Some(column) = cluster {
        return Err(bad(format!("is a folder, which has no column '{column}'; {}", file_of(&file, ""))));
    }
    let names = folders(folder)?;
    let split_of = |name: &str| SPLITS.iter().find(|(known, _)| *known == name).map(|(_, split)| *split);
    let has_splits = !names.is_empty() && names.iter().all(|name| split_of(name).is_some());
    let mut labels = Labels { file: file.clone(), folders: true, ..Labels::default() };
    let depth = if has_splits { 2 } else { 1 };
    let visible = |entry: &DirEntry| entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.');
    let walk = WalkDir::new(folder).follow_links(true).max_depth(MAX_DEPTH).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(visible) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) if e.loop_ancestor().is_some() => continue,
            Err(e) => {
                let path = e.path().unwrap_or(folder).to_path_buf();
                return Err(Error::io(path, e.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop"))));
            }
        };
        if !entry.file_type().is_file() || !is_photo(entry.file_name()) {
            continue;
        }
        let below = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let Some(path) = below.to_str() else {
            return Err(bad(format!("holds the photo '{}', whose name is no UTF-8; rename it", below.display())));
        };
        let parts: Vec<&str> = path.split('/').collect();
        if parts.len() <= depth {
            let reason =
                format!("holds the photo '{path}' beside the folders of the classes; move it into one of them");
            return Err(bad(reason));
        }
        if labels.photos.len() >= limits.photos {
            let (value, limit) = (labels.photos.len() as u64 + 1, limits.photos as u64);
            return Err(Error::Limit { subject: file, what: "photos", value, limit });
        }
        labels.photos.push(Label {
            path: path.into(),
            class: parts[depth - 1].into(),
            known: true,
            split: if has_splits { split_of(parts[0]).unwrap_or(SPLIT) } else { SPLIT }.into(),
            cluster: None,
        });
    }
    if labels.photos.is_empty() {
        return Err(bad("holds no folder with photos; each class needs a folder of its name".into()));
    }
    Ok(labels)
}

/// Names of the folders in `folder`, hidden ones apart.
fn folders(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let entry = entry.map_err(|e| Error::io(folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.insert(name);
        }
    }
    Ok(names)
}

/// What to do if the class `unknown` is not a class of the bundle.
pub(super) fn remedy(folder: &str, unknown: &str) -> String {
    format!("name folders as the bundle does, or {}", file_of(folder, unknown))
}

/// How to write a file of labels from `folder`, in which the class `unknown` has the role unknown.
fn file_of(folder: &str, unknown: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    format!(
        "write a file of labels with roles and give it as --labels: (cd {} && printf 'path\\tclass\\trole\\tsplit\\n' && \
         find * -type f | awk -F/ -v OFS='\\t' -v u={} '{{c = $(NF - 1); print $0, c, (c == u ? \"unknown\" : \
         \"known\"), \"test\"}}') > labels.tsv",
        quoted(folder),
        quoted(unknown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    fn labels(files: &[&str]) -> Result<Vec<(String, String, String)>> {
        let folder = folder_of(files);
        let labels = Labels::read(folder.path(), None, &Limits::default())?;
        assert!(labels.photos.iter().all(|label| label.known && label.cluster.is_none()));
        Ok(labels.photos.into_iter().map(|l| (l.path, l.class, l.split)).collect())
    }

    fn rows(rows: &[[&str; 3]]) -> Vec<(String, String, String)> {
        rows.iter().map(|[path, class, split]| (path.to_string(), class.to_string(), split.to_string())).collect()
    }

    #[test]
    fn a_folder_is_a_class() {
        let files =
            ["eel/b.PNG", "cup/2.jpg", "cup/1.jpg", "cup/notes.txt", ".hidden/3.jpg", "cup/.4.jpg", "cup/x/5.jpg"];
        let expected = [
            ["cup/1.jpg", "cup", "test"],
            ["cup/2.jpg", "cup", "test"],
            ["cup/x/5.jpg", "cup", "test"],
            ["eel/b.PNG", "eel", "test"],
        ];
        assert_eq!(labels(&files).unwrap(), rows(&expected));
    }

    #[test]
    fn folders_of_splits_may_stand_above() {
        let files = ["train/cup/1.jpg", "val/cup/2.jpg", "test/eel/3.jpg"];
        let expected =
            [["test/eel/3.jpg", "eel", "test"], ["train/cup/1.jpg", "cup", "train"], ["val/cup/2.jpg", "cup", "val"]];
        assert_eq!(labels(&files).unwrap(), rows(&expected));
        // A class may be called like a split, as long as there are others.
        assert_eq!(labels(&["test/1.jpg", "cup/2.jpg"]).unwrap()[1], rows(&[["test/1.jpg", "test", "test"]])[0]);
    }

    #[test]
    fn what_is_no_folder_of_classes_is_refused() {
        let said = |files: &[&str]| labels(files).unwrap_err().to_string();
        assert!(said(&[]).contains("each class needs a folder"));
        assert!(said(&["cup/a.txt"]).contains("no folder with photos"));
        assert!(said(&["cup/1.jpg", "2.jpg"]).contains("'2.jpg' beside"));
        assert!(said(&["train/1.jpg", "val/cup/1.jpg"]).contains("'train/1.jpg' beside"));
        let folder = folder_of(&["cup/1.jpg"]);
        let error = Labels::read(folder.path(), Some("animal"), &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("'animal'") && error.contains("labels.tsv"), "{error}");
    }

    /// The command that a message gives writes a file that is read.
    #[cfg(unix)]
    #[test]
    fn the_command_of_the_message_works() {
        let folder = folder_of(&["cup/1.jpg", "it's new/2.jpg"]);
        let command = file_of(&folder.path().display().to_string(), "it's new");
        let command = command.split_once("--labels: ").unwrap().1.replace(" > labels.tsv", "");
        let ran = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        let labels = Labels::parse("l.tsv", &text, None, &Limits::default()).unwrap();
        let roles: Vec<(&str, bool)> = labels.photos.iter().map(|l| (&l.class[..], l.known)).collect();
        assert_eq!(roles, [("cup", true), ("it's new", false)]);
    }
}
