//! Which share of a graph's multiply-accumulates runs in int8, and what keeps the rest from it.

use std::collections::HashSet;

use serde::Serialize;

use super::graph::{Graph, Node};
use super::operators::{DEQUANTISE, QUANTISE};
use super::quantised::View;
use super::shapes::Shapes;

/// How much of a graph runs in int8.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Coverage {
    /// Multiply-accumulates of one run: convolutions and products, as the file has them.
    pub macs: u64,
    /// Those that run in int8.
    pub int8_macs: u64,
    /// The first operator that runs in float, where the file is quantised.
    pub fallback: Option<Fallback>,
}

/// An operator that runs in float.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fallback {
    /// Its name in the file.
    pub node: String,
    /// What it is.
    pub operator: String,
    /// Why it runs in float.
    pub reason: String,
    /// What to change in the export.
    pub remedy: String,
}

/// Quantises a tensor by its own range.
const DYNAMIC: &str = "DynamicQuantizeLinear";

impl Coverage {
    /// Least share below which a quantised file is slower than it need be.
    pub const ENOUGH: f64 = 0.9;

    /// Of 0 to 1; `None` where there is nothing to multiply.
    pub fn share(&self) -> Option<f64> {
        (self.macs > 0).then(|| self.int8_macs as f64 / self.macs as f64)
    }

    /// Whether a quantised file runs in float for more than a tenth.
    pub fn is_poor(&self) -> bool {
        self.fallback.is_some() && self.share().is_some_and(|share| share < Coverage::ENOUGH)
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Some(share) = self.share() else { return write!(f, "no multiply-accumulates") };
        write!(f, "{:.1} % of {:.1} million multiply-accumulates in int8", share * 100.0, self.macs as f64 / 1e6)?;
        if let Some(Fallback { node, operator, reason, remedy }) = self.fallback.as_ref().filter(|_| share < 0.99) {
            write!(f, "; the first in float is {operator} '{node}': {reason}; {remedy}")?;
        }
        Ok(())
    }
}

/// Multiply-accumulates of a node; 0 for what is no product, and where shapes are not known.
pub(super) fn macs(graph: &Graph, shapes: &Shapes, node: &Node) -> u64 {
    let volume = |shape: &[usize]| shape.iter().fold(1u64, |v, d| v.saturating_mul(*d as u64));
    let input = |i: usize| node.input(i).and_then(|name| shapes.get(name).or(graph.consts.get(name).map(|c| &c.shape)));
    let (Some(x), Some(w)) = (input(0), input(1)) else { return 0 };
    let Some(y) = shapes.get(node.output()) else { return weights_only(node, w) };
    match node.op.as_str() {
        "Conv" | "ConvInteger" => volume(y).saturating_mul(volume(w.get(1..).unwrap_or(&[]))),
        "ConvTranspose" => volume(x).saturating_mul(volume(w.get(1..).unwrap_or(&[]))),
        "Gemm" => {
            let k = if node.int("transA", 0) != 0 { x.first() } else { x.last() };
            volume(y).saturating_mul(k.map_or(0, |k| *k as u64))
        }
        "MatMul" | "MatMulInteger" => volume(y).saturating_mul(x.last().map_or(0, |k| *k as u64)),
        _ => 0,
    }
}

/// As good as can be told of a product whose result has no known size: each weight is used once.
fn weights_only(node: &Node, w: &[usize]) -> u64 {
    let product =
        matches!(node.op.as_str(), "Conv" | "ConvInteger" | "ConvTranspose" | "Gemm" | "MatMul" | "MatMulInteger");
    if product { w.iter().fold(1u64, |v, d| v.saturating_mul(*d as u64)) } else { 0 }
}

/// Of a graph in normal form, `int8` being the nodes that programs compute in int8.
pub(super) fn of(graph: &Graph, shapes: &Shapes, int8: &HashSet<usize>, quantised: bool) -> Coverage {
    let mut coverage = Coverage::default();
    for (index, node) in graph.nodes.iter().enumerate() {
        let macs = macs(graph, shapes, node);
        coverage.macs = coverage.macs.saturating_add(macs);
        if int8.contains(&index) {
            coverage.int8_macs = coverage.int8_macs.saturating_add(macs);
        } else if macs > 0 && quantised && coverage.fallback.is_none() {
            // Once a graph: what hangs on what is only looked up for what runs in float.
            let (reason, remedy) = why(&View::new(graph), shapes, node);
            let operator = node.op.clone();
            coverage.fallback = Some(Fallback { node: node.label().into(), operator, reason, remedy: remedy.into() });
        }
    }
    coverage
}

/// Whether a graph quantises each frame by its own range.
pub(super) fn is_dynamic(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| node.is(DYNAMIC))
}

/// Whether a product reads integers of DynamicQuantizeLinear, less their zero point.
fn follows_dynamic(view: &View, node: &Node) -> bool {
    let producer = |node: &Node| Some(&view.graph.nodes[*view.producers.get(node.input(0)?)?]);
    let chain = || {
        let less = producer(node).filter(|n| n.is("Sub"))?;
        let cast = producer(less).filter(|n| n.is("Cast"))?;
        producer(cast).map(|n| n.is(DYNAMIC))
    };
    chain().unwrap_or(false)
}

/// Why a product runs in float, and what to change in the export.
fn why(view: &View, shapes: &Shapes, node: &Node) -> (String, &'static str) {
    let graph = view.graph;
    if let Some((reason, remedy)) = node.inputs.iter().take(2).find_map(|input| graph.why.get(input)) {
        return ((*reason).into(), remedy);
    }
    if matches!(node.op.as_str(), "ConvInteger" | "MatMulInteger") || follows_dynamic(view, node) {
        return (
            "its input is quantised anew for each frame, so it runs in float over the same integers".into(),
            "quantise the model statically, with calibration data",
        );
    }
    let unknown = |node: &&Node| node.outputs.iter().any(|o| !o.is_empty() && !shapes.contains_key(o));
    if !shapes.contains_key(node.output()) {
        let first = graph.nodes.iter().find(unknown).unwrap_or(node);
        let reason = format!("no shape is known behind {} '{}'", first.op, first.label());
        return (reason, "export with fixed shapes, or simplify the file with onnxsim");
    }
    let producer = |name: &str| view.producers.get(name).map(|i| &graph.nodes[*i]);
    let x = node.input(0).unwrap_or_default();
    if view.activation(x).is_none() {
        let reason = match producer(x) {
            Some(dq) if dq.is(DEQUANTISE) => {
                let zero = dq.input(2).and_then(|z| graph.consts.get(z)).map_or("unknown", |c| c.values.dtype());
                format!("its input is dequantised from {zero} in a way that int8 layers do not read")
            }
            Some(other) => {
                format!("its input comes from {} '{}', behind which nothing quantises", other.op, other.label())
            }
            None => "its input is not quantised".into(),
        };
        return (reason, "quantise activations too, to 8 bits with one scale");
    }
    let w = node.input(1).unwrap_or_default();
    if view.constant(w).is_none() && view.activation(w).is_none() {
        return ("its weights are not quantised".into(), "quantise them to int8");
    }
    if shapes.get(node.output()).is_some_and(|s| s.first().is_some_and(|n| *n != 1) && s.len() == 4) {
        return ("it computes a batch".into(), "export with a batch of 1");
    }
    let behind = view.only_consumer(node.output()).map(|i| &graph.nodes[i]);
    let reason = match behind {
        Some(next) if next.is(QUANTISE) => "no int8 layer computes its weights, bias or window exactly",
        _ => "no int8 layer computes it exactly, and nothing quantises its result",
    };
    (reason.into(), "quantise weights to int8 with a zero point of 0 and biases to int32")
}
