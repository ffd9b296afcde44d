//! Layers of numbers inside a program: what an attention and a head leave in float.
//!
//! Numbers lie row-major in ONNX order, whatever their rank.

use std::ops::Range;

use super::super::float::{self, Function, Panels, Reduction, softmax};
use super::super::kernels::pool::Pool;
use super::broadcast::Broadcast;
use super::moves::Move;

/// A layer that reads numbers and computes numbers.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Float {
    /// A function of each number.
    Function(Function),
    /// A function of two tensors, broadcast.
    Binary(float::Binary, Broadcast),
    /// Rows of this width become a number each.
    Reduce(Reduction, usize),
    /// Softmax over rows of this width.
    Softmax(usize),
    /// Distances from the first operand to the rows of the second.
    Distances,
    /// A product with constant weights.
    Dense(Dense),
    /// A product of two tensors.
    MatMul(MatMul),
    /// A change of order.
    Transpose(Move),
}

/// `x × weights + bias`.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Dense {
    size: [usize; 3],
    /// As [`Panels::pack`] lays them out.
    weights: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Dense {
    /// For `[m, k]` times the `[k, n]` weights of which `weights[row * strides[0] + column * strides[1]]` is one.
    pub fn new(size: [usize; 3], weights: &[f32], strides: [usize; 2], bias: Option<Vec<f32>>) -> Dense {
        let [_, k, n] = size;
        let mut packed = vec![0.0; Panels::volume(k, n)];
        Panels::pack([k, n], weights, strides, &mut packed);
        Dense { size, weights: packed, bias }
    }

    /// Bytes of weights and bias.
    pub fn weights_bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.as_ref().map_or(0, Vec::len))
    }

    fn run(&self, x: &[f32], columns: Range<usize>, y: &mut [f32]) {
        let [m, k, n] = self.size;
        Panels::new([k, n], &self.weights).product(&x[..m * k], self.bias.as_deref(), columns, y);
    }
}

/// `[.., m, k] × [.., k, n]`.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct MatMul {
    pub size: [usize; 3],
}

impl MatMul {
    fn run(&self, a: &[f32], b: &[f32], y: &mut [f32], parts: usize, pool: &mut Pool, scratch: &mut [u8]) {
        let [m, k, n] = self.size;
        let panels: &mut [f32] = bytemuck::cast_slice_mut(&mut scratch[..self.scratch_bytes()]);
        for ((a, b), y) in a.chunks_exact(m * k).zip(b.chunks_exact(k * n)).zip(y.chunks_exact_mut(m * n)) {
            Panels::pack([k, n], b, [n, 1], panels);
            let panels = Panels::new([k, n], panels);
            pool.split((m, float::ROWS, parts), n, y, &mut [], |rows, y, _| {
                panels.product(&a[rows.start * k..rows.end * k], None, 0..n, y)
            });
        }
    }

    fn scratch_bytes(&self) -> usize {
        4 * Panels::volume(self.size[1], self.size[2])
    }
}

impl Float {
    /// Bytes of scratch.
    pub fn scratch_bytes(&self) -> usize {
        match self {
            Float::MatMul(m) => m.scratch_bytes(),
            _ => 0,
        }
    }

    /// Bytes of weights that belong to the layer.
    pub fn weights_bytes(&self) -> usize {
        match self {
            Float::Dense(d) => d.weights_bytes(),
            _ => 0,
        }
    }

    /// Computes `y` from the operands; `parts` says how many threads it is worth.
    pub fn run(&self, a: &[f32], b: &[f32], y: &mut [f32], parts: usize, pool: &mut Pool, scratch: &mut [u8]) {
        match self {
            Float::Function(f) => f.run(&a[..y.len()], y),
            Float::Binary(f, broadcast) => broadcast.rows(a, b, y, &|a, b, y| f.run(a, b, y)),
            Float::Reduce(reduction, width) => reduction.run(*width, a, y),
            Float::Softmax(width) => {
                y.copy_from_slice(&a[..y.len()]);
                y.chunks_exact_mut(*width).for_each(softmax);
            }
            Float::Distances => {
                let d = b.len() / y.len();
                pool.split((y.len(), 1, parts), 1, y, &mut [], |rows, y, _| {
                    float::distances(&a[..d], &b[rows.start * d..rows.end * d], y)
                });
            }
            Float::Dense(dense) => match dense.size {
                // Threads share the columns of the one row.
                [1, _, n] => {
                    pool.split((n, float::PANEL, parts), 1, y, &mut [], |columns, y, _| dense.run(a, columns, y))
                }
                [_, _, n] => dense.run(a, 0..n, y),
            },
            Float::MatMul(m) => m.run(a, b, y, parts, pool, scratch),
            Float::Transpose(moves) => moves.run(a, y),
        }
    }
}
