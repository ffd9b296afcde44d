//! Things: what is told of what moves.

use std::time::Duration;

use heapless::Vec;

use crate::Area;

/// Points of a thing's path.
pub const MOST_STEPS: usize = 32;

/// Whether a thing was seen in the last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThingState {
    /// It was seen.
    Seen,
    /// It was not seen, and its place is what its way foretells.
    Coasting,
    /// It was seen in one piece with another thing, and its place is what its way foretells.
    Merged,
}

impl ThingState {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            ThingState::Seen => "seen",
            ThingState::Coasting => "coasting",
            ThingState::Merged => "merged",
        }
    }
}

/// A point of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Step {
    /// When.
    pub time: Duration,
    /// Column of the middle.
    pub x: i32,
    /// Row of the middle.
    pub y: i32,
}

/// One thing, from when it was first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thing {
    /// Its number, from 1, never given twice.
    pub id: u64,
    /// Whether it was seen in the last frame.
    pub state: ThingState,
    /// Where it is; where it is thought to be if it was not seen.
    pub area: Area,
    /// Where it was seen first.
    pub first_area: Area,
    /// Where it was seen last.
    pub last_area: Area,
    /// When it was seen first.
    pub first: Duration,
    /// When it was seen last.
    pub last: Duration,
    /// Frames in which it was seen.
    pub seen: u32,
    /// Frames in which it was merged with another.
    pub merged: u32,
    /// The longest distance from where it was first, in pixels.
    pub way: u32,
    /// Where it went: the first point and the last, and points between that lie evenly in time.
    pub path: Vec<Step, MOST_STEPS>,
    /// Whether a cut of [`Thing::area`] shows all of the thing and nothing else: it was seen, alone, and not at the border.
    pub clean: bool,
    /// Whether it is at the border of the frame.
    pub border: bool,
}

/// Why a thing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// It left through the border.
    Left,
    /// It was not seen any more.
    Lost,
    /// It stood still for so long that it became ground.
    Stayed,
    /// The picture as a whole changed: see [`Camera`](crate::Camera).
    Camera,
    /// The stream ended.
    Finished,
}

impl EndReason {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            EndReason::Left => "left",
            EndReason::Lost => "lost",
            EndReason::Stayed => "stayed",
            EndReason::Camera => "camera",
            EndReason::Finished => "finished",
        }
    }
}

/// A thing that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The thing as it was at last.
    pub thing: Thing,
    /// Why.
    pub reason: EndReason,
}
