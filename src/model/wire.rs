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

/// What field `number` of a message of kind `kind` is (onnx.proto).
fn field(kind: Kind, number: u64) -> Kind {
    match (kind, number) {
        (Kind::Model, 7) => Kind::Graph,
        (Kind::Model, 8 | 14) => Kind::Small,
        (Kind::Model, 20) => Kind::Training,
        (Kind::Model, 25) => Kind::Function,
        (Kind::Graph, 1) => Kind::Node,
        (Kind::Graph, 5) => Kind::Tensor,
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
    let mut walk = Walk { model, fields: 0, limit: limits.graph_fields };
    walk.message(Kind::Model, bytes, 0)
}

struct Walk<'a> {
    model: &'a str,
    fields: u64,
    limit: u64,
}

impl Walk<'_> {
    fn count(&mut self, n: u64) -> Result<()> {
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

    fn broken(&self) -> Error {
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
            let tag = varint(&mut bytes).ok_or_else(|| self.broken())?;
            self.count(1)?;
            let length = match tag & 7 {
                0 => {
                    varint(&mut bytes).ok_or_else(|| self.broken())?;
                    continue;
                }
                1 => 8,
                2 => varint(&mut bytes).ok_or_else(|| self.broken())?,
                5 => 4,
                _ => return Err(self.broken()),
            };
            let length = usize::try_from(length).ok().filter(|n| *n <= bytes.len()).ok_or_else(|| self.broken())?;
            let (inner, rest) = bytes.split_at(length);
            bytes = rest;
            if tag & 7 == 2 {
                match field(kind, tag >> 3) {
                    Kind::Leaf => {}
                    Kind::Small => self.count(length as u64 / 4)?,
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

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * i)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
