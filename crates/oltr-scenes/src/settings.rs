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
}

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
