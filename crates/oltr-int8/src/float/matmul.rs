//! Products of matrices of numbers.

use multiversion::multiversion;
use std::ops::Range;

/// Columns of a panel: what a tile holds in registers, two rows of it.
pub const PANEL: usize = 32;

/// Rows of a tile.
pub const ROWS: usize = 2;

/// Panels that one row is multiplied with at a time, far from each other: they are read once, and processors fetch each
/// stream by itself. More sums would not stay in AVX2's registers.
const STREAMS: usize = 3;

/// The second matrix of a product, `[k, n]`, in panels of [`PANEL`] columns: `[panel][k][column]`, zeros beyond `n`.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    k: usize,
    n: usize,
    values: &'a [f32],
}

impl<'a> Panels<'a> {
    /// Numbers that panels of a `[k, n]` matrix take.
    pub fn volume(k: usize, n: usize) -> usize {
        n.div_ceil(PANEL) * PANEL * k
    }

    /// Packs a matrix of which `b[row * strides[0] + column * strides[1]]` is an element.
    pub fn pack([k, n]: [usize; 2], b: &[f32], strides: [usize; 2], to: &mut [f32]) {
        for (panel, to) in to.chunks_exact_mut((PANEL * k).max(1)).enumerate() {
            let first = panel * PANEL;
            let columns = PANEL.min(n.saturating_sub(first));
            for (row, to) in to.chunks_exact_mut(PANEL).enumerate() {
                let from = &b[row * strides[0]..];
                if strides[1] == 1 {
                    to[..columns].copy_from_slice(&from[first..first + columns]);
                } else {
                    for (column, to) in to[..columns].iter_mut().enumerate() {
                        *to = from[(first + column) * strides[1]];
                    }
                }
                to[columns..].fill(0.0);
            }
        }
    }

    /// As [`Panels::pack`], of elements that `b` gives by their place, one by one.
    pub fn pack_from([k, n]: [usize; 2], b: &dyn Fn(usize) -> f32, strides: [usize; 2], to: &mut [f32]) {
        for (panel, to) in to.chunks_exact_mut((PANEL * k).max(1)).enumerate() {
            for (row, to) in to.chunks_exact_mut(PANEL).enumerate() {
                for (column, to) in (PANEL * panel..).zip(to) {
                    *to = if column < n { b(row * strides[0] + column * strides[1]) } else { 0.0 };
                }
            }
        }
    }

    /// What [`Panels::pack`] or [`Panels::pack_from`] made.
    ///
    /// # Panics
    /// If `values` is shorter than [`Panels::volume`].
    pub fn new([k, n]: [usize; 2], values: &'a [f32]) -> Panels<'a> {
        Panels { k, n, values: &values[..Panels::volume(k, n)] }
    }

    /// Columns `columns` of `a × b + bias` for the rows of `a`, `[m, k]`: each result is the sum over k in order, then the
    /// bias, if there is one. `columns` begin at a multiple of [`PANEL`]; `y` has a row of `columns.len()` for each
    /// row of `a`.
    ///
    /// # Panics
    /// If a slice is too short.
    pub fn product(self, a: &[f32], bias: Option<&[f32]>, columns: Range<usize>, y: &mut [f32]) {
        assert!((columns.is_empty() || columns.start.is_multiple_of(PANEL)) && columns.end <= self.n);
        if self.k == 0 || columns.is_empty() {
            let bias = bias.map(|b| &b[columns.clone()]);
            y.chunks_exact_mut(columns.len().max(1)).for_each(|y| match bias {
                Some(bias) => y.copy_from_slice(bias),
                None => y.fill(0.0),
            });
            return;
        }
        product(self, a, bias, columns, y);
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn product(b: Panels, a: &[f32], bias: Option<&[f32]>, columns: Range<usize>, y: &mut [f32]) {
    let (width, k) = (columns.len(), b.k);
    let count = width.div_ceil(PANEL);
    let panel = |number: usize| &b.values[columns.start * k..][number * PANEL * k..][..PANEL * k];
    let bias = bias.map(|bias| &bias[columns.clone()]);
    let finish = |sums: &[f32; PANEL], number: usize, y: &mut [f32]| {
        let positions = number * PANEL..width.min((number + 1) * PANEL);
        finish(sums, bias.map(|bias| &bias[positions.clone()]), &mut y[positions]);
    };
    if a.len() == k {
        let each = count / STREAMS;
        for i in 0..each {
            let mut panels = [b.values; STREAMS];
            for (stream, of_stream) in panels.iter_mut().enumerate() {
                *of_stream = panel(stream * each + i);
            }
            for (stream, sums) in tile([a], panels)[0].iter().enumerate() {
                finish(sums, stream * each + i, y);
            }
        }
        for number in STREAMS * each..count {
            finish(&tile([a], [panel(number)])[0][0], number, y);
        }
        return;
    }
    for number in 0..count {
        let panel = panel(number);
        for (a, y) in a.chunks(ROWS * k).zip(y.chunks_mut(ROWS * width)) {
            match a.len() / k {
                ROWS => {
                    let sums = tile([&a[..k], &a[k..]], [panel]);
                    for ([sums], y) in sums.iter().zip(y.chunks_exact_mut(width)) {
                        finish(sums, number, y);
                    }
                }
                _ => finish(&tile([&a[..k]], [panel])[0][0], number, y),
            }
        }
    }
}

/// The sums of rows with the columns of panels.
#[inline(always)]
fn tile<const M: usize, const P: usize>(a: [&[f32]; M], panels: [&[f32]; P]) -> [[[f32; PANEL]; P]; M] {
    let mut sums = [[[0.0f32; PANEL]; P]; M];
    let mut rows = [&[][..]; P];
    for (rows, panel) in rows.iter_mut().zip(panels) {
        *rows = panel.as_chunks::<PANEL>().0;
    }
    for i in 0..rows[0].len() {
        for m in 0..M {
            let x = a[m][i];
            for p in 0..P {
                let row = &rows[p][i];
                for j in 0..PANEL {
                    sums[m][p][j] += x * row[j];
                }
            }
        }
    }
    sums
}

#[inline(always)]
fn finish(sums: &[f32; PANEL], bias: Option<&[f32]>, y: &mut [f32]) {
    match bias {
        Some(bias) => y.iter_mut().zip(sums.iter().zip(bias)).for_each(|(y, (s, b))| *y = s + b),
        None => y.copy_from_slice(&sums[..y.len()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_exact_at_every_size_around_the_tile() {
        // One row goes along three panels at a time.
        let rows = [[1, 1, 1], [1, 5, 31], [1, 3, 95], [1, 4, 97], [1, 2, 200], [1, 7, 384]];
        for [m, k, n] in rows.into_iter().chain([[2, 3, 32], [3, 4, 33], [4, 7, 64], [5, 2, 70], [2, 0, 40]]) {
            // Whole numbers: sums are exact.
            let number = |i: usize| ((i * 37 + i / 5) % 19) as f32 - 9.0;
            let a: Vec<f32> = (0..m * k).map(number).collect();
            let b: Vec<f32> = (0..k * n).map(|i| number(i + 3)).collect();
            let transposed: Vec<f32> = (0..k * n).map(|i| b[i % k.max(1) * n + i / k.max(1)]).collect();
            let bias: Vec<f32> = (0..n).map(|i| i as f32 * 0.5).collect();
            for (b_given, strides) in [(&b, [n, 1]), (&transposed, [1, k])] {
                let mut packed = vec![f32::NAN; Panels::volume(k, n)];
                Panels::pack([k, n], b_given, strides, &mut packed);
                let panels = Panels::new([k, n], &packed);
                let cut = (n / 2).next_multiple_of(PANEL).min(n);
                for bias in [None, Some(&bias[..])] {
                    for columns in [0..n, 0..cut, cut..n] {
                        let mut y = vec![f32::NAN; m * columns.len()];
                        panels.product(&a, bias, columns.clone(), &mut y);
                        for (i, got) in y.iter().enumerate() {
                            let (row, column) = (i / columns.len(), columns.start + i % columns.len());
                            let sum: f32 = (0..k).map(|j| a[row * k + j] * b[j * n + column]).sum();
                            assert_eq!(*got, sum + bias.map_or(0.0, |b| b[column]), "{m} {k} {n} at {row},{column}");
                        }
                    }
                }
            }
        }
    }
}
