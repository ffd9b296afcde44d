//! Labelled photos through a model: what each one came out as. What is evaluated and calibrated with.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::answer::{Classifier, Judge};
use crate::bundle::Bundle;
use crate::decide::listed::Listed;
use crate::decide::{Decider, Decision};
use crate::error::{Error, Result};
use crate::labels::Label;
use crate::limits::Limits;
use crate::metrics::{Answer, Bootstrap};
use crate::model::Model;
use crate::scores::{ScoreKind, Scores, log_sum_exp};
use crate::source::photo::{Decode, InputReader};

/// Most photos at a time, whatever the machine: each takes a decoded photo and the buffers of a session.
pub const MAX_JOBS: usize = 64;

/// Seed of the bootstrap: the same photos give the same intervals.
const SEED: u64 = 0;

/// What came out for one photo.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Index into the labels.
    pub photo: usize,
    /// Its class among those of the bundle, `None` for something unknown.
    pub truth: Option<usize>,
    /// What decides.
    pub scores: Scores,
    /// Every score, in the order of [`ScoreKind::ALL`].
    pub kinds: [f64; ScoreKind::ALL.len()],
    /// Distance to the centroid of its own class; `None` for something unknown.
    pub own_distance: Option<f32>,
    /// The direct feature, empty unless asked for.
    pub features: Vec<f32>,
    /// The distances to all centroids, empty unless features or logits are asked for.
    pub distances: Vec<f32>,
    /// The largest probability that the graph's logits give without the bundle's temperature.
    pub unscaled_probability: f32,
    /// The logits, divided by the bundle's temperature; empty unless asked for.
    pub logits: Vec<f32>,
}

impl Record {
    /// The record with its logits divided by `temperature`, and what follows from them.
    ///
    /// # Errors
    /// [`Error::Internal`] for a record whose logits were not kept, else as [`scores::score`](crate::scores::score).
    pub fn at_temperature(mut self, temperature: f32) -> Result<Record> {
        if self.logits.is_empty() {
            return Err(Error::Internal("the logits of a photo were not kept".into()));
        }
        self.logits.iter_mut().for_each(|logit| *logit /= temperature);
        self.scores = crate::scores::score(&self.logits, &self.distances)?;
        self.kinds = ScoreKind::all(&self.logits, &self.distances);
        Ok(self)
    }
}

/// What came out for all photos.
#[derive(Debug, Default)]
pub struct InferenceRun {
    /// One for each photo that could be read, in the order of the labels.
    pub records: Vec<Record>,
    /// The others, with the reason.
    pub failures: Vec<(usize, Error)>,
    /// Whether it was stopped before the end.
    pub stopped: bool,
    /// How long it took, and of that each photo in the mean.
    pub times: Times,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// All photos.
    pub elapsed: Duration,
    /// Photos at a time.
    pub jobs: usize,
    /// Sum over the photos: reading and decoding.
    pub decode: Duration,
    /// Sum over the photos: to the model's input.
    pub preprocess: Duration,
    /// Sum over the photos: the network.
    pub inference: Duration,
}

/// How to go through the photos.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Photos at a time, 1..=[`MAX_JOBS`]; fewer where `Limits::memory_bytes` does not hold that many.
    pub jobs: usize,
    /// Keep features and distances of each photo: 4 bytes a number.
    pub features: bool,
    /// Keep logits and distances of each photo: 4 bytes a number.
    pub logits: bool,
    /// How closely photos are decoded.
    pub decode: Decode,
    /// The only classes that can be the answer, where there is such a list.
    pub listed: Option<&'a Listed>,
    /// Called after each photo, from any thread, with what decoding and the network took.
    pub progress: &'a (dyn Fn(Duration, Duration) + Sync),
    /// Asked before each photo whether to stop.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            jobs: 1,
            features: false,
            logits: false,
            decode: Decode::Exact,
            listed: None,
            progress: &|_, _| (),
            stop: &|| false,
        }
    }
}

/// Runs `photos`, files below `folder`, through `model`; `truths` are their classes as
/// [`Labels::resolve`](crate::labels::Labels::resolve) gives them.
///
/// Photos are decoded and computed side by side on `jobs` threads, each with buffers of its own, so that memory depends
/// on `jobs` and not on the number of photos (records apart: about 200 bytes each). The result depends on neither.
///
/// # Errors
/// [`Error::NotFound`] naming the first file that is not there, before anything is computed; [`Error::BadModel`] for
/// a graph without `distances`. Photos that cannot be read, and such as the network computes NaN for, are
/// [`InferenceRun::failures`].
pub fn run(
    model: &Model,
    folder: &Path,
    photos: &[Label],
    truths: &[Option<usize>],
    limits: &Limits,
    options: &Options,
) -> Result<InferenceRun> {
    check_files(folder, photos)?;
    let jobs = jobs(model, options.jobs, limits).min(photos.len().max(1));
    let begin = Instant::now();
    let next = AtomicUsize::new(0);
    let run = Mutex::new(InferenceRun::default());
    let temperature = model.bundle().map_or(1.0, |bundle| bundle.open.temperature());
    let work = || -> Result<()> {
        let mut classifier = Classifier::new(model)?;
        if let Some(listed) = options.listed {
            classifier = classifier.with_listed(listed);
        }
        let settings = &classifier.names().bundle().preprocess;
        let mut reader = InputReader::new(settings, options.decode, limits);
        let mut pixels = vec![0; reader.output_len()];
        loop {
            let photo = next.fetch_add(1, Ordering::Relaxed);
            let Some(label) = photos.get(photo) else { return Ok(()) };
            if (options.stop)() {
                run.lock().expect("no thread panics").stopped = true;
                return Ok(());
            }
            let mut times = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
            let seen = reader.read(folder.join(&label.path), &mut pixels);
            let result = seen.and_then(|seen| {
                let answer = classifier.classify_pixels(&pixels).map_err(|e| named(&label.path, e))?;
                times = (seen.decode, seen.preprocess + answer.preprocess, answer.inference);
                let (truth, outputs) = (truths[photo], classifier.outputs());
                let kept = |values: &[f32], keep: bool| if keep { values.to_vec() } else { Vec::new() };
                let record = Record {
                    photo,
                    truth,
                    scores: answer.scores(),
                    kinds: ScoreKind::all(&outputs.logits, &outputs.distances),
                    own_distance: truth.and_then(|class| outputs.distances.get(class).copied()),
                    features: kept(&outputs.features, options.features),
                    distances: kept(&outputs.distances, options.features || options.logits),
                    unscaled_probability: unscaled(&outputs.logits, temperature),
                    logits: kept(&outputs.logits, options.logits),
                };
                Ok(record)
            });
            let mut run = run.lock().expect("no thread panics");
            match result {
                Ok(record) => {
                    run.records.push(record);
                    run.times.decode += times.0;
                    run.times.preprocess += times.1;
                    run.times.inference += times.2;
                }
                // A model that cannot run at all is no matter of this photo.
                Err(error @ (Error::Internal(_) | Error::Metadata { .. })) => return Err(error),
                Err(error) => run.failures.push((photo, error)),
            }
            drop(run);
            (options.progress)(times.0 + times.1, times.2);
        }
    };
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (1..jobs).map(|_| scope.spawn(work)).collect();
        let own = work();
        for thread in threads {
            thread.join().map_err(|_| Error::Internal("a thread of the run panicked".into()))??;
        }
        own
    })?;
    let mut run = run.into_inner().expect("no thread panics");
    run.records.sort_by_key(|record| record.photo);
    run.failures.sort_by_key(|(photo, _)| *photo);
    run.times.elapsed = begin.elapsed();
    run.times.jobs = jobs;
    Ok(run)
}

/// Photos at a time that `Limits::memory_bytes` has room for, at least 1: the sessions share the weights.
fn jobs(model: &Model, wanted: usize, limits: &Limits) -> usize {
    let summary = model.summary();
    let room = match limits.memory_bytes {
        Some(limit) => {
            limit.saturating_sub(summary.weights_bytes) / (summary.arena_bytes + summary.scratch_bytes).max(1)
        }
        None => u64::MAX,
    };
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).clamp(1, MAX_JOBS)
}

/// An hour of photos should not end with one that was never there.
fn check_files(folder: &Path, photos: &[Label]) -> Result<()> {
    let missing: Vec<&str> =
        photos.iter().map(|label| label.path.as_str()).filter(|path| !folder.join(path).is_file()).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    if missing.len() > 1 {
        log::warn!(
            "{} of {} photos are not below {}; is it the folder that the labels' paths start from?",
            missing.len(),
            photos.len(),
            folder.display()
        );
    }
    Err(Error::NotFound { path: folder.join(first) })
}

/// What the rule of `bundle` says of each of `records`.
pub fn answers(bundle: &Bundle, records: &[Record]) -> Vec<Answer> {
    let judge = Judge::new(bundle);
    let answer = |record: &Record| Answer {
        truth: record.truth,
        label: record.scores.class,
        open: decide(judge.decider(), record) == Decision::Open,
    };
    records.iter().map(answer).collect()
}

/// The largest softmax probability of `logits` times `temperature`.
fn unscaled(logits: &[f32], temperature: f32) -> f32 {
    let scaled = logits.iter().map(|logit| f64::from(*logit) * f64::from(temperature));
    (scaled.clone().fold(f64::NEG_INFINITY, f64::max) - log_sum_exp(scaled)).exp() as f32
}

fn decide(decider: &Decider, record: &Record) -> Decision {
    let other = decider.other_score().map_or(f32::NAN, |kind| record.kinds[kind.index()] as f32);
    decider.decide_by(&record.scores, other).decision
}

/// What a bootstrap draws at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clusters {
    /// The clusters that the labels name; photos without one on their own.
    Labelled,
    /// As [`Clusters::Labelled`], but the photos of an unknown class together: in the field other unknown things will
    /// come than those that happened to be photographed.
    UnknownClasses,
}

/// A bootstrap over `records` as [`run`] gave them for `labels`, known and unknown photos apart.
pub fn bootstrap(labels: &[Label], records: &[Record], clusters: Clusters) -> Bootstrap {
    let photos = |known: bool| {
        let of = move |(_, r): &(usize, &Record)| r.truth.is_some() == known;
        records.iter().enumerate().filter(of).map(move |(i, record)| {
            let label = &labels[record.photo];
            let cluster = match &label.cluster {
                _ if !known && clusters == Clusters::UnknownClasses => (label.class.as_str(), 0),
                Some(cluster) if !cluster.is_empty() => (cluster.as_str(), 0),
                // A photo that belongs to no other.
                _ => ("", record.photo),
            };
            (i, cluster)
        })
    };
    Bootstrap::new(Bootstrap::RESAMPLES, SEED).stratum(photos(true)).stratum(photos(false))
}

/// `error` with the photo that it is about.
fn named(photo: &str, error: Error) -> Error {
    match error {
        Error::BadInput { subject, reason } => {
            Error::BadInput { subject: photo.into(), reason: format!("{subject}: {reason}") }
        }
        other => other,
    }
}
