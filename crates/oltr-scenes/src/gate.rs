//! The motion gate: what differs from the ground.

mod fit;
mod ground;
mod pieces;
mod shrink;
mod view;

use std::time::Duration;

use heapless::Vec;
use oltr_frames::{Frame, Result};

use crate::finder::{Camera, Expected, Finder, Region, Regions, State};
use crate::{Area, Settings};
use fit::Change;
use ground::{Ground, WEAK};
use pieces::{Cell, MOST_PIECES, Mask, Piece};
use shrink::Small;
use view::{Look, Memory};

/// The ground learns no more often: its speed is that of the clock, whatever the rate of the frames.
const TICK: Duration = Duration::from_millis(80);
/// How long the ground learns fast.
const QUICK: Duration = Duration::from_secs(1);
/// How long the gate says that it is warming.
const WARM: Duration = Duration::from_secs(10);
/// How long most of the picture may differ before it is another picture.
const UPSET: Duration = Duration::from_millis(500);
/// How long a picture must hold still to be learnt anew.
const CALM: Duration = Duration::from_millis(500);
/// How long a cover is waited for to go before its picture is what is watched.
const COVER: Duration = Duration::from_secs(60);
/// Speeds of learning, as powers of 2.
const FAST: u32 = 3;
const SLOW: u32 = 5;
/// The smallest piece, in cells.
const LEAST_CELLS: u32 = 7;
/// Cells of a piece that differ strongly, at least.
const LEAST_STRONG: u32 = 2;

/// Finds what moves before a fixed camera.
#[derive(Debug)]
pub struct Gate {
    settings: Settings,
    /// 256 through the sensitivity.
    inverse: i32,
    size: (u32, u32),
    picture: Small,
    ground: Ground,
    mask: Mask,
    /// 1 where things are that the ground must not learn.
    kept: Box<[u8]>,
    /// 1 where the picture is looked at.
    shown: Box<[u8]>,
    shown_cells: u32,
    before: Memory,
    found: Vec<Piece, MOST_PIECES>,
    phase: Phase,
    learnt: Option<Duration>,
    upset: Option<Duration>,
    /// Whether the picture has colours, once that is known.
    colourful: Option<bool>,
    /// Since when it looks as if that changed.
    recoloured: Option<Duration>,
    texture: u32,
    told: bool,
    camera: Option<Camera>,
    anew: bool,
    /// Whether another part of the picture is looked at since the last frame.
    remasked: bool,
}

/// What the gate is doing, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No frame was seen.
    Empty,
    /// The ground is there since.
    Open(Duration),
    /// The picture changes; it is calm since.
    Settling(Duration),
    Dark,
    Covered(Duration),
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
    pub fn new(settings: &Settings) -> Result<Gate> {
        settings.check()?;
        let cells = most_cells(settings.columns) as usize;
        let bytes = || vec![0; cells].into_boxed_slice();
        Ok(Gate {
            settings: settings.clone(),
            inverse: (256.0 / settings.sensitivity) as i32,
            size: (0, 0),
            picture: Small::new(cells),
            ground: Ground::new(cells),
            mask: Mask::new(cells),
            kept: bytes(),
            shown: bytes(),
            shown_cells: 0,
            before: Memory::new(cells),
            found: Vec::new(),
            phase: Phase::Empty,
            learnt: None,
            upset: None,
            colourful: None,
            recoloured: None,
            texture: 0,
            told: false,
            camera: None,
            anew: false,
            remasked: false,
        })
    }

    /// What was found to move in the last frame.
    pub fn foreground(&self) -> Foreground<'_> {
        let (columns, rows) = (self.picture.columns, self.picture.rows);
        Foreground { columns, rows, cells: &self.mask.cells[..columns * rows] }
    }

    /// Looks at what `mask` shows, from the next frame on; `None` shows all. The ground is known also where nothing was
    /// looked at, so that nothing is learnt anew; what is followed where nothing is looked at any more goes as what is hidden.
    pub fn set_mask(&mut self, mask: Option<crate::Mask>) {
        self.settings.mask = mask;
        self.show();
        self.remasked = true;
    }

    fn cells(&self) -> usize {
        self.picture.columns * self.picture.rows
    }

    /// Starts with frames of another size.
    fn resize(&mut self, width: u32, height: u32) -> (usize, usize) {
        self.size = (width, height);
        let (columns, rows) = self.show();
        self.before.clear();
        (self.phase, self.upset, self.learnt) = (Phase::Empty, None, None);
        (self.colourful, self.recoloured) = (None, None);
        (columns, rows)
    }

    /// Takes note of which cells of the small picture are looked at; its columns and rows.
    fn show(&mut self) -> (usize, usize) {
        let (width, height) = self.size;
        if width == 0 || height == 0 {
            return (0, 0);
        }
        let (columns, rows) = grid(width, height, self.settings.columns);
        self.shown_cells = 0;
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = (middle(column, columns, width), middle(row, rows, height));
                let masked = self.settings.mask.as_ref().is_some_and(|mask| !mask.shows(column, columns, row, rows));
                let ignored = self.settings.ignore.iter().any(|area| area.holds(x, y));
                let shown = !masked && !ignored;
                self.shown[row * columns + column] = shown.into();
                self.shown_cells += u32::from(shown);
            }
        }
        (columns, rows)
    }

    /// Makes the last picture the ground, from which it is learnt anew.
    fn start(&mut self, phase: Phase) {
        self.ground.take(&self.picture);
        (self.phase, self.upset, self.learnt) = (phase, None, None);
    }

    /// The things of before are void.
    fn restart(&mut self, phase: Phase, camera: Camera) {
        let ground = &self.ground;
        if matches!(self.phase, Phase::Open(_)) {
            self.before.keep(self.picture.columns, self.picture.rows, |cell| ground.luma(cell));
        }
        self.start(phase);
        self.anew = true;
        self.camera = Some(camera);
        self.told = camera != Camera::Settling;
    }

    /// Night or day if the picture just lost or gained its colours.
    fn recolour(&mut self, look: Look) -> Option<Camera> {
        let now = match look.colour {
            0..=12 => false,
            32.. => true,
            _ => return None,
        };
        let before = self.colourful.replace(now);
        (before == Some(!now)).then_some(if now { Camera::Day } else { Camera::Night })
    }

    /// Hears what the picture as a whole says; whether it may be searched.
    fn overview(&mut self, time: Duration, look: Look) -> bool {
        match self.phase {
            Phase::Empty => {
                if look.bright < 20 {
                    self.camera = Some(Camera::Dark);
                    self.start(Phase::Dark);
                } else {
                    self.recolour(look);
                    self.start(Phase::Open(time));
                    self.texture = look.texture;
                }
                false
            }
            Phase::Dark => {
                if look.bright > 40 {
                    self.camera = Some(Camera::Settling);
                    self.told = true;
                    self.start(Phase::Settling(time));
                }
                false
            }
            Phase::Covered(since) => {
                if look.texture * 2 > self.texture || time.saturating_sub(since) > COVER {
                    self.camera = Some(Camera::Settling);
                    self.told = look.texture * 2 > self.texture;
                    self.start(Phase::Settling(time));
                } else if look.bright < 20 {
                    self.camera = Some(Camera::Dark);
                    self.phase = Phase::Dark;
                }
                false
            }
            Phase::Settling(since) => {
                self.settle(time, since, look);
                false
            }
            Phase::Open(_) if look.bright < 20 => {
                self.restart(Phase::Dark, Camera::Dark);
                false
            }
            Phase::Open(_) => {
                // Colours that go without anything else: a camera of little light.
                if look.colour <= 12 && self.colourful == Some(true)
                    || look.colour >= 32 && self.colourful == Some(false)
                {
                    let since = *self.recoloured.get_or_insert(time);
                    if time.saturating_sub(since) >= 2 * UPSET {
                        self.camera = self.recolour(look);
                        self.recoloured = None;
                    }
                } else {
                    self.recoloured = None;
                    if self.colourful.is_none() {
                        self.recolour(look);
                    }
                }
                true
            }
        }
    }

    /// The picture changes: each frame is compared with the one before, until they are alike for a while.
    fn settle(&mut self, time: Duration, since: Duration, look: Look) {
        self.ground.compare(&self.picture, self.inverse, false);
        let changed = self.changed();
        self.ground.take(&self.picture);
        if look.bright < 20 {
            self.camera = Some(Camera::Dark);
            self.phase = Phase::Dark;
        } else if changed * 8 > self.shown_cells {
            self.phase = Phase::Settling(time);
        } else if time.saturating_sub(since) >= CALM {
            let ground = &self.ground;
            let like = self.before.is_like(|cell| (self.shown[cell] > 0).then(|| ground.luma(cell)));
            if let Some(camera) = self.recolour(look) {
                self.camera = Some(camera);
            } else if like == Some(false) && !self.told {
                self.camera = Some(Camera::Moved);
            }
            self.texture = look.texture;
            self.start(Phase::Open(time));
        }
    }

    /// Cells that are shown and clear, which are put into the mask.
    fn changed(&mut self) -> u32 {
        let cells = self.cells();
        pieces::clear(&self.ground.score[..cells], &self.shown[..cells], &mut self.mask.cells[..cells])
    }

    /// Marks the cells of things that are expected.
    fn keep(&mut self, expected: &[Expected]) {
        let cells = self.cells();
        self.kept[..cells].fill(0);
        for thing in expected.iter().filter(|thing| thing.confirmed) {
            let (columns, left, right, top, bottom) = self.cells_of(thing.area, 1);
            for row in top..bottom {
                self.kept[row * columns + left..row * columns + right].fill(1);
            }
        }
    }

    /// Where things are expected, less is enough.
    fn welcome(&mut self, expected: &[Expected]) {
        for thing in expected {
            let (columns, left, right, top, bottom) = self.cells_of(thing.area, 0);
            for cell in (top..bottom).flat_map(|row| row * columns + left..row * columns + right) {
                self.mask.cells[cell] |= u8::from(self.ground.score[cell] >= WEAK) & self.shown[cell];
            }
        }
    }

    /// The cells that an area touches, with so many more around it: columns, and the first and one after the last of each.
    fn cells_of(&self, area: Area, more: usize) -> (usize, usize, usize, usize, usize) {
        let (columns, rows) = (self.picture.columns, self.picture.rows);
        let area = area.clipped(self.size.0, self.size.1);
        let cell = |pixel: u64, cells: usize, pixels: u32| (pixel * cells as u64 / u64::from(pixels.max(1))) as usize;
        let (x, y) = (u64::from(area.x.unsigned_abs()), u64::from(area.y.unsigned_abs()));
        let left = cell(x, columns, self.size.0).saturating_sub(more);
        let top = cell(y, rows, self.size.1).saturating_sub(more);
        if area.is_empty() {
            return (columns, left, left, top, top);
        }
        let right = (cell(x + u64::from(area.width) - 1, columns, self.size.0) + 1 + more).min(columns);
        let bottom = (cell(y + u64::from(area.height) - 1, rows, self.size.1) + 1 + more).min(rows);
        (columns, left.min(right), right, top.min(bottom), bottom)
    }

    /// The region of a piece, if it is of a size that is looked for.
    fn region(&self, piece: &Piece) -> Option<Region> {
        let (columns, rows) = (self.picture.columns, self.picture.rows);
        let (width, height) = self.size;
        let edge = |cell: usize, cells: usize, pixels: u32| (cell as u64 * u64::from(pixels) / cells as u64) as u32;
        let (x, y) = (edge(piece.left as usize, columns, width), edge(piece.top as usize, rows, height));
        let right = edge(piece.right as usize + 1, columns, width);
        let bottom = edge(piece.bottom as usize + 1, rows, height);
        let area = Area { x: x as i32, y: y as i32, width: right - x, height: bottom - y };
        let size = f64::from(area.size());
        let share = |share: f32| f64::from(share) * f64::from(width);
        if size < share(self.settings.min_size) || size > share(self.settings.max_size) {
            return None;
        }
        let pixels = u64::from(piece.cells) * u64::from(width) * u64::from(height) / (columns * rows) as u64;
        let colour = Some(piece.colour.map(|sum| (sum / piece.cells as i32) as i16));
        let [own, others] = piece.outline.map(u64::from);
        let outline = ((own * 255 + 128) / (own + others + 1)) as u8;
        let restless = (piece.restless / piece.cells).min(255) as u8;
        Some(Region { area, pixels: pixels.clamp(1, area.pixels()), colour, restless, outline })
    }

    fn search(&mut self, time: Duration, since: Duration, look: Look, expected: &[Expected], regions: &mut Regions) {
        let cells = self.cells();
        let (columns, rows) = (self.picture.columns, self.picture.rows);
        let learns = self.learnt.is_none_or(|last| time.saturating_sub(last) >= TICK);
        let change = self.ground.compare(&self.picture, self.inverse, learns);
        let changed = self.changed();
        if u64::from(changed) * 100 > u64::from(self.shown_cells) * 35 {
            self.upset(time, look);
            self.mask.cells[..cells].fill(0);
            return;
        }
        self.upset = None;
        self.keep(expected);
        let quick = time.saturating_sub(since) < QUICK;
        self.ground.second(&self.picture, change, &self.kept[..cells], learns);
        if learns {
            self.learn(change, quick);
            self.learnt = Some(time);
        }
        self.changed();
        self.welcome(expected);
        self.mask.tidy(columns, rows);
        let (ground, picture) = (&self.ground, &self.picture);
        let known = |cell: usize| Cell {
            score: ground.score[cell],
            colour: [picture.y[cell], picture.u[cell], picture.v[cell]],
            restless: ground.restless(cell),
            ground: ground.expected[cell],
        };
        self.mask.pieces(columns, rows, &known, LEAST_CELLS, &mut self.found);
        for index in 0..self.found.len() {
            let piece = self.found[index];
            if piece.strong < LEAST_STRONG {
                continue;
            }
            if let Some(region) = self.region(&piece) {
                regions.push(region).unwrap_or_default();
            }
        }
    }

    fn learn(&mut self, change: Change, quick: bool) {
        self.ground.learn(&self.picture, change, if quick { FAST } else { SLOW });
    }

    /// Most of the picture differs: it may be for a moment only.
    fn upset(&mut self, time: Duration, look: Look) {
        let since = *self.upset.get_or_insert(time);
        if time.saturating_sub(since) < UPSET {
            return;
        }
        if look.texture * 4 < self.texture {
            self.restart(Phase::Covered(time), Camera::Covered);
        } else {
            let camera = self.recolour(look).unwrap_or(Camera::Settling);
            self.restart(Phase::Settling(time), camera);
        }
    }
}

impl Finder for Gate {
    fn find(&mut self, frame: &Frame, time: Duration, expected: &[Expected], regions: &mut Regions) -> Result<()> {
        (self.camera, self.anew) = (None, false);
        let size = (frame.width(), frame.height());
        let (mut columns, mut rows) = (self.picture.columns, self.picture.rows);
        if size != self.size {
            if self.size != (0, 0) {
                (self.camera, self.anew) = (Some(Camera::Settling), true);
            }
            (columns, rows) = self.resize(size.0, size.1);
        }
        self.picture.shrink(frame, columns, rows);
        let look = Look::of(&self.picture, &self.shown);
        if std::mem::take(&mut self.remasked) {
            // What the picture looks like as a whole is that of what is looked at now.
            (self.texture, self.upset) = (look.texture, None);
            (self.colourful, self.recoloured) = (None, None);
        }
        if !self.overview(time, look) {
            let cells = self.cells();
            self.mask.cells[..cells].fill(0);
        } else if let Phase::Open(since) = self.phase {
            self.search(time, since, look, expected, regions);
        }
        Ok(())
    }

    fn state(&self) -> State {
        match self.phase {
            Phase::Empty => State::Warming,
            Phase::Open(_) if self.upset.is_some() => State::Settling,
            Phase::Open(since) if self.learnt.is_none_or(|now| now.saturating_sub(since) < WARM) => State::Warming,
            Phase::Open(_) => State::Watching,
            Phase::Settling(_) => State::Settling,
            Phase::Dark => State::Dark,
            Phase::Covered(_) => State::Covered,
        }
    }

    fn camera(&self) -> Option<Camera> {
        self.camera
    }

    fn is_anew(&self) -> bool {
        self.anew
    }

    fn bytes(&self) -> usize {
        self.picture.bytes()
            + self.ground.bytes()
            + self.mask.bytes()
            + self.kept.len()
            + self.shown.len()
            + self.before.bytes()
    }
}

/// Cells of the small picture, at most: those of a picture of 4 to 3.
fn most_cells(columns: u32) -> u32 {
    columns * columns * 3 / 4
}

/// Columns and rows for a frame: as many columns as asked for, fewer for frames that are higher than 4 to 3, and no cell
/// smaller than a pixel.
fn grid(width: u32, height: u32, columns: u32) -> (usize, usize) {
    let most = u64::from(most_cells(columns));
    let (wide, high) = (u64::from(width), u64::from(height));
    let mut across = u64::from(columns.min(width));
    loop {
        let down = ((across * high + wide / 2) / wide).clamp(1, high).min(most);
        if across == 1 || across * down <= most {
            return (across as usize, down as usize);
        }
        across -= 1;
    }
}

/// The pixel in the middle of a cell.
fn middle(cell: usize, cells: usize, pixels: u32) -> i32 {
    ((cell as u64 * 2 + 1) * u64::from(pixels) / (2 * cells as u64)) as i32
}
