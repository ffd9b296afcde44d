//! Threads that share the work of a layer.
//!
//! A layer takes some tens of microseconds, a sleeping thread as long to wake: so workers spin while a frame is being
//! computed and sleep between frames. No thread is made per frame.
//!
//! A task is a number of parts that whoever is free claims, the caller among them. Cores are not equally fast (another
//! program, a neighbour on the same core, big and little ones), so that there are more parts than threads where parts
//! stay large enough. On a busy machine a worker may not get a core for milliseconds; then the caller computes all parts
//! itself and waits for nobody. It only ever waits for a part that has been begun.
//!
//! The caller claims from the first part on, the others from the last one back: of two threads, each has the same end of
//! the map in every layer, and what it wrote in one is in its own cache when the next reads it.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Rounds that a worker looks for work before it sleeps; about 100 µs.
const SPINS: u32 = 20_000;

/// After so many rounds of looking, some 20 µs, a spinning thread lets another run: two of them may share one core. Not
/// sooner: on a busy machine who yields gets its core back after milliseconds, and most parts take less than this.
const SPINS_PER_YIELD: u32 = 4096;

/// Parts for each thread, at most.
const PARTS_PER_THREAD: usize = 8;

/// Threads of a pool, so that parts are counted in 16 bits.
const MAX_THREADS: usize = 1024;

/// Called with the number of a part and that of the thread.
type Task<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// What is there to claim, in one word so that claiming is one compare-and-swap: the number of the task, the end and the
/// start of the parts that nobody has claimed.
#[derive(Clone, Copy)]
struct Claims(u64);

impl Claims {
    /// All of `parts` of the task after this one's but the first, which is the caller's without asking. The number of the
    /// task keeps a thread that looked long ago from claiming a part of a later one; it would have to sleep through 2³²
    /// tasks in between.
    fn next_task(self, parts: usize) -> Claims {
        Claims(((self.0 >> 32).wrapping_add(1) << 32) | (parts as u64) << 16 | 1)
    }

    /// The part that is left for `thread`, and what is there to claim after it.
    fn part(self, thread: usize) -> Option<(usize, Claims)> {
        let (start, end) = (self.0 & 0xffff, self.0 >> 16 & 0xffff);
        (start < end).then(|| match thread {
            0 => (start as usize, Claims(self.0 + 1)),
            _ => (end as usize - 1, Claims(self.0 - (1 << 16))),
        })
    }
}

/// What lies on cache lines of its own, so that who writes it takes nothing else from the others' caches; two lines, as
/// processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

struct Shared {
    posted: Apart<Posted>,
    /// Parts of the current task that workers have finished.
    finished: Apart<AtomicUsize>,
    stop: AtomicBool,
    failed: AtomicBool,
    sleeping: Vec<AtomicBool>,
}

/// What workers look at for work.
struct Posted {
    claims: AtomicU64,
    /// The current task, valid for a thread from its claim of a part until it has counted the part as finished.
    task: UnsafeCell<Option<Task<'static>>>,
}

// SAFETY: `task` is written only by the owner of the pool while every part is finished and none can be claimed, and is
// published by the store to `claims` that a claim acquires; who claimed a part reads it before counting that part.
unsafe impl Sync for Shared {}

impl Shared {
    fn claims(&self) -> Claims {
        Claims(self.posted.0.claims.load(Ordering::Acquire))
    }

    /// Claims a part for thread `thread`; the error says whether another took it.
    fn claim(&self, thread: usize) -> Result<usize, bool> {
        let claims = self.claims();
        let (part, left) = claims.part(thread).ok_or(false)?;
        let taken = self.posted.0.claims.compare_exchange(claims.0, left.0, Ordering::AcqRel, Ordering::Relaxed);
        taken.map(|_| part).map_err(|_| true)
    }

    fn compute(&self, task: Task, part: usize, thread: usize) {
        if catch_unwind(AssertUnwindSafe(|| task(part, thread))).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    /// Computes a part on worker `thread`; `false` where none is left.
    fn step(&self, thread: usize) -> bool {
        match self.claim(thread) {
            Ok(part) => {
                // SAFETY: this part is claimed and not finished, so `run` has not returned and the task is in place.
                if let Some(task) = unsafe { *self.posted.0.task.get() } {
                    self.compute(task, part, thread);
                }
                self.finished.0.fetch_add(1, Ordering::Release);
                true
            }
            Err(lost) => lost,
        }
    }
}

/// A fixed number of threads, the caller's own among them.
pub struct Pool {
    shared: Arc<Shared>,
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
            posted: Apart(Posted { claims: AtomicU64::new(0), task: UnsafeCell::new(None) }),
            finished: Apart(AtomicUsize::new(0)),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let spawn = |i: usize| {
            let shared = shared.clone();
            thread::Builder::new().name(format!("oltr-{}", i + 1)).spawn(move || work(&shared, i)).ok()
        };
        let workers = (0..workers).map_while(spawn).collect();
        Pool { shared, workers }
    }

    /// Threads that work, the caller's own counted.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Splits `items` items, each `stride` elements of `output`, into ranges, and calls
    /// `f(range, its part of output, the thread's part of scratch)` for all of them, some at the same time.
    ///
    /// `parts` bounds the number of ranges; ranges begin at multiples of `grain` items. The result does not depend on
    /// the number of threads as long as `f` computes each item by itself.
    ///
    /// # Panics
    /// If `output` is shorter than `items * stride`, or if `f` panics.
    pub fn split<T: Send>(
        &mut self,
        (items, grain, parts): (usize, usize, usize),
        stride: usize,
        output: &mut [T],
        scratch: &mut [u8],
        f: impl Fn(Range<usize>, &mut [T], &mut [u8]) + Sync,
    ) {
        let output = &mut output[..items * stride];
        let threads = self.threads();
        let grain = grain.max(1);
        let share = grain * share(items.div_ceil(grain), parts, threads);
        if threads == 1 || share >= items {
            return f(0..items, output, scratch);
        }
        let each = scratch.len() / threads / 64 * 64;
        let (output, scratch) = (Pointer(output.as_mut_ptr()), Pointer(scratch.as_mut_ptr()));
        self.run(items.div_ceil(share), &|part, thread| {
            let range = part * share..((part + 1) * share).min(items);
            // SAFETY: ranges of different parts do not overlap and end at `items`, for which `output` was sliced
            // above; a part is computed once. A thread's piece of `scratch` is its own, computes one part at a time,
            // and `threads * each` is at most the length. Both slices are borrowed mutably until `run` returns,
            // after every part has finished.
            let (output, scratch) = unsafe {
                (
                    std::slice::from_raw_parts_mut(output.get().add(range.start * stride), range.len() * stride),
                    std::slice::from_raw_parts_mut(scratch.get().add(thread * each), each),
                )
            };
            f(range, output, scratch);
        });
    }

    /// Splits the columns of the rows of `output`, which are `stride` elements long, in `slices` slices, and calls
    /// `f(slices, compact rows of their columns, rest of the thread's scratch)` for ranges of them. `columns` says which
    /// columns slices are. Scratch has room for the rows beside what `f` needs.
    ///
    /// # Panics
    /// If `output` is no whole number of rows, if columns lie outside a row, or if `f` panics.
    pub fn split_columns(
        &mut self,
        (slices, parts): (usize, usize),
        stride: usize,
        columns: impl Fn(Range<usize>) -> Range<usize> + Sync,
        output: &mut [u8],
        scratch: &mut [u8],
        f: impl Fn(Range<usize>, &mut [u8], &mut [u8]) + Sync,
    ) {
        assert!(output.len().is_multiple_of(stride));
        let (rows, threads) = (output.len() / stride, self.threads());
        let share = share(slices, parts, threads).max(1);
        let each = scratch.len() / threads / 64 * 64;
        let (output, scratch) = (Pointer(output.as_mut_ptr()), Pointer(scratch.as_mut_ptr()));
        self.run(slices.div_ceil(share), &|part, thread| {
            let slices = part * share..((part + 1) * share).min(slices);
            let columns = columns(slices.clone());
            assert!(columns.end <= stride);
            // SAFETY: a thread's piece of `scratch` is its own, computes one part at a time, and `threads * each` is
            // at most the length; it is borrowed mutably until `run` returns.
            let scratch = unsafe { std::slice::from_raw_parts_mut(scratch.get().add(thread * each), each) };
            let (compact, scratch) = scratch.split_at_mut(rows * columns.len());
            f(slices, compact, scratch);
            for (row, from) in compact.chunks_exact(columns.len().max(1)).enumerate() {
                // SAFETY: the columns lie in the row, the row in `output`, which is borrowed mutably until `run`
                // returns; no reference to its elements is made, and parts have different columns.
                unsafe {
                    let to = output.get().add(row * stride + columns.start);
                    std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
                }
            }
        });
    }

    /// Calls `task` once with each number below `parts`, on whatever threads, and returns when all have finished. The
    /// caller is thread 0.
    fn run(&mut self, parts: usize, task: Task) {
        if parts == 0 {
            return;
        }
        // SAFETY: the reference is used only until every part has finished, which is waited for below: `compute` lets no
        // panic out.
        let task: Task<'static> = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        let shared = &*self.shared;
        // SAFETY: all parts of the last task are finished and none is left to claim, so no worker looks at the task;
        // `&mut self` keeps other callers away.
        unsafe { *shared.posted.0.task.get() = Some(task) };
        shared.finished.0.store(0, Ordering::Relaxed);
        shared.posted.0.claims.store(shared.claims().next_task(parts).0, Ordering::Release);
        // Who falls asleep just now is not seen here, but at the next task.
        for (worker, sleeping) in self.workers.iter().zip(&shared.sleeping) {
            if sleeping.load(Ordering::Relaxed) {
                worker.thread().unpark();
            }
        }
        shared.compute(task, 0, 0);
        let mut own = 1;
        loop {
            match shared.claim(0) {
                Ok(part) => {
                    shared.compute(task, part, 0);
                    own += 1;
                }
                Err(true) => {}
                Err(false) => break,
            }
        }
        let mut spins = 0;
        while shared.finished.0.load(Ordering::Acquire) + own != parts {
            spin(&mut spins);
        }
        assert!(!shared.failed.swap(false, Ordering::Relaxed), "a part of a layer panicked");
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

/// Units of a part, so that `threads` threads finish `units` units in at most `parts` parts as early as can be; of such
/// divisions the finest.
fn share(units: usize, parts: usize, threads: usize) -> usize {
    let finish = |share: usize| units.div_ceil(share).div_ceil(threads) * share;
    let most = parts.min(PARTS_PER_THREAD * threads).min(units).max(1);
    // Of shares that finish at the same time the last one is the smallest.
    (1..=most).map(|parts| units.div_ceil(parts)).min_by_key(|share| (finish((*share).max(1)), *share)).unwrap_or(units)
}

/// A pointer that threads may share; what they do with it is `split`'s business.
struct Pointer<T>(*mut T);

// SAFETY: the pointer is only turned into slices that do not overlap.
unsafe impl<T: Send> Sync for Pointer<T> {}

impl<T> Pointer<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

fn spin(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(SPINS_PER_YIELD) {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

fn work(shared: &Shared, index: usize) {
    let mut spins = 0;
    let idle = || shared.claims().part(index + 1).is_none() && !shared.stop.load(Ordering::SeqCst);
    loop {
        if shared.step(index + 1) {
            spins = 0;
        } else if shared.stop.load(Ordering::SeqCst) {
            return;
        } else if spins < SPINS {
            spin(&mut spins);
        } else {
            shared.sleeping[index].store(true, Ordering::SeqCst);
            while idle() {
                thread::park();
            }
            shared.sleeping[index].store(false, Ordering::SeqCst);
            spins = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_whatever_the_threads() {
        for threads in [1, 2, 3, 5] {
            let mut pool = Pool::new(threads);
            for (items, grain) in [(0, 1), (1, 1), (2, 1), (7, 4), (64, 16), (1000, 7)] {
                let mut output = vec![0u32; items * 3];
                pool.split((items, grain, usize::MAX), 3, &mut output, &mut [0; 1024], |range, out, scratch| {
                    assert_eq!((range.start % grain, out.len()), (0, range.len() * 3));
                    scratch.fill(1);
                    for (i, item) in range.zip(out.chunks_exact_mut(3)) {
                        item.iter_mut().for_each(|x| *x += i as u32 + 1);
                    }
                });
                let expected: Vec<u32> = (0..items * 3).map(|i| i as u32 / 3 + 1).collect();
                assert_eq!(output, expected, "{threads} threads, {items} items");
            }
        }
    }

    #[test]
    fn shares_are_even_and_as_fine_as_they_may_be() {
        // All parts that are allowed where they divide evenly; else those that finish first.
        for (units, parts, threads, expected) in [
            (112, usize::MAX, 2, 7),
            (14, usize::MAX, 2, 1),
            (7, usize::MAX, 2, 1),
            (56, 4, 2, 14),
            (56, 3, 2, 28),
            (49, 2, 2, 25),
            (49, 1, 2, 49),
            (100, usize::MAX, 3, 17),
            (1, 8, 4, 1),
            (0, 8, 4, 0),
        ] {
            assert_eq!(share(units, parts, threads), expected, "{units} units, {parts} parts, {threads} threads");
        }
    }

    #[test]
    fn columns_are_done_once_whatever_the_threads() {
        for threads in [1, 2, 3] {
            let mut pool = Pool::new(threads);
            for slices in [1, 2, 5, 9] {
                let (rows, stride) = (4, 3 * slices + 2);
                let mut output = vec![7u8; rows * stride];
                let columns = |slices: Range<usize>| 3 * slices.start..3 * slices.end;
                let scratch = &mut vec![0; threads * 256];
                pool.split_columns((slices, 9), stride, columns, &mut output, scratch, |slices, compact, scratch| {
                    scratch.fill(1);
                    let width = 3 * slices.len();
                    assert_eq!(compact.len(), rows * width);
                    for (i, byte) in compact.iter_mut().enumerate() {
                        *byte = (i / width * 50 + 3 * slices.start + i % width) as u8;
                    }
                });
                let wanted: Vec<u8> = (0..rows * stride)
                    .map(|i| if i % stride < 3 * slices { (i / stride * 50 + i % stride) as u8 } else { 7 })
                    .collect();
                assert_eq!(output, wanted, "{threads} threads, {slices} slices");
            }
        }
    }

    #[test]
    fn a_pool_wakes_after_a_rest() {
        let mut pool = Pool::new(3);
        for round in 0..20 {
            if round % 5 == 0 {
                thread::sleep(std::time::Duration::from_millis(5));
            }
            let mut output = [0u8; 9];
            pool.split((9, 1, 9), 1, &mut output, &mut [], |_, out, _| out.fill(1));
            assert_eq!(output, [1; 9]);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_end() {
        let mut pool = Pool::new(2);
        for bad in [0, 1] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.split((2, 1, 2), 1, &mut [0u8; 2], &mut [], |range, _, _| {
                    assert!(range.start != bad, "on purpose")
                });
            }));
            assert!(result.is_err());
        }
        // The pool works on.
        let mut output = [0u8; 2];
        pool.split((2, 1, 2), 1, &mut output, &mut [], |_, out, _| out.fill(1));
        assert_eq!(output, [1; 2]);
    }

    /// Whoever gets no core keeps no layer waiting.
    #[test]
    fn the_caller_does_not_wait_for_who_has_not_begun() {
        let shared = Pool::new(1).shared.clone();
        let computed = AtomicUsize::new(0);
        let mut pool = Pool { shared, workers: Vec::new() };
        for _ in 0..50 {
            pool.run(4, &|_, _| {
                computed.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(computed.into_inner(), 200);
    }

    #[test]
    fn a_claim_of_a_past_task_is_worth_nothing() {
        let first = Claims(0).next_task(2);
        let second = Claims(first.0 + 2).next_task(2);
        assert_ne!(first.0, second.0);
        assert_eq!(Claims(u64::MAX << 32).next_task(3).part(0).map(|claim| claim.0), Some(1));
    }

    #[test]
    fn each_part_is_claimed_once_from_both_ends() {
        for (threads, wanted) in [
            ([0, 0, 0, 0, 0], [0, 1, 2, 3, 4]),
            ([1, 1, 1, 1, 1], [4, 3, 2, 1, 0]),
            ([0, 1, 0, 2, 1], [0, 4, 1, 3, 2]),
            ([1, 1, 1, 0, 0], [4, 3, 2, 0, 1]),
        ] {
            let mut claims = Claims(Claims(7 << 32).next_task(5).0 - 1);
            let parts = threads.map(|thread| {
                let (part, left) = claims.part(thread).unwrap();
                claims = left;
                part
            });
            assert_eq!(parts, wanted, "{threads:?}");
            assert!(claims.part(0).is_none() && claims.part(1).is_none());
            assert_eq!(claims.0 >> 32, 8, "claims do not reach the number of the task");
        }
    }
}
