//! State that is kept next to the segments: which records were evicted, and the tallies of the classes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::line::{self, Piece};
use crate::tally::Tallies;

/// Name of the file in the store's folder, and of the temporary file that replaces it.
pub const FILE: &str = "state.json";
/// As [`FILE`].
pub const TEMPORARY: &str = "state.tmp";

/// Most bytes of the file.
pub const MAX_BYTES: u64 = 4 << 20;

/// The one schema that is read.
const SCHEMA: &str = "oltr.store-state/1";

/// Contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Set when it is written.
    pub schema: String,
    /// No record of a later run has a lower number.
    pub next_id: u64,
    /// The tallies count all records up to this one.
    pub counted: u64,
    /// Evicted records whose lines are still in a segment.
    #[serde(with = "ids")]
    pub dead: Vec<u64>,
    /// Records whose pictures are being removed.
    #[serde(with = "ids")]
    pub removing: Vec<u64>,
    /// Tallies of the classes.
    pub tallies: Tallies,
}

impl State {
    /// The bytes of the file. `dead` and `removing` are in order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let state = State { schema: SCHEMA.into(), ..self.clone() };
        let object = serde_json::to_vec(&state).unwrap_or_default();
        // Longer than the lines of segments may be.
        let mut out = format!("{:08x} {:08x} ", object.len(), crc32fast::hash(&object)).into_bytes();
        out.extend_from_slice(&object);
        out.push(b'\n');
        out
    }

    /// Parses the file. Returns `None` if it is invalid.
    pub fn parse(bytes: &[u8]) -> Option<State> {
        let object = match line::pieces(bytes).next() {
            Some(Piece::Line(object, _)) => object,
            _ => {
                let object = bytes.get(line::HEAD..bytes.len().checked_sub(1)?)?;
                let head = format!("{:08x} {:08x} ", object.len(), crc32fast::hash(object));
                (bytes.starts_with(head.as_bytes())).then_some(object)?
            }
        };
        let mut state: State = serde_json::from_slice(object).ok()?;
        state.tallies.settle();
        (state.schema == SCHEMA).then_some(state)
    }
}

/// Numbers in order as the differences between them, each in bytes of seven bits, in Base64.
mod ids {
    use super::{Engine, STANDARD_NO_PAD};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(ids: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        let (mut bytes, mut before) = (Vec::with_capacity(ids.len() * 2), 0);
        for id in ids {
            let mut difference = id.saturating_sub(before);
            before = *id;
            while difference >= 0x80 {
                bytes.push(difference as u8 | 0x80);
                difference >>= 7;
            }
            bytes.push(difference as u8);
        }
        serializer.serialize_str(&STANDARD_NO_PAD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(&*text).map_err(D::Error::custom)?;
        let (mut ids, mut id, mut difference, mut shift) = (Vec::new(), 0u64, 0u64, 0);
        for byte in bytes {
            difference |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte < 0x80 {
                id = id.checked_add(difference).ok_or_else(|| D::Error::custom("a number is too large"))?;
                ids.push(id);
                (difference, shift) = (0, 0);
            }
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back() {
        let mut state = State {
            schema: SCHEMA.into(),
            next_id: 99,
            counted: 98,
            dead: vec![1, 2, 3, 500, 501, 1 << 40],
            removing: vec![u64::MAX],
            ..State::default()
        };
        state.tallies.see("cup \"x\"", 20_000);
        assert_eq!(State::parse(&state.to_bytes()), Some(state.clone()));
        for i in 0..4000 {
            state.tallies.see(&format!("a class with a long name that takes room {i}"), 1);
        }
        let bytes = state.to_bytes();
        assert_eq!(State::parse(&bytes), Some(state));
        for cut in (0..bytes.len()).step_by(1009) {
            assert_eq!(State::parse(&bytes[..cut]), None);
        }
    }
}
