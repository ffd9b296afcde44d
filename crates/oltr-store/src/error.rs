//! The one error of the store.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A result of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, where, and the remedy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system failed to read or write.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// Another process holds the store.
    Busy {
        /// The store's folder.
        path: PathBuf,
    },
    /// Another process holds the lock of the reviews for too long.
    Deciding {
        /// The lock that it holds.
        path: PathBuf,
    },
    /// The quota, the free space or a limit of the store leaves no room.
    Full {
        /// The store's folder.
        path: PathBuf,
        /// What has no room, and the remedy.
        reason: String,
    },
    /// An argument, or a file in the folder, is invalid.
    Bad {
        /// The file, the record or the setting.
        subject: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
}

impl Error {
    /// An I/O failure at `path`.
    pub fn io(path: &Path, cause: io::Error) -> Error {
        Error::Io { path: path.into(), cause }
    }

    /// As [`Error::Bad`].
    pub(crate) fn bad(subject: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Bad { subject: subject.into(), reason: reason.into() }
    }

    /// Whether a file or folder was not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the disk or the quota has no room.
    pub fn is_full(&self) -> bool {
        let full = |cause: &io::Error| {
            use io::ErrorKind::{QuotaExceeded, StorageFull};
            matches!(cause.kind(), StorageFull | QuotaExceeded)
        };
        matches!(self, Error::Full { .. }) || matches!(self, Error::Io { cause, .. } if full(cause))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, cause } => write!(f, "{}: {cause}", path.display()),
            Error::Busy { path } => {
                write!(f, "{}: another process writes this store; one at a time can", path.display())
            }
            Error::Deciding { path } => {
                let what = "another process has held the log of reviews for long; try again, or end it if it is stuck";
                write!(f, "{}: {what}", path.display())
            }
            Error::Full { path, reason } => write!(f, "{}: {reason}", path.display()),
            Error::Bad { subject, reason } => write!(f, "{subject}: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
