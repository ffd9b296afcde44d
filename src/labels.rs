//! The file that says what photos show: tab separated, with a header.
//!
//! | column | value |
//! |---|---|
//! | `path` | of the photo, below a folder that is named apart |
//! | `class` | id of its class |
//! | `role` | `known`, or `unknown` for what shall come out as open |
//! | `split` | `train`, `val`, `test` or any other name |
//!
//! The columns may stand in any order; others are passed over, but for one that can be named to say which photos
//! belong together (frames of one animal).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Longest file that is read: a line of 250 bytes for each of the million photos that `Limits::photos` allows.
const MAX_BYTES: u64 = 256 << 20;

/// How many names a message lists before it says how many more there are.
const NAMES: usize = 5;

/// What one photo shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Below the folder of photos.
    pub path: String,
    /// Id of its class.
    pub class: String,
    /// Whether the class is known; open is the right answer for the others.
    pub known: bool,
    /// `train`, `val`, `test`, …
    pub split: String,
    /// Photos with the same value belong together, where a column says so.
    pub cluster: Option<String>,
}

/// A file of labels, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// One for each photo, in the order of the file; a photo that is listed twice for a split is here once.
    pub photos: Vec<Label>,
    /// What is odd, for people: photos in several splits.
    pub warnings: Vec<String>,
    file: String,
}

impl Labels {
    /// Reads the file at `path`; `cluster` is the column that says which photos belong together.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`]; [`Error::BadInput`] naming line and column for what is not as described
    /// above, or for a photo that two lines of one split contradict each other about; [`Error::Limit`] for more than
    /// `limits.photos`.
    pub fn read(path: &Path, cluster: Option<&str>, limits: &Limits) -> Result<Labels> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let mut text = String::new();
        let read = BufReader::new(file).take(MAX_BYTES + 1).read_to_string(&mut text);
        let name = path.display().to_string();
        match read {
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err(Error::BadInput {
                subject: name,
                reason: "is not text in UTF-8; save it as tab separated text".into(),
            }),
            Err(e) => Err(Error::io(path, e)),
            Ok(n) if n as u64 > MAX_BYTES => Err(Error::BadInput {
                subject: name,
                reason: format!("is longer than {} MiB; split it", MAX_BYTES >> 20),
            }),
            Ok(_) => Labels::parse(&name, &text, cluster, limits),
        }
    }

    /// Reads `text`; `file` stands for it in messages.
    ///
    /// # Errors
    /// As [`Labels::read`].
    pub fn parse(file: &str, text: &str, cluster: Option<&str>, limits: &Limits) -> Result<Labels> {
        let bad = |reason: String| Error::BadInput { subject: file.into(), reason };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, header) = lines.next().ok_or_else(|| bad("is empty; its first line names the columns".into()))?;
        let header: Vec<&str> = header.split('\t').map(str::trim).collect();
        let column = |name: &str| {
            let mut found = header.iter().enumerate().filter(|(_, column)| **column == name).map(|(i, _)| i);
            match (found.next(), found.next()) {
                (Some(i), None) => Ok(i),
                (Some(_), Some(_)) => Err(bad(format!("has the column '{name}' twice"))),
                (None, _) => Err(bad(format!(
                    "has no column '{name}'; the first line must name at least path, class, role and split, separated \
                     by tabs, and is '{}'{}",
                    header.join(" "),
                    if header.len() == 1 { "; it has no tab: save the file as tab separated text" } else { "" }
                ))),
            }
        };
        let [path, class, role, split] = ["path", "class", "role", "split"].map(column);
        let (path, class, role, split) = (path?, class?, role?, split?);
        let cluster = cluster.map(column).transpose()?;

        let mut labels = Labels { file: file.into(), ..Labels::default() };
        for (number, line) in lines {
            let at = |reason: String| bad(format!("line {}: {reason}", number + 1));
            let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
            if fields.len() != header.len() {
                return Err(at(format!("has {} fields, the header has {}", fields.len(), header.len())));
            }
            if let Some(empty) = [path, class, split].into_iter().find(|i| fields[*i].is_empty()) {
                return Err(at(format!("has no {}", header[empty])));
            }
            let known = match fields[role] {
                "known" => true,
                "unknown" => false,
                other => return Err(at(format!("role is '{other}', must be known or unknown"))),
            };
            if labels.photos.len() >= limits.photos {
                let (value, limit) = (labels.photos.len() as u64 + 1, limits.photos as u64);
                return Err(Error::Limit { subject: file.into(), what: "photos", value, limit });
            }
            labels.photos.push(Label {
                path: fields[path].into(),
                class: fields[class].into(),
                known,
                split: fields[split].into(),
                cluster: cluster.map(|i| fields[i].to_string()),
            });
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
        let mut splits: HashMap<&str, Vec<&Label>> = HashMap::new();
        let mut repeated = Vec::new();
        let mut across: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (i, label) in self.photos.iter().enumerate() {
            let before = splits.entry(&label.path).or_default();
            if let Some(same) = before.iter().find(|other| other.split == label.split) {
                if (&same.class, same.known) != (&label.class, label.known) {
                    let reason = format!(
                        "'{}' is listed twice in the split '{}', as '{}' and as '{}'; keep one",
                        label.path, label.split, same.class, label.class
                    );
                    return Err(Error::BadInput { subject: self.file.clone(), reason });
                }
                repeated.push(i);
            } else if let Some(other) = before.first() {
                across.entry(&label.path).or_default().extend([other.split.as_str(), label.split.as_str()]);
            }
            before.push(label);
        }
        if let Some((path, splits)) = across.first_key_value() {
            let splits: Vec<&str> = splits.iter().copied().collect();
            let (n, splits) = (across.len(), splits.join(" and "));
            self.warnings.push(format!(
                "{}: {n} photo(s) stand in more than one split ('{path}' in {splits}); figures of one split then \
                 say too much good about the other",
                self.file
            ));
        }
        if !repeated.is_empty() {
            self.warnings.push(format!("{}: {} line(s) repeat an earlier one; passed over", self.file, repeated.len()));
        }
        drop(splits);
        for i in repeated.into_iter().rev() {
            self.photos.remove(i);
        }
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
    /// [`Error::BadInput`] naming the splits of the file where there is none.
    pub fn split(&self, split: &str) -> Result<Vec<Label>> {
        let photos: Vec<Label> = self.photos.iter().filter(|label| label.split == split).cloned().collect();
        if photos.is_empty() {
            let splits: BTreeSet<&str> = self.photos.iter().map(|label| label.split.as_str()).collect();
            let splits = splits.into_iter().collect::<Vec<_>>().join(", ");
            let reason = format!("has no photo in the split '{split}'; its splits are: {splits}");
            return Err(Error::BadInput { subject: self.file.clone(), reason });
        }
        Ok(photos)
    }

    /// The class of each of `photos` among those of `bundle`, `None` for the unknown ones.
    ///
    /// # Errors
    /// [`Error::BadInput`] listing the known classes that the bundle does not have, or the unknown ones that it has:
    /// either way no answer would be right.
    pub fn resolve(&self, photos: &[Label], bundle: &Bundle) -> Result<Vec<Option<usize>>> {
        let places: HashMap<&str, usize> = bundle.classes.iter().enumerate().map(|(i, c)| (c.id.as_str(), i)).collect();
        let wrong = |known: bool| -> BTreeMap<&str, usize> {
            let mut wrong = BTreeMap::new();
            for label in photos.iter().filter(|l| l.known == known && places.contains_key(l.class.as_str()) != known) {
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
            return Err(bad(format!(
                "has known classes that the bundle '{}' does not have: {}{}; give them the role unknown, or take the \
                 bundle that was trained on them",
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
        Ok(photos.iter().map(|label| places.get(label.class.as_str()).copied()).collect())
    }
}

/// Names with their numbers of photos, the first few of them.
fn listed(classes: &BTreeMap<&str, usize>) -> String {
    let some: Vec<String> = classes.iter().take(NAMES).map(|(name, n)| format!("'{name}' ({n} photos)")).collect();
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
        refused("path,class,role,split\na,b,known,val\n", &["no column 'path'", "tabs"]);
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
}
