//! Camtrap DP 1.0.2: a folder with `datapackage.json`, three tables, and the pictures below `media`.

use std::collections::BTreeMap;
use std::path::Path;

use oltr_frames::{Error, Result};
use serde_json::{Value, json};

use super::{Event, Events, Scientific, What, csv_error, file, folder, of_this_file};
use crate::time::{self, Moment};

/// The version that is written.
const VERSION: &str = "1.0.2";

/// Most taxa of a package: classes and names from reviews. More are a mistake.
const MAX_TAXA: usize = 100_000;

const DEPLOYMENTS: [&str; 24] = [
    "deploymentID",
    "locationID",
    "locationName",
    "latitude",
    "longitude",
    "coordinateUncertainty",
    "deploymentStart",
    "deploymentEnd",
    "setupBy",
    "cameraID",
    "cameraModel",
    "cameraDelay",
    "cameraHeight",
    "cameraDepth",
    "cameraTilt",
    "cameraHeading",
    "detectionDistance",
    "timestampIssues",
    "baitUse",
    "featureType",
    "habitat",
    "deploymentGroups",
    "deploymentTags",
    "deploymentComments",
];

const MEDIA: [&str; 11] = [
    "mediaID",
    "deploymentID",
    "captureMethod",
    "timestamp",
    "filePath",
    "filePublic",
    "fileName",
    "fileMediatype",
    "exifData",
    "favorite",
    "mediaComments",
];

const OBSERVATIONS: [&str; 28] = [
    "observationID",
    "deploymentID",
    "mediaID",
    "eventID",
    "eventStart",
    "eventEnd",
    "observationLevel",
    "observationType",
    "cameraSetupType",
    "scientificName",
    "count",
    "lifeStage",
    "sex",
    "behavior",
    "individualID",
    "individualPositionRadius",
    "individualPositionAngle",
    "individualSpeed",
    "bboxX",
    "bboxY",
    "bboxWidth",
    "bboxHeight",
    "classificationMethod",
    "classifiedBy",
    "classificationTimestamp",
    "classificationProbability",
    "observationTags",
    "observationComments",
];

/// Data that the tables share.
#[derive(Default)]
struct Package {
    first: Option<Moment>,
    last: Option<Moment>,
    /// Further fields of each taxon, by name.
    taxa: BTreeMap<String, Value>,
    uncertain: bool,
}

pub fn write(events: &mut Events, out: &Path) -> Result<()> {
    let needs = |what: &str| {
        Error::Config(format!(
            "Camtrap DP needs {what}; write it into a file and name that with --deployment FILE.toml"
        ))
    };
    let deployment = events.settings.deployment.ok_or_else(|| needs("id, latitude and longitude of the deployment"))?;
    let place = deployment.latitude.zip(deployment.longitude).ok_or_else(|| needs("latitude and longitude"))?;
    folder(out, "datapackage.json")?;
    let mut package = Package::default();
    let minutes = deployment.minutes().unwrap_or(0);
    file(&out.join("media.csv"), |media| {
        let mut media = csv::Writer::from_writer(media);
        media.write_record(MEDIA).map_err(csv_error)?;
        file(&out.join("observations.csv"), |observations| {
            let mut observations = csv::Writer::from_writer(observations);
            observations.write_record(OBSERVATIONS).map_err(csv_error)?;
            while let Some(event) = events.next()? {
                package.add(&event)?;
                observations.write_record(observation(events, &event, minutes, &mut package)?).map_err(csv_error)?;
                if let Some(path) = events.copied(&event, out, "media")? {
                    media.write_record(medium(events, &event, &path, minutes)).map_err(csv_error)?;
                }
            }
            observations.flush().map_err(|e| csv_error(e.into()))
        })?;
        media.flush().map_err(|e| csv_error(e.into()))
    })?;
    let (start, end) = (deployment.starts().or(package.first), deployment.ends().or(package.last));
    let (start, end) = start.zip(end).ok_or_else(|| needs("start and end, as there is no event"))?;
    let row = deployment_row(events, &package, [start, end], minutes);
    file(&out.join("deployments.csv"), |table| {
        let mut table = csv::Writer::from_writer(table);
        table.write_record(DEPLOYMENTS).map_err(csv_error)?;
        table.write_record(row).map_err(csv_error)?;
        table.flush().map_err(|e| csv_error(e.into()))
    })?;
    // Written last: a folder without it is not a package.
    let json = description(events, &package, place, [start, end]);
    file(&out.join("datapackage.json"), |out| writeln!(out, "{json:#}").map_err(of_this_file))
}

impl Package {
    fn add(&mut self, event: &Event) -> Result<()> {
        self.first = Some(self.first.map_or(event.first, |first| first.min(event.first)));
        self.last = Some(self.last.map_or(event.last, |last| last.max(event.last)));
        self.uncertain |= event.uncertain;
        if self.taxa.len() > MAX_TAXA {
            let (value, limit) = (self.taxa.len() as u64, MAX_TAXA as u64);
            return Err(Error::Limit { subject: "taxa".into(), what: "taxa", value, limit });
        }
        Ok(())
    }

    /// Records the name of an observation, with the fields of the first mention that has any.
    fn name(&mut self, scientific: &Scientific) {
        let taxon =
            self.taxa.entry(scientific.name.into()).or_insert_with(|| json!({"scientificName": scientific.name}));
        for (field, value) in [("taxonID", scientific.page()), ("taxonRank", scientific.rank.map(String::from))] {
            if let Some(value) = value.filter(|_| taxon.get(field).is_none()) {
                taxon[field] = value.into();
            }
        }
    }
}

/// Observation type of a class. Recognises the names that camera trap projects use for what is not an animal.
fn kind(label: &str) -> &'static str {
    match label.trim().to_lowercase().as_str() {
        "human" | "person" | "people" | "homo sapiens" => "human",
        "vehicle" | "car" | "truck" | "bicycle" => "vehicle",
        "blank" | "empty" | "nothing" => "blank",
        _ => "animal",
    }
}

fn observation(events: &Events, event: &Event, minutes: i16, package: &mut Package) -> Result<Vec<String>> {
    let human = event.reviewed().is_some();
    let (kind, label) = match event.what() {
        What::Class(label) => (kind(label), Some(label)),
        What::Open => ("unknown", None),
        What::Nothing => ("blank", None),
        What::Unclassified => ("unclassified", None),
    };
    let scientific = label.filter(|_| kind == "animal").and_then(|_| events.scientific(event));
    if let Some(scientific) = scientific {
        package.name(&scientific);
    }
    let record = &event.record;
    let classified = kind != "unclassified";
    let written = record.wall.as_deref().and_then(Moment::parse).map(|moment| moment.in_utc(0));
    let when = if human { event.review_time() } else { written.filter(|_| classified) };
    let mut tags = vec![match event.what() {
        What::Open => "open".to_string(),
        What::Class(label) => format!("class:{}", label.replace(['|', ':'], " ")),
        _ => String::new(),
    }];
    if let Some(taxon) = event.taxon().filter(|_| event.what() == What::Open && !human) {
        tags.push(format!("near:{}", taxon.name.replace(['|', ':'], " ")));
    }
    if record.first_ever {
        tags.push("first_ever".into());
    }
    tags.retain(|tag| !tag.is_empty());
    let id = record.id.clone();
    let mut row = vec![String::new(); OBSERVATIONS.len()];
    let cells = [
        (0, id.clone()),
        (1, events.deployment_id().into()),
        (3, id),
        (4, event.first.text(minutes)),
        (5, event.last.text(minutes)),
        (6, "event".into()),
        (7, kind.into()),
        (9, scientific.map(|scientific| scientific.name).unwrap_or_default().into()),
        (
            22,
            if human {
                "human"
            } else if classified {
                "machine"
            } else {
                ""
            }
            .into(),
        ),
        (
            23,
            if human {
                event.reviewer().unwrap_or_default().into()
            } else if classified {
                machine(events)
            } else {
                String::new()
            },
        ),
        (24, when.map(|moment| moment.text(minutes)).unwrap_or_default()),
        (25, probability(event, human)),
        (26, tags.join(" | ")),
        (27, event.machine_text()),
    ];
    for (column, cell) in cells {
        row[column] = cell;
    }
    Ok(row)
}

/// Probability of the model's class. A person's review has 1, an open event none.
fn probability(event: &Event, human: bool) -> String {
    match event.machine() {
        What::Class(_) if !human => format!("{:.4}", event.record.mean.probability.clamp(0.0, 1.0)),
        _ => String::new(),
    }
}

fn machine(events: &Events) -> String {
    format!("oltr {}", events.settings.version)
}

fn medium(events: &Events, event: &Event, path: &str, minutes: i16) -> Vec<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let kind = match name.rsplit('.').next().unwrap_or_default().to_lowercase().as_str() {
        "png" => "image/png",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "ppm" | "pgm" | "pbm" | "pnm" => "image/x-portable-anymap",
        _ => "image/jpeg",
    };
    let cells: [&str; 11] = [
        &event.record.id,
        events.deployment_id(),
        "activityDetection",
        &event.best.text(minutes),
        path,
        // The picture may show people, so whoever publishes it decides.
        "false",
        name,
        kind,
        "",
        "",
        &format!("best picture of the event {}", event.record.id),
    ];
    cells.map(String::from).to_vec()
}

fn deployment_row(events: &mut Events, package: &Package, [start, end]: [Moment; 2], minutes: i16) -> Vec<String> {
    let Some(d) = events.settings.deployment else { return Vec::new() };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let number = |number: Option<f64>| number.map(|n| n.to_string()).unwrap_or_default();
    let whole = |number: Option<f64>| number.map(|n| format!("{:.0}", n.round())).unwrap_or_default();
    let comments: Vec<String> = [d.comments.clone(), events.effort.text()].into_iter().flatten().collect();
    vec![
        d.id.clone(),
        text(&d.place).replace(' ', "_"),
        text(&d.place),
        number(d.latitude),
        number(d.longitude),
        whole(d.uncertainty),
        start.text(minutes),
        end.text(minutes),
        text(&d.set_up_by),
        text(&d.camera_id),
        text(&d.camera_model),
        whole(d.delay),
        number(d.height),
        number(d.depth),
        whole(d.tilt),
        whole(d.heading),
        number(d.detection_distance),
        package.uncertain.to_string(),
        d.bait.map(|bait| bait.to_string()).unwrap_or_default(),
        text(&d.feature),
        text(&d.habitat),
        String::new(),
        d.tags.clone().unwrap_or_default().join(" | "),
        comments.join("; "),
    ]
}

fn description(events: &Events, package: &Package, (latitude, longitude): (f64, f64), times: [Moment; 2]) -> Value {
    let raw = format!("https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}");
    let resource = |name: &str| {
        json!({
            "name": name, "path": format!("{name}.csv"), "profile": "tabular-data-resource", "format": "csv",
            "mediatype": "text/csv", "encoding": "utf-8", "schema": format!("{raw}/{name}-table-schema.json"),
        })
    };
    let deployment = events.settings.deployment;
    let id = events.deployment_id();
    let slug: String = id.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let title = deployment.and_then(|d| d.project.as_deref().or(d.place.as_deref())).unwrap_or(id);
    let person = deployment.and_then(|d| d.set_up_by.as_deref()).unwrap_or(id);
    json!({
        "name": format!("oltr-{slug}"),
        "profile": format!("{raw}/camtrap-dp-profile.json"),
        "created": time::now().text(0),
        "title": format!("{title}, {id}"),
        "contributors": [{"title": person, "role": "contact"}],
        "project": {
            "title": title, "samplingDesign": "opportunistic", "captureMethod": ["activityDetection"],
            "individualAnimals": false, "observationLevel": ["event"],
        },
        "spatial": {"type": "Point", "coordinates": [longitude, latitude]},
        "temporal": {"start": times[0].date(), "end": times[1].date()},
        "taxonomic": package.taxa.values().collect::<Vec<_>>(),
        "resources": [resource("deployments"), resource("media"), resource("observations")],
    })
}
