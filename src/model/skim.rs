//! The first reading of a model file: all of it but the weights, in one pass.
//!
//! The raw data of initializers is left out and remembered by its place; everything else, some ten thousandths to some
//! hundredths of a file, is kept as protobuf. On the way the file is hashed.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::origin::Origin;
use super::wire::{self, GRAPH, INITIALIZER, METADATA, RAW_DATA, Walk};
use crate::error::Result;
use crate::limits::Limits;

/// A model without its weights.
#[derive(Debug)]
pub(super) struct Skeleton {
    /// The model's protobuf without the initializers of its graph.
    pub model: Vec<u8>,
    pub initializers: Vec<Initializer>,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// SHA-256 of the file without its metadata, if it was asked for.
    pub graph_sha256: Option<String>,
}

#[derive(Debug)]
pub(super) struct Initializer {
    /// The tensor's protobuf without its raw data.
    pub tensor: Vec<u8>,
    /// Where that is in the file; empty where there is none.
    pub raw: Range<u64>,
}

/// Bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// Tag of a field of bytes, less its number.
const BYTES: u64 = 2;

/// Reads a model's file. `model` is its name, for messages; `hash_graph` asks for [`Skeleton::graph_sha256`].
///
/// # Errors
/// [`Error::BadModel`](crate::Error::BadModel) for a file that breaks off, [`Error::Limit`](crate::Error::Limit) for
/// one that would decode to more fields than [`Limits::graph_fields`], [`Error::Io`](crate::Error::Io).
pub(super) fn skim(model: &str, origin: &Origin, hash_graph: bool, limits: &Limits) -> Result<Skeleton> {
    let input = BufReader::with_capacity(BUFFER, Hashed { input: origin.stream()?, hash: Sha256::new() });
    let graph_hash = hash_graph.then(GraphHash::default);
    let (walk, initializers) = (Walk::new(model, limits), Vec::new());
    let mut skim = Skim { origin, input, at: 0, graph_hash, walk, initializers };
    let rest = skim.model()?;
    let Skim { mut walk, initializers, input, graph_hash, .. } = skim;
    walk.model(&rest)?;
    for initializer in &initializers {
        walk.tensor(&initializer.tensor)?;
    }
    let sha256 = digits(input.into_inner().hash);
    Ok(Skeleton { model: rest, initializers, sha256, graph_sha256: graph_hash.map(|graph| digits(graph.hash)) })
}

fn digits(hash: Sha256) -> String {
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Hashes the fields of the model that are no metadata.
#[derive(Default)]
struct GraphHash {
    hash: Sha256,
    /// Bytes of a field whose number is not known yet: a tag.
    tag: Vec<u8>,
    /// The field that is being read; `None` before its number is known.
    counts: Option<bool>,
}

impl GraphHash {
    fn take(&mut self, bytes: &[u8]) {
        match self.counts {
            None => self.tag.extend_from_slice(bytes),
            Some(true) => self.hash.update(bytes),
            Some(false) => {}
        }
    }

    /// The field that begins now has this number.
    fn begins(&mut self, number: u64) {
        if number != METADATA {
            self.hash.update(&self.tag);
        }
        self.tag.clear();
        self.counts = Some(number != METADATA);
    }
}

/// Hashes what is read.
struct Hashed<R> {
    input: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(to)?;
        self.hash.update(&to[..count]);
        Ok(count)
    }
}

struct Skim<'a> {
    origin: &'a Origin<'a>,
    input: BufReader<Hashed<Box<dyn Read + 'a>>>,
    /// Bytes that were taken.
    at: u64,
    graph_hash: Option<GraphHash>,
    walk: Walk<'a>,
    initializers: Vec<Initializer>,
}

impl Skim<'_> {
    /// The whole file: what is left of the model.
    fn model(&mut self) -> Result<Vec<u8>> {
        let end = self.origin.length();
        let (mut rest, mut graph, mut has_graph) = (Vec::new(), Vec::new(), false);
        while let Some((number, kind)) = self.tag(end)? {
            if let Some(hash) = &mut self.graph_hash {
                hash.begins(number);
            }
            if (number, kind) == (GRAPH, BYTES) {
                // A message that comes twice is one that has the fields of both.
                let end = self.end(end)?;
                self.graph(end, &mut graph)?;
                has_graph = true;
            } else {
                self.keep(number, kind, end, &mut rest)?;
            }
            if let Some(hash) = &mut self.graph_hash {
                hash.counts = None;
            }
        }
        if has_graph {
            wire::put_bytes(GRAPH, &graph, &mut rest);
        }
        Ok(rest)
    }

    fn graph(&mut self, end: u64, rest: &mut Vec<u8>) -> Result<()> {
        while let Some((number, kind)) = self.tag(end)? {
            if (number, kind) == (INITIALIZER, BYTES) {
                self.walk.count_tensor()?;
                let end = self.end(end)?;
                let initializer = self.tensor(end)?;
                self.initializers.push(initializer);
            } else {
                self.keep(number, kind, end, rest)?;
            }
        }
        Ok(())
    }

    fn tensor(&mut self, end: u64) -> Result<Initializer> {
        let (mut tensor, mut raw) = (Vec::new(), 0..0);
        while let Some((number, kind)) = self.tag(end)? {
            if (number, kind) == (RAW_DATA, BYTES) {
                self.walk.count(1)?;
                let end = self.end(end)?;
                // Of data that comes twice the last counts.
                raw = self.at..end;
                self.take(end - self.at, |_| {})?;
            } else {
                self.keep(number, kind, end, &mut tensor)?;
            }
        }
        Ok(Initializer { tensor, raw })
    }

    /// Number and kind of the next field of a message that ends at `end`; `None` at its end.
    fn tag(&mut self, end: u64) -> Result<Option<(u64, u64)>> {
        if self.at == end {
            return Ok(None);
        }
        let tag = self.varint(end)?;
        Ok(Some((tag >> 3, tag & 7)))
    }

    /// Reads the length of a message inside one that ends at `end`: where it ends.
    fn end(&mut self, end: u64) -> Result<u64> {
        let length = self.varint(end)?;
        self.at.checked_add(length).filter(|inner| *inner <= end).ok_or_else(|| self.walk.broken())
    }

    /// Appends a field to what is kept, as it is.
    fn keep(&mut self, number: u64, kind: u64, end: u64, to: &mut Vec<u8>) -> Result<()> {
        wire::put_varint(number << 3 | kind, to);
        let length = match kind {
            0 => {
                let value = self.varint(end)?;
                wire::put_varint(value, to);
                0
            }
            1 => 8,
            BYTES => {
                let length = self.end(end)? - self.at;
                wire::put_varint(length, to);
                length
            }
            5 => 4,
            _ => return Err(self.walk.broken()),
        };
        if length > end - self.at {
            return Err(self.walk.broken());
        }
        self.take(length, |bytes| to.extend_from_slice(bytes))
    }

    fn varint(&mut self, end: u64) -> Result<u64> {
        let next = || {
            if self.at == end {
                return Err(self.walk.broken());
            }
            let mut byte = 0;
            self.take(1, |bytes| byte = bytes[0])?;
            Ok(byte)
        };
        wire::number(next)?.ok_or_else(|| self.walk.broken())
    }

    /// Hands `count` bytes over, in pieces.
    fn take(&mut self, mut count: u64, mut to: impl FnMut(&[u8])) -> Result<()> {
        while count > 0 {
            let bytes = match self.input.fill_buf() {
                Ok([]) => return Err(self.walk.broken()),
                Ok(bytes) => bytes,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(self.origin.error(cause)),
            };
            let piece = bytes.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            to(&bytes[..piece]);
            if let Some(hash) = &mut self.graph_hash {
                hash.take(&bytes[..piece]);
            }
            self.input.consume(piece);
            self.at += piece as u64;
            count -= piece as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use prost::Message;
    use tract_onnx::pb;

    use super::super::graph::{self, Values};
    use super::super::metadata;
    use super::super::origin::Raw;
    use super::*;
    use crate::error::Error;

    fn tensor(name: &str, raw: &[u8]) -> pb::TensorProto {
        let data_type = pb::tensor_proto::DataType::Int8 as i32;
        let dims = vec![raw.len() as i64];
        pb::TensorProto { name: name.into(), dims, data_type, raw_data: raw.to_vec(), ..Default::default() }
    }

    fn model(initializer: Vec<pb::TensorProto>, nodes: &[&str]) -> pb::ModelProto {
        let node = |name: &&str| pb::NodeProto { name: name.to_string(), ..Default::default() };
        let graph = pb::GraphProto { node: nodes.iter().map(node).collect(), initializer, ..Default::default() };
        pb::ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() }
    }

    fn skim(bytes: &[u8], limits: &Limits) -> Result<Skeleton> {
        super::skim("m", &Origin::memory(bytes), true, limits)
    }

    /// What prost reads of a model is what it reads of its pieces, also where the graph comes twice.
    #[test]
    fn the_pieces_of_a_model_are_the_model() {
        let long: Vec<u8> = (0..3 * BUFFER).map(|i| (i * 7 % 251) as u8).collect();
        let first = model(vec![tensor("a", &[1, 2, 3]), tensor("long", &long), tensor("b", &[])], &["x", "y"]);
        let first = first.encode_to_vec();
        let second = model(vec![tensor("c", &[4])], &["z"]).encode_to_vec();
        let nothing = pb::ModelProto { ir_version: 7, ..Default::default() }.encode_to_vec();
        let mut told = Vec::new();
        wire::put_bytes(METADATA, &[0x0a, 1, b'k', 0x12, 1, b'v'], &mut told);
        let between = [&told[..], &first, &told, &second, &told].concat();
        for bytes in [first.clone(), [&first[..], &second].concat(), nothing, between] {
            let skeleton = skim(&bytes, &Limits::default()).unwrap();
            let mut together = pb::ModelProto::decode(&skeleton.model[..]).unwrap();
            for Initializer { tensor, raw } in skeleton.initializers {
                let mut tensor = pb::TensorProto::decode(&tensor[..]).unwrap();
                assert!(tensor.raw_data.is_empty());
                tensor.raw_data = bytes[raw.start as usize..raw.end as usize].to_vec();
                together.graph.as_mut().unwrap().initializer.push(tensor);
            }
            assert_eq!(together, pb::ModelProto::decode(&bytes[..]).unwrap());
            let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(skeleton.sha256, sha256);
            let graph_sha256 = metadata::graph_sha256("m", &bytes, &Limits::default()).unwrap();
            assert_eq!(skeleton.graph_sha256, Some(graph_sha256));
        }
    }

    #[test]
    fn raw_data_that_comes_twice_is_the_last() {
        let mut twice = tensor("a", &[1, 2]).encode_to_vec();
        wire::put_bytes(RAW_DATA, &[3, 4], &mut twice);
        let mut graph = Vec::new();
        wire::put_bytes(INITIALIZER, &twice, &mut graph);
        let mut bytes = Vec::new();
        wire::put_bytes(GRAPH, &graph, &mut bytes);
        let decoded = pb::ModelProto::decode(&bytes[..]).unwrap().graph.unwrap().initializer.remove(0);
        assert_eq!(decoded.raw_data, [3, 4]);
        let raw = skim(&bytes, &Limits::default()).unwrap().initializers.remove(0).raw;
        assert_eq!(bytes[raw.start as usize..raw.end as usize], [3, 4]);
    }

    #[test]
    fn what_breaks_off_is_refused_wherever_that_is() {
        let bytes = model(vec![tensor("a", &[1, 2, 3])], &["x"]).encode_to_vec();
        skim(&bytes, &Limits::default()).unwrap();
        // Without its first fields a model is one, and so is what breaks off between two.
        for cut in 3..bytes.len() {
            let error = skim(&bytes[..cut], &Limits::default()).unwrap_err().to_string();
            assert!(error.contains("breaks off"), "cut at {cut}: {error}");
        }
        // A message inside is longer than the one around it.
        let mut graph = Vec::new();
        wire::put_bytes(INITIALIZER, &[0; 10], &mut graph);
        graph.truncate(5);
        let mut bytes = Vec::new();
        wire::put_bytes(GRAPH, &graph, &mut bytes);
        bytes.extend([0x08, 1, 0x08, 1, 0x08, 1]);
        assert!(skim(&bytes, &Limits::default()).unwrap_err().to_string().contains("breaks off"));
    }

    /// As many as a check of the whole counts: initializers are no way around the limit.
    #[test]
    fn all_fields_are_counted() {
        let bytes = model(vec![tensor("a", &[1]), tensor("b", &[2])], &["x"]).encode_to_vec();
        let limits = |fields| Limits::with(|limits| limits.graph_fields = fields);
        let fits = |n: &u64| wire::check("m", &bytes, &limits(*n)).is_ok();
        let needed = (0..1000).find(fits).unwrap();
        skim(&bytes, &limits(needed)).unwrap();
        let error = skim(&bytes, &limits(needed - 1)).unwrap_err();
        assert!(matches!(error, Error::Limit { what: "graph_fields", .. }), "{error}");
        // Nor is a list of them made first and counted then.
        let empty = model(vec![pb::TensorProto::default(); 100_000], &[]).encode_to_vec();
        assert!(matches!(skim(&empty, &limits(1000)).unwrap_err(), Error::Limit { value, .. } if value < 1020));
    }

    /// Weights are not read before they are asked for.
    #[test]
    fn weights_stay_in_the_file() {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graphs/lite0s.qdq.onnx"));
        let length = fs::metadata(path).unwrap().len();
        let origin = Origin::part(File::open(path).unwrap(), path, 0, length);
        let file = graph::read("lite0s", &origin, false, &Limits::default()).unwrap();
        let weights = file.graph.consts.values().filter(|c| c.shape.len() == 4);
        let (stay, read): (Vec<_>, Vec<_>) =
            weights.partition(|c| matches!(&c.values, Values::I8(Raw::At(..)) | Values::U8(Raw::At(..))));
        assert!(stay.len() > 20 && read.is_empty(), "{} stay, {} are read", stay.len(), read.len());
    }
}
