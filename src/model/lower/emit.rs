//! Turning units into the layers of a program.

mod dense;
mod float;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::graph::Node;
use super::super::operators::RESIZE_BYTES;
use super::super::quantised::{View, entry};
use super::super::shapes::{Shapes, Sliding};
use super::chain::Chain;
use super::failure::{Failure, Result};
use super::product::{activation_quant, dense, operand_shape, sliding_window};
use super::units::{Kind, Operand, Sink, Unit, is_batch};
use super::{norm, pointwise, transposed};
use crate::error::Error;
use oltr_int8::kernels::{KernelSet, Window};
use oltr_int8::quant::{AddQuant, Quant};
use oltr_int8::{Binary, Builder, Norm, Program, TensorId};

/// A program and the float tensors that it reads and computes, by name.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub program: Arc<Program>,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
}

/// Whether a unit can become a layer: its weights, scales and shapes are what layers compute with exactly.
pub(super) fn can(view: &View, shapes: &Shapes, unit: &Unit) -> bool {
    let shape = |o: &Operand| operand_shape(view, shapes, o);
    if unit.operands.iter().any(|o| shape(o).is_none_or(|s| is_batch(&s) && !unit.kind.takes_batches())) {
        return false;
    }
    match &unit.kind {
        Kind::Conv { .. } | Kind::Dense { .. } => dense(view, shapes, unit).is_some(),
        Kind::Transposed { .. } => {
            matches!(unit.sink, Sink::Bytes { .. }) && transposed::phases(view, shapes, unit).is_some()
        }
        _ => true,
    }
}

/// Builds the program of level `level`.
pub(super) fn program(
    view: &View,
    shapes: &Shapes,
    units: &[Unit],
    level: usize,
    outputs: &[String],
    kernels: &'static dyn KernelSet,
) -> Result<Part> {
    let mut emitter = Emitter {
        view,
        shapes,
        units,
        level,
        by_bytes: HashMap::new(),
        by_f32: HashMap::new(),
        builder: Builder::new(kernels),
        tensors: HashMap::new(),
        f32_values: HashMap::new(),
        dequantised: HashMap::new(),
        inputs: Vec::new(),
        done: HashSet::new(),
    };
    for (i, unit) in units.iter().enumerate().filter(|(_, u)| u.level == level) {
        match &unit.sink {
            Sink::Bytes { name, .. } => emitter.by_bytes.insert(name, i),
            Sink::F32(name) => emitter.by_f32.insert(name, i),
        };
    }
    for (i, unit) in units.iter().enumerate().filter(|(_, u)| u.level == level) {
        // A flattened map may never be needed as such; it is made when somebody asks.
        if unit.kind != Kind::Reshape {
            emitter.unit(i)?;
        }
    }
    for name in outputs {
        let id = match emitter.f32_values.get(name) {
            Some(id) => *id,
            None => {
                let (q, _) = view.activation(name).ok_or_else(|| lost(name))?;
                emitter.tensor(q)?
            }
        };
        let shape = shapes.get(name).ok_or_else(|| lost(name))?;
        emitter.builder.name(name).output_as(id, shape);
    }
    let Emitter { builder, inputs, .. } = emitter;
    Ok(Part { program: Arc::new(builder.finish()), inputs, outputs: outputs.to_vec() })
}

/// Bytes between bounds, for layers that do not clamp by themselves.
fn clipped(b: &mut Builder, id: TensorId, quant: Quant, (lo, hi): (u8, u8)) -> Result<TensorId> {
    if (lo, hi) == (0, 255) { Ok(id) } else { Ok(b.table("clip", id, quant, |q| q.max(lo).min(hi))?) }
}

fn lost(name: &str) -> Failure {
    Error::Internal(format!("lowering lost tensor '{name}'")).into()
}

struct Emitter<'a> {
    view: &'a View<'a>,
    shapes: &'a Shapes,
    units: &'a [Unit],
    level: usize,
    /// Unit of this level that computes a quantised tensor.
    by_bytes: HashMap<&'a str, usize>,
    /// The same for numbers.
    by_f32: HashMap<&'a str, usize>,
    builder: Builder,
    /// Quantised tensors that exist already.
    tensors: HashMap<String, TensorId>,
    /// Float tensors that exist already.
    f32_values: HashMap<String, TensorId>,
    /// Quantised tensors as numbers, where a float operator reads them.
    dequantised: HashMap<String, TensorId>,
    /// Float inputs of the program by name.
    inputs: Vec<String>,
    done: HashSet<usize>,
}

impl Emitter<'_> {
    /// The quantised tensor `q`: made already, a reshape made now, or quantised from a float input.
    fn tensor(&mut self, q: &str) -> Result<TensorId> {
        if let Some(id) = self.tensors.get(q) {
            return Ok(*id);
        }
        if let Some(unit) = self.by_bytes.get(q).copied() {
            self.unit(unit)?;
            return self.tensors.get(q).copied().ok_or_else(|| lost(q));
        }
        // Computed elsewhere: it comes in as numbers. From another program those are exact multiples of the scale.
        let quant = activation_quant(self.view, q).ok_or_else(|| lost(q))?;
        let elsewhere = self.units.iter().any(|u| matches!(&u.sink, Sink::Bytes { name, .. } if name == q));
        let float = if elsewhere {
            let readers = self.view.consumers.get(q).ok_or_else(|| lost(q))?;
            self.view.graph.nodes[*self.reader_here(readers).ok_or_else(|| lost(q))?].output().to_string()
        } else {
            entry(self.view, q).1
        };
        let shape = self.shapes.get(&float).ok_or_else(|| lost(&float))?;
        self.builder.name(&float);
        let id = match self.inputs.iter().position(|i| *i == float) {
            Some(input) => self.builder.quantise_again(input, quant),
            None => {
                self.inputs.push(float.clone());
                self.builder.quantise(shape, quant)
            }
        };
        self.tensors.insert(q.to_string(), id);
        Ok(id)
    }

    /// Of several DQ nodes of one tensor, one whose result a unit of this level reads.
    fn reader_here<'b>(&self, readers: &'b [usize]) -> Option<&'b usize> {
        let here: HashSet<usize> = self.units.iter().filter(|u| u.level == self.level).map(|u| u.node).collect();
        readers.iter().find(|r| {
            let twin = self.view.graph.nodes[**r].output();
            self.view.consumers.get(twin).is_some_and(|c| c.iter().any(|c| here.contains(c)))
        })
    }

    fn operand(&mut self, operand: &Operand) -> Result<TensorId> {
        match operand {
            Operand::Activation(q) => self.tensor(q),
            Operand::Constant(name) => {
                let constant = self.view.constant(name).ok_or_else(|| lost(name))?;
                let quant = constant.params.activation().ok_or_else(|| lost(name))?;
                let bytes = constant.bytes().ok_or_else(|| lost(name))?;
                Ok(self.builder.name(constant.name).constant(&constant.value.shape, quant, &bytes))
            }
            Operand::F32(name) | Operand::ConstantF32(name) => Err(lost(name)),
        }
    }

    fn node(&self, unit: &Unit) -> &Node {
        &self.view.graph.nodes[unit.node]
    }

    fn unit(&mut self, index: usize) -> Result<()> {
        if !self.done.insert(index) {
            return Ok(());
        }
        let unit = &self.units[index];
        match &unit.kind {
            Kind::Conv { .. } | Kind::Dense { .. } => return self.dense(index),
            Kind::Transposed { .. } => return self.transposed(index),
            Kind::ToBytes => return self.quantisation(index),
            Kind::Float(op) => return self.float(index, op),
            _ => {}
        }
        let operands = unit.operands.iter().map(|o| self.operand(o)).collect::<Result<Vec<TensorId>>>()?;
        let Sink::Bytes { name, quant, lo, hi } = &unit.sink else {
            return Err(Error::Internal("only products yield numbers".into()).into());
        };
        let (quant, bounds, x) = (*quant, (*lo, *hi), operands[0]);
        let label = self.node(unit).label().to_string();
        let b = self.builder.name(&label);
        let from = b.tensor(x).quant()?;
        let shape = &unit.shape;
        let clamped = |f: &dyn Fn(f32) -> f32, q: u8| quant.quantise(f(from.dequantise(q))).max(bounds.0).min(bounds.1);
        // Moves and maxima keep the scale; a file that changes it behind them gets a table.
        let requantised = |b: &mut Builder, id: TensorId| match from == quant && bounds == (0, 255) {
            true => Ok(id),
            false => b.table("requantise", id, quant, |q| clamped(&|x| x, q)),
        };
        let id = match &unit.kind {
            Kind::Binary(binary) => b.binary(*binary, x, operands[1], shape, quant, bounds)?,
            Kind::MatMul => {
                let (ta, tb) = (b.tensor(x).shape.clone(), b.tensor(operands[1]).shape.clone());
                let (m, k, n) = (ta[ta.len() - 2], ta[ta.len() - 1], tb[tb.len() - 1]);
                b.matmul(x, operands[1], [m, k, n], shape, quant, bounds)?
            }
            Kind::MaxPool(sliding) => {
                let window = self.window(sliding, x)?;
                let id = self.builder.max_pool(x, window, shape)?;
                requantised(&mut self.builder, id)?
            }
            Kind::AveragePool(sliding, count_pad) => {
                let window = self.window(sliding, x)?;
                let padded = *count_pad && sliding.is_padded();
                self.builder.average_pool(x, window, padded, shape, quant, bounds)?
            }
            Kind::GlobalAverage => {
                let x = b.map(x)?;
                let map = b.tensor(x).map;
                let window = Window { kernel: [map.height, map.width], ..Window::POINT };
                let pooled = [1, map.channels, 1, 1];
                let id = b.average_pool(x, window, false, &pooled, quant, bounds)?;
                if pooled[..] == shape[..] { id } else { b.reshape(id, shape, None)? }
            }
            Kind::Pointwise => {
                let node = &self.view.graph.nodes[unit.node];
                let f = pointwise::function(self.view.graph, node).ok_or_else(|| lost(name))?;
                self.builder.table(&node.op.to_lowercase(), x, quant, |q| clamped(&f, q))?
            }
            Kind::Concat(axis) => {
                let id = b.concat(&operands, *axis, shape, quant)?;
                clipped(b, id, quant, bounds)?
            }
            Kind::Reshape => {
                let id = b.reshape(x, shape, None)?;
                requantised(&mut self.builder, id)?
            }
            Kind::Transpose(perm) => {
                let id = b.reshape(x, shape, Some(perm))?;
                requantised(&mut self.builder, id)?
            }
            Kind::Moved { pieces, start } => {
                let id = b.moved(x, shape, pieces, start)?;
                requantised(&mut self.builder, id)?
            }
            Kind::Chain => {
                let node = &self.view.graph.nodes[unit.node];
                let chain =
                    node.input(0).and_then(|x| Chain::find(self.view, self.shapes, x)).ok_or_else(|| lost(name))?;
                let op = chain.name();
                match chain.channels() {
                    1 => b.table(&op, x, quant, |q| clamped(&|x| chain.at(0, x), q))?,
                    _ => b.tables(&op, x, quant, |channel, q| clamped(&|x| chain.at(channel, x), q))?,
                }
            }
            Kind::Softmax => {
                let id = b.softmax(x, quant)?;
                clipped(b, id, quant, bounds)?
            }
            Kind::Norm => {
                let node = &self.view.graph.nodes[unit.node];
                let (scale, bias) = norm::of(self.view, self.shapes, node).ok_or_else(|| lost(name))?;
                let epsilon = node.float("epsilon", 1e-5);
                self.builder.normalise(x, Norm { epsilon, scale, bias, y: quant, bounds })?
            }
            Kind::Interpolate(between) => {
                let node = &self.view.graph.nodes[unit.node];
                // Bytes are cut off in the type that the file has them in.
                let cut = (node.op == RESIZE_BYTES).then(|| self.file_zero(name)).transpose()?;
                self.builder.interpolate(x, between.clone(), (quant, bounds), cut)?
            }
            Kind::Conv { .. } | Kind::Dense { .. } | Kind::Transposed { .. } | Kind::ToBytes | Kind::Float(_) => {
                unreachable!("handled above")
            }
        };
        self.tensors.insert(name.clone(), id);
        Ok(())
    }

    /// The byte, in the engine's unsigned domain, that the file has as 0 of the quantised tensor `q`.
    fn file_zero(&self, q: &str) -> Result<u8> {
        let params = self.view.producers.get(q).and_then(|index| self.view.params(*index));
        Ok(if params.ok_or_else(|| lost(q))?.dtype == "i8" { 128 } else { 0 })
    }

    fn window(&self, sliding: &Sliding, x: TensorId) -> Result<Window> {
        let &[_, _, height, width] = &self.builder.tensor(x).shape[..] else { return Err(lost("window")) };
        sliding_window(sliding, [height, width]).ok_or_else(|| lost("window"))
    }

    /// The addition that is the only reader of `q` and whose other summand exists already: its unit, the other
    /// summand, its arithmetic and the name of its result.
    fn addition(&self, conv: usize, q: &str, quant: Quant) -> Option<(usize, String, AddQuant, String)> {
        let unit = &self.units[conv];
        let dq = self.view.only_consumer(q)?;
        let sum = self.view.only_consumer(self.view.graph.nodes[dq].output())?;
        let index = self.units.iter().position(|u| u.node == sum && u.level == self.level)?;
        let add = &self.units[index];
        let (Kind::Binary(Binary::Add), Sink::Bytes { name, quant: y, lo, hi }) = (&add.kind, &add.sink) else {
            return None;
        };
        let other = match &add.operands[..] {
            [Operand::Activation(a), Operand::Activation(b)] if a == q && b != q => b,
            [Operand::Activation(a), Operand::Activation(b)] if b == q && a != q => a,
            _ => return None,
        };
        let (_, float) = entry(self.view, other);
        let maps = unit.shape.len() == 4 && self.shapes.get(&float) == Some(&unit.shape) && add.shape == unit.shape;
        let ready = self.tensors.contains_key(other) || !self.by_bytes.contains_key(other.as_str());
        let b = activation_quant(self.view, other)?;
        (maps && ready).then(|| (index, other.clone(), AddQuant { a: quant, b, y: *y, lo: *lo, hi: *hi }, name.clone()))
    }
}
