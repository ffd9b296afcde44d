//! Putting a program together.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::kernels::{AveragePool, Conv, KernelSet, Map, MaxPool, Window};
use crate::layers::add::Add;
use crate::layers::concat::Concat;
use crate::layers::constant::Constant;
use crate::layers::conv::Convolution;
use crate::layers::copy::Copy;
use crate::layers::elementwise::{Binary, Elementwise};
use crate::layers::finish::{Finish, Finishing, Repeat};
use crate::layers::matmul::MatMul;
use crate::layers::moves::Move;
use crate::layers::output::Output;
use crate::layers::panels::Panels;
use crate::layers::quantise::QuantiseInput;
use crate::layers::softmax::Softmax;
use crate::layers::table::{Table, Tables};
use crate::layers::wide::{Depthwise, WideDepthwise};
use crate::plan::{self, Buffer};
use crate::program::steps::{LayerInfo, Program, Step, Work};
use crate::quant::{AddQuant, Quant};
use crate::tensor::{Element, Tensor, TensorId, broadcast, row_major};

/// Steps of a copy: so many, from one place of the operand to the next and from one of the result to the next, each along
/// a dimension of its shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// How many.
    pub extent: usize,
    /// Dimension and step in the operand; `None` for the same place again and again.
    pub from: Option<(usize, usize)>,
    /// Dimension and step in the result.
    pub to: (usize, usize),
}

/// Puts a program together, layer by layer. Weights are packed as they come.
#[derive(Debug)]
pub struct Builder {
    pub(crate) kernels: &'static dyn KernelSet,
    pub(crate) tensors: Vec<Tensor>,
    steps: Vec<Step>,
    pub(crate) inputs: Vec<Vec<usize>>,
    outputs: Vec<Vec<usize>>,
    pub(crate) name: String,
    /// Tensors that are copies: of which tensor, and where it has their elements, as strides of their shape.
    pub(crate) views: BTreeMap<usize, (TensorId, Vec<usize>)>,
}

impl Builder {
    /// An empty program for the kernels of one instruction set.
    pub fn new(kernels: &'static dyn KernelSet) -> Builder {
        Builder {
            kernels,
            tensors: Vec::new(),
            steps: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            name: String::new(),
            views: BTreeMap::new(),
        }
    }

    /// Names the layers that follow.
    pub fn name(&mut self, name: &str) -> &mut Builder {
        self.name = name.to_string();
        self
    }

    /// A tensor of this program.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }

    pub(crate) fn push(&mut self, op: String, macs: u64, work: Work, reads: &[TensorId], tensor: Tensor) -> TensorId {
        let id = TensorId(self.tensors.len());
        let (kernel, weights_bytes) = match &work {
            Work::Layer(layer) => (layer.kernel(&op, self.kernels.isa()), layer.weights_bytes()),
            Work::Constant(constant) => (String::new(), constant.bytes().len()),
            Work::Concat(_) | Work::Output(_) => (format!("{op}__{}", self.kernels.isa()), 0),
        };
        let dtype = if tensor.element == Element::F32 { "f32" } else { "u8" };
        let info =
            LayerInfo { name: self.name.clone(), op, kernel, shape: tensor.shape.clone(), dtype, macs, weights_bytes };
        self.tensors.push(tensor);
        self.steps.push(Step { work, reads: reads.to_vec(), writes: Some(id), info });
        id
    }

    pub(crate) fn bytes(&self, id: TensorId) -> Result<(&Tensor, Quant)> {
        let tensor = &self.tensors[id.0];
        Ok((tensor, tensor.quant()?))
    }

    /// A new input of numbers with this ONNX shape, quantised to bytes (ONNX QuantizeLinear).
    /// Inputs are numbered in the order of these calls.
    pub fn quantise(&mut self, shape: &[usize], quant: Quant) -> TensorId {
        let input = self.inputs.len();
        self.inputs.push(shape.to_vec());
        self.quantise_again(input, quant)
    }

    /// Input `input` quantised once more, with another scale.
    pub fn quantise_again(&mut self, input: usize, quant: Quant) -> TensorId {
        let tensor = Tensor::new(&self.inputs[input].clone(), Element::Bytes(quant));
        let work = Work::layer(QuantiseInput { input, quant, map: tensor.map });
        self.push("quantise".into(), 0, work, &[], tensor)
    }

    /// Number of inputs so far.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// A constant of bytes in ONNX order.
    pub fn constant(&mut self, shape: &[usize], quant: Quant, values: &[u8]) -> TensorId {
        let tensor = Tensor::new(shape, Element::Bytes(quant));
        let mut bytes = vec![quant.zero_point; tensor.map.volume()];
        let row_major = row_major(shape);
        Move::new(shape, &row_major, &tensor.strides(), 0).run(values, &mut bytes);
        let mask = self.kernels.storage().mask();
        bytes.iter_mut().for_each(|b| *b ^= mask);
        self.push("constant".into(), 0, Work::Constant(Constant::Bytes(bytes)), &[], tensor)
    }

    /// A convolution; with `residual`, its result is added to that tensor. `shape` is the ONNX shape of the result.
    ///
    /// # Errors
    /// [`Error::Internal`] if the tensors are not what `conv` says.
    pub fn conv(
        &mut self,
        x: TensorId,
        conv: Conv,
        element: Element,
        shape: &[usize],
        residual: Option<TensorId>,
    ) -> Result<TensorId> {
        let (tensor, _) = self.bytes(x)?;
        let mut output = Tensor::new(shape, element);
        if shape.len() == 4 && output.map != conv.output {
            // Rows of a product, whatever their rank.
            output = Tensor::rows(shape, element);
        }
        if tensor.map.volume() != conv.input.volume() || output.map.volume() != conv.output.volume() {
            return Err(Error::Internal(format!("convolution {}: its maps do not fit", self.name)));
        }
        let [kh, kw] = conv.window.kernel;
        let kind = if conv.is_depthwise() {
            "depthwise"
        } else if conv.input.pixels() == kh * kw && conv.output.pixels() == 1 {
            "fully-connected"
        } else {
            "conv"
        };
        let step = conv.window.stride[0].max(conv.window.stride[1]);
        let op = format!(
            "{kind} {kh}x{kw}{}{}",
            if step > 1 { format!(" s{step}") } else { String::new() },
            if residual.is_some() { " +add" } else { "" }
        );
        let macs = conv.macs();
        let reads: Vec<TensorId> = [Some(x), residual].into_iter().flatten().collect();
        let map = conv.output;
        let packed = self.kernels.conv(conv);
        let (floats, adds) = (element == Element::F32, residual.is_some());
        Ok(self.push(op, macs, Work::layer(Convolution { packed, map, floats, adds }), &reads, output))
    }

    /// The end of a convolution over `map` whose sums are f32 values; `more` are summands of the sums.
    ///
    /// # Errors
    /// [`Error::Internal`] where lists and maps do not fit.
    pub fn finishing(&mut self, sums: TensorId, more: Option<TensorId>, map: Map, finish: Finish) -> Result<TensorId> {
        let tensor = self.tensors[sums.0].clone();
        let fits = |list: &Option<Vec<f32>>| {
            list.as_ref().is_none_or(|l| l.len() == map.channels) && map.volume() == tensor.map.volume()
        };
        let same = more.is_none_or(|id| self.tensors[id.0] == tensor);
        if tensor.element != Element::F32 || !fits(&finish.scale) || !fits(&finish.bias) || !same {
            return Err(Error::Internal(format!("{}: the end of a convolution does not fit", self.name)));
        }
        let element = finish.bytes.map_or(Element::F32, |(_, quant, _, _)| Element::Bytes(quant));
        let layer = Work::layer(Finishing::new(finish, map));
        let reads: Vec<TensorId> = [Some(sums), more].into_iter().flatten().collect();
        Ok(self.push("finish".into(), 0, layer, &reads, Tensor { element, ..tensor }))
    }

    /// A depthwise convolution with wide weights or a float bias; `shape` is the ONNX shape of the result.
    ///
    /// # Errors
    /// [`Error::Internal`] if tensor and maps are not what `conv` says, or if it does not [fit](WideDepthwise::fits).
    pub fn wide_depthwise(&mut self, x: TensorId, conv: WideDepthwise, shape: &[usize]) -> Result<TensorId> {
        let (tensor, _) = self.bytes(x)?;
        let element = conv.finish.bytes.map_or(Element::F32, |(_, quant, _, _)| Element::Bytes(quant));
        let output = Tensor::new(shape, element);
        if tensor.map.volume() != conv.input.volume() || output.map != conv.output || !conv.fits() {
            return Err(Error::Internal(format!("convolution {}: its maps do not fit", self.name)));
        }
        let [kh, kw] = conv.window.kernel;
        let step = conv.window.stride[0].max(conv.window.stride[1]);
        let op = format!("depthwise {kh}x{kw}{}", if step > 1 { format!(" s{step}") } else { String::new() });
        let macs = (output.map.pixels() * conv.weights.len()) as u64;
        Ok(self.push(op, macs, Work::layer(Depthwise::new(conv)), &[x], output))
    }

    /// A tensor whose pixels, or rows of `width` where it is none, have some of their channels once more at their end.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers, or channels that there are not.
    pub fn repeat(&mut self, x: TensorId, from: Map, channels: &[usize]) -> Result<TensorId> {
        let (tensor, quant) = self.bytes(x)?;
        let wide = from.channels + channels.len();
        let shape = match tensor.shape[..] {
            [1, c, h, w] if c == from.channels => vec![1, wide, h, w],
            _ => vec![from.pixels(), wide],
        };
        if tensor.map.volume() != from.volume() || channels.iter().any(|c| *c >= from.channels) {
            return Err(Error::Internal(format!("{}: channels that are not there", self.name)));
        }
        let output = Tensor::new(&shape, Element::Bytes(quant));
        let to = if shape.len() == 4 {
            output.map
        } else {
            Map { height: 1, width: from.pixels(), channels: wide, stride: wide }
        };
        let layer = Work::layer(Repeat { from, to, channels: channels.to_vec() });
        Ok(self.push("repeat".into(), 0, layer, &[x], output))
    }

    /// A 256-entry table over bytes: any function of one quantised tensor.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn table(&mut self, op: &str, x: TensorId, y: Quant, function: impl Fn(u8) -> u8) -> Result<TensorId> {
        let (tensor, _) = self.bytes(x)?;
        let tensor = Tensor { element: Element::Bytes(y), ..tensor.clone() };
        let mask = self.kernels.storage().mask();
        let mut table = [0; 256];
        for stored in 0..=255u8 {
            table[usize::from(stored)] = function(stored ^ mask) ^ mask;
        }
        Ok(self.push(format!("table {op}"), 0, Work::layer(Table(Box::new(table))), &[x], tensor))
    }

    /// Sum or product of two tensors, ONNX broadcasting.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers, or shapes that do not broadcast to `shape`.
    pub fn binary(
        &mut self,
        binary: Binary,
        a: TensorId,
        b: TensorId,
        shape: &[usize],
        y: Quant,
        bounds: (u8, u8),
    ) -> Result<TensorId> {
        // Of two whole operands that lie in different ways, the map becomes rows: elements then follow each other in both.
        let lies = |id: TensorId| Some(&self.tensors[id.0]).filter(|t| t.shape == shape).map(Tensor::is_as_new);
        let (a, b) = match (lies(a), lies(b)) {
            (Some(false), Some(true)) => (a, self.rows(b)?),
            (Some(true), Some(false)) => (self.rows(a)?, b),
            _ => (a, b),
        };
        let ((ta, qa), (tb, qb)) = (self.bytes(a)?, self.bytes(b)?);
        let rows = [ta, tb].iter().any(|t| t.shape == shape && !t.is_as_new());
        let output = if rows { Tensor::rows } else { Tensor::new }(shape, Element::Bytes(y));
        let quant = AddQuant { a: qa, b: qb, y, lo: bounds.0, hi: bounds.1 };
        let same = binary == Binary::Add && ta.map == output.map && tb.map == output.map;
        let layer = if same {
            Work::layer(Add(quant))
        } else {
            let strides = |t: &Tensor| broadcast(t, shape);
            let (Some(sa), Some(sb)) = (strides(ta), strides(tb)) else {
                return Err(Error::Internal(format!("{}: shapes do not broadcast", self.name)));
            };
            Work::layer(Elementwise::new(binary, quant, shape, [sa, sb, output.strides()]))
        };
        let op = if binary == Binary::Add { "add" } else { "mul" };
        Ok(self.push(op.into(), 0, layer, &[a, b], output))
    }

    /// Largest byte under a window; `shape` is ONNX's of the result.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn max_pool(&mut self, x: TensorId, window: Window, shape: &[usize]) -> Result<TensorId> {
        let x = self.map(x)?;
        let (tensor, q) = self.bytes(x)?;
        let output = Tensor::new(shape, Element::Bytes(q));
        let pool = MaxPool { input: tensor.map, output: output.map, window };
        let op = pool_name("max-pool", window);
        Ok(self.push(op, 0, Work::layer(pool), &[x], output))
    }

    /// Average under a window; `shape` is ONNX's of the result.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn average_pool(
        &mut self,
        x: TensorId,
        window: Window,
        count_pad: bool,
        shape: &[usize],
        y: Quant,
        bounds: (u8, u8),
    ) -> Result<TensorId> {
        let x = self.map(x)?;
        let (tensor, q) = self.bytes(x)?;
        let output = Tensor::new(shape, Element::Bytes(y));
        let (lo, hi) = bounds;
        let pool = AveragePool { input: tensor.map, output: output.map, window, count_pad, x: q, y, lo, hi };
        let op = pool_name("average-pool", window);
        Ok(self.push(op, 0, Work::layer(pool), &[x], output))
    }

    /// Concatenation along `axis` of the ONNX shape `shape`; each part is requantised to `y`.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn concat(&mut self, parts: &[TensorId], axis: usize, shape: &[usize], y: Quant) -> Result<TensorId> {
        let output = Tensor::new(shape, Element::Bytes(y));
        let strides = output.strides();
        let mask = self.kernels.storage().mask();
        let mut copies = Vec::new();
        let mut at = 0;
        for part in parts {
            let (tensor, q) = self.bytes(*part)?;
            let mut table = [0; 256];
            for stored in 0..=255u8 {
                table[usize::from(stored)] = y.quantise(q.dequantise(stored ^ mask)) ^ mask;
            }
            copies.push(Copy {
                first: 0,
                moves: Move::new(&tensor.shape, &tensor.strides(), &strides, at * strides[axis]),
                table: (q != y).then(|| Box::new(table)),
            });
            at += tensor.shape[axis];
        }
        Ok(self.push("concat".into(), 0, Work::Concat(Concat(copies)), parts, output))
    }

    /// A tensor's bytes in other places: slices, blocks that become channels or channels that become blocks, pixels that
    /// are repeated. The element at `start` comes first; each piece says where its steps lead to.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers, or places that there are not.
    pub fn moved(&mut self, x: TensorId, shape: &[usize], pieces: &[Piece], start: &[usize]) -> Result<TensorId> {
        let (tensor, q) = self.bytes(x)?;
        let output = Tensor::new(shape, Element::Bytes(q));
        let (first, moves) = self.steps_of([tensor, &output], pieces, start)?;
        let copy = Copy { first, moves, table: None };
        Ok(self.push("copy".into(), 0, Work::layer(copy), &[x], output))
    }

    /// Where a copy by pieces from the first tensor to the second begins, and its steps.
    pub(crate) fn steps_of(
        &self,
        [tensor, output]: [&Tensor; 2],
        pieces: &[Piece],
        start: &[usize],
    ) -> Result<(usize, Move)> {
        let shape = &output.shape;
        // The last index that is read along each dimension, and how many elements are written.
        let mut last = start.to_vec();
        for piece in pieces {
            if let Some((axis, step)) = piece.from
                && let Some(last) = last.get_mut(axis)
            {
                *last += piece.extent.saturating_sub(1) * step;
            }
        }
        let inside = last.len() == tensor.shape.len() && last.iter().zip(&tensor.shape).all(|(i, n)| i < n);
        let volume: usize = pieces.iter().map(|p| p.extent).product();
        if !inside || volume != shape.iter().product::<usize>() || pieces.iter().any(|p| p.to.0 >= shape.len()) {
            return Err(Error::Internal(format!("{}: moves elements that are not there", self.name)));
        }
        let (from, to) = (tensor.strides(), output.strides());
        let extents: Vec<usize> = pieces.iter().map(|p| p.extent).collect();
        let from_steps: Vec<usize> =
            pieces.iter().map(|p| p.from.map_or(0, |(axis, step)| from[axis] * step)).collect();
        let to_steps: Vec<usize> = pieces.iter().map(|p| to[p.to.0] * p.to.1).collect();
        let first = start.iter().zip(&from).map(|(i, stride)| i * stride).sum();
        Ok((first, Move::new(&extents, &from_steps, &to_steps, 0)))
    }

    /// A 256-entry table for each channel of a map: a function of a byte and its channel. `channels` of a tensor that is no
    /// map are its last dimension.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn tables(&mut self, op: &str, x: TensorId, y: Quant, function: impl Fn(usize, u8) -> u8) -> Result<TensorId> {
        let x = self.map(x)?;
        let (tensor, _) = self.bytes(x)?;
        let map = match tensor.shape[..] {
            [1, _, _, _] => tensor.map,
            _ => {
                let channels = tensor.shape.last().copied().unwrap_or(1);
                let width = tensor.map.volume().checked_div(channels).unwrap_or(0);
                Map { height: 1, width, channels, stride: channels }
            }
        };
        let tensor = Tensor { element: Element::Bytes(y), ..tensor.clone() };
        let mask = self.kernels.storage().mask();
        let mut tables = vec![[0; 256]; map.channels];
        for (channel, table) in tables.iter_mut().enumerate() {
            for stored in 0..=255u8 {
                table[usize::from(stored)] = function(channel, stored ^ mask) ^ mask;
            }
        }
        Ok(self.push(format!("tables {op}"), 0, Work::layer(Tables { tables, map }), &[x], tensor))
    }

    /// Product of two matrices of bytes, `[.., m, k] × [.., k, n]`.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn matmul(
        &mut self,
        a: TensorId,
        b: TensorId,
        [m, k, n]: [usize; 3],
        shape: &[usize],
        y: Quant,
        bounds: (u8, u8),
    ) -> Result<TensorId> {
        let (a, b) = (self.rows(a)?, self.rows(b)?);
        let ((_, qa), (_, qb)) = (self.bytes(a)?, self.bytes(b)?);
        let batch = shape.iter().product::<usize>() / (m * n).max(1);
        let panels = Panels { size: [k, n], zero: qb.zero_point };
        let packed = Tensor::new(&[batch * panels.of_matrix() * panels.bytes()], Element::Bytes(qb));
        let packed = self.push("panels".into(), 0, Work::layer(panels), &[b], packed);
        let layer = Work::layer(MatMul {
            size: [m, k, n],
            zero: qa.zero_point,
            multiplier: qa.scale * qb.scale / y.scale,
            y,
            bounds,
        });
        let tensor = Tensor::rows(shape, Element::Bytes(y));
        Ok(self.push("matmul".into(), (batch * m * k * n) as u64, layer, &[a, packed], tensor))
    }

    /// Softmax over the last dimension.
    ///
    /// # Errors
    /// [`Error::Internal`] for a tensor of numbers.
    pub fn softmax(&mut self, x: TensorId, y: Quant) -> Result<TensorId> {
        let x = self.rows(x)?;
        let (tensor, q) = self.bytes(x)?;
        let width = tensor.shape.last().copied().unwrap_or(1);
        let tensor = Tensor { element: Element::Bytes(y), ..tensor.clone() };
        Ok(self.push("softmax".into(), 0, Work::layer(Softmax::new(width, q, y)), &[x], tensor))
    }

    /// Makes a tensor an output of the program, as numbers in ONNX order. Outputs are numbered in the order of
    /// these calls.
    pub fn output(&mut self, x: TensorId) -> usize {
        let shape = self.tensors[x.0].shape.clone();
        self.output_as(x, &shape)
    }

    /// [`Builder::output`] with another shape of as many elements, for row-major tensors.
    pub fn output_as(&mut self, x: TensorId, shape: &[usize]) -> usize {
        let tensor = &self.tensors[x.0];
        let output = self.outputs.len();
        self.outputs.push(shape.to_vec());
        let op = match tensor.element {
            Element::Bytes(_) => "dequantise",
            Element::F32 => "output",
        };
        let info = LayerInfo {
            name: self.name.clone(),
            op: op.into(),
            kernel: format!("{op}__{}", self.kernels.isa()),
            shape: shape.to_vec(),
            dtype: "f32",
            macs: 0,
            weights_bytes: 0,
        };
        self.steps.push(Step { work: Work::Output(Output { output }), reads: vec![x], writes: None, info });
        output
    }

    /// Removes layers and constants that no step reads.
    fn drop_unread(&mut self) {
        let constant = |step: &Step| matches!(step.work, Work::Constant(_));
        let mut read: BTreeSet<TensorId> = BTreeSet::new();
        for at in (0..self.steps.len()).rev() {
            let step = &self.steps[at];
            match step.writes {
                Some(id) if !read.contains(&id) && (constant(step) || !step.reads.is_empty()) => {
                    drop(self.steps.remove(at));
                }
                _ => read.extend(&step.reads),
            }
        }
    }

    /// Plans the arena and closes the program.
    pub fn finish(mut self) -> Program {
        self.drop_unread();
        let buffers: Vec<Buffer> = self
            .tensors
            .iter()
            .enumerate()
            .map(|(id, tensor)| {
                let id = TensorId(id);
                let Some(written) = self.steps.iter().position(|s| s.writes == Some(id)) else {
                    return Buffer { bytes: 0, first: 0, last: 0 };
                };
                let constant = matches!(self.steps[written].work, Work::Constant(_));
                let read = self.steps.iter().rposition(|s| s.reads.contains(&id)).unwrap_or(written);
                let bytes = if constant { 0 } else { tensor.map.volume() * tensor.element.size() };
                Buffer { bytes, first: written, last: read }
            })
            .collect();
        let writers = (0..self.tensors.len())
            .map(|id| self.steps.iter().position(|s| s.writes == Some(TensorId(id))).unwrap_or(0))
            .collect();
        let plan = plan::plan(&buffers);
        let scratch = self.steps.iter().map(Step::scratch_bytes).max().unwrap_or(0);
        Program {
            kernels: self.kernels,
            tensors: self.tensors,
            steps: self.steps,
            writers,
            inputs: self.inputs,
            outputs: self.outputs,
            offsets: plan.offsets,
            arena: plan.size,
            live: plan.live,
            scratch: scratch.next_multiple_of(plan::ALIGN),
        }
    }
}

fn pool_name(kind: &str, window: Window) -> String {
    let [kh, kw] = window.kernel;
    format!("{kind} {kh}x{kw}")
}
