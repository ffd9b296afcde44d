//! The metadata of a file, changed without touching the rest: every other byte stays as it was.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::wire::{self, Field, METADATA};
use crate::bundle::Open;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Numbers of `key` and `value` in `StringStringEntryProto`.
const KEY: u64 = 1;
const VALUE: u64 = 2;

/// The ONNX file `bytes` with the entries of `changes` in its metadata: replaced at their places, else added at the end.
/// All other bytes are as they were. `model` is the file's name, for messages.
///
/// # Errors
/// [`Error::BadModel`] for what is no ONNX file, [`Error::Limit`] for one beyond `limits`.
pub fn with_metadata(
    model: &str,
    bytes: &[u8],
    changes: &BTreeMap<String, String>,
    limits: &Limits,
) -> Result<Vec<u8>> {
    wire::check(model, bytes, limits)?;
    let mut changes = changes.clone();
    let mut written = BTreeMap::new();
    let mut out = Vec::with_capacity(bytes.len() + 1024);
    for field in wire::fields(bytes) {
        let field = field.ok_or_else(|| broken(model))?;
        let key = key_of(model, &field)?;
        if let Some(value) = key.as_ref().and_then(|key| changes.remove(key)) {
            let key = key.unwrap_or_default();
            entry(&key, &value, &mut out);
            written.insert(key, ());
        } else if !key.is_some_and(|key| written.contains_key(&key)) {
            // A key that stands twice would be read as its last entry: the first took the new value, the others go.
            out.extend_from_slice(field.whole);
        }
    }
    for (key, value) in &changes {
        entry(key, value, &mut out);
    }
    Ok(out)
}

/// The bundle `bytes` with `open` as its rule; all other bytes are as they were.
///
/// # Errors
/// As [`with_metadata`].
pub fn with_open(model: &str, bytes: &[u8], open: &Open, limits: &Limits) -> Result<Vec<u8>> {
    with_metadata(model, bytes, &[(Open::KEY.to_string(), open.to_json())].into(), limits)
}

/// SHA-256 of the ONNX file `bytes` without its metadata, 64 hexadecimal digits: the same for two files that compute
/// the same, however they are calibrated.
///
/// # Errors
/// As [`with_metadata`].
pub fn graph_sha256(model: &str, bytes: &[u8], limits: &Limits) -> Result<String> {
    wire::check(model, bytes, limits)?;
    let mut hash = Sha256::new();
    for field in wire::fields(bytes) {
        let field = field.ok_or_else(|| broken(model))?;
        if field.number != METADATA {
            hash.update(field.whole);
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// The key of `field` if it is a metadata entry.
fn key_of(model: &str, field: &Field) -> Result<Option<String>> {
    if field.number != METADATA {
        return Ok(None);
    }
    let mut key = String::new();
    for inner in wire::fields(field.content) {
        let inner = inner.ok_or_else(|| broken(model))?;
        if inner.number == KEY {
            key = String::from_utf8_lossy(inner.content).into_owned();
        }
    }
    Ok(Some(key))
}

fn entry(key: &str, value: &str, out: &mut Vec<u8>) {
    let mut content = Vec::new();
    wire::put_bytes(KEY, key.as_bytes(), &mut content);
    wire::put_bytes(VALUE, value.as_bytes(), &mut content);
    wire::put_bytes(METADATA, &content, out);
}

fn broken(model: &str) -> Error {
    Error::BadModel {
        model: model.into(),
        reason: "is not an ONNX file, or a damaged one (its protobuf breaks off); export or copy it again".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A varint field, a metadata entry, bytes, a second entry.
    fn file(first: &str, second: &str) -> Vec<u8> {
        let mut bytes = vec![0x08, 0x88, 0x01];
        entry("a", first, &mut bytes);
        wire::put_bytes(2, &[7; 300], &mut bytes);
        entry("b", second, &mut bytes);
        bytes
    }

    fn change(bytes: &[u8], changes: &[(&str, &str)]) -> Vec<u8> {
        let changes = changes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        with_metadata("m", bytes, &changes, &Limits::default()).unwrap()
    }

    #[test]
    fn an_entry_is_replaced_at_its_place() {
        assert_eq!(change(&file("1", "2"), &[("a", "longer than it was")]), file("longer than it was", "2"));
        assert_eq!(change(&file("1", "2"), &[("b", ""), ("a", "x")]), file("x", ""));
        assert_eq!(change(&file("1", "2"), &[]), file("1", "2"));
    }

    #[test]
    fn a_new_entry_comes_last_and_a_repeated_one_is_left_out() {
        let mut expected = file("1", "2");
        entry("c", "3", &mut expected);
        assert_eq!(change(&file("1", "2"), &[("c", "3")]), expected);
        let mut twice = file("1", "2");
        entry("a", "again", &mut twice);
        assert_eq!(change(&twice, &[("a", "9")]), file("9", "2"));
    }

    #[test]
    fn the_hash_is_of_all_but_the_metadata() {
        let hash = |bytes: &[u8]| graph_sha256("m", bytes, &Limits::default()).unwrap();
        let one = hash(&file("1", "2"));
        assert_eq!(hash(&file("x", "yyy")), one);
        let mut other = file("1", "2");
        other[1] ^= 1;
        assert_ne!(hash(&other), one);
        assert_eq!(one.len(), 64);
    }

    #[test]
    fn what_breaks_off_is_refused() {
        let whole = file("1", "2");
        for end in [2, 5, whole.len() - 1] {
            let cut = &whole[..end];
            assert!(with_metadata("m", cut, &BTreeMap::new(), &Limits::default()).is_err(), "{end}");
            assert!(graph_sha256("m", cut, &Limits::default()).is_err(), "{end}");
        }
    }
}
