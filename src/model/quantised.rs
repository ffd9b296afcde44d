//! Reading quantisation off a graph in normal form: who is whose dequantised twin, with which scale.

use std::borrow::Cow;
use std::collections::HashMap;

use super::graph::{Const, Graph, Values};
use super::operators::{DEQUANTISE, QUANTISE};
use super::shapes::wrap;
use oltr_int8::quant::Quant;

/// Scales and zero points of a Q or DQ node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Params {
    pub scales: Vec<f32>,
    pub zeros: Vec<i32>,
    pub axis: i64,
    /// Type of the quantised side: `u8`, `i8`, `i32`.
    pub dtype: &'static str,
}

impl Params {
    /// The one scale and zero point of a tensor of activations, in the engine's unsigned domain.
    pub fn activation(&self) -> Option<Quant> {
        let ([scale], [zero]) = (&self.scales[..], &self.zeros[..]) else { return None };
        let shift = match self.dtype {
            "u8" => 0,
            "i8" => 128,
            _ => return None,
        };
        Some(Quant { scale: *scale, zero_point: u8::try_from(zero + shift).ok()? })
    }
}

/// A quantised constant.
#[derive(Clone, Debug)]
pub(crate) struct QConst<'a> {
    pub name: &'a str,
    pub value: &'a Const<'a>,
    pub params: Params,
}

impl QConst<'_> {
    /// Values minus zero points, row-major; `None` if they have a zero point for each channel along another axis, or if
    /// one leaves 32 bits.
    pub fn centred(&self) -> Option<Vec<i32>> {
        self.map_centred(|_, value| Some(value))
    }

    /// What `f` makes of the place of each of them and itself; `None` if it makes nothing of one.
    pub fn map_centred<T>(&self, mut f: impl FnMut(usize, i32) -> Option<T>) -> Option<Vec<T>> {
        let zeros = &self.params.zeros;
        if let Some((zero, rest)) = zeros.split_first()
            && rest.iter().all(|z| z == zero)
        {
            return self.value.map_integers(|i, v| f(i, v.checked_sub(*zero)?));
        }
        let axis = wrap(self.params.axis, self.value.shape.len())?;
        let inner: usize = self.value.shape.get(axis + 1..)?.iter().product();
        let extent = *self.value.shape.get(axis)?;
        let inner = inner.max(1);
        if extent != zeros.len() {
            return None;
        }
        self.value.map_integers(|i, v| f(i, v.checked_sub(zeros[i / inner % extent])?))
    }

    /// One scale for each of `n` channels along `axis`; `None` if they lie along another.
    pub fn scales(&self, n: usize, axis: usize) -> Option<Vec<f32>> {
        match &self.params.scales[..] {
            [one] => Some(vec![*one; n]),
            many if many.len() == n && wrap(self.params.axis, self.value.shape.len())? == axis => Some(many.to_vec()),
            _ => None,
        }
    }

    /// The numbers that it stands for; `None` where its scales lie along no axis of it.
    pub fn f32_values(&self) -> Option<Vec<f32>> {
        let scale = self.scale()?;
        self.map_centred(|place, value| Some(value as f32 * scale(place)))
    }

    /// What `f` makes of [`QConst::f32_values`] given one by one, so that large weights are never all there as floats.
    pub fn with_f32_values<R>(&self, f: impl FnOnce(&dyn Fn(usize) -> f32) -> R) -> Option<R> {
        match (&self.value.values, self.params.zeros.split_first()) {
            (Values::I8(bytes), Some((zero, rest))) if rest.iter().all(|other| other == zero) => {
                let (bytes, scale) = (bytes.signed(), self.scale()?);
                Some(f(&|place| (i32::from(bytes[place]) - zero) as f32 * scale(place)))
            }
            _ => {
                let values = self.f32_values()?;
                Some(f(&|place| values[place]))
            }
        }
    }

    /// The scale of the value at a place; `None` where the scales lie along no axis of the constant.
    fn scale(&self) -> Option<impl Fn(usize) -> f32> {
        let (shape, scales) = (&self.value.shape, &self.params.scales);
        let inner: usize = match wrap(self.params.axis, shape.len()) {
            Some(axis) if scales.len() > 1 && shape.get(axis) == Some(&scales.len()) => {
                shape[axis + 1..].iter().product()
            }
            _ if scales.len() == 1 => 1,
            _ => return None,
        };
        Some(move |place| scales[place / inner % scales.len()])
    }

    /// The bytes in the engine's unsigned domain.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match &self.value.values {
            Values::U8(v) => Some(v.get().into_owned()),
            Values::I8(v) => Some(v.get().iter().map(|x| x ^ 0x80).collect()),
            _ => None,
        }
    }
}

/// Look-ups over a graph in normal form.
pub(crate) struct View<'a> {
    pub graph: &'a Graph<'a>,
    pub producers: HashMap<&'a str, usize>,
    pub consumers: HashMap<&'a str, Vec<usize>>,
}

impl<'a> View<'a> {
    pub fn new(graph: &'a Graph<'a>) -> View<'a> {
        View { graph, producers: graph.producers(), consumers: graph.consumers() }
    }

    /// Scales and zero points of node `index`, a Q or DQ node.
    pub fn params(&self, index: usize) -> Option<Params> {
        let node = &self.graph.nodes[index];
        let scale = self.graph.consts.get(node.input(1)?)?;
        let zero = self.graph.consts.get(node.input(2)?)?;
        Some(Params {
            scales: scale.as_f32()?.to_vec(),
            zeros: zero.as_integers()?,
            axis: node.int("axis", 1),
            dtype: zero.values.dtype(),
        })
    }

    /// The activation whose dequantised twin `name` is: its quantised name and scale.
    pub fn activation(&self, name: &str) -> Option<(&'a str, Quant)> {
        let index = *self.producers.get(name)?;
        let node = &self.graph.nodes[index];
        if !node.is(DEQUANTISE) || self.graph.consts.contains_key(&node.inputs[0]) {
            return None;
        }
        let q = node.input(0)?;
        // The byte must come from a Q node with the very same scale: then twin and byte say the same.
        let producer = *self.producers.get(q)?;
        let params = self.params(index)?;
        let own = self.params(producer)?;
        let same = (&params.scales, &params.zeros, params.dtype) == (&own.scales, &own.zeros, own.dtype);
        (self.graph.nodes[producer].is(QUANTISE) && same).then_some(())?;
        Some((q, params.activation()?))
    }

    /// The quantised constant whose dequantised twin `name` is.
    pub fn constant(&self, name: &str) -> Option<QConst<'a>> {
        let index = *self.producers.get(name)?;
        let node = &self.graph.nodes[index];
        let (name, value) = self.graph.consts.get_key_value(node.input(0)?)?;
        node.is(DEQUANTISE).then_some(())?;
        Some(QConst { name, value, params: self.params(index)? })
    }

    /// The only node that reads `name`, if there is just one and `name` is no output of the graph.
    pub fn only_consumer(&self, name: &str) -> Option<usize> {
        match self.consumers.get(name).map(Vec::as_slice) {
            Some([one]) if !self.graph.outputs.iter().any(|o| o == name) => Some(*one),
            _ => None,
        }
    }
}

/// The Q node behind quantised tensor `name`, and the float tensor that it quantises.
pub(crate) fn entry(view: &View, name: &str) -> (usize, String) {
    let index = view.producers[name];
    (index, view.graph.nodes[index].inputs[0].clone())
}

/// The numbers of a constant, float or quantised, and its shape.
pub(crate) fn f32_values<'a>(view: &View<'a>, name: &str) -> Option<(Cow<'a, [f32]>, &'a [usize])> {
    if let Some(value) = view.graph.consts.get(name) {
        return Some((value.as_f32()?, &value.shape));
    }
    let constant = view.constant(name)?;
    Some((Cow::Owned(constant.f32_values()?), &constant.value.shape))
}

/// The shape of a float constant or of the numbers of a quantised one.
pub(crate) fn constant_shape<'a>(view: &View<'a>, name: &str) -> Option<&'a [usize]> {
    match view.graph.consts.get(name) {
        // What lies in a file is not read for this.
        Some(value) => matches!(value.values, Values::F32(_)).then_some(&value.shape[..]),
        None => f32_values(view, name).map(|(_, shape)| shape),
    }
}
