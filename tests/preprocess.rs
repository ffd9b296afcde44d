//! Preprocessing against Pillow, and its promise to take no memory per frame.

mod common;

use std::path::Path;

use common::counting_allocator::taken_by;
use oltr::bundle::{Preprocess, Resize};
use oltr::preprocess::{Normaliser, Preprocessor};
use oltr::{Error, Frame, Geometry, Limits, PixelFormat};

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    preprocess: Preprocess,
    width: u32,
    height: u32,
    channels: u32,
}

impl Case {
    fn all() -> Vec<Case> {
        let cases = std::fs::read_to_string(folder().join("cases.json")).unwrap();
        serde_json::from_str(&cases).unwrap()
    }

    /// The source of the case as `make_goldens.py` draws it, with `gap` bytes of rubbish after each row.
    fn frame(&self, gap: usize) -> Frame {
        let mut state = self.width.wrapping_mul(65537) + self.height * 257 + self.channels;
        let row = (self.width * self.channels) as usize;
        let mut data = Vec::new();
        for y in 0..self.height {
            for _ in 0..row {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = (state >> 24) as u8;
                data.push(if y % 3 == 0 { if value < 128 { 0 } else { 255 } } else { value });
            }
            data.extend(std::iter::repeat_n(77, gap));
        }
        let format = if self.channels == 3 { PixelFormat::Rgb24 } else { PixelFormat::Gray };
        Frame::new(format, self.width, self.height, row + gap, data, &Limits::default()).unwrap()
    }

    fn expected(&self) -> Vec<u8> {
        std::fs::read(folder().join(format!("{}.rgb", self.name))).unwrap()
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/preprocess"))
}

fn run(preprocessor: &mut Preprocessor, frame: &Frame) -> Vec<u8> {
    let mut pixels = vec![0; preprocessor.output_len()];
    preprocessor.run(frame, &mut pixels).unwrap();
    pixels
}

/// Tolerance: none. The arithmetic equals Pillow's.
#[test]
fn every_case_is_pillows_to_the_bit() {
    let mut failures = Vec::new();
    for case in Case::all() {
        let frame = case.frame(0);
        let pixels = run(&mut Preprocessor::new(&case.preprocess, frame.geometry()).unwrap(), &frame);
        let off: Vec<u8> = pixels.iter().zip(case.expected()).map(|(a, b)| a.abs_diff(b)).filter(|d| *d > 0).collect();
        if !off.is_empty() {
            let worst = off.iter().max().unwrap();
            failures.push(format!("{}: {} of {} values differ, by up to {worst}", case.name, off.len(), pixels.len()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn padded_rows_change_nothing() {
    for case in Case::all() {
        let mut preprocessor = Preprocessor::new(&case.preprocess, case.frame(0).geometry()).unwrap();
        assert!(run(&mut preprocessor, &case.frame(0)) == run(&mut preprocessor, &case.frame(13)), "{}", case.name);
    }
}

#[test]
fn another_geometry_is_planned_for() {
    let cases = Case::all();
    let settings = &cases[0].preprocess;
    let small = Geometry::new(PixelFormat::Gray, 2, 2);
    let mut preprocessor = Preprocessor::new(settings, small).unwrap();
    let frame = cases[0].frame(0);
    assert!(run(&mut preprocessor, &frame) == cases[0].expected());
    assert_eq!(preprocessor.geometry(), frame.geometry());
}

#[test]
fn frames_of_one_geometry_take_no_memory() {
    for case in Case::all() {
        let frame = case.frame(5);
        let mut preprocessor = Preprocessor::new(&case.preprocess, frame.geometry()).unwrap();
        let normaliser = Normaliser::new(&case.preprocess);
        let mut pixels = vec![0; preprocessor.output_len()];
        let mut input = vec![0.0; pixels.len()];
        let taken = taken_by(|| {
            preprocessor.run(&frame, &mut pixels).unwrap();
            normaliser.run(&pixels, &mut input).unwrap();
        });
        assert_eq!(taken.times, 0, "{}", case.name);
    }
    assert_eq!(taken_by(|| drop(std::hint::black_box(vec![1u8]))).times, 1, "the counter counts");
}

#[test]
fn the_plan_tells_its_memory() {
    for case in Case::all() {
        let geometry = case.frame(0).geometry();
        let mut planned = None;
        let taken = taken_by(|| planned = Some(Preprocessor::new(&case.preprocess, geometry).unwrap()));
        let reported = planned.unwrap().bytes();
        // Planning needs a little more: the weights of one pixel.
        let spare = (reported..=reported + 10_000).contains(&taken.bytes);
        assert!(spare && reported > 0, "{}: {reported} bytes reported, {taken:?}", case.name);
    }
}

#[test]
fn the_default_padding_is_the_rounded_mean() {
    let settings = Preprocess {
        size: 3,
        resize: Resize::Pad,
        resize_to: None,
        mean: [1.5, 300.0, 123.4],
        std: [1.0; 3],
        pad_color: None,
    };
    let frame = Frame::new(PixelFormat::Rgb24, 3, 1, 9, vec![7; 9], &Limits::default()).unwrap();
    let pixels = run(&mut Preprocessor::new(&settings, frame.geometry()).unwrap(), &frame);
    assert_eq!(pixels[..9], [2, 255, 123, 2, 255, 123, 2, 255, 123]);
    assert_eq!(pixels[9..18], [7; 9]);
    assert_eq!(pixels[18..], pixels[..9]);
}

#[test]
fn an_output_of_the_wrong_length_is_refused() {
    let case = &Case::all()[0];
    let frame = case.frame(0);
    let mut preprocessor = Preprocessor::new(&case.preprocess, frame.geometry()).unwrap();
    for length in [0, preprocessor.output_len() - 1, preprocessor.output_len() + 1] {
        assert!(matches!(preprocessor.run(&frame, &mut vec![0; length]), Err(Error::BadInput { .. })), "{length}");
    }
}
