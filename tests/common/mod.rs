//! Helpers that several test programs share.
#![allow(dead_code, reason = "no test program needs all of it")]

pub mod counting_allocator;
pub mod half;
#[cfg(feature = "cli")]
pub mod npz;
pub mod onnx;
pub mod tiny;
