//! JPEG pictures one after another.

use std::time::{Duration, Instant};

use super::super::{Bounds, Damage, FrameSource, Next, jpeg};
use super::input::{Arrival, Reader};
use super::split::{Scan, Splitter, find_start};
use super::{Opening, bounded_bytes, finish};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, PixelFormat};
use crate::limits::Limits;

/// Bytes of a JPEG beyond those of its pixels: EXIF data and tables.
const OVERHEAD: usize = 64 << 10;

/// Bytes that a decoder takes for each pixel of a progressive picture, as
/// [`photo::Decoder`](super::super::photo::Decoder) states it.
const DECODER_BYTES_PER_PIXEL: usize = 16;

/// JPEG pictures one after another, as ffmpeg's `image2pipe` and `mjpeg`, `rpicam-vid --codec mjpeg` and GStreamer's
/// `jpegenc` write them; decoded to RGB.
///
/// Pictures are told apart by their markers. Zeros, 0xFF and line breaks between them are padding; anything else is
/// damage, and the next picture is searched for. Pictures may change in size: room is made for those of the first one's
/// size (or of `limits.frame_bytes`, if the header of the first cannot be read), and one that is larger is damage.
///
/// JPEG is of full range: GStreamer's `jpegenc` writes video's limited range as it comes unless `videoconvert` precedes it.
///
/// A picture that is cut off in its coded data is told by the decoder, not shown half gray.
pub struct Mjpeg {
    reader: Reader,
    limits: Limits,
    /// Bytes of the largest frame that buffers were asked for.
    frame_bytes: usize,
    splitter: Splitter,
    /// Where bytes began that are no picture.
    lost_since: Option<u64>,
    /// For the decoder.
    scratch: Vec<u8>,
    seq: u64,
}

impl Mjpeg {
    /// Reads the header of the first picture, which `reader` is at.
    pub(super) fn open(mut reader: Reader, limits: &Limits, opening: &mut Opening) -> Result<Mjpeg> {
        let mut splitter = Splitter::default();
        while splitter.size().is_none() && splitter.scan(reader.ahead()) == Scan::More && opening.more(&mut reader)? {}
        let frame_bytes = match splitter.size() {
            Some((width, height)) => {
                let size = (u32::from(width), u32::from(height));
                let stride = PixelFormat::Rgb24.row_bytes(size.0);
                bounded_bytes(reader.name(), PixelFormat::Rgb24, size, stride, limits)?
            }
            None => limits.frame_bytes,
        };
        reader.set_capacity(limits.encoded_frame_bytes.min(frame_bytes.saturating_add(OVERHEAD)));
        let scratch = Vec::new();
        let limits = limits.clone();
        Ok(Mjpeg { reader, limits, frame_bytes, splitter: Splitter::default(), lost_since: None, scratch, seq: 0 })
    }

    fn damaged(&mut self, offset: u64, reason: String) -> Next {
        self.seq += 1;
        Next::Damaged(Damage { offset: Some(offset), kind: ErrorKind::BadImage, reason })
    }

    /// Passes over what is no picture; whether one may begin where that ends.
    fn search(&mut self) -> bool {
        let start = find_start(self.reader.ahead(), 0);
        let pass = start.unwrap_or(self.reader.ahead().len());
        if let Some(first) = self.reader.ahead()[..pass].iter().position(|b| !is_padding(*b)) {
            self.lost_since.get_or_insert(self.reader.offset() + first as u64);
        }
        self.reader.consume(pass);
        start.is_some()
    }

    /// Gives up the picture at the head; the next one is looked for behind what of it is sound.
    fn give_up(&mut self) {
        self.lost_since.get_or_insert(self.reader.offset());
        let sound = std::mem::take(&mut self.splitter).resume();
        self.reader.consume(sound.clamp(1, self.reader.ahead().len()));
    }

    /// Decodes the picture of `length` bytes at the head.
    fn decode(&mut self, length: usize, frame: &mut Frame) -> Result<Next> {
        let offset = self.reader.offset();
        let size = self.splitter.size();
        self.splitter = Splitter::default();
        let (width, height) = size.unwrap_or_default();
        let bytes = u64::from(width) * u64::from(height) * 3;
        let decoded = if bytes > self.frame_bytes as u64 {
            let room = self.frame_bytes;
            Err(format!("the picture is {width}x{height}, of {bytes} bytes; memory was planned for {room}, start anew"))
        } else {
            let picture = &self.reader.ahead()[..length];
            match jpeg::decode(self.reader.name(), picture, &self.limits, &mut self.scratch, frame) {
                Ok(()) => Ok(()),
                Err(Error::BadImage { reason, .. }) => Err(reason),
                Err(e @ Error::Limit { .. }) => Err(e.to_string()),
                Err(e) => return Err(e),
            }
        };
        self.reader.consume(length);
        match decoded {
            Ok(()) => {
                finish(frame, &mut self.seq);
                Ok(Next::Frame)
            }
            Err(reason) => Ok(self.damaged(offset, reason)),
        }
    }
}

/// Whether this byte may lie between two pictures.
fn is_padding(byte: u8) -> bool {
    matches!(byte, 0 | 0xFF | b'\r' | b'\n')
}

impl FrameSource for Mjpeg {
    fn name(&self) -> &str {
        self.reader.name()
    }

    fn is_live(&self) -> bool {
        self.reader.is_live()
    }

    fn bounds(&self) -> Bounds {
        let decoder = self.frame_bytes / 3 * DECODER_BYTES_PER_PIXEL;
        // The picture lies twice in memory: as it was read, and as the decoder wants it.
        Bounds { frame_bytes: self.frame_bytes, decoder_bytes: 2 * self.reader.capacity() + decoder }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let deadline = Instant::now() + patience;
        loop {
            let scan = match self.splitter == Splitter::default() && !self.search() {
                true => Scan::More,
                false => self.splitter.scan(self.reader.ahead()),
            };
            match scan {
                Scan::Broken(_) => {
                    self.give_up();
                    continue;
                }
                Scan::Picture(_) if self.splitter.size().is_none() => {
                    self.give_up();
                    continue;
                }
                // What lies before a picture is reported once there is one.
                Scan::Picture(_) if self.lost_since.is_some() => {
                    let since = self.lost_since.take().unwrap_or_default();
                    let bytes = self.reader.offset() - since;
                    let reason = format!("{bytes} bytes that are no whole picture were passed over");
                    return Ok(self.damaged(since, reason));
                }
                Scan::Picture(length) => return self.decode(length, frame),
                Scan::More if self.reader.is_full() => {
                    self.give_up();
                    continue;
                }
                Scan::More => {}
            }
            match self.reader.more(deadline)? {
                Arrival::Waiting => return Ok(Next::Waiting),
                Arrival::Bytes(_) if Instant::now() >= deadline => return Ok(Next::Waiting),
                Arrival::Bytes(_) => {}
                Arrival::End => {
                    if self.reader.ahead().iter().all(|b| is_padding(*b)) {
                        self.reader.consume(self.reader.ahead().len());
                    }
                    // A wrong length may have hidden pictures that are whole.
                    if !self.reader.ahead().is_empty() {
                        self.give_up();
                        continue;
                    }
                    self.splitter = Splitter::default();
                    let since = self.lost_since.take().unwrap_or(self.reader.offset());
                    let bytes = self.reader.offset() - since;
                    return Ok(match bytes {
                        0 => Next::End,
                        _ => self.damaged(since, format!("the input ends within a picture, after {bytes} bytes of it")),
                    });
                }
            }
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        self.splitter = Splitter::default();
        self.lost_since = None;
        self.reader.reconnect()
    }
}
