//! Finding the quantised operators of a graph: operator, fused clamps and the quantisation of the result, as one unit.

use std::collections::{HashMap, HashSet};

use super::super::graph::Node;
use super::super::operators::{DEQUANTISE, QUANTISE, RESIZE_BYTES};
use super::super::quantised::View;
use super::super::shapes::{Shapes, Sliding, axes, wrap};
use super::chain::Chain;
use super::float_op::FloatOp;
use super::{moves, norm, resize};
use oltr_int8::quant::Quant;
use oltr_int8::{Between, Binary, Piece};

/// An operand of a unit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    /// A quantised activation by name.
    Activation(String),
    /// The constant behind this DQ output.
    Constant(String),
    /// A float tensor by name.
    F32(String),
    /// A float constant, or the numbers of a quantised one, by name.
    ConstantF32(String),
}

/// What a unit computes. Weights are looked up by name when it is emitted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Conv {
        weights: String,
        bias: Option<String>,
        window: Sliding,
        groups: usize,
    },
    /// `x [m, k] × weights`, `[n, k]` if transposed else `[k, n]`.
    Dense {
        weights: String,
        bias: Option<String>,
        transposed: bool,
    },
    MatMul,
    /// A transposed convolution.
    Transposed {
        weights: String,
        bias: Option<String>,
        groups: usize,
    },
    Binary(Binary),
    MaxPool(Sliding),
    AveragePool(Sliding, bool),
    GlobalAverage,
    Pointwise,
    Concat(usize),
    Reshape,
    Transpose(Vec<usize>),
    Softmax,
    /// Rows brought to mean 0 and variance 1.
    Norm,
    /// A map of another size, linear between pixels: those of its rows and columns.
    Interpolate([Vec<Between>; 2]),
    /// Bytes in other places.
    Moved {
        pieces: Vec<Piece>,
        start: Vec<usize>,
    },
    /// A chain of functions of single numbers that ends at this Q node.
    Chain,
    /// A float operator beside the quantised ones.
    Float(FloatOp),
    /// The quantisation of what a float operator computed.
    ToBytes,
}

impl Kind {
    /// Whether it computes a batch of maps as well as one.
    pub fn takes_batches(&self) -> bool {
        match self {
            Kind::Dense { .. } | Kind::MatMul | Kind::Binary(_) | Kind::Pointwise | Kind::Chain => true,
            Kind::Concat(_) | Kind::Reshape | Kind::Transpose(_) | Kind::Moved { .. } => true,
            Kind::Softmax | Kind::Norm | Kind::Float(_) | Kind::ToBytes => true,
            Kind::Conv { .. } | Kind::Transposed { .. } | Kind::Interpolate(_) => false,
            Kind::MaxPool(_) | Kind::AveragePool(..) | Kind::GlobalAverage => false,
        }
    }

    /// Whether it multiplies bytes.
    pub fn multiplies(&self) -> bool {
        matches!(self, Kind::Conv { .. } | Kind::Dense { .. } | Kind::MatMul | Kind::Transposed { .. })
    }
}

/// Whether a shape is one of several maps, of which layers that look at pixels see one at a time.
pub(crate) fn is_batch(shape: &[usize]) -> bool {
    shape.len() == 4 && shape[0] != 1
}

/// Where a unit's result goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sink {
    /// A quantised tensor, by name, kept within these bytes.
    Bytes { name: String, quant: Quant, lo: u8, hi: u8 },
    /// Numbers, by name.
    F32(String),
}

/// One quantised operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    /// Index of the operator's node.
    pub node: usize,
    /// All nodes that it stands for.
    pub covers: Vec<usize>,
    pub kind: Kind,
    pub operands: Vec<Operand>,
    pub sink: Sink,
    /// ONNX shape of the result.
    pub shape: Vec<usize>,
    /// Which program it belongs to.
    pub level: usize,
}

/// The quantised units of a graph, in graph order.
pub(crate) fn find(view: &View, shapes: &Shapes) -> Vec<Unit> {
    let finder = Finder { view, shapes };
    let mut covered: HashMap<usize, ()> = HashMap::new();
    let mut units = Vec::new();
    for index in 0..view.graph.nodes.len() {
        if covered.contains_key(&index) {
            continue;
        }
        if let Some(unit) = finder.unit(index) {
            covered.extend(unit.covers.iter().map(|c| (*c, ())));
            units.push(unit);
        }
    }
    units
}

/// Where the bytes of Q node `index` go, and the nodes that this takes: none of those that are `taken` already.
pub(crate) fn bytes_sink(
    view: &View,
    shapes: &Shapes,
    index: usize,
    taken: &HashSet<usize>,
) -> Option<(Sink, Vec<usize>)> {
    let quant = view.params(index)?.activation()?;
    let finder = Finder { view, shapes };
    let again = finder.clamped_again(index, quant, (0, 255), vec![index]);
    let free = again.filter(|(_, covers)| covers.iter().all(|node| !taken.contains(node)));
    free.or_else(|| finder.hidden(index, quant, (0, 255), vec![index]))
}

/// Whether `terms` products of a byte, less its zero point, with as much as `factor` fit a sum of 32 bits.
fn sums_fit(terms: usize, factor: u64) -> bool {
    (terms as u64).saturating_mul(255 * factor) <= i32::MAX as u64
}

struct Finder<'a> {
    view: &'a View<'a>,
    shapes: &'a Shapes,
}

impl Finder<'_> {
    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    /// The operand behind float tensor `name`: an activation or a constant with one scale.
    fn operand(&self, name: &str) -> Option<Operand> {
        if let Some((q, _)) = self.view.activation(name) {
            return Some(Operand::Activation(q.to_string()));
        }
        let constant = self.view.constant(name)?;
        constant.params.activation()?;
        Some(Operand::Constant(name.to_string()))
    }

    fn activation(&self, name: &str) -> Option<Operand> {
        self.view.activation(name).map(|(q, _)| Operand::Activation(q.to_string()))
    }

    fn unit(&self, index: usize) -> Option<Unit> {
        let node = &self.view.graph.nodes[index];
        if !super::super::graph::is_onnx(&node.domain) || node.outputs.len() != 1 {
            return None;
        }
        let Some((kind, operands)) = self.kind(node) else { return self.chain(index) };
        if matches!(kind, Kind::Binary(_) | Kind::Pointwise)
            && let Some(longer) = self.longer_chain(index)
        {
            return Some(longer);
        }
        let shape = self.shape(node.output())?.to_vec();
        if is_batch(&shape) && !kind.takes_batches() || shape.contains(&0) {
            return None;
        }
        // A requantisation is a Q node itself; every other operator has one behind it.
        let (sink, covers) = if node.is(QUANTISE) {
            let quant = self.view.params(index)?.activation()?;
            (Sink::Bytes { name: node.output().into(), quant, lo: 0, hi: 255 }, vec![index])
        } else {
            self.sink(index)?
        };
        let f32_values = matches!(sink, Sink::F32(_));
        if f32_values && !matches!(kind, Kind::Conv { .. } | Kind::Dense { .. }) {
            return None;
        }
        Some(Unit { node: index, covers, kind, operands, sink, shape, level: 0 })
    }

    fn kind(&self, node: &Node) -> Option<(Kind, Vec<Operand>)> {
        let input = |i: usize| node.input(i);
        let x = || self.activation(input(0)?);
        let rank = |i: usize| input(i).and_then(|n| self.shape(n)).map(<[usize]>::len);
        match node.op.as_str() {
            "Conv" => {
                let weights = input(1)?;
                let constant = self.view.constant(weights)?;
                let window = Sliding::of_any(node, constant.value.shape.get(2..)?)?;
                let groups = usize::try_from(node.int("group", 1)).ok()?;
                let bias = input(2).map(str::to_string);
                Some((Kind::Conv { weights: weights.into(), bias, window, groups }, vec![x()?]))
            }
            "Gemm" => {
                let plain =
                    node.int("transA", 0) == 0 && node.float("alpha", 1.0) == 1.0 && node.float("beta", 1.0) == 1.0;
                let weights = input(1).filter(|_| plain)?;
                self.view.constant(weights)?;
                let (bias, transposed) = (input(2).map(str::to_string), node.int("transB", 0) != 0);
                Some((Kind::Dense { weights: weights.into(), bias, transposed }, vec![x()?]))
            }
            "MatMul" => match self.view.constant(input(1)?) {
                Some(constant) if constant.value.shape.len() == 2 => {
                    let kind = Kind::Dense { weights: input(1)?.into(), bias: None, transposed: false };
                    Some((kind, vec![x()?]))
                }
                Some(_) => None,
                None => {
                    let (a, b) = (self.shape(input(0)?)?, self.shape(input(1)?)?);
                    let same_batch = a.len() == b.len() && a.len() >= 2 && a[..a.len() - 2] == b[..b.len() - 2];
                    (same_batch && sums_fit(*a.last()?, 255))
                        .then_some((Kind::MatMul, vec![x()?, self.activation(input(1)?)?]))
                }
            },
            "ConvTranspose" => {
                let (weights, bias) = (input(1)?, input(2).map(str::to_string));
                self.view.constant(weights)?;
                let groups = usize::try_from(node.int("group", 1)).ok()?;
                Some((Kind::Transposed { weights: weights.into(), bias, groups }, vec![x()?]))
            }
            "LayerNormalization" => {
                norm::of(self.view, self.shapes, node)?;
                Some((Kind::Norm, vec![x()?]))
            }
            "Resize" | RESIZE_BYTES if node.text("mode") == "linear" => {
                Some((Kind::Interpolate(resize::between(self.view.graph, self.shapes, node)?), vec![x()?]))
            }
            "Add" | "Mul" => {
                let operands = vec![self.operand(input(0)?)?, self.operand(input(1)?)?];
                let binary = if node.op == "Add" { Binary::Add } else { Binary::Mul };
                Some((Kind::Binary(binary), operands))
            }
            "MaxPool" if rank(0)? == 4 && node.int("storage_order", 0) == 0 => {
                Some((Kind::MaxPool(self.window(node)?), vec![x()?]))
            }
            "AveragePool" if rank(0)? == 4 => {
                let window = self.window(node)?;
                let count_pad = node.int("count_include_pad", 0) != 0;
                // What a window that overhangs the padding divides by differs between implementations.
                let clear = !(count_pad && window.ceils()) && window.dilation == [1, 1];
                (clear && sums_fit(window.kernel[0].saturating_mul(window.kernel[1]), 1))
                    .then_some((Kind::AveragePool(window, count_pad), vec![x()?]))
            }
            "GlobalAveragePool" if rank(0)? == 4 => self.map_fits(node)?.then_some((Kind::GlobalAverage, vec![x()?])),
            "ReduceMean" if rank(0)? == 4 => {
                let spatial = axes((&self.view.graph.consts, self.view.graph.opset), node, 4)? == [2, 3];
                (spatial && self.map_fits(node)?).then_some((Kind::GlobalAverage, vec![x()?]))
            }
            "Relu" | "Clip" | "LeakyRelu" | "Sigmoid" | "Tanh" | "HardSigmoid" | "HardSwish" | QUANTISE => {
                let _known = super::pointwise::function(self.view.graph, node)?;
                Some((Kind::Pointwise, vec![x()?]))
            }
            "Concat" => {
                let axis = wrap(node.int("axis", 0), rank(0)?)?;
                let parts: Option<Vec<Operand>> = node.inputs.iter().map(|i| self.activation(i)).collect();
                Some((Kind::Concat(axis), parts?))
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => Some((Kind::Reshape, vec![x()?])),
            "Slice" | "Gather" | "DepthToSpace" | "SpaceToDepth" | "Resize" => {
                let (pieces, start) = moves::of(self.view.graph, self.shapes, node)?;
                Some((Kind::Moved { pieces, start }, vec![x()?]))
            }
            "Transpose" => {
                let rank = rank(0)?;
                let perm = match node.ints("perm") {
                    Some(perm) => perm.iter().map(|p| *p as usize).collect(),
                    None => (0..rank).rev().collect(),
                };
                Some((Kind::Transpose(perm), vec![x()?]))
            }
            "Softmax" => {
                let rank = rank(0)?;
                let default = if self.view.graph.opset < 13 { 1 } else { -1 };
                let last = wrap(node.int("axis", default), rank)? + 1 == rank;
                last.then_some((Kind::Softmax, vec![x()?]))
            }
            _ => None,
        }
    }

    /// The chain that ends with node `index` and its quantisation, if it goes through quantised tensors: one table is less
    /// than a layer for each step.
    fn longer_chain(&self, index: usize) -> Option<Unit> {
        let node = &self.view.graph.nodes[index];
        let end = if node.is(QUANTISE) { index } else { self.view.only_consumer(node.output())? };
        let x = self.view.graph.nodes.get(end).filter(|end| end.is(QUANTISE))?.input(0)?;
        Chain::through(self.view, self.shapes, x)?;
        self.chain(end)
    }

    /// A chain of functions of single numbers that ends at Q node `index`.
    fn chain(&self, index: usize) -> Option<Unit> {
        let node = self.view.graph.nodes.get(index).filter(|node| node.is(QUANTISE))?;
        let shape = self.shape(node.output())?.to_vec();
        if shape.contains(&0) {
            return None;
        }
        let chain = Chain::find(self.view, self.shapes, node.input(0)?)?;
        let (sink, mut covers) = bytes_sink(self.view, self.shapes, index, &HashSet::new())?;
        covers.extend(chain.covers(self.view, index));
        let operands = vec![Operand::Activation(chain.activation)];
        Some(Unit { node: index, covers, kind: Kind::Chain, operands, sink, shape, level: 0 })
    }

    /// Whether the sums of whole maps fit.
    fn map_fits(&self, node: &Node) -> Option<bool> {
        let [_, _, h, w] = *self.shape(node.input(0)?)? else { return None };
        Some(sums_fit(h.saturating_mul(w), 1))
    }

    /// The window of a pool; `None` if one lies wholly outside the map.
    fn window(&self, node: &Node) -> Option<Sliding> {
        let kernel: Vec<usize> = node.ints("kernel_shape")?.iter().map(|k| *k as usize).collect();
        let window = Sliding::of(node, &kernel)?;
        let [_, _, h, w] = *self.shape(node.input(0)?)? else { return None };
        let (output, lead) = (window.output([h, w])?, window.lead([h, w])?);
        let touches = |i: usize, size: usize| {
            let extent = (window.kernel[i] - 1) * window.dilation[i];
            lead[i] <= extent && output[i].saturating_sub(1) * window.stride[i] < size + lead[i]
        };
        (touches(0, h) && touches(1, w)).then_some(window)
    }

    /// Follows the result of node `index` through clamps to its quantisation.
    fn sink(&self, index: usize) -> Option<(Sink, Vec<usize>)> {
        let graph = self.view.graph;
        let f32_values = || (Sink::F32(graph.nodes[index].output().to_string()), vec![index]);
        let mut covers = vec![index];
        let (mut low, mut high) = (f32::NEG_INFINITY, f32::INFINITY);
        let mut at = index;
        loop {
            let Some(next) = self.view.only_consumer(graph.nodes[at].output()) else { return Some(f32_values()) };
            let node = &graph.nodes[next];
            if node.is(QUANTISE) {
                let Some(quant) = self.view.params(next).and_then(|p| p.activation()) else {
                    return Some(f32_values());
                };
                covers.push(next);
                let (lo, hi) = (quant.quantise(low), quant.quantise(high));
                return self.clamped_again(next, quant, (lo, hi), covers);
            }
            let Some((l, h)) = super::pointwise::bounds(graph, node) else { return Some(f32_values()) };
            // The later clamp wins where both bind.
            (low, high) = (low.max(l).min(h), high.min(h).max(l));
            covers.push(next);
            at = next;
        }
    }

    /// int8 graphs clamp once more after quantising, DQ → Relu → Q with one scale: an integer clamp.
    fn clamped_again(
        &self,
        q: usize,
        quant: Quant,
        (mut lo, mut hi): (u8, u8),
        mut covers: Vec<usize>,
    ) -> Option<(Sink, Vec<usize>)> {
        let mut last = q;
        while let Some((l, h, end, nodes)) = self.integer_clamp(self.view.graph.nodes[last].output(), quant) {
            (lo, hi) = (lo.max(l).min(h), hi.min(h).max(l));
            last = end;
            covers.extend(nodes);
        }
        self.hidden(last, quant, (lo, hi), covers)
    }

    /// The bytes of Q node `q`, if nobody reads them but DQ nodes of the same scale.
    fn hidden(&self, q: usize, quant: Quant, (lo, hi): (u8, u8), covers: Vec<usize>) -> Option<(Sink, Vec<usize>)> {
        let graph = self.view.graph;
        let name = graph.nodes[q].output();
        let readers = self.view.consumers.get(name).map_or(&[][..], Vec::as_slice);
        let twins = readers.iter().all(|r| {
            let node = &graph.nodes[*r];
            node.is(DEQUANTISE) && self.view.activation(node.output()).is_some_and(|(_, own)| own == quant)
        });
        let is_output = graph.outputs.iter().any(|o| o == name);
        (twins && !is_output).then(|| (Sink::Bytes { name: name.to_string(), quant, lo, hi }, covers))
    }

    fn integer_clamp(&self, name: &str, quant: Quant) -> Option<(u8, u8, usize, [usize; 3])> {
        let graph = self.view.graph;
        let dq = self.view.only_consumer(name)?;
        let clamp = self.view.only_consumer(graph.nodes[dq].outputs.first()?)?;
        let (l, h) = super::pointwise::bounds(graph, &graph.nodes[clamp])?;
        let q = self.view.only_consumer(graph.nodes[clamp].output())?;
        let same = |i: usize| self.view.params(i).and_then(|p| p.activation()) == Some(quant);
        let kinds = graph.nodes[dq].is(DEQUANTISE) && graph.nodes[q].is(QUANTISE);
        (kinds && same(dq) && same(q)).then(|| (quant.quantise(l), quant.quantise(h), q, [dq, clamp, q]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_fit_as_long_as_all_of_them_do() {
        assert!(sums_fit(33_025, 255) && !sums_fit(33_026, 255));
        assert!(sums_fit(8_421_504, 1) && !sums_fit(8_421_505, 1) && !sums_fit(usize::MAX, 255));
    }
}
