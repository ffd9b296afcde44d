//! The motion gate: what differs from the ground.

use std::time::Duration;

use oltr_frames::{Frame, Limits, Result};

use crate::finder::{Camera, Expected, Finder, Region, Regions, State};
use crate::{Area, Settings};

/// Finds what moves before a fixed camera.
#[derive(Debug)]
pub struct Gate {
    settings: Settings,
    columns: usize,
    rows: usize,
    size: (u32, u32),
    small: Box<[u8]>,
    ground: Box<[i16]>,
    foreground: Box<[u8]>,
    stack: Box<[u16]>,
    frames: u32,
    camera: Option<Camera>,
    anew: bool,
}

/// Which cells of the small picture belong to something that moves.
#[derive(Clone, Copy, Debug)]
pub struct Foreground<'a> {
    /// Columns of the small picture.
    pub columns: usize,
    /// Its rows.
    pub rows: usize,
    /// A byte a cell, row by row: 0 for ground.
    pub cells: &'a [u8],
}

impl Gate {
    /// A gate for frames of any size, with all of its memory.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(settings: &Settings, _limits: &Limits) -> Result<Gate> {
        settings.check()?;
        let cells = (settings.columns * settings.columns) as usize;
        Ok(Gate {
            settings: settings.clone(),
            columns: 0,
            rows: 0,
            size: (0, 0),
            small: vec![0; cells].into(),
            ground: vec![0; cells].into(),
            foreground: vec![0; cells].into(),
            stack: vec![0; cells].into(),
            frames: 0,
            camera: None,
            anew: false,
        })
    }

    /// What was found to move in the last frame.
    pub fn foreground(&self) -> Foreground<'_> {
        let (columns, rows) = (self.columns, self.rows);
        Foreground { columns, rows, cells: &self.foreground[..columns * rows] }
    }

    fn shrink(&mut self, frame: &Frame) {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        for row in 0..self.rows {
            for column in 0..self.columns {
                let (y, x) = (row * height / self.rows, column * width / self.columns);
                let bytes = frame.format().bytes_per_pixel();
                self.small[row * self.columns + column] = frame.row(y as u32)[x * bytes + bytes / 3];
            }
        }
    }
}

impl Finder for Gate {
    fn find(&mut self, frame: &Frame, _time: Duration, _expected: &[Expected], regions: &mut Regions) -> Result<()> {
        let size = (frame.width(), frame.height());
        (self.camera, self.anew) = (None, false);
        if size != self.size {
            self.anew = self.size != (0, 0);
            self.camera = self.anew.then_some(Camera::Settling);
            self.size = size;
            let side = size.0.max(size.1);
            let most = self.settings.columns;
            let cells = |length: u32| (u64::from(length) * u64::from(most.min(side)) / u64::from(side)).max(1) as usize;
            (self.columns, self.rows) = (cells(size.0), cells(size.1));
            self.frames = 0;
        }
        self.shrink(frame);
        let cells = self.columns * self.rows;
        if self.frames == 0 {
            for i in 0..cells {
                self.ground[i] = i16::from(self.small[i]) << 6;
            }
        }
        self.frames = self.frames.saturating_add(1);
        let threshold = (25.0 / self.settings.sensitivity) as i16;
        for i in 0..cells {
            let difference = i16::from(self.small[i]) - (self.ground[i] >> 6);
            let shown = self
                .settings
                .mask
                .as_ref()
                .is_none_or(|mask| mask.shows(i % self.columns, self.columns, i / self.columns, self.rows));
            self.foreground[i] = u8::from(difference.abs() > threshold && shown);
            self.ground[i] += difference * if self.foreground[i] != 0 { 1 } else { 4 };
        }
        let (width, height) = (frame.width(), frame.height());
        for start in 0..cells {
            if self.foreground[start] != 1 {
                continue;
            }
            let (mut left, mut top, mut right, mut bottom, mut count) = (usize::MAX, usize::MAX, 0, 0, 0u64);
            let mut depth = 1;
            self.stack[0] = start as u16;
            self.foreground[start] = 2;
            while depth > 0 {
                depth -= 1;
                let at = usize::from(self.stack[depth]);
                let (x, y) = (at % self.columns, at / self.columns);
                (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x), bottom.max(y));
                count += 1;
                let mut visit = |next: usize| {
                    if self.foreground[next] == 1 {
                        self.foreground[next] = 2;
                        self.stack[depth] = next as u16;
                        depth += 1;
                    }
                };
                if x > 0 {
                    visit(at - 1);
                }
                if x + 1 < self.columns {
                    visit(at + 1);
                }
                if y > 0 {
                    visit(at - self.columns);
                }
                if y + 1 < self.rows {
                    visit(at + self.columns);
                }
            }
            if count < 7 {
                continue;
            }
            let scale = |cell: usize, of: usize, length: u32| (cell as u64 * u64::from(length) / of as u64) as u32;
            let (x, y) = (scale(left, self.columns, width), scale(top, self.rows, height));
            let area = Area {
                x: x as i32,
                y: y as i32,
                width: scale(right + 1, self.columns, width) - x,
                height: scale(bottom + 1, self.rows, height) - y,
            };
            if regions.push(Region::new(area)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn state(&self) -> State {
        if self.frames < 10 { State::Warming } else { State::Watching }
    }

    fn camera(&self) -> Option<Camera> {
        self.camera
    }

    fn is_anew(&self) -> bool {
        self.anew
    }

    fn bytes(&self) -> usize {
        self.small.len() * 6
    }
}
