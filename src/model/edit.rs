//! A graph changed at the wire level: nodes, constants, inputs and outputs come and go, and every other byte of the file
//! stays as it was.

use std::borrow::Cow;
use std::collections::HashMap;

use prost::Message;
use tract_onnx::pb;

use super::graph::is_onnx;
use super::wire::{self, GRAPH, INITIALIZER};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Numbers of a graph's fields: nodes, inputs, outputs.
const NODE: u64 = 1;
const INPUT: u64 = 11;
const OUTPUT: u64 = 12;

/// Number of a model's field that names a set of operators.
const OPSET: u64 = 8;

/// Numbers of a node's fields.
const NODE_INPUT: u64 = 1;
const NODE_OUTPUT: u64 = 2;

/// An ONNX file under change.
#[derive(Debug)]
pub struct Edit<'a> {
    model: &'a str,
    /// Fields of the model before its graph, and those behind it.
    around: [Vec<&'a [u8]>; 2],
    parts: Vec<Part<'a>>,
    opset: i64,
}

#[derive(Debug)]
enum Part<'a> {
    Node(EditNode<'a>),
    /// A constant, by name.
    Constant(String, Cow<'a, [u8]>),
    Input(Cow<'a, [u8]>),
    Output(Cow<'a, [u8]>),
    /// All of the field's bytes.
    Other(&'a [u8]),
}

/// A node under change.
#[derive(Clone, Debug)]
pub struct EditNode<'a> {
    content: Cow<'a, [u8]>,
    op: String,
    domain: String,
    /// Names of the tensors that it reads; empty where one is left out.
    pub inputs: Vec<String>,
    /// Names of the tensors that it computes.
    pub outputs: Vec<String>,
}

impl EditNode<'_> {
    /// Whether it is ONNX's operator `op`, or Microsoft's for a name that begins so.
    pub fn is(&self, op: &str) -> bool {
        match op.strip_prefix("com.microsoft.") {
            Some(op) => self.domain == "com.microsoft" && self.op == op,
            None => is_onnx(&self.domain) && self.op == op,
        }
    }

    /// The operator's name.
    pub fn op(&self) -> &str {
        &self.op
    }
}

/// A node to add.
#[derive(Clone, Debug)]
pub struct NewNode<'a> {
    /// ONNX's operator.
    pub op: &'a str,
    /// Tensors that it reads.
    pub inputs: &'a [&'a str],
    /// The tensor that it computes.
    pub output: &'a str,
    /// Attributes that are one integer.
    pub int: &'a [(&'a str, i64)],
    /// Attributes that are a list of integers.
    pub ints: &'a [(&'a str, &'a [i64])],
}

impl NewNode<'_> {
    fn encode(&self) -> Vec<u8> {
        use pb::attribute_proto::AttributeType;
        let attribute = |name: &str| pb::AttributeProto { name: name.into(), ..Default::default() };
        let int = self.int.iter().map(|(name, i)| {
            let r#type = AttributeType::Int as i32;
            pb::AttributeProto { i: *i, r#type, ..attribute(name) }
        });
        let ints = self.ints.iter().map(|(name, ints)| {
            let r#type = AttributeType::Ints as i32;
            pb::AttributeProto { ints: ints.to_vec(), r#type, ..attribute(name) }
        });
        // The file's own node of that name may be another one, and runtimes refuse two of one name.
        let ours = self.output.starts_with("oltr.");
        pb::NodeProto {
            name: if ours { self.output.into() } else { format!("oltr.node.{}", self.output) },
            op_type: self.op.into(),
            input: self.inputs.iter().map(|s| s.to_string()).collect(),
            output: vec![self.output.into()],
            attribute: int.chain(ints).collect(),
            ..Default::default()
        }
        .encode_to_vec()
    }
}

/// Name and sizes of an input; a size that is not fixed is `None`.
pub type OpenShape = (String, Vec<Option<usize>>);

impl<'a> Edit<'a> {
    /// The file `bytes`; `model` is its name, for messages.
    ///
    /// # Errors
    /// [`Error::BadModel`] for what is no ONNX file, [`Error::Limit`] for one beyond `limits`.
    pub fn new(model: &'a str, bytes: &'a [u8], limits: &Limits) -> Result<Edit<'a>> {
        wire::check(model, bytes, limits)?;
        let broken = || bad(model, "is not an ONNX file, or a damaged one; export or copy it again");
        let mut around = [Vec::new(), Vec::new()];
        let mut graph = None;
        let mut opset = 0;
        for field in wire::fields(bytes) {
            let field = field.ok_or_else(broken)?;
            if field.number == GRAPH && graph.is_none() {
                graph = Some(field.content);
                continue;
            }
            if field.number == OPSET {
                let set = pb::OperatorSetIdProto::decode(field.content).map_err(|_| broken())?;
                opset = if is_onnx(&set.domain) { set.version } else { opset };
            }
            around[usize::from(graph.is_some())].push(field.whole);
        }
        let graph = graph.ok_or_else(broken)?;
        let mut parts = Vec::new();
        for field in wire::fields(graph) {
            let field = field.ok_or_else(broken)?;
            parts.push(match field.number {
                NODE => Part::Node(node(field.content).ok_or_else(broken)?),
                INITIALIZER => {
                    let named = wire::fields(field.content).flatten().find(|inner| inner.number == 8);
                    let name = named.map(|inner| String::from_utf8_lossy(inner.content).into_owned());
                    Part::Constant(name.unwrap_or_default(), Cow::Borrowed(field.content))
                }
                INPUT => Part::Input(Cow::Borrowed(field.content)),
                OUTPUT => Part::Output(Cow::Borrowed(field.content)),
                _ => Part::Other(field.whole),
            });
        }
        Ok(Edit { model, around, parts, opset })
    }

    /// The file's name.
    pub fn model(&self) -> &'a str {
        self.model
    }

    /// Version of ONNX's operators.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = &EditNode<'a>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Node(node) => Some(node),
            _ => None,
        })
    }

    /// The node that computes the tensor `name`.
    pub fn producer(&self, name: &str) -> Option<&EditNode<'a>> {
        self.nodes().find(|node| node.outputs.iter().any(|output| output == name))
    }

    /// Whether the tensor `name` is a constant: an initializer, or what follows from constants alone.
    pub fn is_constant(&self, name: &str) -> bool {
        let producers: HashMap<&str, &EditNode> =
            self.nodes().flat_map(|node| node.outputs.iter().map(move |output| (output.as_str(), node))).collect();
        let mut name = name;
        // No way back is longer than this, unless the nodes read each other in a circle.
        for _ in 0..=producers.len() {
            if self.constant(name).is_some() {
                return true;
            }
            let Some(node) = producers.get(name) else { return false };
            if node.is("Constant") {
                return true;
            }
            let passes = ["DequantizeLinear", "Identity", "Reshape", "Transpose", "Cast"].iter().any(|op| node.is(op));
            let Some(input) = node.inputs.first().filter(|_| passes) else { return false };
            name = input;
        }
        false
    }

    fn constant(&self, name: &str) -> Option<&[u8]> {
        self.parts.iter().find_map(|part| match part {
            Part::Constant(constant, bytes) if constant == name => Some(&**bytes),
            _ => None,
        })
    }

    /// Shape and values of the float constant `name`.
    pub fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let tensor = pb::TensorProto::decode(self.constant(name)?).ok()?;
        let shape: Vec<usize> = tensor.dims.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<_>>()?;
        let is_float = tensor.data_type == pb::tensor_proto::DataType::Float as i32;
        let raw = tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")));
        let values: Vec<f32> = if tensor.float_data.is_empty() { raw.collect() } else { tensor.float_data };
        let volume = shape.iter().try_fold(1usize, |v, d| v.checked_mul(*d))?;
        (is_float && values.len() == volume).then_some((shape, values))
    }

    /// The inputs that are no constants.
    pub fn inputs(&self) -> Vec<OpenShape> {
        let inputs = self.parts.iter().filter_map(|part| match part {
            Part::Input(bytes) => value(bytes),
            _ => None,
        });
        inputs.filter(|(name, _)| self.constant(name).is_none()).collect()
    }

    /// The outputs.
    pub fn outputs(&self) -> Vec<OpenShape> {
        let outputs = self.parts.iter().filter_map(|part| match part {
            Part::Output(bytes) => value(bytes),
            _ => None,
        });
        outputs.collect()
    }

    /// Gives the tensor `old` the name `new` in every node; not among inputs and outputs.
    pub fn rename(&mut self, old: &str, new: &str) {
        for part in &mut self.parts {
            let Part::Node(node) = part else { continue };
            let names = node.inputs.iter_mut().chain(&mut node.outputs).filter(|name| *name == old);
            if names.map(|name| *name = new.into()).count() > 0 {
                node.content = Cow::Owned(renamed(&node.content, old, new));
            }
        }
    }

    /// Takes out the nodes that compute what `gone` names, and the constants that it names.
    pub fn remove(&mut self, gone: impl Fn(&str) -> bool) {
        self.parts.retain(|part| match part {
            Part::Node(node) => !node.outputs.iter().any(|output| gone(output)),
            Part::Constant(name, _) => !gone(name),
            _ => true,
        });
    }

    /// Makes `name` with `shape` the only input.
    pub fn set_input(&mut self, name: &str, shape: &[usize]) {
        self.parts.retain(|part| !matches!(part, Part::Input(_)));
        self.parts.push(Part::Input(Cow::Owned(value_info(name, shape))));
    }

    /// Makes these the outputs.
    pub fn set_outputs(&mut self, outputs: &[(&str, &[usize])]) {
        self.parts.retain(|part| !matches!(part, Part::Output(_)));
        self.parts.extend(outputs.iter().map(|(name, shape)| Part::Output(Cow::Owned(value_info(name, shape)))));
    }

    /// Adds an output behind the others.
    pub fn add_output(&mut self, name: &str, shape: &[usize]) {
        self.parts.push(Part::Output(Cow::Owned(value_info(name, shape))));
    }

    /// Adds a node behind the others.
    pub fn push(&mut self, node: &NewNode) {
        self.parts.push(Part::Node(added(node)));
    }

    /// Adds a node before the others.
    pub fn prepend(&mut self, node: &NewNode) {
        self.parts.insert(0, Part::Node(added(node)));
    }

    /// Adds a constant of floats.
    pub fn push_f32(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.push_tensor(name, shape, pb::tensor_proto::DataType::Float, raw);
    }

    /// Adds a constant of signed bytes.
    pub fn push_i8(&mut self, name: &str, shape: &[usize], values: &[i8]) {
        let raw = values.iter().map(|v| *v as u8).collect();
        self.push_tensor(name, shape, pb::tensor_proto::DataType::Int8, raw);
    }

    /// Adds a constant of 64-bit integers: axes, shapes.
    pub fn push_i64(&mut self, name: &str, values: &[i64]) {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.push_tensor(name, &[values.len()], pb::tensor_proto::DataType::Int64, raw);
    }

    fn push_tensor(&mut self, name: &str, shape: &[usize], dtype: pb::tensor_proto::DataType, raw_data: Vec<u8>) {
        let dims = shape.iter().map(|d| *d as i64).collect();
        let tensor =
            pb::TensorProto { name: name.into(), dims, data_type: dtype as i32, raw_data, ..Default::default() };
        self.parts.push(Part::Constant(name.into(), Cow::Owned(tensor.encode_to_vec())));
    }

    /// The file as it is now.
    pub fn finish(self) -> Vec<u8> {
        let mut graph = Vec::new();
        for part in &self.parts {
            match part {
                Part::Node(node) => wire::put_bytes(NODE, &node.content, &mut graph),
                Part::Constant(_, bytes) => wire::put_bytes(INITIALIZER, bytes, &mut graph),
                Part::Input(bytes) => wire::put_bytes(INPUT, bytes, &mut graph),
                Part::Output(bytes) => wire::put_bytes(OUTPUT, bytes, &mut graph),
                Part::Other(whole) => graph.extend_from_slice(whole),
            }
        }
        let [before, behind] = &self.around;
        let mut out = Vec::with_capacity(graph.len() + 4096);
        before.iter().for_each(|field| out.extend_from_slice(field));
        wire::put_bytes(GRAPH, &graph, &mut out);
        behind.iter().for_each(|field| out.extend_from_slice(field));
        out
    }
}

fn added(node: &NewNode) -> EditNode<'static> {
    EditNode {
        content: Cow::Owned(node.encode()),
        op: node.op.into(),
        domain: String::new(),
        inputs: node.inputs.iter().map(|s| s.to_string()).collect(),
        outputs: vec![node.output.into()],
    }
}

fn node(content: &[u8]) -> Option<EditNode<'_>> {
    let mut node = EditNode {
        content: Cow::Borrowed(content),
        op: String::new(),
        domain: String::new(),
        inputs: vec![],
        outputs: vec![],
    };
    for field in wire::fields(content) {
        let field = field?;
        let text = || String::from_utf8_lossy(field.content).into_owned();
        match field.number {
            NODE_INPUT => node.inputs.push(text()),
            NODE_OUTPUT => node.outputs.push(text()),
            4 => node.op = text(),
            7 => node.domain = text(),
            _ => {}
        }
    }
    Some(node)
}

/// The node `content` with another name of one of its tensors.
fn renamed(content: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + new.len());
    for field in wire::fields(content).flatten() {
        match field.number {
            NODE_INPUT | NODE_OUTPUT if field.content == old.as_bytes() => {
                wire::put_bytes(field.number, new.as_bytes(), &mut out);
            }
            _ => out.extend_from_slice(field.whole),
        }
    }
    out
}

fn value(bytes: &[u8]) -> Option<OpenShape> {
    use pb::tensor_shape_proto::dimension::Value;
    let info = pb::ValueInfoProto::decode(bytes).ok()?;
    let Some(pb::type_proto::Value::TensorType(tensor)) = info.r#type.and_then(|t| t.value) else {
        return Some((info.name, Vec::new()));
    };
    let dims = tensor.shape.map(|shape| shape.dim).unwrap_or_default();
    let size = |dim: pb::tensor_shape_proto::Dimension| match dim.value {
        Some(Value::DimValue(n)) => usize::try_from(n).ok().filter(|n| *n > 0),
        _ => None,
    };
    Some((info.name, dims.into_iter().map(size).collect()))
}

fn value_info(name: &str, shape: &[usize]) -> Vec<u8> {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim = shape.iter().map(|d| Dimension { value: Some(Value::DimValue(*d as i64)), ..Default::default() });
    let tensor = pb::type_proto::Tensor {
        elem_type: pb::tensor_proto::DataType::Float as i32,
        shape: Some(pb::TensorShapeProto { dim: dim.collect() }),
    };
    let value = Some(pb::type_proto::Value::TensorType(tensor));
    let r#type = Some(pb::TypeProto { value, ..Default::default() });
    pb::ValueInfoProto { name: name.into(), r#type, ..Default::default() }.encode_to_vec()
}

fn bad(model: &str, reason: &str) -> Error {
    Error::BadModel { model: model.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut graph = Vec::new();
        let node = NewNode { op: "Relu", inputs: &["x"], output: "y", int: &[], ints: &[] };
        wire::put_bytes(NODE, &node.encode(), &mut graph);
        wire::put_bytes(2, b"name of the graph", &mut graph);
        wire::put_bytes(INPUT, &value_info("x", &[1, 4]), &mut graph);
        wire::put_bytes(OUTPUT, &value_info("y", &[1, 4]), &mut graph);
        let mut out = vec![0x08, 0x08];
        wire::put_bytes(GRAPH, &graph, &mut out);
        let set = pb::OperatorSetIdProto { domain: String::new(), version: 17 };
        wire::put_bytes(OPSET, &set.encode_to_vec(), &mut out);
        out
    }

    #[test]
    fn what_is_not_changed_stays_byte_for_byte() {
        let bytes = file();
        let edit = Edit::new("m", &bytes, &Limits::default()).unwrap();
        assert_eq!((edit.opset(), edit.inputs()), (17, vec![("x".to_string(), vec![Some(1), Some(4)])]));
        assert_eq!(edit.finish(), bytes);
    }

    #[test]
    fn tensors_are_renamed_added_and_taken_away() {
        let bytes = file();
        let mut edit = Edit::new("m", &bytes, &Limits::default()).unwrap();
        edit.rename("y", "z");
        assert!(edit.producer("z").is_some_and(|node| node.is("Relu")) && edit.producer("y").is_none());
        edit.push_f32("c", &[2, 1], &[1.0, -2.0]);
        edit.push(&NewNode { op: "Neg", inputs: &["z"], output: "y", int: &[], ints: &[] });
        assert_eq!(edit.floats("c"), Some((vec![2, 1], vec![1.0, -2.0])));
        assert!(edit.is_constant("c") && !edit.is_constant("z"));
        let changed = edit.finish();
        let mut again = Edit::new("m", &changed, &Limits::default()).unwrap();
        assert_eq!(again.nodes().map(EditNode::op).collect::<Vec<_>>(), ["Relu", "Neg"]);
        again.remove(|name| name == "y" || name == "c");
        again.rename("z", "y");
        assert_eq!(again.finish(), bytes);
    }

    #[test]
    fn nodes_that_read_each_other_in_a_circle_are_no_constants() {
        let mut graph = Vec::new();
        for (input, output) in [("a", "b"), ("b", "c"), ("c", "a"), ("itself", "itself")] {
            let node = NewNode { op: "Identity", inputs: &[input], output, int: &[], ints: &[] };
            wire::put_bytes(NODE, &node.encode(), &mut graph);
        }
        let mut bytes = Vec::new();
        wire::put_bytes(GRAPH, &graph, &mut bytes);
        let edit = Edit::new("m", &bytes, &Limits::default()).unwrap();
        assert!(["a", "b", "c", "itself"].iter().all(|name| !edit.is_constant(name)));
    }

    #[test]
    fn what_breaks_off_is_refused() {
        let bytes = file();
        for end in [0, 1, 3, bytes.len() - 1] {
            assert!(Edit::new("m", &bytes[..end], &Limits::default()).is_err(), "{end}");
        }
    }
}
