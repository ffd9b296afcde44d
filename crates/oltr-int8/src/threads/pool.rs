//! Threads that share the work of layers.
//!
//! A layer takes some tens of microseconds, a sleeping thread as long to wake: so workers spin while a frame is being
//! computed and sleep between frames. No thread is made per frame.
//!
//! To hand a layer over and to be told of its end takes several ways from one core's cache to another's: about half a
//! microsecond, where some layers take five. So the workers are told of a whole segment of layers, its rounds, and each
//! thread goes through them by itself. A round's parts are dealt to the threads beforehand, neighbouring ones to one, so
//! that what a thread wrote in one layer is in its own cache when the next reads it. A thread claims its next part on a
//! cache line that it alone writes as a rule, and all that it ever waits for is that the rounds before are finished.
//! Layers that are not cut are one round together where they follow one another.
//!
//! Cores are not equally fast (another program, a neighbour on the same core, big and little ones), and on a busy machine
//! a thread may not get a core for milliseconds. So there are more parts than threads where parts stay large enough, and
//! a thread that has done its own claims parts that were dealt to others, the only one of another after a while:
//! nobody waits for a part that has not been begun. Who gets a core in the middle of a segment finds its parts of the
//! past rounds claimed and goes on to the current one.
//!
//! Rounds are numbered through all segments that a pool ever runs, by the parts that come before them. So a number
//! never comes again, and a claim that comes too late is recognised, whatever segment it was meant for.

#[path = "schedule.rs"]
mod rounds;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
#[path = "walk.rs"]
mod walk;

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

pub use rounds::{Cut, Part, Schedule, Work};
use walk::{Lane, Posting, RoundTask, Walk, spin};

/// Rounds that a worker looks for work before it sleeps; about 100 µs.
const SPINS: u32 = 20_000;

/// After so many rounds of looking, some 20 µs, a spinning thread lets another run: two of them may share one core. Not
/// sooner: on a busy machine who yields gets its core back after milliseconds, and most parts take less than this.
const SPINS_PER_YIELD: u32 = 4096;

/// Threads of a pool.
const MAX_THREADS: usize = 1024;

/// What lies on cache lines of its own, so that who writes it takes nothing else from the others' caches; two lines, as
/// processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

struct Shared {
    posted: Apart<Posted>,
    /// One for each thread.
    lanes: Vec<Lane>,
    plan: Mutex<Plan>,
    /// The plan's version, to look at.
    version: AtomicU64,
    stop: AtomicBool,
    failed: AtomicBool,
    sleeping: Vec<AtomicBool>,
}

/// What workers look at for work.
struct Posted {
    /// The last segment ([`Posting`]) that was posted; 0 before the first.
    segment: AtomicU64,
    /// Its task, valid for a thread from its claim of a part until it has counted the part as finished.
    task: UnsafeCell<Option<RoundTask<'static>>>,
}

/// The schedule of the segments that are posted.
#[derive(Clone)]
struct Plan {
    version: u64,
    schedule: Option<Arc<Schedule>>,
    /// The number of the first round that was posted of it.
    since: u64,
}

impl Plan {
    const NONE: Plan = Plan { version: 0, schedule: None, since: 0 };
}

// SAFETY: `task` is written only by the owner of the pool while every part is finished and none can be claimed, and is
// published by the store to `segment` that a thread acquires before it claims; who claimed a part reads it before
// counting that part.
unsafe impl Sync for Shared {}

impl Shared {
    fn posted(&self) -> Posting {
        Posting::of(self.posted.0.segment.load(Ordering::Acquire))
    }

    /// Keeps a panic for the caller.
    fn guarded(&self, f: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(f)).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// A fixed number of threads, the caller's own among them.
pub struct Pool {
    shared: Arc<Shared>,
    /// That of the last segment.
    schedule: Option<Arc<Schedule>>,
    workers: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool of {}", self.threads())
    }
}

impl Pool {
    /// A pool of `threads` threads, at least 1. Where the system refuses one, the pool is smaller.
    pub fn new(threads: usize) -> Pool {
        let workers = threads.clamp(1, MAX_THREADS) - 1;
        let shared = Arc::new(Shared {
            posted: Apart(Posted { segment: AtomicU64::new(0), task: UnsafeCell::new(None) }),
            lanes: (0..=workers).map(|_| Lane::new()).collect(),
            plan: Mutex::new(Plan::NONE),
            version: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let spawn = |i: usize| {
            let shared = shared.clone();
            thread::Builder::new().name(format!("oltr-{}", i + 1)).spawn(move || work(&shared, i)).ok()
        };
        let workers = (0..workers).map_while(spawn).collect();
        Pool { shared, schedule: None, workers }
    }

    /// Threads that work, the caller's own counted.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs the works of a segment of `schedule` one after the other, on whatever threads: calls
    /// `f(work, part, what it writes, what it reads, the thread's part of scratch)` once for each part. Scratch
    /// has room for the columns of a part beside what `f` needs.
    ///
    /// # Panics
    /// If the schedule is for more threads than the pool was to have, if `memory` is shorter than it says, or if `f`
    /// panics.
    pub fn run_segment(
        &mut self,
        schedule: &Arc<Schedule>,
        segment: usize,
        memory: &mut [u8],
        scratch: &mut [u8],
        f: impl Fn(usize, Part, &mut [u8], [&[u8]; 2], &mut [u8]) + Sync,
    ) {
        let threads = schedule.threads();
        assert!(threads <= self.shared.lanes.len() && memory.len() >= schedule.bytes());
        let each = scratch.len() / threads / 64 * 64;
        let (memory, scratch) = (Pointer(memory.as_mut_ptr()), Pointer(scratch.as_mut_ptr()));
        let one = |work: usize, part: usize, thread: usize| {
            let Work { write, reads, cut } = schedule.work(work);
            // SAFETY: `Schedule::new` saw to it that what a work reads does not overlap what it writes, and that both
            // end within the bytes that `memory` was held against. While a part of this work is computed, no other work
            // is, so nobody writes this. A thread's piece of `scratch` is its own, computes one part at a time, and
            // `threads * each` is at most the length. Both are borrowed mutably until all works are finished.
            let (reads, scratch) = unsafe {
                let read =
                    |range: &Range<usize>| std::slice::from_raw_parts(memory.get().add(range.start), range.len());
                let scratch = std::slice::from_raw_parts_mut(scratch.get().add(thread * each), each);
                ([read(&reads[0]), read(&reads[1])], scratch)
            };
            match cut {
                Cut::Items { items, stride, share } => {
                    let range = part * share..((part + 1) * share).min(*items);
                    // SAFETY: as above; ranges of different parts do not overlap and end at `items`, all of which
                    // `write` holds.
                    let out = unsafe {
                        let to = memory.get().add(write.start + range.start * stride);
                        std::slice::from_raw_parts_mut(to, range.len() * stride)
                    };
                    f(work, Part::Items(range), out, reads, scratch);
                }
                Cut::Columns { rows, stride, parts } => {
                    let [slices, columns] = &parts[part];
                    let (compact, scratch) = scratch.split_at_mut(rows * columns.len());
                    f(work, Part::Slices(slices.clone()), compact, reads, scratch);
                    for (row, from) in compact.chunks_exact(columns.len().max(1)).enumerate() {
                        // SAFETY: as above; the columns lie in the row, the row in `write`, parts have different
                        // columns, and no reference to the bytes is made.
                        unsafe {
                            let to = memory.get().add(write.start + row * stride + columns.start);
                            std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
                        }
                    }
                }
            }
        };
        let task = |round: usize, part: usize, thread: usize| {
            schedule.works(round).for_each(|work| one(work, part, thread));
        };
        if threads == 1 {
            for round in schedule.segment(segment) {
                (0..schedule.parts(round)).for_each(|part| task(round, part, 0));
            }
            return;
        }
        self.walk(schedule, segment, &task);
    }

    /// Calls `task` once with each part of each round of a segment, all of a round before the next one.
    fn walk(&mut self, schedule: &Arc<Schedule>, segment: usize, task: RoundTask) {
        // SAFETY: the reference is used only until every part has finished, which is waited for below: `guarded` lets no
        // panic out.
        let task: RoundTask<'static> = unsafe { std::mem::transmute::<RoundTask<'_>, RoundTask<'static>>(task) };
        let shared = &*self.shared;
        let first = shared.finished();
        if !self.schedule.as_ref().is_some_and(|last| Arc::ptr_eq(last, schedule)) {
            let mut plan = shared.plan.lock().unwrap_or_else(PoisonError::into_inner);
            *plan = Plan { version: plan.version + 1, schedule: Some(schedule.clone()), since: first };
            shared.version.store(plan.version, Ordering::Release);
            self.schedule = Some(schedule.clone());
        }
        // SAFETY: all parts of the last segment are finished and none is left to claim, so no worker looks at the task;
        // `&mut self` keeps other callers away.
        unsafe { *shared.posted.0.task.get() = Some(task) };
        let posting = Posting::new(first, segment);
        shared.posted.0.segment.store(posting.word(), Ordering::Release);
        // Who falls asleep just now is not seen at once, but in a later round.
        Walk { shared, schedule, posting, thread: 0 }.run(true, || self.wake());
        assert!(!shared.failed.swap(false, Ordering::Relaxed), "a part of a layer panicked");
    }

    /// Wakes who sleeps.
    fn wake(&self) {
        for (worker, sleeping) in self.workers.iter().zip(&self.shared.sleeping) {
            if sleeping.load(Ordering::Relaxed) {
                worker.thread().unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so there is nothing to learn from its end.
            let _ = worker.join();
        }
    }
}

/// A pointer that threads may share; what they do with it is the business of `run_segment`.
struct Pointer<T>(*mut T);

// SAFETY: the pointer is only turned into slices that do not overlap.
unsafe impl<T: Send> Sync for Pointer<T> {}

impl<T> Pointer<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

fn work(shared: &Shared, index: usize) {
    let mut spins = 0;
    let mut walked = Posting::of(0);
    let mut plan = Plan::NONE;
    loop {
        let posted = shared.posted();
        if posted != walked {
            walked = posted;
            walk(shared, posted, index + 1, &mut plan);
            spins = 0;
        } else if shared.stop.load(Ordering::SeqCst) {
            return;
        } else if spins < SPINS {
            spin(&mut spins);
        } else {
            shared.sleeping[index].store(true, Ordering::SeqCst);
            while shared.posted() == walked && !shared.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.sleeping[index].store(false, Ordering::SeqCst);
            spins = 0;
        }
    }
}

/// Thread `thread`'s way through a segment that it found posted; `plan` is what it knows of.
fn walk(shared: &Shared, posting: Posting, thread: usize, plan: &mut Plan) {
    // The version of the posting's plan was stored before it.
    if shared.version.load(Ordering::Acquire) != plan.version {
        plan.clone_from(&shared.plan.lock().unwrap_or_else(PoisonError::into_inner));
    }
    // Else the segment is over, and another one was posted of another plan.
    if posting.first() < plan.since {
        return;
    }
    if let Some(schedule) = plan.schedule.as_ref().filter(|schedule| thread < schedule.threads()) {
        Walk { shared, schedule, posting, thread }.run(false, || {});
    }
}
