//! Concatenation: any number of operands, so that no [`crate::layers::Layer`] can be it.

use crate::layers::copy::Copy;

/// A copy for each operand, all into one tensor.
#[derive(Debug)]
pub(crate) struct Concat(pub Vec<Copy>);
