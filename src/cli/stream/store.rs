//! `oltr stream --store`: writes events with their best pictures to a store.

use std::cell::RefCell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use image::codecs::jpeg::JpegEncoder;
use oltr::bundle::Shot;
use oltr::decide::Decision;
use oltr::decide::events::Phase;
use oltr::decide::mean::Mean;
use oltr::pipeline::Classify;
use oltr::pipeline::keep::{self, Candidate, Form, Keeper, PICTURES, Picture};
use oltr::sink::json::JsonLines;
use oltr::sink::{EventResult, Novelty, Sink, Stats, StoreStats, Times};
use oltr::text::counted;
use oltr::{Answer, Classifier, Error, Frame, Limits, Names, Outputs, Result, clock};
use oltr_export::Deployment;
use oltr_store::disk::RealDisk;
use oltr_store::writer::{self, Job, Writer};
use oltr_store::{MEMORY_BYTES, MIN_QUOTA, Settings};
use serde_json::json;

use super::super::byte_size::ByteSize;
use super::super::exit;
use super::super::output::bytes;
use super::live::Eye;

/// Default free space of the disk.
const DEFAULT_FREE: ByteSize = ByteSize(64 << 20);

/// Quality of pictures that are encoded here.
const QUALITY: u8 = 85;

/// Most bytes that one event writes: the largest record, its picture, a block and a folder.
const MOST_BYTES: u64 = (128 << 10) + keep::PICTURE_BYTES as u64;

/// Timeout for writing the last events: a service has five seconds to end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Options of the store.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Store events with their best pictures in this folder; see 'oltr store list DIR', 'oltr review serve DIR'
    #[arg(long, value_name = "DIR", requires = "store_size")]
    pub store: Option<PathBuf>,
    /// With --store: quota in bytes, as 2GiB; above it the least valuable events are evicted
    #[arg(long, value_name = "SIZE", requires = "store")]
    pub store_size: Option<ByteSize>,
    /// With --store: bytes of the disk that stay free [default: 64MiB]
    #[arg(long, value_name = "SIZE", requires = "store")]
    pub store_free: Option<ByteSize>,
    /// With --store: most bytes written in 24 hours; above it ordinary events are stored without pictures, then not at
    /// all [default: 8 times --store-size for a live source, else no limit]
    #[arg(long, value_name = "SIZE", requires = "store")]
    pub store_day: Option<ByteSize>,
    /// With --store: a deployment.toml, whose id and place are added to each record (docs/guide/exports.md)
    #[arg(long, value_name = "FILE", requires = "store")]
    pub deployment: Option<PathBuf>,
}

impl StoreArgs {
    /// Whether events are stored.
    pub fn is_on(&self) -> bool {
        self.store.is_some()
    }

    /// Bytes of memory that a store takes, its thread and pictures that are encoded among them.
    pub fn memory(&self) -> Option<u64> {
        self.store.as_ref()?;
        Some(MEMORY_BYTES + writer::STACK as u64 + 2 * keep::PICTURE_BYTES as u64)
    }
}

/// A picture in the queue; pixels are encoded there.
pub struct Jpeg {
    picture: Picture,
    encoded: Vec<u8>,
}

impl writer::Picture for Jpeg {
    fn jpeg(&mut self) -> Option<&[u8]> {
        let Form::Rgb(width, height) = self.picture.form else { return Some(&self.picture.bytes) };
        self.encoded.clear();
        let mut encoder = JpegEncoder::new_with_quality(&mut self.encoded, QUALITY);
        let pixels = &self.picture.bytes;
        encoder.encode(pixels, width, height, image::ExtendedColorType::Rgb8).ok()?;
        Some(&self.encoded)
    }
}

/// Wraps a classifier and keeps the best pictures.
pub struct Keeping<'a, 'k> {
    inner: Classifier<'a>,
    keeper: Option<&'k RefCell<Keeper>>,
    /// The thing that the next frame is a crop of.
    thing: Option<u64>,
    /// Where the network's input is shown.
    eye: Option<Eye>,
}

impl<'a, 'k> Keeping<'a, 'k> {
    pub fn new(inner: Classifier<'a>, keeper: Option<&'k RefCell<Keeper>>, eye: Option<Eye>) -> Keeping<'a, 'k> {
        Keeping { inner, keeper, thing: None, eye }
    }
}

impl Classify for Keeping<'_, '_> {
    fn names(&self) -> Names<'_> {
        self.inner.names()
    }

    fn about(&mut self, thing: u64) {
        self.thing = Some(thing);
    }

    fn outputs(&self) -> Option<&Outputs> {
        Some(self.inner.outputs())
    }

    fn together(&self, mean: &Mean) -> Option<Decision> {
        self.inner.together(mean)
    }

    fn classify(&mut self, frame: &Frame) -> Result<Answer<'_>> {
        let thing = self.thing.take();
        let answer = self.inner.classify(frame)?;
        if let Some(eye) = &self.eye {
            let pixels = self.inner.session().pixels();
            match thing {
                Some(_) => eye.see_cut(pixels, &answer),
                None => eye.see(frame, pixels, &answer),
            }
        }
        if let Some(keeper) = self.keeper {
            let outputs = self.inner.outputs();
            let unit = self.inner.judge().decider().unit(&outputs.distances);
            // The same choice as an event's best frame. For a thing the largest crop, because its label is not known
            // yet.
            let score = match (thing, answer.decision) {
                (Some(_), _) => frame.geometry().roi.region.map_or(0.0, |r| r.width as f32 * r.height as f32),
                (None, Decision::Known(_)) => answer.probability,
                (None, _) => -answer.reachability,
            };
            let candidate = Candidate { frame, score, features: &outputs.features, unit };
            let key = thing.map_or_else(|| keep::key(answer.decision), keep::thing_key);
            keeper.borrow_mut().offer(key, &candidate);
        }
        Ok(answer)
    }
}

/// The key of an event's picture.
fn key_of(e: &EventResult) -> u64 {
    e.thing.map_or_else(|| keep::key(e.change.event.label), |thing| keep::thing_key(thing.thing.id))
}

/// Novelty of an event, in the form of the JSON lines.
fn novelty_fields(new: oltr_store::Novelty) -> Novelty {
    Novelty { first_ever: new.first_ever, first_today: new.first_today, days_since: new.days_since }
}

/// Hands events to the store.
pub struct Storing<'k> {
    writer: Writer<Jpeg>,
    keeper: &'k RefCell<Keeper>,
    /// Pictures that were written, and buffers to encode others in.
    back: Receiver<Jpeg>,
    spare: Vec<Vec<u8>>,
    lines: JsonLines<io::Sink>,
    graph: Option<String>,
    limit: Option<f32>,
    /// Whether events are bursts, which end before the next begins.
    bursts: bool,
    /// Novelty of open events.
    news: heapless::Vec<(u64, Option<oltr_store::Novelty>), { oltr::decide::events::MAX_EVENTS }>,
    /// The deployment's fields for each record, as the rest of an object.
    stamp: Option<String>,
    source: String,
    /// When the statistics were last logged, and whether the clock was known then.
    noted: Option<(Duration, bool)>,
    finished: bool,
}

/// How long the store may take to be read before the first frame.
const READ_PATIENCE: Duration = Duration::from_secs(2);

/// Interval between logs of the statistics.
const NOTE_EVERY: Duration = Duration::from_secs(600);

/// Default daily limit in multiples of the store's size: more would be evicted within hours, and wears out cards.
const DAYS: u64 = 8;

/// The deployment's fields for a record: the rest of an object.
fn stamp(deployment: &Deployment) -> String {
    let told = json!({
        "deployment": {
            "id": deployment.id, "place": deployment.place, "latitude": deployment.latitude,
            "longitude": deployment.longitude,
        },
    });
    format!(",{}", &told.to_string()[1..])
}

impl<'k> Storing<'k> {
    /// Opens the store of `args` on its own thread, and sets its limits.
    ///
    /// # Errors
    /// [`Error::Config`] for too small a quota; [`Error::Io`] if the thread cannot be started.
    pub fn start(
        args: &StoreArgs,
        keeper: Option<&'k RefCell<Keeper>>,
        graph: Option<&str>,
        names: Names,
        live: bool,
        limits: &Limits,
    ) -> Result<Option<Storing<'k>>> {
        let (Some(folder), Some(size), Some(keeper)) = (&args.store, args.store_size, keeper) else { return Ok(None) };
        if size.0 < MIN_QUOTA {
            let least = MIN_QUOTA >> 10;
            return Err(Error::Config(format!("--store-size: a store takes {least} KiB at least; give it more")));
        }
        let settings = Settings { quota: size.0, free: args.store_free.unwrap_or(DEFAULT_FREE).0 };
        let (done, back) = sync_channel(PICTURES + writer::QUEUE);
        let done = move |picture| {
            let _ = done.try_send(picture);
        };
        let day = args.store_day.map(|day| day.0).or(live.then(|| size.0.saturating_mul(DAYS)));
        let stamp =
            args.deployment.as_deref().map(|path| Deployment::read(path).map(|told| stamp(&told))).transpose()?;
        let started = Writer::start(folder, settings, day, Arc::new(RealDisk), done);
        let writer = started.map_err(|cause| Error::Io { path: "the thread of the store".into(), cause })?;
        writer.wait_until_read(READ_PATIENCE);
        if log::log_enabled!(log::Level::Warn) {
            exit::say(&format!(
                "{}: keeps up to {}; an event writes {} KiB at most, usually 20 to 100, and a day {}",
                folder.display(),
                bytes(size.0),
                MOST_BYTES >> 10,
                day.map_or("has no bound (--store-day)".into(), |day| format!("{} at most", bytes(day))),
            ));
        }
        let settings = oltr::sink::json::Settings { destination: "the store".into(), ..Default::default() };
        let lines = JsonLines::new(io::sink(), settings, limits);
        let limit = names.bundle().open_distance().ok();
        let spare = Vec::with_capacity(PICTURES);
        let (graph, news) = (graph.map(String::from), heapless::Vec::new());
        let bursts = false;
        let (source, noted) = (String::new(), None);
        Ok(Some(Storing {
            writer,
            keeper,
            back,
            spare,
            lines,
            graph,
            limit,
            bursts,
            news,
            stamp,
            source,
            noted,
            finished: false,
        }))
    }

    /// Sets the name of the source.
    pub fn set_source(&mut self, source: &str) {
        self.source = source.into();
    }

    /// Logs the statistics at intervals, and when the clock becomes known.
    pub fn tick(&mut self, stats: &Stats) -> Result<()> {
        let known = || clock::is_synchronised() == Some(true);
        let due = match self.noted {
            None => true,
            Some((at, was)) => {
                let passed = stats.now.saturating_sub(at);
                passed >= NOTE_EVERY || (!was && passed >= NOTE_EVERY / 20 && known())
            }
        };
        if due || (stats.last && !self.finished) {
            self.noted = Some((stats.now, known()));
            self.lines.stats(&self.source, stats)?;
            self.writer.note(self.lines.run(), self.lines.last_line());
        }
        Ok(())
    }

    /// Sets whether events are bursts, which end before the next begins.
    pub fn set_bursts(&mut self, bursts: bool) {
        self.bursts = bursts;
    }

    /// Names events as `lines` does.
    pub fn name_as(&mut self, lines: &JsonLines<impl Write>) {
        self.lines.set_run(lines.run());
    }

    /// Handles a change of an event and returns its novelty. Stores an event that ended.
    pub fn event(&mut self, e: &EventResult) -> Result<Option<Novelty>> {
        for jpeg in self.back.try_iter() {
            self.keeper.borrow_mut().give_back(jpeg.picture);
            if self.spare.len() < PICTURES {
                self.spare.push(jpeg.encoded);
            }
        }
        let event = &e.change.event;
        let key = key_of(e);
        let label = e.names.label(event.label);
        let seconds = match e.times {
            Times::Monotonic => clock::wall_at(event.last).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            Times::Utc | Times::Local => event.last.as_secs(),
        };
        let day = u32::try_from(seconds / 86_400).unwrap_or(u32::MAX);
        let known = self.news.iter().position(|(id, _)| *id == event.id);
        let novelty = match (e.change.phase, known) {
            (_, Some(place)) => self.news[place].1,
            (Phase::New, None) => {
                // Pictures have the time of their arrival. A burst is announced when it is over.
                if e.times == Times::Monotonic && !self.bursts && e.thing.is_none() {
                    self.keeper.borrow_mut().begin(key, event.first);
                }
                self.writer.novelty(label.unwrap_or(""), day)
            }
            (_, None) => None,
        };
        match (e.change.phase, known) {
            (Phase::New, None) => {
                let _ = self.news.push((event.id, novelty));
            }
            (Phase::End(_), known) => {
                if let Some(place) = known {
                    self.news.swap_remove(place);
                }
                self.keep(e, label, day, novelty)?;
                if self.bursts {
                    self.keeper.borrow_mut().clear();
                }
            }
            _ => {}
        }
        Ok(novelty.map(novelty_fields))
    }

    fn keep(
        &mut self,
        e: &EventResult,
        label: Option<&str>,
        day: u32,
        novelty: Option<oltr_store::Novelty>,
    ) -> Result<()> {
        let event = &e.change.event;
        let picture = self.keeper.borrow_mut().end(key_of(e));
        self.lines.event_with(e, novelty.map(novelty_fields))?;
        let line = self.lines.last_line();
        let few = matches!(e.names.shot(event.label), Some(Shot::Few)) || matches!(event.label, Decision::Enrolled(_));
        let features = picture.as_ref().map(|p| p.features.clone()).filter(|features| !features.is_empty());
        let mut event_line = line.to_string();
        if let Some(stamp) = self.stamp.as_ref().filter(|_| event_line.ends_with('}')) {
            event_line.pop();
            event_line.push_str(stamp);
        }
        let job = Job {
            event: event_line,
            event_id: format!("{}-{}", self.lines.run(), event.id),
            decision: event.label.word(),
            label: label.map(String::from),
            nearest: e.names.class(event.best.nearest as usize).map(|class| class.id.clone()),
            special: few || event.label == Decision::Open,
            day,
            graph: self.graph.clone(),
            unit: picture.as_ref().map(|picture| picture.unit),
            limit: self.limit,
            features,
            novelty,
        };
        let jpeg = picture.map(|picture| Jpeg { picture, encoded: self.spare.pop().unwrap_or_default() });
        if let Some(jpeg) = self.writer.keep(job, jpeg) {
            self.keeper.borrow_mut().give_back(jpeg.picture);
            self.spare.push(jpeg.encoded);
        }
        Ok(())
    }

    /// Counts of events.
    pub fn stats(&self) -> StoreStats {
        let counts = self.writer.counts();
        StoreStats {
            state: match (counts.open, self.finished) {
                (true, _) => "open",
                (false, true) => "closed",
                (false, false) => "waiting",
            },
            records: counts.records,
            bytes: counts.bytes,
            kept: counts.kept,
            dropped: counts.dropped,
            not_kept: counts.not_kept,
            pictures_lost: counts.pictures_lost,
            evicted: counts.evicted,
            written_bytes: counts.written,
        }
    }

    /// Writes the last events, and logs how many could not be stored.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if !self.writer.finish(PATIENCE) {
            log::warn!("the store does not answer; its last events may not be kept");
        }
        let counts = self.writer.counts();
        if counts.dropped + counts.not_kept > 0 {
            log::warn!(
                "not kept in the store: {}; {} came faster than they were written, {} could not be kept",
                counted(counts.dropped + counts.not_kept, "event"),
                counts.dropped,
                counts.not_kept
            );
        }
    }
}
