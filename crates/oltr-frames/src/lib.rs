//! The frames of [oltr](https://crates.io/crates/oltr): their sources, their form in memory, and their preprocessing to
//! the input of a network.
//!
//! [`source`] reads photos, streams and cameras into [`Frame`]s. [`preprocess`] turns a frame into the square of RGB
//! bytes that a network was trained on. Everything is bounded by [`Limits`] and fails with the typed [`Error`]. The
//! crate contains no network. `oltr` exports all of this under its own name, which the examples here use.

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
