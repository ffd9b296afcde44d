//! A row an event.

use std::path::Path;

use oltr_frames::Result;
use oltr_frames::text::cell;

use super::{Events, What, csv_error, file};

/// The columns, as docs/guide/exports.md describes them.
const COLUMNS: [&str; 31] = [
    "id",
    "source",
    "first",
    "last",
    "duration_ms",
    "frames",
    "decision",
    "label",
    "method",
    "by",
    "probability",
    "reachability",
    "nearest",
    "shot",
    "first_ever",
    "picture",
    "machine_decision",
    "machine_label",
    "reviewed_at",
    "time_uncertain",
    "deployment",
    "place",
    "latitude",
    "longitude",
    "camera",
    "taxon",
    "taxon_rank",
    "taxon_probability",
    "taxon_of",
    "taxon_gbif",
    "taxon_worms",
];

pub fn write(events: &mut Events, out: &Path) -> Result<()> {
    file(out, |out| {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS).map_err(csv_error)?;
        let cell = |text: &str| cell(text).into_owned();
        let text = |text: Option<&String>| text.map(|text| cell(text)).unwrap_or_default();
        let number = |number: Option<f64>| number.map(|n| n.to_string()).unwrap_or_default();
        let whole = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
        let deployment = events.settings.deployment;
        let minutes = deployment.and_then(|d| d.minutes()).unwrap_or(0);
        while let Some(event) = events.next()? {
            let picture = events.picture(&event).unwrap_or_default();
            let record = &event.record;
            let words = |what: What| match what {
                What::Class(label) => ("known".to_string(), label.to_string()),
                What::Open => ("open".into(), String::new()),
                What::Nothing => ("nothing".into(), String::new()),
                What::Unclassified => ("unclassified".into(), String::new()),
            };
            let ((decision, label), (machine, machine_label)) = (words(event.what()), words(event.machine()));
            let taxon = event.taxon();
            let human = event.reviewed().is_some();
            let row = [
                cell(&record.id),
                cell(&record.source),
                event.first.text(minutes),
                event.last.text(minutes),
                record.duration_ms.to_string(),
                record.frames.to_string(),
                decision,
                cell(&label),
                if human { "human" } else { "machine" }.into(),
                cell(event.reviewer().unwrap_or(if human { "" } else { "oltr" })),
                record.mean.probability.to_string(),
                record.mean.reachability.to_string(),
                text(record.best.nearest.label.as_ref()),
                text(record.shot.as_ref()),
                record.first_ever.to_string(),
                cell(picture),
                machine,
                cell(&machine_label),
                event.review_time().map(|moment| moment.text(0)).unwrap_or_default(),
                event.uncertain.to_string(),
                text(deployment.map(|d| &d.id)),
                text(deployment.and_then(|d| d.place.as_ref())),
                number(deployment.and_then(|d| d.latitude)),
                number(deployment.and_then(|d| d.longitude)),
                text(deployment.and_then(|d| d.camera_id.as_ref().or(d.camera_model.as_ref()))),
                text(taxon.map(|taxon| &taxon.name)),
                text(taxon.map(|taxon| &taxon.rank)),
                number(taxon.map(|taxon| taxon.probability)),
                text(taxon.and_then(|taxon| Some(&taxon.of.as_ref()?.name))),
                whole(taxon.and_then(|taxon| taxon.gbif)),
                whole(taxon.and_then(|taxon| taxon.worms)),
            ];
            writer.write_record(row).map_err(csv_error)?;
        }
        writer.flush().map_err(|e| csv_error(e.into()))
    })
}
