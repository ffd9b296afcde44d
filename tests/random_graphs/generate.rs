//! Graphs out of a tape of choices, so that a failing one shrinks to a small one.

use super::common::onnx::{self, Node, Tensor, dtype, value};
use super::qoperator;
use super::reference::{Clamp, Quant, Quantised, Weights, Window};

/// A sequence of choices; zeros after its end.
pub struct Tape<'a> {
    rest: &'a [u16],
}

impl<'a> Tape<'a> {
    pub fn new(choices: &'a [u16]) -> Tape<'a> {
        Tape { rest: choices }
    }

    fn next(&mut self) -> usize {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        usize::from(*first)
    }

    /// One of `0..n`.
    fn below(&mut self, n: usize) -> usize {
        self.next() % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A graph, an input, and the expected output.
pub struct Case {
    pub file: Vec<u8>,
    pub input: Vec<f32>,
    pub expected: Vec<f32>,
    /// The operators, for messages.
    pub story: String,
}

/// Makes a graph of up to six quantised operators.
pub fn graph(tape: Tape) -> Case {
    let mut g = Generator {
        tape,
        model: onnx::Model { opset: Some(13), ..Default::default() },
        computed: vec![],
        count: 0,
        signed: false,
        flat: false,
    };
    g.signed = g.tape.below(2) == 1;
    let shape = [1 + g.tape.below(20), 1 + g.tape.below(9), 1 + g.tape.below(9)];
    let volume: usize = shape.iter().product();
    let seed = g.tape.next();
    // Some values exceed the range of the first quantisation.
    let input: Vec<f32> = (0..volume).map(|i| ((i * 7919 + seed * 31) % 613) as f32 * 0.01 - 3.0).collect();
    let quant = g.quant();
    let values = input.iter().map(|x| quant.quantise(*x)).collect();
    g.computed.push(Quantised { values, shape, quant });
    g.quantise("image", "t0", quant);
    let mut story = format!("{shape:?} {}", if g.signed { "int8" } else { "uint8" });
    for _ in 0..1 + g.tape.below(6) {
        story += &format!(", {}", g.operator());
    }
    match g.tape.below(3) {
        0 => {}
        1 => {
            qoperator::rewrite(&mut g.model, || true);
            story += ", as QOperator";
        }
        _ => {
            qoperator::rewrite(&mut g.model, || g.tape.below(2) == 1);
            story += ", partly as QOperator";
        }
    }
    let last = g.computed.len() - 1;
    let y = &g.computed[last];
    let expected = y.values.iter().map(|q| y.quant.dequantise(*q)).collect();
    let [c, h, w] = y.shape.map(|d| d as i64);
    let dims = if g.flat { vec![1, c] } else { vec![1, c, h, w] };
    let name = format!("t{last}.dq");
    g.model.inputs = vec![value("image", dtype::FLOAT, &[1, shape[0] as i64, shape[1] as i64, shape[2] as i64])];
    g.model.outputs = vec![value(&name, dtype::FLOAT, &dims)];
    Case { file: g.model.encode(), input, expected, story }
}

struct Generator<'a> {
    tape: Tape<'a>,
    model: onnx::Model,
    /// Tensors `t0.dq`, `t1.dq`, …
    computed: Vec<Quantised>,
    count: usize,
    signed: bool,
    /// Whether the last one is a row `[1, c]`.
    flat: bool,
}

impl Generator<'_> {
    /// A scale that is no power of two, and a zero point anywhere.
    fn quant(&mut self) -> Quant {
        let scale = 0.003 + 0.0007 * self.tape.below(100) as f32;
        let zero = self.tape.pick(&[0, 3, 114, 127, 128, 201, 255]);
        Quant { scale, zero: if self.signed { zero - 128 } else { zero }, signed: self.signed }
    }

    fn name(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}{}", self.count)
    }

    fn constants(&mut self, quant: Quant) -> [String; 2] {
        let (scale, zero) = (self.name("scale"), self.name("zero"));
        self.model.tensors.push(Tensor::floats(&scale, &[], &[quant.scale]));
        let dtype = if quant.signed { dtype::INT8 } else { dtype::UINT8 };
        self.model.tensors.push(Tensor::new(&zero, dtype, &[], &[quant.zero as u8]));
        [scale, zero]
    }

    /// `from → Q → DQ → to.dq`
    fn quantise(&mut self, from: &str, to: &str, quant: Quant) {
        let [scale, zero] = self.constants(quant);
        let (q, dq) = (format!("{to}.q"), format!("{to}.dq"));
        self.model.nodes.push(Node::new("QuantizeLinear", &[from, &scale, &zero], &[&q]));
        self.model.nodes.push(Node::new("DequantizeLinear", &[&q, &scale, &zero], &[&dq]));
    }

    /// Adds nothing, a Relu, or a Clip after `from`.
    fn clamp(&mut self, from: &str) -> (String, Clamp) {
        let to = format!("{from}.clamped");
        match self.tape.below(3) {
            0 => (from.to_string(), None),
            1 => {
                self.model.nodes.push(Node::new("Relu", &[from], &[&to]));
                (to, Some((0.0, f32::INFINITY)))
            }
            _ => {
                let (low, high) = (self.name("low"), self.name("high"));
                self.model.tensors.push(Tensor::floats(&low, &[], &[-0.25]));
                self.model.tensors.push(Tensor::floats(&high, &[], &[1.5]));
                self.model.nodes.push(Node::new("Clip", &[from, &low, &high], &[&to]));
                (to, Some((-0.25, 1.5)))
            }
        }
    }

    /// Adds the operator `node`, whose output is `raw`, its clamp and quantisation.
    fn finish(&mut self, node: Node, quant: Quant, compute: impl FnOnce(&[Quantised]) -> Quantised) {
        let raw = node.outputs[0].clone();
        self.model.nodes.push(node);
        let (from, clamp) = self.clamp(&raw);
        let to = format!("t{}", self.computed.len());
        self.quantise(&from, &to, quant);
        let computed = compute(&self.computed).clamped(clamp);
        self.computed.push(computed);
    }

    fn operator(&mut self) -> String {
        let at = self.computed.len() - 1;
        let (x, raw) = (format!("t{at}.dq"), format!("raw{}", at + 1));
        let shape = self.computed[at].shape;
        if self.flat {
            return self.dense(&x, &raw, at);
        }
        match self.tape.below(9) {
            0..3 => self.conv(&x, &raw, at),
            3 => {
                let product = self.tape.below(2) == 1;
                // A tensor of the same shape from before, or a constant for each channel.
                let earlier = self.computed.iter().position(|t| t.shape == shape && self.tape.below(2) == 1);
                let quant = self.quant();
                let (other, name) = match earlier {
                    Some(i) => (self.computed[i].clone(), format!("t{i}.dq")),
                    None => self.channel_constant(shape[0]),
                };
                let op = if product { "Mul" } else { "Add" };
                // Either order, as exporters do.
                let inputs = if self.tape.below(2) == 1 { [&name[..], &x] } else { [&x[..], &name] };
                let node = Node::new(op, &inputs, &[&raw]);
                self.finish(node, quant, |t| t[at].binary(product, &other, quant));
                format!("{op} {}", if earlier.is_some() { "tensor" } else { "constant" })
            }
            4 => {
                let fits = |t: &Quantised| t.shape[1..] == shape[1..];
                let other = (0..at).rev().find(|i| fits(&self.computed[*i])).unwrap_or(at);
                let quant = self.quant();
                let node = Node::new("Concat", &[&x, &format!("t{other}.dq")], &[&raw]).int("axis", 1);
                self.finish(node, quant, |t| t[at].concat(&t[other], quant));
                "Concat".into()
            }
            5 | 6 => self.pool(&x, &raw, at),
            7 => {
                let quant = self.quant();
                self.finish(Node::new("LeakyRelu", &[&x], &[&raw]), quant, |t| {
                    t[at].map(quant, |x| if x < 0.0 { 0.01 * x } else { x })
                });
                "LeakyRelu".into()
            }
            _ => {
                // A flattened tensor keeps its bytes. All operators after it are products.
                let quant = self.computed[at].quant;
                let volume = shape.iter().product();
                self.finish(Node::new("Flatten", &[&x], &[&raw]), quant, |t| Quantised {
                    shape: [volume, 1, 1],
                    ..t[at].clone()
                });
                self.flat = true;
                "Flatten".into()
            }
        }
    }

    fn channel_constant(&mut self, channels: usize) -> (Quantised, String) {
        let quant = self.quant();
        let seed = self.tape.next();
        let values: Vec<i64> =
            (0..channels).map(|i| ((i * 97 + seed) % 256) as i64 - if quant.signed { 128 } else { 0 }).collect();
        let [scale, zero] = self.constants(quant);
        let name = self.name("constant");
        let bytes: Vec<u8> = values.iter().map(|v| *v as u8).collect();
        let dtype = if quant.signed { dtype::INT8 } else { dtype::UINT8 };
        self.model.tensors.push(Tensor::new(&name, dtype, &[1, channels as i64, 1, 1], &bytes));
        let dq = format!("{name}.dq");
        self.model.nodes.push(Node::new("DequantizeLinear", &[&name, &scale, &zero], &[&dq]));
        (Quantised { values, shape: [channels, 1, 1], quant }, dq)
    }

    /// Weights with their constants in the file; gives the names of weights and bias.
    fn weights(&mut self, dims: &[i64], groups: usize, x: Quant) -> (Weights, Vec<String>) {
        let outputs = dims[0] as usize;
        let volume = dims.iter().product::<i64>() as usize;
        let seed = self.tape.next();
        // All of -127..=127 and, now and then, -128.
        let values: Vec<i8> = (0..volume).map(|i| ((i * 7919 + i / 13 * 31 + seed) % 256) as u8 as i8).collect();
        let count = if self.tape.below(2) == 1 { outputs } else { 1 };
        let base = 0.0005 + 0.0001 * self.tape.below(60) as f32;
        let scales: Vec<f32> = (0..count).map(|i| base * (1.0 + 0.37 * (i % 5) as f32)).collect();
        let bias = (self.tape.below(2) == 1)
            .then(|| (0..outputs).map(|i| (i as i32 * 7717 + seed as i32) % 20_000 - 10_000).collect::<Vec<i32>>());
        let name = self.name("weights");
        let (s, z, dq) = (format!("{name}.s"), format!("{name}.z"), format!("{name}.dq"));
        let extent: &[i64] = if count == 1 { &[] } else { &[count as i64] };
        self.model.tensors.push(Tensor::new(
            &name,
            dtype::INT8,
            dims,
            &values.iter().map(|w| *w as u8).collect::<Vec<_>>(),
        ));
        self.model.tensors.push(Tensor::floats(&s, extent, &scales));
        self.model.tensors.push(Tensor::new(&z, dtype::INT8, extent, &vec![0; count]));
        self.model.nodes.push(Node::new("DequantizeLinear", &[&name, &s, &z], &[&dq]).int("axis", 0));
        let mut names = vec![dq];
        let weights = Weights { values, outputs, groups, scales, bias };
        if let Some(bias) = &weights.bias {
            let raw: Vec<u8> = bias.iter().flat_map(|b| b.to_le_bytes()).collect();
            let scales: Vec<f32> = (0..outputs).map(|o| x.scale * weights.scale(o)).collect();
            let (b, s, z, dq) =
                (format!("{name}.b"), format!("{name}.bs"), format!("{name}.bz"), format!("{name}.bdq"));
            let extent = [outputs as i64];
            self.model.tensors.push(Tensor::new(&b, dtype::INT32, &extent, &raw));
            self.model.tensors.push(Tensor::floats(&s, &extent, &scales));
            self.model.tensors.push(Tensor::new(&z, dtype::INT32, &extent, &vec![0; 4 * outputs]));
            self.model.nodes.push(Node::new("DequantizeLinear", &[&b, &s, &z], &[&dq]).int("axis", 0));
            names.push(dq);
        }
        (weights, names)
    }

    /// A window that fits a map of this size.
    fn window(&mut self, size: [usize; 2], dilates: bool) -> Window {
        let kernel = self.tape.pick(&[[1, 1], [3, 3], [5, 5], [2, 2], [1, 3], [7, 2]]);
        let pads = match self.tape.below(3) {
            0 => [0; 4],
            1 => [kernel[0] / 2, kernel[1] / 2, kernel[0] / 2, kernel[1] / 2],
            _ => [0, kernel[1] - 1, kernel[0] - 1, 0],
        };
        let step = self.tape.pick(&[1, 2, 1, 3]);
        let dilations = if dilates && self.tape.below(4) == 3 { [2, 1] } else { [1, 1] };
        let window = Window { kernel, strides: [step, step], dilations, pads };
        match window.output(size) {
            Some(_) => window,
            None => Window { kernel: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [0; 4] },
        }
    }

    fn conv(&mut self, x: &str, raw: &str, at: usize) -> String {
        let Quantised { shape: [c, h, w], quant: of_x, .. } = self.computed[at];
        let window = self.window([h, w], true);
        let (groups, outputs) = match self.tape.below(3) {
            0 => (1, 1 + self.tape.below(40)),
            1 => (c, c),
            _ if c % 2 == 0 => (2, 2 * (1 + self.tape.below(10))),
            _ => (1, 1 + self.tape.below(40)),
        };
        let dims = [outputs, c / groups, window.kernel[0], window.kernel[1]].map(|d| d as i64);
        let (weights, names) = self.weights(&dims, groups, of_x);
        let quant = self.quant();
        let mut inputs = vec![x];
        inputs.extend(names.iter().map(String::as_str));
        let node = sliding(Node::new("Conv", &inputs, &[raw]), &window).int("group", groups as i64);
        let node = node.ints("dilations", &window.dilations.map(|d| d as i64));
        self.finish(node, quant, |t| t[at].conv(&weights, &window, quant));
        format!("Conv {groups}x{dims:?} {window:?}")
    }

    fn dense(&mut self, x: &str, raw: &str, at: usize) -> String {
        let Quantised { shape: [c, ..], quant: of_x, .. } = self.computed[at];
        let dims = [1 + self.tape.below(40) as i64, c as i64];
        let (weights, names) = self.weights(&dims, 1, of_x);
        let quant = self.quant();
        let mut inputs = vec![x];
        inputs.extend(names.iter().map(String::as_str));
        let point = Window { kernel: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [0; 4] };
        self.finish(Node::new("Gemm", &inputs, &[raw]).int("transB", 1), quant, |t| {
            t[at].conv(&weights, &point, quant)
        });
        format!("Gemm {dims:?}")
    }

    fn pool(&mut self, x: &str, raw: &str, at: usize) -> String {
        let Quantised { shape: [_, h, w], quant: of_x, .. } = self.computed[at];
        let kind = self.tape.below(3);
        if kind == 2 {
            let quant = self.quant();
            let window = Window { kernel: [h, w], strides: [1, 1], dilations: [1, 1], pads: [0; 4] };
            self.finish(Node::new("GlobalAveragePool", &[x], &[raw]), quant, |t| t[at].average_pool(&window, quant));
            return "GlobalAveragePool".into();
        }
        let mut window = self.window([h, w], false);
        // No window of a pool may lie outside the map.
        if window.pads.iter().any(|p| *p > 0) && (window.kernel[0] > h || window.kernel[1] > w || window.strides[0] > 2)
        {
            window = Window { kernel: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [0; 4] };
        }
        let node = |op: &str| {
            let kernel = window.kernel.map(|k| k as i64);
            sliding(Node::new(op, &[x], &[raw]), &window).ints("kernel_shape", &kernel)
        };
        if kind == 0 {
            self.finish(node("MaxPool"), of_x, |t| t[at].max_pool(&window));
            format!("MaxPool {window:?}")
        } else {
            let quant = self.quant();
            self.finish(node("AveragePool"), quant, |t| t[at].average_pool(&window, quant));
            format!("AveragePool {window:?}")
        }
    }
}

fn sliding(node: Node, window: &Window) -> Node {
    let node = node.ints("strides", &window.strides.map(|s| s as i64));
    node.ints("pads", &window.pads.map(|p| p as i64))
}
