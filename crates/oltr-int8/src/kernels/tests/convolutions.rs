//! Convolutions and fully connected layers: tables around the edges of tiles, and sizes drawn between them.

use proptest::prelude::*;

use super::case::{BASE, ConvCase, DEPTH, FULL, POINT, Yield, check, outcomes};
use super::{EDGES, Rng, Values, sets};
use crate::kernels::Output;
use crate::kernels::scalar::SCALAR;
use crate::quant::Requant;

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
        for size in [3, 5, 7] {
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

/// Sums of two products fit 16 bits, but for that of the smallest activations with the smallest weights: kernels that
/// add in 16 bits must know of each two taps whose products they add.
#[test]
fn depthwise_with_any_two_weights_the_smallest() {
    let requant = Requant { multiplier: vec![1e-3; 16], zero_point: 128, lo: 0, hi: 255 };
    for size in [3, 5, 7] {
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
            result: [Yield::Bytes, Yield::Clamped, Yield::Added, Yield::F32][rest.4],
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
