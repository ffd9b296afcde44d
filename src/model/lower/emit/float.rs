//! Turning float operators into layers of numbers.

use super::super::super::quantised::f32_values;
use super::super::failure::Result;
use super::super::float_op::FloatOp;
use super::super::norm;
use super::super::product::operand_shape;
use super::super::units::{Operand, Sink};
use super::{Emitter, clipped, lost};
use crate::error::Error;
use oltr_int8::{Matrix, TensorId};

impl Emitter<'_> {
    /// An operand as numbers in ONNX order.
    fn number(&mut self, operand: &Operand) -> Result<TensorId> {
        let name = match operand {
            Operand::Activation(q) | Operand::Constant(q) => {
                if let Some(id) = self.dequantised.get(q) {
                    return Ok(*id);
                }
                let bytes = self.operand(operand)?;
                let id = self.builder.name(q).to_f32(bytes);
                self.dequantised.insert(q.clone(), id);
                return Ok(id);
            }
            Operand::F32(name) | Operand::ConstantF32(name) => name,
        };
        if !self.f32_values.contains_key(name)
            && let Some(unit) = self.by_f32.get(name.as_str()).copied()
        {
            self.unit(unit)?;
        }
        let id = match self.f32_values.get(name) {
            Some(id) => self.builder.name(name).to_f32(*id),
            None => match f32_values(self.view, name) {
                Some((values, shape)) => self.builder.name(name).f32_values(shape, values.into_owned()),
                None => self.input(name)?,
            },
        };
        self.f32_values.insert(name.clone(), id);
        Ok(id)
    }

    /// A float tensor that something else computes, as an input of the program that is read as numbers.
    fn input(&mut self, name: &str) -> Result<TensorId> {
        let shape = self.shapes.get(name).ok_or_else(|| lost(name))?;
        self.builder.name(name);
        Ok(match self.inputs.iter().position(|i| i == name) {
            Some(input) => self.builder.input_again(input),
            None => {
                self.inputs.push(name.to_string());
                self.builder.input(shape)
            }
        })
    }

    /// The quantisation of numbers that this program computes.
    pub(super) fn quantisation(&mut self, index: usize) -> Result<()> {
        let unit = &self.units[index];
        let Sink::Bytes { name, quant, lo, hi } = &unit.sink else {
            return Err(Error::Internal("a quantisation yields bytes".into()).into());
        };
        let x = self.number(&unit.operands[0])?;
        let label = self.node(unit).label().to_string();
        let id = self.builder.name(&label).to_bytes(x, &unit.shape, *quant)?;
        let id = clipped(&mut self.builder, id, *quant, (*lo, *hi))?;
        self.tensors.insert(name.clone(), id);
        Ok(())
    }

    /// A float operator.
    pub(super) fn float(&mut self, index: usize, op: &FloatOp) -> Result<()> {
        let unit = &self.units[index];
        let Sink::F32(name) = &unit.sink else {
            return Err(Error::Internal("a float operator yields numbers".into()).into());
        };
        let mut ids = Vec::new();
        let mut shapes = Vec::new();
        for operand in &unit.operands {
            ids.push(self.number(operand)?);
            shapes.push(operand_shape(self.view, self.shapes, operand).ok_or_else(|| lost(name))?);
        }
        let node = &self.view.graph.nodes[unit.node];
        let (label, kind) = (node.label().to_string(), node.op.to_lowercase());
        let b = self.builder.name(&label);
        let (x, shape) = (ids[0], &unit.shape[..]);
        let from = &shapes[0][..];
        let id = match op {
            FloatOp::Function(function) => b.function(&kind, x, *function, shape)?,
            FloatOp::Binary(binary) => b.float_binary(&kind, *binary, [(x, from), (ids[1], &shapes[1])], shape)?,
            FloatOp::Reduce(reduction, width) => b.reduce(&kind, x, *reduction, *width, shape)?,
            FloatOp::Softmax => b.float_softmax(x, shape)?,
            FloatOp::Distances => b.distances(x, ids[1], shape)?,
            FloatOp::Reshape => x,
            FloatOp::Moved { pieces, start } => b.float_moved(x, from, (pieces, start), shape)?,
            FloatOp::Norm => {
                let epsilon = node.float("epsilon", 1e-5);
                let (scale, bias) = norm::of(self.view, self.shapes, node).ok_or_else(|| lost(name))?;
                self.builder.name(&label).float_normalise(x, epsilon, [scale, bias], shape)?
            }
            FloatOp::Concat(axis) => {
                let parts: Vec<(TensorId, &[usize])> =
                    ids.iter().copied().zip(shapes.iter().map(Vec::as_slice)).collect();
                b.float_concat(&parts, *axis, shape)?
            }
            FloatOp::Transpose(permutation) => b.float_transpose(x, from, permutation, shape)?,
            FloatOp::MatMul => {
                let [m, k] = [from[from.len() - 2], from[from.len() - 1]];
                b.float_matmul([x, ids[1]], [m, k, shape[shape.len() - 1]], shape)?
            }
            FloatOp::Dense { weights, bias, transposed } => {
                let (k, n) = (from[from.len() - 1], shape[shape.len() - 1]);
                let m = shape.iter().product::<usize>() / n;
                let bias = match bias {
                    Some(name) => Some(f32_values(self.view, name).ok_or_else(|| lost(name))?.0.into_owned()),
                    None => None,
                };
                // A bias of one number is one for all.
                let bias = bias.map(|b| if b.len() == 1 { vec![b[0]; n] } else { b });
                let strides = if *transposed { [1, k] } else { [n, 1] };
                let dense = |at: &dyn Fn(usize) -> f32, count| {
                    b.dense(x, [m, k, n], &Matrix { at, count, strides }, bias, shape)
                };
                match self.view.graph.consts.get(weights) {
                    Some(value) => {
                        let values = value.as_f32().ok_or_else(|| lost(weights))?;
                        dense(&|place| values[place], values.len())?
                    }
                    None => {
                        let constant = self.view.constant(weights).ok_or_else(|| lost(weights))?;
                        let id = constant.with_f32_values(|at| dense(at, constant.value.len()));
                        id.ok_or_else(|| lost(weights))??
                    }
                }
            }
        };
        self.f32_values.insert(name.clone(), id);
        Ok(())
    }
}
