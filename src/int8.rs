//! The int8 engine: arithmetic on slices, without tract.

pub mod kernels;
mod layers;
mod plan;
mod program;
pub mod quant;

pub use layers::Binary;
pub use program::{Builder, Element, Input, LayerInfo, Program, State, Tensor, TensorId};
