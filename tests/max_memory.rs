//! The memory plan is true: a stream runs on an allocator that refuses one byte beyond it.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]
#![cfg(feature = "demo-model")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use oltr::enrol::{Enrolled, Enrolments, MAX_CLASSES};
use oltr::pipeline::memory::Plan;
use oltr::pipeline::{self, Control, Settings};
use oltr::sink::json::{self, JsonLines};
use oltr::source::FrameSource;
use oltr::source::stream::{self, Arrival, ByteInput, RawFormat};
use oltr::{Classifier, Error, Limits, Model, PixelFormat, Result};

/// Refuses allocations beyond the limit. The program then ends with "memory allocation failed".
struct Limited;

#[global_allocator]
static LIMITED: Limited = Limited;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn take(bytes: usize) -> bool {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
    let fits = held <= LIMIT.load(Ordering::Relaxed);
    if !fits {
        give(bytes);
    }
    fits
}

fn give(bytes: usize) {
    HELD.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came, or gives null, which means that there is no memory.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !take(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps what `alloc_zeroed` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !take(size) {
            return std::ptr::null_mut();
        }
        // Both may be there at once, while what was in one is moved to the other.
        // SAFETY: the caller keeps what `realloc` asks for.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        give(layout.size());
        moved
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what `dealloc` asks for.
        unsafe { System.dealloc(pointer, layout) }
        give(layout.size());
    }
}

/// Repeats the same bytes `times` times.
struct Again {
    bytes: &'static [u8],
    at: usize,
    times: usize,
}

impl ByteInput for Again {
    fn name(&self) -> &str {
        "again"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn read(&mut self, into: &mut [u8], _deadline: Instant) -> Result<Arrival> {
        if self.at == self.bytes.len() {
            (self.at, self.times) = (0, self.times - 1);
        }
        if self.times == 0 {
            return Ok(Arrival::End);
        }
        let n = into.len().min(self.bytes.len() - self.at);
        into[..n].copy_from_slice(&self.bytes[self.at..][..n]);
        self.at += n;
        Ok(Arrival::Bytes(n))
    }

    fn reconnect(&mut self) -> Result<()> {
        unreachable!("not called")
    }
}

/// A transmitted frame of 1280×720, not on the heap.
static FRAME: [u8; 1280 * 720 * 3] = [77; 1280 * 720 * 3];
static PHOTO: &[u8] = include_bytes!("../examples/photos/cup.jpg");

#[derive(Clone, Copy, Debug)]
enum Stream {
    Raw(PixelFormat),
    Mjpeg,
}

/// The limits of a stream of `kind`, and its source of 30 frames.
fn open(kind: Stream) -> (Limits, Box<dyn FrameSource>) {
    let mut limits = Limits::default();
    (limits.photo_side, limits.photo_pixels, limits.frame_bytes) = (1280, 1280 * 720, 1280 * 720 * 4);
    let (bytes, raw) = match kind {
        Stream::Raw(format) => {
            let raw = RawFormat::new(format, 1280, 720);
            (&FRAME[..format.frame_bytes(1280, 720, format.row_bytes(1280))], Some(raw))
        }
        Stream::Mjpeg => (PHOTO, None),
    };
    let settings = stream::Settings { raw, ..Default::default() };
    let input = Again { bytes, at: 0, times: 30 };
    let source = stream::from_input(Box::new(input), &settings, &limits, &|| false).unwrap();
    (limits, source)
}

/// The most enrolled classes, with the longest features of the model.
fn enrolments() -> Enrolments {
    let mut enrolments = Enrolments::new("");
    for i in 0..MAX_CLASSES {
        let photos = [vec![i as f32; 512], vec![i as f32 + 0.1; 512]];
        enrolments.add(Enrolled::new(&i.to_string(), &photos, 10.0).unwrap()).unwrap();
    }
    assert!(enrolments.bytes() > MAX_CLASSES * 512 * 4);
    enrolments
}

/// Runs everything from the model's file to the last frame, and returns the memory plan.
fn stream(kind: Stream) -> Plan {
    let model = Model::builtin(&Default::default()).unwrap();
    let (limits, mut source) = open(kind);
    let settings = Settings::default();
    let enrolments = enrolments();
    let plan = Plan::new(&model, 1, source.as_ref(), &settings, &limits).with_enrolments(&enrolments);
    let mut classifier = Classifier::new(&model).unwrap().with_enrolments(&enrolments);
    let lines = json::Settings { frames: true, ..Default::default() };
    let mut sink = JsonLines::new(std::io::sink(), lines, &limits);
    let control = Control::default();
    let report = pipeline::run(source.as_mut(), &mut classifier, &mut sink, &control, &settings, &limits).unwrap();
    assert_eq!(report.stats.classified, 30);
    plan
}

/// One test, because all share one heap.
#[test]
fn the_plan_is_kept_to_the_byte() {
    for kind in [Stream::Raw(PixelFormat::Yuv420p), Stream::Raw(PixelFormat::Rgb24), Stream::Mjpeg] {
        let plan = stream(kind);
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        LIMIT.store(before + plan.heap() as usize, Ordering::Relaxed);
        assert_eq!(stream(kind), plan, "a plan does not depend on the run");
        LIMIT.store(usize::MAX, Ordering::Relaxed);
        let most = MOST.load(Ordering::Relaxed) - before;
        println!("{kind:?}: {most} bytes of heap at most, {} planned", plan.heap());
        assert!(most as f64 > 0.4 * plan.heap() as f64, "the plan is not idle talk: {most} of {}", plan.heap());
    }
    what_does_not_fit_is_refused();
}

fn what_does_not_fit_is_refused() {
    let model = Model::builtin(&Default::default()).unwrap();
    let (mut limits, source) = open(Stream::Raw(PixelFormat::Rgb24));
    let plan = Plan::new(&model, 1, source.as_ref(), &Settings::default(), &limits);
    let enrolments = enrolments();
    let with = plan.clone().with_enrolments(&enrolments);
    let running = |plan: &Plan| plan.running.iter().map(|item| item.bytes).sum::<u64>();
    assert_eq!(running(&with), running(&plan) + enrolments.bytes() as u64);
    // Kernels that keep weights as bytes may need less while they run than while the model is loaded.
    assert_eq!(with.total() - with.heap(), plan.total() - plan.heap());
    assert_eq!(with.heap(), running(&with).max(with.loading));
    limits.memory_bytes = Some(plan.total());
    plan.check("model", &limits).unwrap();
    limits.memory_bytes = Some(plan.total() - 1);
    let error = plan.check("model", &limits).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "memory_bytes", value, .. } if value == plan.total()));
}
