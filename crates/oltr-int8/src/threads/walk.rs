//! A thread's way through the rounds of a segment.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::threads::schedule::Schedule;
use crate::threads::shared::{Posting, Shared, spin};

/// Rounds of looking after which a thread that waits takes the only part of another: it is then late, not just begun a
/// moment later. Looking at the other's claims costs it a way between caches, so that where there is but one to be claimed
/// this is not done sooner.
const PATIENCE: u32 = 64;

/// A thread's way through a segment.
pub(crate) struct Walk<'a> {
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

    /// Computes the unclaimed parts of a round that are dealt to `lane`, if at least so many are.
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
