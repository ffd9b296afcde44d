//! What finds regions in frames.

use std::time::Duration;

use heapless::Vec;
use oltr_frames::{Frame, Result};

use crate::Area;

/// Regions of one frame, at most.
pub const MOST_REGIONS: usize = 64;
/// Regions of one frame.
pub type Regions = Vec<Region, MOST_REGIONS>;

/// A part of a frame that something was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// Its box.
    pub area: Area,
    /// Pixels of the frame that belong to it; not more than its box has.
    pub pixels: u64,
    /// Its mean luma and chroma, in sixteenths of a level, where the finder knows them: things are told apart by them.
    pub colour: Option<[i16; 3]>,
    /// How restless its place is, in 1/255: leaves, waves, lights. What moves there must come further to be a thing.
    pub restless: u8,
    /// How much of its outline is in the frame and not in the ground, in 1/255: little where something went away, much
    /// where something came; a half where the finder does not know.
    pub outline: u8,
}

impl Region {
    /// A region that fills a box, as detectors give them.
    pub fn new(area: Area) -> Region {
        Region { area, pixels: area.pixels(), colour: None, restless: 0, outline: 128 }
    }
}

/// A thing that the tracker expects in the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// Where.
    pub area: Area,
    /// Whether it is a thing, rather than what may become one: its place is not learnt.
    pub confirmed: bool,
}

/// What a finder knows of the picture as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It learns what the ground looks like; few things are told.
    #[default]
    Warming,
    /// It looks for things.
    Watching,
    /// The picture changed as a whole, and is learnt anew; nothing is told.
    Settling,
    /// The picture is too dark to see anything.
    Dark,
    /// Something covers the lens.
    Covered,
}

impl State {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            State::Warming => "warming",
            State::Watching => "watching",
            State::Settling => "settling",
            State::Dark => "dark",
            State::Covered => "covered",
        }
    }
}

/// A change of the camera as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Camera {
    /// The light changed at once, or the size of the frames.
    Settling,
    /// The picture has colours again.
    Day,
    /// The picture lost its colours: infra-red.
    Night,
    /// The camera looks elsewhere.
    Moved,
    /// The lens is covered.
    Covered,
    /// The picture is dark.
    Dark,
}

impl Camera {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Camera::Settling => "settling",
            Camera::Day => "day",
            Camera::Night => "night",
            Camera::Moved => "moved",
            Camera::Covered => "covered",
            Camera::Dark => "dark",
        }
    }
}

/// Finds regions in frames: the motion [`Gate`](crate::Gate), or a detector of your own.
pub trait Finder {
    /// Puts the regions of `frame` into `regions`, which is empty; those of no room are left out.
    ///
    /// # Errors
    /// What the finder fails with. [`Scene::look`](crate::Scene::look) then fails with it too, and the frame counts for nothing.
    fn find(&mut self, frame: &Frame, time: Duration, expected: &[Expected], regions: &mut Regions) -> Result<()>;

    /// What it knows of the picture as a whole.
    fn state(&self) -> State {
        State::Watching
    }

    /// A change of the camera that the last frame showed.
    fn camera(&self) -> Option<Camera> {
        None
    }

    /// Whether the things that were followed before the last frame are void, because the picture is another one.
    fn is_anew(&self) -> bool {
        false
    }

    /// Bytes of memory that it takes.
    fn bytes(&self) -> usize {
        0
    }
}
