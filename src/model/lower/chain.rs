//! Chains of operators that look at single numbers, between a DQ and a Q: a table of 256 bytes, or one for each channel
//! where constants differ from channel to channel (BatchNormalization, PRelu, a scale).
//!
//! GELU as exporters write it is five nodes, SiLU two, a hard-swish three: whatever the file computes from one byte, step
//! by step in single precision, is computed for all 256 at load. Where it quantises in between, the table does so too.

use std::collections::HashSet;

use super::super::graph::Node;
use super::super::operators::{DEQUANTISE, QUANTISE};
use super::super::quantised::{View, f32_values};
use super::super::shapes::Shapes;
use super::pointwise;
use oltr_int8::quant::Quant;

/// Nodes of a chain; more than any activation function has, quantised after each step.
const MOST: usize = 32;

/// Tensors that are looked at for one chain: what leads nowhere is looked at again for each operand that reads it.
const LOOKS: usize = 256;

/// Most channels with tables of their own.
const MOST_CHANNELS: usize = 4096;

/// What is computed, as a tree over one activation.
enum Tree {
    Leaf,
    /// One number, or one for each channel.
    Constant(Vec<f32>),
    /// A function of one number.
    Function(Box<dyn Fn(f32) -> f32>, Box<Tree>),
    /// A function of two.
    Binary(fn(f32, f32) -> f32, Box<Tree>, Box<Tree>),
    /// Scale and summand of each channel (BatchNormalization).
    Affine(Vec<f32>, Vec<f32>, Box<Tree>),
}

/// A chain over one activation.
pub(super) struct Chain {
    tree: Tree,
    /// The quantised tensor that it reads.
    pub activation: String,
    /// Its nodes, the last of them first.
    nodes: Vec<usize>,
    channels: usize,
    name: String,
    /// Whether a quantised tensor lies within it.
    within: bool,
}

impl Chain {
    /// The chain that ends in the float tensor `name`: as long as can be, or one without a quantisation within it.
    pub fn find(view: &View, shapes: &Shapes, name: &str) -> Option<Chain> {
        Chain::through(view, shapes, name).or_else(|| Chain::of(view, shapes, name, false))
    }

    /// A chain of functions that all channels share, with a quantised tensor or more within it.
    pub fn through(view: &View, shapes: &Shapes, name: &str) -> Option<Chain> {
        Chain::of(view, shapes, name, true).filter(|chain| chain.channels == 1 && chain.within)
    }

    fn of(view: &View, shapes: &Shapes, name: &str, through: bool) -> Option<Chain> {
        let shape = shapes.get(name)?;
        let (activation, nodes, channels, within, looks) = (None, Vec::new(), 1, false, LOOKS);
        let mut finder = Finder { view, shapes, shape, activation, nodes, channels, through, within, looks };
        let tree = finder.tree(name)?;
        let nodes = finder.nodes;
        let last = view.graph.nodes.get(*nodes.first()?)?;
        let name = last.op.to_lowercase();
        let (channels, within) = (finder.channels, finder.within);
        Some(Chain { tree, activation: finder.activation?, channels, name, nodes, within })
    }

    /// Nodes that nobody reads but the chain and Q node `end`.
    pub fn covers(&self, view: &View, end: usize) -> Vec<usize> {
        let mut covers = HashSet::from([end]);
        // From the end on, so that readers were decided before.
        let mut nodes = self.nodes.clone();
        nodes.sort_unstable_by(|a, b| b.cmp(a));
        nodes.dedup();
        for node in nodes {
            let output = view.graph.nodes[node].output();
            let readers = view.consumers.get(output).map_or(&[][..], Vec::as_slice);
            let inside = readers.iter().all(|r| covers.contains(r));
            if inside && !view.graph.outputs.iter().any(|o| o == output) {
                covers.insert(node);
            }
        }
        covers.remove(&end);
        covers.into_iter().collect()
    }

    /// How many channels have functions of their own; 1 where all have one.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The operator that it ends with.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The result for `x` in channel `channel`.
    pub fn at(&self, channel: usize, x: f32) -> f32 {
        self.tree.at(channel, x)
    }
}

impl Tree {
    fn at(&self, channel: usize, x: f32) -> f32 {
        match self {
            Tree::Leaf => x,
            Tree::Constant(values) => of(values, channel),
            Tree::Function(f, inner) => f(inner.at(channel, x)),
            Tree::Binary(f, a, b) => f(a.at(channel, x), b.at(channel, x)),
            Tree::Affine(scale, summand, inner) => inner.at(channel, x) * of(scale, channel) + of(summand, channel),
        }
    }
}

fn of(values: &[f32], channel: usize) -> f32 {
    if values.len() == 1 { values[0] } else { values[channel] }
}

struct Finder<'a> {
    view: &'a View<'a>,
    shapes: &'a Shapes,
    /// Of the activation and of all that is computed from it.
    shape: &'a [usize],
    activation: Option<String>,
    nodes: Vec<usize>,
    channels: usize,
    /// Whether to look through quantised tensors for what they are functions of.
    through: bool,
    within: bool,
    /// How many tensors may still be looked at.
    looks: usize,
}

impl Finder<'_> {
    fn tree(&mut self, name: &str) -> Option<Tree> {
        self.looks = self.looks.checked_sub(1)?;
        if let Some((q, quant)) = self.view.activation(name) {
            if self.through
                && let Some(tree) = self.behind(q, quant)
            {
                self.within = true;
                return Some(tree);
            }
            // A second activation makes it no function of one number.
            let own = self.activation.get_or_insert_with(|| q.to_string());
            return (own == q && self.shapes.get(name)? == self.shape).then_some(Tree::Leaf);
        }
        if let Some((values, shape)) = f32_values(self.view, name) {
            return self.constant(&values, shape);
        }
        let index = *self.view.producers.get(name)?;
        let node = &self.view.graph.nodes[index];
        if self.nodes.len() >= MOST || node.outputs.len() != 1 || !super::super::graph::is_onnx(&node.domain) {
            return None;
        }
        self.nodes.push(index);
        self.node(node)
    }

    /// What the quantised tensor `q` is a function of; `None`, with nothing noted, where it is none.
    fn behind(&mut self, q: &str, quant: Quant) -> Option<Tree> {
        let index = *self.view.producers.get(q)?;
        // Bytes that are clamped once more are no tensor of their own: what clamps them goes into the layer before.
        let clamp = self.view.graph.nodes[index].input(0).and_then(|x| self.view.producers.get(x));
        let clamp = clamp.map(|clamp| &self.view.graph.nodes[*clamp]);
        if let Some(clamp) = clamp.filter(|clamp| pointwise::bounds(self.view.graph, clamp).is_some())
            && clamp.input(0).and_then(|x| self.view.activation(x)).is_some_and(|(_, own)| own == quant)
        {
            return None;
        }
        let (nodes, activation, channels, within) =
            (self.nodes.len(), self.activation.clone(), self.channels, self.within);
        self.nodes.push(index);
        let tree = self.view.graph.nodes[index].input(0).and_then(|x| self.tree(x));
        match tree {
            // A constant is none, nor what is another map.
            Some(tree) if !matches!(tree, Tree::Constant(_)) && self.nodes.len() <= MOST => {
                Some(Tree::Function(Box::new(move |x| quant.dequantise(quant.quantise(x))), Box::new(tree)))
            }
            _ => {
                self.nodes.truncate(nodes);
                (self.activation, self.channels, self.within) = (activation, channels, within);
                None
            }
        }
    }

    fn constant(&mut self, values: &[f32], shape: &[usize]) -> Option<Tree> {
        if values.len() != 1 {
            // Along the channels: the second dimension of a map, the last of anything else, a batch of maps too.
            let map = self.shape.len() == 4 && self.shape[0] == 1;
            let axis = if map { 1 } else { self.shape.len().checked_sub(1)? };
            let behind = self.shape.len() - axis;
            let place = shape.len().checked_sub(behind)?;
            if shape.len() > self.shape.len() || shape[place] != values.len() || shape[place] != self.shape[axis] {
                return None;
            }
            self.per_channel(values.len())?;
        }
        Some(Tree::Constant(values.to_vec()))
    }

    fn per_channel(&mut self, n: usize) -> Option<()> {
        self.channels = n;
        (n <= MOST_CHANNELS).then_some(())
    }

    fn node(&mut self, node: &Node) -> Option<Tree> {
        let graph = self.view.graph;
        if let "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "PRelu" = node.op.as_str() {
            let [a, b] = [node.input(0)?, node.input(1).filter(|_| node.inputs.len() == 2)?];
            let (a, b) = (self.tree(a)?, self.tree(b)?);
            let f: fn(f32, f32) -> f32 = match node.op.as_str() {
                "Add" => |a, b| a + b,
                "Sub" => |a, b| a - b,
                "Mul" => |a, b| a * b,
                "Div" => |a, b| a / b,
                "Pow" => |a, b| if b == 2.0 { a * a } else { f64::from(a).powf(f64::from(b)) as f32 },
                "Min" => f32::min,
                "Max" => f32::max,
                _ => |x, slope| if x < 0.0 { slope * x } else { x },
            };
            return Some(Tree::Binary(f, Box::new(a), Box::new(b)));
        }
        if node.is("BatchNormalization") {
            let mut parameters = Vec::new();
            for i in 1..5 {
                parameters.push(f32_values(self.view, node.input(i)?)?.0.into_owned());
            }
            let [scale, bias, mean, variance] = &parameters[..] else { return None };
            let n = scale.len();
            if parameters.iter().any(|p| p.len() != n) || !matches!(*self.shape, [1, c, _, _] if c == n) || n == 0 {
                return None;
            }
            self.per_channel(n)?;
            let epsilon = node.float("epsilon", 1e-5);
            let scale: Vec<f32> = scale.iter().zip(variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
            let summand = bias.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
            return Some(Tree::Affine(scale, summand, Box::new(self.tree(node.input(0)?)?)));
        }
        if node.is(DEQUANTISE) {
            // Quantised and dequantised within the chain.
            let q = *self.view.producers.get(node.input(0)?)?;
            let quantiser = &graph.nodes[q];
            let dq = self.view.producers.get(node.output())?;
            let from = self.view.params(q).filter(|_| quantiser.is(QUANTISE))?.activation()?;
            let to = self.view.params(*dq)?.activation()?;
            self.nodes.push(q);
            let inner = self.tree(quantiser.input(0)?)?;
            return Some(Tree::Function(Box::new(move |x| to.dequantise(from.quantise(x))), Box::new(inner)));
        }
        if node.is(QUANTISE) {
            return None;
        }
        let function = match node.op.as_str() {
            "Identity" => Box::new(|x| x),
            _ => pointwise::function(graph, node).or_else(|| pointwise::more(node))?,
        };
        Some(Tree::Function(function, Box::new(self.tree(node.input(0)?)?)))
    }
}
