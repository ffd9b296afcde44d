//! Those modules of oltr that read and prepare frames, under the names that they have there.
#![allow(dead_code)]

#[path = "../../src"]
mod modules {
    pub mod bundle;
    pub mod clock;
    pub mod error;
    pub mod frame;
    pub mod limits;
    pub mod preprocess;
    pub mod source;
    pub mod text;
}

pub use modules::{bundle, clock, error, frame, limits, preprocess, source, text};

pub use error::{Error, ErrorKind, Result};
pub use frame::{Color, Frame, Geometry, Matrix, PixelFormat, Plane, Range, Rect, Rotation, Siting, Stamp, View};
pub use limits::Limits;
