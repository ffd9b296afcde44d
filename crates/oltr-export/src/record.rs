//! Records of events as lines of JSON: `oltr.record/1`, as `oltr store list --json` prints them.

use std::io::{BufRead, Read};

use oltr_frames::{Error, Result};
use serde::Deserialize;

/// Most bytes of a line. oltr's lines are a twentieth of it.
const MAX_LINE: u64 = 1 << 20;

/// One event that is over, as the machine saw it and as a person judged it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Id of the record: a number in a store, a text in the line of an event.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
    /// The source that it was seen by.
    pub source: String,
    /// `known`, `open` or `unclassified`.
    pub decision: String,
    /// Id of the class, or name of the enrolled class; `None` if open.
    pub label: Option<String>,
    /// Shot group of the class.
    pub shot: Option<String>,
    /// When it began.
    pub first: When,
    /// When it ended.
    pub last: When,
    /// Milliseconds from the first frame to the last.
    pub duration_ms: f64,
    /// Frames that agreed with the decision.
    pub frames: u64,
    /// The most telling frame.
    pub best: Best,
    /// Means over the frames.
    pub mean: Mean,
    /// When the line was written.
    pub wall: Option<String>,
    /// Whether the clock was synchronised then.
    pub clock_synchronised: Option<bool>,
    /// Path of the best picture within the store.
    pub picture: Option<String>,
    /// A person's review.
    pub review: Option<Review>,
    /// Whether it was the first record of its class in the store.
    pub first_ever: bool,
    /// The narrowest name that the model is sure of. `None` if its bundle has no taxonomy, `Some(None)` if no name is
    /// sure enough.
    #[serde(deserialize_with = "present")]
    pub taxon: Option<Option<Taxon>>,
}

/// A name with its rank.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Taxon {
    /// Its rank: `species` to `kingdom`, or `label` for one class.
    pub rank: String,
    /// The taxon, or the display name of a class.
    pub name: String,
    /// Probability over the frames that have a name.
    pub probability: f64,
    /// Key of the GBIF backbone.
    pub gbif: Option<u64>,
    /// AphiaID of the World Register of Marine Species.
    pub worms: Option<u64>,
    /// For a class: the narrowest taxon that it belongs to.
    pub of: Option<Of>,
}

/// A taxon that a class is of.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Of {
    /// How much it takes in.
    pub rank: String,
    /// Its name.
    pub name: String,
}

/// A moment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct When {
    /// Date and time.
    pub wall: String,
}

/// The most telling frame.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Best {
    /// When it was taken.
    pub wall: String,
    /// Probability of the most probable class.
    pub probability: f64,
    /// 10 / distance to the nearest centroid.
    pub reachability: f64,
    /// The nearest class.
    pub nearest: Nearest,
}

/// The class that something resembles.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Nearest {
    /// Its id.
    pub label: Option<String>,
}

/// Means over the frames of an event.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Mean {
    /// Probability of the most probable class.
    pub probability: f64,
    /// 10 / distance to the nearest centroid.
    pub reachability: f64,
}

/// A person's review of an event.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Review {
    /// A class, `open` or `nothing`; `None` if `decision` holds it.
    pub label: Option<String>,
    /// `open` or `nothing`, if that is the review.
    pub decision: Option<String>,
    /// Who.
    pub by: Option<String>,
    /// When.
    pub wall: Option<String>,
}

impl Review {
    /// The review: a class, `open` or `nothing`; `None` if there is none.
    pub fn said(&self) -> Option<&str> {
        let word = self.decision.as_deref().filter(|word| matches!(*word, "open" | "nothing"));
        self.label.as_deref().filter(|label| !label.is_empty()).or(word)
    }
}

/// Deserialises a field that is present, null or not.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(u64),
    }
    Ok(match Id::deserialize(deserializer)? {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    })
}

/// Counters of a run: the fields of `oltr.stats/1` about the time watched.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Number of the line in its run.
    pub seq: u64,
    /// The boot in which it was written.
    pub boot_id: Option<String>,
    /// Milliseconds since the run began.
    pub uptime_ms: f64,
    /// Milliseconds watched. `None` if the line has no such field, `Some(None)` if the time is unknown.
    #[serde(deserialize_with = "present")]
    pub watched_ms: Option<Option<f64>>,
    /// Frames taken from the source.
    pub captured: u64,
    /// Frames dropped in favour of newer ones.
    pub dropped: u64,
    /// Frames that were damaged.
    pub decode_errors: u64,
    /// How many times the source was lost and opened again.
    pub reconnects: u64,
}

/// A parsed line.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// An event that is over.
    Record(Box<Record>),
    /// Counts of a run.
    Stats(Stats),
    /// A line that exports do not need.
    Other,
}

impl Line {
    /// Parses a line of JSON: `oltr.record/1`, the end of an `oltr.event/1`, `oltr.stats/1`, or another line of oltr.
    ///
    /// # Errors
    /// Why the line is invalid.
    pub fn parse(text: &str) -> std::result::Result<Line, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
            r#type: Option<String>,
        }
        let wrong =
            |e: serde_json::Error| format!("is no line of oltr ({e}); give what 'oltr store list --json' prints");
        let head: Head = serde_json::from_str(text).map_err(wrong)?;
        Ok(match (head.schema.as_str(), head.r#type.as_deref()) {
            ("oltr.record/1", _) | ("oltr.event/1", Some("end")) => {
                let record: Record = serde_json::from_str(text).map_err(wrong)?;
                if record.id.is_empty() || record.decision.is_empty() {
                    return Err("is a record without id or decision; give what 'oltr store list --json' prints".into());
                }
                Line::Record(Box::new(record))
            }
            ("oltr.stats/1", _) => Line::Stats(serde_json::from_str(text).map_err(wrong)?),
            (schema, _) if schema.starts_with("oltr.") => Line::Other,
            _ => return Err("is no line of oltr; give what 'oltr store list --json' prints".into()),
        })
    }
}

/// Iterator over the lines of a file.
pub struct Lines<R> {
    name: String,
    reader: R,
    number: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`, which is called `name` in messages.
    pub fn new(name: &str, reader: R) -> Lines<R> {
        Lines { name: name.into(), reader, number: 0, text: Vec::new() }
    }

    fn line(&mut self) -> Result<Option<Line>> {
        loop {
            self.text.clear();
            self.number += 1;
            let (subject, number) = (self.name.clone(), self.number);
            let mut bounded = (&mut self.reader).take(MAX_LINE + 1);
            let length = bounded.read_until(b'\n', &mut self.text).map_err(|e| Error::io(&self.name, e))? as u64;
            if length == 0 {
                return Ok(None);
            }
            if length > MAX_LINE {
                return Err(Error::Limit { subject, what: "line_bytes", value: length, limit: MAX_LINE });
            }
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            let parsed = std::str::from_utf8(&self.text).map_err(|_| "is no UTF-8; copy the file again".to_string());
            let parsed = parsed.and_then(Line::parse);
            return parsed.map(Some).map_err(|why| Error::BadInput { subject, reason: format!("line {number} {why}") });
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Result<Line>> {
        self.line().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_distinguished() {
        let text = "{\"schema\":\"oltr.event/1\",\"type\":\"new\",\"id\":\"a\"}\n\n\
            {\"schema\":\"oltr.event/1\",\"type\":\"end\",\"id\":\"a\",\"decision\":\"open\",\"label\":null,\"new\":[1]}\n\
            {\"schema\":\"oltr.stats/1\",\"uptime_ms\":5.5,\"captured\":3}\n";
        let lines: Vec<Line> = Lines::new("a", text.as_bytes()).map(|line| line.unwrap()).collect();
        let [Line::Other, Line::Record(record), Line::Stats(stats)] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((record.id.as_str(), stats.captured), ("a", 3));
    }

    #[test]
    fn numbers_and_both_forms_of_a_review_are_read() {
        let said = |review: &str| {
            let text = format!(r#"{{"schema":"oltr.record/1","id":17,"decision":"open","review":{review}}}"#);
            let Ok(Line::Record(record)) = Line::parse(&text) else { panic!("{text}") };
            assert_eq!(record.id, "17");
            record.review.and_then(|review| review.said().map(String::from))
        };
        assert_eq!(said("null"), None);
        assert_eq!(said(r#"{"label":null,"by":"Ada","wall":null}"#), None);
        assert_eq!(said(r#"{"label":"nothing","by":"Ada"}"#).as_deref(), Some("nothing"));
        assert_eq!(said(r#"{"label":null,"decision":"open"}"#).as_deref(), Some("open"));
        assert_eq!(said(r#"{"label":"eel","decision":"label"}"#).as_deref(), Some("eel"));
    }

    #[test]
    fn invalid_records_are_reported_with_their_line() {
        for text in [
            "{}",
            "[",
            "{\"schema\":\"x\"}",
            "{\"schema\":\"oltr.record/1\",\"id\":5}",
            "{\"schema\":\"oltr.record/1\"}",
        ] {
            let text = format!("{{\"schema\":\"oltr.frame/1\"}}\n{text}\n");
            let error = Lines::new("a.jsonl", text.as_bytes()).nth(1).unwrap().unwrap_err().to_string();
            assert!(error.contains("a.jsonl") && error.contains("line 2"), "{error}");
        }
        let long = format!("{{\"schema\":\"{}\"}}", "x".repeat(2 << 20));
        assert!(Lines::new("a", long.as_bytes()).next().unwrap().unwrap_err().to_string().contains("line_bytes"));
    }
}
