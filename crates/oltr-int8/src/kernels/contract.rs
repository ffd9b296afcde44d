//! The contract between layers and kernels.

use std::fmt::Debug;
use std::ops::Range;

use crate::quant::{AddQuant, Quant, Requant};

/// How bytes lie in memory. Kernels for signed products keep them signed so as not to convert at every load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As they are.
    Unsigned,
    /// Each byte xor 0x80: the value minus 128 as a signed byte.
    Signed,
}

impl Storage {
    /// What a byte is xored with on its way to and from memory.
    #[inline(always)]
    pub fn mask(self) -> u8 {
        match self {
            Storage::Unsigned => 0,
            Storage::Signed => 0x80,
        }
    }
}

/// A map of bytes or single-precision numbers: `height × width` pixels, channels last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Channels that mean something.
    pub channels: usize,
    /// Elements from one pixel to the next, at least `channels`.
    pub stride: usize,
}

impl Map {
    /// Pixels.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Elements that a buffer for this map needs.
    pub fn volume(&self) -> usize {
        self.pixels() * self.stride
    }
}

/// A window that slides over a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width in taps.
    pub kernel: [usize; 2],
    /// Steps down and to the right.
    pub stride: [usize; 2],
    /// Distance of neighbouring taps.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left that lie outside the map. What lies below and to the right follows from
    /// the size of the output.
    pub pad: [usize; 2],
}

impl Window {
    /// The window of a 1×1 convolution.
    pub const POINT: Window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] };
}

/// A residual addition after a convolution (the second summand; the first is the convolution's own result).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// The addition; its `a` is the convolution's result.
    pub add: AddQuant,
    /// Pixel stride of the second summand.
    pub stride: usize,
}

/// What a convolution writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Bytes, requantised; then, if there is one, added to the residual.
    Bytes(Requant, Option<Residual>),
    /// Single-precision numbers: `sum as f32 * multiplier[c]`, `multiplier = scale_x * scale_w`.
    F32(Vec<f32>),
}

impl Output {
    /// The type of the results in kernels' names.
    pub(crate) fn dtype(&self, storage: Storage) -> &'static str {
        match (self, storage) {
            (Output::F32(_), _) => "f32",
            (Output::Bytes(..), Storage::Unsigned) => "u8",
            (Output::Bytes(..), Storage::Signed) => "s8",
        }
    }
}

/// A convolution, quantised (ONNX QLinearConv), before packing. A fully connected layer is one on a 1×1 map.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// The input.
    pub input: Map,
    /// The output. `output.height` and `.width` are ONNX's, whatever the padding at the far sides was.
    pub output: Map,
    /// The window.
    pub window: Window,
    /// Groups; divides both channel counts. Depthwise where it equals both.
    pub groups: usize,
    /// Zero point of the input, unsigned.
    pub input_zero: u8,
    /// `[output channel][row][column][input channel of the group]`, zero point 0.
    pub weights: Vec<i8>,
    /// One for each output channel, in units of `scale_x * scale_w`.
    pub bias: Vec<i32>,
    /// What becomes of the sums.
    pub result: Output,
}

impl Conv {
    /// Whether each output channel sees just the input channel of the same number.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input.channels && self.groups == self.output.channels
    }

    /// The largest size that a sum of output channel `channel` can have, whatever the input is.
    pub fn largest_sum(&self, channel: usize) -> u64 {
        let [kh, kw] = self.window.kernel;
        let terms = kh * kw * (self.input.channels / self.groups);
        let weights = &self.weights[channel * terms..][..terms];
        let input = u64::from(self.input_zero.max(255 - self.input_zero));
        let products: u64 = weights.iter().map(|w| u64::from(w.unsigned_abs()) * input).sum();
        products + u64::from(self.bias[channel].unsigned_abs())
    }

    /// Multiply-accumulates of one run, padding counted.
    pub fn macs(&self) -> u64 {
        let [kh, kw] = self.window.kernel;
        (self.output.pixels() * self.output.channels * kh * kw * (self.input.channels / self.groups)) as u64
    }
}

/// Where results go: an element for each channel of each pixel, one pixel after the other.
#[derive(Debug)]
pub enum Destination<'a> {
    /// For [`Output::Bytes`].
    Bytes(&'a mut [u8]),
    /// For [`Output::F32`].
    F32(&'a mut [f32]),
}

impl<'a> Destination<'a> {
    /// The destination from element `first` on.
    pub fn part(&mut self, first: usize) -> Destination<'_> {
        match self {
            Destination::Bytes(to) => Destination::Bytes(&mut to[first..]),
            Destination::F32(to) => Destination::F32(&mut to[first..]),
        }
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Destination::Bytes(to) => to.len(),
            Destination::F32(to) => to.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, for kernels of layers that yield nothing else.
    ///
    /// # Panics
    /// If it is one of f32 values, which no job for such a layer has.
    pub fn into_bytes(self) -> &'a mut [u8] {
        match self {
            Destination::Bytes(to) => to,
            Destination::F32(_) => panic!("the layer yields bytes, its destination holds f32 values"),
        }
    }
}

/// What to compute of a convolution, and from what.
#[derive(Debug)]
pub struct Job<'a> {
    /// [`Conv::input`]`.volume()` bytes.
    pub input: &'a [u8],
    /// The second summand, from output pixel 0 on; given exactly where the convolution adds one.
    pub residual: Option<&'a [u8]>,
    /// Output pixels, counted row by row.
    pub pixels: Range<usize>,
    /// Output channels. `None`: all of them, and pixels of the destination are [`Map::stride`] apart. Else those that
    /// [`PackedConv::cuts`] allows, and a pixel of the destination holds just these.
    pub channels: Option<Range<usize>>,
    /// Begins with the first of the channels of the first of the pixels.
    pub output: Destination<'a>,
    /// [`PackedConv::scratch_bytes`], contents arbitrary.
    pub scratch: &'a mut [u8],
}

impl Job<'_> {
    /// Holds a job against the map of the result, for layers whose channels are cut nowhere.
    ///
    /// # Panics
    /// If it asks for part of the channels, for pixels that do not exist, or has a destination of another length.
    pub fn assert_whole(&self, map: &Map) {
        assert!(self.channels.is_none(), "the channels of this layer are cut nowhere");
        assert!(self.pixels.end <= map.pixels() && self.output.len() == self.pixels.len() * map.stride);
    }
}

/// Where the channels of a layer may be cut, so that threads share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cuts<'a> {
    /// Each job computes all channels.
    Nowhere,
    /// Between any two.
    Anywhere,
    /// At these channels, the first of which is 0 and the last their number.
    At(&'a [usize]),
}

/// A convolution that was packed for one instruction set. All bytes are in the set's [`Storage`].
///
/// # Names
/// Kernels are named by one grammar, on every set: `conv_u8s8u8_by_sums_6x16__avx2` is a kernel for *what*
/// (`conv`, `dwconv`, `matvec`), of activations, weights and results of *these types*, by *this algorithm*, in tiles of
/// *pixels x channels*, on *that set*.
pub trait PackedConv: Debug + Send + Sync {
    /// Name of the kernel.
    fn name(&self) -> &str;

    /// Bytes of the packed weights with bias and multipliers.
    fn weights_bytes(&self) -> usize;

    /// Bytes of scratch that one thread needs.
    fn scratch_bytes(&self) -> usize;

    /// Output pixels that are computed together: a range that begins at a multiple of so many wastes nothing.
    fn grain(&self) -> usize {
        1
    }

    /// Where its channels may be cut.
    fn cuts(&self) -> Cuts<'_> {
        Cuts::Nowhere
    }

    /// Most pixels of a map whose threads better share it by its channels, as their number divides badly, and each part of
    /// them would read all weights.
    fn few_pixels(&self) -> usize {
        63
    }

    /// Computes what the job asks for.
    fn run(&self, job: Job);
}

/// Average over windows (ONNX AveragePool, GlobalAveragePool): sums of `q - zero` times a multiplier.
#[derive(Clone, Debug, PartialEq)]
pub struct AveragePool {
    /// The input.
    pub input: Map,
    /// The output.
    pub output: Map,
    /// The window; a global average has one as large as the map.
    pub window: Window,
    /// Whether places outside the map count in the divisor (ONNX `count_include_pad`).
    pub count_pad: bool,
    /// Quantisation of the input.
    pub x: Quant,
    /// Quantisation of the output.
    pub y: Quant,
    /// Smallest byte of the result.
    pub lo: u8,
    /// Largest byte of the result.
    pub hi: u8,
}

impl AveragePool {
    /// What the sum over `count` places inside the map is multiplied with: `scale_x / (scale_y * divisor)`.
    pub fn multiplier(&self, count: usize) -> f32 {
        let divisor = if self.count_pad { self.window.kernel[0] * self.window.kernel[1] } else { count };
        self.x.scale / (self.y.scale * divisor as f32)
    }
}

/// Largest byte under a window (ONNX MaxPool on quantised bytes; input and output share scale and zero point).
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool {
    /// The input.
    pub input: Map,
    /// The output.
    pub output: Map,
    /// The window.
    pub window: Window,
}

/// Columns of a panel of pairs, see [`KernelSet::pair_products`].
pub const PAIRS: usize = 16;

/// Two rows of a matrix in [`PAIRS`] columns, place by place.
pub type PairRow = [[i16; 2]; PAIRS];

/// The kernels of one instruction set.
pub trait KernelSet: Debug + Sync {
    /// `scalar`, `avx2`, …: as in kernel names and in reports.
    fn isa(&self) -> &'static str;

    /// How bytes lie in memory for this set.
    fn storage(&self) -> Storage;

    /// Packs a convolution of any kind: dense, depthwise or grouped.
    fn conv(&self, conv: Conv) -> Box<dyn PackedConv>;

    /// `output[i] = add(a[i], b[i])`; equal lengths.
    fn add(&self, add: &AddQuant, a: &[u8], b: &[u8], output: &mut [u8]);

    /// Output pixels `pixels` of a maximum pool; slices as for [`PackedConv`].
    fn max_pool(&self, pool: &MaxPool, input: &[u8], output: &mut [u8], pixels: Range<usize>);

    /// Output pixels `pixels` of an average pool; slices as for [`PackedConv`].
    fn average_pool(&self, pool: &AveragePool, input: &[u8], output: &mut [u8], pixels: Range<usize>);

    /// `output[i] = table[input[i]]`. The table is indexed by and yields bytes as they lie in memory.
    fn table(&self, table: &[u8; 256], input: &[u8], output: &mut [u8]);

    /// Quantises pixels `pixels` of `channels` planes (ONNX NCHW) of `output_map.pixels()` numbers each into a
    /// channels-last map; `output` begins at the first of them and ends with the last.
    fn quantise(&self, quant: Quant, input: &[f32], output_map: &Map, output: &mut [u8], pixels: Range<usize>);

    /// The reverse of [`KernelSet::quantise`].
    fn dequantise(&self, quant: Quant, input_map: &Map, input: &[u8], output: &mut [f32]);

    /// The product of two matrices of 16-bit numbers: `sums[row][column] = Σ rows[row][i] · panel[i][column]`, where a
    /// pair's two products are both added. `rows` holds `panel.len()` pairs for each row of the sums. Wraps.
    fn pair_products(&self, rows: &[[i16; 2]], panel: &[PairRow], sums: &mut [[i32; PAIRS]]);
}
