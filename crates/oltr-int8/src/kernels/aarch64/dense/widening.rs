//! Tiles of 4 pixels by 4 channels for processors without dot products.
//!
//! Both sides have 16 successive terms of the sum in a vector. `smull` and `smlal2` make eight 16-bit sums of two
//! products each, which `sadalp` adds to four 32-bit ones; at the end those of a channel are added up.
//!
//! Two products of bytes fit 16 bits unless both weights are -128 (and both activations): 2 · 128 · 127 = 32512. Four
//! fit where the magnitudes of the four weights add up to no more than 255: 128 · 255 = 32640. So the chunks of a run
//! are sorted, for every four channels, by what their weights allow: *deep* pairs of chunks add four products before
//! `sadalp`, *shallow* chunks two. Where two weights of -128 meet, the chunk is taken twice, each time with one half of
//! its weights. Each kind has its list of places, and the weights are packed in the order of the lists. Layers of one or
//! two chunks are in [`super::weights_in_registers`].

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use crate::kernels::aarch64::dense::direct::{Tiles, Weights};
use crate::kernels::aarch64::dense::sum_order::{Order, Packed};
use crate::kernels::aarch64::dense::widening_tile::{BLOCK, CHANNELS, Column, PIXELS, Sums, store, total};
use crate::kernels::aarch64::dense::{sum_order, weights_in_registers};
use crate::kernels::aarch64::epilogue::Target;
use crate::kernels::aarch64::epilogue::rounding::LANES;
use crate::kernels::aarch64::isa::Neon;
use crate::kernels::window::{CHUNK, Pixels, chunks};

/// Weights packed for `smull` and `smlal`.
#[derive(Debug)]
pub(crate) struct WideningTiles {
    quarters: Vec<Quarter>,
    /// For each four channels, bytes from a pixel's address to each chunk: one shallow chunk, deep pairs, the other
    /// shallow chunks.
    offsets: Vec<u32>,
    /// `[chunk][channel][16]`, chunks in the order of their offsets.
    weights: Vec<i8>,
    bias: Vec<i32>,
}

/// Four channels: their chunks, and what these are.
#[derive(Clone, Debug)]
struct Quarter {
    chunks: Range<usize>,
    order: Order,
}

// SAFETY: `tile` reads whole chunks of the pixels, and stores four sums or bytes for each.
unsafe impl Tiles for WideningTiles {
    type Isa = Neon;
    const KIND: &'static str = "widening_4x4";
    const ISA: &'static str = "neon";

    fn pack(_: Neon, layer: Weights) -> WideningTiles {
        let chunks = chunks(layer.runs);
        let mut tiles =
            WideningTiles { quarters: Vec::new(), offsets: Vec::new(), weights: Vec::new(), bias: Vec::new() };
        for first in (0..layer.channels).step_by(CHANNELS) {
            let packed: Vec<Packed> = chunks.iter().flat_map(|chunk| Packed::new(&layer, first, chunk)).collect();
            let (packed, order) = sum_order::order(packed);
            let at = tiles.offsets.len();
            for chunk in packed {
                tiles.offsets.push(chunk.offset);
                tiles.weights.extend(chunk.weights.as_flattened());
            }
            tiles.quarters.push(Quarter { chunks: at..tiles.offsets.len(), order });
        }
        tiles.bias = layer.bias;
        tiles
    }

    fn bytes(&self) -> usize {
        self.weights.len() + size_of_val(&self.offsets[..]) + size_of_val(&self.bias[..])
    }

    unsafe fn strip(&self, strip: usize, pixels: Pixels, target: Target) {
        let first = strip * LANES / CHANNELS;
        for (number, quarter) in self.quarters.iter().enumerate().skip(first).take(LANES / CHANNELS) {
            let lane = (number - first) * CHANNELS;
            // SAFETY: the target has the lanes of the strip.
            let target = unsafe {
                match target {
                    Target::Sums(to) => Target::Sums(to.add(lane)),
                    Target::Bytes { to, stride, multiplier, rounding } => {
                        Target::Bytes { to: to.add(lane), stride, multiplier: multiplier.add(lane), rounding }
                    }
                }
            };
            let (first, rest) = self.offsets[quarter.chunks.clone()].split_first().expect("a window has a chunk");
            let (deep, shallow) = rest.split_at(2 * quarter.order.pairs());
            let column = Column {
                pixels,
                first: *first,
                deep: deep.as_chunks().0,
                shallow,
                weights: self.weights[quarter.chunks.start * BLOCK..].as_ptr(),
                bias: self.bias[number * CHANNELS..].as_ptr(),
                target,
            };
            // SAFETY: weights and biases are there; the rest is ENABLED and STRIP.
            unsafe {
                match quarter.order {
                    Order::One => weights_in_registers::tiles::<1, false, false>(&column),
                    Order::Two { deep: false, half: false } => weights_in_registers::tiles::<2, false, false>(&column),
                    Order::Two { deep: false, half: true } => weights_in_registers::tiles::<2, false, true>(&column),
                    Order::Two { deep: true, half: false } => weights_in_registers::tiles::<2, true, false>(&column),
                    Order::Two { deep: true, half: true } => weights_in_registers::tiles::<2, true, true>(&column),
                    Order::Many { .. } => tiles(&column),
                }
            };
        }
    }
}

/// All tiles of four channels.
///
/// # Safety
/// ENABLED and STRIP. The pointers are valid for what the column says.
#[inline(never)]
unsafe fn tiles(column: &Column) {
    let (tiles, rest) = column.pixels.as_chunks();
    // SAFETY: ENABLED and STRIP. The pixels that a last tile lacks repeat one that it has.
    unsafe {
        let bias = vld1q_s32(column.bias);
        let mut target = column.target;
        for pixels in tiles {
            let sums = four_pixels(column, *pixels);
            store(&target, sums.map(|sums| total(sums, bias)), PIXELS);
            target = target.after(PIXELS);
        }
        match *rest {
            [] => {}
            [pixel] => store(&target, [total(one_pixel(column, pixel), bias); PIXELS], 1),
            [a, b, ..] => {
                let sums = four_pixels(column, [a, b, rest[rest.len() - 1], b]);
                store(&target, sums.map(|sums| total(sums, bias)), rest.len());
            }
        }
    }
}

/// The sums of one pixel, as fully connected layers have it.
///
/// # Safety
/// TILE. The chunks of the pixel and the weights can be read.
#[inline(always)]
unsafe fn one_pixel(column: &Column, pixel: *const i8) -> Sums {
    // SAFETY: TILE.
    unsafe {
        let mut sums = [vdupq_n_s32(0); CHANNELS];
        let mut weights = column.weights;
        let shallow = |sums: &mut Sums, offset: u32, weights: *const i8| {
            let x = vld1q_s8(pixel.add(offset as usize));
            for (n, sum) in sums.iter_mut().enumerate() {
                let w = vld1q_s8(weights.add(n * CHUNK));
                let products = vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(w)), x, w);
                *sum = vpadalq_s16(*sum, products);
            }
        };
        shallow(&mut sums, column.first, weights);
        weights = weights.add(BLOCK);
        for [first, second] in column.deep {
            let (x, y) = (vld1q_s8(pixel.add(*first as usize)), vld1q_s8(pixel.add(*second as usize)));
            for (n, sum) in sums.iter_mut().enumerate() {
                let (w, v) = (vld1q_s8(weights.add(n * CHUNK)), vld1q_s8(weights.add(BLOCK + n * CHUNK)));
                let products = vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(w)), x, w);
                let products = vmlal_high_s8(vmlal_s8(products, vget_low_s8(y), vget_low_s8(v)), y, v);
                *sum = vpadalq_s16(*sum, products);
            }
            weights = weights.add(2 * BLOCK);
        }
        for offset in column.shallow {
            shallow(&mut sums, *offset, weights);
            weights = weights.add(BLOCK);
        }
        sums
    }
}

/// The instructions for one pixel at a shallow chunk: activations in register `$x`, weights in 16 to 19, products in
/// 28 to 31, sums in `$a` to `$d`, to which `$add` adds pairs of products (or which it sets to these).
macro_rules! shallow {
    ($add:literal, $x:literal: $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            products!("smull", "8b", $x, 16 17 18 19),
            products!("smlal2", "16b", $x, 16 17 18 19),
            adding!($add, $a $b $c $d),
        )
    };
}

/// The instructions for one pixel at a deep pair: the activations of its second chunk in register `$y`, their weights
/// in 20 to 23.
macro_rules! deep {
    ($x:literal $y:literal: $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            products!("smull", "8b", $x, 16 17 18 19),
            products!("smlal2", "16b", $x, 16 17 18 19),
            products!("smlal", "8b", $y, 20 21 22 23),
            products!("smlal2", "16b", $y, 20 21 22 23),
            adding!("sadalp", $a $b $c $d),
        )
    };
}

/// Products of one pixel with four channels: four chains of instructions side by side, as processors that execute in
/// order need them.
macro_rules! products {
    ($multiply:literal, $half:literal, $x:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            $multiply,
            " v28.8h, v",
            $x,
            ".",
            $half,
            ", v",
            $a,
            ".",
            $half,
            "\n",
            $multiply,
            " v29.8h, v",
            $x,
            ".",
            $half,
            ", v",
            $b,
            ".",
            $half,
            "\n",
            $multiply,
            " v30.8h, v",
            $x,
            ".",
            $half,
            ", v",
            $c,
            ".",
            $half,
            "\n",
            $multiply,
            " v31.8h, v",
            $x,
            ".",
            $half,
            ", v",
            $d,
            ".",
            $half,
            "\n",
        )
    };
}

/// Adds pairs of products to sums.
macro_rules! adding {
    ($add:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            $add,
            " v",
            $a,
            ".4s, v28.8h\n",
            $add,
            " v",
            $b,
            ".4s, v29.8h\n",
            $add,
            " v",
            $c,
            ".4s, v30.8h\n",
            $add,
            " v",
            $d,
            ".4s, v31.8h\n",
        )
    };
}

/// A loop over the tile's 16 sums, in registers 0 to 15. In assembly, as it takes all 32 registers, which the compiler
/// manages only by moving sums to memory and back.
macro_rules! tile {
    ($kind:ident, $sums:ident, ($($template:expr),* $(,)?), $($operands:tt)*) => {{
        let [[s0, s1, s2, s3], [s4, s5, s6, s7], [s8, s9, s10, s11], [s12, s13, s14, s15]] = &mut $sums;
        asm!(
            $($template),*,
            $($operands)*
            $kind("v0") *s0, $kind("v1") *s1, $kind("v2") *s2, $kind("v3") *s3,
            $kind("v4") *s4, $kind("v5") *s5, $kind("v6") *s6, $kind("v7") *s7,
            $kind("v8") *s8, $kind("v9") *s9, $kind("v10") *s10, $kind("v11") *s11,
            $kind("v12") *s12, $kind("v13") *s13, $kind("v14") *s14, $kind("v15") *s15,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _,
            out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _,
            out("v30") _, out("v31") _,
            options(readonly, nostack),
        );
    }};
}

/// The sums of four pixels. Activations are loaded one pixel ahead.
///
/// # Safety
/// The chunks of the pixels and the weights can be read.
#[inline(always)]
unsafe fn four_pixels(column: &Column, [p0, p1, p2, p3]: [*const i8; PIXELS]) -> [Sums; PIXELS] {
    // SAFETY: the loops read what the caller vouches for and change no memory; the registers that they use are named.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); CHANNELS]; PIXELS];
        let mut weights = column.weights;
        tile!(out, sums, (
                "ldp q16, q17, [{w}], #64",
                "ldp q18, q19, [{w}, #-32]",
                "ldr q24, [{p0}, {offset}]",
                "ldr q25, [{p1}, {offset}]",
                "ldr q26, [{p2}, {offset}]",
                "ldr q27, [{p3}, {offset}]",
                shallow!("saddlp", 24: 0 1 2 3),
                shallow!("saddlp", 25: 4 5 6 7),
                shallow!("saddlp", 26: 8 9 10 11),
                shallow!("saddlp", 27: 12 13 14 15),
            ),
            w = inout(reg) weights, offset = in(reg) u64::from(column.first),
            p0 = in(reg) p0, p1 = in(reg) p1, p2 = in(reg) p2, p3 = in(reg) p3,
        );
        if !column.deep.is_empty() {
            let deep = column.deep.as_ptr_range();
            tile!(inout, sums, (
                    "2:",
                    "ldp {first:w}, {second:w}, [{at}], #8",
                    "ldp q16, q17, [{w}], #128",
                    "ldp q18, q19, [{w}, #-96]",
                    "ldr q24, [{p0}, {first}]",
                    "ldr q25, [{p0}, {second}]",
                    "ldp q20, q21, [{w}, #-64]",
                    "ldp q22, q23, [{w}, #-32]",
                    "ldr q26, [{p1}, {first}]",
                    "ldr q27, [{p1}, {second}]",
                    deep!(24 25: 0 1 2 3),
                    "ldr q24, [{p2}, {first}]",
                    "ldr q25, [{p2}, {second}]",
                    deep!(26 27: 4 5 6 7),
                    "ldr q26, [{p3}, {first}]",
                    "ldr q27, [{p3}, {second}]",
                    deep!(24 25: 8 9 10 11),
                    "cmp {at}, {end}",
                    deep!(26 27: 12 13 14 15),
                    "b.ne 2b",
                ),
                w = inout(reg) weights, at = inout(reg) deep.start => _, end = in(reg) deep.end,
                first = out(reg) _, second = out(reg) _,
                p0 = in(reg) p0, p1 = in(reg) p1, p2 = in(reg) p2, p3 = in(reg) p3,
            );
        }
        if !column.shallow.is_empty() {
            let shallow = column.shallow.as_ptr_range();
            tile!(inout, sums, (
                    "2:",
                    "ldr {offset:w}, [{at}], #4",
                    "ldp q16, q17, [{w}], #64",
                    "ldp q18, q19, [{w}, #-32]",
                    "ldr q24, [{p0}, {offset}]",
                    "ldr q25, [{p1}, {offset}]",
                    "ldr q26, [{p2}, {offset}]",
                    "ldr q27, [{p3}, {offset}]",
                    shallow!("sadalp", 24: 0 1 2 3),
                    shallow!("sadalp", 25: 4 5 6 7),
                    "cmp {at}, {end}",
                    shallow!("sadalp", 26: 8 9 10 11),
                    shallow!("sadalp", 27: 12 13 14 15),
                    "b.ne 2b",
                ),
                w = inout(reg) weights => _, at = inout(reg) shallow.start => _, end = in(reg) shallow.end,
                offset = out(reg) _,
                p0 = in(reg) p0, p1 = in(reg) p1, p2 = in(reg) p2, p3 = in(reg) p3,
            );
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::aarch64::dense::direct::Direct;
    use crate::kernels::contract::{Conv, Destination, Job, KernelSet, Map, Output, PackedConv, Window};
    use crate::kernels::scalar::SIGNED;

    /// Compares with the scalar kernel a layer of `depth` terms, 5 channels and 11 pixels: of the weights that
    /// `weight` gives for channel and place, and of bytes -128 and 127 as they are stored.
    fn check(depth: usize, weight: impl Fn(usize, usize) -> i8) {
        let stride = depth.next_multiple_of(CHUNK);
        let input = Map { height: 1, width: 11, channels: depth, stride };
        let output = Map { channels: 5, stride: 5, ..input };
        let conv = Conv {
            input,
            output,
            window: Window::POINT,
            groups: 1,
            input_zero: 7,
            weights: (0..5 * depth).map(|i| weight(i / depth, i % depth)).collect(),
            bias: vec![-3; 5],
            result: Output::F32(vec![1.0; 5]),
        };
        // Pixels of all -128, of all 127, and of both by turns of 1, 2, 4, … places.
        let bytes: Vec<u8> = (0..input.volume())
            .map(|i| match i / stride {
                0 => 0x80,
                1 => 0x7f,
                turn => 0x7f + ((i % stride) >> (turn - 2) & 1) as u8,
            })
            .collect();
        let packed = Direct::<WideningTiles>::new(Neon, &conv);
        let mut scratch = vec![0; packed.scratch_bytes()];
        let (mut got, mut wanted) = ([0.0; 55], [0.0; 55]);
        let job = |output, scratch| Job {
            input: &bytes,
            residual: None,
            pixels: 0..11,
            channels: None,
            output: Destination::F32(output),
            scratch,
        };
        packed.run(job(&mut got, &mut scratch));
        SIGNED.conv(conv).run(job(&mut wanted, &mut []));
        assert_eq!(got, wanted);
    }

    /// How many pairs of chunks are deep for `depth` equal weights.
    fn deep_pairs(depth: usize, weight: i8) -> usize {
        let runs = [crate::kernels::window::Run { offset: 0, len: depth }];
        let layer = Weights { values: &vec![weight; depth], channels: 1, runs: &runs, bias: vec![0; LANES] };
        WideningTiles::pack(Neon, layer).quarters[0].order.pairs()
    }

    #[test]
    fn four_products_are_added_where_they_fit() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(|chunks| deep_pairs(16 * chunks, 63)), [0, 0, 1, 1, 2, 2, 3, 3]);
        // 4 · 64 = 256, which -128 would take out of 16 bits.
        assert_eq!([64, -64, 127, -128].map(|weight| deep_pairs(128, weight)), [0; 4]);
    }

    #[test]
    fn sums_of_the_largest_magnitude_are_exact() {
        for depth in [16, 32, 48, 64, 72, 160] {
            for weight in [63, -63, 64, -64, 127, -127, -128] {
                check(depth, |_, _| weight);
            }
            // Lanes whose magnitudes add up to just 255, to 256, and to twice 128.
            check(depth, |_, place| if place < 16 { -66 } else { -63 });
            check(depth, |_, place| [-64, -64, -64, -63][place / 8 % 4]);
            check(depth, |channel, place| if channel == 3 && place % 8 == 5 { -128 } else { 1 });
            check(depth, |channel, place| (place * 37 + channel * 11) as i8 / 4);
        }
    }
}
