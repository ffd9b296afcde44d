//! The attributes of operators that oltr honours, and what they may say. Any other attribute or value is refused.
//!
//! tract reads the attributes that it knows and passes over all others, and so does our own code: a file would load and
//! compute something else than it says. So the attributes of a node are compared with ONNX's own lists first. What
//! stands here is computed as ONNX says, by tract, by our own code, or after `rewrite` has brought the node into another
//! form; `tests/graphs/attributes.rs` holds each of them against ONNX Runtime.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use tract_onnx::pb::AttributeProto;
use tract_onnx::pb::attribute_proto::AttributeType;

use super::graph::{Node, is_onnx};

/// What an attribute holds, and which values oltr computes with.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// 0 or 1.
    Flag,
    Int,
    /// One of these numbers.
    Ints(&'static [i64]),
    List,
    Float,
    Floats,
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    Tensor,
}

/// ONNX's number of the type float32.
const FLOAT32: i64 = 1;

/// All operator sets.
const ALWAYS: Range<i64> = 0..i64::MAX;

const fn since(set: i64) -> Range<i64> {
    set..i64::MAX
}

const fn until(set: i64) -> Range<i64> {
    0..set
}

const PADDING: &[&str] = &["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"];

/// Operators, one attribute that they have, what it holds, and the operator sets that define it. The sets before 7 had
/// some more, which are not computed any longer.
const ATTRIBUTES: &[(&str, &str, Kind, Range<i64>)] = &[
    ("Reshape", "allowzero", Kind::Flag, since(14)),
    (
        "Celu Elu Gemm HardSigmoid LRN LeakyRelu Selu Swish ThresholdedRelu com.microsoft.QGemm \
         com.microsoft.QLinearLeakyRelu",
        "alpha",
        Kind::Float,
        ALWAYS,
    ),
    ("Resize", "antialias", Kind::Flag, since(18)),
    ("Gelu", "approximate", Kind::Words(&["none", "tanh"]), ALWAYS),
    (
        "AveragePool Conv ConvInteger ConvTranspose MaxPool QLinearConv com.microsoft.QLinearAveragePool",
        "auto_pad",
        Kind::Words(PADDING),
        ALWAYS,
    ),
    ("MeanVarianceNormalization", "axes", Kind::List, ALWAYS),
    ("Slice", "axes", Kind::List, until(10)),
    ("ReduceSum Squeeze Unsqueeze", "axes", Kind::List, until(13)),
    (
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare",
        "axes",
        Kind::List,
        until(18),
    ),
    ("Resize", "axes", Kind::List, since(18)),
    (
        "ArgMax ArgMin Concat Flatten Gather GatherElements Hardmax LayerNormalization LogSoftmax LpNormalization \
         OneHot RMSNormalization Softmax Split TopK com.microsoft.DequantizeLinear com.microsoft.QLinearConcat \
         com.microsoft.QLinearSoftmax com.microsoft.QuantizeLinear",
        "axis",
        Kind::Int,
        ALWAYS,
    ),
    ("DequantizeLinear QuantizeLinear", "axis", Kind::Int, since(13)),
    ("Gemm HardSigmoid LRN", "beta", Kind::Float, ALWAYS),
    ("LRN Shrink", "bias", Kind::Float, ALWAYS),
    // `normalise` dequantises constants of blocks, and refuses other blocks.
    ("DequantizeLinear QuantizeLinear", "block_size", Kind::Int, since(21)),
    ("DepthToSpace SpaceToDepth", "blocksize", Kind::Int, ALWAYS),
    ("AveragePool MaxPool", "ceil_mode", Kind::Flag, since(10)),
    ("com.microsoft.QLinearAveragePool", "ceil_mode", Kind::Flag, ALWAYS),
    // `normalise` refuses other than 0.
    ("com.microsoft.QLinearAveragePool com.microsoft.QLinearGlobalAveragePool", "channels_last", Kind::Flag, ALWAYS),
    (
        "Resize",
        "coordinate_transformation_mode",
        Kind::Words(&[
            "half_pixel",
            "half_pixel_symmetric",
            "pytorch_half_pixel",
            "align_corners",
            "asymmetric",
            "tf_half_pixel_for_nn",
            "tf_crop_and_resize",
        ]),
        since(11),
    ),
    ("AveragePool com.microsoft.QLinearAveragePool", "count_include_pad", Kind::Flag, ALWAYS),
    ("Resize", "cubic_coeff_a", Kind::Float, since(11)),
    ("IsInf", "detect_negative", Kind::Flag, ALWAYS),
    ("IsInf", "detect_positive", Kind::Flag, ALWAYS),
    ("Conv ConvInteger ConvTranspose QLinearConv", "dilations", Kind::List, ALWAYS),
    ("MaxPool", "dilations", Kind::List, since(10)),
    ("AveragePool", "dilations", Kind::List, since(19)),
    ("Shape", "end", Kind::Int, since(15)),
    ("Slice", "ends", Kind::List, until(10)),
    (
        "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization RMSNormalization",
        "epsilon",
        Kind::Float,
        ALWAYS,
    ),
    ("Einsum", "equation", Kind::Text, ALWAYS),
    ("Resize", "exclude_outside", Kind::Flag, since(11)),
    ("CumSum", "exclusive", Kind::Flag, ALWAYS),
    ("Resize", "extrapolation_value", Kind::Float, since(11)),
    ("Mod", "fmod", Kind::Flag, ALWAYS),
    ("Selu", "gamma", Kind::Float, ALWAYS),
    ("Conv ConvInteger ConvTranspose QLinearConv", "group", Kind::Int, ALWAYS),
    ("Resize", "keep_aspect_ratio_policy", Kind::Words(&["stretch", "not_larger", "not_smaller"]), since(18)),
    (
        "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd \
         ReduceSum ReduceSumSquare",
        "keepdims",
        Kind::Flag,
        ALWAYS,
    ),
    (
        "AveragePool Conv ConvInteger ConvTranspose MaxPool QLinearConv com.microsoft.QLinearAveragePool",
        "kernel_shape",
        Kind::List,
        ALWAYS,
    ),
    ("Shrink", "lambd", Kind::Float, ALWAYS),
    ("TopK", "largest", Kind::Flag, since(11)),
    ("Clip", "max", Kind::Float, until(11)),
    ("Clip", "min", Kind::Float, until(11)),
    ("Pad", "mode", Kind::Words(&["constant", "reflect", "edge"]), ALWAYS),
    ("Resize", "mode", Kind::Words(&["nearest", "linear", "cubic"]), ALWAYS),
    ("DepthToSpace", "mode", Kind::Words(&["DCR", "CRD"]), since(11)),
    // Some exporters write it before set 28 defines it.
    ("SpaceToDepth", "mode", Kind::Words(&["DCR", "CRD"]), ALWAYS),
    // Of training only.
    ("BatchNormalization", "momentum", Kind::Float, ALWAYS),
    ("Resize", "nearest_mode", Kind::Words(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]), since(11)),
    ("ReduceSum", "noop_with_empty_axes", Kind::Flag, since(13)),
    (
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare",
        "noop_with_empty_axes",
        Kind::Flag,
        since(18),
    ),
    ("GroupNormalization", "num_groups", Kind::Int, ALWAYS),
    ("Split", "num_outputs", Kind::Int, since(18)),
    ("com.microsoft.QLinearSoftmax", "opset", Kind::Int, ALWAYS),
    // `normalise` compares it with the zero point, and refuses what is neither 8 nor 16 bits.
    ("QuantizeLinear", "output_dtype", Kind::Int, since(21)),
    ("DequantizeLinear", "output_dtype", Kind::Ints(&[0, FLOAT32]), since(23)),
    ("ConvTranspose", "output_padding", Kind::List, ALWAYS),
    ("ConvTranspose", "output_shape", Kind::List, ALWAYS),
    ("LpNormalization", "p", Kind::Ints(&[1, 2]), ALWAYS),
    (
        "AveragePool Conv ConvInteger ConvTranspose MaxPool QLinearConv com.microsoft.QLinearAveragePool",
        "pads",
        Kind::List,
        ALWAYS,
    ),
    ("Pad", "pads", Kind::List, until(11)),
    ("Transpose", "perm", Kind::List, ALWAYS),
    ("QuantizeLinear", "precision", Kind::Ints(&[0, FLOAT32]), since(23)),
    // Of training only.
    ("Dropout", "ratio", Kind::Float, until(12)),
    ("CumSum", "reverse", Kind::Flag, ALWAYS),
    // Of eight-bit floats only, which are refused.
    ("Cast", "round_mode", Kind::Words(&["up", "down", "nearest"]), since(24)),
    ("Cast QuantizeLinear", "saturate", Kind::Flag, since(19)),
    // Of training only.
    ("Dropout", "seed", Kind::Int, since(12)),
    ("ArgMax ArgMin", "select_last_index", Kind::Flag, since(12)),
    ("LRN", "size", Kind::Int, ALWAYS),
    // Without it any order is right.
    ("TopK", "sorted", Kind::Flag, since(11)),
    ("BatchNormalization", "spatial", Kind::Ints(&[1]), until(9)),
    ("Split", "split", Kind::List, until(13)),
    ("Shape", "start", Kind::Int, since(15)),
    ("Slice", "starts", Kind::List, until(10)),
    ("LayerNormalization RMSNormalization", "stash_type", Kind::Ints(&[FLOAT32]), ALWAYS),
    ("GroupNormalization", "stash_type", Kind::Ints(&[FLOAT32]), since(21)),
    ("Range", "stash_type", Kind::Ints(&[FLOAT32]), since(27)),
    ("MaxPool", "storage_order", Kind::Flag, since(8)),
    (
        "AveragePool Conv ConvInteger ConvTranspose MaxPool QLinearConv com.microsoft.QLinearAveragePool",
        "strides",
        Kind::List,
        ALWAYS,
    ),
    ("Cast", "to", Kind::Int, ALWAYS),
    ("BatchNormalization", "training_mode", Kind::Ints(&[0]), since(14)),
    ("Gemm com.microsoft.QGemm", "transA", Kind::Flag, ALWAYS),
    ("Gemm com.microsoft.QGemm", "transB", Kind::Flag, ALWAYS),
    ("Pad", "value", Kind::Float, until(11)),
    ("Constant ConstantOfShape", "value", Kind::Tensor, ALWAYS),
    ("Constant", "value_float", Kind::Float, since(12)),
    ("Constant", "value_floats", Kind::Floats, since(12)),
    ("Constant", "value_int", Kind::Int, since(12)),
    ("Constant", "value_ints", Kind::List, since(12)),
];

/// The attribute of an operator that has its domain before its name, unless that is ONNX's own.
type Key = (&'static str, &'static str);

static TABLE: LazyLock<HashMap<Key, (Kind, Range<i64>)>> = LazyLock::new(|| {
    let each = |(operators, name, kind, sets): &'static (&'static str, &'static str, Kind, Range<i64>)| {
        operators.split(' ').map(move |operator| ((operator, *name), (*kind, sets.clone())))
    };
    ATTRIBUTES.iter().flat_map(each).collect()
});

/// Why the attributes of a node, in a graph of operator set `opset`, are not computed as they stand; `None` if they are.
pub(super) fn fault(node: &Node, opset: i64) -> Option<String> {
    let qualified;
    let operator = match node.domain.as_str() {
        domain if is_onnx(domain) => node.op.as_str(),
        domain => {
            qualified = format!("{domain}.{}", node.op);
            qualified.as_str()
        }
    };
    for (i, attribute) in node.attributes.iter().enumerate() {
        let name = attribute.name.as_str();
        if node.attributes[..i].iter().any(|before| before.name == name) {
            return Some(format!("has the attribute {name} twice"));
        }
        let Some((kind, sets)) = TABLE.get(&(operator, name)) else {
            return Some(format!("oltr does not compute its attribute {name}; export it without"));
        };
        if !sets.contains(&opset) {
            return Some(format!("its attribute {name} is none of operator set {opset}; export it again"));
        }
        if let Some(reason) = kind.fault(attribute) {
            return Some(format!("its attribute {name} {reason}"));
        }
        if i > MOST {
            return Some(format!("has {} attributes", node.attributes.len()));
        }
    }
    together(node)
}

/// More attributes than any operator has.
const MOST: usize = 32;

/// What attributes say to each other.
fn together(node: &Node) -> Option<String> {
    let pads = node.ints("pads").unwrap_or(&[]);
    if !matches!(node.text("auto_pad"), "" | "NOTSET") && pads.iter().any(|pad| *pad != 0) {
        return Some("says both pads and auto_pad; export it with one of them".into());
    }
    let two = match node.op.as_str() {
        // A negative one bends the other half.
        "Celu" if !(node.float("alpha", 1.0) > 0.0 && node.float("alpha", 1.0).is_finite()) => {
            "has an alpha that is not positive"
        }
        "Constant" if node.attributes.len() > 1 => "has several values",
        "Resize" if node.int("antialias", 0) != 0 && matches!(node.text("mode"), "" | "nearest") => {
            "smooths (antialias) what takes the nearest pixel"
        }
        "Split" if node.attribute("num_outputs").is_some_and(|n| n.i != node.outputs.len() as i64) => {
            "has another number of outputs than num_outputs says"
        }
        _ => return None,
    };
    Some(two.into())
}

impl Kind {
    fn fault(self, attribute: &AttributeProto) -> Option<String> {
        let (r#type, called) = match self {
            Kind::Flag | Kind::Int | Kind::Ints(_) => (AttributeType::Int, "an integer"),
            Kind::List => (AttributeType::Ints, "a list of integers"),
            Kind::Float => (AttributeType::Float, "a number"),
            Kind::Floats => (AttributeType::Floats, "a list of numbers"),
            Kind::Text | Kind::Words(_) => (AttributeType::String, "text"),
            Kind::Tensor => (AttributeType::Tensor, "a tensor"),
        };
        if attribute.r#type != r#type as i32 || !attribute.ref_attr_name.is_empty() {
            return Some(format!("is not {called}; the file is damaged"));
        }
        match self {
            Kind::Flag if !(0..=1).contains(&attribute.i) => Some(format!("is {}, must be 0 or 1", attribute.i)),
            Kind::Ints(computed) if !computed.contains(&attribute.i) => {
                let computed: Vec<String> = computed.iter().map(i64::to_string).collect();
                Some(format!("is {}, oltr computes {} only", attribute.i, computed.join(" and ")))
            }
            Kind::Words(computed) if !computed.iter().any(|word| word.as_bytes() == attribute.s) => {
                let word = String::from_utf8_lossy(&attribute.s);
                Some(format!("is '{word}', oltr computes {} only", computed.join(", ")))
            }
            Kind::Float if attribute.f.is_nan() => Some("is NaN; the training or export went wrong".into()),
            Kind::Floats if attribute.floats.iter().any(|v| v.is_nan()) => {
                Some("holds NaN; the training or export went wrong".into())
            }
            _ => None,
        }
    }
}
