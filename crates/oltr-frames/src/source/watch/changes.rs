//! Changes of a folder that the system reports. Quick and cheap, but not every file system reports
//! any.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::source::photos::names::{is_found, is_in_system_folder};

/// Most queued changes. If there are more, the folder is searched.
const EVENTS: usize = 1024;

/// Bytes of the stack of the thread that waits for changes, and of a change that waits.
pub const BYTES: usize = (2 << 20) + EVENTS * 512;

/// A change in the folder. Paths are relative to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A photo was closed by its writer, or moved in.
    Closed(PathBuf),
    /// A photo appeared or changed, and no close event will follow.
    Touched(PathBuf),
    /// A folder appeared. It may contain photos from before it was watched.
    Folder(PathBuf),
    /// Changes were lost.
    Lost,
    /// The folder itself was removed or moved.
    Gone,
}

/// The changes of a folder from when it was made.
#[derive(Debug)]
pub struct Changes {
    /// `None` if the system reports no changes.
    _watcher: Option<RecommendedWatcher>,
    /// Kept so that the channel stays open.
    _sender: SyncSender<Change>,
    receiver: Receiver<Change>,
    lost: Arc<AtomicBool>,
}

impl Changes {
    /// Watches `root`. If that fails, logs it and yields no changes.
    pub fn of(root: &Path) -> Changes {
        let (sender, receiver) = sync_channel(EVENTS);
        let lost = Arc::new(AtomicBool::new(false));
        let watcher = watcher(root, sender.clone(), lost.clone());
        if let Err(e) = &watcher {
            let reason = match &e.kind {
                notify::ErrorKind::MaxFilesWatch => "no more folders; see fs.inotify.max_user_watches".into(),
                notify::ErrorKind::Io(e) => e.to_string(),
                e => format!("{e:?}"),
            };
            log::warn!("{}: the system does not tell what changes ({reason}); it is searched instead", root.display());
        }
        Changes { _watcher: watcher.ok(), _sender: sender, receiver, lost }
    }

    /// The next change, for which `patience` is waited.
    pub fn next(&self, patience: Duration) -> Option<Change> {
        if self.lost.swap(false, Ordering::SeqCst) {
            return Some(Change::Lost);
        }
        self.receiver.recv_timeout(patience).ok()
    }

    /// No changes at all, and the sender to inject some.
    #[cfg(test)]
    pub fn quiet() -> Changes {
        let (sender, receiver) = sync_channel(EVENTS);
        Changes { _watcher: None, _sender: sender, receiver, lost: Arc::default() }
    }
}

fn watcher(root: &Path, sender: SyncSender<Change>, lost: Arc<AtomicBool>) -> notify::Result<RecommendedWatcher> {
    let folder = root.to_path_buf();
    let handler = move |event: notify::Result<Event>| {
        for change in changes_of(event, &folder) {
            if change == Change::Lost || sender.try_send(change).is_err() {
                lost.store(true, Ordering::SeqCst);
            }
        }
    };
    let mut watcher = notify::recommended_watcher(handler)?;
    watcher.watch(root, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Converts an event of the system.
fn changes_of(event: notify::Result<Event>, root: &Path) -> Vec<Change> {
    let Ok(event) = event else { return vec![Change::Lost] };
    if event.need_rescan() {
        return vec![Change::Lost];
    }
    let within = event.paths.iter().filter_map(|path| path.strip_prefix(root).ok());
    let photos = |make: fn(PathBuf) -> Change| -> Vec<Change> {
        within.clone().filter(|path| is_found(path)).map(|path| make(path.to_path_buf())).collect()
    };
    let folders = || -> Vec<Change> {
        let folders = within.clone().filter(|path| !path.as_os_str().is_empty() && !is_in_system_folder(path));
        folders.map(|path| Change::Folder(path.to_path_buf())).collect()
    };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => photos(Change::Closed),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) if event.paths.iter().any(|path| path.is_dir()) => {
            folders()
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => photos(Change::Closed),
        EventKind::Modify(ModifyKind::Metadata(_)) => photos(Change::Touched),
        EventKind::Create(CreateKind::Folder) => folders(),
        // A file may be a link to a complete one, or to a folder.
        EventKind::Create(_) if event.paths.iter().any(|path| is_link(path)) => {
            if event.paths.iter().any(|path| path.is_dir()) { folders() } else { photos(Change::Touched) }
        }
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
            if within.clone().any(|path| path.as_os_str().is_empty()) =>
        {
            vec![Change::Gone]
        }
        _ => Vec::new(),
    }
}

/// Whether the new name is a link to an existing file, which no writer will close.
fn is_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink() || m.nlink() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_path_within_the_folder() {
        let root = Path::new("/in");
        let of = |kind, path: &str| changes_of(Ok(Event::new(kind).add_path(path.into())), root);
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(of(closed, "/in/a/1.jpg"), [Change::Closed("a/1.jpg".into())]);
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        for path in ["/in/.Trash-1000/files/1.jpg", "/in/.stversions/1.jpg", "/in/@eaDir/1.jpg", "/in/._1.jpg"] {
            assert_eq!(of(closed, path), []);
            assert_eq!(of(moved, path), []);
        }
        assert_eq!(of(EventKind::Create(CreateKind::Folder), "/in/b"), [Change::Folder("b".into())]);
        assert_eq!(of(EventKind::Create(CreateKind::Folder), "/in/.b"), []);
        assert_eq!(of(EventKind::Remove(notify::event::RemoveKind::Folder), "/in"), [Change::Gone]);
        assert_eq!(of(EventKind::Remove(notify::event::RemoveKind::Folder), "/in/b"), []);
    }

    #[test]
    fn what_the_system_or_the_queue_lost_is_lost() {
        let root = Path::new("/in");
        let event = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(changes_of(Ok(event), root), [Change::Lost]);
        assert_eq!(changes_of(Err(notify::Error::generic("")), root), [Change::Lost]);
    }
}
