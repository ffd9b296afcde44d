//! What of a photo differs from the ground that it and others make. Pure.

use oltr_scenes::{Area, Settings};

use super::found::{Found, MOST_GROUND, MOST_SHOWN, Shown};
use super::small::{CELLS, SIDE, Small};

/// Levels by which a cell must differ, where nothing is restless and the sensitivity is 1.
const LEAST: f32 = 12.0;

/// How many times the usual distance of the other photos from the ground a cell must differ by more.
const RESTLESS: i32 = 3;

/// As [`RESTLESS`], of what all cells differ by: wind, noise.
const USUAL: i32 = 4;

/// What all cells differ by is taken for wind and noise up to so many levels: more is another picture.
const MOST_USUAL: i32 = 4;

/// A region has a cell that differs by so many halves of what is needed.
const CORE: i32 = 3;

/// Cells of the smallest region.
const FEWEST: u32 = 5;

/// Rounds of the fit of one photo's light to another's.
const ROUNDS: usize = 3;

/// Fewer photos than this, the one that is looked at among them, make no ground: of two that differ nobody knows which one
/// shows the thing.
const FEWEST_PHOTOS: usize = 3;

/// Gains of one photo's light to another's, in 1/1024: a camera that sees the same place exposes it much the same.
const LEAST_GAIN: i64 = 512;
const MOST_GAIN: i64 = 2048;

/// If a larger part of the cells differs, in percent, the camera or the light is another one.
const CHANGED: usize = 40;

/// Gaps of so many cells are closed, and boxes that are no further apart are one.
const GAP: usize = 2;

/// Regions that are compared with each other.
const REGIONS: usize = 64;

/// Finds what differs; its memory is taken once.
#[derive(Debug)]
pub struct Differ {
    settings: Settings,
    ground: Box<[[u8; 3]]>,
    /// How far the others lie from the ground, in levels.
    spread: Box<[u8]>,
    score: Box<[u8]>,
    need: Box<[u8]>,
    mask: Box<[bool]>,
    other: Box<[bool]>,
    stack: Vec<u16>,
}

/// A photo's light as another one's: luma by a gain in 1/1024 and an offset, chroma by offsets.
#[derive(Clone, Copy, Debug)]
struct Light {
    gain: i32,
    offset: i32,
    chroma: [i32; 2],
}

impl Light {
    fn of(self, [y, u, v]: [u8; 3]) -> [u8; 3] {
        let luma = ((i32::from(y) * self.gain + 512) >> 10) + self.offset;
        let [u, v] = [(u, self.chroma[0]), (v, self.chroma[1])].map(|(level, by)| i32::from(level) + by);
        [luma, u, v].map(|level| level.clamp(0, 255) as u8)
    }
}

/// A box of cells: first and last column and row, and what is in it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    x: (usize, usize),
    y: (usize, usize),
    cells: u32,
    weight: u32,
}

impl Piece {
    fn touches(&self, other: &Piece) -> bool {
        let near = |a: (usize, usize), b: (usize, usize)| a.0 <= b.1 + GAP && b.0 <= a.1 + GAP;
        near(self.x, other.x) && near(self.y, other.y)
    }

    fn join(&mut self, other: &Piece) {
        self.x = (self.x.0.min(other.x.0), self.x.1.max(other.x.1));
        self.y = (self.y.0.min(other.y.0), self.y.1.max(other.y.1));
        (self.cells, self.weight) = (self.cells + other.cells, self.weight + other.weight);
    }
}

impl Differ {
    pub fn new(settings: &Settings) -> Differ {
        Differ {
            settings: settings.clone(),
            ground: vec![[0; 3]; CELLS].into(),
            spread: vec![0; CELLS].into(),
            score: vec![0; CELLS].into(),
            need: vec![0; CELLS].into(),
            mask: vec![false; CELLS].into(),
            other: vec![false; CELLS].into(),
            stack: Vec::with_capacity(CELLS),
        }
    }

    /// Bytes of memory that it takes.
    pub fn bytes() -> usize {
        CELLS * (3 + 3 + 2 + size_of::<u16>())
    }

    /// Finds what of `photo`, of so many columns and rows, differs from the median of it and of `others`.
    pub fn look(&mut self, photo: &Small, others: &[&Small], size: (u32, u32), found: &mut Found) {
        found.areas.clear();
        (found.ground, found.left_out, found.shown) = (0, 0, Shown::NoGround);
        if others.len() + 1 < FEWEST_PHOTOS {
            return;
        }
        // The median of an even number is none of them: then the photo itself is left out.
        let with_itself = others.len().is_multiple_of(2);
        found.ground = (others.len() + usize::from(with_itself)) as u32;
        self.make_ground(photo, others, with_itself);
        let (columns, rows) = size;
        let looked_at = self.compare(photo, columns, rows);
        self.clean();
        let differing = self.mask.iter().filter(|differs| **differs).count();
        if differing * 100 > looked_at * CHANGED {
            found.shown = Shown::Changed;
            return;
        }
        found.shown = Shown::Same;
        self.gather(columns, rows, found);
        if !found.areas.is_empty() {
            found.shown = Shown::Cuts;
        }
    }

    fn make_ground(&mut self, photo: &Small, others: &[&Small], with_itself: bool) {
        let mut lights: heapless::Vec<(&[[u8; 3]], Light), MOST_GROUND> = heapless::Vec::new();
        for other in others {
            let _ = lights.push((other.cells(), fit(other.cells(), photo.cells())));
        }
        for (index, cell) in photo.cells().iter().enumerate() {
            let mut levels: [heapless::Vec<u8, { MOST_GROUND + 1 }>; 3] = Default::default();
            for (cells, light) in &lights {
                for (levels, level) in levels.iter_mut().zip(light.of(cells[index])) {
                    let _ = levels.push(level);
                }
            }
            let others = levels[0].clone();
            if with_itself {
                for (levels, level) in levels.iter_mut().zip(cell) {
                    let _ = levels.push(*level);
                }
            }
            let median = |levels: &mut [u8]| {
                levels.sort_unstable();
                levels[levels.len() / 2]
            };
            self.ground[index] = levels.each_mut().map(|levels| median(levels));
            let luma = self.ground[index][0];
            let mut distances = others;
            distances.iter_mut().for_each(|level| *level = level.abs_diff(luma));
            distances.sort_unstable();
            // The lower of two in the middle: where one of them shows a thing, the other shows the ground.
            self.spread[index] = distances[(distances.len() - 1) / 2];
        }
    }

    /// Scores each cell and says how much it needs; how many cells are looked at.
    fn compare(&mut self, photo: &Small, columns: u32, rows: u32) -> usize {
        let mut histogram = [0u32; 256];
        for (index, cell) in photo.cells().iter().enumerate() {
            let (x, y) = (index % SIDE, index / SIDE);
            let (mut low, mut high, mut restless) = ([255u8; 3], [0u8; 3], 0);
            for row in y.saturating_sub(1)..(y + 2).min(SIDE) {
                for column in x.saturating_sub(1)..(x + 2).min(SIDE) {
                    let near = row * SIDE + column;
                    for (channel, level) in self.ground[near].into_iter().enumerate() {
                        low[channel] = low[channel].min(level);
                        high[channel] = high[channel].max(level);
                    }
                    restless = restless.max(self.spread[near]);
                }
            }
            let outside = |channel: usize| {
                let level = cell[channel];
                i32::from(low[channel].saturating_sub(level).max(level.saturating_sub(high[channel])))
            };
            // A camera on a tree shakes: an edge that moved by a cell lies within its neighbours.
            let luma = (7 * i32::from(cell[0].abs_diff(self.ground[index][0])) + 13 * outside(0)) / 20;
            let score = (luma + outside(1) + outside(2)).min(255);
            self.score[index] = score as u8;
            self.need[index] = (RESTLESS * i32::from(restless)).min(255) as u8;
            histogram[score as usize] += 1;
        }
        // What is usual, by the quarter that differs least: of the rest much may be things.
        let mut left = CELLS as u32 / 4;
        let usual = histogram.iter().position(|count| {
            let is_here = *count > left;
            left = left.saturating_sub(*count);
            is_here
        });
        let least = (LEAST / self.settings.sensitivity) as i32
            + USUAL * usual.map_or(0, |usual| (usual as i32).min(MOST_USUAL));
        let mut looked_at = 0;
        for index in 0..CELLS {
            let shown = self.is_looked_at(index, columns, rows);
            looked_at += usize::from(shown);
            let need = (i32::from(self.need[index]) + least).min(255);
            self.need[index] = need as u8;
            self.mask[index] = shown && i32::from(self.score[index]) >= need;
        }
        looked_at
    }

    fn is_looked_at(&self, index: usize, columns: u32, rows: u32) -> bool {
        let (column, row) = (index % SIDE, index / SIDE);
        let middle = |at: usize, pixels: u32| ((2 * at as u64 + 1) * u64::from(pixels) / (2 * SIDE as u64)) as i32;
        let (x, y) = (middle(column, columns), middle(row, rows));
        self.settings.mask.as_ref().is_none_or(|mask| mask.shows(column, SIDE, row, SIDE))
            && !self.settings.ignore.iter().any(|area| area.holds(x, y))
    }

    /// Takes out single cells and closes gaps.
    fn clean(&mut self) {
        let count = |mask: &[bool], index: usize, reach: usize| {
            let (x, y) = (index % SIDE, index / SIDE);
            let mut count = 0;
            for row in y.saturating_sub(reach)..(y + reach + 1).min(SIDE) {
                let line = &mask[row * SIDE..][x.saturating_sub(reach)..(x + reach + 1).min(SIDE)];
                count += line.iter().filter(|differs| **differs).count();
            }
            count
        };
        for index in 0..CELLS {
            self.other[index] = count(&self.mask, index, 1) >= 5;
        }
        // Wider by half a gap and narrower again; what lies beyond the border is no ground.
        for index in 0..CELLS {
            self.mask[index] = count(&self.other, index, GAP / 2) > 0;
        }
        for index in 0..CELLS {
            let (x, y) = (index % SIDE, index / SIDE);
            let side = |at: usize| (at + GAP / 2 + 1).min(SIDE) - at.saturating_sub(GAP / 2);
            self.other[index] = count(&self.mask, index, GAP / 2) == side(x) * side(y);
        }
        std::mem::swap(&mut self.mask, &mut self.other);
    }

    /// Gathers connected cells into boxes, and those into what is found.
    fn gather(&mut self, columns: u32, rows: u32, found: &mut Found) {
        let mut pieces: heapless::Vec<Piece, REGIONS> = heapless::Vec::new();
        self.other.fill(false);
        for start in 0..CELLS {
            if !self.mask[start] || self.other[start] {
                continue;
            }
            let (piece, strongest) = self.flood(start);
            if piece.cells < FEWEST || strongest < CORE {
                continue;
            }
            if let Err(piece) = pieces.push(piece) {
                let least = (0..pieces.len()).min_by_key(|place| pieces[*place].weight);
                if let Some(place) = least.filter(|place| pieces[*place].weight < piece.weight) {
                    pieces[place] = piece;
                }
            }
        }
        let mut place = 0;
        while place < pieces.len() {
            let one = pieces[place];
            match (place + 1..pieces.len()).find(|other| one.touches(&pieces[*other])) {
                Some(other) => {
                    let other = pieces.swap_remove(other);
                    pieces[place].join(&other);
                    // It may touch one that was passed.
                    place = 0;
                }
                None => place += 1,
            }
        }
        pieces.sort_unstable_by_key(|piece| (std::cmp::Reverse(piece.weight), piece.y.0, piece.x.0));
        let (min_size, max_size) = (self.settings.min_size, self.settings.max_size);
        let most = self.settings.max_things.min(MOST_SHOWN);
        for piece in pieces {
            let area = area_of(&piece, columns, rows);
            let share = area.size() as f32 / columns as f32;
            if share < min_size || share > max_size {
                found.shown = if share > max_size { Shown::Changed } else { found.shown };
                continue;
            }
            if found.areas.len() >= most || found.areas.push(area).is_err() {
                found.left_out += 1;
            }
        }
    }

    /// The connected cells around `start`, and the strongest of them in halves of what it needs.
    fn flood(&mut self, start: usize) -> (Piece, i32) {
        let at = (start % SIDE, start / SIDE);
        let mut piece = Piece { x: (at.0, at.0), y: (at.1, at.1), cells: 0, weight: 0 };
        let mut strongest = 0;
        self.stack.clear();
        self.stack.push(start as u16);
        self.other[start] = true;
        while let Some(index) = self.stack.pop() {
            let index = usize::from(index);
            let (x, y) = (index % SIDE, index / SIDE);
            piece.x = (piece.x.0.min(x), piece.x.1.max(x));
            piece.y = (piece.y.0.min(y), piece.y.1.max(y));
            piece.cells += 1;
            piece.weight += u32::from(self.score[index]);
            strongest = strongest.max(2 * i32::from(self.score[index]) / i32::from(self.need[index]).max(1));
            for row in y.saturating_sub(1)..(y + 2).min(SIDE) {
                for column in x.saturating_sub(1)..(x + 2).min(SIDE) {
                    let near = row * SIDE + column;
                    if self.mask[near] && !self.other[near] {
                        self.other[near] = true;
                        self.stack.push(near as u16);
                    }
                }
            }
        }
        (piece, strongest)
    }
}

/// The pixels of a piece of a photo.
fn area_of(piece: &Piece, columns: u32, rows: u32) -> Area {
    let side = |(first, last): (usize, usize), pixels: u32| {
        let edge = |cell: usize| (cell as u64 * u64::from(pixels) / SIDE as u64) as u32;
        let (from, to) = (edge(first), edge(last + 1).max(edge(first) + 1));
        (from as i32, to.min(pixels) - from)
    };
    let ((x, width), (y, height)) = (side(piece.x, columns), side(piece.y, rows));
    Area { x, y, width, height }
}

/// The light in which `from` looks most like `to`.
fn fit(from: &[[u8; 3]], to: &[[u8; 3]]) -> Light {
    let mut light = Light { gain: 1024, offset: 0, chroma: [0; 2] };
    let mut far = i32::MAX;
    for round in 0..ROUNDS {
        let (mut n, mut x, mut y, mut xx, mut xy, mut error) = (0i64, 0i64, 0i64, 0i64, 0i64, 0i64);
        let mut chroma = [0i64; 2];
        for (from, to) in from.iter().zip(to) {
            // What is at an end of the range says nothing of the light.
            let is_clipped = |level: u8| !(2..=253).contains(&level);
            let miss = (i32::from(light.of(*from)[0]) - i32::from(to[0])).abs();
            if is_clipped(from[0]) || is_clipped(to[0]) || miss > far {
                continue;
            }
            let (a, b) = (i64::from(from[0]), i64::from(to[0]));
            (n, x, y, xx, xy, error) = (n + 1, x + a, y + b, xx + a * a, xy + a * b, error + i64::from(miss));
            for (channel, sum) in chroma.iter_mut().enumerate() {
                *sum += i64::from(to[channel + 1]) - i64::from(from[channel + 1]);
            }
        }
        if n < CELLS as i64 / 20 {
            break;
        }
        let (variance, covariance) = (n * xx - x * x, n * xy - x * y);
        // A plain wall says nothing of the gain.
        let gain = if variance > n * n { covariance * 1024 / variance } else { 1024 };
        light.gain = gain.clamp(LEAST_GAIN, MOST_GAIN) as i32;
        light.offset = ((y - ((x * i64::from(light.gain)) >> 10)) / n) as i32;
        light.chroma = chroma.map(|sum| (sum / n) as i32);
        // The first round was by the light as it is, which says nothing of who is far.
        far = if round == 0 { 48 } else { (2 * error / n).max(8) as i32 };
    }
    light
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A still ground of `seed` with relief and colour, by a gain and an offset, with things of a colour in it: boxes of cells.
    fn photo(seed: u32, gain: f32, offset: f32, things: &[(usize, usize, usize, usize)]) -> Small {
        moved(seed, 0, gain, offset, things)
    }

    /// As [`photo`], by a camera that looks some cells further.
    fn moved(seed: u32, by: usize, gain: f32, offset: f32, things: &[(usize, usize, usize, usize)]) -> Small {
        let mut noise = seed.wrapping_mul(747_796_405) | 1;
        let mut rgb = Vec::with_capacity(CELLS * 3);
        for index in 0..CELLS {
            let (x, y) = (index % SIDE, index / SIDE);
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let jitter = (noise >> 30) as f32;
            let ground = 70.0 + 30.0 * (((x + by) / 9 % 3) as f32) + 12.0 * (((y + by) / 13 % 4) as f32);
            let inside = |(left, top, w, h): &(usize, usize, usize, usize)| {
                (*left..left + w).contains(&x) && (*top..top + h).contains(&y)
            };
            let pixel = match things.iter().any(inside) {
                true => [150.0, 90.0, 40.0],
                false => [ground * 0.9, ground, ground * 0.7],
            };
            rgb.extend(pixel.map(|level| ((level + jitter) * gain + offset).clamp(0.0, 255.0) as u8));
        }
        let mut small = Small::new();
        small.fill(&rgb);
        small
    }

    fn look(photo: &Small, others: &[&Small]) -> Found {
        let mut found = Found::default();
        Differ::new(&Settings::default()).look(photo, others, (1600, 1200), &mut found);
        found
    }

    /// Whether a box of pixels is that of cells, to a cell or two.
    fn is_near(area: Area, (x, y, w, h): (usize, usize, usize, usize)) -> bool {
        let near = |pixel: i64, cell: usize, halves: i64| (pixel - cell as i64 * halves / 2).abs() <= halves;
        near(area.x.into(), x, 20)
            && near(i64::from(area.x) + i64::from(area.width), x + w, 20)
            && near(area.y.into(), y, 15)
            && near(i64::from(area.y) + i64::from(area.height), y + h, 15)
    }

    #[test]
    fn what_is_in_one_photo_of_three_is_found_in_that_one() {
        let (thing, moved) = ((60, 50, 20, 14), (90, 52, 20, 14));
        let (a, b, c) = (photo(1, 1.0, 0.0, &[thing]), photo(2, 1.0, 0.0, &[moved]), photo(3, 1.0, 0.0, &[]));
        let found = look(&a, &[&b, &c]);
        assert_eq!((found.shown, found.ground, found.areas.len()), (Shown::Cuts, 3, 1), "{found:?}");
        assert!(is_near(found.areas[0], thing), "{found:?}");
        let found = look(&b, &[&a, &c]);
        assert!(found.areas.len() == 1 && is_near(found.areas[0], moved), "{found:?}");
        let found = look(&c, &[&a, &b]);
        assert_eq!((found.shown, found.areas.len(), found.left_out), (Shown::Same, 0, 0));
    }

    #[test]
    fn light_that_changes_is_no_thing() {
        let thing = (30, 100, 16, 20);
        for (gain, offset) in [(0.7, 0.0), (1.35, 0.0), (1.0, 25.0), (0.8, 20.0), (1.1, -12.0)] {
            let (a, b, c) = (photo(4, gain, offset, &[thing]), photo(5, 1.0, 0.0, &[]), photo(6, 0.9, 5.0, &[]));
            let found = look(&a, &[&b, &c]);
            assert!(found.areas.len() == 1 && is_near(found.areas[0], thing), "{gain} {offset}: {found:?}");
            assert_eq!(look(&b, &[&a, &c]).shown, Shown::Same, "{gain} {offset}");
        }
    }

    #[test]
    fn what_sits_through_a_burst_differs_from_the_photos_before() {
        let thing = (100, 30, 12, 12);
        let still: Vec<Small> = (0..2).map(|seed| photo(seed, 1.0, 0.0, &[thing])).collect();
        let before: Vec<Small> = (10..14).map(|seed| photo(seed, 1.0, 0.0, &[])).collect();
        let others: Vec<&Small> = still[1..].iter().chain(&before).collect();
        let found = look(&still[0], &others);
        assert_eq!((found.ground, found.areas.len()), (5, 1), "{found:?}");
        assert!(is_near(found.areas[0], thing));
    }

    #[test]
    fn too_few_photos_or_too_much_that_differs_make_the_whole_photo() {
        let a = photo(1, 1.0, 0.0, &[(60, 50, 20, 14)]);
        let b = photo(2, 1.0, 0.0, &[]);
        assert_eq!((look(&a, &[]).shown, look(&a, &[&b]).shown), (Shown::NoGround, Shown::NoGround));
        let other = moved(7, 14, 1.0, 0.0, &[]);
        let found = look(&other, &[&b, &photo(3, 1.0, 0.0, &[])]);
        assert_eq!((found.shown, found.areas.len(), found.ground), (Shown::Changed, 0, 3));
        let close = photo(8, 1.0, 0.0, &[(2, 30, 156, 50)]);
        assert_eq!(look(&close, &[&b, &photo(3, 1.0, 0.0, &[])]).shown, Shown::Changed, "larger than things are");
    }

    #[test]
    fn sizes_masks_and_numbers_are_kept_to() {
        let things: Vec<_> = (0..12).map(|i| (4 + i % 6 * 26, 20 + i / 6 * 60, 12, 12)).collect();
        let (a, b, c) = (photo(1, 1.0, 0.0, &things), photo(2, 1.0, 0.0, &[]), photo(3, 1.0, 0.0, &[]));
        let with = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            let mut found = Found::default();
            Differ::new(&settings).look(&a, &[&b, &c], (1600, 1200), &mut found);
            (found.areas.len(), found.left_out)
        };
        assert_eq!(with(&|_| {}), (MOST_SHOWN, 12 - MOST_SHOWN as u32));
        assert_eq!(with(&|settings| settings.max_things = 3), (3, 9));
        assert_eq!(with(&|settings| settings.min_size = 0.2), (0, 0));
        assert_eq!(with(&|settings| (settings.min_size, settings.max_size) = (0.0, 0.02)), (0, 0));
        // The lower row, and all but one of the upper.
        let lower = Area { x: 0, y: 600, width: 1600, height: 600 };
        let right = Area { x: 200, y: 0, width: 1400, height: 600 };
        assert_eq!(with(&|settings| settings.ignore.extend([lower, right])), (1, 0));
        let mut luma = [0; 16];
        luma[0] = 255;
        let mask = oltr_scenes::Mask::new(4, 4, &luma).unwrap();
        assert_eq!(with(&|settings| settings.mask = Some(mask.clone())).0, 2);
    }

    #[test]
    fn pictures_of_nothing_and_noise_find_nothing_for_long() {
        let flat = |level: u8| {
            let mut small = Small::new();
            small.fill(&vec![level; CELLS * 3]);
            small
        };
        let (black, white) = (flat(0), flat(255));
        assert_eq!(look(&black, &[&black, &black]).shown, Shown::Same);
        assert_eq!(look(&white, &[&black, &black]).shown, Shown::Changed);
        let noise = |seed: u32| {
            let mut state = seed;
            let next = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            let mut small = Small::new();
            small.fill(&(0..CELLS as u32 * 3).map(next).collect::<Vec<u8>>());
            small
        };
        let found = look(&noise(1), &[&noise(2), &noise(3), &noise(4)]);
        // All of it is restless.
        assert_eq!((found.shown, found.areas.len()), (Shown::Same, 0), "{found:?}");
    }
}
