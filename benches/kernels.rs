//! Kernels on the layers that networks of the field are made of, for every kernel set of this machine.
//!
//! Throughput is in multiply-accumulates (criterion's "elements"). `cargo bench --bench kernels -- avx2/conv3x3` runs
//! a part.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use oltr_int8::kernels::{Conv, Destination, Job, Map, MaxPool, Output, Window, available};
use oltr_int8::quant::{AddQuant, Quant, Requant};

/// A convolution by name: input height (and width) and channels, output channels, kernel, stride, groups.
type Layer = (&'static str, usize, usize, usize, usize, usize, usize);

const LAYERS: [Layer; 22] = [
    ("stem/resnet 7x7 s2 3>64 @224", 224, 3, 64, 7, 2, 1),
    ("stem/mobilenet 3x3 s2 3>32 @224", 224, 3, 32, 3, 2, 1),
    ("conv3x3/64@56", 56, 64, 64, 3, 1, 1),
    ("conv3x3/128@28", 28, 128, 128, 3, 1, 1),
    ("conv3x3/256@14", 14, 256, 256, 3, 1, 1),
    ("conv3x3/512@7", 7, 512, 512, 3, 1, 1),
    ("conv3x3/64>128 s2 @56", 56, 64, 128, 3, 2, 1),
    ("conv3x3/256>512 s2 @14", 14, 256, 512, 3, 2, 1),
    ("conv1x1/16>96@112", 112, 16, 96, 1, 1, 1),
    ("conv1x1/96>24@56", 56, 96, 24, 1, 1, 1),
    ("conv1x1/24>144@56", 56, 24, 144, 1, 1, 1),
    ("conv1x1/32>192@28", 28, 32, 192, 1, 1, 1),
    ("conv1x1/384>64@14", 14, 384, 64, 1, 1, 1),
    ("conv1x1/96>576@14", 14, 96, 576, 1, 1, 1),
    ("conv1x1/960>160@7", 7, 960, 160, 1, 1, 1),
    ("conv1x1/320>1280@7", 7, 320, 1280, 1, 1, 1),
    ("depthwise/3x3 s1 144@56", 56, 144, 144, 3, 1, 144),
    ("depthwise/3x3 s2 96@112", 112, 96, 96, 3, 2, 96),
    ("depthwise/3x3 s1 960@7", 7, 960, 960, 3, 1, 960),
    ("depthwise/5x5 s1 240@16", 16, 240, 240, 5, 1, 240),
    ("fully connected/512>1000", 1, 512, 1000, 1, 1, 1),
    ("fully connected/15680>49", 1, 15680, 49, 1, 1, 1),
];

fn conv((_, size, channels, outputs, kernel, stride, groups): Layer) -> Conv {
    let pad = kernel / 2;
    let out_size = (size + 2 * pad - kernel) / stride + 1;
    Conv {
        input: Map { height: size, width: size, channels, stride: channels },
        output: Map { height: out_size, width: out_size, channels: outputs, stride: outputs },
        window: Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1, 1], pad: [pad; 2] },
        groups,
        input_zero: 3,
        // About as large as trained weights are, which decides whether the faster exact algorithms may be used.
        weights: (0..outputs * kernel * kernel * channels / groups).map(|i| (i * 7919 % 121) as i8 - 60).collect(),
        bias: vec![100; outputs],
        result: Output::Bytes(Requant { multiplier: vec![1e-3; outputs], zero_point: 3, lo: 0, hi: 255 }, None),
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| ((i * 7919) >> 3) as u8).collect()
}

fn convolutions(c: &mut Criterion) {
    for set in available() {
        let mut group = c.benchmark_group(set.isa());
        for layer in LAYERS {
            let conv = conv(layer);
            // The specification is slow on purpose: one layer shows how slow.
            if set.isa() == "scalar" && layer.0 != "depthwise/3x3 s1 960@7" {
                continue;
            }
            group.throughput(Throughput::Elements(conv.macs()));
            let packed = set.conv(conv.clone());
            let input = bytes(conv.input.volume());
            let mut output = vec![0; conv.output.volume()];
            let mut scratch = vec![0; packed.scratch_bytes()];
            group.bench_function(BenchmarkId::new(layer.0, packed.name()), |b| {
                b.iter(|| {
                    packed.run(Job {
                        input: &input,
                        residual: None,
                        pixels: 0..conv.output.pixels(),
                        channels: None,
                        output: Destination::Bytes(&mut output),
                        scratch: &mut scratch,
                    });
                });
            });
        }
    }
}

fn elementwise(c: &mut Criterion) {
    const SIZE: usize = 112 * 112 * 64;
    let (a, b, mut output) = (bytes(SIZE), bytes(SIZE), vec![0; SIZE]);
    let quant = |scale| Quant { scale, zero_point: 128 };
    let add = AddQuant { a: quant(0.02), b: quant(0.03), y: quant(0.04), lo: 128, hi: 255 };
    let table: [u8; 256] = std::array::from_fn(|i| 255 - i as u8);
    let image = Map { height: 224, width: 224, channels: 3, stride: 3 };
    let numbers: Vec<f32> = (0..image.volume()).map(|i| (i % 500) as f32 * 0.01 - 2.5).collect();
    let pool = MaxPool {
        input: Map { height: 112, width: 112, channels: 64, stride: 64 },
        output: Map { height: 56, width: 56, channels: 64, stride: 64 },
        window: Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [1, 1] },
    };
    for set in available() {
        let mut group = c.benchmark_group(set.isa());
        group.throughput(Throughput::Bytes(SIZE as u64));
        group.bench_function("add", |bench| bench.iter(|| set.add(&add, &a, &b, &mut output)));
        group.bench_function("table", |bench| bench.iter(|| set.table(&table, &a, &mut output)));
        let pixels = pool.output.pixels();
        let pooled = &mut output[..pool.output.volume()];
        group.bench_function("max pool 3x3 s2", |bench| bench.iter(|| set.max_pool(&pool, &a, pooled, 0..pixels)));
        group.throughput(Throughput::Bytes(image.volume() as u64));
        let quantised = &mut output[..image.volume()];
        group.bench_function("quantise 224x224x3", |bench| {
            bench.iter(|| set.quantise(quant(0.02), &numbers, &image, quantised, 0..image.pixels()));
        });
    }
}

criterion_group!(benches, convolutions, elementwise);
criterion_main!(benches);
