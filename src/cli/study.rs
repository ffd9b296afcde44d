//! Common part of evaluating and calibrating: labels, photos, progress.

use std::path::Path;
use std::sync::Mutex;

use oltr::inference::{self, InferenceRun};
use oltr::labels::{Label, Labels};
use oltr::text::counted;
use oltr::{Error, Model, Result};

use super::args::{Common, PhotoArgs};
use super::exit;
use super::reading;
use super::shutdown::Shutdown;
use super::table::printable;

/// Most unreadable photos that are named; the others are counted.
const MAX_NAMED: usize = 10;

/// The labelled photos of one split.
pub struct Study<'a> {
    args: &'a PhotoArgs,
    common: &'a Common,
    labels: Labels,
    /// The photos.
    pub photos: Vec<Label>,
    shutdown: Shutdown,
}

impl<'a> Study<'a> {
    /// Reads the labels and logs their oddities.
    pub fn new(args: &'a PhotoArgs, split: &str, common: &'a Common) -> anyhow::Result<Study<'a>> {
        let shutdown = Shutdown::on_signals()?;
        let labels = Labels::read(&args.labels, args.cluster.as_deref(), &common.options().limits)?;
        for warning in &labels.warnings {
            log::warn!("{}", printable(warning));
        }
        let photos = labels.split(split)?;
        Ok(Study { args, common, labels, photos, shutdown })
    }

    /// Runs the photos through `model`; `None` if a signal requested a stop.
    ///
    /// # Errors
    /// As [`Labels::resolve`] and [`inference::run`]; [`Error::BadInput`] if no photo could be read.
    pub fn run(&self, model: &Model) -> Result<Option<InferenceRun>> {
        self.run_keeping(model, &self.photos, inference::Options::default())
    }

    /// As [`Study::run`], for `photos`; `keep` selects what is kept of each.
    pub fn run_keeping(
        &self,
        model: &Model,
        photos: &[Label],
        keep: inference::Options,
    ) -> Result<Option<InferenceRun>> {
        let truths = self.labels.resolve(photos, model.try_bundle()?)?;
        let limits = self.common.options().limits;
        let bar = reading::bar(photos.len(), &printable(model.name()), self.common.quiet);
        let spent = Mutex::new((0.0, 0.0));
        let options = inference::Options {
            jobs: self.args.reading.jobs(self.common.threads),
            decode: self.args.reading.decode.into(),
            progress: &|decode, inference| {
                reading::advance(
                    &bar,
                    &mut spent.lock().expect("no thread panics"),
                    decode.as_secs_f64(),
                    inference.as_secs_f64(),
                )
            },
            stop: &|| self.shutdown.requested(),
            ..keep
        };
        let result = inference::run(model, &self.args.images, photos, &truths, &limits, &options);
        bar.finish_and_clear();
        let run = result?;
        if run.stopped {
            log::info!("stopped by a signal; nothing is written");
            return Ok(None);
        }
        for (_, error) in run.failures.iter().take(MAX_NAMED) {
            log::error!("{}", printable(&exit::message(error)));
        }
        if let Some(more) = run.failures.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
            log::error!("{} could not be read", counted(more, "more photo"));
        }
        if run.records.is_empty() {
            return Err(Error::BadInput {
                subject: self.args.images.display().to_string(),
                reason: "not one of the photos could be read".into(),
            });
        }
        Ok(Some(run))
    }

    /// The photos of `split`.
    pub fn split(&self, split: &str) -> Result<Vec<Label>> {
        self.labels.split(split)
    }

    /// The photos of all splits.
    pub fn all(&self) -> &[Label] {
        &self.labels.photos
    }

    /// Folder that the paths of the photos start from.
    pub fn images(&self) -> &Path {
        &self.args.images
    }
}

/// A share for people: `93.8 %`.
pub fn percent(share: Option<f64>) -> String {
    share.map_or("–".into(), |share| format!("{:.1} %", share * 100.0))
}

/// A figure for people.
pub fn figure(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.3}"))
}
