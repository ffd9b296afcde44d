//! The contract between layers and kernels, and the choice of a kernel set.
//!
//! A [`KernelSet`] belongs to one instruction set. It prepares each layer once (packing the weights as it likes) and
//! then computes ranges of output pixels. Kernels allocate nothing and dispatch nothing; they are handed slices and
//! assert their lengths on entry. The scalar set is the specification: every other set gives the same bytes.
//!
//! # Layout
//! Maps are channels-last: pixel `(y, x)` starts at `(y * width + x) * pixel_stride`, its channels follow. Channels
//! from `c` up to the pixel stride are padding: a kernel may write anything there and must not depend on them.
//! Maps carry no border; where a window leaves the map it sees the input's zero point.

#[cfg(target_arch = "aarch64")]
#[allow(clippy::needless_range_loop, clippy::too_many_arguments)]
mod aarch64;
#[cfg(target_arch = "arm")]
mod arm;
pub(crate) mod contract;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod pool_window;
pub(crate) mod scalar;
mod select;
#[cfg(test)]
#[allow(clippy::needless_range_loop)]
mod tests;
mod transpose;
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
mod window;
// Indexed loops over vectors of sums, and wide argument lists, are what kernels are made of.
#[cfg(target_arch = "x86_64")]
#[allow(clippy::needless_range_loop, clippy::too_many_arguments)]
mod x86_64;

pub use contract::{
    AveragePool, Conv, Cuts, Destination, Job, KernelSet, Map, MaxPool, Output, PAIRS, PackedConv, PairRow, Residual,
    Storage, Window,
};
#[cfg(test)]
pub(crate) use select::emulated;
pub use select::{ISA_VARIABLE, available, best, by_name, select};
pub use transpose::transpose;
