//! ONNX's quantised operators, written slowly and directly from their definitions, over tensors in ONNX's order.

/// A quantised tensor `[channels, height, width]`, or `[channels]` with a height and width of 1.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// Stored values: 0 to 255, or -128 to 127.
    pub values: Vec<i64>,
    pub shape: [usize; 3],
    pub quant: Quant,
}

/// Scale, zero point and type of a quantised tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    pub scale: f32,
    pub zero: i64,
    pub signed: bool,
}

impl Quant {
    fn range(self) -> (i64, i64) {
        if self.signed { (-128, 127) } else { (0, 255) }
    }

    /// ONNX QuantizeLinear.
    pub fn quantise(self, x: f32) -> i64 {
        self.saturate(x / self.scale)
    }

    fn saturate(self, x: f32) -> i64 {
        let (low, high) = self.range();
        (f64::from(x).round_ties_even() as i64).saturating_add(self.zero).clamp(low, high)
    }

    /// ONNX DequantizeLinear.
    pub fn dequantise(self, q: i64) -> f32 {
        (q - self.zero) as f32 * self.scale
    }
}

/// Bounds of a Relu or Clip between an operator and its quantisation.
pub type Clamp = Option<(f32, f32)>;

/// A window: kernel, strides, dilations, pads above, left, below, right.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub kernel: [usize; 2],
    pub strides: [usize; 2],
    pub dilations: [usize; 2],
    pub pads: [usize; 4],
}

impl Window {
    /// Height and width of the result; `None` if the window does not fit.
    pub fn output(&self, [h, w]: [usize; 2]) -> Option<[usize; 2]> {
        let axis = |i: usize, size: usize| {
            let room = size + self.pads[i] + self.pads[i + 2];
            Some(room.checked_sub(self.dilations[i] * (self.kernel[i] - 1) + 1)? / self.strides[i] + 1)
        };
        Some([axis(0, h)?, axis(1, w)?])
    }

    /// Tap and position of everything inside the map under the window of output `y`, `x`.
    fn positions(&self, [y, x]: [usize; 2], [h, w]: [usize; 2]) -> Vec<([usize; 2], [usize; 2])> {
        let at = |axis: usize, out: usize, tap: usize| {
            (out * self.strides[axis] + tap * self.dilations[axis]).checked_sub(self.pads[axis])
        };
        let mut positions = Vec::new();
        for i in 0..self.kernel[0] {
            for j in 0..self.kernel[1] {
                if let (Some(row), Some(column)) = (at(0, y, i), at(1, x, j))
                    && row < h
                    && column < w
                {
                    positions.push(([i, j], [row, column]));
                }
            }
        }
        positions
    }
}

/// A convolution's weights `[output][input of the group][row][column]`, their scales and bias.
#[derive(Clone, Debug)]
pub struct Weights {
    pub values: Vec<i8>,
    pub outputs: usize,
    pub groups: usize,
    /// One for each output, or one.
    pub scales: Vec<f32>,
    pub bias: Option<Vec<i32>>,
}

impl Weights {
    pub fn scale(&self, output: usize) -> f32 {
        self.scales[output % self.scales.len()]
    }
}

impl Quantised {
    fn each(&self, shape: [usize; 3], quant: Quant, f: impl Fn([usize; 3]) -> i64) -> Quantised {
        let [c, h, w] = shape;
        let values = (0..c * h * w).map(|i| f([i / (h * w), i / w % h, i % w])).collect();
        Quantised { values, shape, quant }
    }

    fn at(&self, [c, y, x]: [usize; 3]) -> i64 {
        self.values[(c * self.shape[1] + y) * self.shape[2] + x]
    }

    fn size(&self) -> [usize; 2] {
        [self.shape[1], self.shape[2]]
    }

    /// QLinearConv: exact sums, converted to single precision and multiplied once.
    pub fn conv(&self, w: &Weights, window: &Window, quant: Quant) -> Quantised {
        let [h, wd] = window.output(self.size()).expect("the window fits");
        let (inputs, outputs) = (self.shape[0] / w.groups, w.outputs / w.groups);
        let [kh, kw] = window.kernel;
        self.each([w.outputs, h, wd], quant, |[o, y, x]| {
            let mut sum = w.bias.as_ref().map_or(0, |b| i64::from(b[o]));
            for ([i, j], [row, column]) in window.positions([y, x], self.size()) {
                for c in 0..inputs {
                    let weight = w.values[((o * inputs + c) * kh + i) * kw + j];
                    sum += i64::from(weight) * (self.at([o / outputs * inputs + c, row, column]) - self.quant.zero);
                }
            }
            quant.saturate(sum as f32 * (self.quant.scale * w.scale(o) / quant.scale))
        })
    }

    /// Dequantised, added or multiplied in single precision, quantised. `other` is broadcast.
    pub fn binary(&self, product: bool, other: &Quantised, quant: Quant) -> Quantised {
        self.each(self.shape, quant, |at| {
            let place = [0, 1, 2].map(|i| if other.shape[i] == 1 { 0 } else { at[i] });
            let (a, b) = (self.quant.dequantise(self.at(at)), other.quant.dequantise(other.at(place)));
            quant.saturate((if product { a * b } else { a + b }) / quant.scale)
        })
    }

    /// A Relu or Clip before the quantisation. Rounding is monotonic, so the result is clamped to the bounds'
    /// bytes.
    pub fn clamped(mut self, clamp: Clamp) -> Quantised {
        if let Some((low, high)) = clamp {
            let (low, high) = (self.quant.quantise(low), self.quant.quantise(high));
            self.values.iter_mut().for_each(|q| *q = (*q).max(low).min(high));
        }
        self
    }

    pub fn concat(&self, other: &Quantised, quant: Quant) -> Quantised {
        let shape = [self.shape[0] + other.shape[0], self.shape[1], self.shape[2]];
        self.each(shape, quant, |[c, y, x]| match c.checked_sub(self.shape[0]) {
            None => quant.quantise(self.quant.dequantise(self.at([c, y, x]))),
            Some(c) => quant.quantise(other.quant.dequantise(other.at([c, y, x]))),
        })
    }

    pub fn max_pool(&self, window: &Window) -> Quantised {
        let [h, w] = window.output(self.size()).expect("the window fits");
        self.each([self.shape[0], h, w], self.quant, |[c, y, x]| {
            let positions = window.positions([y, x], self.size());
            positions
                .iter()
                .map(|(_, [row, column])| self.at([c, *row, *column]))
                .max()
                .expect("places under the window")
        })
    }

    /// QLinearAveragePool: the exact sum, multiplied once by `scale_x / (scale_y * count)`; padding does not count.
    pub fn average_pool(&self, window: &Window, quant: Quant) -> Quantised {
        let [h, w] = window.output(self.size()).expect("the window fits");
        self.each([self.shape[0], h, w], quant, |[c, y, x]| {
            let positions = window.positions([y, x], self.size());
            let sum: i64 =
                positions.iter().map(|(_, [row, column])| self.at([c, *row, *column]) - self.quant.zero).sum();
            quant.saturate(sum as f32 * (self.quant.scale / (quant.scale * positions.len() as f32)))
        })
    }

    /// Some other function of each number, quantised.
    pub fn map(&self, quant: Quant, f: impl Fn(f32) -> f32) -> Quantised {
        self.each(self.shape, quant, |at| quant.quantise(f(self.quant.dequantise(self.at(at)))))
    }
}
