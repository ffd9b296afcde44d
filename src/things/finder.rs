//! Whatever finds regions.

use std::fmt;
use std::time::Duration;

use oltr_scenes::{Camera, Expected, Finder, Regions, State};

use crate::error::Result;
use crate::frame::Frame;

/// A finder of any kind: the motion gate, a detector, or one of your own.
pub struct AnyFinder(Box<dyn Finder + Send>);

impl AnyFinder {
    /// Takes `finder`.
    pub fn new(finder: impl Finder + Send + 'static) -> AnyFinder {
        AnyFinder(Box::new(finder))
    }
}

impl fmt::Debug for AnyFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyFinder({} bytes)", self.0.bytes())
    }
}

impl Finder for AnyFinder {
    fn find(&mut self, frame: &Frame, time: Duration, expected: &[Expected], regions: &mut Regions) -> Result<()> {
        self.0.find(frame, time, expected, regions)
    }

    fn state(&self) -> State {
        self.0.state()
    }

    fn camera(&self) -> Option<Camera> {
        self.0.camera()
    }

    fn is_anew(&self) -> bool {
        self.0.is_anew()
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
