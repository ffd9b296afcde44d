//! Compares with libjpeg-turbo for all samplings and scales, and for pictures that arrive in pieces.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

use oltr_jpeg::{Beginning, Data, Failure, Fault, Room, Rows, Scale, ScanIndex, begin, decode};

struct Pixels {
    width: usize,
    rgb: Vec<u8>,
}

impl Rows for Pixels {
    fn row(&mut self, rows: [&[u8]; 3]) {
        for x in 0..self.width {
            self.rgb.extend(rows.map(|row| row[x]));
        }
    }
}

fn pixels(index: &ScanIndex, data: Data, scale: Scale, room: &mut Room) -> Result<Vec<u8>, Failure> {
    // Both lifetimes must be the same.
    fn inner<'a>(index: &'a ScanIndex, data: Data<'a>, scale: Scale, room: &mut Room) -> Result<Vec<u8>, Failure> {
        let mut pixels = Pixels { width: scale.side(index.header.width.into()) as usize, rgb: Vec::new() };
        decode(index, data, scale, room, &mut pixels)?;
        Ok(pixels.rgb)
    }
    match data {
        Data::Whole(bytes) => inner(index, Data::Whole(bytes), scale, room),
        Data::Parts(head, rest) => inner(index, Data::Parts(head, rest), scale, room),
        Data::At(file) => inner(index, Data::At(file), scale, room),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reduced"))
}

fn names() -> Vec<String> {
    let all = fs::read_dir(folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = all.filter_map(|name| name.strip_suffix(".jpg").map(String::from)).collect();
    names.sort();
    assert_eq!(names.len(), 6);
    names
}

fn picture(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.jpg"))).unwrap()
}

/// The pixels of a PPM.
fn ppm(name: &str) -> Vec<u8> {
    let file = fs::read(folder().join(name)).unwrap();
    file.splitn(4, |b| *b == b'\n').nth(3).unwrap().to_vec()
}

#[test]
fn whole_pictures_and_means_of_blocks_are_libjpegs() {
    let mut room = Room::default();
    for name in names() {
        let bytes = picture(&name);
        let index = ScanIndex::new(&bytes).unwrap();
        let whole = pixels(&index, Data::Whole(&bytes), Scale::Full, &mut room).unwrap();
        assert!(whole == ppm(&format!("{name}.1.ppm")), "{name}");
        // Chroma that is sampled more rarely both ways is reduced to means of its blocks in no scale.
        if ["gray", "422", "444"].contains(&&*name) {
            let means = pixels(&index, Data::Whole(&bytes), Scale::Eighth, &mut room).unwrap();
            assert!(means == ppm(&format!("{name}.8.ppm")), "{name}");
        }
    }
}

/// A reduced picture is near the means of the whole one's pixels, except for its strong noise: 20 levels per pixel, and
/// 10 and 5 per mean.
#[test]
fn reduced_pictures_are_near_the_means_of_whole_ones() {
    let mut room = Room::default();
    for name in names() {
        let bytes = picture(&name);
        let index = ScanIndex::new(&bytes).unwrap();
        let (width, height) = (usize::from(index.header.width), usize::from(index.header.height));
        let whole = pixels(&index, Data::Whole(&bytes), Scale::Full, &mut room).unwrap();
        for (scale, most) in [(Scale::Half, 5.0), (Scale::Quarter, 3.0), (Scale::Eighth, 3.0)] {
            let given = pixels(&index, Data::Whole(&bytes), scale, &mut room).unwrap();
            let factor = scale.factor() as usize;
            let columns = scale.side(width as u32) as usize;
            assert_eq!(given.len(), columns * scale.side(height as u32) as usize * 3);
            // Luma only, because chroma may have a lower sampling rate.
            let luma =
                |pixel: &[u8]| pixel.iter().zip([0.299, 0.587, 0.114]).map(|(v, w)| f64::from(*v) * w).sum::<f64>();
            let (mut sum, mut count) = (0.0, 0);
            for (y, x) in (0..height / factor).flat_map(|y| (0..width / factor).map(move |x| (y, x))) {
                let at = |i: usize| ((y * factor + i / factor) * width + x * factor + i % factor) * 3;
                let all = (0..factor * factor).map(|i| luma(&whole[at(i)..at(i) + 3])).sum::<f64>();
                let mean = all / (factor * factor) as f64;
                sum += (luma(&given[(y * columns + x) * 3..][..3]) - mean).abs();
                count += 1;
            }
            let mean = sum / f64::from(count);
            println!("{name}, 1/{factor}: {mean:.2} levels");
            assert!(mean < most, "{name}, 1/{factor}: {mean}");
        }
    }
}

/// Yields a few bytes at a time, with interruptions.
struct Drops<'a>(&'a [u8], usize);

impl Read for Drops<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = into.len().min(self.0.len()).min(1 + self.1 % 7);
        let (given, rest) = self.0.split_at(count);
        into[..count].copy_from_slice(given);
        self.0 = rest;
        Ok(count)
    }
}

#[test]
fn pieces_give_what_the_whole_gives() {
    let mut room = Room::default();
    for name in names() {
        let bytes = picture(&name);
        let index = ScanIndex::new(&bytes).unwrap();
        let whole = pixels(&index, Data::Whole(&bytes), Scale::Full, &mut room).unwrap();
        let mut short = 0;
        for length in 2..bytes.len() {
            match begin(&bytes[..length]).unwrap() {
                Beginning::Short => short += 1,
                Beginning::OneScan(index) => {
                    assert_ne!(name, "progressive");
                    let mut rest = Drops(&bytes[length..], length);
                    let given = pixels(&index, Data::Parts(&bytes[..length], &mut rest), Scale::Full, &mut room);
                    assert!(given.unwrap() == whole, "{name} at {length}");
                }
                Beginning::Scans => {
                    assert_eq!(name, "progressive");
                    break;
                }
            }
        }
        assert!(short > 100, "{name}: the headers are longer");
    }
}

#[test]
fn a_picture_in_pieces_that_ends_early_is_cut_off() {
    let mut room = Room::default();
    let bytes = picture("420");
    let index = ScanIndex::new(&bytes).unwrap();
    let coded = index.scans[0].coded;
    for length in coded..bytes.len() - 8 {
        let mut rest = Drops(&bytes[coded..length], 0);
        match pixels(&index, Data::Parts(&bytes[..coded], &mut rest), Scale::Eighth, &mut room) {
            Err(Failure::Fault(Fault::CutOff)) => {}
            other => panic!("{length}: {:?}", other.map(|pixels| pixels.len())),
        }
    }
}

/// A file of `bytes` that yields a few bytes at a time, with interruptions.
fn drops(bytes: &[u8]) -> impl Fn(&mut [u8], u64) -> io::Result<usize> {
    let calls = std::cell::Cell::new(0);
    move |into, at| {
        calls.set(calls.get() + 1);
        Drops(bytes.get(at as usize..).unwrap_or_default(), calls.get()).read(into)
    }
}

/// A scan index as text: position and contents of its scans.
fn text(index: &ScanIndex) -> String {
    format!("{index:?}")
}

#[test]
fn a_file_gives_what_memory_gives_and_fails_as_that_does() {
    let mut room = Room::default();
    for name in names() {
        let bytes = picture(&name);
        let index = ScanIndex::new(&bytes).unwrap();
        // Fill bytes, and a segment longer than one read.
        let long = [&b"\xFF\xFF\xFF\xE5\xFF\xFE"[..], &[0xFF; 0xFFFC], b"between"].concat();
        let longer = [&bytes[..2], &long, &bytes[2..]].concat();
        for (file, shift) in [(&bytes, 0), (&longer, long.len())] {
            let read = drops(file);
            let given = ScanIndex::of_file(&read).unwrap();
            assert_eq!(given.scans[0].coded, index.scans[0].coded + shift, "{name}");
            assert_eq!(text(&given), text(&ScanIndex::new(file).unwrap()), "{name}");
            for scale in Scale::ALL {
                let whole = pixels(&index, Data::Whole(&bytes), scale, &mut room).unwrap();
                let given = pixels(&given, Data::At(&read), scale, &mut room).unwrap();
                assert!(given == whole, "{name} by {scale:?}");
            }
        }
        for length in (2..bytes.len()).step_by(1 + bytes.len() / 150) {
            let read = drops(&bytes[..length]);
            let right = ScanIndex::new(&bytes[..length]);
            match (ScanIndex::of_file(&read), &right) {
                (Ok(given), Ok(right)) => {
                    let pixels =
                        |data, room: &mut Room| pixels(right, data, Scale::Half, room).map_err(|e| e.to_string());
                    let whole = pixels(Data::Whole(&bytes[..length]), &mut room);
                    assert_eq!(text(&given), text(right), "{name} at {length}");
                    assert!(pixels(Data::At(&read), &mut room) == whole, "{name} at {length}");
                }
                (Err(Failure::Fault(given)), Err(right)) => assert_eq!(given, *right, "{name} at {length}"),
                (given, right) => panic!("{name} at {length}: {given:?}, {right:?}"),
            }
        }
    }
}

#[test]
fn a_reader_that_fails_is_no_fault_of_the_picture() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("unplugged"))
        }
    }
    let bytes = picture("420");
    let index = ScanIndex::new(&bytes).unwrap();
    let head = &bytes[..index.scans[0].coded + 20];
    let failed = pixels(&index, Data::Parts(head, &mut Broken), Scale::Full, &mut Room::default());
    assert!(matches!(failed, Err(Failure::Io(_))));
    let broken = |_: &mut [u8], _| Err(io::Error::other("unplugged"));
    assert!(matches!(ScanIndex::of_file(&broken), Err(Failure::Io(_))));
    let failed = pixels(&index, Data::At(&broken), Scale::Full, &mut Room::default());
    assert!(matches!(failed, Err(Failure::Io(_))));
}
