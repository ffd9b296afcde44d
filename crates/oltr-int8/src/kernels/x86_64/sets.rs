//! The kernel sets of x86-64.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::LazyLock;

use crate::kernels::contract::{AveragePool, Conv, KernelSet, Map, MaxPool, PAIRS, PackedConv, PairRow, Storage};
use crate::kernels::scalar::SCALAR;
use crate::kernels::x86_64::dot::vnni::{Vnni256, Vnni512};
#[cfg(test)]
use crate::kernels::x86_64::dot::{emulated::Emulated, product::Dot, split_bytes::SplitBytes};
use crate::kernels::x86_64::isa::{Avx2, Avx512Vnni, AvxVnni, WithAvx2};
use crate::kernels::x86_64::{choose, elementwise, pair_products, pool2d, quantise_rgb};
use crate::quant::{AddQuant, Quant};

/// The kernels of one instruction set.
#[derive(Debug)]
struct Set<F>(F);

/// What differs from set to set.
trait Family: WithAvx2 + Copy + Debug + Send + Sync + 'static {
    /// Name of the set.
    const NAME: &'static str;

    /// Packs a convolution.
    fn conv(self, conv: &Conv) -> Box<dyn PackedConv>;

    /// See [`KernelSet::pair_products`].
    fn pair_products(self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
        pair_products::pair_products(self.avx2(), rows, panel, sums);
    }

    /// See [`KernelSet::quantise`].
    fn quantise(self, quant: Quant, input: &[f32], map: &Map, output: &mut [u8], pixels: Range<usize>) {
        elementwise::quantise(self.avx2(), quant, input, map, output, pixels);
    }
}

impl Family for Avx2 {
    const NAME: &'static str = "avx2";

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        choose::avx2(self, conv)
    }
}

impl Family for AvxVnni {
    const NAME: &'static str = "avxvnni";

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        choose::vnni(Vnni256(self), conv)
    }
}

impl Family for Avx512Vnni {
    const NAME: &'static str = "avx512vnni";

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        choose::vnni(Vnni512(self), conv)
    }

    fn pair_products(self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
        pair_products::pair_products_vnni(self, rows, panel, sums);
    }

    fn quantise(self, quant: Quant, input: &[f32], map: &Map, output: &mut [u8], pixels: Range<usize>) {
        quantise_rgb::quantise(self, quant, input, map, output, pixels);
    }
}

/// Products of bytes wherever they can be, whatever the weights are.
#[cfg(test)]
impl Family for SplitBytes {
    const NAME: &'static str = "avx2";

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        choose::dense(self, conv)
    }
}

#[cfg(test)]
impl<S> Family for Emulated<S>
where
    S: Dot,
    Emulated<S>: crate::kernels::x86_64::depthwise::square::Interleave + crate::kernels::x86_64::matvec::Matvec,
{
    const NAME: &'static str = S::ISA;

    fn conv(self, conv: &Conv) -> Box<dyn PackedConv> {
        choose::vnni(self, conv)
    }
}

static AVX2: LazyLock<Option<Set<Avx2>>> = LazyLock::new(|| Avx2::new().map(Set));
static AVX_VNNI: LazyLock<Option<Set<AvxVnni>>> = LazyLock::new(|| AvxVnni::new().map(Set));
static AVX_512_VNNI: LazyLock<Option<Set<Avx512Vnni>>> = LazyLock::new(|| Avx512Vnni::new().map(Set));

/// The sets that this processor can run, the fastest first.
pub(crate) fn available() -> Vec<&'static dyn KernelSet> {
    let mut sets: Vec<&'static dyn KernelSet> = Vec::new();
    sets.extend(AVX_512_VNNI.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(AVX_VNNI.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(AVX2.as_ref().map(|set| set as &dyn KernelSet));
    sets
}

/// The sets with more than AVX2, emulated; and one that multiplies bytes wherever it can, whatever the weights are.
#[cfg(test)]
pub(crate) fn emulated() -> Vec<&'static dyn KernelSet> {
    static BYTES: LazyLock<Option<Set<SplitBytes>>> = LazyLock::new(|| Avx2::new().map(SplitBytes).map(Set));
    static YMM: LazyLock<Option<Set<Emulated<Vnni256>>>> = LazyLock::new(|| Avx2::new().map(Emulated::new).map(Set));
    static ZMM: LazyLock<Option<Set<Emulated<Vnni512>>>> = LazyLock::new(|| Avx2::new().map(Emulated::new).map(Set));
    let mut sets: Vec<&'static dyn KernelSet> = Vec::new();
    sets.extend(BYTES.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(YMM.as_ref().map(|set| set as &dyn KernelSet));
    sets.extend(ZMM.as_ref().map(|set| set as &dyn KernelSet));
    sets
}

impl<F: Family> KernelSet for Set<F> {
    fn isa(&self) -> &'static str {
        F::NAME
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
        pool2d::max(self.0.avx2(), pool, input, output, pixels);
    }

    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        pool2d::average(self.0.avx2(), pool, input, output, pixels);
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
