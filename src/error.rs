//! The one error type of the library.
//!
//! An [`Error`] says what failed, where (file, node, frame), and what to do about it. Programs branch on the
//! variant or, coarser, on [`Error::kind`]; people read the message.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A result of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The coarse class of an [`Error`]: what a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named file, folder or device does not exist.
    NotFound,
    /// The operating system failed to read or write.
    Io,
    /// The bytes of a photo or a frame are not what their format promises.
    BadImage,
    /// The model file is damaged, inconsistent or uses something that oltr cannot run.
    BadModel,
    /// A bound of [`Limits`](crate::Limits) would have been exceeded.
    Limit,
    /// A value handed in by the caller does not fit: shape, name, range, a file of labels.
    BadInput,
    /// A camera or stream is not there, went silent or refused the format.
    Unavailable,
    /// Options or settings contradict each other.
    Config,
    /// A defect of oltr itself.
    Internal,
}

impl ErrorKind {
    /// The name used in JSON output, in kebab case.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not-found",
            ErrorKind::Io => "io",
            ErrorKind::BadImage => "bad-image",
            ErrorKind::BadModel => "bad-model",
            ErrorKind::Limit => "limit",
            ErrorKind::BadInput => "bad-input",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Config => "config",
            ErrorKind::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One node of a graph that oltr cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// The node's name, or the name of its first output where the file gives none.
    pub node: String,
    /// Operator, with its domain unless that is ONNX's own: `com.microsoft.Attention`.
    pub operator: String,
    /// Why it is refused.
    pub reason: String,
}

impl fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}': {}", self.operator, self.node, self.reason)
    }
}

fn list(nodes: &[UnsupportedNode]) -> String {
    nodes.iter().map(|n| format!("\n  {n}")).collect()
}

/// Everything that can go wrong in this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, folder or device does not exist.
    #[error("{}: no such file or folder; check the path", path.display())]
    NotFound {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The operating system failed to read or write.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A photo or frame cannot be decoded.
    #[error("{subject}: {reason}")]
    BadImage {
        /// File name, or the frame's number and byte offset in its stream.
        subject: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// The model file is damaged or inconsistent.
    #[error("{model}: {reason}")]
    BadModel {
        /// File name of the model.
        model: String,
        /// What is wrong with which node or tensor, and the remedy.
        reason: String,
    },
    /// The graph is valid ONNX but has nodes that oltr cannot run; all of them are listed.
    #[error("{model}: {} unsupported node(s); export the model without them:{}", nodes.len(), list(nodes))]
    UnsupportedNodes {
        /// File name of the model.
        model: String,
        /// Every node concerned, in graph order.
        nodes: Vec<UnsupportedNode>,
    },
    /// The bundle's metadata is missing or wrong.
    #[error("{model}: metadata '{key}': {reason}")]
    Metadata {
        /// File name of the model.
        model: String,
        /// The metadata key, `oltr.classes` for one.
        key: &'static str,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A bound would have been exceeded; nothing was allocated for it.
    #[error("{subject}: {what} is {value}, the limit is {limit}; raise this limit if that is intended")]
    Limit {
        /// File, node or frame concerned.
        subject: String,
        /// The field of [`Limits`](crate::Limits) that says no.
        what: &'static str,
        /// What was asked for.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A value handed in does not fit.
    #[error("{subject}: {reason}")]
    BadInput {
        /// What was handed in: a tensor's name, a file of labels.
        subject: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A camera or stream is not there, went silent or refused the format.
    #[error("{subject}: {reason}")]
    Unavailable {
        /// The source as it was given.
        subject: String,
        /// What happened, and the remedy.
        reason: String,
    },
    /// Options or settings contradict each other.
    #[error("{0}")]
    Config(String),
    /// A defect of oltr itself: please report it.
    #[error("internal error: {0}; please report this with the model and the input")]
    Internal(String),
}

impl Error {
    /// The coarse class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::Io { .. } => ErrorKind::Io,
            Error::BadImage { .. } => ErrorKind::BadImage,
            Error::BadModel { .. } | Error::UnsupportedNodes { .. } | Error::Metadata { .. } => ErrorKind::BadModel,
            Error::Limit { .. } => ErrorKind::Limit,
            Error::BadInput { .. } => ErrorKind::BadInput,
            Error::Unavailable { .. } => ErrorKind::Unavailable,
            Error::Config(_) => ErrorKind::Config,
            Error::Internal(_) => ErrorKind::Internal,
        }
    }

    /// An I/O failure at `path`, as [`Error::NotFound`] where that is what it was.
    pub fn io(path: impl Into<PathBuf>, cause: io::Error) -> Error {
        let path = path.into();
        match cause.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path },
            _ => Error::Io { path, cause },
        }
    }
}
