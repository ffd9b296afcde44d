//! The layers of three networks, and others, by class, for counting what they cost.

use oltr_int8::kernels::{AveragePool, Conv, Map, MaxPool, Output, Residual, Window};
use oltr_int8::quant::{AddQuant, Quant, Requant};

use crate::others::{self, Built};

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
    /// Dequantisation.
    Dequantise(Map),
    /// A product of numbers, `[m, k]` by `[k, n]`.
    Product([usize; 3]),
    /// Softmax of so many rows of so many numbers.
    Softmax([usize; 2]),
    /// Distances to so many centroids of so many numbers.
    Distances([usize; 2]),
    /// A program of one layer.
    Built(Built),
}

/// A class of layers that are alike in what they cost.
pub type Class = &'static str;

/// The networks that can be counted.
pub const NETWORKS: [&str; 4] = ["resnet10", "mobilenet_v2", "everyday", "others"];

/// The layers of a network at 224×224, with their classes; `None` if there is no such network.
pub fn layers(network: &str) -> Option<Vec<(Class, Layer)>> {
    match network {
        "resnet10" => Some(resnet10()),
        "mobilenet_v2" => Some(mobilenet_v2()),
        "everyday" => Some(everyday()),
        "others" => Some(others::layers()),
        _ => None,
    }
}

/// Zero points and scales do not change what a layer costs.
pub const QUANT: Quant = Quant { scale: 0.02, zero_point: 128 };

/// Square maps; channels padded as the engine pads them.
fn map(size: usize, channels: usize) -> Map {
    let stride = if size == 1 || channels < 8 { channels } else { channels.next_multiple_of(16) };
    Map { height: size, width: size, channels, stride }
}

/// A convolution of a square map, with padding that keeps its size at stride 1.
pub struct Shape {
    pub size: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
    pub residual: bool,
}

impl Shape {
    pub fn new(size: usize, inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Shape {
        Shape { size, inputs, outputs, kernel, stride, groups: 1, residual: false }
    }

    pub fn layer(self) -> Layer {
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
    layers.push(("fully connected", Shape::new(1, 7 * 7 * 512, 49, 1, 1).layer()));
    layers.push(("conv 1x1", Shape::new(7, 256, 512, 1, 1).layer()));
    // Feature, hallucinator, concept selector, memory.
    for (inputs, outputs) in [(512, 512), (512, 1000), (512, 512), (1000, 512)] {
        layers.push(("fully connected", Shape::new(1, inputs, outputs, 1, 1).layer()));
    }
    // Attention, hallucinator, reachability and cosine classifier in float.
    layers.extend(
        [
            Layer::Softmax([50, 49]),
            Layer::Softmax([1, 1000]),
            Layer::Distances([1000, 512]),
            Layer::Product([1, 512, 1000]),
        ]
        .map(|layer| ("numbers", layer)),
    );
    layers
}

/// MobileNetV2 1.0, without OLTR's head.
fn mobilenet_v2() -> Vec<(Class, Layer)> {
    let mut layers = inverted_residuals(&[
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 32, 3, 2, 3),
        (6, 64, 4, 2, 3),
        (6, 96, 3, 1, 3),
        (6, 160, 3, 2, 3),
        (6, 320, 1, 1, 3),
    ]);
    layers.extend(top());
    layers.push(("fully connected", Shape::new(1, 1280, 1000, 1, 1).layer()));
    layers
}

/// The shipped bundle: OLTR on EfficientNet-Lite0, with modulated attention before the top. Its head is in float.
fn everyday() -> Vec<(Class, Layer)> {
    let mut layers = inverted_residuals(&[
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ]);
    for _ in 0..3 {
        layers.push(("conv 1x1", Shape::new(7, 320, 160, 1, 1).layer()));
    }
    layers.push(("fully connected", Shape::new(1, 7 * 7 * 320, 49, 1, 1).layer()));
    layers.push(("conv 1x1", Shape::new(7, 160, 320, 1, 1).layer()));
    layers.extend(top());
    layers.push(("fully connected", Shape::new(1, 1280, 512, 1, 1).layer()));
    // Between bytes and numbers in the attention: three maps, and the softmax of the affinity.
    layers.extend([7840, 7840, 7840, 2401].map(|size| ("dequantise", Layer::Dequantise(map(1, size)))));
    layers.extend(
        [
            Layer::Product([49, 160, 49]),
            Layer::Softmax([50, 49]),
            Layer::Product([160, 49, 49]),
            Layer::Product([1, 512, 76]),
            Layer::Softmax([1, 76]),
            Layer::Product([1, 512, 512]),
            Layer::Product([1, 76, 512]),
            Layer::Distances([76, 512]),
            Layer::Product([1, 512, 76]),
        ]
        .map(|layer| ("numbers", layer)),
    );
    layers
}

/// Image, stem and blocks of the MobileNetV2 family. For each stage: expansion, channels, blocks, stride of the first
/// block, size of the depthwise window. The map of the last block is 7×7.
fn inverted_residuals(stages: &[(usize, usize, usize, usize, usize)]) -> Vec<(Class, Layer)> {
    let mut layers = vec![("quantise", Layer::Quantise(map(224, 3))), ("stem", Shape::new(224, 3, 32, 3, 2).layer())];
    let (mut size, mut inputs) = (112, 32);
    for &(expansion, outputs, blocks, first, kernel) in stages {
        for block in 0..blocks {
            let stride = if block == 0 { first } else { 1 };
            let inner = inputs * expansion;
            if expansion > 1 {
                layers.push(("conv 1x1", Shape::new(size, inputs, inner, 1, 1).layer()));
            }
            let depthwise = Shape { groups: inner, ..Shape::new(size, inner, inner, kernel, stride) };
            let class = match (kernel, stride) {
                (3, 1) => "depthwise s1",
                (3, _) => "depthwise s2",
                (_, 1) => "depthwise 5x5 s1",
                _ => "depthwise 5x5 s2",
            };
            layers.push((class, depthwise.layer()));
            size /= stride;
            let project = Shape { residual: block > 0, ..Shape::new(size, inner, outputs, 1, 1) };
            layers.push(("conv 1x1", project.layer()));
            inputs = outputs;
        }
    }
    layers
}

/// From the last block's 320 channels to the mean of 1280.
fn top() -> [(Class, Layer); 2] {
    let window = Window { kernel: [7, 7], ..Window::POINT };
    let (input, output) = (map(7, 1280), map(1, 1280));
    let average = AveragePool { input, output, window, count_pad: false, x: QUANT, y: QUANT, lo: 0, hi: 255 };
    [("conv 1x1", Shape::new(7, 320, 1280, 1, 1).layer()), ("pool", Layer::AveragePool(average))]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiply-accumulates of a network's convolutions and fully connected layers.
    fn macs(network: &str) -> usize {
        let layers = layers(network).unwrap();
        let convs = layers.iter().filter_map(|(_, layer)| match layer {
            Layer::Conv(conv) => Some(conv),
            _ => None,
        });
        convs.map(|conv| conv.output.pixels() * conv.weights.len()).sum()
    }

    #[test]
    fn networks_are_as_large_as_the_graphs_that_they_stand_for() {
        // What `oltr inspect` says of the graphs' layers of bytes, added up.
        assert_eq!(NETWORKS.map(macs), [917_185_024, 300_774_272, 395_366_432, 921_984]);
    }
}
