//! The memory plan of a streaming program, computed before the first frame.
//!
//! The plan is an upper bound. For the heap it is strict: a test runs a stream on an allocator that refuses one byte
//! more. Program text and stacks have allowances, which a test compares with the program's resident memory.

use std::fmt;

use heapless::Vec;

use super::CAPTURE_STACK;
use super::keep;
use super::settings::Settings;
use crate::enrol::Enrolments;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::model::Model;
use crate::preprocess::Preprocessor;
use crate::queue::SLOTS_IN_HAND;
use crate::source::FrameSource;

/// Resident pages of the program and of system libraries, including the built-in bundle if it cannot be read from the
/// program's file.
pub const PROGRAM_BYTES: u64 = 26 << 20;

/// Used part of the main thread's stack, and buffers of signals, logging and the like.
pub const MAIN_BYTES: u64 = 2 << 20;

/// Stack that the system gives each further thread of the engine.
const ENGINE_STACK: u64 = 2 << 20;

/// Memory of tract and the sessions besides weights and buffers: plans, shapes, names.
const ENGINE_BYTES: u64 = 6 << 20;

/// Heap of loading in addition to [`LOADING_FILES`] times the file: graphs while they are read and rewritten.
const LOADING_BYTES: u64 = 8 << 20;

/// Copies of the model's file in memory during loading: decoded numbers on their way to tract, and weights packed in 16
/// bits instead of 8.
const LOADING_FILES: u64 = 3;

/// Memory of the pipeline itself: queue, consensus, events, names of sources, a label for each frame.
const PIPELINE_BYTES: u64 = 256 << 10;

/// One part of a [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is for.
    pub name: &'static str,
    /// Bytes, at most.
    pub bytes: u64,
}

/// All that a streaming program takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Heap while frames are classified.
    pub running: Vec<Item, 13>,
    /// Heap while the model is loaded, which is over when frames are taken.
    pub loading: u64,
    /// Text and stacks.
    pub elsewhere: Vec<Item, 4>,
}

impl Plan {
    /// The plan for streaming `source` through a session of `model` with `threads` threads.
    pub fn new(model: &Model, threads: usize, source: &dyn FrameSource, settings: &Settings, limits: &Limits) -> Plan {
        let (summary, bounds) = (model.summary(), source.bounds());
        let side = model.bundle().map_or(0, |bundle| bundle.preprocess.size);
        let slots = (settings.depth_for(source) + SLOTS_IN_HAND) as u64;
        let running = [
            ("weights", summary.weights_bytes),
            ("buffers of the network", summary.arena_bytes + summary.scratch_bytes),
            ("engine", ENGINE_BYTES),
            ("frames", slots * bounds.frame_bytes as u64),
            ("source and decoder", bounds.decoder_bytes as u64),
            ("preprocessing", Preprocessor::most_bytes(side, limits)),
            ("decisions and output", PIPELINE_BYTES + 2 * limits.line_bytes as u64),
        ];
        let stacks = CAPTURE_STACK as u64 + (threads.max(1) as u64 - 1) * ENGINE_STACK;
        let elsewhere = [("program", PROGRAM_BYTES), ("main thread", MAIN_BYTES), ("other stacks", stacks)];
        let item = |(name, bytes)| Item { name, bytes };
        Plan {
            running: running.into_iter().map(item).collect(),
            loading: loading(summary.file_bytes),
            elsewhere: elsewhere.into_iter().map(item).collect(),
        }
    }

    /// Adds an item of `bytes` of heap during classification.
    pub fn with(mut self, name: &'static str, bytes: u64) -> Plan {
        let added = self.running.push(Item { name, bytes });
        debug_assert!(added.is_ok(), "a plan has no place for {name}");
        self
    }

    /// Adds enrolled classes.
    pub fn with_enrolments(self, enrolments: &Enrolments) -> Plan {
        self.with("enrolled classes", enrolments.bytes() as u64)
    }

    /// Adds a store of events that takes `bytes`, and the pictures kept for it: with the frames queued by `settings`
    /// for `source`, and of open events.
    pub fn with_store(self, bytes: u64, source: &dyn FrameSource, settings: &Settings) -> Plan {
        let slots = (settings.depth_for(source) + SLOTS_IN_HAND) as u64;
        let pictures = keep::MEMORY_BYTES as u64 + slots * settings.keep_encoded as u64;
        self.with("store", bytes).with("pictures for the store", pictures)
    }

    /// Adds a detector with a file of `file_bytes` that is loaded next to `model`. Its later memory is counted with the
    /// stage that uses it.
    pub fn with_detector(mut self, model: &Model, file_bytes: u64) -> Plan {
        self.loading = self.loading.max(loading_beside(model, file_bytes));
        self
    }

    /// The largest heap at any time.
    pub fn heap(&self) -> u64 {
        sum(&self.running).max(self.loading)
    }

    /// All bytes, at most.
    pub fn total(&self) -> u64 {
        self.heap() + sum(&self.elsewhere)
    }

    /// Checks the plan against `limits`.
    ///
    /// # Errors
    /// [`Error::Limit`] on `memory_bytes`.
    pub fn check(&self, subject: &str, limits: &Limits) -> Result<()> {
        check(subject, self.total(), limits)
    }
}

/// Checks whether a model file of `file_bytes` can be loaded within `limits`, before loading it.
///
/// # Errors
/// [`Error::Limit`] on `memory_bytes`.
pub fn check_loading(subject: &str, file_bytes: u64, limits: &Limits) -> Result<()> {
    check(subject, PROGRAM_BYTES + MAIN_BYTES + loading(file_bytes), limits)
}

/// As [`check_loading`], for a detector that is loaded next to `model`.
///
/// # Errors
/// As [`check_loading`].
pub fn check_loading_beside(model: &Model, subject: &str, file_bytes: u64, limits: &Limits) -> Result<()> {
    check(subject, PROGRAM_BYTES + MAIN_BYTES + loading_beside(model, file_bytes), limits)
}

fn check(subject: &str, value: u64, limits: &Limits) -> Result<()> {
    match limits.memory_bytes {
        Some(limit) if value > limit => {
            Err(Error::Limit { subject: subject.into(), what: "memory_bytes", value, limit })
        }
        _ => Ok(()),
    }
}

fn loading(file_bytes: u64) -> u64 {
    LOADING_FILES * file_bytes + LOADING_BYTES
}

/// Heap while a second model is loaded.
fn loading_beside(model: &Model, file_bytes: u64) -> u64 {
    let summary = model.summary();
    summary.weights_bytes + summary.arena_bytes + summary.scratch_bytes + ENGINE_BYTES + loading(file_bytes)
}

fn sum(items: &[Item]) -> u64 {
    items.iter().map(|item| item.bytes).sum()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes.div_ceil(1024);
        writeln!(f, "memory, at most {} KiB:", kib(self.total()))?;
        for item in self.elsewhere.iter().chain(&self.running) {
            writeln!(f, "  {:>8} KiB  {}", kib(item.bytes), item.name)?;
        }
        write!(f, "  {:>8} KiB  loading, over when the stream begins", kib(self.loading))
    }
}
