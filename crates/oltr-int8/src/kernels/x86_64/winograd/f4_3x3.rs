//! 3×3 convolutions of stride 1 by Winograd3x3's minimal filtering F(4×4, 3×3), exactly.
//!
//! A tile of 4×4 outputs is `AT [(G w GT) . (BT x B)] A`, where `.` sums the products over the input channels: 36
//! multiplications for each pair of channels where the direct form takes 144. The transforms (Lavin and Gray 2015,
//! points 0, 1, -1, 2, -2 and infinity) are used over the integers:
//!
//! - `BT x B` has whole coefficients. Of activations between 0 and 255 its values lie within ±17340.
//! - The rows of `G` are scaled to whole numbers ([`G`]), so that `G w GT` fits 16 bits beside the former: their sums
//!   may not overflow either, as [`Avx2`] multiplies by sums. They lie within ±31182.
//! - With `A` scaled to match ([`transform_sums`]) the result is 576 times the convolution, modulo 2^32 like every sum
//!   on the way. 576 is 9 * 64: a product with the inverse of 9 modulo 2^32 leaves 64 times the convolution, and a
//!   shift the convolution itself, if that is less than 2^25. A layer whose weights could give more stays direct.

use std::arch::x86_64::*;
use std::ops::Range;

use crate::kernels::contract::{Conv, Cuts, Destination, Job, PackedConv, Storage};
use crate::kernels::x86_64::aligned::{Aligned, align, with_alignment};
use crate::kernels::x86_64::dense::strip::Pixel;
use crate::kernels::x86_64::dot::by_sums::BySums;
use crate::kernels::x86_64::dot::product::Dot;
use crate::kernels::x86_64::epilogue::{Epilogue, Place, parts_of};
use crate::kernels::x86_64::isa::Avx2;
use crate::kernels::x86_64::patch::{OVERRUN, Patch};
use crate::kernels::x86_64::winograd::transformed_weights::TransformedWeights;

/// Outputs of a tile along an axis, and inputs under them.
const OUT: usize = 4;
const IN: usize = 6;

/// Products of a tile for a pair of channels.
const POINTS: usize = IN * IN;

/// 24 `G`, its rows scaled by 1, 1/2, 1/2, 1, 1, 1/2.
const G: [[i32; 3]; IN] = [[6, 0, 0], [-2, -2, -2], [-2, 2, -2], [1, 2, 4], [1, -2, 4], [0, 0, 12]];

/// The inverse of 9 modulo 2^32.
const INVERSE_OF_9: i32 = 954_437_177;

/// Sums up to here survive the multiplication by 64.
const SUM_MAX: i64 = (1 << 25) - 1;

/// Bytes of transformed activations of a block of tiles: they stay in the L2 cache while all weights pass by.
const BLOCK: usize = 320 << 10;

/// Fewest tiles of a map: below, reading the weights, 8 bytes for each, takes longer than the multiplications saved.
const FEWEST_TILES: usize = 12;

/// Most pixels of a map whose threads share it by channels: the transforms that each makes of all activations are little
/// beside its part of the weights.
const FEW_PIXELS: usize = 256;

/// A convolution packed for the transformed domain.
#[derive(Debug)]
pub(crate) struct Winograd3x3 {
    name: String,
    avx2: Avx2,
    patch: Patch,
    /// Height and width of the output.
    output: [usize; 2],
    depth: usize,
    /// Tiles of a row of tiles, and rows of tiles of a block.
    tiles: usize,
    rows: usize,
    points: TransformedWeights,
    /// Where its channels may be cut: at its strips.
    cuts: Vec<usize>,
    /// One for each lane, `-zero * sum of weights` included.
    bias: Aligned<i32>,
    epilogue: Epilogue,
}

/// Bytes of each part of the scratch.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// From one copied row to the next.
    copied_pitch: usize,
    copied: usize,
    /// From the transformed activations of one point to those of the next.
    values_pitch: usize,
    values: usize,
    /// From the sums of one point to those of the next, for a strip.
    sums_pitch: usize,
    sums: usize,
    /// Outputs of a strip, `[row][column][lane]`.
    outputs: usize,
    pixels: usize,
}

impl Winograd3x3 {
    /// Packs `conv` if it is such a convolution and gains.
    pub fn new(avx2: Avx2, conv: &Conv) -> Option<Winograd3x3> {
        let window = conv.window;
        let tiles = [conv.output.height, conv.output.width].map(|size| size.div_ceil(OUT));
        let depth = conv.input.channels;
        let fits = window.kernel == [3, 3]
            && window.stride == [1, 1]
            && window.dilation == [1, 1]
            && conv.groups == 1
            && depth.is_multiple_of(16)
            && conv.output.channels >= 16
            && tiles[0] * tiles[1] >= FEWEST_TILES
            && conv.weights.chunks_exact(9 * depth).all(sums_fit);
        fits.then(|| Winograd3x3::pack(avx2, conv, tiles))
    }

    fn pack(avx2: Avx2, conv: &Conv, tiles: [usize; 2]) -> Winograd3x3 {
        let (depth, channels) = (conv.input.channels, conv.output.channels);
        let transform = |channel: usize, point: usize, to: &mut [i16]| {
            transform_weights(point, &conv.weights[channel * 9 * depth..][..9 * depth], to);
        };
        let points = TransformedWeights::new(avx2, channels, vec![depth / BySums::STEP; POINTS], transform);
        let [lanes, _] = points.lanes();
        let bias = (0..channels).map(|channel| {
            let sum: i32 = conv.weights[channel * 9 * depth..][..9 * depth].iter().map(|w| i32::from(*w)).sum();
            conv.bias[channel].wrapping_sub(i32::from(conv.input_zero) * sum)
        });
        let row_bytes = tiles[1] * POINTS * depth * 2;
        // Blocks of about the same size.
        let rows = tiles[0].div_ceil(tiles[0].div_ceil((BLOCK / row_bytes).clamp(1, tiles[0])));
        Winograd3x3 {
            name: format!("conv_u8s8{}_winograd_f4_3x3_4x16__avx2", conv.result.dtype(Storage::Unsigned)),
            avx2,
            patch: Patch {
                input: [conv.input.height, conv.input.width],
                stride: conv.input.stride,
                first: 0,
                depth,
                zero: conv.input_zero,
                every: [1, 1],
                pad: conv.window.pad,
            },
            output: [conv.output.height, conv.output.width],
            depth,
            tiles: tiles[1],
            rows,
            cuts: (0..=points.strips()).map(|strips| points.channels_of(&(0..strips), channels).end).collect(),
            points,
            bias: Aligned::padded(lanes, bias),
            epilogue: Epilogue::new(conv, 0..channels, lanes),
        }
    }

    fn sizes(&self) -> Sizes {
        let tiles = self.tiles * self.rows;
        let [_, lanes] = self.points.lanes();
        let line = |bytes: usize| bytes.next_multiple_of(OVERRUN);
        let copied_pitch = line((self.tiles * OUT + 2) * self.depth * 2 + OVERRUN);
        // A line more than needed, lest the points of a tile fall into the same set of the cache.
        let values_pitch = line(tiles * self.depth * 2) + OVERRUN;
        let sums_pitch = line(tiles * lanes * 4) + OVERRUN;
        Sizes {
            copied_pitch,
            copied: IN * copied_pitch,
            values_pitch,
            values: POINTS * values_pitch,
            sums_pitch,
            sums: POINTS * sums_pitch,
            outputs: line(OUT * self.tiles * OUT * lanes * 4),
            pixels: line(POINTS * tiles * size_of::<Pixel>()),
        }
    }

    /// Computes the channels of `strips`, which lie in `to` as `place` says.
    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        place: Place,
        pixels: Range<usize>,
        strips: Range<usize>,
        scratch: &mut [u8],
    ) {
        assert!(scratch.len() >= self.scratch_bytes() && pixels.end <= self.output[0] * self.output[1]);
        if pixels.is_empty() {
            return;
        }
        let sizes = self.sizes();
        let (copied, rest) = align(scratch).split_at_mut(sizes.copied);
        let (values, rest) = rest.split_at_mut(sizes.values);
        let (sums, rest) = rest.split_at_mut(sizes.sums);
        let (outputs, rest) = rest.split_at_mut(sizes.outputs);
        // SAFETY: numbers of which every pattern of bits is one; `align_to_mut` sees to the alignment, and as all
        // parts before are whole lines nothing is lost.
        let (outputs, all_pixels) = unsafe { (outputs.align_to_mut::<i32>().1, rest.align_to_mut::<Pixel>().1) };

        let width = self.output[1];
        let tile_rows = pixels.start / width / OUT..((pixels.end - 1) / width / OUT + 1);
        for first_row in tile_rows.clone().step_by(self.rows) {
            let rows = self.rows.min(tile_rows.end - first_row);
            let count = rows * self.tiles;
            for row in 0..rows {
                let first = [(first_row + row) * OUT, 0];
                self.patch.copy::<BySums>(input, first, [IN, self.tiles * OUT + 2], sizes.copied_pitch, copied);
                for tile in 0..self.tiles {
                    let from = copied[tile * OUT * self.depth * 2..].as_ptr();
                    let to = values[(row * self.tiles + tile) * self.depth * 2..].as_mut_ptr();
                    // SAFETY: the token proves AVX2; `sizes` made room for all tiles.
                    unsafe { transform_activations(from, sizes.copied_pitch, self.depth, to, sizes.values_pitch) };
                }
            }
            for point in 0..POINTS {
                let pixels = &mut all_pixels[point * count..][..count];
                for (tile, pixel) in pixels.iter_mut().enumerate() {
                    pixel.offset = (tile * self.depth * 2) as u32;
                }
                let values = values[point * sizes.values_pitch..][..sizes.values_pitch].as_ptr();
                // SAFETY: ENABLED by the token, and STRIP: `sizes` made room for all steps of all tiles.
                unsafe { self.points.look(point, values, pixels) };
            }
            for part in self.points.parts(strips.clone()) {
                let (lanes, vectors) = (part.lanes(), part.vectors);
                for point in 0..POINTS {
                    let values = values[point * sizes.values_pitch..][..sizes.values_pitch].as_ptr();
                    let pixels = &all_pixels[point * count..][..count];
                    let sums = sums[point * sizes.sums_pitch..][..sizes.sums_pitch].as_mut_ptr().cast();
                    // SAFETY: values hold all steps, sums all tiles and lanes.
                    unsafe { self.points.multiply(part, point, values, pixels, sums) };
                }
                for row in 0..rows {
                    for tile in 0..self.tiles {
                        let from = sums[(row * self.tiles + tile) * lanes.len() * 4..].as_ptr().cast();
                        let to = outputs[tile * OUT * lanes.len()..].as_mut_ptr();
                        let bias = self.bias[lanes.clone()].as_ptr();
                        let to_pitch = self.tiles * OUT * lanes.len();
                        // SAFETY: ENABLED by the token, and TRANSFORM: `sizes` made room for all points and outputs.
                        unsafe { transform_sums(from, sizes.sums_pitch, bias, vectors, to, to_pitch) };
                    }
                    for line in 0..OUT {
                        let y = (first_row + row) * OUT + line;
                        if y < self.output[0] {
                            let row = y * width..(y + 1) * width;
                            let sums = &outputs[line * self.tiles * OUT * lanes.len()..];
                            self.epilogue.finish_row(self.avx2, &lanes, row, &pixels, residual, place, &mut to, sums);
                        }
                    }
                }
            }
        }
    }
}

/// Whether no sum over these weights of an output channel can leave what the transform carries.
fn sums_fit(weights: &[i8]) -> bool {
    largest_sum(weights) <= SUM_MAX
}

/// The largest size that a sum of activations with these weights of an output channel can have.
pub(crate) fn largest_sum(weights: &[i8]) -> i64 {
    let sum = |sign: i64| -> i64 { weights.iter().map(|w| (i64::from(*w) * sign).max(0)).sum() };
    255 * sum(1).max(sum(-1))
}

/// Adds `G w GT` at a point, of a channel's taps, to as many numbers as each tap has weights.
fn transform_weights(point: usize, weights: &[i8], to: &mut [i16]) {
    for (tap, weights) in weights.chunks_exact(to.len()).enumerate() {
        let factor = (G[point / IN][tap / 3] * G[point % IN][tap % 3]) as i16;
        for (to, weight) in to.iter_mut().zip(weights) {
            *to += factor * i16::from(*weight);
        }
    }
}

/// `BT d`, for 16 channels.
#[inline]
#[target_feature(enable = "avx2")]
fn bt(d: [__m256i; IN]) -> [__m256i; IN] {
    let (add, sub) = (|a, b| _mm256_add_epi16(a, b), |a, b| _mm256_sub_epi16(a, b));
    let times_2 = |a| _mm256_add_epi16(a, a);
    let times_4 = |a| _mm256_slli_epi16::<2>(a);
    let (a, b) = (sub(d[4], times_4(d[2])), sub(d[3], times_4(d[1])));
    let (c, e) = (sub(d[4], d[2]), times_2(sub(d[3], d[1])));
    [add(times_4(sub(d[0], d[2])), c), add(a, b), sub(a, b), add(c, e), sub(c, e), sub(sub(d[5], d[3]), times_2(e))]
}

/// `BT x B` of a tile: from rows of 16-bit activations `pitch` bytes apart, to points `to_pitch` bytes apart.
///
/// # Safety
/// ENABLED and TRANSFORM. AVX2 is there; there are 6×6 places of `depth` activations (a multiple of 16), and room for as many values.
#[target_feature(enable = "avx2")]
unsafe fn transform_activations(from: *const u8, pitch: usize, depth: usize, to: *mut u8, to_pitch: usize) {
    for channel in (0..depth).step_by(16) {
        let mut half = [[_mm256_setzero_si256(); IN]; IN];
        // SAFETY: ENABLED and TRANSFORM.
        unsafe {
            for column in 0..IN {
                let mut d = [_mm256_setzero_si256(); IN];
                for (row, d) in d.iter_mut().enumerate() {
                    *d = _mm256_loadu_si256(from.add(row * pitch + (column * depth + channel) * 2).cast());
                }
                let d = bt(d);
                for row in 0..IN {
                    half[row][column] = d[row];
                }
            }
            for (row, half) in half.into_iter().enumerate() {
                for (column, value) in bt(half).into_iter().enumerate() {
                    _mm256_storeu_si256(to.add((row * IN + column) * to_pitch + channel * 2).cast(), value);
                }
            }
        }
    }
}

/// `AT m`, for 8 channels, with the scales that [`G`] leaves out.
#[inline]
#[target_feature(enable = "avx2")]
fn at(m: [__m256i; IN]) -> [__m256i; OUT] {
    let (add, sub) = (|a, b| _mm256_add_epi32(a, b), |a, b| _mm256_sub_epi32(a, b));
    let times_2 = |a| _mm256_add_epi32(a, a);
    let (s12, d12) = (times_2(add(m[1], m[2])), times_2(sub(m[1], m[2])));
    let (s34, d34) = (add(m[3], m[4]), sub(m[3], m[4]));
    [
        add(m[0], add(s12, s34)),
        add(d12, times_2(d34)),
        add(s12, _mm256_slli_epi32::<2>(s34)),
        add(add(d12, times_2(m[5])), _mm256_slli_epi32::<3>(d34)),
    ]
}

/// `AT m A / 576 + bias` of a tile: from points `pitch` bytes apart, to rows of `vectors * 8` lanes `to_pitch` numbers
/// apart.
///
/// # Safety
/// ENABLED and TRANSFORM. AVX2 is there; there are 36 points, and room for 4×4 outputs.
#[target_feature(enable = "avx2")]
unsafe fn transform_sums(
    from: *const u8,
    pitch: usize,
    bias: *const i32,
    vectors: usize,
    to: *mut i32,
    to_pitch: usize,
) {
    let inverse = _mm256_set1_epi32(INVERSE_OF_9);
    for vector in 0..vectors {
        let mut half = [[_mm256_setzero_si256(); IN]; OUT];
        // SAFETY: ENABLED and TRANSFORM.
        unsafe {
            for column in 0..IN {
                let mut m = [_mm256_setzero_si256(); IN];
                for (row, m) in m.iter_mut().enumerate() {
                    *m = _mm256_loadu_si256(from.add((row * IN + column) * pitch + vector * 32).cast());
                }
                let m = at(m);
                for row in 0..OUT {
                    half[row][column] = m[row];
                }
            }
            let bias = _mm256_loadu_si256(bias.add(vector * 8).cast());
            for (row, half) in half.into_iter().enumerate() {
                for (column, sum) in at(half).into_iter().enumerate() {
                    let sum = _mm256_srai_epi32::<6>(_mm256_mullo_epi32(sum, inverse));
                    let to = to.add(row * to_pitch + (column * vectors + vector) * 8);
                    _mm256_storeu_si256(to.cast(), _mm256_add_epi32(sum, bias));
                }
            }
        }
    }
}

impl PackedConv for Winograd3x3 {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.points.bytes() + self.bias.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        let s = self.sizes();
        with_alignment(s.copied + s.values + s.sums + s.outputs + s.pixels)
    }

    fn grain(&self) -> usize {
        OUT * self.output[1]
    }

    fn cuts(&self) -> Cuts<'_> {
        Cuts::At(&self.cuts)
    }

    fn few_pixels(&self) -> usize {
        FEW_PIXELS
    }

    fn run(&self, job: Job) {
        let map = self.epilogue.map();
        let (place, strips) = match &job.channels {
            None => (map, 0..self.points.strips()),
            Some(channels) => (Place::of(channels), parts_of(&self.cuts, channels)),
        };
        assert_eq!(job.output.len(), job.pixels.len() * place.stride);
        self.compute(job.input, job.residual, job.output, place, job.pixels, strips, job.scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Along an axis the transforms give 24 times the convolution, for every pair of an input and a tap; and values and
    /// weights fit 16 bits together.
    #[test]
    fn the_filtering_is_exact_and_fits_16_bits() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        // SAFETY: AVX2 is there.
        let bt = |input: usize| unsafe {
            let d = std::array::from_fn(|i| _mm256_set1_epi16((i == input).into()));
            bt(d).map(|v| i32::from(_mm256_extract_epi16::<5>(v) as i16))
        };
        // SAFETY: AVX2 is there, as was asked.
        let at = |point: usize| unsafe {
            at(std::array::from_fn(|i| _mm256_set1_epi32((i == point).into()))).map(|v| _mm256_extract_epi32::<5>(v))
        };
        let (bt, at): ([_; IN], [_; IN]) = (std::array::from_fn(bt), std::array::from_fn(at));
        assert_eq!(576i32.wrapping_mul(INVERSE_OF_9), 64);
        for (input, tap, output) in (0..IN * 3 * OUT).map(|i| (i / (3 * OUT), i / OUT % 3, i % OUT)) {
            let sum: i32 = (0..IN).map(|point| at[point][output] * G[point][tap] * bt[input][point]).sum();
            assert_eq!(sum, if output + tap == input { 24 } else { 0 }, "{input} {tap} {output}");
        }
        let mut worst = 0;
        for point in 0..POINTS {
            let inputs = || (0..IN * IN).map(|i| bt[i / IN][point / IN] * bt[i % IN][point % IN]);
            let sum = |sign: i32| inputs().map(|factor| (factor * sign).max(0)).sum::<i32>();
            let (mut least, mut most) = ([0; 1], [0; 1]);
            let taps: Vec<i32> = (0..9).map(|tap| G[point / IN][tap / 3] * G[point % IN][tap % 3]).collect();
            transform_weights(
                point,
                &std::array::from_fn::<_, 9, _>(|i| if taps[i] < 0 { 127 } else { -128 }),
                &mut least,
            );
            transform_weights(
                point,
                &std::array::from_fn::<_, 9, _>(|i| if taps[i] > 0 { 127 } else { -128 }),
                &mut most,
            );
            worst = worst.max(255 * sum(1) + i32::from(most[0])).max(255 * sum(-1) - i32::from(least[0]));
        }
        assert_eq!(worst, 31182);
    }
}
