//! Any function of single bytes.

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
