//! Nodes that give what they get, and nodes that move or choose quantised bytes.

use std::sync::Arc;

use super::super::graph::{Const, Node, Values, is_onnx};
use super::super::operators::{QUANTISE, RESIZE_BYTES};
use super::super::shapes;
use super::{FLOAT16, FLOAT32, INT8, Pass, UINT8};

/// Operators that move elements without looking at them, or choose among them.
pub(super) const MOVES: [&str; 18] = [
    "Clip",
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Max",
    "MaxPool",
    "Min",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

impl Pass<'_> {
    /// Whether a node gives what it gets.
    pub(super) fn is_identity(&self, node: &Node) -> bool {
        let Some(x) = node.input(0).filter(|_| is_onnx(&node.domain)) else { return false };
        match node.op.as_str() {
            "Identity" => true,
            // The mask of what is left out is of training only.
            "Dropout" => {
                let masks = node.outputs.iter().skip(1).any(|o| !o.is_empty());
                let trains = node.input(2).is_some_and(|t| self.consts.get(t).and_then(|c| c.flag()) != Some(false));
                !masks && !trains
            }
            "Cast" => {
                let to = node.int("to", 0);
                let bytes = || self.quantised.get(x).and_then(|(_, zero)| self.consts.get(zero));
                let own = match bytes().map(|c| c.values.dtype()) {
                    Some("u8") => UINT8,
                    Some("i8") => INT8,
                    _ if self.floats.contains(x) => FLOAT32,
                    _ => return false,
                };
                to == own || own == FLOAT32 && to == FLOAT16 && self.halves
            }
            _ => false,
        }
    }

    /// Writes a Split whose parts are known as a Slice each: they have one output, as all that becomes a layer.
    pub(super) fn sliced(&mut self, node: &Node) -> bool {
        self.know(node);
        let Some(parts) = shapes::outputs((&self.consts, self.opset), &self.shapes, node) else { return false };
        let rank = parts.first().map_or(0, Vec::len);
        let Some(axis) = shapes::wrap(node.int("axis", 0), rank).filter(|axis| *axis < rank) else { return false };
        if parts.iter().any(|part| part[axis] == 0) {
            return false;
        }
        let mut at = 0;
        for (output, part) in node.outputs.iter().zip(&parts) {
            let mut list = |value: usize| {
                let name = self.fresh(output);
                let value = Const { shape: vec![1], values: Values::I64(vec![value as i64]) };
                self.consts.insert(name.clone(), Arc::new(value));
                name
            };
            let [start, end, along] = [list(at), list(at + part[axis]), list(axis)];
            at += part[axis];
            if !output.is_empty() {
                let slice = Node::new("Slice", output, &[&node.inputs[0], &start, &end, &along], output);
                self.node(slice, false);
            }
        }
        true
    }

    /// Whether a node of [`MOVES`] has bytes to move.
    pub(super) fn moves_bytes(&self, node: &Node) -> bool {
        is_onnx(&node.domain) && node.inputs.iter().any(|x| self.quantised.contains_key(x))
    }

    /// A node that moves or chooses quantised bytes: the same scale and zero point on both sides, and on all that it
    /// takes bytes from.
    pub(super) fn moved(&mut self, node: Node) {
        let Some((scale, zero)) = node.inputs.iter().find_map(|x| self.quantised.get(x)).cloned() else { return };
        if node.op == "MaxPool" && node.outputs.len() > 1 {
            return self.refuse(&node, "has a second output, which oltr does not compute on bytes");
        }
        let linear = node.op == "Resize" && node.text("mode") == "linear";
        if node.op == "Resize" && !linear && !matches!(node.text("mode"), "" | "nearest") {
            return self.refuse(&node, "computes with bytes; quantise the model with it between DQ and Q");
        }
        // Which inputs are bytes, where they are not sizes or places.
        let bytes = match node.op.as_str() {
            "Concat" | "Max" | "Min" | "Clip" => 0..node.inputs.len(),
            _ => 0..1,
        };
        let filler = (node.op == "Pad").then_some(2).filter(|i| node.input(*i).is_some());
        let mut float = node.clone();
        if linear {
            float.op = RESIZE_BYTES.into();
        }
        for i in bytes.chain(filler) {
            let Some(x) = node.input(i) else { continue };
            let own = self.quantised.get(x).map_or((&scale, &zero), |(s, z)| (s, z));
            if !self.same(&scale, own.0) || !self.same(&zero, own.1) {
                return self.refuse(&node, "takes bytes of different scales together; export it again");
            }
            let dtype = |name: &str| self.consts.get(name).map(|c| c.values.dtype());
            if !self.quantised.contains_key(x) && dtype(x) != dtype(&zero) {
                return self.refuse(&node, "takes bytes together with another type; export it again");
            }
            float.inputs[i] = match self.number(x, &scale, &zero) {
                // Bounds of a Clip are numbers, not what a node computes.
                Some(values) if !self.quantised.contains_key(x) => {
                    let (name, shape) = (self.fresh(x), self.consts[x].shape.clone());
                    self.consts.insert(name.clone(), Const::floats(&shape, values));
                    name
                }
                _ => self.dequantised(&node, [x, &scale, &zero], None),
            };
        }
        if let Err(reason) = self.check_parameters(&scale, &zero) {
            return self.refuse(&node, reason);
        }
        for output in float.outputs.iter_mut().filter(|o| !o.is_empty()) {
            let f32_values = self.fresh(output);
            *output = f32_values;
        }
        let floats = float.outputs.clone();
        self.out.push(float);
        for (y, f32_values) in node.outputs.iter().zip(floats).filter(|(y, _)| !y.is_empty()) {
            self.quantised.insert(y.clone(), (scale.clone(), zero.clone()));
            self.out.push(Node::new(QUANTISE, y, &[&f32_values, &scale, &zero], y));
        }
    }

    /// The numbers that a constant of bytes stands for.
    fn number(&self, x: &str, scale: &str, zero: &str) -> Option<Vec<f32>> {
        let [x, zero] = [self.consts.get(x)?.as_integers()?, self.consts.get(zero)?.as_integers()?];
        let ([scale], [zero]) = (&self.consts.get(scale)?.as_f32()?[..], &zero[..]) else { return None };
        Some(x.iter().map(|x| (i64::from(*x) - i64::from(*zero)) as f32 * scale).collect())
    }

    /// Whether two constants hold the same.
    fn same(&self, a: &str, b: &str) -> bool {
        let value = |name: &str| self.consts.get(name).map(|c| (c.as_f32(), c.as_integers()));
        a == b || value(a) == value(b)
    }
}
