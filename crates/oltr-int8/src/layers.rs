//! The layers of a program: how each is cut for the threads, and what it computes.
//!
//! Layers know slices, not the program: it hands each the bytes that it reads and writes.

pub(crate) mod add;
pub(crate) mod broadcast;
pub(crate) mod concat;
pub(crate) mod constant;
pub(crate) mod conv;
pub(crate) mod copy;
pub(crate) mod cut;
pub(crate) mod dequantise;
pub(crate) mod elementwise;
pub(crate) mod f32;
pub(crate) mod finish;
pub(crate) mod input;
pub(crate) mod interpolate;
pub(crate) mod matmul;
pub(crate) mod moves;
pub(crate) mod normalise;
pub(crate) mod output;
pub(crate) mod panels;
pub(crate) mod pool;
pub(crate) mod quantise;
pub(crate) mod softmax;
pub(crate) mod table;
pub(crate) mod wide;

use std::fmt::Debug;

use crate::kernels::KernelSet;
use crate::threads::{Cut, Part};

/// What a program reads.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// f32 values in ONNX order.
    F32(&'a [f32]),
    /// An interleaved picture, with the byte that each value of each channel is quantised to.
    Pixels(&'a [u8], &'a [[u8; 256]; 3]),
}

/// The sizes of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Bytes that it writes.
    pub output: usize,
    /// Bytes of its first operand, if that is no constant.
    pub input: usize,
    /// Multiply-accumulates.
    pub macs: u64,
}

/// A part of a layer to be computed.
pub(crate) struct Call<'a> {
    /// The program's kernels.
    pub kernels: &'a dyn KernelSet,
    /// The program's inputs.
    pub inputs: &'a [Input<'a>],
    /// As [`Layer::cut`] made it.
    pub part: Part,
    /// The tensors that the layer reads; empty where it has fewer.
    pub operands: [&'a [u8]; 2],
    /// What the part writes.
    pub output: &'a mut [u8],
    /// [`Layer::scratch_bytes`].
    pub scratch: &'a mut [u8],
}

/// A layer that threads compute together, a part each.
pub(crate) trait Layer: Debug + Send + Sync {
    /// How it is cut for so many threads.
    fn cut(&self, extent: Extent, threads: usize) -> Cut;

    /// Computes a part.
    fn compute(&self, call: Call);

    /// Bytes of scratch that a thread needs.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Bytes of packed weights.
    fn weights_bytes(&self) -> usize {
        0
    }

    /// Name of the kernel of a layer that does `op`, on the set `isa`.
    fn kernel(&self, op: &str, isa: &str) -> String {
        format!("{}__{isa}", op.split(' ').next().unwrap_or_default())
    }

    /// The input of the program that it reads, and whether it does so as f32 values.
    fn input(&self) -> Option<(usize, bool)> {
        None
    }
}
