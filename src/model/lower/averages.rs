//! Averages between a DQ and a Q node that no program computes (a batch, a window that overhangs its padding): tract
//! averages the integers themselves, so that what lies half way between two bytes is rounded as programs round it. Of
//! dequantised numbers it would be rounded either way, because sums of them carry errors.

use std::collections::HashMap;

use super::super::graph::{Const, Graph, Node};
use super::super::operators::QUANTISE;
use super::super::quantised::View;

/// What averages.
const OPERATORS: [&str; 3] = ["AveragePool", "GlobalAveragePool", "ReduceMean"];

/// An average, by the tensor that it computes, and the scales of the bytes that it reads and that become of it.
pub(super) struct Average {
    output: String,
    from: f32,
    to: f32,
}

/// Those of the graph.
pub(super) fn find(view: &View) -> Vec<Average> {
    let average = |node: &Node| {
        let known = is_average(node);
        let (_, from) = view.activation(node.input(0).filter(|_| known)?)?;
        let reader = view.only_consumer(node.output())?;
        let to = view.params(reader).filter(|_| view.graph.nodes[reader].is(QUANTISE))?.activation()?;
        Some(Average { output: node.output().to_string(), from: from.scale, to: to.scale })
    };
    view.graph.nodes.iter().filter_map(average).collect()
}

fn is_average(node: &Node) -> bool {
    OPERATORS.iter().any(|op| node.is(op))
}

/// Rewrites those of `averages` that are left in the graph; its nodes are out of order then.
pub(super) fn settle(graph: &mut Graph, averages: &[Average]) {
    if averages.is_empty() {
        return;
    }
    let left = graph.nodes.iter().enumerate().filter(|(_, node)| !node.inputs.is_empty() && is_average(node));
    let left: HashMap<String, usize> = left.map(|(index, node)| (node.output().to_string(), index)).collect();
    for Average { output, from, to } in averages {
        let Some(index) = left.get(output) else { continue };
        let node = &mut graph.nodes[*index];
        let name = |what: &str| format!("{output}/oltr.average.{what}");
        let [steps, whole, mean, scaled, rounded] = ["steps", "whole", "mean", "scaled", "rounded"].map(name);
        let [from_name, ratio, to_name] = ["from", "ratio", "to"].map(name);
        let x = std::mem::replace(&mut node.inputs[0], whole.clone());
        node.outputs[0].clone_from(&mean);
        graph.nodes.extend([
            // A multiple of the scale over the scale is whole but for one rounding.
            Node::new("Div", &steps, &[&x, &from_name], &steps),
            Node::new("Round", &whole, &[&steps], &whole),
            Node::new("Mul", &scaled, &[&mean, &ratio], &scaled),
            Node::new("Round", &rounded, &[&scaled], &rounded),
            Node::new("Mul", output, &[&rounded, &to_name], output),
        ]);
        for (name, value) in [(from_name, *from), (ratio, from / to), (to_name, *to)] {
            graph.consts.insert(name, Const::floats(&[], vec![value]));
        }
    }
}
