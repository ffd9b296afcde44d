//! Matrices of bytes laid out for products.

use std::ops::Range;

use multiversion::multiversion;

use crate::kernels::{PAIRS, PairRow};
use crate::layers::cut::light;
use crate::layers::{Call, Extent, Layer};
use crate::threads::Cut;

/// `[.., k, n]` bytes widened to 16 bits, less their zero point, in panels of [`PAIRS`] columns: `[panel][pair of
/// rows][column]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panels {
    /// k, n
    pub size: [usize; 2],
    pub zero: u8,
}

impl Panels {
    /// Pairs of rows, the last of which may be half one.
    fn pairs(&self) -> usize {
        self.size[0].div_ceil(2)
    }

    /// Panels of a matrix.
    pub fn of_matrix(&self) -> usize {
        self.size[1].div_ceil(PAIRS)
    }

    /// Bytes of a panel.
    pub fn bytes(&self) -> usize {
        self.pairs() * size_of::<PairRow>()
    }

    /// Lays out `panels`, counted through all matrices.
    pub fn run(&self, mask: u8, b: &[u8], panels: Range<usize>, to: &mut [u8]) {
        let [k, n] = self.size;
        let to: &mut [PairRow] = bytemuck::cast_slice_mut(to);
        for (number, panel) in panels.zip(to.chunks_exact_mut(self.pairs())) {
            let b = &b[number / self.of_matrix() * k * n..][..k * n];
            let first = number % self.of_matrix() * PAIRS;
            let columns = first..n.min(first + PAIRS);
            for (rows, to) in b.chunks(2 * n).zip(panel) {
                let (first, second) = rows.split_at(n);
                let second = second.get(columns.clone()).unwrap_or(&[]);
                interleave(mask, self.zero, &first[columns.clone()], second, to);
            }
        }
    }
}

impl Layer for Panels {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        Cut::items((extent.output / self.bytes(), 1, light(extent.input)), self.bytes(), threads)
    }

    fn compute(&self, call: Call) {
        self.run(call.kernels.storage().mask(), call.operands[0], call.part.range(), call.output);
    }
}

/// Two rows less their zero point, place by place; a row that does not exist is 0.
#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn interleave(mask: u8, zero: u8, first: &[u8], second: &[u8], to: &mut PairRow) {
    let widen = |q: u8| i16::from(q ^ mask) - i16::from(zero);
    if let (Ok(first), Ok(second)) = (<&[u8; PAIRS]>::try_from(first), <&[u8; PAIRS]>::try_from(second)) {
        for i in 0..PAIRS {
            to[i] = [widen(first[i]), widen(second[i])];
        }
        return;
    }
    for (i, to) in to.iter_mut().enumerate() {
        *to = [first, second].map(|row| row.get(i).map_or(0, |q| widen(*q)));
    }
}
