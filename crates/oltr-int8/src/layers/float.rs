//! Layers of numbers inside a program: what an attention and a head leave in float.
//!
//! Numbers lie row-major in ONNX order, whatever their rank.

use std::ops::Range;

use super::super::float::{self, Function, Panels, Reduction, softmax};
use super::super::threads::Cut;
use super::broadcast::Broadcast;
use super::matmul::by_matrix;
use super::moves::Move;
use super::rounds::arithmetic;

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
    /// Matrices in panels, for a product.
    Panels([usize; 2]),
    /// A product of a tensor with [`Float::Panels`].
    MatMul([usize; 3]),
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

impl Float {
    /// Bytes of weights that belong to the layer.
    pub fn weights_bytes(&self) -> usize {
        match self {
            Float::Dense(d) => d.weights_bytes(),
            _ => 0,
        }
    }

    /// How a layer whose result has `count` numbers is cut, for which `parts` parts are worth it; one item where it is not.
    pub fn cut(&self, count: usize, parts: usize, threads: usize) -> Cut {
        match self {
            Float::Distances => Cut::items((count, 1, parts), 4, threads),
            // Threads share the columns of the one row.
            Float::Dense(Dense { size: [1, _, n], .. }) => Cut::items((*n, float::PANEL, parts), 4, threads),
            Float::MatMul([_, _, n]) => Cut::items((count / n, float::ROWS, parts), 4 * n, threads),
            Float::Softmax(width) => Cut::items((count / width, 1, arithmetic(count)), 4 * width, threads),
            _ => Cut::whole(4 * count),
        }
    }

    /// Computes the items `range` of `y` from the operands.
    pub fn run(&self, a: &[f32], b: &[f32], range: Range<usize>, y: &mut [f32]) {
        match self {
            Float::Function(f) => f.run(&a[..y.len()], y),
            Float::Binary(f, broadcast) => broadcast.rows(0..broadcast.items()[0], a, b, y, &|a, b, y| f.run(a, b, y)),
            Float::Reduce(reduction, width) => reduction.run(*width, a, y),
            Float::Softmax(width) => {
                y.copy_from_slice(&a[range.start * width..][..y.len()]);
                y.chunks_exact_mut(*width).for_each(softmax);
            }
            Float::Distances => {
                let d = a.len();
                float::distances(a, &b[range.start * d..range.end * d], y)
            }
            Float::Dense(dense) => match dense.size {
                [1, _, _] => dense.run(a, range, y),
                [_, _, n] => dense.run(a, 0..n, y),
            },
            Float::Panels([k, n]) => {
                for (b, to) in a.chunks_exact(k * n).zip(y.chunks_exact_mut(Panels::volume(*k, *n))) {
                    Panels::pack([*k, *n], b, [*n, 1], to);
                }
            }
            Float::MatMul([m, k, n]) => {
                let (first, volume) = (range.start, Panels::volume(*k, *n));
                for (matrix, rows) in by_matrix(range, *m) {
                    let panels = Panels::new([*k, *n], &b[matrix * volume..][..volume]);
                    let y = &mut y[(rows.start - first) * n..][..rows.len() * n];
                    panels.product(&a[rows.start * k..rows.end * k], None, 0..*n, y);
                }
            }
            Float::Transpose(moves) => moves.run(a, y),
        }
    }
}
