//! Steps by channel behind a transposition to channels last, put before it.
//!
//! Exports of TensorFlow's graphs by other tools leave a normalisation as Add, Sub and Mul of one number a channel between
//! Conv, Transpose and Relu. tract takes the last of them for the bias of the convolution, in a form that its convolution
//! refuses. In front of the transposition it takes them as they are.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Const, Graph, Node, Values};

/// From channels first to channels last.
const TO_LAST: [i64; 4] = [0, 2, 3, 1];

/// ONNX's number of float32.
const FLOAT: i64 = 1;

/// Puts in front what can be put in front.
pub(super) fn put_first(graph: &mut Graph) {
    let chains = {
        let producers = graph.producers();
        let consumers = graph.consumers();
        let only_reader = |value: &str| match consumers.get(value).map(Vec::as_slice) {
            Some([reader]) if !graph.outputs.iter().any(|o| o == value) => Some(*reader),
            _ => None,
        };
        let mut chains: Vec<(usize, Vec<usize>)> = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let behind_conv =
                node.input(0).and_then(|x| producers.get(x)).is_some_and(|i| is_float_conv(graph, &graph.nodes[*i]));
            if !(behind_conv && node.is("Transpose") && node.ints("perm") == Some(&TO_LAST)) {
                continue;
            }
            let mut chain = Vec::new();
            let mut value = node.output();
            while let Some(reader) = only_reader(value) {
                let node = &graph.nodes[reader];
                if !(is_idle(node) || constant(graph, node, value).is_some()) {
                    break;
                }
                chain.push(reader);
                value = node.output();
            }
            // A single Add is a bias that tract knows.
            if chain.iter().filter(|i| !is_idle(&graph.nodes[**i])).count() > 1 {
                chains.push((index, chain));
            }
        }
        chains
    };
    let mut gone = vec![false; graph.nodes.len()];
    let mut consts: HashMap<String, Arc<Const>> = HashMap::new();
    for (transposition, chain) in chains {
        let mut turn = graph.nodes[transposition].clone();
        let mut before = turn.output().to_string();
        let mut first = turn.inputs[0].clone();
        // Each step takes the place of the one before, and the transposition that of the last.
        let mut place = transposition;
        for index in chain {
            let mut step = graph.nodes[index].clone();
            let after = step.output().to_string();
            if !is_idle(&step) {
                let Some((side, value)) = constant(graph, &step, &before) else { continue };
                let name = format!("{after}.channels");
                consts.insert(name.clone(), value);
                step.inputs[side] = name;
                step.inputs[1 - side] = std::mem::replace(&mut first, format!("{after}.first"));
                step.outputs[0] = first.clone();
                graph.nodes[place] = step;
                gone[place] = false;
                place = index;
            }
            gone[index] = true;
            before = after;
        }
        turn.inputs[0] = first;
        turn.outputs[0] = before;
        graph.nodes[place] = turn;
        gone[place] = false;
    }
    graph.consts.extend(consts);
    let mut gone = gone.into_iter();
    graph.nodes.retain(|_| !gone.next().unwrap_or(false));
}

/// A convolution of float32.
fn is_float_conv(graph: &Graph, node: &Node) -> bool {
    let weights = node.input(1).and_then(|w| graph.consts.get(w));
    node.is("Conv") && weights.is_some_and(|w| w.as_f32().is_some())
}

/// A cast of float32 to float32.
fn is_idle(node: &Node) -> bool {
    node.is("Cast") && node.int("to", 0) == FLOAT || node.is("Identity")
}

/// Which input of a step by channel is its constant, and that constant for channels first.
fn constant(graph: &Graph, node: &Node, value: &str) -> Option<(usize, Arc<Const<'static>>)> {
    let known = ["Add", "Sub", "Mul"].iter().any(|op| node.is(op));
    let [a, b] = &node.inputs[..] else { return None };
    let side = match (a == value, b == value) {
        (true, false) => 1,
        (false, true) => 0,
        _ => return None,
    };
    let constant = graph.consts.get(&node.inputs[side]).filter(|_| known)?;
    let (last, others) = constant.shape.split_last()?;
    if others.len() > 3 || others.iter().any(|d| *d != 1) || !matches!(constant.values, Values::F32(_)) {
        return None;
    }
    Some((side, Const::floats(&[*last, 1, 1], constant.as_f32()?.into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Conv, Transpose, then `steps` of a constant of this shape each.
    fn graph(steps: &[(&str, &[usize])]) -> Graph<'static> {
        let mut graph = Graph { outputs: vec!["out".into()], ..Graph::default() };
        graph.nodes.push(Node::new("Conv", "", &["x", "w"], "c"));
        graph.nodes.push(Node::new("Transpose", "", &["c"], "v0").with_ints("perm", &TO_LAST));
        graph.consts.insert("w".into(), Const::floats(&[2, 1, 1, 1], vec![1.0, 2.0]));
        for (i, (op, shape)) in steps.iter().enumerate() {
            let (from, to) = (format!("v{i}"), format!("v{}", i + 1));
            let volume = shape.iter().product();
            graph.consts.insert(format!("k{i}"), Const::floats(shape, vec![i as f32; volume]));
            let inputs = if *op == "Sub" { [format!("k{i}"), from] } else { [from, format!("k{i}")] };
            let node = match *op {
                "Cast" => Node::new("Cast", "", &[&inputs[0]], &to).with_int("to", FLOAT),
                op => Node::new(op, "", &[&inputs[0], &inputs[1]], &to),
            };
            graph.nodes.push(node);
        }
        graph.nodes.push(Node::new("Relu", "", &[&format!("v{}", steps.len())], "out"));
        graph
    }

    fn ops(graph: &Graph) -> String {
        let said = |n: &Node| format!("{}({})={}", n.op, n.inputs.join(","), n.output());
        graph.nodes.iter().map(said).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn steps_by_channel_come_before_the_transposition() {
        let channel: &[usize] = &[1, 1, 1, 2];
        let mut of = graph(&[("Add", channel), ("Cast", channel), ("Sub", &[2]), ("Mul", &[1])]);
        put_first(&mut of);
        assert_eq!(
            ops(&of),
            "Conv(x,w)=c Add(c,v1.channels)=v1.first Sub(v3.channels,v1.first)=v3.first \
             Mul(v3.first,v4.channels)=v4.first Transpose(v4.first)=v4 Relu(v4)=out"
        );
        let shapes: Vec<&[usize]> = ["v1", "v3", "v4"].map(|v| &of.consts[&format!("{v}.channels")].shape[..]).into();
        assert_eq!(shapes, [&[2, 1, 1], &[2, 1, 1], &[1, 1, 1]]);
    }

    #[test]
    fn what_is_no_such_chain_stays() {
        let channel: &[usize] = &[1, 1, 1, 2];
        let stays = |graph: Graph<'static>| {
            let mut after = graph.clone();
            put_first(&mut after);
            assert_eq!(ops(&after), ops(&graph));
        };
        stays(graph(&[("Add", channel)]));
        stays(graph(&[("Add", channel), ("Cast", channel)]));
        // Not by channel: the map's own rows, and a rank beyond that of the map.
        stays(graph(&[("Add", &[1, 3, 1, 2]), ("Mul", channel)]));
        stays(graph(&[("Add", &[1, 1, 1, 1, 2]), ("Mul", channel)]));
        // Read by others, or given out.
        let mut read = graph(&[("Add", channel), ("Mul", channel)]);
        read.outputs.push("v1".into());
        stays(read);
        // Another transposition; weights that are computed.
        let mut other = graph(&[("Add", channel), ("Mul", channel)]);
        other.nodes[1] = Node::new("Transpose", "", &["c"], "v0").with_ints("perm", &[0, 3, 1, 2]);
        stays(other);
        let mut computed = graph(&[("Add", channel), ("Mul", channel)]);
        computed.consts.remove("w");
        stays(computed);
    }
}
