//! Frames in, things out.

use std::time::Duration;

use oltr_frames::{Frame, Limits, Result};

use crate::Settings;
use crate::finder::{Camera, Finder, Region, Regions, State};
use crate::gate::{Foreground, Gate};
use crate::thing::{EndReason, Ended, Thing};
use crate::tracker::{Counts, Tracker};

/// A finder and a tracker: what a fixed camera sees, frame after frame.
///
/// All memory is taken when it is made, whatever the size of the frames. The time of a frame is passed in, from any
/// origin; it never goes back.
#[derive(Debug)]
pub struct Scene<F: Finder = Gate> {
    finder: F,
    tracker: Tracker,
    regions: Regions,
    size: (u32, u32),
    time: Duration,
}

impl Scene {
    /// A scene with the motion gate.
    ///
    /// # Errors
    /// As [`Settings::check`]; [`Error::Limit`](oltr_frames::Error::Limit) for more things than `limits.open_events`.
    pub fn new(settings: &Settings, limits: &Limits) -> Result<Scene> {
        Scene::with_finder(Gate::new(settings)?, settings, limits)
    }

    /// What the gate found to move in the last frame.
    pub fn foreground(&self) -> Foreground<'_> {
        self.finder.foreground()
    }
}

impl<F: Finder> Scene<F> {
    /// A scene with a finder of your own.
    ///
    /// # Errors
    /// As [`Scene::new`].
    pub fn with_finder(finder: F, settings: &Settings, limits: &Limits) -> Result<Scene<F>> {
        settings.check()?;
        if settings.max_things > limits.open_events {
            let (value, limit) = (settings.max_things as u64, limits.open_events as u64);
            return Err(oltr_frames::Error::Limit { subject: "things".into(), what: "open_events", value, limit });
        }
        let (regions, size, time) = Default::default();
        Ok(Scene { finder, tracker: Tracker::new(settings)?, regions, size, time })
    }

    /// Looks at the next frame. A time before that of the last frame is taken for the same.
    ///
    /// # Errors
    /// What the finder fails with; things are then as they were, and none ended.
    pub fn look(&mut self, frame: &Frame, time: Duration) -> Result<()> {
        self.time = self.time.max(time);
        self.regions.clear();
        let expected = self.tracker.expect(self.time);
        self.finder.find(frame, self.time, expected, &mut self.regions)?;
        let size = (frame.width(), frame.height());
        self.tracker.count(&self.regions, self.finder.state());
        if self.finder.is_anew() || self.size != size && self.size != (0, 0) {
            self.tracker.drop_all(EndReason::Camera);
        } else {
            self.tracker.follow(&self.regions, self.time, size.0, size.1);
        }
        self.size = size;
        Ok(())
    }

    /// Ends the stream: what was present is in [`Scene::ended`].
    pub fn finish(&mut self) {
        self.tracker.drop_all(EndReason::Finished);
    }

    /// The things that are present, by number.
    pub fn things(&self) -> &[Thing] {
        self.tracker.things()
    }

    /// The things that ended with the last frame.
    pub fn ended(&self) -> &[Ended] {
        self.tracker.ended()
    }

    /// What the finder knows of the picture as a whole.
    pub fn state(&self) -> State {
        self.finder.state()
    }

    /// A change of the camera that the last frame showed.
    pub fn camera(&self) -> Option<Camera> {
        self.finder.camera()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.tracker.counts()
    }

    /// The regions of the last frame.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The finder.
    pub fn finder(&self) -> &F {
        &self.finder
    }

    /// Lets two things that are present change their numbers, with all that is known under them: after a merge it
    /// may turn out that each is the other. `false` if one of them is not present.
    pub fn swap(&mut self, a: u64, b: u64) -> bool {
        self.tracker.swap(a, b)
    }

    /// Bytes of memory that it takes, now and later.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.finder.bytes()
    }
}
