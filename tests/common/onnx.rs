//! ONNX files built by hand, because the tests need graphs that no exporter writes.

/// ONNX `TensorProto.DataType`.
pub mod dtype {
    pub const FLOAT: i64 = 1;
    pub const UINT8: i64 = 2;
    pub const INT8: i64 = 3;
    pub const UINT16: i64 = 4;
    pub const INT32: i64 = 6;
    pub const INT64: i64 = 7;
    pub const STRING: i64 = 8;
    pub const DOUBLE: i64 = 11;
    pub const INT4: i64 = 22;
}

/// A protobuf message, field by field.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// An integer or an enumeration.
    pub fn int(mut self, field: u64, value: i64) -> Message {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    /// A single-precision number.
    pub fn float(mut self, field: u64, value: f32) -> Message {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Bytes or text.
    pub fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Message {
        self.varint(field << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    /// A message within this one.
    pub fn message(self, field: u64, value: &Message) -> Message {
        self.bytes(field, &value.0)
    }

    /// The same field for each of `values`.
    pub fn each<T>(self, values: &[T], add: impl Fn(Message, &T) -> Message) -> Message {
        values.iter().fold(self, add)
    }
}

/// An initializer. The values lie in `raw_data`.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub dtype: i64,
    pub dims: Vec<i64>,
    pub raw: Vec<u8>,
    /// Further fields.
    pub more: Message,
}

impl Tensor {
    pub fn new(name: &str, dtype: i64, dims: &[i64], raw: &[u8]) -> Tensor {
        Tensor { name: name.into(), dtype, dims: dims.into(), raw: raw.into(), more: Message::default() }
    }

    pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
        Tensor::new(name, dtype::FLOAT, dims, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    pub fn int64s(name: &str, values: &[i64]) -> Tensor {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor::new(name, dtype::INT64, &[values.len() as i64], &raw)
    }

    /// `TensorProto`.
    pub fn message(&self) -> Message {
        let message = Message::default().each(&self.dims, |m, d| m.int(1, *d)).int(2, self.dtype).bytes(8, &self.name);
        let message = if self.raw.is_empty() { message } else { message.bytes(9, &self.raw) };
        Message([message.0, self.more.0.clone()].concat())
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub op: String,
    pub domain: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// `AttributeProto`s.
    pub attributes: Vec<Message>,
}

impl Node {
    /// A node called like its first output.
    pub fn new(op: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let strings = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        Node {
            name: outputs.first().copied().unwrap_or_default().into(),
            op: op.into(),
            domain: String::new(),
            inputs: strings(inputs),
            outputs: strings(outputs),
            attributes: Vec::new(),
        }
    }

    pub fn domain(mut self, domain: &str) -> Node {
        self.domain = domain.into();
        self
    }

    /// An integer attribute.
    pub fn int(self, name: &str, value: i64) -> Node {
        self.attribute(Message::default().bytes(1, name).int(3, value).int(20, 2))
    }

    /// An attribute of several integers.
    pub fn ints(self, name: &str, values: &[i64]) -> Node {
        self.attribute(Message::default().bytes(1, name).each(values, |m, v| m.int(8, *v)).int(20, 7))
    }

    /// A tensor attribute.
    pub fn tensor(self, name: &str, value: &Tensor) -> Node {
        self.attribute(Message::default().bytes(1, name).message(5, &value.message()).int(20, 4))
    }

    /// Any attribute, an `AttributeProto`.
    pub fn attribute(mut self, attribute: Message) -> Node {
        self.attributes.push(attribute);
        self
    }

    /// `NodeProto`.
    pub fn message(&self) -> Message {
        Message::default()
            .each(&self.inputs, |m, i| m.bytes(1, i))
            .each(&self.outputs, |m, o| m.bytes(2, o))
            .bytes(3, &self.name)
            .bytes(4, &self.op)
            .each(&self.attributes, |m, a| m.message(5, a))
            .bytes(7, &self.domain)
    }
}

/// A file.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub nodes: Vec<Node>,
    pub tensors: Vec<Tensor>,
    /// `ValueInfoProto`s, as [`value`] makes them.
    pub inputs: Vec<Message>,
    pub outputs: Vec<Message>,
    pub metadata: Vec<(String, String)>,
    /// Version of ONNX's own operators.
    pub opset: Option<i64>,
    /// Further fields of the graph.
    pub more: Message,
}

impl Model {
    /// The initializer `name`.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).unwrap_or_else(|| panic!("no tensor '{name}'"))
    }

    /// The node whose first output is `output`.
    pub fn node(&mut self, output: &str) -> &mut Node {
        self.nodes.iter_mut().find(|n| n.outputs[0] == output).unwrap_or_else(|| panic!("no node computes '{output}'"))
    }

    /// Sets or replaces a metadata entry.
    pub fn set(&mut self, key: &str, value: &str) {
        self.metadata.retain(|(k, _)| k != key);
        self.metadata.push((key.into(), value.into()));
    }

    /// `GraphProto`.
    pub fn graph(&self) -> Message {
        let graph = Message::default()
            .each(&self.nodes, |m, n| m.message(1, &n.message()))
            .bytes(2, "graph")
            .each(&self.tensors, |m, t| m.message(5, &t.message()))
            .each(&self.inputs, |m, v| m.message(11, v))
            .each(&self.outputs, |m, v| m.message(12, v));
        Message([graph.0, self.more.0.clone()].concat())
    }

    /// `ModelProto`.
    pub fn message(&self) -> Message {
        let message = Message::default().int(1, 8).message(7, &self.graph());
        let opset = |version| Message::default().bytes(1, "").int(2, version);
        let message = message.each(self.opset.as_slice(), |m, v| m.message(8, &opset(*v)));
        message.each(&self.metadata, |m, (k, v)| m.message(14, &Message::default().bytes(1, k).bytes(2, v)))
    }

    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        self.message().0
    }
}

/// An input or output of a graph; a negative dimension is symbolic.
pub fn value(name: &str, dtype: i64, dims: &[i64]) -> Message {
    let dim = |d: i64| match d {
        0.. => Message::default().int(1, d),
        _ => Message::default().bytes(2, "N"),
    };
    let shape = Message::default().each(dims, |m, d| m.message(1, &dim(*d)));
    let tensor = Message::default().int(1, dtype).message(2, &shape);
    Message::default().bytes(1, name).message(2, &Message::default().message(1, &tensor))
}

/// A graph that makes tract panic when it runs: it reads far beyond a table.
pub fn tract_panics() -> Model {
    Model {
        nodes: vec![
            Node::new("Add", &["x", "far"], &["beyond"]),
            Node::new("Cast", &["beyond"], &["index"]).int("to", dtype::INT64),
            Node::new("Gather", &["table", "index"], &["y"]),
        ],
        tensors: vec![Tensor::floats("table", &[4], &[1.0; 4]), Tensor::floats("far", &[1], &[1000.0])],
        inputs: vec![value("x", dtype::FLOAT, &[1])],
        outputs: vec![value("y", dtype::FLOAT, &[1])],
        opset: Some(13),
        ..Model::default()
    }
}
