//! Weights that are no numbers, and scales and zero points that make no sense together.

use crate::common::onnx::{Message, Model, Node, Tensor, dtype, value};
use crate::common::tiny;
use crate::{all_are_accepted, all_are_refused, case};

/// Sets the numbers of an initializer.
fn floats(m: &mut Model, name: &str, dims: &[i64], values: &[f32]) {
    *m.tensor(name) = Tensor::floats(name, dims, values);
}

/// Sets an initializer of any type.
fn raw(m: &mut Model, name: &str, dtype: i64, dims: &[i64], bytes: &[u8]) {
    *m.tensor(name) = Tensor::new(name, dtype, dims, bytes);
}

#[test]
fn weights_must_be_numbers() {
    let nan = f32::NAN;
    let half = |m: &mut Model, bits: u16| {
        raw(m, "centroids", 10, &[3, 4], &bits.to_le_bytes().repeat(12));
        m.nodes.insert(0, Node::new("Cast", &["centroids"], &["cast"]).int("to", 1));
        m.node("differences").inputs[1] = "cast".into();
    };
    let double = |m: &mut Model, number: f64| {
        raw(m, "centroids", dtype::DOUBLE, &[3, 4], &number.to_le_bytes().repeat(12));
        m.nodes.insert(0, Node::new("Cast", &["centroids"], &["cast"]).int("to", 1));
        m.node("differences").inputs[1] = "cast".into();
    };
    all_are_refused(&[
        case(
            tiny::graph,
            "a NaN",
            |m| floats(m, "classifier", &[4, 3], &[[0.5; 11].as_slice(), &[nan]].concat()),
            &["'classifier'", "NaN at element 11"],
        ),
        case(
            tiny::graph,
            "a NaN in a Constant node",
            |m| {
                m.tensors.retain(|t| t.name != "centroids");
                let value = Tensor::floats("", &[3, 4], &[nan; 12]);
                m.nodes.insert(0, Node::new("Constant", &[], &["centroids"]).tensor("value", &value));
            },
            &["'centroids'", "NaN at element 0"],
        ),
        case(
            tiny::graph,
            "a NaN as value_float",
            |m| {
                m.tensors.retain(|t| t.name != "centroids");
                let number = Message::default().bytes(1, "value_float").float(2, nan).int(20, 1);
                m.nodes.insert(0, Node::new("Constant", &[], &["centroids"]).attribute(number));
            },
            &["'centroids'", "NaN"],
        ),
        case(tiny::graph, "a NaN in half precision", |m| half(m, 0x7e00), &["'centroids'", "NaN"]),
        case(tiny::graph, "a NaN in double precision", |m| double(m, f64::NAN), &["'centroids'", "NaN"]),
        case(
            tiny::graph,
            "a NaN in float_data",
            |m| {
                let tensor = m.tensor("classifier");
                tensor.raw.clear();
                tensor.more = (0..12).fold(Message::default(), |m, i| m.float(4, if i == 5 { nan } else { 0.0 }));
            },
            &["'classifier'", "NaN at element 5"],
        ),
    ]);
    all_are_accepted(&[
        case(tiny::graph, "half precision", |m| half(m, 0x3c00), &[]),
        case(tiny::graph, "double precision", |m| double(m, 1.5), &[]),
        case(tiny::graph, "infinity", |m| floats(m, "centroids", &[3, 4], &[f32::INFINITY; 12]), &[]),
    ]);
}

#[test]
fn scales_are_positive_numbers() {
    let mut cases = Vec::new();
    for (what, scale) in [
        ("a scale of zero", 0.0),
        ("a negative scale", -0.02),
        ("an infinite scale", f32::INFINITY),
        ("a scale that is no number", f32::NAN),
    ] {
        cases.push(case(tiny::graph, what, |m| floats(m, "image.s", &[], &[scale]), &[]));
        cases.push(case(
            tiny::graph,
            what,
            |m| floats(m, "conv.ws", &[4], &[0.001, 0.001, scale, 0.001]),
            if scale.is_nan() { &["'conv.ws'"] } else { &["'conv.dq'", "positive"] },
        ));
    }
    all_are_refused(&cases);
}

#[test]
fn scales_and_zero_points_fit_each_other_and_their_tensor() {
    let zeros = [0u8; 16];
    all_are_refused(&[
        case(
            tiny::graph,
            "fewer zero points than scales",
            |m| raw(m, "conv.wz", dtype::INT8, &[3], &zeros[..3]),
            &["'conv.dq'", "4 scale(s) for 3 zero point(s)"],
        ),
        case(
            tiny::graph,
            "fewer scales than channels",
            |m| {
                raw(m, "conv.wz", dtype::INT8, &[3], &zeros[..3]);
                floats(m, "conv.ws", &[3], &[0.1; 3]);
            },
            &["'conv.dq'", "3"],
        ),
        case(
            tiny::graph,
            "more scales than channels",
            |m| {
                raw(m, "conv.wz", dtype::INT8, &[8], &zeros[..8]);
                floats(m, "conv.ws", &[8], &[0.1; 8]);
            },
            &["'conv.dq'", "8"],
        ),
        case(
            tiny::graph,
            "scales of an activation that are not as many as its channels",
            |m| {
                floats(m, "image.s", &[5], &[0.1; 5]);
                raw(m, "image.z", dtype::UINT8, &[5], &zeros[..5]);
            },
            &["'image.q'", "5"],
        ),
        case(tiny::graph, "an axis beyond the tensor", |m| m.node("conv.dq").attributes.clear(), &[]),
        case(
            tiny::graph,
            "an axis of 9",
            |m| {
                m.node("conv.dq").attributes.clear();
                let node = m.node("conv.dq").clone().int("axis", 9);
                *m.node("conv.dq") = node;
            },
            &["'conv.dq'", "axis"],
        ),
        case(tiny::graph, "a matrix of scales", |m| floats(m, "conv.ws", &[2, 2], &[0.1; 4]), &["'conv.dq'"]),
        case(
            tiny::graph,
            "no scales at all",
            |m| {
                floats(m, "conv.ws", &[0], &[]);
                raw(m, "conv.wz", dtype::INT8, &[0], &[]);
            },
            &["'conv.dq'", "0 scale(s)"],
        ),
    ]);
}

#[test]
fn types_that_are_not_computed_with_are_refused() {
    all_are_refused(&[
        case(
            tiny::graph,
            "int32 activations",
            |m| raw(m, "image.z", dtype::INT32, &[], &[0; 4]),
            &["'image.q'", "8 bits"],
        ),
        case(
            tiny::graph,
            "int4 weights, some of them missing",
            |m| {
                raw(m, "conv.w", dtype::INT4, &[4, 3, 3, 3], &[0x12; 53]);
                raw(m, "conv.wz", dtype::INT4, &[4], &[0; 2]);
            },
            &["'conv.w'", "106 values"],
        ),
        case(
            tiny::graph,
            "uint16 read back with another zero point",
            |m| {
                raw(m, "image.z", dtype::UINT16, &[], &[0, 1]);
                m.tensors.push(Tensor::new("other", dtype::UINT16, &[], &[1, 1]));
                m.node("image.dq").inputs[2] = "other".into();
            },
            &["'image.dq'", "another scale or zero point"],
        ),
        case(
            tiny::graph,
            "blocks that do not fit the weights",
            |m| {
                let dq = m.node("conv.dq");
                dq.attributes.clear();
                dq.attributes.push(Message::default().bytes(1, "block_size").int(3, 3).int(20, 2));
                m.opset = Some(21);
            },
            &["'conv.dq'", "scales of shape"],
        ),
        case(
            tiny::graph,
            "a zero point of another type",
            |m| raw(m, "conv.wz", dtype::UINT8, &[4], &[0; 4]),
            &["'conv.dq'"],
        ),
        case(
            tiny::graph,
            "bytes read back with the other sign",
            |m| {
                m.tensors.push(Tensor::new("signed", dtype::INT8, &[], &[0]));
                m.node("image.dq").inputs[2] = "signed".into();
            },
            &["'image.dq'"],
        ),
        case(
            tiny::graph,
            "a scale in double precision",
            |m| {
                raw(m, "image.s", dtype::DOUBLE, &[], &0.02f64.to_le_bytes());
            },
            &["'image.q'", "float32"],
        ),
        case(
            tiny::graph,
            "blocked quantisation",
            |m| {
                let node = m.node("conv.dq").clone().int("block_size", 3);
                *m.node("conv.dq") = node;
            },
            &["'conv.dq'", "block"],
        ),
        case(
            tiny::graph,
            "a scale that is computed",
            |m| {
                m.nodes.insert(0, Node::new("ReduceMax", &["image"], &["largest"]).int("keepdims", 0));
                m.node("image.q").inputs[1] = "largest".into();
            },
            &["'image.q'", "statically"],
        ),
        case(
            tiny::graph,
            "a zero point that is computed",
            |m| {
                m.nodes.insert(0, Node::new("ReduceMax", &["image.q0"], &["largest"]).int("keepdims", 0));
                m.nodes.insert(0, Node::new("QuantizeLinear", &["image", "image.s", "image.z"], &["image.q0"]));
                m.node("image.q").inputs[2] = "largest".into();
            },
            &["'image.q'", "statically"],
        ),
        case(tiny::graph, "quantising bytes", |m| m.node("map.q").inputs[0] = "image.q".into(), &[]),
        case(tiny::graph, "dequantising numbers", |m| m.node("map.dq").inputs[0] = "map".into(), &["'map.dq'"]),
        case(tiny::graph, "quantising nothing", |m| m.node("map.q").inputs[0].clear(), &[]),
        case(
            tiny::graph,
            "quantising without a scale",
            |m| m.node("map.q").inputs.truncate(1),
            &["'map.q'", "input 1"],
        ),
    ]);
}

/// A graph of one QLinearConv: float in, float out.
fn qlinearconv() -> Model {
    let weights: Vec<u8> = (0..54).map(|i| i * 4).collect();
    Model {
        nodes: vec![
            Node::new("QuantizeLinear", &["x", "xs", "xz"], &["xq"]),
            Node::new("QLinearConv", &["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], &["yq"]),
            Node::new("DequantizeLinear", &["yq", "ys", "yz"], &["y"]),
        ],
        tensors: vec![
            Tensor::floats("xs", &[], &[0.1]),
            Tensor::new("xz", dtype::UINT8, &[], &[128]),
            Tensor::new("w", dtype::INT8, &[2, 3, 3, 3], &weights),
            Tensor::floats("ws", &[2], &[0.01, 0.02]),
            Tensor::new("wz", dtype::INT8, &[2], &[0, 0]),
            Tensor::floats("ys", &[], &[0.1]),
            Tensor::new("yz", dtype::UINT8, &[], &[128]),
            Tensor::new("b", dtype::INT32, &[2], &[0; 8]),
        ],
        inputs: vec![value("x", dtype::FLOAT, &[1, 3, 5, 5])],
        outputs: vec![value("y", dtype::FLOAT, &[1, 2, 3, 3])],
        opset: Some(13),
        ..Model::default()
    }
}

#[test]
fn broken_quantised_operators_are_refused() {
    let without = |i: usize| move |m: &mut Model| m.node("yq").inputs[i].clear();
    all_are_accepted(&[
        case(qlinearconv, "as it is", |_| {}, &[]),
        case(qlinearconv, "without a bias", |m| m.node("yq").inputs.truncate(8), &[]),
        case(
            qlinearconv,
            "without zero points",
            |m| {
                for i in [2, 7] {
                    m.node("yq").inputs[i].clear();
                }
                for tensor in ["xz", "yz"] {
                    m.tensor(tensor).raw = vec![0];
                }
            },
            &[],
        ),
    ]);
    all_are_refused(&[
        case(qlinearconv, "without an input", without(0), &["'yq'", "input 0"]),
        case(qlinearconv, "without a scale", without(1), &["'yq'", "scale"]),
        case(qlinearconv, "without weights", without(3), &["'yq'", "input 3"]),
        case(qlinearconv, "without the result's scale", without(6), &["'yq'", "scale"]),
        case(qlinearconv, "two inputs", |m| m.node("yq").inputs.truncate(2), &["'yq'"]),
        case(qlinearconv, "no input", |m| m.node("yq").inputs.clear(), &["'yq'"]),
        case(qlinearconv, "no output", |m| m.node("yq").outputs.clear(), &["no output"]),
        case(qlinearconv, "a scale of zero", |m| floats(m, "ys", &[], &[0.0]), &["positive"]),
        case(qlinearconv, "a bias of another length", |m| raw(m, "b", dtype::INT32, &[3], &[0; 12]), &[]),
        case(qlinearconv, "a bias of numbers", |m| floats(m, "b", &[2], &[0.0; 2]), &[]),
        case(qlinearconv, "three scales for two channels", |m| floats(m, "ws", &[3], &[0.1; 3]), &[]),
        case(qlinearconv, "weights of one dimension", |m| m.tensor("w").dims = vec![54], &[]),
        case(qlinearconv, "weights for other channels", |m| m.tensor("w").dims = vec![3, 2, 3, 3], &[]),
        case(
            qlinearconv,
            "a result that is read as float",
            |m| m.outputs[0] = value("yq", dtype::UINT8, &[1, 2, 3, 3]),
            &["'yq'", "float32"],
        ),
    ]);
}
