//! Cells that moved to connected pieces.

use multiversion::multiversion;

use super::ground::{CLEAR, STRONG};

/// Pieces of one picture; of more the largest are kept.
pub const MOST_PIECES: usize = crate::finder::MOST_REGIONS;

/// A connected piece of the mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// First and last column and row.
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
    /// Cells, and how many of them differ strongly.
    pub cells: u32,
    pub strong: u32,
    /// Sums of luma and chroma, and of how restless the cells are.
    pub colour: [i32; 3],
    pub restless: u32,
    /// Sums of the steps of luma across its outline: in the picture, and in the ground.
    pub outline: [u32; 2],
    /// One of its cells.
    pub start: u32,
}

/// What is known of a cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub score: u8,
    /// Luma and chroma, in sixteenths of a level.
    pub colour: [i16; 3],
    pub restless: u8,
    /// Luma of the ground, in sixteenths of a level.
    pub ground: i16,
}

/// Memory of the mask.
#[derive(Debug)]
pub struct Mask {
    /// A byte a cell: 0, or 1 for what moved; [`Mask::pieces`] makes it 2.
    pub cells: Box<[u8]>,
    other: Box<[u8]>,
    stack: Box<[u32]>,
}

impl Mask {
    pub fn new(cells: usize) -> Mask {
        let bytes = || vec![0; cells].into_boxed_slice();
        Mask { cells: bytes(), other: bytes(), stack: vec![0; cells / 2 + 1].into() }
    }

    pub fn bytes(&self) -> usize {
        self.cells.len() * 2 + self.stack.len() * 4
    }

    /// Takes out what stands alone, and closes gaps: the majority of 3x3, then a cell more, then a cell less.
    pub fn tidy(&mut self, columns: usize, rows: usize) {
        let cells = columns * rows;
        if columns < 3 || rows < 3 {
            return;
        }
        let (a, b) = (&mut self.cells[..cells], &mut self.other[..cells]);
        nine(a, b, columns, rows, 5);
        nine(b, a, columns, rows, 1);
        nine(a, b, columns, rows, 9);
        a.copy_from_slice(b);
    }

    /// Finds the pieces with at least so many cells, the largest first.
    pub fn pieces(
        &mut self,
        columns: usize,
        rows: usize,
        known: &impl Fn(usize) -> Cell,
        least: u32,
        out: &mut heapless::Vec<Piece, MOST_PIECES>,
    ) {
        let cells = columns * rows;
        out.clear();
        let mut at = 0;
        while at < cells {
            // Most of a picture is ground: eight cells at a time.
            if at + 8 <= cells && self.cells[at..at + 8] == [0; 8] {
                at += 8;
                continue;
            }
            if self.cells[at] == 1 {
                let piece = self.flood(at, columns, rows, known);
                if piece.cells >= least {
                    if out.is_full() {
                        let smallest = (0..out.len()).min_by_key(|&index| out[index].cells).unwrap_or(0);
                        if out[smallest].cells < piece.cells {
                            out[smallest] = piece;
                        }
                    } else {
                        out.push(piece).unwrap_or_default();
                    }
                }
            }
            at += 1;
        }
        out.sort_unstable_by_key(|piece| (u32::MAX - piece.cells, piece.start));
    }

    /// Marks the piece around a cell. The stack holds each cell once, as cells are marked when they are put there.
    fn flood(&mut self, start: usize, columns: usize, rows: usize, known: &impl Fn(usize) -> Cell) -> Piece {
        let mut piece = Piece { left: u32::MAX, top: u32::MAX, start: start as u32, ..Piece::default() };
        let mut depth = 0;
        self.cells[start] = 2;
        let mut next = Some(start);
        while let Some(at) = next {
            let (x, y) = (at % columns, at / columns);
            piece.left = piece.left.min(x as u32);
            piece.right = piece.right.max(x as u32);
            piece.top = piece.top.min(y as u32);
            piece.bottom = piece.bottom.max(y as u32);
            piece.cells += 1;
            let cell = known(at);
            piece.strong += u32::from(cell.score >= STRONG);
            for (sum, colour) in piece.colour.iter_mut().zip(cell.colour) {
                *sum += i32::from(colour);
            }
            piece.restless += u32::from(cell.restless);
            let (left, right) = (x.saturating_sub(1), (x + 1).min(columns - 1));
            let beside = [(x > 0, at.wrapping_sub(1)), (x + 1 < columns, at + 1)];
            let upright = [(y > 0, at.wrapping_sub(columns)), (at + columns < self.cells.len(), at + columns)];
            for (_, other) in beside.into_iter().chain(upright).filter(|&(is_there, _)| is_there) {
                if self.cells[other] == 0 {
                    let other = known(other);
                    piece.outline[0] += u32::from(cell.colour[0].abs_diff(other.colour[0]));
                    piece.outline[1] += u32::from(cell.ground.abs_diff(other.ground));
                }
            }
            for row in y.saturating_sub(1)..=(y + 1).min(rows - 1) {
                for other in row * columns + left..=row * columns + right {
                    if self.cells[other] == 1 && depth < self.stack.len() {
                        self.cells[other] = 2;
                        self.stack[depth] = other as u32;
                        depth += 1;
                    }
                }
            }
            next = (depth > 0).then(|| {
                depth -= 1;
                self.stack[depth] as usize
            });
        }
        piece
    }
}

/// Cells that are shown and clear; how many there are.
#[multiversion(targets("x86_64+avx2"))]
pub fn clear(score: &[u8], shown: &[u8], out: &mut [u8]) -> u32 {
    let mut count = 0;
    // Parts of which a byte counts the cells.
    for ((score, shown), out) in score.chunks(128).zip(shown.chunks(128)).zip(out.chunks_mut(128)) {
        let mut part = 0u8;
        for ((&score, &shown), out) in score.iter().zip(shown).zip(out) {
            *out = u8::from(score >= CLEAR) & shown;
            part += *out;
        }
        count += u32::from(part);
    }
    count
}

/// 1 where at least `rule` of the cells around one and it are 1; beyond the border lies what is at the border.
fn nine(source: &[u8], target: &mut [u8], columns: usize, rows: usize, rule: u8) {
    let mut sums = [0; crate::settings::MOST_COLUMNS as usize + 2];
    for row in 0..rows {
        let line = |row: usize| &source[row * columns..][..columns];
        let lines = [line(row.saturating_sub(1)), line(row), line((row + 1).min(rows - 1))];
        nine_row(lines, &mut sums, &mut target[row * columns..][..columns], rule);
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn nine_row(lines: [&[u8]; 3], sums: &mut [u8], out: &mut [u8], rule: u8) {
    let length = out.len();
    let [above, here, below] = lines.map(|line| &line[..length]);
    let inner = &mut sums[1..=length];
    for x in 0..length {
        inner[x] = above[x] + here[x] + below[x];
    }
    (sums[0], sums[length + 1]) = (sums[1], sums[length]);
    let sums = &sums[..length + 2];
    for x in 0..length {
        out[x] = u8::from(sums[x] + sums[x + 1] + sums[x + 2] >= rule);
    }
}
