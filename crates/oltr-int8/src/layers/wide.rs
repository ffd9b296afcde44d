//! Depthwise convolutions beyond the kernels of bytes: weights that take more than a signed byte (unsigned ones with any
//! zero point).
//!
//! Sums are f32 values: integers below 2²⁴ are exact in them, in whatever order they are added, so the result is that of
//! integers on every machine. A row of the result is computed whole, so that narrow maps fill vectors too.

use multiversion::multiversion;

use crate::kernels::{Map, Window};
use crate::layers::cut::products;
use crate::layers::finish::{Finish, Finishing};
use crate::layers::{Call, Extent, Layer};
use crate::threads::Cut;

/// f32 values of a vector, on the widest machine.
const LANES: usize = 16;

/// Most scratch of a thread, in bytes. Networks' maps take far less; larger ones are computed in another way.
const SCRATCH: usize = 4 << 20;

/// Sums that f32 values hold exactly.
const EXACT: u64 = 1 << 24;

/// A depthwise convolution before packing.
#[derive(Clone, Debug, PartialEq)]
pub struct WideDepthwise {
    /// The input.
    pub input: Map,
    /// The output, of as many channels.
    pub output: Map,
    /// The window.
    pub window: Window,
    /// Zero point of the input, unsigned.
    pub input_zero: u8,
    /// `[channel][row][column]`, less their zero points.
    pub weights: Vec<i32>,
    /// One for each channel, in units of the sums.
    pub bias: Vec<i32>,
    /// What becomes of the sums.
    pub finish: Finish,
}

impl WideDepthwise {
    /// Whether its sums are exact, and its rows of a size that is computed so.
    pub fn fits(&self) -> bool {
        let ([kh, kw], channels) = (self.window.kernel, self.output.channels);
        let taps = kh * kw;
        let listed = self.weights.len() == channels * taps && self.bias.len() == channels && taps > 0 && channels > 0;
        let maps = self.input.channels == channels && self.input.stride == self.output.stride;
        let input = u64::from(self.input_zero.max(255 - self.input_zero));
        let exact = |(weights, bias): (&[i32], &i32)| {
            let sum: u64 = weights.iter().map(|w| u64::from(w.unsigned_abs()) * input).sum();
            sum + u64::from(bias.unsigned_abs()) <= EXACT
        };
        listed && maps && self.rows().bytes() <= SCRATCH && self.weights.chunks(taps).zip(&self.bias).all(exact)
    }

    fn rows(&self) -> Rows {
        let Window { kernel: [kh, kw], stride: [_, step], dilation: [down, right], .. } = self.window;
        let columns = (self.output.width.saturating_sub(1)).saturating_mul(step) + (kw - 1).saturating_mul(right) + 1;
        let length = columns.saturating_mul(self.input.stride).saturating_add(LANES);
        Rows { count: (kh - 1).saturating_mul(down) + 1, length, sums: self.output.width * self.output.stride + LANES }
    }
}

/// Scratch of a thread.
struct Rows {
    /// Rows of the input that one of the output reads, those between them too.
    count: usize,
    /// f32 values of each: padding on both sides, and what vectors read beyond.
    length: usize,
    /// f32 values of a row of sums.
    sums: usize,
}

impl Rows {
    fn bytes(&self) -> usize {
        self.count.saturating_mul(self.length).saturating_add(self.sums).saturating_mul(4)
    }
}

/// The layer.
#[derive(Debug)]
pub(crate) struct Depthwise {
    conv: WideDepthwise,
    finishing: Finishing,
    /// Values until weights and biases come again: whole pixels and whole vectors.
    period: usize,
    /// `[tap][period]`
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Depthwise {
    pub fn new(conv: WideDepthwise) -> Depthwise {
        let (stride, channels) = (conv.output.stride, conv.output.channels);
        let mut period = stride;
        while !period.is_multiple_of(LANES) {
            period += stride;
        }
        let taps = conv.weights.len() / channels;
        // What lies between pixels is multiplied with 0.
        let of = |i: usize, value: &dyn Fn(usize) -> i32| match i % stride {
            c if c < channels => value(c) as f32,
            _ => 0.0,
        };
        let tap = |t: usize| (0..period).map(move |i| (i, t));
        let weights = (0..taps).flat_map(tap).map(|(i, t)| of(i, &|c| conv.weights[c * taps + t])).collect();
        let bias = (0..period).map(|i| of(i, &|c| conv.bias[c])).collect();
        let finishing = Finishing::new(conv.finish.clone(), conv.output);
        Depthwise { conv, finishing, period, weights, bias }
    }

    /// Row `row` of the input as f32 values less the zero point, with 0 at its sides.
    fn read(&self, x: &[u8], row: usize, mask: u8, to: &mut [f32]) {
        let Map { width, stride, .. } = self.conv.input;
        let first = self.conv.window.pad[1] * stride;
        to.fill(0.0);
        let inside = to.len().saturating_sub(first).min(width * stride);
        if inside > 0 {
            let from = &x[row * width * stride..][..inside];
            centred(from, mask, f32::from(self.conv.input_zero), &mut to[first..first + inside]);
        }
    }
}

impl Layer for Depthwise {
    fn cut(&self, extent: Extent, threads: usize) -> Cut {
        let map = &self.conv.output;
        let size = if self.conv.finish.bytes.is_some() { 1 } else { 4 };
        Cut::items((map.height, 1, products(extent.macs, 20_000)), map.width * map.stride * size, threads)
    }

    fn compute(&self, call: Call) {
        let WideDepthwise { input, output, window, .. } = &self.conv;
        let mask = call.kernels.storage().mask();
        let rows = self.conv.rows();
        let scratch: &mut [f32] = bytemuck::cast_slice_mut(&mut call.scratch[..rows.bytes()]);
        let (ring, sums) = scratch.split_at_mut(rows.count * rows.length);
        let step = if window.stride[1] == 1 { 0 } else { window.stride[1] * input.stride };
        let size = output.width * output.stride;
        let bytes = if self.conv.finish.bytes.is_some() { size } else { 4 * size };
        let mut read = 0;
        for (row, y) in call.part.range().zip(call.output.chunks_exact_mut(bytes.max(1))) {
            // Counted from the first row of the padding on.
            let first = row * window.stride[0];
            for r in read.max(first)..first + rows.count {
                let slot = &mut ring[r % rows.count * rows.length..][..rows.length];
                match r.checked_sub(window.pad[0]).filter(|r| *r < input.height) {
                    Some(r) => self.read(call.operands[0], r, mask, slot),
                    None => slot.fill(0.0),
                }
            }
            read = first + rows.count;
            let at = |tap: usize| {
                let [i, j] = [tap / window.kernel[1], tap % window.kernel[1]];
                (first + i * window.dilation[0]) % rows.count * rows.length + j * window.dilation[1] * input.stride
            };
            let run = if step == 0 { size } else { output.stride };
            for (pixel, begin) in (0..size).step_by(run.max(1)).enumerate() {
                let to = &mut sums[begin..begin + run.next_multiple_of(LANES).min(rows.sums - begin)];
                products_of(ring, &at, pixel * step, [&self.weights, &self.bias], self.period, to);
            }
            self.finishing.row([&sums[..size], &[]], mask, y);
        }
    }

    fn scratch_bytes(&self) -> usize {
        self.conv.rows().bytes()
    }

    fn weights_bytes(&self) -> usize {
        4 * (self.weights.len() + self.bias.len()) + self.finishing.weights_bytes()
    }

    fn kernel(&self, _: &str, isa: &str) -> String {
        format!("dwconv_wide__{isa}")
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn centred(x: &[u8], mask: u8, zero: f32, y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = f32::from(x ^ mask) - zero;
    }
}

/// Sums of one run of pixels: `rows` from `at` of each tap on, `offset` further.
fn products_of(
    rows: &[f32],
    at: &dyn Fn(usize) -> usize,
    offset: usize,
    [weights, bias]: [&[f32]; 2],
    period: usize,
    sums: &mut [f32],
) {
    // Windows with more taps than these are rare: their places are looked up piece by piece.
    const TAPS: usize = 49;
    let taps = weights.len() / period;
    let mut places = [0; TAPS];
    let mut first = 0;
    while first < taps {
        let count = (taps - first).min(TAPS);
        places.iter_mut().enumerate().take(count).for_each(|(i, place)| *place = at(first + i) + offset);
        let start = if first == 0 { Some(bias) } else { None };
        add_products(rows, &places[..count], &weights[first * period..], start, period, sums);
        first += count;
    }
}

#[multiversion(targets("x86_64+avx2+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_products(
    rows: &[f32],
    places: &[usize],
    weights: &[f32],
    bias: Option<&[f32]>,
    period: usize,
    sums: &mut [f32],
) {
    let mut phase = 0;
    for (i, sums) in sums.chunks_exact_mut(LANES).enumerate() {
        let mut sum = [0.0f32; LANES];
        sum.copy_from_slice(bias.map_or(&*sums, |bias| &bias[phase..phase + LANES]));
        for (tap, place) in places.iter().enumerate() {
            let x = &rows[place + i * LANES..][..LANES];
            let w = &weights[tap * period + phase..][..LANES];
            for ((sum, x), w) in sum.iter_mut().zip(x).zip(w) {
                *sum += x * w;
            }
        }
        sums.copy_from_slice(&sum);
        phase += LANES;
        if phase == period {
            phase = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;
    use crate::kernels::available;
    use crate::layers::Input;
    use crate::quant::{Quant, round_saturate};
    use crate::tensor::Tensor;

    /// Channels, rows and columns of the input, the window, and how often the test counts on.
    const CASES: [([usize; 3], Window); 7] = [
        ([8, 6, 7], Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] }),
        ([24, 5, 9], Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [1, 1] }),
        ([3, 8, 5], Window { kernel: [3, 5], stride: [1, 1], dilation: [2, 1], pad: [2, 2] }),
        ([5, 9, 8], Window { kernel: [5, 3], stride: [2, 3], dilation: [1, 2], pad: [0, 2] }),
        ([40, 4, 4], Window { kernel: [5, 5], stride: [1, 1], dilation: [1, 1], pad: [2, 2] }),
        ([17, 3, 6], Window { kernel: [1, 1], stride: [1, 2], dilation: [1, 1], pad: [0, 0] }),
        ([2, 9, 10], Window { kernel: [8, 8], stride: [1, 1], dilation: [1, 1], pad: [3, 4] }),
    ];

    fn numbers(n: usize, seed: i64, low: i64, high: i64) -> Vec<i32> {
        let mut state = seed * 7919 + 12_345;
        let mut next = || {
            state = (state * 1_103_515_245 + 12_345) & 0x7fff_ffff;
            (low + (state >> 8) % (high - low + 1)) as i32
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn sums_of_wide_weights_are_those_of_integers() {
        for (case, ([c, h, w], window)) in CASES.into_iter().enumerate() {
            let size = |i: usize, n: usize| {
                let extent = (window.kernel[i] - 1) * window.dilation[i] + 1;
                (n + 2 * window.pad[i] - extent) / window.stride[i] + 1
            };
            let (oh, ow) = (size(0, h), size(1, w));
            let taps = window.kernel[0] * window.kernel[1];
            let x = Quant { scale: 0.5, zero_point: 77 };
            let y = Quant { scale: 3.0, zero_point: 90 };
            let bytes = numbers(c * h * w, case as i64 + 1, 0, 255);
            let weights = numbers(c * taps, case as i64 + 50, -255, 255);
            let bias = numbers(c, 9, -5000, 5000);
            let scale: Vec<f32> = (0..c).map(|c| 0.01 + c as f32 * 1e-4).collect();
            let more: Vec<f32> = (0..c).map(|c| c as f32 * 0.37 - 2.0).collect();
            let mut sums = vec![0i64; c * oh * ow];
            for (i, sum) in sums.iter_mut().enumerate() {
                let (c, oy, ox) = (i / (oh * ow), i / ow % oh, i % ow);
                *sum = i64::from(bias[c]);
                for tap in 0..taps {
                    let (ky, kx) = (tap / window.kernel[1], tap % window.kernel[1]);
                    let iy = (oy * window.stride[0] + ky * window.dilation[0]).wrapping_sub(window.pad[0]);
                    let ix = (ox * window.stride[1] + kx * window.dilation[1]).wrapping_sub(window.pad[1]);
                    if iy < h && ix < w {
                        let x = i64::from(bytes[(c * h + iy) * w + ix]) - 77;
                        *sum += x * i64::from(weights[c * taps + tap]);
                    }
                }
            }
            for rounds in [false, true] {
                let of = |i: usize| (sums[i] as f32, i / (oh * ow));
                let expected: Vec<f32> = (0..sums.len())
                    .map(of)
                    .map(|(sum, c)| match rounds {
                        true => y.dequantise(round_saturate((sum * scale[c] + more[c]) / 3.0, 90, 3, 250)),
                        false => sum * scale[c] + more[c],
                    })
                    .collect();
                for set in available() {
                    for threads in [1, 2] {
                        let mut b = Builder::new(set);
                        let id = b.quantise(&[1, c, h, w], x);
                        let conv = WideDepthwise {
                            input: b.tensor(id).map,
                            output: Tensor::new(&[1, c, oh, ow], crate::tensor::Element::F32).map,
                            window,
                            input_zero: 77,
                            weights: weights.clone(),
                            bias: bias.clone(),
                            finish: Finish {
                                scale: Some(scale.clone()),
                                bias: Some(more.clone()),
                                bytes: rounds.then_some((3.0, y, 3, 250)),
                            },
                        };
                        let id = b.wide_depthwise(id, conv, &[1, c, oh, ow]).unwrap();
                        b.output(id);
                        let program = b.finish();
                        let input: Vec<f32> = bytes.iter().map(|b| (b - 77) as f32 * 0.5).collect();
                        let mut out = vec![-1.0; expected.len()];
                        program.run(&mut program.state(threads), &[Input::F32(&input)], &mut [&mut out]).unwrap();
                        assert_eq!(out, expected, "case {case} on {}, {threads} threads", set.isa());
                    }
                }
            }
        }
    }

    #[test]
    fn what_would_not_be_exact_or_bounded_does_not_fit() {
        let map = |side| Tensor::new(&[1, 8, side, side], crate::tensor::Element::F32).map;
        let fits = |side: usize, kernel: usize, dilation: usize, weight: i32, bias: i32| {
            let window = Window {
                kernel: [kernel; 2],
                stride: [1; 2],
                dilation: [dilation; 2],
                pad: [kernel / 2 * dilation; 2],
            };
            let weights = vec![weight; 8 * kernel * kernel];
            let finish = Finish { scale: None, bias: None, bytes: None };
            let (input, output) = (map(side), map(side));
            WideDepthwise { input, output, window, input_zero: 0, weights, bias: vec![bias; 8], finish }.fits()
        };
        assert!(fits(8, 3, 1, 255, 0));
        assert!(fits(8, 16, 1, 255, 0), "256 products of 255 · 255 are below 2²⁴");
        assert!(!fits(8, 17, 1, 255, 0));
        assert!(fits(8, 1, 1, 0, 1 << 24) && !fits(8, 1, 1, 1, 1 << 24));
        assert!(!fits(300, 3, 400, 1, 0), "rows far apart would take more memory than there is for them");
    }
}
