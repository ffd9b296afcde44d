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
    pub gain: i16,
    pub across: i16,
    pub down: i16,
}

impl Change {
    /// What it makes of the ground, in 1/4096 of a sixteenth.
    #[inline(always)]
    pub fn of(self, gain: i16, across: i16, down: i16) -> i32 {
        let of = |coefficient: i16, term: i16| i32::from(coefficient) * i32::from(term);
        self.offset + of(self.gain, gain) + of(self.across, across) + of(self.down, down)
    }

    /// The part of it that is light.
    #[inline(always)]
    pub fn light(self, gain: i16) -> i32 {
        self.offset + i32::from(self.gain) * i32::from(gain)
    }

    /// The factor that chroma changes by, in 1/4096 more than 1.
    pub fn chroma(self) -> i32 {
        // The term of the gain is an eighth of luma.
        i32::from(self.gain) / 8
    }
}

/// Light of a cell of the ground as the fit takes it, around zero: half levels.
#[inline(always)]
pub fn light_of(ground: i16) -> i16 {
    (ground >> 3) - 256
}

/// Slope between two cells that are two apart.
#[inline(always)]
pub fn slope_of(before: i16, after: i16) -> i16 {
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

/// Cells whose terms are put together before they are added up.
const TOGETHER: usize = 64;

/// Adds up a row: first the terms of each cell, 0 where it is left out, then their products. Terms fit into 16 bits and sums
/// over a row into 32, so a vector holds many.
#[multiversion(targets("x86_64+avx2"))]
fn add(picture: &[i16], ground: [&[i16]; 3], skip: &[u8], change: Change, limit: i32, sums: &mut [i64; 15]) {
    let inner = picture.len() - 2;
    let limit = limit.min(i16::MAX.into()) as i16;
    // Arrays of their own, so that the compiler sees that none lies over another.
    let (mut light, mut across, mut down) = ([0i16; TOGETHER], [0i16; TOGETHER], [0i16; TOGETHER]);
    let (mut difference, mut left_over, mut kept) = ([0i16; TOGETHER], [0i16; TOGETHER], [0i16; TOGETHER]);
    let mut row = [0; 15];
    for from in (0..inner).step_by(TOGETHER) {
        let count = (inner - from).min(TOGETHER);
        let [above, here, below] = ground.map(|line| &line[from..][..count + 2]);
        let (left, right) = (&here[..count], &here[2..]);
        let (above, here, below) = (&above[1..][..count], &here[1..][..count], &below[1..][..count]);
        let (picture, skip) = (&picture[from + 1..][..count], &skip[from + 1..][..count]);
        for x in 0..count {
            let apart = (picture[x] - here[x]).clamp(-2047, 2047);
            let (lit, x_slope) = (light_of(here[x]), slope_of(left[x], right[x]));
            let y_slope = slope_of(above[x], below[x]);
            let explained = (change.of(lit, x_slope, y_slope) >> FRACTION).clamp(-8191, 8191) as i16;
            let rest = (apart - explained).abs();
            let keep = -i16::from(rest < limit) & -i16::from(skip[x] == 0);
            kept[x] = keep;
            light[x] = lit & keep;
            across[x] = x_slope & keep;
            down[x] = y_slope & keep;
            difference[x] = apart & keep;
            left_over[x] = rest & keep;
        }
        let some = [
            -sum(&kept[..count]),
            sum(&light[..count]),
            sum(&across[..count]),
            sum(&down[..count]),
            product(&light[..count], &light),
            product(&light[..count], &across),
            product(&light[..count], &down),
            product(&across[..count], &across),
            product(&across[..count], &down),
            product(&down[..count], &down),
            sum(&difference[..count]),
            product(&difference[..count], &light),
            product(&difference[..count], &across),
            product(&difference[..count], &down),
            sum(&left_over[..count]),
        ];
        for (row, some) in row.iter_mut().zip(some) {
            *row += some;
        }
    }
    for (sum, row) in sums.iter_mut().zip(row) {
        *sum += i64::from(row);
    }
}

#[inline(always)]
fn sum(a: &[i16]) -> i32 {
    a.iter().map(|&a| i32::from(a)).sum()
}

#[inline(always)]
fn product(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
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
    let small = |value: f64, most: f64| fixed(value, most) as i16;
    Change { offset: fixed(k[0], 2000.0), gain: small(k[1], 7.9), across: small(k[2], 1.5), down: small(k[3], 1.5) }
}
