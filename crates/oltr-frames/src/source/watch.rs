//! Photos that arrive in a folder.

mod journal;

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::photo::Decoder;
use super::photos::{self, Input};
use super::{Bounds, FrameSource, Next, files};
use crate::clock::monotonic_ns;
use crate::error::{Error, Result};
use crate::frame::{Frame, Stamp};
use crate::limits::Limits;
use journal::{Id, Journal};

/// The file in the folder that remembers what was taken, unless another one is named.
pub const STATE_FILE: &str = ".oltr-taken";

/// A photo that nobody was seen to close is taken when it has not changed for so long.
const SETTLE: Duration = Duration::from_secs(2);

/// Changes that wait to be looked at; when there are more, the folder is searched anew.
const EVENTS: usize = 1024;

/// Bytes of the stack of the thread that waits for changes, and of a change that waits.
const WATCHER_BYTES: usize = (2 << 20) + EVENTS * 512;

/// Bytes that a photo takes which waits, is in hand, or was taken.
const PHOTO_BYTES: usize = 256;

/// The photos in a folder (and folders in it), those that are there and those that come.
///
/// A photo is taken when it is complete: when its writer closes it, when it is moved in, or, where neither was seen, when
/// it has not changed for 2 seconds. It is taken once, also across restarts: its path, size and time of modification are
/// remembered in a state file from when it is [confirmed](FrameSource::confirm). Photos that were there at the start
/// come sorted by name, the others as they arrive; which files are photos, [`photos::EXTENSIONS`] says.
///
/// # Limits
/// `limits.watched_photos` are remembered; those that are gone from the folder are forgotten to make room.
#[derive(Debug)]
pub struct Watch {
    name: String,
    folder: PathBuf,
    limits: Limits,
    _watcher: RecommendedWatcher,
    changes: Receiver<Change>,
    /// Changes were lost: the folder is to be searched.
    overflow: Arc<AtomicBool>,
    journal: Journal,
    /// Photos that are complete, in order.
    ready: VecDeque<PathBuf>,
    /// Photos of which it is not known whether they are.
    settling: Vec<(PathBuf, Id, Instant)>,
    /// Photos that were handed out and not confirmed.
    in_hand: VecDeque<(u64, Id)>,
    decoder: Decoder,
    seq: u64,
}

/// What happened in the folder.
#[derive(Debug)]
enum Change {
    /// A photo is complete.
    Complete(PathBuf),
    /// Photos may have come that nothing was heard of.
    Search,
    /// Something was removed: the folder itself?
    Removed,
}

impl Watch {
    /// Watches `folder`; what was taken is remembered in `state`, or in [`STATE_FILE`] in the folder.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a folder that is not there; [`Error::Io`] if it cannot be watched or the state file not
    /// written; [`Error::BadInput`] if either is something else; [`Error::Limit`] for too many photos.
    pub fn open(folder: &Path, state: Option<&Path>, limits: &Limits) -> Result<Watch> {
        if !fs::metadata(folder).map_err(|e| Error::io(folder, e))?.is_dir() {
            let reason = "is no folder; name the folder that fills".into();
            return Err(Error::BadInput { subject: folder.display().to_string(), reason });
        }
        let state = state.map_or(folder.join(STATE_FILE), Path::to_path_buf);
        let journal = Journal::open(&state, limits.watched_photos)?;
        let overflow = Arc::new(AtomicBool::new(true));
        let (watcher, changes) = watch(folder, &overflow)?;
        let limits = Limits { photos: limits.photos.min(limits.watched_photos), ..limits.clone() };
        Ok(Watch {
            name: folder.display().to_string(),
            folder: folder.into(),
            _watcher: watcher,
            changes,
            overflow,
            journal,
            ready: VecDeque::new(),
            settling: Vec::new(),
            in_hand: VecDeque::new(),
            decoder: Decoder::new(&limits),
            limits,
            seq: 0,
        })
    }

    /// Finds what is in the folder and was not taken.
    fn search(&mut self) -> Result<()> {
        if !self.folder.is_dir() {
            let reason = "the folder is gone; is its disk still there?".into();
            return Err(Error::Unavailable { subject: self.name.clone(), reason });
        }
        for input in photos::find([&self.folder], &self.limits)? {
            let Input::File(path) = input else { continue };
            let Some((id, modified)) = self.identify(&path) else { continue };
            if self.is_taken(id) || self.ready.contains(&path) || self.settling.iter().any(|(p, ..)| *p == path) {
                continue;
            }
            // A time in the future says nothing.
            match SystemTime::now().duration_since(modified) {
                Ok(age) if age >= SETTLE => self.ready.push_back(path),
                _ => self.settling.push((path, id, Instant::now())),
            }
        }
        Ok(())
    }

    /// The identity of a file, and when it was modified; `None` if it is gone.
    fn identify(&self, path: &Path) -> Option<(Id, SystemTime)> {
        let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let modified = meta.modified().ok()?;
        let nanoseconds = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        let relative = path.strip_prefix(&self.folder).unwrap_or(path);
        Some((journal::id(relative, meta.len(), nanoseconds), modified))
    }

    fn is_taken(&self, id: Id) -> bool {
        self.journal.contains(id) || self.in_hand.iter().any(|(_, i)| *i == id)
    }

    /// Moves photos that have not changed for long enough to those that are complete.
    fn settle(&mut self) {
        for (path, id, since) in std::mem::take(&mut self.settling) {
            match self.identify(&path) {
                Some((now, _)) if now != id => self.settling.push((path, now, Instant::now())),
                Some(_) if since.elapsed() >= SETTLE => self.ready.push_back(path),
                Some(_) => self.settling.push((path, id, since)),
                None => {}
            }
        }
    }

    /// Takes the photo at `path`, unless it was taken or is gone.
    fn take(&mut self, path: &Path, frame: &mut Frame) -> Result<Option<Next>> {
        let Some((id, _)) = self.identify(path) else { return Ok(None) };
        if self.is_taken(id) {
            return Ok(None);
        }
        let read = self.decoder.read(path, frame);
        if matches!(read, Err(Error::NotFound { .. })) {
            return Ok(None);
        }
        let seq = self.seq;
        self.seq += 1;
        if let Err(error) = read {
            // There will be no better time to say that it is done with.
            self.record(id)?;
            return files::damaged(error).map(Some);
        }
        self.in_hand.push_back((seq, id));
        frame.set_label(&path.display().to_string());
        frame.set_stamp(Stamp { seq, mono_ns: monotonic_ns() });
        Ok(Some(Next::Frame))
    }

    fn record(&mut self, id: Id) -> Result<()> {
        if self.journal.is_full() {
            let found = photos::find([&self.folder], &self.limits)?;
            let there = found.iter().filter_map(|input| match input {
                Input::File(path) => self.identify(path).map(|(id, _)| id),
                _ => None,
            });
            let there: HashSet<Id> = there.collect();
            self.journal.retain(&there)?;
        }
        self.journal.record(id)
    }
}

/// Starts to watch `folder`.
fn watch(folder: &Path, overflow: &Arc<AtomicBool>) -> Result<(RecommendedWatcher, Receiver<Change>)> {
    let (sender, changes) = sync_channel(EVENTS);
    let lost = overflow.clone();
    let handler = move |event: notify::Result<Event>| {
        for change in changes_of(event) {
            if sender.try_send(change).is_err() {
                lost.store(true, Ordering::SeqCst);
            }
        }
    };
    let failed = |e: notify::Error| match e.kind {
        notify::ErrorKind::Io(e) => Error::io(folder, e),
        notify::ErrorKind::MaxFilesWatch => {
            let reason = "the system watches no more folders; raise fs.inotify.max_user_watches".into();
            Error::Unavailable { subject: folder.display().to_string(), reason }
        }
        e => Error::io(folder, std::io::Error::other(format!("{e:?}"))),
    };
    let mut watcher = notify::recommended_watcher(handler).map_err(failed)?;
    watcher.watch(folder, RecursiveMode::Recursive).map_err(failed)?;
    Ok((watcher, changes))
}

/// What an event means here.
fn changes_of(event: notify::Result<Event>) -> Vec<Change> {
    let Ok(event) = event else { return vec![Change::Search] };
    if event.need_rescan() {
        return vec![Change::Search];
    }
    let complete = |event: Event| event.paths.into_iter().map(Change::Complete).collect();
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => complete(event),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => complete(event),
        // A folder may have got photos before it was watched; a file may be a link to a complete one.
        EventKind::Create(CreateKind::Folder) => vec![Change::Search],
        EventKind::Create(_) if event.paths.iter().any(|p| is_link(p)) => vec![Change::Search],
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => vec![Change::Removed],
        _ => Vec::new(),
    }
}

/// Whether a new name stands for a file that was there before: nobody will close it.
fn is_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink() || m.nlink() > 1)
}

impl FrameSource for Watch {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn bounds(&self) -> Bounds {
        let Bounds { frame_bytes, decoder_bytes } = files::bounds(&self.limits);
        let own = WATCHER_BYTES + self.limits.watched_photos.saturating_mul(PHOTO_BYTES);
        Bounds { frame_bytes, decoder_bytes: decoder_bytes.saturating_add(own) }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let deadline = Instant::now() + patience;
        loop {
            if self.overflow.swap(false, Ordering::SeqCst) {
                self.search()?;
            }
            while let Some(path) = self.ready.pop_front() {
                if let Some(next) = self.take(&path, frame)? {
                    return Ok(next);
                }
            }
            self.settle();
            if !self.ready.is_empty() {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.changes.recv_timeout(left) {
                Ok(Change::Complete(path)) if path.is_dir() => self.search()?,
                Ok(Change::Complete(path)) if photos::is_photo(&path) => self.ready.push_back(path),
                Ok(Change::Complete(_)) => {}
                Ok(Change::Search) => self.search()?,
                Ok(Change::Removed) if self.folder.is_dir() => {}
                Ok(Change::Removed) => self.search()?,
                Err(RecvTimeoutError::Timeout) => return Ok(Next::Waiting),
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = "the folder is no longer watched".into();
                    return Err(Error::Unavailable { subject: self.name.clone(), reason });
                }
            }
        }
    }

    fn confirm(&mut self, seq: u64) -> Result<()> {
        while let Some((_, id)) = self.in_hand.front().copied().filter(|(s, _)| *s <= seq) {
            // On failure it stays in hand, so that it is not taken again.
            self.record(id)?;
            self.in_hand.pop_front();
        }
        Ok(())
    }

    fn reconnect(&mut self) -> Result<()> {
        let unavailable = |e: Error| Error::Unavailable { subject: self.name.clone(), reason: e.to_string() };
        fs::read_dir(&self.folder).map_err(|e| unavailable(Error::io(&self.folder, e)))?;
        let (watcher, changes) = watch(&self.folder, &self.overflow).map_err(unavailable)?;
        (self._watcher, self.changes) = (watcher, changes);
        self.overflow.store(true, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_of_the_system_or_of_the_queue_is_a_search() {
        let event = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(matches!(changes_of(Ok(event))[..], [Change::Search]));
        assert!(matches!(changes_of(Err(notify::Error::generic("")))[..], [Change::Search]));
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::open(folder.path(), None, &Limits::default()).unwrap();
        let mut frame = Frame::default();
        assert_eq!(watch.next(&mut frame, Duration::ZERO).unwrap(), Next::Waiting);
        // A photo that no event tells of, found because events were lost.
        let (unheard, quiet) = sync_channel(1);
        // Kept, because an event that nobody can take counts as lost.
        let heard = std::mem::replace(&mut watch.changes, quiet);
        let path = folder.path().join("a.pgm");
        fs::write(&path, b"P5 1 1 255 \x07").unwrap();
        let old = SystemTime::now() - SETTLE;
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert_eq!(watch.next(&mut frame, Duration::ZERO).unwrap(), Next::Waiting);
        watch.overflow.store(true, Ordering::SeqCst);
        assert_eq!(watch.next(&mut frame, Duration::ZERO).unwrap(), Next::Frame);
        drop((unheard, heard));
    }
}
