//! Further receivers of a stream: browsers (`--listen`) and a command (`--on-event`).

use std::io;
use std::sync::Arc;

use oltr::decide::events::Phase;
use oltr::sink::json::JsonLines;
use oltr::sink::{CutResult, EventResult, FrameResult, Novelty, SceneResult, Stats, StoreStats};
use oltr::{Limits, Names, Result};

use super::args::StreamArgs;
use super::command::Runner;
use super::live::{Eye, Live, Served};
use super::mask::Drawn;

/// The receivers.
#[derive(Default)]
pub struct Reach {
    live: Option<Live>,
    runner: Option<Runner>,
    /// Formats the line of an event; `None` without receivers.
    lines: Option<Box<JsonLines<io::Sink>>>,
}

impl Reach {
    /// Starts to answer browsers, if requested. They can see and draw `mask`.
    ///
    /// # Errors
    /// As [`Live::start`] and [`Runner::start`].
    pub fn start(
        args: &StreamArgs,
        source: &str,
        mask: Option<&Arc<Drawn>>,
        names: Names,
        graph: Option<&str>,
        limits: &Limits,
        quiet: bool,
    ) -> Result<Reach> {
        let served = args.listen.map(|listen| {
            let (region, ignored, mask) = (args.roi, args.scene.ignore.as_slice(), mask.cloned());
            let store = args.store.store.as_deref();
            Served { listen, source, bundle: names.bundle(), region, ignored, mask, store, graph, limits, quiet }
        });
        let live = served.map(Live::start).transpose()?;
        let runner = args.on_event.as_deref().map(Runner::start).transpose()?;
        let receives = live.is_some() || runner.is_some();
        let settings = oltr::sink::json::Settings { destination: "the page".into(), ..Default::default() };
        let lines = receives.then(|| Box::new(JsonLines::new(io::sink(), settings, limits)));
        Ok(Reach { live, runner, lines })
    }

    /// Bytes of memory that all of it takes where frames have up to `frame` bytes, if there is any of it.
    pub fn memory(args: &StreamArgs, frame: usize) -> Option<u64> {
        let live = args.listen.map_or(0, |_| Live::bytes(args.allow_mask) + frame as u64);
        let runner = args.on_event.as_ref().map_or(0, |_| Runner::bytes());
        Some(live + runner).filter(|bytes| *bytes > 0)
    }

    /// The handle that shows frames to browsers.
    pub fn eye(&self) -> Option<Eye> {
        self.live.as_ref().map(Live::eye)
    }

    /// Sets the planned memory.
    pub fn set_planned(&self, bytes: u64) {
        if let Some(live) = &self.live {
            live.set_planned(bytes);
        }
    }

    /// Names events as `other` does.
    pub fn name_as(&mut self, other: &JsonLines<impl io::Write>) {
        if let Some(lines) = &mut self.lines {
            lines.set_run(other.run());
        }
    }

    /// A frame was classified.
    pub fn frame(&mut self, frame: &FrameResult) {
        if let Some(live) = &mut self.live {
            live.frame(frame);
        }
    }

    /// A frame in thing mode was processed.
    pub fn scene(&mut self, scene: &SceneResult) {
        if let Some(live) = &mut self.live {
            live.scene(scene);
        }
    }

    /// A crop of a thing was classified.
    pub fn cut(&mut self, cut: &CutResult) {
        if let Some(live) = &mut self.live {
            live.cut(cut);
        }
    }

    /// Something happened to an event.
    ///
    /// # Errors
    /// As [`JsonLines::event_with`].
    pub fn event(&mut self, event: &EventResult, novelty: Option<Novelty>) -> Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.event_with(event, novelty)?;
        let line = lines.last_line();
        if let Some(live) = &mut self.live {
            live.event(event, line);
        }
        if let Some(runner) = self.runner.as_mut().filter(|_| event.change.phase != Phase::Update) {
            runner.event(line);
        }
        Ok(())
    }

    /// Time passes.
    pub fn tick(&mut self, stats: &Stats, store: Option<StoreStats>) {
        if let Some(live) = &mut self.live {
            live.tick(stats, store);
        }
    }

    /// The stream is over, or was `stopped`.
    pub fn finish(&mut self, stopped: bool) {
        if let Some(runner) = &mut self.runner {
            runner.finish(stopped);
        }
    }
}
