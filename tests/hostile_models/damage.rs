//! Files that were truncated, that have flipped bits, or that are not models at all.

use std::fs;

use crate::common::tiny;
use crate::{calmly, from_bytes, load_and_run, session};
use oltr::model::Options;
use oltr::{Error, ErrorKind, Limits, Model};

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = tiny::bundle().encode();
    let mut accepted = 0;
    for cut in 0..whole.len() {
        let result = calmly(&format!("cut at {cut}"), || load_and_run(&whole[..cut])).unwrap();
        accepted += usize::from(result.is_ok());
    }
    // Between two entries of the metadata a file can end, and before the first it is a plain graph.
    assert!(accepted <= 6, "{accepted} cuts of {} are accepted", whole.len());
}

/// After a power cut, a file may have its full length but zeros as data.
#[test]
fn a_file_that_ends_in_zeros_is_refused() {
    let whole = tiny::bundle().encode();
    for from in 0..whole.len() {
        let bytes = [&whole[..from], &vec![0; whole.len() - from]].concat();
        if bytes == whole {
            continue;
        }
        let result = calmly(&format!("zeros from {from}"), || load_and_run(&bytes)).unwrap();
        assert!(result.is_err(), "zeros from {from} of {} are accepted", whole.len());
    }
}

#[test]
#[cfg(feature = "demo-model")]
fn the_built_in_bundle_cut_anywhere_is_refused() {
    let whole = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/everyday.onnx")).unwrap();
    for i in 0..200 {
        let cut = whole.len() * i / 200 + i % 7;
        let result = calmly(&format!("cut at {cut}"), || from_bytes(&whole[..cut])).unwrap();
        let error = result.expect_err("half a file").to_string();
        assert!(error.starts_with("hostile.onnx: ") && error.contains("again"), "cut at {cut}: {error}");
    }
}

/// Marsaglia's xorshift: the same damage in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[test]
fn flipped_bits_and_bytes_do_no_harm() {
    let whole = tiny::bundle().encode();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut wrong = Vec::new();
    let (mut accepted, tries) = (0, 3000);
    for i in 0..tries {
        let mut bytes = whole.clone();
        let mut what = String::new();
        for _ in 0..=i % 3 {
            let (at, bit) = (random.below(bytes.len()), random.below(16));
            // Half of the damage is a bit, half a byte.
            let to = if bit < 8 { bytes[at] ^ (1 << bit) } else { random.below(256) as u8 };
            what += &format!("[{at}] = {to:#04x} ");
            bytes[at] = to;
        }
        match calmly(&what, || load_and_run(&bytes)) {
            Ok(Err(Error::Internal(message))) => wrong.push(format!("{what}: {message}")),
            Ok(result) => accepted += usize::from(result.is_ok()),
            Err(message) => wrong.push(message),
        }
    }
    assert!(wrong.is_empty(), "{} of {tries}:\n{}", wrong.len(), wrong.join("\n"));
    // Weights and names may be anything. If every damaged file were refused, the test would be too crude.
    assert!(accepted > tries / 20, "{accepted} are accepted");
}

#[test]
fn what_is_no_model_is_refused() {
    let text = b"this is a text file, and a rather long one, so that its letters are tags of many kinds".to_vec();
    let photo = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/photos/baseline.jpg")).unwrap();
    let cases = [
        ("an empty file", vec![]),
        ("a text", text),
        ("a photo", photo),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xff; 4096]),
        ("a number that does not end", vec![0x80; 20]),
    ];
    for (what, bytes) in cases {
        let error = calmly(what, || from_bytes(&bytes)).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadModel, "{what}: {error}");
        assert!(error.to_string().contains("again"), "{what}: {error}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let load = |name: &str, limits: &Limits| {
        let options = Options { limits: limits.clone(), ..Options::default() };
        let error = Model::load(path(name), &options).unwrap_err();
        assert!(error.to_string().contains(&*path(name).to_string_lossy()), "{error}");
        error
    };
    let mut limits = Limits::default();
    assert_eq!(load("nowhere.onnx", &limits).kind(), ErrorKind::NotFound);
    fs::create_dir(path("folder.onnx")).unwrap();
    let error = load("folder.onnx", &limits);
    assert!(error.kind() == ErrorKind::BadModel && error.to_string().contains("is a folder"), "{error}");
    fs::write(path("empty.onnx"), b"").unwrap();
    assert!(load("empty.onnx", &limits).to_string().contains("empty"));
    let bytes = tiny::bundle().encode();
    fs::write(path("large.onnx"), &bytes).unwrap();
    limits.model_bytes = bytes.len() as u64;
    Model::load(path("large.onnx"), &Options { limits: limits.clone(), ..Options::default() }).unwrap();
    limits.model_bytes -= 1;
    let error = load("large.onnx", &limits);
    assert!(matches!(error, Error::Limit { what: "model_bytes", .. }), "{error}");
    // A device yields bytes without end and reports a size of 0.
    #[cfg(unix)]
    {
        limits.model_bytes = 1 << 20;
        let options = Options { limits, ..Options::default() };
        let error = calmly("/dev/zero", || Model::load("/dev/zero", &options)).unwrap().unwrap_err();
        assert!(matches!(error, Error::Limit { what: "model_bytes", .. }), "{error}");
    }
}

#[test]
fn raw_inputs_are_looked_at() {
    let mut session = session(&tiny::bundle().encode());
    let mut image = vec![0.5; 3 * 8 * 8];
    let mut refused = |inputs: &[&[f32]], part: &str| {
        let error = session.run_raw(inputs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadInput);
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(&[], "0 inputs");
    refused(&[&image, &image], "2 inputs");
    refused(&[&image[1..]], "191 values");
    refused(&[&[&image[..], &[0.0]].concat()], "193 values");
    image[17] = f32::NAN;
    refused(&[&image], "NaN at element 17");
    // Infinities saturate.
    image[17] = f32::INFINITY;
    image[18] = f32::NEG_INFINITY;
    let outputs = session.run_raw(&[&image]).unwrap();
    assert!(outputs.iter().flatten().all(|v| v.is_finite()), "{outputs:?}");
}
