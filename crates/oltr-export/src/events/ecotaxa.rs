//! EcoTaxa's table with the pictures that it names.
//!
//! A class is `predicted` until a person reviews it, then `validated` in that person's name. An open event has neither
//! status nor category, and EcoTaxa shows it as not yet sorted. Events reviewed as nothing are left out.

use std::io::{BufRead, BufReader, BufWriter, Seek};
use std::path::Path;

use oltr_frames::{Error, Result};

use super::{Events, What, file, folder, of_this_file};

/// Columns and their types, as EcoTaxa reads them from the first two rows. Free columns have the prefix `object_` or
/// `acq_`.
const COLUMNS: [(&str, &str); 32] = [
    ("object_id", "[t]"),
    ("object_lat", "[f]"),
    ("object_lon", "[f]"),
    ("object_date", "[t]"),
    ("object_time", "[t]"),
    ("object_depth_min", "[f]"),
    ("object_depth_max", "[f]"),
    ("object_annotation_category", "[t]"),
    ("object_annotation_status", "[t]"),
    ("object_annotation_person_name", "[t]"),
    ("object_annotation_date", "[t]"),
    ("object_annotation_time", "[t]"),
    ("img_file_name", "[t]"),
    ("img_rank", "[f]"),
    ("sample_id", "[t]"),
    ("acq_id", "[t]"),
    ("acq_instrument", "[t]"),
    ("process_id", "[t]"),
    ("object_oltr_decision", "[t]"),
    ("object_oltr_label", "[t]"),
    ("object_oltr_probability", "[f]"),
    ("object_oltr_reachability", "[f]"),
    ("object_oltr_nearest", "[t]"),
    ("object_oltr_frames", "[f]"),
    ("object_oltr_duration_ms", "[f]"),
    ("object_oltr_first_ever", "[t]"),
    ("object_oltr_taxon", "[t]"),
    ("object_oltr_taxon_rank", "[t]"),
    ("sample_place", "[t]"),
    ("sample_habitat", "[t]"),
    ("process_software", "[t]"),
    // Known only after all lines are read, so it is added to the rows at the end.
    ("sample_hours_watched", "[f]"),
];

pub fn write(events: &mut Events, out: &Path) -> Result<()> {
    let table = "ecotaxa_oltr.tsv";
    folder(out, table)?;
    let deployment = events.settings.deployment;
    let io = |e| Error::io(out, e);
    let mut rows = tempfile::tempfile_in(out).map_err(io)?;
    {
        let mut builder = csv::WriterBuilder::new();
        let mut writer = builder.delimiter(b'\t').from_writer(BufWriter::new(&mut rows));
        // A tab or a line break within a cell is read as its end.
        let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
        let text = |text: Option<&String>| text.map(|text| plain(text)).unwrap_or_default();
        let number = |number: Option<f64>| number.map(|n| n.to_string()).unwrap_or_default();
        while let Some(event) = events.next()? {
            let what = event.what();
            if what == What::Nothing {
                continue;
            }
            let Some(picture) = events.copied(&event, out, "pictures")? else { continue };
            let human = event.reviewed().is_some();
            let category = match (what, events.scientific(&event)) {
                (_, Some(scientific)) => scientific.name,
                // A class that is no taxon has its label, unless the model is sure of no name.
                (What::Class(label), None) if human || event.record.taxon != Some(None) => label,
                _ => "",
            };
            let status = match (category.is_empty(), human) {
                (true, _) => "",
                (false, true) => "validated",
                (false, false) => "predicted",
            };
            let validated = human && !category.is_empty();
            let [date, time] = event.best.compact();
            let reviewed = event.review_time().filter(|_| validated).map(|at| at.compact());
            let [review_date, review_time] = reviewed.unwrap_or_default();
            let record = &event.record;
            let row = [
                plain(&record.id),
                number(deployment.and_then(|d| d.latitude)),
                number(deployment.and_then(|d| d.longitude)),
                date,
                time,
                number(deployment.and_then(|d| d.depth)),
                number(deployment.and_then(|d| d.depth)),
                plain(category),
                status.into(),
                if validated { plain(event.reviewer().unwrap_or_default()) } else { String::new() },
                review_date,
                review_time,
                picture,
                "0".into(),
                plain(events.deployment_id()),
                plain(events.deployment_id()),
                text(deployment.and_then(|d| d.camera_model.as_ref())),
                format!("oltr_{}", events.settings.version),
                plain(&record.decision),
                text(record.label.as_ref()),
                record.mean.probability.to_string(),
                record.mean.reachability.to_string(),
                text(record.best.nearest.label.as_ref()),
                record.frames.to_string(),
                record.duration_ms.to_string(),
                record.first_ever.to_string(),
                text(event.taxon().map(|taxon| &taxon.name)),
                text(event.taxon().map(|taxon| &taxon.rank)),
                text(deployment.and_then(|d| d.place.as_ref())),
                text(deployment.and_then(|d| d.habitat.as_ref())),
                format!("oltr {}", events.settings.version),
            ];
            writer.write_record(row).map_err(|e| io(e.into()))?;
        }
        writer.flush().map_err(io)?;
    }
    rows.rewind().map_err(io)?;
    let hours = events.effort.hours().map(|hours| hours.to_string()).unwrap_or_default();
    file(&out.join(table), |table| {
        let heads = [COLUMNS.map(|(name, _)| name), COLUMNS.map(|(_, kind)| kind)];
        for head in heads {
            writeln!(table, "{}", head.join("\t")).map_err(of_this_file)?;
        }
        // No cell holds a line break.
        for row in BufReader::new(rows).lines() {
            writeln!(table, "{}\t{hours}", row.map_err(io)?).map_err(of_this_file)?;
        }
        Ok(())
    })
}
