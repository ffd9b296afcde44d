//! `oltr stream`: what a camera or a stream of frames shows, as it goes on.

pub mod args;
mod notify;
mod open;
mod person;

use std::io::{self, Write};
use std::sync::atomic::Ordering;

use oltr::decide::events::Event;
use oltr::pipeline::memory::{self, Plan};
use oltr::pipeline::{self, Control, Ended, ModelClassifier, Report};
use oltr::sink::json::{self, JsonLines};
use oltr::sink::{EventResult, Failure, FrameResult, Sink, Stats};
use oltr::{Error, Result};

use super::args::Common;
use super::enrol;
use super::exit::Exit;
use super::shutdown;
use args::StreamArgs;
use notify::Notifier;
use person::Person;

/// What errors call the place where results go.
pub const STDOUT: &str = "standard output";

/// Runs the command.
pub fn run(args: &StreamArgs, common: &Common) -> anyhow::Result<Exit> {
    let control = Control::default();
    shutdown::on_signals(control.stop.clone())?;
    shutdown::on_request(control.stats.clone())?;
    let options = common.options();
    let limits = args.limits(options.limits.clone(), common.max_memory);
    let settings = args.settings(&limits)?;
    let stop = || control.stop.load(Ordering::Relaxed);
    // Before the model: what is wrong with the command line or the source shows at once.
    let mut source = match open::open(args, &limits, &stop) {
        Err(_) if stop() => return Ok(Exit::Success),
        source => source?,
    };
    if let Some(bytes) = common.model(None).and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len()) {
        memory::check_loading(source.name(), bytes, &limits)?;
    }
    let enrolments = if args.no_enrolled { None } else { enrol::for_use(args.enrolled.as_deref(), common)? };
    let enrolments = enrolments.as_ref();
    let model = common.load(None)?;
    let mut plan = Plan::new(&model, options.threads, source.as_ref(), &settings, &limits);
    if let Some(enrolments) = enrolments {
        plan = plan.with_enrolments(enrolments);
    }
    log::info!("{plan}");
    plan.check(source.name(), &limits).map_err(|e| args.with_remedy(e))?;
    let mut classifier = ModelClassifier::new(&model)?;
    if let Some(enrolments) = enrolments {
        classifier = classifier.with_enrolments(enrolments);
    }
    let bundle = model.bundle().ok_or_else(|| Error::Internal("a classifier without classes".into()))?;
    let mut out = Out {
        to: if common.json {
            let settings = json::Settings {
                destination: STDOUT.into(),
                frames: args.per_frame,
                planned_bytes: Some(plan.total()),
                limit_bytes: limits.memory_bytes,
            };
            let lines = JsonLines::new(io::stdout(), bundle, settings, &limits);
            To::Json(Box::new(match enrolments {
                Some(enrolments) => lines.with_enrolments(enrolments),
                None => lines,
            }))
        } else {
            To::Person(Box::new(Person::new(bundle, enrolments, args.per_frame)?))
        },
        notifier: Notifier::new(),
    };
    let result = pipeline::run(source.as_mut(), &mut classifier, &mut out, &control, &settings, &limits);
    out.notifier.stopping();
    let Report { ended, stats } = result?;
    Ok(match ended {
        Ended::Stopped => Exit::Success,
        Ended::Input if stats.decode_errors > 0 => Exit::Data,
        Ended::Input => Exit::Success,
    })
}

/// Says something on stderr that was asked for.
fn say(text: &str) {
    // Not eprintln: it panics where stderr is closed.
    let _ = writeln!(io::stderr(), "oltr: {text}");
}

/// Results to stdout, and signs of life to the service manager.
struct Out<'a> {
    to: To<'a>,
    notifier: Notifier,
}

enum To<'a> {
    Json(Box<JsonLines<'a, io::Stdout>>),
    Person(Box<Person>),
}

impl Out<'_> {
    fn sink(&mut self) -> &mut dyn Sink {
        match &mut self.to {
            To::Json(sink) => sink.as_mut(),
            To::Person(sink) => sink.as_mut(),
        }
    }
}

impl Sink for Out<'_> {
    fn frame(&mut self, frame: &FrameResult) -> Result<()> {
        self.sink().frame(frame)
    }

    fn event(&mut self, event: &EventResult) -> Result<()> {
        self.sink().event(event)
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.sink().failure(failure)
    }

    fn stats(&mut self, source: &str, stats: &Stats) -> Result<()> {
        self.sink().stats(source, stats)
    }

    fn tick(&mut self, stats: &Stats, events: &mut dyn Iterator<Item = &Event>) -> Result<()> {
        self.notifier.alive();
        self.sink().tick(stats, events)
    }
}
