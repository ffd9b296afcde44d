//! Recognises files that are not a supported photo, and says how to convert them.

/// The formats that are read, for messages.
pub const FORMATS: &str = "JPEG, PNG, WebP, GIF, BMP, TIFF or PNM";

/// A format that is not read.
struct Foreign {
    /// Its name with its article.
    name: &'static str,
    remedy: &'static str,
}

const HEIC: Foreign = Foreign { name: "a HEIC picture", remedy: "convert it: heif-convert photo.heic photo.jpg" };
const AVIF: Foreign = Foreign { name: "an AVIF picture", remedy: "convert it: ffmpeg -i photo.avif photo.png" };
const JPEG_XL: Foreign = Foreign { name: "a JPEG XL picture", remedy: "convert it: djxl photo.jxl photo.png" };
const JPEG_2000: Foreign = Foreign { name: "a JPEG 2000 picture", remedy: "convert it: ffmpeg -i photo.jp2 photo.png" };
const RAW: Foreign = Foreign {
    name: "a raw file of a camera",
    remedy: "convert it with a raw developer (darktable-cli photo.raw photo.jpg) or save JPEG in the camera",
};
const FLOATS: Foreign = Foreign {
    name: "a picture of floating-point numbers",
    remedy: "they have no range; save it as PNG with 8 bits a channel",
};
const VIDEO: Foreign = Foreign {
    name: "a video",
    remedy: "take pictures out of it: ffmpeg -i video.mp4 -vf fps=1 photo%05d.png, or give `oltr stream` its frames: \
             ffmpeg -nostdin -i video.mp4 -f yuv4mpegpipe - | oltr stream -",
};

/// Why bytes of no known format are refused, and the remedy.
pub fn reason(bytes: &[u8]) -> String {
    match recognise(bytes) {
        Some(Foreign { name, remedy }) => format!("{name}, which oltr does not read; {remedy}"),
        None => format!("not a picture that oltr reads; give it {FORMATS}"),
    }
}

fn recognise(bytes: &[u8]) -> Option<Foreign> {
    if let Some([size @ .., b'f', b't', b'y', b'p']) = bytes.first_chunk::<8>() {
        let [s3, s2, s1, s0] = *size;
        let end = (u32::from_be_bytes([s3, s2, s1, s0]) as usize).clamp(12, 256).min(bytes.len());
        return Some(by_brands(bytes.get(8..end).unwrap_or_default()));
    }
    let save = |name| Foreign { name, remedy: "save it as PNG" };
    let convert = |name| Foreign { name, remedy: "convert it to PNG" };
    let beginnings: [(&[u8], Foreign); 28] = [
        (b"\xFF\x0A", JPEG_XL),
        (b"\0\0\0\x0CJXL ", JPEG_XL),
        (b"\0\0\0\x0CjP  ", JPEG_2000),
        (b"\xFF\x4F\xFF\x51", JPEG_2000),
        (b"\x1A\x45\xDF\xA3", VIDEO),
        (b"OggS", VIDEO),
        (b"FLV\x01", VIDEO),
        (b"\0\0\x01\xBA", VIDEO),
        (b"\0\0\x01\xB3", VIDEO),
        (b"FUJIFILMCCD-RAW", RAW),
        (b"IIU\0", RAW),
        (b"IIRO", RAW),
        (b"IIRS", RAW),
        (b"MMOR", RAW),
        (b"FOVb", RAW),
        (b"\0MRM", RAW),
        (b"PF\n", FLOATS),
        (b"Pf\n", FLOATS),
        (b"#?R", FLOATS),
        (b"v/1\x01", FLOATS),
        (b"qoif", convert("a QOI picture")),
        (b"farbfeld", convert("a farbfeld picture")),
        (b"DDS ", convert("a DirectDraw texture")),
        (b"\0\0\x01\0", convert("an icon")),
        (b"8BPS", save("a Photoshop document")),
        (b"gimp xcf", save("a GIMP document")),
        (
            b"%PDF",
            Foreign { name: "a PDF document", remedy: "take its pictures out: pdfimages -png document.pdf photo" },
        ),
        (b"PK\x03\x04", Foreign { name: "a ZIP archive", remedy: "unpack it: unzip archive.zip" }),
    ];
    if let Some((_, foreign)) = beginnings.into_iter().find(|(beginning, _)| bytes.starts_with(beginning)) {
        return Some(foreign);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
        return Some(VIDEO);
    }
    let text = bytes[..bytes.len().min(256)].trim_ascii_start();
    if text.starts_with(b"<svg") || (text.starts_with(b"<?xml") && text.windows(4).any(|w| w == b"<svg")) {
        return Some(Foreign { name: "an SVG drawing", remedy: "convert it: rsvg-convert photo.svg -o photo.png" });
    }
    // A web page saved in place of a photo.
    let page =
        text.len() >= 5 && (text[..5].eq_ignore_ascii_case(b"<html") || text[..5].eq_ignore_ascii_case(b"<!doc"));
    page.then_some(Foreign { name: "a web page", remedy: "download the photo itself" })
}

/// Identifies a file in the ISO container by its brands, the major one first.
fn by_brands(brands: &[u8]) -> Foreign {
    let (brands, _) = brands.as_chunks::<4>();
    let has = |wanted: &[&[u8; 4]]| brands.iter().any(|brand| wanted.contains(&brand));
    match brands.first() {
        Some(b"crx ") => RAW,
        _ if has(&[b"avif", b"avis"]) => AVIF,
        _ if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) => HEIC,
        Some(b"jp2 " | b"jpx " | b"jph ") => JPEG_2000,
        _ => VIDEO,
    }
}
