//! One normal form for every way in which a file can be quantised: dequantise → operator → quantise.
//!
//! QOperator nodes (`QLinearConv`, `com.microsoft.QLinearAdd`, …) become their float operator between
//! DequantizeLinear and QuantizeLinear nodes, which is what they mean. Integer nodes that only move bytes (a Reshape
//! of uint8) get the same dress. Afterwards every QuantizeLinear and DequantizeLinear has three inputs, Constant and
//! Identity nodes are gone, and no other node touches a quantised tensor. What follows from constants alone is computed
//! on the way (`fold`), so that weights and zero points are constants whatever an exporter wrote before them.

mod bytes;
mod dynamic;
mod weights;
mod wide;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::fold::{Budget, fold};
use super::graph::{Const, Graph, Node, Values, Why, constant, is_onnx};
use super::operators::{DEQUANTISE, QUANTISE};
use super::origin::Raw;
use super::shapes::{self, Shapes};
use crate::error::{Result, UnsupportedNode};
use crate::limits::Limits;
use bytes::MOVES;

/// ONNX's numbers of the types that a Q node may name.
const UINT8: i64 = 2;
const INT8: i64 = 3;

/// ONNX's numbers of the types that a Cast of numbers may name.
const FLOAT32: i64 = 1;
const FLOAT16: i64 = 10;

/// Operators whose result is no float tensor, or not of the type of their first operand.
const NO_FLOATS: [&str; 25] = [
    "And",
    "ArgMax",
    "ArgMin",
    "Cast",
    "Constant",
    "ConstantOfShape",
    "ConvInteger",
    "DynamicQuantizeLinear",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "MatMulInteger",
    "Not",
    "OneHot",
    "Or",
    QUANTISE,
    "Range",
    "Shape",
    "Size",
    "Where",
    "Xor",
];

/// Brings the graph into normal form; gives the nodes that it cannot express.
pub(super) fn normalise(model: &str, graph: &mut Graph, limits: &Limits) -> Result<Vec<UnsupportedNode>> {
    let nodes = std::mem::take(&mut graph.nodes);
    let mut consts = std::mem::take(&mut graph.consts);
    let halves = nodes.iter().any(|n| {
        let scale = n.input(1).and_then(|s| consts.get(s));
        (n.op == QUANTISE || n.op == DEQUANTISE) && scale.is_some_and(|s| s.halves().is_some())
    });
    if halves {
        // Half precision is a choice of memory: in single precision the same numbers are computed with less error.
        for constant in consts.values_mut() {
            if let Some(values) = constant.halves() {
                *constant = Const::floats(&constant.shape.clone(), values);
            }
        }
    }
    let mut shapes: Shapes = graph.inputs.iter().cloned().collect();
    shapes.extend(consts.iter().map(|(name, c)| (name.clone(), c.shape.clone())));
    let mut pass = Pass {
        out: Vec::with_capacity(nodes.len()),
        budget: Budget::new(&consts, limits),
        consts,
        shapes,
        floats: graph.inputs.iter().map(|(name, _)| name.clone()).collect(),
        halves,
        renamed: HashMap::new(),
        bytes: HashMap::new(),
        quantised: HashMap::new(),
        unsupported: Vec::new(),
        lost: HashSet::new(),
        weights: HashMap::new(),
        sums: HashMap::new(),
        ranges: HashMap::new(),
        why: HashMap::new(),
        fresh: 0,
        seen: 0,
        opset: graph.opset,
    };
    for mut node in nodes {
        for input in &mut node.inputs {
            if let Some(name) = pass.renamed.get(input) {
                input.clone_from(name);
            }
        }
        let is_output = node.outputs.iter().any(|o| graph.outputs.contains(o));
        if node.is("Constant") {
            pass.constant(model, node, limits)?;
        } else if let Some(sums) = pass.sums_as_floats(&node).filter(|_| !is_output).cloned() {
            pass.renamed.insert(node.outputs.remove(0), sums);
        } else if pass.is_identity(&node) {
            if is_output {
                pass.out.push(Node::new("Identity", &node.name, &[&node.inputs[0]], node.output()));
            } else {
                let (from, to) = (node.inputs.remove(0), node.outputs.remove(0));
                pass.renamed.insert(to, from);
            }
        } else if is_output || !pass.folded(&node) {
            pass.node(node, is_output);
        }
        pass.look();
    }
    graph.nodes = pass.out;
    graph.consts = pass.consts;
    graph.why = pass.why;
    Ok(pass.unsupported)
}

struct Pass<'a> {
    out: Vec<Node>,
    consts: HashMap<String, Arc<Const<'a>>>,
    /// Shapes, as far as the nodes before tell them.
    shapes: Shapes,
    /// Tensors of f32 values.
    floats: HashSet<String>,
    /// Whether the file computes in half precision what is computed in single precision here.
    halves: bool,
    budget: Budget,
    renamed: HashMap<String, String>,
    /// What Q nodes compute: by operand, bits of the scale, zero point and type.
    bytes: HashMap<(String, u32, i32, &'static str), String>,
    /// Scale and zero point names of each quantised tensor.
    quantised: HashMap<String, (String, String)>,
    unsupported: Vec<UnsupportedNode>,
    /// What refused nodes would compute: not the fault of those that read it.
    lost: HashSet<String>,
    /// The DQ nodes of constants, by what they compute.
    weights: HashMap<String, Node>,
    /// Integer sums that are computed as floats, and those floats.
    sums: HashMap<String, String>,
    /// Activations of 16 bits, which are numbers kept within their range.
    ranges: HashMap<String, wide::Range>,
    /// As in [`Graph`].
    why: HashMap<String, Why>,
    fresh: usize,
    /// How many nodes of `out` were looked at.
    seen: usize,
    opset: i64,
}

impl Pass<'_> {
    /// Whether the node's results follow from constants; they then are constants.
    fn folded(&mut self, node: &Node) -> bool {
        self.know(node);
        let Some(values) = fold(node, (&self.consts, self.opset), &self.shapes, &mut self.budget) else { return false };
        for (name, value) in node.outputs.iter().zip(values).filter(|(name, _)| !name.is_empty()) {
            self.consts.insert(name.clone(), Arc::new(value));
        }
        true
    }

    /// Sees to it that the shapes of a node's constants are known.
    fn know(&mut self, node: &Node) {
        for input in &node.inputs {
            if let Some(constant) = self.consts.get(input)
                && !self.shapes.contains_key(input)
            {
                self.shapes.insert(input.clone(), constant.shape.clone());
            }
        }
    }

    /// Notes shapes and types of what the nodes since the last call compute.
    fn look(&mut self) {
        for at in self.seen..self.out.len() {
            let node = self.out[at].clone();
            self.know(&node);
            shapes::add((&self.consts, self.opset), &mut self.shapes, &node);
            if node.op == DEQUANTISE && self.consts.contains_key(&node.inputs[0]) {
                self.weights.insert(node.output().to_string(), node.clone());
            }
            let float = |name: &str| {
                self.floats.contains(name) || self.consts.get(name).is_some_and(|c| matches!(c.values, Values::F32(_)))
            };
            let floats = match node.op.as_str() {
                DEQUANTISE => true,
                "Cast" => node.int("to", 0) == FLOAT32,
                op => !NO_FLOATS.contains(&op) && node.input(0).is_some_and(float),
            };
            if floats {
                self.floats.insert(node.output().to_string());
            }
        }
        self.seen = self.out.len();
    }

    /// A tensor name that no file uses.
    fn fresh(&mut self, base: &str) -> String {
        self.fresh += 1;
        format!("{base}/oltr.{}", self.fresh)
    }

    fn refuse(&mut self, node: &Node, reason: impl Into<String>) {
        self.unsupported.push(node.unsupported(reason));
        self.lost.extend(node.outputs.iter().cloned());
    }

    fn constant(&mut self, model: &str, mut node: Node, limits: &Limits) -> Result<()> {
        let floats =
            |a: &[f32], shape: &[usize]| Const { shape: shape.to_vec(), values: Values::F32(a.to_vec().into()) };
        let integers = |a: &[i64], shape: &[usize]| Const { shape: shape.to_vec(), values: Values::I64(a.to_vec()) };
        let tensor = node.attributes.first_mut().filter(|a| a.name == "value").and_then(|a| a.t.take());
        if let Some(mut tensor) = tensor {
            let raw = std::mem::take(&mut tensor.raw_data);
            let value = constant(model, node.output(), tensor, Raw::Own(raw), limits)?;
            self.consts.insert(node.output().to_string(), Arc::new(value));
            return Ok(());
        }
        let value = match node.attributes.first() {
            Some(a) if a.name.starts_with("value_float") && a.floats.iter().chain([&a.f]).any(|f| f.is_nan()) => {
                self.refuse(&node, "holds NaN; the training or export went wrong");
                return Ok(());
            }
            Some(a) if a.name == "value_float" => floats(&[a.f], &[]),
            Some(a) if a.name == "value_floats" => floats(&a.floats, &[a.floats.len()]),
            Some(a) if a.name == "value_int" => integers(&[a.i], &[]),
            Some(a) if a.name == "value_ints" => integers(&a.ints, &[a.ints.len()]),
            _ => {
                self.refuse(&node, "its value is neither numbers nor a dense tensor");
                return Ok(());
            }
        };
        self.consts.insert(node.output().to_string(), Arc::new(value));
        Ok(())
    }

    fn node(&mut self, mut node: Node, is_output: bool) {
        let quantiser = node.op == QUANTISE || node.op == DEQUANTISE;
        if quantiser && (is_onnx(&node.domain) || node.domain == "com.microsoft") {
            node.domain.clear();
            return self.quantiser(node, is_output);
        }
        if self.moves_wide(&node, is_output) {
            return;
        }
        let microsoft = node.domain == "com.microsoft";
        match node.op.as_str() {
            "QLinearConv" if is_onnx(&node.domain) => self.conv(node),
            "QLinearMatMul" if is_onnx(&node.domain) => self.matmul(node),
            "QGemm" if microsoft => self.gemm(node),
            "QLinearAdd" | "QLinearMul" if microsoft => self.binary(node),
            "QLinearConcat" if microsoft => self.concat(node),
            "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax" if microsoft => self.unary(node),
            "QLinearGlobalAveragePool" | "QLinearAveragePool" if microsoft => {
                if node.int("channels_last", 0) != 0 {
                    return self.refuse(&node, "channels_last is not supported; export in NCHW order");
                }
                node.attributes.retain(|a| a.name != "channels_last");
                self.unary(node)
            }
            "Split" if is_onnx(&node.domain) && self.opset >= 10 && self.sliced(&node) => {}
            _ if self.ordered_weights(&node) || self.integer_product(&node) => {}
            op if MOVES.contains(&op) && self.moves_bytes(&node) => self.moved(node),
            _ => self.out.push(node),
        }
    }

    /// A Q or DQ node of the file itself: its zero point is spelt out.
    fn quantiser(&mut self, mut node: Node, is_output: bool) {
        if self.wide(&node, is_output) {
            return;
        }
        let Some(scale) = node.input(1).map(str::to_string) else {
            return self.refuse(&node, "has no scale");
        };
        let Some(scales) = self.consts.get(&scale).cloned() else {
            return self.refuse(&node, "its scale is computed at run time; quantise the model statically");
        };
        if node.input(2).is_none() {
            // ONNX: what is dequantised has the zero of its own type; what is quantised becomes uint8 where nothing else
            // is said.
            let own = self.quantised.get(&node.inputs[0]).map_or(&node.inputs[0], |(_, zero)| zero);
            let dtype = match (node.op.as_str(), node.int("output_dtype", 0)) {
                (QUANTISE, 0 | UINT8) => Some("u8"),
                (QUANTISE, INT8) => Some("i8"),
                (QUANTISE, _) => {
                    return self.refuse(&node, "its output_dtype is neither uint8 nor int8; quantise to 8 bits");
                }
                _ => self.consts.get(own).map(|c| c.values.dtype()),
            };
            let zeros = vec![0u8; scales.len()];
            let values = match dtype {
                Some("i8") => Values::I8(Raw::Own(zeros)),
                Some("i32") => Values::I32(vec![0; scales.len()]),
                _ => Values::U8(Raw::Own(zeros)),
            };
            let name = self.fresh(node.output());
            self.consts.insert(name.clone(), Arc::new(Const { shape: scales.shape.clone(), values }));
            node.inputs.truncate(2);
            node.inputs.push(name);
        }
        let own = self.consts.get(&node.inputs[2]).map(|c| c.values.dtype());
        let said = match node.int("output_dtype", 0) {
            _ if node.op == DEQUANTISE => own,
            0 => own,
            UINT8 => Some("u8"),
            INT8 => Some("i8"),
            _ => None,
        };
        if said != own {
            return self.refuse(&node, "its output_dtype is not the type of its zero point; export it again");
        }
        if let Err(reason) = self.check_parameters(&scale, &node.inputs[2]).and_then(|_| self.check_types(&node)) {
            return self.refuse(&node, reason);
        }
        if node.op == QUANTISE {
            if let Some(first) = self.same_bytes(&node).filter(|_| !is_output) {
                self.renamed.insert(node.outputs.remove(0), first);
                return;
            }
            self.quantised.insert(node.output().to_string(), (scale, node.inputs[2].clone()));
        }
        self.out.push(node);
    }

    /// What an earlier node computes that quantises the same tensor in the same way: some quantisers write one for each
    /// reader.
    fn same_bytes(&mut self, node: &Node) -> Option<String> {
        let [x, scale, zero] = &node.inputs[..] else { return None };
        let (scale, zero) = (self.consts.get(scale)?, self.consts.get(zero)?);
        let ([scale], [zero_point]) = (&scale.as_f32()?[..], &zero.as_integers()?[..]) else { return None };
        let key = (x.clone(), scale.to_bits(), *zero_point, zero.values.dtype());
        match self.bytes.get(&key) {
            Some(first) => Some(first.clone()),
            None => {
                self.bytes.insert(key, node.output().to_string());
                None
            }
        }
    }

    /// A Q node makes bytes of the type of its zero point, a DQ node reads what has that type.
    fn check_types(&self, node: &Node) -> std::result::Result<(), String> {
        let dtype = |name: &str| self.consts.get(name).map(|c| c.values.dtype());
        let zero = dtype(&node.inputs[2]).unwrap_or_default();
        let x = &node.inputs[0];
        if node.op == QUANTISE {
            return match zero {
                "u8" | "i8" => Ok(()),
                _ => Err(format!("its zero point is {zero}; quantise to 8 bits")),
            };
        }
        match dtype(x).or_else(|| self.quantised.get(x).and_then(|(_, own)| dtype(own))) {
            Some(own) if own == zero => Ok(()),
            Some(own) => Err(format!("reads '{x}', which is {own}, with a zero point that is {zero}")),
            None if self.lost.contains(x) => Ok(()),
            None => Err(format!("reads '{x}', which nothing before it quantises")),
        }
    }

    /// Scales must be positive numbers, zero points of a type that oltr computes with, as many as scales.
    fn check_parameters(&self, scale: &str, zero: &str) -> std::result::Result<(), String> {
        let (Some(scale), Some(zero)) = (self.consts.get(scale), self.consts.get(zero)) else {
            return Err("its scale or zero point is computed at run time; quantise the model statically".into());
        };
        let Some(scales) = scale.as_f32() else { return Err("its scale is not float32".into()) };
        if let Some(s) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(format!("has a scale of {s}; scales are positive numbers"));
        }
        let Some(zeros) = zero.as_integers() else {
            return Err("its zero point is not uint8, int8 or int32; quantise to 8 bits".into());
        };
        if scales.is_empty() || scales.len() != zeros.len() || scale.shape.len() > 1 {
            return Err(format!("has {} scale(s) for {} zero point(s)", scales.len(), zeros.len()));
        }
        Ok(())
    }

    /// DequantizeLinear of `x`; gives the name of the numbers.
    fn dequantised(&mut self, node: &Node, [x, scale, zero]: [&str; 3], axis: Option<i64>) -> String {
        if let Err(reason) = self.check_parameters(scale, zero) {
            self.refuse(node, reason);
        }
        let y = self.fresh(x);
        let mut dq = Node::new(DEQUANTISE, &y, &[x, scale, zero], &y);
        if let Some(axis) = axis {
            dq = dq.with_int("axis", axis);
        }
        self.out.push(dq);
        y
    }

    /// Pushes `float` between the quantisation of its output to `y` (scale and zero given).
    fn quantised(&mut self, node: &Node, mut float: Node, scale: &str, zero: &str) {
        if let Err(reason) = self.check_parameters(scale, zero) {
            self.refuse(node, reason);
        }
        let y = node.output().to_string();
        let f32_values = self.fresh(&y);
        float.outputs = vec![f32_values.clone()];
        self.out.push(float);
        self.quantised.insert(y.clone(), (scale.into(), zero.into()));
        self.out.push(Node::new(QUANTISE, &y, &[&f32_values, scale, zero], &y));
    }

    /// The three names of a quantised operand from input `at` on; a zero point that is left out becomes uint8 0.
    fn operand(&mut self, node: &Node, at: usize) -> Option<[String; 3]> {
        let (Some(x), Some(scale)) = (node.input(at), node.input(at + 1)) else {
            self.refuse(node, format!("input {at} or its scale is missing"));
            return None;
        };
        let zero = self.zero(node.input(at + 2), scale);
        Some([x.to_string(), scale.to_string(), zero])
    }

    fn zero(&mut self, given: Option<&str>, scale: &str) -> String {
        if let Some(zero) = given {
            return zero.to_string();
        }
        let scales = self.consts.get(scale).map_or(1, |c| c.len());
        let shape = self.consts.get(scale).map_or(vec![], |c| c.shape.clone());
        let name = self.fresh(scale);
        self.consts.insert(name.clone(), Arc::new(Const { shape, values: Values::U8(Raw::Own(vec![0; scales])) }));
        name
    }

    /// The scale and zero point of the result, at inputs `at` and `at + 1`.
    fn result(&mut self, node: &Node, at: usize) -> Option<(String, String)> {
        let Some(scale) = node.input(at) else {
            self.refuse(node, "the scale of its result is missing");
            return None;
        };
        let zero = self.zero(node.input(at + 1), scale);
        Some((scale.to_string(), zero))
    }

    fn float(node: &Node, op: &str, inputs: &[&str]) -> Node {
        let mut float = Node::new(op, &node.name, inputs, "");
        float.attributes.clone_from(&node.attributes);
        float
    }

    /// `QLinearConv(x, xs, xz, w, ws, wz, ys, yz, bias)`; weights per output channel, bias in units of xs·ws.
    fn conv(&mut self, node: Node) {
        let (Some(x), Some(w), Some((ys, yz))) =
            (self.operand(&node, 0), self.operand(&node, 3), self.result(&node, 6))
        else {
            return;
        };
        let bias = node.input(8).and_then(|b| self.bias(&node, b, &x[1], &w[1], 1.0));
        let x = self.dequantised(&node, x.each_ref().map(String::as_str), None);
        let w = self.dequantised(&node, w.each_ref().map(String::as_str), Some(0));
        let mut inputs = vec![x.as_str(), &w];
        inputs.extend(bias.as_deref());
        let float = Self::float(&node, "Conv", &inputs);
        self.quantised(&node, float, &ys, &yz);
    }

    /// Dequantises an int32 bias whose scale is the product of those of input and weights, and `factor`.
    fn bias(&mut self, node: &Node, bias: &str, xs: &str, ws: &str, factor: f32) -> Option<String> {
        let of = |name: &str| self.consts.get(name).and_then(|c| c.as_f32());
        let scales = match (of(xs).as_deref(), of(ws)) {
            (Some([x]), Some(w)) => w.iter().map(|w| x * w * factor).collect::<Vec<f32>>(),
            _ => {
                self.refuse(node, "its scales are not constants");
                return None;
            }
        };
        let (scale, zero) = (self.fresh(bias), self.fresh(bias));
        let shape = if scales.len() == 1 { vec![] } else { vec![scales.len()] };
        let zeros = Values::I32(vec![0; scales.len()]);
        self.consts.insert(scale.clone(), Const::floats(&shape, scales));
        self.consts.insert(zero.clone(), Arc::new(Const { shape, values: zeros }));
        Some(self.dequantised(node, [bias, &scale, &zero], Some(0)))
    }

    /// `QLinearMatMul(a, as, az, b, bs, bz, ys, yz)`; `b` may have a scale for each column.
    fn matmul(&mut self, node: Node) {
        let (Some(a), Some(b), Some((ys, yz))) =
            (self.operand(&node, 0), self.operand(&node, 3), self.result(&node, 6))
        else {
            return;
        };
        let axis = self.consts.get(&b[0]).map(|c| c.shape.len() as i64 - 1);
        let a = self.dequantised(&node, a.each_ref().map(String::as_str), None);
        let b = self.dequantised(&node, b.each_ref().map(String::as_str), axis);
        let float = Self::float(&node, "MatMul", &[&a, &b]);
        self.quantised(&node, float, &ys, &yz);
    }

    /// `QGemm(A, as, az, B, bs, bz, C, ys, yz)`; without `ys` it yields numbers.
    fn gemm(&mut self, node: Node) {
        let (Some(a), Some(b)) = (self.operand(&node, 0), self.operand(&node, 3)) else { return };
        let axis = if node.int("transB", 0) != 0 { 0 } else { 1 };
        // Its third operand counts in units of alpha·as·bs.
        let alpha = node.float("alpha", 1.0);
        let c = node.input(6).and_then(|c| self.bias(&node, c, &a[1], &b[1], alpha));
        let a = self.dequantised(&node, a.each_ref().map(String::as_str), None);
        let b = self.dequantised(&node, b.each_ref().map(String::as_str), Some(axis));
        let mut inputs = vec![a.as_str(), &b];
        inputs.extend(c.as_deref());
        let mut float = Self::float(&node, "Gemm", &inputs);
        if node.input(7).is_none() {
            float.outputs.clone_from(&node.outputs);
            return self.out.push(float);
        }
        if let Some((ys, yz)) = self.result(&node, 7) {
            self.quantised(&node, float, &ys, &yz);
        }
    }

    /// `QLinearAdd(A, as, az, B, bs, bz, ys, yz)` and QLinearMul.
    fn binary(&mut self, node: Node) {
        let (Some(a), Some(b), Some((ys, yz))) =
            (self.operand(&node, 0), self.operand(&node, 3), self.result(&node, 6))
        else {
            return;
        };
        let a = self.dequantised(&node, a.each_ref().map(String::as_str), None);
        let b = self.dequantised(&node, b.each_ref().map(String::as_str), None);
        let float = Self::float(&node, &node.op["QLinear".len()..], &[&a, &b]);
        self.quantised(&node, float, &ys, &yz);
    }

    /// `QLinearSigmoid(X, xs, xz, ys, yz)` and its kin.
    fn unary(&mut self, mut node: Node) {
        if node.op == "QLinearSoftmax"
            && let Err(reason) = self.softmax(&mut node)
        {
            return self.refuse(&node, reason);
        }
        let (Some(x), Some((ys, yz))) = (self.operand(&node, 0), self.result(&node, 3)) else { return };
        let x = self.dequantised(&node, x.each_ref().map(String::as_str), None);
        let float = Self::float(&node, &node.op["QLinear".len()..], &[&x]);
        self.quantised(&node, float, &ys, &yz);
    }

    /// Settles over what a QLinearSoftmax goes: its attribute `opset` says which operator set's Softmax it means. Before
    /// set 13 that goes over all dimensions from the axis on, since then over the one; over the last they are the same.
    fn softmax(&self, node: &mut Node) -> std::result::Result<(), String> {
        let Some(opset) = node.attribute("opset").map(|a| a.i) else {
            return Err("lacks its attribute opset; quantise the model again".into());
        };
        let axis = node.int("axis", -1);
        if axis != -1 && (opset < 13) != (self.opset < 13) {
            return Err(format!(
                "means the Softmax of operator set {opset} along axis {axis} in a graph of set {}; export it with -1, \
                 the last axis",
                self.opset
            ));
        }
        node.attributes.clear();
        let settled = std::mem::replace(node, Node::new("", "", &[], ""));
        *node = settled.with_int("axis", axis);
        Ok(())
    }

    /// `QLinearConcat(ys, yz, x0, xs0, xz0, x1, …)`.
    fn concat(&mut self, node: Node) {
        let Some((ys, yz)) = self.result(&node, 0) else { return };
        let mut parts = Vec::new();
        for at in (2..node.inputs.len()).step_by(3) {
            let Some(x) = self.operand(&node, at) else { return };
            parts.push(self.dequantised(&node, x.each_ref().map(String::as_str), None));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let float = Self::float(&node, "Concat", &parts);
        self.quantised(&node, float, &ys, &yz);
    }
}
