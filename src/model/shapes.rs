//! Shapes of the tensors of a graph, as far as lowering needs them.
//!
//! tract infers the shapes of what it runs. What goes into int8 programs never reaches tract, so its shapes are
//! computed here; a tensor of unknown shape merely stays with tract.

mod window;

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Const, Graph, Node, Values};
use super::operators::{DEQUANTISE, DISTANCES, MAX_RANK, PROGRAM, QUANTISE, RESIZE_BYTES, SOFTMAX};
pub(super) use window::Sliding;
use window::slid;

/// Shape by tensor name.
pub(super) type Shapes = HashMap<String, Vec<usize>>;

/// Constants by name, and the operator set of the graph.
type Known<'a, 'b> = (&'a HashMap<String, Arc<Const<'b>>>, i64);

/// Infers what can be inferred, in graph order.
pub(super) fn infer(graph: &Graph) -> Shapes {
    let known = (&graph.consts, graph.opset);
    let mut shapes: Shapes = graph.inputs.iter().cloned().collect();
    shapes.extend(graph.consts.iter().map(|(name, c)| (name.clone(), c.shape.clone())));
    for node in &graph.nodes {
        if node.op == DISTANCES {
            let shape = node.ints("shape").unwrap_or(&[]);
            shapes.insert(node.output().to_string(), shape.iter().map(|d| *d as usize).collect());
        } else if node.op == PROGRAM {
            for (i, output) in node.outputs.iter().enumerate() {
                let shape = node.ints(&format!("shape{i}")).unwrap_or(&[]);
                shapes.insert(output.clone(), shape.iter().map(|d| *d as usize).collect());
            }
        } else {
            add(known, &mut shapes, node);
        }
    }
    shapes
}

/// Adds those of the outputs of a node.
pub(super) fn add(known: Known, shapes: &mut Shapes, node: &Node) {
    if let Some(found) = outputs(known, shapes, node) {
        let named = node.outputs.iter().zip(found).filter(|(output, _)| !output.is_empty());
        shapes.extend(named.map(|(output, shape)| (output.clone(), shape)));
    }
}

/// Shapes of the outputs of a node; `None` for those of more than [`MAX_RANK`] dimensions too.
pub(super) fn outputs(graph: Known, shapes: &Shapes, node: &Node) -> Option<Vec<Vec<usize>>> {
    let x = node.input(0).and_then(|x| shapes.get(x));
    let found = match node.op.as_str() {
        "Split" => split(graph, node, x?)?,
        "Dropout" => vec![x?.clone(); node.outputs.len()],
        "DynamicQuantizeLinear" => vec![x?.clone(), vec![], vec![]],
        "TopK" | "MaxPool" => vec![of_node(graph, shapes, node)?; node.outputs.len()],
        _ => vec![of_node(graph, shapes, node)?],
    };
    found.iter().all(|shape| shape.len() <= MAX_RANK).then_some(found)
}

/// Elements of a tensor; `None` for more than can be counted, or with a dimension that is such beside one of 0.
pub(super) fn volume(shape: &[usize]) -> Option<usize> {
    let room = shape.iter().try_fold(1usize, |v, d| v.checked_mul(*d.max(&1)))?;
    Some(if shape.contains(&0) { 0 } else { room })
}

/// Which inputs of a quantised operator hold its operands.
fn operands(node: &Node) -> [usize; 2] {
    let quantised = (node.op.starts_with("QLinear") || node.op == "QGemm") && node.op != "QLinearConcat";
    if quantised { [0, 3] } else { [0, 1] }
}

fn of_node(graph: Known, shapes: &Shapes, node: &Node) -> Option<Vec<usize>> {
    let input = |i: usize| node.input(i).and_then(|name| shapes.get(name));
    let [first, second] = operands(node);
    if node.op == "Range" {
        return range(graph, node);
    }
    if node.op == "QLinearConcat" {
        let parts: Option<Vec<&Vec<usize>>> = (2..node.inputs.len()).step_by(3).map(input).collect();
        return concat(node, &parts?);
    }
    let x = input(first)?;
    match node.op.as_str() {
        QUANTISE | DEQUANTISE | SOFTMAX => Some(x.clone()),
        "Abs"
        | "Acos"
        | "Acosh"
        | "Asin"
        | "Asinh"
        | "Atan"
        | "Atanh"
        | "BatchNormalization"
        | "Cast"
        | "Ceil"
        | "Celu"
        | "Clip"
        | "Cos"
        | "Cosh"
        | "CumSum"
        | "Elu"
        | "Erf"
        | "Exp"
        | "Floor"
        | "Gelu"
        | "GroupNormalization"
        | "HardSigmoid"
        | "HardSwish"
        | "Hardmax"
        | "Identity"
        | "InstanceNormalization"
        | "IsInf"
        | "IsNaN"
        | "LRN"
        | "LayerNormalization"
        | "LeakyRelu"
        | "Log"
        | "LogSoftmax"
        | "LpNormalization"
        | "MeanVarianceNormalization"
        | "Mish"
        | "Neg"
        | "Not"
        | "PRelu"
        | "QLinearLeakyRelu"
        | "QLinearSigmoid"
        | "QLinearSoftmax"
        | "RMSNormalization"
        | "Reciprocal"
        | "Relu"
        | "Round"
        | "Selu"
        | "Shrink"
        | "Sigmoid"
        | "Sign"
        | "Sin"
        | "Sinh"
        | "Softmax"
        | "Softplus"
        | "Softsign"
        | "Sqrt"
        | "Swish"
        | "Tan"
        | "Tanh"
        | "ThresholdedRelu" => Some(x.clone()),
        "Add" | "And" | "Div" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Max" | "Mean"
        | "Min" | "Mod" | "Mul" | "Or" | "Pow" | "Sub" | "Sum" | "Where" | "Xor" => {
            (1..node.inputs.len()).try_fold(x.clone(), |shape, i| broadcast(&shape, input(i)?))
        }
        "QLinearAdd" | "QLinearMul" => broadcast(x, input(second)?),
        "Conv" | "ConvInteger" | "QLinearConv" => {
            let w = input(second)?;
            let mut shape = vec![*x.first()?, *w.first()?];
            shape.extend(slid(node, w.get(2..)?, x.get(2..)?)?);
            Some(shape)
        }
        "ConvTranspose" => conv_transpose(node, x, input(1)?),
        "MaxPool" | "AveragePool" | "QLinearAveragePool" => {
            let kernel: Option<Vec<usize>> =
                node.ints("kernel_shape")?.iter().map(|k| usize::try_from(*k).ok()).collect();
            let mut shape = x.get(..2)?.to_vec();
            shape.extend(slid(node, &kernel?, x.get(2..)?)?);
            Some(shape)
        }
        "GlobalAveragePool" | "GlobalMaxPool" | "QLinearGlobalAveragePool" => {
            let mut shape = vec![1; x.len()];
            shape.get_mut(..2)?.copy_from_slice(x.get(..2)?);
            Some(shape)
        }
        "Gemm" | "QGemm" => {
            let w = input(second)?;
            let m = if node.int("transA", 0) != 0 { x.get(1)? } else { x.first()? };
            let n = if node.int("transB", 0) != 0 { w.first()? } else { w.get(1)? };
            Some(vec![*m, *n])
        }
        "MatMul" | "MatMulInteger" | "QLinearMatMul" => matmul(x, input(second)?),
        "Transpose" => {
            let reversed: Vec<i64> = (0..x.len() as i64).rev().collect();
            let perm = node.ints("perm").unwrap_or(&reversed);
            perm.iter().map(|p| x.get(*p as usize).copied()).collect()
        }
        "Flatten" => {
            let axis = wrap(node.int("axis", 1), x.len())?;
            Some(vec![volume(&x[..axis])?, volume(&x[axis..])?])
        }
        "Reshape" => reshape(x, graph.0.get(node.input(1)?)?.as_i64()?, node.int("allowzero", 0) != 0),
        "ConstantOfShape" => sizes(graph, node.input(0)?),
        "Expand" => broadcast(x, &sizes(graph, node.input(1)?)?),
        "Tile" => {
            let repeats = sizes(graph, node.input(1)?)?;
            (repeats.len() == x.len()).then(|| x.iter().zip(&repeats).map(|(d, r)| d.saturating_mul(*r)).collect())
        }
        "Pad" => pad(graph, node, x),
        "Shape" => {
            let rank = x.len() as i64;
            let place = |i: i64| if i < 0 { i + rank } else { i }.clamp(0, rank);
            let [start, end] = [place(node.int("start", 0)), place(node.int("end", rank))];
            Some(vec![usize::try_from(end - start).unwrap_or(0)])
        }
        "Size" => Some(vec![]),
        "Squeeze" => {
            let axes = axes(graph, node, x.len())?;
            let keep = |i: &usize| if axes.is_empty() { x[*i] != 1 } else { !axes.contains(i) };
            Some((0..x.len()).filter(keep).map(|i| x[i]).collect())
        }
        "Unsqueeze" => {
            let rank = x.len()
                + node
                    .ints("axes")
                    .map_or_else(|| graph.0.get(node.input(1).unwrap_or("")).map_or(0, |c| c.len()), <[i64]>::len);
            let axes = axes(graph, node, rank).filter(|_| rank <= MAX_RANK)?;
            let mut rest = x.iter();
            (0..rank).map(|i| if axes.contains(&i) { Some(1) } else { rest.next().copied() }).collect()
        }
        "Concat" => {
            let parts: Option<Vec<&Vec<usize>>> = (0..node.inputs.len()).map(input).collect();
            concat(node, &parts?)
        }
        "Gather" => {
            let axis = wrap(node.int("axis", 0), x.len()).filter(|axis| *axis < x.len())?;
            Some([&x[..axis], input(1)?, &x[axis + 1..]].concat())
        }
        "GatherElements" => input(1).cloned(),
        "OneHot" => {
            let axis = node.int("axis", -1);
            let axis = wrap(if axis < 0 { axis + 1 + x.len() as i64 } else { axis }, x.len())?;
            let depth = graph.0.get(node.input(1)?)?.integers()?;
            let depth = usize::try_from(*depth.first()?).ok()?;
            Some([&x[..axis], &[depth], &x[axis..]].concat())
        }
        "Slice" => {
            let mut shape = x.clone();
            for (axis, cut) in slices(graph, node, x)? {
                shape[axis] = cut.count;
            }
            Some(shape)
        }
        "Resize" | RESIZE_BYTES => resize(graph, node, x),
        "DepthToSpace" | "SpaceToDepth" => {
            let block = usize::try_from(node.int("blocksize", 0)).ok().filter(|b| *b > 0)?;
            let [n, c, h, w] = x[..] else { return None };
            let area = block.checked_mul(block)?;
            if node.op == "DepthToSpace" {
                return (c.is_multiple_of(area))
                    .then(|| vec![n, c / area, h.saturating_mul(block), w.saturating_mul(block)]);
            }
            (h.is_multiple_of(block) && w.is_multiple_of(block))
                .then(|| vec![n, c.saturating_mul(area), h / block, w / block])
        }
        "TopK" => {
            let axis = wrap(node.int("axis", -1), x.len()).filter(|axis| *axis < x.len())?;
            let mut shape = x.clone();
            shape[axis] = *sizes(graph, node.input(1)?)?.first()?;
            Some(shape)
        }
        "ArgMax" | "ArgMin" => {
            let axis = wrap(node.int("axis", 0), x.len()).filter(|axis| *axis < x.len())?;
            Some(reduced(x, &[axis], node.int("keepdims", 1) != 0))
        }
        op if op.starts_with("Reduce") => {
            let mut axes = axes(graph, node, x.len())?;
            if axes.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
                return Some(x.clone());
            }
            if axes.is_empty() {
                axes = (0..x.len()).collect();
            }
            Some(reduced(x, &axes, node.int("keepdims", 1) != 0))
        }
        _ => None,
    }
}

fn reduced(x: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let dims = x.iter().enumerate();
    dims.filter_map(|(i, d)| if !axes.contains(&i) { Some(*d) } else { keep.then_some(1) }).collect()
}

fn concat(node: &Node, parts: &[&Vec<usize>]) -> Option<Vec<usize>> {
    let [first, rest @ ..] = parts else { return None };
    let axis = wrap(node.int("axis", 0), first.len()).filter(|axis| *axis < first.len())?;
    let mut shape = first.to_vec();
    for part in rest {
        let fits = part.len() == shape.len() && (0..shape.len()).all(|i| i == axis || part[i] == shape[i]);
        shape[axis] = fits.then(|| shape[axis].saturating_add(part[axis]))?;
    }
    Some(shape)
}

/// NumPy's product: a single dimension stands for a row on the left, for a column on the right.
fn matmul(x: &[usize], w: &[usize]) -> Option<Vec<usize>> {
    let (rows, columns) = (x.len() > 1, w.len() > 1);
    let (outer, m) = if rows { (&x[..x.len() - 2], x[x.len() - 2]) } else { (&[][..], *x.first()?) };
    let (behind, n) = if columns { (&w[..w.len() - 2], w[w.len() - 1]) } else { (&[][..], *w.first()?) };
    let mut shape = broadcast(outer, behind)?;
    shape.extend(rows.then_some(m));
    shape.extend(columns.then_some(n));
    Some(shape)
}

fn range(graph: Known, node: &Node) -> Option<Vec<usize>> {
    let number = |i: usize| match &graph.0.get(node.input(i)?)?.values {
        Values::F32(v) => v.get().first().map(|v| f64::from(*v)),
        Values::I32(v) => v.first().map(|v| f64::from(*v)),
        Values::I64(v) => v.first().map(|v| *v as f64),
        _ => None,
    };
    Some(vec![((number(1)? - number(0)?) / number(2)?).ceil().max(0.0) as usize])
}

/// The far and the near side of each dimension, an attribute in old operator sets, an input in new ones.
fn pad(graph: Known, node: &Node, x: &[usize]) -> Option<Vec<usize>> {
    let pads = match (node.ints("pads"), node.input(1)) {
        (Some(pads), _) => pads,
        (None, Some(name)) => graph.0.get(name)?.as_i64()?,
        (None, None) => return None,
    };
    let axes: Vec<usize> = match node.input(3) {
        Some(name) => graph.0.get(name)?.integers()?.iter().map(|a| wrap(*a, x.len())).collect::<Option<_>>()?,
        None => (0..x.len()).collect(),
    };
    let mut shape = x.to_vec();
    for (i, axis) in axes.iter().enumerate() {
        let around = pads.get(i)?.checked_add(*pads.get(i + axes.len())?)?;
        let size = shape.get_mut(*axis)?;
        *size = usize::try_from(i64::try_from(*size).ok()?.checked_add(around)?).ok()?;
    }
    (pads.len() == 2 * axes.len()).then_some(shape)
}

/// What a Slice takes of a dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub start: usize,
    pub step: i64,
    pub count: usize,
}

/// What a Slice with constant bounds takes, by dimension.
pub(super) fn slices(graph: Known, node: &Node, x: &[usize]) -> Option<Vec<(usize, Cut)>> {
    let list = |i: usize, name: &str| match (node.ints(name), node.input(i)) {
        (Some(list), _) => Some(list.to_vec()),
        (None, Some(input)) => graph.0.get(input)?.integers(),
        (None, None) => Some(vec![]),
    };
    let (starts, ends, axes) = (list(1, "starts")?, list(2, "ends")?, list(3, "axes")?);
    let steps = list(4, "")?;
    if starts.len() != ends.len() {
        return None;
    }
    let mut cuts: Vec<(usize, Cut)> = Vec::new();
    for (i, (start, end)) in starts.iter().zip(&ends).enumerate() {
        let axis = wrap(if axes.is_empty() { i as i64 } else { *axes.get(i)? }, x.len())?;
        let n = *x.get(axis)? as i64;
        let step = if steps.is_empty() { 1 } else { *steps.get(i)? };
        let wrapped = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        // Going backwards it can begin at the last and end before the first.
        let (start, end) = match step {
            0 => return None,
            1.. => (wrapped(*start).clamp(0, n), wrapped(*end).clamp(0, n)),
            _ => (wrapped(*start).clamp(-1, n - 1), wrapped(*end).clamp(-1, n - 1)),
        };
        let way = if step > 0 { end - start } else { start - end };
        let count = if way <= 0 { 0 } else { (way as u64).div_ceil(step.unsigned_abs()) as usize };
        if cuts.iter().any(|(before, _)| *before == axis) {
            return None;
        }
        cuts.push((axis, Cut { start: start.max(0) as usize, step, count }));
    }
    Some(cuts)
}

/// ONNX Split: sizes as an attribute, an input, or equal parts, of which the last may be smaller.
fn split(graph: Known, node: &Node, x: &[usize]) -> Option<Vec<Vec<usize>>> {
    let axis = wrap(node.int("axis", 0), x.len()).filter(|axis| *axis < x.len())?;
    let parts = node.outputs.len();
    let sizes = match (node.ints("split"), node.input(1)) {
        (Some(list), _) => list.iter().map(|n| usize::try_from(*n).ok()).collect::<Option<Vec<usize>>>()?,
        (None, Some(name)) => sizes(graph, name)?,
        (None, None) => {
            let each = x[axis].div_ceil(parts);
            (0..parts).map(|i| each.min(x[axis].saturating_sub(each.saturating_mul(i)))).collect()
        }
    };
    let whole = sizes.len() == parts && sizes.iter().try_fold(0usize, |sum, n| sum.checked_add(*n)) == Some(x[axis]);
    let shape = |n: &usize| [&x[..axis], &[*n], &x[axis + 1..]].concat();
    whole.then(|| sizes.iter().map(shape).collect())
}

/// By sizes, or by scales: `floor(size · scale)`.
fn resize(graph: Known, node: &Node, x: &[usize]) -> Option<Vec<usize>> {
    if !matches!(node.text("keep_aspect_ratio_policy"), "" | "stretch") {
        return None;
    }
    let axes: Vec<usize> = match node.ints("axes") {
        Some(axes) => axes.iter().map(|a| wrap(*a, x.len())).collect::<Option<_>>()?,
        None => (0..x.len()).collect(),
    };
    let given = |i: usize| node.input(i).and_then(|name| graph.0.get(name)).filter(|c| c.len() > 0);
    let (scales, sizes) = if graph.1 < 11 { (given(1), None) } else { (given(2), given(3)) };
    let mut shape = x.to_vec();
    match (scales.and_then(|c| c.as_f32()), sizes.and_then(|c| c.as_i64())) {
        (_, Some(sizes)) if sizes.len() == axes.len() => {
            for (axis, size) in axes.iter().zip(sizes) {
                *shape.get_mut(*axis)? = usize::try_from(*size).ok()?;
            }
        }
        (Some(scales), None) if scales.len() == axes.len() => {
            for (axis, scale) in axes.iter().zip(scales.iter()) {
                let size = shape.get_mut(*axis)?;
                *size = (*size as f32 * scale).floor().max(0.0) as usize;
            }
        }
        _ => return None,
    }
    Some(shape)
}

/// `stride · (size - 1) + output_padding + extent - pads` in each dimension, or what `output_shape` says.
fn conv_transpose(node: &Node, x: &[usize], w: &[usize]) -> Option<Vec<usize>> {
    let kernel = w.get(2..)?;
    let mut shape = vec![*x.first()?, w.get(1)?.checked_mul(usize::try_from(node.int("group", 1)).ok()?)?];
    let of = |name: &str, i: usize, default: i64| node.ints(name).and_then(|v| v.get(i)).copied().unwrap_or(default);
    for (i, k) in kernel.iter().enumerate() {
        let (size, stride) = (i64::try_from(*x.get(i + 2)?).ok()?, of("strides", i, 1));
        let extent = i64::try_from(*k).ok()?.checked_sub(1)?.checked_mul(of("dilations", i, 1))?.checked_add(1)?;
        let same = node.text("auto_pad").starts_with("SAME");
        let length = match node.ints("output_shape") {
            Some(wanted) => *wanted.get(i)?,
            None if same => size.checked_mul(stride)?,
            None => {
                let pads = of("pads", i, 0).checked_add(of("pads", i + kernel.len(), 0))?;
                let extent = stride.checked_mul(size.checked_sub(1)?)?.checked_add(extent)?;
                extent.checked_add(of("output_padding", i, 0))?.checked_sub(pads)?
            }
        };
        shape.push(usize::try_from(length).ok()?);
    }
    Some(shape)
}

/// A constant list of sizes.
fn sizes(graph: Known, name: &str) -> Option<Vec<usize>> {
    graph.0.get(name)?.as_i64()?.iter().map(|d| usize::try_from(*d).ok()).collect()
}

/// Axes of a Squeeze, Unsqueeze or Reduce: an attribute in old operator sets, an input in new ones.
pub(super) fn axes(graph: Known, node: &Node, rank: usize) -> Option<Vec<usize>> {
    let list = match (node.ints("axes"), node.input(1)) {
        (Some(list), _) => list,
        (None, Some(name)) => graph.0.get(name)?.as_i64()?,
        (None, None) => &[],
    };
    list.iter().map(|a| wrap(*a, rank)).collect()
}

/// A dimension counted from the front; negative ones count from the back.
pub(super) fn wrap(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|a| *a <= rank)
}

pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// ONNX Reshape: 0 keeps a dimension, -1 takes what is left.
fn reshape(x: &[usize], target: &[i64], allow_zero: bool) -> Option<Vec<usize>> {
    let whole = volume(x)?;
    let mut shape = Vec::new();
    for (i, d) in target.iter().enumerate() {
        shape.push(match d {
            0 if !allow_zero => *x.get(i)?,
            -1 => 1,
            d => usize::try_from(*d).ok()?,
        });
    }
    if let Some(free) = target.iter().position(|d| *d == -1) {
        shape[free] = whole.checked_div(volume(&shape)?)?;
    }
    (volume(&shape)? == whole).then_some(shape)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::AttributeProto;

    use super::*;

    #[test]
    fn reshape_as_onnx_says() {
        assert_eq!(reshape(&[1, 8, 7, 7], &[0, -1, 49], false), Some(vec![1, 8, 49]));
        assert_eq!(reshape(&[1, 8], &[3, 3], false), None);
        assert_eq!(reshape(&[2, 0], &[0, -1], true), None);
    }

    #[test]
    fn broadcast_as_numpy() {
        assert_eq!(broadcast(&[1, 8, 7, 7], &[1, 1, 7, 7]), Some(vec![1, 8, 7, 7]));
        assert_eq!(broadcast(&[3], &[2, 1]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[3], &[2]), None);
    }

    #[test]
    fn windows_as_onnx_says() {
        let pool = |ceil| {
            Node::new("MaxPool", "", &["x"], "y")
                .with_ints("strides", &[2, 2])
                .with_ints("pads", &[0, 0, 0, 0])
                .with_int("ceil_mode", ceil)
        };
        let out = |node: &Node, n| Sliding::of(node, &[3, 3]).unwrap().output([n, n]).unwrap()[0];
        assert_eq!((out(&pool(0), 8), out(&pool(1), 8)), (3, 4));
        assert_eq!(out(&pool(1), 7), 3);
        let mut valid = pool(1);
        valid.attributes.push(AttributeProto { name: "auto_pad".into(), s: b"VALID".into(), ..Default::default() });
        assert_eq!(out(&valid, 8), 3);
    }
}
