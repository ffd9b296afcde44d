//! Depthwise convolutions, eight channels at a time.
//!
//! Windows of 3×3 walk along a row with three columns of the map in registers, beside the weights: each step loads one
//! new column (two at stride 2) and yields an output in each of two rows, which share the rows of the map that both
//! windows see. Windows of 5×5 are in [`super::k5x5`] and [`super::k5x5_dot4`]. Of others, the taps are taken one by one, or four
//! by four with the dot product.
//!
//! Positions outside the map hold the zero point, whose share lies in the bias.

use std::arch::aarch64::*;
use std::arch::asm;
use std::fmt::Debug;

use crate::kernels::aarch64::depthwise::blocks::{BLOCK, Blocks, Ends};
use crate::kernels::aarch64::epilogue::STORAGE;
use crate::kernels::aarch64::epilogue::rounding::{Narrow, Rounding, round, to_signed};
use crate::kernels::contract::{Conv, Job, Map, PackedConv, Window};

/// Bytes of the map under a strip of outputs: it stays in the L1 cache for all blocks of channels.
const STRIP_BYTES: usize = 24 << 10;

/// Fewest outputs of a strip, as each begins with columns that the strip before had too.
const STRIP: usize = 14;

/// Most rows of the map under two rows of outputs: those of a 5×5 window at stride 2.
pub(crate) const ROWS: usize = 7;

/// Packs `conv` for a kernel of square windows, if it is one that the kernel multiplies; `ends` are those for activations that
/// are too large by so much.
pub(crate) fn square<K: Kernel>(isa: K::Isa, conv: &Conv, ends: &dyn Fn(i16) -> Ends) -> Option<Box<dyn PackedConv>> {
    let window = conv.window;
    let fits = window.kernel == [K::SIZE; 2] && window.dilation == [1, 1];
    let stepped = window.stride == [1, 1] || window.stride == [2, 2];
    let weights = if fits && stepped { K::pack(isa, &Blocks(conv))? } else { return None };
    Some(Box::new(Square::<K>::new(conv, weights, ends(to_signed(conv.input_zero)))))
}

/// A kernel for square windows of one size, at strides 1 and 2.
///
/// # Safety
/// [`Kernel::walk`] reads what the strip says, and the weights of a block; it writes the strip's outputs, whole blocks.
pub(crate) unsafe trait Kernel: Debug + Send + Sync + 'static {
    /// The proof that the processor has the instructions.
    type Isa: Copy;

    /// The algorithm, in the name of the kernel, and the set.
    const KIND: &'static str;
    const ISA: &'static str;

    /// Rows and columns of the window.
    const SIZE: usize;

    /// Bytes of the packed weights of a block.
    const BYTES: usize;

    /// Packs the weights; `None` where the kernel could not multiply them exactly.
    fn pack(isa: Self::Isa, blocks: &Blocks) -> Option<Vec<i8>>;

    /// The outputs of a strip, `S` columns of the map apart and in `R` rows; `FREE` if the bounds are those of all bytes.
    ///
    /// # Safety
    /// ENABLED and ROWS_STRIP. The processor has the instructions; the strip's pointers are valid for what it says.
    unsafe fn walk<const S: usize, const R: usize, const FREE: bool>(strip: &Strip);
}

/// How an instruction set multiplies the columns of 3×3 windows.
///
/// # Safety
/// WEIGHTS_IN. The methods read eight bytes from each pointer they are given, and the weights of a block.
pub(crate) unsafe trait Columns: Kernel {
    /// The weights of a block, in registers.
    type Weights: Copy;

    /// The rows of a column of the map.
    type Column: Copy;

    /// Loads the weights of a block.
    unsafe fn weights(from: *const i8) -> Self::Weights;

    /// Loads a column: eight channels of each row, `at` bytes from its start, as far as `R` rows of outputs at stride
    /// `S` need them.
    unsafe fn column<const S: usize, const R: usize>(rows: &[*const i8; ROWS], at: usize) -> Self::Column;

    /// The sums of `R` outputs, one above the other, at stride `S`.
    fn sums<const S: usize, const R: usize>(
        bias: [int32x4_t; 2],
        weights: &Self::Weights,
        columns: [&Self::Column; 3],
    ) -> [[int32x4_t; 2]; R];
}

/// Outputs side by side, in one row or in two, of one block of channels.
pub(crate) struct Strip {
    /// The rows of the map, at the first channel of the block.
    pub rows: [*const i8; ROWS],
    /// Zero points, as many as channels of a block.
    pub outside: *const i8,
    /// Column of the map under the first column of the first window.
    pub column: isize,
    /// Columns of the map, and bytes from one to the next.
    pub width: isize,
    pub stride: usize,
    pub outputs: usize,
    pub weights: *const i8,
    pub bias: *const i32,
    pub multiplier: *const f32,
    pub rounding: Rounding,
    /// The first outputs, and bytes from each to the next.
    pub to: [*mut u8; 2],
    pub to_stride: usize,
}

/// A depthwise convolution of a square window, packed.
#[derive(Debug)]
pub(crate) struct Square<K> {
    name: String,
    input: Map,
    output: Map,
    window: Window,
    outside: u8,
    weights: Vec<i8>,
    ends: Ends,
    kernel: std::marker::PhantomData<K>,
}

impl<K: Kernel> Square<K> {
    fn new(conv: &Conv, weights: Vec<i8>, ends: Ends) -> Square<K> {
        Square {
            name: format!(
                "dwconv_s8s8s8_{0}x{0}s{1}_{2}_2x{BLOCK}__{3}",
                K::SIZE,
                conv.window.stride[0],
                K::KIND,
                K::ISA
            ),
            input: conv.input,
            output: conv.output,
            window: conv.window,
            outside: conv.input_zero ^ STORAGE.mask(),
            weights,
            ends,
            kernel: std::marker::PhantomData,
        }
    }

    /// Row `row` of the padded map.
    fn row<'a>(&self, input: &'a [u8], outside: &'a [u8], row: usize) -> &'a [u8] {
        match row.checked_sub(self.window.pad[0]) {
            Some(row) if row < self.input.height => &input[row * outside.len()..][..outside.len()],
            _ => outside,
        }
    }
}

impl<K: Kernel> PackedConv for Square<K> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.weights.len() + self.ends.bytes()
    }

    /// A row of places outside the map.
    fn scratch_bytes(&self) -> usize {
        self.input.width * self.input.stride
    }

    fn run(&self, job: Job) {
        job.assert_whole(&self.output);
        let Job { input, pixels, scratch, .. } = job;
        let output = job.output.into_bytes();
        assert!(input.len() >= self.input.volume());
        let (width, stride) = (self.output.width, self.output.stride);
        let outside = &mut scratch[..self.input.width * self.input.stride];
        outside.fill(self.outside);
        let outside = &*outside;
        let step = self.window.stride[0];
        let free = self.ends.rounding.is_free();
        let columns = (STRIP_BYTES / ((K::SIZE + 2) * self.input.stride * step)).max(STRIP);
        let mut at = pixels.start;
        while at < pixels.end {
            let (y, first) = (at / width, at % width);
            let last = width.min(first + pixels.end - at);
            let two = first == 0 && pixels.end - at >= 2 * width;
            let rows: [&[u8]; ROWS] = std::array::from_fn(|i| self.row(input, outside, y * step + i));
            let strips = (last - first).div_ceil(columns);
            let columns = (last - first).div_ceil(strips);
            for x in (first..last).step_by(columns) {
                let to = &mut output[(at - first + x - pixels.start) * stride..];
                for (block, weights) in self.weights.chunks_exact(K::BYTES).enumerate() {
                    let lane = block * BLOCK;
                    let to = to[lane..].as_mut_ptr();
                    let strip = Strip {
                        rows: rows.map(|row| row[lane..].as_ptr().cast()),
                        outside: outside.as_ptr().cast(),
                        column: (x * step) as isize - self.window.pad[1] as isize,
                        width: self.input.width as isize,
                        stride: self.input.stride,
                        outputs: columns.min(last - x),
                        weights: weights.as_ptr(),
                        bias: self.ends.bias[lane..][..BLOCK].as_ptr(),
                        multiplier: self.ends.multiplier[lane..][..BLOCK].as_ptr(),
                        rounding: self.ends.rounding,
                        to: [to, to.wrapping_add(width * stride)],
                        to_stride: stride,
                    };
                    // SAFETY: the packed weights prove that the instructions are there. Rows are whole rows of the map
                    // or as long, pixels of both maps have room for whole blocks, and the outputs are in the slice:
                    // two rows of them where there are two rows left.
                    unsafe {
                        match (step, two, free) {
                            (1, true, true) => K::walk::<1, 2, true>(&strip),
                            (1, true, false) => K::walk::<1, 2, false>(&strip),
                            (1, false, _) => K::walk::<1, 1, false>(&strip),
                            (_, true, true) => K::walk::<2, 2, true>(&strip),
                            (_, true, false) => K::walk::<2, 2, false>(&strip),
                            (_, false, _) => K::walk::<2, 1, false>(&strip),
                        }
                    }
                }
            }
            at += if two { 2 * width } else { last - first };
        }
    }
}

/// The outputs of a strip, `S` columns of the map apart and in `R` rows; `FREE` if the bounds are those of all bytes.
///
/// # Safety
/// ENABLED and ROWS_STRIP. The instructions of `C` are enabled in the caller; the strip's pointers are valid for what it says.
#[inline(always)]
pub(crate) unsafe fn walk<C: Columns, const S: usize, const R: usize, const FREE: bool>(strip: &Strip) {
    // SAFETY: ENABLED and ROWS_STRIP.
    unsafe {
        let weights = C::weights(strip.weights);
        let bias = [vld1q_s32(strip.bias), vld1q_s32(strip.bias.add(4))];
        let multiplier = [vld1q_f32(strip.multiplier), vld1q_f32(strip.multiplier.add(4))];
        let narrow = strip.rounding.load();
        let mut to = strip.to;
        let mut yield_one = |columns: [&C::Column; 3]| {
            let sums = C::sums::<S, R>(bias, &weights, columns);
            let bytes = requantise::<R, FREE>(sums, multiplier, narrow);
            store(bytes, &mut to, strip.to_stride, R);
        };
        // Any column, outside the map too.
        let any = |column: isize| {
            if (0..strip.width).contains(&column) {
                C::column::<S, R>(&strip.rows, column as usize * strip.stride)
            } else {
                C::column::<S, R>(&[strip.outside; ROWS], 0)
            }
        };
        let mut a = any(strip.column);
        let mut b = if S == 1 { any(strip.column + 1) } else { a };
        // The next column that no register holds.
        let mut column = strip.column + if S == 1 { 2 } else { 1 };
        let mut left = strip.outputs;
        while left > 0 {
            // Steps that stay inside the map.
            let inside = if column < 0 { 0 } else { (strip.width - column).max(0) as usize / S };
            let mut steps = left.min(inside);
            let mut at = column.max(0) as usize * strip.stride;
            if S == 1 {
                steps -= steps % 3;
                for _ in 0..steps / 3 {
                    let c = C::column::<S, R>(&strip.rows, at);
                    yield_one([&a, &b, &c]);
                    a = C::column::<S, R>(&strip.rows, at + strip.stride);
                    yield_one([&b, &c, &a]);
                    b = C::column::<S, R>(&strip.rows, at + 2 * strip.stride);
                    yield_one([&c, &a, &b]);
                    at += 3 * strip.stride;
                }
            } else {
                steps -= steps % 2;
                for _ in 0..steps / 2 {
                    let b = C::column::<S, R>(&strip.rows, at);
                    let c = C::column::<S, R>(&strip.rows, at + strip.stride);
                    yield_one([&a, &b, &c]);
                    let b = C::column::<S, R>(&strip.rows, at + 2 * strip.stride);
                    a = C::column::<S, R>(&strip.rows, at + 3 * strip.stride);
                    yield_one([&c, &b, &a]);
                    at += 4 * strip.stride;
                }
            }
            left -= steps;
            column += (steps * S) as isize;
            if steps > 0 {
                continue;
            }
            // A step at an edge, or one of the last before it.
            if S == 1 {
                let c = any(column);
                yield_one([&a, &b, &c]);
                (a, b) = (b, c);
            } else {
                let (b, c) = (any(column), any(column + 1));
                yield_one([&a, &b, &c]);
                a = c;
            }
            left -= 1;
            column += S as isize;
        }
    }
}

/// The bytes of `R` outputs, eight for each: of one, or of two; `FREE` if the bounds are those of all bytes.
#[inline(always)]
pub(crate) fn requantise<const R: usize, const FREE: bool>(
    sums: [[int32x4_t; 2]; R],
    multiplier: [float32x4_t; 2],
    narrow: Narrow,
) -> int8x16_t {
    let rounded = |row: usize| [round(sums[row][0], multiplier[0]), round(sums[row][1], multiplier[1])];
    let [a, b] = rounded(0);
    let bytes = if R == 1 {
        narrow.half_free([a, b])
    } else {
        let [c, d] = rounded(R - 1);
        narrow.free([a, b, c, d])
    };
    if FREE { bytes } else { narrow.bound(bytes) }
}

/// Stores eight bytes for each of `rows` outputs, one or two, and moves on to the next ones. The compiler takes five
/// instructions for these two.
///
/// # Safety
/// CHANNELS_OUT. They can be written.
#[inline(always)]
unsafe fn store(bytes: int8x16_t, [first, second]: &mut [*mut u8; 2], stride: usize, rows: usize) {
    // SAFETY: CHANNELS_OUT.
    unsafe {
        asm!("st1 {{{b:v}.8b}}, [{to}], {stride}", b = in(vreg) bytes, to = inout(reg) *first, stride = in(reg) stride,
            options(nostack, preserves_flags));
        if rows == 2 {
            asm!("st1 {{{b:v}.d}}[1], [{to}], {stride}", b = in(vreg) bytes, to = inout(reg) *second,
                stride = in(reg) stride, options(nostack, preserves_flags));
        }
    }
}
