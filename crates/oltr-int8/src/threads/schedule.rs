//! What is done in the rounds of a segment, what it reads and writes, and how it is cut.

use std::ops::Range;

/// Parts for each thread, at most.
const PARTS_PER_THREAD: usize = 8;

/// Parts of a round, at most.
pub(crate) const MAX_PARTS: usize = (1 << 16) - 1;

/// Segments of a schedule, at most.
pub(crate) const MAX_SEGMENTS: usize = (1 << 16) - 1;

/// Something to be done: what it reads and writes of a memory, and how it is cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Bytes that it writes.
    pub write: Range<usize>,
    /// Bytes that it reads; either may be empty.
    pub reads: [Range<usize>; 2],
    /// Its parts.
    pub cut: Cut,
}

/// How a work is cut into parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Cut {
    /// By items, which lie one after the other.
    Items {
        /// How many.
        items: usize,
        /// Bytes of each.
        stride: usize,
        /// Items of a part; the last part has what is left.
        share: usize,
    },
    /// By columns of rows: each part is computed compactly in scratch and copied to where it belongs.
    Columns {
        /// Rows, and bytes of each.
        rows: usize,
        /// Bytes from one row to the next.
        stride: usize,
        /// For each part, the slices that it computes and the columns that they are.
        parts: Vec<[Range<usize>; 2]>,
    },
}

/// A part of a work.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Items of [`Cut::Items`].
    Items(Range<usize>),
    /// Slices of [`Cut::Columns`].
    Slices(Range<usize>),
}

impl Part {
    /// The numbers of its items or slices.
    pub fn range(self) -> Range<usize> {
        match self {
            Part::Items(range) | Part::Slices(range) => range,
        }
    }
}

impl Cut {
    /// `items` items of `stride` bytes in at most `parts` parts that begin at multiples of `grain`, as is best for
    /// `threads` threads.
    pub fn items((items, grain, parts): (usize, usize, usize), stride: usize, threads: usize) -> Cut {
        let grain = grain.max(1);
        let share = match threads {
            1 => items,
            _ => grain * share(items.div_ceil(grain), parts, threads),
        };
        Cut::Items { items, stride, share: share.max(1) }
    }

    /// One part of so many bytes.
    pub fn whole(bytes: usize) -> Cut {
        Cut::Items { items: 1, stride: bytes, share: 1 }
    }

    /// `rows` rows in at most `parts` parts of `slices` slices each of which is the columns that `columns` says.
    pub fn columns(
        (slices, parts): (usize, usize),
        [rows, stride]: [usize; 2],
        columns: impl Fn(Range<usize>) -> Range<usize>,
        threads: usize,
    ) -> Cut {
        let share = share(slices, parts, threads).max(1);
        let part = |first: usize| first..(first + share).min(slices);
        let parts = (0..slices).step_by(share).map(|first| [part(first), columns(part(first))]).collect();
        Cut::Columns { rows, stride, parts }
    }

    fn parts(&self) -> usize {
        match self {
            Cut::Items { items, share, .. } => items.div_ceil(*share),
            Cut::Columns { parts, .. } => parts.len(),
        }
    }

    /// Bytes of the result, from its first one on.
    fn bytes(&self) -> usize {
        match self {
            Cut::Items { items, stride, .. } => items * stride,
            Cut::Columns { rows, stride, .. } => rows * stride,
        }
    }
}

/// Segments of rounds, made for so many threads.
#[derive(Debug)]
pub struct Schedule {
    threads: usize,
    works: Vec<Work>,
    /// The works of each round: one that is cut, or neighbouring ones that are not. These are one part together, done one
    /// after the other, which spares telling the other threads of each.
    rounds: Vec<Range<usize>>,
    /// Parts before each round, and of all.
    before: Vec<u64>,
    segments: Vec<Range<usize>>,
    /// Bytes of memory that the rounds touch.
    bytes: usize,
}

impl Schedule {
    /// `works` in order, of which neighbouring ones are run together in each of `segments`.
    ///
    /// # Panics
    /// If a work reads what it writes, writes more than it says, has columns that overlap or lie outside their row,
    /// more parts than can be counted, or none; if a segment is empty or not among the works.
    pub fn new(threads: usize, mut works: Vec<Work>, mut segments: Vec<Range<usize>>) -> Schedule {
        works.shrink_to_fit();
        segments.shrink_to_fit();
        let mut bytes = 0;
        for Work { write, reads, cut } in &works {
            assert!(cut.bytes() <= write.len());
            for range in reads.iter().filter(|range| !range.is_empty()) {
                assert!(range.end <= write.start || write.end <= range.start, "a work reads what it writes");
                bytes = bytes.max(range.end);
            }
            if let Cut::Columns { stride, parts, .. } = cut {
                let mut free = 0;
                for [_, columns] in parts {
                    assert!(free <= columns.start && columns.start <= columns.end && columns.end <= *stride);
                    free = columns.end;
                }
            }
            assert!((1..=MAX_PARTS).contains(&cut.parts()));
            bytes = bytes.max(write.end);
        }
        assert!(segments.len() <= MAX_SEGMENTS);
        assert!(segments.iter().all(|s| !s.is_empty() && s.end <= works.len()));
        let mut rounds = Vec::new();
        for segment in &mut segments {
            let first = rounds.len();
            rounds.extend(rounds_of(&works, segment.clone()));
            *segment = first..rounds.len();
        }
        rounds.shrink_to_fit();
        let mut before = Vec::with_capacity(rounds.len() + 1);
        before.push(0);
        for round in &rounds {
            before.push(before[before.len() - 1] + works[round.start].cut.parts() as u64);
        }
        Schedule { threads, works, rounds, before, segments, bytes }
    }

    /// Threads that it was made for.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes in memory.
    pub fn footprint(&self) -> usize {
        let parts = |work: &Work| match &work.cut {
            Cut::Items { .. } => 0,
            Cut::Columns { parts, .. } => size_of_val(&**parts),
        };
        let parts: usize = self.works.iter().map(parts).sum();
        let lists = size_of_val(&*self.works) + size_of_val(&*self.rounds) + size_of_val(&*self.before);
        parts + lists + size_of_val(&*self.segments)
    }

    /// The rounds of a segment.
    pub fn segment(&self, segment: usize) -> Range<usize> {
        self.segments[segment].clone()
    }

    /// What is done in a round, one after the other, by number.
    pub(crate) fn works(&self, round: usize) -> Range<usize> {
        self.rounds[round].clone()
    }

    /// The work of a number.
    pub(crate) fn work(&self, work: usize) -> &Work {
        &self.works[work]
    }

    /// Bytes of memory that rounds touch.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Parts of a round.
    pub fn parts(&self, round: usize) -> usize {
        (self.before[round + 1] - self.before[round]) as usize
    }

    /// Parts before a round, of all rounds of the schedule.
    pub(crate) fn before(&self, round: usize) -> u64 {
        self.before[round]
    }

    /// The parts of a round that are dealt to `thread`.
    pub(crate) fn dealt(&self, round: usize, thread: usize) -> Range<usize> {
        let first = |thread: usize| (self.parts(round) * thread).div_ceil(self.threads);
        first(thread)..first(thread + 1)
    }
}

/// The rounds of a segment of works.
fn rounds_of(works: &[Work], segment: Range<usize>) -> Vec<Range<usize>> {
    let whole = |work: usize| works[work].cut.parts() == 1;
    let mut rounds: Vec<Range<usize>> = Vec::new();
    for work in segment {
        match rounds.last_mut() {
            Some(round) if whole(work) && whole(round.start) => round.end += 1,
            _ => rounds.push(work..work + 1),
        }
    }
    rounds
}

/// Units of a part, so that `threads` threads finish `units` units in at most `parts` parts as early as can be; of such
/// divisions the finest.
fn share(units: usize, parts: usize, threads: usize) -> usize {
    let finish = |share: usize| units.div_ceil(share).div_ceil(threads) * share;
    let most = parts.min(PARTS_PER_THREAD * threads).min(units).max(1);
    // The last of the shares that finish at the same time is the smallest.
    (1..=most).map(|parts| units.div_ceil(parts)).min_by_key(|share| (finish((*share).max(1)), *share)).unwrap_or(units)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::single_range_in_vec_init, reason = "segments are ranges")]

    use super::*;

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
    fn parts_are_dealt_evenly_and_the_caller_has_the_odd_one() {
        for (parts, threads, wanted) in
            [(1, 3, vec![1, 0, 0]), (4, 3, vec![2, 1, 1]), (5, 2, vec![3, 2]), (6, 3, vec![2; 3])]
        {
            let cut = Cut::Items { items: parts, stride: 1, share: 1 };
            let works = vec![Work { write: 0..parts, reads: [0..0, 0..0], cut }];
            let schedule = Schedule::new(threads, works, vec![0..1]);
            let dealt: Vec<Range<usize>> = (0..threads).map(|thread| schedule.dealt(0, thread)).collect();
            assert_eq!(dealt.iter().map(Range::len).collect::<Vec<_>>(), wanted);
            assert_eq!(dealt.into_iter().flatten().collect::<Vec<_>>(), (0..parts).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_not_cut_is_one_round_together() {
        let work = |parts: usize| Work {
            write: 0..parts,
            reads: [0..0, 0..0],
            cut: Cut::Items { items: parts, stride: 1, share: 1 },
        };
        let works = [1, 1, 3, 1, 1, 1, 2, 2].map(work).to_vec();
        let schedule = Schedule::new(2, works, vec![0..4, 4..8]);
        assert_eq!([schedule.segment(0), schedule.segment(1)], [0..3, 3..6]);
        let rounds = || 0..6;
        assert_eq!(rounds().map(|r| schedule.works(r)).collect::<Vec<_>>(), [0..2, 2..3, 3..4, 4..6, 6..7, 7..8]);
        assert_eq!(rounds().map(|r| schedule.parts(r)).collect::<Vec<_>>(), [1, 3, 1, 1, 2, 2]);
        assert_eq!(rounds().map(|r| schedule.before(r)).collect::<Vec<_>>(), [0, 1, 4, 5, 6, 8]);
    }

    fn refused(write: Range<usize>, read: Range<usize>, cut: Cut) -> bool {
        let works = vec![Work { write, reads: [0..0, read], cut }];
        std::panic::catch_unwind(|| Schedule::new(2, works, vec![0..1])).is_err()
    }

    #[test]
    fn works_that_would_not_be_sound_are_refused() {
        let columns = |parts: &[Range<usize>]| Cut::Columns {
            rows: 2,
            stride: 8,
            parts: parts.iter().map(|columns| [0..1, columns.clone()]).collect(),
        };
        assert!(!refused(8..16, 0..8, Cut::whole(8)));
        assert!(!refused(8..24, 24..32, columns(&[0..3, 3..8])));
        assert!(refused(8..16, 0..9, Cut::whole(8)), "reads its first byte");
        assert!(refused(8..16, 15..20, Cut::whole(8)), "reads its last byte");
        assert!(refused(8..16, 0..8, Cut::whole(9)), "writes more than it says");
        assert!(refused(8..24, 0..8, columns(&[0..4, 3..8])), "columns twice");
        assert!(refused(8..24, 0..8, columns(&[0..9])), "columns of the next row");
        assert!(refused(8..16, 0..8, Cut::Items { items: 0, stride: 8, share: 1 }), "no part");
        let works = || vec![Work { write: 0..1, reads: [0..0, 0..0], cut: Cut::whole(1) }];
        assert!(std::panic::catch_unwind(|| Schedule::new(2, works(), vec![0..2])).is_err(), "no such work");
        assert!(std::panic::catch_unwind(|| Schedule::new(2, works(), vec![0..0])).is_err(), "no work at all");
    }
}
