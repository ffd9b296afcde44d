//! Errors of decoding, with the remedy.

use std::fmt;
use std::io;

/// Why a picture is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Data is missing at the end.
    CutOff,
    /// Scans are missing.
    LacksScans,
    /// What is damaged.
    Damaged(&'static str),
    /// A kind of JPEG that is sound, but not read.
    Unsupported(&'static str),
}

impl fmt::Display for Fault {
    /// The error without a remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::CutOff => f.write_str("the JPEG is cut off"),
            Fault::LacksScans => f.write_str("the JPEG lacks some of its scans"),
            Fault::Damaged(what) => write!(f, "the JPEG is damaged ({what})"),
            Fault::Unsupported(kind) => f.write_str(kind),
        }
    }
}

impl std::error::Error for Fault {}

/// Why there are no pixels.
#[derive(Debug)]
pub enum Failure {
    /// The picture's fault.
    Fault(Fault),
    /// Its file could not be read on.
    Io(io::Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Fault(fault) => fault.fmt(f),
            Failure::Io(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}
