//! YUV4MPEG2, the format of mjpegtools that ffmpeg calls `yuv4mpegpipe`.

use std::time::{Duration, Instant};

use super::super::{Bounds, Damage, FrameSource, Next};
use super::input::{Arrival, Reader};
use super::layout::{Layout, Rows};
use super::{Opening, Pace, Settings, bounded_bytes, same_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Color, Frame, Geometry, PixelFormat, Range, Siting};
use crate::limits::Limits;

/// Start of a stream.
pub const MAGIC: &[u8] = b"YUV4MPEG2 ";

/// Start of a frame.
const FRAME: &[u8] = b"FRAME";

/// Longest line of parameters: writers need some 80 bytes; comments (`X…`) may be longer.
const MAX_LINE: usize = 4096;

/// The first line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Layout, size, colours, siting of the frames.
    pub geometry: Geometry,
    /// Frames per second as a fraction, if the header states it.
    pub rate: Option<(u32, u32)>,
}

impl Header {
    /// Reads `line`, from the magic to the end of the line without its line break.
    ///
    /// Colours are limited range unless `XCOLORRANGE=FULL`, and BT.601: the format has no field for it.
    ///
    /// # Errors
    /// What is wrong with the header, and the remedy.
    pub fn parse(line: &[u8]) -> Result<Header, String> {
        let parameters = line.strip_prefix(MAGIC).ok_or("does not begin with YUV4MPEG2")?;
        let (mut width, mut height, mut rate) = (None, None, None);
        let mut color = Color::VIDEO;
        let (mut format, mut siting) = (PixelFormat::Yuv420p, Siting::Center);
        for parameter in parameters.split(|b| *b == b' ').filter(|p| !p.is_empty()) {
            let text = std::str::from_utf8(parameter).map_err(|_| "the header is no text".to_string())?;
            let (tag, value) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
            match tag {
                "W" => width = Some(number("width", value)?),
                "H" => height = Some(number("height", value)?),
                "C" => (format, siting) = chroma(value)?,
                "I" => match value {
                    "p" | "?" => {}
                    _ => {
                        let remedy = "deinterlace it first (ffmpeg -vf bwdif)";
                        return Err(format!("is interlaced (I{value}), which oltr does not read; {remedy}"));
                    }
                },
                "X" => match value.split_once('=') {
                    Some(("COLORRANGE", "FULL")) => color.range = Range::Full,
                    Some(("COLORRANGE", "LIMITED")) => color.range = Range::Limited,
                    // Unknown ranges and other comments are ignored.
                    _ => {}
                },
                "F" => rate = value.split_once(':').and_then(|(f, s)| Some((f.parse().ok()?, s.parse().ok()?))),
                // A is the pixel aspect ratio, which does not matter here.
                _ => {}
            }
        }
        let width = width.ok_or("the header gives no width (W)")?;
        let height = height.ok_or("the header gives no height (H)")?;
        let rate = rate.filter(|(frames, seconds)| *frames > 0 && *seconds > 0);
        Ok(Header { geometry: Geometry { color, siting, ..Geometry::new(format, width, height) }, rate })
    }
}

fn number(what: &str, text: &str) -> Result<u32, String> {
    match text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse()) {
        Some(Ok(n)) if n > 0 => Ok(n),
        _ => Err(format!("the header's {what} is '{text}', not a number of pixels")),
    }
}

fn chroma(name: &str) -> Result<(PixelFormat, Siting), String> {
    // Some writers state the 8 bits per sample.
    let plain = name.strip_suffix("p8").or(name.strip_suffix('8').filter(|plain| *plain == "mono")).unwrap_or(name);
    Ok(match plain {
        "420jpeg" | "420" => (PixelFormat::Yuv420p, Siting::Center),
        "420mpeg2" => (PixelFormat::Yuv420p, Siting::Left),
        "420paldv" => (PixelFormat::Yuv420p, Siting::TopLeft),
        "422" => (PixelFormat::Yuv422p, Siting::Left),
        "444" => (PixelFormat::Yuv444p, Siting::Center),
        "mono" => (PixelFormat::Gray, Siting::Center),
        _ => {
            let bits = name.rsplit_once('p').map_or(name.strip_prefix("mono").unwrap_or_default(), |(_, bits)| bits);
            let what = match !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) {
                true => "has more than 8 bits a sample",
                false => "has another chroma than 420, 422, 444, mono",
            };
            return Err(format!("{what} (C{name}), which oltr does not read; convert it (ffmpeg -pix_fmt yuv420p)"));
        }
    })
}

/// How long the rest of a padded frame may take after its unpadded part: writers send a frame at once.
const PADDING_PATIENCE: Duration = Duration::from_secs(2);

/// Number of lost bytes after which the loss is reported before the next frame is found.
const LOST_BYTES: u64 = 64 << 10;

/// The same for a refused stream, which was already reported.
const REFUSED_BYTES: u64 = 64 << 20;

/// Frames of a YUV4MPEG2 stream.
///
/// Parameters of frames are ignored. If a frame does not begin where it should, the stream is searched for the next
/// one. The loss is reported as damage when that is found, or after 64 KiB. A new header in place of a frame begins
/// another stream: its frames may have another size within [`Bounds::frame_bytes`]. If it is not supported, that is
/// damage, and the next header is searched.
///
/// Frames have no padding, except that GStreamer's `y4menc` pads rows ([`Layout::Gstreamer`]). Where that makes a
/// difference, the position of the second frame shows it. The result then holds for the whole stream.
pub struct Y4m {
    reader: Reader,
    settings: Settings,
    limits: Limits,
    header: Header,
    /// Bytes of the largest frame that buffers were planned for.
    frame_bytes: usize,
    /// Bytes of a frame of `header` without padding.
    expected: usize,
    /// Rows as GStreamer pads them, where that makes a difference.
    rows: Option<Rows>,
    padding: Padding,
    state: State,
    pace: Pace,
}

/// Whether rows are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    /// Not known yet.
    Unknown,
    /// The next frame does not begin after an unpadded frame, so this one is read as padded.
    Tried,
    /// They are.
    Yes,
    /// They are not.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the line that begins a frame or another stream.
    Between,
    /// Before the first line of a stream.
    Start,
    /// Within the pixels of the frame whose line was at `offset`.
    Pixels { offset: u64, filled: usize },
    /// After the `filled` bytes of an unpadded frame: the next bytes show whether it ends here.
    Check { offset: u64, filled: usize, since: Instant },
    /// Looking for the next frame, since `offset`.
    Lost { offset: u64 },
    /// Looking for the next stream, since `offset`.
    Refused { offset: u64 },
}

/// The line at the start of the buffer.
enum Line {
    /// A whole line, with its length without the line feed.
    Whole(usize),
    /// Not all of it has arrived.
    Part,
    /// Too long for a line.
    Long,
}

fn line(ahead: &[u8]) -> Line {
    match ahead.iter().take(MAX_LINE).position(|b| *b == b'\n') {
        Some(at) => Line::Whole(at + 1),
        None if ahead.len() < MAX_LINE => Line::Part,
        None => Line::Long,
    }
}

impl Y4m {
    /// Reads the header, which `reader` is at.
    pub(super) fn open(mut reader: Reader, settings: &Settings, limits: &Limits, opening: &mut Opening) -> Result<Y4m> {
        while matches!(line(reader.ahead()), Line::Part) {
            if !opening.more(&mut reader)? {
                let reason = "the input ends within its header; check what writes it".into();
                return Err(Error::Unavailable { subject: reader.name().into(), reason });
            }
        }
        let header = Header { geometry: Geometry::new(PixelFormat::Gray, 1, 1), rate: None };
        let (settings, limits) = (settings.clone(), limits.clone());
        let (frame_bytes, expected, rows) = (limits.frame_bytes, 0, None);
        let pace = Pace::new(&settings, &reader, None);
        let (padding, state) = (Padding::Unknown, State::Start);
        let mut y4m = Y4m { reader, settings, limits, header, frame_bytes, expected, rows, padding, state, pace };
        y4m.begin()?;
        y4m.frame_bytes = y4m.largest().max(y4m.settings.room.min(y4m.limits.frame_bytes));
        y4m.pace = Pace::new(&y4m.settings, &y4m.reader, y4m.header.rate);
        y4m.reader.set_capacity(MAX_LINE);
        Ok(y4m)
    }

    /// Parses the header at the start of the buffer.
    fn begin(&mut self) -> Result<()> {
        let bad = |y4m: &Y4m, reason: String| Error::BadImage {
            subject: format!("{} at byte {}", y4m.reader.name(), y4m.reader.offset()),
            reason,
        };
        let Line::Whole(length) = line(self.reader.ahead()) else {
            return Err(bad(self, format!("the header is longer than {MAX_LINE} bytes")));
        };
        let text = &self.reader.ahead()[..length - 1];
        let mut header = Header::parse(text.strip_suffix(b"\r").unwrap_or(text)).map_err(|reason| bad(self, reason))?;
        let Geometry { format, width, height, color, .. } = header.geometry;
        header.geometry.color = self.settings.color(color);
        let size = (width, height);
        let bytes = bounded_bytes(self.reader.name(), format, size, format.row_bytes(width), &self.limits)?;
        let rows = Layout::Gstreamer.rows(format, width, height).map_err(|reason| bad(self, reason))?;
        // Padding that there is no room for cannot be read.
        let rows = rows.filter(|rows| rows.bytes <= self.limits.frame_bytes as u64);
        if bytes > self.frame_bytes {
            let room = self.frame_bytes;
            let reason = format!(
                "the frames become {width}x{height} {format} of {bytes} bytes, memory was planned for {room}; start \
                 anew, or give the largest size with --max-frame"
            );
            return Err(bad(self, reason));
        }
        let padding = if rows.is_some() { Padding::Unknown } else { Padding::No };
        (self.header, self.expected, self.rows, self.padding) = (header, bytes, rows, padding);
        self.state = State::Between;
        self.reader.consume(length);
        Ok(())
    }

    /// Parses the header of a later stream. If it is not supported, that is damage, and the stream is skipped.
    fn begin_again(&mut self) -> Option<Next> {
        let offset = self.reader.offset();
        let error = self.begin().err()?;
        // So that the search does not find this header again.
        self.reader.consume(1);
        self.state = State::Refused { offset };
        let reason = match &error {
            Error::BadImage { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        let reason = format!("{reason}; the stream is passed over until its next header");
        self.pace.seq += 1;
        Some(Next::Damaged(Damage { offset: Some(offset), kind: error.kind(), reason, photo: None }))
    }

    /// Bytes of a frame, padded or not.
    fn largest(&self) -> usize {
        self.rows.as_ref().map_or(self.expected, |rows| self.expected.max(rows.bytes as usize))
    }

    /// Bytes of the current frame, padded or not as assumed.
    fn target(&self) -> usize {
        match (self.padding, &self.rows) {
            (Padding::Yes | Padding::Tried, Some(rows)) => rows.bytes as usize,
            _ => self.expected,
        }
    }

    /// Decides from the bytes in `ahead` what the `filled` bytes of a frame are, if enough has arrived.
    fn check(&mut self, offset: u64, filled: usize, ended: bool) -> Checked {
        let ahead = self.reader.ahead();
        let begins = |magic: &[u8]| ahead.len() >= magic.len() && ahead.starts_with(magic);
        let may_begin = |magic: &[u8]| ahead.iter().zip(magic).all(|(a, m)| a == m);
        if begins(FRAME) || begins(MAGIC) || (ended && (may_begin(FRAME) || may_begin(MAGIC))) {
            self.padding = if self.padding == Padding::Tried { Padding::Yes } else { Padding::No };
            return Checked::Whole;
        }
        if (may_begin(FRAME) || may_begin(MAGIC)) && !ended {
            return Checked::Unknown;
        }
        let room = self.rows.as_ref().is_some_and(|rows| rows.bytes <= self.frame_bytes as u64);
        if self.padding == Padding::Unknown && room && filled < self.largest() {
            self.padding = Padding::Tried;
            self.state = State::Pixels { offset, filled };
            return Checked::Padded;
        }
        self.padding = Padding::Unknown;
        self.state = State::Lost { offset };
        Checked::Lost
    }

    /// Makes a picture of the bytes that have arrived.
    fn finish(&mut self, frame: &mut Frame) -> Result<Next> {
        self.state = State::Between;
        if let (Padding::Yes, Some(rows)) = (self.padding, &self.rows) {
            rows.pack(frame.reshape_loose(self.header.geometry, rows.bytes as usize, &self.limits)?);
        }
        frame.reshape(self.header.geometry, &self.limits)?;
        self.pace.finish(frame);
        Ok(Next::Frame)
    }

    /// Handles the end of the input, or of its writer.
    fn ended(&mut self) -> Next {
        let state = std::mem::replace(&mut self.state, State::Start);
        let (offset, reason) = match state {
            State::Pixels { offset, filled } | State::Check { offset, filled, .. } => {
                let expected = self.target();
                (offset, format!("the input ends after {filled} of the frame's {expected} bytes"))
            }
            State::Lost { offset } => {
                // The remaining bytes could have been the start of a frame.
                self.reader.consume(self.reader.ahead().len());
                (offset, self.passed_over(offset))
            }
            // A refused stream was already reported.
            State::Refused { .. } => {
                self.reader.consume(self.reader.ahead().len());
                return Next::End;
            }
            State::Between | State::Start if self.reader.ahead().is_empty() => return Next::End,
            State::Between | State::Start => {
                let offset = self.reader.offset();
                self.reader.consume(self.reader.ahead().len());
                (offset, "the input ends within the line that begins a frame".into())
            }
        };
        self.pace.seq += 1;
        Next::Damaged(Damage { offset: Some(offset), kind: ErrorKind::BadImage, reason, photo: None })
    }

    fn passed_over(&self, since: u64) -> String {
        format!("{} bytes that are no frame were passed over", self.reader.offset() - since)
    }

    /// Reports the bytes skipped since `since`.
    fn lost(&mut self, since: u64) -> Next {
        let reason = self.passed_over(since);
        self.pace.seq += 1;
        Next::Damaged(Damage { offset: Some(since), kind: ErrorKind::BadImage, reason, photo: None })
    }

    /// Searches the buffer for the next frame (if `frames`) or stream, over at most `most` bytes. Returns whether it
    /// was found.
    fn search(&mut self, frames: bool, most: u64) -> bool {
        let ahead = self.reader.ahead();
        // Keeps bytes at the end that may be the start of one.
        let starts = |rest: &[u8]| {
            rest.starts_with(MAGIC) || (frames && (rest.starts_with(b"FRAME\n") || rest.starts_with(b"FRAME ")))
        };
        let found = (0..ahead.len()).find(|at| starts(&ahead[*at..]));
        let pass = found.unwrap_or(ahead.len().saturating_sub(MAGIC.len() - 1));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.reader.consume(pass.min(most));
        found.is_some_and(|at| at <= most)
    }
}

/// Result of [`Y4m::check`].
enum Checked {
    /// They are a frame.
    Whole,
    /// More bytes must arrive.
    Unknown,
    /// The frame continues: it is padded.
    Padded,
    /// They are none.
    Lost,
}

impl FrameSource for Y4m {
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
        Bounds { frame_bytes: self.frame_bytes, decoder_bytes: self.reader.capacity() }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let deadline = Instant::now() + patience;
        loop {
            let arrival = match self.state {
                State::Pixels { offset, mut filled } => {
                    same_frame(self.reader.name(), frame, filled)?;
                    let target = self.target();
                    let bytes = frame.reshape_loose(
                        self.header.geometry,
                        self.largest().min(self.frame_bytes),
                        &self.limits,
                    )?;
                    let arrival = self.reader.read(&mut bytes[filled..target], deadline)?;
                    if let Arrival::Bytes(n) = arrival {
                        filled += n;
                        frame.filled = filled;
                        self.state = State::Pixels { offset, filled };
                        if filled == target {
                            match self.padding {
                                Padding::Yes | Padding::No => return self.finish(frame),
                                _ => self.state = State::Check { offset, filled, since: Instant::now() },
                            }
                            continue;
                        }
                    }
                    arrival
                }
                State::Check { offset, filled, since } => {
                    same_frame(self.reader.name(), frame, filled)?;
                    let arrival = match self.check(offset, filled, false) {
                        Checked::Unknown => self.reader.more(deadline)?,
                        Checked::Whole => return self.finish(frame),
                        Checked::Padded | Checked::Lost => continue,
                    };
                    if arrival == Arrival::End {
                        match self.check(offset, filled, true) {
                            Checked::Whole => return self.finish(frame),
                            _ => continue,
                        }
                    }
                    // So that a slow stream does not lag by one frame.
                    if arrival == Arrival::Waiting && since.elapsed() >= PADDING_PATIENCE {
                        if self.padding == Padding::Tried {
                            self.padding = Padding::Yes;
                        }
                        return self.finish(frame);
                    }
                    arrival
                }
                State::Between | State::Start => {
                    let ahead = self.reader.ahead();
                    let of = |magic: &[u8]| ahead.iter().zip(magic).all(|(a, m)| a == m);
                    let begins_frame = self.state == State::Between && of(FRAME);
                    if !begins_frame && !of(MAGIC) {
                        self.state = State::Lost { offset: self.reader.offset() };
                        continue;
                    }
                    match line(ahead) {
                        Line::Whole(length) if begins_frame => {
                            if !matches!(ahead[FRAME.len()], b' ' | b'\n' | b'\r') {
                                self.state = State::Lost { offset: self.reader.offset() };
                                continue;
                            }
                            self.state = State::Pixels { offset: self.reader.offset(), filled: 0 };
                            frame.filled = 0;
                            self.reader.consume(length);
                            continue;
                        }
                        Line::Whole(_) => match self.begin_again() {
                            None => continue,
                            Some(refused) => return Ok(refused),
                        },
                        Line::Long => {
                            self.state = State::Lost { offset: self.reader.offset() };
                            self.reader.consume(1);
                            continue;
                        }
                        Line::Part => self.reader.more(deadline)?,
                    }
                }
                State::Lost { offset } => {
                    let most = (offset + LOST_BYTES).saturating_sub(self.reader.offset());
                    if self.search(true, most) {
                        let frame_next = self.reader.ahead().starts_with(FRAME);
                        self.state = if frame_next { State::Between } else { State::Start };
                        if self.reader.offset() == offset {
                            continue;
                        }
                        return Ok(self.lost(offset));
                    }
                    if self.reader.offset() >= offset + LOST_BYTES {
                        self.state = State::Lost { offset: self.reader.offset() };
                        return Ok(self.lost(offset));
                    }
                    self.reader.more(deadline)?
                }
                State::Refused { offset } => {
                    if self.search(false, u64::MAX) {
                        self.state = State::Start;
                        continue;
                    }
                    // Report the skipped bytes, so that a silent stream has an explanation.
                    if self.reader.offset() >= offset + REFUSED_BYTES {
                        self.state = State::Refused { offset: self.reader.offset() };
                        return Ok(self.lost(offset));
                    }
                    self.reader.more(deadline)?
                }
            };
            match arrival {
                Arrival::Waiting => return Ok(Next::Waiting),
                Arrival::End => return Ok(self.ended()),
                // Endless bytes without a frame must not keep the caller busy.
                Arrival::Bytes(_) if Instant::now() >= deadline => return Ok(Next::Waiting),
                Arrival::Bytes(_) => {}
            }
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        self.state = State::Start;
        self.reader.reconnect()
    }
}
