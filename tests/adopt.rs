//! Bundles of tiny classifiers of every form, made by tests/graphs/make_classifiers.py.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use oltr::adopt::classifier::Reading;
use oltr::adopt::{Photos, open_classifier, with_metric};
use oltr::bundle::{Class, Preprocess, Resize};
use oltr::calibrate::Worth;
use oltr::inference::Record;
use oltr::{Classifier, Frame, Limits, Model, source::photo};

const PHOTOS: [&str; 6] = ["cup.jpg", "face.jpg", "motorbike.jpg", "coins.jpg", "cat.jpg", "moon.jpg"];

fn classes(n: usize) -> Vec<Class> {
    (0..n).map(|i| Class { id: format!("c{i}"), name: format!("class {i}"), train_count: 2 }).collect()
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graphs/classifiers").join(name)).unwrap()
}

fn preprocess(size: u32) -> Preprocess {
    let resize = Resize::Stretch;
    Preprocess { size, resize, resize_to: None, mean: [127.5; 3], std: [127.5; 3], pad_color: None }
}

fn photos() -> Vec<Frame> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/photos");
    PHOTOS.iter().map(|name| photo::read(folder.join(name), &Limits::default()).unwrap()).collect()
}

/// The records of the photos, two a class.
fn records(model: &Model) -> Vec<Record> {
    let mut classifier = Classifier::new(model).unwrap();
    let frames = photos();
    let record = |(photo, frame): (usize, &Frame)| {
        let scores = classifier.classify(frame).unwrap().scores();
        let outputs = classifier.outputs();
        Record {
            photo,
            truth: Some(photo / 2),
            scores,
            kinds: oltr::scores::ScoreKind::all(&outputs.logits, &outputs.distances),
            own_distance: outputs.distances.get(photo / 2).copied(),
            unscaled_probability: 0.5,
            features: outputs.features.clone(),
            distances: outputs.distances.clone(),
            logits: outputs.logits.clone(),
        }
    };
    frames.iter().enumerate().map(record).collect()
}

fn load(name: &str, bytes: &[u8]) -> Model {
    Model::from_bytes(name, bytes, &Default::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn classifiers_of_every_form_become_bundles() {
    let limits = Limits::default();
    let calls = AtomicUsize::new(0);
    let mut logits: Vec<Vec<f32>> = Vec::new();
    for name in ["nchw.onnx", "nhwc.onnx", "steps.onnx", "conv.onnx", "qdq.onnx", "qoperator.onnx"] {
        let last = ["nhwc.onnx", "steps.onnx"].contains(&name);
        let reading = Reading::default();
        let (opened, found) =
            open_classifier(name, &file(name), "tiny", classes(3), preprocess, &reading, &limits).unwrap();
        assert_eq!((found.size, found.channels_last), (32, last), "{name}");
        assert_eq!(found.softmax, last || name.starts_with('q'), "{name}");
        let model = load(name, &opened);
        assert_eq!(model.inputs()[0].name, "image");
        let train = records(&model);
        assert!(train[0].distances.is_empty() && train[0].features.len() == 8, "{name}");
        let length = train[0].features.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((length - 10.0).abs() < 1e-3, "{name}: {length}");
        let bundle = model.bundle().unwrap();
        let mut worth = |_: &_, records: &[Record]| {
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Some(Worth { all: f64::from(records[0].distances[0]), samples: vec![] })
        };
        let photos = Photos { train: &train, val: &train, temperature: 0.5 };
        let (made, _, _) = with_metric(name, &opened, bundle, &photos, &limits, &mut worth).unwrap();
        let made = load(name, &made);
        // The bytes of a metric do not make a float classifier a badly quantised one.
        let fallback = &made.summary().coverage.fallback;
        assert!(name.starts_with('q') || fallback.is_none(), "{name}: {fallback:?}");
        let after = records(&made);
        for (before, after) in train.iter().zip(&after) {
            assert_eq!(before.features, after.features, "{name}");
            let halved: Vec<f32> = before.logits.iter().map(|z| z / 0.5).collect();
            assert_eq!(halved, after.logits, "{name}");
            assert!(after.distances.len() == 3 && after.distances.iter().all(|d| d.is_finite() && *d >= 0.0), "{name}");
        }
        // A photo lies nearer to a mean that includes it.
        let own = |r: &Record| r.own_distance.unwrap() <= r.distances.iter().copied().fold(0.0, f32::max);
        assert!(after.iter().all(own), "{name}");
        logits.push(train[0].logits.clone());
    }
    // All have the same network, up to the rounding of bytes.
    for other in &logits[1..] {
        let close = logits[0].iter().zip(other).all(|(a, b)| (a - b).abs() < 0.2);
        assert!(close, "{logits:?}");
    }
    assert!(calls.into_inner() > 5);
}

#[test]
fn a_metric_is_replaced_by_another() {
    let limits = Limits::default();
    let (opened, _) =
        open_classifier("m", &file("qdq.onnx"), "tiny", classes(3), preprocess, &Reading::default(), &limits).unwrap();
    let model = load("m", &opened);
    let train = records(&model);
    let mut none = |_: &_, _: &[Record]| None;
    let bundle = model.bundle().unwrap();
    let photos = Photos { train: &train, val: &train, temperature: 0.5 };
    let (once, _, _) = with_metric("m", &opened, bundle, &photos, &limits, &mut none).unwrap();
    let model = Model::undivided("m", &once, &Default::default()).unwrap();
    let again = records(&model);
    assert_eq!(again[0].logits, train[0].logits, "undivided");
    let photos = Photos { train: &again, val: &again, temperature: 0.5 };
    let (twice, _, _) = with_metric("m", &once, model.bundle().unwrap(), &photos, &limits, &mut none).unwrap();
    let (a, b) = (records(&load("m", &once)), records(&load("m", &twice)));
    for (a, b) in a.iter().zip(&b) {
        for (a, b) in a.distances.iter().zip(&b.distances) {
            assert!((a - b).abs() <= 1e-3 * a.max(1.0), "{a} {b}");
        }
    }
}

#[test]
fn a_new_metric_leaves_the_factor_for_pictures_of_nothing() {
    let limits = Limits::default();
    let everyday = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/everyday.onnx")).unwrap();
    let model = Model::undivided("m", &everyday, &Default::default()).unwrap();
    let train = records(&model);
    let mut none = |_: &_, _: &[Record]| None;
    let photos = Photos { train: &train, val: &train, temperature: 0.5 };
    let bundle = model.bundle().unwrap();
    let (with, shape, _) = with_metric("m", &everyday, bundle, &photos, &limits, &mut none).unwrap();
    // The same metric, fitted here: the graph's distances are longer by the factor, for coins and the moon alone.
    let energy = |r: &Record| oltr::scores::log_sum_exp(r.logits.iter().copied().map(f64::from));
    let example = |r: &'_ Record| (r.features.clone(), energy(r), r.truth.unwrap());
    let owned: Vec<_> = train.iter().map(example).collect();
    let examples: Vec<_> =
        owned.iter().map(|(f, e, k)| oltr::adopt::metric::Example { feature: f, energy: *e, class: *k }).collect();
    let classes = bundle.classes.len();
    let edit = oltr::model::edit::Edit::new("m", &everyday, &limits).unwrap();
    let (_, trained) = oltr::adopt::metric::trained_centroids(&edit).unwrap();
    let metric = oltr::adopt::metric::Metric::fit(&examples, classes, Some(&trained), 0.5, shape).unwrap();
    let factors: Vec<f32> = records(&Model::undivided("m", &with, &Default::default()).unwrap())
        .iter()
        .map(|r| r.distances[0] / metric.distances(&r.features, energy(r))[0])
        .collect();
    for (name, factor) in PHOTOS.iter().zip(&factors) {
        let drawn = ["coins.jpg", "moon.jpg"].contains(name);
        assert!(if drawn { *factor > 1.3 } else { (factor - 1.0).abs() < 1e-3 }, "{name}: {factor}");
    }
}

#[test]
fn a_classifier_may_be_judged_by_its_logits_alone() {
    let reading = Reading { logits_only: true, ..Reading::default() };
    let limits = Limits::default();
    let (opened, found) =
        open_classifier("m", &file("nhwc.onnx"), "tiny", classes(3), preprocess, &reading, &limits).unwrap();
    assert_eq!(found.features, None);
    let model = load("m", &opened);
    let mut classifier = Classifier::new(&model).unwrap();
    let frames = photos();
    let answer = classifier.classify(&frames[0]).unwrap();
    assert!(answer.is_known() && answer.reachability == 0.0 && answer.nearest.class == answer.most_probable);
}

#[test]
fn what_cannot_be_adopted_says_what_to_do() {
    let open = |name: &str, n: usize, reading: Reading| {
        let result = open_classifier(name, &file(name), "tiny", classes(n), preprocess, &reading, &Limits::default());
        result.unwrap_err().to_string()
    };
    let said = open("nchw.onnx", 5, Reading::default());
    assert!(said.contains("5 classes") && said.contains("--classes"), "{said}");
    let said = open("nchw.onnx", 3, Reading { size: Some(64), ..Reading::default() });
    assert!(said.contains("--size"), "{said}");
    let said = open("nchw.onnx", 3, Reading { features: Some("nowhere"), ..Reading::default() });
    assert!(said.contains("'nowhere'") && said.contains("--features"), "{said}");
}
