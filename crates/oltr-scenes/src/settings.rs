//! What a user may say.

use std::time::Duration;

use heapless::Vec;
use oltr_frames::{Error, Result};

use crate::Area;

/// Areas of [`Settings::ignore`].
pub const MOST_IGNORED: usize = 16;
/// Things that are followed at the same time, at most ([`Settings::max_things`]).
pub const MOST_THINGS: usize = 32;
/// The widest working picture ([`Settings::columns`]).
pub const MOST_COLUMNS: u32 = 320;
/// The narrowest working picture.
pub const FEWEST_COLUMNS: u32 = 40;

/// What is looked for, and where.
///
/// The defaults suit a camera that sees an animal or a vehicle as some hundredths to a third of its picture's width.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Columns of the small picture on which motion is found, 40 to 320. Twice as many take four times the memory and nearly
    /// as much more time, and find things of half the size where [`Settings::min_size`] lets them.
    pub columns: u32,
    /// What of the picture is looked at: black is ignored.
    pub mask: Option<Mask>,
    /// Areas that are ignored, in pixels of the frame.
    pub ignore: Vec<Area, MOST_IGNORED>,
    /// The longer side of the smallest thing, as a share of the frame's width.
    pub min_size: f32,
    /// The longer side of the largest thing, as a share of the frame's width.
    pub max_size: f32,
    /// How far a thing must come before it is one, in multiples of its own size: what sways goes nowhere.
    pub min_way: f32,
    /// Things that are followed at the same time, 1 to 32.
    pub max_things: usize,
    /// Above 1 less contrast suffices, below 1 more is needed: 0.25 to 4.
    pub sensitivity: f32,
    /// How long a thing that stands still stays a thing before it becomes ground.
    pub stay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            columns: 160,
            mask: None,
            ignore: Vec::new(),
            min_size: 0.02,
            max_size: 0.9,
            min_way: 0.7,
            max_things: 16,
            sensitivity: 1.0,
            stay: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// [`Error::Config`] says which does not, and what to give instead.
    pub fn check(&self) -> Result<()> {
        let bad = |text: String| Err(Error::Config(text));
        if !(FEWEST_COLUMNS..=MOST_COLUMNS).contains(&self.columns) {
            return bad(format!("{} columns to find motion on; give {FEWEST_COLUMNS} to {MOST_COLUMNS}", self.columns));
        }
        let is_share = |share: f32| share.is_finite() && (0.0..=1.0).contains(&share);
        if !is_share(self.min_size) || !is_share(self.max_size) || self.min_size > self.max_size {
            return bad(format!(
                "things of {} to {} of the frame's width; give shares between 0 and 1, the smaller first",
                self.min_size, self.max_size
            ));
        }
        if !self.min_way.is_finite() || !(0.0..=100.0).contains(&self.min_way) {
            return bad(format!("a way of {} times the size; give 0 to 100", self.min_way));
        }
        if !(1..=MOST_THINGS).contains(&self.max_things) {
            return bad(format!("{} things at the same time; give 1 to {MOST_THINGS}", self.max_things));
        }
        if !self.sensitivity.is_finite() || !(0.25..=4.0).contains(&self.sensitivity) {
            return bad(format!("a sensitivity of {}; give 0.25 to 4", self.sensitivity));
        }
        if self.stay < Duration::from_secs(1) {
            return bad(format!("things that stay for {:?}; give a second at least", self.stay));
        }
        if let Some(area) = self.ignore.iter().find(|area| area.is_empty()) {
            return bad(format!(
                "an ignored area of {}x{} pixels; give one of a pixel at least",
                area.width, area.height
            ));
        }
        Ok(())
    }

    /// Whether a box in frames of this size is looked at: at least half of it lies where the mask shows the frame and nothing is
    /// ignored. What is beyond the frame's edge does not count.
    pub fn shows(&self, area: Area, width: u32, height: u32) -> bool {
        if self.mask.is_none() && self.ignore.is_empty() {
            return true;
        }
        let area = area.clipped(width, height);
        if area.is_empty() {
            return false;
        }
        let middle = |start: i32, length: u32, part: u64| {
            i64::from(start) as u64 + (part * 2 + 1) * u64::from(length) / (2 * PROBES)
        };
        let probes = (0..PROBES).flat_map(|row| (0..PROBES).map(move |column| (row, column)));
        let seen = probes.filter(|&(row, column)| {
            let (x, y) = (middle(area.x, area.width, column), middle(area.y, area.height, row));
            let at = |place: u64| i32::try_from(place).unwrap_or(i32::MAX);
            let mask = |mask: &Mask| mask.shows(x as usize, width as usize, y as usize, height as usize);
            self.mask.as_ref().is_none_or(mask) && !self.ignore.iter().any(|area| area.holds(at(x), at(y)))
        });
        2 * seen.count() as u64 >= PROBES * PROBES
    }

    /// Whether a box in frames of this width is neither smaller nor larger than a thing may be; a largest size of 1 bounds
    /// nothing.
    pub fn fits(&self, area: Area, width: u32) -> bool {
        let size = f64::from(area.size());
        let share = |share: f32| f64::from(share) * f64::from(width);
        size >= share(self.min_size) && (self.max_size >= 1.0 || size <= share(self.max_size))
    }
}

/// Places along each side of a box that are asked whether they are looked at.
const PROBES: u64 = 16;
/// Sides of a mask as it is kept.
const SIDE: usize = 320;

/// Which part of a picture is looked at, from a drawing of any size that is stretched over the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// A bit a place, row by row: whether it is looked at.
    bits: Box<[u64]>,
}

impl Mask {
    /// A mask of `width` times `height` bytes of luma, row by row; what is darker than a quarter of full range is black, and
    /// ignored.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the drawing is empty, its size is not that of `luma`, or it leaves nothing to look at.
    pub fn new(width: u32, height: u32, luma: &[u8]) -> Result<Mask> {
        let bad = |reason: String| Err(Error::BadInput { subject: "mask".into(), reason });
        let (columns, rows) = (width as usize, height as usize);
        if columns == 0 || rows == 0 || columns.checked_mul(rows) != Some(luma.len()) {
            return bad(format!("{width}x{height} pixels are not {} bytes; give a byte a pixel", luma.len()));
        }
        let mut bits = vec![0u64; (SIDE * SIDE).div_ceil(64)].into_boxed_slice();
        for place in 0..SIDE * SIDE {
            let (x, y) = ((place % SIDE * 2 + 1) * columns / (2 * SIDE), (place / SIDE * 2 + 1) * rows / (2 * SIDE));
            bits[place / 64] |= u64::from(luma[y * columns + x] >= 64) << (place % 64);
        }
        if bits.iter().all(|&word| word == 0) {
            return bad("all of it is black, so nothing would be looked at; draw what is to be seen in white".into());
        }
        Ok(Mask { bits })
    }

    /// Whether the cell at a column and row of a grid over the frame is looked at.
    pub fn shows(&self, column: usize, columns: usize, row: usize, rows: usize) -> bool {
        let at = |index: usize, of: usize| ((index * 2 + 1) * SIDE / (2 * of.max(1))).min(SIDE - 1);
        let place = at(row, rows) * SIDE + at(column, columns);
        self.bits[place / 64] >> (place % 64) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_looked_at_where_half_of_it_is_shown() {
        let area = |x: i32, y: i32, width: u32, height: u32| Area { x, y, width, height };
        let mut settings = Settings::default();
        assert!(settings.shows(area(0, 0, 4, 4), 640, 480));
        // The left half is black.
        let luma: Vec<u8, 64> = (0..64).map(|place| if place % 8 < 4 { 0 } else { 255 }).collect();
        settings.mask = Some(Mask::new(8, 8, &luma).unwrap());
        for (x, expected) in [(0, false), (250, false), (270, true), (400, true), (639, true)] {
            assert_eq!(settings.shows(area(x, 100, 120, 200), 640, 480), expected, "{x}");
        }
        assert!(!settings.shows(area(-200, -200, 100, 100), 640, 480), "beside the frame");
        assert!(settings.shows(area(500, 400, 4000, 4000), 640, 480), "beyond its edge");
        settings.ignore.push(area(320, 0, 320, 240)).unwrap();
        for (y, expected) in [(0, false), (125, false), (155, true), (300, true)] {
            assert_eq!(settings.shows(area(400, y, 1, 200), 640, 480), expected, "{y}");
        }
        assert!(settings.shows(area(400, 240, 1, 1), 640, 480) && !settings.shows(area(400, 239, 1, 1), 640, 480));
    }

    #[test]
    fn a_largest_size_of_the_whole_width_bounds_nothing() {
        let area = |width, height| Area { x: 0, y: 0, width, height };
        let mut settings = Settings { min_size: 0.1, max_size: 0.5, ..Settings::default() };
        for (width, height, expected) in [(63, 10, false), (65, 10, true), (10, 319, true), (321, 10, false)] {
            assert_eq!(settings.fits(area(width, height), 640), expected, "{width}x{height}");
        }
        settings.max_size = 1.0;
        assert!(settings.fits(area(480, 800), 640));
    }
}
