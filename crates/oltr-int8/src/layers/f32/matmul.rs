//! Products of two tensors.

use std::ops::Range;

use crate::float::{Panels, ROWS};
use crate::layers::f32::layer::F32Layer;
use crate::layers::matmul::by_matrix;
use crate::threads::Cut;

/// `[.., m, k]` times what [`super::panels::PackPanels`] made of `[.., k, n]`.
#[derive(Debug)]
pub(crate) struct MatMul(pub [usize; 3]);

impl F32Layer for MatMul {
    fn cut(&self, count: usize, parts: usize, threads: usize) -> Cut {
        let [_, _, n] = self.0;
        Cut::items((count / n, ROWS, parts), 4 * n, threads)
    }

    fn run(&self, [a, b]: [&[f32]; 2], range: Range<usize>, y: &mut [f32]) {
        let [m, k, n] = self.0;
        let (first, volume) = (range.start, Panels::volume(k, n));
        for (matrix, rows) in by_matrix(range, m) {
            let panels = Panels::new([k, n], &b[matrix * volume..][..volume]);
            let y = &mut y[(rows.start - first) * n..][..rows.len() * n];
            panels.product(&a[rows.start * k..rows.end * k], None, 0..n, y);
        }
    }
}
