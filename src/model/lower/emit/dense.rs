//! Turning convolutions and products with constant weights into layers.

use super::super::failure::Result;
use super::super::product::{Dense, dense, lifted};
use super::super::transposed;
use super::super::units::{Kind, Operand, Sink};
use super::super::weights::Weights;
use super::{Emitter, lost};
use oltr_int8::kernels::{Map, Output, Residual};
use oltr_int8::quant::Requant;
use oltr_int8::{Element, Finish, Tensor, TensorId, WideDepthwise};

impl Emitter<'_> {
    /// A convolution or matrix product, with the addition behind it if that is its only reader.
    pub(super) fn dense(&mut self, index: usize) -> Result<()> {
        let unit = &self.units[index];
        let mut layer = dense(self.view, self.shapes, unit).ok_or_else(|| lost("weights"))?;
        let Operand::Activation(q) = &unit.operands[0] else { return Err(lost("input")) };
        let x = self.tensor(layer.map.as_deref().unwrap_or(q))?;
        self.builder.name(self.view.graph.nodes[unit.node].label());
        // Convolutions read maps, products of matrices rows; a flattened map is one that is read whole.
        let conv = matches!(unit.kind, Kind::Conv { .. });
        let (x, shape) = match conv {
            true => (self.as_map(x)?, lifted(&unit.shape)),
            false if layer.map.is_some() => (self.builder.map(x)?, unit.shape.clone()),
            false => (self.builder.rows(x)?, unit.shape.clone()),
        };
        let x = self.prepared(x, &mut layer)?;
        if let (Sink::Bytes { name, quant, .. }, true) = (&unit.sink, layer.is_whole())
            && let Some((sum, other, add, y)) = self.addition(index, name, *quant)
        {
            let id = self.tensor(&other)?;
            let id = self.builder.map(id)?;
            let stride = self.builder.tensor(id).map.stride;
            let requant = requant(&layer, &unit.sink).ok_or_else(|| lost(name))?;
            layer.conv.result = Output::Bytes(requant, Some(Residual { add, stride }));
            self.builder.name(self.view.graph.nodes[unit.node].label());
            let id = self.builder.conv(x, layer.conv, Element::Bytes(add.y), &shape, Some(id))?;
            self.done.insert(sum);
            self.tensors.insert(y, id);
            return Ok(());
        }
        let id = self.product(x, layer, &unit.sink, &shape)?;
        match &unit.sink {
            Sink::F32(name) => drop(self.f32_values.insert(name.clone(), id)),
            Sink::Bytes { name, .. } => {
                let id = if shape == unit.shape { id } else { self.builder.reshape(id, &unit.shape, None)? };
                self.tensors.insert(name.clone(), id);
            }
        }
        Ok(())
    }

    /// A transposed convolution: convolutions whose results lie between each other.
    pub(super) fn transposed(&mut self, index: usize) -> Result<()> {
        let unit = &self.units[index];
        let node = &self.view.graph.nodes[unit.node];
        let phases = transposed::phases(self.view, self.shapes, unit).ok_or_else(|| lost("weights"))?;
        let steps = transposed::steps(node).ok_or_else(|| lost("steps"))?;
        let (Operand::Activation(q), Sink::Bytes { name, quant, .. }) = (&unit.operands[0], &unit.sink) else {
            return Err(lost("input"));
        };
        let x = self.tensor(q)?;
        self.builder.name(node.label());
        let x = self.as_map(x)?;
        let mut parts = Vec::new();
        for mut phase in phases {
            let x = self.prepared(x, &mut phase.layer)?;
            parts.push((self.product(x, phase.layer, &unit.sink, &phase.shape)?, phase.first));
        }
        let id = match parts[..] {
            [(only, [0, 0])] => only,
            _ => self.builder.interleave(&parts, steps, &unit.shape, *quant)?,
        };
        self.tensors.insert(name.clone(), id);
        Ok(())
    }

    /// A tensor as the map of rows and columns that a convolution reads.
    fn as_map(&mut self, x: TensorId) -> Result<TensorId> {
        let shape = self.builder.tensor(x).shape.clone();
        let x = if shape.len() == 3 { self.builder.reshape(x, &lifted(&shape), None)? } else { x };
        Ok(self.builder.map(x)?)
    }

    /// Puts the weights of a layer in order; gives what it reads.
    fn prepared(&mut self, x: TensorId, layer: &mut Dense) -> Result<TensorId> {
        if layer.rests.is_empty() {
            layer.conv.weights = layer.weights.ordered();
        } else if layer.conv.groups == 1 {
            return self.widened(x, layer);
        }
        Ok(x)
    }

    /// With bytes or numbers as its result, as kernels have them, or in parts.
    fn product(&mut self, x: TensorId, mut layer: Dense, sink: &Sink, shape: &[usize]) -> Result<TensorId> {
        if !layer.is_whole() {
            if let Some(conv) = wide(&layer, sink, shape) {
                return Ok(self.builder.wide_depthwise(x, conv, shape)?);
            }
            return self.in_parts(x, layer, sink, shape);
        }
        let element = match (sink, requant(&layer, sink)) {
            (Sink::Bytes { quant, .. }, Some(requant)) => {
                layer.conv.result = Output::Bytes(requant, None);
                Element::Bytes(*quant)
            }
            _ => {
                layer.conv.result = Output::F32(layer.scales);
                Element::F32
            }
        };
        Ok(self.builder.conv(x, layer.conv, element, shape, None)?)
    }

    /// The sums as numbers, of each part of the weights, then what is added and the rounding.
    fn in_parts(&mut self, x: TensorId, layer: Dense, sink: &Sink, shape: &[usize]) -> Result<TensorId> {
        let Dense { conv, weights, rests, float_bias, scales, .. } = layer;
        let map = conv.output;
        let whole = !conv.weights.is_empty();
        // Sums themselves, where there are several to be added exactly.
        let multiplier = if whole { scales.clone() } else { vec![1.0; map.channels] };
        let parts: Vec<Vec<i8>> = match whole {
            true => vec![conv.weights.clone()],
            false => rests.iter().chain([&weights]).map(Weights::ordered).collect(),
        };
        let mut sums: Option<TensorId> = None;
        let mut more = None;
        for (i, part) in parts.into_iter().enumerate() {
            let mut conv = conv.clone();
            conv.weights = part;
            conv.result = Output::F32(multiplier.clone());
            if i > 0 {
                conv.bias = vec![0; map.channels];
            }
            let id = self.builder.conv(x, conv, Element::F32, shape, None)?;
            match (sums, more) {
                (None, _) => sums = Some(id),
                (Some(_), None) => more = Some(id),
                (Some(first), Some(second)) => {
                    let add = Finish { scale: None, bias: None, bytes: None };
                    sums = Some(self.builder.finishing(first, Some(second), map, add)?);
                    more = Some(id);
                }
            }
        }
        let sums = sums.ok_or_else(|| lost("weights"))?;
        let mut finish = finish(scales, float_bias, sink);
        if whole {
            finish.scale = None;
        }
        Ok(self.builder.finishing(sums, more, map, finish)?)
    }

    /// Puts the channels whose weights do not fit signed bytes behind the others once more, and what their weights lack
    /// to them: sums stay those of one convolution.
    fn widened(&mut self, x: TensorId, layer: &mut Dense) -> Result<TensorId> {
        let [outputs, taps, inputs] = layer.weights.counts();
        let near = layer.weights.ordered();
        let mut channels = Vec::new();
        let mut columns: Vec<Vec<i8>> = Vec::new();
        for rest in layer.rests.iter().map(Weights::ordered) {
            for channel in 0..inputs {
                let column: Vec<i8> = (0..outputs * taps).map(|row| rest[row * inputs + channel]).collect();
                if column.iter().any(|w| *w != 0) {
                    channels.push(channel);
                    columns.push(column);
                }
            }
        }
        let conv = &mut layer.conv;
        let mut weights = Vec::with_capacity(near.len() + outputs * taps * columns.len());
        for row in 0..outputs * taps {
            weights.extend_from_slice(&near[row * inputs..][..inputs]);
            weights.extend(columns.iter().map(|column| column[row]));
        }
        let wide = self.builder.repeat(x, conv.input, &channels)?;
        let map = self.builder.tensor(wide).map;
        conv.input = match self.builder.tensor(wide).shape.len() {
            4 => map,
            _ => {
                let channels = inputs + channels.len();
                Map { height: 1, width: conv.input.pixels(), channels, stride: channels }
            }
        };
        conv.weights = weights;
        layer.rests.clear();
        Ok(wide)
    }
}

impl Dense<'_> {
    /// Whether kernels compute it in one go.
    fn is_whole(&self) -> bool {
        !self.conv.weights.is_empty() && self.float_bias.is_none()
    }
}

/// What becomes of sums that are integers as numbers.
fn finish(scales: Vec<f32>, float_bias: Option<Vec<f32>>, sink: &Sink) -> Finish {
    match sink {
        Sink::F32(_) => Finish { scale: Some(scales), bias: float_bias, bytes: None },
        Sink::Bytes { quant, lo, hi, .. } => {
            // With a bias as the graph has it; without, in one product as QLinearConv has it.
            let (scale, step) = match float_bias {
                Some(_) => (scales, quant.scale),
                None => (scales.iter().map(|s| s / quant.scale).collect(), 1.0),
            };
            Finish { scale: Some(scale), bias: float_bias, bytes: Some((step, *quant, *lo, *hi)) }
        }
    }
}

/// A depthwise convolution whose weights do not fit signed bytes, in one layer. Where only its bias is no integer, the
/// kernel and a pass over its sums take less.
fn wide(layer: &Dense, sink: &Sink, shape: &[usize]) -> Option<WideDepthwise> {
    let conv = &layer.conv;
    let as_map = Tensor::new(shape, Element::F32).map == conv.output;
    if layer.rests.is_empty() || !conv.is_depthwise() || !as_map {
        return None;
    }
    let mut weights: Vec<i32> = layer.weights.ordered().into_iter().map(i32::from).collect();
    for rest in &layer.rests {
        weights.iter_mut().zip(rest.ordered()).for_each(|(w, more)| *w += i32::from(more));
    }
    let conv = WideDepthwise {
        input: conv.input,
        output: conv.output,
        window: conv.window,
        input_zero: conv.input_zero,
        weights,
        bias: conv.bias.clone(),
        finish: finish(layer.scales.clone(), layer.float_bias.clone(), sink),
    };
    conv.fits().then_some(conv)
}

/// How its sums become bytes.
fn requant(layer: &Dense, sink: &Sink) -> Option<Requant> {
    let Sink::Bytes { quant, lo, hi, .. } = sink else { return None };
    let multiplier = layer.scales.iter().map(|s| s / quant.scale).collect();
    Some(Requant { multiplier, zero_point: quant.zero_point, lo: *lo, hi: *hi })
}
