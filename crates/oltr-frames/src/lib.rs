//! The frames of [oltr](https://crates.io/crates/oltr): where they come from, what they are in memory, and how they become
//! the input of a network.
//!
//! [`source`] reads photos, streams and cameras into [`Frame`]s; [`preprocess`] turns a frame into the square of RGB
//! bytes that a network was trained on. Everything is bounded by [`Limits`] and fails with the typed [`Error`]. The
//! crate knows no network: `oltr` exports all of this under its own name, which is how the examples here are written.

pub mod atomic;
pub mod clock;
pub mod error;
pub mod frame;
pub mod limits;
pub mod preprocess;
pub mod source;
pub mod text;

#[doc(inline)]
pub use frame::origin;

pub use error::{Error, ErrorKind, Result, UnsupportedNode};
pub use frame::{
    Color, Frame, Geometry, Matrix, PixelFormat, Plane, Range, Rect, RegionOfInterest, Rotation, Siting, Stamp,
};
pub use limits::Limits;
