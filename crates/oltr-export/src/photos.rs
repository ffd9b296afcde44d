//! Writes one file about many photos in the format of another program. An interruption never damages it.

mod csv_rows;
mod journal;
mod json_lines;
mod megadetector;
mod speciesnet;

use std::io::{self, Write};
use std::path::{Component, Path};

use oltr_frames::frame::origin::Origin;
use oltr_frames::{Error, Result};

pub use journal::Journal;
pub(crate) use megadetector::{ANIMAL as MEGADETECTOR_ANIMAL, info as megadetector_info, whole_picture};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The lines that `oltr classify --json` prints.
    Json,
    /// A row a photo.
    Csv,
    /// MegaDetector's batch output 1.6.
    MegaDetector,
    /// SpeciesNet's predictions.
    SpeciesNet,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Csv => "csv",
            Format::MegaDetector => "megadetector",
            Format::SpeciesNet => "speciesnet",
        }
    }
}

/// Header of a file.
#[derive(Clone, Debug)]
pub struct About {
    /// Version of the program.
    pub version: String,
    /// Name of the model.
    pub model: String,
    /// Names the model's content.
    pub sha256: String,
    /// Display names of the classes, in order, followed by the enrolled classes.
    pub classes: Vec<String>,
    /// The taxa of the classes, in the same order. Classes after the last have none.
    pub lineages: Vec<Lineage>,
}

/// The taxa of a class from the widest to the narrowest: kingdom, phylum, class, order, family, genus, species.
pub type Lineage = [Option<String>; 7];

/// Entry of one photo.
#[derive(Clone, Copy, Debug)]
pub struct Photo<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// The line of JSON about it.
    pub line: &'a str,
    /// The answer, or the failure.
    pub outcome: std::result::Result<Shown<'a>, Failed<'a>>,
}

/// Why a photo has no answer.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// The kind of error, for programs.
    pub kind: &'a str,
    /// Reason, for people.
    pub reason: &'a str,
}

/// Answer for a photo.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// `known` or `open`.
    pub decision: &'a str,
    /// Id of the class, or name of the enrolled class; `None` if open.
    pub label: Option<&'a str>,
    /// Index in [`About::classes`]; `None` if open.
    pub class: Option<usize>,
    /// Whether the class is enrolled. The network's probabilities do not cover it then.
    pub enrolled: bool,
    /// Probability of the most probable class.
    pub probability: f32,
    /// 10 / distance of the nearest centroid.
    pub reachability: f32,
    /// The reachability that it needs.
    pub threshold: f32,
    /// Id of the class that it resembles, and its distance.
    pub nearest: (&'a str, f32),
    /// Shot group of the class.
    pub shot: Option<&'a str>,
    /// The most probable classes with their probabilities, the most probable first.
    pub top: &'a [(usize, f32)],
    /// Time, place and camera of the photo.
    pub origin: &'a Origin,
    /// The narrowest name that is sure enough, if any.
    pub taxon: Option<Taxon<'a>>,
}

/// A name with its rank.
#[derive(Clone, Copy, Debug)]
pub struct Taxon<'a> {
    /// Its rank: `species` to `kingdom`, or `label` for one class.
    pub rank: &'a str,
    /// The taxon, or the display name of a class.
    pub name: &'a str,
    /// Sum of the probabilities of its classes.
    pub probability: f32,
    /// For a class: the narrowest taxon that it belongs to.
    pub of: Option<&'a str>,
    /// Key of the GBIF backbone.
    pub gbif: Option<u64>,
    /// AphiaID of the World Register of Marine Species.
    pub worms: Option<u64>,
}

/// A file format: the entry of each photo, and the file around them.
trait Layout {
    /// One photo, as one line without its end.
    fn entry(&self, about: &About, photo: &Photo) -> io::Result<String>;
    /// Writes the whole file from `entries`.
    fn file(&self, about: &About, entries: &mut Entries, out: &mut dyn Write) -> io::Result<()>;
    /// Reads the entries of a file written by [`Layout::file`], with names and whether they failed.
    ///
    /// # Errors
    /// The file has another format, or another model wrote it.
    fn entries(&self, about: &About, path: &Path, each: &mut Each) -> Result<()>;
}

/// Calls its argument with each entry.
type Entries<'a> = dyn FnMut(&mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> + 'a;

/// Called with the name, whether it failed, and the entry.
type Each<'a> = dyn FnMut(&str, bool, &str) -> Result<()> + 'a;

impl Format {
    fn layout(self) -> &'static dyn Layout {
        match self {
            Format::Json => &json_lines::JsonLines,
            Format::Csv => &csv_rows::Rows,
            Format::MegaDetector => &megadetector::MegaDetector,
            Format::SpeciesNet => &speciesnet::SpeciesNet,
        }
    }
}

/// Name of the photo at `path` in a file: relative to `base` if given, with forward slashes.
///
/// # Errors
/// [`Error::Config`] for a photo outside `base`.
pub fn name_of(path: &Path, base: Option<&Path>) -> Result<String> {
    let Some(base) = base else { return Ok(slashed(path)) };
    let plain = |path: &Path| std::path::absolute(path).map(|path| without_dots(&path));
    if let (Ok(path), Ok(base)) = (plain(path), plain(base))
        && let Ok(below) = path.strip_prefix(base)
        && below != Path::new("")
    {
        return Ok(slashed(below));
    }
    // Resolves symbolic links of the folder, but not of the photo itself.
    let real = |path: &Path| -> io::Result<_> {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        Ok(folder.canonicalize()?.join(path.file_name().unwrap_or_default()))
    };
    if let (Ok(path), Ok(base)) = (real(path), base.canonicalize())
        && let Ok(below) = path.strip_prefix(base)
    {
        return Ok(slashed(below));
    }
    let reason = "--base names a folder above all photos, from which their names in the file begin";
    Err(Error::Config(format!("{}: does not lie below {}; {reason}", path.display(), base.display())))
}

/// A path without `.` and, where that needs no look at the disk, `..`.
fn without_dots(path: &Path) -> std::path::PathBuf {
    let mut plain = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.parent().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// The path as text. A byte that is not UTF-8 becomes a replacement character and its value, `\u{fffd}E9`, so that two
/// names never become equal.
fn slashed(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("{}{byte:02X}", char::REPLACEMENT_CHARACTER)));
    }
    let text = if cfg!(windows) { text.replace('\\', "/") } else { text };
    text.strip_prefix("./").map(str::to_string).unwrap_or(text)
}

/// Error: the file cannot be resumed.
fn not_ours(path: &Path, format: Format, why: impl std::fmt::Display) -> Error {
    let reason = format!("is no file of --format {} that can be resumed ({why}); name another --output", format.name());
    Error::BadInput { subject: path.display().to_string(), reason }
}

/// Reason if the file is from a different model.
const OTHER_MODEL: &str = "another model wrote it";

/// The shortest decimal of `value` that parses back to it, as a JSON number that is never an integer.
fn number(value: f32) -> serde_json::Value {
    let text = value.clamp(f32::MIN, f32::MAX).to_string();
    text.parse::<f64>().map(Into::into).unwrap_or_default()
}

#[cfg(test)]
mod tests;
