//! A classifier sees cuts of photos.

use std::time::{Duration, Instant};

use heapless::Vec;
use oltr_scenes::Area;

use super::found::{Found, MOST_SHOWN, Shown, Still, StillThing};
use super::source::Finds;
use crate::answer::Answer;
use crate::classify::{Classify, concerns_frame};
use crate::decide::Decision;
use crate::error::{Error, Result};
use crate::frame::{Frame, RegionOfInterest};
use crate::things::cut::cut_of;
use crate::things::detector::Detector;
use crate::things::settings::Settings;
use crate::things::stage::Cut;

/// Times of one photo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StillTimes {
    /// Times that the network ran.
    pub inferences: u32,
    /// From the photo to the network's input, all together.
    pub preprocess: Duration,
    /// The network, all together.
    pub inference: Duration,
    /// The network, the longest time.
    pub longest: Duration,
}

impl StillTimes {
    fn add(&mut self, answer: &Answer) {
        self.inferences += 1;
        self.preprocess += answer.preprocess;
        self.inference += answer.inference;
        self.longest = self.longest.max(answer.inference);
    }
}

/// Lets a classifier see what differs in photos, and makes one answer of each photo.
#[derive(Debug)]
pub struct Stills {
    finds: Finds,
    margin: f32,
    /// Which boxes of a detector count.
    places: oltr_scenes::Settings,
    /// What finds things, and whether it does so alone.
    detector: Option<(Detector, bool)>,
    most: usize,
    things: u64,
    still: Still,
    times: StillTimes,
}

impl Stills {
    /// Photos of a [`StillSource`](super::StillSource) that tells `finds`.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(finds: Finds, settings: &Settings) -> Result<Stills> {
        settings.check()?;
        let most = settings.scene.max_things.min(MOST_SHOWN);
        let (margin, detector, things, still, times) =
            (settings.margin, None, 0, Still::default(), StillTimes::default());
        let places = settings.scene.clone();
        Ok(Stills { finds, margin, places, detector, most, things, still, times })
    }

    /// With a detector: what differs in its boxes is cut out, and all of its boxes where there is no ground or `alone` says
    /// so. Boxes do not count where [`Settings`] ignore or mask the photo, nor, `alone`, those of other sizes than things have.
    pub fn with_detector(mut self, detector: Detector, alone: bool) -> Stills {
        self.detector = Some((detector, alone));
        self
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Stills>() + self.detector.as_ref().map_or(0, |(detector, _)| detector.bytes())
    }

    /// What was made of the last photo.
    pub fn last(&self) -> &Still {
        &self.still
    }

    /// How long the last photo took.
    pub fn times(&self) -> StillTimes {
        self.times
    }

    /// Lets `classifier` see what differs in the photo `frame`, or all of it, and gives the answer of the photo: that of the
    /// known thing with the highest probability, else of the largest. `told` gets each cut. Rotation stays as the
    /// region of interest of `frame` has it.
    ///
    /// # Errors
    /// As [`Classify::classify`] for what does not concern one cut alone; that of the cut where none could be classified;
    /// those of the detector and of `told`.
    pub fn look<'c>(
        &mut self,
        frame: &mut Frame,
        classifier: &'c mut dyn Classify,
        told: &mut dyn FnMut(&Cut) -> Result<()>,
    ) -> Result<Answer<'c>> {
        let RegionOfInterest { region, rotation } = frame.geometry().roi;
        let found = self.finds.take(frame.stamp().seq).unwrap_or_default();
        frame.set_roi(RegionOfInterest::default());
        let areas = self.areas_of(frame, &found);
        let looked = match areas {
            Ok(areas) => self.cut(frame, &areas, rotation, classifier, told),
            Err(e) => Err(e),
        };
        let best = match looked {
            Ok(best) => best,
            Err(e) => {
                frame.set_roi(RegionOfInterest { region, rotation });
                return Err(e);
            }
        };
        // The whole photo, or the best cut once more: its outputs and its pixels are those of the answer.
        frame.set_roi(best.unwrap_or(RegionOfInterest { region, rotation }));
        let again = best.is_none() || self.still.things.len() > 1;
        let answer = classifier.classify(frame);
        frame.set_roi(RegionOfInterest { region, rotation });
        let mut answer = answer?;
        if again {
            self.times.add(&answer);
        }
        (answer.preprocess, answer.inference) = (self.times.preprocess, self.times.inference);
        Ok(answer)
    }

    /// What of the photo is cut out.
    fn areas_of(&mut self, frame: &Frame, found: &Found) -> Result<Vec<Area, MOST_SHOWN>> {
        self.times = StillTimes::default();
        let Found { burst, ground, shown, ref areas, left_out, .. } = *found;
        self.still = Still { shown, ground, burst, left_out, things: Vec::new() };
        let Some((detector, alone)) = &mut self.detector else { return Ok(areas.clone()) };
        let every = *alone || matches!(shown, Shown::NoGround | Shown::Changed);
        let mut boxes = Vec::new();
        let mut left_out = 0;
        for (area, _) in detector.detect(frame)? {
            let (width, height) = (frame.width(), frame.height());
            if !self.places.shows(area, width, height) || (*alone && !self.places.fits(area, width)) {
                continue;
            }
            if !every && !areas.iter().any(|differs| is_within(*differs, area)) {
                continue;
            }
            if boxes.len() >= self.most || boxes.push(area).is_err() {
                left_out += 1;
            }
        }
        self.still.left_out = left_out;
        self.still.shown = if boxes.is_empty() { Shown::Same } else { Shown::Cuts };
        Ok(boxes)
    }

    /// Lets the cuts be classified; the region of interest of the best one, `None` without any.
    fn cut(
        &mut self,
        frame: &mut Frame,
        areas: &[Area],
        rotation: crate::Rotation,
        classifier: &mut dyn Classify,
        told: &mut dyn FnMut(&Cut) -> Result<()>,
    ) -> Result<Option<RegionOfInterest>> {
        let mut best: Option<((bool, f32), RegionOfInterest)> = None;
        let mut failed: Option<Error> = None;
        for area in areas {
            let Some(region) = cut_of(*area, self.margin, frame.width(), frame.height()) else { continue };
            let roi = RegionOfInterest { region: Some(region), rotation };
            frame.set_roi(roi);
            let begin = Instant::now();
            let answer = match classifier.classify(frame) {
                Ok(answer) => answer,
                Err(e) if concerns_frame(&e) => {
                    log::debug!("{}: a cut was not classified after {:?}: {e}", frame.label(), begin.elapsed());
                    self.still.left_out += 1;
                    failed = Some(e);
                    continue;
                }
                Err(e) => return Err(e),
            };
            self.times.add(&answer);
            self.things += 1;
            let is_known = answer.decision != Decision::Open;
            let worth = (is_known, if is_known { answer.probability } else { area.pixels() as f32 });
            if best.is_none_or(|(most, _)| worth > most) {
                best = Some((worth, roi));
            }
            let thing = StillThing {
                id: self.things,
                area: *area,
                decision: answer.decision,
                probability: answer.probability,
                reachability: answer.reachability,
            };
            let _ = self.still.things.push(thing);
            let burst = Some(self.still.burst);
            told(&Cut { thing: self.things, number: 1, frame, region, area: *area, answer, burst })?;
        }
        match (best, failed) {
            (None, Some(e)) => Err(e),
            (best, _) => Ok(best.map(|(_, roi)| roi)),
        }
    }
}

/// Whether most of the smaller one lies in the other.
fn is_within(a: Area, b: Area) -> bool {
    a.common(b).pixels() * 2 >= a.pixels().min(b.pixels()).max(1)
}
