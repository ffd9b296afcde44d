//! The part of a frame that is classified, and how it is turned.

use std::fmt;

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rect {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

impl fmt::Display for Rect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.x, self.y, self.width, self.height)
    }
}

/// How far a picture is turned to be upright, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rotation {
    /// It is upright.
    #[default]
    None,
    /// By a quarter.
    Quarter,
    /// By a half.
    Half,
    /// By three quarters.
    ThreeQuarters,
}

impl Rotation {
    /// The rotation by `degrees`: 0, 90, 180 or 270.
    pub fn from_degrees(degrees: u32) -> Option<Rotation> {
        match degrees {
            0 => Some(Rotation::None),
            90 => Some(Rotation::Quarter),
            180 => Some(Rotation::Half),
            270 => Some(Rotation::ThreeQuarters),
            _ => None,
        }
    }

    /// Whether width and height are swapped.
    pub fn swaps_sides(self) -> bool {
        matches!(self, Rotation::Quarter | Rotation::ThreeQuarters)
    }
}

/// The part of a frame that is preprocessed: a region, rotated afterwards. No pixel is copied for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegionOfInterest {
    /// The region in pixels of the stored frame, before rotation; `None` for the whole frame. Preprocessing refuses a
    /// frame that does not contain all of it.
    pub region: Option<Rect>,
    /// Turns the region upright.
    pub rotation: Rotation,
}
