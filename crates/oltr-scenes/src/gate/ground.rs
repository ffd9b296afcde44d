//! The ground: what each cell looks like when nothing is there.

// Indices, so that the compiler sees that all slices are of one length, and vectorises.
#![allow(clippy::needless_range_loop)]

use multiversion::multiversion;

use super::fit::{self, Change, FRACTION};
use super::shrink::Small;
use crate::settings::MOST_COLUMNS;

/// Fraction bits that the ground has beyond those of a picture: it learns by less than a sixteenth of a level.
const FINER: u32 = 3;
/// The least difference that counts, in sixteenths of a level.
const LEAST: i32 = 6 << 4;
/// The largest difference of luma, and the largest chroma, that are learnt: 16 bits hold them in the ground's own fractions.
const MOST_APART: i16 = 4080;
const MOST_CHROMA: i16 = 2047;
/// Columns of a row with one on either side.
const PADDED: usize = MOST_COLUMNS as usize + 2;

/// Scores of a cell.
pub const WEAK: u8 = 1;
pub const CLEAR: u8 = 2;
pub const STRONG: u8 = 3;

/// What a look at another ground, or at a third, adds to its share or takes off it.
const SHARE: u8 = 4;
/// Of so many updates one takes a small share down too.
const FADE: u32 = 16;
/// Of so many updates one forgets that a second ground came back.
const FORGET: u32 = 128;

/// How often a second ground must come back before it is one, and how much of the time it must be there, in 1/255.
const RETURNS: u8 = 2;
const OFTEN: u8 = 12;
/// What comes back later than after so many times [`MEASURE`] updates, some 4 seconds, is no leaf or wave but a visitor.
const SOON: u8 = 12;
/// Of so many updates one lengthens the time that a second ground is away.
const MEASURE: u32 = 4;
/// Parts of [`Ground::returns`]: how long the second ground is away, and one return.
const AWAY: u8 = 15;
const RETURN: u8 = 16;
/// Returns that are counted, at most.
const MOST_RETURNS: u8 = 15 * RETURN;

/// One value a cell.
type Plane<T> = Box<[T]>;

/// The ground and what is known of each cell.
#[derive(Debug)]
pub struct Ground {
    /// Luma and chroma in 1/128 of a level.
    y: Plane<i16>,
    u: Plane<i16>,
    v: Plane<i16>,
    /// Another ground that comes and goes, in levels.
    second: Plane<[i8; 3]>,
    /// Share of the time that the second ground was seen, in 1/255.
    share: Plane<u8>,
    /// How often the second ground came back soon, in the upper half, and how long it is away, in the lower.
    returns: Plane<u8>,
    /// What differs though nothing is there, in quarter levels.
    noise: Plane<u8>,
    /// How often the cell goes to and fro, in 1/255.
    blink: Plane<u8>,
    /// What the cell should look like in this frame, in sixteenths.
    pub expected: Plane<i16>,
    /// What was found to differ, in quarter levels.
    residual: Plane<u8>,
    /// One of 0, WEAK, CLEAR, STRONG.
    pub score: Plane<u8>,
    updates: u32,
}

/// A cell's brightness as the second ground keeps it.
fn level(sixteenths: i32, base: i32) -> i8 {
    ((sixteenths >> 4) - base).clamp(-128, 127) as i8
}

impl Ground {
    pub fn new(cells: usize) -> Ground {
        let wide = || vec![0; cells].into_boxed_slice();
        let bytes = || vec![0; cells].into_boxed_slice();
        Ground {
            y: wide(),
            u: wide(),
            v: wide(),
            second: vec![[0; 3]; cells].into(),
            share: bytes(),
            returns: bytes(),
            noise: bytes(),
            blink: bytes(),
            expected: wide(),
            residual: bytes(),
            score: bytes(),
            updates: 0,
        }
    }

    pub fn bytes(&self) -> usize {
        self.y.len() * (3 * 2 + 3 + 2 + 2 + 2 + 2)
    }

    /// Takes the picture for the ground.
    pub fn take(&mut self, picture: &Small) {
        let cells = picture.columns * picture.rows;
        for (ground, picture) in [(&mut self.y, &picture.y), (&mut self.u, &picture.u), (&mut self.v, &picture.v)] {
            for (ground, picture) in ground[..cells].iter_mut().zip(&picture[..cells]) {
                *ground = picture << FINER;
            }
        }
        for plane in [&mut self.share, &mut self.returns, &mut self.blink, &mut self.score] {
            plane[..cells].fill(0);
        }
        self.noise[..cells].fill(3 << 2);
    }

    /// The ground's luma at a cell, in levels.
    pub fn luma(&self, cell: usize) -> u8 {
        (self.y[cell] >> (4 + FINER)).clamp(0, 255) as u8
    }

    /// How often a cell goes to and fro, in 1/255.
    pub fn restless(&self, cell: usize) -> u8 {
        self.blink[cell]
    }

    /// Fits light and shift of the whole, and scores every cell. `inverse` is 256 through the sensitivity; `learns` says
    /// whether blinking is counted.
    pub fn compare(&mut self, picture: &Small, inverse: i32, learns: bool) -> Change {
        let (columns, rows) = (picture.columns, picture.rows);
        let cells = columns * rows;
        for (coarse, fine) in self.expected[..cells].iter_mut().zip(&self.y[..cells]) {
            *coarse = fine >> FINER;
        }
        let change = fit::fit(&picture.y[..cells], &self.expected[..cells], &self.score[..cells], columns);
        for row in 0..rows {
            let line = |row: usize| &self.y[row * columns..][..columns];
            let lines = [line(row.saturating_sub(1)), line(row), line((row + 1).min(rows - 1))];
            expect(lines, change, &mut self.expected[row * columns..][..columns]);
        }
        let factors = [change.chroma(), inverse, learns.into()];
        let mut difference = [0; MOST_COLUMNS as usize];
        let (mut ground, mut light) = (Sums::default(), Sums::default());
        for row in 0..rows {
            let (above, below) = (row.saturating_sub(1), (row + 1).min(rows - 1));
            let three = |plane| lines_of(plane, [above, row, below], columns);
            let range = row * columns..(row + 1) * columns;
            let seen = [&picture.y[range.clone()], &picture.u[range.clone()], &picture.v[range.clone()]];
            let known = [&self.expected[range.clone()], &self.u[range.clone()], &self.v[range.clone()]];
            let difference = &mut difference[..columns];
            let bounds = Bounds::new(three(&self.expected));
            let most = differ(&bounds, seen, known, factors[0], difference);
            if most * 5 > least_threshold(inverse) * 3 {
                ground.set(three(&self.expected));
                light.set(three(&picture.y));
            }
            let cells = Cells {
                difference,
                noise: &self.noise[range.clone()],
                blink: &mut self.blink[range.clone()],
                score: &mut self.score[range.clone()],
                residual: &mut self.residual[range],
            };
            score_row(&bounds, &ground, &light, seen, known, cells, factors);
        }
        change
    }

    /// Looks whether what differs is the second ground, which scores 0. Cells of `kept` learn nothing, others do if
    /// `learns`.
    pub fn second(&mut self, picture: &Small, change: Change, kept: &[u8], learns: bool) {
        let cells = picture.columns * picture.rows;
        let mut next = 0;
        while next < cells {
            // Most of a picture is ground: eight cells at a time.
            if next + 8 <= cells && self.score[next..next + 8] == [0; 8] {
                next += 8;
                continue;
            }
            let cell = next;
            next += 1;
            if self.score[cell] < WEAK {
                continue;
            }
            let back = i32::from(self.expected[cell]) - i32::from(self.y[cell] >> FINER);
            let now = [
                level(i32::from(picture.y[cell]) - back, 128),
                level(unchanged(picture.u[cell], change).into(), 0),
                level(unchanged(picture.v[cell], change).into(), 0),
            ];
            let second = self.second[cell];
            let apart = |i: usize| (i32::from(now[i]) - i32::from(second[i])).abs();
            let tolerance = 8 + i32::from(self.noise[cell]) / 2;
            let is_second = self.share[cell] > 0 && apart(0) * 5 / 8 + apart(1) + apart(2) <= tolerance;
            let known = is_second && self.returns[cell] >= RETURNS * RETURN && self.share[cell] >= OFTEN;
            if learns && kept[cell] == 0 {
                if is_second {
                    let share = &mut self.share[cell];
                    *share = share.saturating_add((255 - *share).div_ceil(64));
                    let returns = &mut self.returns[cell];
                    let away = *returns & AWAY;
                    *returns -= away;
                    if (1..=SOON).contains(&away) && *returns < MOST_RETURNS {
                        *returns += RETURN;
                    }
                    for i in 0..3 {
                        self.second[cell][i] +=
                            (apart(i) > 1) as i8 * (now[i] as i32 - second[i] as i32).signum() as i8;
                    }
                    if *share > 140 {
                        self.change_places(cell);
                    }
                } else if self.score[cell] >= CLEAR {
                    self.goes_away(cell);
                    let is_known = self.returns[cell] >= RETURNS * RETURN;
                    self.share[cell] = self.share[cell].saturating_sub(if is_known { 1 } else { SHARE });
                    if self.share[cell] == 0 {
                        (self.second[cell], self.share[cell], self.returns[cell]) = (now, SHARE, 0);
                    }
                }
            }
            if known {
                self.score[cell] = 0;
            }
        }
    }

    /// The second ground becomes the first.
    fn change_places(&mut self, cell: usize) {
        let old = [
            level(i32::from(self.y[cell] >> FINER), 128),
            level(i32::from(self.u[cell] >> FINER), 0),
            level(i32::from(self.v[cell] >> FINER), 0),
        ];
        let [y, u, v] = self.second[cell].map(i32::from);
        let fine = |level: i32| (level << (4 + FINER)).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        (self.y[cell], self.u[cell], self.v[cell]) = (fine(y + 128), fine(u), fine(v));
        self.second[cell] = old;
        self.share[cell] = 255 - self.share[cell];
        self.goes_away(cell);
    }

    /// The second ground was not seen.
    fn goes_away(&mut self, cell: usize) {
        self.returns[cell] |= u8::from(self.returns[cell] & AWAY == 0);
    }

    /// Learns what is ground: cells of score 0 by `2^-speed`, all of them the light of the whole.
    pub fn learn(&mut self, picture: &Small, change: Change, speed: u32) {
        let cells = picture.columns * picture.rows;
        let (score, noise, residual) = (&self.score[..cells], &mut self.noise[..cells], &self.residual[..cells]);
        learn_luma(
            &mut self.y[..cells],
            &picture.y[..cells],
            &self.expected[..cells],
            score,
            (change.offset, change.gain),
            speed,
        );
        let chroma = change.chroma();
        learn_chroma(&mut self.u[..cells], &picture.u[..cells], score, chroma, speed);
        learn_chroma(&mut self.v[..cells], &picture.v[..cells], score, chroma, speed);
        learn_noise(noise, residual, score);
        self.updates = self.updates.wrapping_add(1);
        let fades = u8::from(self.updates.is_multiple_of(FADE));
        let longer = u8::from(self.updates.is_multiple_of(MEASURE));
        fade(&mut self.share[..cells], &mut self.returns[..cells], score, [fades, longer]);
        if self.updates.is_multiple_of(FORGET) {
            forget(&mut self.returns[..cells]);
        }
    }
}

/// Forgets a little of how often second grounds came back.
fn forget(returns: &mut [u8]) {
    for returns in returns {
        *returns -= RETURN * u8::from(*returns >= RETURN);
    }
}

/// Chroma without the change of light.
fn unchanged(chroma: i16, change: Change) -> i16 {
    let gain = change.chroma();
    (i32::from(chroma) - ((i32::from(chroma) * gain) >> FRACTION)).clamp(-2048, 2047) as i16
}

/// What the ground should look like after a change.
#[multiversion(targets("x86_64+avx2"))]
fn expect(lines: [&[i16]; 3], change: Change, out: &mut [i16]) {
    let [above, here, below] = lines;
    let last = here.len() - 1;
    let (above, below, out) = (&above[..=last], &below[..=last], &mut out[..=last]);
    expect_cell(change, [here[0], here[0], here[last.min(1)]], [above[0], below[0]], &mut out[0]);
    expect_cell(
        change,
        [here[last.saturating_sub(1)], here[last], here[last]],
        [above[last], below[last]],
        &mut out[last],
    );
    for x in 1..last {
        expect_cell(change, [here[x - 1], here[x], here[x + 1]], [above[x], below[x]], &mut out[x]);
    }
}

/// The same for a cell of the ground, between those to its left and right, above and below.
#[inline(always)]
fn expect_cell(change: Change, [left, here, right]: [i16; 3], [above, below]: [i16; 2], out: &mut i16) {
    let ground = here >> FINER;
    let across = fit::slope_of(left >> FINER, right >> FINER);
    let down = fit::slope_of(above >> FINER, below >> FINER);
    let change = (change.of(fit::light_of(ground), across, down) >> FRACTION).clamp(-8191, 8191) as i16;
    *out = (ground + change).clamp(0, 4095);
}

/// Three rows of a plane.
fn lines_of(plane: &[i16], rows: [usize; 3], columns: usize) -> [&[i16]; 3] {
    rows.map(|row| &plane[row * columns..][..columns])
}

/// The least and the largest of each column of three rows, with one column more on either side.
struct Bounds {
    least: [i16; PADDED],
    most: [i16; PADDED],
}

impl Bounds {
    fn new(lines: [&[i16]; 3]) -> Bounds {
        let mut out = Bounds { least: [0; PADDED], most: [0; PADDED] };
        bound(lines, &mut out);
        let last = lines[1].len() + 1;
        for line in [&mut out.least, &mut out.most] {
            (line[0], line[last]) = (line[1], line[last - 1]);
        }
        out
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn bound(lines: [&[i16]; 3], out: &mut Bounds) {
    let [above, here, below] = lines;
    let length = here.len();
    let (above, below) = (&above[..length], &below[..length]);
    let (least, most) = (&mut out.least[1..=length], &mut out.most[1..=length]);
    for x in 0..length {
        least[x] = above[x].min(here[x]).min(below[x]);
        most[x] = above[x].max(here[x]).max(below[x]);
    }
}

/// The sum of each column of three rows, with one column more on either side.
struct Sums {
    of: [i16; PADDED],
}

impl Default for Sums {
    fn default() -> Sums {
        Sums { of: [0; PADDED] }
    }
}

impl Sums {
    fn set(&mut self, lines: [&[i16]; 3]) {
        let [above, here, below] = lines;
        let length = here.len();
        let (above, below, sums) = (&above[..length], &below[..length], &mut self.of[1..=length]);
        for x in 0..length {
            sums[x] = above[x] + here[x] + below[x];
        }
        (self.of[0], self.of[length + 1]) = (self.of[1], self.of[length]);
    }
}

/// The least threshold that a cell may have.
fn least_threshold(inverse: i32) -> i32 {
    (LEAST * inverse) >> 8
}

/// Chroma of the ground in a light that changed by `chroma`, in sixteenths.
#[inline(always)]
fn lit(fine: i16, chroma: i32) -> i16 {
    let coarse = fine >> FINER;
    coarse + ((i32::from(coarse) * chroma) >> FRACTION) as i16
}

/// How much each cell differs from what it should look like, in sixteenths of a level; the largest of them. All of it fits
/// into 16 bits, so that a vector holds many cells.
#[multiversion(targets("x86_64+avx2"))]
fn differ(ground: &Bounds, seen: [&[i16]; 3], known: [&[i16]; 3], chroma: i32, out: &mut [i16]) -> i32 {
    let length = out.len();
    let [py, pu, pv] = seen.map(|line| &line[..length]);
    let [gy, gu, gv] = known.map(|line| &line[..length]);
    let (least, most) = (&ground.least[..length + 2], &ground.most[..length + 2]);
    let mut largest = 0;
    for x in 0..length {
        let least = least[x].min(least[x + 1]).min(least[x + 2]);
        let most = most[x].max(most[x + 1]).max(most[x + 2]);
        let (p, g) = (py[x], gy[x]);
        let apart = (p - g).abs().min(1023);
        let outside = (p - most).max(least - p).clamp(0, 1023);
        let colour = ((pu[x] - lit(gu[x], chroma)).abs() + (pv[x] - lit(gv[x], chroma)).abs()).min(4095);
        out[x] = ((apart * 11 + outside * 21) >> 5) + colour;
        largest = largest.max(out[x]);
    }
    largest.into()
}

/// What is known of the cells of a row.
struct Cells<'a> {
    difference: &'a [i16],
    noise: &'a [u8],
    blink: &'a mut [u8],
    score: &'a mut [u8],
    residual: &'a mut [u8],
}

/// Cells that are scored together: where none of them differs by much, that is all there is to do.
const TOGETHER: usize = 16;

/// Scores the cells of a row; `ground` and `light` are those of the row where any of its cells may score.
#[multiversion(targets("x86_64+avx2"))]
fn score_row(
    bounds: &Bounds,
    ground: &Sums,
    light: &Sums,
    seen: [&[i16]; 3],
    known: [&[i16]; 3],
    cells: Cells,
    [chroma, inverse, learns]: [i32; 3],
) {
    let Cells { difference, noise, blink, score, residual } = cells;
    let length = score.len();
    let quiet = least_threshold(inverse) * 3;
    for (residual, &difference) in residual.iter_mut().zip(difference) {
        *residual = (difference >> 2).min(255) as u8;
    }
    let is_quiet = |start: usize| {
        let some = &difference[start..(start + TOGETHER).min(length)];
        i32::from(some.iter().fold(0, |most, &next| next.max(most))) * 5 <= quiet
    };
    let mut next = 0;
    while next < length {
        let start = next;
        let quiet = is_quiet(start);
        while next < length && is_quiet(next) == quiet {
            next += TOGETHER;
        }
        let range = start..next.min(length);
        let length = range.len();
        let difference = &difference[range.clone()];
        let (blink, score) = (&mut blink[range.clone()], &mut score[range.clone()]);
        if quiet {
            for x in 0..length {
                let blinks = i16::from(blink[x]);
                let flips = i16::from(score[x] >= CLEAR) * 255;
                blink[x] = (blinks + (((flips - blinks) >> 5) & -(learns as i16))) as u8;
                score[x] = 0;
            }
            continue;
        }
        let [py, pu, pv] = seen.map(|line| &line[range.clone()]);
        let [gy, gu, gv] = known.map(|line| &line[range.clone()]);
        let noise = &noise[range.clone()];
        let padded = range.start..range.end + 2;
        let (least, most) = (&bounds.least[padded.clone()], &bounds.most[padded.clone()]);
        let (ground, light) = (&ground.of[padded.clone()], &light.of[padded]);
        for x in 0..length {
            let least = least[x].min(least[x + 1]).min(least[x + 2]);
            let most = most[x].max(most[x + 1]).max(most[x + 2]);
            let blinks = i32::from(blink[x]);
            let mut threshold = LEAST + i32::from(noise[x]) * 12;
            threshold += ((threshold * blinks) >> 6) + (i32::from(most - least) >> 4);
            // The ground in another light: its colour and relief times a factor.
            let (p, g) = (i32::from(py[x]), i32::from(gy[x]));
            let (u, v) = (i32::from(lit(gu[x], chroma)), i32::from(lit(gv[x], chroma)));
            let mean = |line: &[i16]| (i32::from(line[x]) + i32::from(line[x + 1]) + i32::from(line[x + 2])) >> 3;
            let (picture_mean, ground_mean) = (mean(light), mean(ground));
            let factor = picture_mean * 5 >= ground_mean * 3 && picture_mean * 4 <= ground_mean * 7;
            let relief = (p * ground_mean - g * picture_mean).abs() <= ground_mean * 96;
            let tint = (i32::from(pu[x]) * ground_mean - u * picture_mean).abs()
                + (i32::from(pv[x]) * ground_mean - v * picture_mean).abs();
            let is_light = factor & relief & (tint <= ground_mean * 64);
            threshold += ((threshold * 5) >> 4) & -i32::from(is_light);
            threshold = (threshold * inverse) >> 8;
            let difference = i32::from(difference[x]);
            let next = u8::from(difference * 5 > threshold * 3)
                + u8::from(difference > threshold)
                + u8::from(difference > 2 * threshold);
            let flips = i32::from((score[x] >= CLEAR) != (next >= CLEAR)) * 255;
            blink[x] = (blinks + (((flips - blinks) >> 5) & -learns)) as u8;
            score[x] = next;
        }
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn learn_luma(ground: &mut [i16], picture: &[i16], expected: &[i16], score: &[u8], light: (i32, i16), speed: u32) {
    let change = Change { offset: light.0, gain: light.1, ..Change::default() };
    let length = ground.len();
    let (picture, expected, score) = (&picture[..length], &expected[..length], &score[..length]);
    for x in 0..length {
        let learns = -i16::from(score[x] == 0);
        let known = ground[x];
        let apart = ((picture[x] - expected[x]).clamp(-MOST_APART, MOST_APART) << FINER) & learns;
        // A thirty-second of the light of the whole, so that the ground follows the day.
        let light = (change.light(fit::light_of(known >> FINER)) >> (FRACTION + 5 - FINER)) as i16;
        let own = (apart + ((1 << speed) >> 1)) >> speed;
        ground[x] = known.saturating_add(own).saturating_add(light).clamp(0, 32640);
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn learn_chroma(ground: &mut [i16], picture: &[i16], score: &[u8], gain: i32, speed: u32) {
    let length = ground.len();
    let (picture, score) = (&picture[..length], &score[..length]);
    for x in 0..length {
        let learns = -i16::from(score[x] == 0);
        let known = ground[x];
        let light = ((i32::from(known) * gain) >> FRACTION) as i16;
        let seen = picture[x].clamp(-MOST_CHROMA, MOST_CHROMA) << FINER;
        let apart = seen.saturating_sub(known).saturating_sub(light).min(i16::MAX - 64) & learns;
        let own = (apart + ((1 << speed) >> 1)) >> speed;
        ground[x] = known.saturating_add(own).saturating_add(light >> 5).clamp(-16384, 16383);
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn learn_noise(noise: &mut [u8], residual: &[u8], score: &[u8]) {
    for ((noise, &residual), &score) in noise.iter_mut().zip(residual).zip(score) {
        // Two thirds of what differs stays below.
        let up = u8::from(residual > *noise) * 2;
        let down = u8::from(residual < *noise);
        let next = noise.saturating_add(up).saturating_sub(down);
        *noise = if score < CLEAR { next } else { *noise };
    }
}

/// The first ground was seen: the second is seen less often.
#[multiversion(targets("x86_64+avx2"))]
fn fade(share: &mut [u8], returns: &mut [u8], score: &[u8], [fades, longer]: [u8; 2]) {
    let length = share.len();
    let (returns, score) = (&mut returns[..length], &score[..length]);
    for x in 0..length {
        // All bits where it was seen.
        let first = 0u8.wrapping_sub(u8::from(score[x] < WEAK));
        let less = (share[x] >> 6) + fades;
        share[x] = share[x].saturating_sub(less & first);
        let away = returns[x] & AWAY;
        let more = (u8::from(away == 0) | longer) & u8::from(away < AWAY);
        returns[x] += more & first;
    }
}
