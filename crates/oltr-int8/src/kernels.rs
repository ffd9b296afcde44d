//! The kernels: convolutions and what goes with them, on the vector instructions of each processor.
//!
//! A [`KernelSet`] belongs to one instruction set. It prepares each layer once (packing the weights as it likes) and
//! then computes ranges of output pixels. Kernels allocate nothing and dispatch nothing; they are handed slices and
//! assert their lengths on entry. The scalar set is the specification: every other set gives the same bytes.
//!
//! # Layout
//! Maps are channels-last: pixel `(y, x)` starts at `(y * width + x) * pixel_stride`, its channels follow. Channels
//! from `c` up to the pixel stride are padding: a kernel may write anything there and must not depend on them.
//! Maps carry no border; where a window leaves the map it sees the input's zero point.
//!
//! # Folders
//! Each architecture has them under the same words: `isa` has the tokens that prove an instruction set, `dot` the ways to multiply and
//! add, `dense` convolutions that sum over channels, `depthwise` those that do not, `winograd` those with fewer products,
//! `matvec` fully connected layers, `pool2d` and `elementwise` the rest, `epilogue` the way from sums to bytes, `choose` the
//! choice of an algorithm for a layer, and `sets` the kernel sets. Where a folder is missing, the architecture has no kernel
//! of that kind. What `unsafe` blocks rely on is named in `safety`.
//!
//! # One layer from its weights to its bytes
//! A 3×3 convolution of 64 channels into 64, on a map of 56×56, stride 1, padding 1, with AVX-512-VNNI.
//!
//! **1. What the graph says** ([`Conv`]). ONNX has weights `[output channel][input channel][row][column]` as signed bytes;
//! lowering has brought them into `[output channel][row][column][input channel]`, so that the 3 × 64 weights of a row of the
//! window lie in the order in which the activations of three neighbouring pixels lie in memory. The sum of an output is
//!
//! ```text
//! sum = bias + Σ (x - zero) * w  =  (bias - zero * Σ w)  +  Σ x * w
//!                                   └── one constant ──┘    └ what is left for the tiles ┘
//! ```
//!
//! The left half is computed when the layer is packed: tiles multiply bytes as they lie in memory. The price is that
//! positions outside the map have to hold the zero point.
//!
//! **2. Packing** (`dense::direct`). Lanes of a vector are output channels; a *step* is the four activations of a pixel that one
//! instruction multiplies (`dot::vnni`: `vpdpbusd` adds four products to each of 16 lanes). The 64 channels are four vectors,
//! which together are one *strip*. A window is three *runs*, one for each of its rows, of 3 * 64 / 4 = 48 steps:
//!
//! ```text
//! weights   [strip][run 0..3][step 0..48][vector 0..4]  of 64 bytes:  w[lane 0][0..4] w[lane 1][0..4] … w[lane 15][0..4]
//! ```
//!
//! The kernel reads this array once from front to back for each tile.
//!
//! **3. Blocks** (`patch`). Output pixels are computed in *blocks*: some rows, or part of one, so that the input under a block
//! stays in the L1 cache. It is copied to scratch with its border filled, and each pixel is an offset into the copy:
//!
//! ```text
//!            copied input of a block                      one window: three runs
//!        ┌───────────────────────────────┐
//!        │ z z z z z z z z z z z z z z z │  z: zero     offset of the pixel ─► ┌────────────┐ run 0: 192 bytes
//!        │ z ┌───────────────────────┐ z │     point    offset + pitch      ─► ├────────────┤ run 1
//!        │ z │ rows of the map       │ z │              offset + 2 * pitch  ─► ├────────────┤ run 2
//!        │ z └───────────────────────┘ z │                                     └────────────┘
//!        └───────────────────────────────┘
//! ```
//!
//! **4. Tiles** (`dense::tiles`). A *tile* is some pixels by the vectors of a strip, here 4 by 4: 16 vectors of sums, which stay
//! in registers over all steps. They begin with the constant of (1). For each step four vectors of weights are loaded, and for
//! each pixel four activations are broadcast to all lanes:
//!
//! ```text
//!                 vector 0     vector 1     vector 2     vector 3        (16 output channels each)
//!               ┌────────────┬────────────┬────────────┬────────────┐
//!      pixel 0  │ sums[0][0] │ sums[0][1] │ sums[0][2] │ sums[0][3] │  += broadcast(x[pixel 0]) · weights[vector]
//!      pixel 1  │            │            │            │            │
//!      pixel 2  │            │   16 registers          │            │
//!      pixel 3  │            │            │            │            │
//!               └────────────┴────────────┴────────────┴────────────┘
//! ```
//!
//! The size is a balance: each weight that is loaded serves as many products as the tile has pixels, each activation as many
//! as it has vectors, and all sums, weights and activations have to fit the registers.
//!
//! **5. Epilogue** (`epilogue`). A sum becomes a byte by `round(sum * multiplier) + zero point`, between the bounds that a
//! ReLU leaves ([`crate::quant::Requant`]). Where products cannot exceed 32 bits this happens in the tile's registers: convert to f32, multiply,
//! convert back (which rounds to even), pack with saturation from 32 to 16 to 8 bits, store 64 bytes for each pixel. A residual is
//! added in between, dequantised ([`Residual`]). All else takes a detour: the tile stores its sums, and the epilogue goes over them again.
//!
//! **6. What other layers do differently.** Without VNNI, products of bytes saturate: `dot::split_bytes` takes from large weights
//! what is too much, `dot::by_sums` trades multiplications for additions, `winograd` does with 36 products for 144 on maps
//! that are large enough. Depthwise layers have no channels to sum over: they interleave rows, so that a step is a column.
//! ARM has the terms of a sum in lanes where it has no dot product (`dense::widening`). `choose` says which is taken when.
//!
//! **Correctness.** Sums wrap modulo 2^32, so the order of additions changes nothing, and each rearrangement above is exact.
//! `tests.rs` holds every set against the scalar one at sizes around each tile, with extremes of weights and activations.

#[cfg(target_arch = "aarch64")]
#[allow(clippy::needless_range_loop, clippy::too_many_arguments)]
mod aarch64;
#[cfg(target_arch = "arm")]
mod arm;
pub(crate) mod contract;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod pool_window;
mod safety;
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
