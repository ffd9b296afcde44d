//! Memory is taken at the start, and is all that there is.

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use oltr_frames::Limits;
use oltr_scenes::{Scene, Settings};
use world::{FISH, Watch, ground};

/// Counts what is taken.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: all calls go on to the allocator of the system as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
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

/// One test only: the counts are those of the whole program.
#[test]
fn nothing_is_taken_for_a_frame() {
    let before = BYTES.load(Ordering::Relaxed);
    let scene = Scene::new(&Settings::default(), &Limits::default()).unwrap();
    let taken = BYTES.load(Ordering::Relaxed) - before;
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
        let calls = CALLS.load(Ordering::Relaxed);
        let time = watch.time();
        watch.scene.look(&watch.frame, time).unwrap();
        assert_eq!(CALLS.load(Ordering::Relaxed), calls);
        ended += watch.scene.ended().len();
    }
    assert!(watch.scene.counts().regions > 50, "{ended} ended");
}
