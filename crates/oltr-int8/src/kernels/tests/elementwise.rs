//! Additions, pools, products of activations, tables, and the way from f32 values to bytes and back.

use super::case::{BASE, ConvCase, masked};
use super::{EDGES, Rng, Values, difference, report, sets};
use crate::kernels::scalar::SCALAR;
use crate::kernels::{AveragePool, KernelSet, Map, MaxPool, PAIRS, PairRow, Window};
use crate::quant::{AddQuant, Quant};

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
                let f32_values: Vec<f32> = (0..map.pixels() * channels)
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
                    set.quantise(quant, &f32_values, &map, first, 0..cut);
                    set.quantise(quant, &f32_values, &map, second, cut..map.pixels());
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
