//! Photos that arrive in a folder.

mod changes;
mod identity;
mod journal;
mod ledger;
mod waiting;
mod walk;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files::Reader;
use super::photo::Decode;
use super::{Bounds, Damage, FrameSource, Next, Note, files};
use crate::clock::monotonic_ns;
use crate::error::{Error, Result};
use crate::frame::{Frame, Stamp};
use crate::limits::Limits;
use crate::preprocess::Preprocess;
use changes::{Change, Changes};
use identity::{Keys, Seen};
use journal::Journal;
use ledger::{Handed, Ledger};
use waiting::{SETTLE, Waiting, is_final, is_settled};
use walk::{Step, Walk};

/// Default name of the state file in the folder.
pub const STATE_FILE: &str = ".oltr-taken";

/// Default interval between searches of the folder, in addition to the system's reports.
pub const SEARCH_EVERY: Duration = Duration::from_secs(2);

/// Interval between syncs of the state file. An entry that is written during a sync waits for it. Syncing after each
/// photo would make that the most likely moment for a kill, which repeats a photo, and would wear out a card.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Whole searches may take at most this fraction of the time: one part in so many. So large folders and slow disks are
/// searched less often.
const SHARE: u32 = 50;

/// Steps of a search, and photos that wait, in one round.
const STEPS: usize = 256;

/// The photos in a folder and its subfolders: existing ones and new ones.
///
/// A photo is taken when it is complete: when its writer closes it, when it is moved in, or, if neither was seen, when
/// it has not changed for 2 seconds. Photos from before the start come first, sorted by name, the others as they
/// arrive. [`photos::find`](super::photos::find) defines which files are photos and which folders are skipped.
///
/// # Once
/// Each photo is taken once, across restarts too: the state file records every [confirmed](FrameSource::confirm) photo.
/// A photo is recognised by path, size and content, whatever its modification time, or as the same file under another
/// name: renamed, moved within the folder, or linked. A different photo under an old name is new, and so is a copy
/// under another name. If a run is killed between reporting a photo and recording it, the next run yields it again and
/// sets [`Frame::is_again`].
///
/// # Photos that fail
/// A photo that cannot be read or exceeds the limits is reported once and not recorded. It is retried when it changes,
/// at intervals if that can help, and at the latest by the next run. A damaged photo is recorded. It is reported only
/// when its writer is done: 2 seconds after the writer closed it, or 60 seconds after its last change if no close was
/// seen.
///
/// # Systems that report no changes
/// Network disks report no changes, nor does a folder that is replaced, or a card that is removed and inserted again.
/// So the folder is also searched at intervals.
///
/// # Memory
/// Independent of the number of photos, except for one number for every 511 keys: a part of the folder's names, and the
/// last entries of the state file.
#[derive(Debug)]
pub struct Watch {
    name: String,
    /// As given, for the names of photos; and absolute.
    folder: PathBuf,
    root: PathBuf,
    limits: Limits,
    every: Duration,
    /// Device and number of the folder that is listened to.
    id: (u64, u64),
    changes: Changes,
    /// Photos that were handed out or taken.
    ledger: Ledger,
    walk: Walk,
    /// When the folder is examined next, and when all of it is searched.
    next_look: Instant,
    next_search: Instant,
    /// When the state file is synced next.
    next_sync: Instant,
    waiting: Waiting,
    /// Damaged photos that were handed out and not confirmed, and the number of confirmed ones.
    damaged: VecDeque<Option<Keys>>,
    damages_reported: u64,
    reader: Reader,
    seq: u64,
}

impl Watch {
    /// Watches `folder`. The state file is `state`, or [`STATE_FILE`] in the folder.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing folder; [`Error::Io`] if it cannot be read or the state file cannot be
    /// written; [`Error::BadInput`] if either is of another kind; [`Error::Busy`] if another process has the state
    /// file; [`Error::Config`] if that is not a file.
    pub fn open(folder: &Path, state: Option<&Path>, limits: &Limits) -> Result<Watch> {
        let failed = |e| Error::io(folder, e);
        if !fs::metadata(folder).map_err(failed)?.is_dir() {
            let reason = "is no folder; name the folder that fills".into();
            return Err(Error::BadInput { subject: folder.display().to_string(), reason });
        }
        fs::read_dir(folder).map_err(failed)?;
        let root = std::path::absolute(folder).map_err(failed)?;
        let state = state.map_or(root.join(STATE_FILE), Path::to_path_buf);
        let ledger = Ledger::new(Journal::open(&state, limits.watched_photos)?);
        // Watched before it is searched, so that photos that arrive in between are reported.
        let (id, changes) = (id_of(&root).map_err(failed)?, Changes::of(&root));
        let mut walk = Walk::default();
        walk.begin();
        let now = Instant::now();
        Ok(Watch {
            name: folder.display().to_string(),
            folder: folder.into(),
            root,
            every: SEARCH_EVERY,
            id,
            changes,
            ledger,
            walk,
            next_look: now + SEARCH_EVERY,
            next_search: now,
            next_sync: now + SYNC_EVERY,
            waiting: Waiting::default(),
            damaged: VecDeque::new(),
            damages_reported: 0,
            reader: Reader::new(limits),
            limits: limits.clone(),
            seq: 0,
        })
    }

    /// Searches the folder at intervals of `time` in place of [`SEARCH_EVERY`].
    pub fn searched_every(mut self, time: Duration) -> Watch {
        self.every = time.max(Duration::from_millis(10));
        self.next_look = Instant::now() + self.every;
        self
    }

    /// Syncs the state file when that is due.
    fn sync(&mut self) -> Result<()> {
        let now = Instant::now();
        if now < self.next_sync {
            return Ok(());
        }
        self.next_sync = now + SYNC_EVERY;
        self.ledger.sync()
    }

    /// Checks whether the folder and the state file are still the same. Begins a search if one is due.
    fn look(&mut self) -> Result<()> {
        let now = Instant::now();
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + self.every;
        self.look_at_folder(false)?;
        self.ledger.check()?;
        if !self.walk.is_done() {
            return Ok(());
        }
        if now >= self.next_search {
            self.walk.begin();
        } else {
            self.walk.also_changed(&self.root);
        }
        Ok(())
    }

    /// Watches again if the folder was replaced, or if `anew` is set.
    fn look_at_folder(&mut self, anew: bool) -> Result<()> {
        let id = match id_of(&self.root) {
            Ok(id) => id,
            Err(e) => {
                let reason = match e.kind() {
                    io::ErrorKind::NotFound => "the folder is gone; is its disk still there?".into(),
                    _ => format!("the folder cannot be read ({e}); is its disk still there?"),
                };
                return Err(Error::Unavailable { subject: self.name.clone(), reason });
            }
        };
        if anew || id != self.id {
            log::debug!("{}: is another folder than before", self.name);
            (self.id, self.changes) = (id, Changes::of(&self.root));
            self.walk.begin();
        }
        Ok(())
    }

    /// Examines the photo `path` within the folder, and takes it if it is complete and new. `closed`: its writer closed
    /// it, as far as known.
    fn consider(&mut self, path: &Path, closed: bool, frame: &mut Frame) -> Result<Option<Next>> {
        let seen = match Seen::look(&self.root.join(path), path) {
            Ok(Some(seen)) => seen,
            Err(e) if !is_vanished(&e) => return Ok(self.unreadable(path, None, Error::io(self.folder.join(path), e))),
            Ok(None) | Err(_) => {
                self.waiting.remove(path);
                return Ok(None);
            }
        };
        if self.ledger.knows(seen.entry)? || self.damaged().any(|keys| keys.0[0] == seen.entry) {
            self.waiting.remove(path);
            return Ok(None);
        }
        let now = Instant::now();
        let (mut quiet, mut closed) = (Duration::ZERO, closed && seen.size > 0);
        if let Some(wait) = self.waiting.get(path) {
            let changed = wait.look(&seen, closed, now);
            (quiet, closed) = (now - wait.since, wait.closed);
            if !changed && now < wait.due {
                return Ok(None);
            }
            if wait.damaged && !is_final(&seen, quiet, closed) {
                wait.due = now + SETTLE;
                return Ok(None);
            }
        }
        if !is_settled(&seen, quiet, closed) {
            self.wait(path, seen, false, false);
            return Ok(None);
        }
        self.take(path, seen, quiet, closed, frame)
    }

    /// Takes a photo that is complete.
    fn take(
        &mut self,
        path: &Path,
        seen: Seen,
        quiet: Duration,
        closed: bool,
        frame: &mut Frame,
    ) -> Result<Option<Next>> {
        let place = self.root.join(path);
        let label = self.folder.join(path);
        let keys = match seen.keys(&place, path) {
            Ok(keys) => keys,
            Err(e) if is_vanished(&e) => {
                self.waiting.remove(path);
                return Ok(None);
            }
            Err(e) => return Ok(self.unreadable(path, Some(seen), Error::io(&label, e))),
        };
        if self.ledger.is_handed_out(keys) || self.damaged().any(|other| other.matches(keys)) {
            // Another name of it is handed out. All its names are known when that is confirmed, so examine this one
            // again then.
            self.wait(path, seen, closed, false);
            return Ok(None);
        }
        if self.ledger.is_taken(keys.0[1])? || self.ledger.is_taken(keys.0[2])? {
            // Next time it is known without being read.
            self.ledger.record(&[keys])?;
            self.waiting.remove(path);
            return Ok(None);
        }
        let read = self.reader.read(&place, frame);
        // A change during the reading makes the result worthless.
        if !matches!(Seen::look(&place, path), Ok(Some(now)) if now == seen) {
            self.wait(path, seen, false, false);
            return Ok(None);
        }
        match read {
            Ok(()) => {
                self.waiting.remove(path);
                let seq = self.next_seq();
                let again = self.ledger.hand_out(Handed { seq, path: path.into(), seen, keys });
                frame.set_path(&label);
                frame.set_again(again);
                frame.set_stamp(Stamp { seq, mono_ns: monotonic_ns() });
                Ok(Some(Next::Frame))
            }
            Err(Error::BadImage { .. }) if !is_final(&seen, quiet, closed) => {
                self.wait(path, seen, closed, true);
                Ok(None)
            }
            Err(error @ Error::BadImage { .. }) => {
                self.waiting.remove(path);
                self.damaged.push_back(Some(keys));
                self.next_seq();
                let error = named(error, &place, &label);
                files::damaged(label, error).map(Some)
            }
            Err(error @ (Error::Internal(_) | Error::Config(_))) => Err(error),
            Err(error) => Ok(self.unreadable(path, Some(seen), named(error, &place, &label))),
        }
    }

    /// Makes a photo wait that may not be complete.
    fn wait(&mut self, path: &Path, seen: Seen, closed: bool, damaged: bool) {
        let now = Instant::now();
        if let Some(wait) = self.waiting.add(path, Some(seen.clone()), now) {
            wait.look(&seen, closed, now);
            (wait.due, wait.damaged) = (now + SETTLE, damaged);
        }
    }

    /// Reports a photo that cannot be read, once, and makes it wait.
    fn unreadable(&mut self, path: &Path, seen: Option<Seen>, error: Error) -> Option<Next> {
        let now = Instant::now();
        let wait = self.waiting.add(path, seen, now)?;
        match error {
            // It will exceed them as long as this run lasts.
            Error::Limit { .. } => wait.until_changed(now),
            _ => wait.again(now),
        }
        if wait.reported.replace(error.kind()) == Some(error.kind()) {
            return None;
        }
        self.damaged.push_back(None);
        self.next_seq();
        let (kind, reason, photo) = (error.kind(), error.to_string(), Some(self.folder.join(path)));
        Some(Next::Damaged(Damage { offset: None, kind, reason, photo }))
    }

    /// Keys of damaged photos that were handed out and not confirmed.
    fn damaged(&self) -> impl Iterator<Item = Keys> {
        self.damaged.iter().flatten().copied()
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq - 1
    }

    /// Works without waiting until there is a photo, nothing to do, or enough done for one call. Also returns whether
    /// there is more to do.
    fn advance(&mut self, frame: &mut Frame) -> Result<(Option<Next>, bool)> {
        for _ in 0..STEPS {
            let Some(change) = self.changes.next(Duration::ZERO) else { break };
            if let next @ Some(_) = self.changed(change, frame)? {
                return Ok((next, true));
            }
        }
        let now = Instant::now();
        for _ in 0..STEPS {
            let Some(path) = self.waiting.due(now) else { break };
            if let next @ Some(_) = self.consider(&path, false, frame)? {
                return Ok((next, true));
            }
            // A photo that stays due must not be examined in an endless loop.
            if let Some(wait) = self.waiting.get(&path).filter(|wait| wait.due <= now) {
                wait.due = now + SETTLE;
            }
        }
        for _ in 0..STEPS {
            let (root, ledger) = (&self.root, &self.ledger);
            let known = |path: &Path| match Seen::look(&root.join(path), path) {
                Ok(Some(seen)) => ledger.is_taken(seen.entry).unwrap_or(false),
                _ => false,
            };
            match self.walk.step(root, &known) {
                Step::Photo(path) => {
                    if let next @ Some(_) = self.consider(&path, false, frame)? {
                        return Ok((next, true));
                    }
                }
                Step::More => {}
                Step::Done => return Ok((None, false)),
            }
            if self.walk.is_done() {
                self.next_search = Instant::now() + self.every.max(self.walk.took() * SHARE);
            }
        }
        Ok((None, true))
    }

    /// Handles a change that the system reported.
    fn changed(&mut self, change: Change, frame: &mut Frame) -> Result<Option<Next>> {
        match change {
            Change::Closed(path) => return self.consider(&path, true, frame),
            Change::Touched(path) => return self.consider(&path, false, frame),
            Change::Folder(folder) => self.walk.also(folder),
            Change::Lost => self.walk.begin(),
            Change::Gone => self.look_at_folder(true)?,
        }
        Ok(None)
    }
}

/// Device and number of the folder at `path`, which can be read.
fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::metadata(path)?;
    if !meta.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok((meta.dev(), meta.ino()))
}

/// Whether a file vanished while it was read.
fn is_vanished(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// `error` by the name that the photo has outside.
fn named(error: Error, place: &Path, label: &Path) -> Error {
    let label = || label.display().to_string();
    let own = |subject: &str| *subject == place.display().to_string();
    match error {
        Error::BadImage { subject, reason } if own(&subject) => Error::BadImage { subject: label(), reason },
        Error::Limit { subject, what, value, limit } if own(&subject) => {
            Error::Limit { subject: label(), what, value, limit }
        }
        Error::Io { path, cause } if path == place => Error::Io { path: label().into(), cause },
        error => error,
    }
}

impl FrameSource for Watch {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn bounds(&self) -> Bounds {
        let Bounds { frame_bytes, decoder_bytes } = self.reader.bounds();
        let own = changes::BYTES + walk::BYTES + waiting::BYTES + Journal::bytes(self.limits.watched_photos);
        Bounds { frame_bytes, decoder_bytes: decoder_bytes.saturating_add(own) }
    }

    fn restrict(&mut self, limits: &Limits) {
        self.reader.restrict(limits);
        self.limits = limits.clone();
    }

    /// One thread reads: photos arrive slowly, and each may still be written to.
    fn read_for(&mut self, settings: &Preprocess, decode: Decode, _jobs: usize) {
        self.reader.read_for(settings, decode, 1);
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let deadline = Instant::now() + patience;
        loop {
            self.sync()?;
            self.look()?;
            let (next, more) = self.advance(frame)?;
            if let Some(next) = next {
                return Ok(next);
            }
            let now = Instant::now();
            if more && now < deadline {
                continue;
            }
            if now >= deadline {
                return Ok(Next::Waiting);
            }
            let until = self.waiting.next().into_iter().fold(deadline.min(self.next_look), Instant::min);
            if let Some(change) = self.changes.next(until.saturating_duration_since(now))
                && let Some(next) = self.changed(change, frame)?
            {
                return Ok(next);
            }
        }
    }

    fn note(&mut self) -> Option<Note> {
        let ledger = self.ledger.clone();
        Some(Box::new(move |seq| ledger.note(seq)))
    }

    fn confirm(&mut self, seq: u64) -> Result<()> {
        self.ledger.confirm(seq)
    }

    fn confirm_damages(&mut self, count: u64) -> Result<()> {
        let reported = usize::try_from(count.saturating_sub(self.damages_reported)).unwrap_or(usize::MAX);
        let reported = reported.min(self.damaged.len());
        let keys: Vec<Keys> = self.damaged.iter().take(reported).flatten().copied().collect();
        self.ledger.record(&keys)?;
        self.damaged.drain(..reported);
        self.damages_reported = count;
        Ok(())
    }

    fn refuse(&mut self, seq: u64) {
        let Some(Handed { path, seen, .. }) = self.ledger.take_back(seq) else { return };
        let now = Instant::now();
        if let Some(wait) = self.waiting.add(&path, Some(seen), now) {
            wait.until_changed(now);
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        self.look_at_folder(true)?;
        self.ledger.check()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Err(e) = self.ledger.take_back_all().and_then(|()| self.ledger.sync()) {
            log::warn!("{e}; after a loss of power, photos may be taken again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn what_no_event_tells_of_is_found_by_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::open(folder.path(), None, &Limits::default()).unwrap();
        let mut frame = Frame::default();
        // Keeps the old channel open.
        let _heard = std::mem::replace(&mut watch.changes, Changes::quiet());
        let mut watch = watch.searched_every(Duration::from_millis(50));
        assert_eq!(watch.next(&mut frame, Duration::ZERO).unwrap(), Next::Waiting);
        let path = folder.path().join("a.pgm");
        fs::write(&path, b"P5 1 1 255 \x07").unwrap();
        let old = SystemTime::now() - SETTLE;
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while watch.next(&mut frame, Duration::from_millis(20)).unwrap() != Next::Frame {
            assert!(Instant::now() < until, "it was never found");
        }
        assert_eq!(frame.label(), path.display().to_string());
    }
    /// Number of photos that `watch` yields until none comes for a moment.
    fn taken(watch: &mut Watch) -> usize {
        let (mut frame, mut count) = (Frame::default(), 0);
        while watch.next(&mut frame, Duration::from_millis(100)).unwrap() == Next::Frame {
            count += 1;
        }
        count
    }

    /// Three photos.
    fn three() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - SETTLE;
        for name in ["a.pgm", "b.pgm", "c.pgm"] {
            let text = format!("P5 1 1 255 {}", &name[..1]);
            fs::write(folder.path().join(name), text).unwrap();
            fs::File::options().write(true).open(folder.path().join(name)).unwrap().set_modified(old).unwrap();
        }
        folder
    }

    #[test]
    fn noted_photos_are_not_reported_again_without_confirmation() {
        let folder = three();
        let mut watch = Watch::open(folder.path(), None, &Limits::default()).unwrap();
        let mut note = watch.note().unwrap();
        assert_eq!(taken(&mut watch), 3);
        // Confirms only the named one: the one before may have been refused.
        note(1).unwrap();
        note(1).unwrap();
        drop((watch, note));
        let mut watch = Watch::open(folder.path(), None, &Limits::default()).unwrap();
        assert_eq!(taken(&mut watch), 2);
        watch.confirm(1).unwrap();
        drop(watch);
        assert_eq!(taken(&mut Watch::open(folder.path(), None, &Limits::default()).unwrap()), 0);
    }

    #[test]
    fn what_was_in_hand_when_a_run_was_killed_is_marked() {
        let (folder, files) = (three(), tempfile::tempdir().unwrap());
        let state = |name: &str| files.path().join(name);
        let open = |name: &str| Watch::open(folder.path(), Some(&state(name)), &Limits::default()).unwrap();
        let marks = |watch: &mut Watch| {
            let (mut frame, mut marks) = (Frame::default(), Vec::new());
            while watch.next(&mut frame, Duration::from_millis(100)).unwrap() == Next::Frame {
                marks.push((frame.label().rsplit('/').next().unwrap().to_string(), frame.is_again()));
            }
            marks
        };
        let mark = |name: &str, again| (name.to_string(), again);
        let mut watch = open("first");
        assert_eq!(marks(&mut watch), ["a.pgm", "b.pgm", "c.pgm"].map(|name| mark(name, false)));
        watch.note().unwrap()(1).unwrap();
        watch.refuse(2);
        // State files after a kill and after a proper end.
        fs::copy(state("first"), state("killed")).unwrap();
        drop(watch);
        assert_eq!(marks(&mut open("first")), [mark("a.pgm", false), mark("c.pgm", false)]);
        let mut watch = open("killed");
        assert_eq!(marks(&mut watch), [mark("a.pgm", true), mark("c.pgm", false)]);
        // After a second kill it is still unknown whether the photo was reported. Then it is recorded.
        fs::copy(state("killed"), state("again")).unwrap();
        watch.confirm(1).unwrap();
        fs::copy(state("killed"), state("recorded")).unwrap();
        assert_eq!(marks(&mut open("again")), [mark("a.pgm", true), mark("c.pgm", true)]);
        assert_eq!(marks(&mut open("recorded")), []);
    }

    /// Writes a photo below `folder` that only the system can report: the next search is hours away.
    #[track_caller]
    fn system_reports_photo(watch: &mut Watch, folder: &Path) {
        fs::write(folder.join("new.pgm"), b"P5 1 1 255 \x07").unwrap();
        let (mut frame, until) = (Frame::default(), Instant::now() + Duration::from_secs(60));
        while watch.next(&mut frame, Duration::from_millis(20)).unwrap() != Next::Frame {
            assert!(Instant::now() < until, "the system reported nothing");
        }
    }

    #[test]
    fn a_folder_that_was_removed_and_made_anew_is_listened_to() {
        let files = tempfile::tempdir().unwrap();
        let (folder, state) = (files.path().join("in"), files.path().join("seen"));
        fs::create_dir(&folder).unwrap();
        let watch = Watch::open(&folder, Some(&state), &Limits::default()).unwrap();
        let mut watch = watch.searched_every(Duration::from_secs(7200));
        assert_eq!(taken(&mut watch), 0);
        fs::remove_dir(&folder).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while watch.next(&mut Frame::default(), Duration::from_millis(20)).is_ok() {
            assert!(Instant::now() < until, "the missing folder is reported");
        }
        assert!(matches!(watch.reconnect(), Err(Error::Unavailable { .. })));
        fs::create_dir(&folder).unwrap();
        watch.reconnect().unwrap();
        assert_eq!(taken(&mut watch), 0);
        system_reports_photo(&mut watch, &folder);
    }

    /// Like a disk mounted over it, which the system does not report.
    #[test]
    fn another_folder_in_its_place_is_listened_to() {
        let files = tempfile::tempdir().unwrap();
        let (folder, state) = (files.path().join("in"), files.path().join("seen"));
        fs::create_dir(&folder).unwrap();
        let mut watch = Watch::open(&folder, Some(&state), &Limits::default()).unwrap();
        // The old folder's reports do not count here.
        let _heard = std::mem::replace(&mut watch.changes, Changes::quiet());
        let mut watch = watch.searched_every(Duration::from_secs(7200));
        assert_eq!(taken(&mut watch), 0);
        fs::rename(&folder, files.path().join("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        watch.next_look = Instant::now();
        assert_eq!(taken(&mut watch), 0);
        system_reports_photo(&mut watch, &folder);
    }
}
