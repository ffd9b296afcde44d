//! The one error type of the library.
//!
//! An [`Error`] states what failed, where (file, node, frame), and the remedy. Programs branch on the variant or, more
//! coarsely, on [`Error::kind`]. People read the message, which escapes and shortens names from outside where necessary
//! ([`text`](mod@crate::text)).

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::text::{self, message, name};

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
    /// The bytes of a photo or a frame do not match their format.
    BadImage,
    /// The model file is damaged, inconsistent or uses something that oltr cannot run.
    BadModel,
    /// A limit of [`Limits`](crate::Limits) would have been exceeded.
    Limit,
    /// An argument does not fit: shape, name, range, a file of labels.
    BadInput,
    /// A camera or stream is not there, went silent or refused the format.
    Unavailable,
    /// Another process holds a needed file. A later attempt may succeed.
    Busy,
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
            ErrorKind::Busy => "busy",
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
    /// Name of the node, or of its first output if it has none.
    pub node: String,
    /// Operator, with its domain unless that is ONNX's: `com.microsoft.Attention`.
    pub operator: String,
    /// Why it is refused.
    pub reason: String,
}

impl fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}': {}", name(&self.operator), name(&self.node), message(&self.reason))
    }
}

/// Most nodes that a message lists.
const MOST_NODES: usize = 100;

/// The command-line option that raises a limit. The program reports only the library's message, so it must contain the
/// option.
fn option(what: &str) -> &'static str {
    match what {
        "photo_pixels" | "photo_side" | "photo_bytes" => " (--max-frame, or --max-pixels where memory is not bounded)",
        "decoder_bytes" => {
            " (16 bytes for each of photo_pixels: --max-frame, or --max-pixels where memory is not bounded), or save the \
             picture as JPEG"
        }
        _ => "",
    }
}

fn list(nodes: &[UnsupportedNode]) -> String {
    let listed: String = nodes.iter().take(MOST_NODES).map(|n| format!("\n  {n}")).collect();
    match nodes.len().saturating_sub(MOST_NODES) {
        0 => listed,
        more => format!("{listed}\n  and {more} more"),
    }
}

/// Everything that can go wrong in this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, folder or device does not exist.
    #[error("{}: no such file or folder; check the path", text::path(path))]
    NotFound {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The operating system failed to read or write.
    #[error("{}: {}", text::path(path), message(&cause.to_string()))]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// Error of the system.
        #[source]
        cause: io::Error,
    },
    /// A photo or frame cannot be decoded.
    #[error("{}: {}", name(subject), message(reason))]
    BadImage {
        /// File name, or the frame's number and byte offset in its stream.
        subject: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// The model file is damaged or inconsistent.
    #[error("{}: {}", name(model), message(reason))]
    BadModel {
        /// File name of the model.
        model: String,
        /// The node or tensor, what is wrong with it, and the remedy.
        reason: String,
    },
    /// The graph is valid ONNX but has nodes that oltr cannot run. Lists all of them.
    #[error("{}: {} unsupported node(s); export the model without them:{}", name(model), nodes.len(), list(nodes))]
    UnsupportedNodes {
        /// File name of the model.
        model: String,
        /// Every node concerned, in graph order.
        nodes: Vec<UnsupportedNode>,
    },
    /// The bundle's metadata is missing or wrong.
    #[error("{}: metadata '{key}': {}", name(model), message(reason))]
    Metadata {
        /// File name of the model.
        model: String,
        /// The metadata key, `oltr.classes` for one.
        key: &'static str,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A limit would have been exceeded. Nothing was allocated.
    #[error(
        "{}: {what} is {value}, the limit is {limit}; raise this limit if that is intended{}",
        name(subject),
        option(what)
    )]
    Limit {
        /// File, node or frame concerned.
        subject: String,
        /// The exceeded field of [`Limits`](crate::Limits); `decoder_bytes` for the memory of decoding a photo, which
        /// is derived from `photo_pixels`.
        what: &'static str,
        /// The requested value.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// An argument does not fit.
    #[error("{}: {}", name(subject), message(reason))]
    BadInput {
        /// The argument: a tensor's name, a file of labels.
        subject: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// A camera or stream is not there, went silent or refused the format.
    #[error("{}: {}", name(subject), message(reason))]
    Unavailable {
        /// The source as it was given.
        subject: String,
        /// What happened, and the remedy.
        reason: String,
    },
    /// Another process holds a file that only one process may hold.
    #[error("{}: {reason}", path.display())]
    Busy {
        /// The file concerned.
        path: PathBuf,
        /// Who holds it, and the remedy.
        reason: String,
    },
    /// Options or settings contradict each other.
    #[error("{}", message(_0))]
    Config(String),
    /// A defect of oltr: please report it.
    #[error("internal error: {}; please report this with the model and the input", message(_0))]
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
            Error::Busy { .. } => ErrorKind::Busy,
            Error::Config(_) => ErrorKind::Config,
            Error::Internal(_) => ErrorKind::Internal,
        }
    }

    /// An I/O error at `path`; [`Error::NotFound`] if the file does not exist.
    pub fn io(path: impl Into<PathBuf>, cause: io::Error) -> Error {
        let path = path.into();
        match cause.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path },
            _ => Error::Io { path, cause },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For any names, a message is one line and contains no terminal controls. The message about nodes has one line for
    /// each.
    #[test]
    fn names_in_messages_are_escaped_and_bounded() {
        let bad = "a\x1b]0;t\x07\nb\u{202e}".to_string();
        let long = "x".repeat(1 << 20);
        let node = |name: &str| UnsupportedNode { node: name.into(), operator: name.into(), reason: name.into() };
        let of = |text: &str| {
            let (subject, reason, model) = (text.to_string(), text.to_string(), text.to_string());
            [
                Error::NotFound { path: text.into() },
                Error::Io { path: text.into(), cause: io::Error::other(text) },
                Error::BadImage { subject: subject.clone(), reason: reason.clone() },
                Error::BadModel { model: model.clone(), reason: reason.clone() },
                Error::Metadata { model: model.clone(), key: "oltr.open", reason: reason.clone() },
                Error::Limit { subject: subject.clone(), what: "photos", value: 2, limit: 1 },
                Error::BadInput { subject: subject.clone(), reason: reason.clone() },
                Error::Unavailable { subject, reason: reason.clone() },
                Error::Config(reason.clone()),
                Error::Internal(reason),
                Error::UnsupportedNodes { model, nodes: vec![node(text)] },
            ]
        };
        for error in of(&bad) {
            let said = error.to_string();
            let lines = said.lines().count();
            assert!(lines == 1 || lines == 2 && matches!(error, Error::UnsupportedNodes { .. }), "{said:?}");
            assert!(!said.chars().any(|c| c != '\n' && text::is_hidden(c)), "{said:?}");
            assert!(said.contains("a\\u{1b}]0;t\\u{7}\\nb\\u{202e}"), "{said:?}");
        }
        for error in of(&long) {
            let said = error.to_string();
            assert!(said.contains('…') && said.chars().count() < 10_000, "{} characters", said.len());
        }
        let many = Error::UnsupportedNodes { model: "m".into(), nodes: vec![node("n"); 5000] }.to_string();
        assert!(many.lines().count() == MOST_NODES + 2 && many.ends_with("and 4900 more"), "{many}");
    }
}
