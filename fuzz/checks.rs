//! What must hold of any bytes. Run by the fuzz targets on what a fuzzer makes up, and by tests/sources on the seeds.
#![allow(dead_code, reason = "each fuzz target uses one")]

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use oltr::preprocess::{Preprocess, Preprocessor, Resize};
use oltr::source::stream::{self, Arrival, ByteInput, Layout, RawFormat, Scan, Settings, Splitter};
use oltr::source::watch::Watch;
use oltr::source::{FrameSource, Next, photo};
use oltr::{Error, Frame, Limits, PixelFormat, Rect, RegionOfInterest, Result, Rotation};

/// Bytes that arrive `step` at a time.
struct Steps {
    bytes: io::Cursor<Vec<u8>>,
    step: usize,
}

impl ByteInput for Steps {
    fn name(&self) -> &str {
        "fuzz"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn read(&mut self, into: &mut [u8], _deadline: Instant) -> Result<Arrival> {
        let n = into.len().min(self.step);
        match self.bytes.read(&mut into[..n]) {
            Ok(0) | Err(_) => Ok(Arrival::End),
            Ok(n) => Ok(Arrival::Bytes(n)),
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        Err(Error::Unavailable { subject: "fuzz".into(), reason: String::new() })
    }
}

/// Small, so that a header alone costs no time.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.frame_bytes = 64 << 10;
    limits.encoded_frame_bytes = 32 << 10;
    limits
}

/// All that a stream of `bytes` gives: the bytes of frames, the offsets of damage. Checks what each promises.
fn read(bytes: &[u8], step: usize, settings: &Settings) -> Option<Vec<(Option<u64>, Vec<u8>)>> {
    let input = Steps { bytes: io::Cursor::new(bytes.to_vec()), step };
    let mut source = stream::from_input(Box::new(input), settings, &limits(), &|| false).ok()?;
    let most = source.bounds().frame_bytes;
    assert!(most <= limits().frame_bytes);
    let mut frame = Frame::with_capacity(most);
    let mut given = Vec::new();
    let mut last = 0;
    // Every step but the last takes a byte at least.
    for _ in 0..=bytes.len() + 1 {
        match source.next(&mut frame, Duration::from_secs(3600)) {
            Ok(Next::Frame) => {
                check(&frame, most);
                given.push((None, frame.data().to_vec()));
            }
            Ok(Next::Damaged(damage)) => {
                let offset = damage.offset.expect("a stream knows where it is");
                assert!(offset >= last && offset <= bytes.len() as u64, "{offset} after {last} of {}", bytes.len());
                last = offset;
                given.push((Some(offset), Vec::new()));
            }
            Ok(Next::Waiting) => panic!("nothing to wait for"),
            Ok(Next::End) | Err(_) => return Some(given),
        }
    }
    panic!("no end after {} frames or damages of {} bytes", given.len(), bytes.len());
}

/// Planes lie within the frame, and the frame within its bounds.
fn check(frame: &Frame, most: usize) {
    assert!(frame.data().len() <= most);
    for index in 0..frame.format().planes() {
        let plane = frame.plane(index);
        assert!(plane.row <= plane.stride && plane.offset + plane.len() <= frame.data().len(), "{plane:?}");
    }
}

/// The same however it arrives.
fn in_any_steps(bytes: &[u8], settings: &Settings) {
    let at_once = read(bytes, usize::MAX, settings);
    for step in [1, 13] {
        assert_eq!(read(bytes, step, settings), at_once, "{step} bytes at a time");
    }
}

/// YUV4MPEG2: any bytes, and any bytes behind a header.
pub fn y4m(bytes: &[u8]) {
    in_any_steps(bytes, &Settings::default());
    in_any_steps(&[b"YUV4MPEG2 W3 H2 C420jpeg\n", bytes].concat(), &Settings::default());
}

/// Sequences of JPEG pictures.
pub fn jpeg(bytes: &[u8]) {
    let whole = Splitter::default().scan(bytes);
    let mut splitter = Splitter::default();
    let mut parts = Scan::More;
    for end in 0..=bytes.len() {
        parts = splitter.scan(&bytes[..end]);
        if parts != Scan::More {
            break;
        }
    }
    assert_eq!(parts, whole);
    if let Scan::Picture(length) | Scan::Unended(length) = whole {
        assert!(length <= bytes.len());
    }
    in_any_steps(&[b"\xFF\xD8\xFF", bytes].concat(), &Settings::default());
    in_any_steps(bytes, &Settings::default());
}

/// Parts of a multipart stream: the bytes as they are, as a part, and between two parts with a picture each.
pub fn multipart(bytes: &[u8]) {
    const HEADER: &[u8] = b"\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n";
    in_any_steps(bytes, &Settings::default());
    in_any_steps(&[HEADER, bytes, HEADER].concat(), &Settings::default());
    in_any_steps(&[HEADER, PICTURE, HEADER, bytes, HEADER, PICTURE].concat(), &Settings::default());
}

/// A gray JPEG of 8×8 pixels.
const PICTURE: &[u8] = include_bytes!("seeds/jpeg/gray");

/// Raw frames: the first bytes choose format, size, stride, region and rotation.
pub fn raw(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first_chunk::<16>() else { return };
    let [format, w0, w1, h0, h1, s0, s1, x, y, width, height, rotation, size, resize, padded, many] = *choice;
    let format = PixelFormat::ALL[usize::from(format) % PixelFormat::ALL.len()];
    // Mostly small, sometimes absurd.
    let scale = if many == 255 { 65_537 } else { 1 };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high % 2])) * scale;
    let stride = usize::from(u16::from_le_bytes([s0, s1]));
    let layout = match padded % 8 {
        2 => Layout::Gstreamer,
        4 => Layout::Strides([stride, stride / 2, stride / 2]),
        6 => Layout::Strides([stride, stride, stride.wrapping_mul(x.into())]),
        odd if odd % 2 == 1 => Layout::Stride(stride),
        _ => Layout::Tight,
    };
    let raw = RawFormat { format, width: side(w0, w1), height: side(h0, h1), layout };
    let settings = Settings { raw: Some(raw), ..Settings::default() };
    in_any_steps(rest, &settings);
    // And what preprocessing does with the first frame.
    let input = Steps { bytes: io::Cursor::new(rest.to_vec()), step: usize::MAX };
    let Ok(mut source) = stream::from_input(Box::new(input), &settings, &limits(), &|| false) else { return };
    let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
    if !matches!(source.next(&mut frame, Duration::ZERO), Ok(Next::Frame)) {
        return;
    }
    let region = (x | y | width | height != 0).then(|| {
        let [x, y, width, height] = [x, y, width, height].map(u32::from);
        Rect { x, y, width, height }
    });
    let rotation = Rotation::from_degrees(u32::from(rotation % 4) * 90).unwrap_or_default();
    frame.set_roi(RegionOfInterest { region, rotation });
    let settings = Preprocess {
        size: u32::from(size % 64),
        resize: [Resize::Stretch, Resize::ShorterSide, Resize::Pad][usize::from(resize % 3)],
        resize_to: None,
        mean: [127.0; 3],
        std: [128.0; 3],
        pad_color: None,
    };
    if let Ok(mut preprocessor) = Preprocessor::new(&settings, frame.geometry()) {
        let mut pixels = vec![0; preprocessor.output_len()];
        preprocessor.run(&frame, &mut pixels).expect("what can be planned can be run");
    }
}

/// Photos of every format.
pub fn photo(bytes: &[u8]) {
    let mut limits = limits();
    (limits.photo_pixels, limits.photo_side) = (1 << 16, 1 << 12);
    for beginning in [&b""[..], b"\xFF\xD8\xFF", b"II*\0\x08\0\0\0", b"GIF89a"] {
        match photo::decode("fuzz", &[beginning, bytes].concat(), &limits) {
            Ok(frame) => {
                let pixels = u64::from(frame.width()) * u64::from(frame.height());
                assert!(pixels <= limits.photo_pixels && frame.data().len() as u64 == pixels * 3);
            }
            Err(Error::BadImage { reason, .. }) => assert!(reason.contains(';'), "no remedy: {reason}"),
            Err(Error::Limit { .. } | Error::BadInput { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

/// JPEGs as rows: from a file in parts and from memory, reduced and not, they give what the whole photo gives, or the same
/// error.
pub fn rows(bytes: &[u8]) {
    const SIDE: u32 = 16;
    let mut limits = limits();
    (limits.photo_pixels, limits.photo_side) = (1 << 16, 1 << 12);
    let resize = [Resize::Stretch, Resize::ShorterSide, Resize::Pad][bytes.len() % 3];
    let (mean, std) = ([127.0; 3], [128.0; 3]);
    let settings = Preprocess { size: SIDE, resize, resize_to: None, mean, std, pad_color: None };
    let bytes = [b"\xFF\xD8\xFF", bytes.strip_prefix(b"\xFF\xD8\xFF").unwrap_or(bytes)].concat();
    let place =
        tempfile::NamedTempFile::new_in("/dev/shm").or_else(|_| tempfile::NamedTempFile::new()).expect("a file");
    // Behind it something that is more than is read at once, so that the file is read in parts.
    fs::write(place.path(), [&bytes[..], &[0xFF, 0xD9], &vec![0x5A; 70 << 10]].concat()).expect("a file");
    let whole = photo::read(place.path(), &limits).map(|frame| {
        let mut preprocessor = Preprocessor::new(&settings, frame.geometry()).expect("a picture");
        let mut pixels = vec![0; preprocessor.output_len()];
        preprocessor.run(&frame, &mut pixels).expect("a plan");
        pixels
    });
    for decode in [photo::Decode::Exact, photo::Decode::Fast] {
        let mut reader = photo::InputReader::new(&settings, decode, &limits);
        let mut pixels = vec![0; reader.output_len()];
        let name = place.path().display().to_string();
        let file = fs::File::open(place.path()).expect("a file");
        for from_file in [true, false] {
            let seen = match from_file {
                true => reader.read(place.path(), &mut pixels),
                false => reader.read_from(&name, &file, &mut pixels),
            };
            match (&whole, seen) {
                (Ok(right), Ok(seen)) => assert!(seen.decoded == photo::Decode::Fast || pixels == *right),
                (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
                (a, b) => panic!("{:?} {b:?}", a.as_ref().map(Vec::len)),
            }
        }
    }
}

/// What a photo says of which way up it is: as EXIF and as XMP in a JPEG, a PNG and a WebP, and as a text in a PNG. It may say
/// anything; the photo stays the same but for being turned.
pub fn orientation(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(60_000)];
    let length = |length: usize| (length as u32).to_be_bytes();
    let jpg = include_bytes!("../tests/photos/gray.jpg");
    let png = include_bytes!("../tests/photos/gray.png");
    let webp = include_bytes!("../tests/photos/lossless.webp");
    let mut photos = Vec::new();
    for prefix in [&b"Exif\0\0"[..], b"http://ns.adobe.com/xap/1.0/\0"] {
        let size = &length(bytes.len() + prefix.len() + 2)[2..];
        photos.push([&jpg[..2], b"\xFF\xE1", size, prefix, bytes, &jpg[2..]].concat());
    }
    for (kind, prefix) in [
        (b"eXIf", &b""[..]),
        (b"tEXt", b"Raw profile type exif\0"),
        (b"zTXt", b"Raw profile type exif\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0"),
    ] {
        // The checksum is wrong, which nobody minds in a chunk like these.
        let size = length(bytes.len() + prefix.len());
        photos.push([&png[..33], &size, kind, prefix, bytes, &[0; 4], &png[33..]].concat());
    }
    for (flag, kind) in [(8, b"EXIF"), (4, b"XMP ")] {
        let size = (bytes.len() as u32).to_le_bytes();
        let head = [flag, 0, 0, 0, 36, 0, 0, 28, 0, 0];
        let padding = &[0][..bytes.len() % 2];
        let chunks = [b"WEBPVP8X\x0A\0\0\0", &head[..], &webp[12..], kind, &size, bytes, padding].concat();
        photos.push([b"RIFF", &(chunks.len() as u32).to_le_bytes()[..], &chunks].concat());
    }
    for photo in photos {
        let frame = photo::decode("fuzz", &photo, &Limits::default()).expect("a photo whatever it says");
        assert!(matches!((frame.width(), frame.height()), (37, 29) | (29, 37)));
        // What it says of place and time is on the globe and in the calendar, or nothing.
        let origin = frame.origin();
        let place = |p: &oltr::origin::Place| p.latitude.abs() <= 90.0 && p.longitude.abs() <= 180.0;
        assert!(origin.place.as_ref().is_none_or(place), "{origin:?}");
        let again = |t: &oltr::origin::Taken| oltr::origin::Taken::parse(&t.to_string());
        assert!(origin.taken.as_ref().is_none_or(|taken| again(taken).is_some()), "{origin:?}");
    }
}

/// The state file of a watched folder. Of whatever bytes, it is read, refused and left alone, or mended; what was recorded
/// stays so whatever stands before or behind it; and what is recorded then is known at every later start.
pub fn journal(bytes: &[u8]) {
    // In memory where that can be: all that is recorded is written through to the disk.
    let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let (folder, state) = (place.path().join("photos"), place.path().join("list"));
    fs::create_dir(&folder).expect("a folder");
    for photo in PHOTOS {
        let path = folder.join(format!("{}.pgm", char::from(photo)));
        fs::write(&path, [b"P5 1 1 255 ", &[photo][..]].concat()).expect("a file");
        let file = fs::File::open(&path).expect("a file");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("a time");
    }
    let start = |bytes: &[u8], most: usize| {
        fs::write(&state, bytes).expect("a file");
        taken(&folder, &state, most)
    };
    let lasts = |most: usize| assert_eq!(taken(&folder, &state, most).as_deref(), Some(&[][..]), "taken again");
    // One of them, which the fuzzer may choose: each start takes a millisecond.
    let most = [1, 2, 100][bytes.len() % 3];
    match start(bytes, most) {
        Some(_) => lasts(most),
        None => assert_eq!(fs::read(&state).expect("a file"), bytes, "what is refused is left alone"),
    }
    start(&sealed(bytes), most).expect("its first line is right");
    lasts(most);
    // What was recorded, as entries or as blocks.
    assert_eq!(start(b"", most).expect("a new list"), PHOTOS);
    let list = fs::read(&state).expect("a file");
    assert!(start(&[&list, bytes].concat(), 2).expect("a list").is_empty());
    lasts(1);
    let (first_line, entries) = list.split_at(FIRST_LINE);
    if most > PHOTOS.len() {
        assert!(start(&[first_line, bytes, b"\n", entries].concat(), 2).expect("a list").is_empty());
        lasts(1);
    }
}

/// Each is a gray pixel of the value of its name.
const PHOTOS: [u8; 3] = *b"abc";

/// Bytes of the first line of a state file.
const FIRST_LINE: usize = 31;

/// The photos of `folder` that are taken with the list in `state`, of which memory keeps `most` entries; `None` where that
/// is refused.
fn taken(folder: &Path, state: &Path, most: usize) -> Option<Vec<u8>> {
    let mut limits = limits();
    limits.watched_photos = most;
    let mut watch = match Watch::open(folder, Some(state), &limits) {
        Ok(watch) => watch,
        Err(Error::BadInput { .. }) => return None,
        Err(e) => panic!("{e}"),
    };
    let (mut frame, mut photos) = (Frame::default(), Vec::new());
    while let Next::Frame = watch.next(&mut frame, Duration::ZERO).expect("a folder") {
        photos.push(frame.data()[0]);
    }
    watch.confirm(u64::MAX).expect("a record");
    Some(photos)
}

/// A state file that is right in its checksums, and in which the bytes choose all else: how many blocks it says that it
/// has, how many follow, their keys, and the entries.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let with_sum = |text: String| format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()));
    let (choice, mut rest) = bytes.split_at(bytes.len().min(2));
    let blocks = choice.first().map_or(0, |count| u32::from(count % 8));
    let said = match choice.get(1) {
        Some(255) => u32::MAX,
        Some(other @ 192..) => u32::from(*other),
        _ => blocks,
    };
    let mut file = with_sum(format!("oltr.watch/2 {said:08x}")).into_bytes();
    for _ in 0..blocks {
        let (keys, others) = rest.split_at(rest.len().min(33));
        rest = others;
        let mut block = [0; 4096];
        let (count, keys) = keys.split_first().unwrap_or((&0, &[]));
        block[..keys.len()].copy_from_slice(keys);
        let few = u32::from(count % 8);
        block[4088..4092].copy_from_slice(&if *count == 255 { [255; 4] } else { few.to_le_bytes() });
        let sum = crc32fast::hash(&block[..4092]);
        block[4092..].copy_from_slice(&sum.to_le_bytes());
        file.extend(block);
    }
    for entry in rest.chunks_exact(24).take(16) {
        let keys: Vec<String> =
            entry.chunks_exact(8).map(|key| key.iter().map(|b| format!("{b:02x}")).collect()).collect();
        file.extend(with_sum(keys.join(" ")).into_bytes());
    }
    file
}
