//! Finding what stays in float around quantised operators, so that it runs in the same program: the modulated
//! attention's products and softmaxes, and the head behind the direct feature.
//!
//! A float operator joins a program only if all that it reads comes from programs or from the graph's inputs. So it
//! never makes a program wait for tract: a network that is quantised in part keeps as few programs as before, and
//! float convolutions stay with tract, with the operators behind them.

use std::collections::HashSet;

use super::super::graph::{Node, is_onnx};
use super::super::operators::{DISTANCES, QUANTISE};
use super::super::quantised::{View, constant_shape, entry, f32_values};
use super::super::shapes::{Shapes, axes, wrap};
use super::float_op::FloatOp;
use super::units::{Kind, Operand, Sink, Unit, bytes_sink};
use super::{moves, norm, pointwise};
use oltr_int8::float::{Binary, Function, Reduction};

/// The float operators that can run beside `units`, and the quantisations behind them, in graph order.
pub(crate) fn find(view: &View, shapes: &Shapes, units: &[Unit]) -> Vec<Unit> {
    let mut finder = Finder { view, shapes, f32_values: HashSet::new(), bytes: HashSet::new() };
    let mut covered: HashSet<usize> = HashSet::new();
    for unit in units {
        covered.extend(&unit.covers);
        finder.computed(&unit.sink);
    }
    let mut found: Vec<Unit> = Vec::new();
    for index in 0..view.graph.nodes.len() {
        if covered.contains(&index) {
            continue;
        }
        if let Some(unit) = finder.unit(index, &covered) {
            covered.extend(&unit.covers);
            finder.computed(&unit.sink);
            found.push(unit);
        }
    }
    found
}

struct Finder<'a> {
    view: &'a View<'a>,
    shapes: &'a Shapes,
    /// Tensors that units compute.
    f32_values: HashSet<String>,
    bytes: HashSet<String>,
}

impl Finder<'_> {
    fn computed(&mut self, sink: &Sink) {
        match sink {
            Sink::Bytes { name, .. } => self.bytes.insert(name.clone()),
            Sink::F32(name) => self.f32_values.insert(name.clone()),
        };
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    fn unit(&self, index: usize, covered: &HashSet<usize>) -> Option<Unit> {
        let node = &self.view.graph.nodes[index];
        if !is_onnx(&node.domain) || node.outputs.len() != 1 {
            return None;
        }
        let shape = self.shape(node.output())?.to_vec();
        if shape.contains(&0) {
            return None;
        }
        if node.is(QUANTISE) {
            let x = node.input(0).filter(|x| self.f32_values.contains(*x))?;
            let (sink, covers) = bytes_sink(self.view, self.shapes, index, covered)?;
            let operands = vec![Operand::F32(x.into())];
            return Some(Unit { node: index, covers, kind: Kind::ToBytes, operands, sink, shape, level: 0 });
        }
        let (op, operands) = self.op(node, &shape)?;
        let sink = Sink::F32(node.output().to_string());
        Some(Unit { node: index, covers: vec![index], kind: Kind::Float(op), operands, sink, shape, level: 0 })
    }

    /// What a float operator reads: something computed here, or an input of the graph.
    fn computed_operand(&self, name: &str) -> Option<Operand> {
        let is_input = |name: &str| self.view.graph.inputs.iter().any(|(input, _)| input == name);
        if self.f32_values.contains(name) || is_input(name) {
            return Some(Operand::F32(name.into()));
        }
        let (q, _) = self.view.activation(name)?;
        let near = self.bytes.contains(q) || is_input(&entry(self.view, q).1);
        near.then(|| Operand::Activation(q.into()))
    }

    fn operand(&self, name: &str) -> Option<Operand> {
        let constant = || constant_shape(self.view, name).map(|_| Operand::ConstantF32(name.into()));
        self.computed_operand(name).or_else(constant)
    }

    fn op(&self, node: &Node, shape: &[usize]) -> Option<(FloatOp, Vec<Operand>)> {
        let x = || self.computed_operand(node.input(0)?);
        let rank = || node.input(0).and_then(|n| self.shape(n)).map(<[usize]>::len);
        let graph = self.view.graph;
        Some(match node.op.as_str() {
            DISTANCES => (FloatOp::Distances, vec![x()?, self.operand(node.input(1)?)?]),
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" if node.inputs.len() == 2 => {
                let [a, b] = [node.input(0)?, node.input(1)?];
                // Two constants are for tract to fold.
                self.computed_operand(a).or_else(|| self.computed_operand(b))?;
                (FloatOp::Binary(binary(&node.op)?), vec![self.operand(a)?, self.operand(b)?])
            }
            "PRelu" => {
                let name = node.input(1)?;
                let slope = self.operand(name)?;
                (self.shape(node.input(0)?)? == shape).then_some(())?;
                // The slope has to fit the tensor; it never widens it.
                let own = constant_shape(self.view, name).or_else(|| self.shape(name))?;
                let fits = own.iter().rev().zip(shape.iter().rev()).all(|(own, whole)| *own == 1 || own == whole);
                (own.len() <= shape.len() && fits).then_some(())?;
                (FloatOp::Binary(Binary::PRelu), vec![x()?, slope])
            }
            "Concat" => {
                let axis = wrap(node.int("axis", 0), rank()?)?;
                let parts: Vec<Operand> = node.inputs.iter().map(|i| self.operand(i)).collect::<Option<_>>()?;
                // Constants alone are for tract to fold.
                node.inputs.iter().find_map(|i| self.computed_operand(i))?;
                (FloatOp::Concat(axis), parts)
            }
            "GlobalAveragePool" if rank()? > 2 => {
                let width = self.shape(node.input(0)?)?[2..].iter().product();
                (FloatOp::Reduce(Reduction::Mean, width), vec![x()?])
            }
            "Pow" => {
                let (exponent, _) = f32_values(self.view, node.input(1)?)?;
                let function = match exponent[..] {
                    [2.0] => Function::Square,
                    [0.5] => Function::Sqrt,
                    _ => return None,
                };
                (FloatOp::Function(function), vec![x()?])
            }
            "ReduceSum" | "ReduceMean" | "ReduceL2" | "ReduceMax" | "ReduceMin" => {
                let dims = self.shape(node.input(0)?)?;
                let axes = axes((&graph.consts, graph.opset), node, dims.len())?;
                if axes.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
                    return None;
                }
                let reduced = |i: &usize| axes.is_empty() || axes.contains(i);
                // The reduced dimensions must be the last ones that are not 1, so that rows lie together.
                let real: Vec<usize> = (0..dims.len()).filter(|i| dims[*i] != 1).collect();
                let kept = real.iter().take_while(|i| !reduced(i)).count();
                let width = real[kept..].iter().map(|i| dims[*i]).product();
                real[kept..].iter().all(reduced).then_some(())?;
                (FloatOp::Reduce(reduction(&node.op)?, width), vec![x()?])
            }
            "Softmax" => {
                let default = if graph.opset < 13 { 1 } else { -1 };
                (wrap(node.int("axis", default), rank()?)? + 1 == rank()?).then_some(())?;
                (FloatOp::Softmax, vec![x()?])
            }
            "Gemm" => {
                let plain =
                    node.int("transA", 0) == 0 && node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0;
                let weights = node.input(1).filter(|_| plain)?.to_string();
                let (bias, transposed) = (node.input(2).map(str::to_string), node.int("transB", 0) != 0);
                (self.dense(node, &weights, bias.as_deref(), shape)?)
                    .then_some((FloatOp::Dense { weights, bias, transposed }, vec![x()?]))?
            }
            "MatMul" => {
                let (a, b) = (node.input(0)?, node.input(1)?);
                if constant_shape(self.view, b).is_some() {
                    let weights = b.to_string();
                    (self.dense(node, b, None, shape)?)
                        .then_some((FloatOp::Dense { weights, bias: None, transposed: false }, vec![x()?]))?
                } else {
                    let (left, right) = (self.shape(a)?, self.shape(b)?);
                    let batch = left.len().checked_sub(2)?;
                    (left.len() == right.len() && left[..batch] == right[..batch]).then_some(())?;
                    (FloatOp::MatMul, vec![self.operand(a)?, self.computed_operand(b)?])
                }
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" => (FloatOp::Reshape, vec![x()?]),
            "LayerNormalization" => {
                norm::of(self.view, self.shapes, node)?;
                (FloatOp::Norm, vec![x()?])
            }
            "Slice" | "Gather" | "DepthToSpace" | "SpaceToDepth" | "Resize" => {
                let (pieces, start) = moves::of(graph, self.shapes, node)?;
                (FloatOp::Moved { pieces, start }, vec![x()?])
            }
            "Transpose" => {
                let rank = rank()?;
                let perm: Vec<usize> = match node.ints("perm") {
                    Some(perm) => perm.iter().map(|p| usize::try_from(*p).ok()).collect::<Option<_>>()?,
                    None => (0..rank).rev().collect(),
                };
                (perm.len() == rank && perm.iter().all(|p| *p < rank)).then_some(())?;
                (FloatOp::Transpose(perm), vec![x()?])
            }
            _ => (FloatOp::Function(pointwise::float(graph, node)?), vec![x()?]),
        })
    }

    /// Whether constant weights and bias fit a product with the node's first input.
    fn dense(&self, node: &Node, weights: &str, bias: Option<&str>, shape: &[usize]) -> Option<bool> {
        let w = constant_shape(self.view, weights)?;
        let k = *self.shape(node.input(0)?)?.last()?;
        let n = *shape.last()?;
        let fits = w.len() == 2 && w.iter().product::<usize>() == k * n && k > 0;
        let bias_fits = match bias {
            // One number, or one for each column: as many for the rows would be another thing.
            Some(name) => {
                let (values, shape) = f32_values(self.view, name)?;
                values.len() == 1 || values.len() == n && shape.last() == Some(&n)
            }
            None => true,
        };
        Some(fits && bias_fits)
    }
}

fn binary(op: &str) -> Option<Binary> {
    Some(match op {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        _ => return None,
    })
}

fn reduction(op: &str) -> Option<Reduction> {
    Some(match op {
        "ReduceSum" => Reduction::Sum,
        "ReduceMean" => Reduction::Mean,
        "ReduceL2" => Reduction::L2,
        "ReduceMax" => Reduction::Max,
        "ReduceMin" => Reduction::Min,
        _ => return None,
    })
}
