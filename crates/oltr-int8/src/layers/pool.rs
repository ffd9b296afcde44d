//! Maxima and averages under windows.

use crate::kernels::{AveragePool, Map, MaxPool};
use crate::layers::cut::light;
use crate::layers::{Call, Extent, Layer};
use crate::threads::Cut;

fn cut(map: &Map, extent: Extent, threads: usize) -> Cut {
    Cut::items((map.pixels(), 1, light(extent.input)), map.stride, threads)
}

impl Layer for MaxPool {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        cut(&self.output, extent, threads)
    }

    fn compute(&self, call: Call) {
        call.kernels.max_pool(self, call.operands[0], call.output, call.part.range());
    }
}

impl Layer for AveragePool {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        cut(&self.output, extent, threads)
    }

    fn compute(&self, call: Call) {
        call.kernels.average_pool(self, call.operands[0], call.output, call.part.range());
    }
}
