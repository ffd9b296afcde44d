//! Softmax over the last dimension, in single precision.
//!
//! tract's takes a quarter of a millisecond for the 49×49 affinities of an attention. This one is plain arithmetic in
//! vectors, without fused multiply-adds, so that every machine gives the same numbers.

use multiversion::multiversion;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, Op, StaticName, TypedFact, TypedOp, as_op, not_out_of_plan, op_as_typed_op,
};
use tract_onnx::tract_hir::infer::{InferenceOp, InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::internal::{Expansion, expand};

use super::graph::Graph;
use super::shapes::{self, wrap};

/// Operator that stands for a Softmax over the last dimension.
pub(super) const SOFTMAX: &str = "OltrSoftmax";

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

/// Softmax of one row in place (ONNX Softmax).
#[multiversion(targets("x86_64+avx2"))]
fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // A row of -inf alone, or one with +inf, has no softmax: it becomes NaN, as ONNX's formula does.
    row.iter_mut().for_each(|x| *x = exp(*x - max));
    let mut lanes = [0.0f32; 8];
    let chunks = row.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(l, x)| *l += x);
    }
    let sum = lanes.iter().sum::<f32>() + rest;
    row.iter_mut().for_each(|x| *x /= sum);
}

/// e^x for x ≤ 0 within 2 units in the last place; 0 below -87, where the result would be subnormal; NaN for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r by its Taylor polynomial of degree 7, whose error there is below 2⁻²⁶.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const SHIFT: f32 = 12_582_912.0;
    let kept = if x < -87.0 { -87.0 } else { x };
    let shifted = kept * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = kept - n * LN2_HIGH - n * LN2_LOW;
    let polynomial = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let polynomial =
        1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * polynomial)))));
    let power = f32::from_bits((((shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32) + 127) << 23) as u32);
    let y = polynomial * power;
    if x < -87.0 { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_within_two_units() {
        for i in 0..=870_000 {
            let x = -(i as f32) / 10_000.0;
            let exact = f64::from(x).exp();
            let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
            assert!((f64::from(exp(x)) - exact).abs() <= 2.0 * unit, "{x}: {} for {exact}", exp(x));
        }
        assert_eq!((exp(0.0), exp(-88.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn rows_sum_to_one_and_shifts_do_not_matter() {
        for n in [1, 7, 8, 9, 49, 100] {
            let row = |shift: f32| {
                let mut row: Vec<f32> = (0..n).map(|i| (i * 7 % 13) as f32 + shift).collect();
                softmax(&mut row);
                row
            };
            assert!((row(0.0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
            assert_eq!(row(0.0), row(1024.0));
        }
    }

    #[test]
    fn what_has_no_softmax_says_so() {
        let mut row = [f32::NEG_INFINITY; 3];
        softmax(&mut row);
        assert!(row.iter().all(|x| x.is_nan()));
    }
}
