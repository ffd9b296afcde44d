//! Photos against Pillow, and everything that can be wrong with a photo.

mod common;
#[path = "photos/kinds.rs"]
mod kinds;

use std::fs;
use std::path::{Path, PathBuf};

use common::counting_allocator::taken_by;
use oltr::source::jpeg;
use oltr::source::photo::{self, Decoder};
use oltr::{Error, Frame, Limits, PixelFormat};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/photos"))
}

/// Every photo with a `.ppm` of its pixels next to it.
fn fixtures() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().into_string().unwrap().strip_suffix(".ppm").map(String::from))
        .filter(|name| folder().join(name).is_file())
        .collect();
    names.sort();
    assert!(names.len() > 40, "{names:?}");
    names
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// Width, height and pixels as Pillow wrote them: `P6`, the size, 255, one line each.
fn expected(name: &str) -> (u32, u32, Vec<u8>) {
    let file = bytes(&format!("{name}.ppm"));
    let mut parts = file.splitn(4, |b| *b == b'\n');
    assert_eq!(parts.next(), Some(&b"P6"[..]));
    let size = std::str::from_utf8(parts.next().unwrap()).unwrap();
    let (width, height) = size.split_once(' ').unwrap();
    assert_eq!(parts.next(), Some(&b"255"[..]));
    (width.parse().unwrap(), height.parse().unwrap(), parts.next().unwrap().to_vec())
}

fn decode(bytes: &[u8]) -> Result<Frame, Error> {
    photo::decode("photo", bytes, &Limits::default())
}

/// The largest and the mean difference between two pictures of one size.
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let off = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (off.clone().max().unwrap(), off.map(f64::from).sum::<f64>() / a.len() as f64)
}

/// Tolerance: none, except for lossy WebP, whose decoders may round differently: see the two numbers.
#[test]
fn every_photo_is_what_pillow_makes_of_it() {
    let mut failures = Vec::new();
    for name in fixtures() {
        let (width, height, pixels) = expected(&name);
        let frame = match photo::read(folder().join(&name), &Limits::default()) {
            Ok(frame) => frame,
            Err(e) => {
                failures.push(e.to_string());
                continue;
            }
        };
        assert_eq!(frame.format(), PixelFormat::Rgb24);
        if (frame.width(), frame.height()) != (width, height) {
            failures.push(format!("{name}: {}x{}, not {width}x{height}", frame.width(), frame.height()));
            continue;
        }
        let (worst, mean) = difference(frame.data(), &pixels);
        let lossy = name == "lossy.webp";
        let (worst_allowed, mean_allowed) = if lossy { (LOSSY_WORST, LOSSY_MEAN) } else { (0, 0.0) };
        if worst > worst_allowed || mean > mean_allowed {
            failures.push(format!("{name}: differs by up to {worst}, {mean:.3} in the mean"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const LOSSY_WORST: u8 = 4;
const LOSSY_MEAN: f64 = 0.5;

#[test]
fn a_decoder_keeps_nothing_of_the_photo_before() {
    let mut decoder = Decoder::new(&Limits::default());
    let mut frame = Frame::default();
    let mut names = fixtures();
    names.extend(fixtures().into_iter().rev());
    for name in names {
        decoder.read(folder().join(&name), &mut frame).unwrap();
        assert!(frame == photo::read(folder().join(&name), &Limits::default()).unwrap(), "{name}");
    }
}

#[test]
fn the_content_decides_not_the_name() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("really-a.jpg");
    fs::write(&path, bytes("rgb.png")).unwrap();
    let frame = photo::read(&path, &Limits::default()).unwrap();
    assert!(frame.data() == expected("rgb.png").2);
}

#[test]
fn a_cut_photo_is_refused_or_whole() {
    let mut failures = Vec::new();
    for name in fixtures() {
        let file = bytes(&name);
        let whole = decode(&file).unwrap();
        for length in 0..file.len() {
            match decode(&file[..length]) {
                // The missing part may contain no pixels, such as an end marker. For a JPEG it cannot be
                // anything else.
                Ok(frame) if name.ends_with(".jpg") => {
                    if length < file.len() - 2 || frame != whole {
                        failures.push(format!("{name}: {length} of {} bytes are taken for a photo", file.len()));
                    }
                }
                Ok(frame) if frame == whole => {}
                Ok(_) => failures.push(format!("{name}: {length} of {} bytes are taken for a photo", file.len())),
                Err(Error::BadImage { subject, reason }) => {
                    assert_eq!(subject, "photo");
                    assert!(reason.contains(';'), "no remedy: {reason}");
                }
                Err(e) => failures.push(format!("{name}: at {length}: {e}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{} in all", failures[..failures.len().min(40)].join("\n"), failures.len());
}

/// A JPEG with missing data before its end marker: the decoder must report it instead of continuing with zeros.
#[test]
fn a_jpeg_with_a_hole_is_not_filled_with_gray() {
    for name in [
        "baseline.jpg",
        "subsampled.jpg",
        "gray.jpg",
        "cmyk.jpg",
        "progressive.jpg",
        "gray-progressive.jpg",
        "scans.jpg",
        "luma-coarse-scans.jpg",
    ] {
        let file = bytes(name);
        let scan = file.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap() + 16;
        let lengths = scan..file.len() - 2;
        let taken =
            lengths.clone().filter(|length| decode(&[&file[..*length], &[0xFF, 0xD9]].concat()).is_ok()).count();
        assert_eq!(taken, 0, "{name}: of {} holes", lengths.len());
    }
}

#[test]
fn a_jpeg_ends_where_its_markers_say() {
    let file = bytes("baseline.jpg");
    for name in fixtures().iter().filter(|n| n.ends_with(".jpg")) {
        let mut file = bytes(name);
        let length = file.len();
        assert_eq!(jpeg::picture_len(&file), Some(length), "{name}");
        file.extend(bytes("rgb.png"));
        assert_eq!(jpeg::picture_len(&file), Some(length), "{name}, with something behind it");
        assert!(decode(&file).unwrap() == decode(&file[..length]).unwrap(), "{name}");
    }
    // A thumbnail in a segment of its own, with an end mark of its own.
    let segment = (file.len() as u16 + 2).to_be_bytes();
    let with_thumbnail = [&file[..2], &[0xFF, 0xE5], &segment, &file, &file[2..]].concat();
    assert_eq!(jpeg::picture_len(&with_thumbnail), Some(with_thumbnail.len()));
    assert!(decode(&with_thumbnail).unwrap() == decode(&file).unwrap());
}

#[test]
fn damage_never_panics() {
    let mut state = 1u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    // So that damaged sizes do not make this test slow.
    let mut limits = Limits::default();
    limits.photo_pixels = 1_000_000;
    let (mut taken, mut refused) = (0, 0);
    let mut decoder = Decoder::new(&limits);
    let mut frame = Frame::default();
    for name in fixtures() {
        let file = bytes(&name);
        for _ in 0..300 {
            let mut damaged = file.clone();
            for _ in 0..=random(4) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            match decoder.decode(&name, &damaged, &mut frame) {
                Ok(()) => taken += 1,
                Err(Error::BadImage { .. } | Error::Limit { .. }) => refused += 1,
                Err(e) => panic!("{name}: {e:?}"),
            }
        }
    }
    // Damaged pixels are often not noticed; damaged headers are.
    assert!(taken > 1000 && refused > 1000, "{taken} taken, {refused} refused");
}

#[test]
fn what_is_no_photo_says_so() {
    let text = b"Dear Sir or Madam,\n\nplease find the photo attached.\n";
    for (file, part) in [
        (&b""[..], "is empty"),
        (b"\xff", "not a picture"),
        (b"P", "not a picture"),
        (text, "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"qoif\0\0\0\x01\0\0\0\x01\x03\0", "QOI"),
    ] {
        let error = decode(file).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::BadImage { .. }) && message.contains(part), "{message}");
        assert!(message.contains(';'), "no remedy: {message}");
    }
}

#[test]
fn a_text_named_jpg_names_its_file() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("holiday.jpg");
    fs::write(&path, "not a photo").unwrap();
    let message = photo::read(&path, &Limits::default()).unwrap_err().to_string();
    assert!(message.contains("holiday.jpg: not a picture that oltr reads; give it JPEG"), "{message}");
}

#[test]
fn a_missing_photo_is_not_found() {
    let missing = photo::read("no/such/photo.jpg", &Limits::default());
    assert!(matches!(missing, Err(Error::NotFound { path }) if path == Path::new("no/such/photo.jpg")));
    assert!(matches!(photo::read(folder(), &Limits::default()), Err(Error::Io { .. })), "a folder is no photo");
}

#[test]
fn huge_pictures_are_refused_before_memory_is_taken() {
    let mut seen = 0;
    for entry in fs::read_dir(folder().join("huge")).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::read(&path).unwrap();
        let name = path.display().to_string();
        let mut result = Ok(());
        let taken = taken_by(|| result = photo::decode(&name, &file, &Limits::default()).map(drop));
        match &result {
            Err(Error::Limit { subject, what: "photo_side", value: 20_000, limit: 16_384 }) => {
                assert_eq!(*subject, name)
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(taken.bytes < 1 << 20, "{name}: {taken:?}");
        // The sides alone would pass here, their product must not.
        let mut limits = Limits::default();
        limits.photo_side = 20_000;
        let taken = taken_by(|| result = photo::decode(&name, &file, &limits).map(drop));
        assert!(
            matches!(result, Err(Error::Limit { what: "photo_pixels", value: 400_000_000, .. })),
            "{name}: {result:?}"
        );
        assert!(taken.bytes < 1 << 20, "{name}: {taken:?}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn long_files_are_refused_unread() {
    let mut limits = Limits::default();
    limits.photo_bytes = bytes("rgb.bmp").len() as u64;
    let mut decoder = Decoder::new(&limits);
    let mut frame = Frame::default();
    decoder.read(folder().join("rgb.bmp"), &mut frame).unwrap();
    decoder.read_from("stdin", &bytes("rgb.bmp")[..], &mut frame).unwrap();
    limits.photo_bytes -= 1;
    let mut decoder = Decoder::new(&limits);
    for result in
        [decoder.read(folder().join("rgb.bmp"), &mut frame), decoder.read_from("stdin", std::io::repeat(0), &mut frame)]
    {
        assert!(matches!(result, Err(Error::Limit { what: "photo_bytes", .. })), "{result:?}");
    }
}

#[test]
fn an_orientation_that_exif_does_not_know_is_passed_over() {
    let file = bytes("orientation-6.jpg");
    let tag = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0];
    let at = file.windows(tag.len()).position(|w| w == tag).unwrap() + tag.len();
    assert_eq!(file[at], 6);
    for orientation in [0, 9, 255] {
        let mut file = file.clone();
        file[at] = orientation;
        let frame = decode(&file).unwrap();
        assert_eq!((frame.width(), frame.height()), (9, 14), "{orientation}: as stored");
    }
}

mod inputs {
    use super::*;
    use oltr::source::photos::{Input, find};

    /// A folder of empty files called `names`.
    fn tree(names: &[&str]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for name in names {
            let path = temp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        temp
    }

    /// Photos found for `inputs`, relative to `temp`: one line each.
    fn found(temp: &tempfile::TempDir, inputs: &[&str]) -> Vec<String> {
        let rooted = inputs.iter().map(|i| match i.strip_prefix('@') {
            _ if *i == "-" => PathBuf::from(i),
            Some(list) => format!("@{}", temp.path().join(list).display()).into(),
            None => temp.path().join(i),
        });
        let root = format!("{}/", temp.path().display());
        let line = |input: Input| match input {
            Input::File(path) => path.display().to_string().replace(&root, ""),
            Input::Stdin => "stdin".into(),
            Input::Unusable { input, error } => {
                format!("{}: {}", input.display().to_string().replace(&root, ""), error.kind())
            }
        };
        find(rooted, &Limits::default()).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn folders_are_searched_in_order() {
        let temp =
            tree(&["p/b.JPG", "p/a.png", "p/a/z.WebP", "p/a/y.txt", "p/.hidden.jpg", "p/.git/c.jpg", "p/jpg", "q.jpg"]);
        assert_eq!(found(&temp, &["p"]), ["p/a/z.WebP", "p/a.png", "p/b.JPG"]);
        assert_eq!(found(&temp, &["q.jpg", "p/a", "q.jpg"]), ["q.jpg", "p/a/z.WebP", "q.jpg"]);
    }

    #[test]
    fn a_named_file_is_taken_with_any_name() {
        let temp = tree(&["odd.dat", "a[1].jpg", "@home.jpg", "p/.hidden.jpg"]);
        for name in ["odd.dat", "a[1].jpg", "p/.hidden.jpg"] {
            assert_eq!(found(&temp, &[name]), [name]);
        }
        assert_eq!(found(&temp, &["-"]), ["stdin"]);
    }

    #[test]
    fn patterns_match_files_and_folders() {
        let temp = tree(&["p/b1.jpg", "p/b2.jpg", "p/c.jpg", "p/d/e.jpg"]);
        assert_eq!(found(&temp, &["p/b?.jpg"]), ["p/b1.jpg", "p/b2.jpg"]);
        assert_eq!(found(&temp, &["p/**/[ce].jpg"]), ["p/c.jpg", "p/d/e.jpg"]);
        assert_eq!(found(&temp, &["p/[d]*"]), ["p/d/e.jpg"]);
        assert_eq!(found(&temp, &["p/x*.jpg"]), ["p/x*.jpg: not-found"]);
        assert_eq!(found(&temp, &["p/***"]), ["p/***: bad-input"]);
    }

    #[test]
    fn a_list_names_one_path_a_line() {
        let temp = tree(&["p/a.jpg", "p/b.png", "c d.jpg"]);
        let root = temp.path().display();
        fs::write(temp.path().join("list.txt"), format!("{root}/c d.jpg\r\n\n{root}/p\n{root}/gone.jpg\n")).unwrap();
        assert_eq!(found(&temp, &["@list.txt"]), ["c d.jpg", "p/a.jpg", "p/b.png", "gone.jpg: not-found"]);
        assert!(found(&temp, &["@none.txt"])[0].ends_with("none.txt: not-found"));
        fs::write(temp.path().join("empty.txt"), "\n").unwrap();
        assert!(found(&temp, &["@empty.txt"])[0].ends_with("empty.txt: bad-input"));
        fs::write(temp.path().join("photo.jpg"), b"\xff\xd8\xff\xe0\n").unwrap();
        assert!(found(&temp, &["@photo.jpg"])[0].ends_with("photo.jpg: bad-input"));
    }

    #[test]
    fn what_names_nothing_keeps_its_place() {
        let temp = tree(&["a.jpg", "empty/readme.txt", "b.jpg"]);
        let all = found(&temp, &["a.jpg", "gone.jpg", "empty", "b.jpg"]);
        assert_eq!(all, ["a.jpg", "gone.jpg: not-found", "empty: bad-input", "b.jpg"]);
        match &find([temp.path().join("empty")], &Limits::default()).unwrap()[..] {
            [Input::Unusable { error, .. }] => {
                assert!(error.to_string().contains("holds no photo; a photo is a file named *.bmp"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let temp = tree(&["a.jpg", "b.jpg", "c.jpg"]);
        let mut limits = Limits::default();
        limits.photos = 3;
        assert_eq!(find([temp.path()], &limits).unwrap().len(), 3);
        limits.photos = 2;
        assert!(matches!(find([temp.path()], &limits), Err(Error::Limit { what: "photos", value: 3, limit: 2, .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        use std::os::unix::fs::symlink;
        let temp = tree(&["p/a.jpg", "q/b.jpg"]);
        let at = |name: &str| temp.path().join(name);
        symlink(at("p"), at("p/loop")).unwrap();
        symlink(at("q"), at("p/q")).unwrap();
        symlink(at("p"), at("q/p")).unwrap();
        symlink(at("gone"), at("p/gone")).unwrap();
        symlink(at("gone.jpg"), at("p/z.jpg")).unwrap();
        assert_eq!(found(&temp, &["p"]), ["p/a.jpg", "p/q/b.jpg", "p/z.jpg: not-found"]);
    }
}
