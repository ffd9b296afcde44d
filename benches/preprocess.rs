//! Time from a frame to the model's input.

use criterion::{Criterion, criterion_group, criterion_main};
use oltr::bundle::{Preprocess, Resize};
use oltr::preprocess::{Normaliser, Preprocessor};
use oltr::{Frame, Limits, PixelFormat};

fn preprocess(c: &mut Criterion) {
    let settings = Preprocess {
        size: 224,
        resize: Resize::Stretch, // the whole frame counts, as in the built-in bundle
        resize_to: None,
        mean: [127.0; 3],
        std: [128.0; 3],
        pad_color: None,
    };
    let mut pixels = vec![0; 224 * 224 * 3];
    for format in PixelFormat::ALL {
        for (width, height) in [(300, 200), (1280, 720)] {
            let stride = format.row_bytes(width);
            let data = (0..format.frame_bytes(width, height, stride)).map(|i| (i * 7) as u8).collect();
            let frame = Frame::new(format, width, height, stride, data, &Limits::default()).unwrap();
            let mut preprocessor = Preprocessor::new(&settings, frame.geometry()).unwrap();
            c.bench_function(&format!("preprocess/{format}/{width}x{height}"), |b| {
                b.iter(|| preprocessor.run(&frame, &mut pixels).unwrap());
            });
        }
    }
    let normaliser = Normaliser::new(&settings);
    let mut input = vec![0.0; pixels.len()];
    c.bench_function("normalise/224", |b| b.iter(|| normaliser.run(&pixels, &mut input).unwrap()));
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
