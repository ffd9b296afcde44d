//! Convolutions with channels to sum over, in strips of [`LANES`] output channels.

use std::fmt::Debug;
use std::ops::Range;

use crate::kernels::aarch64::epilogue::rounding::{LANES, to_signed};
use crate::kernels::aarch64::epilogue::{Epilogue, STORAGE, Target};
use crate::kernels::contract::{Conv, Cuts, Destination, Job, Output, PackedConv};
use crate::kernels::window::{Pixels, Run, Windows};

/// The weights of a layer or group before packing.
pub(crate) struct Weights<'a> {
    /// `[channel][place]`, the places in the order of the runs.
    pub values: &'a [i8],
    pub channels: usize,
    pub runs: &'a [Run],
    /// One for each lane of all strips, what activations of 0 do not yet stand for included.
    pub bias: Vec<i32>,
}

impl Weights<'_> {
    /// The weights of `channel` at `positions`; none for lanes without a channel.
    pub fn of(&self, channel: usize, positions: Range<usize>) -> &[i8] {
        let all = self.values.len() / self.channels;
        if channel < self.channels { &self.values[channel * all..][positions] } else { &[] }
    }
}

/// Packed weights and the tiles that multiply with them, of one instruction set. A value proves that the processor has
/// the instructions.
///
/// # Safety
/// [`Tiles::strip`] reads, for each pixel, the whole chunks of the runs that the weights were packed for, and writes
/// what [`Target`] says for the pixels it is given; nothing else.
pub(crate) unsafe trait Tiles: Debug + Send + Sync + Sized + 'static {
    /// The proof that the processor has the instructions.
    type Isa: Copy;

    /// Algorithm and tile, in the name of the kernel, and the set.
    const KIND: &'static str;
    const ISA: &'static str;

    /// Packs weights.
    fn pack(isa: Self::Isa, weights: Weights) -> Self;

    /// Bytes of weights and biases.
    fn bytes(&self) -> usize;

    /// All pixels of a block for strip `strip`.
    ///
    /// # Safety
    /// The pixels are what [`Windows::gather`] found with the runs of the weights; the target holds them.
    unsafe fn strip(&self, strip: usize, pixels: Pixels, target: Target);
}

/// One group of a convolution.
#[derive(Debug)]
struct Group<T> {
    windows: Windows,
    tiles: T,
    epilogue: Epilogue,
}

/// A dense convolution (one group), or one after another those of the groups.
#[derive(Debug)]
pub(crate) struct Direct<T> {
    name: String,
    /// Pixel stride and channels of the output.
    stride: usize,
    channels: usize,
    /// Whether there is one output pixel to which nothing is added, so that its channels may be cut.
    one_pixel: bool,
    groups: Vec<Group<T>>,
}

impl<T: Tiles> Direct<T> {
    /// Packs `conv`.
    pub fn new(isa: T::Isa, conv: &Conv) -> Direct<T> {
        let groups = (0..conv.groups).map(|group| Group::new(isa, conv, group)).collect();
        let one_pixel = conv.output.pixels() == 1 && !matches!(conv.result, Output::Bytes(_, Some(_)));
        let name = format!("conv_s8s8{}_{}__{}", conv.result.dtype(STORAGE), T::KIND, T::ISA);
        Direct { name, stride: conv.output.stride, channels: conv.output.channels, one_pixel, groups }
    }

    /// Computes `pixels`; `to` begins at the first of them.
    fn compute(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        pixels: Range<usize>,
        scratch: &mut [u8],
    ) {
        for group in &self.groups {
            group.run(input, residual, to.part(0), pixels.clone(), scratch);
        }
    }

    /// Computes channels `wanted` of pixel 0; `to` begins at the first of them.
    fn channels(&self, input: &[u8], mut to: Destination, wanted: Range<usize>, scratch: &mut [u8]) {
        assert!(wanted.end <= self.channels);
        let per_group = self.channels / self.groups.len();
        for (i, group) in self.groups.iter().enumerate() {
            let first = i * per_group;
            let part = wanted.start.clamp(first, first + per_group)..wanted.end.clamp(first, first + per_group);
            if !part.is_empty() {
                let to = to.part(part.start - wanted.start);
                group.channels(input, to, part.start - first..part.end - first, scratch);
            }
        }
    }
}

impl<T: Tiles> Group<T> {
    fn new(isa: T::Isa, conv: &Conv, group: usize) -> Group<T> {
        let [kh, kw] = conv.window.kernel;
        let positions = kh * kw * conv.input.channels / conv.groups;
        let channels = conv.output.channels / conv.groups;
        let first = group * channels;
        let windows = Windows::new(conv, group);
        let values = &conv.weights[first * positions..(first + channels) * positions];
        // Tiles multiply the signed bytes as they lie in memory: with the zero point not subtracted.
        let zero = i32::from(to_signed(conv.input_zero));
        let mut bias: Vec<i32> = values
            .chunks(positions)
            .zip(&conv.bias[first..])
            .map(|(weights, bias)| {
                let sum: i32 = weights.iter().map(|w| i32::from(*w)).sum();
                bias.wrapping_sub(zero.wrapping_mul(sum))
            })
            .collect();
        bias.resize(channels.next_multiple_of(LANES), 0);
        let tiles = T::pack(isa, Weights { values, channels, runs: windows.runs(), bias });
        Group { windows, tiles, epilogue: Epilogue::new(conv, first..first + channels) }
    }

    fn weights_bytes(&self) -> usize {
        self.tiles.bytes() + self.epilogue.bytes()
    }

    fn scratch_bytes(&self) -> usize {
        self.windows.most_pixels() * LANES * size_of::<i32>() + self.windows.scratch_bytes() + align_of::<i32>()
    }

    /// The sums between tiles and epilogue, and the scratch of the windows.
    fn split<'a>(&self, scratch: &'a mut [u8]) -> (&'a mut [i32], &'a mut [u8]) {
        assert!(scratch.len() >= self.scratch_bytes());
        let skip = scratch.as_ptr().align_offset(align_of::<i32>());
        let (sums, rest) = scratch[skip..].split_at_mut(self.windows.most_pixels() * LANES * size_of::<i32>());
        // SAFETY: every pattern of bits is a number; the alignment was seen to.
        (unsafe { sums.align_to_mut::<i32>().1 }, rest)
    }

    fn run(
        &self,
        input: &[u8],
        residual: Option<&[u8]>,
        mut to: Destination,
        mut pixels: Range<usize>,
        scratch: &mut [u8],
    ) {
        let (middle, scratch) = self.split(scratch);
        let first = pixels.start;
        while !pixels.is_empty() {
            let block = self.windows.block(&pixels);
            let count = block.pixels();
            let gathered = self.windows.gather(input, &block, scratch);
            let mut to = to.part((block.first - first) * self.epilogue.stride());
            for strip in 0..self.epilogue.strips() {
                let target = self.epilogue.target(strip, count, &mut to, middle);
                // SAFETY: the pixels were gathered for the runs that the tiles were packed for; the target was made
                // for as many pixels.
                unsafe { self.tiles.strip(strip, gathered, target) };
                self.epilogue.finish(strip, count, block.first, residual, &mut to, middle);
            }
            pixels.start += count;
        }
    }

    fn channels(&self, input: &[u8], mut to: Destination, wanted: Range<usize>, scratch: &mut [u8]) {
        let (_, scratch) = self.split(scratch);
        let gathered = self.windows.gather(input, &self.windows.block(&(0..1)), scratch);
        for strip in wanted.start / LANES..wanted.end.div_ceil(LANES) {
            let mut sums = [0; LANES];
            // SAFETY: as in `run`; the sums are those of one pixel.
            unsafe { self.tiles.strip(strip, gathered, Target::Sums(sums.as_mut_ptr())) };
            self.epilogue.channels(strip, &sums, &wanted, &mut to);
        }
    }
}

impl<T: Tiles> PackedConv for Direct<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn weights_bytes(&self) -> usize {
        self.groups.iter().map(Group::weights_bytes).sum()
    }

    fn scratch_bytes(&self) -> usize {
        self.groups.iter().map(Group::scratch_bytes).max().unwrap_or(0)
    }

    fn cuts(&self) -> Cuts<'_> {
        if self.one_pixel { Cuts::Anywhere } else { Cuts::Nowhere }
    }

    fn run(&self, job: Job) {
        let Some(channels) = job.channels else {
            assert_eq!(job.output.len(), job.pixels.len() * self.stride);
            return self.compute(job.input, job.residual, job.output, job.pixels, job.scratch);
        };
        assert!(self.one_pixel && job.output.len() == channels.len() && job.pixels == (0..1));
        self.channels(job.input, job.output, channels, job.scratch);
    }
}
