//! Reshapes and transpositions: the same bytes elsewhere.

use crate::layers::moves::Move;
use crate::layers::{Call, Extent, Layer};
use crate::tensor::{Tensor, row_major};
use crate::threads::Cut;

/// A copy of bytes, through a table if they change their scale.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Copy {
    /// Where it begins in the operand.
    pub first: usize,
    pub moves: Move,
    pub table: Option<Box<[u8; 256]>>,
}

impl Copy {
    /// Copies.
    pub fn run(&self, from: &[u8], to: &mut [u8]) {
        self.moves.run_bytes(self.table.as_deref(), from.get(self.first..).unwrap_or(&[]), to);
    }
}

impl Layer for Copy {
    fn cut(&self, extent: Extent, _: usize) -> Cut {
        Cut::whole(extent.output)
    }

    fn compute(&self, call: Call) {
        self.run(call.operands[0], call.output);
    }
}

/// The copy that ONNX Reshape is: the same order of elements in another layout. One side is always row-major.
pub(crate) fn reshape_copy(x: &Tensor, y: &Tensor) -> Copy {
    // Walk whichever side is a map; the other side is row-major over the same dimensions.
    let map_is_input = !x.is_row_major();
    let shape = if map_is_input { x.shape.clone() } else { y.shape.clone() };
    let rows = row_major(&shape);
    let (from, to) = if map_is_input { (x.strides(), rows) } else { (rows, y.strides()) };
    Copy { first: 0, moves: Move::new(&shape, &from, &to, 0), table: None }
}
