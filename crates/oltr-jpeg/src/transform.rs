//! Converts coefficients to samples: the integer inverse cosine transform to a block of 8, 4, 2 or 1 samples a side.
//!
//! The algorithm of Loeffler, Ligtenberg and Moschytz with 13 bits of fraction, and with 2 bits kept between columns
//! and rows. It rounds where libjpeg rounds, so every decoder that calls its transform "islow" gives the same samples.
//! Nothing is rounded within a pass, so a pass is a product with an integer matrix. That form skips zeros, needs no
//! transposition, and is one that the compiler vectorises.
//!
//! A sample of a smaller block is the mean of the samples in its place, computed from the lowest coefficients only: as
//! many as the block has samples. libjpeg-turbo (jidctred.c) uses the other coefficients too. They are mostly noise and
//! would have to be decoded.

use super::blocks::Block;

const FRACTION: u32 = 13;
const KEPT: u32 = 2;

/// `value` with 13 bits of fraction.
const fn fixed(value: f64) -> i32 {
    let scaled = value * (1 << FRACTION) as f64;
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

/// One pass over eight values, before it is rounded.
const fn pass(x: [i32; 8]) -> [i32; 8] {
    // The even part.
    let z1 = (x[2] + x[6]) * fixed(0.541_196_100);
    let t2 = z1 - x[6] * fixed(1.847_759_065);
    let t3 = z1 + x[2] * fixed(0.765_366_865);
    let (t0, t1) = ((x[0] + x[4]) << FRACTION, (x[0] - x[4]) << FRACTION);
    let (a0, a1, a2, a3) = (t0 + t3, t1 + t2, t1 - t2, t0 - t3);
    // The odd part.
    let (o0, o1, o2, o3) = (x[7], x[5], x[3], x[1]);
    let z5 = (o0 + o2 + o1 + o3) * fixed(1.175_875_602);
    let z1 = -(o0 + o3) * fixed(0.899_976_223);
    let z2 = -(o1 + o2) * fixed(2.562_915_447);
    let z3 = z5 - (o0 + o2) * fixed(1.961_570_560);
    let z4 = z5 - (o1 + o3) * fixed(0.390_180_644);
    let o0 = o0 * fixed(0.298_631_336) + z1 + z3;
    let o1 = o1 * fixed(2.053_119_869) + z2 + z4;
    let o2 = o2 * fixed(3.072_711_026) + z2 + z3;
    let o3 = o3 * fixed(1.501_321_110) + z1 + z4;
    [a0 + o3, a1 + o2, a2 + o1, a3 + o0, a3 - o0, a2 - o1, a1 - o2, a0 - o3]
}

/// Contribution of each coefficient of a row to each of eight samples.
const FULL: [[i32; 8]; 8] = {
    let mut matrix = [[0; 8]; 8];
    let mut k = 0;
    while k < 8 {
        let mut unit = [0; 8];
        unit[k] = 1;
        matrix[k] = pass(unit);
        k += 1;
    }
    matrix
};

/// The same for four samples from the four lowest coefficients; each sample is the mean of two by two.
const HALF: [[i32; 4]; 4] = {
    const fn odd(a: f64, b: f64) -> [i32; 4] {
        [fixed(a), fixed(b), -fixed(b), -fixed(a)]
    }
    let c2 = fixed(0.923_879_533);
    [[1 << FRACTION; 4], odd(1.281_457_724, 0.530_797_169), [c2, -c2, -c2, c2], odd(0.449_988_112, -1.086_367_402)]
};

/// The same for two samples from the two lowest coefficients; each sample is the mean of four by four.
const QUARTER: [[i32; 2]; 2] = [[1 << FRACTION; 2], [fixed(0.906_127_446), -fixed(0.906_127_446)]];

/// The last coefficient, in coding order, that a block of `size` samples a side needs.
pub fn last(size: usize) -> usize {
    match size {
        8 => 63,
        4 => 24,
        2 => 4,
        _ => 0,
    }
}

/// Writes the `size`×`size` samples of `block` into rows of `stride`. `steps` are the quantisation steps. `used` has a
/// bit for each coefficient that is not zero, and may have more.
#[inline(always)]
pub fn samples(size: usize, block: &Block, steps: &[u16; 64], used: u64, to: &mut [u8], stride: usize) {
    let first = i32::from(block[0]).wrapping_mul(steps[0].into());
    if used <= 1 || size == 1 {
        let sample = to_byte(first.wrapping_add(4) >> 3);
        for row in 0..size {
            to[row * stride..][..size].fill(sample);
        }
        return;
    }
    match size {
        8 => product(&FULL, block, steps, used, to, stride),
        4 => product(&HALF, block, steps, used, to, stride),
        _ => product(&QUARTER, block, steps, used, to, stride),
    }
}

/// Both passes with a `matrix` whose rows belong to the lowest coefficients.
#[inline(always)]
fn product<const N: usize>(
    matrix: &[[i32; N]; N],
    block: &Block,
    steps: &[u16; 64],
    used: u64,
    to: &mut [u8],
    stride: usize,
) {
    // Number of leading rows and columns with values other than zero.
    let rows = (71 - used.leading_zeros() as usize) / 8;
    let mut folded = used | used >> 32;
    folded |= folded >> 16;
    folded |= folded >> 8;
    let columns = 8 - (folded as u8).leading_zeros() as usize;
    let (coefficients, _) = block.as_chunks::<8>();
    let (steps, _) = steps.as_chunks::<8>();
    let shift = FRACTION - KEPT;
    let mut between = [[1 << (shift - 1); N]; N];
    for ((row, steps), weights) in coefficients.iter().zip(steps).zip(matrix).take(rows) {
        let mut values = [0; N];
        for ((value, coefficient), step) in values.iter_mut().zip(row).zip(steps) {
            // Damaged data may overflow 32 bits; its result does not matter.
            *value = i32::from(*coefficient).wrapping_mul(i32::from(*step));
        }
        for (sums, weight) in between.iter_mut().zip(weights) {
            for (sum, value) in sums.iter_mut().zip(&values) {
                *sum = i32::wrapping_add(*sum, value.wrapping_mul(*weight));
            }
        }
    }
    for row in &mut between {
        for value in row {
            *value >>= shift;
        }
    }
    let shift = FRACTION + KEPT + 3;
    for (y, row) in between.iter().enumerate() {
        let mut sums = [1 << (shift - 1); N];
        for (value, weights) in row.iter().zip(matrix).take(columns) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = i32::wrapping_add(*sum, value.wrapping_mul(*weight));
            }
        }
        for (sample, sum) in to[y * stride..][..N].iter_mut().zip(&sums) {
            *sample = to_byte(*sum >> shift);
        }
    }
}

#[inline(always)]
fn to_byte(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample of a block of `size` a side, by T.81, A.3.3: the mean of its area, from the lowest coefficients.
    fn exact(size: usize, block: &Block, x: usize, y: usize) -> f64 {
        let wave = |k: usize, at: usize| match k {
            0 => 1.0,
            _ => {
                let all = (at * 8 / size..(at + 1) * 8 / size).map(|n| ((2 * n + 1) * k) as f64);
                let sum = all.map(|n| 2_f64.sqrt() * (n * std::f64::consts::PI / 16.0).cos()).sum::<f64>();
                sum * size as f64 / 8.0
            }
        };
        let terms = (0..size * size).map(|i| (i % size, i / size));
        terms.map(|(u, v)| f64::from(block[v * 8 + u]) * wave(u, x) * wave(v, y)).sum::<f64>() / 8.0
    }

    #[test]
    fn each_size_is_means_of_the_lowest_coefficients() {
        let mut random = 3_u64;
        for round in 0..2000 {
            let (mut block, mut used) = ([0_i16; 64], 0_u64);
            for (place, coefficient) in block.iter_mut().enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if (random >> 40) % 5 < round % 6 {
                    *coefficient = ((random >> 48) % 121) as i16 - 60;
                    used |= 1 << place;
                }
            }
            for size in [8, 4, 2, 1] {
                let mut samples = [0; 8 * 11];
                super::samples(size, &block, &[1; 64], used, &mut samples, 11);
                for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
                    let right = (exact(size, &block, x, y) + 128.0).clamp(0.0, 255.0);
                    let given = f64::from(samples[y * 11 + x]);
                    assert!((given - right).abs() < 0.75, "{size}: {given} for {right}");
                }
            }
        }
    }
}
