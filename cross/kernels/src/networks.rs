//! The quantised layers of two networks, by class, for counting what they cost.

use crate::int8::kernels::{AveragePool, Conv, Map, MaxPool, Output, Residual, Window};
use crate::int8::quant::{AddQuant, Quant, Requant};

/// A layer of a network.
#[derive(Debug)]
pub enum Layer {
    /// A convolution or fully connected layer.
    Conv(Conv),
    /// A maximum pool.
    MaxPool(MaxPool),
    /// An average pool.
    AveragePool(AveragePool),
    /// The quantisation of an image, channels last.
    Quantise(Map),
}

/// A class of layers that are alike in what they cost.
pub type Class = &'static str;

/// The networks that can be counted.
pub const NETWORKS: [&str; 2] = ["resnet10", "mobilenet_v2"];

/// The layers of a network at 224×224, with their classes; `None` if there is no such network.
pub fn layers(network: &str) -> Option<Vec<(Class, Layer)>> {
    match network {
        "resnet10" => Some(resnet10()),
        "mobilenet_v2" => Some(mobilenet_v2()),
        _ => None,
    }
}

/// Zero points and scales do not change what a layer costs.
const QUANT: Quant = Quant { scale: 0.02, zero_point: 128 };

/// Square maps; channels padded as the engine pads them.
fn map(size: usize, channels: usize) -> Map {
    let stride = if size == 1 || channels < 8 { channels } else { channels.next_multiple_of(16) };
    Map { height: size, width: size, channels, stride }
}

/// A convolution of a square map, with padding that keeps its size at stride 1.
struct Shape {
    size: usize,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    residual: bool,
}

impl Shape {
    fn new(size: usize, inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Shape {
        Shape { size, inputs, outputs, kernel, stride, groups: 1, residual: false }
    }

    fn layer(self) -> Layer {
        let Shape { size, inputs, outputs, kernel, stride, groups, residual } = self;
        let output = map(size.div_ceil(stride), outputs);
        let terms = kernel * kernel * inputs / groups;
        let add = AddQuant { a: QUANT, b: QUANT, y: QUANT, lo: 0, hi: 255 };
        let requant = Requant { multiplier: vec![1e-3; outputs], zero_point: 128, lo: 0, hi: 255 };
        Layer::Conv(Conv {
            input: map(size, inputs),
            output,
            window: Window { kernel: [kernel; 2], stride: [stride; 2], pad: [kernel / 2; 2], ..Window::POINT },
            groups,
            input_zero: 3,
            weights: bell(outputs, terms),
            bias: vec![100; outputs],
            result: Output::Bytes(requant, residual.then_some(Residual { add, stride: output.stride })),
        })
    }
}

/// Weights distributed as trained ones are, the largest of each channel being 127: kernels without dot products are
/// faster where weights are small.
fn bell(channels: usize, terms: usize) -> Vec<i8> {
    let mut state = 1u64;
    let mut uniform = || {
        // Knuth's MMIX generator.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut weights = Vec::with_capacity(channels * terms);
    for _ in 0..channels {
        // Sums of eight uniform numbers are near enough to normal.
        let channel: Vec<f32> = (0..terms).map(|_| (0..8).map(|_| uniform()).sum()).collect();
        let largest = channel.iter().fold(f32::MIN_POSITIVE, |largest, weight| largest.max(weight.abs()));
        weights.extend(channel.iter().map(|weight| (weight / largest * 127.0).round() as i8));
    }
    weights
}

/// OLTR's ResNet-10 with modulated attention and a memory of 1000 centroids.
fn resnet10() -> Vec<(Class, Layer)> {
    let input = Map { height: 112, width: 112, channels: 64, stride: 64 };
    let window = Window { kernel: [3, 3], stride: [2, 2], pad: [1, 1], ..Window::POINT };
    let mut layers = vec![
        ("quantise", Layer::Quantise(map(224, 3))),
        ("stem", Shape::new(224, 3, 64, 7, 2).layer()),
        ("pool", Layer::MaxPool(MaxPool { input, output: map(56, 64), window })),
    ];
    let (mut size, mut inputs) = (56, 64);
    for (outputs, stride) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
        layers.push(("conv 3x3", Shape::new(size, inputs, outputs, 3, stride).layer()));
        if stride > 1 {
            layers.push(("conv 1x1", Shape::new(size, inputs, outputs, 1, stride).layer()));
        }
        size /= stride;
        layers.push(("conv 3x3", Shape { residual: true, ..Shape::new(size, outputs, outputs, 3, 1) }.layer()));
        inputs = outputs;
    }
    for _ in 0..3 {
        layers.push(("conv 1x1", Shape::new(7, 512, 256, 1, 1).layer()));
    }
    layers.push(("fully connected", Shape::new(1, 25088, 49, 1, 1).layer()));
    for _ in 0..4 {
        layers.push(("fully connected", Shape::new(1, 512, 1000, 1, 1).layer()));
    }
    layers
}

/// MobileNetV2 1.0, without OLTR's head.
fn mobilenet_v2() -> Vec<(Class, Layer)> {
    let mut layers = vec![
        ("quantise", Layer::Quantise(map(224, 3))),
        ("stem", Shape::new(224, 3, 32, 3, 2).layer()),
    ];
    let (mut size, mut inputs) = (112, 32);
    // Expansion, channels, blocks, stride of the first block.
    for (expansion, outputs, blocks, first) in
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    {
        for block in 0..blocks {
            let stride = if block == 0 { first } else { 1 };
            let inner = inputs * expansion;
            if expansion > 1 {
                layers.push(("conv 1x1", Shape::new(size, inputs, inner, 1, 1).layer()));
            }
            let depthwise = Shape { groups: inner, ..Shape::new(size, inner, inner, 3, stride) };
            layers.push((if stride == 1 { "depthwise s1" } else { "depthwise s2" }, depthwise.layer()));
            size /= stride;
            let project = Shape { residual: block > 0, ..Shape::new(size, inner, outputs, 1, 1) };
            layers.push(("conv 1x1", project.layer()));
            inputs = outputs;
        }
    }
    layers.push(("conv 1x1", Shape::new(7, inputs, 1280, 1, 1).layer()));
    let window = Window { kernel: [7, 7], ..Window::POINT };
    let (input, output) = (map(7, 1280), map(1, 1280));
    let average = AveragePool { input, output, window, count_pad: false, x: QUANT, y: QUANT, lo: 0, hi: 255 };
    layers.push(("pool", Layer::AveragePool(average)));
    layers.push(("fully connected", Shape::new(1, 1280, 1000, 1, 1).layer()));
    layers
}
