//! From coefficients to samples: the inverse cosine transform in whole numbers, to a block of 8, 4, 2 or 1 samples a side.
//!
//! The algorithm of Loeffler, Ligtenberg and Moschytz with 13 bits of fraction and with 2 bits kept between the columns and
//! the rows, rounded where libjpeg rounds: every decoder that calls its transform "islow" gives the same samples. Nothing is
//! rounded within a pass, so that a pass is a product with a matrix of whole numbers; that leaves out what is zero, needs no
//! exchange of rows and columns, and is what the compiler makes vectors of. The smaller blocks are libjpeg's too (jidctred.c).

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

/// What each coefficient of a row adds to each of eight samples.
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

/// The same for four samples; a bit more of fraction.
const HALF: [[i32; 4]; 8] = {
    const fn even(a: i32, b: i32) -> [i32; 4] {
        [a, b, b, a]
    }
    const fn odd(a: i32, b: i32) -> [i32; 4] {
        [a, b, -b, -a]
    }
    [
        even(2 << FRACTION, 2 << FRACTION),
        odd(fixed(2.562_915_447), fixed(1.061_594_337)),
        even(fixed(1.847_759_065), -fixed(1.847_759_065)),
        odd(fixed(0.899_976_223), -fixed(2.172_734_803)),
        [0; 4],
        odd(-fixed(0.601_344_887), fixed(1.451_774_981)),
        even(-fixed(0.765_366_865), fixed(0.765_366_865)),
        odd(-fixed(0.509_795_579), -fixed(0.211_164_243)),
    ]
};

/// The same for two samples; two bits more of fraction.
const QUARTER: [[i32; 2]; 8] = {
    const fn odd(a: i32) -> [i32; 2] {
        [a, -a]
    }
    [
        [4 << FRACTION; 2],
        odd(fixed(3.624_509_785)),
        [0; 2],
        odd(-fixed(1.272_758_580)),
        [0; 2],
        odd(fixed(0.850_430_095)),
        [0; 2],
        odd(-fixed(0.720_959_822)),
    ]
};

/// Writes the `size`×`size` samples of `block`, whose coefficients count in steps of `steps`, into rows of `stride`. `used`
/// has a bit for each coefficient that is not zero, and may have more.
#[inline(always)]
pub fn samples(size: usize, block: &Block, steps: &[u16; 64], used: u64, to: &mut [u8], stride: usize) {
    let first = i32::from(block[0]).wrapping_mul(steps[0].into());
    if used <= 1 || size == 1 {
        let sample = to_byte(first.wrapping_add(4) >> 3);
        for row in to.chunks_mut(stride).take(size) {
            row[..size].fill(sample);
        }
        return;
    }
    match size {
        8 => product(&FULL, 0, block, steps, used, to, stride),
        4 => product(&HALF, 1, block, steps, used, to, stride),
        _ => product(&QUARTER, 2, block, steps, used, to, stride),
    }
}

/// Both passes with a `matrix` that has `more` bits of fraction.
#[inline(always)]
fn product<const N: usize>(
    matrix: &[[i32; N]; 8],
    more: u32,
    block: &Block,
    steps: &[u16; 64],
    used: u64,
    to: &mut [u8],
    stride: usize,
) {
    // Rows and columns behind which all is zero.
    let rows = (71 - used.leading_zeros() as usize) / 8;
    let mut folded = used | used >> 32;
    folded |= folded >> 16;
    folded |= folded >> 8;
    let columns = 8 - (folded as u8).leading_zeros() as usize;
    let (coefficients, _) = block.as_chunks::<8>();
    let (steps, _) = steps.as_chunks::<8>();
    let shift = FRACTION - KEPT + more;
    let mut between = [[1 << (shift - 1); 8]; N];
    for ((row, steps), weights) in coefficients.iter().zip(steps).zip(matrix).take(rows) {
        let mut values = [0; 8];
        for ((value, coefficient), step) in values.iter_mut().zip(row).zip(steps) {
            // Damaged data may exceed 32 bits; what comes out of it does not matter.
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
    let shift = FRACTION + KEPT + 3 + more;
    for (row, to) in between.iter().zip(to.chunks_mut(stride)) {
        let mut sums = [1 << (shift - 1); N];
        for (value, weights) in row.iter().zip(matrix).take(columns) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = i32::wrapping_add(*sum, value.wrapping_mul(*weight));
            }
        }
        for (sample, sum) in to[..N].iter_mut().zip(&sums) {
            *sample = to_byte(*sum >> shift);
        }
    }
}

#[inline(always)]
fn to_byte(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}
