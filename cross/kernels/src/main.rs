//! `oltr-kernels`: what scripts ask of the kernels under emulation.
//!
//! - `oltr-kernels sets` prints the kernel sets that this processor can run, the fastest first.
//! - `oltr-kernels classes NETWORK` prints the classes of a network's layers.
//! - `oltr-kernels run NETWORK CLASS N` computes the layers of a class N times with the kernels chosen. What a run
//!   costs is the difference of two N, which preparations are not in.

mod networks;
mod others;

use std::process::ExitCode;

use networks::{Layer, NETWORKS, QUANT, layers};
use oltr_int8::float::{Panels, distances, softmax};
use oltr_int8::kernels::{Cuts, Destination, Job, KernelSet, available, select};
use oltr_int8::{Builder, Input};
use others::Built;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["sets"] => {
            println!("{}", available().iter().map(|set| set.isa()).collect::<Vec<_>>().join(" "));
            Ok(())
        }
        ["classes", network] => classes(network),
        ["run", network, class, times] => run(network, class, times),
        _ => Err(format!("usage: oltr-kernels sets | classes NETWORK | run NETWORK CLASS N, NETWORK: {NETWORKS:?}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("oltr-kernels: {message}");
            ExitCode::from(2)
        }
    }
}

fn classes(network: &str) -> Result<(), String> {
    let mut classes: Vec<_> = layers(network).ok_or("no such network")?.iter().map(|(class, _)| *class).collect();
    classes.sort_unstable();
    classes.dedup();
    classes.iter().for_each(|class| println!("{class}"));
    Ok(())
}

fn run(network: &str, class: &str, times: &str) -> Result<(), String> {
    let set = select()?;
    let times: usize = times.parse().map_err(|_| format!("'{times}' is no number"))?;
    let chosen = layers(network).ok_or("no such network")?.into_iter().filter(|(of, _)| *of == class);
    let mut any = false;
    for (_, layer) in chosen {
        compute(set, layer, times).map_err(|error| error.to_string())?;
        any = true;
    }
    if any { Ok(()) } else { Err(format!("{network} has no layers of the class '{class}'")) }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7919) as u8).collect()
}

fn f32_values(count: usize) -> Vec<f32> {
    vec![0.3; count]
}

fn compute(set: &'static dyn KernelSet, layer: Layer, times: usize) -> oltr_int8::Result<()> {
    match layer {
        Layer::Conv(conv) => {
            let (map, channels) = (conv.output, conv.output.channels);
            let input = bytes(conv.input.volume());
            let residual = matches!(conv.result, oltr_int8::kernels::Output::Bytes(_, Some(_)));
            let residual = residual.then(|| bytes(map.volume()));
            let packed = set.conv(conv);
            let mut output = vec![0; map.volume()];
            let mut scratch = vec![0; packed.scratch_bytes()];
            for _ in 0..times {
                // Fully connected layers as threads would share them.
                let one_part = map.pixels() == 1 && packed.cuts() == Cuts::Anywhere;
                let elements = if one_part { channels } else { map.volume() };
                packed.run(Job {
                    input: &input,
                    residual: residual.as_deref(),
                    pixels: 0..map.pixels(),
                    channels: one_part.then_some(0..channels),
                    output: Destination::Bytes(&mut output[..elements]),
                    scratch: &mut scratch,
                });
            }
        }
        Layer::MaxPool(pool) => {
            let (input, mut output) = (bytes(pool.input.volume()), vec![0; pool.output.volume()]);
            (0..times).for_each(|_| set.max_pool(&pool, &input, &mut output, 0..pool.output.pixels()));
        }
        Layer::AveragePool(pool) => {
            let (input, mut output) = (bytes(pool.input.volume()), vec![0; pool.output.volume()]);
            (0..times).for_each(|_| set.average_pool(&pool, &input, &mut output, 0..pool.output.pixels()));
        }
        Layer::Quantise(map) => {
            let (f32_values, mut output) = (f32_values(map.pixels() * map.channels), vec![0; map.volume()]);
            (0..times).for_each(|_| set.quantise(QUANT, &f32_values, &map, &mut output, 0..map.pixels()));
        }
        Layer::Dequantise(map) => {
            let (input, mut output) = (bytes(map.volume()), f32_values(map.pixels() * map.channels));
            (0..times).for_each(|_| set.dequantise(QUANT, &map, &input, &mut output));
        }
        Layer::Product([m, k, n]) => {
            let (a, b, mut y) = (f32_values(m * k), f32_values(Panels::volume(k, n)), f32_values(m * n));
            (0..times).for_each(|_| Panels::new([k, n], &b).product(&a, None, 0..n, &mut y));
        }
        Layer::Softmax([rows, width]) => {
            let mut all = f32_values(rows * width);
            (0..times).for_each(|_| all.chunks_exact_mut(width).for_each(softmax));
        }
        Layer::Distances([centroids, length]) => {
            let (v, c, mut y) = (f32_values(length), f32_values(centroids * length), f32_values(centroids));
            (0..times).for_each(|_| distances(&v, &c, &mut y));
        }
        Layer::Built(Built { shape, build }) => {
            let mut builder = Builder::new(set);
            let x = builder.quantise(&shape, QUANT);
            let y = build(&mut builder, x)?;
            builder.output(y);
            let program = builder.finish();
            let (input, mut state) = (f32_values(shape.iter().product()), program.state(1));
            let mut output = f32_values(program.outputs()[0].iter().product());
            for _ in 0..times {
                program.run(&mut state, &[Input::F32(&input)], &mut [&mut output])?;
            }
        }
    }
    Ok(())
}
