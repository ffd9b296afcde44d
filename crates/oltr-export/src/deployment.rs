//! `deployment.toml`: where a camera stood, when, and what its clock showed.

use std::collections::BTreeMap;
use std::path::Path;

use oltr_frames::frame::origin;
use oltr_frames::{Error, Result};
use serde::Deserialize;

use crate::time::Moment;

/// Most bytes of the file. Real files are a thousand times smaller.
const MAX_BYTES: u64 = 1 << 20;

/// One camera at one place for one period. Only the id is required. Exports that need more fields report what is
/// missing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Names the deployment among others.
    pub id: String,
    /// Name of the project that the deployment belongs to.
    pub project: Option<String>,
    /// Name of the place.
    pub place: Option<String>,
    /// Degrees, north positive.
    pub latitude: Option<f64>,
    /// Degrees, east positive.
    pub longitude: Option<f64>,
    /// How far the place may be off, in metres.
    pub uncertainty: Option<f64>,
    /// UTC offset of the clock, if its times have none: `+02:00` or `Z`.
    pub zone: Option<String>,
    /// Seconds to add to every time, if the camera's clock was wrong.
    pub clock_add: Option<i64>,
    /// Start: `2024-05-01T06:00:00+02:00`.
    pub start: Option<Text>,
    /// When it ended.
    pub end: Option<Text>,
    /// Who set the camera up.
    pub set_up_by: Option<String>,
    /// Number or name of the camera.
    pub camera_id: Option<String>,
    /// Maker and model of the camera.
    pub camera_model: Option<String>,
    /// Metres above the ground.
    pub height: Option<f64>,
    /// Metres below the surface. Excludes `height`.
    pub depth: Option<f64>,
    /// Degrees up (positive) or down, -90 to 90.
    pub tilt: Option<f64>,
    /// Degrees clockwise from north, 0 to 360.
    pub heading: Option<f64>,
    /// Metres up to which animals are seen.
    pub detection_distance: Option<f64>,
    /// Seconds that the camera rests after a picture.
    pub delay: Option<f64>,
    /// Whether bait was used.
    pub bait: Option<bool>,
    /// A feature of the place, one of [`FEATURES`].
    pub feature: Option<String>,
    /// The habitat.
    pub habitat: Option<String>,
    /// Words to find it by.
    pub tags: Option<Vec<String>>,
    /// Free text.
    pub comments: Option<String>,
    /// Scientific names of classes: `red_fox = "Vulpes vulpes"`. The value `""` means that the class is no taxon.
    #[serde(default)]
    pub taxa: BTreeMap<String, String>,
}

/// A moment, written as text or as one of TOML's own dates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// `"2024-05-01T06:00:00Z"`.
    Text(String),
    /// `2024-05-01T06:00:00Z`.
    Date(toml::value::Datetime),
}

/// The features of a place in Camtrap DP's vocabulary.
pub const FEATURES: [&str; 13] = [
    "roadPaved",
    "roadDirt",
    "trailHiking",
    "trailGame",
    "roadUnderpass",
    "roadOverpass",
    "roadBridge",
    "culvert",
    "burrow",
    "nestSite",
    "carcass",
    "waterSource",
    "fruitingTree",
];

impl Deployment {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Io`]; [`Error::Limit`] for a file of more than a megabyte; [`Error::BadInput`] as
    /// [`Deployment::parse`].
    pub fn read(path: &Path) -> Result<Deployment> {
        use std::io::Read;
        let subject = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        let mut text = Vec::new();
        let length = file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|e| Error::io(path, e))? as u64;
        if length > MAX_BYTES {
            return Err(Error::Limit { subject, what: "deployment_bytes", value: length, limit: MAX_BYTES });
        }
        let bad = |reason: &str| Error::BadInput { subject: subject.clone(), reason: reason.into() };
        let text = String::from_utf8(text).map_err(|_| bad("is not UTF-8; write it as TOML: id = \"north-1\""))?;
        Deployment::parse(&subject, text.strip_prefix('\u{feff}').unwrap_or(&text))
    }

    /// Parses `text`. Messages name it `subject`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for invalid TOML, unknown keys or impossible values, with line and remedy.
    pub fn parse(subject: &str, text: &str) -> Result<Deployment> {
        let bad = |reason: String| Error::BadInput { subject: subject.into(), reason };
        let deployment: Deployment = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            bad(format!("{place}{}; docs/guide/exports.md has an example", e.message()))
        })?;
        deployment.check().map_err(bad)?;
        Ok(deployment)
    }

    fn check(&self) -> Result<(), String> {
        let range = |name: &str, value: Option<f64>, least: f64, most: f64| match value {
            Some(value) if !(least..=most).contains(&value) => {
                Err(format!("{name} is {value}, which lies beyond {least} to {most}"))
            }
            _ => Ok(()),
        };
        if self.id.trim().is_empty() {
            return Err("id is empty; name the deployment: id = \"north-1\"".into());
        }
        range("latitude", self.latitude, -90.0, 90.0)?;
        range("longitude", self.longitude, -180.0, 180.0)?;
        if self.latitude.is_some() != self.longitude.is_some() {
            return Err("latitude and longitude belong together; give both or neither".into());
        }
        range("uncertainty", self.uncertainty, 1.0, 1e7)?;
        range("height", self.height, 0.0, 1e4)?;
        range("depth", self.depth, 0.0, 12_000.0)?;
        range("tilt", self.tilt, -90.0, 90.0)?;
        range("heading", self.heading, 0.0, 360.0)?;
        range("detection_distance", self.detection_distance, 0.0, 1e5)?;
        range("delay", self.delay, 0.0, 1e6)?;
        if self.height.is_some() && self.depth.is_some() {
            return Err("height is above the ground and depth below the surface; give one of them".into());
        }
        if let Some(zone) = self.zone.as_deref().filter(|zone| origin::offset(zone).is_none()) {
            return Err(format!(
                "zone is '{zone}'; write the offset to UTC of the camera's clock: \"+02:00\" or \"Z\""
            ));
        }
        if let Some(add) = self.clock_add.filter(|add| add.unsigned_abs() > 100 * 366 * 86_400) {
            return Err(format!("clock_add is {add} seconds, more than a century; it is added to every time"));
        }
        if let Some(feature) = self.feature.as_deref().filter(|feature| !FEATURES.contains(feature)) {
            return Err(format!("feature is '{feature}'; it is one of {}", FEATURES.join(", ")));
        }
        let (start, end) = (self.moment("start", &self.start)?, self.moment("end", &self.end)?);
        match (start, end) {
            (Some(start), Some(end)) if end < start => Err("end is before start".into()),
            _ => Ok(()),
        }
    }

    fn moment(&self, name: &str, text: &Option<Text>) -> Result<Option<Moment>, String> {
        let Some(text) = text else { return Ok(None) };
        let text = match text {
            Text::Text(text) => text.clone(),
            Text::Date(date) => date.to_string(),
        };
        let wrong = || format!("{name} is '{text}'; write date and time: \"2024-05-01T06:00:00+02:00\"");
        Moment::parse(&text.replacen(' ', "T", 1)).map(Some).ok_or_else(wrong)
    }

    /// Start in UTC, if the file has it.
    pub fn starts(&self) -> Option<Moment> {
        Some(self.moment("start", &self.start).ok()??.in_utc(self.minutes().unwrap_or(0)))
    }

    /// End in UTC, if the file has it.
    pub fn ends(&self) -> Option<Moment> {
        Some(self.moment("end", &self.end).ok()??.in_utc(self.minutes().unwrap_or(0)))
    }

    /// Minutes that the camera's clock is ahead of UTC.
    pub fn minutes(&self) -> Option<i16> {
        origin::offset(self.zone.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_everything_in_it() {
        let text = "\
            id = 'north-1'\nplace = 'Pond'\nlatitude = 52.5\nlongitude = -13.25\nzone = '+02:00'\nclock_add = -3600\n\
            start = 2024-05-01T06:00:00+02:00\nend = '2024-05-02 06:00:00'\ncamera_model = 'Acme-T1'\nheight = 1.5\n\
            bait = false\nhabitat = 'reed'\nfeature = 'waterSource'\ntags = ['a', 'b']\n[taxa]\nfox = 'Vulpes vulpes'\nbag = ''";
        let d = Deployment::parse("d.toml", text).unwrap();
        assert_eq!((d.id.as_str(), d.latitude, d.minutes(), d.bait), ("north-1", Some(52.5), Some(120), Some(false)));
        assert_eq!(d.starts().unwrap().text(0), "2024-05-01T04:00:00Z");
        assert_eq!(d.ends().unwrap().text(0), "2024-05-02T04:00:00Z");
        assert_eq!(
            ["fox", "cup", "bag"].map(|l| d.taxa.get(l).map(String::as_str)),
            [Some("Vulpes vulpes"), None, Some("")]
        );
    }

    #[test]
    fn errors_have_their_line_or_remedy() {
        for (text, says) in [
            ("", "id"),
            ("id = ''", "north-1"),
            ("id = 'a'\nlatitud = 5", "line 2"),
            ("id = 'a'\nlatitude = 'x'\n", "line 2"),
            ("id = 'a'\n\nlatitude = = 5", "line 3"),
            ("id = 'a'\nlatitude = 200\nlongitude = 0", "beyond -90 to 90"),
            ("id = 'a'\nlatitude = nan\nlongitude = 0", "NaN"),
            ("id = 'a'\nlatitude = 20", "both"),
            ("id = 'a'\nheight = 1\ndepth = 1", "one of them"),
            ("id = 'a'\nzone = 'CET'", "+02:00"),
            ("id = 'a'\nfeature = 'road'", "roadPaved"),
            ("id = 'a'\nstart = 2024-05-01", "date and time"),
            ("id = 'a'\nstart = '2024-05-01T06:00:00Z'\nend = '2024-05-01T05:00:00Z'", "before"),
        ] {
            let error = Deployment::parse("d.toml", text).unwrap_err().to_string();
            assert!(error.starts_with("d.toml: ") && error.contains(says), "{text}: {error}");
        }
    }
}
