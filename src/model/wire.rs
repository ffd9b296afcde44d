//! A look at the protobuf wire format before it is decoded, so that a small file cannot become a large heap.
//!
//! Decoded, an empty message of two bytes takes some two hundred. Counting the fields first, with the nesting that
//! ONNX has, costs a fraction of a millisecond and bounds what decoding can allocate.

use tract_onnx::pb;

use crate::error::{Error, Result};
use crate::limits::Limits;

/// Messages of ONNX, as far as they can repeat.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Function,
    Training,
    /// Shapes, types, key-value pairs: counted by their bytes, not opened.
    Small,
    /// Bytes, text or packed numbers.
    Leaf,
}

/// Number of a model's field that is its graph.
pub(super) const GRAPH: u64 = 7;

/// Number of a model's field that is an entry of its metadata.
pub(super) const METADATA: u64 = 14;

/// Number of a graph's field that is an initializer.
pub(super) const INITIALIZER: u64 = 5;

/// Number of a tensor's field that is its raw data.
pub(super) const RAW_DATA: u64 = 9;

/// What field `number` of a message of kind `kind` is (onnx.proto).
fn field(kind: Kind, number: u64) -> Kind {
    match (kind, number) {
        (Kind::Model, GRAPH) => Kind::Graph,
        (Kind::Model, 8 | 14) => Kind::Small,
        (Kind::Model, 20) => Kind::Training,
        (Kind::Model, 25) => Kind::Function,
        (Kind::Graph, 1) => Kind::Node,
        (Kind::Graph, INITIALIZER) => Kind::Tensor,
        (Kind::Graph, 11..=14) => Kind::Small,
        (Kind::Graph, 15) => Kind::SparseTensor,
        (Kind::Node, 5) => Kind::Attribute,
        (Kind::Attribute, 5 | 10) => Kind::Tensor,
        (Kind::Attribute, 6 | 11) => Kind::Graph,
        (Kind::Attribute, 14 | 15) => Kind::Small,
        (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
        (Kind::Tensor, 3 | 13) => Kind::Small,
        (Kind::SparseTensor, 1 | 2) => Kind::Tensor,
        (Kind::Function, 7) => Kind::Node,
        (Kind::Function, 9) => Kind::Small,
        (Kind::Training, 1 | 2) => Kind::Graph,
        (Kind::Training, 3 | 4) => Kind::Small,
        _ => Kind::Leaf,
    }
}

/// Bytes that one field counts for.
const FIELD: usize = 200;

/// As how many fields a message of this kind counts, its own fields apart: an empty attribute takes more than a
/// thousand bytes, and a list that grows holds up to twice its elements.
fn weight(kind: Kind) -> u64 {
    let bytes = match kind {
        Kind::Graph => size_of::<pb::GraphProto>(),
        Kind::Node => size_of::<pb::NodeProto>(),
        Kind::Attribute => size_of::<pb::AttributeProto>(),
        Kind::Tensor => size_of::<pb::TensorProto>(),
        Kind::SparseTensor => size_of::<pb::SparseTensorProto>(),
        Kind::Function => size_of::<pb::FunctionProto>(),
        Kind::Training => size_of::<pb::TrainingInfoProto>(),
        Kind::Model | Kind::Small | Kind::Leaf => 0,
    };
    (2 * bytes / FIELD) as u64
}

/// Graphs within graphs; ONNX needs one level for `If` and `Loop`, which oltr does not run.
const MAX_DEPTH: usize = 16;

/// Refuses a file that would decode to more fields than [`Limits::graph_fields`], or that breaks off.
pub(super) fn check(model: &str, bytes: &[u8], limits: &Limits) -> Result<()> {
    Walk::new(model, limits).model(bytes)
}

/// Counts fields, of a model as a whole or in pieces.
pub(super) struct Walk<'a> {
    model: &'a str,
    fields: u64,
    limit: u64,
}

impl<'a> Walk<'a> {
    /// For the file `model`.
    pub fn new(model: &'a str, limits: &Limits) -> Walk<'a> {
        Walk { model, fields: 0, limit: limits.graph_fields }
    }

    /// A whole model, or one without its initializers.
    pub fn model(&mut self, bytes: &[u8]) -> Result<()> {
        self.message(Kind::Model, bytes, 0)
    }

    /// What is in an initializer, or all but its raw data.
    pub fn tensor(&mut self, bytes: &[u8]) -> Result<()> {
        self.message(Kind::Tensor, bytes, 2)
    }

    /// The field that an initializer is, without what is in it.
    pub fn count_tensor(&mut self) -> Result<()> {
        self.count(1 + weight(Kind::Tensor))
    }

    /// `n` fields more.
    pub fn count(&mut self, n: u64) -> Result<()> {
        self.fields += n;
        if self.fields > self.limit {
            return Err(Error::Limit {
                subject: self.model.into(),
                what: "graph_fields",
                value: self.fields,
                limit: self.limit,
            });
        }
        Ok(())
    }

    /// The error of a file that breaks off.
    pub fn broken(&self) -> Error {
        Error::BadModel {
            model: self.model.into(),
            reason: "is not an ONNX file, or a damaged one (its protobuf breaks off); export or copy it again".into(),
        }
    }

    fn message(&mut self, kind: Kind, mut bytes: &[u8], depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.broken());
        }
        while !bytes.is_empty() {
            self.count(1)?;
            let one = take(&mut bytes).ok_or_else(|| self.broken())?;
            if let Some(inner) = one.nested() {
                match field(kind, one.number) {
                    Kind::Leaf => {}
                    Kind::Small => self.count(inner.len() as u64 / 4)?,
                    nested => {
                        self.count(weight(nested))?;
                        self.message(nested, inner, depth + 1)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its number in the message.
    pub number: u64,
    /// All of its bytes, tag and length included.
    pub whole: &'a [u8],
    /// The bytes of text, of a message or of packed numbers; empty for a single number.
    pub content: &'a [u8],
    length_delimited: bool,
}

impl<'a> Field<'a> {
    /// The content, if the field is one of bytes.
    fn nested(&self) -> Option<&'a [u8]> {
        self.length_delimited.then_some(self.content)
    }
}

/// The fields of the message `bytes`, in order; `None` where it breaks off, and nothing after that.
pub(super) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| {
            let field = take(&mut bytes);
            if field.is_none() {
                bytes = &[];
            }
            field
        })
    })
}

/// Takes the first field off `bytes`; `None` if they break off.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    let start = *bytes;
    let tag = varint(bytes)?;
    let length = match tag & 7 {
        0 => {
            varint(bytes)?;
            0
        }
        1 => 8,
        2 => varint(bytes)?,
        5 => 4,
        _ => return None,
    };
    let length = usize::try_from(length).ok().filter(|n| *n <= bytes.len())?;
    let (inner, rest) = bytes.split_at(length);
    *bytes = rest;
    let length_delimited = tag & 7 == 2;
    let content = if length_delimited { inner } else { &[] };
    Some(Field { number: tag >> 3, whole: &start[..start.len() - rest.len()], content, length_delimited })
}

/// Appends field `number` with `content` to a message.
pub(super) fn put_bytes(number: u64, content: &[u8], out: &mut Vec<u8>) {
    put_varint(number << 3 | 2, out);
    put_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// Appends a number.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let next = || {
        let (byte, rest) = bytes.split_first().ok_or(())?;
        *bytes = rest;
        Ok::<_, ()>(*byte)
    };
    number(next).ok().flatten()
}

/// A number from the bytes that `next` gives; `None` if it does not end.
pub(super) fn number<E>(mut next: impl FnMut() -> std::result::Result<u8, E>) -> std::result::Result<Option<u64>, E> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some(value));
        }
    }
    Ok(None)
}
