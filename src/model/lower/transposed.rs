//! Transposed convolutions: each row of the result takes every so many rows of the window. The rows that take the same
//! ones are a convolution of their own, and so are columns; their results lie between each other.

use super::super::graph::Node;
use super::super::quantised::View;
use super::super::shapes::Shapes;
use super::product::{Dense, Place, assembled, operand_shape};
use super::units::{Kind, Operand, Unit};
use super::weights::Weights;
use oltr_int8::kernels::Window;
use oltr_int8::{Element, Tensor};

/// A convolution, and the first row and column of the result that it computes.
pub(super) struct Phase<'a> {
    pub layer: Dense<'a>,
    pub shape: [usize; 4],
    pub first: [usize; 2],
}

/// Rows or columns that take the same places of the window.
struct Axis {
    /// First of them, and how many.
    first: usize,
    count: usize,
    /// The places of the window, the first input's first.
    taps: Vec<usize>,
    /// How far before the first row of the input the first begins.
    pad: usize,
}

/// Steps of a transposed convolution over two dimensions.
pub(super) fn steps(node: &Node) -> Option<[usize; 2]> {
    match node.ints("strides") {
        None => Some([1, 1]),
        Some([a, b]) => Some([usize::try_from(*a).ok()?, usize::try_from(*b).ok()?]).filter(|s| !s.contains(&0)),
        _ => None,
    }
}

/// The convolutions that a transposed one is; `None` for what layers do not compute.
pub(super) fn phases<'a>(view: &View<'a>, shapes: &Shapes, unit: &Unit) -> Option<Vec<Phase<'a>>> {
    let node = &view.graph.nodes[unit.node];
    let Kind::Transposed { weights, bias, groups } = &unit.kind else { return None };
    let (Operand::Activation(q), x) = (&unit.operands[0], operand_shape(view, shapes, &unit.operands[0])?) else {
        return None;
    };
    let constant = view.constant(weights)?;
    let (&[1, c, h, w], &[inputs, each, kh, kw], &[1, oc, height, width]) =
        (&x[..], &constant.value.shape[..], &unit.shape[..])
    else {
        return None;
    };
    let groups = *groups;
    let plain = node.ints("dilations").is_none_or(|d| d.iter().all(|d| *d == 1)) && node.text("auto_pad").is_empty()
        || node.text("auto_pad") == "NOTSET";
    if !plain || groups == 0 || inputs != c || c % groups != 0 || each * groups != oc || each == 0 {
        return None;
    }
    let stride = steps(node)?;
    let pads = node.ints("pads").unwrap_or(&[0; 4]);
    let lead = [usize::try_from(*pads.first()?).ok()?, usize::try_from(*pads.get(1)?).ok()?];
    let rows = axis(h, height, kh, stride[0], lead[0])?;
    let columns = axis(w, width, kw, stride[1], lead[1])?;
    let (values, of_group) = (constant.centred()?, c / groups);
    let scales: Vec<f32> = constant.scales(each, 1)?.repeat(groups);
    let mut phases = Vec::new();
    for row in &rows {
        for column in &columns {
            let mut own = Vec::with_capacity(oc * row.taps.len() * column.taps.len() * of_group);
            for o in 0..oc {
                let (group, o) = (o / each, o % each);
                for ky in &row.taps {
                    for kx in &column.taps {
                        let input = |i: usize| (((group * of_group + i) * each + o) * kh + ky) * kw + kx;
                        own.extend((0..of_group).map(|i| values[input(i)]));
                    }
                }
            }
            let counts = [oc, row.taps.len() * column.taps.len(), of_group];
            let shape = [1, oc, row.count, column.count];
            let quant = view.params(*view.producers.get(q.as_str())?)?.activation()?;
            let map = |shape: &[usize]| Tensor::new(shape, Element::Bytes(quant)).map;
            let kernel = [row.taps.len(), column.taps.len()];
            let window = Window { kernel, pad: [row.pad, column.pad], ..Window::POINT };
            let place = Place { input: map(&x), output: map(&shape), window, groups, map: None };
            let weights = Weights::from_values(own, counts)?;
            let layer = assembled(view, bias.as_deref(), quant, scales.clone(), weights, place)?;
            phases.push(Phase { layer, shape, first: [row.first, column.first] });
        }
    }
    Some(phases)
}

/// Rows (or columns) of a result of `size` rows that take the same places of a window of `kernel` over `input` rows.
fn axis(input: usize, size: usize, kernel: usize, stride: usize, lead: usize) -> Option<Vec<Axis>> {
    let one = |first: usize| {
        let (rest, begin) = ((first + lead) % stride, (first + lead) / stride);
        let taps: Vec<usize> = (rest..kernel).step_by(stride).rev().collect();
        let count = size.checked_sub(first)?.div_ceil(stride);
        // Windows that begin behind the first row, or lie outside of all, are none that convolutions have.
        let pad = taps.len().checked_sub(1)?.checked_sub(begin)?;
        (count >= 1 && count - 1 < input + pad).then_some(Axis { first, count, taps, pad })
    };
    (0..stride).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row of the result, by the pairs of input row and window row that it sums.
    fn of_rows(
        input: usize,
        size: usize,
        kernel: usize,
        stride: usize,
        lead: usize,
    ) -> Option<Vec<Vec<(usize, usize)>>> {
        let mut rows = vec![Vec::new(); size];
        for axis in axis(input, size, kernel, stride, lead)? {
            for j in 0..axis.count {
                for (t, tap) in axis.taps.iter().enumerate() {
                    if let Some(i) = (j + t).checked_sub(axis.pad).filter(|i| *i < input) {
                        rows[axis.first + j * stride].push((i, *tap));
                    }
                }
            }
        }
        Some(rows)
    }

    #[test]
    fn every_pair_of_row_and_place_is_there_once() {
        for (input, kernel, stride, lead) in
            [(3, 2, 2, 0), (4, 3, 2, 1), (5, 4, 2, 1), (3, 5, 3, 1), (4, 3, 1, 1), (2, 7, 3, 2), (1, 2, 2, 0)]
        {
            for more in 0..stride.min(2) {
                let size = stride * (input - 1) + kernel + more - 2 * lead;
                let Some(rows) = of_rows(input, size, kernel, stride, lead) else { continue };
                let mut expected = vec![Vec::new(); size];
                for i in 0..input {
                    for k in 0..kernel {
                        if let Some(row) = (i * stride + k).checked_sub(lead).filter(|row| *row < size) {
                            expected[row].push((i, k));
                        }
                    }
                }
                for (row, (mut a, mut b)) in rows.into_iter().zip(expected).enumerate() {
                    a.sort_unstable();
                    b.sort_unstable();
                    assert_eq!(a, b, "row {row} of {input} {kernel} {stride} {lead} {more}");
                }
            }
        }
        assert!(of_rows(3, 6, 2, 2, 0).is_some() && of_rows(5, 10, 4, 2, 1).is_some());
        // A window smaller than its steps leaves rows that no place reaches.
        assert!(of_rows(3, 7, 1, 3, 0).is_none());
    }
}
