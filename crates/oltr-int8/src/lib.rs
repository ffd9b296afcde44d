//! The int8 engine: arithmetic on slices, without tract.

pub mod float;
pub mod kernels;
mod layers;
mod plan;
mod program;
pub mod quant;
mod tensor;

pub use layers::Binary;
pub use program::{Builder, Input, LayerInfo, Program, State, Threads};
pub use tensor::{Element, Tensor, TensorId};
