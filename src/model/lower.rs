//! From a graph in normal form to int8 programs and the float remainder.
//!
//! Quantised operators become units ([`units`]), and with them the float operators that hang on them ([`float`]). A
//! unit's level counts the programs that any path to it has already passed through, so that all units of one level can
//! run as one program: whatever lies between two units of a level on any path is of that level too. What no unit
//! covers stays in the graph, with one node a program.

mod averages;
mod chain;
mod emit;
mod failure;
mod float;
mod float_op;
mod kept;
mod moves;
mod norm;
mod pointwise;
mod product;
mod resize;
mod scales;
mod transposed;
mod units;
mod weights;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::coverage::{self, Coverage};
use super::graph::{Const, Graph, Node};
use super::operators::{DEQUANTISE, PROGRAM, QUANTISE};
use super::quantised::{View, entry};
use super::shapes;
use crate::error::{Error, Result};
pub(super) use emit::Part;
use oltr_int8::kernels::KernelSet;
use units::{Operand, Sink, Unit};

/// Compiles what is quantised and replaces it in the graph by program nodes, whose attribute `index` counts the
/// parts that come back.
pub(super) fn lower(graph: &mut Graph, kernels: &'static dyn KernelSet) -> Result<(Vec<Part>, Coverage)> {
    scales::put_in(graph);
    kept::write_out(graph);
    let shapes = shapes::infer(graph);
    let (parts, covered, coverage, averages) = {
        let view = View::new(graph);
        let mut units = units::find(&view, &shapes);
        units.retain(|u| emit::can(&view, &shapes, u));
        units.extend(float::find(&view, &shapes, &units));
        units.sort_by_key(|u| u.node);
        level(&view, &mut units);
        let covered: HashSet<usize> = units.iter().flat_map(|u| u.covers.iter().copied()).collect();
        let levels = units.iter().map(|u| u.level + 1).max().unwrap_or(0);
        let mut parts = Vec::new();
        let outputs = outputs(&view, &units, &covered, levels);
        for (l, outputs) in outputs.iter().enumerate() {
            if units.iter().any(|u| u.level == l) {
                parts.push(emit::program(&view, &shapes, &units, l, outputs, kernels)?);
            }
        }
        let int8 = units.iter().filter(|u| u.kind.multiplies()).map(|u| u.node).collect();
        (parts, covered, coverage::of(graph, &shapes, &int8, true), averages::find(&view))
    };
    // Bytes that only programs read leave with the units; their dequantised twins are computed by the programs.
    let computed: HashSet<&String> = parts.iter().flat_map(|p| &p.outputs).collect();
    let mut index = 0;
    graph.nodes.retain(|node| {
        let keep = !covered.contains(&index) && !node.outputs.iter().any(|o| computed.contains(o));
        index += 1;
        keep
    });
    for (i, part) in parts.iter().enumerate() {
        let mut node = Node::new(PROGRAM, "", &[], "").with_int("index", i as i64);
        node.inputs.clone_from(&part.inputs);
        node.outputs.clone_from(&part.outputs);
        graph.nodes.push(node);
    }
    averages::settle(graph, &averages);
    prune(graph);
    sort(graph)?;
    Ok((parts, coverage))
}

/// Sets the level of each unit.
fn level(view: &View, units: &mut [Unit]) {
    let of_node: HashMap<usize, usize> = units.iter().enumerate().map(|(i, u)| (u.node, i)).collect();
    let covered: HashSet<usize> = units.iter().flat_map(|u| u.covers.iter().copied()).collect();
    // Level of the unit that computes a quantised tensor, and programs passed before a float one.
    let mut of_bytes: HashMap<String, usize> = HashMap::new();
    let mut levels: HashMap<String, usize> = HashMap::new();
    let mut depth: HashMap<&str, usize> = HashMap::new();
    for (i, node) in view.graph.nodes.iter().enumerate() {
        let read = |name: &String| depth.get(name.as_str()).copied().unwrap_or(0);
        if let Some(u) = of_node.get(&i) {
            let unit = &mut units[*u];
            let operand = |operand: &Operand| match operand {
                Operand::Activation(q) => of_bytes.get(q).copied().unwrap_or_else(|| read(&entry(view, q).1)),
                Operand::F32(name) => levels.get(name).copied().unwrap_or_else(|| read(name)),
                Operand::Constant(_) | Operand::ConstantF32(_) => 0,
            };
            unit.level = unit.operands.iter().map(operand).max().unwrap_or(0);
            match &unit.sink {
                Sink::Bytes { name, .. } => of_bytes.insert(name.clone(), unit.level),
                Sink::F32(name) => levels.insert(name.clone(), unit.level),
            };
            depth.insert(node.output(), unit.level + 1);
        } else if node.is(DEQUANTISE) && of_bytes.contains_key(&node.inputs[0]) {
            depth.insert(node.output(), of_bytes[&node.inputs[0]] + 1);
        } else if !covered.contains(&i) {
            let deepest = node.inputs.iter().map(read).max().unwrap_or(0);
            for output in &node.outputs {
                depth.insert(output, deepest);
            }
        }
    }
}

/// Float tensors that units of each of `levels` compute and something else reads.
fn outputs(view: &View, units: &[Unit], covered: &HashSet<usize>, levels: usize) -> Vec<Vec<String>> {
    let unit_of: HashMap<usize, &Unit> = units.iter().map(|u| (u.node, u)).collect();
    let of_graph: HashSet<&str> = view.graph.outputs.iter().map(String::as_str).collect();
    let read_outside = |name: &str, level: usize| {
        let readers = view.consumers.get(name).map_or(&[][..], Vec::as_slice);
        let outside = |r: &usize| match unit_of.get(r) {
            // Weights and biases are read by name; activations of the same level stay inside.
            Some(unit) => unit.level != level,
            None => !covered.contains(r),
        };
        of_graph.contains(name) || readers.iter().any(outside)
    };
    let mut names = vec![Vec::new(); levels];
    for unit in units {
        let names = &mut names[unit.level];
        match &unit.sink {
            Sink::F32(name) if read_outside(name, unit.level) => names.push(name.clone()),
            Sink::F32(_) => {}
            Sink::Bytes { name, .. } => {
                for r in view.consumers.get(name.as_str()).map_or(&[][..], Vec::as_slice) {
                    let twin = view.graph.nodes[*r].output();
                    if read_outside(twin, unit.level) {
                        names.push(twin.to_string());
                    }
                }
            }
        }
    }
    names
}

/// Removes nodes that compute nothing that is read.
pub(super) fn prune(graph: &mut Graph) {
    let keep = {
        let producers = graph.producers();
        let mut keep = vec![false; graph.nodes.len()];
        let mut needed: Vec<usize> = graph.outputs.iter().filter_map(|o| producers.get(o.as_str()).copied()).collect();
        while let Some(node) = needed.pop() {
            if !std::mem::replace(&mut keep[node], true) {
                let inputs = &graph.nodes[node].inputs;
                needed.extend(inputs.iter().filter_map(|i| producers.get(i.as_str()).copied()));
            }
        }
        keep
    };
    let mut kept = keep.into_iter();
    graph.nodes.retain(|_| kept.next().unwrap_or(true));
}

/// Puts the nodes into an order in which each comes after what it reads, otherwise as they were.
///
/// # Errors
/// If there is none: levels keep programs free of cycles, so that would be a fault of this module.
fn sort(graph: &mut Graph) -> Result<()> {
    // What each node still waits for, and who waits for it.
    let mut missing = vec![0usize; graph.nodes.len()];
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len()];
    {
        let producers = graph.producers();
        for (i, node) in graph.nodes.iter().enumerate() {
            for input in node.inputs.iter().filter_map(|i| producers.get(i.as_str())) {
                missing[i] += 1;
                waiting[*input].push(i);
            }
        }
    }
    // Of those that can run the first comes next.
    let mut ready: BinaryHeap<Reverse<usize>> = (0..missing.len()).filter(|i| missing[*i] == 0).map(Reverse).collect();
    let mut nodes: Vec<Option<Node>> = std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    while let Some(Reverse(next)) = ready.pop() {
        graph.nodes.extend(nodes[next].take());
        for waits in std::mem::take(&mut waiting[next]) {
            missing[waits] -= 1;
            if missing[waits] == 0 {
                ready.push(Reverse(waits));
            }
        }
    }
    match nodes.into_iter().flatten().next() {
        Some(left) => Err(Error::Internal(format!("lowering left node '{}' in a cycle", left.label()))),
        None => Ok(()),
    }
}

/// Replaces dequantised constants by float constants, so that tract does not compute them at every run.
pub(super) fn fold_constants(graph: &mut Graph) {
    let mut folded = Vec::new();
    {
        let view = View::new(graph);
        for (i, node) in graph.nodes.iter().enumerate().filter(|(_, n)| n.is(DEQUANTISE)) {
            let Some(constant) = view.constant(node.output()) else { continue };
            let Some(f32_values) = constant.f32_values() else { continue };
            let shape = &constant.value.shape;
            folded.push((i, node.output().to_string(), Const::floats(shape, f32_values)));
        }
    }
    let gone: HashSet<usize> = folded.iter().map(|f| f.0).collect();
    graph.consts.extend(folded.into_iter().map(|(_, name, value)| (name, value)));
    let mut index = 0;
    graph.nodes.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
}

/// Whether the graph quantises anything. The bytes of a metric, which `oltr adopt` appends to float classifiers too, do not
/// count: what reads them was never meant for integers.
pub(super) fn is_quantised(graph: &Graph) -> bool {
    let of_metric = |n: &Node| n.output().starts_with(crate::adopt::metric::PREFIX);
    graph.nodes.iter().any(|n| n.is(QUANTISE) || n.is(DEQUANTISE) && !of_metric(n))
}
