//! Every kernel set of this machine against the scalar set, bit for bit.
//!
//! A case is a layer and the values that go into it; [`check`] runs it on all sets. The tables hold sizes around the
//! edges of every tile in use; a property test draws sizes between them. All failures of a table are listed.

use std::ops::Range;

use proptest::prelude::*;

use crate::kernels::scalar::SCALAR;
use crate::kernels::{
    AveragePool, Conv, Cuts, Destination, Job, KernelSet, Map, MaxPool, Output, PAIRS, PairRow, Residual, Storage,
    Window,
};
use crate::quant::{AddQuant, Quant, Requant};

/// The sets under test: all that this machine has, emulated ones, and scalar with signed storage; or the one that
/// [`super::ISA_VARIABLE`] names, which must be there, so that a test meant for it cannot pass without it.
fn sets() -> Vec<&'static dyn KernelSet> {
    if std::env::var_os(super::ISA_VARIABLE).is_some_and(|name| !name.is_empty()) {
        return vec![super::select().unwrap_or_else(|message| panic!("{message}"))];
    }
    let mut sets = super::available();
    sets.push(&crate::kernels::scalar::SIGNED);
    sets.extend(super::emulated());
    sets
}

/// SplitMix64: small, seedable and the same on every machine.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Between 0 and 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Which values the bytes and weights of a case take.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    /// Any of them.
    Random,
    /// Only the smallest and the largest: overflow and saturation show here.
    Extreme,
    /// All inputs 255 and all weights -128.
    Lowest,
    /// All inputs 255 and all weights 127.
    Highest,
}

impl Values {
    fn byte(self, rng: &mut Rng) -> u8 {
        match self {
            Values::Random => rng.next() as u8,
            Values::Extreme => rng.pick(&[0, 255]),
            Values::Lowest | Values::Highest => 255,
        }
    }

    fn weight(self, rng: &mut Rng) -> i8 {
        match self {
            Values::Random => rng.next() as i8,
            Values::Extreme => rng.pick(&[-128, 127]),
            Values::Lowest => -128,
            Values::Highest => 127,
        }
    }
}

/// What a convolution of a case yields.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Yield {
    /// Bytes of the whole range.
    Bytes,
    /// Bytes with bounds narrower than the range, as ReLU6 gives.
    Clamped,
    /// Bytes of products that do not fit 32 bits, by multipliers above 1, narrowed.
    Overflowing,
    /// Bytes plus a residual.
    Added,
    /// Single-precision numbers.
    Floats,
}

/// A convolution by its sizes.
#[derive(Clone, Copy, Debug)]
struct ConvCase {
    /// Height, width, channels of the input.
    input: [usize; 3],
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Top, left, bottom, right.
    pad: [usize; 4],
    groups: usize,
    /// Padding channels after a pixel of the input and of the output.
    slack: [usize; 2],
    zero: u8,
    values: Values,
    result: Yield,
}

/// A 3×3 convolution that keeps the size of an 8×8 map; the tables vary it.
const BASE: ConvCase = ConvCase {
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
const POINT: ConvCase = ConvCase { kernel: [1, 1], pad: [0; 4], ..BASE };

/// A fully connected layer; the tables vary it.
const FULL: ConvCase = ConvCase { input: [1, 1, 64], ..POINT };

/// A depthwise 3×3 convolution; the tables vary it.
const DEPTH: ConvCase = ConvCase { groups: 16, ..BASE };

impl ConvCase {
    /// Output height and width, ONNX's formula.
    fn size(&self) -> Option<[usize; 2]> {
        let mut size = [0; 2];
        for axis in 0..2 {
            let reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            let room = (self.input[axis] + self.pad[axis] + self.pad[axis + 2]).checked_sub(reach)?;
            size[axis] = room / self.stride[axis] + 1;
        }
        Some(size)
    }

    fn layer(&self, rng: &mut Rng) -> Conv {
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
            Yield::Floats => Output::Floats(multiplier),
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
    fn check(&self, seed: u64, failures: &mut Vec<String>) {
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

fn got_name(set: &dyn KernelSet, conv: &Conv) -> String {
    set.conv(conv.clone()).name().to_owned()
}

/// The first place where two results differ.
fn difference<T: PartialEq + std::fmt::Debug>(got: &[T], wanted: &[T]) -> Option<String> {
    if got.len() != wanted.len() {
        return Some(format!("{} elements, wanted {}", got.len(), wanted.len()));
    }
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted)?;
    let count = got.iter().zip(wanted).filter(|(got, wanted)| got != wanted).count();
    Some(format!("{count} of {} differ, first at {at}: {:?}, wanted {:?}", got.len(), got[at], wanted[at]))
}

fn masked(bytes: &[u8], storage: Storage) -> Vec<u8> {
    bytes.iter().map(|b| b ^ storage.mask()).collect()
}

/// Name of the kernel and, for each part of the map and of the channels, the bits of its meaning results.
fn outcomes(
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
        let is_float = matches!(conv.result, Output::Floats(_));
        packed.run(Job {
            input: &input,
            residual: residual.as_deref(),
            pixels: pixels.clone(),
            channels: channels.cloned(),
            output: if is_float { Destination::Floats(&mut floats) } else { Destination::Bytes(&mut bytes) },
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
fn check(cases: &[ConvCase]) {
    let mut failures = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        for (j, values) in [Values::Random, Values::Extreme, Values::Lowest, Values::Highest].into_iter().enumerate() {
            let result = match case.result {
                Yield::Overflowing => Yield::Overflowing,
                _ => [Yield::Bytes, Yield::Clamped, Yield::Added, Yield::Floats][(i + j) % 4],
            };
            let zero = [0, 1, 128, 255][(i / 4 + j) % 4];
            ConvCase { values, result, zero, ..*case }.check((i * 4 + j) as u64, &mut failures);
        }
    }
    report(&failures);
}

fn report(failures: &[String]) {
    let shown = failures.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} failures:\n{shown}", failures.len());
}

/// Channel counts at, below and above the edges of tiles and vectors, and of quarters of the former.
const EDGES: [usize; 17] = [1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 48, 64, 65];

#[test]
fn dense_channels_around_tile_edges() {
    let mut cases = Vec::new();
    for channels in EDGES {
        for base in [POINT, ConvCase { input: [5, 5, 16], ..BASE }, FULL] {
            cases.push(ConvCase { channels, ..base });
            cases.push(ConvCase { channels, input: [base.input[0], base.input[1], channels], ..base });
            cases.push(ConvCase { channels: 17, input: [base.input[0], base.input[1], channels], ..base });
        }
    }
    check(&cases);
}

#[test]
fn dense_widths_around_tile_edges() {
    let mut cases = Vec::new();
    for width in 1..=29 {
        let input = [3, width, 8];
        cases.push(ConvCase { input, ..POINT });
        cases.push(ConvCase { input, channels: 24, ..BASE });
        cases.push(ConvCase { input, stride: [2, 2], channels: 8, ..BASE });
        cases.push(ConvCase { input: [width, 3, 5], slack: [3, 8], ..BASE });
    }
    check(&cases);
}

/// Few steps: kernels may hold their weights or activations in registers.
#[test]
fn dense_shallow_layers() {
    let mut cases = Vec::new();
    for depth in [8, 12, 14, 16, 20, 24, 28, 30, 32, 34] {
        for channels in [16, 24, 32, 36, 48, 64, 72, 96] {
            for width in [1, 2, 3, 4, 5, 7, 12] {
                cases.push(ConvCase { input: [3, width, depth], channels, ..POINT });
            }
            cases.push(ConvCase { input: [3, 5, depth], channels, slack: [16, 16], ..POINT });
        }
    }
    for depth in 1..=9 {
        for (kernel, channels) in [([1, 3], 24), ([2, 2], 32), ([3, 2], 40), ([3, 3], 64)] {
            let base = ConvCase { input: [4, 9, depth], kernel, channels, ..BASE };
            cases.push(base);
            cases.push(ConvCase { stride: [2, 2], slack: [3, 9], ..base });
            cases.push(ConvCase { dilation: [1, 2], ..base });
        }
    }
    check(&cases);
}

#[test]
fn dense_windows() {
    let mut cases = Vec::new();
    for (kernel, pad) in [([1, 1], 0), ([3, 3], 1), ([5, 5], 2), ([7, 7], 3), ([1, 3], 1), ([2, 4], 0), ([4, 4], 2)] {
        for stride in [[1, 1], [2, 2], [1, 2], [3, 1]] {
            for channels in [3, 8, 13] {
                let base = ConvCase { kernel, stride, pad: [pad; 4], input: [11, 13, channels], ..BASE };
                cases.push(base);
                cases.push(ConvCase { dilation: [2, 1], ..base });
                cases.push(ConvCase { dilation: [1, 2], slack: [1, 3], ..base });
                cases.push(ConvCase { dilation: [2, 2], pad: [0, 1, 3, 2], ..base });
                cases.push(ConvCase { pad: [2, 0, 1, 3], slack: [5, 16], ..base });
            }
        }
    }
    cases.retain(|case| case.size().is_some());
    check(&cases);
}

#[test]
fn stems() {
    let seven = ConvCase { input: [30, 30, 3], kernel: [7, 7], stride: [2, 2], pad: [3; 4], channels: 64, ..BASE };
    let three = ConvCase { input: [21, 30, 3], stride: [2, 2], pad: [0, 0, 1, 1], channels: 32, ..BASE };
    check(&[
        seven,
        three,
        ConvCase { slack: [1, 0], ..seven },
        ConvCase { slack: [13, 16], ..three },
        ConvCase { input: [17, 40, 1], ..seven },
        ConvCase { input: [17, 40, 4], channels: 16, ..three },
        // Wide enough for minimal filtering.
        ConvCase { input: [30, 35, 3], ..seven },
        ConvCase { input: [23, 31, 4], channels: 17, slack: [0, 3], ..seven },
        ConvCase { input: [21, 60, 3], channels: 40, pad: [2, 3, 3, 2], slack: [5, 0], ..seven },
        ConvCase { input: [26, 33, 3], channels: 16, stride: [3, 2], pad: [0, 1, 1, 2], ..seven },
        ConvCase { input: [29, 38, 4], channels: 24, kernel: [9, 7], stride: [1, 2], ..seven },
    ]);
}

/// Layers that are deep enough to need several blocks of channels, and maps with several blocks of rows.
#[test]
fn dense_layers_of_many_blocks() {
    check(&[
        ConvCase { input: [7, 7, 256], channels: 48, ..BASE },
        ConvCase { input: [14, 14, 96], channels: 72, ..BASE },
        ConvCase { input: [29, 31, 32], channels: 40, ..BASE },
        ConvCase { input: [57, 56, 8], channels: 16, ..BASE },
        ConvCase { input: [56, 56, 16], channels: 16, stride: [2, 2], pad: [1, 1, 0, 0], ..BASE },
        ConvCase { input: [28, 28, 96], channels: 24, ..POINT },
        ConvCase { input: [7, 7, 480], channels: 160, ..POINT },
        ConvCase { input: [28, 28, 16], channels: 96, stride: [2, 2], ..POINT },
    ]);
}

/// 3×3 convolutions of stride 1 with enough outputs and channels for minimal filtering, and sums at its limit.
#[test]
fn dense_layers_for_minimal_filtering() {
    let mut cases = Vec::new();
    for (i, channels) in [16, 17, 24, 33, 64].into_iter().enumerate() {
        for (height, width) in [(16, 12), (13, 15), (9, 18), (21, 14)] {
            let base = ConvCase { input: [height, width, [16, 32, 48][i % 3]], channels, slack: [i * 3, i], ..BASE };
            cases.push(base);
            cases.push(ConvCase { pad: [0, 2, 1, 0], ..base });
        }
    }
    // 1024 channels of all 255 by all -128 give more than 2^25, 96 do not.
    cases.push(ConvCase { input: [12, 16, 1024], channels: 16, ..BASE });
    cases.push(ConvCase { input: [12, 16, 96], channels: 16, ..BASE });
    check(&cases);
}

#[test]
fn groups() {
    let mut cases = Vec::new();
    for (groups, inputs, outputs) in
        [(2, 4, 6), (3, 9, 3), (4, 32, 64), (5, 5, 15), (7, 21, 14), (2, 34, 2), (16, 16, 32)]
    {
        let base = ConvCase { groups, input: [7, 9, inputs], channels: outputs, ..BASE };
        cases.push(base);
        cases.push(ConvCase { slack: [3, 2], ..base });
        cases.push(ConvCase { kernel: [1, 1], pad: [0; 4], ..base });
        cases.push(ConvCase { stride: [2, 2], dilation: [2, 2], ..base });
        cases.push(ConvCase { input: [1, 1, inputs], kernel: [1, 1], pad: [0; 4], ..base });
    }
    check(&cases);
}

#[test]
fn depthwise() {
    let mut cases = Vec::new();
    for (i, channels) in EDGES.into_iter().enumerate().skip(1) {
        for size in [3, 5] {
            for stride in [1, 2] {
                for (height, width) in [(1, 1), (2, 3), (5, 4), (8, 9), (7, 7), (9, 17), (6, 33)] {
                    let base = ConvCase {
                        groups: channels,
                        channels,
                        input: [height, width, channels],
                        kernel: [size; 2],
                        stride: [stride; 2],
                        pad: [size / 2; 4],
                        slack: [[0, 0], [3, 0], [0, 7], [64 - channels % 64, 64 - channels % 64]][(i + width) % 4],
                        ..DEPTH
                    };
                    // Symmetric padding, TensorFlow's SAME at stride 2, and none at all.
                    let tensorflow = [size / 2 - 1, size / 2 - 1, size / 2, size / 2];
                    cases.push(ConvCase { pad: [base.pad, tensorflow, [0; 4]][(i + height) % 3], ..base });
                }
            }
        }
    }
    cases.retain(|case| case.size().is_some());
    check(&cases);
}

#[test]
fn products_beyond_32_bits_saturate() {
    let result = Yield::Overflowing;
    let mut cases = Vec::new();
    for channels in [7, 16, 33] {
        let input = [9, 9, channels];
        cases.push(ConvCase { input, channels, result, ..BASE });
        cases.push(ConvCase { input, channels: 24, result, ..POINT });
        cases.push(ConvCase { input: [1, 1, 64], channels, result, ..FULL });
        for size in [3, 5, 7] {
            let (kernel, pad) = ([size; 2], [size / 2; 4]);
            cases.push(ConvCase { input, channels, groups: channels, kernel, pad, result, ..DEPTH });
        }
    }
    check(&cases);
}

/// Sums of two products fit 16 bits, but for that of the smallest activations with the smallest weights: kernels that add in 16 bits
/// must know of each two taps whose products they add.
#[test]
fn depthwise_with_any_two_weights_the_smallest() {
    let requant = Requant { multiplier: vec![1e-3; 16], zero_point: 128, lo: 0, hi: 255 };
    for size in [3, 5] {
        let taps = size * size;
        let case = ConvCase { input: [size, size, 16], kernel: [size; 2], pad: [0; 4], ..DEPTH };
        let mut conv = case.layer(&mut Rng(1));
        conv.result = Output::Bytes(requant.clone(), None);
        let parts = [0..1, 0..1, 0..1];
        let channels = [0..16, 0..16];
        let input = vec![0; conv.input.volume()];
        for (first, second) in (0..taps).flat_map(|first| (0..first).map(move |second| (first, second))) {
            conv.weights.fill(0);
            conv.weights[9 * taps..][first] = i8::MIN;
            conv.weights[9 * taps..][second] = i8::MIN;
            let wanted = outcomes(&SCALAR, &conv, &input, None, &parts, &channels);
            for set in sets() {
                let got = outcomes(set, &conv, &input, None, &parts, &channels);
                assert_eq!(got.1, wanted.1, "{}: taps {first} and {second}", got.0);
            }
        }
    }
}

#[test]
fn depthwise_of_other_windows() {
    let mut cases = Vec::new();
    for channels in [3, 8, 24, 33] {
        for kernel in [[1, 1], [2, 2], [3, 5], [7, 7], [1, 9], [4, 1]] {
            let base =
                ConvCase { kernel, channels, groups: channels, input: [11, 12, channels], pad: [2, 3, 1, 0], ..DEPTH };
            cases.push(base);
            cases.push(ConvCase { stride: [3, 2], ..base });
            cases.push(ConvCase { dilation: [2, 2], ..base });
        }
        for dilation in [[2, 2], [1, 3]] {
            let input = [11, 12, channels];
            cases.push(ConvCase { channels, groups: channels, input, dilation, pad: [2; 4], ..DEPTH });
        }
        // Depthwise with a channel multiplier is grouped, not depthwise.
        cases.push(ConvCase { channels: 2 * channels, groups: channels, input: [6, 7, channels], ..DEPTH });
    }
    cases.retain(|case| case.size().is_some());
    check(&cases);
}

#[test]
fn fully_connected() {
    let mut cases = Vec::new();
    for inputs in [1, 15, 16, 17, 31, 33, 64, 100, 512, 1291] {
        for channels in [1, 2, 3, 4, 5, 8, 9, 49, 100] {
            cases.push(ConvCase { input: [1, 1, inputs], channels, slack: [inputs % 3, channels % 2], ..FULL });
        }
    }
    // A window as large as the map is a fully connected layer too.
    cases.push(ConvCase { input: [7, 7, 20], kernel: [7, 7], channels: 49, slack: [12, 0], ..FULL });
    cases.push(ConvCase { input: [5, 6, 3], kernel: [7, 8], pad: [1; 4], channels: 10, ..FULL });
    check(&cases);
}

fn arbitrary_conv() -> impl Strategy<Value = (ConvCase, u64)> {
    let sizes = (1usize..20, 1usize..24, 1usize..40, 1usize..40, 1usize..4);
    let window = (1usize..6, 1usize..6, 1usize..4, 1usize..4, 1usize..3, 1usize..3);
    let pad = proptest::array::uniform4(0usize..4);
    let rest = (0usize..20, 0usize..20, any::<u8>(), 0usize..4, 0usize..4, any::<u64>(), 0usize..3);
    (sizes, window, pad, rest).prop_map(|(sizes, window, pad, rest)| {
        let (height, width, inputs, outputs, groups) = sizes;
        // Dense, grouped and depthwise alike often.
        let (inputs, outputs, groups) = match rest.6 {
            0 => (inputs, outputs, 1),
            1 => (inputs * groups, outputs * groups, groups),
            _ => (inputs, inputs, inputs),
        };
        let case = ConvCase {
            input: [height, width, inputs],
            channels: outputs,
            kernel: [window.0, window.1],
            stride: [window.2, window.3],
            dilation: [window.4, window.5],
            pad,
            groups,
            slack: [rest.0, rest.1],
            zero: rest.2,
            values: [Values::Random, Values::Extreme, Values::Random, Values::Highest][rest.3],
            result: [Yield::Bytes, Yield::Clamped, Yield::Added, Yield::Floats][rest.4],
        };
        (case, rest.5)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_convolution((case, seed) in arbitrary_conv()) {
        prop_assume!(case.size().is_some());
        let mut failures = Vec::new();
        case.check(seed, &mut failures);
        prop_assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}

#[test]
fn additions() {
    let mut rng = Rng(1);
    let mut failures = Vec::new();
    for length in [0, 1, 7, 8, 9, 31, 32, 33, 100, 1000, 65536] {
        for round in 0..8 {
            let quant = |rng: &mut Rng| Quant {
                scale: rng.pick(&[1.0, 0.5, 0.0173, 0.01 + rng.0 as u8 as f32 / 300.0]),
                zero_point: rng.pick(&[0, 1, 128, 255]),
            };
            let (lo, hi) = rng.pick(&[(0, 255), (7, 200), (128, 255), (40, 40)]);
            let add = AddQuant { a: quant(&mut rng), b: quant(&mut rng), y: quant(&mut rng), lo, hi };
            let a: Vec<u8> = (0..length).map(|i| if length == 65536 { i as u8 } else { rng.next() as u8 }).collect();
            let b: Vec<u8> =
                (0..length).map(|i| if length == 65536 { (i >> 8) as u8 } else { rng.next() as u8 }).collect();
            let mut wanted = vec![0; length];
            SCALAR.add(&add, &a, &b, &mut wanted);
            for set in sets() {
                let mut got = vec![0; length];
                set.add(&add, &masked(&a, set.storage()), &masked(&b, set.storage()), &mut got);
                if let Some(d) = difference(&masked(&got, set.storage()), &wanted) {
                    failures.push(format!("{} add of {length}, round {round}, {add:?}: {d}", set.isa()));
                }
            }
        }
    }
    report(&failures);
}

/// A pool by its sizes: input, window, stride, padding (top, left, bottom, right).
type PoolCase = ([usize; 2], [usize; 2], [usize; 2], [usize; 4]);

const POOLS: [PoolCase; 9] = [
    ([8, 8], [2, 2], [2, 2], [0; 4]),
    ([9, 11], [3, 3], [2, 2], [1; 4]),
    ([8, 8], [3, 3], [2, 2], [0, 0, 1, 1]),
    ([5, 6], [3, 3], [1, 1], [1; 4]),
    ([7, 7], [7, 7], [1, 1], [0; 4]),
    ([1, 1], [1, 1], [1, 1], [0; 4]),
    ([6, 4], [5, 2], [3, 1], [2, 1, 2, 0]),
    ([14, 14], [14, 14], [1, 1], [0; 4]),
    ([4, 40], [2, 3], [1, 2], [0, 1, 0, 1]),
];

#[test]
fn pools() {
    let mut rng = Rng(2);
    let mut failures = Vec::new();
    for (size, kernel, stride, pad) in POOLS {
        for channels in EDGES {
            for slack in [0, 3] {
                let case = ConvCase { input: [size[0], size[1], 1], kernel, stride, pad, ..BASE };
                let [height, width] = case.size().expect("the window fits");
                let input = Map { height: size[0], width: size[1], channels, stride: channels + slack };
                let output = Map { height, width, channels, stride: channels + 5 - slack };
                let window = Window { kernel, stride, dilation: [1, 1], pad: [pad[0], pad[1]] };
                let max = MaxPool { input, output, window };
                let lo = rng.pick(&[0, 20]);
                let average = AveragePool {
                    input,
                    output,
                    window,
                    count_pad: rng.below(2) == 0,
                    x: Quant { scale: 0.1 + rng.unit(), zero_point: rng.pick(&[0, 1, 128, 255]) },
                    y: Quant { scale: 0.1 + rng.unit(), zero_point: rng.pick(&[0, 1, 128, 255]) },
                    lo,
                    hi: rng.pick(&[255, 100]),
                };
                let values = rng.pick(&[Values::Random, Values::Extreme, Values::Highest]);
                let bytes: Vec<u8> = (0..input.volume()).map(|_| values.byte(&mut rng)).collect();
                let cut = rng.below(output.pixels() + 1);
                for part in [0..output.pixels(), cut..output.pixels()] {
                    let run = |set: &dyn KernelSet| {
                        let bytes = masked(&bytes, set.storage());
                        let mut maxima = vec![0; part.len() * output.stride];
                        let mut averages = maxima.clone();
                        set.max_pool(&max, &bytes, &mut maxima, part.clone());
                        set.average_pool(&average, &bytes, &mut averages, part.clone());
                        [maxima, averages].map(|all| {
                            let pixels = all.chunks(output.stride).flat_map(|p| p[..channels].to_vec());
                            masked(&pixels.collect::<Vec<_>>(), set.storage())
                        })
                    };
                    let wanted = run(&SCALAR);
                    for set in sets() {
                        let got = run(set);
                        for (name, got, wanted) in [("max", &got[0], &wanted[0]), ("average", &got[1], &wanted[1])] {
                            if let Some(d) = difference(got, wanted) {
                                failures.push(format!("{} {name} {average:?} {part:?}: {d}", set.isa()));
                            }
                        }
                    }
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn products_of_pairs() {
    let mut rng = Rng(3);
    let mut failures = Vec::new();
    for count in [0, 1, 2, 3, 4, 5, 8, 9] {
        for pairs in [1, 2, 7, 25, 320] {
            for values in [Values::Random, Values::Extreme] {
                // The full range, whose products overflow two by two, and what bytes less a zero point can be.
                let number = |rng: &mut Rng| match values {
                    Values::Random => (rng.below(511) as i16) - 255,
                    _ => rng.pick(&[i16::MIN, i16::MAX, -1]),
                };
                let rows: Vec<[i16; 2]> = (0..count * pairs).map(|_| [number(&mut rng), number(&mut rng)]).collect();
                let panel: Vec<PairRow> =
                    (0..pairs).map(|_| std::array::from_fn(|_| [number(&mut rng), number(&mut rng)])).collect();
                // By the definition, in 64 bits.
                let wanted = |row: usize, column: usize| -> i32 {
                    let pair = |i: usize| {
                        let (x, w) = (rows[row * pairs + i].map(i64::from), panel[i][column].map(i64::from));
                        x[0] * w[0] + x[1] * w[1]
                    };
                    (0..pairs).map(pair).sum::<i64>() as i32
                };
                let wanted: Vec<i32> = (0..count * PAIRS).map(|i| wanted(i / PAIRS, i % PAIRS)).collect();
                for set in sets() {
                    let mut got = vec![[77; PAIRS]; count];
                    set.pair_products(&rows, &panel, &mut got);
                    if let Some(d) = difference(got.as_flattened(), &wanted) {
                        failures.push(format!("{} {count} rows of {pairs} pairs, {values:?}: {d}", set.isa()));
                    }
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn tables() {
    let mut rng = Rng(3);
    let table: [u8; 256] = std::array::from_fn(|_| rng.next() as u8);
    let mut failures = Vec::new();
    for length in [0, 1, 15, 16, 17, 31, 32, 33, 256, 1001] {
        let input: Vec<u8> = (0..length).map(|i| if length == 256 { i as u8 } else { rng.next() as u8 }).collect();
        let mut wanted = vec![0; length];
        SCALAR.table(&table, &input, &mut wanted);
        for set in sets() {
            let mut got = vec![0; length];
            set.table(&table, &input, &mut got);
            failures.extend(difference(&got, &wanted).map(|d| format!("{} table of {length}: {d}", set.isa())));
        }
    }
    report(&failures);
}

#[test]
fn quantise_and_dequantise() {
    const HARD: [f32; 12] = [
        f32::NAN,
        -f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        -1e30,
        3e9,
        -3e9,
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        f32::MAX,
    ];
    let mut rng = Rng(4);
    let mut failures = Vec::new();
    for (height, width) in [(1, 1), (1, 7), (3, 5), (4, 8), (9, 9), (16, 33)] {
        for channels in [1, 2, 3, 4, 5, 8, 16, 17, 33] {
            // A picture's three channels have loops of their own.
            let slacks: &[usize] = if channels == 3 { &[0, 0, 0, 0, 0, 0, 0, 0, 1, 13] } else { &[0, 1, 13] };
            for slack in slacks {
                let map = Map { height, width, channels, stride: channels + slack };
                let scale = rng.pick(&[1.0, 0.5, 0.0123, 0.0173, 2.0 / 255.0, 1e-38]);
                let quant = Quant { scale, zero_point: rng.pick(&[0, 1, 114, 128, 255]) };
                let cut = rng.below(map.pixels() + 1);
                // Ties, values beside them, and what no conversion holds: often, seldom and never, for kernels that
                // look at many at a time.
                let (often, least) = rng.pick(&[(4, 0), (4, 1), (64, 0), (usize::MAX, 0)]);
                let numbers: Vec<f32> = (0..map.pixels() * channels)
                    .map(|i| match rng.below(often).max(least) {
                        0 => HARD[i % HARD.len()],
                        1 => (rng.below(600) as f32 - 300.5) * scale,
                        2 => rng.pick(&[f32::next_up, f32::next_down])((rng.below(600) as f32 - 300.5) * scale),
                        3 => (rng.unit() - 0.5) * 1e4 * scale,
                        _ => (rng.unit() - 0.5) * 300.0 * scale,
                    })
                    .collect();
                let bytes: Vec<u8> = (0..map.volume()).map(|_| rng.next() as u8).collect();
                let run = |set: &dyn KernelSet, cut: usize| {
                    let mut quantised = vec![0; map.volume()];
                    let (first, second) = quantised.split_at_mut(cut * map.stride);
                    set.quantise(quant, &numbers, &map, first, 0..cut);
                    set.quantise(quant, &numbers, &map, second, cut..map.pixels());
                    let quantised: Vec<u32> = quantised
                        .chunks(map.stride)
                        .flat_map(|p| p[..channels].iter().map(|q| u32::from(q ^ set.storage().mask())))
                        .collect();
                    let mut dequantised = vec![f32::NAN; map.pixels() * channels];
                    set.dequantise(quant, &map, &masked(&bytes, set.storage()), &mut dequantised);
                    [quantised, dequantised.iter().map(|v| v.to_bits()).collect()]
                };
                let wanted = run(&SCALAR, map.pixels());
                for set in sets() {
                    for (got, wanted) in run(set, cut).iter().zip(&wanted) {
                        if let Some(d) = difference(got, wanted) {
                            failures.push(format!("{} {map:?} {quant:?}: {d}", set.isa()));
                        }
                    }
                }
            }
        }
    }
    report(&failures);
}

#[test]
fn sets_are_found_by_name_and_scalar_is_always_there() {
    let all = super::available();
    assert_eq!(all.last().map(|set| set.isa()), Some("scalar"));
    assert_eq!(super::best().isa(), all[0].isa());
    for set in all {
        assert_eq!(super::by_name(set.isa()).map(|found| found.isa()), Some(set.isa()));
    }
    assert!(super::by_name("mmx").is_none());
}
