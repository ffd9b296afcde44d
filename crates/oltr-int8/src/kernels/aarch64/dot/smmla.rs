//! Tiles of matrix products (`smmla`, Armv8.6's i8mm).
//!
//! A vector of weights holds eight terms of two channels, one of activations eight of two pixels, which two loads and a
//! move make: `smmla` adds all four sums of products. So a vector of sums is that of two channels of one pixel, then
//! of the other. Bytes stay in that order up to the last narrowing, and are sorted two at a time.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::kernels::aarch64::dense::registers::{load_again, store_bytes};
use crate::kernels::aarch64::dot::{CHANNELS, Dot, Strip, VECTOR};
use crate::kernels::aarch64::epilogue::Target;
use crate::kernels::aarch64::epilogue::rounding::{LANES, round};
use crate::kernels::aarch64::isa::MatrixProduct;

/// Terms of a channel in a vector.
const TERMS: usize = 8;

/// The sums of two pixels and a quarter of the channels: of its first two channels and of the others.
type Sums = [int32x4_t; 2];

// SAFETY: `tiles` reads chunks, and halves of chunks, and stores four sums or bytes for each quarter.
unsafe impl Dot for MatrixProduct {
    const KIND: &'static str = "matrix_6x16";
    const ISA: &'static str = "neoni8mm";
    const TERMS: usize = TERMS;
    const TOGETHER: usize = 2;

    #[inline(never)]
    #[target_feature(enable = "i8mm")]
    unsafe fn tiles<const M: usize, const N: usize>(strip: &Strip) {
        let mut target = strip.target;
        for pixels in strip.pixels.as_chunks::<M>().0 {
            // SAFETY: ENABLED and STRIP.
            unsafe {
                match M {
                    1 | 2 => tile::<1, N>(strip, pixels, target),
                    3 | 4 => tile::<2, N>(strip, pixels, target),
                    5 | 6 => tile::<3, N>(strip, pixels, target),
                    _ => tile::<4, N>(strip, pixels, target),
                }
            }
            target = target.after(M);
        }
    }
}

/// `P` pairs of pixels by `N` quarters; an odd last pixel makes a pair with itself.
///
/// # Safety
/// ENABLED and TILE. As for [`Dot::tiles`]; the target has the pixels.
#[inline(always)]
unsafe fn tile<const P: usize, const N: usize>(strip: &Strip, pixels: &[*const i8], target: Target) {
    // SAFETY: ENABLED and TILE.
    unsafe {
        let both: [[*const i8; 2]; P] =
            std::array::from_fn(|p| [2 * p, 2 * p + 1].map(|m| pixels[m.min(pixels.len() - 1)]));
        let mut sums = [[[vdupq_n_s32(0); 2]; N]; P];
        for sums in &mut sums {
            // The biases of a quarter are two vectors, twice one bias after twice another.
            let low: [int32x4_t; N] = load_again(strip.bias);
            let high: [int32x4_t; N] = load_again(strip.bias.add(N * CHANNELS));
            for (i, sum) in sums.as_flattened_mut().iter_mut().enumerate() {
                *sum = if i < N { low[i % N] } else { high[i % N] };
            }
        }
        let mut weights = strip.weights;
        if (P, N) == (3, 4) {
            let largest = (&raw mut sums).cast::<[[Sums; 4]; 3]>();
            let both: [[*const i8; 2]; 3] = std::array::from_fn(|p| both[p % P]);
            weights = chunks_of_largest(&mut *largest, strip.chunks, both, weights);
        }
        let chunks = if (P, N) == (3, 4) { &[] } else { strip.chunks };
        for offset in chunks {
            let mut x = [[vdupq_n_s8(0); P]; 2];
            for p in 0..P {
                let [a, b] = both[p].map(|pixel| vld1q_s64(pixel.add(*offset as usize).cast()));
                x[0][p] = vreinterpretq_s8_s64(vtrn1q_s64(a, b));
                x[1][p] = vreinterpretq_s8_s64(vtrn2q_s64(a, b));
            }
            for x in &x {
                multiply::<P, N>(&mut sums, weights, x);
                weights = weights.add(2 * N * VECTOR);
            }
        }
        for offset in strip.steps {
            let mut x = [vdupq_n_s8(0); P];
            for p in 0..P {
                let [a, b] = both[p].map(|pixel| vld1_s8(pixel.add(*offset as usize)));
                x[p] = vcombine_s8(a, b);
            }
            multiply::<P, N>(&mut sums, weights, &x);
            weights = weights.add(2 * N * VECTOR);
        }
        store(&sums, target, pixels.len());
    }
}

/// Products of three pairs of pixels, the activations of which are in registers `$x`, with a vector of weights `$w`,
/// added to sums `$s`.
macro_rules! products {
    ($w:literal: $x0:literal $s0:literal, $x1:literal $s1:literal, $x2:literal $s2:literal) => {
        concat!(product!($s0 $x0 $w), product!($s1 $x1 $w), product!($s2 $x2 $w))
    };
}

macro_rules! product {
    ($s:literal $x:literal $w:literal) => {
        concat!("smmla v", $s, ".4s, v", $x, ".16b, v", $w, ".16b\n")
    };
}

/// The whole chunks of the largest tile; what follows them of the weights. In assembly, as it takes all 32 registers,
/// which the compiler manages only by moving sums around: 115 instructions a chunk instead of 71.
///
/// # Safety
/// The chunks of the pixels and their weights can be read; the processor has matrix products.
#[inline(always)]
unsafe fn chunks_of_largest(
    sums: &mut [[Sums; 4]; 3],
    chunks: &[u32],
    pixels: [[*const i8; 2]; 3],
    weights: *const i8,
) -> *const i8 {
    if chunks.is_empty() {
        return weights;
    }
    let mut weights = weights;
    let chunks = chunks.as_ptr_range();
    let [[p0, p1], [p2, p3], [p4, p5]] = pixels;
    let [first, second, third] = sums;
    let [[s0, s1], [s2, s3], [s4, s5], [s6, s7]] = first;
    let [[s8, s9], [s10, s11], [s12, s13], [s14, s15]] = second;
    let [[s16, s17], [s18, s19], [s20, s21], [s22, s23]] = third;
    // SAFETY: the loop reads what the caller vouches for and changes no memory; the registers that it uses are named.
    unsafe {
        asm!(
            "2:",
            "ldr {offset:w}, [{at}], #4",
            "ldr q24, [{p0}, {offset}]",
            "ldr q25, [{p1}, {offset}]",
            "ldr q26, [{p2}, {offset}]",
            "ldr q27, [{p3}, {offset}]",
            "ldr q28, [{p4}, {offset}]",
            "ldr q29, [{p5}, {offset}]",
            "cmp {at}, {end}",
            // The first eight terms of both pixels of each pair, and the others.
            "zip1 v30.2d, v24.2d, v25.2d",
            "zip2 v25.2d, v24.2d, v25.2d",
            "zip1 v24.2d, v26.2d, v27.2d",
            "zip2 v27.2d, v26.2d, v27.2d",
            "zip1 v26.2d, v28.2d, v29.2d",
            "zip2 v29.2d, v28.2d, v29.2d",
            "ldp q28, q31, [{w}], #256",
            products!(28: 30 0, 24 8, 26 16),
            products!(31: 30 1, 24 9, 26 17),
            "ldp q28, q31, [{w}, #-224]",
            products!(28: 30 2, 24 10, 26 18),
            products!(31: 30 3, 24 11, 26 19),
            "ldp q28, q31, [{w}, #-192]",
            products!(28: 30 4, 24 12, 26 20),
            products!(31: 30 5, 24 13, 26 21),
            "ldp q28, q31, [{w}, #-160]",
            products!(28: 30 6, 24 14, 26 22),
            products!(31: 30 7, 24 15, 26 23),
            "ldp q24, q26, [{w}, #-128]",
            "ldp q28, q31, [{w}, #-96]",
            products!(24: 25 0, 27 8, 29 16),
            products!(26: 25 1, 27 9, 29 17),
            "ldp q24, q26, [{w}, #-64]",
            products!(28: 25 2, 27 10, 29 18),
            products!(31: 25 3, 27 11, 29 19),
            "ldp q28, q31, [{w}, #-32]",
            products!(24: 25 4, 27 12, 29 20),
            products!(26: 25 5, 27 13, 29 21),
            products!(28: 25 6, 27 14, 29 22),
            products!(31: 25 7, 27 15, 29 23),
            "b.ne 2b",
            w = inout(reg) weights, at = inout(reg) chunks.start => _, end = in(reg) chunks.end, offset = out(reg) _,
            p0 = in(reg) p0, p1 = in(reg) p1, p2 = in(reg) p2, p3 = in(reg) p3, p4 = in(reg) p4, p5 = in(reg) p5,
            inout("v0") *s0, inout("v1") *s1, inout("v2") *s2, inout("v3") *s3, inout("v4") *s4, inout("v5") *s5,
            inout("v6") *s6, inout("v7") *s7, inout("v8") *s8, inout("v9") *s9, inout("v10") *s10, inout("v11") *s11,
            inout("v12") *s12, inout("v13") *s13, inout("v14") *s14, inout("v15") *s15, inout("v16") *s16,
            inout("v17") *s17, inout("v18") *s18, inout("v19") *s19, inout("v20") *s20, inout("v21") *s21,
            inout("v22") *s22, inout("v23") *s23,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _,
            out("v31") _,
            options(readonly, nostack),
        );
    }
    weights
}

/// One step of a tile: eight terms of all pixels with `N` quarters of weights.
///
/// # Safety
/// ENABLED and WEIGHTS_IN. The weights can be read; the processor has matrix products.
#[inline(always)]
unsafe fn multiply<const P: usize, const N: usize>(sums: &mut [[Sums; N]; P], weights: *const i8, x: &[int8x16_t; P]) {
    for n in 0..N {
        for half in 0..2 {
            // SAFETY: ENABLED and WEIGHTS_IN.
            let w = unsafe { vld1q_s8(weights.add((2 * n + half) * VECTOR)) };
            for (sums, x) in sums.iter_mut().zip(x) {
                sums[n][half] = smmla(sums[n][half], *x, w);
            }
        }
    }
}

/// `sums + products` of the rows of two matrices of 2 × 8.
#[inline(always)]
fn smmla(sums: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: the instruction works on registers alone. It is there: only functions that enable it come here.
    unsafe {
        asm!("smmla {s:v}.4s, {a:v}.16b, {b:v}.16b", s = inout(vreg) sums, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

/// Stores the sums of a tile's `count` pixels, or their bytes.
///
/// # Safety
/// TILE. The target has the pixels and `N` quarters.
#[inline(always)]
unsafe fn store<const P: usize, const N: usize>(sums: &[[Sums; N]; P], target: Target, count: usize) {
    // The second pixel of a pair is stored first: both have one address where the last pixel is odd.
    // SAFETY: TILE.
    unsafe {
        match target {
            Target::Sums(mut to) => {
                for (p, sums) in sums.iter().enumerate() {
                    let next = if 2 * p + 1 < count { to.wrapping_add(LANES) } else { to };
                    for (n, sums) in sums.iter().enumerate() {
                        let [a, b] = sums.map(|v| vreinterpretq_s64_s32(v));
                        vst1q_s32(next.add(n * CHANNELS), vreinterpretq_s32_s64(vtrn2q_s64(a, b)));
                        vst1q_s32(to.add(n * CHANNELS), vreinterpretq_s32_s64(vtrn1q_s64(a, b)));
                    }
                    to = next.wrapping_add(LANES);
                }
            }
            Target::Bytes { mut to, stride, multiplier, rounding } => {
                let narrow = rounding.load();
                let mut multipliers = [[vdupq_n_f32(0.0); 2]; N];
                for (i, m) in multipliers.as_flattened_mut().iter_mut().enumerate() {
                    // As the sums lie: two multipliers, twice.
                    let two = multiplier.add(2 * i).cast::<u64>().read_unaligned();
                    *m = vreinterpretq_f32_u64(vdupq_n_u64(two));
                }
                // The bytes of both pixels, two channels of one, two of the other; of quarters 0 and 1, and 2 and 3.
                let mut bytes = [[vdupq_n_s8(0); 2]; P];
                for (sums, [low, high]) in sums.iter().zip(&mut bytes) {
                    let mut rounded = [[vdupq_n_s32(0); 2]; 4];
                    for n in 0..N {
                        for half in 0..2 {
                            rounded[n][half] = round(sums[n][half], multipliers[n][half]);
                        }
                    }
                    let [[a, b], [c, d], [e, f], [g, h]] = rounded;
                    *low = if N == 1 { narrow.half_free([a, b]) } else { narrow.free([a, b, c, d]) };
                    *high = match N {
                        1 | 2 => *low,
                        3 => narrow.half_free([e, f]),
                        _ => narrow.free([e, f, g, h]),
                    };
                }
                if !rounding.is_free() {
                    for bytes in bytes.as_flattened_mut() {
                        *bytes = narrow.bound(*bytes);
                    }
                }
                for (p, bytes) in bytes.iter().enumerate() {
                    let [low, high] = bytes.map(|v| vreinterpretq_s16_s8(v));
                    let next = if 2 * p + 1 < count { to.wrapping_add(stride) } else { to };
                    store_bytes::<N>(next, vreinterpretq_s8_s16(vuzp2q_s16(low, high)));
                    store_bytes::<N>(to, vreinterpretq_s8_s16(vuzp1q_s16(low, high)));
                    to = next.wrapping_add(stride);
                }
            }
        }
    }
}
