//! Row layout of raw frames as they are transmitted.

use crate::frame::{PixelFormat, Plane};

/// Padding of rows. Raw frames do not state it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// No padding: ffmpeg, OpenCV, `rpicam-vid` at widths that are multiples of 64.
    #[default]
    Tight,
    /// Bytes from one row of the first plane to the next. Chroma rows are padded in proportion, as rpicam and
    /// Video4Linux do it: luma to a multiple of 64 bytes, and halved chroma to half of that. For a stride that only
    /// GStreamer uses, its rule applies.
    Stride(usize),
    /// Bytes from one row to the next in each plane. Values of missing planes are ignored.
    Strides([usize; 3]),
    /// GStreamer's layout of `video/x-raw` without strides: rows of every plane padded to 4 bytes, and luma with halved
    /// chroma padded to an even number of rows.
    Gstreamer,
}

/// The planes of a transmitted frame, and its total bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    planes: [Plane; 3],
    count: usize,
    /// Bytes of the whole frame.
    pub bytes: u64,
}

impl Layout {
    /// The layout for pictures of this size. A single stride that is longer than a row and a multiple of 4 but not of 8
    /// means GStreamer: hardware pads to 8 or more, and half of the stride would not be a multiple of 4, to which
    /// GStreamer also pads chroma. Strides of all planes are taken as given.
    pub fn for_size(self, format: PixelFormat, width: u32, height: u32) -> Layout {
        let Layout::Stride(stride) = self else { return self };
        if stride % 8 != 4 || stride == format.row_bytes(width) {
            return self;
        }
        match Layout::Gstreamer.rows(format, width, height) {
            Ok(Some(padded)) if padded.count > 1 && padded.stride() == stride => Layout::Gstreamer,
            _ => self,
        }
    }

    /// The planes of a picture of `format`; `None` if its rows are those of [`PixelFormat::plane`]. Width, height and
    /// strides must be small enough not to overflow.
    ///
    /// # Errors
    /// What is wrong with the strides.
    pub fn rows(self, format: PixelFormat, width: u32, height: u32) -> Result<Option<Rows>, String> {
        let tight = |index| format.plane(index, width, height, format.row_bytes(width));
        let (count, halved) = (format.planes(), format.subsampling().1 == 2);
        let mut planes = [tight(0); 3];
        let mut offset = 0;
        for (index, plane) in planes.iter_mut().enumerate().take(count) {
            *plane = tight(index);
            let (stride, rows) = match self {
                Layout::Tight | Layout::Stride(_) => return Ok(None),
                Layout::Strides(strides) => (strides[index], plane.rows),
                // Halved chroma rows are half of an even number of pixels.
                Layout::Gstreamer if index == 0 && halved && count > 1 => {
                    (plane.row.next_multiple_of(4), plane.rows.next_multiple_of(2))
                }
                Layout::Gstreamer => (plane.row.next_multiple_of(4), plane.rows),
            };
            if stride < plane.row {
                return Err(format!(
                    "a stride of {stride} bytes does not suit rows of {} in plane {}; leave it out or correct it",
                    plane.row,
                    index + 1
                ));
            }
            (plane.offset, plane.stride) = (offset, stride);
            offset += stride * rows;
        }
        let same = (0..count).all(|index| planes[index] == tight(index));
        let whole = offset == format.frame_bytes(width, height, format.row_bytes(width));
        Ok((!(same && whole)).then_some(Rows { planes, count, bytes: offset as u64 }))
    }
}

impl Rows {
    /// Bytes from one row of the first plane to the next.
    pub fn stride(&self) -> usize {
        self.planes[0].stride
    }

    /// Removes the padding of a transmitted frame in place.
    pub fn pack(&self, data: &mut [u8]) {
        let mut to = 0;
        for plane in &self.planes[..self.count] {
            for row in 0..plane.rows {
                let from = plane.offset + row * plane.stride;
                data.copy_within(from..from + plane.row, to);
                to += plane.row;
            }
        }
    }
}

/// The stride among `strides` at which neighbouring rows are most alike, if it is clearly better than the first: with a
/// wrong stride the picture slants. `data` begins with the first plane: `rows` of `row` bytes.
pub fn leans_towards(data: &[u8], row: usize, rows: usize, strides: &[usize]) -> Option<usize> {
    /// Pairs of rows that are compared.
    const PAIRS: usize = 64;
    /// Fewer pairs of rows are no evidence.
    const LEAST: usize = 8;
    /// Below this mean difference the picture is too uniform to decide.
    const EVEN: u64 = 3;
    let difference = |stride: usize| {
        let pairs = (data.len().checked_sub(row)? / stride).min(rows.saturating_sub(1)).min(PAIRS);
        let of_pair = |y: usize| {
            let (above, below) = (&data[y * stride..][..row], &data[(y + 1) * stride..][..row]);
            above.iter().zip(below).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        (pairs >= LEAST).then(|| (0..pairs).map(of_pair).sum::<u64>() / pairs as u64)
    };
    let (first, others) = strides.split_first()?;
    let worst = difference(*first)?;
    let best = others.iter().filter_map(|stride| Some((difference(*stride)?, *stride))).min()?;
    (worst > EVEN * row as u64 && best.0 * 4 < worst * 3).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gstreamers_sizes_are_its_own() {
        // Bytes of `gst-launch-1.0 videotestsrc num-buffers=1 ! video/x-raw,format=F,width=W,height=H ! filesink`.
        let cases = [
            (PixelFormat::Yuv420p, 322, 242, 324 * 242 + 2 * 164 * 121),
            (PixelFormat::Yuv420p, 321, 241, 324 * 242 + 2 * 164 * 121),
            (PixelFormat::Nv12, 322, 241, 324 * 242 + 324 * 121),
            (PixelFormat::Yuv422p, 322, 241, 324 * 241 + 2 * 164 * 241),
            (PixelFormat::Yuv444p, 321, 241, 324 * 241 * 3),
            (PixelFormat::Gray, 321, 241, 324 * 241),
            (PixelFormat::Rgb24, 321, 241, 964 * 241),
        ];
        for (format, width, height, bytes) in cases {
            let rows = Layout::Gstreamer.rows(format, width, height).unwrap().unwrap();
            assert_eq!(rows.bytes, bytes, "{format} {width}x{height}");
        }
        for (format, width, height) in [(PixelFormat::Yuv420p, 328, 242), (PixelFormat::Yuyv422, 321, 241)] {
            assert_eq!(Layout::Gstreamer.rows(format, width, height), Ok(None), "{format}");
        }
    }

    #[test]
    fn a_stride_that_only_gstreamer_has_means_its_layout() {
        use PixelFormat::{Nv12, Rgb24, Yuv420p};
        for (format, width, height, stride, gstreamer) in [
            (Yuv420p, 322, 242, 324, true),
            (Yuv420p, 321, 241, 324, true),
            (Nv12, 322, 242, 324, true),
            // Other paddings: to 8, to 64, none, and irregular.
            (Yuv420p, 326, 242, 328, false),
            (Yuv420p, 318, 241, 320, false),
            (Yuv420p, 322, 242, 384, false),
            (Yuv420p, 322, 242, 322, false),
            (Yuv420p, 322, 242, 326, false),
            (Yuv420p, 324, 242, 324, false),
            // For a single plane the stride is enough.
            (Rgb24, 321, 241, 964, false),
        ] {
            let right = if gstreamer { Layout::Gstreamer } else { Layout::Stride(stride) };
            assert_eq!(Layout::Stride(stride).for_size(format, width, height), right, "{format} {width} {stride}");
        }
        assert_eq!(Layout::Strides([324, 162, 162]).for_size(Yuv420p, 322, 242), Layout::Strides([324, 162, 162]));
    }

    #[test]
    fn rows_are_moved_together() {
        let layout = Layout::Strides([4, 3, 2]);
        let rows = layout.rows(PixelFormat::Yuv420p, 3, 3).unwrap().unwrap();
        let mut data = *b"abc.def.ghi.jk.lm.nopq";
        assert_eq!(rows.bytes, data.len() as u64);
        rows.pack(&mut data);
        assert_eq!(&data[..17], b"abcdefghijklmnopq");
        assert!(Layout::Strides([4, 1, 2]).rows(PixelFormat::Yuv420p, 3, 3).unwrap_err().contains("plane 2"));
    }

    #[test]
    fn leaning_rows_are_seen() {
        // Upright bars, 30 bytes a row in 32.
        let picture: Vec<u8> = (0..32 * 20).map(|i| if (i % 32) / 5 % 2 == 0 { 40 } else { 200 }).collect();
        assert_eq!(leans_towards(&picture, 30, 20, &[30, 32]), Some(32));
        assert_eq!(leans_towards(&picture, 30, 20, &[32, 30]), None);
        assert_eq!(leans_towards(&[7; 640], 30, 20, &[30, 32]), None);
    }

    #[test]
    fn pictures_of_few_rows_do_not_lean() {
        let noise: Vec<u8> = (0..4000_usize).map(|i| (i * i % 251) as u8).collect();
        for rows in 1..5 {
            // The other planes follow the first plane and are not compared.
            assert_eq!(leans_towards(&noise[..64 * rows], 64, rows, &[64, 96, 128]), None, "{rows}");
            assert_eq!(leans_towards(&noise, 64, rows, &[64, 96, 128]), None, "{rows}");
        }
    }
}
