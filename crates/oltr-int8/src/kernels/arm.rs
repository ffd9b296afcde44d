//! The kernel set of 32-bit ARM with NEON: Cortex-A7 and later, and 64-bit processors under a 32-bit system.
//!
//! Rust has neither NEON's intrinsics nor its detection for this architecture, so the instructions are in assembly and
//! the processor's abilities are what the kernel tells each process. Convolutions are vectors; what there is less of
//! is the scalar set's.
//!
//! The compiler takes processors of this architecture for ones with 16 registers of 64 bits and none of 128. So assembly
//! declares the halves of those that it overwrites, `d0` to `d15`: of `q0` to `q7` the compiler would take no notice.

#[path = "arm/dense/direct.rs"]
mod dense;
#[path = "arm/depthwise/generic.rs"]
mod depthwise;
#[path = "arm/epilogue/rounding.rs"]
mod vectors;

use std::ops::Range;
use std::sync::LazyLock;

use super::super::quant::{AddQuant, Quant};
use super::scalar::Scalar;
use super::{AveragePool, Conv, KernelSet, Map, MaxPool, PackedConv, Storage};

/// A value proves that the processor has NEON.
#[derive(Clone, Copy, Debug)]
struct Neon(());

impl Neon {
    /// What the kernel says of the processor, in the auxiliary vector of each process.
    fn new() -> Option<Neon> {
        const WORD: usize = size_of::<usize>();
        // AT_HWCAP of Linux's <elf.h>, and in it HWCAP_NEON of <asm/hwcap.h>.
        const ABILITIES: usize = 16;
        const NEON: usize = 1 << 12;
        let vector = std::fs::read("/proc/self/auxv").ok()?;
        let mut entries = vector.as_chunks::<{ 2 * WORD }>().0.iter().map(|entry| {
            let (key, value) = entry.split_at(WORD);
            [key, value].map(|word| word.try_into().map_or(0, usize::from_ne_bytes))
        });
        let [_, abilities] = entries.find(|[key, _]| *key == ABILITIES)?;
        (abilities & NEON != 0).then_some(Neon(()))
    }
}

/// What the set does not do with vectors.
const REST: Scalar = Scalar::new(Storage::Signed);

/// The sets that this processor can run.
pub(super) fn available() -> Option<&'static dyn KernelSet> {
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
        if conv.is_depthwise() { depthwise::pack(*self, conv) } else { Box::new(dense::Dense::new(*self, conv)) }
    }

    fn add(&self, add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]) {
        REST.add(add, a, b, output);
    }

    fn max_pool(&self, pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        REST.max_pool(pool, input, output, pixels);
    }

    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>) {
        REST.average_pool(pool, input, output, pixels);
    }

    fn table(&self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        REST.table(table, input, output);
    }

    fn quantise(&self, quant: Quant, input: &[f32], output_map: &Map, output: &mut [u8], pixels: Range<usize>) {
        REST.quantise(quant, input, output_map, output, pixels);
    }

    fn dequantise(&self, quant: Quant, input_map: &Map, input: &[u8], output: &mut [f32]) {
        REST.dequantise(quant, input_map, input, output);
    }
}
