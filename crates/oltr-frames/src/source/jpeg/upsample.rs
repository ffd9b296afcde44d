//! From the samples of components to RGB, a row at a time.
//!
//! A component of half the rate is interpolated as libjpeg does it ("fancy upsampling": a sample's own weight is 3/4, its
//! neighbour's 1/4); one of a lower rate is repeated.

use super::header::Color;

/// The samples of one component.
#[derive(Debug)]
pub struct Plane<'a> {
    pub samples: &'a mut [u8],
    pub stride: usize,
    /// Samples that belong to the picture.
    pub width: usize,
    pub height: usize,
    /// Columns and rows of the picture for one sample.
    pub across: usize,
    pub down: usize,
}

impl Plane<'_> {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.stride..][..self.width]
    }

    /// Row `y` of the picture into `to`, which has room for `width * across` samples.
    fn upsample(&self, y: usize, to: &mut [u8]) {
        let at = y / self.down;
        let own = self.row(at);
        // The nearer of the rows above and below; beyond the edge the row itself.
        let near = match y % 2 {
            0 => self.row(at.saturating_sub(1)),
            _ => self.row((at + 1).min(self.height - 1)),
        };
        let fancy_across = self.across == 2 && self.width > 2;
        match (self.across, self.down) {
            (1, 1) => to[..self.width].copy_from_slice(own),
            (1, 2) => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for (to, (own, near)) in to.iter_mut().zip(own.iter().zip(near)) {
                    *to = ((u16::from(*own) * 3 + u16::from(*near) + bias) >> 2) as u8;
                }
            }
            (2, 1) if fancy_across => interpolate(own.iter().map(|s| u16::from(*s)), to, (1, 2), 2),
            (2, 2) if fancy_across => {
                let sums = own.iter().zip(near).map(|(own, near)| u16::from(*own) * 3 + u16::from(*near));
                interpolate(sums, to, (8, 7), 4);
            }
            (across, _) => {
                for (to, sample) in to.chunks_mut(across).zip(own) {
                    to.fill(*sample);
                }
            }
        }
    }
}

/// Two samples out of each of `values`: 3/4 of its own and 1/4 of a neighbour's. `bias` is added to the left and to the
/// right one before the `shift`.
fn interpolate(values: impl Iterator<Item = u16>, to: &mut [u8], bias: (u16, u16), shift: u32) {
    let mut values = values.peekable();
    let mut before = None;
    for to in to.as_chunks_mut::<2>().0 {
        let Some(own) = values.next() else { return };
        let left = before.unwrap_or(own);
        let right = values.peek().copied().unwrap_or(own);
        *to = [((own * 3 + left + bias.0) >> shift) as u8, ((own * 3 + right + bias.1) >> shift) as u8];
        before = Some(own);
    }
}

/// Writes the picture that `planes` make up, `width` pixels a row, as RGB. In `room` there is space for four rows.
pub fn write(planes: &[Plane], color: Color, width: usize, room: &mut [u8], rgb: &mut [u8]) {
    let (ab, cd) = room.split_at_mut(room.len() / 2);
    let ((a, b), (c, d)) = (ab.split_at_mut(ab.len() / 2), cd.split_at_mut(cd.len() / 2));
    let mut rows = [a, b, c, d];
    for (y, to) in rgb.chunks_exact_mut(width * 3).enumerate() {
        for (row, plane) in rows.iter_mut().zip(planes) {
            plane.upsample(y, row);
        }
        let [a, b, c, d] = &rows;
        for (x, pixel) in to.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = match color {
                Color::Gray => [a[x]; 3],
                Color::Rgb => [a[x], b[x], c[x]],
                Color::YCbCr => from_ycc(a[x], b[x], c[x]),
                Color::Cmyk => from_cmyk([a[x], b[x], c[x]], d[x]),
                Color::Ycck => from_cmyk(from_ycc(a[x], b[x], c[x]).map(|s| 255 - s), d[x]),
            };
        }
    }
}

/// T.871 with 16 bits of fraction, each product rounded by itself as libjpeg's tables are.
fn from_ycc(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const fn fixed(value: f64) -> i32 {
        (value * 65536.0 + 0.5) as i32
    }
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = (fixed(1.402) * cr + HALF) >> 16;
    let green = (-fixed(0.344_14) * cb - fixed(0.714_14) * cr + HALF) >> 16;
    let blue = (fixed(1.772) * cb + HALF) >> 16;
    [y + red, y + green, y + blue].map(|s| s.clamp(0, 255) as u8)
}

/// RGB of inks as Adobe stores them, 255 for none, without a colour profile.
pub fn from_cmyk(inks: [u8; 3], black: u8) -> [u8; 3] {
    let black = u32::from(black);
    inks.map(|ink| {
        let product = u32::from(255 - ink) * black + 128;
        black.saturating_sub((product + (product >> 8)) >> 8) as u8
    })
}
