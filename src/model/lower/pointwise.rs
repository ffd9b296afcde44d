//! Functions of one number, for 256-entry tables and for clamps.

use super::super::graph::{Graph, Node};
use super::super::operators::QUANTISE;
use oltr_int8::float::Function;

/// Bounds of a Relu or Clip node with constant bounds, the lower one no greater than the upper: of a Clip whose bounds are
/// crossed everything becomes the upper one (ONNX Clip).
pub(crate) fn bounds(graph: &Graph, node: &Node) -> Option<(f32, f32)> {
    if node.is("Relu") {
        return Some((0.0, f32::INFINITY));
    }
    if !node.is("Clip") {
        return None;
    }
    let bound = |i: usize, name: &str, none: f32| match (node.input(i), node.attribute(name)) {
        (Some(input), _) => graph.consts.get(input)?.as_f32()?.first().copied(),
        (None, Some(a)) => Some(a.f),
        (None, None) => Some(none),
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    (!low.is_nan() && !high.is_nan()).then_some((low.min(high), high))
}

/// The function that a pointwise node computes; computed in double precision where it is transcendental, so that
/// every platform's mathematical library gives the same table.
pub(crate) fn function(graph: &Graph, node: &Node) -> Option<Box<dyn Fn(f32) -> f32>> {
    let alpha = |default: f32| node.float("alpha", default);
    Some(match node.op.as_str() {
        QUANTISE => Box::new(|x| x),
        "Relu" | "Clip" => {
            let (low, high) = bounds(graph, node)?;
            Box::new(move |x: f32| x.max(low).min(high))
        }
        "LeakyRelu" => {
            let alpha = alpha(0.01);
            Box::new(move |x| if x < 0.0 { alpha * x } else { x })
        }
        "Sigmoid" => Box::new(|x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32),
        "Tanh" => Box::new(|x| f64::from(x).tanh() as f32),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), node.float("beta", 0.5));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        _ => return None,
    })
}

/// The same for operators that stay in float.
pub(crate) fn float(graph: &Graph, node: &Node) -> Option<Function> {
    Some(match node.op.as_str() {
        "Relu" | "Clip" => {
            let (low, high) = bounds(graph, node)?;
            Function::Clip(low, high)
        }
        "LeakyRelu" => Function::LeakyRelu(node.float("alpha", 0.01)),
        "Sigmoid" => Function::Sigmoid,
        "Tanh" => Function::Tanh,
        "HardSigmoid" => Function::HardSigmoid(node.float("alpha", 0.2), node.float("beta", 0.5)),
        "HardSwish" => Function::HardSwish,
        "Sqrt" => Function::Sqrt,
        "Reciprocal" => Function::Reciprocal,
        "Neg" => Function::Neg,
        "Abs" => Function::Abs,
        "Exp" => Function::Exp,
        "Log" => Function::Log,
        _ => return None,
    })
}
