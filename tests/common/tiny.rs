//! A whole OLTR network in a kilobyte: quantised convolution, pooling, and a float head with centroids.

use super::onnx::{Model, Node, Tensor, dtype, value};

/// Known classes.
pub const CLASSES: usize = 3;
/// Channels of the convolution, and numbers in the feature.
pub const WIDTH: usize = 4;
/// Side of the picture.
pub const SIDE: i64 = 8;

/// The graph without metadata: `image` to `logits`, `distances`, `features`.
///
/// `image.q → conv.q → relu → map.q → pool → features`; weights `conv.w` per channel with `conv.ws` and `conv.wz`,
/// scales `image.s`, `map.s`, zero points `image.z`, `map.z`.
pub fn graph() -> Model {
    let width = WIDTH as i64;
    let weights: Vec<u8> = (0..WIDTH * 27).map(|i| (i * 37 % 255) as u8).collect();
    let numbers = |n: usize| (0..n).map(|i| (i * 7 % 5) as f32 - 1.5).collect::<Vec<f32>>();
    let scalar = |name: &str, scale: f32| Tensor::floats(name, &[], &[scale]);
    let zero = |name: &str, zero: u8| Tensor::new(name, dtype::UINT8, &[], &[zero]);
    Model {
        nodes: vec![
            Node::new("QuantizeLinear", &["image", "image.s", "image.z"], &["image.q"]),
            Node::new("DequantizeLinear", &["image.q", "image.s", "image.z"], &["image.dq"]),
            Node::new("DequantizeLinear", &["conv.w", "conv.ws", "conv.wz"], &["conv.dq"]).int("axis", 0),
            Node::new("Conv", &["image.dq", "conv.dq"], &["conv"]).ints("pads", &[1, 1, 1, 1]),
            Node::new("Relu", &["conv"], &["map"]),
            Node::new("QuantizeLinear", &["map", "map.s", "map.z"], &["map.q"]),
            Node::new("DequantizeLinear", &["map.q", "map.s", "map.z"], &["map.dq"]),
            Node::new("GlobalAveragePool", &["map.dq"], &["pool"]),
            Node::new("Flatten", &["pool"], &["features"]),
            Node::new("MatMul", &["features", "classifier"], &["logits"]),
            Node::new("Sub", &["features", "centroids"], &["differences"]),
            Node::new("ReduceL2", &["differences"], &["norms"]).ints("axes", &[1]).int("keepdims", 0),
            Node::new("Reshape", &["norms", "row"], &["distances"]),
        ],
        tensors: vec![
            scalar("image.s", 0.02),
            zero("image.z", 114),
            scalar("map.s", 0.05),
            zero("map.z", 0),
            Tensor::new("conv.w", dtype::INT8, &[width, 3, 3, 3], &weights),
            Tensor::floats("conv.ws", &[width], &[0.001, 0.002, 0.0015, 0.0005]),
            Tensor::new("conv.wz", dtype::INT8, &[width], &[0; WIDTH]),
            Tensor::floats("classifier", &[width, CLASSES as i64], &numbers(WIDTH * CLASSES)),
            Tensor::floats("centroids", &[CLASSES as i64, width], &numbers(WIDTH * CLASSES)),
            Tensor::int64s("row", &[1, CLASSES as i64]),
        ],
        inputs: vec![value("image", dtype::FLOAT, &[1, 3, SIDE, SIDE])],
        outputs: vec![
            value("logits", dtype::FLOAT, &[1, CLASSES as i64]),
            value("distances", dtype::FLOAT, &[1, CLASSES as i64]),
            value("features", dtype::FLOAT, &[1, width]),
        ],
        opset: Some(13),
        ..Model::default()
    }
}

/// The graph with the metadata of a bundle.
pub fn bundle() -> Model {
    let mut model = graph();
    let classes = r#"[{"id":"a","name":"an a","train_count":200},{"id":"b","name":"a b","train_count":50},
        {"id":"c","name":"a c","train_count":5}]"#;
    let preprocess = r#"{"size":8,"resize":"stretch","mean":[127,127,127],"std":[64,64,64]}"#;
    model.set("oltr.version", "1");
    model.set("oltr.name", "tiny");
    model.set("oltr.classes", classes);
    model.set("oltr.preprocess", preprocess);
    model.set("oltr.open", r#"{"rule":"reachability","reachability":0.5,"probability":0.1}"#);
    model
}
