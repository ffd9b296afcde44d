//! Several threads work on a sequence of items. Their results are taken in order.
//!
//! Reading and decoding a photo takes longer than all other work, so photos are read ahead. Each thread takes the next
//! item. The thread that takes the results works too while the next result is not ready.

use std::any::Any;
use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most threads that work ahead.
pub const MAX_JOBS: usize = 64;

/// Finished results for each thread. They let other threads continue while one is late.
const AHEAD: usize = 2;

/// Stack of a thread that decodes photos. Decoders keep tables of some ten kilobytes on it.
const STACK: usize = 1 << 20;

/// Interval between checks of `stop` while there is nothing else to do.
const PATIENCE: Duration = Duration::from_millis(50);

/// A thread's work on one item. Created in the thread that takes the results; keeps its buffers.
pub type Worker<T, R> = Box<dyn FnMut(T) -> R + Send>;

/// Results of a sequence of items, in order.
///
/// # Example
/// ```
/// use oltr_frames::source::ahead::{Ahead, Worker};
///
/// let squares = |_| Box::new(|n| n * n) as Worker<u64, u64>;
/// let mut ahead = Ahead::new(0..5, 3, squares);
/// let mut results = Vec::new();
/// while let Some(result) = ahead.next(&|| false) {
///     results.push(result.expect("nothing panics"));
/// }
/// assert_eq!(results, [0, 1, 4, 9, 16]);
/// ```
pub struct Ahead<T, R> {
    shared: Arc<Shared<T, R>>,
    own: Worker<T, R>,
}

/// Error: the worker panicked.
#[derive(Debug)]
pub struct Panicked;

struct Shared<T, R> {
    state: Mutex<State<T, R>>,
    /// Signals a new result.
    ready: Condvar,
    /// Signals room for another result.
    room: Condvar,
}

struct State<T, R> {
    things: Box<dyn Iterator<Item = T> + Send>,
    /// Whether the items are used up.
    over: bool,
    /// Results from the next one on; `None` while they are being computed.
    results: VecDeque<Option<Result<R, Panicked>>>,
    /// The number of the first of them.
    first: usize,
    /// Results that may wait or be worked on.
    most: usize,
    stopped: bool,
}

impl<T, R> State<T, R> {
    /// The next item and its number, if there is room for its result.
    fn take(&mut self) -> Option<(usize, T)> {
        if self.over || self.stopped || self.results.len() >= self.most {
            return None;
        }
        match self.things.next() {
            Some(thing) => {
                self.results.push_back(None);
                Some((self.first + self.results.len() - 1, thing))
            }
            None => {
                self.over = true;
                None
            }
        }
    }

    fn put(&mut self, number: usize, result: Result<R, Panicked>) {
        if let Some(place) = number.checked_sub(self.first).and_then(|place| self.results.get_mut(place)) {
            *place = Some(result);
        }
    }
}

/// No lock is held while work is done, so that none is left by a panic.
fn locked<S>(mutex: &Mutex<S>) -> MutexGuard<'_, S> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread for each processor.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MAX_JOBS)
}

impl<T: Send + 'static, R: Send + 'static> Ahead<T, R> {
    /// Starts work on `things` with `jobs` threads (1 to [`MAX_JOBS`]), including the caller's. `make` creates each
    /// thread's worker from its number.
    ///
    /// If the system refuses a thread, works with fewer.
    pub fn new(
        things: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
        jobs: usize,
        mut make: impl FnMut(usize) -> Worker<T, R>,
    ) -> Ahead<T, R> {
        let jobs = jobs.clamp(1, MAX_JOBS);
        let state = State {
            things: Box::new(things.into_iter()),
            over: false,
            results: VecDeque::new(),
            first: 0,
            most: if jobs == 1 { 1 } else { AHEAD * jobs },
            stopped: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), ready: Condvar::new(), room: Condvar::new() });
        for number in 1..jobs {
            let (shared, mut worker) = (shared.clone(), make(number));
            let builder = thread::Builder::new().name("ahead".into()).stack_size(STACK);
            if let Err(e) = builder.spawn(move || shared.work(&mut worker)) {
                log::warn!("a thread to read photos ahead: {e}; {number} of {jobs} are there");
                break;
            }
        }
        Ahead { shared, own: make(0) }
    }

    /// The next result; `None` after the last one, or if `stop` returns true. Then it returns even if a thread hangs in
    /// its work.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Result<R, Panicked>> {
        let mut state = locked(&self.shared.state);
        loop {
            if stop() {
                return None;
            }
            if matches!(state.results.front(), Some(Some(_))) {
                let result = state.results.pop_front().flatten();
                state.first += 1;
                self.shared.room.notify_one();
                return result;
            }
            if let Some((number, thing)) = state.take() {
                drop(state);
                let result = worked(&mut self.own, thing);
                state = locked(&self.shared.state);
                state.put(number, result);
            } else if state.results.is_empty() {
                return None;
            } else {
                let waited = self.shared.ready.wait_timeout(state, PATIENCE);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

fn worked<T, R>(worker: &mut Worker<T, R>, thing: T) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(|| worker(thing))).map_err(|_: Box<dyn Any + Send>| Panicked)
}

impl<T, R> Shared<T, R> {
    /// Works on items until there are no more.
    fn work(&self, worker: &mut Worker<T, R>) {
        let mut state = locked(&self.state);
        while !state.stopped {
            if let Some((number, thing)) = state.take() {
                drop(state);
                let result = worked(worker, thing);
                state = locked(&self.state);
                state.put(number, result);
                self.ready.notify_one();
            } else if state.over {
                return;
            } else {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl<T, R> Drop for Ahead<T, R> {
    /// Threads end after their current item. Drop does not wait for them, because a disk may hang.
    fn drop(&mut self) {
        locked(&self.shared.state).stopped = true;
        self.shared.room.notify_all();
    }
}

impl<T, R> std::fmt::Debug for Ahead<T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = locked(&self.shared.state);
        write!(f, "Ahead({} taken, {} on the way)", state.first, state.results.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn all<R: Send + 'static>(ahead: &mut Ahead<usize, R>) -> Vec<Result<R, Panicked>> {
        std::iter::from_fn(|| ahead.next(&|| false)).collect()
    }

    #[test]
    fn results_come_in_order_whoever_is_slow() {
        for jobs in [1, 2, 3, 16] {
            let slow = |_| {
                Box::new(|n: usize| {
                    thread::sleep(Duration::from_millis((n as u64 * 7) % 5));
                    n
                }) as Worker<usize, usize>
            };
            let results = all(&mut Ahead::new(0..60, jobs, slow));
            assert!(results.into_iter().map(Result::unwrap).eq(0..60), "{jobs} jobs");
        }
    }

    #[test]
    fn a_panic_is_one_result() {
        let worker = |_| {
            Box::new(|n: usize| {
                assert!(n % 5 != 3, "on purpose");
                n
            }) as Worker<usize, usize>
        };
        for jobs in [1, 4] {
            let results = all(&mut Ahead::new(0..20, jobs, worker));
            assert_eq!(results.len(), 20);
            assert!(results.iter().enumerate().all(|(n, r)| r.is_err() == (n % 5 == 3)));
        }
    }

    #[test]
    fn no_more_is_worked_on_than_may_wait() {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = begun.clone();
        let worker = move |_| {
            let count = count.clone();
            Box::new(move |n: usize| {
                count.fetch_add(1, Ordering::SeqCst);
                n
            }) as Worker<usize, usize>
        };
        let mut ahead = Ahead::new(0..1000, 3, worker);
        for taken in 1..=20 {
            ahead.next(&|| false).unwrap().unwrap();
            thread::sleep(Duration::from_millis(2));
            assert!(begun.load(Ordering::SeqCst) <= taken + 3 * AHEAD);
        }
    }

    #[test]
    fn a_stop_is_heard_while_a_thread_is_stuck() {
        let worker = |number| {
            Box::new(move |n: usize| {
                if number != 0 {
                    thread::sleep(Duration::from_secs(3600));
                }
                n
            }) as Worker<usize, usize>
        };
        let mut ahead = Ahead::new(0..1000, 2, worker);
        let asked = AtomicUsize::new(0);
        // The caller's thread does what it can, until only the hanging item is left.
        while ahead.next(&|| asked.fetch_add(1, Ordering::Relaxed) > 20).is_some() {}
        drop(ahead);
    }

    #[test]
    fn nothing_to_do_is_over_at_once() {
        assert!(all(&mut Ahead::new(0..0, 4, |_| Box::new(|n| n) as Worker<usize, usize>)).is_empty());
    }
}
