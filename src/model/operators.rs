//! Names of the operators that stand between the steps: ONNX's two for quantising, and those that only our graphs have.

pub(super) const QUANTISE: &str = "QuantizeLinear";
pub(super) const DEQUANTISE: &str = "DequantizeLinear";

/// Operator and domain of the node that stands for a program.
pub(super) const PROGRAM: &str = "OltrInt8Program";

/// Operator that stands for the chain of operators that computes distances.
pub(super) const DISTANCES: &str = "OltrDistances";

/// Operator that stands for a Softmax over the last dimension.
pub(super) const SOFTMAX: &str = "OltrSoftmax";

/// Operator that stands for a linear Resize of the bytes themselves, between a DQ and a Q of one scale: what lies between two
/// bytes is cut off, not rounded.
pub(super) const RESIZE_BYTES: &str = "OltrResizeBytes";

/// Most dimensions of a tensor.
pub(super) const MAX_RANK: usize = 64;
