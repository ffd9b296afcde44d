//! The kernel sets of x86-64.

#[path = "x86_64/dot/by_sums.rs"]
mod avx2;
#[path = "x86_64/aligned.rs"]
mod buffer;
#[path = "x86_64/dot/split_bytes.rs"]
mod bytes;
#[path = "x86_64/choose.rs"]
mod conv;
#[path = "x86_64/dense/direct.rs"]
mod dense;
#[path = "x86_64/depthwise/square.rs"]
mod depthwise;
mod elementwise;
#[cfg(test)]
#[path = "x86_64/dot/emulated.rs"]
mod emulated;
mod epilogue;
#[path = "x86_64/matvec.rs"]
mod gemv;
#[path = "x86_64/dense/weights_in_registers.rs"]
mod held;
#[path = "x86_64/dot/pairs.rs"]
mod pairs;
mod patch;
#[path = "x86_64/dense/activations_in_registers.rs"]
mod pixelwise;
#[path = "x86_64/winograd/transformed_weights.rs"]
mod points;
#[path = "x86_64/pool2d.rs"]
mod pool;
#[path = "x86_64/pair_products.rs"]
mod products;
#[path = "x86_64/quantise_rgb.rs"]
mod quantise;
#[path = "x86_64/epilogue/requantise.rs"]
mod rows;
#[path = "x86_64/dot.rs"]
mod simd;
#[path = "x86_64/dense/saturation_split.rs"]
mod split;
#[path = "x86_64/winograd/f4_7x7.rs"]
mod stem;
#[path = "x86_64/depthwise/generic.rs"]
mod taps;
#[path = "x86_64/dense/tiles.rs"]
mod tiles;
#[path = "x86_64/vector.rs"]
mod vectors;
#[path = "x86_64/dot/vnni.rs"]
mod vnni;
#[path = "x86_64/winograd/f4_3x3.rs"]
mod winograd;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::LazyLock;

use super::super::quant::{AddQuant, Quant};
use super::scalar::SCALAR;
use super::{AveragePool, Conv, KernelSet, Map, MaxPool, PAIRS, PackedConv, PairRow, Storage};
use avx2::Avx2;
use simd::Simd;
use vnni::{Avx512Vnni, AvxVnni};

/// The kernels of a set whose convolutions are multiplied by `S`.
#[derive(Debug)]
struct Set<S: Simd>(S);

static AVX2: LazyLock<Option<Set<Avx2>>> = LazyLock::new(|| Avx2::new().map(Set));
static AVX_VNNI: LazyLock<Option<Set<AvxVnni>>> = LazyLock::new(|| AvxVnni::new().map(Set));
static AVX_512_VNNI: LazyLock<Option<Set<Avx512Vnni>>> = LazyLock::new(|| Avx512Vnni::new().map(Set));

/// The sets that this processor can run, the fastest first.
pub(super) fn available() -> Vec<&'static dyn KernelSet> {
    let mut sets: Vec<&'static dyn KernelSet> = Vec::new();
    sets.extend(AVX_512_VNNI.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(AVX_VNNI.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(AVX2.as_ref().map(|set| set as &dyn KernelSet));
    sets
}

/// The sets with more than AVX2, emulated; and one that multiplies bytes wherever it can, whatever the weights are.
#[cfg(test)]
pub(super) fn emulated() -> Vec<&'static dyn KernelSet> {
    use emulated::Emulated;
    static BYTES: LazyLock<Option<Set<bytes::Avx2Bytes>>> =
        LazyLock::new(|| Avx2::new().map(bytes::Avx2Bytes).map(Set));
    static YMM: LazyLock<Option<Set<Emulated<AvxVnni>>>> = LazyLock::new(|| Avx2::new().map(Emulated::new).map(Set));
    static ZMM: LazyLock<Option<Set<Emulated<Avx512Vnni>>>> = LazyLock::new(|| Avx2::new().map(Emulated::new).map(Set));
    let mut sets: Vec<&'static dyn KernelSet> = Vec::new();
    sets.extend(BYTES.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(YMM.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(ZMM.as_ref().map(|set| set as &dyn KernelSet));
    sets
}

impl<S: Simd> KernelSet for Set<S> {
    fn isa(&self) -> &'static str {
        S::ISA
    }

    fn storage(&self) -> Storage {
        Storage::Unsigned
    }

    fn conv(&self, conv: Conv) -> Box<dyn PackedConv> {
        self.0.conv(&conv)
    }

    fn add(&self, add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
        elementwise::add(self.0.avx2(), add, a, b, output);
    }

    fn max_pool(&self, pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        pool::max(self.0.avx2(), pool, input, output, pixels);
    }

    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        pool::average(self.0.avx2(), pool, input, output, pixels);
    }

    fn table(&self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        SCALAR.table(table, input, output);
    }

    fn quantise(&self, quant: Quant, input: &[f32], output_map: &Map, output: &mut [u8], pixels: Range<usize>) {
        self.0.quantise(quant, input, output_map, output, pixels);
    }

    fn dequantise(&self, quant: Quant, input_map: &Map, input: &[u8], output: &mut [f32]) {
        elementwise::dequantise(self.0.avx2(), quant, input_map, input, output);
    }

    fn pair_products(&self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
        self.0.pair_products(rows, panel, sums);
    }
}
