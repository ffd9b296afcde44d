//! The int8 engine: arithmetic on slices, without tract.

pub mod kernels;
pub mod quant;
