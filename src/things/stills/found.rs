//! What is found in a photo, and what is made of it.

use oltr_scenes::Area;

use crate::decide::Decision;

/// Photos that a ground is the median of, at most.
pub const MOST_GROUND: usize = 9;

/// Things of a photo that are shown the network, the largest first: a photo with more is mostly one of leaves.
pub const MOST_SHOWN: usize = 8;

/// What the network was shown of a photo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shown {
    /// Cuts of what differs from the ground, or of what a detector saw.
    Cuts,
    /// All of it: there are too few photos of this camera for a ground.
    #[default]
    NoGround,
    /// All of it: nothing differs.
    Same,
    /// All of it: so much differs that the camera or the light is another one.
    Changed,
}

impl Shown {
    /// `cuts` or `photo`.
    pub fn word(self) -> &'static str {
        if self == Shown::Cuts { "cuts" } else { "photo" }
    }

    /// Why it was the whole photo.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Shown::Cuts => None,
            Shown::NoGround => Some("no_ground"),
            Shown::Same => Some("same"),
            Shown::Changed => Some("changed"),
        }
    }
}

/// What was found in one photo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Number of the photo in its source.
    pub seq: u64,
    /// Number of the burst, from 1.
    pub burst: u64,
    /// Photos that the ground is the median of; 0 without one.
    pub ground: u32,
    /// What is shown of it.
    pub shown: Shown,
    /// What differs, the largest first.
    pub areas: heapless::Vec<Area, MOST_SHOWN>,
    /// What differs too, but is not shown: there are more than are wanted.
    pub left_out: u32,
}

/// A thing in a photo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StillThing {
    /// Its number, never given twice.
    pub id: u64,
    /// Where it is, in pixels of the photo.
    pub area: Area,
    /// What its cut shows.
    pub decision: Decision,
    /// Of its most probable class.
    pub probability: f32,
    /// 10 / distance to the nearest centroid.
    pub reachability: f32,
}

/// What was made of one photo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Still {
    /// What was shown of it.
    pub shown: Shown,
    /// Photos that the ground is the median of; 0 without one.
    pub ground: u32,
    /// Number of the burst, from 1.
    pub burst: u64,
    /// The things that were cut out.
    pub things: heapless::Vec<StillThing, MOST_SHOWN>,
    /// As [`Found::left_out`], with cuts that could not be classified.
    pub left_out: u32,
}
