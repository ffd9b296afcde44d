//! Converts the samples of components to RGB, row by row.
//!
//! A component at half the rate is interpolated as in libjpeg ("fancy upsampling": the own sample weighs 3/4, its
//! neighbour 1/4). One at a lower rate is repeated.

use super::header::Color;

/// The last rows of one component: a ring buffer within the samples.
#[derive(Clone, Copy, Debug)]
pub struct Plane {
    /// Offset of its first row in the samples.
    pub offset: usize,
    pub stride: usize,
    /// Number of rows in the ring.
    pub kept: usize,
    /// Samples that belong to the picture.
    pub width: usize,
    pub height: usize,
    /// Columns and rows of the picture for one sample.
    pub across: usize,
    pub down: usize,
    /// Whether rows in between are interpolated.
    pub fancy: bool,
}

impl Plane {
    /// Offset of row `y` in the samples.
    #[inline(always)]
    pub fn place(&self, y: usize) -> usize {
        self.offset + y % self.kept * self.stride
    }

    #[inline(always)]
    fn row<'a>(&self, samples: &'a [u8], y: usize) -> &'a [u8] {
        &samples[self.place(y)..][..self.width]
    }

    /// The rows that row `y` of the picture needs end before this one.
    pub fn needs(&self, y: usize) -> usize {
        (y / self.down + 2).min(self.height)
    }

    /// Writes row `y` of the picture to `to`, which has room for `width * across` samples. `sums` has room for `width`.
    #[inline(always)]
    fn upsample(&self, samples: &[u8], y: usize, sums: &mut [u16], to: &mut [u8]) {
        let at = y / self.down;
        let own = self.row(samples, at);
        // The nearer of the rows above and below; at the edge the row itself.
        let near = || match y % 2 {
            0 => self.row(samples, at.saturating_sub(1)),
            _ => self.row(samples, (at + 1).min(self.height - 1)),
        };
        let fancy_across = self.fancy && self.across == 2 && self.width > 2;
        let sums = &mut sums[..self.width];
        match (self.across, self.down) {
            (1, 2) if self.fancy => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for (to, (own, near)) in to.iter_mut().zip(own.iter().zip(near())) {
                    *to = ((u16::from(*own) * 3 + u16::from(*near) + bias) >> 2) as u8;
                }
            }
            (2, 1) if fancy_across => {
                for (sum, own) in sums.iter_mut().zip(own) {
                    *sum = u16::from(*own);
                }
                interpolate::<1, 2, 2>(sums, to);
            }
            (2, 2) if fancy_across => {
                for (sum, (own, near)) in sums.iter_mut().zip(own.iter().zip(near())) {
                    *sum = u16::from(*own) * 3 + u16::from(*near);
                }
                interpolate::<8, 7, 4>(sums, to);
            }
            (1, _) => to[..self.width].copy_from_slice(own),
            (2, _) => {
                for (to, sample) in to.as_chunks_mut::<2>().0.iter_mut().zip(own) {
                    *to = [*sample; 2];
                }
            }
            (across, _) => {
                for (to, sample) in to.chunks_mut(across).zip(own) {
                    to.fill(*sample);
                }
            }
        }
    }
}

/// Writes two samples for each of `values` (more than two): 3/4 of the value and 1/4 of a neighbour. `LEFT` and `RIGHT`
/// are the rounding terms of the left and the right sample before the shift.
#[inline(always)]
fn interpolate<const LEFT: u16, const RIGHT: u16, const SHIFT: u32>(values: &[u16], to: &mut [u8]) {
    let pair = |before: u16, own: u16, behind: u16| {
        [((own * 3 + before + LEFT) >> SHIFT) as u8, ((own * 3 + behind + RIGHT) >> SHIFT) as u8]
    };
    let (to, _) = to.as_chunks_mut::<2>();
    let last = values.len() - 1;
    let inner = values[..last - 1].iter().zip(&values[1..last]).zip(&values[2..]);
    for (to, ((before, own), behind)) in to[1..].iter_mut().zip(inner) {
        *to = pair(*before, *own, *behind);
    }
    to[0] = pair(values[0], values[0], values[1]);
    to[last] = pair(values[last - 1], values[last], values[last]);
}

/// Room for the rows that one row of the picture is made from.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// For each of up to four components its row.
    components: [Vec<u8>; 4],
    /// Red, green and blue.
    rgb: [Vec<u8>; 3],
    sums: Vec<u16>,
}

impl Lines {
    /// Readable bytes after the pixels of a row.
    pub const SPARE: usize = 32;

    /// Makes room for rows of `width` pixels, rounded up to whole units of `padded`.
    pub fn reserve(&mut self, padded: usize) {
        for line in self.components.iter_mut().chain(&mut self.rgb) {
            line.resize(padded + Lines::SPARE, 0);
        }
        self.sums.resize(padded, 0);
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let lines = self.components.iter().chain(&self.rgb).map(Vec::capacity).sum::<usize>();
        lines + self.sums.capacity() * 2
    }

    /// Makes row `y` of the picture, `width` pixels, from the components in `samples`.
    #[inline(always)]
    pub fn make(&mut self, planes: &[Plane], samples: &[u8], color: Color, width: usize, y: usize) {
        for (line, plane) in self.components.iter_mut().zip(planes) {
            plane.upsample(samples, y, &mut self.sums, line);
        }
        let [a, b, c, d] = &self.components;
        let (a, b, c, d) = (&a[..width.min(a.len())], &b[..width], &c[..width], &d[..width]);
        let [red, green, blue] = &mut self.rgb;
        let (red, green, blue) = (&mut red[..width], &mut green[..width], &mut blue[..width]);
        match color {
            Color::Gray | Color::Rgb => {}
            Color::YCbCr => {
                for x in 0..width {
                    [red[x], green[x], blue[x]] = from_ycc(a[x], b[x], c[x]);
                }
            }
            Color::Cmyk => {
                for x in 0..width {
                    [red[x], green[x], blue[x]] = from_cmyk([a[x], b[x], c[x]], d[x]);
                }
            }
            Color::Ycck => {
                for x in 0..width {
                    [red[x], green[x], blue[x]] = from_cmyk(from_ycc(a[x], b[x], c[x]).map(|s| 255 - s), d[x]);
                }
            }
        }
    }

    /// The last row: red, green and blue, with [`Lines::SPARE`] bytes after the pixels.
    pub fn rows(&self, color: Color) -> [&[u8]; 3] {
        let [a, b, c, _] = &self.components;
        let [red, green, blue] = &self.rgb;
        match color {
            Color::Gray => [a, a, a],
            Color::Rgb => [a, b, c],
            _ => [red, green, blue],
        }
    }
}

/// T.871 with 16 bits of fraction. Each product is rounded separately, as libjpeg's tables are.
#[inline(always)]
fn from_ycc(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const fn fixed(value: f64) -> i32 {
        (value * 65536.0 + 0.5) as i32
    }
    const ROUND: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((fixed(1.402) * cr + ROUND) >> 16);
    let green = y + ((-fixed(0.344_14) * cb - fixed(0.714_14) * cr + ROUND) >> 16);
    let blue = y + ((fixed(1.772) * cb + ROUND) >> 16);
    [red.clamp(0, 255) as u8, green.clamp(0, 255) as u8, blue.clamp(0, 255) as u8]
}

/// RGB of inks as Adobe stores them, 255 for none, without a colour profile.
#[inline(always)]
pub fn from_cmyk(inks: [u8; 3], black: u8) -> [u8; 3] {
    let black = u32::from(black);
    inks.map(|ink| {
        let product = u32::from(255 - ink) * black + 128;
        black.saturating_sub((product + (product >> 8)) >> 8) as u8
    })
}
