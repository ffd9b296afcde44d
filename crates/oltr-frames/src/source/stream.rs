//! Frames from a stream of bytes: standard input, a file, a FIFO.
//!
//! | what | recognised by | frames |
//! |---|---|---|
//! | YUV4MPEG2 | `YUV4MPEG2 ` | 8 bits, progressive: 420 (jpeg, mpeg2, paldv), 422, 444, mono; see [`Y4m`] |
//! | JPEG pictures one after another, or as parts of a multipart stream | the first picture | see [`Mjpeg`] |
//! | raw frames | settings | any [`PixelFormat`]; see [`Raw`] |
//!
//! Unless the stream or the settings state otherwise, luma and chroma are BT.601, limited range. Raw grey frames have
//! full range.

mod between;
pub mod foreign;
mod input;
mod layout;
mod mjpeg;
mod raw;
mod split;
mod y4m;

use std::path::Path;
use std::time::{Duration, Instant};

pub use input::{Arrival, Blocking, ByteInput, Descriptor, Stdin};
pub use layout::Layout;
pub use mjpeg::Mjpeg;
pub use raw::{Raw, RawFormat};
pub use split::{Scan, Splitter};
pub use y4m::{Header, Y4m};

use super::FrameSource;
use crate::clock::monotonic_ns;
use crate::error::{Error, Result};
use crate::frame::{Color, Frame, Matrix, PixelFormat, Range, Stamp};
use crate::limits::Limits;
use input::Reader;

/// Settings of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Format of raw frames; `None` to recognise the format from the first bytes.
    pub raw: Option<RawFormat>,
    /// Weights of the channels in luma. Overrides the stream's or the default.
    pub matrix: Option<Matrix>,
    /// Black and white levels. Overrides the stream's or the default.
    pub range: Option<Range>,
    /// Timeout for the first bytes, which show format and size; `None` for no limit.
    pub timeout: Option<Duration>,
    /// The stream is a recording, even if it comes through a pipe, so it is not live. A regular file always is one.
    pub recording: bool,
    /// Frames per second of a recording without its own rate, as a fraction.
    pub rate: Option<(u32, u32)>,
    /// Bytes of the largest expected frame, if a later writer may send larger frames than the first.
    pub room: usize,
}

impl Settings {
    /// Applies the overrides to `color`.
    fn color(&self, color: Color) -> Color {
        Color { matrix: self.matrix.unwrap_or(color.matrix), range: self.range.unwrap_or(color.range) }
    }
}

/// Bytes needed to recognise the format: two packets of a transport stream start with the same byte.
const MAGIC_BYTES: usize = 189;

/// Bytes that are enough for all other formats.
const SHORT_MAGIC_BYTES: usize = 16;

/// Buffer until the size of the frames is known: the header of a JPEG with EXIF data.
const READ_AHEAD: usize = 64 << 10;

/// Interval between checks of `stop` during the wait for the first bytes.
const SLICE: Duration = Duration::from_millis(50);

/// Opens the stream at `path` (`-` is standard input) and reads until format and size of its frames are known. Gives up
/// when `stop` returns true.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Io`]; [`Error::BadInput`] for an unknown format or impossible settings;
/// [`Error::BadImage`] for an impossible header; [`Error::Limit`] for frames beyond `limits`; [`Error::Unavailable`]
/// for a stream that ends before its first frame or exceeds `settings.timeout`, or after `stop`.
///
/// # Example
/// ```
/// # use oltr_frames as oltr;
/// use oltr::source::stream::{self, Settings};
///
/// let path = std::env::temp_dir().join("oltr-example.y4m");
/// std::fs::write(&path, b"YUV4MPEG2 W4 H1 C444\nFRAME\nYYYYUUUUVVVV")?;
/// let source = stream::open(&path, &Settings::default(), &oltr::Limits::default(), &|| false)?;
/// assert_eq!(source.bounds().frame_bytes, 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(
    path: &Path,
    settings: &Settings,
    limits: &Limits,
    stop: &dyn Fn() -> bool,
) -> Result<Box<dyn FrameSource>> {
    from_input(Box::new(Descriptor::open(path)?), settings, limits, stop)
}

/// As [`open`], for any input of bytes.
///
/// # Errors
/// As [`open`].
pub fn from_input(
    input: Box<dyn ByteInput>,
    settings: &Settings,
    limits: &Limits,
    stop: &dyn Fn() -> bool,
) -> Result<Box<dyn FrameSource>> {
    if settings.raw.is_some() {
        return Ok(Box::new(Raw::new(input, settings, limits)?));
    }
    let mut reader = Reader::new(input, READ_AHEAD);
    let mut opening = Opening { since: Instant::now(), timeout: settings.timeout, stop };
    loop {
        let ahead = reader.ahead();
        // A line feed before the header is a common mistake of shell scripts.
        if let Some(b'\r' | b'\n') = ahead.first() {
            reader.consume(1);
            continue;
        }
        let wanted = if ahead.first() == Some(&foreign::SYNC) { MAGIC_BYTES } else { SHORT_MAGIC_BYTES };
        if ahead.len() >= wanted || !opening.more(&mut reader)? {
            break;
        }
    }
    let first = reader.ahead();
    if first.starts_with(y4m::MAGIC) {
        return Ok(Box::new(Y4m::open(reader, settings, limits, &mut opening)?));
    }
    let (name, empty) = (reader.name().to_string(), first.is_empty() && reader.offset() == 0);
    if let Some(kind) = foreign::recognise(first) {
        return Err(kind.refused(&name));
    }
    if let Some(mjpeg) = Mjpeg::open(reader, settings, limits, &mut opening)? {
        return Ok(Box::new(mjpeg));
    }
    if empty {
        let reason = "ended before its first frame; check what writes it".into();
        return Err(Error::Unavailable { subject: name, reason });
    }
    let reason = "is neither YUV4MPEG2 nor a sequence of JPEG pictures; for raw frames give their format and size";
    Err(Error::BadInput { subject: name, reason: reason.into() })
}

/// State of the wait for the first bytes.
struct Opening<'a> {
    since: Instant,
    timeout: Option<Duration>,
    stop: &'a dyn Fn() -> bool,
}

impl Opening<'_> {
    /// Reads more; `false` at the end or with a full buffer.
    fn more(&mut self, reader: &mut Reader) -> Result<bool> {
        while !reader.is_full() {
            let silent = self.timeout.is_some_and(|t| self.since.elapsed() >= t);
            if silent || (self.stop)() {
                let reason = match silent {
                    true => "is silent; check what writes it, or allow more time",
                    false => "was given up before its first frame",
                };
                return Err(Error::Unavailable { subject: reader.name().into(), reason: reason.into() });
            }
            match reader.more(Instant::now() + SLICE)? {
                Arrival::Bytes(_) => return Ok(true),
                Arrival::End => return Ok(false),
                Arrival::Waiting => {}
            }
        }
        Ok(false)
    }
}

/// Checks that the caller passed the partly filled frame again.
fn same_frame(name: &str, frame: &Frame, filled: usize) -> Result<()> {
    if frame.filled != filled {
        let reason = "a frame was begun in another buffer; hand the same one in until it is whole".into();
        return Err(Error::BadInput { subject: name.into(), reason });
    }
    Ok(())
}

/// Numbers and times of the frames of a stream.
struct Pace {
    /// Number of the next frame.
    seq: u64,
    live: bool,
    /// Time of the first frame and the frame rate, for a recording with a rate.
    times: Option<(u64, (u32, u32))>,
}

impl Pace {
    /// For a stream from `reader` whose own frame rate is `rate`.
    fn new(settings: &Settings, reader: &Reader, rate: Option<(u32, u32)>) -> Pace {
        let live = reader.is_live() && !settings.recording;
        let rate = rate.or(settings.rate).filter(|(frames, seconds)| !live && *frames > 0 && *seconds > 0);
        Pace { seq: 0, live, times: rate.map(|rate| (monotonic_ns(), rate)) }
    }

    fn is_live(&self) -> bool {
        self.live
    }

    /// Whether frames have a recording's times.
    fn is_timed(&self) -> bool {
        self.times.is_some()
    }

    /// Completes the fields of every frame.
    fn finish(&mut self, frame: &mut Frame) {
        frame.filled = 0;
        frame.set_label("");
        let mono_ns = match self.times {
            None => monotonic_ns(),
            Some((begin, (frames, seconds))) => {
                let after = u128::from(self.seq) * u128::from(seconds) * 1_000_000_000 / u128::from(frames);
                begin.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
            }
        };
        frame.set_stamp(Stamp { seq: self.seq, mono_ns });
        self.seq += 1;
    }
}

/// Bytes of a transmitted frame, if it is within `limits`.
pub(super) fn bounded_bytes(
    name: &str,
    format: PixelFormat,
    size: (u32, u32),
    stride: usize,
    limits: &Limits,
) -> Result<usize> {
    let (width, height) = size;
    crate::frame::check_size(name, width, height, limits)?;
    let first = stride as u64 * u64::from(height);
    if first > limits.frame_bytes as u64 {
        let (value, limit) = (first, limits.frame_bytes as u64);
        return Err(Error::Limit { subject: name.into(), what: "frame_bytes", value, limit });
    }
    let bytes = format.frame_bytes(width, height, stride);
    if bytes > limits.frame_bytes {
        let (value, limit) = (bytes as u64, limits.frame_bytes as u64);
        return Err(Error::Limit { subject: name.into(), what: "frame_bytes", value, limit });
    }
    Ok(bytes)
}
