//! In which order the steps of a program are run, and which of them threads share.

use std::ops::Range;
use std::sync::Arc;

use crate::layers::Extent;
use crate::program::steps::{Program, Step, Work};
use crate::threads::{Schedule, Work as Round};

/// How the layers of a program are run: some by the caller, one after the other, and segments of others by all threads.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// Whether each step is a segment of its own.
    pub apart: bool,
    /// Steps in order, those of a segment together.
    pub entries: Vec<Entry>,
    pub schedule: Arc<Schedule>,
    /// The step that each of its works is.
    pub steps: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// A step that the caller runs by itself.
    Step(usize),
    /// A segment of the schedule, and its first step.
    Segment { segment: usize, first: usize },
}

impl Agenda {
    /// That of a program for so many threads; with `apart`, each step is a segment of its own.
    pub fn new(program: &Program, threads: usize, apart: bool) -> Agenda {
        let (mut entries, mut works, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let mut segments: Vec<Range<usize>> = Vec::new();
        for (index, step) in program.steps.iter().enumerate() {
            // Constants lie where they are, and what is empty takes no part.
            let empty = step.writes.is_some_and(|id| program.range(id).is_empty());
            if empty || matches!(step.work, Work::Constant(_)) {
                continue;
            }
            let Some(work) = work(program, step, threads) else {
                entries.push(Entry::Step(index));
                continue;
            };
            works.push(work);
            steps.push(index);
            match (entries.last(), segments.last_mut()) {
                (Some(Entry::Segment { .. }), Some(segment)) if !apart => segment.end += 1,
                _ => {
                    entries.push(Entry::Segment { segment: segments.len(), first: index });
                    segments.push(works.len() - 1..works.len());
                }
            }
        }
        entries.shrink_to_fit();
        steps.shrink_to_fit();
        Agenda { apart, entries, schedule: Arc::new(Schedule::new(threads, works, segments)), steps }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.entries) + size_of_val(&*self.steps) + self.schedule.footprint()
    }
}

/// What a layer reads and writes, and how it is cut; `None` for steps that the caller runs by itself.
fn work(program: &Program, step: &Step, threads: usize) -> Option<Round> {
    let Work::Layer(layer) = &step.work else { return None };
    let write = program.range(step.writes?);
    let read = |i: usize| match step.reads.get(i) {
        Some(id) if program.constant(*id).is_none() => program.range(*id),
        _ => 0..0,
    };
    let extent = Extent { output: write.len(), input: read(0).len(), macs: step.info.macs };
    Some(Round { write, reads: [read(0), read(1)], cut: layer.cut(extent, threads) })
}
