//! A sequence of JPEG pictures.

use std::time::{Duration, Instant};

use super::super::{Bounds, Damage, FrameSource, Next, jpeg};
use super::between::{MAX_TEXT, is_header, is_padding, is_text, without_header};
use super::input::{Arrival, Reader};
use super::split::{START, Scan, Splitter, find_start};
use super::{Opening, Pace, Settings, bounded_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, PixelFormat};
use crate::limits::Limits;

/// Allowance for the parts of a JPEG other than its pixels: EXIF data and tables.
const OVERHEAD: usize = 64 << 10;

/// Decoder memory per pixel of a progressive picture; see [`photo::Decoder`](super::super::photo::Decoder).
const DECODER_BYTES_PER_PIXEL: usize = 16;

/// Number of lost bytes after which the loss is reported before the next picture is found.
const LOST_BYTES: u64 = 64 << 10;

/// The same for padding: drivers write whole buffers of it.
const PADDING_BYTES: u64 = 16 << 20;

/// Bytes in which the first picture is searched for.
const SEARCH_BYTES: u64 = 1 << 20;

/// The marker that ends a picture.
const END: [u8; 2] = [0xFF, 0xD9];

/// A sequence of JPEG pictures, decoded to RGB. Writers: ffmpeg's `image2pipe` and `mjpeg`, `rpicam-vid --codec mjpeg`,
/// GStreamer's `jpegenc`, and network cameras as multipart streams.
///
/// Pictures are separated by their markers. A picture without an end marker ends where the next begins. Zeros, 0xFF,
/// line feeds, a second start marker and multipart headers in between are skipped. Other bytes are damage, and the next
/// picture is searched. Damage is reported when the next picture is whole, or after 64 KiB.
///
/// Pictures may change in size. Buffers are planned for the first picture's size (or `limits.frame_bytes` if its header
/// cannot be read), or for [`Settings::room`] if that is larger. A larger picture is damage.
///
/// JPEG has full range. GStreamer's `jpegenc` passes video's limited range on unless `videoconvert` precedes it.
///
/// A picture that is cut off in its coded data is reported by the decoder, not shown half gray.
pub struct Mjpeg {
    reader: Reader,
    limits: Limits,
    /// Bytes of the largest frame that buffers were planned for.
    frame_bytes: usize,
    splitter: Splitter,
    /// Start of the current run of lost bytes.
    lost_since: Option<u64>,
    /// Start of the current run of padding.
    padding_since: Option<u64>,
    /// Whether the first picture is still searched, when damage cannot be reported.
    opening: bool,
    /// For the decoder.
    room: jpeg::Room,
    pace: Pace,
}

impl Mjpeg {
    /// Searches for the first picture and reads its header.
    ///
    /// # Errors
    /// `None` within [`Ok`] if there is none.
    pub(super) fn open(
        reader: Reader,
        settings: &Settings,
        limits: &Limits,
        opening: &mut Opening,
    ) -> Result<Option<Mjpeg>> {
        let pace = Pace::new(settings, &reader, None);
        let mut mjpeg = Mjpeg {
            reader,
            limits: limits.clone(),
            frame_bytes: limits.frame_bytes,
            splitter: Splitter::default(),
            lost_since: None,
            padding_since: None,
            opening: true,
            room: jpeg::Room::default(),
            pace,
        };
        if !mjpeg.first(opening)? {
            return Ok(None);
        }
        mjpeg.opening = false;
        if let Some((width, height)) = std::mem::take(&mut mjpeg.splitter).size() {
            let size = (u32::from(width), u32::from(height));
            let stride = PixelFormat::Rgb24.row_bytes(size.0);
            let bytes = bounded_bytes(mjpeg.name(), PixelFormat::Rgb24, size, stride, limits)?;
            mjpeg.frame_bytes = bytes.max(settings.room.min(limits.frame_bytes));
        }
        let capacity = limits.encoded_frame_bytes.min(mjpeg.frame_bytes.saturating_add(OVERHEAD));
        mjpeg.reader.set_capacity(capacity);
        Ok(Some(mjpeg))
    }

    /// Searches for a picture until its size is known. Returns whether one begins at all.
    fn first(&mut self, opening: &mut Opening) -> Result<bool> {
        let mut found = false;
        loop {
            if self.splitter != Splitter::default() || self.seek() {
                found = true;
                match self.splitter.scan(self.reader.ahead()) {
                    _ if self.splitter.size().is_some() => return Ok(true),
                    // The header is longer than the buffer.
                    Scan::More if self.reader.is_full() => return Ok(true),
                    Scan::More => {}
                    Scan::Broken(_) | Scan::Picture(_) | Scan::Unended(_) => {
                        self.give_up();
                        continue;
                    }
                }
            } else if self.reader.is_full() {
                self.give_up();
                continue;
            }
            if self.reader.offset() > SEARCH_BYTES || !opening.more(&mut self.reader)? {
                return Ok(found);
            }
        }
    }

    fn damaged(&mut self, offset: u64, reason: String) -> Next {
        self.pace.seq += 1;
        Next::Damaged(Damage { offset: Some(offset), kind: ErrorKind::BadImage, reason, photo: None })
    }

    /// Reports the bytes skipped since `since`.
    fn passed_over(&mut self, since: u64) -> Next {
        (self.lost_since, self.padding_since) = (None, None);
        let bytes = self.reader.offset() - since;
        self.damaged(since, format!("{bytes} bytes that are no whole picture were passed over"))
    }

    /// Start of the lost bytes, if there are too many to wait for the next picture.
    fn overdue(&self) -> Option<u64> {
        let past =
            |since: Option<u64>, most| since.filter(|since| !self.opening && self.reader.offset() - since >= most);
        past(self.lost_since, LOST_BYTES).or(past(self.padding_since, PADDING_BYTES))
    }

    /// Skips `n` bytes, but no more than make [`Mjpeg::overdue`].
    fn pass(&mut self, n: usize) {
        if self.opening {
            return self.reader.consume(n);
        }
        let offset = self.reader.offset();
        let left =
            |since: Option<u64>, most: u64| since.map_or(u64::MAX, |since| (since + most).saturating_sub(offset));
        let most = left(self.lost_since, LOST_BYTES).min(left(self.padding_since, PADDING_BYTES));
        self.reader.consume(n.min(usize::try_from(most).unwrap_or(usize::MAX)));
    }

    /// Skips bytes that are not a picture. Returns whether one begins then.
    fn seek(&mut self) -> bool {
        while self.overdue().is_none() {
            let ahead = self.reader.ahead();
            let start = find_start(ahead, 0).unwrap_or(ahead.len());
            let whole = ahead.len() - start >= START.len();
            if start == 0 {
                // Some cameras write the start marker twice.
                let marker = ahead.iter().skip(2).position(|b| *b != 0xFF);
                match marker.filter(|_| whole) {
                    Some(at) if ahead[2 + at] == 0xD8 && at > 0 => self.reader.consume(1 + at),
                    Some(_) => {
                        self.padding_since = None;
                        return true;
                    }
                    None => return false,
                }
                continue;
            }
            let offset = self.reader.offset();
            if self.lost_since.is_some() {
                self.pass(start);
                continue;
            }
            let padding = ahead[..start].iter().take_while(|b| is_padding(**b)).count();
            if padding > 0 {
                self.padding_since.get_or_insert(offset);
                self.pass(padding);
                continue;
            }
            let between = &ahead[..start];
            if start <= MAX_TEXT && between.iter().all(|b| is_text(*b)) {
                if !whole {
                    return false;
                }
                if is_header(between) {
                    self.reader.consume(start);
                    continue;
                }
            }
            (self.lost_since, self.padding_since) = (Some(offset), None);
        }
        false
    }

    /// Drops the picture at the start of the buffer. The search continues after its intact part.
    fn give_up(&mut self) {
        self.lost_since.get_or_insert(self.reader.offset());
        let sound = std::mem::take(&mut self.splitter).resume();
        self.reader.consume(sound.clamp(1, self.reader.ahead().len()));
    }

    /// Examines the buffer; `None` if more bytes are needed.
    fn look(&mut self, frame: &mut Frame) -> Result<Option<Next>> {
        loop {
            if let Some(since) = self.overdue().filter(|_| self.splitter == Splitter::default()) {
                return Ok(Some(self.passed_over(since)));
            }
            let scan = match self.splitter != Splitter::default() || self.seek() {
                true => self.splitter.scan(self.reader.ahead()),
                false if self.overdue().is_some() => continue,
                false => Scan::More,
            };
            match scan {
                Scan::Broken(_) => self.give_up(),
                Scan::Picture(_) | Scan::Unended(_) if self.splitter.size().is_none() => self.give_up(),
                // Bytes lost before a picture are reported first.
                Scan::Picture(_) | Scan::Unended(_) if self.lost_since.is_some() => {
                    let since = self.lost_since.unwrap_or_default();
                    return Ok(Some(self.passed_over(since)));
                }
                Scan::Picture(length) => return self.decode(length, frame).map(Some),
                Scan::Unended(length) => return self.decode_unended(length, frame).map(Some),
                Scan::More if self.reader.is_full() => self.give_up(),
                Scan::More => return Ok(None),
            }
        }
    }

    /// As [`Mjpeg::decode`] for a picture without an end marker: temporarily overwrites the bytes after it with one during
    /// decoding. At least two bytes must follow.
    fn decode_unended(&mut self, length: usize, frame: &mut Frame) -> Result<Next> {
        let picture = without_header(&self.reader.ahead()[..length]);
        let place = picture..picture + END.len();
        let kept = [self.reader.ahead()[place.start], self.reader.ahead()[place.start + 1]];
        self.reader.ahead_mut()[place.clone()].copy_from_slice(&END);
        let decoded = self.pixels(place.end, frame);
        self.reader.ahead_mut()[place].copy_from_slice(&kept);
        self.decoded(length, decoded, frame)
    }

    /// Decodes the picture of `length` bytes at the head.
    fn decode(&mut self, length: usize, frame: &mut Frame) -> Result<Next> {
        let decoded = self.pixels(length, frame);
        self.decoded(length, decoded, frame)
    }

    /// Decodes the picture of `length` bytes at the start of the buffer, or returns why it is damaged.
    fn pixels(&mut self, length: usize, frame: &mut Frame) -> Result<Result<(), String>> {
        let (width, height) = self.splitter.size().unwrap_or_default();
        let bytes = u64::from(width) * u64::from(height) * 3;
        if bytes > self.frame_bytes as u64 {
            let room = self.frame_bytes;
            return Ok(Err(format!(
                "the picture is {width}x{height}, of {bytes} bytes; memory was planned for {room}: start anew, or give \
                 the largest size with --max-frame"
            )));
        }
        let picture = &self.reader.ahead()[..length];
        match jpeg::decode(self.reader.name(), picture, &self.limits, &mut self.room, frame) {
            Ok(()) => Ok(Ok(())),
            Err(Error::BadImage { reason, .. }) => Ok(Err(reason)),
            Err(e @ Error::Limit { .. }) => Ok(Err(e.to_string())),
            Err(e) => Err(e),
        }
    }

    /// Consumes the `length` bytes of a picture and returns its result.
    fn decoded(&mut self, length: usize, decoded: Result<Result<(), String>>, frame: &mut Frame) -> Result<Next> {
        let offset = self.reader.offset();
        self.splitter = Splitter::default();
        self.reader.consume(length);
        match decoded? {
            Ok(()) => {
                self.pace.finish(frame);
                Ok(Next::Frame)
            }
            Err(reason) => Ok(self.damaged(offset, reason)),
        }
    }

    /// Examines the end of the input; `None` if a picture may still come.
    fn ended(&mut self, frame: &mut Frame) -> Result<Option<Next>> {
        let ahead = self.reader.ahead();
        if self.lost_since.is_none() && (ahead.iter().all(|b| is_padding(*b)) || is_header(ahead)) {
            self.reader.consume(ahead.len());
        }
        let length = self.reader.ahead().len();
        let coded = self.splitter.is_coded();
        // The last picture of a stream without end markers.
        if length > 0 && coded && self.lost_since.is_none() && self.reader.append(&END) {
            let offset = self.reader.offset();
            let mut next = self.decode_unended(length, frame)?;
            self.reader.consume(END.len());
            if let Next::Damaged(damage) = &mut next {
                debug_assert_eq!(damage.offset, Some(offset));
                damage.reason = format!("the input ends within a picture, after {length} bytes of it");
            }
            return Ok(Some(next));
        }
        if length > 0 && coded && self.lost_since.is_some() {
            let since = self.lost_since.unwrap_or_default();
            return Ok(Some(self.passed_over(since)));
        }
        // A wrong length may have hidden pictures that are whole.
        if length > 0 {
            self.give_up();
            return Ok(None);
        }
        self.splitter = Splitter::default();
        self.padding_since = None;
        let since = self.lost_since.take().unwrap_or(self.reader.offset());
        let bytes = self.reader.offset() - since;
        Ok(Some(match bytes {
            0 => Next::End,
            _ => self.damaged(since, format!("the input ends within a picture, after {bytes} bytes of it")),
        }))
    }
}

impl FrameSource for Mjpeg {
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
        let decoder = self.frame_bytes / 3 * DECODER_BYTES_PER_PIXEL;
        // The picture is in memory twice: in the read buffer and in the decoder.
        Bounds { frame_bytes: self.frame_bytes, decoder_bytes: 2 * self.reader.capacity() + decoder }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(next) = self.look(frame)? {
                return Ok(next);
            }
            match self.reader.more(deadline)? {
                Arrival::Waiting => return Ok(Next::Waiting),
                Arrival::Bytes(_) if Instant::now() >= deadline => return Ok(Next::Waiting),
                Arrival::Bytes(_) => {}
                Arrival::End => {
                    if let Some(next) = self.ended(frame)? {
                        return Ok(next);
                    }
                }
            }
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        self.splitter = Splitter::default();
        (self.lost_since, self.padding_since) = (None, None);
        self.reader.reconnect()
    }
}
