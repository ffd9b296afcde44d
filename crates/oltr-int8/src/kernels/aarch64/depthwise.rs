//! Depthwise convolutions: each output channel sees one input channel.

pub(crate) mod blocks;
pub(crate) mod dot4;
pub(crate) mod generic;
pub(crate) mod generic_dot4;
pub(crate) mod k3x3;
pub(crate) mod k3x3_dot4;
pub(crate) mod k5x5;
pub(crate) mod k5x5_dot4;
pub(crate) mod square;
