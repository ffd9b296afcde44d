//! The kernels of 32-bit ARM with NEON: Cortex-A7 and later, and 64-bit processors under a 32-bit system.
//!
//! Rust has neither NEON's intrinsics nor its detection for this architecture, so the instructions are in assembly and
//! the processor's abilities are what the kernel tells each process. Convolutions are vectors; what there is less of
//! is the scalar set's.
//!
//! The compiler takes processors of this architecture for ones with 16 registers of 64 bits and none of 128. So assembly
//! declares the halves of those that it overwrites, `d0` to `d15`: of `q0` to `q7` the compiler would take no notice.

pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod epilogue;
pub(crate) mod isa;
pub(crate) mod sets;
