//! Memory is taken at the start, and is all that there is.

mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use oltr_frames::Limits;
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
