//! A thread that writes events to a store, so that the stream never waits for a disk.
//!
//! If the store cannot be opened or written (a second process, a full or read-only card), the thread retries at
//! intervals. It counts and logs the events that were not stored in between.

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

/// Length of the queue of events.
pub const QUEUE: usize = 16;

/// The longest time that a stored event stays unsynced.
pub const SYNC_EVERY: Duration = Duration::from_millis(500);

/// Pause before a failed store is tried again.
pub const RETRY: Duration = Duration::from_secs(10);

/// Pause between polls of the thread's progress.
const PAUSE: Duration = Duration::from_millis(2);

/// Pause between log lines about the same error.
const SAY_EVERY: Duration = Duration::from_secs(600);

/// Stack of the thread.
pub const STACK: usize = 512 << 10;

/// A picture in the queue.
pub trait Picture: Send + 'static {
    /// Its bytes as JPEG, encoded on first use. `None` if that fails.
    fn jpeg(&mut self) -> Option<&[u8]>;
}

/// An event in the queue: an owned [`NewRecord`].
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
    /// As in [`NewRecord`]; `None` if the store was not open yet.
    pub novelty: Option<Novelty>,
}

/// Counters of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whether the store is open.
    pub open: bool,
    /// Records in the store.
    pub records: u64,
    /// Bytes of the store.
    pub bytes: u64,
    /// Stored events.
    pub kept: u64,
    /// Events dropped because the queue was full.
    pub dropped: u64,
    /// Events that could not be stored.
    pub not_kept: u64,
    /// Pictures that could not be stored with their events.
    pub pictures_lost: u64,
    /// Evicted records.
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
    /// Statistics of a run.
    Note(String, String),
    Close,
}

/// The handle of the thread.
pub struct Writer<P: Picture> {
    queue: SyncSender<Message<P>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl<P: Picture> Writer<P> {
    /// Opens the store in `folder` on a thread. Returns pictures through `done` when they are written.
    ///
    /// # Errors
    /// Errors of the system if it cannot start a thread.
    ///
    /// With `day`, writes at most that many bytes in 24 hours.
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

    /// Queues an event and never waits. Gives the picture back if the queue is full.
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

    /// Queues the statistics of `run`, an `oltr.stats/1` object. A full queue drops them: the next ones include them.
    pub fn note(&self, run: &str, stats: &str) {
        let _ = self.queue.try_send(Message::Note(run.into(), stats.into()));
    }

    /// Waits up to `patience` until the store was read, so that [`Writer::novelty`] is right for the first event.
    pub fn wait_until_read(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let is_read = || self.shared.tallies.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        while !is_read() && Instant::now() < end {
            std::thread::sleep(PAUSE);
        }
    }

    /// Novelty of an event of `class` (empty for open) on `day`, and counts the event. `None` until the store was read.
    pub fn novelty(&self, class: &str, day: u32) -> Option<Novelty> {
        let mut tallies = self.shared.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tallies = tallies.as_mut()?;
        let novelty = tallies.novelty(class, day);
        tallies.see(class, day);
        Some(novelty)
    }

    /// Counters of events.
    pub fn counts(&self) -> Counts {
        let counts = *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Counts { dropped: self.shared.dropped.load(Ordering::Relaxed), ..counts }
    }

    /// Writes the queue and closes the store. Returns whether that was done within `patience`. Abandons a disk that no
    /// longer answers.
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
    /// When it last tried to open the store.
    tried: Option<Instant>,
    /// The last logged error, and when.
    said: Option<(String, Instant)>,
    /// When the oldest unsynced event was stored.
    since: Option<Instant>,
    /// Sum of the counters of stores that were closed.
    before: store::Counts,
    /// Pictures that were not encoded: encoding failed, or the budget left them out.
    unencoded: u64,
    began: Instant,
    budget: Option<Budget>,
    /// Bytes already charged to the budget.
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
                // An invalid event or a full store does not mean that the store has failed.
                if matches!(e, crate::Error::Io { .. }) && !e.is_full() {
                    self.give_up();
                }
            }
            None => self.change(|counts| counts.not_kept += 1),
        }
    }

    /// What the budget allows for an event.
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

    /// Closes a store that cannot be written. It is opened again later.
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

    /// Logs an error; a lasting one only once in [`SAY_EVERY`].
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

    /// Publishes the store's counters.
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
