//! Shapes of the tensors of a graph, as far as lowering needs them.
//!
//! tract infers the shapes of what it runs. What goes into int8 programs never reaches tract, so its shapes are
//! computed here; a tensor of unknown shape merely stays with tract.

use std::collections::HashMap;

use super::graph::{Graph, Node, Values};
use super::operators::{DEQUANTISE, DISTANCES, PROGRAM, QUANTISE};

/// Shape by tensor name.
pub(super) type Shapes = HashMap<String, Vec<usize>>;

/// Infers what can be inferred, in graph order.
pub(super) fn infer(graph: &Graph) -> Shapes {
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
        } else if let Some(shape) = of_node(graph, &shapes, node) {
            shapes.insert(node.output().to_string(), shape);
        }
    }
    shapes
}

fn of_node(graph: &Graph, shapes: &Shapes, node: &Node) -> Option<Vec<usize>> {
    let input = |i: usize| node.input(i).and_then(|name| shapes.get(name));
    let x = input(0)?;
    match node.op.as_str() {
        QUANTISE | DEQUANTISE | "Relu" | "LeakyRelu" | "Sigmoid" | "Tanh" | "Clip" | "HardSigmoid" | "HardSwish"
        | "Softmax" | "Sqrt" | "Exp" | "Log" | "Abs" | "Neg" | "Identity" | "Elu" | "Erf" | "Softplus"
        | "Reciprocal" | "Floor" | "Ceil" | "Round" => Some(x.clone()),
        "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Pow" if node.inputs.len() == 2 => broadcast(x, input(1)?),
        "Conv" => {
            let w = input(1)?;
            let window = Sliding::of(node, w.get(2..)?)?;
            let [n, _, h, w_in] = *x.as_slice() else { return None };
            let [oh, ow] = window.output([h, w_in])?;
            Some(vec![n, w[0], oh, ow])
        }
        "MaxPool" | "AveragePool" => {
            let kernel: Vec<usize> = node.ints("kernel_shape")?.iter().map(|k| *k as usize).collect();
            let window = Sliding::of(node, &kernel)?;
            let [n, c, h, w] = *x.as_slice() else { return None };
            let [oh, ow] = window.output([h, w])?;
            Some(vec![n, c, oh, ow])
        }
        "GlobalAveragePool" | "GlobalMaxPool" => match *x.as_slice() {
            [n, c, _, _] => Some(vec![n, c, 1, 1]),
            _ => None,
        },
        "Gemm" => {
            let w = input(1)?;
            let m = if node.int("transA", 0) != 0 { x.get(1)? } else { x.first()? };
            let n = if node.int("transB", 0) != 0 { w.first()? } else { w.get(1)? };
            Some(vec![*m, *n])
        }
        "MatMul" => {
            let w = input(1)?;
            let (rx, rw) = (x.len(), w.len());
            if rx < 2 || rw < 2 {
                return None;
            }
            let mut shape = broadcast(&x[..rx - 2], &w[..rw - 2])?;
            shape.extend([x[rx - 2], w[rw - 1]]);
            Some(shape)
        }
        "Transpose" => {
            let reversed: Vec<i64> = (0..x.len() as i64).rev().collect();
            let perm = node.ints("perm").unwrap_or(&reversed);
            perm.iter().map(|p| x.get(*p as usize).copied()).collect()
        }
        "Flatten" => {
            let axis = wrap(node.int("axis", 1), x.len())?;
            Some(vec![x[..axis].iter().product(), x[axis..].iter().product()])
        }
        "Reshape" => reshape(x, graph.consts.get(node.input(1)?)?.as_i64()?, node.int("allowzero", 0) != 0),
        "ConstantOfShape" => sizes(graph, node.input(0)?),
        "Expand" => broadcast(x, &sizes(graph, node.input(1)?)?),
        "Tile" => {
            let repeats = sizes(graph, node.input(1)?)?;
            (repeats.len() == x.len()).then(|| x.iter().zip(&repeats).map(|(d, r)| d.saturating_mul(*r)).collect())
        }
        "Pad" => {
            let pads = match node.input(1) {
                Some(name) if node.input(3).is_none() => sizes(graph, name)?,
                _ => return None,
            };
            let around = |(i, d): (usize, &usize)| d.saturating_add(pads[i]).saturating_add(pads[i + x.len()]);
            (pads.len() == 2 * x.len()).then(|| x.iter().enumerate().map(around).collect())
        }
        "Range" => {
            let number = |i: usize| match &graph.consts.get(node.input(i)?)?.values {
                Values::F32(v) => v.first().map(|v| f64::from(*v)),
                Values::I32(v) => v.first().map(|v| f64::from(*v)),
                Values::I64(v) => v.first().map(|v| *v as f64),
                _ => None,
            };
            Some(vec![((number(1)? - number(0)?) / number(2)?).ceil().max(0.0) as usize])
        }
        "Squeeze" => {
            let axes = axes(graph, node, x.len())?;
            let keep = |i: &usize| if axes.is_empty() { x[*i] != 1 } else { !axes.contains(i) };
            Some((0..x.len()).filter(keep).map(|i| x[i]).collect())
        }
        "Unsqueeze" => {
            let rank = x.len()
                + node
                    .ints("axes")
                    .map_or_else(|| graph.consts.get(node.input(1).unwrap_or("")).map_or(0, |c| c.len()), <[i64]>::len);
            let axes = axes(graph, node, rank)?;
            let mut rest = x.iter();
            (0..rank).map(|i| if axes.contains(&i) { Some(1) } else { rest.next().copied() }).collect()
        }
        "Concat" => {
            let axis = wrap(node.int("axis", 0), x.len()).filter(|axis| *axis < x.len())?;
            let mut shape = x.clone();
            for i in 1..node.inputs.len() {
                shape[axis] = shape[axis].saturating_add(*input(i)?.get(axis)?);
            }
            Some(shape)
        }
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL2" => {
            let mut axes = axes(graph, node, x.len())?;
            if axes.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
                return Some(x.clone());
            }
            if axes.is_empty() {
                axes = (0..x.len()).collect();
            }
            let keep = node.int("keepdims", 1) != 0;
            let dims = x.iter().enumerate();
            Some(dims.filter_map(|(i, d)| if !axes.contains(&i) { Some(*d) } else { keep.then_some(1) }).collect())
        }
        _ => None,
    }
}

/// A constant list of sizes.
fn sizes(graph: &Graph, name: &str) -> Option<Vec<usize>> {
    graph.consts.get(name)?.as_i64()?.iter().map(|d| usize::try_from(*d).ok()).collect()
}

/// Axes of a Squeeze, Unsqueeze or Reduce: an attribute in old operator sets, an input in new ones.
pub(super) fn axes(graph: &Graph, node: &Node, rank: usize) -> Option<Vec<usize>> {
    let list = match (node.ints("axes"), node.input(1)) {
        (Some(list), _) => list,
        (None, Some(name)) => graph.consts.get(name)?.as_i64()?,
        (None, None) => &[],
    };
    list.iter().map(|a| wrap(*a, rank)).collect()
}

/// A dimension counted from the front; negative ones count from the back.
pub(super) fn wrap(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|a| *a <= rank)
}

fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
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
    let volume: usize = x.iter().product();
    let mut shape = Vec::new();
    for (i, d) in target.iter().enumerate() {
        shape.push(match d {
            0 if !allow_zero => *x.get(i)?,
            -1 => 1,
            d => usize::try_from(*d).ok()?,
        });
    }
    if let Some(free) = target.iter().position(|d| *d == -1) {
        let rest: usize = shape.iter().product();
        shape[free] = volume.checked_div(rest)?;
    }
    (shape.iter().product::<usize>() == volume).then_some(shape)
}

/// The window of a Conv or pool with its padding resolved.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sliding {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// top, left, bottom, right; unresolved for `auto_pad`
    pads: Option<[usize; 4]>,
    upper: bool,
    ceil: bool,
}

impl Sliding {
    /// The window that the node's attributes describe, over two dimensions; `None` for what no window here has.
    pub fn of(node: &Node, kernel: &[usize]) -> Option<Sliding> {
        let [kh, kw] = *kernel else { return None };
        let pair = |name: &str| match node.ints(name) {
            None => Some([1, 1]),
            Some([a, b]) if *a > 0 && *b > 0 => Some([*a as usize, *b as usize]),
            _ => None,
        };
        let pads = match node.text("auto_pad") {
            "" | "NOTSET" => match node.ints("pads") {
                None => Some([0; 4]),
                Some([t, l, b, r]) if [t, l, b, r].iter().all(|p| **p >= 0) => {
                    Some([*t as usize, *l as usize, *b as usize, *r as usize])
                }
                _ => return None,
            },
            "VALID" => Some([0; 4]),
            "SAME_UPPER" | "SAME_LOWER" => None,
            _ => return None,
        };
        Some(Sliding {
            kernel: [kh, kw],
            stride: pair("strides")?,
            dilation: pair("dilations")?,
            pads,
            upper: node.text("auto_pad") != "SAME_LOWER",
            // For VALID, ONNX's formula comes to the same with and without.
            ceil: node.int("ceil_mode", 0) != 0 && node.text("auto_pad") != "VALID",
        })
    }

    fn extent(&self, i: usize) -> usize {
        self.kernel[i].saturating_sub(1).saturating_mul(self.dilation[i]).saturating_add(1)
    }

    /// Height and width of the output, at least 1 each.
    pub fn output(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        if self.kernel.contains(&0) {
            return None;
        }
        let mut out = [0; 2];
        for i in 0..2 {
            out[i] = match self.pads {
                None => input[i].div_ceil(self.stride[i]),
                Some(pads) => {
                    let padded = input[i].checked_add(pads[i])?.checked_add(pads[i + 2])?;
                    let room = padded.checked_sub(self.extent(i))?;
                    let mut n = if self.ceil { room.div_ceil(self.stride[i]) } else { room / self.stride[i] } + 1;
                    // A window that would begin beyond the input and its left padding does not count (ONNX MaxPool).
                    if self.ceil && (n - 1).saturating_mul(self.stride[i]) >= input[i] + pads[i] {
                        n -= 1;
                    }
                    n
                }
            };
        }
        Some(out)
    }

    /// Rows above and columns left of the map.
    pub fn lead(&self, input: [usize; 2]) -> Option<[usize; 2]> {
        if let Some(pads) = self.pads {
            return Some([pads[0], pads[1]]);
        }
        let output = self.output(input)?;
        let mut lead = [0; 2];
        for i in 0..2 {
            let covered = (output[i] - 1).saturating_mul(self.stride[i]).saturating_add(self.extent(i));
            let total = covered.saturating_sub(input[i]);
            lead[i] = if self.upper { total / 2 } else { total.div_ceil(2) };
        }
        Some(lead)
    }

    /// Whether any place outside the map is under a window, as the file pads it.
    pub fn is_padded(&self) -> bool {
        self.pads != Some([0; 4])
    }

    pub fn ceils(&self) -> bool {
        self.ceil
    }
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
