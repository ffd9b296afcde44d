//! Boxes from a detector in ONNX: any network whose outputs are boxes and scores.
//!
//! The [`Form`] of its outputs is told from their shapes, once, when the detector is made. Its classes mean nothing to
//! oltr but for [`Settings::classes`]: what a thing is, the classifier says.

mod boxes;
mod finder;
mod form;

use std::collections::BTreeMap;

pub use boxes::{MOST_BOXES, MOST_CANDIDATES, OVERLAP};
pub use finder::DetectorFinder;
pub use form::Form;

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::model::{Model, Session};
use crate::preprocess::{Normaliser, Placement, Preprocess, Preprocessor, Resize};
use boxes::Candidates;
use oltr_scenes::Area;

/// Classes that a filter names.
pub const MOST_CLASSES: usize = 64;

/// The colour around a frame that is padded to the detector's square: what those of the YOLO family are trained with.
const PADDING: u8 = 114;

/// What the engine keeps beside a detector's weights and buffers: its plan, shapes, and outputs on their way.
const ENGINE_BYTES: usize = 6 << 20;

/// What of a detector's boxes counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Boxes with a lower score do not count: 0 to 1.
    pub score: f32,
    /// Classes that count, by index; all where none is named.
    pub classes: heapless::Vec<u32, MOST_CLASSES>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { score: 0.25, classes: heapless::Vec::new() }
    }
}

/// A detector with its buffers.
#[derive(Debug)]
pub struct Detector {
    name: String,
    settings: Settings,
    form: Form,
    session: Session,
    /// Whether its input has its channels last.
    channels_last: bool,
    preprocess: Preprocess,
    preprocessor: Option<Preprocessor>,
    normaliser: Normaliser,
    pixels: Vec<u8>,
    /// The input, as the network takes it.
    input: Vec<f32>,
    outputs: Vec<Vec<f32>>,
    candidates: Candidates,
    bytes: usize,
}

impl Detector {
    /// A detector that runs `model` on frames within `limits`.
    ///
    /// # Errors
    /// [`Error::BadModel`] for a network whose input is no square picture, or whose outputs have none of the known forms;
    /// [`Error::Config`] for settings that make no sense; as [`Model::session`].
    pub fn new(model: &Model, settings: &Settings, limits: &Limits) -> Result<Detector> {
        let bad = |reason: String| Error::BadModel { model: model.name().into(), reason };
        if !(0.0..=1.0).contains(&settings.score) {
            return Err(Error::Config(format!("a score of {} for detectors; give 0 to 1", settings.score)));
        }
        let [port] = model.inputs() else {
            return Err(bad(format!("has {} inputs; a detector takes one picture", model.inputs().len())));
        };
        let (channels_last, size) = match port.shape[..] {
            [1, 3, height, width] if height == width => (false, width),
            [1, height, width, 3] if height == width => (true, width),
            _ => {
                return Err(bad(format!(
                    "its input '{}' is {:?}; a detector takes a square picture, [1,3,S,S] or [1,S,S,3]: export it so",
                    port.name, port.shape
                )));
            }
        };
        let outputs: Vec<(&str, &[usize])> =
            model.outputs().iter().map(|port| (port.name.as_str(), port.shape.as_slice())).collect();
        let form = Form::of(&outputs).map_err(bad)?;
        let preprocess = preprocess_of(model.name(), model.metadata(), size as u32)?;
        let sizes = model.outputs().iter().map(|port| port.volume());
        let outputs: Vec<Vec<f32>> = sizes.map(Vec::with_capacity).collect();
        let outputs_bytes: usize = outputs.iter().map(|output| output.capacity() * size_of::<f32>()).sum();
        let preprocessor_bytes =
            usize::try_from(Preprocessor::most_bytes(preprocess.size, limits)).unwrap_or(usize::MAX);
        let summary = model.summary();
        let arena = (summary.weights_bytes + summary.arena_bytes + summary.scratch_bytes) as usize;
        let pixels = size * size * 3;
        Ok(Detector {
            name: model.name().into(),
            settings: settings.clone(),
            form,
            session: model.session()?,
            channels_last,
            normaliser: Normaliser::new(&preprocess),
            preprocess,
            preprocessor: None,
            pixels: vec![0; pixels],
            input: vec![0.0; pixels],
            outputs,
            candidates: Candidates::default(),
            // The outputs lie there once more on their way.
            bytes: (arena + outputs_bytes * 2 + pixels * 5 + ENGINE_BYTES).saturating_add(preprocessor_bytes),
        })
    }

    /// How its outputs are read.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Bytes of memory that it takes, its network counted.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    /// The boxes of things in `frame`, which is shown as a whole and as it is stored: the highest scores first, in its
    /// pixels. Of boxes that overlap by [`OVERLAP`] or more only the first is given.
    ///
    /// # Errors
    /// As [`Session::run_raw_into`]. Boxes that are no numbers, or lie outside, are passed over.
    pub fn detect(&mut self, frame: &Frame) -> Result<impl Iterator<Item = (Area, f32)> + '_> {
        let preprocessor = match &mut self.preprocessor {
            Some(preprocessor) => preprocessor,
            none => none.insert(Preprocessor::new(&self.preprocess, frame.geometry())?),
        };
        preprocessor.run(frame, &mut self.pixels)?;
        let placement = preprocessor.placement();
        let size = self.preprocess.size as usize;
        if self.channels_last {
            for (numbers, pixel) in self.input.as_chunks_mut::<3>().0.iter_mut().zip(self.pixels.as_chunks::<3>().0) {
                for (channel, number) in numbers.iter_mut().enumerate() {
                    let (mean, std) = (self.preprocess.mean[channel], self.preprocess.std[channel]);
                    *number = (f32::from(pixel[channel]) - mean) / std;
                }
            }
        } else {
            self.normaliser.run(&self.pixels, &mut self.input)?;
        }
        self.session.run_raw_into(&[&self.input], &mut self.outputs)?;
        self.candidates.clear();
        self.form.read(&self.outputs, &self.settings, size as f32, &mut self.candidates);
        log::debug!("{}: {} boxes", self.name, self.candidates.len());
        self.candidates.suppress();
        let (width, height) = (frame.width(), frame.height());
        Ok(self.candidates.iter().filter_map(move |candidate| {
            let area = area_of(candidate.corners, placement, width, height)?;
            Some((area, candidate.score))
        }))
    }
}

/// A box in pixels of the network's input as one in pixels of the frame; `None` where none of it lies there.
fn area_of(corners: [f32; 4], placement: Placement, width: u32, height: u32) -> Option<Area> {
    let (across, down) = (width as f32 / placement.width as f32, height as f32 / placement.height as f32);
    let column = |x: f32| ((x - placement.x as f32) * across).round().clamp(0.0, width as f32) as u32;
    let row = |y: f32| ((y - placement.y as f32) * down).round().clamp(0.0, height as f32) as u32;
    let [left, top, right, bottom] = corners;
    let (x, y) = (column(left), row(top));
    let (width, height) = (column(right).saturating_sub(x), row(bottom).saturating_sub(y));
    (width > 0 && height > 0).then_some(Area { x: x as i32, y: y as i32, width, height })
}

/// How a frame becomes the detector's input: the whole frame in a square of grey, numbers from 0 to 1, unless its metadata
/// say otherwise for the numbers.
fn preprocess_of(model: &str, metadata: &BTreeMap<String, String>, size: u32) -> Result<Preprocess> {
    let usual = Preprocess {
        size,
        resize: Resize::Pad,
        resize_to: None,
        mean: [0.0; 3],
        std: [255.0; 3],
        pad_color: Some([PADDING; 3]),
    };
    let Some(text) = metadata.get("oltr.preprocess") else { return Ok(usual) };
    let said: Preprocess = serde_json::from_str(text).map_err(|e| Error::Metadata {
        model: model.into(),
        key: "oltr.preprocess",
        reason: format!("is not what the bundle format says: {e}"),
    })?;
    let good = said.mean.iter().all(|m| m.is_finite()) && said.std.iter().all(|s| s.is_finite() && *s > 0.0);
    if !good {
        let reason = "mean must be finite and std positive".into();
        return Err(Error::Metadata { model: model.into(), key: "oltr.preprocess", reason });
    }
    Ok(Preprocess { mean: said.mean, std: said.std, pad_color: said.pad_color.or(usual.pad_color), ..usual })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_come_back_from_the_padded_square() {
        let settings = Preprocess { size: 100, ..preprocess_of("d", &BTreeMap::new(), 100).unwrap() };
        let placement = Placement::new(&settings, 400, 200).unwrap();
        assert_eq!((placement.width, placement.height, placement.y), (100, 50, 25));
        let area = |corners| area_of(corners, placement, 400, 200);
        assert_eq!(area([10.0, 35.0, 20.0, 45.0]), Some(Area { x: 40, y: 40, width: 40, height: 40 }));
        assert_eq!(area([-50.0, 0.0, 500.0, 500.0]), Some(Area { x: 0, y: 0, width: 400, height: 200 }));
        assert_eq!(area([0.0, 0.0, 50.0, 25.0]), None);
        assert_eq!(area([20.0, 40.0, 10.0, 30.0]), None);
    }
}
