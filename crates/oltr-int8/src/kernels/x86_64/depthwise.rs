//! Depthwise convolutions: each output channel sees one input channel.

pub(crate) mod generic;
pub(crate) mod square;
