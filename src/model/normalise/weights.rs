//! Weights that stand in another order or shape behind their DequantizeLinear: PyTorch writes a Linear as
//! DequantizeLinear → Transpose → MatMul. The stored integers are put in order at load instead.

use std::sync::Arc;

use super::super::fold::fold;
use super::super::graph::{Node, is_onnx};
use super::super::operators::DEQUANTISE;
use super::super::shapes::wrap;
use super::Pass;

/// Operators that put elements in another order or shape.
const ORDERS: [&str; 5] = ["Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

impl Pass<'_> {
    /// Writes `DequantizeLinear → node` of a constant as a DequantizeLinear of another constant; false if it is none, or
    /// if the channels that have scales of their own are no dimension any more.
    pub(super) fn ordered_weights(&mut self, node: &Node) -> bool {
        let known = ORDERS.contains(&node.op.as_str()) && is_onnx(&node.domain);
        let Some(dq) = node.input(0).filter(|_| known).and_then(|x| self.weights.get(x)).cloned() else { return false };
        let [x, scale, zero] = &dq.inputs[..] else { return false };
        let several = self.consts.get(scale).is_some_and(|c| c.len() > 1);
        let mut inner = node.clone();
        inner.inputs[0].clone_from(x);
        inner.outputs = vec![self.fresh(x)];
        self.know(&inner);
        let shape = self.consts.get(x).map(|c| c.shape.clone()).unwrap_or_default();
        let folded = fold(&inner, (&self.consts, self.opset), &self.shapes, &mut self.budget);
        let Some(value) = folded.and_then(|values| values.into_iter().next()) else { return false };
        let axis = match several {
            false => None,
            true => match moved_axis(node, dq.int("axis", 1), &shape, &value.shape) {
                Some(axis) => Some(axis as i64),
                None => return false,
            },
        };
        self.shapes.insert(inner.output().to_string(), value.shape.clone());
        self.consts.insert(inner.output().to_string(), Arc::new(value));
        let mut moved = Node::new(DEQUANTISE, &node.name, &[inner.output(), scale, zero], node.output());
        if let Some(axis) = axis {
            moved = moved.with_int("axis", axis);
        }
        self.out.push(moved);
        true
    }
}

/// Where dimension `axis` of `from` is in `to`, if it is one of its dimensions still.
fn moved_axis(node: &Node, axis: i64, from: &[usize], to: &[usize]) -> Option<usize> {
    let axis = wrap(axis, from.len()).filter(|axis| *axis < from.len())?;
    if node.op == "Transpose" {
        return match node.ints("perm") {
            Some(perm) => perm.iter().position(|p| *p == axis as i64),
            None => Some(from.len() - 1 - axis),
        };
    }
    let before: usize = from[..axis].iter().product();
    (0..to.len()).find(|at| to[*at] == from[axis] && to[..*at].iter().product::<usize>() == before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_again_or_not() {
        let transpose = Node::new("Transpose", "", &["x"], "y");
        assert_eq!(moved_axis(&transpose, 0, &[7, 20], &[20, 7]), Some(1));
        assert_eq!(moved_axis(&transpose.with_ints("perm", &[2, 0, 1]), -1, &[2, 3, 4], &[4, 2, 3]), Some(0));
        let reshape = Node::new("Reshape", "", &["x", "s"], "y");
        assert_eq!(moved_axis(&reshape, 0, &[9, 54], &[9, 6, 3, 3]), Some(0));
        assert_eq!(moved_axis(&reshape, 1, &[2, 9], &[1, 2, 9, 1]), Some(2));
        assert_eq!(moved_axis(&reshape, 1, &[2, 9], &[18]), None);
        assert_eq!(moved_axis(&reshape, 0, &[6, 2], &[3, 4]), None);
        assert_eq!(moved_axis(&reshape, 5, &[6, 2], &[3, 4]), None);
    }
}
