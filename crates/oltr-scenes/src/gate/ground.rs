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
const RETURNS: u8 = 3;
const OFTEN: u8 = 12;

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
    /// Twice the times that the second ground came back, and whether it was there in the last frame.
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
        let chroma = change.chroma();
        for row in 0..rows {
            let three = |plane: &[i16]| -> Neighbours {
                let line = |row: usize| &plane[row * columns..][..columns];
                Neighbours::new([line(row.saturating_sub(1)), line(row), line((row + 1).min(rows - 1))])
            };
            let (ground, light) = (three(&self.expected), three(&picture.y));
            let range = row * columns..(row + 1) * columns;
            let seen = [&picture.y[range.clone()], &picture.u[range.clone()], &picture.v[range.clone()]];
            let known = [&self.expected[range.clone()], &self.u[range.clone()], &self.v[range.clone()]];
            let (score, residual) = (&mut self.score[range.clone()], &mut self.residual[range.clone()]);
            let (noise, blink) = (&self.noise[range.clone()], &mut self.blink[range]);
            score_row(&ground, &light, seen, known, noise, blink, score, residual, [chroma, inverse, learns.into()]);
        }
        change
    }

    /// Looks whether what differs is the second ground, which scores 0. Cells of `kept` learn nothing, others do if
    /// `learns`.
    pub fn second(&mut self, picture: &Small, change: Change, kept: &[u8], learns: bool) {
        let cells = picture.columns * picture.rows;
        for cell in 0..cells {
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
            let known = is_second && self.returns[cell] >= 2 * RETURNS && self.share[cell] >= OFTEN;
            if learns && kept[cell] == 0 {
                if is_second {
                    let share = &mut self.share[cell];
                    *share = share.saturating_add((255 - *share).div_ceil(64));
                    if self.returns[cell] & 1 == 0 && self.returns[cell] < 62 {
                        self.returns[cell] += 3;
                    }
                    for i in 0..3 {
                        self.second[cell][i] +=
                            (apart(i) > 1) as i8 * (now[i] as i32 - second[i] as i32).signum() as i8;
                    }
                    if *share > 140 {
                        self.change_places(cell);
                    }
                } else if self.score[cell] >= CLEAR {
                    self.returns[cell] &= !1;
                    let is_known = self.returns[cell] >= 2 * RETURNS;
                    self.share[cell] = self.share[cell].saturating_sub(if is_known { 1 } else { SHARE });
                    if self.share[cell] == 0 {
                        (self.second[cell], self.share[cell], self.returns[cell]) = (now, SHARE, 1);
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
        self.returns[cell] &= !1;
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
            [change.offset, change.gain],
            speed,
        );
        let chroma = change.chroma();
        learn_chroma(&mut self.u[..cells], &picture.u[..cells], score, chroma, speed);
        learn_chroma(&mut self.v[..cells], &picture.v[..cells], score, chroma, speed);
        learn_noise(noise, residual, score);
        self.updates = self.updates.wrapping_add(1);
        let fades = u8::from(self.updates.is_multiple_of(FADE));
        fade(&mut self.share[..cells], &mut self.returns[..cells], score, fades);
        if self.updates.is_multiple_of(FORGET) {
            forget(&mut self.returns[..cells]);
        }
    }
}

/// Forgets a little of how often second grounds came back.
fn forget(returns: &mut [u8]) {
    for returns in returns {
        *returns -= 2 * u8::from(*returns >= 2);
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
    let at = |x: usize, left: usize, right: usize| {
        let coarse = |fine: i16| i32::from(fine >> FINER);
        let ground = coarse(here[x]);
        let across = fit::slope_of(coarse(here[left]), coarse(here[right]));
        let down = fit::slope_of(coarse(above[x]), coarse(below[x]));
        let change = change.of(fit::light_of(ground), across, down) >> FRACTION;
        (ground + change).clamp(0, 4095) as i16
    };
    out[0] = at(0, 0, last.min(1));
    out[last] = at(last, last.saturating_sub(1), last);
    for x in 1..last {
        out[x] = at(x, x - 1, x + 1);
    }
}

/// The least, the largest and the sum of each column of three rows, with one column more on either side.
struct Neighbours {
    least: [i16; PADDED],
    most: [i16; PADDED],
    sum: [i16; PADDED],
}

impl Neighbours {
    fn new(lines: [&[i16]; 3]) -> Neighbours {
        let mut out = Neighbours { least: [0; PADDED], most: [0; PADDED], sum: [0; PADDED] };
        down(lines, &mut out);
        let last = lines[1].len() + 1;
        for line in [&mut out.least, &mut out.most, &mut out.sum] {
            line[0] = line[1];
            line[last] = line[last - 1];
        }
        out
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn down(lines: [&[i16]; 3], out: &mut Neighbours) {
    let [above, here, below] = lines;
    let length = here.len();
    let (above, below) = (&above[..length], &below[..length]);
    let (least, most, sum) = (&mut out.least[1..=length], &mut out.most[1..=length], &mut out.sum[1..=length]);
    for x in 0..length {
        least[x] = above[x].min(here[x]).min(below[x]);
        most[x] = above[x].max(here[x]).max(below[x]);
        sum[x] = above[x] + here[x] + below[x];
    }
}

#[allow(clippy::too_many_arguments)]
#[multiversion(targets("x86_64+avx2"))]
fn score_row(
    ground: &Neighbours,
    light: &Neighbours,
    seen: [&[i16]; 3],
    known: [&[i16]; 3],
    noise: &[u8],
    blink: &mut [u8],
    score: &mut [u8],
    residual: &mut [u8],
    [chroma, inverse, learns]: [i32; 3],
) {
    let length = score.len();
    let [py, pu, pv] = seen.map(|line| &line[..length]);
    let [gy, gu, gv] = known.map(|line| &line[..length]);
    let (noise, blink, residual) = (&noise[..length], &mut blink[..length], &mut residual[..length]);
    let three = |line: &'_ [i16; PADDED], x: usize| [line[x], line[x + 1], line[x + 2]];
    for x in 0..length {
        let [a, b, c] = three(&ground.least, x);
        let least = i32::from(a.min(b).min(c));
        let [a, b, c] = three(&ground.most, x);
        let most = i32::from(a.max(b).max(c));
        let (p, g) = (i32::from(py[x]), i32::from(gy[x]));
        let apart = (p - g).abs().min(1023);
        let outside = (p - most).max(least - p).clamp(0, 1023);
        let lit = |fine: i16| {
            let coarse = i32::from(fine >> FINER);
            coarse + ((coarse * chroma) >> FRACTION)
        };
        let (u, v) = (lit(gu[x]), lit(gv[x]));
        let colour = ((i32::from(pu[x]) - u).abs() + (i32::from(pv[x]) - v).abs()).min(4095);
        let difference = ((apart * 11 + outside * 21) >> 5) + colour;
        let noise = i32::from(noise[x]);
        let blinks = i32::from(blink[x]);
        let mut threshold = LEAST + noise * 12;
        threshold += ((threshold * blinks) >> 6) + ((most - least) >> 4);
        // The ground in another light: its colour and relief times a factor.
        let [a, b, c] = three(&light.sum, x);
        let picture_mean = (i32::from(a) + i32::from(b) + i32::from(c)) >> 3;
        let [a, b, c] = three(&ground.sum, x);
        let ground_mean = (i32::from(a) + i32::from(b) + i32::from(c)) >> 3;
        let factor = picture_mean * 5 >= ground_mean * 3 && picture_mean * 4 <= ground_mean * 7;
        let relief = (p * ground_mean - g * picture_mean).abs() <= ground_mean * 96;
        let tint = (i32::from(pu[x]) * ground_mean - u * picture_mean).abs()
            + (i32::from(pv[x]) * ground_mean - v * picture_mean).abs();
        let is_light = factor & relief & (tint <= ground_mean * 64);
        threshold += ((threshold * 5) >> 4) & -i32::from(is_light);
        threshold = (threshold * inverse) >> 8;
        let next = u8::from(difference * 5 > threshold * 3)
            + u8::from(difference > threshold)
            + u8::from(difference > 2 * threshold);
        let flips = i32::from((score[x] >= CLEAR) != (next >= CLEAR)) * 255;
        blink[x] = (blinks + (((flips - blinks) >> 5) & -learns)) as u8;
        score[x] = next;
        residual[x] = (difference >> 2).min(255) as u8;
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn learn_luma(ground: &mut [i16], picture: &[i16], expected: &[i16], score: &[u8], light: [i32; 2], speed: u32) {
    let change = Change { offset: light[0], gain: light[1], ..Change::default() };
    let length = ground.len();
    let (picture, expected, score) = (&picture[..length], &expected[..length], &score[..length]);
    for x in 0..length {
        let learns = -i32::from(score[x] == 0);
        let known = i32::from(ground[x]);
        let apart = ((i32::from(picture[x]) - i32::from(expected[x])) << FINER) & learns;
        // A thirty-second of the light of the whole, so that the ground follows the day.
        let light = change.light(fit::light_of(known >> FINER)) >> (FRACTION + 5 - FINER);
        let own = (apart + ((1 << speed) >> 1)) >> speed;
        ground[x] = (known + own + light).clamp(0, 32640) as i16;
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn learn_chroma(ground: &mut [i16], picture: &[i16], score: &[u8], gain: i32, speed: u32) {
    let length = ground.len();
    let (picture, score) = (&picture[..length], &score[..length]);
    for x in 0..length {
        let learns = -i32::from(score[x] == 0);
        let known = i32::from(ground[x]);
        let light = (known * gain) >> FRACTION;
        let apart = ((i32::from(picture[x]) << FINER) - known - light) & learns;
        let own = (apart + ((1 << speed) >> 1)) >> speed;
        ground[x] = (known + own + (light >> 5)).clamp(-16384, 16383) as i16;
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
fn fade(share: &mut [u8], returns: &mut [u8], score: &[u8], fades: u8) {
    for ((share, returns), &score) in share.iter_mut().zip(returns).zip(score) {
        let is_first = score < WEAK;
        let less = share.saturating_sub((*share >> 6) + fades);
        *share = if is_first { less } else { *share };
        *returns &= if is_first { !1 } else { 0xff };
    }
}
