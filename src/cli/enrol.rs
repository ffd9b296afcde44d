//! `oltr enrol`: classes learnt on the device.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use oltr::decide::Decision;
use oltr::enrol::{Enrolled, Enrolments, MAX_PHOTOS};
use oltr::source::photo::Decoder;
use oltr::source::photos::{self, Input};
use oltr::text::counted;
use oltr::{Error, ErrorKind, Frame, Judge, Model, Outputs, atomic, model};
use serde::Serialize;

use super::args::{Common, EnrolAction, EnrolArgs};
use super::exit::Exit;
use super::output::Output;
use super::table::{Align, Cell, Column, Shrink, Table, printable};

/// Runs the command.
pub fn run(args: &EnrolArgs, common: &Common) -> anyhow::Result<Exit> {
    let (name, bytes) = common.model_bytes(None)?;
    let hash = model::graph_sha256(&name, &bytes, &common.options().limits)?;
    let path = place(args.enrolled.as_deref(), common)?;
    let read = || match Enrolments::read(&path, &hash) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Enrolments::new(&hash)),
        other => other,
    };
    let mut enrolments = read()?;
    let mut out = Output::new();
    match &args.action {
        EnrolAction::Add { name: class, inputs } => {
            let model = Model::from_bytes(&name, &bytes, &common.options())?;
            let limit = model.try_bundle()?.open_distance()?;
            let photos = photos_of(class, inputs, &model, common)?;
            let features: Vec<Vec<f32>> = photos.iter().map(|photo| photo.features.clone()).collect();
            // Read again: another process may have written it while the photos were classified.
            let lock = atomic::lock(&path)?;
            enrolments = read()?;
            enrolments.add(Enrolled::new(class, &features, limit)?)?;
            enrolments.write(&path)?;
            drop(lock);
            let enrolled = enrolments.classes().iter().find(|c| c.name() == class.trim());
            let report = Added::new(enrolled, &photos, &enrolments, &model)?;
            report.warn();
            if common.json {
                out.json(&report)?;
            } else {
                out.line(&report.sentence())?;
            }
        }
        EnrolAction::Remove { name: class } => {
            let _lock = atomic::lock(&path)?;
            enrolments = read()?;
            enrolments.remove(class)?;
            enrolments.write(&path)?;
            log::info!("wrote {}", path.display());
        }
        EnrolAction::List if enrolments.classes().is_empty() => {
            if !common.quiet {
                // Not eprintln: it panics where stderr is closed.
                let _ = writeln!(std::io::stderr(), "oltr: {}", printable(&nothing_enrolled(args, common, &path)));
            }
        }
        EnrolAction::List if common.json => {
            for class in enrolments.classes() {
                out.json(&Listed { name: class.name(), photos: class.photos(), radius: class.radius() })?;
            }
        }
        EnrolAction::List => list(&enrolments, &mut out)?,
        EnrolAction::Export => out.line(&enrolments.to_json()?)?,
    }
    Ok(Exit::Success)
}

/// Message of `list` if there are no classes, with the command that adds one.
fn nothing_enrolled(args: &EnrolArgs, common: &Common, path: &Path) -> String {
    let model = common.model(None).map(|model| format!(" --model {}", quoted(model))).unwrap_or_default();
    let file = args.enrolled.as_deref().map(|file| format!(" --enrolled {}", quoted(file))).unwrap_or_default();
    let path = path.display();
    format!("no class is enrolled in {path}; add one: oltr enrol{model}{file} add NAME PHOTO PHOTO PHOTO")
}

/// `path` as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,=@%:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// The file of enrolled classes: as given, else next to the model.
///
/// # Errors
/// [`Error::Config`] for the built-in model, which has no file.
pub fn place(named: Option<&Path>, common: &Common) -> oltr::Result<PathBuf> {
    let beside = || common.model(None).map(Enrolments::path_beside);
    named.map(PathBuf::from).or_else(beside).ok_or_else(|| {
        let file = "name the file of enrolled classes, as --enrolled things.enrolled";
        Error::Config(format!("nothing is enrolled beside the built-in bundle, which is no file; {file}"))
    })
}

/// The file of enrolled classes for `classify` and `stream`: `named`, else the one next to the model if it exists.
pub fn file_for_use(named: Option<&Path>, common: &Common) -> Option<PathBuf> {
    let beside = || common.model(None).map(Enrolments::path_beside).filter(|path| path.exists());
    named.map(PathBuf::from).or_else(beside)
}

/// The model, and the classes enrolled in `file`, if any. The model is read once.
///
/// # Errors
/// As [`Common::load`] and [`Enrolments::read`].
pub fn load_with(file: Option<&Path>, common: &Common) -> oltr::Result<(Model, Option<Enrolments>)> {
    load_for(file, false, common)
}

/// As [`load_with`]; `hash` requests the model's hash even without enrolled classes.
///
/// # Errors
/// As [`load_with`].
pub fn load_for(file: Option<&Path>, hash: bool, common: &Common) -> oltr::Result<(Model, Option<Enrolments>)> {
    let options = model::Options { hash_graph: hash || file.is_some(), ..common.options() };
    let model = common.load_as(None, &options)?;
    let enrolments = file.zip(model.graph_sha256()).map(|(file, hash)| Enrolments::read(file, hash)).transpose()?;
    if let Some((enrolments, file)) = enrolments.as_ref().zip(file) {
        log::info!("{} enrolled classes from {}", enrolments.classes().len(), file.display());
    }
    Ok((model, enrolments))
}

/// The network's outputs for each photo of `inputs`.
fn photos_of(class: &str, inputs: &[OsString], model: &Model, common: &Common) -> anyhow::Result<Vec<Outputs>> {
    let limits = common.options().limits;
    let photos = photos::find(inputs, &limits)?;
    // Before an hour of computing.
    if photos.len() > MAX_PHOTOS {
        let reason = format!("{} photos; enrol it from at most {MAX_PHOTOS}, or train a bundle with it", photos.len());
        return Err(Error::BadInput { subject: format!("class '{class}'"), reason }.into());
    }
    let mut session = model.session()?;
    let mut decoder = Decoder::new(&limits);
    let mut frame = Frame::default();
    let mut all = Vec::with_capacity(photos.len());
    for photo in photos {
        match photo {
            Input::File(path) => decoder.read(path, &mut frame)?,
            Input::Stdin => decoder.read_from("standard input", oltr::source::stream::Stdin, &mut frame)?,
            Input::Unusable { error, .. } => return Err(error.into()),
        }
        all.push(session.run(&frame)?.clone());
    }
    Ok(all)
}

/// `oltr.enrolled/1`: result of an enrolment.
#[derive(Debug, Serialize)]
struct Added<'a> {
    schema: &'static str,
    name: &'a str,
    photos: usize,
    radius: f32,
    /// Number of its own photos that now get its name.
    recognised: usize,
    /// Number of its own photos that the bundle calls a known class.
    known_before: usize,
}

impl<'a> Added<'a> {
    fn new(
        enrolled: Option<&'a Enrolled>,
        photos: &[Outputs],
        enrolments: &Enrolments,
        model: &Model,
    ) -> anyhow::Result<Added<'a>> {
        let class = enrolled.ok_or_else(|| Error::Internal("a class that was enrolled is not there".into()))?;
        let judge = Judge::new(model.try_bundle()?).with_enrolments(enrolments);
        let (mut recognised, mut known_before) = (0, 0);
        for outputs in photos {
            let answer = judge.answer(outputs)?;
            known_before += usize::from(answer.by_rule != Decision::Open);
            recognised += usize::from(answer.enrolled.is_some_and(|enrolled| enrolled.label == class.name()));
        }
        let (name, photos, radius) = (class.name(), class.photos(), class.radius());
        Ok(Added { schema: "oltr.enrolled/1", name, photos, radius, recognised, known_before })
    }

    fn warn(&self) {
        let Added { photos, recognised, known_before, .. } = self;
        if *known_before > 0 {
            log::warn!(
                "{known_before} of the {photos} photos come out as a class that the bundle knows; the network may not \
                 tell '{}' from it",
                printable(self.name)
            );
        }
        if recognised < photos {
            log::warn!("only {recognised} of the {photos} photos come out as '{}' now", printable(self.name));
        }
    }

    fn sentence(&self) -> String {
        format!("{}: {}, radius {:.2}", printable(self.name), counted(self.photos, "photo"), self.radius)
    }
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    photos: usize,
    radius: f32,
}

fn list(enrolments: &Enrolments, out: &mut Output) -> anyhow::Result<()> {
    let rows: Vec<Vec<Cell>> = enrolments
        .classes()
        .iter()
        .map(|class| {
            vec![class.name().into(), class.photos().to_string().into(), format!("{:.2}", class.radius()).into()]
        })
        .collect();
    let columns = vec![
        Column::new("NAME", Align::Left, Shrink::Middle),
        Column::new("PHOTOS", Align::Right, Shrink::Never),
        Column::new("RADIUS", Align::Right, Shrink::Never),
    ];
    let table = Table::fit(columns, &rows, out.width());
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))
}
