//! Convolutions with channels to sum over: direct, without a matrix of patches.

pub(crate) mod direct;
