//! The kernel sets of 64-bit ARM. Bytes are stored signed, as their instructions multiply signed ones.

#[path = "aarch64/depthwise/k5x5_dot4.rs"]
mod bands;
#[path = "aarch64/depthwise/k3x3.rs"]
mod columns;
#[path = "aarch64/dense/direct.rs"]
mod dense;
#[path = "aarch64/dense/sum_order.rs"]
mod depth;
#[path = "aarch64/depthwise/square.rs"]
mod depthwise;
#[path = "aarch64/dot/sdot.rs"]
mod dot;
mod elementwise;
mod epilogue;
#[path = "aarch64/dense/weights_in_registers.rs"]
mod few;
#[path = "aarch64/depthwise/k5x5.rs"]
mod fives;
#[path = "aarch64/dot/smmla.rs"]
mod matrix;
#[path = "aarch64/dense/widening.rs"]
mod neon;
#[path = "aarch64/dense/tiles.rs"]
mod panels;
#[path = "aarch64/pool2d.rs"]
mod pool;
#[path = "aarch64/depthwise/generic_dot4.rs"]
mod quads;
#[path = "aarch64/depthwise/generic.rs"]
mod taps;
#[path = "aarch64/epilogue/rounding.rs"]
mod vectors;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::LazyLock;

use super::super::quant::{AddQuant, Quant};
use super::{AveragePool, Conv, KernelSet, Map, MaxPool, PackedConv, Storage};
use columns::{DotColumns, NeonColumns};
use dense::Dense;
use dot::DotProduct;
use matrix::MatrixProduct;
use neon::{Neon, NeonTiles};
use panels::Panels;

/// The kernels of a set whose convolutions multiply with the instructions that `I` proves.
#[derive(Debug)]
struct Set<I>(I);

/// What differs from set to set.
trait Isa: Copy + Debug + Send + Sync + 'static {
    /// Name of the set.
    const NAME: &'static str;

    /// Packs a convolution with channels to sum over.
    fn dense(self, conv: &Conv) -> Box<dyn PackedConv>;

    /// Packs one without.
    fn depthwise(self, conv: Conv) -> Box<dyn PackedConv>;
}

impl Isa for Neon {
    const NAME: &'static str = "neon";

    fn dense(self, conv: &Conv) -> Box<dyn PackedConv> {
        Box::new(Dense::<NeonTiles>::new(self, conv))
    }

    fn depthwise(self, conv: Conv) -> Box<dyn PackedConv> {
        depthwise::pack::<NeonColumns>(self, conv)
    }
}

impl Isa for DotProduct {
    const NAME: &'static str = "neondot";

    fn dense(self, conv: &Conv) -> Box<dyn PackedConv> {
        Box::new(Dense::<Panels<DotProduct>>::new(self, conv))
    }

    fn depthwise(self, conv: Conv) -> Box<dyn PackedConv> {
        depthwise::pack::<DotColumns>(self, conv)
    }
}

impl Isa for MatrixProduct {
    const NAME: &'static str = "neoni8mm";

    fn dense(self, conv: &Conv) -> Box<dyn PackedConv> {
        Box::new(Dense::<Panels<MatrixProduct>>::new(self, conv))
    }

    /// Without channels to sum over there is no matrix.
    fn depthwise(self, conv: Conv) -> Box<dyn PackedConv> {
        self.0.depthwise(conv)
    }
}

static NEON: Set<Neon> = Set(Neon);
static DOT: LazyLock<Option<Set<DotProduct>>> = LazyLock::new(|| DotProduct::new().map(Set));
static MATRIX: LazyLock<Option<Set<MatrixProduct>>> = LazyLock::new(|| MatrixProduct::new().map(Set));

/// The sets that this processor can run, the fastest first.
pub(super) fn available() -> Vec<&'static dyn KernelSet> {
    let matrix = MATRIX.as_ref().map(|set| set as &dyn KernelSet);
    let dot = DOT.as_ref().map(|set| set as &dyn KernelSet);
    matrix.into_iter().chain(dot).chain([&NEON as &dyn KernelSet]).collect()
}

impl<I: Isa> KernelSet for Set<I> {
    fn isa(&self) -> &'static str {
        I::NAME
    }

    fn storage(&self) -> Storage {
        Storage::Signed
    }

    fn conv(&self, conv: Conv) -> Box<dyn PackedConv> {
        if conv.is_depthwise() { self.0.depthwise(conv) } else { self.0.dense(&conv) }
    }

    fn add(&self, add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
        elementwise::add(add, a, b, output);
    }

    fn max_pool(&self, pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        pool::max(pool, input, output, pixels);
    }

    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        pool::average(pool, input, output, pixels);
    }

    fn table(&self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        elementwise::table(table, input, output);
    }

    fn quantise(&self, quant: Quant, input: &[f32], output_map: &Map, output: &mut [u8], pixels: Range<usize>) {
        elementwise::quantise(quant, input, output_map, output, pixels);
    }

    fn dequantise(&self, quant: Quant, input_map: &Map, input: &[u8], output: &mut [f32]) {
        elementwise::dequantise(quant, input_map, input, output);
    }
}
