//! One event as the store keeps it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::feature;
use crate::line::MAX_OBJECT;
use crate::tally::Novelty;

/// An event to store.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// The event's last line, a JSON object.
    pub event: &'a str,
    /// The id that the line gives the event.
    pub event_id: &'a str,
    /// `known`, `open` or another decision.
    pub decision: &'a str,
    /// Id of the class, or name of the enrolled class; `None` if open.
    pub label: Option<&'a str>,
    /// The class that it resembles most.
    pub nearest: Option<&'a str>,
    /// Whether the event is special: open, or of a class with few training photos.
    pub special: bool,
    /// Days since 1970 by the clock on the wall.
    pub day: u32,
    /// Hash of the network that its features are of.
    pub graph: Option<&'a str>,
    /// The direct feature of its best frame.
    pub features: Option<&'a [f32]>,
    /// The distance at which the bundle calls a frame of the nearest known class open. Distances are divided by it to
    /// compare classes.
    pub unit: Option<f32>,
    /// The distance at which the bundle calls a frame open.
    pub limit: Option<f32>,
    /// Whether it is the first of its class.
    pub novelty: Novelty,
}

/// The picture of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Below the store's folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its CRC-32.
    pub crc32: u32,
}

/// A line of a segment, without the event itself, which [`event_of`] gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Its id: ids increase and are never reused.
    pub id: u64,
    /// As [`NewRecord::event_id`].
    #[serde(borrow)]
    pub event_id: Cow<'a, str>,
    /// As [`NewRecord::decision`].
    #[serde(borrow)]
    pub decision: Cow<'a, str>,
    /// As [`NewRecord::label`].
    #[serde(borrow)]
    pub label: Option<Cow<'a, str>>,
    /// As [`NewRecord::nearest`].
    #[serde(borrow)]
    pub nearest: Option<Cow<'a, str>>,
    /// As [`NewRecord::special`].
    pub special: bool,
    /// As [`NewRecord::day`].
    pub day: u32,
    /// Whether it is the first stored event of this class.
    pub first_ever: bool,
    /// Whether it is the first of its class on this day.
    pub first_today: bool,
    /// Days since the last event of its class. `None` for the first one, or if the clock went back.
    pub days_since: Option<u32>,
    /// The picture, if there is one.
    pub picture: Option<Picture>,
    /// As [`NewRecord::graph`].
    #[serde(borrow)]
    pub graph: Option<Cow<'a, str>>,
    /// As [`NewRecord::unit`].
    pub unit: Option<f32>,
    /// As [`NewRecord::limit`].
    pub limit: Option<f32>,
    /// [`feature::signature`] in hexadecimal digits.
    #[serde(borrow)]
    pub signature: Option<Cow<'a, str>>,
    /// [`feature::encode`] of [`NewRecord::features`].
    #[serde(borrow)]
    pub features: Option<Cow<'a, str>>,
}

/// Marks the start of the event in a record's text. It occurs only once, because quotes within texts are escaped.
const EVENT: &str = ",\"event\":{";

impl<'a> Record<'a> {
    /// The record `id` of `new`.
    pub fn new(id: u64, new: &NewRecord<'a>, picture: Option<Picture>) -> Record<'a> {
        let features = new.features.and_then(feature::encode);
        // Features that cannot be encoded have no signature either.
        let signature = features.as_ref().and(new.features).map(feature::signature);
        Record {
            id,
            event_id: new.event_id.into(),
            decision: new.decision.into(),
            label: new.label.map(Cow::from),
            nearest: new.nearest.map(Cow::from),
            special: new.special,
            day: new.day,
            first_ever: new.novelty.first_ever,
            first_today: new.novelty.first_today,
            days_since: new.novelty.days_since,
            picture,
            graph: new.graph.map(Cow::from),
            unit: new.unit.filter(|x| x.is_finite()),
            limit: new.limit.filter(|x| x.is_finite()),
            signature: signature.map(|bits| format!("{bits:016x}").into()),
            features: features.map(Cow::from),
        }
    }

    /// The text of the record with `event` in it.
    ///
    /// # Errors
    /// [`Error::Bad`] if the event is not a JSON object on one line, or is too long.
    pub fn to_text(&self, event: &str) -> Result<String> {
        let bad = |reason: &str| Error::bad(format!("event {}", self.event_id), reason);
        let event = event.trim();
        if !event.starts_with('{') || !event.ends_with('}') || event.contains('\n') {
            return Err(bad("is no JSON object in one line"));
        }
        let mut text = serde_json::to_string(self).map_err(|e| bad(&e.to_string()))?;
        text.pop();
        // Texts within the event cannot contain the marker.
        debug_assert!(!text.contains(EVENT));
        text.push_str(&EVENT[..EVENT.len() - 1]);
        text.push_str(event);
        text.push('}');
        if text.len() > MAX_OBJECT {
            return Err(bad("is longer than the store keeps"));
        }
        Ok(text)
    }

    /// Parses a record. Returns `None` if `text` is invalid.
    pub fn parse(text: &'a [u8]) -> Option<Record<'a>> {
        serde_json::from_slice(text).ok()
    }

    /// The signature; 0 if there is none.
    pub fn signature_bits(&self) -> u64 {
        self.signature.as_ref().and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
    }

    /// The class in the tallies: the label, or empty if there is none.
    pub fn class(&self) -> &str {
        self.label.as_deref().unwrap_or("")
    }

    /// The group for eviction: the class, or the class that an open event resembles.
    pub fn group(&self) -> String {
        group(self.label.as_deref(), self.nearest.as_deref())
    }
}

/// As [`Record::group`].
pub fn group(label: Option<&str>, nearest: Option<&str>) -> String {
    match label {
        Some(label) => label.into(),
        // No class id begins with this character: ids have no control characters.
        None => format!("\u{1}{}", nearest.unwrap_or("")),
    }
}

/// The event of the record in `text`, as it was given.
pub fn event_of(text: &str) -> Option<&str> {
    let at = text.find(EVENT)? + EVENT.len() - 1;
    text.get(at..text.len().checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_back_as_it_was_given() {
        let nasty = r#"x","event":{"id":9},"\"#;
        let event = r#"{"schema":"oltr.event/1","id":"a-1","label":"ä \" ,\"event\":{","z":1,"event":{}}"#;
        let new = NewRecord {
            event,
            event_id: nasty,
            label: Some(nasty),
            features: Some(&[1.0, 2.0]),
            unit: Some(f32::INFINITY),
            ..NewRecord::default()
        };
        let text = Record::new(7, &new, None).to_text(event).unwrap();
        let record = Record::parse(text.as_bytes()).unwrap();
        assert_eq!((record.id, record.label.as_deref(), record.unit), (7, Some(nasty), None));
        assert_eq!(event_of(&text), Some(event));
        assert_eq!(feature::decode(&record.features.unwrap()), Some(vec![1.0, 2.0]));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let record = Record::new(1, &NewRecord::default(), None);
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_OBJECT));
        for bad in ["", "[]", "{\n}", "{", &long] {
            assert!(record.to_text(bad).is_err(), "{bad:.20}");
        }
    }
}
