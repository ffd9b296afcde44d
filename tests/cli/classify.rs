//! `oltr classify`: its output, and invalid inputs.

use std::fs;

use serde_json::Value;

use super::{BUNDLE, Folder, PHOTOS, PLAIN_GRAPH, command, cup, keys, oltr, oltr_with_input, package};

#[test]
fn a_line_of_json_has_the_fields_of_the_contract() {
    let cup = format!("{PHOTOS}/cup.jpg");
    let ran = oltr(&["classify", "--json", "--top", "1", &cup]).code(0);
    assert_eq!(
        keys(&ran.stdout),
        "{schema,source,decision,label,class,probability,reachability,threshold,\
         nearest{label,class,distance,name},shot,top[{label,class,probability,name}],\
         latency_ms{decode,preprocess,inference},model{name,sha256},name,decode,taken,place,camera}"
    );
    let [json] = &ran.json()[..] else { panic!("one line: {}", ran.stdout) };
    assert_eq!(json["schema"], "oltr.classification/1");
    assert_eq!(json["source"], cup.as_str());
    let sha256 = json["model"]["sha256"].as_str().unwrap();
    assert!(sha256.len() == 64 && sha256.chars().all(|c| c.is_ascii_hexdigit()), "{sha256}");
    check(json);
}

/// Any number of reading threads gives the same answers in the same order, with errors in their places.
#[test]
fn jobs_change_nothing_but_the_time() {
    let folder = Folder::new();
    let names = ["cup.jpg", "cat.jpg", "coins.jpg", "moon.jpg", "face.jpg"];
    let mut named = Vec::new();
    for number in 0..24 {
        let path = folder.path(&format!("{number:02}.jpg"));
        let photo = fs::read(format!("{PHOTOS}/{}", names[number % names.len()])).unwrap();
        match number {
            // Cut off, no picture, a folder that is empty, not there.
            5 => fs::write(&path, &photo[..photo.len() / 2]).unwrap(),
            11 => fs::write(&path, "no picture").unwrap(),
            14 => fs::create_dir(&path).unwrap(),
            17 => {}
            _ => fs::write(&path, &photo).unwrap(),
        }
        named.push(path);
    }
    let answers = |jobs: &str| {
        let mut args = vec!["classify", "--json", "--jobs", jobs];
        args.extend(named.iter().map(String::as_str));
        let mut lines = oltr(&args).code(65).json();
        for line in &mut lines {
            line.as_object_mut().unwrap().remove("latency_ms");
        }
        lines
    };
    let one = answers("1");
    assert_eq!(one.len(), 24);
    for (number, line) in one.iter().enumerate() {
        let failed = [5, 11, 14, 17].contains(&number);
        assert_eq!(line["schema"] == "oltr.error/1", failed, "{line}");
        assert!(line["source"].as_str().unwrap().contains(&format!("{number:02}.jpg")), "{line}");
    }
    for jobs in ["2", "7", "64"] {
        assert_eq!(answers(jobs), one, "{jobs} jobs");
    }
}

/// A large photo is reduced during decoding, and the output reports that.
#[test]
fn fast_decoding_is_reported() {
    let folder = Folder::new();
    let large = folder.path("large.jpg");
    let picture = image::ImageReader::open(format!("{PHOTOS}/cup.jpg")).unwrap().decode().unwrap();
    picture.resize_exact(1200, 900, image::imageops::FilterType::Triangle).save(&large).unwrap();
    let small = format!("{PHOTOS}/cup.jpg");
    for (how, reported) in [("fast", ["fast", "exact"]), ("exact", ["exact"; 2])] {
        let lines = oltr(&["classify", "--json", "--decode", how, &large, &small]).code(0).json();
        assert!(lines.iter().map(|line| &line["decode"]).eq(reported));
        assert!(lines.iter().all(|line| line["label"] == "cup"), "{lines:?}");
    }
    oltr(&["classify", "--decode", "quickly", &small]).code(2);
}

/// Checks that hold for every classification.
fn check(json: &Value) {
    let number = |path: &str| json.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {json}"));
    assert!((0.0..=1.0).contains(&number("/probability")));
    let product = number("/reachability") * number("/nearest/distance");
    assert!((product - 10.0).abs() < 1e-3, "reachability is 10 / d_min: {product}");
    assert!(number("/threshold") > 0.0);
    for stage in ["decode", "preprocess", "inference"] {
        assert!(number(&format!("/latency_ms/{stage}")) >= 0.0);
    }
    assert!(number("/latency_ms/inference") > 0.0);
    let top = json["top"].as_array().unwrap();
    assert_eq!(top[0]["probability"], json["probability"]);
    assert!(top.iter().all(|t| t["label"].is_string() && t["class"].is_u64()));
    match json["decision"].as_str() {
        Some("known") => {
            assert_eq!((&json["label"], &json["class"]), (&top[0]["label"], &top[0]["class"]));
            assert!(["many", "medium", "few"].contains(&json["shot"].as_str().unwrap()));
            assert!(json["name"].is_string());
        }
        Some("open") => {
            for field in ["label", "class", "shot", "name"] {
                assert!(json[field].is_null(), "{field} of an open photo");
            }
        }
        other => panic!("decision {other:?}"),
    }
    assert!(json["nearest"]["label"].is_string());
}

#[test]
fn a_folder_is_classified_in_order_with_both_decisions() {
    let ran = oltr(&["classify", "--json", PHOTOS]).code(0);
    let lines = ran.json();
    let sources: Vec<_> = lines.iter().map(|line| line["source"].as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<_> = fs::read_dir(package(PHOTOS))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".jpg"))
        .map(|name| format!("{PHOTOS}/{name}"))
        .collect();
    expected.sort();
    assert_eq!(sources, expected);
    for line in &lines {
        check(line);
        assert_eq!(line["top"].as_array().unwrap().len(), 5, "five classes unless said otherwise");
    }
    let decision = |photo: &str| {
        let line = lines.iter().find(|line| line["source"].as_str().unwrap().ends_with(photo)).unwrap();
        (line["decision"].as_str().unwrap().to_owned(), line["label"].as_str().map(str::to_owned))
    };
    assert_eq!(decision("motorbike.jpg"), ("known".into(), Some("Motorbikes".into())));
    assert_eq!(decision("galaxies.jpg"), ("open".into(), None));
}

#[test]
fn a_person_gets_a_table() {
    let ran = oltr(&["classify", &format!("{PHOTOS}/motorbike.jpg"), &format!("{PHOTOS}/galaxies.jpg")]).code(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stdout);
    assert!(lines[0].starts_with("PHOTO ") && lines[0].contains("REACHABILITY"));
    assert!(lines[1].contains("motorbike ") && lines[1].contains(" % ") && lines[1].contains(" ≥ "), "{}", lines[1]);
    assert!(lines[2].contains(" open ") && lines[2].contains(" < "), "{}", lines[2]);
    let column = |line: &str| line.chars().take_while(|c| *c != '≥' && *c != '<').count();
    assert_eq!(column(lines[1]), column(lines[2]), "aligned");
    assert!(!ran.stdout.contains('\x1b'), "no colours in a pipe");
    assert_eq!(ran.stderr, "", "nothing to complain about");
    let top = oltr(&["classify", "--top", "2", &format!("{PHOTOS}/cup.jpg")]).code(0);
    assert_eq!(top.stdout.lines().count(), 4, "{}", top.stdout);
}

#[test]
fn colours_are_the_terminals_or_the_users_choice() {
    let run = |variable: &str| -> super::Ran {
        let output = command(&["classify", &format!("{PHOTOS}/cup.jpg")]).env(variable, "1").output();
        output.unwrap().into()
    };
    assert!(run("CLICOLOR_FORCE").stdout.contains("\x1b["));
    assert!(!run("NO_COLOR").stdout.contains('\x1b'));
}

#[test]
fn the_model_is_the_option_or_the_variable_or_built_in() {
    let photo = format!("{PHOTOS}/cup.jpg");
    let built_in = oltr(&["classify", "--json", &photo]).code(0).json().remove(0);
    let option = oltr(&["classify", "--json", "--model", BUNDLE, &photo]).code(0).json().remove(0);
    assert_eq!(built_in["model"], option["model"], "the shipped bundle is the built-in one");
    assert_eq!(built_in["reachability"], option["reachability"]);
    let missing: super::Ran = command(&["classify", &photo]).env("OLTR_MODEL", "nowhere.onnx").output().unwrap().into();
    missing.code(66).says(&["nowhere.onnx"]);
    let empty: super::Ran = command(&["classify", &photo]).env("OLTR_MODEL", "").output().unwrap().into();
    empty.code(0);
}

#[test]
fn a_photo_on_standard_input_is_classified_like_the_file() {
    let file = oltr(&["classify", "--json", &format!("{PHOTOS}/cup.jpg")]).code(0).json().remove(0);
    let stdin = oltr_with_input(&["classify", "--json", "-"], &cup()).code(0).json().remove(0);
    assert_eq!(stdin["source"], "-");
    assert_eq!((&stdin["reachability"], &stdin["top"]), (&file["reachability"], &file["top"]));
    oltr_with_input(&["classify", "--json", "-"], b"").code(65);
}

#[test]
fn lists_and_patterns_name_photos() {
    let folder = Folder::new();
    let list = folder.file("list.txt", format!("{PHOTOS}/cup.jpg\n\n{PHOTOS}/moon.jpg\n").as_bytes());
    let ran = oltr(&["classify", "--json", &format!("@{list}"), "examples/photos/c?t.*"]).code(0);
    let sources: Vec<_> = ran.json().iter().map(|line| line["source"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sources, ["cup.jpg", "moon.jpg", "cat.jpg"].map(|name| format!("{PHOTOS}/{name}")));
}

#[test]
fn what_is_missing_is_66_and_named() {
    for input in ["nowhere.jpg", "nowhere/", "nowhere-*.jpg", "@nowhere.txt"] {
        let bare = input.trim_start_matches('@');
        let ran = oltr(&["classify", input]).code(66).says(&[bare, "no such file"]);
        assert_eq!(ran.stdout.lines().count(), 1, "the titles alone: {}", ran.stdout);
        let ran = oltr(&["classify", "--json", input]).code(66);
        assert_eq!(keys(&ran.stdout), "{schema,source,kind,error}");
        let json = &ran.json()[0];
        assert_eq!((&json["schema"], &json["kind"]), (&"oltr.error/1".into(), &"not-found".into()));
        assert_eq!(json["source"], input);
        assert!(json["error"].as_str().unwrap().contains(bare));
    }
}

/// Files that are not photos, by name, and a part of the message.
fn bad_photos() -> Vec<(&'static str, Vec<u8>)> {
    let mut cut = cup();
    cut.truncate(cut.len() / 2);
    let mut header_only = cup();
    header_only.truncate(200);
    vec![
        ("empty.jpg", vec![]),
        ("text.jpg", b"This is no photo, whatever its name says.\n".to_vec()),
        ("cut.jpg", cut),
        ("header.jpg", header_only),
        ("magic.png", b"\x89PNG\r\n\x1a\n".to_vec()),
    ]
}

#[test]
fn what_is_no_photo_is_65_and_named() {
    let folder = Folder::new();
    for (name, bytes) in bad_photos() {
        let path = folder.file(name, &bytes);
        oltr(&["classify", &path]).code(65).says(&["oltr: error: ", &path]);
        let ran = oltr(&["classify", "--json", &path]).code(65);
        let json = &ran.json()[0];
        assert_eq!((&json["schema"], &json["source"]), (&"oltr.error/1".into(), &path.as_str().into()), "{json}");
        assert_eq!(json["kind"], "bad-image", "{json}");
    }
}

#[test]
fn one_bad_photo_does_not_stop_the_rest() {
    let folder = Folder::new();
    let good = folder.file("good.jpg", &cup());
    let missing = folder.path("missing.jpg");
    for (name, bytes) in bad_photos() {
        let bad = folder.file(name, &bytes);
        let ran = oltr(&["classify", "--json", &good, &bad, &missing, &good]).code(65);
        let schemas: Vec<_> = ran.json().iter().map(|line| line["schema"].clone()).collect();
        let (result, error) = ("oltr.classification/1", "oltr.error/1");
        assert_eq!(schemas, [result, error, error, result], "{name}");
        let ran = oltr(&["classify", &good, &bad, &good]).code(65).says(&[&bad]);
        assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
    }
    oltr(&["classify", &good, &missing]).code(65).says(&[&missing]);
}

#[test]
fn a_folder_without_photos_is_named() {
    let folder = Folder::new();
    folder.file("notes.txt", b"none here");
    let path = folder.path("");
    oltr(&["classify", &path]).code(65).says(&[path.trim_end_matches('/'), "no photo"]);
}

#[test]
fn a_photo_beyond_the_bounds_is_refused_by_its_header() {
    // A PNG that promises 20 000 × 20 000 pixels and has none.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    png.extend([20_000u32.to_be_bytes(), 20_000u32.to_be_bytes()].concat());
    png.extend([8, 2, 0, 0, 0]);
    png.extend(crc32(&png[12..]).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    let folder = Folder::new();
    let path = folder.file("huge.png", &png);
    let json = oltr(&["classify", "--json", &path]).code(65).json().remove(0);
    assert_eq!(json["kind"], "limit", "{json}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_graph_without_classes_cannot_classify_and_says_so() {
    let photo = format!("{PHOTOS}/cup.jpg");
    let ran = oltr(&["classify", "--model", PLAIN_GRAPH, &photo]).code(65);
    ran.says(&["odd.qdq.onnx", "oltr.classes", "oltr inspect"]);
}

#[test]
fn what_is_no_model_is_65_and_named() {
    let folder = Folder::new();
    let text = folder.file("text.onnx", b"no model");
    let empty = folder.file("empty.onnx", b"");
    let mut half = fs::read(package(BUNDLE)).unwrap();
    half.truncate(half.len() / 2);
    let cut = folder.file("cut.onnx", &half);
    for path in [text, empty, cut] {
        oltr(&["classify", "--model", &path, &format!("{PHOTOS}/cup.jpg")]).code(65).says(&[&path]);
    }
}

#[test]
fn too_little_memory_is_a_matter_of_configuration() {
    let ran = oltr(&["classify", "--max-memory", "64KiB", &format!("{PHOTOS}/cup.jpg")]).code(78);
    ran.says(&["--max-memory", "65536"]);
}

#[test]
fn unsupported_files_of_a_folder_are_reported_once() {
    let files = Folder::new();
    files.file("a.jpg", &cup());
    for name in ["b.heic", "c.HEIC", "d.mp4", "e.NEF", "notes.txt", ".f.heic"] {
        files.file(name, b"x");
    }
    let ran = oltr(&["classify", &files.path("")]).code(0);
    let reported: Vec<&str> = ran.stderr.lines().collect();
    assert!(reported.len() == 1 && reported[0].contains("2 HEIC, 1 raw, 1 video"), "{reported:?}");
    // A program gets lines for photos only. A named input is a photo or an error.
    let json = oltr(&["classify", "--json", &files.path("")]).code(0);
    assert_eq!(json.json().len(), 1);
    assert_eq!(oltr(&["classify", &files.path("a.jpg")]).code(0).stderr, "");
    assert_eq!(oltr(&["classify", "-q", &files.path("")]).code(0).stderr, "");
}

#[test]
fn folders_of_systems_hold_no_photos() {
    let files = Folder::new();
    for name in
        ["@eaDir/IMG_1.JPG/T.jpg", "$RECYCLE.BIN/S-1/$RA1.JPG", "lost+found/1.jpg", ".Trash-1/a.jpg", "DCIM/b.jpg"]
    {
        let path = files.path(name);
        fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, cup()).unwrap();
    }
    let sources = |inputs: &[&str]| -> Vec<String> {
        let lines = oltr(&[&["classify", "--json"], inputs].concat()).code(0).json();
        lines.iter().map(|line| line["source"].as_str().unwrap().rsplit('/').next().unwrap().into()).collect()
    };
    assert_eq!(sources(&[&files.path("")]), ["b.jpg"]);
    assert_eq!(sources(&[&files.path("**/*.jpg")]), ["b.jpg"]);
    // An explicitly named folder is searched.
    assert_eq!(sources(&[&files.path(".Trash-1")]), ["a.jpg"]);
    assert_eq!(sources(&[&files.path(".Trash-1/*.jpg")]), ["a.jpg"]);
}

#[test]
fn lists_are_read_as_any_program_writes_them() {
    use std::os::unix::ffi::OsStrExt;
    let files = Folder::new();
    let odd = std::ffi::OsStr::from_bytes(b"lat\xe9n.jpg");
    for name in [std::ffi::OsStr::new("a.jpg"), odd, std::ffi::OsStr::new("c.jpg")] {
        fs::write(std::path::Path::new(&files.path("")).join(name), cup()).unwrap();
    }
    let read = |list: &[u8]| {
        files.file("list.txt", list);
        let ran = command(&["classify", "--json", "@list.txt"]).current_dir(files.path("")).output().unwrap();
        super::Ran::from(ran).code(0).json()
    };
    let lines = read(b"\xef\xbb\xbfa.jpg\r\nc.jpg\r\n");
    assert_eq!(lines.iter().map(|line| line["source"].as_str().unwrap()).collect::<Vec<_>>(), ["a.jpg", "c.jpg"]);
    assert!(lines.iter().all(|line| line.get("source_url").is_none()));
    // A name that is no text can be opened all the same.
    let lines = read(b"a.jpg\nlat\xe9n.jpg\nc.jpg\n");
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[1]["source"], &lines[1]["source_url"]), (&"lat\u{fffd}n.jpg".into(), &"lat%E9n.jpg".into()));
    files.file("list.txt", b"a.jpg\nno\xe9ne.jpg\nc.jpg\n");
    let ran = command(&["classify", "--json", "@list.txt"]).current_dir(files.path("")).output().unwrap();
    let lines = super::Ran::from(ran).code(65).json();
    assert_eq!((lines.len(), &lines[1]["source_url"]), (3, &"no%E9ne.jpg".into()));
}

/// Process substitution yields a FIFO, whose writer may be late. A missing writer is waited for with a log
/// message.
#[test]
#[cfg(unix)]
fn a_fifo_is_read_and_its_writer_waited_for_with_a_word() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let folder = Folder::new();
    let (fifo, list) = (folder.path("fifo"), folder.path("list"));
    assert!(Command::new("mkfifo").args([&fifo, &list]).status().unwrap().success());
    for (named, path, bytes) in
        [(fifo.clone(), &fifo, cup()), (format!("@{list}"), &list, format!("{PHOTOS}/cup.jpg\n").into_bytes())]
    {
        let mut child = command(&["classify", "--json", &named]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("waiting for what writes to it"), "{said}");
        fs::File::options().write(true).open(path).unwrap().write_all(&bytes).unwrap();
        let ran: super::Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code(0).json()[0]["label"], "cup");
    }
}
