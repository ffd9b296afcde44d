//! Matrices laid out for products.

use std::ops::Range;

use crate::float::Panels;
use crate::layers::f32::layer::F32Layer;

/// Lays out `[k, n]` matrices.
#[derive(Debug)]
pub(crate) struct PackPanels(pub [usize; 2]);

impl F32Layer for PackPanels {
    fn run(&self, [x, _]: [&[f32]; 2], _: Range<usize>, y: &mut [f32]) {
        let [k, n] = self.0;
        for (x, to) in x.chunks_exact(k * n).zip(y.chunks_exact_mut(Panels::volume(k, n))) {
            Panels::pack([k, n], x, [n, 1], to);
        }
    }
}
