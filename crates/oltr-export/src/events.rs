//! Exports the events of a store, with people's reviews, to the formats of other programs.

mod camtrap;
mod ecotaxa;
mod effort;
mod megadetector;
mod rows;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use oltr_frames::{Error, Result};

use crate::deployment::Deployment;
use crate::record::{Line, Record, Taxon};
use crate::time::Moment;
use effort::Effort;

/// Bytes of two files that are compared at once.
const COMPARED: usize = 64 << 10;

/// Files that events are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A folder: Camtrap DP 1.0.2 with the pictures.
    CamtrapDp,
    /// A file: MegaDetector's batch output 1.6 about the pictures.
    MegaDetector,
    /// A file: one row for each event.
    Csv,
    /// A folder: EcoTaxa's table with the pictures.
    EcoTaxa,
}

/// Inputs of an export besides the records.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The deployment of the camera.
    pub deployment: Option<&'a Deployment>,
    /// The base folder of the pictures' paths. Without it no picture is copied.
    pub pictures: Option<&'a Path>,
    /// Version of the program.
    pub version: &'a str,
}

/// Counts of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that were written.
    pub events: u64,
    /// Events with a review.
    pub reviewed: u64,
    /// Pictures that were written or named.
    pub pictures: u64,
    /// Events left out because the format needs a picture.
    pub without_picture: u64,
    /// Times of clocks that were not set or have no UTC offset. They count as UTC.
    pub uncertain_times: u64,
    /// Events before the start or after the end of the deployment.
    pub outside: u64,
}

/// Writes the records among `lines` to `out`.
///
/// # Errors
/// Errors of `lines`; [`Error::Io`]; [`Error::BadInput`] for a record with invalid times; [`Error::Config`] if the
/// format needs more fields of the deployment.
pub fn write(
    format: Format,
    lines: &mut dyn Iterator<Item = Result<Line>>,
    settings: &Settings,
    out: &Path,
) -> Result<Summary> {
    let mut events = Events { lines, settings, effort: Effort::default(), summary: Summary::default() };
    match format {
        Format::CamtrapDp => camtrap::write(&mut events, out)?,
        Format::MegaDetector => megadetector::write(&mut events, out)?,
        Format::Csv => rows::write(&mut events, out)?,
        Format::EcoTaxa => ecotaxa::write(&mut events, out)?,
    }
    Ok(events.summary)
}

/// Iterator over the events.
struct Events<'a> {
    lines: &'a mut dyn Iterator<Item = Result<Line>>,
    settings: &'a Settings<'a>,
    effort: Effort,
    summary: Summary,
}

/// What an event shows: the review, or else the decision.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What<'a> {
    /// The class of this label.
    Class(&'a str),
    /// Something without a name.
    Open,
    /// Nothing, by a review.
    Nothing,
    /// Neither a review nor a decision.
    Unclassified,
}

/// An event with its times in UTC.
#[derive(Debug)]
struct Event {
    record: Record,
    first: Moment,
    last: Moment,
    best: Moment,
    /// Whether its times may be wrong.
    uncertain: bool,
}

impl Event {
    /// The review, or else the model's decision.
    fn what(&self) -> What<'_> {
        match self.reviewed() {
            Some("open") => What::Open,
            Some("nothing") => What::Nothing,
            Some(label) => What::Class(label),
            None => self.machine(),
        }
    }

    /// The model's decision.
    fn machine(&self) -> What<'_> {
        match (self.record.decision.as_str(), self.record.label.as_deref()) {
            ("known", Some(label)) => What::Class(label),
            ("unclassified", _) => What::Unclassified,
            _ => What::Open,
        }
    }

    fn reviewed(&self) -> Option<&str> {
        self.record.review.as_ref()?.said()
    }

    /// The name that the model is sure of, if any.
    fn taxon(&self) -> Option<&Taxon> {
        self.record.taxon.as_ref()?.as_ref()
    }

    fn reviewer(&self) -> Option<&str> {
        self.record.review.as_ref()?.by.as_deref().filter(|by| !by.is_empty())
    }

    /// The model's decision as text.
    fn machine_text(&self) -> String {
        let Record { mean, best, .. } = &self.record;
        match self.machine() {
            What::Class(label) => {
                format!("oltr: {label} (probability {:.2}, reachability {:.2})", mean.probability, mean.reachability)
            }
            What::Unclassified => "oltr: unclassified".into(),
            _ => match &best.nearest.label {
                Some(nearest) => format!("oltr: open (reachability {:.2}, resembles {nearest})", mean.reachability),
                None => format!("oltr: open (reachability {:.2})", mean.reachability),
            },
        }
    }

    /// The moment of the review, as UTC.
    fn review_time(&self) -> Option<Moment> {
        Moment::parse(self.record.review.as_ref()?.wall.as_deref()?).map(|moment| moment.in_utc(0))
    }
}

impl Events<'_> {
    /// The next event.
    fn next(&mut self) -> Result<Option<Event>> {
        loop {
            match self.lines.next().transpose()? {
                None => return Ok(None),
                Some(Line::Record(record)) => return self.event(*record).map(Some),
                Some(Line::Stats(stats)) => self.effort.add(&stats),
                Some(Line::Other) => {}
            }
        }
    }

    fn event(&mut self, record: Record) -> Result<Event> {
        let zone = self.settings.deployment.and_then(Deployment::minutes);
        let add = self.settings.deployment.and_then(|d| d.clock_add).unwrap_or(0);
        let mut uncertain = record.clock_synchronised == Some(false) && add == 0;
        let mut moment = |text: &str| -> Result<Moment> {
            let bad = || {
                let reason =
                    format!("has the time '{text}', which is none; a record has first, last and best with wall");
                Error::BadInput { subject: format!("record {}", record.id), reason }
            };
            let moment = Moment::parse(text).ok_or_else(bad)?;
            uncertain |= !moment.utc && zone.is_none();
            Ok(moment.in_utc(zone.unwrap_or(0)).later(add))
        };
        let first = moment(&record.first.wall)?;
        let last = moment(&record.last.wall)?.max(first);
        let best = if record.best.wall.is_empty() { first } else { moment(&record.best.wall)? };
        let (starts, ends) = self.settings.deployment.map_or((None, None), |d| (d.starts(), d.ends()));
        let outside = starts.is_some_and(|starts| last < starts) || ends.is_some_and(|ends| ends < first);
        self.summary.events += 1;
        self.summary.outside += u64::from(outside);
        self.summary.uncertain_times += u64::from(uncertain);
        let event = Event { record, first, last, best, uncertain };
        self.summary.reviewed += u64::from(event.reviewed().is_some());
        Ok(event)
    }

    /// Path of an event's picture within the store. `None` without a picture, or if the path is not valid in a package.
    fn picture<'e>(&mut self, event: &'e Event) -> Option<&'e str> {
        let there = |picture: &&str| self.settings.pictures.is_none_or(|store| is_plain(store, picture));
        let found = event.record.picture.as_deref().filter(|picture| is_inside(picture)).filter(there);
        match found {
            Some(_) => self.summary.pictures += 1,
            None => self.summary.without_picture += 1,
        }
        found
    }

    /// As [`Events::picture`], but copies it to `folder` within `out`. Returns its path within `out`.
    fn copied(&mut self, event: &Event, out: &Path, folder: &str) -> Result<Option<String>> {
        let Some(picture) = event.record.picture.as_deref().filter(|picture| is_inside(picture)) else {
            self.summary.without_picture += 1;
            return Ok(None);
        };
        let Some(store) = self.settings.pictures else {
            self.summary.pictures += 1;
            return Ok(Some(picture.to_string()));
        };
        let name = format!("{folder}/{picture}");
        let copied = if is_plain(store, picture) { copy(&store.join(picture), &out.join(&name)) } else { Ok(false) };
        // The store may have evicted the picture.
        let there = copied?;
        *if there { &mut self.summary.pictures } else { &mut self.summary.without_picture } += 1;
        Ok(there.then_some(name))
    }

    /// Id of the deployment.
    fn deployment_id(&self) -> &str {
        self.settings.deployment.map_or("oltr", |deployment| deployment.id.as_str())
    }

    /// Scientific name of `event`. `None` for open events, for classes that the deployment calls no taxon, and if a
    /// bundle with a taxonomy gave no name.
    ///
    /// A review comes first. Without one, a name above the class replaces the class, because the model is sure of that
    /// name only. A class takes its name from the deployment, else from its bundle's taxon, else its label.
    fn scientific<'e>(&'e self, event: &'e Event) -> Option<Scientific<'e>> {
        let What::Class(label) = event.what() else { return None };
        // A review that names the model's class keeps the model's taxon.
        let taxon = event.record.taxon.as_ref().filter(|_| event.machine() == What::Class(label));
        let taxon = match taxon.map(Option::as_ref) {
            Some(None) if event.reviewed().is_none() => return None,
            taxon => taxon.flatten(),
        };
        if let Some(taxon) = taxon.filter(|taxon| taxon.rank != LABEL && event.reviewed().is_none()) {
            return Some(Scientific { name: &taxon.name, rank: Some(&taxon.rank), ids: Some(taxon) });
        }
        let plain = |name| Scientific { name, rank: None, ids: None };
        if let Some(name) = self.settings.deployment.and_then(|deployment| deployment.taxa.get(label)) {
            return Some(plain(name.as_str())).filter(|scientific| !scientific.name.trim().is_empty());
        }
        let of = taxon.filter(|taxon| taxon.rank == LABEL).and_then(|taxon| Some((taxon, taxon.of.as_ref()?)));
        Some(of.map_or(plain(label), |(taxon, of)| Scientific {
            name: &of.name,
            rank: Some(&of.rank),
            ids: Some(taxon),
        }))
    }
}

/// Rank of a name that stands for one class.
const LABEL: &str = "label";

/// A scientific name.
#[derive(Clone, Copy, Debug)]
struct Scientific<'a> {
    name: &'a str,
    /// How much it takes in, where that is known.
    rank: Option<&'a str>,
    /// The taxon with catalogue numbers.
    ids: Option<&'a Taxon>,
}

impl Scientific<'_> {
    /// The page of a catalogue about it, which names it among all taxa.
    fn page(&self) -> Option<String> {
        let Taxon { gbif, worms, .. } = self.ids?;
        let gbif = gbif.map(|key| format!("https://www.gbif.org/species/{key}"));
        gbif.or_else(|| worms.map(|id| format!("https://www.marinespecies.org/aphia.php?p=taxdetails&id={id}")))
    }
}

/// Whether `picture` is a path that stays within its folder, in the form that Camtrap DP requires.
fn is_inside(picture: &str) -> bool {
    let path = Path::new(picture);
    !picture.is_empty()
        && !picture.starts_with(['.', '~'])
        && !picture.contains(char::is_control)
        && !picture.contains("..")
        && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Whether `picture` is a plain file below `store`, reached without symbolic links. Files elsewhere do not belong to
/// the store.
fn is_plain(store: &Path, picture: &str) -> bool {
    let mut path = PathBuf::from(store);
    let mut parts = Path::new(picture).components().peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let Ok(meta) = fs::symlink_metadata(&path) else { return false };
        if parts.peek().is_some() && !meta.is_dir() || parts.peek().is_none() && !meta.is_file() {
            return false;
        }
    }
    true
}

/// Copies a file unless an equal copy exists. Returns `false` if the source is gone.
fn copy(from: &Path, to: &Path) -> Result<bool> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    if is_copied(from, to).unwrap_or(false) {
        return Ok(true);
    }
    let mut part = PathBuf::from(to).into_os_string();
    part.push(".part");
    let mut source = match File::open(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(|e| Error::io(from, e))?,
    };
    let part = PathBuf::from(part);
    let mut target = File::create(&part).map_err(|e| Error::io(&part, e))?;
    // The system does not say which file failed. The target is more likely, because a disk can be full.
    io::copy(&mut source, &mut target).map_err(|e| Error::io(to, e))?;
    fs::rename(&part, to).map_err(|e| Error::io(to, e))?;
    Ok(true)
}

/// Whether the files have equal contents. After a power cut a copy can have the right length and contain zeros.
fn is_copied(from: &Path, to: &Path) -> io::Result<bool> {
    // In most cases the copy is missing or has another length.
    if fs::metadata(to)?.len() != fs::metadata(from)?.len() {
        return Ok(false);
    }
    let open = |path: &Path| File::open(path).map(|file| BufReader::with_capacity(COMPARED, file));
    let (mut from, mut to) = (open(from)?, open(to)?);
    loop {
        let (a, b) = (from.fill_buf()?, to.fill_buf()?);
        let both = a.len().min(b.len());
        if both == 0 {
            return Ok(a.len() == b.len());
        }
        if a[..both] != b[..both] {
            return Ok(false);
        }
        from.consume(both);
        to.consume(both);
    }
}

/// Creates the folder `out`. It may exist if it is empty, or contains `sign`, the marker of an earlier export.
fn folder(out: &Path, sign: &str) -> Result<()> {
    fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let mut entries = fs::read_dir(out).map_err(|e| Error::io(out, e))?;
    if entries.next().is_some() && !out.join(sign).exists() {
        let reason = format!("is a folder with something else in it; name a new one, or one that holds {sign}");
        return Err(Error::Config(format!("{}: {reason}", out.display())));
    }
    Ok(())
}

/// Writes a file with the contents from `fill`.
fn file(path: &Path, fill: impl FnOnce(&mut dyn io::Write) -> Result<()>) -> Result<()> {
    let mut failed = None;
    let written = oltr_frames::atomic::write_with(path, |out| {
        fill(out).map_err(|e| match e {
            // Adds the path. An error of another file already has one.
            Error::Io { path, cause } if path.as_os_str().is_empty() => cause,
            e => {
                failed = Some(e);
                io::Error::other("nothing is written")
            }
        })
    });
    match failed {
        Some(e) => Err(e),
        None => written,
    }
}

/// An I/O error without a path; [`file`] adds it.
fn of_this_file(cause: io::Error) -> Error {
    Error::Io { path: PathBuf::new(), cause }
}

/// As [`of_this_file`], for CSV errors.
fn csv_error(e: csv::Error) -> Error {
    of_this_file(e.into())
}

#[cfg(test)]
mod tests;
