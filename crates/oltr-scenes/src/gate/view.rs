//! What a picture as a whole looks like: dark, without colours, smooth, or of another place.

use multiversion::multiversion;

use super::shrink::Small;

/// Slopes up to here may be noise.
const NOISE: i16 = 4 << 4;

/// Sums over one picture, in sixteenths of a level a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Thousandths of the cells that are brighter than 16 levels.
    pub bright: u32,
    /// Mean of what chroma is away from gray.
    pub colour: u32,
    /// Mean slope of luma, as far as it is more than noise.
    pub texture: u32,
}

impl Look {
    /// Looks at the cells of every second row that are `shown`. Where none is, it is bright: nothing says that it is dark.
    pub fn of(picture: &Small, shown: &[u8]) -> Look {
        let columns = picture.columns;
        let mut sums = [0u64; 4];
        for row in (0..picture.rows).step_by(2) {
            let range = row * columns..(row + 1) * columns;
            let below = (row + 1).min(picture.rows - 1) * columns;
            let lines = [&picture.y[range.clone()], &picture.y[below..][..columns]];
            let chroma = [&picture.u[range.clone()], &picture.v[range.clone()]];
            for (sum, part) in sums.iter_mut().zip(add(lines, chroma, &shown[range])) {
                *sum += u64::from(part);
            }
        }
        let cells = sums[3];
        if cells == 0 {
            return Look { bright: 1000, ..Look::default() };
        }
        let mean = |sum: u64| (sum / cells) as u32;
        Look { bright: mean(sums[0] * 1000), colour: mean(sums[1]), texture: mean(sums[2]) }
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn add(y: [&[i16]; 2], chroma: [&[i16]; 2], shown: &[u8]) -> [u32; 4] {
    let length = y[0].len();
    let ([here, below], [u, v]) = (y.map(|line| &line[..length]), chroma.map(|line| &line[..length]));
    let shown = &shown[..length];
    let mut sums = [0i32; 4];
    for x in 0..length {
        let keep = -i32::from(shown[x]);
        sums[0] += i32::from(here[x] > 16 << 4) & keep;
        sums[1] += (i32::from(u[x].abs()) + i32::from(v[x].abs())) & keep;
        sums[2] += i32::from(((here[x] - below[x]).abs() - NOISE).max(0)) & keep;
        sums[3] -= keep;
    }
    for x in 1..length {
        sums[2] += i32::from(((here[x] - here[x - 1]).abs() - NOISE).max(0)) & -i32::from(shown[x]);
    }
    sums.map(|sum| sum as u32)
}

/// A quarter of the cells of a ground, to compare with another one.
#[derive(Debug)]
pub struct Memory {
    cells: Box<[u8]>,
    columns: usize,
    rows: usize,
}

impl Memory {
    pub fn new(cells: usize) -> Memory {
        Memory { cells: vec![0; cells / 4 + cells.isqrt() + 4].into(), columns: 0, rows: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.cells.len()
    }

    pub fn clear(&mut self) {
        (self.columns, self.rows) = (0, 0);
    }

    /// Keeps every second cell of every second row.
    pub fn keep(&mut self, columns: usize, rows: usize, luma: impl Fn(usize) -> u8) {
        (self.columns, self.rows) = (columns, rows);
        let positions =
            (0..rows).step_by(2).flat_map(|row| (0..columns).step_by(2).map(move |column| row * columns + column));
        for (kept, place) in self.cells.iter_mut().zip(positions) {
            *kept = luma(place);
        }
    }

    /// Whether another picture shows the same place: its slopes go the same way, whatever the light. `None` if either
    /// has hardly any, or nothing was kept. Cells without luma are passed over.
    pub fn is_like(&self, luma: impl Fn(usize) -> Option<u8>) -> Option<bool> {
        let (columns, rows) = (self.columns.div_ceil(2), self.rows.div_ceil(2));
        if columns < 4 || rows < 4 || columns * rows > self.cells.len() {
            return None;
        }
        let (mut common, mut own, mut others, mut compared) = (0i64, 0i64, 0i64, 0i64);
        for row in 0..rows {
            let mut last: Option<(i64, i64)> = None;
            for column in 0..columns {
                let kept = i64::from(self.cells[row * columns + column]);
                let now = luma(row * 2 * self.columns + column * 2).map(|luma| (kept, i64::from(luma)));
                if let (Some(last), Some(now)) = (last, now) {
                    let (a, b): (i64, i64) = (now.0 - last.0, now.1 - last.1);
                    common += a * b;
                    own += a * a;
                    others += b * b;
                    compared += 1;
                }
                last = now;
            }
        }
        if compared == 0 || own < compared || others < compared {
            return None;
        }
        // Their correlation is above a half.
        Some(common > 0 && i128::from(common) * i128::from(common) * 4 > i128::from(own) * i128::from(others))
    }
}
