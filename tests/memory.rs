//! Memory of loading and running, compared with the promised limits.
//!
//! Counts the heap of the working thread. With one thread that is all that the library allocates.
#![cfg(feature = "demo-model")]

mod common;

use common::counting_allocator::{Taken, held_by, taken_by};
use common::onnx::{self, Node, Tensor, dtype, value};
use oltr::decide::Decision;
use oltr::enrol::{Enrolled, Enrolments};
use oltr::model::{Engine, Options};
use oltr::{Classifier, Error, Frame, Limits, Model, PixelFormat};
use oltr_int8::Element;

const MIB: f64 = (1 << 20) as f64;

fn frame() -> Frame {
    let (width, height) = (320, 240);
    let pixels = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
    Frame::new(PixelFormat::Rgb24, width as u32, height as u32, width * 3, pixels, &Limits::default()).unwrap()
}

fn builtin(memory_bytes: Option<u64>) -> Model {
    let mut limits = Limits::default();
    limits.memory_bytes = memory_bytes;
    Model::builtin(&Options { limits, ..Options::default() }).unwrap()
}

#[test]
fn a_frame_takes_nothing_from_the_allocator() {
    let model = builtin(None);
    let mut session = model.session().unwrap();
    let frame = frame();
    for _ in 0..3 {
        session.run(&frame).unwrap();
    }
    for _ in 0..50 {
        let (held, taken) = held_by(|| taken_by(|| assert!(!session.run(&frame).unwrap().logits.is_empty())));
        assert_eq!((held.now, taken), (0, Taken { times: 0, bytes: 0 }));
    }
}

#[test]
fn a_frame_of_an_enrolled_class_takes_nothing_either() {
    let (model, frame) = (builtin(None), frame());
    let features = model.session().unwrap().run(&frame).unwrap().features.clone();
    let mut enrolments = Enrolments::new(model.sha256());
    enrolments.add(Enrolled::new("this one", &vec![features; 3], 10.0).unwrap()).unwrap();
    let mut classifier = Classifier::new(&model).unwrap().with_enrolments(&enrolments);
    let mut classify = || assert_eq!(classifier.classify(&frame).unwrap().decision, Decision::Enrolled(0));
    classify();
    for _ in 0..10 {
        let (held, taken) = held_by(|| taken_by(&mut classify));
        assert_eq!((held.now, taken), (0, Taken { times: 0, bytes: 0 }));
    }
}

#[test]
fn the_arena_is_what_a_session_takes() {
    for name in ["models/everyday.onnx", "tests/graphs/r10s.qdq.onnx", "tests/graphs/mbv2s.qop.onnx"] {
        let path = format!("{}/{name}", env!("CARGO_MANIFEST_DIR"));
        let model = Model::load(path, &Options::default()).unwrap();
        let input = vec![0.5; model.inputs()[0].volume()];
        let bundle = model.bundle().is_some();
        let (held, _session) = held_by(|| {
            let mut session = model.session().unwrap();
            // A graph without a bundle gets its buffers with its first numbers.
            if !bundle {
                session.run_raw(&[&input]).unwrap();
            }
            session
        });
        let arena = (model.summary().arena_bytes + model.summary().scratch_bytes) as f64;
        // In addition to the arena: the input, as bytes or as numbers.
        let taken = held.now as f64 - if bundle { input.len() } else { 4 * input.len() } as f64;
        assert!((taken / arena - 1.0).abs() <= 0.1, "{name}: {taken} taken, arena {arena}");
    }
}

#[test]
fn a_session_beyond_the_limit_is_refused() {
    let needed = builtin(None).summary().needed_bytes();
    builtin(Some(needed)).session().unwrap();
    let model = builtin(Some(needed - 1));
    let (held, result) = held_by(|| model.session());
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Limit { what: "memory_bytes", value, .. } if value == needed), "{error}");
    assert!(held.most < 4096, "{held:?}: nothing is allocated for what is refused");
}

#[test]
fn loading_and_running_stay_within_their_bounds() {
    let file = std::fs::metadata(concat!(env!("CARGO_MANIFEST_DIR"), "/models/everyday.onnx")).unwrap().len() as f64;
    let frame = frame();
    // If a program cannot read its own file, the built-in bytes count as a copy of the file.
    let (loading, model) = held_by(|| builtin(None));
    let peak = loading.most as f64 + file;
    assert!(peak <= 3.0 * file + 24.0 * MIB, "peak {:.1} MiB of a file of {:.1}", peak / MIB, file / MIB);
    let (running, _session) = held_by(|| {
        let mut session = model.session().unwrap();
        for _ in 0..5 {
            session.run(&frame).unwrap();
        }
        session
    });
    let (steady, needed) = ((loading.now + running.now) as f64, model.summary().needed_bytes() as f64);
    assert!(steady <= needed + 12.0 * MIB, "{:.1} MiB steady, {:.1} needed", steady / MIB, needed / MIB);
    assert!(steady >= 0.9 * needed, "{:.1} MiB steady, {:.1} said to be needed", steady / MIB, needed / MIB);
}

/// Neither a file nor the built-in bytes stay in memory next to the packed weights.
#[test]
fn a_file_is_not_held_beside_its_weights() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/everyday.onnx");
    for load in [|_: &str| builtin(None), |path: &str| Model::load(path, &Options::default()).unwrap()] {
        let (loading, model) = held_by(|| load(path));
        let weights = model.summary().weights_bytes as f64;
        // One tensor at a time, the graph, and tract's nodes.
        let beside = (loading.most as f64 - weights) / MIB;
        assert!(beside <= 5.0, "{}: {beside:.1} MiB beside {:.1} of weights", model.name(), weights / MIB);
    }
}

/// The built-in bytes stay in the program's file. (Emulators of other processors report their own pages.)
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_built_in_bundle_is_not_resident() {
    builtin(None);
    let bytes = oltr::model::builtin_bytes().unwrap();
    // One word for each page. Its highest bit means "present" (pagemap(5)).
    let page = rustix::param::page_size();
    let first = bytes.as_ptr().addr() / page;
    let mut words = vec![0; bytes.len() / page * 8];
    let pagemap = std::fs::File::open("/proc/self/pagemap").unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&pagemap, &mut words, first as u64 * 8).unwrap();
    let resident = words.chunks_exact(8).filter(|word| word[7] & 0x80 != 0).count();
    // Both ends are compared, and the system maps neighbouring pages too.
    assert!(resident * page <= 512 << 10, "{resident} of {} pages are resident", words.len() / 8);
}

/// The stem of ResNet-10 at 224×224, quantised, with random weights: the part that determines the arena.
fn stem() -> Vec<u8> {
    let weights = |name: &str, shape: &[i64]| {
        let volume = shape.iter().product::<i64>();
        let bytes: Vec<u8> = (0..volume).map(|i| (i * 73 % 255) as u8).collect();
        Tensor::new(name, dtype::INT8, shape, &bytes)
    };
    let q = |x: &str, y: &str| Node::new("QuantizeLinear", &[x, "s", "z"], &[y]);
    let dq = |x: &str, y: &str| Node::new("DequantizeLinear", &[x, "s", "z"], &[y]);
    let dqw = |x: &str, y: &str| Node::new("DequantizeLinear", &[x, "ws", "wz"], &[y]);
    onnx::Model {
        nodes: vec![
            q("image", "image.q"),
            dq("image.q", "image.dq"),
            dqw("w1", "w1.dq"),
            Node::new("Conv", &["image.dq", "w1.dq"], &["conv1"]).ints("pads", &[3; 4]).ints("strides", &[2, 2]),
            q("conv1", "conv1.q"),
            dq("conv1.q", "conv1.dq"),
            Node::new("MaxPool", &["conv1.dq"], &["pool"])
                .ints("kernel_shape", &[3, 3])
                .ints("pads", &[1; 4])
                .ints("strides", &[2, 2]),
            q("pool", "pool.q"),
            dq("pool.q", "pool.dq"),
            dqw("w2", "w2.dq"),
            Node::new("Conv", &["pool.dq", "w2.dq"], &["conv2"]).ints("pads", &[1; 4]),
            q("conv2", "conv2.q"),
            dq("conv2.q", "conv2.dq"),
            Node::new("Add", &["conv2.dq", "pool.dq"], &["sum"]),
            q("sum", "sum.q"),
            dq("sum.q", "sum.dq"),
            Node::new("GlobalAveragePool", &["sum.dq"], &["mean"]),
            q("mean", "mean.q"),
            dq("mean.q", "y"),
        ],
        tensors: vec![
            Tensor::floats("s", &[], &[0.05]),
            Tensor::new("z", dtype::UINT8, &[], &[120]),
            Tensor::floats("ws", &[], &[0.001]),
            Tensor::new("wz", dtype::INT8, &[], &[0]),
            weights("w1", &[64, 3, 7, 7]),
            weights("w2", &[64, 64, 3, 3]),
        ],
        inputs: vec![value("image", dtype::FLOAT, &[1, 3, 224, 224])],
        outputs: vec![value("y", dtype::FLOAT, &[1, 64, 1, 1])],
        opset: Some(13),
        ..onnx::Model::default()
    }
    .encode()
}

#[test]
fn the_arena_is_as_small_as_what_lives_at_the_same_time() {
    let options = Options { engine: Engine::Int8, ..Options::default() };
    let model = Model::from_bytes("stem.onnx", &stem(), &options).unwrap();
    let layers: Vec<&str> = model.summary().steps.iter().map(|s| s.op.as_str()).collect();
    assert!(layers.contains(&"conv 3x3 +add"), "{layers:?}");
    let bytes = |shape: &[usize]| {
        let quant = oltr_int8::quant::Quant { scale: 1.0, zero_point: 0 };
        oltr_int8::Tensor::new(shape, Element::Bytes(quant)).map.volume() as f64
    };
    // Convolution and pool are alive together, and nothing is larger.
    let live = bytes(&[1, 64, 112, 112]) + bytes(&[1, 64, 56, 56]);
    let arena = model.summary().arena_bytes as f64;
    assert!(arena >= live, "{arena} < {live}");
    assert!(arena <= 1.1 * live, "arena {arena}, alive {live}: {:.3}", arena / live);
}
