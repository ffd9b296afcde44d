//! A convolution under test, and what a set makes of it.

use std::ops::Range;

use super::{Rng, Values, difference, report, sets};
use crate::kernels::scalar::SCALAR;
use crate::kernels::{Conv, Cuts, Destination, Job, KernelSet, Map, Output, Residual, Storage, Window};
use crate::quant::{AddQuant, Quant, Requant};

/// What a convolution of a case yields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Yield {
    /// Bytes of the whole range.
    Bytes,
    /// Bytes with bounds narrower than the range, as ReLU6 gives.
    Clamped,
    /// Bytes of products that do not fit 32 bits, by multipliers above 1, narrowed.
    Overflowing,
    /// Bytes plus a residual.
    Added,
    /// Single-precision numbers.
    F32,
}

/// A convolution by its sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvCase {
    /// Height, width, channels of the input.
    pub input: [usize; 3],
    pub channels: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub pad: [usize; 4],
    pub groups: usize,
    /// Padding channels after a pixel of the input and of the output.
    pub slack: [usize; 2],
    pub zero: u8,
    pub values: Values,
    pub result: Yield,
}

/// A 3×3 convolution that keeps the size of an 8×8 map; the tables vary it.
pub(super) const BASE: ConvCase = ConvCase {
    input: [8, 8, 16],
    channels: 16,
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    pad: [1, 1, 1, 1],
    groups: 1,
    slack: [0, 0],
    zero: 128,
    values: Values::Random,
    result: Yield::Bytes,
};

/// A 1×1 convolution; the tables vary it.
pub(super) const POINT: ConvCase = ConvCase { kernel: [1, 1], pad: [0; 4], ..BASE };

/// A fully connected layer; the tables vary it.
pub(super) const FULL: ConvCase = ConvCase { input: [1, 1, 64], ..POINT };

/// A depthwise 3×3 convolution; the tables vary it.
pub(super) const DEPTH: ConvCase = ConvCase { groups: 16, ..BASE };

impl ConvCase {
    /// Output height and width, ONNX's formula.
    pub fn size(&self) -> Option<[usize; 2]> {
        let mut size = [0; 2];
        for axis in 0..2 {
            let extent = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            let room = (self.input[axis] + self.pad[axis] + self.pad[axis + 2]).checked_sub(extent)?;
            size[axis] = room / self.stride[axis] + 1;
        }
        Some(size)
    }

    pub fn layer(&self, rng: &mut Rng) -> Conv {
        let [height, width] = self.size().expect("the window fits");
        let [in_height, in_width, in_channels] = self.input;
        let channels = self.channels;
        let taps = self.kernel[0] * self.kernel[1];
        let terms = taps * in_channels / self.groups;
        let output = Map { height, width, channels, stride: channels + self.slack[1] };
        // Scaled so that the results of a random layer spread over some of the range and leave it at both ends.
        let scales = if self.result == Yield::Overflowing { [0.3, 1.0, 1e6, 1e9] } else { [0.01, 0.3, 1.0, 1.0] };
        let multiplier: Vec<f32> =
            (0..channels).map(|_| (0.5 + rng.unit()) / (70.0 * (terms as f32).sqrt()) * rng.pick(&scales)).collect();
        let zero_point = rng.pick(&[0, 1, 128, 255, rng.0 as u8]);
        let (lo, hi) = match self.result {
            Yield::Clamped | Yield::Overflowing => {
                let lo = rng.below(256) as u8;
                (lo, lo.saturating_add(rng.below(256) as u8))
            }
            _ => (0, 255),
        };
        let requant = Requant { multiplier: multiplier.clone(), zero_point, lo, hi };
        let result = match self.result {
            Yield::F32 => Output::F32(multiplier),
            Yield::Added => {
                let lo = rng.pick(&[0, 3, 128]);
                let quant = |rng: &mut Rng| Quant { scale: 0.01 + rng.unit(), zero_point: rng.next() as u8 };
                // Also quotients that do not fit 32 bits.
                let y = Quant { scale: rng.pick(&[1.0, 1.0, 1.0, 1e-20]) * (0.01 + rng.unit()), ..quant(rng) };
                let add = AddQuant { a: quant(rng), b: quant(rng), y, lo, hi: rng.pick(&[255, 254, 130]) };
                Output::Bytes(requant, Some(Residual { add, stride: channels + rng.pick(&[0, 5]) }))
            }
            _ => Output::Bytes(requant, None),
        };
        Conv {
            input: Map {
                height: in_height,
                width: in_width,
                channels: in_channels,
                stride: in_channels + self.slack[0],
            },
            output,
            window: Window {
                kernel: self.kernel,
                stride: self.stride,
                dilation: self.dilation,
                pad: [self.pad[0], self.pad[1]],
            },
            groups: self.groups,
            input_zero: self.zero,
            weights: (0..channels * terms).map(|_| self.values.weight(rng)).collect(),
            bias: (0..channels).map(|_| rng.next() as i32 >> rng.pick(&[8, 16, 24])).collect(),
            result,
        }
    }

    /// Whether all sets give what the scalar set gives, on the whole map and on parts of it.
    pub fn check(&self, seed: u64, failures: &mut Vec<String>) {
        let mut rng = Rng(seed);
        let conv = self.layer(&mut rng);
        let (map, pixels) = (conv.output, conv.output.pixels());
        let values = self.values;
        let input: Vec<u8> = (0..conv.input.volume()).map(|_| values.byte(&mut rng)).collect();
        let residual: Option<Vec<u8>> = match &conv.result {
            Output::Bytes(_, Some(r)) => Some((0..pixels * r.stride).map(|_| rng.next() as u8).collect()),
            _ => None,
        };
        let cut = [rng.below(pixels + 1), rng.below(pixels + 1)];
        let parts = [0..pixels, cut[0].min(cut[1])..cut[0].max(cut[1]), pixels - 1..pixels];
        let channel_cut = [rng.below(map.channels + 1), rng.below(map.channels + 1)];
        let channel_parts = [0..map.channels, channel_cut[0].min(channel_cut[1])..channel_cut[0].max(channel_cut[1])];

        let wanted = outcomes(&SCALAR, &conv, &input, residual.as_deref(), &parts, &channel_parts);
        for set in sets() {
            let got = outcomes(set, &conv, &input, residual.as_deref(), &parts, &channel_parts);
            for (part, (got, wanted)) in got.1.iter().zip(&wanted.1).enumerate() {
                if let Some(difference) = difference(got, wanted) {
                    failures.push(format!(
                        "{} {} part {part}: {self:?}: {difference}",
                        set.isa(),
                        got_name(set, &conv)
                    ));
                }
            }
        }
    }
}

pub(super) fn got_name(set: &dyn KernelSet, conv: &Conv) -> String {
    set.conv(conv.clone()).name().to_owned()
}

pub(super) fn masked(bytes: &[u8], storage: Storage) -> Vec<u8> {
    bytes.iter().map(|b| b ^ storage.mask()).collect()
}

/// Name of the kernel and, for each part of the map and of the channels, the bits of its meaning results.
pub(super) fn outcomes(
    set: &dyn KernelSet,
    conv: &Conv,
    input: &[u8],
    residual: Option<&[u8]>,
    parts: &[Range<usize>],
    channel_parts: &[Range<usize>],
) -> (String, Vec<Vec<u32>>) {
    let packed = set.conv(conv.clone());
    let map = conv.output;
    let input = masked(input, set.storage());
    let residual = residual.map(|r| masked(r, set.storage()));
    // What lies in scratch and in the output beforehand must not matter: 16 bits to which nothing can be added.
    let mut scratch: Vec<u8> = [0xff, 0x7f, 0x00, 0x80].into_iter().cycle().take(packed.scratch_bytes()).collect();
    let mask = set.storage().mask();
    // The elements of `channels` of `pixels`, of all channels if there are none, those between pixels included.
    let mut run = |pixels: &Range<usize>, channels: Option<&Range<usize>>| -> Vec<u32> {
        let elements = pixels.len() * channels.map_or(map.stride, Range::len);
        let (mut bytes, mut floats) = (vec![0x5a; elements], vec![f32::NAN; elements]);
        let is_float = matches!(conv.result, Output::F32(_));
        packed.run(Job {
            input: &input,
            residual: residual.as_deref(),
            pixels: pixels.clone(),
            channels: channels.cloned(),
            output: if is_float { Destination::F32(&mut floats) } else { Destination::Bytes(&mut bytes) },
            scratch: &mut scratch,
        });
        match is_float {
            true => floats.iter().map(|v| v.to_bits()).collect(),
            false => bytes.iter().map(|q| u32::from(q ^ mask)).collect(),
        }
    };
    let mut whole = |pixels: &Range<usize>| -> Vec<u32> {
        run(pixels, None).chunks(map.stride).flat_map(|pixel| pixel[..map.channels].to_vec()).collect()
    };
    let mut results: Vec<Vec<u32>> = parts.iter().map(&mut whole).collect();
    let first_pixel = whole(&(0..1));
    // The second part once more, by parts of the channels where the layer has some.
    let mut sliced = results[1].clone();
    if let Cuts::At(cuts) = packed.cuts() {
        assert_eq!([cuts[0], cuts[cuts.len() - 1]], [0, map.channels], "{}", packed.name());
        let middle = cuts[(cuts.len() - 1) / 3];
        for channels in [0..middle, middle..map.channels].into_iter().filter(|channels| !channels.is_empty()) {
            for (i, value) in run(&parts[1], Some(&channels)).into_iter().enumerate() {
                let (pixel, channel) = (i / channels.len(), channels.start + i % channels.len());
                sliced[pixel * map.channels + channel] = value;
            }
        }
    }
    results.push(sliced);
    if residual.is_none() {
        results.extend(channel_parts.iter().map(|channels| match packed.cuts() {
            Cuts::Anywhere => run(&(0..1), Some(channels)),
            _ => first_pixel[channels.clone()].to_vec(),
        }));
    }
    (packed.name().to_owned(), results)
}

/// Checks a table with all kinds of values and results, each case at least once with each.
pub(super) fn check(cases: &[ConvCase]) {
    let mut failures = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        for (j, values) in [Values::Random, Values::Extreme, Values::Lowest, Values::Highest].into_iter().enumerate() {
            let result = match case.result {
                Yield::Overflowing => Yield::Overflowing,
                _ => [Yield::Bytes, Yield::Clamped, Yield::Added, Yield::F32][(i + j) % 4],
            };
            let zero = [0, 1, 128, 255][(i / 4 + j) % 4];
            ConvCase { values, result, zero, ..*case }.check((i * 4 + j) as u64, &mut failures);
        }
    }
    report(&failures);
}
