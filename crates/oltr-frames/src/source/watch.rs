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

/// The file in the folder that remembers what was taken, unless another one is named.
pub const STATE_FILE: &str = ".oltr-taken";

/// How often the folder is searched beside what the system reports, unless another time is given.
pub const SEARCH_EVERY: Duration = Duration::from_secs(2);

/// How often what was taken is written to the disk. An entry that is written while another reaches the disk waits for it: at
/// each photo, that would be most of the time in which a process that is killed tells a photo twice, and wear a card.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The share of the time that searches of the whole folder may take: one in so many parts. Those of large folders, and
/// of slow disks, come at longer intervals.
const SHARE: u32 = 50;

/// Steps of a search, and photos that wait, in one round.
const STEPS: usize = 256;

/// The photos in a folder (and folders in it), those that are there and those that come.
///
/// A photo is taken when it is complete: when its writer closes it, when it is moved in, or, where neither was seen, when
/// it has not changed for 2 seconds. Photos that were there at the start come sorted by name, the others as they arrive;
/// which files are photos, and which folders are passed over, [`photos::find`](super::photos::find) says.
///
/// # Once
/// Each photo is taken once, also across restarts: what was [confirmed](FrameSource::confirm) is remembered in a state
/// file. A photo is the same one if its path within the folder, its size and its content are the same, whatever its time
/// of modification, or if it is the same file under another name: renamed, moved within the folder, or linked. Another
/// photo under the same name is a new one, and so is a copy under another name. Where a run was killed between telling of
/// a photo and remembering it, the next one gives it once more, and [`Frame::is_again`] says so.
///
/// # What cannot be taken
/// A photo that cannot be read, or exceeds the limits, is reported once and not remembered: it is tried again when it changes
/// and, where that can help, from time to time; at the latest by the next run. One that is damaged is remembered, but not
/// told before it is certain that nobody is writing it: 2 seconds after its writer closed it, or 60 seconds after it last
/// changed where that was not seen.
///
/// # Where the system tells nothing
/// On network disks, and where a folder is removed and made anew or a card taken out and put in again, the system tells
/// of no changes. So the folder is also searched by the clock.
///
/// # Memory
/// The same however many photos there are: names of one part of the folder, the last entries of the state file, and one
/// number for each 511 keys before.
#[derive(Debug)]
pub struct Watch {
    name: String,
    /// As it was named, for the names of photos; and from the root.
    folder: PathBuf,
    root: PathBuf,
    limits: Limits,
    every: Duration,
    /// Device and number of the folder that is listened to.
    id: (u64, u64),
    changes: Changes,
    /// Photos that were handed out and not reported, and those that were taken.
    ledger: Ledger,
    walk: Walk,
    /// When the folder is examined next, and when all of it is searched.
    next_look: Instant,
    next_search: Instant,
    /// When what was taken is written to the disk next.
    next_sync: Instant,
    waiting: Waiting,
    /// Damaged photos that were handed out and not confirmed; how many were confirmed.
    damaged: VecDeque<Option<Keys>>,
    damages_told: u64,
    reader: Reader,
    seq: u64,
}

impl Watch {
    /// Watches `folder`; what was taken is remembered in `state`, or in [`STATE_FILE`] in the folder.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a folder that is not there; [`Error::Io`] if it cannot be read or the state file not
    /// written; [`Error::BadInput`] if either is something else; [`Error::Busy`] if another process has the state file;
    /// [`Error::Config`] where that is no file.
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
        // Listened to before it is searched: what comes in between is reported.
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
            damages_told: 0,
            reader: Reader::new(limits),
            limits: limits.clone(),
            seq: 0,
        })
    }

    /// Searches the folder every `time` beside what the system reports, in place of [`SEARCH_EVERY`].
    pub fn searched_every(mut self, time: Duration) -> Watch {
        self.every = time.max(Duration::from_millis(10));
        self.next_look = Instant::now() + self.every;
        self
    }

    /// Has what was taken written to the disk, where that is due.
    fn sync(&mut self) -> Result<()> {
        let now = Instant::now();
        if now < self.next_sync {
            return Ok(());
        }
        self.next_sync = now + SYNC_EVERY;
        self.ledger.sync()
    }

    /// Looks whether the folder and the state file are still the same, and begins a search if one is due.
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

    /// Listens anew where the folder is another one than before, or `anew` says so.
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

    /// Looks at the photo `path` within the folder, which was `closed` by its writer as far as that is known, and takes it
    /// if it is complete and was not taken.
    fn consider(&mut self, path: &Path, closed: bool, frame: &mut Frame) -> Result<Option<Next>> {
        let seen = match Seen::look(&self.root.join(path), path) {
            Ok(Some(seen)) => seen,
            Err(e) if !is_gone(&e) => return Ok(self.unreadable(path, None, Error::io(self.folder.join(path), e))),
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
            Err(e) if is_gone(&e) => {
                self.waiting.remove(path);
                return Ok(None);
            }
            Err(e) => return Ok(self.unreadable(path, Some(seen), Error::io(&label, e))),
        };
        if self.ledger.is_handed_out(keys) || self.damaged().any(|other| other.matches(keys)) {
            // It is known by all its names when it is confirmed; then this one is examined again.
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
        // Somebody who writes it meanwhile makes what was read worth nothing.
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
        if wait.told.replace(error.kind()) == Some(error.kind()) {
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

    /// Does what can be done without waiting: gives a photo, or `None` when there is nothing more to do, or enough was
    /// done for once. Whether there is more to do is the second.
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
            // What is due and stays so would be examined for ever.
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

    /// Sees to a change that the system told.
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
fn is_gone(e: &io::Error) -> bool {
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

    /// One thread reads: photos come slowly, and each may still be written to.
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
        let told = usize::try_from(count.saturating_sub(self.damages_told)).unwrap_or(usize::MAX);
        let told = told.min(self.damaged.len());
        let keys: Vec<Keys> = self.damaged.iter().take(told).flatten().copied().collect();
        self.ledger.record(&keys)?;
        self.damaged.drain(..told);
        self.damages_told = count;
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
        // Kept, so that the system has somebody to tell.
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
    /// The photos that `watch` gives until nothing comes for a moment.
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
    fn what_was_noted_is_not_told_again_though_it_was_never_confirmed() {
        let folder = three();
        let mut watch = Watch::open(folder.path(), None, &Limits::default()).unwrap();
        let mut note = watch.note().unwrap();
        assert_eq!(taken(&mut watch), 3);
        // Only the one that is named: the one before it may have been refused.
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
        // As a kill leaves it, and as an end in order does.
        fs::copy(state("first"), state("killed")).unwrap();
        drop(watch);
        assert_eq!(marks(&mut open("first")), [mark("a.pgm", false), mark("c.pgm", false)]);
        let mut watch = open("killed");
        assert_eq!(marks(&mut watch), [mark("a.pgm", true), mark("c.pgm", false)]);
        // Still not known to be told of, through another kill; then it is.
        fs::copy(state("killed"), state("again")).unwrap();
        watch.confirm(1).unwrap();
        fs::copy(state("killed"), state("told")).unwrap();
        assert_eq!(marks(&mut open("again")), [mark("a.pgm", true), mark("c.pgm", true)]);
        assert_eq!(marks(&mut open("told")), []);
    }

    /// Writes a photo below `folder`, of which only the system tells: the next search is hours away.
    #[track_caller]
    fn hears(watch: &mut Watch, folder: &Path) {
        fs::write(folder.join("new.pgm"), b"P5 1 1 255 \x07").unwrap();
        let (mut frame, until) = (Frame::default(), Instant::now() + Duration::from_secs(60));
        while watch.next(&mut frame, Duration::from_millis(20)).unwrap() != Next::Frame {
            assert!(Instant::now() < until, "the system told nobody");
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
            assert!(Instant::now() < until, "that the folder is gone is told");
        }
        assert!(matches!(watch.reconnect(), Err(Error::Unavailable { .. })));
        fs::create_dir(&folder).unwrap();
        watch.reconnect().unwrap();
        assert_eq!(taken(&mut watch), 0);
        hears(&mut watch, &folder);
    }

    /// As where a disk is mounted over it: the system tells nothing of that.
    #[test]
    fn another_folder_in_its_place_is_listened_to() {
        let files = tempfile::tempdir().unwrap();
        let (folder, state) = (files.path().join("in"), files.path().join("seen"));
        fs::create_dir(&folder).unwrap();
        let mut watch = Watch::open(&folder, Some(&state), &Limits::default()).unwrap();
        // What is heard of the old one is not what is meant here.
        let _heard = std::mem::replace(&mut watch.changes, Changes::quiet());
        let mut watch = watch.searched_every(Duration::from_secs(7200));
        assert_eq!(taken(&mut watch), 0);
        fs::rename(&folder, files.path().join("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        watch.next_look = Instant::now();
        assert_eq!(taken(&mut watch), 0);
        hears(&mut watch, &folder);
    }
}
