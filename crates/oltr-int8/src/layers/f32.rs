//! Layers of f32 values, for what an attention and a head leave in float.
//!
//! Values lie row-major in ONNX order, whatever their rank.

pub(crate) mod binary;
pub(crate) mod dense;
pub(crate) mod distances;
pub(crate) mod function;
pub(crate) mod layer;
pub(crate) mod matmul;
pub(crate) mod normalise;
pub(crate) mod panels;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod transpose;
