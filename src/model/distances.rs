//! Distances to the centroids in one pass.
//!
//! Exporters write ‖v − c_k‖₂ as a chain over a K×D tensor of differences: Sub, Mul (or Pow), ReduceSum, Sqrt, or
//! Sub and ReduceL2. Here the chain becomes one operator that reads the centroids once and stores nothing.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, TypedFact, TypedOp, as_op, not_out_of_plan, op_as_typed_op,
};
use tract_onnx::tract_hir::infer::{InferenceOp, InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::internal::{Expansion, expand};

use super::graph::{Graph, Node};
use super::operators::DISTANCES;
use super::quantised::{View, constant_shape};
use super::shapes::{self, axes};
use oltr_int8::float::distances;

/// Replaces each chain of the graph by one node.
pub(super) fn fuse(graph: &mut Graph) {
    let shapes = shapes::infer(graph);
    let view = View::new(graph);
    let mut gone = vec![false; graph.nodes.len()];
    let mut fused: HashMap<usize, Node> = HashMap::new();
    for i in 0..graph.nodes.len() {
        if let Some((nodes, node)) = chain(&view, &shapes, i) {
            nodes.iter().for_each(|n| gone[*n] = true);
            fused.insert(i, node);
        }
    }
    let nodes = std::mem::take(&mut graph.nodes);
    let replaced = nodes.into_iter().enumerate().filter_map(|(i, n)| fused.remove(&i).or((!gone[i]).then_some(n)));
    graph.nodes = replaced.collect();
}

/// The chain that ends at node `end`: its nodes, and the node to put in place of the last.
fn chain(view: &View, shapes: &shapes::Shapes, end: usize) -> Option<(Vec<usize>, Node)> {
    let graph = view.graph;
    let by = |name: &str, readers: usize| {
        let hidden = !graph.outputs.iter().any(|o| o == name);
        let index = *view.producers.get(name)?;
        (hidden && view.consumers.get(name)?.len() == readers).then_some(index)
    };
    let last = &graph.nodes[end];
    let (sum, difference, mut nodes) = if last.is("ReduceL2") {
        (end, by(last.input(0)?, 1)?, vec![end])
    } else {
        last.is("Sqrt").then_some(())?;
        let sum = by(last.input(0)?, 1)?;
        graph.nodes[sum].is("ReduceSum").then_some(())?;
        let square = by(graph.nodes[sum].input(0)?, 1)?;
        let node = &graph.nodes[square];
        let squares = match node.op.as_str() {
            "Mul" => node.inputs[0] == node.inputs[1],
            "Pow" => graph.consts.get(node.input(1)?)?.as_f32()?[..] == [2.0],
            _ => false,
        };
        squares.then_some(())?;
        (sum, by(node.input(0)?, if node.op == "Mul" { 2 } else { 1 })?, vec![end, sum, square])
    };
    nodes.push(difference);
    let (sub, reduce) = (&graph.nodes[difference], &graph.nodes[sum]);
    sub.is("Sub").then_some(())?;
    // The centroids may be quantised: what counts is that they are constant.
    let constant = |name: &str| constant_shape(view, name);
    let (v, c) = match (constant(&sub.inputs[0]), constant(&sub.inputs[1])) {
        (None, Some(shape)) => (&sub.inputs[0], (&sub.inputs[1], shape)),
        (Some(shape), None) => (&sub.inputs[1], (&sub.inputs[0], shape)),
        _ => return None,
    };
    let (rank, d) = (shapes.get(sub.output())?.len(), *c.1.last()?);
    let feature = shapes.get(v)?;
    let one_row = feature.last() == Some(&d) && feature.iter().product::<usize>() == d;
    (one_row && axes((&graph.consts, graph.opset), reduce, rank)? == [rank - 1]).then_some(())?;
    let shape: Vec<i64> = shapes.get(last.output())?.iter().map(|d| *d as i64).collect();
    (shape.iter().product::<i64>() as usize * d == c.1.iter().product::<usize>()).then_some(())?;
    let node = Node::new(DISTANCES, last.label(), &[v, c.0], last.output()).with_ints("shape", &shape);
    Some((nodes, node))
}

/// The builder of the node, for tract.
pub(super) fn build(node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let shape = node.get_attr_vec::<i64>("shape")?.iter().map(|d| *d as usize).collect();
    Ok((expand(Distances { shape }), vec![]))
}

/// `‖v − c_k‖₂` for the rows of the second input.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Distances {
    shape: Vec<usize>,
}

impl Expansion for Distances {
    fn name(&self) -> StaticName {
        DISTANCES.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        _: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        let dims: TVec<TDim> = self.shape.iter().map(|d| d.to_dim()).collect();
        s.equals(&outputs[0].shape, dims)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Distances {
    fn name(&self) -> StaticName {
        DISTANCES.into()
    }
    op_as_typed_op!();
}

impl EvalOp for Distances {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (v, c) = (inputs[0].try_as_plain_ram()?, inputs[1].try_as_plain_ram()?);
        let (v, c) = (v.as_slice::<f32>()?, c.as_slice::<f32>()?);
        let mut y = Tensor::zero::<f32>(&self.shape)?;
        distances(v, c, y.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?);
        Ok(tvec![y.into()])
    }
}

impl TypedOp for Distances {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(&self.shape)])
    }
    as_op!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_writing_of_the_chain_is_found() {
        use super::super::graph::Const;
        let base = || {
            let mut graph = Graph {
                inputs: vec![("v".into(), vec![1, 4])],
                outputs: vec!["y".into()],
                opset: 13,
                ..Graph::default()
            };
            graph.consts.insert("c".into(), Const::floats(&[1, 3, 4], vec![0.5; 12]));
            graph.consts.insert("two".into(), Const::floats(&[], vec![2.0]));
            graph
        };
        let tail = |nodes: Vec<Node>| {
            let mut graph = base();
            graph.nodes = nodes;
            fuse(&mut graph);
            graph.nodes.iter().map(|n| n.op.clone()).collect::<Vec<_>>()
        };
        let sub = Node::new("Sub", "", &["v", "c"], "d");
        let sum = |x: &str| Node::new("ReduceSum", "", &[x], "s").with_ints("axes", &[-1]).with_int("keepdims", 0);
        let root = Node::new("Sqrt", "", &["s"], "y");
        let mul = vec![sub.clone(), Node::new("Mul", "", &["d", "d"], "q"), sum("q"), root.clone()];
        assert_eq!(tail(mul), [DISTANCES]);
        let pow = vec![sub.clone(), Node::new("Pow", "", &["d", "two"], "q"), sum("q"), root.clone()];
        assert_eq!(tail(pow), [DISTANCES]);
        let l2 = Node::new("ReduceL2", "", &["d"], "y").with_ints("axes", &[2]).with_int("keepdims", 0);
        assert_eq!(tail(vec![sub.clone(), l2]), [DISTANCES]);
        // A square root of something else stays.
        let other = vec![sub, Node::new("Mul", "", &["d", "c"], "q"), sum("q"), root];
        assert_eq!(tail(other), ["Sub", "Mul", "ReduceSum", "Sqrt"]);
    }
}
