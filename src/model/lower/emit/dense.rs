//! Turning convolutions and products with constant weights into layers.

use super::super::failure::Result;
use super::super::units::{Operand, Sink};
use super::super::weights::Weights;
use super::{Dense, Emitter, dense, lost};
use oltr_int8::kernels::{Map, Output, Residual};
use oltr_int8::quant::Requant;
use oltr_int8::{Element, Finish, TensorId};

impl Emitter<'_> {
    /// A convolution or matrix product, with the addition behind it if that is its only reader.
    pub(super) fn dense(&mut self, index: usize) -> Result<()> {
        let unit = &self.units[index];
        let mut layer = dense(self.view, self.shapes, unit).ok_or_else(|| lost("weights"))?;
        let Operand::Activation(q) = &unit.operands[0] else { return Err(lost("input")) };
        let mut x = self.tensor(layer.map.as_deref().unwrap_or(q))?;
        let label = self.node(unit).label().to_string();
        self.builder.name(&label);
        if layer.rests.is_empty() {
            layer.conv.weights = layer.weights.ordered();
        } else if layer.conv.groups == 1 {
            x = self.widened(x, &mut layer)?;
        }
        if !layer.conv.weights.is_empty() && layer.float_bias.is_none() {
            return self.fused(index, x, layer);
        }
        self.in_parts(index, x, layer)
    }

    /// With bytes or numbers as its result, as kernels have them.
    fn fused(&mut self, index: usize, x: TensorId, layer: Dense) -> Result<()> {
        let unit = &self.units[index];
        let Dense { mut conv, scales, .. } = layer;
        let label = self.node(unit).label().to_string();
        match &unit.sink {
            Sink::Numbers(name) => {
                conv.result = Output::Floats(scales);
                let id = self.builder.name(&label).conv(x, conv, Element::Floats, &unit.shape, None)?;
                self.numbers.insert(name.clone(), id);
            }
            Sink::Bytes { name, quant, lo, hi } => {
                let multiplier = scales.iter().map(|s| s / quant.scale).collect();
                let requant = Requant { multiplier, zero_point: quant.zero_point, lo: *lo, hi: *hi };
                if let Some((sum, other, add, y)) = self.addition(index, name, *quant) {
                    let id = self.tensor(&other)?;
                    let stride = self.builder.tensor(id).map.stride;
                    conv.result = Output::Bytes(requant, Some(Residual { add, stride }));
                    let shape = &unit.shape;
                    let id = self.builder.name(&label).conv(x, conv, Element::Bytes(add.y), shape, Some(id))?;
                    self.done.insert(sum);
                    self.tensors.insert(y, id);
                } else {
                    conv.result = Output::Bytes(requant, None);
                    let id = self.builder.name(&label).conv(x, conv, Element::Bytes(*quant), &unit.shape, None)?;
                    self.tensors.insert(name.clone(), id);
                }
            }
        }
        Ok(())
    }

    /// The sums as numbers, of each part of the weights, then what is added and the rounding.
    fn in_parts(&mut self, index: usize, x: TensorId, layer: Dense) -> Result<()> {
        let unit = &self.units[index];
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
            conv.result = Output::Floats(multiplier.clone());
            if i > 0 {
                conv.bias = vec![0; map.channels];
            }
            let id = self.builder.conv(x, conv, Element::Floats, &unit.shape, None)?;
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
        match &unit.sink {
            Sink::Numbers(name) => {
                let scale = (!whole).then_some(scales);
                let finish = Finish { scale, bias: float_bias, bytes: None };
                let id = self.builder.finishing(sums, more, map, finish)?;
                self.numbers.insert(name.clone(), id);
            }
            Sink::Bytes { name, quant, lo, hi } => {
                // With a bias as the graph has it; without, in one product as QLinearConv has it.
                let (scale, step) = match (&float_bias, whole) {
                    (Some(_), true) => (None, quant.scale),
                    (Some(_), false) => (Some(scales), quant.scale),
                    (None, _) => (Some(scales.iter().map(|s| s / quant.scale).collect()), 1.0),
                };
                let finish = Finish { scale, bias: float_bias, bytes: Some((step, *quant, *lo, *hi)) };
                let id = self.builder.finishing(sums, more, map, finish)?;
                self.tensors.insert(name.clone(), id);
            }
        }
        Ok(())
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
