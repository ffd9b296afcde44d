//! Factors of channels that stand apart from the weights of a convolution, put into their scales: a BatchNormalization
//! behind it, and activations with a scale for each channel around a depthwise one (NNCF writes both).
//!
//! A scale times a factor is a scale, so weights, bytes and sums stay what they are.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::graph::{Const, Graph, Node, Values, is_onnx};
use super::super::operators::{DEQUANTISE, QUANTISE};
use super::super::origin::Raw;
use super::super::quantised::{QConst, View, f32_values};

/// Factors and scales beyond these are no network's, and their products could leave f32.
const FACTORS: RangeInclusive<f32> = 1e-6..=1e6;
const SCALES: RangeInclusive<f32> = 1e-15..=1e15;

/// Puts in what can be put in.
pub(super) fn put_in(graph: &mut Graph) {
    let change = {
        let view = View::new(graph);
        let mut change = Change::default();
        change.normalisations(&view);
        change.activations(&view);
        change.write_weights(&view);
        change
    };
    change.apply(graph);
}

/// What each output channel of a convolution is multiplied with, and what is added then.
struct Factors {
    /// Of the weights: negative turns them, 0 makes them 0.
    weights: Vec<f32>,
    /// Of the bias.
    bias: Vec<f32>,
    summand: Option<Vec<f32>>,
}

#[derive(Default)]
struct Change {
    /// By index of the convolution's node.
    convs: HashMap<usize, Factors>,
    consts: HashMap<String, Arc<Const<'static>>>,
    /// Nodes that go.
    gone: Vec<usize>,
    /// Nodes that come before the one with this index, and nodes that stand in its place.
    before: HashMap<usize, Vec<Node>>,
    instead: HashMap<usize, Vec<Node>>,
    /// Another input of a node.
    inputs: HashMap<(usize, usize), String>,
    /// Another output of a node.
    outputs: HashMap<usize, String>,
}

/// Quantised constant weights of a convolution, and how many channels it computes; `None` where their scales lie along
/// another dimension.
fn weights<'a>(view: &View<'a>, node: &Node) -> Option<(QConst<'a>, usize)> {
    let transposed = node.is("ConvTranspose");
    let is_one = node.is("Conv") || transposed && node.int("group", 1) == 1;
    if !is_one || node.outputs.len() != 1 {
        return None;
    }
    let constant = view.constant(node.input(1)?)?;
    let axis = usize::from(transposed);
    let channels = *constant.value.shape.get(axis)?;
    constant.scales(channels, axis)?.iter().all(|s| SCALES.contains(s)).then_some(())?;
    match node.input(2) {
        Some(bias) if f32_values(view, bias)?.0.len() != channels => None,
        _ => (channels > 0).then_some((constant, channels)),
    }
}

impl Factors {
    fn none(channels: usize) -> Factors {
        Factors { weights: vec![1.0; channels], bias: vec![1.0; channels], summand: None }
    }

    /// All that the convolution computes, times `factors`.
    fn scale(&mut self, factors: &[f32]) {
        let summand = self.summand.as_mut().into_iter().flatten().zip(factors);
        let own = self.weights.iter_mut().zip(factors).chain(self.bias.iter_mut().zip(factors));
        own.chain(summand).for_each(|(own, factor)| *own *= factor);
    }
}

impl Change {
    fn factors(&mut self, conv: usize, channels: usize) -> &mut Factors {
        self.convs.entry(conv).or_insert_with(|| Factors::none(channels))
    }

    /// BatchNormalizations that are the only readers of a convolution.
    fn normalisations(&mut self, view: &View) {
        for (index, node) in view.graph.nodes.iter().enumerate() {
            if !node.is("BatchNormalization") || node.outputs.len() != 1 {
                continue;
            }
            let Some((conv, channels, scale, summand)) = normalisation(view, index, node) else { continue };
            let factors = self.factors(conv, channels);
            factors.scale(&scale);
            factors.summand = Some(summand);
            self.gone.push(index);
            self.outputs.insert(conv, node.output().to_string());
        }
    }

    /// Activations with a scale for each channel that a depthwise convolution reads.
    fn activations(&mut self, view: &View) {
        for (index, node) in view.graph.nodes.iter().enumerate() {
            if node.is(QUANTISE)
                && let Some(params) = view.params(index).filter(|p| p.scales.len() > 1)
                && params.axis == 1
                && params.zeros.iter().all(|z| *z == params.zeros[0])
            {
                self.activation(view, index, &params.scales);
            }
        }
    }

    fn activation(&mut self, view: &View, index: usize, scales: &[f32]) -> Option<()> {
        let graph = view.graph;
        let (node, own) = (&graph.nodes[index], view.params(index)?);
        let readers = view.consumers.get(node.output())?;
        let twins = readers.iter().all(|r| graph.nodes[*r].is(DEQUANTISE) && view.params(*r).as_ref() == Some(&own));
        if !twins || graph.outputs.iter().any(|o| o == node.output()) {
            return None;
        }
        let depthwise = |reader: usize, twin: &str| {
            let conv = &graph.nodes[reader];
            let (constant, channels) = weights(view, conv).filter(|_| conv.is("Conv"))?;
            let each = conv.int("group", 1) == scales.len() as i64 && constant.value.shape.get(1) == Some(&1);
            (each && channels % scales.len() == 0 && conv.input(0) == Some(twin)).then_some(channels)
        };
        let of_twin = |r: usize| view.consumers.get(graph.nodes[r].output()).map_or(&[][..], Vec::as_slice);
        let dense = readers.iter().flat_map(|r| of_twin(*r).iter().map(|reader| (*r, *reader)));
        let (_, conv) = dense.clone().find(|(r, c)| depthwise(*c, graph.nodes[*r].output()).is_some())?;
        let rank = view.constant(graph.nodes[conv].input(1)?)?.value.shape.len();
        // One scale for all: the largest.
        let one = scales.iter().copied().fold(0.0, f32::max);
        scales.iter().all(|s| FACTORS.contains(&(s / one))).then_some(())?;
        let base = node.output().to_string();
        let named = |what: &str| format!("{base}/oltr.{what}");
        let zero = graph.consts.get(node.input(2)?)?.with_integers(&[], &own.zeros[..1])?;
        let mut per_channel = vec![1; rank - 1];
        per_channel[0] = scales.len();
        self.consts.insert(named("scale"), Const::floats(&[], vec![one]));
        self.consts.insert(named("zero"), Arc::new(zero));
        let (scale, zero) = (named("scale"), named("zero"));

        // What computes it gives the numbers that one scale quantises to the same bytes.
        let up: Vec<f32> = scales.iter().map(|s| one / s).collect();
        let mut quantised = node.inputs[0].clone();
        match homogeneous(view, &quantised).filter(|(_, channels)| *channels == scales.len()) {
            Some((conv, channels)) => self.factors(conv, channels).scale(&up),
            None => {
                self.consts.insert(named("up"), Const::floats(&per_channel, up));
                let scaled = named("scaled");
                let mul = Node::new("Mul", &scaled, &[&quantised, &named("up")], &scaled);
                self.before.entry(index).or_default().push(mul);
                quantised = scaled;
            }
        }
        self.instead.insert(index, vec![Node::new(QUANTISE, &node.name, &[&quantised, &scale, &zero], &base)]);

        // What reads it takes the factor back: depthwise convolutions in their weights, all others as a product.
        let down: Vec<f32> = scales.iter().map(|s| s / one).collect();
        self.consts.insert(named("down"), Const::floats(&per_channel, down.clone()));
        for reader in readers {
            let twin = graph.nodes[*reader].output();
            let bytes = format!("{twin}/oltr.one");
            let mut nodes = vec![Node::new(DEQUANTISE, &bytes, &[&base, &scale, &zero], &bytes)];
            let mut all = !graph.outputs.iter().any(|o| o == twin);
            for conv in of_twin(*reader) {
                match depthwise(*conv, twin) {
                    Some(channels) => {
                        self.inputs.insert((*conv, 0), bytes.clone());
                        let each = channels / scales.len();
                        let factors = self.factors(*conv, channels);
                        factors.weights.iter_mut().enumerate().for_each(|(o, w)| *w *= down[o / each]);
                    }
                    None => all = false,
                }
            }
            if !all {
                nodes.push(Node::new("Mul", twin, &[&bytes, &named("down")], twin));
            }
            self.instead.insert(*reader, nodes);
        }
        Some(())
    }

    /// Constants and nodes of the convolutions whose weights got factors.
    fn write_weights(&mut self, view: &View) {
        for (conv, factors) in std::mem::take(&mut self.convs) {
            // What was put in before cannot be left out again: all that was looked at can be written.
            self.conv(view, conv, factors);
        }
    }

    fn conv(&mut self, view: &View, conv: usize, factors: Factors) -> Option<()> {
        let node = &view.graph.nodes[conv];
        let (constant, channels) = weights(view, node)?;
        let axis = usize::from(node.is("ConvTranspose"));
        let name = format!("{}/oltr.weights", node.output());
        let own = constant.scales(channels, axis)?;
        let scale = own.iter().zip(&factors.weights).map(|(s, f)| if *f == 0.0 { *s } else { s * f.abs() }).collect();
        let turned = factors.weights.iter().any(|f| *f <= 0.0);
        let values = match turned {
            true => {
                let values = turned_values(&constant, &factors.weights, axis)?;
                self.consts.insert(format!("{name}.turned"), Arc::new(values));
                format!("{name}.turned")
            }
            false => constant.name.to_string(),
        };
        let zeros: Vec<i32> = match &constant.params.zeros[..] {
            [one] => vec![*one; channels],
            many => many.to_vec(),
        };
        let dq = &view.graph.nodes[*view.producers.get(node.input(1)?)?];
        let zero = view.graph.consts.get(dq.input(2)?)?.with_integers(&[channels], &zeros)?;
        let (own_scale, own_zero) = (format!("{name}.scale"), format!("{name}.zero"));
        let weights =
            Node::new(DEQUANTISE, &name, &[&values, &own_scale, &own_zero], &name).with_int("axis", axis as i64);
        self.consts.insert(own_scale, Const::floats(&[channels], scale));
        self.consts.insert(own_zero, Arc::new(zero));
        self.before.entry(conv).or_default().push(weights);
        self.inputs.insert((conv, 1), name);

        let changes = factors.summand.is_some() || factors.bias.iter().any(|f| *f != 1.0);
        if changes && (node.input(2).is_some() || factors.summand.is_some()) {
            let bias = match node.input(2) {
                Some(bias) => f32_values(view, bias)?.0.into_owned(),
                None => vec![0.0; channels],
            };
            let summand = factors.summand.unwrap_or_else(|| vec![0.0; channels]);
            let bias = bias.iter().zip(&factors.bias).zip(summand).map(|((b, f), s)| b * f + s).collect();
            let name = format!("{}/oltr.bias", node.output());
            self.consts.insert(name.clone(), Const::floats(&[channels], bias));
            self.inputs.insert((conv, 2), name);
        }
        Some(())
    }

    fn apply(mut self, graph: &mut Graph) {
        graph.consts.extend(self.consts.drain());
        let nodes = std::mem::take(&mut graph.nodes);
        for (index, mut node) in nodes.into_iter().enumerate() {
            graph.nodes.extend(self.before.remove(&index).into_iter().flatten());
            if let Some(instead) = self.instead.remove(&index) {
                graph.nodes.extend(instead);
                continue;
            }
            if self.gone.contains(&index) {
                continue;
            }
            for input in 0..3 {
                if let Some(name) = self.inputs.remove(&(index, input)) {
                    node.inputs.resize(node.inputs.len().max(input + 1), String::new());
                    node.inputs[input] = name;
                }
            }
            if let Some(output) = self.outputs.remove(&index) {
                node.outputs = vec![output];
            }
            graph.nodes.push(node);
        }
    }
}

/// The convolution before a BatchNormalization, its channels, and the normalisation's factor and summand of each.
fn normalisation(view: &View, index: usize, node: &Node) -> Option<(usize, usize, Vec<f32>, Vec<f32>)> {
    let conv = *view.producers.get(node.input(0)?)?;
    let before = &view.graph.nodes[conv];
    let (constant, channels) = weights(view, before)?;
    if !is_onnx(&before.domain) || view.only_consumer(before.output()) != Some(index) {
        return None;
    }
    let parameter = |i: usize| f32_values(view, node.input(i)?).map(|(values, _)| values);
    let [scale, bias, mean, variance] = [parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?];
    if [&scale, &bias, &mean, &variance].iter().any(|p| p.len() != channels) {
        return None;
    }
    let epsilon = node.float("epsilon", 1e-5);
    let factors: Vec<f32> = scale.iter().zip(&*variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let summand: Vec<f32> = bias.iter().zip(&*mean).zip(&factors).map(|((b, m), f)| b - m * f).collect();
    let axis = usize::from(before.is("ConvTranspose"));
    let fine = factors.iter().all(|f| *f == 0.0 || FACTORS.contains(&f.abs()));
    // Weights of which one cannot be turned stay apart.
    (fine && summand.iter().all(|s| s.is_finite()) && turned_values(&constant, &factors, axis).is_some())
        .then_some((conv, channels, factors, summand))
}

/// The convolution whose result, times a positive factor for each channel, makes `name` as many times as large.
fn homogeneous(view: &View, name: &str) -> Option<(usize, usize)> {
    let index = *view.producers.get(name)?;
    let node = &view.graph.nodes[index];
    match node.op.as_str() {
        "Relu" | "BatchNormalization" => {
            view.only_consumer(name)?;
            // A normalisation is looked through where it goes into the weights.
            let goes = node.op == "Relu" || normalisation(view, index, node).is_some();
            homogeneous(view, node.input(0).filter(|_| goes)?)
        }
        "Conv" | "ConvTranspose" => {
            view.only_consumer(name)?;
            Some((index, weights(view, node)?.1))
        }
        _ => None,
    }
}

/// Weights turned round their zero point where their channel's factor is negative, and on it where that is 0; `None` where
/// one leaves its type.
fn turned_values(constant: &QConst, factors: &[f32], axis: usize) -> Option<Const<'static>> {
    let (shape, zeros) = (&constant.value.shape, &constant.params.zeros);
    let inner = shape[axis + 1..].iter().product::<usize>().max(1);
    let values: Vec<i32> = constant.value.as_integers()?;
    let channel = |i: usize| i / inner % factors.len();
    let zero = |i: usize| if zeros.len() == 1 { zeros[0] } else { zeros[channel(i)] };
    let turned = values.iter().enumerate().map(|(i, v)| match factors[channel(i)] {
        f if f > 0.0 => *v,
        0.0 => zero(i),
        _ => 2 * zero(i) - v,
    });
    constant.value.with_integers(shape, &turned.collect::<Vec<i32>>())
}

impl Const<'_> {
    /// A constant of the same type with other bytes; `None` where one does not fit, or it has no bytes.
    fn with_integers(&self, shape: &[usize], values: &[i32]) -> Option<Const<'static>> {
        let bytes: Option<Vec<u8>> = match &self.values {
            Values::U8(_) => values.iter().map(|v| u8::try_from(*v).ok()).collect(),
            Values::I8(_) => values.iter().map(|v| i8::try_from(*v).ok().map(|v| v as u8)).collect(),
            _ => None,
        };
        let raw = Raw::Own(bytes?);
        let values = if self.values.dtype() == "u8" { Values::U8(raw) } else { Values::I8(raw) };
        Some(Const { shape: shape.to_vec(), values })
    }
}
