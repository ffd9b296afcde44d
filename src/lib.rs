//! oltr recognises the long tail at the edge and says *open* for what it does not know.
//!
//! It loads a quantised ONNX graph of OLTR ("Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019),
//! runs it on CPU SIMD inside [tract](https://github.com/sonos/tract), and turns a picture into a known class or
//! `open`, with the reachability that decided.

// What the tests inside the library share with those outside names it so.
#[cfg(test)]
extern crate self as oltr;

pub mod adopt;
mod answer;
pub mod bundle;
pub mod calibrate;
mod classify;
pub mod decide;
pub mod enrol;
pub mod evaluate;
pub mod explain;
pub mod inference;
pub mod labels;
pub mod metrics;
pub mod model;
mod names;
pub mod pipeline;
pub mod queue;
pub mod scores;
pub mod sink;
pub mod things;

pub use answer::{Answer, Classifier, EnrolledAs, Judge, Names, Nearest, OfTaxon, Told};
// What reads frames is a crate of its own, under the names that it has always had here.
#[doc(inline)]
pub use oltr_frames::frame::origin;
#[doc(inline)]
pub use oltr_frames::{atomic, clock, preprocess, source, text};
use oltr_frames::{error, frame, limits};

#[doc(inline)]
pub use error::{Error, ErrorKind, Result, UnsupportedNode};
#[doc(inline)]
pub use frame::{
    Color, Frame, Geometry, Matrix, PixelFormat, Plane, Range, Rect, RegionOfInterest, Rotation, Siting, Stamp,
};
#[doc(inline)]
pub use limits::Limits;
pub use model::{Model, Outputs, Session};
pub use names::DisplayNames;
