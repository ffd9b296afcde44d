//! Bitmaps of OS/2 2, whose header the decoder does not know: it begins as that of Windows does.

use std::borrow::Cow;

/// Where the pixels lie, where the header begins, and its length in the second version of OS/2 and in Windows.
const PIXELS: usize = 10;
const HEADER: usize = 14;
const OS_2: u32 = 64;
const WINDOWS: u32 = 40;

/// Where the header says how the pixels are compressed, and from which number on OS/2 means something of its own.
const COMPRESSION: usize = HEADER + 16;
const OWN_COMPRESSIONS: u32 = 3;

/// A bitmap of OS/2 2 as one of Windows, any other as it is.
pub fn for_windows(bytes: &[u8]) -> Cow<'_, [u8]> {
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let own = number(COMPRESSION).is_none_or(|compression| compression >= OWN_COMPRESSIONS);
    if own || number(HEADER) != Some(OS_2) {
        return bytes.into();
    }
    let left_out = OS_2 - WINDOWS;
    let Some(pixels) = number(PIXELS).and_then(|pixels| pixels.checked_sub(left_out)) else { return bytes.into() };
    let (first, behind) = (HEADER + WINDOWS as usize, bytes.get(HEADER + OS_2 as usize..).unwrap_or_default());
    let mut file = [&bytes[..first.min(bytes.len())], behind].concat();
    file[PIXELS..PIXELS + 4].copy_from_slice(&pixels.to_le_bytes());
    file[HEADER..HEADER + 4].copy_from_slice(&WINDOWS.to_le_bytes());
    file.into()
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use crate::limits::Limits;

    /// A bitmap of 3 × 2 pixels with a header of `size` bytes: two colours, or three bytes a pixel.
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
            // What means something else in OS/2 is refused.
            let mut own = whole;
            own[30] = 3;
            let error = decode("a.bmp", &own, &Limits::default()).unwrap_err().to_string();
            assert!(error.contains("size=64"), "{error}");
        }
    }
}
