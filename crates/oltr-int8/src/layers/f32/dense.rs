//! Products with constant weights.

use std::ops::Range;

use crate::float::{PANEL, Panels};
use crate::layers::f32::layer::F32Layer;
use crate::threads::Cut;

/// `x × weights + bias`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    size: [usize; 3],
    /// As [`Panels`] are laid out.
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Dense {
    /// For `[m, k]` times the `[k, n]` weights of which `weights(row * strides[0] + column * strides[1])` is one.
    pub fn new(size: [usize; 3], weights: &dyn Fn(usize) -> f32, strides: [usize; 2], bias: Option<Vec<f32>>) -> Dense {
        let [_, k, n] = size;
        let mut packed = vec![0.0; Panels::volume(k, n)];
        Panels::pack_from([k, n], weights, strides, &mut packed);
        Dense { size, weights: packed, bias }
    }

    fn product(&self, x: &[f32], columns: Range<usize>, y: &mut [f32]) {
        let [m, k, n] = self.size;
        Panels::new([k, n], &self.weights).product(&x[..m * k], self.bias.as_deref(), columns, y);
    }
}

impl F32Layer for Dense {
    fn cut(&self, count: usize, parts: usize, threads: usize) -> Cut {
        match self.size {
            // Threads share the columns of the one row.
            [1, _, n] => Cut::items((n, PANEL, parts), 4, threads),
            _ => Cut::whole(4 * count),
        }
    }

    fn run(&self, [x, _]: [&[f32]; 2], range: Range<usize>, y: &mut [f32]) {
        match self.size {
            [1, _, _] => self.product(x, range, y),
            [_, _, n] => self.product(x, 0..n, y),
        }
    }

    fn weights_bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.as_ref().map_or(0, Vec::len))
    }
}
