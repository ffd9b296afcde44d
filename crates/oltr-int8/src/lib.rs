//! The int8 engine of oltr: arithmetic on slices, without files and without ONNX.
//!
//! A [`Builder`] packs layers for one set of [`kernels`] and plans their memory; the [`Program`] that it makes runs over
//! the buffers of a [`State`]. [`quant`] defines what quantisation means, and every kernel gives the same bytes as it.

mod error;
pub mod float;
// Vector instructions and raw pointers are what kernels are made of; everywhere else they are refused.
#[allow(unsafe_code)]
pub mod kernels;
mod layers;
mod plan;
mod program;
pub mod quant;
mod tensor;
// Parts of one memory for several threads at once.
#[allow(unsafe_code)]
mod threads;

pub use error::{Error, Result};
pub use layers::Input;
pub use layers::elementwise::Binary;
pub use layers::finish::Finish;
pub use layers::interpolate::Between;
pub use layers::normalise::Norm;
pub use layers::wide::WideDepthwise;
pub use program::{Builder, LayerInfo, Matrix, Piece, Program, State, Threads};
pub use tensor::{Element, Tensor, TensorId};
