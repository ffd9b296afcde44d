//! The products of steps: one file for each way to multiply bytes.

pub(crate) mod by_fours;
pub(crate) mod by_sums;
#[cfg(test)]
pub(crate) mod emulated;
pub(crate) mod pairs;
pub(crate) mod product;
pub(crate) mod split_bytes;
pub(crate) mod vnni;
