//! Small copies of photos, as text within the page.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageBuffer, Rgb, imageops};
use oltr::source::photo;
use oltr::{Error, Limits, Result};

/// Longer side in pixels: twice the displayed size, for high-resolution screens.
const SIDE: u32 = 240;

/// JPEG quality.
const QUALITY: u8 = 75;

/// The photo at `path` at a small size, as a `data:` URI.
///
/// # Errors
/// As [`photo::read`].
pub fn data_uri(path: &Path, limits: &Limits) -> Result<String> {
    let frame = photo::read(path, limits)?;
    let (width, height) = (frame.width(), frame.height());
    let bad = |reason: String| Error::BadImage { subject: path.display().to_string(), reason };
    let picture: ImageBuffer<Rgb<u8>, &[u8]> = ImageBuffer::from_raw(width, height, frame.data())
        .ok_or_else(|| bad("is no picture of 3 bytes a pixel".into()))?;
    let scale = f64::from(SIDE) / f64::from(width.max(height));
    let side = |length: u32| ((f64::from(length) * scale).round() as u32).clamp(1, SIDE);
    let mut jpeg = Cursor::new(Vec::new());
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    let written = if scale < 1.0 {
        imageops::thumbnail(&picture, side(width), side(height)).write_with_encoder(encoder)
    } else {
        picture.write_with_encoder(encoder)
    };
    written.map_err(|e| bad(e.to_string()))?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg.get_ref())))
}
