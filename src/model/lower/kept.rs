//! Operators that move or choose numbers between a DequantizeLinear and a product, with no quantisation behind them: some
//! quantisers (NNCF) leave it out, because what they give is as quantised as what they get. It is written out here, with
//! the scale of the operand: that changes no number, and products then read bytes.

use std::collections::{HashMap, HashSet};

use super::super::graph::{Graph, Node};
use super::super::operators::{DEQUANTISE, QUANTISE};
use super::super::quantised::View;

/// Operators that give only numbers that they get, or 0.
const KEEP: [&str; 14] = [
    "Concat",
    "DepthToSpace",
    "Dropout",
    "Flatten",
    "Gather",
    "MaxPool",
    "Relu",
    "Reshape",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// Products, which read bytes where they can.
const PRODUCTS: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Writes the quantisations out.
pub(super) fn write_out(graph: &mut Graph) {
    let missing = missing(&View::new(graph));
    if missing.is_empty() {
        return;
    }
    let twin = |name: &str| format!("{name}/oltr.kept");
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        for input in node.inputs.iter_mut().filter(|input| missing.contains_key(*input)) {
            *input = twin(input);
        }
        let output = node.output().to_string();
        graph.nodes.push(node);
        if let Some([scale, zero]) = missing.get(&output) {
            let (bytes, f32_values) = (format!("{output}/oltr.kept.bytes"), twin(&output));
            graph.nodes.push(Node::new(QUANTISE, &bytes, &[&output, scale, zero], &bytes));
            graph.nodes.push(Node::new(DEQUANTISE, &f32_values, &[&bytes, scale, zero], &f32_values));
        }
    }
}

/// Tensors whose quantisation is left out, with their scale and zero point.
fn missing(view: &View) -> HashMap<String, [String; 2]> {
    let keeps = |node: &Node| {
        let nearest = node.op != "Resize" || matches!(node.text("mode"), "" | "nearest");
        KEEP.iter().any(|op| node.is(op)) && node.outputs.len() == 1 && nearest
    };
    // All that it takes numbers from.
    let data = |node: &Node| if node.op == "Concat" { node.inputs.len() } else { 1 };
    // From the end: what products read, as it is or through such operators.
    let mut wanted: HashSet<&str> = HashSet::new();
    for node in view.graph.nodes.iter().rev() {
        let weights = || node.input(1).is_some_and(|w| view.constant(w).is_some());
        if PRODUCTS.iter().any(|op| node.is(op)) && weights() {
            wanted.extend(node.input(0));
        } else if keeps(node) && wanted.contains(node.output()) {
            wanted.extend(node.inputs.iter().take(data(node)).map(String::as_str));
        }
    }
    let mut missing: HashMap<String, [String; 2]> = HashMap::new();
    for node in view.graph.nodes.iter().filter(|node| keeps(node) && wanted.contains(node.output())) {
        let readers = view.consumers.get(node.output()).map_or(&[][..], Vec::as_slice);
        if readers.iter().all(|reader| view.graph.nodes[*reader].is(QUANTISE)) {
            continue;
        }
        let of = |name: &String| {
            missing.get(name).cloned().or_else(|| {
                view.activation(name)?;
                let dq = &view.graph.nodes[*view.producers.get(name.as_str())?];
                Some([dq.inputs[1].clone(), dq.inputs[2].clone()])
            })
        };
        let operands: Option<Vec<[String; 2]>> = node.inputs.iter().take(data(node)).map(of).collect();
        let value = |[scale, zero]: &[String; 2]| {
            let (scale, zero) = (view.graph.consts.get(scale)?, view.graph.consts.get(zero)?);
            Some((scale.as_f32()?.to_vec(), zero.as_integers()?, zero.values.dtype()))
        };
        let Some(operands) = operands else { continue };
        if let Some(first) = operands.first().filter(|first| operands.iter().all(|o| value(o) == value(first))) {
            missing.insert(node.output().to_string(), first.clone());
        }
    }
    missing
}
