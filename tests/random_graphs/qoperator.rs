//! The QOperator form of a graph: the nodes between dequantised inputs and a quantised result become one node.

use super::common::onnx::{Model, Node};

const MICROSOFT: &str = "com.microsoft";

/// Rewrites the operators that `wanted` selects and that have this form. A clamp before the quantisation has no
/// such form.
pub fn rewrite(model: &mut Model, mut wanted: impl FnMut() -> bool) {
    let operators: Vec<Node> = model.nodes.iter().filter(|n| !n.op.ends_with("Linear")).cloned().collect();
    for node in operators {
        let quantiser = model.nodes.iter().find(|n| n.op == "QuantizeLinear" && n.inputs[0] == node.outputs[0]);
        let Some(quantiser) = quantiser.cloned().filter(|_| wanted()) else { continue };
        let operands = node.inputs.iter().map(|x| {
            let dequantiser = model.nodes.iter().find(|n| n.op == "DequantizeLinear" && n.outputs[0] == *x);
            dequantiser.map(|n| n.inputs.clone())
        });
        // A Relu or Clip reads numbers that were not dequantised.
        let Some(operands) = operands.collect::<Option<Vec<_>>>() else { continue };
        let Some(quantised) = qlinear(&node, &operands, &quantiser) else { continue };
        *model.node(&node.outputs[0]) = quantised;
        model.nodes.retain(|n| n.op != "QuantizeLinear" || n.outputs != quantiser.outputs);
    }
    // Removes unused nodes. The graph's dequantised result is an output.
    let last = model.nodes.iter().rposition(|n| n.op == "DequantizeLinear").map(|i| model.nodes[i].outputs.clone());
    let read: Vec<String> = model.nodes.iter().flat_map(|n| n.inputs.clone()).collect();
    model
        .nodes
        .retain(|n| n.op != "DequantizeLinear" || Some(&n.outputs) == last.as_ref() || read.contains(&n.outputs[0]));
}

/// The node for `node` with operands given as bytes, scale and zero point.
fn qlinear(node: &Node, operands: &[Vec<String>], quantiser: &Node) -> Option<Node> {
    let y = &quantiser.inputs[1..];
    let x = &operands[0];
    let concat = |parts: &[&[String]]| -> Vec<String> { parts.concat() };
    let (op, domain, inputs) = match node.op.as_str() {
        "Conv" => {
            let bias = operands.get(2).map_or(&[][..], |b| &b[..1]);
            ("QLinearConv", "", concat(&[x, &operands[1], y, bias]))
        }
        "Gemm" => {
            let bias = operands.get(2).map_or(String::new(), |b| b[0].clone());
            ("QGemm", MICROSOFT, concat(&[x, &operands[1], &[bias], y]))
        }
        "Add" => ("QLinearAdd", MICROSOFT, concat(&[x, &operands[1], y])),
        "Mul" => ("QLinearMul", MICROSOFT, concat(&[x, &operands[1], y])),
        "Concat" => ("QLinearConcat", MICROSOFT, concat(&[y, x, &operands[1]])),
        "LeakyRelu" => ("QLinearLeakyRelu", MICROSOFT, concat(&[x, y])),
        "AveragePool" => ("QLinearAveragePool", MICROSOFT, concat(&[x, y])),
        "GlobalAveragePool" => ("QLinearGlobalAveragePool", MICROSOFT, concat(&[x, y])),
        // These operate on bytes directly.
        "MaxPool" | "Flatten" => (node.op.as_str(), "", x[..1].to_vec()),
        _ => return None,
    };
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let mut quantised = Node::new(op, &inputs, &[&quantiser.outputs[0]]).domain(domain);
    quantised.attributes.clone_from(&node.attributes);
    Some(quantised)
}
