//! From coefficients to samples: the inverse cosine transform in whole numbers.
//!
//! The algorithm of Loeffler, Ligtenberg and Moschytz with 13 bits of fraction and with 2 bits kept between the columns and
//! the rows, rounded where libjpeg rounds: every decoder that calls its transform "islow" gives the same samples.

use super::blocks::Block;

const FRACTION: i32 = 13;
const KEPT: i32 = 2;

/// `value` with 13 bits of fraction.
const fn fixed(value: f64) -> i32 {
    (value * (1 << FRACTION) as f64 + 0.5) as i32
}

/// One pass over eight values, whose results have `shift` bits more than are kept.
#[inline]
fn pass(x: [i32; 8], shift: i32) -> [i32; 8] {
    // Damaged data may exceed 32 bits; what comes out of it does not matter.
    let mul = |a: i32, b: f64| a.wrapping_mul(fixed(b));
    let neg = |a: i32, b: f64| a.wrapping_mul(-fixed(b));
    let add = i32::wrapping_add;
    // The even part.
    let z1 = mul(add(x[2], x[6]), 0.541_196_100);
    let t2 = add(z1, neg(x[6], 1.847_759_065));
    let t3 = add(z1, mul(x[2], 0.765_366_865));
    let t0 = add(x[0], x[4]).wrapping_shl(FRACTION as u32);
    let t1 = x[0].wrapping_sub(x[4]).wrapping_shl(FRACTION as u32);
    let (a0, a3) = (add(t0, t3), t0.wrapping_sub(t3));
    let (a1, a2) = (add(t1, t2), t1.wrapping_sub(t2));
    // The odd part.
    let (o0, o1, o2, o3) = (x[7], x[5], x[3], x[1]);
    let z5 = mul(add(add(o0, o2), add(o1, o3)), 1.175_875_602);
    let z1 = neg(add(o0, o3), 0.899_976_223);
    let z2 = neg(add(o1, o2), 2.562_915_447);
    let z3 = add(neg(add(o0, o2), 1.961_570_560), z5);
    let z4 = add(neg(add(o1, o3), 0.390_180_644), z5);
    let o0 = add(mul(o0, 0.298_631_336), add(z1, z3));
    let o1 = add(mul(o1, 2.053_119_869), add(z2, z4));
    let o2 = add(mul(o2, 3.072_711_026), add(z2, z3));
    let o3 = add(mul(o3, 1.501_321_110), add(z1, z4));
    let round = |a: i32| add(a, 1 << (shift - 1)) >> shift;
    let pair = |a: i32, o: i32| (round(add(a, o)), round(a.wrapping_sub(o)));
    let (r0, r7) = pair(a0, o3);
    let (r1, r6) = pair(a1, o2);
    let (r2, r5) = pair(a2, o1);
    let (r3, r4) = pair(a3, o0);
    [r0, r1, r2, r3, r4, r5, r6, r7]
}

/// Writes the 8×8 samples of `block`, whose coefficients count in steps of `steps`, into rows of `stride`.
pub fn samples(block: &Block, steps: &[u16; 64], to: &mut [u8], stride: usize) {
    let mut columns = [[0_i32; 8]; 8];
    for x in 0..8 {
        let column = std::array::from_fn(|y| i32::from(block[y * 8 + x]).wrapping_mul(steps[y * 8 + x].into()));
        columns[x] = pass(column, FRACTION - KEPT);
    }
    for y in 0..8 {
        let row = pass(std::array::from_fn(|x| columns[x][y]), FRACTION + KEPT + 3);
        for (sample, value) in to[y * stride..][..8].iter_mut().zip(row) {
            *sample = value.wrapping_add(128).clamp(0, 255) as u8;
        }
    }
}
