//! The kernels of oltr and its arithmetic on numbers, compiled from its sources, with their tests.

/// What kernels see of the engine.
#[path = "../../../src/int8"]
pub mod int8 {
    pub mod float;
    pub mod kernels;
    pub mod quant;
}

pub mod networks;
