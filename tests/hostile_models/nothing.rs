//! Small files with empty tensors, or with numbers at the limits of their types.

use crate::bombs::{bounded, float_graph};
use crate::common::onnx::{Message, Model, Node, Tensor, dtype, value};
use crate::common::tiny;

/// A dimension of 0 next to a huge one, steps that never run, numbers at the limits of their type: no excess of time or
/// memory, and no panic.
#[test]
fn what_is_nothing_takes_no_time() {
    let sum = || Node::new("ReduceSum", &["x"], &["s"]).int("keepdims", 0);
    let with = |mut nodes: Vec<Node>, tensors: Vec<Tensor>| {
        let total = Node::new("ReduceSum", &["w"], &["t"]).int("keepdims", 0);
        nodes.extend([sum(), total, Node::new("Add", &["s", "t"], &["y"])]);
        float_graph(nodes, tensors)
    };
    let empty = |dims: &[i64]| Tensor::new("w0", dtype::FLOAT, dims, &[]);
    let turned = || Node::new("Transpose", &["w0"], &["w"]);
    let sizes = |sizes: &[i64]| Tensor::int64s("n", sizes);
    let ends = |start: i64, end: i64, step: i64| {
        vec![
            Tensor::int64s("from", &[start]),
            Tensor::int64s("to", &[end]),
            Tensor::int64s("axis", &[0]),
            Tensor::int64s("step", &[step]),
        ]
    };
    let cut = |x: &str, y: &str| Node::new("Slice", &[x, "from", "to", "axis", "step"], &[y]);
    let four = || Tensor::floats("w0", &[4], &[1.0; 4]);
    let dressed = |nodes: Vec<Node>, tensors: Vec<Tensor>| {
        let mut model = tiny::graph();
        model.nodes.extend(nodes);
        model.nodes.push(Node::new("QuantizeLinear", &["w", "map.s", "map.z"], &["end.q"]));
        model.nodes.push(Node::new("DequantizeLinear", &["end.q", "map.s", "map.z"], &["end"]));
        model.outputs.push(value("end", dtype::FLOAT, &[]));
        model.tensors.extend(tensors);
        model
    };
    let biased = |zero: i32| {
        let mut model = tiny::graph();
        let bias = |name: &str, values: &[i32]| {
            let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let dims: &[i64] = if name == "b.q" { &[4] } else { &[] };
            Tensor::new(name, dtype::INT32, dims, &raw)
        };
        model.tensors.extend([bias("b.q", &[i32::MIN; 4]), bias("b.z", &[zero]), Tensor::floats("b.s", &[], &[1e-3])]);
        let at = model.nodes.iter().position(|node| node.name == "conv").unwrap();
        model.nodes.insert(at, Node::new("DequantizeLinear", &["b.q", "b.s", "b.z"], &["b"]));
        model.node("conv").inputs.push("b".into());
        model
    };
    let ones = vec![1i64; 100_000];
    let positions: Vec<i64> = (0..100_000).collect();
    let cases: Vec<(&str, Model)> = vec![
        ("2^32 rows of nothing", with(vec![turned()], vec![empty(&[1 << 32, 0])])),
        ("2^40 rows of nothing, gathered", {
            let gather = Node::new("Gather", &["w0", "n"], &["w"]).int("axis", 1);
            with(vec![gather], vec![empty(&[1 << 40, 1, 0]), sizes(&[0, 0])])
        }),
        ("nothing, as a matrix of 2^32 rows", {
            let shape = Node::new("Reshape", &["w0", "n"], &["w1"]).int("allowzero", 1);
            let turn = Node::new("Transpose", &["w1"], &["w"]);
            with(vec![shape, turn], vec![empty(&[0]), sizes(&[1 << 32, 0])])
        }),
        ("2^40 rows of nothing, filled", {
            with(vec![Node::new("ConstantOfShape", &["n"], &["w0"]), turned()], vec![sizes(&[1 << 40, 0])])
        }),
        ("nothing and 2^80", with(vec![turned()], vec![empty(&[0, 1 << 40, 1 << 40])])),
        ("the size of nothing and 2^80", {
            let spread = Node::new("Tile", &["x", "n"], &["x1"]);
            let size = Node::new("Size", &["x1"], &["z"]);
            let cast = Node::new("Cast", &["z"], &["w"]).int("to", dtype::FLOAT);
            with(vec![spread, size, cast], vec![sizes(&[1 << 40, 1 << 40])])
        }),
        ("2^80, flattened", {
            let spread = Node::new("Tile", &["x", "n"], &["x1"]);
            with(vec![spread, Node::new("Flatten", &["x1"], &["w"])], vec![sizes(&[i64::MAX, i64::MAX])])
        }),
        ("2^80, in another shape", {
            let spread = Node::new("Tile", &["x", "n"], &["x1"]);
            let shape = Node::new("Reshape", &["x1", "m"], &["w"]);
            let m = Tensor::int64s("m", &[i64::MAX, i64::MAX, -1]);
            with(vec![spread, shape], vec![sizes(&[i64::MAX, i64::MAX]), m])
        }),
        ("the longest step back", { with(vec![cut("w0", "w")], [vec![four()], ends(3, i64::MIN, i64::MIN)].concat()) }),
        ("the longest step", with(vec![cut("w0", "w")], [vec![four()], ends(1, i64::MAX, i64::MAX)].concat())),
        ("the longest step along bytes", dressed(vec![cut("map.dq", "w")], ends(0, i64::MAX, i64::MAX))),
        ("the longest step back along bytes", dressed(vec![cut("map.dq", "w")], ends(0, i64::MIN, i64::MIN))),
        ("an average of nothing", {
            let pool = Node::new("AveragePool", &["v"], &["w"]).ints("kernel_shape", &[2, 2]);
            let same = Message::default().bytes(1, "auto_pad").bytes(4, "SAME_UPPER").int(20, 3);
            let mut list = ends(0, 0, 1);
            list[2] = Tensor::int64s("axis", &[2]);
            let q = Node::new("QuantizeLinear", &["u", "map.s", "map.z"], &["u.q"]);
            let dq = Node::new("DequantizeLinear", &["u.q", "map.s", "map.z"], &["v"]);
            dressed(vec![cut("map.dq", "u"), q, dq, pool.attribute(same)], list)
        }),
        ("the smallest bias, less a zero point", biased(1)),
        ("the smallest bias", biased(0)),
        ("100,000 dimensions", with(vec![Node::new("Reshape", &["x", "n"], &["w"])], vec![sizes(&ones)])),
        ("100,000 new dimensions", with(vec![Node::new("Unsqueeze", &["x", "n"], &["w"])], vec![sizes(&positions)])),
        ("a constant of 1000 dimensions", with(vec![turned()], vec![Tensor::floats("w0", &[1; 1000], &[1.0])])),
        ("a choice of 2^40", {
            let values = Tensor::floats("v", &[2], &[0.0, 1.0]);
            let one = Node::new("OneHot", &["i", "n", "v"], &["w"]);
            with(vec![one], vec![Tensor::int64s("i", &[1, 2]), sizes(&[1 << 40]), values])
        }),
    ];
    let wrong: Vec<String> = cases.iter().filter_map(|(what, model)| bounded(what, model)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
