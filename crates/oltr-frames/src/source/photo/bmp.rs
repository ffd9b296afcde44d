//! Bitmap headers that the decoder does not know or misreads: those of OS/2 2, and those without the offset of the pixels.

use std::borrow::Cow;

/// Position of the field with the offset of the pixels.
const PIXELS: usize = 10;
/// Start of the header, and its length in both versions of OS/2 and in Windows.
const HEADER: usize = 14;
const OS_2_FIRST: u32 = 12;
const OS_2: u32 = 64;
const WINDOWS: u32 = 40;

/// Positions of the fields for bits per pixel, compression and number of colours.
const BITS: usize = HEADER + 14;
const BITS_OS_2_FIRST: usize = HEADER + 10;
const COMPRESSION: usize = HEADER + 16;
const COLORS: usize = HEADER + 32;

/// The compression with three masks after a Windows header, and the first value with a meaning of its own in OS/2.
const MASKS: u32 = 3;
const OWN_COMPRESSIONS: u32 = 3;

/// Converts an OS/2 2 bitmap to a Windows one, and adds a missing offset of the pixels. Others stay unchanged.
///
/// # Errors
/// A text if the pixels begin within the header.
pub fn readable(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (Some(pixels), Some(size)) = (number(PIXELS), number(HEADER)) else { return Ok(bytes.into()) };
    let begin = match pixels {
        // Some writers leave it out: the pixels then follow all headers.
        0 => headers(bytes, size),
        _ if pixels < size.saturating_add(HEADER as u32) => return Err("its pixels begin within its header".into()),
        _ => Some(pixels),
    };
    let Some(begin) = begin else { return Ok(bytes.into()) };
    let own = number(COMPRESSION).is_none_or(|compression| compression >= OWN_COMPRESSIONS);
    let mut file: Cow<[u8]> = bytes.into();
    if size == OS_2 && !own {
        let left_out = OS_2 - WINDOWS;
        let (first, behind) = (HEADER + WINDOWS as usize, bytes.get(HEADER + OS_2 as usize..).unwrap_or_default());
        file = [&bytes[..first.min(bytes.len())], behind].concat().into();
        file.to_mut()[PIXELS..PIXELS + 4].copy_from_slice(&(begin - left_out).to_le_bytes());
        file.to_mut()[HEADER..HEADER + 4].copy_from_slice(&WINDOWS.to_le_bytes());
    } else if begin != pixels {
        file.to_mut()[PIXELS..PIXELS + 4].copy_from_slice(&begin.to_le_bytes());
    }
    Ok(file)
}

/// Bytes before the pixels of a bitmap with a header of `size` bytes; `None` if the file is too short or a number too large.
fn headers(bytes: &[u8], size: u32) -> Option<u32> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let short = |at: usize| Some(u32::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
    let (bits, colors, entry) = match size {
        OS_2_FIRST => (short(BITS_OS_2_FIRST)?, 0, 3),
        _ => (short(BITS)?, number(COLORS)?, 4),
    };
    let colors = match bits {
        1..=8 if colors == 0 => 1 << bits,
        1..=8 => colors,
        _ => 0,
    };
    let masks = if size == WINDOWS && number(COMPRESSION)? == MASKS { 12 } else { 0 };
    (HEADER as u32).checked_add(size)?.checked_add(masks)?.checked_add(colors.checked_mul(entry)?)
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use crate::limits::Limits;

    /// A bitmap of 3 × 2 pixels with a header of `size` bytes: two colours, or three bytes per pixel.
    fn bitmap(size: u32, palette: bool) -> Vec<u8> {
        let colors: &[u8] = if palette { &[9, 8, 7, 0, 250, 100, 50, 0] } else { &[] };
        let rows: Vec<u8> = match palette {
            true => vec![0b0100_0000, 0, 0, 0, 0b1010_0000, 0, 0, 0],
            false => (0..24).collect(),
        };
        let first = 14 + size + colors.len() as u32;
        let words = [first + rows.len() as u32, 0, first, size, 3, 2];
        let mut file = b"BM".to_vec();
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file.extend([1, 0, if palette { 1 } else { 24 }, 0]);
        let words = [0, rows.len() as u32, 0, 0, if palette { 2 } else { 0 }, 0];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file.resize(14 + size as usize, 0);
        [&file, colors, &rows].concat()
    }

    #[test]
    fn bitmaps_of_os_2_are_those_of_windows() {
        for palette in [false, true] {
            let right = decode("a.bmp", &bitmap(40, palette), &Limits::default()).unwrap();
            let given = decode("a.bmp", &bitmap(64, palette), &Limits::default()).unwrap();
            assert_eq!(given.data(), right.data());
            let whole = bitmap(64, palette);
            for length in 2..whole.len() - 1 {
                decode("a.bmp", &whole[..length], &Limits::default()).unwrap_err();
            }
            // Without the offset, the pixels follow all headers.
            for size in [40, 64] {
                let mut file = bitmap(size, palette);
                file[10..14].fill(0);
                assert_eq!(decode("a.bmp", &file, &Limits::default()).unwrap().data(), right.data());
                for within in [1, 20, 13 + size as u8] {
                    file[10] = within;
                    let error = decode("a.bmp", &file, &Limits::default()).unwrap_err().to_string();
                    assert!(error.contains("within its header"), "{error}");
                }
            }
            // Values with another meaning in OS/2 are refused.
            let mut own = whole;
            own[30] = 3;
            let error = decode("a.bmp", &own, &Limits::default()).unwrap_err().to_string();
            assert!(error.contains("size=64"), "{error}");
        }
    }
}
