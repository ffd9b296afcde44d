//! Corner cases of ONNX's operators, each alone between quantisers, on both engines: sums that exceed 32 bits, crossed
//! bounds, rare attributes.

mod common;

use common::onnx::{self, Message, Node, Tensor, dtype, value};
use oltr::Model;
use oltr::model::{Engine, Options};

/// A graph that quantises its input `x`, applies `nodes` from `a` to `b`, and quantises the result to `y`.
struct Corner {
    nodes: Vec<Node>,
    tensors: Vec<Tensor>,
    /// Shapes of x and y.
    shapes: [Vec<i64>; 2],
    /// Scales and uint8 zero points of x and y.
    quants: [(f32, u8); 2],
}

impl Corner {
    fn model(&self) -> onnx::Model {
        let mut nodes = vec![
            Node::new("QuantizeLinear", &["x", "x.s", "x.z"], &["x.q"]),
            Node::new("DequantizeLinear", &["x.q", "x.s", "x.z"], &["a"]),
        ];
        nodes.extend(self.nodes.iter().cloned());
        nodes.push(Node::new("QuantizeLinear", &["b", "y.s", "y.z"], &["y.q"]));
        nodes.push(Node::new("DequantizeLinear", &["y.q", "y.s", "y.z"], &["y"]));
        let mut tensors = self.tensors.clone();
        for (name, (scale, zero)) in ["x", "y"].into_iter().zip(self.quants) {
            tensors.push(Tensor::floats(&format!("{name}.s"), &[], &[scale]));
            tensors.push(Tensor::new(&format!("{name}.z"), dtype::UINT8, &[], &[zero]));
        }
        onnx::Model {
            nodes,
            tensors,
            inputs: vec![value("x", dtype::FLOAT, &self.shapes[0])],
            outputs: vec![value("y", dtype::FLOAT, &self.shapes[1])],
            opset: Some(21),
            ..onnx::Model::default()
        }
    }

    fn check(&self, what: &str, x: &[f32], expected: &[f32]) {
        check(what, &self.model(), x, expected);
    }
}

/// Both engines give `expected`, exactly but for the last bits of the scale.
fn check(what: &str, model: &onnx::Model, x: &[f32], expected: &[f32]) {
    for engine in [Engine::Int8, Engine::Tract] {
        let options = Options { engine, ..Options::default() };
        let model =
            Model::from_bytes("corner.onnx", &model.encode(), &options).unwrap_or_else(|e| panic!("{what}: {e}"));
        let y = model.session().unwrap().run_raw(&[x]).unwrap_or_else(|e| panic!("{what}: {e}")).remove(0);
        let near = |(y, expected): (&f32, &f32)| (y - expected).abs() <= 1e-5 * expected.abs();
        assert!(y.len() == expected.len() && y.iter().zip(expected).all(near), "{what} on {engine:?}: {y:?}");
    }
}

fn number(name: &str, x: f32) -> Tensor {
    Tensor::floats(name, &[], &[x])
}

fn bytes(values: &[i8]) -> Vec<u8> {
    values.iter().map(|v| *v as u8).collect()
}

/// Quantised weights `w` of one scale, dequantised to `w.r`.
fn weights(dims: &[i64], values: &[i8], scale: f32) -> (Node, Vec<Tensor>) {
    let tensors = vec![
        Tensor::new("w", dtype::INT8, dims, &bytes(values)),
        number("w.s", scale),
        Tensor::new("w.z", dtype::INT8, &[], &[0]),
    ];
    (Node::new("DequantizeLinear", &["w", "w.s", "w.z"], &["w.r"]), tensors)
}

fn text(name: &str, text: &str) -> Message {
    Message::default().bytes(1, name).bytes(4, text).int(20, 3)
}

#[test]
fn clamps_behind_what_does_not_clamp_by_itself() {
    let bounds = vec![number("low", 0.2), number("high", 0.5)];
    let clip = Node::new("Clip", &["m", "low", "high"], &["b"]);
    let row = |n: i64| vec![1, n];
    let concat = Corner {
        nodes: vec![Node::new("Concat", &["a", "a"], &["m"]).int("axis", 1), clip.clone()],
        tensors: bounds.clone(),
        shapes: [row(4), row(8)],
        quants: [(0.1, 10), (0.1, 10)],
    };
    concat.check("Concat", &[-1.0, 0.3, 0.4, 2.0], &[0.2, 0.3, 0.4, 0.5, 0.2, 0.3, 0.4, 0.5]);
    let softmax = Corner {
        nodes: vec![Node::new("Softmax", &["a"], &["m"]).int("axis", 1), clip],
        tensors: bounds,
        shapes: [row(4), row(4)],
        quants: [(0.1, 10), (0.1, 10)],
    };
    softmax.check("Softmax", &[9.0, 0.0, 0.0, -1.0], &[0.5, 0.2, 0.2, 0.2]);
}

#[test]
fn of_crossed_bounds_the_upper_one_wins() {
    let bounds = || vec![number("low", 0.5), number("high", -0.5)];
    let clip = Node::new("Clip", &["m", "low", "high"], &["b"]);
    let (dequantise, tensors) = weights(&[2, 1, 1, 1], &[100, -100], 0.01);
    let conv = Corner {
        nodes: vec![dequantise, Node::new("Conv", &["a", "w.r"], &["m"]), clip.clone()],
        tensors: [tensors, bounds()].concat(),
        shapes: [vec![1, 1, 1, 3], vec![1, 2, 1, 3]],
        quants: [(0.1, 100), (0.1, 100)],
    };
    conv.check("Conv", &[-3.0, 0.0, 3.0], &[-0.5; 6]);
    let (identity, twice) = (Node::new("Relu", &["a"], &["m"]), vec![Node::new("Abs", &["a"], &["m"]), clip.clone()]);
    for (what, nodes) in [("Relu", vec![identity, clip]), ("Abs", twice)] {
        let quants = [(0.1, 100), (0.1, 100)];
        let corner = Corner { nodes, tensors: bounds(), shapes: [vec![1, 3], vec![1, 3]], quants };
        corner.check(what, &[-3.0, 0.0, 3.0], &[-0.5; 3]);
    }
}

#[test]
fn a_bias_of_a_product_lies_along_its_rows_or_its_columns() {
    // x is the unit matrix and the weights are 0, so y is the broadcast bias.
    let (dequantise, tensors) = weights(&[3, 3], &[0; 9], 0.01);
    let x = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    let whole = [100i32, 200, 300].map(i32::to_le_bytes).concat();
    for (dims, expected) in [
        (vec![3, 1], [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]),
        (vec![1, 3], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
        (vec![3], [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
    ] {
        let quantised = vec![
            Tensor::new("c", dtype::INT32, &dims, &whole),
            number("c.s", 0.01),
            Tensor::new("c.z", dtype::INT32, &[], &[0; 4]),
        ];
        let gemm = Node::new("Gemm", &["a", "w.r", "c.r"], &["b"]);
        let of_bytes = Corner {
            nodes: vec![
                dequantise.clone(),
                Node::new("DequantizeLinear", &["c", "c.s", "c.z"], &["c.r"]),
                gemm.clone(),
            ],
            tensors: [tensors.clone(), quantised].concat(),
            shapes: [vec![3, 3], vec![3, 3]],
            quants: [(1.0, 0), (0.5, 0)],
        };
        of_bytes.check(&format!("bytes {dims:?}"), &x, &expected);
        let from_values = Corner {
            nodes: vec![gemm],
            tensors: vec![Tensor::floats("w.r", &[3, 3], &[0.0; 9]), Tensor::floats("c.r", &dims, &[1.0, 2.0, 3.0])],
            ..of_bytes
        };
        from_values.check(&format!("numbers {dims:?}"), &x, &expected);
    }
}

#[test]
fn a_clamp_between_quantisers_behind_a_float_operator() {
    let corner = Corner {
        nodes: vec![
            Node::new("Abs", &["a"], &["c"]),
            Node::new("QuantizeLinear", &["c", "y.s", "y.z"], &["c.q"]),
            Node::new("DequantizeLinear", &["c.q", "y.s", "y.z"], &["d"]),
            Node::new("Relu", &["d"], &["b"]),
        ],
        tensors: vec![],
        shapes: [vec![1, 4], vec![1, 4]],
        quants: [(0.1, 100), (0.1, 100)],
    };
    corner.check("quantised input", &[-3.0, 0.0, 1.0, 3.0], &[3.0, 0.0, 1.0, 3.0]);
    // The same if the operator reads the input directly.
    let mut model = corner.model();
    model.nodes.drain(..2);
    model.node("c").inputs[0] = "x".into();
    check("float input", &model, &[-3.0, 0.0, 1.0, 3.0], &[3.0, 0.0, 1.0, 3.0]);
}

#[test]
fn sums_that_32_bits_do_not_hold() {
    let k = 40_000i64;
    let product = Corner {
        nodes: vec![Node::new("Reshape", &["a", "column"], &["c"]), Node::new("MatMul", &["a", "c"], &["b"])],
        tensors: vec![Tensor::int64s("column", &[k, 1])],
        shapes: [vec![1, k], vec![1, 1]],
        quants: [(0.01, 0), (2000.0, 0)],
    };
    product.check("MatMul", &vec![2.55; k as usize], &[260_000.0]);
    let k = 80_000i64;
    let (dequantise, tensors) = weights(&[k, 1], &vec![127; k as usize], 0.01);
    let dense = Corner {
        nodes: vec![dequantise, Node::new("MatMul", &["a", "w.r"], &["b"])],
        tensors,
        shapes: [vec![1, k], vec![1, 1]],
        quants: [(0.01, 0), (10_000.0, 0)],
    };
    dense.check("weights", &vec![2.55; k as usize], &[260_000.0]);
}

#[test]
fn a_quantiser_without_a_zero_point_has_its_output_dtype() {
    let corner = Corner {
        nodes: vec![
            Node::new("QuantizeLinear", &["a", "s"], &["c.q"]).int("output_dtype", 3),
            Node::new("DequantizeLinear", &["c.q", "s"], &["d"]),
            Node::new("Relu", &["d"], &["e"]),
            Node::new("Add", &["d", "e"], &["b"]),
        ],
        tensors: vec![number("s", 0.5)],
        shapes: [vec![1, 4], vec![1, 4]],
        quants: [(0.5, 128), (0.5, 128)],
    };
    corner.check("int8", &[-3.0, -0.5, 1.0, 3.0], &[-3.0, -0.5, 2.0, 6.0]);
    let mut model = corner.model();
    *model.node("c.q") = Node::new("QuantizeLinear", &["a", "s"], &["c.q"]).int("output_dtype", 17);
    let error = Model::from_bytes("corner.onnx", &model.encode(), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("output_dtype"), "{error}");
}

#[test]
fn shapes_that_attributes_decide() {
    let pool = |ceil| {
        let pool = Node::new("MaxPool", &["a"], &["m"]).ints("kernel_shape", &[2, 3]).ints("strides", &[2, 2]);
        pool.int("ceil_mode", ceil).attribute(text("auto_pad", "VALID"))
    };
    let x: Vec<f32> = (0..36).map(|i| i as f32).collect();
    for ceil in [0, 1] {
        // Exp stays with tract: both must agree on the shape.
        let corner = Corner {
            nodes: vec![
                pool(ceil),
                Node::new("Mul", &["m", "zero"], &["n"]),
                Node::new("Exp", &["n"], &["e"]),
                Node::new("Mul", &["m", "e"], &["b"]),
            ],
            tensors: vec![number("zero", 0.0)],
            shapes: [vec![1, 1, 6, 6], vec![1, 1, 3, 2]],
            quants: [(1.0, 0), (1.0, 0)],
        };
        corner.check("MaxPool", &x, &[8.0, 10.0, 20.0, 22.0, 32.0, 34.0]);
    }
    let reduction = Corner {
        nodes: vec![
            Node::new("ReduceSum", &["a"], &["m"]).int("noop_with_empty_axes", 1).int("keepdims", 0),
            Node::new("Add", &["m", "a"], &["b"]),
        ],
        tensors: vec![],
        shapes: [vec![1, 3], vec![1, 3]],
        quants: [(1.0, 0), (1.0, 0)],
    };
    reduction.check("ReduceSum", &[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]);
    let scalar = Corner {
        nodes: vec![Node::new("ReduceL1", &["a"], &["b"]).int("keepdims", 0)],
        tensors: vec![],
        shapes: [vec![1, 3], vec![]],
        quants: [(1.0, 0), (1.0, 0)],
    };
    scalar.check("ReduceL1", &[1.0, 2.0, 3.0], &[6.0]);
}

#[test]
fn what_would_come_out_wrong_is_refused() {
    let celu = Message::default().bytes(1, "alpha").float(2, -0.5).int(20, 1);
    let pads = Tensor::int64s("pads", &[0, -1, 0, 0]);
    let wide = Tensor::int64s("wide", &[0, 3, 0, 0]);
    let minimum = Message::default().bytes(1, "min").float(2, 0.5).int(20, 1);
    for (node, tensors, said) in [
        (Node::new("Celu", &["a"], &["b"]).attribute(celu), vec![], "not positive"),
        (Node::new("Relu", &["a"], &["b"]).int("inplace", 1), vec![], "inplace"),
        (Node::new("Relu", &["a"], &["b"]).int("consumed_inputs", 1), vec![], "consumed_inputs"),
        (Node::new("Softmax", &["a"], &["b"]).int("axis", 1).int("axis", 0), vec![], "twice"),
        (Node::new("Softmax", &["a"], &["b"]).ints("axis", &[1]), vec![], "not an integer"),
        (Node::new("Clip", &["a"], &["b"]).attribute(minimum), vec![], "none of operator set 21"),
        (Node::new("Pad", &["a", "wide"], &["b"]).attribute(text("mode", "reflect")), vec![wide], "mirrors 3"),
        (Node::new("GlobalLpPool", &["a"], &["b"]), vec![], "GlobalLpPool"),
        (Node::new("Pad", &["a", "pads"], &["b"]), vec![pads], "pads by -1"),
    ] {
        let shapes = [vec![1, 3], vec![1, 3]];
        let corner = Corner { nodes: vec![node], tensors, shapes, quants: [(1.0, 0), (1.0, 0)] };
        let bytes = corner.model().encode();
        let error = Model::from_bytes("corner.onnx", &bytes, &Options::default()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Attributes that contradict each other or the weights.
#[test]
fn windows_that_are_said_twice_are_refused() {
    let (dequantise, tensors) = weights(&[1, 1, 2, 2], &[1; 4], 1.0);
    let conv = || Node::new("Conv", &["a", "w.r"], &["b"]);
    for (conv, said) in [
        (conv().ints("pads", &[1; 4]).attribute(text("auto_pad", "SAME_UPPER")), "both pads and auto_pad"),
        (conv().ints("kernel_shape", &[3, 3]), "kernel_shape of [3, 3]"),
        (conv().attribute(text("auto_pad", "SAME")), "'SAME'"),
    ] {
        let shapes = [vec![1, 1, 4, 4], vec![1, 1, 4, 4]];
        let quants = [(1.0, 0), (1.0, 0)];
        let corner = Corner { nodes: vec![dequantise.clone(), conv], tensors: tensors.clone(), shapes, quants };
        let bytes = corner.model().encode();
        let error = Model::from_bytes("corner.onnx", &bytes, &Options::default()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    // Pads of 0 have no effect next to auto_pad.
    let same = conv().ints("pads", &[0; 4]).attribute(text("auto_pad", "SAME_UPPER"));
    let corner = Corner {
        nodes: vec![dequantise, same],
        tensors,
        shapes: [vec![1, 1, 2, 2], vec![1, 1, 2, 2]],
        quants: [(1.0, 0), (1.0, 0)],
    };
    corner.check("auto_pad", &[1.0, 2.0, 3.0, 4.0], &[10.0, 6.0, 7.0, 4.0]);
}
