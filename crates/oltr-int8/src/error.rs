//! The error type of the engine.

use std::fmt;

/// A result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a program could not be built or run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A slice that was handed in has another length than the program's input or output.
    BadInput {
        /// Which input or output.
        subject: String,
        /// What does not fit.
        reason: String,
    },
    /// The builder was given layers that contradict each other: a defect of its caller.
    Internal(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadInput { subject, reason } => write!(f, "{subject}: {reason}"),
            Error::Internal(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
