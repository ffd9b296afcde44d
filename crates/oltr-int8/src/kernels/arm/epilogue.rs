//! From sums to bytes.

pub(crate) mod rounding;
