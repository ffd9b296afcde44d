//! A detector as a finder: alone, or where something moves.

use std::time::Duration;

use heapless::Vec;
use oltr_scenes::{Area, Camera, Expected, Finder, Gate, MOST_REGIONS, Region, Regions, Settings, State};

use super::Detector;
use crate::error::Result;
use crate::frame::Frame;

/// A region that moves is that of a box where the two share so much of the smaller one.
const WITHIN: f64 = 0.5;

/// Finds what a [`Detector`] finds, at most so often: alone, or only where and while a [`Gate`] sees something move.
///
/// The frames between two runs of the detector show what its last boxes tell: alone, the boxes themselves; with a gate,
/// what moves in them.
#[derive(Debug)]
pub struct DetectorFinder {
    detector: Detector,
    gate: Option<Gate>,
    /// Without a gate: which boxes count.
    places: Option<Settings>,
    /// The least time between two runs.
    spacing: Duration,
    last: Option<Duration>,
    boxes: Vec<Area, MOST_REGIONS>,
    moving: Regions,
    /// Of the last frame, which the boxes are of.
    size: (u32, u32),
}

impl DetectorFinder {
    /// Runs `detector` at most once in `spacing`; with a `gate` only when something moves. Without one all of its boxes count:
    /// [`DetectorFinder::within`] leaves some out.
    pub fn new(detector: Detector, gate: Option<Gate>, spacing: Duration) -> DetectorFinder {
        let (last, boxes, moving, size) = Default::default();
        DetectorFinder { detector, gate, places: None, spacing, last, boxes, moving, size }
    }

    /// Without a gate: only boxes count that [`Settings::shows`] and [`Settings::fits`] of `settings` say yes to. A gate has
    /// settings of its own.
    pub fn within(mut self, settings: &Settings) -> DetectorFinder {
        self.places = Some(settings.clone());
        self
    }

    /// As [`Gate::set_mask`]; without a gate the detector looks at the next frame anew.
    pub fn set_mask(&mut self, mask: Option<oltr_scenes::Mask>) {
        match &mut self.gate {
            Some(gate) => gate.set_mask(mask),
            None => {
                self.places.get_or_insert_default().mask = mask;
                self.forget();
            }
        }
    }

    /// Whether the detector's turn has come.
    fn is_turn(&self, time: Duration) -> bool {
        // A frame that is a little early counts: rates of frames and of detectors need not divide each other.
        self.last.is_none_or(|last| time.saturating_sub(last) + self.spacing / 16 >= self.spacing)
    }

    /// What was seen is seen no more: the next frame is looked at anew.
    fn forget(&mut self) {
        self.boxes.clear();
        self.last = None;
    }

    fn detect(&mut self, frame: &Frame, time: Duration) -> Result<()> {
        self.last = Some(time);
        self.boxes.clear();
        let places = self.places.as_ref().filter(|_| self.gate.is_none());
        let (width, height) = (frame.width(), frame.height());
        let counts =
            |area: Area| places.is_none_or(|places| places.shows(area, width, height) && places.fits(area, width));
        for (area, _) in self.detector.detect(frame)? {
            // Before there is room for no more.
            if !counts(area) {
                continue;
            }
            if self.boxes.push(area).is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl Finder for DetectorFinder {
    fn find(&mut self, frame: &Frame, time: Duration, expected: &[Expected], regions: &mut Regions) -> Result<()> {
        let size = (frame.width(), frame.height());
        if std::mem::replace(&mut self.size, size) != size {
            self.forget();
        }
        let Some(gate) = &mut self.gate else {
            if self.is_turn(time) {
                self.detect(frame, time)?;
            }
            regions.extend(self.boxes.iter().map(|area| Region::new(*area)));
            return Ok(());
        };
        self.moving.clear();
        gate.find(frame, time, expected, &mut self.moving)?;
        if gate.is_anew() {
            self.forget();
        }
        if !self.moving.is_empty() && self.is_turn(time) {
            self.detect(frame, time)?;
        }
        // What moves where the detector saw something, or where something is followed already.
        let is_known = |region: &&Region| {
            self.boxes.iter().any(|area| is_within(region.area, *area))
                || expected.iter().any(|expected| expected.confirmed && is_within(region.area, expected.area))
        };
        regions.extend(self.moving.iter().filter(is_known).copied());
        Ok(())
    }

    fn state(&self) -> State {
        self.gate.as_ref().map_or(State::Watching, Gate::state)
    }

    fn camera(&self) -> Option<Camera> {
        self.gate.as_ref().and_then(Gate::camera)
    }

    fn is_anew(&self) -> bool {
        self.gate.as_ref().is_some_and(Gate::is_anew)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.detector.bytes() + self.gate.as_ref().map_or(0, Gate::bytes)
    }
}

/// Whether most of `region` lies in `area`, or most of `area` in it.
fn is_within(region: Area, area: Area) -> bool {
    let common = region.common(area).pixels() as f64;
    common >= WITHIN * (region.pixels().min(area.pixels()).max(1)) as f64
}
