//! CSV with one row for each photo, by RFC 4180: UTF-8, a header, commas, quotes where needed.

use std::io::{self, Write};
use std::path::Path;

use oltr_frames::Result;
use oltr_frames::frame::origin::offset_text;
use oltr_frames::text::{cell, of_cell};

use super::{About, Each, Entries, Format, Layout, OTHER_MODEL, Photo, not_ours};

pub struct Rows;

/// The columns, as docs/guide/exports.md describes them.
const COLUMNS: [&str; 29] = [
    "source",
    "decision",
    "label",
    "name",
    "probability",
    "reachability",
    "threshold",
    "nearest",
    "nearest_distance",
    "shot",
    "taken",
    "taken_offset",
    "taken_subsecond",
    "latitude",
    "longitude",
    "altitude",
    "camera_make",
    "camera_model",
    "camera_serial",
    "model",
    "model_sha256",
    "error_kind",
    "error",
    "taxon",
    "taxon_rank",
    "taxon_probability",
    "taxon_of",
    "taxon_gbif",
    "taxon_worms",
];

/// Column of the model.
const MODEL: usize = 20;

/// Column of the failure's kind.
const KIND: usize = 21;

/// Columns with texts from outside, which could start like a formula. The others hold only oltr's own numbers and
/// words.
const TEXTS: [usize; 11] = [0, 2, 3, 7, 16, 17, 18, 19, 22, 23, 26];

impl Layout for Rows {
    /// A JSON list, so that a line break in a name does not end the entry.
    fn entry(&self, about: &About, photo: &Photo) -> io::Result<String> {
        let mut row: Vec<String> = vec![String::new(); COLUMNS.len()];
        row[0] = photo.name.into();
        row[19].clone_from(&about.model);
        row[MODEL].clone_from(&about.sha256);
        match &photo.outcome {
            Ok(shown) => {
                let text = |text: Option<&str>| text.unwrap_or_default().to_string();
                row[1] = shown.decision.into();
                row[2] = text(shown.label);
                row[3] = text(shown.class.and_then(|class| about.classes.get(class)).map(String::as_str));
                let numbers = [shown.probability, shown.reachability, shown.threshold, shown.nearest.1];
                for (column, number) in [4, 5, 6, 8].into_iter().zip(numbers) {
                    row[column] = number.clamp(f32::MIN, f32::MAX).to_string();
                }
                row[7] = shown.nearest.0.into();
                row[9] = text(shown.shot);
                if let Some(taken) = &shown.origin.taken {
                    row[10] = taken.to_string();
                    row[11] = taken.offset_minutes().map(|m| offset_text(m).to_string()).unwrap_or_default();
                    row[12] = text(taken.subsecond());
                }
                if let Some(place) = shown.origin.place {
                    row[13] = place.latitude.to_string();
                    row[14] = place.longitude.to_string();
                    row[15] = place.altitude.map(|metres| metres.to_string()).unwrap_or_default();
                }
                if let Some(camera) = &shown.origin.camera {
                    row[16] = text(camera.make.as_deref());
                    row[17] = text(camera.model.as_deref());
                    row[18] = text(camera.serial.as_deref());
                }
                if let Some(taxon) = shown.taxon {
                    row[23] = taxon.name.into();
                    row[24] = taxon.rank.into();
                    row[25] = taxon.probability.to_string();
                    row[26] = text(taxon.of);
                    for (column, id) in [(27, taxon.gbif), (28, taxon.worms)] {
                        row[column] = id.map(|id| id.to_string()).unwrap_or_default();
                    }
                }
            }
            Err(failed) => {
                row[KIND] = failed.kind.into();
                row[KIND + 1] = failed.reason.into();
            }
        }
        Ok(serde_json::to_string(&row)?)
    }

    fn file(&self, _: &About, entries: &mut Entries, out: &mut dyn Write) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        writer.write_record(COLUMNS)?;
        entries(&mut |entry| {
            let mut row: Vec<String> = serde_json::from_str(entry)?;
            for (_, text) in row.iter_mut().enumerate().filter(|(at, _)| TEXTS.contains(at)) {
                *text = cell(text).into_owned();
            }
            Ok(writer.write_record(row)?)
        })?;
        writer.flush()
    }

    fn entries(&self, about: &About, path: &Path, each: &mut Each) -> Result<()> {
        let bad = |why: String| not_ours(path, Format::Csv, why);
        let mut reader = csv::Reader::from_path(path).map_err(|e| bad(e.to_string()))?;
        if reader.headers().map_err(|e| bad(e.to_string()))? != COLUMNS.as_slice() {
            return Err(bad("its columns are others".into()));
        }
        for row in reader.records() {
            let row = row.map_err(|e| bad(e.to_string()))?;
            if row[MODEL] != about.sha256 {
                return Err(bad(OTHER_MODEL.into()));
            }
            let text = |(at, cell)| if TEXTS.contains(&at) { of_cell(cell) } else { cell };
            let cells: Vec<&str> = row.iter().enumerate().map(text).collect();
            let entry = serde_json::to_string(&cells).map_err(|e| bad(e.to_string()))?;
            each(cells[0], !row[KIND].is_empty(), &entry)?;
        }
        Ok(())
    }
}
