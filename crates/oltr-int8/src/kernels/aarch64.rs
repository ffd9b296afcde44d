//! The kernels of 64-bit ARM.

pub(crate) mod choose;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod dot;
pub(crate) mod elementwise;
pub(crate) mod epilogue;
pub(crate) mod isa;
pub(crate) mod pool2d;
pub(crate) mod sets;
