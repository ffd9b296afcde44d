//! Convolutions with channels to sum over: direct, without a matrix of patches.

pub(crate) mod direct;
pub(crate) mod registers;
pub(crate) mod sum_order;
pub(crate) mod tiles;
pub(crate) mod weights_in_registers;
pub(crate) mod widening;
pub(crate) mod widening_tile;
