//! A thread's way through the rounds of a segment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rounds::{MAX_PARTS, MAX_SEGMENTS, Schedule};
use super::{Apart, SPINS_PER_YIELD, Shared};

/// Rounds of looking after which a thread that waits takes the only part of another: it is then late, not just begun a
/// moment later. Looking at the other's claims costs it a way between caches, so that where there is but one to be claimed
/// this is not done sooner.
const PATIENCE: u32 = 64;

/// Bits of a claim's count of parts.
const PARTS_BITS: u32 = (MAX_PARTS + 1).ilog2();

/// Bits of a segment's number beside that of its first round.
const SEGMENT_BITS: u32 = (MAX_SEGMENTS + 1).ilog2();

/// Called with the number of a round, that of a part, and that of the thread.
pub(super) type RoundTask<'a> = &'a (dyn Fn(usize, usize, usize) + Sync);

/// What belongs to a thread of the pool. Whoever waits looks at what is finished, and few at the claims.
pub(super) struct Lane {
    /// The number of a round and how many of the parts dealt to the thread are claimed in it.
    claims: Apart<AtomicU64>,
    /// Parts that the thread has finished, ever.
    finished: Apart<AtomicU64>,
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
pub(super) struct Posting(u64);

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

    fn segment(self) -> usize {
        (self.0 & ((1 << SEGMENT_BITS) - 1)) as usize - 1
    }
}

/// A thread's way through a segment.
pub(super) struct Walk<'a> {
    pub shared: &'a Shared,
    pub schedule: &'a Arc<Schedule>,
    pub posting: Posting,
    pub thread: usize,
}

impl Walk<'_> {
    /// Goes through all rounds; `each` is called at the start of every one. On return nothing is left to claim, and if
    /// `to_the_end`, all is finished.
    pub fn run(&self, to_the_end: bool, each: impl Fn()) {
        let rounds = self.schedule.segment(self.posting.segment());
        for round in rounds.clone() {
            each();
            if round > rounds.start {
                self.wait(round - 1);
            }
            self.work_off(round, self.thread, 1);
        }
        match to_the_end {
            true => self.wait(rounds.end - 1),
            false => self.take(rounds.end - 1, 2),
        }
    }

    /// The number of a round of this posting.
    fn number(&self, round: usize) -> u64 {
        let first = self.schedule.segment(self.posting.segment()).start;
        self.posting.first() + (self.schedule.before(round) - self.schedule.before(first))
    }

    /// Computes what nobody has claimed of the parts of a round that are dealt to `lane`, if at least so many are.
    fn work_off(&self, round: usize, lane: usize, least: usize) {
        let (number, dealt) = (self.number(round), self.schedule.dealt(round, lane));
        if dealt.len() >= least {
            while let Some(claimed) = self.shared.lanes[lane].claim(number, dealt.len()) {
                self.compute(round, dealt.start + claimed);
            }
        }
    }

    /// Computes a part that was claimed.
    fn compute(&self, round: usize, part: usize) {
        // SAFETY: this part is claimed and not finished, so the segment is not at its end and the task is in place.
        if let Some(task) = unsafe { *self.shared.posted.0.task.get() } {
            self.shared.guarded(|| task(round, part, self.thread));
        }
        let finished = &self.shared.lanes[self.thread].finished.0;
        // No other thread writes it.
        finished.store(finished.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Waits until `round` and all before it are finished, and takes what others have not begun.
    fn wait(&self, round: usize) {
        let wanted = self.number(round) + self.schedule.parts(round) as u64;
        let mut spins = 0u32;
        while self.shared.finished() < wanted {
            match spins {
                0 => self.take(round, 2),
                spins if spins.is_multiple_of(PATIENCE) => self.take(round, 1),
                _ => {}
            }
            spin(&mut spins);
        }
    }

    /// Computes what is left of the parts of others, of those to whom at least so many were dealt.
    fn take(&self, round: usize, least: usize) {
        for lane in (0..self.schedule.threads()).filter(|lane| *lane != self.thread) {
            self.work_off(round, lane, least);
        }
    }
}

impl Shared {
    /// Parts of rounds that all threads together have finished, ever.
    ///
    /// What is seen of each thread is not more than it has finished, so that a sum that is reached is reached.
    pub(super) fn finished(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.finished.0.load(Ordering::Acquire)).sum()
    }
}

/// Looks again a moment later.
pub(super) fn spin(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(SPINS_PER_YIELD) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}
