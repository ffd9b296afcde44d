//! One file about all photos, in the format of another program.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use oltr::bundle::{Class, Rank, Shot};
use oltr::source::photos::Input;
use oltr::text::counted;
use oltr::{DisplayNames, Error, Names};
use oltr_export::photos::{About, Failed, Format, Journal, Photo, Shown, Taxon, name_of};

use super::super::args::{ClassifyArgs, PhotosFormat};
use super::super::exit;
use super::super::output::ErrorLine;
use super::super::table::printable;
use super::{Classification, ModelId};

/// Names of photos in the output.
pub struct Sources {
    /// The folder from which they are named.
    base: Option<PathBuf>,
    /// All names, in the order of the photos; empty if each is only printed.
    names: Vec<String>,
    in_file: bool,
}

impl Sources {
    /// The names of `photos` for `args`.
    ///
    /// # Errors
    /// [`Error::Config`] for a photo outside `--base`.
    pub fn new(photos: &[Input], args: &ClassifyArgs, json: bool) -> oltr::Result<Sources> {
        let mut sources = Sources { base: args.base.clone(), names: Vec::new(), in_file: args.output.is_some() };
        if sources.in_file || !json {
            let name = |photo: &Input| match photo {
                Input::File(path) if sources.in_file => name_of(path, sources.base.as_deref()),
                // Unusable inputs may be outside of it.
                Input::File(path) | Input::Unusable { input: path, .. } => Ok(sources.of(path, false)),
                Input::Stdin => Ok(sources.of(Path::new("-"), true)),
            };
            sources.names = photos.iter().map(name).collect::<oltr::Result<_>>()?;
        }
        Ok(sources)
    }

    /// The names of all photos, in their order.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Name of the photo at `path`; `-` for standard input.
    pub fn of(&self, path: &Path, is_stdin: bool) -> String {
        let shown = || path.display().to_string();
        if is_stdin || !self.in_file {
            return shown();
        }
        name_of(path, self.base.as_deref()).or_else(|_| name_of(path, None)).unwrap_or_else(|_| shown())
    }
}

/// A file that grows.
pub struct Report {
    path: PathBuf,
    journal: Journal,
    /// Names of all classes: the bundle's, followed by the enrolled ones.
    names: DisplayNames,
    known: usize,
    before: usize,
    failed: usize,
}

impl Report {
    /// Begins the file that `args` name, if they name one.
    ///
    /// # Errors
    /// As [`Journal::begin`].
    pub fn begin(args: &ClassifyArgs, names: Names, model: ModelId) -> oltr::Result<Option<Box<Report>>> {
        let Some((path, format)) = args.output.as_deref().zip(args.format) else { return Ok(None) };
        let format = match format {
            PhotosFormat::Json => Format::Json,
            PhotosFormat::Csv => Format::Csv,
            PhotosFormat::Megadetector => Format::MegaDetector,
            PhotosFormat::Speciesnet => Format::SpeciesNet,
        };
        let known = names.bundle().classes.len();
        let taxonomy = names.bundle().taxonomy.as_ref();
        let lineage = |class: &Class| {
            // From the widest to the narrowest.
            let mut ranks = Rank::OF_TAXA;
            ranks.reverse();
            ranks.map(|rank| taxonomy.and_then(|taxonomy| taxonomy.of(&class.id, rank)).map(String::from))
        };
        let lineages = names.bundle().classes.iter().map(lineage).collect();
        let names = DisplayNames::of_all(names);
        let about = About {
            version: env!("CARGO_PKG_VERSION").into(),
            model: model.name.into(),
            sha256: model.sha256.into(),
            classes: names.all().map(String::from).collect(),
            lineages,
        };
        let journal = Journal::begin(path, format, about, args.resume)?;
        let before = journal.len();
        Ok(Some(Box::new(Report { path: path.into(), journal, names, known, before, failed: 0 })))
    }

    /// Keeps in `photos` those that must be classified, each once.
    pub fn retain(&self, photos: &mut Vec<Input>, sources: &Sources) {
        let mut seen = HashSet::with_capacity(photos.len());
        let mut names = sources.names.iter();
        photos.retain(|_| names.next().is_some_and(|name| seen.insert(name) && !self.journal.is_done(name)));
    }

    /// Adds the answer for a photo.
    pub fn result(&mut self, c: &Classification) -> anyhow::Result<()> {
        let mut line = Vec::new();
        oltr::text::write_json(&mut line, c)?;
        let top: Vec<(usize, f32)> = c.top.iter().map(|top| (top.class, top.probability)).collect();
        let enrolled = c.enrolled.and_then(|enrolled| {
            let name = self.names.of_enrolled(enrolled.label);
            self.names.all().skip(self.known).position(|known| known == name).map(|at| self.known + at)
        });
        let shown = Shown {
            decision: c.decision,
            label: c.label,
            class: c.class.or(enrolled),
            enrolled: c.enrolled.is_some(),
            probability: c.probability,
            reachability: c.reachability,
            threshold: c.threshold,
            nearest: (c.nearest.label, c.nearest.distance),
            shot: c.shot.map(Shot::word),
            top: &top,
            origin: &c.origin,
            taxon: c.taxon.flatten().map(|taxon| Taxon {
                rank: taxon.rank.word(),
                name: taxon.name,
                probability: taxon.probability,
                of: taxon.of.map(|of| of.name),
                gbif: taxon.ids.gbif,
                worms: taxon.ids.worms,
            }),
        };
        let photo = Photo { name: c.source, line: &String::from_utf8_lossy(&line), outcome: Ok(shown) };
        Ok(self.journal.add(&photo)?)
    }

    /// Adds the error of a photo.
    pub fn failure(&mut self, source: &str, url: Option<String>, error: &Error) -> anyhow::Result<()> {
        log::error!("{}", printable(&exit::message(error)));
        self.failed += 1;
        let mut line = Vec::new();
        oltr::text::write_json(&mut line, &ErrorLine::new(source, error).with_url(url))?;
        let reason = exit::message(error);
        let failed = Failed { kind: error.kind().as_str(), reason: &reason };
        let photo = Photo { name: source, line: &String::from_utf8_lossy(&line), outcome: Err(failed) };
        Ok(self.journal.add(&photo)?)
    }

    /// Puts the file in its place.
    pub fn finish(self, sources: &Sources) -> anyhow::Result<()> {
        let (photos, path) = (self.journal.len(), name(&self.path));
        self.journal.finish(sources.all())?;
        if log::log_enabled!(log::Level::Warn) {
            let (before, failed) = (self.before, self.failed);
            let photos = counted(photos, "photo");
            exit::say(&format!("{path}: {photos}, {before} from before; {failed} could not be read"));
        }
        Ok(())
    }

    /// Logs how to resume.
    pub fn interrupted(&self) {
        log::warn!("{}: not finished; the same command with --resume goes on", name(&self.path));
    }
}

fn name(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}
