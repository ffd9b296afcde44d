//! Unsupported or incomplete photos: each is refused with its kind.

use super::*;

const END: [u8; 2] = [0xFF, 0xD9];

/// Offset of the frame header in a JPEG.
fn frame_header(file: &[u8]) -> usize {
    file.windows(2).position(|w| w[0] == 0xFF && matches!(w[1], 0xC0..=0xC2)).unwrap()
}

/// Offsets of the scan headers in a JPEG.
fn scans(file: &[u8]) -> Vec<usize> {
    (0..file.len() - 1).filter(|at| file[*at..].starts_with(&[0xFF, 0xDA])).collect()
}

fn refusal(bytes: &[u8]) -> String {
    match decode(bytes) {
        Err(error @ Error::BadImage { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(|frame| (frame.width(), frame.height()))),
    }
}

#[test]
fn a_jpeg_needs_no_end_mark_where_no_data_is_missing() {
    for name in ["baseline.jpg", "subsampled.jpg", "restart.jpg", "scans.jpg", "progressive.jpg", "gray.jpg"] {
        let file = bytes(name);
        let whole = decode(&file).unwrap();
        let (coded, end) = file.split_at(file.len() - 2);
        assert_eq!(end, END);
        let next = [&END[..], &file].concat();
        for trailer in [&b""[..], &[0; 900], b"written by a camera", &[0xFF; 50], &next] {
            let frame = decode(&[coded, trailer].concat()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let (worst, _) = difference(frame.data(), whole.data());
            assert!(worst <= LOSSY_WORST, "{name} before {} bytes: {worst}", trailer.len());
        }
        // Half of its last scan, and then the same.
        let last = *scans(&file).last().unwrap() + 14;
        let cut = &file[..last + (coded.len() - last) / 2];
        for trailer in [&b""[..], &[0; 9000], &[0xFF; 50], &END, &file] {
            let message = refusal(&[cut, trailer].concat());
            assert!(message.contains("copy"), "{name} before {} bytes: {message}", trailer.len());
        }
    }
}

#[test]
fn a_jpeg_that_lacks_data_between_two_scans_is_refused() {
    for name in ["progressive.jpg", "gray-progressive.jpg", "scans.jpg", "scans-luma-last.jpg", "progressive-odd.jpg"] {
        let file = bytes(name);
        let starts = scans(&file);
        for (this, next) in starts.iter().zip(&starts[1..]) {
            let coded = this + 14;
            // A scan with hardly any data has nothing to lose.
            if next - coded < 12 {
                continue;
            }
            let hole = [&file[..coded + (next - coded) / 2], &file[*next..]].concat();
            assert!(refusal(&hole).contains("again"), "{name}: a hole in the scan at {this}");
            let lacking = [&file[..*this], &file[*next..]].concat();
            assert!(refusal(&lacking).contains("JPEG"), "{name}: without the scan at {this}");
        }
    }
}

#[test]
fn a_jpeg_that_lacks_data_before_a_restart_marker_is_refused() {
    for name in ["restart.jpg", "scans-luma-last.jpg", "sampled-by-4.jpg", "gray-factors.jpg"] {
        let file = bytes(name);
        let from = scans(&file)[0] + 8;
        let markers: Vec<usize> =
            (from..file.len() - 1).filter(|at| file[*at] == 0xFF && matches!(file[at + 1], 0xD0..=0xD7)).collect();
        assert!(markers.len() >= 2, "{name}");
        for (this, next) in markers.iter().zip(&markers[1..]).filter(|(this, next)| *next - *this > 6) {
            let hole = [&file[..next - 2], &file[*next..]].concat();
            assert!(decode(&hole).is_err(), "{name}: two bytes before {next}");
            let interval = [&file[..*this], &file[*next..]].concat();
            assert!(decode(&interval).is_err(), "{name}: the data from {this} to {next}");
        }
    }
}

#[test]
fn jpegs_of_other_kinds_are_called_by_their_names() {
    let file = bytes("baseline.jpg");
    let at = frame_header(&file);
    for (place, value, part) in [
        (1, 0xC9, "an arithmetic-coded JPEG"),
        (1, 0xCA, "an arithmetic-coded JPEG"),
        (1, 0xC3, "a lossless JPEG"),
        (1, 0xC5, "a hierarchical JPEG"),
        (1, 0xF7, "a JPEG-LS picture"),
        (4, 12, "12 bits a sample"),
        (4, 16, "other than 8 bits"),
        (11, 0x35, "no whole proportion"),
    ] {
        let mut file = file.clone();
        file[at + place] = value;
        let message = refusal(&file);
        // The last of these has factors above 4, which do not exist.
        assert!(message.contains(part) || (place == 11 && message.contains("damaged")), "{part}: {message}");
    }
    let mut no_height = file.clone();
    no_height[at + 5..at + 7].fill(0);
    assert!(refusal(&no_height).contains("DNL"));
    let mut odd = bytes("subsampled.jpg");
    let at = frame_header(&odd);
    odd[at + 11] = 0x32;
    odd[at + 14] = 0x22;
    assert!(refusal(&odd).contains("no whole proportion"));
}

#[test]
fn a_jpeg_without_an_end_mark_takes_the_memory_that_is_stated() {
    let file = bytes("progressive.jpg");
    let mut frame = Frame::default();
    let mut decoder = Decoder::new(&Limits::default());
    let taken = taken_by(|| decoder.decode("photo", &file[..file.len() - 2], &mut frame).unwrap());
    // As in `oltr_jpeg::decode`: the frame; rows of units, 16 pixels high, as samples and coefficients; for each scan 8
    // KiB of coded data and a Huffman table. The standard's four tables exist from the start.
    let (frame, rows, table) = (48 * 32 * 3, 48 * 32 * 6, 4608);
    let stated = frame + rows + scans(&file).len() * (8192 + table) + 4 * table;
    assert!(taken.bytes < stated, "{taken:?}, not {stated}");
}

#[test]
fn other_files_are_called_by_their_names_with_what_makes_photos_of_them() {
    for (file, name, command) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC", "heif-convert"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC", "heif-convert"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF", "ffmpeg -i"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf", "AVIF", "ffmpeg -i"),
        (b"\xFF\x0A\xFA\x3F", "JPEG XL", "djxl"),
        (b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL", "djxl"),
        (b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000", "ffmpeg -i"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "a video", "oltr stream"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video", "oltr stream"),
        (b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81", "a video", "oltr stream"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video", "oltr stream"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a raw file of a camera", "darktable-cli"),
        (b"FUJIFILMCCD-RAW 0201", "a raw file of a camera", "darktable-cli"),
        (b"IIU\0\x18\0\0\0", "a raw file of a camera", "darktable-cli"),
        (b"Pf\n2 1\n-1.0\n", "floating-point", "PNG"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing", "rsvg-convert"),
        (b"<!DOCTYPE html><html>", "a web page", "download"),
        (b"%PDF-1.7\n", "a PDF document", "pdfimages"),
    ] {
        let message = refusal(file);
        assert!(message.contains(name) && message.contains(command), "{name}: {message}");
    }
}

/// A little-endian TIFF of 4 by 4 gray pixels with these fields besides.
fn tiff(more: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut fields: Vec<(u16, u16, u32)> =
        [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (279, 16)]
            .map(|(tag, value)| (tag, 3, value))
            .into_iter()
            .filter(|field| more.iter().all(|m| m.0 != field.0))
            .chain(more.iter().copied())
            .collect();
    fields.sort();
    let mut file = [&b"II*\0\x18\0\0\0"[..], &[7; 16]].concat();
    file.extend((fields.len() as u16).to_le_bytes());
    for (tag, kind, value) in fields {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file
}

#[test]
fn raw_files_of_cameras_are_not_taken_for_their_thumbnails() {
    assert_eq!(decode(&tiff(&[])).unwrap().data(), [7; 48]);
    // A smaller copy alone is no raw file.
    assert_eq!(decode(&tiff(&[(254, 4, 1)])).unwrap().data(), [7; 48]);
    for (kind, fields) in [
        ("NEF", &[(254, 4, 1), (330, 4, 8)][..]),
        ("NEF of another type", &[(254, 3, 1), (330, 13, 8)]),
        ("DNG", &[(50706, 1, 0x401)]),
        ("colour filters", &[(262, 3, 32803)]),
        ("linear raw", &[(262, 3, 34892)]),
        ("a pattern of filters", &[(33421, 3, 0x2_0002)]),
    ] {
        let message = refusal(&tiff(fields));
        assert!(message.contains("raw file of a camera") && message.contains("darktable-cli"), "{kind}: {message}");
    }
    let mut cr2 = tiff(&[]);
    cr2.splice(8..8, *b"CR\x02\0\0\0\0\0");
    cr2[4] += 8;
    assert!(refusal(&cr2).contains("raw file of a camera"));
}

#[test]
fn kinds_of_tiff_that_are_not_read_are_named() {
    for (fields, part) in [
        (&[(259, 3, 3)][..], "Group 3"),
        (&[(259, 3, 34925)], "LZMA"),
        (&[(259, 3, 50000)], "Zstandard"),
        (&[(262, 3, 8), (277, 3, 3)], "L*a*b*"),
        (&[(262, 3, 3)], "lacks its palette"),
        (&[(339, 3, 2)], "signed or floating-point"),
        (&[(266, 3, 2)], "bits in reverse order"),
        (&[(284, 3, 2), (322, 3, 16), (323, 3, 16)], "one plane a channel in tiles"),
    ] {
        let message = refusal(&tiff(fields));
        assert!(message.contains(part) && message.contains(';'), "{part}: {message}");
    }
}

#[test]
fn photos_of_108_megapixels_are_within_the_limits() {
    let header = b"P6 12000 9000 255\n";
    let message = refusal(&[&header[..], &[0; 100]].concat());
    assert!(message.contains("cut off"), "{message}");
    let beyond = decode(b"P6 16000 12000 255\n\0\0\0");
    assert!(matches!(beyond, Err(Error::Limit { what: "photo_pixels", value: 192_000_000, .. })), "{beyond:?}");
}

#[test]
fn an_orientation_behind_the_pixels_counts() {
    let file = bytes("orientation-prefix.png");
    let at = |kind: &[u8]| file.windows(4).position(|w| w == kind).unwrap() - 4;
    let (exif, pixels, end) = (at(b"eXIf"), at(b"IDAT"), at(b"IEND"));
    let moved = [&file[..exif], &file[pixels..end], &file[exif..pixels], &file[end..]].concat();
    assert!(decode(&moved).unwrap() == decode(&file).unwrap());
}
