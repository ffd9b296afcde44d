//! What the threads of a pool share, and how parts are claimed.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::threads::schedule::{MAX_PARTS, MAX_SEGMENTS, Schedule};

/// Rounds that a worker looks for work before it sleeps; about 100 µs.
pub(crate) const SPINS: u32 = 20_000;

/// After so many rounds of looking, some 20 µs, a spinning thread lets another run: two of them may share one core. Not
/// sooner: on a busy machine who yields gets its core back after milliseconds, and most parts take less than this.
pub(crate) const SPINS_PER_YIELD: u32 = 4096;

/// Threads of a pool.
pub(crate) const MAX_THREADS: usize = 1024;

/// What lies on cache lines of its own, so that who writes it takes nothing else from the others' caches; two lines, as
/// processors fetch them in pairs.
#[repr(align(128))]
pub(crate) struct Apart<T>(pub T);

pub(crate) struct Shared {
    pub posted: Apart<Posted>,
    /// One for each thread.
    pub lanes: Vec<Lane>,
    pub plan: Mutex<Plan>,
    /// The plan's version, to look at.
    pub version: AtomicU64,
    pub stop: AtomicBool,
    pub failed: AtomicBool,
    pub sleeping: Vec<AtomicBool>,
}

/// What workers look at for work.
pub(crate) struct Posted {
    /// The last segment ([`Posting`]) that was posted; 0 before the first.
    pub segment: AtomicU64,
    /// Its task, valid for a thread from its claim of a part until it has counted the part as finished.
    pub task: UnsafeCell<Option<RoundTask<'static>>>,
}

/// The schedule of the segments that are posted.
#[derive(Clone)]
pub(crate) struct Plan {
    pub version: u64,
    pub schedule: Option<Arc<Schedule>>,
    /// The number of the first round that was posted of it.
    pub since: u64,
}

impl Plan {
    pub const NONE: Plan = Plan { version: 0, schedule: None, since: 0 };
}

// SAFETY: `task` is written only by the owner of the pool while every part is finished and none can be claimed, and is
// published by the store to `segment` that a thread acquires before it claims; who claimed a part reads it before
// counting that part.
unsafe impl Sync for Shared {}

impl Shared {
    pub fn posted(&self) -> Posting {
        Posting::of(self.posted.0.segment.load(Ordering::Acquire))
    }

    /// Keeps a panic for the caller.
    pub fn guarded(&self, f: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(f)).is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// Bits of a claim's count of parts.
const PARTS_BITS: u32 = (MAX_PARTS + 1).ilog2();

/// Bits of a segment's number beside that of its first round.
const SEGMENT_BITS: u32 = (MAX_SEGMENTS + 1).ilog2();

/// Called with the number of a round, that of a part, and that of the thread.
pub(crate) type RoundTask<'a> = &'a (dyn Fn(usize, usize, usize) + Sync);

/// What belongs to a thread of the pool. Whoever waits looks at what is finished, and few at the claims.
pub(crate) struct Lane {
    /// The number of a round and how many of the parts dealt to the thread are claimed in it.
    pub claims: Apart<AtomicU64>,
    /// Parts that the thread has finished, ever.
    pub finished: Apart<AtomicU64>,
}

impl Lane {
    pub fn new() -> Lane {
        Lane { claims: Apart(AtomicU64::new(0)), finished: Apart(AtomicU64::new(0)) }
    }

    /// Claims one of the `dealt` parts that are the lane's in the round with this number, if one is left.
    pub fn claim(&self, number: u64, dealt: usize) -> Option<usize> {
        if dealt == 0 {
            return None;
        }
        let mut seen = self.claims.0.load(Ordering::Relaxed);
        loop {
            let claimed = match (seen >> PARTS_BITS).cmp(&number) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => seen & ((1 << PARTS_BITS) - 1),
                std::cmp::Ordering::Greater => return None,
            };
            if claimed as usize >= dealt {
                return None;
            }
            let next = number << PARTS_BITS | (claimed + 1);
            match self.claims.0.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(claimed as usize),
                Err(other) => seen = other,
            }
        }
    }
}

/// A segment that was posted, in one word: the number of its first round, and which segment it is, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posting(u64);

impl Posting {
    pub fn new(first: u64, segment: usize) -> Posting {
        Posting(first << SEGMENT_BITS | (segment as u64 + 1))
    }

    /// From a [`Posting::word`].
    pub fn of(word: u64) -> Posting {
        Posting(word)
    }

    /// Not 0.
    pub fn word(self) -> u64 {
        self.0
    }

    pub fn first(self) -> u64 {
        self.0 >> SEGMENT_BITS
    }

    pub fn segment(self) -> usize {
        (self.0 & ((1 << SEGMENT_BITS) - 1)) as usize - 1
    }
}

impl Shared {
    /// Parts of rounds that all threads together have finished, ever.
    ///
    /// What is seen of each thread is not more than it has finished, so that a sum that is reached is reached.
    pub(crate) fn finished(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.finished.0.load(Ordering::Acquire)).sum()
    }
}

/// Looks again a moment later.
pub(crate) fn spin(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(SPINS_PER_YIELD) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}
