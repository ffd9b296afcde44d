//! `oltr stream --listen`: what the camera sees and what the network makes of it, for a browser beside the camera.
//!
//! The thread that classifies never waits for a client: it copies what is asked for into memory that is taken once, and
//! only while somebody looks and nobody else holds it. Pictures are encoded by the threads that answer.

mod drift;
mod metrics;
mod site;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use oltr::bundle::Bundle;
use oltr::decide::Decision;
use oltr::decide::events::Phase;
use oltr::sink::{CutResult, EventResult, FrameResult, SceneResult, Stats, StoreStats};
use oltr::{Answer, Error, Frame, Names, Rect, Result, Rotation, clock};
use serde::Serialize;

use super::super::exit;
use super::super::http::{self, guard};
use super::mask::{self, Drawn};
use drift::{Drift, Usual};
use metrics::Tally;

/// Pixels of the picture of the camera that is shown.
const PIXELS: u32 = 640 * 480;

/// Side of the middle of a frame that sharpness is measured in, in pixels of the camera.
const MIDDLE: u32 = 256;

/// Pixels on a side of what a network sees, at most, where it is shown.
const INPUT: usize = 512;

/// Lines of events that are remembered for the page.
const LINES: usize = 32;

/// Bytes of one such line; longer ones are not shown.
const LINE_BYTES: usize = 32 << 10;

/// Pixels on a side of the picture beside an event, at most.
const SMALL: u32 = 96;

/// Somebody looks until so long after the last request.
const WATCHED: Duration = Duration::from_secs(4);

/// How often a picture is copied while somebody looks.
const EVERY: Duration = Duration::from_millis(150);

/// A program that did not say anything for so long does not work.
const DEAD: Duration = Duration::from_secs(30);

/// What is shown of one frame.
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
    /// What the camera sees.
    camera: Pixels,
    /// What the network sees: all of it, or the last cut of a thing.
    input: Pixels,
    middle: Vec<u8>,
    /// Counts up with each frame of the camera that was copied, and when that was last done.
    version: u64,
    copied: Duration,
    /// As these, of what the network saw.
    input_version: u64,
    input_copied: Duration,
    /// What the network saw when the last events were told, by their numbers.
    pictures: std::collections::VecDeque<(u64, Pixels)>,
    /// The last events as JSON, each with its number.
    lines: std::collections::VecDeque<(u64, String)>,
    line: u64,
    tally: Tally,
    stats: Stats,
    store: Option<StoreStats>,
}

/// What both threads hold.
struct Shared {
    state: Mutex<State>,
    /// When somebody last asked, in nanoseconds of the monotonic clock; 0 for never.
    asked: AtomicU64,
    streams: AtomicU64,
    refused: AtomicU64,
    skipped: AtomicU64,
    stop: AtomicBool,
    about: About,
}

/// What does not change.
struct About {
    source: String,
    bundle: String,
    isa: String,
    side: u32,
    planned: AtomicU64,
    /// Of each frame, in its pixels: what alone counts, and what does not.
    region: Option<Rect>,
    ignored: Vec<Rect>,
    /// What things are looked for in.
    mask: Option<Arc<Drawn>>,
}

/// What is served where, and of what.
pub struct Served<'a> {
    pub listen: SocketAddr,
    pub source: &'a str,
    pub bundle: &'a Bundle,
    /// Of each frame, in its pixels: what alone counts, and what does not.
    pub region: Option<Rect>,
    pub ignored: &'a [Rect],
    /// What things are looked for in, where `--mask` says it.
    pub mask: Option<Arc<Drawn>>,
    pub quiet: bool,
}

/// The end of the page on the thread that classifies.
pub struct Live {
    shared: Arc<Shared>,
    tally: Tally,
    drift: Drift,
}

impl Live {
    /// Bytes of memory that it takes, threads that answer among them, with what saving a mask takes if that is `allowed`.
    pub fn bytes(allowed: bool) -> u64 {
        let pictures = PIXELS as usize * 3 + INPUT * INPUT * 3 + (MIDDLE * MIDDLE * 3) as usize;
        let pictures = pictures + LINES * (SMALL * SMALL * 3) as usize;
        // Each thread copies a picture and encodes it.
        let threads = http::MAX_CONNECTIONS * (http::STACK + PIXELS as usize * 3 + (512 << 10));
        (pictures + LINES * LINE_BYTES + threads) as u64 + if allowed { mask::BYTES } else { 0 }
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where it cannot be listened at.
    pub fn start(served: Served) -> Result<Live> {
        let Served { listen, source, bundle, region, ignored, mask, quiet } = served;
        let (listener, guard) =
            guard::listen(listen, "open the page with the address that 'oltr stream --listen' printed")?;
        let address = guard.address();
        if !quiet {
            exit::say(&format!("watch {source} at {}", guard.url()));
        }
        let state = State {
            camera: Pixels { bytes: Vec::with_capacity(PIXELS as usize * 3), ..Pixels::default() },
            input: Pixels { bytes: Vec::with_capacity(INPUT * INPUT * 3), ..Pixels::default() },
            middle: Vec::with_capacity((MIDDLE * MIDDLE * 3) as usize),
            lines: std::collections::VecDeque::with_capacity(LINES),
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
            about,
        });
        let mine = shared.clone();
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
        Ok(Live { shared, tally: Tally::default(), drift: Drift::new(Usual::of(&bundle.open)) })
    }

    /// Takes note of how much memory was planned.
    pub fn set_planned(&self, bytes: u64) {
        self.shared.about.planned.store(bytes, Ordering::Relaxed);
    }

    /// Another end, for who sees frames.
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

    /// Things were looked for in a frame.
    pub fn scene(&mut self, s: &SceneResult) {
        self.tally.looked(s.times.inference, s.age);
        let Some(mut state) = self.shared.watched() else { return };
        state.see_camera(s.frame);
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

    /// A cut of a thing was classified.
    pub fn cut(&mut self, cut: &CutResult) {
        self.tally.frame(&cut.cut.answer);
    }

    /// Something happened to an event, which `line` says in JSON.
    pub fn event(&mut self, e: &EventResult, line: &str) {
        if e.change.phase == Phase::New {
            self.tally.event(e);
        }
        if let Phase::End(_) = e.change.phase {
            self.drift.add(&e.change.event);
            self.tally.ended(&e.change.event, self.drift.signal());
        }
        if e.change.phase == Phase::Update || line.len() > LINE_BYTES {
            return;
        }
        // Events are few, and nobody holds this for longer than a copy takes.
        let mut state = self.shared.lock();
        // When it ends, the camera shows something else.
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
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl State {
    /// Keeps what the network saw last beside the event `id`, if that is news and there is none yet.
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

/// Where is seen what a network sees.
#[derive(Clone)]
pub struct Eye(Arc<Shared>);

impl Eye {
    /// A frame was classified as a whole; `pixels` is what the network saw of it. Copies it if somebody looks.
    pub fn see(&self, frame: &Frame, pixels: &[u8], answer: &Answer) {
        let Some(mut state) = self.0.watched() else { return };
        state.see_camera(frame);
        state.numbers.region = frame.geometry().roi.region.map(|r| [r.x, r.y, r.width, r.height]);
        state.see_input(pixels, self.0.about.side, answer);
    }

    /// A cut of a thing was classified; `pixels` is what the network saw of it. Copies it if somebody looks.
    pub fn see_cut(&self, pixels: &[u8], answer: &Answer) {
        let Some(mut state) = self.0.watched() else { return };
        state.see_input(pixels, self.0.about.side, answer);
    }
}

impl State {
    /// Copies what the camera sees, if it is time.
    fn see_camera(&mut self, frame: &Frame) {
        let now = Duration::from_nanos(clock::monotonic_ns());
        if now.saturating_sub(self.copied) < EVERY {
            return;
        }
        let (width, height) = frame.shrink(None, Rotation::default(), PIXELS, &mut self.camera.bytes);
        (self.camera.width, self.camera.height) = (width, height);
        let middle = |side: u32| (side.saturating_sub(MIDDLE) / 2, side.min(MIDDLE));
        let ((x, w), (y, h)) = (middle(frame.width()), middle(frame.height()));
        let area = Rect { x, y, width: w, height: h };
        let (w, h) = frame.shrink(Some(area), Rotation::default(), MIDDLE * MIDDLE, &mut self.middle);
        let numbers = &mut self.numbers;
        numbers.sharpness = sharpness(&self.middle, w as usize, h as usize);
        (numbers.brightness, numbers.clipped) = exposure(&self.camera.bytes);
        (numbers.width, numbers.height) = (frame.width(), frame.height());
        self.copied = now;
        self.version += 1;
    }

    /// Copies what the network sees, a square of `side`, if it is time.
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

    /// The state, if somebody looks and nobody holds it.
    fn watched(&self) -> Option<std::sync::MutexGuard<'_, State>> {
        let asked = self.asked.load(Ordering::Relaxed);
        if asked == 0 || clock::monotonic_ns().saturating_sub(asked) > WATCHED.as_nanos() as u64 {
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

    /// Somebody looks.
    fn watch(&self) {
        self.asked.store(clock::monotonic_ns().max(1), Ordering::Relaxed);
    }
}

fn luma(pixel: &[u8]) -> i32 {
    (i32::from(pixel[0]) * 77 + i32::from(pixel[1]) * 150 + i32::from(pixel[2]) * 29) >> 8
}

/// How much neighbouring pixels differ, whatever the contrast: the variance of the Laplacian by that of the picture. The
/// more, the sharper.
fn sharpness(pixels: &[u8], width: usize, height: usize) -> f32 {
    if width < 3 || height < 3 || pixels.len() < width * height * 3 {
        return 0.0;
    }
    let at = |x: usize, y: usize| luma(&pixels[(y * width + x) * 3..][..3]);
    let (mut sum, mut squares, mut laplacian) = (0f64, 0f64, 0f64);
    for y in 1..height - 1 {
        for x in 1..width - 1 {
            let middle = at(x, y);
            let differs = 4 * middle - at(x - 1, y) - at(x + 1, y) - at(x, y - 1) - at(x, y + 1);
            sum += f64::from(middle);
            squares += f64::from(middle * middle);
            laplacian += f64::from(differs * differs);
        }
    }
    let n = ((width - 2) * (height - 2)) as f64;
    let variance = squares / n - (sum / n) * (sum / n);
    if variance < 1.0 { 0.0 } else { (100.0 * laplacian / n / variance) as f32 }
}

/// The mean brightness, 0..1, and the share of pixels that are black or white.
fn exposure(pixels: &[u8]) -> (f32, f32) {
    let (mut sum, mut clipped, mut n) = (0u64, 0u64, 0u64);
    for pixel in pixels.chunks_exact(3) {
        let luma = luma(pixel) as u64;
        sum += luma;
        clipped += u64::from(!(3..=252).contains(&luma));
        n += 1;
    }
    if n == 0 { (0.0, 0.0) } else { (sum as f32 / n as f32 / 255.0, clipped as f32 / n as f32) }
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
        // Of what nobody looked at there is none.
        state.picture(999, Duration::from_secs(100));
        assert_eq!(state.pictures.back().unwrap().0, 3 * LINES as u64 - 1);
    }

    #[test]
    fn a_sharper_picture_has_a_higher_number() {
        let picture = |blur: usize| -> Vec<u8> {
            let edge = |x: usize| (x as i32 - 32).clamp(-(blur as i32), blur as i32) * 100 / blur as i32 + 128;
            (0..64 * 64).flat_map(|i| [edge(i % 64) as u8; 3]).collect()
        };
        let of: Vec<f32> = [1, 2, 4, 8, 16].into_iter().map(|blur| sharpness(&picture(blur), 64, 64)).collect();
        assert!(of.is_sorted_by(|a, b| a > b), "{of:?}");
        // A plain wall is neither, and half the contrast no blur.
        assert_eq!(sharpness(&[7; 64 * 64 * 3], 64, 64), 0.0);
        let half: Vec<u8> = picture(2).into_iter().map(|v| v / 2).collect();
        assert!((sharpness(&half, 64, 64) / of[1] - 1.0).abs() < 0.1);
        assert_eq!(sharpness(&[], 0, 0), 0.0);
        assert_eq!(exposure(&[255, 255, 255, 0, 0, 0]), (0.5, 1.0));
    }
}
