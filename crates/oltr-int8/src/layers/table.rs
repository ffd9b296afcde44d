//! Any function of single bytes.

use crate::kernels::Map;
use crate::layers::cut::light;
use crate::layers::{Call, Extent, Layer};
use crate::plan::ALIGN;
use crate::threads::Cut;

/// A look-up of each byte as it lies in memory.
#[derive(Debug)]
pub(crate) struct Table(pub Box<[u8; 256]>);

impl Layer for Table {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((extent.output, ALIGN, light(extent.output)), 1, threads)
    }

    fn compute(&self, call: Call) {
        call.kernels.table(&self.0, &call.operands[0][call.part.range()], call.output);
    }
}

/// A look-up of each byte in the table of its channel.
#[derive(Debug)]
pub(crate) struct Tables {
    pub tables: Vec<[u8; 256]>,
    pub map: Map,
}

impl Layer for Tables {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((self.map.pixels(), 1, light(extent.output)), self.map.stride, threads)
    }

    fn compute(&self, call: Call) {
        let stride = self.map.stride.max(1);
        let x = &call.operands[0][call.part.range().start * stride..];
        for (x, y) in x.chunks_exact(stride).zip(call.output.chunks_exact_mut(stride)) {
            for ((x, y), table) in x.iter().zip(y).zip(&self.tables) {
                *y = table[usize::from(*x)];
            }
        }
    }

    fn weights_bytes(&self) -> usize {
        256 * self.tables.len()
    }
}
