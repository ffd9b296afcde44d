//! Softmax over the last dimension, for float graphs: tract's takes a quarter of a millisecond for the 49×49 affinities
//! of an attention. In quantised graphs a program computes it.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, TypedFact, TypedOp, as_op, not_out_of_plan, op_as_typed_op,
};
use tract_onnx::tract_hir::infer::{InferenceOp, InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::internal::{Expansion, expand};

use super::graph::Graph;
use super::operators::SOFTMAX;
use super::shapes::{self, wrap};
use oltr_int8::float::softmax;

/// Replaces each Softmax over the last dimension of a tensor of known rank.
pub(super) fn fuse(graph: &mut Graph) {
    let shapes = shapes::infer(graph);
    let default = if graph.opset < 13 { 1 } else { -1 };
    for node in &mut graph.nodes {
        let rank = node.input(0).and_then(|x| shapes.get(x)).map(Vec::len);
        let last = rank.is_some_and(|r| r > 0 && wrap(node.int("axis", default), r) == Some(r - 1));
        if last && node.is("Softmax") {
            node.op = SOFTMAX.into();
            node.attributes.clear();
        }
    }
}

/// The builder of the node, for tract.
pub(super) fn build(_: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    Ok((expand(Softmax), vec![]))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Softmax;

impl Expansion for Softmax {
    fn name(&self) -> StaticName {
        SOFTMAX.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Softmax {
    fn name(&self) -> StaticName {
        SOFTMAX.into()
    }
    op_as_typed_op!();
}

impl EvalOp for Softmax {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut tensor = inputs[0].clone().into_tensor();
        let width = tensor.shape().last().copied().unwrap_or(1);
        if width > 0 {
            tensor.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?.chunks_exact_mut(width).for_each(softmax);
        }
        Ok(tvec![tensor.into()])
    }
}

impl TypedOp for Softmax {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec![f32::fact(inputs[0].shape.clone())])
    }
    as_op!();
}
