//! What a node must be before anybody computes with it: of a known operator, with the inputs that operator needs,
//! with windows, axes and shapes that can be.
//!
//! tract checks much of this too, but where it does not it panics, loops or allocates; a file must do none of that.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::attributes;
use super::graph::{Graph, Node, Values, check_volume, is_onnx};
use super::operators::{self, DEQUANTISE, QUANTISE};
use super::shapes::{self, Shapes, Sliding, wrap};
use crate::error::{Error, Result, UnsupportedNode};
use crate::limits::Limits;

/// Any number of inputs that a file can have.
const MANY: usize = usize::MAX;

/// The most that a stride, a dilation, a padding or a window's side can be: beyond any picture.
const MAX_EXTENT: i64 = 1 << 20;

/// Largest rank that counts as sane where it is not known.
const MAX_RANK: i64 = operators::MAX_RANK as i64;

/// Versions of ONNX's operators that a file can name. Before 7, operands were broadcast by attributes, and Dropout and
/// BatchNormalization trained unless told otherwise.
const OPSETS: RangeInclusive<i64> = 7..=99;

/// ONNX's operators that oltr runs, by the inputs that they need and those that they can have. Recurrent networks,
/// control flow, scattering, random numbers and signal processing are not among them.
const OPERATORS: [(usize, usize, &str); 16] = [
    (0, 0, "Constant"),
    (
        1,
        1,
        "Abs Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh AveragePool Cast Ceil Celu ConstantOfShape Cos Cosh \
         DepthToSpace DynamicQuantizeLinear Elu Erf Exp Flatten Floor Gelu GlobalAveragePool \
         GlobalMaxPool HardSigmoid HardSwish Hardmax Identity IsInf IsNaN LRN LeakyRelu Log LogSoftmax \
         LpNormalization MaxPool MeanVarianceNormalization Mish Neg Not Reciprocal Relu Round Selu Shape Shrink \
         Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign SpaceToDepth Sqrt Swish Tan Tanh ThresholdedRelu \
         Transpose",
    ),
    (
        1,
        2,
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum \
         ReduceSumSquare Split Squeeze TopK Unsqueeze",
    ),
    (1, 3, "Clip Dropout"),
    (1, 4, "Pad Resize"),
    (1, 5, "Slice"),
    (1, MANY, "Concat Einsum Max Mean Min Sum"),
    (
        2,
        2,
        "Add And CumSum Div Equal Expand Gather GatherElements Greater GreaterOrEqual Less LessOrEqual \
         MatMul Mod Mul Or PRelu Pow RMSNormalization Reshape Sub Tile Xor",
    ),
    (2, 3, "Conv ConvTranspose DequantizeLinear Gemm LayerNormalization QuantizeLinear"),
    (2, 4, "ConvInteger MatMulInteger"),
    (3, 3, "GroupNormalization InstanceNormalization OneHot Range Where"),
    (5, 5, "BatchNormalization"),
    (8, 8, "QLinearMatMul"),
    (8, 9, "QLinearConv"),
    (6, 9, "com.microsoft.QGemm"),
    (
        2,
        MANY,
        "com.microsoft.DequantizeLinear com.microsoft.QLinearAdd com.microsoft.QLinearAveragePool \
         com.microsoft.QLinearConcat com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearLeakyRelu \
         com.microsoft.QLinearMul com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax \
         com.microsoft.QuantizeLinear",
    ),
];

/// Operators that can have more than one output.
const SEVERAL_OUTPUTS: [&str; 7] =
    ["BatchNormalization", "Dropout", "DynamicQuantizeLinear", "LayerNormalization", "MaxPool", "Split", "TopK"];

/// Looks at the nodes as the file has them; gives those whose operator is unknown.
pub(super) fn nodes(model: &str, graph: &Graph) -> Result<Vec<UnsupportedNode>> {
    if !OPSETS.contains(&graph.opset) {
        let reason = match graph.opset {
            0 => "names no operator set of ONNX; export it again".into(),
            version @ 1..7 => format!(
                "is written for operator set {version} of ONNX, oltr runs 7 and later; convert it with \
                 onnx.version_converter or export it again"
            ),
            version => format!("is written for operator set {version} of ONNX; the file is damaged"),
        };
        return Err(Error::BadModel { model: model.into(), reason });
    }
    let mut unsupported = Vec::new();
    for node in &graph.nodes {
        let Some((least, most)) = inputs(node) else {
            let blocks = matches!(node.op.as_str(), "MatMulNBits" | "MatMulBnb4" | "GatherBlockQuantized");
            unsupported.push(node.unsupported(if blocks {
                "keeps weights of few bits in blocks, which oltr reads from DequantizeLinear only; quantise to 8 bits as QDQ"
            } else {
                "oltr has no such operator"
            }));
            continue;
        };
        if let Some(reason) = attributes::fault(node, graph.opset) {
            unsupported.push(node.unsupported(reason));
            continue;
        }
        // Zero points of quantised operators can be left out in the middle: the normal form spells them out.
        let own = is_onnx(&node.domain) && !node.op.starts_with("QLinear");
        let missing = (0..least).find(|i| node.inputs.len() <= *i || own && node.inputs[*i].is_empty());
        if let Some(missing) = missing {
            return Err(bad(model, node, format!("lacks its input {missing}")));
        }
        if node.inputs.len() > most {
            return Err(bad(model, node, format!("has {} inputs, its operator takes {most}", node.inputs.len())));
        }
        if node.outputs.len() > 1 && !SEVERAL_OUTPUTS.contains(&node.op.as_str()) {
            return Err(bad(model, node, format!("has {} outputs, its operator computes one", node.outputs.len())));
        }
        if node.output().is_empty() {
            return Err(bad(model, node, "leaves its first output out".into()));
        }
    }
    Ok(unsupported)
}

/// How many inputs the operator of a node needs and can have, if it is known.
fn inputs(node: &Node) -> Option<(usize, usize)> {
    let named = |name: &str| match name.strip_prefix("com.microsoft.") {
        Some(op) => node.domain == "com.microsoft" && node.op == op,
        None => node.is(name),
    };
    OPERATORS.iter().find(|(_, _, names)| names.split(' ').any(named)).map(|(least, most, _)| (*least, *most))
}

/// Looks at the nodes in normal form: their windows and axes, and the shapes of all tensors as far as they follow.
pub(super) fn geometry(model: &str, graph: &Graph, limits: &Limits) -> Result<()> {
    let shapes = shapes::infer(graph);
    computed_constants(model, graph, &shapes, limits)?;
    for node in &graph.nodes {
        let fault = |reason| bad(model, node, reason);
        match node.op.as_str() {
            "Conv" | "ConvInteger" | "ConvTranspose" | "AveragePool" | "MaxPool" => {
                window(&shapes, node).map_err(fault)?
            }
            QUANTISE | DEQUANTISE => channels(graph, &shapes, node).map_err(fault)?,
            "DepthToSpace" | "SpaceToDepth" if !(1..=MAX_EXTENT).contains(&node.int("blocksize", 0)) => {
                return Err(fault(format!("has a blocksize of {}", node.int("blocksize", 0))));
            }
            "Pad" => axes(graph, &shapes, node).and_then(|_| pads(graph, &shapes, node)).map_err(fault)?,
            "Reshape" | "Expand" | "Tile" => dimensions(graph, node, 1).map_err(fault)?,
            "ConstantOfShape" => dimensions(graph, node, 0).map_err(fault)?,
            "Gather" | "GatherElements" => {
                axes(graph, &shapes, node).and_then(|_| indices(graph, &shapes, node)).map_err(fault)?;
            }
            _ => axes(graph, &shapes, node).map_err(fault)?,
        }
        for output in &node.outputs {
            if let Some(shape) = shapes.get(output) {
                check_volume(model, output, shape, limits)?;
            }
        }
    }
    Ok(())
}

/// Tensors that follow from constants alone are computed when the model is loaded, and all of them are held for a while.
fn computed_constants(model: &str, graph: &Graph, shapes: &Shapes, limits: &Limits) -> Result<()> {
    let room = |shape: &Vec<usize>| shape.iter().fold(1u64, |v, d| v.saturating_mul(*d.max(&1) as u64));
    let own = graph.consts.values().map(|c| c.len() as u64).fold(0, u64::saturating_add);
    let limit = limits.computed_constants(own);
    // Without a shape it is as large as its operands together can make it.
    let product = |node: &Node| {
        let operands = node.inputs.iter().filter_map(|i| shapes.get(i));
        if node.op == "Einsum" { operands.map(room).fold(1, u64::saturating_mul) } else { 1 }
    };
    let mut computed: HashSet<&str> = HashSet::new();
    let mut value = 0u64;
    for node in &graph.nodes {
        let constant = |input: &String| computed.contains(input.as_str()) || graph.consts.contains_key(input);
        if node.inputs.is_empty() || !node.inputs.iter().filter(|i| !i.is_empty()).all(constant) {
            continue;
        }
        for output in &node.outputs {
            value = value.saturating_add(shapes.get(output).map_or_else(|| product(node), room));
            computed.insert(output);
        }
        if value > limit {
            return Err(Error::Limit { subject: model.into(), what: "constant_elements", value, limit });
        }
    }
    Ok(())
}

fn bad(model: &str, node: &Node, reason: String) -> Error {
    let reason = format!("node '{}' ({}) {reason}; export the model again", node.label(), node.op);
    Error::BadModel { model: model.into(), reason }
}

/// Attributes of whatever slides over a map.
fn window(shapes: &Shapes, node: &Node) -> Result<(), String> {
    if node.int("group", 1) < 1 {
        return Err(format!("has {} groups", node.int("group", 1)));
    }
    let weights = node.input(1).and_then(|w| shapes.get(w)).filter(|_| node.op.contains("Conv"));
    let kernel = match (weights, node.ints("kernel_shape")) {
        (Some(weights), _) => weights.get(2..).ok_or("has weights of no window")?.iter().map(|k| *k as i64).collect(),
        (None, Some(kernel)) => kernel.to_vec(),
        (None, None) if node.op.contains("Conv") => return Err("says nothing of its window".into()),
        (None, None) => return Err("has no kernel_shape".into()),
    };
    if let Some(said) = node.ints("kernel_shape").filter(|said| *said != &kernel[..]) {
        return Err(format!("has a kernel_shape of {said:?} and weights of a window of {kernel:?}"));
    }
    let rank = kernel.len();
    let sane = |values: &[i64], least: i64| values.iter().all(|v| (least..=MAX_EXTENT).contains(v));
    let x = node.input(0).and_then(|x| shapes.get(x)).map(Vec::as_slice);
    if let Some(x) = x.filter(|x| x.len() != rank + 2) {
        return Err(format!("slides a window of {rank} dimension(s) over a tensor of shape {x:?}"));
    }
    if let Some(x) = x.filter(|x| x.iter().skip(2).any(|n| *n == 0)) {
        return Err(format!("slides a window over nothing, a tensor of shape {x:?}"));
    }
    let lists = [
        ("strides", rank, 1),
        ("dilations", rank, 1),
        ("kernel_shape", rank, 1),
        ("pads", 2 * rank, 0),
        ("output_padding", rank, 0),
        ("output_shape", rank, 1),
    ];
    for (name, length, least) in lists {
        if let Some(values) = node.ints(name).filter(|v| v.len() != length || !sane(v, least)) {
            return Err(format!("has {name} of {values:?} for a window of {rank} dimension(s)"));
        }
    }
    if rank == 0 || !sane(&kernel, 1) {
        return Err(format!("has a window of {kernel:?}"));
    }
    let sides: Vec<usize> = kernel.iter().map(|k| *k as usize).collect();
    if let (Some([_, _, h, w]), Some(sliding), "Conv" | "AveragePool" | "MaxPool") =
        (x, Sliding::of(node, &sides), node.op.as_str())
        && sliding.output([*h, *w]).is_none()
    {
        return Err(format!("has a window of {kernel:?} that is larger than its map of {h}×{w} with its padding"));
    }
    Ok(())
}

/// As many scales as the tensor has channels, unless there is one.
fn channels(graph: &Graph, shapes: &Shapes, node: &Node) -> Result<(), String> {
    let scales = node.input(1).and_then(|s| graph.consts.get(s)).map_or(1, |c| c.len());
    let Some(shape) = node.input(0).and_then(|x| shapes.get(x)).filter(|_| scales != 1) else { return Ok(()) };
    let axis = node.int("axis", 1);
    match wrap(axis, shape.len()).and_then(|a| shape.get(a)) {
        Some(n) if *n == scales => Ok(()),
        Some(n) => Err(format!("has {scales} scales for {n} channels (axis {axis} of {shape:?})")),
        None => Err(format!("has its scales along axis {axis} of {shape:?}")),
    }
}

/// As many dimensions as a tensor can have, where a constant says how large they are.
fn dimensions(graph: &Graph, node: &Node, input: usize) -> Result<(), String> {
    let Some(sizes) = node.input(input).and_then(|sizes| graph.consts.get(sizes)) else { return Ok(()) };
    if sizes.len() > operators::MAX_RANK {
        return Err(format!("asks for {} dimensions, more than {MAX_RANK}", sizes.len()));
    }
    let least = if node.op == "Reshape" { -1 } else { 0 };
    match sizes.as_i64().unwrap_or(&[]).iter().find(|n| **n < least) {
        Some(n) => Err(format!("asks for a dimension of {n}")),
        None => Ok(()),
    }
}

/// Nothing is taken away, and what is mirrored is there.
fn pads(graph: &Graph, shapes: &Shapes, node: &Node) -> Result<(), String> {
    let list = |i: usize| node.input(i).and_then(|p| graph.consts.get(p)).and_then(|c| c.as_i64());
    // Exporters compute some of these from shapes, which tract folds.
    let Some(pads) = node.ints("pads").or(list(1)) else { return Ok(()) };
    if let Some(pad) = pads.iter().find(|pad| **pad < 0) {
        return Err(format!("pads by {pad}; oltr takes Slice for what is cut off"));
    }
    let Some(shape) = node.input(0).and_then(|x| shapes.get(x)) else { return Ok(()) };
    let each: Vec<i64> = (0..shape.len() as i64).collect();
    let axes = match node.input(3) {
        None => &each[..],
        Some(_) => match list(3) {
            Some(axes) => axes,
            None => return Ok(()),
        },
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("has {} pads for {} dimension(s)", pads.len(), axes.len()));
    }
    for (i, axis) in axes.iter().enumerate() {
        let size = wrap(*axis, shape.len()).and_then(|axis| shape.get(axis)).ok_or(format!("pads an axis {axis}"))?;
        let most = pads[i].max(pads[i + axes.len()]);
        if node.text("mode") == "reflect" && most > 0 && most >= *size as i64 {
            return Err(format!("mirrors {most} of a dimension of {size}"));
        }
        if node.text("mode") == "edge" && most > 0 && *size == 0 {
            return Err("repeats the edge of nothing".into());
        }
    }
    Ok(())
}

/// Constant indices into a tensor.
fn indices(graph: &Graph, shapes: &Shapes, node: &Node) -> Result<(), String> {
    let Some(constant) = node.input(1).and_then(|i| graph.consts.get(i)) else { return Ok(()) };
    let indices: Vec<i64> = match &constant.values {
        Values::I64(v) => v.clone(),
        Values::I32(v) => v.iter().map(|i| i64::from(*i)).collect(),
        other => return Err(format!("has indices that are {}", other.dtype())),
    };
    let Some(shape) = node.input(0).and_then(|x| shapes.get(x)) else { return Ok(()) };
    let n = wrap(node.int("axis", 0), shape.len()).and_then(|axis| shape.get(axis)).map_or(0, |n| *n as i64);
    match indices.iter().find(|i| !(-n..n).contains(*i)) {
        Some(index) => Err(format!("takes element {index} of {n}")),
        None => Ok(()),
    }
}

/// Axes of whatever has some.
fn axes(graph: &Graph, shapes: &Shapes, node: &Node) -> Result<(), String> {
    let rank = node.input(0).and_then(|x| shapes.get(x)).map_or(MAX_RANK, |s| s.len() as i64);
    let rank = if node.op == "Unsqueeze" { MAX_RANK } else { rank };
    // One beyond the last is an end for Flatten, and where old operators split a shape in two.
    let inclusive = matches!(node.op.as_str(), "Flatten" | "Softmax" | "LogSoftmax" | "Hardmax");
    let fits = |axis: i64| (-rank..rank).contains(&axis) || inclusive && axis == rank;
    let given = node.attribute("axis").map(|a| a.i);
    let op = node.op.as_str();
    let whole = |i: usize| match node.input(i) {
        None => Ok(vec![]),
        Some(name) => match graph.consts.get(name).map(|c| &c.values) {
            Some(Values::I64(list)) if op != "Split" && list.len() > operators::MAX_RANK => {
                Err(format!("has an input {i} of {} axes or places, more than {MAX_RANK}", list.len()))
            }
            Some(Values::I64(list)) => Ok(list.clone()),
            Some(Values::I32(list)) => Ok(list.iter().map(|v| i64::from(*v)).collect()),
            Some(other) => Err(format!("has an input {i} that is {}", other.dtype())),
            // Exporters compute some of these from shapes, which tract folds.
            None if op == "Slice" => Ok(vec![]),
            None => Err(format!("has an input {i} that is computed at run time")),
        },
    };
    if node.ints("axes").is_some_and(|axes| axes.len() > operators::MAX_RANK) {
        return Err(format!("has more than {MAX_RANK} axes"));
    }
    let mut listed = node.ints("axes").unwrap_or(&[]).to_vec();
    if op.starts_with("Reduce") || matches!(op, "Squeeze" | "Unsqueeze") {
        listed.extend(whole(1)?);
    }
    if op == "Slice" {
        for i in 1..5 {
            whole(i)?;
        }
        listed.extend(whole(3)?);
        if let Some(step) = whole(4)?.iter().find(|step| !(1..=MAX_EXTENT as u64).contains(&step.unsigned_abs())) {
            return Err(format!("has a step of {step}"));
        }
    }
    if op == "Split"
        && (whole(1)?.iter().any(|n| *n < 1)
            || node.ints("split").is_some_and(|s| s.iter().any(|n| *n < 1) || s.is_empty()))
    {
        return Err("splits off nothing".into());
    }
    if let Some(axis) = given.into_iter().chain(listed).find(|a| !fits(*a)) {
        return Err(format!("has an axis {axis} of {rank}"));
    }
    if let Some(perm) = node.ints("perm") {
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..perm.len() as i64) || rank != MAX_RANK && rank != perm.len() as i64 {
            return Err(format!("permutes {rank} dimensions by {perm:?}"));
        }
    }
    Ok(())
}
