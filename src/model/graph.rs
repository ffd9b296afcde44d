//! An ONNX graph as oltr sees it: nodes in order, constants by name. Protobuf ends here.
//!
//! Bytes of weights stay in the file until they are packed: a copy of them, made while the packed ones come into being,
//! would leave a hole in the heap that nothing fills afterwards.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use prost::Message;
use tract_onnx::pb;

use super::narrow;
use super::operators::MAX_RANK;
use super::origin::{F32Values, Origin, Raw, wide};
use super::skim::{self, Initializer, Skeleton};
use crate::error::{Error, Result, UnsupportedNode};
use crate::limits::Limits;
use oltr_int8::float;

/// The values of a constant.
#[derive(Clone, Debug)]
pub(super) enum Values<'a> {
    F32(F32Values<'a>),
    U8(Raw<'a>),
    I8(Raw<'a>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    /// A type that only tract is asked to understand.
    Other(Box<pb::TensorProto>),
}

impl Values<'_> {
    pub fn dtype(&self) -> &'static str {
        match self {
            Values::F32(_) => "f32",
            Values::U8(_) => "u8",
            Values::I8(_) => "i8",
            Values::I32(_) => "i32",
            Values::I64(_) => "i64",
            Values::Other(_) => "other",
        }
    }
}

/// A constant: an initializer, or the value of a Constant node.
#[derive(Clone, Debug)]
pub(super) struct Const<'a> {
    pub shape: Vec<usize>,
    pub values: Values<'a>,
}

impl Const<'_> {
    pub fn floats(shape: &[usize], values: Vec<f32>) -> Arc<Self> {
        Arc::new(Const { shape: shape.to_vec(), values: Values::F32(values.into()) })
    }

    pub fn as_f32(&self) -> Option<Cow<'_, [f32]>> {
        match &self.values {
            Values::F32(v) => Some(v.get()),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.values {
            Values::I64(v) => Some(v),
            _ => None,
        }
    }

    /// Numbers of half precision.
    pub fn halves(&self) -> Option<Vec<f32>> {
        let Values::Other(tensor) = &self.values else { return None };
        if tensor.data_type != pb::tensor_proto::DataType::Float16 as i32 {
            return None;
        }
        let values = narrow::sixteens(tensor, narrow::single);
        (values.len() == self.len()).then_some(values)
    }

    /// The one truth value.
    pub fn flag(&self) -> Option<bool> {
        let Values::Other(tensor) = &self.values else { return None };
        if tensor.data_type != pb::tensor_proto::DataType::Bool as i32 || self.len() != 1 {
            return None;
        }
        let raw = tensor.raw_data.first().map(|b| *b != 0);
        raw.or(tensor.int32_data.first().map(|v| *v != 0))
    }

    /// Integers that sizes and axes can be.
    pub fn integers(&self) -> Option<Vec<i64>> {
        match &self.values {
            Values::I64(v) => Some(v.clone()),
            Values::I32(v) => Some(v.iter().map(|v| i64::from(*v)).collect()),
            _ => None,
        }
    }

    /// Integers of any of the types that zero points and biases have.
    pub fn as_integers(&self) -> Option<Vec<i32>> {
        self.map_integers(|_, value| Some(value))
    }

    /// What `f` makes of the place and the value of each integer; `None` if it makes nothing of one, and for other types.
    /// One by one, because weights as 32 bits take four times their room.
    pub fn map_integers<T>(&self, f: impl FnMut(usize, i32) -> Option<T>) -> Option<Vec<T>> {
        match &self.values {
            Values::U8(v) => mapped(&v.get(), f),
            Values::I8(v) => mapped(&v.signed(), f),
            Values::I32(v) => mapped(v, f),
            _ => None,
        }
    }

    /// Integers of 16 bits, and whether they have a sign; `None` for any other type.
    pub fn wide(&self) -> Option<(Vec<i32>, bool)> {
        let Values::Other(tensor) = &self.values else { return None };
        let signed = match pb::tensor_proto::DataType::try_from(tensor.data_type) {
            Ok(pb::tensor_proto::DataType::Uint16) => false,
            Ok(pb::tensor_proto::DataType::Int16) => true,
            _ => return None,
        };
        let values = narrow::sixteens(tensor, |bits| if signed { i32::from(bits as i16) } else { i32::from(bits) });
        (values.len() == self.len()).then_some((values, signed))
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What `f` makes of the place and the value of each of `values`, in no more room than they need.
fn mapped<T, I: Copy + Into<i32>>(values: &[I], mut f: impl FnMut(usize, i32) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        all.push(f(place, (*value).into())?);
    }
    Some(all)
}

/// A node, with protobuf's attributes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub name: String,
    pub op: String,
    pub domain: String,
    /// Tensor names; empty where an optional input is left out.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<pb::AttributeProto>,
}

impl Node {
    pub fn new(op: &str, name: &str, inputs: &[&str], output: &str) -> Node {
        Node {
            name: name.into(),
            op: op.into(),
            domain: String::new(),
            inputs: inputs.iter().map(|s| s.to_string()).collect(),
            outputs: vec![output.into()],
            attributes: Vec::new(),
        }
    }

    pub fn with_ints(mut self, name: &str, ints: &[i64]) -> Node {
        let r#type = pb::attribute_proto::AttributeType::Ints as i32;
        self.attributes.push(pb::AttributeProto {
            name: name.into(),
            r#type,
            ints: ints.to_vec(),
            ..Default::default()
        });
        self
    }

    pub fn with_int(mut self, name: &str, i: i64) -> Node {
        let r#type = pb::attribute_proto::AttributeType::Int as i32;
        self.attributes.push(pb::AttributeProto { name: name.into(), r#type, i, ..Default::default() });
        self
    }

    /// The name to show to people.
    pub fn label(&self) -> &str {
        if self.name.is_empty() { self.outputs.first().map_or("", String::as_str) } else { &self.name }
    }

    /// Input `i`, unless it is left out.
    pub fn input(&self, i: usize) -> Option<&str> {
        self.inputs.get(i).map(String::as_str).filter(|s| !s.is_empty())
    }

    pub fn output(&self) -> &str {
        &self.outputs[0]
    }

    pub fn attribute(&self, name: &str) -> Option<&pb::AttributeProto> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i)
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |a| a.f)
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| &a.ints[..])
    }

    pub fn text(&self, name: &str) -> &str {
        self.attribute(name).and_then(|a| std::str::from_utf8(&a.s).ok()).unwrap_or("")
    }

    pub fn is(&self, op: &str) -> bool {
        self.op == op && is_onnx(&self.domain)
    }

    pub fn unsupported(&self, reason: impl Into<String>) -> UnsupportedNode {
        let operator = if is_onnx(&self.domain) { self.op.clone() } else { format!("{}.{}", self.domain, self.op) };
        UnsupportedNode { node: self.label().into(), operator, reason: reason.into() }
    }
}

pub(super) fn is_onnx(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// A graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph<'a> {
    pub nodes: Vec<Node>,
    pub consts: HashMap<String, Arc<Const<'a>>>,
    /// Name and shape of each input; all are float32.
    pub inputs: Vec<(String, Vec<usize>)>,
    pub outputs: Vec<String>,
    /// Version of ONNX's own operators.
    pub opset: i64,
    /// Tensors that the file quantises as no int8 layer computes with: why what reads them runs in float.
    pub why: HashMap<String, Why>,
}

/// A reason, and what to change in the export.
pub(super) type Why = (&'static str, &'static str);

/// What a file holds.
#[derive(Debug)]
pub(super) struct File<'a> {
    pub graph: Graph<'a>,
    pub metadata: BTreeMap<String, String>,
    /// Of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Of the file without its metadata, if it was asked for.
    pub graph_sha256: Option<String>,
}

/// Reads an ONNX file. `model` is its name, for messages; `hash_graph` asks for [`File::graph_sha256`].
pub(super) fn read<'a>(model: &str, origin: &'a Origin<'a>, hash_graph: bool, limits: &Limits) -> Result<File<'a>> {
    let bad = |reason: String| Error::BadModel { model: model.into(), reason };
    if origin.length() == 0 {
        return Err(bad("the file is empty; copy it again".into()));
    }
    // Counts fields before they are decoded: a few bytes of protobuf can ask for a hundred times their size in memory.
    let Skeleton { model: rest, initializers, sha256, graph_sha256 } = skim::skim(model, origin, hash_graph, limits)?;
    let damaged = |e| bad(format!("is not an ONNX file, or a damaged one ({e}); export or copy it again"));
    let mut proto = pb::ModelProto::decode(&rest[..]).map_err(damaged)?;
    let graph = proto.graph.take().ok_or_else(|| bad("holds no graph; is it an ONNX file?".into()))?;
    if !proto.functions.is_empty() {
        return Err(bad("defines functions of its own; export it with them inlined".into()));
    }
    let opset = proto.opset_import.iter().find(|o| is_onnx(&o.domain)).map_or(0, |o| o.version);
    let mut metadata = BTreeMap::new();
    for entry in std::mem::take(&mut proto.metadata_props) {
        metadata.insert(entry.key, entry.value);
    }
    let decode = |Initializer { tensor, raw }| {
        Ok((pb::TensorProto::decode(&tensor[..]).map_err(damaged)?, Raw::At(origin, raw)))
    };
    let initializers: Vec<_> = initializers.into_iter().map(decode).collect::<Result<_>>()?;
    let graph = graph_of(model, graph, initializers, opset, limits);
    // What could not be read may be what is wrong with the graph.
    origin.check()?;
    Ok(File { graph: graph?, metadata, sha256, graph_sha256 })
}

/// `initializers` are those of `proto`, each with its raw data.
fn graph_of<'a>(
    model: &str,
    proto: pb::GraphProto,
    initializers: Vec<(pb::TensorProto, Raw<'a>)>,
    opset: i64,
    limits: &Limits,
) -> Result<Graph<'a>> {
    let bad = |reason: String| Error::BadModel { model: model.into(), reason };
    if !proto.sparse_initializer.is_empty() {
        return Err(bad("holds sparse initializers; export it with dense ones".into()));
    }
    if proto.node.len() > limits.graph_nodes {
        return Err(Error::Limit {
            subject: model.into(),
            what: "graph_nodes",
            value: proto.node.len() as u64,
            limit: limits.graph_nodes as u64,
        });
    }
    let mut consts = HashMap::new();
    for (tensor, raw) in initializers {
        let name = tensor.name.clone();
        let value = constant(model, &name, tensor, raw, limits)?;
        if consts.insert(name.clone(), Arc::new(value)).is_some() {
            return Err(bad(format!("initializer '{name}' is defined twice")));
        }
    }
    let mut inputs = Vec::new();
    for input in proto.input {
        // Old exporters list initializers among the inputs.
        if !consts.contains_key(&input.name) {
            inputs.push(input_shape(model, input, limits)?);
        }
    }
    let outputs: Vec<String> = proto.output.into_iter().map(|o| o.name).collect();
    if inputs.is_empty() || outputs.is_empty() {
        return Err(bad("its graph has no input or no output".into()));
    }
    if let Some(ports) = [inputs.len(), outputs.len()].into_iter().find(|n| *n > limits.graph_ports) {
        let (value, limit) = (ports as u64, limits.graph_ports as u64);
        return Err(Error::Limit { subject: model.into(), what: "graph_ports", value, limit });
    }
    let mut seen = HashSet::new();
    if let Some((twice, _)) = inputs.iter().find(|i| !seen.insert(&i.0)) {
        return Err(bad(format!("its input '{twice}' is listed twice")));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = outputs.iter().find(|o| !seen.insert(*o)) {
        return Err(bad(format!("its output '{twice}' is listed twice")));
    }
    if let Some((name, _)) = inputs.iter().find(|i| outputs.contains(&i.0)) {
        return Err(bad(format!("its output '{name}' is also its input; take it off the outputs")));
    }
    let mut defined: HashSet<String> = inputs.iter().map(|i| i.0.clone()).chain(consts.keys().cloned()).collect();
    let mut nodes = Vec::with_capacity(proto.node.len());
    for node in proto.node {
        let node = Node {
            name: node.name,
            op: node.op_type,
            domain: node.domain,
            inputs: node.input,
            outputs: node.output,
            attributes: node.attribute,
        };
        if node.outputs.iter().all(String::is_empty) {
            return Err(bad(format!("node '{}' ({}) has no output", node.name, node.op)));
        }
        if let Some(missing) = node.inputs.iter().find(|i| !i.is_empty() && !defined.contains(*i)) {
            return Err(bad(format!("node '{}' reads '{missing}', which nothing before it computes", node.label())));
        }
        for output in node.outputs.iter().filter(|o| !o.is_empty()) {
            if !defined.insert(output.clone()) {
                return Err(bad(format!("tensor '{output}' is computed twice")));
            }
        }
        nodes.push(node);
    }
    if let Some(missing) = outputs.iter().find(|o| !defined.contains(*o)) {
        return Err(bad(format!("its output '{missing}' is computed by no node")));
    }
    Ok(Graph { nodes, consts, inputs, outputs, opset, why: HashMap::new() })
}

/// Name and shape of a graph input; an unnamed or symbolic batch counts as 1.
fn input_shape(model: &str, input: pb::ValueInfoProto, limits: &Limits) -> Result<(String, Vec<usize>)> {
    use pb::tensor_shape_proto::dimension::Value;
    let bad =
        |reason: &str| Error::BadModel { model: model.into(), reason: format!("input '{}' {reason}", input.name) };
    let Some(pb::type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err(bad("is not a tensor"));
    };
    if tensor.elem_type != pb::tensor_proto::DataType::Float as i32 {
        return Err(bad("is not float32; export the model with a float32 input"));
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| bad("has no shape; export the model with fixed shapes"))?;
    let mut dims = Vec::new();
    for (i, dim) in shape.dim.iter().enumerate() {
        match &dim.value {
            Some(Value::DimValue(n)) if *n > 0 => dims.push(*n as usize),
            Some(Value::DimParam(_)) | None if i == 0 => dims.push(1),
            _ => return Err(bad("has a size that is not fixed; export the model with fixed shapes")),
        }
    }
    check_volume(model, &input.name, &dims, limits)?;
    Ok((input.name, dims))
}

/// Refuses a tensor whose shape asks for more than the limit, and gives its volume. A dimension of 0 makes no other one
/// small: what goes along that one would take as long.
pub(super) fn check_volume(model: &str, name: &str, shape: &[usize], limits: &Limits) -> Result<usize> {
    if shape.len() > MAX_RANK {
        let reason = format!("tensor '{name}' has {} dimensions, more than {MAX_RANK}; export it again", shape.len());
        return Err(Error::BadModel { model: model.into(), reason });
    }
    let room = shape.iter().try_fold(1u64, |v, d| v.checked_mul(*d.max(&1) as u64)).unwrap_or(u64::MAX);
    if room > limits.tensor_elements {
        return Err(Error::Limit {
            subject: format!("{model}: tensor '{name}' {shape:?}"),
            what: "tensor_elements",
            value: room,
            limit: limits.tensor_elements,
        });
    }
    Ok(if shape.contains(&0) { 0 } else { room as usize })
}

/// A constant from protobuf, `raw` being its raw data, which is not read where it can stay.
pub(super) fn constant<'a>(
    model: &str,
    name: &str,
    mut tensor: pb::TensorProto,
    raw: Raw<'a>,
    limits: &Limits,
) -> Result<Const<'a>> {
    use pb::tensor_proto::DataType;
    let bad = |reason: String| Error::BadModel { model: model.into(), reason: format!("constant '{name}' {reason}") };
    if tensor.data_location == Some(pb::tensor_proto::DataLocation::External as i32) || !tensor.external_data.is_empty()
    {
        return Err(bad("lies in another file; save the model as one file".into()));
    }
    let mut shape = Vec::new();
    for dim in &tensor.dims {
        shape.push(usize::try_from(*dim).map_err(|_| bad(format!("has a dimension of {dim}")))?);
    }
    let volume = check_volume(model, name, &shape, limits)?;
    let is_raw = raw.len() > 0;
    let int32 = std::mem::take(&mut tensor.int32_data);
    let (values, size) = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => {
            let v = match is_raw {
                true => F32Values::of_file(raw),
                false => std::mem::take(&mut tensor.float_data).into(),
            };
            let n = v.len();
            if let Some(i) = float::first_nan(&v.get()) {
                return Err(bad(nan(i)));
            }
            (Values::F32(v), n)
        }
        Ok(DataType::String) => return Err(bad("is text; oltr computes with numbers".into())),
        Ok(DataType::Uint8) => {
            let v = if is_raw { raw } else { Raw::Own(int32.iter().map(|x| *x as u8).collect()) };
            let n = v.len();
            (Values::U8(v), n)
        }
        Ok(DataType::Int8) => {
            let v = if is_raw { raw } else { Raw::Own(int32.iter().map(|x| *x as u8).collect()) };
            let n = v.len();
            (Values::I8(v), n)
        }
        Ok(dtype @ (DataType::Int4 | DataType::Uint4)) => {
            let packed = if is_raw { raw.get().into_owned() } else { int32.iter().map(|x| *x as u8).collect() };
            let bytes = narrow::fours(&packed, volume, dtype == DataType::Int4);
            let n = bytes.len();
            (if dtype == DataType::Int4 { Values::I8(Raw::Own(bytes)) } else { Values::U8(Raw::Own(bytes)) }, n)
        }
        Ok(DataType::Int32) => {
            let v = if is_raw { wide(&raw.get(), i32::from_le_bytes) } else { int32 };
            let n = v.len();
            (Values::I32(v), n)
        }
        Ok(DataType::Int64) => {
            let v = if is_raw { wide(&raw.get(), i64::from_le_bytes) } else { std::mem::take(&mut tensor.int64_data) };
            let n = v.len();
            (Values::I64(v), n)
        }
        Ok(DataType::Undefined) | Err(_) => return Err(bad(format!("has the unknown type {}", tensor.data_type))),
        Ok(other) => {
            let raw = raw.get();
            if let Some(i) = narrow::first_nan(other, &raw, &int32, &tensor.double_data) {
                return Err(bad(nan(i)));
            }
            tensor.raw_data = raw.into_owned();
            tensor.int32_data = int32;
            (Values::Other(Box::new(tensor)), volume)
        }
    };
    if size != volume {
        return Err(bad(format!("has shape {shape:?} but {size} values; the file is damaged")));
    }
    Ok(Const { shape, values })
}

fn nan(element: usize) -> String {
    format!("holds NaN at element {element}; the training or export went wrong")
}

/// The protobuf of a constant, for tract.
pub(super) fn to_proto(name: &str, value: &Const) -> pb::TensorProto {
    use pb::tensor_proto::DataType;
    fn raw<T: Clone, const N: usize>(values: &[T], to: fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().cloned().flat_map(to).collect()
    }
    let (data_type, raw_data) = match &value.values {
        Values::F32(v) => (DataType::Float, raw(&v.get(), f32::to_le_bytes)),
        Values::U8(v) => (DataType::Uint8, v.get().into_owned()),
        Values::I8(v) => (DataType::Int8, v.get().into_owned()),
        Values::I32(v) => (DataType::Int32, raw(v, i32::to_le_bytes)),
        Values::I64(v) => (DataType::Int64, raw(v, i64::to_le_bytes)),
        Values::Other(tensor) => return pb::TensorProto { name: name.into(), ..(**tensor).clone() },
    };
    let dims = value.shape.iter().map(|d| *d as i64).collect();
    pb::TensorProto { name: name.into(), dims, data_type: data_type as i32, raw_data, ..Default::default() }
}

impl Graph<'_> {
    /// The graph as protobuf, for tract. `custom` outputs of nodes keep their names.
    pub fn to_proto(&self) -> pb::ModelProto {
        let value = |name: &str, shape: Option<&[usize]>| pb::ValueInfoProto {
            name: name.into(),
            r#type: shape.map(|shape| pb::TypeProto {
                value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                    elem_type: pb::tensor_proto::DataType::Float as i32,
                    shape: Some(pb::TensorShapeProto {
                        dim: shape
                            .iter()
                            .map(|d| pb::tensor_shape_proto::Dimension {
                                value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(*d as i64)),
                                ..Default::default()
                            })
                            .collect(),
                    }),
                })),
                ..Default::default()
            }),
            ..Default::default()
        };
        let used: HashSet<&str> =
            self.nodes.iter().flat_map(|n| &n.inputs).chain(&self.outputs).map(String::as_str).collect();
        let mut names: Vec<&String> = self.consts.keys().filter(|k| used.contains(k.as_str())).collect();
        names.sort();
        let graph = pb::GraphProto {
            name: "oltr".into(),
            node: self
                .nodes
                .iter()
                .map(|n| pb::NodeProto {
                    // tract wants unique node names; the first output's name is unique.
                    name: n.outputs.iter().find(|o| !o.is_empty()).cloned().unwrap_or_default(),
                    op_type: n.op.clone(),
                    domain: n.domain.clone(),
                    input: n.inputs.clone(),
                    output: n.outputs.clone(),
                    attribute: n.attributes.clone(),
                    ..Default::default()
                })
                .collect(),
            initializer: names.iter().map(|n| to_proto(n, &self.consts[*n])).collect(),
            input: self.inputs.iter().map(|(n, s)| value(n, Some(s))).collect(),
            output: self.outputs.iter().map(|n| value(n, None)).collect(),
            ..Default::default()
        };
        pb::ModelProto {
            ir_version: 8,
            opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: self.opset }],
            graph: Some(graph),
            ..Default::default()
        }
    }

    /// The node that computes each tensor.
    pub fn producers(&self) -> HashMap<&str, usize> {
        self.nodes
            .iter()
            .enumerate()
            .flat_map(|(i, n)| n.outputs.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), i)))
            .collect()
    }

    /// The nodes that read each tensor, once for each input that does.
    pub fn consumers(&self) -> HashMap<&str, Vec<usize>> {
        let mut map: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, node) in self.nodes.iter().enumerate() {
            for input in node.inputs.iter().filter(|i| !i.is_empty()) {
                map.entry(input).or_default().push(i);
            }
        }
        map
    }
}
