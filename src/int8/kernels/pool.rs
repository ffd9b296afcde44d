//! Threads that share the work of a layer.
//!
//! A layer takes some tens of microseconds, a sleeping thread as long to wake: so workers spin while a frame is being
//! computed and sleep between frames. No thread is made per frame.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Rounds that a worker looks for work before it sleeps; about 100 µs.
const SPINS: u32 = 20_000;

/// After so many rounds of looking a spinning thread lets another run: two of them may share one core.
const SPINS_PER_YIELD: u32 = 64;

type Task<'a> = &'a (dyn Fn(usize) + Sync);

struct Shared {
    /// Counts the tasks handed out; a change means work.
    epoch: AtomicUsize,
    /// Workers that have not finished the current task.
    pending: AtomicUsize,
    stop: AtomicBool,
    failed: AtomicBool,
    sleeping: Vec<AtomicBool>,
    /// The current task, valid from a change of `epoch` until `pending` is 0.
    task: UnsafeCell<Option<Task<'static>>>,
}

// SAFETY: `task` is written only by the owner of the pool while `pending` is 0, when no worker looks at it, and
// published by the release store to `epoch` that the workers acquire.
unsafe impl Sync for Shared {}

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
        let workers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            task: UnsafeCell::new(None),
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

    /// Splits `items` items, each `stride` elements of `output`, into one range for each thread, and calls
    /// `f(range, its part of output, its part of scratch)` for all of them at the same time.
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
        let threads = self.threads().min(parts).max(1);
        let share = items.div_ceil(threads).next_multiple_of(grain.max(1));
        if share >= items {
            return f(0..items, output, scratch);
        }
        let each = scratch.len() / threads / 64 * 64;
        let (output, scratch) = (Pointer(output.as_mut_ptr()), Pointer(scratch.as_mut_ptr()));
        self.run(&|thread| {
            let range = (thread * share).min(items)..((thread + 1) * share).min(items);
            if thread >= threads || range.is_empty() {
                return;
            }
            // SAFETY: ranges of different threads do not overlap and end at `items`, for which `output` was sliced
            // above; the parts of `scratch` neither, and `threads * each` is at most its length. Both slices are
            // borrowed mutably until `run` returns, and `run` returns after every thread has finished.
            let (output, scratch) = unsafe {
                (
                    std::slice::from_raw_parts_mut(output.get().add(range.start * stride), range.len() * stride),
                    std::slice::from_raw_parts_mut(scratch.get().add(thread * each), each),
                )
            };
            f(range, output, scratch);
        });
    }

    /// Calls `task` with 0, 1, … on one thread each, and returns when all have finished.
    fn run(&mut self, task: Task) {
        // SAFETY: the reference is used only until `pending` is 0, which is waited for below, whatever happens.
        let task: Task<'static> = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        // SAFETY: `pending` is 0, so no worker looks at the task; `&mut self` keeps other callers away.
        unsafe { *self.shared.task.get() = Some(task) };
        self.shared.pending.store(self.workers.len(), Ordering::Relaxed);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for (worker, sleeping) in self.workers.iter().zip(&self.shared.sleeping) {
            if sleeping.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| task(0)));
        let mut spins = 0;
        while self.shared.pending.load(Ordering::Acquire) != 0 {
            spin(&mut spins);
        }
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
        assert!(!self.shared.failed.load(Ordering::Relaxed), "a worker thread panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so there is nothing to learn from its end.
            let _ = worker.join();
        }
    }
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
    let mut seen = 0;
    loop {
        let mut spins = 0;
        while shared.epoch.load(Ordering::SeqCst) == seen {
            spin(&mut spins);
            if spins >= SPINS {
                shared.sleeping[index].store(true, Ordering::SeqCst);
                // The caller first changes the epoch and then looks who sleeps: one of both sees the other.
                while shared.epoch.load(Ordering::SeqCst) == seen {
                    thread::park();
                }
                shared.sleeping[index].store(false, Ordering::SeqCst);
            }
        }
        seen = seen.wrapping_add(1);
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        // SAFETY: the epoch changed, so the task was published, and it stays until `pending` is 0, to which this
        // worker contributes below.
        let task = unsafe { *shared.task.get() };
        if let Some(task) = task
            && catch_unwind(AssertUnwindSafe(|| task(index + 1))).is_err()
        {
            shared.failed.store(true, Ordering::Relaxed);
        }
        shared.pending.fetch_sub(1, Ordering::Release);
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
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.split((2, 1, 2), 1, &mut [0u8; 2], &mut [], |range, _, _| assert!(range.start == 0, "on purpose"));
        }));
        assert!(result.is_err());
    }
}
