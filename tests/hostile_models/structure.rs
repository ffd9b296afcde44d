//! Inconsistent graphs, and graphs with unsupported operators.

use crate::common::onnx::{Message, Model, Node, Tensor, dtype, value};
use crate::common::tiny;
use crate::{all_are_accepted, all_are_refused, calmly, case, from_bytes, load_and_run_with};
use oltr::model::Engine;
use oltr::{Error, UnsupportedNode};

#[test]
fn graphs_that_do_not_hold_together_are_refused() {
    all_are_refused(&[
        case(tiny::graph, "no nodes", |m| m.nodes.clear(), &["'logits'", "no node"]),
        case(tiny::graph, "no inputs", |m| m.inputs.clear(), &["no input"]),
        case(tiny::graph, "no outputs", |m| m.outputs.clear(), &["no output"]),
        case(tiny::graph, "a cycle", |m| m.node("conv").inputs[0] = "map.dq".into(), &["'conv'", "'map.dq'"]),
        case(tiny::graph, "a node that reads itself", |m| m.node("map").inputs[0] = "map".into(), &["'map'"]),
        case(tiny::graph, "a tensor from nowhere", |m| m.node("map").inputs[0] = "ghost".into(), &["'map'", "'ghost'"]),
        case(
            tiny::graph,
            "a tensor computed twice",
            |m| m.node("map").outputs[0] = "conv".into(),
            &["'conv'", "twice"],
        ),
        case(tiny::graph, "an initializer twice", |m| m.tensors.push(m.tensors[0].clone()), &["'image.s'", "twice"]),
        case(tiny::graph, "an input twice", |m| m.inputs.push(m.inputs[0].clone()), &["'image'", "twice"]),
        case(tiny::graph, "an output twice", |m| m.outputs.push(m.outputs[0].clone()), &["'logits'", "twice"]),
        case(
            tiny::graph,
            "an input that is computed",
            |m| m.node("map").outputs[0] = "image".into(),
            &["'image'", "twice"],
        ),
        case(
            tiny::graph,
            "a weight that is computed",
            |m| m.node("map").outputs[0] = "row".into(),
            &["'row'", "twice"],
        ),
        case(tiny::graph, "an output from nowhere", |m| m.node("logits").outputs[0] = "other".into(), &["'logits'"]),
        case(
            tiny::graph,
            "an input as an output",
            |m| m.outputs.push(m.inputs[0].clone()),
            &["'image'", "also its input"],
        ),
        case(tiny::graph, "an output without a name", |m| m.outputs.push(value("", dtype::FLOAT, &[1])), &[]),
        case(tiny::graph, "a node without outputs", |m| m.node("map").outputs.clear(), &["'map'", "no output"]),
        case(
            tiny::graph,
            "a node without a name or inputs",
            |m| {
                let node = m.node("map");
                node.inputs.clear();
                node.name.clear();
            },
            &[],
        ),
        case(tiny::graph, "a node without an operator", |m| m.node("map").op.clear(), &["'map'"]),
        case(tiny::graph, "no operator set", |m| m.opset = None, &["operator set"]),
        case(tiny::graph, "an operator set of the future", |m| m.opset = Some(1 << 40), &["operator set"]),
        case(tiny::graph, "an operator set of the past", |m| m.opset = Some(6), &["operator set 6", "7 and later"]),
        case(tiny::graph, "a negative operator set", |m| m.opset = Some(-3), &["operator set"]),
    ]);
}

#[test]
fn inputs_and_weights_must_be_what_can_be_run() {
    let external = |m: &mut Model| {
        let tensor = m.tensor("classifier");
        tensor.raw.clear();
        let entry = Message::default().bytes(1, "location").bytes(2, "../../secret");
        tensor.more = Message::default().message(13, &entry).int(14, 1);
    };
    let input = |dtype: i64, dims: &'static [i64]| move |m: &mut Model| m.inputs[0] = value("image", dtype, dims);
    let typeless = Message::default().bytes(1, "image");
    let shapeless = Message::default().message(1, &Message::default().int(1, dtype::FLOAT));
    let shapeless = Message::default().bytes(1, "image").message(2, &shapeless);
    all_are_refused(&[
        case(tiny::graph, "weights in another file", external, &["'classifier'", "another file"]),
        case(tiny::graph, "an input of doubles", input(dtype::DOUBLE, &[1, 3, 8, 8]), &["'image'", "float32"]),
        case(tiny::graph, "an input of text", input(dtype::STRING, &[1, 3, 8, 8]), &["'image'", "float32"]),
        case(tiny::graph, "an input of nothing", input(dtype::FLOAT, &[1, 3, 0, 8]), &["'image'", "fixed"]),
        case(tiny::graph, "a batch of nothing", input(dtype::FLOAT, &[0, 3, 8, 8]), &["'image'", "fixed"]),
        case(tiny::graph, "a symbolic height", input(dtype::FLOAT, &[1, 3, -1, 8]), &["'image'", "fixed"]),
        case(tiny::graph, "an input without a type", |m| m.inputs[0] = typeless, &["'image'", "tensor"]),
        case(tiny::graph, "an input without a shape", |m| m.inputs[0] = shapeless, &["'image'", "shape"]),
        case(tiny::graph, "an input of other channels", input(dtype::FLOAT, &[1, 4, 8, 8]), &[]),
        case(tiny::graph, "an input of two dimensions", input(dtype::FLOAT, &[1, 192]), &[]),
        case(tiny::bundle, "a batch of 3", input(dtype::FLOAT, &[3, 3, 8, 8]), &["oltr.preprocess", "[3, 3, 8, 8]"]),
        case(
            tiny::graph,
            "a weight of an unknown type",
            |m| m.tensor("classifier").dtype = 99,
            &["'classifier'", "99"],
        ),
        case(tiny::graph, "a weight of no type", |m| m.tensor("classifier").dtype = 0, &["'classifier'"]),
        case(tiny::graph, "a weight of text", |m| m.tensor("classifier").dtype = dtype::STRING, &[]),
        case(tiny::graph, "sparse weights", |m| m.more = Message::default().bytes(15, []), &["sparse"]),
    ]);
    all_are_accepted(&[
        case(tiny::graph, "a symbolic batch", input(dtype::FLOAT, &[-1, 3, 8, 8]), &[]),
        case(tiny::bundle, "a symbolic batch of a bundle", input(dtype::FLOAT, &[-1, 3, 8, 8]), &[]),
        case(
            tiny::graph,
            "initializers listed as inputs",
            |m| {
                let all: Vec<Message> = m.tensors.iter().map(|t| value(&t.name, t.dtype, &t.dims)).collect();
                m.inputs.splice(0..0, all);
            },
            &[],
        ),
        case(
            tiny::graph,
            "Identity nodes around everything",
            |m| {
                m.nodes.insert(0, Node::new("Identity", &["image"], &["same"]));
                m.node("image.q").inputs[0] = "same".into();
                m.nodes.push(Node::new("Identity", &["features"], &["again"]));
                m.outputs.push(value("again", dtype::FLOAT, &[1, 4]));
            },
            &[],
        ),
        case(
            tiny::graph,
            "a weight that is an output",
            |m| {
                m.outputs.push(value("classifier", dtype::FLOAT, &[4, 3]));
            },
            &[],
        ),
        case(tiny::graph, "an unused input", |m| m.inputs.push(value("more", dtype::FLOAT, &[2])), &[]),
        case(
            tiny::graph,
            "unused nodes",
            |m| {
                m.nodes.push(Node::new("Relu", &["features"], &["unread"]));
            },
            &[],
        ),
    ]);
}

#[test]
fn a_batch_runs_through_a_plain_graph() {
    let mut model = tiny::graph();
    model.nodes.truncate(9);
    model.inputs[0] = value("image", dtype::FLOAT, &[3, 3, 8, 8]);
    model.outputs = vec![value("features", dtype::FLOAT, &[3, 4])];
    let one = {
        let mut model = model.clone();
        model.inputs[0] = value("image", dtype::FLOAT, &[1, 3, 8, 8]);
        from_bytes(&model.encode()).unwrap()
    };
    let three = from_bytes(&model.encode()).unwrap();
    let images: Vec<f32> = (0..3 * 192).map(|i| (i * 31 % 97) as f32 / 20.0 - 2.4).collect();
    let batch = three.session().unwrap().run_raw(&[&images]).unwrap().remove(0);
    let mut session = one.session().unwrap();
    let single = images.chunks(192).flat_map(|image| session.run_raw(&[image]).unwrap().remove(0));
    // tract runs the batch in floating point: sums may round to the other side, a step of 0.05 in 64 pixels.
    for (i, (a, b)) in batch.iter().zip(single).enumerate() {
        assert!((a - b).abs() <= 0.05, "feature {i}: {a} in the batch, {b} alone");
    }
    assert_eq!(batch.len(), 12);
}

#[test]
fn all_unsupported_nodes_are_listed_in_their_order() {
    let mut model = tiny::graph();
    model.node("map").op = "Swirl".into();
    model.node("pool").domain = "com.example".into();
    let node = model.node("conv.dq").clone().int("block_size", 3);
    *model.node("conv.dq") = node;
    let pool = Node::new("QLinearGlobalAveragePool", &["map.q", "map.s", "map.z", "map.s", "map.z"], &["pooled"]);
    model.nodes.insert(7, pool.domain("com.microsoft").int("channels_last", 1));
    model.nodes.push(Node::new("DequantizeLinear", &["pooled", "map.s", "map.z"], &["pooled.dq"]));
    model.outputs.push(value("pooled.dq", dtype::FLOAT, &[1, 8, 1, 1]));
    let mut unnamed = Node::new("Attention", &["features"], &["attended"]).domain("com.microsoft");
    unnamed.name.clear();
    model.nodes.push(unnamed);
    model.outputs.push(value("attended", dtype::FLOAT, &[1, 4]));
    let error = calmly("load", || from_bytes(&model.encode()).unwrap_err()).unwrap();
    let Error::UnsupportedNodes { nodes, .. } = &error else { panic!("{error}") };
    let listed: Vec<(&str, &str)> =
        nodes.iter().map(|UnsupportedNode { node, operator, .. }| (&node[..], &operator[..])).collect();
    assert_eq!(
        listed,
        [
            ("conv.dq", "DequantizeLinear"),
            ("map", "Swirl"),
            ("pooled", "com.microsoft.QLinearGlobalAveragePool"),
            ("pool", "com.example.GlobalAveragePool"),
            ("attended", "com.microsoft.Attention"),
        ]
    );
    let message = error.to_string();
    assert!(message.starts_with("hostile.onnx: 5 unsupported node(s)"), "{message}");
}

#[test]
fn functions_of_a_file_are_refused() {
    let function = Message::default().bytes(1, "Swirl").bytes(10, "local");
    let bytes = tiny::graph().message().message(25, &function).0;
    let error = from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("functions") && error.contains("inlined"), "{error}");
}

/// Operators of ONNX, with `com.microsoft.` ones of its quantiser.
const OPERATORS: &str = "Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Ceil Clip Concat \
    Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout \
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND \
    Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater HardSigmoid HardSwish Hardmax Identity If \
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less Log LogSoftmax Loop LpPool MatMul \
    MatMulInteger Max MaxPool MaxUnpool Mean Min Mod Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Or PRelu \
    Pad Pow QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu \
    QLinearMatMul QLinearMul QLinearSigmoid QLinearSoftmax QuantizeLinear RNN RandomNormal Range Reciprocal ReduceL1 \
    ReduceL2 ReduceLogSum ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Resize ReverseSequence \
    Round Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Size Slice Softmax Softplus \
    Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unique \
    Unsqueeze Upsample Where Xor";

/// Attributes that operators have, each with values that hardly any can have.
fn absurdities(node: &Node) -> Vec<(String, Node)> {
    let numbers = "axis group to block_size blocksize keepdims transA ceil_mode largest storage_order \
        num_outputs num_groups stash_type p select_last_index exclusive";
    let lists = "axes pads strides dilations kernel_shape perm output_padding output_shape split";
    let mut all = Vec::new();
    for name in numbers.split_whitespace() {
        for value in [i64::MIN, -1, 0, 1 << 40] {
            all.push((format!("{name} = {value}"), node.clone().int(name, value)));
        }
    }
    for name in lists.split_whitespace() {
        for values in [&[][..], &[0, 0], &[1, 1, 1], &[1 << 40, 1 << 40], &[i64::MIN, -1, i64::MAX, -1]] {
            all.push((format!("{name} = {values:?}"), node.clone().ints(name, values)));
        }
    }
    all
}

#[test]
fn no_operator_panics_on_any_input() {
    let inputs: [&[&str]; 14] = [
        &[],
        &[""],
        &["map.dq"],
        &["features"],
        &["row"],
        &["map.dq", "map.dq"],
        &["map.dq", "conv.dq"],
        &["map.dq", "row"],
        &["features", "classifier"],
        &["classifier", "row"],
        &["map.dq", "conv.ws", "conv.ws"],
        &["map.dq", "conv.ws", "conv.ws", "conv.ws", "conv.ws"],
        &["map.q", "map.s", "map.z", "conv.w", "conv.ws", "conv.wz", "map.s", "map.z"],
        &["pool", "", "row", "centroids", "image", "features", "map.dq", "conv.dq", "map.s"],
    ];
    let mut wrong = Vec::new();
    let (mut count, mut accepted) = (0, 0);
    let mut attempt = |what: &str, node: &Node| {
        let mut model = tiny::graph();
        let outputs: Vec<&String> = node.outputs.iter().filter(|o| !o.is_empty()).collect();
        model.outputs.extend(outputs.iter().map(|o| value(o, dtype::FLOAT, &[1])));
        model.nodes.push(node.clone());
        count += 1;
        match calmly(what, || load_and_run_with(Engine::Int8, &model.encode())) {
            Ok(Ok(())) => {
                accepted += 1;
                return true;
            }
            // tract finds out when it runs that it has no logic on numbers.
            Ok(Err(Error::Internal(message))) if !["And", "Not", "Or", "Xor"].contains(&&node.op[..]) => {
                wrong.push(format!("{what}: {message}"))
            }
            Ok(Err(_)) => {}
            Err(message) => wrong.push(message),
        }
        false
    };
    for op in OPERATORS.split_whitespace() {
        let mut tried = false;
        for (i, inputs) in inputs.iter().enumerate() {
            for outputs in [&["wild"][..], &["", "wild"], &["wild", "second"]] {
                let mut node = Node::new(op, inputs, outputs);
                if op == "QGemm" || op.starts_with("QLinear") && !["QLinearConv", "QLinearMatMul"].contains(&op) {
                    node = node.domain("com.microsoft");
                }
                let what = format!("{op} of inputs {i} with {} outputs", outputs.len());
                // The window of a pool is an attribute.
                let windowed = node.clone().ints("kernel_shape", &[3, 3]);
                let works = [node, windowed].into_iter().find(|node| attempt(&what, node));
                if let Some(node) = works.filter(|_| !tried && outputs.len() == 1) {
                    tried = true;
                    // Each operator is spared some, and all get each.
                    for (attribute, node) in absurdities(&node).into_iter().skip(op.len() % 3).step_by(3) {
                        attempt(&format!("{what}, {attribute}"), &node);
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    // Unknown attributes are refused, and so are most values of known ones.
    assert!(accepted > 100, "{accepted} of {count} are accepted: the rest tries nothing");
}

#[test]
fn geometry_that_cannot_be_is_refused() {
    let conv = |node: fn(Node) -> Node| {
        move |m: &mut Model| {
            let mut plain = m.node("conv").clone();
            plain.attributes.clear();
            *m.node("conv") = node(plain);
        }
    };
    all_are_refused(&[
        case(tiny::graph, "strides of 0", conv(|n| n.ints("strides", &[0, 0])), &[]),
        case(tiny::graph, "negative strides", conv(|n| n.ints("strides", &[-1, 1])), &[]),
        case(tiny::graph, "one stride", conv(|n| n.ints("strides", &[1])), &[]),
        case(tiny::graph, "dilations of 0", conv(|n| n.ints("dilations", &[0, 1])), &[]),
        case(tiny::graph, "huge dilations", conv(|n| n.ints("dilations", &[1 << 40, 1 << 40])), &[]),
        case(tiny::graph, "largest dilations", conv(|n| n.ints("dilations", &[i64::MAX, i64::MAX])), &[]),
        case(tiny::graph, "pads on three sides", conv(|n| n.ints("pads", &[1, 1, 1])), &[]),
        case(tiny::graph, "pads that eat the map", conv(|n| n.ints("pads", &[-9, -9, -9, -9])), &[]),
        case(tiny::graph, "no groups", conv(|n| n.int("group", 0)), &[]),
        case(tiny::graph, "two groups of three channels", conv(|n| n.int("group", 2)), &[]),
        case(tiny::graph, "minus one group", conv(|n| n.int("group", -1)), &[]),
        case(
            tiny::graph,
            "a window larger than the map",
            |m| {
                m.tensor("conv.w").dims = vec![4, 27, 1, 1];
            },
            &[],
        ),
        case(
            tiny::graph,
            "a kernel without taps",
            |m| {
                m.tensor("conv.w").dims = vec![4, 3, 0, 3];
                m.tensor("conv.w").raw.clear();
            },
            &[],
        ),
        case(tiny::graph, "a matrix that does not fit", |m| m.tensor("classifier").dims = vec![3, 4], &[]),
        case(tiny::graph, "shapes that do not broadcast", |m| m.tensor("centroids").dims = vec![4, 3], &[]),
        case(tiny::graph, "a reshape to another size", |m| *m.tensor("row") = Tensor::int64s("row", &[1, 5]), &[]),
        case(
            tiny::graph,
            "a reshape with two free sizes",
            |m| *m.tensor("row") = Tensor::int64s("row", &[-1, -1]),
            &[],
        ),
        case(
            tiny::graph,
            "a reduction of an axis that there is not",
            |m| {
                m.node("norms").attributes.clear();
                *m.node("norms") = m.node("norms").clone().ints("axes", &[7]).int("keepdims", 0);
            },
            &[],
        ),
    ]);
}
