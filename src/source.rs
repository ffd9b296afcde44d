//! Where pictures come from.

pub mod jpeg;
pub mod photo;
pub mod photos;
