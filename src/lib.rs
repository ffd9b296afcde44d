//! oltr recognises the long tail at the edge and says *open* for what it does not know.
//!
//! It loads a quantised ONNX graph of OLTR ("Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019),
//! runs it on CPU SIMD inside [tract](https://github.com/sonos/tract), and turns a picture into a known class or
//! `open`, with the reachability that decided.
#![deny(missing_docs)]

// What the tests inside the library share with those outside names it so.
#[cfg(test)]
extern crate self as oltr;

pub mod atomic;
pub mod bundle;
pub mod calibrate;
pub mod clock;
pub mod decide;
pub mod enrol;
mod error;
pub mod evaluate;
pub mod explain;
mod frame;
pub mod int8;
pub mod labels;
mod limits;
pub mod metrics;
pub mod model;
pub mod pipeline;
pub mod preprocess;
pub mod queue;
pub mod scores;
pub mod sink;
pub mod source;
pub mod survey;
pub mod text;

pub use error::{Error, ErrorKind, Result, UnsupportedNode};
pub use frame::{Color, Frame, Geometry, Matrix, PixelFormat, Plane, Range, Rect, Rotation, Siting, Stamp, View};
pub use limits::Limits;
pub use model::{Model, Outputs, Session};
