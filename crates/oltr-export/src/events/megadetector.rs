//! The pictures of events in MegaDetector's batch output, version 1.6.

use std::collections::BTreeMap;
use std::path::Path;

use oltr_frames::{Error, Result};
use serde_json::json;

use super::{Events, What, file, of_this_file};
use crate::photos::{MEGADETECTOR_ANIMAL as ANIMAL, megadetector_info as info, whole_picture};

/// Most categories: classes and names from reviews. More are a mistake.
const MAX_CATEGORIES: usize = 100_000;

pub fn write(events: &mut Events, out: &Path) -> Result<()> {
    file(out, |out| {
        let mut categories: BTreeMap<String, usize> = BTreeMap::from([("open".into(), 1)]);
        let info = info(events.settings.version, "oltr", None);
        write!(out, "{{\n \"info\": {info},\n \"images\": [").map_err(of_this_file)?;
        let mut between = "\n";
        while let Some(event) = events.next()? {
            let Some(picture) = events.picture(&event) else { continue };
            let (name, score) = match event.what() {
                What::Class(label) => {
                    (label, if event.reviewed().is_some() { 1.0 } else { event.record.mean.probability })
                }
                What::Open => ("open", 1.0),
                What::Nothing | What::Unclassified => ("", 0.0),
            };
            let detections = match name {
                "" => json!([]),
                name => {
                    let next = categories.len() + 1;
                    let id = match categories.get(name) {
                        Some(id) => *id,
                        None if next > MAX_CATEGORIES => {
                            let (subject, value, limit) = ("categories".into(), next as u64, MAX_CATEGORIES as u64);
                            return Err(Error::Limit { subject, what: "categories", value, limit });
                        }
                        None => *categories.entry(name.into()).or_insert(next),
                    };
                    whole_picture(vec![(id.to_string(), score.clamp(0.0, 1.0).into())])
                }
            };
            let image = json!({"file": picture, "detections": detections, "datetime": event.best.plain()});
            write!(out, "{between}{image}").map_err(of_this_file)?;
            between = ",\n";
        }
        let names: BTreeMap<String, &str> =
            categories.iter().map(|(name, id)| (id.to_string(), name.as_str())).collect();
        let (names, detection) = (json!(names), json!({ANIMAL: "animal"}));
        write!(out, "\n ],\n \"detection_categories\": {detection},\n \"classification_categories\": {names}\n}}\n")
            .map_err(of_this_file)
    })
}
