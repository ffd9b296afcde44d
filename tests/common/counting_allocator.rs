//! Counts what a thread allocates.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { times: 0, bytes: 0 }) };
    static HELD: Cell<Held> = const { Cell::new(Held { now: 0, most: 0 }) };
}

/// Allocations of a piece of work, freed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Allocations and reallocations.
    pub times: usize,
    /// Bytes that were requested.
    pub bytes: usize,
}

/// Bytes that a piece of work held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Bytes at the end; negative if older memory was freed.
    pub now: isize,
    /// Peak.
    pub most: isize,
}

/// Allocations of this thread since it started.
pub fn taken() -> Taken {
    TAKEN.get()
}

/// Allocations of this thread during `work`.
pub fn taken_by(work: impl FnOnce()) -> Taken {
    let before = TAKEN.get();
    work();
    let after = TAKEN.get();
    Taken { times: after.times - before.times, bytes: after.bytes - before.bytes }
}

/// Memory of this thread during `work`, and the result of `work`.
pub fn held_by<T>(work: impl FnOnce() -> T) -> (Held, T) {
    let before = HELD.get();
    HELD.set(Held { now: 0, most: 0 });
    let result = work();
    let held = HELD.get();
    HELD.set(Held { now: before.now + held.now, most: before.most.max(before.now + held.most) });
    (held, result)
}

fn count(bytes: usize) {
    // A thread that ends allocates after its counter was dropped.
    let _ = TAKEN.try_with(|t| {
        let Taken { times, bytes: sum } = t.get();
        t.set(Taken { times: times + 1, bytes: sum + bytes });
    });
}

fn hold(bytes: isize) {
    let _ = HELD.try_with(|h| {
        let Held { now, most } = h.get();
        let now = now + bytes;
        h.set(Held { now, most: most.max(now) });
    });
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        hold(layout.size() as isize);
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        hold(layout.size() as isize);
        // SAFETY: the caller keeps what `alloc_zeroed` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        hold(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps what `realloc` asks for.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: the caller keeps what `dealloc` asks for.
        unsafe { System.dealloc(pointer, layout) }
    }
}
