//! Nodes whose attributes tract passes over, written as nodes that say the same without them.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Const, Graph, Node, Values};
use super::shapes::{self, Shapes};
use crate::error::UnsupportedNode;

/// Rewrites the nodes of a graph in normal form; gives those for which that takes shapes that are not known.
pub(super) fn rewrite(graph: &mut Graph) -> Vec<UnsupportedNode> {
    if !graph.nodes.iter().any(concerns) {
        return Vec::new();
    }
    let shapes = shapes::infer(graph);
    let mut unsupported = Vec::new();
    let nodes = std::mem::take(&mut graph.nodes);
    let mut rewriter = Rewriter { nodes: Vec::with_capacity(nodes.len()), consts: HashMap::new(), shapes };
    for node in nodes {
        if !concerns(&node) {
            rewriter.nodes.push(node);
        } else if let Err(reason) = rewriter.node(node.clone()) {
            unsupported.push(node.unsupported(reason));
        }
    }
    graph.nodes = rewriter.nodes;
    graph.consts.extend(rewriter.consts);
    unsupported
}

/// Whether something of the node is to be said in another way.
fn concerns(node: &Node) -> bool {
    match node.op.as_str() {
        "Swish" | "Celu" => node.float("alpha", 1.0) != 1.0,
        "SpaceToDepth" => node.text("mode") == "CRD",
        "Pad" => fills_without_value(node),
        "Sum" | "Mean" => node.inputs.len() > 1,
        "ConvTranspose" => pads_itself(node) || node.attribute("output_shape").is_some(),
        _ => pads_itself(node) && node.attribute("pads").is_some(),
    }
}

/// Whether the window's padding follows from sizes. Pads beside that are 0, for `attributes` refuses all others.
fn pads_itself(node: &Node) -> bool {
    matches!(node.text("auto_pad"), "SAME_UPPER" | "SAME_LOWER" | "VALID")
}

/// A Pad with a value that its mode does not use, which tract would fill with all the same.
fn fills_without_value(node: &Node) -> bool {
    !matches!(node.text("mode"), "" | "constant") && node.input(2).is_some()
}

struct Rewriter<'a> {
    nodes: Vec<Node>,
    consts: HashMap<String, Arc<Const<'a>>>,
    shapes: Shapes,
}

impl Rewriter<'_> {
    fn node(&mut self, mut node: Node) -> Result<(), String> {
        match node.op.as_str() {
            "Swish" => self.swish(&node),
            "Celu" => self.celu(&node),
            "SpaceToDepth" => self.space_to_depth(&node)?,
            "Sum" | "Mean" => self.sum(&node),
            "ConvTranspose" => {
                self.conv_transpose(&mut node)?;
                self.nodes.push(node);
            }
            "Pad" => {
                node.inputs[2].clear();
                self.nodes.push(node);
            }
            _ => {
                node.attributes.retain(|a| a.name != "pads");
                self.nodes.push(node);
            }
        }
        Ok(())
    }

    /// Name of the tensor `part` between the nodes that `node` becomes.
    fn between(node: &Node, part: &str) -> String {
        format!("{}/oltr.{part}", node.output())
    }

    fn number(&mut self, node: &Node, part: &str, value: f32) -> String {
        let name = Self::between(node, part);
        self.consts.insert(name.clone(), Const::floats(&[], vec![value]));
        name
    }

    /// x · sigmoid(alpha · x)
    fn swish(&mut self, node: &Node) {
        let (x, y) = (&node.inputs[0], node.output());
        let alpha = self.number(node, "alpha", node.float("alpha", 1.0));
        let (scaled, gate) = (Self::between(node, "scaled"), Self::between(node, "gate"));
        self.nodes.push(Node::new("Mul", &scaled, &[x, &alpha], &scaled));
        self.nodes.push(Node::new("Sigmoid", &gate, &[&scaled], &gate));
        self.nodes.push(Node::new("Mul", node.label(), &[x, &gate], y));
    }

    /// alpha · elu(x / alpha), which for the positive alphas that `attributes` lets in is what ONNX says.
    fn celu(&mut self, node: &Node) {
        let (x, y, alpha) = (&node.inputs[0], node.output(), node.float("alpha", 1.0));
        let (by, back) = (self.number(node, "alpha", alpha), self.number(node, "alpha.again", alpha));
        let (scaled, bent) = (Self::between(node, "scaled"), Self::between(node, "bent"));
        self.nodes.push(Node::new("Div", &scaled, &[x, &by], &scaled));
        self.nodes.push(Node::new("Elu", &bent, &[&scaled], &bent));
        self.nodes.push(Node::new("Mul", node.label(), &[&bent, &back], y));
    }

    /// One addition after the other; layers are for two operands.
    fn sum(&mut self, node: &Node) {
        let (mean, last) = (node.op == "Mean", node.inputs.len() - 1);
        let mut total = node.inputs[0].clone();
        for (i, x) in node.inputs.iter().enumerate().skip(1) {
            let to = match i == last && !mean {
                true => node.output().to_string(),
                false => Self::between(node, &format!("sum{i}")),
            };
            self.nodes.push(Node::new("Add", node.label(), &[&total, x], &to));
            total = to;
        }
        if mean {
            let count = self.number(node, "count", node.inputs.len() as f32);
            self.nodes.push(Node::new("Div", node.label(), &[&total, &count], node.output()));
        }
    }

    /// Channels before the places within a block, where tract has them behind.
    fn space_to_depth(&mut self, node: &Node) -> Result<(), String> {
        let (x, y, block) = (&node.inputs[0], node.output(), node.int("blocksize", 1));
        let Some([n, c, h, w]) = self.shapes.get(x).map(Vec::as_slice) else {
            return Err("mode CRD of a tensor whose shape is not known before the graph runs".into());
        };
        let [n, c, h, w] = [*n as i64, *c as i64, *h as i64, *w as i64];
        if block < 1 || h % block != 0 || w % block != 0 {
            return Err(format!("cuts a map of {h}×{w} into blocks of {block}"));
        }
        let (split, turned) = (Self::between(node, "split"), Self::between(node, "turned"));
        let (from, to) = (Self::between(node, "split.shape"), Self::between(node, "shape"));
        self.sizes(&from, vec![n, c, h / block, block, w / block, block]);
        self.sizes(&to, vec![n, c * block * block, h / block, w / block]);
        self.nodes.push(Node::new("Reshape", &split, &[x, &from], &split));
        self.nodes.push(Node::new("Transpose", &turned, &[&split], &turned).with_ints("perm", &[0, 1, 3, 5, 2, 4]));
        self.nodes.push(Node::new("Reshape", node.label(), &[&turned, &to], y));
        Ok(())
    }

    fn sizes(&mut self, name: &str, sizes: Vec<i64>) {
        let values = Values::I64(sizes.clone());
        self.consts.insert(name.into(), Arc::new(Const { shape: vec![sizes.len()], values }));
    }

    /// Writes padding that follows from the size of the output as pads.
    fn conv_transpose(&mut self, node: &mut Node) -> Result<(), String> {
        let padding = node.text("auto_pad").to_string();
        let same = padding.starts_with("SAME");
        if !same && node.attribute("output_shape").is_none() {
            // VALID: none.
            node.attributes.retain(|a| !matches!(a.name.as_str(), "auto_pad" | "pads"));
            return Ok(());
        }
        let window = node.input(1).and_then(|w| self.shapes.get(w)).and_then(|w| w.get(2..));
        let map = self.shapes.get(&node.inputs[0]).and_then(|x| x.get(2..));
        let (Some(window), Some(map)) = (window, map) else {
            return Err("its padding follows from a shape that is not known before the graph runs".into());
        };
        let rank = window.len();
        let of =
            |name: &str, i: usize, default: i64| node.ints(name).and_then(|v| v.get(i)).copied().unwrap_or(default);
        let (mut pads, mut extra) = (vec![0; 2 * rank], vec![0; rank]);
        for i in 0..rank {
            let (stride, size) = (of("strides", i, 1), *map.get(i).ok_or("its map and window differ in rank")? as i64);
            let extent = (window[i] as i64 - 1) * of("dilations", i, 1) + 1;
            let wanted = match node.ints("output_shape") {
                Some(shape) => *shape.get(i).ok_or("its output_shape and window differ in rank")?,
                None => size * stride,
            };
            let own = of("output_padding", i, 0);
            let total = stride * (size - 1) + own + extent - wanted;
            // What is wanted beyond the last window is empty, and less than another window.
            extra[i] = own + (-total).max(0);
            if total < 0 && extra[i] >= stride.max(of("dilations", i, 1)) {
                return Err(format!("its output_shape asks for {wanted}, which is beyond its last window"));
            }
            let total = total.max(0);
            pads[i] = if padding == "SAME_UPPER" { total / 2 } else { total - total / 2 };
            pads[i + rank] = total - pads[i];
        }
        node.attributes.retain(|a| !matches!(a.name.as_str(), "auto_pad" | "pads" | "output_shape" | "output_padding"));
        let bare = std::mem::replace(node, Node::new("", "", &[], ""));
        *node = bare.with_ints("pads", &pads).with_ints("output_padding", &extra);
        Ok(())
    }
}
