//! Labels: what photos show, from a file or from the names of their folders.
//!
//! A file has a header. Its columns are separated by tabs, commas or semicolons.
//!
//! | column | value |
//! |---|---|
//! | `path` | of the photo, below a folder that is named apart |
//! | `class` | id of its class, or its name |
//! | `role` | `known`, or `unknown` for a photo that should come out as open |
//! | `split` | `train`, `val`, `test` or any other name |
//!
//! The columns may be in any order. Others are ignored, except one that can be named as the cluster: which photos
//! belong together, such as frames of one animal. A folder can replace the file, with one subfolder for each class
//! (`labels/folder.rs`).

mod folder;
mod rows;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path};

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::text::counted;
use rows::Rows;

/// Most bytes of the file: a line of 250 bytes for each of the million photos that `Limits::photos` allows.
const MAX_BYTES: u64 = 256 << 20;

/// Names in a message before it gives only the number of the rest.
const NAMES: usize = 5;

/// Label of one photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Below the folder of photos.
    pub path: String,
    /// Id of its class.
    pub class: String,
    /// Whether the class is known. For the others, open is the right answer.
    pub known: bool,
    /// `train`, `val`, `test`, …
    pub split: String,
    /// Photos with the same value belong together, if there is such a column.
    pub cluster: Option<String>,
}

/// A file of labels, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// One for each photo, in the order of the file. A photo listed twice for a split is here once.
    pub photos: Vec<Label>,
    /// Oddities for people: photos in several splits.
    pub warnings: Vec<String>,
    file: String,
    /// Whether the classes come from the names of folders.
    folders: bool,
}

impl Labels {
    /// Reads the file at `path`, or a folder with a folder for each class. `cluster` is the column of the clusters.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; [`Error::BadInput`] with line and column for an invalid file, or if two
    /// lines of one split contradict each other; [`Error::Limit`] for more than `limits.photos`.
    pub fn read(path: &Path, cluster: Option<&str>, limits: &Limits) -> Result<Labels> {
        if path.is_dir() {
            return folder::read(path, cluster, limits);
        }
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let mut text = String::new();
        let read = BufReader::new(file).take(MAX_BYTES + 1).read_to_string(&mut text);
        let name = path.display().to_string();
        match read {
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err(Error::BadInput {
                subject: name,
                reason: "is not text in UTF-8; save it as tab separated text in UTF-8".into(),
            }),
            Err(e) => Err(Error::io(path, e)),
            Ok(n) if n as u64 > MAX_BYTES => Err(Error::BadInput {
                subject: name,
                reason: format!("is longer than {} MiB; split it", MAX_BYTES >> 20),
            }),
            Ok(_) => Labels::parse(&name, &text, cluster, limits),
        }
    }

    /// Parses `text`. Messages name it `file`.
    ///
    /// # Errors
    /// As [`Labels::read`].
    pub fn parse(file: &str, text: &str, cluster: Option<&str>, limits: &Limits) -> Result<Labels> {
        let bad = |reason: String| Error::BadInput { subject: file.into(), reason };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let first = text.lines().find(|line| !line.trim().is_empty());
        let first = first.ok_or_else(|| bad("is empty; its first line names the columns".into()))?;
        let between = [b'\t', b',', b';'].into_iter().find(|between| first.as_bytes().contains(between));
        let mut header: Option<Columns> = None;
        let mut labels = Labels { file: file.into(), ..Labels::default() };
        for row in Rows::new(text, between.unwrap_or(b'\t')) {
            let (line, record) = row.map_err(|line| bad(format!("line {line}: a quote is not closed")))?;
            let Some(columns) = &header else {
                header = Some(Columns::of(&record, cluster).map_err(bad)?);
                continue;
            };
            let label = columns.label(&record).map_err(|reason| bad(format!("line {line}: {reason}")))?;
            if labels.photos.len() >= limits.photos {
                let (value, limit) = (labels.photos.len() as u64 + 1, limits.photos as u64);
                return Err(Error::Limit { subject: file.into(), what: "photos", value, limit });
            }
            labels.photos.push(label);
        }
        if labels.photos.is_empty() {
            return Err(bad("names no photo".into()));
        }
        labels.settle_duplicates()?;
        labels.check_roles()?;
        Ok(labels)
    }

    /// Keeps one of equal lines, refuses contradictory ones, and notes photos in several splits.
    fn settle_duplicates(&mut self) -> Result<()> {
        // The first line of each photo in each split, and the first of all of each photo.
        let mut lines: HashMap<(&str, &str), usize> = HashMap::with_capacity(self.photos.len());
        let mut firsts: HashMap<&str, usize> = HashMap::new();
        let mut across: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut keep = vec![true; self.photos.len()];
        for (i, label) in self.photos.iter().enumerate() {
            let same = *lines.entry((&label.path, &label.split)).or_insert(i);
            if same != i {
                let same = &self.photos[same];
                if (&same.class, same.known) != (&label.class, label.known) {
                    let reason = format!(
                        "'{}' is listed twice in the split '{}', as '{}' and as '{}'; keep one",
                        label.path, label.split, same.class, label.class
                    );
                    return Err(Error::BadInput { subject: self.file.clone(), reason });
                }
                keep[i] = false;
                continue;
            }
            let first = *firsts.entry(&label.path).or_insert(i);
            if first != i {
                across.entry(&label.path).or_default().extend([&*self.photos[first].split, &*label.split]);
            }
        }
        if let Some((path, splits)) = across.first_key_value() {
            let (n, splits) = (across.len(), some(splits.iter().copied(), " and "));
            self.warnings.push(format!(
                "{}: {n} photo(s) stand in more than one split ('{path}' in {splits}); figures of one split then \
                 say too much good about the other",
                self.file
            ));
        }
        let repeated = keep.iter().filter(|keep| !**keep).count();
        if repeated > 0 {
            self.warnings.push(format!("{}: {repeated} line(s) repeat an earlier one; passed over", self.file));
        }
        let mut keep = keep.into_iter();
        self.photos.retain(|_| keep.next().unwrap_or(true));
        Ok(())
    }

    /// A class cannot be known and unknown at once.
    fn check_roles(&self) -> Result<()> {
        let mut roles: HashMap<(&str, &str), bool> = HashMap::new();
        for label in &self.photos {
            if *roles.entry((&label.split, &label.class)).or_insert(label.known) != label.known {
                let reason = format!("class '{}' is both known and unknown in '{}'", label.class, label.split);
                return Err(Error::BadInput { subject: self.file.clone(), reason });
            }
        }
        Ok(())
    }

    /// The photos of `split`.
    ///
    /// # Errors
    /// [`Error::BadInput`] if there is no such split; the message lists the existing ones.
    pub fn split(&self, split: &str) -> Result<Vec<Label>> {
        let photos: Vec<Label> = self.photos.iter().filter(|label| label.split == split).cloned().collect();
        if photos.is_empty() {
            let splits: BTreeSet<&str> = self.photos.iter().map(|label| label.split.as_str()).collect();
            let splits = some(splits, ", ");
            let reason = format!("has no photo in the split '{split}'; its splits are: {splits}");
            return Err(Error::BadInput { subject: self.file.clone(), reason });
        }
        Ok(photos)
    }

    /// The class of each of `photos` in `bundle`; `None` for the unknown ones.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the known classes that the bundle lacks, or the unknown ones that it has: no answer
    /// could be right for them.
    pub fn resolve(&self, photos: &[Label], bundle: &Bundle) -> Result<Vec<Option<usize>>> {
        let positions = positions(bundle);
        let wrong = |known: bool| -> BTreeMap<&str, usize> {
            let mut wrong = BTreeMap::new();
            for label in photos.iter().filter(|l| l.known == known && positions.contains_key(l.class.as_str()) != known)
            {
                *wrong.entry(label.class.as_str()).or_insert(0) += 1;
            }
            wrong
        };
        let bad = |reason| Error::BadInput { subject: self.file.clone(), reason };
        let missing = wrong(true);
        if !missing.is_empty() {
            let by_name = |name: &&str| bundle.classes.iter().find(|class| class.name == **name);
            let renamed =
                missing.keys().find_map(|name| Some(format!(" (the id of '{name}' is '{}')", by_name(name)?.id)));
            let remedy = match self.folders {
                true => folder::remedy(&self.file, missing.keys().next().copied().unwrap_or_default()),
                false => "give them the role unknown, or take the bundle that was trained on them".into(),
            };
            return Err(bad(format!(
                "has known classes that the bundle '{}' does not have: {}{}; {remedy}",
                bundle.name,
                listed(&missing),
                renamed.unwrap_or_default()
            )));
        }
        let known = wrong(false);
        if !known.is_empty() {
            return Err(bad(format!(
                "has unknown classes that the bundle '{}' knows: {}; give them the role known",
                bundle.name,
                listed(&known)
            )));
        }
        Ok(photos.iter().map(|label| positions.get(label.class.as_str()).copied()).collect())
    }
}

/// The classes of a bundle by id, and by name if the name is unique.
fn positions(bundle: &Bundle) -> HashMap<&str, usize> {
    let mut named: HashMap<&str, Option<usize>> = HashMap::new();
    for (i, class) in bundle.classes.iter().enumerate() {
        // A name of two classes is ambiguous.
        named.entry(&class.name).and_modify(|place| *place = None).or_insert(Some(i));
    }
    let mut positions: HashMap<&str, usize> = named.into_iter().filter_map(|(name, i)| Some((name, i?))).collect();
    positions.extend(bundle.classes.iter().enumerate().map(|(i, c)| (c.id.as_str(), i)));
    positions
}

/// Positions of the columns.
struct Columns {
    names: Vec<String>,
    path: usize,
    class: usize,
    role: usize,
    split: usize,
    cluster: Option<usize>,
}

impl Columns {
    fn of(header: &[Cow<str>], cluster: Option<&str>) -> std::result::Result<Columns, String> {
        let column = |name: &str| {
            let mut found = header.iter().enumerate().filter(|(_, column)| **column == name).map(|(i, _)| i);
            match (found.next(), found.next()) {
                (Some(i), None) => Ok(i),
                (Some(_), Some(_)) => Err(format!("has the column '{name}' twice")),
                (None, _) => Err(format!(
                    "has no column '{name}'; the first line must name at least path, class, role and split, separated \
                     by tabs or commas, and is '{}'",
                    header.join(" ")
                )),
            }
        };
        let [path, class, role, split] = ["path", "class", "role", "split"].map(column);
        Ok(Columns {
            path: path?,
            class: class?,
            role: role?,
            split: split?,
            cluster: cluster.map(column).transpose()?,
            names: header.iter().map(|name| name.to_string()).collect(),
        })
    }

    fn label(&self, fields: &[Cow<str>]) -> std::result::Result<Label, String> {
        if fields.len() != self.names.len() {
            return Err(format!("has {} fields, the header has {}", fields.len(), self.names.len()));
        }
        if let Some(empty) = [self.path, self.class, self.split].into_iter().find(|i| fields[*i].is_empty()) {
            return Err(format!("has no {}", self.names[empty]));
        }
        let known = match &*fields[self.role] {
            "known" => true,
            "unknown" => false,
            other => return Err(format!("role is '{other}', must be known or unknown")),
        };
        Ok(Label {
            path: plain(&fields[self.path]),
            class: fields[self.class].to_string(),
            known,
            split: fields[self.split].to_string(),
            cluster: self.cluster.map(|i| fields[i].to_string()),
        })
    }
}

/// The path without `./` and `//`, so that the same photo has one path.
fn plain(path: &str) -> String {
    let parts: Vec<&str> = Path::new(path)
        .components()
        .filter(|part| *part != Component::CurDir)
        .filter_map(|part| part.as_os_str().to_str())
        .collect();
    match parts.split_first() {
        Some((&"/", rest)) => format!("/{}", rest.join("/")),
        Some(_) => parts.join("/"),
        // `.` alone would become empty.
        None => path.into(),
    }
}

/// The first few of names, and how many more there are.
fn some<'a>(names: impl IntoIterator<Item = &'a str>, between: &str) -> String {
    let mut names = names.into_iter();
    let first: Vec<&str> = names.by_ref().take(NAMES).collect();
    match names.count() {
        0 => first.join(between),
        more => format!("{} and {more} more", first.join(between)),
    }
}

/// Names with their numbers of photos, the first few of them.
fn listed(classes: &BTreeMap<&str, usize>) -> String {
    let some: Vec<String> =
        classes.iter().take(NAMES).map(|(name, n)| format!("'{name}' ({})", counted(*n, "photo"))).collect();
    match classes.len() - some.len() {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Labels> {
        Labels::parse("l.tsv", text, None, &Limits::default())
    }

    #[track_caller]
    fn refused(text: &str, parts: &[&str]) {
        let message = parse(text).unwrap_err().to_string();
        for part in ["l.tsv"].iter().chain(parts) {
            assert!(message.contains(part), "'{part}' is not in: {message}");
        }
    }

    const HEADER: &str = "path\tclass\trole\tsplit\n";

    #[test]
    fn columns_stand_in_any_order_among_others() {
        let text = "\u{feff}split\tcamera\tclass\trole\tpath\r\nval\tn4\tcup\tknown\ta b.jpg\r\n\r\ntest\t\teel\tunknown\tc.jpg\r\n";
        let labels = Labels::parse("l.tsv", text, Some("camera"), &Limits::default()).unwrap();
        let label = |path: &str, class: &str, known, split: &str, cluster: &str| Label {
            path: path.into(),
            class: class.into(),
            known,
            split: split.into(),
            cluster: Some(cluster.into()),
        };
        let expected = [label("a b.jpg", "cup", true, "val", "n4"), label("c.jpg", "eel", false, "test", "")];
        assert_eq!(labels.photos, expected);
        assert!(labels.warnings.is_empty());
    }

    #[test]
    fn what_is_no_file_of_labels_is_refused_with_line_and_column() {
        refused("", &["is empty"]);
        refused("path\tclass\tsplit\n", &["no column 'role'", "path class split"]);
        refused("path|class|role|split\na|b|known|val\n", &["no column 'path'", "tabs"]);
        refused("path\tpath\tclass\trole\tsplit\n", &["'path' twice"]);
        refused(HEADER, &["names no photo"]);
        refused(&format!("{HEADER}a\tb\tknown\n"), &["line 2", "3 fields"]);
        refused(&format!("{HEADER}a\tb\tknown\tval\n\tb\tknown\tval\n"), &["line 3", "no path"]);
        refused(&format!("{HEADER}a\tb\tmaybe\tval\n"), &["line 2", "'maybe'", "known or unknown"]);
        refused(&format!("{HEADER}a\tb\tknown\tval\nc\tb\tunknown\tval\n"), &["'b'", "both known and unknown"]);
        let missing = Labels::parse("l.tsv", &format!("{HEADER}a\tb\tknown\tval\n"), Some("fish"), &Limits::default());
        assert!(missing.unwrap_err().to_string().contains("'fish'"));
    }

    #[test]
    fn photos_in_two_splits_are_warned_about() {
        let labels = parse(&format!("{HEADER}a\tb\tknown\tval\na\tb\tknown\ttest\nc\tb\tknown\ttest\n")).unwrap();
        assert_eq!(labels.photos.len(), 3);
        assert_eq!(labels.warnings.len(), 1);
        for part in ["1 photo(s)", "'a' in test and val"] {
            assert!(labels.warnings[0].contains(part), "{}", labels.warnings[0]);
        }
    }

    #[test]
    fn repeated_lines_count_once_and_contradictions_not_at_all() {
        let labels = parse(&format!("{HEADER}a\tb\tknown\tval\na\tb\tknown\tval\nc\tb\tknown\tval\n")).unwrap();
        assert_eq!(labels.photos.iter().map(|l| &l.path[..]).collect::<Vec<_>>(), ["a", "c"]);
        assert!(labels.warnings[0].contains("1 line(s)"));
        refused(&format!("{HEADER}a\tb\tknown\tval\na\tc\tknown\tval\n"), &["'a'", "'b'", "'c'"]);
    }

    #[test]
    fn the_number_of_photos_is_bounded() {
        let limits = Limits::with(|limits| limits.photos = 1);
        let error = Labels::parse("l.tsv", &format!("{HEADER}a\tb\tknown\tval\nc\tb\tknown\tval\n"), None, &limits);
        assert!(matches!(error, Err(Error::Limit { what: "photos", value: 2, limit: 1, .. })), "{error:?}");
    }

    #[test]
    fn a_split_that_is_not_there_names_those_that_are() {
        let labels = parse(&format!("{HEADER}a\tb\tknown\tval\nc\tb\tknown\ttrain\n")).unwrap();
        assert_eq!(labels.split("val").unwrap().len(), 1);
        let message = labels.split("test").unwrap_err().to_string();
        assert!(message.contains("'test'") && message.contains("train, val"), "{message}");
    }

    #[test]
    fn tables_of_any_program_are_read() {
        let expected = |path: &str, class: &str| Label {
            path: path.into(),
            class: class.into(),
            known: true,
            split: "test".into(),
            cluster: None,
        };
        for text in [
            "path,class,role,split\na.jpg,cup,known,test\n\"b, c.jpg\",\"a \"\"cup\"\"\",known,test\n",
            "\u{feff}path;class;role;split\r\na.jpg;cup;known;test\r\n\"b, c.jpg\";\"a \"\"cup\"\"\";known;test\r\n",
            "path\tclass\trole\tsplit\n\"a.jpg\"\tcup\tknown\ttest\nb, c.jpg\ta \"cup\"\tknown\ttest",
            "\r\n\"path\"\t\"class\"\t\"role\"\t\"split\"\r\na.jpg\tcup\tknown\ttest\r\n\t\t\t\r\nb, c.jpg\ta \"cup\"\tknown\ttest",
        ] {
            let labels = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert_eq!(labels.photos, [expected("a.jpg", "cup"), expected("b, c.jpg", "a \"cup\"")], "{text:?}");
        }
        // Line numbers are those of the file. Empty lines and line ends within quotes count.
        refused("path,class,role,split\n\n\"a\nb\",c,known,test\nd,e,maybe,test\n", &["line 5", "maybe"]);
        // An unclosed quote would take the rest of the file.
        refused("path\tclass\trole\tsplit\n\"a\tb\tknown\ttest\nc\tb\tknown\ttest\n", &["line 2", "quote"]);
    }

    #[test]
    fn one_photo_has_one_path() {
        let same = ["1.jpg", "./1.jpg", "././1.jpg", ".//1.jpg"];
        let lines: String = same.iter().map(|path| format!("{path}\tb\tknown\tval\n")).collect();
        let labels = parse(&format!("{HEADER}{lines}./a//2.jpg\tb\tknown\ttest\na/./2.jpg\tb\tknown\tval\n")).unwrap();
        assert_eq!(labels.photos.iter().map(|l| &l.path[..]).collect::<Vec<_>>(), ["1.jpg", "a/2.jpg", "a/2.jpg"]);
        assert!(labels.warnings[0].contains("'a/2.jpg' in test and val"), "{:?}", labels.warnings);
        assert!(labels.warnings[1].contains("3 line(s)"), "{:?}", labels.warnings);
        assert_eq!(["/a//b", "../a", ".", "/"].map(plain), ["/a/b", "../a", ".", "/"]);
    }

    /// Work and messages grow with the lines, not with their square, and messages stay short.
    #[test]
    fn a_photo_in_very_many_splits() {
        let n = 200_000;
        let lines: String = (0..n).map(|i| format!("c.jpg\ta\tknown\ts{i}\nc.jpg\ta\tknown\ts{i}\n")).collect();
        let labels = parse(&format!("{HEADER}{lines}")).unwrap();
        assert_eq!(labels.photos.len(), n);
        assert!(labels.warnings[0].contains(&format!("and {} more", n - NAMES)), "{}", labels.warnings[0]);
        assert!(labels.warnings.iter().all(|w| w.len() < 500));
        assert!(labels.split("none").unwrap_err().to_string().len() < 500);
    }
}
