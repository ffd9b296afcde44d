//! MegaDetector's batch output, version 1.6.
//!
//! oltr says what a picture shows, not where. So each photo has one detection: the whole picture, in the category
//! `animal`, which other programs look for. The class is the classification. An open photo has the classification
//! `open` alone, so that no program mistakes it for the class that it resembles.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use oltr_frames::Result;
use serde_json::{Map, Value, json};

use super::{About, Each, Entries, Format, Layout, Lineage, OTHER_MODEL, Photo, number};
use crate::time;

pub struct MegaDetector;

/// Key of `info` for data that only oltr reads.
const OURS: &str = "oltr";

/// The category of all detections.
pub const ANIMAL: &str = "1";

/// `info` of a file by `version` of oltr, with the model's name and `sha256` if known.
pub fn info(version: &str, model: &str, sha256: Option<&str>) -> Value {
    let now = time::now().plain();
    let mut info = json!({
        "format_version": "1.6",
        "detector": format!("oltr {version}, which takes the whole picture for one detection"),
        "detection_completion_time": now,
        "classifier": model,
        "classification_completion_time": now,
        // Every detection has confidence 1, so programs filter by the classification.
        "detector_metadata": {"typical_detection_threshold": 0.2, "conservative_detection_threshold": 0.1},
    });
    if let Some(sha256) = sha256 {
        info[OURS] = json!({"model_sha256": sha256});
    }
    info
}

/// The detection of a whole picture with `classifications`.
pub fn whole_picture(classifications: Vec<(String, Value)>) -> Value {
    json!([{"category": ANIMAL, "conf": 1.0, "bbox": [0.0, 0.0, 1.0, 1.0], "classifications": classifications}])
}

/// Ids of the classes, followed by `open`.
fn categories(about: &About) -> BTreeMap<usize, &str> {
    let names = about.classes.iter().map(|name| if name.trim().is_empty() { "(no name)" } else { name });
    names.chain(["open"]).enumerate().map(|(at, name)| (at + 1, name)).collect()
}

/// Of the classes whose taxa are known: `kingdom;phylum;class;order;family;genus;species`, by their ids.
fn descriptions(about: &About) -> BTreeMap<usize, String> {
    let plain = |taxon: &Option<String>| taxon.as_deref().unwrap_or_default().replace(';', ",");
    let line = |lineage: &Lineage| lineage.each_ref().map(plain).join(";");
    let known = about.lineages.iter().enumerate().filter(|(_, lineage)| lineage.iter().any(Option::is_some));
    known.map(|(at, lineage)| (at + 1, line(lineage).to_lowercase())).collect()
}

impl Layout for MegaDetector {
    fn entry(&self, about: &About, photo: &Photo) -> io::Result<String> {
        let mut image = Map::from_iter([("file".to_string(), photo.name.into())]);
        match &photo.outcome {
            Ok(shown) => {
                let open = about.classes.len();
                let id = |class: usize| (class + 1).to_string();
                let classifications = match shown.class {
                    None => vec![(id(open), 1.0.into())],
                    Some(class) if shown.enrolled => vec![(id(class), 1.0.into())],
                    Some(class) => {
                        let found = shown.top.iter().find(|(top, _)| *top == class);
                        let most = found.map_or(shown.probability, |(_, probability)| *probability);
                        // The decided class comes first, and no other has a higher probability.
                        let others = shown.top.iter().filter(|(top, p)| *top != class && *p <= most);
                        let first = (class, most);
                        let all = std::iter::once(&first).chain(others);
                        all.map(|(class, probability)| (id(*class), number(*probability))).collect()
                    }
                };
                image.insert("detections".into(), whole_picture(classifications));
                if let Some(taken) = &shown.origin.taken {
                    image.insert("datetime".into(), taken.to_string().replace('T', " ").into());
                }
            }
            Err(failed) => {
                image.insert("failure".into(), failed.reason.into());
                image.insert("detections".into(), Value::Null);
            }
        }
        Ok(serde_json::to_string(&image)?)
    }

    fn file(&self, about: &About, entries: &mut Entries, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{{\n \"info\": {},", info(&about.version, &about.model, Some(&about.sha256)))?;
        writeln!(out, " \"detection_categories\": {{\"{ANIMAL}\": \"animal\"}},")?;
        writeln!(out, " \"classification_categories\": {},", serde_json::to_string(&categories(about))?)?;
        let descriptions = descriptions(about);
        if !descriptions.is_empty() {
            let json = serde_json::to_string(&descriptions)?;
            writeln!(out, " \"classification_category_descriptions\": {json},")?;
        }
        write!(out, " \"images\": [")?;
        super::journal::list(entries, out)?;
        writeln!(out, "]\n}}")
    }

    fn entries(&self, about: &About, path: &Path, each: &mut Each) -> Result<()> {
        let same = |rest: &Map<String, Value>| {
            let made = serde_json::to_value(categories(about)).unwrap_or_default();
            let model = rest.get("info").and_then(|info| info.get(OURS)?.get("model_sha256")?.as_str());
            match model {
                Some(model) if model != about.sha256 => Err(OTHER_MODEL),
                _ if rest.get("classification_categories") != Some(&made) => Err("its classes are others"),
                _ => Ok(()),
            }
        };
        let entry = |image: &Map<String, Value>| {
            let name = image.get("file").and_then(Value::as_str).ok_or("an element without a name")?.to_string();
            Ok((name, image.get("failure").is_some_and(|failure| !failure.is_null())))
        };
        super::journal::entries_of(path, "images", Format::MegaDetector, same, entry, each)
    }
}
