//! `oltr export`: writes the events of a store in formats of other programs.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use oltr::text::counted;
use oltr::{Error, Result};
use oltr_export::Deployment;
use oltr_export::events::{self, Format, Settings, Summary};
use oltr_export::record::{Line, Lines, Review, Stats};
use oltr_store::disk::RealDisk;
use oltr_store::{Listed, Reader, Said};

use super::args::{ExportArgs, ExportFormat};
use super::exit::{self, Exit};
use super::output::Output;
use super::store::error;

/// Runs the command.
pub fn run(args: &ExportArgs, json: bool) -> anyhow::Result<Exit> {
    let deployment = args.deployment.as_deref().map(Deployment::read).transpose()?;
    let format = match args.format {
        ExportFormat::CamtrapDp => Format::CamtrapDp,
        ExportFormat::Megadetector => Format::MegaDetector,
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Ecotaxa => Format::EcoTaxa,
    };
    let pictures = args.store.as_deref();
    let settings = Settings { deployment: deployment.as_ref(), pictures, version: env!("CARGO_PKG_VERSION") };
    let done = match (&args.records, &args.store) {
        (None, Some(store)) => from_store(format, store, &settings, &args.output)?,
        (records, _) => events::write(format, &mut lines(records.as_deref())?, &settings, &args.output)?,
    };
    if done.uncertain_times > 0 {
        log::warn!(
            "{} of {} with times that may be wrong: of a clock that was not set, or taken for UTC as nothing says its \
             offset; 'zone' and 'clock_add' in --deployment mend that",
            done.uncertain_times,
            counted(done.events, "event")
        );
    }
    if done.outside > 0 {
        log::warn!(
            "{} of {} before the start or after the end of the deployment; correct them in --deployment, or leave them out",
            done.outside,
            counted(done.events, "event")
        );
    }
    if json {
        let summary = serde_json::json!({
            "schema": "oltr.export/1", "output": args.output.display().to_string(), "events": done.events,
            "reviewed": done.reviewed, "pictures": done.pictures, "without_picture": done.without_picture,
            "uncertain_times": done.uncertain_times, "outside_deployment": done.outside,
        });
        Output::new().json(&summary)?;
    } else if log::log_enabled!(log::Level::Warn) {
        exit::say(&format!(
            "{}: {}, {} judged by a person, {} with a picture",
            args.output.display(),
            counted(done.events, "event"),
            done.reviewed,
            done.pictures
        ));
    }
    Ok(Exit::Success)
}

/// Length of the queue between the thread that reads the store and the one that writes.
const WAITING: usize = 64;

/// Writes the records of `store`.
fn from_store(format: Format, store: &Path, settings: &Settings, out: &Path) -> Result<Summary> {
    let mut reader = Reader::open(store, Arc::new(RealDisk)).map_err(error)?;
    reader.learn_times().map_err(error)?;
    let efforts = reader.efforts().map_err(error)?;
    // The store calls a function with each record, and exports pull records from an iterator. A
    // thread connects the two.
    thread::scope(|scope| {
        let (give, take) = sync_channel::<Result<Line>>(WAITING);
        scope.spawn(move || {
            for effort in efforts {
                // Each line is the last of its run.
                if let Ok(Line::Stats(stats)) = Line::parse(&effort) {
                    let _ = give.send(Ok(Line::Stats(Stats { seq: 0, ..stats })));
                }
            }
            // A writer that failed takes no more.
            let read = reader.each(&mut |listed| Ok(give.send(line(&listed)).is_ok()));
            if let Err(e) = read {
                let _ = give.send(Err(error(e)));
            }
        });
        events::write(format, &mut take.into_iter(), settings, out)
    })
}

/// Parses a record of the store, in the form of `oltr store list --json`.
fn line(listed: &Listed) -> Result<Line> {
    let id = listed.record.id;
    let bad = |reason: String| Error::BadInput { subject: format!("record {id}"), reason };
    let event = listed.event().ok_or_else(|| bad("holds no event".into()))?;
    let mut record: oltr_export::Record =
        serde_json::from_value(event.into()).map_err(|e| bad(format!("holds an event that is none ({e})")))?;
    record.id = id.to_string();
    record.picture = listed.picture().map(String::from);
    record.first_ever = listed.record.first_ever;
    record.review = listed.review.map(|review| Review {
        label: match &review.said {
            Said::Label(name) => Some(name.clone()),
            Said::Open | Said::Nothing => None,
        },
        decision: Some(review.said.text().into()),
        by: Some(review.by.clone()),
        wall: Some(review.wall.clone()),
    });
    Ok(Line::Record(Box::new(record)))
}

/// The lines of `records`.
fn lines(records: Option<&Path>) -> Result<Box<dyn Iterator<Item = Result<Line>>>> {
    match records {
        Some(path) if path == Path::new("-") => Ok(Box::new(Lines::new("standard input", BufReader::new(io::stdin())))),
        Some(path) => {
            let file = File::open(path).map_err(|e| Error::io(path, e))?;
            Ok(Box::new(Lines::new(&path.display().to_string(), BufReader::new(file))))
        }
        None => Err(Error::Config("name the store with --store, or its records with --records".into())),
    }
}
