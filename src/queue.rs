//! A bounded queue of recycled frames between the thread that captures and the one that classifies.
//!
//! A fixed number of slots goes round: taken free, filled, waiting, handed over, given back. Nothing is allocated
//! while they do, and what is counted is counted under the same lock as it happens, so that at any moment
//! `captured = classified + dropped + waiting + in progress`, and in the end `captured = classified + dropped`.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use heapless::Deque;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// Most frames that can wait; [`Limits::queue_frames`] may say less.
pub const MAX_WAITING: usize = 64;

/// Slots beyond those that wait: one is being filled, one classified.
pub const SLOTS_IN_HAND: usize = 2;

/// What happens to a frame that finds the queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The frame that has waited longest is dropped: the newest wins. For cameras.
    DropOldest,
    /// The source waits. For files.
    Block,
}

/// What has become of the frames so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that entered the queue.
    pub captured: u64,
    /// Frames that were classified.
    pub classified: u64,
    /// Frames that were not: pushed out by newer ones, or left over in the end.
    pub dropped: u64,
    /// Frames in the queue now.
    pub waiting: usize,
}

/// What the consumer gets.
#[derive(Debug)]
pub enum Next<T> {
    /// A frame, to be given back with [`Queue::classified`] or [`Queue::gave_up`].
    Frame(T),
    /// None came in time.
    Nothing,
    /// The producer has closed the queue, and no frame waits any more.
    Closed,
}

/// The queue; shared by reference between its two threads.
#[derive(Debug)]
pub struct Queue<T> {
    state: Mutex<State<T>>,
    /// A frame has come, or the queue was closed.
    filled: Condvar,
    /// A place became free, or the consumer has left.
    freed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    overflow: Overflow,
    depth: usize,
    free: Deque<T, { MAX_WAITING + SLOTS_IN_HAND }>,
    waiting: Deque<T, MAX_WAITING>,
    counts: Counts,
    closed: bool,
    abandoned: bool,
}

impl<T> Queue<T> {
    /// A queue in which up to `depth` frames wait, with slots made by `slot`.
    ///
    /// # Errors
    /// [`Error::Config`] for a depth of 0, [`Error::Limit`] beyond [`Limits::queue_frames`].
    pub fn new(depth: usize, overflow: Overflow, limits: &Limits, mut slot: impl FnMut() -> T) -> Result<Queue<T>> {
        let limit = limits.queue_frames.min(MAX_WAITING);
        if depth == 0 {
            return Err(Error::Config("a queue must hold at least 1 frame".into()));
        }
        if depth > limit {
            let (value, limit) = (depth as u64, limit as u64);
            return Err(Error::Limit { subject: "queue".into(), what: "queue_frames", value, limit });
        }
        let mut free = Deque::new();
        for _ in 0..depth + SLOTS_IN_HAND {
            let _ = free.push_back(slot());
        }
        let counts = Counts::default();
        let state = State { overflow, depth, free, waiting: Deque::new(), counts, closed: false, abandoned: false };
        Ok(Queue { state: Mutex::new(state), filled: Condvar::new(), freed: Condvar::new() })
    }

    /// For the producer: a slot to fill. There always is one, as long as it holds no other and slots are given back;
    /// `None` once the consumer has left.
    pub fn slot(&self) -> Option<T> {
        let mut state = self.lock();
        if state.abandoned { None } else { state.free.pop_back() }
    }

    /// For the producer: gives back a slot that was not filled.
    pub fn unused(&self, slot: T) {
        self.lock().recycle(slot);
    }

    /// For the producer: a frame has been captured. Waits for a place, or takes the oldest one's.
    pub fn push(&self, frame: T) {
        let mut state = self.lock();
        state.counts.captured += 1;
        if state.overflow == Overflow::Block {
            while state.waiting.len() >= state.depth && !state.abandoned {
                state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if state.abandoned {
            state.drop_frame(frame);
            return;
        }
        if state.waiting.len() >= state.depth
            && let Some(oldest) = state.waiting.pop_front()
        {
            state.drop_frame(oldest);
        }
        if let Err(frame) = state.waiting.push_back(frame) {
            // Cannot be: `depth` is within the capacity. A frame that is lost must be counted all the same.
            state.drop_frame(frame);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// For the producer: no more frames will come.
    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// For the consumer: the frame that has waited longest, with the counts at this moment. Waits up to `patience`.
    pub fn next(&self, patience: Duration) -> (Next<T>, Counts) {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(frame) = state.waiting.pop_front() {
                let counts = state.counts();
                drop(state);
                self.freed.notify_one();
                return (Next::Frame(frame), counts);
            }
            if state.closed {
                return (Next::Closed, state.counts());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return (Next::Nothing, state.counts());
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// For the consumer: `frame` has been classified; gives its slot back.
    pub fn classified(&self, frame: T) {
        let mut state = self.lock();
        state.counts.classified += 1;
        state.recycle(frame);
    }

    /// For the consumer: `frame` was not classified; gives its slot back.
    pub fn gave_up(&self, frame: T) {
        self.lock().drop_frame(frame);
    }

    /// For the consumer: it leaves. What waits is dropped, and the producer learns of it.
    pub fn abandon(&self) -> Counts {
        let mut state = self.lock();
        state.abandoned = true;
        while let Some(frame) = state.waiting.pop_front() {
            state.drop_frame(frame);
        }
        let counts = state.counts();
        drop(state);
        self.freed.notify_one();
        counts
    }

    /// What has become of the frames so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// Whether the consumer has left.
    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// A thread that panicked leaves counts and slots as they were before its call.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn counts(&self) -> Counts {
        Counts { waiting: self.waiting.len(), ..self.counts }
    }

    fn recycle(&mut self, slot: T) {
        // As many slots as there are fit: none is made after the beginning.
        let kept = self.free.push_back(slot);
        debug_assert!(kept.is_ok());
    }

    fn drop_frame(&mut self, frame: T) {
        self.counts.dropped += 1;
        self.recycle(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(depth: usize, overflow: Overflow) -> Queue<u32> {
        Queue::new(depth, overflow, &Limits::default(), || 0).unwrap()
    }

    /// What comes out now, without waiting.
    fn next(queue: &Queue<u32>) -> Option<u32> {
        match queue.next(Duration::ZERO).0 {
            Next::Frame(frame) => Some(frame),
            _ => None,
        }
    }

    fn push(queue: &Queue<u32>, frame: u32) {
        queue.slot().expect("a slot is free");
        queue.push(frame);
    }

    #[test]
    fn the_newest_wins() {
        let queue = queue(2, Overflow::DropOldest);
        (1..=5).for_each(|frame| push(&queue, frame));
        assert_eq!(queue.counts(), Counts { captured: 5, classified: 0, dropped: 3, waiting: 2 });
        assert_eq!(next(&queue), Some(4));
        push(&queue, 6);
        queue.classified(4);
        assert_eq!([next(&queue), next(&queue)], [Some(5), Some(6)]);
        queue.classified(5);
        queue.gave_up(6);
        assert_eq!(queue.counts(), Counts { captured: 6, classified: 2, dropped: 4, waiting: 0 });
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = queue(3, Overflow::DropOldest);
        push(&queue, 1);
        queue.close();
        assert_eq!(next(&queue), Some(1));
        assert!(matches!(queue.next(Duration::from_secs(9)).0, Next::Closed));
    }

    #[test]
    fn the_source_waits_where_it_should() {
        let queue = queue(1, Overflow::Block);
        std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                (1..=1000).for_each(|frame| push(&queue, frame));
                queue.close();
            });
            let mut expected = 1;
            while let (Next::Frame(frame), counts) = queue.next(Duration::from_secs(10)) {
                assert_eq!(frame, expected);
                assert!(counts.captured <= u64::from(frame) + 2, "{counts:?} at {frame}");
                expected += 1;
                queue.classified(frame);
            }
            assert_eq!(expected, 1001);
            producer.join().unwrap();
        });
        assert_eq!(queue.counts(), Counts { captured: 1000, classified: 1000, dropped: 0, waiting: 0 });
    }

    #[test]
    fn a_consumer_that_leaves_frees_the_producer() {
        for overflow in [Overflow::Block, Overflow::DropOldest] {
            let queue = queue(1, overflow);
            std::thread::scope(|scope| {
                let producer = scope.spawn(|| {
                    let mut pushed = 0;
                    while let Some(slot) = queue.slot() {
                        queue.push(slot);
                        pushed += 1;
                    }
                    pushed
                });
                for _ in 0..10 {
                    if let (Next::Frame(frame), _) = queue.next(Duration::from_secs(10)) {
                        queue.classified(frame);
                    }
                }
                queue.abandon();
                let pushed = producer.join().unwrap();
                let Counts { captured, classified, dropped, waiting } = queue.counts();
                assert_eq!((captured, classified, waiting), (pushed, 10, 0));
                assert_eq!(captured, classified + dropped);
            });
        }
    }

    #[test]
    fn slots_are_as_many_as_can_be_in_use() {
        let mut made = 0;
        let queue = Queue::new(3, Overflow::DropOldest, &Limits::default(), || made += 1).unwrap();
        assert_eq!(made, 5);
        // One in the consumer's hand, three waiting, and there still is one to fill.
        for _ in 0..9 {
            queue.slot().unwrap();
            queue.push(());
        }
        assert!(matches!(queue.next(Duration::ZERO).0, Next::Frame(())));
        queue.slot().unwrap();
        queue.push(());
        assert!(queue.slot().is_some());
        assert!(Queue::new(0, Overflow::Block, &Limits::default(), || ()).is_err());
        assert!(Queue::new(17, Overflow::Block, &Limits::default(), || ()).is_err());
    }
}
