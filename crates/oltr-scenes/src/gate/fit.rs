//! What light and a shaken camera did to the whole picture.
//!
//! The difference between picture and ground is fitted by four numbers: brighter by so much, brighter by so much of the
//! ground's own light, shifted by so much of a cell across and down. The last two stand for a shift because a picture that is
//! shifted by a little differs by its slope times the shift. What is left is what moved.

// Indices, so that the compiler sees that all slices are of one length, and vectorises.
#![allow(clippy::needless_range_loop)]

use multiversion::multiversion;

/// Fraction bits of a coefficient.
pub const FRACTION: u32 = 12;
/// Rounds of the fit: from the second on, what the last one did not explain is left out.
const ROUNDS: usize = 3;
/// Of so many rows one is looked at.
const EVERY: usize = 2;

/// The four coefficients, for the terms of [`terms`], in 1/4096.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub offset: i32,
    pub gain: i32,
    pub across: i32,
    pub down: i32,
}

impl Change {
    /// What it makes of the ground, in 1/4096 of a sixteenth.
    #[inline(always)]
    pub fn of(self, gain: i32, across: i32, down: i32) -> i32 {
        self.offset + self.gain * gain + self.across * across + self.down * down
    }

    /// The part of it that is light.
    #[inline(always)]
    pub fn light(self, gain: i32) -> i32 {
        self.offset + self.gain * gain
    }

    /// The factor that chroma changes by, in 1/4096 more than 1.
    pub fn chroma(self) -> i32 {
        // The term of the gain is an eighth of luma.
        self.gain / 8
    }
}

/// Light of a cell of the ground as the fit takes it, around zero: half levels.
#[inline(always)]
pub fn light_of(ground: i32) -> i32 {
    (ground >> 3) - 256
}

/// Slope between two cells that are two apart.
#[inline(always)]
pub fn slope_of(before: i32, after: i32) -> i32 {
    ((after - before) / 2).clamp(-511, 511)
}

#[derive(Clone, Copy, Default)]
struct Sums {
    /// Products of the terms and the difference; the last is the sum of what is left of the difference.
    of: [i64; 15],
}

/// Fits the change from the ground to the picture, both in sixteenths, over cells that `skip` does not name.
pub fn fit(picture: &[i16], ground: &[i16], skip: &[u8], columns: usize) -> Change {
    let rows = picture.len() / columns.max(1);
    let mut change = Change::default();
    if columns < 3 || rows < 3 {
        return change;
    }
    let mut limit = i32::MAX;
    for _ in 0..ROUNDS {
        let mut sums = Sums::default();
        for row in (1..rows - 1).step_by(EVERY) {
            let line = |row: usize| &ground[row * columns..][..columns];
            let range = row * columns..(row + 1) * columns;
            let lines = [line(row - 1), line(row), line(row + 1)];
            add(&picture[range.clone()], lines, &skip[range], change, limit, &mut sums.of);
        }
        let count = sums.of[0];
        if count < 24 {
            return Change::default();
        }
        limit = ((3 * sums.of[14] / count) as i32).max(32);
        change = solve(&sums.of);
    }
    change
}

/// Adds up a row.
#[multiversion(targets("x86_64+avx2"))]
fn add(picture: &[i16], ground: [&[i16]; 3], skip: &[u8], change: Change, limit: i32, sums: &mut [i64; 15]) {
    let inner = picture.len() - 2;
    let [above, here, below] = ground;
    let (left, right) = (&here[..inner], &here[2..]);
    let (above, here, below) = (&above[1..], &here[1..], &below[1..]);
    let (picture, skip) = (&picture[1..], &skip[1..]);
    let mut row = [0i32; 15];
    for x in 0..inner {
        let ground = i32::from(here[x]);
        let difference = (i32::from(picture[x]) - ground).clamp(-2047, 2047);
        let light = light_of(ground);
        let across = slope_of(i32::from(left[x]), i32::from(right[x]));
        let down = slope_of(i32::from(above[x]), i32::from(below[x]));
        let left_over = (difference - (change.of(light, across, down) >> FRACTION)).abs();
        let keep = -i32::from(left_over < limit && skip[x] == 0);
        let (light, across, down, difference) = (light & keep, across & keep, down & keep, difference & keep);
        row[0] -= keep;
        row[1] += light;
        row[2] += across;
        row[3] += down;
        row[4] += light * light;
        row[5] += light * across;
        row[6] += light * down;
        row[7] += across * across;
        row[8] += across * down;
        row[9] += down * down;
        row[10] += difference;
        row[11] += difference * light;
        row[12] += difference * across;
        row[13] += difference * down;
        row[14] += left_over & keep;
    }
    for (sum, row) in sums.iter_mut().zip(row) {
        *sum += i64::from(row);
    }
}

/// The coefficients with the least squares. Products and quotients of double precision are the same on every machine.
fn solve(sums: &[i64; 15]) -> Change {
    let s = sums.map(|sum| sum as f64);
    let mut a = [
        [s[0], s[1], s[2], s[3], s[10]],
        [s[1], s[4], s[5], s[6], s[11]],
        [s[2], s[5], s[7], s[8], s[12]],
        [s[3], s[6], s[8], s[9], s[13]],
    ];
    // What a flat picture does not show stays zero: a little is added where a term hardly varies.
    for (index, weight) in [0.01, 16.0, 16.0, 16.0].into_iter().enumerate() {
        a[index][index] += s[0] * weight;
    }
    for index in 0..4 {
        // The matrix is positive, so no rows need to change places.
        for other in index + 1..4 {
            let factor = a[other][index] / a[index][index];
            for column in index..5 {
                a[other][column] -= factor * a[index][column];
            }
        }
    }
    let mut k = [0.0; 4];
    for index in (0..4).rev() {
        let mut value = a[index][4];
        for other in index + 1..4 {
            value -= a[index][other] * k[other];
        }
        k[index] = value / a[index][index];
    }
    let fixed = |value: f64, most: f64| (value.clamp(-most, most) * f64::from(1 << FRACTION)) as i32;
    Change { offset: fixed(k[0], 2000.0), gain: fixed(k[1], 8.0), across: fixed(k[2], 1.5), down: fixed(k[3], 1.5) }
}
