//! `oltr stream --listen`: shows the camera's picture and the network's answers in a browser.
//!
//! The classifying thread never waits for a client. It copies frames and the network's input into memory that is
//! allocated once, only while a browser is watching and the lock is free. Another thread makes pictures ([`desk`]), and
//! the answering threads encode them.

mod desk;
mod drift;
mod kept;
mod metrics;
mod site;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use oltr::bundle::Bundle;
use oltr::decide::Decision;
use oltr::decide::events::Phase;
use oltr::sink::{CutResult, EventResult, FrameResult, SceneResult, Stats, StoreStats};
use oltr::{Answer, Error, Frame, Limits, Names, Rect, Result, clock};
use serde::Serialize;

use super::super::exit;
use super::super::http::{self, guard};
use super::mask::{self, Drawn};
use desk::{Desk, Seen};
use drift::{Drift, Usual};
use metrics::Tally;

/// Pixels of the picture of the camera that is shown.
const PIXELS: u32 = 640 * 480;

/// Longest side of the displayed network input, in pixels.
const INPUT: usize = 512;

/// Lines of events that are remembered for the page.
const LINES: usize = 32;

/// Most bytes of such a line. Longer ones are not shown.
const LINE_BYTES: usize = 32 << 10;

/// Longest side of an event's picture, in pixels.
const SMALL: u32 = 96;

/// A browser counts as watching for this long after its last request.
const WATCHED: Duration = Duration::from_secs(4);

/// Interval between copies of a picture while a browser is watching.
const EVERY: Duration = Duration::from_millis(150);

/// Without a sign of life for this long, the program counts as hanging.
const DEAD: Duration = Duration::from_secs(30);

/// The displayed numbers of one frame.
#[derive(Clone, Debug, Default, Serialize)]
struct Numbers {
    frame: u64,
    decision: &'static str,
    label: Option<String>,
    name: Option<String>,
    probability: f32,
    reachability: f32,
    threshold: f32,
    resembles: String,
    age_ms: u64,
    sharpness: f32,
    brightness: f32,
    clipped: f32,
    width: u32,
    height: u32,
    region: Option<[u32; 4]>,
    things: Vec<Thing>,
    scene: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
struct Thing {
    thing: u64,
    r#box: [i64; 4],
    state: &'static str,
    label: Option<String>,
}

/// A picture as RGB.
#[derive(Debug, Default)]
struct Pixels {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    numbers: Numbers,
    /// The camera's picture.
    camera: Pixels,
    /// The network's input: the whole frame, or the last crop of a thing.
    input: Pixels,
    /// Counts up with each frame of the camera that was copied, and when that was last done.
    version: u64,
    copied: Duration,
    /// Version of `input`.
    input_version: u64,
    input_copied: Duration,
    /// The network's input at the last events, by their numbers.
    pictures: std::collections::VecDeque<(u64, Pixels)>,
    /// The last events as JSON, each with its number.
    lines: std::collections::VecDeque<(u64, String)>,
    line: u64,
    tally: Tally,
    stats: Stats,
    store: Option<StoreStats>,
}

/// State shared by the threads.
struct Shared {
    state: Mutex<State>,
    /// When a browser last asked, in nanoseconds of the monotonic clock; 0 for never.
    asked: AtomicU64,
    streams: AtomicU64,
    refused: AtomicU64,
    skipped: AtomicU64,
    stop: AtomicBool,
    desk: Desk,
    about: About,
}

/// Constant facts.
struct About {
    source: String,
    bundle: String,
    isa: String,
    side: u32,
    planned: AtomicU64,
    /// The region of each frame that is used, in its pixels.
    region: Option<Rect>,
    ignored: Vec<Rect>,
    /// The mask of thing mode.
    mask: Option<Arc<Drawn>>,
}

/// Configuration of the page.
pub struct Served<'a> {
    pub listen: SocketAddr,
    pub source: &'a str,
    pub bundle: &'a Bundle,
    /// The region of each frame that is used, in its pixels.
    pub region: Option<Rect>,
    pub ignored: &'a [Rect],
    /// The mask of thing mode, with `--mask`.
    pub mask: Option<Arc<Drawn>>,
    /// The folder of the store, if there is one, and the hash of the bundle's graph.
    pub store: Option<&'a Path>,
    pub graph: Option<&'a str>,
    /// Limits of frames.
    pub limits: &'a Limits,
    pub quiet: bool,
}

/// The end of the page on the thread that classifies.
pub struct Live {
    shared: Arc<Shared>,
    tally: Tally,
    drift: Drift,
    /// Keeps what the signal of drift is of.
    kept: Option<kept::Keeper>,
}

impl Live {
    /// Bytes of memory in addition to a frame, including the answering threads, and saving a mask if that is `allowed`.
    pub fn bytes(allowed: bool) -> u64 {
        let pictures = PIXELS as usize * 3 + INPUT * INPUT * 3 + desk::BYTES;
        let pictures = pictures + LINES * (SMALL * SMALL * 3) as usize;
        // Each thread copies a picture and encodes it.
        let threads = http::MAX_CONNECTIONS * (http::STACK + PIXELS as usize * 3 + (512 << 10));
        (pictures + LINES * LINE_BYTES + threads) as u64 + kept::BYTES + if allowed { mask::BYTES } else { 0 }
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the address cannot be used.
    pub fn start(served: Served) -> Result<Live> {
        let Served { listen, source, bundle, region, ignored, mask, store, graph, limits, quiet } = served;
        let (listener, guard) =
            guard::listen(listen, "open the page with the address that 'oltr stream --listen' printed")?;
        let address = guard.address();
        if !quiet {
            exit::say(&format!("watch {source} at {}", guard.url()));
        }
        let usual = Usual::of(&bundle.open);
        // Before anybody asks.
        let (mut drift, mut tally, mut keeper) = (Drift::new(usual), Tally::default(), None);
        if let Some(folder) = store {
            let of = format!("{} {usual:?}", graph.unwrap_or_default());
            drift.resume(kept::read(folder, &of));
            tally.drift = drift.signal();
            keeper = kept::Keeper::start(folder, of);
        }
        let state = State {
            camera: Pixels { bytes: Vec::with_capacity(PIXELS as usize * 3), ..Pixels::default() },
            input: Pixels { bytes: Vec::with_capacity(INPUT * INPUT * 3), ..Pixels::default() },
            lines: std::collections::VecDeque::with_capacity(LINES),
            tally,
            ..State::default()
        };
        let about = About {
            source: source.into(),
            bundle: bundle.name.clone(),
            isa: oltr::model::selected_kernels().map(String::from).unwrap_or_default(),
            side: bundle.preprocess.size,
            planned: AtomicU64::new(0),
            region,
            ignored: ignored.into(),
            mask,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            asked: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            desk: Desk::new(limits),
            about,
        });
        let mine = shared.clone();
        let seen = shared.clone();
        let worker = std::thread::Builder::new().name("look".into()).stack_size(desk::STACK).spawn(move || {
            seen.desk.work(&seen.stop, &mut |new| seen.lock().see_camera(new));
        });
        worker.map_err(|cause| Error::Io { path: "the thread that makes pictures for browsers".into(), cause })?;
        let answer = Arc::new({
            let shared = shared.clone();
            move |request: &http::Request| site::answer(&shared, &guard, request)
        });
        std::thread::Builder::new()
            .name("listen".into())
            .stack_size(256 << 10)
            .spawn(move || {
                let stop = || mine.stop.load(Ordering::Relaxed);
                if let Err(e) = http::serve(&listener, answer, &stop) {
                    log::warn!("{address}: is not answered any more: {e}");
                }
            })
            .map_err(|cause| Error::Io { path: "the thread that answers browsers".into(), cause })?;
        Ok(Live { shared, tally, drift, kept: keeper })
    }

    /// Sets the planned memory.
    pub fn set_planned(&self, bytes: u64) {
        self.shared.about.planned.store(bytes, Ordering::Relaxed);
    }

    /// A further handle, for the code that sees frames.
    pub fn eye(&self) -> Eye {
        Eye(self.shared.clone())
    }

    /// A frame was classified.
    pub fn frame(&mut self, f: &FrameResult) {
        self.tally.frame(&f.answer);
        self.tally.looked(f.answer.inference, f.age);
        let Some(mut state) = self.shared.watched() else { return };
        let answer = &f.answer;
        numbers_of(answer, &mut state.numbers);
        state.numbers.frame = f.stamp.seq;
        state.numbers.age_ms = f.age.as_millis() as u64;
    }

    /// A frame in thing mode was processed.
    pub fn scene(&mut self, s: &SceneResult) {
        self.tally.looked(s.times.inference, s.age);
        self.shared.lay(s.frame);
        let Some(mut state) = self.shared.watched() else { return };
        let numbers = &mut state.numbers;
        (numbers.frame, numbers.age_ms) = (s.stamp.seq, s.age.as_millis() as u64);
        numbers.things.clear();
        for thing in s.things {
            let area = thing.area;
            numbers.things.push(Thing {
                thing: thing.id,
                r#box: [area.x as i64, area.y as i64, area.width as i64, area.height as i64],
                state: thing.state.name(),
                label: name_of(s.names, thing.decision),
            });
        }
    }

    /// A crop of a thing was classified.
    pub fn cut(&mut self, cut: &CutResult) {
        self.tally.frame(&cut.cut.answer);
    }

    /// An event changed. `line` is its JSON.
    pub fn event(&mut self, e: &EventResult, line: &str) {
        if e.change.phase == Phase::New {
            self.tally.event(e);
        }
        if let Phase::End(_) = e.change.phase {
            self.drift.add(&e.change.event);
            self.tally.ended(&e.change.event, self.drift.signal());
            if let Some(kept) = &mut self.kept {
                kept.changed(self.drift.last());
            }
        }
        if e.change.phase == Phase::Update || line.len() > LINE_BYTES {
            return;
        }
        // Events are few, and no thread holds the lock for longer than a copy.
        let mut state = self.shared.lock();
        // When an event ends, the camera shows something else.
        if e.change.phase == Phase::New {
            state.picture(e.change.event.id, Duration::from_nanos(clock::monotonic_ns()));
        }
        if state.lines.len() == LINES {
            state.lines.pop_front();
        }
        state.line += 1;
        let number = state.line;
        state.lines.push_back((number, line.into()));
    }

    /// Time passes.
    pub fn tick(&mut self, stats: &Stats, store: Option<StoreStats>) {
        let Ok(mut state) = self.shared.state.try_lock() else { return };
        (state.stats, state.tally, state.store) = (*stats, self.tally, store);
        state.numbers.scene = stats.things.map(|things| things.state.name());
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(kept) = &mut self.kept {
            kept.finish(self.drift.last());
        }
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl State {
    /// Keeps the last network input as the picture of event `id`, if it is recent and the event has none.
    fn picture(&mut self, id: u64, now: Duration) {
        let fresh = !self.input.bytes.is_empty() && now.saturating_sub(self.copied) < WATCHED;
        if !fresh || self.pictures.iter().any(|(known, _)| *known == id) {
            return;
        }
        // The buffer of the oldest.
        let full = self.pictures.len() == LINES;
        let old = if full { self.pictures.pop_front() } else { None };
        let mut small = old.map(|(_, pixels)| pixels).unwrap_or_default();
        shrink(&self.input, &mut small);
        self.pictures.push_back((id, small));
    }
}

/// Every so manieth pixel of `from`, so that no side has more than [`SMALL`].
fn shrink(from: &Pixels, to: &mut Pixels) {
    let step = from.width.max(from.height).div_ceil(SMALL).max(1);
    (to.width, to.height) = (from.width / step, from.height / step);
    to.bytes.clear();
    for y in 0..to.height {
        for x in 0..to.width {
            let at = ((y * step * from.width + x * step) * 3) as usize;
            to.bytes.extend_from_slice(from.bytes.get(at..at + 3).unwrap_or(&[0; 3]));
        }
    }
}

fn name_of(names: Names, decision: Decision) -> Option<String> {
    match decision {
        Decision::Known(class) => names.class(class).map(|class| class.name.clone()),
        decision => names.label(decision).map(String::from),
    }
}

fn numbers_of(answer: &Answer, numbers: &mut Numbers) {
    numbers.decision = answer.word();
    numbers.label = answer.label.map(String::from);
    numbers.name = answer.name.map(String::from);
    (numbers.probability, numbers.reachability) = (answer.probability, answer.reachability);
    numbers.threshold = answer.threshold;
    numbers.resembles = answer.nearest.name.into();
}

/// Shows the network's input.
#[derive(Clone)]
pub struct Eye(Arc<Shared>);

impl Eye {
    /// A whole frame was classified; `pixels` is the network's input. Copies it if a browser is watching.
    pub fn see(&self, frame: &Frame, pixels: &[u8], answer: &Answer) {
        self.0.lay(frame);
        let Some(mut state) = self.0.watched() else { return };
        state.numbers.region = frame.geometry().roi.region.map(|r| [r.x, r.y, r.width, r.height]);
        state.see_input(pixels, self.0.about.side, answer);
    }

    /// A crop of a thing was classified; `pixels` is the network's input. Copies it if a browser is watching.
    pub fn see_cut(&self, pixels: &[u8], answer: &Answer) {
        let Some(mut state) = self.0.watched() else { return };
        state.see_input(pixels, self.0.about.side, answer);
    }
}

impl State {
    /// Swaps in the new camera picture.
    fn see_camera(&mut self, seen: &mut Seen) {
        std::mem::swap(&mut self.camera, &mut seen.camera);
        let numbers = &mut self.numbers;
        numbers.sharpness = seen.sharpness;
        (numbers.brightness, numbers.clipped) = seen.exposure;
        (numbers.width, numbers.height) = seen.size;
        self.copied = seen.time;
        self.version += 1;
    }

    /// Copies the network's input, a square of `side`, if it is time.
    fn see_input(&mut self, pixels: &[u8], side: u32, answer: &Answer) {
        let now = Duration::from_nanos(clock::monotonic_ns());
        if now.saturating_sub(self.input_copied) < EVERY {
            return;
        }
        if side as usize <= INPUT && pixels.len() == (side * side * 3) as usize {
            self.input.bytes.clear();
            self.input.bytes.extend_from_slice(pixels);
            (self.input.width, self.input.height) = (side, side);
            self.input_version += 1;
        }
        numbers_of(answer, &mut self.numbers);
        self.input_copied = now;
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether a browser is watching.
    fn is_watched(&self) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked != 0 && clock::monotonic_ns().saturating_sub(asked) <= WATCHED.as_nanos() as u64
    }

    /// Passes `frame` on to have a picture made, if a browser is watching.
    fn lay(&self, frame: &Frame) {
        if self.is_watched() {
            self.desk.lay(frame);
        }
    }

    /// The state, if a browser is watching and the lock is free.
    fn watched(&self) -> Option<std::sync::MutexGuard<'_, State>> {
        if !self.is_watched() {
            return None;
        }
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => {
                self.skipped.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// Marks that a browser is watching.
    fn watch(&self) {
        self.asked.store(clock::monotonic_ns().max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_have_pictures_and_no_more_memory() {
        let input =
            Pixels { width: 300, height: 200, bytes: (0..300 * 200 * 3).map(|i| (i / 3 % 300) as u8).collect() };
        let mut state = State { input, copied: Duration::from_secs(9), ..State::default() };
        for id in 0..3 * LINES as u64 {
            state.picture(id, Duration::from_secs(10));
            state.picture(id, Duration::from_secs(10));
        }
        assert_eq!((state.pictures.len(), state.pictures[0].0), (LINES, 2 * LINES as u64));
        let small = &state.pictures[0].1;
        assert_eq!((small.width, small.height, small.bytes.len()), (75, 50, 75 * 50 * 3));
        assert_eq!((small.bytes[0], small.bytes[3], small.bytes[74 * 3]), (0, 4, (74 * 4) as u8));
        // Without a watching browser there is no picture.
        state.picture(999, Duration::from_secs(100));
        assert_eq!(state.pictures.back().unwrap().0, 3 * LINES as u64 - 1);
    }
}
