//! Arithmetic in single precision, for what the attention and the head of an OLTR network leave in float.
//!
//! Every sum runs in a fixed order, nothing is a fused multiply-add, and the transcendental functions are our own:
//! every machine gives the same numbers. Where a formula is undefined it gives what IEEE 754 gives for ONNX's own
//! formula, infinity or NaN, and NaN is never hidden: maxima, minima and clamps pass it on.

mod functions;
mod matmul;
mod rows;

pub use functions::{Binary, Function, first_nan};
pub use matmul::{PANEL, Panels, ROWS};
pub use rows::{Reduction, distances, normalise, softmax};
