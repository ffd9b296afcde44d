//! The float operators that can run in a program.

use oltr_int8::Piece;
use oltr_int8::float::{Binary, Function, Reduction};

/// A float operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FloatOp {
    Function(Function),
    Binary(Binary),
    /// Over rows of this width.
    Reduce(Reduction, usize),
    Softmax,
    Distances,
    /// `x [.., k] × weights`, `[n, k]` if transposed else `[k, n]`; constants by name.
    Dense {
        weights: String,
        bias: Option<String>,
        transposed: bool,
    },
    MatMul,
    Reshape,
    /// Rows brought to mean 0 and variance 1.
    Norm,
    /// Numbers in other places.
    Moved {
        pieces: Vec<Piece>,
        start: Vec<usize>,
    },
    Transpose(Vec<usize>),
    /// One behind the other along this dimension.
    Concat(usize),
}
