//! Convolutions and fully connected layers.

use std::ops::Range;

use crate::kernels::{Cuts, Destination, Job, Map, PackedConv};
use crate::layers::cut::products;
use crate::layers::{Call, Extent, Layer};
use crate::plan::ALIGN;
use crate::threads::{Cut, Part};

/// Channels of a fully connected layer whose weights are read together.
const CHANNELS: usize = 4;

/// A packed convolution.
#[derive(Debug)]
pub(crate) struct Convolution {
    pub packed: Box<dyn PackedConv>,
    /// Map of the result; a product of matrices is a row of pixels.
    pub map: Map,
    /// Whether the result is f32 values.
    pub floats: bool,
    /// Whether a second operand is added to the result.
    pub adds: bool,
}

impl Convolution {
    /// Whether threads share the channels of the one pixel.
    fn by_channels(&self) -> bool {
        self.map.pixels() == 1 && !self.adds && self.packed.cuts() == Cuts::Anywhere
    }
}

impl Layer for Convolution {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        let (conv, map, size) = (&*self.packed, &self.map, if self.floats { 4 } else { 1 });
        if !self.floats && threads > 1 && parts(extent) > 1 && by_slices(conv, map) {
            let rows = [map.pixels(), map.stride];
            return Cut::columns((slices(conv), slice_parts(extent, threads)), rows, |of| channels(conv, of), threads);
        }
        match self.by_channels() {
            true => Cut::items(by_channels(extent, map, threads), size, threads),
            false => Cut::items(by_pixels(extent, conv, map, threads), map.stride * size, threads),
        }
    }

    fn compute(&self, call: Call) {
        let (pixels, channels) = match call.part {
            Part::Slices(slices) => (0..self.map.pixels(), Some(channels(&*self.packed, slices))),
            Part::Items(range) if self.by_channels() => (0..1, Some(range)),
            Part::Items(range) => (range, None),
        };
        let output = match self.floats {
            true => Destination::F32(bytemuck::cast_slice_mut(call.output)),
            false => Destination::Bytes(call.output),
        };
        let [input, b] = call.operands;
        let residual = self.adds.then_some(b);
        self.packed.run(Job { input, residual, pixels, channels, output, scratch: call.scratch });
    }

    /// Where threads share slices of channels, their results are first computed in scratch.
    fn scratch_bytes(&self) -> usize {
        let compact = if by_slices(&*self.packed, &self.map) { self.map.volume() + ALIGN } else { 0 };
        self.packed.scratch_bytes() + compact
    }

    fn weights_bytes(&self) -> usize {
        self.packed.weights_bytes()
    }

    fn kernel(&self, _: &str, _: &str) -> String {
        self.packed.name().to_string()
    }
}

/// Parts of a convolution.
fn parts(extent: Extent) -> usize {
    products(extent.macs, 50_000)
}

/// How the channels of a fully connected layer are cut, as [`by_pixels`] says.
fn by_channels(extent: Extent, map: &Map, threads: usize) -> (usize, usize, usize) {
    // Each part copies the input once more.
    const INPUT: usize = 4096;
    let parts = if extent.input > INPUT { threads } else { parts(extent) };
    (map.channels, CHANNELS, parts)
}

/// Whether threads share a convolution by its channels.
fn by_slices(conv: &dyn PackedConv, map: &Map) -> bool {
    const SLICES: usize = 8;
    let few = conv.few_pixels();
    map.pixels() <= few && slices(conv) >= SLICES
}

/// Parts between the cuts of a convolution.
fn slices(conv: &dyn PackedConv) -> usize {
    if let Cuts::At(cuts) = conv.cuts() { cuts.len() - 1 } else { 1 }
}

/// The channels of such parts.
fn channels(conv: &dyn PackedConv, slices: Range<usize>) -> Range<usize> {
    if let Cuts::At(cuts) = conv.cuts() { cuts[slices.start]..cuts[slices.end] } else { 0..0 }
}

/// Into how many parts the slices of a convolution are cut: each copies the input once more.
fn slice_parts(extent: Extent, threads: usize) -> usize {
    const MACS_OF_MORE: u64 = 8_000_000;
    if extent.macs < MACS_OF_MORE { threads } else { 2 * threads }
}

/// How the pixels of a convolution are cut: their number, that of those which stay together, and of parts.
fn by_pixels(extent: Extent, conv: &dyn PackedConv, map: &Map, threads: usize) -> (usize, usize, usize) {
    // Each part reads all weights once more: more parts than threads have to be this large to be worth it.
    const PIXELS: usize = 128;
    // Rows are cut only where there are few.
    const ROWS: usize = 16;
    let grain = if map.height < ROWS { 1 } else { map.width };
    let parts = parts(extent).min((map.pixels() / PIXELS).max(threads));
    // Rows that are best computed together are torn apart only where threads would have none.
    let rows = if map.height * map.width < threads * conv.grain() { map.height / threads } else { map.height };
    (map.pixels(), conv.grain().min(rows.max(1) * map.width).max(grain), parts)
}
