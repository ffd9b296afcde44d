//! What becomes of the sums of a convolution: bytes, bytes plus a residual, or numbers.

use std::arch::aarch64::*;
use std::ops::Range;

use crate::kernels::aarch64::epilogue::rounding::{Adder, LANES, Rounding, to_signed};
use crate::kernels::contract::{Conv, Destination, Output, Residual, Storage};
use crate::quant::AddQuant;

pub(crate) mod rounding;

/// What the tiles of a strip write. Sums are those of [`LANES`] channels for each pixel; bytes are those of the
/// strip's channels rounded up to 4.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Sums.
    Sums(*mut i32),
    /// Bytes, pixels `stride` apart.
    Bytes { to: *mut u8, stride: usize, multiplier: *const f32, rounding: Rounding },
}

impl Target {
    /// The target of the pixels after the first `pixels`.
    #[inline(always)]
    pub fn after(self, pixels: usize) -> Target {
        match self {
            Target::Sums(to) => Target::Sums(to.wrapping_add(pixels * LANES)),
            Target::Bytes { to, stride, multiplier, rounding } => {
                Target::Bytes { to: to.wrapping_add(pixels * stride), stride, multiplier, rounding }
            }
        }
    }
}

/// The end of a convolution, or of one of its groups.
#[derive(Debug)]
pub(crate) struct Epilogue {
    /// Output channels, among those of the map, and pixel stride of the map.
    channels: Range<usize>,
    stride: usize,
    /// One for each lane of all strips; zeros in those without a channel.
    multiplier: Vec<f32>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Bytes(Rounding),
    Added(Rounding, Residual),
    F32,
}

impl Epilogue {
    /// For output channels `channels` of `conv`.
    pub fn new(conv: &Conv, channels: Range<usize>) -> Epilogue {
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
        let mut multiplier = multiplier[channels.clone()].to_vec();
        multiplier.resize(channels.len().next_multiple_of(LANES), 0.0);
        Epilogue { channels, stride: conv.output.stride, multiplier, kind }
    }

    /// Elements from one pixel of the result to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.multiplier.len() * size_of::<f32>()
    }

    /// Strips of the layer.
    pub fn strips(&self) -> usize {
        self.channels.len().div_ceil(LANES)
    }

    /// Channels of strip `strip`, among those of the layer or group.
    pub fn lanes(&self, strip: usize) -> Range<usize> {
        strip * LANES..self.channels.len().min((strip + 1) * LANES)
    }

    /// Whether what the tiles of a strip write as bytes fits between the strip's first channel and the next pixel:
    /// what they overwrite are padding channels, or channels of a later group that is computed later.
    fn fits(&self, lanes: &Range<usize>) -> bool {
        self.channels.start + lanes.start + lanes.len().next_multiple_of(4) <= self.stride
    }

    /// Where the tiles of a strip write `pixels` pixels: straight into the result, or to `middle` if
    /// [`Epilogue::finish`] has work left to do.
    pub fn target(&self, strip: usize, pixels: usize, to: &mut Destination, middle: &mut [i32]) -> Target {
        let lanes = self.lanes(strip);
        match (&self.kind, to) {
            (Kind::Bytes(rounding), Destination::Bytes(to)) if self.fits(&lanes) => {
                assert!(to.len() >= pixels * self.stride);
                let to = to[self.channels.start + lanes.start..].as_mut_ptr();
                let multiplier = self.multiplier[lanes.start..][..LANES].as_ptr();
                Target::Bytes { to, stride: self.stride, multiplier, rounding: *rounding }
            }
            _ => {
                assert!(middle.len() >= pixels * LANES);
                Target::Sums(middle.as_mut_ptr())
            }
        }
    }

    /// Does what the tiles left to do; `first_pixel` is the number of the first pixel in the map.
    pub fn finish(
        &self,
        strip: usize,
        pixels: usize,
        first_pixel: usize,
        residual: Option<&[u8]>,
        to: &mut Destination,
        middle: &[i32],
    ) {
        let lanes = self.lanes(strip);
        let first = self.channels.start + lanes.start;
        let multiplier: &[f32; LANES] = self.multiplier[lanes.start..].first_chunk().expect("padded to whole strips");
        let sums = middle.as_chunks::<LANES>().0;
        match (&self.kind, to) {
            (Kind::Bytes(_), Destination::Bytes(_)) if self.fits(&lanes) => {}
            (Kind::Bytes(rounding), Destination::Bytes(to)) => {
                for (to, sums) in to.chunks_exact_mut(self.stride).zip(sums).take(pixels) {
                    let bytes = rounding.bytes(sums, multiplier);
                    to[first..][..lanes.len()].copy_from_slice(&bytes[..lanes.len()]);
                }
            }
            (Kind::F32, Destination::F32(to)) => {
                for (to, sums) in to.chunks_exact_mut(self.stride).zip(sums).take(pixels) {
                    for ((to, sum), multiplier) in to[first..][..lanes.len()].iter_mut().zip(sums).zip(multiplier) {
                        *to = *sum as f32 * multiplier;
                    }
                }
            }
            (Kind::Added(rounding, addition), Destination::Bytes(to)) => {
                let residual = residual.expect("the residual is given where the layer adds one");
                let residual = residual[first_pixel * addition.stride..].chunks(addition.stride);
                let adding = Adding::new(rounding, &addition.add, multiplier);
                for ((to, sums), residual) in to.chunks_exact_mut(self.stride).zip(sums).zip(residual).take(pixels) {
                    adding.run(sums, &residual[first..][..lanes.len()], &mut to[first..][..lanes.len()]);
                }
            }
            _ => panic!("a layer yields either bytes or numbers, and its destination is of that kind"),
        }
    }

    /// Writes those of a strip's channels for one pixel that `wanted` names, to `output`, which begins at the first of
    /// all wanted channels. For layers of one group, without a residual.
    pub fn channels(&self, strip: usize, sums: &[i32; LANES], wanted: &Range<usize>, to: &mut Destination) {
        let lanes = self.lanes(strip);
        let multiplier: &[f32; LANES] = self.multiplier[lanes.start..].first_chunk().expect("padded to whole strips");
        let part = lanes.start.max(wanted.start)..lanes.end.min(wanted.end);
        let within = part.start - lanes.start..part.end - lanes.start;
        let at = part.start - wanted.start;
        match (&self.kind, to) {
            (Kind::Bytes(rounding), Destination::Bytes(to)) => {
                to[at..][..part.len()].copy_from_slice(&rounding.bytes(sums, multiplier)[within]);
            }
            (Kind::F32, Destination::F32(to)) => {
                for (i, to) in within.zip(&mut to[at..]) {
                    *to = sums[i] as f32 * multiplier[i];
                }
            }
            _ => panic!("a fully connected layer has no residual, and its destination is of its kind"),
        }
    }
}

/// A residual addition to the channels of one strip, in registers.
struct Adding {
    multiplier: [float32x4_t; 4],
    /// Bounds of the convolution's rounded products, and what is added to these for the first summand.
    bounds: [float32x4_t; 2],
    shift: float32x4_t,
    adder: Adder,
}

impl Adding {
    #[inline(always)]
    fn new(rounding: &Rounding, add: &AddQuant, multiplier: &[f32; LANES]) -> Adding {
        let shift = f32::from(rounding.zero - to_signed(add.a.zero_point));
        // SAFETY: NEON is part of the target; the array is as long as its vectors.
        unsafe {
            Adding {
                multiplier: std::array::from_fn(|i| vld1q_f32(multiplier.as_ptr().add(4 * i))),
                bounds: rounding.float_bounds().map(|bound| vdupq_n_f32(bound)),
                shift: vdupq_n_f32(shift),
                adder: Adder::new(add),
            }
        }
    }

    /// Up to [`LANES`] channels of one pixel.
    #[inline(always)]
    fn run(&self, sums: &[i32; LANES], b: &[u8], to: &mut [u8]) {
        /// Half a strip, which layers of 24 or 40 channels end with: copied without asking how long it is.
        const HALF: usize = LANES / 2;
        let mut padded = [0; LANES];
        match (b.len(), b.first_chunk::<LANES>(), to.first_chunk_mut::<LANES>()) {
            (_, Some(b), Some(to)) => *to = self.whole(sums, b),
            (HALF, ..) => {
                padded[..HALF].copy_from_slice(&b[..HALF]);
                to[..HALF].copy_from_slice(&self.whole(sums, &padded)[..HALF]);
            }
            (count, ..) => {
                padded[..count].copy_from_slice(b);
                to.copy_from_slice(&self.whole(sums, &padded)[..count]);
            }
        }
    }

    /// The convolution's own result is never made a byte: as a whole number between its bounds, less the zero point
    /// of the addition's first summand, it is what that byte would be dequantised from.
    #[inline(always)]
    fn whole(&self, sums: &[i32; LANES], b: &[u8; LANES]) -> [u8; LANES] {
        let mut bytes = [0; LANES];
        // SAFETY: the arrays are as long as the vectors that are loaded and stored; BASELINE.
        unsafe {
            let b = self.adder.second(vld1q_s8(b.as_ptr().cast()));
            let mut results = [vdupq_n_s32(0); 4];
            for (i, result) in results.iter_mut().enumerate() {
                let sums = vcvtq_f32_s32(vld1q_s32(sums.as_ptr().add(4 * i)));
                let rounded = vrndnq_f32(vmulq_f32(sums, self.multiplier[i]));
                let kept = vminq_f32(vmaxq_f32(rounded, self.bounds[0]), self.bounds[1]);
                *result = self.adder.add(vaddq_f32(kept, self.shift), b[i]);
            }
            vst1q_s8(bytes.as_mut_ptr().cast(), self.adder.narrow(results));
        }
        bytes
    }
}

/// The storage that all of this is written for.
pub(crate) const STORAGE: Storage = Storage::Signed;
