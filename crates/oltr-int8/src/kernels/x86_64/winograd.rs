//! Minimal filtering (S. Winograd): fewer products, exact over the integers.

pub(crate) mod f4_3x3;
pub(crate) mod f4_7x7;
pub(crate) mod transformed_weights;
