//! Memory is taken at the start, and is all that there is.

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::time::Duration;

use oltr_frames::{Frame, Geometry, Limits, PixelFormat};
use oltr_scenes::{Scene, Settings};
use world::{FISH, Watch, ground};

/// Counts what is taken.
struct Counting;

thread_local! {
    /// Calls and bytes of this thread: that of the harness takes memory too.
    static TAKEN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn calls() -> usize {
    TAKEN.get().0
}

fn bytes() -> usize {
    TAKEN.get().1
}

#[allow(unsafe_code)]
// SAFETY: all calls go on to the allocator of the system as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (calls, bytes) = TAKEN.get();
        TAKEN.set((calls + 1, bytes + layout.size()));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_is_taken_for_a_frame() {
    let before = bytes();
    let scene = Scene::new(&Settings::default(), &Limits::default()).unwrap();
    let taken = bytes() - before;
    let own = size_of::<Scene>();
    assert!(scene.bytes() >= taken + own, "{} are said, {taken} and {own} taken", scene.bytes());
    assert!(scene.bytes() <= 750_000, "{} bytes", scene.bytes());

    let back = ground(50);
    let mut watch = Watch::new(&Settings::default());
    let pictures: Vec<_> = (0..70)
        .map(|step| {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
            picture
        })
        .collect();
    let mut ended = 0;
    watch.rest(&back, 20);
    for picture in pictures.iter().chain(&pictures) {
        watch.show(picture);
        let before = calls();
        let time = watch.time();
        watch.scene.look(&watch.frame, time).unwrap();
        assert_eq!(calls(), before);
        ended += watch.scene.ended().len();
    }
    assert!(watch.scene.counts().regions > 50, "{ended} ended");
}

/// A day of a slow camera: nothing more is taken, and each frame and thing is counted once.
#[test]
fn a_hundred_thousand_frames_are_counted() {
    const FRAMES: u64 = 100_000;
    const PASSAGE: u64 = 100;
    let mut settings = Settings::default();
    settings.columns = 40;
    let limits = Limits::default();
    let mut scene = Scene::new(&settings, &limits).unwrap();
    let mut frames: Vec<Frame> = Vec::new();
    for number in 0..PASSAGE as usize {
        let mut frame = Frame::default();
        let pixels = frame.reshape(Geometry::new(PixelFormat::Gray, 80, 60), &limits).unwrap();
        for (index, pixel) in pixels.iter_mut().enumerate() {
            let (x, y) = (index % 80, index / 80);
            let left = 2 * number;
            *pixel = if (left..left + 16).contains(&(x + 16)) && (20..32).contains(&y) { 220 } else { 90 };
        }
        frames.push(frame);
    }
    let before = calls();
    let (mut ended, mut ids) = (0, 0);
    for number in 0..FRAMES {
        let frame = &frames[(number % PASSAGE) as usize];
        scene.look(frame, Duration::from_millis(number * 100)).unwrap();
        for thing in scene.ended() {
            ended += 1;
            assert!(thing.thing.id > ids, "each ends once, in order");
            ids = thing.thing.id;
        }
    }
    scene.finish();
    ended += scene.ended().len() as u64;
    assert_eq!(calls(), before);
    let counts = scene.counts();
    assert_eq!((counts.frames, counts.blind, counts.crowded), (FRAMES, 0, 0));
    // What looks the same and comes again and again, all day, is a thing each time, and each ended once.
    let passages = FRAMES / PASSAGE;
    assert!((passages - 10..=passages).contains(&counts.seen), "{counts:?} of {passages} passages");
    assert_eq!((counts.seen, ids), (ended, ended));
}
