//! One file about many photos, in the format of another program, that an interruption never harms.

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

/// What a file says beside its photos.
#[derive(Clone, Debug)]
pub struct About {
    /// Version of the program.
    pub version: String,
    /// Name of the model.
    pub model: String,
    /// Names the model's content.
    pub sha256: String,
    /// Names of the classes for people, in their order, and then those of the enrolled classes.
    pub classes: Vec<String>,
    /// The taxa of the classes, in the same order. A class behind the last has none.
    pub lineages: Vec<Lineage>,
}

/// The taxa of a class from the widest to the narrowest: kingdom, phylum, class, order, family, genus, species.
pub type Lineage = [Option<String>; 7];

/// What is told of one photo.
#[derive(Clone, Copy, Debug)]
pub struct Photo<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// The line of JSON about it.
    pub line: &'a str,
    /// What it shows, or why that cannot be said.
    pub outcome: std::result::Result<Shown<'a>, Failed<'a>>,
}

/// Why nothing is said of a photo.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// The kind of error, for programs.
    pub kind: &'a str,
    /// What is wrong, for people.
    pub reason: &'a str,
}

/// What a photo shows.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// `known` or `open`.
    pub decision: &'a str,
    /// Id of the class or name of the enrolled one; `None` if open.
    pub label: Option<&'a str>,
    /// Index in [`About::classes`]; `None` if open.
    pub class: Option<usize>,
    /// Whether the class was enrolled: the probabilities of the network say nothing of it.
    pub enrolled: bool,
    /// Of the most probable class.
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
    /// When, where and with what it was taken.
    pub origin: &'a Origin,
    /// The narrowest name that is sure enough, where there is one.
    pub taxon: Option<Taxon<'a>>,
}

/// A name with its rank.
#[derive(Clone, Copy, Debug)]
pub struct Taxon<'a> {
    /// How much it takes in: `species` to `kingdom`, or `label` for one class.
    pub rank: &'a str,
    /// The taxon; of one class its name for people.
    pub name: &'a str,
    /// Sum of the probabilities of its classes.
    pub probability: f32,
    /// Of one class: the narrowest taxon that it is of.
    pub of: Option<&'a str>,
    /// Key of the GBIF backbone.
    pub gbif: Option<u64>,
    /// AphiaID of the World Register of Marine Species.
    pub worms: Option<u64>,
}

/// What a format writes of each photo and around all of them.
trait Layout {
    /// One photo, as one line without its end.
    fn entry(&self, about: &About, photo: &Photo) -> io::Result<String>;
    /// The whole file, of `entries` one after another.
    fn file(&self, about: &About, entries: &mut Entries, out: &mut dyn Write) -> io::Result<()>;
    /// The entries of a file that was written by [`Layout::file`], with their names and whether they failed.
    ///
    /// # Errors
    /// Why it is no such file, or that another model wrote it.
    fn entries(&self, about: &About, path: &Path, each: &mut Each) -> Result<()>;
}

/// Gives the entries, one after another, to whom it is told.
type Entries<'a> = dyn FnMut(&mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> + 'a;

/// Takes the name, whether it failed, and the entry.
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

/// The name of the photo at `path` in a file: relative to `base` where there is one, with forward slashes.
///
/// # Errors
/// [`Error::Config`] for a photo that does not lie below `base`.
pub fn name_of(path: &Path, base: Option<&Path>) -> Result<String> {
    let Some(base) = base else { return Ok(slashed(path)) };
    let plain = |path: &Path| std::path::absolute(path).map(|path| without_dots(&path));
    if let (Ok(path), Ok(base)) = (plain(path), plain(base))
        && let Ok(below) = path.strip_prefix(base)
        && below != Path::new("")
    {
        return Ok(slashed(below));
    }
    // By what links lead to: a photo that is none of its own folder is named by its folder.
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

/// The path as a text of its own: a byte that is no UTF-8 is a replacement character with its value, `\u{fffd}E9`, so that two
/// such names never become one.
fn slashed(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("{}{byte:02X}", char::REPLACEMENT_CHARACTER)));
    }
    let text = if cfg!(windows) { text.replace('\\', "/") } else { text };
    text.strip_prefix("./").map(str::to_string).unwrap_or(text)
}

/// Why a file cannot be gone on with.
fn not_ours(path: &Path, format: Format, why: impl std::fmt::Display) -> Error {
    let reason =
        format!("is no file of --format {} that can be gone on with ({why}); name another --output", format.name());
    Error::BadInput { subject: path.display().to_string(), reason }
}

/// Why, where the model that wrote the file is not the one at hand.
const OTHER_MODEL: &str = "another model wrote it";

/// Shortest decimal of `value` that means it, as a number of JSON that is never an integer.
fn number(value: f32) -> serde_json::Value {
    let text = value.clamp(f32::MIN, f32::MAX).to_string();
    text.parse::<f64>().map(Into::into).unwrap_or_default()
}

#[cfg(test)]
mod tests;
