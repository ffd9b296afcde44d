//! ONNX's Mod of integers: tract takes the remainder of 64-bit integers, which are dimensions to it, with the sign of the
//! dividend whatever the attribute says.

use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::ensure;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::infer::{InferenceOp, InferenceResult, Solver, TensorProxy};
use tract_onnx::tract_hir::internal::{Expansion, StaticName, TractErrorContext as _, expand};
use tract_onnx::tract_hir::ops::binary::{rules, wire_cast, wire_rank_broadcast};
use tract_onnx::tract_hir::ops::math::{add, rem};

/// The operator's name.
pub(super) const MOD: &str = "Mod";

/// The builder of the node, for tract.
pub(super) fn build(node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let truncated = node.get_attr_opt::<i64>("fmod")?.unwrap_or(0) != 0;
    Ok((expand(Remainder { truncated }), vec![]))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Remainder {
    /// With the sign of the dividend instead of the divisor's.
    truncated: bool,
}

impl Expansion for Remainder {
    fn name(&self) -> StaticName {
        MOD.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        rules(s, inputs, outputs, |a, b| a.common_super_type(b).context("Mod of types that do not go together"))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let dtype = |i: usize| model.outlet_fact(inputs[i]).map(|fact| fact.datum_type);
        let dtype = dtype(0)?.common_super_type(dtype(1)?).context("Mod of types that do not go together")?;
        let operands = wire_rank_broadcast(prefix, model, inputs)?;
        let operands = wire_cast(prefix, model, &operands, dtype)?;
        if self.truncated || dtype.is_unsigned() {
            return model.wire_node(prefix, rem(), &operands);
        }
        ensure!(dtype.is_integer() || dtype == TDim::datum_type(), "Mod without fmod is of integers, not of {dtype:?}");
        // In 64 bits a remainder plus the divisor has room.
        let wide = if dtype == TDim::datum_type() { dtype } else { i64::datum_type() };
        let operands = wire_cast(format!("{prefix}.wide"), model, &operands, wide)?;
        let first = model.wire_node(format!("{prefix}.rem"), rem(), &operands)?[0];
        // Adding the divisor brings a remainder of the other sign to the divisor's, and the second remainder takes it
        // away where the signs were the same.
        let above = model.wire_node(format!("{prefix}.above"), add(), &[first, operands[1]])?[0];
        if wide == dtype {
            return model.wire_node(prefix, rem(), &[above, operands[1]]);
        }
        let last = model.wire_node(format!("{prefix}.last"), rem(), &[above, operands[1]])?;
        model.wire_node(prefix, cast(dtype), &last)
    }
}
