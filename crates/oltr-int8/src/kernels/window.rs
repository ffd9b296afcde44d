//! Where the activations under the windows of a block of output pixels lie, for tiles that sum over channels.
//!
//! A tile walks *runs*: contiguous bytes at fixed distances from a pixel's address. Where a window is one place, the
//! runs lie in the map itself. Elsewhere the part of the input under a block is copied to scratch, where places outside
//! the map hold the zero point and each row of a window is contiguous. Where these rows are short (the three channels
//! of a picture) a second copy strings them together, so that vectors of 16 bytes are not mostly empty.

use std::ops::Range;

use crate::kernels::contract::{Conv, Storage};

/// Bytes of activations that a tile loads at a time.
pub(crate) const CHUNK: usize = 16;

/// Bytes of copied input under a block where the weights stay in the L2 cache: the block stays in L1.
const SMALL_BLOCK: usize = 16 << 10;

/// Bytes of copied input where the weights come from memory: a larger block reads them less often.
const LARGE_BLOCK: usize = 96 << 10;

/// Bytes of weights from which the large block pays.
const LARGE_WEIGHTS: usize = 256 << 10;

/// Most pixels of a block, small and large.
const BLOCK_PIXELS: [usize; 2] = [120, 240];

/// Contiguous activations under a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Bytes from the pixel's address.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

/// A piece of a run, up to [`CHUNK`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes from the pixel's address.
    pub offset: u32,
    /// Number of its first weight among the weights of a channel.
    pub place: usize,
    /// Weights that it has.
    pub len: usize,
}

/// Cuts runs into chunks. The weights of a channel are in the order of the runs.
pub(crate) fn chunks(runs: &[Run]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut place = 0;
    for run in runs {
        for at in (0..run.len).step_by(CHUNK) {
            let len = CHUNK.min(run.len - at);
            chunks.push(Chunk { offset: (run.offset + at) as u32, place: place + at, len });
        }
        place += run.len;
    }
    chunks
}

/// The activations of a block, by the addresses of its pixels. From each every chunk of every run can be read in
/// full; what lies behind the end of a run is arbitrary.
pub(crate) type Pixels<'a> = &'a [*const i8];

/// A block of output pixels: part of a row, or whole rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Number of its first pixel in the map.
    pub first: usize,
    rows: usize,
    columns: usize,
}

impl Block {
    pub fn pixels(&self) -> usize {
        self.rows * self.columns
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gather {
    /// The map itself.
    Map,
    /// Copied rows.
    Rows,
    /// Copied rows, then strung together for each pixel; bytes from one pixel to the next.
    Patches(usize),
}

/// How the windows of a layer, or of one of its groups, find their activations.
#[derive(Debug)]
pub(crate) struct Windows {
    shape: Shape,
    gather: Gather,
    /// First input channel and number of input channels.
    first: usize,
    depth: usize,
    /// The zero point as it lies in memory.
    outside: u8,
    size: BlockSize,
    /// Where each chunk of a patch begins: in the copied rows, from the pixel's first place on, and in the patch.
    copies: Vec<[u32; 2]>,
    /// The runs that tiles walk.
    runs: Vec<Run>,
}

/// Geometry with degenerate axes folded away: an unpadded 1×1 convolution of stride 1 is one row of
/// pixels, and along an axis where the window has one tap only every `every`-th place is copied.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Height and width of the input.
    input: [usize; 2],
    in_stride: usize,
    /// Height and width of the output.
    output: [usize; 2],
    /// From one copied place to the next.
    every: [usize; 2],
    /// Steps of the window, in copied places.
    step: [usize; 2],
    pad: [usize; 2],
    /// Copied places under a window.
    extent: [usize; 2],
}

/// The most that a block spans.
#[derive(Clone, Copy, Debug)]
struct BlockSize {
    rows: usize,
    columns: usize,
    /// Bytes from one copied row to the next.
    pitch: usize,
    /// Bytes of the copied rows, and of the patches.
    bytes: [usize; 2],
}

impl Windows {
    /// For group `group` of `conv`.
    pub fn new(conv: &Conv, group: usize) -> Windows {
        let [kh, kw] = conv.window.kernel;
        let dilation = conv.window.dilation;
        let depth = conv.input.channels / conv.groups;
        let first = group * depth;
        let shape = Shape::new(conv);
        let total = kh * kw * depth;
        let outside = conv.input_zero ^ Storage::Signed.mask();

        if shape.is_point() && first + depth.next_multiple_of(CHUNK) <= conv.input.stride {
            let size = BlockSize::new(&shape, conv.input.stride, total * conv.output.channels, 0);
            let size = BlockSize { bytes: [0; 2], ..size };
            let runs = vec![Run { offset: 0, len: depth }];
            return Windows { shape, gather: Gather::Map, first, depth, outside, size, copies: Vec::new(), runs };
        }
        let sideways = kw > 1 && dilation[1] > 1;
        let run_taps = if sideways { 1 } else { kw };
        let chunks_of = |len: usize| len.div_ceil(CHUNK);
        let in_rows = chunks_of(run_taps * depth) * (kh * kw / run_taps);
        let patch = (in_rows > chunks_of(total)).then_some(total.next_multiple_of(CHUNK));
        let size = BlockSize::new(&shape, depth, total * conv.output.channels, patch.unwrap_or(0));
        let rows: Vec<Run> = (0..kh * kw / run_taps)
            .map(|run| {
                let (row, column) = if sideways { (run / kw, run % kw) } else { (run, 0) };
                let offset = row * dilation[0] * size.pitch + column * dilation[1] * depth;
                Run { offset, len: run_taps * depth }
            })
            .collect();
        let copies = chunks(&rows).iter().map(|chunk| [chunk.offset, chunk.place as u32]).collect();
        let (gather, runs) = match patch {
            Some(bytes) => (Gather::Patches(bytes), vec![Run { offset: 0, len: total }]),
            None => (Gather::Rows, rows),
        };
        Windows { shape, gather, first, depth, outside, size, copies, runs }
    }

    /// The runs under every window, in the order of the weights.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Most pixels of a block.
    pub fn most_pixels(&self) -> usize {
        self.size.rows * self.size.columns
    }

    /// Bytes of scratch that [`Windows::gather`] needs.
    pub fn scratch_bytes(&self) -> usize {
        let addresses = self.most_pixels() * size_of::<*const i8>() + align_of::<*const i8>();
        self.size.bytes[0] + self.size.bytes[1] + addresses
    }

    /// The first block of `pixels`, which are not none.
    pub fn block(&self, pixels: &Range<usize>) -> Block {
        let width = self.shape.output[1];
        let (first, left) = (pixels.start, pixels.len());
        let x = first % width;
        if x == 0 && left >= width && self.size.columns == width {
            return Block { first, rows: (left / width).min(self.size.rows), columns: width };
        }
        Block { first, rows: 1, columns: left.min(width - x).min(self.size.columns) }
    }

    /// Finds or copies the activations of a block.
    pub fn gather<'a>(&self, input: &'a [u8], block: &Block, scratch: &'a mut [u8]) -> Pixels<'a> {
        let s = &self.shape;
        assert!(input.len() >= s.input[0] * s.input[1] * s.in_stride);
        let [row_bytes, patch_bytes] = self.size.bytes;
        let (copied, rest) = scratch.split_at_mut(row_bytes);
        let (patches, rest) = rest.split_at_mut(patch_bytes);
        // SAFETY: every pattern of bits is an address; `align_to_mut` sees to the alignment.
        let addresses = unsafe { rest.align_to_mut::<*const i8>().1 };
        let addresses = &mut addresses[..block.pixels()];
        let (y, x) = (block.first / s.output[1], block.first % s.output[1]);
        let rows = addresses.chunks_exact_mut(block.columns).enumerate();
        if self.gather == Gather::Map {
            for (row, addresses) in rows {
                let place = (y + row) * s.every[0] * s.input[1] + x * s.every[1];
                line(addresses, &input[place * s.in_stride + self.first..], s.every[1] * s.in_stride);
            }
            return addresses;
        }
        self.copy(input, [y, x], [block.rows, block.columns], copied);
        let [down, right] = [s.step[0] * self.size.pitch, s.step[1] * self.depth];
        let Gather::Patches(bytes) = self.gather else {
            for (row, addresses) in rows {
                line(addresses, &copied[row * down..], right);
            }
            return addresses;
        };
        for (row, addresses) in rows {
            let patches = &mut patches[row * block.columns * bytes..];
            for column in 0..block.columns {
                for [from, to] in &self.copies {
                    // SAFETY: `BlockSize::new` left a chunk to spare behind the copied rows and the patches. What is
                    // written behind the end of a run, the next run mends.
                    unsafe {
                        let from = copied.as_ptr().add(row * down + column * right + *from as usize);
                        let to = patches.as_mut_ptr().add(column * bytes + *to as usize);
                        to.cast::<[u8; CHUNK]>().write_unaligned(from.cast::<[u8; CHUNK]>().read_unaligned());
                    }
                }
            }
            line(addresses, patches, bytes);
        }
        addresses
    }

    /// Copies the part of the input under `rows × columns` output pixels from pixel `[y, x]` on.
    fn copy(&self, input: &[u8], [y, x]: [usize; 2], [rows, columns]: [usize; 2], copied: &mut [u8]) {
        let s = &self.shape;
        let span = |axis: usize, count: usize| (count - 1) * s.step[axis] + s.extent[axis];
        let (rows, columns) = (span(0, rows), span(1, columns));
        let first = |axis: usize, at: usize| (at * s.step[axis] * s.every[axis]) as isize - s.pad[axis] as isize;
        let (y, x) = (first(0, y), first(1, x));
        // Copied positions of a row that lie in the map.
        let left = x.min(0).unsigned_abs().div_ceil(s.every[1]).min(columns);
        let inside = (s.input[1] as isize - x).max(0) as usize;
        let right = inside.div_ceil(s.every[1]).clamp(left, columns);
        let depth = self.depth;
        for row in 0..rows {
            let to = &mut copied[row * self.size.pitch..][..columns * depth];
            let y = y + (row * s.every[0]) as isize;
            if y < 0 || y >= s.input[0] as isize || left == right {
                to.fill(self.outside);
                continue;
            }
            to[..left * depth].fill(self.outside);
            to[right * depth..].fill(self.outside);
            let place = y as usize * s.input[1] + (x + (left * s.every[1]) as isize) as usize;
            let from = &input[place * s.in_stride + self.first..];
            let to = &mut to[left * depth..right * depth];
            let stride = s.in_stride * s.every[1];
            if stride == depth {
                to.copy_from_slice(&from[..to.len()]);
            } else {
                for (to, from) in to.chunks_exact_mut(depth).zip(from.chunks(stride)) {
                    to.copy_from_slice(&from[..depth]);
                }
            }
        }
    }
}

/// Addresses in `from`, `step` bytes apart.
fn line(addresses: &mut [*const i8], from: &[u8], step: usize) {
    let mut address = from.as_ptr().cast();
    for to in addresses {
        *to = address;
        address = address.wrapping_add(step);
    }
}

impl Shape {
    fn new(conv: &Conv) -> Shape {
        let window = conv.window;
        let mut input = [conv.input.height, conv.input.width];
        let mut output = [conv.output.height, conv.output.width];
        if window.kernel == [1, 1] && window.stride == [1, 1] && window.pad == [0, 0] && output == input {
            (input, output) = ([1, input[0] * input[1]], [1, input[0] * input[1]]);
        }
        let single = window.kernel.map(|taps| taps == 1);
        let per_axis = |of: &dyn Fn(usize) -> usize| [of(0), of(1)];
        Shape {
            input,
            in_stride: conv.input.stride,
            output,
            every: per_axis(&|a| if single[a] { window.stride[a] } else { 1 }),
            step: per_axis(&|a| if single[a] { 1 } else { window.stride[a] }),
            pad: window.pad,
            extent: per_axis(&|a| (window.kernel[a] - 1) * window.dilation[a] + 1),
        }
    }

    /// Whether each window is one place of the map.
    fn is_point(&self) -> bool {
        let inside = |a: usize| self.pad[a] == 0 && (self.output[a] - 1) * self.every[a] < self.input[a];
        self.extent == [1, 1] && inside(0) && inside(1)
    }
}

impl BlockSize {
    /// The largest block within the bounds; at least a row's part of one pixel. `depth` is the bytes of a copied
    /// place, `patch` those of a pixel's patch.
    fn new(shape: &Shape, depth: usize, weight_bytes: usize, patch: usize) -> BlockSize {
        let large = usize::from(weight_bytes >= LARGE_WEIGHTS);
        let (budget, most_pixels) = ([SMALL_BLOCK, LARGE_BLOCK][large], BLOCK_PIXELS[large]);
        let [height, width] = shape.output;
        let pitch = |columns: usize| {
            let positions = (columns - 1) * shape.step[1] + shape.extent[1];
            (positions * depth + CHUNK).next_multiple_of(CHUNK)
        };
        let rows_bytes = |rows: usize, columns: usize| ((rows - 1) * shape.step[0] + shape.extent[0]) * pitch(columns);
        let fits = |rows: usize, columns: usize| {
            rows * columns <= most_pixels && rows_bytes(rows, columns).max(rows * columns * patch) <= budget
        };

        let (mut rows, mut columns) = (1, width);
        // A part of a row is a whole number of the tiles, of 4 and of 6 pixels.
        while columns > 12 && !fits(1, columns) {
            columns = if columns > 24 { (columns / 2).next_multiple_of(12) } else { 12 };
        }
        if columns == width {
            while rows < height && fits(rows + 1, columns) {
                rows += 1;
            }
            // Blocks of about the same size: 28 rows by 14 and 14, not by 20 and 8.
            rows = height.div_ceil(height.div_ceil(rows));
        }
        let spare = if patch == 0 { 0 } else { CHUNK };
        let bytes = [rows_bytes(rows, columns) + CHUNK, rows * columns * patch + spare];
        BlockSize { rows, columns, pitch: pitch(columns), bytes }
    }
}
