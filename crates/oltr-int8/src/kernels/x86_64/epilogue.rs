//! What becomes of the sums of a convolution: bytes, bytes plus a residual, or numbers.

use std::ops::Range;

use crate::kernels::contract::{Conv, Destination, Output, Residual};
use crate::kernels::x86_64::aligned::Aligned;
use crate::kernels::x86_64::dense::strip::Target;
use crate::kernels::x86_64::epilogue::requantise::{Rows, add_residual, requantise};
use crate::kernels::x86_64::epilogue::rounding::{Addition, ResidualAt, Rounding};
use crate::kernels::x86_64::isa::Avx2;

pub(crate) mod registers;
pub(crate) mod requantise;
pub(crate) mod rounding;

/// Where channels lie in a destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Channel of the map at the destination's first element.
    pub first: usize,
    /// Elements from one pixel to the next.
    pub stride: usize,
}

impl Place {
    /// The place in a destination that holds just these channels.
    pub fn of(channels: &Range<usize>) -> Place {
        Place { first: channels.start, stride: channels.len() }
    }
}

/// The parts of a layer's channels, of those between its cuts, that `channels` are.
///
/// # Panics
/// If they are cut elsewhere.
pub(crate) fn parts_of(cuts: &[usize], channels: &Range<usize>) -> Range<usize> {
    let part = |channel: usize| cuts.binary_search(&channel).expect("channels are cut where the layer says");
    part(channels.start)..part(channels.end)
}

/// The end of a convolution whose channels were brought up to whole vectors.
#[derive(Debug)]
pub(crate) struct Epilogue {
    /// Output channels of the layer (or of its group), among those of the map, and pixel stride of the map.
    channels: Range<usize>,
    stride: usize,
    /// One for each lane; zeros in those without a channel.
    multiplier: Aligned<f32>,
    /// Whether tiles may requantise what they hold in registers.
    in_registers: bool,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Bytes(Rounding),
    Added(Rounding, Residual),
    F32,
}

impl Epilogue {
    /// For output channels `channels` of `conv`, which take `lanes` lanes.
    pub fn new(conv: &Conv, channels: Range<usize>, lanes: usize) -> Epilogue {
        let (multiplier, kind) = match &conv.result {
            Output::F32(multiplier) => (multiplier, Kind::F32),
            Output::Bytes(requant, residual) => {
                let rounding = Rounding::new(requant.zero_point, requant.lo, requant.hi);
                let kind = match residual {
                    None => Kind::Bytes(rounding),
                    Some(residual) => Kind::Added(rounding, *residual),
                };
                (&requant.multiplier, kind)
            }
        };
        let multiplier = Aligned::padded(lanes, multiplier[channels.clone()].iter().copied());
        let in_registers =
            channels.clone().all(|c| Rounding::in_registers(conv.largest_sum(c), multiplier[c - channels.start]));
        Epilogue { channels, stride: conv.output.stride, multiplier, in_registers, kind }
    }

    /// Elements from one pixel of the result to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Output channels of the layer, or of its group.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// The whole map.
    pub fn map(&self) -> Place {
        Place { first: 0, stride: self.stride }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.multiplier.bytes()
    }

    /// One for each lane.
    pub fn multiplier(&self) -> &[f32] {
        &self.multiplier
    }

    /// How sums become bytes, if that is all that becomes of them and can be done in registers.
    pub fn rounding(&self) -> Option<Rounding> {
        match &self.kind {
            Kind::Bytes(rounding) if self.in_registers => Some(*rounding),
            _ => None,
        }
    }

    /// What tiles of lanes `lanes` do with their sums, if they can do all of it in registers: the last rounding, and the
    /// addition before it.
    fn tiles(&self, lanes: &Range<usize>) -> Option<(Rounding, Option<(Addition, usize)>)> {
        match &self.kind {
            Kind::Bytes(_) => self.rounding().map(|rounding| (rounding, None)),
            // Whole vectors of the residual are read.
            Kind::Added(rounding, residual)
                if self.in_registers && self.channels.start + lanes.end <= residual.stride =>
            {
                let addition = Addition::new(rounding, &residual.add)?;
                Some((addition.rounding, Some((addition, residual.stride))))
            }
            _ => None,
        }
    }

    /// Bytes that a strip writes for a pixel, where they fit between the strip's first channel and the next pixel:
    /// what they overwrite are padding channels, or channels of a later group that is computed later.
    fn fits(&self, lanes: &Range<usize>, place: Place) -> bool {
        self.channels.start + lanes.end - place.first <= place.stride
    }

    /// Where the tiles of lanes `lanes` write `pixels` pixels, the first of which is `first_pixel` of the map: straight
    /// into the result, or to `middle` if [`Epilogue::finish`] has work left to do.
    pub fn target(
        &self,
        lanes: &Range<usize>,
        pixels: usize,
        first_pixel: usize,
        residual: Option<&[u8]>,
        place: Place,
        to: &mut Destination,
        middle: &mut [u8],
    ) -> Target {
        let (Some((rounding, added)), Destination::Bytes(to)) = (self.tiles(lanes), to) else {
            assert!(middle.len() >= pixels * lanes.len() * size_of::<i32>());
            return Target::Sums(middle.as_mut_ptr().cast());
        };
        let multiplier = self.multiplier[lanes.clone()].as_ptr();
        let first_lane = self.channels.start + lanes.start;
        let residual = added.map(|(addition, stride)| {
            let residual = residual.expect("the residual is given where the layer adds one");
            assert!(residual.len() >= (first_pixel + pixels) * stride);
            ResidualAt { addition, bytes: residual[first_pixel * stride + first_lane..].as_ptr(), stride }
        });
        let (to, stride) = if self.fits(lanes, place) {
            assert!(to.len() >= pixels * place.stride);
            (to[first_lane - place.first..].as_mut_ptr(), place.stride)
        } else {
            assert!(middle.len() >= pixels * lanes.len());
            (middle.as_mut_ptr(), lanes.len())
        };
        match residual {
            None => Target::Bytes { to, stride, multiplier, rounding },
            Some(residual) => Target::Added { to, stride, multiplier, residual },
        }
    }

    /// Does what the tiles left to do; `first_pixel` is the number of the first pixel in the map.
    pub fn finish(
        &self,
        avx2: Avx2,
        lanes: &Range<usize>,
        pixels: usize,
        first_pixel: usize,
        residual: Option<&[u8]>,
        place: Place,
        to: &mut Destination,
        middle: &[u8],
    ) {
        match (self.tiles(lanes), to) {
            (Some(_), Destination::Bytes(_)) if self.fits(lanes, place) => {}
            (Some(_), Destination::Bytes(to)) => {
                let (first, count) = self.channels_of(lanes);
                let rows = to.chunks_exact_mut(place.stride).zip(middle.chunks_exact(lanes.len()));
                for (to, bytes) in rows.take(pixels) {
                    to[first - place.first..][..count].copy_from_slice(&bytes[..count]);
                }
            }
            (_, to) => self.finish_sums(avx2, lanes, pixels, first_pixel, residual, place, to, as_sums(middle)),
        }
    }

    /// All that follows after the sums of `pixels` pixels, `lanes.len()` for each.
    pub fn finish_sums(
        &self,
        avx2: Avx2,
        lanes: &Range<usize>,
        pixels: usize,
        first_pixel: usize,
        residual: Option<&[u8]>,
        place: Place,
        to: &mut Destination,
        sums: &[i32],
    ) {
        let (first, count) = self.channels_of(lanes);
        let multiplier = &self.multiplier[lanes.clone()];
        let rows = Rows { pixels, lanes: lanes.len(), count, sums, multiplier, stride: place.stride };
        let at = first - place.first;
        match (&self.kind, to) {
            (Kind::F32, Destination::F32(to)) => {
                let rows = to.chunks_exact_mut(place.stride).zip(sums.chunks_exact(lanes.len()));
                for (to, sums) in rows.take(pixels) {
                    for ((to, sum), multiplier) in to[at..][..count].iter_mut().zip(sums).zip(multiplier) {
                        *to = *sum as f32 * multiplier;
                    }
                }
            }
            (Kind::Bytes(rounding), Destination::Bytes(to)) => requantise(avx2, &rows, rounding, &mut to[at..]),
            (Kind::Added(rounding, addition), Destination::Bytes(to)) => {
                let residual = residual.expect("the residual is given where the layer adds one");
                let residual = (&residual[first_pixel * addition.stride + first..], addition.stride);
                add_residual(avx2, &rows, rounding, &addition.add, residual, &mut to[at..]);
            }
            _ => panic!("a layer yields either bytes or numbers, and its destination is of that kind"),
        }
    }

    /// All that follows after the sums of a row, pixels `row` of the map, `lanes.len()` for each; of those that are among
    /// `wanted`, with the first of which `to` begins.
    pub fn finish_row(
        &self,
        avx2: Avx2,
        lanes: &Range<usize>,
        row: Range<usize>,
        wanted: &Range<usize>,
        residual: Option<&[u8]>,
        place: Place,
        to: &mut Destination,
        sums: &[i32],
    ) {
        let pixels = wanted.start.max(row.start)..wanted.end.min(row.end);
        if !pixels.is_empty() {
            let sums = &sums[(pixels.start - row.start) * lanes.len()..];
            let mut to = to.part((pixels.start - wanted.start) * place.stride);
            self.finish_sums(avx2, lanes, pixels.len(), pixels.start, residual, place, &mut to, sums);
        }
    }

    /// All that follows after the sums of channels `channels` of pixel 0; `to` begins at the first of them.
    pub fn finish_channels(
        &self,
        avx2: Avx2,
        channels: Range<usize>,
        residual: Option<&[u8]>,
        to: &mut Destination,
        sums: &[i32],
    ) {
        let count = channels.len();
        let lanes = count.next_multiple_of(8);
        let multiplier = &self.multiplier[channels.start..][..lanes];
        let rows = Rows { pixels: 1, lanes, count, sums, multiplier, stride: count };
        match (&self.kind, to) {
            (Kind::F32, Destination::F32(to)) => {
                for ((to, sum), multiplier) in to[..count].iter_mut().zip(sums).zip(multiplier) {
                    *to = *sum as f32 * multiplier;
                }
            }
            (Kind::Bytes(rounding), Destination::Bytes(to)) => requantise(avx2, &rows, rounding, to),
            (Kind::Added(rounding, addition), Destination::Bytes(to)) => {
                let residual = &residual.expect("the residual is given where the layer adds one")[channels.start..];
                add_residual(avx2, &rows, rounding, &addition.add, (residual, count), to);
            }
            _ => panic!("a layer yields either bytes or numbers, and its destination is of that kind"),
        }
    }

    /// First channel of the lanes in the map, and how many of them have one.
    fn channels_of(&self, lanes: &Range<usize>) -> (usize, usize) {
        (self.channels.start + lanes.start, lanes.len().min(self.channels.len() - lanes.start))
    }
}

/// The sums that tiles stored to the start of `middle`.
fn as_sums(middle: &[u8]) -> &[i32] {
    // SAFETY: every pattern of bits is a number; `align_to` sees to the alignment.
    let (before, sums, _) = unsafe { middle.align_to::<i32>() };
    assert!(before.is_empty());
    sums
}
