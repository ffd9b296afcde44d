//! Float operators next to quantised ones. The head of a network runs in the program, also where its formulas are
//! undefined. Operators after tract's float convolutions stay with tract, and its errors are reported.

mod common;

use common::onnx::{self, Node, Tensor, dtype, value};
use oltr::model::{Engine, Options};
use oltr::{Error, Model};

const D: usize = 20;
const K: usize = 37;

/// Numbers between -1 and 1 that repeat late.
fn f32_values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// The direct feature comes quantised in steps of 1/16.
const STEP: f32 = 0.0625;

fn centroids() -> Vec<f32> {
    f32_values(K * D, 1).iter().map(|x| (x * 16.0).round() * STEP).collect()
}

/// The head behind a quantised direct feature, as exporters write it. `x = m / (d_min / 10 + ‖m‖)` with
/// `m = v + e ⊙ v_memory` is the squashed meta-embedding, with no division by a distance of 0.
fn head(naive: bool) -> Vec<u8> {
    let (d, k) = (D as i64, K as i64);
    let mut nodes = vec![
        Node::new("QuantizeLinear", &["image", "s", "z"], &["v.q"]),
        Node::new("DequantizeLinear", &["v.q", "s", "z"], &["v"]),
        Node::new("Mul", &["v", "one"], &["features"]),
        Node::new("Sub", &["features", "centroids"], &["differences"]),
        Node::new("ReduceL2", &["differences"], &["norms"]).ints("axes", &[1]).int("keepdims", 0),
        Node::new("Reshape", &["norms", "row"], &["distances"]),
        Node::new("ReduceMin", &["distances"], &["d_min"]).ints("axes", &[1]),
        Node::new("Gemm", &["features", "hallucinator", "hallucinator.b"], &["h"]).int("transB", 1),
        Node::new("Softmax", &["h"], &["o"]).int("axis", 1),
        Node::new("MatMul", &["o", "centroids"], &["memory"]),
        Node::new("MatMul", &["features", "selector"], &["s.raw"]),
        Node::new("Tanh", &["s.raw"], &["e"]),
        Node::new("Mul", &["e", "memory"], &["infused"]),
        Node::new("Add", &["features", "infused"], &["m"]),
        Node::new("Pow", &["m", "two"], &["squares"]),
        Node::new("ReduceSum", &["squares", "last"], &["square"]),
        Node::new("Sqrt", &["square"], &["norm"]),
    ];
    nodes.extend(if naive {
        vec![
            Node::new("Div", &["ten", "d_min"], &["reachability"]),
            Node::new("Mul", &["reachability", "m"], &["meta"]),
            Node::new("Mul", &["reachability", "norm"], &["meta.norm"]),
            Node::new("Add", &["meta.norm", "one"], &["scale"]),
            Node::new("Div", &["meta", "scale"], &["x"]),
        ]
    } else {
        vec![
            Node::new("Div", &["d_min", "ten"], &["inverse"]),
            Node::new("Add", &["inverse", "norm"], &["sum"]),
            Node::new("Max", &["sum", "tiny"], &["scale"]),
            Node::new("Div", &["m", "scale"], &["x"]),
        ]
    });
    nodes.extend([
        Node::new("MatMul", &["x", "classifier"], &["cosines"]),
        Node::new("Mul", &["cosines", "sixteen"], &["logits"]),
    ]);
    let number = |name: &str, x: f32| Tensor::floats(name, &[1], &[x]);
    onnx::Model {
        nodes,
        tensors: vec![
            Tensor::floats("s", &[], &[STEP]),
            Tensor::new("z", dtype::UINT8, &[], &[128]),
            Tensor::floats("centroids", &[k, d], &centroids()),
            Tensor::int64s("row", &[1, k]),
            Tensor::int64s("last", &[-1]),
            Tensor::floats("hallucinator", &[k, d], &f32_values(K * D, 2)),
            Tensor::floats("hallucinator.b", &[k], &f32_values(K, 3)),
            Tensor::floats("selector", &[d, d], &f32_values(D * D, 4)),
            Tensor::floats("classifier", &[d, k], &f32_values(D * K, 5)),
            number("ten", 10.0),
            number("one", 1.0),
            number("two", 2.0),
            number("tiny", 1e-12),
            number("sixteen", 16.0),
        ],
        inputs: vec![value("image", dtype::FLOAT, &[1, d])],
        outputs: ["logits", "distances", "features"]
            .map(|name| value(name, dtype::FLOAT, &[1, if name == "features" { d } else { k }]))
            .to_vec(),
        opset: Some(13),
        ..onnx::Model::default()
    }
    .encode()
}

/// Logits and distances by the formulas, in double precision.
fn expected(v: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let wide = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<f64>>();
    let v = wide(v.to_vec());
    let (c, wh, bh) = (wide(centroids()), wide(f32_values(K * D, 2)), wide(f32_values(K, 3)));
    let (we, w) = (wide(f32_values(D * D, 4)), wide(f32_values(D * K, 5)));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let distances: Vec<f64> =
        c.chunks(D).map(|c| c.iter().zip(&v).map(|(c, v)| (v - c) * (v - c)).sum::<f64>().sqrt()).collect();
    let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let powers: Vec<f64> = (0..K).map(|k| (dot(&wh[k * D..][..D], &v) + bh[k]).exp()).collect();
    let sum: f64 = powers.iter().sum();
    let m: Vec<f64> = (0..D)
        .map(|i| {
            let memory: f64 = (0..K).map(|k| powers[k] / sum * c[k * D + i]).sum();
            v[i] + (0..D).map(|j| v[j] * we[j * D + i]).sum::<f64>().tanh() * memory
        })
        .collect();
    let scale = (nearest / 10.0 + dot(&m, &m).sqrt()).max(1e-12);
    let logits = (0..K).map(|k| 16.0 * (0..D).map(|i| m[i] / scale * w[i * K + k]).sum::<f64>()).collect();
    (logits, distances)
}

fn run(file: &[u8], v: &[f32]) -> Vec<Vec<f32>> {
    let model = Model::from_bytes("head.onnx", file, &Options::default()).unwrap();
    let left: Vec<&str> = model.summary().steps.iter().filter(|s| s.program.is_none()).map(|s| s.op.as_str()).collect();
    assert_eq!(left, ["tract Source"]);
    model.session().unwrap().run_raw(&[v]).unwrap()
}

fn close(what: &str, got: &[f32], expected: &[f64]) {
    let most = expected.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(*got) - expected).abs() <= 2e-6 * most, "{what} {i}: {got} for {expected}");
    }
}

#[test]
fn a_head_gives_what_its_formulas_say() {
    for naive in [false, true] {
        let file = head(naive);
        for seed in 10..20 {
            let v: Vec<f32> = f32_values(D, seed).iter().map(|x| (x * 48.0).round() * STEP).collect();
            let outputs = run(&file, &v);
            let (logits, distances) = expected(&v);
            close("logit", &outputs[0], &logits);
            close("distance", &outputs[1], &distances);
            assert_eq!(outputs[2], v);
        }
    }
}

#[test]
fn a_feature_that_equals_a_centroid_is_at_distance_0_and_has_logits() {
    let v = &centroids()[5 * D..][..D];
    let outputs = run(&head(false), v);
    assert_eq!(outputs[1][5], 0.0);
    // The limit: the unit vector along v + e ⊙ v_memory.
    close("logit", &outputs[0], &expected(v).0);
    // A graph that divides by the distance gives IEEE 754's result.
    let naive = run(&head(true), v);
    assert_eq!(naive[1][5], 0.0);
    assert!(naive[0].iter().all(|x| x.is_nan()), "{:?}", naive[0]);
}

#[test]
fn a_meta_embedding_of_0_gives_logits_of_0() {
    // The feature 0 selects nothing of the memory: tanh 0 is 0.
    for naive in [false, true] {
        let outputs = run(&head(naive), &[0.0; D]);
        assert_eq!(outputs[0], [0.0; K]);
        assert!(outputs[1].iter().all(|d| *d > 0.0));
    }
}

/// Two quantised convolutions with a float one and its Relu between them.
fn half_quantised() -> Vec<u8> {
    let q = |x: &str, y: &str| Node::new("QuantizeLinear", &[x, "s", "z"], &[y]);
    let dq = |x: &str, y: &str| Node::new("DequantizeLinear", &[x, "s", "z"], &[y]);
    let bytes: Vec<u8> = (0..8 * 8 * 9).map(|i| (i * 73 % 255) as u8).collect();
    onnx::Model {
        nodes: vec![
            q("image", "a.q"),
            dq("a.q", "a"),
            Node::new("DequantizeLinear", &["w", "ws", "wz"], &["w.dq"]),
            Node::new("Conv", &["a", "w.dq"], &["b.raw"]).ints("pads", &[1; 4]),
            q("b.raw", "b.q"),
            dq("b.q", "b"),
            Node::new("Conv", &["b", "float"], &["c.raw"]).ints("pads", &[1; 4]),
            Node::new("Relu", &["c.raw"], &["c.relu"]),
            Node::new("Mul", &["c.relu", "half"], &["c.half"]),
            q("c.half", "c.q"),
            dq("c.q", "c"),
            Node::new("Conv", &["c", "w.dq"], &["d.raw"]),
            q("d.raw", "d.q"),
            dq("d.q", "d"),
            Node::new("Mul", &["d", "half"], &["y"]),
        ],
        tensors: vec![
            Tensor::floats("s", &[], &[0.05]),
            Tensor::new("z", dtype::UINT8, &[], &[120]),
            Tensor::new("w", dtype::INT8, &[8, 8, 3, 3], &bytes),
            Tensor::floats("ws", &[], &[0.001]),
            Tensor::new("wz", dtype::INT8, &[], &[0]),
            Tensor::floats("float", &[8, 8, 3, 3], &f32_values(8 * 8 * 9, 6)),
            Tensor::floats("half", &[], &[0.5]),
        ],
        inputs: vec![value("image", dtype::FLOAT, &[1, 8, 9, 9])],
        outputs: vec![value("y", dtype::FLOAT, &[1, 8, 7, 7])],
        opset: Some(13),
        ..onnx::Model::default()
    }
    .encode()
}

#[test]
fn what_hangs_on_a_float_convolution_stays_with_tract() {
    let file = half_quantised();
    let load = |engine| Model::from_bytes("half.onnx", &file, &Options { engine, ..Options::default() }).unwrap();
    let model = load(Engine::Int8);
    let steps = &model.summary().steps;
    let programs = steps.iter().filter_map(|s| s.program).max().map(|p| p + 1);
    assert_eq!(programs, Some(2), "{steps:?}");
    // The product after the last convolution runs in its program; the one after the float convolution does not.
    let ours: Vec<&str> = steps.iter().filter(|s| s.program == Some(1)).map(|s| s.op.as_str()).collect();
    assert!(ours.contains(&"mul") && !ours.contains(&"relu"), "{ours:?}");
    assert!(steps.iter().filter(|s| s.program == Some(0)).all(|s| s.op != "mul" && s.op != "relu"), "{steps:?}");
    let input: Vec<f32> = f32_values(8 * 81, 7).iter().map(|x| 4.0 * x).collect();
    let run = |model: &Model| model.session().unwrap().run_raw(&[&input]).unwrap().remove(0);
    let (y, reference) = (run(&model), run(&load(Engine::Tract)));
    // One step of the quantisation after the float convolution, and of the last one.
    for (y, reference) in y.iter().zip(&reference) {
        assert!((y - reference).abs() <= 2.0 * 0.05 * 0.5 + 1e-6, "{y} for {reference}");
    }
    assert!(reference.iter().any(|y| y.abs() > 0.2), "{reference:?}");
}

#[test]
fn what_tract_fails_to_run_is_the_models_fault() {
    let file = onnx::Model {
        nodes: vec![
            Node::new("Cast", &["x"], &["index"]).int("to", dtype::INT64),
            Node::new("Gather", &["table", "index"], &["y"]),
        ],
        tensors: vec![Tensor::floats("table", &[4], &[1.0, 2.0, 3.0, 4.0])],
        inputs: vec![value("x", dtype::FLOAT, &[1])],
        outputs: vec![value("y", dtype::FLOAT, &[1])],
        opset: Some(13),
        ..onnx::Model::default()
    };
    let model = Model::from_bytes("gather.onnx", &file.encode(), &Options::default()).unwrap();
    let mut session = model.session().unwrap();
    assert_eq!(session.run_raw(&[&[2.0]]).unwrap(), [[3.0]]);
    let error = session.run_raw(&[&[100.0]]).unwrap_err();
    assert!(matches!(&error, Error::BadModel { model, .. } if model == "gather.onnx"), "{error}");
    assert!(error.to_string().contains("does not run"), "{error}");
    // The session is as good as new.
    assert_eq!(session.run_raw(&[&[1.0]]).unwrap(), [[2.0]]);
}

/// Averages between quantised tensors, of a batch of `n`: a batch of 1 runs in a program, another falls back to tract.
fn averages(n: i64, pool: Node) -> Vec<u8> {
    let dq = |q: &str, x: &str| Node::new("DequantizeLinear", &[q, "s", "z"], &[x]);
    onnx::Model {
        nodes: vec![
            Node::new("QuantizeLinear", &["image", "s", "z"], &["q"]),
            dq("q", "x"),
            pool,
            Node::new("QuantizeLinear", &["mean", "s", "z"], &["mean.q"]),
            dq("mean.q", "y"),
        ],
        tensors: vec![Tensor::floats("s", &[], &[0.1]), Tensor::new("z", dtype::UINT8, &[], &[121])],
        inputs: vec![value("image", dtype::FLOAT, &[n, 4, 24, 24])],
        outputs: vec![value("y", dtype::FLOAT, &[])],
        opset: Some(13),
        ..onnx::Model::default()
    }
    .encode()
}

#[test]
fn an_average_that_falls_back_rounds_as_a_program_does() {
    let pools = || {
        let window = |side: i64| Node::new("AveragePool", &["x"], &["mean"]).ints("kernel_shape", &[side, side]);
        [
            window(2).ints("strides", &[2, 2]),
            window(4).ints("strides", &[1, 3]),
            window(2).ints("pads", &[1, 1, 1, 1]).int("count_include_pad", 1),
        ]
    };
    let image: Vec<f32> = f32_values(2 * 4 * 24 * 24, 6).iter().map(|x| x * 12.0).collect();
    for (one, two) in pools().into_iter().zip(pools()) {
        let load = |bytes: &[u8]| Model::from_bytes("averages", bytes, &Options::default()).unwrap();
        let (one, two) = (load(&averages(1, one)), load(&averages(2, two)));
        let falls_back = |m: &Model| m.summary().steps.iter().all(|s| !s.op.starts_with("average-pool"));
        assert!(!falls_back(&one) && falls_back(&two), "a batch runs in a program: test another fallback");
        let mut expected = Vec::new();
        for half in image.chunks(image.len() / 2) {
            let mut session = one.session().unwrap();
            expected.extend(session.run_raw(&[half]).unwrap().remove(0));
        }
        let mut session = two.session().unwrap();
        let got = session.run_raw(&[&image]).unwrap().remove(0);
        let apart = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(got.len() == expected.len() && apart == 0, "{apart} of {} bytes differ", got.len());
    }
}
