//! Small files that need much memory or time.

use crate::common::counting_allocator::held_by;
use crate::common::onnx::{Message, Model, Node, Tensor, dtype, value};
use crate::common::tiny;
use crate::{all_are_refused, calmly, case, from_bytes, load_and_run};
use oltr::Error;

/// Most memory until a file is refused: a board has 512 MiB.
const MOST: isize = 256 << 20;

/// Refused in bounded time and memory?
fn check(what: &str, bytes: &[u8]) -> Result<Error, String> {
    let (held, result) = calmly(what, || held_by(|| load_and_run(bytes)))?;
    if held.most > MOST {
        return Err(format!("{what}: {} KiB of file held {} MiB", bytes.len() >> 10, held.most >> 20));
    }
    result.err().ok_or_else(|| format!("{what}: is accepted"))
}

/// A message that holds an empty message in its field `field` as often as two bytes (three, for high numbers) fit
/// into `bytes`.
fn full(field: u64, bytes: usize) -> Message {
    let one = Message::default().bytes(field, []).0;
    Message(one.repeat(bytes / one.len()))
}

#[test]
fn empty_messages_by_the_million_are_refused() {
    // Field numbers of onnx.proto.
    let in_model = |m: Message| m;
    let in_graph = |m: Message| Message::default().message(7, &m);
    let in_node = |m: Message| in_graph(Message::default().message(1, &m));
    let in_attribute = |m: Message| in_node(Message::default().message(5, &m));
    let in_tensor = |m: Message| in_graph(Message::default().message(5, &m));
    let in_type = |m: Message| {
        let tensor = Message::default().message(2, &m);
        in_graph(
            Message::default().message(11, &Message::default().message(2, &Message::default().message(1, &tensor))),
        )
    };
    type Wrap<'a> = &'a dyn Fn(Message) -> Message;
    let positions: [(&str, Wrap, u64); 27] = [
        ("operator sets", &in_model, 8),
        ("metadata", &in_model, 14),
        ("training", &in_model, 20),
        ("functions", &in_model, 25),
        ("nodes", &in_graph, 1),
        ("initializers", &in_graph, 5),
        ("inputs", &in_graph, 11),
        ("outputs", &in_graph, 12),
        ("shapes", &in_graph, 13),
        ("annotations", &in_graph, 14),
        ("sparse initializers", &in_graph, 15),
        ("names of inputs", &in_node, 1),
        ("names of outputs", &in_node, 2),
        ("attributes", &in_node, 5),
        ("strings", &in_attribute, 9),
        ("tensors", &in_attribute, 10),
        ("graphs", &in_attribute, 11),
        ("types", &in_attribute, 15),
        ("sparse tensors", &in_attribute, 23),
        ("strings of a tensor", &in_tensor, 6),
        ("external data", &in_tensor, 13),
        ("dimensions", &in_type, 1),
        ("nodes of a function", &|m| Message::default().message(25, &m), 7),
        ("nodes of a training", &|m| Message::default().message(20, &Message::default().message(1, &m)), 1),
        ("parameters of an annotation", &|m| in_graph(Message::default().message(14, &m)), 2),
        ("unknown fields", &in_graph, 99),
        ("bindings of a training", &|m| Message::default().message(20, &m), 3),
    ];
    let mut wrong = Vec::new();
    for (what, wrap, field) in positions {
        // A large file is refused by its size alone. A smaller one is decoded.
        for bytes in [1 << 20, 3 << 20, 16 << 20] {
            if let Err(message) = check(what, &wrap(full(field, bytes)).0) {
                wrong.push(message);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn graphs_within_graphs_are_refused() {
    for depth in [20, 90, 5000] {
        let mut graph = tiny::graph().graph();
        for _ in 0..depth {
            let attribute = Message::default().bytes(1, "body").message(6, &graph).int(20, 5);
            let node = Node::new("Loop", &["image"], &["inner"]).attribute(attribute).message();
            graph = Message::default().message(1, &node);
        }
        let error = check("nested graphs", &Message::default().message(7, &graph).0).unwrap();
        assert!(error.to_string().starts_with("hostile.onnx"), "{error}");
    }
}

#[test]
fn packed_numbers_take_no_more_than_their_type() {
    // A byte of the file becomes eight of an int64.
    let numbers = vec![1u8; 16 << 20];
    let tensor = Message::default().int(1, 1).int(2, dtype::INT64).bytes(7, &numbers).bytes(8, "n");
    let file = Message::default().message(7, &Message::default().message(5, &tensor));
    check("packed numbers", &file.0).unwrap();
}

/// The tiny graph with its features replaced by what `nodes` compute as `wide`, summed up.
fn widened(nodes: Vec<Node>, tensors: Vec<Tensor>) -> Model {
    let mut model = tiny::graph();
    model.nodes.extend(nodes);
    model.nodes.push(Node::new("ReduceSum", &["wide"], &["sum"]).int("keepdims", 0));
    model.nodes.push(Node::new("Reshape", &["sum", "one"], &["total"]));
    model.tensors.extend(tensors);
    model.tensors.push(Tensor::int64s("one", &[1, 1]));
    model.outputs.push(value("total", dtype::FLOAT, &[1, 1]));
    model
}

#[test]
fn shapes_without_data_are_not_allocated() {
    const HUGE: i64 = 1 << 40;
    let cases = [
        case(tiny::graph, "a huge weight", |m| m.tensor("classifier").dims = vec![HUGE, 4], &["'classifier'", "limit"]),
        case(
            tiny::graph,
            "a weight of 2^64",
            |m| m.tensor("classifier").dims = vec![1 << 32, 1 << 32],
            &["'classifier'"],
        ),
        case(tiny::graph, "a negative weight", |m| m.tensor("classifier").dims = vec![-4, 3], &["'classifier'", "-4"]),
        case(
            tiny::graph,
            "too few values",
            |m| m.tensor("classifier").dims = vec![4, 30],
            &["'classifier'", "12 values"],
        ),
        case(
            tiny::graph,
            "a weight without values",
            |m| m.tensor("classifier").raw.clear(),
            &["'classifier'", "0 values"],
        ),
        case(
            tiny::graph,
            "a huge input",
            |m| m.inputs[0] = value("image", dtype::FLOAT, &[1, 3, 1 << 20, 1 << 20]),
            &["'image'", "limit"],
        ),
        case(tiny::graph, "a wide border", |m| m.node("conv").attributes.clear(), &[]),
    ];
    all_are_refused(&cases[..cases.len() - 1]);

    let shape = |dims: &[i64]| Tensor::int64s("shape", dims);
    let window = |op: &str, pad: i64| {
        let input: &[&str] = if op == "Conv" { &["image.dq", "conv.dq"] } else { &["image.dq"] };
        let node = Node::new(op, input, &["wide"]).ints("pads", &[pad; 4]);
        if op == "Conv" { node } else { node.ints("kernel_shape", &[3, 3]) }
    };
    let wide: Vec<(&'static str, Model)> = vec![
        ("a convolution with a wide border", widened(vec![window("Conv", 1 << 16)], vec![])),
        ("a convolution with a border of 2^40", widened(vec![window("Conv", HUGE)], vec![])),
        ("a convolution with a border of 2^63", widened(vec![window("Conv", i64::MAX)], vec![])),
        ("a pool with a wide border", widened(vec![window("MaxPool", 1 << 16)], vec![])),
        ("an average with a wide border", widened(vec![window("AveragePool", HUGE)], vec![])),
        (
            "an outer product",
            widened(
                vec![
                    Node::new("Expand", &["tall", "shape"], &["taller"]),
                    Node::new("Transpose", &["taller"], &["flat"]),
                    Node::new("MatMul", &["taller", "flat"], &["wide"]),
                ],
                vec![Tensor::floats("tall", &[1, 1], &[1.0]), shape(&[1 << 20, 1])],
            ),
        ),
        ("ConstantOfShape", widened(vec![Node::new("ConstantOfShape", &["shape"], &["wide"])], vec![shape(&[HUGE])])),
        (
            "ConstantOfShape and a small one",
            widened(vec![Node::new("ConstantOfShape", &["shape"], &["wide"])], vec![shape(&[1 << 30])]),
        ),
        (
            "Expand",
            widened(vec![Node::new("Expand", &["pool", "shape"], &["wide"])], vec![shape(&[1 << 20, 4, 1 << 20, 1])]),
        ),
        (
            "Expand of a constant",
            widened(vec![Node::new("Expand", &["centroids", "shape"], &["wide"])], vec![shape(&[1 << 34, 3, 4])]),
        ),
        ("Tile", widened(vec![Node::new("Tile", &["features", "shape"], &["wide"])], vec![shape(&[1 << 20, 1 << 20])])),
        (
            "Tile of a constant",
            widened(vec![Node::new("Tile", &["centroids", "shape"], &["wide"])], vec![shape(&[1 << 20, 1 << 20])]),
        ),
        ("Pad", widened(vec![Node::new("Pad", &["features", "shape"], &["wide"])], vec![shape(&[0, HUGE, 0, 0])])),
        (
            "Pad of a constant",
            widened(vec![Node::new("Pad", &["centroids", "shape"], &["wide"])], vec![shape(&[0, HUGE, 0, 0])]),
        ),
        (
            "Range",
            widened(
                vec![Node::new("Range", &["from", "to", "by"], &["wide"])],
                vec![
                    Tensor::floats("from", &[], &[0.0]),
                    Tensor::floats("to", &[], &[1e12]),
                    Tensor::floats("by", &[], &[1.0]),
                ],
            ),
        ),
        (
            "sums of sums",
            widened(
                (0..40)
                    .map(|i| {
                        let names = (format!("d{i}"), format!("d{}", i + 1));
                        let to = if i == 39 { "wide" } else { &names.1 };
                        let from = if i == 0 { "features" } else { &names.0 };
                        Node::new("Concat", &[from, from], &[to]).int("axis", 1)
                    })
                    .collect(),
                vec![],
            ),
        ),
    ];
    let mut wrong = Vec::new();
    for (what, model) in wide {
        if let Err(message) = check(what, &model.encode()) {
            wrong.push(message);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A graph with a chain of `n` nodes.
fn chain(op: &str, n: usize) -> Vec<u8> {
    let mut model = tiny::graph();
    let name = |i: usize| if i == 0 { "features".to_string() } else { format!("chain{i}") };
    model.nodes.extend((0..n).map(|i| Node::new(op, &[&name(i)], &[&name(i + 1)])));
    model.outputs.push(value(&name(n), dtype::FLOAT, &[1, 4]));
    model.encode()
}

#[test]
fn more_nodes_than_the_limit_are_refused() {
    let error = check("many nodes", &chain("Relu", 20_001)).unwrap();
    assert!(matches!(error, Error::Limit { what: "graph_nodes", .. }), "{error}");
}

#[test]
fn long_chains_load() {
    for (op, n) in [("Relu", 900), ("Sign", 3000), ("Identity", 19_000)] {
        calmly(op, || from_bytes(&chain(op, n)).unwrap()).unwrap();
    }
}

/// A graph of floating-point operators only, from `x` to `y`.
pub fn float_graph(nodes: Vec<Node>, tensors: Vec<Tensor>) -> Model {
    Model {
        nodes,
        tensors,
        inputs: vec![value("x", dtype::FLOAT, &[1, 4])],
        outputs: vec![value("y", dtype::FLOAT, &[])],
        opset: Some(17),
        ..Model::default()
    }
}

/// `n` nodes, each of which reads the result of the previous one. `make` gets input and output names.
fn in_a_row(n: usize, make: impl Fn(&str, &str) -> Node) -> Vec<Node> {
    let name = |i: usize| match i {
        0 => "x".to_string(),
        i if i == n => "y".into(),
        i => format!("t{i}"),
    };
    (0..n).map(|i| make(&name(i), &name(i + 1))).collect()
}

/// tract's loading time grows with the square of the number of operators that read one tensor. A file that would take
/// minutes is refused before loading.
#[test]
fn what_tract_would_load_for_minutes_is_refused() {
    let many = |n: usize| vec!["x"; n];
    let names: Vec<String> = (0..100_000).map(|i| format!("s{i}")).collect();
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    let fan = || parts[..5000].iter().map(|part| Node::new("Exp", &["x"], &[part]));
    let scale = || vec![Tensor::floats("scale", &[4], &[1.0; 4])];
    let cases: Vec<(&str, Model)> = vec![
        ("a chain", float_graph(in_a_row(19_000, |x, y| Node::new("Relu", &[x], &[y])), vec![])),
        ("a chain of two", float_graph(in_a_row(4000, |x, y| Node::new("Add", &[x, "x"], &[y])), vec![])),
        ("operators that are many to tract", {
            float_graph(in_a_row(1000, |x, y| Node::new("LayerNormalization", &[x, "scale"], &[y])), scale())
        }),
        ("many inputs of Concat", {
            float_graph(vec![Node::new("Concat", &many(100_000), &["y"]).int("axis", 1)], vec![])
        }),
        ("many inputs of Max", float_graph(vec![Node::new("Max", &many(100_000), &["y"])], vec![])),
        ("many inputs of Sum", float_graph(vec![Node::new("Sum", &many(4000), &["y"])], vec![])),
        ("many outputs of Split", {
            let mut split = Node::new("Split", &["x"], &parts).int("axis", 1);
            split.outputs[0] = "y".into();
            float_graph(vec![split], vec![])
        }),
        ("many readers", {
            let sum = Node::new("Sum", &parts[..5000], &["y"]);
            float_graph(fan().chain([sum]).collect(), vec![])
        }),
    ];
    let mut wrong = Vec::new();
    for (what, model) in cases {
        match check(what, &model.encode()) {
            Ok(Error::Limit { what: "float_nodes" | "tensor_readers", value, limit, .. }) if value > limit => {}
            Ok(error) => wrong.push(format!("{what}: {error}")),
            Err(message) => wrong.push(message),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // A little less loads.
    let chain = float_graph(in_a_row(900, |x, y| Node::new("Relu", &[x], &[y])), vec![]);
    calmly("a chain", || from_bytes(&chain.encode()).unwrap()).unwrap();
}

#[test]
fn more_inputs_and_outputs_than_the_limit_are_refused() {
    let names: Vec<String> = (0..2000).map(|i| format!("p{i}")).collect();
    let mut outputs = float_graph(names.iter().map(|name| Node::new("Exp", &["x"], &[name])).collect(), vec![]);
    outputs.outputs = names.iter().map(|name| value(name, dtype::FLOAT, &[1, 4])).collect();
    let mut inputs = float_graph(vec![Node::new("Exp", &["x"], &["y"])], vec![]);
    inputs.inputs.extend(names.iter().map(|name| value(name, dtype::FLOAT, &[1])));
    for (what, model) in [("outputs", outputs), ("inputs", inputs)] {
        let error = check(what, &model.encode()).unwrap();
        assert!(matches!(error, Error::Limit { what: "graph_ports", .. }), "{what}: {error}");
    }
}

/// Quantised and float operators in turn: one program for each pair.
#[test]
fn many_programs_in_a_row_are_lowered() {
    let mut model = tiny::graph();
    let mut last = "map.dq".to_string();
    for i in 0..3200 {
        let (relu, bytes, next) = (format!("r{i}"), format!("b{i}"), format!("d{i}"));
        // Sign stays with tract.
        model.nodes.push(Node::new("Sign", &[&last], &[&relu]));
        model.nodes.push(Node::new("QuantizeLinear", &[&relu, "map.s", "map.z"], &[&bytes]));
        model.nodes.push(Node::new("DequantizeLinear", &[&bytes, "map.s", "map.z"], &[&next]));
        model.nodes.push(Node::new("Relu", &[&next], &[&format!("u{i}")]));
        model.nodes.push(Node::new("QuantizeLinear", &[&format!("u{i}"), "map.s", "map.z"], &[&format!("v{i}")]));
        last = format!("w{i}");
        model.nodes.push(Node::new("DequantizeLinear", &[&format!("v{i}"), "map.s", "map.z"], &[&last]));
    }
    model.outputs.push(value(&last, dtype::FLOAT, &[1, 8, 5, 4]));
    let error = check("programs", &model.encode()).unwrap();
    assert!(matches!(error, Error::Limit { what: "float_nodes", .. }), "{error}");
}

/// Loaded or refused, in bounded time and memory?
pub fn bounded(what: &str, model: &Model) -> Option<String> {
    let bytes = model.encode();
    match calmly(what, || held_by(|| load_and_run(&bytes))) {
        Err(message) => Some(message),
        Ok((held, _)) if held.most > MOST => {
            Some(format!("{what}: {} KiB of file held {} MiB", bytes.len() >> 10, held.most >> 20))
        }
        Ok((_, Err(Error::Internal(message)))) => Some(format!("{what}: {message}")),
        Ok(_) => None,
    }
}

/// Constants computed at load are bounded by the constants of the file, however small the nodes are.
#[test]
fn constants_that_grow_when_they_are_computed_are_bounded() {
    let filled = |shape: &str, y: &str| Node::new("ConstantOfShape", &[shape], &[y]);
    let sum = || Node::new("ReduceSum", &["x"], &["s"]).int("keepdims", 0);
    let add = |wide: &str| {
        let total = Node::new("ReduceSum", &[wide], &["t"]).int("keepdims", 0);
        vec![sum(), total, Node::new("Add", &["s", "t"], &["y"])]
    };
    let with = |mut nodes: Vec<Node>, tensors: Vec<Tensor>, wide: &str| {
        nodes.extend(add(wide));
        float_graph(nodes, tensors)
    };
    // Each constant is twice as long as the one before, or as long.
    let doubling = |n: usize, make: &dyn Fn(&str, &str) -> Node| -> Vec<Node> {
        (0..n).map(|i| make(&format!("w{i}"), &format!("w{}", i + 1))).collect()
    };
    let long = || Tensor::floats("w0", &[1 << 16], &vec![1.0; 1 << 16]);
    let one = || Tensor::floats("w0", &[1], &[1.0]);
    let bytes = || Tensor::new("q", 3, &[256, 256], &vec![1; 1 << 16]);
    let square = |n: usize| {
        let mut nodes = vec![Node::new("DequantizeLinear", &["q", "scale", "zero"], &["w0"])];
        nodes.extend((0..n).map(|i| Node::new("Transpose", &[&format!("w{i}")], &[&format!("w{}", i + 1)])));
        nodes
    };
    let quantisation = || vec![bytes(), Tensor::floats("scale", &[], &[0.5]), Tensor::new("zero", 3, &[], &[0])];
    let names: Vec<String> = (0..50_000).map(|i| format!("p{i}")).collect();
    let parts: Vec<&str> = names.iter().map(String::as_str).collect();
    let huge = [1i64 << 40];
    let cases: Vec<(&str, Model)> = vec![
        ("a huge constant", with(vec![filled("n", "w")], vec![Tensor::int64s("n", &huge)], "w")),
        ("a constant of 4 GiB", with(vec![filled("n", "w")], vec![Tensor::int64s("n", &[1 << 15, 1 << 15])], "w")),
        ("a constant that overflows", with(vec![filled("n", "w")], vec![Tensor::int64s("n", &[1 << 62, 8, 8])], "w")),
        ("a constant of negative size", with(vec![filled("n", "w")], vec![Tensor::int64s("n", &[-4])], "w")),
        ("a constant spread out", {
            let spread = Node::new("Expand", &["w0", "n"], &["w"]);
            with(vec![spread], vec![one(), Tensor::int64s("n", &[1 << 16, 1 << 16])], "w")
        }),
        ("constants that double", {
            with(doubling(60, &|x, y| Node::new("Concat", &[x, x], &[y]).int("axis", 0)), vec![one()], "w60")
        }),
        ("long constants in a row", with(doubling(900, &|x, y| Node::new("Neg", &[x], &[y])), vec![long()], "w900")),
        ("more of them", with(doubling(6000, &|x, y| Node::new("Neg", &[x], &[y])), vec![long()], "w6000")),
        ("weights turned over and over", with(square(900), quantisation(), "w900")),
        ("weights turned still more", with(square(6000), quantisation(), "w6000")),
        ("many parts of a constant", {
            let split = Node::new("Split", &["w0"], &parts).int("axis", 0);
            with(vec![split], vec![Tensor::floats("w0", &[50_000], &vec![1.0; 50_000])], "p49999")
        }),
        ("a constant taken often", {
            let take = Node::new("Gather", &["w0", "i"], &["w"]);
            with(vec![take], vec![long(), Tensor::int64s("i", &vec![5; 1 << 16])], "w")
        }),
        ("rows of constants put together", {
            let columns = || Tensor::floats("c", &[20_000, 1], &vec![1.0; 20_000]);
            let rows = Tensor::floats("w0", &[20_000, 1], &vec![1.0; 20_000]);
            with(vec![Node::new("Concat", &["w0", "c"], &["w"]).int("axis", 1)], vec![rows, columns()], "w")
        }),
        ("products that only tract knows", {
            let long = |name: &str| Tensor::floats(name, &[1 << 14], &vec![1.0; 1 << 14]);
            let product = |x: &str, y: &str| {
                let text = Message::default().bytes(1, "equation").bytes(4, "i,j->ij").int(20, 3);
                Node::new("Einsum", &[x, "c"], &[y]).attribute(text)
            };
            with(vec![product("w0", "w")], vec![long("w0"), long("c")], "w")
        }),
        ("products of long constants", {
            let rows = Tensor::floats("w0", &[1 << 16, 1], &vec![1.0; 1 << 16]);
            let columns = Tensor::floats("c", &[1, 1 << 16], &vec![1.0; 1 << 16]);
            with(vec![Node::new("Mul", &["w0", "c"], &["w"])], vec![rows, columns], "w")
        }),
    ];
    let wrong: Vec<String> = cases.iter().filter_map(|(what, model)| bounded(what, model)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A function of one byte that repeatedly reads its own result twice, and bytes that are split into many parts.
#[test]
fn what_becomes_layers_is_bounded() {
    let dressed = |nodes: Vec<Node>, last: &str| {
        let mut model = tiny::graph();
        model.nodes.extend(nodes);
        model.nodes.push(Node::new("QuantizeLinear", &[last, "map.s", "map.z"], &["end.q"]));
        model.nodes.push(Node::new("DequantizeLinear", &["end.q", "map.s", "map.z"], &["end"]));
        model.outputs.push(value("end", dtype::FLOAT, &[]));
        model
    };
    let name = |i: usize| if i == 0 { "map.dq".to_string() } else { format!("e{i}") };
    let twice = |n: usize| (0..n).map(|i| Node::new("Mul", &[&name(i), &name(i)], &[&name(i + 1)])).collect();
    let turned = |n: usize| {
        let turn = |i: usize| Node::new("Transpose", &[&name(i)], &[&name(i + 1)]).ints("perm", &[0, 1, 3, 2]);
        (0..n).map(turn).collect()
    };
    let cases = [
        ("23 squares", dressed(twice(23), "e23")),
        ("400 squares", dressed(twice(400), "e400")),
        ("6000 squares", dressed(twice(6000), "e6000")),
        ("6000 transpositions", dressed(turned(6000), "e6000")),
    ];
    let wrong: Vec<String> = cases.iter().filter_map(|(what, model)| bounded(what, model)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
