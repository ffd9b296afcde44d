//! The first picture of a GIF on its screen.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};

use crate::error::{Error, Result};
use crate::frame::{Frame, Geometry, PixelFormat, check_size};
use crate::limits::Limits;

/// Decodes the first picture of the GIF `bytes` into `frame`; `scratch` is for its palette indices.
///
/// The screen grows to hold the picture, whatever size the file gives it. Where the picture does not reach, its transparent
/// colour shows, or the first one. Without a palette an index is a shade of gray.
pub fn decode(subject: &str, bytes: &[u8], limits: &Limits, scratch: &mut Vec<u8>, frame: &mut Frame) -> Result<()> {
    let failed = |e: DecodingError| Error::BadImage { subject: subject.into(), reason: reason(&e) };
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // The picture's size is checked below, before it is decoded.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(failed)?;
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
    let palette = local.as_deref().or(decoder.global_palette());
    let color = |index: u8| match palette {
        None => [index; 3],
        // Beyond the palette there is black.
        Some(palette) => palette.as_chunks::<3>().0.get(usize::from(index)).copied().unwrap_or_default(),
    };
    let colors: [[u8; 3]; 256] = std::array::from_fn(|index| color(index as u8));
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

fn reason(e: &DecodingError) -> String {
    match e {
        DecodingError::Io(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the GIF is cut off; copy or download it again".into()
        }
        e => format!("the GIF is damaged ({e}); copy it again or save it anew"),
    }
}
