//! Metadata of a photo: the orientation by EXIF, else by XMP; and time, place and camera by EXIF.
//!
//! The orientation follows Pillow's `exif_transpose`, which the training code applies. With an invalid orientation the
//! photo stays as stored.

use std::borrow::Cow;

use image::ImageFormat;
use image::metadata::Orientation;

use super::exif;
use super::ifd::Folder;
use crate::frame::origin::Origin;
use crate::source::jpeg::Segments;

/// The EXIF field of the orientation.
const ORIENTATION: u16 = 274;

/// The TIFF field that holds XMP.
const XMP: u16 = 700;

/// Optional prefix of EXIF data.
const EXIF_PREFIX: &[u8] = b"Exif\0\0";

/// Prefix of XMP in a JPEG.
const XMP_PREFIX: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// Bytes of a text of a PNG once it is unpacked.
const MAX_TEXT: usize = 1 << 20;

/// Metadata blocks of a file.
#[derive(Debug, Default)]
struct Metadata<'a> {
    exif: Option<Cow<'a, [u8]>>,
    xmp: Option<Cow<'a, [u8]>>,
}

/// Orientation and origin of the photo `bytes`.
pub fn read(bytes: &[u8], format: ImageFormat) -> (Orientation, Origin) {
    let metadata = match format {
        ImageFormat::Jpeg => of_jpeg(bytes),
        ImageFormat::Png => of_png(bytes),
        ImageFormat::WebP => of_webp(bytes),
        ImageFormat::Tiff => of_tiff(bytes),
        _ => Metadata::default(),
    };
    let folder = metadata.exif.as_deref().and_then(folder);
    // 0 if the field exists but is not a number.
    let by_exif = || folder?.field(ORIENTATION).map(|field| field.whole().unwrap_or(0));
    let by_xmp = || by_xmp(metadata.xmp.as_deref()?);
    let value = by_exif().or_else(by_xmp).and_then(|value| u8::try_from(value).ok());
    let orientation = value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    (orientation, folder.as_ref().map(exif::origin).unwrap_or_default())
}

/// The first folder of EXIF data.
fn folder(mut exif: &[u8]) -> Option<Folder<'_>> {
    for _ in 0..2 {
        exif = exif.strip_prefix(EXIF_PREFIX).unwrap_or(exif);
    }
    Folder::first(exif)
}

/// The first orientation in XMP, an attribute or an element.
fn by_xmp(xmp: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut rest = xmp;
    loop {
        let at = rest.windows(NAME.len()).position(|w| w == NAME)?;
        rest = &rest[at + NAME.len()..];
        if let [b'=', b'"', digit, ..] | [b'>', digit, ..] = rest
            && digit.is_ascii_digit()
        {
            return Some(u64::from(digit - b'0'));
        }
    }
}

/// EXIF may span several segments. Of XMP, the last segment counts.
fn of_jpeg(bytes: &[u8]) -> Metadata<'_> {
    let mut metadata = Metadata::default();
    for segment in Segments::new(bytes).map_while(Result::ok).take_while(|s| s.marker != 0xDA) {
        if segment.marker != 0xE1 {
            continue;
        }
        if let Some(data) = segment.body.strip_prefix(EXIF_PREFIX) {
            match &mut metadata.exif {
                Some(exif) => exif.to_mut().extend_from_slice(data),
                None => metadata.exif = Some(segment.body.into()),
            }
        } else if let Some(data) = segment.body.strip_prefix(XMP_PREFIX) {
            metadata.xmp = Some(data.into());
        }
    }
    metadata
}

/// The chunks of a PNG that are whole, each with its kind.
pub fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_first_chunk::<8>()?;
        let [l3, l2, l1, l0, kind @ ..] = *head;
        let length = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
        let (data, behind) = behind.split_at_checked(length)?;
        // A checksum follows the data.
        rest = behind.get(4..).unwrap_or_default();
        Some((kind, data))
    })
}

fn of_png(bytes: &[u8]) -> Metadata<'_> {
    let mut metadata = Metadata::default();
    let mut profile = None;
    for (kind, data) in png_chunks(bytes) {
        if &kind == b"eXIf" {
            metadata.exif = Some(data.into());
        } else if let Some((key, text)) = png_text(kind, data) {
            match key {
                b"Raw profile type exif" => profile = raw_profile(&text).or(profile),
                b"XML:com.adobe.xmp" => metadata.xmp = Some(text),
                _ => {}
            }
        }
    }
    metadata.exif = metadata.exif.or(profile.map(Cow::Owned));
    metadata
}

/// Keyword and text of a chunk of text.
fn png_text(kind: [u8; 4], data: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    if !matches!(&kind, b"tEXt" | b"zTXt" | b"iTXt") {
        return None;
    }
    let (key, data) = split(data)?;
    // Others are not worth unpacking.
    if !matches!(key, b"Raw profile type exif" | b"XML:com.adobe.xmp") {
        return None;
    }
    let text = match (&kind, data) {
        (b"tEXt", text) => text.into(),
        (b"zTXt", [0, packed @ ..]) => unpack(packed)?.into(),
        (b"iTXt", [packed, method, rest @ ..]) => {
            let (_language, rest) = split(rest)?;
            let (_translated, text) = split(rest)?;
            match (packed, method) {
                (0, _) => text.into(),
                (_, 0) => unpack(text)?.into(),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((key, text))
}

/// The parts before and after the first 0.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|b| *b == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    fdeflate::decompress_to_vec_bounded(packed, MAX_TEXT).ok()
}

/// Data of a profile in ImageMagick's form: a line feed, its kind, its length, and hexadecimal digits.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.splitn(4, |b| *b == b'\n').nth(3)?;
    let mut digits = lines.iter().filter(|b| !b.is_ascii_whitespace());
    let mut data = Vec::with_capacity(lines.len() / 2);
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    while let Some(high) = digits.next() {
        data.push((value(high)? << 4 | value(digits.next()?)?) as u8);
    }
    Some(data)
}

/// The first chunk of each kind counts, if the WebP header announces it.
fn of_webp(bytes: &[u8]) -> Metadata<'_> {
    const EXIF: u8 = 8;
    const XMP: u8 = 4;
    let mut metadata = Metadata::default();
    let Some([b'V', b'P', b'8', b'X', _, _, _, _, flags, ..]) = bytes.get(12..) else { return metadata };
    let mut rest = &bytes[12..];
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let [kind @ .., l0, l1, l2, l3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some((data, behind)) = behind.split_at_checked(length) else { break };
        rest = behind.get(length % 2..).unwrap_or_default();
        match &kind {
            b"EXIF" if flags & EXIF != 0 && metadata.exif.is_none() => metadata.exif = Some(data.into()),
            b"XMP " if flags & XMP != 0 && metadata.xmp.is_none() => metadata.xmp = Some(data.into()),
            _ => {}
        }
    }
    metadata
}

fn of_tiff(bytes: &[u8]) -> Metadata<'_> {
    let xmp = Folder::first(bytes).and_then(|folder| folder.field(XMP)).map(|field| field.data.into());
    Metadata { exif: Some(bytes.into()), xmp }
}
