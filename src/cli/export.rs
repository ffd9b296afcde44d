//! `oltr export`: the events of a store as files of other programs.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use oltr::{Error, Result};
use oltr_export::Deployment;
use oltr_export::events::{self, Format, Settings};
use oltr_export::record::{Line, Lines};

use super::args::{ExportArgs, ExportFormat};
use super::exit::{self, Exit};
use super::output::Output;

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
    let mut lines = lines(args)?;
    let done = events::write(format, &mut lines, &settings, &args.output)?;
    if done.uncertain_times > 0 {
        log::warn!(
            "{} of {} events have times that may be wrong: of a clock that was not set, or taken for UTC as nothing says \
             its offset; 'zone' and 'clock_add' in --deployment mend that",
            done.uncertain_times,
            done.events
        );
    }
    if json {
        let summary = serde_json::json!({
            "schema": "oltr.export/1", "output": args.output.display().to_string(), "events": done.events,
            "reviewed": done.reviewed, "pictures": done.pictures, "without_picture": done.without_picture,
            "uncertain_times": done.uncertain_times,
        });
        Output::new().json(&summary)?;
    } else if log::log_enabled!(log::Level::Warn) {
        exit::say(&format!(
            "{}: {} events, {} of them judged by a person, {} with a picture",
            args.output.display(),
            done.events,
            done.reviewed,
            done.pictures
        ));
    }
    Ok(Exit::Success)
}

/// The lines that `args` name.
fn lines(args: &ExportArgs) -> Result<Box<dyn Iterator<Item = Result<Line>>>> {
    match (&args.records, &args.store) {
        (Some(path), _) if path == Path::new("-") => {
            Ok(Box::new(Lines::new("standard input", BufReader::new(io::stdin()))))
        }
        (Some(path), _) => {
            let file = File::open(path).map_err(|e| Error::io(path, e))?;
            Ok(Box::new(Lines::new(&path.display().to_string(), BufReader::new(file))))
        }
        (None, Some(_)) => Err(Error::Config(
            "this oltr reads no store yet; give its records: oltr store list --json DIR | oltr export … --records -"
                .into(),
        )),
        (None, None) => Err(Error::Config("name the store with --store, or its records with --records".into())),
    }
}
