//! What oltr adds to tract's operators: a program, ONNX-exact quantise and dequantise, and those of files of their own.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, LaneId, Op, OpState, StaticName, TypedFact, TypedOp, as_op, ensure, not_out_of_plan,
    op_as_typed_op,
};
use tract_onnx::tract_hir::infer::{InferenceOp, InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::internal::{DimLike as _, Expansion, TractErrorContext as _, expand};

use super::distances;
use super::operators::{DEQUANTISE, DISTANCES, PROGRAM, QUANTISE, SOFTMAX};
use super::remainder::{self, MOD};
use super::softmax;
use oltr_int8::{Input, Program, State};

type Builder = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// tract's ONNX operators with ours in place of its own QuantizeLinear and DequantizeLinear, which round and
/// saturate differently and are rewritten wrongly around a Softmax, and of its Mod.
pub(super) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
    onnx.op_register.insert(PROGRAM, |_, node| program(node));
    onnx.op_register.insert(DISTANCES, |_, node| distances::build(node));
    onnx.op_register.insert(SOFTMAX, |_, node| softmax::build(node));
    onnx.op_register.insert(MOD, |_, node| remainder::build(node));
    onnx.op_register.insert(QUANTISE, |ctx, node| linear(ctx, node, true));
    onnx.op_register.insert(DEQUANTISE, |ctx, node| linear(ctx, node, false));
    onnx
}

fn program(node: &NodeProto) -> Builder {
    let shapes = (0..node.output.len())
        .map(|i| node.get_attr_vec::<i64>(&format!("shape{i}")).map(|s| s.iter().map(|d| *d as usize).collect()))
        .collect::<TractResult<Vec<Vec<usize>>>>()?;
    Ok((expand(Placeholder { index: node.get_attr("index")?, shapes }), vec![]))
}

/// Stands for a program until the graph is typed: tract's builders cannot carry one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    pub index: usize,
    pub shapes: Vec<Vec<usize>>,
}

impl Expansion for Placeholder {
    fn name(&self) -> StaticName {
        PROGRAM.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.shapes.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        _: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        for (output, shape) in outputs.iter().zip(&self.shapes) {
            s.equals(&output.datum_type, f32::datum_type())?;
            let dims: TVec<TDim> = shape.iter().map(|d| d.to_dim()).collect();
            s.equals(&output.shape, dims)?;
        }
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Placeholder {
    fn name(&self) -> StaticName {
        PROGRAM.into()
    }
    op_as_typed_op!();
}

impl EvalOp for Placeholder {
    not_out_of_plan!();
}

impl TypedOp for Placeholder {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.shapes.iter().map(f32::fact).collect())
    }
    as_op!();
}

/// The byte that each value of each channel of a picture is quantised to.
pub(super) type Tables = Arc<[[u8; 256]; 3]>;

/// An int8 program as one operator.
#[derive(Clone, Debug)]
pub(super) struct ProgramOp {
    pub index: usize,
    pub program: Arc<Program>,
    pub threads: usize,
    /// For an input that is a picture of bytes instead of numbers.
    pub tables: Option<Tables>,
}

impl PartialEq for ProgramOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program)
    }
}

impl Eq for ProgramOp {}

impl Op for ProgramOp {
    fn name(&self) -> StaticName {
        PROGRAM.into()
    }
    op_as_typed_op!();
}

impl EvalOp for ProgramOp {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        let shapes = self.program.outputs();
        let outputs = shapes.iter().map(|s| Tensor::zero::<f32>(s).map(Arc::new)).collect::<TractResult<_>>()?;
        Ok(Some(Box::new(ProgramState { state: self.program.state(self.threads), outputs })))
    }
}

impl TypedOp for ProgramOp {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(self.program.outputs().iter().map(f32::fact).collect())
    }
    as_op!();
}

/// The arena of one session, and its outputs, which are used again where the caller has let go of them.
#[derive(Debug)]
pub(super) struct ProgramState {
    pub state: State,
    outputs: Vec<Arc<Tensor>>,
}

impl Clone for ProgramState {
    fn clone(&self) -> Self {
        ProgramState { state: self.state.clone(), outputs: self.outputs.clone() }
    }
}

impl ProgramState {
    /// Runs `op`, whose state this is, on `values`; where `borrowed` has numbers for an input, it reads those instead.
    pub fn run<'a>(
        &mut self,
        op: &dyn Op,
        values: &[TValue],
        borrowed: impl Fn(usize) -> Option<&'a [f32]>,
    ) -> TractResult<TVec<TValue>> {
        let op = op.downcast_ref::<ProgramOp>().context("a program's state belongs to a program")?;
        for output in &mut self.outputs {
            if Arc::get_mut(output).is_none() {
                *output = Arc::new(Tensor::zero::<f32>(output.shape())?);
            }
        }
        let mut given: TVec<Input> = tvec![];
        for (i, value) in values.iter().enumerate() {
            given.push(match (borrowed(i), &op.tables) {
                (Some(f32_values), _) => Input::F32(f32_values),
                (None, Some(tables)) if value.datum_type() == u8::datum_type() => {
                    Input::Pixels(value.try_as_plain_ram()?.as_slice::<u8>()?, tables)
                }
                _ => Input::F32(value.try_as_plain_ram()?.as_slice::<f32>()?),
            });
        }
        {
            let mut slices: TVec<&mut [f32]> = tvec![];
            for output in &mut self.outputs {
                let tensor = Arc::get_mut(output).context("just made sure")?;
                slices.push(tensor.to_plain_array_view_mut::<f32>()?.into_slice().context("tensors are row-major")?);
            }
            op.program.run(&mut self.state, &given, &mut slices)?;
        }
        Ok(self.outputs.iter().map(|o| TValue::from_const(o.clone())).collect())
    }

    /// Has the next run note the time of each layer.
    pub fn time_layers(&mut self, op: &dyn Op) {
        if let Some(op) = op.downcast_ref::<ProgramOp>() {
            self.state.times = vec![0; op.program.layers().count()];
        }
    }
}

impl OpState for ProgramState {
    fn eval(&mut self, _: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.run(op, &inputs, |_| None)
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        // Nothing is carried from one frame to the next.
        Ok(())
    }
}

fn linear(_: &ParsingContext, node: &NodeProto, quantise: bool) -> Builder {
    let axis = node.get_attr_opt::<i64>("axis")?.unwrap_or(1);
    Ok((expand(Linear { quantise, axis }), vec![]))
}

/// QuantizeLinear or DequantizeLinear in normal form (three inputs) before it is typed.
#[derive(Clone, Debug)]
struct Linear {
    quantise: bool,
    axis: i64,
}

impl Expansion for Linear {
    fn name(&self) -> StaticName {
        if self.quantise { QUANTISE } else { DEQUANTISE }.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.equals(&inputs[0].shape, &outputs[0].shape)?;
        if self.quantise {
            s.equals(&outputs[0].datum_type, &inputs[2].datum_type)
        } else {
            s.equals(&outputs[0].datum_type, f32::datum_type())
        }
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let constant = |i: usize| model.outlet_fact(inputs[i])?.konst.clone().context("scales are constants");
        let (scale, zero) = (constant(1)?, constant(2)?);
        let scales = scale.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        let zeros = zero.cast_to::<i32>()?.try_as_plain_ram()?.as_slice::<i32>()?.to_vec();
        let rank = model.outlet_fact(inputs[0])?.rank();
        // One scale is for all, whatever the axis says: by default 1, where there may be none.
        let axis = super::shapes::wrap(if scales.len() == 1 { 0 } else { self.axis }, rank);
        let axis = axis.context("its axis is beyond the tensor's rank")?;
        let extent = model.outlet_fact(inputs[0])?.shape.get(axis).and_then(|d| d.to_usize().ok());
        ensure!(
            scales.len() == zeros.len() && (scales.len() == 1 || extent == Some(scales.len())),
            "its {} scales and {} zero points do not fit the {extent:?} channels of axis {axis}",
            scales.len(),
            zeros.len()
        );
        let op = LinearOp { quantise: self.quantise, scales, zeros, axis, dtype: zero.datum_type() };
        model.wire_node(prefix, op, &[inputs[0]])
    }
}

/// QuantizeLinear or DequantizeLinear of an activation that stays with tract.
#[derive(Clone, Debug, PartialEq)]
struct LinearOp {
    quantise: bool,
    scales: Vec<f32>,
    zeros: Vec<i32>,
    axis: usize,
    dtype: DatumType,
}

// Scales are finite: the import refused all others.
impl Eq for LinearOp {}

impl LinearOp {
    /// Calls `f` with each value, its scale and its zero point.
    fn map<T: Copy, U>(&self, shape: &[usize], values: &[T], f: impl Fn(T, f32, i32) -> U) -> Vec<U> {
        let inner: usize = match self.scales.len() {
            1 => values.len(),
            _ => shape.get(self.axis + 1..).unwrap_or(&[]).iter().product(),
        };
        let mut out = Vec::with_capacity(values.len());
        for (i, values) in values.chunks(inner.max(1)).enumerate() {
            let channel = i % self.scales.len();
            let (scale, zero) = (self.scales[channel], self.zeros[channel]);
            out.extend(values.iter().map(|v| f(*v, scale, zero)));
        }
        out
    }

    /// `saturate(round(x / scale) + zero point)`, ties to even (ONNX QuantizeLinear).
    fn quantised(&self, x: f32, scale: f32, zero: i32) -> i32 {
        let (lo, hi) = if self.dtype == u8::datum_type() { (0, 255) } else { (-128, 127) };
        let v = x / scale;
        let v = if v.is_nan() { 0.0 } else { v };
        // Rounds to even what is far smaller than the difference of neighbours at this size: no call of a library for each.
        const ROUND: f32 = 12_582_912.0;
        (v.max((lo - zero) as f32).min((hi - zero) as f32) + ROUND - ROUND) as i32 + zero
    }
}

impl Op for LinearOp {
    fn name(&self) -> StaticName {
        if self.quantise { QUANTISE } else { DEQUANTISE }.into()
    }
    op_as_typed_op!();
}

impl EvalOp for LinearOp {
    not_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let shape = x.shape().to_vec();
        let plain = x.try_as_plain_ram()?;
        let back = |v: i32, s: f32, z: i32| (i64::from(v) - i64::from(z)) as f32 * s;
        let tensor = if self.quantise {
            let x = plain.as_slice::<f32>()?;
            if self.dtype == u8::datum_type() {
                Tensor::from_shape(&shape, &self.map(&shape, x, |v, s, z| self.quantised(v, s, z) as u8))?
            } else {
                Tensor::from_shape(&shape, &self.map(&shape, x, |v, s, z| self.quantised(v, s, z) as i8))?
            }
        } else if x.datum_type() == u8::datum_type() {
            Tensor::from_shape(&shape, &self.map(&shape, plain.as_slice::<u8>()?, |v, s, z| back(v.into(), s, z)))?
        } else if x.datum_type() == i8::datum_type() {
            Tensor::from_shape(&shape, &self.map(&shape, plain.as_slice::<i8>()?, |v, s, z| back(v.into(), s, z)))?
        } else {
            Tensor::from_shape(&shape, &self.map(&shape, plain.as_slice::<i32>()?, back))?
        };
        Ok(tvec![tensor.into()])
    }
}

impl TypedOp for LinearOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let dtype = if self.quantise { self.dtype } else { f32::datum_type() };
        Ok(tvec![dtype.fact(inputs[0].shape.clone())])
    }
    as_op!();
}

/// Puts the programs in the place of their placeholders.
pub(super) fn install(model: &mut TypedModel, ops: &HashMap<usize, ProgramOp>) {
    for node in model.nodes_mut() {
        let index = node.op_as::<Placeholder>().map(|p| p.index);
        if let Some(op) = index.and_then(|i| ops.get(&i)) {
            node.op = Box::new(op.clone());
        }
    }
}
