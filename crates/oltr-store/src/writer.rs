//! A thread that keeps events, so that the one that sees them never waits for a disk.
//!
//! A store that cannot be opened or written (a second process, a full or read-only card) is tried again now and then; what
//! came meanwhile is counted as not kept, and that is said.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::budget::{Allowance, Budget};
use crate::disk::Disk;
use crate::record::NewRecord;
use crate::store::{self, Settings, Store};
use crate::tally::{Novelty, Tallies};

/// Events that wait for the thread.
pub const QUEUE: usize = 16;

/// The longest that an event is kept without surviving a power cut.
pub const SYNC_EVERY: Duration = Duration::from_millis(500);

/// How long a store that cannot be written is left alone.
pub const RETRY: Duration = Duration::from_secs(10);

/// How often is looked whether something was done.
const PAUSE: Duration = Duration::from_millis(2);

/// How often trouble that stays is said.
const SAY_EVERY: Duration = Duration::from_secs(600);

/// Stack of the thread.
pub const STACK: usize = 512 << 10;

/// A picture on its way to the store.
pub trait Picture: Send + 'static {
    /// Its bytes as JPEG, encoded now if they are not yet; `None` if it cannot be had.
    fn jpeg(&mut self) -> Option<&[u8]>;
}

/// An event on its way to the store: [`NewRecord`] with texts of its own.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// As in [`NewRecord`].
    pub event: String,
    /// As in [`NewRecord`].
    pub event_id: String,
    /// As in [`NewRecord`].
    pub decision: &'static str,
    /// As in [`NewRecord`].
    pub label: Option<String>,
    /// As in [`NewRecord`].
    pub nearest: Option<String>,
    /// As in [`NewRecord`].
    pub special: bool,
    /// As in [`NewRecord`].
    pub day: u32,
    /// As in [`NewRecord`].
    pub graph: Option<String>,
    /// As in [`NewRecord`].
    pub features: Option<Vec<f32>>,
    /// As in [`NewRecord`].
    pub unit: Option<f32>,
    /// As in [`NewRecord`].
    pub limit: Option<f32>,
    /// As in [`NewRecord`]; `None` where the store was not open yet.
    pub novelty: Option<Novelty>,
}

/// What has become of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whether the store is open.
    pub open: bool,
    /// Records that are in the store.
    pub records: u64,
    /// Bytes of the store.
    pub bytes: u64,
    /// Events that were kept.
    pub kept: u64,
    /// Events that found no place in the queue.
    pub dropped: u64,
    /// Events that could not be kept.
    pub not_kept: u64,
    /// Pictures that could not be kept with their events.
    pub pictures_lost: u64,
    /// Records that were given up to make room.
    pub evicted: u64,
    /// Bytes that were written.
    pub written: u64,
}

#[derive(Default)]
struct Shared {
    counts: Mutex<Counts>,
    dropped: AtomicU64,
    tallies: Mutex<Option<Tallies>>,
}

enum Message<P> {
    Keep(Box<Job>, Option<P>),
    /// What a run says of itself.
    Note(String, String),
    Close,
}

/// The thread's other end.
pub struct Writer<P: Picture> {
    queue: SyncSender<Message<P>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl<P: Picture> Writer<P> {
    /// Opens the store in `folder` on a thread of its own. Pictures come back through `done` when they are written.
    ///
    /// # Errors
    /// Those of the system where it starts no thread.
    ///
    /// Where there is a `day`, no more bytes than so many are written in 24 hours.
    pub fn start(
        folder: &Path,
        settings: Settings,
        day: Option<u64>,
        disk: Arc<dyn Disk>,
        done: impl Fn(P) + Send + 'static,
    ) -> std::io::Result<Writer<P>> {
        let (queue, jobs) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let state = shared.clone();
        let folder = folder.to_path_buf();
        let keep = move || {
            let mut keeper = Keeper {
                folder,
                settings,
                disk,
                shared: state,
                store: None,
                tried: None,
                said: None,
                since: None,
                before: Default::default(),
                unencoded: 0,
                began: Instant::now(),
                budget: day.map(|day| Budget::new(day, Duration::ZERO)),
                spent: 0,
            };
            keeper.run(&jobs, &done);
        };
        let thread = std::thread::Builder::new().name("store".into()).stack_size(STACK).spawn(keep)?;
        Ok(Writer { queue, shared, thread: Some(thread) })
    }

    /// Hands an event to the thread, and never waits: gives its picture back where the queue is full.
    pub fn keep(&self, job: Job, picture: Option<P>) -> Option<P> {
        match self.queue.try_send(Message::Keep(Box::new(job), picture)) {
            Ok(()) => None,
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                match message {
                    Message::Keep(_, picture) => picture,
                    _ => None,
                }
            }
        }
    }

    /// Hands the thread what `run` says of itself, an object `oltr.stats/1`; the next one has it too where the queue is full.
    pub fn note(&self, run: &str, stats: &str) {
        let _ = self.queue.try_send(Message::Note(run.into(), stats.into()));
    }

    /// Waits until the store was read, so that [`Writer::novelty`] knows of the first event already; no longer than `patience`.
    pub fn wait_until_read(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let is_read = || self.shared.tallies.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        while !is_read() && Instant::now() < end {
            std::thread::sleep(PAUSE);
        }
    }

    /// What is new about an event of `class` (the empty text for open) on `day`, and takes note of it; `None` as long as the
    /// store was not read.
    pub fn novelty(&self, class: &str, day: u32) -> Option<Novelty> {
        let mut tallies = self.shared.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tallies = tallies.as_mut()?;
        let novelty = tallies.novelty(class, day);
        tallies.see(class, day);
        Some(novelty)
    }

    /// What has become of events so far.
    pub fn counts(&self) -> Counts {
        let counts = *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Counts { dropped: self.shared.dropped.load(Ordering::Relaxed), ..counts }
    }

    /// Has what waits written and closes the store; whether that was done within `patience`. A disk that no longer answers
    /// is left alone.
    pub fn finish(&mut self, patience: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        let end = Instant::now() + patience;
        let mut asked = false;
        while !thread.is_finished() && Instant::now() < end {
            asked = asked || self.queue.try_send(Message::Close).is_ok();
            std::thread::sleep(PAUSE);
        }
        thread.is_finished() && thread.join().is_ok()
    }
}

impl<P: Picture> Drop for Writer<P> {
    fn drop(&mut self) {
        self.finish(Duration::from_secs(3));
    }
}

/// The thread's work.
struct Keeper {
    folder: PathBuf,
    settings: Settings,
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    store: Option<Store>,
    /// When it was last tried to open it.
    tried: Option<Instant>,
    /// What trouble was last said, and when.
    said: Option<(String, Instant)>,
    /// Since when something is kept that would not survive a power cut.
    since: Option<Instant>,
    /// What stores counted that were closed since.
    before: store::Counts,
    /// Pictures that could not be encoded, or were not to be written.
    unencoded: u64,
    began: Instant,
    budget: Option<Budget>,
    /// Bytes that the budget knows of.
    spent: u64,
}

impl Keeper {
    fn run<P: Picture>(&mut self, jobs: &Receiver<Message<P>>, done: &impl Fn(P)) {
        self.open();
        loop {
            let wait = self.since.map_or(RETRY, |since| SYNC_EVERY.saturating_sub(since.elapsed()));
            match jobs.recv_timeout(wait) {
                Ok(Message::Keep(job, picture)) => {
                    self.keep(&job, picture, done);
                }
                Ok(Message::Note(run, stats)) => self.note(&run, &stats),
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.open(),
            }
            if self.since.is_some_and(|since| since.elapsed() >= SYNC_EVERY) {
                self.sync();
            }
            self.count();
        }
        if let Some(store) = self.store.take()
            && let Err(e) = store.close()
        {
            self.trouble(&e.to_string());
        }
        self.change(|counts| counts.open = false);
    }

    /// Opens the store, if it is time to try.
    fn open(&mut self) {
        if self.store.is_some() || self.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return;
        }
        self.tried = Some(Instant::now());
        match Store::open(&self.folder, self.settings, self.disk.clone()) {
            Ok((store, opened)) => {
                for note in &opened.notes {
                    log::warn!("{note}");
                }
                log::info!("{}: {} records, {} bytes", self.folder.display(), store.records(), store.bytes());
                *self.shared.tallies.lock().unwrap_or_else(PoisonError::into_inner) = Some(store.tallies().clone());
                self.said = None;
                self.store = Some(store);
                self.count();
            }
            Err(e) => self.trouble(&e.to_string()),
        }
    }

    fn keep<P: Picture>(&mut self, job: &Job, mut picture: Option<P>, done: &impl Fn(P)) {
        self.open();
        let given = picture.is_some();
        let allowed = self.allowance(job.special);
        if allowed == Allowance::Nothing {
            self.change(|counts| counts.not_kept += 1);
            if let Some(picture) = picture {
                done(picture);
            }
            return;
        }
        let bytes = picture.as_mut().filter(|_| allowed == Allowance::All).and_then(Picture::jpeg);
        let lost = given && bytes.is_none();
        let Job { event, event_id, decision, label, nearest, special, day, graph, features, unit, limit, novelty } =
            job;
        let kept = match &mut self.store {
            None => None,
            Some(store) => {
                let novelty = novelty.unwrap_or_else(|| store.tallies().novelty(label.as_deref().unwrap_or(""), *day));
                let new = NewRecord {
                    event,
                    event_id,
                    decision,
                    label: label.as_deref(),
                    nearest: nearest.as_deref(),
                    special: *special,
                    day: *day,
                    graph: graph.as_deref(),
                    features: features.as_deref(),
                    unit: *unit,
                    limit: *limit,
                    novelty,
                };
                Some(store.append(&new, bytes))
            }
        };
        if let Some(picture) = picture {
            done(picture);
        }
        match kept {
            Some(Ok(_)) => {
                self.since.get_or_insert_with(Instant::now);
                self.unencoded += u64::from(lost);
            }
            Some(Err(e)) => {
                self.change(|counts| counts.not_kept += 1);
                self.trouble(&format!("{e}; the event is not kept"));
                // What is wrong with the event is not wrong with the store; a full one may get room.
                if matches!(e, crate::Error::Io { .. }) && !e.is_full() {
                    self.give_up();
                }
            }
            None => self.change(|counts| counts.not_kept += 1),
        }
    }

    /// What may be written of an event today.
    fn allowance(&mut self, special: bool) -> Allowance {
        let written = self.before.written + self.store.as_ref().map_or(0, |store| store.counts().written);
        let Some(budget) = &mut self.budget else { return Allowance::All };
        budget.spend(written.saturating_sub(self.spent));
        self.spent = self.spent.max(written);
        let (allowed, day) = (budget.allows(special, self.began.elapsed()), budget.day());
        if allowed != Allowance::All {
            self.trouble(&format!(
                "{}: {} MiB a day may be written (--store-day); events come faster, and ordinary ones go first",
                self.folder.display(),
                day >> 20
            ));
        }
        allowed
    }

    fn note(&mut self, run: &str, stats: &str) {
        self.open();
        if let Some(Err(e)) = self.store.as_mut().map(|store| store.note_run(run, stats)) {
            self.trouble(&format!("{e}; what was watched is not kept"));
        }
    }

    fn sync(&mut self) {
        self.since = None;
        if let Some(Err(e)) = self.store.as_mut().map(Store::sync) {
            self.trouble(&format!("{e}; the last events may not survive a power cut"));
            self.give_up();
        }
    }

    /// Closes a store that cannot be written, to open it anew later.
    fn give_up(&mut self) {
        self.count();
        if let Some(of) = self.store.take().map(|store| store.counts()) {
            let before = &mut self.before;
            (before.kept, before.evicted) = (before.kept + of.kept, before.evicted + of.evicted);
            (before.written, before.pictures_lost) =
                (before.written + of.written, before.pictures_lost + of.pictures_lost);
        }
        self.change(|counts| counts.open = false);
        self.tried = Some(Instant::now());
        self.since = None;
    }

    /// Says what is wrong, once in a while if it stays.
    fn trouble(&mut self, what: &str) {
        let again = self.said.as_ref().is_none_or(|(said, when)| said != what || when.elapsed() >= SAY_EVERY);
        if again {
            log::warn!("{what}; the stream goes on, and the store is tried again");
            self.said = Some((what.into(), Instant::now()));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells the counts of the store.
    fn count(&self) {
        let Some(store) = &self.store else { return };
        let (of, before) = (store.counts(), &self.before);
        self.change(|counts| {
            counts.open = true;
            (counts.records, counts.bytes) = (store.records() as u64, store.bytes());
            (counts.kept, counts.evicted) = (before.kept + of.kept, before.evicted + of.evicted);
            counts.written = before.written + of.written;
            counts.pictures_lost = before.pictures_lost + of.pictures_lost + self.unencoded;
        });
    }
}
