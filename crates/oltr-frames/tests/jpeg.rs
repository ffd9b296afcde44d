//! JPEGs decoded to a network's input: row by row compared with whole photos, and hostile files.

#[path = "../../../tests/common/counting_allocator.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod counting_allocator;

use std::fs;
use std::path::{Path, PathBuf};

use counting_allocator::held_by;
use oltr_frames::preprocess::{Preprocess, Preprocessor, Resize};
use oltr_frames::source::photo::{self, Decode, InputReader};
use oltr_frames::{Error, Frame, Limits};

fn settings(resize: Resize, size: u32, resize_to: Option<u32>) -> Preprocess {
    Preprocess { size, resize, resize_to, mean: [9.0; 3], std: [1.0; 3], pad_color: None }
}

fn stretch(size: u32) -> Preprocess {
    settings(Resize::Stretch, size, None)
}

/// The samples and the photos of other tests.
fn photos() -> Vec<PathBuf> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut paths = Vec::new();
    for folder in ["tests/photos", "examples/photos", "crates/oltr-jpeg/tests/reduced"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy();
            if ["jpg", "png", "webp", "tif"].iter().any(|e| name.ends_with(e)) {
                paths.push(path);
            }
        }
    }
    assert!(paths.len() > 60);
    paths.sort();
    paths
}

fn by_frame(frame: &Frame, settings: &Preprocess) -> Vec<u8> {
    let mut preprocessor = Preprocessor::new(settings, frame.geometry()).unwrap();
    let mut pixels = vec![0; preprocessor.output_len()];
    preprocessor.run(frame, &mut pixels).unwrap();
    pixels
}

#[test]
fn rows_as_they_come_give_what_the_whole_photo_gives() {
    for settings in
        [stretch(24), settings(Resize::ShorterSide, 20, Some(23)), settings(Resize::Pad, 60, None), stretch(224)]
    {
        let mut reader = InputReader::new(&settings, Decode::Exact, &Limits::default());
        let mut pixels = vec![0; reader.output_len()];
        for path in photos() {
            let frame = photo::read(&path, &Limits::default()).unwrap();
            let right = by_frame(&frame, &settings);
            let seen = reader.read(&path, &mut pixels).unwrap();
            assert!(pixels == right, "{}: {settings:?}", path.display());
            assert_eq!((seen.size, seen.decoded), ((frame.width(), frame.height()), Decode::Exact));
            pixels.fill(1);
            reader.read_from("bytes", &fs::read(&path).unwrap()[..], &mut pixels).unwrap();
            assert!(pixels == right, "{}, from a reader", path.display());
            pixels.fill(1);
            assert_eq!(reader.decode("bytes", &fs::read(&path).unwrap(), &mut pixels).unwrap().size, seen.size);
            assert!(pixels == right, "{}, from memory", path.display());
        }
    }
}

/// Fast decoding is exact where it saves nothing, and close elsewhere.
#[test]
fn fast_decoding_is_close_and_reported() {
    let photo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/photos/cup.jpg"));
    for size in [16, 32, 64, 224, 600] {
        let settings = stretch(size);
        let (mut fast, mut exact) = (vec![0; (size * size * 3) as usize], vec![0; (size * size * 3) as usize]);
        let read = |decode, pixels: &mut Vec<u8>| {
            InputReader::new(&settings, decode, &Limits::default()).read(photo, pixels).unwrap()
        };
        let seen = read(Decode::Fast, &mut fast);
        assert_eq!(read(Decode::Exact, &mut exact).decoded, Decode::Exact);
        let reduces = seen.size.0.min(seen.size.1) >= 4 * size;
        assert_eq!(seen.decoded == Decode::Fast, reduces, "{size} of {:?}", seen.size);
        let off = fast.iter().zip(&exact).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
        let mean = f64::from(off) / fast.len() as f64;
        assert!(if reduces { mean < 2.0 } else { mean == 0.0 }, "{size}: {mean} in the mean");
    }
}

/// A file in a folder of its own.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/photos")).join(name)).unwrap()
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    [&[0xFF, marker], &(body.len() as u16 + 2).to_be_bytes()[..], body].concat()
}

#[test]
fn headers_of_any_length_come_before_the_rows() {
    let settings = stretch(24);
    for name in ["subsampled.jpg", "progressive.jpg", "orientation-6.jpg", "scans.jpg"] {
        let plain = bytes(name);
        let right = by_frame(&photo::decode(name, &plain, &Limits::default()).unwrap(), &settings);
        for count in [1, 2, 5, 40] {
            let long = segment(0xE5, &[0x5A; 65_000]).repeat(count);
            let (_folder, path) = file(&[&plain[..2], &long, &plain[2..], &[7; 100_000]].concat());
            let mut pixels = vec![0; right.len()];
            InputReader::new(&settings, Decode::Exact, &Limits::default()).read(&path, &mut pixels).unwrap();
            assert!(pixels == right, "{name} behind {count} segments");
        }
    }
}

/// A bit writer, highest bit first; a 0xFF is followed by a 0.
#[derive(Default)]
struct Bits(Vec<u8>, u32, u32);

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            (self.1, self.2) = (self.1 << 1 | (value >> bit & 1), self.2 + 1);
            if self.2 == 8 {
                self.0.push(self.1 as u8);
                if self.1 == 0xFF {
                    self.0.push(0);
                }
                (self.1, self.2) = (0, 0);
            }
        }
    }

    fn bytes(mut self) -> Vec<u8> {
        while self.2 != 0 {
            self.push(1, 1);
        }
        self.0
    }
}

/// A Huffman table with one code, a single 0, for `symbol`.
fn one_code(place: u8, symbol: u8) -> Vec<u8> {
    segment(0xC4, &[&[place, 1][..], &[0; 15], &[symbol]].concat())
}

/// Headers of a gray picture of this size (`marker` 0xC0 sequential, 0xC2 progressive) with codes for "no difference"
/// and "no more coefficients".
fn gray(marker: u8, width: u16, height: u16) -> Vec<u8> {
    let frame = [&[8][..], &height.to_be_bytes(), &width.to_be_bytes(), &[1, 1, 0x11, 0]].concat();
    let steps = [&[0][..], &[1; 64]].concat();
    [b"\xFF\xD8".to_vec(), segment(0xDB, &steps), segment(marker, &frame), one_code(0x00, 0), one_code(0x10, 0)]
        .concat()
}

/// A uniform grey picture of two bits per block.
fn sequential(width: u16, height: u16) -> Vec<u8> {
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    let scan = segment(0xDA, &[1, 1, 0x00, 0, 63, 0]);
    [gray(0xC0, width, height), scan, vec![0; blocks.div_ceil(4)], vec![0xFF, 0xD9]].concat()
}

/// The same in two progressive scans. The second one consists of runs of 32767 blocks.
fn progressive(width: u16, height: u16) -> Vec<u8> {
    let blocks = usize::from(width).div_ceil(8) * usize::from(height).div_ceil(8);
    let mut runs = Bits::default();
    for _ in 0..blocks.div_ceil(32767) {
        runs.push(0, 1);
        runs.push(0x3FFF, 14);
    }
    [
        gray(0xC2, width, height),
        segment(0xDA, &[1, 1, 0x00, 0, 0, 0]),
        vec![0; blocks.div_ceil(8)],
        one_code(0x10, 0xE0),
        segment(0xDA, &[1, 1, 0x00, 1, 63, 0]),
        runs.bytes(),
        vec![0xFF, 0xD9],
    ]
    .concat()
}

/// Neither the file nor the pixels are in memory as a whole.
#[test]
fn large_photos_take_the_memory_of_a_few_rows() {
    let settings = stretch(224);
    // As many bytes as a real photo of this size, in segments that the decoder skips.
    let mut long = progressive(12_000, 9_000);
    let end = long.len() - 2;
    long.splice(end..end, segment(0xFE, &[0x5A; 65_000]).repeat(400));
    assert!(long.len() > 25_000_000);
    let pictures =
        [("sequential", sequential(12_000, 9_000)), ("progressive", progressive(12_000, 9_000)), ("long", long)];
    for (what, picture) in pictures {
        let (_folder, path) = file(&picture);
        drop(picture);
        for decode in [Decode::Exact, Decode::Fast] {
            let mut pixels = vec![0; 224 * 224 * 3];
            let (held, ()) = held_by(|| {
                let mut reader = InputReader::new(&settings, decode, &Limits::default());
                reader.read(&path, &mut pixels).unwrap();
            });
            assert!(pixels.iter().all(|p| *p == 128));
            assert!(held.most < 4 << 20, "{what} {decode:?}: {} bytes", held.most);
        }
    }
}

fn refused(bytes: &[u8]) -> String {
    let (_folder, path) = file(bytes);
    let mut pixels = vec![0; 24 * 24 * 3];
    let mut reader = InputReader::new(&stretch(24), Decode::Exact, &Limits::default());
    let error = reader.read(&path, &mut pixels).expect_err("no picture");
    let from_memory = reader.read_from("memory", bytes, &mut pixels).expect_err("no picture");
    let kind = |e: &Error| std::mem::discriminant(e);
    assert_eq!(kind(&error), kind(&from_memory), "{error} / {from_memory}");
    let in_place = reader.decode("memory", bytes, &mut pixels).expect_err("no picture");
    assert_eq!(in_place.to_string(), from_memory.to_string());
    let frame = photo::read(&path, &Limits::default()).expect_err("no picture");
    assert_eq!(error.to_string(), frame.to_string());
    error.to_string()
}

#[test]
fn hostile_headers_are_refused_before_memory_is_taken() {
    let end = b"\xFF\xD9".to_vec();
    for picture in [gray(0xC0, 65_535, 65_535), gray(0xC2, 16_000, 16_000), gray(0xC2, 10_000, 10_000)] {
        let (held, error) = held_by(|| refused(&[picture, end.clone()].concat()));
        assert!(held.most < 1 << 20, "{error}: {}", held.most);
    }
}

#[test]
fn hostile_files_end_in_bounded_time() {
    let scan = segment(0xDA, &[1, 1, 0x00, 0, 0, 0]);
    let many = scan.repeat(5_000);
    assert!(refused(&[gray(0xC2, 800, 600), many].concat()).contains("scan"));
    // Segments of length 0, and only fill bytes.
    let empty = b"\xFF\xE0\x00\x00".repeat(10_000);
    refused(&[b"\xFF\xD8\xFF".to_vec(), empty.clone()].concat());
    refused(&[gray(0xC0, 80, 60), empty].concat());
    refused(&[gray(0xC0, 80, 60), vec![0xFF; 3 << 20]].concat());
    refused(&[gray(0xC0, 80, 60), vec![0x5A; 3 << 20]].concat());
    // A scan without data, and one with only unexpected markers.
    let scan = segment(0xDA, &[1, 1, 0x00, 0, 63, 0]);
    refused(&[gray(0xC0, 8_000, 6_000), scan.clone(), b"\xFF\xD9".to_vec()].concat());
    let markers: Vec<u8> = (0..1 << 20).flat_map(|n| [0xFF, 0xD0 + (n % 8) as u8]).collect();
    refused(&[gray(0xC0, 8_000, 6_000), scan.clone(), markers.clone()].concat());
    // Restart markers after every block, with no data in between.
    let interval = segment(0xDD, &[0, 1]);
    refused(&[gray(0xC0, 8_000, 6_000), interval, scan, markers].concat());
}

#[test]
fn a_photo_cut_off_anywhere_is_refused_alike_from_a_file_and_from_memory() {
    let (width, height) = (640, 480);
    let scans = [sequential(width, height), progressive(width, height), bytes("subsampled.jpg"), bytes("restart.jpg")];
    for (number, picture) in scans.into_iter().enumerate() {
        // The last bytes of the progressive picture are lengths of runs beyond the picture.
        for length in (3..picture.len() - 6).step_by(1 + picture.len() / 97) {
            let error = refused(&picture[..length]);
            assert!(error.contains(';'), "{number} at {length}: no remedy: {error}");
        }
    }
}
