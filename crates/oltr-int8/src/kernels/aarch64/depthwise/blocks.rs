//! Weights, biases and multipliers of depthwise layers, by blocks of channels.

use crate::kernels::aarch64::epilogue::rounding::Rounding;
use crate::kernels::contract::Conv;

/// Channels of a block.
pub(crate) const BLOCK: usize = 8;

/// Weights by blocks of channels.
pub(crate) struct Blocks<'a>(pub &'a Conv);

impl Blocks<'_> {
    /// Number of blocks.
    pub fn count(&self) -> usize {
        self.0.output.channels.div_ceil(BLOCK)
    }

    /// The weights of a block at tap `tap`; 0 for those without a channel.
    pub fn tap(&self, block: usize, tap: usize) -> [i8; BLOCK] {
        let taps = self.0.window.kernel[0] * self.0.window.kernel[1];
        std::array::from_fn(|lane| self.0.weights.get((block * BLOCK + lane) * taps + tap).copied().unwrap_or(0))
    }

    /// `[block][column][row][channel]` of a window of `size` rows and columns, for kernels that add up the products of the two
    /// taps (column, row) of each of `pairs` in 16 bits. `None` where two weights of -128 meet in a pair: their products
    /// could be 2 · 128 · 128, one more than fits.
    pub fn by_columns(&self, size: usize, pairs: &[[(usize, usize); 2]]) -> Option<Vec<i8>> {
        let mut packed = Vec::with_capacity(self.count() * size * size * BLOCK);
        for block in 0..self.count() {
            let tap = |(column, row): (usize, usize)| self.tap(block, size * row + column);
            for [first, second] in pairs {
                if tap(*first).iter().zip(tap(*second)).any(|(a, b)| (*a, b) == (i8::MIN, i8::MIN)) {
                    return None;
                }
            }
            packed.extend((0..size * size).flat_map(|i| tap((i / size, i % size))));
        }
        Some(packed)
    }
}

/// What depthwise kernels add at the beginning and do at the end.
#[derive(Debug)]
pub(crate) struct Ends {
    /// One for each channel of whole blocks.
    pub bias: Vec<i32>,
    pub multiplier: Vec<f32>,
    pub rounding: Rounding,
}

impl Ends {
    /// For a kernel whose products have activations that are too large by `excess`.
    pub fn new(conv: &Conv, correction: i16, multiplier: &[f32], rounding: Rounding) -> Ends {
        let taps = conv.window.kernel[0] * conv.window.kernel[1];
        let lanes = conv.output.channels.next_multiple_of(BLOCK);
        let sums = conv.weights.chunks(taps).map(|w| w.iter().map(|w| i32::from(*w)).sum::<i32>());
        let mut bias: Vec<i32> =
            sums.zip(&conv.bias).map(|(sum, bias)| bias.wrapping_sub(i32::from(correction) * sum)).collect();
        let mut multiplier = multiplier.to_vec();
        bias.resize(lanes, 0);
        multiplier.resize(lanes, 0.0);
        Ends { bias, multiplier, rounding }
    }

    pub fn bytes(&self) -> usize {
        self.bias.len() * 8
    }
}
