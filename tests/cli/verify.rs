//! `oltr verify`: agreement, disagreement, and invalid golden files.

use std::fs;

use super::{BUNDLE, Folder, GOLDEN, Members, PLAIN_GOLDEN, PLAIN_GRAPH, Ran, keys, oltr, package, unzip, zip};

/// A small graph with the outputs of a bundle.
const SMALL_GRAPH: &str = "tests/graphs/lite0s.qdq.onnx";
const SMALL_GOLDEN: &str = "tests/graphs/lite0s.qdq.npz";

#[test]
fn the_shipped_bundle_agrees_with_onnx_runtime() {
    let ran = oltr(&["verify", "--json", BUNDLE, GOLDEN]).code(0);
    let output = "{name,cosine,max_abs,mean_rel,argmax_equal,ok}";
    assert_eq!(keys(&ran.stdout), format!("{{schema,outputs[{output}{output}{output}{output}],ok}}"));
    let json = &ran.json()[0];
    assert_eq!((&json["schema"], &json["ok"]), (&"oltr.verify/1".into(), &true.into()));
    let names: Vec<_> = json["outputs"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["logits", "distances", "features", "attention"]);
    for output in json["outputs"].as_array().unwrap() {
        let number = |field: &str| output[field].as_f64().unwrap();
        assert!((0.99..=1.0).contains(&number("cosine")), "{output}");
        assert!(number("max_abs") >= 0.0 && (0.0..0.1).contains(&number("mean_rel")), "{output}");
    }
    let table = oltr(&["verify", BUNDLE, GOLDEN]).code(0).stdout;
    assert!(table.starts_with("OUTPUT ") && table.lines().filter(|line| line.ends_with(" ok")).count() == 4, "{table}");
}

#[test]
fn a_graph_without_metadata_is_verified_too() {
    oltr(&["verify", PLAIN_GRAPH, PLAIN_GOLDEN]).code(0);
    oltr(&["verify", "--engine", "tract", PLAIN_GRAPH, PLAIN_GOLDEN]).code(0);
}

/// The members of a golden file after `change`.
fn golden(change: impl FnOnce(&mut Members)) -> Vec<u8> {
    let mut members = unzip(package(SMALL_GOLDEN));
    change(&mut members);
    zip(&members)
}

fn verify(folder: &Folder, bytes: &[u8]) -> Ran {
    let path = folder.file("golden.npz", bytes);
    oltr(&["verify", SMALL_GRAPH, &path])
}

/// A float32 .npy file.
fn npy(shape: &str, data: &[f32]) -> Vec<u8> {
    npy_of("<f4", shape, &data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

fn npy_of(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Replaces each number of `member`, a float32 .npy file, with `change`.
fn change_data(members: &mut Members, member: &str, change: impl Fn(usize, f32) -> f32) {
    let bytes = members.get_mut(member).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    for (i, word) in bytes[start..].as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *word = change(i, f32::from_le_bytes(*word)).to_le_bytes();
    }
}

#[test]
fn disagreement_exits_with_1() {
    let folder = Folder::new();
    // Distances 2 % longer than they are.
    let longer = golden(|members| change_data(members, "distances.npy", |_, x| x * 1.02));
    let path = folder.file("longer.npz", &longer);
    let ran = oltr(&["verify", "--json", SMALL_GRAPH, &path]).code(1);
    assert_eq!(ran.json()[0]["ok"], false);
    let table = oltr(&["verify", SMALL_GRAPH, &path]).code(1).stdout;
    assert_eq!(table.matches("out of tolerance").count(), 1, "{table}");
    oltr(&["verify", "--max-mean-rel", "0.03", SMALL_GRAPH, &path]).code(0);
    // The same direction, but another class first.
    let other = golden(|members| change_data(members, "logits.npy", |_, x| -x));
    verify(&folder, &other).code(1);
}

#[test]
fn only_the_outputs_in_the_file_are_compared() {
    let folder = Folder::new();
    let bytes = golden(|members| members.retain(|name, _| name != "features.npy"));
    let path = folder.file("golden.npz", &bytes);
    let json = oltr(&["verify", "--json", SMALL_GRAPH, &path]).code(0).json().remove(0);
    let outputs = json["outputs"].as_array().unwrap();
    assert!(!outputs.is_empty() && outputs.iter().all(|o| o["name"] != "features"), "{json}");
    let more = golden(|members| drop(members.insert("surplus.npy".into(), npy("(1,)", &[0.0]))));
    verify(&folder, &more).code(0).says(&["warn", "'surplus'"]);
}

#[test]
fn what_is_written_is_what_was_computed() {
    let folder = Folder::new();
    let out = folder.path("out.npz");
    oltr(&["verify", "--output", &out, SMALL_GRAPH, SMALL_GOLDEN]).code(0);
    let computed = unzip(&out);
    let expected = ["distances.npy", "features.npy", "logits.npy"];
    assert!(expected.iter().all(|name| computed.contains_key(*name)), "{:?}", computed.keys());
    for bytes in computed.values() {
        let header = String::from_utf8_lossy(&bytes[10..64]).into_owned();
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (1, "), "{header}");
    }
    // Used as golden values, they agree to the last bit.
    let own = golden(|members| members.extend(computed));
    let path = folder.file("own.npz", &own);
    let ran = oltr(&["verify", "--json", "--min-cosine", "1", "--max-mean-rel", "0", SMALL_GRAPH, &path]).code(0);
    for output in ran.json()[0]["outputs"].as_array().unwrap() {
        assert_eq!((&output["max_abs"], &output["cosine"]), (&0.0.into(), &1.0.into()));
    }
    oltr(&["verify", "--output", &folder.path("no/folder.npz"), SMALL_GRAPH, SMALL_GOLDEN]).code(66);
}

#[test]
fn several_samples_lie_along_the_first_axis() {
    let folder = Folder::new();
    let doubled = |wrong: bool| {
        golden(|members| {
            for (name, bytes) in members.iter_mut() {
                let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
                let header = String::from_utf8(bytes[10..start].to_vec()).unwrap();
                let shape = header.split("'shape': ").nth(1).unwrap().split('}').next().unwrap();
                let shape = shape.trim().trim_end_matches(',').replacen("(1", "(2", 1);
                let data = &bytes[start..];
                let second = if wrong && name == "logits.npy" { vec![0; data.len()] } else { data.to_vec() };
                *bytes = npy_of("<f4", &shape, &[data, &second].concat());
            }
        })
    };
    verify(&folder, &doubled(false)).code(0);
    verify(&folder, &doubled(true)).code(1);
    let uneven = golden(|members| {
        let one = unzip(package(SMALL_GOLDEN));
        *members = unzip(folder.file("two.npz", &doubled(false)));
        members.insert("logits.npy".into(), one["logits.npy"].clone());
    });
    verify(&folder, &uneven).code(65).says(&["'logits'", "samples"]);
}

#[test]
fn bad_golden_files_are_65_and_say_what_is_wrong() {
    let folder = Folder::new();
    let without = |name: &'static str| golden(move |members| drop(members.remove(name)));
    let with = |name: &'static str, bytes: Vec<u8>| golden(move |members| drop(members.insert(name.into(), bytes)));
    let none = golden(|members| members.retain(|name, _| name == "image.npy"));
    let nan = golden(|members| change_data(members, "logits.npy", |i, x| if i == 3 { f32::NAN } else { x }));
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (b"no archive".to_vec(), &["no .npz"]),
        (vec![], &["no .npz"]),
        (without("image.npy"), &["input 'image'", "it holds", "'logits'"]),
        (none, &["none of the graph's outputs", "'logits'"]),
        (with("image.npy", npy("(1, 2)", &[0.0; 2])), &["'image'", "shape [1, 2]"]),
        (with("logits.npy", npy("(1, 1)", &[0.0])), &["'logits'", "shape [1, 1]"]),
        (with("logits.npy", npy_of("<f8", "(1, 1)", &[0; 8])), &["'logits'", "float32 is needed"]),
        (with("logits.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec()), &["'logits'", "header"]),
        (with("image.npy", npy("(4294967296, 4294967296, 4294967296)", &[])), &["'image'", "elements"]),
        (with("image.npy", npy("(1, 1000000000)", &[])), &["'image'", "elements"]),
        // A bomb: 256 MiB of zeros in 256 KiB, with a small shape.
        (with("logits.npy", npy_of("<f4", "(1, 2)", &vec![0; 256 << 20])), &["'logits'", "more are there"]),
        (nan, &["'logits'", "NaN"]),
    ];
    for (bytes, parts) in cases {
        let path = folder.path("golden.npz");
        verify(&folder, &bytes).code(65).says(&[&path]).says(parts);
    }
}

#[test]
fn a_golden_file_cut_anywhere_is_refused() {
    let folder = Folder::new();
    let whole = fs::read(package(SMALL_GOLDEN)).unwrap();
    for part in 0..16 {
        verify(&folder, &whole[..whole.len() * part / 16]).code(65);
    }
    verify(&folder, &whole[..whole.len() - 1]).code(65);
}

#[test]
fn missing_files_are_66_and_named() {
    oltr(&["verify", "nowhere.onnx", GOLDEN]).code(66).says(&["nowhere.onnx"]);
    oltr(&["verify", SMALL_GRAPH, "nowhere.npz"]).code(66).says(&["nowhere.npz"]);
}
