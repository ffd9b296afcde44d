//! The kernel sets of 64-bit ARM. Bytes are stored signed, as their instructions multiply signed ones.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::LazyLock;

use crate::kernels::aarch64::dense::direct::Direct;
use crate::kernels::aarch64::dense::tiles::PackedTiles;
use crate::kernels::aarch64::dense::widening::WideningTiles;
use crate::kernels::aarch64::isa::{DotProduct, MatrixProduct, Neon};
use crate::kernels::aarch64::{choose, elementwise, pool2d};
use crate::kernels::contract::{AveragePool, Conv, KernelSet, Map, MaxPool, PAIRS, PackedConv, PairRow, Storage};
use crate::kernels::scalar::SIGNED;
use crate::quant::{AddQuant, Quant};

/// The kernels of a set whose convolutions multiply with the instructions that `F` proves.
#[derive(Debug)]
struct Set<F>(F);

/// What differs from set to set.
trait Family: Copy + Debug + Send + Sync + 'static {
    /// Name of the set.
    const NAME: &'static str;

    /// Packs a convolution with channels to sum over.
    fn dense(self, conv: &Conv) -> Box<dyn PackedConv>;

    /// Packs one without.
    fn depthwise(self, conv: Conv) -> Box<dyn PackedConv>;
}

impl Family for Neon {
    const NAME: &'static str = "neon";

    fn dense(self, conv: &Conv) -> Box<dyn PackedConv> {
        Box::new(Direct::<WideningTiles>::new(self, conv))
    }

    fn depthwise(self, conv: Conv) -> Box<dyn PackedConv> {
        choose::depthwise(conv, &|conv, ends| choose::widening(self, conv, ends))
    }
}

impl Family for DotProduct {
    const NAME: &'static str = "neondot";

    fn dense(self, conv: &Conv) -> Box<dyn PackedConv> {
        Box::new(Direct::<PackedTiles<DotProduct>>::new(self, conv))
    }

    fn depthwise(self, conv: Conv) -> Box<dyn PackedConv> {
        choose::depthwise(conv, &|conv, ends| choose::dot4(self, conv, ends))
    }
}

impl Family for MatrixProduct {
    const NAME: &'static str = "neoni8mm";

    fn dense(self, conv: &Conv) -> Box<dyn PackedConv> {
        Box::new(Direct::<PackedTiles<MatrixProduct>>::new(self, conv))
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
pub(crate) fn available() -> Vec<&'static dyn KernelSet> {
    let matrix = MATRIX.as_ref().map(|set| set as &dyn KernelSet);
    let dot = DOT.as_ref().map(|set| set as &dyn KernelSet);
    matrix.into_iter().chain(dot).chain([&NEON as &dyn KernelSet]).collect()
}

impl<F: Family> KernelSet for Set<F> {
    fn isa(&self) -> &'static str {
        F::NAME
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
        pool2d::max(pool, input, output, pixels);
    }

    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        pool2d::average(pool, input, output, pixels);
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

    fn pair_products(&self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
        SIGNED.pair_products(rows, panel, sums);
    }
}
