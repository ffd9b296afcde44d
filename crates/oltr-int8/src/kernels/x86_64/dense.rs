//! Convolutions with channels to sum over: direct, without a matrix of patches.

pub(crate) mod activations_in_registers;
pub(crate) mod direct;
pub(crate) mod grouped;
pub(crate) mod saturation_split;
pub(crate) mod strip;
pub(crate) mod tiles;
pub(crate) mod weights_in_registers;
