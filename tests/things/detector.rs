//! Boxes from a tiny detector in ONNX.

use std::process::Command;
use std::time::Duration;

use oltr::decide::events::Phase;
use oltr::model::Options;
use oltr::pipeline::{self, Control};
use oltr::things::detector::{Detector, DetectorFinder, Form, Settings as Boxes};
use oltr::things::{AnyFinder, Budget, Finder, Gate, Mask, Regions, Settings, Stage, only};
use oltr::{Classifier, Error, Frame, Limits, Model, Rect};

use super::common::counting_allocator::{held_by, taken_by};
use super::common::onnx::{self, Node, Tensor, dtype, value};
use super::common::tiny;
use super::scene::{Film, HEIGHT, SIDE, Shot, WIDTH, draw, passage, y4m};
use super::{Notes, tiny_model};

/// Cells of the tiny detector along a side, and pixels of a cell.
const CELLS: usize = 16;
const CELL: usize = 4;

/// A detector of bright areas: a box around each cell, with the mean of the cell as score. `corners` makes the box of
/// a cell.
fn bright(corners: impl Fn(usize, usize) -> [f32; 4]) -> onnx::Model {
    let (boxes, side) = ((CELLS * CELLS) as i64, (CELLS * CELL) as i64);
    let all: Vec<f32> = (0..CELLS * CELLS).flat_map(|i| corners(i % CELLS, i / CELLS)).collect();
    onnx::Model {
        nodes: vec![
            Node::new("AveragePool", &["image"], &["cells"])
                .ints("kernel_shape", &[CELL as i64; 2])
                .ints("strides", &[CELL as i64; 2]),
            Node::new("ReduceMean", &["cells"], &["luma"]).ints("axes", &[1]).int("keepdims", 0),
            Node::new("Reshape", &["luma", "row"], &["scores"]),
            // Boxes that are the same for every picture, but do not look constant to the engine.
            Node::new("ReduceMean", &["scores"], &["mean"]).ints("axes", &[1]).int("keepdims", 0),
            Node::new("Mul", &["mean", "zero"], &["nothing"]),
            Node::new("Add", &["places", "nothing"], &["boxes"]),
        ],
        tensors: vec![
            Tensor::int64s("row", &[1, boxes]),
            Tensor::floats("zero", &[1], &[0.0]),
            Tensor::floats("places", &[1, boxes, 4], &all),
        ],
        inputs: vec![value("image", dtype::FLOAT, &[1, 3, side, side])],
        outputs: vec![value("boxes", dtype::FLOAT, &[1, boxes, 4]), value("scores", dtype::FLOAT, &[1, boxes])],
        opset: Some(13),
        ..onnx::Model::default()
    }
}

/// A box of two and a half cells around a cell.
fn around(x: usize, y: usize) -> [f32; 4] {
    let (x, y) = ((x * CELL) as f32, (y * CELL) as f32);
    [x - 3.0, y - 3.0, x + 7.0, y + 7.0]
}

fn load(model: &onnx::Model) -> Model {
    Model::from_bytes("bright.onnx", &model.encode(), &Options::default()).unwrap()
}

fn detector(score: f32) -> Detector {
    Detector::new(&load(&bright(around)), &Boxes { score, ..Boxes::default() }, &Limits::default()).unwrap()
}

fn picture(x: i32) -> Frame {
    let mut luma = vec![0; (WIDTH * HEIGHT) as usize];
    draw(7, &[(x, 90, SIDE, SIDE)], WIDTH, HEIGHT, &mut luma);
    let (format, stride) = (oltr::PixelFormat::Gray, WIDTH as usize);
    Frame::new(format, WIDTH, HEIGHT, stride, luma, &Limits::default()).unwrap()
}

#[test]
fn a_detector_says_where_something_is() {
    let mut detector = detector(0.6);
    assert!(matches!(detector.form(), Form::Boxes { boxes: 256, scores: 1, .. }));
    for x in [40, 150, 270] {
        let found: Vec<_> = detector.detect(&picture(x)).unwrap().collect();
        assert!(!found.is_empty() && found.len() < 8, "{found:?}");
        for (area, score) in found {
            assert!(area.holds(x + SIDE as i32 / 2, 90 + SIDE as i32 / 2) || score < 0.75, "{area:?} for {x}");
            assert!(area.x >= x - 60 && area.x + area.width as i32 <= x + SIDE as i32 + 60, "{area:?} for {x}");
        }
    }
    assert!(detector.bytes() > 64 * 64 * 3 * 4);
}

/// Number of events and crops with a detector of this score, with motion or alone.
fn run(score: f32, moving: bool, stands: bool, spacing: Duration) -> (usize, usize) {
    let (model, limits) = (tiny_model(), Limits::default());
    let mut settings = Settings::default();
    if !moving {
        settings.scene.min_way = 0.0;
    }
    let gate = moving.then(|| Gate::new(&settings.scene).unwrap());
    let finder = AnyFinder::new(DetectorFinder::new(detector(score), gate, spacing));
    let mut stage = Stage::with_finder(finder, &settings, Budget::fixed(), &limits).unwrap();
    let script = move |frame: u64| match frame {
        220.. => Shot::End,
        _ if stands => Shot::Squares(vec![(150, 90, SIDE, SIDE)]),
        _ => Shot::Squares(passage(frame, 120).into_iter().collect()),
    };
    let (mut film, mut notes) = (Film::recording(script), Notes::default());
    let (control, pipeline) = (Control::default(), pipeline::Settings::default());
    let mut classifier = Classifier::new(&model).unwrap();
    pipeline::run_things(&mut film, &mut stage, &mut classifier, &mut notes, &control, &pipeline, &limits).unwrap();
    notes.check();
    (notes.of(|phase| *phase == Phase::New).len(), notes.cuts.len())
}

/// A mask of eight columns that shows those of `shown`.
fn columns(shown: std::ops::Range<usize>) -> Mask {
    let luma: Vec<u8> = (0..64).map(|place| if shown.contains(&(place % 8)) { 255 } else { 0 }).collect();
    Mask::new(8, 8, &luma).unwrap()
}

#[test]
fn a_detector_alone_looks_where_it_is_told_to() {
    let found = |change: &dyn Fn(&mut oltr::things::Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        let mut finder = DetectorFinder::new(detector(0.6), None, Duration::ZERO).within(&settings.scene);
        let mut regions = Regions::new();
        finder.find(&picture(150), Duration::ZERO, &[], &mut regions).unwrap();
        regions.len()
    };
    let all = found(&|_| ());
    assert!(all > 0);
    let rect = |x, y, width, height| Rect { x, y, width, height };
    let ignore = |settings: &mut Settings, x: i32| {
        settings.scene.ignore.push(oltr::things::Area { x, y: 0, width: WIDTH / 2, height: HEIGHT }).unwrap();
    };
    assert_eq!(found(&|settings| settings.scene.mask = Some(columns(2..6))), all);
    assert_eq!(found(&|settings| settings.scene.mask = Some(columns(0..2))), 0);
    assert_eq!(found(&|settings| ignore(settings, 230)), all);
    assert_eq!(found(&|settings| ignore(settings, 100)), 0);
    assert_eq!(found(&|settings| only(&mut settings.scene, rect(60, 20, 250, 200)).unwrap()), all);
    assert_eq!(found(&|settings| only(&mut settings.scene, rect(0, 0, 100, HEIGHT)).unwrap()), 0);
    assert_eq!(found(&|settings| settings.scene.min_size = 0.5), 0);
    assert_eq!(found(&|settings| (settings.scene.min_size, settings.scene.max_size) = (0.0, 0.05)), 0);
}

#[test]
fn a_detector_alone_looks_anew_where_the_mask_changed() {
    let mut finder = DetectorFinder::new(detector(0.6), None, Duration::from_secs(3600));
    let mut found = |mask: Option<Option<Mask>>, seconds: u64| {
        if let Some(mask) = mask {
            finder.set_mask(mask);
        }
        let mut regions = Regions::new();
        finder.find(&picture(150), Duration::from_secs(seconds), &[], &mut regions).unwrap();
        regions.len()
    };
    let all = found(None, 0);
    assert!(all > 0);
    assert_eq!(found(Some(Some(columns(0..2))), 1), 0);
    assert_eq!(found(None, 2), 0);
    assert_eq!(found(Some(Some(columns(2..6))), 3), all);
    assert_eq!(found(Some(None), 4), all);
}

#[test]
fn the_program_looks_where_it_is_told_to_with_a_detector_alone() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("tiny.onnx", &tiny::bundle().encode());
    write("bright.onnx", &bright(around).encode());
    write("scene.y4m", &y4m(40, |_| vec![(150, 90, SIDE, SIDE)]));
    let mask = image::ImageBuffer::from_fn(8, 2, |x, _| image::Luma([if x < 2 { 255u8 } else { 0 }]));
    mask.save(folder.path().join("left.png")).unwrap();
    image::GrayImage::from_raw(WIDTH, HEIGHT, picture(150).data().to_vec())
        .unwrap()
        .save(folder.path().join("photo.png"))
        .unwrap();
    let count = |source: &[&str], of: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oltr"));
        command.current_dir(folder.path()).env_remove("OLTR_MODEL");
        command.args(["stream", "--things", "--json", "--model", "tiny.onnx"]);
        command.args(["--detector", "bright.onnx", "--detector-alone", "--detector-score", "0.6"]).args(more);
        let ran = command.args(source).output().unwrap();
        assert!(ran.status.success(), "{more:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().matches(of).count()
    };
    let events = |more: &[&str]| count(&["--recording", "scene.y4m"], "\"new\"", more);
    let cuts = |more: &[&str]| count(&["photo.png"], "\"box\":", more);
    let (all, boxes) = (events(&[]), cuts(&[]));
    assert!(all > 0 && boxes > 0, "{all} {boxes}");
    let beside = ["--ignore", "240,0,80,80", "--roi", "80,20,220,200"];
    assert_eq!((events(&beside), cuts(&beside)), (all, boxes));
    for elsewhere in [
        &["--mask", "left.png"][..],
        &["--ignore", "100,50,150,150"],
        &["--roi", "0,0,90,240"],
        &["--min-size", "50%"],
        &["--max-size", "5%"],
    ] {
        assert_eq!((events(elsewhere), cuts(elsewhere)), (0, 0), "{elsewhere:?}");
    }
}

/// A frame without anything bright.
fn empty(width: u32, height: u32) -> Frame {
    let mut luma = vec![0; (width * height) as usize];
    draw(7, &[], width, height, &mut luma);
    Frame::new(oltr::PixelFormat::Gray, width, height, width as usize, luma, &Limits::default()).unwrap()
}

#[test]
fn boxes_are_forgotten_with_the_picture_that_they_are_of() {
    let hour = Duration::from_secs(3600);
    let mut finder = DetectorFinder::new(detector(0.6), None, hour);
    let mut found = |frame: &Frame, seconds: u64| {
        let mut regions = Regions::new();
        finder.find(frame, Duration::from_secs(seconds), &[], &mut regions).unwrap();
        regions.len()
    };
    assert!(found(&picture(150), 0) > 0);
    assert!(found(&empty(WIDTH, HEIGHT), 1) > 0, "its turn has not come");
    assert_eq!(found(&empty(2 * WIDTH, HEIGHT), 2), 0, "another size");
    assert_eq!(found(&picture(150), 3), found(&picture(150), 4));
    // A gate that relearns its background: motion in the old boxes is not a thing then.
    let settings = Settings::default();
    let gate = Gate::new(&settings.scene).unwrap();
    let mut finder = DetectorFinder::new(detector(0.6), Some(gate), Duration::from_secs(100_000));
    let mut found = |frame: u64, square: Option<i32>, light: bool| {
        let mut regions = Regions::new();
        let mut shown = square.map_or_else(|| empty(WIDTH, HEIGHT), picture);
        if light {
            let bytes = vec![250; shown.data().len()];
            shown =
                Frame::new(oltr::PixelFormat::Gray, WIDTH, HEIGHT, WIDTH as usize, bytes, &Limits::default()).unwrap();
        }
        finder.find(&shown, Duration::from_millis(frame * 100), &[], &mut regions).unwrap();
        (regions.len(), finder.is_anew())
    };
    (0..150).for_each(|frame| assert!(found(frame, None, false).0 < 9));
    assert!((150..160).map(|frame| found(frame, Some(150), false).0).sum::<usize>() > 0);
    assert!((160..300).any(|frame| found(frame, None, true).1), "the light is another one");
    (300..500).for_each(|frame| assert!(found(frame, None, false).0 < 9));
    let shown: usize = (500..510).map(|frame| found(frame, Some(30), false).0).sum();
    assert!(shown > 0, "the detector did not look again");
}

#[test]
fn a_detector_takes_no_memory_for_a_frame_and_what_it_says_for_itself() {
    let model = load(&bright(around));
    let (held, mut detector) = held_by(|| {
        let mut detector = Detector::new(&model, &Boxes::default(), &Limits::default()).unwrap();
        assert!(detector.detect(&picture(40)).unwrap().count() > 0);
        detector
    });
    assert!(held.now as usize <= detector.bytes() && held.now > 64 * 64 * 3 * 5, "{held:?} {}", detector.bytes());
    // The engine allocates and frees some memory in each run; nothing else does.
    let mut session = model.session().unwrap();
    let (input, mut outputs) = (vec![0.5; 3 * 64 * 64], Vec::new());
    let mut run = || session.run_raw_into(&[&input], &mut outputs).unwrap();
    let frames: Vec<Frame> = (0..20).map(|i| picture(20 + 10 * i)).collect();
    (0..5).for_each(|_| run());
    let engine = taken_by(|| frames.iter().for_each(|_| run()));
    let mut boxes = 0;
    let whole = taken_by(|| boxes = frames.iter().map(|frame| detector.detect(frame).unwrap().count()).sum());
    assert!(boxes > 20);
    assert_eq!(whole, engine);
}

#[test]
fn loading_a_detector_is_planned() {
    let model = tiny_model();
    let (source, limits) = (Film::recording(|_| Shot::End), Limits::default());
    let plan = || pipeline::memory::Plan::new(&model, 1, &source, &pipeline::Settings::default(), &limits);
    let weights = model.summary().weights_bytes;
    assert!(plan().with_detector(&model, 50 << 20).heap() > 3 * (50 << 20) + weights);
    assert_eq!(plan().with_detector(&model, 0).heap(), plan().heap().max(plan().with_detector(&model, 0).loading));
    let tight = Limits::with(|limits| limits.memory_bytes = Some(100 << 20));
    let check = |bytes| pipeline::memory::check_loading_beside(&model, "d.onnx", bytes, &tight);
    assert!(check(1 << 20).is_ok());
    assert!(matches!(check(50 << 20), Err(Error::Limit { what: "memory_bytes", .. })));
}

#[test]
fn a_detector_finds_things_where_something_moves_or_alone() {
    let every = Duration::ZERO;
    let (events, cuts) = run(0.6, true, false, every);
    assert!((1..=3).contains(&events) && cuts > 3, "{events} events, {cuts} cuts");
    // At a low rate: motion in the last boxes is tracked in between.
    let (events, cuts) = run(0.6, true, false, Duration::from_millis(500));
    assert!((1..=3).contains(&events) && cuts > 3, "{events} events, {cuts} cuts");
    // It finds nothing, so motion is not a thing.
    assert_eq!(run(1.0, true, false, every), (0, 0));
    // An object that stands there from the start does not move, but the detector sees it.
    assert_eq!(run(0.6, true, true, every), (0, 0));
    let (events, cuts) = run(0.6, false, true, every);
    assert!(events >= 1 && cuts >= 3, "{events} events, {cuts} cuts");
}

#[test]
fn detectors_that_say_nothing_usable_are_refused_or_passed_over() {
    let refused = |model: &onnx::Model| match Detector::new(&load(model), &Boxes::default(), &Limits::default()) {
        Err(Error::BadModel { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(detector) => panic!("taken as {:?}", detector.form()),
    };
    let mut other = bright(around);
    other.outputs = vec![value("cells", dtype::FLOAT, &[1, 3, CELLS as i64, CELLS as i64])];
    assert!(refused(&other).contains("[1,4+C,N]"));
    let mut only = bright(around);
    only.outputs.truncate(1);
    assert!(refused(&only).contains("scores"));
    let oblong = onnx::Model {
        nodes: vec![Node::new("Relu", &["image"], &["boxes"])],
        inputs: vec![value("image", dtype::FLOAT, &[1, 3, 4, 8])],
        outputs: vec![value("boxes", dtype::FLOAT, &[1, 3, 4, 8])],
        opset: Some(13),
        ..onnx::Model::default()
    };
    assert!(refused(&oblong).contains("square"));
    let many = onnx::Model {
        nodes: vec![Node::new("Reshape", &["image", "rows"], &["output0"])],
        tensors: vec![Tensor::int64s("rows", &[1, 200_000, 6])],
        inputs: vec![value("image", dtype::FLOAT, &[1, 3, 632, 632])],
        outputs: vec![value("output0", dtype::FLOAT, &[1, 200_000, 6])],
        opset: Some(13),
        ..onnx::Model::default()
    };
    // 3 × 632 × 632 are 1 198 272 numbers: 199 712 rows of six.
    let many = onnx::Model {
        tensors: vec![Tensor::int64s("rows", &[1, 199_712, 6])],
        outputs: vec![value("output0", dtype::FLOAT, &[1, 199_712, 6])],
        ..many
    };
    assert!(refused(&many).contains("199712 boxes"));
    assert!(matches!(
        Detector::new(&load(&bright(around)), &Boxes { score: 2.0, ..Boxes::default() }, &Limits::default()),
        Err(Error::Config(_))
    ));
    // Boxes without area, or far outside: no boxes, and no error. Not numbers: 0 / 0, in the boxes or in the scores.
    for output in ["boxes", "scores"] {
        let mut model = bright(around);
        model.nodes.push(Node::new("Div", &["nothing", "nothing"], &["nan"]));
        model.nodes.push(Node::new("Add", &[output, "nan"], &["wrong"]));
        let name = |of: &str| if of == output { "wrong".to_string() + "_" + of } else { of.into() };
        model.nodes.last_mut().unwrap().outputs = vec![name(output)];
        let boxes = (CELLS * CELLS) as i64;
        model.outputs = vec![
            value(&name("boxes"), dtype::FLOAT, &[1, boxes, 4]),
            value(&name("scores"), dtype::FLOAT, &[1, boxes]),
        ];
        let mut detector =
            Detector::new(&load(&model), &Boxes { score: 0.0, ..Boxes::default() }, &Limits::default()).unwrap();
        assert_eq!(detector.detect(&picture(40)).unwrap().count(), 0, "{output}");
    }
    for corners in [[5.0; 4], [9.0, 9.0, 5.0, 5.0], [1e30, 1e30, 2e30, 2e30]] {
        let model = load(&bright(|_, _| corners));
        let mut detector =
            Detector::new(&model, &Boxes { score: 0.0, ..Boxes::default() }, &Limits::default()).unwrap();
        assert_eq!(detector.detect(&picture(40)).unwrap().count(), 0, "{corners:?}");
    }
}
