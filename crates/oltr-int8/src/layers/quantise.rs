//! From f32 values to bytes (ONNX QuantizeLinear).

use crate::kernels::Map;
use crate::layers::cut::{arithmetic, light};
use crate::layers::{Call, Extent, Input, Layer};
use crate::plan::ALIGN;
use crate::quant::Quant;
use crate::threads::Cut;

/// Pixels whose values are quantised together.
const PIXELS: usize = 16;

/// Quantises an input of the program.
#[derive(Debug)]
pub(crate) struct QuantiseInput {
    pub input: usize,
    pub quant: Quant,
    /// Map of the result.
    pub map: Map,
}

impl Layer for QuantiseInput {
    fn cut(&self, _: Extent, threads: usize) -> Cut {
        let pixels = self.map.pixels();
        Cut::items((pixels, ALIGN, light(pixels * self.map.channels)), self.map.stride, threads)
    }

    fn compute(&self, call: Call) {
        let range = call.part.range();
        match call.inputs[self.input] {
            Input::F32(values) => call.kernels.quantise(self.quant, values, &self.map, call.output, range),
            Input::Pixels(pixels, tables) => {
                look_up(&pixels[3 * range.start..3 * range.end], tables, call.output);
            }
        }
    }

    fn input(&self) -> Option<(usize, bool)> {
        Some((self.input, false))
    }
}

/// Quantises a tensor of f32 values.
#[derive(Debug)]
pub(crate) struct Quantise {
    pub quant: Quant,
    /// Map of the result.
    pub map: Map,
}

impl Layer for Quantise {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((self.map.pixels(), PIXELS, arithmetic(extent.output)), self.map.stride, threads)
    }

    fn compute(&self, call: Call) {
        let values = bytemuck::cast_slice(call.operands[0]);
        call.kernels.quantise(self.quant, values, &self.map, call.output, call.part.range());
    }
}

fn look_up(pixels: &[u8], tables: &[[u8; 256]; 3], out: &mut [u8]) {
    for (pixel, out) in pixels.chunks_exact(3).zip(out.chunks_exact_mut(3)) {
        for c in 0..3 {
            out[c] = tables[c][usize::from(pixel[c])];
        }
    }
}
