//! SpeciesNet's predictions.
//!
//! A SpeciesNet label is `uuid;class;order;family;genus;species;common name`, in lower case. The taxa are the bundle's.
//! Without them, a name that consists of genus and species fills these two fields. The uuid is derived from model and
//! name. An open photo has the label `…;;;;;;open`.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;

use oltr_frames::Result;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{About, Each, Entries, Format, Layout, Lineage, OTHER_MODEL, Photo, number};

pub struct SpeciesNet;

/// Name of an open photo.
const OPEN: &str = "open";

/// The label of the class `name` of the model `sha256`.
fn label(sha256: &str, name: &str, lineage: Option<&Lineage>) -> String {
    let hash = Sha256::digest(format!("oltr/{sha256}/{name}"));
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Formatted as a name-based uuid. Version 8 leaves the choice of the hash open.
    let uuid = format!("{}-{}-8{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]);
    let plain = |name: &str| name.replace(';', ",").to_lowercase();
    let [class, order, family, genus, species] = taxa(name, lineage).map(|taxon| plain(&taxon));
    format!("{uuid};{class};{order};{family};{genus};{species};{}", plain(name))
}

/// Class, order, family, genus and the second word of the species; empty where it is not known.
fn taxa(name: &str, lineage: Option<&Lineage>) -> [String; 5] {
    let [_, _, class, order, family, genus, species] =
        lineage.map(|lineage| lineage.each_ref().map(|taxon| taxon.as_deref().unwrap_or_default())).unwrap_or_default();
    // The bundle may not know the species of a class that is named after it.
    let species = if species.is_empty() && (genus.is_empty() || name.starts_with(genus)) { name } else { species };
    let (genus, species) = match binomial(species) {
        Some(both) => both,
        None => (genus, ""),
    };
    [class, order, family, genus, species].map(String::from)
}

/// Genus and species of a name like `Vulpes vulpes`.
pub fn binomial(name: &str) -> Option<(&str, &str)> {
    let (genus, species) = name.trim().split_once(' ')?;
    let lower = |text: &str| text.len() > 2 && text.chars().all(|c| c.is_lowercase() || c == '-' || c == ' ');
    let first = genus.chars().next()?;
    (first.is_uppercase() && lower(&genus[first.len_utf8()..]) && lower(species)).then_some((genus, species))
}

impl Layout for SpeciesNet {
    fn entry(&self, about: &About, photo: &Photo) -> io::Result<String> {
        let mut image = Map::from_iter([("filepath".to_string(), photo.name.into())]);
        let named = |class: usize| {
            label(&about.sha256, about.classes.get(class).map_or("", String::as_str), about.lineages.get(class))
        };
        match &photo.outcome {
            Ok(shown) => {
                if let Some(place) = shown.origin.place {
                    image.insert("latitude".into(), place.latitude.into());
                    image.insert("longitude".into(), place.longitude.into());
                }
                let top = &shown.top[..shown.top.len().min(5)];
                let classes: Vec<String> = top.iter().map(|(class, _)| named(*class)).collect();
                let scores: Vec<Value> = top.iter().map(|(_, score)| number(*score)).collect();
                image.insert("classifications".into(), json!({"classes": classes, "scores": scores}));
                image.insert("detections".into(), json!([]));
                let (prediction, score) = match shown.class {
                    None => (label(&about.sha256, OPEN, None), 1.0.into()),
                    Some(class) if shown.enrolled => (named(class), 1.0.into()),
                    Some(class) => (named(class), number(shown.probability)),
                };
                image.insert("prediction".into(), prediction.into());
                image.insert("prediction_score".into(), score);
                image.insert("prediction_source".into(), "classifier".into());
            }
            Err(_) => {
                image.insert("failures".into(), json!(["CLASSIFIER"]));
            }
        }
        image.insert("model_version".into(), format!("oltr-{}-{}", about.version, about.model).into());
        Ok(serde_json::to_string(&image)?)
    }

    fn file(&self, _: &About, entries: &mut Entries, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{{\"predictions\": [")?;
        super::journal::list(entries, out)?;
        writeln!(out, "]}}")
    }

    fn entries(&self, about: &About, path: &Path, each: &mut Each) -> Result<()> {
        // The labels are derived from the model, so an unknown label is from another model.
        let lineages = about.lineages.iter().map(Some).chain(std::iter::repeat(None));
        let classes = about.classes.iter().zip(lineages).map(|(name, lineage)| (name.as_str(), lineage));
        let labels = classes.chain([(OPEN, None)]).map(|(name, lineage)| label(&about.sha256, name, lineage));
        let labels: HashSet<String> = labels.collect();
        let entry = |image: &Map<String, Value>| {
            let name = image.get("filepath").and_then(Value::as_str).ok_or("an element without a name")?.to_string();
            match image.get("prediction").and_then(Value::as_str) {
                Some(prediction) if !labels.contains(prediction) => Err(OTHER_MODEL),
                _ => Ok((name, image.contains_key("failures"))),
            }
        };
        super::journal::entries_of(path, "predictions", Format::SpeciesNet, |_| Ok(()), entry, each)
    }
}
