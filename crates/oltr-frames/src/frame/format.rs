//! Pixel formats, and the layout that they give a frame's bytes.

use std::fmt;
use std::str::FromStr;

/// How the bytes of a [`Frame`](super::Frame) are laid out.
///
/// The names are those of ffmpeg. Planes follow each other without a gap. Their sizes and strides are derived from the
/// format and the frame's; see [`PixelFormat::plane`]. Halved chroma is rounded up: a picture of 5 columns has 3 chroma
/// columns in `yuv420p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PixelFormat {
    /// 3 bytes a pixel: red, green, blue.
    Rgb24,
    /// 3 bytes a pixel: blue, green, red.
    Bgr24,
    /// 4 bytes per pixel: red, green, blue, and alpha, which is ignored.
    Rgba,
    /// 4 bytes per pixel: blue, green, red, and alpha, which is ignored.
    Bgra,
    /// 1 byte per pixel: luminance. Full range unless the frame's [`Color`](super::Color) states otherwise.
    Gray,
    /// Planes Y, U, V; chroma halved both ways.
    Yuv420p,
    /// Planes Y, V, U; chroma halved both ways.
    Yv12,
    /// Planes Y, U, V; chroma halved along the rows.
    Yuv422p,
    /// Planes Y, U, V of one size.
    Yuv444p,
    /// A plane of Y and one of interleaved U, V; chroma halved both ways.
    Nv12,
    /// A plane of Y and one of interleaved V, U; chroma halved both ways.
    Nv21,
    /// 4 bytes for two pixels: Y, U, Y, V.
    Yuyv422,
    /// 4 bytes for two pixels: U, Y, V, Y.
    Uyvy422,
    /// 4 bytes for two pixels: Y, V, Y, U.
    Yvyu422,
}

/// One plane of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Offset of its first row in the frame's bytes.
    pub offset: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Bytes of a row that are pixels.
    pub row: usize,
    /// Rows.
    pub rows: usize,
}

impl Plane {
    /// Bytes from its first to its last pixel, without the padding of the last row.
    pub fn len(&self) -> usize {
        match self.rows {
            0 => 0,
            rows => self.stride * (rows - 1) + self.row,
        }
    }

    /// Whether it has no pixels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PixelFormat {
    /// Every format.
    pub const ALL: [PixelFormat; 14] = [
        PixelFormat::Rgb24,
        PixelFormat::Bgr24,
        PixelFormat::Rgba,
        PixelFormat::Bgra,
        PixelFormat::Gray,
        PixelFormat::Yuv420p,
        PixelFormat::Yv12,
        PixelFormat::Yuv422p,
        PixelFormat::Yuv444p,
        PixelFormat::Nv12,
        PixelFormat::Nv21,
        PixelFormat::Yuyv422,
        PixelFormat::Uyvy422,
        PixelFormat::Yvyu422,
    ];

    /// Name in ffmpeg's `-pix_fmt` (where `yv12` is a `yuv420p` with swapped chroma).
    pub fn name(self) -> &'static str {
        match self {
            PixelFormat::Rgb24 => "rgb24",
            PixelFormat::Bgr24 => "bgr24",
            PixelFormat::Rgba => "rgba",
            PixelFormat::Bgra => "bgra",
            PixelFormat::Gray => "gray",
            PixelFormat::Yuv420p => "yuv420p",
            PixelFormat::Yv12 => "yv12",
            PixelFormat::Yuv422p => "yuv422p",
            PixelFormat::Yuv444p => "yuv444p",
            PixelFormat::Nv12 => "nv12",
            PixelFormat::Nv21 => "nv21",
            PixelFormat::Yuyv422 => "yuyv422",
            PixelFormat::Uyvy422 => "uyvy422",
            PixelFormat::Yvyu422 => "yvyu422",
        }
    }

    /// Other common names, in lower case: GStreamer's, the four characters of Video4Linux and of video files, and
    /// ffmpeg's names for the same bytes.
    pub fn other_names(self) -> &'static [&'static str] {
        match self {
            PixelFormat::Rgb24 => &["rgb", "rgb3", "rgb888"],
            PixelFormat::Bgr24 => &["bgr", "bgr3", "bgr888"],
            PixelFormat::Rgba => &["rgbx", "rgb0", "ab24", "xb24"],
            PixelFormat::Bgra => &["bgrx", "bgr0", "ar24", "xr24", "bgr4"],
            PixelFormat::Gray => &["grey", "gray8", "grey8", "y8", "y800"],
            PixelFormat::Yuv420p => &["i420", "yu12", "iyuv", "420p", "yuv420"],
            PixelFormat::Yv12 => &["yvu420p", "yvu420"],
            PixelFormat::Yuv422p => &["y42b", "422p", "i422"],
            PixelFormat::Yuv444p => &["y444", "444p", "i444"],
            PixelFormat::Nv12 => &["nv12m", "nm12"],
            PixelFormat::Nv21 => &["nv21m", "nm21"],
            PixelFormat::Yuyv422 => &["yuyv", "yuy2"],
            PixelFormat::Uyvy422 => &["uyvy", "2vuy"],
            PixelFormat::Yvyu422 => &["yvyu"],
        }
    }

    /// Bytes from one pixel to the next in a row of the first plane.
    pub fn bytes_per_pixel(self) -> usize {
        match self {
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => 3,
            PixelFormat::Rgba | PixelFormat::Bgra => 4,
            PixelFormat::Yuyv422 | PixelFormat::Uyvy422 | PixelFormat::Yvyu422 => 2,
            _ => 1,
        }
    }

    /// Number of planes: 1, 2 or 3.
    pub fn planes(self) -> usize {
        match self {
            PixelFormat::Yuv420p | PixelFormat::Yv12 | PixelFormat::Yuv422p | PixelFormat::Yuv444p => 3,
            PixelFormat::Nv12 | PixelFormat::Nv21 => 2,
            _ => 1,
        }
    }

    /// Whether the format has luma and chroma rather than red, green and blue.
    pub fn is_yuv(self) -> bool {
        use PixelFormat::{Bgr24, Bgra, Gray, Rgb24, Rgba};
        !matches!(self, Rgb24 | Bgr24 | Rgba | Bgra | Gray)
    }

    /// Luma pixels per chroma sample, along a row and along a column: 1 or 2 each.
    pub fn subsampling(self) -> (usize, usize) {
        match self {
            PixelFormat::Yuv420p | PixelFormat::Yv12 | PixelFormat::Nv12 | PixelFormat::Nv21 => (2, 2),
            PixelFormat::Yuv422p | PixelFormat::Yuyv422 | PixelFormat::Uyvy422 | PixelFormat::Yvyu422 => (2, 1),
            _ => (1, 1),
        }
    }

    /// Bytes of the pixels in a row of the first plane, which its stride must reach.
    pub fn row_bytes(self, width: u32) -> usize {
        let width = width as usize;
        match self {
            // Pixels come in pairs.
            PixelFormat::Yuyv422 | PixelFormat::Uyvy422 | PixelFormat::Yvyu422 => width.div_ceil(2) * 4,
            _ => width * self.bytes_per_pixel(),
        }
    }

    /// Plane `index` (below [`PixelFormat::planes`]) of a picture whose first plane has `stride`.
    ///
    /// Halved chroma planes have half the stride, rounded up. Interleaved chroma has the same stride, rounded up to a
    /// whole pair. This is the layout of rpicam, Video4Linux and ffmpeg.
    pub fn plane(self, index: usize, width: u32, height: u32, stride: usize) -> Plane {
        let luma = Plane { offset: 0, stride, row: self.row_bytes(width), rows: height as usize };
        if index == 0 {
            return luma;
        }
        let (across, down) = self.subsampling();
        let (columns, rows) = ((width as usize).div_ceil(across), (height as usize).div_ceil(down));
        let chroma = match self.planes() {
            2 => Plane { offset: 0, stride: stride.next_multiple_of(2), row: columns * 2, rows },
            _ => Plane { offset: 0, stride: stride.div_ceil(across), row: columns, rows },
        };
        Plane { offset: stride * luma.rows + (index - 1) * chroma.stride * rows, ..chroma }
    }

    /// Bytes of a whole transmitted picture: every row of every plane with its padding, including the last.
    pub fn frame_bytes(self, width: u32, height: u32, stride: usize) -> usize {
        let last = self.plane(self.planes() - 1, width, height, stride);
        last.offset + last.stride * last.rows
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PixelFormat {
    type Err = String;

    /// Parses any of its names, in upper or lower case.
    fn from_str(name: &str) -> Result<PixelFormat, String> {
        let wanted = name.trim().to_ascii_lowercase();
        let is_it = |f: &PixelFormat| f.name() == wanted || f.other_names().contains(&wanted.as_str());
        PixelFormat::ALL.into_iter().find(is_it).ok_or_else(|| {
            // ffmpeg's `yuvj…` formats have the same bytes with full range.
            let plain = wanted.replacen("yuvj", "yuv", 1);
            if plain != wanted && PixelFormat::ALL.iter().any(|f| f.name() == plain) {
                return format!("'{name}' is {plain} of full range: --format {plain} --range full");
            }
            let names = PixelFormat::ALL.map(PixelFormat::name).join(", ");
            format!("'{name}' is no pixel format that oltr reads; it is one of {names}, or another usual name of one")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_lie_as_ffmpeg_and_rpicam_lay_them() {
        // 5x3 tight, as `ffmpeg -f rawvideo` writes it.
        let sizes = PixelFormat::ALL.map(|f| f.frame_bytes(5, 3, f.row_bytes(5)));
        assert_eq!(sizes, [45, 45, 60, 60, 15, 27, 27, 33, 45, 15 + 2 * 6, 15 + 2 * 6, 36, 36, 36]);
        // rpicam: luma rows padded to 64 bytes, chroma rows to 32.
        let plane = |i| PixelFormat::Yuv420p.plane(i, 100, 10, 128);
        assert_eq!(plane(1), Plane { offset: 1280, stride: 64, row: 50, rows: 5 });
        assert_eq!(plane(2), Plane { offset: 1600, stride: 64, row: 50, rows: 5 });
        assert_eq!(PixelFormat::Yuv420p.frame_bytes(100, 10, 128), 1920);
        assert_eq!(plane(2).len(), 4 * 64 + 50);
    }

    #[test]
    fn names_are_read_back() {
        let mut names = Vec::new();
        for format in PixelFormat::ALL {
            for name in [format.name()].iter().chain(format.other_names()) {
                assert_eq!((name.parse(), name.to_uppercase().parse()), (Ok(format), Ok(format)), "{name}");
                assert!(!names.contains(name), "{name} twice");
                names.push(name);
            }
        }
        assert!("yuvj420p".parse::<PixelFormat>().unwrap_err().contains("--range full"));
        assert!("yuv410p".parse::<PixelFormat>().unwrap_err().contains("uyvy422"));
    }
}
