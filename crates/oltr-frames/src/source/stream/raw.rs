//! Frames without any header.

use std::time::{Duration, Instant};

use super::super::{Bounds, Damage, FrameSource, Next};
use super::input::{Arrival, ByteInput, Reader};
use super::{Settings, bounded_bytes, finish, same_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Color, Frame, Geometry, PixelFormat, Range};
use crate::limits::Limits;

/// What raw frames look like, which nothing in them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFormat {
    /// Layout of the pixels.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from one row of the first plane to the next, `None` if no row is padded.
    ///
    /// ffmpeg and GStreamer's `videoconvert` to formats of even sizes pad nothing; rpicam pads luma to a multiple of 64
    /// bytes and the halved chroma rows to half of that.
    pub stride: Option<usize>,
}

impl RawFormat {
    /// Frames without padding.
    pub fn new(format: PixelFormat, width: u32, height: u32) -> RawFormat {
        RawFormat { format, width, height, stride: None }
    }

    /// Bytes from one row of the first plane to the next.
    fn stride(&self) -> usize {
        self.stride.unwrap_or(self.format.row_bytes(self.width))
    }
}

/// Raw frames one after another, all of one format and size: `ffmpeg -f rawvideo`, `rpicam-vid --codec yuv420`,
/// GStreamer's `fdsink`.
///
/// A frame is [`PixelFormat::frame_bytes`] long: every row of every plane is padded, the last too. Bytes are read
/// straight into the frame. There is nothing to resynchronise at: a writer that loses bytes shifts the picture.
pub struct Raw {
    reader: Reader,
    geometry: Geometry,
    stride: usize,
    frame_bytes: usize,
    limits: Limits,
    /// Bytes that have arrived of the frame in hand.
    filled: usize,
    seq: u64,
}

impl Raw {
    /// Reads frames of `settings.raw` from `input`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a stride that is shorter than a row or no format at all, [`Error::BadImage`] for a size
    /// without pixels, [`Error::Limit`] beyond `limits`.
    pub fn new(input: Box<dyn ByteInput>, settings: &Settings, limits: &Limits) -> Result<Raw> {
        let name = input.name();
        let Some(raw) = settings.raw else {
            return Err(Error::BadInput { subject: name.into(), reason: "raw frames need a format and a size".into() });
        };
        crate::frame::check_size(name, raw.width, raw.height, limits)?;
        let (stride, row) = (raw.stride(), raw.format.row_bytes(raw.width));
        if stride < row || stride > limits.frame_bytes {
            let reason = format!("a stride of {stride} bytes does not suit rows of {row}; leave it out or correct it");
            return Err(Error::BadInput { subject: name.into(), reason });
        }
        let frame_bytes = bounded_bytes(name, raw.format, (raw.width, raw.height), stride, limits)?;
        let default = match raw.format {
            PixelFormat::Gray => Color { range: Range::Full, ..Color::VIDEO },
            _ => Color::VIDEO,
        };
        let mut geometry = Geometry::new(raw.format, raw.width, raw.height);
        geometry.color = settings.color(default);
        let reader = Reader::new(input, 0);
        Ok(Raw { reader, geometry, stride, frame_bytes, limits: limits.clone(), filled: 0, seq: 0 })
    }
}

impl FrameSource for Raw {
    fn name(&self) -> &str {
        self.reader.name()
    }

    fn is_live(&self) -> bool {
        self.reader.is_live()
    }

    fn bounds(&self) -> Bounds {
        Bounds { frame_bytes: self.frame_bytes, decoder_bytes: 0 }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let deadline = Instant::now() + patience;
        if self.filled == 0 {
            frame.filled = 0;
        }
        same_frame(self.reader.name(), frame, self.filled)?;
        let bytes = frame.reshape_padded(self.geometry, self.stride, &self.limits)?;
        while self.filled < bytes.len() {
            match self.reader.read(&mut bytes[self.filled..], deadline)? {
                Arrival::Bytes(n) => self.filled += n,
                Arrival::Waiting => {
                    frame.filled = self.filled;
                    return Ok(Next::Waiting);
                }
                Arrival::End if self.filled == 0 => return Ok(Next::End),
                Arrival::End => {
                    let filled = std::mem::take(&mut self.filled);
                    self.seq += 1;
                    return Ok(Next::Damaged(Damage {
                        offset: Some(self.reader.offset() - filled as u64),
                        kind: ErrorKind::BadImage,
                        reason: format!("the input ends after {filled} of the frame's {} bytes", self.frame_bytes),
                    }));
                }
            }
        }
        self.filled = 0;
        finish(frame, &mut self.seq);
        Ok(Next::Frame)
    }

    fn reconnect(&mut self) -> Result<()> {
        self.filled = 0;
        self.reader.reconnect()
    }
}
