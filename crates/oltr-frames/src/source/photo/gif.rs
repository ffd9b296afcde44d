//! The first picture of a GIF on its screen.

use std::io::{Cursor, Read};

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;

/// Decodes the first picture of the GIF `bytes` into `frame`. `scratch` holds its palette indices.
///
/// The screen grows to contain the picture. Pixels outside the picture get its transparent colour, or the first colour.
/// Without a palette, an index is a shade of grey.
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits, scratch: &mut Vec<u8>, frame: &mut Frame) -> Result<()> {
    let failed = |e: DecodingError| Error::BadImage { subject: subject.into(), reason: reason(&e) };
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // The picture's size is checked below, before it is decoded.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(with_palette(bytes)).map_err(failed)?;
    let screen = (u32::from(decoder.width()), u32::from(decoder.height()));
    let Some(picture) = decoder.next_frame_info().map_err(failed)? else {
        let reason = "the GIF holds no picture; copy or download it again".into();
        return Err(Error::BadImage { subject: subject.into(), reason });
    };
    let (left, top) = (usize::from(picture.left), usize::from(picture.top));
    let (width, height) = (usize::from(picture.width), usize::from(picture.height));
    let fill = picture.transparent.unwrap_or(0);
    let local = picture.palette.clone();
    let geometry =
        Geometry::new(PixelFormat::Rgb24, screen.0.max((left + width) as u32), screen.1.max((top + height) as u32));
    check_size(subject, geometry.width, geometry.height, limits)?;
    scratch.clear();
    scratch.resize(decoder.buffer_size(), 0);
    decoder.read_into_buffer(scratch).map_err(failed)?;
    let (palette, _) = local.as_deref().or(decoder.global_palette()).unwrap_or_default().as_chunks::<3>();
    // Beyond the palette there is black.
    let colors: [[u8; 3]; 256] = std::array::from_fn(|index| palette.get(index).copied().unwrap_or_default());
    let (pixels, _) = frame.reshape(geometry, limits)?.as_chunks_mut::<3>();
    pixels.fill(colors[usize::from(fill)]);
    if width == 0 {
        return Ok(());
    }
    let rows = pixels.chunks_exact_mut(geometry.width as usize).skip(top);
    for (to, from) in rows.zip(scratch.chunks_exact(width)) {
        for (pixel, index) in to[left..].iter_mut().zip(from) {
            *pixel = colors[usize::from(*index)];
        }
    }
    Ok(())
}

/// The file, with a grey palette added if it has no global one: the decoder refuses a picture without any palette.
fn with_palette(bytes: &[u8]) -> impl Read {
    // Signature and screen. The flags state whether a palette follows, and its size: 2 to the power of (these bits +
    // 1).
    const HEAD: usize = 13;
    const FLAGS: usize = 10;
    const HAS_PALETTE: u8 = 0x80;
    const COLORS: u8 = 0x07;
    let (mut before, mut rest) = (Vec::new(), bytes);
    if let Some((head, behind)) = bytes.split_first_chunk::<HEAD>()
        && head[FLAGS] & HAS_PALETTE == 0
    {
        before.extend_from_slice(head);
        before[FLAGS] |= HAS_PALETTE | COLORS;
        before.extend((0..=255).flat_map(|gray| [gray; 3]));
        rest = behind;
    }
    Cursor::new(before).chain(rest)
}

fn reason(e: &DecodingError) -> String {
    match e {
        DecodingError::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the GIF is cut off; copy or download it again".into()
        }
        e => format!("the GIF is damaged ({e}); copy it again or save it anew"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use crate::limits::Limits;

    #[test]
    fn without_a_palette_an_index_is_a_shade_of_gray() {
        let palette: Vec<u8> = (0..8).flat_map(|n| [n * 30, 7, 9]).collect();
        let mut file = Vec::new();
        let mut encoder = gif::Encoder::new(&mut file, 3, 2, &palette).unwrap();
        let picture = |palette| gif::Frame {
            width: 3,
            height: 2,
            buffer: vec![0, 1, 2, 3, 5, 7].into(),
            palette,
            ..Default::default()
        };
        encoder.write_frame(&picture(None)).unwrap();
        drop(encoder);
        let colors = |file: &[u8]| decode("a.gif", file, &Limits::default()).unwrap().data().to_vec();
        let own: Vec<u8> = [0, 1, 2, 3, 5, 7].iter().flat_map(|n| [n * 30, 7, 9]).collect();
        assert_eq!(colors(&file), own);
        // Removes the palette and its flag.
        file[10] &= 0x7F;
        file.drain(13..13 + palette.len());
        assert_eq!(colors(&file), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 5, 5, 5, 7, 7, 7]);
        // A picture's own palette counts.
        let mut file = Vec::new();
        gif::Encoder::new(&mut file, 3, 2, &[]).unwrap().write_frame(&picture(Some(palette))).unwrap();
        assert_eq!(colors(&file), own);
        for length in 0..file.len() - 1 {
            decode("a.gif", &file[..length], &Limits::default()).unwrap_err();
        }
    }
}
