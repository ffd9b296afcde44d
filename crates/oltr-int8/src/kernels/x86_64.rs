//! The kernels of x86-64.

pub(crate) mod aligned;
pub(crate) mod choose;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod dot;
pub(crate) mod elementwise;
pub(crate) mod epilogue;
pub(crate) mod isa;
pub(crate) mod matvec;
pub(crate) mod pair_products;
pub(crate) mod patch;
pub(crate) mod pool2d;
pub(crate) mod quantise_rgb;
pub(crate) mod sets;
pub(crate) mod vector;
pub(crate) mod winograd;
