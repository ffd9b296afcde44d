//! Every layout that a decoder gives, to 8-bit RGB.

use image::ColorType;

/// Converts the pixels of `source` (layout `color`, 16-bit samples in the byte order of this machine) to RGB.
///
/// Drops alpha and keeps the upper 8 of 16 bits, as the training code does.
///
/// # Panics
/// For floating-point layouts, which the caller refuses.
pub fn to_rgb(color: ColorType, source: &[u8], rgb: &mut [u8]) {
    match color {
        ColorType::L8 => convert::<1>(source, rgb, |[l]| [l; 3]),
        ColorType::La8 => convert::<2>(source, rgb, |[l, _]| [l; 3]),
        ColorType::Rgb8 => rgb.copy_from_slice(source),
        ColorType::Rgba8 => convert::<4>(source, rgb, |[r, g, b, _]| [r, g, b]),
        ColorType::L16 => convert::<2>(source, rgb, |l| [upper(l); 3]),
        ColorType::La16 => convert::<4>(source, rgb, |[l, m, ..]| [upper([l, m]); 3]),
        ColorType::Rgb16 => {
            convert::<6>(source, rgb, |[r, s, g, h, b, c]| [upper([r, s]), upper([g, h]), upper([b, c])])
        }
        ColorType::Rgba16 => {
            convert::<8>(source, rgb, |[r, s, g, h, b, c, ..]| [upper([r, s]), upper([g, h]), upper([b, c])]);
        }
        other => unreachable!("{other:?} is refused before it is decoded"),
    }
}

fn upper(sample: [u8; 2]) -> u8 {
    (u16::from_ne_bytes(sample) >> 8) as u8
}

fn convert<const N: usize>(source: &[u8], rgb: &mut [u8], pixel: impl Fn([u8; N]) -> [u8; 3]) {
    for (to, from) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(source.as_chunks::<N>().0) {
        *to = pixel(*from);
    }
}
