//! The metadata of a bundle: what an ONNX file must say besides its graph to be a classifier.
//!
//! Stored as ONNX `metadata_props`, every value but `oltr.version` and `oltr.name` as JSON.

#[cfg(test)]
pub(crate) mod example;
pub mod taxonomy;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits::Limits;
pub use crate::preprocess::{Preprocess, Resize};
pub use taxonomy::{Rank, Taxonomy};

/// The version of the metadata that this library reads and writes.
pub const VERSION: &str = "1";

/// Temperatures that a bundle can have.
pub const TEMPERATURES: std::ops::RangeInclusive<f32> = 1e-3..=1e3;

/// One known class, at its place among the logits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// The class as the file of labels names it.
    pub id: String,
    /// The class as people name it.
    pub name: String,
    /// Photos of it in the training set; decides the shot group.
    pub train_count: u64,
}

/// Shot group of a class (paper, section 4.1): how many training photos it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shot {
    /// At least 100 training photos.
    Many,
    /// Between the two others.
    Medium,
    /// At most 20 training photos.
    Few,
}

impl Shot {
    /// Its word in output: `many`, `medium` or `few`.
    pub fn word(self) -> &'static str {
        match self {
            Shot::Many => "many",
            Shot::Medium => "medium",
            Shot::Few => "few",
        }
    }
}

impl Class {
    /// The shot group of this class.
    pub fn shot(&self) -> Shot {
        match self.train_count {
            100.. => Shot::Many,
            21..100 => Shot::Medium,
            _ => Shot::Few,
        }
    }
}

/// Which score decides that a frame is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Open below a reachability.
    Reachability,
    /// Open below a largest probability: the published rule.
    MaxProbability,
    /// Open if either says so.
    Both,
    /// Open below a ratio of the two nearest distances; [`Open::limit`] holds its threshold, as of those below.
    DistanceRatio,
    /// Open below a largest logit.
    MaxLogit,
    /// Open below an energy.
    Energy,
    /// Open below a negative entropy.
    Entropy,
    /// Open below a difference of the two largest probabilities.
    Margin,
}

impl Rule {
    /// Whether the rule reads the distances to the centroids.
    pub fn needs_distances(self) -> bool {
        matches!(self, Rule::Reachability | Rule::Both | Rule::DistanceRatio)
    }

    /// Whether the rule's threshold is a reachability, so that classes can have their own.
    pub fn is_reachability(self) -> bool {
        matches!(self, Rule::Reachability | Rule::Both)
    }

    /// Whether the rule's threshold is [`Open::limit`].
    pub fn has_limit(self) -> bool {
        !matches!(self, Rule::Reachability | Rule::MaxProbability | Rule::Both)
    }
}

/// The open rule and its thresholds, `oltr.open`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Which score decides.
    pub rule: Rule,
    /// A frame whose reachability (10 / d_min) is below this is open.
    pub reachability: f32,
    /// A frame whose largest probability is below this is open (0.1 as published).
    pub probability: f32,
    /// Reachability thresholds of single classes by class id, before the global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<BTreeMap<String, f32>>,
    /// A frame whose score is below this is open, for the rules that name a score other than reachability and largest
    /// probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f32>,
    /// What the graph's logits are divided by before anything is made of them, so that probabilities say how often they
    /// are right (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017); 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// From which probability on a name is told, where the bundle knows names above its classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Naming>,
    /// How the thresholds came about; not interpreted.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub calibration: serde_json::Value,
}

/// How sure a name has to be: a frame gets the narrowest name whose probability reaches the threshold of its rank. A rank
/// without a threshold is never told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Naming {
    /// Share of the names of each rank that are right, 0..1, as it was asked for.
    pub share: f64,
    /// For frames that are known.
    pub known: BTreeMap<Rank, f32>,
    /// For frames that are open: the group that they lie near.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub open: BTreeMap<Rank, f32>,
}

/// What one training picture shows, `oltr.subject`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All that a camera sees: `frame`.
    Frame,
    /// One thing that was cut out: `crop`.
    Crop,
}

impl Subject {
    /// The word for it in the metadata.
    pub fn word(self) -> &'static str {
        match self {
            Subject::Frame => "frame",
            Subject::Crop => "crop",
        }
    }
}

impl Open {
    /// Where it stands in the metadata.
    pub const KEY: &str = "oltr.open";

    /// As it stands there.
    pub fn to_json(&self) -> String {
        json(self)
    }

    /// What the graph's logits are divided by.
    pub fn temperature(&self) -> f32 {
        self.temperature.unwrap_or(1.0)
    }
}

/// Everything that the metadata of one bundle says.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// `oltr.name`.
    pub name: String,
    /// `oltr.classes`, in the order of the logits.
    pub classes: Vec<Class>,
    /// `oltr.preprocess`.
    pub preprocess: Preprocess,
    /// `oltr.open`.
    pub open: Open,
    /// `oltr.card`, not interpreted.
    pub card: serde_json::Value,
    /// `oltr.subject`, where the bundle says it.
    pub subject: Option<Subject>,
    /// `oltr.taxonomy`, where the bundle has names above its classes.
    pub taxonomy: Option<Taxonomy>,
}

impl Bundle {
    /// Distance beyond which everything is open, 10 over the reachability threshold: what a new class is held against.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a bundle that calls nothing open by its distance.
    pub fn open_distance(&self) -> Result<f32> {
        let distance = 10.0 / self.open.reachability;
        if distance.is_finite() {
            return Ok(distance);
        }
        let reason = "has no reachability threshold to hold a new class against; calibrate it first".into();
        Err(Error::BadInput { subject: format!("bundle '{}'", self.name), reason })
    }

    /// Reads the metadata of `model` (its file name, for messages); `None` if it has no `oltr.` key at all.
    ///
    /// # Errors
    /// [`Error::Metadata`] naming the key: unknown version, missing or malformed key, a value out of range.
    pub fn from_metadata(model: &str, metadata: &BTreeMap<String, String>, limits: &Limits) -> Result<Option<Bundle>> {
        if !metadata.keys().any(|k| k.starts_with("oltr.")) {
            return Ok(None);
        }
        let bad = |key: &'static str, reason: String| Error::Metadata { model: model.into(), key, reason };
        let text =
            |key: &'static str| metadata.get(key).ok_or_else(|| bad(key, "is missing; export the bundle again".into()));
        let version = text("oltr.version")?;
        if version.trim() != VERSION {
            return Err(bad("oltr.version", format!("is '{version}', this oltr reads version {VERSION}; update oltr")));
        }
        fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> std::result::Result<T, String> {
            serde_json::from_str(text).map_err(|e| format!("is not what the bundle format says: {e}"))
        }
        let bundle = Bundle {
            name: text("oltr.name")?.clone(),
            classes: parsed(text("oltr.classes")?).map_err(|r| bad("oltr.classes", r))?,
            preprocess: parsed(text("oltr.preprocess")?).map_err(|r| bad("oltr.preprocess", r))?,
            open: parsed(text(Open::KEY)?).map_err(|r| bad(Open::KEY, r))?,
            card: match metadata.get("oltr.card") {
                // A card is for people: free text is as good as JSON.
                Some(card) => serde_json::from_str(card).unwrap_or_else(|_| card.as_str().into()),
                None => serde_json::Value::Null,
            },
            subject: match metadata.get("oltr.subject").map(|subject| subject.trim()) {
                None => None,
                Some("frame") => Some(Subject::Frame),
                Some("crop") => Some(Subject::Crop),
                Some(other) => {
                    return Err(bad("oltr.subject", format!("is '{other}', must be frame or crop; export it again")));
                }
            },
            taxonomy: match metadata.get(Taxonomy::KEY) {
                None => None,
                Some(text) => Some(parsed(text).map_err(|r| bad(Taxonomy::KEY, r))?),
            },
        };
        bundle.check(limits).map_err(|(key, reason)| bad(key, reason))?;
        Ok(Some(bundle))
    }

    fn check(&self, limits: &Limits) -> std::result::Result<(), (&'static str, String)> {
        let classes = |reason| Err(("oltr.classes", reason));
        if self.classes.is_empty() {
            return classes("names no class".into());
        }
        if self.classes.len() > limits.classes {
            return classes(format!("names {} classes, Limits::classes is {}", self.classes.len(), limits.classes));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = self.classes.iter().find(|c| !seen.insert(c.id.as_str())) {
            return classes(format!("names the class '{}' twice", twice.id));
        }
        let p = &self.preprocess;
        let preprocess = |reason| Err(("oltr.preprocess", reason));
        if p.size == 0 || p.size > limits.photo_side {
            return preprocess(format!("size is {}, must be 1..={}", p.size, limits.photo_side));
        }
        if p.resize_to.is_some_and(|to| to < p.size || to > limits.photo_side) {
            return preprocess(format!(
                "resize_to is {}, must be at least size ({})",
                p.resize_to.unwrap_or_default(),
                p.size
            ));
        }
        if p.mean.iter().any(|m| !m.is_finite()) || p.std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return preprocess("mean must be finite and std positive".into());
        }
        let o = &self.open;
        let open = |reason| Err((Open::KEY, reason));
        if !(o.reachability.is_finite() && o.reachability >= 0.0) {
            return open(format!("reachability is {}, must be a number >= 0", o.reachability));
        }
        if !(0.0..=1.0).contains(&o.probability) {
            return open(format!("probability is {}, must be within 0..1", o.probability));
        }
        if o.rule.has_limit() != o.limit.is_some() || o.limit.is_some_and(|limit| !limit.is_finite()) {
            return open(
                "limit must be a number for the rules that name another score, and absent for the others".into(),
            );
        }
        if let Some(t) = o.temperature.filter(|t| !(TEMPERATURES.contains(t))) {
            return open(format!("temperature is {t}, must be within {TEMPERATURES:?}"));
        }
        if let Some(names) = &o.names {
            let thresholds = names.known.values().chain(names.open.values());
            let are_shares =
                names.share > 0.0 && names.share <= 1.0 && thresholds.clone().all(|t| (0.0..=1.0).contains(t));
            if !are_shares {
                return open("names must have a share above 0 and probabilities within 0..1".into());
            }
        }
        if let Some(taxonomy) = &self.taxonomy {
            let stranger = taxonomy.classes.keys().find(|id| !seen.contains(id.as_str()));
            if let Some(stranger) = stranger {
                return Err((Taxonomy::KEY, format!("names the class '{stranger}', which oltr.classes does not")));
            }
            taxonomy.check().map_err(|reason| (Taxonomy::KEY, reason))?;
        }
        for (id, t) in o.per_class.iter().flatten() {
            if !seen.contains(id.as_str()) {
                return open(format!("per_class names '{id}', which oltr.classes does not"));
            }
            if !(t.is_finite() && *t >= 0.0) {
                return open(format!("per_class gives {t} for '{id}', must be a number >= 0"));
            }
        }
        Ok(())
    }

    /// The metadata to store, key by key.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut metadata = BTreeMap::from([
            ("oltr.version".into(), VERSION.into()),
            ("oltr.name".into(), self.name.clone()),
            ("oltr.classes".into(), json(&self.classes)),
            ("oltr.preprocess".into(), json(&self.preprocess)),
            (Open::KEY.into(), self.open.to_json()),
            ("oltr.card".into(), json(&self.card)),
        ]);
        if let Some(subject) = self.subject {
            metadata.insert("oltr.subject".into(), subject.word().into());
        }
        if let Some(taxonomy) = &self.taxonomy {
            metadata.insert(Taxonomy::KEY.into(), taxonomy.to_json());
        }
        metadata
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data serialises")
}
