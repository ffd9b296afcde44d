//! The threads themselves: those that wait for work, and the caller that hands it over.

use std::cell::UnsafeCell;
use std::ops::Range;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::threads::schedule::{Cut, Part, Schedule, Work};
use crate::threads::shared::{Apart, Lane, MAX_THREADS, Plan, Posted, Posting, RoundTask, SPINS, Shared, spin};
use crate::threads::walk::Walk;

/// A fixed number of threads, the caller's own among them.
pub struct Pool {
    pub(crate) shared: Arc<Shared>,
    /// That of the last segment.
    pub(crate) schedule: Option<Arc<Schedule>>,
    pub(crate) workers: Vec<JoinHandle<()>>,
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
            // is, so no thread writes this. A thread's piece of `scratch` is its own, computes one part at a time, and
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
                    // SAFETY: `Schedule::new` held `write` against the bytes of `memory`; ranges of different parts do not overlap and end at `items`, all of which
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
                        // SAFETY: `Schedule::new` held `write` against the bytes of `memory`; the columns lie in the row, the row in `write`, parts have different
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
pub(crate) fn walk(shared: &Shared, posting: Posting, thread: usize, plan: &mut Plan) {
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
