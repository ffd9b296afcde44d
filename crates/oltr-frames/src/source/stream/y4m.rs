//! YUV4MPEG2, the format of mjpegtools that ffmpeg calls `yuv4mpegpipe`.

use std::time::{Duration, Instant};

use super::super::{Bounds, Damage, FrameSource, Next};
use super::input::{Arrival, Reader};
use super::{Opening, Settings, bounded_bytes, finish, same_frame};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Color, Frame, Geometry, PixelFormat, Range, Siting};
use crate::limits::Limits;

/// What a stream begins with.
pub const MAGIC: &[u8] = b"YUV4MPEG2 ";

/// What a frame begins with.
const FRAME: &[u8] = b"FRAME";

/// Bytes of a line of parameters: writers need some 80; comments (`X…`) may be longer.
const MAX_LINE: usize = 4096;

/// The first line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Layout, size, colours, siting of the frames.
    pub geometry: Geometry,
}

impl Header {
    /// Reads `line`, from the magic to the end of the line without its line break.
    ///
    /// Colours are limited range unless `XCOLORRANGE=FULL`, and BT.601: the format cannot say otherwise.
    ///
    /// # Errors
    /// What is wrong with it, and the remedy.
    pub fn parse(line: &[u8]) -> Result<Header, String> {
        let parameters = line.strip_prefix(MAGIC).ok_or("does not begin with YUV4MPEG2")?;
        let (mut width, mut height) = (None, None);
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
                    Some(("COLORRANGE", other)) => return Err(format!("has an unknown XCOLORRANGE ({other})")),
                    _ => {}
                },
                // F is the frame rate and A the shape of a pixel: neither changes what is seen.
                _ => {}
            }
        }
        let width = width.ok_or("the header gives no width (W)")?;
        let height = height.ok_or("the header gives no height (H)")?;
        Ok(Header { geometry: Geometry { color, siting, ..Geometry::new(format, width, height) } })
    }
}

fn number(what: &str, text: &str) -> Result<u32, String> {
    match text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse()) {
        Some(Ok(n)) if n > 0 => Ok(n),
        _ => Err(format!("the header's {what} is '{text}', not a number of pixels")),
    }
}

fn chroma(name: &str) -> Result<(PixelFormat, Siting), String> {
    Ok(match name {
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

/// Frames of a YUV4MPEG2 stream.
///
/// Parameters of frames are passed over. Where a frame should begin and does not, the stream is searched for the next
/// one, which is reported as damage. A new header in the place of a frame begins another stream: its frames may have
/// another size within [`Bounds::frame_bytes`].
pub struct Y4m {
    reader: Reader,
    settings: Settings,
    limits: Limits,
    header: Header,
    /// Bytes of the largest frame that buffers were asked for.
    frame_bytes: usize,
    /// Bytes of a frame of `header`.
    expected: usize,
    state: State,
    seq: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the line that begins a frame, or another stream.
    Between,
    /// At the first line of a stream, and nothing else.
    Start,
    /// In the pixels of the frame whose line was at `offset`.
    Pixels { offset: u64, filled: usize },
    /// Looking for the next frame, since `offset`.
    Lost { offset: u64 },
}

/// What stands at the head of what has been read ahead.
enum Line {
    /// A line without its break; its length with it.
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
                let reason = "the input ends within its header; look at what writes it".into();
                return Err(Error::Unavailable { subject: reader.name().into(), reason });
            }
        }
        let header = Header { geometry: Geometry::new(PixelFormat::Gray, 1, 1) };
        let (settings, limits) = (settings.clone(), limits.clone());
        let (frame_bytes, expected) = (limits.frame_bytes, 0);
        let mut y4m = Y4m { reader, settings, limits, header, frame_bytes, expected, state: State::Start, seq: 0 };
        y4m.begin()?;
        y4m.frame_bytes = y4m.expected;
        y4m.reader.set_capacity(MAX_LINE);
        Ok(y4m)
    }

    /// Takes the header over that stands at the head of what has been read ahead.
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
        if bytes > self.frame_bytes {
            let room = self.frame_bytes;
            let reason = format!(
                "the frames become {width}x{height} {format} of {bytes} bytes, memory was planned for {room}; start anew"
            );
            return Err(bad(self, reason));
        }
        (self.header, self.expected, self.state) = (header, bytes, State::Between);
        self.reader.consume(length);
        Ok(())
    }

    /// The input has ended, or its writer has gone.
    fn ended(&mut self) -> Next {
        let state = std::mem::replace(&mut self.state, State::Start);
        let (offset, reason) = match state {
            State::Pixels { offset, filled } => {
                (offset, format!("the input ends after {filled} of the frame's {} bytes", self.expected))
            }
            State::Lost { offset } => {
                // What might have become the beginning of a frame.
                self.reader.consume(self.reader.ahead().len());
                (offset, self.passed_over(offset))
            }
            State::Between | State::Start if self.reader.ahead().is_empty() => return Next::End,
            State::Between | State::Start => {
                let offset = self.reader.offset();
                self.reader.consume(self.reader.ahead().len());
                (offset, "the input ends within the line that begins a frame".into())
            }
        };
        self.seq += 1;
        Next::Damaged(Damage { offset: Some(offset), kind: ErrorKind::BadImage, reason })
    }

    fn passed_over(&self, since: u64) -> String {
        format!("{} bytes that are no frame were passed over", self.reader.offset() - since)
    }

    /// Looks for the next frame or stream in what has been read ahead; whether there is one.
    fn search(&mut self) -> bool {
        let ahead = self.reader.ahead();
        // What may be the beginning of one at the end is kept.
        let starts =
            |rest: &[u8]| rest.starts_with(b"FRAME\n") || rest.starts_with(b"FRAME ") || rest.starts_with(MAGIC);
        let found = (0..ahead.len()).find(|at| starts(&ahead[*at..]));
        let pass = found.unwrap_or(ahead.len().saturating_sub(MAGIC.len() - 1));
        self.reader.consume(pass);
        found.is_some()
    }
}

impl FrameSource for Y4m {
    fn name(&self) -> &str {
        self.reader.name()
    }

    fn is_live(&self) -> bool {
        self.reader.is_live()
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
                    let bytes = frame.reshape(self.header.geometry, &self.limits)?;
                    let arrival = self.reader.read(&mut bytes[filled..], deadline)?;
                    if let Arrival::Bytes(n) = arrival {
                        filled += n;
                        if filled == bytes.len() {
                            self.state = State::Between;
                            finish(frame, &mut self.seq);
                            return Ok(Next::Frame);
                        }
                        frame.filled = filled;
                        self.state = State::Pixels { offset, filled };
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
                        Line::Whole(_) => {
                            self.begin()?;
                            continue;
                        }
                        Line::Long => {
                            self.state = State::Lost { offset: self.reader.offset() };
                            self.reader.consume(1);
                            continue;
                        }
                        Line::Part => self.reader.more(deadline)?,
                    }
                }
                State::Lost { offset } => {
                    if self.search() {
                        let reason = self.passed_over(offset);
                        let frame_next = self.reader.ahead().starts_with(FRAME);
                        self.state = if frame_next { State::Between } else { State::Start };
                        self.seq += 1;
                        return Ok(Next::Damaged(Damage { offset: Some(offset), kind: ErrorKind::BadImage, reason }));
                    }
                    self.reader.more(deadline)?
                }
            };
            match arrival {
                Arrival::Waiting => return Ok(Next::Waiting),
                Arrival::End => return Ok(self.ended()),
                // Bytes that never make a frame must not keep the caller from its other duties.
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
