//! The kernel set of 32-bit ARM. What it has no vectors for is the scalar set's.

use std::ops::Range;
use std::sync::LazyLock;

use crate::kernels::arm::dense::direct::Direct;
use crate::kernels::arm::depthwise::generic;
use crate::kernels::arm::isa::Neon;
use crate::kernels::contract::{AveragePool, Conv, KernelSet, Map, MaxPool, PAIRS, PackedConv, PairRow, Storage};
use crate::kernels::scalar::SIGNED;
use crate::quant::{AddQuant, Quant};

/// The sets that this processor can run.
pub(crate) fn available() -> Option<&'static dyn KernelSet> {
    static NEON: LazyLock<Option<Neon>> = LazyLock::new(Neon::new);
    NEON.as_ref().map(|neon| neon as &dyn KernelSet)
}

impl KernelSet for Neon {
    fn isa(&self) -> &'static str {
        "neon"
    }

    fn storage(&self) -> Storage {
        Storage::Signed
    }

    fn conv(&self, conv: Conv) -> Box<dyn PackedConv> {
        if conv.is_depthwise() { generic::pack(*self, conv) } else { Box::new(Direct::new(*self, conv)) }
    }

    fn add(&self, add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
        SIGNED.add(add, a, b, output);
    }

    fn max_pool(&self, pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        SIGNED.max_pool(pool, input, output, pixels);
    }

    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        SIGNED.average_pool(pool, input, output, pixels);
    }

    fn table(&self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        SIGNED.table(table, input, output);
    }

    fn quantise(&self, quant: Quant, input: &[f32], output_map: &Map, output: &mut [u8], pixels: Range<usize>) {
        SIGNED.quantise(quant, input, output_map, output, pixels);
    }

    fn dequantise(&self, quant: Quant, input_map: &Map, input: &[u8], output: &mut [f32]) {
        SIGNED.dequantise(quant, input_map, input, output);
    }

    fn pair_products(&self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]) {
        SIGNED.pair_products(rows, panel, sums);
    }
}
