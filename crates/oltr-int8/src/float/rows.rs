//! Arithmetic over rows: softmax, reductions, distances.

use multiversion::multiversion;

use super::functions::exp;

/// Sums run in this many lanes on every machine, so that every machine rounds alike.
const LANES: usize = 16;

/// Softmax of one row, in place (ONNX Softmax).
///
/// A row of -inf alone, or one with +inf, has no softmax: it becomes NaN, as ONNX's formula does.
pub fn softmax(row: &mut [f32]) {
    softmax_row(row);
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn softmax_row(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|x| *x = exp(*x - max));
    let sum = sum_of(row, |x| x);
    row.iter_mut().for_each(|x| *x /= sum);
}

/// Rows of `x` brought to mean 0 and variance 1, then scaled and shifted place by place (ONNX LayerNormalization). A row
/// is as long as `scale` and `bias`.
pub fn normalise(x: &[f32], [scale, bias]: [&[f32]; 2], epsilon: f32, y: &mut [f32]) {
    let n = scale.len().max(1);
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        normalise_row(x, [scale, bias], epsilon, y);
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn normalise_row(x: &[f32], [scale, bias]: [&[f32]; 2], epsilon: f32, y: &mut [f32]) {
    let n = x.len() as f32;
    let mean = sum_of(x, |x| x) / n;
    let variance = sum_of(x, |x| (x - mean) * (x - mean)) / n;
    let factor = 1.0 / (variance + epsilon).sqrt();
    for ((x, y), (scale, bias)) in x.iter().zip(y).zip(scale.iter().zip(bias)) {
        *y = (x - mean) * factor * scale + bias;
    }
}

/// `Σ f(x)` in [`LANES`] lanes, these then one after the other, then what is left of the row.
#[inline(always)]
fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|x| f(*x)).sum();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += f(chunk[i]);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// `y[k] = ‖v − c[k]‖₂` for K rows `c` of the length of `v` (the direct feature and the centroids; paper, section 3.2).
///
/// It sums the squared differences themselves, not ‖v‖² − 2v·c + ‖c‖²: a feature that equals a centroid is at
/// distance 0.
pub fn distances(v: &[f32], c: &[f32], y: &mut [f32]) {
    distances_of(v, c, y);
}

/// Rows that are read at a time, from places far apart: they are read once, and processors fetch each stream by itself.
const STREAMS: usize = 4;

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn distances_of(v: &[f32], c: &[f32], y: &mut [f32]) {
    let each = y.len() / STREAMS;
    let row = |number: usize| &c[number * v.len()..][..v.len()];
    for i in 0..each {
        let mut rows = [v; STREAMS];
        for (n, of_stream) in rows.iter_mut().enumerate() {
            *of_stream = row(n * each + i);
        }
        for (n, distance) in distances_to(v, rows).into_iter().enumerate() {
            y[n * each + i] = distance;
        }
    }
    for (number, y) in y.iter_mut().enumerate().skip(STREAMS * each) {
        [*y] = distances_to(v, [row(number)]);
    }
}

/// Distances from `v` to some rows as long as it.
#[inline(always)]
fn distances_to<const N: usize>(v: &[f32], c: [&[f32]; N]) -> [f32; N] {
    let (wide_v, rest_v) = v.as_chunks::<LANES>();
    let mut wide = [wide_v; N];
    let mut y = [0.0f32; N];
    for n in 0..N {
        let rest_c;
        (wide[n], rest_c) = c[n].as_chunks::<LANES>();
        for (v, c) in rest_v.iter().zip(rest_c) {
            y[n] += (v - c) * (v - c);
        }
    }
    let mut sums = [[0.0f32; LANES]; N];
    for (k, v) in wide_v.iter().enumerate() {
        for n in 0..N {
            sums[n] = add_squares(sums[n], v, &wide[n][k]);
        }
    }
    for n in 0..N {
        y[n] = (sums[n].iter().sum::<f32>() + y[n]).sqrt();
    }
    y
}

/// `sums[i] + (v[i] − c[i])²`. By value, in a function of its own: written out in the loop over rows, the sums of four rows
/// stay in memory on aarch64, a number at a time.
#[inline(always)]
fn add_squares(mut sums: [f32; LANES], v: &[f32; LANES], c: &[f32; LANES]) -> [f32; LANES] {
    for i in 0..LANES {
        let d = v[i] - c[i];
        sums[i] += d * d;
    }
    sums
}

/// What becomes of a row (the ONNX operator Reduce… of the same name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum.
    Sum,
    /// Sum over the length.
    Mean,
    /// Root of the sum of squares.
    L2,
    /// The largest; NaN if there is one.
    Max,
    /// The smallest; NaN if there is one.
    Min,
}

impl Reduction {
    /// `y[i]` from row `i` of `x`, whose rows are `width` long, at least 1.
    pub fn run(self, width: usize, x: &[f32], y: &mut [f32]) {
        reduce(self, width, x, y);
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn reduce(reduction: Reduction, width: usize, x: &[f32], y: &mut [f32]) {
    for (row, y) in x.chunks_exact(width).zip(y) {
        *y = match reduction {
            Reduction::Sum => sum_of(row, |x| x),
            Reduction::Mean => sum_of(row, |x| x) / width as f32,
            Reduction::L2 => sum_of(row, |x| x * x).sqrt(),
            Reduction::Max => {
                row.iter().copied().fold(f32::NEG_INFINITY, |m, x| if m > x || m.is_nan() { m } else { x })
            }
            Reduction::Min => row.iter().copied().fold(f32::INFINITY, |m, x| if m < x || m.is_nan() { m } else { x }),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_rows_sum_to_one_and_shifts_do_not_matter() {
        for n in [1, 7, 8, 9, 16, 49, 100] {
            let row = |shift: f32| {
                let mut row: Vec<f32> = (0..n).map(|i| (i * 7 % 13) as f32 + shift).collect();
                softmax(&mut row);
                row
            };
            assert!((row(0.0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert_eq!(row(0.0), row(1024.0));
        }
    }

    #[test]
    fn rows_are_normalised_at_every_width_around_the_lanes() {
        for width in [1, 2, 15, 16, 17, 40] {
            let x: Vec<f32> = (0..2 * width).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            let scale: Vec<f32> = (0..width).map(|i| 1.0 + i as f32 / 8.0).collect();
            let bias: Vec<f32> = (0..width).map(|i| i as f32 / 4.0).collect();
            let mut y = vec![9.0; 2 * width];
            normalise(&x, [&scale, &bias], 0.01, &mut y);
            for (x, y) in x.chunks(width).zip(y.chunks(width)) {
                let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
                for (i, y) in y.iter().enumerate() {
                    let exact = (f64::from(x[i]) - mean) / (variance + 0.01).sqrt() * f64::from(scale[i]);
                    assert!((f64::from(*y) - exact - f64::from(bias[i])).abs() < 1e-5, "{i} of {width}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_softmax_says_so() {
        for row in [[f32::NEG_INFINITY; 3], [0.0, f32::INFINITY, 1.0], [0.0, f32::NAN, 1.0]] {
            let mut y = row;
            softmax(&mut y);
            assert!(y.iter().any(|x| x.is_nan()), "{row:?}: {y:?}");
        }
    }

    #[test]
    fn distances_are_exact_where_they_can_be() {
        for d in [1, 3, 15, 16, 17, 40] {
            let v: Vec<f32> = (0..d).map(|i| i as f32).collect();
            let mut c = v.clone();
            c.extend(v.iter().map(|x| x + 2.0));
            let mut y = [9.0; 2];
            distances(&v, &c, &mut y);
            assert_eq!(y, [0.0, 2.0 * (d as f32).sqrt()], "{d}");
            // Rows that are read four at a time, and what is left of them: row k is k away from v in every place.
            for rows in 0..10 {
                let c: Vec<f32> = (0..rows * d).map(|i| v[i % d] + (i / d) as f32).collect();
                let mut y = vec![9.0; rows];
                distances(&v, &c, &mut y);
                let expected: Vec<f32> = (0..rows).map(|k| ((k * k * d) as f32).sqrt()).collect();
                assert_eq!(y, expected, "{rows} rows of {d}");
            }
        }
    }

    #[test]
    fn each_reduction_is_onnx_at_every_width_around_the_lanes() {
        for width in [1, 2, 15, 16, 17, 33] {
            // Whole numbers: sums are exact in any order.
            let x: Vec<f32> = (0..2 * width).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
            for reduction in [Reduction::Sum, Reduction::Mean, Reduction::L2, Reduction::Max, Reduction::Min] {
                let mut y = [99.0; 2];
                reduction.run(width, &x, &mut y);
                for (row, y) in x.chunks(width).zip(y) {
                    let sum: f32 = row.iter().sum();
                    let expected = match reduction {
                        Reduction::Sum => sum,
                        Reduction::Mean => sum / width as f32,
                        Reduction::L2 => row.iter().map(|x| x * x).sum::<f32>().sqrt(),
                        Reduction::Max => row.iter().copied().reduce(f32::max).unwrap(),
                        Reduction::Min => row.iter().copied().reduce(f32::min).unwrap(),
                    };
                    assert_eq!(y, expected, "{reduction:?} of {width}");
                }
            }
        }
        for reduction in [Reduction::Sum, Reduction::L2, Reduction::Max, Reduction::Min] {
            let mut y = [0.0];
            reduction.run(3, &[1.0, f32::NAN, 2.0], &mut y);
            assert!(y[0].is_nan(), "{reduction:?}");
        }
    }
}
