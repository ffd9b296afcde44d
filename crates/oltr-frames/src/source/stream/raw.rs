//! Frames without any header.

use std::time::{Duration, Instant};

use super::super::{Bounds, Damage, FrameSource, Next};
use super::input::{Arrival, ByteInput, Reader};
use super::layout::{Layout, Rows, leans_towards};
use super::{Pace, Settings, bounded_bytes, same_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Color, Frame, Geometry, PixelFormat, Range};
use crate::limits::Limits;

/// Format of raw frames. The bytes do not state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFormat {
    /// Layout of the pixels.
    pub format: PixelFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// How rows are padded.
    pub layout: Layout,
}

impl RawFormat {
    /// Frames without padding.
    pub fn new(format: PixelFormat, width: u32, height: u32) -> RawFormat {
        RawFormat { format, width, height, layout: Layout::Tight }
    }

    /// Bytes from one row of the first plane to the next, in a frame that is read.
    fn stride(&self) -> usize {
        match self.layout {
            Layout::Stride(stride) => stride,
            _ => self.format.row_bytes(self.width),
        }
    }
}

/// A sequence of raw frames of one format and size: `ffmpeg -f rawvideo`, `rpicam-vid --codec yuv420`, GStreamer's
/// `fdsink`.
///
/// Every row of every plane is padded by [`Layout`], including the last. Bytes are read directly into the frame. If the
/// strides differ from [`PixelFormat::plane`], the padding is then removed in place. There is no way to resynchronise:
/// if a writer loses bytes, the picture shifts. If the first frame, or the total number of bytes, suits another layout
/// better, that is reported.
pub struct Raw {
    reader: Reader,
    geometry: Geometry,
    raw: RawFormat,
    /// Row layout, if it differs from [`PixelFormat::plane`].
    rows: Option<Rows>,
    frame_bytes: usize,
    limits: Limits,
    /// Bytes that have arrived of the frame in progress.
    filled: usize,
    pace: Pace,
}

impl Raw {
    /// Reads frames of `settings.raw` from `input`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a stride shorter than a row or an unknown format, [`Error::BadImage`] for a size without
    /// pixels, [`Error::Limit`] beyond `limits`.
    pub fn new(input: Box<dyn ByteInput>, settings: &Settings, limits: &Limits) -> Result<Raw> {
        let name = input.name();
        let Some(mut raw) = settings.raw else {
            return Err(Error::BadInput { subject: name.into(), reason: "raw frames need a format and a size".into() });
        };
        crate::frame::check_size(name, raw.width, raw.height, limits)?;
        raw.layout = raw.layout.for_size(raw.format, raw.width, raw.height);
        let (stride, row) = (raw.stride(), raw.format.row_bytes(raw.width));
        let unsuitable = |stride: usize| stride > limits.frame_bytes;
        let too_long = matches!(raw.layout, Layout::Strides(strides) if strides.into_iter().any(unsuitable));
        if stride < row || unsuitable(stride) || too_long {
            let reason = format!("a stride of {stride} bytes does not suit rows of {row}; leave it out or correct it");
            return Err(Error::BadInput { subject: name.into(), reason });
        }
        let mut frame_bytes = bounded_bytes(name, raw.format, (raw.width, raw.height), stride, limits)?;
        let rows = raw
            .layout
            .rows(raw.format, raw.width, raw.height)
            .map_err(|reason| Error::BadInput { subject: name.into(), reason })?;
        if let Some(rows) = &rows {
            let (value, limit) = (rows.bytes, limits.frame_bytes as u64);
            if value > limit {
                return Err(Error::Limit { subject: name.into(), what: "frame_bytes", value, limit });
            }
            frame_bytes = frame_bytes.max(value as usize);
        }
        let default = match raw.format {
            PixelFormat::Gray => Color { range: Range::Full, ..Color::VIDEO },
            _ => Color::VIDEO,
        };
        let mut geometry = Geometry::new(raw.format, raw.width, raw.height);
        geometry.color = settings.color(default);
        let reader = Reader::new(input, 0);
        let pace = Pace::new(settings, &reader, None);
        Ok(Raw { reader, geometry, raw, rows, frame_bytes, limits: limits.clone(), filled: 0, pace })
    }

    /// Warns if the rows of `data`, the first frame as transmitted, seem to have another stride.
    fn check(&self, data: &[u8]) {
        let row = self.raw.format.row_bytes(self.raw.width);
        let given = self.rows.as_ref().map_or(self.raw.stride(), Rows::stride);
        let others = [1, 4, 8, 16, 32, 64].map(|multiple| row.next_multiple_of(multiple));
        let mut strides = [given; 7];
        let mut count = 1;
        for stride in others {
            if !strides[..count].contains(&stride) {
                strides[count] = stride;
                count += 1;
            }
        }
        if let Some(stride) = leans_towards(data, row, self.raw.height as usize, &strides[..count]) {
            // GStreamer's padding. For several planes the first stride alone would not be enough.
            let remedy = match stride == row.next_multiple_of(4) {
                true => "--layout gstreamer".to_string(),
                false => format!("--stride {stride}"),
            };
            log::warn!(
                "{}: the picture leans: its rows look as if they were {stride} bytes apart, not {given}; try {remedy}, \
                 or check --size",
                self.reader.name()
            );
        }
    }

    /// Warns if the given stride is GStreamer's for this size but the other planes have another padding: the picture
    /// would shift more with each frame.
    fn check_planes(&self) {
        let RawFormat { format, width, height, layout } = self.raw;
        let (Layout::Stride(stride), Ok(Some(padded))) = (layout, Layout::Gstreamer.rows(format, width, height)) else {
            return;
        };
        if padded.stride() == stride && padded.bytes != format.frame_bytes(width, height, stride) as u64 {
            log::warn!(
                "{}: GStreamer pads rows of this size to {stride} bytes too, but those of chroma otherwise; \
                 if it is the writer, use --layout gstreamer, or the picture drifts",
                self.reader.name()
            );
        }
    }

    /// Hint for an input that ends within a frame: the layout that its number of bytes suits.
    fn hint(&self) -> &'static str {
        let RawFormat { format, width, height, layout } = self.raw;
        let bytes = |layout: Layout| match layout.rows(format, width, height) {
            Ok(Some(rows)) => rows.bytes,
            _ => format.frame_bytes(width, height, format.row_bytes(width)) as u64,
        };
        let suits = |other: Layout| other != layout && self.reader.offset().is_multiple_of(bytes(other));
        match () {
            () if suits(Layout::Gstreamer) => "; all bytes are whole frames as GStreamer pads them: --layout gstreamer",
            () if suits(Layout::Tight) => "; all bytes are whole frames without padding: --layout tight",
            () => "",
        }
    }
}

impl FrameSource for Raw {
    fn name(&self) -> &str {
        self.reader.name()
    }

    fn is_live(&self) -> bool {
        self.pace.is_live()
    }

    fn is_recording(&self) -> bool {
        self.pace.is_timed()
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
        let bytes = match &self.rows {
            None => frame.reshape_padded(self.geometry, self.raw.stride(), &self.limits)?,
            Some(rows) => frame.reshape_loose(self.geometry, rows.bytes as usize, &self.limits)?,
        };
        let length = bytes.len();
        while self.filled < length {
            match self.reader.read(&mut bytes[self.filled..], deadline)? {
                Arrival::Bytes(n) => self.filled += n,
                Arrival::Waiting => {
                    frame.filled = self.filled;
                    return Ok(Next::Waiting);
                }
                Arrival::End if self.filled == 0 => return Ok(Next::End),
                Arrival::End => {
                    let filled = std::mem::take(&mut self.filled);
                    self.pace.seq += 1;
                    let hint = self.hint();
                    return Ok(Next::Damaged(Damage {
                        offset: Some(self.reader.offset() - filled as u64),
                        kind: ErrorKind::BadImage,
                        reason: format!("the input ends after {filled} of the frame's {length} bytes{hint}"),
                        photo: None,
                    }));
                }
            }
        }
        self.filled = 0;
        if self.pace.seq == 0 {
            self.check(frame.data());
            self.check_planes();
        }
        if let Some(rows) = &self.rows {
            rows.pack(frame.reshape_loose(self.geometry, rows.bytes as usize, &self.limits)?);
            frame.reshape(self.geometry, &self.limits)?;
        }
        self.pace.finish(frame);
        Ok(Next::Frame)
    }

    fn reconnect(&mut self) -> Result<()> {
        self.filled = 0;
        self.reader.reconnect()
    }
}
