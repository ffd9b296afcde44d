//! `oltr stream`: classifies a camera or a stream of frames, live.

pub mod args;
mod command;
pub mod crops;
mod fit;
mod live;
mod mask;
mod notify;
mod open;
mod parse;
mod reach;
pub mod store;
mod table;
pub mod things;
mod wait;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oltr::clock;
use oltr::decide::events::Event;
use oltr::pipeline::keep::Keeper;
use oltr::pipeline::memory::{self, Plan};
use oltr::pipeline::{self, Control, Ended, Grouping, Report, Settings};
use oltr::queue::Overflow;
use oltr::sink::json::{self, JsonLines};
use oltr::sink::{CameraResult, CutResult, EventResult, Failure, FrameResult, SceneResult, Sink, Stats};
use oltr::source::FrameSource;
use oltr::text::counted;
use oltr::things::stills::{BURST, Stills};
use oltr::things::{Budget, Stage};
use oltr::{Classifier, Error, Limits, RegionOfInterest, Result};

use super::args::Common;
use super::enrol;
use super::exit::{self, Exit};
use super::output::Stdout;
use super::read;
use super::shutdown;
use args::StreamArgs;
use crops::Crops;
use notify::Notifier;
use reach::Reach;
use store::{Keeping, Storing};
use table::TableSink;
use wait::Opening;

/// Name of the output in errors.
pub const STDOUT: &str = "standard output";

/// Runs the command.
pub fn run(args: &StreamArgs, common: &Common) -> anyhow::Result<Exit> {
    let control = Control { stats: shutdown::requests(), ..Control::default() };
    shutdown::on_signals(control.stop.clone())?;
    let options = common.options();
    let photos = open::is_photos(args);
    let mut limits = args.scene.limits(args.limits(options.limits.clone(), common.max_memory, photos));
    let mut settings = args.settings(&limits, photos)?;
    let scene = args
        .scene
        .things
        .then(|| args.scene.settings(args.roi, &settings.events, &limits, args.allow_mask))
        .transpose()?;
    // Photos that are not grouped are answered one by one.
    let grouped = args.consensus.is_some() || args.burst.is_some();
    let frames = args.per_frame || photos && !grouped;
    let drawn = args.scene.drawn(args.allow_mask, scene.as_ref(), args.listen.is_some(), photos)?;
    let (stop, name) = (|| control.stop.load(Ordering::Relaxed), open::name(args));
    let mut opening = Opening::begin(args, &limits, &control.stop)?;
    // Before the model is loaded, so that a problem with the source is reported at once.
    let mut source = match opening.result(SOON) {
        Some(Err(_)) if stop() => return Ok(Exit::Success),
        opened => opened.transpose()?,
    };
    if let Some(bytes) = common.model(None).and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len()) {
        memory::check_loading(&name, bytes, &limits).map_err(|e| args.with_first_remedy(e))?;
    }
    let enrolled = enrol::file_for_use(args.enrolled.as_deref(), common).filter(|_| !args.no_enrolled);
    let (model, enrolments) = enrol::load_for(enrolled.as_deref(), args.store.is_on(), common)?;
    let enrolments = enrolments.as_ref();
    let mut classifier = Classifier::new(&model)?;
    if let Some(enrolments) = enrolments {
        classifier = classifier.with_enrolments(enrolments);
    }
    let listed = read::listed(args.species_list.as_deref(), classifier.names().bundle())?;
    if let Some(listed) = &listed {
        classifier = classifier.with_listed(listed);
    }
    let (names, line_limits) = (classifier.names(), limits.clone());
    let graph = model.graph_sha256();
    let mut reach = Reach::start(args, &name, drawn.as_ref(), names, graph, &line_limits, common.quiet)?;
    let keeper = args.store.is_on().then(|| RefCell::new(Keeper::new(args.gap.max(args.linger))));
    let mut classifier = Keeping::new(classifier, keeper.as_ref(), reach.eye());
    let mut output = || -> anyhow::Result<Out<'_>> {
        let to = if common.json {
            let settings = json::Settings {
                destination: STDOUT.into(),
                frames,
                planned_bytes: None,
                limit_bytes: line_limits.memory_bytes,
            };
            To::Json(Box::new(JsonLines::new(Stdout, settings, &line_limits)))
        } else {
            To::Table(Box::new(TableSink::new(names, frames, photos)?))
        };
        let crops = args.scene.save_crops.as_deref().map(|folder| Crops::new(folder, args.scene.saved()));
        let (notifier, stop) = (Notifier::new(), control.stop.clone());
        Ok(Out { to, notifier, stop, store: None, crops: crops.transpose()?, reach: std::mem::take(&mut reach) })
    };
    // A late source is waited for by a program that is ready.
    let mut waiting = None;
    if source.is_none() {
        let out = waiting.insert(output()?);
        source = wait_for(&mut opening, out, &name, &control, &settings)?;
    }
    let Some(mut source) = source else { return Ok(Exit::Success) };
    let drops = settings.overflow_for(source.as_ref()) == Overflow::DropOldest;
    let budget = if drops { Budget::live() } else { Budget::fixed() };
    let (mut stage, mut stills) = (None, None);
    match &scene {
        Some(scene) if photos => {
            let apart = args.burst.unwrap_or(BURST);
            let of = args.scene.stills(source, scene, apart, &model, &options, &limits);
            let (looking, of) = of.map_err(|e| args.with_first_remedy(e))?;
            (source, stills) = (Box::new(looking), Some(of));
        }
        Some(scene) => {
            let of = args.scene.stage(scene, drawn.as_ref(), budget, &model, &options, &limits);
            stage = Some(of.map_err(|e| args.with_first_remedy(e))?);
        }
        None if source.is_live() => things::warn_of_crops(&model),
        None => {}
    }
    let stage_bytes = stage.as_ref().map(Stage::bytes).or(stills.as_ref().map(Stills::bytes));
    // Thing mode needs the whole photo, and so does a store.
    if settings.roi == RegionOfInterest::default() && !args.store.is_on() && scene.is_none() {
        let jobs = if limits.memory_bytes.is_some() {
            args.reading.jobs.map_or(1, usize::from)
        } else {
            args.reading.jobs(common.threads)
        };
        source.read_for(&names.bundle().preprocess, args.reading.decode.into(), jobs);
    }
    let plan_of = |source: &dyn FrameSource, settings: &Settings, limits: &Limits| {
        let mut plan = Plan::new(&model, options.threads, source, settings, limits);
        if let Some(bytes) = stage_bytes {
            plan = plan.with("things", bytes as u64);
        }
        if let Some(bytes) = args.scene.detector_bytes() {
            plan = plan.with_detector(&model, bytes);
        }
        if args.scene.save_crops.is_some() {
            plan = plan.with("saved cuts", Crops::bytes() as u64);
        }
        let plan = match Reach::memory(args, source.bounds().frame_bytes) {
            Some(bytes) => plan.with("page", bytes),
            None => plan,
        };
        let plan = match enrolments {
            Some(enrolments) => plan.with_enrolments(enrolments),
            None => plan,
        };
        match args.store.memory() {
            Some(bytes) => plan.with_store(bytes, source, settings),
            None => plan,
        }
    };
    let mut plan = plan_of(source.as_ref(), &settings, &limits);
    if photos && args.max_frame.is_none() && plan.check(source.name(), &limits).is_err() {
        settings.depth = settings.depth.or(Some(1));
        let largest = fit::largest_photo(limits.photo_pixels, |pixels| {
            let limits = fit::limits(&limits, pixels);
            source.restrict(&limits);
            plan_of(source.as_ref(), &settings, &limits).check("", &limits).is_ok()
        });
        limits = fit::limits(&limits, largest);
        source.restrict(&limits);
        plan = plan_of(source.as_ref(), &settings, &limits);
        if plan.check("", &limits).is_ok() {
            fit::tell(source.as_mut(), largest, &limits, |source, limits| plan_of(source, &settings, limits).total());
        }
    }
    log::info!("{plan}");
    plan.check(source.name(), &limits).map_err(|e| args.with_remedy(e, photos))?;
    let mut out = match waiting {
        Some(out) => out,
        None => output()?,
    };
    if let To::Json(lines) = &mut out.to {
        lines.set_planned(plan.total());
    }
    out.reach.set_planned(plan.total());
    if let To::Json(lines) = &out.to {
        out.reach.name_as(lines);
    }
    out.store = Storing::start(&args.store, keeper.as_ref(), graph, names, drops, &line_limits)?;
    if let Some(store) = &mut out.store {
        store.set_source(source.name());
        store.set_bursts(matches!(settings.grouping, Grouping::Bursts(_)));
    }
    if let (Some(store), To::Json(lines)) = (&mut out.store, &out.to) {
        store.name_as(lines);
    }
    let source = source.as_mut();
    let result = match (&mut stage, &mut stills) {
        (_, Some(stills)) => {
            pipeline::run_stills(source, stills, &mut classifier, &mut out, &control, &settings, &limits)
        }
        (Some(stage), _) => {
            pipeline::run_things(source, stage, &mut classifier, &mut out, &control, &settings, &limits)
        }
        (None, None) => pipeline::run(source, &mut classifier, &mut out, &control, &settings, &limits),
    };
    out.notifier.stopping();
    if let Some(store) = &mut out.store {
        store.finish();
    }
    out.reach.finish(control.stop.load(Ordering::Relaxed));
    let Report { ended, stats } = result?;
    if ended == Ended::Input && drops && stats.dropped > 0 {
        // A pipe may deliver a recording. A user who wants all of its frames must be warned that some are dropped.
        log::warn!(
            "{name}: dropped {} of {}, because they came faster than they were classified; of a recording --recording \
             takes every one, with the times of its frame rate (--overflow block every one as it comes)",
            stats.dropped,
            counted(stats.captured, "frame")
        );
    }
    Ok(match ended {
        Ended::Stopped => Exit::Success,
        Ended::Input if stats.decode_errors > 0 => Exit::Data,
        Ended::Input => Exit::Success,
    })
}

/// How long a source may take to open before the model is loaded and the service manager informed.
const SOON: Duration = Duration::from_millis(200);

/// Waits for a source that comes late; `None` if a stop was requested. Statistics report it as not connected.
fn wait_for(
    opening: &mut Opening,
    out: &mut Out,
    name: &str,
    control: &Control,
    settings: &pipeline::Settings,
) -> Result<Option<Box<dyn FrameSource>>> {
    let mut reported = Duration::ZERO;
    let stats = |opening: &Opening, last| {
        let (now, stuck) = (Duration::from_nanos(clock::monotonic_ns()), opening.is_stuck());
        let waited = opening.waited();
        Stats { now, uptime: waited, silent: waited, stuck, last, ..Stats::default() }
    };
    loop {
        match opening.wait() {
            // Checked after the wait: a stop during it is why the source was given up.
            _ if control.stop.load(Ordering::Relaxed) => {
                out.stats(name, &stats(opening, true))?;
                out.notifier.stopping();
                return Ok(None);
            }
            Ok(None) => {}
            opened => return opened,
        }
        let asked = control.stats.swap(false, Ordering::Relaxed);
        if asked || settings.stats_every.is_some_and(|every| opening.waited() >= reported + every) {
            reported = opening.waited();
            out.stats(name, &stats(opening, false))?;
        }
        out.notifier.alive(opening.is_stuck());
    }
}

/// Results to stdout, and signs of life to the service manager.
struct Out<'k> {
    to: To,
    notifier: Notifier,
    /// Whether a stop was requested.
    stop: Arc<AtomicBool>,
    /// The store of events.
    store: Option<Storing<'k>>,
    /// The saved crops.
    crops: Option<Crops>,
    /// Further receivers.
    reach: Reach,
}

enum To {
    Json(Box<JsonLines<Stdout>>),
    Table(Box<TableSink>),
}

impl Out<'_> {
    fn sink(&mut self) -> &mut dyn Sink {
        match &mut self.to {
            To::Json(sink) => sink.as_mut(),
            To::Table(sink) => sink.as_mut(),
        }
    }
}

impl Sink for Out<'_> {
    fn frame(&mut self, frame: &FrameResult) -> Result<()> {
        self.reach.frame(frame);
        self.sink().frame(frame)
    }

    fn scene(&mut self, scene: &SceneResult) -> Result<()> {
        self.reach.scene(scene);
        self.sink().scene(scene)
    }

    fn cut(&mut self, cut: &CutResult) -> Result<()> {
        self.reach.cut(cut);
        match &mut self.crops {
            Some(crops) => crops.cut(cut),
            None => Ok(()),
        }
    }

    fn camera(&mut self, camera: &CameraResult) -> Result<()> {
        self.sink().camera(camera)
    }

    fn event(&mut self, event: &EventResult) -> Result<()> {
        if let Some(crops) = &mut self.crops {
            crops.event(event)?;
        }
        let novelty = self.store.as_mut().map(|store| store.event(event)).transpose()?.flatten();
        self.reach.event(event, novelty)?;
        match &mut self.to {
            To::Json(lines) => lines.event_with(event, novelty),
            To::Table(person) => person.event(event),
        }
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.sink().failure(failure)
    }

    fn stats(&mut self, source: &str, stats: &Stats) -> Result<()> {
        if let Some(store) = &mut self.store {
            // The last statistics include the events that are still being written.
            if stats.last {
                store.tick(stats)?;
                store.finish();
            }
            if let To::Json(lines) = &mut self.to {
                lines.set_store(store.stats());
            }
        }
        self.sink().stats(source, stats)
    }

    /// Only the stuck thread is left, and nothing to wait for.
    fn stuck(&mut self, error: &Error) {
        self.sink().stuck(error);
        if let Some(store) = &mut self.store {
            store.finish();
        }
        self.notifier.stopping();
        let asked = self.stop.load(Ordering::Relaxed);
        let exit = if asked { Exit::Success } else { exit::report_error(error) };
        std::process::exit(exit as i32);
    }

    fn tick(&mut self, stats: &Stats, events: &mut dyn Iterator<Item = &Event>) -> Result<()> {
        self.notifier.alive(stats.stuck);
        self.reach.tick(stats, self.store.as_ref().map(Storing::stats));
        self.store.as_mut().map_or(Ok(()), |store| store.tick(stats))?;
        self.sink().tick(stats, events)
    }
}
