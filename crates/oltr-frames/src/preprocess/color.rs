//! Luma and chroma to red, green and blue, in integers.
//! The formula is documented in [`preprocess`](super).

use crate::frame::{Color, Matrix, Range};

/// Fraction bits of a factor.
const FACTOR: u32 = 14;

/// Fraction bits of the samples that [`Conversion::row`] takes.
pub const SAMPLE: u32 = 4;

/// The factors of one conversion, with 14 bits of fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    black: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

impl Conversion {
    /// The conversion from `color`.
    pub fn new(color: Color) -> Conversion {
        let (kr, kb) = match color.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
        };
        let kg = 1.0 - kr - kb;
        let (black, luma, chroma) = match color.range {
            Range::Full => (0, 1.0, 1.0),
            Range::Limited => (16, 255.0 / 219.0, 255.0 / 224.0),
        };
        let fixed = |factor: f64| (factor * f64::from(1 << FACTOR)).round() as i32;
        Conversion {
            black,
            luma: fixed(luma),
            red_v: fixed(2.0 * (1.0 - kr) * chroma),
            green_u: fixed(2.0 * kb * (1.0 - kb) / kg * chroma),
            green_v: fixed(2.0 * kr * (1.0 - kr) / kg * chroma),
            blue_u: fixed(2.0 * (1.0 - kb) * chroma),
        }
    }

    /// Converts a row of samples with [`SAMPLE`] bits of fraction into RGB.
    ///
    /// For whole numbers the result equals the documented formula.
    #[inline(always)]
    pub fn row(&self, y: &[i16], u: &[i16], v: &[i16], rgb: &mut [u8]) {
        for (((pixel, y), u), v) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(y).zip(u).zip(v) {
            *pixel = self.pixel(i32::from(*y), i32::from(*u), i32::from(*v), SAMPLE);
        }
    }

    /// Output value of each luma in a picture without chroma.
    pub fn gray(&self) -> [u8; 256] {
        std::array::from_fn(|y| self.pixel(y as i32, 128, 128, 0)[0])
    }

    /// One pixel of samples with `fraction` bits of fraction.
    #[inline(always)]
    pub fn pixel(&self, y: i32, u: i32, v: i32, fraction: u32) -> [u8; 3] {
        let y = (y - (self.black << fraction)) * self.luma + (1 << (FACTOR + fraction - 1));
        let (u, v) = (u - (128 << fraction), v - (128 << fraction));
        let byte = |sum: i32| (sum >> (FACTOR + fraction)).clamp(0, 255) as u8;
        [byte(y + self.red_v * v), byte(y - self.green_u * u - self.green_v * v), byte(y + self.blue_u * u)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLORS: [Color; 4] = [
        Color::JPEG,
        Color::VIDEO,
        Color { matrix: Matrix::Bt709, range: Range::Full },
        Color { matrix: Matrix::Bt709, range: Range::Limited },
    ];

    /// The definition of ITU-R BT.601 and BT.709 in f64: luma is the weighted sum of the channels, and chroma
    /// the scaled differences from it. Solved in the other direction than above.
    fn exact(color: Color, y: f64, u: f64, v: f64) -> [f64; 3] {
        let (kr, kg, kb) = match color.matrix {
            Matrix::Bt601 => (0.299, 0.587, 0.114),
            Matrix::Bt709 => (0.2126, 0.7152, 0.0722),
        };
        let (luma, pb, pr) = match color.range {
            Range::Full => (y / 255.0, (u - 128.0) / 255.0, (v - 128.0) / 255.0),
            Range::Limited => ((y - 16.0) / 219.0, (u - 128.0) / 224.0, (v - 128.0) / 224.0),
        };
        let (r, b) = (luma + pr * 2.0 * (1.0 - kr), luma + pb * 2.0 * (1.0 - kb));
        [r, (luma - kr * r - kb * b) / kg, b].map(|channel| (channel * 255.0).clamp(0.0, 255.0))
    }

    #[test]
    fn every_triple_is_within_one_of_the_definition() {
        for color in COLORS {
            let conversion = Conversion::new(color);
            let (mut worst, mut off, mut all) = (0.0f64, 0, 0);
            for y in 0..=255 {
                for u in (0..=255).step_by(3) {
                    for v in (0..=255).step_by(5) {
                        let rgb = conversion.pixel(y, u, v, 0);
                        let exact = exact(color, y.into(), u.into(), v.into());
                        for (a, b) in rgb.iter().zip(exact) {
                            worst = worst.max((f64::from(*a) - b).abs());
                            off += usize::from(f64::from(*a) != b.round());
                            all += 1;
                        }
                    }
                }
            }
            assert!(worst < 0.52, "{color:?}: {worst} off");
            assert!(off * 100 < all, "{color:?}: {off} of {all} are not the nearest integer");
        }
    }

    /// The factors, and a few results by hand.
    #[test]
    fn the_formula_is_the_documented_one() {
        let video = Conversion::new(Color::VIDEO);
        let factors = [video.luma, video.red_v, video.green_u, video.green_v, video.blue_u];
        assert_eq!(factors, [19077, 26149, 6419, 13320, 33050]);
        let jpeg = Conversion::new(Color::JPEG);
        assert_eq!(
            [jpeg.luma, jpeg.red_v, jpeg.green_u, jpeg.green_v, jpeg.blue_u],
            [16384, 22970, 5638, 11700, 29032]
        );
        for (yuv, rgb) in [([16, 128, 128], [0; 3]), ([235, 128, 128], [255; 3]), ([81, 90, 240], [254, 0, 0])] {
            assert_eq!(video.pixel(yuv[0], yuv[1], yuv[2], 0), rgb);
        }
        assert_eq!(jpeg.pixel(7, 128, 128, 0), [7; 3]);
    }

    #[test]
    fn samples_with_a_fraction_agree_at_whole_numbers() {
        for color in COLORS {
            let conversion = Conversion::new(color);
            for y in 0..=255 {
                let (u, v) = ((y * 7) % 256, (y * 13) % 256);
                let fine = conversion.pixel(y << SAMPLE, u << SAMPLE, v << SAMPLE, SAMPLE);
                assert_eq!(fine, conversion.pixel(y, u, v, 0), "{color:?} {y} {u} {v}");
            }
        }
    }
}
